//! What a group must know of segments before it is evaluated: documents that are patched or asked, and what
//! filters match.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::Columns;
use crate::lsm::{Latest, Segment, indexing};
use crate::namespace::WriteLimits;
use crate::namespace::bind::{self, BoundWrite};
use crate::namespace::handle::{Log, Namespace, View};
use crate::rows::{self, raw};
use crate::types::document::{RawValue, WriteBatch};
use crate::types::{AttrId, DocId, IdKind};

/// Ids whose documents are read at once, and bytes of such documents as they are on average: bounds memory.
const IDS_AT_ONCE: usize = 1_024;
const BYTES_AT_ONCE: u64 = 8 << 20;

/// Documents by id, each a batch of one row.
type Documents = HashMap<DocId, RecordBatch>;

/// What segments say to a group, at the state it is evaluated against.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Documents of ids that the tail does not know.
    pub(super) documents: Documents,
    /// Ids whose documents did not fit.
    pub(super) beyond: BTreeSet<DocId>,
    /// What the filters of the first request match; only it has any.
    pub(super) matched: Option<Matched>,
    /// The first request bound to the state's schema, where that was needed already.
    pub(super) bound: Option<BoundWrite>,
    /// Logical bytes of the documents.
    pub(super) bytes: usize,
    /// How many bytes of them there is room for.
    pub(super) most_bytes: u64,
}

/// What the filters of one request match, ascending.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) deletes: Vec<DocId>,
    pub(super) patches: Vec<DocId>,
    /// Whether more match than may be changed at once.
    pub(super) remaining: bool,
    /// Why the request cannot be done, where it cannot.
    pub(super) refused: Option<Error>,
}

/// What is known of an id.
#[derive(Debug)]
pub(super) enum Known {
    /// Its document, as a batch of one row.
    Document(RecordBatch),
    /// There is none.
    Missing,
    /// There may be one, for which there was no room.
    Beyond,
}

impl Gathered {
    /// What segments have of an id that the tail does not know.
    pub(super) fn stored(&self, id: &DocId) -> Known {
        match self.documents.get(id) {
            Some(document) => Known::Document(document.clone()),
            None if self.beyond.contains(id) => Known::Beyond,
            None => Known::Missing,
        }
    }
}

impl Namespace {
    /// Reads what a group needs of segments. What the tail knows is newer, and is not read.
    ///
    /// Errors: of the readers; what is wrong with a request is told when its turn comes. Cancel safe.
    pub(super) async fn gather(
        self: &Arc<Self>,
        log: &Log,
        requests: &[Request],
    ) -> Result<Gathered> {
        let mut gathered = Gathered {
            most_bytes: self.shared.options.write_limits.stored_bytes,
            ..Gathered::default()
        };
        let view = self.view();
        if log.state.settings().read_only {
            // Whatever is asked is refused, or was done before.
            return Ok(gathered);
        }
        // Only the first request of a group has filters.
        if let Some(first) = requests.first().filter(|first| first.batch.is_by_filter()) {
            self.add_matched(&mut gathered, log, &view, &first.batch)
                .await?;
        }
        if log.state.segments.is_empty() {
            return Ok(gathered);
        }
        let mut whole = wanted(log, requests, patched_ids)?;
        // Those that filters match have been read.
        whole.retain(|id| !gathered.documents.contains_key(id));
        let mut asked = wanted(log, requests, asked_ids)?;
        asked.retain(|id| !whole.contains(id) && !gathered.documents.contains_key(id));
        let all: Vec<AttrId> = view.schema.attributes.values().map(|one| one.id).collect();
        let asked_for = filterable(&view, requests);
        for (ids, attrs) in [(whole, &all), (asked, &asked_for)] {
            let ids: Vec<DocId> = ids.into_iter().collect();
            self.add_documents(&mut gathered, &view, &ids, attrs)
                .await?;
        }
        Ok(gathered)
    }

    /// What the filters of the first request match at the state before its group, and the documents of segments
    /// that they patch.
    async fn add_matched(
        self: &Arc<Self>,
        gathered: &mut Gathered,
        log: &Log,
        view: &View,
        batch: &WriteBatch,
    ) -> Result<()> {
        // What does not bind is refused when its turn comes.
        let Ok(bound) = bind::bind(&log.state.schema, batch) else {
            return Ok(());
        };
        if let Err(refused) = permit(view, &bound) {
            gathered.matched = Some(Matched {
                refused: Some(refused),
                ..Matched::default()
            });
            gathered.bound = Some(bound);
            return Ok(());
        }
        let (matched, documents) = self.matched(log, view, batch, &bound).await?;
        gathered.matched = Some(matched);
        #[expect(clippy::disallowed_methods, reason = "a sum is the same in any order")]
        let bytes: u64 = documents.values().map(|one| rows::row_bytes(one, 0)).sum();
        gathered.bytes += bytes as usize;
        gathered.documents = documents;
        gathered.bound = Some(bound);
        Ok(())
    }

