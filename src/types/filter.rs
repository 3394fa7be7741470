//! Filters as a user writes them, before a schema has been asked.

use super::document::RawValue;

/// A comparison that takes one value, `null` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal; with `null`: missing.
    Eq,
    /// The exact complement of `Eq`.
    NotEq,
    /// Less; a missing value sorts below everything.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

impl CompareOp {
    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eq => "Eq",
            Self::NotEq => "NotEq",
            Self::Lt => "Lt",
            Self::Lte => "Lte",
            Self::Gt => "Gt",
            Self::Gte => "Gte",
        }
    }
}

/// A filter tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of them; an empty list is true.
    And(Vec<Filter>),
    /// Any of them; an empty list is false.
    Or(Vec<Filter>),
    /// The complement.
    Not(Box<Filter>),
    /// `[attribute, op, value]`.
    Compare {
        /// Attribute name, or `id`.
        attribute: String,
        /// The operator.
        op: CompareOp,
        /// The operand.
        value: RawValue,
    },
    /// `[attribute, "In", list]`, or `NotIn` where `negated`.
    In {
        /// Attribute name, or `id`.
        attribute: String,
        /// The operands; never null.
        values: Vec<RawValue>,
        /// Whether it is `NotIn`.
        negated: bool,
    },
}
