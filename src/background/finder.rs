//! The loop: hints out, hints in, namespaces seen to. What to do is decided in `book.rs` and `board.rs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::BackgroundOptions;
use super::board::{Board, Waits, is_within};
use super::book::Book;
use super::sweep::Sweep;
use crate::error::{Error, ErrorKind, Result};
use crate::format::dirty;
use crate::format::path::{self, DirtyKey};
use crate::namespace::{Attended, Engine, World};
use crate::runtime::Shutdown;
use crate::runtime::clock::{sleep_ms, within_ms};
use crate::store::{GetOutcome, Listed, StoreError};
use crate::types::{NamespaceId, NamespaceName, limits};

/// The last hint at shutdown is given up after so long, milliseconds.
const LAST_HINT_MS: u64 = 5_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;
/// Other nodes that read the same hint come at other times within this part of the age of rows.
const SPREAD_PART: u64 = 16;

/// What came of namespaces that were seen to, until the next round takes it.
type Ended = Arc<Mutex<Vec<(NamespaceId, Result<Attended>)>>>;

/// The background of one node.
pub(super) struct Finder {
    engine: Engine,
    world: World,
    options: BackgroundOptions,
    /// This life of this node.
    node: u128,
    book: Book,
    board: Board,
    sweep: Sweep,
    ended: Ended,
    /// Where the next listing begins, where one request does not show all hints.
    cursor: Option<String>,
    rounds: u64,
    next_hint_ms: u64,
    next_round_ms: u64,
    next_reap_ms: u64,
    /// How much later than others this node sees to what it holds itself.
    spread_ms: u64,
}

impl Finder {
    pub(super) fn new(engine: Engine, world: World, options: BackgroundOptions) -> Self {
        let now = world.clock.monotonic_ms();
        let interval_ms = options.interval_ms.max(1);
        let mut finder = Self {
            node: world.entropy.next_u128(),
            book: Book::default(),
            board: Board::new(Waits {
                age_ms: options.flush_age_ms,
                slack_ms: interval_ms.saturating_mul(2),
                again_ms: interval_ms,
            }),
            sweep: Sweep::new(now, options.sweep_ms, world.entropy.next_u128()),
            ended: Ended::default(),
            cursor: None,
            rounds: 0,
            next_hint_ms: now,
            next_round_ms: now,
            next_reap_ms: now,
            spread_ms: 0,
            engine,
            world,
            options: BackgroundOptions {
                interval_ms,
                ..options
            },
        };
        // Nodes that were started together do not ask together.
        finder.next_round_ms = now.saturating_add(finder.below(interval_ms));
        finder.next_reap_ms = now.saturating_add(finder.below(options.reap_ms));
        finder.spread_ms = finder.draw_spread();
        finder
    }

    fn now(&self) -> u64 {
        self.world.clock.monotonic_ms()
    }

    /// A number below `end`, which is at least 1.
    fn below(&self, end: u64) -> u64 {
        (self.world.entropy.next_u128() % u128::from(end.max(1))) as u64
    }

    fn draw_spread(&self) -> u64 {
        let most = self.options.flush_age_ms / SPREAD_PART;
        self.below(most.max(self.options.interval_ms))
    }

    /// Runs until it is stopped, and then tells of the last rows left. A step under way is dropped: all it
    /// does may be done again, or not.
    pub(super) async fn run(mut self, stop: Shutdown) {
        loop {
            let now = self.now();
            let wait_ms = self.next_ms().saturating_sub(now);
            let may_put = now >= self.next_hint_ms;
            tokio::select! {
                biased;
                () = stop.triggered() => break,
                () = self.engine.dirtied(), if may_put => {}
                () = sleep_ms(wait_ms) => {}
            }
            tokio::select! {
                biased;
                () = stop.triggered() => break,
                () = self.step() => {}
            }
        }
        self.take_notes();
        // Where it fails it was told, and the sweep of another node finds what it named.
        let _ = within_ms(LAST_HINT_MS, self.put_hint()).await;
    }

    /// When there is something to do next, by itself.
    fn next_ms(&self) -> u64 {
        // Once a hint may be put and there is none to put, a note wakes this up.
        match self.book.is_empty() && self.now() >= self.next_hint_ms {
            true => self.next_round_ms,
            false => self.next_round_ms.min(self.next_hint_ms),
        }
    }

