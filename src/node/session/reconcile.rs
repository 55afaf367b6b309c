//! Makes the tables match what tmux says: sessions and panes come, change and go.
//!
//! The only writer of `Sessions::tables`.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::events::Event;
use super::records::Kept;
use super::turns::Turns;
use super::{Face, Level, Moved, Pane, Record, Session, Sessions, Tables, Tap, record};
use crate::config::{SessionConfig, session};
use muxfs_tmux::{self as tmux, Lists, PaneInfo, Server, SessionInfo, Snapshot};
use muxfs_tree::base::error::Result;
use muxfs_tree::base::names;

impl Sessions {
    /// Asks tmux and makes the tables match.
    pub async fn refresh(self: &Arc<Self>) -> Result<()> {
        let _one = self.reconcile.lock().await;
        self.refresh_locked().await
    }

    /// The same, for who holds the lock already.
    pub(super) async fn refresh_locked(self: &Arc<Self>) -> Result<()> {
        let server = self.server()?;
        let lists = self.ask_everything(&server).await?;
        self.take(&server, lists).await
    }

    pub(super) async fn take(self: &Arc<Self>, server: &Server, lists: Lists) -> Result<()> {
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
        self.looks.lock().lists = Some(lists);
        Ok(())
    }

    /// What is on disk of a session that just came into view.
    async fn take_over(self: &Arc<Self>, session: &Arc<Session>) {
        let (sessions, session) = (self.clone(), session.clone());
        let read = tokio::task::spawn_blocking(move || {
            sessions.load_config_file(&session);
            sessions.take_up_turns(&session);
        });
        if let Err(e) = read.await {
            tracing::error!("taking a session over: {e}");
        }
    }

