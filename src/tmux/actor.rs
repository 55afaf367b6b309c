//! One control client of one server: sends lines, pairs replies with them, hands notifications on.
//!
//! Knows how many replies a line gets. Must not know what the lines mean, or how a client is
//! started (hidden.rs does).
//!
//! **Sending needs no thread hop**: the caller's thread writes to the pipe itself; only what the
//! pipe does not take at once is left to a task. One task reads, and resolves in order.
//!
//! **Counting replies.** tmux answers per command, not per line; a runtime error drops the rest of
//! a line, a parse error all of it, `if` answers for itself and for what it runs, and a user's
//! command-alias may turn one command into several. So each line is followed by a second one that
//! prints a mark nobody else can know, and all replies up to the mark are the line's. Replies
//! whose flags say "not from this client's stdin" (the user's hooks) do not count.
//!
//! Lock order: `state` is the only lock, never held across an await or a callback.

use super::command::Line;
use super::control::{Event, Notice, Outcome, Parser, Reply};
use super::process::{Control, LIMIT};
use crate::error::{Error, Kind, Result, fail};
use crate::sys::async_fd;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

/// What the pipe has not taken yet. Above the largest single line (a 1 MiB text written as
/// escapes within escapes), far below what would hurt.
const MAX_UNSENT: usize = 64 << 20;
/// Lines waiting for replies.
const MAX_PENDING: usize = 100_000;

/// One reply body per command that ran, in order.
pub type Bodies = Vec<Vec<u8>>;

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
    pub(super) hidden: Arc<super::hidden::Hidden>,
}

/// Closes our end of the pipe (which makes tmux detach the client) when nobody can send any more.
struct Link(Arc<Shared>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.state.lock().write = None;
        self.0.wake.notify_one();
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the task that sends what the pipe did not take.
    wake: tokio::sync::Notify,
    /// Beginning of every mark: random, so that no pane can print one.
    mark: String,
    /// Between the fields of lists: random, so that no value holds one; the same for this
    /// connection's life, so that equal lists are equal bytes.
    separator: String,
    /// True when the client's output has ended.
    ended: watch::Sender<bool>,
}

struct State {
    write: Option<Arc<AsyncFd<OwnedFd>>>,
    unsent: Vec<u8>,
    sent: usize,
    pending: VecDeque<Pending>,
    marks: u64,
    lost: Option<Error>,
}

struct Pending {
    mark: u64,
    bodies: Bodies,
    error: Option<Error>,
    reply: oneshot::Sender<Result<Bodies>>,
}

impl Server {
    pub(super) fn new(shared: Arc<Shared>, info: ServerInfo, hidden: super::hidden::Hidden) -> Self {
        Server { link: Arc::new(Link(shared)), info: Arc::new(info), hidden: Arc::new(hidden) }
    }

    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Runs a line; the bodies of its replies, joined. A failing command's own words are the
    /// error: `Gone` where the target is not there, `Exists` for a taken name, else `Invalid`.
    /// `Gone` when the server is lost, `TimedOut` after 10 s (the line may still take effect).
    pub async fn run(&self, line: impl Into<Line>) -> Result<Vec<u8>> {
        let mut bodies = self.run_each(line).await?;
        Ok(match bodies.len() {
            1 => bodies.swap_remove(0),
            _ => bodies.concat(),
        })
    }

    /// The same, one body for each command that ran (also the empty ones).
    pub async fn run_each(&self, line: impl Into<Line>) -> Result<Bodies> {
        self.link.0.run(&line.into()).await
    }

    /// Sends the line before returning; the answer may be awaited later or dropped. Lines sent
    /// one after the other run in that order.
    pub fn send(&self, line: impl Into<Line>) -> Result<oneshot::Receiver<Result<Bodies>>> {
        self.link.0.send(&line.into())
    }

