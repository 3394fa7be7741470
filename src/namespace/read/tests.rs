//! Reads over segments: the same documents must answer alike wherever they lie.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fetch;
use super::scan::{self, Looked};
use super::source::Source;
use crate::error::Result;
use crate::filter::{self, RowMask, Target};
use crate::lsm::{Segment, Tail};
use crate::query::bind::{BoundQuery, BoundRank};
use crate::query::compute::BoundCompute;
use crate::query::order::{BoundKey, BoundOrder, BoundPer, OrderBy, bind_order};
use crate::query::plan::Plan;
use crate::query::reply::Row;
use crate::query::request::{Curve, LimitPer, OrderKey, ScoreExpr};
use crate::query::score::BoundScore;
use crate::rows::{self, RowsBuilder};
use crate::runtime::ComputePool;
use crate::segment::SegmentReader;
use crate::segment::tests::{cache, store};
use crate::store::Bucket;
use crate::store::count::Counting;
use crate::store::object::ObjectBucket;
use crate::types::document::RawValue;
use crate::types::filter::{CompareOp, Filter};
use crate::types::{
    AttrId, AttributeType, DistanceMetric, DocId, IdKind, NamespaceSchema, ScalarType, Value,
    VectorElement, WalSeq,
};

mod reads;
mod totals;

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

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

const DIMS: u32 = 4;
const N_IDS: u64 = 4_000;
const N_SEGMENTS: usize = 3;

type Document = Vec<(AttrId, Value)>;

/// The schema after `age` changes: attributes come with time, one of the first is dropped at the end.
fn schema_at(age: usize) -> NamespaceSchema {
    let scalar = AttributeType::Scalar;
    let steps: [&[(&str, AttributeType)]; N_SEGMENTS + 1] = [
        &[
            ("int", scalar(ScalarType::Int)),
            ("dropped", scalar(ScalarType::Int)),
            ("tags", AttributeType::ArrayUnknown),
        ],
        &[
            (
                "vector",
                AttributeType::Vector {
                    dims: DIMS,
                    element: VectorElement::F32,
                },
            ),
            ("text", scalar(ScalarType::String)),
        ],
        &[("float", scalar(ScalarType::Float))],
        &[("flag", scalar(ScalarType::Bool))],
    ];
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        metric: Some(DistanceMetric::EuclideanSquared),
        ..NamespaceSchema::default()
    };
    for step in steps.iter().take(age + 1) {
        for (name, kind) in *step {
            schema.add(name, *kind, true).expect("a legal attribute");
        }
    }
    if age > 0 {
        // Lists that were all empty have got a type.
        let tags = schema.attributes.get_mut("tags").expect("declared");
        tags.kind = AttributeType::Array(ScalarType::Int);
    }
    if age == N_SEGMENTS {
        schema.attributes.remove("dropped");
    }
    schema
}

/// Few distinct values, so that ties are common.
fn value(seed: &mut Seed, kind: AttributeType) -> Value {
    match kind {
        AttributeType::Scalar(ScalarType::Int) => Value::Int(seed.below(9) as i64 - 4),
        AttributeType::Scalar(ScalarType::Float) => {
            Value::Float(*seed.pick(&[-1.5, -0.0, 0.0, 2.0]))
        }
        AttributeType::Scalar(ScalarType::Bool) => Value::Bool(seed.below(2) == 0),
        AttributeType::Scalar(_) => Value::String((*seed.pick(&["", "a", "ab", "é"])).into()),
        AttributeType::Array(_) => {
            let len = seed.below(3);
            Value::Array((0..len).map(|_| Value::Int(seed.below(4) as i64)).collect())
        }
        AttributeType::ArrayUnknown => Value::Array([].into()),
        AttributeType::Bytes => Value::Bytes([seed.below(3) as u8].into()),
        AttributeType::Sparse => Value::Sparse([("a".into(), seed.below(3) as f32)].into()),
        AttributeType::Vector { dims, .. } => {
            let numbers = (0..dims).map(|_| seed.below(3) as f32 - 1.0);
            Value::Vector(numbers.collect())
        }
    }
}

