//! What a query finds: every document that matches, in its place.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::filter;
use super::model::{ABSENT, Doc, Model, Refused, SEMANTICS, SHAPE};
use super::score::Score;
use super::totals::Totals;
use super::value::{Datum, Id, Kind, order, shown, vector};

const FIELDS: [&str; 15] = [
    "compute_attributes",
    "aggregate_by",
    "group_by",
    "rank_by",
    "limit",
    "top_k",
    "offset",
    "filters",
    "include_attributes",
    "exclude_attributes",
    "distance_metric",
    "vector_encoding",
    "consistency",
    "allow_degraded",
    "plan",
];

/// A distance or score, and how far from it that of an answer may be; none in an order.
pub(super) type Dist = Option<(f64, f64)>;

/// A document that matches.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) id: Id,
    pub(super) dist: Dist,
    /// The row as it comes back, but for the distance and what is computed.
    pub(super) row: Value,
    /// What is computed; none is left out.
    pub(super) computed: Vec<(String, Dist)>,
}

/// What a query should answer.
#[derive(Debug)]
pub(super) enum Expected {
    Rows(Rows),
    Totals(Totals),
    Several(Vec<Expected>),
}

/// The rows that a query should answer.
#[derive(Debug)]
pub(super) struct Rows {
    /// All that match, in order.
    pub(super) found: Vec<Found>,
    pub(super) offset: usize,
    pub(super) limit: usize,
    /// Whether the largest `$dist` comes first.
    pub(super) descending: bool,
}

impl Rows {
    /// Those that come back.
    pub(super) fn window(&self) -> Vec<&Found> {
        self.found
            .iter()
            .skip(self.offset)
            .take(self.limit)
            .collect()
    }
}

/// How documents are ranked.
enum Rank {
    Order(Vec<(String, bool)>),
    Vector(String, Vec<f32>),
    Score(Score),
}

/// What is computed of a document.
enum Compute {
    Score(Score),
    Distance(String, Vec<f32>),
}

impl Model {
    pub(super) fn query(&self, body: &Value) -> Result<Expected, Refused> {
        let sent = body.as_object().ok_or(SHAPE)?;
        if !self.exists {
            return Err(ABSENT);
        }
        if sent
            .get("queries")
            .is_some_and(|queries| !queries.is_null())
        {
            return self.several(sent).map(Expected::Several);
        }
        let field = |name: &str| sent.get(name).filter(|value| !value.is_null());
        consistency(field("consistency"))?;
        self.ask(sent, encoding(field("vector_encoding"))?)
    }

    /// Answers one question.
    pub(super) fn ask(&self, sent: &Map<String, Value>, base64: bool) -> Result<Expected, Refused> {
        if sent.keys().any(|name| !FIELDS.contains(&name.as_str())) {
            return Err(SEMANTICS);
        }
        let field = |name: &str| sent.get(name).filter(|value| !value.is_null());
        let filters = field("filters");
        if let Some(filters) = filters {
            filter::check(self, filters)?;
        }
        let docs = self.docs.iter();
        let matching = docs.filter(|(id, doc)| {
            filters.is_none_or(|filters| filter::holds(self, id, doc, filters))
        });
        if field("aggregate_by").is_some() {
            if field("offset").is_some() || field("distance_metric").is_some() {
                return Err(SEMANTICS);
            }
            let matching: Vec<&Doc> = matching.map(|(_, doc)| doc).collect();
            let totals = self.totals(sent, limit_of(sent)?, &matching)?;
            return Ok(Expected::Totals(totals));
        }
        if field("group_by").is_some() {
            return Err(SEMANTICS);
        }
        let rank = match field("rank_by") {
            Some(rank) => self.rank(rank, filters.is_some())?,
            None if filters.is_some() => Rank::Order(Vec::new()),
            None => return Err(SEMANTICS),
        };
        if let Some(metric) = field("distance_metric") {
            let metric = metric.as_str().ok_or(SHAPE)?;
            if !["cosine_distance", "euclidean_squared", "dot_product"].contains(&metric) {
                return Err(SHAPE);
            }
            if !matches!(rank, Rank::Vector(..)) || self.metric.as_deref() != Some(metric) {
                return Err(SEMANTICS);
            }
        }
        let (limit, offset) = window(sent)?;
        let columns = self.columns(field("include_attributes"), field("exclude_attributes"))?;
        let computed = self.computed(field("compute_attributes"))?;
        let mut found = self.ranked(&rank, matching);
        if let Some(per) = sent.get("limit").and_then(|limit| limit.get("per")) {
            self.limit_alike(per, &rank, &columns, &mut found)?;
        }
        let show = |id: &Id, doc: &Doc| {
            let mut row = Map::from_iter([("id".to_owned(), id.shown())]);
            for name in &columns {
                if let Some(datum) = doc.get(name) {
                    let kind = self.attributes[name].kind;
                    row.insert(name.clone(), shown(kind, datum, base64));
                }
            }
            Value::Object(row)
        };
        let compute = |id: &Id, doc: &Doc| {
            let computed = computed.iter();
            let computed = computed.map(|(name, one)| (name.clone(), self.compute(one, id, doc)));
            computed.collect()
        };
        let found = found.into_iter().map(|(id, doc, dist)| Found {
            id: id.clone(),
            dist,
            row: show(id, doc),
            computed: compute(id, doc),
        });
        Ok(Expected::Rows(Rows {
            found: found.collect(),
            offset,
            limit,
            descending: matches!(rank, Rank::Score(_)),
        }))
    }

