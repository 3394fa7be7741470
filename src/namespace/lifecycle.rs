//! The end of a namespace, and its coming back: what a name means follows what the log says.
//!
//! A drop is an entry of the log, then a mark for whoever removes what is left, then the name's record. Death in between
//! leaves a name that means a log which has ended: whoever meets that writes the rest. Until the grace is over an
//! `Undrop` and another record bring it back as it was.

use std::sync::Arc;

use bytes::Bytes;

use super::handle::{Namespace, not_found};
use super::name::{self, Meaning};
use super::{Engine, Shared, TRIES_MAX, restless};
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::format::record::NameRecord;
use crate::lsm::Entry;
use crate::lsm::state::Life;
use crate::store::create_once;
use crate::types::{NamespaceId, NamespaceName, Timestamp};

impl Engine {
    /// Drops a namespace: hidden at once on every node. Until the grace is over it can be had back.
    ///
    /// Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`. Cancel safe: it may still be dropped.
    pub async fn delete(&self, name: &NamespaceName) -> Result<()> {
        self.end(name, false).await
    }

    /// As `delete`, and nobody will want it back: its objects are removed as soon as no node can take them for its own.
    pub async fn purge(&self, name: &NamespaceName) -> Result<()> {
        self.end(name, true).await
    }

    async fn end(&self, name: &NamespaceName, purge: bool) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let namespace = self.find(name).await?;
            // A caller that goes away must not leave the name half dropped.
            let (engine, dropped) = (self.clone(), Arc::clone(&namespace));
            let drop = self.on_a_task(async move { engine.drop_namespace(&dropped, purge).await });
            match drop.await {
                // Its log had ended before: the name may mean another incarnation by now.
                Err(error) if error.code() == "namespace_not_found" => {
                    self.registry.forget(&namespace);
                }
                outcome => return outcome,
            }
        }
        Err(restless(name))
    }

    async fn drop_namespace(&self, namespace: &Arc<Namespace>, purge: bool) -> Result<()> {
        namespace.drop_log().await?;
        self.registry.forget(namespace);
        // The log has decided; the record makes the name free again. Whoever meets the gap closes it, so
        // that a failure here is none of the caller's.
        if let Err(error) = self.follow_drop(namespace, purge).await {
            let (namespace, error) = (&namespace.name, error.chain());
            tracing::warn!(%namespace, error, "name record of a dropped namespace was not written");
        }
        if purge {
            self.reap_soon();
        }
        Ok(())
    }

    async fn follow_drop(&self, namespace: &Namespace, purge: bool) -> Result<()> {
        let (id, name) = (namespace.id(), &namespace.name);
        let since = purge.then_some(Timestamp(0));
        if let Meaning::Live { id: live, next, .. } =
            name::resolve(&*self.shared.bucket, name).await?
            && live == id
        {
            self.shared.record_drop(name, id, next, since).await?;
        } else if purge {
            // Somebody else closed the gap, and gave it the grace.
            self.shared.mark_dropped(id, since).await?;
        }
        Ok(())
    }

    /// Brings back the namespace that was dropped last under a name, as it was.
    ///
    /// Errors: `NotFound` where there was none; `Conflict` with code `namespace_exists` where the name means one;
    /// `Gone` with code `namespace_reaped` once the grace is over; `Unavailable`; `OutcomeUnknown`. Cancel safe: it may
    /// still come back.
    pub async fn undelete(&self, name: &NamespaceName) -> Result<()> {
        let (engine, name) = (self.clone(), name.clone());
        self.on_a_task(async move { engine.undelete_now(&name).await })
            .await
    }

    async fn undelete_now(&self, name: &NamespaceName) -> Result<()> {
        let bucket = &*self.shared.bucket;
        for _ in 0..TRIES_MAX {
            if let Some(open) = self.registry.find(name).await? {
                if open.current_view().await?.state.life == Life::Live {
                    return Err(exists(name));
                }
                self.registry.forget(&open);
                continue;
            }
            let next = match name::resolve(bucket, name).await? {
                Meaning::Live { .. } => continue,
                Meaning::Nothing { next: 1 } => return Err(not_found(name)),
                Meaning::Nothing { next } => next,
            };
            let id = name::dropped_by(bucket, name, next - 1).await?;
            let namespace = self.registry.open_incarnation(name, id).await?;
            match namespace.view().state.life {
                // Somebody began to bring it back.
                Life::Live => {}
                Life::Dropped => match namespace
                    .commit_alone(Life::Dropped, |_| Entry::Undrop)
                    .await
                {
                    Ok(_) => {}
                    Err(error) if error.code() == "namespace_not_found" => continue,
                    Err(error) => return Err(error),
                },
                Life::Reaped => return Err(reaped(name)),
            }
            let created = NameRecord::Created { namespace: id };
            name::put_record(bucket, name, next, created).await?;
            match name::resolve(bucket, name).await? {
                Meaning::Live { id: live, .. } if live == id => {
                    // Whoever removes what is left may have dropped it again before the record was there.
                    if namespace.refresh().await?.state.life == Life::Live {
                        return Ok(());
                    }
                }
                // The name was given to another meanwhile.
                _ => match namespace.drop_log().await {
                    Err(error) if error.code() != "namespace_not_found" => return Err(error),
                    _ => {}
                },
            }
        }
        Err(restless(name))
    }
}

impl Shared {
    /// Writes what follows the drop of an incarnation: its mark, then record `next` of its name.
    pub(super) async fn record_drop(
        &self,
        name: &NamespaceName,
        id: NamespaceId,
        next: u64,
        since: Option<Timestamp>,
    ) -> Result<()> {
        self.mark_dropped(id, since).await?;
        let dropped = NameRecord::Dropped { namespace: id };
        name::put_record(&*self.bucket, name, next, dropped).await?;
        Ok(())
    }

    /// Marks an incarnation for whoever removes what is left of it: dropped now, or at `since`.
    pub(super) async fn mark_dropped(
        &self,
        id: NamespaceId,
        since: Option<Timestamp>,
    ) -> Result<()> {
        let since = match since {
            Some(since) => since,
            None => self.store_time_or_own().await?,
        };
        create_once(&*self.bucket, &path::dropped(since, id), Bytes::new()).await?;
        Ok(())
    }
}

fn exists(name: &NamespaceName) -> Error {
    Error::new(
        ErrorKind::Conflict,
        "namespace_exists",
        format!("namespace `{name}` exists: expected a name that means nothing"),
    )
    .with_detail("namespace", name)
}

fn reaped(name: &NamespaceName) -> Error {
    Error::new(
        ErrorKind::Gone,
        "namespace_reaped",
        format!("namespace `{name}` was deleted for too long: its documents are gone"),
    )
    .with_detail("namespace", name)
}
