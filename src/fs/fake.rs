//! A tree in memory with one file of every shape, for tests of the door: kernel-free here, and on
//! real mounts in `tests/it`. Knows the seam alone.

// Compiled for two sets of tests, neither of which needs all of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::whole;
use muxfs_tree::{
    Accepts, Caller, Change, Entry, Follow, Gesture, Intent, Lines, Log, Place, Receipt, Shape, Stat, Tree,
    TreePath, Unit, Until,
};

#[path = "fake_node.rs"]
mod node;

/// A session's files: name, shape, mode, text.
const SESSION: &[(&str, Shape, u32, &str)] = &[
    ("input", Shape::Sink(Unit::Message), 0o200, ""),
    ("keys", Shape::Sink(Unit::Line), 0o200, ""),
    ("status", Shape::View, 0o400, "state: ready\n"),
    ("logs", Shape::Log, 0o400, ""),
    ("notes", Shape::Append, 0o600, ""),
    ("events", Shape::Events, 0o400, ""),
    ("wait", Shape::Wait, 0o400, ""),
    ("ask", Shape::Ask, 0o600, ""),
    ("ctl", Shape::Ctl, 0o600, "start\nstop\n"),
    ("config", Shape::Document, 0o600, "a = 1\n"),
    ("queue", Shape::Dir(Accepts::Items), 0o700, ""),
    ("turns", Shape::Dir(Accepts::Nothing), 0o500, ""),
];

type AfterStat = Box<dyn FnOnce(&Fake) + Send>;

pub struct Fake {
    inner: Mutex<Inner>,
    changes: broadcast::Sender<Change>,
    /// `false` holds every answer back.
    pub answering: watch::Sender<bool>,
    /// Paths whose operations wait, see [`Fake::stall`].
    stalled: watch::Sender<HashSet<String>>,
    /// Operations that wait there.
    waiting: AtomicUsize,
    /// Directories that are unknown until they are looked at.
    unknown: Mutex<HashSet<String>>,
    /// Directories that were looked at, in this order.
    looks: Mutex<Vec<String>>,
    /// Done right after the next `stat` of a path, once.
    after_stat: Mutex<Option<(TreePath, AfterStat)>>,
    me: Weak<Fake>,
}

struct Inner {
    nodes: BTreeMap<TreePath, Object>,
    next: u64,
    sent: Vec<(String, String)>,
    refusals: Vec<String>,
    refuse: HashMap<String, Kind>,
    used: HashSet<TreePath>,
    states: HashMap<String, &'static str>,
}

struct Object {
    stat: Stat,
    text: Bytes,
    /// What `size` says, where it does not know better.
    bound: Option<u64>,
    log: Arc<FakeLog>,
    readers: Vec<mpsc::UnboundedSender<Bytes>>,
}

#[derive(Default)]
pub struct FakeLog {
    id: u64,
    text: Mutex<Vec<u8>>,
    more: Notify,
}

#[async_trait]
impl Log for FakeLog {
    fn id(&self) -> u64 {
        self.id
    }
    fn size(&self) -> u64 {
        self.text.lock().len() as u64
    }
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        let text = self.text.lock();
        let start = (offset as usize).min(text.len());
        Ok(Bytes::copy_from_slice(&text[start..(start + len).min(text.len())]))
    }
    async fn grown(&self, past: u64) -> Result<bool> {
        while self.size() <= past {
            self.more.notified().await;
        }
        Ok(true)
    }
}

struct Reader(mpsc::UnboundedReceiver<Bytes>);

#[async_trait]
impl Lines for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.recv().await)
    }
}

