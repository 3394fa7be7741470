use super::parse::check;
use super::{meter, parse_query};
use crate::http::dto::query;
use crate::query::request::{Compute, Curve, Fuse, LimitPer, RankBy, ScoreExpr};
use crate::types::document::RawValue;

fn rank_of(rank: &str) -> RankBy {
    let body = format!(r#"{{"rank_by":{rank},"limit":1}}"#);
    let (query, _) = parse_query(body.as_bytes()).expect(rank);
    query.rank_by
}

#[test]
fn rank_expressions_become_typed() {
    let attribute = |name: &str| ScoreExpr::Attribute(name.to_owned());
    let curve = |midpoint, is_duration, exponent| Curve {
        midpoint,
        is_duration,
        exponent,
    };
    let dist = ScoreExpr::Dist {
        attribute: "at".to_owned(),
        origin: RawValue::String("2026-01-01".into()),
    };
    for (text, expected) in [
        (r#"["Attribute","a"]"#, attribute("a")),
        (
            r#"["Sum","SparseKNN",{"x":1,"":-0.5}]"#,
            ScoreExpr::Sparse {
                attribute: "Sum".to_owned(),
                vector: RawValue::Object(vec![
                    ("".into(), RawValue::Float(-0.5)),
                    ("x".into(), RawValue::Int(1)),
                ]),
            },
        ),
        (
            r#"["Sum",[["Attribute","a"],["Product",2,["Attribute","b"]],["Product",["Attribute","c"],0.5]]]"#,
            ScoreExpr::Sum(vec![
                attribute("a"),
                ScoreExpr::Product {
                    weight: 2.0,
                    clause: Box::new(attribute("b")),
                },
                ScoreExpr::Product {
                    weight: 0.5,
                    clause: Box::new(attribute("c")),
                },
            ]),
        ),
        (
            r#"["Max",[0,["Attribute","a"],1.5]]"#,
            ScoreExpr::Max {
                clauses: vec![attribute("a")],
                floor: Some(1.5),
            },
        ),
        (
            r#"["Saturate",["Attribute","a"],{"midpoint":100,"exponent":2}]"#,
            ScoreExpr::Saturate {
                clause: Box::new(attribute("a")),
                curve: curve(100.0, false, 2.0),
            },
        ),
        (
            r#"["Decay",["Dist",["Attribute","at"],"2026-01-01"],{"midpoint":"1.5h"}]"#,
            ScoreExpr::Decay {
                clause: Box::new(dist),
                curve: curve(5_400_000.0, true, 1.0),
            },
        ),
    ] {
        assert_eq!(rank_of(text), RankBy::Score(expected), "{text}");
    }
    for text in [
        r#"["a","Eq",1]"#,
        r#"["Sum","Eq",1]"#,
        r#"["And",[["a","Eq",1]]]"#,
        r#"["Not",["a","Eq",null]]"#,
    ] {
        let rank = rank_of(text);
        assert!(
            matches!(rank, RankBy::Score(ScoreExpr::Filter(_))),
            "{text}: {rank:?}"
        );
    }
    // An attribute may have the name of a function.
    assert!(matches!(
        rank_of(r#"["Attribute","asc"]"#),
        RankBy::Order(_)
    ));
    assert!(matches!(
        rank_of(r#"["Max","ANN",[1]]"#),
        RankBy::Vector { .. }
    ));
}

#[test]
fn durations_of_every_unit_are_milliseconds() {
    for (text, expected) in [
        ("500ms", Some(500.0)),
        ("2s", Some(2_000.0)),
        ("3m", Some(180_000.0)),
        ("6h", Some(21_600_000.0)),
        ("1d", Some(86_400_000.0)),
        ("0.5w", Some(302_400_000.0)),
        ("0s", None),
        ("-1s", None),
        ("1e3s", None),
        ("h", None),
        ("6", None),
        ("6 h", None),
        ("infs", None),
        ("", None),
    ] {
        let body = format!(
            r#"{{"rank_by":["Saturate",["Attribute","a"],{{"midpoint":"{text}"}}],"limit":1}}"#
        );
        match (parse_query(body.as_bytes()), expected) {
            (Ok((query, _)), Some(expected)) => {
                let RankBy::Score(ScoreExpr::Saturate { curve, .. }) = query.rank_by else {
                    panic!("a curve, not {:?}", query.rank_by);
                };
                assert_eq!(
                    (curve.midpoint, curve.is_duration),
                    (expected, true),
                    "{text}"
                );
            }
            (Err(error), None) => assert!(error.message().contains("duration"), "{error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn ranks_and_computed_attributes_malformed_are_refused_with_status_and_place() {
    let rank = |rank: &str| format!(r#"{{"limit":1,"rank_by":{rank}}}"#);
    let computed =
        |expr: &str| format!(r#"{{"limit":1,"rank_by":["id","asc"],"compute_attributes":{expr}}}"#);
    let per =
        |per: &str| format!(r#"{{"limit":{{"total":1,"per":{per}}},"rank_by":["id","asc"]}}"#);
    let deep = format!(
        "{}{}{}",
        r#"["Sum",["#.repeat(40),
        r#"["Attribute","a"]"#,
        "]]".repeat(40)
    );
    let wide = vec![r#"["Attribute","a"]"#; 300].join(",");
    let many: Vec<String> = (0..257)
        .map(|at| format!(r#""c{at}":["Attribute","a"]"#))
        .collect();
    let cases = [
        (rank(r#"["Sum",["Attribute","a"]]"#), 422, "`rank_by`"),
        (
            rank(r#"["Sum",[0.5,["a","Eq",1]]]"#),
            400,
            "found the number 0.5",
        ),
        (rank(r#"["Sum"]"#), 400, "expected [\"Sum\", [clause, ...]]"),
        (
            rank(r#"["Max",0,["Attribute","a"]]"#),
            400,
            "expected [\"Max\"",
        ),
        (
            rank(r#"["Max",[-1,["Attribute","a"]]]"#),
            400,
            "no number below 0, found -1",
        ),
        (
            rank(r#"["Product",-1,["Attribute","a"]]"#),
            400,
            "no number below 0",
        ),
        (
            rank(r#"["Product","2",["Attribute","a"]]"#),
            400,
            "expected [\"Product\"",
        ),
        (
            rank(r#"["Saturate",["Attribute","a"],{}]"#),
            422,
            "missing field `midpoint`",
        ),
        (
            rank(r#"["Saturate",["Attribute","a"],{"midpoint":0}]"#),
            400,
            "above 0, found 0",
        ),
        (
            rank(r#"["Saturate",["Attribute","a"],{"midpoint":1,"exponent":-2}]"#),
            400,
            "`exponent`",
        ),
        (
            rank(r#"["Saturate",["Attribute","a"],{"midpoint":1,"exp":2}]"#),
            400,
            "unknown field `exp`",
        ),
        (
            rank(r#"["Saturate",["Attribute","a"]]"#),
            400,
            "expected [\"Saturate\"",
        ),
        (rank(r#"["Dist",["Sum",[]],1]"#), 400, "expected [\"Dist\""),
        (rank(r#"["Sum",[["a","Near",1]]]"#), 422, "unknown clause"),
        (
            rank(r#"["Sum",[["a","BM25","x"]]]"#),
            400,
            "`BM25` is not supported",
        ),
        (
            rank(r#"["a","SparseKNN",[1,2]]"#),
            422,
            "expected a map of numbers",
        ),
        (rank(r#"["a","SparseKNN"]"#), 422, "invalid length 2"),
        (
            rank(r#"["a","SparseKNN",{"x":1},{}]"#),
            422,
            "invalid length 4",
        ),
        (rank(&deep), 400, "too many levels"),
        (
            rank(&format!(r#"["Sum",[{wide}]]"#)),
            400,
            "too many clauses",
        ),
        (computed("[]"), 422, "expected a map"),
        (computed(r#"{"x":1}"#), 422, "`compute_attributes.x`"),
        (computed(r#"{"x":["a","asc"]}"#), 400, "`asc` orders rows"),
        (
            computed(r#"{"x":["a","ANN",[1]]}"#),
            400,
            "`ANN` orders rows",
        ),
        (computed(r#"{"x":["a","VectorDist",[]]}"#), 400, "empty"),
        (
            computed(r#"{"x":["Highlight","a"]}"#),
            400,
            "`Highlight` is not supported",
        ),
        (computed(r#"{"x":["a","VectorDist"]}"#), 422, "unknown form"),
        (
            computed(&format!("{{{}}}", many.join(","))),
            400,
            "at most 256, found 257",
        ),
        (per("1"), 422, "`limit.per`"),
        (per(r#"{"attributes":["a"]}"#), 422, "missing field `limit`"),
        (per(r#"{"attributes":["a"],"limit":0}"#), 400, "found 0"),
        (
            per(r#"{"attributes":"a","limit":1}"#),
            422,
            "limit.per.attributes",
        ),
        (
            per(r#"{"attributes":["a"],"limit":1,"x":1}"#),
            400,
            "unknown field `x`",
        ),
    ];
    let cases: Vec<(&str, u16, &str)> = cases
        .iter()
        .map(|(body, status, text)| (body.as_str(), *status, *text))
        .collect();
    check(&cases, |body| parse_query(body).map(drop));
}

#[test]
fn limits_of_rows_alike_and_computed_values_become_typed() {
    let body = r#"{"rank_by":["id","asc"],"limit":{"total":5,"per":{"attributes":["a","b","a"],"limit":2}},
        "compute_attributes":{"s":["a","Eq",1],"d":["v","VectorDist",[1,2]]}}"#;
    let (query, _) = parse_query(body.as_bytes()).expect("valid");
    let per = LimitPer {
        attributes: vec!["a".to_owned(), "b".to_owned()],
        limit: 2,
    };
    assert_eq!(query.per, Some(per));
    let kinds: Vec<(&str, bool)> = query
        .compute
        .iter()
        .map(|(name, compute)| (name.as_str(), matches!(compute, Compute::Score(_))))
        .collect();
    assert_eq!(kinds, [("d", false), ("s", true)]);
}

fn questions_of(body: &str) -> crate::error::Result<(usize, Option<Fuse>)> {
    let body = query::parse_query(body.as_bytes(), &meter())?;
    assert!(body.form.is_multi);
    Ok((body.asked.asks.len(), body.asked.fuse))
}

const Q: &str = r#"{"rank_by":["id","asc"],"limit":3},{"rank_by":["id","desc"],"limit":7}"#;

#[test]
fn several_questions_and_their_fusion_become_typed() {
    let of = |rest: &str| {
        let body = format!(r#"{{"queries":[{Q}]{rest}}}"#);
        questions_of(&body).expect(rest)
    };
    let fuse = |rank_constant, weights: [f64; 2], limit, offset| {
        let weights = weights.to_vec();
        Some(Fuse {
            rank_constant,
            weights,
            limit,
            offset,
        })
    };
    for (rest, expected) in [
        ("", None),
        (r#","rerank_by":["RRF"]"#, fuse(60.0, [1.0, 1.0], 7, 0)),
        (
            r#","rerank_by":["RRF",{}],"limit":4,"offset":2"#,
            fuse(60.0, [1.0, 1.0], 4, 2),
        ),
        (
            r#","rerank_by":["RRF",{"rank_constant":1,"weights":[2,0.5]}],"limit":{"total":5}"#,
            fuse(1.0, [2.0, 0.5], 5, 0),
        ),
    ] {
        assert_eq!(of(rest), (2, expected), "{rest}");
    }
}

#[test]
fn several_questions_malformed_are_refused_with_status_and_place() {
    let with = |rest: &str| format!(r#"{{"queries":[{Q}]{rest}}}"#);
    let of = |queries: &str| format!(r#"{{"queries":{queries}}}"#);
    let one = r#"{"rank_by":["id","asc"],"limit":3}"#;
    let cases = [
        (of("[]"), 400, "expected 1 to 16, found 0"),
        (
            of(&format!("[{}]", vec![one; 17].join(","))),
            400,
            "expected 1 to 16, found 17",
        ),
        (of("{}"), 422, "`queries`"),
        (of("[1]"), 422, "`queries[0]`"),
        (
            of(&format!("[{one},{{}}]")),
            400,
            "queries[1]: the query asks nothing",
        ),
        (
            of(r#"[{"rank_by":["id","asc"],"limit":1,"consistency":{"level":"strong"}}]"#),
            400,
            "`consistency` belongs beside",
        ),
        (of(r#"[{"queries":[]}]"#), 400, "`queries` belongs beside"),
        (
            with(r#","rank_by":["id","asc"]"#),
            400,
            "`rank_by` belongs into",
        ),
        (with(r#","limit":1"#), 400, "need `rerank_by`"),
        (with(r#","offset":1"#), 400, "need `rerank_by`"),
        (
            with(r#","rerank_by":["RRF"],"offset":1"#),
            400,
            "needs `limit`",
        ),
        (with(r#","rerank_by":["RRF"],"limit":0"#), 400, "found 0"),
        (
            with(r#","rerank_by":["RRF"],"limit":{"total":1,"per":{}}"#),
            400,
            "unknown field `per`",
        ),
        (
            with(r#","rerank_by":["rrf"]"#),
            422,
            "unknown variant `rrf`",
        ),
        (with(r#","rerank_by":["RRF",1]"#), 422, "unknown form"),
        (with(r#","rerank_by":"RRF""#), 422, "`rerank_by`"),
        (with(r#","rerank_by":{"model":"m"}"#), 400, "by a model"),
        (
            with(r#","rerank_by":["RRF",{"weights":[1]}]"#),
            400,
            "one a query, 2, found 1",
        ),
        (
            with(r#","rerank_by":["RRF",{"weights":[1,0]}]"#),
            400,
            "above 0, found 0",
        ),
        (
            with(r#","rerank_by":["RRF",{"weights":[1,"2"]}]"#),
            422,
            "rerank_by.weights",
        ),
        (
            with(r#","rerank_by":["RRF",{"rank_constant":0}]"#),
            400,
            "rank_constant",
        ),
        (
            with(r#","rerank_by":["RRF",{"k":1}]"#),
            400,
            "unknown field `k`",
        ),
    ];
    let cases: Vec<(&str, u16, &str)> = cases
        .iter()
        .map(|(body, status, text)| (body.as_str(), *status, *text))
        .collect();
    check(&cases, |body| query::parse_query(body, &meter()).map(drop));
}
