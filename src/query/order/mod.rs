//! Orders by attributes or by a score: keys that compare as bytes, and the first `k` rows in memory bounded by `k`.
//!
//! A row's key is the concatenation of its values and its id, each as `key.rs` writes it. A descending value is
//! inverted bit by bit. Missing values thus come first ascending and last descending, equal rows by id. A score is
//! one descending value.

mod alike;
mod columns;
#[cfg(test)]
pub(super) mod tests;

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::RecordBatch;

pub use alike::{BoundPer, cut};
use columns::KeyColumns;

use super::key;
use super::request::OrderKey;
use super::score::BoundScore;
use crate::error::{Error, Result};
use crate::filter::{Columns, RowMask, Target};
use crate::index::{Indexed, Lookup, TopKey};
use crate::rows::sparse;
use crate::types::{AttrId, AttributeType, NamespaceSchema, ScalarType, Value, limits};

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

/// What an order compares before ids.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderBy {
    /// These keys, one after the other; none order by id alone.
    Keys(Vec<BoundKey>),
    /// A score, highest first; rows it does not find are in no answer.
    Score(BoundScore),
}

/// An order of rows, bound to a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundOrder {
    /// What it compares.
    pub by: OrderBy,
    /// How many rows that are alike it lets through.
    pub per: Option<BoundPer>,
}

impl BoundOrder {
    /// Adds the columns that it looks at besides ids, which it always does.
    pub fn columns(&self, into: &mut Columns) {
        match &self.by {
            OrderBy::Keys(keys) => keys.iter().for_each(|key| into.add(key.target)),
            OrderBy::Score(score) => score.columns(into),
        }
        if let Some(per) = &self.per {
            into.attrs.extend(per.attrs());
        }
    }

    /// The order of a segment's rows as its columns tell it, where its rows are in the order of ids; `None` where they
    /// do not tell all, or have no say.
    pub fn by_columns(&self, lookup: Lookup<'_>) -> Option<Vec<TopKey>> {
        let OrderBy::Keys(keys) = &self.by else {
            return None;
        };
        if self.per.is_some() {
            return None;
        }
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let descending = key.descending;
            match key.target {
                Target::Id => {
                    found.push(TopKey::Row { descending });
                    // No two rows have the same.
                    break;
                }
                Target::Attribute(attr) => match lookup(attr) {
                    // All rows are alike.
                    Indexed::Absent => {}
                    Indexed::By(index) => found.push(TopKey::Column { index, descending }),
                    Indexed::Not => return None,
                },
            }
        }
        Some(found)
    }

    /// The attribute and the query of an order by one product of sparse vectors, which lets all rows through.
    pub fn by_sparse(&self) -> Option<(AttrId, &Arc<[sparse::Entry]>)> {
        match &self.by {
            OrderBy::Score(score) if self.per.is_none() => score.sparse(),
            _ => None,
        }
    }

    /// Whether ids alone decide, and then whether they descend.
    pub fn by_id(&self) -> Option<bool> {
        match &self.by {
            OrderBy::Keys(keys) if self.per.is_none() => match keys.first() {
                None => Some(false),
                Some(key) => (key.target == Target::Id).then_some(key.descending),
            },
            _ => None,
        }
    }
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

/// A row's place in an order: comparable with those of any other batch under the same order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(Box<[u8]>);

impl SortKey {
    /// Its bytes, which compare as it does.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The score of a row of an order by score; `None` if the key is of another order.
    pub fn score(&self) -> Option<f64> {
        let inverted: Vec<u8> = self.0.iter().take(9).map(|byte| !byte).collect();
        match key::decode(ScalarType::Float, &mut inverted.as_slice()) {
            Some(Value::Float(score)) => Some(score),
            _ => None,
        }
    }
}

