//! The numbers of 1,024 rows: selected, read all together or one by one.

use std::borrow::Cow;
use std::ops::Range;

use super::column::{BLOCK_ROWS, GroupEnds, SPARSE_ONE_IN, WORDS};
use super::cursor::corrupt;
use super::pack::{self, BLOCK};
use super::pages::Pages;
use super::zone::{Missing, Zone};
use crate::error::{Error, Result};

/// The numbers of a block, row by row.
#[derive(Debug, Clone)]
pub struct Values {
    /// Numbers; of rows without a value and beyond the last row they mean nothing.
    pub numbers: Box<[u64; BLOCK_ROWS]>,
    /// Bit r is set where row r has a value.
    pub present: [u64; WORDS],
}

impl Values {
    /// The number of a row of the block; `None` if it has no value, or is none of the block.
    pub fn get(&self, row: usize) -> Option<u64> {
        let is_present = self.present.get(row / 64)? >> (row % 64) & 1 == 1;
        self.numbers.get(row).copied().filter(|_| is_present)
    }

    pub(super) fn put(&mut self, row: usize, number: Option<u64>) {
        if let (Some(slot), Some(word)) =
            (self.numbers.get_mut(row), self.present.get_mut(row / 64))
        {
            let bit = 1 << (row % 64);
            *word = if number.is_some() {
                *word | bit
            } else {
                *word & !bit
            };
            *slot = number.unwrap_or(0);
        }
    }
}

impl Default for Values {
    fn default() -> Self {
        Self {
            numbers: Box::new([0; BLOCK_ROWS]),
            present: [0; WORDS],
        }
    }
}

/// A block whose bytes are there.
#[derive(Debug, Clone)]
pub struct Block<'a> {
    pub(super) zone: Zone,
    /// Its first row.
    pub first_row: usize,
    /// Its number of rows.
    pub rows: usize,
    pub(super) place: Range<u64>,
    pub(super) pages: &'a Pages,
}

