//! A group of requests against one state: who applies, and the one entry they make. Pure.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::Request;
use super::gather::{Gathered, Known};
use super::stage::{Changes, Newest, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Effects, wal::Body};
use crate::lsm::entry::{Id16, KeyedRequest, WriteEntry};
use crate::lsm::{Entry, Latest, State, Tail};
use crate::namespace::bind::{self, BoundWrite};
use crate::rows;
use crate::types::document::WriteOutcome;
use crate::types::{DocId, NamespaceSchema, RowMap, WalSeq};

/// What became of one request.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is part of the entry; `seq` is filled in once that is committed.
    Applies(WriteOutcome),
    /// The same request was committed before: its first outcome.
    Repeats(WriteOutcome),
    /// It repeats an earlier request of this group.
    RepeatsInGroup(usize),
    /// It drops out, alone.
    Refused(Error),
}

/// What a group comes to.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) fates: Vec<Fate>,
    /// The entry, its rows and its bytes; `None` if no request applies.
    pub(super) commit: Option<Commit>,
}

/// An entry ready to be appended.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) entry: Entry,
    pub(super) effects: Effects,
    pub(super) body: Body,
}

/// Evaluates a group: request k against `state`, `tail` and `gathered` plus the effects of requests before it.
///
/// Errors: `Internal` if the rows do not join or encode; a request's own faults are its fate.
pub(super) fn evaluate(
    state: &State,
    tail: &Tail,
    mut gathered: Gathered,
    requests: &[Request],
    batch: Id16,
) -> Result<Group> {
    let bound = gathered.bound.take();
    let mut draft = Draft::new(state, tail, &gathered, bound);
    let fates = requests
        .iter()
        .map(|request| draft.add(request))
        .collect::<Vec<_>>();
    let any = fates.iter().any(|fate| matches!(fate, Fate::Applies(_)));
    let commit = any.then(|| draft.seal(batch)).transpose()?;
    Ok(Group { fates, commit })
}

/// What the requests so far come to.
pub(super) struct Draft<'a> {
    state: &'a State,
    tail: &'a Tail,
    gathered: &'a Gathered,
    /// The first request, where it was bound already.
    bound: Option<BoundWrite>,
    schema: Arc<NamespaceSchema>,
    batches: Vec<RecordBatch>,
    newest: RowMap<DocId, Newest>,
    keyed: Vec<(usize, KeyedRequest)>,
    n_requests: usize,
}

impl<'a> Draft<'a> {
    fn new(
        state: &'a State,
        tail: &'a Tail,
        gathered: &'a Gathered,
        bound: Option<BoundWrite>,
    ) -> Self {
        Self {
            state,
            tail,
            gathered,
            bound,
            schema: Arc::clone(&state.schema),
            batches: Vec::new(),
            newest: RowMap::default(),
            keyed: Vec::new(),
            n_requests: 0,
        }
    }

    fn add(&mut self, request: &Request) -> Fate {
        let position = self.n_requests;
        self.n_requests += 1;
        match self.repeated(request) {
            Ok(Some(fate)) => return fate,
            Ok(None) => {}
            Err(error) => return Fate::Refused(error),
        }
        if self.state.settings().read_only {
            return Fate::Refused(read_only());
        }
        let bound = match self.bound.take_if(|_| position == 0) {
            Some(bound) => Ok(bound),
            None => bind::bind(&self.schema, &request.batch),
        };
        let outcome = bound.and_then(|bound| self.take(position, request, bound));
        match outcome {
            Ok(outcome) => {
                self.remember(position, request, &outcome);
                Fate::Applies(outcome)
            }
            Err(error) => Fate::Refused(error),
        }
    }

    /// The first outcome of a request with the same `Idempotency-Key`, in the log or in this group.
    fn repeated(&self, request: &Request) -> Result<Option<Fate>> {
        let Some(key) = request.key else {
            return Ok(None);
        };
        let (wanted, body) = (Id16(key.key), Id16(key.body));
        let in_group = self.keyed.iter().find(|(_, keyed)| keyed.key == wanted);
        if let Some((position, keyed)) = in_group {
            check_body(keyed, body)?;
            return Ok(Some(Fate::RepeatsInGroup(*position)));
        }
        let in_log = self.state.keyed.iter().rev();
        let Some((seq, keyed)) = in_log.into_iter().find(|(_, keyed)| keyed.key == wanted) else {
            return Ok(None);
        };
        check_body(keyed, body)?;
        Ok(Some(Fate::Repeats(WriteOutcome {
            seq: *seq,
            rows_upserted: keyed.rows_upserted,
            rows_patched: keyed.rows_patched,
            rows_deleted: keyed.rows_deleted,
            rows_remaining: keyed.rows_remaining,
            bytes_written: keyed.bytes_written,
            ..WriteOutcome::default()
        })))
    }

