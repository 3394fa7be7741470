use super::parse::check;
use super::{meter, parse_query};
use crate::error::ErrorKind;
use crate::http::dto::query::{self, VectorEncoding};
use crate::query::plan::Plan;
use crate::query::request::{Consistency, Include, RankBy};
use crate::types::document::RawValue;

#[test]
fn query_malformed_is_refused_with_status_and_place() {
    check(
        &[
            ("x", 400, "not JSON"),
            ("[]", 422, "expected a map"),
            ("{}", 400, "asks nothing"),
            (r#"{"rank_by":["id","asc"]}"#, 400, "missing `limit`"),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"top_k":1}"#,
                400,
                "found both",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":0}"#,
                400,
                "expected 1 to 10000, found 0",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":null}"#,
                400,
                "found null",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":10001}"#,
                400,
                "found 10001",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":9999,"offset":2}"#,
                400,
                "reach too far",
            ),
            (
                r#"{"rank_by":["id","asc"],"top_k":-1}"#,
                422,
                "`top_k`: invalid type: integer `-1`",
            ),
            (
                r#"{"rank_by":["id","asc"],"top_k":1.5}"#,
                422,
                "floating point `1.5`",
            ),
            (
                r#"{"rank_by":["id","asc"],"top_k":"1"}"#,
                422,
                "string \"1\"",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":{}}"#,
                422,
                "missing field `total`",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":{"total":1,"per":{}}}"#,
                422,
                "`limit.per`: missing field `attributes`",
            ),
            (r#"{"rank_by":"id","limit":1}"#, 422, "`rank_by`"),
            (r#"{"rank_by":[],"limit":1}"#, 400, "empty list"),
            (r#"{"rank_by":["id"],"limit":1}"#, 422, "unknown form"),
            (
                r#"{"rank_by":["id","up"],"limit":1}"#,
                422,
                "unknown ranking `up`",
            ),
            (
                r#"{"rank_by":["v","ANN"],"limit":1}"#,
                422,
                "invalid length 2",
            ),
            (r#"{"rank_by":["v","ANN",[]],"limit":1}"#, 400, "empty"),
            (
                r#"{"rank_by":["v","ANN",[1,"x"]],"limit":1}"#,
                422,
                "expected a number",
            ),
            (
                r#"{"rank_by":["v","ANN",[[1]]],"limit":1}"#,
                400,
                "list of vectors",
            ),
            (
                r#"{"rank_by":["v","kNN",[1]],"limit":1}"#,
                400,
                "needs `filters`",
            ),
            (
                r#"{"rank_by":["t","BM25","x"],"limit":1}"#,
                400,
                "`BM25` is not supported",
            ),
            (
                r#"{"rank_by":["Sum",[["t","BM25","x"]]],"limit":1}"#,
                400,
                "`BM25` is not supported",
            ),
            (
                r#"{"rank_by":[["a","asc"],["b"]],"limit":1}"#,
                422,
                "invalid key",
            ),
            (
                r#"{"filters":"a b","limit":1}"#,
                422,
                "`filters`: at byte 2: expected an operator",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"include_attributes":"a"}"#,
                422,
                "include_attributes",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"include_attributes":true,"exclude_attributes":[]}"#,
                400,
                "found both",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"exclude_attributes":["id"]}"#,
                400,
                "cannot be excluded",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"distance_metric":"cosine_distance"}"#,
                400,
                "distance_metric",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"vector_encoding":"hex"}"#,
                422,
                "unknown variant `hex`",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"consistency":"eventual"}"#,
                422,
                "invalid type: string \"eventual\", expected struct Consistency",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"consistency":{"level":"x"}}"#,
                422,
                "unknown variant `x`, expected `strong` or `eventual`",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"consistency":{"max_staleness_seconds":1}}"#,
                400,
                "unknown field `max_staleness_seconds` of level `strong`",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"consistency":{"level":"session"}}"#,
                422,
                "`min_seq`",
            ),
            (
                r#"{"rank_by":["id","asc"],"limit":1,"filter":[]}"#,
                400,
                "did you mean `filters`?",
            ),
            (r#"{"limit":1,"limit":2}"#, 400, "duplicate field `limit`"),
        ],
        |body| parse_query(body).map(drop),
    );
}

#[test]
fn query_forms_become_typed() {
    let body = r#"{"rank_by":["v","ANN",[1,2.5]],"limit":{"total":3},"offset":1,"include_attributes":["id","a","a"],
        "vector_encoding":"base64","consistency":{"level":"eventual"},"distance_metric":"dot_product"}"#;
    let (query, encoding) = parse_query(body.as_bytes()).expect("valid");
    let vector = RawValue::Numbers {
        values: vec![1.0, 2.5],
        integers: false,
    };
    let expected = RankBy::Vector {
        attribute: "v".to_owned(),
        vector,
        exact: false,
    };
    assert_eq!(query.rank_by, expected);
    assert_eq!((query.limit, query.offset), (3, 1));
    assert_eq!(query.include, Include::Only(vec!["a".to_owned()]));
    assert_eq!(encoding, VectorEncoding::Base64);
    assert_eq!(
        query.consistency,
        Consistency::Eventual {
            max_staleness_seconds: 60
        }
    );
    let body = r#"{"rank_by":[["Sum","desc"],["id","asc"]],"top_k":10000,"consistency":{}}"#;
    let (query, _) = parse_query(body.as_bytes()).expect("valid");
    assert_eq!(
        query.consistency,
        Consistency::Strong,
        "the level may be left open"
    );
    let RankBy::Order(keys) = query.rank_by else {
        panic!("expected an order")
    };
    assert_eq!(keys.len(), 2);
    assert!(keys[0].descending && keys[0].attribute == "Sum");
}

#[test]
fn query_plan_is_one_of_the_plans_there_are() {
    let plan = |value: &str| {
        let body = format!(r#"{{"rank_by":["id","asc"],"limit":1,"plan":{value}}}"#);
        query::parse_query(body.as_bytes(), &meter()).map(|query| query.asked.plan)
    };
    assert_eq!(plan("null").ok(), Some(None));
    for known in Plan::ALL {
        assert_eq!(plan(&format!("{:?}", known.name())).ok(), Some(Some(known)));
    }
    for wrong in ["\"guess\"", "1", "[]"] {
        let error = plan(wrong).expect_err(wrong);
        assert!(error.message().contains("plan"), "{error}");
    }
}

#[test]
fn query_allow_degraded_is_a_boolean_and_off_unless_asked_for() {
    let flag = |field: &str| {
        let body = format!(r#"{{"filters":["a","Eq",1],"limit":1{field}}}"#);
        parse_query(body.as_bytes()).map(|(query, _)| query.allow_degraded)
    };
    for (field, expected) in [
        ("", false),
        (r#","allow_degraded":null"#, false),
        (r#","allow_degraded":false"#, false),
        (r#","allow_degraded":true"#, true),
    ] {
        assert_eq!(flag(field).ok(), Some(expected), "{field}");
    }
    for wrong in ["1", r#""true""#, "[]", "{}"] {
        let error = flag(&format!(r#","allow_degraded":{wrong}"#)).expect_err(wrong);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{wrong}");
        assert!(error.message().contains("allow_degraded"), "{error}");
    }
}
