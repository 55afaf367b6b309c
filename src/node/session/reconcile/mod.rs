//! Makes the tables match what tmux says: sessions and panes come, change and go.
//!
//! The only one who changes the tables.

pub(super) mod in_force;
pub(super) mod late_window;
pub(super) mod lost;
pub(super) mod pace;
pub(super) mod poll;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{MutexGuard, watch};

use super::connection::Connection;
use super::events::Event;

use super::moves::Moves;
use super::observation::Observation;
use super::pane_logs::PaneLogs;
use super::records::{Kept, Records};
use super::settings::Settings;
use super::settings::session::SessionSettings;
use super::tables::{Inventory, Tables, Writer};
use super::taps::Taps;
use super::turns::{Delivery, Turns};
use super::{Face, Journal, Level, Moved, Pane, Record, Session, record};
use crate::config::{SessionConfig, session};
use lost::Lost;
use muxfs_tmux::{self as tmux, Lists, PaneInfo, Server, SessionInfo, Snapshot, process};
use muxfs_tree::base::error::Result;
use muxfs_tree::base::names;
use poll::Looks;

pub struct Reconciler {
    connection: Arc<Connection>,
    tables: Arc<Tables>,
    writer: Writer,
    lost: Arc<Lost>,
    settings: Arc<Settings>,
    records: Arc<Records>,
    taps: Arc<Taps>,
    observation: Arc<Observation>,
    turns: Arc<Delivery>,
    logs: Arc<PaneLogs>,
    journal: Arc<Journal>,
    moves: Arc<Moves>,
    /// Which names the node's own files have.
    reserved: fn(&str) -> bool,
    serials: AtomicU64,
    /// One refresh of the tables at a time; also held while a session is made or renamed.
    looks: tokio::sync::Mutex<Looks>,
}

/// What a reconciler works with.
pub(super) struct Parts {
    pub connection: Arc<Connection>,
    pub tables: Arc<Tables>,
    pub writer: Writer,
    pub lost: Arc<Lost>,
    pub settings: Arc<Settings>,
    pub records: Arc<Records>,
    pub taps: Arc<Taps>,
    pub observation: Arc<Observation>,
    pub turns: Arc<Delivery>,
    pub logs: Arc<PaneLogs>,
    pub journal: Arc<Journal>,
    pub moves: Arc<Moves>,
    pub reserved: fn(&str) -> bool,
    /// The first number for a session or pane.
    pub first_serial: u64,
}

impl Reconciler {
    pub(super) fn new(parts: Parts) -> Self {
        Reconciler {
            connection: parts.connection,
            tables: parts.tables,
            writer: parts.writer,
            lost: parts.lost,
            settings: parts.settings,
            records: parts.records,
            taps: parts.taps,
            observation: parts.observation,
            turns: parts.turns,
            logs: parts.logs,
            journal: parts.journal,
            moves: parts.moves,
            reserved: parts.reserved,
            serials: AtomicU64::new(parts.first_serial),
            looks: tokio::sync::Mutex::default(),
        }
    }

