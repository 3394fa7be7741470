use super::{BoundQuery, BoundRank, bind};
use crate::error::{ErrorKind, Result};
use crate::query::request::{Consistency, Include, Paging, Query, RankBy};
use crate::types::document::RawValue;
use crate::types::filter::Filter;
use crate::types::{AttributeType, DistanceMetric, NamespaceSchema, ScalarType, VectorElement};

fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        metric: Some(DistanceMetric::Cosine),
        ..NamespaceSchema::default()
    };
    for (name, kind) in [
        (
            "v",
            AttributeType::Vector {
                dims: 2,
                element: VectorElement::F32,
            },
        ),
        ("b", AttributeType::Scalar(ScalarType::Int)),
        ("a", AttributeType::Scalar(ScalarType::Int)),
    ] {
        schema.add(name, kind, true).expect("a legal attribute");
    }
    schema
}

fn near(attribute: &str, values: &[f64], exact: bool) -> RankBy {
    RankBy::Vector {
        attribute: attribute.to_owned(),
        vector: RawValue::Numbers {
            values: values.to_vec(),
            integers: false,
        },
        exact,
    }
}

fn ask(change: impl FnOnce(&mut Query)) -> Result<BoundQuery> {
    let mut query = Query {
        rank_by: near("v", &[1.0, 0.5], false),
        limit: 10,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Nothing,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded: false,
    };
    change(&mut query);
    bind(&query, &schema())
}

#[test]
fn query_within_rules_is_bound() {
    let bound = ask(|query| {
        query.limit = 1;
        query.offset = 9_999;
        query.distance_metric = Some(DistanceMetric::Cosine);
    });
    let bound = bound.expect("binds");
    assert_eq!(bound.wanted(), 10_000);
    let BoundRank::Vector { metric, vector, .. } = bound.rank else {
        panic!("a vector rank, not {:?}", bound.rank);
    };
    assert_eq!((metric, vector), (DistanceMetric::Cosine, vec![1.0, 0.5]));
    assert!(
        ask(|query| {
            query.rank_by = near("v", &[1.0, 2.0], true);
            query.filter = Some(Filter::And(Vec::new()));
        })
        .is_ok()
    );
}

#[test]
fn query_against_rules_is_refused() {
    type Change = fn(&mut Query);
    let cases: [(Change, &str); 10] = [
        (
            |query| query.limit = 0,
            "`limit`: expected 1 to 10000, found 0",
        ),
        (|query| query.limit = 10_001, "found 10001"),
        (|query| query.offset = 9_991, "found 9991 + 10"),
        (|query| query.offset = usize::MAX, "at most 10000"),
        (
            |query| query.rank_by = near("v", &[1.0, 2.0], true),
            "`kNN` needs `filters`",
        ),
        (
            |query| query.rank_by = near("v", &[1.0], false),
            "expected 2 dimensions, found 1",
        ),
        (
            |query| query.rank_by = near("v", &[1.0, 1e39], false),
            "expected finite",
        ),
        (
            |query| query.rank_by = near("a", &[1.0, 2.0], false),
            "expected a vector, found int",
        ),
        (
            |query| query.rank_by = near("nope", &[1.0], false),
            "attribute `nope` not found",
        ),
        (
            |query| query.distance_metric = Some(DistanceMetric::DotProduct),
            "expected cosine_distance, found dot_product",
        ),
    ];
    for (change, expected) in cases {
        let error = ask(change).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(expected), "{error}");
    }
    let error = ask(|query| {
        query.rank_by = RankBy::Id;
        query.distance_metric = Some(DistanceMetric::Cosine);
    });
    assert!(error.is_err());
}

#[test]
fn include_of_names_is_sorted_and_checked() {
    let names = |include: Include| -> Vec<String> {
        let bound = ask(|query| query.include = include).expect("binds");
        bound
            .include
            .iter()
            .map(|(name, _)| name.to_string())
            .collect()
    };
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(names(Include::Nothing).is_empty());
    assert_eq!(names(Include::Everything), ["a", "b", "v"]);
    assert_eq!(
        names(Include::Only(list(&["v", "id", "a", "v"]))),
        ["a", "v"]
    );
    assert_eq!(names(Include::Except(list(&["a", "nope"]))), ["b", "v"]);
    assert!(ask(|query| query.include = Include::Only(list(&["nope"]))).is_err());
    assert!(ask(|query| query.include = Include::Except(list(&["id"]))).is_err());
}
