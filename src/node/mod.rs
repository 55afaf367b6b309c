//! The local node: one tmux server's sessions as a tree.
//!
//! Walking to a name is [`LocalNode::walk`], listing names is [`LocalNode::names`]; what a file
//! means stands in the tables of rows. Does not know doors, kernels or other nodes.

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
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use crate::error::{Error, Kind, Result, fail};
use crate::session::life::Asked;
use crate::session::{ModeSet, Moved, Sessions};
use crate::tree::{Accepts, Access, Caller, Change, Entry, Follow, Place, Shape, Stat, Tree, TreePath};
use modes::NodeModes;
use row::{At, Bound, File, Row};
use subject::{NodeAt, PaneAt, SessionAt, TurnAt};

/// Changes kept for a door that is slow.
const CHANGES: usize = 4096;
/// Files of one object have ids below its own: `serial << 8 | number`.
const PER_OBJECT: u32 = 8;
/// The serial of the node itself; sessions and panes follow.
pub const NODE_SERIAL: u64 = 1;
/// Within a session: its `panes` directory, and where the main pane's files are numbered from.
const PANES_DIR: u64 = 0xfe;
const MAIN_FILES: u64 = 0x80;
const PANES: &str = "panes";

pub struct LocalNode {
    sessions: Arc<Sessions>,
    modes: Arc<NodeModes>,
    changes: broadcast::Sender<Change>,
    uid: u32,
    gid: u32,
}

/// Where a path leads.
enum Spot {
    Dir {
        id: u64,
        accepts: Accepts,
        modes: ModeSet,
        shows: Shows,
    },
    File {
        id: u64,
        file: Box<dyn Bound>,
        modes: ModeSet,
    },
    /// A waiting prompt.
    Item {
        id: u64,
        file: At<TurnAt>,
        modes: ModeSet,
    },
}

/// What a directory lists.
enum Shows {
    Node,
    Session(SessionAt),
    Panes(SessionAt),
    Pane(PaneAt),
    Queue(SessionAt),
    Turns(SessionAt),
    Turn(TurnAt),
    History(SessionAt),
}

impl LocalNode {
    /// Needs a tokio runtime: it passes on what moves until `sessions` is dropped.
    pub fn new(sessions: Arc<Sessions>, modes: Arc<NodeModes>) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        tokio::spawn(pass_on(Arc::downgrade(&sessions), sessions.moves(), changes.clone()));
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        Arc::new(LocalNode { sessions, modes, changes, uid, gid })
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn node(&self) -> NodeAt {
        NodeAt { sessions: self.sessions.clone() }
    }

    fn session(&self, name: &str) -> Result<SessionAt> {
        match self.sessions.get(name) {
            Some(session) => Ok(SessionAt { sessions: self.sessions.clone(), session }),
            None => fail(Kind::NotFound, format!("{name}: no such session")),
        }
    }

    fn walk(&self, at: &TreePath) -> Result<Spot> {
        let names: Vec<&str> = at.names().collect();
        match *names.as_slice() {
            [] => Ok(Spot::Dir {
                id: NODE_SERIAL << PER_OBJECT,
                accepts: Accepts::Dirs,
                modes: self.modes.get(""),
                shows: Shows::Node,
            }),
            [name] => match find(rows_node::ROWS, name) {
                Some((n, rotated)) => self.file(
                    rows_node::ROWS,
                    n,
                    rotated,
                    self.node(),
                    NODE_SERIAL,
                    n as u64 + 1,
                    self.modes.get(name),
                ),
                None => {
                    let s = self.session(name)?;
                    let modes = s.session.modes("");
                    Ok(Spot::Dir {
                        id: s.session.serial << PER_OBJECT,
                        accepts: Accepts::Scratch,
                        modes,
                        shows: Shows::Session(s),
                    })
                }
            },
            [session, PANES] => {
                let s = self.session(session)?;
                let modes = s.session.modes(PANES);
                let id = s.session.serial << PER_OBJECT | PANES_DIR;
                Ok(Spot::Dir { id, accepts: Accepts::Nothing, modes, shows: Shows::Panes(s) })
            }
            [session, dir @ (turns::QUEUE | turns::TURNS), ref rest @ ..] => {
                self.walk_turns(self.session(session)?, dir, rest)
            }
            [session, talks::HISTORY, ref rest @ ..] => self.walk_history(self.session(session)?, rest),
            [session, name] => self.session_file(self.session(session)?, name),
            [session, PANES, pane] => {
                let p = self.pane(session, pane)?;
                let modes = p.session.modes(&format!("{PANES}/{pane}"));
                let id = p.pane.serial << PER_OBJECT;
                Ok(Spot::Dir { id, accepts: Accepts::Nothing, modes, shows: Shows::Pane(p) })
            }
            [session, PANES, pane, name] => {
                let p = self.pane(session, pane)?;
                let modes = p.session.modes(&format!("{PANES}/{pane}/{name}"));
                let Some((n, rotated)) = find(rows_pane::ROWS, name) else { return no_file(name) };
                let serial = p.pane.serial;
                self.file(rows_pane::ROWS, n, rotated, p, serial, n as u64 + 1, modes)
            }
            _ => no_file(at.name()),
        }
    }

