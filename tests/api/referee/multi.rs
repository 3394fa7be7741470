//! Several queries at once, and the one list that their rows may become.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::model::{Model, Refused, SEMANTICS, SHAPE};
use super::query::{Expected, Found, Rows, consistency, encoding, total};
use super::value::Id;

const FIELDS: [&str; 8] = [
    "queries",
    "rerank_by",
    "limit",
    "offset",
    "consistency",
    "vector_encoding",
    "allow_degraded",
    "plan",
];

impl Model {
    pub(super) fn several(&self, sent: &Map<String, Value>) -> Result<Vec<Expected>, Refused> {
        if sent.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            return Err(SEMANTICS);
        }
        let field = |name: &str| sent.get(name).filter(|value| !value.is_null());
        let queries = field("queries").and_then(Value::as_array).ok_or(SHAPE)?;
        if !(1..=16).contains(&queries.len()) {
            return Err(SEMANTICS);
        }
        consistency(field("consistency"))?;
        let base64 = encoding(field("vector_encoding"))?;
        let answers: Vec<Expected> = queries
            .iter()
            .map(|query| {
                let query = query.as_object().ok_or(SHAPE)?;
                let own = ["consistency", "vector_encoding", "queries", "rerank_by"];
                if own.iter().any(|name| query.contains_key(*name)) {
                    return Err(SEMANTICS);
                }
                self.ask(query, base64)
            })
            .collect::<Result<_, _>>()?;
        let limit = field("limit").map(total).transpose()?;
        let offset = match field("offset") {
            None => 0,
            Some(offset) => {
                usize::try_from(offset.as_u64().ok_or(SHAPE)?).map_err(|_| SEMANTICS)?
            }
        };
        let Some(rerank) = field("rerank_by") else {
            let alone = limit.is_none() && field("offset").is_none();
            return if alone { Ok(answers) } else { Err(SEMANTICS) };
        };
        let lists = answers.into_iter().map(|answer| match answer {
            Expected::Rows(rows) => Ok(rows),
            _ => Err(SEMANTICS),
        });
        let lists: Vec<Rows> = lists.collect::<Result<_, _>>()?;
        let (constant, weights) = options(rerank, lists.len())?;
        let largest = lists.iter().map(|rows| rows.limit).max().unwrap_or(0);
        let limit = limit.unwrap_or(largest);
        let lonely = field("offset").is_some() && field("limit").is_none();
        if lists.len() < 2 || lonely || offset.saturating_add(limit) > 10_000 {
            return Err(SEMANTICS);
        }
        let fused = fuse(&lists, constant, &weights);
        Ok(vec![Expected::Rows(Rows {
            found: fused,
            offset,
            limit,
            descending: true,
        })])
    }
}

fn options(rerank: &Value, n_lists: usize) -> Result<(f64, Vec<f64>), Refused> {
    let nothing = Map::new();
    let options = match rerank.as_array().ok_or(SHAPE)?.as_slice() {
        [Value::String(name)] if name == "RRF" => &nothing,
        [Value::String(name), Value::Object(options)] if name == "RRF" => options,
        _ => return Err(SHAPE),
    };
    let above_zero = |number: &Value| {
        let number = number.as_f64().ok_or(SHAPE)?;
        if number > 0.0 {
            Ok(number)
        } else {
            Err(SEMANTICS)
        }
    };
    let constant = options.get("rank_constant").map_or(Ok(60.0), above_zero)?;
    let weights = match options.get("weights") {
        None => vec![1.0; n_lists],
        Some(weights) => {
            let weights = weights.as_array().ok_or(SHAPE)?.iter();
            weights.map(above_zero).collect::<Result<_, _>>()?
        }
    };
    if weights.len() != n_lists {
        return Err(SEMANTICS);
    }
    Ok((constant, weights))
}

fn fuse(lists: &[Rows], constant: f64, weights: &[f64]) -> Vec<Found> {
    let mut fused: BTreeMap<Id, Found> = BTreeMap::new();
    for (rows, weight) in lists.iter().zip(weights) {
        for (at, found) in rows.window().into_iter().enumerate() {
            let score = weight / (constant + (at + 1) as f64);
            let known = fused.entry(found.id.clone()).or_insert_with(|| Found {
                dist: Some((0.0, 0.0)),
                ..found.clone()
            });
            let sum = known.dist.map_or(0.0, |(sum, _)| sum) + score;
            known.dist = Some((sum, 1e-9 * sum));
            for (name, value) in found.row.as_object().into_iter().flatten() {
                known.row[name] = value.clone();
            }
        }
    }
    let mut fused: Vec<Found> = fused.into_values().collect();
    let score = |found: &Found| found.dist.map_or(0.0, |(score, _)| score);
    // Stable, so that equal scores stay in the order of ids.
    fused.sort_by(|one, other| score(other).total_cmp(&score(one)));
    fused
}
