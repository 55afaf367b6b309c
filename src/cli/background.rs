//! Going to the background: the program runs itself anew with `-f`, and the first process stays
//! until the second says over a pipe (its standard output) that the mount answers.
//!
//! No fork of a process that may have threads. Errors need no way of their own: until it is
//! ready the daemon writes to the caller's standard error, and its exit status is passed on.
//! Knows no mount.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// What the second process says when it is ready.
const OK: &[u8] = b"ok\n";

/// How long the first process waits. The slowest start is a login shell asked for its
/// environment, which has 15 s of its own.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs `muxfs ARGS` in the background, with `env` as its whole environment where given.
/// 0 when it is ready; otherwise its exit status, with the reason already on standard error.
pub fn start(args: &[OsString], env: Option<Vec<(OsString, OsString)>>) -> Result<u8> {
    let mut command = again(args, env)?;
    // What the caller left open would stay open as long as the daemon lives, and a pipe among it
    // would never end for the caller's own readers.
    muxfs_tree::base::sys::keep_descriptors_from_children();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).current_dir("/");
    wait_ready(command, LIMIT)
}

/// Runs `muxfs ARGS` in place of this process, with `env` as its whole environment. Returns
/// only where that fails.
pub fn replace(args: &[OsString], env: Vec<(OsString, OsString)>) -> Error {
    // The process becomes another user's, who could reach into what root's caller left open.
    muxfs_tree::base::sys::keep_descriptors_from_children();
    match again(args, Some(env)) {
        Ok(mut command) => Error::io("running the program anew", command.exec()),
        Err(error) => error,
    }
}

fn again(args: &[OsString], env: Option<Vec<(OsString, OsString)>>) -> Result<Command> {
    let exe = std::env::current_exe().map_err(|e| Error::io("finding the program's own file", e))?;
    let mut command = Command::new(exe);
    command.arg0("muxfs").args(args);
    match env {
        Some(env) => drop(command.env_clear().envs(env)),
        // The daemon runs in /, where a relative path would lead elsewhere.
        None => drop(command.envs(absolute_variables(std::env::vars_os()))),
    }
    Ok(command)
}

/// The variables that may hold a relative path and do, made absolute.
pub fn absolute_variables(env: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let may = |key: &OsString, value: &OsString| {
        // A tmux socket without a slash is a name.
        key == "MUXFS_CONFIG" || (key == "MUXFS_TMUX_SOCKET" && value.to_string_lossy().contains('/'))
    };
    env.filter(|(key, value)| may(key, value))
        .filter_map(|(key, value)| Some((key, std::path::absolute(value).ok()?.into_os_string())))
        .collect()
}

fn wait_ready(mut command: Command, limit: Duration) -> Result<u8> {
    let mut child = command.spawn().map_err(|e| Error::io("starting the background process", e))?;
    let Some(mut pipe) = child.stdout.take() else {
        return fail(Kind::Bug, "the background process has no pipe");
    };
    let until = Instant::now() + limit;
    let mut said = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(nix::Error::EINTR) => continue,
            Err(e) => return Err(Error::io("waiting for the background process", e.into())),
            Ok(0) => return Err(give_up(&child, limit)),
            Ok(_) => {}
        }
        let mut buf = [0; 64];
        match pipe.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => said.extend_from_slice(&buf[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io("waiting for the background process", e)),
        }
        if said.starts_with(OK) {
            return Ok(0);
        }
        said.truncate(OK.len()); // whatever else it says is no answer
    }
    // It closed its output, so it ends now. One that does not is no reason to wait longer.
    let status = loop {
        match child.try_wait().map_err(|e| Error::io("waiting for the background process", e))? {
            Some(status) => break status,
            None if Instant::now() >= until => return Err(give_up(&child, limit)),
            None => std::thread::park_timeout(Duration::from_millis(5)),
        }
    };
    match status.code() {
        // It said what was wrong; a second line would only repeat it.
        Some(code @ 1..=255) => Ok(code as u8),
        _ => fail(Kind::Bug, format!("the background process ended before the mount answered: {status}")),
    }
}

