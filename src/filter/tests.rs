mod glob;
mod language;
mod prune;
mod text;

use arrow::array::RecordBatch;
use proptest::prelude::*;
use serde_json::json;

use super::{RowMask, bind, eval};
use crate::rows::{RowsBuilder, take_rows};
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter, ListOp, PatternOp};
use crate::types::{
    AttrId, AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Timestamp, Value,
    VectorElement,
};

/// One attribute of every scalar and array type, named after it, one unknown list, one vector, and one
/// that is not filterable.
fn schema(id_kind: IdKind) -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(id_kind),
        ..NamespaceSchema::default()
    };
    for kind in ScalarType::ALL {
        for kind in [AttributeType::Scalar(kind), AttributeType::Array(kind)] {
            schema
                .add(&kind.to_string(), kind, true)
                .expect("a legal attribute");
        }
    }
    for (name, kind, filterable) in [
        ("unknown", AttributeType::ArrayUnknown, true),
        (
            "vector",
            AttributeType::Vector {
                dims: 2,
                element: VectorElement::F32,
            },
            false,
        ),
        ("hidden", AttributeType::Scalar(ScalarType::Int), false),
    ] {
        schema
            .add(name, kind, filterable)
            .expect("a legal attribute");
    }
    for name in ["string", "[]string"] {
        schema.attributes.get_mut(name).expect("declared").regex = true;
    }
    schema
}

/// Few distinct values, so that equality, order and membership all happen often.
fn scalar(kind: ScalarType) -> BoxedStrategy<Value> {
    match kind {
        ScalarType::String => prop::sample::select(vec!["", "a", "ab", "b", "\u{e9}", "\0"])
            .prop_map(|text| Value::String(text.into()))
            .boxed(),
        ScalarType::Int => prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX])
            .prop_map(Value::Int)
            .boxed(),
        ScalarType::Uint => prop::sample::select(vec![0, 1, u64::MAX])
            .prop_map(Value::Uint)
            .boxed(),
        ScalarType::Float => prop::sample::select(vec![-1.5, -0.0, 0.0, 2.0, f64::MAX])
            .prop_map(Value::Float)
            .boxed(),
        ScalarType::Uuid => (0_u128..3)
            .prop_map(|id| Value::Uuid(uuid::Uuid::from_u128(id << 64)))
            .boxed(),
        ScalarType::Datetime => (-2_i64..2)
            .prop_map(|second| Value::Datetime(Timestamp(second * 1_000)))
            .boxed(),
        ScalarType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
    }
}

fn cell(kind: AttributeType) -> BoxedStrategy<Value> {
    let present = match kind {
        AttributeType::Scalar(kind) => scalar(kind),
        AttributeType::Array(kind) => prop::collection::vec(scalar(kind), 0..3)
            .prop_map(|items| Value::Array(items.into()))
            .boxed(),
        AttributeType::ArrayUnknown => Just(Value::Array([].into())).boxed(),
        AttributeType::Bytes => Just(Value::Bytes([7, 0].into())).boxed(),
        AttributeType::Sparse => Just(Value::Sparse([("a".into(), 0.5)].into())).boxed(),
        AttributeType::Vector { dims, .. } => {
            prop::collection::vec(-1.0_f32..1.0, dims as usize..=dims as usize)
                .prop_map(|items| Value::Vector(items.into()))
                .boxed()
        }
    };
    prop_oneof![1 => Just(Value::Null), 2 => present].boxed()
}

/// Writes a value as a client would.
fn as_raw(value: &Value) -> RawValue {
    match value {
        Value::Null | Value::Bytes(_) | Value::Sparse(_) | Value::Vector(_) => RawValue::Null,
        Value::Bool(value) => RawValue::Bool(*value),
        Value::Int(value) => RawValue::Int(*value),
        Value::Uint(value) => i64::try_from(*value).map_or(RawValue::Uint(*value), RawValue::Int),
        Value::Float(value) => RawValue::Float(*value),
        Value::Datetime(value) => RawValue::String(value.to_rfc3339().into()),
        Value::Uuid(value) => RawValue::String(value.to_string().into()),
        Value::String(value) => RawValue::String(value.clone()),
        Value::Array(items) => RawValue::Array(items.iter().map(as_raw).collect()),
    }
}

type Row = (u64, Vec<Value>);

fn rows(schema: &NamespaceSchema) -> impl Strategy<Value = Vec<Row>> + use<> {
    let mut kinds: Vec<_> = schema
        .attributes
        .values()
        .map(|one| (one.id, one.kind))
        .collect();
    kinds.sort();
    let cells: Vec<_> = kinds.into_iter().map(|(_, kind)| cell(kind)).collect();
    prop::collection::vec((0_u64..6, cells), 0..90)
}

