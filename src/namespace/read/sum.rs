//! The sum over all documents of a view, wherever they lie: no flush and no merge changes it.

use std::sync::Arc;

use futures::stream::TryStreamExt;

use super::lost::of_segment;
use super::segment::sparse;
use super::source::{Part, Source};
use super::tail::visible;
use crate::error::{Error, Result};
use crate::namespace::handle::{Namespace, View};
use crate::rows::RowSum;
use crate::segment::SegmentBatch;
use crate::types::AttrId;

impl Namespace {
    /// Sums the documents that a view sees, reading all of them. Errors: of the readers. Cancel safe.
    pub(in crate::namespace) async fn row_sum(self: &Arc<Self>, view: &View) -> Result<RowSum> {
        let live = self.live_rows(view).await?;
        let source = Source::of(view, live, &self.shared);
        let attributes = view.schema.attributes.values();
        let mut attrs: Vec<AttrId> = attributes.map(|attribute| attribute.id).collect();
        attrs.sort_unstable();
        let attrs: Arc<[AttrId]> = attrs.into();
        let mut all = in_tail(&source, &attrs).await?;
        for part in source.parts() {
            let segment = Arc::clone(part.reader.segment());
            let sum = in_segment(&part, &attrs).await;
            all.add(sum.map_err(|error| of_segment(error, &segment))?);
        }
        Ok(all)
    }
}

async fn in_tail(source: &Source, attrs: &Arc<[AttrId]>) -> Result<RowSum> {
    let (scanned, attrs) = (source.clone(), Arc::clone(attrs));
    let work = move || {
        let mut sum = RowSum::default();
        for chunk in scanned.tail.chunks.iter() {
            for row in visible(chunk, &scanned, None)?.iter() {
                sum.add_row(chunk.rows(), &attrs, row);
            }
        }
        Ok::<_, Error>(sum)
    };
    source.compute.run(work).await?
}

async fn in_segment(part: &Part, attrs: &Arc<[AttrId]>) -> Result<RowSum> {
    let (live, wanted) = (Arc::clone(&part.live), Arc::clone(attrs));
    let each = move |SegmentBatch { rows, batch }: SegmentBatch| {
        let mut sum = RowSum::default();
        for at in 0..batch.num_rows() {
            if rows
                .number(at)
                .is_some_and(|row| live.contains(row as usize))
            {
                sum.add_row(&batch, &wanted, at);
            }
        }
        Ok(sum)
    };
    let rows = sparse(&part.live);
    let read = part.reader.columns(attrs, true, rows, &part.scan, each);
    let mut sums = read.await?;
    let mut all = RowSum::default();
    while let Some(sum) = sums.try_next().await? {
        all.add(sum);
    }
    Ok(all)
}
