//! The local node: one tmux server's sessions as a tree.
//!
//! The tables of rows say what a file or a directory means; this file says what the operations of the tree
//! do with any of them. Does not know doors, kernels or other nodes.

mod changes;
pub mod conversations;
pub mod dir;
mod feed;
mod info;
mod logs;
pub mod modes;
mod once;
pub mod root;
pub mod row;
pub mod rows_node;
pub mod rows_pane;
pub mod rows_session;
pub mod rows_turn;
pub mod subject;
mod text;
mod tree;
pub mod turns;

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::session::audit::Deed;
use crate::session::{Moved, Sessions};
pub use changes::described;
use changes::{changes_of, pass_on};
use dir::{DirAt, Directory, Found, Subject, What};
use feed::LocalFeed;
use info::Installed;
use modes::NodeModes;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::id::Ids;
use muxfs_tree::node::{Feed, Node, NodeInfo, SessionInfo};
use muxfs_tree::{
    Accepts, Access, Caller, Change, Gesture, Place, Receipt, Shape, Stat, Tree, TreePath, Until,
};
use once::{Interrupted, Once};
use row::{Answer, Bound};
use subject::{NodeAt, SessionAt};

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
    installed: Arc<Installed>,
    once: Arc<Once>,
    me: Weak<LocalNode>,
}

impl LocalNode {
    /// Needs a tokio runtime: it passes on what moves until `sessions` is dropped.
    pub fn new(sessions: Arc<Sessions>, modes: Arc<NodeModes>) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        tokio::spawn(pass_on(Arc::downgrade(&sessions), sessions.tables.moves(), changes.clone()));
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let ids = sessions.about.ids.clone();
        let installed = Arc::new(Installed::new());
        let once = Arc::new(Once::open(sessions.about.dirs.state.join("node/gestures"), SystemTime::now()));
        Arc::new_cyclic(|me| LocalNode {
            sessions,
            modes,
            ids,
            changes,
            uid,
            gid,
            installed,
            once,
            me: me.clone(),
        })
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn me(&self) -> Result<Arc<LocalNode>> {
        self.me.upgrade().ok_or_else(|| Error::new(Kind::Gone, "the node ends"))
    }

    fn at(&self) -> NodeAt {
        NodeAt { sessions: self.sessions.clone(), modes: self.modes.clone() }
    }

    fn receipt(&self, turn: Option<String>) -> Receipt {
        Receipt { turn, at: self.sessions.tables.position() }
    }

    fn walk(&self, at: &TreePath) -> Result<Found> {
        let node = self.at();
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
        Stat {
            shape,
            id: found.id,
            mode,
            uid,
            gid,
            size,
            mtime: mtime.unwrap_or(self.sessions.about.started),
        }
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

    /// Records a refusal. Two errors are not recorded: a name that is not there is an ordinary answer, and
    /// a caller who gave up knows it.
    fn noted<T>(&self, who: &Caller, at: &TreePath, result: Result<T>) -> Result<T> {
        if let Err(e) = &result
            && !matches!(e.kind, Kind::NotFound | Kind::Interrupted)
        {
            self.refused(who, at, e);
        }
        result
    }

    /// The same for what is recorded only where somebody other than the owner does it.
    fn done<T>(&self, who: &Caller, at: &TreePath, deed: Deed, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            self.sessions.callers.audit(who, at.as_str(), deed);
        }
        self.noted(who, at, result)
    }

    /// Writes under the gesture's id, where it has one: once.
    async fn write_once(
        &self,
        gesture: &Gesture,
        file: &dyn Bound,
        body: Bytes,
        until: Until,
    ) -> Result<Option<String>> {
        // Whether prompts are stored may be another setting by now: either may remember it.
        if let Some(turn) = file.before(gesture) {
            return Ok(Some(turn));
        }
        let known = gesture.key().is_some_and(|(by, id)| self.once.knows(&by, &id));
        if file.remembers() && !known {
            return file.write(gesture, body, until).await;
        }
        let saved = async || {
            // Of a document it can be seen whether it was saved.
            let document = file.shape() == Shape::Document;
            match document && file.read().await.is_ok_and(|now| now == body) {
                true => Interrupted::Done,
                false => Interrupted::Unknown,
            }
        };
        // What is remembered here has no turn.
        let write = async { file.write(gesture, body.clone(), until).await.map(drop) };
        self.once.run(gesture, saved, write).await.map(|()| None)
    }

