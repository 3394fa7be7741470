//! The tail and the state across a flush.

use arrow::array::RecordBatch;

use super::entry::ClaimKind;
use super::*;
use crate::rows::{self, RowsBuilder};
use crate::types::{
    AttrId, Bound, DocId, FooterRef, IdKind, NamespaceSchema, Nonce, ObjectRef, Stats, Timestamp,
    WalSeq,
};

fn schema() -> NamespaceSchema {
    NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        ..NamespaceSchema::default()
    }
}

fn documents(ids: &[u64]) -> RecordBatch {
    let mut builder = RowsBuilder::new(&schema(), ids.len());
    for id in ids {
        builder.end_row(DocId::Uint(*id));
    }
    builder.finish().expect("rows").1
}

fn ids(batches: &[RecordBatch]) -> Vec<u64> {
    let all = batches
        .iter()
        .flat_map(|batch| rows::ids_of(rows::id_column(batch)));
    let mut found: Vec<u64> = all
        .map(|id| match id {
            DocId::Uint(id) => id,
            other => panic!("an id of another kind: {other}"),
        })
        .collect();
    found.sort_unstable();
    found
}

fn visible(tail: &Tail, seq: u64) -> Vec<u64> {
    ids(&tail.view(WalSeq(seq)).visible().expect("rows"))
}

#[test]
fn tail_after_a_flush_keeps_what_came_later_and_old_views_see_what_they_saw() {
    let schema = schema();
    let mut tail = Tail::default();
    let upsert = |tail: &mut Tail, seq, batch: &[u64]| {
        let rows = documents(batch);
        tail.apply(WalSeq(seq), Some(&rows), None, &schema)
            .expect("applied");
    };
    upsert(&mut tail, 1, &[1, 2, 3]);
    upsert(&mut tail, 2, &[3, 4]);
    let deleted = rows::id_array(IdKind::Uint, &[DocId::Uint(1)]).expect("ids");
    tail.apply(WalSeq(3), None, Some(&deleted), &schema)
        .expect("applied");
    let at_flush = tail.view(WalSeq(3));
    upsert(&mut tail, 4, &[2, 5]);
    let deleted = rows::id_array(IdKind::Uint, &[DocId::Uint(4)]).expect("ids");
    tail.apply(WalSeq(5), None, Some(&deleted), &schema)
        .expect("applied");
    assert_eq!(visible(&tail, 5), [2, 3, 5]);
    assert_eq!(ids(&at_flush.visible().expect("rows")), [2, 3, 4]);

    tail.forget(WalSeq(3), &schema).expect("forgotten");
    let after = tail.view(WalSeq(5));
    assert_eq!(ids(&after.visible().expect("rows")), [2, 5]);
    assert_eq!((after.live_rows, after.live_bytes), (2, 16));
    assert_eq!(
        ids(&at_flush.visible().expect("rows")),
        [2, 3, 4],
        "a view is for ever"
    );
    // What later entries touched may have rows in the segment.
    let touched = after.touched.between(WalSeq(3), WalSeq(5));
    let touched: Vec<(u64, Vec<DocId>)> = touched
        .iter()
        .map(|(seq, ids)| (seq.0, rows::ids_of(ids)))
        .collect();
    assert_eq!(
        touched,
        [
            (4, vec![DocId::Uint(2), DocId::Uint(5)]),
            (5, vec![DocId::Uint(4)])
        ]
    );
    let known = |id| tail.get(&DocId::Uint(id)).expect("a row");
    assert!(
        matches!(known(1), Latest::Unknown),
        "its deletion is in a bitmap now"
    );
    assert!(matches!(known(2), Latest::Document(_)));
    assert!(matches!(known(3), Latest::Unknown));
    assert!(matches!(known(4), Latest::Deleted));

    tail.forget(WalSeq(5), &schema).expect("forgotten");
    assert!(!tail.view(WalSeq(5)).is_touched());
    assert_eq!(tail.memory_bytes(), 0);
}

