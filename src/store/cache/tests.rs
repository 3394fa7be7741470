//! The cache over a bucket that counts, pauses and fails.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use futures::poll;
use proptest::prelude::*;

use super::{Admission, BlockCache, CacheLimits, CachedFile, Purpose, ScanShare};
use crate::error::ErrorKind;
use crate::store::Bucket;
use crate::store::count::{Counting, RequestCounter};
use crate::store::fault::{FaultRates, Faulty, Point, ReadFault};
use crate::store::object::ObjectBucket;
use crate::telemetry::Metrics;

const BLOCK: u64 = 64 << 10;

/// 20 blocks and a bit.
const BYTES: u64 = 20 * BLOCK + 1_000;

struct Setup {
    faulty: Arc<Faulty>,
    counting: Arc<Counting>,
    cache: BlockCache,
    metrics: Metrics,
    content: Bytes,
    file: CachedFile,
}

impl Setup {
    async fn new() -> Self {
        Self::with(CacheLimits::of_total(64 << 20), FaultRates::default(), 0).await
    }

    async fn with(limits: CacheLimits, rates: FaultRates, seed: u64) -> Self {
        let inner: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
        let content = content(BYTES);
        inner
            .put("seg/a.idx", content.clone())
            .await
            .expect("it is stored");
        let faulty = Arc::new(Faulty::new(inner, rates, seed));
        let counting = Arc::new(Counting::new(faulty.clone()));
        let metrics = Metrics::new().expect("names are unique");
        let cache = BlockCache::new(counting.clone(), limits, metrics.cache.clone());
        let file = file("seg/a.idx", &content);
        Self {
            faulty,
            counting,
            cache,
            metrics,
            content,
            file,
        }
    }

    async fn read(&self, range: Range<u64>) -> crate::error::Result<Bytes> {
        let read = self.cache.read(&self.file, &[range], Admission::Keep).await;
        read.map(|mut parts| parts.remove(0))
    }

    fn slice(&self, range: Range<u64>) -> Bytes {
        self.content.slice(range.start as usize..range.end as usize)
    }

    fn gets(&self) -> u64 {
        self.counting.snapshot().get_range
    }
}

fn content(bytes: u64) -> Bytes {
    (0..bytes)
        .map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13) as u8)
        .collect()
}

fn file(path: &str, content: &Bytes) -> CachedFile {
    CachedFile {
        path: path.into(),
        bytes: content.len() as u64,
        hash: 7,
        sums: content
            .chunks(BLOCK as usize)
            .map(crc32c::crc32c)
            .collect::<Vec<_>>()
            .into(),
    }
}

#[tokio::test]
async fn read_of_cold_ranges_asks_once_per_run_and_then_never_again() {
    let setup = Setup::new().await;
    let ranges = [
        BYTES - 10..BYTES,
        10..20,
        BLOCK - 1..2 * BLOCK + 1,
        5..5,
        0..3 * BLOCK,
    ];
    for _ in 0..2 {
        let read = setup
            .cache
            .read(&setup.file, &ranges, Admission::Keep)
            .await;
        let parts = read.expect("all is there");
        for (range, part) in ranges.iter().zip(&parts) {
            assert_eq!(part, &setup.slice(range.clone()), "{range:?}");
        }
        assert_eq!(setup.gets(), 2, "the start, and the end");
    }
    assert_eq!(setup.counting.snapshot().read_bytes, 3 * BLOCK + 1_000);
    let text = setup.metrics.render();
    for line in [
        "elacsym_cache_blocks_total{outcome=\"hit\"} 4",
        "elacsym_cache_blocks_total{outcome=\"missed\"} 4",
        "elacsym_cache_fetched_bytes_total 197608",
    ] {
        assert!(text.contains(line), "no `{line}` in:\n{text}");
    }
}

