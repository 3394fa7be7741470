//! What a filter is once a schema has said what its names and values mean.

use std::sync::Arc;

use uuid::Uuid;

use crate::types::{AttrId, Value};

/// What a leaf looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The document's id.
    Id,
    /// An attribute.
    Attribute(AttrId),
}

/// A comparison of a present value with an operand of the same type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal; a missing value is not.
    Eq,
    /// Less; a missing value is.
    Lt,
    /// Less or equal; a missing value is.
    Lte,
    /// Greater; a missing value is not.
    Gt,
    /// Greater or equal; a missing value is not.
    Gte,
}

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

/// A filter tree in which every leaf is typed and `null` operands are gone.
#[derive(Debug, Clone, PartialEq)]
pub enum BoundFilter {
    /// Every row, or none.
    Constant(bool),
    /// All of them.
    And(Vec<BoundFilter>),
    /// Any of them.
    Or(Vec<BoundFilter>),
    /// The complement.
    Not(Box<BoundFilter>),
    /// The value is missing.
    Missing(AttrId),
    /// The value compares so with the operand.
    Compare {
        /// What to look at.
        target: Target,
        /// The comparison.
        comparison: Comparison,
        /// A value of the target's type, never null.
        operand: Value,
    },
    /// The value, or any element of it if it is a list, is a member; a missing value is not.
    In {
        /// What to look at.
        target: Target,
        /// The operands.
        members: Members,
    },
}
