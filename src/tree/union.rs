//! Several trees under one root: a front tree whose names come first (`.self`, `.help`), and one
//! directory a node. Knows nothing of what the trees are.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use super::nodes::Nodes;
use super::{Caller, Change, Entry, Follow, Gesture, Intent, Place, Receipt, Stat, Tree, TreePath, Until};
use crate::base::error::{Error, Kind, Result, fail};

/// Changes kept for a door that is slow; one that lags takes all it knows as out of date.
const CHANGES: usize = 4096;

pub struct Union {
    front: Arc<dyn Tree>,
    nodes: Arc<Nodes>,
    changes: broadcast::Sender<Change>,
}

impl Union {
    /// `front` is the root directory itself: its rows stand beside the nodes. Needs a tokio runtime.
    pub fn new(front: Arc<dyn Tree>, nodes: Arc<Nodes>) -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        for from in [front.changes(), nodes.changes()] {
            tokio::spawn(pass_on(from, changes.clone()));
        }
        Arc::new(Union { front, nodes, changes })
    }

    /// The tree that `at` leads into, and the path in it.
    fn find(&self, at: &TreePath) -> (Arc<dyn Tree>, TreePath) {
        if let Some((head, tail)) = at.split_first()
            && let Some(node) = self.nodes.get(head)
        {
            return (node, tail);
        }
        (self.front.clone(), at.clone())
    }
}

/// Until the source ends.
async fn pass_on(mut from: broadcast::Receiver<Change>, to: broadcast::Sender<Change>) {
    loop {
        let change = match from.recv().await {
            Ok(change) => change,
            Err(broadcast::error::RecvError::Lagged(_)) => Change::Everything { below: TreePath::root() },
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let _ = to.send(change); // an error means: no door listens
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
            for (name, node) in self.nodes.all() {
                // One node's fault hides no other.
                if let Ok(stat) = node.stat(&TreePath::root()) {
                    entries.push(Entry { name, stat });
                }
            }
        }
        Ok(entries)
    }

    async fn look(&self, dir: &TreePath) -> Result<()> {
        let (tree, path) = self.find(dir);
        tree.look(&path).await
    }

    fn admit(&self, who: &Caller, intent: Intent<'_>) -> Result<()> {
        match intent {
            Intent::Open(at, access) => {
                let (tree, path) = self.find(at.path);
                tree.admit(who, Intent::Open(Place { path: &path, id: at.id }, access))
            }
            Intent::Make(at) => {
                let (tree, path) = self.find(at);
                tree.admit(who, Intent::Make(&path))
            }
        }
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        let (tree, path) = self.find(at.path);
        tree.read(who, Place { path: &path, id: at.id }).await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        let (tree, path) = self.find(at.path);
        tree.follow(who, Place { path: &path, id: at.id }).await
    }

    async fn write(&self, gesture: &Gesture, at: Place<'_>, body: Bytes, until: Until) -> Result<Receipt> {
        let (tree, path) = self.find(at.path);
        tree.write(gesture, Place { path: &path, id: at.id }, body, until).await
    }

    async fn ask(&self, gesture: &Gesture, at: Place<'_>, question: Bytes) -> Result<(Bytes, Receipt)> {
        let (tree, path) = self.find(at.path);
        tree.ask(gesture, Place { path: &path, id: at.id }, question).await
    }

    async fn make(
        &self,
        gesture: &Gesture,
        at: &TreePath,
        body: Option<Bytes>,
        until: Until,
    ) -> Result<(Stat, Receipt)> {
        let (tree, path) = self.find(at);
        if path.is_root() {
            return fail(Kind::Exists, format!("{at} is there already"));
        }
        tree.make(gesture, &path, body, until).await
    }

    async fn remove(&self, gesture: &Gesture, at: Place<'_>) -> Result<Receipt> {
        let (tree, path) = self.find(at.path);
        if path.is_root() {
            return fail(Kind::Never, "a node's directory stays while the node is known");
        }
        tree.remove(gesture, Place { path: &path, id: at.id }).await
    }

    async fn rename(&self, gesture: &Gesture, from: Place<'_>, to: &TreePath) -> Result<Receipt> {
        // Never EXDEV: mv would copy and delete instead.
        if from.path.parent() != to.parent() {
            return fail(Kind::Never, format!("{} cannot move to another directory", from.path));
        }
        let ((tree, path), (other, to)) = (self.find(from.path), self.find(to));
        if path.is_root() || to.is_root() || !Arc::ptr_eq(&tree, &other) {
            return fail(Kind::Never, "a node's directory cannot be renamed");
        }
        tree.rename(gesture, Place { path: &path, id: from.id }, &to).await
    }

    async fn set_mode(
        &self,
        gesture: &Gesture,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Receipt> {
        let (tree, path) = self.find(at.path);
        tree.set_mode(gesture, Place { path: &path, id: at.id }, mode, gid).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Of a node it stands there; of the root and of names that are no node's, in the front's own.
    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        let (tree, path) = self.find(at);
        tree.refused(who, &path, why);
    }
}
