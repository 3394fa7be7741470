//! The real server in real processes: killed at random instants, struck at every failpoint, two on one
//! directory that work against each other, stopped cleanly, on a full disk and on directories that take no writes.
//!
//! `server.rs` starts and ends processes, `client.rs` sends requests, `journal.rs` knows what must be there.
//! Failpoints exist where debug assertions do, in the server as in these tests.

mod beside;
mod client;
mod demo;
#[cfg(debug_assertions)]
mod failpoints;
mod full;
mod journal;
mod kills;
mod left;
mod random;
mod server;
mod together;
mod unwritable;
