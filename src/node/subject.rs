//! What rows act on: the node, a session, a pane in a session. Cheap to clone.

use std::sync::Arc;

use super::row::Subject;
use crate::agent::history::Conversation;
use crate::error::{Kind, Result, fail};
use crate::session::turns::turn::Turn;
use crate::session::{Pane, Session, Sessions};
use crate::tree::Shape;

#[derive(Clone)]
pub struct NodeAt {
    pub sessions: Arc<Sessions>,
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
    pub talk: Conversation,
}

#[derive(Clone)]
pub struct TurnAt {
    pub sessions: Arc<Sessions>,
    pub session: Arc<Session>,
    pub turn: Turn,
}

impl SessionAt {
    /// The pane that the session's own files act on.
    pub fn main(&self) -> PaneAt {
        let (sessions, session) = (self.sessions.clone(), self.session.clone());
        let pane = session.main();
        PaneAt { sessions, session, pane }
    }
}

impl Subject for NodeAt {
    fn alive(&self, _: &str, _: &Shape) -> Result<()> {
        Ok(())
    }
}

impl Subject for TalkAt {
    fn alive(&self, _: &str, _: &Shape) -> Result<()> {
        Ok(())
    }
}

impl Subject for TurnAt {
    fn alive(&self, _: &str, _: &Shape) -> Result<()> {
        Ok(())
    }
}

impl Subject for SessionAt {
    fn alive(&self, file: &str, _: &Shape) -> Result<()> {
        if file == "ask" {
            self.session.main().check_alive()?;
        }
        if matches!(file, "ask" | "config") {
            self.sessions.can_store()?;
        }
        if self.session.is_over() {
            fail(Kind::Gone, format!("{}: ended", self.session.shown()))
        } else {
            Ok(())
        }
    }
}

impl Subject for PaneAt {
    fn alive(&self, file: &str, shape: &Shape) -> Result<()> {
        if !matches!(shape, Shape::Sink(_)) {
            return Ok(());
        }
        self.pane.check_alive()?;
        let main = Arc::ptr_eq(&self.pane, &self.session.main());
        let waits = file == "input" && self.sessions.turns_on(&self.session);
        // What would be typed at once must not answer a dialog.
        match file {
            "input" | "steer" if main && !waits => self.sessions.may_type(&self.session),
            "input" if main => self.sessions.can_store(),
            _ => Ok(()),
        }
    }
}
