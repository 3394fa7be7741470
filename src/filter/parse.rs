//! Reads a filter out of its JSON array syntax.

use serde_json::Value as Json;

use crate::error::{Error, ErrorKind, Result};
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter, ListOp, PatternOp};
use crate::types::limits;

/// What an operator makes of its operand.
#[derive(Debug, Clone, Copy)]
enum Served {
    Compare(CompareOp),
    Membership { negated: bool },
    List(ListOp),
    Pattern(PatternOp),
}

/// Finds an operator that is served by its name.
fn served(name: &str) -> Option<Served> {
    let compare = CompareOp::ALL.into_iter().find(|op| op.name() == name);
    let list = || ListOp::ALL.into_iter().find(|op| op.name() == name);
    let pattern = || PatternOp::ALL.into_iter().find(|op| op.name() == name);
    match name {
        "In" => Some(Served::Membership { negated: false }),
        "NotIn" => Some(Served::Membership { negated: true }),
        _ => compare
            .map(Served::Compare)
            .or_else(|| list().map(Served::List))
            .or_else(|| pattern().map(Served::Pattern)),
    }
}

/// Operators of the public API that this version refuses by name.
pub(super) const UNSUPPORTED: [&str; 5] = [
    "Fuzzy",
    "BM25",
    "ContainsAllTokens",
    "ContainsAnyToken",
    "ContainsTokenSequence",
];

/// Whether the public API has a filter operator of this name, served or not.
pub fn is_operator(name: &str) -> bool {
    UNSUPPORTED.contains(&name) || served(name).is_some()
}

/// Parses the `filters` of a query. Errors: see `parse_at`.
pub fn parse(json: &Json) -> Result<Filter> {
    parse_at("filters", json)
}

/// Parses a filter found under the key `root`, which messages start their path with.
///
/// Errors: `Malformed` for a wrong shape or an unknown operator, `InvalidRequest` (`unsupported`) for an
/// operator of the public API that is not served, `InvalidRequest` beyond the depth and size limits.
pub fn parse_at(root: &str, json: &Json) -> Result<Filter> {
    let mut parser = Parser {
        path: root.to_owned(),
        nodes: 0,
        patterns: 0,
    };
    parser.filter(json, 1)
}

/// Takes a JSON value over as it is; lists of numbers stay flat where f64 holds them exactly.
pub fn raw(json: &Json) -> RawValue {
    match json {
        Json::Null => RawValue::Null,
        Json::Bool(value) => RawValue::Bool(*value),
        Json::Number(number) => raw_number(number),
        Json::String(text) => RawValue::String(text.as_str().into()),
        Json::Object(entries) => RawValue::Object(
            entries
                .iter()
                .map(|(name, value)| (name.as_str().into(), raw(value)))
                .collect(),
        ),
        Json::Array(items) => {
            numbers(items).unwrap_or_else(|| RawValue::Array(items.iter().map(raw).collect()))
        }
    }
}

fn raw_number(number: &serde_json::Number) -> RawValue {
    if let Some(value) = number.as_i64() {
        RawValue::Int(value)
    } else if let Some(value) = number.as_u64() {
        RawValue::Uint(value)
    } else {
        // Always finite: the JSON reader refuses what f64 cannot hold.
        RawValue::Float(number.as_f64().unwrap_or(0.0))
    }
}

fn numbers(items: &[Json]) -> Option<RawValue> {
    let mut integers = true;
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let Json::Number(number) = item else {
            return None;
        };
        let value = match raw_number(number) {
            RawValue::Int(value) => exact(i128::from(value))?,
            RawValue::Uint(value) => exact(i128::from(value))?,
            RawValue::Float(value) => {
                integers = false;
                value
            }
            _ => return None,
        };
        values.push(value);
    }
    (!values.is_empty()).then_some(RawValue::Numbers { values, integers })
}

fn exact(value: i128) -> Option<f64> {
    let float = value as f64;
    (float as i128 == value).then_some(float)
}

struct Parser {
    path: String,
    nodes: usize,
    patterns: usize,
}

