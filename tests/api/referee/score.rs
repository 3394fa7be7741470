//! Scores of documents: rank expressions over filters and attributes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::filter;
use super::model::{Doc, Model, Refused, SEMANTICS, SHAPE};
use super::value::{Datum, Id, Kind, Scalar, read_scalar, weights};

const CONNECTIVES: [&str; 3] = ["And", "Or", "Not"];
const FUNCTIONS: [&str; 7] = [
    "Sum",
    "Max",
    "Product",
    "Attribute",
    "Saturate",
    "Decay",
    "Dist",
];

/// An expression whose names and numbers fit.
#[derive(Debug)]
pub(super) enum Score {
    Filter(Value),
    Sparse(String, BTreeMap<String, f64>),
    Attribute(String),
    Dist(String, Datum),
    Sum(Vec<Score>),
    Max(Vec<Score>, Option<f64>),
    Product(f64, Box<Score>),
    Saturate(Box<Score>, f64, f64),
    Decay(Box<Score>, f64, f64),
}

/// What the rules ask of an expression's values.
struct Nature {
    signed: bool,
    time: bool,
}

const PLAIN: Nature = Nature {
    signed: false,
    time: false,
};

impl Score {
    pub(super) fn read(model: &Model, sent: &Value) -> Result<Self, Refused> {
        let (score, nature) = read(model, sent)?;
        not_negative(&nature)?;
        Ok(score)
    }

    /// The score of a document, none where a value is missing, and whether the document is in the answer at all.
    pub(super) fn of(&self, model: &Model, id: &Id, doc: &Doc) -> (Option<f64>, bool) {
        let each = |clauses: &[Self]| -> Vec<(Option<f64>, bool)> {
            clauses.iter().map(|one| one.of(model, id, doc)).collect()
        };
        let any = |parts: &[(Option<f64>, bool)]| parts.iter().any(|(_, found)| *found);
        match self {
            Self::Filter(filter) => {
                let holds = filter::holds(model, id, doc, filter);
                (Some(f64::from(u8::from(holds))), holds)
            }
            Self::Sparse(name, query) => {
                let Some(Datum::Sparse(weights)) = doc.get(name) else {
                    return (None, false);
                };
                let weight = |name: &String| weights.get(name).map_or(0.0, |one| f64::from(*one));
                let products = query.iter().map(|(name, asked)| asked * weight(name));
                let dot = f64::max(0.0, products.sum());
                (Some(dot), dot > 0.0)
            }
            Self::Attribute(name) => (doc.get(name).map(number), true),
            Self::Dist(name, origin) => {
                let far = doc.get(name).map(|value| match (value, origin) {
                    (Datum::Whole(one), Datum::Whole(other)) => one.abs_diff(*other) as f64,
                    (one, other) => f64::abs(number(one) - number(other)),
                });
                (far, true)
            }
            Self::Sum(clauses) => {
                let parts = each(clauses);
                let scores = parts.iter().filter_map(|(score, _)| *score);
                (
                    Some(scores.fold(0.0, |sum, score| sum + score)),
                    any(&parts),
                )
            }
            Self::Max(clauses, floor) => {
                let parts = each(clauses);
                let scores = parts.iter().filter_map(|(score, _)| *score);
                (scores.chain(*floor).reduce(f64::max), any(&parts))
            }
            Self::Product(weight, clause) => {
                let (score, found) = clause.of(model, id, doc);
                // A filter that counts for nothing finds nothing.
                let counts = *weight != 0.0 || clause.has_values();
                (score.map(|score| weight * score), found && counts)
            }
            Self::Saturate(clause, midpoint, exponent) => {
                let (score, found) = clause.of(model, id, doc);
                let share = |score: f64| match score > 0.0 {
                    true => 1.0 / (1.0 + (midpoint / score).powf(*exponent)),
                    false => 0.0,
                };
                (score.map(share), found)
            }
            Self::Decay(clause, midpoint, exponent) => {
                let (score, found) = clause.of(model, id, doc);
                let share = |score: f64| 1.0 / (1.0 + (score / midpoint).powf(*exponent));
                (score.map(share), found)
            }
        }
    }

    fn has_values(&self) -> bool {
        match self {
            Self::Filter(_) | Self::Sparse(..) => false,
            Self::Attribute(_) | Self::Dist(..) => true,
            Self::Sum(clauses) | Self::Max(clauses, _) => clauses.iter().any(Self::has_values),
            Self::Product(_, clause) | Self::Saturate(clause, ..) | Self::Decay(clause, ..) => {
                clause.has_values()
            }
        }
    }
}

fn number(value: &Datum) -> f64 {
    match value {
        Datum::Whole(value) => *value as f64,
        Datum::Float(value) => *value,
        other => panic!("no number: {other:?}"),
    }
}

fn not_negative(nature: &Nature) -> Result<(), Refused> {
    if nature.signed {
        return Err(SEMANTICS);
    }
    Ok(())
}

