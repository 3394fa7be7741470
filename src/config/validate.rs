//! The rules between keys. All violations are reported at once.

use super::{
    AuthSettings, CacheSettings, CompactionSettings, ServerSettings, Settings, StorageSettings,
    TailSettings,
};
use crate::types::limits;

/// More threads than any machine has cores: such a number is a mistake.
const THREADS_MAX: usize = 4_096;

/// Returns one sentence for each rule that the settings break.
pub fn violations(settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    check_positive(settings, &mut found);
    check_access(&settings.server, &settings.auth, &mut found);
    check_digests(&settings.auth, &mut found);
    check_bodies(&settings.server, &mut found);
    check_storage(&settings.storage, &mut found);
    check_tail(&settings.tail, &mut found);
    check_compaction(&settings.compaction, &mut found);
    check_pace(&settings.compaction, &mut found);
    check_cache(&settings.cache, &mut found);
    let compute = &settings.compute;
    for (key, threads) in [
        ("compute.threads", compute.threads),
        ("compute.background_threads", compute.background_threads),
    ] {
        if threads > THREADS_MAX {
            found.push(format!(
                "`{key}` is too large: expected 0 to {THREADS_MAX}, found {threads}"
            ));
        }
    }
    found
}

fn check_positive(settings: &Settings, found: &mut Vec<String>) {
    let positive = [
        ("server.max_body_bytes", settings.server.max_body_bytes),
        (
            "server.request_timeout_ms",
            settings.server.request_timeout_ms,
        ),
        (
            "storage.request_timeout_ms",
            settings.storage.request_timeout_ms,
        ),
        (
            "storage.retry_max_tries",
            u64::from(settings.storage.retry_max_tries),
        ),
        ("storage.retry_budget_ms", settings.storage.retry_budget_ms),
        ("tail.slow_bytes", settings.tail.slow_bytes),
        ("flush.bytes", settings.flush.bytes),
        ("flush.age_ms", settings.flush.age_ms),
        ("flush.claim_patience_ms", settings.flush.claim_patience_ms),
        ("background.interval_ms", settings.background.interval_ms),
        (
            "background.open_namespaces_max",
            settings.background.open_namespaces_max as u64,
        ),
        ("query.max_concurrent", settings.query.max_concurrent as u64),
    ];
    for (name, value) in positive {
        if value == 0 {
            found.push(format!("`{name}` is 0: expected at least 1"));
        }
    }
}

fn check_access(server: &ServerSettings, auth: &AuthSettings, found: &mut Vec<String>) {
    if auth.key_digests.is_empty() && !server.listen.ip().is_loopback() {
        found.push(format!(
            "`server.listen` is `{}`, open to the network, but `auth.key_digests` is empty: listen on \
             127.0.0.1, or make a digest with `printf %s KEY | sha256sum` and add its 64 hex digits",
            server.listen
        ));
    }
}

fn check_digests(auth: &AuthSettings, found: &mut Vec<String>) {
    for (idx, digest) in auth.key_digests.iter().enumerate() {
        let earlier = auth.key_digests.iter().take(idx);
        let mut earlier = earlier.filter(|other| {
            other.sha256 == digest.sha256 || (other.name.is_some() && other.name == digest.name)
        });
        if earlier.next().is_some() {
            found.push(format!(
                "`auth.key_digests` entry {} (`{}`) repeats the digest or the name of an earlier one",
                idx + 1,
                digest.name.as_deref().unwrap_or("no name")
            ));
        }
    }
}

fn check_bodies(server: &ServerSettings, found: &mut Vec<String>) {
    let hard_limit = limits::REQUEST_BODY_BYTES_MAX as u64;
    if server.max_body_bytes > hard_limit {
        found.push(format!(
            "`server.max_body_bytes` is above the hard limit: expected at most {hard_limit}, found {}",
            server.max_body_bytes
        ));
    }
    if server.max_inflight_body_bytes < server.max_body_bytes {
        found.push(format!(
            "`server.max_inflight_body_bytes` has no room for one body: expected at least \
             `server.max_body_bytes` = {}, found {}",
            server.max_body_bytes, server.max_inflight_body_bytes
        ));
    }
}

fn check_storage(storage: &StorageSettings, found: &mut Vec<String>) {
    let authority = storage.url.split_once("://").map_or("", |(_, rest)| rest);
    if authority
        .split('/')
        .next()
        .is_some_and(|host| host.contains('@'))
    {
        found.push(
            "`storage.url` holds credentials: use `storage.access_key_id` and \
             `storage.secret_access_key`, which are never printed"
                .to_owned(),
        );
    }
    if storage.access_key_id.is_some() != storage.secret_access_key.is_some() {
        found.push(
            "`storage.access_key_id` and `storage.secret_access_key` belong together: found one of them"
                .to_owned(),
        );
    }
    let Some(endpoint) = &storage.endpoint else {
        return;
    };
    if endpoint.starts_with("http://") && !storage.allow_http {
        found.push(
            "`storage.endpoint` is not encrypted: use https, or set `storage.allow_http = true`"
                .to_owned(),
        );
    } else if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
        found.push(
            "`storage.endpoint` is no URL: expected `https://HOST` or `http://HOST`".to_owned(),
        );
    }
}

fn check_tail(tail: &TailSettings, found: &mut Vec<String>) {
    if tail.slow_bytes > tail.max_bytes {
        found.push(format!(
            "`tail.slow_bytes` is above `tail.max_bytes`: expected at most {}, found {}",
            tail.max_bytes, tail.slow_bytes
        ));
    }
    if tail.node_bytes != 0 && tail.node_bytes < tail.max_bytes {
        found.push(format!(
            "`tail.node_bytes` has no room for one full tail: expected 0 or at least \
             `tail.max_bytes` = {}, found {}",
            tail.max_bytes, tail.node_bytes
        ));
    }
}

fn check_compaction(compaction: &CompactionSettings, found: &mut Vec<String>) {
    let between = [
        ("fan_in", compaction.fan_in as u64, 2, 64),
        ("max_segments", compaction.max_segments as u64, 2, 1_000),
        ("target_bytes", compaction.target_bytes, 1 << 20, 1 << 32),
        (
            "target_rows",
            compaction.target_rows,
            1_000,
            limits::SEGMENT_ROWS_MAX / 2,
        ),
        ("dead_percent", compaction.dead_percent, 1, 100),
    ];
    for (name, value, least, most) in between {
        if value < least || value > most {
            found.push(format!(
                "`compaction.{name}` is out of range: expected {least} to {most}, found {value}"
            ));
        }
    }
}

fn check_pace(compaction: &CompactionSettings, found: &mut Vec<String>) {
    let (rate, least) = (compaction.bytes_per_second, limits::COMPACTION_RATE_MIN);
    if rate != 0 && rate < least {
        found.push(format!(
            "`compaction.bytes_per_second` is too small: expected 0 or at least {least}, found {rate}"
        ));
    }
}

fn check_cache(cache: &CacheSettings, found: &mut Vec<String>) {
    let least = limits::CACHE_BYTES_MIN;
    if cache.memory_bytes != 0 && cache.memory_bytes < least {
        found.push(format!(
            "`cache.memory_bytes` is too small: expected 0 or at least {least}, found {}",
            cache.memory_bytes
        ));
    }
}
