//! Sparse vectors in segments: the same answers as in the tail, from inverted lists.

use parquet::file::metadata::ParquetMetaDataReader;

use super::json::{ask, schema};
use super::*;
use crate::query::reply::Dist;
use crate::query::request::{LimitPer, ScoreExpr};
use crate::store::Listed;

/// A number made of two.
fn mixed(a: u64, b: u64) -> u64 {
    let mixed = (a << 32 | b)
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

/// Documents of `entries` of `dims` dimensions, low ones more often; every 13th has none.
fn batch(ids: std::ops::Range<u64>, entries: u64, dims: u64) -> WriteBatch {
    let document = |id: u64| {
        let mut words: Vec<(Arc<str>, RawValue)> = Vec::new();
        for at in 0..entries {
            let within = 1 + mixed(id, at) % dims;
            let dim = mixed(at, id) % within;
            let weight = (mixed(id + at, dim) % 4_000) as f64 / 1_000.0 - 0.5;
            words.push((format!("w{dim}").into(), RawValue::Float(weight)));
        }
        words.sort_by(|a, b| a.0.cmp(&b.0));
        words.dedup_by(|a, b| a.0 == b.0);
        let mut attributes = vec![("year".into(), RawValue::Int(id as i64 % 7))];
        if id % 13 != 5 {
            attributes.push(("s".into(), RawValue::Object(words)));
        }
        Document {
            id: RawValue::Int(id as i64),
            attributes,
        }
    };
    let mut spec = schema(&[("s", "{}f16"), ("none", "{}f16")]);
    for attribute in spec.attributes.values_mut() {
        attribute.sparse_knn = true;
    }
    WriteBatch {
        upserts: ids.map(document).collect(),
        has_upserts: true,
        schema: Some(spec),
        ..WriteBatch::default()
    }
}

fn by_words(attribute: &str, words: &[(&str, f64)], limit: usize) -> Query {
    let weight = |(dim, weight): &(&str, f64)| ((*dim).into(), RawValue::Float(*weight));
    Query {
        rank_by: RankBy::Score(ScoreExpr::Sparse {
            attribute: attribute.to_owned(),
            vector: RawValue::Object(words.iter().map(weight).collect()),
        }),
        limit,
        ..all()
    }
}

async fn scored(engine: &Engine, query: &Query) -> Vec<(DocId, u64)> {
    let rows = ask(engine, query.clone()).await.into_iter();
    let scored = rows.map(|row| match row.dist {
        Some(Dist::Score(score)) => (row.id, score.to_bits()),
        other => panic!("no score: {other:?}"),
    });
    scored.collect()
}

#[tokio::test]
async fn ranking_by_a_sparse_vector_is_the_same_in_segments_as_in_the_tail() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    let write = async |batch| engine.write(&name(), batch, None).await.expect("a commit");
    write(batch(0..3_000, 12, 80)).await;
    let words = [
        ("w0", 1.5),
        ("w1", 0.25),
        ("w7", 3.0),
        ("w33", 1.0),
        ("-", 2.0),
    ];
    let of_year = |query: Query| Query {
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Int(3),
        }),
        ..query
    };
    let queries = [
        by_words("s", &words, 10),
        by_words("s", &words, 10_000),
        by_words("s", &[("w0", -1.0), ("w2", -2.5), ("w40", 1.0)], 50),
        by_words("s", &[("w4", 0.0)], 50),
        by_words("s", &[], 50),
        by_words("none", &words, 50),
        of_year(by_words("s", &words, 20)),
        Query {
            per: Some(LimitPer {
                attributes: vec!["year".to_owned()],
                limit: 2,
            }),
            ..by_words("s", &words, 10)
        },
    ];
    let answers = async |engine: &Engine| {
        let mut answers = Vec::new();
        for query in &queries {
            answers.push(scored(engine, query).await);
        }
        answers
    };
    let same = |found: Vec<Vec<(DocId, u64)>>, expected: &Vec<Vec<(DocId, u64)>>, when: &str| {
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(found == expected, "{when}, query {at}: {found:?}");
        }
    };
    let expected = answers(&engine).await;
    let counts: Vec<usize> = expected.iter().map(Vec::len).collect();
    assert!(counts[1] > 1_000 && counts[6] == 20, "{counts:?}");
    assert_eq!([counts[3], counts[4], counts[5]], [0; 3]);
    engine.flush(&name()).await.expect("a flush");
    same(answers(&engine).await, &expected, "segment");

    // Rows that were best are gone or others; some come in a second segment.
    let best: Vec<i64> = expected[0]
        .iter()
        .step_by(2)
        .map(|(id, _)| match id {
            DocId::Uint(id) => *id as i64,
            other => panic!("an id of another kind: {other}"),
        })
        .collect();
    write(delete(&best)).await;
    write(batch(2_500..4_000, 9, 60)).await;
    let expected = answers(&engine).await;
    engine.flush(&name()).await.expect("a flush");
    same(answers(&engine).await, &expected, "segments");
    same(answers(&engine_on(bucket, 2)).await, &expected, "cold");
}

/// The bytes of a column in the only Parquet file of a bucket.
async fn column_bytes(bucket: &Arc<dyn Bucket>, column: &str) -> u64 {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|Listed { key, .. }| key);
    let files: Vec<String> = keys.filter(|key| key.ends_with(".parquet")).collect();
    let [path] = files.as_slice() else {
        panic!("one segment: {files:?}");
    };
    let file = bucket.get(path).await.expect("a file").into_bytes();
    let mut reader = ParquetMetaDataReader::new();
    reader.try_parse(&file.expect("there")).expect("parses");
    let metadata = reader.finish().expect("metadata");
    let groups = metadata.row_groups().iter();
    let columns = groups.flat_map(|group| group.columns());
    let of_column = columns.filter(|chunk| chunk.column_path().parts()[0] == column);
    of_column.map(|chunk| chunk.compressed_size() as u64).sum()
}

#[tokio::test]
async fn ranking_by_a_sparse_vector_reads_less_than_its_column() {
    let bucket = memory();
    let engine = engine_on(Arc::clone(&bucket), 1);
    for from in [0, 8_000] {
        let batch = batch(from..from + 8_000, 40, 3_000);
        engine.write(&name(), batch, None).await.expect("a commit");
    }
    let query = by_words("s", &[("w1000", 1.0), ("w2000", 2.0)], 1);
    let expected = scored(&engine, &query).await;
    assert_eq!(expected.len(), 1);
    engine.flush(&name()).await.expect("a flush");
    let column = column_bytes(&bucket, "s").await;
    let counting = Arc::new(Counting::new(bucket));
    let cold = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    cold.describe(&name()).await.expect("described");
    let before = counting.snapshot();
    assert_eq!(scored(&cold, &query).await, expected);
    let cost = counting.snapshot() - before;
    assert!(
        cost.read_bytes < column * 2 / 3,
        "{} of {column}",
        cost.read_bytes
    );
}
