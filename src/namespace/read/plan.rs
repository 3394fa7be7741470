//! How a request would be answered, as text for people: `explain_query`. Footers of segments are read, no row.

use std::fmt::Write;

use super::choose::{Wanted, choose};
use super::lost::of_segment;
use super::question::Bound;
use super::scan;
use super::source::{Part, Source};
use crate::error::Result;
use crate::filter::{BoundFilter, Verdict};
use crate::query::order::{BoundOrder, OrderBy};
use crate::query::reply::Found;
use crate::query::request::Questions;
use crate::query::{BoundQuery, BoundRank};
use crate::types::WalSeq;

/// Segments that a plan names one by one.
const SEGMENTS_NAMED_MAX: usize = 100;

/// Tells how the questions of a request would be answered from a source. Errors: of the footers. Cancel safe.
pub(super) async fn of(
    source: &Source,
    seq: WalSeq,
    request: &Questions,
    bound: &[Bound],
) -> Result<Found> {
    let mut text = String::new();
    let tail: usize = source.tail.chunks.iter().map(|chunk| chunk.len()).sum();
    line(
        &mut text,
        0,
        format_args!(
            "state: log position {seq}, {} rows live, {} segments, {tail} rows in the tail of which {} are live",
            source.live_rows(),
            source.segments.len(),
            source.tail.live_rows
        ),
    );
    for (number, (bound, ask)) in bound.iter().zip(&request.asks).enumerate() {
        line(
            &mut text,
            0,
            format_args!("query {number}: {}", what(source, bound)),
        );
        let filter = filter_of(bound);
        let (parts, looked) = scan::divided(source, filter);
        match filter {
            None => line(&mut text, 1, format_args!("filter: none")),
            Some(_) => line(
                &mut text,
                1,
                format_args!("filter: {} patterns", ask.patterns()),
            ),
        }
        line(
            &mut text,
            1,
            format_args!("tail: {tail} rows scanned in memory"),
        );
        for (part, verdict) in parts.iter().take(SEGMENTS_NAMED_MAX) {
            let segment = part.reader.segment();
            let how = how(part, *verdict, bound).await;
            let how = how.map_err(|error| of_segment(error, segment))?;
            line(
                &mut text,
                1,
                format_args!(
                    "segment {}: {} of {} rows live, {how}",
                    segment.id,
                    part.live.count(),
                    segment.rows
                ),
            );
        }
        let more = parts.len().saturating_sub(SEGMENTS_NAMED_MAX);
        if more > 0 {
            line(&mut text, 1, format_args!("{more} more segments"));
        }
        line(
            &mut text,
            1,
            format_args!(
                "passed over by statistics: {} segments",
                looked.segments_pruned
            ),
        );
    }
    if let Some(fuse) = &request.fuse {
        line(
            &mut text,
            0,
            format_args!(
                "fused: reciprocal ranks, constant {}, weights {:?}, {} rows after {}",
                fuse.rank_constant, fuse.weights, fuse.limit, fuse.offset
            ),
        );
    }
    Ok(Found::Plan(text))
}

/// How a segment is searched, and what that was chosen from.
async fn how(part: &Part, verdict: Verdict, bound: &Bound) -> Result<String> {
    let filter = filter_of(bound).filter(|_| verdict != Verdict::Always);
    let (filter, wanted) = match (filter, bound) {
        (None, _) | (_, Bound::Recall(_)) => return Ok("no row needs the filter".to_owned()),
        (Some(filter), Bound::Rows(query)) => (filter, Wanted::Rows(query)),
        (Some(filter), Bound::Totals(totals)) => (filter, Wanted::Totals(totals)),
    };
    let choice = choose(part, filter, wanted, part.plan).await?;
    Ok(format!("{}: {}", choice.plan.name(), choice.known))
}

fn line(text: &mut String, depth: usize, args: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{:indent$}{args}", "", indent = 2 * depth);
}

fn filter_of(bound: &Bound) -> Option<&BoundFilter> {
    match bound {
        Bound::Rows(query) => query.filter.as_ref(),
        Bound::Totals(totals) => totals.filter.as_ref(),
        Bound::Recall(_) => None,
    }
}

fn what(source: &Source, bound: &Bound) -> String {
    match bound {
        Bound::Totals(_) => "numbers over the rows".to_owned(),
        Bound::Recall(_) => "recall".to_owned(),
        Bound::Rows(query) => format!(
            "{}, {} rows after {}, {} attributes, {} computed",
            ranking(source, query),
            query.limit,
            query.offset,
            query.include.len(),
            query.compute.len()
        ),
    }
}

fn ranking(source: &Source, query: &BoundQuery) -> String {
    match &query.rank {
        BoundRank::Vector {
            attribute,
            metric,
            exact,
            ..
        } => {
            let name = source.schema.name_of(*attribute).unwrap_or("?");
            let asked = if *exact { "kNN" } else { "ANN" };
            let metric = metric.name();
            format!(
                "nearest by `{name}` ({asked}, {metric}), every vector that passes the filter is compared"
            )
        }
        BoundRank::Order(order) => {
            let per = if order.per.is_some() {
                ", alike rows limited"
            } else {
                ""
            };
            format!("{}{per}", ordering(order))
        }
    }
}

fn ordering(order: &BoundOrder) -> String {
    match (&order.by, order.by_id()) {
        (OrderBy::Score(_), _) => "by score, every row that passes the filter is scored".to_owned(),
        (OrderBy::Keys(_), Some(_)) => "by id, in the order of the segments".to_owned(),
        (OrderBy::Keys(keys), None) => {
            format!(
                "by {} keys, from columns where segments have them",
                keys.len()
            )
        }
    }
}
