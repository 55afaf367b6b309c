//! Asks questions that may never be answered (reads of `/proc/PID`), on a few threads of their own and with
//! a limit of time.
//!
//! The kernel answers much of `/proc/PID` under locks that the process itself may hold while it
//! waits for us. Measured on Linux 6.18 with a process inside execve(2) that waits for a FUSE
//! reply: `stat`, `exe`, `cwd`, `root`, `ns/*`, `fd/N`, `environ`, `maps`, `io` and `wchan` wait;
//! `status`, `statm`, `cgroup`, `comm`, `limits`, `task` and the listing of `fd` do not. What
//! waits is asked here, and each caller has a default for no answer. A question that is stuck
//! keeps its thread, so the number of threads is bounded, and so is one process's share of it.
//!
//! Knows neither what is asked nor who asks; a stuck question never uses a thread of the runtime.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// How many questions about one process may be outstanding.
const EACH: usize = 4;

/// A thread without a question ends after this time.
const IDLE: Duration = Duration::from_secs(10);

/// For a shorter wait a thread of the runtime does not hand its tasks to another.
const MOMENT: Duration = Duration::from_millis(1);

type Job = Box<dyn FnOnce() + Send>;

/// Threads for questions of one kind.
pub struct Offload {
    name: &'static str,
    most: usize,
    state: Mutex<Option<State>>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    /// What the next free threads take, with the process each is about.
    queue: VecDeque<(u32, Job)>,
    about: HashMap<u32, usize>,
    threads: usize,
    idle: usize,
}

impl Offload {
    /// At most `most` questions at a time; as many more wait for a thread.
    pub const fn new(name: &'static str, most: usize) -> Self {
        Offload { name, most, state: Mutex::new(None), more: Condvar::new() }
    }

    /// The answer to a question about process `pid`. `None`: not within `limit`, or too many
    /// questions are outstanding.
    pub async fn ask<T: Send + 'static>(
        &'static self,
        pid: u32,
        limit: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.submit(pid, Box::new(move || drop(answer.send(question()))))?;
        tokio::time::timeout(limit, answered).await.ok()?.ok()
    }

    /// The same for callers that are not async; blocks this thread for `limit` at most. A thread of
    /// the runtime hands its other tasks on where that is longer than a moment.
    pub fn ask_blocking<T: Send + 'static>(
        &'static self,
        pid: u32,
        limit: Duration,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.submit(pid, Box::new(move || drop(answer.send(question()))))?;
        if let Ok(answer) = answered.recv_timeout(limit.min(MOMENT)) {
            return Some(answer);
        }
        let wait = || answered.recv_timeout(limit.saturating_sub(MOMENT)).ok();
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }

    fn submit(&'static self, pid: u32, job: Job) -> Option<()> {
        let mut state = self.state.lock();
        let state = state.get_or_insert_default();
        if state.about.get(&pid).is_some_and(|n| *n >= EACH) || state.queue.len() >= self.most {
            return None;
        }
        if state.idle <= state.queue.len() && state.threads < self.most {
            let thread = std::thread::Builder::new().name(self.name.into());
            thread.spawn(|| self.work()).ok()?;
            state.threads += 1;
        }
        *state.about.entry(pid).or_default() += 1;
        state.queue.push_back((pid, job));
        self.more.notify_one();
        Some(())
    }

    fn work(&self) {
        let mut guard = self.state.lock();
        loop {
            let state = guard.get_or_insert_default();
            let Some((pid, job)) = state.queue.pop_front() else {
                state.idle += 1;
                let timed_out = self.more.wait_for(&mut guard, IDLE).timed_out();
                let state = guard.get_or_insert_default();
                state.idle -= 1;
                if timed_out && state.queue.is_empty() {
                    state.threads -= 1;
                    return;
                }
                continue;
            };
            drop(guard);
            // A panic is told by its hook; whoever asked gets no answer.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            guard = self.state.lock();
            let state = guard.get_or_insert_default();
            if let Some(n) = state.about.get_mut(&pid) {
                *n -= 1;
                if *n == 0 {
                    state.about.remove(&pid);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    /// A question that is not answered until it is let go.
    fn stuck() -> (Arc<(Mutex<bool>, Condvar)>, impl FnOnce() + Send + 'static) {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let held = gate.clone();
        (gate, move || {
            let mut open = held.0.lock();
            while !*open {
                held.1.wait(&mut open);
            }
        })
    }

    fn let_go(gate: &(Mutex<bool>, Condvar)) {
        *gate.0.lock() = true;
        gate.1.notify_all();
    }

    #[tokio::test]
    async fn an_answer_comes_and_a_stuck_question_ends_at_its_limit() {
        static POOL: Offload = Offload::new("test", 2);
        assert_eq!(POOL.ask(1, LONG, || 7).await, Some(7));
        assert_eq!(POOL.ask_blocking(1, LONG, || 8), Some(8));
        assert_eq!(POOL.ask(1, LONG, || -> i32 { panic!("of this test's making") }).await, None);
        let (gate, question) = stuck();
        assert_eq!(POOL.ask(1, SOON, question).await, None);
        assert_eq!(POOL.ask(2, LONG, || 9).await, Some(9), "another thread answers meanwhile");
        let_go(&gate);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_waits_for_an_answer_holds_up_no_task() {
        static POOL: Offload = Offload::new("test", 2);
        let (gate, question) = stuck();
        let asks = tokio::spawn(async move { POOL.ask_blocking(1, LONG, question) });
        // The runtime's only thread waits; this task lets it go.
        let lets = tokio::spawn(async move { let_go(&gate) });
        assert_eq!(asks.await.unwrap(), Some(()));
        lets.await.unwrap();
    }

    #[tokio::test]
    async fn stuck_questions_are_bounded_for_one_process_and_for_all() {
        static POOL: Offload = Offload::new("test", EACH + 1);
        let mut gates = Vec::new();
        for _ in 0..EACH {
            let (gate, question) = stuck();
            assert_eq!(POOL.ask(1, Duration::ZERO, question).await, None);
            gates.push(gate);
        }
        assert_eq!(POOL.ask(1, LONG, || 1).await, None, "one process has its share");
        assert_eq!(POOL.ask(2, LONG, || 2).await, Some(2), "and the others have theirs");
        let (gate, question) = stuck();
        assert_eq!(POOL.ask(2, Duration::ZERO, question).await, None);
        gates.push(gate);
        assert_eq!(POOL.ask(3, SOON, || 3).await, None, "no thread is left");
        gates.iter().for_each(|gate| let_go(gate));
        let mut tries = 0;
        while POOL.ask(3, LONG, || 3).await != Some(3) {
            tries += 1;
            assert!(tries < 10_000, "threads come back when they are answered");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
