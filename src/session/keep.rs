//! Keeping programs running: again after they ended, as `restart` says, and again after a reboot,
//! as `autostart` and `[[sessions]]` say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::life::Asked;
use super::program::{Agent, Begin};
use super::state::Exit;
use super::{Level, Session, Sessions};
use crate::config::SessionConfig;
use crate::config::schema::Values;
use crate::config::session::Restart;
use crate::tree::Caller;

/// Before the first start again; twice as long each time.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A program that ran this long begins with [`FIRST`] again.
const STEADY: Duration = Duration::from_secs(60);
/// Sessions that are started at the same time after a reboot: agents take their time and memory.
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
        let own = lost.iter().filter(|(name, record)| {
            let asked = SessionConfig::parse(&record.config, true).is_ok_and(|c| c.autostart);
            asked && !config.sessions.iter().any(|(n, _)| n == *name)
        });
        let all = listed.chain(own.map(|(name, _)| (name.clone(), None)));
        let mut todo = all.filter(|(name, _)| self.get(name).is_none()).collect::<Vec<_>>().into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < ABREAST
                && let Some((name, set)) = todo.next()
            {
                running.push(self.autostart_one(name, set));
            }
            if running.next().await.is_none() {
                return;
            }
        }
    }

    async fn autostart_one(self: &Arc<Self>, name: String, set: Option<Values>) {
        let record = self.tables.read().lost.get(&name).cloned();
        let begin = record.map(|record| {
            let config = SessionConfig::parse(&record.config, true).unwrap_or_default();
            let agent = Agent::of(&config, &self.catalogue());
            let can = agent.is_some_and(|a| !a.manifest.resume.args.is_empty());
            record.conversation.filter(|_| can).map_or(Begin::Skip, Begin::Resume)
        });
        let asked = Asked { set: set.as_ref(), begin: begin.as_ref(), ..Asked::default() };
        let shown = crate::names::encode(&name, &self.reserved);
        if let Err(e) = self.make(&Caller::own(), &shown, asked).await {
            self.journal.trouble(&shown, &format!("autostart: {e}"));
        }
    }
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
