//! Making, ending, renaming, starting and stopping sessions, and the node's own start and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::env::Env;
use super::lifecycle::Event;
use super::program::{Agent, Begin, Program};
use super::record::Store;
use super::{Pane, Record, Session, Sessions, engine, reap, record};
use crate::config::{SessionConfig, session};
use muxfs_tmux::{self as tmux, NewSession, Server};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::apart;
use muxfs_tree::base::names;
use muxfs_tree::base::schema::{Value, Values};
use muxfs_tree::{Caller, Gesture};

/// Ending a process tree takes 5 s at most; a stuck `/proc` is not waited for.
const STOPPED: Duration = Duration::from_secs(6);
/// How often, and how long apart, a session is tried again under a server that is leaving.
const LEAVING_TRIES: u32 = 10;
const LEAVING: Duration = Duration::from_millis(50);
/// tmux gets this long to take our hidden session away when the node ends: `muxfs umount` waits
/// for that end.
const CLOSED: Duration = Duration::from_secs(3);

/// Servers that are tried in turn, where one after the other ends while a session is made.
const STARTS: usize = 5;
/// How long an ending server may take to be gone.
const ENDING: Duration = Duration::from_millis(30);

impl Sessions {
    /// `mkdir NAME`: makes a session and starts its program.
    pub async fn make(self: &Arc<Self>, who: &Caller, shown: &str, asked: Asked<'_>) -> Result<Arc<Session>> {
        self.can_store()?;
        let mut tries = LEAVING_TRIES;
        loop {
            match self.make_once(who, shown, asked).await {
                // A server that was just leaving, with its last session: the next one is ours.
                Err(e) if e.kind == Kind::Gone && tries > 0 && self.connected().is_none_or(|s| s.lost()) => {
                    tries -= 1;
                    tokio::time::sleep(LEAVING).await;
                }
                done => return done,
            }
        }
    }

    async fn make_once(
        self: &Arc<Self>,
        who: &Caller,
        shown: &str,
        asked: Asked<'_>,
    ) -> Result<Arc<Session>> {
        let name = names::new_session(shown, &self.reserved)?;
        // Before a record of it is on disk.
        tmux::session::check_name(&name)?;
        let mut set = asked.set.cloned().unwrap_or_default();
        let named =
            set.get("agent").and_then(|v| if let Value::Text(s) = v { Some(s.clone()) } else { None });
        if let Some(agent) = self.choose_agent(&name, asked.agent.or(named.as_deref()))? {
            set.insert("agent", Value::Text(agent));
        }
        let here = match asked.cwd {
            Some(cwd) => Some(cwd.to_owned()),
            None => self.caller_dir(who, shown).await,
        };
        let parent = self.caller_session(who).await;
        let (shown, begin) = (shown.to_owned(), asked.begin.cloned());
        let (skip_init, maker) = (asked.skip_init, asked.gesture.and_then(Gesture::key));
        let new = New { shown, name, here, parent, set, begin, skip_init, maker };
        let config = SessionConfig::parse(&session::template(&new.set), true).unwrap_or_default();
        let login = async { Ok(self.login_env_for(&config).await) };
        let login = match asked.gesture {
            // Until here nothing is made.
            Some(gesture) => gesture.until_cancelled(login).await?,
            None => login.await?,
        };
        let sessions = self.clone();
        apart(async move { sessions.make_now(&new, &login).await }).await
    }

    async fn make_now(self: &Arc<Self>, new: &New, login: &Env) -> Result<Arc<Session>> {
        // A server without sessions is left at once, but for one that is about to get its first.
        let _making = Making::begin(&self.making);
        let mut left = STARTS;
        loop {
            left -= 1;
            // A server ends with its last session: one that is about to takes no
            // other ("server exited unexpectedly", or the connection is lost), the next one does.
            let why = match self.server_or_start().await {
                Ok(server) => match self.make_on(&server, new, login).await {
                    Err(e) if e.kind == Kind::Gone && server.lost() => e,
                    made => return made,
                },
                Err(e) if matches!(e.kind, Kind::Gone | Kind::Unreachable) => e,
                Err(e) => return Err(e),
            };
            if left == 0 {
                return Err(why);
            }
            tokio::time::sleep(ENDING).await;
        }
    }

