//! What a filter is once a schema has said what its names and values mean.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::members::Members;
use super::pattern::Pattern;
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
    /// An element of the list compares so with the operand; a missing and an empty list have none.
    AnyElement {
        /// What to look at.
        attr: AttrId,
        /// The comparison.
        comparison: Comparison,
        /// A value of the elements' type, never null.
        operand: Value,
    },
    /// The text, or any element of it if it is a list, fits a pattern; a missing value does not.
    Matches {
        /// What to look at.
        target: Target,
        /// The pattern, compiled once for the query.
        pattern: Arc<Pattern>,
    },
}

/// Which columns an evaluation looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Attributes.
    pub attrs: BTreeSet<AttrId>,
    /// Whether ids are looked at too.
    pub id: bool,
}

impl Columns {
    /// Adds what a target names.
    pub fn add(&mut self, target: Target) {
        match target {
            Target::Id => self.id = true,
            Target::Attribute(attr) => {
                self.attrs.insert(attr);
            }
        }
    }

    /// The attributes in order.
    pub fn attrs(&self) -> Vec<AttrId> {
        self.attrs.iter().copied().collect()
    }
}

impl BoundFilter {
    /// How many parts it has, operands of lists included: what looking at it costs.
    pub fn parts(&self) -> usize {
        1 + match self {
            Self::And(children) | Self::Or(children) => children.iter().map(Self::parts).sum(),
            Self::Not(child) => child.parts(),
            Self::In { members, .. } => members.len(),
            Self::Constant(_)
            | Self::Missing(_)
            | Self::Compare { .. }
            | Self::AnyElement { .. }
            | Self::Matches { .. } => 0,
        }
    }

    /// What looking at it costs, as bytes of a scan.
    pub fn weight(&self) -> u64 {
        const BYTES_A_PART: usize = 64;
        self.parts().saturating_mul(BYTES_A_PART) as u64
    }

    /// Adds the columns that it looks at.
    pub fn columns(&self, into: &mut Columns) {
        match self {
            Self::Constant(_) => {}
            Self::And(children) | Self::Or(children) => {
                children.iter().for_each(|child| child.columns(into));
            }
            Self::Not(child) => child.columns(into),
            Self::Missing(attr) | Self::AnyElement { attr, .. } => {
                into.attrs.insert(*attr);
            }
            Self::Compare { target, .. }
            | Self::In { target, .. }
            | Self::Matches { target, .. } => {
                into.add(*target);
            }
        }
    }
}
