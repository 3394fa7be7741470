//! Clocks and entropy: the only file that reads time or randomness.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::{Clock, Entropy, Timestamp};

/// The clocks of the operating system.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at 0.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the monotonic clock"
    )]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => ms(after),
            Err(before) => -ms(before.duration()),
        })
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that only moves when told: for tests and simulation.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl ManualClock {
    /// Makes a clock that shows `now`; its monotonic side starts at 0.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now_ms: AtomicI64::new(now.0),
            monotonic_ms: AtomicU64::new(0),
        }
    }

    /// Lets `ms` milliseconds pass on both sides.
    pub fn advance_ms(&self, ms: u64) {
        let wall_ms = i64::try_from(ms).unwrap_or(i64::MAX);
        self.now_ms.fetch_add(wall_ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall side alone, as an administrator or a time server would: it may run backwards.
    pub fn set_now(&self, now: Timestamp) {
        self.now_ms.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ms.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }
}

/// The randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// Panics where the operating system has no randomness to give: a predictable nonce would break the
    /// proof that a slot is one's own, so there is no way to go on.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads randomness"
    )]
    fn next_u128(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        u128::from_le_bytes(bytes)
    }
}

/// The same numbers for the same seed and order of calls: for tests and simulation.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// One step of splitmix64: a counter in steps of the golden ratio, then a bijective mix.
    ///
    /// Source: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators (2014).
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let count = self.state.fetch_add(STEP, Ordering::SeqCst);
        let mixed = count.wrapping_add(STEP);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn next_u128(&self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }
}

/// Waits `ms` milliseconds of the runtime's time. Cancel safe: nothing changes.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that waits for time"
)]
pub async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Awaits `future` for at most `ms` milliseconds; `None` where it was not done and has been dropped.
pub async fn within_ms<F: Future>(ms: u64, future: F) -> Option<F::Output> {
    tokio::time::timeout(Duration::from_millis(ms), future)
        .await
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_shows_this_century_and_never_runs_backwards() {
        let clock = SystemClock::new();
        assert!(clock.now() > Timestamp(1_700_000_000_000));
        let before = clock.monotonic_ms();
        assert!(clock.monotonic_ms() >= before);
        assert!(
            before < 60_000,
            "the monotonic side starts near 0, found {before}"
        );
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp(1_000));
        clock.advance_ms(5);
        assert_eq!((clock.now(), clock.monotonic_ms()), (Timestamp(1_005), 5));
        clock.set_now(Timestamp(10));
        assert_eq!((clock.now(), clock.monotonic_ms()), (Timestamp(10), 5));
    }

    #[test]
    fn seeded_entropy_matches_published_sequence() {
        let entropy = SeededEntropy::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([entropy.next_u64(), entropy.next_u64()], expected);
    }

    #[test]
    fn os_entropy_does_not_repeat() {
        assert_ne!(OsEntropy.next_u128(), OsEntropy.next_u128());
    }

    #[tokio::test]
    async fn within_gives_up_on_what_never_ends() {
        assert_eq!(within_ms(1, std::future::pending::<()>()).await, None);
        assert_eq!(within_ms(60_000, async { 7 }).await, Some(7));
    }
}
