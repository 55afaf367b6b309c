//! Puts text and keys into a pane.
//!
//! Knows paste, type and key as tmux does them. Must not know prompts, turns, agents, or when it
//! is polite to type; cleaning the text of control bytes is the caller's.
//!
//! Each is one line and so one step of the server: no other client gets between leaving copy mode,
//! the text and its Enter. The same line looks first whether the pane lives and takes input,
//! because tmux before 3.4 silently drops what is sent to a dead pane.

use super::actor::{Bodies, Server};
use super::command::{Command, Line};
use super::keys::Key;
use super::process::version_of;
use crate::clock;
use crate::error::{Error, Kind, Result, fail};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Largest text of one paste.
pub const MAX_TEXT: usize = 1 << 20;
/// Up to here a text goes inside the line; above, through a memory file that tmux reads at once
/// (8,000 bytes: 50 µs instead of 290).
const INLINE: usize = 512;
/// Typed at once. tmux handles typed text key by key, about 8 bytes a µs, and does nothing else
/// meanwhile.
const PIECE: usize = 4096;
/// What the guard prints instead of running its commands.
const REFUSED: &str = "muxfs-refused";
const MOVED: &str = "muxfs-moved";

/// Pastes `text`, as one bracketed paste where the program asked for that, else line by line; then
/// Enter if wanted. `Gone` for a dead pane, `Busy` for one whose input is switched off
/// (`select-pane -d`): nothing is sent then.
pub async fn paste(server: &Server, pane: &str, text: &[u8], enter: bool) -> Result<()> {
    if text.len() > MAX_TEXT {
        return fail(Kind::TooLarge, format!("a paste has at most {MAX_TEXT} bytes"));
    }
    if text.len() <= INLINE {
        return answer(pane, &server.run_each(paste_line(server, pane, &Source::Inline(text), enter)).await?);
    }
    let file = memory_file(text)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let line = paste_line(server, pane, &Source::File(&path), enter);
    let reply = server.send(line)?;
    // The file stays open until tmux has answered, even if our caller gives up: its number must
    // not come to mean another file meanwhile.
    let answered = tokio::spawn(async move {
        let reply = reply.await;
        drop(file);
        reply
    });
    match tokio::time::timeout(super::process::LIMIT, answered).await {
        Ok(Ok(Ok(Ok(bodies)))) => answer(pane, &bodies),
        // tmux may not open our files (we changed user, another namespace): through the line then.
        Ok(Ok(Ok(Err(e)))) if e.text().contains(&path) => {
            answer(pane, &server.run_each(paste_line(server, pane, &Source::Inline(text), enter)).await?)
        }
        Ok(Ok(Ok(Err(e)))) => Err(e),
        Ok(_) => fail(Kind::Gone, "the tmux server is gone"),
        Err(_) => fail(Kind::TimedOut, "tmux did not take the text within 10 s"),
    }
}

enum Source<'a> {
    Inline(&'a [u8]),
    File(&'a str),
}

fn paste_line(server: &Server, pane: &str, source: &Source<'_>, enter: bool) -> Command {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let buffer = format!("muxfs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    // An empty buffer cannot be made, and there is nothing to paste.
    let mut line = leave_mode(pane);
    let fill = match source {
        Source::Inline([]) => None,
        Source::Inline(text) => Some(Command::new("set-buffer").arg("-b").arg(&buffer).arg("--").arg(text)),
        Source::File(path) => Some(Command::new("load-buffer").arg("-b").arg(&buffer).arg(path)),
    };
    if let Some(fill) = fill {
        // -r: line feeds stay line feeds. -d: the buffer goes with the paste.
        let mut paste = Command::new("paste-buffer").args(["-p", "-r", "-d", "-b", &buffer, "-t", pane]);
        if version_of(&server.info().version).is_some_and(|v| v >= (3, 7)) {
            paste = paste.arg("-S"); // else 3.7 rewrites control bytes
        }
        line = line.then(fill).then(paste);
    }
    if enter {
        line = line.then(Command::new("send-keys").args(["-t", pane, "Enter"]));
    }
    guard(pane, line)
}

fn memory_file(text: &[u8]) -> Result<OwnedFd> {
    let io = |e: std::io::Error| Error::io("memory file", e);
    let fd = memfd_create(c"muxfs-paste", MFdFlags::MFD_CLOEXEC).map_err(|e| io(e.into()))?;
    let mut file = std::fs::File::from(fd);
    std::io::Write::write_all(&mut file, text).map_err(io)?;
    Ok(file.into())
}

/// Whether a guarded line ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Yes,
    /// The pane does not stand as it was seen: nothing was typed.
    Moved,
}