    async fn make_on(self: &Arc<Self>, server: &Server, new: &New, login: &Env) -> Result<Arc<Session>> {
        let New { shown, name, .. } = new;
        let _one = self.reconcile.lock().await;
        if self.tables.read().unfinished.iter().any(|r| r.name == *name) {
            self.refresh_locked().await?;
        }
        if let Some(there) = self.get(shown) {
            if new.maker.is_some() && there.record.get(|r| r.maker == new.maker) {
                return Ok(there); // by the same gesture, sent before
            }
            return fail(Kind::Exists, format!("{shown}: there is such a session"));
        }
        tmux::session::try_name(server, name).await?;
        let mut record = self.record_for(new)?;
        self.report_left(&record.id, shown).await;
        let config = SessionConfig::parse(&record.config, true).unwrap_or_default();
        let size = config.size.unwrap_or(self.config().size);
        let begin = match &new.begin {
            Some(begin) => begin.clone(),
            None => begin_again(&config, new.skip_init),
        };
        let program = self.program(&config, login, &record.id, record.cwd.clone(), &begin).await?;
        record.conversation = program.conversation.clone();
        // Before there is a session, so that a crash leaves none without a record.
        let stored = record.clone();
        let save = move |store: &Store| {
            store.save_config(&stored.id, &stored.config)?;
            store.save(&stored)
        };
        self.records.run(save).wait().await?;
        let made = tmux::session::new_session(
            server,
            NewSession {
                name,
                cwd: program.cwd.as_bytes(),
                env: &program.env,
                command: Some(&program.command),
                width: size.0.into(),
                height: size.1.into(),
                muxfs_id: &record.id,
            },
            config.logs.then_some(&self.pipes),
        )
        .await;
        let made = match made {
            // A hook of the user's may hold up the rest of the line, when the session is there.
            Err(e) if matches!(e.kind, Kind::TimedOut | Kind::Unreachable) => {
                self.tables.write().unfinished.push(record);
                return Err(e);
            }
            Err(e) => {
                self.forget_new(record).await?;
                return Err(e);
            }
            Ok(made) => made,
        };
        self.tables.write().lost.insert(name.clone(), record);
        // Before the refresh shows the pane: it is not to be asked for a second pipe.
        self.expect_tap(&made.pane, made.pipe);
        self.refresh_locked().await?;
        let session =
            self.get(shown).ok_or_else(|| Error::new(Kind::Gone, format!("{shown}: ended at once")))?;
        self.after_start(&session, &begin).await;
        Ok(session)
    }

    /// The record of a session of this name that tmux lost, else a new one.
    fn record_for(&self, new: &New) -> Result<Record> {
        let kept = self.tables.read().lost.get(&new.name).filter(|r| r.ours).cloned();
        let mut record = match kept {
            Some(record) => record,
            None => Record {
                id: record::new_id()?,
                name: new.name.clone(),
                ours: true,
                config: crate::config::session::template(&new.set),
                changed: record::millis(SystemTime::now()),
                modes: Default::default(),
                stopped: false,
                conversation: None,
                limit: None,
                cwd: None,
                parent: None,
                maker: None,
            },
        };
        record.maker.clone_from(&new.maker);
        record.stopped = false;
        record.parent = new.parent.clone().or(record.parent);
        record.cwd = new.here.clone().or(record.cwd);
        Ok(record)
    }

    async fn server_or_start(self: &Arc<Self>) -> Result<Server> {
        if let Some(server) = self.connected().filter(|s| !s.lost()) {
            return Ok(server);
        }
        let (answer, server) = tokio::sync::oneshot::channel();
        let _ = self.pokes.send(engine::Event::Start(Instant::now(), answer)); // then the channel below closes
        server.await.unwrap_or_else(|_| fail(Kind::Gone, "the node ends"))
    }

    /// `ctl reload`: the login shell is asked again, the settings file read again.
    pub async fn reload(self: &Arc<Self>) {
        *self.login.lock().await = None;
        self.load_catalogue();
        self.node_config_file_touched();
        for session in self.all() {
            self.bind_agent(&session);
        }
    }

    /// `rmdir`: ends a session made here, with everything below it, and forgets its record.
    pub async fn remove(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        self.act(session, Event::Remove, None).await
    }

