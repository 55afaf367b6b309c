//! What rows act on: the node, a session, a pane in a session. Cheap to clone.

use std::sync::Arc;

use super::row::Subject;
use crate::error::{Kind, Result, fail};
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

impl SessionAt {
    /// The pane that the session's own files act on.
    pub fn main(&self) -> PaneAt {
        let (sessions, session) = (self.sessions.clone(), self.session.clone());
        let pane = session.main();
        PaneAt { sessions, session, pane }
    }
}

impl Subject for NodeAt {
    fn alive(&self, _: &Shape) -> Result<()> {
        Ok(())
    }
}

impl Subject for SessionAt {
    fn alive(&self, _: &Shape) -> Result<()> {
        if self.session.is_over() {
            fail(Kind::Gone, format!("{}: ended", self.session.shown()))
        } else {
            Ok(())
        }
    }
}

impl Subject for PaneAt {
    fn alive(&self, shape: &Shape) -> Result<()> {
        if matches!(shape, Shape::Sink(_)) { self.pane.check_alive() } else { Ok(()) }
    }
}
