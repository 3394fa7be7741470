//! The memory that a parsed body is counted as is never less than what it takes.

use std::mem::size_of;

use serde_json::Value;

use super::meter;
use crate::error::ErrorKind;
use crate::http::dto::json::{parse_object, room};
use crate::http::dto::query::parse_query;
use crate::http::dto::schema::parse_schema_body;
use crate::http::dto::write::parse_write;
use crate::runtime::{MemoryBudget, Meter};
use crate::types::document::{Document, RawValue, WriteBatch};

/// Bytes on the heap of a batch.
fn of_batch(batch: &WriteBatch) -> usize {
    let documents = room::<Document>(batch.upserts.capacity());
    let values: usize = batch.upserts.iter().map(of_document).sum();
    let deletes = room::<RawValue>(batch.deletes.capacity());
    let ids: usize = batch.deletes.iter().map(of_value).sum();
    documents + values + deletes + ids
}

fn of_document(document: &Document) -> usize {
    let attributes = &document.attributes;
    let values: usize = attributes.iter().map(|(_, value)| of_value(value)).sum();
    of_value(&document.id) + room::<(std::sync::Arc<str>, RawValue)>(attributes.capacity()) + values
}

fn of_value(value: &RawValue) -> usize {
    match value {
        RawValue::String(text) => room::<u8>(2 * size_of::<usize>() + text.len()),
        RawValue::Numbers { values, .. } => room::<f64>(values.capacity()),
        RawValue::Array(values) => {
            room::<RawValue>(values.capacity()) + values.iter().map(of_value).sum::<usize>()
        }
        _ => 0,
    }
}

/// Bytes on the heap of a tree, where maps are taken to have the fewest nodes they can.
fn of_tree(value: &Value) -> usize {
    match value {
        Value::String(text) => room::<u8>(text.capacity()),
        Value::Array(values) => {
            room::<Value>(values.capacity()) + values.iter().map(of_tree).sum::<usize>()
        }
        Value::Object(fields) => {
            let names: usize = fields.keys().map(|name| room::<u8>(name.capacity())).sum();
            let nodes = fields.len().div_ceil(11);
            names
                + nodes * room::<(String, Value)>(11)
                + fields.values().map(of_tree).sum::<usize>()
        }
        _ => 0,
    }
}

fn many(part: &str, n: usize) -> String {
    vec![part; n].join(",")
}