    async fn matched(
        self: &Arc<Self>,
        log: &Log,
        view: &View,
        batch: &WriteBatch,
        bound: &BoundWrite,
    ) -> Result<(Matched, Documents)> {
        let mut matched = Matched::default();
        let mut documents = Documents::default();
        let limits = self.shared.options.write_limits;
        let mut room = limits.stored_bytes;
        if let (Some(filter), Some(delete)) = (&bound.delete_filter, &batch.delete_by_filter) {
            let most = limits.delete_by_filter_rows;
            let (mut ids, more) = self.matching(view, filter, most).await?;
            let fit = ids.iter().take_while(|id| take(&mut room, id_bytes(id)));
            let n_fit = fit.count();
            let over = Over::of(more, n_fit < ids.len());
            ids.truncate(n_fit);
            if let Some(over) = over
                && !delete.allow_partial
            {
                matched.refused = Some(over.refusal("delete_by_filter", most, limits));
                return Ok((matched, Documents::default()));
            }
            (matched.deletes, matched.remaining) = (ids, over.is_some());
        }
        if let (Some((filter, patch)), Some(asked)) = (&bound.patch_filter, &batch.patch_by_filter)
        {
            let most = limits.patch_by_filter_rows;
            // Those deleted just now are no documents any more, and may be the smallest.
            let wanted = most.saturating_add(matched.deletes.len());
            let (mut ids, mut more) = self.matching(view, filter, wanted).await?;
            ids.retain(|id| matched.deletes.binary_search(id).is_err());
            more |= ids.len() > most;
            ids.truncate(most);
            let fitting = self.fitting(log, view, &ids, &patch.rows, room).await?;
            let n_fit = fitting.0;
            documents = fitting.1;
            let over = Over::of(more, n_fit < ids.len());
            ids.truncate(n_fit);
            if let Some(over) = over
                && !asked.allow_partial
            {
                matched.refused = Some(over.refusal("patch_by_filter", most, limits));
                return Ok((matched, Documents::default()));
            }
            matched.patches = ids;
            matched.remaining |= over.is_some();
        }
        Ok((matched, documents))
    }

    /// How many of these documents fit, patched, into some bytes; and those of them that segments have.
    async fn fitting(
        self: &Arc<Self>,
        log: &Log,
        view: &View,
        ids: &[DocId],
        patch: &RecordBatch,
        mut room: u64,
    ) -> Result<(usize, Documents)> {
        let patch_bytes = rows::logical_bytes(patch);
        let attrs: Vec<AttrId> = view.schema.attributes.values().map(|one| one.id).collect();
        let mut n_fit = 0;
        let mut fitting = Documents::default();
        for ids in ids.chunks(ids_at_once(view)) {
            let mut unknown = Vec::new();
            let mut bytes: HashMap<&DocId, u64> = HashMap::new();
            for id in ids {
                match log.tail.get(id)? {
                    Latest::Document(document) => {
                        bytes.insert(id, rows::row_bytes(&document, 0));
                    }
                    Latest::Unknown => unknown.push(id.clone()),
                    Latest::Deleted => {}
                }
            }
            let mut stored = self.documents(view, &unknown, &attrs).await?;
            for id in ids {
                let document = stored.remove_entry(id);
                let found = document.as_ref().map(|(_, one)| rows::row_bytes(one, 0));
                let bytes = bytes.get(id).copied().or(found).unwrap_or(0);
                if !take(&mut room, bytes.saturating_add(patch_bytes)) {
                    return Ok((n_fit, fitting));
                }
                fitting.extend(document);
                n_fit += 1;
            }
        }
        Ok((n_fit, fitting))
    }

    /// Reads documents as long as there is room for them.
    async fn add_documents(
        self: &Arc<Self>,
        gathered: &mut Gathered,
        view: &View,
        ids: &[DocId],
        attrs: &[AttrId],
    ) -> Result<()> {
        for ids in ids.chunks(ids_at_once(view)) {
            if gathered.bytes as u64 > gathered.most_bytes {
                gathered.beyond.extend(ids.iter().cloned());
                continue;
            }
            let found = self.documents(view, ids, attrs).await?;
            for id in ids {
                if let Some(document) = found.get(id) {
                    gathered.bytes += rows::row_bytes(document, 0) as usize;
                }
            }
            gathered.documents.extend(found);
        }
        Ok(())
    }
}

