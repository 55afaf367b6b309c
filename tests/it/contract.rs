//! What every tree and every node promises (`src/tree/lib.rs`, `src/tree/node.rs`), on the tree in memory, the
//! local node, the union of both, and through the kernel.

mod door;
mod feed;
mod nodes;
mod once;
mod suite;

use std::sync::Arc;

use muxfs_tree::node::{Feed, Node, SessionInfo, Update};
use tokio::runtime::Runtime;

use crate::support::LIMIT;

/// A feed with what its follower knows.
struct Follower {
    feed: Box<dyn Feed>,
    known: Vec<SessionInfo>,
    last: Option<muxfs_tree::Position>,
    snapshots: usize,
}

impl Follower {
    fn new(node: &Arc<impl Node + ?Sized>) -> Self {
        Follower { feed: node.feed(), known: Vec::new(), last: None, snapshots: 0 }
    }

    /// Takes the next update in.
    async fn step(&mut self) -> Update {
        let next = tokio::time::timeout(LIMIT, self.feed.next()).await;
        let update = next.expect("an update comes").unwrap().expect("the node lives");
        let at = update.at();
        if let Some(last) = self.last {
            assert!(last.epoch == at.epoch && last.sequence <= at.sequence, "{last:?} {at:?}");
        }
        self.last = Some(at);
        match &update {
            Update::Snapshot { all, .. } => {
                self.snapshots += 1;
                self.known.clone_from(&all.sessions);
            }
            Update::Session { session, .. } => {
                self.known.retain(|s| s.id != session.id);
                self.known.push((**session).clone());
            }
            Update::Gone { id, .. } => self.known.retain(|s| s.id != *id),
            Update::Changed { .. } | Update::Reached { .. } => {}
        }
        update
    }

    /// Until the follower knows what `met` wants.
    async fn until(&mut self, what: &str, met: impl Fn(&Follower) -> bool) {
        let limit = tokio::time::Instant::now() + LIMIT;
        while !met(self) {
            assert!(tokio::time::Instant::now() < limit, "{what}: {:?}", self.known);
            self.step().await;
        }
    }

    fn session(&self, name: &str) -> Option<&SessionInfo> {
        self.known.iter().find(|s| s.name == name)
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
