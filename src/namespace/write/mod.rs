//! The write arrow, top to bottom: queue, gather a group, commit it, answer.
//!
//! Requests that arrive while a commit is on its way form the next group. A group is evaluated at the
//! newest known state, request by request, and becomes one slot. The commit runs on a task of its own:
//! a client that hangs up cannot leave it half done. Read `group.rs` next, then `stage.rs`, `gather.rs`,
//! `commit.rs`.

mod commit;
mod gather;
mod group;
mod pressure;
mod stage;
#[cfg(test)]
mod tests;

pub(in crate::namespace) use commit::Tried;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::IdempotencyKey;
use super::handle::Namespace;
use crate::error::{Error, Result};
use crate::types::document::{WriteBatch, WriteOutcome};
use crate::types::limits;

/// A request on its way into a commit.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) batch: Arc<WriteBatch>,
    pub(crate) key: Option<IdempotencyKey>,
}

type Reply = oneshot::Sender<Result<WriteOutcome>>;

/// Requests waiting for the next commit.
#[derive(Debug, Default)]
pub(crate) struct CommitQueue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<(Request, Reply)>,
    /// Whether a task is taking groups.
    running: bool,
}

impl Namespace {
    /// Writes one request: resolves once it is durable and visible to every strong read.
    ///
    /// Cancel safe: the write may still happen.
    pub(crate) async fn write(self: &Arc<Self>, request: Request) -> Result<WriteOutcome> {
        self.touch();
        self.hold_back().await?;
        let (reply, answer) = oneshot::channel();
        if self.enqueue(request, reply)? {
            let namespace = Arc::clone(self);
            self.shared
                .tasks
                .spawn(async move { namespace.commit_groups().await });
        }
        answer.await.unwrap_or_else(|_| {
            Err(Error::outcome_unknown(
                "the commit task ended before it answered",
            ))
        })
    }

    /// Adds a request; `true` if the caller must start the committing task.
    fn enqueue(&self, request: Request, reply: Reply) -> Result<bool> {
        let mut waiting = self.queue.0.lock();
        if waiting.requests.len() >= limits::WRITE_QUEUE_MAX {
            return Err(Error::unavailable(format!(
                "too many writes wait for namespace `{}`: {}",
                self.name,
                limits::WRITE_QUEUE_MAX
            ))
            .with_retry_after_ms(1_000));
        }
        waiting.requests.push_back((request, reply));
        Ok(!std::mem::replace(&mut waiting.running, true))
    }

    /// Commits groups until nobody waits.
    async fn commit_groups(self: &Arc<Self>) {
        loop {
            let mut slot = self.log.lock().await;
            // Closed only now: everything that came while the last commit was on its way shares this one.
            let Some((requests, replies)) = self.next_group() else {
                return;
            };
            let outcomes = self.commit_group(&mut slot, requests).await;
            drop(slot);
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Nobody waits for it if the client has gone; the write stands.
                let _ = reply.send(outcome);
            }
        }
    }

    fn next_group(&self) -> Option<(Arc<[Request]>, Vec<Reply>)> {
        let mut waiting = self.queue.0.lock();
        let mut requests = Vec::new();
        let mut replies = Vec::new();
        let mut bytes = 0;
        while let Some((next, _)) = waiting.requests.front() {
            bytes += next.batch.bytes;
            // What a filter matches is found at the state before the group: it must be the group's first.
            let later = bytes > limits::GROUP_BYTES_MAX || next.batch.is_by_filter();
            if !requests.is_empty() && later {
                break;
            }
            if let Some((request, reply)) = waiting.requests.pop_front() {
                requests.push(request);
                replies.push(reply);
            }
        }
        if requests.is_empty() {
            waiting.running = false;
            return None;
        }
        Some((requests.into(), replies))
    }
}