/// Bodies of writes: those of every day, then those made to take much memory for few bytes.
fn writes() -> Vec<String> {
    let vector: Vec<String> = (0..256).map(|n| format!("0.{:06}", n * 3_907)).collect();
    let row = format!(
        r#"{{"id":123456,"vector":[{}],"text":"some words"}}"#,
        vector.join(",")
    );
    let columns: Vec<String> = (0..100)
        .map(|n| format!(r#""c{n}":[{}]"#, many("1", 200)))
        .collect();
    vec![
        format!(r#"{{"upsert_rows":[{}]}}"#, many(&row, 50)),
        format!(r#"{{"upsert_rows":[{}]}}"#, many(r#"{"id":1}"#, 5_000)),
        format!(
            r#"{{"upsert_rows":[{}]}}"#,
            many(r#"{"id":1,"a":1}"#, 5_000)
        ),
        format!(
            r#"{{"upsert_rows":[{}]}}"#,
            many(r#"{"id":1,"a":[1],"b":""}"#, 5_000)
        ),
        format!(
            r#"{{"upsert_rows":[{{"id":1,"a":[{}]}}]}}"#,
            many("[]", 20_000)
        ),
        format!(
            r#"{{"upsert_rows":[{{"id":1,"a":[{}]}}]}}"#,
            many(r#""""#, 20_000)
        ),
        format!(
            r#"{{"upsert_rows":[{{"id":1,"a":[{}]}}]}}"#,
            many("[[1]]", 20_000)
        ),
        format!(
            r#"{{"upsert_rows":[{{"id":1,"a":[{},""]}}]}}"#,
            many("1", 20_000)
        ),
        format!(
            r#"{{"upsert_columns":{{"id":[{}],{}}}}}"#,
            many("1", 200),
            columns.join(",")
        ),
        format!(r#"{{"deletes":[{}]}}"#, many("1", 20_000)),
        format!(r#"{{"deletes":[{}]}}"#, many(r#""\n""#, 20_000)),
    ]
}

#[test]
fn write_parsed_takes_no_more_memory_than_was_counted() {
    for body in writes() {
        let meter = meter();
        let batch = parse_write(body.as_bytes(), &meter).expect("valid");
        let (taken, counted) = (of_batch(&batch), meter.charged());
        let start = &body[..60];
        assert!(taken as u64 <= counted, "{start}: {taken} of {counted}");
        assert!(
            counted <= 3 * taken as u64,
            "{start}: {taken} of {counted} is far too much"
        );
        println!(
            "{:5.1} times its bytes: {start}",
            counted as f64 / body.len() as f64
        );
    }
}

#[test]
fn tree_parsed_takes_no_more_memory_than_was_counted() {
    let list = |part: &str| format!(r#"{{"filters":["a","In",[{}]]}}"#, many(part, 20_000));
    let names: Vec<String> = (0..20_000).map(|n| format!(r#""{n}":1"#)).collect();
    for body in [
        list("1"),
        list(r#""""#),
        list("[]"),
        list(r#"{"":1}"#),
        list(r#"[{"a":{"b":1}}]"#),
        format!("{{{}}}", names.join(",")),
    ] {
        let meter = meter();
        let tree = Value::Object(parse_object(body.as_bytes(), &meter).expect("valid"));
        let (taken, counted) = (of_tree(&tree), meter.charged());
        let start = &body[..40];
        assert!(3 * taken as u64 <= counted, "{start}: {taken} of {counted}");
        println!(
            "{:5.1} times its bytes: {start}",
            counted as f64 / body.len() as f64
        );
    }
}

/// Bodies that would take far more memory than their bytes, for each kind of request.
fn refused(parse: impl Fn(&[u8], &Meter) -> crate::error::Result<()>, bodies: &[String]) {
    const LIMIT: u64 = 1 << 20;
    for body in bodies {
        let start = &body[..40];
        let budget = MemoryBudget::new("tests", 1 << 30, 0);
        let meter = Meter::new(budget.clone(), 0, LIMIT);
        let error = parse(body.as_bytes(), &meter).expect_err(start);
        assert_eq!(
            error.kind(),
            ErrorKind::TooLarge,
            "{start}: {}",
            error.message()
        );
        assert!(
            error.message().contains("once parsed"),
            "{}",
            error.message()
        );
        assert!(meter.charged() <= LIMIT, "{start}");
        drop(meter);
        assert_eq!(budget.free_bytes(), 1 << 30, "{start}");
    }
}

#[test]
fn body_that_grows_beyond_its_memory_is_too_large() {
    let columns: Vec<String> = (0..1_000).map(|n| format!(r#""c{n}":[]"#)).collect();
    let wide: Vec<String> = (0..1_000)
        .map(|n| format!(r#""c{n}":[{}]"#, many("1", 30)))
        .collect();
    let long = format!(r#"{{"deletes":["\n{}"]}}"#, "x".repeat(1 << 20));
    let writes: Vec<String> = [
        format!(r#"{{"upsert_rows":[{}]}}"#, many(r#"{"id":1}"#, 100_000)),
        format!(
            r#"{{"upsert_rows":[{{"id":1,"a":[{}]}}]}}"#,
            many("[[]]", 100_000)
        ),
        format!(
            r#"{{"upsert_columns":{{"id":[{}],{}}}}}"#,
            many("1", 30),
            wide.join(",")
        ),
        format!(r#"{{"deletes":[{}]}}"#, many("1", 100_000)),
        format!(r#"{{"schema":[{}]}}"#, many(r#"{"":1}"#, 100_000)),
        format!(r#"{{"upsert_condition":[{}]}}"#, many("1", 100_000)),
        long,
    ]
    .to_vec();
    refused(|body, meter| parse_write(body, meter).map(drop), &writes);
    let trees = [
        format!(r#"{{"filters":[{}]}}"#, many(r#"{"":1}"#, 100_000)),
        format!(r#"{{"rank_by":["v","ANN",[{}]]}}"#, many("1", 100_000)),
    ];
    refused(|body, meter| parse_query(body, meter).map(drop), &trees);
    refused(
        |body, meter| parse_schema_body(body, meter).map(drop),
        &trees,
    );

    // Refused for its columns before anything is made of them: 100 MB of rows were in this.
    let short = format!(
        r#"{{"upsert_columns":{{"id":[{}],{}}}}}"#,
        many("1", 2_000),
        columns.join(",")
    );
    let meter = Meter::new(MemoryBudget::new("tests", 1 << 30, 0), 0, 1 << 20);
    let error = parse_write(short.as_bytes(), &meter).expect_err("columns differ");
    assert_eq!(
        error.kind(),
        ErrorKind::InvalidRequest,
        "{}",
        error.message()
    );
}

#[test]
fn body_nested_too_deep_is_refused_wherever_it_is() {
    let deep = "[".repeat(100_000);
    let maps = r#"{"a":"#.repeat(100_000);
    for nested in [deep, maps] {
        let check = |what: &str, outcome: crate::error::Result<()>| {
            let error = outcome.expect_err(what);
            assert_eq!(
                error.kind(),
                ErrorKind::InvalidRequest,
                "{what}: {}",
                error.message()
            );
            assert!(
                error.message().contains("recursion limit"),
                "{what}: {}",
                error.message()
            );
        };
        for field in ["schema", "upsert_condition", "patch_rows"] {
            let body = format!(r#"{{"{field}":{nested}"#);
            check(field, parse_write(body.as_bytes(), &meter()).map(drop));
        }
        for body in [format!(r#"{{"filters":{nested}"#), nested.clone()] {
            check("query", parse_query(body.as_bytes(), &meter()).map(drop));
            check(
                "schema",
                parse_schema_body(body.as_bytes(), &meter()).map(drop),
            );
        }
    }
}
