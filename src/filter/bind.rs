//! Gives a filter's names and values their types by asking the schema.

use std::sync::Arc;

use super::bound::{BoundFilter, Comparison, Target};
use super::members::Members;
use super::pattern::{Pattern, Syntax};
use crate::error::{Error, Result};
use crate::rows::raw;
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter, ListOp, PatternOp};
use crate::types::{AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Value};

/// Binds a filter. Errors: `InvalidRequest` for an attribute that is unknown, a vector or without the option
/// that the operator needs, for an operand of another type, and for a pattern that is invalid or too large.
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
        } => Leaf::find(attribute, op.name(), schema)?
            .filterable()?
            .compare(*op, value)?,
        Filter::In {
            attribute,
            values,
            negated,
        } => {
            let op = if *negated { "NotIn" } else { "In" };
            let bound = Leaf::find(attribute, op, schema)?
                .filterable()?
                .is_in(values)?;
            if *negated { not(bound) } else { bound }
        }
        Filter::List {
            attribute,
            op,
            value,
        } => Leaf::find(attribute, op.name(), schema)?
            .filterable()?
            .list(*op, value)?,
        Filter::Pattern {
            attribute,
            op,
            value,
        } => Leaf::find(attribute, op.name(), schema)?.pattern(*op, value)?,
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
    options: Options,
}

/// What the schema lets be asked of an attribute.
#[derive(Debug, Clone, Copy)]
struct Options {
    filterable: bool,
    glob: bool,
    regex: bool,
}

