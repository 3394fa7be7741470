//! What the goldens hold, written out: no rule of the engine is asked, so only the format is compared.

use std::collections::VecDeque;
use std::sync::Arc;

use elacsym::format::record::{Genesis, Hint, NameRecord, StoreRecord};
use elacsym::format::{Effects, Slot};
use elacsym::lsm::entry::{ClaimKind, Id16, KeyedRequest, WriteEntry};
use elacsym::lsm::state::{Block, Life, PinState};
use elacsym::lsm::{Entry, Rotation, SlotHeader, State};
use elacsym::rows::{RowsBuilder, id_array};
use elacsym::types::{
    AttributeType, DistanceMetric, DocId, IdKind, NamespaceId, NamespaceSchema, Nonce, ScalarType,
    SlotName, Timestamp, Value, WalSeq,
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

pub(crate) fn hint() -> Hint {
    Hint {
        namespace: namespace(),
        state: state(),
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
        ("embedding", AttributeType::Vector { dims: 4 }, false),
        ("rank", AttributeType::Scalar(ScalarType::Int), true),
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
        rows_deleted: None,
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
        blocks: vec![block(1, 4, 3, 0xa1), block(2, 7, 2, u128::MAX - 1)],
        claims: [(WalSeq(6), ClaimKind::Flush), (WalSeq(7), ClaimKind::Write)].into(),
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
    let rows = [
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
