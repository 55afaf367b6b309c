//! Runs `tmux`: the one place of the project that does. Finds the socket, the right binary, and
//! whether a server is there; starts a server and control clients.
//!
//! Knows processes and paths; must not know the protocol that the clients speak.
//!
//! Whether a server listens is read from `/proc`, never tried by connecting: a client that
//! connects and drops early crashes servers from 3.2 to 3.6.

use muxfs_tree::base::error::{Error, Kind, Result, fail};
use nix::fcntl::OFlag;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command as Process};

/// Every wait for a tmux process.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Which tmux server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Socket {
    /// The user's own, as plain `tmux` finds it.
    #[default]
    Default,
    /// `-L NAME`.
    Name(String),
    /// `-S PATH`.
    Path(PathBuf),
}

impl Socket {
    /// As a setting says it: empty is the default, something with a `/` a path, else a name.
    pub fn parse(text: &str) -> Socket {
        match text {
            "" => Socket::Default,
            t if t.contains('/') => Socket::Path(t.into()),
            t => Socket::Name(t.into()),
        }
    }

    /// The default server's socket where `$TMUX_TMPDIR` is `dir`.
    pub fn default_in(dir: &Path) -> PathBuf {
        dir.join(format!("tmux-{}", nix::unistd::getuid())).join("default")
    }

    /// The socket's path as tmux computes it: `$TMUX_TMPDIR` or `/tmp`, links resolved, then
    /// `tmux-<uid>/NAME`. (Plain `tmux` inside tmux would take `$TMUX` first; a daemon must not
    /// depend on where it was started.)
    pub fn path(&self) -> PathBuf {
        let name = match self {
            Socket::Path(p) => return p.clone(),
            Socket::Name(name) => name.as_str(),
            Socket::Default => "default",
        };
        let base = std::env::var_os("TMUX_TMPDIR")
            .filter(|d| !d.is_empty())
            .and_then(|d| std::fs::canonicalize(d).ok())
            .or_else(|| std::fs::canonicalize("/tmp").ok())
            .unwrap_or_else(|| "/tmp".into());
        base.join(format!("tmux-{}", nix::unistd::getuid())).join(name)
    }
}

/// Our own binary, which tmux runs in three small roles.
#[derive(Debug, Clone)]
pub struct OwnProgram {
    /// An absolute path.
    pub path: PathBuf,
    /// Argument that makes it sleep for ever: the hidden session's pane.
    pub sleep: &'static str,
    /// Argument that makes it hand its stdin over: `PIPE SOCKET TOKEN`.
    pub pipe: &'static str,
    /// Argument that makes it another program with an environment from a file:
    /// `ENV FILE TOKEN PROGRAM ARGS…`.
    pub env: &'static str,
}

impl OwnProgram {
    pub const SLEEP: &'static str = "internal-sleep";
    pub const PIPE: &'static str = "internal-pipe";
    pub const ENV: &'static str = "internal-env";

    pub fn new(path: impl Into<PathBuf>) -> Self {
        OwnProgram { path: path.into(), sleep: Self::SLEEP, pipe: Self::PIPE, env: Self::ENV }
    }
}

/// `3.3a` → (3, 3). Development versions (`next-3.7`, `openbsd-7.6`) count as what they lead to.
pub fn version_of(text: &str) -> Option<(u32, u32)> {
    let text = text.trim().trim_start_matches("tmux ").trim_start_matches("next-");
    if text.starts_with("openbsd") || text == "master" {
        return Some((u32::MAX, 0)); // always newer than any release of its time
    }
    let (major, minor) = text.split_once('.')?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major.parse().ok()?, minor[..digits].parse().ok()?))
}

/// Refuses what is older than 3.2, where `-f`, `-N` and `-e` are not all there.
pub fn check_version(text: &str) -> Result<()> {
    match version_of(text) {
        Some(v) if v >= (3, 2) => Ok(()),
        _ => fail(Kind::Never, format!("tmux {} is too old: 3.2 or later is needed", text.trim())),
    }
}

