//! Which segments lack an index that the schema wants, and what may be read without one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::segment::Segment;
use super::state::State;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{AttrId, NamespaceSchema, limits};

/// How long a query that was refused for want of an index waits, milliseconds.
const RETRY_AFTER_MS: u64 = 5_000;

/// The live segments of a state that have values of a filterable attribute and no index of it, ascending by id.
pub fn lacking(state: &State) -> impl Iterator<Item = &Arc<Segment>> {
    let has_any = state
        .segments
        .iter()
        .any(|segment| !segment.unindexed.is_empty());
    let wanted = match has_any {
        true => filterable(&state.schema),
        false => BTreeSet::new(),
    };
    let segments = state.segments.iter();
    segments.filter(move |segment| segment.lacks(&wanted))
}

/// Whether any live segment lacks an index.
pub fn is_lacking(state: &State) -> bool {
    lacking(state).next().is_some()
}

impl Segment {
    /// Whether it has values of one of these attributes and no index of it.
    fn lacks(&self, attrs: &BTreeSet<AttrId>) -> bool {
        self.unindexed.iter().any(|attr| attrs.contains(attr))
    }
}

fn filterable(schema: &NamespaceSchema) -> BTreeSet<AttrId> {
    let attributes = schema.attributes.values();
    let filterable = attributes.filter(|attribute| attribute.filterable);
    filterable.map(|attribute| attribute.id).collect()
}

/// Permits a read that needs indexes of `needed` to look, row by row, at the segments of `state` that lack one.
/// Attributes that `schema` does not let filters name are never indexed, and are not counted.
///
/// Errors: `Unavailable` with code `index_building` where those segments have more live rows than one read may look
/// at so; its details tell how many rows of all have the indexes.
pub fn permit(state: &State, schema: &NamespaceSchema, needed: &BTreeSet<AttrId>) -> Result<()> {
    let mut counted = needed.clone();
    counted.retain(|attr| {
        let attribute = schema.by_id(*attr);
        attribute.is_some_and(|attribute| attribute.filterable)
    });
    let rows_of = |is_counted: &dyn Fn(&Segment) -> bool| {
        let segments = state.segments.iter();
        let counted = segments.filter(|segment| is_counted(segment));
        counted
            .map(|segment| segment.live_rows())
            .fold(0, u64::saturating_add)
    };
    let without = rows_of(&|segment| segment.lacks(&counted));
    if without <= limits::UNINDEXED_ROWS_MAX {
        return Ok(());
    }
    let rows = rows_of(&|_| true);
    let indexed = rows.saturating_sub(without);
    let lacks = |attr: &&AttrId| {
        let one = BTreeSet::from([**attr]);
        state.segments.iter().any(|segment| segment.lacks(&one))
    };
    let names = counted.iter().filter(lacks);
    let names: Vec<&str> = names.filter_map(|attr| schema.name_of(*attr)).collect();
    let names = names.join("`, `");
    Err(Error::new(
        ErrorKind::Unavailable,
        "index_building",
        format!(
            "indexes of `{names}` are being built, {indexed} of {rows} rows have them: expected at most {} rows without, found {without}",
            limits::UNINDEXED_ROWS_MAX
        ),
    )
    .with_detail("rows_indexed", indexed)
    .with_detail("rows", rows)
    .with_retry_after_ms(RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsm::tests::segment;
    use crate::lsm::{Deletions, Rotation};
    use crate::types::{AttributeType, ScalarType};

    /// Attributes 0 to 2, of which the last cannot be named in filters.
    fn schema() -> NamespaceSchema {
        let mut schema = NamespaceSchema::default();
        let kind = AttributeType::Scalar(ScalarType::Int);
        for (name, filterable) in [("a", true), ("b", true), ("c", false)] {
            schema.add(name, kind, filterable).expect("legal");
        }
        schema
    }

    fn attrs<const N: usize>(attrs: [u32; N]) -> BTreeSet<AttrId> {
        attrs.map(AttrId).into()
    }

    /// Segments of so many rows, of which so many are gone, without these indexes.
    fn state(segments: &[(u64, u64, &[u32])]) -> State {
        let made = (1..).zip(segments).map(|(claim, (rows, gone, unindexed))| {
            let one = Segment {
                rows: *rows,
                unindexed: unindexed.iter().copied().map(AttrId).collect(),
                deletions: Deletions {
                    rows: *gone,
                    ..Deletions::default()
                },
                ..segment(claim, 0)
            };
            Arc::new(one)
        });
        State {
            segments: made.collect(),
            schema: Arc::new(schema()),
            ..State::initial(Rotation::default())
        }
    }

    #[test]
    fn segment_lacks_an_index_only_of_what_filters_may_name() {
        let state = state(&[(9, 0, &[]), (9, 0, &[1]), (9, 0, &[2]), (9, 0, &[0, 2])]);
        let found: Vec<u64> = lacking(&state).map(|segment| segment.id.claim.0).collect();
        assert_eq!(found, [2, 4]);
        assert!(is_lacking(&state));
        // Of an attribute that was dropped nothing is wanted.
        let mut dropped = schema();
        dropped.attributes.remove("a");
        dropped.attributes.remove("b");
        let dropped = State {
            schema: Arc::new(dropped),
            ..state
        };
        assert!(!is_lacking(&dropped));
    }

    #[test]
    fn read_without_indexes_is_permitted_up_to_the_bound() {
        let most = limits::UNINDEXED_ROWS_MAX;
        let at = state(&[(most + 7, 7, &[0]), (most, 0, &[]), (most, 0, &[1, 2])]);
        permit(&at, &at.schema, &attrs([0])).expect("as many as may be");
        permit(&at, &at.schema, &attrs([])).expect("nothing is needed");
        permit(&at, &at.schema, &attrs([2])).expect("never indexed, never counted");
        permit(&at, &at.schema, &attrs([7])).expect("not there");
        let above = state(&[(most + 8, 7, &[0]), (most, 0, &[]), (most, 0, &[1, 2])]);
        let error = permit(&above, &above.schema, &attrs([0])).expect_err("one too many");
        assert_eq!(error.code(), "index_building");
        let details = error
            .details()
            .iter()
            .map(|(name, fact)| (*name, fact.as_str()));
        assert_eq!(
            details.collect::<Vec<_>>(),
            [("rows_indexed", "400000"), ("rows", "600001")]
        );
        assert!(error.message().contains("`a`"), "{error}");
        // Each alone is permitted, both together are not.
        permit(&at, &at.schema, &attrs([1])).expect("as many as may be");
        let error = permit(&at, &at.schema, &attrs([0, 1, 2])).expect_err("together");
        assert!(error.message().contains("`a`, `b`"), "{error}");
    }
}