    fn remember(&mut self, position: usize, request: &Request, outcome: &WriteOutcome) {
        if let Some(key) = request.key {
            let keyed = KeyedRequest {
                key: Id16(key.key),
                body: Id16(key.body),
                rows_upserted: outcome.rows_upserted,
                rows_patched: outcome.rows_patched,
                rows_deleted: outcome.rows_deleted,
                rows_remaining: outcome.rows_remaining,
                bytes_written: outcome.bytes_written,
            };
            self.keyed.push((position, keyed));
        }
    }

    /// Takes a bound request in, whole or not at all.
    fn take(
        &mut self,
        position: usize,
        request: &Request,
        bound: BoundWrite,
    ) -> Result<WriteOutcome> {
        let matched = self.gathered.matched.as_ref().filter(|_| position == 0);
        let changes = Stage::new(self, &bound, &request.batch).run(position, matched)?;
        let Changes {
            newest,
            batches,
            outcome,
        } = changes;
        self.newest.extend(newest);
        self.batches.extend(batches);
        if bound.schema_changed {
            self.schema = Arc::new(bound.schema);
        }
        Ok(outcome)
    }

    /// The current document of an id: of this group if it touched it, else of the state.
    pub(super) fn current(&self, id: &DocId) -> Result<Known> {
        match self.newest.get(id) {
            Some(Newest::Row { batch, row }) => {
                rows::take_rows(&self.batches[*batch], &[*row]).map(Known::Document)
            }
            Some(Newest::Deleted) => Ok(Known::Missing),
            None => Ok(match self.tail.get(id)? {
                Latest::Document(document) => Known::Document(document),
                Latest::Deleted => Known::Missing,
                Latest::Unknown => self.gathered.stored(id),
            }),
        }
    }

    /// For how many bytes of stored documents there is room.
    pub(super) fn most_bytes(&self) -> u64 {
        self.gathered.most_bytes
    }

    /// How many batches of rows the requests so far have made.
    pub(super) fn n_batches(&self) -> usize {
        self.batches.len()
    }

    fn seal(self, batch: Id16) -> Result<Commit> {
        let effects = self.effects()?;
        let grown = self.schema != self.state.schema;
        let entry = Entry::Write(WriteEntry {
            batch,
            keyed: self.keyed.into_iter().map(|(_, keyed)| keyed).collect(),
            schema: grown.then_some(self.schema),
        });
        let body = Body::encode(&entry, &effects)?;
        Ok(Commit {
            entry,
            effects,
            body,
        })
    }

    /// The net effect: each id once, by its newest version, rows in the order they came.
    #[allow(
        clippy::iter_over_hash_type,
        reason = "what comes out is sorted: rows by place, deletes by id"
    )]
    fn effects(&self) -> Result<Effects> {
        let mut chosen: Vec<Vec<u32>> = vec![Vec::new(); self.batches.len()];
        let mut deleted = Vec::new();
        for (id, newest) in &self.newest {
            match newest {
                Newest::Row { batch, row } => chosen[*batch].push(*row),
                Newest::Deleted => deleted.push(id.clone()),
            }
        }
        let mut parts = Vec::new();
        for (batch, mut chosen) in self.batches.iter().zip(chosen) {
            chosen.sort_unstable();
            if chosen.len() == batch.num_rows() && !chosen.is_empty() {
                parts.push(batch.clone());
            } else if !chosen.is_empty() {
                parts.push(rows::take_rows(batch, &chosen)?);
            }
        }
        let upserts = (!parts.is_empty())
            .then(|| rows::concat(&parts, &self.schema))
            .transpose()?;
        deleted.sort_unstable();
        let deletes = match (deleted.is_empty(), self.schema.id_kind) {
            (false, Some(kind)) => Some(rows::id_array(kind, &deleted)?),
            _ => None,
        };
        Ok(Effects { upserts, deletes })
    }
}

fn read_only() -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        "namespace_read_only",
        "the namespace is read-only: writes are refused until its metadata say `\"read_only\": false`",
    )
}

fn check_body(keyed: &KeyedRequest, body: Id16) -> Result<()> {
    if keyed.body == body {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Malformed,
        "idempotency_key_reused",
        "this `Idempotency-Key` was used before with another body",
    ))
}

/// Fills in the sequence and follows repetitions within the group.
pub(super) fn outcomes(fates: Vec<Fate>, seq: WalSeq) -> Vec<Result<WriteOutcome>> {
    let applied: Vec<Option<WriteOutcome>> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Applies(outcome) => Some(WriteOutcome {
                seq,
                ..outcome.clone()
            }),
            Fate::Repeats(_) | Fate::RepeatsInGroup(_) | Fate::Refused(_) => None,
        })
        .collect();
    fates
        .into_iter()
        .enumerate()
        .map(|(position, fate)| match fate {
            Fate::Refused(error) => Err(error),
            Fate::Repeats(outcome) => Ok(outcome),
            Fate::Applies(_) => settled(&applied, position),
            Fate::RepeatsInGroup(first) => settled(&applied, first),
        })
        .collect()
}

fn settled(applied: &[Option<WriteOutcome>], position: usize) -> Result<WriteOutcome> {
    applied
        .get(position)
        .cloned()
        .flatten()
        .ok_or_else(|| Error::internal("a repeated request has no first outcome"))
}
