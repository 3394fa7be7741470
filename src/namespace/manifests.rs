//! The manifests of a namespace: which there are, which stay, and the store's own clock, by which the time they stay is told.

use std::sync::Arc;

use super::Shared;
use super::handle::Namespace;
use crate::error::{Error, ErrorKind, Result};
use crate::format::path;
use crate::lsm::{State, truncate};
use crate::manifest::{self, Written};
use crate::store::{GetOutcome, Listed};
use crate::types::{Timestamp, WalSeq};

impl Namespace {
    /// Writes a manifest; a failure is only told: the log says it all.
    pub(in crate::namespace) async fn put_manifest(&self, state: &State) {
        match manifest::write(&*self.shared.bucket, self.id(), &self.name, state).await {
            Ok(Written::Done) => {}
            Ok(Written::Diverged) => self.shared.metrics.wal.divergence_alarms_total.inc(),
            Err(error) => {
                tracing::warn!(namespace = %self.name, error = %error.chain(), "manifest was not written");
            }
        }
    }

    /// All manifests there are, with when each was written, newest first.
    pub(super) async fn manifests(&self) -> Result<Vec<(WalSeq, Timestamp)>> {
        let prefix = path::manifest_prefix(self.id());
        let listed = self.shared.bucket.list(&prefix, None, None).await?;
        let manifest = |listed: Listed| match path::parse_manifest(self.id(), &listed.key) {
            Ok(seq) => Some((seq, listed.last_modified)),
            Err(error) => self.passed_over(&error),
        };
        Ok(listed.into_iter().filter_map(manifest).collect())
    }

    /// Which of these manifests stay for the history.
    pub(super) async fn retained(&self, listed: &[(WalSeq, Timestamp)]) -> Result<Vec<WalSeq>> {
        let history_ms = self.shared.options.history_ms;
        let now = match history_ms {
            0 => Timestamp(0),
            _ => self.store_time_or_own().await?,
        };
        Ok(truncate::retained(listed, now, history_ms))
    }

    /// The state of a manifest; `None` where it is gone or damaged.
    pub(super) async fn readable(&self, seq: WalSeq) -> Result<Option<State>> {
        match manifest::load_at(&*self.shared.bucket, self.id(), seq).await {
            Err(error) if error.kind() == ErrorKind::Corrupted => {
                self.shared.note_damage(&error);
                Ok(None)
            }
            loaded => loaded,
        }
    }

    /// Deletes those of some manifests that an applied truncation has given up.
    pub(super) async fn delete_manifests(&self, seqs: impl Iterator<Item = WalSeq>) -> Result<()> {
        let state = Arc::clone(&self.view().state);
        for seq in seqs.filter(|seq| state.has_given_up(*seq)) {
            let key = path::manifest(self.id(), seq);
            self.shared.bucket.delete(&key).await?;
        }
        Ok(())
    }

    /// Tells of an object that is none of ours: it stays, and the others go all the same.
    pub(super) fn passed_over<T>(&self, error: &Error) -> Option<T> {
        tracing::warn!(namespace = %self.name, error = %error.chain(), "object is passed over");
        None
    }

    /// The store's own clock, or this node's where the store has none.
    pub(super) async fn store_time_or_own(&self) -> Result<Timestamp> {
        self.shared.store_time_or_own().await
    }

    /// The store's own clock.
    pub(super) async fn store_time(&self) -> Result<Option<Timestamp>> {
        self.shared.store_time().await
    }
}

impl Shared {
    /// The store's own clock, or this node's where the store has none: then both are of one machine.
    pub(super) async fn store_time_or_own(&self) -> Result<Timestamp> {
        let told = self.store_time().await?;
        Ok(told.unwrap_or_else(|| self.clock.now()))
    }

    /// The store's own clock.
    async fn store_time(&self) -> Result<Option<Timestamp>> {
        let answer = self.bucket.get_range(path::STORE, 0..1).await?;
        Ok(match answer {
            GetOutcome::Found(found) => found.store_date,
            GetOutcome::Missing { store_date } => store_date,
        })
    }
}
