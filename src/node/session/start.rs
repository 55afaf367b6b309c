//! Starting the node's sessions: directories, threads, tasks, watches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};

use super::records::Records;
use super::{
    Dirs, Journal, Level, NodeText, Record, Sessions, Tables, engine, env, home, observer, output, record,
    settings,
};
use crate::config::{NodeConfig, node};
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
        let (config, text, fault) = read_config(&dirs.config)?;
        let (config, login) = where_tmux_is(config).await;
        let limits = LogLimits { rotate_at: RotateAt::new(config.rotate), ..LogLimits::default() };
        let journal = Arc::new(Journal::open(&dirs.state.join("node"), &config.name, limits));
        let store = record::Store::open(dirs.state.join("sessions"))?;
        let (known, bad) = store.load();
        let (told, output_queue) = mpsc::unbounded_channel();
        let (observer, looks) = observer::Observer::new();
        let (pokes, events) = mpsc::unbounded_channel();
        let socket = Socket::parse(&config.socket);
        let sessions = Arc::new(Sessions {
            pipes: PipeHub::listen(&dirs.runtime.join("pipe"), &own)?,
            output: output::Output::start(told, observer.clone())?,
            expected: Mutex::default(),
            node_id: node_id(&dirs.state)?,
            ids: Ids::new(&secret(&dirs.state)?),
            records: Records::start(store.clone(), journal.clone())?,
            journal,
            started: SystemTime::now(),
            config: RwLock::new(Arc::new(config)),
            tables: RwLock::new(Tables::default()),
            server: RwLock::new(None),
            clients: RwLock::new(Vec::new()),
            home: home::Home::watch(&[&dirs.state, store.dir()])?,
            observer,
            moves: Arc::default(),
            pokes,
            login: tokio::sync::Mutex::new(login),
            catalogue: RwLock::default(),
            reconcile: tokio::sync::Mutex::new(()),
            looks: Mutex::default(),
            stay_until: Mutex::new(Instant::now()),
            making: AtomicUsize::new(0),
            serials: AtomicU64::new(first_serial),
            reserved,
            origins: super::origin::Origins::default(),
            runtime: tokio::runtime::Handle::current(),
            closing: AtomicBool::new(false),
            mounts: RwLock::new(Vec::new()),
            last_error: Mutex::new(None),
            saving: Mutex::new(()),
            node: Mutex::new(NodeText { text, changed: SystemTime::now(), rejected: None }),
            dirs,
            own,
        });
        let journal = &sessions.journal;
        let logs = [
            (&journal.logs.text, "logs"),
            (&journal.logs.json, "logs.json"),
            (journal.errors.log(), "errors"),
        ];
        for (log, name) in logs {
            sessions.tell_rotations(log, None, name);
        }
        sessions.load_catalogue();
        if let Some((fault, text)) = fault {
            sessions.journal.trouble("config", &format!("config: {fault}; the defaults are in force"));
            sessions.node.lock().rejected = Some(settings::Rejected::new(fault, text));
        }
        // A manifest that is gone or broken is no reason to give up all settings.
        let text = sessions.node_config().0;
        if let Err(fault) = sessions.check_agents(&text) {
            sessions.journal.trouble("config", &format!("config: {fault}"));
        }
        for e in bad {
            sessions.journal.trouble("sessions", e.text());
        }
        // A session of others is known by its id alone: its name is no claim to one of ours.
        let key = |r: &Record| if r.ours { r.name.clone() } else { r.id.clone() };
        let lost: BTreeMap<_, _> = known.into_iter().map(|r| (key(&r), r)).collect();
        sessions.tables.write().lost = lost;
        sessions.journal.log(Level::Info, "", &format!("muxfs {} starts", env!("CARGO_PKG_VERSION")));
        tokio::spawn(observer::run(Arc::downgrade(&sessions), looks));
        super::files::watch(&sessions)?;
        sessions.watch_hooks()?;
        let presence = engine::Presence::watch(&socket)?;
        let (looked, mut first_look) = oneshot::channel();
        tokio::spawn(engine::Engine::new(&sessions, events, output_queue, presence, socket).run(looked));
        // `muxfs mount DIR; cat DIR/.self/demo/status` is to find the session that was there before.
        // A slow tmux is no reason not to mount.
        let seen = tokio::time::timeout(FIRST_LOOK, &mut first_look).await.is_ok();
        let again = sessions.clone();
        tokio::spawn(async move {
            if !seen {
                let _ = first_look.await; // only an engine that ended never looks
            }
            again.autostart().await;
        });
        Ok(sessions)
    }
}

/// Where the user's login shell sets TMUX_TMPDIR, their server is elsewhere than a service, which
/// no shell started, would look: the login shell is asked before the first look then, and its
/// environment is kept. Whoever was started by a shell has the variable already.
async fn where_tmux_is(mut config: NodeConfig) -> (NodeConfig, Option<Arc<env::Env>>) {
    let set = |key| std::env::var_os(key).is_some_and(|v| !v.is_empty());
    if !config.socket.is_empty() || set("TMUX_TMPDIR") || set("SHLVL") {
        return (config, None);
    }
    let asked = tokio::time::timeout(FIRST_ASK, env::ask(&env::login_shell())).await;
    let Ok(Ok(login)) = asked else { return (config, None) };
    let dir = login.get("TMUX_TMPDIR").map(Path::new).and_then(|dir| dir.canonicalize().ok());
    if let Some(path) = dir.map(|dir| Socket::default_in(&dir)) {
        // As tmux makes it; one that cannot be made is told by the first session.
        let _ = path.parent().map(disk::make_dir);
        config.socket = path.to_string_lossy().into_owned();
    }
    (config, Some(Arc::new(login)))
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

type ReadConfig = (NodeConfig, String, Option<(muxfs_tree::base::schema::Fault, String)>);

/// The settings in the file, or the defaults with what is wrong with the file: a bad file never
/// keeps a node from starting.
fn read_config(path: &Path) -> Result<ReadConfig> {
    let env = |k: &str| std::env::var(k).ok();
    let text = disk::read(path, Links::Follow)?.unwrap_or_else(node::template);
    match NodeConfig::parse(&text, &env, &settings::hostname()) {
        Ok(config) => Ok((config, text, None)),
        Err(fault) => {
            let config = NodeConfig::parse("", &env, &settings::hostname()).map_err(|f| {
                // Only the environment can still be wrong.
                muxfs_tree::base::error::Error::new(
                    muxfs_tree::base::error::Kind::Invalid,
                    format!("settings: {}", f.text),
                )
            })?;
            Ok((config, String::new(), Some((fault, text))))
        }
    }
}
