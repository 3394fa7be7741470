//! Typed values, their types, and the one total order and equality used by filters, orders and tests.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Timestamp;

/// The type of one array element or of a scalar attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScalarType {
    /// UTF-8 text, ordered by bytes.
    String,
    /// Signed 64-bit integer.
    Int,
    /// Unsigned 64-bit integer.
    Uint,
    /// 64-bit float, never NaN.
    Float,
    /// UUID, ordered by bytes.
    Uuid,
    /// UTC milliseconds since the epoch.
    Datetime,
    /// Boolean, false first.
    Bool,
}

impl ScalarType {
    /// All scalar types.
    pub const ALL: [Self; 7] = [
        Self::String,
        Self::Int,
        Self::Uint,
        Self::Float,
        Self::Uuid,
        Self::Datetime,
        Self::Bool,
    ];

    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Float => "float",
            Self::Uuid => "uuid",
            Self::Datetime => "datetime",
            Self::Bool => "bool",
        }
    }
}

/// How one number of a dense vector is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VectorElement {
    /// 32-bit float.
    F32,
    /// 16-bit float: 11 bits of precision, up to 65,504.
    F16,
    /// Signed 8-bit integer.
    I8,
}

impl VectorElement {
    /// All widths.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::I8];

    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
        }
    }

    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::I8 => 1,
        }
    }
}

/// The type of an attribute. Written `string`, `[]int`, `[128]f32` and so on in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum AttributeType {
    /// One value.
    Scalar(ScalarType),
    /// A list of values; null elements are not allowed.
    Array(ScalarType),
    /// Only empty arrays seen so far: `[]unknown`.
    ArrayUnknown,
    /// Bytes that nothing looks into.
    Bytes,
    /// A sparse vector, weights by dimension: `{}f16`.
    Sparse,
    /// A dense vector: `[128]f32`.
    Vector {
        /// Number of dimensions, 1 to 10,752.
        dims: u32,
        /// How each of its numbers is stored.
        element: VectorElement,
    },
}

impl AttributeType {
    /// Parses the API's spelling; `None` for anything this version does not know.
    pub fn parse(text: &str) -> Option<Self> {
        let scalar = |name: &str| ScalarType::ALL.into_iter().find(|kind| kind.name() == name);
        if let Some(element) = text.strip_prefix("[]") {
            if element == "unknown" {
                return Some(Self::ArrayUnknown);
            }
            return scalar(element).map(Self::Array);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (dims, element) = rest.split_once(']')?;
            let mut elements = VectorElement::ALL.into_iter();
            let element = elements.find(|known| known.name() == element)?;
            let digits = !dims.is_empty() && dims.bytes().all(|byte| byte.is_ascii_digit());
            let dims = dims.parse::<u32>().ok().filter(|_| digits)?;
            let legal = (1..=super::limits::VECTOR_DIMS_MAX as u32).contains(&dims);
            return legal.then_some(Self::Vector { dims, element });
        }
        match text {
            "bytes" => Some(Self::Bytes),
            "{}f16" => Some(Self::Sparse),
            _ => scalar(text).map(Self::Scalar),
        }
    }

    /// Whether filters and orders may name attributes of this type.
    pub fn may_filter(self) -> bool {
        match self {
            Self::Scalar(_) | Self::Array(_) | Self::ArrayUnknown => true,
            Self::Bytes | Self::Sparse | Self::Vector { .. } => false,
        }
    }

    /// Whether it is a dense vector.
    pub fn is_vector(self) -> bool {
        matches!(self, Self::Vector { .. })
    }
}

impl From<AttributeType> for String {
    fn from(kind: AttributeType) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for AttributeType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("unknown attribute type `{text}`"))
    }
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(kind) => f.write_str(kind.name()),
            Self::Array(kind) => write!(f, "[]{}", kind.name()),
            Self::ArrayUnknown => f.write_str("[]unknown"),
            Self::Bytes => f.write_str("bytes"),
            Self::Sparse => f.write_str("{}f16"),
            Self::Vector { dims, element } => write!(f, "[{dims}]{}", element.name()),
        }
    }
}

/// One value of an attribute. Absent is `Null`: the API makes no difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Absent.
    Null,
    /// Boolean.
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer.
    Uint(u64),
    /// Float, never NaN.
    Float(f64),
    /// Milliseconds since the epoch.
    Datetime(Timestamp),
    /// UUID.
    Uuid(Uuid),
    /// Text.
    String(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Sparse vector: weights by dimension, ascending by the bytes of its name.
    Sparse(Arc<[(Arc<str>, f32)]>),
    /// List of scalars of one type.
    Array(Arc<[Value]>),
    /// Dense vector, whatever width it is stored in.
    Vector(Arc<[f32]>),
}

impl Value {
    /// Orders two values: null first, then by value within one type. Values of different types are
    /// ordered by type, which binding makes unreachable for stored data.
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Uint(a), Self::Uint(b)) => a.cmp(b),
            // -0.0 equals 0.0, as JSON clients expect; NaN is refused before it is stored.
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Datetime(a), Self::Datetime(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Sparse(a), Self::Sparse(b)) => a
                .iter()
                .zip(b.iter())
                .map(|((a, x), (b, y))| a.cmp(b).then(x.total_cmp(y)))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len())),
            (Self::Array(a), Self::Array(b)) => a
                .iter()
                .zip(b.iter())
                .map(|(x, y)| x.total_cmp(y))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len())),
            (Self::Vector(a), Self::Vector(b)) => a
                .iter()
                .zip(b.iter())
                .map(|(x, y)| x.total_cmp(y))
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len())),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Uint(_) => 3,
            Self::Float(_) => 4,
            Self::Datetime(_) => 5,
            Self::Uuid(_) => 6,
            Self::String(_) => 7,
            Self::Array(_) => 8,
            Self::Vector(_) => 9,
            Self::Bytes(_) => 10,
            Self::Sparse(_) => 11,
        }
    }
}
