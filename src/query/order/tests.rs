use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use proptest::prelude::*;

use super::{BoundOrder, BoundPer, OrderBy, OrderTop, bind_order};
use crate::filter::RowMask;
use crate::query::request::{LimitPer, OrderKey};
use crate::rows::RowsBuilder;
use crate::types::{
    AttrId, AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Timestamp, Value,
    VectorElement,
};

pub(in crate::query) fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::String),
        ..NamespaceSchema::default()
    };
    for kind in ScalarType::ALL {
        schema
            .add(kind.name(), AttributeType::Scalar(kind), true)
            .expect("a legal attribute");
    }
    schema
}

pub(in crate::query) fn key(name: &str, descending: bool) -> OrderKey {
    OrderKey {
        attribute: name.to_owned(),
        descending,
    }
}

pub(in crate::query) fn text() -> impl Strategy<Value = String> {
    "[\0\u{1}a\u{ff}]{0,3}"
}

/// In the order of `ScalarType::ALL`.
pub(in crate::query) fn cells() -> impl Strategy<Value = Vec<Value>> {
    fn or_null(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
        prop_oneof![1 => Just(Value::Null), 3 => value].boxed()
    }
    vec![
        or_null(text().prop_map(|text| Value::String(text.into()))),
        or_null(prop::sample::select(vec![i64::MIN, -1, 0, 1]).prop_map(Value::Int)),
        or_null(prop::sample::select(vec![0, 1, u64::MAX]).prop_map(Value::Uint)),
        or_null(prop::sample::select(vec![-2.0, -1.0, -0.0, 0.0, 3.5]).prop_map(Value::Float)),
        or_null((0_u128..3).prop_map(|id| Value::Uuid(uuid::Uuid::from_u128(id << 90)))),
        or_null((-2_i64..2).prop_map(|ms| Value::Datetime(Timestamp(ms)))),
        or_null(any::<bool>().prop_map(Value::Bool)),
    ]
}

pub(in crate::query) fn batch_of(rows: &[(String, Vec<Value>)]) -> RecordBatch {
    let mut builder = RowsBuilder::new(&schema(), rows.len());
    for (id, cells) in rows {
        let cells: Vec<_> = (0..).map(AttrId).zip(cells.iter().cloned()).collect();
        let id = DocId::String(id.as_str().into());
        builder.push_row(id, &cells).expect("fits");
    }
    builder.finish().expect("a batch").1
}

