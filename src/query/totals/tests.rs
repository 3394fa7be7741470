//! Numbers from columns beside those from rows.

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::{BoundTotals, IndexedTotals, Totals};
use crate::filter::RowMask;
use crate::index::{self, Indexed, Pages, Work};
use crate::query::reply::Found;
use crate::query::request::{Aggregate, Fold, GroupBy, Paging};
use crate::rows::RowsBuilder;
use crate::types::{
    AttrId, AttributeType, DocId, IdKind, NamespaceSchema, RowMap, ScalarType, Value,
};

const N_ROWS: usize = 5_000;

/// A namespace with one attribute of each kind that groups and sums look at, and its indexes.
struct Sample {
    schema: NamespaceSchema,
    batch: RecordBatch,
    file: Bytes,
    indexes: RowMap<AttrId, Indexed>,
}

impl Sample {
    fn new() -> Self {
        let mut schema = NamespaceSchema {
            id_kind: Some(IdKind::Uint),
            ..NamespaceSchema::default()
        };
        let scalar = AttributeType::Scalar;
        for (name, kind, filterable) in [
            ("text", scalar(ScalarType::String), true),
            ("few", scalar(ScalarType::Int), true),
            ("many", scalar(ScalarType::Uint), true),
            ("float", scalar(ScalarType::Float), true),
            ("nothing", scalar(ScalarType::Float), true),
            ("tags", AttributeType::Array(ScalarType::String), true),
            ("hidden", scalar(ScalarType::Int), false),
        ] {
            schema
                .add(name, kind, filterable)
                .expect("a legal attribute");
        }
        let mut builder = RowsBuilder::new(&schema, N_ROWS);
        for row in 0..N_ROWS as u64 {
            let at = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let missing = |one_in: u64, value: Value| match at.is_multiple_of(one_in) {
                true => Value::Null,
                false => value,
            };
            let float = [0.1, -0.0, 1e300, -1e300, 3.5][(at % 5) as usize];
            let cells = [
                missing(7, Value::String(format!("text \u{e9} {}", at % 40).into())),
                missing(11, Value::Int((at % 3).cast_signed() - 1)),
                missing(13, Value::Uint(u64::MAX - at % 900)),
                missing(5, Value::Float(float)),
                Value::Null,
                Value::Array([Value::String("a".into())].into()),
                Value::Int(at.cast_signed()),
            ];
            let cells: Vec<_> = (0..).map(AttrId).zip(cells).collect();
            builder
                .push_row(DocId::Uint(row), &cells)
                .expect("of its types");
        }
        let batch = builder.finish().expect("a legal batch").1;
        let (mut file, mut indexes) = (Vec::new(), RowMap::default());
        for attribute in schema.attributes.values() {
            let indexed = match (attribute.filterable, attribute.id) {
                (false, _) => Indexed::Not,
                (true, AttrId(4)) => Indexed::Absent,
                (true, attr) => {
                    let chunks = std::slice::from_ref(&batch);
                    let start = file.len() as u64;
                    let made = index::build(chunks, attr, attribute.kind, start);
                    let made = made.expect("builds").expect("has an index");
                    made.sections
                        .iter()
                        .for_each(|(_, bytes)| file.extend(bytes));
                    Indexed::By(Arc::new(made.index))
                }
            };
            indexes.insert(attribute.id, indexed);
        }
        Self {
            schema,
            batch,
            file: file.into(),
            indexes,
        }
    }

    fn bind(&self, folds: &[Option<&str>], groups: &[&str], limit: usize) -> Arc<BoundTotals> {
        let fold = |fold: &Option<&str>| match fold {
            None => Fold::Count,
            Some(name) => Fold::Sum((*name).to_owned()),
        };
        let asked = Aggregate {
            folds: (0..)
                .map(|n: u32| n.to_string())
                .zip(folds.iter().map(fold))
                .collect(),
            groups: groups
                .iter()
                .map(|name| GroupBy {
                    label: (*name).to_owned(),
                    attribute: (*name).to_owned(),
                    each: *name == "tags",
                })
                .collect(),
            limit,
            paging: Paging::Off,
            filter: None,
        };
        Arc::new(BoundTotals::bind(&asked, &self.schema).expect("legal"))
    }

