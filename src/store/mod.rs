//! The bucket: five operations, outcomes as types, nothing else.
//!
//! Owns: backends by URL, the laws they must keep, decorators (retry, count, instrument, fault),
//! and the cache of segment files in front of it.
//! Must not know: namespaces, slots, manifests. Read the `Bucket` trait first.

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::types::Timestamp;

pub mod cache;
pub mod conformance;
pub mod count;
#[cfg(test)]
pub(crate) mod dated;
pub mod error;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
mod http_date;
pub mod instrument;
pub mod key;
pub mod local;
pub mod object;
pub mod open;
pub mod probe;
mod proved;
pub mod resolve;
pub mod retry;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use open::{StoreOptions, open};
pub use probe::probe;
pub use proved::{Proved, read_proved};
pub use resolve::{Resolved, create_once};

/// What a put-if-absent did. A failure that certainly changed nothing is an `Err` instead.
#[derive(Debug)]
pub enum CreateOutcome {
    /// The object is ours and durable.
    Created {
        /// The store's own clock when it answered, where it tells one.
        store_date: Option<Timestamp>,
    },
    /// An object of that name exists. It may be our own earlier attempt, and some stores answer this
    /// although nothing was written: only reading it back decides.
    Exists,
    /// No answer, or one that decides nothing: the object may appear now, later or never.
    Unknown(StoreError),
}

/// An object's bytes, or a part of them.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The bytes asked for; shorter only where the object ends.
    pub bytes: Bytes,
    /// The store's own clock when it answered, where it tells one.
    pub store_date: Option<Timestamp>,
}

/// What a read found. That there is nothing is an answer like any other, and dated by the store's clock too.
#[derive(Debug, Clone)]
pub enum GetOutcome {
    /// The object is there.
    Found(Fetched),
    /// There is no object of that name.
    Missing {
        /// The store's own clock when it answered, where it tells one.
        store_date: Option<Timestamp>,
    },
}

impl GetOutcome {
    /// The object, for callers to whom the date of its absence means nothing.
    pub fn found(self) -> Option<Fetched> {
        match self {
            Self::Found(fetched) => Some(fetched),
            Self::Missing { .. } => None,
        }
    }

    /// The object's bytes, for callers to whom no date means anything.
    pub fn into_bytes(self) -> Option<Bytes> {
        self.found().map(|fetched| fetched.bytes)
    }

    /// Whether there is none.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// The same answer with other bytes, where it has any.
    pub fn map_bytes(self, change: impl FnOnce(Bytes) -> Bytes) -> Self {
        match self {
            Self::Found(fetched) => Self::Found(Fetched {
                bytes: change(fetched.bytes),
                store_date: fetched.store_date,
            }),
            missing @ Self::Missing { .. } => missing,
        }
    }
}

/// One row of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The whole key.
    pub key: String,
    /// Object size, bytes.
    pub size_bytes: u64,
    /// Last modification by the store's clock.
    pub last_modified: Timestamp,
}

/// How a store is reached; decides freshness and grace rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// `memory://`: dies with the process.
    Memory,
    /// `file://`: a local directory.
    Local,
    /// `s3://`, `gs://`, `az://`: over HTTP, with a clock of its own.
    Http,
}

/// The store as the rest of Elacsym sees it. Keys are relative to the bucket URL's prefix.
///
/// Every method is cancel safe in the sense that dropping it leaves each object whole; a dropped
/// `create` or `delete` may or may not have happened.
#[async_trait]
pub trait Bucket: Send + Sync + fmt::Debug {
    /// Puts an object that must not exist yet, in exactly one attempt: no layer repeats it.
    async fn create(&self, key: &str, bytes: Bytes) -> Result<CreateOutcome, StoreError>;
    /// Puts an object whatever was there. For advisory objects only.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;
    /// Reads a whole object.
    async fn get(&self, key: &str) -> Result<GetOutcome, StoreError>;
    /// Reads bytes `range` of an object, cut where it ends, empty where it starts at or past the end.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<GetOutcome, StoreError>;
    /// Lists all keys that start with `prefix` (a plain string prefix) and sort after `start_after`,
    /// sorted by bytes; the first `limit` of them, or all.
    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<Listed>, StoreError>;
    /// Deletes an object; one that is missing is done.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// Says that hardly anybody on this machine will read an object soon. Advice: no read changes by it, and that
    /// it failed is told to nobody.
    async fn let_go(&self, _key: &str) {}
    /// How the store is reached.
    fn kind(&self) -> StoreKind;
    /// The URL, without secrets, for messages.
    fn url(&self) -> &str;
}
