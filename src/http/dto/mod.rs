//! The foreign API's words: request bodies to typed requests, answers to JSON. They stop here.
//!
//! Owns the field names, the shapes and their refusals. Must not know: the engine, status codes, axum.
//! Read `write.rs` first; `json.rs` says how a wrong body is told.

mod aggregate;
pub(super) mod by_filter;
pub(super) mod compaction;
mod compute;
mod condition;
pub(super) mod fields;
pub(super) mod json;
pub(super) mod multi;
pub(super) mod namespace;
mod numbers;
pub(super) mod query;
pub(super) mod rank;
pub(super) mod recall;
pub(super) mod reply;
pub(super) mod rows;
pub(super) mod schema;
mod score;
pub(super) mod settings;
pub(super) mod value;
pub(super) mod write;
pub(super) mod written;

#[cfg(test)]
mod tests;
