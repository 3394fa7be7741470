//! Every metric of a node: one struct per subsystem, units in the names, registered once.
//!
//! Labels have few values, all of them ours: a namespace, a key or a path of a caller is never one.

mod compaction;
mod gc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

pub use compaction::CompactionMetrics;
pub use gc::GcMetrics;

use crate::error::{Error, Result};

/// From a memory hit to a cold query over a slow store, seconds.
const SECONDS_BUCKETS: [f64; 15] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0,
];

/// Requests of one commit group: powers of two.
const GROUP_BUCKETS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0,
];

/// All metrics of one node, with a registry of their own, so that tests do not share numbers.
#[derive(Debug)]
pub struct Metrics {
    /// The HTTP edge.
    pub http: HttpMetrics,
    /// The commit log.
    pub wal: WalMetrics,
    /// Queries.
    pub query: QueryMetrics,
    /// Open namespaces and their tails.
    pub namespace: NamespaceMetrics,
    /// The cache of segment files; shared with the store.
    pub cache: CacheMetrics,
    /// Flushes.
    pub flush: FlushMetrics,
    /// Indexes built later than their segments.
    pub index_build: IndexBuildMetrics,
    /// Merges of segments.
    pub compaction: CompactionMetrics,
    /// Collecting garbage.
    pub gc: GcMetrics,
    /// The search for work that other nodes left.
    pub finder: FinderMetrics,
    /// Damaged objects.
    pub damage: DamageMetrics,
    registrar: Registrar,
}

impl Metrics {
    /// Makes and registers all metrics. Errors: `Internal` if two have the same name.
    pub fn new() -> Result<Self> {
        let mut registrar = Registrar::default();
        registrar.process()?;
        Ok(Self {
            http: HttpMetrics::new(&mut registrar)?,
            wal: WalMetrics::new(&mut registrar)?,
            query: QueryMetrics::new(&mut registrar)?,
            namespace: NamespaceMetrics::new(&mut registrar)?,
            cache: CacheMetrics::new(&mut registrar)?,
            flush: FlushMetrics::new(&mut registrar)?,
            index_build: IndexBuildMetrics::new(&mut registrar)?,
            compaction: CompactionMetrics::new(&mut registrar)?,
            gc: GcMetrics::new(&mut registrar)?,
            finder: FinderMetrics::new(&mut registrar)?,
            damage: DamageMetrics::new(&mut registrar)?,
            registrar,
        })
    }

    /// The registry, for collectors of other floors.
    pub fn registry(&self) -> &Registry {
        &self.registrar.registry
    }

    /// Renders all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let families = self.registrar.registry.gather();
        TextEncoder::new()
            .encode_to_string(&families)
            .unwrap_or_else(|error| {
                tracing::error!(error = %error, "metrics cannot be rendered");
                String::new()
            })
    }

    /// The names of all metrics of Elacsym's own, also of those that have no value yet.
    pub fn names(&self) -> &[&'static str] {
        &self.registrar.names
    }
}

/// The HTTP edge.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    /// Requests that have begun and not ended.
    pub inflight_requests: IntGauge,
}

impl HttpMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            requests: registrar.counters(
                "elacsym_http_requests_total",
                "Requests answered, by route pattern, method and status code.",
                &["route", "method", "status"],
            )?,
            seconds: registrar.histograms(
                "elacsym_http_request_seconds",
                "Time from the head of a request until its answer was ready, by route pattern.",
                &["route"],
            )?,
            inflight_requests: registrar.gauge(
                "elacsym_http_inflight_requests",
                "Requests that have begun and not ended.",
            )?,
        })
    }

    /// Records one answered request. `route` is the router's pattern, never the path as sent; `method` is
    /// counted as `other` unless HTTP defines it.
    pub fn observe(&self, route: &'static str, method: &str, status: u16, seconds: f64) {
        let status = status.to_string();
        self.requests
            .with_label_values(&[route, known_method(method), &status])
            .inc();
        self.seconds.with_label_values(&[route]).observe(seconds);
    }
}

/// A method is the caller's own text: unknown ones share one label value.
fn known_method(method: &str) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    let known = METHODS.into_iter().find(|known| *known == method);
    known.unwrap_or("other")
}

/// How a commit of a group of writes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// In the bucket and acknowledged.
    Committed,
    /// Certainly not in the bucket.
    Failed,
    /// Perhaps in the bucket.
    Unknown,
}

