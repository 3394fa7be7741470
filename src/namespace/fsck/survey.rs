//! The states of one namespace: its manifests, its log from the newest on, and what they refer to.

use std::collections::BTreeMap;

use super::{Checker, Finding, is_verdict};
use crate::error::{Error, Result};
use crate::format::references::References;
use crate::format::{Slot, manifest, path, wal as codec};
use crate::lsm::state::Life;
use crate::lsm::{Anchor, Applied, Entry, Rotation, State};
use crate::store::GetOutcome;
use crate::types::{NamespaceId, SlotName, WalSeq};
use crate::wal::Wal;

/// What a survey found.
#[derive(Default)]
pub(super) struct Survey {
    /// The newest state; `None` where damage hides it.
    pub(super) newest: Option<State>,
    /// What the newest state, the manifests and the log between refer to.
    pub(super) references: References,
    /// What the newest state needs of that, as far as it is known, and those that are pinned: other manifests tell of
    /// the past, and one that a node wrote late may name what is gone.
    pub(super) needed: References,
    /// Damage of manifests and slots, told by the caller: an attempt that was overtaken tells nothing.
    pub(super) findings: Vec<Finding>,
    /// Slots that were read.
    seen: BTreeMap<SlotName, WalSeq>,
}

impl Survey {
    /// Whether only states of the past refer to an object, and none that is pinned.
    pub(super) fn is_past(&self, object: &str) -> bool {
        self.newest.is_some() && self.references.contains(object) && !self.needed.contains(object)
    }

    fn damaged(&mut self, object: &str, error: &Error) {
        let object = object.to_owned();
        let error = error.chain();
        self.findings.push(Finding::Damaged { object, error });
    }
}

