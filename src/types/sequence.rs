//! Positions in a namespace's log: newtypes with no arithmetic between kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The dense number of an entry in a namespace's WAL; the first slot is 1, 0 is the state before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WalSeq(pub u64);

impl WalSeq {
    /// The sequence that follows.
    #[must_use]
    pub fn next(self) -> Self {
        // Saturates: numbers read from damaged objects must not overflow.
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for WalSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a slot lies: block and index within the block. A function of the state before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlotName {
    /// Block number, from 0.
    pub block: u64,
    /// Index in the block, from 0.
    pub idx: u32,
}

impl SlotName {
    /// The head of the block: the slot whose nonce anchors everything after it.
    #[must_use]
    pub fn head(self) -> Self {
        Self {
            block: self.block,
            idx: 0,
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.block, self.idx)
    }
}

/// 128 random bits, fresh in every create request: tells whose bytes a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(#[serde(with = "hex16")] pub u128);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// 128-bit numbers as 32 hexadecimal digits: JSON numbers cannot hold them.
pub(crate) mod hex16 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &u128, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{value:032x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<u128, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(input)?;
        if text.len() != 32 {
            return Err(D::Error::custom(format!(
                "expected 32 hexadecimal digits, found {} characters",
                text.len()
            )));
        }
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