    /// Makes the server look for children that ended. To be called when a pane's process is seen
    /// to have ended: tmux 3.3a sometimes misses it. A signal that every other process ignores,
    /// so that a process id used again does no harm.
    pub fn nudge(&self) {
        let pid = nix::unistd::Pid::from_raw(self.info.pid as i32); // it came from tmux as a pid
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCHLD); // gone is as well
    }

    pub(super) fn separator(&self) -> &str {
        &self.link.0.separator
    }

    /// Whether the connection has ended. It does not come back: connect again.
    pub fn lost(&self) -> bool {
        self.link.0.state.lock().lost.is_some()
    }

    /// Detaches: no more lines, what was sent is still answered. True when the client ended.
    pub(super) async fn hang_up(&self) -> bool {
        self.link.0.state.lock().write = None;
        self.link.0.wake.notify_one();
        self.link.0.ended().await
    }
}

/// Starts the two tasks of a client.
pub(super) fn drive(control: Control) -> Result<(Arc<Shared>, mpsc::UnboundedReceiver<Notice>)> {
    let io = |e| Error::io("tmux's pipe", e);
    let write = Arc::new(async_fd(control.write).map_err(io)?);
    let read = async_fd(control.read).map_err(io)?;
    let state = State {
        write: Some(write),
        unsent: Vec::new(),
        sent: 0,
        pending: VecDeque::new(),
        marks: 0,
        lost: None,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        wake: tokio::sync::Notify::new(),
        mark: format!("muxfs-{}-", super::secret::secret()?),
        separator: format!("|{}|", &super::secret::secret()?[..12]),
        ended: watch::Sender::new(false),
    });
    let (notices, receiver) = mpsc::unbounded_channel();
    tokio::spawn(Arc::clone(&shared).write_rest());
    tokio::spawn(Arc::clone(&shared).read_all(read, control.child, notices));
    Ok((shared, receiver))
}

