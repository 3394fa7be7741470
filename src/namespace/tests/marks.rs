//! Quarantine markers: once for each object, and never in the way.

use bytes::Bytes;

use super::*;
use crate::format::path::KeyKind;
use crate::format::record::{self, Marker};

async fn keys(bucket: &Arc<dyn Bucket>, part: &str) -> Vec<String> {
    let listed = bucket.list("", None, None).await.expect("a list");
    let keys = listed.into_iter().map(|listed| listed.key);
    keys.filter(|key| key.contains(part)).collect()
}

/// A flushed namespace whose documents are damaged; gives their key.
async fn damaged(bucket: &Arc<dyn Bucket>) -> String {
    let engine = engine_on(Arc::clone(bucket), 1);
    let books = (0..50).map(|id| (id, 1_900 + id));
    engine
        .write(&name(), upsert(books), None)
        .await
        .expect("a commit");
    engine.flush(&name()).await.expect("a flush");
    engine.finish().await;
    let key = keys(bucket, ".parquet").await.remove(0);
    let whole = bucket.get(&key).await.expect("it answers").into_bytes();
    let bytes: Vec<u8> = whole
        .expect("it is there")
        .iter()
        .map(|byte| !byte)
        .collect();
    bucket.put(&key, bytes.into()).await.expect("a put");
    key
}

#[tokio::test]
async fn damage_is_marked_once_and_told_by_health_and_metrics() {
    let bucket = memory();
    let key = damaged(&bucket).await;
    let counting = Arc::new(Counting::new(Arc::clone(&bucket)));
    let engine = engine_on(Arc::clone(&counting) as Arc<dyn Bucket>, 2);
    assert_eq!(engine.health().await.quarantined_objects, 0);
    for _ in 0..5 {
        let error = engine.query(&name(), all()).await.expect_err("damaged");
        assert_eq!(error.code(), "data_corrupt");
    }
    engine.finish().await;
    let [mark] = keys(&bucket, path::QUARANTINE)
        .await
        .try_into()
        .expect("one marker");
    assert_eq!(mark, path::quarantine(&key));
    assert_eq!(counting.snapshot().create, 1);
    let bytes = bucket.get(&mark).await.expect("it answers").into_bytes();
    let marker: Marker = record::decode(&mark, &bytes.expect("a marker")).expect("a marker");
    assert_eq!(
        (marker.object.as_str(), marker.kind),
        (key.as_str(), KeyKind::Documents)
    );
    assert_eq!(
        (marker.offset, marker.at),
        (Some(0), Timestamp(1_700_000_000_000))
    );
    let told = |text: &Option<String>| text.as_ref().is_some_and(|text| text.starts_with("crc32c"));
    assert!(told(&marker.expected) && told(&marker.found), "{marker:?}");
    assert_eq!(engine.health().await.quarantined_objects, 1);
    let metrics = engine.shared.metrics.render();
    assert!(
        metrics.contains("elacsym_quarantined_objects_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn marker_that_cannot_be_written_hides_nothing() {
    let bucket = memory();
    let key = damaged(&bucket).await;
    let script = (1..=10).map(|n| (n, CreateFault::Refuse));
    let faulty = Arc::new(Faulty::scripted(Arc::clone(&bucket), script));
    let engine = engine_on(Arc::clone(&faulty) as Arc<dyn Bucket>, 2);
    for _ in 0..3 {
        let error = engine.query(&name(), all()).await.expect_err("damaged");
        assert_eq!(error.code(), "data_corrupt");
        assert!(error.message().contains(&key), "{error}");
        engine.shared.tasks.join_all().await;
    }
    assert_eq!(faulty.n_creates(), 1, "not tried again at once");
    assert_eq!(keys(&bucket, path::QUARANTINE).await, Vec::<String>::new());
    assert_eq!(engine.health().await.quarantined_objects, 1);
}

#[tokio::test]
async fn marker_of_another_server_stays_as_it_is() {
    let bucket = memory();
    let key = damaged(&bucket).await;
    let mark = path::quarantine(&key);
    let theirs = Bytes::from_static(b"theirs");
    bucket.put(&mark, theirs.clone()).await.expect("a put");
    let engine = engine_on(Arc::clone(&bucket), 2);
    engine.query(&name(), all()).await.expect_err("damaged");
    engine.finish().await;
    let found = bucket.get(&mark).await.expect("it answers").into_bytes();
    assert_eq!(found, Some(theirs));
}
