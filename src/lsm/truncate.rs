//! How much of the log may go, and which manifests stay.

use super::state::State;
use crate::types::{Timestamp, WalSeq, limits};

/// Manifests that always stay.
pub const MANIFESTS_KEPT: usize = 2;

/// Which manifests stay, newest first: the newest two, those of the last `history_ms`, and the one before these, from
/// which the states at the beginning of that time are told.
///
/// `listed`: all there are with when each was written, newest first, by the same clock as `now`. Who waits longer than
/// that clock says keeps more, never less than two.
pub fn retained(listed: &[(WalSeq, Timestamp)], now: Timestamp, history_ms: u64) -> Vec<WalSeq> {
    let n_kept = match n_young(listed, now, history_ms) {
        0 => MANIFESTS_KEPT,
        young => (young + 1).clamp(MANIFESTS_KEPT, limits::HISTORY_MANIFESTS_MAX),
    };
    listed.iter().take(n_kept).map(|(seq, _)| *seq).collect()
}

/// How many manifests, from the newest on, are of the last `history_ms`. Arguments: as of `retained`.
pub fn n_young(listed: &[(WalSeq, Timestamp)], now: Timestamp, history_ms: u64) -> usize {
    let history_ms = i64::try_from(history_ms).unwrap_or(i64::MAX);
    // Written in the future, by a clock that differs: just now.
    let age_ms = |written: &Timestamp| now.0.saturating_sub(written.0).max(0);
    let is_young = |written: &Timestamp| age_ms(written) < history_ms;
    let young = listed.iter().take_while(|(_, written)| is_young(written));
    young.count()
}

/// The last block that may be deleted, or `None`.
///
/// `protected`: the manifests that stay (the newest two durable ones, read back, and those within the
/// retention of history). Each stands for its state together with the slots after its `flushed_seq`, so
/// both its own block and the block of its first unflushed slot stay; so do the newest `keep_blocks`.
pub fn floor_below(protected: &[State], current: &State, keep_blocks: u64) -> Option<u64> {
    if protected.is_empty() {
        return None;
    }
    let newest = current.blocks.last()?.number;
    let oldest_needed = protected
        .iter()
        .chain([current])
        .map(|state| state.blocks.first().map_or(0, |block| block.number))
        .min()?;
    let oldest_kept = (newest + 1).saturating_sub(keep_blocks);
    oldest_needed.min(oldest_kept).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_of_the_last_while_stay_with_the_one_before_and_never_fewer_than_two() {
        // Written at 900, 800, ... 100, newest first.
        let listed: Vec<_> = (1..10)
            .rev()
            .map(|seq| (WalSeq(seq), Timestamp(seq as i64 * 100)))
            .collect();
        for (now, history_ms, expected) in [
            (1_000, 0, vec![9, 8]),
            (1_000, 100, vec![9, 8]),
            (1_000, 101, vec![9, 8]),
            (1_000, 201, vec![9, 8, 7]),
            (1_000, 350, vec![9, 8, 7, 6]),
            (1_000, u64::MAX, (1..10).rev().collect()),
            (90_000, 350, vec![9, 8]),
            // A clock that is behind keeps more, but what is not asked for.
            (0, 0, vec![9, 8]),
            (0, 350, (1..10).rev().collect()),
        ] {
            let found = retained(&listed, Timestamp(now), history_ms);
            let found: Vec<u64> = found.iter().map(|seq| seq.0).collect();
            assert_eq!(found, expected, "at {now}, {history_ms} ms");
        }
        assert_eq!(retained(&[], Timestamp(0), 350), []);
        let many: Vec<_> = (1..=1_000)
            .rev()
            .map(|seq| (WalSeq(seq), Timestamp(0)))
            .collect();
        let found = retained(&many, Timestamp(0), 350);
        assert_eq!(found.len(), limits::HISTORY_MANIFESTS_MAX);
        assert_eq!(found.first(), Some(&WalSeq(1_000)));
    }
}
