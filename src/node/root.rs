//! The root of a mount: `.self`, `.help` and `.inbox/`. The nodes' directories are put beside them by the
//! union of trees.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use super::modes::NodeModes;
use crate::error::{Error, Kind, Result, fail};
use crate::session::{Moved, Session, Sessions, State};
use crate::tree::{Accepts, Access, Caller, Change, Entry, Follow, Place, Shape, Stat, Tree, TreePath};

const INBOX: &str = ".inbox";
/// Names that changed, for a door that is slow.
const CHANGES: usize = 256;

/// The key of the root's own bits in [`NodeModes`].
const ROOT: &str = "/";

/// A row of the root: name, shape, mode, what it is.
pub struct RootRow {
    pub name: &'static str,
    pub shape: Shape,
    pub mode: u32,
    pub about: &'static str,
}

pub static ROWS: &[RootRow] = &[
    RootRow { name: ".self", shape: Shape::Link, mode: 0o777, about: "Link to this machine's directory." },
    RootRow { name: ".help", shape: Shape::View, mode: 0o444, about: "How to use the tree, with examples." },
    RootRow {
        name: INBOX,
        shape: Shape::Dir(Accepts::Nothing),
        mode: 0o500,
        about: "A link to each session that asks something, NODE.SESSION: cat .inbox/*/question",
    },
];

pub struct Root {
    node: String,
    help: Bytes,
    modes: Arc<NodeModes>,
    started: SystemTime,
    sessions: Arc<Sessions>,
    changes: broadcast::Sender<Change>,
}

impl Root {
    /// `node` is this machine's name; `help` is the text of `.help`.
    /// Needs a tokio runtime: it tells of the inbox until `sessions` is dropped.
    pub fn new(node: &str, help: String, modes: Arc<NodeModes>, sessions: Arc<Sessions>) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        tokio::spawn(tell(node.to_owned(), sessions.moves(), changes.clone()));
        Arc::new(Root {
            node: node.to_owned(),
            help: help.into(),
            modes,
            started: SystemTime::now(),
            sessions,
            changes,
        })
    }

    fn text(&self, row: &RootRow) -> Bytes {
        if row.shape == Shape::Link { self.node.clone().into() } else { self.help.clone() }
    }

    fn row(&self, at: &TreePath) -> Result<&'static RootRow> {
        match ROWS.iter().find(|r| r.name == at.as_str()) {
            Some(found) => Ok(found),
            None => fail(Kind::NotFound, format!("{at}: no such node or file")),
        }
    }

    /// The session that `node.session` in the inbox leads to.
    fn asking(&self, name: &str) -> Result<Arc<Session>> {
        let session = name.strip_prefix(&self.node).and_then(|n| n.strip_prefix('.'));
        match session.and_then(|s| self.sessions.get(s)).filter(asks) {
            Some(session) => Ok(session),
            None => fail(Kind::NotFound, format!("{name}: asks nothing")),
        }
    }

    fn target(&self, session: &Session) -> Bytes {
        format!("../{}/{}", self.node, session.shown()).into()
    }

    fn never<T>(&self, at: &TreePath) -> Result<T> {
        fail(Kind::Never, format!("{at}: the root holds the nodes and nothing else"))
    }
}

#[async_trait]
impl Tree for Root {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let ids = &self.sessions.ids;
        let (shape, id, mode, gid, size) = if at.is_root() {
            let set = self.modes.get(ROOT);
            (
                Shape::Dir(Accepts::Nothing),
                ids.of(&["root"]),
                set.mode.unwrap_or(0o700),
                set.gid.unwrap_or(gid),
                0,
            )
        } else if let Some(name) = at.strip(&inbox()).filter(|n| !n.is_root()) {
            let session = self.asking(name.as_str())?;
            let size = self.target(&session).len() as u64;
            (Shape::Link, ids.of(&["inbox", &session.id]), 0o777, gid, size)
        } else {
            let row = self.row(at)?;
            (row.shape, ids.of(&["root", row.name]), row.mode, gid, self.text(row).len() as u64)
        };
        Ok(Stat { shape, id, mode, uid, gid, size, mtime: self.started })
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        if *at == inbox() {
            let asking = self.sessions.all().into_iter().filter(asks);
            let names = asking.map(|s| format!("{}.{}", self.node, s.shown()));
            // One that was answered meanwhile is left out.
            return Ok(names
                .filter_map(|name| Some(Entry { stat: self.stat(&at.join(&name)).ok()?, name }))
                .collect());
        }
        if !at.is_root() {
            return fail(Kind::NotDir, format!("{at} is no directory"));
        }
        ROWS.iter().map(|r| Ok(Entry { name: r.name.into(), stat: self.stat(&at.join(r.name))? })).collect()
    }

    fn admit(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<()> {
        let stat = self.stat(at.path)?;
        if access.writes() || !who.may(&stat, access) {
            return fail(Kind::Denied, format!("{}: for reading only", at.path));
        }
        Ok(())
    }

    async fn read(&self, _: &Caller, at: Place<'_>) -> Result<Bytes> {
        if let Some(name) = at.path.strip(&inbox()).filter(|n| !n.is_root()) {
            return Ok(self.target(&*self.asking(name.as_str())?));
        }
        Ok(self.text(self.row(at.path)?))
    }

    async fn follow(&self, _: &Caller, at: Place<'_>) -> Result<Follow> {
        fail(Kind::Denied, format!("{}: nothing to follow", at.path))
    }

    async fn write(&self, _: &Caller, at: Place<'_>, _: Bytes) -> Result<()> {
        fail(Kind::Denied, format!("{}: for reading only", at.path))
    }

    async fn ask(&self, _: &Caller, at: Place<'_>, _: Bytes) -> Result<Bytes> {
        fail(Kind::Denied, format!("{}: answers nothing", at.path))
    }

    async fn make(&self, _: &Caller, at: &TreePath, _: Option<Bytes>) -> Result<Stat> {
        self.never(at)
    }

    async fn remove(&self, _: &Caller, at: &TreePath) -> Result<()> {
        self.never(at)
    }

    async fn rename(&self, _: &Caller, from: &TreePath, _: &TreePath) -> Result<()> {
        self.never(from)
    }

    async fn set_mode(&self, _: &Caller, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        if !at.path.is_root() {
            return self.never(at.path);
        }
        self.modes.set(&self.sessions.records, ROOT, mode, gid).wait().await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, _: &Caller, _: &TreePath, _: &Error) {} // the union tells the nodes
}

fn inbox() -> TreePath {
    TreePath::root().join(INBOX)
}

fn asks(session: &Arc<Session>) -> bool {
    session.main().seen().state == State::Blocked
}

/// Passes on whose question came or went.
async fn tell(node: String, mut moves: broadcast::Receiver<Moved>, changes: broadcast::Sender<Change>) {
    loop {
        let names = match moves.recv().await {
            Ok(Moved::Asks(session) | Moved::Session(session)) => vec![session],
            Ok(Moved::Renamed { from, to }) => vec![from, to],
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => continue, // the next listing tells
            Err(broadcast::error::RecvError::Closed) => return,
        };
        for session in names {
            let _ = changes.send(Change::Name { dir: inbox(), name: format!("{node}.{session}") }); // nobody may listen
        }
    }
}
