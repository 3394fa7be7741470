//! Elacsym: an object-storage-native search engine.

pub mod error;
pub mod store;
pub mod types;
