//! Every limit of documents: what just fits, and what does not.

use serde_json::{Value as Json, json};

use super::*;
use crate::types::limits;

/// One limit: what it is of, its types, the documents of a size, the size that just fits, and what the
/// refusal of one more says.
struct Limit {
    of: &'static str,
    types: &'static [(&'static str, &'static str)],
    rows: fn(usize) -> Json,
    most: usize,
    refusal: &'static str,
}

fn base64(n_bytes: usize) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(vec![7; n_bytes])
}

fn named(names: impl Iterator<Item = String>, value: &Json) -> Json {
    let mut row = json!({"id": 1});
    for name in names {
        row[name] = value.clone();
    }
    json!([row])
}

/// Text of 8 MiB under each of some names, and text of a size under one more.
fn large(n_rest: usize) -> Json {
    let whole = limits::DOCUMENT_BYTES_MAX / limits::ATTRIBUTE_VALUE_BYTES_MAX - 1;
    let value = json!("x".repeat(limits::ATTRIBUTE_VALUE_BYTES_MAX));
    let mut rows = named((0..whole).map(|at| format!("t{at}")), &value);
    rows[0]["rest"] = json!("x".repeat(n_rest));
    rows[0]["more"] = json!("x".repeat(4_000));
    rows
}

const LIMITS: &[Limit] = &[
    Limit {
        of: "bytes of an id",
        types: &[],
        rows: |size| json!([{"id": "i".repeat(size)}]),
        most: limits::ID_BYTES_MAX,
        refusal: "id of kind string: expected at most 64 bytes, found 65",
    },
    Limit {
        of: "bytes of an attribute's name",
        types: &[],
        // Two bytes each, and one.
        rows: |size| {
            named(
                std::iter::once("é".repeat(size / 2) + &"n".repeat(size % 2)),
                &json!(1),
            )
        },
        most: limits::ATTRIBUTE_NAME_BYTES_MAX,
        refusal: "expected 1 to 128 bytes",
    },
    Limit {
        of: "attributes",
        types: &[],
        rows: |size| named((0..size).map(|at| format!("n{at}")), &json!(1)),
        most: limits::ATTRIBUTES_MAX,
        refusal: "would exceed 1024",
    },
    Limit {
        of: "bytes of a filterable value",
        types: &[],
        rows: |size| json!([{"id": 1, "a": "x".repeat(size)}]),
        most: limits::FILTERABLE_VALUE_BYTES_MAX,
        refusal: "a filterable value has at most 4096 bytes, found 4097",
    },
    Limit {
        of: "bytes of an element of a filterable list",
        types: &[],
        rows: |size| json!([{"id": 1, "a": ["y".repeat(4_000), "x".repeat(size)]}]),
        most: limits::FILTERABLE_VALUE_BYTES_MAX,
        refusal: "a filterable value has at most 4096 bytes, found 4097",
    },
    Limit {
        of: "bytes of a value",
        types: &[("a", "string")],
        rows: |size| json!([{"id": 1, "a": "x".repeat(size)}]),
        most: limits::ATTRIBUTE_VALUE_BYTES_MAX,
        refusal: "a value has at most 8388608 bytes, found 8388609",
    },
    Limit {
        of: "bytes of a list",
        types: &[],
        rows: |size| {
            let mut items = vec!["x".repeat(4_096); size / 4_096];
            items.push("x".repeat(size % 4_096));
            json!([{"id": 1, "a": items}])
        },
        most: limits::ATTRIBUTE_VALUE_BYTES_MAX,
        refusal: "a value has at most 8388608 bytes, found 8388609",
    },
    Limit {
        of: "bytes of bytes",
        types: &[("a", "bytes")],
        rows: |size| json!([{"id": 1, "a": base64(size)}]),
        most: limits::ATTRIBUTE_VALUE_BYTES_MAX,
        refusal: "a value has at most 8388608 bytes, found 8388609",
    },
    Limit {
        of: "bytes of a document",
        types: &[
            ("t0", "string"),
            ("t1", "string"),
            ("t2", "string"),
            ("t3", "string"),
            ("t4", "string"),
            ("t5", "string"),
            ("t6", "string"),
            ("rest", "string"),
            ("more", "string"),
        ],
        rows: large,
        // The id takes 8 bytes.
        most: limits::ATTRIBUTE_VALUE_BYTES_MAX - 4_000 - 8,
        refusal: "a document has at most 67108864 bytes, found 67108865",
    },
    Limit {
        of: "dimensions of a vector",
        types: &[],
        rows: |size| json!([{"id": 1, "vector": vec![0.5; size]}]),
        most: limits::VECTOR_DIMS_MAX,
        refusal: "expected 1 to 10752 dimensions, found 10753",
    },
    Limit {
        of: "entries of a sparse vector",
        types: &[("a", "{}f16")],
        rows: |size| {
            let entries = (0..size).map(|at| (at.to_string(), json!(0.5)));
            json!([{"id": 1, "a": Json::Object(entries.collect())}])
        },
        most: limits::SPARSE_ENTRIES_MAX,
        refusal: "expected at most 1024 entries, found more",
    },
];

