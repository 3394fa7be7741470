//! Orders by attributes: keys that compare as bytes, and the first `k` rows in memory bounded by `k`.
//!
//! A row's key is the concatenation of its values and its id, each as `key.rs` writes it. A descending value is
//! inverted bit by bit. Missing values thus come first ascending and last descending, equal rows by id.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use arrow::array::RecordBatch;

use super::key;
use super::request::OrderKey;
use crate::error::{Error, Result};
use crate::filter::{RowMask, Target};
use crate::rows::{self, ScalarColumn};
use crate::types::{AttributeType, NamespaceSchema, limits};

/// Room reserved up front; a larger `k` grows only as rows arrive.
const RESERVED_MAX: usize = 1_024;

/// One key of an order, bound to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundKey {
    /// What is compared.
    pub target: Target,
    /// Whether the order is descending.
    pub descending: bool,
}

/// Binds the keys of an order. Errors: `InvalidRequest` for no or more than 8 keys, and for an attribute
/// that is unknown, not filterable, an array or a vector.
pub fn bind_order(keys: &[OrderKey], schema: &NamespaceSchema) -> Result<Vec<BoundKey>> {
    if !(1..=limits::ORDER_KEYS_MAX).contains(&keys.len()) {
        return Err(Error::invalid(format!(
            "an order has 1 to {} keys, found {}",
            limits::ORDER_KEYS_MAX,
            keys.len()
        )));
    }
    keys.iter().map(|key| bind_key(key, schema)).collect()
}

fn bind_key(key: &OrderKey, schema: &NamespaceSchema) -> Result<BoundKey> {
    let name = &key.attribute;
    let bound = |target| BoundKey {
        target,
        descending: key.descending,
    };
    if name == "id" {
        return Ok(bound(Target::Id));
    }
    let attribute = schema.get(name).ok_or_else(|| not_found(name))?;
    if !matches!(attribute.kind, AttributeType::Scalar(_)) {
        return Err(Error::invalid(format!(
            "cannot order by attribute `{name}` of type {}: expected a single value",
            attribute.kind
        )));
    }
    if !attribute.filterable {
        return Err(Error::invalid(format!(
            "cannot order by attribute `{name}`: it is not filterable"
        )));
    }
    Ok(bound(Target::Attribute(attribute.id)))
}

/// Says that an attribute is not in the schema.
pub(super) fn not_found(name: &str) -> Error {
    let name: String = name.chars().take(200).collect();
    Error::invalid(format!("attribute `{name}` not found"))
}

/// A row's place in an order: comparable with those of any other batch under the same keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(Box<[u8]>);

/// A row that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// Its place in the order.
    pub key: SortKey,
    /// The batch it is of, as the caller numbered it.
    pub batch: usize,
    /// Its row there.
    pub row: usize,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.key, self.batch, self.row).cmp(&(&other.key, other.batch, other.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the first `k` rows of an order; memory is `O(k)` keys.
#[derive(Debug, Clone)]
pub struct OrderTop {
    keys: Vec<BoundKey>,
    k: usize,
    /// The last of those kept is on top.
    heap: BinaryHeap<Ranked>,
    scratch: Vec<u8>,
}

impl OrderTop {
    /// Makes an empty collection; no keys order by id alone.
    pub fn new(keys: Vec<BoundKey>, k: usize) -> Self {
        Self {
            keys,
            k,
            heap: BinaryHeap::with_capacity(k.min(RESERVED_MAX)),
            scratch: Vec::new(),
        }
    }

    /// Offers one row; returns whether it is among the first `k` so far. Panics if `row` is out of range.
    ///
    /// Many rows of one batch are cheaper through `offer_rows`.
    pub fn offer(&mut self, batch_index: usize, batch: &RecordBatch, row: usize) -> bool {
        let columns = KeyColumns::resolve(&self.keys, batch);
        self.offer_resolved(batch_index, &columns, row)
    }

    /// Offers the rows of a batch that are in `mask`.
    pub fn offer_rows(&mut self, batch_index: usize, batch: &RecordBatch, mask: &RowMask) {
        let columns = KeyColumns::resolve(&self.keys, batch);
        for row in mask.iter().take_while(|row| *row < batch.num_rows()) {
            self.offer_resolved(batch_index, &columns, row);
        }
    }

    fn offer_resolved(&mut self, batch: usize, columns: &KeyColumns<'_>, row: usize) -> bool {
        // The scratch buffer is compared first: a row that cannot enter allocates nothing.
        columns.encode(row, &mut self.scratch);
        if self.heap.len() < self.k {
            self.heap.push(Ranked {
                key: SortKey(self.scratch.as_slice().into()),
                batch,
                row,
            });
            return true;
        }
        let Some(mut last) = self.heap.peek_mut() else {
            return false;
        };
        let offered = (self.scratch.as_slice(), batch, row);
        if offered >= (&last.key.0, last.batch, last.row) {
            return false;
        }
        *last = Ranked {
            key: SortKey(self.scratch.as_slice().into()),
            batch,
            row,
        };
        true
    }

    /// Number of rows kept.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Returns the rows kept, in order.
    pub fn into_sorted(self) -> Vec<Ranked> {
        self.heap.into_sorted_vec()
    }
}

/// The columns of an order's keys in one batch, types resolved; the id comes last.
struct KeyColumns<'a> {
    columns: Vec<(Option<ScalarColumn<'a>>, bool)>,
}

impl<'a> KeyColumns<'a> {
    fn resolve(keys: &[BoundKey], batch: &'a RecordBatch) -> Self {
        let id = ScalarColumn::of(rows::id_column(batch).as_ref());
        let mut columns: Vec<_> = keys
            .iter()
            .map(|key| {
                let column = match key.target {
                    Target::Id => id,
                    Target::Attribute(attr) => rows::column(batch, attr)
                        .and_then(|column| ScalarColumn::of(column.as_ref())),
                };
                (column, key.descending)
            })
            .collect();
        columns.push((id, false));
        Self { columns }
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        out.clear();
        for (column, descending) in &self.columns {
            let start = out.len();
            key::encode(*column, row, out);
            if *descending {
                out[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
    }
}

#[cfg(test)]
mod tests;
