//! What a filter means for one document, and which filters are refused.

use std::cmp::Ordering;

use serde_json::Value;

use super::model::{Doc, Model, Refused, SEMANTICS, SHAPE};
use super::pattern;
use super::value::{Datum, Id, Kind, Scalar, order, read, read_scalar};

/// An operand of an operator that this test has: the operand read in the attribute's type.
enum Operand {
    Null,
    One(Datum),
    Many(Vec<Datum>),
    Pattern(String),
}

const COMPARISONS: [&str; 6] = ["Eq", "NotEq", "Lt", "Lte", "Gt", "Gte"];
const OF_ELEMENT: [&str; 6] = [
    "Contains",
    "NotContains",
    "AnyLt",
    "AnyLte",
    "AnyGt",
    "AnyGte",
];
const OF_ELEMENTS: [&str; 2] = ["ContainsAny", "NotContainsAny"];
const GLOBS: [&str; 4] = ["Glob", "NotGlob", "IGlob", "NotIGlob"];

/// Refuses what is no filter, or none for these attributes.
pub(super) fn check(model: &Model, filter: &Value) -> Result<(), Refused> {
    let parts = filter.as_array().ok_or(SHAPE)?;
    match parts.as_slice() {
        [Value::String(name), children] if name == "And" || name == "Or" => {
            let children = children.as_array().ok_or(SHAPE)?;
            children.iter().try_for_each(|child| check(model, child))
        }
        [Value::String(name), child] if name == "Not" => check(model, child),
        [Value::String(name), Value::String(op), value] => {
            operand(model, name, op, value).map(|_| ())
        }
        _ => Err(SHAPE),
    }
}

/// Whether a document matches a filter that `check` let pass.
pub(super) fn holds(model: &Model, id: &Id, doc: &Doc, filter: &Value) -> bool {
    let parts = filter.as_array().expect("a filter");
    match parts.as_slice() {
        [Value::String(name), Value::Array(children)] => {
            let mut children = children.iter().map(|child| holds(model, id, doc, child));
            match name.as_str() {
                "And" => children.all(|held| held),
                "Or" => children.any(|held| held),
                // `Not` of a filter.
                _ => !holds(model, id, doc, &parts[1]),
            }
        }
        [Value::String(name), Value::String(op), value] => {
            let operand = operand(model, name, op, value).expect("checked before");
            match name.as_str() {
                "id" => test(Some(&id.datum()), op, &operand),
                name => test(doc.get(name), op, &operand),
            }
        }
        other => panic!("no filter: {other:?}"),
    }
}

fn operand(model: &Model, name: &str, op: &str, value: &Value) -> Result<Operand, Refused> {
    let known = COMPARISONS.contains(&op)
        || OF_ELEMENT.contains(&op)
        || OF_ELEMENTS.contains(&op)
        || GLOBS.contains(&op)
        || ["In", "NotIn", "Regex"].contains(&op);
    if !known || value.is_object() {
        return Err(SHAPE);
    }
    let membership = op == "In" || op == "NotIn";
    if membership {
        list_of_one_type(value)?;
    }
    let (kind, filterable, regex, globs) = match name {
        "id" => (Kind::One(model.id_kind()), true, false, false),
        name => {
            let attribute = model.attributes.get(name).ok_or(SEMANTICS)?;
            let globs = attribute.glob;
            (attribute.kind, attribute.filterable, attribute.regex, globs)
        }
    };
    if kind.is_vector() {
        return Err(SEMANTICS);
    }
    if GLOBS.contains(&op) || op == "Regex" {
        let allowed = if op == "Regex" {
            regex
        } else {
            filterable || globs
        };
        let is_text = matches!(
            kind,
            Kind::One(Scalar::Text) | Kind::List(Scalar::Text) | Kind::ListOfUnknown
        );
        let wrong = match op {
            "Regex" => pattern::NO_REGEXES.as_slice(),
            _ => pattern::NO_GLOBS.as_slice(),
        };
        let text = value.as_str().ok_or(SEMANTICS)?;
        if !allowed || !is_text || wrong.contains(&text) {
            return Err(SEMANTICS);
        }
        return Ok(Operand::Pattern(text.to_owned()));
    }
    if !filterable {
        return Err(SEMANTICS);
    }
    let element = match kind {
        Kind::One(scalar) | Kind::List(scalar) => Some(scalar),
        _ => None,
    };
    let is_list = !matches!(kind, Kind::One(_));
    // Nothing is known of the elements of a list that never had one: whatever may be one will do.
    let one = |value: &Value| match element {
        Some(scalar) => read_scalar(scalar, value).ok_or(SEMANTICS),
        None if value.is_null() || value.is_array() => Err(SEMANTICS),
        None => Ok(Datum::Bool(false)),
    };
    let many = |items: &[Value]| -> Result<Operand, Refused> {
        let items: Result<_, _> = items.iter().map(one).collect();
        items.map(Operand::Many)
    };
    if membership {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        return many(items);
    }
    if OF_ELEMENT.contains(&op) {
        return match is_list {
            true => one(value).map(Operand::One),
            false => Err(SEMANTICS),
        };
    }
    if OF_ELEMENTS.contains(&op) {
        let items = value.as_array().filter(|_| is_list);
        return many(items.ok_or(SEMANTICS)?);
    }
    if is_list && !matches!(op, "Eq" | "NotEq") {
        return Err(SEMANTICS);
    }
    if value.is_null() {
        return Ok(Operand::Null);
    }
    match (kind, value) {
        // It equals no list that was ever written.
        (Kind::ListOfUnknown, Value::Array(items)) if !items.is_empty() => {
            Ok(Operand::One(Datum::List(vec![Datum::Bool(false)])))
        }
        (kind, value) => read(kind, value).map(Operand::One).ok_or(SEMANTICS),
    }
}

