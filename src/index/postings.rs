//! Postings: the rows that have a value, ascending, as differences in varints or as the portable bytes of a roaring
//! bitmap, whichever is shorter.

use roaring::RoaringBitmap;

use super::cursor::{Reader, corrupt, put_varint};
use crate::error::{Error, Result};

/// Lists of fewer rows lie in the dictionary.
pub(super) const INLINE_ROWS: usize = 16;
/// Values of a container of a roaring bitmap that is a list at most.
const LIST_MAX: usize = 4_096;
/// Bytes of a container that is a bitmap.
const BITMAP_BYTES: usize = 8_192;
/// First bytes of a roaring bitmap without runs, and with.
const PLAIN: u32 = 12_346;
const WITH_RUNS: u32 = 12_347;
/// From so many containers on, a bitmap with runs has their offsets too.
const OFFSETS_FROM: usize = 4;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListForm {
    Varints,
    Roaring,
}

/// Appends ascending rows as differences.
pub(super) fn put_varints(out: &mut Vec<u8>, rows: &[u32]) {
    let mut last = 0;
    for row in rows {
        put_varint(out, u64::from(row - last));
        last = *row;
    }
}

/// Appends ascending rows in the shorter form, and says which. Errors: `Internal` if they do not ascend.
pub(super) fn put(out: &mut Vec<u8>, rows: &[u32]) -> Result<ListForm> {
    let start = out.len();
    let bitmap = RoaringBitmap::from_sorted_iter(rows.iter().copied());
    let mut bitmap = bitmap
        .map_err(|error| Error::internal("rows of a value do not ascend").with_source(error))?;
    bitmap.optimize();
    put_varints(out, rows);
    if out.len() - start <= bitmap.serialized_size() {
        return Ok(ListForm::Varints);
    }
    out.truncate(start);
    // Writing to memory does not fail.
    let _ = bitmap.serialize_into(&mut *out);
    Ok(ListForm::Roaring)
}

/// A bitmap of rows that is being made.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) words: &'a mut [u64],
    pub(super) n_rows: usize,
}

impl Rows<'_> {
    #[inline]
    fn add(&mut self, row: usize) -> Result<()> {
        match self.words.get_mut(row / 64) {
            Some(word) if row < self.n_rows => {
                *word |= 1 << (row % 64);
                Ok(())
            }
            _ => Err(beyond(self.n_rows, row)),
        }
    }

    /// Adds a run of rows.
    fn add_run(&mut self, first: usize, last: usize) -> Result<()> {
        if last >= self.n_rows || first > last {
            return Err(beyond(self.n_rows, last));
        }
        let words = self.words.get_mut(first / 64..=last / 64);
        let words = words.ok_or_else(|| beyond(self.n_rows, last))?;
        let n_words = words.len();
        for (at, word) in words.iter_mut().enumerate() {
            let mut bits = u64::MAX;
            if at == 0 {
                bits &= u64::MAX << (first % 64);
            }
            if at + 1 == n_words {
                bits &= u64::MAX >> (63 - last % 64);
            }
            *word |= bits;
        }
        Ok(())
    }

    /// Adds the bits of whole words from a row on that is the first of its word.
    fn add_words(&mut self, first: usize, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        let at = first / 64;
        for (at, word) in self.words.iter_mut().enumerate().skip(at) {
            let Some(bits) = rest.next() else {
                return Ok(());
            };
            // The last word has rows up to `n_rows`.
            let legal = match self.n_rows.saturating_sub(at * 64) {
                more if more >= 64 => u64::MAX,
                more => (1 << more) - 1,
            };
            if bits & !legal != 0 {
                return Err(beyond(self.n_rows, at * 64 + 63));
            }
            *word |= bits;
        }
        match rest.all(|bits| bits == 0) {
            true => Ok(()),
            false => Err(beyond(self.n_rows, self.n_rows)),
        }
    }
}

fn beyond(n_rows: usize, row: usize) -> Error {
    corrupt("row of a value", format_args!("below {n_rows}"), row)
}

/// Adds the rows of a list of `count` in varints. Errors: `Corrupted`.
pub(super) fn add_varints(bytes: &[u8], count: u32, rows: &mut Rows<'_>) -> Result<()> {
    each_varint(bytes, count, |row| rows.add(row))
}

/// Hands over the rows of a list of `count` in varints. Errors: `Corrupted`; what `each` gives.
pub(super) fn each_varint(
    bytes: &[u8],
    count: u32,
    mut each: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new("rows of a value", bytes);
    let mut row = 0_u64;
    for at in 0..count {
        let more = reader.varint()?;
        if at > 0 && more == 0 {
            return Err(corrupt("row of a value", "a later one", row));
        }
        row = row.saturating_add(more);
        each(usize::try_from(row).unwrap_or(usize::MAX))?;
    }
    reader.end()
}

/// Adds the rows of a stored list of `count`. Errors: `Corrupted`.
pub(super) fn add(form: ListForm, bytes: &[u8], count: u32, rows: &mut Rows<'_>) -> Result<()> {
    match form {
        ListForm::Varints => add_varints(bytes, count, rows),
        ListForm::Roaring => add_roaring(bytes, count, rows),
    }
}

