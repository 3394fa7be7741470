//! 1,024 numbers in as few bits each as the largest needs, in lanes, so that a compiler can do many at once.
//!
//! Up to 32 bits: 32 lanes of u32, number i x 32 + lane is the i-th of its lane. Above: 16 lanes of u64. Word k of all
//! lanes lies together, little-endian; each lane fills its words from the lowest bit on.
#![allow(
    clippy::indexing_slicing,
    reason = "arrays of fixed sizes; bytes are cut into them first"
)]

/// Numbers of a block.
pub(super) const BLOCK: usize = 1_024;
/// Bytes of one word of all lanes.
const LINE: usize = 128;
/// The widest that fits lanes of u32.
const NARROW_MAX: u32 = 32;

type Line = [u8; LINE];

/// The bits that a number needs.
pub(super) fn width_of(number: u64) -> u32 {
    64 - number.leading_zeros()
}

/// The bytes of a block.
pub(super) fn packed_bytes(width: u32) -> usize {
    width as usize * LINE
}

/// Appends a block; no number needs more than `width` bits, at most 64.
pub(super) fn pack(numbers: &[u64; BLOCK], width: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + packed_bytes(width), 0);
    let bytes = &mut out[start..];
    let (lanes, word_bits) = lanes_of(width);
    let word_bytes = word_bits as usize / 8;
    for (at, number) in numbers.iter().enumerate() {
        let (turn, lane) = (at / lanes, at % lanes);
        let bit = turn as u32 * width;
        // A number lies in one word or in two.
        let spread = u128::from(*number) << (bit % word_bits);
        let words = spread.to_le_bytes();
        let first = (bit / word_bits) as usize;
        for (part, word) in words.chunks(word_bytes).take(2).enumerate() {
            let place = ((first + part) * lanes + lane) * word_bytes;
            for (to, from) in bytes.iter_mut().skip(place).zip(word) {
                *to |= from;
            }
        }
    }
}

fn lanes_of(width: u32) -> (usize, u32) {
    match width <= NARROW_MAX {
        true => (32, 32),
        false => (16, 64),
    }
}

/// Unpacks a block of at most 32 bits; `None` if the bytes are not of one.
pub(super) fn unpack_narrow(bytes: &[u8], width: u32, out: &mut [u32; BLOCK]) -> Option<()> {
    if width == 0 || width > NARROW_MAX {
        out.fill(0);
        return (width == 0).then_some(());
    }
    let lines = lines(bytes, width)?;
    let mask = u32::MAX >> (32 - width);
    let word = |line: &Line, lane: usize| {
        let at = lane * 4;
        u32::from_le_bytes([line[at], line[at + 1], line[at + 2], line[at + 3]])
    };
    for (turn, numbers) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let bit = turn as u32 * width;
        let (at, shift) = ((bit / 32) as usize, bit % 32);
        let low = &lines[at];
        if shift + width > 32 {
            let high = &lines[at + 1];
            for (lane, number) in numbers.iter_mut().enumerate() {
                let two = (word(low, lane) >> shift) | (word(high, lane) << (32 - shift));
                *number = two & mask;
            }
        } else {
            for (lane, number) in numbers.iter_mut().enumerate() {
                *number = (word(low, lane) >> shift) & mask;
            }
        }
    }
    Some(())
}

/// Unpacks a block of any width; `None` if the bytes are not of one.
pub(super) fn unpack(bytes: &[u8], width: u32, out: &mut [u64; BLOCK]) -> Option<()> {
    if width <= NARROW_MAX {
        let mut narrow = [0; BLOCK];
        unpack_narrow(bytes, width, &mut narrow)?;
        for (number, narrow) in out.iter_mut().zip(&narrow) {
            *number = u64::from(*narrow);
        }
        return Some(());
    }
    let lines = lines(bytes, width)?;
    let mask = u64::MAX >> (64 - width);
    for (turn, numbers) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let bit = turn as u32 * width;
        let (at, shift) = ((bit / 64) as usize, bit % 64);
        let low = &lines[at];
        if shift + width > 64 {
            let high = &lines[at + 1];
            for (lane, number) in numbers.iter_mut().enumerate() {
                let two = (wide_word(low, lane) >> shift) | (wide_word(high, lane) << (64 - shift));
                *number = two & mask;
            }
        } else {
            for (lane, number) in numbers.iter_mut().enumerate() {
                *number = (wide_word(low, lane) >> shift) & mask;
            }
        }
    }
    Some(())
}

/// Reads one number; `None` if the bytes are not of a block, or there is no such number.
pub(super) fn unpack_one(bytes: &[u8], width: u32, at: usize) -> Option<u64> {
    if width == 0 || at >= BLOCK {
        return (at < BLOCK).then_some(0);
    }
    let lines = lines(bytes, width)?;
    let (lanes, word_bits) = lanes_of(width);
    let (turn, lane) = (at / lanes, at % lanes);
    let bit = turn as u32 * width;
    let (line, shift) = ((bit / word_bits) as usize, bit % word_bits);
    let word = |line: &Line| match word_bits {
        32 => {
            let at = lane * 4;
            u64::from(u32::from_le_bytes([
                line[at],
                line[at + 1],
                line[at + 2],
                line[at + 3],
            ]))
        }
        _ => wide_word(line, lane),
    };
    let mut both = u128::from(word(&lines[line]));
    if shift + width > word_bits {
        both |= u128::from(word(&lines[line + 1])) << word_bits;
    }
    let mask = u64::MAX >> (64 - width);
    Some((both >> shift) as u64 & mask)
}

fn wide_word(line: &Line, lane: usize) -> u64 {
    let (words, _) = line.as_chunks::<8>();
    u64::from_le_bytes(words[lane])
}

fn lines(bytes: &[u8], width: u32) -> Option<&[Line]> {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let whole = width <= 64 && rest.is_empty() && lines.len() == width as usize;
    whole.then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_come_back_all_together_and_one_by_one() {
        for width in 0..=64_u32 {
            let most = u64::MAX.checked_shr(64 - width).unwrap_or(0);
            let mut numbers = [0; BLOCK];
            for (at, number) in numbers.iter_mut().enumerate() {
                *number = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) & most;
            }
            numbers[7] = most;
            let mut bytes = Vec::new();
            pack(&numbers, width, &mut bytes);
            assert_eq!(bytes.len(), packed_bytes(width));
            let mut found = [1; BLOCK];
            unpack(&bytes, width, &mut found).expect("a block");
            assert_eq!(found, numbers, "{width}");
            for at in [0, 1, 31, 32, 500, BLOCK - 1] {
                assert_eq!(unpack_one(&bytes, width, at), Some(numbers[at]), "{width}");
            }
            if width <= NARROW_MAX {
                let mut found = [1; BLOCK];
                unpack_narrow(&bytes, width, &mut found).expect("a block");
                assert!(found.iter().zip(&numbers).all(|(a, b)| u64::from(*a) == *b));
            }
        }
    }

    #[test]
    fn bytes_that_are_not_of_a_block_give_nothing() {
        let mut out = [0; BLOCK];
        assert!(unpack(&[0; 127], 1, &mut out).is_none());
        assert!(unpack(&[0; 256], 1, &mut out).is_none());
        assert!(unpack(&[0; 128 * 65], 65, &mut out).is_none());
        assert!(unpack_one(&[0; 128], 2, 0).is_none());
        assert!(unpack_one(&[0; 128], 1, BLOCK).is_none());
    }
}
