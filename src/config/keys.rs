//! The table of keys: the one list that file, environment and flags are checked against.

use super::Settings;
use super::source::Given;
use super::values::Value;

/// One key.
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// Sets the field. Errors: what was expected, and what was found instead.
    pub(super) set: fn(&mut Settings, &Given) -> Result<(), Mismatch>,
}

/// A value of the wrong type.
pub(super) struct Mismatch {
    pub(super) expected: &'static str,
    pub(super) found: String,
}

fn assign<T: Value>(field: &mut T, given: &Given) -> Result<(), Mismatch> {
    *field = T::read(given).ok_or_else(|| Mismatch {
        expected: T::EXPECTED,
        found: given.describe(T::SHOWN),
    })?;
    Ok(())
}

macro_rules! keys {
    ($($section:ident . $field:ident),* $(,)?) => {
        &[$(Key {
            name: concat!(stringify!($section), ".", stringify!($field)),
            set: |settings, given| assign(&mut settings.$section.$field, given),
        }),*]
    };
}

/// All keys, in the order of the file.
pub(super) const KEYS: &[Key] = keys![
    server.listen,
    server.max_body_bytes,
    server.max_inflight_body_bytes,
    server.request_timeout_ms,
    server.shutdown_grace_ms,
    server.slow_request_ms,
    storage.url,
    storage.endpoint,
    storage.region,
    storage.access_key_id,
    storage.secret_access_key,
    storage.allow_http,
    storage.request_timeout_ms,
    storage.retry_max_tries,
    storage.retry_budget_ms,
    auth.key_digests,
    log.level,
    log.format,
    compute.threads,
    compute.background_threads,
    wal.freshness,
    tail.slow_bytes,
    tail.max_bytes,
    tail.node_bytes,
    flush.bytes,
    flush.slots,
    flush.age_ms,
    flush.keep_blocks,
    flush.claim_patience_ms,
    retention.history_ms,
    compaction.enabled,
    compaction.fan_in,
    compaction.max_segments,
    compaction.target_bytes,
    compaction.target_rows,
    compaction.dead_percent,
    compaction.dead_rows,
    compaction.bytes_per_second,
    gc.enabled,
    gc.interval_ms,
    gc.claim_grace_ms,
    gc.undelete_grace_ms,
    background.find,
    background.interval_ms,
    background.sweep_ms,
    background.idle_ms,
    background.open_namespaces_max,
    cache.memory_bytes,
    query.max_concurrent,
    query.max_queue_ms,
];

/// Finds a key by its dotted name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Returns the known name nearest to `unknown`, each known name first written by `spell`; case is ignored.
pub(super) fn nearest(unknown: &str, spell: impl Fn(&str) -> String) -> String {
    let unknown = lower_start(unknown);
    KEYS.iter()
        .map(|key| spell(key.name))
        .min_by_key(|known| strsim::damerau_levenshtein(&known.to_lowercase(), &unknown))
        .unwrap_or_default()
}

/// Bounds the cost of the distance, which is quadratic, on a name of any length.
fn lower_start(name: &str) -> String {
    name.chars().take(100).collect::<String>().to_lowercase()
}