fn object(path: &str) -> ObjectRef {
    ObjectRef {
        path: path.to_owned(),
        bytes: 1,
        hash: 1,
    }
}

pub(crate) fn segment(claim: u64, n: u32) -> Segment {
    Segment {
        id: SegmentId {
            claim: WalSeq(claim),
            n,
        },
        parquet: object("p"),
        index: object("i"),
        footer: FooterRef {
            offset: 0,
            bytes: 1,
            hash: 1,
        },
        rows: 10,
        logical_bytes: 80,
        stats: Stats {
            id_min: Bound::Uint(1),
            id_max: Bound::Uint(10),
            attributes: Vec::new(),
        },
        unindexed: Vec::new(),
        deletions: Deletions::default(),
    }
}

/// Applies an entry as the next slot.
pub(super) fn step(state: &mut State, entry: &Entry) -> Applied {
    let header = SlotHeader {
        seq: state.seq.next(),
        slot: state.next_slot(),
        nonce: Nonce(u128::from(state.seq.0)),
        written_at: Timestamp(0),
        body_bytes: 1,
    };
    state.apply(&header, entry).expect("a legal slot")
}

fn claim(claim: ClaimKind) -> Entry {
    let inputs = Vec::new();
    Entry::Claim { claim, inputs }
}

fn claimed() -> State {
    let mut state = State::initial(Rotation::default());
    step(
        &mut state,
        &Entry::Init {
            created_at_ms: 0,
            rotation: None,
        },
    );
    for _ in 0..3 {
        step(&mut state, &claim(ClaimKind::Flush));
    }
    state
}

pub(super) fn flush(
    claim: u64,
    base: u64,
    segments: Vec<Segment>,
    deletions: Vec<DeletionUpdate>,
) -> Entry {
    Entry::Flush {
        claim: WalSeq(claim),
        base: WalSeq(base),
        up_to: WalSeq(claim),
        segments,
        deletions,
    }
}

pub(super) fn deletion(claim: u64, base: u32) -> DeletionUpdate {
    DeletionUpdate {
        segment: SegmentId {
            claim: WalSeq(claim),
            n: 0,
        },
        base,
        rows: 1,
        bitmap: BitmapPlace::Inline("x".to_owned()),
    }
}

#[test]
fn flush_adds_its_segments_and_raises_the_generation_of_deletions() {
    let mut state = claimed();
    let first = flush(2, 0, vec![segment(2, 0), segment(2, 1)], vec![]);
    assert_eq!(step(&mut state, &first), Applied::Effective);
    assert_eq!((state.segments.len(), state.flushed_seq), (2, WalSeq(2)));
    let second = flush(3, 2, vec![segment(3, 0)], vec![deletion(2, 0)]);
    assert_eq!(step(&mut state, &second), Applied::Effective);
    let changed = state.segment(segment(2, 0).id).expect("it lives");
    assert_eq!((changed.deletions.generation, changed.live_rows()), (1, 9));
    assert_eq!(state.segments.len(), 3);
}

#[test]
fn flush_that_does_not_fit_means_nothing_and_its_claim_stays() {
    let cases = [
        ("of another claim", flush(2, 0, vec![segment(3, 0)], vec![])),
        (
            "out of order",
            flush(2, 0, vec![segment(2, 1), segment(2, 0)], vec![]),
        ),
        (
            "twice",
            flush(2, 0, vec![segment(2, 0), segment(2, 0)], vec![]),
        ),
        ("unknown segment", flush(2, 0, vec![], vec![deletion(9, 0)])),
        ("another base", flush(2, 1, vec![segment(2, 0)], vec![])),
        ("no claim", flush(1, 0, vec![segment(1, 0)], vec![])),
    ];
    for (what, entry) in cases {
        let mut state = claimed();
        let applied = step(&mut state, &entry);
        assert!(matches!(applied, Applied::NoOp(_)), "{what}");
        assert!(
            state.segments.is_empty() && state.claims.len() == 3,
            "{what}"
        );
    }
}

