//! Merging segments: which row of which input becomes which row of which output.
//!
//! Decided by ids alone, which every input has in ascending order. Documents are read and sealed afterwards, one output
//! at a time, so that memory is bounded by an output and not by the inputs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{Array, ArrayRef};
use roaring::RoaringBitmap;

use crate::error::{Error, Result};
use crate::rows;
use crate::types::DocId;

/// Fractions of a byte that rows are weighed in.
const WEIGHT_SHIFT: u32 = 16;

/// An input of a merge.
#[derive(Debug, Clone)]
pub struct MergeSource {
    /// Names it in errors.
    pub name: String,
    /// The ids of all its rows, in the order of rows.
    pub ids: Vec<ArrayRef>,
    /// Rows that are left out.
    pub gone: RoaringBitmap,
    /// What its rows weigh together, in any unit that is the same for all inputs.
    pub weight: u64,
}

/// Where a row of an output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    input: u16,
    row: u32,
}

/// The rows of one output, in the order of their ids: 8 bytes a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergePart {
    origins: Vec<Origin>,
}

impl MergePart {
    /// Its rows; at least one.
    pub fn rows(&self) -> u64 {
        self.origins.len() as u64
    }

    /// The rows it takes of each of `inputs` inputs, ascending.
    pub fn taken(&self, inputs: usize) -> Vec<Vec<u32>> {
        let mut taken = vec![Vec::new(); inputs];
        for origin in &self.origins {
            if let Some(rows) = taken.get_mut(usize::from(origin.input)) {
                rows.push(origin.row);
            }
        }
        taken
    }

    /// Which of its rows are gone, where those of each input are.
    pub fn gone(&self, of_inputs: &[RoaringBitmap]) -> RoaringBitmap {
        let rows = self.origins.iter().zip(0_u32..);
        let gone = rows.filter(|(origin, _)| {
            let of_input = of_inputs.get(usize::from(origin.input));
            of_input.is_some_and(|gone| gone.contains(origin.row))
        });
        gone.map(|(_, row)| row).collect()
    }
}

/// The rows of an input that are still to come.
struct Cursor<'a> {
    source: &'a MergeSource,
    chunk: usize,
    /// In the chunk.
    at: usize,
    /// In the input.
    row: u32,
    last: Option<DocId>,
}

impl Cursor<'_> {
    /// The next live row. Errors: `Corrupted` where ids do not ascend.
    fn next(&mut self) -> Result<Option<(DocId, u32)>> {
        while let Some(ids) = self.source.ids.get(self.chunk) {
            if self.at == ids.len() {
                (self.chunk, self.at) = (self.chunk + 1, 0);
                continue;
            }
            let (id, row) = (rows::id_at(ids, self.at), self.row);
            (self.at, self.row) = (self.at + 1, row.saturating_add(1));
            if self.last.as_ref().is_some_and(|last| *last >= id) {
                return Err(Error::corrupted(format!(
                    "segment {}: expected ids that ascend, found `{id}` in row {row} out of order",
                    self.source.name
                )));
            }
            self.last = Some(id.clone());
            if !self.source.gone.contains(row) {
                return Ok(Some((id, row)));
            }
        }
        Ok(None)
    }
}

/// Plans a merge into about `parts` outputs of about the same weight; none where no row lives.
///
/// Every live row of every input is in one output, once. Takes 8 bytes a row and what the ids take. Errors: `Corrupted`
/// naming the inputs where ids do not ascend or one lives twice; `Internal` for more than 65,536 inputs.
pub fn plan_merge(sources: &[MergeSource], parts: u64) -> Result<Vec<MergePart>> {
    let mut cursors: Vec<Cursor<'_>> = sources.iter().map(cursor).collect();
    // By id, then by input: two rows of one id come one after the other.
    let mut next: BinaryHeap<Reverse<(DocId, u16, u32)>> = BinaryHeap::new();
    for (input, cursor) in cursors.iter_mut().enumerate() {
        let input = u16::try_from(input)
            .map_err(|_| Error::internal(format!("a merge of {} segments", sources.len())))?;
        if let Some((id, row)) = cursor.next()? {
            next.push(Reverse((id, input, row)));
        }
    }
    let weights: Vec<u128> = sources.iter().map(row_weight).collect();
    let live = sources.iter().zip(&weights);
    let total: u128 = live
        .map(|(source, row)| row * u128::from(live_rows(source)))
        .sum();
    let mut planned: Vec<MergePart> = Vec::new();
    let (mut weight, mut of_part) = (0_u128, None);
    let mut last: Option<(DocId, u16)> = None;
    while let Some(Reverse((id, input, row))) = next.pop() {
        if let Some((before, other)) = &last
            && *before == id
        {
            let name = |input: u16| sources.get(usize::from(input)).map_or("", |one| &one.name);
            return Err(Error::corrupted(format!(
                "segments {} and {}: expected ids that live once, found `{id}` in both",
                name(*other),
                name(input)
            )));
        }
        let part = weight * u128::from(parts.max(1)) / total.max(1);
        if of_part != Some(part) {
            of_part = Some(part);
            planned.push(MergePart::default());
        }
        if let Some(part) = planned.last_mut() {
            part.origins.push(Origin { input, row });
        }
        weight += weights.get(usize::from(input)).copied().unwrap_or(0);
        last = Some((id, input));
        if let Some((id, row)) = cursors
            .get_mut(usize::from(input))
            .map_or(Ok(None), Cursor::next)?
        {
            next.push(Reverse((id, input, row)));
        }
    }
    Ok(planned)
}

