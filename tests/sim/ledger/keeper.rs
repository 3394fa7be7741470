//! Keepers of the ledger: what they ask, and how they write down what they hear.

use std::sync::Arc;

use elacsym::namespace::{Engine, IdempotencyKey};
use elacsym::query::request::Consistency;
use elacsym::runtime::clock::sleep_ms;
use elacsym::types::WalSeq;
use elacsym::types::filter::CompareOp;
use elacsym::types::settings::SettingsChange;

use super::model::{
    self, COUNTER, Content, DOCUMENTS, Done, Operand, Patch, Refused, Request, Test,
};
use super::replay::{Event, Heard, Refusal};
use super::shape::{batch_of, content_of, done_of};
use super::{Ledger, UNKNOWN_MAX, name};
use crate::client::{Client, Silence};
use crate::random::Random;
use crate::shape;

/// How often a keyed write is repeated while its outcome is unknown.
const REPEATS_MAX: u32 = 8;
/// The longest that a keeper leaves the ledger read-only, milliseconds.
const READ_ONLY_MS_MAX: u64 = 400;

/// One client of the ledger.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) client: Client,
    ledger: Arc<Ledger>,
    /// The counter as last seen.
    counter: i64,
}

impl Keeper {
    pub(super) fn new(client: Client, ledger: &Arc<Ledger>) -> Self {
        Self {
            client,
            ledger: Arc::clone(ledger),
            counter: 0,
        }
    }

    /// Does `n` things, one after the other.
    pub(super) async fn run(mut self, n: u32, lull_ms: u64) {
        for _ in 0..n {
            sleep_ms(self.choose(|random| match random.below(20) {
                0 => random.below(3_000),
                1 if lull_ms > 0 => random.below(lull_ms),
                _ => random.below(150),
            }))
            .await;
            self.act().await;
        }
    }

    fn choose<T>(&self, choice: impl FnOnce(&mut Random) -> T) -> T {
        self.client.world.choose(choice)
    }

    async fn act(&mut self) {
        let what = self.choose(|random| random.below(24));
        if what >= 20 || self.ledger.n_unknown() >= UNKNOWN_MAX {
            self.read_all().await;
            return;
        }
        let counter = self.counter;
        let request = match what {
            0..=5 => {
                self.read_all().await;
                let counter = self.counter;
                self.choose(|random| Request::count(counter, random.below(2) == 0))
            }
            6 => self.choose(|random| Request::count(counter, random.below(2) == 0)),
            7 if self.choose(|random| random.below(3) == 0) => {
                self.write(Request::read_only(true)).await;
                let rest_ms = self.choose(|random| random.below(READ_ONLY_MS_MAX));
                sleep_ms(rest_ms).await;
                Request::read_only(false)
            }
            7..=13 => self.choose(by_id),
            14 | 15 => self.choose(|random| Request {
                delete_where: Some(delete_where(random)),
                ..Request::default()
            }),
            16 | 17 => self.choose(|random| Request {
                patch_where: Some(patch_where(random)),
                ..Request::default()
            }),
            _ => self.choose(|random| Request {
                delete_where: Some(delete_where(random)),
                patch_where: Some(patch_where(random)),
                ..by_id(random)
            }),
        };
        self.write(request).await;
    }

    /// One request of each kind, after the storm.
    pub(super) async fn write_all_kinds(&mut self) {
        let requests = self.choose(|random| {
            let (delete, patch) = (delete_where(random), patch_where(random));
            [
                by_id(random),
                Request {
                    patch_where: Some(patch),
                    ..Request::default()
                },
                Request {
                    delete_where: Some(delete),
                    ..Request::default()
                },
            ]
        });
        for request in requests {
            self.write(request).await;
        }
    }

    /// Writes one request and writes down what was heard of it.
    pub(super) async fn write(&mut self, request: Request) {
        let key = self.choose(|random| {
            let key = u128::from(random.next()) << 64 | u128::from(random.next());
            (random.below(8) != 0).then_some(IdempotencyKey { key, body: 1 })
        });
        let client = &self.client;
        let sent = client.note(format_args!("{} writes {request:?}", super::NAME));
        let mut lost = false;
        let mut heard;
        let mut tries = 0;
        loop {
            heard = self.send(&request, key).await;
            lost |= matches!(heard, Err(Silence::Lost));
            tries += 1;
            // A change of settings has no key: each one sent may happen.
            if !lost
                || heard.is_ok()
                || key.is_none()
                || tries > REPEATS_MAX
                || request.read_only.is_some()
            {
                break;
            }
            self.client.world.count("keyed repeat");
            sleep_ms(self.choose(|random| random.below(5_000))).await;
        }
        let client = &self.client;
        let answered = client.note(format_args!("heard {heard:?}"));
        let refusal = |refused| Refusal {
            by: client.label.clone(),
            sent,
            answered,
            request: request.clone(),
            refused,
        };
        let heard = match heard {
            Ok((seq, done)) => {
                client.world.count("ledger write");
                if done.remaining {
                    client.world.count("partial write");
                }
                Heard::Done { seq, done }
            }
            Err(_) if lost => {
                client.world.count("ledger write of unknown outcome");
                Heard::Nothing
            }
            Err(Silence::Said(code)) => {
                client.world.count(match code {
                    "namespace_read_only" => "refused as read-only",
                    _ => "refused as too much",
                });
                let refused = match code {
                    "namespace_read_only" => Refused::ReadOnly,
                    _ => Refused::TooMuch,
                };
                self.ledger.add_refusal(refusal(refused));
                return;
            }
            Err(Silence::NotFound) => {
                client
                    .world
                    .alarm(format!("{} finds no ledger", client.label));
                return;
            }
            Err(_) => return,
        };
        self.ledger.add(Event {
            by: self.client.label.clone(),
            sent,
            answered: if heard == Heard::Nothing {
                u64::MAX
            } else {
                answered
            },
            request: Some(request),
            heard,
        });
    }