/// `In` takes a list of values of one type, none of them null.
fn list_of_one_type(value: &Value) -> Result<(), Refused> {
    let type_of = |value: &Value| match value {
        Value::Bool(_) => Some(0),
        Value::Number(_) => Some(1),
        Value::String(_) => Some(2),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let Value::Array(items) = value else {
        return type_of(value).map(|_| ()).ok_or(SHAPE);
    };
    let alike = items
        .iter()
        .all(|item| type_of(item).is_some() && type_of(item) == type_of(&items[0]));
    if alike { Ok(()) } else { Err(SHAPE) }
}

fn test(found: Option<&Datum>, op: &str, operand: &Operand) -> bool {
    // The elements of a list; of a scalar itself; of a missing value none.
    let elements: &[Datum] = match found {
        None => &[],
        Some(Datum::List(items)) => items,
        Some(one) => std::slice::from_ref(one),
    };
    let missing = found.is_none();
    let wanted: &[Datum] = match operand {
        Operand::Many(wanted) => wanted,
        Operand::One(wanted) => std::slice::from_ref(wanted),
        Operand::Null | Operand::Pattern(_) => &[],
    };
    let has_any = || {
        let is = |one: &Datum, other: &Datum| order(one, other).is_eq();
        elements
            .iter()
            .any(|one| wanted.iter().any(|other| is(one, other)))
    };
    let compared = |wanted: fn(Ordering) -> bool| match (found, operand) {
        (Some(found), Operand::One(operand)) => wanted(order(found, operand)),
        _ => false,
    };
    let any = |test: fn(Ordering) -> bool| match operand {
        Operand::One(operand) => elements.iter().any(|one| test(order(one, operand))),
        _ => false,
    };
    let text = |test: &dyn Fn(&str, &str) -> bool| match operand {
        Operand::Pattern(pattern) => elements
            .iter()
            .any(|one| matches!(one, Datum::Text(text) if test(pattern, text))),
        _ => false,
    };
    let null = matches!(operand, Operand::Null);
    match op {
        "Eq" if null => missing,
        "NotEq" if null => !missing,
        "Eq" => compared(Ordering::is_eq),
        "NotEq" => !compared(Ordering::is_eq),
        "Lt" if null => false,
        "Lte" if null => missing,
        "Gt" if null => !missing,
        "Gte" if null => true,
        "Lt" => missing || compared(Ordering::is_lt),
        "Lte" => missing || compared(Ordering::is_le),
        "Gt" => compared(Ordering::is_gt),
        "Gte" => compared(Ordering::is_ge),
        "In" | "Contains" | "ContainsAny" => has_any(),
        "NotIn" | "NotContains" | "NotContainsAny" => !has_any(),
        "AnyLt" => any(Ordering::is_lt),
        "AnyLte" => any(Ordering::is_le),
        "AnyGt" => any(Ordering::is_gt),
        "AnyGte" => any(Ordering::is_ge),
        "Glob" => text(&|glob, text| pattern::glob(glob, text, false)),
        "NotGlob" => !text(&|glob, text| pattern::glob(glob, text, false)),
        "IGlob" => text(&|glob, text| pattern::glob(glob, text, true)),
        "NotIGlob" => !text(&|glob, text| pattern::glob(glob, text, true)),
        "Regex" => text(&pattern::regex),
        other => panic!("no such operator: {other}"),
    }
}
