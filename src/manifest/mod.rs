//! Manifests in the bucket: a state as an immutable object, and the advisory copies of the newest.
//!
//! Owns: loading the newest readable one, writing one, the divergence alarm.
//! Must not know: rows, requests. Read `load.rs` first.

mod load;
mod write;

pub use load::{Found, Origin, Wanted, load_at, load_newest};
pub use write::{Written, write};