    fn rank(&self, rank: &Value, filtered: bool) -> Result<Rank, Refused> {
        let parts = rank.as_array().ok_or(SHAPE)?;
        match parts.as_slice() {
            [] => Err(SEMANTICS),
            [Value::Array(_), ..] => {
                let keys: Vec<_> = parts.iter().map(key).collect::<Result<_, _>>()?;
                if keys.len() > 8 {
                    return Err(SEMANTICS);
                }
                keys.iter().try_for_each(|(name, _)| self.orderable(name))?;
                Ok(Rank::Order(keys))
            }
            [Value::String(_), Value::String(how)] if how == "asc" || how == "desc" => {
                let key = key(rank)?;
                self.orderable(&key.0)?;
                Ok(Rank::Order(vec![key]))
            }
            [Value::String(name), Value::String(how), query] if how == "ANN" || how == "kNN" => {
                if how == "kNN" && !filtered {
                    return Err(SEMANTICS);
                }
                let query = self.query_vector(name, query)?;
                Ok(Rank::Vector(name.clone(), query))
            }
            [Value::String(_), Value::String(_)] if parts[0] != "Attribute" => Err(SHAPE),
            _ => Score::read(self, rank).map(Rank::Score),
        }
    }

    fn query_vector(&self, name: &str, query: &Value) -> Result<Vec<f32>, Refused> {
        let attribute = self.attributes.get(name).ok_or(SEMANTICS)?;
        let query = vector(query).ok_or(SEMANTICS)?;
        match attribute.kind {
            Kind::Vector(dims, _) if dims == query.len() => Ok(query),
            _ => Err(SEMANTICS),
        }
    }

    fn computed(&self, sent: Option<&Value>) -> Result<Vec<(String, Compute)>, Refused> {
        let nothing = Map::new();
        let sent = match sent {
            Some(sent) => sent.as_object().ok_or(SHAPE)?,
            None => &nothing,
        };
        let read = |(name, one): (&String, &Value)| {
            if self.attributes.contains_key(name) || name == "id" || name.starts_with('$') {
                return Err(SEMANTICS);
            }
            let compute = match one.as_array().map(Vec::as_slice) {
                Some([Value::String(of), Value::String(how), query]) if how == "VectorDist" => {
                    Compute::Distance(of.clone(), self.query_vector(of, query)?)
                }
                _ => Compute::Score(Score::read(self, one)?),
            };
            Ok((name.clone(), compute))
        };
        sent.iter().map(read).collect()
    }

    fn compute(&self, compute: &Compute, id: &Id, doc: &Doc) -> Dist {
        match compute {
            Compute::Score(score) => {
                let score = score.of(self, id, doc).0.unwrap_or(0.0);
                Some((score, 1e-9 * score))
            }
            Compute::Distance(name, query) => match doc.get(name) {
                Some(Datum::Vector(row)) => Some(distance(self.metric(), query, row)),
                _ => None,
            },
        }
    }

    fn metric(&self) -> &str {
        self.metric.as_deref().expect("vectors have a metric")
    }

