//! The read arrow, top to bottom: a view proven as fresh as asked, a bound query, a scan, the winners.
//!
//! Owns: how tail and segments are searched together and what an answer says it covered. Must not know:
//! HTTP, how a commit is made. Read `query` below first, then `scan.rs`, `tail.rs`, `segment.rs`,
//! `merge.rs`, `fetch.rs`; `matching.rs` is for writes by filter, `lost.rs` for objects that
//! cannot be read.

mod fetch;
mod lost;
mod matching;
mod merge;
mod probe;
mod scan;
mod segment;
mod source;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::handle::{Namespace, View};
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::SegmentId;
use crate::lsm::state::Life;
use crate::query::reply::{Coverage, Reply};
use crate::query::request::{Consistency, Query};
use crate::query::{self};
use crate::store::count::{RequestCounter, StoreCounts};

pub(in crate::namespace) use lost::{Gone, RESTARTS_MAX, is_missing, judge, of_segment};
pub(crate) use probe::Probe;
use source::Source;

/// An answer, or that the namespace has been dropped under its handle.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Is(T),
    Dropped,
}

/// A query on its way, and what it does without.
#[derive(Clone, Copy)]
struct Asked<'a> {
    query: &'a Query,
    counter: &'a RequestCounter,
    /// What had been asked of the store once its first view was found.
    probed: &'a StoreCounts,
    left_out: &'a BTreeSet<SegmentId>,
}

impl Namespace {
    /// Answers one query. Cancel safe.
    ///
    /// A segment of the view may be replaced and deleted while it is read: then the query starts over on a
    /// newer view. Errors: `Corrupted` naming the object and the segment, where one that the newest state
    /// refers to is gone or damaged and the query does not allow to answer without it.
    pub(crate) async fn query(self: &Arc<Self>, query: Query) -> Result<Answer<Reply>> {
        self.touch();
        let counter = RequestCounter::default();
        counter.scope(self.query_counted(&query, &counter)).await
    }

    async fn query_counted(
        self: &Arc<Self>,
        query: &Query,
        counter: &RequestCounter,
    ) -> Result<Answer<Reply>> {
        let mut view = self.view_at(query.consistency).await?;
        let probed = counter.snapshot();
        let mut restarts = 0;
        // What a query that may be degraded does without. Each round restarts or leaves out one more.
        let mut left_out = BTreeSet::new();
        loop {
            let asked = Asked {
                query,
                counter,
                probed: &probed,
                left_out: &left_out,
            };
            let error = match self.query_view(asked, &view).await {
                Err(error) => error,
                answer => return answer,
            };
            let damage = match is_missing(&error) {
                false => error,
                true => {
                    let text = error.message().to_owned();
                    let last = error.duplicate();
                    match self.gone(error).await? {
                        Gone::Lost(damage) => damage,
                        Gone::Replaced(_) if restarts == RESTARTS_MAX => return Err(last),
                        Gone::Replaced(newest) => {
                            restarts += 1;
                            view = newest;
                            tracing::info!(
                                namespace = %self.name,
                                error = text,
                                "an object that a query reads is gone, it starts over on a newer state"
                            );
                            continue;
                        }
                    }
                }
            };
            if damage.kind() != ErrorKind::Corrupted || !query.allow_degraded {
                return Err(damage);
            }
            match lost::segment_in(&damage, &view) {
                Some(segment) if left_out.insert(segment) => self.shared.note_damage(&damage),
                _ => return Err(damage),
            }
        }
    }

    /// Answers a query from one view.
    async fn query_view(&self, asked: Asked<'_>, view: &Arc<View>) -> Result<Answer<Reply>> {
        if view.state.life != Life::Live {
            return Ok(Answer::Dropped);
        }
        let began_ms = self.shared.clock.monotonic_ms();
        let kind = scan::kind_of(asked.query);
        let bound = Arc::new(query::bind(asked.query, &view.schema)?);
        let live = match asked.left_out.is_empty() {
            true => self.live_rows(view).await?,
            false => self.live_rows_without(view, asked.left_out).await?,
        };
        let degraded = lost::degraded(view, asked.left_out);
        let n_left_out = degraded
            .as_ref()
            .map_or(0, |lost| lost.segments.len() as u64);
        let source = Source::of(view, live, &self.shared);
        let found = scan::run(&source, &bound).await?;
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        self.shared
            .metrics
            .query
            .observe(kind, elapsed_ms as f64 / 1_000.0, found.scanned_rows);
        if degraded.is_some() {
            self.shared.metrics.damage.degraded_queries_total.inc();
        }
        let (store, probed) = (asked.counter.snapshot(), asked.probed);
        let coverage = Coverage {
            as_of_seq: view.seq,
            rows_total: source.live_rows(),
            unindexed_rows: view.tail.live_rows,
            bytes_total: source.live_bytes(),
            segments_searched: found.segments_searched,
            // Those left out are told apart.
            segments_pruned: found.segments_pruned.saturating_sub(n_left_out),
            store_gets: store.requests(),
            store_bytes: store.read_bytes,
            // At least: reads of segments come in waves that are not told apart.
            round_trips: probed.requests().min(2) + u64::from(store.requests() > probed.requests()),
            execution_us: elapsed_ms * 1_000,
        };
        Ok(Answer::Is(Reply {
            rows: found.rows,
            coverage,
            degraded,
        }))
    }

    /// A view as fresh as asked for.
    pub(crate) async fn view_at(self: &Arc<Self>, consistency: Consistency) -> Result<Arc<View>> {
        match consistency {
            Consistency::Strong => self.current_view().await,
            Consistency::Eventual {
                max_staleness_seconds,
            } => {
                let allowed_ms = max_staleness_seconds.saturating_mul(1_000);
                if self.staleness_ms() <= allowed_ms {
                    return Ok(self.view());
                }
                self.current_view().await
            }
            Consistency::Session { min_seq } => {
                let view = self.view();
                if view.seq >= min_seq {
                    return Ok(view);
                }
                let view = self.current_view().await?;
                if view.seq >= min_seq {
                    return Ok(view);
                }
                Err(Error::new(
                    ErrorKind::InvalidRequest,
                    "min_seq_not_reached",
                    format!(
                        "`min_seq` lies in the future: expected at most {}, found {min_seq}",
                        view.seq
                    ),
                ))
            }
        }
    }
}
