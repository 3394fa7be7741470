//! The store itself: keys and bytes, each operation at one instant, and ways to be broken.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use elacsym::store::{Listed, StoreKind};
use elacsym::types::Timestamp;
use parking_lot::Mutex;

/// How long a stale copy lags behind, milliseconds.
const STALE_MS: u64 = 3_000;

/// A store that breaks the law it is trusted for. Only controls of the checker use one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It keeps its word.
    No,
    /// The n-th create of a slot is acknowledged and forgotten.
    Forgets { nth: u64 },
    /// Looks whether a name is free, and writes a moment later, whatever came meanwhile.
    LooksThenWrites,
    /// Tells every creator that it won.
    EveryCreatorWins,
    /// Answers reads of slots from a copy that lags behind.
    StaleReads,
    /// Answers whoever checks an anchor from a copy that still has the block heads that were deleted.
    StaleAnchors,
    /// Deletes every older block of a log at the n-th slot, whatever has been flushed.
    DeletesUnflushed { nth: u64 },
    /// Hides the slots from before the newest manifest from the node that opens last.
    HidesTail,
}

#[derive(Debug, Clone)]
struct Object {
    bytes: Bytes,
    modified: Timestamp,
    appeared_ms: u64,
}

/// What a create finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    Yes,
    Exists,
}

#[derive(Debug)]
pub(crate) struct Store {
    objects: Mutex<BTreeMap<String, Object>>,
    pub(crate) kind: StoreKind,
    pub(crate) broken: Broken,
    n_slots_created: Mutex<u64>,
    /// Slots that were deleted.
    graves: Mutex<BTreeMap<String, Bytes>>,
    /// Slots created in blocks whose heads had been deleted.
    n_void_slots: Mutex<u64>,
}

impl Store {
    pub(crate) fn new(kind: StoreKind, broken: Broken) -> Self {
        Self {
            objects: Mutex::default(),
            kind,
            broken,
            n_slots_created: Mutex::new(0),
            graves: Mutex::default(),
            n_void_slots: Mutex::new(0),
        }
    }

    pub(crate) fn is_free(&self, key: &str) -> bool {
        !self.objects.lock().contains_key(key)
    }

    pub(crate) fn create(&self, key: &str, bytes: Bytes, date: Timestamp, now_ms: u64) -> Created {
        if !self.is_free(key) {
            return match self.broken {
                Broken::EveryCreatorWins if is_slot(key) => Created::Yes,
                _ => Created::Exists,
            };
        }
        if is_slot(key) {
            let n = {
                let mut n = self.n_slots_created.lock();
                *n += 1;
                *n
            };
            match self.broken {
                Broken::Forgets { nth } if n == nth => return Created::Yes,
                Broken::DeletesUnflushed { nth } if n == nth => self.delete_older_blocks(key),
                _ => {}
            }
            if self.graves.lock().contains_key(&head_beside(key)) {
                *self.n_void_slots.lock() += 1;
            }
        }
        self.put(key, bytes, date, now_ms);
        Created::Yes
    }

    pub(crate) fn put(&self, key: &str, bytes: Bytes, date: Timestamp, now_ms: u64) {
        let object = Object {
            bytes,
            modified: date,
            appeared_ms: now_ms,
        };
        self.objects.lock().insert(key.to_owned(), object);
    }

    pub(crate) fn get(&self, key: &str, now_ms: u64) -> Option<Bytes> {
        let objects = self.objects.lock();
        let object = objects.get(key)?;
        let hidden = self.broken == Broken::StaleReads
            && is_slot(key)
            && now_ms < object.appeared_ms + STALE_MS;
        (!hidden).then(|| object.bytes.clone())
    }

    pub(crate) fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Vec<Listed> {
        let objects = self.objects.lock();
        objects
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| start_after.is_none_or(|after| key.as_str() > after))
            .take(limit.unwrap_or(usize::MAX))
            .map(|(key, object)| Listed {
                key: key.clone(),
                size_bytes: object.bytes.len() as u64,
                last_modified: object.modified,
            })
            .collect()
    }

    pub(crate) fn delete(&self, key: &str) {
        let deleted = self.objects.lock().remove(key);
        if let Some(object) = deleted
            && is_slot(key)
        {
            self.graves.lock().insert(key.to_owned(), object.bytes);
        }
    }

    fn delete_older_blocks(&self, key: &str) {
        let (head, log) = (head_beside(key), log_of(key));
        for listed in self.list(&log, None, None) {
            if listed.key < head {
                self.delete(&listed.key);
            }
        }
    }

    /// What a store with stale anchors says of a block head that was deleted.
    pub(crate) fn ghost(&self, key: &str) -> Option<Bytes> {
        if self.broken != Broken::StaleAnchors || key != head_beside(key) {
            return None;
        }
        self.graves.lock().get(key).cloned()
    }

    /// Whether a store that hides the tail hides this slot.
    pub(crate) fn hides(&self, key: &str) -> bool {
        if self.broken != Broken::HidesTail || !is_slot(key) {
            return false;
        }
        let objects = self.objects.lock();
        let manifests = log_of(key).replace("/wal/", "/manifest/");
        let newest = objects
            .range(manifests.clone()..)
            .next()
            .filter(|(key, _)| key.starts_with(&manifests));
        match (objects.get(key), newest) {
            (Some(slot), Some((_, manifest))) => slot.appeared_ms < manifest.appeared_ms,
            _ => false,
        }
    }

    /// Slots that were deleted, and slots created where their block's head had been deleted.
    pub(crate) fn truncation(&self) -> (u64, u64) {
        (self.graves.lock().len() as u64, *self.n_void_slots.lock())
    }

    /// How many objects lie under keys that contain `part`.
    pub(crate) fn n_keys(&self, part: &str) -> u64 {
        let objects = self.objects.lock();
        objects.keys().filter(|key| key.contains(part)).count() as u64
    }
}

pub(crate) fn is_slot(key: &str) -> bool {
    key.contains("/wal/")
}

/// The head of the block that a slot lies in.
fn head_beside(key: &str) -> String {
    let block = key.rsplit_once('/').map_or(key, |(block, _)| block);
    format!("{block}/000")
}

/// The prefix of all slots of a slot's log.
fn log_of(key: &str) -> String {
    let log = key.split_once("/wal/").map_or(key, |(log, _)| log);
    format!("{log}/wal/")
}

/// A part of an object: cut where it ends, empty where it starts at or past the end.
pub(crate) fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let len = bytes.len() as u64;
    let end = range.end.min(len);
    let start = range.start.min(end);
    bytes.slice(start as usize..end as usize)
}
