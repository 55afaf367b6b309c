//! The local node: one tmux server's sessions as a tree.
//!
//! What a file or a directory means stands in the tables of rows; here is what the tree's operations
//! do with any of them. Does not know doors, kernels or other nodes.

pub mod dir;
mod logs;
pub mod modes;
pub mod root;
pub mod row;
pub mod rows_node;
pub mod rows_pane;
pub mod rows_session;
pub mod rows_turn;
pub mod subject;
pub mod talks;
mod text;
pub mod turns;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::error::{Error, Kind, Result, fail};
use crate::session::audit::Deed;
use crate::session::{Moved, Sessions};
use crate::tree::id::Ids;
use crate::tree::{Access, Caller, Change, Entry, Follow, Place, Shape, Stat, Tree, TreePath};
use dir::{DirAt, Directory, Found, Subject, What, file_names};
use modes::NodeModes;
use row::{Answer, Bound, Until};
use subject::NodeAt;

/// Changes kept for a door that is slow.
const CHANGES: usize = 4096;
/// The serial of the node itself; sessions and panes follow.
pub const NODE_SERIAL: u64 = 1;

pub struct LocalNode {
    sessions: Arc<Sessions>,
    modes: Arc<NodeModes>,
    ids: Ids,
    changes: broadcast::Sender<Change>,
    uid: u32,
    gid: u32,
}

impl LocalNode {
    /// Needs a tokio runtime: it passes on what moves until `sessions` is dropped.
    pub fn new(sessions: Arc<Sessions>, modes: Arc<NodeModes>) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        tokio::spawn(pass_on(Arc::downgrade(&sessions), sessions.moves(), changes.clone()));
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let ids = sessions.ids.clone();
        Arc::new(LocalNode { sessions, modes, ids, changes, uid, gid })
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn walk(&self, at: &TreePath) -> Result<Found> {
        let node = NodeAt { sessions: self.sessions.clone(), modes: self.modes.clone() };
        let modes = node.modes("");
        let mut found = DirAt::found(&rows_node::DIR, node, &self.ids, String::new(), modes);
        for name in at.names() {
            let What::Dir(dir) = &found.what else {
                return fail(Kind::NotFound, format!("{name}: no such file"));
            };
            found = match dir.find(&self.ids, name) {
                Some(found) => found,
                None => return fail(Kind::NotFound, format!("{name}: no such {}", dir.lacks())),
            };
        }
        Ok(found)
    }

    /// The directory at `at`, and whether `who` may change the names in it.
    fn walk_to_dir(&self, who: &Caller, at: &TreePath) -> Result<(Box<dyn Directory>, bool)> {
        let found = self.walk(at)?;
        let may = who.may(&self.stat_of(&found), Access::Write);
        match found.what {
            What::Dir(dir) => Ok((dir, may)),
            What::File(_) => fail(Kind::NotDir, format!("{at} is no directory")),
        }
    }

    fn stat_of(&self, found: &Found) -> Stat {
        let (uid, gid) = (self.uid, found.modes.gid.unwrap_or(self.gid));
        let (shape, own, size, mtime) = match &found.what {
            What::Dir(dir) => (Shape::Dir(dir.accepts()), dir.mode(), 0, dir.made()),
            What::File(file) => (file.shape(), file.mode(), file.size(), file.mtime()),
        };
        let mut mode = found.modes.mode.unwrap_or(own);
        if let What::File(file) = &found.what
            && file.is_private()
        {
            mode &= 0o700;
        }
        Stat { shape, id: found.id, mode, uid, gid, size, mtime: mtime.unwrap_or(self.sessions.started) }
    }

    /// The file that is meant: the one of this id, where the door says which.
    fn open(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<Box<dyn Bound>> {
        let found = match self.walk(at.path) {
            // What was opened is no longer there.
            Err(e) if e.kind == Kind::NotFound && at.id.is_some() => return fail(Kind::Gone, e.text()),
            found => found?,
        };
        let mut stat = self.stat_of(&found);
        let What::File(mut file) = found.what else {
            return fail(Kind::IsDir, format!("{} is a directory", at.path));
        };
        if let Some(id) = at.id.filter(|id| *id != stat.id) {
            match self.rotated(at.path, stat.shape).filter(|(_, older)| older.id == id) {
                Some(older) => (file, stat) = older,
                None => return fail(Kind::Gone, format!("{}: what was opened is gone", at.path)),
            }
        }
        let can = (!access.reads() || stat.shape.readable()) && (!access.writes() || stat.shape.writable());
        if !can || !who.may(&stat, access) {
            return fail(Kind::Denied, format!("{}: not for {}", at.path, verb(access)));
        }
        Ok(file)
    }

    /// The log that was called `at` before its last rotation.
    fn rotated(&self, at: &TreePath, shape: Shape) -> Option<(Box<dyn Bound>, Stat)> {
        if shape != Shape::Log {
            return None;
        }
        let found = self.walk(&at.parent().join(&format!("{}.1", at.name()))).ok()?;
        let stat = self.stat_of(&found);
        let What::File(file) = found.what else { return None };
        Some((file, stat))
    }

    /// Records a refusal; a name that is simply not there is an answer.
    fn noted<T>(&self, who: &Caller, at: &TreePath, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && e.kind != Kind::NotFound
        {
            self.refused(who, at, e);
        }
        result
    }

    /// The same of what counts where others than the owner do it.
    fn done<T>(&self, who: &Caller, at: &TreePath, deed: Deed, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            self.sessions.audit(who, at.as_str(), deed);
        }
        self.noted(who, at, result)
    }

