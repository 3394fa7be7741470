//! Clients: a few writers and readers on few documents, who record what they asked and heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use elacsym::error::{Error, ErrorKind, Result};
use elacsym::namespace::{Engine, Flushed, IdempotencyKey};
use elacsym::query::reply::Reply;
use elacsym::query::request::Consistency;
use elacsym::runtime::clock::sleep_ms;
use elacsym::types::WalSeq;
use elacsym::types::document::{RawValue, WriteOutcome};
use elacsym::types::filter::{CompareOp, Filter};
use parking_lot::Mutex;

use crate::fleet::Fleet;
use crate::history::{Ack, Change, Heard, History, Operation, Seen, Written};
use crate::node::Node;
use crate::shape::{batch_of, document_of, name_of, query, show_rows};
use crate::world::World;

/// Documents that clients fight over.
pub(crate) const DOCUMENTS: u64 = 3;
/// Namespaces; the second one is dropped and made again.
pub(crate) const NAMESPACES: [&str; 2] = ["kept", "dropped"];
/// The one whose log is never ended.
pub(crate) const KEPT: usize = 0;
pub(crate) const DROPPED: usize = 1;
/// How often a keyed write is repeated while its outcome is unknown.
const REPEATS_MAX: u32 = 5;
/// What nodes may say of requests to the ledger.
const SAYINGS: [&str; 3] = ["namespace_read_only", "by_filter_too_much", NOT_RETAINED];
/// What nodes may say of states of the past.
pub(crate) const NOT_RETAINED: &str = "state_not_retained";
/// How long a patient client waits, milliseconds.
const PATIENCE_MS: u64 = 90_000;

/// What was asked and heard in one simulation.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) histories: Mutex<[History; 2]>,
    last_value: Mutex<Written>,
    /// Whether a store may cut answers short: damage may be reported then.
    cuts: bool,
}

impl Records {
    pub(crate) fn new(cuts: bool) -> Self {
        Self {
            histories: Mutex::default(),
            last_value: Mutex::new(0),
            cuts,
        }
    }

    pub(crate) fn cuts(&self) -> bool {
        self.cuts
    }

    fn next_value(&self) -> Written {
        let mut last = self.last_value.lock();
        *last += 1;
        *last
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Silence {
    /// The node answered with an error that promises that nothing changed.
    Refused,
    /// The same, of what the namespace holds: the code says which.
    Said(&'static str),
    /// There is no such namespace.
    NotFound,
    /// Nobody knows.
    Lost,
}

pub(crate) type Heeded<T> = std::result::Result<T, Silence>;

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) label: String,
    pub(crate) world: Arc<World>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) records: Arc<Records>,
    /// The node it usually asks.
    pub(crate) place: usize,
    /// The newest sequence it has heard of in the kept namespace.
    pub(crate) newest: WalSeq,
    /// The values it has last seen there.
    known: BTreeMap<u64, Written>,
    /// The one node it asks, and it never gives up: after the storm.
    only: Option<Arc<Node>>,
}

impl Client {
    pub(crate) fn new(
        label: String,
        world: &Arc<World>,
        fleet: &Arc<Fleet>,
        records: &Arc<Records>,
        place: usize,
    ) -> Self {
        Self {
            label,
            world: Arc::clone(world),
            fleet: Arc::clone(fleet),
            records: Arc::clone(records),
            place,
            newest: WalSeq(0),
            known: BTreeMap::new(),
            only: None,
        }
    }

    /// Makes it ask one node and wait for its answer.
    pub(crate) fn only(mut self, node: &Arc<Node>) -> Self {
        self.only = Some(Arc::clone(node));
        self
    }

    /// Whether it asks one node and waits: the storm has not begun, or is over.
    pub(crate) fn is_patient(&self) -> bool {
        self.only.is_some()
    }

