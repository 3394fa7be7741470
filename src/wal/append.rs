//! Appending one slot: drives `lsm::Append` against the bucket.

use super::{Proof, Wal};
use crate::error::{Error, Result};
use crate::format::{path, wal as codec};
use crate::lsm::{Anchor, Append, AppendEvent, AppendStep, SlotHeader, State};
use crate::runtime::{FailPoint, failpoint};
use crate::store::{CreateOutcome, GetOutcome, StoreError};
use crate::types::Nonce;

/// How an append ended, where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The entry is slot n+1, durable, and every later strong read sees it.
    Committed(SlotHeader),
    /// Another writer has slot n+1. Unless catching up finds the log truncated, the entry is certainly not
    /// in it; after a truncation that slot may be void, and the batch must be looked up.
    Lost,
    /// The log was truncated under this node: open again and look the batch up.
    Reopen,
}

impl Wal {
    /// Puts the body into the slot after `state`.
    ///
    /// Errors: `Unavailable` where certainly nothing was written; `OutcomeUnknown` where it may have been
    /// and could not be resolved. Cancel safety: none; run it on a task of its own, since a dropped
    /// append may still commit.
    pub async fn append(
        &self,
        state: &State,
        body: &codec::Body,
        proof: &mut Proof,
    ) -> Result<Appended> {
        let (mut append, mut step) = Append::begin(state, self.nonce());
        let mut facts = SlotHeader {
            seq: state.seq.next(),
            slot: state.next_slot(),
            nonce: Nonce(0),
            written_at: self.clock.now(),
            body_bytes: body.len() as u64,
        };
        let mut creates = 0_u32;
        let mut last_failure: Option<String> = None;
        // The store's clock when it said `Created`; a slot found by reading may be long behind the newest.
        let mut created_date = None;
        loop {
            let event = match step {
                AppendStep::Create { slot, nonce } => {
                    facts.nonce = nonce;
                    creates += 1;
                    let key = path::slot(self.id, slot);
                    match self.create_slot(&key, body, &facts).await {
                        Ok(CreateOutcome::Created { store_date }) => {
                            created_date = store_date;
                            AppendEvent::Created {
                                fresh: self.is_fresh(*proof, store_date),
                            }
                        }
                        Ok(CreateOutcome::Exists) => AppendEvent::Exists,
                        Ok(CreateOutcome::Unknown(error)) => {
                            last_failure = Some(error.to_string());
                            AppendEvent::Unknown
                        }
                        // The first create was refused: certainly nothing was written. A later one says
                        // nothing about those before it.
                        Err(error @ StoreError::Determinate { .. }) if creates == 1 => {
                            return Err(error.into());
                        }
                        Err(error) => {
                            last_failure = Some(error.to_string());
                            AppendEvent::Unknown
                        }
                    }
                }
                AppendStep::ReadSlot { slot } => self.who_holds(slot, &mut last_failure).await,
                AppendStep::CheckAnchor(anchor) => match self.prove(anchor).await {
                    Ok(true) => {
                        proof.renew(created_date);
                        AppendEvent::AnchorHolds
                    }
                    Ok(false) => AppendEvent::AnchorBroken,
                    Err(error) => {
                        last_failure = Some(error.chain());
                        AppendEvent::AnchorUnread
                    }
                },
                AppendStep::Committed(nonce) => {
                    facts.nonce = nonce;
                    return Ok(Appended::Committed(facts));
                }
                AppendStep::Lost => return Ok(Appended::Lost),
                AppendStep::Reopen => return Ok(Appended::Reopen),
                AppendStep::GiveUp => return Err(self.unknown(&facts, last_failure)),
            };
            step = append.step(event, self.nonce());
        }
    }

    /// One create request of a slot.
    async fn create_slot(
        &self,
        key: &str,
        body: &codec::Body,
        facts: &SlotHeader,
    ) -> Result<CreateOutcome, StoreError> {
        let sealing = failpoint::reach(FailPoint::W1);
        if sealing.before().await.is_some() {
            return Err(StoreError::determinate("create", key, "failpoint w1"));
        }
        let bytes = body.seal(facts);
        // Sealing gives no answer that could be lost.
        let _ = sealing.after().await;
        let lost = |_| StoreError::indeterminate("create", key, "failpoint w2");
        let creating = failpoint::reach(FailPoint::W2);
        if let Some(injected) = creating.before().await {
            return Ok(CreateOutcome::Unknown(lost(injected)));
        }
        let outcome = self.bucket.create(key, bytes).await;
        match creating.after().await {
            Some(injected) => Ok(CreateOutcome::Unknown(lost(injected))),
            None => outcome,
        }
    }

    /// The anchor check of an append.
    async fn prove(&self, anchor: Anchor) -> Result<bool> {
        let checking = failpoint::reach(FailPoint::W3);
        if checking.before().await.is_some() {
            return Err(Error::unavailable("failpoint w3"));
        }
        let holds = self.anchor_holds(anchor).await?;
        if checking.after().await.is_some() {
            return Err(Error::unavailable("failpoint w3"));
        }
        Ok(holds && !failpoint::forces(FailPoint::W4))
    }

    async fn who_holds(
        &self,
        slot: crate::types::SlotName,
        last_failure: &mut Option<String>,
    ) -> AppendEvent {
        let key = path::slot(self.id, slot);
        let header = 0..codec::HEADER_BYTES as u64;
        let found = match self.bucket.get_range(&key, header).await {
            Ok(GetOutcome::Missing { .. }) => return AppendEvent::SlotMissing,
            Ok(GetOutcome::Found(found)) => codec::decode_header(&key, &found.bytes),
            Err(error) => Err(error.into()),
        };
        match found {
            Ok(header) => AppendEvent::SlotFound {
                nonce: header.nonce,
            },
            Err(error) => {
                *last_failure = Some(error.chain());
                AppendEvent::SlotUnread
            }
        }
    }

    fn nonce(&self) -> Nonce {
        Nonce(self.entropy.next_u128())
    }

    fn unknown(&self, facts: &SlotHeader, last_failure: Option<String>) -> Error {
        Error::outcome_unknown(format!(
            "commit {} of namespace {} may or may not have happened: {}",
            facts.seq,
            self.id,
            last_failure.unwrap_or_else(|| "the store gave no clear answer".to_owned())
        ))
    }
}
