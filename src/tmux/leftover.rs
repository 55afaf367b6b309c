//! Finds pipes that a dead daemon left on panes. tmux never reads from a pipe opened with `-O`,
//! so it sees that the other end is gone only when the pane prints again, and those bytes are
//! lost; until then the pane counts as piped.
//!
//! Knows `/proc` and the mark that every pipe of ours has. Must not know what a pane is for.

use std::path::Path;
use std::time::{Duration, Instant};

use muxfs_tree::base::offload::Offload;

/// Questions to other processes, which may be kept from answering (offload.rs).
pub static PROCESSES: Offload = Offload::new("muxfs-procs", 8);
/// How long such a question may take.
const ASKED: Duration = Duration::from_millis(250);

/// The pane option that says which daemon opened the pipe.
pub const MARK: &str = "@muxfs_pipe";

/// This process, told apart from a later one of the same number: `PID.STARTED`.
pub fn own_mark() -> String {
    let pid = std::process::id();
    format!("{pid}.{}", started(pid).flatten().unwrap_or(0))
}

/// How long commands of the server that read a socket may take to end: helpers of ours, and the
/// status line's.
const PASSING: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether the pipe that `mark` stands on is nobody's any more. A user may have put their own in
/// its place, and that one is never taken: so not while any child of the server reads a socket,
/// as the command of a `pipe-pane` does. Those that do so only for a moment are waited for.
pub async fn is_dead(mark: &str, server_pid: u32) -> bool {
    if !is_of_the_dead(mark) {
        return false;
    }
    let since = Instant::now();
    while children(server_pid).is_none_or(|c| c.into_iter().any(reads_a_socket)) {
        if since.elapsed() > PASSING {
            return false;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    true
}

/// Whether the process of a mark is no more.
pub(super) fn is_of_the_dead(mark: &str) -> bool {
    let Some((pid, since)) = mark.split_once('.') else { return false };
    let (Ok(pid), Ok(since)) = (pid.parse::<u32>(), since.parse::<u64>()) else { return false };
    started(pid).is_some_and(|now| now != Some(since))
}

/// In clock ticks since the machine's start (field 22 of `/proc/<pid>/stat`); within, `None` where
/// there is no such process. `None` where it does not let that be read in time.
fn started(pid: u32) -> Option<Option<u64>> {
    let read = move || std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let stat = PROCESSES.ask_blocking(pid, ASKED, read)?.unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    Some(fields.split_ascii_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()))
}

/// None where the kernel does not tell (CONFIG_PROC_CHILDREN).
fn children(pid: u32) -> Option<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|p| p.parse().ok()).collect())
}

/// One that cannot be looked into (it runs as somebody else, or does not answer) may read one.
fn reads_a_socket(pid: u32) -> bool {
    let read = move || std::fs::read_link(format!("/proc/{pid}/fd/0"));
    match PROCESSES.ask_blocking(pid, ASKED, read) {
        Some(Ok(input)) => input.to_string_lossy().starts_with("socket:"),
        Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => false, // it ended, or closed it
        Some(Err(_)) | None => Path::new(&format!("/proc/{pid}")).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[tokio::test]
    async fn only_a_mark_of_the_dead_is_one_and_only_while_nobody_reads_a_pipe() {
        let me = std::process::id();
        assert!(!is_of_the_dead(&own_mark()), "its daemon lives");
        for strange in ["", "x", "1", "1.", "a.b"] {
            assert!(!is_of_the_dead(strange), "{strange:?}");
        }
        let reused = format!("{me}.1");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let theirs = std::os::fd::OwnedFd::from(theirs);
        let mut reader = Command::new("cat").stdin(Stdio::from(theirs)).spawn().unwrap();
        // Children are listed by the thread that made them, and a test's thread is no main thread.
        assert!(reads_a_socket(reader.id()));
        drop(ours);
        reader.wait().unwrap();
        assert!(!reads_a_socket(reader.id()));
        assert!(is_dead(&reused, me).await, "another process has its number now");
    }
}
