//! The root of a mount: what stands beside the nodes' directories. The union of trees puts both
//! together.
//!
//! Knows the nodes by what each says of itself and its sessions, wherever it is.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::logs;
use super::modes::NodeModes;
use crate::log::{column, free_text};
use crate::session::journal::Refusals;
use crate::session::{Sessions, State};
use muxfs_tree::base::clock::rfc3339;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::node::{NodeInfo, SessionInfo, Update};
use muxfs_tree::nodes::{Nodes, Told};
use muxfs_tree::{
    Accepts, Access, Caller, Change, Entry, Follow, Gesture, Intent, Log, Place, Receipt, Shape, Stat, Tree,
    TreePath, Until,
};

const INBOX: &str = ".inbox";
/// Names that changed, for a door that is slow.
const CHANGES: usize = 256;
/// What `.nodes` and `.nodes.json` take at most for a node, in bytes: their texts are made when read.
const NODE_LINE: u64 = 4096;

/// The key of the root's own bits in [`NodeModes`].
const ROOT: &str = "/";

/// A row of the root: name, mode, what it is, what it gives.
pub struct RootRow {
    pub name: &'static str,
    pub mode: u32,
    pub about: &'static str,
    gives: Gives,
}

enum Gives {
    /// The link to this machine's node.
    OwnNode,
    Help,
    Nodes(fn(&[(String, NodeInfo)]) -> String),
    Errors {
        rotated: bool,
    },
    Inbox,
}

impl RootRow {
    pub fn shape(&self) -> Shape {
        match self.gives {
            Gives::OwnNode => Shape::Link,
            Gives::Help | Gives::Nodes(_) => Shape::View,
            Gives::Errors { .. } => Shape::Log,
            Gives::Inbox => Shape::Dir(Accepts::Nothing),
        }
    }
}

pub static ROWS: &[RootRow] = &[
    RootRow { name: ".self", mode: 0o777, about: "Link to this machine's directory.", gives: Gives::OwnNode },
    RootRow {
        name: ".nodes",
        mode: 0o400,
        about: "Every node that this mount knows, one a line: name, state, since, last_seen, via, version, sessions, why.",
        gives: Gives::Nodes(table),
    },
    RootRow {
        name: ".nodes.json",
        mode: 0o400,
        about: "The same as JSON, with os, arch, cores, load, memory and the agents installed.",
        gives: Gives::Nodes(as_json),
    },
    RootRow {
        name: ".errors",
        mode: 0o400,
        about: "What this mount itself refused, gave up on or does not know the fate of, for any node.",
        gives: Gives::Errors { rotated: false },
    },
    RootRow { name: ".help", mode: 0o444, about: "How to use the tree, with examples.", gives: Gives::Help },
    RootRow {
        name: INBOX,
        mode: 0o500,
        about: "A link to each session that asks something, NODE.SESSION: cat .inbox/*/question",
        gives: Gives::Inbox,
    },
];

/// `.errors` before its last rotation. Not listed while there is none.
static ROTATED: RootRow =
    RootRow { name: ".errors.1", mode: 0o400, about: "", gives: Gives::Errors { rotated: true } };

pub struct Root {
    node: String,
    help: Bytes,
    modes: Arc<NodeModes>,
    started: SystemTime,
    nodes: Arc<Nodes>,
    errors: Refusals,
    /// Keeps the root's own bits, and makes its ids.
    sessions: Arc<Sessions>,
    changes: broadcast::Sender<Change>,
}

