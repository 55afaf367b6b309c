//! Observes panes: finds the state of what runs there, publishes it and reports what changed.
//!
//! When a pane is due is the observer's to know. What a state brings about in a session's life is asked of
//! the engine. Must not know who starts and ends programs.

pub mod agent_state;
pub mod observer;
pub mod shell_state;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use super::connection::{Connection, Request};
use super::events::{Change, Event};
use super::limit::Reported;
use super::moves::Moves;
use super::program::Agent;
use super::records::Records;
use super::settings::Settings;
use super::tables::Tables;
use super::{Journal, Level, Moved, Pane, Session, State, state};
use muxfs_tree::base::clock::rfc3339;
use observer::Observer;

pub struct Observation {
    connection: Arc<Connection>,
    tables: Arc<Tables>,
    records: Arc<Records>,
    settings: Arc<Settings>,
    journal: Arc<Journal>,
    moves: Arc<Moves>,
    observer: Observer,
}

impl Observation {
    pub(super) fn new(
        connection: Arc<Connection>,
        tables: Arc<Tables>,
        records: Arc<Records>,
        settings: Arc<Settings>,
        journal: Arc<Journal>,
        moves: Arc<Moves>,
        observer: Observer,
    ) -> Self {
        Observation { connection, tables, records, settings, journal, moves, observer }
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// A look at `pane` is due.
    pub(super) fn poke(&self, pane: &Arc<Pane>) {
        self.observer.poke(pane);
    }

    /// Asks for a look: had at once, but for agents, which tmux is asked for.
    pub fn observe(&self, pane: &Arc<Pane>) {
        if pane.has_agent() {
            self.observer.poke(pane);
        } else {
            self.observe_now(pane);
        }
    }

    /// Looks at an agent's pane, judges what it shows and tells what changed. Returns when to look
    /// again.
    pub(super) async fn look(&self, pane: &Arc<Pane>) -> Option<Duration> {
        if pane.looking.swap(true, Ordering::AcqRel) {
            return Some(Duration::ZERO); // the look under way may have been too early
        }
        let taken = self.connection.picture(pane).await;
        pane.looking.store(false, Ordering::Release);
        if let Ok((shot, picture)) = taken {
            pane.saw(shot.pid, picture);
        }
        self.observe_now(pane)
    }

    /// Decides from what is known now, and tells what changed. Returns when to look again.
    pub(super) fn observe_now(&self, pane: &Arc<Pane>) -> Option<Duration> {
        let (changed, again) = pane.observe();
        if let Some(reported) = pane.eyes(|e| e.to_store()).flatten() {
            self.store_limit(pane, reported);
        }
        if let Some((old, new)) = changed {
            self.state_changed(pane, old, new);
        }
        again
    }

    /// The agent of the session's settings sees to the main pane from now on.
    pub(super) fn bind_agent(&self, session: &Session) {
        let agent = Agent::of(&session.config(), &self.settings.catalogue());
        let main = session.main();
        if main.set_agent(agent) {
            restore_limit(session, &main);
            main.publish_anew();
            self.observer.poke(&main);
        }
        for (_, other) in session.panes() {
            if !Arc::ptr_eq(&other, &main) {
                other.set_agent(None);
            }
        }
    }

    /// Keeps what was told of a limit: the daemon after this one must not send into it.
    fn store_limit(&self, pane: &Arc<Pane>, reported: Reported) {
        let (pid, now, wall) = (pane.fact(|f| f.pid), Instant::now(), SystemTime::now());
        let limit = reported.keep(now, wall).map(|kept| (pid, kept));
        for session in self.tables.with_main(pane) {
            if session.record.get(|record| record.limit != limit) {
                let limit = limit.clone();
                self.records.edit(&session.record, &session.shown(), |record| record.limit = limit);
            }
        }
    }

    fn state_changed(&self, pane: &Arc<Pane>, old: State, new: State) {
        if pane.full_screen() {
            pane.note(&format!("{new}"), SystemTime::now());
        }
        for session in self.tables.with_main(pane) {
            self.main_changed(&session, old, new);
        }
    }

    fn main_changed(&self, session: &Arc<Session>, old: State, new: State) {
        let name = session.shown();
        let seen = session.main().seen();
        let limit = session.main().eyes(|e| e.limit(SystemTime::now())).flatten();
        let limit = limit.filter(|_| new == State::Limited);
        let change = Change {
            state: new.word(),
            detail: new.to_string(),
            before: old.word(),
            evidence: seen.evidence.word(),
            why: limit.map(|l| l.reason.word()),
            until: limit.and_then(|l| l.until).map(rfc3339),
        };
        self.journal.report((session.serial, &name), &Event::State(change));
        if new.ended() {
            self.journal.log(Level::Info, &name, &format!("{new}"));
        }
        self.moves.tell(Moved::Seen(name.clone()));
        if let State::Exited(exit) = new {
            self.connection.ask(Request::Ended(session.clone(), exit));
        }
        if new == State::Exited(state::Exit::Code(127)) && session.ours {
            // What a shell says of a program that it does not find.
            const WHY: &str = "exited 127: its program was not found in the PATH of the login shell; \
                install it or set `command` in config, then ctl start";
            self.journal.trouble(&name, WHY);
            session.set_last_error(WHY);
        }
        if new == State::Ready {
            self.connection.ask(Request::MayRestart(session.clone()));
        }
    }
}

/// What was told of a limit before: to another daemon, or by the rules before these.
fn restore_limit(session: &Session, main: &Pane) {
    let limit = session.record.get(|record| record.limit.clone());
    if let Some((_, kept)) = limit.filter(|(pid, _)| *pid == main.fact(|f| f.pid)) {
        main.eyes(|e| e.restore(&kept, Instant::now(), SystemTime::now()));
    }
}
