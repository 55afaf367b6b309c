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
use super::secret::{memory_file, path_of};
use super::stand::Stand;
use muxfs_tree::base::error::{Kind, Result, fail};
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest text of one paste.
pub const MAX_TEXT: usize = 1 << 20;
/// Keys of one command.
const KEYS: usize = 512;
/// What the guard prints instead of running its commands.
const REFUSED: &str = "muxfs-refused";
const MOVED: &str = "muxfs-moved";

/// Pastes `text`, as one bracketed paste where the program asked for that, else line by line; then
/// Enter if wanted. `Gone` for a dead pane, `Busy` for one whose input is switched off
/// (`select-pane -d`): nothing is sent then.
pub async fn paste(server: &Server, pane: &str, text: &[u8], enter: bool) -> Result<()> {
    let enter = enter.then(|| Part::Press(press(pane, ["Enter"])));
    let parts = [Part::Paste(text)].into_iter().chain(enter);
    put(server, pane, &parts.collect::<Vec<_>>(), None).await.map(drop)
}

/// Pastes `text` without Enter, only if the pane stands as it was seen.
pub async fn paste_if(server: &Server, pane: &str, text: &[u8], stand: &Stand) -> Result<Typed> {
    put(server, pane, &[Part::Paste(text)], Some(stand)).await
}

/// What goes into a pane, in order.
enum Part<'a> {
    /// In brackets, where the program asked for that.
    Paste(&'a [u8]),
    /// As if typed.
    Type(&'a [u8]),
    Press(Command),
}

impl<'a> Part<'a> {
    fn text(&self) -> Option<&'a [u8]> {
        match *self {
            // An empty buffer cannot be made, and there is nothing to paste.
            Part::Paste(text) | Part::Type(text) => Some(text).filter(|t| !t.is_empty()),
            Part::Press(_) => None,
        }
    }
}

