//! Starting the node's sessions: directories, threads, tasks, watches.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::callers::Callers;
use super::connection::Connection;
use super::conversations::Conversations;
use super::home::Home;
use super::life::hook_files::HookFiles;
use super::life::{self, Life};
use super::moves::Moves;
use super::observation::Observation;
use super::observation::observer::{self, Observer};
use super::pane_logs::PaneLogs;
use super::reconcile::lost::Lost;
use super::reconcile::{self, Reconciler};
use super::records::Records;
use super::settings::login::Login;
use super::settings::{NodeFile, Settings};
use super::tables::Tables;
use super::taps::Taps;
use super::taps::output::Output;
use super::turns::Delivery;
use super::{About, Dirs, Journal, Level, Sessions, engine, env, record};
use crate::config::NodeConfig;
use crate::log::{LogLimits, RotateAt};
use muxfs_tmux::{OwnProgram, PipeHub, Socket};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::foreign::Links;
use muxfs_tree::id::Ids;

/// How long a start waits for tmux to say which sessions there are.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// And how long for a login shell, where the server's place depends on it.
const FIRST_ASK: Duration = Duration::from_secs(5);

impl Sessions {
    /// `first_serial` is the first number for a session or pane; `reserved` says which names the
    /// node's own files have. Needs a tokio runtime. Runs until it is dropped.
    pub async fn start(
        dirs: Dirs,
        own: OwnProgram,
        first_serial: u64,
        reserved: fn(&str) -> bool,
    ) -> Result<Arc<Self>> {
        disk::make_dir(&dirs.state)?;
        disk::make_dir(&dirs.runtime)?;
        let mut file = NodeFile::read(&dirs.config)?;
        let login = where_tmux_is(&mut file.config).await;
        let limits = LogLimits { rotate_at: RotateAt::new(file.config.rotate), ..LogLimits::default() };
        let journal = Arc::new(Journal::open(&dirs.state.join("node"), &file.config.name, limits));
        let store = record::Store::open(dirs.state.join("sessions"))?;
        let (known, bad) = store.load();
        let socket = Socket::parse(&file.config.socket);
        let presence = engine::Presence::watch(&socket)?;
        let (engine, requests) = mpsc::unbounded_channel();
        let (told, output_queue) = mpsc::unbounded_channel();
        let (observer, looks) = Observer::new();
        let moves: Arc<Moves> = Arc::default();
        let logs = [
            (&journal.logs.text, "logs"),
            (&journal.logs.json, "logs.json"),
            (journal.errors.log(), "errors"),
        ];
        for (log, name) in logs {
            moves.tell_rotations(log, None, name);
        }

        // From the lowest to the highest: each gets those below that it needs.
        let home = Home::watch(&[&dirs.state, store.dir()])?;
        let records = Arc::new(Records::start(store, home, journal.clone())?);
        let login = Login::new(journal.clone(), login);
        let settings =
            Settings::new(dirs.config.clone(), file, login, journal.clone(), records.clone(), moves.clone());
        let settings = Arc::new(settings);
        for e in bad {
            journal.trouble("sessions", e.text());
        }
        let hook_files = HookFiles::new(dirs.state.join("hooks"), own.path.clone());
        let pipes = PipeHub::listen(&dirs.runtime.join("pipe"), &own)?;
        let connection = Arc::new(Connection::new(socket, own, journal.clone(), engine.clone()));
        let (tables, writer) = Tables::new(moves.clone());
        let callers = Arc::new(Callers::new(tables.clone(), journal.clone()));
        let (logs, of_logs) = (dirs.state.join("logs"), settings.clone());
        let logs = Arc::new(PaneLogs::new(logs, of_logs, tables.clone(), journal.clone(), moves.clone()));
        let output = Output::start(told, observer.clone())?;
        let taps = Arc::new(Taps::new(connection.clone(), tables.clone(), observer.clone(), pipes, output));
        let lost = Arc::new(Lost::new(known));
        let observation = Arc::new(Observation::new(
            connection.clone(),
            tables.clone(),
            records.clone(),
            settings.clone(),
            journal.clone(),
            moves.clone(),
            observer,
        ));
        let conversations = Arc::new(Conversations::new(
            settings.clone(),
            records.clone(),
            tables.clone(),
            journal.clone(),
            moves.clone(),
        ));
        let turns = Arc::new(Delivery::new(
            settings.clone(),
            records.clone(),
            connection.clone(),
            callers.clone(),
            conversations.clone(),
            observation.clone(),
            journal.clone(),
            moves.clone(),
        ));
        let reconciler = Arc::new(Reconciler::new(reconcile::Parts {
            connection: connection.clone(),
            tables: tables.clone(),
            writer,
            lost: lost.clone(),
            settings: settings.clone(),
            records: records.clone(),
            taps: taps.clone(),
            observation: observation.clone(),
            turns: turns.clone(),
            logs: logs.clone(),
            journal: journal.clone(),
            moves,
            reserved,
            first_serial,
        }));
        let life = Arc::new(Life::new(life::Parts {
            settings: settings.clone(),
            records: records.clone(),
            connection: connection.clone(),
            tables: tables.clone(),
            lost,
            callers: callers.clone(),
            conversations: conversations.clone(),
            observation: observation.clone(),
            taps,
            logs,
            turns: turns.clone(),
            reconciler,
            hook_files,
            journal: journal.clone(),
            reserved,
        }));
        journal.log(Level::Info, "", &format!("muxfs {} starts", env!("CARGO_PKG_VERSION")));
        tokio::spawn(observer::run(Arc::downgrade(&observation), looks));
        super::settings::watch::watch(records.store().dir(), &dirs.config, engine)?;
        super::life::hooks::watch(&life)?;
        let (id, ids) = (node_id(&dirs.state)?, Ids::new(&secret(&dirs.state)?));
        let about = About { dirs, started: SystemTime::now(), id, ids };
        let sessions = Arc::new(Sessions {
            about,
            journal,
            records,
            settings,
            connection,
            tables,
            callers,
            conversations,
            turns,
            life,
        });
        let (looked, mut first_look) = oneshot::channel();
        tokio::spawn(engine::Engine::new(&sessions, requests, output_queue, presence).run(looked));
        // `muxfs mount DIR; cat DIR/.self/demo/status` is to find the session that was there before.
        // A slow tmux is no reason not to mount.
        let seen = tokio::time::timeout(FIRST_LOOK, &mut first_look).await.is_ok();
        let life = sessions.life.clone();
        tokio::spawn(async move {
            if !seen {
                let _ = first_look.await; // only an engine that ended never looks
            }
            life.autostart().await;
        });
        Ok(sessions)
    }
}

