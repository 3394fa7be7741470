//! The golden segment: two files, the place of the footer, and a twin of each with damage in it.

use std::sync::Arc;

use bytes::Bytes;
use elacsym::error::ErrorKind;
use elacsym::format::segment::columns::read_all;
use elacsym::format::segment::{
    BlockSums, ColumnRead, Footer, FooterRef, SUM_BLOCK_BYTES, SealedSegment, seal,
};
use elacsym::rows::{self, RowsBuilder};
use elacsym::types::{
    AttrId, AttributeType, Bound, DistanceMetric, DocId, IdKind, NamespaceSchema, ScalarType,
    Timestamp, Value, VectorElement,
};
use uuid::Uuid;

use super::goldens;

/// One attribute of each type, with the values of two rows; a third row has none.
fn attributes() -> Vec<(&'static str, AttributeType, [Value; 2])> {
    let text = |text: &str| Value::String(text.into());
    let vector = |numbers: &[f32]| Value::Vector(Arc::from(numbers));
    let uuid = |number| Value::Uuid(Uuid::from_u128(number));
    let scalar = AttributeType::Scalar;
    let wide = |dims, element| AttributeType::Vector { dims, element };
    vec![
        (
            "title",
            scalar(ScalarType::String),
            [text("a ünïcode title"), text("")],
        ),
        (
            "embedding",
            AttributeType::Vector {
                dims: 4,
                element: VectorElement::F32,
            },
            [vector(&[1.0, -0.5, 0.25, 0.0]), Value::Null],
        ),
        (
            "rank",
            scalar(ScalarType::Int),
            [Value::Int(-7), Value::Int(i64::MAX)],
        ),
        (
            "size",
            scalar(ScalarType::Uint),
            [Value::Uint(u64::MAX), Value::Uint(0)],
        ),
        (
            "score",
            scalar(ScalarType::Float),
            [Value::Float(0.1), Value::Float(-1e300)],
        ),
        ("ref", scalar(ScalarType::Uuid), [uuid(1), uuid(u128::MAX)]),
        (
            "seen",
            scalar(ScalarType::Datetime),
            [
                Value::Datetime(Timestamp(1_767_225_600_123)),
                Value::Datetime(Timestamp(-1)),
            ],
        ),
        (
            "open",
            scalar(ScalarType::Bool),
            [Value::Bool(true), Value::Bool(false)],
        ),
        (
            "tags",
            AttributeType::Array(ScalarType::String),
            [
                Value::Array([text("x"), text("y")].into()),
                Value::Array([].into()),
            ],
        ),
        (
            "none",
            AttributeType::ArrayUnknown,
            [Value::Array([].into()), Value::Null],
        ),
        (
            "small",
            AttributeType::Vector {
                dims: 2,
                element: VectorElement::F32,
            },
            [vector(&[0.5, 2.0]), vector(&[3.0, 4.0])],
        ),
        (
            "half",
            wide(3, VectorElement::F16),
            [vector(&[1.0, -65_504.0, 0.099_975_586]), Value::Null],
        ),
        (
            "byte",
            wide(5, VectorElement::I8),
            [vector(&[-128.0, 127.0, 0.0, 1.0, -1.0]), Value::Null],
        ),
        (
            "raw",
            AttributeType::Bytes,
            [Value::Bytes([0, 255, 7].into()), Value::Bytes([].into())],
        ),
        (
            "words",
            AttributeType::Sparse,
            [
                Value::Sparse([("meer".into(), -0.5), ("é".into(), 2.0)].into()),
                Value::Sparse([].into()),
            ],
        ),
    ]
}

fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::String),
        metric: Some(DistanceMetric::Cosine),
        ..NamespaceSchema::default()
    };
    for (name, kind, _) in attributes() {
        schema
            .add(name, kind, true)
            .expect("the attribute is legal");
    }
    schema
}

fn ids() -> [DocId; 3] {
    ["a", "b", "ü"].map(|id| DocId::String(id.into()))
}

fn batch() -> arrow::array::RecordBatch {
    let mut builder = RowsBuilder::new(&schema(), 3);
    for (row, id) in ids().into_iter().enumerate() {
        let values = attributes().into_iter().enumerate().filter(|_| row < 2);
        let values: Vec<(AttrId, Value)> = values
            .map(|(at, (_, _, values))| (AttrId(at as u32), values[row].clone()))
            .collect();
        builder.push_row(id, &values).expect("the row is legal");
    }
    builder.finish().expect("the rows are legal").1
}

pub(crate) fn sealed() -> SealedSegment {
    seal(&[batch()], &schema()).expect("the rows can be sealed")
}

pub(crate) fn footer_of(sealed: &SealedSegment) -> &[u8] {
    &sealed.index[sealed.footer.offset as usize..]
}

