//! What it means that an object of a view is gone or damaged: replaced meanwhile, or lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::lsm::state::Life;
use crate::lsm::{Segment, SegmentId};
use crate::namespace::handle::{Namespace, View};
use crate::query::reply::Degraded;

/// How often a read starts over on a newer state because an object of its own is gone.
pub(in crate::namespace) const RESTARTS_MAX: u32 = 2;

/// What became of an object that was not there.
#[derive(Debug)]
pub(in crate::namespace) enum Gone {
    /// The state read since does not refer to it: start over on this view.
    Replaced(Arc<View>),
    /// The state read since refers to it still: data is lost.
    Lost(Error),
}

/// Whether an error says that an object is not there.
pub(in crate::namespace) fn is_missing(error: &Error) -> bool {
    error.code() == "object_missing"
}

impl Namespace {
    /// Asks a newer state what it means that an object is not there.
    ///
    /// Objects are made before a state refers to them and deleted after none does. So one that was missing,
    /// and that a state read afterwards refers to, is lost. Errors: as `refresh`. Cancel safe.
    pub(in crate::namespace) async fn gone(&self, error: Error) -> Result<Gone> {
        let newest = self.refresh().await?;
        Ok(judge(error, &newest))
    }
}

/// As `Namespace::gone`, by a view of a state that was read after the object was missed.
pub(in crate::namespace) fn judge(error: Error, newest: &Arc<View>) -> Gone {
    // Of a namespace that was dropped meanwhile everything goes, and its newest state says so.
    if newest.state.life != Life::Live {
        return Gone::Replaced(Arc::clone(newest));
    }
    let object = error.details().iter().find(|(name, _)| *name == "object");
    let Some(object) = object.map(|(_, object)| object.clone()) else {
        return Gone::Replaced(Arc::clone(newest));
    };
    let mut segments = newest.state.segments.iter();
    let refers = |segment: &&Arc<Segment>| segment.objects().any(|file| file.path == object);
    let Some(segment) = segments.find(refers) else {
        return Gone::Replaced(Arc::clone(newest));
    };
    let lost = Error::corrupted(format!(
        "object `{object}` is missing: the state at {} refers to it",
        newest.seq
    ))
    .with_detail("object", &object)
    .with_detail("expected", "the object")
    .with_detail("found", "none")
    .with_source(error);
    Gone::Lost(of_segment(lost, segment))
}

/// Says of an error about objects which segment cannot be read for it. Other errors stay as they are.
pub(in crate::namespace) fn of_segment(error: Error, segment: &Segment) -> Error {
    let about_objects = error.kind() == ErrorKind::Corrupted || is_missing(&error);
    let named = error.details().iter().any(|(name, _)| *name == "segment");
    match about_objects && !named {
        true => error.with_detail("segment", segment.id),
        false => error,
    }
}

/// The segment of a view that an error is about.
pub(in crate::namespace) fn segment_in(error: &Error, view: &View) -> Option<SegmentId> {
    let named = error.details().iter().find(|(name, _)| *name == "segment");
    let (_, named) = named?;
    let mut ids = view.state.segments.iter().map(|segment| segment.id);
    ids.find(|id| id.to_string() == *named)
}

/// What an answer of a view lacks without some segments.
pub(super) fn degraded(view: &View, left_out: &BTreeSet<SegmentId>) -> Option<Degraded> {
    let segments = view.state.segments.iter();
    let lost: Vec<&Arc<Segment>> = segments
        .filter(|segment| left_out.contains(&segment.id))
        .collect();
    (!lost.is_empty()).then(|| Degraded {
        segments: lost.iter().map(|segment| segment.id.to_string()).collect(),
        rows_missing: lost.iter().map(|segment| segment.live_rows()).sum(),
    })
}
