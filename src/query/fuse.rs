//! Several lists of rows become one: reciprocal rank fusion.

use std::collections::HashMap;

use super::reply::{Dist, Row};
use super::request::Fuse;
use crate::error::{Error, Result};
use crate::types::{DocId, limits};

/// Checks how rows are fused. Errors: `InvalidRequest` for numbers out of range and for fewer than two lists.
pub fn check(fuse: &Fuse, n_lists: usize) -> Result<()> {
    let most = limits::QUERY_LIMIT_MAX;
    let reach = fuse.offset.saturating_add(fuse.limit);
    if n_lists < 2 {
        return Err(Error::invalid(format!(
            "`rerank_by`: expected at least 2 queries, found {n_lists}"
        )));
    }
    if fuse.weights.len() != n_lists {
        return Err(Error::invalid(format!(
            "`rerank_by`: expected a weight for each of {n_lists} queries, found {}",
            fuse.weights.len()
        )));
    }
    let numbers = fuse.weights.iter().chain([&fuse.rank_constant]);
    if let Some(bad) = numbers
        .into_iter()
        .find(|number| !(number.is_finite() && **number > 0.0))
    {
        return Err(Error::invalid(format!(
            "`rerank_by`: expected numbers above 0, found {bad}"
        )));
    }
    if fuse.limit == 0 || reach > most {
        return Err(Error::invalid(format!(
            "`offset` + `limit`: expected 1 to {most}, found {} + {}",
            fuse.offset, fuse.limit
        )));
    }
    Ok(())
}

/// Fuses lists, best row first each: by the sum of `weight / (rank_constant + rank)`, then by id.
///
/// A row's attributes are those of all lists that have it; what two of them have is the first one's.
pub fn fuse(lists: Vec<Vec<Row>>, by: &Fuse) -> Vec<Row> {
    let mut places: HashMap<DocId, usize> = HashMap::new();
    let mut fused: Vec<(f64, Row)> = Vec::new();
    for (list, weight) in lists.into_iter().zip(&by.weights) {
        for (row, rank) in list.into_iter().zip(1_u32..) {
            let score = weight / (by.rank_constant + f64::from(rank));
            match places.get(&row.id) {
                Some(place) => {
                    let (sum, known) = &mut fused[*place];
                    *sum += score;
                    join(known, row);
                }
                None => {
                    places.insert(row.id.clone(), fused.len());
                    fused.push((score, row));
                }
            }
        }
    }
    fused.sort_unstable_by(|(a, row), (b, other)| {
        b.total_cmp(a).then_with(|| row.id.cmp(&other.id))
    });
    let page = fused.into_iter().skip(by.offset).take(by.limit);
    page.map(|(score, row)| Row {
        dist: Some(Dist::Score(score)),
        ..row
    })
    .collect()
}

/// Adds what another list has of the same row.
fn join(known: &mut Row, other: Row) {
    for (name, value) in other.attributes {
        if let Err(at) = known.attributes.binary_search_by(|(one, _)| one.cmp(&name)) {
            known.attributes.insert(at, (name, value));
        }
    }
    for (name, value) in other.computed {
        if known.computed.iter().all(|(one, _)| *one != name) {
            known.computed.push((name, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{check, fuse};
    use crate::query::reply::{Dist, Row};
    use crate::query::request::Fuse;
    use crate::types::{DocId, Value};

    fn row(id: u64, attributes: &[(&str, i64)]) -> Row {
        Row {
            id: DocId::Uint(id),
            dist: None,
            attributes: attributes
                .iter()
                .map(|(name, value)| (Arc::from(*name), Value::Int(*value)))
                .collect(),
            computed: Vec::new(),
        }
    }

    fn by(weights: &[f64]) -> Fuse {
        Fuse {
            rank_constant: 60.0,
            weights: weights.to_vec(),
            limit: 10,
            offset: 0,
        }
    }

    #[test]
    fn rows_of_two_lists_score_the_sum_of_their_ranks() {
        let lists = || {
            vec![
                vec![row(1, &[("b", 1)]), row(2, &[])],
                vec![row(3, &[]), row(1, &[("a", 2), ("b", 3), ("c", 4)])],
            ]
        };
        let rows = fuse(lists(), &by(&[1.0, 2.0]));
        let scores: Vec<_> = rows.iter().map(|row| (row.id.clone(), row.dist)).collect();
        let expected = [
            (DocId::Uint(1), 1.0 / 61.0 + 2.0 / 62.0),
            (DocId::Uint(3), 2.0 / 61.0),
            (DocId::Uint(2), 1.0 / 62.0),
        ];
        let expected = expected.map(|(id, score)| (id, Some(Dist::Score(score))));
        assert_eq!(scores, expected);
        // What both lists have is the first one's.
        assert_eq!(
            rows[0].attributes,
            row(1, &[("a", 2), ("b", 1), ("c", 4)]).attributes
        );
        let page = Fuse {
            limit: 1,
            offset: 1,
            ..by(&[1.0, 2.0])
        };
        assert_eq!(fuse(lists(), &page), rows[1..2]);
    }

    #[test]
    fn rows_of_one_score_are_in_the_order_of_ids() {
        let lists = vec![
            vec![row(11, &[]), row(2, &[])],
            vec![row(2, &[]), row(11, &[])],
        ];
        let ids: Vec<DocId> = fuse(lists, &by(&[1.0, 1.0]))
            .into_iter()
            .map(|row| row.id)
            .collect();
        assert_eq!(ids, [DocId::Uint(2), DocId::Uint(11)]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (fuse, n_lists, expected) in [
            (by(&[1.0]), 1, "at least 2 queries"),
            (by(&[1.0]), 2, "a weight for each of 2"),
            (by(&[1.0, 0.0]), 2, "above 0, found 0"),
            (by(&[1.0, f64::NAN]), 2, "above 0, found NaN"),
            (
                Fuse {
                    rank_constant: -1.0,
                    ..by(&[1.0, 1.0])
                },
                2,
                "above 0, found -1",
            ),
            (
                Fuse {
                    limit: 0,
                    ..by(&[1.0, 1.0])
                },
                2,
                "1 to 10000",
            ),
            (
                Fuse {
                    offset: 9_991,
                    ..by(&[1.0, 1.0])
                },
                2,
                "9991 + 10",
            ),
        ] {
            let error = check(&fuse, n_lists).expect_err("refused");
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
