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

use super::{Access, Caller, Change, Entry, Follow, Place, Stat, Tree, TreePath};
use crate::error::{Error, Kind, Result, fail};

/// Changes kept for a door that is slow; one that lags takes all it knows as out of date.
const CHANGES: usize = 4096;

pub struct Union {
    front: Arc<dyn Tree>,
    nodes: RwLock<BTreeMap<String, Arc<dyn Tree>>>,
    changes: broadcast::Sender<Change>,
}

impl Union {
    /// `front` is the root directory itself: its rows stand beside the nodes.
    pub fn new(front: Arc<dyn Tree>) -> Arc<Self> {
        Arc::new(Union { front, nodes: RwLock::default(), changes: broadcast::channel(CHANGES).0 })
    }

    /// Shows `tree` as directory `name`, and passes its changes on while it lives.
    /// Needs a tokio runtime. Refused where the name is taken.
    pub fn add(self: &Arc<Self>, name: &str, tree: Arc<dyn Tree>) -> Result<()> {
        let mut changes = tree.changes();
        {
            let mut nodes = self.nodes.write();
            if nodes.contains_key(name) {
                return fail(Kind::Exists, format!("a node named {name} is there already"));
            }
            nodes.insert(name.to_owned(), tree);
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

    /// The tree that `at` leads into, and the path in it.
    fn find(&self, at: &TreePath) -> (Arc<dyn Tree>, TreePath) {
        if let Some((head, tail)) = at.split_first()
            && let Some(tree) = self.nodes.read().get(head)
        {
            return (tree.clone(), tail);
        }
        (self.front.clone(), at.clone())
    }
}

#[async_trait]
impl Tree for Union {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        let (tree, path) = self.find(at);
        tree.stat(&path)
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        let (tree, path) = self.find(at);
        tree.size(&path)
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        let (tree, path) = self.find(at);
        let mut entries = tree.list(&path)?;
        if at.is_root() {
            let nodes: Vec<_> = self.nodes.read().iter().map(|(n, t)| (n.clone(), t.clone())).collect();
            for (name, tree) in nodes {
                // One node's fault hides no other.
                if let Ok(stat) = tree.stat(&TreePath::root()) {
                    entries.push(Entry { name, stat });
                }
            }
        }
        Ok(entries)
    }

    fn admit(&self, who: &Caller, at: Place<'_>, access: Access) -> Result<()> {
        let (tree, path) = self.find(at.path);
        tree.admit(who, Place { path: &path, id: at.id }, access)
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        let (tree, path) = self.find(at.path);
        tree.read(who, Place { path: &path, id: at.id }).await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        let (tree, path) = self.find(at.path);
        tree.follow(who, Place { path: &path, id: at.id }).await
    }

    async fn write(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let (tree, path) = self.find(at.path);
        tree.write(who, Place { path: &path, id: at.id }, body).await
    }

    async fn write_through(&self, who: &Caller, at: Place<'_>, body: Bytes) -> Result<()> {
        let (tree, path) = self.find(at.path);
        tree.write_through(who, Place { path: &path, id: at.id }, body).await
    }

    async fn ask(&self, who: &Caller, at: Place<'_>, question: Bytes) -> Result<Bytes> {
        let (tree, path) = self.find(at.path);
        tree.ask(who, Place { path: &path, id: at.id }, question).await
    }

    async fn make(&self, who: &Caller, at: &TreePath, body: Option<Bytes>) -> Result<Stat> {
        let (tree, path) = self.find(at);
        if path.is_root() {
            return fail(Kind::Exists, format!("{at} is there already"));
        }
        tree.make(who, &path, body).await
    }

    async fn delivered(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let (tree, path) = self.find(at);
        tree.delivered(who, &path).await
    }

    async fn remove(&self, who: &Caller, at: &TreePath) -> Result<()> {
        let (tree, path) = self.find(at);
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
        let ((tree, from), (other, to)) = (self.find(from), self.find(to));
        if from.is_root() || to.is_root() || !Arc::ptr_eq(&tree, &other) {
            return fail(Kind::Never, "a node's directory cannot be renamed");
        }
        tree.rename(who, &from, &to).await
    }

    async fn set_mode(&self, who: &Caller, at: Place<'_>, mode: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (tree, path) = self.find(at.path);
        tree.set_mode(who, Place { path: &path, id: at.id }, mode, gid).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        let (tree, path) = self.find(at);
        if !Arc::ptr_eq(&tree, &self.front) {
            return tree.refused(who, &path, why);
        }
        // The root keeps no `errors` of its own: every node here may be asked, so each says it.
        let nodes: Vec<_> = self.nodes.read().values().cloned().collect();
        for tree in nodes {
            tree.refused(who, &path, why);
        }
    }
}
