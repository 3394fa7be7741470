//! The hints of this node: which namespaces to name next, and which hints have done their duty. Pure.

use std::collections::BTreeMap;

use crate::format::dirty::{DirtyHint, DirtyNamespace};
use crate::namespace::{DirtyNote, OpenTail};
use crate::types::{NamespaceId, limits};

type Notes = BTreeMap<NamespaceId, DirtyNote>;

/// What this node has told the bucket, and what it has still to tell.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Not in the bucket yet.
    pending: Notes,
    /// By number of the hint, with its key. One without notes is to be deleted.
    mine: BTreeMap<u64, (String, Notes)>,
    /// Hints made in this life.
    n: u64,
}

/// A hint to put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// Its number.
    pub(super) n: u64,
    /// What it says.
    pub(super) hint: DirtyHint,
    notes: Notes,
}

impl Book {
    /// Takes a note of a namespace that may be in a hint already, for an earlier flush.
    pub(super) fn note(&mut self, id: NamespaceId, note: DirtyNote) {
        if self.pending.len() < limits::DIRTY_NOTES_MAX {
            self.pending.insert(id, note);
        }
    }

    /// Whether a namespace has been noted.
    pub(super) fn names(&self, id: NamespaceId) -> bool {
        let mut mine = self.mine.values();
        self.pending.contains_key(&id) || mine.any(|(_, notes)| notes.contains_key(&id))
    }

    /// Whether there is something to tell the bucket.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether there is nothing to do until a commit leaves rows behind.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.mine.is_empty()
    }

    /// Strikes out notes that a flush has made void. Rows that wait for the next one make a new note: the old
    /// hint says that they wait longer than they do. What is not open here stays: others look at it.
    pub(super) fn reconcile(&mut self, tails: &BTreeMap<NamespaceId, OpenTail>) {
        let is_void = |id: &NamespaceId, note: &DirtyNote| {
            let tail = tails.get(id);
            tail.is_some_and(|tail| tail.flushed > note.flushed)
        };
        self.pending.retain(|id, note| !is_void(id, note));
        for (_, notes) in self.mine.values_mut() {
            let void: Vec<NamespaceId> = notes
                .iter()
                .filter(|(id, note)| is_void(id, note))
                .map(|(id, _)| *id)
                .collect();
            for id in void {
                notes.remove(&id);
                let Some(tail) = tails.get(&id) else { continue };
                if let Some(since_ms) = tail.waits_since_ms {
                    self.pending.entry(id).or_insert_with(|| DirtyNote {
                        name: tail.name.clone(),
                        since_ms: i64::try_from(since_ms).unwrap_or(i64::MAX),
                        flushed: tail.flushed,
                    });
                }
            }
        }
    }

    /// The next hint, if there is something to tell: what is pending, and the newest hint's notes where they
    /// fit in too, so that one hint takes the place of another.
    pub(super) fn draft(&self, now_ms: u64) -> Option<Draft> {
        if self.pending.is_empty() {
            return None;
        }
        let most = limits::DIRTY_NAMESPACES_MAX;
        let pending = self.pending.iter().take(most);
        let mut notes: Notes = pending.map(|(id, note)| (*id, note.clone())).collect();
        if let Some((_, (_, newest))) = self.mine.last_key_value()
            && newest.len() + notes.len() <= most
        {
            for (id, note) in newest {
                notes.entry(*id).or_insert_with(|| note.clone());
            }
        }
        let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let namespaces = notes.iter().map(|(id, note)| DirtyNamespace {
            namespace: *id,
            name: note.name.clone(),
            waited_ms: u64::try_from(now.saturating_sub(note.since_ms)).unwrap_or(0),
        });
        Some(Draft {
            n: self.n,
            hint: DirtyHint {
                namespaces: namespaces.collect(),
            },
            notes,
        })
    }

    /// Takes it that a hint is put under `key`, or was sent and may be: a number is not used twice.
    pub(super) fn sent(&mut self, draft: &Draft) {
        self.n = self.n.max(draft.n.saturating_add(1));
    }

    /// Takes it that a hint is in the bucket: what it names need stand in no older one.
    pub(super) fn put(&mut self, draft: Draft, key: String) {
        for id in draft.notes.keys() {
            self.pending.remove(id);
            for (_, notes) in self.mine.values_mut() {
                notes.remove(id);
            }
        }
        self.mine.insert(draft.n, (key, draft.notes));
    }

    /// Keys of hints that name nothing any more, a bounded number of them. Not while something is pending:
    /// what an old hint named may be only there.
    pub(super) fn spent(&self) -> Vec<String> {
        if self.has_pending() {
            return Vec::new();
        }
        let spent = self.mine.values().filter(|(_, notes)| notes.is_empty());
        let spent = spent.map(|(key, _)| key.clone());
        spent.take(limits::HINTS_READ_MAX).collect()
    }

    /// Takes it that hints are not in the bucket any more: deleted here, or by others who saw to all of it.
    pub(super) fn gone(&mut self, gone: impl Fn(&str) -> bool) {
        self.mine.retain(|_, (key, _)| !gone(key));
    }
}
