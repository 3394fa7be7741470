//! Types and values as a client knows them: what fits a type, how values compare, how they come back.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::text;

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Int,
    Uint,
    Float,
    Uuid,
    Time,
    Bool,
}

impl Scalar {
    pub(super) const ALL: [Self; 7] = [
        Self::Text,
        Self::Int,
        Self::Uint,
        Self::Float,
        Self::Uuid,
        Self::Time,
        Self::Bool,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Float => "float",
            Self::Uuid => "uuid",
            Self::Time => "datetime",
            Self::Bool => "bool",
        }
    }
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    One(Scalar),
    List(Scalar),
    /// A list that nobody has put anything into yet.
    ListOfUnknown,
    Vector(usize, Width),
    /// Weights by name.
    Sparse,
    Bytes,
}

/// What the components of a vector are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    F32,
    F16,
    I8,
}

impl Width {
    const ALL: [(Self, &'static str); 3] =
        [(Self::F32, "f32"), (Self::F16, "f16"), (Self::I8, "i8")];

    /// The component as it is stored; `None` for one that does not fit.
    fn round(self, number: f32) -> Option<f32> {
        match self {
            Self::F32 => Some(number),
            Self::F16 => half(number),
            Self::I8 => {
                let fits = number.fract() == 0.0 && (-128.0..=127.0).contains(&number);
                fits.then_some(number + 0.0)
            }
        }
    }
}

/// The nearest number of 16 bits, of two the even one; `None` where it would be infinite.
fn half(number: f32) -> Option<f32> {
    let number = f64::from(number);
    let exponent = (-14..16)
        .rev()
        .find(|at| f64::abs(number) >= 2_f64.powi(*at));
    let quantum = 2_f64.powi(exponent.unwrap_or(-14) - 10);
    let rounded = (number / quantum).round_ties_even() * quantum;
    (f64::abs(rounded) < 65_520.0).then_some(rounded as f32)
}

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let scalar = |name: &str| Scalar::ALL.into_iter().find(|one| one.name() == name);
        if let Some(element) = name.strip_prefix("[]") {
            return scalar(element).map(Self::List);
        }
        if let Some(dims) = name.strip_prefix('[') {
            let (dims, width) = dims.split_once(']')?;
            let (width, _) = Width::ALL.into_iter().find(|(_, name)| *name == width)?;
            let dims = dims
                .parse()
                .ok()
                .filter(|dims| (1..=10_752).contains(dims))?;
            return Some(Self::Vector(dims, width));
        }
        match name {
            "{}f16" => return Some(Self::Sparse),
            "bytes" => return Some(Self::Bytes),
            _ => {}
        }
        scalar(name).map(Self::One)
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::One(scalar) => scalar.name().to_owned(),
            Self::List(scalar) => format!("[]{}", scalar.name()),
            Self::ListOfUnknown => "[]unknown".to_owned(),
            Self::Vector(dims, width) => {
                let name = Width::ALL.into_iter().find(|(one, _)| *one == width);
                format!("[{dims}]{}", name.expect("a width").1)
            }
            Self::Sparse => "{}f16".to_owned(),
            Self::Bytes => "bytes".to_owned(),
        }
    }

    pub(super) fn is_vector(self) -> bool {
        matches!(self, Self::Vector(..))
    }

    /// Whether filters and orders may name such an attribute at all.
    pub(super) fn is_comparable(self) -> bool {
        !matches!(self, Self::Vector(..) | Self::Sparse | Self::Bytes)
    }

    /// The type of an attribute that nobody declared, by its first value; `None` where it has none.
    pub(super) fn of_value(name: &str, value: &Value) -> Option<Self> {
        if name == "vector" {
            return vector(value).map(|numbers| Self::Vector(numbers.len(), Width::F32));
        }
        let Value::Array(items) = value else {
            return scalar_of(value).map(Self::One);
        };
        match items.as_slice() {
            [] => Some(Self::ListOfUnknown),
            // A list of whole numbers and fractions is one of fractions.
            all if all.iter().all(Value::is_number) && all.iter().any(Value::is_f64) => {
                Some(Self::List(Scalar::Float))
            }
            [first, ..] => scalar_of(first).map(Self::List),
        }
    }
}

