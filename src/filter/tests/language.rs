//! What may be asked of which attribute, and what is refused with which words.

use serde_json::{Value as Json, json};

use super::schema;
use crate::error::ErrorKind;
use crate::filter::{BoundFilter, bind, parse};
use crate::types::IdKind;
use crate::types::limits::{
    FILTER_DEPTH_MAX, FILTER_NODES_MAX, FILTER_PATTERNS_MAX, PATTERN_BYTES_MAX,
};

#[test]
fn bind_with_null_operand_follows_null_table() {
    let schema = schema(IdKind::Uint);
    let missing = BoundFilter::Missing(schema.get("int").expect("declared").id);
    let present = BoundFilter::Not(Box::new(missing.clone()));
    for (op, expected) in [
        ("Eq", missing.clone()),
        ("NotEq", present.clone()),
        ("Lt", BoundFilter::Constant(false)),
        ("Lte", missing),
        ("Gt", present),
        ("Gte", BoundFilter::Constant(true)),
    ] {
        let filter = parse(&json!(["int", op, null])).expect("a legal filter");
        assert_eq!(bind(&filter, &schema).expect("binds"), expected, "{op}");
    }
}

#[test]
fn filter_that_does_not_fit_is_refused_by_name() {
    let schema = schema(IdKind::Uint);
    for (filter, expected) in [
        (json!(["nope", "Eq", 1]), "attribute `nope` not found"),
        (
            json!(["hidden", "Eq", 1]),
            "attribute `hidden` is not filterable",
        ),
        (json!(["vector", "Eq", [1, 2]]), "vector attribute `vector`"),
        (json!(["[]int", "Lt", 1]), "Lt does not work on arrays"),
        (
            json!(["[]int", "Eq", 1]),
            "Eq expects []int, but got integer 1",
        ),
        (
            json!(["int", "Eq", "x"]),
            "filter error in key `int`: type mismatch, Eq expects int, but got 'x'",
        ),
        (
            json!(["int", "Eq", 1.5]),
            "Eq expects int, but got float 1.5",
        ),
        (
            json!(["uint", "Eq", -1]),
            "Eq expects uint, but got integer -1",
        ),
        (
            json!(["string", "In", [1, 2]]),
            "In expects string, but got integer 1",
        ),
        (json!(["datetime", "Gt", "soon"]), "Gt expects datetime"),
        (json!(["id", "Gt", "1"]), "Gt expects uint, but got '1'"),
        (json!(["int", "Eq", [1]]), "Eq expects int, but got '[1]'"),
    ] {
        let parsed = parse(&filter).expect("a legal shape");
        let error = bind(&parsed, &schema).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(expected), "{filter}: {error}");
    }
}

#[test]
fn filter_of_wrong_shape_is_malformed_at_its_path() {
    for (filter, expected) in [
        (
            json!("x"),
            "`filters`: expected a filter array, found string",
        ),
        (
            json!([]),
            "`filters`: expected a filter array, found an empty array",
        ),
        (
            json!(["And", [["a", "Eq", 1], 7]]),
            "`filters[1][1]`: expected a filter array, found number",
        ),
        (
            json!(["And", "a"]),
            "`filters[1]`: expected a list of filters, found string",
        ),
        (
            json!(["Not", ["a"]]),
            "`filters[1]`: expected [attribute, operator, value], found 1 element",
        ),
        (
            json!(["Or", [[1, "Eq", 1]]]),
            "`filters[1][0][0]`: expected the name of an attribute",
        ),
        (
            json!(["a", "Equals", 1]),
            "`filters[1]`: expected the name of an operator, found `Equals`",
        ),
        (
            json!(["a", 3, 1]),
            "`filters[1]`: expected the name of an operator, found number",
        ),
        (
            json!(["a", "Eq"]),
            "`filters`: expected [attribute, operator, value], found 2 elements",
        ),
        (json!(["a", "Eq", 1, 2]), "found 4 elements"),
        (
            json!(["a", "Eq", {"x": 1}]),
            "`filters[2]`: expected a value, a list or null, found object",
        ),
        (
            json!(["a", "In", [1, null]]),
            "`filters[2][1]`: expected values of one type, none of them null, found null",
        ),
        (
            json!(["id", "In", [1, "2"]]),
            "`filters[2][1]`: expected values of one type",
        ),
        (json!(["a", "In", [null]]), "`filters[2][0]`"),
        (
            json!(["a", "In", null]),
            "`filters[2]`: expected a list, found null",
        ),
    ] {
        let error = parse(&filter).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::Malformed, "{filter}: {error}");
        assert!(error.message().contains(expected), "{filter}: {error}");
    }
}