impl Block<'_> {
    /// The least and the largest number; `None` where no row has a value.
    pub fn ends(&self) -> Option<(u64, u64)> {
        self.zone
            .has_values()
            .then_some((self.zone.min, self.zone.max))
    }

    /// What is known of it without its numbers.
    pub(super) fn known(&self) -> GroupEnds {
        GroupEnds {
            ends: self.ends(),
            has_missing: self.zone.missing != Missing::None,
        }
    }

    /// The rows of the block, as a bitmap.
    fn all(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        for (at, word) in words.iter_mut().enumerate() {
            let count = self.rows.saturating_sub(at * 64).min(64);
            *word = u64::MAX.checked_shr(64 - count as u32).unwrap_or(0);
        }
        words
    }

    /// Finds the rows whose number is in `low..=high`; with `missing` those without a value too.
    pub fn select(&self, low: u64, high: u64, missing: bool) -> Result<[u64; WORDS]> {
        let zone = &self.zone;
        let overlaps = zone.has_values() && low <= zone.max && high >= zone.min && low <= high;
        let takes_all = overlaps && low <= zone.min && high >= zone.max;
        let known = match (zone.missing, zone.has_values()) {
            (Missing::None, _) if takes_all => Some(true),
            (Missing::None, _) if !overlaps => Some(false),
            (Missing::None, _) => None,
            (_, false) => Some(missing),
            (_, true) if !overlaps && !missing => Some(false),
            (_, true) if takes_all && missing => Some(true),
            _ => None,
        };
        match known {
            Some(true) => return Ok(self.all()),
            Some(false) => return Ok([0; WORDS]),
            None => {}
        }
        let bytes = self.bytes()?;
        let packed = self.packed(&bytes)?;
        let mut hits = [0_u8; BLOCK];
        // Codes from `first` on, `more` of them beyond it; no code where the range is beside the block.
        let (first, more) = match overlaps {
            true => {
                let (low, high) = (low.max(zone.min), high.min(zone.max));
                (low - zone.min + zone.base(), high - low)
            }
            false => (u64::MAX, 0),
        };
        if zone.width <= 32 {
            let mut codes = [0; BLOCK];
            pack::unpack_narrow(packed, zone.width, &mut codes).ok_or_else(|| self.cut(packed))?;
            // Beyond 32 bits there is no code.
            let first = u32::try_from(first).unwrap_or(u32::MAX);
            let more = if overlaps { more as u32 } else { 0 };
            let zero_too = missing && zone.missing == Missing::Zero;
            for (hit, code) in hits.iter_mut().zip(&codes) {
                let within = overlaps && code.wrapping_sub(first) <= more;
                *hit = u8::from(within) | u8::from(zero_too && *code == 0);
            }
        } else {
            let mut codes = [0; BLOCK];
            pack::unpack(packed, zone.width, &mut codes).ok_or_else(|| self.cut(packed))?;
            let zero_too = missing && zone.missing == Missing::Zero;
            for (hit, code) in hits.iter_mut().zip(&codes) {
                let within = overlaps && code.wrapping_sub(first) <= more;
                *hit = u8::from(within) | u8::from(zero_too && *code == 0);
            }
        }
        let mut found = bits_of(&hits);
        if zone.missing == Missing::Bits {
            for (found, absent) in found.iter_mut().zip(self.missing_bits(&bytes)) {
                *found = if missing {
                    *found | absent
                } else {
                    *found & !absent
                };
            }
        }
        for (found, all) in found.iter_mut().zip(self.all()) {
            *found &= all;
        }
        Ok(found)
    }

    /// Reads all numbers.
    pub fn read(&self, into: &mut Values) -> Result<()> {
        let zone = &self.zone;
        let bytes = self.bytes()?;
        let packed = self.packed(&bytes)?;
        pack::unpack(packed, zone.width, &mut into.numbers).ok_or_else(|| self.cut(packed))?;
        into.present = self.all();
        match zone.missing {
            Missing::None => {}
            Missing::Zero => {
                let mut hits = [0_u8; BLOCK];
                for (hit, code) in hits.iter_mut().zip(into.numbers.iter()) {
                    *hit = u8::from(*code != 0);
                }
                for (present, bits) in into.present.iter_mut().zip(bits_of(&hits)) {
                    *present &= bits;
                }
            }
            Missing::Bits => {
                for (present, absent) in into.present.iter_mut().zip(self.missing_bits(&bytes)) {
                    *present &= !absent;
                }
            }
        }
        let add = zone.min.wrapping_sub(zone.base());
        for number in into.numbers.iter_mut() {
            *number = number.wrapping_add(add);
        }
        Ok(())
    }

    /// Reads the numbers of the rows of a bitmap, each with its row in the block.
    pub fn read_rows(
        &self,
        rows: &[u64; WORDS],
        mut each: impl FnMut(usize, Option<u64>),
    ) -> Result<()> {
        let zone = &self.zone;
        let bytes = self.bytes()?;
        let packed = self.packed(&bytes)?;
        let absent = match zone.missing {
            Missing::Bits => self.missing_bits(&bytes),
            _ => [0; WORDS],
        };
        let count: u32 = rows.iter().map(|word| word.count_ones()).sum();
        let mut all = None;
        if count as usize * SPARSE_ONE_IN >= BLOCK {
            let codes = all.insert([0; BLOCK]);
            pack::unpack(packed, zone.width, codes).ok_or_else(|| self.cut(packed))?;
        }
        let code_at = |row: usize| match &all {
            Some(codes) => codes.get(row).copied(),
            None => pack::unpack_one(packed, zone.width, row),
        };
        for (at, ((word, all), absent)) in rows.iter().zip(self.all()).zip(absent).enumerate() {
            let mut rest = word & all;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                let row = at * 64 + bit as usize;
                let code = code_at(row).ok_or_else(|| self.cut(packed))?;
                let is_missing = match zone.missing {
                    Missing::None => false,
                    Missing::Zero => code == 0,
                    Missing::Bits => absent >> bit & 1 == 1,
                };
                let number = code.wrapping_sub(zone.base()).wrapping_add(zone.min);
                each(row, (!is_missing).then_some(number));
            }
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        self.pages.get(self.place.clone())
    }

    fn packed<'b>(&self, bytes: &'b [u8]) -> Result<&'b [u8]> {
        bytes
            .get(..pack::packed_bytes(self.zone.width))
            .ok_or_else(|| self.cut(bytes))
    }

    fn missing_bits(&self, bytes: &[u8]) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        let bits = bytes
            .get(pack::packed_bytes(self.zone.width)..)
            .unwrap_or_default();
        for (word, bytes) in words.iter_mut().zip(bits.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    fn cut(&self, found: &[u8]) -> Error {
        let expected = pack::packed_bytes(self.zone.width);
        corrupt("bytes of a block", expected, found.len())
    }
}

/// The lowest bit of each byte.
fn bits_of(hits: &[u8; BLOCK]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let (chunks, _) = hits.as_chunks::<64>();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        for (at, eight) in chunk.as_chunks::<8>().0.iter().enumerate() {
            // Gathers the lowest bits of eight bytes in the highest byte.
            let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            *word |= gathered << (at * 8);
        }
    }
    words
}
