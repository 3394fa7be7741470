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
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Eq,
        Self::NotEq,
        Self::Lt,
        Self::Lte,
        Self::Gt,
        Self::Gte,
    ];

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

/// A test of the elements of a list; a missing and an empty list have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListOp {
    /// One equals the operand.
    Contains,
    /// The exact complement of `Contains`.
    NotContains,
    /// One is among the operands.
    ContainsAny,
    /// The exact complement of `ContainsAny`.
    NotContainsAny,
    /// One is less.
    AnyLt,
    /// One is less or equal.
    AnyLte,
    /// One is greater.
    AnyGt,
    /// One is greater or equal.
    AnyGte,
}

impl ListOp {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Contains,
        Self::NotContains,
        Self::ContainsAny,
        Self::NotContainsAny,
        Self::AnyLt,
        Self::AnyLte,
        Self::AnyGt,
        Self::AnyGte,
    ];

    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contains => "Contains",
            Self::NotContains => "NotContains",
            Self::ContainsAny => "ContainsAny",
            Self::NotContainsAny => "NotContainsAny",
            Self::AnyLt => "AnyLt",
            Self::AnyLte => "AnyLte",
            Self::AnyGt => "AnyGt",
            Self::AnyGte => "AnyGte",
        }
    }
}

/// A test of text, or of the elements of a list of text, by a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatternOp {
    /// All of the text fits a glob.
    Glob,
    /// The exact complement of `Glob`.
    NotGlob,
    /// `Glob` without regard to case.
    IGlob,
    /// The exact complement of `IGlob`.
    NotIGlob,
    /// A part of the text fits a regular expression.
    Regex,
}

impl PatternOp {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Glob,
        Self::NotGlob,
        Self::IGlob,
        Self::NotIGlob,
        Self::Regex,
    ];

    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Glob => "Glob",
            Self::NotGlob => "NotGlob",
            Self::IGlob => "IGlob",
            Self::NotIGlob => "NotIGlob",
            Self::Regex => "Regex",
        }
    }
}

impl Filter {
    /// How many patterns it has.
    pub fn patterns(&self) -> usize {
        match self {
            Self::And(children) | Self::Or(children) => children.iter().map(Self::patterns).sum(),
            Self::Not(child) => child.patterns(),
            Self::Pattern { .. } => 1,
            Self::Compare { .. } | Self::In { .. } | Self::List { .. } => 0,
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
    /// `[attribute, op, value]` on the elements of a list.
    List {
        /// Attribute name, or `id`.
        attribute: String,
        /// The operator.
        op: ListOp,
        /// The operand: a list for `ContainsAny` and its complement.
        value: RawValue,
    },
    /// `[attribute, op, pattern]` on text.
    Pattern {
        /// Attribute name, or `id`.
        attribute: String,
        /// The operator.
        op: PatternOp,
        /// The operand, which should be text.
        value: RawValue,
    },
}