/// Where the user's login shell sets TMUX_TMPDIR, their server is elsewhere than a service, which
/// no shell started, would look: the login shell is asked before the first look then, and its
/// environment is kept. Whoever was started by a shell has the variable already.
async fn where_tmux_is(config: &mut NodeConfig) -> Option<Arc<env::Env>> {
    let set = |key| std::env::var_os(key).is_some_and(|v| !v.is_empty());
    if !config.socket.is_empty() || set("TMUX_TMPDIR") || set("SHLVL") {
        return None;
    }
    let asked = tokio::time::timeout(FIRST_ASK, env::ask(&env::login_shell())).await;
    let Ok(Ok(login)) = asked else { return None };
    let dir = login.get("TMUX_TMPDIR").map(Path::new).and_then(|dir| dir.canonicalize().ok());
    if let Some(path) = dir.map(|dir| Socket::default_in(&dir)) {
        // As tmux makes it; one that cannot be made is told by the first session.
        let _ = path.parent().map(disk::make_dir);
        config.socket = path.to_string_lossy().into_owned();
    }
    Some(Arc::new(login))
}

/// Made at the first start, then kept.
fn node_id(state: &Path) -> Result<String> {
    let path = state.join("node/id");
    if let Some(id) = disk::read(&path, Links::Refuse)?.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
    {
        return Ok(id);
    }
    let id = record::new_id()?;
    disk::make_dir(&state.join("node"))?;
    disk::replace(&path, format!("{id}\n").as_bytes(), Links::Refuse)?;
    Ok(id)
}

/// The key of the node's ids, made once. Whoever has it can tell which id a name has.
fn secret(state: &Path) -> Result<[u8; 16]> {
    let path = state.join("node/secret");
    let text = disk::read(&path, Links::Refuse)?.unwrap_or_default();
    let known = u128::from_str_radix(text.trim(), 16).ok().filter(|_| text.trim().len() == 32);
    if let Some(known) = known {
        return Ok(known.to_be_bytes());
    }
    let new = u128::from_be_bytes(record::random()?);
    disk::make_dir(&state.join("node"))?;
    disk::replace(&path, format!("{new:032x}\n").as_bytes(), Links::Refuse)?;
    Ok(new.to_be_bytes())
}