impl AppendOutcome {
    const ALL: [Self; 3] = [Self::Committed, Self::Failed, Self::Unknown];

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The commit log.
#[derive(Debug)]
pub struct WalMetrics {
    appends: IntCounterVec,
    append_seconds: Histogram,
    group_requests: Histogram,
    /// Slots that another node took first.
    pub lost_slots_total: IntCounter,
    /// Anchor checks of commits and of reads that did not hold: the namespace was opened again.
    pub anchor_failures_total: IntCounter,
    /// Group commits whose requests were answered `outcome_unknown`.
    pub unknown_outcomes_total: IntCounter,
    /// Manifests of one seq with different bytes: a bug, and data needs a human.
    pub divergence_alarms_total: IntCounter,
}

impl WalMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        let appends = registrar.counters(
            "elacsym_wal_appends_total",
            "Group commits, by outcome.",
            &["outcome"],
        )?;
        for outcome in AppendOutcome::ALL {
            // Shown as 0 from the start: an alert needs a series to watch.
            appends.with_label_values(&[outcome.label()]);
        }
        Ok(Self {
            appends,
            append_seconds: registrar.histogram(
                "elacsym_wal_append_seconds",
                "Time of a group commit, from its closing to its acknowledgement.",
                &SECONDS_BUCKETS,
            )?,
            group_requests: registrar.histogram(
                "elacsym_wal_group_requests",
                "Write requests that share one commit.",
                &GROUP_BUCKETS,
            )?,
            lost_slots_total: registrar.counter(
                "elacsym_wal_lost_slots_total",
                "Slots that another node took first.",
            )?,
            anchor_failures_total: registrar.counter(
                "elacsym_wal_anchor_failures_total",
                "Anchor checks of commits and of reads that did not hold: the namespace was opened again.",
            )?,
            unknown_outcomes_total: registrar.counter(
                "elacsym_wal_unknown_outcomes_total",
                "Group commits whose requests were answered outcome_unknown.",
            )?,
            divergence_alarms_total: registrar.counter(
                "elacsym_divergence_alarms_total",
                "Manifests of one seq with different bytes: never expected, data needs a human.",
            )?,
        })
    }

    /// Records one group commit of `n_requests` write requests.
    pub fn observe_append(&self, outcome: AppendOutcome, seconds: f64, n_requests: usize) {
        self.appends.with_label_values(&[outcome.label()]).inc();
        self.append_seconds.observe(seconds);
        self.group_requests.observe(n_requests as f64);
    }
}

/// Queries.
#[derive(Debug)]
pub struct QueryMetrics {
    seconds: HistogramVec,
    /// Rows that queries looked at.
    pub scanned_rows_total: IntCounter,
    /// States of the past that were read from the log.
    pub past_states_total: IntCounter,
}

impl QueryMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            seconds: registrar.histograms(
                "elacsym_query_seconds",
                "Time of a query inside the engine, by kind of ranking.",
                &["kind"],
            )?,
            scanned_rows_total: registrar.counter(
                "elacsym_query_scanned_rows_total",
                "Rows that queries looked at.",
            )?,
            past_states_total: registrar.counter(
                "elacsym_query_past_states_total",
                "States of the past that queries had read from the log.",
            )?,
        })
    }

    /// Records one query; `kind` is a word for its ranking, such as `vector`, `text` or `order`.
    pub fn observe(&self, kind: &'static str, seconds: f64, n_rows_scanned: u64) {
        self.seconds.with_label_values(&[kind]).observe(seconds);
        self.scanned_rows_total.inc_by(n_rows_scanned);
    }
}

/// Open namespaces and their tails.
#[derive(Debug)]
pub struct NamespaceMetrics {
    /// Namespaces held in memory.
    pub open_namespaces: IntGauge,
    /// Namespaces closed: idle, or too many.
    pub closed_total: IntCounter,
    /// Bytes of rows that are in no segment yet, over all namespaces.
    pub tail_bytes: IntGauge,
    /// Such rows.
    pub tail_rows: IntGauge,
}

impl NamespaceMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            open_namespaces: registrar
                .gauge("elacsym_open_namespaces", "Namespaces held in memory.")?,
            closed_total: registrar.counter(
                "elacsym_namespaces_closed_total",
                "Namespaces that were closed because they were idle or too many were open.",
            )?,
            tail_bytes: registrar.gauge(
                "elacsym_tail_bytes",
                "Bytes of rows that are in no segment yet, over all namespaces.",
            )?,
            tail_rows: registrar.gauge(
                "elacsym_tail_rows",
                "Rows that are in no segment yet, over all namespaces.",
            )?,
        })
    }
}

