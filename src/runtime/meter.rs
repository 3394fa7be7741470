//! Counts what one request builds up in memory while it is built, against the budget of all requests.

use std::cell::{Cell, RefCell};

use super::permit::{MemoryBudget, Permit};
use crate::error::{Error, ErrorKind, Result};

/// Bytes reserved at a time: least and most.
const STEP_BYTES_MIN: u64 = 16 << 10;
const STEP_BYTES_MAX: u64 = 4 << 20;

/// The count of one request. It never waits: whoever charges it runs on a compute thread.
#[derive(Debug)]
pub struct Meter {
    budget: MemoryBudget,
    /// What the request holds of the budget besides, bytes.
    held: u64,
    limit: u64,
    charged: Cell<u64>,
    reserved: Cell<u64>,
    permits: RefCell<Vec<Permit>>,
}

impl Meter {
    /// Begins a count that ends at `limit` bytes; `held` is what the request has of the budget already.
    pub fn new(budget: MemoryBudget, held: u64, limit: u64) -> Self {
        Self {
            budget,
            held,
            limit,
            charged: Cell::new(0),
            reserved: Cell::new(0),
            permits: RefCell::default(),
        }
    }

    /// Counts `bytes` that are about to be allocated.
    ///
    /// Errors: `TooLarge` over the request's own limit or the whole budget, `Unavailable` where the rest of
    /// the budget is in use.
    pub fn charge(&self, bytes: u64) -> Result<()> {
        let charged = self.charged.get().saturating_add(bytes);
        if charged > self.limit {
            let message = format!(
                "the request is too large once parsed: expected at most {} bytes in memory, found at least \
                 {charged}; send fewer or larger values at a time",
                self.limit
            );
            let error = Error::new(ErrorKind::TooLarge, "too_large", message);
            return Err(error.with_detail("limit", self.limit));
        }
        let reserved = self.reserved.get();
        if charged > reserved {
            let step = (charged / 4).clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
            let more = step.max(charged - reserved);
            let permit = self.budget.try_reserve(more, self.held + reserved)?;
            self.permits.borrow_mut().push(permit);
            self.reserved.set(reserved + more);
        }
        self.charged.set(charged);
        Ok(())
    }

    /// Takes back what was freed again.
    pub fn refund(&self, bytes: u64) {
        self.charged.set(self.charged.get().saturating_sub(bytes));
    }

    /// Bytes counted now.
    pub fn charged(&self) -> u64 {
        self.charged.get()
    }

    /// Ends the count: the memory stays reserved as long as these are held.
    pub fn into_permits(self) -> Vec<Permit> {
        self.permits.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn charge_reserves_what_was_counted_until_the_permits_go() {
        let budget = MemoryBudget::new("bodies", 8 * MIB, 1);
        let meter = Meter::new(budget.clone(), 0, 8 * MIB);
        meter.charge(3 * MIB).expect("fits");
        meter.refund(2 * MIB);
        meter.charge(2 * MIB).expect("was freed before");
        assert_eq!(meter.charged(), 3 * MIB);
        assert_eq!(budget.free_bytes(), 5 * MIB);
        let permits = meter.into_permits();
        assert_eq!(budget.free_bytes(), 5 * MIB);
        drop(permits);
        assert_eq!(budget.free_bytes(), 8 * MIB);
    }

    #[test]
    fn charge_over_the_limit_or_the_whole_budget_is_too_large() {
        let budget = MemoryBudget::new("bodies", 4 * MIB, 1);
        let meter = Meter::new(budget.clone(), 0, MIB);
        let error = meter.charge(MIB + 1).expect_err("over the limit");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let meter = Meter::new(budget, 2 * MIB, 8 * MIB);
        meter.charge(MIB).expect("fits");
        let error = meter
            .charge(2 * MIB)
            .expect_err("with what it holds, over the budget");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn charge_while_others_hold_the_budget_is_unavailable() {
        let budget = MemoryBudget::new("bodies", 4 * MIB, 1);
        let _other = budget.try_reserve(3 * MIB, 0).expect("fits");
        let meter = Meter::new(budget, 0, 4 * MIB);
        let error = meter.charge(2 * MIB).expect_err("in use");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.retry_after_ms().is_some());
    }
}
