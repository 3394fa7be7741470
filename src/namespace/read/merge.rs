//! The best of the tail and of every segment become the best of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fetch::{self, Fetched};
use super::segment::Scanned;
use super::source::{Place, Source};
use crate::error::Result;
use crate::query::bind::BoundQuery;
use crate::query::order::{BoundOrder, OrderBy, SortKey, cut};
use crate::query::reply::Dist;
use crate::query::topk::TopK;
use crate::types::{AttrId, DocId};

/// A row of the answer: where it lies, its id, how far it is.
#[derive(Debug, Clone)]
pub(super) struct Winner {
    pub(super) place: Place,
    pub(super) id: DocId,
    pub(super) dist: Option<Dist>,
}

/// A row in an order: comparable with those of any other source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ordered {
    pub(super) key: SortKey,
    pub(super) place: Place,
    pub(super) id: DocId,
    /// Rows are alike where these are equal; empty where it does not matter.
    pub(super) alike: Box<[u8]>,
}

impl Ordered {
    pub(super) fn alike(&self) -> &[u8] {
        &self.alike
    }
}

/// The winners in order, the first `offset` included.
#[derive(Debug)]
pub(super) enum Found {
    /// What is wanted of them besides is still to be fetched.
    Ranked(Vec<Winner>),
    /// It came with their ids.
    Whole(Vec<Winner>, Fetched),
}

/// Merges orders; each is sorted and holds at most as many as are wanted. Gives also the place of the last row of a
/// page that others follow.
pub(super) fn merge_ordered(
    query: &BoundQuery,
    order: &BoundOrder,
    tail: Vec<Ordered>,
    segments: Vec<Scanned>,
) -> (Vec<Winner>, Option<Arc<[u8]>>) {
    let mut all = tail;
    for segment in segments {
        if let Scanned::Ordered(more) = segment {
            all.extend(more);
        }
    }
    cut(&mut all, query.wanted(), order.per.as_ref(), Ordered::alike);
    let by_score = matches!(order.by, OrderBy::Score(_));
    let score = |key: &SortKey| key.score().filter(|_| by_score).map(Dist::Score);
    let more_follow = query.paged && all.len() == query.wanted();
    let last = all.iter().rev().nth(1).filter(|_| more_follow);
    let next = last.map(|last| last.key.bytes().into());
    let winners = all.into_iter().map(|ordered| Winner {
        place: ordered.place,
        id: ordered.id,
        dist: score(&ordered.key),
    });
    (winners.collect(), next)
}

/// Merges distances. Rows of segments get their ids here, those that can still win: within a segment ties
/// are in the order of rows, which is that of ids, so no more than the wanted ones of each can.
pub(super) async fn merge_nearest(
    source: &Source,
    query: &BoundQuery,
    tail: TopK<(DocId, Place)>,
    segments: Vec<Scanned>,
) -> Result<Found> {
    let tail = tail.into_sorted();
    let mut candidates: Vec<(f32, usize, u32)> = Vec::new();
    for segment in segments {
        if let Scanned::Nearest { number, best } = segment {
            let best = best.into_sorted().into_iter();
            candidates.extend(best.map(|(dist, row)| (dist, number, row)));
        }
    }
    if let Some(farthest) = farthest(query.wanted(), &tail, &candidates) {
        candidates.retain(|(dist, ..)| dist.total_cmp(&farthest).is_le());
    }
    let mut rows: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (_, number, row) in &candidates {
        rows.entry(*number).or_default().push(*row);
    }
    // Where every candidate is in the answer, its attributes come along.
    let whole = query.offset == 0 && candidates.len() <= query.limit;
    let attrs: Vec<AttrId> = match whole {
        true => fetch::wanted(query).attrs(),
        false => Vec::new(),
    };
    let fetched = fetch::from_segments(source, rows, &attrs, true).await?;
    let mut best: TopK<(DocId, Place)> = TopK::new(query.wanted());
    for (dist, tie) in tail {
        best.push(dist, tie);
    }
    for (dist, segment, row) in candidates {
        let place = Place::Segment { segment, row };
        best.push(dist, (fetched.id(segment, row)?, place));
    }
    let winners = best.into_sorted().into_iter();
    let winners = winners.map(|(dist, (id, place))| Winner {
        place,
        id,
        dist: Some(Dist::Distance(dist)),
    });
    Ok(match whole {
        true => Found::Whole(winners.collect(), fetched),
        false => Found::Ranked(winners.collect()),
    })
}

/// The distance of the last one that can win; `None` where there are no more than wanted.
fn farthest(
    wanted: usize,
    tail: &[(f32, (DocId, Place))],
    candidates: &[(f32, usize, u32)],
) -> Option<f32> {
    let last = wanted.checked_sub(1)?;
    let tail = tail.iter().map(|(dist, _)| *dist);
    let mut all: Vec<f32> = tail
        .chain(candidates.iter().map(|(dist, ..)| *dist))
        .collect();
    (last < all.len()).then(|| *all.select_nth_unstable_by(last, f32::total_cmp).1)
}
