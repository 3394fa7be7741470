//! Checking a store: every object that a namespace's states refer to is read and hashed again.
//!
//! A check reads only (`repair.rs` is asked for), and holds one piece of one object at a time beside the states. Safe beside running servers: an
//! object that is gone is judged once more by a fresh state. Read `survey.rs` first; what is referred to is
//! decided in `format::references`.

mod dropped;
mod markers;
mod names;
mod objects;
mod repair;
mod survey;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::handle::not_found;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{self, Genesis, StoreRecord};
use crate::format::references::Standing;
use crate::format::{corrupt, dirty, path};
use crate::store::Bucket;
use crate::types::{Clock, Entropy, NamespaceId, NamespaceName};
pub use markers::Marked;
use markers::Markers;
pub use repair::{Repair, check_and_repair};
use survey::Survey;

/// How often a namespace that changes under the check is looked at again.
const TRIES_MAX: u32 = 4;
/// Keys asked for in one listing request.
const KEYS_A_REQUEST: usize = 1_000;

/// What a check tells, in the order in which it finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Stored bytes are not those that were written.
    Damaged {
        /// The object.
        object: String,
        /// Where, what was expected, what was found.
        error: String,
    },
    /// An object that is needed is not there.
    Missing {
        /// The object.
        object: String,
        /// What needs it.
        needed_by: String,
    },
    /// A damaged copy or hint that only saves time: it is passed over, and written again or deleted.
    Advisory {
        /// The object.
        object: String,
        /// What is wrong with it.
        error: String,
    },
    /// An object that is damaged or missing, and that only states of the past refer to: it goes with them.
    Past {
        /// The object.
        object: String,
        /// What is wrong with it.
        error: String,
    },
    /// An object that nothing refers to or ever will: it costs space only.
    Orphan {
        /// The object.
        object: String,
        /// Its length.
        bytes: u64,
    },
    /// A server found an object damaged and marked it.
    Quarantined {
        /// The object.
        object: String,
        /// The marker: it may be removed once the object is whole.
        marker: String,
        /// What this check knows of the object.
        now: Marked,
    },
    /// Objects that are not read.
    Skipped {
        /// Their prefix.
        object: String,
        /// Why.
        why: String,
    },
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Live namespaces looked at.
    pub namespaces: u64,
    /// Dropped ones whose end was looked at.
    pub dropped: u64,
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Findings of damage.
    pub damaged: u64,
    /// Objects that are missing.
    pub missing: u64,
    /// Damaged advisory copies and hints.
    pub advisory: u64,
    /// Damaged or missing index files that only older states refer to.
    pub past: u64,
    /// Dirty hints, damaged ones included.
    pub dirty_hints: u64,
    /// Objects that nothing refers to.
    pub orphans: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Objects that servers have marked as damaged.
    pub quarantined: u64,
    /// Those of them that are whole again, or that nothing refers to any more.
    pub mended: u64,
    /// Prefixes that were not read.
    pub skipped: u64,
}

impl Checked {
    /// Whether nothing that is needed is damaged or missing.
    pub fn is_clean(&self) -> bool {
        self.damaged == 0 && self.missing == 0
    }
}

/// Checks one live namespace, or all and the store's own record, and tells findings as they come.
///
/// Of dropped namespaces only the end of the log is looked at; that the rest is not is told. Errors: `NotFound` for the name; `Unavailable` where the store does
/// not answer: the check has not ended then. Cancel safe: nothing changes.
pub async fn check(
    bucket: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    only: Option<&NamespaceName>,
    tell: &mut (dyn FnMut(&Finding) + Send),
) -> Result<Checked> {
    let mut checker = Checker {
        bucket,
        clock,
        entropy,
        done: Checked::default(),
        markers: Markers::default(),
        only: only.is_some(),
        tell,
    };
    if only.is_none() {
        checker.load_markers(None).await?;
    }
    if only.is_none() {
        checker
            .small(path::STORE, "every server", |key, bytes| {
                record::decode::<StoreRecord>(key, bytes).map(drop)
            })
            .await?;
    }
    let found = checker.names(only).await?;
    if only.is_none() {
        checker.dirty_hints().await?;
    }
    checker.tell_markers();
    match only {
        Some(name) if !found => Err(not_found(name)),
        _ => Ok(checker.done),
    }
}

