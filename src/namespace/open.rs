//! Cold open: from a hint or a manifest, then the log, then one anchor over everything that was read.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::Shared;
use super::handle::Log;
use crate::error::{Error, Result};
use crate::format::{Slot, path};
use crate::lsm::state::Life;
use crate::lsm::{Anchor, Applied, Entry, Rotation, State, Tail};
use crate::manifest::{self, Origin, Wanted};
use crate::types::{SlotName, WalSeq};
use crate::wal::{Advanced, Proof, Wal};

/// Slots read at once.
const SLOTS_IN_FLIGHT: usize = 16;
/// How often an open starts over when the log is truncated under it, or does not fit what it began with.
const TRIES_MAX: u32 = 8;
/// However many slots there are.
const NEWEST: WalSeq = WalSeq(u64::MAX);

/// Opens a log at its newest state. `hinted`: a state of it, from the advisory hint; never trusted
/// beyond what the anchor proves.
///
/// A manifest that is damaged, or that the log does not fit twice, is passed over for its copy or an older one.
/// Errors: `Unavailable`; `Corrupted` naming a damaged object. Cancel safe: nothing changes.
pub(crate) async fn open_log(
    shared: &Arc<Shared>,
    wal: &Wal,
    hinted: Option<State>,
) -> Result<Log> {
    let (mut hinted, mut wanted) = (hinted, Wanted::ANY);
    // The first damage of a manifest, and the manifest that the log did not fit last.
    let (mut damage, mut unfit): (Option<Error>, Option<WalSeq>) = (None, None);
    for _ in 0..TRIES_MAX {
        if let Some(state) = hinted.take() {
            if let Opened::Is(log) = open_from(wal, state, NEWEST).await? {
                return Ok(log);
            }
            continue;
        }
        let found = manifest::load_newest(wal.bucket(), wal.id(), wanted).await?;
        for error in found.damaged {
            shared.note_damage(&error);
            damage.get_or_insert(error);
        }
        let (state, origin) = match (found.states, damage.take()) {
            (Some((state, origin)), known) => {
                damage = known;
                (state, Some(origin))
            }
            (None, Some(damage)) => return Err(damage),
            (None, None) => (State::initial(Rotation::default()), None),
        };
        let seq = state.seq;
        let slot = match open_from(wal, state, NEWEST).await? {
            Opened::Is(log) => return Ok(log),
            Opened::Unfit(slot) => slot,
        };
        match origin {
            None => {}
            Some(Origin::Head) => wanted.head = false,
            // A truncation comes with newer manifests: where none has come, this one is wrong, or the log.
            Some(Origin::Manifest) if unfit == Some(seq) => {
                let error = misfit(wal, seq, slot);
                shared.note_damage(&error);
                damage.get_or_insert(error);
                wanted.below = Some(seq);
            }
            Some(Origin::Manifest) => unfit = Some(seq),
        }
    }
    Err(damage.unwrap_or_else(|| {
        Error::unavailable(format!(
            "namespace {} was truncated {TRIES_MAX} times while it was being opened",
            wal.id()
        ))
    }))
}

/// A log as it was at a state of the past.
pub(crate) struct Past {
    pub(crate) log: Log,
    /// Whether it was read from its first slot on, which only a log that was never truncated has: whether that is so must
    /// be asked after this.
    pub(crate) from_start: bool,
}

/// Opens a log as it was at a state of the past; `None` where the log does not reach back to it any more.
///
/// Errors: as of `open_log`. Cancel safe: nothing changes.
pub(crate) async fn open_log_at(
    shared: &Arc<Shared>,
    wal: &Wal,
    seq: WalSeq,
) -> Result<Option<Past>> {
    let wanted = Wanted {
        below: Some(seq.next()),
        head: true,
    };
    let found = manifest::load_newest(wal.bucket(), wal.id(), wanted).await?;
    for error in &found.damaged {
        shared.note_damage(error);
    }
    let from_start = found.states.is_none();
    let base = match found.states {
        Some((state, _)) => state,
        None => State::initial(Rotation::default()),
    };
    Ok(match open_from(wal, base, seq).await? {
        Opened::Is(log) if log.state.seq == seq => Some(Past { log, from_start }),
        Opened::Is(_) | Opened::Unfit(_) => None,
    })
}

