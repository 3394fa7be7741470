//! Quarantine markers: that an object was found damaged is written down once, beside the request that met it.
//!
//! Nothing waits for a marker and nothing is decided by one. They tell people, and `fsck`, what servers met.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::Shared;
use crate::error::{Error, ErrorKind};
use crate::format::path;
use crate::format::record::{self, Marker};
use crate::lsm::entry::Id16;
use crate::store::CreateOutcome;

/// Damaged objects that a server remembers: beyond it they are only logged.
const KNOWN_MAX: usize = 1_024;
/// How long an object is not marked again: its marker may have been removed after it was restored.
const AGAIN_MS: u64 = 10 * 60 * 1_000;
/// How long after a marker that could not be written the next try is made.
const RETRY_MS: u64 = 10 * 1_000;
/// Characters of a text in a marker.
const TEXT_MAX: usize = 1_024;

/// The objects that this server found damaged.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// From when on each is marked again, monotonic milliseconds.
    known: Mutex<BTreeMap<String, u64>>,
    /// Tells this server's markers from others'.
    node: OnceLock<u128>,
}

impl Quarantine {
    /// How many objects this server found damaged since it started.
    pub(crate) fn objects(&self) -> u64 {
        self.known.lock().len() as u64
    }

    /// Whether an object is to be marked now; whether it is new.
    fn begin(&self, object: &str, now_ms: u64) -> Option<bool> {
        let mut known = self.known.lock();
        let full = known.len() >= KNOWN_MAX;
        match known.entry(object.to_owned()) {
            Entry::Occupied(entry) if *entry.get() > now_ms => None,
            Entry::Occupied(mut entry) => {
                entry.insert(now_ms.saturating_add(AGAIN_MS));
                Some(false)
            }
            Entry::Vacant(_) if full => None,
            Entry::Vacant(entry) => {
                entry.insert(now_ms.saturating_add(AGAIN_MS));
                Some(true)
            }
        }
    }

    fn failed(&self, object: &str, now_ms: u64) {
        if let Some(again_ms) = self.known.lock().get_mut(object) {
            *again_ms = now_ms.saturating_add(RETRY_MS);
        }
    }
}

impl Shared {
    /// Notes that an object is damaged, where an error says so: a log line, a number, a marker in the store.
    ///
    /// Returns at once: the marker is written by a task, and its failure is only told.
    pub(crate) fn note_damage(self: &Arc<Self>, error: &Error) {
        if error.kind() != ErrorKind::Corrupted {
            return;
        }
        let Some(object) = error.detail("object") else {
            return;
        };
        let Some(new) = self.quarantine.begin(object, self.clock.monotonic_ms()) else {
            return;
        };
        if new {
            self.metrics.damage.quarantined_objects_total.inc();
        }
        let node = Id16(
            *self
                .quarantine
                .node
                .get_or_init(|| self.entropy.next_u128()),
        );
        let key = path::quarantine(object);
        tracing::error!(
            object_key = %object,
            marker = %key,
            node = %format_args!("{:032x}", node.0),
            offset = error.detail("offset"),
            expected = error.detail("expected"),
            found = error.detail("found"),
            error = %error.chain(),
            "object is damaged, it is marked"
        );
        let text = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
        let marker = Marker {
            object: object.to_owned(),
            kind: path::kind_of(object),
            offset: error
                .detail("offset")
                .and_then(|offset| offset.parse().ok()),
            expected: error.detail("expected").map(text),
            found: error.detail("found").map(text),
            error: text(&error.chain()),
            at: self.clock.now(),
            node,
        };
        let shared = Arc::clone(self);
        self.tasks
            .spawn(async move { shared.put_marker(&key, &marker).await });
    }

    async fn put_marker(&self, key: &str, marker: &Marker) {
        let bytes = Bytes::from(record::encode(marker));
        let error = match self.bucket.create(key, bytes).await {
            Ok(CreateOutcome::Created { .. } | CreateOutcome::Exists) => return,
            Ok(CreateOutcome::Unknown(error)) | Err(error) => error,
        };
        let now_ms = self.clock.monotonic_ms();
        self.quarantine.failed(&marker.object, now_ms);
        tracing::warn!(object_key = %key, error = %error, "quarantine marker was not written");
    }

    /// Notes the damage that an outcome tells of, and gives the outcome.
    pub(crate) fn noted<T>(self: &Arc<Self>, outcome: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &outcome {
            self.note_damage(error);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_is_marked_once_and_again_when_its_time_has_come() {
        let quarantine = Quarantine::default();
        assert_eq!(quarantine.begin("a", 0), Some(true));
        assert_eq!(quarantine.begin("a", AGAIN_MS - 1), None);
        assert_eq!(quarantine.begin("a", AGAIN_MS), Some(false));
        assert_eq!(quarantine.begin("b", 5), Some(true));
        quarantine.failed("b", 5);
        assert_eq!(quarantine.begin("b", 5 + RETRY_MS), Some(false));
        assert_eq!(quarantine.objects(), 2);
    }

    #[test]
    fn objects_beyond_the_bound_are_not_remembered() {
        let quarantine = Quarantine::default();
        for n in 0..KNOWN_MAX + 10 {
            let begun = quarantine.begin(&n.to_string(), 0);
            assert_eq!(begun, (n < KNOWN_MAX).then_some(true), "{n}");
        }
        assert_eq!(quarantine.objects(), KNOWN_MAX as u64);
    }
}
