//! Runs futures outside a task where that is cheaper, and finishes those that must not stop halfway.
//!
//! `run` polls a future once on the caller's thread, and spawns the rest when it is woken: a task that is
//! spawned to wait would wake a worker for nothing, at each prompt and each screen. `whole` spawns the rest of
//! a future that is dropped after its first poll. `apart` gives work a task of its own. `on_disk` runs work
//! that waits for a disk on a thread that may wait.
//!
//! Must not know requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::base::error::{Error, Kind, Result};

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls `work` once, on this thread. If it is not done then, it goes on in `rt` when it is woken.
pub fn run(rt: &Handle, mut work: Work) {
    let later = Arc::new(Later { rt: rt.clone(), state: Mutex::new(State::Polled) });
    let _in_runtime = rt.enter();
    if work.as_mut().poll(&mut Context::from_waker(&Waker::from(later.clone()))).is_ready() {
        return;
    }
    let mut state = later.state.lock();
    match *state {
        State::Polled => *state = State::Waits(work),
        // Woken meanwhile.
        State::Woken | State::Waits(_) => {
            drop(state);
            rt.spawn(work);
        }
    }
}

/// Runs work that must not be left half done: if the future is dropped before its result is there, the
/// work goes on by itself. Work that was never polled has not begun, and is dropped. Needs a runtime.
pub fn whole<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send {
    Whole { work: Some(Box::pin(work)), begun: false }
}

/// The same in a task of its own: for work that may occupy its thread.
pub async fn apart<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|e| Err(Error::new(Kind::Bug, "it ended before it was done").because(e)))
}

struct Whole<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
}

impl<T: Send + 'static> Future for Whole<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        // Taken out meanwhile, so that work which panics is not gone on with.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Whole<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && self.begun
            && let Ok(rt) = Handle::try_current()
        {
            rt.spawn(async move { drop(work.await) });
        }
    }
}

/// Runs work that waits for a disk, on a thread that may wait. Needs a runtime.
pub async fn on_disk<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(act).await;
    done.map_err(|e| Error::new(Kind::Bug, "an access to the disk ended before it was done").because(e))
}

struct Later {
    rt: Handle,
    state: Mutex<State>,
}

enum State {
    /// Its first poll is under way.
    Polled,
    Waits(Work),
    /// The runtime has it, or gets it when its first poll is over.
    Woken,
}

impl Wake for Later {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Woken);
        if let State::Waits(work) = state {
            self.rt.spawn(work); // a worker that wakes us runs it next, on its own thread
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn it_runs_here_until_it_waits() {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        run(&Handle::current(), Box::pin(async move { flag.store(true, Ordering::Relaxed) }));
        assert!(done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_must_be_whole_goes_on_when_nobody_waits_for_it() {
        let (go, gone) = oneshot::channel::<()>();
        let (said, heard) = oneshot::channel();
        let work = || async move {
            let _ = gone.await;
            let _ = said.send(7);
        };
        let mut work = Box::pin(whole(work()));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut work).await.is_err());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(heard.await, Ok(7));
        let (said, heard) = oneshot::channel();
        drop(whole(async move { said.send(7) }));
        assert!(heard.await.is_err(), "what was never polled has not begun");
    }

    #[tokio::test]
    async fn a_wake_at_any_time_ends_the_wait() {
        let rt = Handle::current();
        let (go, gone) = oneshot::channel();
        let (said, heard) = oneshot::channel();
        run(&rt, Box::pin(async move { drop(said.send(gone.await)) }));
        go.send(7).unwrap();
        assert_eq!(heard.await.unwrap(), Ok(7));
        // During the first poll: a yield wakes before it returns.
        let (said, heard) = oneshot::channel();
        run(
            &rt,
            Box::pin(async move {
                let mut first = true;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::take(&mut first) {
                        std::task::Poll::Pending
                    } else {
                        std::task::Poll::Ready(())
                    }
                })
                .await;
                let _ = said.send(());
            }),
        );
        heard.await.unwrap();
    }
}
