//! Reading columns without IO: says which bytes it needs, is fed, gives batches.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};

use super::footer::Footer;
use super::parquet::with_field;
use crate::error::{Error, Result};
use crate::types::AttrId;

/// The name of the first column of a read without ids: the number of the row in the segment, UInt32.
pub const ROW_COLUMN: &str = "$row";

/// What a read needs next, or has.
#[derive(Debug)]
pub enum ColumnStep {
    /// Fetch these ranges of the Parquet file and `feed` them.
    Need(Vec<Range<u64>>),
    /// Rows in the layout of `rows`, in the order of their numbers.
    Batch(RecordBatch),
    /// There is no more.
    Done,
}

/// A read of some columns of some rows of a segment.
///
/// Whoever drives it checks the bytes against the footer's sums before they are fed.
#[derive(Debug)]
pub struct ColumnRead {
    key: Arc<str>,
    /// `None` where no column of the file is read.
    decoder: Option<ParquetPushDecoder>,
    schema: SchemaRef,
    with_id: bool,
    rows: Rows,
    batch_rows: usize,
}

/// The numbers of the rows that are still to come.
#[derive(Debug)]
enum Rows {
    All(Range<u32>),
    Some { rows: Arc<[u32]>, next: usize },
}

impl ColumnRead {
    /// Prepares to read the attributes of `rows`, ascending, or of all rows.
    ///
    /// With `with_id` the first column is `id`, as everywhere; without, it is `ROW_COLUMN`, so that
    /// `rows::column` finds attributes at the usual places. An attribute that the segment does not have is
    /// left out, which reads as null. Errors: `Internal` if the rows are not ascending or out of range.
    pub fn new(
        footer: &Footer,
        attrs: &[AttrId],
        with_id: bool,
        rows: Option<&[u32]>,
    ) -> Result<Self> {
        let n_rows = footer.rows();
        let rows = match rows {
            None => Rows::All(0..n_rows),
            Some(rows) => {
                let in_order = rows.iter().zip(rows.iter().skip(1)).all(|(a, b)| a < b);
                let last = rows.last().copied();
                if !in_order || last.is_some_and(|last| last >= n_rows) {
                    return Err(Error::internal(format!(
                        "rows of segment `{}`: expected ascending numbers below {n_rows}, found others up to {last:?}",
                        footer.key()
                    )));
                }
                Rows::Some {
                    rows: rows.into(),
                    next: 0,
                }
            }
        };
        let wanted: BTreeSet<AttrId> = attrs.iter().copied().collect();
        let mut roots = Vec::new();
        let mut fields: Vec<FieldRef> = Vec::new();
        if with_id {
            roots.push(0);
            fields.push(Arc::clone(footer.id_field()));
        } else {
            fields.push(Arc::new(Field::new(ROW_COLUMN, DataType::UInt32, false)));
        }
        for column in footer
            .columns()
            .iter()
            .filter(|column| wanted.contains(&column.attr))
        {
            roots.push(column.root);
            fields.push(Arc::clone(&column.field));
        }
        let batch_rows = footer.batch_rows();
        let decoder = (!roots.is_empty())
            .then(|| decoder(footer, roots, &rows, batch_rows))
            .transpose()?;
        Ok(Self {
            key: Arc::clone(footer.key()),
            decoder,
            schema: Arc::new(Schema::new(fields)),
            with_id,
            rows,
            batch_rows,
        })
    }

    /// Goes on as far as the bytes fed so far allow. Errors: `Corrupted` if they do not decode.
    pub fn step(&mut self) -> Result<ColumnStep> {
        let Some(decoder) = &mut self.decoder else {
            let rows = self.rows.take(self.batch_rows);
            if rows.is_empty() {
                return Ok(ColumnStep::Done);
            }
            return self.batch(&[], rows).map(ColumnStep::Batch);
        };
        match decoder
            .try_decode()
            .map_err(|error| undecoded(&self.key, error))?
        {
            DecodeResult::NeedsData(ranges) => Ok(ColumnStep::Need(ranges)),
            DecodeResult::Data(batch) => {
                let rows = self.rows.take(batch.num_rows());
                self.batch(batch.columns(), rows).map(ColumnStep::Batch)
            }
            DecodeResult::Finished => match self.rows.left() {
                0 => Ok(ColumnStep::Done),
                left => Err(Error::corrupted(format!(
                    "object `{}` is damaged: it ends {left} rows early",
                    self.key
                ))),
            },
        }
    }

