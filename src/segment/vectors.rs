//! Vectors of a segment, page by page, in windows that are fetched ahead.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

use super::reader::{Opened, SegmentReader};
use crate::error::{Error, Result};
use crate::filter::RowMask;
use crate::format::segment::{Footer, VectorPage, VectorPages};
use crate::rows::vectors::decode;
use crate::store::cache::Purpose;
use crate::types::{AttrId, VectorElement};

/// Bytes of vectors of one window, about: a page more at most.
const WINDOW_BYTES: u64 = 2 << 20;
/// Windows under way at once: 8 MiB together.
const WINDOWS_AT_ONCE: usize = 4;

/// The vectors of one page.
#[derive(Debug, Clone)]
pub struct VectorPiece {
    footer: Arc<Footer>,
    attr: AttrId,
    element: VectorElement,
    page: VectorPage,
    bytes: Bytes,
}

impl VectorPiece {
    /// Its rows.
    pub fn rows(&self) -> Range<u32> {
        self.page.rows.clone()
    }

    /// All its vectors, one after the other; a copy only where they are no f32, or the bytes not aligned.
    pub fn vectors(&self) -> Cow<'_, [f32]> {
        if cfg!(target_endian = "little")
            && self.element == VectorElement::F32
            && let Ok(aligned) = bytemuck::try_cast_slice(&self.bytes)
        {
            return Cow::Borrowed(aligned);
        }
        let mut values = Vec::new();
        decode(self.element, &self.bytes, &mut values);
        Cow::Owned(values)
    }

    /// Which of `vectors` is this row's; `None` if the row has none or is of another page.
    pub fn at(&self, row: u32) -> Option<usize> {
        if !self.page.rows.contains(&row) {
            return None;
        }
        if self.page.values.len() == self.page.rows.len() {
            return Some((row - self.page.rows.start) as usize);
        }
        let value = self.footer.vector_pages(self.attr)?.value_of(row)?;
        Some(value.checked_sub(self.page.values.start)? as usize)
    }
}

impl SegmentReader {
    /// Reads the pages of a vector attribute that have a row of `wanted`, and hands some at a time to `each`
    /// on the compute pool; the results come in the order of the rows. A segment without the attribute
    /// gives none. `purpose` decides what stays in the cache.
    ///
    /// About 8 MiB are in flight, whatever the segment's size. Errors: as `footer` and of the cache;
    /// `Corrupted` naming the object if vectors are not of `dims` dimensions; what `each` gives. Cancel
    /// safe: drop the stream.
    pub async fn vectors<T, F>(
        &self,
        attr: AttrId,
        dims: usize,
        wanted: &RowMask,
        purpose: &Purpose,
        each: F,
    ) -> Result<BoxStream<'static, Result<T>>>
    where
        T: Send + 'static,
        F: Fn(&[VectorPiece]) -> Result<T> + Send + Sync + 'static,
    {
        let opened = self.opened().await?;
        let pages = opened.footer.vector_pages(attr);
        let element = pages.map_or(VectorElement::F32, VectorPages::element);
        let windows = match pages {
            None => Vec::new(),
            Some(pages) if pages.dims() as usize == dims => windows(pages, wanted),
            Some(pages) => {
                return Err(Error::corrupted(format!(
                    "object `{}` is damaged: expected vectors of {dims} dimensions, found {}",
                    opened.footer.key(),
                    pages.dims()
                ))
                .with_detail("object", opened.footer.key()));
            }
        };
        let (reader, each, purpose) = (self.clone(), Arc::new(each), purpose.clone());
        let results = stream::iter(windows).map(move |pages| {
            let (reader, opened, each) = (reader.clone(), Arc::clone(&opened), Arc::clone(&each));
            let purpose = purpose.clone();
            async move {
                let column = (attr, element);
                let window = reader.vector_window(&opened, column, pages, &purpose, each);
                window.await
            }
        });
        Ok(results.buffered(WINDOWS_AT_ONCE).boxed())
    }

    async fn vector_window<T, F>(
        &self,
        opened: &Opened,
        (attr, element): (AttrId, VectorElement),
        pages: Vec<VectorPage>,
        purpose: &Purpose,
        each: Arc<F>,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&[VectorPiece]) -> Result<T> + Send + Sync + 'static,
    {
        let ranges: Vec<Range<u64>> = pages.iter().map(|page| page.bytes.clone()).collect();
        let bytes = self.parquet(opened, &ranges, purpose).await?;
        let footer = Arc::clone(&opened.footer);
        let scan = move || {
            let pieces: Vec<VectorPiece> = pages
                .into_iter()
                .zip(bytes)
                .map(|(page, bytes)| VectorPiece {
                    footer: Arc::clone(&footer),
                    attr,
                    element,
                    page,
                    bytes,
                })
                .collect();
            each(&pieces)
        };
        self.compute().run(scan).await?
    }
}

/// The pages with a wanted row and any vector, by window.
fn windows(pages: &VectorPages, wanted: &RowMask) -> Vec<Vec<VectorPage>> {
    let mut windows: Vec<Vec<VectorPage>> = Vec::new();
    let mut n_bytes = WINDOW_BYTES;
    let mut rows = wanted.iter().peekable();
    for page in pages.pages() {
        let end = page.rows.end as usize;
        let mut hit = false;
        while rows.next_if(|row| *row < end).is_some() {
            hit = true;
        }
        if !hit || page.values.is_empty() {
            continue;
        }
        if n_bytes >= WINDOW_BYTES {
            windows.push(Vec::new());
            n_bytes = 0;
        }
        n_bytes += page.bytes.end - page.bytes.start;
        if let Some(window) = windows.last_mut() {
            window.push(page);
        }
    }
    windows
}
