//! Keeping programs running: again after they ended, as `restart` says, and again after a reboot,
//! as `autostart` and `[[sessions]]` say.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::super::conversations::Place;
use super::super::observation::agent_state::START;
use super::super::program::{Agent, Begin};
use super::super::state::Exit;
use super::super::{Level, Record, Session, State};
use super::lifecycle::{Action, Event};
use super::make::Asked;
use super::{Life, begin_again};
use crate::config::SessionConfig;
use muxfs_tree::Caller;
use muxfs_tree::base::error::Kind;
use muxfs_tree::base::schema::Values;

/// Sessions that start up at the same time after a reboot: agents take their time and memory.
const ABREAST: usize = 4;

impl Life {
    /// The main pane's program ended by itself.
    pub(in super::super) fn keep_running(self: &Arc<Self>, session: &Arc<Session>, exit: Exit) {
        let ended = Event::Ended { exit, restart: session.config().restart };
        let Ok(action @ Action::StartAgain(wait)) = session.step(ended) else { return };
        let text = format!("its program ended; it is started again in {} s", wait.as_secs());
        self.journal.log(Level::Warn, &session.shown(), &text);
        self.act_later(session, action);
    }

    /// At the node's start: what tmux has lost and is to be there, in order.
    pub async fn autostart(self: &Arc<Self>) {
        let config = self.settings.config();
        let lost = self.lost.ours();
        let listed = config.sessions.iter().map(|(name, set)| (name.clone(), Some(set.clone())));
        let own = lost.iter().filter(|record| {
            let asked = SessionConfig::parse(&record.config, true).is_ok_and(|c| c.autostart);
            asked && !config.sessions.iter().any(|(n, _)| *n == record.name)
        });
        let all = listed.chain(own.map(|record| (record.name.clone(), None)));
        let mut starting = FuturesUnordered::new();
        for (name, set) in all {
            if starting.len() == ABREAST {
                starting.next().await;
            }
            if self.connection.is_closing() {
                return; // it ended before they were all up
            }
            if let Some(session) = self.autostart_one(&name, set).await {
                starting.push(started_up(session));
            }
        }
    }

    async fn autostart_one(self: &Arc<Self>, name: &str, set: Option<Values>) -> Option<Arc<Session>> {
        let shown = muxfs_tree::base::names::encode(name, &self.reserved);
        if self.tables.get(&shown).is_some() {
            return None;
        }
        let record = self.lost.named(name);
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
        let agent = Agent::of(&config, &self.settings.catalogue());
        let agent = agent.filter(|a| !a.manifest.resume.args.is_empty());
        if let (Some(id), Some(agent)) = (&record.conversation, agent) {
            let place = self.conversations.place_of_lost(record, &config, &agent).await;
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