/// A row that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranked {
    /// Its place in the order.
    pub key: SortKey,
    /// The batch it is of, as the caller numbered it.
    pub batch: usize,
    /// Its row there.
    pub row: usize,
    /// Rows are alike where these are equal; empty where it does not matter.
    pub alike: Box<[u8]>,
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
    order: Arc<BoundOrder>,
    k: usize,
    kept: Kept,
    scratch: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Kept {
    /// The last of those kept is on top.
    First(BinaryHeap<Ranked>),
    /// Cut to the first `k` now and then; `last` is the last of them once there are so many.
    Cut {
        rows: Vec<Ranked>,
        last: Option<SortKey>,
    },
}

impl OrderTop {
    /// Makes an empty collection.
    pub fn new(order: Arc<BoundOrder>, k: usize) -> Self {
        let kept = match order.per {
            None => Kept::First(BinaryHeap::with_capacity(k.min(RESERVED_MAX))),
            Some(_) => Kept::Cut {
                rows: Vec::new(),
                last: None,
            },
        };
        Self {
            order,
            k,
            kept,
            scratch: Vec::new(),
        }
    }

    /// Offers the rows of a batch that are in `mask`.
    pub fn offer_rows(&mut self, batch_index: usize, batch: &RecordBatch, mask: &RowMask) {
        let order = Arc::clone(&self.order);
        match &order.by {
            OrderBy::Keys(keys) => {
                let columns = KeyColumns::of_keys(keys, batch);
                self.offer_resolved(batch_index, batch, &columns, mask);
            }
            OrderBy::Score(score) => {
                let scores = score.eval(batch);
                let mut found = scores.found;
                found.and(mask);
                let values = scores.values.into();
                let columns = KeyColumns::of_scores(&values, batch);
                self.offer_resolved(batch_index, batch, &columns, &found);
            }
        }
    }

    fn offer_resolved(
        &mut self,
        batch_index: usize,
        batch: &RecordBatch,
        columns: &KeyColumns<'_>,
        mask: &RowMask,
    ) {
        let rows = mask.iter().take_while(|row| *row < batch.num_rows());
        let order = Arc::clone(&self.order);
        let alike = order.per.as_ref().map(|per| per.resolve(batch));
        for row in rows {
            // The scratch buffer is compared first: a row that cannot enter allocates nothing.
            columns.encode(row, &mut self.scratch);
            match &mut self.kept {
                Kept::First(heap) => offer(heap, self.k, &self.scratch, batch_index, row),
                Kept::Cut { rows, last } => {
                    let is_late = |last: &SortKey| *self.scratch >= *last.0;
                    if last.as_ref().is_some_and(is_late) {
                        continue;
                    }
                    rows.push(Ranked {
                        key: SortKey(self.scratch.as_slice().into()),
                        batch: batch_index,
                        row,
                        alike: alike
                            .as_ref()
                            .map(|alike| alike.encode(row))
                            .unwrap_or_default(),
                    });
                    if rows.len() >= 2 * self.k + RESERVED_MAX {
                        cut(rows, self.k, order.per.as_ref(), |row| &row.alike);
                        let full = rows.len() == self.k;
                        *last = rows.last().filter(|_| full).map(|row| row.key.clone());
                    }
                }
            }
        }
    }

    /// Returns the rows kept, in order.
    pub fn into_sorted(self) -> Vec<Ranked> {
        match self.kept {
            Kept::First(heap) => heap.into_sorted_vec(),
            Kept::Cut { mut rows, .. } => {
                cut(&mut rows, self.k, self.order.per.as_ref(), |row| &row.alike);
                rows
            }
        }
    }
}

fn offer(heap: &mut BinaryHeap<Ranked>, k: usize, key: &[u8], batch: usize, row: usize) {
    let ranked = || Ranked {
        key: SortKey(key.into()),
        batch,
        row,
        alike: Box::default(),
    };
    if heap.len() < k {
        heap.push(ranked());
        return;
    }
    if let Some(mut last) = heap.peek_mut()
        && (key, batch, row) < (&last.key.0, last.batch, last.row)
    {
        *last = ranked();
    }
}
