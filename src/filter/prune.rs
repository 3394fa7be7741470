//! Decides from a segment's stats alone whether a filter can match any of its rows. Whatever is not sure
//! is `Maybe`: that costs time, the other two would cost answers.

use std::cmp::Ordering;

use super::bound::{BoundFilter, Comparison, Target};
use super::members::Members;
use crate::types::{Bound, Stats, Timestamp, Value};

/// How many rows of a segment a filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// None, for sure.
    Never,
    /// Nobody knows without looking.
    Maybe,
    /// All, for sure.
    Always,
}

impl Verdict {
    fn of(matches: bool) -> Self {
        if matches { Self::Always } else { Self::Never }
    }

    fn not(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }

    /// The verdict of two kinds of rows that are both there.
    fn beside(self, other: Self) -> Self {
        if self == other { self } else { Self::Maybe }
    }
}

/// Judges a filter by stats, which are of all rows of the segment, dead ones included.
pub fn prune(filter: &BoundFilter, stats: &Stats) -> Verdict {
    match filter {
        BoundFilter::Constant(value) => Verdict::of(*value),
        BoundFilter::And(children) => all(children.iter().map(|child| prune(child, stats))),
        BoundFilter::Or(children) => {
            all(children.iter().map(|child| prune(child, stats).not())).not()
        }
        BoundFilter::Not(child) => prune(child, stats).not(),
        BoundFilter::Missing(attr) => {
            let range = Range::of(stats, Target::Attribute(*attr));
            range.map_or(Verdict::Maybe, |range| {
                range.judge(Verdict::Never, Verdict::Always)
            })
        }
        BoundFilter::Compare {
            target,
            comparison,
            operand,
        } => Range::of(stats, *target).map_or(Verdict::Maybe, |range| {
            let missing = matches!(comparison, Comparison::Lt | Comparison::Lte);
            let present = range.by_values(|value| compares(value, *comparison, operand));
            let present = present.unwrap_or_else(|| range.compare(*comparison, operand));
            range.judge(present, Verdict::of(missing))
        }),
        BoundFilter::In { target, members } => {
            Range::of(stats, *target).map_or(Verdict::Maybe, |range| {
                let present = range.by_values(|value| contains(members, value));
                let present = present.unwrap_or_else(|| range.is_in(members));
                range.judge(present, Verdict::Never)
            })
        }
        // Stats are of scalars alone.
        BoundFilter::AnyElement { .. } => Verdict::Maybe,
        BoundFilter::Matches { target, pattern } => {
            Range::of(stats, *target).map_or(Verdict::Maybe, |range| {
                let present = range.by_values(|value| match value {
                    Bound::String(text) => Some(pattern.matches(text)),
                    _ => None,
                });
                let present = present.unwrap_or_else(|| range.starts_with(pattern.prefix()));
                range.judge(present, Verdict::Never)
            })
        }
    }
}

fn all(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut found = Verdict::Always;
    for verdict in verdicts {
        match verdict {
            Verdict::Never => return Verdict::Never,
            Verdict::Maybe => found = Verdict::Maybe,
            Verdict::Always => {}
        }
    }
    found
}

/// What is known of the values of one attribute. Its ends need not be values.
struct Range<'a> {
    min: Option<&'a Bound>,
    max: Option<&'a Bound>,
    /// All values, where they are known.
    values: Option<&'a [Bound]>,
    has_nulls: bool,
}

impl<'a> Range<'a> {
    fn of(stats: &'a Stats, target: Target) -> Option<Self> {
        match target {
            Target::Id => Some(Self {
                min: Some(&stats.id_min),
                max: Some(&stats.id_max),
                values: None,
                has_nulls: false,
            }),
            Target::Attribute(attr) => stats.attribute(attr).map(|known| Self {
                min: known.min.as_ref(),
                max: known.max.as_ref(),
                values: known.values.as_deref(),
                has_nulls: known.nulls > 0,
            }),
        }
    }

    /// Joins the verdict on rows with a value and that on rows without, as far as there are any.
    fn judge(&self, present: Verdict, missing: Verdict) -> Verdict {
        match (self.min.is_some(), self.has_nulls) {
            (true, true) => present.beside(missing),
            (true, false) => present,
            (false, true) => missing,
            // No row at all, or stats that make no sense.
            (false, false) => Verdict::Maybe,
        }
    }

    /// The verdict on rows with a value, from a test of each value; `None` where the values are not known, or the
    /// test says nothing of one.
    fn by_values(&self, test: impl Fn(&Bound) -> Option<bool>) -> Option<Verdict> {
        let values = self.values.filter(|values| !values.is_empty())?;
        let mut verdicts = values.iter().map(|value| test(value).map(Verdict::of));
        let first = verdicts.next()??;
        verdicts.try_fold(first, |all, one| Some(all.beside(one?)))
    }

