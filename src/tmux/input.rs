//! Puts text and keys into a pane.
//!
//! Knows paste, type and key as tmux does them. Must not know prompts, turns, agents, or when it
//! is polite to type; cleaning the text of control bytes is the caller's.
//!
//! Each is one line and so one step of the server: no other client gets between leaving copy mode,
//! the text and its Enter. The same line looks first whether the pane lives and takes input,
//! because tmux before 3.4 silently drops what is sent to a dead pane. Those that end in `_if` also
//! look whether the pane still stands as it was seen. What is sent reaches that pane alone, also
//! where the user's `synchronize-panes` copies keys to the others of a window.

use super::actor::{Bodies, Server};
use super::command::{Command, Line};
use super::keys::Key;
use super::process::version_of;
use super::stand::Stand;
use crate::error::{Error, Kind, Result, fail};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

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
    paste_guarded(server, pane, text, enter, None).await.map(drop)
}

/// Pastes `text` without Enter, only if the pane stands as it was seen.
pub async fn paste_if(server: &Server, pane: &str, text: &[u8], stand: &Stand) -> Result<Typed> {
    paste_guarded(server, pane, text, false, Some(stand)).await
}

async fn paste_guarded(
    server: &Server,
    pane: &str,
    text: &[u8],
    enter: bool,
    stand: Option<&Stand>,
) -> Result<Typed> {
    if text.len() > MAX_TEXT {
        return fail(Kind::TooLarge, format!("a paste has at most {MAX_TEXT} bytes"));
    }
    let line = |source: &Source<'_>| paste_line(server, pane, source, enter, stand);
    if text.len() <= INLINE {
        return answer(pane, &server.run_each(line(&Source::Inline(text))).await?);
    }
    let file = memory_file(text)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let reply = server.send(line(&Source::File(&path)))?;
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
            answer(pane, &server.run_each(line(&Source::Inline(text))).await?)
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

fn paste_line(server: &Server, pane: &str, source: &Source<'_>, enter: bool, stand: Option<&Stand>) -> Line {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let buffer = format!("muxfs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let fill = match source {
        // An empty buffer cannot be made, and there is nothing to paste.
        Source::Inline([]) => None,
        Source::Inline(text) => Some(Command::new("set-buffer").arg("-b").arg(&buffer).arg("--").arg(text)),
        Source::File(path) => Some(Command::new("load-buffer").arg("-b").arg(&buffer).arg(path)),
    };
    let mut send = Vec::new();
    if fill.is_some() {
        // -r: line feeds stay line feeds. -d: the buffer goes with the paste.
        let mut paste = Command::new("paste-buffer").args(["-p", "-r", "-d", "-b", &buffer, "-t", pane]);
        if version_of(&server.info().version).is_some_and(|v| v >= (3, 7)) {
            paste = paste.arg("-S"); // else 3.7 rewrites control bytes
        }
        send.push(paste);
    }
    if enter {
        send.push(press(pane, ["Enter"]));
    }
    let Some(fill) = fill else { return guarded(pane, stand, send, None) };
    // tmux reads a file in a step of its own, so that comes first, and the look after it.
    let forget = Command::new("delete-buffer").args(["-b", &buffer]);
    guarded(pane, stand, send, Some((fill, forget)))
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

/// What is typed into a pane, one after the other.
#[derive(Debug, Clone, Copy)]
pub enum Send<'a> {
    /// As it is: no Enter, a line feed stays one.
    Text(&'a str),
    /// A key by its name.
    Key(&'a Key),
}

/// Types all of `what` in one step of the server, only if the pane stands as it was seen.
pub async fn type_if(server: &Server, pane: &str, what: &[Send<'_>], stand: &Stand) -> Result<Typed> {
    let mut send = Vec::new();
    for part in what {
        match part {
            Send::Text(text) => pieces(text).for_each(|piece| send.push(literal(pane, piece))),
            Send::Key(key) => send.push(press(pane, [key.as_str()])),
        }
    }
    answer(pane, &server.run_each(guarded(pane, Some(stand), send, None)).await?)
}

/// Types `text` as it is: no Enter, a line feed stays one.
pub async fn type_text(server: &Server, pane: &str, text: &str) -> Result<()> {
    for piece in pieces(text) {
        answer(pane, &server.run_each(guarded(pane, None, vec![literal(pane, piece)], None)).await?)?;
    }
    Ok(())
}

/// Presses keys, in order.
pub async fn keys(server: &Server, pane: &str, keys: &[Key]) -> Result<()> {
    for some in keys.chunks(PIECE / 8) {
        let press = press(pane, some.iter().map(Key::as_str));
        answer(pane, &server.run_each(guarded(pane, None, vec![press], None)).await?)?;
    }
    Ok(())
}

/// In parts of at most [`PIECE`] bytes.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // A character is at most 4 bytes, so an end is found.
        let end = (0..=PIECE.min(rest.len())).rev().find(|&i| rest.is_char_boundary(i))?;
        let (now, later) = rest.split_at(end);
        rest = later;
        (!now.is_empty()).then_some(now)
    })
}

