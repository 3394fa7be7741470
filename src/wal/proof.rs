//! How recently this node proved that its state was the newest, by the store's own clock.

use crate::types::Timestamp;

/// A block is deleted only after a later block, a `Truncate` and this store's grace of an hour: within
/// five minutes of a proof nothing after the proven state can have been deleted.
const FRESH_MS: i64 = 5 * 60 * 1_000;

/// The store's Date of the last anchored proof.
///
/// It belongs to a state: it says that no slot *after that state* had been deleted at the date. It serves later
/// states too, never an older one, whose next slot may have been deleted long before the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Proof {
    anchored_at: Option<Timestamp>,
}

impl Proof {
    /// Whether a reply of this store Date may stand without an anchor check. A missing Date, or one
    /// before the proof, decides nothing.
    pub fn is_fresh(self, reply: Option<Timestamp>) -> bool {
        match (self.anchored_at, reply) {
            (Some(anchored), Some(reply)) => (0..FRESH_MS).contains(&(reply.0 - anchored.0)),
            _ => false,
        }
    }

    /// Records an anchored proof, by the store's clock of the reply that made the slot, or that said that there
    /// is none: that of the anchor read would be too late, since the log may have moved on in between.
    pub fn renew(&mut self, store_date: Option<Timestamp>) {
        if store_date.is_some() {
            self.anchored_at = store_date;
        }
    }

    /// The newer of two proofs of one state.
    #[must_use]
    pub fn newer(self, other: Self) -> Self {
        Self {
            anchored_at: self.anchored_at.max(other.anchored_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_is_fresh_only_within_five_minutes_of_one_clock() {
        let at = |seconds: i64| Some(Timestamp(seconds * 1_000));
        let mut proof = Proof::default();
        assert!(!proof.is_fresh(at(0)), "nothing proven yet");
        proof.renew(at(1_000));
        let cases = [
            (at(1_000), true),
            (at(1_299), true),
            (at(1_300), false),
            (at(999), false),
            (None, false),
        ];
        for (reply, expected) in cases {
            assert_eq!(proof.is_fresh(reply), expected, "reply {reply:?}");
        }
        proof.renew(None);
        assert!(
            proof.is_fresh(at(1_001)),
            "an undated proof keeps the dated one"
        );
    }
}
