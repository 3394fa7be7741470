//! Elacsym: an object-storage-native search engine. One binary, one bucket.
//!
//! Floors, each importing only those below it (`tests/tidy.rs` holds that):
//!
//! | floor | folders | may know |
//! |---|---|---|
//! | 0 words | `error`, `types`, `config` | nothing |
//! | 1 cores | `rows`, `vector`, `filter`, `index`, `lsm`, `query`, `format` | words; no IO, clock, randomness |
//! | 2 world | `store`, `telemetry`, `runtime` | the machine and the bucket |
//! | 3 durable parts | `wal`, `manifest` | objects of one namespace |
//! | 4 engine | `namespace`, `background`, `access` | what requests mean, and what nobody asked for |
//! | 5 edges | `http` | status codes |
//! | 6 door | `cli` | how it is all wired |
//!
//! The write arrow is `namespace/write/mod.rs`, the read arrow `namespace/read/mod.rs`; the rules that keep
//! both honest are `lsm/state.rs`, `lsm/append.rs` and `lsm/advance.rs`.

pub mod access;
pub mod background;
pub mod cli;
pub mod config;
pub mod error;
pub mod filter;
pub mod format;
pub mod http;
pub mod index;
pub mod lsm;
pub mod manifest;
pub mod namespace;
pub mod query;
pub mod rows;
pub mod runtime;
pub mod segment;
pub mod store;
pub mod telemetry;
pub mod types;
pub mod vector;
pub mod wal;
