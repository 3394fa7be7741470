//! Committing: evaluate, append, and on a lost slot catch up and evaluate again.

use std::sync::Arc;

use super::Request;
use super::gather::Gathered;
use super::group::{self, Fate, Group};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Effects, Slot, path, wal::Body};
use crate::lsm::entry::Id16;
use crate::lsm::state::{BatchFate, Life};
use crate::lsm::{Applied, Entry, State, settings};
use crate::namespace::handle::{Log, Namespace, not_found};
use crate::namespace::read::{Gone, is_missing, judge};
use crate::runtime::{FailPoint, failpoint};
use crate::telemetry::metrics::AppendOutcome;
use crate::types::document::WriteOutcome;
use crate::types::settings::SettingsChange;
use crate::types::{SlotName, WalSeq, limits};
use crate::wal::Appended;

/// Groups from here on are evaluated and encoded on the compute pool.
const POOL_FROM_BYTES: usize = 64 << 10;

/// Slots from here on are let go once they are committed: their rows are in memory, and only a node that opens
/// or catches up reads them again.
const LET_GO_FROM_BYTES: usize = 64 << 10;

/// How one try to append ended, where it is known.
pub(in crate::namespace) enum Tried {
    Committed(WalSeq, Applied),
    /// The entry is certainly not in the log: evaluate again at the state the log has now.
    Again,
}

