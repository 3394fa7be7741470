//! A bucket that fails on purpose: seeded rates, scripted answers to creates and reads, and named pauses.
//!
//! Everything it does is a function of the seed and the order of the operations.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Bucket, CreateOutcome, GetOutcome, Listed, StoreError, StoreKind};

/// Most creates that may be held back: bounds what a long run keeps.
const LATE_MAX: usize = 1_024;

/// How often each fault strikes, per thousand operations of the kinds it applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRates {
    /// Any operation: refused before it did anything.
    pub refuse: u16,
    /// Any operation: no answer, and it did nothing.
    pub lose: u16,
    /// Any write: no answer, though it happened.
    pub lose_answer: u16,
    /// Creates: no answer, and it happens during some later operation.
    pub late: u16,
    /// Creates: delivered twice, the second answer is told.
    pub duplicate: u16,
    /// Reads: the body is cut short.
    pub truncate: u16,
}

impl FaultRates {
    /// All faults of a bad network, one in fifty each, and no cut bodies.
    pub fn network() -> Self {
        Self {
            refuse: 20,
            lose: 20,
            lose_answer: 20,
            late: 20,
            duplicate: 20,
            truncate: 0,
        }
    }
}

/// What happens to one create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateFault {
    /// Nothing goes wrong.
    None,
    /// Refused: nothing happened.
    Refuse,
    /// No answer: nothing happened.
    Lose,
    /// No answer, though it happened.
    LoseAnswer,
    /// No answer, and it happens during a later operation.
    Late,
    /// Delivered twice, the second answer is told.
    Duplicate,
    /// Answered with `Exists`, although nothing was written.
    FalseExists,
}

/// What happens to one read, whole or of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// Nothing goes wrong.
    None,
    /// Refused.
    Refuse,
    /// No answer.
    Lose,
    /// The body ends after this many bytes.
    Truncate(usize),
    /// The lowest bit of the byte at this place of the body is flipped.
    Flip(usize),
}

/// A bucket that fails on purpose.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Bucket>,
    rates: FaultRates,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: SplitMix,
    n_creates: u64,
    script: BTreeMap<u64, CreateFault>,
    n_reads: u64,
    read_script: BTreeMap<u64, ReadFault>,
    late: VecDeque<(String, Bytes)>,
    pauses: Vec<(Point, String, Pause)>,
}

/// Where a pause stops an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before a create reaches the store.
    BeforeCreate,
    /// After the store answered a create, before the caller hears of it.
    AfterCreate,
    /// Before a read (whole or range) reaches the store.
    BeforeGet,
    /// Before a listing reaches the store.
    BeforeList,
    /// Before a delete reaches the store.
    BeforeDelete,
    /// Before an unconditional put reaches the store.
    BeforePut,
}

/// A named place where the next matching operation stops, once.
#[derive(Debug, Clone)]
pub struct Pause {
    reached: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Pause {
    /// Waits until an operation stands at the pause.
    pub async fn reached(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.released.add_permits(1);
    }
}

impl Faulty {
    /// Wraps a bucket; the same seed and operations give the same faults.
    pub fn new(inner: Arc<dyn Bucket>, rates: FaultRates, seed: u64) -> Self {
        Self {
            inner,
            rates,
            state: Mutex::new(State {
                random: SplitMix(seed),
                n_creates: 0,
                script: BTreeMap::new(),
                n_reads: 0,
                read_script: BTreeMap::new(),
                late: VecDeque::new(),
                pauses: Vec::new(),
            }),
        }
    }

    /// Wraps a bucket that fails only where a script says so: the n-th create, counted from 1.
    pub fn scripted(
        inner: Arc<dyn Bucket>,
        script: impl IntoIterator<Item = (u64, CreateFault)>,
    ) -> Self {
        let faulty = Self::new(inner, FaultRates::default(), 0);
        faulty.state.lock().script.extend(script);
        faulty
    }

