//! What a leaf of a filter asks of an index. The rules for missing values are those of `filter::eval`, to the letter.

use std::sync::Arc;

use super::attribute::AttributeIndex;
use super::dictionary::KeyRange;
use super::select::{Indexed, Lookup};
use super::term;
use crate::filter::{BoundFilter, Comparison, Pattern, Target};
use crate::types::{AttrId, ScalarType, Value};

/// What decides whether a row matches a leaf.
#[derive(Debug)]
pub(super) enum Test {
    /// Nothing: all rows do, or none.
    Constant(bool),
    /// An index.
    Index(Arc<AttributeIndex>, Rule),
}

/// Which rows of an index match.
#[derive(Debug)]
pub(super) enum Rule {
    /// Those without a value.
    Missing,
    /// Those whose number in the column is in `low..=high`, and with `missing` those without.
    Numbers { low: u64, high: u64, missing: bool },
    /// Those whose number in the column is one of these, ascending.
    NumberSet(Vec<u64>),
    /// Those that have one of these keys, ascending.
    KeySet(Vec<Vec<u8>>),
    /// Those that have a key in the range, one that fits, and with `missing` those without a value.
    Keys {
        range: KeyRange,
        pattern: Option<Arc<Pattern>>,
        missing: bool,
    },
}

/// The attribute that a leaf looks at, and whether rows without a value match; `None` for ids, and for what is no leaf.
fn attribute_of(leaf: &BoundFilter) -> Option<(AttrId, bool)> {
    Some(match leaf {
        BoundFilter::Missing(attr) => (*attr, true),
        BoundFilter::AnyElement { attr, .. } => (*attr, false),
        BoundFilter::Compare {
            target: Target::Attribute(attr),
            comparison,
            ..
        } => (*attr, takes_missing(*comparison)),
        BoundFilter::In {
            target: Target::Attribute(attr),
            ..
        }
        | BoundFilter::Matches {
            target: Target::Attribute(attr),
            ..
        } => (*attr, false),
        _ => return None,
    })
}

/// Whether an index decides a leaf: whether [`of`] gives a test.
pub(super) fn decides(leaf: &BoundFilter, lookup: Lookup<'_>) -> bool {
    match attribute_of(leaf).map(|(attr, _)| lookup(attr)) {
        None | Some(Indexed::Not) => false,
        Some(Indexed::Absent) => true,
        Some(Indexed::By(index)) => match leaf {
            // Operands may be many: they are not made into keys for this.
            BoundFilter::In { members, .. } => term::is_of(index.kind, members),
            leaf => rule_of(leaf, &index).is_some(),
        },
    }
}

/// The test of a leaf; `None` where no index decides it.
pub(super) fn of(leaf: &BoundFilter, lookup: Lookup<'_>) -> Option<Test> {
    let (attr, absent) = attribute_of(leaf)?;
    match lookup(attr) {
        Indexed::Absent => Some(Test::Constant(absent)),
        Indexed::Not => None,
        Indexed::By(index) => {
            let rule = rule_of(leaf, &index)?;
            Some(Test::Index(index, rule))
        }
    }
}

/// A missing value sorts below everything.
fn takes_missing(comparison: Comparison) -> bool {
    matches!(comparison, Comparison::Lt | Comparison::Lte)
}

fn rule_of(leaf: &BoundFilter, index: &AttributeIndex) -> Option<Rule> {
    let kind = index.kind;
    let by_number = index.column.is_some() && index.dictionary.is_none();
    match leaf {
        BoundFilter::Missing(_) => Some(Rule::Missing),
        BoundFilter::Compare {
            comparison,
            operand,
            ..
        } if !index.is_list => {
            let missing = takes_missing(*comparison);
            match by_number {
                true => numbers(kind, *comparison, operand, missing),
                false => keys(kind, *comparison, operand, missing),
            }
        }
        BoundFilter::AnyElement {
            comparison,
            operand,
            ..
        } if index.is_list => keys(kind, *comparison, operand, false),
        BoundFilter::In { members, .. } => Some(match by_number {
            true => Rule::NumberSet(term::numbers_of(kind, members)?),
            false => Rule::KeySet(term::keys_of(kind, members)?),
        }),
        BoundFilter::Matches { pattern, .. } if kind == ScalarType::String => Some(Rule::Keys {
            range: KeyRange::prefix(pattern.prefix().as_bytes()),
            pattern: Some(Arc::clone(pattern)),
            missing: false,
        }),
        _ => None,
    }
}

fn numbers(
    kind: ScalarType,
    comparison: Comparison,
    operand: &Value,
    missing: bool,
) -> Option<Rule> {
    let number = term::number_of(kind, operand)?;
    // No number is in a range whose end is below its start.
    const NONE: (u64, u64) = (1, 0);
    let (low, high) = match comparison {
        Comparison::Eq => (number, number),
        Comparison::Lt => number.checked_sub(1).map_or(NONE, |high| (0, high)),
        Comparison::Lte => (0, number),
        Comparison::Gt => number.checked_add(1).map_or(NONE, |low| (low, u64::MAX)),
        Comparison::Gte => (number, u64::MAX),
    };
    Some(Rule::Numbers { low, high, missing })
}

fn keys(kind: ScalarType, comparison: Comparison, operand: &Value, missing: bool) -> Option<Rule> {
    let key = term::key_of(kind, operand)?;
    // The first key behind it.
    let next = [key.as_slice(), &[0]].concat();
    let (from, until) = match comparison {
        Comparison::Eq => return Some(Rule::KeySet(vec![key])),
        Comparison::Lt => (Vec::new(), Some(key)),
        Comparison::Lte => (Vec::new(), Some(next)),
        Comparison::Gt => (next, None),
        Comparison::Gte => (key, None),
    };
    Some(Rule::Keys {
        range: KeyRange { from, until },
        pattern: None,
        missing,
    })
}