    fn session_file(&self, s: SessionAt, name: &str) -> Result<Spot> {
        let modes = s.session.modes(name);
        if let Some((n, rotated)) = find(rows_session::ROWS, name) {
            let serial = s.session.serial;
            return self.file(rows_session::ROWS, n, rotated, s, serial, n as u64 + 1, modes);
        }
        let Some((n, rotated)) = find(rows_pane::ROWS, name) else { return no_file(name) };
        let main = s.main();
        let serial = main.pane.serial;
        // Another main pane is another file: handles and ids belong to the pane.
        self.file(rows_pane::ROWS, n, rotated, main, serial, MAIN_FILES + n as u64, modes)
    }

    fn pane(&self, session: &str, pane: &str) -> Result<PaneAt> {
        let SessionAt { sessions, session } = self.session(session)?;
        match session.pane(pane) {
            Some(pane) => Ok(PaneAt { sessions, session, pane }),
            None => fail(Kind::NotFound, format!("{pane}: no such pane")),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call a kind of subject")]
    fn file<S: row::Subject>(
        &self,
        rows: &'static [Row<S>],
        n: usize,
        rotated: bool,
        subject: S,
        serial: u64,
        number: u64,
        modes: ModeSet,
    ) -> Result<Spot> {
        let file = At { row: &rows[n], subject, rotated };
        let id = match file.log_id() {
            Some(id) => logs::LOG_ID | id,
            None if rotated => return no_file(&file.name()),
            None => serial << PER_OBJECT | number,
        };
        Ok(Spot::File { id, file: Box::new(file), modes })
    }

    fn stat_of(&self, spot: &Spot) -> Stat {
        let (uid, gid) = (self.uid, self.gid);
        let started = self.sessions.started;
        match spot {
            Spot::Dir { id, accepts, modes, shows } => Stat {
                shape: Shape::Dir(*accepts),
                id: *id,
                mode: modes.mode.unwrap_or(0o700),
                uid,
                gid: modes.gid.unwrap_or(gid),
                size: 0,
                mtime: shows.made().unwrap_or(started),
            },
            Spot::File { id, file, modes } => Stat {
                shape: file.shape(),
                id: *id,
                mode: private(file.as_ref(), modes.mode.unwrap_or(file.mode())),
                uid,
                gid: modes.gid.unwrap_or(gid),
                size: file.size(),
                mtime: file.mtime().unwrap_or(started),
            },
            Spot::Item { id, file, modes } => {
                let (mode, gid) = (modes.mode.unwrap_or(file.mode()), modes.gid.unwrap_or(gid));
                let stat = Stat { shape: file.shape(), id: *id, mode, uid, gid, size: 0, mtime: started };
                turns::stat_of_item(stat, file)
            }
        }
    }

    /// The file that is meant: the one of this id, where the door says which.
    fn open(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<Box<dyn Bound>> {
        let spot = match self.walk(at.path) {
            // What was opened is no longer there.
            Err(e) if e.kind == Kind::NotFound && at.id.is_some() => return fail(Kind::Gone, e.text()),
            spot => spot?,
        };
        let stat = self.stat_of(&spot);
        let file = match spot {
            Spot::File { file, .. } => file,
            Spot::Item { file, .. } => Box::new(file),
            Spot::Dir { .. } => return fail(Kind::IsDir, format!("{} is a directory", at.path)),
        };
        if at.id.is_some_and(|id| id != stat.id) && !is_log(stat.shape) {
            return fail(Kind::Gone, format!("{}: what was opened is gone", at.path));
        }
        let can = (!access.reads() || stat.shape.readable()) && (!access.writes() || stat.shape.writable());
        if !can || !who.may(&stat, access) {
            return fail(Kind::Denied, format!("{}: not for {}", at.path, verb(access)));
        }
        Ok(file)
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

    async fn make_session(&self, who: &Caller, at: &TreePath) -> Result<Stat> {
        let names: Vec<&str> = at.names().collect();
        let [name] = *names.as_slice() else {
            return fail(Kind::Never, format!("{at}: directories are made for sessions only"));
        };
        if find(rows_node::ROWS, name).is_some() {
            return fail(Kind::Exists, format!("{name}: a file of the node"));
        }
        self.may_change_names(who)?;
        self.sessions.make(who, name, Asked::default()).await?;
        self.stat(at)
    }

    async fn remove_session(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let spot = self.walk(at)?;
        match spot {
            Spot::Dir { shows: Shows::Session(s), .. } => {
                self.may_change_names(who)?;
                self.sessions.remove(&s.session).await
            }
            Spot::Dir { .. } => fail(Kind::Never, format!("{at}: goes with its session")),
            Spot::File { .. } => fail(Kind::Never, format!("{at}: goes with its session")),
            Spot::Item { file, .. } => {
                if !who.may(&self.stat(&at.parent())?, Access::Write) {
                    return fail(Kind::Denied, format!("{at}: not yours to take back"));
                }
                self.withdraw_prompt(&file.subject).await
            }
        }
    }

    async fn rename_session(&self, who: &Caller, from: &TreePath, to: &TreePath) -> Result<()> {
        if from.parent() != to.parent() {
            return fail(Kind::Never, format!("{from}: cannot move to another directory"));
        }
        let s = match self.walk(from)? {
            Spot::Dir { shows: Shows::Session(s), .. } => s,
            Spot::Item { file, .. } => return self.rename_prompt(who, &file.subject, from, to.name()).await,
            _ => return fail(Kind::Never, format!("{from}: its name is fixed")),
        };
        if self.walk(to).is_ok() {
            return fail(Kind::Exists, format!("{to} is there already"));
        }
        self.may_change_names(who)?;
        self.sessions.rename(&s.session, to.name()).await
    }

    fn may_change_names(&self, who: &Caller) -> Result<()> {
        if who.may(&self.stat(&TreePath::root())?, Access::Write) {
            return Ok(());
        }
        fail(Kind::Denied, "the node's directory is not yours to change")
    }
}

impl Shows {
    fn made(&self) -> Option<SystemTime> {
        match self {
            Shows::Node => None,
            Shows::Session(s) | Shows::Panes(s) => Some(s.session.made),
            Shows::Pane(p) => Some(p.session.made),
            Shows::Queue(s) | Shows::Turns(s) | Shows::History(s) => Some(s.session.made),
            Shows::Turn(t) => Some(turns::accepted(t)),
        }
    }
}

/// Nobody but the owner reads settings, however they were copied.
fn private(file: &dyn Bound, mode: u32) -> u32 {
    if file.shape() == Shape::Document || file.name().starts_with("config.") { mode & 0o700 } else { mode }
}

fn is_log(shape: Shape) -> bool {
    matches!(shape, Shape::Log | Shape::Append)
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::Read => "reading",
        Access::Write => "writing",
        Access::Both => "reading and writing",
    }
}

fn no_file<T>(name: &str) -> Result<T> {
    fail(Kind::NotFound, format!("{name}: no such file"))
}

/// A row by name; `logs.1` is the row `logs`, rotated.
fn find<S>(rows: &[Row<S>], name: &str) -> Option<(usize, bool)> {
    let index = |name: &str, log: bool| {
        rows.iter().position(|r| r.name == name && (!log || matches!(r.file, File::Log(_))))
    };
    index(name, false).map(|n| (n, false)).or_else(|| Some((index(name.strip_suffix(".1")?, true)?, true)))
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
                Change::Name { dir: root().join(&session).join(talks::HISTORY), name }
            }
            Ok(Moved::Turn { session, name }) => {
                for dir in [turns::QUEUE, turns::TURNS] {
                    let dir = root().join(&session).join(dir);
                    let _ = changes.send(Change::Name { dir, name: name.clone() });
                }
                continue;
            }
            Ok(Moved::Panes { session, name: Some(name) }) => {
                Change::Name { dir: root().join(&session).join(PANES), name }
            }
            Ok(Moved::Panes { session, name: None }) => {
                for (_, row) in rows_pane::main() {
                    let dir = root().join(&session);
                    let _ = changes.send(Change::Name { dir, name: row.name.to_owned() });
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
        dirs.extend(panes.map(|(name, _)| dir.join(PANES).join(&name)));
        if session.main().serial == serial {
            dirs.push(dir);
        }
    }
    dirs
}

impl LocalNode {
    fn names(&self, shows: &Shows) -> Vec<String> {
        fn rows<S>(rows: &'static [Row<S>]) -> impl Iterator<Item = String> {
            rows.iter().flat_map(|r| {
                let rotated = matches!(r.file, File::Log(_)).then(|| format!("{}.1", r.name));
                std::iter::once(r.name.to_owned()).chain(rotated)
            })
        }
        match shows {
            Shows::Node => {
                let sessions = self.sessions.all();
                rows(rows_node::ROWS).chain(sessions.iter().map(|s| s.shown())).collect()
            }
            Shows::Session(_) => rows(rows_pane::ROWS)
                .filter(|n| n != "status")
                .chain(rows(rows_session::ROWS))
                .chain([turns::QUEUE, turns::TURNS, talks::HISTORY, PANES].map(str::to_owned))
                .collect(),
            Shows::Panes(s) => s.session.panes().into_iter().map(|(name, _)| name).collect(),
            Shows::Pane(_) => rows(rows_pane::ROWS).collect(),
            Shows::Queue(s) => Self::turn_names(s, true),
            Shows::Turns(s) => Self::turn_names(s, false),
            Shows::History(s) => Self::talk_names(s),
            Shows::Turn(_) => rows(rows_turn::ROWS).collect(),
        }
    }
}

#[async_trait]
impl Tree for LocalNode {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        self.walk(at).map(|spot| self.stat_of(&spot))
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        let spot = self.walk(at)?;
        match &spot {
            Spot::File { file, .. } => Ok(file.read_size()),
            spot => Ok(self.stat_of(spot).size),
        }
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        let Spot::Dir { shows, .. } = self.walk(at)? else {
            return fail(Kind::NotDir, format!("{at} is no directory"));
        };
        let names = self.names(&shows).into_iter();
        // A name that went meanwhile, or a log that never rotated, is left out.
        Ok(names.filter_map(|name| Some(Entry { stat: self.stat(&at.join(&name)).ok()?, name })).collect())
    }

    fn admit(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<()> {
        // A prompt that is to be put into the queue is not there yet.
        if let ([session, turns::QUEUE, name], true) =
            (&*at.path.names().collect::<Vec<_>>(), access.writes())
        {
            let s = self.session(session)?;
            let known = s.session.turns.book().is_some_and(|b| b.is_used(name));
            if known {
                return fail(Kind::Exists, format!("{name}: the name was used before"));
            }
            return self.admit_prompt(&s, name);
        }
        self.open(who, at, access)?.admit(access)
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        self.open(who, at, Access::Read)?.read().await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        self.open(who, at, Access::Read)?.follow()
    }

    async fn write(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let written = match self.open(who, at, Access::Write) {
            Ok(file) => file.write(who, body).await,
            Err(e) => Err(e),
        };
        self.noted(who, at.path, written)
    }

    async fn write_through(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let written = match (self.open(who, at, Access::Write), self.takes_turns(at.path)) {
            (Ok(_), Some(s)) => turns::deliver(&s, who, body).await,
            (Ok(file), None) => file.write(who, body).await,
            (Err(e), _) => Err(e),
        };
        self.noted(who, at.path, written)
    }

    async fn ask(&self, who: &Caller, at: Place<'_>, question: Bytes) -> Result<Bytes> {
        let answered = match self.open(who, at, Access::Both) {
            Ok(file) => file.ask(who, question).await,
            Err(e) => Err(e),
        };
        self.noted(who, at.path, answered)
    }

    async fn make(&self, who: &Caller, at: &TreePath, body: Option<Bytes>) -> Result<Stat> {
        let made = match body {
            None => self.make_session(who, at).await,
            Some(body) => self.make_prompt(who, at, body).await,
        };
        self.noted(who, at, made)
    }

    async fn delivered(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let delivered = self.prompt_delivered(at).await;
        self.noted(who, at, delivered)
    }

    async fn remove(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let removed = self.remove_session(who, at).await;
        self.noted(who, at, removed)
    }

    async fn rename(&self, who: &Caller, from: &TreePath, to: &TreePath) -> Result<()> {
        let renamed = self.rename_session(who, from, to).await;
        self.noted(who, from, renamed)
    }

    async fn set_mode(&self, who: &Caller, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        let stat = self.stat(at.path)?;
        if who.uid != self.uid && who.uid != 0 {
            let denied = fail(Kind::Denied, format!("{}: not yours", at.path));
            return self.noted(who, at.path, denied);
        }
        if at.id.is_some_and(|id| id != stat.id) {
            return fail(Kind::Gone, format!("{}: what was opened is gone", at.path));
        }
        let mode = mode.map(|m| m & 0o777);
        match at.path.split_first() {
            Some((name, file)) if find(rows_node::ROWS, name).is_none() => {
                let session = self.session(name)?.session;
                self.sessions.records.set_mode(&session.record, file.as_str(), mode, gid).wait().await
            }
            _ => self.modes.set(&self.sessions.records, at.path.as_str(), mode, gid).wait().await,
        }
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        self.sessions.journal.refused(who, at.as_str(), why.text());
        if let Some((name, _)) = at.split_first()
            && let Some(session) = self.sessions.get(name)
        {
            session.set_last_error(why.text());
        }
    }
}
