//! States of the past: kept for a while where an answer has further pages, read from the log again by any other node.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::lsm::state::Life;
use crate::namespace::handle::{Namespace, View};
use crate::namespace::open;
use crate::query::request::AsOf;
use crate::types::{NamespaceId, NamespaceName, WalSeq};

/// How long a state that nobody asks for is kept, milliseconds.
const KEPT_MS: u64 = 5 * 60 * 1_000;
/// States kept at most.
const KEPT_MAX: usize = 64;

/// The states that a node keeps for further pages, the one used last at the end.
#[derive(Debug)]
pub(crate) struct PastViews {
    kept: Mutex<Vec<Kept>>,
    /// Most bytes of their tails together.
    bytes_max: u64,
}

#[derive(Debug)]
struct Kept {
    namespace: NamespaceId,
    view: Arc<View>,
    used_at_ms: u64,
}

impl PastViews {
    /// Keeps tails of so many bytes at most. A tail that is shared with others is counted for each.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            kept: Mutex::default(),
            bytes_max,
        }
    }

    fn get(&self, namespace: NamespaceId, seq: WalSeq, now_ms: u64) -> Option<Arc<View>> {
        let mut kept = self.kept.lock();
        let is_it = |kept: &Kept| kept.namespace == namespace && kept.view.seq == seq;
        let at = kept.iter().position(is_it)?;
        let mut found = kept.remove(at);
        found.used_at_ms = now_ms;
        let view = Arc::clone(&found.view);
        kept.push(found);
        Some(view)
    }

    /// Lets go what nobody has asked for in a while.
    pub(crate) fn expire(&self, now_ms: u64) {
        let is_used = |kept: &Kept| now_ms.saturating_sub(kept.used_at_ms) < KEPT_MS;
        self.kept.lock().retain(is_used);
    }

    fn keep(&self, namespace: NamespaceId, view: &Arc<View>, now_ms: u64) {
        self.expire(now_ms);
        let mut kept = self.kept.lock();
        kept.retain(|kept| kept.namespace != namespace || kept.view.seq != view.seq);
        kept.push(Kept {
            namespace,
            view: Arc::clone(view),
            used_at_ms: now_ms,
        });
        let mut bytes = 0_u64;
        let fits = |kept: &&Kept| {
            bytes = bytes.saturating_add(kept.view.tail.memory_bytes);
            bytes <= self.bytes_max
        };
        let fitting = kept.iter().rev().take(KEPT_MAX).take_while(fits).count();
        let over = kept.len() - fitting;
        kept.drain(..over);
    }
}

impl Namespace {
    /// The view of a state of the past, where `newest` is as fresh as asked for. Nothing more is asked of the store
    /// where this node has it in memory.
    ///
    /// Errors: `Gone` with code `state_not_retained` where the log does not reach back to it, or where it is of an
    /// incarnation that was dropped; `InvalidRequest` with code `as_of_not_reached` where it lies in the future.
    /// Cancel safe.
    pub(super) async fn view_as_of(
        self: &Arc<Self>,
        as_of: AsOf,
        newest: Arc<View>,
    ) -> Result<Arc<View>> {
        let seq = as_of.seq;
        let newest = match newest.seq < seq {
            true => self.current_view().await?,
            false => newest,
        };
        // What was dropped is told by its newest state: the name may mean another incarnation by now.
        if newest.state.life != Life::Live {
            return Ok(newest);
        }
        if as_of.namespace.is_some_and(|other| other != self.id()) {
            return Err(not_retained(&self.name, seq, newest.seq));
        }
        if newest.seq == seq {
            return Ok(newest);
        }
        if newest.seq < seq {
            return Err(not_reached(seq, newest.seq));
        }
        let now = self.shared.clock.monotonic_ms();
        if let Some(view) = self.shared.past.get(self.id(), seq, now) {
            return Ok(view);
        }
        let gone = || not_retained(&self.name, seq, newest.seq);
        let past = open::open_log_at(&self.shared, &self.wal, seq).await?;
        let past = past.ok_or_else(gone)?;
        if past.from_start && self.current_view().await?.state.floor > 0 {
            return Err(gone());
        }
        self.shared.metrics.query.past_states_total.inc();
        let view = Arc::new(View::of(&past.log, Some(&newest), &self.shared));
        self.keep_past(&view);
        Ok(view)
    }

    /// Keeps a view for a while.
    pub(super) fn keep_past(&self, view: &Arc<View>) {
        let now = self.shared.clock.monotonic_ms();
        self.shared.past.keep(self.id(), view, now);
    }
}

/// Says that a state cannot be had any more.
pub(super) fn not_retained(name: &NamespaceName, seq: WalSeq, newest: WalSeq) -> Error {
    Error::new(
        ErrorKind::Gone,
        "state_not_retained",
        format!("the state of namespace `{name}` at {seq} is not kept any more: begin anew, the newest is at {newest}"),
    )
    .with_detail("seq", seq)
    .with_detail("newest_seq", newest)
}

fn not_reached(seq: WalSeq, newest: WalSeq) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        "as_of_not_reached",
        format!("`as_of.seq` lies in the future: expected at most {newest}, found {seq}"),
    )
    .with_detail("newest_seq", newest)
}
