//! Numbers over rows: what `aggregate_by` and `group_by` answer.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::model::{Doc, Model, Refused, SEMANTICS, SHAPE};
use super::value::{Datum, Kind, Scalar, order, shown};

/// A number over rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

/// The numbers of one group, under its keys as they come back.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) keys: Map<String, Value>,
    pub(super) numbers: Vec<(String, Number)>,
}

/// What to expect: one group without keys where nothing is grouped.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) grouped: bool,
    pub(super) groups: Vec<Group>,
}

enum Fold {
    Count,
    Sum(String, bool),
}

/// A key of groups: label, attribute, whether each element of a list is a group.
struct By {
    label: String,
    attribute: String,
    each: bool,
}

impl Model {
    pub(super) fn totals(
        &self,
        sent: &Map<String, Value>,
        limit: Option<usize>,
        matching: &[&Doc],
    ) -> Result<Totals, Refused> {
        let field = |name: &str| sent.get(name).filter(|value| !value.is_null());
        for of_rows in ["rank_by", "include_attributes", "exclude_attributes"] {
            if field(of_rows).is_some() {
                return Err(SHAPE);
            }
        }
        let folds = field("aggregate_by").and_then(Value::as_object);
        let folds = folds.ok_or(SHAPE)?.iter();
        let folds: Vec<(String, Fold)> = folds
            .map(|(label, fold)| Ok((label.clone(), self.fold(fold)?)))
            .collect::<Result<_, Refused>>()?;
        if !(1..=8).contains(&folds.len()) {
            return Err(SEMANTICS);
        }
        let by = match field("group_by") {
            None => Vec::new(),
            Some(by) => {
                let by = by.as_array().ok_or(SHAPE)?.iter();
                by.map(|one| self.by(one)).collect::<Result<_, _>>()?
            }
        };
        let mut labels: Vec<&str> = folds.iter().map(|(label, _)| label.as_str()).collect();
        labels.extend(by.iter().map(|by: &By| by.label.as_str()));
        let mut attributes: Vec<&str> = by.iter().map(|by| by.attribute.as_str()).collect();
        let twice = has_twice(&mut labels) || has_twice(&mut attributes);
        let n_each = by.iter().filter(|by| by.each).count();
        if twice || n_each > 1 || by.is_empty() && limit.is_some() {
            return Err(SEMANTICS);
        }
        Ok(self.grouped(&folds, &by, limit, matching))
    }

    fn fold(&self, fold: &Value) -> Result<Fold, Refused> {
        let parts = fold.as_array().ok_or(SHAPE)?;
        let text: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
        match text.as_slice() {
            ["Count"] | ["Count", "id"] => Ok(Fold::Count),
            ["Sum", name] => match self.attributes.get(*name).map(|one| one.kind) {
                Some(Kind::One(Scalar::Float)) => Ok(Fold::Sum((*name).to_owned(), true)),
                Some(Kind::One(Scalar::Int | Scalar::Uint)) => {
                    Ok(Fold::Sum((*name).to_owned(), false))
                }
                _ => Err(SEMANTICS),
            },
            _ => Err(SHAPE),
        }
    }

    fn by(&self, by: &Value) -> Result<By, Refused> {
        let (label, name, each) = match by {
            Value::String(name) => (name, name.as_str(), false),
            Value::Object(entry) => {
                let (label, each) = entry.iter().next().ok_or(SHAPE)?;
                match each.as_array().map(Vec::as_slice) {
                    Some([Value::String(each), Value::String(name)]) if each == "ForEachUnique" => {
                        (label, name.as_str(), true)
                    }
                    _ => return Err(SHAPE),
                }
            }
            _ => return Err(SHAPE),
        };
        let attribute = self.attributes.get(name).ok_or(SEMANTICS)?;
        let fits = match attribute.kind {
            Kind::One(_) => !each,
            Kind::List(_) | Kind::ListOfUnknown => each,
            _ => false,
        };
        if !fits || !attribute.filterable {
            return Err(SEMANTICS);
        }
        Ok(By {
            label: label.clone(),
            attribute: name.to_owned(),
            each,
        })
    }

