//! A connection over a stream that is there already: whoever speaks control mode at its other end is the
//! server, and the client is attached from the beginning.
//!
//! Must not know sockets' places, nor how a client of tmux is started (hidden.rs does).

use std::os::unix::net::UnixStream;

use super::actor::{Server, ServerInfo};
use super::client::drive;
use super::control::Notice;
use super::hidden::Hidden;
use super::process::{Control, OwnProgram};
use muxfs_tree::base::error::{Error, Result};
use tokio::sync::mpsc::UnboundedReceiver;

impl Server {
    /// The server at the other end of `stream`, which describes itself as `info`.
    pub fn over(
        stream: UnixStream,
        info: ServerInfo,
        own: &OwnProgram,
    ) -> Result<(Server, UnboundedReceiver<Notice>)> {
        let io = |e| Error::io("a connection to tmux", e);
        stream.set_nonblocking(true).map_err(io)?;
        let read = stream.try_clone().map_err(io)?.into();
        let (shared, notices) = drive(Control { child: None, write: stream.into(), read })?;
        shared.is_of(info.pid);
        let hidden = Hidden { session: "$0".into(), client: "client-0".into() };
        Ok((Server::new(shared, info, own, hidden)?, notices))
    }

    /// The same server by another stream, where the one before was lost: this connection goes on.
    pub fn again_over(&self, stream: UnixStream) -> Result<UnboundedReceiver<Notice>> {
        let (next, notices) = Server::over(stream, self.info().clone(), self.own())?;
        self.adopt(&next);
        Ok(notices)
    }
}