fn document(seed: &mut Seed, schema: &NamespaceSchema) -> Document {
    let mut attributes: Vec<_> = schema.attributes.values().collect();
    attributes.sort_by_key(|one| one.id);
    let mut document = Document::new();
    for one in attributes {
        if seed.below(4) > 0 {
            document.push((one.id, value(seed, one.kind)));
        }
    }
    document
}

fn batch(
    schema: &NamespaceSchema,
    documents: &BTreeMap<u64, Document>,
) -> arrow::array::RecordBatch {
    let mut builder = RowsBuilder::new(schema, documents.len());
    for (id, document) in documents {
        let known: Document = document
            .iter()
            .filter(|(attr, _)| schema.name_of(*attr).is_some())
            .cloned()
            .collect();
        builder
            .push_row(DocId::Uint(*id), &known)
            .expect("values of their types");
    }
    builder.finish().expect("a legal batch").1
}

fn tail_of(schema: &NamespaceSchema, documents: &BTreeMap<u64, Document>) -> Tail {
    let mut tail = Tail::default();
    if !documents.is_empty() {
        tail.apply(WalSeq(1), Some(&batch(schema, documents)), None, schema)
            .expect("rows that fit");
    }
    tail
}

/// The same documents twice: all in a tail, and spread over segments of several ages and a tail.
struct World {
    bucket: Arc<dyn Bucket>,
    counting: Arc<Counting>,
    schema: NamespaceSchema,
    segments: Vec<Arc<Segment>>,
    live: Vec<Arc<RowMask>>,
    documents: BTreeMap<u64, Document>,
    together: Source,
    newest: Tail,
}

impl World {
    async fn new(seed: &mut Seed) -> Self {
        let bucket: Arc<dyn Bucket> = Arc::new(ObjectBucket::memory());
        let schema = schema_at(N_SEGMENTS);
        // What each place holds; a later version kills the earlier ones.
        let mut places: Vec<BTreeMap<u64, Document>> = vec![BTreeMap::new(); N_SEGMENTS + 1];
        let mut documents = BTreeMap::new();
        let mut newest_place = BTreeMap::new();
        for id in 0..N_IDS {
            for (age, place) in places.iter_mut().enumerate() {
                // Mostly one version, in ranges that overlap, so that stats tell segments apart.
                let home = id * 4 / N_IDS == age as u64;
                if seed.below(10) < if home { 8 } else { 1 } {
                    let document = document(seed, &schema_at(age));
                    place.insert(id, document.clone());
                    documents.insert(id, document);
                    newest_place.insert(id, age);
                }
            }
            if seed.below(20) == 0 {
                documents.remove(&id);
                newest_place.remove(&id);
            }
        }
        let tail = places.pop().expect("the last place is the tail");
        let tail = tail
            .into_iter()
            .filter(|(id, _)| newest_place.get(id) == Some(&N_SEGMENTS));
        let newest = tail_of(&schema, &tail.collect());
        let (mut segments, mut live) = (Vec::new(), Vec::new());
        for (age, place) in places.iter().enumerate() {
            let old = schema_at(age);
            segments.push(store(&*bucket, age as u32, &[batch(&old, place)], &old).await);
            let ids: Vec<&u64> = place.keys().collect();
            let alive = |row: usize| newest_place.get(ids[row]) == Some(&age);
            live.push(Arc::new(RowMask::from_fn(ids.len(), alive)));
        }
        let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
        let together = Source {
            tail: tail_of(&schema, &documents).view(WalSeq(1)),
            schema: Arc::new(schema.clone()),
            segments: Arc::from([]),
            live: Arc::from([]),
            compute: Arc::new(ComputePool::new(2).expect("threads start")),
            scan_bytes: 0,
            plan: None,
            unread: Arc::default(),
        };
        Self {
            bucket,
            counting,
            schema,
            segments,
            live,
            documents,
            together,
            newest,
        }
    }