fn literal(pane: &str, text: &str) -> Command {
    Command::new("send-keys").args(["-l", "-t", pane, "--", text])
}

fn press<'a>(pane: &str, keys: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new("send-keys").args(["-t", pane, "--"]).args(keys)
}

/// Runs `send` only if the pane is there, alive, takes input and stands as it was seen, all in one
/// step. `around`: what runs before that in any case, and what undoes it where `send` does not run.
/// [`answer`] tells which.
fn guarded(
    pane: &str,
    stand: Option<&Stand>,
    send: Vec<Command>,
    around: Option<(Command, Command)>,
) -> Line {
    let (before, otherwise) = around.unzip();
    let or_else = |what: &str| {
        let say = Command::new("display-message").args(["-p", "-t", pane, what]);
        // First, because of a pane that is not there nothing can be said: that ends the line.
        otherwise.clone().map_or_else(|| say.clone().into(), |command| command.then(say.clone()))
    };
    let mut line = alone(pane, send);
    if let Some(stand) = stand {
        line = Command::either(pane, &stand.holds(), Some(line), Some(or_else(MOVED))).into();
    }
    let fit = format!("#{{==:#{{pane_id}} #{{pane_dead}} #{{pane_input_off}},{pane} 0 0}}");
    let guarded =
        Command::either(pane, &fit, Some(line), Some(or_else(&format!("{REFUSED} #{{pane_dead}}"))));
    before.into_iter().chain([guarded]).fold(Line::NOTHING, Line::then)
}

/// `send` without copy mode, which would swallow what is typed, and to this pane alone: tmux copies
/// the keys of a pane whose `synchronize-panes` is on to the others of its window. The option may be
/// the pane's own or the window's; it is as it was afterwards, and where a line broke off, after the
/// next one.
fn alone(pane: &str, send: Vec<Command>) -> Line {
    const MARK: &str = "@muxfs-alone";
    let set = |args: &[&str]| Command::new("set-option").args(["-p", "-t", pane]).args(args);
    let synchronized = "#{pane_synchronized}";
    let off = set(&[MARK, "1"]).then(set(&["synchronize-panes", "off"]));
    let on_again = Command::either(pane, synchronized, None, Some(set(&["synchronize-panes", "on"]).into()));
    let back = set(&["-u", MARK]).then(set(&["-u", "synchronize-panes"])).then(on_again);
    let mut line = Command::new("copy-mode").args(["-q", "-t", pane]).then(Command::either(
        pane,
        synchronized,
        Some(off),
        None,
    ));
    for command in send {
        line = line.then(command);
    }
    line.then(Command::either(pane, &format!("#{{{MARK}}}"), Some(back), None))
}

/// What a guarded line's replies say. `Busy` for a pane whose input is off, `Gone` for a dead one.
fn answer(pane: &str, bodies: &Bodies) -> Result<Typed> {
    if bodies.iter().any(|b| b.starts_with(MOVED.as_bytes())) {
        return Ok(Typed::Moved);
    }
    let refused = bodies.iter().find_map(|b| b.strip_prefix(REFUSED.as_bytes()));
    match refused.map(<[u8]>::trim_ascii) {
        None => Ok(Typed::Yes),
        Some(b"0") => fail(Kind::Busy, format!("the input of pane {pane} is switched off in tmux")),
        Some(_) => fail(Kind::Gone, format!("pane {pane} is dead")),
    }
}