    /// Every process of the session, then the session itself. Windows that other sessions show
    /// too live on.
    pub(super) async fn end_session(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let server = self.server()?;
        self.refresh().await?; // a window linked into another session a moment ago is spared too
        let elsewhere: Vec<String> = self
            .all()
            .iter()
            .filter(|s| s.serial != session.serial)
            .flat_map(|s| s.panes().into_iter().map(|(_, p)| p.id.clone()))
            .collect();
        let panes: Vec<_> =
            session.panes().into_iter().map(|(_, p)| p).filter(|p| !elsewhere.contains(&p.id)).collect();
        self.end_processes(&session.shown(), &panes).await;
        match tmux::session::kill_session(&server, &session.tmux_id()).await {
            Ok(()) => {}
            // Without remain-on-exit it went with its last process; that is what was asked for.
            Err(e) if e.kind != Kind::TimedOut => tracing::debug!("kill-session: {e}"),
            Err(e) => return Err(e),
        }
        self.refresh().await.or_else(|e| if e.kind == Kind::Gone { Ok(()) } else { Err(e) })
    }

    pub(super) async fn end_processes(&self, name: &str, panes: &[Arc<Pane>]) {
        let (dead, alive): (Vec<_>, Vec<_>) =
            panes.iter().map(|p| p.fact(|f| (f.dead, f.pid as i32))).partition(|(dead, _)| *dead);
        let mut roots: Vec<i32> = alive.into_iter().map(|(_, pid)| pid).collect();
        roots.extend(reap::left_by(&dead.into_iter().map(|(_, pid)| pid).collect::<Vec<_>>()));
        let left = match tokio::time::timeout(STOPPED, reap::end(&roots)).await {
            Ok(left) => left,
            Err(_) => roots,
        };
        if !left.is_empty() {
            self.journal.trouble(name, &format!("processes outlived SIGKILL: {left:?}"));
        }
    }

    /// `mv`: another name within the node.
    pub async fn rename(self: &Arc<Self>, session: &Session, shown: &str) -> Result<()> {
        let name = names::new_session(shown, &self.reserved)?;
        let _one = self.reconcile.lock().await;
        if self.get(shown).is_some() {
            return fail(Kind::Exists, format!("{shown}: there is such a session"));
        }
        tmux::session::try_name(&self.server()?, &name).await?;
        tmux::session::rename(&self.server()?, &session.tmux_id(), &name).await?;
        self.refresh_locked().await
    }

    /// How a restart that nobody asked for goes on: with the talk it had, where the agent can.
    pub(super) async fn go_on(&self, session: &Session) -> Begin {
        let config = session.config();
        let can = Agent::of(&config, &self.catalogue()).is_some_and(|a| !a.manifest.resume.args.is_empty());
        // One in which nothing was said yet is nowhere.
        match session.conversation().filter(|_| can) {
            Some(id) if self.can_resume(session, &id).await.unwrap_or(true) => Begin::Resume(id),
            _ => first_begin(&config),
        }
    }

    /// The program is about to begin anew: on disk when this returns.
    async fn began(&self, session: &Session, conversation: Option<String>) -> Result<()> {
        self.records.edit(&session.record, &session.shown(), |record| {
            record.stopped = false;
            record.conversation = conversation;
        });
        self.records.settled().wait().await
    }

    /// The conversation that runs in the session from now on.
    pub(super) fn bind_conversation(&self, session: &Session, id: Option<String>) {
        if session.record.get(|r| r.conversation != id) {
            self.records.edit(&session.record, &session.shown(), |r| r.conversation = id);
        }
    }

    /// A person stopped it: on disk when this returns.
    pub(super) async fn mark_stopped(&self, session: &Session) -> Result<()> {
        if session.record.get(|r| !r.stopped) {
            self.records.edit(&session.record, &session.shown(), |r| r.stopped = true);
        }
        self.records.settled().wait().await
    }

