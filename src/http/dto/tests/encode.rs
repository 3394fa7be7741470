use std::sync::Arc;

use uuid::Uuid;

use crate::error::ErrorKind;
use crate::http::dto::namespace::{
    MetadataVersion, list_view, metadata_view, parse_list, schema_view,
};
use crate::http::dto::query::{AnswerForm, VectorEncoding};
use crate::http::dto::reply::encode_query;
use crate::http::dto::written::encode_write;
use crate::namespace::describe::{Description, NamespacePage};
use crate::query::cursor::Cursor;
use crate::query::reply::{Answers, Coverage, Degraded, Dist, Found, Reply, Row};
use crate::types::document::WriteOutcome;
use crate::types::settings::Settings;
use crate::types::{
    AttributeType, DistanceMetric, DocId, NamespaceId, NamespaceName, NamespaceSchema, Timestamp,
    Value, VectorElement, WalSeq,
};

fn reply() -> Reply {
    let attributes: Vec<(Arc<str>, Value)> = vec![
        ("at".into(), Value::Datetime(Timestamp(1_709_337_600_000))),
        ("n".into(), Value::Int(-9_007_199_254_740_993)),
        ("none".into(), Value::Null),
        (
            "tags".into(),
            Value::Array(vec![Value::String("a".into())].into()),
        ),
        ("u".into(), Value::Uuid(Uuid::from_u128(1))),
        (
            "vector".into(),
            Value::Vector(vec![0.7, 1.0, -2.5e-8].into()),
        ),
    ];
    Reply {
        rows: vec![Row {
            id: DocId::Uint(u64::MAX),
            dist: Some(Dist::Distance(0.1)),
            attributes,
            computed: Vec::new(),
        }],
        coverage: Coverage {
            as_of_seq: WalSeq(4),
            rows_total: 1,
            unindexed_rows: 1,
            ..Coverage::default()
        },
        degraded: None,
    }
}

