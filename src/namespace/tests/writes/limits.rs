//! How much one write may change: rows, bytes, and what is said beyond.

use super::*;

/// Limits that ten documents reach.
fn few(rows: usize) -> WriteLimits {
    WriteLimits {
        delete_by_filter_rows: rows,
        patch_by_filter_rows: rows,
        ..WriteLimits::default()
    }
}

fn small(stored_bytes: u64) -> WriteLimits {
    WriteLimits {
        stored_bytes,
        ..WriteLimits::default()
    }
}

fn from_1904() -> Filter {
    compare("year", CompareOp::Gte, 1_904)
}

fn marking(filter: Filter) -> WriteBatch {
    patch_where(filter, &[("mark", RawValue::Int(1))])
}

fn partial(mut batch: WriteBatch) -> WriteBatch {
    if let Some(delete) = &mut batch.delete_by_filter {
        delete.allow_partial = true;
    }
    if let Some(patch) = &mut batch.patch_by_filter {
        patch.allow_partial = true;
    }
    batch
}

fn numbers(ids: &[DocId]) -> Vec<u64> {
    ids.iter().map(number).collect()
}

/// The ids of documents with a mark.
async fn marked(engine: &Engine) -> Vec<u64> {
    let has = |row: &&(u64, Vec<(String, Value)>)| row.1.iter().any(|(name, _)| name == "mark");
    shown(engine)
        .await
        .iter()
        .filter(has)
        .map(|row| row.0)
        .collect()
}

/// A refusal that names the limit and has changed nothing.
async fn must_refuse(engine: &Engine, batch: WriteBatch, parts: [&str; 2]) {
    let before = shown(engine).await;
    let error = refused(engine, batch).await;
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert_eq!(error.code(), "by_filter_too_much", "{error}");
    for part in parts {
        assert!(error.message().contains(part), "`{part}` in {error}");
    }
    assert_eq!(shown(engine).await, before, "{error}");
}

#[tokio::test]
async fn delete_by_filter_over_its_rows_is_refused_or_partial() {
    for (place, engine) in libraries_with(few(4)).await {
        let parts = ["`delete_by_filter`", "at most 4 rows"];
        must_refuse(&engine, delete_where(from_1904()), parts).await;
        let outcome = write(&engine, partial(delete_where(from_1904()))).await;
        assert_eq!(numbers(&outcome.deleted_ids), [4, 5, 6, 7], "{place}");
        assert_eq!(outcome.rows_deleted, Some(4), "{place}");
        assert!(outcome.rows_remaining, "{place}");
        let outcome = write(&engine, partial(delete_where(from_1904()))).await;
        assert_eq!(numbers(&outcome.deleted_ids), [8, 9], "{place}");
        assert!(!outcome.rows_remaining, "{place}");
        // As many as may be are not too many.
        let outcome = write(&engine, delete_where(Filter::And(Vec::new()))).await;
        assert_eq!(outcome.rows_deleted, Some(4), "{place}");
        assert!(!outcome.rows_remaining, "{place}");
        assert!(shown(&engine).await.is_empty(), "{place}");
    }
}

#[tokio::test]
async fn patch_by_filter_over_its_rows_is_refused_or_partial() {
    for (place, engine) in libraries_with(few(4)).await {
        let parts = ["`patch_by_filter`", "at most 4 rows"];
        must_refuse(&engine, marking(from_1904()), parts).await;
        let outcome = write(&engine, partial(marking(from_1904()))).await;
        assert_eq!(numbers(&outcome.patched_ids), [4, 5, 6, 7], "{place}");
        assert_eq!(outcome.rows_patched, Some(4), "{place}");
        assert!(outcome.rows_remaining, "{place}");
        assert_eq!(marked(&engine).await, [4, 5, 6, 7], "{place}");
        let others = compare("year", CompareOp::Gte, 1_908);
        let outcome = write(&engine, partial(marking(others))).await;
        assert!(!outcome.rows_remaining, "{place}");
        // As many as may be are not too many.
        let first = compare("year", CompareOp::Lt, 1_904);
        let outcome = write(&engine, marking(first)).await;
        assert_eq!(outcome.rows_patched, Some(4), "{place}");
        assert!(!outcome.rows_remaining, "{place}");
        assert_eq!(marked(&engine).await.len(), 10, "{place}");
    }
}