#[test]
fn operator_known_but_not_served_is_unsupported_by_name() {
    for op in crate::filter::parse::UNSUPPORTED {
        let error = parse(&json!(["a", op, "x", {}])).expect_err(op);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::InvalidRequest, "unsupported")
        );
        assert!(error.message().contains(op));
    }
    let error = parse(&json!(["a", "Lt", {"$ref_new": "a"}])).expect_err("refused");
    assert_eq!(error.code(), "unsupported");
}

#[test]
fn filter_beyond_its_limits_is_refused() {
    let nested =
        |levels: usize| (1..levels).fold(json!(["a", "Eq", 1]), |inner, _| json!(["Not", inner]));
    assert!(parse(&nested(FILTER_DEPTH_MAX)).is_ok());
    let error = parse(&nested(FILTER_DEPTH_MAX + 1)).expect_err("too deep");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);

    let wide = |operands: usize| json!(["a", "In", vec![1; operands]]);
    assert!(parse(&wide(FILTER_NODES_MAX - 1)).is_ok());
    let error = parse(&wide(FILTER_NODES_MAX)).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

fn bound(filter: &Json) -> BoundFilter {
    let mut schema = schema(IdKind::String);
    let globbed = schema.get("hidden").expect("declared").clone();
    for name in ["globbed", "searched"] {
        let mut text = globbed.clone();
        text.kind = crate::types::AttributeType::Scalar(crate::types::ScalarType::String);
        (text.glob, text.regex) = (name == "globbed", name == "searched");
        schema.attributes.insert(name.to_owned(), text);
    }
    let parsed = parse(filter).expect("a legal shape");
    match bind(&parsed, &schema) {
        Ok(bound) => bound,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            panic!("{}", error.message())
        }
    }
}

fn refusal(filter: &Json) -> String {
    let caught = std::panic::catch_unwind(|| bound(filter)).expect_err("refused");
    *caught.downcast::<String>().expect("a message")
}

#[test]
fn operator_of_lists_elsewhere_or_with_odd_operand_is_refused() {
    for (filter, expected) in [
        (
            json!(["[]string", "ContainsAny", "a"]),
            "filter error in key `[]string`: type mismatch, ContainsAny expects []string, but got 'a'",
        ),
        (
            json!(["[]int", "ContainsAny", null]),
            "ContainsAny expects []int, but got null",
        ),
        (
            json!(["[]int", "NotContainsAny", [1, null]]),
            "NotContainsAny expects []int, but got null",
        ),
        (
            json!(["[]int", "ContainsAny", [1, "2"]]),
            "but got string `2`",
        ),
        (
            json!(["[]int", "Contains", null]),
            "Contains expects int, but got null",
        ),
        (
            json!(["[]int", "NotContains", [1]]),
            "NotContains expects int, but got '[1]'",
        ),
        (
            json!(["[]string", "Contains", ["a", "b"]]),
            "filter error in key `[]string`: type mismatch, Contains expects string, but got '[a, b]'",
        ),
        (
            json!(["[]int", "Contains", "1"]),
            "Contains expects int, but got '1'",
        ),
        (
            json!(["[]int", "AnyLt", 1.5]),
            "AnyLt expects int, but got float 1.5",
        ),
        (
            json!(["[]int", "AnyGte", null]),
            "AnyGte expects int, but got null",
        ),
        (
            json!(["unknown", "Contains", null]),
            "Contains expects an element, but got null",
        ),
        (
            json!(["unknown", "AnyLte", [1]]),
            "AnyLte expects an element, but got '[1]'",
        ),
        (
            json!(["unknown", "ContainsAny", 1]),
            "ContainsAny expects []unknown, but got integer 1",
        ),
        (
            json!(["int", "Contains", 1]),
            "type mismatch, Contains works on an array attribute, but `int` is int",
        ),
        (
            json!(["id", "AnyGt", "1"]),
            "AnyGt works on an array attribute, but `id` is `id`",
        ),
        (json!(["hidden", "AnyGt", 1]), "`hidden` is not filterable"),
        (
            json!(["vector", "Contains", 1]),
            "vector attribute `vector`",
        ),
    ] {
        let found = refusal(&filter);
        assert!(found.contains(expected), "{filter}: {found}");
    }
}