    /// Takes the bytes of ranges that `step` asked for. Errors: `Internal` if lengths differ.
    pub fn feed(&mut self, ranges: Vec<Range<u64>>, bytes: Vec<Bytes>) -> Result<()> {
        let fits = ranges.len() == bytes.len()
            && ranges.iter().zip(&bytes).all(|(range, bytes)| {
                range.end.checked_sub(range.start) == Some(bytes.len() as u64)
            });
        if !fits {
            return Err(Error::internal(format!(
                "bytes of `{}` do not fit the ranges they were read for",
                self.key
            )));
        }
        match &mut self.decoder {
            Some(decoder) => decoder
                .push_ranges(ranges, bytes)
                .map_err(|error| undecoded(&self.key, error)),
            None => Ok(()),
        }
    }

    fn batch(&self, columns: &[ArrayRef], rows: Vec<u32>) -> Result<RecordBatch> {
        let count = rows.len();
        let numbers: Option<ArrayRef> =
            (!self.with_id).then(|| Arc::new(UInt32Array::from(rows)) as ArrayRef);
        let columns = numbers.iter().chain(columns).zip(self.schema.fields());
        let columns = columns
            .map(|(column, field)| with_field(column, field))
            .collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(
            |error| {
                Error::corrupted(format!("object `{}` is damaged: rows do not fit", self.key))
                    .with_source(error)
            },
        )
    }
}

impl Rows {
    fn left(&self) -> usize {
        match self {
            Self::All(range) => range.len(),
            Self::Some { rows, next } => rows.len().saturating_sub(*next),
        }
    }

    /// The numbers of the next `count` rows, fewer at the end.
    fn take(&mut self, count: usize) -> Vec<u32> {
        match self {
            Self::All(range) => range.by_ref().take(count).collect(),
            Self::Some { rows, next } => {
                let taken: Vec<u32> = rows.iter().skip(*next).take(count).copied().collect();
                *next += taken.len();
                taken
            }
        }
    }
}

fn decoder(
    footer: &Footer,
    roots: Vec<usize>,
    rows: &Rows,
    batch_rows: usize,
) -> Result<ParquetPushDecoder> {
    let metadata = footer.parquet().clone();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    let mut builder = ParquetPushDecoderBuilder::new_with_metadata(metadata)
        .with_projection(mask)
        .with_batch_size(batch_rows);
    if let Rows::Some { rows, .. } = rows {
        builder = builder.with_row_selection(selection(rows, footer.rows()));
    }
    builder
        .build()
        .map_err(|error| undecoded(footer.key(), error))
}

/// Runs of wanted and unwanted rows.
fn selection(rows: &[u32], n_rows: u32) -> RowSelection {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for row in rows {
        if *row > next || selectors.is_empty() {
            if *row > next {
                selectors.push(RowSelector::skip((row - next) as usize));
            }
            selectors.push(RowSelector::select(1));
        } else if let Some(last) = selectors.last_mut() {
            last.row_count += 1;
        }
        next = row + 1;
    }
    if next < n_rows {
        selectors.push(RowSelector::skip((n_rows - next) as usize));
    }
    RowSelection::from(selectors)
}

fn undecoded(key: &str, error: parquet::errors::ParquetError) -> Error {
    Error::corrupted(format!(
        "object `{key}` is damaged: its columns do not decode"
    ))
    .with_detail("object", key)
    .with_source(error)
}

/// Drives a read whose whole file is in memory; for seals and tests.
///
/// Errors: like `step`; `Corrupted` if the file is too short for a range.
pub fn read_all(read: &mut ColumnRead, file: &Bytes) -> Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    loop {
        match read.step()? {
            ColumnStep::Done => return Ok(batches),
            ColumnStep::Batch(batch) => batches.push(batch),
            ColumnStep::Need(ranges) => {
                let bytes = ranges.iter().map(|range| {
                    let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
                    let (start, end) = (start.unwrap_or(usize::MAX), end.unwrap_or(usize::MAX));
                    if start > end || end > file.len() {
                        return Err(Error::corrupted(format!(
                            "object `{}` is damaged: expected {end} bytes or more, found {}",
                            read.key,
                            file.len()
                        )));
                    }
                    Ok(file.slice(start..end))
                });
                let bytes = bytes.collect::<Result<Vec<_>>>()?;
                read.feed(ranges, bytes)?;
            }
        }
    }
}
