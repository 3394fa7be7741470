//! A small flushed namespace in a local directory: three segments, deletions in the manifest and in an object, a
//! tail. And the questions that are asked of it.

use std::collections::BTreeMap;

use std::sync::Arc;

use bytes::Bytes;
use elacsym::error::Result;
use elacsym::format::path;
use elacsym::format::record::{self, Marker, StoreRecord};
use elacsym::namespace::fsck::{self, Finding};
use elacsym::namespace::{Compaction, Engine, EngineOptions, World};
use elacsym::query::reply::Row;
use elacsym::query::request::{Consistency, Include, OrderKey, Paging, Query, RankBy};
use elacsym::runtime::{ComputePool, ManualClock, SeededEntropy};
use elacsym::store::{Bucket, StoreOptions, open};
use elacsym::telemetry::Metrics;
use elacsym::types::document::{Document, RawValue, WriteBatch};
use elacsym::types::filter::{CompareOp, Filter};
use elacsym::types::{DistanceMetric, NamespaceId, NamespaceName, Timestamp, WalSeq};

use crate::objects::{Objects, read_all};

/// Documents of the first segment: enough that the bitmap of half of them is an object of its own.
const DOCUMENTS: i64 = 6_000;

/// An answer, and the state it is of.
#[derive(Debug, PartialEq)]
pub(super) struct Answered {
    pub(super) rows: Vec<Row>,
    pub(super) seq: WalSeq,
    rows_total: u64,
}

pub(super) type Answers = Vec<Result<Answered>>;

pub(super) struct Library {
    dir: tempfile::TempDir,
    compute: Arc<ComputePool>,
    runtime: tokio::runtime::Runtime,
    objects: Objects,
}

fn name() -> NamespaceName {
    NamespaceName::parse("library").expect("a legal name")
}

/// A second, smaller namespace: objects may be swapped with its own.
fn other() -> NamespaceName {
    NamespaceName::parse("archive").expect("a legal name")
}

fn upsert(ids: impl IntoIterator<Item = i64>, round: i64) -> WriteBatch {
    let document = |id: i64| Document {
        id: RawValue::Int(id),
        attributes: vec![
            (
                Arc::from("title"),
                RawValue::String(format!("book {id}").into()),
            ),
            (Arc::from("year"), RawValue::Int(1_900 + round + id % 90)),
            (
                Arc::from("vector"),
                RawValue::Numbers {
                    values: vec![id as f64, round as f64],
                    integers: true,
                },
            ),
        ],
    };
    WriteBatch {
        upserts: ids.into_iter().map(document).collect(),
        has_upserts: true,
        distance_metric: Some(DistanceMetric::EuclideanSquared),
        ..WriteBatch::default()
    }
}

fn delete(ids: impl IntoIterator<Item = i64>) -> WriteBatch {
    WriteBatch {
        deletes: ids.into_iter().map(RawValue::Int).collect(),
        has_deletes: true,
        ..WriteBatch::default()
    }
}

/// Everything; what a filter leaves; the nearest; an order.
fn questions() -> Vec<Query> {
    let all = Query {
        rank_by: RankBy::Id,
        limit: 10_000,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Everything,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded: false,
    };
    let filter = Filter::Compare {
        attribute: "year".to_owned(),
        op: CompareOp::Gt,
        value: RawValue::Int(1_985),
    };
    let nearest = RankBy::Vector {
        attribute: "vector".to_owned(),
        vector: RawValue::Numbers {
            values: vec![2_000.0, 1.0],
            integers: true,
        },
        exact: false,
    };
    let key = OrderKey {
        attribute: "year".to_owned(),
        descending: true,
    };
    vec![
        Query {
            rank_by: nearest,
            limit: 5,
            ..all.clone()
        },
        Query {
            filter: Some(filter),
            include: Include::Nothing,
            ..all.clone()
        },
        Query {
            rank_by: RankBy::Order(vec![key]),
            limit: 7,
            ..all.clone()
        },
        all,
    ]
}

