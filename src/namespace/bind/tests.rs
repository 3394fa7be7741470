mod limits;

use std::sync::Arc;

use super::{bind, bind_schema};
use crate::error::ErrorKind;
use crate::filter::raw;
use crate::rows::{RowsBuilder, concat, row_bytes, take_rows, value_at, vector_nulls, vectors};
use crate::types::document::{AttributeSpec, Document, RawValue, SchemaSpec, WriteBatch};
use crate::types::{
    AttributeType, DistanceMetric, DocId, IdKind, NamespaceSchema, Timestamp, Value,
};

fn spec(attributes: &[(&str, &str)]) -> SchemaSpec {
    SchemaSpec {
        attributes: attributes
            .iter()
            .map(|(name, kind)| {
                let kind = AttributeType::parse(kind).expect("a legal type");
                let spec = AttributeSpec::plain(kind);
                ((*name).to_owned(), spec)
            })
            .collect(),
        ..SchemaSpec::default()
    }
}

/// A write of these documents, each an object with an `id`.
fn write(rows: serde_json::Value, schema: &[(&str, &str)]) -> WriteBatch {
    let upserts = rows.as_array().expect("a list").iter().map(|row| {
        let row = row.as_object().expect("an object");
        Document {
            id: raw(&row["id"]),
            attributes: row
                .iter()
                .filter(|(name, _)| *name != "id")
                .map(|(name, value)| (Arc::from(name.as_str()), raw(value)))
                .collect(),
        }
    });
    WriteBatch {
        upserts: upserts.collect(),
        has_upserts: true,
        schema: (!schema.is_empty()).then(|| spec(schema)),
        ..WriteBatch::default()
    }
}

fn with_metric(write: WriteBatch) -> WriteBatch {
    WriteBatch {
        distance_metric: Some(DistanceMetric::Cosine),
        ..write
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("legal JSON")
}

#[test]
fn attributes_undeclared_are_inferred_from_first_value() {
    let rows = r#"[{"id":1,"s":"x","i":1,"f":1.5,"b":true,"as":["x"],"ai":[1],"af":[1,2.5],"ab":[true],"e":[],"late":[],"n":null,"vector":[1,2]},
                   {"id":2,"f":2,"late":["y"],"vector":"AACAPwAAAEA="}]"#;
    let bound = bind(
        &NamespaceSchema::default(),
        &with_metric(write(json(rows), &[])),
    )
    .expect("binds");
    for (name, kind) in [
        ("s", "string"),
        ("i", "int"),
        ("f", "float"),
        ("b", "bool"),
        ("as", "[]string"),
        ("ai", "[]int"),
        ("af", "[]float"),
        ("ab", "[]bool"),
        ("e", "[]unknown"),
        ("late", "[]string"),
        ("vector", "[2]f32"),
    ] {
        assert_eq!(
            bound.schema.get(name).expect(name).kind.to_string(),
            kind,
            "{name}"
        );
    }
    assert_eq!(bound.schema.get("n"), None);
    assert_eq!(bound.schema.id_kind, Some(IdKind::Uint));
    assert_eq!(bound.schema.metric, Some(DistanceMetric::Cosine));
    assert!(bound.schema_changed);
    let attr = |name: &str| bound.schema.get(name).expect(name).id;
    assert_eq!(
        vectors(&bound.rows, attr("vector")).map(|column| column.to_f32()),
        Some(vec![1.0, 2.0, 1.0, 2.0])
    );
    assert_eq!(value_at(&bound.rows, attr("f"), 1), Value::Float(2.0));
    assert_eq!(
        value_at(&bound.rows, attr("late"), 0),
        Value::Array([].into())
    );
    assert_eq!(value_at(&bound.rows, attr("s"), 1), Value::Null);
    let second = 8 + 8 + 1 + 8;
    assert_eq!(row_bytes(&bound.rows, 1), second);
    assert_eq!(bound.bytes, second + row_bytes(&bound.rows, 0));

    let again = bind(&bound.schema, &write(json(rows), &[])).expect("binds");
    assert!(!again.schema_changed);
}

#[test]
fn values_of_declared_types_are_stored_in_them() {
    let rows = r#"[{"id":18446744073709551615,"u":18446744073709551615,"t":"2024-03-02","d":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","f":7}]"#;
    let types = [
        ("u", "uint"),
        ("t", "datetime"),
        ("d", "uuid"),
        ("f", "float"),
    ];
    let bound = bind(&NamespaceSchema::default(), &write(json(rows), &types)).expect("binds");
    let value = |name: &str| value_at(&bound.rows, bound.schema.get(name).expect(name).id, 0);
    assert_eq!(bound.ids, [DocId::Uint(u64::MAX)]);
    assert_eq!(value("u"), Value::Uint(u64::MAX));
    assert_eq!(value("t"), Value::Datetime(Timestamp(1_709_337_600_000)));
    assert_eq!(value("f"), Value::Float(7.0));
    assert!(matches!(value("d"), Value::Uuid(_)));
}

