//! What is known of a session or a pane at one moment, for those who show it.
//!
//! Taken once, so that what is shown fits together. Must not know how it is shown.

use std::sync::Arc;
use std::time::SystemTime;

use super::limit::Limit;
use super::pane::Held;
use super::program::SHELL;
use super::state::Seen;
use super::{Pane, Session, turns};
use crate::config::SessionConfig;
use crate::log::Trouble;
use muxfs_tmux::PaneInfo;

/// A pane at one moment. What tmux says of it does not change while this is there.
pub struct PaneView<'a> {
    pub id: &'a str,
    pub facts: &'a PaneInfo,
    pub seen: Seen,
    /// The agent's key, or that it is a shell.
    pub agent: Option<String>,
    /// Its state is told by rules.
    pub has_rules: bool,
    /// The rule that says so.
    pub rule: Option<String>,
    /// What keeps it from working.
    pub limit: Option<Limit>,
    pub held: Option<Held>,
    /// Messages that are about to be typed.
    pub waiting: usize,
    /// Where its logs come from.
    pub tap: String,
    pub trouble: Option<Trouble>,
}

/// A session at one moment, but for its main pane.
pub struct SessionView {
    pub name: String,
    pub attached: u32,
    pub panes: usize,
    pub main: Arc<Pane>,
    pub config: Arc<SessionConfig>,
    pub conversation: Option<String>,
    pub parent: Option<String>,
    pub pending_restart: bool,
    pub last_error: Option<String>,
    /// Prompts that wait.
    pub queued: usize,
    /// The turn under way, by name.
    pub turn: Option<String>,
}

impl PaneView<'_> {
    /// Whether the flags that let an agent ask for no approval may be on: an agent runs here.
    pub fn agent_key(&self) -> Option<&str> {
        self.agent.as_deref().filter(|key| *key != SHELL)
    }
}

impl Pane {
    /// Hands `show` the pane as it is now.
    pub fn view<T>(&self, show: impl FnOnce(&PaneView<'_>) -> T) -> T {
        self.facts_and_eyes(|facts, eyes| {
            let wall = SystemTime::now();
            let shell = || self.is_shell().then(|| SHELL.to_owned());
            show(&PaneView {
                id: &self.id,
                facts,
                seen: self.seen(),
                agent: eyes.map(|e| e.agent.key.clone()).or_else(shell),
                has_rules: eyes.is_some_and(|e| !e.agent.manifest.rules.is_empty()),
                rule: eyes.and_then(|e| e.why()).map(str::to_owned),
                limit: eyes.and_then(|e| e.limit(wall)),
                held: self.held(),
                waiting: self.waiting.load(std::sync::atomic::Ordering::Relaxed),
                tap: self.tap().describe(),
                trouble: self.raw.trouble().or_else(|| self.logs.trouble()),
            })
        })
    }
}

impl Session {
    /// The session as it is now.
    pub fn view(&self) -> SessionView {
        let (name, attached, panes) = {
            let face = self.face.read();
            (face.shown.clone(), face.attached, face.panes.len())
        };
        let (conversation, parent) = self.record.get(|r| (r.conversation.clone(), r.parent.clone()));
        let (queued, turn) = self.turns.at_once();
        SessionView {
            name,
            attached,
            panes,
            main: self.main(),
            config: self.config(),
            conversation,
            parent,
            pending_restart: self.pending_restart(),
            last_error: self.last_error(),
            queued,
            turn,
        }
    }
}

impl SessionView {
    /// Whether its turns are on, with its main pane as it is in `main`.
    pub fn turns_on(&self, main: &PaneView<'_>) -> bool {
        turns::are_on(&self.config, main.has_rules)
    }
}
