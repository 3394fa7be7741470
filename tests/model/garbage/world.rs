//! The store and the truth beside it, and what must hold of them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use elacsym::lsm::{Applied, Entry, SlotHeader, State};
use elacsym::types::{Nonce, Timestamp, WalSeq};

use super::actor::Actor;
use super::broken;
use super::files::{Content, Key, Objects, Row, live, named_by, rows_of};
use super::scenario::Mutation;

/// A state with its fingerprint: worlds hold the same few states over and over.
#[derive(Debug, Clone)]
pub struct Held {
    state: Arc<State>,
    print: u64,
}

impl Held {
    pub fn new(state: State) -> Self {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        Self {
            state: Arc::new(state),
            print: hasher.finish(),
        }
    }

    /// A copy of the state.
    pub fn copy(&self) -> State {
        State::clone(&self.state)
    }
}

impl Deref for Held {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Held {}

/// The log. What it said before the newest state matters to nobody who has not kept that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log(Vec<(SlotHeader, Entry)>);

impl Hash for Log {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// Whatever may still go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// Uploads whose worker dies, and that execute late, or never.
    pub puts: u8,
    /// Creates of slots whose actor dies, and that execute late, or never.
    pub creates: u8,
    /// Truncations that lose their slot, and are left to the next collection.
    pub slots: u8,
    /// Deletes that execute late.
    pub deletes: u8,
    /// Actors that die between two steps, and begin again.
    pub crashes: u8,
}

/// A request that is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flight {
    Put(Key, Content),
    /// For the slot of this sequence alone.
    Create(u64, Entry),
    DeleteObject(Key),
    DeleteManifest(u64),
}

/// A write: which ids it puts, and which it deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Write {
    pub seq: u64,
    pub puts: u8,
    pub deletes: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub objects: Objects,
    pub manifests: BTreeMap<u64, Held>,
    pub flights: Vec<Flight>,
    pub newest: Held,
    pub log: Log,
    pub writes: Arc<[Write]>,
    pub actors: Vec<Actor>,
    pub faults: Faults,
    /// Claims that ended, committed or aborted.
    pub ended: BTreeSet<u64>,
    /// Manifests that were written when a newer one was there already. Objects that they name may be gone by then: no
    /// roots, and no truncation may ever retain one once it has spoken of a newer one.
    pub belated: BTreeSet<u64>,
    pub violation: Option<&'static str>,
}

impl World {
    pub fn new(initial: State) -> Self {
        Self {
            objects: Objects::new(),
            manifests: BTreeMap::new(),
            flights: Vec::new(),
            newest: Held::new(initial),
            log: Log(Vec::new()),
            writes: Arc::new([]),
            actors: Vec::new(),
            faults: Faults::default(),
            ended: BTreeSet::new(),
            belated: BTreeSet::new(),
            violation: None,
        }
    }

    pub fn fail(&mut self, violation: &'static str) {
        self.violation.get_or_insert(violation);
    }

    /// Appends an entry as the next slot.
    pub fn append(&mut self, entry: &Entry, mutation: Option<Mutation>) -> Applied {
        let mut state = self.newest.copy();
        let header = SlotHeader {
            seq: state.seq.next(),
            slot: state.next_slot(),
            nonce: Nonce(u128::from(state.seq.0)),
            written_at: Timestamp(0),
            body_bytes: 1,
        };
        let Ok(applied) = broken::apply(&mut state, &header, entry, mutation) else {
            self.fail("S2 an entry breaks a rule of the state");
            return Applied::NoOp("it breaks a rule");
        };
        if applied == Applied::Effective {
            self.follow_claims(entry);
        }
        self.log.0.push((header, entry.clone()));
        self.newest = Held::new(state);
        applied
    }

    /// Appends an entry that an actor made, which then knows what came of it.
    pub fn append_for(
        &mut self,
        actor: &mut Actor,
        entry: &Entry,
        mutation: Option<Mutation>,
    ) -> Applied {
        let applied = self.append(entry, mutation);
        self.catch_up(actor, mutation);
        applied
    }

    fn follow_claims(&mut self, entry: &Entry) {
        let (Entry::Flush { claim, .. }
        | Entry::Compact { claim, .. }
        | Entry::IndexBuild { claim, .. }
        | Entry::Abort { claim }) = entry
        else {
            return;
        };
        if !self.ended.insert(claim.0) {
            self.fail("S5 a claim ended twice");
        }
    }

