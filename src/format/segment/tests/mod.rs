//! Segments, sealed and read back in every way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod damage;
mod random;
mod reads;
mod reindex;

use std::ops::Range;

use arrow::array::RecordBatch;
use bytes::Bytes;
use uuid::Uuid;

use super::columns::read_all;
use super::*;
use crate::rows::{self, RowsBuilder};
use crate::types::{
    AttrId, AttributeType, DistanceMetric, DocId, IdKind, NamespaceSchema, ScalarType, Timestamp,
    Value, VectorElement,
};

/// Small numbers from a seed, the same on every machine.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn scalar(seed: &mut Seed, kind: ScalarType) -> Value {
    match kind {
        ScalarType::String => {
            let length = [0, 3, 20, 90][seed.below(4) as usize];
            let letters = ['a', 'z', 'ü', '\u{10ffff}'];
            let text: String = (0..length)
                .map(|_| letters[seed.below(4) as usize])
                .collect();
            Value::String(text.into())
        }
        ScalarType::Int => Value::Int(seed.next() as i64 >> seed.below(64)),
        ScalarType::Uint => Value::Uint(seed.next() >> seed.below(64)),
        ScalarType::Float => Value::Float(seed.next() as i64 as f64 / 1e9),
        ScalarType::Uuid => Value::Uuid(Uuid::from_u64_pair(seed.next(), seed.next())),
        ScalarType::Datetime => Value::Datetime(Timestamp(seed.next() as i64 >> 20)),
        ScalarType::Bool => Value::Bool(seed.below(2) == 1),
    }
}

/// A value of a type, or null now and then.
fn value(seed: &mut Seed, kind: AttributeType) -> Value {
    if seed.below(5) == 0 {
        return Value::Null;
    }
    match kind {
        AttributeType::Scalar(kind) => scalar(seed, kind),
        AttributeType::Array(kind) => {
            let length = seed.below(4);
            Value::Array((0..length).map(|_| scalar(seed, kind)).collect())
        }
        AttributeType::ArrayUnknown => Value::Array([].into()),
        AttributeType::Bytes => {
            let length = [0, 1, 33, 3_000][seed.below(4) as usize];
            Value::Bytes((0..length).map(|_| seed.below(256) as u8).collect())
        }
        AttributeType::Sparse => {
            let mut dims: Vec<u64> = (0..seed.below(5)).map(|_| seed.below(90)).collect();
            dims.sort_unstable_by_key(u64::to_string);
            dims.dedup();
            let entry = |dim: u64| (dim.to_string().into(), (dim as f32 - 40.0) / 8.0);
            Value::Sparse(dims.into_iter().map(entry).collect())
        }
        AttributeType::Vector { dims, element } => {
            let numbers = (0..dims).map(|_| match element {
                VectorElement::F32 => seed.below(1 << 24) as f32 / 1e5 - 80.0,
                // Both widths hold these.
                VectorElement::F16 | VectorElement::I8 => seed.below(256) as f32 - 128.0,
            });
            Value::Vector(numbers.collect())
        }
    }
}

fn id(kind: IdKind, number: u64) -> DocId {
    match kind {
        IdKind::Uint => DocId::Uint(number),
        IdKind::Uuid => DocId::Uuid(Uuid::from_u64_pair(
            number.wrapping_mul(0x9e37_79b9),
            number,
        )),
        IdKind::String => DocId::String(format!("document-{number}-é").into()),
    }
}

fn schema(kind: IdKind, attributes: &[AttributeType]) -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(kind),
        metric: Some(DistanceMetric::Cosine),
        ..NamespaceSchema::default()
    };
    for (at, attribute) in attributes.iter().enumerate() {
        // Names in another order than the numbers, and with what Parquet gives a meaning to.
        let name = format!("{}.at tribute \"{at}\"", (b'z' - at as u8 % 26) as char);
        schema.add(&name, *attribute, true).unwrap();
        if at % 3 == 0 {
            // A dropped attribute leaves a gap in the numbers.
            schema.next_attr_id += 1;
        }
    }
    schema
}

