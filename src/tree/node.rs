//! A node: a tree of sessions, and what is known of them without asking for each file.
//!
//! Who keeps a copy of a node elsewhere follows its [`Feed`]: a snapshot first, then what changes, each
//! update with its [`Position`]. Pure but for the trait. Must not know what a session is made of.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Change, Position, Shape, Tree};
use crate::base::error::{Kind, Result};

/// A tree with sessions. Its root is always known: [`Tree::stat`] of it is never `Unknown`.
pub trait Node: Tree {
    /// From memory.
    fn about(&self) -> NodeInfo;

    /// Every session, by name; from memory.
    fn sessions(&self) -> Vec<SessionInfo>;

    /// The session that is called `name`; from memory.
    fn session(&self, name: &str) -> Option<SessionInfo>;

    /// A snapshot, then what changes. Needs a tokio runtime.
    fn feed(&self) -> Box<dyn Feed>;
}

/// What [`Node::feed`] gives, in the order of positions.
#[async_trait]
pub trait Feed: Send {
    /// The next update; `None` when the node ends. A follower that lags gets a snapshot. A call that is
    /// dropped loses nothing.
    async fn next(&mut self) -> Result<Option<Update>>;
}

#[derive(Debug, Clone)]
pub enum Update {
    /// All that is known: it replaces what a follower had before.
    Snapshot { at: Position, all: Box<Snapshot> },
    /// A session came, has another name, or is otherwise not as it was.
    Session { at: Position, session: Box<SessionInfo> },
    /// The session of this id is gone.
    Gone { at: Position, id: u64 },
    /// Something below a session changed that no [`SessionInfo`] has, or of the node itself.
    Changed { at: Position, change: Change },
    /// All that changed up to here was reported: only this, or a snapshot, means that a receipt's position
    /// is reached.
    Reached { at: Position },
}

/// A node as it was at one position.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub files: Vec<FileInfo>,
    pub node: NodeInfo,
    pub sessions: Vec<SessionInfo>,
}

impl Update {
    pub fn at(&self) -> Position {
        match self {
            Update::Snapshot { at, .. }
            | Update::Session { at, .. }
            | Update::Gone { at, .. }
            | Update::Changed { at, .. }
            | Update::Reached { at } => *at,
        }
    }
}

/// Whether a node can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    Online,
    Connecting,
    Disconnected,
    Offline,
    Refused,
}

impl Link {
    pub fn word(self) -> &'static str {
        match self {
            Link::Online => "online",
            Link::Connecting => "connecting",
            Link::Disconnected => "disconnected",
            Link::Offline => "offline",
            Link::Refused => "refused",
        }
    }
}

/// A node in one line.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// The node's own id, for good.
    pub id: String,
    pub name: String,
    pub link: Link,
    /// Since when `link` is as it is.
    pub since: SystemTime,
    /// When it was last heard of.
    pub last_seen: SystemTime,
    /// How it is reached: `local`, or a transport.
    pub via: String,
    /// Why it cannot be asked; empty where it can.
    pub why: String,
    pub version: String,
    pub sessions: usize,
    pub machine: Machine,
}

/// The machine that a node is on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Machine {
    pub os: String,
    pub arch: String,
    pub cores: usize,
    /// The load average of the last minute; none where the system does not say.
    pub load: Option<f64>,
    /// Bytes; none where the system does not say.
    pub memory: Option<u64>,
    pub memory_free: Option<u64>,
    /// Keys of the catalogue whose programs are installed.
    pub agents: Vec<String>,
}

/// A file that every session has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// As a person names it: `<node>/<session>/queue`.
    pub dir: String,
    pub name: String,
    pub shape: Shape,
    pub mode: u32,
}

/// A session in one line.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// The id of its directory.
    pub id: u64,
    pub name: String,
    /// A key of the catalogue, or `shell`; none where nobody knows.
    pub agent: Option<String>,
    /// A word of the closed set, and the same with its details: `exited`, `exited 1`.
    pub state: &'static str,
    pub detail: String,
    /// How long the state has lasted. It is an age, because another machine's clock may be off.
    pub age: Duration,
    /// Prompts that wait.
    pub queue: usize,
    pub cwd: String,
    /// What its files of the main pane belong to.
    pub main: u64,
    /// The logs, by name: id and bytes.
    pub logs: Vec<(String, u64, u64)>,
    /// The documents, by name: bytes and time of the last change.
    pub documents: Vec<(String, u64, SystemTime)>,
    /// Files whose writers would be refused now, and why.
    pub refuses: Vec<(String, Kind, String)>,
    /// Bits and groups that somebody set, by path below the session.
    pub modes: Vec<(String, Option<u32>, Option<u32>)>,
}

impl SessionInfo {
    /// Whether nothing that came since `before` is worth an update. Ages grow by themselves, and a log is
    /// asked for its size.
    pub fn says_the_same_as(&self, before: &SessionInfo) -> bool {
        let bare = |info: &SessionInfo| SessionInfo {
            age: Duration::ZERO,
            logs: info.logs.iter().map(|(name, id, _)| (name.clone(), *id, 0)).collect(),
            ..info.clone()
        };
        // A state that came again began anew.
        self.age >= before.age && bare(self) == bare(before)
    }
}
