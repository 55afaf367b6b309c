//! The tree in memory as a node: what it says of its sessions.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{Fake, path};
use muxfs_tree::base::error::Result;
use muxfs_tree::node::{Feed, Link, Machine, Node, NodeInfo, SessionInfo, Snapshot, Update};
use muxfs_tree::{Accepts, Change, Position, Shape, Tree, TreePath};

impl Fake {
    /// A node's own tree, with a session `s`.
    pub fn node() -> Arc<Self> {
        let fake = Fake::new();
        {
            let mut inner = fake.inner.lock();
            inner.nodes.clear();
            inner.add(&TreePath::root(), Shape::Dir(Accepts::Dirs), 0o700, "");
            inner.session(&path("s"));
        }
        fake
    }

    /// A session is in another state, as [`Node`] says it.
    pub fn state(&self, session: &str, state: &'static str) {
        self.inner.lock().states.insert(session.to_owned(), state);
        self.tell(&path(session));
    }
}

impl Node for Fake {
    fn about(&self) -> NodeInfo {
        NodeInfo {
            id: "fake".into(),
            name: "fake".into(),
            link: Link::Online,
            since: SystemTime::UNIX_EPOCH,
            last_seen: SystemTime::UNIX_EPOCH,
            via: "memory".into(),
            why: String::new(),
            version: "0".into(),
            sessions: self.sessions().len(),
            machine: Machine::default(),
        }
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        let entries = self.list(&TreePath::root()).unwrap_or_default();
        entries.into_iter().filter_map(|e| self.session(&e.name)).collect()
    }

    fn session(&self, name: &str) -> Option<SessionInfo> {
        let inner = self.inner.lock();
        let stat = inner.stat(&TreePath::root().join(name)).ok()?;
        (stat.shape == Shape::Dir(Accepts::Scratch)).then(|| SessionInfo {
            id: stat.id,
            name: name.to_owned(),
            agent: None,
            state: inner.states.get(name).copied().unwrap_or("ready"),
            detail: String::new(),
            age: Duration::ZERO,
            queue: 0,
            cwd: "/".into(),
            main: stat.id,
            logs: Vec::new(),
            documents: Vec::new(),
            refuses: Vec::new(),
            modes: Vec::new(),
        })
    }

    fn feed(&self) -> Box<dyn Feed> {
        Box::new(FakeFeed { fake: self.me.clone(), changes: self.changes.subscribe(), anew: true, at: 0 })
    }
}

/// A snapshot, and another one at each change.
struct FakeFeed {
    fake: Weak<Fake>,
    changes: broadcast::Receiver<Change>,
    anew: bool,
    at: u64,
}

#[async_trait]
impl Feed for FakeFeed {
    async fn next(&mut self) -> Result<Option<Update>> {
        if !std::mem::take(&mut self.anew)
            && let Err(broadcast::error::RecvError::Closed) = self.changes.recv().await
        {
            return Ok(None);
        }
        self.at += 1;
        let Some(fake) = self.fake.upgrade() else { return Ok(None) };
        let at = Position { epoch: 1, sequence: self.at };
        let all = Snapshot { files: Vec::new(), node: fake.about(), sessions: fake.sessions() };
        Ok(Some(Update::Snapshot { at, all: Box::new(all) }))
    }
}