    fn grouped(
        &self,
        folds: &[(String, Fold)],
        by: &[By],
        limit: Option<usize>,
        matching: &[&Doc],
    ) -> Totals {
        let mut groups: Vec<(Vec<Option<Datum>>, Vec<&Doc>)> = Vec::new();
        for doc in matching {
            for key in keys(by, doc) {
                match groups
                    .iter_mut()
                    .find(|(known, _)| same(known, &key).is_eq())
                {
                    Some((_, docs)) => docs.push(doc),
                    None => groups.push((key, vec![doc])),
                }
            }
        }
        if by.is_empty() && groups.is_empty() {
            groups.push((Vec::new(), Vec::new()));
        }
        groups.sort_by(|(one, _), (other, _)| same(one, other));
        groups.truncate(limit.unwrap_or(10_000));
        let groups = groups.into_iter().map(|(key, docs)| {
            let keys = by.iter().zip(key).map(|(by, key)| {
                let kind = self.attributes[&by.attribute].kind;
                let key = key.map_or(Value::Null, |key| shown(kind, &key, false));
                (by.label.clone(), key)
            });
            let numbers = folds
                .iter()
                .map(|(label, fold)| (label.clone(), number(fold, &docs)));
            Group {
                keys: keys.collect(),
                numbers: numbers.collect(),
            }
        });
        Totals {
            grouped: !by.is_empty(),
            groups: groups.collect(),
        }
    }
}

fn has_twice(names: &mut [&str]) -> bool {
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// The groups that a document is in.
fn keys(by: &[By], doc: &Doc) -> Vec<Vec<Option<Datum>>> {
    let mut keys = vec![Vec::new()];
    for by in by {
        let values: Vec<Option<Datum>> = match doc.get(&by.attribute) {
            Some(Datum::List(items)) if by.each => {
                let mut items = items.clone();
                items.sort_by(order);
                items.dedup_by(|one, other| order(one, other).is_eq());
                items.into_iter().map(Some).collect()
            }
            value => vec![value.cloned()],
        };
        let longer = |key: &Vec<Option<Datum>>| {
            let key = key.clone();
            let with =
                |value: &Option<Datum>| [key.as_slice(), std::slice::from_ref(value)].concat();
            values.iter().map(with).collect::<Vec<_>>()
        };
        keys = keys.iter().flat_map(longer).collect();
    }
    keys
}

fn same(one: &[Option<Datum>], other: &[Option<Datum>]) -> Ordering {
    let pairs = one.iter().zip(other);
    let orders = pairs.map(|pair| match pair {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(one), Some(other)) => order(one, other),
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

fn number(fold: &Fold, docs: &[&Doc]) -> Number {
    let Fold::Sum(name, float) = fold else {
        return Number::Whole(docs.len() as i128);
    };
    let values = docs.iter().filter_map(|doc| doc.get(name));
    if !*float {
        let whole = values.map(|value| match value {
            Datum::Whole(value) => *value,
            other => panic!("no whole number: {other:?}"),
        });
        return Number::Whole(whole.sum());
    }
    // Parts without overlap, each sum of two kept with what it lost.
    let mut parts: Vec<f64> = Vec::new();
    for value in values {
        let Datum::Float(value) = value else {
            panic!("no float: {value:?}");
        };
        let mut sum = *value;
        let mut kept = Vec::new();
        for part in parts {
            let (large, small) = if f64::abs(sum) < f64::abs(part) {
                (part, sum)
            } else {
                (sum, part)
            };
            sum = large + small;
            let lost = small - (sum - large);
            if lost != 0.0 {
                kept.push(lost);
            }
        }
        kept.push(sum);
        parts = kept;
    }
    Number::Float(parts.iter().sum())
}