    /// Nobody else refreshes the tables until the result is dropped.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().await
    }

    /// Asks tmux and makes the tables match.
    pub async fn refresh(self: &Arc<Self>) -> Result<()> {
        self.refresh_locked(&mut *self.lock().await).await
    }

    /// The same, for who holds the lock already.
    pub(super) async fn refresh_locked(self: &Arc<Self>, looks: &mut Looks) -> Result<()> {
        let server = self.connection.server()?;
        let lists = self.ask_everything(looks, &server).await?;
        self.take(looks, &server, lists).await
    }

    /// Asks about everything.
    pub(super) async fn ask_everything(&self, looks: &mut Looks, server: &Server) -> Result<Lists> {
        for pane in self.tables.now().panes.values() {
            pane.take_printed(); // what it prints from now on may be missed
        }
        let (begun, before) = (Instant::now(), process::spent(server.info().pid));
        let lists = Lists::ask(server).await?;
        // Its own processor time, where that is told: on a busy machine an answer takes long and costs
        // no more.
        let spent = before.zip(process::spent(server.info().pid)).map(|(old, new)| new.saturating_sub(old));
        let cost = spent.unwrap_or_else(|| begun.elapsed());
        looks.pace.looked(begun, cost);
        Ok(lists)
    }

    pub(super) async fn take(
        self: &Arc<Self>,
        looks: &mut Looks,
        server: &Server,
        lists: Lists,
    ) -> Result<()> {
        let (lists, mut snapshot) = lists.settled(server).await?;
        self.finish_made(server, &mut snapshot.sessions).await?;
        let hidden = server.hidden_session();
        if snapshot.clients.iter().any(|c| c.session == hidden) {
            // A person's client does not stay in our session.
            if let Err(e) = server.move_out().await {
                tracing::debug!("moving clients out: {e}");
            }
        }
        for session in self.apply(server, snapshot) {
            self.take_over(&session).await;
        }
        looks.lists = Some(lists);
        Ok(())
    }

    /// What is on disk of a session that just came into view.
    async fn take_over(self: &Arc<Self>, session: &Arc<Session>) {
        let (me, session) = (self.clone(), session.clone());
        let read = tokio::task::spawn_blocking(move || {
            if let Some(changed) = me.settings.take_over(&session) {
                me.put_in_force(&session, &changed);
            }
            me.turns.take_over(&session);
        });
        if let Err(e) = read.await {
            tracing::error!("taking a session over: {e}");
        }
    }

    /// Sessions that were made here, but whose making broke off before they had our mark (a hook of
    /// the user's held up our client, or the node ended): their environment has the id. They get
    /// the rest. Of those that tmux has not made the records go: it makes them no more.
    async fn finish_made(&self, server: &Server, sessions: &mut [SessionInfo]) -> Result<()> {
        let mut open = self.lost.open();
        let known: BTreeSet<String> = self.tables.all().into_iter().map(|s| s.tmux_id()).collect();
        for info in sessions.iter_mut().filter(|s| s.muxfs_id.is_none() && !known.contains(&s.id)) {
            if !open.iter().any(|r| tmux::session::may_be_unfinished(&info.name, &r.name)) {
                continue;
            }
            let id = tmux::session::id_of(server, &info.id).await?;
            let Some(at) = open.iter().position(|r| Some(&r.id) == id.as_ref()) else { continue };
            let record = open.swap_remove(at);
            tmux::session::finish(server, &info.id, &record.name, &record.id).await?;
            let why = "it was made, but tmux said so too late: a hook of yours may hold muxfs up; \
                       its first prompts are not typed";
            self.journal.trouble(&record.name, why);
            info.name.clone_from(&record.name);
            info.muxfs_id = id;
            self.lost.came(record);
        }
        for record in self.lost.take_not_made() {
            self.forget_new(record).await?;
        }
        Ok(())
    }

    /// The record of a session that was not made, unless it is of one that was there before.
    pub(super) async fn forget_new(&self, record: Record) -> Result<()> {
        if self.lost.has(&record.id) {
            return Ok(());
        }
        self.records.run(move |store| store.remove(&record.id)).wait().await
    }

    /// Returns the sessions that are new.
    fn apply(self: &Arc<Self>, server: &Server, snapshot: Snapshot) -> Vec<Arc<Session>> {
        self.connection.set_clients(snapshot.clients);
        let panes = self.apply_panes(server, &snapshot.panes);
        let mut by_session: HashMap<&str, Vec<(String, Arc<Pane>)>> = HashMap::new();
        let mut active: HashMap<&str, Arc<Pane>> = HashMap::new();
        for info in &snapshot.panes {
            let Some(pane) = panes.get(&info.id) else { continue };
            let name = format!("{}.{}", info.window_index, info.pane_index);
            by_session.entry(&info.session).or_default().push((name, pane.clone()));
            if info.window_active && info.pane_active {
                active.insert(&info.session, pane.clone());
            }
        }
        let known: HashMap<String, Arc<Session>> =
            self.tables.all().into_iter().map(|s| (s.tmux_id(), s)).collect();
        let mut here = BTreeSet::new();
        let mut new = Vec::new();
        let mut old = Vec::new();
        for info in &snapshot.sessions {
            let Some(panes) = by_session.remove(info.id.as_str()).filter(|p| !p.is_empty()) else { continue };
            here.insert(info.id.clone());
            match known.get(&info.id) {
                Some(session) => old.push((session, info, panes)),
                None => new.push((info, panes)),
            }
        }
        // A name may have gone from one session to another between two looks: those that ended
        // leave theirs first, then those that were renamed, and the new ones find theirs free.
        let ended: Vec<_> =
            known.iter().filter(|(id, _)| !here.contains(*id)).map(|(_, s)| s.clone()).collect();
        self.end(&ended);
        // All get their names at once, and before any of it is told: of two that swapped theirs,
        // neither is missing in between.
        let named = self.writer.edit(|now| {
            let mut named = Vec::with_capacity(old.len());
            for (session, info, panes) in old {
                named.push((session, self.take_face(now, session, info, &panes), panes));
            }
            named
        });
        for (session, before, panes) in named {
            self.update(server, session, &before, panes);
        }
        let adopted: Vec<_> = new
            .into_iter()
            .map(|(info, panes)| {
                let first = active.get(info.id.as_str()).unwrap_or(&panes[0].1).clone();
                self.adopt(server, info, panes, first)
            })
            .collect();
        self.show(&adopted);
        self.forget_panes(&panes);
        self.taps.give_back(server);
        adopted
    }

    /// Creates, updates; returns every pane that tmux has, by id.
    pub(super) fn apply_panes(&self, server: &Server, infos: &[PaneInfo]) -> HashMap<String, Arc<Pane>> {
        let mut panes = HashMap::with_capacity(infos.len());
        let (mut new, mut moved) = (Vec::new(), Vec::new());
        let known = self.tables.now();
        for info in infos {
            if panes.contains_key(&info.id) {
                continue; // listed again by a grouped session or a linked window
            }
            let pane = match known.panes.get(&info.id) {
                Some(pane) => {
                    let before = pane.fact(|f| f.pid);
                    if pane.fact(|f| f.cwd != info.cwd) {
                        moved.push(pane.clone());
                    }
                    if pane.update(info.clone()) {
                        if before != info.pid {
                            self.taps.watch_process(pane);
                        }
                        self.observation.poke(pane);
                    }
                    pane.clone()
                }
                None => {
                    let pane = self.new_pane(server, info);
                    new.push(pane.clone());
                    pane
                }
            };
            panes.insert(info.id.clone(), pane);
        }
        self.show_panes(&new);
        self.tell_moved_to(&moved);
        panes
    }

    fn show_panes(&self, new: &[Arc<Pane>]) {
        if new.is_empty() {
            return;
        }
        self.writer.edit(|now| {
            Arc::make_mut(now).panes.extend(new.iter().map(|pane| (pane.id.clone(), pane.clone())));
        });
        for pane in new {
            self.taps.take_expected(pane);
            self.taps.watch_process(pane);
            self.observation.poke(pane);
        }
    }

    /// Programs in these panes went to another directory.
    fn tell_moved_to(&self, panes: &[Arc<Pane>]) {
        if panes.is_empty() {
            return;
        }
        for session in self.tables.all() {
            let main = session.main();
            if panes.iter().any(|pane| Arc::ptr_eq(pane, &main)) {
                self.moves.tell(Moved::Seen(session.shown()));
            }
        }
    }

    fn new_pane(&self, server: &Server, info: &PaneInfo) -> Arc<Pane> {
        Arc::new(self.logs.pane(info, pane_identity(server, &info.id), self.serial()))
    }

    fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    fn forget_panes(&self, here: &HashMap<String, Arc<Pane>>) {
        let known = self.tables.now();
        let gone: Vec<_> = known.panes.values().filter(|pane| !here.contains_key(&pane.id)).collect();
        if gone.is_empty() {
            return;
        }
        self.writer.edit(|now| Arc::make_mut(now).panes.retain(|id, _| here.contains_key(id)));
        for pane in gone {
            self.taps.forget(pane);
            pane.set_gone(SystemTime::now());
        }
    }

    fn adopt(
        self: &Arc<Self>,
        server: &Server,
        info: &SessionInfo,
        panes: Vec<(String, Arc<Pane>)>,
        first: Arc<Pane>,
    ) -> Arc<Session> {
        let record = self.record_of(server, info, &first);
        let config = SessionConfig::parse(&record.config, record.ours).unwrap_or_default();
        let main = in_force::named_pane(&config, &panes).unwrap_or(if record.ours {
            panes[0].1.clone()
        } else {
            first
        });
        if record.stopped {
            main.set_stopping(true);
        }
        let session = Arc::new(Session {
            serial: self.serial(),
            id: record.id.clone(),
            ours: record.ours,
            made: SystemTime::UNIX_EPOCH + Duration::from_secs(info.created),
            face: RwLock::new(Face {
                tmux_id: info.id.clone(),
                name: info.name.clone(),
                shown: names::encode(&info.name, &self.reserved),
                attached: info.attached as u32,
                panes,
            }),
            main: watch::channel(main).0,
            settings: SessionSettings::new(config),
            record: Kept::new(record),
            restart: watch::channel(false).0,
            ended: watch::channel(false).0,
            last_error: Mutex::new(None),
            turns: Turns::default(),
            history: Default::default(),
            backoff: Mutex::default(),
            late_window: Mutex::default(),
            life: tokio::sync::RwLock::new(()),
        });
        self.observation.bind_agent(&session);
        session
    }

    /// Sessions that are new come into the tables.
    fn show(self: &Arc<Self>, new: &[Arc<Session>]) {
        if new.is_empty() {
            return;
        }
        self.writer.edit(|now| {
            Arc::make_mut(now).sessions.extend(new.iter().map(|session| (session.shown(), session.clone())));
        });
        for session in new {
            let (shown, tmux) = (session.shown(), session.tmux_id());
            self.moves.tell(Moved::Session(shown.clone()));
            let event = Event::Made { ours: session.ours, tmux: &tmux };
            self.journal.report((session.serial, &shown), &event);
            let text = if session.ours { "session made here" } else { "session of others" };
            self.journal.log(Level::Info, &shown, text);
            self.taps.tap_session(session);
        }
    }

    /// The record of a session that tmux shows for the first time.
    fn record_of(&self, server: &Server, info: &SessionInfo, first: &Pane) -> Record {
        let ours = info.muxfs_id.clone();
        let id = ours
            .clone()
            .unwrap_or_else(|| format!("t{}-{}", server.info().start_time, info.id.trim_start_matches('$')));
        if let Some(record) = self.lost.take(&id) {
            return record;
        }
        let config = if ours.is_some() { session::template(&Default::default()) } else { of_others(first) };
        let changed = record::millis(SystemTime::now());
        Record { id, name: info.name.clone(), ours: ours.is_some(), config, changed, ..Record::default() }
    }

    /// Takes over what tmux says of a session: what it said before, and whether a new name had no other
    /// session.
    fn take_face(
        &self,
        now: &mut Arc<Inventory>,
        session: &Arc<Session>,
        info: &SessionInfo,
        panes: &[(String, Arc<Pane>)],
    ) -> (Face, bool) {
        let shown = names::encode(&info.name, &self.reserved);
        let face = Face {
            tmux_id: info.id.clone(),
            name: info.name.clone(),
            shown: shown.clone(),
            attached: info.attached as u32,
            panes: panes.to_vec(),
        };
        let old = std::mem::replace(&mut *session.face.write(), face);
        if old.shown == shown {
            return (old, true);
        }
        // Two names may be swapped between two looks: only this object leaves its old name.
        let sessions = &mut Arc::make_mut(now).sessions;
        let left = sessions.get(&old.shown).is_some_and(|s| Arc::ptr_eq(s, session));
        if left {
            sessions.remove(&old.shown);
        }
        // One that lives gets its new name by its own update.
        let alone = sessions.insert(shown, session.clone()).is_none() && left;
        (old, alone)
    }

    fn update(
        self: &Arc<Self>,
        server: &Server,
        session: &Arc<Session>,
        (old, alone): &(Face, bool),
        panes: Vec<(String, Arc<Pane>)>,
    ) {
        let shown = session.shown();
        if old.shown != shown {
            self.renamed(session, &old.shown, &shown, *alone);
        }
        self.tell_panes(&shown, &old.panes, &panes);
        self.take_late_window(server, session, &panes);
        self.keep_main(session, &panes);
        self.taps.tap_session(session);
    }

    fn renamed(&self, session: &Arc<Session>, from: &str, to: &str, alone: bool) {
        if session.ours {
            self.records.edit(&session.record, to, |record| record.name = session.name());
        }
        if alone {
            self.moves.tell(Moved::Renamed { from: from.to_owned(), to: to.to_owned() });
        } else {
            // Of a swap either half alone would move the other's directory along.
            self.moves.tell(Moved::Session(from.to_owned()));
            self.moves.tell(Moved::Session(to.to_owned()));
        }
        self.journal.report((session.serial, to), &Event::Renamed { from });
        self.journal.log(Level::Info, to, &format!("renamed from {from}"));
    }

    fn tell_panes(&self, session: &str, old: &[(String, Arc<Pane>)], new: &[(String, Arc<Pane>)]) {
        let same = |list: &[(String, Arc<Pane>)], name: &str, pane: &Arc<Pane>| {
            list.iter().any(|(n, p)| n == name && Arc::ptr_eq(p, pane))
        };
        let changed =
            old.iter().filter(|(n, p)| !same(new, n, p)).chain(new.iter().filter(|(n, p)| !same(old, n, p)));
        let names: BTreeSet<&String> = changed.map(|(n, _)| n).collect();
        for name in names {
            self.moves.tell(Moved::Panes { session: session.to_owned(), name: Some(name.clone()) });
        }
    }

    /// Sessions tmux has no more.
    fn end(&self, ended: &[Arc<Session>]) {
        if ended.is_empty() {
            return;
        }
        for session in ended.iter().filter(|session| session.ours) {
            self.lost.put(session.record.get(Record::clone));
        }
        self.writer.edit(|now| {
            let sessions = &mut Arc::make_mut(now).sessions;
            for session in ended {
                let shown = session.shown();
                if sessions.get(&shown).is_some_and(|s| Arc::ptr_eq(s, session)) {
                    sessions.remove(&shown);
                }
            }
        });
        for session in ended {
            self.end_object(session);
        }
    }

    /// Readers and waiters of the object return.
    fn end_object(&self, session: &Arc<Session>) {
        let shown = session.shown();
        session.ended.send_replace(true);
        if !session.ours {
            self.records.forget(&session.record).detach(); // it ends with its session
        }
        self.moves.tell(Moved::Session(shown.clone()));
        self.journal.report((session.serial, &shown), &Event::Ended {});
        self.journal.log(Level::Info, &shown, "session ended");
    }

    /// Our hidden session is not to keep a tmux server alive that nobody else uses.
    pub(super) async fn leave_if_last(&self) {
        let Some(server) = self.connection.connected() else { return };
        let _one = self.lock().await;
        if self.tables.count() > 0 {
            return self.connection.has_sessions();
        }
        if !self.connection.may_leave() || !tmux::snapshot(&server).await.is_ok_and(|s| s.sessions.is_empty())
        {
            return;
        }
        // A server that is to live without sessions needs no leaving: we would come back at once.
        if server.stays_when_empty().await.is_ok_and(|stays| !stays) {
            server.leave().await;
        }
    }

    /// tmux is gone: every session and pane with it.
    pub(super) fn lose_all(&self) {
        self.end(&self.tables.all());
        self.forget_panes(&HashMap::new());
    }
}

/// The first text of a session that others made: what is seen.
fn of_others(pane: &Pane) -> String {
    let facts = pane.facts();
    session::template_of_others(&[
        ("command", facts.command),
        ("cwd", facts.cwd),
        ("size", format!("{}x{}", facts.width, facts.height)),
    ])
}

/// What a pane is for good: panes of one life of a tmux server are apart from those of the next.
fn pane_identity(server: &Server, pane: &str) -> String {
    let info = server.info();
    format!("{}-{}/{}", info.start_time, info.pid, pane.trim_start_matches('%'))
}