/// Whether a footer says of the golden rows what it must, however their bytes are packed.
pub(crate) fn is_expected(footer: &Footer) -> bool {
    let stats = footer.stats();
    let kinds = footer.columns().iter().map(|column| column.kind);
    let rank = stats
        .attribute(AttrId(2))
        .map(|rank| (rank.min.clone(), rank.max.clone(), rank.nulls));
    let pages = |attr| {
        footer
            .vector_pages(AttrId(attr))
            .map(|pages| pages.values())
    };
    footer.rows() == 3
        && footer.id_kind() == IdKind::String
        && stats.id_max == Bound::String("ü".to_owned())
        && rank == Some((Some(Bound::Int(-7)), Some(Bound::Int(i64::MAX)), 1))
        && kinds.eq(attributes().iter().map(|(_, kind, _)| *kind))
        && footer
            .columns()
            .iter()
            .map(|column| column.nulls)
            .eq([1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 2, 2, 1, 1])
        && [1, 10, 11, 12].map(pages) == [1, 2, 1, 1].map(Some)
        && ids().iter().all(|id| footer.may_contain(id))
}

struct Files {
    parquet: Bytes,
    index: Bytes,
    footer: FooterRef,
}

impl Files {
    fn golden() -> Self {
        let path = |suffix| format!("tests/golden/segment/v1.{suffix}");
        // Three files of one seal; which is written first does not matter, as a seal is repeatable within
        // one build.
        let footer = goldens::read(&path("footer.json"), || {
            serde_json::to_vec(&sealed().footer).expect("a reference is JSON")
        });
        Self {
            parquet: goldens::read(&path("parquet"), || sealed().parquet.to_vec()).into(),
            index: goldens::read(&path("idx"), || sealed().index.to_vec()).into(),
            footer: serde_json::from_slice(&footer).expect("the golden reference is JSON"),
        }
    }

    fn footer(&self) -> Footer {
        let bytes = &self.index[self.footer.offset as usize..];
        Footer::open("idx", &self.footer, bytes).expect("the golden footer opens")
    }
}

#[test]
fn segment_golden_holds_the_expected_rows() {
    let files = Files::golden();
    let footer = files.footer();
    assert!(is_expected(&footer));
    let attrs: Vec<AttrId> = (0..attributes().len() as u32).map(AttrId).collect();
    let mut read = ColumnRead::new(&footer, &attrs, true, None).expect("the read is legal");
    let found = read_all(&mut read, &files.parquet).expect("the golden columns decode");
    assert_eq!(found, [batch()]);
    for (row, id) in ids().iter().enumerate() {
        let reads = footer.id_reads(std::slice::from_ref(id));
        let range = reads[0].range.start as usize..reads[0].range.end as usize;
        let block = footer
            .id_block(&files.index[range])
            .expect("the golden block decodes");
        assert_eq!(block.find(id), Some(row as u32));
    }
    let pages = footer
        .vector_pages(AttrId(10))
        .expect("the golden vectors are there");
    let range = pages.range_of(1).expect("row 1 has a vector");
    let bytes = &files.parquet[range.start as usize..range.end as usize];
    let mut numbers = Vec::new();
    rows::vectors::decode(VectorElement::F32, bytes, &mut numbers);
    assert_eq!(numbers, [3.0, 4.0]);
    // What stands in the file, byte for byte.
    let stored = |attr| {
        let pages = footer.vector_pages(AttrId(attr)).expect("vectors");
        let range = pages.range_of(0).expect("row 0 has a vector");
        &files.parquet[range.start as usize..range.end as usize]
    };
    assert_eq!(stored(11), [0x00, 0x3c, 0xff, 0xfb, 0x66, 0x2e]);
    assert_eq!(stored(12), [0x80, 0x7f, 0x00, 0x01, 0xff]);
    assert_eq!(rows::logical_bytes(&batch()), footer.logical_bytes());
}

fn is_whole(sums: &BlockSums, file: &[u8]) -> bool {
    let blocks = file.chunks(SUM_BLOCK_BYTES).enumerate();
    file.len() as u64 == sums.bytes()
        && blocks
            .into_iter()
            .all(|(block, bytes)| sums.verify("file", block as u64, bytes).is_ok())
}

/// The corrupt twins: every flipped byte and every cut of either file is told.
#[test]
fn segment_golden_with_any_damage_is_told() {
    let files = Files::golden();
    let footer = files.footer();
    let offset = files.footer.offset as usize;
    for (sums, good) in [
        (footer.parquet_sums(), &files.parquet[..]),
        (footer.index_sums(), &files.index[..offset]),
    ] {
        assert!(is_whole(sums, good));
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << (at % 8);
            assert!(!is_whole(sums, &bad), "byte {at}");
            assert!(!is_whole(sums, &good[..at]), "cut to {at}");
        }
    }
    let good = &files.index[offset..];
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        for bytes in [&bad[..], &good[..at]] {
            let error = Footer::open("idx", &files.footer, bytes).expect_err("damage is refused");
            assert_eq!(error.kind(), ErrorKind::Corrupted, "byte {at}");
        }
    }
}