impl Root {
    /// `node` is this machine's name; `help` is the text of `.help`; `errors` takes what is refused here.
    /// Needs a tokio runtime: it reports changes of the inbox until `nodes` is dropped.
    pub fn new(
        node: &str,
        help: String,
        modes: Arc<NodeModes>,
        nodes: Arc<Nodes>,
        errors: Refusals,
        sessions: Arc<Sessions>,
    ) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        tokio::spawn(report_inbox(Arc::downgrade(&nodes), nodes.sessions(), changes.clone()));
        let rotations = changes.clone();
        errors.log().on_new_inode(move || {
            for row in [".errors", ROTATED.name] {
                // An error means that nobody listens.
                let _ = rotations.send(Change::Name { dir: TreePath::root(), name: row.to_owned() });
            }
        });
        Arc::new(Root {
            node: node.to_owned(),
            help: help.into(),
            modes,
            started: SystemTime::now(),
            nodes,
            errors,
            sessions,
            changes,
        })
    }

    fn text(&self, row: &RootRow) -> Result<Bytes> {
        match row.gives {
            Gives::OwnNode => Ok(self.node.clone().into()),
            Gives::Help => Ok(self.help.clone()),
            Gives::Nodes(print) => {
                let all = self.nodes.all().into_iter();
                let all: Vec<_> = all.map(|(name, node)| (name, node.about())).collect();
                Ok(print(&all).into())
            }
            Gives::Errors { .. } | Gives::Inbox => {
                fail(Kind::Denied, format!("{}: not read as a whole", row.name))
            }
        }
    }

    fn row(&self, at: &TreePath) -> Result<&'static RootRow> {
        match ROWS.iter().chain([&ROTATED]).find(|r| r.name == at.as_str()) {
            Some(found) => Ok(found),
            None => fail(Kind::NotFound, format!("{at}: no such node or file")),
        }
    }

    fn log(&self, row: &RootRow) -> Result<Option<logs::Inode>> {
        let Gives::Errors { rotated } = row.gives else { return Ok(None) };
        let file = self.errors.log();
        let inode = if rotated { file.rotated() } else { Some(file.current()) };
        match inode {
            Some(inode) => Ok(Some(logs::Inode::new(inode, &self.sessions.about.ids))),
            None => fail(Kind::NotFound, format!("{}: no such file", row.name)),
        }
    }

    /// The session that `node.session` in the inbox leads to, and where.
    fn asking(&self, name: &str) -> Result<(SessionInfo, Bytes)> {
        let found = name.split_once('.').and_then(|(node, session)| {
            let info = self.nodes.get(node)?.session(session).filter(asks)?;
            Some((info, target(node, session)))
        });
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("{name}: asks nothing")))
    }

    fn never<T>(&self, at: &TreePath) -> Result<T> {
        fail(Kind::Never, format!("{at}: the root holds the nodes and nothing else"))
    }

    fn stat_row(&self, row: &'static RootRow) -> Result<Stat> {
        let (uid, gid) = own();
        let id = self.sessions.about.ids.of(&["root", row.name]);
        let mut stat =
            Stat { shape: row.shape(), id, mode: row.mode, uid, gid, size: 0, mtime: self.started };
        match row.gives {
            Gives::OwnNode => stat.size = self.node.len() as u64,
            Gives::Errors { .. } => {
                if let Some(log) = self.log(row)? {
                    (stat.id, stat.size) = (log.id(), log.size());
                    stat.mtime = log.changed_at().unwrap_or(self.started);
                }
            }
            Gives::Help | Gives::Nodes(_) | Gives::Inbox => {}
        }
        Ok(stat)
    }
}

/// `.nodes`: fixed columns for people, single fields for `awk`.
fn table(nodes: &[(String, NodeInfo)]) -> String {
    let mut out = String::new();
    for (name, n) in nodes {
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "{:<24} {:<12} {} {} {:<10} {:<10} {:>5} {}",
            column(name),
            n.link.word(),
            rfc3339(n.since),
            rfc3339(n.last_seen),
            column(&n.via),
            column(&n.version),
            n.sessions,
            if n.why.is_empty() { "-".into() } else { free_text(&n.why) }
        );
    }
    out
}

