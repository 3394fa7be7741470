//! What a query asks, and how partial answers become one: pure.
//!
//! Must not know: where rows are stored. Read `request.rs` first.

pub mod reply;
pub mod request;
