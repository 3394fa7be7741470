//! The third configuration: two compactors, a flusher, a builder of indexes, a pinner and collectors of garbage.
//!
//! How slots are won is the matter of the other configurations: here an append is one step, and what counts is when it
//! comes. Every entry goes through `State::apply`, in the truth and again in each node that catches up. Read `world.rs`
//! first (the store, the truth and what must hold), then `actor.rs`, `worker.rs`, `collector.rs` and `scenario.rs`;
//! `broken.rs` holds the mutations of the state machine, which the real one never sees.

mod actor;
mod broken;
mod collector;
mod files;
mod scenario;
mod system;
mod worker;
mod world;

pub use scenario::{MUTATIONS, SCENARIOS};
pub use system::{Action, System};
pub use world::World;