pub fn path(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

impl Fake {
    /// A node `n` with a session `s`.
    pub fn new() -> Arc<Self> {
        let inner = Inner {
            nodes: BTreeMap::new(),
            next: 1,
            sent: Vec::new(),
            refusals: Vec::new(),
            refuse: HashMap::new(),
            used: HashSet::new(),
            states: HashMap::new(),
        };
        let fake = |me: &Weak<Fake>| Fake {
            inner: Mutex::new(inner),
            changes: broadcast::channel(64).0,
            answering: watch::channel(true).0,
            stalled: watch::channel(HashSet::new()).0,
            waiting: AtomicUsize::new(0),
            unknown: Mutex::default(),
            looks: Mutex::default(),
            after_stat: Mutex::default(),
            me: me.clone(),
        };
        let fake = Arc::new_cyclic(fake);
        {
            let mut inner = fake.inner.lock();
            inner.add(&TreePath::root(), Shape::Dir(Accepts::Nothing), 0o700, "");
            inner.add(&path(".self"), Shape::Link, 0o777, "n");
            inner.add(&path("n"), Shape::Dir(Accepts::Dirs), 0o700, "");
            inner.add(&path("n/index"), Shape::View, 0o400, "s - ready\n");
            inner.session(&path("n/s"));
        }
        fake
    }

    fn me(&self) -> Arc<Fake> {
        self.me.upgrade().unwrap()
    }

    /// Does `act` when the next `stat` of `at` has its answer, and before anybody hears it.
    pub fn after_stat(&self, at: &str, act: impl FnOnce(&Fake) + Send + 'static) {
        *self.after_stat.lock() = Some((path(at), Box::new(act)));
    }

    /// From now on nothing is known of the names in `dir`, until somebody looks.
    pub fn forget(&self, dir: &str) {
        self.unknown.lock().insert(dir.to_owned());
    }

    /// The directories that were looked at since the last call.
    pub fn looks(&self) -> Vec<String> {
        std::mem::take(&mut self.looks.lock())
    }

    /// What was delivered, as (path, text), since the last call.
    pub fn sent(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.inner.lock().sent)
    }

    pub fn refusals(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().refusals)
    }

    pub fn text(&self, at: &str) -> String {
        String::from_utf8_lossy(&self.inner.lock().nodes[&path(at)].text).into_owned()
    }

    /// Another text of a view.
    pub fn set(&self, at: &str, text: &str) {
        self.inner.lock().nodes.get_mut(&path(at)).unwrap().text = Bytes::from(text.to_owned());
    }

    /// What `size` says of a view from now on, whatever its text is.
    pub fn bound(&self, at: &str, bound: u64) {
        self.inner.lock().nodes.get_mut(&path(at)).unwrap().bound = Some(bound);
    }

    /// What `admit` says of a path from now on.
    pub fn refuse(&self, at: &str, kind: Option<Kind>) {
        let mut inner = self.inner.lock();
        match kind {
            Some(kind) => inner.refuse.insert(at.to_owned(), kind),
            None => inner.refuse.remove(at),
        };
    }

    /// From now on, reading, writing, making, removing, renaming and changing the mode of `at` wait
    /// before they have done anything; until they are let go with `false`.
    pub fn stall(&self, at: &str, on: bool) {
        self.stalled.send_modify(|paths| {
            if on {
                paths.insert(at.to_owned());
            } else {
                paths.remove(at);
            }
        });
    }

    /// How many operations wait because of [`Fake::stall`].
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    async fn pass(&self, at: &TreePath) {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let mut stalled = self.stalled.subscribe();
        if stalled.borrow().contains(at.as_str()) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let _waits = Waits(&self.waiting);
            let _ = stalled.wait_for(|paths| !paths.contains(at.as_str())).await;
        }
    }

    pub fn log(&self, at: &str, text: &str) {
        let mut inner = self.inner.lock();
        let node = inner.nodes.get_mut(&path(at)).unwrap();
        node.log.text.lock().extend_from_slice(text.as_bytes());
        node.log.more.notify_waiters();
    }

    /// Another inode takes the log's name.
    pub fn rotate(&self, at: &str) {
        let at = path(at);
        {
            let mut inner = self.inner.lock();
            let node = inner.nodes.remove(&at).unwrap();
            inner.add(&at, node.stat.shape, node.stat.mode, "");
        }
        self.tell(&at);
    }

    pub fn line(&self, at: &str, line: &str) {
        let mut inner = self.inner.lock();
        let node = inner.nodes.get_mut(&path(at)).unwrap();
        node.readers.retain(|r| r.send(Bytes::from(line.to_owned())).is_ok());
    }

    /// How many readers follow a file.
    pub fn readers(&self, at: &str) -> usize {
        let mut inner = self.inner.lock();
        let node = inner.nodes.get_mut(&path(at)).unwrap();
        node.readers.retain(|r| !r.is_closed());
        node.readers.len()
    }

    pub fn end_lines(&self, at: &str) {
        self.inner.lock().nodes.get_mut(&path(at)).unwrap().readers.clear();
    }

    /// Another node, without sessions.
    pub fn add_node(&self, at: &str) {
        self.inner.lock().add(&path(at), Shape::Dir(Accepts::Dirs), 0o700, "");
    }

    /// As another door would.
    pub fn add_session(&self, at: &str) {
        self.inner.lock().session(&path(at));
        self.tell(&path(at));
    }

    pub fn end_session(&self, at: &str) {
        self.inner.lock().drop_below(&path(at));
        self.tell(&path(at));
    }

    pub fn rename_session(&self, from: &str, to: &str) {
        self.inner.lock().rename(&path(from), &path(to));
        let (from, to) = (path(from), path(to));
        let _ = self.changes.send(Change::Renamed {
            dir: from.parent(),
            from: from.name().into(),
            to: to.name().into(),
        });
    }

    fn tell(&self, at: &TreePath) {
        let _ = self.changes.send(Change::Name { dir: at.parent(), name: at.name().into() });
    }
}

