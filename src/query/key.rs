//! One value as bytes that compare as the values do, and back.
//!
//! A tag (0 missing, 1 present), then numbers big-endian with the sign turned, text with `00` escaped as
//! `00 ff` and ended by `00 00`: none is a prefix of another, so concatenations compare part by part.

use uuid::Uuid;

use crate::rows::ScalarColumn;
use crate::types::{ScalarType, Timestamp, Value, order_bits};

/// Appends the value of a row; no column is a missing value.
pub(super) fn encode(column: Option<ScalarColumn<'_>>, row: usize, out: &mut Vec<u8>) {
    let Some(column) = column.filter(|column| column.array().is_valid(row)) else {
        out.push(0);
        return;
    };
    out.push(1);
    match column {
        ScalarColumn::Bool(array) => out.push(u8::from(array.value(row))),
        ScalarColumn::Int(array) => out.extend(order_bits::of_int(array.value(row)).to_be_bytes()),
        ScalarColumn::Datetime(array) => {
            out.extend(order_bits::of_int(array.value(row)).to_be_bytes())
        }
        ScalarColumn::Uint(array) => out.extend(array.value(row).to_be_bytes()),
        ScalarColumn::Float(array) => {
            out.extend(order_bits::of_float(array.value(row)).to_be_bytes())
        }
        ScalarColumn::Uuid(array) => out.extend(array.value(row)),
        ScalarColumn::String(array) => text(array.value(row), out),
    }
}

/// Appends a single value as [`encode`] does; what is none counts as missing.
pub(super) fn encode_value(value: &Value, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(1);
    match value {
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(value) => out.extend(order_bits::of_int(*value).to_be_bytes()),
        Value::Datetime(value) => out.extend(order_bits::of_int(value.0).to_be_bytes()),
        Value::Uint(value) => out.extend(value.to_be_bytes()),
        Value::Float(value) => out.extend(order_bits::of_float(*value).to_be_bytes()),
        Value::Uuid(value) => out.extend(value.as_bytes()),
        Value::String(value) => text(value, out),
        Value::Null | Value::Array(_) | Value::Bytes(_) | Value::Sparse(_) | Value::Vector(_) => {
            out.truncate(start);
            out.push(0);
        }
    }
}

/// Takes a value of a type off the front of a key; `None` if the bytes are none of it.
pub(super) fn decode(kind: ScalarType, key: &mut &[u8]) -> Option<Value> {
    if take::<1>(key)? == [0] {
        return Some(Value::Null);
    }
    let from_signed = |bytes| order_bits::to_int(u64::from_be_bytes(bytes));
    Some(match kind {
        ScalarType::Bool => Value::Bool(take::<1>(key)? == [1]),
        ScalarType::Int => Value::Int(from_signed(take(key)?)),
        ScalarType::Datetime => Value::Datetime(Timestamp(from_signed(take(key)?))),
        ScalarType::Uint => Value::Uint(u64::from_be_bytes(take(key)?)),
        ScalarType::Float => Value::Float(order_bits::to_float(u64::from_be_bytes(take(key)?))),
        ScalarType::Uuid => Value::Uuid(Uuid::from_bytes(take(key)?)),
        ScalarType::String => Value::String(take_text(key)?.into()),
    })
}

fn take<const N: usize>(key: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = key.split_first_chunk::<N>()?;
    *key = rest;
    Some(*front)
}

fn take_text(key: &mut &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        match *key {
            [0, 0, rest @ ..] => {
                *key = rest;
                return String::from_utf8(bytes).ok();
            }
            [0, 0xff, rest @ ..] => {
                bytes.push(0);
                *key = rest;
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                *key = rest;
            }
            [] => return None,
        }
    }
}

fn text(value: &str, out: &mut Vec<u8>) {
    for byte in value.bytes() {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend([0, 0]);
}