/// What a log opened from a state came to.
enum Opened {
    Is(Log),
    /// The log was truncated under us, a hint was stale, or this slot is not the one that the state knows.
    Unfit(SlotName),
}

fn misfit(wal: &Wal, seq: WalSeq, slot: SlotName) -> Error {
    let (manifest, slot) = (path::manifest(wal.id(), seq), path::slot(wal.id(), slot));
    Error::corrupted(format!(
        "object `{manifest}` and the log do not fit: slot `{slot}` is missing, or not the one it knows"
    ))
    .with_detail("object", manifest)
    .with_detail("slot", slot)
}

async fn open_from(wal: &Wal, base: State, until: WalSeq) -> Result<Opened> {
    // Nothing after it means anything, and nothing before it need be there.
    if base.life == Life::Reaped {
        return Ok(Opened::Is(Log {
            state: Arc::new(base),
            tail: Tail::default(),
            proof: Proof::default(),
        }));
    }
    let oldest = base.tail_anchor();
    let below = match read_known(wal, &base).await? {
        Known::All(slots) => slots,
        Known::Lacks(slot) => return Ok(Opened::Unfit(slot)),
    };
    let next = base.next_slot();
    let (state, adopted, proof) = match wal.advance_until(base, until).await? {
        Advanced::Current {
            state,
            adopted,
            proof,
        } => (state, adopted, proof),
        Advanced::Reopen => return Ok(Opened::Unfit(anchored(oldest, next))),
    };
    if state.seq == WalSeq(0) {
        let slot = path::slot(wal.id(), state.next_slot());
        return Err(Error::corrupted(format!(
            "namespace {} has no log: expected at least slot `{slot}`",
            wal.id(),
        ))
        .with_detail("object", slot));
    }
    // The head of the newest block does not cover the blocks below it: the oldest one read does.
    if !below.is_empty() && !wal.anchor_holds(oldest).await? {
        return Ok(Opened::Unfit(anchored(oldest, next)));
    }
    let state: Arc<State> = Arc::from(state);
    let mut log = Log {
        state: Arc::clone(&state),
        tail: Tail::default(),
        proof,
    };
    log.adopt(Arc::clone(&state), &below)?;
    log.adopt(state, &adopted)?;
    Ok(Opened::Is(log))
}

/// The slot of an anchor; `next` where it has none.
fn anchored(anchor: Anchor, next: SlotName) -> SlotName {
    match anchor {
        Anchor::Head { slot, .. } => slot,
        Anchor::NoManifest => next,
    }
}

/// The slots of the tail that a state knows.
enum Known {
    All(Vec<(Slot, Applied)>),
    /// This one is gone.
    Lacks(SlotName),
}

/// Reads the slots of the tail that the state already knows.
async fn read_known(wal: &Wal, base: &State) -> Result<Known> {
    let seqs = base.flushed_seq.0 + 1..=base.seq.0;
    // The rules of states say that each has a place.
    let slots = seqs.map(|seq| base.slot_of(WalSeq(seq)).ok_or(base.next_slot()));
    let read: Vec<std::result::Result<Slot, SlotName>> = stream::iter(slots)
        .map(|slot| async move {
            Ok::<_, Error>(match slot {
                Ok(slot) => wal.read_slot(slot).await?.ok_or(slot),
                Err(lost) => Err(lost),
            })
        })
        .buffered(SLOTS_IN_FLIGHT)
        .try_collect()
        .await?;
    let whole: std::result::Result<Vec<Slot>, SlotName> = read.into_iter().collect();
    Ok(match whole {
        Err(slot) => Known::Lacks(slot),
        Ok(slots) => Known::All(
            slots
                .into_iter()
                // Only writes have rows, and no correct writer puts one where it means nothing.
                .filter(|slot| matches!(slot.entry, Entry::Write(_)))
                .map(|slot| (slot, Applied::Effective))
                .collect(),
        ),
    })
}