/// The process that listens on `path`, found without connecting. None where nothing listens or
/// where `/proc` does not show it (another user, another namespace).
#[expect(clippy::disallowed_methods, reason = "looks at /proc, which waits for no disk")]
pub fn server_pid(path: &Path) -> Option<u32> {
    let table = std::fs::read("/proc/net/unix").ok()?;
    let want = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let inode = table.split(|&b| b == b'\n').find_map(|line| {
        // Num RefCount Protocol Flags Type St Inode Path; flag 0x10000 means it listens.
        let fields: Vec<&[u8]> = line.splitn(8, |&b| b == b' ').collect();
        let (flags, rest) = (fields.get(3)?, fields.get(6..)?);
        // The inode is padded with spaces, so the path is what follows the last run of digits.
        let tail = rest.join(&b' ');
        let tail = tail.trim_ascii_start();
        let cut = tail.iter().position(|&b| b == b' ')?;
        let (inode, name) = (&tail[..cut], &tail[cut + 1..]);
        let same = name == path.as_os_str().as_bytes() || name == want.as_os_str().as_bytes();
        (same && *flags == b"00010000").then(|| String::from_utf8_lossy(inode).into_owned())
    })?;
    let link = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(fds) = std::fs::read_dir(entry.path().join("fd")) else {
            continue;
        };
        if fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|l| l.as_os_str() == link.as_str()))
        {
            return Some(pid);
        }
    }
    None
}

/// Whether the process has not ended. A zombie has.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Processor time that the process has had. None where `/proc` does not say.
pub fn spent(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// A server this young may still read its configuration: tmux 3.3a crashes now and then (4 of 60
/// starts, a null pointer) when a second client comes before its first is served.
const YOUNG: Duration = Duration::from_millis(400);

/// Before 3.7 tmux takes a control client for one that can be told things while it still says who
/// it is: a session made, renamed or ended, or a window, pane or copy mode switched to in those
/// 0.1 ms ends the server and all in it (a null pointer; tmux issue 4980). So nobody attaches in
/// the middle of somebody's script. Measured with 3.3a beside a loop that makes, renames and ends
/// sessions: 193 servers ended in 3,448 connects.
const STILL: Duration = Duration::from_millis(100);
/// A server that is never still is attached to all the same.
const RESTLESS: Duration = Duration::from_secs(5);
/// All whose change tmux reports to control clients that are not attached yet.
const TOLD: &str = "#{version} #{session_id} #{session_name} #{window_id} #{window_active} \
                    #{pane_id} #{pane_active} #{pane_in_mode}";

/// How long the server at `socket` should be left alone yet; `None`: it may be connected to.
pub fn starting(socket: &Path) -> Option<Duration> {
    let born = std::fs::symlink_metadata(socket).ok()?.modified().ok()?;
    // A time in the future is a clock that was set: nothing is known then.
    YOUNG.checked_sub(born.elapsed().ok()?).filter(|left| !left.is_zero())
}

/// `tmux ARGS` against the server at `socket`, as a person would run it. Starts no server.
pub fn plain(socket: &Socket, args: &[&str]) -> std::process::Command {
    let mut p = Process::new("tmux");
    p.env_remove("TMUX").env_remove("TMUX_PANE").args(["-N", "-S"]).arg(socket.path()).args(args);
    p.into_std()
}

/// The soft limit of descriptors before we raised ours.
static DESCRIPTORS: OnceLock<u64> = OnceLock::new();

/// A pane has a pipe and a pidfd, a log its file: the soft limit of 1,024 is soon reached.
/// A tmux server that we start gets the old one again, and so do the programs in it.
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = DESCRIPTORS.set(soft); // the first call knows
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard); // what cannot be raised stays
    }
}

/// What a build or a make says to the programs it runs. Nothing of it is for a session, whose
/// terminal a person may sit at: with CI set, what is drawn by ink shows nothing before its end
/// (continue 1.5.47) and gemini takes its prompt from a pipe or leaves (0.61.0, also for
/// GITHUB_ACTIONS). Who wants one of them there sets it in `env`.
pub const OF_A_JOB: &[&str] =
    &["CI", "CONTINUOUS_INTEGRATION", "GITHUB_ACTIONS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"];

/// How long the search for the server's process may take.
const FOUND: Duration = Duration::from_secs(2);

/// A tmux binary and the socket it is to use.
#[derive(Debug, Clone)]
pub struct Tmux {
    program: OsString,
    socket: PathBuf,
}

