//! What a query asks, and how partial answers become one: pure.
//!
//! Must not know: where rows are stored. Read `request.rs` first.

pub mod bind;
pub mod compute;
pub mod cursor;
pub mod exact;
pub mod fuse;
mod key;
pub mod order;
mod page;
pub mod plan;
pub mod reply;
pub mod request;
pub mod score;
pub mod topk;
pub mod totals;

pub use bind::{BoundQuery, BoundRank, bind};
pub use totals::{BoundTotals, IndexedTotals, Totals};
