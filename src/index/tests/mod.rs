//! Indexes beside rows evaluated one by one, and what damage does to them.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

mod damage;
mod selecting;
mod top;

use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::error::ErrorKind;
use crate::filter::pattern::Syntax;
use crate::filter::{self, BoundFilter, Comparison, Members, Pattern, RowMask, Target};
use crate::rows::RowsBuilder;
use crate::types::{
    AttrId, AttributeType, Bound, DocId, IdKind, NamespaceSchema, ScalarType, Stats, Timestamp,
    Value,
};

const ATTR: AttrId = AttrId(0);

/// A small generator of numbers (splitmix64).
pub(in crate::index) struct Seeded(pub(in crate::index) u64);

impl Seeded {
    pub(in crate::index) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(in crate::index) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How the values of an attribute are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    /// So many, at random.
    Few(u64),
    /// Anything the type has, ends included.
    Wild,
    /// Rising with the row.
    Rising,
    /// None at all.
    Nothing,
}

const SPREADS: [Spread; 6] = [
    Spread::Few(1),
    Spread::Few(7),
    Spread::Few(3_000),
    Spread::Wild,
    Spread::Rising,
    Spread::Nothing,
];

fn scalar(kind: ScalarType, spread: Spread, row: u64, seeded: &mut Seeded) -> Value {
    let number = match spread {
        Spread::Few(values) => seeded.below(values),
        Spread::Rising => row / 3,
        Spread::Wild | Spread::Nothing => seeded.next() >> seeded.below(64),
    };
    let wild = spread == Spread::Wild;
    match kind {
        ScalarType::Bool => Value::Bool(number % 2 == 1),
        ScalarType::Uint if wild && number.is_multiple_of(5) => Value::Uint(u64::MAX),
        ScalarType::Uint => Value::Uint(number),
        ScalarType::Int if wild && number.is_multiple_of(5) => Value::Int(i64::MIN),
        ScalarType::Int if wild && number.is_multiple_of(7) => Value::Int(i64::MAX),
        ScalarType::Int => Value::Int(number.cast_signed().wrapping_sub(3)),
        ScalarType::Datetime => Value::Datetime(Timestamp((number >> 8).cast_signed() - 1_000)),
        ScalarType::Float if number.is_multiple_of(4) => Value::Float(-0.0),
        ScalarType::Float if number % 4 == 1 => Value::Float(0.0),
        ScalarType::Float => Value::Float(number as f64 / 8.0 - 100.0),
        ScalarType::Uuid => Value::Uuid(Uuid::from_u128(u128::from(number) << 60)),
        ScalarType::String => {
            let long = if wild && row % 500 == 7 { 20_000 } else { 0 };
            let text = match number % 11 {
                0 => String::new(),
                1 => format!("\u{e9}{number}\0"),
                _ => format!("https://example.com/shared/{number:05}{}", "x".repeat(long)),
            };
            Value::String(text.into())
        }
    }
}

fn value(kind: AttributeType, spread: Spread, row: u64, seeded: &mut Seeded) -> Value {
    if spread == Spread::Nothing || (spread != Spread::Few(1) && seeded.below(5) == 0) {
        return Value::Null;
    }
    match kind {
        AttributeType::Scalar(kind) => scalar(kind, spread, row, seeded),
        AttributeType::Array(kind) => {
            let count = seeded.below(4);
            let elements = (0..count).map(|_| scalar(kind, spread, row, seeded));
            Value::Array(elements.collect())
        }
        _ => Value::Null,
    }
}

/// Rows of one attribute and its index over them.
struct Sample {
    kind: AttributeType,
    chunks: Vec<RecordBatch>,
    whole: RecordBatch,
    values: Vec<Value>,
    file: Bytes,
    sections: Vec<(Section, std::ops::Range<usize>)>,
    index: Arc<AttributeIndex>,
}

/// Bytes of the file before the index.
const BEFORE: usize = 70_001;

impl Sample {
    fn new(kind: AttributeType, spread: Spread, n_rows: usize, seed: u64) -> Self {
        let mut seeded = Seeded(seed);
        let values = (0..n_rows as u64).map(|row| value(kind, spread, row, &mut seeded));
        Self::of(kind, values.collect())
    }

    fn of(kind: AttributeType, values: Vec<Value>) -> Self {
        Self::of_at(kind, values, vec![0xaa; BEFORE])
    }

    /// An index behind what is in a file already.
    fn of_at(kind: AttributeType, values: Vec<Value>, mut file: Vec<u8>) -> Self {
        let mut schema = NamespaceSchema {
            id_kind: Some(IdKind::Uint),
            ..NamespaceSchema::default()
        };
        schema.add("a", kind, true).unwrap();
        let batch = |values: &[Value], first: u64| {
            let mut builder = RowsBuilder::new(&schema, values.len());
            for (row, value) in (first..).zip(values) {
                builder
                    .push_row(DocId::Uint(row), &[(ATTR, value.clone())])
                    .unwrap();
            }
            builder.finish().unwrap().1
        };
        // Chunks that do not fall together with blocks.
        let chunks: Vec<RecordBatch> = values
            .chunks(700)
            .enumerate()
            .map(|(at, values)| batch(values, at as u64 * 700))
            .collect();
        let draft = build(&chunks, ATTR, kind, file.len() as u64)
            .unwrap()
            .unwrap();
        let mut sections = Vec::new();
        for (section, bytes) in &draft.sections {
            let start = file.len();
            file.extend(bytes);
            sections.push((*section, start..file.len()));
        }
        Self {
            kind,
            whole: batch(&values, 0),
            chunks,
            values,
            file: file.into(),
            sections,
            index: Arc::new(draft.index),
        }
    }

