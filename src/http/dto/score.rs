//! Rank expressions: scores made of filters, attributes and each other.

use serde_json::{Map, Value};

use super::json::{clip, invalid, malformed, unknown_field, unsupported, wrong_type};
use super::query::given;
use crate::error::Result;
use crate::filter;
use crate::query::request::{Curve, ScoreExpr};
use crate::types::limits;

/// First elements that make an expression of others, or of an attribute.
const FUNCTIONS: [&str; 7] = [
    "Sum",
    "Max",
    "Product",
    "Attribute",
    "Saturate",
    "Decay",
    "Dist",
];

/// Ranks by a sparse vector.
const SPARSE: &str = "SparseKNN";

/// Clauses of later versions.
const LATER: [&str; 1] = ["BM25"];

/// Units of a duration and their milliseconds; `ms` before `m` and `s`.
const UNITS: [(&str, f64); 6] = [
    ("ms", 1.0),
    ("s", 1_000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
    ("w", 604_800_000.0),
];

/// Whether an array is a rank expression, as far as its first two elements tell.
pub(super) fn is_score(parts: &[Value]) -> bool {
    match parts {
        [Value::String(_), Value::String(how), ..] if how == SPARSE => true,
        [Value::String(_), Value::String(op), ..] if filter::is_operator(op) => true,
        [Value::String(name), ..] => FUNCTIONS.contains(&name.as_str()) || is_connective(name),
        _ => false,
    }
}

/// Parses a rank expression found at `at`.
///
/// Errors: `Malformed` for unknown forms, `InvalidRequest` for numbers out of range and beyond the limits of depth
/// and size, and as of filters.
pub(super) fn parse_score(at: &str, value: &Value) -> Result<ScoreExpr> {
    let mut parser = Parser { at, clauses: 0 };
    parser.expr(value, 1)
}

struct Parser<'a> {
    at: &'a str,
    clauses: usize,
}

