//! Live segments as the state knows them: where their files are, and which of their rows are gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{AttrId, FooterRef, ObjectRef, Stats, WalSeq};

/// Which segment: the claim that authorised its upload, and its number under it. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentId {
    /// The claim.
    pub claim: WalSeq,
    /// From 0.
    pub n: u32,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.claim, self.n)
    }
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// The documents.
    pub parquet: ObjectRef,
    /// What is derived from them.
    pub index: ObjectRef,
    /// Where the footer of `index` lies.
    pub footer: FooterRef,
    /// Rows, deleted ones included; at least one.
    pub rows: u64,
    /// Logical bytes of all rows.
    pub logical_bytes: u64,
    /// What the rows hold at a glance.
    pub stats: Stats,
    /// Attributes with values here that `index` has no index of although their type can have one, ascending: they
    /// were not filterable when it was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unindexed: Vec<AttrId>,
    /// Rows that are gone.
    #[serde(default, skip_serializing_if = "Deletions::is_none")]
    pub deletions: Deletions,
}

impl Segment {
    /// Rows that the committed deletions leave.
    pub fn live_rows(&self) -> u64 {
        self.rows.saturating_sub(self.deletions.rows)
    }

    /// Its files, and the object with its deletions where there is one.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let deletions = match &self.deletions.bitmap {
            BitmapPlace::Stored(object) => Some(object),
            BitmapPlace::Empty | BitmapPlace::Inline(_) => None,
        };
        [&self.parquet, &self.index].into_iter().chain(deletions)
    }
}

/// The committed deletions of one segment: of documents deleted or superseded up to `flushed_seq`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletions {
    /// Rises with each change.
    pub generation: u32,
    /// How many rows.
    pub rows: u64,
    /// Which.
    pub bitmap: BitmapPlace,
}

impl Deletions {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a bitmap of row numbers is: a serialised roaring bitmap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(
    tag = "place",
    content = "value",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum BitmapPlace {
    /// There is none: no row.
    #[default]
    Empty,
    /// Here, in base64.
    Inline(String),
    /// In an object of its own.
    Stored(ObjectRef),
}

/// What a flush changes about a segment that lives already.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletionUpdate {
    /// Which segment.
    pub segment: SegmentId,
    /// The generation this builds on.
    pub base: u32,
    /// How many rows are gone afterwards.
    pub rows: u64,
    /// Which rows are gone afterwards, all of them.
    pub bitmap: BitmapPlace,
}

/// A new index file of a segment that lives already: its rows and their order stay.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexUpdate {
    /// Which segment.
    pub segment: SegmentId,
    /// The key of the index file that this one replaces.
    pub base: String,
    /// The new index file.
    pub index: ObjectRef,
    /// Where its footer lies.
    pub footer: FooterRef,
    /// What the rows hold at a glance, attributes that are filterable now included.
    pub stats: Stats,
    /// Attributes that it has no index of, as in `Segment`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unindexed: Vec<AttrId>,
}
