//! Cold open: from a hint or a manifest, then the log, then one anchor over everything that was read.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::handle::Log;
use crate::error::{Error, Result};
use crate::format::{Slot, path};
use crate::lsm::{Applied, Entry, Rotation, State, Tail};
use crate::manifest;
use crate::types::WalSeq;
use crate::wal::{Advanced, Proof, Wal};

/// Slots read at once.
const SLOTS_IN_FLIGHT: usize = 16;
/// How often an open starts over when the log is truncated under it.
const TRIES_MAX: u32 = 4;

/// Opens a log at its newest state. `hinted`: a state of it, from the advisory hint; never trusted
/// beyond what the anchor proves.
///
/// Errors: `Unavailable`; `Corrupted` naming a damaged object. Cancel safe: nothing changes.
pub(crate) async fn open_log(wal: &Wal, hinted: Option<State>) -> Result<Log> {
    let mut hinted = hinted;
    for _ in 0..TRIES_MAX {
        let base = match hinted.take() {
            Some(state) => state,
            None => manifest::load_newest(wal.bucket(), wal.id())
                .await?
                .unwrap_or_else(|| State::initial(Rotation::default())),
        };
        if let Some(log) = open_from(wal, base).await? {
            return Ok(log);
        }
    }
    Err(Error::unavailable(format!(
        "namespace {} was truncated {TRIES_MAX} times while it was being opened",
        wal.id()
    )))
}

/// `None` where the log was truncated under us: a hint was stale, or a newer manifest exists.
async fn open_from(wal: &Wal, base: State) -> Result<Option<Log>> {
    let oldest = base.tail_anchor();
    let Some(below) = read_known(wal, &base).await? else {
        return Ok(None);
    };
    let (state, adopted, proof) = match wal.advance(base, Proof::default()).await? {
        Advanced::Current {
            state,
            adopted,
            proof,
        } => (state, adopted, proof),
        Advanced::Reopen => return Ok(None),
    };
    if state.seq == WalSeq(0) {
        return Err(Error::corrupted(format!(
            "namespace {} has no log: expected at least slot `{}`",
            wal.id(),
            path::slot(wal.id(), state.next_slot())
        )));
    }
    // The head of the newest block does not cover the blocks below it: the oldest one read does.
    if !below.is_empty() && !wal.anchor_holds(oldest).await? {
        return Ok(None);
    }
    let state: Arc<State> = Arc::from(state);
    let mut log = Log {
        state: Arc::clone(&state),
        tail: Tail::default(),
        proof,
    };
    log.adopt(Arc::clone(&state), &below)?;
    log.adopt(state, &adopted)?;
    Ok(Some(log))
}

/// Reads the slots of the tail that the state already knows; `None` if one is gone.
async fn read_known(wal: &Wal, base: &State) -> Result<Option<Vec<(Slot, Applied)>>> {
    let seqs = base.flushed_seq.0 + 1..=base.seq.0;
    let slots = seqs.map(|seq| base.slot_of(WalSeq(seq)));
    let read: Vec<Option<Slot>> = stream::iter(slots)
        .map(|slot| async move {
            match slot {
                Some(slot) => wal.read_slot(slot).await,
                None => Ok(None),
            }
        })
        .buffered(SLOTS_IN_FLIGHT)
        .try_collect()
        .await?;
    let whole: Option<Vec<Slot>> = read.into_iter().collect();
    Ok(whole.map(|slots| {
        slots
            .into_iter()
            // Only writes have rows, and no correct writer puts one where it means nothing.
            .filter(|slot| matches!(slot.entry, Entry::Write(_)))
            .map(|slot| (slot, Applied::Effective))
            .collect()
    }))
}