fn read(model: &Model, sent: &Value) -> Result<(Score, Nature), Refused> {
    let parts = sent.as_array().ok_or(SHAPE)?;
    match parts.as_slice() {
        [Value::String(name), Value::String(how), query] if how == "SparseKNN" => {
            let query = weights(query).ok_or(SEMANTICS)?;
            match model.attributes.get(name).map(|one| one.kind) {
                Some(Kind::Sparse) => Ok((Score::Sparse(name.clone(), query), PLAIN)),
                _ => Err(SEMANTICS),
            }
        }
        [Value::String(_), Value::String(_), _] => filter_of(model, sent),
        [Value::String(name), _] if CONNECTIVES.contains(&name.as_str()) => filter_of(model, sent),
        [Value::String(name), Value::String(attribute)] if name == "Attribute" => {
            let kind = numeric(model, attribute)?;
            let nature = Nature {
                signed: kind != Scalar::Uint,
                time: kind == Scalar::Time,
            };
            Ok((Score::Attribute(attribute.clone()), nature))
        }
        [Value::String(name), of, origin] if name == "Dist" => {
            let attribute = match of.as_array().map(Vec::as_slice) {
                Some([Value::String(name), Value::String(attribute)]) if name == "Attribute" => {
                    attribute
                }
                _ => return Err(SEMANTICS),
            };
            let kind = numeric(model, attribute)?;
            let origin = read_scalar(kind, origin).ok_or(SEMANTICS)?;
            let nature = Nature {
                signed: false,
                time: kind == Scalar::Time,
            };
            Ok((Score::Dist(attribute.clone(), origin), nature))
        }
        [Value::String(name), Value::Array(clauses)] if name == "Sum" || name == "Max" => {
            let (mut all, mut floors) = (Vec::new(), Vec::new());
            let mut nature = Nature {
                signed: false,
                time: true,
            };
            for clause in clauses {
                if let (Some(floor), true) = (clause.as_f64(), name == "Max") {
                    floors.push(floor);
                    continue;
                }
                let (clause, own) = read(model, clause)?;
                nature.signed |= own.signed;
                nature.time &= own.time;
                all.push(clause);
            }
            if floors.iter().any(|floor| *floor < 0.0) {
                return Err(SEMANTICS);
            }
            if name == "Sum" {
                not_negative(&nature)?;
                return Ok((Score::Sum(all), nature));
            }
            nature.signed &= floors.is_empty();
            Ok((Score::Max(all, floors.into_iter().reduce(f64::max)), nature))
        }
        [Value::String(name), weight @ Value::Number(_), clause]
        | [Value::String(name), clause, weight @ Value::Number(_)]
            if name == "Product" =>
        {
            let weight = weight.as_f64().filter(|weight| *weight >= 0.0);
            let (clause, nature) = read(model, clause)?;
            not_negative(&nature)?;
            Ok((
                Score::Product(weight.ok_or(SEMANTICS)?, Box::new(clause)),
                PLAIN,
            ))
        }
        [Value::String(name), clause, Value::Object(curve)]
            if name == "Saturate" || name == "Decay" =>
        {
            let (clause, nature) = read(model, clause)?;
            let (midpoint, exponent) = shape(curve, &nature)?;
            let clause = Box::new(clause);
            if name == "Saturate" {
                return Ok((Score::Saturate(clause, midpoint, exponent), PLAIN));
            }
            not_negative(&nature)?;
            Ok((Score::Decay(clause, midpoint, exponent), PLAIN))
        }
        [Value::String(name), ..] if FUNCTIONS.contains(&name.as_str()) => Err(SEMANTICS),
        _ => Err(SHAPE),
    }
}

fn filter_of(model: &Model, sent: &Value) -> Result<(Score, Nature), Refused> {
    filter::check(model, sent)?;
    Ok((Score::Filter(sent.clone()), PLAIN))
}

fn numeric(model: &Model, name: &str) -> Result<Scalar, Refused> {
    match model.attributes.get(name).map(|one| one.kind) {
        Some(Kind::One(kind @ (Scalar::Int | Scalar::Uint | Scalar::Float | Scalar::Time))) => {
            Ok(kind)
        }
        _ => Err(SEMANTICS),
    }
}

fn shape(curve: &Map<String, Value>, nature: &Nature) -> Result<(f64, f64), Refused> {
    let above_zero = |number: &Value| {
        let number = number.as_f64().ok_or(SHAPE)?;
        if number > 0.0 {
            Ok(number)
        } else {
            Err(SEMANTICS)
        }
    };
    let midpoint = match curve.get("midpoint").ok_or(SHAPE)? {
        Value::String(text) if nature.time => milliseconds(text).ok_or(SEMANTICS)?,
        Value::String(_) => return Err(SEMANTICS),
        number => above_zero(number)?,
    };
    let exponent = curve.get("exponent").map_or(Ok(1.0), above_zero)?;
    Ok((midpoint, exponent))
}

fn milliseconds(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let unit = match &text[digits.len()..] {
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 6e4,
        "h" => 3.6e6,
        "d" => 8.64e7,
        "w" => 6.048e8,
        _ => return None,
    };
    digits.parse::<f64>().ok().map(|number| number * unit)
}
