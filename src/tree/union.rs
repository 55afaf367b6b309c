//! Several trees under one root: a front tree whose names come first (`.self`, `.help`), and one
//! directory a node. Knows nothing of what the trees are.
//!
//! Lock order: `nodes` alone, never held across a call into a tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::broadcast;

use super::{Access, Caller, Change, Entry, Follow, Log, Place, Stat, Tree, TreePath};
use crate::error::{Error, Kind, Result, fail};

/// Ids of the trees below are made distinct by their slot in the upper 8 bits: at most 255 trees,
/// and a tree's own ids stay below 2^56.
const SLOT_SHIFT: u32 = 56;

/// Changes kept for a door that is slow; one that lags takes all it knows as out of date.
const CHANGES: usize = 4096;

/// A tree below, and the slot its ids are shown under.
type Slot = (u64, Arc<dyn Tree>);

pub struct Union {
    front: Arc<dyn Tree>,
    nodes: RwLock<BTreeMap<String, Slot>>,
    changes: broadcast::Sender<Change>,
}

impl Union {
    /// `front` is the root directory itself: its rows stand beside the nodes.
    pub fn new(front: Arc<dyn Tree>) -> Arc<Self> {
        Arc::new(Union { front, nodes: RwLock::default(), changes: broadcast::channel(CHANGES).0 })
    }

    /// Shows `tree` as directory `name`, and passes its changes on while it lives.
    /// Needs a tokio runtime. Refused where the name is taken or 255 trees are there.
    pub fn add(self: &Arc<Self>, name: &str, tree: Arc<dyn Tree>) -> Result<()> {
        let mut changes = tree.changes();
        {
            let mut nodes = self.nodes.write();
            if nodes.contains_key(name) {
                return fail(Kind::Exists, format!("a node named {name} is there already"));
            }
            let free = (1..=255).find(|slot| nodes.values().all(|(used, _)| used != slot));
            let Some(slot) = free else { return fail(Kind::Full, "255 nodes are the most one mount shows") };
            nodes.insert(name.to_owned(), (slot, tree));
        }
        let above = TreePath::root().join(name);
        self.tell(Change::Name { dir: TreePath::root(), name: name.to_owned() });
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let change = match changes.recv().await {
                    Ok(change) => change.below(&above),
                    // What was missed is unknown, so the whole node is out of date.
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        Change::Name { dir: TreePath::root(), name: above.name().to_owned() }
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                let Some(union) = weak.upgrade() else { return };
                union.tell(change);
            }
        });
        Ok(())
    }

    fn tell(&self, change: Change) {
        let _ = self.changes.send(change); // an error means: no door listens
    }

    /// The tree that `at` leads into, the path in it, and its slot.
    fn find(&self, at: &TreePath) -> (u64, Arc<dyn Tree>, TreePath) {
        if let Some((head, tail)) = at.split_first()
            && let Some((slot, tree)) = self.nodes.read().get(head)
        {
            return (*slot, tree.clone(), tail);
        }
        (0, self.front.clone(), at.clone())
    }
}

fn outer(slot: u64, mut stat: Stat) -> Stat {
    debug_assert!(stat.id >> SLOT_SHIFT == 0);
    stat.id |= slot << SLOT_SHIFT;
    stat
}

/// The id as the tree below knows it; an id of another slot means the object is gone.
fn inner(slot: u64, id: Option<u64>) -> Result<Option<u64>> {
    match id {
        Some(id) if id >> SLOT_SHIFT != slot => fail(Kind::Gone, "the node is gone"),
        id => Ok(id.map(|id| id & ((1 << SLOT_SHIFT) - 1))),
    }
}

/// A log of a tree below, under the id that this tree gave out.
struct Renumbered(u64, Arc<dyn Log>);

#[async_trait]
impl Log for Renumbered {
    fn id(&self) -> u64 {
        self.1.id() | self.0 << SLOT_SHIFT
    }
    fn size(&self) -> u64 {
        self.1.size()
    }
    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        self.1.read_at(offset, len).await
    }
    async fn grown(&self, past: u64) -> bool {
        self.1.grown(past).await
    }
}