#[test]
fn pattern_elsewhere_or_invalid_is_refused() {
    for (filter, expected) in [
        (
            json!(["int", "Glob", "a"]),
            "type mismatch, Glob works on text, but `int` is int",
        ),
        (
            json!(["[]int", "NotIGlob", "a"]),
            "NotIGlob works on text, but `[]int` is []int",
        ),
        (
            json!(["string", "Glob", null]),
            "Glob expects string, but got null",
        ),
        (
            json!(["string", "Regex", ["a"]]),
            "Regex expects string, but got '[a]'",
        ),
        (
            json!(["string", "Glob", 1]),
            "Glob expects string, but got integer 1",
        ),
        (
            json!(["id", "Regex", "a"]),
            "Regex needs `regex: true` in the schema",
        ),
        (
            json!(["globbed", "Regex", "a"]),
            "Regex needs `regex: true` in the schema",
        ),
        (
            json!(["searched", "IGlob", "a"]),
            "IGlob needs `glob: true` or `filterable: true` in the schema",
        ),
        (json!(["globbed", "Eq", "a"]), "`globbed` is not filterable"),
        (json!(["vector", "Glob", "a"]), "vector attribute `vector`"),
        (
            json!(["string", "Regex", "a("]),
            "invalid pattern of Regex: unclosed group",
        ),
        (
            json!(["string", "Regex", "(?=a)"]),
            "invalid pattern of Regex: look-around",
        ),
        (
            json!(["string", "Regex", "(a{1000}){1000}"]),
            "compiled it is larger than 262144 bytes",
        ),
        (
            json!(["string", "Glob", "[a"]),
            "invalid pattern of Glob: an opening `[` without its `]`",
        ),
        (json!(["string", "Glob", "[b-a]"]), "ends before it starts"),
        (
            json!(["string", "Glob", "{a,b"]),
            "an opening `{` without its `}`",
        ),
        (
            json!(["string", "Glob", "a}"]),
            "a closing `}` without its `{`",
        ),
        (
            json!(["string", "Glob", "a\\"]),
            "a `\\` with nothing after it",
        ),
        (json!(["string", "Glob", "{".repeat(40)]), "nested too deep"),
        (
            json!(["string", "Glob", "a".repeat(PATTERN_BYTES_MAX + 1)]),
            "expected at most 1024 bytes, found 1025",
        ),
    ] {
        let found = refusal(&filter);
        assert!(found.contains(expected), "{filter}: {found}");
    }
    for filter in [
        json!(["globbed", "Glob", "a".repeat(PATTERN_BYTES_MAX)]),
        json!(["searched", "Regex", "a"]),
        json!(["id", "Glob", "a*"]),
        json!(["unknown", "Glob", "a*"]),
    ] {
        assert!(
            matches!(bound(&filter), BoundFilter::Matches { .. }),
            "{filter}"
        );
    }
}

#[test]
fn patterns_beyond_their_number_are_refused() {
    let with = |n: usize| json!(["Or", vec![json!(["string", "Glob", "a"]); n]]);
    assert!(parse(&with(FILTER_PATTERNS_MAX)).is_ok());
    let error = parse(&with(FILTER_PATTERNS_MAX + 1)).expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().contains("at most 64 patterns"), "{error}");
}
