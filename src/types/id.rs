//! Names and ids, validated once.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::limits;
use crate::error::{Error, Result};

/// A namespace's public name: `[A-Za-z0-9-_.]{1,128}`, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceName(Arc<str>);

impl NamespaceName {
    /// Validates a name. Errors: `InvalidRequest`.
    pub fn parse(name: &str) -> Result<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=limits::NAMESPACE_NAME_BYTES_MAX).contains(&name.len());
        if fits && name.bytes().all(legal) && name != "." && name != ".." {
            Ok(Self(name.into()))
        } else {
            Err(Error::new(
                crate::error::ErrorKind::InvalidRequest,
                "invalid_namespace_name",
                format!(
                    "invalid namespace name `{}`: expected 1 to {} characters of A-Z a-z 0-9 - _ . other than `.` and `..`",
                    name.chars().take(200).collect::<String>(),
                    limits::NAMESPACE_NAME_BYTES_MAX
                ),
            ))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One incarnation of a namespace: random, so that a re-created name never meets old objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceId(pub Uuid);

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// The one kind of id a namespace has, inferred from its first write or declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// Unsigned 64-bit integer.
    Uint,
    /// UUID, declared as `{"id": "uuid"}`.
    Uuid,
    /// Text of at most 64 bytes.
    String,
}

impl IdKind {
    /// The name the API uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uint => "uint",
            Self::Uuid => "uuid",
            Self::String => "string",
        }
    }
}

/// A document's id. The order is that of `order by id`: numbers by value, uuids and text by bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DocId {
    /// Unsigned 64-bit integer.
    Uint(u64),
    /// UUID.
    Uuid(Uuid),
    /// Text of at most 64 bytes.
    String(Box<str>),
}

impl DocId {
    /// Which kind it is.
    pub fn kind(&self) -> IdKind {
        match self {
            Self::Uint(_) => IdKind::Uint,
            Self::Uuid(_) => IdKind::Uuid,
            Self::String(_) => IdKind::String,
        }
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(id) => id.fmt(f),
            Self::Uuid(id) => id.as_hyphenated().fmt(f),
            Self::String(id) => f.write_str(id),
        }
    }
}
