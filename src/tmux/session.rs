//! Makes, renames, restarts and ends sessions and windows.
//!
//! Knows tmux's commands for it. Must not know agents, records or what a session is for; ending
//! the processes below a pane is the caller's, before [`kill_session`].

use super::actor::{Bodies, Server};
use super::command::{Command, Hidden, Line};
use super::pipe::{PipeHub, PipeStart, Ticket, descriptors};
use super::secret::{memory_file, path_of};
use super::state::PaneInfo;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::names::SESSION_ID;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// What a new session is to be.
#[derive(Debug, Clone, Default)]
pub struct NewSession<'a> {
    /// As tmux will show it; `:` and `.` would be rewritten and are refused.
    pub name: &'a str,
    pub cwd: &'a [u8],
    /// Set on top of the server's global environment, for every pane of the session. Only where
    /// there is a `command`.
    pub env: &'a [(String, String)],
    /// Program and arguments, found in the PATH of `env`; None: the user's shell, as tmux starts it.
    pub command: Option<&'a [String]>,
    pub width: u32,
    pub height: u32,
    /// Value of the session's `@muxfs`.
    pub muxfs_id: &'a str,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// `$3`.
    pub session: String,
    /// `@2`.
    pub window: String,
    /// `%5`.
    pub pane: String,
    pub pid: u32,
    /// How reading its output began; a failure there is no failure of the session.
    pub pipe: Option<Result<PipeStart>>,
}

const MADE: &str = "#{session_id} #{window_id} #{pane_id} #{pane_pid}";

/// Makes a session, its options and its pipe in one line, so that no byte of output and no early
/// exit is missed. `Exists` where the name is taken.
pub async fn new_session(server: &Server, new: NewSession<'_>, hub: Option<&PipeHub>) -> Result<Made> {
    check_name(new.name)?;
    // Before the session is there, only its name can be a target, and `$…` would be taken for an
    // id; such a one gets its name last.
    let first = match new.name.strip_prefix('$') {
        Some(_) => format!("{UNNAMED}{}", super::secret::secret()?),
        None => new.name.to_owned(),
    };
    let target = format!("={first}:");
    let (width, height) = (new.width.to_string(), new.height.to_string());
    let mut make = Command::new("new-session").args(["-d", "-P", "-F", MADE, "-x", &width, "-y", &height]);
    // Says whose it is from the first moment.
    make = make.arg("-e").arg(format!("{SESSION_ID}={}", new.muxfs_id)).arg("-s").literal(&first);
    let launch = Launch::new(server, new.command, new.env, mark()?)?;
    let mut line = owned(launch.of(make, new.cwd).into(), &target, new.muxfs_id)
        .join(variables(&target, new.env))
        // It is born with the size of any client of the server, a telephone's among them.
        .then(Command::new("resize-window").args(["-t", &target, "-x", &width, "-y", &height]))
        .then(Command::new("set-option").args(["-w", "-u", "-t", &target, "window-size"]));
    let opening = Opening::new(server, hub)?;
    if let Some(ticket) = &opening.ticket {
        line = line.then(ticket.command(&target));
    }
    if first != new.name {
        line = line.then(Command::new("rename-session").args(["-t", &target, "--"]).literal(new.name));
    }
    let made = server.run_each(line).await;
    if made.is_err() && first != new.name {
        // It may be there under its first name, which nobody else has.
        let _ = server.run(Command::new("kill-session").args(["-t", &target])).await;
    }
    let bodies = made?;
    opening.made(&bodies).await
}

/// Begins the first name of a session whose own name cannot be a target.
const UNNAMED: &str = "_muxfs-";

/// What makes a session ours, behind the command that makes it.
fn owned(made: Line, target: &str, muxfs_id: &str) -> Line {
    made.then(Command::new("set-option").args(["-t", target, "@muxfs", muxfs_id]))
        .then(Command::new("set-option").args(["-t", target, "destroy-unattached", "off"]))
        .then(Command::new("set-option").args(["-w", "-t", target, "remain-on-exit", "on"]))
}