    async fn send(
        &self,
        request: &Request,
        key: Option<IdempotencyKey>,
    ) -> std::result::Result<(WalSeq, Done), Silence> {
        if let Some(read_only) = request.read_only {
            let change = SettingsChange {
                read_only: Some(read_only),
                ..SettingsChange::default()
            };
            let ask = async move |engine: Engine| engine.configure(&name(), change).await;
            let heard = self.client.call(ask).await;
            return heard.map(|seq| (seq, Done::default()));
        }
        let batch = batch_of(request);
        let ask = async move |engine: Engine| engine.write(&name(), batch, key).await;
        let heard = self.client.call(ask).await;
        heard.map(|outcome| (outcome.seq, done_of(&outcome)))
    }

    /// Reads everything; `None` if there was no answer.
    pub(super) async fn read_all(&mut self) -> Option<Content> {
        let consistency = self.choose(|random| match random.below(5) {
            0 => Consistency::Eventual {
                max_staleness_seconds: random.below(4),
            },
            _ => Consistency::Strong,
        });
        let consistency = match self.client.is_patient() {
            true => Consistency::Strong,
            false => consistency,
        };
        let client = &self.client;
        let sent = client.note(format_args!("{} is read {consistency:?}", super::NAME));
        let query = shape::query(None, consistency);
        let ask = async move |engine: Engine| engine.query(&name(), query).await;
        let heard = client.call(ask).await;
        let Ok(reply) = heard else {
            let answered = client.note(format_args!("heard {heard:?}"));
            if matches!(heard, Err(Silence::NotFound)) {
                client
                    .world
                    .alarm(format!("at {answered} there is no ledger"));
            }
            return None;
        };
        let content = content_of(reply.rows.iter().map(|row| (&row.id, &row.attributes[..])));
        let Some(content) = content else {
            let label = &client.label;
            client
                .world
                .alarm(format!("{label} was given torn rows: {:?}", reply.rows));
            return None;
        };
        let seq = reply.coverage.as_of_seq;
        let answered = client.note(format_args!("heard {content:?} as of {seq}"));
        let n = content.get(&COUNTER).and_then(|document| document.get("n"));
        self.counter = n.copied().unwrap_or(self.counter);
        self.ledger.add(Event {
            by: client.label.clone(),
            sent,
            answered,
            request: None,
            heard: Heard::Read {
                seq,
                content: content.clone(),
                strong: consistency == Consistency::Strong,
            },
        });
        Some(content)
    }
}

fn test(random: &mut Random, attribute: &'static str, ops: &[CompareOp], operand: Operand) -> Test {
    let op = ops[random.below(ops.len() as u64) as usize];
    Test {
        attribute,
        op,
        operand,
    }
}

/// A filter that never means the counter.
fn filter(random: &mut Random) -> Test {
    let value = random.below(3) as i64;
    match random.below(4) {
        0 => test(random, "g", &[CompareOp::Lt], Operand::Is(value)),
        1 => test(random, "m", &[CompareOp::Gte], Operand::Is(value)),
        _ => test(random, "g", &[CompareOp::Eq], Operand::Is(value)),
    }
}

fn delete_where(random: &mut Random) -> (Test, bool) {
    (filter(random), random.below(2) == 0)
}

fn patch_where(random: &mut Random) -> (Test, Patch, bool) {
    (filter(random), patch(random), random.below(2) == 0)
}

fn patch(random: &mut Random) -> Patch {
    let mut patch = Patch::new();
    if random.below(3) != 0 {
        let value = random.below(6) as i64;
        patch.insert("m", (value != 5).then_some(value));
    }
    if random.below(3) == 0 {
        patch.insert("g", Some(random.below(3) as i64));
    }
    if random.below(3) == 0 {
        patch.insert("n", Some(random.below(10) as i64));
    }
    patch
}

fn condition(random: &mut Random) -> Option<Test> {
    let value = Operand::Is(random.below(3) as i64);
    match random.below(6) {
        0 => Some(test(
            random,
            "n",
            &[CompareOp::Lt, CompareOp::Eq],
            Operand::New("n"),
        )),
        1 => Some(test(
            random,
            "m",
            &[CompareOp::Lt, CompareOp::Gte],
            Operand::New("m"),
        )),
        2 => Some(test(random, "g", &[CompareOp::Eq], value)),
        3 => Some(test(random, "m", &[CompareOp::Lt], value)),
        _ => None,
    }
}

/// Upserts, patches and deletes of a few documents, each once.
fn by_id(random: &mut Random) -> Request {
    let mut request = Request::default();
    let first = random.below(DOCUMENTS);
    for at in 0..random.between(1, 4) {
        let id = (first + at) % DOCUMENTS;
        match random.below(6) {
            0 | 1 => {
                let mut document = model::Document::from([("g", random.below(3) as i64)]);
                document.insert("n", random.below(10) as i64);
                if random.below(2) == 0 {
                    document.insert("m", random.below(5) as i64);
                }
                request.upserts.push((id, document));
            }
            2..=4 => request.patches.push((id, patch(random))),
            _ => request.deletes.push(id),
        }
    }
    if !request.upserts.is_empty() {
        request.upsert_if = condition(random);
    }
    if !request.patches.is_empty() {
        request.patch_if = condition(random);
    }
    if !request.deletes.is_empty() {
        request.delete_if = condition(random);
    }
    request
}
