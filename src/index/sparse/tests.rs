//! Lists beside rows evaluated one by one, and what damage does to them.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use half::f16;

use super::list::{BLOCK_ENTRIES, CHUNK_ENTRIES, Ends, Entries, List, put_block, put_list, widen};
use super::*;
use crate::filter::RowMask;
use crate::index::pages::{Pages, Work};
use crate::index::tests::Seeded;
use crate::rows::sparse::Entry;
use crate::rows::{self, RowsBuilder, SparseColumn};
use crate::types::{AttrId, AttributeType, DocId, IdKind, NamespaceSchema, Value};

const ATTR: AttrId = AttrId(0);
/// Bytes of the file before the index.
const BEFORE: usize = 70_001;

impl Seeded {
    /// A weight that 16-bit floats hold: of any size, or one of a few, so that products tie and cancel.
    fn weight(&mut self) -> f32 {
        if self.below(3) == 0 {
            return [1.0, -1.0, 0.5, 2.0, 0.0, -0.0][self.below(6) as usize];
        }
        let weight = f16::from_bits(self.next() as u16);
        match weight.is_finite() {
            true => weight.to_f32(),
            false => f16::MAX.to_f32(),
        }
    }
}

/// How vectors are made.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    /// Some of so many dimensions, often ones much more often than others.
    Skewed(u64),
    /// One dimension in every row.
    One,
    /// Dimensions that each come in one stretch of the rows.
    Stretches,
    /// Weights above 0, as models of text make them.
    Learned,
    /// Vectors without entries.
    Empty,
}

const SPREADS: [Spread; 5] = [
    Spread::Skewed(60),
    Spread::One,
    Spread::Stretches,
    Spread::Learned,
    Spread::Empty,
];

fn dim(number: u64) -> Arc<str> {
    match number {
        0 => "".into(),
        1 => "\u{e9}\0".into(),
        _ => format!("shared/{number}").into(),
    }
}

fn vector(spread: Spread, row: u64, seeded: &mut Seeded) -> Value {
    if spread != Spread::One && seeded.below(9) == 0 {
        return Value::Null;
    }
    let mut entries: Vec<Entry> = match spread {
        Spread::Empty => Vec::new(),
        Spread::One => vec![(dim(0), seeded.weight())],
        Spread::Stretches => {
            let first = row / 300;
            let dims = (first..first + 4).filter(|_| seeded.below(4) > 0);
            let dims: Vec<u64> = dims.collect();
            let entries = dims.into_iter().map(|at| (dim(at), seeded.weight()));
            entries.collect()
        }
        Spread::Skewed(dims) => (0..seeded.below(12))
            .map(|_| {
                let within = 1 + seeded.below(dims);
                (dim(seeded.below(within)), seeded.weight())
            })
            .collect(),
        Spread::Learned => (0..20)
            .map(|_| {
                let within = 1 + seeded.below(2_000);
                let weight = 1.0 / (1 + seeded.below(50)) as f32;
                let weight = f16::from_f32(weight).to_f32();
                (dim(seeded.below(within)), weight)
            })
            .collect(),
    };
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.dedup_by(|a, b| a.0 == b.0);
    Value::Sparse(entries.into())
}

fn schema() -> NamespaceSchema {
    let mut schema = NamespaceSchema {
        id_kind: Some(IdKind::Uint),
        ..NamespaceSchema::default()
    };
    schema.add("a", AttributeType::Sparse, false).unwrap();
    schema
}

/// Rows, best first, and the bits of their scores.
type Ranked = Vec<(u32, u64)>;

/// Rows of one attribute and the lists over them.
struct Sample {
    chunks: Vec<RecordBatch>,
    whole: RecordBatch,
    file: Bytes,
    sections: Vec<(Section, std::ops::Range<usize>)>,
    index: Arc<SparseIndex>,
}

impl Sample {
    fn new(spread: Spread, n_rows: usize, seed: u64) -> Self {
        let mut seeded = Seeded(seed);
        let values = (0..n_rows as u64).map(|row| vector(spread, row, &mut seeded));
        Self::of(&values.collect::<Vec<_>>())
    }

