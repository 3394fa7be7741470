//! From byte ranges to blocks and back. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::CachedFile;
use crate::error::{Error, ErrorKind, Result};
use crate::types::limits::{CACHE_READ_BYTES_MAX, FILE_BLOCK_BYTES};

/// The blocks that ranges of a file touch, ascending, each once.
///
/// Errors: `Corrupted` where the file's checksums do not fit its length or a range ends past it (both come
/// from what is stored), `TooLarge` for more than one read may ask.
pub(super) fn wanted_blocks(file: &CachedFile, ranges: &[Range<u64>]) -> Result<BTreeSet<u32>> {
    let n_blocks = file.bytes.div_ceil(FILE_BLOCK_BYTES);
    if n_blocks != file.sums.len() as u64 || n_blocks > u64::from(u32::MAX) {
        return Err(Error::corrupted(format!(
            "checksums of `{}` do not fit its {} bytes: expected {n_blocks}, found {}",
            file.path,
            file.bytes,
            file.sums.len()
        )));
    }
    let mut wanted = BTreeSet::new();
    let mut n_bytes = 0_u64;
    for range in ranges {
        check_range(file, range)?;
        n_bytes = n_bytes.saturating_add(range.end - range.start);
        check_size(file, n_bytes)?;
        wanted.extend(blocks_of(range));
        check_size(file, wanted.len() as u64 * FILE_BLOCK_BYTES)?;
    }
    Ok(wanted)
}

fn check_range(file: &CachedFile, range: &Range<u64>) -> Result<()> {
    if range.start <= range.end && range.end <= file.bytes {
        return Ok(());
    }
    Err(Error::corrupted(format!(
        "range of `{}` is wrong: expected it within its {} bytes, found {} to {}",
        file.path, file.bytes, range.start, range.end
    )))
}

fn check_size(file: &CachedFile, n_bytes: u64) -> Result<()> {
    // A read that begins and ends inside of blocks touches up to two more.
    if n_bytes <= CACHE_READ_BYTES_MAX {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::TooLarge,
        "too_large",
        format!(
            "read of `{}` is too large: expected at most {CACHE_READ_BYTES_MAX} bytes at once",
            file.path
        ),
    ))
}

/// The numbers of the blocks a range touches; the caller has checked it against the file.
fn blocks_of(range: &Range<u64>) -> Range<u32> {
    if range.is_empty() {
        return 0..0;
    }
    let first = range.start / FILE_BLOCK_BYTES;
    let last = (range.end - 1) / FILE_BLOCK_BYTES;
    first as u32..last as u32 + 1
}

/// Cuts the ranges out of the blocks that [`wanted_blocks`] named.
///
/// What is small beside its block is copied, so that a page does not keep a whole block alive.
pub(super) fn cut(
    file: &CachedFile,
    ranges: &[Range<u64>],
    blocks: &BTreeMap<u32, Bytes>,
) -> Result<Vec<Bytes>> {
    ranges
        .iter()
        .map(|range| cut_one(file, range, blocks))
        .collect()
}

fn cut_one(file: &CachedFile, range: &Range<u64>, blocks: &BTreeMap<u32, Bytes>) -> Result<Bytes> {
    let touched = blocks_of(range);
    let mut joined = BytesMut::new();
    for number in touched.clone() {
        let start = u64::from(number) * FILE_BLOCK_BYTES;
        let block = blocks.get(&number).ok_or_else(|| lost(file, number))?;
        let from = range.start.saturating_sub(start) as usize;
        let to = (range.end - start).min(block.len() as u64) as usize;
        if touched.len() == 1 && 4 * (to - from) >= block.len() {
            return Ok(block.slice(from..to));
        }
        if joined.is_empty() {
            joined.reserve((range.end - range.start) as usize);
        }
        joined.extend_from_slice(&block[from..to]);
    }
    Ok(joined.freeze())
}

fn lost(file: &CachedFile, block: u32) -> Error {
    Error::internal(format!(
        "block {block} of `{}` was fetched but is not there",
        file.path
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::cache::coalesce::{PieceLimits, coalesce};

    fn file(bytes: u64) -> CachedFile {
        CachedFile {
            path: "f".into(),
            bytes,
            hash: 0,
            sums: vec![0; bytes.div_ceil(FILE_BLOCK_BYTES) as usize].into(),
        }
    }

    #[test]
    fn wanted_blocks_of_senseless_ranges_or_checksums_are_refused() {
        #[allow(clippy::reversed_empty_ranges, reason = "it is what is refused")]
        for range in [0..11, 11..11, 5..4, 0..u64::MAX] {
            let error = wanted_blocks(&file(10), &[range]).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Corrupted);
        }
        let few = CachedFile {
            bytes: FILE_BLOCK_BYTES + 1,
            ..file(10)
        };
        let error = wanted_blocks(&few, &[]).expect_err("refused");
        assert_eq!(
            error.message(),
            "checksums of `f` do not fit its 65537 bytes: expected 2, found 1"
        );
    }

    #[test]
    fn wanted_blocks_above_the_bound_are_too_large() {
        let file = file(CACHE_READ_BYTES_MAX * 2);
        let whole = 0..CACHE_READ_BYTES_MAX;
        assert!(wanted_blocks(&file, std::slice::from_ref(&whole)).is_ok());
        let one_more = CACHE_READ_BYTES_MAX..CACHE_READ_BYTES_MAX + 1;
        let longer = 0..CACHE_READ_BYTES_MAX + 1;
        for ranges in [&[whole, one_more][..], std::slice::from_ref(&longer)] {
            let error = wanted_blocks(&file, ranges).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        // Tiny ranges far apart hold a whole block each while the read runs.
        let far: Vec<_> = (0..5_000)
            .map(|n| n * FILE_BLOCK_BYTES..n * FILE_BLOCK_BYTES + 1)
            .collect();
        assert!(wanted_blocks(&file, &far).is_err());
    }

    proptest! {
        #[test]
        fn cut_any_ranges_gives_the_bytes_of_the_file(
            bytes in 1_u64..400_000,
            cuts in proptest::collection::vec((0.0_f64..=1.0, 0.0_f64..=1.0), 0..12),
        ) {
            let content: Vec<u8> = (0..bytes).map(|at| (at * 31 + (at >> 8)) as u8).collect();
            let file = file(bytes);
            let ranges: Vec<_> = cuts
                .into_iter()
                .map(|(a, b)| ((a.min(b) * bytes as f64) as u64)..((a.max(b) * bytes as f64) as u64))
                .collect();
            let wanted: Vec<u32> = wanted_blocks(&file, &ranges).expect("they fit").into_iter().collect();
            // Every wanted byte is in a piece.
            let pieces = coalesce(&wanted, PieceLimits::CACHE);
            for range in ranges.iter().filter(|range| !range.is_empty()) {
                for at in [range.start, range.end - 1] {
                    prop_assert!(pieces.iter().any(|piece| file.range_of(&piece.blocks).contains(&at)));
                }
            }
            let blocks = wanted.iter().map(|block| {
                let of = file.range_of(&(*block..block + 1));
                (*block, Bytes::copy_from_slice(&content[of.start as usize..of.end as usize]))
            });
            let found = cut(&file, &ranges, &blocks.collect()).expect("all blocks are there");
            for (range, found) in ranges.iter().zip(found) {
                prop_assert_eq!(&content[range.start as usize..range.end as usize], &found[..]);
            }
        }
    }
}
