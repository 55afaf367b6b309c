//! `wait`: one line when nothing is under way any more. docs/tree.md, "States".

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::turns::Delivery;
use super::{Pane, Session, State};
use muxfs_tree::Lines;
use muxfs_tree::base::error::Result;

/// How often a pane that somebody waits for is looked at, beside the looks its output brings.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for the session's main pane.
pub struct Wait {
    turns: Arc<Delivery>,
    session: Arc<Session>,
    since: Instant,
    told: bool,
}

impl Wait {
    pub fn new(turns: Arc<Delivery>, session: Arc<Session>) -> Self {
        Wait { turns, session, since: Instant::now(), told: false }
    }

    async fn condition(&self) -> String {
        let mut ended = self.session.ended.subscribe();
        let mut main = self.session.main.subscribe();
        loop {
            let pane = main.borrow_and_update().clone();
            let mut seen = pane.watch();
            self.turns.observation.observe(&pane);
            let met = self.met(&pane);
            // Looked at last: a session that ends is told before what becomes of its panes by that.
            if *ended.borrow_and_update() {
                return "ended".into();
            }
            if let Some(state) = met {
                return state.to_string();
            }
            seen.mark_unchanged();
            // Any of these may bring the end; the look above then decides.
            tokio::select! {
                _ = seen.changed() => {}
                _ = ended.changed() => {}
                _ = main.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Only a look since this wait began, and since the last message, counts.
    fn met(&self, pane: &Pane) -> Option<State> {
        let seen = pane.seen();
        let busy = pane.waiting.load(std::sync::atomic::Ordering::Acquire) > 0;
        let restart = self.session.pending_restart() && !seen.state.ended();
        // Being ended or started anew: what its panes go through meanwhile is no answer.
        let changing = self.session.life.try_read().is_err();
        // It waits for a person or a reset: whoever waits here is to know.
        let stuck = matches!(seen.state, State::Blocked | State::Limited);
        if stuck && seen.looked >= self.since {
            return Some(seen.state);
        }
        let (queued, running) = self.session.turns.load();
        // With turns off what is queued stays so.
        let goes = queued > 0 && self.turns.turns_on(&self.session);
        let turns = (running || goes) && !seen.state.ended();
        let settled = seen.state.ended() || !turns && matches!(seen.state, State::Ready | State::Unknown);
        (settled && seen.fresh && seen.looked >= self.since && !busy && !restart && !changing)
            .then_some(seen.state)
    }
}

#[async_trait::async_trait]
impl Lines for Wait {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        Ok(Some(format!("{}\n", self.condition().await).into()))
    }
}