impl Library {
    pub(super) fn build() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut library = Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            compute: Arc::new(ComputePool::new(2).expect("threads start")),
            runtime,
            objects: BTreeMap::new(),
        };
        library.runtime.block_on(async {
            let engine = library.engine(1).await;
            let write = async |batch| {
                let written = engine.write(&name(), batch, None).await;
                written.expect("a commit");
            };
            let flush = async || {
                engine.flush(&name()).await.expect("a flush");
            };
            write(upsert(0..DOCUMENTS, 0)).await;
            flush().await;
            // A few rows of the first segment: their bitmap is small.
            write(upsert(5_990..6_200, 1)).await;
            write(delete([17, 4_000])).await;
            flush().await;
            write(delete((0..DOCUMENTS).step_by(2))).await;
            write(upsert([6_195, 7_001, 7_003], 2)).await;
            flush().await;
            for round in 3..9 {
                write(upsert([7_003, 8_000 + round], round)).await;
            }
            write(delete([7_001, 1])).await;
            for round in 0..3 {
                let batch = upsert(100 * round..100 * round + 150, round);
                let written = engine.write(&other(), batch, None).await;
                written.expect("a commit");
                engine.flush(&other()).await.expect("a flush");
            }
            let written = engine.write(&other(), upsert([5, 600], 4), None).await;
            written.expect("a commit");
            engine.finish().await;
            let record = StoreRecord {
                store: NamespaceId(uuid::Uuid::from_u128(1)),
                conformance: 1,
            };
            let record = Bytes::from(record::encode(&record));
            let store = library.store().await;
            store.put(path::STORE, record).await.expect("a put");
        });
        library.objects = read_all(library.dir.path());
        library
    }

    async fn store(&self) -> Arc<dyn Bucket> {
        let url = format!("file://{}", self.dir.path().display());
        let store = open(&url, &StoreOptions::default()).await;
        store.expect("a directory")
    }

    async fn engine(&self, seed: u64) -> Engine {
        let world = World {
            bucket: self.store().await,
            clock: Arc::new(ManualClock::new(Timestamp(1_700_000_000_000))),
            entropy: Arc::new(SeededEntropy::new(seed)),
            compute: Arc::clone(&self.compute),
            metrics: Arc::new(Metrics::new().expect("metric names are unique")),
        };
        // A merge would leave objects that nothing refers to, while the cases are counted.
        let compaction = Compaction {
            enabled: false,
            ..Compaction::default()
        };
        let options = EngineOptions {
            compaction,
            ..EngineOptions::default()
        };
        Engine::new(world, options)
    }

    /// All objects as they were written.
    pub(super) fn objects(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.objects
    }

    /// Asks a server that has seen nothing of it before.
    pub(super) fn ask(&self) -> Answers {
        self.runtime.block_on(async {
            let engine = self.engine(2).await;
            // What is damaged stays so: it heals in other tests.
            engine.drain();
            let mut answers = Vec::new();
            let mut asked: Vec<_> = questions()
                .into_iter()
                .map(|query| (name(), query))
                .collect();
            asked.extend(questions().pop().map(|query| (other(), query)));
            for (name, query) in asked {
                let reply = engine.query(&name, query).await;
                answers.push(reply.map(|reply| Answered {
                    rows: reply.rows,
                    seq: reply.coverage.as_of_seq,
                    rows_total: reply.coverage.rows_total,
                }));
            }
            engine.finish().await;
            answers
        })
    }

    /// The objects in which a check of the store finds fault.
    pub(super) fn check(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let store = self.store().await;
            let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000)));
            let entropy = Arc::new(SeededEntropy::new(3));
            let mut found = Vec::new();
            let mut tell = |finding: &Finding| match finding {
                Finding::Damaged { object, .. }
                | Finding::Missing { object, .. }
                | Finding::Past { object, .. } => {
                    found.push(object.clone());
                }
                Finding::Advisory { .. }
                | Finding::Quarantined { .. }
                | Finding::Skipped { .. } => {}
                Finding::Orphan { object, .. } => found.push(format!("orphan {object}")),
            };
            let done = fsck::check(store, clock, entropy, None, &mut tell).await;
            let done = done.expect("the store answers");
            let is_clean = done.is_clean() && done.past == 0;
            assert_eq!(is_clean, found.is_empty(), "{done:?}: {found:?}");
            found
        })
    }

    /// Writes objects over, or takes them away.
    pub(super) fn write(&self, objects: &BTreeMap<String, Option<Vec<u8>>>) {
        for (key, bytes) in objects {
            let path = self.dir.path().join(key);
            match bytes {
                Some(bytes) => std::fs::write(path, bytes).expect("the object can be written"),
                None => std::fs::remove_file(path).expect("the object can be removed"),
            }
        }
    }

    /// The objects that servers have marked as damaged; the markers are taken away.
    pub(super) fn take_marks(&self) -> Vec<String> {
        let root = self.dir.path().join(path::QUARANTINE);
        if !root.exists() {
            return Vec::new();
        }
        let marks = read_all(&root);
        std::fs::remove_dir_all(&root).expect("the markers can be removed");
        let marked = marks.iter().map(|(key, bytes)| {
            let marker: Marker = record::decode(key, bytes).expect("a marker");
            marker.object
        });
        marked.collect()
    }

    pub(super) fn restore<'a>(&self, keys: impl Iterator<Item = &'a String>) {
        for key in keys {
            let path = self.dir.path().join(key);
            std::fs::write(path, &self.objects[key]).expect("the object can be written");
        }
    }
}