#[test]
fn flush_with_stale_deletions_means_nothing() {
    let mut state = claimed();
    step(&mut state, &flush(2, 0, vec![segment(2, 0)], vec![]));
    step(&mut state, &flush(3, 2, vec![], vec![deletion(2, 0)]));
    let stale = flush(4, 3, vec![segment(4, 0)], vec![deletion(2, 0)]);
    assert!(matches!(step(&mut state, &stale), Applied::NoOp(_)));
    assert_eq!(state.segments.len(), 1);
    let fresh = flush(4, 3, vec![segment(4, 0)], vec![deletion(2, 1)]);
    assert_eq!(step(&mut state, &fresh), Applied::Effective);
}

/// A state of segments 2/0 and 2/1 without an index of attribute 7, and claims 6 and 7 to build.
fn unindexed() -> State {
    let mut state = claimed();
    let without = |n| Segment {
        index: object(&format!("old{n}")),
        unindexed: vec![AttrId(7)],
        ..segment(2, n)
    };
    let applied = step(
        &mut state,
        &flush(2, 0, vec![without(0), without(1)], vec![]),
    );
    assert_eq!(applied, Applied::Effective);
    for _ in 0..2 {
        step(&mut state, &claim(ClaimKind::IndexBuild));
    }
    state
}

fn build(claim: u64, n: u32, base: &str) -> Entry {
    let built = IndexUpdate {
        segment: segment(2, n).id,
        base: base.to_owned(),
        index: object(&format!("new{claim}")),
        footer: FooterRef {
            offset: 3,
            bytes: 4,
            hash: 5,
        },
        stats: segment(2, n).stats,
        unindexed: Vec::new(),
    };
    Entry::IndexBuild {
        claim: WalSeq(claim),
        built: Box::new(built),
    }
}

#[test]
fn index_build_replaces_the_index_of_its_segment_alone() {
    let mut state = unindexed();
    let before = state.segments.clone();
    // Deletions of the segment may change meanwhile.
    let flushed = flush(3, 2, vec![], vec![deletion(2, 0)]);
    assert_eq!(step(&mut state, &flushed), Applied::Effective);
    assert_eq!(step(&mut state, &build(7, 0, "old0")), Applied::Effective);
    let built = Segment {
        index: object("new7"),
        footer: FooterRef {
            offset: 3,
            bytes: 4,
            hash: 5,
        },
        unindexed: Vec::new(),
        deletions: state.segments[0].deletions.clone(),
        ..(*before[0]).clone()
    };
    assert_eq!((*state.segments[0]).clone(), built);
    assert_eq!(built.deletions.generation, 1);
    assert_eq!(state.segments[1], before[1]);
    let claims: Vec<u64> = state.claims.keys().map(|claim| claim.0).collect();
    assert_eq!(claims, [4, 6], "its claim ends with it");
}

#[test]
fn index_build_that_does_not_fit_means_nothing_and_its_claim_stays() {
    let cases = [
        ("of a flush's claim", build(3, 0, "old0")),
        ("of no claim", build(1, 0, "old0")),
        ("of another index", build(6, 0, "old1")),
        ("of no segment", build(6, 9, "old0")),
    ];
    for (what, entry) in cases {
        let mut state = unindexed();
        let before = state.clone();
        assert!(
            matches!(step(&mut state, &entry), Applied::NoOp(_)),
            "{what}"
        );
        assert_eq!(state.segments, before.segments, "{what}");
        assert_eq!(state.claims, before.claims, "{what}");
    }
    let mut state = unindexed();
    assert_eq!(step(&mut state, &build(6, 0, "old0")), Applied::Effective);
    let second = step(&mut state, &build(7, 0, "old0"));
    assert!(matches!(second, Applied::NoOp(_)), "another came first");
    let abort = Entry::Abort { claim: WalSeq(6) };
    assert!(matches!(step(&mut state, &abort), Applied::NoOp(_)));
}
