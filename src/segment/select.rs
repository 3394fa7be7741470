//! Work over the indexes of a segment: what it asks for is fetched, what it decides runs on the compute pool.

use std::fmt::{self, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::ids;
use super::reader::SegmentReader;
use crate::error::{Error, Result};
use crate::filter::{BoundFilter, RowMask};
use crate::index::{self, Pages, Selection, Sources, Work};
use crate::store::cache::Purpose;

/// Filters of more parts are not kept: to name them would cost much itself.
const KEPT_PARTS_MAX: usize = 256;

/// What the indexes of a segment say of a filter.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The rows that may match: no other does.
    pub rows: RowMask,
    /// What rows among them must be evaluated for; `None` where all of them match.
    pub rest: Option<BoundFilter>,
}

/// What is kept of a filter.
struct Kept {
    filter: BoundFilter,
    selected: Arc<Selected>,
}

/// Hashes what is written.
struct Hash(Xxh3);

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl SegmentReader {
    /// Finds the rows of a filter by indexes, as far as there are any; what was found for a filter is kept for the next
    /// query with it.
    ///
    /// Errors: as `footer` and of the cache; `Corrupted` naming the object if an index makes no sense. Cancel safe.
    pub async fn select(&self, filter: &BoundFilter, purpose: &Purpose) -> Result<Arc<Selected>> {
        let key = match filter.parts() <= KEPT_PARTS_MAX {
            true => self.key_of(filter),
            false => return self.select_anew(filter, purpose).await.map(Arc::new),
        };
        let cache = self.cache();
        if let Some(kept) = cache.selected::<Kept>(&key)
            && kept.filter == *filter
        {
            return Ok(Arc::clone(&kept.selected));
        }
        let selected = Arc::new(self.select_anew(filter, purpose).await?);
        let kept = Kept {
            filter: filter.clone(),
            selected: Arc::clone(&selected),
        };
        // The filter is kept twice: whole, and what of it is left to rows.
        let n_bytes = (selected.rows.len() / 8 + key.len()) as u64 + 2 * filter.weight();
        cache.keep_selected(&key, Arc::new(kept), n_bytes);
        Ok(selected)
    }

    /// Names a filter over this segment. Others may have the same name: what is kept tells which it is of.
    fn key_of(&self, filter: &BoundFilter) -> String {
        let mut hash = Hash(Xxh3::new());
        // Hashing does not fail.
        let _ = write!(hash, "{filter:?}");
        format!("{}?{:032x}", self.segment().index.path, hash.0.digest128())
    }

    async fn select_anew(&self, filter: &BoundFilter, purpose: &Purpose) -> Result<Selected> {
        let footer = self.footer().await?;
        let n_rows = footer.rows() as usize;
        let known = self.rows_of_ids(&footer, ids::leaves(filter)).await?;
        let n_bytes = filter.weight();
        let (filter, segment) = (filter.clone(), Arc::clone(self.segment()));
        let begin = move || {
            let lookup = |attr| footer.indexed(attr);
            let sources = Sources {
                lookup: &lookup,
                is_known: &|leaf| known.iter().any(|(known, _)| known == leaf),
            };
            let (by_index, rest) = index::split(&filter, sources);
            let selection = by_index
                .map(|filter| Selection::new(&filter, n_rows, &segment.stats, &lookup, &known));
            (selection, rest)
        };
        let (selection, rest) = self.compute().run_sized(n_bytes, begin).await?;
        let rows = match selection {
            None => RowMask::all(n_rows),
            Some(selection) => self.run_rounds(selection, purpose).await?,
        };
        Ok(Selected { rows, rest })
    }

    /// Runs work over the index file to its end, round by round.
    ///
    /// Errors: as `footer` and of the cache; of the work, naming the object. Cancel safe.
    pub async fn run_rounds<W>(&self, mut work: W, purpose: &Purpose) -> Result<W::Found>
    where
        W: Work + Send + 'static,
        W::Found: Send + 'static,
    {
        let mut pages = Pages::new();
        loop {
            let round = move || {
                let found = work.go_on(&mut pages)?;
                let wanted = pages.end_round();
                Ok::<_, Error>((work, pages, found, wanted))
            };
            let found;
            let wanted;
            let ran = self.compute().run(round).await?;
            (work, pages, found, wanted) = ran.map_err(|error| self.of_index(error))?;
            if let Some(found) = found {
                return Ok(found);
            }
            if wanted.is_empty() {
                return Err(Error::internal("work over an index waits for nothing"));
            }
            pages.feed(self.index_blocks(&wanted, purpose).await?);
        }
    }
}
