//! The small objects: the store's own, names, births, hints. JSON in the common envelope.
//!
//! Format: `docs/format/records.md`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::frame::{self, ObjectKind};
use super::json;
use super::path::KeyKind;
use crate::error::Result;
use crate::lsm::State;
use crate::lsm::entry::Id16;
use crate::types::{NamespaceId, Timestamp};

/// `STORE`: who this bucket is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRecord {
    /// Random id of the store.
    pub store: NamespaceId,
    /// Version of the law list the store has passed.
    pub conformance: u32,
}

/// One record of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum NameRecord {
    /// The name means this incarnation from now on.
    Created {
        /// The incarnation.
        namespace: NamespaceId,
    },
    /// The name means nothing from now on.
    Dropped {
        /// The incarnation it meant.
        namespace: NamespaceId,
    },
}

/// A namespace's birth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "genesis", rename_all = "snake_case", deny_unknown_fields)]
pub enum Genesis {
    /// Born empty.
    Created {
        /// The name it was born under, for people.
        name: String,
    },
}

/// The advisory hint of a name: which incarnation, and a state of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// The incarnation.
    pub namespace: NamespaceId,
    /// A state of it; the newest when it was written.
    pub state: State,
}

/// A quarantine marker: a server found an object damaged. Advisory: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marker {
    /// The key of the object.
    pub object: String,
    /// What it is, by its key.
    pub kind: KeyKind,
    /// Where the damage begins, bytes from the object's start, where that is known.
    pub offset: Option<u64>,
    /// What was expected there.
    pub expected: Option<String>,
    /// What was found.
    pub found: Option<String>,
    /// The whole sentence, for people.
    pub error: String,
    /// When, by the clock of the server that found it.
    pub at: Timestamp,
    /// A number that the server drew for itself; its log line has it too.
    pub node: Id16,
}

/// A value with an object kind of its own.
pub trait Record: Serialize + DeserializeOwned {
    /// Its kind.
    const KIND: ObjectKind;
}

impl Record for StoreRecord {
    const KIND: ObjectKind = ObjectKind::Store;
}
impl Record for NameRecord {
    const KIND: ObjectKind = ObjectKind::Name;
}
impl Record for Genesis {
    const KIND: ObjectKind = ObjectKind::Genesis;
}
impl Record for Hint {
    const KIND: ObjectKind = ObjectKind::Hint;
}
impl Record for Marker {
    const KIND: ObjectKind = ObjectKind::Marker;
}

impl Record for State {
    const KIND: ObjectKind = ObjectKind::Manifest;
}

/// The one encoding of a record: fields in declared order, maps sorted, no white space.
pub fn encode<R: Record>(record: &R) -> Vec<u8> {
    let json = json::encode(record).expect("records have string keys and finite numbers only");
    frame::seal(R::KIND, &json)
}

/// Decodes and verifies a record. Errors: `Corrupted`; `Unavailable` for an unknown format.
pub fn decode<R: Record>(key: &str, bytes: &[u8]) -> Result<R> {
    let payload = frame::open(key, R::KIND, bytes)?;
    json::decode(key, "payload", payload)
}
