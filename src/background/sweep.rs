//! The walk over all names, a few in each round: it finds what no hint tells of.

use std::collections::VecDeque;

use crate::error::Result;
use crate::namespace::Engine;
use crate::types::{NamespaceName, limits};

/// Names asked for in one listing.
const NAMES_A_PAGE: usize = 500;

/// Where the walk is.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Between two walks, milliseconds; 0 for never.
    every_ms: u64,
    /// When the next walk begins.
    next_ms: u64,
    /// Names that are to be looked at.
    names: VecDeque<NamespaceName>,
    place: Place,
}

/// What is listed next.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Nothing: no walk is under way.
    Rest,
    /// The names after this one, or the first.
    After(Option<NamespaceName>),
    /// Nothing: all names of this walk have been listed.
    Listed,
}

impl Sweep {
    /// The first walk begins at a time within the period that `chance` says: nodes do not walk together, and
    /// one that is started again and again still walks now and then.
    pub(super) fn new(now_ms: u64, every_ms: u64, chance: u128) -> Self {
        let phase_ms = (chance % u128::from(every_ms.max(1))) as u64;
        Self {
            every_ms,
            next_ms: now_ms.saturating_add(phase_ms),
            names: VecDeque::new(),
            place: Place::Rest,
        }
    }

    /// Whether this round has a share of it.
    pub(super) fn is_on(&self, now_ms: u64) -> bool {
        self.every_ms > 0 && (self.place != Place::Rest || now_ms >= self.next_ms)
    }

    /// The names to look at in this round. Errors: as `Engine::list`; the walk goes on in the next round.
    pub(super) async fn next(
        &mut self,
        engine: &Engine,
        now_ms: u64,
    ) -> Result<Vec<NamespaceName>> {
        if self.place == Place::Rest {
            self.next_ms = now_ms.saturating_add(self.every_ms);
            self.place = Place::After(None);
        }
        if let (true, Place::After(after)) = (self.names.is_empty(), &self.place) {
            let page = engine.list("", after.as_ref(), NAMES_A_PAGE).await?;
            self.names = page.names.into();
            self.place = match page.next_after {
                Some(last) => Place::After(Some(last)),
                None => Place::Listed,
            };
        }
        let n = self.names.len().min(limits::SWEPT_A_ROUND_MAX);
        let share = self.names.drain(..n).collect();
        if self.names.is_empty() && self.place == Place::Listed {
            self.place = Place::Rest;
        }
        Ok(share)
    }
}
