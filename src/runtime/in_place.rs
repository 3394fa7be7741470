//! A future that wakes itself while it runs, run again on the spot.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Most times in a row that a future runs before others have their turn.
const TURNS_MAX: usize = 4;

/// Nobody polls the future: whoever wakes it wakes the task.
const RESTING: u8 = 0;
/// The future is being polled.
const RUNNING: u8 = 1;
/// The future is being polled, and is to be polled once more.
const WOKEN: u8 = 2;

/// Polls a future again at once where it was woken while it ran, instead of queueing its task.
///
/// A task queued from within itself makes tokio look for a second worker to take it, which costs more than all
/// else that a small request does. An HTTP/1 connection does so with every body: its handler, polled by the
/// connection, asks the connection for the body. Others have their turn after four rounds.
///
/// Cancel safe as the future is.
#[derive(Debug)]
pub struct InPlace<F> {
    future: Pin<Box<F>>,
    relay: Arc<Relay>,
    /// Of `relay`, made once.
    waker: Waker,
}

impl<F: Future> InPlace<F> {
    /// Wraps a future.
    pub fn new(future: F) -> Self {
        let relay = Arc::new(Relay {
            state: AtomicU8::new(RESTING),
            task: AtomicWaker::new(),
        });
        Self {
            future: Box::pin(future),
            waker: Waker::from(Arc::clone(&relay)),
            relay,
        }
    }
}

impl<F: Future> Future for InPlace<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.relay.task.register(cx.waker());
        for _ in 0..TURNS_MAX {
            this.relay.state.store(RUNNING, Ordering::SeqCst);
            let mut within = Context::from_waker(&this.waker);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut within) {
                return Poll::Ready(output);
            }
            if this.relay.rest() {
                return Poll::Pending;
            }
        }
        this.relay.state.store(RESTING, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// What the future takes for its task's waker.
#[derive(Debug)]
struct Relay {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Relay {
    /// Ends a run; whether no wake came during it.
    fn rest(&self) -> bool {
        let (order, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        self.state
            .compare_exchange(RUNNING, RESTING, order, failed)
            .is_ok()
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (order, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        let was = self.state.compare_exchange(RUNNING, WOKEN, order, failed);
        if was == Err(RESTING) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::channel::oneshot;

    use super::*;

    /// Counts its wakes.
    #[derive(Debug, Default)]
    struct Wakes(AtomicUsize);

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Wakes itself in its first `times` polls, and is ready in the one after.
    fn selfish(times: usize) -> (Arc<AtomicUsize>, impl Future<Output = ()>) {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&polls);
        let future = std::future::poll_fn(move |cx| {
            if counted.fetch_add(1, Ordering::SeqCst) == times {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        (polls, future)
    }

    #[test]
    fn future_that_wakes_itself_runs_again_without_its_task() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let (polls, future) = selfish(TURNS_MAX - 1);
        let mut future = std::pin::pin!(InPlace::new(future));
        let done = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(done.is_ready());
        assert_eq!(
            (polls.load(Ordering::SeqCst), wakes.count()),
            (TURNS_MAX, 0)
        );
    }

    #[test]
    fn future_that_never_rests_lets_others_run() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let (polls, future) = selfish(usize::MAX);
        let mut future = std::pin::pin!(InPlace::new(future));
        for turn in 1..=3 {
            let done = future.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(done.is_pending());
            let polls = polls.load(Ordering::SeqCst);
            assert_eq!((polls, wakes.count()), (turn * TURNS_MAX, turn));
        }
    }

    #[test]
    fn wake_from_elsewhere_reaches_the_task_of_the_last_poll() {
        let (first, last) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        let (sender, receiver) = oneshot::channel();
        let mut future = std::pin::pin!(InPlace::new(receiver));
        for wakes in [&first, &last] {
            let waker = Waker::from(Arc::clone(wakes));
            let done = future.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(done.is_pending());
        }
        sender.send(7).expect("a receiver");
        assert_eq!((first.count(), last.count()), (0, 1));
        let waker = Waker::from(Arc::clone(&last));
        let done = future.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(done, Poll::Ready(Ok(7)));
    }

    /// A wake that comes from another thread while the future runs or comes to rest is never lost: the run would
    /// hang.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn wakes_of_other_threads_are_never_lost() {
        for _ in 0..2_000 {
            let (sender, receiver) = oneshot::channel();
            let receiving = tokio::task::JoinSet::from_iter([InPlace::new(receiver)]);
            let sending = tokio::task::JoinSet::from_iter([async { sender.send(()) }]);
            let (received, sent) = tokio::join!(receiving.join_all(), sending.join_all());
            assert_eq!((received, sent), (vec![Ok(())], vec![Ok(())]));
        }
    }
}
