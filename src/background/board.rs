//! What the hints in the bucket ask for, and when: which to read, whom to see to, which to delete. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::dirty::DirtyHint;
use crate::namespace::{Attended, OpenTail};
use crate::store::Listed;
use crate::types::{NamespaceId, NamespaceName, limits};

/// The longest that something which failed is left alone, milliseconds.
const RETRY_MS_MAX: u64 = 60 * 60 * 1_000;
/// A hint is taken for damaged when it was so as often as this: a read may be cut short.
const DAMAGED_READS: u32 = 2;

/// How long this node waits, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    /// Until rows are due.
    pub(super) age_ms: u64,
    /// After they are due: their writer goes first, then one of the others.
    pub(super) slack_ms: u64,
    /// Until something that came to nothing is looked at again.
    pub(super) again_ms: u64,
}

/// One hint, as this node has it.
#[derive(Debug)]
enum Seen {
    Read {
        /// The round in which it was read.
        round: u64,
        wanted: Vec<Wanted>,
    },
    Damaged {
        reads: u32,
    },
    /// Of a newer version, or no hint: left alone.
    Unknown,
}

/// A namespace that a hint names.
#[derive(Debug)]
struct Wanted {
    namespace: NamespaceId,
    name: NamespaceName,
    due_ms: u64,
    is_done: bool,
}

/// Something that failed.
#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    not_before_ms: u64,
}

/// All that this node knows of the hints in the bucket.
#[derive(Debug)]
pub(super) struct Board {
    waits: Waits,
    hints: BTreeMap<String, Seen>,
    failed: BTreeMap<NamespaceId, Failed>,
    /// Namespaces that are being seen to, and the round in which that began.
    in_flight: BTreeMap<NamespaceId, u64>,
    n_wanted: usize,
}

impl Board {
    pub(super) fn new(waits: Waits) -> Self {
        Self {
            waits,
            hints: BTreeMap::new(),
            failed: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            n_wanted: 0,
        }
    }

    /// Forgets hints that a listing of `(after, end]` does not show; `None` as end: to the last.
    pub(super) fn forget_unlisted(
        &mut self,
        after: Option<&str>,
        end: Option<&str>,
        listed: &BTreeSet<&str>,
    ) {
        self.hints
            .retain(|key, _| !is_within(key, after, end) || listed.contains(key.as_str()));
        self.count();
    }

