//! The read arrow, top to bottom: a view proven as fresh as asked, a bound query, a scan, the winners.

mod probe;
mod scan;

use std::sync::Arc;

use super::handle::{Namespace, View};
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::state::Life;
use crate::query::reply::{Coverage, Reply};
use crate::query::request::{Consistency, Query};
use crate::query::{self};
use crate::store::count::RequestCounter;

pub(crate) use probe::Probe;

/// An answer, or that the namespace has been dropped under its handle.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Is(T),
    Dropped,
}

impl Namespace {
    /// Answers one query. Cancel safe.
    pub(crate) async fn query(self: &Arc<Self>, query: Query) -> Result<Answer<Reply>> {
        self.touch();
        let counter = RequestCounter::default();
        let view = counter.scope(self.view_at(query.consistency)).await?;
        if view.life != Life::Live {
            return Ok(Answer::Dropped);
        }
        let began_ms = self.shared.clock.monotonic_ms();
        let kind = scan::kind_of(&query);
        let bound = Arc::new(query::bind(&query, &view.schema)?);
        let rows = scan::run(&self.shared.compute, &view, &bound).await?;
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        let scanned: u64 = view
            .tail
            .chunks
            .iter()
            .map(|chunk| chunk.len() as u64)
            .sum();
        self.shared
            .metrics
            .query
            .observe(kind, elapsed_ms as f64 / 1_000.0, scanned);
        let store = counter.snapshot();
        let coverage = Coverage {
            as_of_seq: view.seq,
            rows_total: view.tail.live_rows,
            unindexed_rows: view.tail.live_rows,
            bytes_total: view.tail.live_bytes,
            store_gets: store.requests(),
            store_bytes: store.read_bytes,
            round_trips: store.requests().min(2),
            execution_us: elapsed_ms * 1_000,
            ..Coverage::default()
        };
        Ok(Answer::Is(Reply { rows, coverage }))
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
