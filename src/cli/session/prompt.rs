//! `muxfs session prompt` and `broadcast`: one text to one or many sessions, and which turn it
//! became there.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::tree::{Session, Tree};
use super::{BroadcastArgs, PromptArgs, each, tell};
use crate::cli::print;
use crate::error::{Error, Kind, Result, fail};
use crate::tree::MAX_MESSAGE;

/// Stands for every agent.
const ALL: &str = "all";
const SHELL: &str = "shell";
/// The event of an accepted prompt is on its way when the close returns.
const TOLD: Duration = Duration::from_secs(2);

/// The words as one text; without any, or as "-", what standard input has.
pub fn text(words: &[String]) -> Result<Vec<u8>> {
    let mut text = words.join(" ").into_bytes();
    if matches!(words, [] | [_]) && (text.is_empty() || text == b"-") {
        text.clear();
        let most = MAX_MESSAGE as u64 + 1;
        let read = std::io::stdin().lock().take(most).read_to_end(&mut text);
        read.map_err(|e| Error::io("standard input", e))?;
    }
    if text.len() > MAX_MESSAGE {
        return fail(Kind::TooLarge, format!("a prompt of more than {MAX_MESSAGE} bytes"));
    }
    if text.trim_ascii().is_empty() {
        return fail(Kind::Invalid, "an empty prompt");
    }
    Ok(text)
}

pub fn prompt(tree: &Tree, args: PromptArgs) -> Result<ExitCode> {
    let (mut names, mut words) = (args.of.names, args.text);
    // `prompt NAME -`, as others have it.
    if words.is_empty() && names.len() > 1 && names.last().is_some_and(|n| n == "-") {
        words.extend(names.pop());
    }
    let text = text(&words)?;
    let many = names.len() > 1;
    each(tree, &names, |session| send(session, &text, many))
}

pub fn broadcast(tree: &Tree, args: &BroadcastArgs) -> Result<ExitCode> {
    let (node, agent) = tree.split(&args.agent)?;
    let of = |status: &Value| match status["agent"].as_str() {
        Some(key) => key == agent || (agent == ALL && key != SHELL),
        None => false,
    };
    let sessions: Vec<Session> =
        node.sessions()?.into_iter().filter(|(_, status)| of(status)).map(|(session, _)| session).collect();
    if sessions.is_empty() {
        return fail(Kind::NotFound, format!("{}: no session is of this agent", args.agent));
    }
    let text = text(&args.text)?;
    let mut worst = 0;
    for session in sessions {
        match send(&session, &text, true) {
            Ok(line) => print(&line)?,
            Err(error) => worst = worst.max(tell(&session.shown, &error)),
        }
    }
    Ok(ExitCode::from(worst))
}

/// Sends it; the turn's name as a line, after the session's where there are many.
fn send(session: &Session, text: &[u8], many: bool) -> Result<String> {
    let events = if session.status()?["turns"] == "on" { events(session) } else { None };
    session.write("input", text)?;
    let turn = events.and_then(|events| accepted(events, std::process::id()));
    Ok(match turn {
        Some(turn) if many => format!("{}: {turn}\n", session.shown),
        Some(turn) => format!("{turn}\n"),
        None => String::new(),
    })
}

/// From before the prompt on. Without them it goes all the same, only its name is not told.
fn events(session: &Session) -> Option<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK).open(session.path("events")).ok()
}

/// The turn that process `pid` was told of: others may write at the same time.
fn accepted(mut events: File, pid: u32) -> Option<String> {
    let until = Instant::now() + TOLD;
    let (mut text, mut chunk) = (Vec::new(), [0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).ok()?;
        let ready = poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], timeout).ok()?;
        let read = match events.read(&mut chunk) {
            Ok(read) if ready > 0 && read > 0 => read,
            Err(e) if ready > 0 && e.kind() == ErrorKind::WouldBlock => continue,
            _ => return None, // too late, or the session is over
        };
        text.extend_from_slice(&chunk[..read]);
        while let Some(end) = text.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            if event["event"] == "accepted" && event["origin"]["pid"] == pid {
                return event["turn"].as_str().map(str::to_owned);
            }
        }
    }
}
