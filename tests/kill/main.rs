//! The real server in real processes: killed at random instants, two on one directory, stopped cleanly,
//! on a full disk and on directories that take no writes.
//!
//! `server.rs` starts and ends processes, `client.rs` sends requests, `journal.rs` knows what must be there.

mod client;
mod demo;
mod full;
mod journal;
mod kills;
mod random;
mod server;
mod together;
mod unwritable;
