//! `muxfs session ask`: a prompt and its answer by one open `ask`, as long as somebody waits for it.
//!
//! Ends early where the answer cannot come by itself: the agent asks something, is at a limit, or
//! is gone. What still waits in the queue then is taken back, and so it is at Ctrl-C.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::events::Events;
use super::tree::Session;
use super::{Done, states};
use crate::terminal;
use muxfs_tree::base::error::{Error, Kind, Result};

/// Events report changes at once; a read this often finds what no event reported.
const LOOK: Duration = Duration::from_secs(2);

/// An accepted prompt is in `events` at once; a busy machine needs a moment to show it.
const NAMED: Duration = Duration::from_secs(5);

/// Sends `question` and waits for its answer.
pub fn ask(session: &Session, question: &[u8]) -> Result<Done> {
    let signals = Signals::begin()?;
    let mut turn = Turn { session, events: Events::open(session), name: None };
    match wait(session, question, &signals, &mut turn) {
        Ok(Outcome::Answer(text)) => Ok(Done::from(text)),
        Ok(Outcome::Stuck(status)) => Ok(turn.stuck(status)),
        Ok(Outcome::Signal(number)) => {
            eprintln!("muxfs: {}: {}", session.shown, turn.left());
            Ok(Done { text: String::new(), status: 128 + number })
        }
        // A turn that ended without an answer: the agent's own state says more than the errno.
        Err(error) => {
            match session.status().ok().map(|s| states::status(s["state"].as_str().unwrap_or(""))) {
                Some(status) if status != 0 && error.kind != Kind::TimedOut => {
                    super::report(&session.shown, &error);
                    Ok(turn.stuck(status))
                }
                _ => Err(error),
            }
        }
    }
}

enum Outcome {
    Answer(String),
    /// The agent cannot go on without a person: the exit status that says so.
    Stuck(u8),
    Signal(u8),
}

fn wait(session: &Session, question: &[u8], signals: &Signals, turn: &mut Turn<'_>) -> Result<Outcome> {
    session.tried("ask", || {
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(session.path("ask"))?;
        file.write_all(question)?;
        let limit = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        loop {
            let wanted = [Some(file.as_fd()), Some(signals.0.as_fd()), turn.events.as_ref().map(Events::fd)];
            let mut polled: Vec<PollFd<'_>> =
                wanted.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut polled, limit) {
                Err(nix::Error::EINTR) => continue,
                Err(e) => return Err(e.into()),
                Ok(_) => {}
            }
            let ready = |n: usize| polled.get(n).is_some_and(|fd| fd.any().unwrap_or(false));
            let (answered, signalled) = (ready(0), ready(1));
            drop(polled);
            turn.listen();
            if answered && let Some(text) = answer(&mut file)? {
                return Ok(Outcome::Answer(text));
            }
            if signalled && let Some(number) = signals.taken() {
                return Ok(Outcome::Signal(number));
            }
            if let Some(status) = turn.is_stuck() {
                return Ok(Outcome::Stuck(status));
            }
        }
    })
}

/// All of it, or `None` where it has not come.
fn answer(file: &mut File) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    match file.take(super::tree::MOST).read_to_end(&mut text) {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(None),
        read => read.map(|_| Some(String::from_utf8_lossy(&text).into_owned())),
    }
}

/// The prompt, as the turn that it became.
struct Turn<'a> {
    session: &'a Session,
    events: Option<Events>,
    /// Once its event came.
    name: Option<String>,
}

impl Turn<'_> {
    fn listen(&mut self) {
        let pid = std::process::id();
        let told = self.events.as_mut().map(Events::take).unwrap_or_default();
        let accepted = told.iter().find(|e| e["event"] == "accepted" && e["origin"]["pid"] == pid);
        if let Some(name) = accepted.and_then(|e| e["turn"].as_str()) {
            self.name = Some(name.to_owned());
        }
        // At its end it could be read for ever.
        self.events.take_if(|e| e.is_over());
    }

    /// The exit status of a state in which the answer does not come by itself.
    fn is_stuck(&self) -> Option<u8> {
        self.name.as_ref()?; // not accepted yet
        let status = self.session.status().ok()?;
        let status = states::status(status["state"].as_str()?);
        (status != 0).then_some(status)
    }

    /// Says on standard error why there is no answer, with the question where one is asked.
    fn stuck(&mut self, status: u8) -> Done {
        let state = self.session.status().ok().and_then(|s| s["state"].as_str().map(str::to_owned));
        let (state, left) = (state.unwrap_or_else(|| "ended".into()), self.left());
        eprintln!("muxfs: {}: no answer, the agent is {state}; {left}", self.session.shown);
        if status == states::BLOCKED
            && let Ok(question) = self.session.read("question")
        {
            eprint!("{}", terminal::printable(&question));
        }
        Done { text: String::new(), status }
    }

    /// Waits until the turn has its name: a prompt whose `ask` is closed was accepted or refused, and
    /// its event may still be on its way.
    fn await_name(&mut self) {
        let begun = Instant::now();
        while self.name.is_none()
            && let Some(events) = &self.events
            && let Some(rest) = NAMED.checked_sub(begun.elapsed())
        {
            let mut polled = [PollFd::new(events.fd(), PollFlags::POLLIN)];
            let limit = PollTimeout::try_from(rest).unwrap_or(PollTimeout::MAX);
            if !matches!(poll(&mut polled, limit), Ok(_) | Err(nix::Error::EINTR)) {
                return;
            }
            self.listen();
        }
    }

    /// Takes the prompt back where it still waits; what became of it, in words.
    fn left(&mut self) -> String {
        self.await_name();
        let Some(name) = &self.name else { return "whether the prompt was taken is not known".into() };
        match std::fs::remove_file(self.session.path("queue").join(name)) {
            Ok(()) => format!("the prompt ({name}) was taken back"),
            Err(_) => format!("the turn {name} goes on: turns/{name}/reply has its answer"),
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP as a descriptor instead of the process's end.
struct Signals(SignalFd);

impl Signals {
    fn all() -> SigSet {
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
    }

    fn begin() -> Result<Self> {
        let failed = |e: nix::Error| Error::io("waiting for signals", e.into());
        Signals::all().thread_block().map_err(failed)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&Signals::all(), flags).map(Signals).map_err(failed)
    }

    /// The number of one that came.
    fn taken(&self) -> Option<u8> {
        let read = self.0.read_signal().ok()??;
        u8::try_from(read.ssi_signo).ok()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = Signals::all().thread_unblock(); // one that came meanwhile ends the program
    }
}
