//! Recall as a fact: searches as they are by default beside exact ones, over the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fetch::from_segments;
use super::scan::{self, Answered, Looked};
use super::source::Source;
use crate::error::{Error, Result};
use crate::filter::{self, BoundFilter};
use crate::query::bind::{BoundQuery, BoundRank, bind_vector};
use crate::query::reply::{Found, RecallReport, Row, Truth};
use crate::query::request::Recall;
use crate::rows;
use crate::runtime::SeededEntropy;
use crate::types::{AttrId, DistanceMetric, DocId, Entropy, NamespaceSchema, Value, limits};

/// A measurement bound to a schema.
#[derive(Debug, Clone)]
pub(super) struct BoundRecall {
    attribute: (Arc<str>, AttrId),
    metric: DistanceMetric,
    /// The one vector searched for; `None` where they are picked.
    vector: Option<Vec<f32>>,
    searches: usize,
    top_k: usize,
    filter: Option<BoundFilter>,
    with_truth: bool,
    seed: u64,
}

impl BoundRecall {
    /// Which rows are searched.
    pub(super) fn filter(&self) -> Option<&BoundFilter> {
        self.filter.as_ref()
    }

    /// Binds a measurement. Errors: `InvalidRequest` for a namespace without vectors, for numbers out of range, and
    /// for what a vector or a filter is refused for.
    pub(super) fn bind(asked: &Recall, schema: &NamespaceSchema) -> Result<Self> {
        let within = |what: &str, most: usize, found: usize| match (1..=most).contains(&found) {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "`{what}`: expected 1 to {most}, found {found}"
            ))),
        };
        within("num", limits::RECALL_SEARCHES_MAX, asked.searches)?;
        within("top_k", limits::QUERY_LIMIT_MAX, asked.top_k)?;
        let vectors = schema.vectors();
        let (Some((first, _)), Some(metric)) = (vectors.first(), schema.metric) else {
            return Err(Error::invalid("the namespace has no vectors to search"));
        };
        let name = asked.rank_by.as_ref().map_or(*first, |(name, _)| name);
        let vector = match &asked.rank_by {
            Some((name, vector)) => Some(bind_vector(schema, name, vector)?.1),
            None => None,
        };
        let id = schema.get(name).map(|attribute| attribute.id);
        let id = id.ok_or_else(|| Error::internal(format!("attribute `{name}` is gone")))?;
        let filter = asked.filter.as_ref();
        Ok(Self {
            attribute: (name.into(), id),
            metric,
            vector,
            searches: asked.searches,
            top_k: asked.top_k,
            filter: filter
                .map(|filter| filter::bind(filter, schema))
                .transpose()?,
            with_truth: asked.with_truth,
            seed: asked.seed,
        })
    }

    fn search(&self, vector: &[f32], exact: bool) -> Arc<BoundQuery> {
        let with_vector = exact && self.with_truth;
        Arc::new(BoundQuery {
            rank: BoundRank::Vector {
                attribute: self.attribute.1,
                metric: self.metric,
                vector: vector.to_vec(),
                exact,
            },
            limit: self.top_k,
            offset: 0,
            paged: false,
            continues: false,
            filter: self.filter.clone(),
            include: with_vector
                .then(|| self.attribute.clone())
                .into_iter()
                .collect(),
            compute: Vec::new(),
        })
    }
}

/// Runs the searches, one after the other. Errors: as of a query. Cancel safe.
pub(super) async fn run(source: &Source, asked: &BoundRecall) -> Result<Answered<Found>> {
    let vectors = match &asked.vector {
        Some(vector) => vec![vector.clone()],
        None => picked(source, asked).await?,
    };
    let mut looked = Looked::default();
    let mut report = RecallReport {
        recall: 0.0,
        truth: asked.with_truth.then(Vec::new),
        ..RecallReport::default()
    };
    for vector in &vectors {
        let search = scan::run(source, &asked.search(vector, false)).await?;
        let truth = scan::run(source, &asked.search(vector, true)).await?;
        looked.add(search.looked);
        looked.add(truth.looked);
        let (found, nearest) = (search.found, truth.found);
        report.recall += recall_of(&found, &nearest);
        report.ann_count += found.len() as f64;
        report.exhaustive_count += nearest.len() as f64;
        if let Some(truth) = &mut report.truth {
            truth.push(Truth {
                vector: vector.clone(),
                nearest,
            });
        }
    }
    // Sums are divided at the end, once: shares of a third would not add up to one.
    let searches = vectors.len().max(1) as f64;
    report.recall = match vectors.len() {
        0 => 1.0,
        _ => report.recall / searches,
    };
    report.ann_count /= searches;
    report.exhaustive_count /= searches;
    Ok(Answered {
        found: Found::Recall(report),
        next: None,
        looked,
    })
}

