//! Segments in a bucket that counts and fails.

mod select;

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::TryStreamExt;

use super::{SegmentBatch, SegmentReader};
use crate::error::ErrorKind;
use crate::filter::RowMask;
use crate::format::segment::{object_ref, seal};
use crate::lsm::{Deletions, Segment, SegmentId};
use crate::rows::{self, RowsBuilder};
use crate::runtime::ComputePool;
use crate::store::Bucket;
use crate::store::cache::{BlockCache, CacheLimits, Purpose, ScanShare};
use crate::store::count::Counting;
use crate::store::fault::{FaultRates, Faulty, ReadFault};
use crate::store::object::ObjectBucket;
use crate::telemetry::Metrics;
use crate::types::{
    AttrId, AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Value, VectorElement, WalSeq,
};

/// Seals rows and puts both files into a bucket, as segment `n` of claim 1.
pub(crate) async fn store(
    bucket: &dyn Bucket,
    n: u32,
    batches: &[RecordBatch],
    schema: &NamespaceSchema,
) -> Arc<Segment> {
    let sealed = seal(batches, schema).expect("rows that fit their schema");
    let paths = ["parquet", "idx"].map(|end| format!("seg/{n}.{end}"));
    let [parquet, index] = &paths;
    for (path, bytes) in [(parquet, &sealed.parquet), (index, &sealed.index)] {
        bucket.put(path, bytes.clone()).await.expect("it is stored");
    }
    Arc::new(Segment {
        id: SegmentId {
            claim: WalSeq(1),
            n,
        },
        parquet: object_ref(parquet.clone(), &sealed.parquet),
        index: object_ref(index.clone(), &sealed.index),
        footer: sealed.footer,
        rows: sealed.rows,
        logical_bytes: sealed.logical_bytes,
        stats: sealed.stats,
        unindexed: sealed.unindexed.clone(),
        deletions: Deletions::default(),
    })
}

pub(crate) fn cache(bucket: Arc<dyn Bucket>) -> Arc<BlockCache> {
    cache_of(bucket, CacheLimits::of_total(64 << 20))
}

fn cache_of(bucket: Arc<dyn Bucket>, limits: CacheLimits) -> Arc<BlockCache> {
    let metrics = Metrics::new().expect("names are unique");
    Arc::new(BlockCache::new(bucket, limits, metrics.cache))
}

struct Setup {
    faulty: Arc<Faulty>,
    counting: Arc<Counting>,
    segment: Arc<Segment>,
    schema: NamespaceSchema,
    rows: RecordBatch,
}

const DIMS: usize = 256;
const N_ROWS: u64 = 6_000;
const NUMBER: AttrId = AttrId(0);
const TEXT: AttrId = AttrId(1);
const VECTOR: AttrId = AttrId(2);

/// Ids are the even numbers; every seventh row has no vector, every third no text.
impl Setup {
    async fn new() -> Self {
        let mut schema = NamespaceSchema {
            id_kind: Some(IdKind::Uint),
            ..NamespaceSchema::default()
        };
        let dims = DIMS as u32;
        for (name, kind) in [
            ("number", AttributeType::Scalar(ScalarType::Int)),
            ("text", AttributeType::Scalar(ScalarType::String)),
            (
                "vector",
                AttributeType::Vector {
                    dims,
                    element: VectorElement::F32,
                },
            ),
        ] {
            schema.add(name, kind, true).expect("a legal attribute");
        }
        let mut builder = RowsBuilder::new(&schema, N_ROWS as usize);
        for row in 0..N_ROWS {
            let mut values = vec![(NUMBER, Value::Int(row as i64 % 100))];
            if row % 3 != 0 {
                // Long enough that columns take several windows.
                let text = format!("{row} ").repeat(700);
                values.push((TEXT, Value::String(text.into())));
            }
            if row % 7 != 0 {
                let numbers = (0..DIMS).map(|at| (row * 31 + at as u64) as f32);
                values.push((VECTOR, Value::Vector(numbers.collect())));
            }
            builder
                .push_row(DocId::Uint(row * 2), &values)
                .expect("values of their types");
        }
        let rows = builder.finish().expect("a legal batch").1;
        let bucket: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
        let segment = store(&*bucket, 0, std::slice::from_ref(&rows), &schema).await;
        let faulty = Arc::new(Faulty::new(bucket, FaultRates::default(), 1));
        let counting = Arc::new(Counting::new(Arc::clone(&faulty) as Arc<dyn Bucket>));
        Self {
            faulty,
            counting,
            segment,
            schema,
            rows,
        }
    }

