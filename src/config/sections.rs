//! One struct per section: each field with its unit and the reason of its default.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::values::{Freshness, KeyDigest, LogFormat, Secret};
use crate::types::limits;

/// `[server]`: the HTTP edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerSettings {
    /// Address and port. Default 127.0.0.1:3000: a first start opens nothing to the network.
    pub listen: SocketAddr,
    /// Largest request body, bytes, as sent and decoded. Default: the hard limit, which it may not exceed.
    pub max_body_bytes: u64,
    /// Memory for all request bodies at once and for what they are parsed into, bytes. Default 1 GiB: a body of
    /// the largest size, parsed into up to three times its bytes.
    pub max_inflight_body_bytes: u64,
    /// Time for one request, milliseconds. Default 60 s: a cold query over a large namespace takes seconds.
    pub request_timeout_ms: u64,
    /// Time for open requests to end at shutdown, milliseconds. Default 20 s: orchestrators kill after 30 s.
    pub shutdown_grace_ms: u64,
    /// Requests that take longer are logged, milliseconds. Default 500: rare on a warm node.
    pub slow_request_ms: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3_000)),
            max_body_bytes: limits::REQUEST_BODY_BYTES_MAX as u64,
            max_inflight_body_bytes: 1 << 30,
            request_timeout_ms: 60_000,
            shutdown_grace_ms: 20_000,
            slow_request_ms: 500,
        }
    }
}

/// `[storage]`: the bucket and how patiently it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StorageSettings {
    /// Bucket URL with an optional prefix, or a plain path. Default `./elacsym-data`: works at once.
    pub url: String,
    /// Endpoint of a compatible store. Default none: the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region. Default none: the provider's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Access key id. Default none: the provider's own chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Secret access key, never printed. Default none, as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Whether a plain `http://` endpoint is accepted. Default no: keys and rows would travel in the clear.
    pub allow_http: bool,
    /// Time for one store request, milliseconds. Default 30 s: a 64 MiB object at 3 MiB/s.
    pub request_timeout_ms: u64,
    /// Most attempts of one operation that is safe to repeat. Default 5: rides out a throttled second.
    pub retry_max_tries: u32,
    /// Time for all attempts together, milliseconds. Default 30 s: below the request timeout of the server.
    pub retry_budget_ms: u64,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            url: "./elacsym-data".to_owned(),
            endpoint: None,
            region: None,
            access_key_id: None,
            secret_access_key: None,
            allow_http: false,
            request_timeout_ms: 30_000,
            retry_max_tries: 5,
            retry_budget_ms: 30_000,
        }
    }
}

/// `[auth]`: who may call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuthSettings {
    /// SHA-256 of each valid key. Default none: then the node only listens on a loopback address.
    pub key_digests: Vec<KeyDigest>,
}

/// `[log]`: what goes to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogSettings {
    /// Level, or a list of `target=level`. Default `info`: a few lines per job, none per request.
    pub level: String,
    /// Lines for people or for machines. Default `text`.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

/// `[compute]`: CPU work.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ComputeSettings {
    /// Threads that compute for requests. Default 0: as many as there are cores.
    pub threads: usize,
    /// Threads for what nobody waits for, such as flushes, at lower priority. Default 0: half as many as there are cores.
    pub background_threads: usize,
}

/// `[wal]`: the commit log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct WalSettings {
    /// When the anchor check may be skipped. Default `auto`: on stores that tell their own clock.
    pub freshness: Freshness,
}

/// `[tail]`: memory for rows that are committed but in no segment yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TailSettings {
    /// Bytes of one namespace from which its writes are slowed down. Default 128 MiB: two flushes behind.
    pub slow_bytes: u64,
    /// Bytes of one namespace from which its writes are refused. Default 256 MiB: queries scan the tail.
    pub max_bytes: u64,
    /// Bytes of all namespaces together. Default 0: a quarter of the memory, the rest is for queries.
    pub node_bytes: u64,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            slow_bytes: limits::TAIL_BYTES_SLOW,
            max_bytes: limits::TAIL_BYTES_MAX,
            node_bytes: 0,
        }
    }
}

impl TailSettings {
    /// Returns the bytes all tails may take on a node with `memory_bytes` of memory: `node_bytes`, or a
    /// quarter of the memory where that is 0, and never less than one full tail.
    pub fn node_bytes_of(&self, memory_bytes: u64) -> u64 {
        match self.node_bytes {
            0 => (memory_bytes / 4).max(self.max_bytes),
            bytes => bytes,
        }
    }
}

/// `[flush]`: when rows move from the log into segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlushSettings {
    /// Tail memory of one namespace from which it is flushed, bytes. Default 64 MiB: a segment worth reading.
    pub bytes: u64,
    /// Commits after the last flush from which a namespace is flushed: what an open reads. Default 0: 2,048
    /// in stores over HTTP, 16,384 on a local disk.
    pub slots: u64,
    /// How long after a write a namespace is flushed at the latest, milliseconds. Default 1 h.
    pub age_ms: u64,
    /// Newest blocks of a log that stay though they are flushed. Default 2: nodes that lag catch up by them.
    pub keep_blocks: u64,
    /// How long another node's claim to flush is respected at first, milliseconds; doubled, up to a minute, each
    /// time that taking one back led to no flush. Default 5 s: longer than most flushes take.
    pub claim_patience_ms: u64,
}

