//! Manifests: the canonical bytes of a state. Two nodes that write the same state write the same bytes.
//!
//! Format: `docs/format/manifest.md`.

use super::frame::corrupt;
use super::record;
use crate::error::Result;
use crate::lsm::{State, invariant};
use crate::types::WalSeq;

/// The canonical bytes of a state.
pub fn encode(state: &State) -> Vec<u8> {
    record::encode(state)
}

/// Decodes and verifies a manifest; `seq`, where given, is what its key promises.
///
/// Errors: `Corrupted` if the bytes, the sequence or a rule of states is wrong.
pub fn decode(key: &str, seq: Option<WalSeq>, bytes: &[u8]) -> Result<State> {
    let state: State = record::decode(key, bytes)?;
    if let Some(expected) = seq
        && state.seq != expected
    {
        return Err(corrupt(key, "sequence", expected, state.seq));
    }
    invariant::check(&state, None)
        .map_err(|violation| corrupt(key, "state", "one that keeps every rule", violation))?;
    Ok(state)
}
