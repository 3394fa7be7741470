//! Reaping: what is left of namespaces that were dropped long enough ago is removed.
//!
//! A `Reap` entry ends the log for ever, then the manifest of that state stands for all of it: with the birth record it is
//! all that stays. Without it, a writer that slept would take the namespace for one that has not begun. Reaping
//! again, elsewhere or at the same time, does no harm. Marks under `dropped/` say what there is to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::clean::LOG_GRACE_MS;
use super::name::{self, Meaning};
use super::{Engine, Namespace, Shared};
use crate::error::{Error, Result};
use crate::format::record::{self, Genesis};
use crate::format::{manifest as codec, path};
use crate::lsm::Entry;
use crate::lsm::state::Life;
use crate::store::{Resolved, StoreKind, create_once, read_proved};
use crate::types::{NamespaceId, NamespaceName, Timestamp};

/// Marks asked for in one listing request.
const MARKS_A_REQUEST: usize = 1_000;
/// Objects deleted at once.
const REQUESTS_AT_ONCE: usize = 8;

/// What a round of reaping came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Namespaces of which objects were deleted.
    pub namespaces: u64,
    /// Those objects.
    pub objects: u64,
    /// Namespaces of which something stays for later: their grace is not over, or something holds them.
    pub waiting: u64,
}

/// What became of one namespace.
enum Left {
    /// There is nothing to do any more.
    Nothing,
    /// So many objects were deleted, and it is looked at again: something may have come meanwhile.
    Deleted(u64),
    /// Something holds it.
    Held,
}

