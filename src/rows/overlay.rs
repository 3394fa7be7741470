//! Patching: some attributes of rows taken from other rows.

use arrow::array::{Array, RecordBatch};
use arrow::compute;
use arrow::error::ArrowError;

use super::layout;
use crate::error::{Error, Result};
use crate::types::AttrId;

/// Which rows of a batch of patches say something about an attribute, null included.
#[derive(Debug, Clone)]
pub struct Given {
    /// The attribute.
    pub attr: AttrId,
    /// Rows of the patches that name it, ascending.
    pub rows: Vec<u32>,
}

/// Gives `current` with the attributes that its patches name taken from them; `patch_rows` says for each
/// row of `current` which row of `patches` patches it.
///
/// Both batches have the layout of one schema. Errors: `Internal` if they have not, or a row is out of range.
pub fn overlay(
    current: &RecordBatch,
    patches: &RecordBatch,
    given: &[Given],
    patch_rows: &[u32],
) -> Result<RecordBatch> {
    if patch_rows.len() != current.num_rows() {
        return Err(Error::internal(format!(
            "{} patches for {} rows",
            patch_rows.len(),
            current.num_rows()
        )));
    }
    let mut columns = current.columns().to_vec();
    for given in given {
        let name = layout::column_name(given.attr);
        let at = current.schema_ref().index_of(&name).map_err(broken)?;
        let source = layout::column(patches, given.attr)
            .ok_or_else(|| Error::internal(format!("patches have no column `{name}`")))?;
        let is_given = |row: u32| given.rows.binary_search(&row).is_ok();
        if !patch_rows.iter().any(|row| is_given(*row)) {
            continue;
        }
        if let Some(row) = patch_rows.iter().find(|row| **row as usize >= source.len()) {
            let text = format!("row {row} of {} patches", source.len());
            return Err(Error::internal(text));
        }
        let places: Vec<(usize, usize)> = patch_rows
            .iter()
            .enumerate()
            .map(|(row, patch)| match is_given(*patch) {
                true => (1, *patch as usize),
                false => (0, row),
            })
            .collect();
        let both = [columns[at].as_ref(), source.as_ref()];
        columns[at] = compute::interleave(&both, &places).map_err(broken)?;
    }
    RecordBatch::try_new(current.schema(), columns).map_err(broken)
}

fn broken(error: ArrowError) -> Error {
    Error::internal("cannot patch a batch of rows").with_source(error)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::error::ErrorKind;
    use crate::rows::RowsBuilder;
    use crate::types::{AttributeType, DocId, IdKind, NamespaceSchema, ScalarType, Value};

    const A: AttrId = AttrId(0);
    const B: AttrId = AttrId(1);

    fn schema(names: &[&str]) -> NamespaceSchema {
        let mut schema = NamespaceSchema {
            id_kind: Some(IdKind::Uint),
            ..NamespaceSchema::default()
        };
        for name in names {
            let kind = AttributeType::Scalar(ScalarType::Int);
            schema.add(name, kind, true).expect("there is room");
        }
        schema
    }

    /// Rows of `a` and `b`, ids from 0.
    fn batch(rows: &[[Option<i64>; 2]]) -> RecordBatch {
        let mut builder = RowsBuilder::new(&schema(&["a", "b"]), rows.len());
        for (id, row) in (0..).zip(rows) {
            for (at, cell) in row.iter().enumerate() {
                let column = builder.column(at).expect("a column");
                match cell {
                    None => column.push_null(),
                    Some(value) => column.push(&Value::Int(*value)).expect("an integer"),
                }
            }
            builder.end_row(DocId::Uint(id));
        }
        builder.finish().expect("a batch").1
    }

    fn cells(batch: &RecordBatch) -> Vec<[Option<i64>; 2]> {
        let of = |attr| {
            layout::column(batch, attr)
                .expect("a column")
                .as_primitive::<Int64Type>()
        };
        of(A).iter().zip(of(B)).map(|(a, b)| [a, b]).collect()
    }

    fn given(attr: AttrId, rows: &[u32]) -> Given {
        let rows = rows.to_vec();
        Given { attr, rows }
    }

    #[test]
    fn overlay_takes_what_is_given_null_included_and_keeps_the_rest() {
        let current = batch(&[[Some(1), Some(2)], [Some(3), None], [None, Some(6)]]);
        let patches = batch(&[[Some(10), None], [None, None], [None, Some(12)]]);
        // Row 0 names `a`, row 1 both, row 2 `b`; one of them patches two rows.
        let given = [given(A, &[0, 1]), given(B, &[1, 2])];
        for (patch_rows, expected) in [
            (
                [0, 1, 2],
                [[Some(10), Some(2)], [None, None], [None, Some(12)]],
            ),
            (
                [2, 2, 0],
                [
                    [Some(1), Some(12)],
                    [Some(3), Some(12)],
                    [Some(10), Some(6)],
                ],
            ),
            ([1, 0, 1], [[None, None], [Some(10), None], [None, None]]),
        ] {
            let patched = overlay(&current, &patches, &given, &patch_rows).expect("a batch");
            assert_eq!(cells(&patched), expected, "{patch_rows:?}");
            assert_eq!(patched.column(0), current.column(0), "{patch_rows:?}");
        }
    }

    #[test]
    fn overlay_of_nothing_given_or_no_rows_is_what_was() {
        let current = batch(&[[Some(1), Some(2)]]);
        let patches = batch(&[[Some(9), Some(9)]]);
        let same = overlay(&current, &patches, &[given(A, &[])], &[0]).expect("a batch");
        assert_eq!(cells(&same), [[Some(1), Some(2)]]);
        let none = overlay(&batch(&[]), &patches, &[given(A, &[0])], &[]).expect("a batch");
        assert_eq!(none.num_rows(), 0);
    }

    #[test]
    fn overlay_of_batches_that_do_not_fit_is_a_bug_told() {
        let current = batch(&[[Some(1), Some(2)], [None, None]]);
        let patches = batch(&[[Some(9), Some(9)]]);
        let narrow = RowsBuilder::new(&schema(&["a"]), 0);
        let narrow = narrow.finish().expect("a batch").1;
        for (what, current, patches, given, patch_rows) in [
            ("too few rows", &current, &patches, given(A, &[0]), vec![0]),
            (
                "a row beyond",
                &current,
                &patches,
                given(A, &[0, 1]),
                vec![0, 1],
            ),
            (
                "no such patch",
                &current,
                &narrow,
                given(B, &[0]),
                vec![0, 0],
            ),
            ("no such column", &narrow, &patches, given(B, &[0]), vec![]),
        ] {
            let error = overlay(current, patches, &[given], &patch_rows).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Internal, "{what}: {error}");
        }
    }
}
