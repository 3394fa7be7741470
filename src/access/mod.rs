//! Who may call: keys and the principals behind them.
//!
//! Must not know: HTTP, status codes, where keys are configured. Read `auth.rs` first.

pub mod auth;

pub use auth::{Keyring, Principal};
