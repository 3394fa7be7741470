//! The operands of a membership test, ready to be searched.

use std::sync::Arc;

use uuid::Uuid;

use crate::types::Value;

/// The operands of a membership test, all of one type, sorted and distinct.
#[derive(Debug, Clone, PartialEq)]
pub enum Members {
    /// Whether `false`, whether `true`.
    Bools([bool; 2]),
    /// Signed integers, and datetimes as milliseconds.
    Ints(Vec<i64>),
    /// Unsigned integers.
    Uints(Vec<u64>),
    /// Floats without `-0.0` and NaN, by total order.
    Floats(Vec<f64>),
    /// UUIDs.
    Uuids(Vec<Uuid>),
    /// Text.
    Strings(Vec<Arc<str>>),
}

impl Members {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Bools(wanted) => wanted.iter().filter(|wanted| **wanted).count(),
            Self::Ints(sorted) => sorted.len(),
            Self::Uints(sorted) => sorted.len(),
            Self::Floats(sorted) => sorted.len(),
            Self::Uuids(sorted) => sorted.len(),
            Self::Strings(sorted) => sorted.len(),
        }
    }

    /// Whether there are none, which [`Members::of`] refuses.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts operands; `None` if there are none, or not all are of one type.
    pub fn of(operands: &[Value]) -> Option<Self> {
        fn all<T>(operands: &[Value], pick: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
            operands.iter().map(pick).collect()
        }
        fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
            values.sort_unstable();
            values.dedup();
            values
        }
        let members = match operands.first()? {
            Value::Bool(_) => {
                let wanted = |flag| operands.contains(&Value::Bool(flag));
                all(operands, |value| {
                    matches!(value, Value::Bool(_)).then_some(())
                })?;
                Self::Bools([wanted(false), wanted(true)])
            }
            Value::Int(_) => Self::Ints(sorted(all(operands, |value| match value {
                Value::Int(value) => Some(*value),
                _ => None,
            })?)),
            Value::Datetime(_) => Self::Ints(sorted(all(operands, |value| match value {
                Value::Datetime(value) => Some(value.0),
                _ => None,
            })?)),
            Value::Uint(_) => Self::Uints(sorted(all(operands, |value| match value {
                Value::Uint(value) => Some(*value),
                _ => None,
            })?)),
            Value::Uuid(_) => Self::Uuids(sorted(all(operands, |value| match value {
                Value::Uuid(value) => Some(*value),
                _ => None,
            })?)),
            Value::String(_) => Self::Strings(sorted(all(operands, |value| match value {
                Value::String(value) => Some(value.clone()),
                _ => None,
            })?)),
            Value::Float(_) => {
                let mut floats = all(operands, |value| match value {
                    Value::Float(value) => Some(*value + 0.0),
                    _ => None,
                })?;
                floats.sort_unstable_by(f64::total_cmp);
                floats.dedup();
                Self::Floats(floats)
            }
            Value::Null
            | Value::Array(_)
            | Value::Bytes(_)
            | Value::Sparse(_)
            | Value::Vector(_) => return None,
        };
        Some(members)
    }
}
