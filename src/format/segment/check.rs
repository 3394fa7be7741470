//! Proving a whole file as it is read, piece by piece, without holding it.

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use super::sums::{BlockSums, SUM_BLOCK_BYTES};
use crate::error::Result;
use crate::format::frame::corrupt;
use crate::types::ObjectRef;

/// A check of one file under way.
///
/// Compares the bytes of a file with the reference to it and, where they are known, with the checksums of its
/// blocks, which tell where the damage is.
pub struct FileCheck<'a> {
    file: &'a ObjectRef,
    sums: Option<&'a BlockSums>,
    hash: Xxh3,
    read: u64,
}

impl<'a> FileCheck<'a> {
    /// The bytes to push at once, at most: whole blocks.
    pub const PIECE_BYTES: u64 = 64 * SUM_BLOCK_BYTES as u64;

    /// Begins at the start of the file.
    pub fn new(file: &'a ObjectRef, sums: Option<&'a BlockSums>) -> Self {
        let (hash, read) = (Xxh3::new(), 0);
        Self {
            file,
            sums,
            hash,
            read,
        }
    }

    /// The next bytes to read; `None` at the end.
    pub fn next(&self) -> Option<std::ops::Range<u64>> {
        let end = self.file.bytes.min(self.read + Self::PIECE_BYTES);
        (self.read < end).then_some(self.read..end)
    }

    /// Takes the bytes of `next`. Errors: `Corrupted` naming object, offset, expected and found.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let expected = self.next().map_or(0, |range| range.end - range.start);
        if bytes.len() as u64 != expected {
            let found = self.read + bytes.len() as u64;
            return Err(corrupt(&self.file.path, "length", self.file.bytes, found));
        }
        if let Some(sums) = self.sums {
            let first = self.read / SUM_BLOCK_BYTES as u64;
            let covered = sums.bytes().saturating_sub(self.read);
            let covered = usize::try_from(covered).unwrap_or(usize::MAX);
            let covered = bytes.get(..covered).unwrap_or(bytes);
            for (block, bytes) in (first..).zip(covered.chunks(SUM_BLOCK_BYTES)) {
                sums.verify(&self.file.path, block, bytes)?;
            }
        }
        self.hash.update(bytes);
        self.read += expected;
        Ok(())
    }

    /// Ends; `beyond` are bytes read after the end. Errors: `Corrupted`.
    pub fn finish(self, beyond: &[u8]) -> Result<()> {
        if !beyond.is_empty() {
            let expected = self.file.bytes;
            return Err(corrupt(&self.file.path, "length", expected, "more"));
        }
        let found = self.hash.digest128();
        if found != self.file.hash {
            return Err(corrupt(
                &self.file.path,
                "hash",
                format_args!("{:032x}", self.file.hash),
                format_args!("{found:032x}"),
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for FileCheck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCheck")
            .field("file", self.file)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::super::object_ref;
    use super::*;

    fn check(file: &ObjectRef, sums: Option<&BlockSums>, bytes: &[u8]) -> Result<()> {
        let mut check = FileCheck::new(file, sums);
        while let Some(range) = check.next() {
            let end = bytes.len().min(range.end as usize);
            check.push(bytes.get(range.start as usize..end).unwrap_or_default())?;
        }
        check.finish(bytes.get(file.bytes as usize..).unwrap_or_default())
    }

    #[test]
    fn file_whole_is_clean_and_damage_is_placed() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let file = object_ref("f".to_owned(), &bytes);
        // As in an index file: the sums cover all but the end.
        let sums = BlockSums::of(bytes.get(..4_900_000).unwrap_or_default());
        for sums in [None, Some(&sums)] {
            check(&file, sums, &bytes).expect("it is whole");
            let mut longer = bytes.clone();
            longer.push(0);
            for (damaged, part) in [(&bytes[..4_999_999], "found 4999999"), (&longer, "more")] {
                let error = check(&file, sums, damaged).expect_err("another length");
                assert!(error.message().contains(part), "{error}");
            }
        }
        for (at, part) in [
            (4_500_000, "block at offset 4456448"),
            (4_950_000, "hash: expected"),
        ] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let error = check(&file, Some(&sums), &damaged).expect_err("a flipped bit");
            assert!(error.message().contains(part), "{error}");
        }
        let empty = object_ref("f".to_owned(), &[]);
        check(&empty, None, &[]).expect("nothing is what was promised");
    }
}
