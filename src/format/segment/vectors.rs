//! Where the vectors of a column lie: pages whose last bytes are the values, row after row.
//!
//! A row without a vector takes no bytes, so a row is found by how many before it have one.
//! Format: `docs/format/segment.md`.

use std::ops::Range;

use crate::error::Result;
use crate::format::frame::{Cursor, corrupt};
use crate::types::{AttrId, VectorElement, limits};

/// Bytes of a vector's checksum in the index file.
const CHECK_BYTES: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) first_row: u32,
    /// Vectors before this page.
    pub(super) first_value: u32,
    /// Offset in the Parquet file of the first value.
    pub(super) values_at: u64,
}

/// One page of vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorPage {
    /// Its rows.
    pub rows: Range<u32>,
    /// Its vectors, by number: those of rows without a vector are left out.
    pub values: Range<u32>,
    /// Its values in the Parquet file: `values.len() * dims` numbers of the column's width, little-endian.
    pub bytes: Range<u64>,
}

/// All pages of one vector attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorPages {
    attr: AttrId,
    dims: u32,
    element: VectorElement,
    rows: u32,
    values: u32,
    pages: Vec<Page>,
    /// One bit a row, set where there is a vector; `None` where all rows have one.
    present: Option<Vec<u64>>,
    /// The section of the index file with a CRC-32C for each vector.
    checks: Range<u64>,
}

impl VectorPages {
    pub(super) fn new(
        attr: AttrId,
        (dims, element): (u32, VectorElement),
        rows: u32,
        pages: Vec<Page>,
        present: Option<Vec<u64>>,
        checks: Range<u64>,
    ) -> Self {
        let values = present.as_ref().map_or(rows, |words| ones(words, 0, rows));
        Self {
            attr,
            dims,
            element,
            rows,
            values,
            pages,
            present,
            checks,
        }
    }

    /// The attribute.
    pub fn attr(&self) -> AttrId {
        self.attr
    }

    /// Dimensions of a vector.
    pub fn dims(&self) -> u32 {
        self.dims
    }

    /// The width of its numbers.
    pub fn element(&self) -> VectorElement {
        self.element
    }

    /// Rows that have a vector.
    pub fn values(&self) -> u32 {
        self.values
    }

    /// Bytes of one vector.
    pub fn vector_bytes(&self) -> u64 {
        u64::from(self.dims) * self.element.bytes() as u64
    }

    /// Gives the number of a row's vector; `None` if the row has none, or there is no such row.
    pub fn value_of(&self, row: u32) -> Option<u32> {
        let (page, _) = self.page_of(row)?;
        let Some(words) = &self.present else {
            return Some(row);
        };
        let present = ones(words, row, row + 1) == 1;
        present.then(|| page.first_value + ones(words, page.first_row, row))
    }

    /// Gives the bytes of a row's vector in the Parquet file; `None` like `value_of`.
    pub fn range_of(&self, row: u32) -> Option<Range<u64>> {
        let value = self.value_of(row)?;
        let (page, _) = self.page_of(row)?;
        let before = u64::from(value - page.first_value);
        let start = page.values_at + before * self.vector_bytes();
        Some(start..start + self.vector_bytes())
    }

    /// Gives the bytes of these rows' vectors in the Parquet file, in the order of the rows, those that
    /// follow one another joined. Rows without a vector add nothing.
    pub fn ranges(&self, rows: &[u32]) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in rows.iter().filter_map(|row| self.range_of(*row)) {
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// Lists the pages in the order of rows.
    pub fn pages(&self) -> impl Iterator<Item = VectorPage> {
        (0..self.pages.len()).filter_map(|at| self.page(at))
    }

    /// Gives where the checksums of these vectors (by number) lie in the index file, four bytes each.
    pub fn check_range(&self, values: Range<u32>) -> Range<u64> {
        let at = |value: u32| self.checks.start + u64::from(value) * CHECK_BYTES;
        at(values.start)..at(values.end)
    }

    /// Checks a vector's bytes against its checksum's bytes. Errors: `Corrupted` naming `key` and row.
    pub fn verify(&self, key: &str, row: u32, vector: &[u8], check: &[u8]) -> Result<()> {
        let found = crc32c::crc32c(vector);
        if found.to_le_bytes() == check && vector.len() as u64 == self.vector_bytes() {
            return Ok(());
        }
        let what = format!("crc32c of the vector of row {row}");
        let expected = check.iter().rev();
        let expected: String = expected.map(|byte| format!("{byte:02x}")).collect();
        Err(corrupt(key, &what, expected, format_args!("{found:08x}")))
    }

    fn page(&self, at: usize) -> Option<VectorPage> {
        let page = self.pages.get(at)?;
        let (end_row, end_value) = self
            .pages
            .get(at + 1)
            .map_or((self.rows, self.values), |next| {
                (next.first_row, next.first_value)
            });
        let bytes = u64::from(end_value - page.first_value) * self.vector_bytes();
        Some(VectorPage {
            rows: page.first_row..end_row,
            values: page.first_value..end_value,
            bytes: page.values_at..page.values_at + bytes,
        })
    }

    fn page_of(&self, row: u32) -> Option<(Page, usize)> {
        if row >= self.rows {
            return None;
        }
        let at = self
            .pages
            .partition_point(|page| page.first_row <= row)
            .checked_sub(1)?;
        Some((*self.pages.get(at)?, at))
    }

    pub(super) fn checks(&self) -> &Range<u64> {
        &self.checks
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.pages.len() * size_of::<Page>()
            + self.present.as_ref().map_or(0, |words| words.len() * 8)
    }

    pub(super) fn encode_pages(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.pages.len() * 16);
        for page in &self.pages {
            out.extend_from_slice(&page.first_row.to_le_bytes());
            out.extend_from_slice(&page.first_value.to_le_bytes());
            out.extend_from_slice(&page.values_at.to_le_bytes());
        }
        out
    }