/// Flushes: the tail becoming segments.
#[derive(Debug, Clone)]
pub struct FlushMetrics {
    /// Flushes that failed; the rows stay in the log.
    pub failures_total: IntCounter,
    /// Rows moved into segments.
    pub rows_total: IntCounter,
    /// How long flushes took, failed ones left out.
    pub seconds: Histogram,
}

impl FlushMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            failures_total: registrar.counter(
                "elacsym_flush_failures_total",
                "Flushes that failed; the rows stay in the log.",
            )?,
            rows_total: registrar
                .counter("elacsym_flush_rows_total", "Rows moved into segments.")?,
            seconds: registrar.histogram(
                "elacsym_flush_seconds",
                "How long flushes took.",
                &SECONDS_BUCKETS,
            )?,
        })
    }
}

/// Index files built later than their segments.
#[derive(Debug, Clone)]
pub struct IndexBuildMetrics {
    /// Builds that failed or came to nothing; queries read the documents instead.
    pub failures_total: IntCounter,
    /// Index files that could not be read and were built again.
    pub repairs_total: IntCounter,
    /// Rows of segments that got a new index file.
    pub rows_total: IntCounter,
    /// How long building one took, failed ones left out.
    pub seconds: Histogram,
}

impl IndexBuildMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            failures_total: registrar.counter(
                "elacsym_index_build_failures_total",
                "Index builds that failed or came to nothing; queries read the documents instead.",
            )?,
            repairs_total: registrar.counter(
                "elacsym_index_repairs_total",
                "Index files that could not be read and were built again from the documents.",
            )?,
            rows_total: registrar.counter(
                "elacsym_index_build_rows_total",
                "Rows of segments that got an index built later.",
            )?,
            seconds: registrar.histogram(
                "elacsym_index_build_seconds",
                "How long building the index of one segment took.",
                &SECONDS_BUCKETS,
            )?,
        })
    }
}

/// The search for work that other nodes left.
#[derive(Debug)]
pub struct FinderMetrics {
    /// Dirty hints written.
    pub hints_put_total: IntCounter,
    /// Dirty hints that are damaged or of an unknown kind.
    pub hints_damaged_total: IntCounter,
    /// Flushes of namespaces that were found due.
    pub flushes_total: IntCounter,
    /// What could not be done and is tried again later.
    pub failures_total: IntCounter,
}

impl FinderMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            hints_put_total: registrar.counter(
                "elacsym_dirty_hints_put_total",
                "Dirty hints written: they tell other servers of rows in no segment.",
            )?,
            hints_damaged_total: registrar.counter(
                "elacsym_dirty_hints_damaged_total",
                "Dirty hints that are damaged or of an unknown kind: ignored or deleted.",
            )?,
            flushes_total: registrar.counter(
                "elacsym_found_flushes_total",
                "Flushes of namespaces that the finder found due.",
            )?,
            failures_total: registrar.counter(
                "elacsym_finder_failures_total",
                "Steps of the finder that failed; each is tried again later.",
            )?,
        })
    }
}

/// Damaged objects.
#[derive(Debug)]
pub struct DamageMetrics {
    /// Objects that this node found damaged or lost.
    pub quarantined_objects_total: IntCounter,
    /// Queries that were answered without segments that could not be read.
    pub degraded_queries_total: IntCounter,
    /// Queries that read documents because an index could not be read.
    pub unindexed_queries_total: IntCounter,
}

impl DamageMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        Ok(Self {
            quarantined_objects_total: registrar.counter(
                "elacsym_quarantined_objects_total",
                "Objects found damaged or lost: never expected, data needs a human.",
            )?,
            degraded_queries_total: registrar.counter(
                "elacsym_degraded_queries_total",
                "Queries answered without segments that could not be read, as they allowed.",
            )?,
            unindexed_queries_total: registrar.counter(
                "elacsym_damaged_index_queries_total",
                "Queries answered from documents because an index could not be read.",
            )?,
        })
    }
}

/// The cache of segment files. Cloning shares the numbers.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    hit_blocks: IntCounter,
    joined_blocks: IntCounter,
    missed_blocks: IntCounter,
    /// Uses of footers in memory.
    pub hit_footers: IntCounter,
    /// Footers that were read and decoded.
    pub missed_footers: IntCounter,
    hit_selections: IntCounter,
    missed_selections: IntCounter,
    /// Memory that what filters select takes.
    pub selection_bytes: IntGauge,
    /// Bytes that came from the store, gaps and repetitions included.
    pub fetched_bytes_total: IntCounter,
    /// Blocks that did not match their checksum and were fetched once more.
    pub refetched_blocks_total: IntCounter,
    /// Blocks that did not match it the second time either: data needs a human.
    pub corrupt_blocks_total: IntCounter,
    /// Memory that blocks take.
    pub used_bytes: IntGauge,
    /// Memory that decoded footers take.
    pub footer_bytes: IntGauge,
}

