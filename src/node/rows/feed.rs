//! What changes of this node, for those who keep a copy: a snapshot, then an update for each move.
//!
//! Knows what moves among the sessions. Must not know who follows.

use std::collections::{HashMap, VecDeque};
use std::sync::Weak;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{LocalNode, changes_of};
use crate::session::{Moved, Sessions};
use muxfs_tree::base::error::Result;
use muxfs_tree::node::{Feed, FileInfo, Node, SessionInfo, Snapshot, Update};
use muxfs_tree::{Change, Position};

pub struct LocalFeed {
    node: Weak<LocalNode>,
    moves: broadcast::Receiver<(u64, Moved)>,
    epoch: u64,
    /// What the follower has, by id.
    told: HashMap<u64, SessionInfo>,
    due: VecDeque<Update>,
    /// What the follower has is out of date: it has nothing yet, or it lags.
    anew: bool,
    /// Moves up to this one are in the last snapshot.
    since: u64,
}

impl LocalFeed {
    pub fn new(node: Weak<LocalNode>, sessions: &Sessions) -> Self {
        LocalFeed {
            node,
            moves: sessions.tables.moves(),
            epoch: sessions.tables.position().epoch,
            told: HashMap::new(),
            due: VecDeque::new(),
            anew: true,
            since: 0,
        }
    }

    fn snapshot(&mut self, node: &LocalNode) -> Update {
        // The position first: what moves after it is reported again, which does no harm.
        let at = node.sessions.tables.position();
        self.since = at.sequence;
        let sessions = Node::sessions(node);
        self.told = sessions.iter().map(|s| (s.id, s.clone())).collect();
        Update::Snapshot { at, all: Box::new(Snapshot { files: files(), node: node.about(), sessions }) }
    }

    fn moved(&mut self, node: &LocalNode, at: Position, moved: &Moved) {
        // All that a move changes is reported before its position is reached.
        let before = Position { sequence: at.sequence - 1, ..at };
        match moved {
            Moved::Session(name) | Moved::Seen(name) => self.look_at(node, before, &[name]),
            Moved::Renamed { from, to } => self.look_at(node, before, &[from, to]),
            Moved::Panes { session, .. } | Moved::Turn { session, .. } => {
                self.look_at(node, before, &[session]);
            }
            Moved::Attributes { session: Some(session), .. } => self.look_at(node, before, &[session]),
            Moved::Log { pane: Some(_), .. } => {
                let names: Vec<String> = self.told.values().map(|s| s.name.clone()).collect();
                self.look_at(node, before, &names.iter().collect::<Vec<_>>());
            }
            Moved::Conversation { .. }
            | Moved::Attributes { session: None, .. }
            | Moved::Log { pane: None, .. } => {}
        }
        // A session's own name is reported with it.
        let below = changes_of(&node.sessions, moved).into_iter().filter(|change| !is_of_root(change));
        self.due.extend(below.map(|change| Update::Changed { at: before, change }));
        self.due.push_back(Update::Reached { at });
    }

    /// Reports what became of the sessions that have, or had, these names.
    fn look_at(&mut self, node: &LocalNode, at: Position, names: &[&String]) {
        let mut now: Vec<SessionInfo> = names.iter().filter_map(|name| node.session(name)).collect();
        let called = |s: &SessionInfo| names.iter().any(|name| **name == s.name);
        let mut missing: Vec<u64> = self.told.values().filter(|s| called(s)).map(|s| s.id).collect();
        missing.retain(|id| !now.iter().any(|s| s.id == *id));
        if !missing.is_empty() {
            // It may have another name already, which a later move reports.
            let renamed: Vec<_> =
                Node::sessions(node).into_iter().filter(|s| missing.contains(&s.id)).collect();
            missing.retain(|id| !renamed.iter().any(|s| s.id == *id));
            now.extend(renamed);
        }
        for id in missing {
            self.told.remove(&id);
            self.due.push_back(Update::Gone { at, id });
        }
        for session in now {
            if self.told.get(&session.id).is_some_and(|before| session.says_the_same_as(before)) {
                continue;
            }
            self.told.insert(session.id, session.clone());
            self.due.push_back(Update::Session { at, session: Box::new(session) });
        }
    }
}

/// Of a name in the node's own directory.
fn is_of_root(change: &Change) -> bool {
    match change {
        Change::Name { dir, .. } | Change::Renamed { dir, .. } => dir.is_root(),
        Change::Attributes { .. } | Change::Everything { .. } => false,
    }
}

/// The files that every session has.
fn files() -> Vec<FileInfo> {
    let of = |line: super::dir::Line| FileInfo {
        dir: line.dir,
        name: line.name,
        shape: line.shape,
        mode: line.mode,
    };
    super::described().into_iter().map(of).collect()
}

#[async_trait]
impl Feed for LocalFeed {
    async fn next(&mut self) -> Result<Option<Update>> {
        loop {
            if let Some(update) = self.due.pop_front() {
                return Ok(Some(update));
            }
            if std::mem::take(&mut self.anew) {
                let Some(node) = self.node.upgrade() else { return Ok(None) };
                return Ok(Some(self.snapshot(&node)));
            }
            match self.moves.recv().await {
                Ok((sequence, _)) if sequence <= self.since => {}
                Ok((sequence, moved)) => {
                    let Some(node) = self.node.upgrade() else { return Ok(None) };
                    let at = Position { epoch: self.epoch, sequence };
                    self.moved(&node, at, &moved);
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.due.clear();
                    self.anew = true;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}