/// Ends a process that did not get ready in time; the error to report.
fn give_up(child: &Child, limit: Duration) -> Error {
    // SIGTERM: it takes its half-made mount away again.
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    Error::new(Kind::TimedOut, format!("the mount did not answer within {} s", limit.as_secs()))
}

/// The second process's side: reports that the mount answers, if anyone waits for that.
#[derive(Debug)]
pub struct Ready {
    /// Standard output is the first process's pipe.
    pipe: bool,
    log_file: Option<PathBuf>,
}

impl Ready {
    /// With `pipe` this process becomes a daemon: its own session, so that no terminal's signals
    /// reach it; the rest follows in [`Ready::ok`].
    pub fn new(pipe: bool, log_file: Option<PathBuf>) -> Result<Ready> {
        if pipe {
            // EPERM: it leads one already, started by hand or by a service manager.
            let _ = nix::unistd::setsid();
        }
        Ok(Ready { pipe, log_file })
    }

    /// Says that the mount answers, to the first process and to systemd, and lets go of the
    /// caller's standard error. An error means that nobody waits any more: stop.
    pub fn ok(self) -> Result<()> {
        notify_systemd();
        if !self.pipe {
            return Ok(());
        }
        let null = open_log(None)?;
        let log = open_log(self.log_file.as_ref())?;
        let failed = |e: nix::Error| Error::io("leaving the terminal", e.into());
        // First standard error, so that a caller who waits for its end is not kept waiting.
        nix::unistd::dup2_stderr(&log).map_err(failed)?;
        let mut out = std::io::stdout().lock();
        if out.write_all(OK).and_then(|()| out.flush()).is_err() {
            return fail(Kind::Interrupted, "interrupted while mounting");
        }
        nix::unistd::dup2_stdout(&null).map_err(failed)
    }
}

fn open_log(path: Option<&PathBuf>) -> Result<std::fs::File> {
    let path = path.map_or(std::path::Path::new("/dev/null"), PathBuf::as_path);
    // Whoever runs the command names the file, and it may be a device or a FIFO. Neither the open
    // nor a later write waits for its other end.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = std::fs::OpenOptions::new().append(true).create(true).custom_flags(flags).open(path);
    file.map_err(|e| Error::io(path.display(), e))
}

/// sd_notify(3), the one line we have to say. Without a manager, or where it does not listen,
/// nothing happens: it has a time limit of its own.
fn notify_systemd() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let sent = UnixDatagram::unbound()
        .and_then(|socket| socket.send_to_addr(b"READY=1\nSTATUS=mounted\n", &address?));
    if let Err(e) = sent {
        tracing::warn!("telling systemd: {e}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    #[test]
    fn ok_is_enough_though_the_daemon_lives_on() {
        // `cat` lives until this end of its input is dropped.
        let (input, held) = std::io::pipe().unwrap();
        let mut daemon = shell("echo ok; exec >/dev/null; exec cat");
        daemon.stdin(input);
        assert_eq!(wait_ready(daemon, Duration::from_secs(60)).unwrap(), 0);
        drop(held);
    }

    #[test]
    fn its_exit_status_is_passed_on() {
        assert_eq!(wait_ready(shell("exit 5"), Duration::from_secs(60)).unwrap(), 5);
    }

    #[test]
    fn an_end_without_a_word_is_a_fault() {
        let error = wait_ready(shell("exit 0"), Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.kind, Kind::Bug);
        let error = wait_ready(shell("kill -9 $$"), Duration::from_secs(60)).unwrap_err();
        assert!(error.text().contains("signal: 9"), "{error}");
    }

    #[test]
    fn silence_has_a_limit() {
        let error = wait_ready(shell("exec sleep 1000"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind, Kind::TimedOut);
    }
}
