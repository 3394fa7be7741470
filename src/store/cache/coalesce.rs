//! Which blocks travel together. Pure: a function of the block numbers and the two bounds.

use std::ops::Range;

use crate::types::limits;

/// The bounds of one request, blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceLimits {
    /// Most blocks between two wanted ones that are read along rather than split around.
    pub gap_blocks: u32,
    /// Most blocks of one request; at least 1.
    pub piece_blocks: u32,
}

impl PieceLimits {
    /// The bounds of the cache: [`limits::CACHE_GAP_BYTES_MAX`] and [`limits::CACHE_GET_BYTES_MAX`].
    pub const CACHE: Self = Self {
        gap_blocks: (limits::CACHE_GAP_BYTES_MAX / limits::FILE_BLOCK_BYTES) as u32,
        piece_blocks: (limits::CACHE_GET_BYTES_MAX / limits::FILE_BLOCK_BYTES) as u32,
    };
}

/// One request: a run of blocks that begins and ends with a wanted one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The blocks that are read.
    pub blocks: Range<u32>,
    /// Those of them that somebody wants, ascending; the others are read along and dropped.
    pub wanted: Vec<u32>,
}

/// Joins wanted blocks (ascending, each once) into the fewest requests within the bounds, ascending.
///
/// A request costs a round trip and money; a gap costs its bytes. At 128 KiB the bytes of a gap take
/// about as long as a tenth of a round trip to an object store.
pub fn coalesce(wanted: &[u32], limits: PieceLimits) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for &block in wanted {
        let end = block.saturating_add(1);
        match pieces.last_mut() {
            Some(last) if fits(&last.blocks, block, limits) => {
                last.blocks.end = end;
                last.wanted.push(block);
            }
            _ => pieces.push(Piece {
                blocks: block..end,
                wanted: vec![block],
            }),
        }
    }
    pieces
}

fn fits(piece: &Range<u32>, block: u32, limits: PieceLimits) -> bool {
    let gap = block.saturating_sub(piece.end);
    let n_blocks = block.saturating_sub(piece.start).saturating_add(1);
    gap <= limits.gap_blocks && n_blocks <= limits.piece_blocks
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one piece is expected")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SMALL: PieceLimits = PieceLimits {
        gap_blocks: 2,
        piece_blocks: 8,
    };

    fn runs(wanted: &[u32], limits: PieceLimits) -> Vec<Range<u32>> {
        let pieces = coalesce(wanted, limits);
        pieces.into_iter().map(|piece| piece.blocks).collect()
    }

    #[test]
    fn blocks_within_the_gap_travel_together_and_others_do_not() {
        assert_eq!(runs(&[], SMALL), []);
        assert_eq!(runs(&[3, 4, 5], SMALL), [3..6]);
        assert_eq!(runs(&[0, 3], SMALL), [0..4]);
        assert_eq!(runs(&[0, 4], SMALL), [0..1, 4..5]);
        assert_eq!(runs(&[u32::MAX - 1], SMALL), [u32::MAX - 1..u32::MAX]);
    }

    #[test]
    fn long_run_is_split_at_the_cap() {
        let wanted: Vec<u32> = (10..30).collect();
        assert_eq!(runs(&wanted, SMALL), [10..18, 18..26, 26..30]);
    }

    #[test]
    fn bounds_of_the_cache_are_two_and_128_blocks() {
        let limits = PieceLimits::CACHE;
        assert_eq!((limits.gap_blocks, limits.piece_blocks), (2, 128));
    }

    proptest! {
        #[test]
        fn coalesce_any_blocks_keeps_every_bound(
            wanted in proptest::collection::btree_set(0_u32..2_000, 0..200),
            gap_blocks in 0_u32..6,
            piece_blocks in 1_u32..40,
        ) {
            let limits = PieceLimits { gap_blocks, piece_blocks };
            let wanted: Vec<u32> = wanted.into_iter().collect();
            let pieces = coalesce(&wanted, limits);
            // Every wanted block is in exactly one piece, in order.
            let covered: Vec<u32> = pieces.iter().flat_map(|piece| piece.wanted.clone()).collect();
            prop_assert_eq!(&covered, &wanted);
            for piece in &pieces {
                prop_assert!(piece.blocks.len() <= piece_blocks as usize);
                prop_assert_eq!(piece.wanted.first(), Some(&piece.blocks.start));
                prop_assert_eq!(piece.wanted.last(), Some(&(piece.blocks.end - 1)));
                for pair in piece.wanted.windows(2) {
                    prop_assert!(pair[1] - pair[0] - 1 <= gap_blocks, "bridged {pair:?}");
                }
                let inside: BTreeSet<u32> = piece.blocks.clone().collect();
                prop_assert!(piece.wanted.iter().all(|block| inside.contains(block)));
            }
            for pair in pieces.windows(2) {
                prop_assert!(pair[0].blocks.end <= pair[1].blocks.start);
                // No split without need: the next wanted block is beyond the gap or the cap.
                prop_assert!(
                    pair[1].blocks.start - pair[0].blocks.end > gap_blocks
                        || pair[1].blocks.start + 1 - pair[0].blocks.start > piece_blocks
                );
            }
        }
    }
}
