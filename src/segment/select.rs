//! Work over the indexes of a segment: what it asks for is fetched, what it decides runs on the compute pool.

use super::reader::SegmentReader;
use crate::error::{Error, Result};
use crate::filter::{BoundFilter, RowMask};
use crate::index::{self, Pages, Selection, Work};
use crate::store::cache::Purpose;

/// What the indexes of a segment say of a filter.
#[derive(Debug, Clone)]
pub struct Selected {
    /// The rows that may match: no other does.
    pub rows: RowMask,
    /// What rows among them must be evaluated for; `None` where all of them match.
    pub rest: Option<BoundFilter>,
}

impl SegmentReader {
    /// Finds the rows of a filter by indexes, as far as there are any.
    ///
    /// Errors: as `footer` and of the cache; `Corrupted` naming the object if an index makes no sense. Cancel safe.
    pub async fn select(&self, filter: &BoundFilter, purpose: &Purpose) -> Result<Selected> {
        let footer = self.footer().await?;
        let n_rows = footer.rows() as usize;
        let (by_index, rest) = index::split(filter, &|attr| footer.indexed(attr));
        let rows = match by_index {
            None => RowMask::all(n_rows),
            Some(filter) => {
                let stats = &self.segment().stats;
                let lookup = |attr| footer.indexed(attr);
                let selection = Selection::new(&filter, n_rows, stats, &lookup);
                self.run_rounds(selection, purpose).await?
            }
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
