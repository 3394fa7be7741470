//! The real server in real processes: killed at random instants, two on one directory, and stopped cleanly.
//!
//! `server.rs` starts and ends processes, `client.rs` sends requests, `journal.rs` knows what must be there.

mod client;
mod demo;
mod journal;
mod kills;
mod random;
mod server;
mod together;