/// The share of the true rows that was found.
fn recall_of(found: &[Row], nearest: &[Row]) -> f64 {
    let ids: BTreeSet<&DocId> = found.iter().map(|row| &row.id).collect();
    let hits = nearest.iter().filter(|row| ids.contains(&row.id)).count();
    match nearest.len() {
        0 => 1.0,
        all => hits as f64 / all as f64,
    }
}

/// Vectors of documents picked by the seed: as many as are asked for, fewer where some have none.
async fn picked(source: &Source, asked: &BoundRecall) -> Result<Vec<Vec<f32>>> {
    let attr = asked.attribute.1;
    let mut wanted = pick(source.live_rows(), asked.searches, asked.seed)
        .into_iter()
        .peekable();
    let mut vectors = Vec::new();
    let mut before = 0;
    let mut add = |value: Value| {
        if let Value::Vector(vector) = value {
            vectors.push(vector.to_vec());
        }
    };
    for chunk in source.tail.chunks.iter() {
        for row in (0..chunk.len()).filter(|row| chunk.is_visible(*row, source.tail.seq)) {
            if wanted.next_if_eq(&before).is_some() {
                add(rows::value_at(chunk.rows(), attr, row));
            }
            before += 1;
        }
    }
    let mut in_segments: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (number, live) in source.live.iter().enumerate() {
        let end = before + live.count() as u64;
        if wanted.peek().is_some_and(|next| *next < end) {
            for (row, at) in live.iter().zip(before..) {
                if wanted.next_if_eq(&at).is_some() {
                    // A segment has fewer rows than a u32 counts.
                    in_segments.entry(number).or_default().push(row as u32);
                }
            }
        }
        before = end;
    }
    let fetched = from_segments(source, in_segments.clone(), &[attr], false).await?;
    for (number, rows) in in_segments {
        for row in rows {
            add(fetched.value(number, row, attr)?);
        }
    }
    Ok(vectors)
}

/// Distinct numbers below `end`, ascending: `n` of them, or all (Floyd's sampling).
fn pick(end: u64, n: usize, seed: u64) -> BTreeSet<u64> {
    let entropy = SeededEntropy::new(seed);
    let mut chosen = BTreeSet::new();
    for last in end.saturating_sub(n as u64)..end {
        let number = entropy.next_u128() as u64 % (last + 1);
        if !chosen.insert(number) {
            chosen.insert(last);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::{Row, pick, recall_of};
    use crate::types::DocId;

    #[test]
    fn recall_is_the_share_of_the_nearest_rows_that_was_found() {
        let rows = |ids: &[u64]| -> Vec<Row> {
            let row = |id: &u64| Row {
                id: DocId::Uint(*id),
                dist: None,
                attributes: Vec::new(),
                computed: Vec::new(),
            };
            ids.iter().map(row).collect()
        };
        for (found, nearest, expected) in [
            (&[1, 2, 3, 4][..], &[4, 3, 2, 1][..], 1.0),
            (&[1, 2, 8, 9], &[1, 2, 3, 4], 0.5),
            (&[1], &[1, 2, 3, 4], 0.25),
            (&[8, 9], &[1, 2], 0.0),
            (&[], &[], 1.0),
        ] {
            assert_eq!(recall_of(&rows(found), &rows(nearest)), expected);
        }
    }

    #[test]
    fn picked_numbers_are_distinct_in_range_and_those_of_the_seed() {
        for (end, n, expected) in [
            (0, 5, 0),
            (3, 5, 3),
            (5, 5, 5),
            (1_000_000, 25, 25),
            (7, 0, 0),
        ] {
            let picked = pick(end, n, 1);
            assert_eq!(picked.len(), expected, "{end} {n}");
            assert!(picked.iter().all(|number| *number < end));
        }
        assert_eq!(pick(1_000, 10, 4), pick(1_000, 10, 4));
        assert_ne!(pick(1_000, 10, 4), pick(1_000, 10, 5));
    }
}