    pub(super) fn encode_present(&self) -> Option<Vec<u8>> {
        let words = self.present.as_ref()?;
        Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// Decodes the parts of a footer. `parquet_bytes` is the length of the Parquet file.
    pub(super) fn decode(
        key: &str,
        (attr, shape, rows): (AttrId, (u32, VectorElement), u32),
        pages: &[u8],
        present: Option<&[u8]>,
        checks: Range<u64>,
        parquet_bytes: u64,
    ) -> Result<Self> {
        let present = present
            .map(|part| decode_present(key, rows, part))
            .transpose()?;
        let mut cursor = Cursor::new(key, pages);
        let mut decoded = Vec::with_capacity(pages.len() / 16);
        while !cursor.is_empty() {
            decoded.push(Page {
                first_row: cursor.u32()?,
                first_value: cursor.u32()?,
                values_at: cursor.u64()?,
            });
        }
        let found = Self::new(attr, shape, rows, decoded, present, checks);
        found.check(key, parquet_bytes)?;
        Ok(found)
    }

    fn check(&self, key: &str, parquet_bytes: u64) -> Result<()> {
        let broken =
            |what: &str, expected: &dyn std::fmt::Display, found: &dyn std::fmt::Display| {
                corrupt(
                    key,
                    &format!("{what} of attribute {}", self.attr.0),
                    expected,
                    found,
                )
            };
        let dims_max = limits::VECTOR_DIMS_MAX as u32;
        if !(1..=dims_max).contains(&self.dims) {
            return Err(broken(
                "dimensions",
                &format!("1 to {dims_max}"),
                &self.dims,
            ));
        }
        let check_bytes = self.checks.end.saturating_sub(self.checks.start);
        let expected = u64::from(self.values) * CHECK_BYTES;
        if check_bytes != expected {
            return Err(broken("bytes of checksums", &expected, &check_bytes));
        }
        let (mut row, mut value, mut end) = (0, 0, 0);
        for (at, page) in self.pages.iter().enumerate() {
            let next = self.pages.get(at + 1);
            let next_row = next.map_or(self.rows, |next| next.first_row);
            let in_order = page.first_row == row && next_row > row && next_row <= self.rows;
            if !in_order || page.first_value != value || page.values_at < end {
                return Err(broken(
                    "pages",
                    &"rows, vectors and offsets in order",
                    &format!("page {at}"),
                ));
            }
            value += match &self.present {
                Some(words) => ones(words, row, next_row),
                None => next_row - row,
            };
            row = next_row;
            let bytes = u64::from(value - page.first_value) * self.vector_bytes();
            end = page.values_at.saturating_add(bytes);
        }
        if row != self.rows || end > parquet_bytes {
            return Err(broken("end of the pages", &parquet_bytes, &end));
        }
        Ok(())
    }
}

fn decode_present(key: &str, rows: u32, part: &[u8]) -> Result<Vec<u64>> {
    let words = u64::from(rows).div_ceil(64);
    if part.len() as u64 != words * 8 {
        let expected = format!("{words} words");
        return Err(corrupt(key, "bitmap of vectors", expected, part.len()));
    }
    let mut cursor = Cursor::new(key, part);
    let words = (0..words)
        .map(|_| cursor.u64())
        .collect::<Result<Vec<_>>>()?;
    let beyond = words.last().map_or(0, |last| *last & !mask_below(rows));
    if beyond != 0 {
        return Err(corrupt(
            key,
            "bitmap of vectors",
            "no bit past the last row",
            beyond,
        ));
    }
    Ok(words)
}

/// The bits of the word of row `end - 1` that lie below `end`.
fn mask_below(end: u32) -> u64 {
    match end % 64 {
        0 => u64::MAX,
        bits => (1 << bits) - 1,
    }
}

/// Counts the bits set from row `from` to before row `to`.
fn ones(words: &[u64], from: u32, to: u32) -> u32 {
    if from >= to {
        return 0;
    }
    let (first, last) = ((from / 64) as usize, ((to - 1) / 64) as usize);
    let mut count = 0;
    for (at, word) in words.iter().enumerate().take(last + 1).skip(first) {
        let mut word = *word;
        if at == first {
            word &= u64::MAX << (from % 64);
        }
        if at == last {
            word &= mask_below(to);
        }
        count += word.count_ones();
    }
    count
}
