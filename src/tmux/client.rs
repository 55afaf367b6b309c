//! One control client of one server: sends lines, pairs replies with them, hands notifications on.
//!
//! Knows how many replies a line gets, until when it may run, and what becomes of it when the
//! client is lost. Must not know what the lines mean, or how a client is started (hidden.rs does).
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
//! **Limits do not add up.** Each line has 10 s from when it was sent. While the oldest one is
//! beyond its time, tmux does not answer, and every further line is refused at once. A line that
//! changes something carries its deadline (clock.rs), so that what was answered `TimedOut` is not
//! done when tmux goes on.
//!
//! **A lost client is not a lost server.** Lines that tmux had not got, and questions, wait for the
//! next client ([`Shared::take_over`]); of a change that tmux had got nobody knows, and its error says
//! so.
//!
//! `state` is the only lock here, never held across an await or a callback.

use super::clock::{self, ServerClock};
use super::command::{Hidden, Line};
use super::control::{Event, Notice, Outcome, Parser, Reply};
use super::process::{Control, LIMIT};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::sys::async_fd;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Bytes of all lines that wait for replies. Above the largest single line (a 1 MiB text written
/// as escapes within escapes), far below what would hurt.
const MAX_BYTES: usize = 64 << 20;
/// Lines waiting for replies.
const MAX_PENDING: usize = 100_000;
/// A line without an answer for so long is looked into (blocked.rs).
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// A server whose client ends is asked whether it ends as well: for so long its process may take.
const ENDING: Duration = Duration::from_millis(100);
/// How long a client may take to end before its pipe is no longer read.
const UNPLUGGED: Duration = Duration::from_secs(2);

/// One reply body per command that ran, in order.
pub type Bodies = Vec<Vec<u8>>;

pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the task that sends what the pipe did not take.
    wake: Notify,
    /// Wakes who looks into a line that has no answer (blocked.rs).
    pub(super) slow: Notify,
    /// Wakes the reading task when the client is to end.
    unplugged: Notify,
    /// Beginning of every mark: random, so that no pane can print one.
    mark: String,
    /// The server's process, once it is known.
    server: OnceLock<u32>,
    /// True when the client's output has ended.
    ended: watch::Sender<bool>,
}

/// What can still be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Up,
    /// The client was lost and the server lives: lines wait for the next client.
    Down,
    /// The next client has what waited.
    Moved,
    /// We ended it.
    Closed,
    /// The server is gone.
    Gone,
}

struct State {
    fate: Fate,
    write: Option<Arc<AsyncFd<OwnedFd>>>,
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes that were ever given to be sent, and that the pipe ever took.
    given: u64,
    taken: u64,
    pending: VecDeque<Pending>,
    /// Bytes of the lines in `pending`.
    bytes: usize,
    marks: u64,
    /// Text of lines that the server has, or may have, and that are not sent again.
    left: Vec<Hidden>,
    clock: ServerClock,
}

struct Pending {
    mark: u64,
    line: Line,
    until: Instant,
    /// How many bytes the pipe has taken when it has taken this line.
    end: u64,
    /// The reply of the command that checks the deadline is still to come.
    checks: bool,
    bodies: Bodies,
    error: Option<Error>,
    reply: oneshot::Sender<Result<Bodies>>,
}

impl Pending {
    fn size(&self) -> usize {
        self.line.size()
    }
}

/// Waits for a line's answer, 10 s at most; `slow` is called where there is none after 1 s.
pub(super) async fn answer(
    mut reply: oneshot::Receiver<Result<Bodies>>,
    slow: impl FnOnce(),
) -> Result<Bodies> {
    let mut answered = tokio::time::timeout(SLOW, &mut reply).await;
    if answered.is_err() {
        slow();
        answered = tokio::time::timeout(LIMIT - SLOW, reply).await;
    }
    match answered {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => fail(Kind::Gone, "the tmux server is gone"),
        Err(_) => fail(Kind::TimedOut, "tmux did not answer within 10 s"),
    }
}

