//! The two small roles our own binary plays inside tmux: asleep in the hidden session's pane, and
//! handing a pane's pipe over. Both run before anything else of the program is set up.
//!
//! Must not know: runtimes, arguments beyond the two it gets, anything that costs memory.

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

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