    /// Runs the program in the main pane again, or in a new window where that is gone. Without
    /// `kill` it is Busy where tmux has the pane alive.
    pub(super) async fn spawn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        kill: bool,
        begin: &Begin,
        program: Program,
    ) -> Result<()> {
        let server = self.server()?;
        self.began(session, program.conversation.clone()).await?;
        let main = session.main();
        let (cwd, env, command) = (program.cwd.as_bytes(), &program.env, Some(program.command.as_slice()));
        if main.is_gone() {
            self.no_late_window(session).await?;
            let (pipes, mark) = (session.config().logs.then_some(&self.pipes), tmux::session::mark()?);
            let made =
                tmux::session::new_window(&server, &session.tmux_id(), &mark, cwd, env, command, pipes).await;
            let made = made.inspect_err(|e| session.may_be_late(e, mark))?;
            self.expect_tap(&made.pane, made.pipe);
            self.refresh().await?;
            let new = self.tables.read().panes.get(&made.pane).cloned();
            if let Some(new) = new {
                self.set_main(session, new);
            }
        } else {
            main.set_stopping(false);
            tmux::session::respawn(&server, &main.id, cwd, env, command, kill).await?;
            self.refresh().await?;
        }
        session.restart.send_replace(false);
        self.observer.poke(&session.main());
        self.after_start(session, begin).await;
        Ok(())
    }

    pub(super) async fn resize(&self, session: &Session, size: (u16, u16)) {
        let done = match self.server() {
            Ok(server) => tmux::session::resize(&server, &session.tmux_id(), size).await,
            Err(e) => Err(e),
        };
        if let Err(e) = done {
            session.set_last_error(e.text());
            self.journal.trouble(&session.shown(), &format!("size: {e}"));
        }
    }

    /// Our hidden session is not to keep a tmux server alive that nobody else uses.
    pub(super) async fn leave_if_last(&self) {
        let Some(server) = self.connected() else { return };
        let _one = self.reconcile.lock().await;
        let making = self.making.load(Ordering::Acquire) > 0;
        if self.count() > 0 {
            *self.stay_until.lock() = Instant::now(); // from now on its last session is its end
            return;
        }
        let early = Instant::now() < *self.stay_until.lock();
        if early || making || !tmux::snapshot(&server).await.is_ok_and(|s| s.sessions.is_empty()) {
            return;
        }
        // A server that is to live without sessions needs no leaving: we would come back at once.
        if server.stays_when_empty().await.is_ok_and(|stays| !stays) {
            server.leave().await;
        }
    }

    /// The node ends: our hidden session goes, everybody else's stay.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let left = async {
            // A client that is being attached is ended as one: cut off in the middle it would stay,
            // and a server that is told to end would wait for it for ever.
            let (rest, rested) = tokio::sync::oneshot::channel();
            let _ = self.pokes.send(engine::Event::Rest(rest)); // then nothing is being made
            let _ = rested.await;
            let server = self.server.write().take();
            if let Some(server) = server {
                server.close().await;
            }
        };
        let _ = tokio::time::timeout(CLOSED, left).await; // a hung tmux keeps the session
        if tokio::time::timeout(CLOSED, self.records.settled().wait()).await.is_err() {
            self.journal.trouble("sessions", "the disk did not take the last changes of records in time");
        }
        self.journal.log(super::Level::Info, "", "muxfs ends");
        let journal = self.journal.clone();
        let _ = tokio::time::timeout(CLOSED, tokio::task::spawn_blocking(move || journal.end())).await;
    }
}

/// What `mkdir` or `ctl new` says of a session to be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub agent: Option<&'a str>,
    pub cwd: Option<&'a str>,
    /// Settings of a session that has none yet.
    pub set: Option<&'a Values>,
    /// How its program begins where its settings do not say.
    pub begin: Option<&'a Begin>,
    /// No first prompts.
    pub skip_init: bool,
    /// What makes it; it can be taken back until the making begins.
    pub gesture: Option<&'a Gesture>,
}

/// A session about to be made.
struct New {
    shown: String,
    name: String,
    here: Option<String>,
    parent: Option<String>,
    set: Values,
    begin: Option<Begin>,
    skip_init: bool,
    maker: Option<(String, String)>,
}

/// How a program begins where nothing else was said.
pub(super) fn first_begin(config: &SessionConfig) -> Begin {
    match config.resume.as_deref() {
        None => Begin::Fresh,
        Some("latest") => Begin::Latest,
        Some(id) => Begin::Resume(id.to_owned()),
    }
}

/// The same, and without first prompts where `skip` says so.
pub(super) fn begin_again(config: &SessionConfig, skip: bool) -> Begin {
    match first_begin(config) {
        Begin::Fresh if skip => Begin::Skip,
        begin => begin,
    }
}

/// Counts the sessions that are being made.
struct Making<'a>(&'a AtomicUsize);

impl<'a> Making<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Making(count)
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