    fn place(&self, section: Section) -> crate::error::Result<std::ops::Range<u64>> {
        let found = self.sections.iter().find(|(name, _)| *name == section);
        let (_, range) = found.expect("a section that is there");
        Ok(range.start as u64..range.end as u64)
    }

    fn decode(&self, bytes: &[u8]) -> crate::error::Result<AttributeIndex> {
        let n_rows = self.values.len() as u32;
        let missing = self.values.iter().filter(|value| **value == Value::Null);
        let counts = (n_rows, missing.count() as u64);
        AttributeIndex::decode(self.kind, counts, |section| self.place(section), bytes)
    }

    /// Answers a filter from the index in `file`; the rows and how many rounds it took.
    fn select(&self, filter: &BoundFilter, file: &Bytes) -> crate::error::Result<(RowMask, usize)> {
        let lookup = |attr| match attr == ATTR {
            true => Indexed::By(Arc::clone(&self.index)),
            false => Indexed::Absent,
        };
        let stats = nothing_known();
        let mut selection = Selection::new(filter, self.values.len(), &stats, &lookup, &[]);
        let mut pages = Pages::new();
        let mut rounds = 0;
        loop {
            if let Some(rows) = selection.go_on(&mut pages)? {
                return Ok((rows, rounds));
            }
            let ranges = pages.end_round();
            assert!(!ranges.is_empty(), "waits for nothing");
            pages.feed(Pages::blocks_for(file, &ranges));
            rounds += 1;
        }
    }

    /// A filter of one leaf of every kind there is, with operands that some rows have and some do not.
    fn leaves(&self, seeded: &mut Seeded) -> Vec<BoundFilter> {
        let (AttributeType::Scalar(kind) | AttributeType::Array(kind)) = self.kind else {
            return Vec::new();
        };
        let mut elements: Vec<Value> = Vec::new();
        for _ in 0..6 {
            match &self.values[seeded.below(self.values.len() as u64) as usize] {
                Value::Array(all) => elements.extend(all.first().cloned()),
                Value::Null => {}
                value => elements.push(value.clone()),
            }
        }
        elements.push(scalar(kind, Spread::Wild, 0, seeded));
        elements.push(scalar(kind, Spread::Few(9_000), 0, seeded));
        let mut leaves = vec![BoundFilter::Missing(ATTR)];
        let target = Target::Attribute(ATTR);
        let comparisons = [
            Comparison::Eq,
            Comparison::Lt,
            Comparison::Lte,
            Comparison::Gt,
            Comparison::Gte,
        ];
        for operand in &elements {
            leaves.extend(comparisons.map(|comparison| match self.kind {
                AttributeType::Array(_) => BoundFilter::AnyElement {
                    attr: ATTR,
                    comparison,
                    operand: operand.clone(),
                },
                _ => BoundFilter::Compare {
                    target,
                    comparison,
                    operand: operand.clone(),
                },
            }));
        }
        for count in [1, 3, elements.len()] {
            let members = Members::of(&elements[..count.min(elements.len())]).unwrap();
            leaves.push(BoundFilter::In { target, members });
        }
        if kind == ScalarType::String {
            let glob = Syntax::Glob { fold_case: false };
            let folded = Syntax::Glob { fold_case: true };
            for (text, syntax) in [
                ("https://example.com/shared/0*", glob),
                ("*1*", glob),
                ("HTTPS*", folded),
                ("\u{e9}*", glob),
                ("zzz*", glob),
                ("*", glob),
                ("7$", Syntax::Regex),
            ] {
                let pattern = Arc::new(Pattern::compile(text, syntax).unwrap());
                leaves.push(BoundFilter::Matches { target, pattern });
            }
        }
        leaves
    }

    fn pages(&self) -> Pages {
        Pages::whole(&self.file)
    }
}

fn nothing_known() -> Stats {
    Stats {
        id_min: Bound::Uint(0),
        id_max: Bound::Uint(u64::MAX),
        attributes: Vec::new(),
    }
}

fn kinds() -> Vec<AttributeType> {
    let scalars = ScalarType::ALL.into_iter().map(AttributeType::Scalar);
    scalars
        .chain(ScalarType::ALL.into_iter().map(AttributeType::Array))
        .collect()
}

/// Answers work from a file; what it found, and how many rounds it took.
fn run<W: Work>(mut work: W, file: &Bytes) -> (W::Found, usize) {
    let mut pages = Pages::new();
    for rounds in 0.. {
        if let Some(found) = work.go_on(&mut pages).unwrap() {
            return (found, rounds);
        }
        let ranges = pages.end_round();
        assert!(!ranges.is_empty(), "waits for nothing");
        pages.feed(Pages::blocks_for(file, &ranges));
    }
    unreachable!("rounds have no end");
}

fn by_lookup<'a>(lookup: Lookup<'a>) -> Sources<'a> {
    Sources {
        lookup,
        is_known: &|_| false,
    }
}