    /// The spread state, with readers that know nothing yet.
    fn spread(&self) -> Source {
        let bucket: Arc<dyn Bucket> = Arc::clone(&self.counting) as Arc<dyn Bucket>;
        let cache = cache(Arc::clone(&bucket));
        let compute = &self.together.compute;
        let readers = self.segments.iter().map(|segment| {
            SegmentReader::new(
                Arc::clone(&bucket),
                Arc::clone(&cache),
                Arc::clone(compute),
                Arc::clone(segment),
            )
        });
        Source {
            tail: self.newest.view(WalSeq(1)),
            schema: Arc::clone(&self.together.schema),
            segments: readers.collect(),
            live: self.live.clone().into(),
            compute: Arc::clone(compute),
            scan_bytes: cache.scan_bytes(),
            plan: None,
            unread: Arc::default(),
        }
    }

    fn gets(&self) -> u64 {
        self.counting.snapshot().requests()
    }

    fn attr(&self, name: &str) -> AttrId {
        self.schema.get(name).expect("declared").id
    }

    fn nearest(&self, limit: usize) -> BoundQuery {
        BoundQuery {
            rank: BoundRank::Vector {
                attribute: self.attr("vector"),
                metric: DistanceMetric::EuclideanSquared,
                vector: vec![0.5, -0.5, 1.0, 0.0],
                exact: false,
            },
            limit,
            offset: 0,
            paged: false,
            continues: false,
            filter: None,
            include: Vec::new(),
            compute: Vec::new(),
        }
    }

    fn filtered(&self, filter: &Filter) -> filter::BoundFilter {
        filter::bind(filter, &self.schema).expect("a filter that fits")
    }
}

fn filter_of(seed: &mut Seed, depth: u32) -> Filter {
    let many = |seed: &mut Seed| {
        let n = seed.below(3);
        (0..n).map(|_| filter_of(seed, depth - 1)).collect()
    };
    match seed.below(if depth == 0 { 3 } else { 6 }) {
        0 | 1 => {
            let ops = [
                CompareOp::Eq,
                CompareOp::NotEq,
                CompareOp::Lt,
                CompareOp::Lte,
                CompareOp::Gt,
                CompareOp::Gte,
            ];
            let (attribute, value) = match seed.below(6) {
                0 => ("id", RawValue::Int(seed.below(N_IDS) as i64)),
                1 => ("int", RawValue::Int(seed.below(11) as i64 - 5)),
                2 => (
                    "text",
                    RawValue::String((*seed.pick(&["", "a", "b"])).into()),
                ),
                3 => ("float", RawValue::Float(*seed.pick(&[-2.0, 0.0, 2.0]))),
                4 => ("flag", RawValue::Bool(true)),
                _ => ("int", RawValue::Null),
            };
            Filter::Compare {
                attribute: attribute.to_owned(),
                op: *seed.pick(&ops),
                value,
            }
        }
        2 => {
            let (attribute, end) = *seed.pick(&[("tags", 4), ("int", 6), ("id", N_IDS)]);
            let n = seed.below(3) + 1;
            Filter::In {
                attribute: attribute.to_owned(),
                values: (0..n)
                    .map(|_| RawValue::Int(seed.below(end) as i64))
                    .collect(),
                negated: seed.below(3) == 0,
            }
        }
        3 => Filter::And(many(seed)),
        4 => Filter::Or(many(seed)),
        _ => Filter::Not(Box::new(filter_of(seed, depth - 1))),
    }
}