impl CacheMetrics {
    fn new(registrar: &mut Registrar) -> Result<Self> {
        let blocks = registrar.counters(
            "elacsym_cache_blocks_total",
            "Blocks that reads asked for: in memory (hit), being fetched for another (joined), fetched (missed).",
            &["outcome"],
        )?;
        let footers = registrar.counters(
            "elacsym_cache_footers_total",
            "Uses of a segment's footer: in memory (hit), read and decoded (missed).",
            &["outcome"],
        )?;
        let selections = registrar.counters(
            "elacsym_cache_selections_total",
            "Filters over a segment: rows in memory (hit), found anew (missed).",
            &["outcome"],
        )?;
        Ok(Self {
            hit_selections: selections.with_label_values(&["hit"]),
            missed_selections: selections.with_label_values(&["missed"]),
            selection_bytes: registrar.gauge(
                "elacsym_cache_selection_bytes",
                "Memory that the rows found for filters take.",
            )?,
            hit_footers: footers.with_label_values(&["hit"]),
            missed_footers: footers.with_label_values(&["missed"]),
            hit_blocks: blocks.with_label_values(&["hit"]),
            joined_blocks: blocks.with_label_values(&["joined"]),
            missed_blocks: blocks.with_label_values(&["missed"]),
            fetched_bytes_total: registrar.counter(
                "elacsym_cache_fetched_bytes_total",
                "Bytes that the cache took from the store, gaps and repetitions included.",
            )?,
            refetched_blocks_total: registrar.counter(
                "elacsym_cache_refetched_blocks_total",
                "Blocks that did not match their checksum and were fetched once more.",
            )?,
            corrupt_blocks_total: registrar.counter(
                "elacsym_cache_corrupt_blocks_total",
                "Blocks that did not match their checksum twice: never expected, data needs a human.",
            )?,
            used_bytes: registrar.gauge(
                "elacsym_cache_used_bytes",
                "Memory that blocks of segment files take.",
            )?,
            footer_bytes: registrar.gauge(
                "elacsym_cache_footer_bytes",
                "Memory that decoded footers of segments take.",
            )?,
        })
    }

    /// Records whether the rows of a filter over a segment were in memory.
    pub fn observe_selection(&self, is_hit: bool) {
        match is_hit {
            true => self.hit_selections.inc(),
            false => self.missed_selections.inc(),
        }
    }

    /// Records how the blocks of one read were found.
    pub fn observe_read(&self, n_hit: usize, n_joined: usize, n_missed: usize) {
        self.hit_blocks.inc_by(n_hit as u64);
        self.joined_blocks.inc_by(n_joined as u64);
        self.missed_blocks.inc_by(n_missed as u64);
    }
}

/// Makes metrics and remembers their names.
#[derive(Debug, Default)]
struct Registrar {
    registry: Registry,
    names: Vec<&'static str>,
}

impl Registrar {
    fn counter(&mut self, name: &'static str, help: &str) -> Result<IntCounter> {
        self.register(name, IntCounter::new(name, help))
    }

    fn counters(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        self.register(name, IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&mut self, name: &'static str, help: &str) -> Result<IntGauge> {
        self.register(name, IntGauge::new(name, help))
    }

    fn histogram(&mut self, name: &'static str, help: &str, buckets: &[f64]) -> Result<Histogram> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(name, Histogram::with_opts(opts))
    }

    fn histograms(
        &mut self,
        name: &'static str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(SECONDS_BUCKETS.to_vec());
        self.register(name, HistogramVec::new(opts, labels))
    }

    fn register<C>(&mut self, name: &'static str, made: prometheus::Result<C>) -> Result<C>
    where
        C: Collector + Clone + 'static,
    {
        let refused =
            |error| Error::internal(format!("cannot register metric `{name}`")).with_source(error);
        let metric = made.map_err(refused)?;
        self.registry
            .register(Box::new(metric.clone()))
            .map_err(refused)?;
        self.names.push(name);
        Ok(metric)
    }

    /// CPU time, memory and open files of the process, under the names everybody uses.
    #[cfg(target_os = "linux")]
    fn process(&mut self) -> Result<()> {
        let collector = prometheus::process_collector::ProcessCollector::for_self();
        self.registry
            .register(Box::new(collector))
            .map_err(|error| Error::internal("cannot register process metrics").with_source(error))
    }

    #[cfg(not(target_os = "linux"))]
    fn process(&mut self) -> Result<()> {
        Ok(())
    }
}
