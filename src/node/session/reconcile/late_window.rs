//! A window for a session's main pane that tmux opened later than its start waited: a hook of the
//! user's may hold up our client behind it.
//!
//! Knows such a window by the mark in its program's command. Must not know how programs are chosen.

use std::sync::Arc;

use super::super::{Pane, Session};
use super::Reconciler;
use muxfs_tmux::{self as tmux, Server};
use muxfs_tree::base::error::{Error, Kind};

impl Session {
    /// The window of this mark may come, though opening it failed.
    pub(in super::super) fn may_be_late(&self, why: &Error, mark: String) {
        if matches!(why.kind, Kind::TimedOut | Kind::Unreachable) {
            *self.late_window.lock() = Some(mark);
        }
    }

    pub(in super::super) fn late_window(&self) -> Option<String> {
        self.late_window.lock().clone()
    }

    /// It came, or comes no more.
    pub(in super::super) fn forget_late_window(&self) {
        *self.late_window.lock() = None;
    }
}

impl Reconciler {
    /// The window of a `ctl start` that tmux did not answer in time has the main pane. It gets the rest
    /// of what a window of ours has.
    pub(in super::super) fn take_late_window(
        &self,
        server: &Server,
        session: &Session,
        panes: &[(String, Arc<Pane>)],
    ) {
        let Some(mark) = session.late_window() else { return };
        let pane = panes.iter().find(|(_, p)| p.fact(|f| tmux::session::has_mark(f, &mark)));
        let Some((_, pane)) = pane else { return };
        session.forget_late_window();
        tmux::session::finish_window(server, &pane.id);
        let why = "it was started, but tmux said so too late: a hook of yours may hold muxfs up; \
                   its first prompts are not typed";
        self.journal.trouble(&session.shown(), why);
        self.set_main(session, pane.clone());
        session.restart.send_replace(false);
        self.observation.poke(pane);
    }
}
