//! Bytes to values and back, nothing else: every object's magic, version and checksum.
//!
//! Must not know: IO, who asks. Bytes come from strangers: nothing here panics on them. Read `wal.rs`
//! first; each file has its page in `docs/format/`.

// Offsets below are checked against lengths first; these lints hold that.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod deletions;
pub mod dirty;
mod effects;
pub mod frame;
mod json;
pub mod manifest;
pub mod path;
pub mod record;
pub mod references;
pub mod segment;
pub mod wal;

pub use effects::Effects;
pub(crate) use frame::corrupt;
pub use wal::Slot;