    fn begin(&self, plan: &Arc<BoundTotals>, rows: &RowMask) -> Option<IndexedTotals> {
        let lookup = |attr: AttrId| self.indexes.get(&attr).cloned().unwrap_or(Indexed::Absent);
        IndexedTotals::new(plan, Arc::new(rows.clone()), &lookup)
    }

    fn by_columns(&self, plan: &Arc<BoundTotals>, rows: &RowMask) -> Found {
        let mut work = self.begin(plan, rows).expect("columns tell all");
        let found = work.go_on(&mut Pages::whole(&self.file)).expect("reads");
        let totals = found.flatten().expect("few groups");
        totals.finish().expect("finite sums").0
    }

    fn by_rows(&self, plan: &Arc<BoundTotals>, rows: &RowMask) -> Found {
        let mut totals = Totals::new(Arc::clone(plan));
        totals.offer_rows(&self.batch, rows).expect("short keys");
        totals.finish().expect("finite sums").0
    }
}

#[test]
fn numbers_from_columns_are_those_from_rows() {
    let sample = Sample::new();
    let masks = [
        RowMask::all(N_ROWS),
        RowMask::none(N_ROWS),
        RowMask::from_fn(N_ROWS, |row| row % 97 == 5),
        RowMask::from_fn(N_ROWS, |row| (1_000..2_100).contains(&row)),
    ];
    let folds = [
        None,
        Some("few"),
        Some("many"),
        Some("float"),
        Some("nothing"),
        Some("many"),
    ];
    let groups: [&[&str]; 8] = [
        &[],
        &["text"],
        &["few"],
        &["float"],
        &["nothing"],
        &["many", "text"],
        &["few", "nothing", "text", "float"],
        &["text", "text"],
    ];
    for group in groups {
        for mask in &masks {
            for limit in [1, 3, 39, 10_000] {
                let plan = sample.bind(&folds, group, limit);
                let found = sample.by_columns(&plan, mask);
                let expected = sample.by_rows(&plan, mask);
                assert_eq!(
                    format!("{found:?}"),
                    format!("{expected:?}"),
                    "{group:?} {limit}"
                );
            }
        }
    }
}

#[test]
fn numbers_that_columns_do_not_tell_are_left_to_rows() {
    let sample = Sample::new();
    let rows = RowMask::all(N_ROWS);
    for (folds, groups) in [
        (Some("hidden"), &[][..]),
        (None, &["tags"]),
        (None, &["text", "tags"]),
    ] {
        let plan = sample.bind(&[folds], groups, 10);
        assert!(sample.begin(&plan, &rows).is_none(), "{folds:?} {groups:?}");
    }
}

#[test]
fn groups_of_too_many_numbers_are_left_to_rows() {
    let n_rows = 40_000;
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        ..NamespaceSchema::default()
    };
    let kind = AttributeType::Scalar(ScalarType::Uint);
    let attr = schema.add("many", kind, true).expect("a legal attribute");
    let mut builder = RowsBuilder::new(&schema, n_rows);
    for row in 0..n_rows as u64 {
        let cells = [(attr, Value::Uint(row))];
        builder
            .push_row(DocId::Uint(row), &cells)
            .expect("of its types");
    }
    let batch = builder.finish().expect("a legal batch").1;
    let made = index::build(std::slice::from_ref(&batch), attr, kind, 0);
    let made = made.expect("builds").expect("has an index");
    let file: Bytes = made
        .sections
        .into_iter()
        .flat_map(|(_, bytes)| bytes)
        .collect();
    let sample = Sample {
        schema,
        batch,
        file,
        indexes: [(attr, Indexed::By(Arc::new(made.index)))]
            .into_iter()
            .collect(),
    };
    let all = RowMask::all(n_rows);
    for (n_folds, fits) in [(6, true), (7, false)] {
        let plan = sample.bind(&vec![None; n_folds], &["many"], 10);
        let mut work = sample.begin(&plan, &all).expect("columns tell all");
        let found = work.go_on(&mut Pages::whole(&sample.file)).expect("reads");
        assert_eq!(found.expect("is done").is_some(), fits, "{n_folds}");
    }
}
