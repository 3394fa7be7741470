//! A write as a client means it, before a schema has been asked: parsed, not yet bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::condition::Condition;
use super::filter::Filter;
use super::{AttributeType, DistanceMetric, IdKind};

/// A value as it arrived: JSON's types, with number lists kept flat because most of them are vectors.
#[derive(Debug, Clone, PartialEq)]
pub enum RawValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer that fits i64.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// A number with a fraction or an exponent; finite.
    Float(f64),
    /// Text.
    String(Arc<str>),
    /// A list of numbers only, each exactly representable as f64; `integers` if none had a fraction.
    Numbers {
        /// The numbers.
        values: Vec<f64>,
        /// Whether all were written as integers.
        integers: bool,
    },
    /// Any other list.
    Array(Vec<RawValue>),
    /// An object, in the order it came; only sparse vectors use it. Of more entries than one has, one more.
    Object(Vec<(Arc<str>, RawValue)>),
}

impl RawValue {
    /// What it is, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Uint(_) => "integer",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Numbers { .. } | Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// One document of an upsert or a patch: its id and its attributes in the order they came, `null` ones
/// included.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The id as sent: `Int`, `Uint` or `String`.
    pub id: RawValue,
    /// Attribute names (shared among rows) and values.
    pub attributes: Vec<(Arc<str>, RawValue)>,
}

/// What a request says about one attribute's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeSpec {
    /// Its type.
    pub kind: AttributeType,
    /// `filterable`, where given.
    pub filterable: Option<bool>,
    /// `regex`, where given; a type without options turns it off.
    pub regex: Option<bool>,
    /// `glob`, as `regex`.
    pub glob: Option<bool>,
    /// `ann.distance_metric`, where given; `ann: true` leaves it `None`.
    pub metric: Option<DistanceMetric>,
    /// Whether `sparse_knn` is given: new sparse vectors need it.
    pub sparse_knn: bool,
}

impl AttributeSpec {
    /// A type without any option.
    pub fn plain(kind: AttributeType) -> Self {
        Self {
            kind,
            filterable: None,
            regex: None,
            glob: None,
            metric: None,
            sparse_knn: false,
        }
    }
}

/// The `schema` part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SchemaSpec {
    /// The declared kind of id.
    pub id_kind: Option<IdKind>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, AttributeSpec>,
    /// Attributes that go, with all their values, before anything else of the request is looked at.
    pub drops: BTreeSet<String>,
}

/// One write request: all of it applies, or none.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    /// Documents to insert or replace, whole.
    pub upserts: Vec<Document>,
    /// Whether the request named an upsert at all, even an empty one.
    pub has_upserts: bool,
    /// Changes to documents: only attributes named, `null` ones removed. Those of unknown ids are ignored.
    pub patches: Vec<Document>,
    /// Whether the request named patches at all.
    pub has_patches: bool,
    /// Ids to delete.
    pub deletes: Vec<RawValue>,
    /// Whether the request named deletes at all.
    pub has_deletes: bool,
    /// `delete_by_filter`: applied before everything else.
    pub delete_by_filter: Option<DeleteByFilter>,
    /// `patch_by_filter`: applied after `delete_by_filter`, before everything else.
    pub patch_by_filter: Option<PatchByFilter>,
    /// Schema declarations.
    pub schema: Option<SchemaSpec>,
    /// `distance_metric`.
    pub distance_metric: Option<DistanceMetric>,
    /// `upsert_condition`: evaluated per id against the current document; a missing document is
    /// inserted unconditionally.
    pub upsert_condition: Option<Condition>,
    /// `patch_condition`: evaluated per id against the current document.
    pub patch_condition: Option<Condition>,
    /// `delete_condition`: evaluated per id against the current document; a missing document is skipped.
    pub delete_condition: Option<Condition>,
    /// `create_namespace`: `true` also creates an empty one, `false` never creates one.
    pub create_namespace: Option<bool>,
    /// `return_affected_ids`.
    pub return_affected_ids: bool,
    /// Estimated bytes of the decoded request, for memory budgets and group limits.
    pub bytes: usize,
}

impl WriteBatch {
    /// Whether it patches documents, by id or by filter.
    pub fn is_patching(&self) -> bool {
        self.has_patches || !self.patches.is_empty() || self.patch_by_filter.is_some()
    }

    /// Whether it deletes documents, by id or by filter.
    pub fn is_deleting(&self) -> bool {
        self.has_deletes || !self.deletes.is_empty() || self.delete_by_filter.is_some()
    }

    /// Whether it upserts documents.
    pub fn is_upserting(&self) -> bool {
        self.has_upserts || !self.upserts.is_empty()
    }

    /// Whether what it changes is found by a filter.
    pub fn is_by_filter(&self) -> bool {
        self.delete_by_filter.is_some() || self.patch_by_filter.is_some()
    }

    /// Whether stored documents must be asked before it is known what it changes.
    pub fn asks_documents(&self) -> bool {
        let conditions = [
            &self.upsert_condition,
            &self.patch_condition,
            &self.delete_condition,
        ];
        self.is_by_filter() || conditions.iter().any(|condition| condition.is_some())
    }
}

/// Deletes all documents that a filter matches.
#[derive(Debug, Clone)]
pub struct DeleteByFilter {
    /// Which.
    pub filter: Filter,
    /// Whether to delete as many as one request may where there are more.
    pub allow_partial: bool,
}

/// Patches all documents that a filter matches.
#[derive(Debug, Clone)]
pub struct PatchByFilter {
    /// Which.
    pub filter: Filter,
    /// Attributes to set, or to remove where null.
    pub attributes: Vec<(Arc<str>, RawValue)>,
    /// Whether to patch as many as one request may where there are more.
    pub allow_partial: bool,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteOutcome {
    /// The sequence of the commit.
    pub seq: super::WalSeq,
    /// Rows inserted or replaced; `None` if the request had no upserts.
    pub rows_upserted: Option<u64>,
    /// Rows patched; `None` if the request had no patches.
    pub rows_patched: Option<u64>,
    /// Ids deleted, present or not but under a condition; `None` if the request had no deletes.
    pub rows_deleted: Option<u64>,
    /// Whether a filter matches more rows than one request may change.
    pub rows_remaining: bool,
    /// Ids upserted, if asked for.
    pub upserted_ids: Vec<super::DocId>,
    /// Ids patched, if asked for.
    pub patched_ids: Vec<super::DocId>,
    /// Ids deleted, if asked for.
    pub deleted_ids: Vec<super::DocId>,
    /// Logical bytes written.
    pub bytes_written: u64,
}
