//! The way from one node to the store: it delays, loses, repeats, comes late, cuts short.
//!
//! A write that was sent happens whether or not its sender lives to hear of it: the request travels on a
//! task of the network. Each request is executed at most once more than it was sent, soon after.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use elacsym::runtime::clock::sleep_ms;
use elacsym::store::{Bucket, CreateOutcome, Fetched, GetOutcome, Listed, StoreError, StoreKind};
use elacsym::types::Timestamp;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

use crate::node::{Gate, LAST_TO_OPEN};
use crate::random::Random;
use crate::store::{Broken, Created, Store, is_slot, part};
use crate::world::World;

/// After this long without an answer a request is given up, milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// The latest that a request is executed after its caller gave up, or executed again, milliseconds.
const LATE_MS_MAX: u64 = 60_000;

/// The longest that a broken store takes between looking and writing, milliseconds.
const LOOK_MS_MAX: u64 = 200;

/// How often each fault strikes, per thousand requests of the kinds it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) per_thousand: u64,
    pub(crate) truncate: u64,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Refused,
    RequestLost,
    ReplyLost,
    Late { ms: u64 },
    Twice { ms: u64, tells_second: bool },
    FalseExists,
}

/// One node's link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) store: Arc<Store>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) faults: Faults,
    pub(crate) label: String,
}

/// What a write did, and the store's clock when it did.
type Done = (Created, Timestamp);

/// A write, as it travels.
#[derive(Debug, Clone)]
enum Write {
    Create(Bytes),
    Put(Bytes),
    Delete,
}

impl Write {
    fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Put(_) => "put",
            Self::Delete => "delete",
        }
    }
}

/// A write on its way, apart from its sender.
struct Parcel {
    world: Arc<World>,
    store: Arc<Store>,
    label: String,
    key: String,
    write: Write,
}

impl Parcel {
    /// Happens at one instant; gives the store's clock of that instant too.
    async fn execute(&self) -> Done {
        let (world, store) = (&self.world, &self.store);
        let done = match &self.write {
            Write::Create(bytes)
                if store.broken == Broken::LooksThenWrites && is_slot(&self.key) =>
            {
                let free = store.is_free(&self.key);
                sleep_ms(world.choose(|random| random.below(LOOK_MS_MAX))).await;
                if free {
                    store.put(&self.key, bytes.clone(), date(world), world.now_ms());
                    Created::Yes
                } else {
                    Created::Exists
                }
            }
            Write::Create(bytes) => {
                store.create(&self.key, bytes.clone(), date(world), world.now_ms())
            }
            Write::Put(bytes) => {
                store.put(&self.key, bytes.clone(), date(world), world.now_ms());
                Created::Yes
            }
            Write::Delete => {
                store.delete(&self.key);
                Created::Yes
            }
        };
        let content = match &self.write {
            Write::Create(bytes) | Write::Put(bytes) => xxh3_64(bytes),
            Write::Delete => 0,
        };
        world.note(format_args!(
            "{} {} {} {content:016x}: {done:?}",
            self.label,
            self.write.name(),
            self.key
        ));
        (done, date(world))
    }

    async fn travel(self, fate: Fate, before_ms: u64, reply: oneshot::Sender<Done>) {
        sleep_ms(before_ms).await;
        match fate {
            Fate::Late { ms } => sleep_ms(TIMEOUT_MS + ms).await,
            Fate::Refused | Fate::RequestLost | Fate::FalseExists => return,
            Fate::Fine | Fate::ReplyLost | Fate::Twice { .. } => {}
        }
        let first = self.execute().await;
        let told = match fate {
            Fate::Twice { ms, tells_second } => {
                if tells_second {
                    sleep_ms(ms.min(TIMEOUT_MS / 2)).await;
                    self.execute().await
                } else {
                    // The sender hears of the first and goes on; the second comes behind its back.
                    let _ = reply.send(first);
                    sleep_ms(ms).await;
                    self.execute().await;
                    return;
                }
            }
            _ => first,
        };
        // Nobody listens if the sender died or gave up.
        let _ = reply.send(told);
    }
}

