//! Turns moves among the sessions into changes of names in the node's tree.
//!
//! Knows where each kind of thing is shown. Must not know who listens.

use std::sync::Weak;

use tokio::sync::broadcast;

use super::dir::{Described, Line, file_names};
use super::{conversations, rows_node, rows_pane, turns};
use crate::session::{Moved, Sessions};
use muxfs_tree::{Change, TreePath};

/// Passes on what moves until `sessions` is dropped.
pub(super) async fn pass_on(
    sessions: Weak<Sessions>,
    mut moves: broadcast::Receiver<(u64, Moved)>,
    changes: broadcast::Sender<Change>,
) {
    loop {
        let all = match moves.recv().await {
            Ok((_, moved)) => {
                let Some(sessions) = sessions.upgrade() else { return };
                changes_of(&sessions, &moved)
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {
                vec![Change::Everything { below: TreePath::root() }]
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        for change in all {
            let _ = changes.send(change); // nobody may listen
        }
    }
}

/// The names that a move concerns.
pub(super) fn changes_of(sessions: &Sessions, moved: &Moved) -> Vec<Change> {
    let root = TreePath::root;
    let name = |dir: TreePath, name: &str| Change::Name { dir, name: name.to_owned() };
    match moved {
        Moved::Session(session) => vec![name(root(), session)],
        Moved::Renamed { from, to } => {
            vec![Change::Renamed { dir: root(), from: from.clone(), to: to.clone() }]
        }
        Moved::Seen(_) => Vec::new(), // of no name
        Moved::Attributes { session, path } => {
            let of = |dir: &TreePath| TreePath::parse(path).map(|path| dir.under(&path));
            let dir = session.as_ref().map_or_else(root, |session| root().join(session));
            of(&dir).map(|at| Change::Attributes { at }).into_iter().collect()
        }
        Moved::Conversation { session, name: id } => {
            vec![name(root().join(session).join(conversations::HISTORY.name), id)]
        }
        Moved::Turn { session, name: turn } => {
            let dirs = [&turns::QUEUE, &turns::TURNS].map(|row| root().join(session).join(row.name));
            dirs.into_iter().map(|dir| name(dir, turn)).collect()
        }
        Moved::Panes { session, name: Some(pane) } => {
            vec![name(root().join(session).join(rows_pane::PANES.name), pane)]
        }
        Moved::Panes { session, name: None } => {
            file_names(rows_pane::ROWS).map(|file| name(root().join(session), &file)).collect()
        }
        Moved::Log { pane, name: log } => {
            let names = [(*log).to_owned(), format!("{log}.1")];
            let dirs = dirs_of_log(sessions, *pane);
            dirs.iter().flat_map(|dir| names.iter().map(|log| name(dir.clone(), log))).collect()
        }
    }
}

/// Every file and directory of a node.
pub fn described() -> Vec<Line> {
    let mut described = Described::default();
    described.dir("", &rows_node::DIR);
    described.finish()
}

/// Where the logs of a pane (by its serial), or of the node, are shown.
fn dirs_of_log(sessions: &Sessions, pane: Option<u64>) -> Vec<TreePath> {
    let Some(serial) = pane else { return vec![TreePath::root()] };
    let mut dirs = Vec::new();
    for session in sessions.tables.all() {
        let dir = TreePath::root().join(&session.shown());
        let panes = session.panes().into_iter().filter(|(_, p)| p.serial == serial);
        dirs.extend(panes.map(|(name, _)| dir.join(rows_pane::PANES.name).join(&name)));
        if session.main().serial == serial {
            dirs.push(dir);
        }
    }
    dirs
}