fn id_of(kind: IdKind, id: u64) -> (DocId, Value) {
    let uuid = uuid::Uuid::from_u128(u128::from(id) << 100);
    let text = id.to_string();
    match kind {
        IdKind::Uint => (DocId::Uint(id), Value::Uint(id)),
        IdKind::Uuid => (DocId::Uuid(uuid), Value::Uuid(uuid)),
        IdKind::String => (
            DocId::String(text.as_str().into()),
            Value::String(text.as_str().into()),
        ),
    }
}

fn leaf(name: String, value: BoxedStrategy<Value>, ordered: bool) -> BoxedStrategy<Filter> {
    let ops = if ordered { 6 } else { 2 };
    let ops = vec![
        CompareOp::Eq,
        CompareOp::NotEq,
        CompareOp::Lt,
        CompareOp::Lte,
        CompareOp::Gt,
        CompareOp::Gte,
    ][..ops]
        .to_vec();
    (prop::sample::select(ops), value)
        .prop_map(move |(op, value)| Filter::Compare {
            attribute: name.clone(),
            op,
            value: as_raw(&value),
        })
        .boxed()
}

fn membership(name: String, element: BoxedStrategy<Value>) -> BoxedStrategy<Filter> {
    (prop::collection::vec(element, 0..4), any::<bool>())
        .prop_map(move |(values, negated)| Filter::In {
            attribute: name.clone(),
            values: values.iter().map(as_raw).collect(),
            negated,
        })
        .boxed()
}

fn list_test(
    name: String,
    element: BoxedStrategy<Value>,
    list: BoxedStrategy<Value>,
) -> BoxedStrategy<Filter> {
    (prop::sample::select(ListOp::ALL.to_vec()), element, list)
        .prop_map(move |(op, element, list)| {
            let takes_list = matches!(op, ListOp::ContainsAny | ListOp::NotContainsAny);
            Filter::List {
                attribute: name.clone(),
                op,
                value: as_raw(if takes_list { &list } else { &element }),
            }
        })
        .boxed()
}

/// Patterns, and what they mean, of globs and of regular expressions.
type Meaning = fn(&str) -> bool;
const GLOBS: [(&str, Meaning); 5] = [
    ("*", |_| true),
    ("", str::is_empty),
    ("a*", |text| text.starts_with('a')),
    ("?", |text| text.chars().count() == 1),
    ("[!a]", |text| text.chars().count() == 1 && text != "a"),
];
const REGEXES: [(&str, Meaning); 4] = [
    ("b$", |text| text.ends_with('b')),
    ("", |_| true),
    ("^[^a]", |text| !text.is_empty() && !text.starts_with('a')),
    ("(?i)A", |text| text.contains('a')),
];

fn pattern_test(name: &'static str, may_be_regex: bool) -> BoxedStrategy<Filter> {
    let mut known = Vec::new();
    for op in PatternOp::ALL {
        let (globs, regexes) = (GLOBS.as_slice(), REGEXES.as_slice());
        let patterns = if op == PatternOp::Regex {
            regexes
        } else {
            globs
        };
        if op != PatternOp::Regex || may_be_regex {
            known.extend(patterns.iter().map(|(pattern, _)| (op, *pattern)));
        }
    }
    prop::sample::select(known)
        .prop_map(move |(op, pattern)| Filter::Pattern {
            attribute: name.to_owned(),
            op,
            value: RawValue::String(pattern.into()),
        })
        .boxed()
}

fn filters(id_kind: IdKind) -> impl Strategy<Value = Filter> {
    let mut leaves = Vec::new();
    for kind in ScalarType::ALL {
        let (one, list) = (AttributeType::Scalar(kind), AttributeType::Array(kind));
        leaves.push(leaf(one.to_string(), cell(one), true));
        leaves.push(leaf(list.to_string(), cell(list), false));
        leaves.push(membership(one.to_string(), scalar(kind)));
        leaves.push(membership(list.to_string(), scalar(kind)));
        let items = prop::collection::vec(scalar(kind), 0..3);
        let items = items.prop_map(Value::from_iter).boxed();
        leaves.push(list_test(list.to_string(), scalar(kind), items));
    }
    leaves.push(pattern_test("string", true));
    leaves.push(pattern_test("[]string", true));
    leaves.push(pattern_test("unknown", false));
    if id_kind == IdKind::String {
        leaves.push(pattern_test("id", false));
    }
    leaves.push(leaf(
        "unknown".to_owned(),
        cell(AttributeType::ArrayUnknown),
        false,
    ));
    let id = (0_u64..6).prop_map(move |id| id_of(id_kind, id).1).boxed();
    let id_or_null = prop_oneof![1 => Just(Value::Null), 4 => id.clone()].boxed();
    leaves.push(leaf("id".to_owned(), id_or_null, true));
    leaves.push(membership("id".to_owned(), id));
    prop::strategy::Union::new(leaves).prop_recursive(3, 12, 3, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            many.clone().prop_map(Filter::And),
            many.prop_map(Filter::Or),
            inner.prop_map(|child| Filter::Not(Box::new(child))),
        ]
    })
}