#[tokio::test]
async fn read_across_a_small_gap_asks_once_and_keeps_only_what_was_wanted() {
    let setup = Setup::new().await;
    let ends = [0..1, 3 * BLOCK..3 * BLOCK + 1];
    let read = setup.cache.read(&setup.file, &ends, Admission::Keep).await;
    read.expect("it is there");
    assert_eq!(setup.gets(), 1);
    setup.read(BLOCK..BLOCK + 1).await.expect("it is there");
    assert_eq!(setup.gets(), 2, "the gap was dropped");
}

#[tokio::test]
async fn concurrent_readers_of_one_block_ask_once() {
    let setup = Arc::new(Setup::new().await);
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut readers = tokio::task::JoinSet::new();
    for n in 0..32 {
        let setup = Arc::clone(&setup);
        readers.spawn(async move { (n, setup.read(n..n + 100).await) });
    }
    pause.reached().await;
    tokio::task::yield_now().await;
    pause.release();
    while let Some(read) = readers.join_next().await {
        let (n, bytes) = read.expect("no panic");
        assert_eq!(bytes.expect("it is there"), setup.slice(n..n + 100));
    }
    assert_eq!(setup.gets(), 1);
}

#[tokio::test]
async fn reader_dropped_while_it_leads_leaves_the_request_to_the_others() {
    let setup = Setup::new().await;
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut leader = Box::pin(setup.read(0..2 * BLOCK));
    assert!(poll!(leader.as_mut()).is_pending());
    pause.reached().await;
    let mut other = Box::pin(setup.read(BLOCK..BLOCK + 5));
    assert!(poll!(other.as_mut()).is_pending());
    drop(leader);
    pause.release();
    assert_eq!(
        other.await.expect("it goes on"),
        setup.slice(BLOCK..BLOCK + 5)
    );
    assert_eq!(setup.gets(), 1);
    // What the leader wanted came along.
    setup.read(0..1).await.expect("it is in memory");
    assert_eq!(setup.gets(), 1);
}

#[tokio::test]
async fn last_reader_dropped_ends_the_request_and_gives_everything_back() {
    let setup = Setup::new().await;
    let free_bytes = setup.cache.0.budget.free_bytes();
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut first = Box::pin(setup.read(0..1));
    let mut second = Box::pin(setup.read(1..2));
    assert!(poll!(first.as_mut()).is_pending());
    assert!(poll!(second.as_mut()).is_pending());
    pause.reached().await;
    assert!(setup.cache.0.budget.free_bytes() < free_bytes);
    drop((first, second));
    assert_eq!(setup.cache.0.budget.free_bytes(), free_bytes);
    assert_eq!(
        setup.read(0..1).await.expect("a new one"),
        setup.slice(0..1)
    );
    assert_eq!(setup.gets(), 2);
    assert!(setup.cache.0.flights.is_empty());
}

#[tokio::test]
async fn error_of_a_request_reaches_all_who_wait_and_nobody_later() {
    let setup = Setup::new().await;
    setup.faulty.script_reads([(1, ReadFault::Lose)]);
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut readers = Box::pin(join_all((0..32).map(|n| setup.read(n..n + 1))));
    assert!(poll!(readers.as_mut()).is_pending());
    pause.release();
    for read in readers.await {
        let error = read.expect_err("the answer was lost");
        assert_eq!(error.code(), "store_unavailable");
        assert_eq!(error.retry_after_ms(), Some(1_000));
    }
    assert_eq!(setup.gets(), 1);
    setup.read(0..1).await.expect("a new request");
    assert_eq!(setup.gets(), 2);
}

#[tokio::test]
async fn missing_object_is_told_as_such_under_its_own_name_only() {
    let setup = Setup::new().await;
    let gone = CachedFile {
        path: "seg/gone.idx".into(),
        ..setup.file.clone()
    };
    let pause = setup.faulty.pause(Point::BeforeGet, "gone");
    let ranges = [0..1];
    let mut read = Box::pin(setup.cache.read(&gone, &ranges, Admission::Keep));
    assert!(poll!(read.as_mut()).is_pending());
    // The same content under another name, at the same time.
    setup.read(0..1).await.expect("it is there");
    pause.release();
    let error = read.await.expect_err("it is gone");
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Unavailable, "object_missing")
    );
    assert!(error.message().contains("seg/gone.idx"), "{error}");
}