fn cursor(source: &MergeSource) -> Cursor<'_> {
    Cursor {
        source,
        chunk: 0,
        at: 0,
        row: 0,
        last: None,
    }
}

fn rows_of(source: &MergeSource) -> u64 {
    source.ids.iter().map(|ids| ids.len() as u64).sum()
}

fn live_rows(source: &MergeSource) -> u64 {
    rows_of(source).saturating_sub(source.gone.len())
}

fn row_weight(source: &MergeSource) -> u128 {
    let weight = (u128::from(source.weight) << WEIGHT_SHIFT) / u128::from(rows_of(source).max(1));
    weight.max(1)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "tests index what they made")]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::types::IdKind;

    fn source(name: &str, chunks: &[&[u64]], gone: &[u32]) -> MergeSource {
        let ids = |chunk: &&[u64]| {
            let ids: Vec<DocId> = chunk.iter().copied().map(DocId::Uint).collect();
            rows::id_array(IdKind::Uint, &ids).expect("ids")
        };
        MergeSource {
            name: name.to_owned(),
            ids: chunks.iter().map(ids).collect(),
            gone: gone.iter().copied().collect(),
            weight: 100 * chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>(),
        }
    }

    #[test]
    fn merge_takes_each_live_row_once_in_the_order_of_ids() {
        let sources = [
            source("a", &[&[1, 4], &[], &[9, 10]], &[2]),
            source("b", &[&[2, 3, 4, 11]], &[2]),
            source("c", &[&[5]], &[0]),
            source("d", &[], &[]),
        ];
        let plan = plan_merge(&sources, 1).expect("a plan");
        assert_eq!(plan.len(), 1);
        let origins: Vec<(u16, u32)> = plan[0]
            .origins
            .iter()
            .map(|one| (one.input, one.row))
            .collect();
        assert_eq!(origins, [(0, 0), (1, 0), (1, 1), (0, 1), (0, 3), (1, 3)]);
        assert_eq!(
            plan[0].taken(4),
            [vec![0, 1, 3], vec![0, 1, 3], vec![], vec![]]
        );
        // What dies in the inputs later, rows that were left out among it.
        let died = [
            [1_u32, 2].into_iter().collect(),
            RoaringBitmap::from([0, 2, 3]),
        ];
        assert_eq!(plan[0].gone(&died), RoaringBitmap::from([1, 3, 5]));
        assert!(plan[0].gone(&[]).is_empty());
    }

    #[test]
    fn merge_into_parts_cuts_them_by_weight() {
        let even: Vec<u64> = (0..100).map(|id| 2 * id).collect();
        let odd: Vec<u64> = (0..100).map(|id| 2 * id + 1).collect();
        let sources = [source("a", &[&even], &[]), source("b", &[&odd], &[])];
        for parts in [1, 2, 3, 7, 200] {
            let plan = plan_merge(&sources, parts).expect("a plan");
            assert_eq!(plan.len() as u64, parts);
            let rows: Vec<u64> = plan.iter().map(MergePart::rows).collect();
            assert_eq!(rows.iter().sum::<u64>(), 200);
            let (least, most) = (rows.iter().min(), rows.iter().max());
            assert!(
                most.expect("parts") - least.expect("parts") <= 1,
                "{rows:?}"
            );
        }
        // No more parts than rows.
        let plan = plan_merge(&sources[..1], 1_000).expect("a plan");
        assert_eq!(plan.len(), 100);
    }

    #[test]
    fn merge_of_nothing_that_lives_has_no_part() {
        assert_eq!(plan_merge(&[], 3).expect("a plan"), []);
        let sources = [source("a", &[&[1, 2]], &[0, 1])];
        assert_eq!(plan_merge(&sources, 3).expect("a plan"), []);
    }

    #[test]
    fn merge_of_ids_that_repeat_or_fall_is_refused() {
        for (sources, names) in [
            (
                vec![source("a", &[&[1, 2]], &[]), source("b", &[&[2]], &[])],
                "a and b",
            ),
            (vec![source("a", &[&[2, 1]], &[])], "segment a"),
            (vec![source("a", &[&[1], &[1]], &[])], "segment a"),
        ] {
            let error = plan_merge(&sources, 1).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            assert!(error.message().contains(names), "{error}");
        }
        // One of the two is gone.
        let sources = [source("a", &[&[1, 2]], &[1]), source("b", &[&[2]], &[])];
        assert_eq!(plan_merge(&sources, 1).expect("a plan")[0].rows(), 2);
    }
}