/// Pastes `text` without Enter, only if the pane still stands as [`capture::picture`] saw it.
///
/// [`capture::picture`]: super::capture::picture
pub async fn paste_if(server: &Server, pane: &str, text: &[u8], stand: &str) -> Result<Typed> {
    if text.len() > MAX_TEXT {
        return fail(Kind::TooLarge, format!("a paste has at most {MAX_TEXT} bytes"));
    }
    // Not in one step with the paste: what is checked is a composer at rest, and the next look
    // comes before its Enter.
    match press_if(server, pane, &[], stand).await? {
        Typed::Yes => paste(server, pane, text, false).await.map(|()| Typed::Yes),
        moved => Ok(moved),
    }
}

/// Presses keys, only if the pane still stands as it was seen: one step of the server.
pub async fn press_if(server: &Server, pane: &str, keys: &[&str], stand: &str) -> Result<Typed> {
    let mut line = leave_mode(pane);
    if !keys.is_empty() {
        line = line.then(Command::new("send-keys").args(["-t", pane, "--"]).args(keys));
    }
    let bodies = server.run_each(guard_at(pane, stand, line)).await?;
    if bodies.iter().any(|b| b.starts_with(MOVED.as_bytes())) {
        return Ok(Typed::Moved);
    }
    answer(pane, &bodies).map(|()| Typed::Yes)
}

/// As [`guard`], and only if the pane stands as it was seen.
fn guard_at(pane: &str, stand: &str, line: Line) -> Command {
    let fit = format!("#{{==:{},{stand}}}", super::capture::STAND);
    let moved = Command::new("display-message").args(["-p", "-t", pane, MOVED]);
    guard(pane, Command::either(pane, &fit, Some(line), Some(moved.into())).into())
}

/// Types `text` as it is: no Enter, a line feed stays one.
pub async fn type_text(server: &Server, pane: &str, text: &str) -> Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        // A character is at most 4 bytes, so an end is found.
        let end = (0..=PIECE.min(rest.len())).rev().find(|&i| rest.is_char_boundary(i)).unwrap_or(rest.len());
        let (now, later) = rest.split_at(end);
        let line = leave_mode(pane).then(Command::new("send-keys").args(["-l", "-t", pane, "--", now]));
        answer(pane, &server.run_each(guard(pane, line)).await?)?;
        rest = later;
    }
    Ok(())
}

/// Presses keys, in order.
pub async fn keys(server: &Server, pane: &str, keys: &[Key]) -> Result<()> {
    for some in keys.chunks(PIECE / 8) {
        let press = Command::new("send-keys").args(["-t", pane, "--"]).args(some.iter().map(Key::as_str));
        answer(pane, &server.run_each(guard(pane, leave_mode(pane).then(press))).await?)?;
    }
    Ok(())
}

/// Copy mode would swallow what is typed; where there is none this does nothing.
fn leave_mode(pane: &str) -> Line {
    Command::new("copy-mode").args(["-q", "-t", pane]).into()
}

/// Runs `line` only if the pane is there, alive and takes input, in one step; see [`answer`].
pub fn guard(pane: &str, line: Line) -> Command {
    let fit = format!("#{{==:#{{pane_id}} #{{pane_dead}} #{{pane_input_off}},{pane} 0 0}}");
    let why = format!("{REFUSED} #{{pane_dead}}");
    let refuse = Command::new("display-message").args(["-p", "-t", pane, &why]);
    Command::either(pane, &fit, Some(line), Some(refuse.into()))
}

/// What a guarded line's replies say.
pub fn answer(pane: &str, bodies: &Bodies) -> Result<()> {
    let refused = bodies.iter().find_map(|b| b.strip_prefix(REFUSED.as_bytes()));
    match refused.map(<[u8]>::trim_ascii) {
        None => Ok(()),
        Some(b"0") => fail(Kind::Busy, format!("the input of pane {pane} is switched off in tmux")),
        Some(_) => fail(Kind::Gone, format!("pane {pane} is dead")),
    }
}

/// How long ago a person's client that shows this pane sent a key: whole seconds, rounded down,
/// because tmux keeps no more. None where no such client is attached.
pub async fn typed_recently(server: &Server, pane: &str) -> Result<Option<Duration>> {
    let line = Command::new("display-message").args(["-p", "-t", pane, "#{window_id}"]).then(
        Command::new("list-clients").args(["-F", "#{client_control_mode} #{window_id} #{client_activity}"]),
    );
    let bodies = server.run_each(line).await?;
    let [window, clients] = &bodies[..] else {
        return fail(Kind::Bug, format!("two commands, {} answers from tmux", bodies.len()));
    };
    let window = String::from_utf8_lossy(window);
    let last = String::from_utf8_lossy(clients)
        .lines()
        .filter_map(|l| {
            l.strip_prefix("0 ")?.strip_prefix(window.trim_end())?.strip_prefix(' ')?.parse::<u64>().ok()
        })
        .max();
    let now = clock::epoch(clock::now());
    Ok(last.map(|at| Duration::from_secs(now.saturating_sub(at))))
}