/// Permits the filters of a request to read what they need of segments that lack an index for it, under the schema
/// that it brings. Errors: `Unavailable` with code `index_building`.
fn permit(view: &View, bound: &BoundWrite) -> Result<()> {
    let mut columns = Columns::default();
    let patched = bound.patch_filter.iter().map(|(filter, _)| filter);
    for filter in bound.delete_filter.iter().chain(patched) {
        filter.columns(&mut columns);
    }
    indexing::permit(&view.state, &bound.schema, &columns.attrs)
}

/// How many documents of segments are read at once: fewer where they are large.
fn ids_at_once(view: &View) -> usize {
    let average = |segment: &Arc<Segment>| segment.logical_bytes / segment.rows.max(1);
    let largest = view.state.segments.iter().map(average).max().unwrap_or(0);
    let fit = BYTES_AT_ONCE / largest.max(1);
    usize::try_from(fit).map_or(IDS_AT_ONCE, |fit| fit.clamp(1, IDS_AT_ONCE))
}

/// The ids of some operations that the tail does not know.
fn wanted<'a>(
    log: &Log,
    requests: &'a [Request],
    ids_of: impl Fn(&'a WriteBatch) -> Vec<&'a RawValue>,
) -> Result<BTreeSet<DocId>> {
    // Where there are segments there are documents, and the kind of their ids stands.
    let kind: Option<IdKind> = log.state.schema.id_kind;
    let mut wanted = BTreeSet::new();
    for id in requests.iter().flat_map(|request| ids_of(&request.batch)) {
        // What is no id is refused when its turn comes.
        if let Ok(id) = raw::doc_id(kind, id)
            && matches!(log.tail.get(&id)?, Latest::Unknown)
        {
            wanted.insert(id);
        }
    }
    Ok(wanted)
}

/// Takes bytes of some room; `false` if they do not fit.
fn take(room: &mut u64, bytes: u64) -> bool {
    let rest = room.checked_sub(bytes);
    *room = rest.unwrap_or(0);
    rest.is_some()
}

fn id_bytes(id: &DocId) -> u64 {
    match id {
        DocId::Uint(_) => 8,
        DocId::Uuid(_) => 16,
        DocId::String(text) => text.len() as u64,
    }
}

/// Which limit a write by filter is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Rows,
    Bytes,
}

impl Over {
    fn of(rows: bool, bytes: bool) -> Option<Self> {
        match (rows, bytes) {
            (_, true) => Some(Self::Bytes),
            (true, false) => Some(Self::Rows),
            (false, false) => None,
        }
    }

    /// Why a write that may not be partial is refused. `most`: its rows.
    fn refusal(self, name: &str, most: usize, limits: WriteLimits) -> Error {
        let limit = match self {
            Self::Rows => format!("{most} rows"),
            Self::Bytes => format!("{} bytes of changes", limits.stored_bytes),
        };
        Error::new(
            ErrorKind::InvalidRequest,
            "by_filter_too_much",
            format!(
                "`{name}` matches too much: expected at most {limit}; `{name}_allow_partial` changes as many as may \
                 be"
            ),
        )
    }
}

fn patched_ids(batch: &WriteBatch) -> Vec<&RawValue> {
    batch.patches.iter().map(|patch| &patch.id).collect()
}

/// The ids whose documents conditions look at; patches read theirs whole.
fn asked_ids(batch: &WriteBatch) -> Vec<&RawValue> {
    let upserts = batch.upserts.iter().map(|document| &document.id);
    let upserts = upserts.filter(|_| batch.upsert_condition.is_some());
    let deletes = batch.deletes.iter();
    let deletes = deletes.filter(|_| batch.delete_condition.is_some());
    upserts.chain(deletes).collect()
}

/// What conditions may look at: what is filterable or searched by patterns, or may be made so by a request of
/// the group.
fn filterable(view: &View, requests: &[Request]) -> Vec<AttrId> {
    let specs = requests
        .iter()
        .filter_map(|request| request.batch.schema.as_ref());
    let declared: BTreeSet<&str> = specs
        .flat_map(|spec| spec.attributes.keys().map(String::as_str))
        .collect();
    let attributes = view.schema.attributes.iter();
    attributes
        .filter(|(name, attribute)| {
            let declared = declared.contains(name.as_str()) && !attribute.kind.is_vector();
            attribute.filterable || attribute.regex || attribute.glob || declared
        })
        .map(|(_, attribute)| attribute.id)
        .collect()
}
