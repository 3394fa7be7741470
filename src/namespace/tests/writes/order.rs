//! What of one request sees what, and what a repeated request does.

use super::*;

fn mark(value: i64) -> [(&'static str, RawValue); 1] {
    [("mark", RawValue::Int(value))]
}

fn marked(value: i64) -> Option<Condition> {
    Some(compare("mark", CompareOp::Eq, value).into())
}

fn key(key: u128) -> Option<IdempotencyKey> {
    Some(IdempotencyKey { key, body: 1 })
}

#[tokio::test]
async fn operations_by_id_see_what_filters_of_the_same_request_did() {
    for (place, engine) in libraries().await {
        let mut batch = delete_where(compare("year", CompareOp::Lt, 1_902));
        batch.patch_by_filter = patch_where(
            compare("year", CompareOp::Lt, 1_905),
            &[("mark", RawValue::Int(1)), ("year", RawValue::Int(2_000))],
        )
        .patch_by_filter;
        // 0 and 1 are deleted, 2 to 4 marked.
        (batch.patches, batch.has_patches) = (
            vec![
                document(0, &[("title", text("gone"))]),
                document(2, &[("title", text("two"))]),
                document(5, &[("title", text("five"))]),
            ],
            true,
        );
        batch.patch_condition = marked(1);
        (batch.deletes, batch.has_deletes) = ([1, 3, 6].map(RawValue::Int).to_vec(), true);
        batch.delete_condition = marked(1);
        let inserted = upsert([(4, 4), (7, 7), (8, 8)]);
        (batch.upserts, batch.has_upserts) = (inserted.upserts, true);
        batch.upsert_condition = marked(1);
        let outcome = write(&engine, batch).await;
        let ids = |ids: &[DocId]| ids.iter().map(number).collect::<Vec<_>>();
        assert_eq!(ids(&outcome.deleted_ids), [0, 1, 3], "{place}");
        assert_eq!(ids(&outcome.patched_ids), [2, 3, 4, 2], "{place}");
        assert_eq!(ids(&outcome.upserted_ids), [4], "{place}");
        let seen = shown(&engine).await;
        let left: Vec<u64> = seen.iter().map(|row| row.0).collect();
        assert_eq!(left, [2, 4, 5, 6, 7, 8, 9], "{place}");
        let title = ("title".to_owned(), Value::String("two".into()));
        let mark = ("mark".to_owned(), Value::Int(1));
        let second = (2, vec![mark, title, vector([2.0, 1_902.0]), year(2_000)]);
        assert_eq!(seen[0], second, "{place}");
        assert_eq!(seen[1], (4, vec![vector([4.0, 4.0]), year(4)]), "{place}");
        assert_eq!(
            seen[2],
            (5, vec![vector([5.0, 1_905.0]), year(1_905)]),
            "{place}"
        );
    }
}

#[tokio::test]
async fn filter_of_a_patch_is_asked_before_the_deletes_of_the_request_and_sees_no_id_operation() {
    for (place, engine) in libraries().await {
        let mut batch = patch_where(compare("year", CompareOp::Gte, 1_908), &mark(1));
        let inserted = upsert([(20, 1_950)]);
        (batch.upserts, batch.has_upserts) = (inserted.upserts, true);
        (batch.deletes, batch.has_deletes) = (vec![RawValue::Int(9)], true);
        let outcome = write(&engine, batch).await;
        assert_eq!(outcome.rows_patched, Some(2), "{place}");
        let seen = shown(&engine).await;
        let marked: Vec<u64> = seen
            .iter()
            .filter(|row| row.1.iter().any(|(name, _)| name == "mark"))
            .map(|row| row.0)
            .collect();
        assert_eq!(marked, [8], "{place}");
        assert_eq!(seen.last().map(|row| row.0), Some(20), "{place}");
    }
}

#[tokio::test]
async fn repeated_request_tells_its_first_outcome_though_its_condition_fails_now() {
    for (place, engine) in libraries().await {
        let year = |value: i64| compare("year", CompareOp::Eq, value);
        let swap = || WriteBatch {
            upsert_condition: Some(year(1_903).into()),
            ..upsert([(3, 2_003)])
        };
        let patches = || WriteBatch {
            patch_condition: Some(year(1_904).into()),
            ..patch(vec![document(4, &[("year", RawValue::Int(2_004))])])
        };
        let deletes = || WriteBatch {
            delete_condition: Some(year(1_905).into()),
            ..delete(&[5])
        };
        let by_filter = || {
            let mut batch = delete_where(year(1_906));
            batch.patch_by_filter =
                patch_where(year(1_907), &[("year", RawValue::Int(2_007))]).patch_by_filter;
            batch
        };
        let requests: [&dyn Fn() -> WriteBatch; 4] = [&swap, &patches, &deletes, &by_filter];
        let counts = |outcome: &WriteOutcome| {
            (
                outcome.seq,
                outcome.rows_upserted,
                outcome.rows_patched,
                outcome.rows_deleted,
                outcome.bytes_written,
            )
        };
        for (at, request) in requests.into_iter().enumerate() {
            let send = async |key| engine.write(&name(), request(), key).await;
            let first = send(key(at as u128)).await.expect("a commit");
            let before = shown(&engine).await;
            let again = send(key(at as u128)).await.expect("a repetition");
            assert_eq!(counts(&again), counts(&first), "{place} {at}");
            // Asked anew, it changes nothing: the first time it did.
            let anew = send(key(100 + at as u128)).await.expect("a commit");
            let n = |outcome: &WriteOutcome| {
                outcome.rows_upserted.unwrap_or(0)
                    + outcome.rows_patched.unwrap_or(0)
                    + outcome.rows_deleted.unwrap_or(0)
            };
            assert!(n(&first) > 0 && n(&anew) == 0, "{place} {at}: {anew:?}");
            assert_eq!(shown(&engine).await, before, "{place} {at}");
        }
    }
}

#[tokio::test]
async fn repeated_partial_write_tells_that_rows_remained() {
    let limits = WriteLimits {
        patch_by_filter_rows: 2,
        ..WriteLimits::default()
    };
    for (place, engine) in libraries_with(limits).await {
        let request = || {
            let mut batch = patch_where(Filter::And(Vec::new()), &mark(1));
            if let Some(patch) = &mut batch.patch_by_filter {
                patch.allow_partial = true;
            }
            batch
        };
        let first = engine.write(&name(), request(), key(1)).await;
        assert!(first.expect("a commit").rows_remaining, "{place}");
        let again = engine.write(&name(), request(), key(1)).await;
        let again = again.expect("a repetition");
        assert_eq!(
            (again.rows_patched, again.rows_remaining),
            (Some(2), true),
            "{place}"
        );
    }
}

#[tokio::test]
async fn filter_after_a_lost_slot_is_asked_again_of_the_state_that_won() {
    for flushed in [false, true] {
        let bucket = memory();
        let (a, b) = (engine_on(Arc::clone(&bucket), 1), engine_on(bucket, 2));
        write(&a, upsert((0..4).map(|id| (id, 1_900 + id)))).await;
        if flushed {
            a.flush(&name()).await.expect("a flush");
        }
        // The other one knows this state, and no newer one.
        assert_eq!(rows(&b).await.len(), 4);
        write(&a, upsert([(3, 2_003), (9, 1_909)])).await;
        write(&a, delete(&[0])).await;
        let early = compare("year", CompareOp::Lt, 2_000);
        let outcome = write(&b, patch_where(early, &mark(1))).await;
        let ids: Vec<u64> = outcome.patched_ids.iter().map(number).collect();
        assert_eq!(ids, [1, 2, 9], "flushed: {flushed}");
        let left: Vec<u64> = shown(&b).await.iter().map(|row| row.0).collect();
        assert_eq!(left, [1, 2, 3, 9], "nothing comes back; flushed: {flushed}");
        write(&a, upsert([(10, 1_910)])).await;
        let any = Filter::And(Vec::new());
        let outcome = write(&b, delete_where(any)).await;
        assert_eq!(outcome.rows_deleted, Some(5), "flushed: {flushed}");
    }
}

#[tokio::test]
async fn filter_sees_writes_that_came_before_it_at_the_same_moment() {
    for (place, engine) in libraries().await {
        let early = || compare("year", CompareOp::Lt, 1_000);
        for round in 0..10 {
            let id = 100 + round;
            let (_, _, deleted) = futures::join!(
                write(&engine, upsert([(50, 2_000)])),
                write(&engine, upsert([(id, 10)])),
                write(&engine, delete_where(early())),
            );
            let ids: Vec<u64> = deleted.deleted_ids.iter().map(number).collect();
            assert_eq!(ids, [id as u64], "{place} {round}");
        }
    }
}
