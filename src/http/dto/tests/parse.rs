use std::sync::Arc;

use super::{parse_schema_body, parse_write};
use crate::error::{Error, ErrorKind};
use crate::http::error::Problem;
use crate::types::document::RawValue;
use crate::types::{AttributeType, DistanceMetric, VectorElement};

/// A body, the status its refusal has, and what the message must contain.
pub(super) type Case<'a> = (&'a str, u16, &'a str);

pub(super) fn check(cases: &[Case<'_>], parse: impl Fn(&[u8]) -> Result<(), Error>) {
    for (body, status, part) in cases {
        let problem = match parse(body.as_bytes()) {
            Ok(()) => panic!("{body}: accepted"),
            Err(error) => Problem::from(error),
        };
        let (found, error) = (problem.status().as_u16(), problem.error());
        assert_eq!(found, *status, "{body}: {}", error.message());
        assert!(
            error.message().contains(part),
            "{body}: {}",
            error.message()
        );
    }
}

#[test]
fn write_malformed_is_refused_with_status_and_place() {
    check(
        &[
            ("", 400, "not JSON"),
            ("{", 400, "not JSON"),
            ("{} x", 400, "trailing"),
            (r#"{"upsert_rows":[{"id":1}]}{}"#, 400, "trailing"),
            (r#"{"upsert_rows":[{"id":tru}]}"#, 400, "not JSON"),
            (r#"{"upsert_rows":{"id":1}, oops"#, 400, "not JSON"),
            (
                r#"{"upsert_rows":[{"id":1,"x":1e999}]}"#,
                400,
                "out of range at line 1 column 33",
            ),
            (
                r#"{"upsert_rows":[{"id":1,"x":[0.5,1e999]}]}"#,
                400,
                "out of range",
            ),
            (
                r#"{"upsert_rows":[{"id":1,"x":"\ud800"}]}"#,
                400,
                "not JSON",
            ),
            (
                r#"{"upsert_rows":[{"id":1,"x":[1,2,],"y":3}]}"#,
                400,
                "not JSON",
            ),
            (
                "{\"upsert_rows\":[{\"id\":1,\"x\":\"a\u{1}b\"}]}",
                400,
                "control character",
            ),
            ("[]", 422, "invalid type: sequence, expected a map"),
            ("{}", 400, "does nothing"),
            (
                r#"{"distance_metric":"cosine_distance"}"#,
                400,
                "does nothing",
            ),
            (
                r#"{"upsert_rows":{"id":1}}"#,
                422,
                "invalid type: map, expected a sequence",
            ),
            (r#"{"upsert_rows":[1]}"#, 422, "`upsert_rows[0]`"),
            (
                r#"{"upsert_rows":[{"id":1},{"x":1}]}"#,
                400,
                "`upsert_rows[1]`: missing `id`",
            ),
            (
                r#"{"upsert_rows":[{"id":1.5}]}"#,
                422,
                "`upsert_rows[0].id`",
            ),
            (r#"{"upsert_rows":[{"id":null}]}"#, 422, "expected an id"),
            (
                r#"{"upsert_rows":[{"id":1,"id":2}]}"#,
                400,
                "duplicate field `id`",
            ),
            (
                r#"{"upsert_rows":[{"id":1,"a":2,"a":3}]}"#,
                400,
                "duplicate field `a`",
            ),
            (r#"{"upsert_rows":[{"id":1,"$dist":2}]}"#, 400, "`$dist`"),
            (
                r#"{"upsert_rows":[{"id":1,"$ttl_seconds":2}]}"#,
                400,
                "not supported",
            ),
            (
                r#"{"upsert_rows":[],"upsert_rows":[]}"#,
                400,
                "duplicate field `upsert_rows`",
            ),
            (
                r#"{"upsert_rows":[],"upsert_columns":{"id":[]}}"#,
                400,
                "found both",
            ),
            (r#"{"upsert_columns":[]}"#, 422, "expected a map"),
            (
                r#"{"upsert_columns":{"a":[1]}}"#,
                400,
                "missing column `id`",
            ),
            (
                r#"{"upsert_columns":{"id":[1,2],"a":[1]}}"#,
                400,
                "expected 2 values",
            ),
            (
                r#"{"upsert_columns":{"id":[1],"a":5}}"#,
                422,
                "`upsert_columns.a`",
            ),
            (
                r#"{"upsert_columns":{"id":[true]}}"#,
                422,
                "`upsert_columns.id[0]`",
            ),
            (r#"{"deletes":"x"}"#, 422, "expected a sequence"),
            (r#"{"deletes":[1,{}]}"#, 422, "`deletes[1]`"),
            (
                r#"{"deletes":[1],"distance_metric":"l2"}"#,
                422,
                "unknown variant `l2`",
            ),
            (
                r#"{"deletes":[1],"upsert_condition":["And",[]]}"#,
                400,
                "`upsert_condition` without",
            ),
            (
                r#"{"upsert_rows":[],"upsert_condition":["a","Lt",{"$ref_new":1}]}"#,
                422,
                "expected the name of an attribute",
            ),
            (
                r#"{"upsert_rows":[],"upsert_condition":["a","Lt",{"$ref_new":"a","b":1}]}"#,
                422,
                "expected `$ref_new` alone, found 2 fields",
            ),
            (
                r#"{"upsert_rows":[],"upsert_condition":["a","Lessish",{"$ref_new":"a"}]}"#,
                422,
                "expected the name of an operator",
            ),
            (
                r#"{"upsert_rows":[],"patch_condition":["And",[]]}"#,
                400,
                "`patch_condition` without `patch_rows`",
            ),
            (
                r#"{"delete_by_filter":["a","Eq",1],"delete_condition":["And",[]]}"#,
                400,
                "`delete_condition` without `deletes`",
            ),
            (
                r#"{"deletes":[1],"return_affected_ids":1}"#,
                422,
                "expected a boolean",
            ),
            (
                r#"{"patch_rows":[{"id":1}],"patch_columns":{"id":[1]}}"#,
                400,
                "expected `patch_rows` or `patch_columns`, found both",
            ),
            (
                r#"{"patch_rows":{"id":[1]}}"#,
                422,
                "invalid type: map, expected a sequence",
            ),
            (
                r#"{"patch_columns":{"id":[1],"a":[]}}"#,
                400,
                "columns differ in length",
            ),
            (
                r#"{"delete_by_filter":["a","Lessish",1]}"#,
                422,
                "`delete_by_filter[1]`",
            ),
            (
                r#"{"patch_by_filter":["a","Eq",1]}"#,
                422,
                "expected a map of `filters` and `patch`",
            ),
            (
                r#"{"patch_by_filter":{"filters":["And",[]]}}"#,
                422,
                "missing field `patch`",
            ),
            (
                r#"{"patch_by_filter":{"filters":["And",[]],"patch":{"id":1}}}"#,
                400,
                "`id` cannot be patched",
            ),
            (
                r#"{"patch_by_filter":{"filters":["And",[]],"patch":{"$a":1}}}"#,
                400,
                "invalid attribute name `$a`",
            ),
            (
                r#"{"deletes":[1],"create_namespace":1}"#,
                422,
                "expected a boolean",
            ),
            (
                r#"{"copy_from_namespace":"x"}"#,
                501,
                "`copy_from_namespace` is not supported",
            ),
            (r#"{"upsert_row":[]}"#, 400, "did you mean `upsert_rows`?"),
            (r#"{"zzz":1}"#, 400, "unknown field `zzz`"),
        ],
        |body| parse_write(body).map(drop),
    );
}

#[test]
fn write_nested_too_deep_is_refused() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"upsert_rows":[{{"id":1,"a":{open}{close}}}]}}"#);
    let error = parse_write(body.as_bytes()).expect_err("too deep");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(
        error.message().contains("recursion limit"),
        "{}",
        error.message()
    );
}

#[test]
fn schema_malformed_or_of_a_later_version_is_refused() {
    check(
        &[
            ("[]", 422, "expected a map"),
            (r#"{"a":"strin"}"#, 422, "unknown type `strin`"),
            (r#"{"a":5}"#, 422, "expected a type name or a map"),
            (r#"{"a":{"filterable":true}}"#, 422, "missing field `type`"),
            (
                r#"{"a":{"type":"int","filterable":"x"}}"#,
                422,
                "`a.filterable`",
            ),
            (
                r#"{"a":{"type":"int","nope":1}}"#,
                400,
                "unknown field `nope`",
            ),
            (
                r#"{"a":{"type":"int","ann":true}}"#,
                400,
                "expected a vector type",
            ),
            (
                r#"{"a":{"type":"[2]f32","ann":{"distance_metric":"x"}}}"#,
                422,
                "unknown variant `x`",
            ),
            (
                r#"{"a":{"type":"[2]f32","filterable":true}}"#,
                400,
                "`filterable`",
            ),
            (r#"{"a":"[0]f32"}"#, 422, "unknown type"),
            (r#"{"a":"[][2]f32"}"#, 400, "not supported"),
            (r#"{"a":"[][2]f16"}"#, 400, "not supported"),
            (r#"{"a":"[2]f64"}"#, 422, "unknown type"),
            (r#"{"a":"[]bytes"}"#, 422, "unknown type"),
            (r#"{"a":"{}f32"}"#, 422, "unknown type"),
            (
                r#"{"a":{"type":"bytes","filterable":true}}"#,
                400,
                "`filterable` is not for bytes",
            ),
            (
                r#"{"a":{"type":"{}f16","filterable":true}}"#,
                400,
                "`filterable` is not for {}f16",
            ),
            (
                r#"{"a":{"type":"{}f16","sparse_knn":true}}"#,
                422,
                "`a.sparse_knn`: invalid type",
            ),
            (
                r#"{"a":{"type":"{}f16","sparse_knn":{}}}"#,
                422,
                "missing field `distance_metric`",
            ),
            (
                r#"{"a":{"type":"{}f16","sparse_knn":{"distance_metric":"cosine_distance"}}}"#,
                422,
                "unknown variant `cosine_distance`",
            ),
            (
                r#"{"a":{"type":"{}f16","sparse_knn":{"distance_metric":"dot_product","x":1}}}"#,
                400,
                "unknown field `x`",
            ),
            (
                r#"{"a":{"type":"int","sparse_knn":{"distance_metric":"dot_product"}}}"#,
                400,
                "expected type {}f16",
            ),
            (r#"{"id":{"drop":true}}"#, 400, "`id` cannot be dropped"),
            (r#"{"a":{"drop":1}}"#, 422, "`a.drop`: invalid type"),
            (
                r#"{"a":{"drop":true,"type":"int"}}"#,
                400,
                "`drop` stands alone",
            ),
            (r#"{"a":{"drop":false}}"#, 422, "missing field `type`"),
            (
                r#"{"a":{"type":"string","full_text_search":true}}"#,
                400,
                "`full_text_search: true`",
            ),
            (
                r#"{"a":{"type":"string","full_text_search":{}}}"#,
                400,
                "full_text_search",
            ),
            (
                r#"{"a":{"type":"string","full_text_search":3}}"#,
                422,
                "full_text_search",
            ),
            (
                r#"{"a":{"type":"string","regex":1}}"#,
                422,
                "`a.regex`: invalid type",
            ),
            (
                r#"{"a":{"type":"string","glob":"x"}}"#,
                422,
                "`a.glob`: invalid type",
            ),
            (
                r#"{"a":{"type":"string","fuzzy":true}}"#,
                400,
                "`fuzzy: true`",
            ),
            (
                r#"{"id":{"type":"string","regex":true}}"#,
                400,
                "`regex` is not for `id`",
            ),
            (
                r#"{"id":"int"}"#,
                400,
                "expected `uint`, `uuid` or `string`",
            ),
            (r#"{"$a":"int"}"#, 400, "invalid attribute name"),
            (r#"{"a":"int","a":"int"}"#, 400, "duplicate field `a`"),
        ],
        |body| parse_schema_body(body).map(drop),
    );
}

#[test]
fn schema_options_turned_off_are_accepted() {
    let body = r#"{"id":"uuid","t":{"type":"string","filterable":false,"full_text_search":false,"regex":null},
        "vector":{"type":"[4]f32","ann":{"distance_metric":"euclidean_squared"}},"w":{"type":"[2]f32","ann":true}}"#;
    let spec = parse_schema_body(body.as_bytes()).expect("valid");
    assert_eq!(spec.id_kind, Some(crate::types::IdKind::Uuid));
    assert_eq!(spec.attributes["t"].filterable, Some(false));
    assert_eq!(spec.attributes["t"].regex, None);
    assert_eq!(
        spec.attributes["vector"].metric,
        Some(DistanceMetric::EuclideanSquared)
    );
    assert_eq!(
        spec.attributes["w"].kind,
        AttributeType::Vector {
            dims: 2,
            element: VectorElement::F32
        }
    );
    assert_eq!(spec.attributes["w"].metric, None);
}

#[test]
fn schema_of_other_types_and_drops_is_accepted() {
    let body = r#"{"b":"bytes","h":"[4]f16","i":{"type":"[4]i8","ann":true},"gone":{"drop":true},"kept":{"type":"int","drop":false},
        "s":{"type":"{}f16","sparse_knn":{"distance_metric":"dot_product"},"filterable":false}}"#;
    let spec = parse_schema_body(body.as_bytes()).expect("valid");
    let kind = |name: &str| spec.attributes[name].kind.to_string();
    assert_eq!(
        ["b", "h", "i", "s", "kept"].map(kind),
        ["bytes", "[4]f16", "[4]i8", "{}f16", "int"]
    );
    assert!(spec.attributes["s"].sparse_knn && !spec.attributes["b"].sparse_knn);
    assert_eq!(spec.drops, ["gone".to_owned()].into());
    assert_eq!(spec.attributes.len(), 5);
}

#[test]
fn schema_options_of_text_are_kept_and_a_bare_type_turns_them_off() {
    let body =
        r#"{"a":"string","b":{"type":"string"},"c":{"type":"[]string","regex":true,"glob":false}}"#;
    let spec = parse_schema_body(body.as_bytes()).expect("valid");
    let options = |name: &str| (spec.attributes[name].regex, spec.attributes[name].glob);
    assert_eq!(options("a"), (Some(false), Some(false)));
    assert_eq!(options("b"), (None, None));
    assert_eq!(options("c"), (Some(true), Some(false)));
}

#[test]
fn write_rows_and_columns_mean_the_same() {
    let rows = r#"{"upsert_rows":[{"id":18446744073709551615,"v":[1,0.5],"t":"x"},{"id":2,"v":[3,4],"t":null}]}"#;
    let columns =
        r#"{"upsert_columns":{"id":[18446744073709551615,2],"v":[[1,0.5],[3,4]],"t":["x",null]}}"#;
    let rows = parse_write(rows.as_bytes()).expect("valid");
    let columns = parse_write(columns.as_bytes()).expect("valid");
    assert_eq!(rows.upserts, columns.upserts);
    assert_eq!(rows.upserts[0].id, RawValue::Uint(u64::MAX));
    let vector = RawValue::Numbers {
        values: vec![3.0, 4.0],
        integers: true,
    };
    assert_eq!(rows.upserts[1].attributes[0], (Arc::from("v"), vector));
    assert_eq!(rows.upserts[1].attributes[1].1, RawValue::Null);
    let shared = Arc::ptr_eq(
        &rows.upserts[0].attributes[0].0,
        &rows.upserts[1].attributes[0].0,
    );
    assert!(shared, "names are shared among rows");
}

#[test]
fn write_integers_beyond_f64_stay_exact() {
    let body =
        r#"{"upsert_rows":[{"id":1,"a":[1,9007199254740993],"b":[],"c":[9007199254740992]}]}"#;
    let batch = parse_write(body.as_bytes()).expect("valid");
    let values: Vec<&RawValue> = batch.upserts[0]
        .attributes
        .iter()
        .map(|(_, value)| value)
        .collect();
    let exact = RawValue::Array(vec![RawValue::Int(1), RawValue::Int(9_007_199_254_740_993)]);
    assert_eq!(values[0], &exact);
    assert_eq!(values[1], &RawValue::Array(Vec::new()));
    assert!(matches!(
        values[2],
        RawValue::Numbers { integers: true, .. }
    ));
}
