//! What exists and what is visible: the commit protocol's rules as pure functions.
//!
//! Owns: entries, the state they make, the steps of an append, of catching up and of a probe, the tail of rows.
//! Must not know: IO, clocks, how bytes look. The server, the simulator and the model run this same
//! code. Read `state.rs` first, then `append.rs`.

pub mod advance;
pub mod append;
pub mod entry;
pub mod indexing;
pub mod invariant;
pub mod merge;
pub mod pick;
pub mod probe;
pub mod segment;
pub mod settings;
pub mod state;
pub mod tail;
#[cfg(test)]
pub(crate) mod tests;
pub mod truncate;
mod weight;

pub use advance::{Advance, AdvanceEvent, AdvanceStep};
pub use append::{Append, AppendEvent, AppendStep};
pub use entry::{Entry, SlotHeader};
pub use merge::MergeInput;
pub use pick::{Job, Policy};
pub use probe::{Probe, ProbeEvent, ProbeStep};
pub use segment::{BitmapPlace, DeletionUpdate, Deletions, IndexUpdate, Segment, SegmentId};
pub use state::{Anchor, Applied, Rotation, State};
pub use tail::{Chunk, Latest, Tail, TailView, Touched};