fn query_of(seed: &mut Seed, world: &World) -> BoundQuery {
    let limit = *seed.pick(&[1, 7, 100, 5_000]);
    let mut query = world.nearest(limit);
    query.offset = *seed.pick(&[0, 0, 3, 150]);
    if seed.below(2) == 0 {
        let keys: Vec<OrderKey> = (0..seed.below(3))
            .map(|_| OrderKey {
                attribute: (*seed.pick(&["id", "int", "text", "float", "flag"])).to_owned(),
                descending: seed.below(2) == 0,
            })
            .collect();
        let by = match keys.is_empty() {
            true if seed.below(3) > 0 => {
                let score = BoundScore::bind(&score_of(seed, 2), &world.schema);
                OrderBy::Score(score.expect("a legal score"))
            }
            true => OrderBy::Keys(Vec::new()),
            false => OrderBy::Keys(bind_order(&keys, &world.schema).expect("legal keys")),
        };
        let per = (seed.below(3) == 0).then(|| {
            let attributes = vec![(*seed.pick(&["int", "text", "flag"])).to_owned()];
            let limit = 1 + seed.below(3) as usize;
            BoundPer::bind(&LimitPer { attributes, limit }, &world.schema).expect("legal")
        });
        query.rank = BoundRank::Order(Arc::new(BoundOrder { by, per }));
    } else if let BoundRank::Vector { metric, vector, .. } = &mut query.rank {
        *metric = *seed.pick(&DistanceMetric::ALL);
        *vector = (0..DIMS).map(|_| seed.below(3) as f32 - 1.0).collect();
    }
    if seed.below(4) > 0 {
        query.filter = Some(world.filtered(&filter_of(seed, 2)));
    }
    if seed.below(3) > 0 {
        let attributes = world.schema.attributes.iter();
        let include = attributes.map(|(name, one)| (Arc::from(name.as_str()), one.id));
        query.include = include.collect();
    }
    if seed.below(3) == 0 {
        let score = BoundScore::bind(&score_of(seed, 1), &world.schema).expect("legal");
        let dist = BoundCompute::VectorDist {
            attribute: world.attr("vector"),
            metric: DistanceMetric::EuclideanSquared,
            vector: vec![1.0; DIMS as usize],
        };
        query.compute = vec![
            ("dist".into(), dist),
            ("score".into(), BoundCompute::Score(score)),
        ];
    }
    query
}

fn by_keys(keys: Vec<BoundKey>) -> BoundRank {
    BoundRank::Order(Arc::new(BoundOrder {
        by: OrderBy::Keys(keys),
        per: None,
    }))
}

fn score_of(seed: &mut Seed, depth: u32) -> ScoreExpr {
    let many = |seed: &mut Seed| {
        let n = 1 + seed.below(2);
        (0..n).map(|_| score_of(seed, depth - 1)).collect()
    };
    let curve = |seed: &mut Seed| Curve {
        midpoint: *seed.pick(&[0.5, 1.0, 4.0]),
        is_duration: false,
        exponent: *seed.pick(&[1.0, 2.0]),
    };
    let attribute = |seed: &mut Seed| (*seed.pick(&["int", "float"])).to_owned();
    match seed.below(if depth == 0 { 3 } else { 6 }) {
        0 => ScoreExpr::Filter(filter_of(seed, 1)),
        1 => ScoreExpr::Saturate {
            clause: Box::new(ScoreExpr::Attribute(attribute(seed))),
            curve: curve(seed),
        },
        2 => ScoreExpr::Decay {
            clause: Box::new(ScoreExpr::Dist {
                attribute: attribute(seed),
                origin: RawValue::Int(seed.below(5) as i64 - 2),
            }),
            curve: curve(seed),
        },
        3 => ScoreExpr::Sum(many(seed)),
        4 => ScoreExpr::Max {
            clauses: many(seed),
            floor: (seed.below(2) == 0).then_some(0.25),
        },
        _ => ScoreExpr::Product {
            weight: *seed.pick(&[0.0, 0.5, 3.0]),
            clause: Box::new(score_of(seed, depth - 1)),
        },
    }
}

