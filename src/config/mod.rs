//! The settings of a node: resolved once at start, then immutable.
//!
//! Owns: every key with its default, the order of sources (defaults, file, environment, flags), the rules
//! between keys. Must not know: what the settings are used for, async, HTTP. Only `load.rs` touches a file
//! or the environment. Read `sections.rs` first, then `load::load`.

mod keys;
pub mod load;
pub mod sections;
mod source;
pub mod validate;
pub mod values;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use load::{load, resolve};
pub use sections::{
    AuthSettings, BackgroundSettings, CacheSettings, CompactionSettings, ComputeSettings,
    FlushSettings, GcSettings, LogSettings, QuerySettings, RetentionSettings, ServerSettings,
    StorageSettings, TailSettings, WalSettings,
};
pub use values::{Freshness, KeyDigest, LogFormat, Secret};

/// The resolved, immutable whole. Serialises in the shape of the file, secrets replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Settings {
    /// The HTTP edge.
    pub server: ServerSettings,
    /// The bucket.
    pub storage: StorageSettings,
    /// Who may call.
    pub auth: AuthSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// CPU work.
    pub compute: ComputeSettings,
    /// The commit log.
    pub wal: WalSettings,
    /// Rows that are committed but in no segment yet.
    pub tail: TailSettings,
    /// When rows move from the log into segments.
    pub flush: FlushSettings,
    /// What stays of the past.
    pub retention: RetentionSettings,
    /// When segments are merged.
    pub compaction: CompactionSettings,
    /// When what nothing refers to is deleted.
    pub gc: GcSettings,
    /// What a node does without being asked.
    pub background: BackgroundSettings,
    /// Memory for what is read from segments.
    pub cache: CacheSettings,
    /// Admission of queries.
    pub query: QuerySettings,
}

/// The names of all keys, `section.key`, in the order of the file.
pub fn key_names() -> impl Iterator<Item = &'static str> {
    keys::KEYS.iter().map(|key| key.name)
}
