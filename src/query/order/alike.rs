//! At most so many rows that are alike: `limit.per`.
//!
//! The first `k` rows under such a limit can be found part by part: of each part its own first `k` are enough. A
//! row of a part with `k` before it there has as many before it in the whole, for what the whole leaves out for
//! being alike, it leaves out in favour of rows that come even earlier.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::columns::column_of;
use super::not_found;
use crate::error::{Error, Result};
use crate::query::key;
use crate::query::request::LimitPer;
use crate::rows::ScalarColumn;
use crate::types::{AttrId, AttributeType, NamespaceSchema, limits};

/// A limit of rows that are alike, bound to a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPer {
    attrs: Vec<AttrId>,
    limit: usize,
}

impl BoundPer {
    /// Binds a limit. Errors: `InvalidRequest` for no attribute or too many, for one that is unknown or no single
    /// value, and for a limit out of range.
    pub fn bind(per: &LimitPer, schema: &NamespaceSchema) -> Result<Self> {
        let within = |what: &str, most: usize, found: usize| match (1..=most).contains(&found) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "`limit.per.{what}`: expected 1 to {most}, found {found}"
            ))),
        };
        within("attributes", limits::GROUP_KEYS_MAX, per.attributes.len())?;
        within("limit", limits::QUERY_LIMIT_MAX, per.limit)?;
        let attrs = per.attributes.iter().map(|name| {
            let attribute = schema.get(name).ok_or_else(|| not_found(name))?;
            match attribute.kind {
                AttributeType::Scalar(_) => Ok(attribute.id),
                other => Err(Error::invalid(format!(
                    "`limit.per`: attribute `{name}` is of type {other}: expected a single value"
                ))),
            }
        });
        Ok(Self {
            attrs: attrs.collect::<Result<_>>()?,
            limit: per.limit,
        })
    }

    /// The attributes it looks at.
    pub(super) fn attrs(&self) -> impl Iterator<Item = AttrId> + '_ {
        self.attrs.iter().copied()
    }

    pub(super) fn resolve<'a>(&self, batch: &'a RecordBatch) -> AlikeColumns<'a> {
        AlikeColumns(self.attrs().map(|attr| column_of(attr, batch)).collect())
    }
}

/// The columns that tell whether rows of a batch are alike.
pub(super) struct AlikeColumns<'a>(Vec<Option<ScalarColumn<'a>>>);

impl AlikeColumns<'_> {
    pub(super) fn encode(&self, row: usize) -> Box<[u8]> {
        let mut bytes = Vec::new();
        for column in &self.0 {
            key::encode(*column, row, &mut bytes);
        }
        bytes.into()
    }
}

/// Sorts rows and keeps the first `k`, passing over those of which there are enough alike before them.
pub fn cut<T: Ord>(
    rows: &mut Vec<T>,
    k: usize,
    per: Option<&BoundPer>,
    alike: impl Fn(&T) -> &[u8],
) {
    rows.sort_unstable();
    if let Some(per) = per {
        let mut counts: HashMap<&[u8], usize> = HashMap::new();
        let kept: Vec<bool> = rows
            .iter()
            .map(|row| {
                let count = counts.entry(alike(row)).or_default();
                *count += 1;
                *count <= per.limit
            })
            .collect();
        let mut kept = kept.into_iter();
        rows.retain(|_| kept.next() == Some(true));
    }
    rows.truncate(k);
}
