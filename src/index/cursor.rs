//! Small numbers in few bytes, and reading them from bytes that may be damaged.

use std::fmt::Display;

use crate::error::{Error, Result};

/// Appends a number in 7 bits a byte, lowest first; the last byte has its high bit clear (LEB128).
pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Says that an attribute's index is not what it must be.
pub(super) fn corrupt(what: &str, expected: impl Display, found: impl Display) -> Error {
    Error::corrupted(format!(
        "attribute index: {what}: expected {expected}, found {found}"
    ))
}

/// Reads bytes from the front; every read past their end is an error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (front, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| corrupt(self.what, format_args!("{count} bytes"), self.rest.len()))?;
        self.rest = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (front, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| corrupt(self.what, format_args!("{N} bytes"), self.rest.len()))?;
        self.rest = rest;
        Ok(*front)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(corrupt(self.what, "a number of 64 bits", "a longer one"))
    }

    /// A varint that counts things in memory.
    pub(super) fn count(&mut self) -> Result<usize> {
        let number = self.varint()?;
        usize::try_from(number).map_err(|_| corrupt(self.what, "a count", number))
    }

    /// Errors: `Corrupted` if there is more.
    pub(super) fn end(self) -> Result<()> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(corrupt(self.what, "no more bytes", self.rest.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_too_long_ones_are_refused() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(reader.varint().ok(), Some(number));
            assert!(reader.end().is_ok());
            let mut cut = Reader::new("test", bytes.get(1..).unwrap_or_default());
            assert!(bytes.len() > 1 || cut.varint().is_err());
        }
        for long in [&[0xff; 10][..], &[0x80; 11]] {
            assert!(Reader::new("test", long).varint().is_err());
        }
    }
}
