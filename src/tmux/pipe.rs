//! Reads panes through `pipe-pane` without a process a pane: tmux runs our own binary, which
//! passes the pipe it got over a Unix socket to us and exits (helper.rs).
//!
//! Knows tokens, descriptors and the guarded command. Must not know what the bytes mean, or when
//! a pane is worth reading.
//!
//! A pane has one pipe and it may be the user's: it is never taken from them. Each pipe costs the
//! server a descriptor, and a server without free ones hangs for everybody, so a part stays free.

use super::actor::{Bodies, Server};
use super::command::{Command, Line};
use super::leftover;
use super::process::{OwnProgram, own_command};
use super::secret::{SECRET, secret};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

/// How long tmux and the helper may take together.
const HELPER: Duration = Duration::from_secs(5);
/// Descriptors left free in the server: this many, or a quarter of its limit if that is more. So
/// many sessions may be made in one command, before we see any of them.
const KEEP_FREE: u64 = 128;
/// What the guarded command prints where a pipe is there already, before the mark of who opened it.
const TAKEN: &str = "muxfs-taken ";

/// How an attempt to read a pane ended, short of a failure.
#[derive(Debug)]
pub enum PipeStart {
    /// The pane's output, from now on: a stream socket, blocking, ours to drain. End of file means
    /// the pane is gone or somebody else took the pipe.
    Ours(OwnedFd),
    /// A pipe is there already: left alone.
    Theirs,
    /// The server has too few descriptors left.
    NoRoom { used: u64, limit: u64 },
}

/// Listens for helpers. One for all servers.
pub struct PipeHub {
    shared: Arc<Shared>,
    own: OwnProgram,
    path: PathBuf,
    accept: tokio::task::JoinHandle<()>,
    /// One attempt at a time from the count of descriptors to the command, so that many at once
    /// do not all see the same free ones.
    room: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<String, oneshot::Sender<OwnedFd>>>,
}

/// One expected helper. Dropped without use, its token is worth nothing.
pub struct Ticket {
    token: String,
    mark: String,
    line: Vec<u8>,
    fd: oneshot::Receiver<OwnedFd>,
    shared: Arc<Shared>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.waiting.lock().remove(&self.token);
    }
}

impl PipeHub {
    /// Listens at `path` (0600; what was there is replaced), in a directory of ours alone.
    pub fn listen(path: &Path, own: &OwnProgram) -> Result<PipeHub> {
        use std::os::unix::fs::PermissionsExt;
        let io = |e| Error::io(format!("cannot listen on {}", path.display()), e);
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
        let shared = Arc::new(Shared::default());
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared)));
        let (own, path) = (own.clone(), path.to_owned());
        Ok(PipeHub { shared, own, path, accept, room: tokio::sync::Mutex::new(()) })
    }

    /// Opens the pane's pipe, unless it has one.
    pub async fn pipe(&self, server: &Server, pane: &str) -> Result<PipeStart> {
        let mut leftover: Option<String> = None;
        loop {
            let (ticket, bodies) = {
                let _one_at_a_time = self.room.lock().await;
                if let Some(full) = no_room(server.info().pid, 1) {
                    return Ok(full);
                }
                let ticket = self.ticket()?;
                let open = ticket.command(pane);
                let line = match &leftover {
                    Some(mark) => close_of_the_dead(pane, mark).then(open),
                    None => open.into(),
                };
                (ticket, server.run_each(line).await?)
            };
            match taken(&bodies) {
                Some(mark) if leftover.is_none() && leftover::is_dead(mark, server.info().pid).await => {
                    leftover = Some(mark.to_owned());
                }
                _ => return ticket.finish(&bodies).await,
            }
        }
    }

    /// The same for a pane that is about to be made: its own descriptor and its pipe's.
    pub fn ticket_for_new(&self, server: &Server) -> Result<Result<Ticket, PipeStart>> {
        match no_room(server.info().pid, 2) {
            Some(full) => Ok(Err(full)),
            None => self.ticket().map(Ok),
        }
    }

    /// For a line of the caller's: its [`command`](Ticket::command) goes into it, the line's
    /// replies go to [`finish`](Ticket::finish).
    fn ticket(&self) -> Result<Ticket> {
        let token = secret()?;
        let line = own_command(&self.own, self.own.pipe, &[self.path.as_os_str(), OsStr::new(&token)]);
        let (sender, fd) = oneshot::channel();
        self.shared.waiting.lock().insert(token.clone(), sender);
        Ok(Ticket { token, mark: leftover::own_mark(), line, fd, shared: Arc::clone(&self.shared) })
    }
}

