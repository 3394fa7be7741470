//! Open namespaces of this node: find, create on first write, close when idle or under memory pressure.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::Shared;
use super::handle::{Log, Namespace};
use super::name::{self, Meaning};
use super::open;
use crate::error::{Error, Result};
use crate::format::record::{self, Genesis, NameRecord};
use crate::format::{Effects, path, wal as codec};
use crate::lsm::state::Life;
use crate::lsm::{Entry, Rotation, State, Tail};
use crate::store::{Resolved, create_once};
use crate::types::{NamespaceId, NamespaceName, Timestamp};
use crate::wal::{Appended, Proof, Wal};

/// About the bytes of the records that make a namespace.
const RECORD_BYTES: usize = 4 << 10;
/// How often a name may change its meaning under one request.
const TRIES_MAX: u32 = 5;

/// The open namespaces.
#[derive(Debug)]
pub(crate) struct Registry {
    shared: Arc<Shared>,
    open: RwLock<BTreeMap<NamespaceName, Arc<Namespace>>>,
    /// One open or create per name at a time. By name and not by its hash: an open that hangs must hold up
    /// nobody else. Entries of opens that have ended are let go at the next open.
    opening: parking_lot::Mutex<BTreeMap<NamespaceName, Weak<Mutex<()>>>>,
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: RwLock::default(),
            opening: parking_lot::Mutex::default(),
        }
    }

    fn lock_of(&self, name: &NamespaceName) -> Arc<Mutex<()>> {
        let mut opening = self.opening.lock();
        opening.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = opening.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Mutex::new(()));
        opening.insert(name.clone(), Arc::downgrade(&lock));
        lock
    }

    fn get(&self, name: &NamespaceName) -> Option<Arc<Namespace>> {
        self.open.read().get(name).cloned()
    }

    /// Opens a name; `None` where it means nothing. A handle that is open already may be of an incarnation
    /// that was dropped elsewhere: its log says so, and the caller then calls `forget`.
    pub(crate) async fn find(&self, name: &NamespaceName) -> Result<Option<Arc<Namespace>>> {
        if let Some(open) = self.get(name) {
            open.touch();
            return Ok(Some(open));
        }
        let _one_at_a_time = self.lock_of(name).lock_owned().await;
        if let Some(open) = self.get(name) {
            return Ok(Some(open));
        }
        match self.resolve_live(name).await? {
            Ok(open) => Ok(Some(self.keep(open))),
            Err(_next_record) => Ok(None),
        }
    }

    /// Opens a name, or creates it empty.
    pub(crate) async fn find_or_create(&self, name: &NamespaceName) -> Result<Arc<Namespace>> {
        if let Some(open) = self.get(name) {
            open.touch();
            return Ok(open);
        }
        let _one_at_a_time = self.lock_of(name).lock_owned().await;
        for _ in 0..TRIES_MAX {
            if let Some(open) = self.get(name) {
                return Ok(open);
            }
            match self.resolve_live(name).await? {
                Ok(open) => return Ok(self.keep(open)),
                Err(next_record) => {
                    let created = self.create(name, next_record).await;
                    self.shared.writable.note(&created, RECORD_BYTES);
                    if let Some(created) = created? {
                        return Ok(self.keep(created));
                    }
                }
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{name}` was created and dropped {TRIES_MAX} times meanwhile"
        )))
    }

    /// All open namespaces, in order of names.
    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        self.open.read().values().cloned().collect()
    }

    /// The open handle of a name, or one that is not kept open; `None` where the name means nothing.
    pub(crate) async fn peek(&self, name: &NamespaceName) -> Result<Option<Arc<Namespace>>> {
        if let Some(open) = self.get(name) {
            return Ok(Some(open));
        }
        Ok(self.resolve_live(name).await?.ok())
    }

    /// Closes namespaces without use for `idle_ms` that have nothing to flush; how many.
    pub(crate) fn close_idle(&self, idle_ms: u64) -> u64 {
        let now = self.shared.clock.monotonic_ms();
        let mut open = self.open.write();
        let before = open.len();
        // A handle that only the registry holds is in nobody's hands, and the lock keeps it so.
        open.retain(|_, namespace| {
            Arc::strong_count(namespace) > 1
                || namespace.waits_since_ms().is_some()
                || now.saturating_sub(namespace.used_at_ms()) < idle_ms
        });
        let closed = before - open.len();
        let metrics = &self.shared.metrics;
        metrics.namespace.open_namespaces.sub(closed as i64);
        metrics.namespace.closed_total.inc_by(closed as u64);
        closed as u64
    }

    /// Closes a handle whose incarnation was dropped.
    pub(crate) fn forget(&self, namespace: &Arc<Namespace>) {
        let mut open = self.open.write();
        let same = open
            .get(&namespace.name)
            .is_some_and(|kept| Arc::ptr_eq(kept, namespace));
        if same {
            open.remove(&namespace.name);
            self.shared.metrics.namespace.open_namespaces.dec();
        }
    }

    fn keep(&self, namespace: Arc<Namespace>) -> Arc<Namespace> {
        self.close_beyond_budget(&namespace.name);
        let view = namespace.view();
        namespace.consider_index_build(&view);
        namespace.consider_compaction(&view);
        let kept = Arc::clone(&namespace);
        let before = self.open.write().insert(namespace.name.clone(), namespace);
        if before.is_none() {
            self.shared.metrics.namespace.open_namespaces.inc();
        }
        kept
    }

    /// Closes the least recently used idle namespaces until the node's tails fit their budget and there is
    /// room for one more. Closing is free: nothing local is durable.
    fn close_beyond_budget(&self, but: &NamespaceName) {
        let mut open = self.open.write();
        let mut total: u64 = open.values().map(|ns| ns.view().tail.memory_bytes).sum();
        let options = &self.shared.options;
        let fits = |total: u64, n_open: usize| {
            total <= options.node_tail_bytes && n_open < options.open_namespaces_max
        };
        if fits(total, open.len()) {
            return;
        }
        let mut idle: Vec<_> = open
            .iter()
            .filter(|(name, ns)| *name != but && Arc::strong_count(ns) == 1)
            .map(|(name, ns)| (ns.used_at_ms(), name.clone()))
            .collect();
        idle.sort();
        for (_, name) in idle {
            if fits(total, open.len()) {
                break;
            }
            if let Some(closed) = open.remove(&name) {
                total = total.saturating_sub(closed.view().tail.memory_bytes);
                let metrics = &self.shared.metrics.namespace;
                metrics.open_namespaces.dec();
                metrics.closed_total.inc();
            }
        }
    }

    /// Opens an incarnation, whatever became of it; the registry does not keep it.
    pub(crate) async fn open_incarnation(
        &self,
        name: &NamespaceName,
        id: NamespaceId,
    ) -> Result<Arc<Namespace>> {
        let (shared, wal) = (Arc::clone(&self.shared), self.shared.wal(id));
        let began_ms = shared.clock.monotonic_ms();
        let log = open::open_log(&shared, &wal, None).await?;
        Ok(Namespace::new(shared, name.clone(), wal, log, began_ms))
    }

    /// Opens what a name means now; `Err` gives the number of the record that would create it.
    async fn resolve_live(
        &self,
        name: &NamespaceName,
    ) -> Result<std::result::Result<Arc<Namespace>, u64>> {
        let bucket = &*self.shared.bucket;
        for _ in 0..TRIES_MAX {
            let (id, next, hint) = match name::resolve(bucket, name).await? {
                Meaning::Nothing { next } => return Ok(Err(next)),
                Meaning::Live { id, next, hint } => (id, next, hint),
            };
            let wal = self.shared.wal(id);
            let began_ms = self.shared.clock.monotonic_ms();
            let log = open::open_log(&self.shared, &wal, hint.map(|hint| *hint)).await?;
            if log.state.life == Life::Live {
                let shared = Arc::clone(&self.shared);
                let name = name.clone();
                return Ok(Ok(Namespace::new(shared, name, wal, log, began_ms)));
            }
            // Whoever dropped it died before the name's record: finish that, then look again.
            self.shared.record_drop(name, id, next, None).await?;
        }
        Err(Error::unavailable(format!(
            "namespace `{name}` was created and dropped {TRIES_MAX} times meanwhile"
        )))
    }

    /// Creates an incarnation, then the record that makes it the name's meaning; `None` if another node
    /// was faster. A death in between leaves an incarnation that nothing names.
    async fn create(&self, name: &NamespaceName, record: u64) -> Result<Option<Arc<Namespace>>> {
        let bucket = &*self.shared.bucket;
        let id = NamespaceId(Uuid::from_u128(self.shared.entropy.next_u128()));
        let genesis = Genesis::Created {
            name: name.to_string(),
        };
        let bytes = Bytes::from(record::encode(&genesis));
        create_once(bucket, &path::genesis(id), bytes).await?;
        let wal = self.shared.wal(id);
        let began_ms = self.shared.clock.monotonic_ms();
        let log = begin_log(&self.shared, &wal).await?;
        let created = NameRecord::Created { namespace: id };
        match name::put_record(bucket, name, record, created).await? {
            Resolved::Ours => {
                let (shared, name) = (Arc::clone(&self.shared), name.clone());
                Ok(Some(Namespace::new(shared, name, wal, log, began_ms)))
            }
            Resolved::Other(_) => {
                // Nothing will ever name it. Where this fails, an object or two stay for ever.
                self.shared.mark_dropped(id, Some(Timestamp(0))).await?;
                Ok(None)
            }
        }
    }
}

/// Writes the first slot of a new incarnation.
async fn begin_log(shared: &Shared, wal: &Wal) -> Result<Log> {
    let rotation = shared.options.rotation;
    // What a node that opens the log without a manifest begins with; the entry says the rest.
    let mut state = State::initial(Rotation::default());
    let mut proof = Proof::default();
    let entry = Entry::Init {
        created_at_ms: shared.clock.now().0,
        rotation: (rotation != Rotation::default()).then_some(rotation),
    };
    let body = codec::Body::encode(&entry, &Effects::default())?;
    match wal.append(&state, &body, &mut proof).await? {
        Appended::Committed(header) => {
            state.apply(&header, &entry)?;
            Ok(Log {
                state: Arc::new(state),
                tail: Tail::default(),
                proof,
            })
        }
        Appended::Lost | Appended::Reopen => Err(Error::internal(format!(
            "the log of new namespace {} has another writer",
            wal.id()
        ))),
    }
}
