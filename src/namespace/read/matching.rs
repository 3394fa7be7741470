//! Which documents a filter matches: tail and segments together, ids only.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::lost::of_segment;
use super::scan::{self, SEGMENTS_AT_ONCE};
use super::segment::{columns_of, kept, sparse};
use super::source::{Part, Source};
use super::tail::visible;
use crate::error::Result;
use crate::filter::{BoundFilter, Verdict};
use crate::namespace::handle::{Namespace, View};
use crate::rows;
use crate::segment::SegmentBatch;
use crate::types::DocId;

/// Ids collected beyond those wanted before the largest are let go.
const SLACK: usize = 65_536;

/// The smallest ids found so far, `most` of them.
struct Smallest {
    ids: Vec<DocId>,
    most: usize,
    more: bool,
}

impl Smallest {
    fn extend(&mut self, ids: impl IntoIterator<Item = DocId>) {
        self.ids.extend(ids);
        if self.ids.len() > self.most.saturating_add(SLACK) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.ids.sort_unstable();
        self.more |= self.ids.len() > self.most;
        self.ids.truncate(self.most);
    }
}

impl Namespace {
    /// Finds the ids of the documents of a view that a filter matches, ascending, the first `most` of them;
    /// and whether there are more.
    ///
    /// Errors: of the readers. Cancel safe.
    pub(in crate::namespace) async fn matching(
        self: &Arc<Self>,
        view: &View,
        filter: &BoundFilter,
        most: usize,
    ) -> Result<(Vec<DocId>, bool)> {
        let live = self.live_rows(view).await?;
        let source = Source::of(view, live, &self.shared);
        let mut found = Smallest {
            ids: Vec::new(),
            most,
            more: false,
        };
        found.extend(in_tail(&source, filter).await?);
        let (parts, _) = scan::divided(&source, Some(filter));
        let reads = parts
            .into_iter()
            .map(|(part, verdict)| in_segment(part, filter, verdict));
        let mut segments = stream::iter(reads).buffered(SEGMENTS_AT_ONCE);
        while let Some(ids) = segments.try_next().await? {
            found.extend(ids);
        }
        found.cut();
        self.note_unread(&source);
        Ok((found.ids, found.more))
    }
}

async fn in_tail(source: &Source, filter: &BoundFilter) -> Result<Vec<DocId>> {
    let (scanned, filter) = (source.clone(), filter.clone());
    let work = move || {
        let mut ids = Vec::new();
        for chunk in scanned.tail.chunks.iter() {
            let mask = visible(chunk, &scanned, Some(&filter))?;
            let column = rows::id_column(chunk.rows());
            ids.extend(mask.iter().map(|row| rows::id_at(column, row)));
        }
        Ok(ids)
    };
    source.compute.run(work).await?
}

/// The ids of the live rows of a segment that a filter keeps.
async fn in_segment(part: Part, filter: &BoundFilter, verdict: Verdict) -> Result<Vec<DocId>> {
    let segment = Arc::clone(part.reader.segment());
    let found = in_part(part, filter, verdict).await;
    found.map_err(|error| of_segment(error, &segment))
}

async fn in_part(mut part: Part, filter: &BoundFilter, verdict: Verdict) -> Result<Vec<DocId>> {
    let rest = match verdict {
        Verdict::Always => None,
        Verdict::Maybe | Verdict::Never => part.narrow(filter, &[]).await?,
    };
    let attrs = columns_of(rest.as_ref()).attrs();
    let live = Arc::clone(&part.live);
    let each = move |SegmentBatch { rows, batch }: SegmentBatch| {
        let kept = kept(&rows, &batch, &live, rest.as_ref());
        let column = rows::id_column(&batch);
        Ok(kept
            .iter()
            .map(|at| rows::id_at(column, at))
            .collect::<Vec<_>>())
    };
    let rows = sparse(&part.live);
    let batches = part.reader.columns(&attrs, true, rows, &part.scan, each);
    let found: Vec<Vec<DocId>> = batches.await?.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::{SLACK, Smallest};
    use crate::types::DocId;

    #[test]
    fn smallest_ids_of_more_than_memory_takes_tell_that_there_are_more() {
        for (n_ids, more) in [(2, false), (3, true), (SLACK as u64 + 3, true)] {
            let mut found = Smallest {
                ids: Vec::new(),
                most: 2,
                more: false,
            };
            // Cut on the way where they are too many, and at the end once more.
            found.extend((0..n_ids).rev().map(DocId::Uint));
            found.cut();
            assert_eq!(found.ids, [0, 1].map(DocId::Uint), "{n_ids}");
            assert_eq!(found.more, more, "{n_ids}");
        }
    }
}
