//! Settings of a namespace: what may be changed of it beside its schema.

/// The settings of a namespace at one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Settings {
    /// Whether writes of documents and of the schema are refused.
    pub read_only: bool,
    /// How it is kept warm, where it is.
    pub pinning: Option<Pinning>,
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
}

impl SettingsChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