/// The store's own clock, in whole seconds as HTTP has it.
fn date(world: &World) -> Timestamp {
    let now = world.wall(7_000_000).0;
    Timestamp(now - now.rem_euclid(1_000))
}

impl Link {
    fn draw_fate(&self, writes: bool, creates: bool, random: &mut Random) -> Fate {
        if !self.world.is_stormy() || !random.strikes(self.faults.per_thousand) {
            return Fate::Fine;
        }
        let kinds = match (writes, creates) {
            (_, true) => 6,
            (true, _) => 5,
            _ => 2,
        };
        match random.below(kinds) {
            0 => Fate::Refused,
            1 => Fate::RequestLost,
            2 => Fate::ReplyLost,
            3 => Fate::Late {
                ms: soon_or_late(random),
            },
            4 => Fate::Twice {
                ms: soon_or_late(random),
                tells_second: random.below(2) == 0,
            },
            _ => Fate::FalseExists,
        }
    }

    /// The time a request takes one way, milliseconds.
    fn latency(&self, random: &mut Random) -> u64 {
        let usual = match self.store.kind {
            StoreKind::Http => random.between(2, 30),
            StoreKind::Local | StoreKind::Memory => random.below(3),
        };
        let slow = self.world.is_stormy() && random.strikes(20);
        usual + if slow { random.below(2_000) } else { 0 }
    }

    async fn write(&self, key: &str, write: Write) -> Result<Done, StoreError> {
        self.gate.pass().await;
        let name = write.name();
        let creates = matches!(write, Write::Create(_));
        let (fate, before_ms, after_ms) = self.world.choose(|random| {
            let fate = self.draw_fate(true, creates, random);
            (fate, self.latency(random), self.latency(random))
        });
        self.tell(fate, name, key);
        let (reply, answer) = oneshot::channel();
        let parcel = Parcel {
            world: Arc::clone(&self.world),
            store: Arc::clone(&self.store),
            label: self.label.clone(),
            key: key.to_owned(),
            write,
        };
        self.world
            .network
            .spawn(parcel.travel(fate, before_ms, reply));
        let outcome = match fate {
            Fate::Fine | Fate::Twice { .. } => match answer.await {
                Ok(done) => Ok(done),
                Err(_) => Err(lost(name, key)),
            },
            Fate::FalseExists => Ok((Created::Exists, date(&self.world))),
            Fate::Refused => Err(StoreError::determinate(name, key, "simulated refusal")),
            Fate::RequestLost | Fate::ReplyLost | Fate::Late { .. } => {
                sleep_ms(TIMEOUT_MS).await;
                Err(lost(name, key))
            }
        };
        sleep_ms(after_ms).await;
        self.gate.pass().await;
        outcome
    }

    /// One read: travels, happens at one instant, travels back.
    async fn read<T>(
        &self,
        name: &'static str,
        key: &str,
        look: impl FnOnce(&Store, u64) -> T,
        show: impl Fn(&T) -> String,
    ) -> Result<(T, Timestamp), StoreError> {
        self.gate.pass().await;
        let (fate, before_ms, after_ms) = self.world.choose(|random| {
            let fate = self.draw_fate(false, false, random);
            (fate, self.latency(random), self.latency(random))
        });
        self.tell(fate, name, key);
        sleep_ms(before_ms).await;
        let outcome = match fate {
            Fate::Refused => Err(StoreError::determinate(name, key, "simulated refusal")),
            Fate::Fine => {
                let found = look(&self.store, self.world.now_ms());
                self.world.note(format_args!(
                    "{} {name} {key}: {}",
                    self.label,
                    show(&found)
                ));
                Ok((found, date(&self.world)))
            }
            _ => {
                sleep_ms(TIMEOUT_MS).await;
                Err(lost(name, key))
            }
        };
        sleep_ms(after_ms).await;
        self.gate.pass().await;
        outcome
    }