    async fn write_until(&self, who: &Caller, at: Place<'_>, body: Bytes, until: Until) -> Result<()> {
        let (written, deed) = match self.open(who, at, Access::Write) {
            Ok(file) => {
                let deed = deed_of(file.shape(), &body);
                (file.write(who, body, until).await, deed)
            }
            Err(e) => (Err(e), Deed::Write { bytes: 0 }),
        };
        self.done(who, at.path, deed, written)
    }

    async fn make_dir(&self, who: &Caller, at: &TreePath) -> Result<Stat> {
        let (parent, may) = self.walk_to_dir(who, &at.parent())?;
        let Some(make) = parent.make_dir(who, at.name()) else {
            return fail(Kind::Never, format!("{at}: directories are made for sessions only"));
        };
        if self.walk(at).is_ok() {
            return fail(Kind::Exists, format!("{at} is there already"));
        }
        allow(may, at)?;
        make.await?;
        self.stat(at)
    }

    async fn make_item(&self, who: &Caller, at: &TreePath, body: Bytes) -> Result<Stat> {
        let (parent, may) = self.walk_to_dir(who, &at.parent())?;
        let Some(make) = parent.make_item(who, at.name(), body) else {
            return fail(Kind::Never, format!("{at}: no files are made here"));
        };
        allow(may, at)?;
        Ok(self.stat_of(&make.await?.found(&self.ids)))
    }

    async fn remove_found(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let remove = match self.walk(at)?.what {
            What::Dir(dir) => dir.remove(),
            What::File(file) => file.remove(),
        };
        self.change_names(who, at, remove, "goes with its session").await
    }

    async fn rename_found(&self, who: &Caller, from: &TreePath, to: &TreePath) -> Result<()> {
        if from.parent() != to.parent() {
            return fail(Kind::Never, format!("{from}: cannot move to another directory"));
        }
        let rename = match self.walk(from)?.what {
            What::Dir(dir) => dir.rename(to.name()),
            What::File(file) => file.rename(to.name()),
        };
        if rename.is_some() && self.walk(to).is_ok() {
            return fail(Kind::Exists, format!("{to} is there already"));
        }
        self.change_names(who, from, rename, "its name is fixed").await
    }

    /// Does what changes the names of a directory, for who may. `never`: why nobody may.
    async fn change_names(
        &self,
        who: &Caller,
        at: &TreePath,
        change: Option<Answer<()>>,
        never: &str,
    ) -> Result<()> {
        let Some(change) = change else { return fail(Kind::Never, format!("{at}: {never}")) };
        let (_, may) = self.walk_to_dir(who, &at.parent())?;
        allow(may, at)?;
        change.await
    }
}

/// What a write is to those who look back.
fn deed_of(shape: Shape, body: &[u8]) -> Deed {
    let verb = || String::from_utf8_lossy(body).split_ascii_whitespace().next().map(str::to_owned);
    match shape {
        Shape::Ctl => Deed::Command { verb: verb().unwrap_or_default() },
        _ => Deed::Write { bytes: body.len() },
    }
}

fn allow(may: bool, at: &TreePath) -> Result<()> {
    if may { Ok(()) } else { fail(Kind::Denied, format!("{at}: its directory is not yours to change")) }
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reading",
        Access::Write => "writing",
        Access::Both => "reading and writing",
    }
}