#[test]
fn datetime_text_is_read_as_utc_milliseconds() {
    const DAY: i64 = 1_709_337_600_000;
    for (text, expected) in [
        ("2024-03-02", Some(DAY)),
        ("2024-03-02T01:02", Some(DAY + 3_720_000)),
        ("2024-03-02 01:02:03", Some(DAY + 3_723_000)),
        ("2024-03-02T00:00:00.123456", Some(DAY + 123)),
        ("2024-03-02T00:00:00Z", Some(DAY)),
        ("2024-03-02T02:00:00+02:00", Some(DAY)),
        ("2024-03-01T22:30:00-0130", Some(DAY)),
        ("2024-02-30", None),
        ("2024-3-2", None),
        ("2024-03-02T", None),
        ("2024-03-02T25:00", None),
        ("2024-03-02T01", None),
        ("2024-03-02T00:00.5", None),
        ("12:00", None),
        ("2024-03-02T00:00:00+2", None),
        ("2024\u{e9}03-02", None),
    ] {
        assert_eq!(
            crate::rows::raw::datetime(text),
            expected.map(Timestamp),
            "{text}"
        );
    }
}

#[test]
fn write_that_does_not_fit_is_refused_by_name() {
    let long = "x".repeat(65);
    let wide = "x".repeat(4_097);
    type Case = (
        String,
        &'static [(&'static str, &'static str)],
        &'static str,
    );
    let cases: Vec<Case> = vec![
        (
            r#"[{"id":-1}]"#.into(),
            &[],
            "upsert row 0: id of kind uint: expected 0 to",
        ),
        (
            format!(r#"[{{"id":"{long}"}}]"#),
            &[],
            "at most 64 bytes, found 65",
        ),
        (
            r#"[{"id":1},{"id":"x"}]"#.into(),
            &[],
            "upsert row 1: id of kind uint: found string `x`",
        ),
        (r#"[{"id":1},{"id":1}]"#.into(), &[], "id `1` occurs twice"),
        (
            r#"[{"id":1,"a":1},{"id":2,"a":1.5}]"#.into(),
            &[],
            "upsert row 1 (id 2): attribute `a`: expected int (a signed 64-bit integer), found float 1.5",
        ),
        (
            r#"[{"id":1,"a":1.5}]"#.into(),
            &[("a", "int")],
            "found float 1.5",
        ),
        (
            r#"[{"id":1,"a":1}]"#.into(),
            &[("a", "string")],
            "expected string, found integer 1",
        ),
        (
            r#"[{"id":1,"a":18446744073709551615}]"#.into(),
            &[],
            "signed 64-bit integer",
        ),
        (
            r#"[{"id":1,"a":-1}]"#.into(),
            &[("a", "uint")],
            "found integer -1",
        ),
        (r#"[{"id":1,"a":[1,"x"]}]"#.into(), &[], "found string `x`"),
        (r#"[{"id":1,"a":[1,null]}]"#.into(), &[], "found null"),
        (
            r#"[{"id":1,"a":[1.0]}]"#.into(),
            &[("a", "[]int")],
            "found float 1",
        ),
        (
            r#"[{"id":1,"a":[[1.0]]}]"#.into(),
            &[],
            "found array of array",
        ),
        (r#"[{"id":1,"a":{}}]"#.into(), &[], "found object"),
        (
            r#"[{"id":1,"a":[]},{"id":2,"a":1}]"#.into(),
            &[],
            "expected []unknown, found integer 1",
        ),
        (
            r#"[{"id":1,"$a":null}]"#.into(),
            &[],
            "invalid attribute name `$a`",
        ),
        (
            format!(r#"[{{"id":1,"a":"{wide}"}}]"#),
            &[],
            "at most 4096 bytes, found 4097",
        ),
        (
            r#"[{"id":1,"vector":[1,2]},{"id":2,"vector":[1]}]"#.into(),
            &[],
            "expected [2]f32, found a vector of 1 dimensions",
        ),
        (
            r#"[{"id":1,"vector":[1,2]},{"id":2}]"#.into(),
            &[],
            "every row carries every vector, found nothing",
        ),
        (
            r#"[{"id":1,"vector":[1,2]},{"id":2,"vector":null}]"#.into(),
            &[],
            "every row carries every vector, found nothing",
        ),
        (
            r#"[{"id":1,"vector":[1e39]}]"#.into(),
            &[],
            "expected finite 32-bit floats, found inf at position 0",
        ),
        (
            r#"[{"id":1,"vector":"AADAfw=="}]"#.into(),
            &[],
            "found NaN at position 0",
        ),
        (
            r#"[{"id":1,"vector":"AAAA"}]"#.into(),
            &[],
            "3 bytes, no multiple of 4",
        ),
        (r#"[{"id":1,"vector":"?"}]"#.into(), &[], "base64"),
        (
            r#"[{"id":1,"vector":[]}]"#.into(),
            &[],
            "1 to 10752 dimensions, found 0",
        ),
    ];
    for (rows, schema, expected) in cases {
        let mut write = write(json(&rows), schema);
        if rows.contains("vector") {
            write = with_metric(write);
        }
        let error = bind(&NamespaceSchema::default(), &write).expect_err(expected);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{rows}");
        assert!(error.message().contains(expected), "{rows}: {error}");
    }
}

#[test]
fn write_with_nothing_or_a_lone_condition_is_refused() {
    let empty = NamespaceSchema::default();
    assert!(bind(&empty, &WriteBatch::default()).is_err());
    let mut deletes = WriteBatch {
        deletes: vec![RawValue::Int(1), RawValue::Int(2)],
        has_deletes: true,
        ..WriteBatch::default()
    };
    let bound = bind(&empty, &deletes).expect("deletes alone");
    assert_eq!(
        (
            bound.deletes.len(),
            bound.rows.num_rows(),
            bound.schema_changed
        ),
        (2, 0, false)
    );
    deletes.upsert_condition = Some(crate::types::filter::Filter::And(Vec::new()).into());
    assert!(bind(&empty, &deletes).is_err());
    let mut both = write(json(r#"[{"id":2}]"#), &[]);
    both.deletes = vec![RawValue::Int(2)];
    let error = bind(&empty, &both).expect_err("one id twice");
    assert!(
        error.message().contains("delete 0: id `2` occurs twice"),
        "{error}"
    );
}

#[test]
fn metric_and_vectors_are_fixed_by_first_vector_write() {
    let empty = NamespaceSchema::default();
    let first = r#"[{"id":1,"vector":[1]}]"#;
    let error = bind(&empty, &write(json(first), &[])).expect_err("no metric");
    assert!(
        error.message().contains("`distance_metric` is required"),
        "{error}"
    );
    let error =
        bind(&empty, &with_metric(write(json(r#"[{"id":1}]"#), &[]))).expect_err("no vector");
    assert!(error.message().contains("no vector attribute"), "{error}");

    let schema = bind(&empty, &with_metric(write(json(first), &[])))
        .expect("binds")
        .schema;
    let other = WriteBatch {
        distance_metric: Some(DistanceMetric::DotProduct),
        ..write(json(first), &[])
    };
    let error = bind(&schema, &other).expect_err("another metric");
    assert!(
        error
            .message()
            .contains("expected cosine_distance, found dot_product"),
        "{error}"
    );
    let error = bind_schema(&schema, &spec(&[("w", "[3]f32")]), None).expect_err("a new vector");
    assert!(
        error
            .message()
            .contains("vector attribute `w` cannot be added"),
        "{error}"
    );
    let error = bind_schema(&schema, &spec(&[("vector", "[2]f32")]), None).expect_err("other dims");
    assert!(
        error.message().contains("expected [1]f32, found [2]f32"),
        "{error}"
    );
}

#[test]
fn schema_change_of_filterable_holds_and_of_type_is_refused() {
    let schema = bind_schema(
        &NamespaceSchema::default(),
        &spec(&[("a", "int"), ("l", "[]unknown")]),
        None,
    )
    .expect("binds");
    let mut change = spec(&[("a", "int"), ("l", "[]uuid")]);
    change.attributes.get_mut("a").expect("declared").filterable = Some(false);
    let changed = bind_schema(&schema, &change, None).expect("binds");
    assert!(!changed.get("a").expect("kept").filterable);
    assert_eq!(changed.get("l").expect("kept").kind.to_string(), "[]uuid");
    let kept = bind_schema(&changed, &spec(&[("a", "int")]), None).expect("binds");
    assert_eq!(kept, changed);
    let error = bind_schema(&schema, &spec(&[("a", "uint")]), None).expect_err("another type");
    assert!(
        error.message().contains("expected int, found uint"),
        "{error}"
    );
    let uuid = SchemaSpec {
        id_kind: Some(IdKind::Uuid),
        ..SchemaSpec::default()
    };
    let error = bind_schema(
        &NamespaceSchema {
            id_kind: Some(IdKind::Uint),
            ..schema
        },
        &uuid,
        None,
    );
    assert!(
        error
            .expect_err("another id kind")
            .message()
            .contains("expected uint, found uuid")
    );
}

#[test]
fn schema_options_of_text_decide_default_of_filterable_and_merge() {
    let with = |kind: &str, filterable, regex, glob| {
        let mut spec = spec(&[("a", kind)]);
        let one = spec.attributes.get_mut("a").expect("declared");
        (one.filterable, one.regex, one.glob) = (filterable, regex, glob);
        spec
    };
    let after = |steps: &[SchemaSpec]| {
        let mut schema = NamespaceSchema::default();
        for step in steps {
            schema = bind_schema(&schema, step, None).expect("binds");
        }
        let one = schema.get("a").expect("declared");
        (one.filterable, one.regex, one.glob)
    };
    let (on, off) = (Some(true), Some(false));
    let plain = with("string", None, None, None);
    let regex = with("string", None, on, None);
    let bare = with("string", None, off, off);
    for (steps, expected) in [
        (vec![plain.clone()], (true, false, false)),
        (vec![regex.clone()], (false, true, false)),
        (vec![with("[]string", None, None, on)], (false, false, true)),
        (vec![with("string", on, on, on)], (true, true, true)),
        (vec![with("string", None, off, None)], (true, false, false)),
        // A later declaration changes what it names, and no more.
        (vec![plain.clone(), regex.clone()], (true, true, false)),
        (vec![regex.clone(), plain.clone()], (false, true, false)),
        (
            vec![regex.clone(), with("string", None, None, on)],
            (false, true, true),
        ),
        (vec![regex, bare.clone()], (false, false, false)),
        (vec![plain, bare], (true, false, false)),
    ] {
        assert_eq!(after(&steps), expected, "{steps:?}");
    }
    for (kind, regex, glob) in [
        ("int", on, None),
        ("[]uuid", None, on),
        ("[2]f32", on, None),
    ] {
        let spec = with(kind, None, regex, glob);
        let error = bind_schema(&NamespaceSchema::default(), &spec, None).expect_err(kind);
        let message = error.message();
        assert!(
            message.contains("needs type string or []string"),
            "{message}"
        );
    }
}

#[test]
fn concat_of_older_batches_aligns_them_to_grown_schema() {
    let first = bind(
        &NamespaceSchema::default(),
        &write(json(r#"[{"id":1,"l":[]},{"id":2}]"#), &[]),
    )
    .expect("binds");
    let second = r#"[{"id":3,"l":["x"],"a":1,"vector":[4,5]}]"#;
    let second = bind(&first.schema, &with_metric(write(json(second), &[]))).expect("binds");
    let schema = second.schema;
    let attr = |name: &str| schema.get(name).expect(name).id;
    let joined =
        concat(&[first.rows.slice(1, 1), first.rows, second.rows], &schema).expect("joins");
    crate::rows::layout::check(&joined).expect("the layout");
    let lists: Vec<_> = (0..4)
        .map(|row| value_at(&joined, attr("l"), row))
        .collect();
    let filled = Value::Array([Value::String("x".into())].into());
    assert_eq!(
        lists,
        [Value::Null, Value::Array([].into()), Value::Null, filled]
    );
    assert_eq!(
        vectors(&joined, attr("vector")).expect("a column").to_f32()[6..],
        [4.0, 5.0]
    );
    assert_eq!(
        vector_nulls(&joined, attr("vector"))
            .expect("three without")
            .null_count(),
        3
    );
    let sliced = joined.slice(2, 2);
    assert_eq!(
        vectors(&sliced, attr("vector")).map(|column| column.to_f32()),
        Some(vec![0.0, 0.0, 4.0, 5.0])
    );
    let taken = take_rows(&joined, &[3, 0]).expect("in range");
    assert_eq!(
        vectors(&taken, attr("vector")).expect("a column").to_f32()[..2],
        [4.0, 5.0]
    );
    assert!(take_rows(&joined, &[4]).is_err());
    let none = concat(&[], &schema).expect("joins");
    assert_eq!(
        none,
        RowsBuilder::new(&schema, 0).finish().expect("a batch").1
    );
}