fn all_types() -> Vec<AttributeType> {
    let scalars = ScalarType::ALL.into_iter();
    let scalars =
        scalars.flat_map(|kind| [AttributeType::Scalar(kind), AttributeType::Array(kind)]);
    let vectors = [
        (2, VectorElement::F32),
        (100, VectorElement::F32),
        (3, VectorElement::F16),
        (129, VectorElement::F16),
        (1, VectorElement::I8),
        // As wide as a uuid.
        (16, VectorElement::I8),
    ];
    let vectors = vectors.map(|(dims, element)| AttributeType::Vector { dims, element });
    scalars
        .chain([
            AttributeType::ArrayUnknown,
            AttributeType::Bytes,
            AttributeType::Sparse,
        ])
        .chain(vectors)
        .collect()
}

fn attrs(schema: &NamespaceSchema) -> Vec<AttrId> {
    let mut attrs: Vec<_> = schema
        .attributes
        .values()
        .map(|attribute| attribute.id)
        .collect();
    attrs.sort_unstable();
    attrs
}

/// Rows in no order, in batches of about `batch_rows`.
fn batches(schema: &NamespaceSchema, rows: u64, batch_rows: u64, seed: u64) -> Vec<RecordBatch> {
    let mut seed = Seed(seed);
    let kind = schema.id_kind.unwrap();
    let mut numbers: Vec<u64> = (0..rows).map(|row| row * 3 + 1).collect();
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, seed.below(at as u64 + 1) as usize);
    }
    let attributes = rows::layout::attributes_in_order(schema);
    numbers
        .chunks(batch_rows as usize)
        .map(|numbers| {
            let mut builder = RowsBuilder::new(schema, numbers.len());
            for number in numbers {
                let values: Vec<(AttrId, Value)> = attributes
                    .iter()
                    .map(|(_, attribute)| (attribute.id, value(&mut seed, attribute.kind)))
                    .collect();
                builder.push_row(id(kind, *number), &values).unwrap();
            }
            builder.finish().unwrap().1
        })
        .collect()
}

struct Sample {
    schema: NamespaceSchema,
    rows: RecordBatch,
    sealed: SealedSegment,
    footer: Footer,
}

/// Seals random rows; `rows` of the sample are those expected back, in order.
fn sample(kind: IdKind, attributes: &[AttributeType], n_rows: u64, seed: u64) -> Sample {
    let schema = schema(kind, attributes);
    let batches = batches(&schema, n_rows, 700, seed);
    let sealed = seal(&batches, &schema).unwrap();
    let joined = rows::concat(&batches, &schema).unwrap();
    let ids = rows::ids_of(rows::id_column(&joined));
    let mut order: Vec<u32> = (0..joined.num_rows() as u32).collect();
    order.sort_by(|a, b| ids[*a as usize].cmp(&ids[*b as usize]));
    Sample {
        rows: rows::take_rows(&joined, &order).unwrap(),
        footer: Footer::open("idx", &sealed.footer, footer_bytes(&sealed)).unwrap(),
        schema,
        sealed,
    }
}

fn footer_bytes(sealed: &SealedSegment) -> &[u8] {
    &sealed.index[sealed.footer.offset as usize..]
}

fn slice(file: &Bytes, range: &Range<u64>) -> Bytes {
    file.slice(range.start as usize..range.end as usize)
}

fn read(
    sample: &Sample,
    attrs: &[AttrId],
    with_id: bool,
    rows: Option<&[u32]>,
) -> Vec<RecordBatch> {
    let mut read = ColumnRead::new(&sample.footer, attrs, with_id, rows).unwrap();
    read_all(&mut read, &sample.sealed.parquet).unwrap()
}

fn joined(batches: &[RecordBatch]) -> RecordBatch {
    arrow::compute::concat_batches(batches[0].schema_ref(), batches).unwrap()
}

fn kinds() -> [IdKind; 3] {
    [IdKind::Uint, IdKind::Uuid, IdKind::String]
}