/// Starts the two tasks of a client.
pub(super) fn drive(control: Control) -> Result<(Arc<Shared>, mpsc::UnboundedReceiver<Notice>)> {
    let io = |e| Error::io("tmux's pipe", e);
    let write = Arc::new(async_fd(control.write).map_err(io)?);
    let read = async_fd(control.read).map_err(io)?;
    let state = State {
        fate: Fate::Up,
        write: Some(write),
        unsent: Vec::new(),
        sent: 0,
        given: 0,
        taken: 0,
        pending: VecDeque::new(),
        bytes: 0,
        marks: 0,
        left: Vec::new(),
        clock: ServerClock::default(),
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        wake: Notify::new(),
        slow: Notify::new(),
        unplugged: Notify::new(),
        mark: format!("muxfs-{}-", super::secret::secret()?),
        server: OnceLock::new(),
        ended: watch::Sender::new(false),
    });
    let (notices, receiver) = mpsc::unbounded_channel();
    tokio::spawn(Arc::clone(&shared).write_rest());
    tokio::spawn(Arc::clone(&shared).read_all(read, control.child, notices));
    Ok((shared, receiver))
}

impl Shared {
    pub(super) async fn run(&self, line: impl Into<Line>) -> Result<Bodies> {
        let reply = self.send(line.into())?;
        answer(reply, || self.slow.notify_one()).await
    }

    pub(super) fn send(&self, line: Line) -> Result<oneshot::Receiver<Result<Bodies>>> {
        let Some(text) = line.bytes() else {
            return fail(Kind::Invalid, "a NUL byte cannot be sent to tmux");
        };
        // An empty line would detach us; a line break would be two lines.
        debug_assert!(!text.is_empty() && !text.contains(&b'\n'));
        let size = line.size();
        let now = Instant::now();
        let mut state = self.state.lock();
        match state.fate {
            Fate::Up | Fate::Down => {}
            Fate::Gone | Fate::Moved => return Err(gone()),
            Fate::Closed => return fail(Kind::Gone, "the connection to tmux was closed"),
        }
        if let Some(first) = state.pending.front()
            && first.until < now
        {
            let since = (now - first.until + LIMIT).as_secs();
            return fail(Kind::TimedOut, format!("tmux has not answered for {since} s; nothing was sent"));
        }
        if state.pending.len() >= MAX_PENDING || state.bytes + size > MAX_BYTES {
            return fail(Kind::Full, "too much is waiting for tmux");
        }
        let (reply, receiver) = oneshot::channel();
        state.bytes += size;
        let (bodies, error, until) = (Vec::new(), None, now + LIMIT);
        let new = Pending { mark: 0, line, until, end: u64::MAX, checks: false, bodies, error, reply };
        self.give(&mut state, new);
        Ok(receiver)
    }

    /// Puts a line behind the others, and sends it where there is a client.
    fn give(&self, state: &mut State, mut new: Pending) {
        let Some(write) = state.write.clone() else {
            state.pending.push_back(new); // for the next client
            return;
        };
        state.marks += 1;
        new.mark = state.marks;
        let idle = state.unsent.is_empty();
        let before = state.unsent.len();
        new.line.hidden().iter().for_each(|h| h.assign(&mut state.unsent));
        if new.line.changes()
            && let Some(deadline) = state.clock.at(new.until)
        {
            new.checks = true;
            state.unsent.extend_from_slice(clock::before(deadline).bytes().unwrap_or_default());
            state.unsent.extend_from_slice(b" ; ");
        }
        state.unsent.extend_from_slice(new.line.bytes().unwrap_or_default());
        state.unsent.push(b'\n');
        state.given += (state.unsent.len() - before) as u64;
        new.end = state.given;
        // With the server's time, for the deadlines of what follows.
        let end = format!("display-message -p \"{}{} %s\"\n", self.mark, new.mark);
        state.unsent.extend_from_slice(end.as_bytes());
        state.given += end.len() as u64;
        state.pending.push_back(new);
        if idle && !state.flush(&write) {
            self.wake.notify_one();
        }
    }

