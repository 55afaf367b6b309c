//! Sessions of one tmux server: their life, panes, messages, output and records.
//!
//! Knows tmux (through `muxfs_tmux`), settings and logs. Does not know paths of the tree, doors
//! or kernels: `node` gives what is here its file names.
//!
//! Lock order: `Sessions::reconcile` (held across tmux calls), then `Sessions::tables`, then the
//! leaves of a session or pane; `saving` comes before all leaves. No leaf lock is held across a wait.

mod act;
pub mod answer;
pub mod audit;
pub mod capture;
pub mod engine;
pub mod env;
pub mod events;
pub mod eyes;
mod files;
pub mod first;
pub mod history;
mod home;
mod hooks;
pub mod input;
pub mod journal;
mod keep;
mod late;
pub mod life;
mod lifecycle;
pub mod limit;
mod login;
mod look;
pub mod message;
pub mod moves;
pub mod observer;
mod origin;
pub mod output;
mod pace;
pub mod pane;
pub mod picture;
pub mod program;
pub mod reap;
pub mod reconcile;
pub mod record;
pub mod records;
mod ring;
pub mod screen_log;
pub mod settings;
pub mod shell;
pub mod start;
pub mod state;
mod sweep;
pub mod tap;
pub mod turns;
pub mod wait;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Instant, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, mpsc, watch};

use crate::config::{NodeConfig, SessionConfig};
use crate::log::{LogFile, LogLimits};
use muxfs_agent::catalogue::Catalogue;
use muxfs_tmux::{ClientInfo, OwnProgram, PipeHub, Server};
use muxfs_tree::Position;
use muxfs_tree::base::error::{Error, Kind, Result};
use muxfs_tree::id::Ids;

pub use journal::{Journal, Level};
pub use moves::Moved;
pub use pane::{Pane, Tap};
pub use record::{ModeSet, Record};
pub use state::{Evidence, Seen, State};
use turns::Turns;

/// Where a node keeps what it keeps.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub state: PathBuf,
    pub runtime: PathBuf,
    /// The node's settings file.
    pub config: PathBuf,
}

pub struct Session {
    pub serial: u64,
    /// The record's id.
    pub id: String,
    pub ours: bool,
    pub made: SystemTime,
    face: RwLock<Face>,
    /// The pane that the session's own files act on.
    main: watch::Sender<Arc<Pane>>,
    pub record: Arc<records::Kept>,
    config: RwLock<Arc<SessionConfig>>,
    rejected: Mutex<Option<settings::Rejected>>,
    /// Held from the look at the settings' file to the end of a change, so that a save and the
    /// notice of an earlier one are never taken for a hand edit.
    saving: Mutex<()>,
    /// A saved config waits for the program to be ready.
    restart: watch::Sender<bool>,
    ended: watch::Sender<bool>,
    last_error: Mutex<Option<String>>,
    pub turns: Turns,
    pub history: history::History,
    backoff: Mutex<lifecycle::Backoff>,
    /// The mark of a window for its main pane that tmux may have opened, though it did not say so.
    late_window: Mutex<Option<String>>,
    /// Written by a start, stop or restart, one at a time; read while something is typed, so that
    /// no message goes to a program that is being ended.
    life: tokio::sync::RwLock<()>,
}

/// What tmux says of a session now.
#[derive(Clone, Default)]
struct Face {
    tmux_id: String,
    name: String,
    shown: String,
    attached: u32,
    /// `WINDOW.PANE` and the pane, in tmux's order.
    panes: Vec<(String, Arc<Pane>)>,
}

impl Session {
    /// The name as a path shows it.
    pub fn shown(&self) -> String {
        self.face.read().shown.clone()
    }

    /// The name as tmux has it.
    pub fn name(&self) -> String {
        self.face.read().name.clone()
    }

    /// Whether one of its panes is that of this serial.
    fn has_pane(&self, serial: u64) -> bool {
        self.face.read().panes.iter().any(|(_, pane)| pane.serial == serial)
    }

