//! Words about segments that entries and manifests hold: references to objects, and what segments hold at
//! a glance.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::sequence::hex16;
use super::{AttrId, DocId, Timestamp, Value};

/// An immutable object: where it lies, how long it is, what it hashes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// Its key, below the prefix of the store.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of the whole object.
    #[serde(with = "hex16")]
    pub hash: u128,
}

/// Where the footer of an index file lies: one ranged read, proved by the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FooterRef {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length; it ends where the file does.
    pub bytes: u64,
    /// XXH3-128 of it.
    #[serde(with = "hex16")]
    pub hash: u128,
}

/// What a segment holds at a glance, so that queries can pass it over. Bounded in size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// The smallest id.
    pub id_min: Bound,
    /// The largest id, never cut: ids are short.
    pub id_max: Bound,
    /// Filterable scalar attributes, ascending by attribute; one that is missing here says nothing.
    pub attributes: Vec<AttributeStats>,
}

impl Stats {
    /// Finds what is known of an attribute.
    pub fn attribute(&self, attr: AttrId) -> Option<&AttributeStats> {
        let at = self
            .attributes
            .binary_search_by_key(&attr, |stats| stats.attr);
        self.attributes.get(at.ok()?)
    }
}

/// What is known of one scalar attribute in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeStats {
    /// Which attribute.
    pub attr: AttrId,
    /// Rows without a value.
    pub nulls: u64,
    /// No value is smaller. `None` where no row has a value.
    pub min: Option<Bound>,
    /// No value is larger. `None` where no row has a value, and where no short text is an upper bound
    /// (then `min` is there).
    pub max: Option<Bound>,
    /// All distinct values, ascending, where they are few and short; none is cut. `None` says nothing.
    pub values: Option<Vec<Bound>>,
}

/// A value at the edge of a range. Text may be cut: a bound need not be a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    tag = "type",
    content = "value",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Bound {
    /// Boolean.
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    Uint(u64),
    /// The bits of a float: decimal text may lose some.
    Float(u64),
    /// UTC milliseconds.
    Datetime(i64),
    /// UUID.
    Uuid(Uuid),
    /// Text.
    String(String),
}

impl Bound {
    /// Makes the bound of an id.
    pub fn of_id(id: &DocId) -> Self {
        match id {
            DocId::Uint(id) => Self::Uint(*id),
            DocId::Uuid(id) => Self::Uuid(*id),
            DocId::String(id) => Self::String(id.to_string()),
        }
    }

    /// Reads it as an id; `None` if ids are never of this type.
    pub fn to_id(&self) -> Option<DocId> {
        match self {
            Self::Uint(id) => Some(DocId::Uint(*id)),
            Self::Uuid(id) => Some(DocId::Uuid(*id)),
            Self::String(id) => Some(DocId::String(id.as_str().into())),
            _ => None,
        }
    }

    /// Reads it as a value, to be compared by `Value::total_cmp`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::Float(bits) => Value::Float(f64::from_bits(*bits)),
            Self::Datetime(ms) => Value::Datetime(Timestamp(*ms)),
            Self::Uuid(value) => Value::Uuid(*value),
            Self::String(text) => Value::String(text.as_str().into()),
        }
    }
}
