//! `muxfs session prompt` and `broadcast`: one text to one or many sessions, and which turn it
//! became there.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::events::Events;
use super::tree::{Session, Tree};
use super::{BroadcastArgs, PromptArgs, report};
use crate::print;
use muxfs_tree::MAX_MESSAGE;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

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
        let input = std::io::stdin().lock();
        if input.is_terminal() {
            eprintln!(
                "muxfs: the prompt is read from this terminal; Ctrl-D at the beginning of a line ends it"
            );
        }
        let most = MAX_MESSAGE as u64 + 1;
        let read = input.take(most).read_to_end(&mut text);
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

/// `NAME [TEXT]…`, or `NAME… -- TEXT…`.
pub fn prompt(tree: &Tree, args: PromptArgs) -> Result<ExitCode> {
    let PromptArgs { words: mut names, mut text } = args;
    if text.is_empty() {
        text = names.split_off(1);
        // As it was written it would go into the first one, and the others would wait for nothing.
        let others = !text.is_empty() && text.iter().all(|word| tree.session(word).is_ok());
        if others {
            let all = format!("{} {}", names.join(" "), text.join(" "));
            return fail(
                Kind::Invalid,
                format!("{} is a session too; for all of them: prompt {all} -- TEXT", text[0]),
            );
        }
    }
    let mut worst = 0;
    let mut sessions = Vec::new();
    for name in &names {
        match tree.session(name) {
            Ok(session) => sessions.push((name, session)),
            Err(error) => worst = worst.max(report(name, &error)),
        }
    }
    if sessions.is_empty() {
        return Ok(ExitCode::from(worst));
    }
    let text = self::text(&text)?;
    for (name, session) in &sessions {
        match send(session, &text, names.len() > 1) {
            Ok(line) => print(&line)?,
            Err(error) => worst = worst.max(report(name, &error)),
        }
    }
    Ok(ExitCode::from(worst))
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
            Err(error) => worst = worst.max(report(&session.shown, &error)),
        }
    }
    Ok(ExitCode::from(worst))
}

/// Sends it; the turn's name as a line, after the session's where there are many. Where there is no
/// name, a person and a list of many are told what was done, and a script reads nothing.
fn send(session: &Session, text: &[u8], many: bool) -> Result<String> {
    let has_turns = session.status()?["turns"] == "on";
    let events = if has_turns { Events::open(session) } else { None };
    session.write("input", text)?;
    let said = match events.and_then(|events| accepted(events, std::process::id())) {
        Some(turn) => turn,
        None if !many && !std::io::stdout().is_terminal() => return Ok(String::new()),
        None if has_turns => "stored; its turn was not told in time, see queue/".to_owned(),
        None => "typed at once: prompts have no turns here".to_owned(),
    };
    Ok(if many { format!("{}: {said}\n", session.shown) } else { format!("{said}\n") })
}

/// The turn that process `pid` was told of: others may write at the same time.
fn accepted(mut events: Events, pid: u32) -> Option<String> {
    let until = Instant::now() + TOLD;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).ok()?;
        let ready = poll(&mut [PollFd::new(events.fd(), PollFlags::POLLIN)], timeout).ok()?;
        let told = events.take();
        let mine = told.iter().find(|e| e["event"] == "accepted" && e["origin"]["pid"] == pid);
        if let Some(event) = mine {
            return event["turn"].as_str().map(str::to_owned);
        }
        if ready == 0 || events.is_over() {
            return None; // too late, or the session is over
        }
    }
}