impl Drop for PipeHub {
    fn drop(&mut self) {
        self.accept.abort();
        let _ = std::fs::remove_file(&self.path); // may be gone; nothing to do about it
    }
}

impl Ticket {
    /// Opens the pipe of `target`, in the same step that finds it without one. (`-o` would
    /// *close* a pipe that is there.)
    pub fn command(&self, target: &str) -> Command {
        let taken = format!("{TAKEN}#{{{}}}", leftover::MARK);
        let taken = Command::new("display-message").args(["-p", "-t", target, &taken]);
        let open = Command::new("pipe-pane").arg("-O").arg("-t").arg(target).pipe_literal(&self.line);
        let mark = Command::new("set-option").args(["-p", "-t", target, leftover::MARK, &self.mark]);
        Command::either(target, "#{pane_pipe}", Some(Line::from(taken)), Some(open.then(mark)))
    }

    /// Waits for the helper, 5 s at most. `bodies`: what the line printed.
    pub async fn finish(mut self, bodies: &Bodies) -> Result<PipeStart> {
        if taken(bodies).is_some() {
            return Ok(PipeStart::Theirs);
        }
        match tokio::time::timeout(HELPER, &mut self.fd).await {
            Ok(Ok(fd)) => Ok(PipeStart::Ours(fd)),
            // The sender goes only with the map, which lives as long as this ticket.
            Ok(Err(_)) => fail(Kind::Bug, "a pipe's token was lost"),
            Err(_) => fail(Kind::TimedOut, "tmux did not hand over the pane's pipe within 5 s"),
        }
    }
}

/// Closes the pipe in the same step that finds it still the one with this mark.
fn close_of_the_dead(pane: &str, mark: &str) -> Command {
    let same = format!("#{{==:#{{{}}},{mark}}}", leftover::MARK);
    let close = Command::new("pipe-pane").args(["-t", pane]);
    Command::either(pane, &same, Some(close.into()), None)
}

/// The mark on the pipe that is there already, empty where it is not ours.
fn taken(bodies: &Bodies) -> Option<&str> {
    bodies.iter().find_map(|b| std::str::from_utf8(b).ok()?.strip_prefix(TAKEN)).map(str::trim)
}

/// Whether the server has descriptors for `more` pipes, with a part left free; the refusal if not.
fn no_room(server_pid: u32, more: u64) -> Option<PipeStart> {
    let (used, limit) = descriptors(server_pid)?;
    (used + more + keep_free(limit) > limit).then_some(PipeStart::NoRoom { used, limit })
}

/// How many pipes are to be given back, with the descriptors in use and their limit. Only below
/// three quarters of what is kept free, so that none is given back and taken again by turns.
pub fn missing_room(server: &Server) -> Option<(u64, u64, u64)> {
    let (used, limit) = descriptors(server.info().pid)?;
    Some((missing(used, limit)?, used, limit))
}

/// Closes a pipe of ours at tmux's end: our own end alone is missed only when the pane prints.
pub async fn close(server: &Server, pane: &str) -> Result<()> {
    server.run(Command::new("pipe-pane").arg("-t").arg(pane)).await.map(drop)
}

fn missing(used: u64, limit: u64) -> Option<u64> {
    let least = keep_free(limit) * 3 / 4;
    let free = limit.saturating_sub(used);
    (free < least).then(|| least - free)
}