    /// Does `n` things, one after the other.
    pub(crate) async fn run(mut self, n: u32, lull_ms: u64) {
        for _ in 0..n {
            sleep_ms(self.world.choose(|random| match random.below(20) {
                0 => random.below(3_000),
                1 if lull_ms > 0 => random.below(lull_ms),
                _ => random.below(150),
            }))
            .await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        let (namespace, what, document) = self.world.choose(|random| {
            let namespace = if random.below(10) < 4 { DROPPED } else { KEPT };
            (namespace, random.below(24), random.below(DOCUMENTS))
        });
        match what {
            0..=3 => self.put_some(namespace, document).await,
            4 => self.change(namespace, &[(document, Change::Delete)]).await,
            5..=9 => {
                let change = self.conditional(document);
                self.change(namespace, &[(document, change)]).await;
            }
            10..=13 => {
                self.read_all(namespace, Consistency::Strong).await;
            }
            14 | 15 => self.read_one(namespace, document).await,
            16 | 17 if namespace == KEPT => {
                let min_seq = self.newest;
                self.read_all(namespace, Consistency::Session { min_seq })
                    .await;
            }
            18 | 19 if namespace == DROPPED => self.drop_namespace(namespace).await,
            20 | 21 => {
                self.flush(namespace).await;
            }
            22 => self.change_filters(namespace).await,
            23 => self.read_past().await,
            _ => {
                let max_staleness_seconds = self.world.choose(|random| random.below(4));
                let consistency = Consistency::Eventual {
                    max_staleness_seconds,
                };
                self.read_all(namespace, consistency).await;
            }
        }
    }

    /// Puts one to all documents at once, and may delete another.
    async fn put_some(&mut self, namespace: usize, first: u64) {
        let n = self.world.choose(|random| random.between(1, DOCUMENTS));
        let deletes = self.world.choose(|random| random.below(3) == 0);
        let changes: Vec<_> = (0..n)
            .map(|at| {
                let change = if deletes && at > 0 && at == n - 1 {
                    Change::Delete
                } else {
                    Change::Put(self.records.next_value())
                };
                ((first + at) % DOCUMENTS, change)
            })
            .collect();
        self.change(namespace, &changes).await;
    }

    fn conditional(&self, document: u64) -> Change {
        let new = self.records.next_value();
        let known = self.known.get(&document).copied().unwrap_or(0);
        match self.world.choose(|random| random.below(4)) {
            0 => Change::Insert(new),
            1 => Change::PutOver(new, known + 1),
            _ => Change::PutFor(new, known),
        }
    }

    /// Writes one request and records what was heard of it.
    pub(crate) async fn change(&mut self, namespace: usize, changes: &[(u64, Change)]) {
        let batch = batch_of(changes);
        // A key is remembered by one log: after a drop it would be a new request.
        let key =
            (namespace == KEPT && self.world.choose(|random| random.below(2) == 0)).then(|| {
                let key = u128::from(self.records.next_value());
                IdempotencyKey {
                    key,
                    body: key ^ 0xb0d7,
                }
            });
        let sent = self.note(format_args!("{} writes {changes:?}", NAMESPACES[namespace]));
        let mut lost = false;
        let mut heard = Err(Silence::Lost);
        for _ in 0..=REPEATS_MAX {
            let (name, batch) = (name_of(namespace), batch.clone());
            heard = self
                .call(async move |engine: Engine| engine.write(&name, batch, key).await)
                .await;
            lost |= matches!(heard, Err(Silence::Lost));
            if !lost || heard.is_ok() || key.is_none() {
                break;
            }
            self.world.count("keyed repeat");
            sleep_ms(self.world.choose(|random| random.below(5_000))).await;
        }
        let answered = self.note(format_args!("heard {heard:?}"));
        match heard {
            Ok(outcome) => self.record_ack(namespace, changes, (sent, answered), &outcome),
            Err(_) if lost => {
                self.world.count("write of unknown outcome");
                for (document, change) in changes {
                    self.record(
                        namespace,
                        *document,
                        (sent, u64::MAX),
                        Heard::Unknown(*change),
                    );
                }
            }
            Err(Silence::NotFound) => self.record_absence(namespace, (sent, answered)),
            Err(_) => self.world.count("write refused"),
        }
    }

    fn record_ack(
        &mut self,
        namespace: usize,
        changes: &[(u64, Change)],
        span: (u64, u64),
        outcome: &WriteOutcome,
    ) {
        self.world.count("write acknowledged");
        let n_upserts = changes
            .iter()
            .filter(|(_, change)| change.value().is_some())
            .count() as u64;
        // Only a request of one document has a condition: what it did not do is in the count.
        let applied = outcome.rows_upserted.unwrap_or(0) == n_upserts;
        let mut made = Vec::new();
        for (document, change) in changes {
            let heard = Heard::Done {
                change: *change,
                applied,
            };
            self.record(namespace, *document, span, heard);
            if applied {
                made.push((*document, change.value()));
            }
        }
        if !applied && (changes.len() > 1 || matches!(changes[0].1, Change::Put(_))) {
            self.world
                .alarm(format!("{changes:?} has no condition and did {outcome:?}"));
        }
        if namespace == KEPT {
            self.newest = self.newest.max(outcome.seq);
        }
        let ack = Ack {
            seq: outcome.seq,
            answered_ms: self.world.now_ms(),
            made,
        };
        self.records.histories.lock()[namespace].acks.push(ack);
    }

    /// There was no namespace at one moment in between, so no document either.
    fn record_absence(&self, namespace: usize, span: (u64, u64)) {
        for document in 0..DOCUMENTS {
            self.record(namespace, document, span, Heard::Read(None));
        }
    }

    fn record(&self, namespace: usize, document: u64, (sent, answered): (u64, u64), heard: Heard) {
        let operation = Operation {
            sent,
            answered,
            heard,
        };
        self.records.histories.lock()[namespace].add(document, operation);
    }

    /// Reads everything after the storm: it must be answered.
    pub(crate) async fn audit(&mut self, namespace: usize) -> Option<BTreeMap<u64, Written>> {
        let n_before = self.records.histories.lock()[namespace].seen.len();
        let heard = self.read_all(namespace, Consistency::Strong).await;
        if !heard {
            let label = &self.label;
            self.world
                .alarm(format!("{label} had no answer after the storm"));
        }
        let shown = {
            let histories = self.records.histories.lock();
            let seen = &histories[namespace].seen;
            seen.get(n_before).map(|seen| seen.rows.clone())
        };
        if let Some(rows) = &shown {
            self.must_count(namespace, rows.len()).await;
        }
        shown
    }

    /// Writes after the storm: it must be acknowledged.
    pub(crate) async fn must_write(&mut self, namespace: usize, document: u64) {
        let n_before = self.records.histories.lock()[namespace].acks.len();
        let change = Change::Put(self.records.next_value());
        self.change(namespace, &[(document, change)]).await;
        if self.records.histories.lock()[namespace].acks.len() == n_before {
            let label = &self.label;
            self.world
                .alarm(format!("{label} could not write after the storm"));
        }
    }

    /// Flushes; `false` if nobody knows or it came to nothing. Whatever it comes to, documents stay as they are.
    pub(crate) async fn flush(&mut self, namespace: usize) -> bool {
        self.note(format_args!("{} is flushed", NAMESPACES[namespace]));
        let name = name_of(namespace);
        let heard = self
            .call(async move |engine: Engine| engine.flush(&name).await)
            .await;
        self.note(format_args!("heard {heard:?}"));
        match heard {
            Ok(Flushed::Done(_)) => self.world.count("flush"),
            Ok(Flushed::Nothing(_)) => self.world.count("nothing to flush"),
            Err(Silence::NotFound) => {}
            Err(_) => self.world.count("flush unanswered"),
        }
        matches!(heard, Ok(_) | Err(Silence::NotFound))
    }

    /// Describes after the storm: it must count what a read shows.
    async fn must_count(&mut self, namespace: usize, rows: usize) {
        let name = name_of(namespace);
        let heard = self
            .call(async move |engine: Engine| engine.describe(&name).await)
            .await;
        let found = heard.map(|description| description.rows);
        if !matches!(found, Ok(found) if found == rows as u64) {
            self.world.alarm(format!(
                "{} describes `{}` with {found:?} documents, and shows {rows}",
                self.label, NAMESPACES[namespace]
            ));
        }
    }

    /// Reads the whole namespace and records what it saw; `false` if there was no answer.
    pub(crate) async fn read_all(&mut self, namespace: usize, consistency: Consistency) -> bool {
        let sent_ms = self.world.now_ms();
        let sent = self.note(format_args!(
            "{} reads {consistency:?}",
            NAMESPACES[namespace]
        ));
        let query = query(None, consistency);
        let name = name_of(namespace);
        let heard = self
            .call(async move |engine: Engine| engine.query(&name, query).await)
            .await;
        let answered = self.note(format_args!("heard {}", show_rows(&heard)));
        let strong = consistency == Consistency::Strong;
        match heard {
            Ok(reply) => {
                self.world.count(match consistency {
                    Consistency::Strong => "strong read",
                    Consistency::Session { .. } => "session read",
                    Consistency::Eventual { .. } => "eventual read",
                });
                let rows = self.rows_of(&reply);
                if strong {
                    for document in 0..DOCUMENTS {
                        let found = rows.get(&document).copied();
                        self.record(namespace, document, (sent, answered), Heard::Read(found));
                    }
                }
                self.record_seen(namespace, consistency, sent_ms, &reply, rows);
                true
            }
            Err(Silence::NotFound) => {
                if strong {
                    self.record_absence(namespace, (sent, answered));
                }
                true
            }
            Err(_) => {
                self.world.count("read unanswered");
                false
            }
        }
    }

    fn record_seen(
        &mut self,
        namespace: usize,
        consistency: Consistency,
        sent_ms: u64,
        reply: &Reply,
        rows: BTreeMap<u64, Written>,
    ) {
        let as_of = reply.coverage.as_of_seq;
        if namespace == KEPT {
            self.newest = self.newest.max(as_of);
            self.known.clone_from(&rows);
        }
        let (staleness_ms, min_seq) = match consistency {
            Consistency::Strong => (Some(0), WalSeq(0)),
            Consistency::Eventual {
                max_staleness_seconds,
            } => (Some(max_staleness_seconds * 1_000), WalSeq(0)),
            Consistency::Session { min_seq } => (None, min_seq),
        };
        let seen = Seen {
            by: self.label.clone(),
            sent_ms,
            as_of,
            staleness_ms,
            min_seq,
            rows,
        };
        self.records.histories.lock()[namespace].seen.push(seen);
    }

    async fn read_one(&mut self, namespace: usize, document: u64) {
        let sent = self.note(format_args!("{} reads {document}", NAMESPACES[namespace]));
        let filter = Filter::Compare {
            attribute: "id".to_owned(),
            op: CompareOp::Eq,
            value: RawValue::Int(document as i64),
        };
        let query = query(Some(filter), Consistency::Strong);
        let name = name_of(namespace);
        let heard = self
            .call(async move |engine: Engine| engine.query(&name, query).await)
            .await;
        let answered = self.note(format_args!("heard {}", show_rows(&heard)));
        let found = match heard {
            Ok(reply) => self.rows_of(&reply).get(&document).copied(),
            Err(Silence::NotFound) => None,
            Err(_) => return,
        };
        self.world.count("point read");
        self.record(namespace, document, (sent, answered), Heard::Read(found));
    }

    async fn drop_namespace(&mut self, namespace: usize) {
        let sent = self.note(format_args!("{} is dropped", NAMESPACES[namespace]));
        let name = name_of(namespace);
        let purges = self.world.choose(|random| random.below(4) == 0);
        let heard = self
            .call(async move |engine: Engine| match purges {
                true => engine.purge(&name).await,
                false => engine.delete(&name).await,
            })
            .await;
        let answered = self.note(format_args!("heard {heard:?}"));
        let (answered, heard) = match heard {
            Ok(()) => {
                self.world.count("drop acknowledged");
                let change = Change::Delete;
                let applied = true;
                (answered, Heard::Done { change, applied })
            }
            Err(Silence::Lost) => (u64::MAX, Heard::Unknown(Change::Delete)),
            Err(Silence::NotFound) => (answered, Heard::Read(None)),
            Err(Silence::Refused | Silence::Said(_)) => return,
        };
        for document in 0..DOCUMENTS {
            self.record(namespace, document, (sent, answered), heard);
        }
    }

    /// Asks a node; the node may die, and the client may lose patience.
    pub(crate) async fn call<T>(&self, ask: impl AsyncFnOnce(Engine) -> Result<T>) -> Heeded<T> {
        if let Some(node) = &self.only {
            let answer = ask(node.engine.clone()).await;
            return answer.map_err(|error| self.heed(node, &error));
        }
        let (astray, patience_ms) = self.world.choose(|random| {
            let short = random.below(20) == 0;
            let patience_ms = if short {
                random.below(200)
            } else {
                PATIENCE_MS
            };
            (random.below(6) == 0, patience_ms)
        });
        let mut place = self.place;
        if astray {
            place = self
                .world
                .choose(|random| random.below(self.fleet.len() as u64))
                as usize;
        }
        let node = self.reach(place).await;
        let engine = node.engine.clone();
        let answer = tokio::select! {
            biased;
            () = node.gate.dead() => return Err(Silence::Lost),
            answer = ask(engine) => answer,
            () = sleep_ms(patience_ms) => return Err(Silence::Lost),
        };
        // An answer that a stalled node has ready is sent when it goes on.
        if !node.gate.pass_or_dead().await {
            return Err(Silence::Lost);
        }
        answer.map_err(|error| self.heed(&node, &error))
    }

    /// A node that runs.
    async fn reach(&self, place: usize) -> Arc<Node> {
        loop {
            if let Some(node) = self.fleet.node_near(place)
                && node.gate.pass_or_dead().await
            {
                return node;
            }
            sleep_ms(50).await;
        }
    }

    fn heed(&self, node: &Node, error: &Error) -> Silence {
        self.note(format_args!("{} says {}", node.label, error.chain()));
        let allowed = match error.kind() {
            ErrorKind::NotFound => return Silence::NotFound,
            ErrorKind::OutcomeUnknown => return Silence::Lost,
            ErrorKind::InvalidRequest | ErrorKind::Gone if SAYINGS.contains(&error.code()) => {
                return Silence::Said(error.code());
            }
            ErrorKind::Unavailable => true,
            ErrorKind::Corrupted => self.records.cuts,
            _ => false,
        };
        if !allowed {
            self.world.alarm(format!(
                "{} answered {} with {:?} `{}`: {}",
                node.label,
                self.label,
                error.kind(),
                error.code(),
                error.chain()
            ));
        }
        Silence::Refused
    }

    pub(crate) fn rows_of(&self, reply: &Reply) -> BTreeMap<u64, Written> {
        let mut rows = BTreeMap::new();
        for row in &reply.rows {
            match document_of(row) {
                Some((document, value)) if !rows.contains_key(&document) => {
                    rows.insert(document, value);
                }
                _ => self
                    .world
                    .alarm(format!("{} was given a torn row: {row:?}", self.label)),
            }
        }
        rows
    }

    pub(crate) fn note(&self, event: std::fmt::Arguments<'_>) -> u64 {
        self.world.note(format_args!("{} {event}", self.label))
    }
}