#[tokio::test]
async fn body_that_is_wrong_once_is_fetched_once_more() {
    for fault in [
        ReadFault::Flip(BLOCK as usize + 3),
        ReadFault::Truncate(0),
        ReadFault::Truncate(BLOCK as usize + 3),
        ReadFault::Truncate(3 * BLOCK as usize - 1),
    ] {
        let setup = Setup::new().await;
        setup.faulty.script_reads([(1, fault)]);
        let read = setup.read(0..3 * BLOCK).await;
        assert_eq!(read.expect("right"), setup.slice(0..3 * BLOCK), "{fault:?}");
        assert_eq!(setup.gets(), 2, "{fault:?}");
        assert!(setup.metrics.cache.refetched_blocks_total.get() > 0);
        assert_eq!(setup.metrics.cache.corrupt_blocks_total.get(), 0);
    }
}

#[tokio::test]
async fn block_that_is_wrong_twice_is_corrupt_and_not_kept() {
    let setup = Setup::new().await;
    // In the second body the block comes first: only it is asked again.
    let flips = [
        (1, ReadFault::Flip(2 * BLOCK as usize)),
        (2, ReadFault::Flip(0)),
    ];
    setup.faulty.script_reads(flips);
    let error = setup.read(0..4 * BLOCK).await.expect_err("it is damaged");
    let block = setup.slice(2 * BLOCK..3 * BLOCK);
    let mut flipped = block.to_vec();
    flipped[0] ^= 1;
    assert_eq!(
        (error.kind(), error.message()),
        (
            ErrorKind::Corrupted,
            format!(
                "object `seg/a.idx` is damaged at offset 131072: expected crc32c {:08x}, found crc32c {:08x}",
                crc32c::crc32c(&block),
                crc32c::crc32c(&flipped)
            )
            .as_str()
        )
    );
    let named: Vec<_> = error.details().iter().map(|(name, _)| *name).collect();
    assert_eq!(named, ["object", "offset", "expected", "found"]);
    assert_eq!(setup.gets(), 2);
    assert_eq!(setup.counting.snapshot().read_bytes, 5 * BLOCK);
    assert_eq!(setup.metrics.cache.corrupt_blocks_total.get(), 1);
    assert_eq!(setup.cache.used_bytes(), 0);
    // The damage was on the way; the object itself is well.
    setup.read(0..4 * BLOCK).await.expect("it is well");
}

#[tokio::test]
async fn object_that_is_too_short_is_corrupt_and_says_so() {
    let setup = Setup::new().await;
    let short = setup.slice(0..BYTES - 1);
    setup
        .counting
        .put("seg/a.idx", short)
        .await
        .expect("it is stored");
    let error = setup.read(BYTES - 5..BYTES).await.expect_err("too short");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert_eq!(
        error.message(),
        "object `seg/a.idx` is damaged at offset 1310720: expected 1000 bytes, found 999 bytes"
    );
}

#[tokio::test]
async fn read_that_passes_by_keeps_nothing_unless_another_wants_it_kept() {
    let setup = Setup::new().await;
    let whole = [0..BYTES];
    let pass_by = || setup.cache.read(&setup.file, &whole, Admission::PassBy);
    let parts = pass_by().await.expect("it is there");
    assert_eq!(parts, std::slice::from_ref(&setup.content));
    assert_eq!((setup.gets(), setup.cache.used_bytes()), (1, 0));

    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut passing = Box::pin(pass_by());
    assert!(poll!(passing.as_mut()).is_pending());
    let mut keeping = Box::pin(setup.read(0..1));
    assert!(poll!(keeping.as_mut()).is_pending());
    pause.release();
    keeping.await.expect("it is there");
    passing.await.expect("it is there");
    assert_eq!(setup.gets(), 2);
    assert!(setup.cache.used_bytes() >= BYTES);
}