    /// Sends what `lost`, an earlier client, left.
    pub(super) fn take_over(&self, lost: &Shared) {
        let (waiting, mut left) = {
            let mut state = lost.state.lock();
            state.fate = Fate::Moved;
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.left))
        };
        let mut state = self.state.lock();
        // What nobody waits for any more is over; it may be what cost the last client.
        let now = Instant::now();
        for one in waiting {
            if one.until > now && !one.reply.is_closed() {
                state.bytes += one.size();
                self.give(&mut state, one);
            } else {
                left.extend(one.line.hidden().iter().cloned());
            }
        }
        drop(state);
        self.forget(&left);
    }

    fn forget(&self, hidden: &[Hidden]) {
        let line = hidden.iter().map(Hidden::forget).fold(Line::NOTHING, Line::then);
        if line != Line::NOTHING {
            let _ = self.send(line); // a server that is gone has forgotten it
        }
    }

    /// The oldest line without an answer, and until when it may have one.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        self.state.lock().pending.front().map(|p| (p.mark, p.until))
    }

    pub(super) fn is_up(&self) -> bool {
        self.fate() == Fate::Up
    }

    /// Neither this client nor one after it sends anything more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.fate(), Fate::Gone | Fate::Closed)
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
        child: Option<tokio::process::Child>,
        notices: mpsc::UnboundedSender<Notice>,
    ) {
        let unplugged = async {
            self.unplugged.notified().await;
            tokio::time::sleep(UNPLUGGED).await;
        };
        tokio::pin!(unplugged);
        let mut parser = Parser::default();
        let mut buffer = vec![0; 256 << 10];
        let (mut exit, mut left) = (None, false);
        loop {
            let ready = tokio::select! {
                ready = read.readable() => ready,
                // It does not end although it was asked to: it is left behind.
                () = &mut unplugged => {
                    left = true;
                    break;
                }
            };
            let n = match ready {
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
                Event::Reply(Reply { ours: true, outcome }) => {
                    if self.reply(outcome) {
                        drop(notices.send(Notice::Overdue));
                    }
                }
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
        let kept = self.down(!left);
        drop(read);
        let said = match child.map(super::process::finish) {
            Some(end) if left => {
                tokio::spawn(end);
                String::new()
            }
            Some(end) => end.await.map(|(_, said)| said).unwrap_or_default(),
            None => String::new(),
        };
        let reason = exit.or_else(|| (!said.is_empty()).then_some(said));
        // A server that ends has ended its clients first.
        if !kept || !server_stays(self.server.get().copied()).await {
            self.give_up();
        }
        let _ = notices.send(Notice::Exit { reason });
        self.ended.send_replace(true);
    }

    /// The client is lost. What can be sent once more waits; false where nobody wants it. A client that
    /// has not `ended` may yet need the text of its lines.
    fn down(&self, ended: bool) -> bool {
        let mut state = self.state.lock();
        state.write = None;
        state.unsent = Vec::new();
        state.sent = 0;
        if state.fate == Fate::Up {
            state.fate = Fate::Down;
        }
        let taken = state.taken;
        for mut one in std::mem::take(&mut state.pending) {
            if state.fate != Fate::Down || one.line.changes() && one.end <= taken {
                state.bytes -= one.size();
                if ended {
                    state.left.extend(one.line.hidden().iter().cloned());
                }
                let text = "tmux's client was lost before it answered; what was sent may have arrived";
                // Nobody waits any more: nothing is reported.
                let _ = match state.fate {
                    Fate::Down => one.reply.send(fail(Kind::Unreachable, text)),
                    _ => one.reply.send(Err(gone())),
                };
                continue;
            }
            (one.bodies, one.error, one.checks) = (Vec::new(), None, false);
            state.pending.push_back(one);
        }
        drop(state);
        self.wake.notify_one();
        self.slow.notify_one();
        self.fate() == Fate::Down
    }

    /// Says which server this is a client of.
    pub(super) fn is_of(&self, pid: u32) {
        let _ = self.server.set(pid); // once
    }

    fn fate(&self) -> Fate {
        self.state.lock().fate
    }

    /// Nothing more is sent, and nothing waits any more: the server is gone.
    pub(super) fn give_up(&self) {
        let mut state = self.state.lock();
        if state.fate != Fate::Moved {
            state.fate = Fate::Gone;
        }
        state.write = None;
        state.bytes = 0;
        let waiting = std::mem::take(&mut state.pending);
        drop(state);
        drop(waiting); // a dropped sender says Gone
        self.wake.notify_one();
        self.slow.notify_one();
    }

    /// True where it says that something was done whose caller was told that its time is over.
    fn reply(&self, outcome: Outcome) -> bool {
        let mut state = self.state.lock();
        let Some(front) = state.pending.front_mut() else {
            return false;
        };
        match outcome {
            Outcome::Done(body) if self.is_mark(&body, front.mark).is_some() => {
                let epoch = self.is_mark(&body, front.mark);
                let Some(done) = state.pending.pop_front() else {
                    return false;
                };
                state.bytes -= done.size();
                if let Some(epoch) = epoch {
                    state.clock.set(epoch, Instant::now());
                }
                drop(state);
                self.forget(done.line.hidden());
                let change = done.line.changes() && done.error.is_none();
                // Nobody may wait any more: that is how a caller gives up.
                let unheard = done.reply.send(done.error.map_or(Ok(done.bodies), Err)).is_err();
                return unheard && change && Instant::now() > done.until;
            }
            Outcome::Done(_) if std::mem::take(&mut front.checks) => {}
            Outcome::Done(body) => front.bodies.push(body),
            Outcome::Failed(text) if clock::is_late(&text) => {
                let text = "tmux came to it too late, and did nothing";
                front.error = Some(Error::new(Kind::TimedOut, text));
            }
            Outcome::Failed(text) => {
                front.error.get_or_insert_with(|| Error::new(kind_of(&text), text));
            }
            Outcome::TooLarge(size) => {
                let text = format!("tmux's answer is too large: {size} bytes");
                front.error.get_or_insert_with(|| Error::new(Kind::TooLarge, text));
            }
        }
        false
    }

    /// The server's time, where this is the mark of that number.
    fn is_mark(&self, body: &[u8], number: u64) -> Option<u64> {
        let rest = body.strip_prefix(self.mark.as_bytes())?.strip_suffix(b"\n")?;
        let (mark, epoch) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        (mark.parse() == Ok(number)).then(|| epoch.parse().ok())?
    }

    pub(super) async fn has_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|e| *e).await; // its sender is here
    }

    /// Waits (10 s at most) until the client has ended; false if it has not.
    pub(super) async fn ended(&self) -> bool {
        tokio::time::timeout(LIMIT, self.has_ended()).await.is_ok()
    }

    /// Closes our end, which makes tmux detach the client; what was sent is still answered.
    pub(super) fn hang_up(&self) {
        let mut state = self.state.lock();
        state.write = None;
        if matches!(state.fate, Fate::Up | Fate::Down) {
            state.fate = Fate::Closed;
        }
        drop(state);
        self.wake.notify_one();
        self.slow.notify_one();
    }

    /// The same for a client that another is to follow. One that does not end is left behind.
    pub(super) fn unplug(&self) {
        self.state.lock().write = None;
        self.wake.notify_one();
        self.unplugged.notify_one();
    }
}

impl State {
    /// Writes what it can; true when nothing is left. A broken pipe counts as nothing left: the
    /// reading task sees the end and says so.
    fn flush(&mut self, write: &AsyncFd<OwnedFd>) -> bool {
        while self.sent < self.unsent.len() {
            match nix::unistd::write(write.get_ref(), &self.unsent[self.sent..]) {
                Ok(n) => {
                    self.sent += n;
                    self.taken += n as u64;
                }
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

fn gone() -> Error {
    Error::new(Kind::Gone, "the tmux server is gone")
}

/// Whether the server lives on although it ended our client: looked at for a moment, because one
/// that ends has ended its clients first.
async fn server_stays(pid: Option<u32>) -> bool {
    let Some(pid) = pid else { return false };
    let since = Instant::now();
    while super::process::lives(pid) {
        if since.elapsed() > ENDING {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
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
