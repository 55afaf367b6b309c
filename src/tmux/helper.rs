//! The three small roles our own binary plays inside tmux: asleep in the hidden session's pane,
//! handing a pane's pipe over, and becoming a pane's program with its environment. All run before
//! anything else of the program is set up.
//!
//! Must not know: runtimes, arguments beyond those it gets, anything that costs memory.

use muxfs_tree::base::foreign::{self, Links};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Sleeps until a signal ends the process.
pub fn internal_sleep() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// Sends fd 0 (the pane's pipe, as tmux made it) and the token over the socket at `sock`. The
/// caller exits right after; the pipe lives on in the process that received it.
pub fn internal_pipe(sock: &Path, token: &str) -> io::Result<()> {
    let stream = UnixStream::connect(sock)?;
    let (stdin, body) = ([0], [IoSlice::new(token.as_bytes())]);
    let pass = [ControlMessage::ScmRights(&stdin)];
    // One message: it is far smaller than a socket's buffer, so it goes whole or not at all.
    sendmsg::<()>(stream.as_raw_fd(), &body, &pass, MsgFlags::empty(), None)?;
    Ok(())
}

/// Above what execve(2) takes.
const MAX_ENV: u64 = 16 << 20;

/// Becomes the program `argv` with the variables of the file at `path`: the token that it begins
/// with, then `NAME=VALUE` each, all ended by a NUL byte. Where the file is gone (somebody starts
/// the pane again by hand) the session's environment in tmux is all it has, which is the same one
/// unless the settings changed. Returns why it could not.
///
/// A shell looks the program up and becomes it: one that is missing is exit 127 with a message on
/// the screen.
pub fn internal_env(path: &Path, token: &str, argv: impl Iterator<Item = OsString>) -> io::Error {
    let text = foreign::read(path, Links::Follow, MAX_ENV).unwrap_or_default();
    let mut parts = text.split(|b| *b == 0);
    let ours = parts.next() == Some(token.as_bytes());
    let pair = |part: &[u8]| {
        let at = part.iter().position(|b| *b == b'=')?;
        Some((OsStr::from_bytes(&part[..at]).to_owned(), OsStr::from_bytes(&part[at + 1..]).to_owned()))
    };
    let env = parts.filter(|_| ours).filter_map(pair);
    Command::new("/bin/sh").args(["-c", "exec \"$@\"", "sh"]).args(argv).envs(env).exec()
}