    /// Leaves out rows of which there are enough alike before them.
    fn limit_alike(
        &self,
        per: &Value,
        rank: &Rank,
        columns: &[String],
        found: &mut Vec<(&Id, &Doc, Dist)>,
    ) -> Result<(), Refused> {
        let names = per["attributes"].as_array().ok_or(SHAPE)?.iter();
        let names: Vec<&str> = names.filter_map(Value::as_str).collect();
        let limit = total(&per["limit"])?;
        let single = |name: &&str| {
            let attribute = self.attributes.get(*name);
            let single = attribute.is_some_and(|one| matches!(one.kind, Kind::One(_)));
            single && columns.iter().any(|column| column == name)
        };
        if names.is_empty() || !names.iter().all(single) || matches!(rank, Rank::Vector(..)) {
            return Err(SEMANTICS);
        }
        let mut seen: Vec<(Vec<Option<&Datum>>, usize)> = Vec::new();
        found.retain(|(_, doc, _)| {
            let key: Vec<Option<&Datum>> = names.iter().map(|name| doc.get(*name)).collect();
            match seen.iter_mut().find(|(known, _)| *known == key) {
                Some((_, count)) => {
                    *count += 1;
                    *count <= limit
                }
                None => {
                    seen.push((key, 1));
                    true
                }
            }
        });
        Ok(())
    }

    fn orderable(&self, name: &str) -> Result<(), Refused> {
        if name == "id" {
            return Ok(());
        }
        let attribute = self.attributes.get(name).ok_or(SEMANTICS)?;
        let one = matches!(attribute.kind, Kind::One(_));
        if one && attribute.filterable {
            Ok(())
        } else {
            Err(SEMANTICS)
        }
    }

    fn columns(
        &self,
        include: Option<&Value>,
        exclude: Option<&Value>,
    ) -> Result<Vec<String>, Refused> {
        let names = |value: &Value| -> Result<Vec<String>, Refused> {
            let names = value.as_array().ok_or(SHAPE)?.iter();
            names
                .map(|name| name.as_str().map(str::to_owned).ok_or(SHAPE))
                .collect()
        };
        let all = || self.attributes.keys().cloned();
        match (include, exclude) {
            (Some(_), Some(_)) => Err(SEMANTICS),
            (None, None) | (Some(Value::Bool(false)), None) => Ok(Vec::new()),
            (Some(Value::Bool(true)), None) => Ok(all().collect()),
            (Some(include), None) => {
                let mut wanted = names(include)?;
                wanted.retain(|name| name != "id");
                let known = wanted.iter().all(|name| self.attributes.contains_key(name));
                known.then_some(wanted).ok_or(SEMANTICS)
            }
            (None, Some(exclude)) => {
                let unwanted = names(exclude)?;
                if unwanted.iter().any(|name| name == "id") {
                    return Err(SEMANTICS);
                }
                Ok(all().filter(|name| !unwanted.contains(name)).collect())
            }
        }
    }

    fn ranked<'a>(
        &self,
        rank: &Rank,
        matching: impl Iterator<Item = (&'a Id, &'a Doc)>,
    ) -> Vec<(&'a Id, &'a Doc, Dist)> {
        match rank {
            Rank::Order(keys) => {
                let mut found: Vec<_> = matching.map(|(id, doc)| (id, doc, None)).collect();
                found.sort_by(|one, other| {
                    let keys = keys.iter();
                    let by_key = keys.map(|key| by_key(key, (one.0, one.1), (other.0, other.1)));
                    let by_keys = by_key.fold(Ordering::Equal, Ordering::then);
                    by_keys.then_with(|| one.0.cmp(other.0))
                });
                found
            }
            Rank::Score(score) => {
                let mut found: Vec<_> = matching
                    .filter_map(|(id, doc)| {
                        let (score, found) = score.of(self, id, doc);
                        let score = score.unwrap_or(0.0);
                        found.then_some((id, doc, Some((score, 1e-9 * score))))
                    })
                    .collect();
                // Stable, and they come in the order of ids.
                let score = |found: Dist| found.expect("a score").0;
                found.sort_by(|one, other| score(other.2).total_cmp(&score(one.2)));
                found
            }
            Rank::Vector(name, query) => {
                let mut found: Vec<_> = matching
                    .filter_map(|(id, doc)| match doc.get(name) {
                        Some(Datum::Vector(row)) => {
                            Some((id, doc, Some(distance(self.metric(), query, row))))
                        }
                        _ => None,
                    })
                    .collect();
                found.sort_by(|one, other| {
                    let dist = |found: Dist| found.expect("a distance").0;
                    dist(one.2)
                        .total_cmp(&dist(other.2))
                        .then_with(|| one.0.cmp(other.0))
                });
                found
            }
        }
    }
}