impl Checker<'_> {
    fn log(&self, id: NamespaceId) -> Wal {
        let bucket = std::sync::Arc::clone(&self.bucket);
        let (clock, entropy) = (&self.clock, &self.entropy);
        Wal::new(bucket, clock.clone(), entropy.clone(), id, true)
    }

    /// Reads all states there are; `None` where a truncation may have come in between, unless this is the
    /// `last` try: what is missing then is missing.
    pub(super) async fn survey(&mut self, id: NamespaceId, last: bool) -> Result<Option<Survey>> {
        let mut survey = Survey::default();
        let Some(base) = self.manifests(id, last, &mut survey).await? else {
            return Ok(match survey.findings.is_empty() {
                true => None,
                false => Some(survey),
            });
        };
        if base.life == Life::Reaped {
            // It stands for all of the log, of which nothing need be there.
            survey.newest = Some(base);
            return Ok(Some(survey));
        }
        let anchor = base.anchor();
        let known = base.clone();
        let newest = self.replay(id, base, &mut survey).await?;
        let needs = newest.as_ref().unwrap_or(&known);
        // What is wrong with it has been told.
        let _ = survey.needed.add_state("the newest state", needs);
        match self.log(id).anchor_holds(anchor).await {
            Ok(true) => survey.newest = newest,
            Ok(false) if !last => return Ok(None),
            Ok(false) => {
                let object = match anchor {
                    Anchor::Head { slot, .. } => path::slot(id, slot),
                    Anchor::NoManifest => path::manifest_prefix(id),
                };
                let error = Error::corrupted(format!(
                    "object `{object}` is not the one the newest manifest knows"
                ));
                survey.damaged(&object, &error);
            }
            Err(error) if is_verdict(&error) => {
                if let Anchor::Head { slot, .. } = anchor
                    && !survey.seen.contains_key(&slot)
                {
                    survey.damaged(&path::slot(id, slot), &error);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Some(survey))
    }

    /// Reads the manifests and the slots that they need; gives the newest readable state, or the one before
    /// the first slot where there is no manifest.
    async fn manifests(
        &mut self,
        id: NamespaceId,
        last: bool,
        survey: &mut Survey,
    ) -> Result<Option<State>> {
        let listed = self
            .bucket
            .list(&path::manifest_prefix(id), None, None)
            .await?;
        let mut newest: Option<State> = None;
        for object in &listed {
            let key = &object.key;
            let decode = |key: &str, bytes: &[u8]| {
                let seq = path::parse_manifest(id, key)?;
                manifest::decode(key, Some(seq), bytes)
            };
            let state = match self.decoded(key, decode).await? {
                None => continue, // deleted since the listing: a newer one exists
                Some(Err(error)) => {
                    survey.damaged(key, &error);
                    continue;
                }
                Some(Ok(state)) => state,
            };
            if let Err(error) = survey.references.add_state(key, &state) {
                survey.damaged(key, &error);
            }
            let pins = newest.as_ref().map(|newest: &State| newest.pins.values());
            if pins.is_some_and(|mut pins| pins.any(|pin| pin.at == state.seq)) {
                // What is wrong with it has been told.
                let _ = survey.needed.add_state(key, &state);
            }
            let is_end = state.life == Life::Reaped;
            if !is_end && !self.slots_of(id, key, &state, last, survey).await? {
                return Ok(None);
            }
            newest.get_or_insert(state);
            if is_end {
                break;
            }
        }
        Ok(match (newest, survey.findings.is_empty()) {
            (Some(newest), _) => Some(newest),
            (None, true) => Some(State::initial(Rotation::default())),
            (None, false) => None,
        })
    }

    /// Reads the slots of a manifest's tail; `false` where one is gone and this is not the last try.
    async fn slots_of(
        &mut self,
        id: NamespaceId,
        key: &str,
        state: &State,
        last: bool,
        survey: &mut Survey,
    ) -> Result<bool> {
        for seq in state.flushed_seq.0 + 1..=state.seq.0 {
            let Some(place) = state.slot_of(WalSeq(seq)) else {
                continue; // the rules of states say that there is one
            };
            match survey.seen.get(&place) {
                Some(known) if known.0 == seq => continue,
                _ => {}
            }
            match self.slot(id, place, Some(WalSeq(seq)), survey).await? {
                Some(_) => {}
                None if last => survey.findings.push(Finding::Missing {
                    object: path::slot(id, place),
                    needed_by: key.to_owned(),
                }),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Reads a slot and notes damage; `None` where there is none.
    async fn slot(
        &mut self,
        id: NamespaceId,
        place: SlotName,
        seq: Option<WalSeq>,
        survey: &mut Survey,
    ) -> Result<Option<Result<Slot>>> {
        let key = path::slot(id, place);
        let GetOutcome::Found(found) = self.bucket.get(&key).await? else {
            return Ok(None);
        };
        self.count(&key, found.bytes.len());
        let decoded = codec::decode(&key, &found.bytes).and_then(|slot| {
            let header = &slot.header;
            match header.slot == place && seq.is_none_or(|seq| seq == header.seq) {
                true => Ok(slot),
                false => Err(Error::corrupted(format!(
                    "object `{key}` is out of place: expected {}{place}, found seq {} at {}",
                    seq.map(|seq| format!("seq {seq} at ")).unwrap_or_default(),
                    header.seq,
                    header.slot
                ))),
            }
        });
        let known = decoded.as_ref().map_or(WalSeq(0), |slot| slot.header.seq);
        survey.seen.insert(place, seq.unwrap_or(known));
        if let Err(error) = &decoded {
            survey.damaged(&key, error);
        }
        Ok(Some(decoded))
    }

    /// Applies the slots after a state; `None` where one is damaged: nothing after it can be judged.
    async fn replay(
        &mut self,
        id: NamespaceId,
        mut state: State,
        survey: &mut Survey,
    ) -> Result<Option<State>> {
        loop {
            let place = state.next_slot();
            let seq = state.seq.next();
            let slot = match self.slot(id, place, Some(seq), survey).await? {
                None => return Ok(Some(state)),
                Some(Err(_)) => return Ok(None),
                Some(Ok(slot)) => slot,
            };
            let key = path::slot(id, place);
            let applied = match state.apply(&slot.header, &slot.entry) {
                Ok(applied) => applied,
                Err(error) => {
                    survey.damaged(&key, &error);
                    return Ok(None);
                }
            };
            if applied == Applied::Effective
                && matches!(
                    slot.entry,
                    Entry::Flush { .. } | Entry::Compact { .. } | Entry::IndexBuild { .. }
                )
                && let Err(error) = survey.references.add_state(&key, &state)
            {
                survey.damaged(&key, &error);
            }
        }
    }

    /// Checks a slot that stays although no manifest needs it: other servers catch up by it.
    pub(super) async fn slot_between(
        &mut self,
        id: NamespaceId,
        survey: &Survey,
        key: &str,
    ) -> Result<()> {
        let place = path::parse_slot(id, key)?;
        if survey.seen.contains_key(&place) {
            return Ok(());
        }
        let mut noted = Survey::default();
        // One that is gone meanwhile was truncated.
        self.slot(id, place, None, &mut noted).await?;
        for finding in noted.findings {
            self.report(finding);
        }
        Ok(())
    }

    /// Judges a slot that lies after the end of the log as it was read: new since, or behind a hole.
    pub(super) async fn gap(
        &mut self,
        id: NamespaceId,
        survey: &Survey,
        later: &str,
    ) -> Result<()> {
        let Some(newest) = &survey.newest else {
            return Ok(());
        };
        let next = path::slot(id, newest.next_slot());
        let header = 0..codec::HEADER_BYTES as u64;
        let wal = self.log(id);
        // Slots are made one after another: a later one stood before this read began.
        if self.bucket.get_range(&next, header).await?.is_missing()
            && wal.anchor_holds(newest.anchor()).await?
        {
            self.missing(&next, later);
        }
        Ok(())
    }
}