/// Whether a session of this name may be one that [`new_session`] made for `name` and could not
/// finish: a hook of the user's runs between its commands, and may hold up our client for good.
pub fn may_be_unfinished(shown: &str, name: &str) -> bool {
    shown == name || shown.starts_with(UNNAMED)
}

/// The id that a session was made with, from its own environment. None where it has none there.
pub async fn id_of(server: &Server, session: &str) -> Result<Option<String>> {
    match server.run(Command::new("show-environment").args(["-t", session, SESSION_ID])).await {
        Ok(text) => {
            let text = String::from_utf8_lossy(&text);
            Ok(text.trim_end_matches('\n').split_once('=').map(|(_, value)| value.to_owned()))
        }
        Err(e) if matches!(e.kind, Kind::Invalid | Kind::Gone) => Ok(None), // not set, or just ended
        Err(e) => Err(e),
    }
}

/// Does what [`new_session`] did not come to.
pub async fn finish(server: &Server, session: &str, name: &str, muxfs_id: &str) -> Result<()> {
    check_name(name)?;
    let named = Command::new("rename-session").args(["-t", session, "--"]).literal(name);
    server.run(owned(named.into(), session, muxfs_id)).await.map(drop)
}

/// A mark for the program of a window that is about to be opened.
pub fn mark() -> Result<String> {
    super::secret::secret()
}

/// Whether the pane was made by the [`new_window`] of this mark. tmux tells the command of a pane from
/// its first moment on.
pub fn has_mark(pane: &PaneInfo, mark: &str) -> bool {
    pane.start_command.contains(mark)
}

/// Does what [`new_window`] did not come to, in a pane that [`has_mark`] found.
pub fn finish_window(server: &Server, pane: &str) {
    // What it answers is of no use: a window that just went needs no option.
    drop(server.send(Command::new("set-option").args(["-w", "-t", pane, "remain-on-exit", "on"])));
}

/// Opens a window in a session, for a session whose main pane is gone. A hook of the user's may hold up
/// our client behind it: then [`has_mark`] tells the pane, where the program has an environment.
pub async fn new_window(
    server: &Server,
    session: &str,
    mark: &str,
    cwd: &[u8],
    env: &[(String, String)],
    command: Option<&[String]>,
    hub: Option<&PipeHub>,
) -> Result<Made> {
    // Behind the last one, so that the rest of the line can name it without its id.
    let target = format!("{session}:{{end}}");
    let make = Command::new("new-window").args(["-a", "-d", "-P", "-F", MADE, "-t", &target]);
    let launch = Launch::new(server, command, env, mark.to_owned())?;
    let remain = Command::new("set-option").args(["-w", "-t", &target, "remain-on-exit", "on"]);
    let mut line = launch.of(make, cwd).then(remain);
    let opening = Opening::new(server, hub)?;
    if let Some(ticket) = &opening.ticket {
        line = line.then(ticket.command(&target));
    }
    let bodies = server.run_each(line).await?;
    opening.made(&bodies).await
}

/// Starts another program in a pane; the new process id. With `kill` also where one still runs,
/// otherwise that is `Busy`. The pane keeps its id, its scrollback and its pipe.
pub async fn respawn(
    server: &Server,
    pane: &str,
    cwd: &[u8],
    env: &[(String, String)],
    command: Option<&[String]>,
    kill: bool,
) -> Result<u32> {
    let mut again = Command::new("respawn-pane");
    if kill {
        again = again.arg("-k");
    }
    let launch = Launch::new(server, command, env, mark()?)?;
    again = launch.of(again.args(["-t", pane]), cwd);
    let ask = Command::new("display-message").args(["-p", "-t", pane, "#{pane_pid}"]);
    let text = server.run(again.then(ask)).await.map_err(|e| match e.text() {
        t if t.contains("still active") => {
            Error::new(Kind::Busy, format!("pane {pane} still runs its program"))
        }
        _ => e,
    })?;
    String::from_utf8_lossy(&text)
        .trim()
        .parse()
        .map_err(|e| Error::new(Kind::Bug, "tmux gave no process id").because(e))
}