fn key(key: &Value) -> Result<(String, bool), Refused> {
    match key.as_array().map(Vec::as_slice) {
        Some([Value::String(name), Value::String(how)]) if how == "asc" || how == "desc" => {
            Ok((name.clone(), how == "desc"))
        }
        _ => Err(SHAPE),
    }
}

/// Missing values come first, or last where the order descends.
fn by_key((name, descending): &(String, bool), one: (&Id, &Doc), other: (&Id, &Doc)) -> Ordering {
    let value = |(id, doc): (&Id, &Doc)| match name.as_str() {
        "id" => Some(id.datum()),
        name => doc.get(name).cloned(),
    };
    let ascending = match (value(one), value(other)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(one), Some(other)) => order(&one, &other),
    };
    if *descending {
        ascending.reverse()
    } else {
        ascending
    }
}

/// The distance, and how much of it is lost in 32 bits.
fn distance(metric: &str, query: &[f32], row: &[f32]) -> (f64, f64) {
    let pairs = || {
        let row = row.iter().copied().map(f64::from);
        query.iter().copied().map(f64::from).zip(row)
    };
    let dot: f64 = pairs().map(|(one, other)| one * other).sum();
    let norm = |one: &[f32]| {
        let squares = one.iter().map(|one| f64::from(*one) * f64::from(*one));
        squares.sum::<f64>().sqrt()
    };
    let product = norm(query) * norm(row);
    let (dist, scale) = match metric {
        "cosine_distance" if product == 0.0 => (1.0, 0.0),
        "cosine_distance" => (1.0 - dot / product, 1.0),
        "euclidean_squared" => {
            let squares = pairs().map(|(one, other)| (one - other) * (one - other));
            (squares.sum(), 0.0)
        }
        _ => (-dot, product),
    };
    // Adding nothing makes -0.0, which sorts by itself, 0.0.
    (dist + 0.0, 1e-4 * f64::abs(dist) + 1e-6 * scale)
}

/// `limit`, or `top_k`; none where neither is there.
fn limit_of(sent: &Map<String, Value>) -> Result<Option<usize>, Refused> {
    match (sent.get("limit"), sent.get("top_k")) {
        (Some(_), Some(_)) => Err(SEMANTICS),
        (None, None) => Ok(None),
        (Some(limit), None) | (None, Some(limit)) => total(limit).map(Some),
    }
}

/// A number of rows.
pub(super) fn total(limit: &Value) -> Result<usize, Refused> {
    let limit = match limit {
        Value::Object(parts) => parts.get("total").ok_or(SHAPE)?,
        limit => limit,
    };
    if limit.is_null() {
        return Err(SEMANTICS);
    }
    let fits = usize::try_from(limit.as_u64().ok_or(SHAPE)?).ok();
    let fits = fits.filter(|limit| (1..=10_000).contains(limit));
    fits.ok_or(SEMANTICS)
}

pub(super) fn encoding(asked: Option<&Value>) -> Result<bool, Refused> {
    match asked {
        None => Ok(false),
        Some(Value::String(name)) if name == "float" => Ok(false),
        Some(Value::String(name)) if name == "base64" => Ok(true),
        Some(_) => Err(SHAPE),
    }
}

fn window(sent: &Map<String, Value>) -> Result<(usize, usize), Refused> {
    let limit = limit_of(sent)?.ok_or(SEMANTICS)?;
    let offset = match sent.get("offset") {
        None | Some(Value::Null) => 0,
        Some(offset) => offset.as_u64().ok_or(SHAPE)?,
    };
    let offset = usize::try_from(offset).map_err(|_| SEMANTICS)?;
    if limit.saturating_add(offset) > 10_000 {
        return Err(SEMANTICS);
    }
    Ok((limit, offset))
}

pub(super) fn consistency(asked: Option<&Value>) -> Result<(), Refused> {
    let Some(asked) = asked else {
        return Ok(());
    };
    let asked = asked.as_object().ok_or(SHAPE)?;
    match asked.get("level") {
        None => Ok(()),
        Some(level) => match level.as_str() {
            Some("strong" | "eventual" | "session") => Ok(()),
            _ => Err(SHAPE),
        },
    }
}
