//! The read arrow, top to bottom: a view proven as fresh as asked, a bound query, a scan, the winners.
//!
//! Owns: how tail and segments are searched together and what an answer says it covered. Must not know:
//! HTTP, how a commit is made. Read `ask` below first, then `scan.rs`, `tail.rs`, `segment.rs`,
//! `merge.rs`, `fetch.rs`; `totals.rs` is for numbers over rows, `plan.rs` tells without reading, `recall.rs` measures,
//! `matching.rs` is for writes by filter, `past.rs` finds older states, `lost.rs` is for objects that cannot be read.

mod choose;
mod fetch;
mod lost;
mod matching;
mod merge;
mod past;
mod plan;
mod probe;
mod question;
mod recall;
mod scan;
mod segment;
mod source;
mod sum;
mod tail;
#[cfg(test)]
mod tests;
mod totals;
mod unread;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::handle::{Namespace, View};
use crate::error::{Error, ErrorKind, Result};
use crate::lsm::SegmentId;
use crate::lsm::state::Life;
use crate::query;
use crate::query::cursor::Cursor;
use crate::query::reply::{Answers, Coverage, Found};
use crate::query::request::{Consistency, Questions};
use crate::store::count::{RequestCounter, StoreCounts};

pub(in crate::namespace) use lost::{
    Gone, RESTARTS_MAX, is_missing, judge, of_segment, segment_in,
};
pub(in crate::namespace) use past::PastViews;
pub(crate) use probe::Probe;
use question::Bound;
use scan::{Answered, Looked};
use source::Source;

/// Questions of one request answered at once: bounds memory, as each scans segments.
const QUESTIONS_AT_ONCE: usize = 2;

/// An answer, or that the namespace has been dropped under its handle.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Is(T),
    Dropped,
}

/// A request on its way, and what it does without.
#[derive(Clone, Copy)]
struct Asked<'a> {
    request: &'a Questions,
    counter: &'a RequestCounter,
    /// What had been asked of the store once its first view was found.
    probed: &'a StoreCounts,
    left_out: &'a BTreeSet<SegmentId>,
}

impl Namespace {
    /// Answers all questions of a request from one state. Cancel safe.
    ///
    /// A segment of the view may be replaced and deleted while it is read: then the query starts over on a
    /// newer view. Errors: `Corrupted` naming the object and the segment, where one that the newest state
    /// refers to is gone or damaged and the query does not allow to answer without it.
    pub(crate) async fn ask(self: &Arc<Self>, request: &Questions) -> Result<Answer<Answers>> {
        self.touch();
        let counter = RequestCounter::default();
        counter.scope(self.ask_counted(request, &counter)).await
    }