/// Ends a session; windows that are in other sessions too live on.
pub async fn kill_session(server: &Server, session: &str) -> Result<()> {
    server.run(Command::new("kill-session").args(["-t", session])).await.map(drop)
}

pub async fn rename(server: &Server, session: &str, name: &str) -> Result<()> {
    check_name(name)?;
    let line = Command::new("rename-session").args(["-t", session, "--"]).literal(name);
    server.run(line).await.map(drop)
}

/// Gives the session's current window another size. With a client attached tmux takes the client's
/// again: `resize-window` alone would pin the size for good.
pub async fn resize(server: &Server, session: &str, (width, height): (u16, u16)) -> Result<()> {
    let target = format!("{session}:");
    let size = [width.to_string(), height.to_string()];
    let resize = Command::new("resize-window").args(["-t", &target, "-x", &size[0], "-y", &size[1]]);
    let unpin = Command::new("set-option").args(["-w", "-u", "-t", &target, "window-size"]);
    server.run(resize.then(unpin)).await.map(drop)
}

/// Sets the session's `@muxfs`.
pub async fn set_muxfs_id(server: &Server, session: &str, id: &str) -> Result<()> {
    server.run(Command::new("set-option").args(["-t", session, "@muxfs", id])).await.map(drop)
}

/// Refuses what tmux would rewrite, so that a session bears the name that was asked for: `:` and
/// `.` become `_`, `\\` and control bytes are escaped, and so is a `$` that looks like a variable
/// (utf8.c, utf8_strvis).
pub fn check_name(name: &str) -> Result<()> {
    let variable = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{');
    let odd = name.char_indices().find(|&(at, c)| match c {
        ':' | '.' | '\\' => true,
        '$' => variable(&name[at + 1..]),
        c => c.is_control(),
    });
    match odd {
        Some((_, c)) => fail(Kind::Invalid, format!("tmux would rewrite the {c:?} in a session's name")),
        None if name.is_empty() => fail(Kind::Invalid, "a session needs a name"),
        None => Ok(()),
    }
}

/// Refuses a name that this server would change, by asking it: which characters it rewrites (U+2028,
/// code points without a meaning) is up to its version and its C library. A window's name goes through
/// the same function as a session's (tried on 3.3a), so the window of our own hidden session bears the
/// name for a moment.
pub async fn try_name(server: &Server, name: &str) -> Result<()> {
    check_name(name)?;
    if name.is_ascii() {
        return Ok(()); // what is rewritten of these is known
    }
    let target = format!("{}:", server.hidden_session());
    let named = |name: &str| Command::new("rename-window").args(["-t", &target, "--"]).literal(name);
    let ask = Command::new("display-message").args(["-p", "-t", &target, "#{window_name}"]);
    let bodies = server.run(named(name).then(ask).then(named("muxfs"))).await?;
    let shown = String::from_utf8_lossy(&bodies);
    match shown.trim_end_matches('\n') {
        shown if shown == name => Ok(()),
        shown => fail(Kind::Invalid, format!("tmux would rewrite a session's name to {shown:?}")),
    }
}

/// A program of a pane, with its environment. tmux keeps its commands in its message log, so the
/// values stand in none: a file in memory has them, and our own binary reads it and becomes the
/// program.
struct Launch {
    argv: Vec<Vec<u8>>,
    file: Option<OwnedFd>,
}

impl Launch {
    /// Without `argv` it is the user's shell, as tmux starts it. The file begins with `token`, which
    /// the command has too.
    fn new(
        server: &Server,
        argv: Option<&[String]>,
        env: &[(String, String)],
        token: String,
    ) -> Result<Launch> {
        let words = |words: &[&str]| words.iter().map(|w| w.as_bytes().to_vec()).collect();
        let Some(argv) = argv.filter(|argv| !argv.is_empty()) else {
            return Ok(Launch { argv: Vec::new(), file: None });
        };
        // Several arguments are run as they are, a single one by a shell; so it always gets `sh`,
        // which only looks the program up and becomes it: one that is missing is exit 127 with a
        // message on the screen, where tmux itself would say 1 and nothing.
        let (mut all, file): (Vec<Vec<u8>>, _) = if env.is_empty() {
            (words(&["/bin/sh", "-c", "exec \"$@\"", "sh"]), None)
        } else {
            let mut text = token.clone().into_bytes();
            for (name, value) in env {
                text.extend([b"\0", name.as_bytes(), b"=", value.as_bytes()].concat());
            }
            let (own, file) = (server.own(), memory_file(&text)?);
            let mut all = vec![own.path.as_os_str().as_bytes().to_vec()];
            all.extend::<Vec<_>>(words(&[own.env, &path_of(&file), &token]));
            (all, Some(file))
        };
        all.extend(argv.iter().map(|word| word.as_bytes().to_vec()));
        Ok(Launch { argv: all, file })
    }

    /// Directory and program behind the command that makes the pane.
    fn of(&self, command: Command, cwd: &[u8]) -> Command {
        let command = command.arg("-c").literal(cwd);
        if self.argv.is_empty() { command } else { command.arg("--").args(&self.argv) }
    }
}

impl Drop for Launch {
    /// The program was started and may not have read its file yet.
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        tokio::spawn(async move {
            tokio::time::sleep(READ).await;
            drop(file);
        });
    }
}

