//! What an index keeps of a value: a number that sorts as the value does, or a key that does so by its bytes.

use arrow::array::Array;
use uuid::Uuid;

use crate::filter::Members;
use crate::rows::ScalarColumn;
use crate::types::{ScalarType, Timestamp, Value, order_bits};

/// Whether values of a type are kept as numbers; text and UUIDs are keys.
pub(super) fn is_number(kind: ScalarType) -> bool {
    !matches!(kind, ScalarType::String | ScalarType::Uuid)
}

/// The number of a slot of a column of numbers; `None` for a missing value, and for text and UUIDs.
pub(super) fn number_at(column: ScalarColumn<'_>, slot: usize) -> Option<u64> {
    if column.array().is_null(slot) {
        return None;
    }
    Some(match column {
        ScalarColumn::Int(array) => order_bits::of_int(array.value(slot)),
        ScalarColumn::Datetime(array) => order_bits::of_int(array.value(slot)),
        ScalarColumn::Uint(array) => array.value(slot),
        ScalarColumn::Float(array) => order_bits::of_float(array.value(slot)),
        ScalarColumn::Bool(array) => u64::from(array.value(slot)),
        ScalarColumn::String(_) | ScalarColumn::Uuid(_) => return None,
    })
}

/// The number of a value of this type; `None` for another type, and for NaN, which compares with nothing.
pub(super) fn number_of(kind: ScalarType, value: &Value) -> Option<u64> {
    Some(match (kind, value) {
        (ScalarType::Int, Value::Int(value)) => order_bits::of_int(*value),
        (ScalarType::Datetime, Value::Datetime(value)) => order_bits::of_int(value.0),
        (ScalarType::Uint, Value::Uint(value)) => *value,
        (ScalarType::Float, Value::Float(value)) if !value.is_nan() => order_bits::of_float(*value),
        (ScalarType::Bool, Value::Bool(value)) => u64::from(*value),
        _ => return None,
    })
}

/// The key of a value of this type; `None` for another type.
pub(super) fn key_of(kind: ScalarType, value: &Value) -> Option<Vec<u8>> {
    Some(match (kind, value) {
        (ScalarType::String, Value::String(text)) => text.as_bytes().to_vec(),
        (ScalarType::Uuid, Value::Uuid(uuid)) => uuid.as_bytes().to_vec(),
        _ => number_of(kind, value)?.to_be_bytes().to_vec(),
    })
}

/// The value of a number; `None` for text and UUIDs.
pub fn value_of_number(kind: ScalarType, number: u64) -> Option<Value> {
    Some(match kind {
        ScalarType::Int => Value::Int(order_bits::to_int(number)),
        ScalarType::Datetime => Value::Datetime(Timestamp(order_bits::to_int(number))),
        ScalarType::Uint => Value::Uint(number),
        ScalarType::Float => Value::Float(order_bits::to_float(number)),
        ScalarType::Bool => Value::Bool(number != 0),
        ScalarType::String | ScalarType::Uuid => return None,
    })
}

/// The value of a key; `None` if it is of no value of the type.
pub(super) fn value_of_key(kind: ScalarType, key: &[u8]) -> Option<Value> {
    match kind {
        ScalarType::String => Some(Value::String(std::str::from_utf8(key).ok()?.into())),
        ScalarType::Uuid => Some(Value::Uuid(Uuid::from_bytes(key.try_into().ok()?))),
        _ => value_of_number(kind, u64::from_be_bytes(key.try_into().ok()?)),
    }
}

/// Whether operands are of a type.
pub(super) fn is_of(kind: ScalarType, members: &Members) -> bool {
    matches!(
        (kind, members),
        (ScalarType::String, Members::Strings(_))
            | (ScalarType::Uuid, Members::Uuids(_))
            | (ScalarType::Int | ScalarType::Datetime, Members::Ints(_))
            | (ScalarType::Uint, Members::Uints(_))
            | (ScalarType::Float, Members::Floats(_))
            | (ScalarType::Bool, Members::Bools(_))
    )
}

/// The numbers of operands, ascending; `None` if they are of another type.
pub(super) fn numbers_of(kind: ScalarType, members: &Members) -> Option<Vec<u64>> {
    Some(match (kind, members) {
        (ScalarType::Int | ScalarType::Datetime, Members::Ints(sorted)) => {
            sorted.iter().copied().map(order_bits::of_int).collect()
        }
        (ScalarType::Uint, Members::Uints(sorted)) => sorted.clone(),
        (ScalarType::Float, Members::Floats(sorted)) => {
            let known = sorted.iter().copied().filter(|value| !value.is_nan());
            known.map(order_bits::of_float).collect()
        }
        (ScalarType::Bool, Members::Bools(wanted)) => {
            let flags = [0, 1].into_iter().zip(wanted);
            let wanted = flags.filter(|(_, wanted)| **wanted);
            wanted.map(|(number, _)| number).collect()
        }
        _ => return None,
    })
}

/// The keys of operands, ascending; `None` if they are of another type.
pub(super) fn keys_of(kind: ScalarType, members: &Members) -> Option<Vec<Vec<u8>>> {
    Some(match (kind, members) {
        (ScalarType::String, Members::Strings(sorted)) => {
            sorted.iter().map(|text| text.as_bytes().to_vec()).collect()
        }
        (ScalarType::Uuid, Members::Uuids(sorted)) => {
            sorted.iter().map(|uuid| uuid.as_bytes().to_vec()).collect()
        }
        _ => {
            let numbers = numbers_of(kind, members)?.into_iter();
            numbers
                .map(|number| number.to_be_bytes().to_vec())
                .collect()
        }
    })
}

/// The key of a value, which text and UUIDs lend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key<'a> {
    Bytes(&'a [u8]),
    Number([u8; 8]),
}

impl Key<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(bytes) => bytes,
        }
    }
}

/// The key of a slot of any column of scalars; `None` for a missing value.
pub(super) fn key_at<'a>(column: ScalarColumn<'a>, slot: usize) -> Option<Key<'a>> {
    match column {
        ScalarColumn::String(array) if array.is_valid(slot) => {
            Some(Key::Bytes(array.value(slot).as_bytes()))
        }
        ScalarColumn::Uuid(array) if array.is_valid(slot) => Some(Key::Bytes(array.value(slot))),
        _ => number_at(column, slot).map(|number| Key::Number(number.to_be_bytes())),
    }
}
