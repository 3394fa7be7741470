//! What is known of a block before its numbers are read.

use super::column::MISSING_BYTES;
use super::cursor::{Reader, corrupt};
use super::pack;
use crate::error::Result;

/// How missing values are told: none are, by code 0 (numbers are one more), or by a bitmap behind the numbers where
/// they take all 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    None = 0,
    Zero = 1,
    Bits = 2,
}

/// What is known of a block before its numbers are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) width: u32,
    pub(super) missing: Missing,
    /// Above `max` where no row has a value.
    pub(super) min: u64,
    pub(super) max: u64,
}

impl Zone {
    pub(super) fn of(numbers: &[Option<u64>]) -> Self {
        let (min, max) = ends(numbers.iter().flatten().copied());
        let some_missing = numbers.iter().any(Option::is_none);
        let span = max.saturating_sub(min);
        let missing = match (some_missing, span) {
            (false, _) => Missing::None,
            (true, u64::MAX) => Missing::Bits,
            (true, _) => Missing::Zero,
        };
        let most = match missing {
            Missing::Zero if min <= max => span + 1,
            _ => span,
        };
        Self {
            width: pack::width_of(most),
            missing,
            min,
            max,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let bits = if self.missing == Missing::Bits {
            MISSING_BYTES
        } else {
            0
        };
        pack::packed_bytes(self.width) + bits
    }

    /// The number of the least value.
    pub(super) fn base(&self) -> u64 {
        u64::from(self.missing == Missing::Zero)
    }

    pub(super) fn has_values(&self) -> bool {
        self.min <= self.max
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.width as u8, self.missing as u8]);
        out.extend(self.min.to_le_bytes());
        out.extend(self.max.to_le_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let width = u32::from(reader.u8()?);
        let missing = match reader.u8()? {
            0 => Missing::None,
            1 => Missing::Zero,
            2 => Missing::Bits,
            other => return Err(corrupt("kind of missing values", "0 to 2", other)),
        };
        let (min, max) = (reader.u64()?, reader.u64()?);
        if width > 64 {
            return Err(corrupt("bits of a number", "0 to 64", width));
        }
        Ok(Self {
            width,
            missing,
            min,
            max,
        })
    }
}

/// The least and the largest; the largest is below the least where there are none.
pub(super) fn ends(numbers: impl Iterator<Item = u64>) -> (u64, u64) {
    numbers.fold((u64::MAX, 0), |(min, max), number| {
        (min.min(number), max.max(number))
    })
}
