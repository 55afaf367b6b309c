//! The one place where the command line hands over to the daemon's parts: mount, node and tmux.

use std::process::Output;
use std::time::Duration;

use super::start::{MountJob, NodeJob};
use crate::error::{Kind, Result, fail};

/// Mounts, serves, and returns when the mount is gone or a signal ended it.
///
/// In this order: open the device and mount (still root where `job.become_user`), then
/// [`become_user`](super::privileges::become_user), then the runtime, tmux and the node, then
/// `job.ready.ok()`; an error of that means stop. `job.lock` lives to the end.
pub fn mount(job: MountJob) -> Result<()> {
    let _ = job;
    fail(Kind::Never, "this build cannot mount yet")
}

/// Runs the node, says `job.ready.ok()`, and returns when a signal ended it.
pub fn node(job: NodeJob) -> Result<()> {
    let _ = job;
    fail(Kind::Never, "this build has no node yet")
}

/// Runs tmux with `args` against the server muxfs would use, for `doctor`. Starts no server.
pub fn ask_tmux(args: &[&str]) -> std::io::Result<Output> {
    let Some(path) = super::facts::in_path("tmux") else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    let mut command = std::process::Command::new(path);
    match std::env::var("MUXFS_TMUX_SOCKET") {
        Ok(path) if path.contains('/') => drop(command.args(["-S", &path])),
        Ok(name) if !name.is_empty() => drop(command.args(["-L", &name])),
        _ => {}
    }
    super::facts::run_limited(command.args(args), Duration::from_secs(5))
}

/// What is wrong with the text of the config file, for `doctor`.
pub fn check_config(text: &str) -> Result<()> {
    match text.parse::<toml_edit::DocumentMut>() {
        Ok(_) => Ok(()),
        Err(e) => fail(Kind::Invalid, e.to_string()),
    }
}
