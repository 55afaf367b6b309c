//! What rows act on: the node, a session, a pane in a session, a turn, a conversation. Cheap to clone.

use std::sync::Arc;
use std::time::SystemTime;

use super::dir::Subject;
use super::modes::NodeModes;
use crate::session::record::from_millis;
use crate::session::turns::turn::Turn;
use crate::session::{ModeSet, Pane, Session, Sessions};
use muxfs_agent::history::Conversation;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::id::Ids;

#[derive(Clone)]
pub struct NodeAt {
    pub sessions: Arc<Sessions>,
    pub modes: Arc<NodeModes>,
}

#[derive(Clone)]
pub struct SessionAt {
    pub sessions: Arc<Sessions>,
    pub session: Arc<Session>,
}

#[derive(Clone)]
pub struct PaneAt {
    pub sessions: Arc<Sessions>,
    pub session: Arc<Session>,
    pub pane: Arc<Pane>,
}

#[derive(Clone)]
pub struct TalkAt {
    pub sessions: Arc<Sessions>,
    pub session: Arc<Session>,
    pub conversation: Conversation,
}

#[derive(Clone)]
pub struct TurnAt {
    pub sessions: Arc<Sessions>,
    pub session: Arc<Session>,
    pub turn: Turn,
}

impl Subject for NodeAt {
    fn id(&self, ids: &Ids) -> u64 {
        ids.of(&["node"])
    }

    fn modes(&self, path: &str) -> ModeSet {
        self.modes.get(path)
    }

    fn made(&self) -> Option<SystemTime> {
        None
    }
}

impl Subject for SessionAt {
    fn id(&self, ids: &Ids) -> u64 {
        ids.of(&["session", &self.session.id])
    }

    fn modes(&self, path: &str) -> ModeSet {
        self.session.modes(path)
    }

    fn made(&self) -> Option<SystemTime> {
        Some(self.session.made)
    }
}

/// A pane may be shown by several sessions: in each its files are other ones.
impl Subject for PaneAt {
    fn id(&self, ids: &Ids) -> u64 {
        ids.of(&["pane", &self.session.id, &self.pane.identity])
    }

    fn modes(&self, path: &str) -> ModeSet {
        self.session.modes(path)
    }

    fn made(&self) -> Option<SystemTime> {
        Some(self.session.made)
    }
}

impl Subject for TalkAt {
    fn id(&self, ids: &Ids) -> u64 {
        ids.of(&["conversation", &self.session.id, &self.conversation.id])
    }

    fn modes(&self, path: &str) -> ModeSet {
        self.session.modes(path)
    }

    fn made(&self) -> Option<SystemTime> {
        Some(self.session.made)
    }
}

/// The bits of what was asked and answered do not change.
impl Subject for TurnAt {
    fn id(&self, ids: &Ids) -> u64 {
        ids.of(&["turn", &self.session.id, &self.turn.number.to_string()])
    }

    fn modes(&self, _: &str) -> ModeSet {
        ModeSet::default()
    }

    fn made(&self) -> Option<SystemTime> {
        Some(from_millis(self.turn.accepted))
    }
}

impl SessionAt {
    /// The pane that the session's own files act on.
    pub fn main(&self) -> PaneAt {
        let (sessions, session) = (self.sessions.clone(), self.session.clone());
        let pane = session.main();
        PaneAt { sessions, session, pane }
    }

    /// What the files of the main pane belong to: another main pane makes them other files, since
    /// handles and ids belong to the pane.
    pub fn main_id(&self, ids: &Ids) -> u64 {
        ids.of(&["main", &self.session.id, &self.session.main().identity])
    }

    pub fn turn(&self, turn: Turn) -> TurnAt {
        TurnAt { sessions: self.sessions.clone(), session: self.session.clone(), turn }
    }

    pub fn is_there(&self) -> Result<()> {
        if self.session.is_over() {
            return fail(Kind::Gone, format!("{}: ended", self.session.shown()));
        }
        Ok(())
    }

    pub fn takes_settings(&self) -> Result<()> {
        self.sessions.records.can_store()?;
        self.is_there()
    }

    pub fn takes_questions(&self) -> Result<()> {
        self.session.main().check_alive()?;
        self.takes_settings()
    }
}

impl PaneAt {
    pub fn is_alive(&self) -> Result<()> {
        self.pane.check_alive()
    }

    pub fn is_main(&self) -> bool {
        Arc::ptr_eq(&self.pane, &self.session.main())
    }

    /// Whether a prompt to this pane is stored and waits for its turn.
    pub fn queues(&self) -> bool {
        self.is_main() && self.sessions.turns.turns_on(&self.session)
    }

    pub fn takes_prompts(&self) -> Result<()> {
        self.is_alive()?;
        if self.queues() { self.sessions.records.can_store() } else { self.may_type() }
    }

    pub fn takes_prompts_at_once(&self) -> Result<()> {
        self.is_alive()?;
        self.may_type()
    }

    /// What would be typed at once must not answer a dialog.
    fn may_type(&self) -> Result<()> {
        if self.is_main() { self.sessions.turns.may_type(&self.session) } else { Ok(()) }
    }
}