fn scalar_of(value: &Value) -> Option<Scalar> {
    match value {
        Value::Bool(_) => Some(Scalar::Bool),
        Value::String(_) => Some(Scalar::Text),
        Value::Number(number) if number.is_f64() => Some(Scalar::Float),
        Value::Number(_) => Some(Scalar::Int),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A value of a type. Numbers without fraction, and times in milliseconds, are `Whole`; UUIDs are `Text`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    Bool(bool),
    Whole(i128),
    Float(f64),
    Text(String),
    List(Vec<Datum>),
    Vector(Vec<f32>),
    Sparse(BTreeMap<String, f32>),
}

/// Reads a value of a type; `None` for one that does not fit.
pub(super) fn read(kind: Kind, value: &Value) -> Option<Datum> {
    match kind {
        Kind::One(scalar) => read_scalar(scalar, value),
        Kind::List(scalar) => {
            let items = value.as_array()?.iter();
            let items: Option<_> = items.map(|item| read_scalar(scalar, item)).collect();
            items.map(Datum::List)
        }
        Kind::ListOfUnknown => match value.as_array()?.as_slice() {
            [] => Some(Datum::List(Vec::new())),
            _ => None,
        },
        Kind::Vector(dims, width) => {
            let numbers = vector(value).filter(|numbers| numbers.len() == dims)?;
            let numbers = numbers.into_iter().map(|number| width.round(number));
            numbers.collect::<Option<_>>().map(Datum::Vector)
        }
        Kind::Sparse => {
            let weights = weights(value)?.into_iter();
            let rounded = weights.map(|(name, weight)| Some((name, half(weight as f32)?)));
            rounded.collect::<Option<_>>().map(Datum::Sparse)
        }
        Kind::Bytes => {
            let bytes = text::from_base64(value.as_str()?)?;
            Some(Datum::Text(text::to_base64(&bytes)))
        }
    }
}

pub(super) fn read_scalar(scalar: Scalar, value: &Value) -> Option<Datum> {
    match scalar {
        Scalar::Text => value.as_str().map(|text| Datum::Text(text.to_owned())),
        Scalar::Int => value.as_i64().map(|int| Datum::Whole(int.into())),
        Scalar::Uint => value.as_u64().map(|int| Datum::Whole(int.into())),
        // Adding nothing makes -0.0, which is equal, 0.0.
        Scalar::Float => value.as_f64().map(|float| Datum::Float(float + 0.0)),
        Scalar::Uuid => text::uuid(value.as_str()?).map(Datum::Text),
        Scalar::Time => text::milliseconds(value.as_str()?).map(|ms| Datum::Whole(ms.into())),
        Scalar::Bool => value.as_bool().map(Datum::Bool),
    }
}

/// The weights of a sparse vector.
pub(super) fn weights(value: &Value) -> Option<BTreeMap<String, f64>> {
    let weights = value.as_object()?.iter();
    weights
        .map(|(name, weight)| Some((name.clone(), weight.as_f64()?)))
        .collect()
}

/// The components of a vector, from numbers or base64.
pub(super) fn vector(value: &Value) -> Option<Vec<f32>> {
    let numbers: Vec<f32> = match value {
        Value::Array(items) => {
            let items = items.iter();
            let items: Option<_> = items
                .map(|item| item.as_f64().map(|number| number as f32))
                .collect();
            items?
        }
        Value::String(text) => {
            let bytes = text::from_base64(text)?;
            let (numbers, rest) = bytes.as_chunks::<4>();
            if !rest.is_empty() {
                return None;
            }
            numbers.iter().copied().map(f32::from_le_bytes).collect()
        }
        _ => return None,
    };
    let fits = !numbers.is_empty() && numbers.iter().all(|number| number.is_finite());
    fits.then_some(numbers)
}

/// Compares two values of one type.
pub(super) fn order(one: &Datum, other: &Datum) -> Ordering {
    match (one, other) {
        (Datum::Bool(one), Datum::Bool(other)) => one.cmp(other),
        (Datum::Whole(one), Datum::Whole(other)) => one.cmp(other),
        (Datum::Float(one), Datum::Float(other)) => one.partial_cmp(other).expect("no NaN"),
        (Datum::Text(one), Datum::Text(other)) => one.as_bytes().cmp(other.as_bytes()),
        (Datum::List(one), Datum::List(other)) => {
            let pairs = one.iter().zip(other);
            let differing = pairs.map(|(one, other)| order(one, other));
            let first = differing.into_iter().find(|order| order.is_ne());
            first.unwrap_or(one.len().cmp(&other.len()))
        }
        (one, other) => panic!("{one:?} and {other:?} are of different types"),
    }
}

/// How a value comes back.
pub(super) fn shown(kind: Kind, datum: &Datum, base64: bool) -> Value {
    match (kind, datum) {
        (Kind::One(Scalar::Time) | Kind::List(Scalar::Time), Datum::Whole(ms)) => {
            json!(text::time(i64::try_from(*ms).expect("milliseconds")))
        }
        (_, Datum::Bool(value)) => json!(value),
        (_, Datum::Whole(int)) => match u64::try_from(*int) {
            Ok(int) => json!(int),
            Err(_) => json!(i64::try_from(*int).expect("an integer of 64 bits")),
        },
        (_, Datum::Float(value)) => json!(value + 0.0),
        (_, Datum::Text(text)) => json!(text),
        (kind, Datum::List(items)) => items.iter().map(|item| shown(kind, item, base64)).collect(),
        (_, Datum::Sparse(weights)) => {
            let weights = weights.iter();
            let shown = weights.map(|(name, weight)| (name.clone(), json!(f64::from(*weight))));
            Value::Object(shown.collect())
        }
        (_, Datum::Vector(numbers)) if base64 => {
            let bytes: Vec<u8> = numbers.iter().copied().flat_map(f32::to_le_bytes).collect();
            json!(text::to_base64(&bytes))
        }
        // The shortest text that is the number, as the number that JSON makes of it.
        (_, Datum::Vector(numbers)) => numbers.iter().map(|number| shortest(*number)).collect(),
    }
}

/// An id: of a namespace all are of one kind, and UUIDs are text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

impl Id {
    /// Reads an id of a kind.
    pub(super) fn read(kind: Scalar, value: &Value) -> Option<Self> {
        match read_scalar(kind, value)? {
            Datum::Whole(id) => u64::try_from(id).ok().map(Self::Number),
            Datum::Text(id) if id.len() <= 64 => Some(Self::Text(id)),
            _ => None,
        }
    }

    pub(super) fn datum(&self) -> Datum {
        match self {
            Self::Number(id) => Datum::Whole((*id).into()),
            Self::Text(id) => Datum::Text(id.clone()),
        }
    }

    pub(super) fn shown(&self) -> Value {
        match self {
            Self::Number(id) => json!(id),
            Self::Text(id) => json!(id),
        }
    }
}

/// A component as JSON writes numbers of 32 bits, read again.
fn shortest(number: f32) -> Value {
    let text = serde_json::to_string(&number).expect("a number");
    serde_json::from_str(&text).expect("a number")
}
