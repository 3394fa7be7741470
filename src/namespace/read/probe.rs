//! The strong read's probe: is the published view still the newest state?
//!
//! One probe that began after the newest waiter arrived serves all of them; what it asks is `wal/probe.rs`.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::namespace::handle::{Namespace, View};
use crate::store::count::RequestCounter;
use crate::wal::Probed;

type Waiter = oneshot::Sender<Result<Arc<View>>>;

/// Who waits for the next probe.
#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Round>);

#[derive(Debug, Default)]
struct Round {
    waiting: Vec<Waiter>,
    running: bool,
}

impl Namespace {
    /// A view that holds every write acknowledged before this call. Cancel safe.
    pub(crate) async fn current_view(self: &Arc<Self>) -> Result<Arc<View>> {
        let (sender, receiver) = oneshot::channel();
        let must_start = {
            let mut round = self.probe.0.lock();
            round.waiting.push(sender);
            !std::mem::replace(&mut round.running, true)
        };
        if must_start {
            let namespace = Arc::clone(self);
            let counter = RequestCounter::current().unwrap_or_default();
            self.shared
                .tasks
                .spawn(async move { counter.scope(namespace.probe_rounds()).await });
        }
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the probe task ended")))
    }

    async fn probe_rounds(&self) {
        loop {
            let waiting = {
                let mut round = self.probe.0.lock();
                if round.waiting.is_empty() {
                    round.running = false;
                    return;
                }
                std::mem::take(&mut round.waiting)
            };
            let found = self.probe_once().await;
            for waiter in waiting {
                let answer = match &found {
                    Ok(view) => Ok(Arc::clone(view)),
                    Err(error) => Err(error.duplicate()),
                };
                // A reader that has gone needs no answer.
                let _ = waiter.send(answer);
            }
        }
    }

    async fn probe_once(&self) -> Result<Arc<View>> {
        let began_ms = self.shared.clock.monotonic_ms();
        let view = self.view();
        if self.is_stopped() {
            return self.refresh().await;
        }
        if let Probed::Current { proof } = self.wal.probe(view.probe, view.proof()).await? {
            view.renew(proof);
            self.prove(began_ms);
            return Ok(view);
        }
        // Something is new, or the log was truncated under this view. A commit of this node that is on
        // its way holds the lock and publishes before it lets go.
        self.refresh().await
    }
}
