//! Background tasks with an owner: spawned here, joined at shutdown.

use std::future::Future;

use parking_lot::Mutex;
use tokio::task::JoinSet;

/// The tasks of one engine.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    /// Starts a task that outlives its caller; those that have ended are let go.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits until all tasks have ended, also those that tasks start meanwhile.
    pub async fn join_all(&self) {
        loop {
            let mut tasks = std::mem::take(&mut *self.0.lock());
            if tasks.is_empty() {
                return;
            }
            while tasks.join_next().await.is_some() {}
        }
    }
}
