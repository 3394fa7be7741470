//! Dirty hints: which namespaces a node has left rows in the log of, for others to find if it dies.
//!
//! Format: `docs/format/dirty.md`.

use serde::{Deserialize, Serialize};

use super::frame::{ObjectKind, corrupt};
use super::record::{self, Record};
use crate::error::Result;
use crate::types::{NamespaceId, NamespaceName, limits};

/// One hint. It says that there may be work, never that there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirtyHint {
    /// Ascending by id, 1 to `limits::DIRTY_NAMESPACES_MAX` of them.
    pub namespaces: Vec<DirtyNamespace>,
}

/// A namespace that has rows in no segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirtyNamespace {
    /// The incarnation.
    pub namespace: NamespaceId,
    /// Its name, by which it is opened.
    #[serde(with = "name_text")]
    pub name: NamespaceName,
    /// How long its oldest such row had waited when the hint was made, milliseconds of the maker's clock.
    pub waited_ms: u64,
}

impl Record for DirtyHint {
    const KIND: ObjectKind = ObjectKind::Dirty;
}

/// Encodes a hint whose namespaces ascend by id.
pub fn encode(hint: &DirtyHint) -> Vec<u8> {
    debug_assert!(ascends(hint), "ascending by id, each once");
    record::encode(hint)
}

/// Decodes and verifies a hint. Errors: `Corrupted`; `Unavailable` for an unknown format.
pub fn decode(key: &str, bytes: &[u8]) -> Result<DirtyHint> {
    let most = limits::DIRTY_NAMESPACES_MAX;
    if bytes.len() as u64 > limits::DIRTY_HINT_BYTES_MAX {
        let expected = format_args!("at most {}", limits::DIRTY_HINT_BYTES_MAX);
        return Err(corrupt(key, "length", expected, bytes.len()));
    }
    let hint: DirtyHint = record::decode(key, bytes)?;
    let found = hint.namespaces.len();
    if !(1..=most).contains(&found) {
        let expected = format_args!("1 to {most}");
        return Err(corrupt(key, "number of namespaces", expected, found));
    }
    if !ascends(&hint) {
        let expected = "ascending ids, each once";
        return Err(corrupt(key, "order of namespaces", expected, "another"));
    }
    Ok(hint)
}

fn ascends(hint: &DirtyHint) -> bool {
    let mut pairs = hint.namespaces.windows(2);
    pairs.all(|pair| matches!(pair, [a, b] if a.namespace < b.namespace))
}

/// A name as its text; one that is not legal does not decode.
mod name_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::NamespaceName;

    pub(super) fn serialize<S: Serializer>(
        name: &NamespaceName,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<NamespaceName, D::Error> {
        let text = String::deserialize(deserializer)?;
        NamespaceName::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::error::ErrorKind;

    const KEY: &str = "dirty/00000001-00000000000000000000000000000002-00000003";

    fn namespace(id: u128, name: &str, waited_ms: u64) -> DirtyNamespace {
        DirtyNamespace {
            namespace: NamespaceId(Uuid::from_u128(id)),
            name: NamespaceName::parse(name).expect("a legal name"),
            waited_ms,
        }
    }

    fn hint(ids: impl IntoIterator<Item = u128>) -> DirtyHint {
        let namespaces = ids.into_iter().map(|id| namespace(id, "books", 7));
        DirtyHint {
            namespaces: namespaces.collect(),
        }
    }

    fn code_of(bytes: &[u8]) -> ErrorKind {
        decode(KEY, bytes).expect_err("refused").kind()
    }

    proptest! {
        #[test]
        fn hint_encoded_decodes_to_itself(
            entries in proptest::collection::btree_map(any::<u128>(), ("[a-z0-9_-]{1,40}", any::<u64>()), 1..50)
        ) {
            let namespaces = entries.iter().map(|(id, (name, waited))| namespace(*id, name, *waited));
            let hint = DirtyHint { namespaces: namespaces.collect() };
            let decoded = decode(KEY, &encode(&hint)).expect("it decodes");
            prop_assert_eq!(decoded, hint);
        }

        #[test]
        fn hint_with_any_bytes_changed_is_refused(at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut bytes = encode(&hint(1..5));
            let at = at.index(bytes.len());
            *bytes.get_mut(at).expect("within") ^= flip;
            prop_assert!(decode(KEY, &bytes).is_err());
        }

        #[test]
        fn strange_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(KEY, &bytes).is_err());
        }
    }

    #[test]
    fn hint_of_too_many_or_no_namespaces_is_refused() {
        let most = limits::DIRTY_NAMESPACES_MAX as u128;
        assert!(decode(KEY, &encode(&hint(1..=most))).is_ok());
        for n in [0, most + 1] {
            let bytes = record::encode(&hint(0..n));
            assert_eq!(code_of(&bytes), ErrorKind::Corrupted, "{n}");
        }
    }

    #[test]
    fn hint_of_the_largest_names_is_within_its_bytes() {
        let longest = "n".repeat(limits::NAMESPACE_NAME_BYTES_MAX);
        let most = limits::DIRTY_NAMESPACES_MAX as u128;
        let namespaces = (1..=most).map(|id| namespace(id, &longest, u64::MAX));
        let bytes = encode(&DirtyHint {
            namespaces: namespaces.collect(),
        });
        assert!(bytes.len() as u64 <= limits::DIRTY_HINT_BYTES_MAX);
        assert!(decode(KEY, &bytes).is_ok());
    }

    #[test]
    fn hint_in_another_order_or_with_an_illegal_name_is_refused() {
        for ids in [vec![2, 1], vec![1, 1]] {
            assert_eq!(code_of(&record::encode(&hint(ids))), ErrorKind::Corrupted);
        }
        let json = br#"{"namespaces":[{"namespace":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","name":"a/b","waited_ms":7}]}"#;
        let sealed = super::super::frame::seal(ObjectKind::Dirty, json);
        assert_eq!(code_of(&sealed), ErrorKind::Corrupted);
    }
}