    async fn ask_counted(
        self: &Arc<Self>,
        request: &Questions,
        counter: &RequestCounter,
    ) -> Result<Answer<Answers>> {
        let mut view = self.view_at(request.consistency).await?;
        self.consider_index_build(&view);
        self.consider_compaction_later(&view);
        if let Some(as_of) = request.as_of {
            view = self.view_as_of(as_of, view).await?;
        }
        let probed = counter.snapshot();
        let mut restarts = 0;
        // What a query that may be degraded does without. Each round restarts or leaves out one more.
        let mut left_out = BTreeSet::new();
        loop {
            let asked = Asked {
                request,
                counter,
                probed: &probed,
                left_out: &left_out,
            };
            let error = match self.ask_view(asked, &view).await {
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
                        Gone::Replaced(newest) if request.as_of.is_some() => {
                            return Err(past::not_retained(&self.name, view.seq, newest.seq));
                        }
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
            self.consider_repair(&damage);
            if damage.kind() != ErrorKind::Corrupted || !request.allow_degraded {
                return Err(damage);
            }
            match lost::segment_in(&damage, &view) {
                Some(segment) if left_out.insert(segment) => self.shared.note_damage(&damage),
                _ => return Err(damage),
            }
        }
    }

    /// Answers a request from one view.
    async fn ask_view(
        self: &Arc<Self>,
        asked: Asked<'_>,
        view: &Arc<View>,
    ) -> Result<Answer<Answers>> {
        if view.state.life != Life::Live {
            return Ok(Answer::Dropped);
        }
        let began_ms = self.shared.clock.monotonic_ms();
        let bound = question::bind_all(asked.request, &view.schema)?;
        if !asked.request.explain {
            question::permit(&bound, view)?;
        }
        let live = match asked.left_out.is_empty() {
            true => self.live_rows(view).await?,
            false => self.live_rows_without(view, asked.left_out).await?,
        };
        let degraded = lost::degraded(view, asked.left_out);
        let n_left_out = degraded
            .as_ref()
            .map_or(0, |lost| lost.segments.len() as u64);
        let source = Source::of(view, live, &self.shared).with_plan(asked.request.plan);
        let Answered {
            found,
            next,
            looked,
        } = match asked.request.explain {
            true => Answered {
                found: vec![plan::of(&source, view.seq, asked.request, &bound).await?],
                next: None,
                looked: Looked::default(),
            },
            false => self.answer_all(&source, asked.request, bound).await?,
        };
        let next = next.map(|place| {
            self.keep_past(view);
            Cursor {
                namespace: self.id(),
                seq: view.seq,
                place,
            }
        });
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        if self.note_unread(&source) {
            self.shared.metrics.damage.unindexed_queries_total.inc();
        }
        if degraded.is_some() {
            self.shared.metrics.damage.degraded_queries_total.inc();
        }
        let (store, probed) = (asked.counter.snapshot(), asked.probed);
        let n_left_out = n_left_out * asked.request.asks.len() as u64;
        let coverage = Coverage {
            as_of_seq: view.seq,
            rows_total: source.live_rows(),
            unindexed_rows: view.tail.live_rows,
            bytes_total: source.live_bytes(),
            segments_searched: looked.segments_searched,
            // Those left out are told apart.
            segments_pruned: looked.segments_pruned.saturating_sub(n_left_out),
            store_gets: store.requests(),
            store_bytes: store.read_bytes,
            // At least: reads of segments come in waves that are not told apart.
            round_trips: probed.requests().min(2) + u64::from(store.requests() > probed.requests()),
            execution_us: elapsed_ms * 1_000,
        };
        Ok(Answer::Is(Answers {
            found,
            coverage,
            degraded,
            next,
        }))
    }

    /// Tells of the indexes that a read did without, and has them built again; whether there are any.
    fn note_unread(self: &Arc<Self>, source: &Source) -> bool {
        let unread = source.unread.take();
        for error in &unread {
            self.shared.note_damage(error);
            self.consider_repair(error);
        }
        !unread.is_empty()
    }

    /// Answers the questions of a request, a few at once.
    async fn answer_all(
        &self,
        source: &Source,
        request: &Questions,
        bound: Vec<Bound>,
    ) -> Result<Answered<Vec<Found>>> {
        let answers: Vec<_> = bound
            .into_iter()
            .map(|bound| self.answer(source, bound))
            .collect();
        let answers: Vec<Answered<Found>> = stream::iter(answers)
            .buffered(QUESTIONS_AT_ONCE)
            .try_collect()
            .await?;
        let mut looked = Looked::default();
        let mut found = Vec::with_capacity(answers.len());
        let mut next = None;
        for one in answers {
            found.push(one.found);
            looked.add(one.looked);
            // Of one question at most: only a question that is alone has pages.
            next = next.or(one.next);
        }
        if let Some(fuse) = request.fuse.clone() {
            let lists = found.into_iter().map(Found::into_rows).collect();
            let rows = source.compute.run(move || query::fuse::fuse(lists, &fuse));
            found = vec![Found::Rows(rows.await?)];
        }
        Ok(Answered {
            found,
            next,
            looked,
        })
    }

    /// Answers one question of a request.
    async fn answer(&self, source: &Source, bound: Bound) -> Result<Answered<Found>> {
        let began_ms = self.shared.clock.monotonic_ms();
        let kind = bound.kind();
        let answered = match bound {
            Bound::Rows(query) => scan::run(source, &query).await?.map(Found::Rows),
            Bound::Totals(plan) => totals::run(source, &plan).await?,
            Bound::Recall(asked) => recall::run(source, &asked).await?,
        };
        let elapsed_ms = self.shared.clock.monotonic_ms().saturating_sub(began_ms);
        let seconds = elapsed_ms as f64 / 1_000.0;
        let metrics = &self.shared.metrics.query;
        metrics.observe(kind, seconds, answered.looked.scanned_rows);
        Ok(answered)
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
