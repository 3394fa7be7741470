//! Work in the background that is done by one task at a time, and how long it is left alone after a failure: twice as
//! long after each further one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use futures::future::BoxFuture;

use super::handle::Namespace;
use crate::runtime::clock::sleep_ms;

/// After the first failure, milliseconds. A try that fails may cost the log two slots.
const REST_MS: u64 = 1_000;
const REST_MS_MAX: u64 = 10 * 60 * 1_000;

/// When work may be begun again.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Before when none is begun, monotonic milliseconds.
    not_before_ms: AtomicU64,
    /// Failures since the last success.
    failures: AtomicU32,
}

impl Rest {
    /// Until work may be begun, milliseconds.
    pub(super) fn left_ms(&self, now_ms: u64) -> u64 {
        let not_before_ms = self.not_before_ms.load(Ordering::Acquire);
        not_before_ms.saturating_sub(now_ms)
    }

    pub(super) fn note_success(&self) {
        self.failures.store(0, Ordering::Release);
    }

    pub(super) fn note_failure(&self, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel);
        let rest_ms = REST_MS
            .saturating_mul(1 << failures.min(16))
            .min(REST_MS_MAX);
        self.until(now_ms.saturating_add(rest_ms));
    }

    /// Leaves the work alone until then, though nothing failed.
    pub(super) fn until(&self, not_before_ms: u64) {
        self.not_before_ms.store(not_before_ms, Ordering::Release);
    }
}

/// Work that one task of this node does for a namespace, step after step.
#[derive(Debug, Default)]
pub(super) struct Chore {
    running: AtomicBool,
    pub(super) rest: Rest,
}

impl Chore {
    /// Whether a task is at it.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Makes the caller the task, unless there is one.
    fn begin(&self) -> bool {
        !self.running.swap(true, Ordering::AcqRel)
    }

    /// Ends a step; `true` where the task goes on: more is left, and no other task was begun since.
    pub(super) fn end_step(&self, more_is_left: bool) -> bool {
        self.running.store(false, Ordering::Release);
        more_is_left && self.begin()
    }
}

impl Namespace {
    /// Does a chore on a task until a step says that the task is over, unless a task is at it already. It rests where
    /// it must.
    pub(super) fn take_up(
        self: &Arc<Self>,
        chore: fn(&Self) -> &Chore,
        step: for<'a> fn(&'a Arc<Self>) -> BoxFuture<'a, bool>,
    ) {
        if !chore(self).begin() {
            return;
        }
        let (mut namespace, shared) = (Arc::clone(self), Arc::clone(&self.shared));
        let shutdown = shared.shutdown.clone();
        self.shared.tasks.spawn(async move {
            loop {
                let rest_ms = chore(&namespace).rest.left_ms(shared.clock.monotonic_ms());
                if rest_ms > 0 {
                    // One that is closed meanwhile is seen to when it is used again.
                    let handle = Arc::downgrade(&namespace);
                    drop(namespace);
                    tokio::select! {
                        () = sleep_ms(rest_ms) => {}
                        () = shutdown.triggered() => return,
                    }
                    let Some(open) = handle.upgrade() else {
                        return;
                    };
                    namespace = open;
                } else if !step(&namespace).await {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_doubles_with_each_failure_up_to_ten_minutes() {
        let rest = Rest::default();
        assert_eq!(rest.left_ms(0), 0);
        for expected in [1_000, 2_000, 4_000] {
            rest.note_failure(50);
            assert_eq!(rest.left_ms(50), expected);
        }
        for _ in 0..40 {
            rest.note_failure(50);
        }
        assert_eq!(rest.left_ms(50), REST_MS_MAX);
        rest.note_success();
        rest.note_failure(50);
        assert_eq!(rest.left_ms(1_040), 10);
    }
}
