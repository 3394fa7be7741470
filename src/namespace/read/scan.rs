//! Answering a bound query: the tail and the segments are scanned at the same time, the best of each
//! merged, and the attributes of the winners fetched.

use std::sync::Arc;

use futures::future;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::fetch;
use super::merge::{Found, merge_nearest, merge_ordered};
use super::segment::{self, Scanned};
use super::source::{self, Part, Source};
use super::tail;
use crate::error::Result;
use crate::filter::{self, BoundFilter, Verdict};
use crate::query::bind::BoundQuery;
use crate::query::reply::Row;

/// Segments scanned at once: bounds memory, as each has a few windows in flight.
pub(super) const SEGMENTS_AT_ONCE: usize = 8;

/// What was looked at for an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looked {
    pub(super) scanned_rows: u64,
    pub(super) segments_searched: u64,
    pub(super) segments_pruned: u64,
}

impl Looked {
    pub(super) fn add(&mut self, more: Self) {
        self.scanned_rows += more.scanned_rows;
        self.segments_searched += more.segments_searched;
        self.segments_pruned += more.segments_pruned;
    }
}

/// What answers a question.
#[derive(Debug)]
pub(super) struct Answered<T> {
    pub(super) found: T,
    /// Where the page after this one begins: a key of the order.
    pub(super) next: Option<Arc<[u8]>>,
    pub(super) looked: Looked,
}

impl<T> Answered<T> {
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> Answered<U> {
        Answered {
            found: with(self.found),
            next: self.next,
            looked: self.looked,
        }
    }
}

/// The segments that a filter leaves to look into, each with what its stats say, and how much there is to look at.
pub(super) fn divided(
    source: &Source,
    filter: Option<&BoundFilter>,
) -> (Vec<(Part, Verdict)>, Looked) {
    let all = source.parts();
    let n_segments = all.len() as u64;
    let mut parts: Vec<(Part, Verdict)> = all
        .into_iter()
        .filter_map(|part| {
            let verdict = match filter {
                None => Verdict::Always,
                Some(filter) => filter::prune(filter, &part.reader.segment().stats),
            };
            // A segment whose rows are all gone needs no look either.
            let worth = verdict != Verdict::Never && part.live.count() > 0;
            worth.then_some((part, verdict))
        })
        .collect();
    source::divide(source.scan_bytes, parts.iter_mut().map(|(part, _)| part));
    let in_segments: u64 = parts.iter().map(|(part, _)| part.live.count() as u64).sum();
    let in_tail: usize = source.tail.chunks.iter().map(|chunk| chunk.len()).sum();
    let looked = Looked {
        scanned_rows: in_segments + in_tail as u64,
        segments_searched: parts.len() as u64,
        segments_pruned: n_segments - parts.len() as u64,
    };
    (parts, looked)
}

/// Answers a bound query. Errors: `Corrupted` if rows do not fit their schema or an object is damaged,
/// `Unavailable` of the store, with code `object_missing` where an object is gone. Cancel safe.
pub(super) async fn run(source: &Source, query: &Arc<BoundQuery>) -> Result<Answered<Vec<Row>>> {
    let (parts, looked) = divided(source, query.filter.as_ref());
    let segments = stream::iter(parts)
        .map(|(part, verdict)| segment::scan(part, verdict, query))
        .buffered(SEGMENTS_AT_ONCE)
        .try_collect::<Vec<Scanned>>();
    let (tail, segments) = future::try_join(tail::scan(source, query), segments).await?;
    let (found, next) = match (tail, segments) {
        (tail::Partial::Nearest(tail), segments) => {
            let found = merge_nearest(source, query, tail, segments).await?;
            (found, None)
        }
        (tail::Partial::Ordered { best, order, .. }, segments) => {
            let (winners, next) = merge_ordered(query, &order, best, segments);
            (Found::Ranked(winners), next)
        }
    };
    Ok(Answered {
        found: fetch::rows(source, query, found).await?,
        next,
        looked,
    })
}
