//! The node and its sessions, each as one row of a feed ([`Node`](muxfs_tree::node::Node)). From memory alone.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::dir::{self, Directory, What};
use super::subject::{NodeAt, SessionAt};
use super::text;
use muxfs_agent::installed::Found;
use muxfs_tree::id::Ids;
use muxfs_tree::node::{Link, Machine, NodeInfo, SessionInfo};
use muxfs_tree::{Access, Shape};

/// What is installed is looked up again after this, when somebody asks.
const INSTALLED: Duration = Duration::from_secs(60);

/// The agents that are installed: the disk knows, and is asked in the background.
pub struct Installed {
    state: Mutex<State>,
    /// A listing may run on a thread that is none of the runtime's.
    runtime: Handle,
}

#[derive(Default)]
struct State {
    keys: Vec<String>,
    asked: Option<Instant>,
}

impl Installed {
    /// Needs a tokio runtime.
    pub fn new() -> Self {
        Installed { state: Mutex::default(), runtime: Handle::current() }
    }

    /// What was found last.
    fn keys(self: &Arc<Self>, n: &NodeAt) -> Vec<String> {
        let mut state = self.state.lock();
        if state.asked.is_none_or(|at| at.elapsed() >= INSTALLED) {
            state.asked = Some(Instant::now());
            let (me, n) = (self.clone(), n.clone());
            drop(self.runtime.spawn(async move {
                if let Ok(keys) = text::catalogue(n, keys).await {
                    me.state.lock().keys = keys;
                }
            }));
        }
        state.keys.clone()
    }
}

fn keys(found: &[Found<'_>]) -> Vec<String> {
    found.iter().filter(|f| f.program().is_some()).map(|f| f.key().to_owned()).collect()
}

pub fn node(n: &NodeAt, installed: &Arc<Installed>) -> NodeInfo {
    let s = &n.sessions;
    NodeInfo {
        id: s.about.id.clone(),
        name: s.journal.node().to_owned(),
        link: Link::Online,
        since: s.about.started,
        last_seen: SystemTime::now(),
        via: "local".into(),
        why: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        sessions: s.tables.count(),
        machine: machine(installed.keys(n)),
    }
}

fn machine(agents: Vec<String>) -> Machine {
    // Text that the kernel makes: no disk is waited for.
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    };
    Machine {
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        load: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        memory: bytes("MemTotal:"),
        memory_free: bytes("MemAvailable:"),
        agents,
    }
}

/// `found` is the session's directory.
pub fn session(s: &SessionAt, found: &dir::Found, ids: &Ids) -> SessionInfo {
    let pane = s.session.main();
    let seen = pane.seen();
    let mut info = SessionInfo {
        id: found.id,
        name: s.session.shown(),
        agent: text::agent(&pane),
        state: seen.state.word(),
        detail: seen.state.to_string(),
        age: seen.held.elapsed(),
        queue: text::queued(&s.session, &pane),
        cwd: pane.fact(|facts| facts.cwd.clone()),
        main: s.main_id(ids),
        logs: Vec::new(),
        documents: Vec::new(),
        refuses: Vec::new(),
        modes: s.session.all_modes(),
    };
    if let What::Dir(dir) = &found.what {
        files(&**dir, ids, &mut info);
    }
    info
}

/// What a copy cannot know of a session's files by their table.
fn files(dir: &dyn Directory, ids: &Ids, to: &mut SessionInfo) {
    for name in dir.file_names() {
        let Some(dir::Found { id, what: What::File(file), .. }) = dir.find(ids, &name) else { continue };
        match file.shape() {
            Shape::Log | Shape::Append => to.logs.push((name.clone(), id, file.size())),
            Shape::Document => {
                to.documents.push((
                    name.clone(),
                    file.size(),
                    file.mtime().unwrap_or(SystemTime::UNIX_EPOCH),
                ));
            }
            _ => {}
        }
        if let Err(why) = file.admit(Access::Write) {
            to.refuses.push((name, why.kind, why.text().to_owned()));
        }
    }
}
