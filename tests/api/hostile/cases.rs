//! Hostile requests: what each is, where it is sent, its body, the status it gets and a part of its error.

use serde_json::{Value, json};

use super::{QUERY, SCHEMA, WRITE};

/// A request, its status, and a part of what its error says.
pub(super) type Case = (&'static str, &'static str, Vec<u8>, u16, &'static str);

fn case(
    what: &'static str,
    path: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
    says: &'static str,
) -> Case {
    (what, path, body.into(), status, says)
}

fn json_case(
    what: &'static str,
    path: &'static str,
    body: &Value,
    status: u16,
    says: &'static str,
) -> Case {
    case(what, path, body.to_string(), status, says)
}

fn filters(filters: &Value) -> Value {
    json!({"filters": filters, "limit": 1})
}

fn ranked(rank: &Value) -> Value {
    json!({"rank_by": rank, "limit": 1})
}

fn row(row: &Value) -> Value {
    json!({"upsert_rows": [row]})
}

/// Something within something else, so many times.
fn nested(times: usize, inner: Value, wrap: impl Fn(Value) -> Value) -> Value {
    (0..times).fold(inner, |inner, _| wrap(inner))
}

fn deep() -> Vec<Case> {
    let not = |inner| json!(["Not", inner]);
    let any = json!(["n", "Eq", 1]);
    let sum = |inner| json!(["Sum", [inner]]);
    vec![
        case("brackets", QUERY, "[".repeat(500_000), 400, "recursion"),
        case(
            "brackets in a document",
            WRITE,
            format!(r#"{{"upsert_rows":[{{"id":1,"n":{}"#, "[".repeat(500_000)),
            400,
            "",
        ),
        case(
            "objects in a schema",
            SCHEMA,
            r#"{"a":"#.repeat(100_000),
            400,
            "recursion",
        ),
        json_case(
            "65 levels of a filter",
            QUERY,
            &filters(&nested(64, any.clone(), not)),
            400,
            "at most 64 levels",
        ),
        json_case(
            "a condition as deep",
            WRITE,
            &json!({"deletes": [1], "delete_condition": nested(64, any.clone(), not)}),
            400,
            "at most 64 levels",
        ),
        json_case(
            "33 levels of a score",
            QUERY,
            &ranked(&nested(32, any.clone(), sum)),
            400,
            "too many levels",
        ),
        json_case(
            "queries within queries",
            QUERY,
            &json!({"queries": [{"queries": [{"rank_by": ["id", "asc"], "limit": 1}]}]}),
            400,
            "belongs beside",
        ),
        case(
            "text of a filter within parentheses",
            QUERY,
            json!({"filters": "(".repeat(60_000), "limit": 1}).to_string(),
            400,
            "",
        ),
    ]
}

fn wide() -> Vec<Case> {
    let any = json!(["n", "Eq", 1]);
    let terms = |times: usize| json!(["Or", vec![any.clone(); times]]);
    let members: Vec<usize> = (0..100_000).collect();
    let names: Value = (0..1_025).map(|at| json!(format!("name{at}"))).collect();
    let attributes: serde_json::Map<String, Value> = (0..1_025)
        .map(|at| (format!("name{at}"), json!(1)))
        .collect();
    let computed: serde_json::Map<String, Value> = (0..257)
        .map(|at| (format!("name{at}"), any.clone()))
        .collect();
    let folds: serde_json::Map<String, Value> = (0..9)
        .map(|at| (format!("name{at}"), json!(["Count"])))
        .collect();
    let mut many = json!({"id": 1});
    many.as_object_mut().expect("a map").extend(attributes);
    let one = json!({"rank_by": ["id", "asc"], "limit": 1});
    vec![
        json_case("10,000 terms", QUERY, &filters(&terms(10_000)), 200, ""),
        json_case(
            "members",
            QUERY,
            &filters(&json!(["n", "In", members])),
            400,
            "100000 nodes",
        ),
        json_case(
            "65 patterns",
            QUERY,
            &filters(&json!(["Or", vec![json!(["t", "Glob", "a*"]); 65]])),
            400,
            "at most 64 patterns",
        ),
        json_case(
            "names",
            QUERY,
            &json!({"rank_by": ["id", "asc"], "limit": 1, "include_attributes": names}),
            400,
            "too many names",
        ),
        json_case("attributes", WRITE, &row(&many), 400, "too many attributes"),
        json_case(
            "computed",
            QUERY,
            &json!({"rank_by": ["id", "asc"], "limit": 1, "compute_attributes": computed}),
            400,
            "at most 256",
        ),
        json_case(
            "clauses",
            QUERY,
            &ranked(&json!(["Sum", vec![any.clone(); 257]])),
            400,
            "too many clauses",
        ),
        json_case(
            "keys",
            QUERY,
            &ranked(&json!(vec![["id", "asc"]; 9])),
            400,
            "at most 8",
        ),
        json_case(
            "queries",
            QUERY,
            &json!({"queries": vec![one; 17]}),
            400,
            "1 to 16",
        ),
        json_case(
            "folds",
            QUERY,
            &json!({"aggregate_by": folds}),
            400,
            "1 to 8",
        ),
        json_case(
            "dimensions",
            QUERY,
            &ranked(&json!(["v", "ANN", vec![0; 10_753]])),
            400,
            "10752",
        ),
        json_case(
            "an id",
            WRITE,
            &row(&json!({"id": "x".repeat(100_000)})),
            400,
            "id",
        ),
        json_case(
            "a filterable value",
            WRITE,
            &row(&json!({"id": 1, "v": [1, 1], "t": "x".repeat(4_097)})),
            400,
            "at most 4096",
        ),
        json_case(
            "a name",
            WRITE,
            &row(&json!({"id": 1, "v": [1, 1], "x".repeat(129): 1})),
            400,
            "attribute name",
        ),
        json_case(
            "ids twice",
            WRITE,
            &json!({"deletes": vec![7; 100_000]}),
            400,
            "occurs twice",
        ),
        json_case(
            "text of a filter",
            QUERY,
            &filters(&json!(format!("n = 1{}", " ".repeat(65_536)))),
            400,
            "65536",
        ),
    ]
}

fn numbers() -> Vec<Case> {
    let nan = "AADAfwAAgD8=";
    let infinity = "AACAfwAAgD8=";
    let with = |field: &str| format!(r#"{{"upsert_rows":[{{"id":1,"v":[1,1],{field}}}]}}"#);
    let limited = |limit: &str| format!(r#"{{"rank_by":["id","asc"],"limit":{limit}}}"#);
    vec![
        case("NaN", WRITE, with(r#""f":NaN"#), 400, ""),
        case("Infinity", WRITE, with(r#""f":-Infinity"#), 400, ""),
        case(
            "a float beyond f64",
            WRITE,
            with(r#""f":1e400"#),
            400,
            "out of range",
        ),
        case(
            "an int beyond i64",
            WRITE,
            with(r#""n":9223372036854775808"#),
            400,
            "signed 64-bit",
        ),
        case(
            "a uint beyond u64",
            WRITE,
            with(r#""u":18446744073709551616"#),
            400,
            "unsigned 64-bit",
        ),
        case(
            "an id beyond u64",
            WRITE,
            r#"{"upsert_rows":[{"id":18446744073709551616,"v":[1,1]}]}"#,
            422,
            "id",
        ),
        case(
            "an id below 0",
            WRITE,
            r#"{"upsert_rows":[{"id":-1,"v":[1,1]}]}"#,
            400,
            "id",
        ),
        case(
            "digits",
            WRITE,
            with(&format!(r#""n":{}"#, "9".repeat(100_000))),
            400,
            "",
        ),
        case(
            "an exponent",
            WRITE,
            with(r#""f":1e99999999999999999999"#),
            400,
            "out of range",
        ),
        case(
            "components beyond f32",
            WRITE,
            r#"{"upsert_rows":[{"id":1,"v":[1e39,1]}]}"#,
            400,
            "finite",
        ),
        json_case(
            "NaN in base64",
            WRITE,
            &row(&json!({"id": 1, "v": nan})),
            400,
            "NaN",
        ),
        json_case(
            "infinity in base64",
            WRITE,
            &row(&json!({"id": 1, "v": infinity})),
            400,
            "inf",
        ),
        json_case(
            "NaN in a query",
            QUERY,
            &ranked(&json!(["v", "ANN", nan])),
            400,
            "NaN",
        ),
        json_case(
            "NaN in a computed distance",
            QUERY,
            &json!({"rank_by": ["id", "asc"], "limit": 1, "compute_attributes": {"x": ["v", "VectorDist", nan]}}),
            400,
            "NaN",
        ),
        case(
            "a limit beyond u64",
            QUERY,
            limited("18446744073709551616"),
            422,
            "limit",
        ),
        case(
            "a limit of u64",
            QUERY,
            limited("18446744073709551615"),
            400,
            "1 to 10000",
        ),
        case("a limit as a float", QUERY, limited("1e9"), 422, "limit"),
        json_case(
            "an offset of u64",
            QUERY,
            &json!({"rank_by": ["id", "asc"], "limit": 1, "offset": u64::MAX}),
            400,
            "offset",
        ),
        json_case(
            "a staleness of u64",
            QUERY,
            &json!({"rank_by": ["id", "asc"], "limit": 1, "consistency": {"level": "eventual", "max_staleness_seconds": u64::MAX}}),
            200,
            "",
        ),
        json_case(
            "dimensions of a type",
            SCHEMA,
            &json!({"w": {"type": "[4294967297]f32", "ann": true}}),
            422,
            "type",
        ),
        json_case(
            "a duration",
            QUERY,
            &ranked(
                &json!(["Decay", ["Dist", ["Attribute", "d"], "2024-01-01"], {"midpoint": format!("{}w", "9".repeat(400))}]),
            ),
            400,
            "duration",
        ),
        json_case(
            "a date",
            WRITE,
            &row(&json!({"id": 1, "v": [1, 1], "d": "2024-02-30"})),
            400,
            "datetime",
        ),
        json_case(
            "a year",
            WRITE,
            &row(&json!({"id": 1, "v": [1, 1], "d": "99999-01-01"})),
            400,
            "datetime",
        ),
    ]
}

fn patterns() -> Vec<Case> {
    let regex = |pattern: &str| filters(&json!(["r", "Regex", pattern]));
    let glob = |pattern: &str| filters(&json!(["t", "Glob", pattern]));
    vec![
        json_case(
            "nested repetitions",
            QUERY,
            &regex("(a*)*(a*)*(a|a)*b$"),
            200,
            "",
        ),
        json_case(
            "counted repetitions",
            QUERY,
            &regex("((a{100}){100}){100}"),
            400,
            "invalid pattern",
        ),
        json_case(
            "classes",
            QUERY,
            &regex(&"\\pL{50}".repeat(140)),
            400,
            "invalid pattern",
        ),
        json_case("a long one", QUERY, &regex(&"a".repeat(1_025)), 400, "1024"),
        json_case(
            "look-around",
            QUERY,
            &regex("(?=a)"),
            400,
            "invalid pattern",
        ),
        json_case(
            "parentheses",
            QUERY,
            &regex(&"(".repeat(1_000)),
            400,
            "invalid pattern",
        ),
        json_case("stars", QUERY, &glob(&"*a".repeat(500)), 400, "larger than"),
        json_case("choices", QUERY, &glob(&"{a,b}".repeat(200)), 200, ""),
        json_case(
            "choices in choices",
            QUERY,
            &glob(&format!("{}a{}", "{".repeat(500), "}".repeat(500))),
            400,
            "invalid pattern",
        ),
    ]
}

fn texts() -> Vec<Case> {
    let mut broken = br#"{"upsert_rows":[{"id":1,"v":[1,1],"t":""#.to_vec();
    broken.extend([0xff, 0xfe]);
    broken.extend(br#""}]}"#);
    vec![
        case("bytes that are no UTF-8", WRITE, broken, 400, ""),
        case(
            "half a surrogate",
            WRITE,
            r#"{"upsert_rows":[{"id":1,"v":[1,1],"t":"\ud800"}]}"#,
            400,
            "",
        ),
        case(
            "a field twice",
            QUERY,
            r#"{"limit":1,"limit":2,"rank_by":["id","asc"]}"#,
            400,
            "limit",
        ),
        case(
            "an attribute twice",
            WRITE,
            r#"{"upsert_rows":[{"id":1,"v":[1,1],"n":1,"n":2}]}"#,
            400,
            "n",
        ),
        case(
            "two values",
            QUERY,
            r#"{"rank_by":["id","asc"],"limit":1} {}"#,
            400,
            "",
        ),
        case("a byte order mark", QUERY, "\u{feff}{}", 400, ""),
        case("nothing", QUERY, "", 400, ""),
        case("null", WRITE, "null", 422, ""),
        case("a list", QUERY, "[]", 422, ""),
        case("text", WRITE, r#""upsert_rows""#, 422, ""),
    ]
}

pub(super) fn all() -> Vec<Case> {
    [deep(), wide(), numbers(), patterns(), texts()].concat()
}