    /// Decides what happens to the n-th read, counted from 1 over the bucket's whole life.
    pub fn script_reads(&self, script: impl IntoIterator<Item = (u64, ReadFault)>) {
        self.state.lock().read_script.extend(script);
    }

    /// Stops the next operation at `point` whose key contains `key_part`.
    pub fn pause(&self, point: Point, key_part: &str) -> Pause {
        let pause = Pause {
            reached: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
        };
        let mut state = self.state.lock();
        state
            .pauses
            .push((point, key_part.to_owned(), pause.clone()));
        pause
    }

    /// How many creates were asked so far.
    pub fn n_creates(&self) -> u64 {
        self.state.lock().n_creates
    }

    /// Lets everything held back happen now.
    pub async fn deliver_late(&self) {
        loop {
            let Some((key, bytes)) = self.state.lock().late.pop_front() else {
                return;
            };
            // Its caller was told long ago that nobody knows.
            let _ = self.inner.create(&key, bytes).await;
        }
    }

    /// Loses everything held back for good.
    pub fn drop_late(&self) {
        self.state.lock().late.clear();
    }

    async fn stop_at(&self, point: Point, key: &str) {
        let pause = {
            let mut state = self.state.lock();
            let found = state
                .pauses
                .iter()
                .position(|(at, part, _)| *at == point && key.contains(part.as_str()));
            found.map(|position| state.pauses.remove(position).2)
        };
        if let Some(pause) = pause {
            pause.reached.add_permits(1);
            if let Ok(permit) = pause.released.acquire().await {
                permit.forget();
            }
        }
    }

    /// Delivers one held-back create, if its hour has come.
    async fn maybe_deliver(&self) {
        let due = {
            let mut state = self.state.lock();
            if state.late.is_empty() || !state.random.strikes(500) {
                None
            } else {
                state.late.pop_front()
            }
        };
        if let Some((key, bytes)) = due {
            // Its caller was told long ago that nobody knows.
            let _ = self.inner.create(&key, bytes).await;
        }
    }

    fn create_fault(&self) -> CreateFault {
        let rates = self.rates;
        let mut state = self.state.lock();
        state.n_creates += 1;
        let n = state.n_creates;
        if let Some(fault) = state.script.remove(&n) {
            return fault;
        }
        let kinds = [
            (rates.refuse, CreateFault::Refuse),
            (rates.lose, CreateFault::Lose),
            (rates.lose_answer, CreateFault::LoseAnswer),
            (rates.late, CreateFault::Late),
            (rates.duplicate, CreateFault::Duplicate),
        ];
        kinds
            .into_iter()
            .find(|(rate, _)| state.random.strikes(*rate))
            .map_or(CreateFault::None, |(_, fault)| fault)
    }

    /// A failure before an idempotent operation reaches the store.
    fn fail_before(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.random.strikes(self.rates.refuse) {
            return Err(StoreError::determinate(operation, key, "injected refusal"));
        }
        if state.random.strikes(self.rates.lose) {
            return Err(lost(operation, key));
        }
        Ok(())
    }

    fn fail_after(&self, operation: &'static str, key: &str) -> Result<(), StoreError> {
        let strikes = self.state.lock().random.strikes(self.rates.lose_answer);
        if strikes {
            Err(lost(operation, key))
        } else {
            Ok(())
        }
    }

    /// Counts a read and returns its scripted fault. One that the rates have failed is not counted.
    fn read_fault(&self) -> ReadFault {
        let mut state = self.state.lock();
        state.n_reads += 1;
        let n = state.n_reads;
        state.read_script.remove(&n).unwrap_or(ReadFault::None)
    }

