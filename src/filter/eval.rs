//! Evaluates a bound filter over the rows of a batch: one typed loop per leaf, one bitmap per node.

use std::cmp::Ordering;

use arrow::array::{Array, AsArray, ListArray, RecordBatch};
use arrow::buffer::NullBuffer;

use super::bound::{BoundFilter, Comparison, Target};
use super::mask::RowMask;
use super::members::Members;
use super::pattern::Pattern;
use crate::rows::{self, ScalarColumn};
use crate::types::Value;

/// Finds the rows a filter matches. A column the batch has not is read as all null.
pub fn eval(filter: &BoundFilter, batch: &RecordBatch) -> RowMask {
    let len = batch.num_rows();
    match filter {
        BoundFilter::Constant(true) => RowMask::all(len),
        BoundFilter::Constant(false) => RowMask::none(len),
        BoundFilter::And(children) => {
            let mut mask = RowMask::all(len);
            for child in children {
                mask.and(&eval(child, batch));
            }
            mask
        }
        BoundFilter::Or(children) => {
            let mut mask = RowMask::none(len);
            for child in children {
                mask.or(&eval(child, batch));
            }
            mask
        }
        BoundFilter::Not(child) => {
            let mut mask = eval(child, batch);
            mask.not();
            mask
        }
        BoundFilter::Missing(attr) => {
            let mut mask = present(column(batch, Target::Attribute(*attr)), len);
            mask.not();
            mask
        }
        BoundFilter::Compare {
            target,
            comparison,
            operand,
        } => {
            let Some(column) = column(batch, *target) else {
                return by_missing(*comparison, len);
            };
            compare(column, *comparison, operand)
        }
        BoundFilter::In { target, members } => column(batch, *target)
            .map_or_else(|| RowMask::none(len), |column| is_in(column, members)),
        BoundFilter::AnyElement {
            attr,
            comparison,
            operand,
        } => column(batch, Target::Attribute(*attr)).map_or_else(
            || RowMask::none(len),
            |column| any_element(column, *comparison, operand),
        ),
        BoundFilter::Matches { target, pattern } => column(batch, *target)
            .map_or_else(|| RowMask::none(len), |column| fits(column, pattern)),
    }
}

fn column(batch: &RecordBatch, target: Target) -> Option<&dyn Array> {
    match target {
        Target::Id => Some(rows::id_column(batch).as_ref()),
        Target::Attribute(attr) => rows::column(batch, attr).map(AsRef::as_ref),
    }
}

fn present(column: Option<&dyn Array>, len: usize) -> RowMask {
    match column.map(Array::nulls) {
        None => RowMask::none(len),
        Some(None) => RowMask::all(len),
        Some(Some(nulls)) => validity(nulls),
    }
}

fn validity(nulls: &NullBuffer) -> RowMask {
    let words = nulls.inner().bit_chunks().iter_padded().collect();
    RowMask::from_words(words, nulls.len())
}

/// A missing value sorts below everything.
fn matches_missing(comparison: Comparison) -> bool {
    matches!(comparison, Comparison::Lt | Comparison::Lte)
}

fn by_missing(comparison: Comparison, len: usize) -> RowMask {
    if matches_missing(comparison) {
        RowMask::all(len)
    } else {
        RowMask::none(len)
    }
}

fn compare(column: &dyn Array, comparison: Comparison, operand: &Value) -> RowMask {
    let mut mask = compare_values(column, comparison, operand);
    // What the loop made of the slots under nulls is thrown away here.
    if let Some(nulls) = column.nulls() {
        let present = validity(nulls);
        if matches_missing(comparison) {
            let mut missing = present;
            missing.not();
            mask.or(&missing);
        } else {
            mask.and(&present);
        }
    }
    mask
}