    async fn make_dir(&self, gesture: &Gesture, at: &TreePath) -> Result<Stat> {
        let (parent, may) = self.walk_to_dir(&gesture.who, &at.parent())?;
        if !matches!(parent.accepts(), Accepts::Dirs) {
            return fail(Kind::Never, format!("{at}: directories are made for sessions only"));
        }
        allow(may, at)?;
        let make = async {
            // One that the gesture made before may be called otherwise by now.
            if gesture.key().is_some_and(|key| self.sessions.tables.made_by(&key).is_some()) {
                return Ok(());
            }
            if self.walk(at).is_ok() {
                return fail(Kind::Exists, format!("{at} is there already"));
            }
            match parent.make_dir(gesture, at.name()) {
                Some(make) => make.await,
                None => fail(Kind::Never, format!("{at}: no directories are made here")),
            }
        };
        self.once.run(gesture, async || Interrupted::DoAgain, make).await?;
        match gesture.key().and_then(|key| self.sessions.tables.made_by(&key)) {
            Some(session) => self.stat(&at.parent().join(&session.shown())),
            None => self.stat(at),
        }
    }

    async fn make_item(
        &self,
        gesture: &Gesture,
        at: &TreePath,
        body: Bytes,
        until: Until,
    ) -> Result<(Stat, Option<String>)> {
        let (parent, may) = self.walk_to_dir(&gesture.who, &at.parent())?;
        let Some(make) = parent.make_item(gesture, at.name(), body, until) else {
            return fail(Kind::Never, format!("{at}: no files are made here"));
        };
        allow(may, at)?;
        let made = make.await?;
        Ok((self.stat_of(&made.found(&self.ids)), Some(made.turn())))
    }

    async fn remove_found(&self, gesture: &Gesture, at: Place<'_>) -> Result<()> {
        gesture.may_begin()?;
        let who = &gesture.who;
        let found = match self.walk_to(at) {
            Err(e) if gesture.id.is_some() && at.id.is_some() => {
                let (parent, may) = self.walk_to_dir(who, &at.path.parent())?;
                allow(may, at.path)?;
                // Sent before, or as good as that: what was meant is gone.
                return if at.id.is_some_and(|id| parent.has_lost(&self.ids, id)) { Ok(()) } else { Err(e) };
            }
            found => found?,
        };
        let remove = match found.what {
            What::Dir(dir) => dir.remove(),
            What::File(file) => file.remove(),
        };
        self.change_names(who, at.path, remove, "goes with its session").await
    }

    async fn rename_found(&self, gesture: &Gesture, from: Place<'_>, to: &TreePath) -> Result<()> {
        gesture.may_begin()?;
        let who = &gesture.who;
        if from.path.parent() != to.parent() {
            return fail(Kind::Never, format!("{}: cannot move to another directory", from.path));
        }
        let found = match self.walk_to(from) {
            // Sent before: what was meant has the name already.
            Err(_) if gesture.id.is_some() && self.walk(to).is_ok_and(|now| Some(now.id) == from.id) => {
                return Ok(());
            }
            found => found?,
        };
        let rename = match found.what {
            What::Dir(dir) => dir.rename(to.name()),
            What::File(file) => file.rename(to.name()),
        };
        if rename.is_some() && self.walk(to).is_ok() {
            return fail(Kind::Exists, format!("{to} is there already"));
        }
        self.change_names(who, from.path, rename, "its name is fixed").await
    }

    /// What is at a place, if it is what is meant.
    fn walk_to(&self, at: Place<'_>) -> Result<Found> {
        let found = self.walk(at.path)?;
        if at.id.is_some_and(|id| id != found.id) {
            return fail(Kind::Gone, format!("{}: what was meant is gone", at.path));
        }
        Ok(found)
    }

    async fn set_mode_of(
        &self,
        who: &Caller,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<()> {
        let stat = self.stat(at.path)?;
        if who.uid() != self.uid && who.uid() != 0 {
            return fail(Kind::Denied, format!("{}: not yours", at.path));
        }
        if at.id.is_some_and(|id| id != stat.id) {
            return fail(Kind::Gone, format!("{}: what was opened is gone", at.path));
        }
        let mode = mode.map(|m| m & 0o777);
        let session =
            at.path.split_first().and_then(|(name, file)| Some((self.sessions.tables.get(name)?, file)));
        match &session {
            Some((session, file)) => {
                self.sessions.records.set_mode(&session.record, file.as_str(), mode, gid).wait().await?;
            }
            None => self.modes.set(&self.sessions.records, at.path.as_str(), mode, gid).wait().await?,
        }
        let (session, path) = match session {
            Some((session, file)) => (Some(session.shown()), file.to_string()),
            None => (None, at.path.to_string()),
        };
        self.sessions.tables.tell_moved(Moved::Attributes { session, path });
        Ok(())
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

impl Node for LocalNode {
    fn about(&self) -> NodeInfo {
        info::node(&self.at(), &self.installed)
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        let names = self.sessions.tables.all().into_iter().map(|session| session.shown());
        names.filter_map(|name| self.session(&name)).collect()
    }

    fn session(&self, name: &str) -> Option<SessionInfo> {
        let session = SessionAt { sessions: self.sessions.clone(), session: self.sessions.tables.get(name)? };
        let found = rows_node::session(session.clone(), &self.ids);
        Some(info::session(&session, &found, &self.ids))
    }

    fn feed(&self) -> Box<dyn Feed> {
        Box::new(LocalFeed::new(self.me.clone(), &self.sessions))
    }
}
