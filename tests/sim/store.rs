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
}

impl Store {
    pub(crate) fn new(kind: StoreKind, broken: Broken) -> Self {
        Self {
            objects: Mutex::default(),
            kind,
            broken,
            n_slots_created: Mutex::new(0),
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
        if let Broken::Forgets { nth } = self.broken
            && is_slot(key)
        {
            let mut n = self.n_slots_created.lock();
            *n += 1;
            if *n == nth {
                return Created::Yes;
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
        self.objects.lock().remove(key);
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

/// A part of an object: cut where it ends, empty where it starts at or past the end.
pub(crate) fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let len = bytes.len() as u64;
    let end = range.end.min(len);
    let start = range.start.min(end);
    bytes.slice(start as usize..end as usize)
}