#[async_trait]
impl Tree for Union {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        let (slot, tree, path) = self.find(at);
        Ok(outer(slot, tree.stat(&path)?))
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        let (_, tree, path) = self.find(at);
        tree.size(&path)
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        let (slot, tree, path) = self.find(at);
        let mut entries = tree.list(&path)?;
        for entry in &mut entries {
            entry.stat = outer(slot, entry.stat);
        }
        if at.is_root() {
            let nodes: Vec<_> =
                self.nodes.read().iter().map(|(n, (s, t))| (n.clone(), *s, t.clone())).collect();
            for (name, slot, tree) in nodes {
                entries.push(Entry { name, stat: outer(slot, tree.stat(&TreePath::root())?) });
            }
        }
        Ok(entries)
    }

    fn admit(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<()> {
        let (slot, tree, path) = self.find(at.path);
        tree.admit(who, Place { path: &path, id: inner(slot, at.id)? }, access)
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        let (slot, tree, path) = self.find(at.path);
        tree.read(who, Place { path: &path, id: inner(slot, at.id)? }).await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        let (slot, tree, path) = self.find(at.path);
        let follow = tree.follow(who, Place { path: &path, id: inner(slot, at.id)? }).await?;
        Ok(match follow {
            Follow::Log(log) => Follow::Log(Arc::new(Renumbered(slot, log))),
            lines => lines,
        })
    }

    async fn write(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let (slot, tree, path) = self.find(at.path);
        tree.write(who, Place { path: &path, id: inner(slot, at.id)? }, body).await
    }

    async fn write_through(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let (slot, tree, path) = self.find(at.path);
        tree.write_through(who, Place { path: &path, id: inner(slot, at.id)? }, body).await
    }

    async fn ask(&self, who: &Caller, at: Place<'_>, question: Bytes) -> Result<Bytes> {
        let (slot, tree, path) = self.find(at.path);
        tree.ask(who, Place { path: &path, id: inner(slot, at.id)? }, question).await
    }

    async fn make(&self, who: &Caller, at: &TreePath, body: Option<Bytes>) -> Result<Stat> {
        let (slot, tree, path) = self.find(at);
        if path.is_root() {
            return fail(Kind::Exists, format!("{at} is there already"));
        }
        Ok(outer(slot, tree.make(who, &path, body).await?))
    }

    async fn delivered(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let (_, tree, path) = self.find(at);
        tree.delivered(who, &path).await
    }

    async fn remove(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let (_, tree, path) = self.find(at);
        if path.is_root() {
            return fail(Kind::Never, "a node's directory stays while the node is known");
        }
        tree.remove(who, &path).await
    }

    async fn rename(&self, who: &Caller, from: &TreePath, to: &TreePath) -> Result<()> {
        // Never EXDEV: mv would copy and delete instead.
        if from.parent() != to.parent() {
            return fail(Kind::Never, format!("{from} cannot move to another directory"));
        }
        let ((_, tree, from), (_, other, to)) = (self.find(from), self.find(to));
        if from.is_root() || to.is_root() || !Arc::ptr_eq(&tree, &other) {
            return fail(Kind::Never, "a node's directory cannot be renamed");
        }
        tree.rename(who, &from, &to).await
    }

    async fn set_mode(&self, who: &Caller, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (slot, tree, path) = self.find(at.path);
        tree.set_mode(who, Place { path: &path, id: inner(slot, at.id)? }, mode, gid).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        let (slot, tree, path) = self.find(at);
        if slot != 0 {
            return tree.refused(who, &path, why);
        }
        // The root keeps no `errors` of its own: every node here may be asked, so each says it.
        let nodes: Vec<_> = self.nodes.read().values().map(|(_, t)| t.clone()).collect();
        for tree in nodes {
            tree.refused(who, &path, why);
        }
    }
}
