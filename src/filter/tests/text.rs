//! Filters as text against the same filters as JSON.

use serde_json::json;

use crate::error::ErrorKind;
use crate::filter::{parse, parse_text};
use crate::types::limits::{FILTER_DEPTH_MAX, FILTER_TEXT_BYTES_MAX};

#[test]
fn text_of_table_is_the_filter_that_json_says() {
    for (text, expected) in [
        (
            "category = 'tech' AND year >= 2020",
            json!(["And", [["category", "Eq", "tech"], ["year", "Gte", 2020]]]),
        ),
        ("a == 1", json!(["a", "Eq", 1])),
        ("a!=1.5", json!(["a", "NotEq", 1.5])),
        ("a<>-2e3", json!(["a", "NotEq", -2e3])),
        (
            "a < 18446744073709551615",
            json!(["a", "Lt", 18_446_744_073_709_551_615_u64]),
        ),
        ("a<=TRUE", json!(["a", "Lte", true])),
        ("a > false", json!(["a", "Gt", false])),
        ("a = NULL", json!(["a", "Eq", null])),
        ("a is null", json!(["a", "Eq", null])),
        ("a IS NOT NULL", json!(["a", "NotEq", null])),
        ("a = (1, 2)", json!(["a", "Eq", [1, 2]])),
        ("a IN (1,2)", json!(["a", "In", [1, 2]])),
        ("a NOT IN ('x')", json!(["Not", ["a", "In", ["x"]]])),
        ("a IN ()", json!(["a", "In", []])),
        ("a CONTAINS 'x'", json!(["a", "Contains", "x"])),
        ("a NOT CONTAINS 'x'", json!(["Not", ["a", "Contains", "x"]])),
        ("a CONTAINS ANY (1, 2)", json!(["a", "ContainsAny", [1, 2]])),
        ("ANY a >= 3", json!(["a", "AnyGte", 3])),
        ("any a < 3", json!(["a", "AnyLt", 3])),
        ("a GLOB 'x*'", json!(["a", "Glob", "x*"])),
        ("a NOT IGLOB 'x*'", json!(["Not", ["a", "IGlob", "x*"]])),
        ("a REGEX '^x'", json!(["a", "Regex", "^x"])),
        ("a = 'it''s \"é\"'", json!(["a", "Eq", "it's \"é\""])),
        ("\"and \"\"x\"\"\" = 1", json!(["and \"x\"", "Eq", 1])),
        ("größe.in_mm = 1", json!(["größe.in_mm", "Eq", 1])),
        (
            "a=1 OR b=2 AND NOT c=3",
            json!([
                "Or",
                [
                    ["a", "Eq", 1],
                    ["And", [["b", "Eq", 2], ["Not", ["c", "Eq", 3]]]]
                ]
            ]),
        ),
        (
            " ( a=1 or b=2 )and c=3 ",
            json!([
                "And",
                [["Or", [["a", "Eq", 1], ["b", "Eq", 2]]], ["c", "Eq", 3]]
            ]),
        ),
        (
            "NOT (a=1 AND b=2)",
            json!(["Not", ["And", [["a", "Eq", 1], ["b", "Eq", 2]]]]),
        ),
    ] {
        let found = parse_text(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found, parse(&expected).expect("a legal filter"), "{text}");
    }
}

#[test]
fn text_that_is_no_filter_is_malformed_where_it_breaks() {
    for (text, expected) in [
        (
            "",
            "at byte 0: expected the name of an attribute, found the end",
        ),
        ("a", "at byte 1: expected an operator"),
        ("a =", "at byte 3: expected a value"),
        ("a = b", "at byte 4: expected a value"),
        (
            "a = 1 b = 2",
            "at byte 6: expected `AND`, `OR` or the end, found `b`",
        ),
        ("(a = 1", "at byte 6: expected `)`, found the end"),
        ("a = 'x", "at byte 4: an opening ' without a closing one"),
        ("a = 1x", "at byte 4: expected a number"),
        (
            "a = 1-2",
            "at byte 5: expected `AND`, `OR` or the end, found `-2`",
        ),
        ("a ; b", "at byte 2: found `;`, which means nothing"),
        ("a LIKE 'x'", "at byte 2: expected an operator"),
        (
            "AND = 1",
            "at byte 0: expected the name of an attribute, found `AND`",
        ),
        ("ANY a = 1", "`<`, `<=`, `>` or `>=` after `ANY`"),
        ("a IN (1, (2))", "expected a value that is no list"),
        ("a IN 1", "expected `(`, found `1`"),
        ("a IN (1, 'x')", "expected values of one type"),
        ("a IN (NULL)", "none of them null"),
        ("a IS 1", "expected `NULL`, found `1`"),
    ] {
        let error = parse_text(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{text}: {error}");
        assert!(error.message().contains(expected), "{text}: {error}");
    }
}

#[test]
fn text_beyond_its_limits_is_refused() {
    let nested = |n: usize| format!("{}a=1{}", "(".repeat(n), ")".repeat(n));
    assert!(parse_text(&nested(FILTER_DEPTH_MAX / 2 - 2)).is_ok());
    let long = format!("a = '{}'", "x".repeat(FILTER_TEXT_BYTES_MAX));
    for text in [
        nested(FILTER_DEPTH_MAX),
        "NOT ".repeat(20_000),
        nested(30_000),
        long,
    ] {
        let error = parse_text(&text).expect_err("too much");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn text_of_any_characters_never_panics(text in "([a-z'\"()=<>!,. 0-9é-]|AND|OR|NOT|IN|NULL| ){0,24}") {
        let _ = parse_text(&text);
    }
}