#[tokio::test]
async fn capacity_is_kept_whatever_is_read() {
    // Three quarters are for blocks.
    let limits = CacheLimits::of_total(8 * BLOCK);
    let setup = Setup::with(limits, FaultRates::default(), 0).await;
    for start in (0..BYTES - 1_000).step_by(1_000) {
        setup.read(start..start + 1_000).await.expect("it is there");
        assert!(setup.cache.used_bytes() <= 6 * BLOCK);
    }
    assert!(setup.cache.used_bytes() > 4 * BLOCK, "it is used");
    let shown = setup.metrics.cache.used_bytes.get();
    assert_eq!(shown as u64, setup.cache.used_bytes());
}

/// Reads the first 20 blocks in windows of two, as a scan does; gives the requests it took.
async fn scan(setup: &Setup) -> u64 {
    let (before, purpose) = (
        setup.gets(),
        Purpose::Scan(ScanShare::new(setup.cache.scan_bytes())),
    );
    for start in (0..20).step_by(2) {
        let range = start * BLOCK..(start + 2) * BLOCK;
        let admission = purpose.admission(2 * BLOCK);
        let read = setup.cache.read(&setup.file, &[range], admission).await;
        read.expect("it is there");
    }
    setup.gets() - before
}

#[tokio::test]
async fn scan_within_its_share_costs_nothing_the_second_time() {
    let limits = CacheLimits {
        scan_bytes: 20 * BLOCK,
        ..CacheLimits::of_total(64 << 20)
    };
    let setup = Setup::with(limits, FaultRates::default(), 0).await;
    assert_eq!(scan(&setup).await, 10);
    assert_eq!(scan(&setup).await, 0);
}

#[tokio::test]
async fn scan_beyond_its_share_keeps_its_first_part_and_pushes_nothing_out() {
    let capacity_bytes = 16 * (BLOCK + 512);
    let limits = CacheLimits {
        capacity_bytes,
        scan_bytes: capacity_bytes / 2,
        ..CacheLimits::of_total(64 << 20)
    };
    let setup = Setup::with(limits, FaultRates::default(), 0).await;
    let other = content(6 * BLOCK);
    let stored = setup.counting.put("seg/b.idx", other.clone()).await;
    stored.expect("it is stored");
    let rows = CachedFile {
        hash: 8,
        ..file("seg/b.idx", &other)
    };
    let point = async |block: u64| {
        let before = setup.gets();
        let range = [block * BLOCK..block * BLOCK + 10];
        let admission = Purpose::Rows.admission(10);
        let read = setup.cache.read(&rows, &range, admission).await;
        read.expect("it is there");
        setup.gets() - before
    };
    for block in 0..6 {
        assert_eq!(point(block).await, 1, "block {block}");
    }
    assert_eq!(scan(&setup).await, 10);
    for round in 0..5 {
        assert_eq!(scan(&setup).await, 6, "round {round}");
        assert!(setup.cache.used_bytes() <= capacity_bytes);
        for block in 0..6 {
            assert_eq!(point(block).await, 0, "round {round}, block {block}");
        }
    }
}

#[tokio::test]
async fn request_is_counted_for_the_reader_that_began_it_whoever_drives_it() {
    let setup = Setup::new().await;
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let (began, joined) = (RequestCounter::default(), RequestCounter::default());
    let mut first = Box::pin(began.scope(setup.read(0..1)));
    assert!(poll!(first.as_mut()).is_pending());
    let mut second = Box::pin(joined.scope(setup.read(1..2)));
    assert!(poll!(second.as_mut()).is_pending());
    drop(first);
    pause.release();
    second.await.expect("it is there");
    let began = began.snapshot();
    assert_eq!((began.get_range, began.read_bytes), (1, BLOCK));
    assert_eq!(joined.snapshot().requests(), 0);
}

