//! How much of the log may go.

use super::state::State;

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
