//! What the goldens hold, written out: no rule of the engine is asked, so only the format is compared.

use std::collections::VecDeque;
use std::sync::Arc;

use elacsym::format::dirty::{DirtyHint, DirtyNamespace};
use elacsym::format::path::KeyKind;
use elacsym::format::record::{Genesis, Hint, Marker, NameRecord, StoreRecord};
use elacsym::format::{Effects, Slot, deletions, path};
use elacsym::lsm::entry::{ClaimKind, Id16, KeyedRequest, WriteEntry};
use elacsym::lsm::state::{Block, Life, PinState};
use elacsym::lsm::{
    BitmapPlace, DeletionUpdate, Deletions, Entry, IndexUpdate, MergeInput, Rotation, Segment,
    SegmentId, SlotHeader, State,
};
use elacsym::rows::{RowsBuilder, id_array};
use elacsym::types::{AttrId, AttributeStats, Bound, FooterRef, ObjectRef, Stats};
use elacsym::types::{
    AttributeType, DistanceMetric, DocId, IdKind, NamespaceId, NamespaceName, NamespaceSchema,
    Nonce, ScalarType, SlotName, Timestamp, Value, VectorElement, WalSeq,
};
use uuid::Uuid;

const WRITTEN_AT: Timestamp = Timestamp(1_767_225_600_123);
const BATCH: Id16 = Id16(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

pub(crate) fn namespace() -> NamespaceId {
    NamespaceId(Uuid::from_u128(0x6ba7_b810_9dad_41d1_80b4_00c0_4fd4_30c8))
}

pub(crate) fn store() -> StoreRecord {
    StoreRecord {
        store: NamespaceId(Uuid::from_u128(0xf81d_4fae_7dec_41d0_a765_00a0_c91e_6bf6)),
        conformance: 1,
    }
}

pub(crate) fn name() -> NameRecord {
    NameRecord::Created {
        namespace: namespace(),
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis::Created {
        name: "golden".to_owned(),
    }
}

pub(crate) fn marker() -> Marker {
    Marker {
        object: path::segment_parquet(namespace(), WalSeq(7), 0),
        kind: KeyKind::Documents,
        offset: Some(65_536),
        expected: Some("crc32c 00112233".to_owned()),
        found: None,
        error: "object is damaged".to_owned(),
        at: WRITTEN_AT,
        node: BATCH,
    }
}

pub(crate) fn hint() -> Hint {
    Hint {
        namespace: namespace(),
        state: state(),
    }
}

pub(crate) fn dirty() -> DirtyHint {
    let named = |namespace, name: &str, waited_ms| DirtyNamespace {
        namespace,
        name: NamespaceName::parse(name).expect("a legal name"),
        waited_ms,
    };
    let other = NamespaceId(Uuid::from_u128(0x7d44_4840_9dc0_41d1_b245_5ffd_ce74_fad2));
    DirtyHint {
        namespaces: vec![
            named(namespace(), "golden", 1_500),
            named(other, "golden-2", 0),
        ],
    }
}

fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        metric: Some(DistanceMetric::Cosine),
        ..NamespaceSchema::default()
    };
    let columns = [
        ("title", AttributeType::Scalar(ScalarType::String), true),
        (
            "embedding",
            AttributeType::Vector {
                dims: 4,
                element: VectorElement::F32,
            },
            false,
        ),
        ("rank", AttributeType::Scalar(ScalarType::Int), true),
        (
            "half",
            AttributeType::Vector {
                dims: 3,
                element: VectorElement::F16,
            },
            false,
        ),
        (
            "byte",
            AttributeType::Vector {
                dims: 2,
                element: VectorElement::I8,
            },
            false,
        ),
        ("raw", AttributeType::Bytes, false),
        ("words", AttributeType::Sparse, false),
    ];
    for (name, kind, filterable) in columns {
        schema
            .add(name, kind, filterable)
            .expect("the attribute is legal");
    }
    schema
}

fn keyed() -> KeyedRequest {
    KeyedRequest {
        key: Id16(1),
        body: Id16(u128::MAX),
        rows_upserted: Some(3),
        rows_patched: None,
        rows_deleted: None,
        rows_remaining: false,
        bytes_written: 96,
    }
}

/// A state with something in every field.
pub(crate) fn state() -> State {
    let block = |number, first_seq, slots, nonce| Block {
        number,
        first_seq: WalSeq(first_seq),
        head_nonce: Nonce(nonce),
        slots,
        bytes: 1_000 + number,
    };
    State {
        seq: WalSeq(8),
        level: 1,
        rotation: Rotation {
            slots_max: 3,
            bytes_max: 1 << 20,
        },
        created_at: Timestamp(1_767_225_600_000),
        written_at: WRITTEN_AT,
        life: Life::Live,
        schema: Arc::new(schema()),
        config: [("note".to_owned(), "a \"quoted\" ü".to_owned())].into(),
        flushed_seq: WalSeq(3),
        segments: Vec::new(),
        blocks: vec![block(1, 4, 3, 0xa1), block(2, 7, 2, u128::MAX - 1)],
        claims: [(WalSeq(6), ClaimKind::Flush), (WalSeq(7), ClaimKind::Write)].into(),
        merging: [].into(),
        pins: [(
            Id16(5),
            PinState {
                at: WalSeq(4),
                owner: "reader".to_owned(),
            },
        )]
        .into(),
        retained: [WalSeq(2), WalSeq(5)].into(),
        floor: 1,
        batches: VecDeque::from([(WalSeq(2), BATCH)]),
        batches_from: WalSeq(1),
        keyed: VecDeque::from([(WalSeq(2), keyed())]),
    }
}