/// Walks the portable bytes of a roaring bitmap: decoding it into containers first takes many times as long.
fn add_roaring(bytes: &[u8], count: u32, rows: &mut Rows<'_>) -> Result<()> {
    const WHAT: &str = "roaring bitmap of a value";
    let mut reader = Reader::new(WHAT, bytes);
    let cookie = reader.u32()?;
    let (n_containers, runs) = if cookie == PLAIN {
        (reader.u32()? as usize, None)
    } else if cookie & 0xffff == WITH_RUNS {
        let n_containers = (cookie >> 16) as usize + 1;
        (n_containers, Some(reader.bytes(n_containers.div_ceil(8))?))
    } else {
        return Err(corrupt(WHAT, "its first bytes", cookie));
    };
    if n_containers > 1 << 16 {
        return Err(corrupt(WHAT, "at most 65536 containers", n_containers));
    }
    let heads = reader.bytes(4 * n_containers)?;
    if runs.is_none() || n_containers >= OFFSETS_FROM {
        reader.bytes(4 * n_containers)?;
    }
    let u16_at = |pair: &[u8; 2]| usize::from(u16::from_le_bytes(*pair));
    let mut found = 0;
    let mut last = None;
    for (at, head) in heads.as_chunks::<4>().0.iter().enumerate() {
        let [a, b, c, d] = *head;
        let (key, n_rows) = (u16_at(&[a, b]), u16_at(&[c, d]) + 1);
        if last.is_some_and(|last| key <= last) {
            return Err(corrupt(WHAT, "containers in order", key));
        }
        last = Some(key);
        found += n_rows;
        let base = key << 16;
        let is_runs = runs
            .and_then(|runs| runs.get(at / 8))
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if is_runs {
            let pair = reader.bytes(2)?.first_chunk::<2>().map(u16_at);
            for run in reader.bytes(4 * pair.unwrap_or(0))?.as_chunks::<4>().0 {
                let [a, b, c, d] = *run;
                let first = base + u16_at(&[a, b]);
                rows.add_run(first, first + u16_at(&[c, d]))?;
            }
        } else if n_rows > LIST_MAX {
            rows.add_words(base, reader.bytes(BITMAP_BYTES)?)?;
        } else {
            for low in reader.bytes(2 * n_rows)?.as_chunks::<2>().0 {
                rows.add(base + u16_at(low))?;
            }
        }
    }
    if found != count as usize {
        return Err(corrupt("number of rows of a value", count, found));
    }
    reader.end()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;

    fn read(form: ListForm, bytes: &[u8], count: usize, n_rows: usize) -> Result<Vec<u32>> {
        let mut words = vec![0; n_rows.div_ceil(64)];
        let mut rows = Rows {
            words: &mut words,
            n_rows,
        };
        add(form, bytes, count as u32, &mut rows)?;
        let all = (0..n_rows as u32).filter(|row| words[*row as usize / 64] >> (row % 64) & 1 == 1);
        Ok(all.collect())
    }

    /// Lists of each form: scattered, dense, runs, one and all containers.
    fn lists() -> Vec<(Vec<u32>, ListForm)> {
        vec![
            (vec![0], ListForm::Varints),
            ((0..300).map(|at| at * 1_000).collect(), ListForm::Varints),
            ((0..200_000).step_by(3).collect(), ListForm::Roaring),
            ((5_000..199_999).collect(), ListForm::Roaring),
            (
                (0..200_000).filter(|row| row % 500 < 40).collect(),
                ListForm::Roaring,
            ),
            ((0..60_000).collect(), ListForm::Roaring),
        ]
    }

    #[test]
    fn rows_come_back_in_the_shorter_form() {
        for (rows, expected) in lists() {
            let mut bytes = vec![7];
            let form = put(&mut bytes, &rows).expect("ascending");
            assert_eq!(form, expected, "{} rows", rows.len());
            let n_rows = rows[rows.len() - 1] as usize + 1;
            for n_rows in [n_rows, n_rows + 63, 300_000] {
                let found = read(form, &bytes[1..], rows.len(), n_rows).expect("reads");
                assert!(found == rows, "{} rows of {n_rows}", rows.len());
            }
            let error = read(form, &bytes[1..], rows.len(), n_rows - 1);
            assert!(error.is_err(), "{} rows", rows.len());
        }
    }

    #[test]
    fn damaged_rows_are_refused_or_others_but_never_panic() {
        for (rows, _) in lists() {
            let rows = &rows[..rows.len().min(6_000)];
            let mut bytes = Vec::new();
            let form = put(&mut bytes, rows).expect("ascending");
            let step = bytes.len().div_ceil(300);
            for at in (0..bytes.len()).step_by(step) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x81;
                let _ = read(form, &damaged, rows.len(), 300_000);
                assert!(read(form, &bytes[..at], rows.len(), 300_000).is_err());
            }
        }
    }
}
