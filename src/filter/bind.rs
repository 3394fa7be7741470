//! Gives a filter's names and values their types by asking the schema.

use super::bound::{BoundFilter, Comparison, Members, Target};
use crate::error::{Error, Result};
use crate::rows::raw::{self, Mismatch};
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter};
use crate::types::{AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Value};

/// Binds a filter. Errors: `InvalidRequest` for an attribute that is unknown, not filterable or a vector,
/// and for an operand of another type.
///
/// Recursion is as deep as the filter, which parsing bounds.
pub fn bind(filter: &Filter, schema: &NamespaceSchema) -> Result<BoundFilter> {
    Ok(match filter {
        Filter::And(children) => BoundFilter::And(bind_all(children, schema)?),
        Filter::Or(children) => BoundFilter::Or(bind_all(children, schema)?),
        Filter::Not(child) => not(bind(child, schema)?),
        Filter::Compare {
            attribute,
            op,
            value,
        } => Leaf::find(attribute, op.name(), schema)?.compare(*op, value)?,
        Filter::In {
            attribute,
            values,
            negated,
        } => {
            let op = if *negated { "NotIn" } else { "In" };
            let bound = Leaf::find(attribute, op, schema)?.is_in(values)?;
            if *negated { not(bound) } else { bound }
        }
    })
}

fn bind_all(children: &[Filter], schema: &NamespaceSchema) -> Result<Vec<BoundFilter>> {
    children.iter().map(|child| bind(child, schema)).collect()
}

fn not(filter: BoundFilter) -> BoundFilter {
    match filter {
        BoundFilter::Constant(value) => BoundFilter::Constant(!value),
        BoundFilter::Not(inner) => *inner,
        other => BoundFilter::Not(Box::new(other)),
    }
}

/// What a leaf's attribute is.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// The id, of a kind or not known yet.
    Id(Option<IdKind>),
    Scalar(ScalarType),
    Array(ScalarType),
    /// A list attribute that has only ever been empty.
    ArrayUnknown,
}

/// An attribute found, and the operator asked of it, for messages.
#[derive(Debug)]
struct Leaf<'a> {
    name: &'a str,
    op: &'static str,
    target: Target,
    shape: Shape,
}

impl<'a> Leaf<'a> {
    fn find(name: &'a str, op: &'static str, schema: &NamespaceSchema) -> Result<Self> {
        if name == "id" {
            return Ok(Self {
                name,
                op,
                target: Target::Id,
                shape: Shape::Id(schema.id_kind),
            });
        }
        let attribute = schema
            .get(name)
            .ok_or_else(|| filter_error(name, &format!("attribute `{name}` not found")))?;
        let shape = match attribute.kind {
            AttributeType::Vector { .. } => {
                let text = format!("{op} does not work on the vector attribute `{name}`");
                return Err(filter_error(name, &text));
            }
            AttributeType::Scalar(kind) => Shape::Scalar(kind),
            AttributeType::Array(kind) => Shape::Array(kind),
            AttributeType::ArrayUnknown => Shape::ArrayUnknown,
        };
        if !attribute.filterable {
            let text = format!("attribute `{name}` is not filterable");
            return Err(filter_error(name, &text));
        }
        Ok(Self {
            name,
            op,
            target: Target::Attribute(attribute.id),
            shape,
        })
    }

    fn compare(&self, op: CompareOp, value: &RawValue) -> Result<BoundFilter> {
        let comparison = match op {
            CompareOp::Eq | CompareOp::NotEq => Comparison::Eq,
            CompareOp::Lt => Comparison::Lt,
            CompareOp::Lte => Comparison::Lte,
            CompareOp::Gt => Comparison::Gt,
            CompareOp::Gte => Comparison::Gte,
        };
        let list = matches!(self.shape, Shape::Array(_) | Shape::ArrayUnknown);
        if list && comparison != Comparison::Eq {
            let text = format!("type mismatch, {} does not work on arrays", self.op);
            return Err(filter_error(self.name, &text));
        }
        if *value == RawValue::Null {
            return Ok(self.compare_null(op));
        }
        let bound = match self.operand(value)? {
            Some(operand) => BoundFilter::Compare {
                target: self.target,
                comparison,
                operand,
            },
            // Only empty lists so far: none equals one with elements.
            None => BoundFilter::Constant(false),
        };
        Ok(if op == CompareOp::NotEq {
            not(bound)
        } else {
            bound
        })
    }

    /// A missing value equals null and sorts below every other.
    fn compare_null(&self, op: CompareOp) -> BoundFilter {
        let missing = match self.target {
            Target::Id => BoundFilter::Constant(false),
            Target::Attribute(attr) => BoundFilter::Missing(attr),
        };
        match op {
            CompareOp::Eq | CompareOp::Lte => missing,
            CompareOp::NotEq | CompareOp::Gt => not(missing),
            CompareOp::Lt => BoundFilter::Constant(false),
            CompareOp::Gte => BoundFilter::Constant(true),
        }
    }