/// A check under way.
struct Checker<'a> {
    bucket: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    done: Checked,
    markers: Markers,
    /// Whether one name is checked, and its markers are read once it is known what it means.
    only: bool,
    tell: &'a mut (dyn FnMut(&Finding) + Send),
}

/// What an object turned out to be.
enum Verdict {
    Whole,
    Damaged(Error),
    Missing,
}

impl Checker<'_> {
    fn report(&mut self, finding: Finding) {
        match &finding {
            Finding::Damaged { object, .. } => {
                self.done.damaged += 1;
                self.markers.bad(object);
            }
            Finding::Missing { object, .. } => {
                self.done.missing += 1;
                self.markers.bad(object);
            }
            Finding::Advisory { .. } => self.done.advisory += 1,
            Finding::Past { object, .. } => {
                self.done.past += 1;
                self.markers.bad(object);
            }
            Finding::Orphan { bytes, .. } => {
                self.done.orphans += 1;
                self.done.orphan_bytes += bytes;
            }
            Finding::Quarantined { now, .. } => {
                self.done.quarantined += 1;
                self.done.mended += u64::from(*now != Marked::Damaged);
            }
            Finding::Skipped { .. } => self.done.skipped += 1,
        }
        (self.tell)(&finding);
    }

    fn damaged(&mut self, object: &str, error: &Error) {
        self.report(Finding::Damaged {
            object: object.to_owned(),
            error: error.chain(),
        });
    }

    fn missing(&mut self, object: &str, needed_by: &str) {
        self.report(Finding::Missing {
            object: object.to_owned(),
            needed_by: needed_by.to_owned(),
        });
    }

    fn count(&mut self, object: &str, bytes: usize) {
        self.markers.read(object);
        self.done.objects += 1;
        self.done.bytes += bytes as u64;
    }

    /// Reads a small object and decodes it.
    async fn decoded<T>(
        &mut self,
        key: &str,
        decode: impl Fn(&str, &[u8]) -> Result<T>,
    ) -> Result<Option<Result<T>>> {
        let Some(found) = self.bucket.get(key).await?.found() else {
            return Ok(None);
        };
        self.count(key, found.bytes.len());
        Ok(Some(decode(key, &found.bytes)))
    }

    /// Checks a small object that must be there.
    async fn small(
        &mut self,
        key: &str,
        needed_by: &str,
        decode: impl Fn(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        match self.decoded(key, decode).await? {
            None => self.missing(key, needed_by),
            Some(Err(error)) => self.damaged(key, &error),
            Some(Ok(())) => {}
        }
        Ok(())
    }

    /// Checks an object that may be missing or stale.
    async fn advisory(
        &mut self,
        key: &str,
        decode: impl Fn(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if let Some(Err(error)) = self.decoded(key, decode).await? {
            let (object, error) = (key.to_owned(), error.chain());
            self.report(Finding::Advisory { object, error });
        }
        Ok(())
    }

    /// Checks the dirty hints: none of them is needed, and none is an orphan.
    async fn dirty_hints(&mut self) -> Result<()> {
        let mut start_after: Option<String> = None;
        loop {
            let listed = self
                .bucket
                .list(path::DIRTY, start_after.as_deref(), Some(KEYS_A_REQUEST))
                .await?;
            for object in &listed {
                self.done.dirty_hints += 1;
                let decode = |key: &str, bytes: &[u8]| {
                    path::parse_dirty(key)?;
                    dirty::decode(key, bytes).map(drop)
                };
                self.advisory(&object.key, decode).await?;
            }
            match listed.last() {
                Some(last) if listed.len() == KEYS_A_REQUEST => {
                    start_after = Some(last.key.clone());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Checks one incarnation.
    async fn namespace(
        &mut self,
        id: NamespaceId,
        name: &NamespaceName,
        named_by: &str,
    ) -> Result<()> {
        self.done.namespaces += 1;
        let genesis = path::genesis(id);
        match self.decoded(&genesis, record::decode::<Genesis>).await? {
            None => self.missing(&genesis, named_by),
            Some(Err(error)) => self.damaged(&genesis, &error),
            Some(Ok(Genesis::Created { name: born })) if born != name.as_str() => {
                let error = corrupt(
                    named_by,
                    "name",
                    name,
                    format_args!("the birth of `{born}`"),
                );
                // One of the two is in the wrong place, and nothing says which.
                self.damaged(named_by, &error);
                self.damaged(&genesis, &error);
            }
            Some(Ok(_)) => {}
        }
        self.advisory(&path::head(id), |key, bytes| {
            crate::format::manifest::decode(key, None, bytes).map(drop)
        })
        .await?;
        let survey = self.settled(id).await?;
        for finding in &survey.findings {
            self.report(finding.clone());
        }
        let gone = self.files(&survey).await?;
        if !gone.is_empty() {
            // Perhaps they were replaced meanwhile: the state that is newest now decides.
            let fresh = self.settled(id).await?;
            for (key, needed_by) in &gone {
                match fresh.references.contains(key) {
                    true if fresh.is_past(key) => {
                        let error = format!("it is not there, {needed_by} refers to it");
                        let object = key.clone();
                        self.report(Finding::Past { object, error });
                    }
                    true => self.missing(key, needed_by),
                    false => {}
                }
            }
        }
        // Without the newest state, nothing can be called an orphan.
        if survey.newest.is_some() {
            self.strays(id, &survey).await?;
        }
        Ok(())
    }

    /// Surveys until no truncation comes in between.
    async fn settled(&mut self, id: NamespaceId) -> Result<Survey> {
        for last in (0..TRIES_MAX).rev() {
            if let Some(survey) = self.survey(id, last == 0).await? {
                return Ok(survey);
            }
        }
        Err(Error::unavailable(format!(
            "namespace {id} was truncated {TRIES_MAX} times while it was being checked"
        )))
    }

    /// Looks for objects that nothing refers to, and for slots that the log does not run through.
    async fn strays(&mut self, id: NamespaceId, survey: &Survey) -> Result<()> {
        let Some(newest) = &survey.newest else {
            return Ok(());
        };
        let mut after_end = None;
        for prefix in [
            path::wal_prefix(id),
            path::segment_prefix(id),
            path::deletions_prefix(id),
        ] {
            let mut start_after: Option<String> = None;
            loop {
                let listed = self
                    .bucket
                    .list(&prefix, start_after.as_deref(), Some(KEYS_A_REQUEST))
                    .await?;
                for object in &listed {
                    let standing = survey.references.standing(id, newest, &object.key);
                    let is_slot = object.key.starts_with(&path::wal_prefix(id));
                    match standing {
                        Standing::Orphan | Standing::Strange => {
                            let (object, bytes) = (object.key.clone(), object.size_bytes);
                            self.report(Finding::Orphan { object, bytes });
                        }
                        Standing::Newer if is_slot => {
                            after_end.get_or_insert_with(|| object.key.clone());
                        }
                        Standing::Referenced if is_slot => {
                            self.slot_between(id, survey, &object.key).await?;
                        }
                        Standing::Referenced | Standing::Pending(_) | Standing::Newer => {}
                    }
                }
                match listed.last() {
                    Some(last) if listed.len() == KEYS_A_REQUEST => {
                        start_after = Some(last.key.clone());
                    }
                    _ => break,
                }
            }
        }
        match after_end {
            Some(key) => self.gap(id, survey, &key).await,
            None => Ok(()),
        }
    }
}

/// Whether an error is about one object and not about the way to the store.
fn is_verdict(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupted || error.code() == "unknown_format"
}
