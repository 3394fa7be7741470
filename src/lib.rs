//! Elacsym: an object-storage-native search engine.

pub mod error;
pub mod lsm;
pub mod query;
pub mod rows;
pub mod store;
pub mod types;
