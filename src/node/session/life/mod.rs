//! What there is to begin and end in sessions: their programs, processes and names.
//!
//! Must not know when that is done (`act`, `restart_policy`), nor how a session is made
//! (`make`).

pub(super) mod act;
pub(super) mod hook_files;
pub(super) mod hooks;
pub mod init_prompts;
pub(super) mod lifecycle;
pub mod make;
pub mod reap;
pub(super) mod restart_policy;

use std::sync::Arc;
use std::time::Duration;

use super::callers::Callers;
use super::connection::Connection;
use super::conversations::Conversations;
use super::observation::Observation;
use super::pane_logs::PaneLogs;
use super::program::{self, Agent, Begin, Program};
use super::reconcile::Reconciler;
use super::reconcile::lost::Lost;
use super::records::Records;
use super::settings::Settings;
use super::tables::Tables;
use super::taps::Taps;
use super::turns::Delivery;
use super::{Journal, Pane, Session};
use crate::config::SessionConfig;
use hook_files::HookFiles;
use muxfs_tmux as tmux;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::names;

/// Ending a process tree takes 5 s at most; a stuck `/proc` is not waited for.
const STOPPED: Duration = Duration::from_secs(6);

/// Begins and ends what runs in sessions.
pub struct Life {
    settings: Arc<Settings>,
    records: Arc<Records>,
    connection: Arc<Connection>,
    tables: Arc<Tables>,
    lost: Arc<Lost>,
    callers: Arc<Callers>,
    conversations: Arc<Conversations>,
    observation: Arc<Observation>,
    pub(super) taps: Arc<Taps>,
    pub logs: Arc<PaneLogs>,
    turns: Arc<Delivery>,
    pub(super) reconciler: Arc<Reconciler>,
    hook_files: HookFiles,
    journal: Arc<Journal>,
    reserved: fn(&str) -> bool,
}

/// What a [`Life`] works with.
pub(super) struct Parts {
    pub settings: Arc<Settings>,
    pub records: Arc<Records>,
    pub connection: Arc<Connection>,
    pub tables: Arc<Tables>,
    pub lost: Arc<Lost>,
    pub callers: Arc<Callers>,
    pub conversations: Arc<Conversations>,
    pub observation: Arc<Observation>,
    pub taps: Arc<Taps>,
    pub logs: Arc<PaneLogs>,
    pub turns: Arc<Delivery>,
    pub reconciler: Arc<Reconciler>,
    pub hook_files: HookFiles,
    pub journal: Arc<Journal>,
    pub reserved: fn(&str) -> bool,
}

impl Life {
    pub(super) fn new(parts: Parts) -> Self {
        Life {
            settings: parts.settings,
            records: parts.records,
            connection: parts.connection,
            tables: parts.tables,
            lost: parts.lost,
            callers: parts.callers,
            conversations: parts.conversations,
            observation: parts.observation,
            taps: parts.taps,
            logs: parts.logs,
            turns: parts.turns,
            reconciler: parts.reconciler,
            hook_files: parts.hook_files,
            journal: parts.journal,
            reserved: parts.reserved,
        }
    }

    /// Takes `body` as the session's settings, or keeps it as `config.rejected` and says why. Waits for
    /// the disk.
    pub fn save_config(&self, session: &Arc<Session>, body: &[u8]) -> Result<()> {
        if let Some(changed) = self.settings.save(session, body)? {
            self.reconciler.put_in_force(session, &changed);
        }
        Ok(())
    }

    /// The file behind the settings of the session of this id was written by somebody.
    pub(super) fn config_file_touched(&self, id: &str) {
        let Some(session) = self.tables.by_id(id) else { return };
        if let Some(changed) = self.settings.file_touched(&session) {
            self.reconciler.put_in_force(&session, &changed);
        }
    }

    /// `ctl reload`: the login shell is asked again, the settings file read again.
    pub async fn reload(self: &Arc<Self>) {
        self.settings.forget_login().await;
        self.settings.load_catalogue();
        self.settings.read_again();
        for session in self.tables.all() {
            self.observation.bind_agent(&session);
        }
    }

    /// Every process of the session, then the session itself. Windows that other sessions show
    /// too live on.
    pub(super) async fn end_session(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let server = self.connection.server()?;
        self.reconciler.refresh().await?; // a window linked into another session a moment ago is spared too
        let elsewhere: Vec<String> = self
            .tables
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
        self.reconciler.refresh().await.or_else(|e| if e.kind == Kind::Gone { Ok(()) } else { Err(e) })
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
        let looks = &mut *self.reconciler.lock().await;
        if self.tables.get(shown).is_some() {
            return fail(Kind::Exists, format!("{shown}: there is such a session"));
        }
        tmux::session::try_name(&self.connection.server()?, &name).await?;
        tmux::session::rename(&self.connection.server()?, &session.tmux_id(), &name).await?;
        self.reconciler.refresh_locked(looks).await
    }

    /// How a restart that nobody asked for goes on: with the conversation it had, where the agent can.
    pub(super) async fn go_on(&self, session: &Session) -> Begin {
        let config = session.config();
        let can = Agent::of(&config, &self.settings.catalogue())
            .is_some_and(|a| !a.manifest.resume.args.is_empty());
        // An agent saves a conversation with its first message: an empty one cannot be resumed.
        match session.conversation().filter(|_| can) {
            Some(id) if self.conversations.can_resume(session, &id).await.unwrap_or(true) => {
                Begin::Resume(id)
            }
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

    /// A person stopped it: on disk when this returns.
    pub(super) async fn mark_stopped(&self, session: &Session) -> Result<()> {
        if session.record.get(|r| !r.stopped) {
            self.records.edit(&session.record, &session.shown(), |r| r.stopped = true);
        }
        self.records.settled().wait().await
    }

    /// What a session that is here would be started with.
    pub(super) async fn program_of(&self, session: &Session, begin: &Begin) -> Result<Program> {
        let config = session.config();
        let login = self.settings.login_env_for(&config).await;
        let here = (session.id.as_str(), session.cwd());
        program::program(&self.settings, &self.hook_files, (&config, &login), here, begin).await
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
        let server = self.connection.server()?;
        self.began(session, program.conversation.clone()).await?;
        let main = session.main();
        let (cwd, env, command) = (program.cwd.as_bytes(), &program.env, Some(program.command.as_slice()));
        if main.is_gone() {
            self.no_late_window(session).await?;
            let (pipes, mark) = (session.config().logs.then_some(self.taps.pipes()), tmux::session::mark()?);
            let made =
                tmux::session::new_window(&server, &session.tmux_id(), &mark, cwd, env, command, pipes).await;
            let made = made.inspect_err(|e| session.may_be_late(e, mark))?;
            self.taps.expect(&made.pane, made.pipe);
            self.reconciler.refresh().await?;
            let new = self.tables.pane(&made.pane);
            if let Some(new) = new {
                self.reconciler.set_main(session, new);
            }
        } else {
            main.set_stopping(false);
            tmux::session::respawn(&server, &main.id, cwd, env, command, kill).await?;
            self.reconciler.refresh().await?;
        }
        session.restart.send_replace(false);
        self.observation.poke(&session.main());
        self.after_start(session, begin).await;
        Ok(())
    }

    /// A window that an earlier start did not wait for may be there by now.
    async fn no_late_window(&self, session: &Session) -> Result<()> {
        if session.late_window().is_some() {
            self.reconciler.refresh().await?;
            session.forget_late_window();
        }
        if session.main().is_gone() {
            Ok(())
        } else {
            fail(Kind::Busy, format!("{}: it runs", session.shown()))
        }
    }
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
