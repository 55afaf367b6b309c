//! `muxfs session attach`: hands the terminal to tmux.

use std::os::unix::process::CommandExt;
use std::path::Path;

use super::tree::{Session, Tree};
use muxfs_node::rows::rows_node;
use muxfs_tmux::{Socket, process};
use muxfs_tree::base::error::{Error, Kind};
use muxfs_tree::base::names;

/// Returns only where tmux cannot be run.
pub fn attach(tree: &Tree, session: &Session) -> Error {
    if !session.node.is_local() {
        return Error::new(Kind::Never, "a session of another machine; attach there");
    }
    let Some(name) = names::decode(&session.name, &rows_node::reserved) else {
        return Error::new(Kind::Bug, "not a name of the tree");
    };
    // A client cannot show the server that shows it: there, that client turns to the session.
    let verb = if inside(&tree.socket) { "switch-client" } else { "attach" };
    let target = format!("={name}");
    Error::io("tmux", process::plain(&Socket::Path(tree.socket.clone()), &[verb, "-t", &target]).exec())
}

/// Whether this terminal is a pane of the server at `socket`.
fn inside(socket: &Path) -> bool {
    let Some(set) = std::env::var_os("TMUX") else { return false };
    // SOCKET,PID,SESSION
    let Some(theirs) = set.to_str().and_then(|t| t.rsplitn(3, ',').nth(2)) else { return false };
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(socket).is_some() && real(socket) == real(theirs.as_ref())
}
