//! What a cold open costs: requests and bytes that follow from the tail and the number of segments, not of rows.

use super::*;
use crate::namespace::Flushed;
use crate::types::{WalSeq, limits};

const SEGMENTS: i64 = 4;
/// Commits after the last flush.
const TAIL: i64 = 3;

/// A namespace of four segments with a tail, whose documents are newer than the segments' by id and year.
struct Stored {
    bucket: Arc<Counting>,
    flushed: WalSeq,
}

impl Stored {
    async fn of(rows_each: i64) -> Self {
        let bucket = Arc::new(Counting::new(memory()));
        let engine = engine_on(Arc::clone(&bucket) as Arc<dyn Bucket>, 1);
        let mut flushed = WalSeq(0);
        for n in 0..SEGMENTS {
            let rows = (0..rows_each).map(|row| (n * rows_each + row, n));
            let written = engine.write(&name(), upsert(rows), None).await;
            written.expect("a commit");
            let Flushed::Done(seq) = engine.flush(&name()).await.expect("a flush") else {
                panic!("nothing was flushed");
            };
            flushed = seq;
        }
        for n in 0..TAIL {
            let new = upsert([(1_000_000 + n, 100)]);
            engine.write(&name(), new, None).await.expect("a commit");
        }
        engine.finish().await;
        Self { bucket, flushed }
    }

    fn engine(&self) -> Engine {
        engine_on(Arc::clone(&self.bucket) as Arc<dyn Bucket>, 2)
    }

    /// What a query costs, and the last sequence it saw.
    async fn cost(&self, engine: &Engine, query: Query, rows: usize) -> (StoreCounts, u64) {
        let before = self.bucket.snapshot();
        let reply = engine.query(&name(), query).await.expect("a reply");
        assert_eq!(reply.rows.len(), rows);
        (self.bucket.snapshot() - before, reply.coverage.as_of_seq.0)
    }
}

/// Matches the tail alone: the stats of every segment rule it out.
fn newest() -> Query {
    Query {
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Int(100),
        }),
        ..all()
    }
}

fn nearest() -> Query {
    let vector = RawValue::Numbers {
        values: vec![5.0, 1.0],
        integers: false,
    };
    Query {
        rank_by: RankBy::Vector {
            attribute: "vector".to_owned(),
            vector,
            exact: false,
        },
        limit: 3,
        include: Include::Nothing,
        ..all()
    }
}

/// Requests beside the probe, and beside the one for ids of the best: they may lie in a block that is there.
fn footers_and_pages(cost: &StoreCounts) -> u64 {
    let beside_probe = cost.requests() - 2;
    beside_probe - beside_probe % 2
}

#[tokio::test]
async fn cold_open_costs_names_state_and_tail_whatever_the_rows() {
    let mut costs = Vec::new();
    for rows_each in [10, 10_000] {
        let stored = Stored::of(rows_each).await;
        let engine = stored.engine();
        let (first, seq) = stored.cost(&engine, newest(), TAIL as usize).await;
        let (again, _) = stored.cost(&engine, newest(), TAIL as usize).await;
        let probe = (again.get, again.get_range, again.requests());
        assert_eq!(probe, (0, 2, 2), "the next slot and the anchor");
        let open = first - again;
        // The hint, the name's record, each slot since the flush that the newest manifest knows of, the slot
        // that is not there yet; and the newest anchor, and the oldest where slots were known.
        let slots = seq - stored.flushed.0;
        assert_eq!((open.list, open.get), (1, 2 + slots + 1), "{open:?}");
        let anchors = open.get_range;
        assert!((1..=2).contains(&anchors), "{open:?}");
        assert_eq!(open.requests(), 1 + 2 + slots + 1 + anchors, "{open:?}");
        assert!(open.read_bytes < 16 << 10, "{open:?}");
        costs.push(open);
        // Nothing was asked of the segments: their footers are.
        let (first, _) = stored.cost(&engine, nearest(), 3).await;
        let pieces = 2 * SEGMENTS as u64;
        assert_eq!(footers_and_pages(&first), pieces, "{first:?}");
        let (again, _) = stored.cost(&engine, nearest(), 3).await;
        assert_eq!(again.requests(), 2, "{again:?}");
    }
    let [small, large] = costs[..] else {
        panic!("two sizes");
    };
    assert_eq!(large.requests(), small.requests());
    assert!(
        large.read_bytes <= small.read_bytes + 1_024,
        "{large:?} {small:?}"
    );
}

#[tokio::test]
async fn cold_open_without_a_hint_costs_a_listing_and_the_newest_manifest_more() {
    let stored = Stored::of(10).await;
    let (with, _) = stored.cost(&stored.engine(), newest(), TAIL as usize).await;
    let hint = path::name_hint(&name());
    stored.bucket.delete(&hint).await.expect("it is gone");
    let (without, _) = stored.cost(&stored.engine(), newest(), TAIL as usize).await;
    assert_eq!(without.list, with.list + 1);
    assert_eq!(without.get, with.get + 1);
    assert_eq!(without.requests(), with.requests() + 2);
}

#[tokio::test]
async fn first_query_beside_touched_ids_looks_them_up_in_segments_that_may_have_them() {
    let stored = Stored::of(2_000).await;
    let writer = stored.engine();
    // One document of the second segment is written again, one of the third is deleted.
    let written = writer.write(&name(), upsert([(2_500, 100)]), None).await;
    written.expect("a commit");
    let written = writer.write(&name(), delete(&[4_500]), None).await;
    written.expect("a commit");
    writer.finish().await;
    let engine = stored.engine();
    let rows = TAIL as usize + 1;
    let (first, _) = stored.cost(&engine, newest(), rows).await;
    let (again, _) = stored.cost(&engine, newest(), rows).await;
    assert_eq!(again.requests(), 2);
    // Of each of the two segments the footer and a block of ids.
    let ranges = first.get_range - again.get_range;
    assert!((5..=6).contains(&ranges), "{first:?}");
    assert!(first.read_bytes < 4 * limits::FILE_BLOCK_BYTES, "{first:?}");
}
