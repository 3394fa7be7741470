//! What a collector does, step by step: it may act on a state that is long past, and others may collect beside it.

use std::collections::BTreeSet;

use elacsym::lsm::{Entry, State, truncate};
use elacsym::types::WalSeq;

use super::actor::{Actor, Work};
use super::files::Key;
use super::scenario::Mutation;
use super::system::System;
use super::world::{Flight, World, references};

impl System {
    pub fn collect(&self, world: &mut World, actor: &mut Actor, late: bool) {
        match actor.work.clone() {
            Work::Candidates { of, keys } => {
                // A manifest of a state that knows less, and that somebody is about to write, is then a belated one.
                if !self.is(Mutation::ManifestWhereNamed) || is_named(world, &keys) {
                    world.put_manifest(&of);
                }
                actor.work = Work::Written { of, keys };
            }
            Work::Written { keys, .. } => {
                let listed = world.manifests.keys().rev().copied().collect();
                actor.work = Work::Listed { keys, listed };
            }
            Work::Listed { keys, listed } => {
                let manifests = self.truncate(world, actor, &listed, late);
                actor.work = Work::Dropping { keys, manifests };
            }
            Work::Dropping {
                keys,
                mut manifests,
            } => match manifests.pop() {
                Some(seq) => {
                    self.delete(world, Flight::DeleteManifest(seq), late);
                    actor.work = Work::Dropping { keys, manifests };
                }
                None => {
                    let garbage = self.unnamed(world, actor, keys);
                    actor.work = Work::Deleting(garbage);
                }
            },
            Work::Deleting(mut keys) => match keys.pop() {
                Some(key) => {
                    self.delete(world, Flight::DeleteObject(key), late);
                    actor.work = Work::Deleting(keys);
                }
                None => actor.finish(),
            },
            Work::Fresh(of) => {
                let keys = self.candidates(world, &of);
                actor.work = Work::Candidates { of, keys };
            }
            // `step` has just read the newest state.
            _ => actor.work = Work::Fresh(actor.state.clone()),
        }
    }

    /// Objects that no commit may ever name again, by the state that the collector knows. The list comes after the
    /// state, and may show what that does not know.
    fn candidates(&self, world: &World, of: &State) -> BTreeSet<Key> {
        let named: BTreeSet<Key> = references(of).collect();
        let may_go = |key: &Key| {
            let known = WalSeq(key.claim) <= of.seq || self.is(Mutation::ObjectsOfTheFuture);
            let active = of.claims.contains_key(&WalSeq(key.claim));
            known && (!active || self.is(Mutation::NoAbort)) && !named.contains(key)
        };
        world.objects.keys().copied().filter(may_go).collect()
    }

    /// Appends a truncation where blocks or manifests may go; gives the manifests that go.
    fn truncate(
        &self,
        world: &mut World,
        actor: &mut Actor,
        listed: &[u64],
        loses: bool,
    ) -> Vec<u64> {
        let Some(second) = listed.get(1).copied() else {
            return Vec::new();
        };
        let (kept, before) = listed.split_at(listed.len().min(self.scenario.history));
        let protected = kept.iter().filter_map(|seq| world.manifests.get(seq));
        let protected: Vec<State> = protected.map(|manifest| manifest.copy()).collect();
        // The node may have read on since it listed them.
        world.catch_up(actor, self.mutation);
        let state = &actor.state;
        let floor = truncate::floor_below(&protected, state, 0);
        let floor = floor.filter(|floor| *floor >= state.floor);
        let gives_up = before.iter().any(|seq| state.retains(WalSeq(*seq)));
        if loses {
            world.faults.slots -= 1;
        } else if floor.is_some() || gives_up {
            let retained = kept.iter().map(|seq| WalSeq(*seq)).collect();
            let entry = Entry::Truncate { floor, retained };
            world.append_for(actor, &entry, self.mutation);
        }
        let state = &actor.state;
        let goes = |seq: &u64| {
            let (at, told) = (WalSeq(*seq), state.retained.last());
            let pinned = state.pins.values().any(|pin| pin.at == at);
            let retained = state.retained.contains(&at);
            *seq < second
                && match self.mutation {
                    Some(Mutation::ManifestsStay) => false,
                    Some(Mutation::PinsIgnored) => !state.retains(at),
                    Some(Mutation::RetainedIgnored) => {
                        told.is_some_and(|told| at < *told) && !pinned
                    }
                    Some(Mutation::ManifestUntold) => !retained && !pinned,
                    _ => state.has_given_up(at),
                }
        };
        listed.iter().copied().filter(goes).collect()
    }

    /// Those of some objects that no manifest names.
    fn unnamed(&self, world: &World, actor: &Actor, mut keys: BTreeSet<Key>) -> Vec<Key> {
        let state = &actor.state;
        let newest = world.manifests.keys().next_back();
        for (seq, manifest) in &world.manifests {
            let pinned = state.pins.values().any(|pin| pin.at.0 == *seq);
            let passed_over = (self.is(Mutation::NewestAlone) && Some(seq) != newest)
                || (self.is(Mutation::PinsIgnored) && pinned)
                || (self.is(Mutation::RetainedIgnored) && state.retained.contains(&WalSeq(*seq)));
            if !passed_over {
                for key in references(manifest) {
                    keys.remove(&key);
                }
            }
        }
        keys.into_iter().collect()
    }

    fn delete(&self, world: &mut World, flight: Flight, late: bool) {
        if late {
            world.faults.deletes -= 1;
            world.flights.push(flight);
        } else {
            self.land(world, flight);
        }
    }
}

/// Whether one of the newest two manifests names an object that may go.
fn is_named(world: &World, keys: &BTreeSet<Key>) -> bool {
    let mut newest = world.manifests.values().rev().take(2);
    newest.any(|manifest| references(manifest).any(|key| keys.contains(&key)))
}
