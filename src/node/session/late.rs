//! A window for a session's main pane that tmux opened later than its start waited: a hook of the
//! user's may hold up our client behind it.
//!
//! Knows such a window by the mark in its program's command. Must not know how programs are chosen.

use std::sync::Arc;

use super::{Pane, Session, Sessions};
use muxfs_tmux::{self as tmux, Server};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

impl Session {
    /// The window of this mark may come, though opening it failed.
    pub(super) fn may_be_late(&self, why: &Error, mark: String) {
        if matches!(why.kind, Kind::TimedOut | Kind::Unreachable) {
            *self.late_window.lock() = Some(mark);
        }
    }
}

impl Sessions {
    /// A window that an earlier start did not wait for may be there by now.
    pub(super) async fn no_late_window(self: &Arc<Self>, session: &Session) -> Result<()> {
        if session.late_window.lock().is_some() {
            self.refresh().await?;
            *session.late_window.lock() = None;
        }
        if session.main().is_gone() {
            Ok(())
        } else {
            fail(Kind::Busy, format!("{}: it runs", session.shown()))
        }
    }

    /// The window of a `ctl start` that tmux did not answer in time has the main pane. It gets the rest
    /// of what a window of ours has.
    pub(super) fn take_late_window(&self, server: &Server, session: &Session, panes: &[(String, Arc<Pane>)]) {
        let Some(mark) = session.late_window.lock().clone() else { return };
        let pane = panes.iter().find(|(_, p)| p.fact(|f| tmux::session::has_mark(f, &mark)));
        let Some((_, pane)) = pane else { return };
        *session.late_window.lock() = None;
        tmux::session::finish_window(server, &pane.id);
        let why = "it was started, but tmux said so too late: a hook of yours may hold muxfs up; \
                   its first prompts are not typed";
        self.journal.trouble(&session.shown(), why);
        self.set_main(session, pane.clone());
        session.restart.send_replace(false);
        self.observer.poke(pane);
    }
}