    /// The operand in the attribute's type; `None` for a list with elements of a type not known yet.
    fn operand(&self, value: &RawValue) -> Result<Option<Value>> {
        match self.shape {
            Shape::Array(element) => {
                let mut items = Vec::new();
                let push = |item| {
                    items.push(item);
                    Ok(())
                };
                let expected = format!("[]{}", element.name());
                raw::elements(element, value, push, |found| {
                    self.mismatch(&expected, &found.found)
                })?;
                Ok(Some(Value::Array(items.into())))
            }
            Shape::ArrayUnknown => match raw::list_len(value) {
                Some(0) => Ok(Some(Value::Array([].into()))),
                Some(_) => Ok(None),
                None => Err(self.mismatch("[]unknown", &raw::show(value))),
            },
            Shape::Scalar(_) | Shape::Id(_) => self.scalar(value).map(Some),
        }
    }

    fn scalar(&self, value: &RawValue) -> Result<Value> {
        match self.shape {
            Shape::Id(kind) => match raw::doc_id(kind, value) {
                Ok(DocId::Uint(id)) => Ok(Value::Uint(id)),
                Ok(DocId::Uuid(id)) => Ok(Value::Uuid(id)),
                Ok(DocId::String(id)) => Ok(Value::String(id.into())),
                Err(_) => Err(self.mismatch(kind.map_or("an id", IdKind::name), &raw::show(value))),
            },
            Shape::Scalar(kind) | Shape::Array(kind) => raw::scalar(kind, value)
                .map_err(|Mismatch { found, .. }| self.mismatch(kind.name(), &found)),
            // Nothing can be a member of lists that are all empty.
            Shape::ArrayUnknown => Ok(Value::Null),
        }
    }

    fn is_in(&self, values: &[RawValue]) -> Result<BoundFilter> {
        let operands = values
            .iter()
            .map(|value| self.scalar(value))
            .collect::<Result<Vec<_>>>()?;
        if matches!(self.shape, Shape::ArrayUnknown) {
            return Ok(BoundFilter::Constant(false));
        }
        match members(&operands) {
            Some(members) => Ok(BoundFilter::In {
                target: self.target,
                members,
            }),
            None if operands.is_empty() => Ok(BoundFilter::Constant(false)),
            None => Err(self.mismatch("operands of one type", "several types")),
        }
    }

    fn mismatch(&self, expected: &str, found: &str) -> Error {
        let text = format!(
            "type mismatch, {} expects {expected}, but got {found}",
            self.op
        );
        filter_error(self.name, &text)
    }
}

/// Sorts operands; `None` if there are none, or not all are of one type.
fn members(operands: &[Value]) -> Option<Members> {
    fn all<T>(operands: &[Value], pick: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
        operands.iter().map(pick).collect()
    }
    fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
        values.sort_unstable();
        values.dedup();
        values
    }
    let members = match operands.first()? {
        Value::Bool(_) => {
            let wanted = |flag| operands.contains(&Value::Bool(flag));
            all(operands, |value| {
                matches!(value, Value::Bool(_)).then_some(())
            })?;
            Members::Bools([wanted(false), wanted(true)])
        }
        Value::Int(_) => Members::Ints(sorted(all(operands, |value| match value {
            Value::Int(value) => Some(*value),
            _ => None,
        })?)),
        Value::Datetime(_) => Members::Ints(sorted(all(operands, |value| match value {
            Value::Datetime(value) => Some(value.0),
            _ => None,
        })?)),
        Value::Uint(_) => Members::Uints(sorted(all(operands, |value| match value {
            Value::Uint(value) => Some(*value),
            _ => None,
        })?)),
        Value::Uuid(_) => Members::Uuids(sorted(all(operands, |value| match value {
            Value::Uuid(value) => Some(*value),
            _ => None,
        })?)),
        Value::String(_) => Members::Strings(sorted(all(operands, |value| match value {
            Value::String(value) => Some(value.clone()),
            _ => None,
        })?)),
        Value::Float(_) => {
            let mut floats = all(operands, |value| match value {
                Value::Float(value) => Some(*value + 0.0),
                _ => None,
            })?;
            floats.sort_unstable_by(f64::total_cmp);
            floats.dedup();
            Members::Floats(floats)
        }
        Value::Null | Value::Array(_) | Value::Vector(_) => return None,
    };
    Some(members)
}

fn filter_error(name: &str, text: &str) -> Error {
    let name: String = name.chars().take(200).collect();
    Error::invalid(format!("filter error in key `{name}`: {text}"))
}
