//! Memory permits: whoever is about to hold bytes reserves them first and sheds load where there are none.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock::within_ms;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of one unit: the semaphore counts in 32 bits, which at one byte a unit would end at 4 GiB.
const UNIT_BYTES: u64 = 4 << 10;

/// How long a refused caller should wait, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// A bounded number of bytes, shared by clones. Callers are served in the order they came, so a large
/// request is not starved by small ones.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    what: &'static str,
    total_units: u32,
    wait_ms: u64,
    units: Arc<Semaphore>,
}

/// Bytes reserved; given back when dropped.
#[derive(Debug)]
#[must_use = "the bytes are given back when the permit is dropped"]
pub struct Permit {
    bytes: u64,
    _units: OwnedSemaphorePermit,
}

impl Permit {
    /// The bytes asked for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl MemoryBudget {
    /// Makes a budget of `total_bytes` (in steps of 4 KiB, at most 16 TiB) for `what` (a plural noun for
    /// messages); a reservation waits at most `wait_ms` milliseconds.
    pub fn new(what: &'static str, total_bytes: u64, wait_ms: u64) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let total_units = u32::try_from(total_bytes / UNIT_BYTES)
            .unwrap_or(most)
            .min(most);
        Self {
            what,
            total_units,
            wait_ms,
            units: Arc::new(Semaphore::new(total_units as usize)),
        }
    }

    /// Reserves `bytes`, rounded up to 4 KiB, waiting for others to give theirs back.
    ///
    /// Errors: `TooLarge` if the whole budget is smaller, `Unavailable` with a time to wait if none came
    /// free in time. Cancel safe: nothing is reserved.
    pub async fn reserve(&self, bytes: u64) -> Result<Permit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .ok()
            .filter(|units| *units <= self.total_units)
            .ok_or_else(|| self.too_large(bytes))?;
        let acquire = Arc::clone(&self.units).acquire_many_owned(units);
        match within_ms(self.wait_ms, acquire).await {
            Some(Ok(permit)) => Ok(Permit {
                bytes,
                _units: permit,
            }),
            Some(Err(_)) => Err(Error::internal(format!(
                "the memory for {} is closed",
                self.what
            ))),
            None => Err(self.exhausted(bytes, self.wait_ms)),
        }
    }

    /// Reserves `bytes` at once or not at all, for a caller who has `held` bytes of the budget already.
    ///
    /// Errors: `TooLarge` if the whole budget is smaller than both, `Unavailable` with a time to wait if the
    /// rest is in use.
    pub fn try_reserve(&self, bytes: u64, held: u64) -> Result<Permit> {
        let all = bytes.saturating_add(held);
        if all.div_ceil(UNIT_BYTES) > u64::from(self.total_units) {
            return Err(self.too_large(all));
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        match Arc::clone(&self.units).try_acquire_many_owned(units) {
            Ok(permit) => Ok(Permit {
                bytes,
                _units: permit,
            }),
            Err(_) => Err(self.exhausted(bytes, 0)),
        }
    }

    /// Bytes that are free at this moment: for metrics, not for decisions.
    pub fn free_bytes(&self) -> u64 {
        self.units.available_permits() as u64 * UNIT_BYTES
    }

    fn too_large(&self, bytes: u64) -> Error {
        let total_bytes = u64::from(self.total_units) * UNIT_BYTES;
        let message = format!(
            "memory for {} is smaller than the request: expected at most {total_bytes} bytes, found {bytes}",
            self.what
        );
        Error::new(ErrorKind::TooLarge, "too_large", message)
    }

    fn exhausted(&self, bytes: u64, wait_ms: u64) -> Error {
        Error::unavailable(format!(
            "memory for {} is in use: {bytes} bytes did not come free within {wait_ms} ms",
            self.what
        ))
        .with_retry_after_ms(RETRY_AFTER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_MS: u64 = 3_600_000;

    #[tokio::test]
    async fn permit_dropped_gives_bytes_back() {
        let budget = MemoryBudget::new("bodies", 8 << 10, 1);
        let permit = budget.reserve(4_097).await.expect("fits");
        assert_eq!((permit.bytes(), budget.free_bytes()), (4_097, 0));
        drop(permit);
        assert_eq!(budget.free_bytes(), 8 << 10);
    }

    #[tokio::test]
    async fn reserve_more_than_whole_budget_is_too_large() {
        let budget = MemoryBudget::new("bodies", 8 << 10, NEVER_MS);
        for bytes in [(8 << 10) + 1, u64::MAX] {
            let error = budget.reserve(bytes).await.expect_err("larger than all");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        assert!(budget.reserve(8 << 10).await.is_ok());
    }

    #[tokio::test]
    async fn reserve_from_used_up_budget_is_unavailable_with_retry() {
        let budget = MemoryBudget::new("bodies", 8 << 10, 1);
        let _held = budget.reserve(5 << 10).await.expect("fits");
        let error = budget.reserve(1).await.expect_err("nothing is free");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.retry_after_ms(), Some(RETRY_AFTER_MS));
        assert!(error.message().contains("bodies"), "{}", error.message());
    }

    #[tokio::test]
    async fn reserve_waits_until_bytes_come_free() {
        let budget = MemoryBudget::new("bodies", 4 << 10, NEVER_MS);
        let held = budget.reserve(1).await.expect("fits");
        let mut waiting = Box::pin(budget.reserve(1));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(held);
        assert_eq!(waiting.await.expect("came free").bytes(), 1);
    }

    #[tokio::test]
    async fn reserve_dropped_while_waiting_reserves_nothing() {
        let budget = MemoryBudget::new("bodies", 4 << 10, NEVER_MS);
        let held = budget.reserve(1).await.expect("fits");
        {
            let mut waiting = Box::pin(budget.reserve(1));
            assert!(futures::poll!(waiting.as_mut()).is_pending());
        }
        drop(held);
        assert_eq!(budget.free_bytes(), 4 << 10);
    }

    #[tokio::test]
    async fn budget_above_four_gib_counts_right() {
        let budget = MemoryBudget::new("tails", 64 << 30, 1);
        let _held = budget.reserve(63 << 30).await.expect("fits");
        assert_eq!(budget.free_bytes(), 1 << 30);
    }
}