    async fn step(&mut self) {
        let now = self.now();
        if now >= self.next_hint_ms {
            self.take_notes();
            if !self.book.is_empty() {
                // Before the first await: a step that is dropped must not come again at once.
                self.next_hint_ms = now.saturating_add((self.options.interval_ms / 2).max(1));
                self.hints().await;
            }
        }
        if now >= self.next_round_ms {
            self.next_round_ms = now.saturating_add(self.options.interval_ms);
            self.round().await;
        }
    }

    /// Tells the bucket what this node leaves in logs, and takes back what is flushed.
    async fn hints(&mut self) {
        self.put_hint().await;
        for key in self.book.spent() {
            self.delete(&key).await;
        }
    }

    fn take_notes(&mut self) {
        for (id, note) in self.engine.take_dirty_notes() {
            self.book.note(id, note);
        }
        if !self.book.is_empty() {
            self.book.reconcile(&self.engine.open_tails());
        }
    }

    async fn put_hint(&mut self) {
        let now = self.now();
        let Some(draft) = self.book.draft(now) else {
            return;
        };
        let hour = self.world.clock.now().0.div_euclid(HOUR_MS);
        let key = path::dirty(DirtyKey {
            hour: u64::try_from(hour).unwrap_or(0),
            node: self.node,
            n: draft.n,
        });
        let bytes = dirty::encode(&draft.hint);
        // One that fails may arrive all the same: the next has another number.
        self.book.sent(&draft);
        match self.world.bucket.put(&key, bytes.into()).await {
            Ok(()) => {
                self.world.metrics.finder.hints_put_total.inc();
                let spread_ms = self.draw_spread();
                // Whatever was seen to in this round may have looked before these rows came.
                let at = (now, self.rounds.saturating_add(1));
                let hint = draft.hint.clone();
                self.board.learn(key.clone(), hint, 0, spread_ms, at);
                self.book.put(draft, key);
            }
            Err(error) => self.failed("dirty hint was not put", &error.into()),
        }
    }

    async fn delete(&mut self, key: &str) {
        match self.world.bucket.delete(key).await {
            Ok(()) => {
                self.board.deleted(key);
                self.book.gone(|gone| gone == key);
            }
            Err(error) => self.failed("dirty hint was not deleted", &error.into()),
        }
    }

    /// Closes what is idle; looks for work and begins it.
    async fn round(&mut self) {
        if self.options.idle_ms > 0 {
            self.engine.close_idle(self.options.idle_ms);
        }
        if !self.options.find {
            return;
        }
        self.rounds = self.rounds.saturating_add(1);
        if self.now() >= self.next_reap_ms {
            self.next_reap_ms = self.now().saturating_add(self.options.reap_ms);
            self.engine.reap_soon();
        }
        self.take_ended();
        match self.list().await {
            Ok(listed) => self.read(&listed).await,
            Err(error) => self.failed("dirty hints were not listed", &error.into()),
        }
        self.begin();
        for key in self.board.finished() {
            self.delete(&key).await;
        }
        self.sweep_on().await;
    }

    fn take_ended(&mut self) {
        let ended = std::mem::take(&mut *self.ended.lock());
        let now = self.now();
        for (id, attended) in ended {
            if let Err(error) = &attended {
                self.world.metrics.finder.failures_total.inc();
                let error = error.chain();
                tracing::warn!(namespace_id = %id, error, "namespace that is due was not flushed");
            }
            self.board.ended(id, attended.ok(), now);
        }
    }

    /// One request. What is gone is forgotten; where there are more hints than one answer shows, the next
    /// round goes on after them.
    async fn list(&mut self) -> Result<Vec<Listed>, StoreError> {
        let after = self.cursor.take();
        let most = limits::HINTS_LISTED_MAX;
        let bucket = &self.world.bucket;
        let listed = bucket
            .list(path::DIRTY, after.as_deref(), Some(most))
            .await?;
        if listed.len() >= most {
            self.cursor = listed.last().map(|last| last.key.clone());
        }
        let keys: BTreeSet<&str> = listed.iter().map(|listed| listed.key.as_str()).collect();
        let (after, end) = (after.as_deref(), self.cursor.as_deref());
        self.board.forget_unlisted(after, end, &keys);
        self.book
            .gone(|key| is_within(key, after, end) && !keys.contains(key));
        Ok(listed)
    }

