//! The end: a token that every long-lived task watches.

use std::sync::Arc;

use tokio::sync::watch;

use crate::error::{Error, Result};

/// Says once, to all clones, that the node is to stop.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stop: Arc<watch::Sender<bool>>,
}

impl Shutdown {
    /// Makes a token that is not triggered.
    pub fn new() -> Self {
        Self {
            stop: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Tells all clones to stop; the second time changes nothing.
    pub fn trigger(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it has been triggered.
    pub fn is_triggered(&self) -> bool {
        *self.stop.borrow()
    }

    /// Returns once it has been triggered, at once if it was before. Cancel safe: nothing changes.
    pub async fn triggered(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so the wait only ends by the value.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// Listens for SIGTERM and SIGINT from this call on; the returned future triggers `shutdown` at the
/// first one, or ends without it if `shutdown` was triggered otherwise.
///
/// Needs a tokio runtime. Errors: `Internal` where the operating system refuses the handlers.
#[cfg(unix)]
pub fn listen_for_signals(shutdown: Shutdown) -> Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = |kind, name: &str| {
        signal(kind).map_err(|error| {
            Error::internal(format!("cannot listen for signal {name}")).with_source(error)
        })
    };
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.triggered() => {}
        }
        shutdown.trigger();
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trigger_reaches_clones_before_and_after() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        let mut waiting = Box::pin(clone.triggered());
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        assert!(!clone.is_triggered());
        shutdown.trigger();
        waiting.await;
        assert!(clone.is_triggered());
        clone.triggered().await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn signal_to_process_triggers() {
        for name in ["TERM", "INT"] {
            let shutdown = Shutdown::new();
            let listening = listen_for_signals(shutdown.clone()).expect("handlers");
            let status = std::process::Command::new("sh")
                .args(["-c", &format!("kill -{name} {}", std::process::id())])
                .status()
                .expect("a shell");
            assert!(status.success());
            listening.await;
            assert!(shutdown.is_triggered(), "{name}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn listening_ends_when_triggered_otherwise() {
        let shutdown = Shutdown::new();
        let listening = listen_for_signals(shutdown.clone()).expect("handlers");
        shutdown.trigger();
        listening.await;
    }
}
