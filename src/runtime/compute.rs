//! The CPU pool: futures never compute for long, they hand the work to these threads.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::future::try_join_all;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::{Error, Result};

/// Jobs waiting per thread: enough that no thread idles, few enough that memory is bounded. Callers
/// beyond it wait in their own futures.
const QUEUE_JOBS_PER_THREAD: usize = 16;

/// Work that looks at no more bytes than this is done sooner than it is handed to another thread and back.
const SMALL_BYTES: u64 = 64 << 10;

/// How far threads in the background stand back: at 10 they get a tenth of what another thread gets, if there is one.
#[cfg(target_os = "linux")]
const BACKGROUND_NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that run closures in the order they came.
///
/// Dropping the pool runs what is queued, then joins the threads.
pub struct ComputePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Whether jobs run on the task that asks for them: there are no threads then.
    inline: bool,
    /// Threads of their own for work that nobody waits for.
    background: Option<Box<ComputePool>>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Told once for each job, and all at the end.
    wake: Condvar,
    /// A place in the queue; given back when the job starts.
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl ComputePool {
    /// Starts `n_threads` threads; 0 means one per core. Errors: `Internal` where a thread cannot start.
    pub fn new(n_threads: usize) -> Result<Self> {
        let n_threads = match n_threads {
            0 => n_cores(),
            n => n,
        };
        Self::start(n_threads, "compute", || {})
    }

    /// Adds `n_threads` threads for work that nobody waits for, of lower priority; 0 means half the cores, at least one.
    /// Errors: `Internal` where a thread cannot start.
    pub fn with_background(mut self, n_threads: usize) -> Result<Self> {
        let n_threads = match n_threads {
            0 => (n_cores() / 2).max(1),
            n => n,
        };
        let pool = Self::start(n_threads, "background", step_back)?;
        self.background = Some(Box::new(pool));
        Ok(self)
    }

    /// Starts threads, each of which runs `begin` first.
    fn start(n_threads: usize, name: &str, begin: fn()) -> Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            places: Arc::new(Semaphore::new(
                n_threads.saturating_mul(QUEUE_JOBS_PER_THREAD),
            )),
        });
        // Made before the threads: if one fails to start, dropping the pool ends the others.
        let mut pool = Self {
            shared,
            threads: Vec::new(),
            inline: false,
            background: None,
        };
        for idx in 0..n_threads {
            let shared = Arc::clone(&pool.shared);
            let thread = std::thread::Builder::new()
                .name(format!("{name}-{idx}"))
                .spawn(move || {
                    begin();
                    shared.work();
                })
                .map_err(|error| {
                    Error::internal(format!("cannot start compute thread {idx} of {n_threads}"))
                        .with_source(error)
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Makes a pool without threads: a job runs on the task that asks for it, after one yield. For
    /// simulations, where the order of everything must follow from a seed.
    pub fn inline() -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                wake: Condvar::new(),
                places: Arc::new(Semaphore::new(QUEUE_JOBS_PER_THREAD)),
            }),
            threads: Vec::new(),
            inline: true,
            background: None,
        }
    }

    /// The number of threads: how many parts are worth splitting work into.
    pub fn n_threads(&self) -> usize {
        self.threads.len().max(1)
    }

    /// Runs `work` on a thread of the pool and returns what it returns.
    ///
    /// Errors: `Internal` if `work` panics; the thread goes on. Cancel safe: work that has not begun when
    /// the future is dropped is never run; work that has begun runs to its end, its result is dropped.
    pub async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if self.inline {
            // Others may run first, as they may while a job waits in a queue.
            tokio::task::yield_now().await;
            return catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(&*panic));
        }
        let places = Arc::clone(&self.shared.places);
        let place = places
            .acquire_owned()
            .await
            .map_err(|_| Error::internal("the compute pool is closed"))?;
        let (sender, receiver) = oneshot::channel();
        self.shared.push(place, move || {
            if !sender.is_closed() {
                let outcome =
                    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(&*panic));
                // Nobody waits for the result if the caller has gone meanwhile.
                let _ = sender.send(outcome);
            }
        });
        receiver
            .await
            .unwrap_or_else(|_| Err(Error::internal("the compute pool dropped a job")))
    }

    /// Runs `work` that nobody waits for, such as what a flush makes: on threads of their own, if the pool has them, so
    /// that queries find theirs free.
    ///
    /// Errors and cancel safety: as `run`.
    pub async fn run_background<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.background.as_deref().unwrap_or(self).run(work).await
    }

    /// Runs `work` that looks at about `bytes` bytes: on the task that asks for it where that is few, else as `run`.
    ///
    /// Errors and cancel safety: as `run`.
    pub async fn run_sized<T, F>(&self, bytes: u64, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        if bytes > SMALL_BYTES {
            return self.run(work).await;
        }
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panicked(&*panic))
    }

    /// Runs all `parts` in parallel and returns their results in the same order.
    ///
    /// Errors: that of the first part to panic, and parts that have not begun are not run. Cancel safe:
    /// as `run`. The caller bounds the number of parts.
    pub async fn run_many<T, F>(&self, parts: Vec<F>) -> Result<Vec<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        try_join_all(parts.into_iter().map(|part| self.run(part))).await
    }
}