fn compare_values(column: &dyn Array, comparison: Comparison, operand: &Value) -> RowMask {
    let len = column.len();
    if let (Some(list), Value::Array(wanted)) = (column.as_list_opt::<i32>(), operand) {
        return RowMask::from_fn(len, |row| list_equals(list, row, wanted));
    }
    match (ScalarColumn::of(column), operand) {
        (Some(ScalarColumn::Int(array)), Value::Int(operand)) => {
            loop_over(array.values(), *operand, comparison)
        }
        (Some(ScalarColumn::Uint(array)), Value::Uint(operand)) => {
            loop_over(array.values(), *operand, comparison)
        }
        (Some(ScalarColumn::Float(array)), Value::Float(operand)) => {
            loop_over(array.values(), *operand, comparison)
        }
        (Some(ScalarColumn::Datetime(array)), Value::Datetime(operand)) => {
            loop_over(array.values(), operand.0, comparison)
        }
        (Some(ScalarColumn::Bool(array)), Value::Bool(operand)) => {
            RowMask::from_fn(len, |row| holds(comparison, array.value(row).cmp(operand)))
        }
        (Some(ScalarColumn::Uuid(array)), Value::Uuid(operand)) => RowMask::from_fn(len, |row| {
            holds(comparison, array.value(row).cmp(operand.as_bytes()))
        }),
        (Some(ScalarColumn::String(array)), Value::String(operand)) => {
            let operand = operand.as_bytes();
            RowMask::from_fn(len, |row| {
                holds(comparison, array.value(row).as_bytes().cmp(operand))
            })
        }
        // Rows and operand of different types never compare; binding makes this unreachable.
        _ => RowMask::none(len),
    }
}

/// One loop per comparison, so that each is a plain one over numbers.
fn loop_over<T: PartialOrd + Copy>(values: &[T], operand: T, comparison: Comparison) -> RowMask {
    let len = values.len();
    match comparison {
        Comparison::Eq => RowMask::from_fn(len, |row| values[row] == operand),
        Comparison::Lt => RowMask::from_fn(len, |row| values[row] < operand),
        Comparison::Lte => RowMask::from_fn(len, |row| values[row] <= operand),
        Comparison::Gt => RowMask::from_fn(len, |row| values[row] > operand),
        Comparison::Gte => RowMask::from_fn(len, |row| values[row] >= operand),
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Lt => order.is_lt(),
        Comparison::Lte => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Gte => order.is_ge(),
    }
}

/// The elements of a row's list as a range of the child array.
fn elements(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    let at = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
    at(row)..at(row + 1)
}

fn list_equals(list: &ListArray, row: usize, wanted: &[Value]) -> bool {
    let range = elements(list, row);
    if range.len() != wanted.len() {
        return false;
    }
    let child = ScalarColumn::of(list.values().as_ref());
    range
        .zip(wanted)
        .all(|(element, wanted)| match (child, wanted) {
            (Some(ScalarColumn::Int(array)), Value::Int(wanted)) => array.value(element) == *wanted,
            (Some(ScalarColumn::Uint(array)), Value::Uint(wanted)) => {
                array.value(element) == *wanted
            }
            (Some(ScalarColumn::Float(array)), Value::Float(wanted)) => {
                array.value(element) == *wanted
            }
            (Some(ScalarColumn::Datetime(array)), Value::Datetime(wanted)) => {
                array.value(element) == wanted.0
            }
            (Some(ScalarColumn::Bool(array)), Value::Bool(wanted)) => {
                array.value(element) == *wanted
            }
            (Some(ScalarColumn::Uuid(array)), Value::Uuid(wanted)) => {
                array.value(element) == wanted.as_bytes()
            }
            (Some(ScalarColumn::String(array)), Value::String(wanted)) => {
                array.value(element) == wanted.as_ref()
            }
            _ => false,
        })
}

fn is_in(column: &dyn Array, members: &Members) -> RowMask {
    present_where(column, |slots, scan| with_member_test(slots, members, scan))
}

fn any_element(column: &dyn Array, comparison: Comparison, operand: &Value) -> RowMask {
    present_where(column, |slots, scan| {
        with_order_test(slots, operand, &|order| holds(comparison, order), scan)
    })
}

fn fits(column: &dyn Array, pattern: &Pattern) -> RowMask {
    present_where(column, |slots, scan| match slots {
        ScalarColumn::String(array) => Some(scan(&|slot| pattern.matches(array.value(slot)))),
        _ => None,
    })
}

/// Runs a test of slots over the rows of a column.
type Scan<'a> = &'a dyn Fn(&dyn Fn(usize) -> bool) -> RowMask;

