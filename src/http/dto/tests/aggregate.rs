use std::sync::Arc;

use super::{meter, parse::check};
use crate::http::dto::query::{AnswerForm, parse_query};
use crate::http::dto::reply::encode_query;
use crate::query::reply::{Answers, Found, Group, Total};
use crate::query::request::{Ask, Fold, GroupBy};
use crate::types::Value;

#[test]
fn aggregate_malformed_is_refused_with_status_and_place() {
    check(
        &[
            (r#"{"aggregate_by":["Count"]}"#, 422, "expected a map"),
            (r#"{"aggregate_by":{}}"#, 400, "expected 1 to 8, found 0"),
            (
                r#"{"aggregate_by":{"1":["Count"],"2":["Count"],"3":["Count"],"4":["Count"],"5":["Count"],"6":["Count"],"7":["Count"],"8":["Count"],"9":["Count"]}}"#,
                400,
                "found 9",
            ),
            (r#"{"aggregate_by":{"n":"Count"}}"#, 422, "`aggregate_by.n`"),
            (r#"{"aggregate_by":{"n":[]}}"#, 422, "unknown form"),
            (
                r#"{"aggregate_by":{"n":["Avg","x"]}}"#,
                422,
                "unknown variant `Avg`",
            ),
            (r#"{"aggregate_by":{"n":["Sum"]}}"#, 422, "unknown form"),
            (r#"{"aggregate_by":{"n":["Sum",1]}}"#, 422, "unknown form"),
            (
                r#"{"aggregate_by":{"n":["Count","x"]}}"#,
                400,
                "counts documents",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"rank_by":["id","asc"]}"#,
                422,
                "found both",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"include_attributes":true}"#,
                422,
                "found both",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"top_k":3}"#,
                400,
                "needs `group_by`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":[],"limit":3}"#,
                400,
                "needs `group_by`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":["a"],"limit":10001}"#,
                400,
                "found 10001",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"offset":3}"#,
                400,
                "`offset`",
            ),
            (
                r#"{"group_by":["a"],"limit":1}"#,
                400,
                "needs `aggregate_by`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":"a"}"#,
                422,
                "`group_by`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":[1]}"#,
                422,
                "unknown form",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":["id"]}"#,
                400,
                "`id`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":["a","a"]}"#,
                400,
                "twice",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":["n"]}"#,
                400,
                "twice",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":["b",{"b":["ForEachUnique","a"]}]}"#,
                400,
                "twice",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":[{"x":["ForEachUnique","a"]},{"y":["ForEachUnique","b"]}]}"#,
                400,
                "at most one",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":[{"x":["Each","a"]}]}"#,
                422,
                "unknown variant `Each`, expected `ForEachUnique`",
            ),
            (
                r#"{"aggregate_by":{"n":["Count"]},"group_by":[{"x":["ForEachUnique","a"],"y":1}]}"#,
                422,
                "unknown form",
            ),
        ],
        |body| parse_query(body, &meter()).map(drop),
    );
}

#[test]
fn aggregate_forms_become_typed() {
    let body = r#"{"aggregate_by":{"n":["Count","id"],"s":["Sum","x"]},"group_by":["g",{"t":["ForEachUnique","tags"]}],"limit":{"total":7},"filters":["x","Gt",1],"consistency":{"level":"eventual"}}"#;
    let body = parse_query(body.as_bytes(), &meter()).expect("valid");
    let [Ask::Totals(asked)] = body.asked.asks.as_slice() else {
        panic!("numbers, not {:?}", body.asked.asks);
    };
    let folds = [
        ("n".to_owned(), Fold::Count),
        ("s".to_owned(), Fold::Sum("x".to_owned())),
    ];
    assert_eq!(asked.folds, folds);
    let group = |label: &str, attribute: &str, each| GroupBy {
        label: label.to_owned(),
        attribute: attribute.to_owned(),
        each,
    };
    assert_eq!(
        asked.groups,
        [group("g", "g", false), group("t", "tags", true)]
    );
    assert_eq!(asked.limit, 7);
    assert!(asked.filter.is_some());
}

#[test]
fn aggregate_replies_are_exact_to_the_byte() {
    let answers = |found| Answers {
        found: vec![found],
        ..Answers::default()
    };
    let text = |found| {
        let bytes = encode_query(&answers(found), AnswerForm::default(), 0).expect("encodes");
        String::from_utf8(bytes).expect("UTF-8")
    };
    let totals: Vec<(Arc<str>, Total)> = vec![
        ("a".into(), Total::Integer(i128::from(u64::MAX) * 3)),
        ("b".into(), Total::Float(0.0)),
    ];
    let found = text(Found::Totals(totals));
    let expected = r#"{"aggregations":{"a":55340232221128654845,"b":0.0},"billing":{"billable_logical_bytes_queried":256000000,"billable_logical_bytes_returned":16},"performance""#;
    assert!(found.starts_with(expected), "{found}");
    let found = text(Found::Groups {
        keys: Arc::from(["g".into()]),
        labels: Arc::from(["n".into()]),
        groups: vec![
            Group {
                key: vec![Value::Null],
                totals: vec![Total::Integer(2)],
            },
            Group {
                key: vec![Value::Int(-1)],
                totals: vec![Total::Integer(1)],
            },
        ],
    });
    let expected = r#"{"aggregation_groups":[{"g":null,"n":2},{"g":-1,"n":1}],"billing""#;
    assert!(found.starts_with(expected), "{found}");
}