    /// Reads hints that are new here.
    async fn read(&mut self, listed: &[Listed]) {
        let unread: Vec<Listed> = self.board.unread(listed).into_iter().cloned().collect();
        for listed in unread {
            let key = &listed.key;
            if path::parse_dirty(key).is_err() {
                self.world.metrics.finder.hints_damaged_total.inc();
                tracing::warn!(object_key = %key, "object is no dirty hint and is left alone");
                self.board.unknown(key);
                continue;
            }
            let (bytes, store_date) = match self.fetch(&listed).await {
                Ok(GetOutcome::Found(found)) => (found.bytes, found.store_date),
                // Deleted since it was listed.
                Ok(GetOutcome::Missing { .. }) => continue,
                Err(error) => {
                    self.failed("dirty hint was not read", &error.into());
                    continue;
                }
            };
            // By the store's clock alone, where it has one: the clocks of nodes differ.
            let now = store_date.unwrap_or_else(|| self.world.clock.now());
            let age_ms = now.0.saturating_sub(listed.last_modified.0);
            let age_ms = u64::try_from(age_ms).unwrap_or(0);
            match dirty::decode(key, &bytes) {
                Ok(hint) => {
                    let spread_ms = self.draw_spread();
                    let at = (self.now(), self.rounds);
                    self.board.learn(key.clone(), hint, age_ms, spread_ms, at);
                }
                Err(error) => self.refuse(key, &error),
            }
        }
    }

    /// Reads one hint; of one that is too large only so much that its decoder sees it.
    async fn fetch(&self, listed: &Listed) -> Result<GetOutcome, StoreError> {
        let most = limits::DIRTY_HINT_BYTES_MAX;
        let bucket = &self.world.bucket;
        match listed.size_bytes > most {
            true => bucket.get_range(&listed.key, 0..most + 1).await,
            false => bucket.get(&listed.key).await,
        }
    }

    /// Tells of a hint that cannot be used: what is damaged goes, what a newer version wrote stays for it.
    fn refuse(&mut self, key: &str, error: &Error) {
        if error.kind() != ErrorKind::Corrupted {
            self.board.unknown(key);
        } else if !self.board.damaged(key) {
            // Once more in the next round: the read may have been cut short.
            return;
        }
        self.world.metrics.finder.hints_damaged_total.inc();
        tracing::warn!(object_key = %key, error = %error.chain(), "dirty hint cannot be used");
    }

    /// Sees to what is due, each on a task of the engine: a long flush holds up nothing here.
    fn begin(&mut self) {
        if !self.engine.ready() {
            return;
        }
        let tails = self.engine.open_tails();
        for (id, name) in self.board.due(self.now(), &tails, self.spread_ms) {
            self.board.began(id, self.rounds);
            let ended = Arc::clone(&self.ended);
            let end = move |attended| ended.lock().push((id, attended));
            self.engine.attend(name, id, end);
        }
    }

    /// The sweep's share of this round.
    async fn sweep_on(&mut self) {
        if !self.sweep.is_on(self.now()) {
            return;
        }
        let share = match self.sweep.next(&self.engine, self.now()).await {
            Ok(share) => share,
            Err(error) => return self.failed("names were not listed for a sweep", &error),
        };
        for name in share {
            if let Err(error) = self.look(&name).await {
                self.world.metrics.finder.failures_total.inc();
                tracing::warn!(namespace = %name, error = %error.chain(), "sweep passed over a namespace");
            }
        }
    }

    /// Makes a hint for a namespace whose rows wait and that no hint names.
    async fn look(&mut self, name: &NamespaceName) -> Result<()> {
        let Some(waiting) = self.engine.look_for_waiting(name).await? else {
            return Ok(());
        };
        let id = waiting.namespace;
        if self.book.names(id) || self.board.names(id) {
            return Ok(());
        }
        let now = self.world.clock.now().0;
        let waited_ms = now.saturating_sub(waiting.written_at.0).max(0);
        let age_ms = i64::try_from(self.options.flush_age_ms).unwrap_or(i64::MAX);
        let since = i64::try_from(self.now()).unwrap_or(i64::MAX);
        let note = crate::namespace::DirtyNote {
            name: name.clone(),
            since_ms: since.saturating_sub(waited_ms.min(age_ms)),
            flushed: waiting.flushed,
        };
        self.book.note(id, note);
        Ok(())
    }

    fn failed(&self, what: &'static str, error: &Error) {
        self.world.metrics.finder.failures_total.inc();
        tracing::warn!(error = %error.chain(), "{what}");
    }
}