/// Finds the rows with a value for which a test is true, or for any of whose elements it is. `with_test` is
/// handed the slots that hold the values and a scan to run its test with; `None` if the test is of another
/// type.
fn present_where(
    column: &dyn Array,
    with_test: impl FnOnce(ScalarColumn<'_>, Scan<'_>) -> Option<RowMask>,
) -> RowMask {
    let len = column.len();
    let found = if let Some(list) = column.as_list_opt::<i32>() {
        ScalarColumn::of(list.values().as_ref()).and_then(|child| {
            with_test(child, &|test| {
                RowMask::from_fn(len, |row| elements(list, row).any(test))
            })
        })
    } else {
        ScalarColumn::of(column)
            .and_then(|scalar| with_test(scalar, &|test| RowMask::from_fn(len, test)))
    };
    let mut mask = found.unwrap_or_else(|| RowMask::none(len));
    if let Some(nulls) = column.nulls() {
        mask.and(&validity(nulls));
    }
    mask
}

/// Hands `scan` a test of how one slot of a column compares with the operand; `None` if they are of
/// different types.
fn with_order_test(
    column: ScalarColumn<'_>,
    operand: &Value,
    holds: &dyn Fn(Ordering) -> bool,
    scan: Scan<'_>,
) -> Option<RowMask> {
    Some(match (column, operand) {
        (ScalarColumn::Bool(array), Value::Bool(operand)) => {
            scan(&|slot| holds(array.value(slot).cmp(operand)))
        }
        (ScalarColumn::Int(array), Value::Int(operand)) => {
            scan(&|slot| holds(array.value(slot).cmp(operand)))
        }
        (ScalarColumn::Uint(array), Value::Uint(operand)) => {
            scan(&|slot| holds(array.value(slot).cmp(operand)))
        }
        (ScalarColumn::Float(array), Value::Float(operand)) => {
            scan(&|slot| array.value(slot).partial_cmp(operand).is_some_and(holds))
        }
        (ScalarColumn::Datetime(array), Value::Datetime(operand)) => {
            scan(&|slot| holds(array.value(slot).cmp(&operand.0)))
        }
        (ScalarColumn::Uuid(array), Value::Uuid(operand)) => {
            scan(&|slot| holds(array.value(slot).cmp(operand.as_bytes())))
        }
        (ScalarColumn::String(array), Value::String(operand)) => {
            scan(&|slot| holds(array.value(slot).as_bytes().cmp(operand.as_bytes())))
        }
        _ => return None,
    })
}

/// Hands `scan` a test of one slot of a column; `None` if rows and operands are of different types.
fn with_member_test(
    column: ScalarColumn<'_>,
    members: &Members,
    scan: Scan<'_>,
) -> Option<RowMask> {
    Some(match (column, members) {
        (ScalarColumn::Bool(array), Members::Bools(wanted)) => {
            scan(&|slot| wanted[usize::from(array.value(slot))])
        }
        (ScalarColumn::Int(array), Members::Ints(sorted)) => {
            scan(&|slot| sorted.binary_search(&array.value(slot)).is_ok())
        }
        (ScalarColumn::Datetime(array), Members::Ints(sorted)) => {
            scan(&|slot| sorted.binary_search(&array.value(slot)).is_ok())
        }
        (ScalarColumn::Uint(array), Members::Uints(sorted)) => {
            scan(&|slot| sorted.binary_search(&array.value(slot)).is_ok())
        }
        (ScalarColumn::Float(array), Members::Floats(sorted)) => scan(&|slot| {
            let value = array.value(slot) + 0.0;
            sorted
                .binary_search_by(|member| member.total_cmp(&value))
                .is_ok()
        }),
        (ScalarColumn::Uuid(array), Members::Uuids(sorted)) => scan(&|slot| {
            sorted
                .binary_search_by(|member| member.as_bytes()[..].cmp(array.value(slot)))
                .is_ok()
        }),
        (ScalarColumn::String(array), Members::Strings(sorted)) => scan(&|slot| {
            sorted
                .binary_search_by(|member| member.as_bytes().cmp(array.value(slot).as_bytes()))
                .is_ok()
        }),
        _ => return None,
    })
}