impl Drop for ComputePool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // The last handle may be dropped by a job: a thread cannot wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                // A thread only ends by returning: jobs that panic are caught.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for ComputePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComputePool")
            .field("n_threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn push(&self, place: OwnedSemaphorePermit, job: impl FnOnce() + Send + 'static) {
        let job = Box::new(move || {
            drop(place);
            job();
        });
        self.queue.lock().jobs.push_back(job);
        self.wake.notify_one();
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// Waits for a job; `None` once the pool is closed and the queue is empty.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }
}

fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets others have the processor first: what a thread of lower priority does not get costs time alone.
fn step_back() {
    // Only Linux has priorities of threads; elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, BACKGROUND_NICENESS);
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::internal(format!("a computation panicked: {text}"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::error::ErrorKind;

    fn pool(n_threads: usize) -> ComputePool {
        ComputePool::new(n_threads).expect("threads start")
    }

    #[tokio::test]
    async fn run_returns_result_from_another_thread() {
        let name = pool(1)
            .run(|| std::thread::current().name().map(str::to_owned))
            .await;
        assert_eq!(name.expect("no panic").as_deref(), Some("compute-0"));
    }

    #[tokio::test]
    async fn run_on_inline_pool_stays_on_the_calling_thread_and_catches_panics() {
        let pool = ComputePool::inline();
        let here = std::thread::current().id();
        let ran_on = pool.run(|| std::thread::current().id()).await;
        assert_eq!(ran_on.expect("no panic"), here);
        assert_eq!(pool.n_threads(), 1);
        let error = pool
            .run(|| assert_eq!(1, 2, "planted"))
            .await
            .expect_err("a panic");
        assert_eq!(error.kind(), ErrorKind::Internal);
    }

    #[tokio::test]
    async fn run_background_has_threads_of_its_own_where_there_are_some() {
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let alone = pool(1);
        assert_eq!(
            alone.run_background(name).await.ok().as_deref(),
            Some("compute-0")
        );
        let both = pool(1).with_background(1).expect("threads start");
        assert_eq!(both.run(name).await.ok().as_deref(), Some("compute-0"));
        assert_eq!(
            both.run_background(name).await.ok().as_deref(),
            Some("background-0")
        );
        assert_eq!(both.n_threads(), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn run_background_stands_back_and_queries_do_not() {
        let niceness = || rustix::process::getpriority_process(None).unwrap_or(-1);
        let before = niceness();
        let both = pool(1).with_background(1).expect("threads start");
        assert_eq!(both.run(niceness).await.ok(), Some(before));
        assert_eq!(
            both.run_background(niceness).await.ok(),
            Some(before.max(BACKGROUND_NICENESS))
        );
    }

    #[tokio::test]
    async fn run_sized_of_few_bytes_stays_on_the_calling_thread() {
        let pool = pool(1);
        let here = std::thread::current().id();
        for (bytes, stays) in [(0, true), (SMALL_BYTES, true), (SMALL_BYTES + 1, false)] {
            let ran_on = pool.run_sized(bytes, || std::thread::current().id()).await;
            assert_eq!(ran_on.expect("no panic") == here, stays, "{bytes}");
        }
        let error = pool.run_sized(0, || assert_eq!(1, 2, "planted")).await;
        assert_eq!(error.expect_err("a panic").kind(), ErrorKind::Internal);
    }

    #[tokio::test]
    async fn run_that_panics_is_internal_and_thread_survives() {
        let pool = pool(1);
        let error = pool
            .run(|| assert_eq!(1, 2, "planted"))
            .await
            .expect_err("a panic");
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("planted"), "{}", error.message());
        assert_eq!(pool.run(|| 7).await.expect("no panic"), 7);
    }

    #[tokio::test]
    async fn run_many_beyond_queue_keeps_order() {
        let n_parts = 4 * QUEUE_JOBS_PER_THREAD;
        let parts: Vec<_> = (0..n_parts).map(|idx| move || idx).collect();
        let results = pool(2).run_many(parts).await.expect("no panic");
        assert_eq!(results, (0..n_parts).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn run_many_uses_threads_in_parallel() {
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let part = || {
            let barrier = Arc::clone(&barrier);
            move || barrier.wait().is_leader()
        };
        let leaders = pool(2)
            .run_many(vec![part(), part()])
            .await
            .expect("no panic");
        assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
    }

    #[tokio::test]
    async fn run_dropped_before_it_begins_is_never_run() {
        let pool = pool(1);
        let ran = Arc::new(AtomicUsize::new(0));
        let (release, held) = mpsc::channel::<()>();
        let mut blocker = Box::pin(pool.run(move || held.recv()));
        assert!(futures::poll!(blocker.as_mut()).is_pending());
        {
            let ran = Arc::clone(&ran);
            let mut dropped = Box::pin(pool.run(move || ran.fetch_add(1, Ordering::SeqCst)));
            assert!(futures::poll!(dropped.as_mut()).is_pending());
        }
        release.send(()).expect("the blocker listens");
        blocker.await.expect("no panic").expect("released");
        pool.run(|| ()).await.expect("no panic");
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn queue_is_bounded() {
        let pool = pool(1);
        let (release, held) = mpsc::channel::<()>();
        let mut blocker = Box::pin(pool.run(move || held.recv()));
        assert!(futures::poll!(blocker.as_mut()).is_pending());
        let mut waiting: Vec<_> = (0..3 * QUEUE_JOBS_PER_THREAD)
            .map(|idx| Box::pin(pool.run(move || idx)))
            .collect();
        for future in &mut waiting {
            assert!(futures::poll!(future.as_mut()).is_pending());
        }
        let n_queued = pool.shared.queue.lock().jobs.len();
        assert!(n_queued <= QUEUE_JOBS_PER_THREAD, "{n_queued} jobs queued");
        release.send(()).expect("the blocker listens");
        let results = try_join_all(waiting).await.expect("no panic");
        assert_eq!(results.len(), 3 * QUEUE_JOBS_PER_THREAD);
    }

    #[tokio::test]
    async fn pool_dropped_by_its_own_job_does_not_hang() {
        let pool = Arc::new(pool(2));
        let (ended, end) = mpsc::channel();
        let (start, started) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let last = Arc::clone(&pool);
        let mut job = Box::pin(pool.run(move || {
            // Goes on only when the caller's handle is gone, so that this one is the last.
            let _ = begin.send(());
            let _ = started.recv();
            drop(last);
            let _ = ended.send(());
        }));
        assert!(futures::poll!(job.as_mut()).is_pending());
        begun.recv().expect("the job begins");
        drop(job);
        drop(pool);
        start.send(()).expect("the job listens");
        end.recv().expect("the job ends");
    }
}