impl<'a> Leaf<'a> {
    fn find(name: &'a str, op: &'static str, schema: &NamespaceSchema) -> Result<Self> {
        if name == "id" {
            return Ok(Self {
                name,
                op,
                target: Target::Id,
                shape: Shape::Id(schema.id_kind),
                options: Options {
                    filterable: true,
                    glob: false,
                    regex: false,
                },
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
            kind @ (AttributeType::Bytes | AttributeType::Sparse) => {
                let text = format!("attribute `{name}` is not filterable: it is of type {kind}");
                return Err(filter_error(name, &text));
            }
            AttributeType::Scalar(kind) => Shape::Scalar(kind),
            AttributeType::Array(kind) => Shape::Array(kind),
            AttributeType::ArrayUnknown => Shape::ArrayUnknown,
        };
        Ok(Self {
            name,
            op,
            target: Target::Attribute(attribute.id),
            shape,
            options: Options {
                filterable: attribute.filterable,
                glob: attribute.glob,
                regex: attribute.regex,
            },
        })
    }

    fn filterable(self) -> Result<Self> {
        if self.options.filterable {
            return Ok(self);
        }
        let text = format!("attribute `{}` is not filterable", self.name);
        Err(filter_error(self.name, &text))
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
                if raw::list_len(value).is_none() {
                    return Err(self.mismatch(&expected, &shown(value)));
                }
                raw::elements(element, value, push, |found| {
                    self.mismatch(&expected, &found.found)
                })?;
                Ok(Some(Value::Array(items.into())))
            }
            Shape::ArrayUnknown => match raw::list_len(value) {
                Some(0) => Ok(Some(Value::Array([].into()))),
                Some(_) => Ok(None),
                None => Err(self.mismatch("[]unknown", &shown(value))),
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
                Err(_) => Err(self.mismatch(kind.map_or("an id", IdKind::name), &shown(value))),
            },
            Shape::Scalar(kind) | Shape::Array(kind) => {
                raw::scalar(kind, value).map_err(|_| self.mismatch(kind.name(), &shown(value)))
            }
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
        match Members::of(&operands) {
            Some(members) => Ok(BoundFilter::In {
                target: self.target,
                members,
            }),
            None if operands.is_empty() => Ok(BoundFilter::Constant(false)),
            None => Err(self.mismatch("operands of one type", "several types")),
        }
    }

    fn list(&self, op: ListOp, value: &RawValue) -> Result<BoundFilter> {
        let Target::Attribute(attr) = self.target else {
            return Err(self.not_for("an array attribute", "`id`"));
        };
        if let Shape::Scalar(kind) = self.shape {
            return Err(self.not_for("an array attribute", kind.name()));
        }
        match op {
            ListOp::Contains => self.contains(std::slice::from_ref(value)),
            ListOp::NotContains => self.contains(std::slice::from_ref(value)).map(not),
            ListOp::ContainsAny => self.contains_any(value),
            ListOp::NotContainsAny => self.contains_any(value).map(not),
            ListOp::AnyLt => self.any_element(attr, Comparison::Lt, value),
            ListOp::AnyLte => self.any_element(attr, Comparison::Lte, value),
            ListOp::AnyGt => self.any_element(attr, Comparison::Gt, value),
            ListOp::AnyGte => self.any_element(attr, Comparison::Gte, value),
        }
    }

    fn contains(&self, values: &[RawValue]) -> Result<BoundFilter> {
        if let Some(found) = values.iter().find(|value| !self.can_be_element(value)) {
            return Err(self.mismatch("an element", &shown(found)));
        }
        self.is_in(values)
    }

    fn contains_any(&self, value: &RawValue) -> Result<BoundFilter> {
        match self.operand(value)? {
            Some(Value::Array(operands)) => match Members::of(&operands) {
                Some(members) => Ok(BoundFilter::In {
                    target: self.target,
                    members,
                }),
                None => Ok(BoundFilter::Constant(false)),
            },
            // Only empty lists so far, which contain nothing.
            _ => Ok(BoundFilter::Constant(false)),
        }
    }

    fn any_element(
        &self,
        attr: crate::types::AttrId,
        comparison: Comparison,
        value: &RawValue,
    ) -> Result<BoundFilter> {
        if !self.can_be_element(value) {
            return Err(self.mismatch("an element", &shown(value)));
        }
        let operand = self.scalar(value)?;
        if matches!(self.shape, Shape::ArrayUnknown) {
            return Ok(BoundFilter::Constant(false));
        }
        Ok(BoundFilter::AnyElement {
            attr,
            comparison,
            operand,
        })
    }

    /// Whether a list of elements of a type not known yet might hold such a value.
    fn can_be_element(&self, value: &RawValue) -> bool {
        let unknown = matches!(self.shape, Shape::ArrayUnknown);
        !unknown || (*value != RawValue::Null && raw::list_len(value).is_none())
    }

    fn pattern(&self, op: PatternOp, value: &RawValue) -> Result<BoundFilter> {
        match self.shape {
            Shape::Scalar(ScalarType::String)
            | Shape::Array(ScalarType::String)
            | Shape::ArrayUnknown
            | Shape::Id(None | Some(IdKind::String)) => {}
            Shape::Scalar(kind) => return Err(self.not_for("text", kind.name())),
            Shape::Array(kind) => return Err(self.not_for("text", &format!("[]{}", kind.name()))),
            Shape::Id(Some(kind)) => return Err(self.not_for("text", kind.name())),
        }
        let Options {
            filterable,
            glob,
            regex,
        } = self.options;
        if op == PatternOp::Regex && !regex {
            let text = format!("{} needs `regex: true` in the schema", self.op);
            return Err(filter_error(self.name, &text));
        }
        if op != PatternOp::Regex && !(filterable || glob) {
            let text = format!(
                "{} needs `glob: true` or `filterable: true` in the schema",
                self.op
            );
            return Err(filter_error(self.name, &text));
        }
        let RawValue::String(source) = value else {
            return Err(self.mismatch("string", &shown(value)));
        };
        let (syntax, negated) = match op {
            PatternOp::Regex => (Syntax::Regex, false),
            PatternOp::Glob => (Syntax::Glob { fold_case: false }, false),
            PatternOp::NotGlob => (Syntax::Glob { fold_case: false }, true),
            PatternOp::IGlob => (Syntax::Glob { fold_case: true }, false),
            PatternOp::NotIGlob => (Syntax::Glob { fold_case: true }, true),
        };
        let pattern = Pattern::compile(source, syntax).map_err(|reason| {
            let text = format!("invalid pattern of {}: {reason}", self.op);
            filter_error(self.name, &text)
        })?;
        let bound = BoundFilter::Matches {
            target: self.target,
            pattern: Arc::new(pattern),
        };
        Ok(if negated { not(bound) } else { bound })
    }

    fn not_for(&self, expected: &str, found: &str) -> Error {
        let text = format!(
            "type mismatch, {} works on {expected}, but `{}` is {found}",
            self.op, self.name
        );
        filter_error(self.name, &text)
    }

    fn mismatch(&self, expected: &str, found: &str) -> Error {
        let text = format!(
            "type mismatch, {} expects {expected}, but got {found}",
            self.op
        );
        filter_error(self.name, &text)
    }
}

/// Shows an operand as the API's own messages do: text and short lists in single quotes, `'[a, b]'`.
fn shown(value: &RawValue) -> String {
    const ELEMENTS_MAX: usize = 8;
    let element = |value: &RawValue| match value {
        RawValue::String(text) => text.chars().take(64).collect(),
        other => raw::show(other),
    };
    match value {
        RawValue::String(text) if text.len() <= 64 => format!("'{text}'"),
        RawValue::Array(values) if values.len() <= ELEMENTS_MAX => {
            let elements: Vec<String> = values.iter().map(element).collect();
            format!("'[{}]'", elements.join(", "))
        }
        RawValue::Numbers { values, .. } if values.len() <= ELEMENTS_MAX => {
            let elements: Vec<String> = values.iter().map(f64::to_string).collect();
            format!("'[{}]'", elements.join(", "))
        }
        other => raw::show(other),
    }
}

fn filter_error(name: &str, text: &str) -> Error {
    let name: String = name.chars().take(200).collect();
    Error::invalid(format!("filter error in key `{name}`: {text}"))
}
