//! The laws of a store, over HTTP: on an S3 server, and on one that must be refused.
//!
//! `tests/s3/run` starts both and sets the variables.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use elacsym::store::{Bucket, CreateOutcome, GetOutcome, StoreOptions, conformance, open};
use elacsym::types::Entropy;

/// Random prefixes, so that two runs on one server do not meet.
#[derive(Debug)]
struct Random;

impl Entropy for Random {
    #[allow(clippy::disallowed_methods)] // another prefix in each run is the point
    fn next_u128(&self) -> u128 {
        u128::from(std::hash::RandomState::new().build_hasher().finish())
    }
}

async fn bucket(variable: &str, test: &str) -> Option<Arc<dyn Bucket>> {
    #[allow(clippy::disallowed_methods)] // the script that starts the server says where it is
    let endpoint = std::env::var(variable);
    let Ok(endpoint) = endpoint else {
        println!("SKIPPED s3_{test}: {variable} unset");
        return None;
    };
    let options = StoreOptions {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        access_key_id: Some("test".to_owned()),
        secret_access_key: Some("test".to_owned()),
        allow_http: true,
        ..StoreOptions::default()
    };
    let opened = open("s3://test/some/prefix", &options).await;
    Some(opened.expect("the bucket opens"))
}

#[tokio::test]
async fn s3_laws_hold() {
    let Some(bucket) = bucket("ELACSYM_TEST_S3_ENDPOINT", "laws_hold").await else {
        return;
    };
    let verdict = conformance::check(bucket.as_ref(), &Random).await;
    assert_eq!(verdict, Ok(()));
}

#[tokio::test]
async fn s3_replies_tell_the_date_of_the_store() {
    let Some(bucket) = bucket("ELACSYM_TEST_S3_ENDPOINT", "create_tells_the_date").await else {
        return;
    };
    let key = format!("date/{:032x}", Random.next_u128());
    let outcome = bucket.create(&key, "x".into()).await.expect("it answers");
    let CreateOutcome::Created { store_date } = outcome else {
        panic!("expected Created, found {outcome:?}");
    };
    assert!(store_date.is_some());
    let fetched = bucket.get(&key).await.expect("it answers").found();
    assert!(fetched.is_some_and(|fetched| fetched.store_date.is_some()));
    bucket.delete(&key).await.expect("it deletes");
    let missing = bucket.get(&key).await.expect("it answers");
    assert!(
        matches!(
            missing,
            GetOutcome::Missing {
                store_date: Some(_)
            }
        ),
        "{missing:?}"
    );
}

#[tokio::test]
async fn s3_store_that_checks_then_writes_is_refused() {
    let variable = "ELACSYM_TEST_S3_RACY_ENDPOINT";
    let Some(bucket) = bucket(variable, "store_that_checks_then_writes").await else {
        return;
    };
    let violation = conformance::check(bucket.as_ref(), &Random)
        .await
        .expect_err("a racy store must be refused");
    assert_eq!(violation.law, "create_race", "{violation}");
}
