//! The rows after a place of an order, as a filter: what lies before is passed over by statistics and indexes, not read.

use super::cursor::invalid;
use super::key;
use super::request::Paging;
use crate::error::{Error, Result};
use crate::filter::{BoundFilter, Comparison, Target};
use crate::types::{AttributeType, IdKind, NamespaceSchema, ScalarType, Value};

/// One key of the order that pages follow. Missing values come first ascending, last descending: comparisons take them
/// for less than everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageKey {
    pub(super) target: Target,
    pub(super) kind: ScalarType,
    pub(super) descending: bool,
}

impl PageKey {
    /// A key of a schema. Errors: `Internal` for an attribute that has no place in an order.
    pub(super) fn of(target: Target, descending: bool, schema: &NamespaceSchema) -> Result<Self> {
        let kind = match target {
            // A namespace without ids has no documents either, and no place among them.
            Target::Id => match schema.id_kind.unwrap_or(IdKind::Uint) {
                IdKind::Uint => ScalarType::Uint,
                IdKind::Uuid => ScalarType::Uuid,
                IdKind::String => ScalarType::String,
            },
            Target::Attribute(attr) => match schema.by_id(attr).map(|attribute| attribute.kind) {
                Some(AttributeType::Scalar(kind)) => kind,
                other => {
                    let message = format!("a page follows attribute {}, found {other:?}", attr.0);
                    return Err(Error::internal(message));
                }
            },
        };
        Ok(Self {
            target,
            kind,
            descending,
        })
    }
}

/// Narrows a filter to what comes after the place that a page begins at.
///
/// Errors: `InvalidRequest` with code `cursor_invalid` where the place is none of this order.
pub(super) fn narrow(
    filter: Option<BoundFilter>,
    paging: &Paging,
    keys: &[PageKey],
) -> Result<Option<BoundFilter>> {
    let Paging::After(place) = paging else {
        return Ok(filter);
    };
    let values = decode(keys, place).ok_or_else(|| invalid("expected a place of this order"))?;
    let after = after(keys, &values);
    Ok(Some(match filter {
        None => after,
        Some(filter) => BoundFilter::And(vec![after, filter]),
    }))
}

/// The values of a place, one for each key; `None` if it is none of these keys.
fn decode(keys: &[PageKey], place: &[u8]) -> Option<Vec<Value>> {
    let inverted: Vec<u8> = place.iter().map(|byte| !byte).collect();
    let mut at = 0;
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        // A descending value is inverted bit by bit.
        let bytes: &[u8] = if key.descending { &inverted } else { place };
        let mut unread = bytes.get(at..)?;
        let value = key::decode(key.kind, &mut unread)?;
        at = place.len() - unread.len();
        let is_nan = matches!(value, Value::Float(value) if value.is_nan());
        let is_no_id = key.target == Target::Id && value == Value::Null;
        if is_nan || is_no_id {
            return None;
        }
        values.push(value);
    }
    (at == place.len()).then_some(values)
}

/// The rows whose values come after these: after the first, or equal in it and after the others.
fn after(keys: &[PageKey], values: &[Value]) -> BoundFilter {
    let (Some((key, keys)), Some((value, values))) = (keys.split_first(), values.split_first())
    else {
        return BoundFilter::Constant(false);
    };
    let beyond = beyond(*key, value);
    if keys.is_empty() {
        return beyond;
    }
    let equal_and_after = BoundFilter::And(vec![equal(*key, value), after(keys, values)]);
    BoundFilter::Or(vec![beyond, equal_and_after])
}

fn beyond(key: PageKey, value: &Value) -> BoundFilter {
    let compare = |comparison| BoundFilter::Compare {
        target: key.target,
        comparison,
        operand: value.clone(),
    };
    match (key.descending, missing(key.target, value)) {
        (false, None) => compare(Comparison::Gt),
        (true, None) => compare(Comparison::Lt),
        (false, Some(missing)) => BoundFilter::Not(Box::new(missing)),
        (true, Some(_)) => BoundFilter::Constant(false),
    }
}

fn equal(key: PageKey, value: &Value) -> BoundFilter {
    missing(key.target, value).unwrap_or_else(|| BoundFilter::Compare {
        target: key.target,
        comparison: Comparison::Eq,
        operand: value.clone(),
    })
}

/// The rows without a value, where the value is missing; no row lacks an id.
fn missing(target: Target, value: &Value) -> Option<BoundFilter> {
    match (target, value) {
        (Target::Attribute(attr), Value::Null) => Some(BoundFilter::Missing(attr)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
