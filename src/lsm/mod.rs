//! What exists and what is visible: the commit protocol's rules as pure functions.
//!
//! Owns: entries, the state they make, the steps of an append and of catching up, the tail of rows.
//! Must not know: IO, clocks, how bytes look. The server, the simulator and the model run this same
//! code. Read `state.rs` first, then `append.rs`.

pub mod advance;
pub mod append;
pub mod entry;
pub mod invariant;
pub mod state;
pub mod tail;
pub mod truncate;

pub use advance::{Advance, AdvanceEvent, AdvanceStep};
pub use append::{Append, AppendEvent, AppendStep};
pub use entry::{Entry, SlotHeader};
pub use state::{Anchor, Applied, Rotation, State};
pub use tail::{Chunk, Tail, TailView};
