//! The checksum of each 64 KiB of a file, so that any part of it can be proved alone.

use std::sync::Arc;

use crate::error::Result;
use crate::format::frame::{Cursor, corrupt};

/// Bytes of a checked block; the last of a file is shorter.
pub const SUM_BLOCK_BYTES: usize = 64 << 10;

/// The CRC-32C of each block of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSums {
    bytes: u64,
    sums: Arc<[u32]>,
}

impl BlockSums {
    /// Sums a whole file.
    pub fn of(file: &[u8]) -> Self {
        Self {
            bytes: file.len() as u64,
            sums: file.chunks(SUM_BLOCK_BYTES).map(crc32c::crc32c).collect(),
        }
    }

    /// The bytes covered, from the start of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// One number a block.
    pub fn sums(&self) -> &Arc<[u32]> {
        &self.sums
    }

    /// Checks one block read from object `key`. Errors: `Corrupted` naming offset, expected and found.
    pub fn verify(&self, key: &str, block: u64, bytes: &[u8]) -> Result<()> {
        let start = block.saturating_mul(SUM_BLOCK_BYTES as u64);
        let length = self.bytes.saturating_sub(start).min(SUM_BLOCK_BYTES as u64);
        let sum = usize::try_from(block).ok().and_then(|at| self.sums.get(at));
        let Some(sum) = sum.filter(|_| length == bytes.len() as u64) else {
            let what = format!("block at offset {start}");
            return Err(corrupt(
                key,
                &what,
                format_args!("{length} bytes"),
                bytes.len(),
            ));
        };
        let found = crc32c::crc32c(bytes);
        if found != *sum {
            let what = format!("crc32c of the block at offset {start}");
            return Err(corrupt(
                key,
                &what,
                format_args!("{sum:08x}"),
                format_args!("{found:08x}"),
            ));
        }
        Ok(())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        self.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
    }

    pub(super) fn decode(key: &str, bytes: u64, part: &[u8]) -> Result<Self> {
        let blocks = bytes.div_ceil(SUM_BLOCK_BYTES as u64);
        if part.len() as u64 != blocks.saturating_mul(4) {
            let expected = format!("{blocks} of 4 bytes");
            return Err(corrupt(key, "checksums of blocks", expected, part.len()));
        }
        let mut cursor = Cursor::new(key, part);
        let sums = (0..blocks).map(|_| cursor.u32()).collect::<Result<_>>()?;
        Ok(Self { bytes, sums })
    }
}