/// `.nodes.json`: an array.
fn as_json(nodes: &[(String, NodeInfo)]) -> String {
    let one = |(name, n): &(String, NodeInfo)| {
        let m = &n.machine;
        json!({
            "name": name, "id": n.id, "state": n.link, "since": rfc3339(n.since),
            "last_seen": rfc3339(n.last_seen), "via": n.via, "version": n.version, "sessions": n.sessions,
            "why": n.why, "os": m.os, "arch": m.arch, "cores": m.cores, "load": m.load,
            "memory": m.memory, "memory_free": m.memory_free, "agents": m.agents,
        })
    };
    format!("{}\n", Value::Array(nodes.iter().map(one).collect()))
}

fn own() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

fn target(node: &str, session: &str) -> Bytes {
    format!("../{node}/{session}").into()
}

#[async_trait]
impl Tree for Root {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        let ids = &self.sessions.about.ids;
        let (uid, gid) = own();
        if at.is_root() {
            let set = self.modes.get(ROOT);
            let (mode, gid) = (set.mode.unwrap_or(0o700), set.gid.unwrap_or(gid));
            let (shape, id) = (Shape::Dir(Accepts::Nothing), ids.of(&["root"]));
            return Ok(Stat { shape, id, mode, uid, gid, size: 0, mtime: self.started });
        }
        if let Some(name) = at.strip(&inbox()).filter(|n| !n.is_root()) {
            let (session, target) = self.asking(name.as_str())?;
            let (id, size) = (ids.below(session.id, INBOX), target.len() as u64);
            return Ok(Stat { shape: Shape::Link, id, mode: 0o777, uid, gid, size, mtime: self.started });
        }
        self.stat_row(self.row(at)?)
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        let stat = self.stat(at)?;
        if stat.shape != Shape::View {
            return Ok(stat.size);
        }
        match self.row(at)?.gives {
            Gives::Nodes(_) => Ok((self.nodes.all().len() as u64 + 1) * NODE_LINE),
            _ => Ok(self.text(self.row(at)?)?.len() as u64),
        }
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        if *at == inbox() {
            let mut all = Vec::new();
            for (node, tree) in self.nodes.all() {
                let asking = tree.sessions().into_iter().filter(asks);
                // One that was answered meanwhile is left out.
                all.extend(asking.filter_map(|session| {
                    let name = format!("{node}.{}", session.name);
                    Some(Entry { stat: self.stat(&at.join(&name)).ok()?, name })
                }));
            }
            return Ok(all);
        }
        if !at.is_root() {
            return fail(Kind::NotDir, format!("{at} is no directory"));
        }
        let entry = |r: &'static RootRow| {
            Some(Entry { name: r.name.into(), stat: self.stat_row(r).ok()? }) // a log that never rotated
        };
        Ok(ROWS.iter().chain([&ROTATED]).filter_map(entry).collect())
    }

    async fn look(&self, _: &TreePath) -> Result<()> {
        Ok(())
    }

    fn admit(&self, who: &Caller, intent: Intent<'_>) -> Result<()> {
        let (at, access) = match intent {
            Intent::Open(at, access) => (at, access),
            Intent::Make(at) => return self.never(at),
        };
        let stat = self.stat(at.path)?;
        if at.id.is_some_and(|id| id != stat.id) {
            return fail(Kind::Gone, format!("{}: what was opened is gone", at.path));
        }
        // A link is followed by whoever may see it.
        if access.writes() || stat.shape != Shape::Link && !who.may(&stat, access) {
            return fail(Kind::Denied, format!("{}: for reading only", at.path));
        }
        Ok(())
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        self.admit(who, Intent::Open(at, Access::Read))?;
        if let Some(name) = at.path.strip(&inbox()).filter(|n| !n.is_root()) {
            return Ok(self.asking(name.as_str())?.1);
        }
        self.text(self.row(at.path)?)
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        self.admit(who, Intent::Open(at, Access::Read))?;
        match self.log(self.row(at.path)?)? {
            Some(log) => Ok(Follow::Log(Arc::new(log))),
            None => fail(Kind::Denied, format!("{}: nothing to follow", at.path)),
        }
    }

    async fn write(&self, _: &Gesture, at: Place<'_>, _: Bytes, _: Until) -> Result<Receipt> {
        fail(Kind::Denied, format!("{}: for reading only", at.path))
    }

    async fn ask(&self, _: &Gesture, at: Place<'_>, _: Bytes) -> Result<(Bytes, Receipt)> {
        fail(Kind::Denied, format!("{}: answers nothing", at.path))
    }

    async fn make(&self, _: &Gesture, at: &TreePath, _: Option<Bytes>, _: Until) -> Result<(Stat, Receipt)> {
        self.never(at)
    }

    async fn remove(&self, _: &Gesture, at: Place<'_>) -> Result<Receipt> {
        self.never(at.path)
    }

    async fn rename(&self, _: &Gesture, from: Place<'_>, _: &TreePath) -> Result<Receipt> {
        self.never(from.path)
    }

    async fn set_mode(
        &self,
        gesture: &Gesture,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Receipt> {
        if !at.path.is_root() {
            return self.never(at.path);
        }
        gesture.may_begin()?;
        if ![own().0, 0].contains(&gesture.who.uid()) {
            return fail(Kind::Denied, "the root is not yours");
        }
        self.modes.set(&self.sessions.records, ROOT, mode, gid).wait().await?;
        let _ = self.changes.send(Change::Attributes { at: TreePath::root() }); // nobody may listen
        Ok(Receipt { turn: None, at: self.sessions.tables.position() })
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        self.errors.add(who, at.as_str(), why.text());
    }
}

