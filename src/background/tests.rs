//! The background on stores in memory and in virtual time; what it decides, by itself.

mod board;
mod book;
mod engines;

use uuid::Uuid;

use crate::format::dirty::{DirtyHint, DirtyNamespace};
use crate::namespace::OpenTail;
use crate::types::{NamespaceId, NamespaceName, WalSeq};

fn id(n: u128) -> NamespaceId {
    NamespaceId(Uuid::from_u128(n))
}

fn name() -> NamespaceName {
    NamespaceName::parse("books").expect("a legal name")
}

fn hint(ids: impl IntoIterator<Item = u128>) -> DirtyHint {
    let namespaces = ids.into_iter().map(|n| DirtyNamespace {
        namespace: id(n),
        name: name(),
        waited_ms: 0,
    });
    DirtyHint {
        namespaces: namespaces.collect(),
    }
}

fn tail(n: u128, flushed: u64, waits_since_ms: Option<u64>) -> (NamespaceId, OpenTail) {
    let tail = OpenTail {
        name: name(),
        flushed: WalSeq(flushed),
        waits_since_ms,
    };
    (id(n), tail)
}
