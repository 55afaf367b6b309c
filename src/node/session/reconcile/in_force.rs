//! What new settings of a session bring about: its main pane, its agent, its logs, its size, a restart.
//!
//! Must not know how settings are read and stored.

use std::sync::Arc;

use super::super::connection::Request;
use super::super::settings::session::Changed;
use super::super::{Moved, Pane, Session, Tap};
use super::Reconciler;
use crate::config::SessionConfig;
use muxfs_tmux as tmux;

impl Reconciler {
    pub(in super::super) fn put_in_force(self: &Arc<Self>, session: &Arc<Session>, changed: &Changed<'_>) {
        let (old, new) = (&changed.old, &changed.new);
        let name = session.shown();
        self.keep_main(session, &session.panes());
        self.observation.bind_agent(session);
        if old.logs != new.logs {
            for (_, pane) in session.panes() {
                match (new.logs, pane.tap()) {
                    (true, Tap::Off) => self.taps.ask(&pane),
                    (false, _) => self.taps.untap(&pane),
                    _ => {}
                }
            }
        }
        if session.ours && old.needs_restart(new) {
            session.restart.send_replace(true);
            self.observation.poke(&session.main());
            self.connection.ask(Request::MayRestart(session.clone()));
        }
        if let (true, Some(size)) = (old.size != new.size, new.size) {
            let (me, session) = (self.clone(), session.clone());
            tokio::spawn(async move { me.resize(&session, size).await });
        }
        self.moves.tell(Moved::Attributes { session: Some(name), path: "config".into() });
    }

    async fn resize(&self, session: &Session, size: (u16, u16)) {
        let done = match self.connection.server() {
            Ok(server) => tmux::session::resize(&server, &session.tmux_id(), size).await,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            session.set_last_error(e.text());
            self.journal.trouble(&session.shown(), &format!("size: {e}"));
        }
    }

    /// The main pane stays until it ends; a configured one comes first.
    pub(in super::super) fn keep_main(&self, session: &Session, panes: &[(String, Arc<Pane>)]) {
        let main = session.main();
        let named = named_pane(&session.config(), panes);
        let stays = panes.iter().any(|(_, p)| Arc::ptr_eq(p, &main));
        // A main pane that is gone stays the main pane: `exited`, evidence `pane gone`. Only
        // `ctl start`, which opens a window, puts another in its place.
        let new = named.or_else(|| (!stays).then_some(main.clone())).unwrap_or_else(|| main.clone());
        if !Arc::ptr_eq(&new, &main) {
            self.set_main(session, new);
        }
    }

    pub(in super::super) fn set_main(&self, session: &Session, pane: Arc<Pane>) {
        session.main.send_replace(pane);
        self.moves.tell(Moved::Panes { session: session.shown(), name: None });
    }
}

/// The pane that the settings name.
pub(in super::super) fn named_pane(
    config: &SessionConfig,
    panes: &[(String, Arc<Pane>)],
) -> Option<Arc<Pane>> {
    let wanted = config.pane.as_deref()?;
    panes.iter().find(|(name, pane)| name == wanted || pane.id == wanted).map(|(_, p)| p.clone())
}
