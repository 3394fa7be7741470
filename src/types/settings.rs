//! Settings of a namespace: what may be changed of it beside its schema.

/// The settings of a namespace at one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Settings {
    /// Whether writes of documents and of the schema are refused.
    pub read_only: bool,
    /// How it is kept warm, where it is.
    pub pinning: Option<Pinning>,
    /// When its segments are merged, where that is not left to its servers.
    pub merging: Merging,
}

/// When the segments of a namespace are merged; what is not set is left to its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Merging {
    /// Whether they are merged without anybody asking.
    pub enabled: Option<bool>,
    /// Small segments beyond which some are merged whatever their sizes; 2 to 1,000.
    pub max_segments: Option<u32>,
    /// Fewest rows of a segment that are gone for it to be written anew.
    pub dead_rows: Option<u64>,
    /// The share of its rows for that, percent; 1 to 100.
    pub dead_percent: Option<u32>,
}

/// A wish to keep a namespace warm on some servers. It is kept and shown; nothing acts on it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pinning {
    /// On how many; at least 1.
    pub replicas: u32,
}

/// A change of settings; what it does not name stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SettingsChange {
    /// The new `read_only`.
    pub read_only: Option<bool>,
    /// The new `pinning`.
    pub pinning: Option<Option<Pinning>>,
    /// The new `merging`.
    pub merging: MergingChange,
}

/// A change of when segments are merged: of each setting the new value, or that it is left to the servers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MergingChange {
    /// The new `enabled`.
    pub enabled: Option<Option<bool>>,
    /// The new `max_segments`.
    pub max_segments: Option<Option<u32>>,
    /// The new `dead_rows`.
    pub dead_rows: Option<Option<u64>>,
    /// The new `dead_percent`.
    pub dead_percent: Option<Option<u32>>,
}

impl SettingsChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