    fn reader(&self) -> SegmentReader {
        let cache = cache(Arc::clone(&self.counting) as Arc<dyn Bucket>);
        self.reader_of(&cache, &self.segment)
    }

    fn reader_of(&self, cache: &Arc<BlockCache>, segment: &Arc<Segment>) -> SegmentReader {
        let bucket: Arc<dyn Bucket> = Arc::clone(&self.counting) as Arc<dyn Bucket>;
        let compute = Arc::new(ComputePool::new(2).expect("threads start"));
        SegmentReader::new(bucket, Arc::clone(cache), compute, Arc::clone(segment))
    }

    fn gets(&self) -> u64 {
        self.counting.snapshot().requests()
    }

    /// Flips one bit of a stored file.
    async fn damage(&self, path: &str, at: u64) {
        let stored = self.faulty.get(path).await.expect("it is there");
        let mut bytes = stored.into_bytes().expect("it is there").to_vec();
        bytes[at as usize] ^= 1;
        let put = self.faulty.put(path, Bytes::from(bytes)).await;
        put.expect("it is stored");
    }

    async fn columns(
        &self,
        reader: &SegmentReader,
        attrs: &[AttrId],
        rows: Option<Vec<u32>>,
    ) -> crate::error::Result<Vec<SegmentBatch>> {
        let rows = rows.map(Into::into);
        let batches = reader
            .columns(attrs, true, rows, &Purpose::Rows, Ok)
            .await?;
        batches.try_collect().await
    }

    async fn vectors(
        &self,
        reader: &SegmentReader,
        wanted: &RowMask,
    ) -> crate::error::Result<Vec<(u32, Vec<f32>)>> {
        let each = |pieces: &[super::VectorPiece]| {
            let mut found = Vec::new();
            for piece in pieces {
                let vectors = piece.vectors();
                for row in piece.rows() {
                    if let Some(at) = piece.at(row) {
                        found.push((row, vectors[at * DIMS..(at + 1) * DIMS].to_vec()));
                    }
                }
            }
            Ok(found)
        };
        let windows = reader.vectors(VECTOR, DIMS, wanted, &Purpose::Rows, each);
        let windows = windows.await?;
        let windows: Vec<Vec<(u32, Vec<f32>)>> = windows.try_collect().await?;
        Ok(windows.concat())
    }
}

#[tokio::test]
async fn footer_asked_by_many_at_once_and_later_costs_one_request() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let footers = join_all((0..8).map(|_| reader.footer())).await;
    assert!(footers.iter().all(Result::is_ok));
    assert_eq!(setup.gets(), 1);
    assert_eq!(setup.counting.snapshot().get_range, 1);
    let footer = reader.clone().footer().await.expect("it is kept");
    assert_eq!((u64::from(footer.rows()), setup.gets()), (N_ROWS, 1));
    let read_bytes = setup.counting.snapshot().read_bytes;
    assert_eq!(read_bytes, setup.segment.footer.bytes);
}

#[tokio::test]
async fn footer_pushed_out_by_others_is_read_again() {
    let setup = Setup::new().await;
    let schema = setup.schema.clone();
    let rows = std::slice::from_ref(&setup.rows);
    let other = store(&*setup.faulty, 1, rows, &schema).await;
    let footer = setup.reader().footer().await.expect("it is there");
    let one = footer.memory_bytes() as u64;
    for (room, expected) in [(2 * one + 1_000, 2), (2 * one - 1, 6)] {
        let limits = CacheLimits {
            decoded_bytes: room,
            ..CacheLimits::of_total(64 << 20)
        };
        let cache = cache_of(Arc::clone(&setup.counting) as Arc<dyn Bucket>, limits);
        let readers = [&setup.segment, &other].map(|segment| setup.reader_of(&cache, segment));
        let before = setup.gets();
        for _ in 0..3 {
            for reader in &readers {
                let footer = reader.footer().await.expect("it is there");
                assert_eq!(&**footer.key(), reader.segment().index.path);
                reader.footer().await.expect("the newest stays");
            }
        }
        assert_eq!(setup.gets() - before, expected, "room for {room} bytes");
    }
}