#[tokio::test]
async fn requests_beyond_the_turns_wait_and_then_end() {
    let limits = CacheLimits {
        in_flight_gets: 1,
        ..CacheLimits::of_total(64 << 20)
    };
    let setup = Setup::with(limits, FaultRates::default(), 0).await;
    let pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let ranges = [0..1, 10 * BLOCK..10 * BLOCK + 1, 19 * BLOCK..20 * BLOCK];
    let mut read = Box::pin(setup.cache.read(&setup.file, &ranges, Admission::Keep));
    assert!(poll!(read.as_mut()).is_pending());
    assert_eq!(setup.gets(), 1, "the others wait");
    pause.release();
    let parts = read.await.expect("all is there");
    assert_eq!(parts[2], setup.slice(ranges[2].clone()));
    assert_eq!(setup.gets(), 3);
}

#[tokio::test]
async fn requests_beyond_the_memory_wait_and_then_end() {
    let setup = Setup::new().await;
    let large = content(24 << 20);
    let stored = setup.counting.put("seg/b.idx", large.clone()).await;
    stored.expect("it is stored");
    // Room for one request of 8 MiB and the blocks cut from it.
    let limits = CacheLimits {
        in_flight_bytes: 0,
        ..CacheLimits::of_total(64 << 20)
    };
    let cache = BlockCache::new(setup.counting.clone(), limits, setup.metrics.cache.clone());
    let pause = setup.faulty.pause(Point::BeforeGet, "b.idx");
    let (file, ranges) = (file("seg/b.idx", &large), [0..24 << 20]);
    let mut read = Box::pin(cache.read(&file, &ranges, Admission::PassBy));
    assert!(poll!(read.as_mut()).is_pending());
    assert_eq!(setup.gets(), 1, "the others wait");
    pause.release();
    assert!(read.await.expect("all is there") == [large]);
    assert_eq!(setup.gets(), 3);
}

#[tokio::test]
async fn request_without_a_turn_in_time_is_unavailable() {
    let limits = CacheLimits {
        in_flight_gets: 1,
        wait_ms: 1,
        ..CacheLimits::of_total(64 << 20)
    };
    let setup = Setup::with(limits, FaultRates::default(), 0).await;
    let _pause = setup.faulty.pause(Point::BeforeGet, "a.idx");
    let mut holder = Box::pin(setup.read(0..1));
    assert!(poll!(holder.as_mut()).is_pending());
    let error = setup.read(10 * BLOCK..11 * BLOCK).await.expect_err("busy");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("within 1 ms"), "{error}");
}

/// Reads `ranges` one after the other over a failing store; what each gave, and the requests made.
async fn shaky_reads(seed: u64, ranges: &[(u64, u64)]) -> (Vec<Result<Bytes, &'static str>>, u64) {
    let rates = FaultRates {
        refuse: 100,
        lose: 100,
        truncate: 300,
        ..FaultRates::default()
    };
    let setup = Setup::with(CacheLimits::of_total(8 * BLOCK), rates, seed).await;
    let mut reads = Vec::new();
    for pair in ranges.chunks(2) {
        let setup = &setup;
        let both = pair.iter().map(|(start, length)| async move {
            let range = *start..(start + length).min(BYTES);
            match setup.read(range.clone()).await {
                Ok(bytes) => {
                    assert_eq!(bytes, setup.slice(range));
                    Ok(bytes)
                }
                Err(error) => Err(error.code()),
            }
        });
        reads.extend(join_all(both).await);
    }
    assert!(setup.cache.0.flights.is_empty());
    (reads, setup.gets())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn reads_over_a_failing_store_are_right_or_errors_and_the_same_again(
        seed in any::<u64>(),
        ranges in proptest::collection::vec((0..BYTES, 0..4 * BLOCK), 1..16),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let first = runtime.block_on(shaky_reads(seed, &ranges));
        for read in &first.0 {
            let known = ["store_unavailable", "data_corrupt"];
            prop_assert!(read.as_ref().err().is_none_or(|code| known.contains(code)));
        }
        prop_assert_eq!(&first, &runtime.block_on(shaky_reads(seed, &ranges)));
    }
}
