//! Gathers what a plan is chosen from: guesses from the directory of a segment, no row.

use std::ops::Range;
use std::sync::Arc;

use super::segment::columns_of;
use super::source::Part;
use crate::error::Result;
use crate::filter::BoundFilter;
use crate::format::segment::{Footer, RowOrder};
use crate::index::{self, AttributeIndex, Column, Indexed, Sources, TopKey};
use crate::query::order::BoundOrder;
use crate::query::plan::{Known, Plan};
use crate::query::{BoundQuery, BoundRank, BoundTotals};
use crate::segment::is_of_ids;
use crate::types::Stats;

/// What a filter is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The first rows.
    Rows(&'a BoundQuery),
    /// Numbers over all that match.
    Totals(&'a BoundTotals),
}

/// A plan, what it was chosen from, and what may be fetched ahead.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) plan: Plan,
    pub(super) known: Known,
    /// What the ranking reads of the index file.
    ahead: Vec<Range<u64>>,
}

impl Choice {
    /// What is fetched while the filter is answered.
    pub(super) fn ahead(&self) -> &[Range<u64>] {
        match self.plan {
            Plan::Together => &self.ahead,
            Plan::FilterFirst | Plan::ScanFirst => &[],
        }
    }
}

/// Chooses how to search a segment. Errors: of the reader. Cancel safe.
pub(super) async fn choose(
    part: &Part,
    filter: &BoundFilter,
    wanted: Wanted<'_>,
    asked: Option<Plan>,
) -> Result<Choice> {
    let footer = part.reader.footer().await?;
    let columns = match wanted {
        Wanted::Rows(query) => match &query.rank {
            BoundRank::Order(order) => of_order(&footer, order),
            BoundRank::Vector { .. } => None,
        },
        Wanted::Totals(totals) => of_totals(&footer, totals),
    };
    let ahead: Vec<Range<u64>> = columns.iter().flatten().filter_map(ranges_of).collect();
    let n_bytes = filter.weight();
    let (reader, filter, rows) = (
        part.reader.clone(),
        filter.clone(),
        part.live.count() as u64,
    );
    let guess = move || guess(&footer, &reader.segment().stats, &filter, rows);
    let guessed = part.compute.run_sized(n_bytes, guess).await?;
    let known = Known {
        wanted: match wanted {
            // The first rows of the order are those of the pages before, and none of them is wanted.
            Wanted::Rows(query) if query.continues => None,
            Wanted::Rows(query) => Some(query.wanted() as u64),
            Wanted::Totals(_) => None,
        },
        absent_bytes: part.reader.absent_bytes(&ahead).await?,
        rank_bytes: columns.map(|columns| {
            let bytes = columns.iter().filter_map(|index| index.column());
            bytes.map(Column::bytes).sum()
        }),
        ..guessed
    };
    Ok(Choice {
        plan: known.choose(asked),
        known,
        ahead,
    })
}

/// What is known of a filter over `rows` rows of a segment.
fn guess(footer: &Footer, stats: &Stats, filter: &BoundFilter, rows: u64) -> Known {
    let lookup = |attr| footer.indexed(attr);
    let sources = Sources {
        lookup: &lookup,
        is_known: &is_of_ids,
    };
    let (by_index, rest) = index::split(filter, sources);
    let left = by_index
        .as_ref()
        .map(|by_index| index::estimate(by_index, stats, &lookup));
    let bytes_of = |filter: Option<&BoundFilter>| match columns_of(filter) {
        columns if columns.attrs.is_empty() && !columns.id => 0,
        columns => footer.column_bytes(&columns.attrs(), columns.id),
    };
    Known {
        rows,
        wanted: None,
        share: index::estimate(filter, stats, &lookup).share,
        share_by_index: left.map_or(1.0, |left| left.share),
        filter_bytes: left.map_or(0, |left| left.bytes),
        rest_bytes: bytes_of(rest.as_ref()),
        filtered_bytes: bytes_of(Some(filter)),
        rank_bytes: None,
        absent_bytes: 0,
    }
}

/// The columns that an order reads; `None` where columns do not tell it.
fn of_order(footer: &Footer, order: &BoundOrder) -> Option<Vec<Arc<AttributeIndex>>> {
    let RowOrder::Ids = footer.row_order();
    let keys = order.by_columns(&|attr| footer.indexed(attr))?;
    let columns = keys.into_iter().filter_map(|key| match key {
        TopKey::Column { index, .. } => Some(index),
        TopKey::Row { .. } => None,
    });
    Some(columns.collect())
}

/// The columns that numbers over rows read; `None` where one is of no column.
fn of_totals(footer: &Footer, totals: &BoundTotals) -> Option<Vec<Arc<AttributeIndex>>> {
    let mut columns = Vec::new();
    for attr in totals.attributes() {
        match footer.indexed(attr) {
            Indexed::Absent => {}
            Indexed::By(index) => columns.push(index),
            Indexed::Not => return None,
        }
    }
    Some(columns)
}

fn ranges_of(index: &Arc<AttributeIndex>) -> Option<Range<u64>> {
    let column = index.column()?;
    let last = column.n_groups().checked_sub(1)?;
    Some(column.range(0).start..column.range(last).end)
}