#[tokio::test]
async fn scan_beyond_its_share_is_fetched_again_and_the_reads_of_rows_are_not() {
    let setup = Setup::new().await;
    let all = RowMask::all(N_ROWS as usize);
    let ids: Vec<DocId> = (0..N_ROWS).map(|row| DocId::Uint(row * 2)).collect();
    // 5 MiB of vectors, of which half of 12 MiB, or of 3 MiB, may stay.
    for (total_bytes, expected) in [(16 << 20, 0), (4 << 20, 2 << 20)] {
        let limits = CacheLimits::of_total(total_bytes);
        let cache = cache_of(Arc::clone(&setup.counting) as Arc<dyn Bucket>, limits);
        let reader = setup.reader_of(&cache, &setup.segment);
        reader.find(&ids).await.expect("rows");
        let mut again = 0;
        for _ in 0..3 {
            let before = setup.counting.snapshot().read_bytes;
            let scan = Purpose::Scan(ScanShare::new(cache.scan_bytes()));
            let windows = reader.vectors(VECTOR, DIMS, &all, &scan, |_| Ok(()));
            let windows: Vec<()> = windows
                .await
                .expect("vectors")
                .try_collect()
                .await
                .expect("all");
            assert!(windows.len() > 1);
            again = setup.counting.snapshot().read_bytes - before;
            assert!(cache.used_bytes() <= total_bytes);
        }
        assert!(
            again >= expected && (again > 0) == (expected > 0),
            "{again} bytes again"
        );
        let before = setup.gets();
        reader.find(&ids).await.expect("rows");
        assert_eq!(setup.gets(), before, "ids are kept");
    }
}

#[tokio::test]
async fn footer_damaged_on_its_way_is_fetched_once_more() {
    let setup = Setup::new().await;
    setup.faulty.script_reads([(1, ReadFault::Flip(20))]);
    assert!(setup.reader().footer().await.is_ok());
    assert_eq!(setup.gets(), 2);
}

#[tokio::test]
async fn footer_damaged_in_the_store_is_corrupted_and_named() {
    let setup = Setup::new().await;
    let (path, place) = (&setup.segment.index.path, setup.segment.footer);
    setup.damage(path, place.offset + place.bytes / 2).await;
    let before = setup.gets();
    let error = setup.reader().footer().await.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.message().contains("seg/0.idx"), "{}", error.message());
    assert_eq!(setup.gets() - before, 2);
}

#[tokio::test]
async fn find_gives_the_row_of_each_id_and_asks_only_where_it_may_be() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let outside = [DocId::Uint(N_ROWS * 2), DocId::Uint(u64::MAX)];
    assert_eq!(reader.find(&outside).await.expect("no row"), [None, None]);
    assert_eq!(setup.gets(), 0, "the range of ids said no");
    let all: Vec<DocId> = (0..N_ROWS * 2 + 10).rev().map(DocId::Uint).collect();
    let found = reader.find(&all).await.expect("rows");
    for (id, row) in all.iter().zip(found) {
        let DocId::Uint(id) = id else {
            panic!("an id of another kind");
        };
        let expected = (id % 2 == 0 && *id < N_ROWS * 2).then_some((id / 2) as u32);
        assert_eq!(row, expected, "id {id}");
    }
    assert_eq!(setup.gets(), 2, "the footer and the blocks of ids");
    reader.find(&all).await.expect("rows");
    assert_eq!(setup.gets(), 2, "now they are kept");
}

