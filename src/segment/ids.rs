//! Filters on ids: their rows from the blocks of ids.

use super::reader::SegmentReader;
use crate::error::Result;
use crate::filter::{BoundFilter, Comparison, Members, RowMask, Target};
use crate::format::segment::{Footer, RowOrder};
use crate::store::cache::Purpose;
use crate::types::{DocId, Value};

/// Leaves of a filter that are looked up: each takes a bitmap. A filter with more is evaluated row by row.
const LEAVES_MAX: usize = 16;

/// What a leaf says of ids.
#[derive(Debug)]
enum IdTest {
    /// One of these.
    Among(Vec<DocId>),
    /// Below one.
    Before {
        id: DocId,
        /// Or the one itself.
        or_equal: bool,
        /// All others instead.
        turned: bool,
    },
}

/// The leaves of a filter about ids whose rows can be looked up; none where they are many.
pub(super) fn leaves(filter: &BoundFilter) -> Vec<BoundFilter> {
    let mut found = Vec::new();
    collect(filter, &mut found);
    match found.len() {
        0..=LEAVES_MAX => found,
        _ => Vec::new(),
    }
}

/// Whether the rows of a leaf can be looked up.
pub fn is_of_ids(leaf: &BoundFilter) -> bool {
    match leaf {
        BoundFilter::Compare {
            target: Target::Id,
            operand,
            ..
        } => id_of(operand).is_some(),
        BoundFilter::In {
            target: Target::Id,
            members: Members::Uints(_) | Members::Uuids(_) | Members::Strings(_),
        } => true,
        _ => false,
    }
}

fn collect(filter: &BoundFilter, into: &mut Vec<BoundFilter>) {
    match filter {
        BoundFilter::And(children) | BoundFilter::Or(children) => {
            children.iter().for_each(|child| collect(child, into));
        }
        BoundFilter::Not(child) => collect(child, into),
        leaf if is_of_ids(leaf) && into.len() <= LEAVES_MAX && !into.contains(leaf) => {
            into.push(leaf.clone());
        }
        _ => {}
    }
}

fn test_of(leaf: &BoundFilter) -> Option<IdTest> {
    match leaf {
        BoundFilter::Compare {
            target: Target::Id,
            comparison,
            operand,
        } => {
            let id = id_of(operand)?;
            let before = |or_equal, turned, id| IdTest::Before {
                id,
                or_equal,
                turned,
            };
            Some(match comparison {
                Comparison::Eq => IdTest::Among(vec![id]),
                Comparison::Lt => before(false, false, id),
                Comparison::Lte => before(true, false, id),
                Comparison::Gt => before(true, true, id),
                Comparison::Gte => before(false, true, id),
            })
        }
        BoundFilter::In {
            target: Target::Id,
            members,
        } => Some(IdTest::Among(match members {
            Members::Uints(sorted) => sorted.iter().copied().map(DocId::Uint).collect(),
            Members::Uuids(sorted) => sorted.iter().copied().map(DocId::Uuid).collect(),
            Members::Strings(sorted) => {
                let ids = sorted.iter();
                ids.map(|text| DocId::String(text.as_ref().into()))
                    .collect()
            }
            _ => return None,
        })),
        _ => None,
    }
}

fn id_of(operand: &Value) -> Option<DocId> {
    match operand {
        Value::Uint(id) => Some(DocId::Uint(*id)),
        Value::Uuid(id) => Some(DocId::Uuid(*id)),
        Value::String(id) => Some(DocId::String(id.as_ref().into())),
        _ => None,
    }
}

impl SegmentReader {
    /// Finds the rows of leaves about ids, each with its leaf. Errors: as `find`. Cancel safe.
    pub(super) async fn rows_of_ids(
        &self,
        footer: &Footer,
        leaves: Vec<BoundFilter>,
    ) -> Result<Vec<(BoundFilter, RowMask)>> {
        let mut found = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let rows = match test_of(&leaf) {
                None => continue,
                Some(IdTest::Among(ids)) => {
                    let mut rows = RowMask::none(footer.rows() as usize);
                    for row in self.find(&ids).await?.into_iter().flatten() {
                        rows.set(row as usize, true);
                    }
                    rows
                }
                Some(IdTest::Before {
                    id,
                    or_equal,
                    turned,
                }) => {
                    let mut rows = self.rows_before(footer, &id, or_equal).await?;
                    if turned {
                        rows.not();
                    }
                    rows
                }
            };
            found.push((leaf, rows));
        }
        Ok(found)
    }

    /// The rows whose id is below this one, or with `or_equal` no higher: one block of ids is read.
    async fn rows_before(&self, footer: &Footer, id: &DocId, or_equal: bool) -> Result<RowMask> {
        // Rows are in the order of ids, so those before one are the first.
        let RowOrder::Ids = footer.row_order();
        let n_rows = footer.rows() as usize;
        let Some(range) = footer.id_block_before(id) else {
            return Ok(RowMask::none(n_rows));
        };
        let bytes = self.index_bytes(range, &Purpose::Rows).await?;
        let block = footer.id_block(&bytes)?;
        let end = match block.last_before(id, or_equal) {
            Some(last) => last as usize + 1,
            // The block begins with the id itself.
            None => block.find(id).map_or(0, |row| row as usize),
        };
        Ok(RowMask::first(end, n_rows))
    }
}