    fn tell(&self, fate: Fate, name: &str, key: &str) {
        let kind = match fate {
            Fate::Fine => return,
            Fate::Refused => "refused",
            Fate::RequestLost => "request lost",
            Fate::ReplyLost => "reply lost",
            Fate::Late { .. } => "late",
            Fate::Twice { .. } => "twice",
            Fate::FalseExists => "false exists",
        };
        self.world.count(kind);
        self.world
            .note(format_args!("{} {name} {key} will be {fate:?}", self.label));
    }

    fn fetched(&self, key: &str, found: Option<Bytes>, date: Timestamp) -> GetOutcome {
        let store_date = self.dated(date);
        match found {
            Some(bytes) => GetOutcome::Found(Fetched {
                bytes: self.maybe_cut(key, bytes),
                store_date,
            }),
            None => GetOutcome::Missing { store_date },
        }
    }

    fn maybe_cut(&self, key: &str, bytes: Bytes) -> Bytes {
        let strikes = |random: &mut Random| random.strikes(self.faults.truncate);
        if !self.world.is_stormy() || !self.world.choose(strikes) || bytes.is_empty() {
            return bytes;
        }
        let kept = |random: &mut Random| random.below(bytes.len() as u64) as usize;
        let n_kept = self.world.choose(kept);
        self.world.count("truncated");
        self.world.note(format_args!(
            "{} {key} is cut to {n_kept} bytes",
            self.label
        ));
        bytes.slice(..n_kept)
    }

    /// Only a store over HTTP tells its clock.
    fn dated(&self, date: Timestamp) -> Option<Timestamp> {
        (self.store.kind == StoreKind::Http).then_some(date)
    }
}

/// Most surprises come within a second; some long after everybody gave up.
fn soon_or_late(random: &mut Random) -> u64 {
    if random.below(4) == 0 {
        random.below(LATE_MS_MAX)
    } else {
        random.below(800)
    }
}

fn lost(operation: &'static str, key: &str) -> StoreError {
    StoreError::indeterminate(operation, key, "simulated silence")
}

fn show_bytes(found: &Option<Bytes>) -> String {
    match found {
        Some(bytes) => format!("{:016x}", xxh3_64(bytes)),
        None => "missing".to_owned(),
    }
}

#[async_trait]
impl Bucket for Link {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        match self.write(key, Write::Create(bytes)).await {
            Ok((Created::Yes, date)) => Ok(CreateOutcome::Created {
                store_date: self.dated(date),
            }),
            Ok((Created::Exists, _)) => Ok(CreateOutcome::Exists),
            Err(error @ StoreError::Indeterminate { .. }) => Ok(CreateOutcome::Unknown(error)),
            Err(error) => Err(error),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.write(key, Write::Put(bytes)).await.map(|_| ())
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        let hidden = self.label == LAST_TO_OPEN && self.store.hides(key);
        let look = |store: &Store, now_ms| store.get(key, now_ms).filter(|_| !hidden);
        let (found, date) = self.read("get", key, look, show_bytes).await?;
        Ok(self.fetched(key, found, date))
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        let look = |store: &Store, now_ms| {
            let found = store.get(key, now_ms);
            // Whether a slot is still there is asked by one byte: that a cleaner is told the truth.
            let found = found.or_else(|| store.ghost(key).filter(|_| range.end > 1));
            found.map(|bytes| part(&bytes, &range))
        };
        let (found, date) = self.read("get_range", key, look, show_bytes).await?;
        Ok(self.fetched(key, found, date))
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        let look = |store: &Store, _| store.list(prefix, start_after, limit);
        let show = |found: &Vec<Listed>| format!("{} keys", found.len());
        let (found, _) = self.read("list", prefix, look, show).await?;
        Ok(found)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.write(key, Write::Delete).await.map(|_| ())
    }

    fn kind(&self) -> StoreKind {
        self.store.kind
    }

    fn url(&self) -> &str {
        "sim://store"
    }
}