impl Parser<'_> {
    fn expr(&mut self, value: &Value, depth: usize) -> Result<ScoreExpr> {
        self.clauses += 1;
        let beyond = |what: &str, most: usize| {
            invalid(self.at, format!("too many {what}: expected at most {most}"))
        };
        if depth > limits::RANK_DEPTH_MAX {
            return Err(beyond("levels", limits::RANK_DEPTH_MAX));
        }
        if self.clauses > limits::RANK_CLAUSES_MAX {
            return Err(beyond("clauses", limits::RANK_CLAUSES_MAX));
        }
        let parts = match value {
            Value::Array(parts) => parts.as_slice(),
            Value::Number(number) => {
                let message = format!("expected a clause, found the number {number}");
                return Err(invalid(self.at, message));
            }
            other => return Err(wrong_type(self.at, other, "a rank expression")),
        };
        match parts {
            [Value::String(_), Value::String(how), ..] if LATER.contains(&how.as_str()) => {
                Err(unsupported(format!("`{}`: `{how}`", self.at)))
            }
            [Value::String(attribute), Value::String(how), rest @ ..] if how == SPARSE => {
                self.sparse(attribute, rest)
            }
            [Value::String(_), Value::String(op), ..] if filter::is_operator(op) => {
                Ok(ScoreExpr::Filter(filter::parse_at(self.at, value)?))
            }
            [Value::String(name), ..] if is_connective(name) => {
                Ok(ScoreExpr::Filter(filter::parse_at(self.at, value)?))
            }
            [Value::String(name), Value::String(attribute)] if name == "Attribute" => {
                Ok(ScoreExpr::Attribute(attribute.clone()))
            }
            [Value::String(name), Value::Array(clauses)] if name == "Sum" => {
                Ok(ScoreExpr::Sum(self.exprs(clauses, depth)?))
            }
            [Value::String(name), Value::Array(clauses)] if name == "Max" => {
                self.max(clauses, depth)
            }
            [Value::String(name), weight @ Value::Number(_), clause]
            | [Value::String(name), clause, weight @ Value::Number(_)]
                if name == "Product" =>
            {
                Ok(ScoreExpr::Product {
                    weight: self.at_least_zero("a weight", weight)?,
                    clause: Box::new(self.expr(clause, depth + 1)?),
                })
            }
            [Value::String(name), clause, Value::Object(options)] if name == "Saturate" => {
                Ok(ScoreExpr::Saturate {
                    clause: Box::new(self.expr(clause, depth + 1)?),
                    curve: self.curve(options)?,
                })
            }
            [Value::String(name), clause, Value::Object(options)] if name == "Decay" => {
                Ok(ScoreExpr::Decay {
                    clause: Box::new(self.expr(clause, depth + 1)?),
                    curve: self.curve(options)?,
                })
            }
            [Value::String(name), of, origin] if name == "Dist" => self.dist(of, origin),
            [Value::String(name), ..] if FUNCTIONS.contains(&name.as_str()) => {
                let message = format!("expected {}", form_of(name));
                Err(invalid(self.at, message))
            }
            _ => Err(malformed(
                self.at,
                "unknown clause: expected a filter, or one of SparseKNN, Sum, Max, Product, Attribute, Saturate, Decay, Dist",
            )),
        }
    }

    fn exprs(&mut self, clauses: &[Value], depth: usize) -> Result<Vec<ScoreExpr>> {
        let clauses = clauses.iter().map(|clause| self.expr(clause, depth + 1));
        clauses.collect()
    }

    fn max(&mut self, parts: &[Value], depth: usize) -> Result<ScoreExpr> {
        let mut clauses = Vec::new();
        let mut floor: Option<f64> = None;
        for part in parts {
            if part.is_number() {
                let number = self.at_least_zero("a number in `Max`", part)?;
                floor = Some(floor.map_or(number, |floor| floor.max(number)));
            } else {
                clauses.push(self.expr(part, depth + 1)?);
            }
        }
        Ok(ScoreExpr::Max { clauses, floor })
    }

    fn sparse(&mut self, attribute: &str, rest: &[Value]) -> Result<ScoreExpr> {
        match rest {
            [vector @ Value::Object(_)] => Ok(ScoreExpr::Sparse {
                attribute: attribute.to_owned(),
                vector: filter::raw(vector),
            }),
            [other] => Err(wrong_type(self.at, other, "a map of numbers")),
            _ => {
                let expected = format!("[attribute, \"{SPARSE}\", {{dimension: weight}}]");
                let message = format!("invalid length {}, expected {expected}", rest.len() + 2);
                Err(malformed(self.at, message))
            }
        }
    }

    fn dist(&mut self, of: &Value, origin: &Value) -> Result<ScoreExpr> {
        match of.as_array().map(Vec::as_slice) {
            Some([Value::String(name), Value::String(attribute)]) if name == "Attribute" => {
                Ok(ScoreExpr::Dist {
                    attribute: attribute.clone(),
                    origin: filter::raw(origin),
                })
            }
            _ => Err(invalid(self.at, format!("expected {}", form_of("Dist")))),
        }
    }

    fn curve(&self, options: &Map<String, Value>) -> Result<Curve> {
        for name in options.keys() {
            if !matches!(name.as_str(), "midpoint" | "exponent") {
                return Err(unknown_field(name, &["midpoint", "exponent"]));
            }
        }
        let midpoint = given(options, "midpoint")
            .ok_or_else(|| malformed(self.at, "missing field `midpoint`"))?;
        let (midpoint, is_duration) = match midpoint {
            Value::String(text) => (self.duration(text)?, true),
            number => (self.above_zero("`midpoint`", number)?, false),
        };
        let exponent = match given(options, "exponent") {
            None => 1.0,
            Some(number) => self.above_zero("`exponent`", number)?,
        };
        Ok(Curve {
            midpoint,
            is_duration,
            exponent,
        })
    }

    /// Milliseconds of a duration such as `6h`.
    fn duration(&self, text: &str) -> Result<f64> {
        let found = UNITS.iter().find_map(|(unit, ms)| {
            let number = text.strip_suffix(unit)?;
            let digits = number
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
            let number = number.parse::<f64>().ok().filter(|_| digits)?;
            let duration = number * ms;
            (duration > 0.0 && duration.is_finite()).then_some(duration)
        });
        found.ok_or_else(|| {
            let message = format!(
                "expected a duration such as `6h` (ms, s, m, h, d, w), found `{}`",
                clip(text)
            );
            invalid(self.at, message)
        })
    }

    fn above_zero(&self, what: &str, value: &Value) -> Result<f64> {
        let number = self.number(what, value)?;
        match number > 0.0 {
            true => Ok(number),
            false => Err(invalid(
                self.at,
                format!("{what}: expected a number above 0, found {number}"),
            )),
        }
    }

    fn at_least_zero(&self, what: &str, value: &Value) -> Result<f64> {
        let number = self.number(what, value)?;
        match number >= 0.0 {
            true => Ok(number),
            false => Err(invalid(
                self.at,
                format!("{what}: expected no number below 0, found {number}"),
            )),
        }
    }

    fn number(&self, what: &str, value: &Value) -> Result<f64> {
        value
            .as_f64()
            .ok_or_else(|| wrong_type(self.at, value, &format!("{what}, a number")))
    }
}

fn is_connective(name: &str) -> bool {
    matches!(name, "And" | "Or" | "Not")
}

fn form_of(function: &str) -> &'static str {
    match function {
        "Sum" => "[\"Sum\", [clause, ...]]",
        "Max" => "[\"Max\", [clause or number, ...]]",
        "Product" => "[\"Product\", weight, clause]",
        "Attribute" => "[\"Attribute\", attribute]",
        "Saturate" => "[\"Saturate\", clause, {\"midpoint\": number}]",
        "Decay" => "[\"Decay\", clause, {\"midpoint\": number}]",
        _ => "[\"Dist\", [\"Attribute\", attribute], value]",
    }
}
