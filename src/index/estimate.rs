//! What a filter will match and read, guessed from directories: nothing is read for it, and nothing but cost may depend on it.

use std::collections::BTreeSet;

use super::attribute::AttributeIndex;
use super::column::Column;
use super::dictionary::{Dictionary, KeyRange};
use super::rule::{self, Rule, Test};
use super::select::Lookup;
use crate::filter::{self, BoundFilter, Verdict};
use crate::types::{ScalarType, Stats, order_bits};

/// The share of rows that a leaf matches of which nothing is known.
const UNKNOWN: f64 = 0.3;
/// The share of keys that fit a pattern, of those with its prefix.
const FITS: f64 = 0.25;

/// A guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The share of rows that match, 0 to 1.
    pub share: f64,
    /// Bytes of indexes to read.
    pub bytes: u64,
}

impl Estimate {
    fn of(share: f64, bytes: u64) -> Self {
        // NaN comes of ranges that make no sense.
        let share = if share.is_nan() { UNKNOWN } else { share };
        Self {
            share: share.clamp(0.0, 1.0),
            bytes,
        }
    }
}

/// Guesses what a filter matches and reads.
pub fn estimate(filter: &BoundFilter, stats: &Stats, lookup: Lookup<'_>) -> Estimate {
    match filter::prune(filter, stats) {
        Verdict::Always => return Estimate::of(1.0, 0),
        Verdict::Never => return Estimate::of(0.0, 0),
        Verdict::Maybe => {}
    }
    let children = |children: &[BoundFilter]| {
        let all = children.iter().map(|child| estimate(child, stats, lookup));
        all.collect::<Vec<_>>()
    };
    let bytes = |all: &[Estimate]| all.iter().map(|one| one.bytes).fold(0, u64::saturating_add);
    match filter {
        BoundFilter::Constant(matches) => Estimate::of(f64::from(u8::from(*matches)), 0),
        BoundFilter::And(parts) => {
            let all = children(parts);
            Estimate::of(all.iter().map(|one| one.share).product(), bytes(&all))
        }
        BoundFilter::Or(parts) => {
            let all = children(parts);
            let none: f64 = all.iter().map(|one| 1.0 - one.share).product();
            Estimate::of(1.0 - none, bytes(&all))
        }
        BoundFilter::Not(child) => {
            let one = estimate(child, stats, lookup);
            Estimate::of(1.0 - one.share, one.bytes)
        }
        leaf => match rule::of(leaf, lookup) {
            None => Estimate::of(UNKNOWN, 0),
            Some(Test::Constant(matches)) => Estimate::of(f64::from(u8::from(matches)), 0),
            Some(Test::Index(index, rule)) => of_rule(&index, &rule),
        },
    }
}

fn of_rule(index: &AttributeIndex, rule: &Rule) -> Estimate {
    let n_rows = f64::from(index.n_rows.max(1));
    let missing = f64::from(index.n_missing) / n_rows;
    let present = 1.0 - missing;
    let listed = index.missing.as_ref();
    let missing_bytes = listed.map_or(0, |list| list.range.end - list.range.start);
    match (rule, &index.column, &index.dictionary) {
        (Rule::Missing, ..) => Estimate::of(missing, missing_bytes),
        (Rule::Numbers { low, high, missing }, Some(column), _) => {
            let estimate = of_range(column, index.kind, (*low, *high));
            let more = if *missing { 1.0 - present } else { 0.0 };
            Estimate::of(estimate.share + more, estimate.bytes)
        }
        (Rule::NumberSet(numbers), Some(column), _) => {
            let all = numbers.first().zip(numbers.last());
            let within = all.map(|(low, high)| of_range(column, index.kind, (*low, *high)));
            let bytes = within.map_or(0, |within| within.bytes);
            let span = all.map_or(0, |(low, high)| high - low);
            // As if the numbers of the column lay as close as they can, but no closer than one a row.
            let share = numbers.len() as f64 / (span as f64 + 1.0).max(1.0);
            let share = within.map_or(0.0, |within| within.share * share);
            Estimate::of(share.max(numbers.len() as f64 / n_rows), bytes)
        }
        (Rule::KeySet(keys), _, Some(dictionary)) => {
            let blocks: BTreeSet<usize> = keys
                .iter()
                .filter_map(|key| dictionary.block_of(key))
                .collect();
            let share = keys.len() as f64 / f64::from(dictionary.n_values().max(1));
            let lists = dictionary.list_bytes(&dictionary.blocks(&KeyRange::all())) as f64 * share;
            let entries = blocks.iter().map(|block| dictionary.range(*block));
            let entries: u64 = entries.map(|range| range.end - range.start).sum();
            Estimate::of(present * share, entries.saturating_add(lists as u64))
        }
        (
            Rule::Keys {
                range,
                pattern,
                missing,
            },
            column,
            Some(dictionary),
        ) => {
            let mut estimate = of_keys(dictionary, range, column.as_ref(), pattern.is_some());
            estimate.share *= present;
            if *missing {
                estimate.share += 1.0 - present;
                estimate.bytes = estimate.bytes.saturating_add(missing_bytes);
            }
            Estimate::of(estimate.share, estimate.bytes)
        }
        _ => Estimate::of(UNKNOWN, 0),
    }
}

fn of_range(column: &Column, kind: ScalarType, (low, high): (u64, u64)) -> Estimate {
    // How much lies from one number to another, both included.
    let width = |from: u64, until: u64| match kind {
        ScalarType::Float => order_bits::to_float(until) - order_bits::to_float(from),
        _ => (until - from) as f64 + 1.0,
    };
    let (mut rows, mut bytes) = (0.0, 0_u64);
    for group in 0..column.n_groups() {
        let known = column.ends(group);
        let Some((least, most)) = known.ends else {
            continue;
        };
        if low > high || high < least || low > most {
            continue;
        }
        let n_rows = column.group_rows(group).len() as f64;
        if low <= least && high >= most {
            rows += n_rows;
        } else {
            let within = width(low.max(least), high.min(most));
            let share = within / width(least, most).max(f64::MIN_POSITIVE);
            rows += n_rows * share.clamp(0.0, 1.0);
        }
        if known.has_missing || low > least || high < most {
            let range = column.range(group);
            bytes = bytes.saturating_add(range.end - range.start);
        }
    }
    Estimate::of(rows / (column.rows() as f64).max(1.0), bytes)
}

fn of_keys(
    dictionary: &Dictionary,
    range: &KeyRange,
    column: Option<&Column>,
    has_pattern: bool,
) -> Estimate {
    let blocks = dictionary.blocks(range);
    let all = dictionary.blocks(&KeyRange::all()).len().max(1);
    let share = match (has_pattern, *range == KeyRange::all()) {
        (true, _) => FITS * blocks.len() as f64 / all as f64,
        (false, true) => 1.0,
        // Of the blocks at the ends about a half.
        (false, false) => (blocks.len() as f64 - 0.5) / all as f64,
    };
    let entries = dictionary.range(blocks.end).start - dictionary.range(blocks.start).start;
    let by_lists = entries.saturating_add(dictionary.list_bytes(&blocks));
    let bytes = match column {
        Some(column) if !has_pattern => by_lists.min(column.bytes()),
        _ => by_lists,
    };
    Estimate::of(share, bytes)
}