    /// Applies to what an actor knows all that the log says since.
    pub fn catch_up(&mut self, actor: &mut Actor, mutation: Option<Mutation>) {
        if actor.state == self.newest {
            return;
        }
        let mut state = actor.state.copy();
        let from = usize::try_from(state.seq.0).unwrap_or(usize::MAX);
        for (header, entry) in self.log.0.get(from..).unwrap_or_default() {
            if broken::apply(&mut state, header, entry, mutation).is_err() {
                self.violation
                    .get_or_insert("S2 a node cannot follow the log");
                return;
            }
        }
        if state != *self.newest {
            self.fail("S2 nodes disagree on the log");
        }
        actor.state = self.newest.clone();
    }

    /// Puts an object if it is absent; says whether it is there now as it should be.
    pub fn put(&mut self, key: Key, content: Content) -> bool {
        *self.objects.entry(key).or_insert_with(|| content.clone()) == content
    }

    pub fn put_manifest(&mut self, state: &Held) {
        let seq = state.seq.0;
        if let Some(there) = self.manifests.get(&seq) {
            if there != state {
                self.fail("S9 two manifests of one state differ");
            }
            return;
        }
        if self.manifests.keys().any(|newer| *newer > seq) {
            self.belated.insert(seq);
        }
        self.manifests.insert(seq, state.clone());
    }

    /// What the log says that documents are, up to a sequence: the last write of each.
    pub fn documents(&self, from: u64, up_to: u64) -> BTreeMap<u8, Option<u8>> {
        let mut documents = BTreeMap::new();
        let range = |write: &&Write| write.seq > from && write.seq <= up_to;
        for write in self.writes.iter().filter(range) {
            let seq = u8::try_from(write.seq).expect("sequences are small");
            for id in 0..8 {
                if write.puts & (1 << id) != 0 {
                    documents.insert(id, Some(seq));
                } else if write.deletes & (1 << id) != 0 {
                    documents.insert(id, None);
                }
            }
        }
        documents
    }

    /// Whether a state's objects are there and hold what the log says up to its `flushed_seq`: no more, no less.
    fn holds(&self, state: &State) -> Result<(), &'static str> {
        let mut found: Vec<Row> = Vec::new();
        for segment in &state.segments {
            let (rows, gone) = rows_of(&self.objects, segment)?;
            found.extend(live(&rows, gone));
        }
        found.sort_unstable();
        let documents = self.documents(0, state.flushed_seq.0);
        let expected = documents
            .into_iter()
            .filter_map(|(id, seq)| Some((id, seq?)));
        match found.into_iter().eq(expected) {
            true => Ok(()),
            false => Err("S11 a row is lost or doubled"),
        }
    }

    /// Checks every root: the newest state, the newest two manifests, the retained ones and the pinned ones.
    pub fn check_roots(&mut self) {
        let newest = self.newest.clone();
        let mut held = self.holds(&newest);
        for (seq, manifest) in self.manifests.iter().rev().take(2) {
            if !self.belated.contains(seq) {
                held = held.and_then(|()| self.holds(manifest));
            }
        }
        let kept = newest
            .retained
            .iter()
            .chain(newest.pins.values().map(|pin| &pin.at));
        for seq in kept {
            held = held.and_then(|()| match self.manifests.get(&seq.0) {
                Some(manifest) => self.holds(manifest),
                None => Err("S4 a manifest that is retained or pinned is missing"),
            });
        }
        if let Err(violation) = held {
            self.fail(violation);
        }
    }

    /// Whether there is an object that neither the newest state nor a manifest names, or a manifest that nothing keeps.
    pub fn has_garbage(&self) -> bool {
        let states = self.manifests.values().chain([&self.newest]);
        let named: BTreeSet<Key> = states.flat_map(|state| references(state)).collect();
        let mut older = self.manifests.keys().rev().skip(2);
        let kept = |seq: &u64| {
            let pinned = self.newest.pins.values().any(|pin| pin.at.0 == *seq);
            pinned || self.newest.retained.contains(&WalSeq(*seq))
        };
        !self.objects.keys().all(|key| named.contains(key)) || !older.all(kept)
    }
}

/// Every object that a state names.
pub fn references(state: &State) -> impl Iterator<Item = Key> {
    state.segments.iter().flat_map(|segment| named_by(segment))
}