/// Reads back what `as_raw` wrote, for an attribute whose values look like `kind`.
fn from_raw(kind: AttributeType, raw: &RawValue) -> Value {
    let text = |text: &str| match kind {
        AttributeType::Scalar(ScalarType::Datetime)
        | AttributeType::Array(ScalarType::Datetime) => {
            let time = chrono::DateTime::parse_from_rfc3339(text).expect("written by as_raw");
            Value::Datetime(Timestamp(time.timestamp_millis()))
        }
        AttributeType::Scalar(ScalarType::Uuid) | AttributeType::Array(ScalarType::Uuid) => {
            Value::Uuid(text.parse().expect("written by as_raw"))
        }
        _ => Value::String(text.into()),
    };
    let unsigned = matches!(
        kind,
        AttributeType::Scalar(ScalarType::Uint) | AttributeType::Array(ScalarType::Uint)
    );
    match raw {
        RawValue::Null => Value::Null,
        RawValue::Bool(value) => Value::Bool(*value),
        RawValue::Int(value) if unsigned => Value::Uint(value.cast_unsigned()),
        RawValue::Int(value) => Value::Int(*value),
        RawValue::Uint(value) => Value::Uint(*value),
        RawValue::Float(value) => Value::Float(*value),
        RawValue::String(value) => text(value),
        RawValue::Array(items) => items.iter().map(|item| from_raw(kind, item)).collect(),
        other => panic!("as_raw writes no {other:?}"),
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::Array(items.into_iter().collect())
    }
}

/// The referee: one row at a time, straight from the meaning of each operator.
fn matches(filter: &Filter, look: &dyn Fn(&str) -> (AttributeType, Value)) -> bool {
    match filter {
        Filter::And(children) => children.iter().all(|child| matches(child, look)),
        Filter::Or(children) => children.iter().any(|child| matches(child, look)),
        Filter::Not(child) => !matches(child, look),
        Filter::Compare {
            attribute,
            op,
            value,
        } => {
            let (kind, found) = look(attribute);
            // `total_cmp` puts null below everything, which is all there is to say about null.
            let order = found.total_cmp(&from_raw(kind, value));
            match op {
                CompareOp::Eq => order.is_eq(),
                CompareOp::NotEq => order.is_ne(),
                CompareOp::Lt => order.is_lt(),
                CompareOp::Lte => order.is_le(),
                CompareOp::Gt => order.is_gt(),
                CompareOp::Gte => order.is_ge(),
            }
        }
        Filter::In {
            attribute,
            values,
            negated,
        } => {
            let (kind, found) = look(attribute);
            let is_member = |one: &Value| {
                values
                    .iter()
                    .any(|value| one.total_cmp(&from_raw(kind, value)).is_eq())
            };
            let inside = match &found {
                Value::Null => false,
                Value::Array(items) => items.iter().any(is_member),
                one => is_member(one),
            };
            inside != *negated
        }
        Filter::List {
            attribute,
            op,
            value,
        } => {
            let (kind, found) = look(attribute);
            let Value::Array(items) = &found else {
                return matches!(op, ListOp::NotContains | ListOp::NotContainsAny);
            };
            let wanted = match from_raw(kind, value) {
                Value::Array(wanted) => wanted.to_vec(),
                one => vec![one],
            };
            let any = |test: fn(std::cmp::Ordering) -> bool| {
                let hit = |item: &Value| wanted.iter().any(|one| test(item.total_cmp(one)));
                items.iter().any(hit)
            };
            match op {
                ListOp::Contains | ListOp::ContainsAny => any(std::cmp::Ordering::is_eq),
                ListOp::NotContains | ListOp::NotContainsAny => !any(std::cmp::Ordering::is_eq),
                ListOp::AnyLt => any(std::cmp::Ordering::is_lt),
                ListOp::AnyLte => any(std::cmp::Ordering::is_le),
                ListOp::AnyGt => any(std::cmp::Ordering::is_gt),
                ListOp::AnyGte => any(std::cmp::Ordering::is_ge),
            }
        }
        Filter::Pattern {
            attribute,
            op,
            value,
        } => {
            let RawValue::String(pattern) = value else {
                panic!("patterns are text");
            };
            let known: &[(&str, Meaning)] = match op {
                PatternOp::Regex => &REGEXES,
                _ => &GLOBS,
            };
            let (_, meaning) = known
                .iter()
                .find(|(known, _)| *known == &**pattern)
                .expect("a pattern of the table");
            let fits = |value: &Value| match value {
                Value::String(text) => meaning(text),
                _ => false,
            };
            let inside = match look(attribute).1 {
                Value::Array(items) => items.iter().any(fits),
                one => fits(&one),
            };
            inside != matches!(op, PatternOp::NotGlob | PatternOp::NotIGlob)
        }
    }
}

