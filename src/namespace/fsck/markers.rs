//! Quarantine markers: what servers found damaged, and whether it still is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, Finding, KEYS_A_REQUEST};
use crate::error::{Error, Result};
use crate::format::path;
use crate::format::record::{self, Marker};
use crate::types::NamespaceId;

/// Markers that one check looks at: bounds what it remembers of objects.
const MARKERS_MAX: usize = 10_000;

/// What a check knows of an object that a marker names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Marked {
    /// It is damaged or missing still.
    Damaged,
    /// It was read and is whole.
    Whole,
    /// Nothing that was checked refers to it any more.
    Unreferenced,
}

/// Markers, and what became of their objects.
#[derive(Debug, Default)]
pub(super) struct Markers {
    /// Keys of markers by the object they name.
    by_object: BTreeMap<String, String>,
    read: BTreeSet<String>,
    bad: BTreeSet<String>,
}

impl Markers {
    /// Notes that an object was read.
    pub(super) fn read(&mut self, object: &str) {
        if self.by_object.contains_key(object) {
            self.read.insert(object.to_owned());
        }
    }

    /// Notes that an object is damaged or missing.
    pub(super) fn bad(&mut self, object: &str) {
        if self.by_object.contains_key(object) {
            self.bad.insert(object.to_owned());
        }
    }

    fn of(&self, object: &str) -> Marked {
        match (self.bad.contains(object), self.read.contains(object)) {
            (true, _) => Marked::Damaged,
            (false, true) => Marked::Whole,
            (false, false) => Marked::Unreferenced,
        }
    }
}

impl Checker<'_> {
    /// Reads the markers of one namespace or all, before anything else is read.
    pub(super) async fn load_markers(&mut self, only: Option<NamespaceId>) -> Result<()> {
        let prefix = only.map_or_else(|| path::QUARANTINE.to_owned(), path::quarantine_prefix);
        let mut start_after: Option<String> = None;
        loop {
            let listed = self
                .bucket
                .list(&prefix, start_after.as_deref(), Some(KEYS_A_REQUEST))
                .await?;
            for object in &listed {
                if self.markers.by_object.len() >= MARKERS_MAX {
                    let object = prefix;
                    let why = format!("more than {MARKERS_MAX} quarantine markers");
                    self.report(Finding::Skipped { object, why });
                    return Ok(());
                }
                self.load_marker(&object.key).await?;
            }
            match listed.last() {
                Some(last) if listed.len() == KEYS_A_REQUEST => {
                    start_after = Some(last.key.clone());
                }
                _ => return Ok(()),
            }
        }
    }

    async fn load_marker(&mut self, key: &str) -> Result<()> {
        let decode = |key: &str, bytes: &[u8]| {
            let marker: Marker = record::decode(key, bytes)?;
            match path::quarantine(&marker.object) == key {
                true => Ok(marker),
                false => Err(Error::corrupted(format!(
                    "object `{key}` is damaged: expected the marker of another object, found that of `{}`",
                    marker.object
                ))),
            }
        };
        match self.decoded(key, decode).await? {
            // Removed since it was listed.
            None => {}
            Some(Ok(marker)) => {
                self.markers.by_object.insert(marker.object, key.to_owned());
            }
            Some(Err(error)) => {
                let (object, error) = (key.to_owned(), error.chain());
                self.report(Finding::Advisory { object, error });
            }
        }
        Ok(())
    }

    /// Tells what became of the objects that markers name, once all has been read.
    pub(super) fn tell_markers(&mut self) {
        let markers = std::mem::take(&mut self.markers);
        for (object, marker) in &markers.by_object {
            self.report(Finding::Quarantined {
                object: object.clone(),
                marker: marker.clone(),
                now: markers.of(object),
            });
        }
    }
}
