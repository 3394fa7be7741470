//! The machine beneath: time, randomness, CPU threads, memory permits, shutdown; failpoints for tests.
//!
//! Owns: the only reads of clocks, the OS's randomness and memory size, and the threads that compute.
//! Must not know: namespaces, queries, HTTP. Read `compute.rs` first.

pub mod clock;
pub mod compute;
pub mod failpoint;
pub mod in_place;
pub mod memory;
pub mod meter;
pub mod permit;
pub mod shutdown;
pub mod tasks;

pub use clock::{ManualClock, OsEntropy, SeededEntropy, SystemClock};
pub use compute::ComputePool;
pub use failpoint::FailPoint;
pub use meter::Meter;
pub use permit::{MemoryBudget, Permit};
pub use shutdown::Shutdown;
