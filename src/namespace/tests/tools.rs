//! What the tests of segments share: writes, queries that tell much, and looks at the store.

use std::sync::Arc;

use super::{all, memory, name};
use crate::namespace::Engine;
use crate::namespace::fsck::{self, Finding};
use crate::namespace::handle::{Namespace, View};
use crate::query::request::{Consistency, OrderKey, Query, RankBy};
use crate::runtime::{ManualClock, SeededEntropy};
use crate::store::Bucket;
use crate::types::document::{RawValue, WriteBatch};
use crate::types::filter::{CompareOp, Filter};
use crate::types::{Timestamp, WalSeq};

/// Writes, and gives the place in the log.
pub(super) async fn write(engine: &Engine, batch: WriteBatch) -> WalSeq {
    let written = engine.write(&name(), batch, None).await;
    written.expect("a commit").seq
}

pub(super) async fn flush(engine: &Engine) {
    engine.flush(&name()).await.expect("a flush");
}

/// All documents from a year on, by id.
pub(super) fn from(year: i64) -> Query {
    Query {
        filter: Some(Filter::Compare {
            attribute: "year".to_owned(),
            op: CompareOp::Gte,
            value: RawValue::Int(year),
        }),
        ..all()
    }
}

pub(super) fn by_year(descending: bool, limit: usize) -> Query {
    Query {
        rank_by: RankBy::Order(vec![OrderKey {
            attribute: "year".to_owned(),
            descending,
        }]),
        limit,
        ..all()
    }
}

pub(super) async fn handle(engine: &Engine) -> Arc<Namespace> {
    let open = engine.registry.find(&name()).await.expect("an answer");
    open.expect("it is there")
}

pub(super) async fn view(engine: &Engine) -> Arc<View> {
    let view = handle(engine).await.view_at(Consistency::Strong).await;
    view.expect("a view")
}

/// How many objects of all namespaces have this part in their key.
pub(super) async fn count_of(bucket: &dyn Bucket, part: &str) -> usize {
    let listed = bucket.list("ns/", None, None).await.expect("a listing");
    let found = listed.iter().filter(|object| object.key.contains(part));
    found.count()
}

/// Checks the store: nothing is damaged; gives the orphans.
pub(super) async fn orphans(bucket: &Arc<dyn Bucket>) -> Vec<String> {
    let mut found = Vec::new();
    let mut tell = |finding: &Finding| {
        if let Finding::Orphan { object, .. } = finding {
            found.push(object.clone());
        }
    };
    let clock = Arc::new(ManualClock::new(Timestamp(0)));
    let (entropy, only) = (Arc::new(SeededEntropy::new(9)), name());
    let checked = fsck::check(Arc::clone(bucket), clock, entropy, Some(&only), &mut tell).await;
    let checked = checked.expect("it answers");
    assert!(checked.is_clean(), "{checked:?}");
    found
}

/// A store with the same objects.
pub(super) async fn copied(bucket: &Arc<dyn Bucket>) -> Arc<dyn Bucket> {
    let copy = memory();
    for listed in bucket.list("", None, None).await.expect("a listing") {
        let found = bucket.get(&listed.key).await.expect("it answers");
        let bytes = found.into_bytes().expect("it is there");
        copy.put(&listed.key, bytes).await.expect("a put");
    }
    copy
}
