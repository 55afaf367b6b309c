//! The first moments of a program: its first prompts, and a word where it is not ready in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::input::Message;
use super::super::observation::agent_state::START;
use super::super::program::Begin;
use super::super::{Pane, Session, State};
use super::Life;
use muxfs_tree::{Caller, Gesture};

/// Between two first prompts where nobody waits for their ends.
const APART: Duration = Duration::from_millis(500);

impl Life {
    /// A program was just started in the session's main pane.
    pub(in super::super) async fn after_start(self: &Arc<Self>, session: &Arc<Session>, begin: &Begin) {
        let pane = session.main();
        session.backoff.lock().started(Instant::now());
        let agent = pane.eyes(|_| ()).is_some();
        let mut prompts = if agent { self.settings.config().init.clone() } else { Vec::new() };
        prompts.extend(session.config().init.iter().cloned());
        if *begin != Begin::Fresh {
            prompts.clear();
        }
        if agent {
            let (life, session, pane) = (self.clone(), session.clone(), pane.clone());
            tokio::spawn(async move { life.warn_where_late(&session, &pane).await });
        }
        if prompts.is_empty() {
            return;
        }
        if self.turns.turns_on(session) {
            self.turns.accept_init(session, prompts).await;
            return;
        }
        let (life, session) = (self.clone(), session.clone());
        tokio::spawn(async move { life.type_first(&session, &pane, prompts).await });
    }

    /// An agent that does not get ready has something to say that no script will see.
    async fn warn_where_late(&self, session: &Session, pane: &Pane) {
        let mut seen = pane.watch();
        let mut over = session.ended.subscribe();
        let settled = |s: &super::super::Seen| s.state == State::Ready || s.state.ended();
        tokio::select! {
            _ = tokio::time::timeout(START, seen.wait_for(settled)) => {}
            _ = over.changed() => return,
        }
        let seen = pane.seen();
        if settled(&seen) || pane.is_gone() || session.is_over() {
            return;
        }
        let text = format!("not ready {} s after its start: {}; prompts wait", START.as_secs(), seen.state);
        session.set_last_error(&text);
        self.journal.trouble(&session.shown(), &text);
    }

    /// Turns are off: each prompt goes as it is, once something reads.
    async fn type_first(self: &Arc<Self>, session: &Arc<Session>, pane: &Arc<Pane>, prompts: Vec<String>) {
        let mut seen = pane.watch();
        let reads = |s: &super::super::Seen| s.fresh && matches!(s.state, State::Ready | State::Unknown);
        if !matches!(tokio::time::timeout(START, seen.wait_for(reads)).await, Ok(Ok(_))) {
            let why = "it is not ready; its first prompts are not sent";
            session.set_last_error(why);
            return self.journal.trouble(&session.shown(), why);
        }
        for (n, prompt) in prompts.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(APART).await;
            }
            let sent = match Message::prompt(prompt.as_bytes()) {
                Ok(message) => self.turns.deliver(session, pane, &Gesture::of(&Caller::own()), message).await,
                Err(e) => Err(e),
            };
            if let Err(e) = sent {
                session.set_last_error(e.text());
                return self.journal.trouble(&session.shown(), &format!("init: {e}"));
            }
        }
    }
}
