//! Index files that a read does without: what they would have told is read from the documents, row by row.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::lost::is_missing;
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::{Segment, SegmentId};
use crate::types::limits;

/// The segments whose index one read could not read, in part at least.
#[derive(Debug, Default)]
pub(crate) struct Unread(Mutex<Met>);

#[derive(Debug, Default)]
struct Met {
    /// The first error of each.
    errors: BTreeMap<SegmentId, Error>,
    /// Their live rows.
    rows: u64,
}

impl Unread {
    /// Gives what was read of the index file of a segment; `None` where it is damaged or gone, and documents may be
    /// read instead: as many rows as segments that have no index yet may have.
    ///
    /// Errors: of the reading, where it is about another object, or there are too many rows.
    pub(super) fn or_documents<T>(
        &self,
        segment: &Segment,
        outcome: Result<T>,
    ) -> Result<Option<T>> {
        let error = match outcome {
            Ok(found) => return Ok(Some(found)),
            Err(error) => error,
        };
        let is_lost = error.kind() == ErrorKind::Corrupted || is_missing(&error);
        if !is_lost || error.detail("object") != Some(segment.index.path.as_str()) {
            return Err(error);
        }
        let mut met = self.0.lock();
        if met.errors.contains_key(&segment.id) {
            return Ok(None);
        }
        let rows = met.rows.saturating_add(segment.live_rows());
        if rows > limits::UNINDEXED_ROWS_MAX {
            return Err(error);
        }
        met.rows = rows;
        met.errors.insert(segment.id, error);
        Ok(None)
    }

    /// What was met: an error for each segment.
    pub(super) fn take(&self) -> Vec<Error> {
        let met = std::mem::take(&mut *self.0.lock());
        met.errors.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::tests::segment;

    fn damaged(object: &str) -> Result<u8> {
        Err(Error::corrupted("damaged").with_detail("object", object))
    }

    fn of(claim: u64, rows: u64) -> Segment {
        let mut one = segment(claim, 0);
        one.index.path = claim.to_string();
        Segment { rows, ..one }
    }

    #[test]
    fn damage_of_an_index_is_done_without_up_to_as_many_rows_as_may_lack_one() {
        let unread = Unread::default();
        let (large, small) = (of(1, limits::UNINDEXED_ROWS_MAX), of(2, 1));
        assert_eq!(unread.or_documents(&large, Ok(7)).expect("read"), Some(7));
        for _ in 0..2 {
            let done = unread.or_documents(&large, damaged(&large.index.path));
            assert_eq!(done.expect("as many as may be"), None);
        }
        let error = unread.or_documents(&small, damaged(&small.index.path));
        assert_eq!(error.expect_err("one too many").message(), "damaged");
        assert_eq!(unread.take().len(), 1);
        assert_eq!(unread.take().len(), 0);
        let gone = crate::segment::missing(&small.index.path);
        let done = unread.or_documents::<u8>(&small, Err(gone));
        assert_eq!(done.expect("another read"), None);
    }

    #[test]
    fn what_is_not_damage_of_this_index_stays_an_error() {
        let unread = Unread::default();
        let one = of(1, 1);
        let others = [
            damaged("p"),
            damaged("other"),
            Err(Error::unavailable("busy").with_detail("object", &one.index.path)),
            Err(Error::corrupted("unnamed")),
        ];
        for other in others {
            unread.or_documents(&one, other).expect_err("an error");
        }
        assert_eq!(unread.take().len(), 0);
    }
}
