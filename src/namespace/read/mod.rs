//! The read arrow, top to bottom: a view proven as fresh as asked, a bound query, a scan, the winners.
//!
//! Owns: how tail and segments are searched together and what an answer says it covered. Must not know:
//! HTTP, how a commit is made. Read `query` below first, then `scan.rs`, `tail.rs`, `segment.rs`,
//! `merge.rs`, `fetch.rs`.

mod fetch;
mod merge;
mod probe;
mod scan;
mod segment;
mod source;
mod tail;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::handle::{Namespace, View};
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::BitmapPlace;
use crate::lsm::state::Life;
use crate::query::reply::{Coverage, Reply};
use crate::query::request::{Consistency, Query};
use crate::query::{self};
use crate::store::count::{RequestCounter, StoreCounts};

pub(crate) use probe::Probe;
use source::Source;

/// How often a query starts over on a newer state because an object of its own is gone.
const RESTARTS_MAX: u32 = 2;

/// An answer, or that the namespace has been dropped under its handle.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Is(T),
    Dropped,
}

impl Namespace {
    /// Answers one query. Cancel safe.
    ///
    /// A segment of the view may be replaced and deleted while it is read: then the query starts over on a
    /// newer view. Errors: `Corrupted` where an object that the newest state refers to is gone.
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
        loop {
            let error = match self.query_view(query, &view, counter, &probed).await {
                Err(error) if error.code() == "object_missing" => error,
                answer => return answer,
            };
            view = self.refresh().await?;
            if restarts == RESTARTS_MAX {
                return Err(lost(error, &view));
            }
            restarts += 1;
            tracing::info!(
                namespace = %self.name,
                error = %error.message(),
                "an object that a query reads is gone, it starts over on a newer state"
            );
        }
    }

    /// Answers a query from one view.
    async fn query_view(
        &self,
        query: &Query,
        view: &Arc<View>,
        counter: &RequestCounter,
        probed: &StoreCounts,
    ) -> Result<Answer<Reply>> {
        if view.state.life != Life::Live {
            return Ok(Answer::Dropped);
        }
        let began_ms = self.shared.clock.monotonic_ms();
        let kind = scan::kind_of(query);
        let bound = Arc::new(query::bind(query, &view.schema)?);
        let live = self.live_rows(view).await?;
        let source = Source::of(view, live, &self.shared);
        let found = scan::run(&source, &bound).await?;
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        self.shared
            .metrics
            .query
            .observe(kind, elapsed_ms as f64 / 1_000.0, found.scanned_rows);
        let store = counter.snapshot();
        let coverage = Coverage {
            as_of_seq: view.seq,
            rows_total: source.live_rows(),
            unindexed_rows: view.tail.live_rows,
            bytes_total: source.live_bytes(),
            segments_searched: found.segments_searched,
            segments_pruned: found.segments_pruned,
            store_gets: store.requests(),
            store_bytes: store.read_bytes,
            // At least: reads of segments come in waves that are not told apart.
            round_trips: probed.requests().min(2) + u64::from(store.requests() > probed.requests()),
            execution_us: elapsed_ms * 1_000,
        };
        Ok(Answer::Is(Reply {
            rows: found.rows,
            coverage,
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

/// What the last of several tries says: gone for good, or still being replaced.
fn lost(error: Error, newest: &View) -> Error {
    let object = error.details().iter().find(|(name, _)| *name == "object");
    let Some((_, object)) = object else {
        return error;
    };
    let referenced = newest.state.segments.iter().any(|segment| {
        let deletions = match &segment.deletions.bitmap {
            BitmapPlace::Stored(file) => Some(&file.path),
            BitmapPlace::Empty | BitmapPlace::Inline(_) => None,
        };
        [
            Some(&segment.parquet.path),
            Some(&segment.index.path),
            deletions,
        ]
        .contains(&Some(object))
    });
    if !referenced {
        return error;
    }
    Error::corrupted(format!(
        "object `{object}` is missing: the state at {} refers to it",
        newest.seq
    ))
    .with_detail("object", object)
    .with_source(error)
}
