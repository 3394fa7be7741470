//! Numbers of merges.

use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Registrar, SECONDS_BUCKETS};
use crate::error::Result;

/// Segments of one namespace.
const SEGMENT_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 48.0, 96.0, 192.0];

/// Merges of segments.
#[derive(Debug, Clone)]
pub struct CompactionMetrics {
    /// Merges that were committed.
    pub merges_total: IntCounter,
    /// Merges that failed or came to nothing; segments stay as they are.
    pub failures_total: IntCounter,
    /// Bytes of the documents of segments that were merged.
    pub read_bytes_total: IntCounter,
    /// Bytes of the files that merges made.
    pub written_bytes_total: IntCounter,
    /// How long a merge took, failed ones left out.
    pub seconds: Histogram,
    /// Logical bytes that wait to be merged, of open namespaces.
    pub debt_bytes: IntGauge,
    /// Segments of a namespace, each time that it was flushed or merged here.
    pub segments: Histogram,
}

impl CompactionMetrics {
    pub(super) fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            merges_total: registrar
                .counter("elacsym_compaction_merges_total", "Merges of segments.")?,
            failures_total: registrar.counter(
                "elacsym_compaction_failures_total",
                "Merges that failed or came to nothing; segments stay as they are.",
            )?,
            read_bytes_total: registrar.counter(
                "elacsym_compaction_read_bytes_total",
                "Bytes of the documents of segments that were merged.",
            )?,
            written_bytes_total: registrar.counter(
                "elacsym_compaction_written_bytes_total",
                "Bytes of the files that merges made.",
            )?,
            seconds: registrar.histogram(
                "elacsym_compaction_seconds",
                "How long merges took.",
                &SECONDS_BUCKETS,
            )?,
            debt_bytes: registrar.gauge(
                "elacsym_compaction_debt_bytes",
                "Logical bytes that wait to be merged, of open namespaces.",
            )?,
            segments: registrar.histogram(
                "elacsym_compaction_segments",
                "Segments of a namespace, each time that it was flushed or merged.",
                &SEGMENT_BUCKETS,
            )?,
        })
    }
}