fn inbox() -> TreePath {
    TreePath::root().join(INBOX)
}

fn asks(session: &SessionInfo) -> bool {
    session.state == State::Blocked.word()
}

/// The names that are in the inbox, by node and session.
type Asking = HashMap<(String, u64), String>;

/// Passes on whose question came or went.
async fn report_inbox(
    nodes: Weak<Nodes>,
    mut told: broadcast::Receiver<Told>,
    changes: broadcast::Sender<Change>,
) {
    let mut asking = Asking::new();
    loop {
        let names = match told.recv().await {
            Ok(Told::Says { node, update }) => apply(&mut asking, &node, &update),
            Ok(Told::Left { node }) => {
                asking.extract_if(|(of, _), _| *of == node).map(|(_, name)| name).collect()
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let Some(nodes) = nodes.upgrade() else { return };
                asking = all_asking(&nodes);
                let _ = changes.send(Change::Everything { below: inbox() }); // nobody may listen
                continue;
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        for name in names {
            let _ = changes.send(Change::Name { dir: inbox(), name }); // nobody may listen
        }
    }
}

fn all_asking(nodes: &Nodes) -> Asking {
    let mut asking = Asking::new();
    for (name, node) in nodes.all() {
        for session in node.sessions().iter().filter(|s| asks(s)) {
            asking.insert((name.clone(), session.id), format!("{name}.{}", session.name));
        }
    }
    asking
}

/// Takes in what a node says; the names that came or went.
fn apply(asking: &mut Asking, node: &str, update: &Update) -> Vec<String> {
    let (before, now): (Vec<_>, Vec<&SessionInfo>) = match update {
        Update::Snapshot { all, .. } => {
            let before = asking.extract_if(|(of, _), _| of == node).collect();
            (before, all.sessions.iter().filter(|s| asks(s)).collect())
        }
        Update::Session { session, .. } => {
            let before = asking.remove_entry(&(node.to_owned(), session.id)).into_iter().collect();
            (before, [&**session].into_iter().filter(|s| asks(s)).collect())
        }
        Update::Gone { id, .. } => {
            (asking.remove_entry(&(node.to_owned(), *id)).into_iter().collect(), Vec::new())
        }
        Update::Changed { .. } | Update::Reached { .. } => return Vec::new(),
    };
    let mut names: Vec<String> = before.into_iter().map(|(_, name)| name).collect();
    for session in now {
        let name = format!("{node}.{}", session.name);
        asking.insert((node.to_owned(), session.id), name.clone());
        match names.iter().position(|n| *n == name) {
            Some(same) => drop(names.swap_remove(same)),
            None => names.push(name),
        }
    }
    names
}
