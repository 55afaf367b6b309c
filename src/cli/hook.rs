//! `muxfs hook FILE [PAYLOAD]`: what an agent runs as its hook. It appends one line to FILE and
//! is silent, whatever happens: an agent waits for its hooks, shows what they print to its user,
//! and takes an exit status that is not 0 for a verdict.
//!
//! Knows the file and the clock. Must not know what a line means: `agent/hooks.rs` does.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use muxfs_agent::hooks::HookEvent;
use muxfs_tree::base::clock;
use muxfs_tree::base::foreign;

/// A payload repeats the prompt, and JSON may write each of its bytes as six.
const MAX_PAYLOAD: usize = 8 << 20;
/// A hook file that nobody reads any more is not filled for ever.
const MAX_FILE: u64 = 16 << 20;
/// An agent that does not close its end is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// `args` after the verb. Says nothing about what went wrong: nobody would read it.
pub fn run(mut args: impl Iterator<Item = OsString>) {
    let Some(path) = args.next() else { return };
    // Never made: who wants to know has made it.
    let opened = foreign::open_with(OpenOptions::new().append(true), path.as_ref());
    let Ok(mut file) = opened else { return };
    if !file.metadata().is_ok_and(|m| m.len() < MAX_FILE) {
        return;
    }
    // codex hands its payload over as the last argument.
    let payload = match args.last() {
        Some(text) => text.into_encoded_bytes(),
        None => std::io::stdin().as_fd().try_clone_to_owned().map_or(Vec::new(), read),
    };
    let Ok(payload) = serde_json::from_slice(&payload) else { return };
    let time = clock::rfc3339(clock::now());
    if let Some(event) = HookEvent::from_payload(&payload, time) {
        let _ = file.write_all(event.line().as_bytes()); // in one piece: it is short
    }
}

/// All there is until its end, the limit, or the end of our patience.
fn read(input: OwnedFd) -> Vec<u8> {
    let (mut input, deadline) = (File::from(input), Instant::now() + PATIENCE);
    let mut all = Vec::new();
    let mut part = [0; 1 << 16];
    while all.len() < MAX_PAYLOAD {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let ready = poll(&mut [PollFd::new(input.as_fd(), PollFlags::POLLIN)], limit);
        match ready {
            Err(nix::errno::Errno::EINTR) => continue,
            Ok(n) if n > 0 => {}
            _ => break,
        }
        match input.read(&mut part) {
            Ok(n) if n > 0 => all.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    all
}