#[derive(Debug)]
struct Answered {
    rows: Vec<Row>,
    looked: Looked,
}

async fn ask(source: &Source, query: &BoundQuery) -> Result<Answered> {
    let scan::Answered {
        found: rows,
        looked,
        ..
    } = scan::run(source, &Arc::new(query.clone())).await?;
    Ok(Answered { rows, looked })
}

/// A filter on an attribute with an index.
fn ints_from(least: i64) -> Filter {
    Filter::Compare {
        attribute: "int".to_owned(),
        op: CompareOp::Gte,
        value: RawValue::Int(least),
    }
}

/// What costs least, and each plan there is.
fn plans() -> impl Iterator<Item = Option<Plan>> {
    std::iter::once(None).chain(Plan::ALL.map(Some))
}

#[tokio::test]
async fn query_of_any_kind_answers_alike_wherever_documents_lie() {
    let (mut pruned, mut answers) = (0, 0);
    for world_seed in 0..4 {
        let mut seed = Seed(world_seed);
        let world = World::new(&mut seed).await;
        let spread = world.spread();
        assert_eq!(spread.live_rows(), world.documents.len() as u64);
        for round in 0..80 {
            let query = query_of(&mut seed, &world);
            let expected = ask(&world.together, &query).await.expect("an answer");
            let found = ask(&spread, &query).await.expect("an answer");
            for plan in plans() {
                let source = spread.clone().with_plan(plan);
                let found = ask(&source, &query).await.expect("an answer");
                assert!(
                    found.rows == expected.rows,
                    "world {world_seed} round {round} {plan:?}: {query:?}\nfound {:?}\nexpected {:?}",
                    found.rows,
                    expected.rows
                );
            }
            assert_eq!(
                found.looked.segments_searched + found.looked.segments_pruned,
                N_SEGMENTS as u64
            );
            pruned += found.looked.segments_pruned;
            answers += u64::from(!found.rows.is_empty());
        }
    }
    // The queries are not all trivial.
    assert!(pruned > 50 && answers > 200, "{pruned} {answers}");
}

#[tokio::test]
async fn query_of_a_missing_object_says_so() {
    let world = World::new(&mut Seed(10)).await;
    let path = &world.segments[1].parquet.path;
    world.bucket.delete(path).await.expect("it is gone");
    let error = ask(&world.spread(), &world.nearest(5)).await;
    assert_eq!(error.expect_err("no vectors").code(), "object_missing");
}

#[tokio::test]
async fn documents_by_id_are_the_live_versions_in_segments() {
    let world = World::new(&mut Seed(11)).await;
    let spread = world.spread();
    let ids: Vec<DocId> = (0..N_IDS + 5).map(DocId::Uint).collect();
    let attrs: Vec<AttrId> = world.schema.attributes.values().map(|one| one.id).collect();
    let found = fetch::documents(&spread.segments, &spread.live, &ids, &attrs).await;
    let found = found.expect("documents");
    let alive: usize = spread.live.iter().map(|live| live.count()).sum();
    assert!(alive > 1_000);
    assert_eq!(found.len(), alive);
    for number in 0..N_IDS {
        let Some(document) = found.get(&DocId::Uint(number)) else {
            continue;
        };
        let expected = &world.documents[&number];
        for attr in &attrs {
            let wanted = expected.iter().find(|(known, _)| known == attr);
            let wanted = wanted.map_or(Value::Null, |(_, value)| value.clone());
            assert_eq!(rows::value_at(document, *attr, 0), wanted, "id {number}");
        }
    }
}

#[tokio::test]
async fn rows_looked_at_are_those_that_live() {
    let world = World::new(&mut Seed(12)).await;
    let found = ask(&world.spread(), &world.nearest(1)).await;
    let looked = found.expect("an answer").looked;
    assert_eq!(looked.scanned_rows, world.documents.len() as u64);
}