impl Inner {
    fn add(&mut self, at: &TreePath, shape: Shape, mode: u32, text: &str) -> Stat {
        self.next += 1;
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + self.next);
        let stat = Stat { shape, id: self.next, mode, uid, gid, size: 0, mtime };
        let log = Arc::new(FakeLog { id: stat.id, ..FakeLog::default() });
        let text = Bytes::from(text.to_owned());
        self.nodes.insert(at.clone(), Object { stat, text, bound: None, log, readers: Vec::new() });
        stat
    }

    fn session(&mut self, at: &TreePath) -> Stat {
        let stat = self.add(at, Shape::Dir(Accepts::Scratch), 0o700, "");
        for (name, shape, mode, text) in SESSION {
            self.add(&at.join(name), *shape, *mode, text);
        }
        stat
    }

    fn drop_below(&mut self, at: &TreePath) {
        self.nodes.retain(|path, _| path.is_root() || path.strip(at).is_none());
    }

    fn rename(&mut self, from: &TreePath, to: &TreePath) {
        for (path, node) in std::mem::take(&mut self.nodes) {
            let moved = if path.is_root() { None } else { path.strip(from).map(|tail| to.under(&tail)) };
            self.nodes.insert(moved.unwrap_or(path), node);
        }
    }

    fn stat(&self, at: &TreePath) -> Result<Stat> {
        let Some(node) = self.nodes.get(at) else { return fail(Kind::NotFound, format!("{at}: no such")) };
        let size = match node.stat.shape {
            Shape::Log | Shape::Append => node.log.size(),
            Shape::Document | Shape::Item | Shape::Link => node.text.len() as u64,
            _ => 0,
        };
        Ok(Stat { size, ..node.stat })
    }

    fn place(&mut self, at: Place<'_>) -> Result<&mut Object> {
        match self.nodes.get_mut(at.path) {
            None => fail(Kind::NotFound, format!("{}: no such", at.path)),
            Some(node) if at.id.is_some_and(|id| id != node.stat.id) => fail(Kind::Gone, "another"),
            Some(node) => Ok(node),
        }
    }
}