    /// The hints of a listing that are to be read: bounded, and none beyond what may be remembered.
    pub(super) fn unread<'a>(&self, listed: &'a [Listed]) -> Vec<&'a Listed> {
        if self.n_wanted >= limits::HINTED_NAMESPACES_MAX {
            return Vec::new();
        }
        let is_unread = |listed: &&Listed| match self.hints.get(&listed.key) {
            None | Some(Seen::Damaged { .. }) => true,
            Some(Seen::Read { .. } | Seen::Unknown) => false,
        };
        let unread = listed.iter().filter(is_unread);
        unread.take(limits::HINTS_READ_MAX).collect()
    }

    /// Takes a hint that is `age_ms` old; `spread_ms` tells this node from others that read it too.
    pub(super) fn learn(
        &mut self,
        key: String,
        hint: DirtyHint,
        age_ms: u64,
        spread_ms: u64,
        (now_ms, round): (u64, u64),
    ) {
        let Waits {
            age_ms: due_age_ms,
            slack_ms,
            ..
        } = self.waits;
        let wanted = hint.namespaces.into_iter().map(|named| {
            let waited_ms = named.waited_ms.saturating_add(age_ms);
            let left_ms = due_age_ms.saturating_sub(waited_ms);
            let due_ms = [left_ms, slack_ms, spread_ms]
                .into_iter()
                .fold(now_ms, u64::saturating_add);
            Wanted {
                namespace: named.namespace,
                name: named.name,
                due_ms,
                is_done: false,
            }
        });
        let wanted = wanted.collect();
        self.hints.insert(key, Seen::Read { round, wanted });
        self.count();
    }

    /// Notes that a hint did not decode; whether it is to be deleted.
    pub(super) fn damaged(&mut self, key: &str) -> bool {
        let reads = match self.hints.get(key) {
            Some(Seen::Damaged { reads }) => reads + 1,
            _ => 1,
        };
        self.hints.insert(key.to_owned(), Seen::Damaged { reads });
        reads >= DAMAGED_READS
    }

    /// Notes that an object is no hint of this version: it is left alone.
    pub(super) fn unknown(&mut self, key: &str) {
        self.hints.insert(key.to_owned(), Seen::Unknown);
    }

    /// Whether a hint names this namespace.
    pub(super) fn names(&self, id: NamespaceId) -> bool {
        self.wanted().any(|wanted| wanted.namespace == id)
    }

    /// Whom to see to now, what waits longest first: what hints name, and what waits in memory here without
    /// one. A bounded number, none twice.
    pub(super) fn due(
        &mut self,
        now_ms: u64,
        tails: &BTreeMap<NamespaceId, OpenTail>,
        spread_ms: u64,
    ) -> Vec<(NamespaceId, NamespaceName)> {
        let Waits {
            age_ms, slack_ms, ..
        } = self.waits;
        let mut due: BTreeMap<NamespaceId, (u64, &NamespaceName)> = BTreeMap::new();
        let hinted = self.wanted().filter(|wanted| !wanted.is_done);
        let hinted = hinted.map(|wanted| (wanted.namespace, wanted.due_ms, &wanted.name));
        let held = tails.iter().filter_map(|(id, tail)| {
            let after_ms = [age_ms, slack_ms, spread_ms];
            let due_ms = after_ms
                .into_iter()
                .fold(tail.waits_since_ms?, u64::saturating_add);
            Some((*id, due_ms, &tail.name))
        });
        for (id, due_ms, name) in hinted.chain(held) {
            let earliest = due.entry(id).or_insert((due_ms, name));
            earliest.0 = earliest.0.min(due_ms);
        }
        let known: BTreeSet<NamespaceId> = due.keys().copied().collect();
        let is_now = |id: &NamespaceId, due_ms: u64| {
            let failed = self.failed.get(id);
            due_ms <= now_ms
                && failed.is_none_or(|failed| failed.not_before_ms <= now_ms)
                && !self.in_flight.contains_key(id)
        };
        let mut now: Vec<_> = due
            .into_iter()
            .filter(|(id, (due_ms, _))| is_now(id, *due_ms))
            .map(|(id, (due_ms, name))| (due_ms, id, name.clone()))
            .collect();
        now.sort_by_key(|(due_ms, id, _)| (*due_ms, *id));
        self.failed.retain(|id, _| known.contains(id));
        let room = limits::FOUND_IN_FLIGHT_MAX.saturating_sub(self.in_flight.len());
        now.into_iter()
            .take(room)
            .map(|(_, id, name)| (id, name))
            .collect()
    }

    /// Notes that a namespace is being seen to.
    pub(super) fn began(&mut self, id: NamespaceId, round: u64) {
        self.in_flight.insert(id, round);
    }

    /// Notes what came of it; `None` for a failure.
    pub(super) fn ended(&mut self, id: NamespaceId, attended: Option<Attended>, now_ms: u64) {
        let Some(began) = self.in_flight.remove(&id) else {
            return;
        };
        let again_ms = match attended {
            Some(Attended::Nothing | Attended::Flushed) => {
                self.failed.remove(&id);
                self.finish(id, began);
                return;
            }
            Some(Attended::FlushedInPart) => self.waits.age_ms.saturating_add(self.waits.slack_ms),
            Some(Attended::Busy) => self.waits.again_ms,
            None => {
                let times = self.failed.get(&id).map_or(0, |failed| failed.times);
                let doubled = self.waits.again_ms.saturating_mul(1 << times.min(16));
                let times = times.saturating_add(1);
                let again_ms = doubled.min(RETRY_MS_MAX.max(self.waits.again_ms));
                let not_before_ms = now_ms.saturating_add(again_ms);
                let failed = Failed {
                    times,
                    not_before_ms,
                };
                self.failed.insert(id, failed);
                return;
            }
        };
        self.failed.remove(&id);
        let due_ms = now_ms.saturating_add(again_ms);
        self.postpone(id, due_ms);
    }

    /// A hint that was read after the look began may tell of rows that came after it.
    fn finish(&mut self, id: NamespaceId, began: u64) {
        for seen in self.hints.values_mut() {
            if let Seen::Read { round, wanted } = seen
                && *round <= began
            {
                let wanted = wanted.iter_mut().filter(|wanted| wanted.namespace == id);
                wanted.for_each(|wanted| wanted.is_done = true);
            }
        }
    }

    fn postpone(&mut self, id: NamespaceId, due_ms: u64) {
        for seen in self.hints.values_mut() {
            if let Seen::Read { wanted, .. } = seen {
                let wanted = wanted.iter_mut().filter(|wanted| wanted.namespace == id);
                wanted.for_each(|wanted| wanted.due_ms = due_ms);
            }
        }
    }

    /// Hints of which all is done: to be deleted. A bounded number.
    pub(super) fn finished(&self) -> Vec<String> {
        let is_finished = |seen: &Seen| match seen {
            Seen::Read { wanted, .. } => wanted.iter().all(|wanted| wanted.is_done),
            Seen::Damaged { reads } => *reads >= DAMAGED_READS,
            Seen::Unknown => false,
        };
        let finished = self.hints.iter().filter(|(_, seen)| is_finished(seen));
        let finished = finished.map(|(key, _)| key.clone());
        finished.take(limits::HINTS_READ_MAX).collect()
    }

    /// Forgets a hint that has been deleted.
    pub(super) fn deleted(&mut self, key: &str) {
        self.hints.remove(key);
        self.count();
    }

    fn wanted(&self) -> impl Iterator<Item = &Wanted> {
        self.hints.values().flat_map(|seen| match seen {
            Seen::Read { wanted, .. } => wanted.as_slice(),
            Seen::Damaged { .. } | Seen::Unknown => &[],
        })
    }

    fn count(&mut self) {
        self.n_wanted = self.wanted().count();
    }
}

/// Whether a key lies after `after` and, where there is an end, not beyond it.
pub(super) fn is_within(key: &str, after: Option<&str>, end: Option<&str>) -> bool {
    after.is_none_or(|after| key > after) && end.is_none_or(|end| key <= end)
}
