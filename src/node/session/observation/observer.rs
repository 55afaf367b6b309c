//! When a pane is observed: when something happened to it, and again when the judge asks for it.
//!
//! One task for all panes. A pane that floods is looked at 20 times a second, one where nothing
//! happens never.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::super::pane::Pane;
use super::Observation;

/// From a sign of life to the look at it: a command's echo and its start are one event.
const DELAY: Duration = Duration::from_millis(10);
/// Least time between two looks at one pane by its output alone.
const PACE: Duration = Duration::from_millis(50);

/// Least time between two looks at one agent's pane: many that work at once are looked at less
/// often each, so that together they cost the same. 200 of them: each every 0.7 s.
const AGENT_PACE: Duration = Duration::from_millis(100);
const AGENT_SHARE: Duration = Duration::from_micros(3500);
const AGENT_SLOWEST: Duration = Duration::from_millis(700);

#[derive(Clone)]
pub struct Observer {
    pokes: mpsc::UnboundedSender<(Arc<Pane>, Duration)>,
}

pub type Pokes = mpsc::UnboundedReceiver<(Arc<Pane>, Duration)>;

impl Observer {
    /// The handle, and the queue that [`run`] works off.
    pub fn new() -> (Self, Pokes) {
        let (pokes, queue) = mpsc::unbounded_channel();
        (Observer { pokes }, queue)
    }

    /// A look at `pane` is due. At most one poke of a pane is in the queue: it is bounded by the
    /// number of panes.
    pub fn poke(&self, pane: &Arc<Pane>) {
        if !pane.poked.swap(true, Ordering::AcqRel) {
            let _ = self.pokes.send((pane.clone(), DELAY)); // fails only at the end of the program
        }
    }

    /// A look at `pane` is due later: after one that was had.
    fn again(&self, pane: Arc<Pane>, after: Duration) {
        let _ = self.pokes.send((pane, after)); // as above
    }
}

/// Serves the queue until the node ends.
pub async fn run(observation: Weak<Observation>, mut queue: Pokes) {
    let mut due = Due::default();
    loop {
        let next = due.next();
        tokio::select! {
            pane = queue.recv() => match pane {
                Some((pane, after)) => due.set(pane, Instant::now() + after),
                None => return,
            },
            () = until(next) => {}
        }
        let Some(observation) = observation.upgrade() else { return };
        for pane in due.take(Instant::now()) {
            pane.poked.store(false, Ordering::Release);
            if pane.has_agent() {
                // tmux is asked: no other pane waits for its answer.
                let observation = observation.clone();
                tokio::spawn(async move {
                    if let Some(again) = observation.look(&pane).await {
                        observation.observer().again(pane, again);
                    }
                });
            } else if let Some(again) = observation.observe_now(&pane) {
                due.set(pane, Instant::now() + again.max(PACE / 2));
            }
        }
    }
}

pub(in super::super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Panes by when they are due; each once, at its earliest.
#[derive(Default)]
struct Due {
    by_time: BTreeMap<(Instant, u64), Arc<Pane>>,
    by_pane: BTreeMap<u64, Instant>,
    /// When each was last taken, to pace those that flood. Forgotten when it says nothing more.
    taken: BTreeMap<u64, Instant>,
}

impl Due {
    fn set(&mut self, pane: Arc<Pane>, at: Instant) {
        let pace = self.pace(&pane);
        let paced = self.taken.get(&pane.serial).map_or(at, |t| at.max(*t + pace));
        match self.by_pane.get(&pane.serial) {
            Some(set) if *set <= paced => return,
            Some(set) => _ = self.by_time.remove(&(*set, pane.serial)),
            None => {}
        }
        self.by_pane.insert(pane.serial, paced);
        self.by_time.insert((paced, pane.serial), pane);
    }

    fn pace(&self, pane: &Pane) -> Duration {
        if !pane.has_agent() {
            return PACE;
        }
        (AGENT_SHARE * self.taken.len() as u32).clamp(AGENT_PACE, AGENT_SLOWEST)
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self, now: Instant) -> Vec<Arc<Pane>> {
        self.taken.retain(|_, t| now.saturating_duration_since(*t) < AGENT_SLOWEST);
        let mut panes = Vec::new();
        while let Some(first) = self.by_time.first_entry().filter(|e| e.key().0 <= now) {
            let pane = first.remove();
            self.by_pane.remove(&pane.serial);
            self.taken.insert(pane.serial, now);
            panes.push(pane);
        }
        panes
    }
}
