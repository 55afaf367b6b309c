//! Keeping programs running: again after they ended, as `restart` says, and again after a reboot,
//! as `autostart` and `[[sessions]]` say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::eyes::START;
use super::history::Place;
use super::life::{Asked, begin_again};
use super::program::{Agent, Begin};
use super::state::Exit;
use super::{Level, Record, Session, Sessions, State};
use crate::config::SessionConfig;
use crate::config::schema::Values;
use crate::config::session::Restart;
use crate::error::Kind;
use crate::tree::Caller;

/// Before the first start again; twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A program that ran this long begins with [`FIRST`] again.
const STEADY: Duration = Duration::from_secs(60);
/// Sessions that start up at the same time after a reboot: agents take their time and memory.
const ABREAST: usize = 4;

/// How often a program was started again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    count: u32,
    started: Option<Instant>,
}

impl Backoff {
    pub fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    /// How long to wait with the next start.
    fn next(&mut self, now: Instant) -> Duration {
        if self.started.is_some_and(|at| now.saturating_duration_since(at) >= STEADY) {
            self.count = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.count.min(6)).min(LONGEST);
        self.count += 1;
        wait
    }
}

fn wanted(restart: Restart, exit: Exit) -> bool {
    match restart {
        Restart::No => false,
        Restart::OnFailure => exit != Exit::Code(0),
        Restart::Always => true,
    }
}

impl Sessions {
    /// The main pane's program ended by itself.
    pub(super) fn keep_running(self: &Arc<Self>, session: &Arc<Session>, exit: Exit) {
        if !session.ours || !wanted(session.config().restart, exit) {
            return;
        }
        let wait = session.backoff.lock().next(Instant::now());
        let text = format!("its program ended; it is started again in {} s", wait.as_secs());
        self.journal.log(Level::Warn, &session.shown(), &text);
        let (sessions, session) = (Arc::downgrade(self), session.clone());
        tokio::spawn(async move {
            let mut over = session.ended.subscribe();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = over.wait_for(|over| *over) => return,
            }
            let Some(sessions) = sessions.upgrade() else { return };
            if let Err(e) = sessions.start_again(&session).await {
                session.set_last_error(e.text());
                sessions.journal.trouble(&session.shown(), &format!("restart: {e}"));
            }
        });
    }

    /// At the node's start: what tmux has lost and is to be there, in order.
    pub async fn autostart(self: &Arc<Self>) {
        let config = self.config();
        let lost = self.tables.read().lost.clone();
        let listed = config.sessions.iter().map(|(name, set)| (name.clone(), Some(set.clone())));
        let own = lost.values().filter(|record| {
            let asked = record.ours && SessionConfig::parse(&record.config, true).is_ok_and(|c| c.autostart);
            asked && !config.sessions.iter().any(|(n, _)| *n == record.name)
        });
        let all = listed.chain(own.map(|record| (record.name.clone(), None)));
        let mut starting = FuturesUnordered::new();
        for (name, set) in all {
            if starting.len() == ABREAST {
                starting.next().await;
            }
            if self.closing.load(Ordering::Acquire) {
                return; // it ended before they were all up
            }
            if let Some(session) = self.autostart_one(&name, set).await {
                starting.push(started_up(session));
            }
        }
    }

    async fn autostart_one(self: &Arc<Self>, name: &str, set: Option<Values>) -> Option<Arc<Session>> {
        let shown = crate::names::encode(name, &self.reserved);
        if self.get(&shown).is_some() {
            return None;
        }
        let record = self.tables.read().lost.get(name).filter(|r| r.ours).cloned();
        let begin = match record {
            Some(record) => Some(self.begin_after_loss(&record).await),
            None => None,
        };
        let asked = Asked { set: set.as_ref(), begin: begin.as_ref(), ..Asked::default() };
        // Nobody's process: where the daemon stands says nothing.
        let who = Caller { here: None, ..Caller::own() };
        match self.make(&who, &shown, asked).await {
            Ok(session) => return Some(session),
            Err(e) if e.kind == Kind::Exists => {} // somebody was faster
            Err(e) => self.journal.trouble(&shown, &format!("autostart: {e}")),
        }
        None
    }

    /// With the conversation that it had, where there is something to go on with.
    async fn begin_after_loss(&self, record: &Record) -> Begin {
        let config = SessionConfig::parse(&record.config, true).unwrap_or_default();
        let agent = Agent::of(&config, &self.catalogue());
        let agent = agent.filter(|a| !a.manifest.resume.args.is_empty());
        if let (Some(id), Some(agent)) = (&record.conversation, agent) {
            let place = self.place_of_lost(record, &config, &agent).await;
            if Place::has(place, id).await.unwrap_or(true) {
                return Begin::Resume(id.clone());
            }
        }
        begin_again(&config, true)
    }
}

/// Its program has started up, or takes too long to: the next one is not held up by it.
async fn started_up(session: Arc<Session>) {
    let mut seen = session.main().watch();
    let _ = tokio::time::timeout(START, seen.wait_for(|s| s.state != State::Starting)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_no_crash() {
        assert!(!wanted(Restart::OnFailure, Exit::Code(0)) && wanted(Restart::Always, Exit::Code(0)));
        assert!(wanted(Restart::OnFailure, Exit::Code(1)) && wanted(Restart::OnFailure, Exit::Signal(9)));
        assert!(!wanted(Restart::No, Exit::Signal(9)));
    }

    #[test]
    fn each_start_again_waits_twice_as_long_until_one_lasts() {
        let t = Instant::now();
        let mut b = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| b.next(t).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        b.started(t);
        assert_eq!(b.next(t + STEADY).as_secs(), 1);
    }
}
