//! What moves among the sessions, in one numbered sequence.
//!
//! Knows who listens. Must not know what a listener makes of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::log::LogFile;
use muxfs_tree::Position;

/// Moves kept for a slow listener; one that lags looks at everything again.
const KEPT: usize = 4096;

/// What changed about the set of sessions: names a listing has, or no longer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// Made, ended, or another object under the same name.
    Session(String),
    Renamed {
        from: String,
        to: String,
    },
    /// A pane's directory of a session, or its main pane.
    Panes {
        session: String,
        name: Option<String>,
    },
    /// What is seen of a session is another: its state or its directory.
    Seen(String),
    /// Mode, group, size or time of a file of a session, or of the node (`None`).
    Attributes {
        session: Option<String>,
        path: String,
    },
    /// A conversation in `history/` came or went.
    Conversation {
        session: String,
        name: String,
    },
    /// A prompt came, or went on: its names in `queue/` and `turns/`.
    Turn {
        session: String,
        name: String,
    },
    /// A log of a pane (by its serial) or of the node (`None`) rotated: another inode has its name.
    Log {
        pane: Option<u64>,
        name: &'static str,
    },
}

/// Numbers what moves and passes it on.
pub struct Moves {
    epoch: u64,
    /// Of the last move; held while it is passed on, so that numbers come in their order.
    sequence: Mutex<u64>,
    listeners: broadcast::Sender<(u64, Moved)>,
}

impl Default for Moves {
    /// Begins a sequence that no earlier life of the node had.
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = now.as_nanos() as u64; // enough until 2554
        Moves { epoch, sequence: Mutex::new(0), listeners: broadcast::channel(KEPT).0 }
    }
}

impl Moves {
    pub fn tell(&self, moved: Moved) {
        let mut sequence = self.sequence.lock();
        *sequence += 1;
        let _ = self.listeners.send((*sequence, moved)); // nobody may listen
    }

    /// Tells of every rotation of `log`, `name` of a pane (by its serial) or of the node.
    pub(super) fn tell_rotations(self: &Arc<Self>, log: &LogFile, pane: Option<u64>, name: &'static str) {
        let moves = self.clone();
        log.on_new_inode(move || moves.tell(Moved::Log { pane, name }));
    }

    pub fn listen(&self) -> broadcast::Receiver<(u64, Moved)> {
        self.listeners.subscribe()
    }

    /// Of the last move.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, sequence: *self.sequence.lock() }
    }
}