    fn of(values: &[Value]) -> Self {
        let schema = schema();
        let batch = |values: &[Value], first: u64| {
            let mut builder = RowsBuilder::new(&schema, values.len());
            for (row, value) in (first..).zip(values) {
                let attributes = [(ATTR, value.clone())];
                builder.push_row(DocId::Uint(row), &attributes).unwrap();
            }
            builder.finish().unwrap().1
        };
        // Chunks that do not fall together with blocks.
        let chunks = values.chunks(700).enumerate();
        let chunks: Vec<RecordBatch> = chunks
            .map(|(at, values)| batch(values, at as u64 * 700))
            .collect();
        let mut file = vec![0xaa; BEFORE];
        let draft = build_sparse(&chunks, ATTR, BEFORE as u64).unwrap().unwrap();
        let mut sections = Vec::new();
        for (section, bytes) in &draft.sections {
            let start = file.len();
            file.extend(bytes);
            sections.push((*section, start..file.len()));
        }
        let whole = batch(values, 0);
        Self {
            chunks,
            whole,
            file: file.into(),
            sections,
            index: Arc::new(draft.index),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<SparseIndex> {
        let place = |section: Section| {
            let found = self.sections.iter().find(|(name, _)| *name == section);
            let (_, range) = found.expect("a section that is there");
            Ok(range.start as u64..range.end as u64)
        };
        SparseIndex::decode(self.whole.num_rows() as u32, place, bytes)
    }

    /// The first rows by definition: all are scored, then sorted.
    fn expected(&self, query: &[Entry], rows: &RowMask, k: usize) -> Ranked {
        let column = rows::column(&self.whole, ATTR).unwrap();
        let column = SparseColumn::of(column.as_ref()).unwrap();
        let wanted = rows.iter().filter(|row| !column.is_null(*row));
        let scored = wanted.map(|row| (row as u32, column.dot(row, query)));
        let mut all: Vec<(u32, f64)> = scored.filter(|(_, score)| *score > 0.0).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        let bits = all.into_iter().map(|(row, score)| (row, score.to_bits()));
        bits.collect()
    }

    /// The first rows by the lists in `file`, and the ranges of each round.
    fn search(
        &self,
        query: &[Entry],
        rows: &RowMask,
        k: usize,
        file: &Bytes,
    ) -> Result<(Ranked, Vec<u64>)> {
        let (index, rows) = (Arc::clone(&self.index), Arc::new(rows.clone()));
        let mut top = SparseTop::new(index, query.into(), rows, k);
        let mut pages = Pages::new();
        let mut rounds = Vec::new();
        loop {
            if let Some(found) = top.go_on(&mut pages)? {
                let found = found.iter().map(|one| (one.row, one.score.to_bits()));
                return Ok((found.collect(), rounds));
            }
            let ranges = pages.end_round();
            assert!(!ranges.is_empty(), "waits for nothing");
            rounds.push(ranges.iter().map(|range| range.end - range.start).sum());
            pages.feed(Pages::blocks_for(file, &ranges));
        }
    }

    fn pages(&self) -> Pages {
        Pages::whole(&self.file)
    }
}

/// A query of some dimensions that rows have and some that they do not.
fn query(spread: Spread, n_rows: usize, seeded: &mut Seeded) -> Vec<Entry> {
    let count = 1 + seeded.below(14);
    let dims = match spread {
        Spread::Stretches => n_rows as u64 / 300 + 6,
        Spread::Learned => 2_100,
        _ => 63,
    };
    let signed = seeded.below(3) > 0;
    let mut entries: Vec<Entry> = (0..count)
        .map(|_| {
            let within = 1 + seeded.below(dims);
            let number = seeded.below(within);
            let weight = match seeded.below(8) {
                0 => 0.0,
                1 => 1.0,
                _ => seeded.next() as u32 as f32 / 1e8 - 20.0,
            };
            let weight = if signed { weight } else { weight.abs() };
            (dim(number), weight)
        })
        .collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.dedup_by(|a, b| a.0 == b.0);
    entries
}

#[test]
fn first_rows_and_their_scores_are_those_of_rows_evaluated_one_by_one() {
    for (seed, spread) in (1..).zip(SPREADS) {
        for n_rows in [1, 15, 16, 17, 127, 128, 129, 2_049, 8_193, 20_000] {
            let sample = Sample::new(spread, n_rows, seed);
            prove_sparse(&sample.index, &sample.chunks, ATTR, &sample.pages()).unwrap();
            let again = sample.decode(&sample.index.encode()).unwrap();
            assert_eq!(again, *sample.index);
            let mut seeded = Seeded(seed + 100);
            for (k, one_in) in [
                (0, 1),
                (1, 1),
                (10, 1),
                (10, 3),
                (100, 300),
                (7, 5_000),
                (n_rows, 1),
                (n_rows, 2),
            ] {
                let mut rows = RowMask::from_fn(n_rows, |_| seeded.below(one_in) == 0);
                for _ in 0..4 {
                    let query = query(spread, n_rows, &mut seeded);
                    let expected = sample.expected(&query, &rows, k);
                    let (found, _) = sample.search(&query, &rows, k, &sample.file).unwrap();
                    let what = format!("{spread:?} {n_rows}: {k} of 1 in {one_in}: {query:?}");
                    assert!(found == expected, "{what}\n{found:?}\n{expected:?}");
                    rows.set(expected.first().map_or(0, |first| first.0 as usize), false);
                }
            }
        }
    }
}

#[test]
fn rows_alike_come_in_the_order_of_their_numbers() {
    let one = |weight| Value::Sparse(vec![(dim(7), weight)].into());
    let values: Vec<Value> = (0..9_000).map(|row| one([1.0, 2.0][row % 2])).collect();
    let sample = Sample::of(&values);
    let query = [(dim(7), 3.0)];
    let all = RowMask::all(9_000);
    let (found, _) = sample.search(&query, &all, 5_000, &sample.file).unwrap();
    let rows: Vec<u32> = found.iter().map(|(row, _)| *row).collect();
    let odd = (0..4_500).map(|at| at * 2 + 1);
    let expected: Vec<u32> = odd.chain((0..500).map(|at| at * 2)).collect();
    assert_eq!(rows, expected);
    assert_eq!(f64::from_bits(found[0].1), 6.0);
}

#[test]
fn values_that_no_request_can_bring_make_no_lists() {
    let entries = |entries: &[(u64, f32)]| {
        let entries: Vec<Entry> = entries.iter().map(|(at, w)| (dim(*at), *w)).collect();
        Value::Sparse(entries.into())
    };
    let schema = schema();
    for (value, makes) in [
        (entries(&[(3, 1.0), (4, 2.0)]), true),
        (entries(&[(3, 1.0), (3, 2.0)]), false),
        (entries(&[(3, f32::INFINITY)]), false),
        (entries(&[(3, f32::NAN)]), false),
    ] {
        let mut builder = RowsBuilder::new(&schema, 1);
        let attributes = [(ATTR, value.clone())];
        builder.push_row(DocId::Uint(0), &attributes).unwrap();
        let rows = builder.finish().unwrap().1;
        let made = build_sparse(&[rows], ATTR, 0).unwrap();
        assert_eq!(made.is_some(), makes, "{value:?}");
    }
}

#[test]
fn list_of_any_length_comes_back() {
    let mut seeded = Seeded(9);
    for count in [
        1,
        2,
        BLOCK_ENTRIES - 1,
        BLOCK_ENTRIES,
        BLOCK_ENTRIES + 1,
        CHUNK_ENTRIES - 1,
        CHUNK_ENTRIES,
        CHUNK_ENTRIES + 1,
        3 * CHUNK_ENTRIES,
    ] {
        for step in [1, 2, 1_000, u64::from(u32::MAX - 1) / count as u64] {
            let mut next = 0;
            let rows: Vec<u32> = (0..count)
                .map(|_| {
                    let row = next + seeded.below(step);
                    next = row + 1;
                    row as u32
                })
                .collect();
            let weights: Vec<u16> = rows
                .iter()
                .map(|_| f16::from_f32(seeded.weight()).to_bits())
                .collect();
            let n_rows = rows[count - 1] + 1;
            let mut bytes = Vec::new();
            put_list(&mut bytes, &rows, &weights);
            let read = |n_rows: u32| -> Result<(Vec<u32>, Vec<u16>)> {
                let mut list = List::new(count, 0..bytes.len() as u64);
                let directory = list.directory()?;
                list.open(&bytes[..directory.end as usize], n_rows)?;
                assert_eq!(list.chunks().len(), count.div_ceil(CHUNK_ENTRIES));
                let (mut rows, mut weights) = (Vec::new(), Vec::new());
                let mut entries = Entries::default();
                for at in 0..list.chunks().len() {
                    let range = list.chunk_range(at);
                    let chunk = &bytes[range.start as usize..range.end as usize];
                    for block in list.blocks(at, chunk)? {
                        entries.read_block(&block, chunk)?;
                        rows.extend(entries.rows());
                        weights.extend(entries.weights());
                    }
                }
                Ok((rows, weights))
            };
            assert!(read(n_rows).unwrap() == (rows, weights), "{count} {step}");
            assert!(read(n_rows - 1).is_err(), "{count} {step}");
        }
    }
}

#[test]
fn chunks_of_rows_are_all_that_may_have_them() {
    let count = 3 * CHUNK_ENTRIES;
    let rows: Vec<u32> = (0..count as u32).map(|at| at * 2).collect();
    let mut bytes = Vec::new();
    put_list(&mut bytes, &rows, &vec![0; count]);
    let mut list = List::new(count, 0..bytes.len() as u64);
    let directory = list.directory().unwrap();
    list.open(&bytes[..directory.end as usize], count as u32 * 2)
        .unwrap();
    let end = 2 * CHUNK_ENTRIES as u32;
    for (wanted, expected) in [
        (0..1, 0..1),
        (0..end - 1, 0..1),
        (0..end, 0..2),
        (end - 2..end - 1, 0..1),
        (end - 1..end, 1..2),
        (end..3 * end, 1..3),
        (3 * end - 1..3 * end, 3..3),
    ] {
        assert_eq!(list.chunks_of(&wanted), expected, "{wanted:?}");
    }
}

#[test]
fn weights_widen_to_what_they_are_and_ends_order_them() {
    for bits in 0..=u16::MAX {
        let weight = f16::from_bits(bits);
        if weight.is_finite() {
            assert_eq!(widen(bits).to_bits(), weight.to_f64().to_bits(), "{bits}");
        }
    }
    let bits = |weight| f16::from_f32(weight).to_bits();
    let weights = [0.0, -0.0, 3.0, -2.0, 2.5, -1.0].map(bits);
    let ends = Ends::of(&[0, 1, 2, 3, 4, 5], &weights).unwrap();
    assert_eq!((ends.least, ends.most), (bits(-2.0), bits(3.0)));
    assert_eq!((ends.best(2.0), ends.best(-2.0)), (6.0, 4.0));
    let positive = Ends::of(&[0], &[bits(3.0)]).unwrap();
    assert_eq!((positive.best(2.0), positive.best(-2.0)), (6.0, 0.0));
}

#[test]
fn search_of_long_lists_passes_over_what_cannot_enter() {
    // Dimensions in every row, one of them high in few, so that all lists together are not read at once.
    let n_rows = 400_000_u32;
    let value = |row: u32| {
        let high = if row % 70_000 < 3 { 100.0 } else { 1.0 };
        let low = (3..8).map(|at| (dim(at), 0.5));
        let entries: Vec<Entry> = low.chain([(dim(8), high)]).collect();
        Value::Sparse(entries.into())
    };
    let values: Vec<Value> = (0..n_rows).map(value).collect();
    let sample = Sample::of(&values);
    let all = RowMask::all(n_rows as usize);
    let query: Vec<Entry> = (2..9).map(|at| (dim(at), 1.0)).collect();
    let length = (sample.file.len() - BEFORE) as u64;
    // The dictionary, directories, then chunks: those beyond the first can have equal rows only, or better ones too.
    for (k, n_rounds, most) in [(2, 3, length / 2), (10, 4, length), (9_999, 4, 2 * length)] {
        let (found, rounds) = sample.search(&query, &all, k, &sample.file).unwrap();
        assert!(found == sample.expected(&query, &all, k), "{k}");
        assert_eq!(rounds.len(), n_rounds, "{k}: {rounds:?}");
        assert!(rounds.iter().sum::<u64>() < most, "{k}: {rounds:?}");
    }
    // Few rows are wanted: the chunks that have them.
    let few = RowMask::from_fn(n_rows as usize, |row| row == 70_001 || row == 399_999);
    let (found, rounds) = sample.search(&query, &few, 10, &sample.file).unwrap();
    assert!(found == sample.expected(&query, &few, 10));
    assert_eq!(rounds.len(), 3, "{rounds:?}");
    assert!(rounds.iter().sum::<u64>() < length / 10, "{rounds:?}");
    // One short list: the dictionary and the list.
    let (found, rounds) = sample.search(&query[1..2], &all, 10, &sample.file).unwrap();
    assert!(found == sample.expected(&query[1..2], &all, 10));
    assert_eq!(rounds.len(), 2, "{rounds:?}");
}

#[test]
fn damaged_lists_are_refused_or_do_not_prove_but_never_panic() {
    for (seed, spread) in (40..).zip([Spread::Skewed(300), Spread::One]) {
        let sample = Sample::new(spread, 9_000, seed);
        let mut seeded = Seeded(seed);
        let queries: Vec<Vec<Entry>> = (0..3).map(|_| query(spread, 9_000, &mut seeded)).collect();
        let all = RowMask::all(9_000);
        let directory = sample.index.encode();
        for at in 0..directory.len() {
            assert!(sample.decode(&directory[..at]).is_err(), "{at}");
            let mut damaged = directory.clone();
            damaged[at] ^= 1 << (at % 8);
            let Ok(index) = sample.decode(&damaged) else {
                continue;
            };
            let proof = prove_sparse(&index, &sample.chunks, ATTR, &sample.pages());
            // Another text between the same values separates them as well.
            let same = index.encode().len() == directory.len();
            assert!(proof.is_err() || same, "directory {at}");
        }
        let (start, end) = (BEFORE, sample.file.len());
        for at in (start..end).step_by((end - start).div_ceil(400)) {
            let mut damaged = sample.file.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let damaged: Bytes = damaged.into();
            let pages = Pages::whole(&damaged);
            let proof = prove_sparse(&sample.index, &sample.chunks, ATTR, &pages);
            assert!(proof.is_err(), "{spread:?}: byte {at}");
            for query in &queries {
                // What it answers is wrong, or an error: checksums keep such bytes away. It must not panic.
                let _ = sample.search(query, &all, 10, &damaged);
            }
        }
    }
}

#[test]
fn block_with_a_wrong_width_count_or_spare_bit_is_refused() {
    let mut bytes = Vec::new();
    put_block(&mut bytes, Some(9), &[10, 14, 20], &[1, 2, 3]);
    let mut entries = Entries::default();
    let legal = (Some(9), 21);
    entries.read(&bytes, 3, legal).unwrap();
    assert_eq!(
        (entries.rows(), entries.weights()),
        (&[10, 14, 20][..], &[1, 2, 3][..])
    );
    for (at, byte) in [(0, 33), (0, 2), (2, 0x80)] {
        let mut damaged = bytes.clone();
        damaged[at] = byte;
        assert!(entries.read(&damaged, 3, legal).is_err(), "{at}");
    }
    assert!(entries.read(&bytes, 2, legal).is_err());
    assert!(entries.read(&bytes, 3, (Some(9), 20)).is_err());
    assert!(entries.read(&bytes, 3, (Some(u32::MAX), u32::MAX)).is_err());
    assert!(entries.read(&[], 3, legal).is_err());
}

#[test]
fn lists_of_other_rows_do_not_prove() {
    let sample = Sample::new(Spread::Skewed(40), 900, 4);
    let other = Sample::new(Spread::Skewed(40), 900, 5);
    let pages = sample.pages();
    assert!(prove_sparse(&sample.index, &other.chunks, ATTR, &pages).is_err());
    assert!(prove_sparse(&sample.index, &sample.chunks[..1], ATTR, &pages).is_err());
    // One weight is another; then it moves to the next row.
    let one = |weight| Value::Sparse(vec![(dim(3), weight)].into());
    let lists = Sample::of(&[one(1.0), one(2.0), Value::Null]);
    for values in [
        [one(1.0), one(2.5), Value::Null],
        [one(1.0), Value::Null, one(2.0)],
        [one(2.0), one(1.0), Value::Null],
    ] {
        let other = Sample::of(&values);
        assert!(prove_sparse(&lists.index, &other.chunks, ATTR, &lists.pages()).is_err());
    }
}
