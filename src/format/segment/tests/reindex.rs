//! Index files made again, for attributes that filters may name now.

use super::*;
use crate::error::ErrorKind;
use crate::lsm::{Deletions, Segment, SegmentId};
use crate::types::WalSeq;

/// Whether filters may name an attribute, by its number.
type IsOn = fn(u32) -> bool;

/// The schema with filters on every attribute of which `is_on` says so, by its number.
fn filtering(schema: &NamespaceSchema, is_on: impl Fn(u32) -> bool) -> NamespaceSchema {
    let mut schema = schema.clone();
    for attribute in schema.attributes.values_mut() {
        attribute.filterable = attribute.kind.may_filter() && is_on(attribute.id.0);
    }
    schema
}

/// The segment that a state names once `sealed` is uploaded.
fn named(sealed: &SealedSegment) -> Segment {
    Segment {
        id: SegmentId {
            claim: WalSeq(1),
            n: 0,
        },
        parquet: object_ref("p".to_owned(), &sealed.parquet),
        index: object_ref("i".to_owned(), &sealed.index),
        footer: sealed.footer,
        rows: sealed.rows,
        logical_bytes: sealed.logical_bytes,
        stats: sealed.stats.clone(),
        unindexed: sealed.unindexed.clone(),
        deletions: Deletions::default(),
    }
}

fn again(sealed: &SealedSegment, schema: &NamespaceSchema) -> crate::error::Result<Reindexed> {
    reindex(&named(sealed), &sealed.parquet, schema)
}

#[test]
fn index_made_again_is_the_one_that_a_seal_under_the_new_schema_makes() {
    for (kind, n_rows) in [
        (IdKind::Uint, 1),
        (IdKind::Uuid, 65),
        (IdKind::String, 5_003),
    ] {
        let all = schema(kind, &all_types());
        let batches = batches(&all, n_rows, 700, n_rows);
        let sealed = |is_on: IsOn| {
            let schema = filtering(&all, is_on);
            (seal(&batches, &schema).unwrap(), schema)
        };
        let cases: [[IsOn; 2]; 4] = [
            [|_| false, |_| true],
            [|attr| attr % 2 == 0, |_| true],
            [|attr| attr % 2 == 0, |attr| attr % 3 == 0],
            [|_| true, |_| true],
        ];
        for [before, after] in cases {
            let (old, _) = sealed(before);
            let (wanted, now) = sealed(after);
            assert_eq!(old.parquet, wanted.parquet, "filters change no document");
            let made = again(&old, &now).unwrap();
            assert!(made.index == wanted.index, "{kind:?} {n_rows}");
            assert_eq!(made.footer, wanted.footer);
            assert_eq!(made.stats, wanted.stats);
            assert_eq!(made.unindexed, wanted.unindexed);
        }
    }
}

#[test]
fn attributes_without_an_index_are_those_with_values_that_filters_could_not_name() {
    let types = [
        AttributeType::Scalar(ScalarType::Int),
        AttributeType::Array(ScalarType::String),
        AttributeType::ArrayUnknown,
        AttributeType::Bytes,
    ];
    let mut all = schema(IdKind::Uint, &types);
    let batches = batches(&all, 90, 700, 3);
    // Known since, in no row.
    all.add("later", types[0], true).unwrap();
    let off = filtering(&all, |_| false);
    let old = seal(&batches, &off).unwrap();
    let ids: Vec<AttrId> = attrs(&off);
    let (int, texts) = (ids[0], ids[1]);
    assert_eq!(old.unindexed, [int, texts]);
    // What was dropped since stays without, although its column is still there.
    let mut now = filtering(&all, |_| true);
    now.attributes.retain(|_, attribute| attribute.id != texts);
    let made = again(&old, &now).unwrap();
    assert_eq!(made.unindexed, [texts]);
    assert_eq!(
        seal(&batches, &filtering(&all, |_| true))
            .unwrap()
            .unindexed,
        []
    );
}

#[test]
fn index_of_documents_that_are_not_the_named_ones_is_not_made() {
    let all = schema(IdKind::Uint, &[AttributeType::Scalar(ScalarType::Int)]);
    let old = seal(&batches(&all, 40, 700, 1), &filtering(&all, |_| false)).unwrap();
    let mut flipped = old.parquet.to_vec();
    flipped[9] ^= 1;
    let short = old.parquet.slice(1..);
    for (bytes, part) in [(Bytes::from(flipped), "hash"), (short, "length")] {
        let error = reindex(&named(&old), &bytes, &all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.message().contains(part), "{error}");
    }
}

#[test]
fn segment_that_is_said_to_have_other_rows_gets_no_index() {
    let all = schema(IdKind::Uint, &[AttributeType::Scalar(ScalarType::Int)]);
    let old = seal(&batches(&all, 40, 700, 1), &all).unwrap();
    let right = named(&old);
    let rows = Segment {
        rows: 39,
        ..right.clone()
    };
    let bytes = Segment {
        logical_bytes: 1,
        ..right
    };
    for segment in [rows, bytes] {
        let error = reindex(&segment, &old.parquet, &all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    }
}