impl Default for FlushSettings {
    fn default() -> Self {
        Self {
            bytes: limits::FLUSH_BYTES,
            slots: 0,
            age_ms: limits::FLUSH_AGE_MS,
            keep_blocks: limits::KEEP_BLOCKS,
            claim_patience_ms: limits::CLAIM_PATIENCE_MS,
        }
    }
}

/// `[retention]`: what stays of the past.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RetentionSettings {
    /// How long a state can be had after the next one has come, milliseconds. Default 1 h: long enough to read all pages
    /// of an answer; the log of that time stays in the store.
    pub history_ms: u64,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self {
            history_ms: limits::HISTORY_MS,
        }
    }
}

/// `[compaction]`: when segments are merged, and rows that are gone leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CompactionSettings {
    /// Whether the node merges without being asked. Default yes: each query looks into every segment.
    pub enabled: bool,
    /// Segments of about one size that are merged, and the most that one merge takes; 2 to 64. Default 8: a document is
    /// written again about once each time its namespace has grown eightfold.
    pub fan_in: usize,
    /// Segments smaller than half a whole one, beyond which some are merged whatever their sizes. Default 16.
    pub max_segments: usize,
    /// Logical bytes of a whole segment. Default 256 MiB: a merge takes about three times as much memory.
    pub target_bytes: u64,
    /// Rows of a whole segment. Default 1,000,000.
    pub target_rows: u64,
    /// Share of a segment's rows that are gone from which it is written anew, percent. Default 20: each costs queries
    /// as much as one that lives.
    pub dead_percent: u64,
    /// Fewest rows gone for that. Default 1,000: what is small is merged for its size before long.
    pub dead_rows: u64,
    /// Most bytes that merges of the node read and write a second; 0 or at least 4 MiB. Default 0: as many as they can, at
    /// lower priority than queries.
    pub bytes_per_second: u64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            fan_in: limits::COMPACTION_FAN_IN,
            max_segments: limits::COMPACTION_SEGMENTS_MAX,
            target_bytes: limits::COMPACTION_TARGET_BYTES,
            target_rows: limits::COMPACTION_TARGET_ROWS,
            dead_percent: limits::COMPACTION_DEAD_PERCENT,
            dead_rows: limits::COMPACTION_DEAD_ROWS,
            bytes_per_second: 0,
        }
    }
}

/// `[gc]`: when objects that nothing refers to any more are deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GcSettings {
    /// Whether the node deletes them without being asked. Default yes.
    pub enabled: bool,
    /// How long after something was replaced they are looked for, and between two looks, milliseconds. Default 15 min:
    /// two LISTs each, and history keeps them for longer anyway.
    pub interval_ms: u64,
    /// How long a flush, a merge or a build may take from one file to the next before what it wrote is taken for garbage,
    /// milliseconds by the store's clock. Default 1 h: one that lives then works in vain.
    pub claim_grace_ms: u64,
    /// How long a deleted namespace can be had back, milliseconds by the store's clock; then its objects are deleted.
    /// Default a day: a mistake is seen by then.
    pub undelete_grace_ms: u64,
}

impl Default for GcSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_ms: limits::GC_INTERVAL_MS,
            claim_grace_ms: limits::GC_CLAIM_GRACE_MS,
            undelete_grace_ms: limits::UNDELETE_GRACE_MS,
        }
    }
}

/// `[background]`: what a node does without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackgroundSettings {
    /// Whether the node looks for rows that other nodes left in logs. Default yes: a node that dies flushes nothing.
    pub find: bool,
    /// Between two looks, milliseconds: one LIST each. Default 10 s: rows wait for an hour, not for seconds.
    pub interval_ms: u64,
    /// Between two sweeps over all names, milliseconds; 0 for never. Default a day: only lost hints need one.
    pub sweep_ms: u64,
    /// Without use for so long, a namespace with nothing to flush is closed, milliseconds; 0 for never. Default
    /// 10 min: opening it again costs a few requests.
    pub idle_ms: u64,
    /// Open namespaces from which idle ones are closed. Default 10,000: some tens of KiB each.
    pub open_namespaces_max: usize,
}

impl Default for BackgroundSettings {
    fn default() -> Self {
        Self {
            find: true,
            interval_ms: limits::FIND_INTERVAL_MS,
            sweep_ms: limits::SWEEP_MS,
            idle_ms: limits::IDLE_MS,
            open_namespaces_max: limits::OPEN_NAMESPACES_MAX,
        }
    }
}

/// `[cache]`: memory for what is read from segments.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CacheSettings {
    /// Bytes kept: three quarters for blocks, one for footers. Default 0: a quarter of the memory, 256 MiB at most,
    /// as a server takes no more than it needs unless it is told to.
    pub memory_bytes: u64,
}

impl CacheSettings {
    /// Returns the bytes the cache may take on a node with `memory_bytes` of memory: `memory_bytes` as
    /// set, or a quarter of the memory where that is 0, within the smallest cache and the largest default.
    pub fn memory_bytes_of(&self, memory_bytes: u64) -> u64 {
        match self.memory_bytes {
            0 => (memory_bytes / 4).clamp(limits::CACHE_BYTES_MIN, limits::CACHE_BYTES_DEFAULT_MAX),
            bytes => bytes,
        }
    }
}

/// `[query]`: admission of queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuerySettings {
    /// Queries that run at once. Default 64: enough to hide store latency, few enough to bound memory.
    pub max_concurrent: usize,
    /// Longest wait for a turn, milliseconds; then 503. Default 800: callers would rather retry elsewhere.
    pub max_queue_ms: u64,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            max_queue_ms: 800,
        }
    }
}
