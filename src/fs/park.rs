//! Reads that wait without a limit, other calls that wait long, and what ends them early: a signal
//! for their caller, a control group that freezes (reads alone: they are asked again), or the end
//! of the mount. fuser passes no FUSE_INTERRUPT on, so one thread looks at the callers of all
//! parked calls; it holds no lock meanwhile, so that a slow check delays no other call.
//! Knows no shapes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::procs::{Procs, Signals, Watch};
use muxfs_tree::base::error::{Kind, Result, fail};

/// A signal ends a wait within 100 ms (docs/tree.md, "Shapes"): a call is parked after one tick, and its
/// caller looked at within another.
const TICK: Duration = Duration::from_millis(40);

pub struct Parking {
    procs: Arc<dyn Procs>,
    parked: Mutex<Parked>,
}

#[derive(Default)]
struct Parked {
    calls: HashMap<u64, oneshot::Sender<Kind>>,
    /// For the watcher to take.
    new: Vec<(u64, Box<dyn Watch>)>,
    next: u64,
    /// The watcher runs; it ends when nothing is parked, so an idle mount wakes nobody.
    watching: bool,
    /// The mount ends, and nothing parks any more.
    closed: bool,
}

impl Parking {
    pub fn new(procs: Arc<dyn Procs>) -> Arc<Self> {
        Arc::new(Parking { procs, parked: Mutex::default() })
    }

    /// `work`'s result, or EINTR when a signal waits for thread `tid`, or ENXIO at the mount's end.
    pub async fn park<T>(self: &Arc<Self>, tid: u32, work: impl Future<Output = T>) -> Result<T> {
        self.until(tid, Signals::Any, work).await
    }

    /// The same for any call but a blocking read: only what is meant to end the process ends its
    /// wait. Most calls are done before they could be waited for, and cost no look at their process.
    pub async fn park_call<T>(self: &Arc<Self>, tid: u32, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(done) => Ok(done),
            Err(_) => self.until(tid, Signals::Ending, work).await,
        }
    }

    async fn until<T>(
        self: &Arc<Self>,
        tid: u32,
        which: Signals,
        work: impl Future<Output = T>,
    ) -> Result<T> {
        let (end, ended) = oneshot::channel();
        let Some(_place) = self.enter(tid, which, end) else { return fail(Kind::Gone, "the mount ends") };
        tokio::select! {
            biased;
            done = work => Ok(done),
            why = ended => fail(why.unwrap_or(Kind::Gone), "the wait was ended"),
        }
    }

    /// Answers everything parked, now and from now on.
    pub fn close(&self) {
        let calls = {
            let mut parked = self.parked.lock();
            parked.closed = true;
            std::mem::take(&mut parked.calls)
        };
        for end in calls.into_values() {
            let _ = end.send(Kind::Gone); // an error means: answered meanwhile
        }
    }

    fn enter(self: &Arc<Self>, tid: u32, which: Signals, end: oneshot::Sender<Kind>) -> Option<Place> {
        let watch = self.procs.watch(tid, which);
        let mut parked = self.parked.lock();
        if parked.closed {
            return None;
        }
        parked.next += 1;
        let number = parked.next;
        parked.calls.insert(number, end);
        parked.new.push((number, watch));
        if !parked.watching {
            let (me, thread) = (self.clone(), std::thread::Builder::new().name("muxfs-callers".into()));
            // Without a thread nothing ends early; the next that parks tries again.
            parked.watching = thread.spawn(move || me.watch()).is_ok();
        }
        Some(Place(self.clone(), number))
    }

    fn watch(&self) {
        let mut watches: HashMap<u64, Box<dyn Watch>> = HashMap::new();
        loop {
            {
                let mut parked = self.parked.lock();
                watches.extend(parked.new.drain(..));
                watches.retain(|number, _| parked.calls.contains_key(number));
                if watches.is_empty() {
                    parked.watching = false;
                    return;
                }
            }
            let struck = watches.iter_mut().filter_map(|(number, w)| w.signalled().then_some(*number));
            for number in struck {
                if let Some(end) = self.parked.lock().calls.remove(&number) {
                    let _ = end.send(Kind::Interrupted); // an error means: answered meanwhile
                }
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Leaves the list when the call is answered.
struct Place(Arc<Parking>, u64);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.parked.lock().calls.remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Clone)]
    struct Switch(Arc<AtomicBool>);

    impl Watch for Switch {
        fn signalled(&mut self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Procs for Switch {
        fn group(&self, tid: u32) -> Option<u32> {
            Some(tid)
        }
        fn is_exiting(&self, _: u32) -> bool {
            false
        }
        fn killed(&self, _: u32) -> Option<i32> {
            None
        }
        fn watch(&self, _: u32, _: Signals) -> Box<dyn Watch> {
            Box::new(self.clone())
        }
    }

    #[tokio::test]
    async fn a_signal_or_the_end_of_the_mount_ends_a_wait() {
        let switch = Switch(Arc::default());
        let parking = Parking::new(Arc::new(switch.clone()));
        assert_eq!(parking.park(1, async { 7 }).await.unwrap(), 7);
        let first = tokio::spawn({
            let parking = parking.clone();
            async move { parking.park(1, std::future::pending::<()>()).await }
        });
        switch.0.store(true, Ordering::Relaxed);
        assert_eq!(first.await.unwrap().unwrap_err().kind, Kind::Interrupted);
        switch.0.store(false, Ordering::Relaxed);
        let second = tokio::spawn({
            let parking = parking.clone();
            async move { parking.park(1, std::future::pending::<()>()).await }
        });
        while parking.parked.lock().calls.is_empty() {
            tokio::task::yield_now().await;
        }
        parking.close();
        assert_eq!(second.await.unwrap().unwrap_err().kind, Kind::Gone);
        assert_eq!(parking.park(1, std::future::pending::<()>()).await.unwrap_err().kind, Kind::Gone);
    }
}