#[tokio::test]
async fn patch_by_filter_does_not_count_what_the_same_request_deleted() {
    for (place, engine) in libraries_with(few(4)).await {
        // 0 to 3 go; of 0 to 7, which the patch means, four are left.
        let mut batch = delete_where(compare("year", CompareOp::Lt, 1_904));
        batch.patch_by_filter = marking(compare("year", CompareOp::Lt, 1_908)).patch_by_filter;
        let outcome = write(&engine, batch).await;
        assert_eq!(numbers(&outcome.patched_ids), [4, 5, 6, 7], "{place}");
        assert!(!outcome.rows_remaining, "{place}");
        // 4 and 5 go, and are none of 6 to 9 anyway; with 20 there would be one too many.
        let mut batch = delete_where(compare("year", CompareOp::Lt, 1_906));
        batch.patch_by_filter = marking(compare("year", CompareOp::Gte, 1_906)).patch_by_filter;
        write(&engine, upsert([(20, 1_920)])).await;
        let parts = ["`patch_by_filter`", "at most 4 rows"];
        must_refuse(&engine, batch.clone(), parts).await;
        write(&engine, delete(&[20])).await;
        // 4 goes; of 5 to 9 four may be patched.
        let mut batch = delete_where(compare("year", CompareOp::Eq, 1_904));
        batch.patch_by_filter = marking(Filter::And(Vec::new())).patch_by_filter;
        let parts = ["`patch_by_filter`", "at most 4 rows"];
        must_refuse(&engine, batch.clone(), parts).await;
        let outcome = write(&engine, partial(batch)).await;
        assert_eq!(numbers(&outcome.deleted_ids), [4], "{place}");
        assert_eq!(numbers(&outcome.patched_ids), [5, 6, 7, 8], "{place}");
        assert!(outcome.rows_remaining, "{place}");
    }
}

#[tokio::test]
async fn delete_by_filter_that_is_partial_is_remembered_beside_a_whole_patch() {
    for (place, engine) in libraries_with(few(4)).await {
        let mut batch = partial(delete_where(from_1904()));
        batch.patch_by_filter = marking(compare("year", CompareOp::Lt, 1_902)).patch_by_filter;
        let outcome = write(&engine, batch).await;
        assert_eq!(numbers(&outcome.deleted_ids), [4, 5, 6, 7], "{place}");
        assert_eq!(numbers(&outcome.patched_ids), [0, 1], "{place}");
        assert!(outcome.rows_remaining, "{place}");
    }
}

#[tokio::test]
async fn delete_by_filter_over_its_bytes_is_refused_or_partial() {
    // An id is eight bytes.
    for (place, engine) in libraries_with(small(31)).await {
        let parts = ["`delete_by_filter`", "at most 31 bytes"];
        must_refuse(&engine, delete_where(from_1904()), parts).await;
        let outcome = write(&engine, partial(delete_where(from_1904()))).await;
        assert_eq!(numbers(&outcome.deleted_ids), [4, 5, 6], "{place}");
        assert!(outcome.rows_remaining, "{place}");
    }
}

#[tokio::test]
async fn patch_by_filter_over_its_bytes_is_refused_or_partial() {
    // A document has 24 bytes, the patch 16.
    for (place, engine) in libraries_with(small(119)).await {
        let parts = ["`patch_by_filter`", "at most 119 bytes"];
        must_refuse(&engine, marking(from_1904()), parts).await;
        let outcome = write(&engine, partial(marking(from_1904()))).await;
        assert_eq!(numbers(&outcome.patched_ids), [4, 5], "{place}");
        assert!(outcome.rows_remaining, "{place}");
        assert_eq!(marked(&engine).await, [4, 5], "{place}");
    }
}

#[tokio::test]
async fn documents_by_id_over_their_bytes_are_too_large_and_the_limit_is_named() {
    const DOCUMENTS: i64 = 1_100;
    let options = EngineOptions {
        write_limits: small(1_000),
        ..EngineOptions::default()
    };
    let engine = engine_with(memory(), 1, options);
    write(&engine, upsert((0..DOCUMENTS).map(|id| (id, id)))).await;
    // What the tail has is in memory anyway.
    let mark = |id| document(id, &[("mark", RawValue::Int(1))]);
    let patches = || patch((0..DOCUMENTS).map(mark).collect());
    assert_eq!(
        write(&engine, patches()).await.rows_patched,
        Some(DOCUMENTS as u64)
    );
    engine.flush(&name()).await.expect("a flush");
    let holds = || Some(compare("year", CompareOp::Gte, 0).into());
    let ids: Vec<i64> = (0..DOCUMENTS).collect();
    for batch in [
        patches(),
        WriteBatch {
            upsert_condition: holds(),
            ..upsert((0..DOCUMENTS).map(|id| (id, 1)))
        },
        WriteBatch {
            delete_condition: holds(),
            ..delete(&ids)
        },
    ] {
        let error = refused(&engine, batch).await;
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(error.message().contains("at most 1000 bytes"), "{error}");
    }
    assert_eq!(
        write(&engine, patch(vec![mark(1)])).await.rows_patched,
        Some(1)
    );
    let seen = engine.query(&name(), all()).await.expect("a reply");
    assert_eq!(seen.rows.len() as i64, DOCUMENTS);
}