/// How long a program may take from its start to the reading of its environment.
const READ: Duration = Duration::from_secs(60);

/// The variables of a session's own environment, for the panes that people open in it.
fn variables(target: &str, env: &[(String, String)]) -> Line {
    let set = |(name, value): &(String, String)| {
        let hidden = Hidden::new(value.as_bytes());
        let set = Command::new("set-environment").args(["-t", target, "-F", "--", name, &hidden.format()]);
        set.hiding([hidden])
    };
    env.iter().filter(|(name, _)| !name.is_empty()).map(set).fold(Line::NOTHING, Line::then)
}

/// Descriptors that stay free in the server for clients and jobs. A server that has none left
/// answers nobody any more (3.3a).
const SPARE: u64 = 16;

/// The pipe of a pane that is about to be made.
#[derive(Default)]
struct Opening {
    ticket: Option<Ticket>,
    refused: Option<PipeStart>,
}

impl Opening {
    fn new(server: &Server, hub: Option<&PipeHub>) -> Result<Opening> {
        if let Some((used, limit)) = descriptors(server.info().pid)
            && used + SPARE > limit
        {
            return fail(Kind::Full, format!("the tmux server has {used} of {limit} descriptors in use"));
        }
        let Some(hub) = hub else { return Ok(Opening::default()) };
        Ok(match hub.ticket_for_new(server)? {
            Ok(ticket) => Opening { ticket: Some(ticket), refused: None },
            Err(refused) => Opening { ticket: None, refused: Some(refused) },
        })
    }

    /// Reads what the line printed ([`MADE`] first) and waits for the pipe.
    async fn made(self, bodies: &Bodies) -> Result<Made> {
        let text = bodies.first().map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (&[session, window, pane, _], Some(Ok(pid))) = (&fields[..], fields.get(3).map(|p| p.parse()))
        else {
            return fail(Kind::Bug, format!("tmux described the new pane as {text:?}"));
        };
        let pipe = match self.ticket {
            Some(ticket) => Some(ticket.finish(bodies).await),
            None => self.refused.map(Ok),
        };
        Ok(Made { session: session.into(), window: window.into(), pane: pane.into(), pid, pipe })
    }
}