    pub fn tmux_id(&self) -> String {
        self.face.read().tmux_id.clone()
    }

    /// Clients of people (not ours) that are attached.
    pub fn attached(&self) -> u32 {
        self.face.read().attached
    }

    pub fn panes(&self) -> Vec<(String, Arc<Pane>)> {
        self.face.read().panes.clone()
    }

    /// The pane called `WINDOW.PANE`.
    pub fn pane(&self, name: &str) -> Option<Arc<Pane>> {
        self.face.read().panes.iter().find(|(n, _)| n == name).map(|(_, p)| p.clone())
    }

    pub fn main(&self) -> Arc<Pane> {
        self.main.borrow().clone()
    }

    pub fn config(&self) -> Arc<SessionConfig> {
        self.config.read().clone()
    }

    /// The settings' text, and when it last changed.
    pub fn config_text(&self) -> (String, SystemTime) {
        self.record.get(|r| (r.config.clone(), record::from_millis(r.changed)))
    }

    /// The agent's own id of the conversation that runs here, as far as it is known.
    pub fn conversation(&self) -> Option<String> {
        self.record.get(|r| r.conversation.clone())
    }

    /// Where its maker stood.
    fn cwd(&self) -> Option<String> {
        self.record.get(|r| r.cwd.clone())
    }

    /// The id of the session in which this one was made.
    pub fn parent(&self) -> Option<String> {
        self.record.get(|r| r.parent.clone())
    }

    /// Bytes of the settings' text.
    pub fn config_len(&self) -> u64 {
        self.record.get(|r| r.config.len() as u64)
    }

    pub fn config_changed(&self) -> SystemTime {
        self.record.get(|r| record::from_millis(r.changed))
    }

    /// Why the last save was refused, and its text.
    pub fn rejected(&self) -> Option<settings::Rejected> {
        self.rejected.lock().clone()
    }

    pub fn pending_restart(&self) -> bool {
        *self.restart.borrow()
    }

    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub fn set_last_error(&self, text: &str) {
        *self.last_error.lock() = Some(text.to_owned());
    }

    pub fn modes(&self, file: &str) -> ModeSet {
        self.record.get(|r| r.modes.get(file).copied()).unwrap_or_default()
    }

    /// Bits and groups that somebody set, by path below the session.
    pub fn all_modes(&self) -> Vec<(String, Option<u32>, Option<u32>)> {
        self.record.get(|r| r.modes.iter().map(|(path, set)| (path.clone(), set.mode, set.gid)).collect())
    }

    pub fn is_over(&self) -> bool {
        *self.ended.borrow()
    }
}

/// Everything about one tmux server's sessions.
pub struct Sessions {
    pub dirs: Dirs,
    pub own: OwnProgram,
    pub journal: Arc<Journal>,
    pub started: SystemTime,
    /// Of this machine's node, for good: a name may change.
    pub node_id: String,
    /// Makes the ids of all that the node shows.
    pub ids: Ids,
    config: RwLock<Arc<NodeConfig>>,
    tables: RwLock<Tables>,
    server: RwLock<Option<Server>>,
    clients: RwLock<Vec<ClientInfo>>,
    pub records: records::Records,
    home: home::Home,
    pipes: PipeHub,
    /// Pipes that came before their panes, by tmux pane id.
    expected: Mutex<HashMap<String, std::os::fd::OwnedFd>>,
    output: output::Output,
    observer: observer::Observer,
    moves: Arc<moves::Moves>,
    pokes: mpsc::UnboundedSender<engine::Event>,
    login: tokio::sync::Mutex<Option<Arc<env::Env>>>,
    catalogue: RwLock<Arc<Catalogue>>,
    /// One refresh of the tables at a time; also held while a session is made or renamed.
    reconcile: tokio::sync::Mutex<()>,
    looks: Mutex<look::Looks>,
    /// Until when a server without sessions is not left: who started it may be about to make one.
    stay_until: Mutex<Instant>,
    /// Sessions being made.
    making: AtomicUsize,
    serials: AtomicU64,
    reserved: fn(&str) -> bool,
    /// Where callers' processes sit.
    origins: origin::Origins,
    /// Directories that are mounts of ours: no session starts in one of them by itself.
    mounts: RwLock<Vec<PathBuf>>,
    /// What the last failure to reach tmux was.
    last_error: Mutex<Option<String>>,
    node: Mutex<NodeText>,
    /// For what a listing sets off: it may run on a thread that is none of the runtime's.
    runtime: tokio::runtime::Handle,
    /// The node ends: what leaves tmux now does not come back.
    closing: AtomicBool,
    /// As [`Session::saving`], for the node's settings.
    saving: Mutex<()>,
}