#[test]
fn limits_hold_what_just_fits_and_refuse_one_more() {
    for limit in LIMITS {
        let bound = |size: usize| {
            let mut write = write((limit.rows)(size), limit.types);
            if limit.of.ends_with("a vector") {
                write = with_metric(write);
            }
            for spec in write
                .schema
                .iter_mut()
                .flat_map(|spec| spec.attributes.values_mut())
            {
                spec.sparse_knn = spec.kind == AttributeType::Sparse;
                spec.filterable = spec.kind.may_filter().then_some(false);
            }
            bind(&NamespaceSchema::default(), &write)
        };
        if let Err(error) = bound(limit.most) {
            panic!("{} {}: {error}", limit.most, limit.of);
        }
        let Err(error) = bound(limit.most + 1) else {
            panic!("{} {} fit", limit.most + 1, limit.of);
        };
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{}", limit.of);
        assert!(
            error.message().contains(limit.refusal),
            "{}: {error}",
            limit.of
        );
    }
}

#[test]
fn schema_beyond_names_and_dimensions_is_refused() {
    let name = "n".repeat(129);
    for (name, kind, part) in [
        ("", "int", "expected 1 to 128 bytes"),
        (name.as_str(), "int", "expected 1 to 128 bytes"),
        ("$dist", "int", "not starting with `$`"),
        ("b", "bytes", "bytes cannot be filterable"),
        ("s", "{}f16", "{}f16 cannot be filterable"),
        ("v", "[2]i8", "[2]i8 cannot be filterable"),
    ] {
        let mut spec = spec(&[(name, kind)]);
        for attribute in spec.attributes.values_mut() {
            attribute.filterable = (kind != "int").then_some(true);
        }
        let error = bind_schema(&NamespaceSchema::default(), &spec, None).expect_err(kind);
        assert!(error.message().contains(part), "{error}");
    }
    for kind in [
        "[0]f32",
        "[10753]f16",
        "[-1]i8",
        "[1]f64",
        "[1]",
        "[]bytes",
        "{}f32",
        "[ 1]f32",
        "[1]f32 ",
    ] {
        assert_eq!(AttributeType::parse(kind), None, "{kind}");
    }
    for kind in [
        "[1]f32",
        "[10752]f16",
        "[7]i8",
        "bytes",
        "{}f16",
        "[]datetime",
        "[]unknown",
    ] {
        let parsed = AttributeType::parse(kind).map(|kind| kind.to_string());
        assert_eq!(parsed.as_deref(), Some(kind));
    }
}

#[test]
fn ids_of_each_kind_are_kept_whole_and_others_refused() {
    let id_of = |kind: Option<IdKind>, id: Json| {
        let schema = NamespaceSchema {
            id_kind: kind,
            ..NamespaceSchema::default()
        };
        bind(&schema, &write(json!([{"id": id}]), &[])).map(|bound| bound.ids)
    };
    let text = |text: &str| DocId::String(text.into());
    for (kind, id, expected) in [
        (None, json!(u64::MAX), DocId::Uint(u64::MAX)),
        (
            None,
            json!(9_007_199_254_740_993_u64),
            DocId::Uint(9_007_199_254_740_993),
        ),
        (None, json!(0), DocId::Uint(0)),
        (None, json!(""), text("")),
        (None, json!("é".repeat(32)), text(&"é".repeat(32))),
        (Some(IdKind::String), json!("1"), text("1")),
        (
            Some(IdKind::Uuid),
            json!("6BA7B810-9DAD-11D1-80B4-00C04FD430C8"),
            DocId::Uuid(uuid::Uuid::from_u128(
                0x6ba7_b810_9dad_11d1_80b4_00c0_4fd4_30c8,
            )),
        ),
    ] {
        assert_eq!(
            id_of(kind, id.clone()).expect("it fits"),
            [expected],
            "{id}"
        );
    }
    for (kind, id) in [
        (None, json!(-1)),
        (None, json!(1.5)),
        (None, json!(true)),
        (Some(IdKind::Uint), json!("1")),
        (Some(IdKind::String), json!(1)),
        (Some(IdKind::Uuid), json!(1)),
        (Some(IdKind::Uuid), json!("6ba7b810")),
    ] {
        let error = id_of(kind, id.clone()).expect_err("another kind");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{id}");
    }
    let twice = json!([{"id": 1}, {"id": 2}, {"id": 1}]);
    let error = bind(&NamespaceSchema::default(), &write(twice, &[])).expect_err("twice");
    assert!(error.message().contains("id `1` occurs twice"), "{error}");
    let mut mixed = write(json!([{"id": 1}]), &[]);
    mixed.deletes = vec![RawValue::Int(1)];
    let error = bind(&NamespaceSchema::default(), &mixed).expect_err("in two operations");
    assert!(error.message().contains("id `1` occurs twice"), "{error}");
    let mixed = json!([{"id": 1}, {"id": "1"}]);
    assert!(bind(&NamespaceSchema::default(), &write(mixed, &[])).is_err());
}