fn keep_free(limit: u64) -> u64 {
    KEEP_FREE.max(limit / 4)
}

/// Descriptors the server has open, and its soft limit. None where there is no limit, or where
/// `/proc` does not tell (another user's server).
#[expect(clippy::disallowed_methods, reason = "looks at /proc, which waits for no disk")]
pub fn descriptors(server_pid: u32) -> Option<(u64, u64)> {
    let limits = std::fs::read_to_string(format!("/proc/{server_pid}/limits")).ok()?;
    let used = std::fs::read_dir(format!("/proc/{server_pid}/fd")).ok()?.count();
    Some((used as u64, open_files(&limits)?))
}

/// The soft limit in `/proc/<pid>/limits`; None when unlimited.
fn open_files(limits: &str) -> Option<u64> {
    limits.lines().find_map(|l| l.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // A stranger who says nothing is forgotten.
                    if let Ok(Some((token, fd))) = tokio::time::timeout(HELPER, receive(&stream)).await
                        && let Some(waiting) = shared.waiting.lock().remove(&token)
                    {
                        // Given up meanwhile: dropping the descriptor closes the pane's pipe.
                        let _ = waiting.send(fd);
                    }
                });
            }
            // Out of descriptors, most likely: they may come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// The one message of a helper, from a process of our own user.
async fn receive(stream: &UnixStream) -> Option<(String, OwnedFd)> {
    if stream.peer_cred().ok()?.uid() != nix::unistd::getuid().as_raw() {
        return None;
    }
    loop {
        stream.readable().await.ok()?;
        match stream.try_io(tokio::io::Interest::READABLE, || receive_now(stream.as_raw_fd())) {
            Ok(message) => return message,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}

fn receive_now(socket: RawFd) -> std::io::Result<Option<(String, OwnedFd)>> {
    let mut text = [0; SECRET + 1];
    let mut space = nix::cmsg_space!([RawFd; 4]);
    let mut body = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<()>(socket, &mut body, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            fds.extend(raw.into_iter().map(muxfs_tree::base::sys::received));
        }
    }
    let size = message.bytes;
    let token = std::str::from_utf8(&text[..size]).unwrap_or_default().to_owned();
    // All that came are owned by now, so what is not wanted is closed.
    Ok(match (fds.pop(), fds.is_empty(), size) {
        (Some(fd), true, SECRET) => Some((token, fd)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let text =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            256        4096      files\n";
        assert_eq!(open_files(text), Some(256));
        assert_eq!(open_files("Max open files   unlimited  unlimited  files\n"), None);
    }

    #[test]
    fn pipes_are_given_back_before_the_server_runs_out() {
        assert_eq!(missing(150, 256), None, "106 are free, 96 are enough");
        assert_eq!(missing(170, 256), Some(10));
        assert_eq!(missing(300, 256), Some(96));
    }

    #[tokio::test]
    async fn a_token_is_good_once_and_only_if_known() {
        let dir = tempfile::tempdir().expect("tempdir");
        let sock = dir.path().join("pipe");
        let hub = PipeHub::listen(&sock, &OwnProgram::new("/bin/false")).expect("listens");
        let ticket = hub.ticket().expect("ticket");
        let other = "0".repeat(SECRET);
        let token = ticket.token.clone();
        let send = move |token: String| {
            let sock = sock.clone();
            tokio::task::spawn_blocking(move || super::super::helper::internal_pipe(&sock, &token))
        };
        send(other).await.expect("joins").expect("sends");
        send("short".into()).await.expect("joins").expect("sends");
        send(token).await.expect("joins").expect("sends");
        let start = ticket.finish(&vec![]).await.expect("arrives");
        assert!(matches!(start, PipeStart::Ours(_)));
        assert!(hub.shared.waiting.lock().is_empty());
        drop(hub.ticket().expect("ticket"));
        assert!(hub.shared.waiting.lock().is_empty(), "an unused ticket leaves nothing");
    }
}