impl Fake {
    /// What is in `dir` is known; the root itself always is.
    fn known(&self, dir: &TreePath) -> Result<()> {
        match self.unknown.lock().contains(dir.as_str()) {
            true => fail(Kind::Unknown, format!("{dir} was not looked at")),
            false => Ok(()),
        }
    }

    async fn write_now(&self, at: Place<'_>, body: Bytes) -> Result<()> {
        self.pass(at.path).await;
        let mut inner = self.inner.lock();
        let text = String::from_utf8_lossy(&body).into_owned();
        let verdict = {
            let node = inner.place(at)?;
            if text.contains("BAD") {
                fail(Kind::Invalid, "a bad text")
            } else {
                match node.stat.shape {
                    Shape::Document if node.text == body => return Ok(()),
                    Shape::Document => {
                        node.text = body;
                        node.stat.mtime += Duration::from_secs(1);
                    }
                    Shape::Append => node.log.text.lock().extend_from_slice(&body),
                    _ => {}
                }
                Ok(())
            }
        };
        match &verdict {
            Ok(()) => inner.sent.push((at.path.to_string(), text)),
            Err(e) => inner.refusals.push(format!("{}: {e}", at.path)),
        }
        verdict
    }

    async fn make_now(&self, at: &TreePath, body: Option<Bytes>) -> Result<Stat> {
        self.pass(at).await;
        let stat = {
            let mut inner = self.inner.lock();
            if inner.nodes.contains_key(at) || !inner.used.insert(at.clone()) {
                return fail(Kind::Exists, "used before");
            }
            match body {
                None => inner.session(at),
                Some(body) => {
                    let text = String::from_utf8_lossy(&body).into_owned();
                    let stat = inner.add(at, Shape::Item, 0o600, &text);
                    inner.sent.push((at.to_string(), text));
                    stat
                }
            }
        };
        self.tell(at);
        self.stat(at).or(Ok(stat))
    }

    async fn remove_now(&self, at: Place<'_>) -> Result<()> {
        self.pass(at.path).await;
        {
            let mut inner = self.inner.lock();
            inner.place(at)?;
            inner.drop_below(at.path);
            inner.used.remove(at.path);
        }
        self.tell(at.path);
        Ok(())
    }

    async fn rename_now(&self, from: Place<'_>, to: &TreePath) -> Result<()> {
        self.pass(from.path).await;
        self.inner.lock().place(from)?;
        self.rename_session(from.path.as_str(), to.as_str());
        Ok(())
    }

    async fn set_mode_now(&self, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        self.pass(at.path).await;
        let mut inner = self.inner.lock();
        let node = inner.place(at)?;
        if node.stat.shape == Shape::Document && mode.is_some_and(|m| m & 0o077 != 0) {
            return fail(Kind::Never, "settings are their owner's alone");
        }
        node.stat.mode = mode.unwrap_or(node.stat.mode);
        node.stat.gid = gid.unwrap_or(node.stat.gid);
        Ok(())
    }
}

