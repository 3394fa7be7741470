//! Lists of numbers, most of which are vectors: read from their text in one pass.

/// Integers of more digits may have no exact f64.
const EXACT_DIGITS_MAX: usize = 15;

/// How many numbers a list holds if it begins with one; `None` for anything else. `text` is one JSON value.
pub(super) fn count(text: &str) -> Option<usize> {
    let list = text.strip_prefix('[')?.trim_ascii_start();
    if !matches!(list.as_bytes().first()?, b'-' | b'0'..=b'9') {
        return None;
    }
    Some(1 + list.bytes().filter(|byte| *byte == b',').count())
}

/// Reads a list that [`count`] has counted: its numbers, and whether all were written as integers.
///
/// `None` where a value is no number, is out of range, or is an integer that f64 may not hold: whoever reads
/// value by value can tell what it is.
pub(super) fn read(text: &str, n_numbers: usize) -> Option<(Vec<f64>, bool)> {
    let mut rest = text.strip_prefix('[')?.as_bytes();
    let mut numbers = Vec::with_capacity(n_numbers);
    let mut integers = true;
    loop {
        rest = rest.trim_ascii_start();
        // JSON knows no `inf` and no `nan`, the reader does.
        if !matches!(rest.first()?, b'-' | b'0'..=b'9') {
            return None;
        }
        let (number, len) = fast_float2::parse_partial::<f64, _>(rest).ok()?;
        let (written, after) = rest.split_at_checked(len)?;
        if integers || len > EXACT_DIGITS_MAX {
            let integer = is_integer(written);
            if integer && len > EXACT_DIGITS_MAX {
                return None;
            }
            integers &= integer;
        }
        if !number.is_finite() {
            return None;
        }
        numbers.push(number);
        rest = after.trim_ascii_start();
        match rest.split_first()? {
            (b',', after) => rest = after,
            (b']', _) => return Some((numbers, integers)),
            _ => return None,
        }
    }
}

/// Whether a number has neither fraction nor exponent; `-0` is a float, for integers have no such value.
fn is_integer(written: &[u8]) -> bool {
    written != b"-0"
        && !written
            .iter()
            .any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}