    async fn read(
        &self,
        operation: &'static str,
        key: &str,
        read: impl Future<Output = Result<GetOutcome, StoreError>> + Send,
    ) -> Result<GetOutcome, StoreError> {
        self.stop_at(Point::BeforeGet, key).await;
        self.maybe_deliver().await;
        self.fail_before(operation, key)?;
        let fault = self.read_fault();
        match fault {
            ReadFault::Refuse => {
                return Err(StoreError::determinate(operation, key, "injected refusal"));
            }
            ReadFault::Lose => return Err(lost(operation, key)),
            ReadFault::None | ReadFault::Truncate(_) | ReadFault::Flip(_) => {}
        }
        let outcome = self.cut(read.await?);
        Ok(outcome.map_bytes(|bytes| spoil(bytes, fault)))
    }

    fn cut(&self, outcome: GetOutcome) -> GetOutcome {
        outcome.map_bytes(|mut bytes| {
            let mut state = self.state.lock();
            if state.random.strikes(self.rates.truncate) && !bytes.is_empty() {
                let n_kept = state.random.next() % bytes.len() as u64;
                bytes.truncate(n_kept as usize);
            }
            bytes
        })
    }

    fn hold_back(&self, key: &str, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.late.len() < LATE_MAX {
            state.late.push_back((key.to_owned(), bytes));
        }
    }
}

fn spoil(mut bytes: Bytes, fault: ReadFault) -> Bytes {
    match fault {
        ReadFault::Truncate(n_kept) => bytes.truncate(n_kept),
        ReadFault::Flip(at) => {
            let mut flipped = bytes.to_vec();
            if let Some(byte) = flipped.get_mut(at) {
                *byte ^= 1;
            }
            bytes = flipped.into();
        }
        ReadFault::None | ReadFault::Refuse | ReadFault::Lose => {}
    }
    bytes
}

fn lost(operation: &'static str, key: &str) -> StoreError {
    StoreError::indeterminate(operation, key, "injected loss of the answer")
}

#[async_trait]
impl Bucket for Faulty {
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError> {
        self.stop_at(Point::BeforeCreate, key).await;
        self.maybe_deliver().await;
        let unknown = Ok(CreateOutcome::Unknown(lost("create", key)));
        let outcome = match self.create_fault() {
            CreateFault::None => self.inner.create(key, bytes).await,
            CreateFault::Refuse => Err(StoreError::determinate("create", key, "injected refusal")),
            CreateFault::Lose => unknown,
            CreateFault::LoseAnswer => self.inner.create(key, bytes).await.and(unknown),
            CreateFault::Late => {
                self.hold_back(key, bytes);
                unknown
            }
            CreateFault::Duplicate => match self.inner.create(key, bytes.clone()).await {
                Ok(_) => self.inner.create(key, bytes).await,
                refused => refused,
            },
            CreateFault::FalseExists => Ok(CreateOutcome::Exists),
        };
        self.stop_at(Point::AfterCreate, key).await;
        outcome
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.stop_at(Point::BeforePut, key).await;
        self.maybe_deliver().await;
        self.fail_before("put", key)?;
        self.inner.put(key, bytes).await?;
        self.fail_after("put", key)
    }

    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError> {
        self.read("get", key, self.inner.get(key)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError> {
        self.read("get_range", key, self.inner.get_range(key, range))
            .await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.stop_at(Point::BeforeList, prefix).await;
        self.maybe_deliver().await;
        self.fail_before("list", prefix)?;
        self.inner.list(prefix, start_after, limit).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.stop_at(Point::BeforeDelete, key).await;
        self.maybe_deliver().await;
        self.fail_before("delete", key)?;
        self.inner.delete(key).await?;
        self.fail_after("delete", key)
    }

    fn kind(&self) -> StoreKind {
        self.inner.kind()
    }

    fn url(&self) -> &str {
        self.inner.url()
    }
}

/// The SplitMix64 generator: small, and the same everywhere.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn strikes(&mut self, per_thousand: u16) -> bool {
        // Drawn even at rate zero, so that changing one rate does not shift the others.
        self.next() % 1_000 < u64::from(per_thousand)
    }
}