    /// The verdict on rows with a value.
    fn compare(&self, comparison: Comparison, operand: &Value) -> Verdict {
        let min = self.min.and_then(|min| order(min, operand));
        let max = self.max.and_then(|max| order(max, operand));
        let below = |end: Option<Ordering>| end.map(Ordering::is_lt);
        let above = |end: Option<Ordering>| end.map(Ordering::is_gt);
        match comparison {
            Comparison::Eq if above(min) == Some(true) || below(max) == Some(true) => {
                Verdict::Never
            }
            Comparison::Eq if min == Some(Ordering::Equal) && max == min => Verdict::Always,
            Comparison::Eq => Verdict::Maybe,
            Comparison::Lt => one_sided(below(max), below(min)),
            Comparison::Gte => one_sided(below(max), below(min)).not(),
            Comparison::Gt => one_sided(above(min), above(max)),
            Comparison::Lte => one_sided(above(min), above(max)).not(),
        }
    }

    /// The verdict on rows with a value.
    fn is_in(&self, members: &Members) -> Verdict {
        match members {
            Members::Bools(wanted) => {
                let flags = [false, true].into_iter().zip(wanted);
                let wanted = flags.filter(|(_, wanted)| **wanted);
                self.any_of(wanted.map(|(flag, _)| Value::Bool(flag)))
            }
            Members::Ints(sorted) => match self.min {
                Some(Bound::Datetime(_)) => {
                    self.within(sorted, |ms| Value::Datetime(Timestamp(*ms)))
                }
                _ => self.within(sorted, |value| Value::Int(*value)),
            },
            Members::Uints(sorted) => self.within(sorted, |value| Value::Uint(*value)),
            Members::Floats(sorted) => self.within(sorted, |value| Value::Float(*value)),
            Members::Uuids(sorted) => self.within(sorted, |value| Value::Uuid(*value)),
            Members::Strings(sorted) => {
                self.within(sorted, |value| Value::String(std::sync::Arc::clone(value)))
            }
        }
    }

    /// Looks at the first member that is not below the range: of all members it alone decides whether one
    /// is inside.
    fn within<T>(&self, sorted: &[T], value: impl Fn(&T) -> Value) -> Verdict {
        let from = sorted.partition_point(|member| {
            let order = self.min.and_then(|min| order(min, &value(member)));
            order == Some(Ordering::Greater)
        });
        self.any_of(sorted.iter().skip(from).take(1).map(value))
    }

    /// The verdict on rows with a value, of a test that only text with this start can pass.
    fn starts_with(&self, prefix: &str) -> Verdict {
        let prefix = prefix.as_bytes();
        let text = |bound: Option<&'a Bound>| match bound {
            Some(Bound::String(text)) => Some(text.as_bytes()),
            _ => None,
        };
        // Text with the prefix is not below it, and up to the prefix's length not above it.
        let all_below = text(self.max).is_some_and(|max| max < prefix);
        let all_above =
            text(self.min).is_some_and(|min| &min[..min.len().min(prefix.len())] > prefix);
        if all_below || all_above {
            Verdict::Never
        } else {
            Verdict::Maybe
        }
    }

    fn any_of(&self, members: impl Iterator<Item = Value>) -> Verdict {
        let others = members.map(|member| self.compare(Comparison::Eq, &member).not());
        all(others).not()
    }
}

/// The verdict on `value < operand` where `all` says it of the largest value and `any` of the smallest; so
/// too for the other direction.
fn one_sided(all: Option<bool>, any: Option<bool>) -> Verdict {
    match (all, any) {
        (Some(true), _) => Verdict::Always,
        (_, Some(false)) => Verdict::Never,
        _ => Verdict::Maybe,
    }
}

/// Whether a value compares so; `None` if it is of another type than the operand.
fn compares(value: &Bound, comparison: Comparison, operand: &Value) -> Option<bool> {
    let order = order(value, operand)?;
    Some(match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Lt => order.is_lt(),
        Comparison::Lte => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Gte => order.is_ge(),
    })
}

/// Whether a value is a member; `None` if it is of another type than the members.
fn contains(members: &Members, value: &Bound) -> Option<bool> {
    Some(match (members, value) {
        (Members::Bools(wanted), Bound::Bool(value)) => wanted[usize::from(*value)],
        (Members::Ints(sorted), Bound::Int(value) | Bound::Datetime(value)) => {
            sorted.binary_search(value).is_ok()
        }
        (Members::Uints(sorted), Bound::Uint(value)) => sorted.binary_search(value).is_ok(),
        (Members::Floats(sorted), Bound::Float(bits)) => {
            // Members have no -0.0.
            let value = f64::from_bits(*bits) + 0.0;
            sorted.binary_search_by(|one| one.total_cmp(&value)).is_ok()
        }
        (Members::Uuids(sorted), Bound::Uuid(value)) => sorted.binary_search(value).is_ok(),
        (Members::Strings(sorted), Bound::String(text)) => {
            let text = text.as_str();
            sorted.binary_search_by(|one| (**one).cmp(text)).is_ok()
        }
        _ => return None,
    })
}

/// Compares a bound with an operand; `None` if they are of different types or not comparable.
fn order(bound: &Bound, operand: &Value) -> Option<Ordering> {
    match (bound, operand) {
        (Bound::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Bound::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Bound::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Bound::Float(bits), Value::Float(b)) => f64::from_bits(*bits).partial_cmp(b),
        (Bound::Datetime(a), Value::Datetime(b)) => Some(a.cmp(&b.0)),
        (Bound::Uuid(a), Value::Uuid(b)) => Some(a.cmp(b)),
        (Bound::String(a), Value::String(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
        _ => None,
    }
}