async fn pass_on(
    sessions: Weak<Sessions>,
    mut moves: broadcast::Receiver<Moved>,
    changes: broadcast::Sender<Change>,
) {
    let root = TreePath::root;
    loop {
        let change = match moves.recv().await {
            Ok(Moved::Session(name)) => Change::Name { dir: root(), name },
            Ok(Moved::Renamed { from, to }) => Change::Renamed { dir: root(), from, to },
            Ok(Moved::Asks(_)) => continue, // the root's
            Ok(Moved::Talk { session, name }) => {
                Change::Name { dir: root().join(&session).join(talks::HISTORY.name), name }
            }
            Ok(Moved::Turn { session, name }) => {
                for row in [&turns::QUEUE, &turns::TURNS] {
                    let dir = root().join(&session).join(row.name);
                    let _ = changes.send(Change::Name { dir, name: name.clone() });
                }
                continue;
            }
            Ok(Moved::Panes { session, name: Some(name) }) => {
                Change::Name { dir: root().join(&session).join(rows_pane::PANES.name), name }
            }
            Ok(Moved::Panes { session, name: None }) => {
                for name in file_names(rows_pane::ROWS) {
                    let _ = changes.send(Change::Name { dir: root().join(&session), name });
                }
                continue;
            }
            Ok(Moved::Log { pane, name }) => {
                let Some(sessions) = sessions.upgrade() else { return };
                for dir in dirs_of_log(&sessions, pane) {
                    for name in [name.to_owned(), format!("{name}.1")] {
                        let _ = changes.send(Change::Name { dir: dir.clone(), name });
                    }
                }
                continue;
            }
            Err(broadcast::error::RecvError::Lagged(_)) => continue, // the next listing tells
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let _ = changes.send(change); // nobody may listen
    }
}

/// Where the logs of a pane (by its serial), or of the node, are shown.
fn dirs_of_log(sessions: &Sessions, pane: Option<u64>) -> Vec<TreePath> {
    let Some(serial) = pane else { return vec![TreePath::root()] };
    let mut dirs = Vec::new();
    for session in sessions.all() {
        let dir = TreePath::root().join(&session.shown());
        let panes = session.panes().into_iter().filter(|(_, p)| p.serial == serial);
        dirs.extend(panes.map(|(name, _)| dir.join(rows_pane::PANES.name).join(&name)));
        if session.main().serial == serial {
            dirs.push(dir);
        }
    }
    dirs
}

#[async_trait]
impl Tree for LocalNode {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        self.walk(at).map(|found| self.stat_of(&found))
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        match self.walk(at)?.what {
            What::File(file) => Ok(file.read_size()),
            What::Dir(_) => Ok(0),
        }
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        let What::Dir(dir) = self.walk(at)?.what else {
            return fail(Kind::NotDir, format!("{at} is no directory"));
        };
        // A name that went meanwhile, or a log that never rotated, is left out.
        let entry = |name: String| {
            let stat = self.stat_of(&dir.find(&self.ids, &name)?);
            Some(Entry { stat, name })
        };
        Ok(dir.names().into_iter().filter_map(entry).collect())
    }

    fn admit(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<()> {
        // An item that is to be made is not there yet.
        if access.writes()
            && !at.path.is_root()
            && let What::Dir(dir) = self.walk(&at.path.parent())?.what
            && let Some(admitted) = dir.admit_item(at.path.name())
        {
            return admitted;
        }
        self.open(who, at, access)?.admit(access)
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        self.open(who, at, Access::Read)?.read().await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        self.open(who, at, Access::Read)?.follow(&self.ids)
    }

    async fn write(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        self.write_until(who, at, body, Until::Accepted).await
    }

    async fn write_through(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        self.write_until(who, at, body, Until::Delivered).await
    }

    async fn ask(&self, who: &Caller, at: Place<'_>, question: Bytes) -> Result<Bytes> {
        let bytes = question.len();
        let answered = match self.open(who, at, Access::Both) {
            Ok(file) => file.ask(who, question).await,
            Err(e) => Err(e),
        };
        self.done(who, at.path, Deed::Ask { bytes }, answered)
    }

    async fn make(&self, who: &Caller, at: &TreePath, body: Option<Bytes>) -> Result<Stat> {
        let made = match body {
            None => self.make_dir(who, at).await,
            Some(body) => self.make_item(who, at, body).await,
        };
        self.done(who, at, Deed::Make, made)
    }

    async fn delivered(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let (parent, _) = self.walk_to_dir(who, &at.parent())?;
        let Some(delivered) = parent.delivered(at.name()) else { return Ok(()) };
        self.noted(who, at, delivered.await)
    }

    async fn remove(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let removed = self.remove_found(who, at).await;
        self.done(who, at, Deed::Remove, removed)
    }

    async fn rename(&self, who: &Caller, from: &TreePath, to: &TreePath) -> Result<()> {
        let renamed = self.rename_found(who, from, to).await;
        self.done(who, from, Deed::Rename { to: to.as_str().to_owned() }, renamed)
    }

    async fn set_mode(&self, who: &Caller, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        let stat = self.stat(at.path)?;
        if who.uid() != self.uid && who.uid() != 0 {
            let denied = fail(Kind::Denied, format!("{}: not yours", at.path));
            return self.noted(who, at.path, denied);
        }
        if at.id.is_some_and(|id| id != stat.id) {
            return fail(Kind::Gone, format!("{}: what was opened is gone", at.path));
        }
        let mode = mode.map(|m| m & 0o777);
        let session = at.path.split_first().and_then(|(name, file)| Some((self.sessions.get(name)?, file)));
        match session {
            Some((session, file)) => {
                self.sessions.records.set_mode(&session.record, file.as_str(), mode, gid).wait().await?;
            }
            None => self.modes.set(&self.sessions.records, at.path.as_str(), mode, gid).wait().await?,
        }
        self.sessions.audit(who, at.path.as_str(), Deed::Mode { mode, gid });
        Ok(())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        self.sessions.refused(who, at.as_str(), why.text());
        if let Some((name, _)) = at.split_first()
            && let Some(session) = self.sessions.get(name)
        {
            session.set_last_error(why.text());
        }
    }
}