impl Shared {
    pub(super) async fn run(&self, line: &Line) -> Result<Bodies> {
        let reply = self.send(line)?;
        match tokio::time::timeout(LIMIT, reply).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => fail(Kind::Gone, "the tmux server is gone"),
            Err(_) => fail(Kind::TimedOut, "tmux did not answer within 10 s"),
        }
    }

    fn send(&self, line: &Line) -> Result<oneshot::Receiver<Result<Bodies>>> {
        let Some(text) = line.bytes() else {
            return fail(Kind::Invalid, "a NUL byte cannot be sent to tmux");
        };
        // An empty line would detach us; a line break would be two lines.
        debug_assert!(!text.is_empty() && !text.contains(&b'\n'));
        let (reply, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        let Some(write) = state.write.clone() else {
            return fail(Kind::Gone, "the connection to tmux was closed");
        };
        if state.pending.len() >= MAX_PENDING || state.unsent.len() + text.len() > MAX_UNSENT {
            return fail(Kind::Full, "too much is waiting for tmux");
        }
        state.marks += 1;
        let mark = state.marks;
        state.pending.push_back(Pending { mark, bodies: Vec::new(), error: None, reply });
        let idle = state.unsent.is_empty();
        state.unsent.extend_from_slice(text);
        let end = format!("\ndisplay-message -p {}{mark}\n", self.mark);
        state.unsent.extend_from_slice(end.as_bytes());
        if idle && !state.flush(&write) {
            self.wake.notify_one();
        }
        Ok(receiver)
    }

    /// Sends what the pipe did not take at once, as it takes it.
    async fn write_rest(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            loop {
                let Some(write) = self.state.lock().write.clone() else {
                    return;
                };
                if self.state.lock().flush(&write) {
                    break;
                }
                // Woken also when the connection ends, as the pipe then fails.
                let ready = tokio::select! {
                    ready = write.writable() => ready,
                    _ = self.wake.notified() => continue,
                };
                match ready {
                    Ok(mut guard) => {
                        if self.state.lock().flush(&write) {
                            break;
                        }
                        guard.clear_ready();
                    }
                    Err(_) => return,
                }
            }
        }
    }

    async fn read_all(
        self: Arc<Self>,
        read: AsyncFd<OwnedFd>,
        child: tokio::process::Child,
        notices: mpsc::UnboundedSender<Notice>,
    ) {
        let mut parser = Parser::default();
        let mut buffer = vec![0; 256 << 10];
        let mut exit = None;
        loop {
            let n = match read.readable().await {
                Ok(mut guard) => match nix::unistd::read(read.get_ref(), &mut buffer) {
                    Ok(n) => n,
                    Err(nix::Error::EAGAIN) => {
                        guard.clear_ready();
                        continue;
                    }
                    Err(nix::Error::EINTR) => continue,
                    Err(_) => 0,
                },
                Err(_) => 0,
            };
            if n == 0 {
                break;
            }
            parser.feed(&buffer[..n], |event| match event {
                Event::Reply(Reply { ours: true, outcome }) => self.reply(outcome),
                // The attach itself failed, or a hook did.
                Event::Reply(Reply { outcome: Outcome::Failed(text), .. }) => {
                    drop(notices.send(Notice::Other(format!("%error {text}"))));
                }
                Event::Reply(_) => {}
                Event::Notice(Notice::Exit { reason }) => exit = reason,
                // The receiver may have been dropped: nobody wants to know.
                Event::Notice(notice) => drop(notices.send(notice)),
            });
        }
        let pending = {
            let mut state = self.state.lock();
            state.lost = Some(Error::new(Kind::Gone, "the tmux server is gone"));
            state.write = None;
            state.unsent = Vec::new();
            std::mem::take(&mut state.pending)
        };
        drop(pending); // a dropped sender says Gone
        self.wake.notify_one();
        drop(read);
        let said = super::process::finish(child).await.map(|(_, said)| said).unwrap_or_default();
        let reason = exit.or_else(|| (!said.is_empty()).then_some(said));
        let _ = notices.send(Notice::Exit { reason });
        self.ended.send_replace(true);
    }

    fn reply(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        let Some(front) = state.pending.front_mut() else {
            return;
        };
        match outcome {
            Outcome::Done(body) if self.is_mark(&body, front.mark) => {
                let Some(done) = state.pending.pop_front() else {
                    return;
                };
                drop(state);
                // Nobody may wait any more: that is how a caller gives up.
                let _ = done.reply.send(done.error.map_or(Ok(done.bodies), Err));
            }
            Outcome::Done(body) => front.bodies.push(body),
            Outcome::Failed(text) => {
                front.error.get_or_insert_with(|| Error::new(kind_of(&text), text));
            }
            Outcome::TooLarge(size) => {
                let text = format!("tmux's answer is too large: {size} bytes");
                front.error.get_or_insert_with(|| Error::new(Kind::TooLarge, text));
            }
        }
    }

    fn is_mark(&self, body: &[u8], number: u64) -> bool {
        let rest = body.strip_prefix(self.mark.as_bytes()).and_then(|b| b.strip_suffix(b"\n"));
        rest.is_some_and(|digits| digits == number.to_string().as_bytes())
    }

    /// Waits (10 s at most) until the client has ended; false if it has not.
    async fn ended(&self) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::time::timeout(LIMIT, ended.wait_for(|e| *e)).await.is_ok_and(|r| r.is_ok())
    }

    pub(super) fn hang_up(&self) {
        self.state.lock().write = None;
        self.wake.notify_one();
    }
}

impl State {
    /// Writes what it can; true when nothing is left. A broken pipe counts as nothing left: the
    /// reading task sees the end and says so.
    fn flush(&mut self, write: &AsyncFd<OwnedFd>) -> bool {
        while self.sent < self.unsent.len() {
            match nix::unistd::write(write.get_ref(), &self.unsent[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return false,
                Err(_) => break,
            }
        }
        self.sent = 0;
        self.unsent.clear();
        self.unsent.shrink_to(64 << 10);
        true
    }
}

/// What tmux's words mean to a caller. Targets are ids that tmux itself gave us, so one that is
/// not found has ended.
fn kind_of(text: &str) -> Kind {
    if text.starts_with("can't find ") || text.starts_with("no such ") {
        Kind::Gone
    } else if text.starts_with("duplicate session") {
        Kind::Exists
    } else {
        Kind::Invalid
    }
}
