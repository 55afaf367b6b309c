//! A connection to one server: lines go through whichever client it has now.
//!
//! Knows that a client may be lost while its server lives, and another may follow. Must not know
//! what lines mean, how replies are distinguished (client.rs), or how a client is started (hidden.rs).
//!
//! Lock order: `Link::now`, then the client's own; neither is held across an await or a callback.

use super::activity::Activity;
pub use super::client::Bodies;
use super::client::{Shared, answer};
use super::command::Line;
use super::hidden::Hidden;
use super::process::OwnProgram;
use muxfs_tree::base::error::Result;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The server as it described itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    pub pid: u32,
    /// `3.3a`.
    pub version: String,
    pub socket: PathBuf,
    /// Seconds since the epoch. With `pid`, names one life of a server.
    pub start_time: u64,
}

/// A connection to a server. Clones share it; when the last one goes without
/// [`close`](Server::close), the client detaches and the hidden session stays behind.
#[derive(Clone)]
pub struct Server {
    link: Arc<Link>,
    info: Arc<ServerInfo>,
    /// What the server runs of us.
    own: Arc<OwnProgram>,
    /// Between the fields of lists: random, so that no value holds one; the same for good, so that
    /// equal lists are equal bytes.
    separator: Arc<str>,
    activity: Arc<Mutex<Activity>>,
}

/// The client of now. One that was lost is followed by another.
struct Link {
    now: Mutex<(Arc<Shared>, Hidden)>,
}

/// Closes our end of the pipe (which makes tmux detach the client) when nobody can send any more.
impl Drop for Link {
    fn drop(&mut self) {
        self.now.get_mut().0.hang_up();
    }
}

impl Server {
    pub(super) fn new(
        shared: Arc<Shared>,
        info: ServerInfo,
        own: &OwnProgram,
        hidden: Hidden,
    ) -> Result<Self> {
        let separator = format!("|{}|", &super::secret::secret()?[..12]).into();
        Ok(Server {
            link: Arc::new(Link { now: Mutex::new((shared, hidden)) }),
            info: Arc::new(info),
            own: Arc::new(own.clone()),
            separator,
            activity: Arc::default(),
        })
    }

    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Runs a line; the bodies of its replies, joined. A failing command's own words are the
    /// error: `Gone` where the target is not there, `Exists` for a taken name, else `Invalid`.
    /// `Gone` when the server is lost; `TimedOut` after 10 s, and then the line is not run any
    /// more; `Unreachable` where the client was lost with the answer to a change.
    pub async fn run(&self, line: impl Into<Line>) -> Result<Vec<u8>> {
        let mut bodies = self.run_each(line).await?;
        Ok(match bodies.len() {
            1 => bodies.swap_remove(0),
            _ => bodies.concat(),
        })
    }

    /// The same, one body for each command that ran (also the empty ones).
    pub async fn run_each(&self, line: impl Into<Line>) -> Result<Bodies> {
        let reply = self.send(line)?;
        answer(reply, || self.shared().slow.notify_one()).await
    }

    /// Sends the line before returning; the answer may be awaited later or dropped. Lines sent
    /// one after the other run in that order.
    pub fn send(&self, line: impl Into<Line>) -> Result<oneshot::Receiver<Result<Bodies>>> {
        // Under the lock, so that no line is sent to a client that another has followed.
        self.link.now.lock().0.send(line.into())
    }

    /// Makes the server look for children that ended. To be called when a pane's process is seen
    /// to have ended: tmux 3.3a sometimes misses it. A signal that every other process ignores,
    /// so that a process id used again does no harm.
    pub fn nudge(&self) {
        let pid = nix::unistd::Pid::from_raw(self.info.pid as i32); // it came from tmux as a pid
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCHLD); // gone is as well
    }

    pub(super) fn own(&self) -> &OwnProgram {
        &self.own
    }

    pub(super) fn separator(&self) -> &str {
        &self.separator
    }

    /// Acts on what is known of people's typing.
    pub(super) fn activity<T>(&self, act: impl FnOnce(&mut Activity) -> T) -> T {
        act(&mut self.activity.lock())
    }

    pub(super) fn hidden(&self) -> Hidden {
        self.link.now.lock().1.clone()
    }

    fn shared(&self) -> Arc<Shared> {
        self.link.now.lock().0.clone()
    }

    /// Whether the server is gone, or the connection was closed: connect anew. A connection whose
    /// client alone was lost is not lost ([`Server::again`] brings it back).
    pub fn lost(&self) -> bool {
        self.shared().is_over()
    }

    /// Ends the client alone: it stands where it is of no use. [`Notice::Exit`] follows.
    pub fn unplug(&self) {
        self.shared().unplug();
    }

    /// Returns when the present client has ended, and [`Notice::Exit`](super::Notice) is on its way.
    pub async fn client_ended(&self) {
        self.shared().has_ended().await;
    }

    /// Nothing more comes of this connection: what waits fails.
    pub(super) fn give_up(&self) {
        self.shared().give_up();
    }

    /// Goes on with the client of `other`, a connection to the same server. What waited is sent
    /// there, in its order.
    pub(super) fn adopt(&self, other: &Server) {
        let mut now = self.link.now.lock();
        // `other` ends the client that was lost when it goes.
        std::mem::swap(&mut *now, &mut *other.link.now.lock());
        now.0.take_over(&other.shared());
    }

    /// Detaches: no more lines, what was sent is still answered. True when the client ended.
    pub(super) async fn hang_up(&self) -> bool {
        let shared = self.shared();
        shared.hang_up();
        shared.ended().await
    }
}