fn batch_of(schema: &NamespaceSchema, id_kind: IdKind, rows: &[Row]) -> RecordBatch {
    let mut builder = RowsBuilder::new(schema, rows.len());
    for (id, cells) in rows {
        let attributes: Vec<_> = (0..).map(AttrId).zip(cells.iter().cloned()).collect();
        builder
            .push_row(id_of(id_kind, *id).0, &attributes)
            .expect("values of their types");
    }
    builder.finish().expect("a legal batch").1
}

fn ask_referee(schema: &NamespaceSchema, kind: IdKind, filter: &Filter, rows: &[Row]) -> RowMask {
    RowMask::from_fn(rows.len(), |row| {
        let (id, cells) = &rows[row];
        matches(filter, &|name| match schema.get(name) {
            Some(found) => (found.kind, cells[found.id.0 as usize].clone()),
            None => {
                let scalar = match kind {
                    IdKind::Uint => ScalarType::Uint,
                    IdKind::Uuid => ScalarType::Uuid,
                    IdKind::String => ScalarType::String,
                };
                (AttributeType::Scalar(scalar), id_of(kind, *id).1)
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn eval_of_any_filter_equals_row_by_row_referee(
        (kind, rows, filter) in prop::sample::select(vec![IdKind::Uint, IdKind::Uuid, IdKind::String])
            .prop_flat_map(|kind| (Just(kind), rows(&schema(kind)), filters(kind))),
        cut in 0_usize..90,
    ) {
        let schema = schema(kind);
        let batch = batch_of(&schema, kind, &rows);
        let bound = bind(&filter, &schema).expect("a filter that fits its schema");
        let expected = ask_referee(&schema, kind, &filter, &rows);
        prop_assert_eq!(&eval(&bound, &batch), &expected);

        // A slice starts in the middle of words, lists and null bitmaps.
        let cut = cut.min(rows.len());
        let sliced = batch.slice(cut, rows.len() - cut);
        prop_assert_eq!(
            eval(&bound, &sliced),
            ask_referee(&schema, kind, &filter, &rows[cut..])
        );

        // A batch without any attribute column reads as all null.
        let bare = batch.project(&[0]).expect("the id column");
        let nulls: Vec<Row> = rows
            .iter()
            .map(|(id, cells)| (*id, vec![Value::Null; cells.len()]))
            .collect();
        prop_assert_eq!(eval(&bound, &bare), ask_referee(&schema, kind, &filter, &nulls));

        let taken = take_rows(&batch, &(0..rows.len() as u32).rev().collect::<Vec<_>>());
        prop_assert_eq!(eval(&bound, &taken.expect("rows in range")).count(), expected.count());
    }
}

#[test]
fn raw_of_numbers_is_flat_only_where_f64_is_exact() {
    let flat = |values: &[f64], integers| RawValue::Numbers {
        values: values.to_vec(),
        integers,
    };
    assert_eq!(super::raw(&json!([1, 2])), flat(&[1.0, 2.0], true));
    assert_eq!(super::raw(&json!([1, 2.5])), flat(&[1.0, 2.5], false));
    for number in [i64::MAX, (1 << 53) + 1] {
        let expected = RawValue::Array(vec![RawValue::Int(number)]);
        assert_eq!(super::raw(&json!([number])), expected);
    }
    let expected = RawValue::Array(vec![RawValue::Uint(u64::MAX)]);
    assert_eq!(super::raw(&json!([u64::MAX])), expected);
    assert_eq!(super::raw(&json!([])), RawValue::Array(Vec::new()));
}

#[test]
fn mask_of_partial_word_keeps_bits_within_length() {
    let mut mask = RowMask::none(70);
    mask.not();
    assert_eq!(mask, RowMask::all(70));
    assert_eq!(
        (mask.count(), mask.contains(69), mask.contains(70)),
        (70, true, false)
    );
    mask.and(&RowMask::from_fn(70, |row| row % 23 == 0));
    assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 23, 46, 69]);
    mask.or(&RowMask::all(70));
    assert_eq!(mask.count(), 70);
}

#[test]
fn mask_of_the_first_rows_has_those_alone() {
    for len in [0, 1, 63, 64, 65, 200] {
        for count in [0, 1, 63, 64, 65, 127, 128, 200, 500] {
            let expected = RowMask::from_fn(len, |row| row < count);
            assert_eq!(RowMask::first(count, len), expected, "{count} of {len}");
        }
    }
}