#[test]
fn replies_of_several_questions_are_a_list() {
    let mut scored = reply().rows.remove(0);
    scored.dist = Some(Dist::Score(1.0 / 61.0));
    scored.attributes.clear();
    scored.computed = vec![
        ("far".into(), Dist::Distance(0.7)),
        ("score".into(), Dist::Score(2.0)),
    ];
    let answers = Answers {
        found: vec![Found::Rows(vec![scored]), Found::Totals(Vec::new())],
        ..Answers::default()
    };
    let form = AnswerForm {
        is_multi: true,
        ..AnswerForm::default()
    };
    let bytes = encode_query(&answers, form, 0).expect("encodes");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let start = r#"{"results":[{"rows":[{"id":18446744073709551615,"$dist":0.01639344262295082,"far":0.7,"score":2.0}]},{"aggregations":{}}],"billing""#;
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn reply_that_lacks_segments_says_so() {
    let mut reply = reply();
    reply.degraded = Some(Degraded {
        segments: vec!["3/0".to_owned(), "9/0".to_owned()],
        rows_missing: 12,
    });
    let bytes = encode_query(&reply.into(), AnswerForm::default(), 0).expect("encodes");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let end = r#","degraded":{"segments":["3/0","9/0"],"rows_missing":12}}"#;
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn reply_of_a_page_says_where_the_next_one_begins_or_that_there_is_none() {
    let next = Cursor {
        namespace: NamespaceId(Uuid::from_u128(1)),
        seq: WalSeq(4),
        place: [1, 2].into(),
    };
    let form = AnswerForm {
        pages_of: Some(9),
        ..AnswerForm::default()
    };
    let text = format!(r#""next_cursor":"{}","billing""#, next.to_text(9));
    for (next, expected) in [
        (Some(next), text.as_str()),
        (None, r#""next_cursor":null,"billing""#),
    ] {
        let answers = Answers {
            next,
            ..reply().into()
        };
        let bytes = encode_query(&answers, form, 0).expect("encodes");
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn reply_is_exact_to_the_byte() {
    let bytes = encode_query(&reply().into(), AnswerForm::default(), 0).expect("encodes");
    let expected = r#"{"rows":[{"id":18446744073709551615,"$dist":0.1,"at":"2024-03-02T00:00:00.000000000Z","n":-9007199254740993,"tags":["a"],"u":"00000000-0000-0000-0000-000000000001","vector":[0.7,1.0,-2.5e-8]}],"billing":{"billable_logical_bytes_queried":256000000,"billable_logical_bytes_returned":57},"performance":{"cache_hit_ratio":1.0,"cache_temperature":"hot","server_total_ms":1,"query_execution_ms":1,"exhaustive_search_count":1,"approx_namespace_size":1,"as_of_seq":4,"round_trips":0,"store_gets":0,"store_bytes":0,"unindexed_rows":1,"segments_searched":0,"segments_pruned":0}}"#;
    assert_eq!(String::from_utf8(bytes).expect("UTF-8"), expected);
}

#[test]
fn reply_base64_vector_is_little_endian_f32() {
    let mut reply = reply();
    reply.rows[0].attributes = vec![("v".into(), Value::Vector(vec![1.0].into()))];
    reply.rows[0].dist = None;
    let form = AnswerForm {
        encoding: VectorEncoding::Base64,
        ..AnswerForm::default()
    };
    let bytes = encode_query(&reply.into(), form, 7).expect("encodes");
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(
        text.starts_with(r#"{"rows":[{"id":18446744073709551615,"v":"AACAPw=="}]"#),
        "{text}"
    );
    assert!(text.contains(r#""server_total_ms":7"#), "{text}");
}

#[test]
fn write_reply_has_counts_of_what_was_asked_only() {
    let outcome = WriteOutcome {
        seq: WalSeq(3),
        rows_upserted: Some(0),
        upserted_ids: vec![DocId::String("a".into())],
        bytes_written: 5,
        ..WriteOutcome::default()
    };
    let bytes = encode_write(&outcome, false, 2).expect("encodes");
    let expected = r#"{"status":"OK","message":"documents upserted","rows_affected":0,"rows_upserted":0,"upserted_ids":["a"],"seq":3,"billing":{"billable_logical_bytes_written":5},"performance":{"server_total_ms":2}}"#;
    assert_eq!(String::from_utf8(bytes).expect("UTF-8"), expected);
}

fn description() -> Description {
    let mut schema = NamespaceSchema {
        id_kind: Some(crate::types::IdKind::Uint),
        metric: Some(DistanceMetric::Cosine),
        ..NamespaceSchema::default()
    };
    let text = AttributeType::parse("string").expect("a type");
    for (name, kind) in [
        ("t", text),
        (
            "vector",
            AttributeType::Vector {
                dims: 2,
                element: VectorElement::F32,
            },
        ),
        (
            "w",
            AttributeType::Vector {
                dims: 3,
                element: VectorElement::F32,
            },
        ),
    ] {
        schema.add(name, kind, true).expect("legal");
    }
    schema.add("u", text, false).expect("legal");
    for (name, kind) in [
        ("b", "bytes"),
        ("s", "{}f16"),
        ("h", "[2]f16"),
        ("l", "[]unknown"),
    ] {
        let kind = AttributeType::parse(kind).expect("a type");
        schema.add(name, kind, true).expect("legal");
    }
    let searched = schema.attributes.get_mut("u").expect("added");
    (searched.regex, searched.glob) = (true, true);
    Description {
        settings: Settings::default(),
        schema: Arc::new(schema),
        rows: 2,
        bytes: 9,
        unindexed_rows: 1,
        unindexed_bytes: 4,
        created_at: Timestamp(0),
        last_write_at: Timestamp(1),
        seq: WalSeq(1),
    }
}

#[test]
fn schema_views_differ_in_nulls_and_metric() {
    let description = description();
    let own = serde_json::json!({
        "id": {"type": "uint", "filterable": null, "full_text_search": null},
        "b": {"type": "bytes", "filterable": false, "full_text_search": null},
        "h": {"type": "[2]f16", "ann": true, "filterable": false, "full_text_search": null},
        "l": {"type": "[]unknown", "filterable": true, "full_text_search": null},
        "s": {"type": "{}f16", "filterable": false, "full_text_search": null,
            "sparse_knn": {"distance_metric": "dot_product"}},
        "t": {"type": "string", "filterable": true, "full_text_search": null},
        "u": {"type": "string", "filterable": false, "full_text_search": null, "regex": true, "glob": true},
        "vector": {"type": "[2]f32", "ann": true, "filterable": null, "full_text_search": null},
        "w": {"type": "[3]f32", "ann": true, "filterable": false, "full_text_search": null},
    });
    assert_eq!(schema_view(&description.schema), own);
    let view = metadata_view(&description, MetadataVersion::V2);
    assert_eq!(view["schema"]["id"], serde_json::json!({"type": "uint"}));
    let vector =
        serde_json::json!({"type": "[2]f32", "ann": {"distance_metric": "cosine_distance"}});
    assert_eq!(view["schema"]["vector"], vector);
    let searched =
        serde_json::json!({"type": "string", "filterable": false, "regex": true, "glob": true});
    assert_eq!(view["schema"]["u"], searched);
    let rest = serde_json::json!({
        "b": {"type": "bytes", "filterable": false},
        "h": {"type": "[2]f16", "ann": {"distance_metric": "cosine_distance"}},
        "l": {"type": "[]unknown", "filterable": true},
        "s": {"type": "{}f16", "filterable": false, "sparse_knn": {"distance_metric": "dot_product"}},
        "t": {"type": "string", "filterable": true},
    });
    for (name, expected) in rest.as_object().expect("a map") {
        assert_eq!(&view["schema"][name], expected, "{name}");
    }
    assert_eq!(view["index"]["status"], "updating");
    assert_eq!(view["encryption"], serde_json::json!({"mode": "default"}));
    let v1 = metadata_view(&description, MetadataVersion::V1);
    assert_eq!(v1["encryption"], serde_json::json!({"sse": true}));
}

#[test]
fn listing_cursor_round_trips_and_wrong_ones_are_refused() {
    let name = NamespaceName::parse("b-2").expect("legal");
    let page = NamespacePage {
        names: vec![name.clone()],
        next_after: Some(name.clone()),
    };
    let view = list_view(&page);
    let cursor = view["next_cursor"]
        .as_str()
        .expect("not the last page")
        .to_owned();
    let parse = |name: &str, value: &str| parse_list(&[(name.to_owned(), value.to_owned())]);
    assert_eq!(parse("cursor", &cursor).expect("ours").after, Some(name));
    assert_eq!(parse("cursor", "").expect("absent").after, None);
    for (name, value) in [
        ("cursor", "???"),
        ("cursor", "YWJj"),
        ("page_size", "0"),
        ("page_size", "1001"),
        ("page_size", "x"),
    ] {
        let error = parse(name, value).expect_err(value);
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}={value}");
    }
    assert!(
        list_view(&NamespacePage::default())
            .get("next_cursor")
            .is_none()
    );
}