    /// Sessions that were made here, but whose making broke off before they had our mark (a hook of
    /// the user's held up our client, or the node ended): their environment has the id. They get
    /// the rest. Of those that tmux has not made the records go: it makes them no more.
    async fn finish_made(&self, server: &Server, sessions: &mut [SessionInfo]) -> Result<()> {
        let mut open: Vec<Record> = {
            let tables = self.tables.read();
            tables.unfinished.iter().chain(tables.lost.values().filter(|r| r.ours)).cloned().collect()
        };
        let known: BTreeSet<String> = self.all().into_iter().map(|s| s.tmux_id()).collect();
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
            let mut tables = self.tables.write();
            tables.unfinished.retain(|r| r.id != record.id);
            tables.lost.insert(record.name.clone(), record);
        }
        let not_made = std::mem::take(&mut self.tables.write().unfinished);
        for record in not_made {
            self.forget_new(record).await?;
        }
        Ok(())
    }

    /// The record of a session that was not made, unless it is of one that was there before.
    pub(super) async fn forget_new(&self, record: Record) -> Result<()> {
        if self.tables.read().lost.values().any(|r| r.id == record.id) {
            return Ok(());
        }
        self.records.run(move |store| store.remove(&record.id)).wait().await
    }

    /// Returns the sessions that are new.
    fn apply(self: &Arc<Self>, server: &Server, snapshot: Snapshot) -> Vec<Arc<Session>> {
        *self.clients.write() = snapshot.clients.into_iter().filter(|c| !c.control).collect();
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
        let known: HashMap<String, Arc<Session>> = self.all().into_iter().map(|s| (s.tmux_id(), s)).collect();
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
        for session in known.iter().filter(|(id, _)| !here.contains(*id)).map(|(_, session)| session) {
            self.end(session);
        }
        // All get their names at once, and before any of it is told: of two that swapped theirs,
        // neither is missing in between.
        let mut named = Vec::with_capacity(old.len());
        {
            let mut tables = self.tables.write();
            for (session, info, panes) in old {
                let before = self.take_face(&mut tables, session, info, &panes);
                named.push((session, before, panes));
            }
        }
        for (session, before, panes) in named {
            self.update(server, session, &before, panes);
        }
        let mut adopted = Vec::with_capacity(new.len());
        for (info, panes) in new {
            let first = active.get(info.id.as_str()).unwrap_or(&panes[0].1).clone();
            adopted.push(self.adopt(server, info, panes, first));
        }
        self.forget_panes(&panes);
        self.give_back(server);
        adopted
    }

    /// Creates, updates; returns every pane that tmux has, by id.
    pub(super) fn apply_panes(&self, server: &Server, infos: &[PaneInfo]) -> HashMap<String, Arc<Pane>> {
        let mut panes = HashMap::with_capacity(infos.len());
        let mut moved = Vec::new();
        for info in infos {
            if panes.contains_key(&info.id) {
                continue; // listed again by a grouped session or a linked window
            }
            let old = self.tables.read().panes.get(&info.id).cloned();
            let pane = match old {
                Some(pane) => {
                    let before = pane.fact(|f| f.pid);
                    if pane.fact(|f| f.cwd != info.cwd) {
                        moved.push(pane.clone());
                    }
                    if pane.update(info.clone()) {
                        if before != info.pid {
                            self.watch_process(&pane);
                        }
                        self.observer.poke(&pane);
                    }
                    pane
                }
                None => self.new_pane(server, info),
            };
            panes.insert(info.id.clone(), pane);
        }
        self.tell_moved_to(&moved);
        panes
    }

    /// Programs in these panes went to another directory.
    fn tell_moved_to(&self, panes: &[Arc<Pane>]) {
        if panes.is_empty() {
            return;
        }
        for session in self.all() {
            let main = session.main();
            if panes.iter().any(|pane| Arc::ptr_eq(pane, &main)) {
                self.tell_moved(Moved::Seen(session.shown()));
            }
        }
    }

    fn new_pane(&self, server: &Server, info: &PaneInfo) -> Arc<Pane> {
        let identity = pane_identity(server, &info.id);
        let dir = self.logs_dir().join(&identity);
        let pane =
            Arc::new(Pane::new(info.clone(), identity, self.serial(), &dir, self.limits(), Instant::now()));
        self.tell_rotations(&pane.raw, Some(pane.serial), "raw");
        self.tell_rotations(&pane.logs, Some(pane.serial), "logs");
        if pane.logs.is_known() || pane.raw.is_known() {
            pane.judge(|j| j.known_before());
            // The daemon was away: what the pane printed meanwhile is not in the logs.
            pane.note("bytes were not kept while muxfs was not running", SystemTime::now());
            pane.raw.append(
                b"\r\n[muxfs: bytes were not kept while muxfs was not running]\r\n",
                SystemTime::now(),
            );
        }
        self.take_expected_tap(&pane);
        self.tables.write().panes.insert(info.id.clone(), pane.clone());
        self.watch_process(&pane);
        self.observer.poke(&pane);
        pane
    }

    pub(super) fn logs_dir(&self) -> PathBuf {
        self.dirs.state.join("logs")
    }

    /// Whether a pane writes its logs into `dir`: such a directory is never pruned.
    pub(super) fn log_dir_is_live(&self, dir: &std::path::Path) -> bool {
        let Some(server) = self.connected() else { return false };
        self.tables.read().panes.keys().any(|id| self.logs_dir().join(pane_identity(&server, id)) == dir)
    }

    /// Sees the pane's process end at once, not at the next poll.
    fn watch_process(&self, pane: &Arc<Pane>) {
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        let (pid, dead) = pane.fact(|f| (f.pid, f.dead));
        if let (Some(pid), false) = (Pid::from_raw(pid as i32), dead)
            && let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
        {
            self.output.process(pane.clone(), fd); // one that ended already is seen by the refresh
        }
    }

    fn forget_panes(&self, here: &HashMap<String, Arc<Pane>>) {
        let mut gone = Vec::new();
        self.tables.write().panes.retain(|id, pane| {
            let stays = here.contains_key(id);
            if !stays {
                gone.push(pane.clone());
            }
            stays
        });
        for pane in gone {
            self.output.forget(pane.serial);
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
        let shown = names::encode(&info.name, &self.reserved);
        let main =
            named_pane(&config, &panes).unwrap_or(if record.ours { panes[0].1.clone() } else { first });
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
                shown: shown.clone(),
                attached: info.attached as u32,
                panes,
            }),
            main: watch::channel(main).0,
            config: RwLock::new(Arc::new(config)),
            rejected: Mutex::new(None),
            saving: Mutex::new(()),
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
        self.bind_agent(&session);
        self.tables.write().sessions.insert(shown.clone(), session.clone());
        self.tell_moved(Moved::Session(shown.clone()));
        let event = Event::Made { ours: session.ours, tmux: &info.id };
        self.journal.report((session.serial, &shown), &event);
        self.journal.log(
            Level::Info,
            &shown,
            if session.ours { "session made here" } else { "session of others" },
        );
        self.tap_session(&session);
        session
    }

    /// The record of a session that tmux shows for the first time.
    fn record_of(&self, server: &Server, info: &SessionInfo, first: &Pane) -> Record {
        let ours = info.muxfs_id.clone();
        let id = ours
            .clone()
            .unwrap_or_else(|| format!("t{}-{}", server.info().start_time, info.id.trim_start_matches('$')));
        let mut tables = self.tables.write();
        let lost = tables.lost.iter().find(|(_, r)| r.id == id).map(|(key, _)| key.clone());
        if let Some(record) = lost.and_then(|key| tables.lost.remove(&key)) {
            return record;
        }
        drop(tables);
        let config = if ours.is_some() { session::template(&Default::default()) } else { of_others(first) };
        let changed = record::millis(SystemTime::now());
        Record {
            id,
            name: info.name.clone(),
            ours: ours.is_some(),
            config,
            changed,
            modes: Default::default(),
            stopped: false,
            conversation: None,
            limit: None,
            cwd: None,
            parent: None,
            maker: None,
        }
    }

    /// Takes over what tmux says of a session: what it said before, and whether a new name had no other
    /// session.
    fn take_face(
        &self,
        tables: &mut Tables,
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
        let left = tables.sessions.get(&old.shown).is_some_and(|s| Arc::ptr_eq(s, session));
        if left {
            tables.sessions.remove(&old.shown);
        }
        // One that lives gets its new name by its own update.
        let alone = tables.sessions.insert(shown, session.clone()).is_none() && left;
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
        self.tap_session(session);
    }

    fn renamed(&self, session: &Arc<Session>, from: &str, to: &str, alone: bool) {
        if session.ours {
            self.records.edit(&session.record, to, |record| record.name = session.name());
        }
        if alone {
            self.tell_moved(Moved::Renamed { from: from.to_owned(), to: to.to_owned() });
        } else {
            // Of a swap either half alone would move the other's directory along.
            self.tell_moved(Moved::Session(from.to_owned()));
            self.tell_moved(Moved::Session(to.to_owned()));
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
            self.tell_moved(Moved::Panes { session: session.to_owned(), name: Some(name.clone()) });
        }
    }

    /// The main pane stays until it ends; a configured one comes first.
    pub(super) fn keep_main(&self, session: &Session, panes: &[(String, Arc<Pane>)]) {
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

    pub(super) fn set_main(&self, session: &Session, pane: Arc<Pane>) {
        session.main.send_replace(pane);
        self.tell_moved(Moved::Panes { session: session.shown(), name: None });
    }

    /// A session tmux has no more.
    fn end(&self, session: &Arc<Session>) {
        let shown = session.shown();
        {
            let Tables { sessions, lost, .. } = &mut *self.tables.write();
            if sessions.get(&shown).is_some_and(|s| Arc::ptr_eq(s, session)) {
                sessions.remove(&shown);
            }
            if session.ours {
                let record = session.record.get(Record::clone);
                lost.insert(record.name.clone(), record);
            }
        }
        self.end_object(session);
    }

    /// Readers and waiters of the object return.
    fn end_object(&self, session: &Arc<Session>) {
        let shown = session.shown();
        session.ended.send_replace(true);
        if !session.ours {
            self.records.forget(&session.record).detach(); // it ends with its session
        }
        self.tell_moved(Moved::Session(shown.clone()));
        self.journal.report((session.serial, &shown), &Event::Ended {});
        self.journal.log(Level::Info, &shown, "session ended");
    }

    /// tmux is gone: every session and pane with it.
    pub(super) fn lose_all(&self) {
        self.clients.write().clear();
        for session in self.all() {
            self.end(&session);
        }
        self.forget_panes(&HashMap::new());
    }

    /// Pipes for the panes that have none, where the settings want logs.
    fn tap_session(self: &Arc<Self>, session: &Session) {
        let wanted = session.config().logs;
        for (_, pane) in session.panes() {
            match pane.tap() {
                Tap::None if wanted => self.ask_tap(&pane),
                Tap::None => _ = pane.set_tap(Tap::Off),
                _ => {}
            }
        }
    }
}

/// The pane that the settings name.
fn named_pane(config: &SessionConfig, panes: &[(String, Arc<Pane>)]) -> Option<Arc<Pane>> {
    let wanted = config.pane.as_deref()?;
    panes.iter().find(|(name, pane)| name == wanted || pane.id == wanted).map(|(_, p)| p.clone())
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
