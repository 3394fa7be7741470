//! A sum over rows that does not depend on their order or on where they lie: two sets of documents with the same sum are
//! the same, but for chance.

use xxhash_rust::xxh3::Xxh3;

use arrow::array::RecordBatch;

use super::{id_at, id_column, value_at};
use crate::types::{AttrId, DocId, Value};

/// How many rows, and the sum of a 128-bit hash of each: of its id and of the attributes that it has a value of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowSum {
    /// Rows.
    pub rows: u64,
    /// The wrapping sum of their hashes.
    pub sum: u128,
}

impl RowSum {
    /// Adds a row of a batch, with these attributes, ascending.
    pub fn add_row(&mut self, batch: &RecordBatch, attrs: &[AttrId], row: usize) {
        let mut hash = Xxh3::new();
        match id_at(id_column(batch), row) {
            DocId::Uint(id) => part(&mut hash, 0, &id.to_le_bytes()),
            DocId::Uuid(id) => part(&mut hash, 1, id.as_bytes()),
            DocId::String(id) => part(&mut hash, 2, id.as_bytes()),
        }
        for attr in attrs {
            let value = value_at(batch, *attr, row);
            if value != Value::Null {
                part(&mut hash, 3, &attr.0.to_le_bytes());
                add_value(&mut hash, &value);
            }
        }
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash.digest128());
    }

    /// Adds the rows of another.
    pub fn add(&mut self, more: Self) {
        self.rows += more.rows;
        self.sum = self.sum.wrapping_add(more.sum);
    }
}

/// What, how long, and the bytes: no two sequences of parts are the same bytes.
fn part(hash: &mut Xxh3, what: u8, bytes: &[u8]) {
    hash.update(&[what]);
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

fn add_value(hash: &mut Xxh3, value: &Value) {
    match value {
        Value::Null => part(hash, 16, &[]),
        Value::Bool(value) => part(hash, 17, &[u8::from(*value)]),
        Value::Int(value) => part(hash, 18, &value.to_le_bytes()),
        Value::Uint(value) => part(hash, 19, &value.to_le_bytes()),
        Value::Float(value) => part(hash, 20, &value.to_bits().to_le_bytes()),
        Value::Datetime(value) => part(hash, 21, &value.0.to_le_bytes()),
        Value::Uuid(value) => part(hash, 22, value.as_bytes()),
        Value::String(value) => part(hash, 23, value.as_bytes()),
        Value::Bytes(value) => part(hash, 24, value),
        Value::Sparse(entries) => {
            part(hash, 25, &(entries.len() as u64).to_le_bytes());
            for (dimension, weight) in entries.iter() {
                part(hash, 23, dimension.as_bytes());
                hash.update(&weight.to_bits().to_le_bytes());
            }
        }
        Value::Array(elements) => {
            part(hash, 26, &(elements.len() as u64).to_le_bytes());
            elements.iter().for_each(|element| add_value(hash, element));
        }
        Value::Vector(numbers) => {
            part(hash, 27, &(numbers.len() as u64).to_le_bytes());
            for number in numbers.iter() {
                hash.update(&number.to_bits().to_le_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn values_that_differ_have_other_hashes() {
        let text = |text: &str| Value::String(text.into());
        let values = [
            Value::Bool(false),
            Value::Int(0),
            Value::Uint(0),
            Value::Float(0.0),
            text(""),
            text("a"),
            Value::Bytes(Arc::from(*b"a")),
            Value::Array(Arc::from([])),
            Value::Array(Arc::from([text("ab"), text("c")])),
            Value::Array(Arc::from([text("a"), text("bc")])),
            Value::Vector(Arc::from([0.0, 1.0])),
            Value::Vector(Arc::from([1.0, 0.0])),
            Value::Sparse(Arc::from([(Arc::from("a"), 1.0)])),
            Value::Sparse(Arc::from([(Arc::from("a"), 2.0)])),
        ];
        let hashes = values.iter().map(|value| {
            let mut hash = Xxh3::new();
            add_value(&mut hash, value);
            hash.digest128()
        });
        assert_eq!(hashes.collect::<BTreeSet<u128>>().len(), values.len());
    }
}
