//! Looks at panes when something happened to them, and again when the judge asks for it.
//!
//! One task for all panes. A pane that floods is looked at 20 times a second, one where nothing
//! happens never.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::events::{Change, Event};
use super::limit::Reported;
use super::pane::Pane;
use super::{Session, Sessions, State};
use muxfs_tree::base::clock::rfc3339;

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
pub async fn run(sessions: Weak<Sessions>, mut queue: Pokes) {
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
        let Some(sessions) = sessions.upgrade() else { return };
        for pane in due.take(Instant::now()) {
            pane.poked.store(false, Ordering::Release);
            if pane.has_agent() {
                // tmux is asked: no other pane waits for its answer.
                let sessions = sessions.clone();
                tokio::spawn(async move {
                    if let Some(again) = sessions.look(&pane).await {
                        sessions.observer.again(pane, again);
                    }
                });
            } else if let Some(again) = sessions.observe_now(&pane) {
                due.set(pane, Instant::now() + again.max(PACE / 2));
            }
        }
    }
}

pub(super) async fn until(at: Option<Instant>) {
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

impl Sessions {
    /// Asks for a look: had at once, but for agents, which tmux is asked for.
    pub fn observe(self: &Arc<Self>, pane: &Arc<Pane>) {
        if pane.has_agent() {
            self.observer.poke(pane);
        } else {
            self.observe_now(pane);
        }
    }

    /// Decides from what is known now, and tells what changed. Returns when to look again.
    pub(super) fn observe_now(self: &Arc<Self>, pane: &Arc<Pane>) -> Option<Duration> {
        let (changed, again) = pane.observe();
        if let Some(reported) = pane.eyes(|e| e.to_store()).flatten() {
            self.store_limit(pane, reported);
        }
        if let Some((old, new)) = changed {
            self.state_changed(pane, old, new);
        }
        again
    }

    /// Keeps what was told of a limit: the daemon after this one must not send into it.
    fn store_limit(&self, pane: &Arc<Pane>, reported: Reported) {
        let (pid, now, wall) = (pane.fact(|f| f.pid), Instant::now(), SystemTime::now());
        let limit = reported.keep(now, wall).map(|kept| (pid, kept));
        for session in self.all().iter().filter(|s| Arc::ptr_eq(&*s.main.borrow(), pane)) {
            if session.record.get(|record| record.limit != limit) {
                let limit = limit.clone();
                self.records.edit(&session.record, &session.shown(), |record| record.limit = limit);
            }
        }
    }

    fn state_changed(self: &Arc<Self>, pane: &Arc<Pane>, old: State, new: State) {
        if pane.full_screen() {
            pane.note(&format!("{new}"), SystemTime::now());
        }
        for session in self.all() {
            if Arc::ptr_eq(&*session.main.borrow(), pane) {
                self.main_changed(&session, old, new);
            }
        }
    }

    fn main_changed(self: &Arc<Self>, session: &Arc<Session>, old: State, new: State) {
        let name = session.shown();
        let seen = session.main().seen();
        let limit = session.main().eyes(|e| e.limit(SystemTime::now())).flatten();
        let limit = limit.filter(|_| new == State::Limited);
        let change = Change {
            state: new.word(),
            detail: new.to_string(),
            before: old.word(),
            evidence: seen.evidence.word(),
            why: limit.map(|l| l.reason.word()),
            until: limit.and_then(|l| l.until).map(rfc3339),
        };
        self.journal.report((session.serial, &name), &Event::State(change));
        if new.ended() {
            self.journal.log(super::Level::Info, &name, &format!("{new}"));
        }
        self.tell_moved(super::Moved::Seen(name.clone()));
        if let State::Exited(exit) = new {
            self.keep_running(session, exit);
        }
        if new == State::Exited(super::state::Exit::Code(127)) && session.ours {
            // What a shell says of a program that it does not find.
            const WHY: &str = "exited 127: its program was not found in the PATH of the login shell; \
                install it or set `command` in config, then ctl start";
            self.journal.trouble(&name, WHY);
            session.set_last_error(WHY);
        }
        if new == State::Ready {
            self.restart_if_pending(session);
        }
    }
}