/// A header with `body_bytes` left out: the body says it.
fn header(seq: u64, block: u64, idx: u32) -> SlotHeader {
    SlotHeader {
        seq: WalSeq(seq),
        slot: SlotName { block, idx },
        nonce: Nonce(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        written_at: WRITTEN_AT,
        body_bytes: 0,
    }
}

pub(crate) fn init_slot() -> Slot {
    Slot {
        header: header(1, 0, 0),
        entry: Entry::Init {
            created_at_ms: 1_767_225_600_000,
            rotation: None,
        },
        effects: Effects::default(),
    }
}

/// Two settings: one given a value, one removed.
pub(crate) fn configure_slot() -> Slot {
    let settings = [
        ("pinning".to_owned(), None),
        ("read_only".to_owned(), Some("true".to_owned())),
    ];
    Slot {
        header: header(514, 2, 1),
        entry: Entry::Configure {
            batch: BATCH,
            settings: settings.into(),
        },
        effects: Effects::default(),
    }
}

pub(crate) fn drop_slot() -> Slot {
    Slot {
        header: header(515, 2, 2),
        entry: Entry::Drop { batch: BATCH },
        effects: Effects::default(),
    }
}

/// Three documents, the last of them with nulls, and two deleted ids.
pub(crate) fn write_slot() -> Slot {
    let schema = schema();
    let attr = |name: &str| schema.get(name).expect("the schema has it").id;
    let (title, embedding, rank) = (attr("title"), attr("embedding"), attr("rank"));
    let text = |text: &str| Value::String(text.into());
    let vector = |values: [f32; 4]| Value::Vector(values.to_vec().into());
    let narrow = |half: [f32; 3], byte: [f32; 2]| {
        [
            (attr("half"), Value::Vector(half[..].into())),
            (attr("byte"), Value::Vector(byte[..].into())),
        ]
    };
    let others = [
        (attr("raw"), Value::Bytes([0, 255].into())),
        (
            attr("words"),
            Value::Sparse([("a".into(), 0.5), ("ü".into(), -2.0)].into()),
        ),
    ];
    let mut rows = [
        (
            1,
            vec![
                (title, text("one")),
                (rank, Value::Int(-7)),
                (embedding, vector([0.0, -0.5, 1.5, f32::MIN_POSITIVE])),
            ],
        ),
        (
            2,
            vec![
                (title, text("zwei ü")),
                (rank, Value::Int(i64::MAX)),
                (embedding, vector([1.0, 2.0, 3.0, 4.0])),
            ],
        ),
        (
            u64::MAX,
            vec![(embedding, vector([-1.0, -0.0, f32::MAX, 0.1]))],
        ),
    ];
    let narrow = [
        narrow([1.0, -65_504.0, 0.099_975_586], [-128.0, 127.0]),
        narrow([0.0, -0.0, 5.960_464_5e-8], [0.0, -1.0]),
        narrow([0.5, 0.25, 2_048.0], [1.0, 2.0]),
    ];
    for ((_, attributes), narrow) in rows.iter_mut().zip(narrow) {
        attributes.extend(narrow);
    }
    rows[1].1.extend(others);
    let mut builder = RowsBuilder::new(&schema, rows.len());
    for (id, attributes) in &rows {
        builder
            .push_row(DocId::Uint(*id), attributes)
            .expect("the row fits its schema");
    }
    let (_, upserts) = builder.finish().expect("the rows make a batch");
    let deletes =
        id_array(IdKind::Uint, &[DocId::Uint(3), DocId::Uint(4)]).expect("the ids are of one kind");
    Slot {
        header: header(2, 0, 1),
        entry: Entry::Write(WriteEntry {
            batch: BATCH,
            keyed: vec![keyed()],
            schema: Some(Arc::new(schema)),
        }),
        effects: Effects {
            upserts: Some(upserts),
            deletes: Some(deletes),
        },
    }
}

fn object(path: String, bytes: u64) -> ObjectRef {
    let hash = 0x0f1e_2d3c_4b5a_6978_8796_a5b4_c3d2_e1f0;
    ObjectRef { path, bytes, hash }
}

fn stored_bitmap() -> BitmapPlace {
    let key = path::deletions(namespace(), WalSeq(7), 0);
    BitmapPlace::Stored(object(key, 12_345))
}

fn inline_bitmap() -> BitmapPlace {
    BitmapPlace::Inline(deletions::to_text(&bitmap()))
}

/// Rows of a segment that are gone, encoded.
pub(crate) fn bitmap() -> Vec<u8> {
    deletions::encode(&[1, 5, 70_000].into_iter().collect())
}

fn segment(claim: u64, n: u32, deletions: Deletions) -> Segment {
    let claim = WalSeq(claim);
    let attr = schema().get("rank").expect("the schema has it").id;
    Segment {
        id: SegmentId { claim, n },
        parquet: object(path::segment_parquet(namespace(), claim, n), 9_000),
        index: object(path::segment_index(namespace(), claim, n), 4_000),
        footer: FooterRef {
            offset: 3_000,
            bytes: 1_000,
            hash: 1,
        },
        rows: 100_000,
        logical_bytes: 1_234_567,
        stats: Stats {
            id_min: Bound::Uint(1),
            id_max: Bound::Uint(u64::MAX),
            attributes: vec![AttributeStats {
                attr,
                nulls: 1,
                min: Some(Bound::Int(-7)),
                max: None,
                values: Some([-7, 3].map(Bound::Int).to_vec()),
            }],
        },
        unindexed: Vec::new(),
        deletions,
    }
}

/// A state with segments: none, some and many of their rows gone.
pub(crate) fn state_with_segments() -> State {
    let gone = |generation, rows, bitmap| Deletions {
        generation,
        rows,
        bitmap,
    };
    let segments = [
        segment(2, 0, Deletions::default()),
        segment(2, 1, gone(1, 3, inline_bitmap())),
        segment(3, 0, gone(4, 50_000, stored_bitmap())),
    ];
    State {
        segments: segments.into_iter().map(Arc::new).collect(),
        ..state()
    }
}

/// A state two segments of which are being merged.
pub(crate) fn state_merging() -> State {
    let mut state = state_with_segments();
    state.claims.insert(WalSeq(5), ClaimKind::Compact);
    let taken = vec![merged_id(0), merged_id(1)];
    state.merging.insert(WalSeq(5), taken);
    state
}

/// A flush with a segment, and deletions of both places in older ones.
pub(crate) fn flush_slot() -> Slot {
    let update = |n, base, rows, bitmap| DeletionUpdate {
        segment: SegmentId {
            claim: WalSeq(2),
            n,
        },
        base,
        rows,
        bitmap,
    };
    Slot {
        header: header(9, 0, 8),
        entry: Entry::Flush {
            claim: WalSeq(7),
            base: WalSeq(3),
            up_to: WalSeq(8),
            segments: vec![segment(7, 0, Deletions::default())],
            deletions: vec![
                update(0, 0, 3, inline_bitmap()),
                update(1, 1, 50_000, stored_bitmap()),
            ],
        },
        effects: Effects::default(),
    }
}

pub(crate) fn claim_slot() -> Slot {
    Slot {
        header: header(7, 0, 6),
        entry: Entry::Claim {
            claim: ClaimKind::Flush,
            inputs: Vec::new(),
        },
        effects: Effects::default(),
    }
}

fn merged_id(n: u32) -> SegmentId {
    let claim = WalSeq(2);
    SegmentId { claim, n }
}

/// A claim to merge two segments.
pub(crate) fn merge_claim_slot() -> Slot {
    Slot {
        header: header(12, 0, 11),
        entry: Entry::Claim {
            claim: ClaimKind::Compact,
            inputs: vec![merged_id(0), merged_id(1)],
        },
        effects: Effects::default(),
    }
}

/// The merge of those two into one, rows of which died while it was made.
pub(crate) fn compact_slot() -> Slot {
    let input = |n, generation| MergeInput {
        segment: merged_id(n),
        generation,
    };
    let died = Deletions {
        generation: 1,
        rows: 3,
        bitmap: inline_bitmap(),
    };
    Slot {
        header: header(14, 0, 13),
        entry: Entry::Compact {
            claim: WalSeq(12),
            inputs: vec![input(0, 0), input(1, 2)],
            outputs: vec![segment(12, 0, died)],
        },
        effects: Effects::default(),
    }
}

/// A segment of the flush before gets an index built later; one attribute has none still.
pub(crate) fn index_build_slot() -> Slot {
    let segment = segment(7, 0, Deletions::default());
    let built = IndexUpdate {
        segment: segment.id,
        base: segment.index.path,
        index: object(path::segment_index(namespace(), WalSeq(9), 0), 5_000),
        footer: FooterRef {
            offset: 4_000,
            bytes: 1_000,
            hash: 2,
        },
        stats: segment.stats,
        unindexed: vec![AttrId(3)],
    };
    Slot {
        header: header(11, 0, 10),
        entry: Entry::IndexBuild {
            claim: WalSeq(9),
            built: Box::new(built),
        },
        effects: Effects::default(),
    }
}

pub(crate) fn truncate_slot() -> Slot {
    Slot {
        header: header(10, 0, 9),
        entry: Entry::Truncate {
            floor: Some(3),
            retained: vec![WalSeq(5), WalSeq(8)],
        },
        effects: Effects::default(),
    }
}
