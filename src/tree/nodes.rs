//! The nodes that a mount shows, by name: they come, go and are replaced while it is served.
//!
//! Passes on what each says of its changes. Must not know what a node is made of, nor who listens.
//!
//! Lock order: `members` alone, never held across a call into a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use super::node::{Node, Update};
use super::path::is_name;
use super::{Change, TreePath};
use crate::base::error::{Kind, Result, fail};

/// Changes kept for a listener that is slow; one that lags takes all it knows as out of date.
const CHANGES: usize = 4096;

pub struct Nodes {
    members: RwLock<BTreeMap<String, Member>>,
    changes: broadcast::Sender<Change>,
    sessions: broadcast::Sender<Told>,
}

/// A node, and the task that listens to it.
struct Member {
    node: Arc<dyn Node>,
    listener: AbortHandle,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// What happened to the node `node`.
#[derive(Debug, Clone)]
pub enum Told {
    /// Its feed reported this.
    Says { node: String, update: Arc<Update> },
    /// It was taken away, or another is in its place.
    Left { node: String },
}

impl Nodes {
    pub fn new() -> Arc<Self> {
        let changes = broadcast::channel(CHANGES).0;
        let sessions = broadcast::channel(CHANGES).0;
        Arc::new(Nodes { members: RwLock::default(), changes, sessions })
    }

    /// Shows `node` as directory `name`. `Exists` where the name is taken. Needs a tokio runtime.
    pub fn add(self: &Arc<Self>, name: &str, node: Arc<dyn Node>) -> Result<()> {
        if !is_name(name) || name.contains('.') {
            return fail(Kind::Invalid, format!("{name:?}: a node's name has no dots and no slashes"));
        }
        let member = self.member(name, node);
        let mut members = self.members.write();
        if members.contains_key(name) {
            drop(members); // before the member, which may call into its node
            return fail(Kind::Exists, format!("a node named {name} is there already"));
        }
        members.insert(name.to_owned(), member);
        drop(members);
        self.notify(Change::Name { dir: TreePath::root(), name: name.to_owned() });
        Ok(())
    }

    /// Shows `node` in the place of the one that is called `name`. `NotFound` where there is none.
    /// Needs a tokio runtime.
    pub fn replace(self: &Arc<Self>, name: &str, node: Arc<dyn Node>) -> Result<()> {
        let new = self.member(name, node);
        let old = match self.members.write().get_mut(name) {
            Some(member) => Some(std::mem::replace(member, new)),
            None => None,
        };
        if old.is_none() {
            return unknown(name);
        }
        self.left(name);
        self.notify(Change::Everything { below: TreePath::root().join(name) });
        Ok(())
    }

    /// Takes the node `name` away. What is open there goes on as the node lets it. `NotFound` where
    /// there is none.
    pub fn remove(&self, name: &str) -> Result<()> {
        let old = self.members.write().remove(name);
        if old.is_none() {
            return unknown(name);
        }
        self.left(name);
        self.notify(Change::Everything { below: TreePath::root().join(name) });
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<Arc<dyn Node>> {
        self.members.read().get(name).map(|member| member.node.clone())
    }

    pub fn all(&self) -> Vec<(String, Arc<dyn Node>)> {
        let members = self.members.read();
        members.iter().map(|(name, member)| (name.clone(), member.node.clone())).collect()
    }

    /// What doors must forget, from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// What the feeds say, from now on.
    pub fn sessions(&self) -> broadcast::Receiver<Told> {
        self.sessions.subscribe()
    }

    fn member(self: &Arc<Self>, name: &str, node: Arc<dyn Node>) -> Member {
        let (weak, name) = (Arc::downgrade(self), name.to_owned());
        let (mut changes, mut feed) = (node.changes(), node.feed());
        let listener = tokio::spawn(async move {
            let above = TreePath::root().join(&name);
            let mut feeds = true;
            loop {
                tokio::select! {
                    change = changes.recv() => {
                        let change = match change {
                            Ok(change) => change.below(&above),
                            Err(broadcast::error::RecvError::Lagged(_)) => {
                                Change::Everything { below: above.clone() }
                            }
                            Err(broadcast::error::RecvError::Closed) => return,
                        };
                        let Some(nodes) = weak.upgrade() else { return };
                        nodes.notify(change);
                    }
                    update = feed.next(), if feeds => {
                        let Some(nodes) = weak.upgrade() else { return };
                        match update {
                            Ok(Some(update)) => {
                                let (node, update) = (name.clone(), Arc::new(update));
                                let _ = nodes.sessions.send(Told::Says { node, update }); // nobody may listen
                            }
                            Ok(None) => feeds = false,
                            // Its changes are passed on all the same; a node that goes on reports so there.
                            Err(e) => {
                                tracing::warn!("{name}: its feed ended: {e}");
                                feeds = false;
                            }
                        }
                    }
                }
            }
        });
        Member { node, listener: listener.abort_handle() }
    }

    fn left(&self, name: &str) {
        let _ = self.sessions.send(Told::Left { node: name.to_owned() }); // nobody may listen
    }

    fn notify(&self, change: Change) {
        let _ = self.changes.send(change); // an error means: no door listens
    }
}

fn unknown<T>(name: &str) -> Result<T> {
    fail(Kind::NotFound, format!("no node is named {name}"))
}