#[tokio::test]
async fn columns_of_all_and_of_some_rows_equal_what_was_sealed() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let scattered: Vec<u32> = (0..N_ROWS as u32).filter(|row| row % 611 < 3).collect();
    let attrs = [NUMBER, TEXT, VECTOR, AttrId(9)];
    for rows in [None, Some(scattered), Some(vec![])] {
        let batches = setup.columns(&reader, &attrs, rows.clone()).await;
        let batches = batches.expect("batches");
        let numbers = batches.iter().flat_map(|batch| {
            let number = |at| batch.rows.number(at).expect("a row");
            (0..batch.batch.num_rows()).map(number)
        });
        let expected = rows.unwrap_or_else(|| (0..N_ROWS as u32).collect());
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
        for SegmentBatch { rows, batch } in &batches {
            let numbers: Vec<u32> = (0..rows.len()).filter_map(|at| rows.number(at)).collect();
            let wanted = rows::take_rows(&setup.rows, &numbers).expect("rows in range");
            for at in 0..batch.num_rows() {
                let id = |batch| rows::id_at(rows::id_column(batch), at);
                assert_eq!(id(batch), id(&wanted));
                for attr in attrs {
                    let value = |batch| rows::value_at(batch, attr, at);
                    assert_eq!(value(batch), value(&wanted), "row {at} attribute {attr:?}");
                }
            }
        }
    }
    let before = setup.gets();
    setup.columns(&reader, &attrs, None).await.expect("batches");
    assert_eq!(setup.gets(), before, "now they are kept");
}

#[tokio::test]
async fn vectors_come_from_the_pages_with_wanted_rows_alone() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    let n_rows = N_ROWS as usize;
    let all = setup.vectors(&reader, &RowMask::all(n_rows)).await;
    let all = all.expect("vectors");
    let expected: Vec<u32> = (0..N_ROWS as u32).filter(|row| row % 7 != 0).collect();
    assert_eq!(
        all.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
        expected
    );
    for (row, vector) in &all {
        let value = rows::value_at(&setup.rows, VECTOR, *row as usize);
        assert_eq!(value, Value::Vector(vector.as_slice().into()), "row {row}");
    }

    // Cold, a page of one row: its bytes and those of its blocks, not the column's.
    let before = setup.counting.snapshot();
    let one = setup.reader();
    let wanted = RowMask::from_fn(n_rows, |row| row == 3_001);
    let found = setup.vectors(&one, &wanted).await.expect("vectors");
    assert!(found.iter().any(|(row, _)| *row == 3_001));
    let cost = setup.counting.snapshot() - before;
    assert_eq!(cost.requests(), 2, "the footer and one page");
    let page_bytes = cost.read_bytes - setup.segment.footer.bytes;
    assert!(page_bytes < 512 << 10, "{page_bytes}");

    let none = setup.vectors(&one, &RowMask::none(n_rows)).await;
    assert!(none.expect("nothing to read").is_empty());
    let wrong = one.vectors(VECTOR, DIMS + 1, &wanted, &Purpose::Rows, |_| Ok(()));
    let wrong = wrong.await;
    let error = wrong.err().expect("other dimensions");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
}

#[tokio::test]
async fn damage_of_the_documents_is_corrupted_and_named() {
    let setup = Setup::new().await;
    let path = &setup.segment.parquet.path;
    setup.damage(path, setup.segment.parquet.bytes / 2).await;
    let reader = setup.reader();
    let n_rows = N_ROWS as usize;
    let columns = setup.columns(&reader, &[NUMBER, TEXT, VECTOR], None).await;
    let error = columns.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(
        error.message().contains("seg/0.parquet"),
        "{}",
        error.message()
    );
    let vectors = setup.vectors(&reader, &RowMask::all(n_rows)).await;
    assert_eq!(
        vectors.expect_err("it is damaged").kind(),
        ErrorKind::Corrupted
    );
}

#[tokio::test]
async fn missing_objects_are_said_to_be_missing() {
    let setup = Setup::new().await;
    let reader = setup.reader();
    reader.footer().await.expect("still there");
    let (parquet, index) = (&setup.segment.parquet.path, &setup.segment.index.path);
    for path in [parquet, index] {
        setup.faulty.delete(path).await.expect("it is gone");
    }
    let columns = setup.columns(&reader, &[NUMBER], None).await;
    let find = reader.find(&[DocId::Uint(0)]).await;
    let opening = setup.reader();
    for (path, error) in [
        (parquet, columns.expect_err("no documents")),
        (index, find.expect_err("no ids")),
        (index, opening.footer().await.expect_err("no footer")),
    ] {
        assert_eq!(error.code(), "object_missing");
        assert!(
            error.details().contains(&("object", path.clone())),
            "{error:?}"
        );
    }
}