#[async_trait]
impl Tree for Fake {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        self.known(&at.parent())?;
        let answer = self.inner.lock().stat(at);
        let act = self.after_stat.lock().take_if(|(path, _)| path == at);
        if let Some((_, act)) = act {
            act(self);
        }
        answer
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        self.known(&at.parent())?;
        let inner = self.inner.lock();
        let Some(node) = inner.nodes.get(at) else { return fail(Kind::NotFound, "no such") };
        Ok(node.bound.unwrap_or(node.text.len() as u64))
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        self.known(at)?;
        let inner = self.inner.lock();
        inner.stat(at)?;
        let children = inner.nodes.keys().filter(|p| !p.is_root() && p.parent() == *at);
        children.map(|p| Ok(Entry { name: p.name().into(), stat: inner.stat(p)? })).collect()
    }

    async fn look(&self, dir: &TreePath) -> Result<()> {
        self.looks.lock().push(dir.to_string());
        self.pass(dir).await;
        self.unknown.lock().remove(dir.as_str());
        Ok(())
    }

    fn admit(&self, _: &Caller, intent: Intent<'_>) -> Result<()> {
        let mut inner = self.inner.lock();
        let path = match intent {
            Intent::Open(at, _) => {
                self.known(&at.path.parent())?;
                inner.place(at)?;
                at.path
            }
            Intent::Make(at) => at,
        };
        match inner.refuse.get(path.as_str()) {
            Some(kind) => fail(*kind, "not admitted"),
            None => Ok(()),
        }
    }

    async fn read(&self, _: &Caller, at: Place<'_>) -> Result<Bytes> {
        self.pass(at.path).await;
        Ok(self.inner.lock().place(at)?.text.clone())
    }

    async fn follow(&self, _: &Caller, at: Place<'_>) -> Result<Follow> {
        let mut inner = self.inner.lock();
        let node = inner.place(at)?;
        Ok(match node.stat.shape {
            Shape::Log | Shape::Append => Follow::Log(node.log.clone()),
            _ => {
                let (tx, rx) = mpsc::unbounded_channel();
                node.readers.push(tx);
                Follow::Lines(Box::new(Reader(rx)))
            }
        })
    }

    async fn write(&self, gesture: &Gesture, at: Place<'_>, body: Bytes, _: Until) -> Result<Receipt> {
        let (me, gesture, path, id) = (self.me(), gesture.clone(), at.path.clone(), at.id);
        let work = async move {
            let place = Place { path: &path, id };
            gesture.may_begin()?;
            // A command that has begun is done whole; a message that waits is taken back.
            if me.stat(&path).is_ok_and(|stat| stat.shape == Shape::Ctl) {
                me.write_now(place, body).await
            } else {
                gesture.until_cancelled(me.write_now(place, body)).await
            }
        };
        whole(work).await.map(|()| Receipt::default())
    }

    async fn ask(&self, gesture: &Gesture, at: Place<'_>, question: Bytes) -> Result<(Bytes, Receipt)> {
        let receipt = self.write(gesture, at, question.clone(), Until::Accepted).await?;
        let mut answering = self.answering.subscribe();
        let _ = answering.wait_for(|on| *on).await;
        Ok(([b"re: ".as_slice(), &question].concat().into(), receipt))
    }

    async fn make(
        &self,
        gesture: &Gesture,
        at: &TreePath,
        body: Option<Bytes>,
        _: Until,
    ) -> Result<(Stat, Receipt)> {
        let (me, gesture, at) = (self.me(), gesture.clone(), at.clone());
        let work = async move { gesture.until_cancelled(me.make_now(&at, body)).await };
        whole(work).await.map(|stat| (stat, Receipt::default()))
    }

    async fn remove(&self, gesture: &Gesture, at: Place<'_>) -> Result<Receipt> {
        gesture.may_begin()?;
        let (me, path, id) = (self.me(), at.path.clone(), at.id);
        let work = async move { me.remove_now(Place { path: &path, id }).await };
        whole(work).await.map(|()| Receipt::default())
    }

    async fn rename(&self, gesture: &Gesture, from: Place<'_>, to: &TreePath) -> Result<Receipt> {
        gesture.may_begin()?;
        let (me, path, id, to) = (self.me(), from.path.clone(), from.id, to.clone());
        let work = async move { me.rename_now(Place { path: &path, id }, &to).await };
        whole(work).await.map(|()| Receipt::default())
    }

    async fn set_mode(
        &self,
        gesture: &Gesture,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Receipt> {
        let (me, gesture, path, id) = (self.me(), gesture.clone(), at.path.clone(), at.id);
        let work = async move {
            gesture.until_cancelled(me.set_mode_now(Place { path: &path, id }, mode, gid)).await
        };
        whole(work).await.map(|()| Receipt::default())
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, _: &Caller, at: &TreePath, why: &Error) {
        self.inner.lock().refusals.push(format!("{at}: {why}"));
    }
}