#[test]
fn datetimes_are_utc_milliseconds_however_they_were_written() {
    for (text, expected) in [
        ("1970-01-01", Some(0)),
        ("1969-12-31T23:59:59.999Z", Some(-1)),
        ("2024-03-02T01:02", Some(1_709_341_320_000)),
        ("2024-03-02T01:02:03", Some(1_709_341_323_000)),
        ("2024-03-02 01:02:03.4567", Some(1_709_341_323_456)),
        ("2024-03-02T01:02:03+02:00", Some(1_709_334_123_000)),
        ("2024-03-02T01:02:03-0230", Some(1_709_350_323_000)),
        ("2024-03-02T01:02:03.000000000Z", Some(1_709_341_323_000)),
        ("2024-02-29", Some(1_709_164_800_000)),
        ("2023-02-29", None),
        ("2024-03", None),
        ("20240302", None),
        ("2024-03-02T25:00", None),
        ("2024-03-02T01:02:03.", None),
        ("2024-03-02T", None),
        ("01:02:03", None),
        ("", None),
    ] {
        let rows = json!([{"id": 1, "t": text}]);
        let bound = bind(
            &NamespaceSchema::default(),
            &write(rows, &[("t", "datetime")]),
        );
        let found = bound.ok().map(|bound| {
            let attr = bound.schema.get("t").expect("declared").id;
            value_at(&bound.rows, attr, 0)
        });
        let expected = expected.map(|ms| Value::Datetime(Timestamp(ms)));
        assert_eq!(found, expected, "{text}");
    }
    // The bare number of milliseconds is none.
    let rows = json!([{"id": 1, "t": 5}]);
    let bound = bind(
        &NamespaceSchema::default(),
        &write(rows, &[("t", "datetime")]),
    );
    assert!(bound.is_err());
}

#[test]
fn values_fit_their_type_or_the_whole_write_is_refused() {
    for (kind, fits, others) in [
        (
            "int",
            vec![json!(-5), json!(i64::MAX)],
            vec![json!(1.5), json!(u64::MAX), json!("1"), json!(true)],
        ),
        (
            "uint",
            vec![json!(0), json!(u64::MAX)],
            vec![json!(-1), json!(0.5), json!("1")],
        ),
        (
            "float",
            vec![json!(1), json!(-0.5), json!(u64::MAX)],
            vec![json!("1"), json!([1.0])],
        ),
        ("bool", vec![json!(true)], vec![json!("true"), json!(1)]),
        (
            "string",
            vec![json!(""), json!("é")],
            vec![json!(1), json!(true), json!(["x"])],
        ),
        (
            "uuid",
            vec![json!("6BA7B810-9DAD-11D1-80B4-00C04FD430C8")],
            vec![json!("6ba7b810"), json!(1)],
        ),
        (
            "[]int",
            vec![json!([]), json!([1, -2])],
            vec![json!(1), json!([1.5]), json!(["1"]), json!([null])],
        ),
        (
            "[]bool",
            vec![json!([true, false])],
            vec![json!([1]), json!({})],
        ),
        ("[]float", vec![json!([1, 0.5])], vec![json!(["x"])]),
    ] {
        for value in fits {
            let rows = json!([{"id": 1, "a": value}]);
            let bound = bind(&NamespaceSchema::default(), &write(rows, &[("a", kind)]));
            assert!(bound.is_ok(), "{kind} {value}");
        }
        for value in others {
            let rows = json!([{"id": 1}, {"id": 2, "a": value}]);
            let bound = bind(&NamespaceSchema::default(), &write(rows, &[("a", kind)]));
            let error = bound.expect_err("another type");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            let place = "upsert row 1 (id 2): attribute `a`: expected";
            assert!(error.message().contains(place), "{kind} {value}: {error}");
        }
    }
}