impl Namespace {
    /// Commits a group and gives each request its outcome.
    pub(super) async fn commit_group(
        self: &Arc<Self>,
        slot: &mut Option<Log>,
        requests: Arc<[Request]>,
    ) -> Vec<Result<WriteOutcome>> {
        let began_ms = self.shared.clock.monotonic_ms();
        let committed = self.try_commit_group(slot, &requests).await;
        let metrics = &self.shared.metrics.wal;
        let outcome = match &committed {
            Ok(_) => AppendOutcome::Committed,
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                metrics.unknown_outcomes_total.inc();
                AppendOutcome::Unknown
            }
            Err(_) => AppendOutcome::Failed,
        };
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        metrics.observe_append(outcome, elapsed_ms as f64 / 1_000.0, requests.len());
        match committed {
            Ok(outcomes) => outcomes,
            Err(error) => requests.iter().map(|_| Err(error.duplicate())).collect(),
        }
    }

    async fn try_commit_group(
        self: &Arc<Self>,
        slot: &mut Option<Log>,
        requests: &Arc<[Request]>,
    ) -> Result<Vec<Result<WriteOutcome>>> {
        let mut caught_up = false;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_live_log(slot).await?;
            let batch = Id16(self.shared.entropy.next_u128());
            let gathered = match self.gather(&log, requests).await {
                Ok(gathered) => gathered,
                Err(error) => {
                    *slot = Some(log);
                    if !is_missing(&error) {
                        return Err(error);
                    }
                    let newest = self.catch_up(slot).await?.view;
                    match judge(error, &newest) {
                        Gone::Lost(damage) => return Err(damage),
                        Gone::Replaced(_) => continue,
                    }
                }
            };
            let (log, group) = self.evaluate(log, gathered, requests, batch).await?;
            *slot = Some(log);
            let Group { fates, commit } = group?;
            // A refusal or a repetition may rest on a state that another node has left behind.
            let doubtful = |fate: &Fate| matches!(fate, Fate::Refused(_));
            if !caught_up && fates.iter().any(doubtful) {
                self.catch_up(slot).await?;
                caught_up = true;
                continue;
            }
            let Some(commit) = commit else {
                return Ok(group::outcomes(fates, WalSeq(0)));
            };
            let tried = self
                .append(
                    slot,
                    Some(batch),
                    commit.entry,
                    commit.effects,
                    &commit.body,
                )
                .await?;
            if let Tried::Committed(seq, applied) = tried {
                effective(seq, applied)?;
                return Ok(group::outcomes(fates, seq));
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` has faster writers elsewhere: {} slots were lost to them",
            self.name,
            limits::LOST_SLOTS_MAX
        ))
        .with_retry_after_ms(1_000))
    }

    /// The log of a namespace that has not been dropped.
    pub(in crate::namespace) async fn take_live_log(&self, slot: &mut Option<Log>) -> Result<Log> {
        self.take_log_of(slot, Life::Live).await
    }

    async fn take_log_of(&self, slot: &mut Option<Log>, life: Life) -> Result<Log> {
        let log = self.take_log(slot).await?;
        if log.state.life == life {
            return Ok(log);
        }
        self.publish(&log);
        *slot = Some(log);
        Err(not_found(&self.name))
    }

    /// Evaluates large groups on the compute pool, small ones here.
    async fn evaluate(
        &self,
        log: Log,
        gathered: Gathered,
        requests: &Arc<[Request]>,
        batch: Id16,
    ) -> Result<(Log, Result<Group>)> {
        let asked: usize = requests.iter().map(|request| request.batch.bytes).sum();
        let bytes = asked.saturating_add(gathered.bytes);
        let requests = Arc::clone(requests);
        let work = move || {
            let group = group::evaluate(&log.state, &log.tail, gathered, &requests, batch);
            (log, group)
        };
        if bytes < POOL_FROM_BYTES {
            return Ok(work());
        }
        self.shared.compute.run(work).await
    }

    /// Appends one entry after the log's state and applies it.
    ///
    /// `batch`: by what it can be found again where the log is truncated under it; without one the outcome
    /// is unknown then. Errors: `Unavailable` where nothing was written (the log stands);
    /// `OutcomeUnknown` (the log is discarded and opened again by the next one who needs it).
    pub(in crate::namespace) async fn append(
        self: &Arc<Self>,
        slot: &mut Option<Log>,
        batch: Option<Id16>,
        entry: Entry,
        effects: Effects,
        body: &Body,
    ) -> Result<Tried> {
        if self.is_stopped() {
            // What lies after a slot that cannot be read is not known: nothing is sent.
            self.catch_up(slot).await?;
            return Ok(Tried::Again);
        }
        let mut log = self.take_log(slot).await?;
        let (from, anchor) = (log.state.seq.next(), log.state.anchor());
        let appended = self.wal.append(&log.state, body, &mut log.proof).await;
        self.shared.writable.note(&appended, body.len());
        match appended {
            Ok(Appended::Committed(header)) => {
                if body.len() >= LET_GO_FROM_BYTES {
                    self.let_go(header.slot);
                }
                let mut state = (*log.state).clone();
                let applied = state.apply(&header, &entry)?;
                let committed = Slot {
                    header,
                    entry,
                    effects,
                };
                match self.take_committed(log, state, committed, applied).await {
                    Ok(log) => *slot = Some(log),
                    // The log has it, and every strong read finds it there: only this node's memory is
                    // behind, and is read again by the next one who needs it.
                    Err(error) => {
                        let (namespace, error) = (&self.name, error.chain());
                        tracing::error!(%namespace, seq = %header.seq, error, "commit was not taken into memory");
                    }
                }
                Ok(Tried::Committed(header.seq, applied))
            }
            Ok(Appended::Lost) => {
                self.shared.metrics.wal.lost_slots_total.inc();
                *slot = Some(log);
                // A lost slot proves that the batch is absent only while the log is whole: a void slot of a
                // truncated block may have hidden a commit of ours whose answer was lost.
                match self.catch_up(slot).await {
                    Ok(caught_up) if caught_up.reopened => self.look_up(slot, batch, from).await,
                    Ok(_) => Ok(Tried::Again),
                    // The slot is another's, and damaged. Whole as the log is, the batch is in none.
                    Err(error)
                        if error.kind() == ErrorKind::Corrupted
                            && matches!(self.wal.anchor_holds(anchor).await, Ok(true)) =>
                    {
                        Err(error)
                    }
                    Err(error) => Err(Error::outcome_unknown(
                        "a commit lost its slot and the log cannot be read",
                    )
                    .with_source(error)),
                }
            }
            Ok(Appended::Reopen) => {
                self.shared.metrics.wal.anchor_failures_total.inc();
                self.look_up(slot, batch, from).await
            }
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                if batch.is_some() {
                    self.note_maybe_dirty(log.state.flushed_seq);
                }
                Err(error)
            }
            Err(error) => {
                *slot = Some(log);
                Err(error)
            }
        }
    }

    /// Has the store let a committed slot go.
    fn let_go(&self, slot: SlotName) {
        let bucket = Arc::clone(&self.shared.bucket);
        let key = path::slot(self.id(), slot);
        self.shared
            .tasks
            .spawn(async move { bucket.let_go(&key).await });
    }

    /// Brings this node's memory up to its own commit. On an error the log is to be opened again.
    async fn take_committed(
        self: &Arc<Self>,
        mut log: Log,
        state: State,
        committed: Slot,
        applied: Applied,
    ) -> Result<Log> {
        let applying = failpoint::reach(FailPoint::W5);
        if applying.before().await.is_some() {
            return Err(Error::internal("failpoint w5"));
        }
        let slot = committed.header.slot;
        let brought_rows = matches!(committed.entry, Entry::Write(_));
        let changed_segments =
            matches!(committed.entry, Entry::Flush { .. } | Entry::Compact { .. });
        log.adopt(Arc::new(state), &[(committed, applied)])?;
        let view = self.publish(&log);
        self.note_dirty(&view);
        if changed_segments {
            let n_segments = view.state.segments.len();
            self.shared
                .metrics
                .compaction
                .segments
                .observe(n_segments as f64);
        }
        // Not after the entries of a flush itself: one that cannot succeed would ask for the next.
        if brought_rows {
            self.consider_flush(&view);
        }
        self.consider_index_build(&view);
        self.consider_compaction(&view);
        if slot.idx == 0 && slot.block > 0 {
            self.write_manifest(&log);
        }
        if applying.after().await.is_some() {
            return Err(Error::internal("failpoint w5"));
        }
        Ok(log)
    }

    /// After an anchor that did not hold: open again and ask the log itself.
    async fn look_up(
        &self,
        slot: &mut Option<Log>,
        batch: Option<Id16>,
        from: WalSeq,
    ) -> Result<Tried> {
        let unknown = |error: Error| {
            Error::outcome_unknown("a commit met a truncated log and cannot be looked up")
                .with_source(error)
        };
        let reopening = failpoint::reach_forced(FailPoint::W4);
        if reopening.before().await.is_some() {
            return Err(unknown(Error::unavailable("failpoint w4")));
        }
        let log = self.open_again().await.map_err(unknown)?;
        // An error after it is the false alarm by itself: the log must find the batch.
        let _ = reopening.after().await;
        let fate = batch.map_or(BatchFate::Forgotten, |batch| {
            log.state.find_batch(batch, from)
        });
        self.publish(&log);
        *slot = Some(log);
        match fate {
            BatchFate::Committed(seq) => Ok(Tried::Committed(seq, Applied::Effective)),
            BatchFate::Absent => Ok(Tried::Again),
            BatchFate::Forgotten => Err(Error::outcome_unknown(
                "a commit met a truncated log that no longer remembers it",
            )),
        }
    }

    /// Ends this incarnation: the log first, the caller then writes the name's record.
    pub(crate) async fn drop_log(self: &Arc<Self>) -> Result<()> {
        self.commit_alone(Life::Live, |batch| Entry::Drop { batch })
            .await?;
        Ok(())
    }

    /// Changes settings. Errors: `NotFound`, `Unavailable`, `OutcomeUnknown`.
    pub(in crate::namespace) async fn configure(
        self: &Arc<Self>,
        change: SettingsChange,
    ) -> Result<WalSeq> {
        let settings = settings::to_config(change);
        let entry = |batch| Entry::Configure {
            batch,
            settings: settings.clone(),
        };
        self.commit_alone(Life::Live, entry).await
    }

    /// Commits an entry that is true of any state of a namespace that lives so. Errors: `NotFound` once it does not.
    pub(in crate::namespace) async fn commit_alone(
        self: &Arc<Self>,
        life: Life,
        entry: impl Fn(Id16) -> Entry,
    ) -> Result<WalSeq> {
        let mut slot = self.log.lock().await;
        for _ in 0..limits::LOST_SLOTS_MAX {
            let log = self.take_log_of(&mut slot, life).await?;
            *slot = Some(log);
            let batch = Id16(self.shared.entropy.next_u128());
            let entry = entry(batch);
            let effects = Effects::default();
            let body = Body::encode(&entry, &effects)?;
            let tried = self
                .append(&mut slot, Some(batch), entry, effects, &body)
                .await?;
            if let Tried::Committed(seq, applied) = tried {
                effective(seq, applied)?;
                return Ok(seq);
            }
        }
        Err(Error::unavailable(format!(
            "namespace `{}` has faster writers elsewhere",
            self.name
        )))
    }

    /// Writes the manifest of the present state in the background: it only shortens the next open.
    fn write_manifest(self: &Arc<Self>, log: &Log) {
        let namespace = Arc::clone(self);
        let state = Arc::clone(&log.state);
        self.shared
            .tasks
            .spawn(async move { namespace.put_manifest(&state).await });
    }
}

/// A commit that must mean something.
fn effective(seq: WalSeq, applied: Applied) -> Result<()> {
    match applied {
        Applied::Effective => Ok(()),
        Applied::NoOp(reason) => Err(Error::internal(format!(
            "commit {seq} means nothing: {reason}"
        ))),
    }
}