proptest! {
    #[test]
    fn order_top_of_any_rows_equals_sorted_prefix(
        rows in prop::collection::btree_map(text(), cells(), 0..60),
        keys in prop::collection::vec((0_usize..8, any::<bool>()), 1..4),
        per in prop::option::of((0_usize..7, prop::option::of(0_usize..7), 1_usize..4)),
        k in 0_usize..20,
        cut in 0_usize..60,
    ) {
        let schema = schema();
        let names: Vec<&str> = ScalarType::ALL.iter().map(|kind| kind.name()).chain(["id"]).collect();
        let keys: Vec<_> = keys.iter().map(|(at, descending)| (*at, *descending)).collect();
        let order: Vec<_> = keys.iter().map(|(at, descending)| key(names[*at], *descending)).collect();
        let bound = bind_order(&order, &schema).expect("binds");

        let rows: Vec<(String, Vec<Value>)> = rows.into_iter().rev().collect();
        let mut expected: Vec<usize> = (0..rows.len()).collect();
        expected.sort_by(|a, b| {
            let (a, b) = (&rows[*a], &rows[*b]);
            keys.iter()
                .map(|(at, descending)| {
                    let order = match a.1.get(*at).zip(b.1.get(*at)) {
                        Some((a, b)) => a.total_cmp(b),
                        None => a.0.cmp(&b.0),
                    };
                    if *descending { order.reverse() } else { order }
                })
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
                .then_with(|| a.0.cmp(&b.0))
        });
        let limit = per.map(|(first, second, limit)| {
            let mut columns = vec![first];
            columns.extend(second.filter(|second| *second != first));
            (columns, limit)
        });
        let per = limit.as_ref().map(|(columns, limit)| {
            let attributes = columns.iter().map(|at| names[*at].to_owned()).collect();
            BoundPer::bind(&LimitPer { attributes, limit: *limit }, &schema).expect("binds")
        });
        if let Some((columns, limit)) = &limit {
            let mut seen: Vec<Vec<&Value>> = Vec::new();
            let alike = |a: &[&Value], b: &[&Value]| {
                a.iter().zip(b).all(|(a, b)| a.total_cmp(b).is_eq())
            };
            expected.retain(|row| {
                let key: Vec<&Value> = columns.iter().map(|at| &rows[*row].1[*at]).collect();
                let before = seen.iter().filter(|other| alike(other, &key)).count();
                seen.push(key);
                before < *limit
            });
        }
        expected.truncate(k);

        let cut = cut.min(rows.len());
        let (left, right) = (batch_of(&rows[..cut]), batch_of(&rows[cut..]));
        let order = Arc::new(BoundOrder { by: OrderBy::Keys(bound), per: per.clone() });
        let mut top = OrderTop::new(Arc::clone(&order), k);
        top.offer_rows(0, &left, &RowMask::all(left.num_rows()));
        let mut other = OrderTop::new(order, k);
        other.offer_rows(1, &right, &RowMask::all(right.num_rows()));
        // Parts merged are as one scan of everything.
        let mut kept = top.into_sorted();
        kept.extend(other.into_sorted());
        super::cut(&mut kept, k, per.as_ref(), |row| &row.alike);
        let found: Vec<usize> = kept.iter().map(|one| one.batch * cut + one.row).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn order_by_what_has_no_order_is_refused() {
    let mut schema = schema();
    schema
        .add("list", AttributeType::Array(ScalarType::Int), true)
        .expect("legal");
    schema
        .add(
            "vector",
            AttributeType::Vector {
                dims: 1,
                element: VectorElement::F32,
            },
            false,
        )
        .expect("legal");
    schema
        .add("hidden", AttributeType::Scalar(ScalarType::Int), false)
        .expect("legal");
    for (keys, expected) in [
        (vec![], "1 to 8 keys, found 0"),
        (vec![key("int", true); 9], "found 9"),
        (vec![key("nope", false)], "attribute `nope` not found"),
        (vec![key("list", false)], "`list` of type []int"),
        (vec![key("vector", false)], "`vector` of type [1]f32"),
        (vec![key("hidden", false)], "`hidden`: it is not filterable"),
    ] {
        let error = bind_order(&keys, &schema).expect_err(expected);
        assert!(error.message().contains(expected), "{error}");
    }
}

/// Of so many rows that some are let go on the way, the last may still be among the first, by its id alone.
#[test]
fn order_top_of_equal_rows_takes_one_that_comes_late_before_the_last_kept() {
    let schema = schema();
    let batch_of = |ids: &[u32]| {
        let mut builder = RowsBuilder::new(&schema, ids.len());
        for id in ids {
            let text = format!("{id:04}");
            let cells = [(AttrId(0), Value::String(text.as_str().into()))];
            let id = DocId::String(text.as_str().into());
            builder.push_row(id, &cells).expect("fits");
        }
        builder.finish().expect("a batch").1
    };
    let even: Vec<u32> = (2_000..6_000).step_by(2).collect();
    let batches = [even.as_slice(), &[2_007]].map(batch_of);
    let none_alike = LimitPer {
        attributes: vec!["string".to_owned()],
        limit: 1,
    };
    let none_alike = BoundPer::bind(&none_alike, &schema).expect("binds");
    for per in [None, Some(none_alike)] {
        let keys = bind_order(&[key("int", true)], &schema).expect("binds");
        let by = OrderBy::Keys(keys);
        let mut top = OrderTop::new(Arc::new(BoundOrder { by, per }), 5);
        for (number, batch) in batches.iter().enumerate() {
            top.offer_rows(number, batch, &RowMask::all(batch.num_rows()));
        }
        let kept = top.into_sorted().into_iter();
        let found: Vec<_> = kept.map(|one| (one.batch, one.row)).collect();
        assert_eq!(found, [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]);
    }
}
