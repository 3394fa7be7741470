//! The words every floor speaks: names, ids, sequences, values, schemas, limits, time.
//!
//! Must not know: IO, async, HTTP, bytes on disk. Read `schema.rs` first.

pub mod clock;
pub mod condition;
pub mod document;
pub mod filter;
pub mod id;
pub mod limits;
pub mod map;
pub mod order_bits;
pub mod schema;
pub mod segment;
pub mod sequence;
pub mod settings;
pub mod value;

pub use clock::{Clock, Entropy, Timestamp};
pub use id::{DocId, IdKind, NamespaceId, NamespaceName};
pub use map::{RowMap, RowSet};
pub use schema::{AttrId, AttributeSchema, DistanceMetric, NamespaceSchema};
pub use segment::{AttributeStats, Bound, FooterRef, ObjectRef, Stats};
pub use sequence::{Nonce, SlotName, WalSeq};
pub use value::{AttributeType, ScalarType, Value, VectorElement};