impl Tmux {
    /// The client for that socket. Client and server must be one version (the protocol changed
    /// within number 8), so where a server runs with another file than `tmux` in PATH (it was
    /// upgraded underneath), the server's own file is used through `/proc`.
    pub fn for_socket(path: &Path) -> Tmux {
        // It reads the links of every process, and one of them may not let them be read.
        let (owned, about) = (path.to_owned(), std::process::id());
        let found = super::leftover::PROCESSES.ask_blocking(about, FOUND, move || server_pid(&owned));
        let running = found.flatten().map(|pid| PathBuf::from(format!("/proc/{pid}/exe")));
        let program = running
            .filter(|exe| match (std::fs::metadata(exe), in_path("tmux").and_then(|t| t.metadata().ok())) {
                (Ok(theirs), Some(ours)) => (theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()),
                (theirs, _) => theirs.is_ok(),
            })
            .map_or_else(|| "tmux".into(), PathBuf::into_os_string);
        Tmux { program, socket: path.to_owned() }
    }

    fn process(&self) -> Process {
        self.prepare(Process::new(&self.program))
    }

    fn prepare(&self, mut p: Process) -> Process {
        // Inside tmux these two would name another server and pane.
        p.env_remove("TMUX").env_remove("TMUX_PANE").current_dir("/");
        // -N: never starts a server; -u: UTF-8 whatever our locale says.
        p.args(["-u", "-S"]).arg(&self.socket);
        // Ctrl-C on our terminal is ours, not the client's.
        p.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        p
    }

    /// Starts a server by making a detached session. The server detaches itself; where a systemd
    /// user manager runs it gets a scope of its own, so that ending our unit does not end it.
    /// A server that is there already just gets the session.
    pub async fn start(&self, args: &[OsString]) -> Result<()> {
        let mut last = String::new();
        for scoped in [systemd_user_manager(), false] {
            let mut p = if scoped {
                let mut p = Process::new("systemd-run");
                p.args(["--user", "--scope", "--quiet", "--collect", "--", "/bin/sh"]);
                p
            } else {
                Process::new("/bin/sh")
            };
            let limit = DESCRIPTORS.get().map_or_else(String::new, u64::to_string);
            p.args(["-c", "test -z \"$0\" || ulimit -Sn \"$0\"; exec \"$@\"", &limit]).arg(&self.program);
            let mut p = self.prepare(p);
            // What the server starts with, all its sessions have.
            for name in OF_A_JOB {
                p.env_remove(name);
            }
            let child = p.args(args).spawn().map_err(cannot_run)?;
            let (ok, said) = finish(child).await?;
            if ok || said.contains("duplicate session") {
                return Ok(()); // a duplicate: somebody else was faster with the very same session
            }
            last = said;
            if !scoped {
                break;
            }
        }
        fail(Kind::Unreachable, format!("tmux did not start: {last}"))
    }

    /// Returns when nothing has changed for a moment that tmux would report to a control client. It asks
    /// as an ordinary client, which gets no notifications.
    pub async fn still(&self, until: tokio::time::Instant) -> Result<()> {
        let began = tokio::time::Instant::now();
        let mut last = self.look(until).await?;
        while let Some(seen) = &last {
            if version_of(seen.split(' ').next().unwrap_or_default()).is_some_and(|v| v >= (3, 7)) {
                break;
            }
            tokio::time::sleep(STILL).await;
            let now = self.look(until).await?;
            if now == last || began.elapsed() > RESTLESS {
                break;
            }
            last = now;
        }
        Ok(())
    }

    /// None where there is no server, which the client that follows finds out too; `TimedOut` where
    /// there is one that does not answer: such a one gets no client.
    async fn look(&self, until: tokio::time::Instant) -> Result<Option<String>> {
        let mut p = self.process();
        p.args(["-N", "list-panes", "-a", "-F", TOLD]).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(child) = p.spawn() else { return Ok(None) };
        let Ok(ended) = tokio::time::timeout_at(until, child.wait_with_output()).await else {
            return fail(Kind::TimedOut, "tmux did not answer within 10 s");
        };
        let output = ended.ok().filter(|output| output.status.success());
        Ok(output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Takes away what covers the terminal of `client` (a popup, a menu), and lets the command that
    /// waits for it go on. Returns when the server has answered or ended, however long it takes.
    pub async fn uncover(&self, client: &str) {
        let mut p = self.process();
        p.args(["-N", "display-popup", "-C", "-c", client]).stderr(Stdio::null());
        if let Ok(mut child) = p.spawn() {
            let _ = child.wait().await; // that it ended is the answer
        }
    }

    /// A control client on two pipes. The server itself reads and writes them; the client process
    /// only sleeps.
    pub fn control(&self, args: &[OsString]) -> Result<Control> {
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| Error::io("pipe", e.into()));
        let ((stdin, write), (read, stdout)) = (pipe()?, pipe()?);
        // Larger pipes mean fewer turns for large replies; a refusal changes nothing else.
        for fd in [&write, &read] {
            let _ = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETPIPE_SZ(256 << 10));
            nonblocking(fd)?;
        }
        let mut p = self.process();
        p.args(["-N", "-C"]).args(args).stdin(stdin).stdout(stdout);
        let child = p.spawn().map_err(cannot_run)?;
        Ok(Control { child: Some(child), write, read })
    }
}