impl Engine {
    /// Reaps on a task, unless that is under way. Asks for one LIST where nothing was dropped.
    pub fn reap_soon(&self) {
        if !self.shared.options.gc.enabled
            || !self.ready()
            || self.shared.reaping.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let reaped = engine.reap(false).await;
            engine.shared.reaping.store(false, Ordering::Release);
            if let Err(error) = reaped {
                engine.shared.metrics.gc.failures_total.inc();
                tracing::warn!(error = %error.chain(), "dropped namespaces were not looked for");
            }
        });
    }

    /// Removes what is left of namespaces whose grace is over, the one dropped first at the beginning.
    ///
    /// With `dry_run` it only counts. What cannot be removed is told and left for the next round. Errors: `Unavailable` where the marks cannot be
    /// listed. Cancel safe.
    pub async fn reap(&self, dry_run: bool) -> Result<Reaped> {
        let bucket = &self.shared.bucket;
        let grace_ms = i64::try_from(self.shared.options.gc.undelete_grace_ms).unwrap_or(i64::MAX);
        let mut reaped = Reaped::default();
        let mut after: Option<String> = None;
        loop {
            let listed = bucket.list(path::DROPPED, after.as_deref(), Some(MARKS_A_REQUEST));
            let listed = listed.await?;
            if listed.is_empty() {
                return Ok(reaped);
            }
            let now = self.shared.store_time_or_own().await?;
            for object in &listed {
                let (since, id) = match path::parse_dropped(&object.key) {
                    Ok(mark) => mark,
                    Err(error) => {
                        tracing::warn!(error = %error.chain(), "object is passed over");
                        continue;
                    }
                };
                let is_over = now.0.saturating_sub(since.0) >= grace_ms || since == Timestamp(0);
                if !is_over || !self.ready() {
                    reaped.waiting += 1;
                    continue;
                }
                let left = match dry_run {
                    true => self.remains(id).await,
                    false => self.reap_one(id, now).await,
                };
                match left {
                    Ok(Left::Nothing) if dry_run => {}
                    Ok(Left::Nothing) => bucket.delete(&object.key).await?,
                    Ok(Left::Deleted(objects)) => {
                        reaped.namespaces += 1;
                        reaped.objects += objects;
                    }
                    Ok(Left::Held) => reaped.waiting += 1,
                    Err(error) => {
                        reaped.waiting += 1;
                        self.shared.metrics.gc.failures_total.inc();
                        self.shared.note_damage(&error);
                        tracing::warn!(namespace_id = %id, error = %error.chain(), "dropped namespace was not removed");
                    }
                }
            }
            match listed.last() {
                Some(last) if listed.len() == MARKS_A_REQUEST => after = Some(last.key.clone()),
                _ => return Ok(reaped),
            }
        }
    }

    async fn reap_one(&self, id: NamespaceId, now: Timestamp) -> Result<Left> {
        let shared = &self.shared;
        let Some(name) = born_as(shared, id).await? else {
            return Ok(Left::Nothing);
        };
        let namespace = self.registry.open_incarnation(&name, id).await?;
        match namespace.view().state.life {
            Life::Live => return self.end_unnamed(&name, &namespace).await,
            Life::Dropped if !namespace.view().state.pins.is_empty() => return Ok(Left::Held),
            Life::Dropped => {
                let reap = |_| Entry::Reap;
                namespace.commit_alone(Life::Dropped, reap).await?;
                shared.metrics.gc.reaped_total.inc();
            }
            Life::Reaped => {}
        }
        let state = Arc::clone(&namespace.view().state);
        if state.life != Life::Reaped {
            return Ok(Left::Held);
        }
        let tombstone = path::manifest(id, state.seq);
        let bytes = Bytes::from(codec::encode(&state));
        if let Resolved::Other(_) = create_once(&*shared.bucket, &tombstone, bytes).await? {
            shared.metrics.wal.divergence_alarms_total.inc();
            return Err(Error::corrupted(format!(
                "object `{tombstone}` differs from the state it stands for"
            ))
            .with_detail("object", tombstone));
        }
        let mut deleted = 0;
        for prefix in [
            path::segment_prefix(id),
            path::deletions_prefix(id),
            path::manifest_prefix(id),
            path::floor_prefix(id),
            path::head(id),
            path::quarantine_prefix(id),
        ] {
            deleted += delete_below(shared, &prefix, &tombstone).await?;
        }
        // Nodes that trust what they proved lately ask for no head: their slots must still be taken.
        if shared.bucket.kind() == StoreKind::Http && !is_old(shared, &tombstone, now).await? {
            return Ok(match deleted {
                0 => Left::Held,
                _ => Left::Deleted(deleted),
            });
        }
        deleted += shared.delete_blocks_below(id, u64::MAX).await?;
        let metrics = &shared.metrics.gc;
        metrics.deleted_objects_total.inc_by(deleted);
        Ok(match deleted {
            0 => Left::Nothing,
            _ => {
                tracing::info!(namespace = %name, namespace_id = %id, objects = deleted, "dropped namespace was removed");
                Left::Deleted(deleted)
            }
        })
    }

    /// What reaping one would delete.
    async fn remains(&self, id: NamespaceId) -> Result<Left> {
        let bucket = &*self.shared.bucket;
        let Some(name) = born_as(&self.shared, id).await? else {
            return Ok(Left::Nothing);
        };
        if matches!(name::resolve(bucket, &name).await?, Meaning::Live { id: live, .. } if live == id)
        {
            return Ok(Left::Nothing);
        }
        let listed = bucket.list(&path::all_of(id), None, None).await?;
        Ok(match listed.len() as u64 {
            // The birth record and the manifest of the end.
            0..=2 => Left::Nothing,
            n_objects => Left::Deleted(n_objects - 1),
        })
    }

    /// What a mark on a namespace that lives means: it was brought back; or nothing names it, and it ends here.
    async fn end_unnamed(&self, name: &NamespaceName, namespace: &Arc<Namespace>) -> Result<Left> {
        match name::resolve(&*self.shared.bucket, name).await? {
            Meaning::Live { id, .. } if id == namespace.id() => Ok(Left::Nothing),
            _ => {
                namespace.drop_log().await?;
                Ok(Left::Held)
            }
        }
    }
}

/// Under which name an incarnation was born; `None` where there is none.
async fn born_as(shared: &Shared, id: NamespaceId) -> Result<Option<NamespaceName>> {
    let key = path::genesis(id);
    let decode = |bytes: Bytes| record::decode::<Genesis>(&key, &bytes);
    let read = read_proved(&key, || shared.bucket.get(&key), decode);
    match read.await?.found() {
        Some(Genesis::Created { name }) => NamespaceName::parse(&name).map(Some),
        None => Ok(None),
    }
}

/// Deletes all objects below a prefix but one; how many.
async fn delete_below(shared: &Shared, prefix: &str, but: &str) -> Result<u64> {
    let mut deleted = 0;
    let mut listed = shared.bucket.list(prefix, None, None).await?;
    listed.retain(|object| object.key != but);
    let mut deletes = stream::iter(listed)
        .map(|object| async move { shared.bucket.delete(&object.key).await })
        .buffer_unordered(REQUESTS_AT_ONCE);
    while deletes.try_next().await?.is_some() {
        deleted += 1;
    }
    Ok(deleted)
}

/// Whether an object has been there for as long as any node trusts a proof, by the store's clock.
async fn is_old(shared: &Shared, key: &str, now: Timestamp) -> Result<bool> {
    let listed = shared.bucket.list(key, None, Some(1)).await?;
    let written = listed.first().map_or(now, |object| object.last_modified);
    Ok(now.0.saturating_sub(written.0) >= LOG_GRACE_MS)
}
