//! Repairs of stores in memory: what is made again, what is left, and that nothing is overwritten.

use std::collections::BTreeMap;

use super::*;

type Objects = BTreeMap<String, Bytes>;

async fn objects(bucket: &Arc<dyn Bucket>) -> Objects {
    let mut found = BTreeMap::new();
    for key in keys(bucket, "").await {
        let bytes = bucket.get(&key).await.expect("it answers").into_bytes();
        found.insert(key, bytes.expect("it is there"));
    }
    found
}

async fn damage(bucket: &Arc<dyn Bucket>, key: &str) {
    let whole = bucket.get(key).await.expect("it answers").into_bytes();
    let mut bytes = whole.expect("it is there").to_vec();
    let at = bytes.len() / 3;
    bytes[at] ^= 8;
    bucket.put(key, bytes.into()).await.expect("a put");
}

async fn repair(bucket: &Arc<dyn Bucket>) -> (Checked, Vec<Repair>) {
    let engine = Engine::new(flushed_world(bucket), EngineOptions::default());
    engine.drain();
    let mut repairs = Vec::new();
    let mut told = |repair: &Repair| repairs.push(repair.clone());
    let done = check_and_repair(&engine, None, &mut |_| {}, &mut told).await;
    let done = done.expect("the store answers");
    engine.finish().await;
    (done, repairs)
}

fn all(allow_degraded: bool) -> Query {
    Query {
        rank_by: RankBy::Id,
        limit: 100,
        per: None,
        offset: 0,
        paging: Paging::Off,
        filter: None,
        include: Include::Everything,
        compute: Vec::new(),
        distance_metric: None,
        consistency: Consistency::Strong,
        allow_degraded,
    }
}

async fn rows(bucket: &Arc<dyn Bucket>) -> String {
    let engine = Engine::new(flushed_world(bucket), EngineOptions::default());
    let reply = engine.query(&name(), all(false)).await.expect("a reply");
    engine.finish().await;
    format!("{:?}", reply.rows)
}

/// Has a server meet damage and mark it, without building anything again.
async fn mark(bucket: &Arc<dyn Bucket>) {
    let engine = Engine::new(flushed_world(bucket), EngineOptions::default());
    engine.drain();
    let _ = engine.query(&name(), all(true)).await;
    engine.finish().await;
}

#[tokio::test]
async fn damaged_and_missing_indexes_are_built_again_and_nothing_is_written_over() {
    let (bucket, _) = flushed().await;
    let expected = rows(&bucket).await;
    let indexes = keys(&bucket, ".idx").await;
    damage(&bucket, &indexes[0]).await;
    bucket.delete(&indexes[1]).await.expect("a delete");
    mark(&bucket).await;
    let before = objects(&bucket).await;
    let (done, found) = run(&bucket).await;
    assert_eq!((done.damaged, done.missing), (1, 1), "{found:?}");
    assert_eq!(objects(&bucket).await, before, "a check changes nothing");
    let (done, repairs) = repair(&bucket).await;
    assert!(done.is_clean(), "{done:?}: {repairs:?}");
    let rebuilt = indexes.iter().map(|object| Repair::Rebuilt {
        object: object.clone(),
    });
    for rebuilt in rebuilt {
        assert!(repairs.contains(&rebuilt), "{repairs:?}");
    }
    assert_eq!(done.past, 2, "older states refer to them");
    assert_eq!(rows(&bucket).await, expected);
    let advisory = |key: &str| key.ends_with("/head") || key.ends_with("~hint");
    let after = objects(&bucket).await;
    for (key, bytes) in before.iter().filter(|(key, _)| !advisory(key)) {
        assert!(after.get(key) == Some(bytes), "{key}");
    }
    // Once no state refers to them, their markers say nothing.
    let no_history = EngineOptions {
        history_ms: 0,
        ..EngineOptions::default()
    };
    let engine = Engine::new(flushed_world(&bucket), no_history);
    for id in 30..34 {
        engine
            .write(&name(), upsert(id..id + 1), None)
            .await
            .expect("a commit");
        engine.flush(&name()).await.expect("a flush");
    }
    engine.collect(&name(), false).await.expect("a pass");
    engine.finish().await;
    assert!(!keys(&bucket, path::QUARANTINE).await.is_empty());
    let (done, repairs) = repair(&bucket).await;
    assert_eq!((done.past, done.quarantined), (0, 0), "{repairs:?}");
    assert!(
        repairs.iter().any(
            |repair| matches!(repair, Repair::Unmarked { object, .. } if indexes.contains(object))
        ),
        "{repairs:?}"
    );
    assert_eq!(keys(&bucket, path::QUARANTINE).await, [""; 0]);
}

#[tokio::test]
async fn damaged_copies_are_written_again_and_markers_of_whole_objects_removed() {
    let (bucket, _) = flushed().await;
    let documents = keys(&bucket, ".parquet").await.remove(0);
    let whole = objects(&bucket).await;
    damage(&bucket, &documents).await;
    let torn = Bytes::from_static(b"torn");
    let copies = [keys(&bucket, "/head").await, keys(&bucket, "~hint").await].concat();
    assert_eq!(copies.len(), 2);
    for key in &copies {
        bucket.put(key, torn.clone()).await.expect("a put");
    }
    mark(&bucket).await;
    assert_eq!(keys(&bucket, path::QUARANTINE).await.len(), 1);
    let bytes = whole[&documents].clone();
    bucket.put(&documents, bytes).await.expect("a put");
    let (done, repairs) = repair(&bucket).await;
    assert!(done.is_clean() && done.advisory == 0, "{repairs:?}");
    let rewritten = copies.iter().map(|object| Repair::Rewritten {
        object: object.clone(),
    });
    for rewritten in rewritten {
        assert!(repairs.contains(&rewritten), "{repairs:?}");
    }
    let unmarked =
        |repair: &Repair| matches!(repair, Repair::Unmarked { object, .. } if *object == documents);
    assert!(repairs.iter().any(unmarked), "{repairs:?}");
    assert_eq!(keys(&bucket, path::QUARANTINE).await, [""; 0]);
    let (done, repairs) = repair(&bucket).await;
    assert_eq!((done.is_clean(), repairs), (true, Vec::new()));
}

#[tokio::test]
async fn what_has_no_whole_source_is_left_and_told_and_stays_unclean() {
    for (first, part) in [
        (".parquet", "backup"),
        ("/wal/", "backup"),
        (".idx", "parquet"),
        ("/genesis", "backup"),
    ] {
        let (bucket, _) = flushed().await;
        let object = keys(&bucket, first).await.pop().expect("one");
        if first == ".idx" {
            // Its documents are damaged too.
            damage(&bucket, &object.replace(".idx", ".parquet")).await;
        }
        damage(&bucket, &object).await;
        let before = objects(&bucket).await;
        let (done, repairs) = repair(&bucket).await;
        assert!(!done.is_clean(), "{object}");
        let left = repairs.iter().find_map(|repair| match repair {
            Repair::Left { object: left, why } if *left == object => Some(why),
            _ => None,
        });
        let why = left.unwrap_or_else(|| panic!("{object}: {repairs:?}"));
        assert!(why.contains(part), "{object}: {why}");
        let mut after = objects(&bucket).await;
        after.retain(|key, _| !key.starts_with(path::QUARANTINE));
        assert_eq!(after, before, "{object}");
    }
}