impl Parser {
    fn filter(&mut self, json: &Json, depth: usize) -> Result<Filter> {
        if depth > limits::FILTER_DEPTH_MAX {
            return Err(self.beyond("levels", limits::FILTER_DEPTH_MAX));
        }
        self.count(1)?;
        let Json::Array(parts) = json else {
            return Err(self.malformed("a filter array", type_name(json)));
        };
        match parts.as_slice() {
            [Json::String(name), Json::Array(children)] if name == "And" => {
                Ok(Filter::And(self.children(children, depth)?))
            }
            [Json::String(name), Json::Array(children)] if name == "Or" => {
                Ok(Filter::Or(self.children(children, depth)?))
            }
            [Json::String(name), child] if name == "Not" => {
                let child = self.at(1, |parser| parser.filter(child, depth + 1))?;
                Ok(Filter::Not(Box::new(child)))
            }
            [Json::String(name), other] if name == "And" || name == "Or" => self.at(1, |parser| {
                Err(parser.malformed("a list of filters", type_name(other)))
            }),
            [Json::String(attribute), Json::String(op), operands @ ..] => {
                self.leaf(attribute, op, operands)
            }
            [Json::String(_), other, ..] => self.at(1, |parser| {
                Err(parser.malformed("the name of an operator", type_name(other)))
            }),
            [Json::String(_)] => Err(self.malformed("[attribute, operator, value]", "1 element")),
            [other, ..] => self.at(0, |parser| {
                Err(parser.malformed("the name of an attribute or operator", type_name(other)))
            }),
            [] => Err(self.malformed("a filter array", "an empty array")),
        }
    }

    fn children(&mut self, children: &[Json], depth: usize) -> Result<Vec<Filter>> {
        self.at(1, |parser| {
            children
                .iter()
                .enumerate()
                .map(|(at, child)| parser.at(at, |parser| parser.filter(child, depth + 1)))
                .collect()
        })
    }

    fn leaf(&mut self, attribute: &str, op: &str, operands: &[Json]) -> Result<Filter> {
        let Some(served) = served(op) else {
            if UNSUPPORTED.contains(&op) {
                return Err(unsupported(format!("filter operator `{op}`")));
            }
            let found = format!("`{}`", op.chars().take(64).collect::<String>());
            return self.at(1, |parser| {
                Err(parser.malformed("the name of an operator", &found))
            });
        };
        let [operand] = operands else {
            let found = format!("{} elements", operands.len() + 2);
            return Err(self.malformed("[attribute, operator, value]", &found));
        };
        let attribute = attribute.to_owned();
        self.at(2, |parser| parser.test(attribute, served, operand))
    }

    fn test(&mut self, attribute: String, served: Served, operand: &Json) -> Result<Filter> {
        Ok(match served {
            Served::Compare(op) => Filter::Compare {
                attribute,
                op,
                value: self.operand(operand)?,
            },
            Served::Membership { negated } => Filter::In {
                attribute,
                values: self.list(operand)?,
                negated,
            },
            Served::List(op) => Filter::List {
                attribute,
                op,
                value: self.operand(operand)?,
            },
            Served::Pattern(op) => {
                self.patterns += 1;
                if self.patterns > limits::FILTER_PATTERNS_MAX {
                    return Err(self.beyond("patterns", limits::FILTER_PATTERNS_MAX));
                }
                Filter::Pattern {
                    attribute,
                    op,
                    value: self.operand(operand)?,
                }
            }
        })
    }

    fn operand(&mut self, json: &Json) -> Result<RawValue> {
        match json {
            Json::Object(map) if map.contains_key("$ref_new") => {
                Err(unsupported("`$ref_new` in a condition".to_owned()))
            }
            Json::Object(_) => Err(self.malformed("a value, a list or null", "object")),
            Json::Array(items) => {
                self.count(items.len())?;
                Ok(raw(json))
            }
            _ => Ok(raw(json)),
        }
    }

    /// The operands of `In`. One that is no list counts as a list of one: the public API's own tests
    /// write it so for array attributes.
    fn list(&mut self, json: &Json) -> Result<Vec<RawValue>> {
        let Json::Array(items) = json else {
            return match json {
                Json::Null => Err(self.malformed("a list", "null")),
                _ => Ok(vec![self.operand(json)?]),
            };
        };
        self.count(items.len())?;
        let first = items.first().map(type_name);
        for (at, item) in items.iter().enumerate() {
            let found = type_name(item);
            if Some(found) != first || matches!(found, "null" | "array" | "object") {
                return self.at(at, |parser| {
                    Err(parser.malformed("values of one type, none of them null", found))
                });
            }
        }
        Ok(items.iter().map(raw).collect())
    }

    fn count(&mut self, nodes: usize) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > limits::FILTER_NODES_MAX {
            return Err(self.beyond("nodes", limits::FILTER_NODES_MAX));
        }
        Ok(())
    }

    /// Runs a step one index deeper in the path; an error keeps the path it was made with.
    fn at<T>(&mut self, index: usize, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let len = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let result = step(self);
        self.path.truncate(len);
        result
    }

    fn malformed(&self, expected: &str, found: &str) -> Error {
        let message = format!("`{}`: expected {expected}, found {found}", self.path);
        Error::malformed(message).with_detail("path", &self.path)
    }

    fn beyond(&self, what: &str, most: usize) -> Error {
        let message = format!("`{}`: a filter has at most {most} {what}", self.path);
        Error::invalid(message).with_detail("path", &self.path)
    }
}

fn type_name(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn unsupported(what: String) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        "unsupported",
        format!("{what} is not supported by this version"),
    )
}