/// Puts all of it in, in one step of the server.
///
/// tmux keeps every command that it runs in its message log, so no text stands in a command: each is
/// a file in memory, from which tmux fills a buffer. That is a line of its own and comes first: tmux
/// may take its time with it, and the line that types looks at its deadline after that.
async fn put(server: &Server, pane: &str, parts: &[Part<'_>], stand: Option<&Stand>) -> Result<Typed> {
    let texts: Vec<&[u8]> = parts.iter().filter_map(Part::text).collect();
    if texts.iter().any(|text| text.len() > MAX_TEXT) {
        return fail(Kind::TooLarge, format!("a paste has at most {MAX_TEXT} bytes"));
    }
    let buffers: Vec<String> = texts.iter().map(|_| buffer_name()).collect();
    let line = guarded(pane, stand, inserts(server, pane, parts, &buffers), forget(&buffers));
    if texts.is_empty() {
        return answer(pane, &server.run_each(line).await?);
    }
    let files = texts.iter().map(|text| memory_file(text)).collect::<Result<Vec<_>>>()?;
    let fill = |(name, file)| Command::new("load-buffer").arg("-b").arg(name).arg(path_of(file));
    let fills = buffers.iter().zip(&files).map(fill).fold(Line::NOTHING, Line::then);
    let (filled, typed) = (server.send(fills)?, server.send(line.clone())?);
    // The files stay open until tmux has answered, even if our caller gives up: their numbers must
    // not come to mean other files meanwhile. What was not pasted does not stay in tmux.
    let (to, names) = (server.clone(), buffers.clone());
    let answered = tokio::spawn(async move {
        let filled = filled.await;
        drop(files);
        let typed = typed.await;
        if let (Ok(Err(_)), Some(forget)) = (&typed, forget(&names)) {
            drop(to.send(forget)); // one that is not there is an error, and all is well
        }
        (filled, typed)
    });
    match tokio::time::timeout(super::process::LIMIT, answered).await {
        // tmux may not open our files (we changed user, another namespace): through a line then.
        Ok(Ok((Ok(Err(e)), Ok(Err(_))))) if e.text().contains("/proc/") => {
            let set = |(name, text)| Command::new("set-buffer").arg("-b").arg(name).arg("--").arg(text);
            let sets = buffers.iter().zip(texts).map(set).fold(Line::NOTHING, Line::then);
            answer(pane, &server.run_each(sets.join(line)).await?)
        }
        Ok(Ok((Ok(Err(e)), _))) => Err(e),
        Ok(Ok((_, Ok(typed)))) => answer(pane, &typed?),
        Ok(_) => fail(Kind::Gone, "the tmux server is gone"),
        Err(_) => fail(Kind::TimedOut, "tmux did not take the text within 10 s"),
    }
}

fn buffer_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("muxfs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// None where there are none.
fn forget(buffers: &[String]) -> Option<Line> {
    let forget = |name| Command::new("delete-buffer").arg("-b").arg(name);
    (!buffers.is_empty()).then(|| buffers.iter().map(forget).fold(Line::NOTHING, Line::then))
}

/// The commands that put the parts in, whose texts are in `buffers`.
fn inserts(server: &Server, pane: &str, parts: &[Part<'_>], buffers: &[String]) -> Vec<Command> {
    let rewrites = version_of(&server.info().version).is_some_and(|v| v >= (3, 7));
    let mut buffers = buffers.iter();
    let insert = |part: &Part<'_>| {
        let brackets = match part {
            Part::Press(press) => return Some(press.clone()),
            Part::Paste(_) => &["-p"][..],
            Part::Type(_) => &[],
        };
        part.text()?;
        // -r: line feeds stay line feeds. -d: the buffer goes with the paste.
        let paste = Command::new("paste-buffer").args(["-r", "-d"]).args(brackets);
        // -S: else 3.7 rewrites control bytes
        let paste = if rewrites { paste.arg("-S") } else { paste };
        Some(paste.arg("-b").arg(buffers.next()?).args(["-t", pane]))
    };
    parts.iter().filter_map(insert).collect()
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
    let mut parts = Vec::new();
    for part in what {
        parts.push(match part {
            Send::Text(text) => Part::Type(text.as_bytes()),
            Send::Key(key) => Part::Press(press(pane, [key.as_str()])),
        });
    }
    put(server, pane, &parts, Some(stand)).await
}

/// Types `text` as it is: no Enter, a line feed stays one.
pub async fn type_text(server: &Server, pane: &str, text: &str) -> Result<()> {
    put(server, pane, &[Part::Type(text.as_bytes())], None).await.map(drop)
}

/// Presses keys, in order.
pub async fn keys(server: &Server, pane: &str, keys: &[Key]) -> Result<()> {
    for some in keys.chunks(KEYS) {
        let press = press(pane, some.iter().map(Key::as_str));
        put(server, pane, &[Part::Press(press)], None).await?;
    }
    Ok(())
}

fn press<'a>(pane: &str, keys: impl IntoIterator<Item = &'a str>) -> Command {
    Command::new("send-keys").args(["-t", pane, "--"]).args(keys)
}

/// Runs `send` only if the pane is there, alive, takes input and stands as it was seen, all in one
/// step; else `otherwise`. [`answer`] tells which.
fn guarded(pane: &str, stand: Option<&Stand>, send: Vec<Command>, otherwise: Option<Line>) -> Line {
    let or_else = |what: &str| {
        let say = Command::new("display-message").args(["-p", "-t", pane, what]);
        // First, because of a pane that is not there nothing can be said: that ends the line.
        otherwise.clone().unwrap_or(Line::NOTHING).then(say)
    };
    let mut line = alone(pane, send);
    if let Some(stand) = stand {
        line = stand.guard(pane, line, or_else(MOVED));
    }
    let fit = format!("#{{==:#{{pane_id}} #{{pane_dead}} #{{pane_input_off}},{pane} 0 0}}");
    Command::either(pane, &fit, Some(line), Some(or_else(&format!("{REFUSED} #{{pane_dead}}")))).into()
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
