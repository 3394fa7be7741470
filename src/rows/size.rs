//! What rows weigh: logically, as clients are told, and in memory, as budgets count.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

/// Sums the logical bytes of all values, ids included: 8 for numbers and datetimes, 16 for uuids, 1 for
/// booleans, 4, 2 or 1 per vector dimension, 2 and its name for each of a sparse one, the length of text, as UTF-8, and of bytes; nulls weigh nothing.
pub fn logical_bytes(batch: &RecordBatch) -> u64 {
    batch
        .columns()
        .iter()
        .map(|column| range_bytes(column.as_ref(), 0, column.len()))
        .sum()
}

/// Sums the logical bytes of one row. Panics if `row` is out of range.
pub fn row_bytes(batch: &RecordBatch, row: usize) -> u64 {
    batch
        .columns()
        .iter()
        .map(|column| range_bytes(column.as_ref(), row, row + 1))
        .sum()
}

/// Sums the bytes of the buffers a batch holds on to; batches that share buffers each count them whole.
pub fn memory_bytes(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size()
}

fn range_bytes(column: &dyn Array, start: usize, end: usize) -> u64 {
    if let Some(text) = column.as_string_opt::<i32>() {
        return span(text.value_offsets(), start, end).map_or(0, |(from, to)| (to - from) as u64);
    }
    if let Some(bytes) = column.as_binary_opt::<i32>() {
        return span(bytes.value_offsets(), start, end).map_or(0, |(from, to)| (to - from) as u64);
    }
    if let Some(list) = column.as_list_opt::<i32>() {
        return span(list.value_offsets(), start, end).map_or(0, |(from, to)| {
            range_bytes(list.values().as_ref(), from, to)
        });
    }
    if let Some(map) = column.as_map_opt() {
        return span(map.value_offsets(), start, end).map_or(0, |(from, to)| {
            range_bytes(map.keys().as_ref(), from, to)
                + range_bytes(map.values().as_ref(), from, to)
        });
    }
    let width = match column.data_type() {
        DataType::Boolean => 1,
        DataType::Float16 => 2,
        DataType::FixedSizeBinary(width) => u64::try_from(*width).unwrap_or(0),
        DataType::FixedSizeList(item, dims) => {
            let width = item.data_type().primitive_width().unwrap_or(0) as u64;
            u64::try_from(*dims).unwrap_or(0) * width
        }
        _ => 8,
    };
    let nulls = match column.nulls() {
        None => 0,
        Some(nulls) if start == 0 && end == column.len() => nulls.null_count(),
        Some(nulls) => (start..end).filter(|row| nulls.is_null(*row)).count(),
    };
    width * (end - start - nulls) as u64
}

fn span(offsets: &[i32], start: usize, end: usize) -> Option<(usize, usize)> {
    let from = usize::try_from(*offsets.get(start)?).ok()?;
    let to = usize::try_from(*offsets.get(end)?).ok()?;
    (from <= to).then_some((from, to))
}