/// The node's settings file as it was last read.
struct NodeText {
    text: String,
    changed: SystemTime,
    rejected: Option<settings::Rejected>,
}

#[derive(Default)]
struct Tables {
    /// By the name a path shows.
    sessions: BTreeMap<String, Arc<Session>>,
    /// By tmux pane id.
    panes: HashMap<String, Arc<Pane>>,
    /// Records of sessions made here that tmux has lost, by tmux name.
    lost: BTreeMap<String, Record>,
    /// Records of sessions that tmux was told to make, but whose making it has not told: the next
    /// look at tmux says whether they are there.
    unfinished: Vec<Record>,
}

impl Sessions {
    pub fn config(&self) -> Arc<NodeConfig> {
        self.config.read().clone()
    }

    pub fn get(&self, shown: &str) -> Option<Arc<Session>> {
        self.tables.read().sessions.get(shown).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Session>> {
        self.tables.read().sessions.values().cloned().collect()
    }

    /// The session that a gesture made, whatever it is called by now.
    pub fn made_by(&self, maker: &(String, String)) -> Option<Arc<Session>> {
        self.all().into_iter().find(|session| session.record.get(|r| r.maker.as_ref() == Some(maker)))
    }

    /// Where the tmux server's socket is, or would be.
    pub fn socket_path(&self) -> PathBuf {
        muxfs_tmux::Socket::parse(&self.config().socket).path()
    }

    pub fn count(&self) -> usize {
        self.tables.read().sessions.len()
    }

    /// Names that a listing may hold from now on no longer, or newly, each with its number.
    pub fn moves(&self) -> broadcast::Receiver<(u64, Moved)> {
        self.moves.listen()
    }

    /// Of the last move.
    pub fn position(&self) -> Position {
        self.moves.position()
    }

    /// The tmux server, or ENXIO where none runs.
    pub fn server(&self) -> Result<Server> {
        let server = self.server.read().clone();
        server.ok_or_else(|| Error::new(Kind::Gone, "no tmux server runs"))
    }

    pub fn connected(&self) -> Option<Server> {
        self.server.read().clone()
    }

    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    /// Keeps sessions from starting inside `dir`, a mount of this process: it must never wait on
    /// itself.
    pub fn avoid(&self, dir: PathBuf) {
        self.mounts.write().push(dir);
    }

    /// Does `work` in the runtime, for a thread that may be none of its own.
    pub fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(work));
    }

    fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    fn limits(&self) -> LogLimits {
        LogLimits { rotate_at: self.journal.rotate_at.clone(), ..LogLimits::default() }
    }

    /// Tells of every rotation of `log`, `name` of a pane (by its serial) or of the node.
    fn tell_rotations(&self, log: &LogFile, pane: Option<u64>, name: &'static str) {
        let moves = self.moves.clone();
        log.on_new_inode(move || moves.tell(Moved::Log { pane, name }));
    }

    pub fn tell_moved(&self, moved: Moved) {
        self.moves.tell(moved);
    }
}
