//! `read_only` and pinning: durable through the log, and true on every node at once.

use super::*;
use crate::types::WalSeq;
use crate::types::settings::{Pinning, Settings, SettingsChange};

fn read_only(value: bool) -> SettingsChange {
    SettingsChange {
        read_only: Some(value),
        ..SettingsChange::default()
    }
}

async fn settings(engine: &Engine) -> Settings {
    engine
        .describe(&name())
        .await
        .expect("it is there")
        .settings
}

async fn refuse_all(engine: &Engine, context: &str) {
    let before = rows(engine).await;
    for batch in [upsert([(1, 1)]), delete(&[0]), delete(&[77])] {
        let error = engine.write(&name(), batch, None).await;
        let error = error.expect_err("a refusal");
        assert_eq!(
            error.kind(),
            ErrorKind::InvalidRequest,
            "{context}: {error}"
        );
        assert_eq!(error.code(), "namespace_read_only", "{context}: {error}");
    }
    assert_eq!(rows(engine).await, before, "{context}");
}

#[tokio::test]
async fn read_only_is_true_of_every_engine_from_its_acknowledgement_on() {
    let bucket = memory();
    let (a, b) = (
        engine_on(Arc::clone(&bucket), 1),
        engine_on(Arc::clone(&bucket), 2),
    );
    a.write(&name(), upsert([(0, 0)]), None)
        .await
        .expect("a commit");
    // The other one knows a state that took writes.
    b.write(&name(), upsert([(1, 10)]), None)
        .await
        .expect("a commit");
    a.configure(&name(), read_only(true))
        .await
        .expect("a change");
    refuse_all(&b, "who knew an older state").await;
    refuse_all(&a, "who changed it").await;
    refuse_all(&engine_on(Arc::clone(&bucket), 3), "who opens").await;
    b.flush(&name()).await.expect("flushes go on");
    refuse_all(&b, "after a flush").await;
    // Refusals too are asked of the newest state.
    a.configure(&name(), read_only(false))
        .await
        .expect("a change");
    b.write(&name(), upsert([(2, 20)]), None)
        .await
        .expect("a commit");
    assert_eq!(settings(&a).await, Settings::default());
    assert_eq!(rows(&a).await.len(), 3);
}

#[tokio::test]
async fn settings_outlive_blocks_flushes_and_manifests() {
    let options = EngineOptions {
        rotation: crate::lsm::Rotation {
            slots_max: 4,
            ..crate::lsm::Rotation::default()
        },
        keep_blocks: 0,
        history_ms: 0,
        ..EngineOptions::default()
    };
    let bucket = memory();
    let engine = engine_with(Arc::clone(&bucket), 1, options.clone());
    engine
        .write(&name(), upsert([(0, 0)]), None)
        .await
        .expect("a commit");
    let pinned = SettingsChange {
        read_only: None,
        pinning: Some(Some(Pinning { replicas: 3 })),
        ..SettingsChange::default()
    };
    engine.configure(&name(), pinned).await.expect("a change");
    for id in 1..30 {
        engine
            .write(&name(), upsert([(id, id)]), None)
            .await
            .expect("a commit");
        if id % 7 == 0 {
            engine.flush(&name()).await.expect("a flush");
        }
    }
    engine
        .configure(&name(), read_only(true))
        .await
        .expect("a change");
    engine.flush(&name()).await.expect("a flush");
    engine.finish().await;
    let cold = engine_with(bucket, 2, options);
    let expected = Settings {
        read_only: true,
        pinning: Some(Pinning { replicas: 3 }),
        ..Settings::default()
    };
    assert_eq!(settings(&cold).await, expected);
    refuse_all(&cold, "opened from a manifest").await;
    let change = SettingsChange {
        read_only: Some(false),
        pinning: Some(None),
        ..SettingsChange::default()
    };
    cold.configure(&name(), change).await.expect("a change");
    assert_eq!(settings(&cold).await, Settings::default());
}

#[tokio::test]
async fn writes_that_race_a_change_to_read_only_end_before_it() {
    for seed in 0..8 {
        let bucket = memory();
        let engines = [
            engine_on(Arc::clone(&bucket), 2 * seed + 1),
            engine_on(bucket, 2 * seed + 2),
        ];
        let written = engines[0].write(&name(), upsert([(0, 0)]), None).await;
        written.expect("a commit");
        let writes = (1..=40_i64).map(|id| {
            let engine = &engines[(id % 2) as usize];
            async move { engine.write(&super::name(), upsert([(id, id)]), None).await }
        });
        let name = name();
        let (change, outcomes) = futures::join!(
            engines[1].configure(&name, read_only(true)),
            futures::future::join_all(writes)
        );
        let since: WalSeq = change.expect("a change");
        let mut n_written = 1;
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => {
                    assert!(outcome.seq < since, "{} after {since}", outcome.seq);
                    n_written += 1;
                }
                Err(error) => assert_eq!(error.code(), "namespace_read_only", "{error}"),
            }
        }
        for engine in &engines {
            assert_eq!(rows(engine).await.len(), n_written, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn repeated_request_and_drop_are_answered_while_read_only() {
    let engine = engine_on(memory(), 1);
    let key = Some(IdempotencyKey { key: 1, body: 1 });
    let first = engine
        .write(&name(), upsert([(0, 0)]), key)
        .await
        .expect("a commit");
    engine
        .configure(&name(), read_only(true))
        .await
        .expect("a change");
    let again = engine.write(&name(), upsert([(0, 0)]), key).await;
    assert_eq!(again.expect("a repetition").seq, first.seq);
    engine.delete(&name()).await.expect("a drop");
    let error = engine.configure(&name(), read_only(false)).await;
    assert_eq!(error.expect_err("it is gone").code(), "namespace_not_found");
    // The next one of that name takes writes.
    engine
        .write(&name(), upsert([(0, 0)]), None)
        .await
        .expect("a commit");
    assert_eq!(settings(&engine).await, Settings::default());
}