/// A running control client and our ends of its pipes, both non-blocking.
pub struct Control {
    /// None where another process speaks control mode with us.
    pub child: Option<Child>,
    pub write: OwnedFd,
    pub read: OwnedFd,
}

/// Waits for a client to end by itself; its status and the beginning of what it said. Never kills
/// it: that is what crashes servers.
pub async fn finish(mut child: Child) -> Result<(bool, String)> {
    let mut said = Vec::new();
    let run = async {
        if let Some(err) = child.stderr.take() {
            // A failure to read it only loses the explanation.
            let _ = err.take(4096).read_to_end(&mut said).await;
        }
        child.wait().await
    };
    let status = tokio::time::timeout(LIMIT, run)
        .await
        .map_err(|_| Error::new(Kind::TimedOut, "tmux did not end within 10 s"))?
        .map_err(|e| Error::io("tmux", e))?;
    Ok((status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}

fn cannot_run(e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(Kind::Unreachable, "tmux is not installed (not in PATH)").because(e)
        }
        _ => Error::io("cannot run tmux", e),
    }
}

pub(super) fn nonblocking(fd: &OwnedFd) -> Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    let io = |e: nix::Error| Error::io("fcntl", e.into());
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL).map_err(io)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(|_| ()).map_err(io)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file())
}

/// A user manager that answers has this socket; `systemd-run` alone proves nothing.
fn systemd_user_manager() -> bool {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty());
    dir.is_some_and(|d| PathBuf::from(d).join("systemd/private").exists()) && in_path("systemd-run").is_some()
}

/// Bytes as an argument.
pub(super) fn os(bytes: impl Into<Vec<u8>>) -> OsString {
    OsString::from_vec(bytes.into())
}

/// `'<muxfs>' <role> …` for a shell, as the whole of what it runs.
pub(super) fn own_command(own: &OwnProgram, role: &str, args: &[&OsStr]) -> Vec<u8> {
    let mut out = b"exec ".to_vec();
    out.extend(super::command::shell_word(own.path.as_os_str().as_bytes()));
    for word in std::iter::once(OsStr::new(role)).chain(args.iter().copied()) {
        out.push(b' ');
        out.extend(super::command::shell_word(word.as_bytes()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, want) in [
            ("tmux 3.3a\n", Some((3, 3))),
            ("3.2", Some((3, 2))),
            ("next-3.7", Some((3, 7))),
            ("3.10c", Some((3, 10))),
            ("3.5-rc2", Some((3, 5))),
            ("openbsd-7.6", Some((u32::MAX, 0))),
            ("", None),
            ("tmux", None),
        ] {
            assert_eq!(version_of(text), want, "{text:?}");
        }
        assert!(check_version("3.1c").is_err() && check_version("3.2").is_ok());
    }

    #[test]
    fn sockets() {
        assert_eq!(Socket::parse(""), Socket::Default);
        assert_eq!(Socket::parse("x"), Socket::Name("x".into()));
        assert_eq!(Socket::parse("./x").path(), PathBuf::from("./x"));
        let dir = Socket::Name("x".into()).path();
        assert!(dir.ends_with(format!("tmux-{}/x", nix::unistd::getuid())), "{dir:?}");
    }

    #[test]
    fn a_listener_is_found_without_connecting() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("a b");
        assert_eq!(server_pid(&path), None);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        assert_eq!(server_pid(&path), Some(std::process::id()));
        drop(listener);
        assert_eq!(server_pid(&path), None);
    }
}
