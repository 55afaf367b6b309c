//! The tmux engine on a real tmux: one server a test, each on a socket of its own.

mod control;
mod names;
mod output;
mod typing;

use muxfs_tmux::*;
use muxfs_tree::base::error::Kind;
use std::future::Future;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// A throw-away server. `end` it: Drop only makes sure that nothing is left after a panic.
struct Rig {
    _guard: crate::guard::Guard,
    dir: tempfile::TempDir,
    server: Option<Server>,
    notices: UnboundedReceiver<Notice>,
    pid: u32,
}

fn own() -> OwnProgram {
    OwnProgram::new(env!("CARGO_BIN_EXE_muxfs"))
}

impl Rig {
    async fn new() -> Rig {
        let dir = tempfile::tempdir().expect("tempdir");
        let guard = crate::guard::Guard::over(dir.path());
        let socket = Socket::Path(dir.path().join("s"));
        let (server, notices) = Server::start(&socket, &own()).await.expect("a server starts");
        let pid = server.info().pid;
        Rig { _guard: guard, dir, server: Some(server), notices, pid }
    }

    fn s(&self) -> &Server {
        self.server.as_ref().expect("not ended")
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn socket(&self) -> Socket {
        Socket::Path(self.path().join("s"))
    }

    fn hub(&self) -> PipeHub {
        PipeHub::listen(&self.path().join("pipe"), &own()).expect("listens")
    }

    /// A session that runs `argv`.
    async fn session(&self, name: &str, argv: &[&str]) -> Made {
        self.made(name, argv, None).await
    }

    async fn made(&self, name: &str, argv: &[&str], hub: Option<&PipeHub>) -> Made {
        let argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
        let new = NewSession {
            name,
            cwd: b"/",
            command: Some(&argv),
            width: 80,
            height: 24,
            muxfs_id: "id-1",
            ..NewSession::default()
        };
        session::new_session(self.s(), new, hub).await.expect("a session is made")
    }

    async fn screen(&self, pane: &str) -> String {
        let text = capture_text(self.s(), pane, Capture::Screen).await.expect("captures");
        String::from_utf8_lossy(&text).into_owned()
    }

    async fn shows(&self, pane: &str, text: &str) {
        until(text, async || self.screen(pane).await.contains(text)).await;
    }

    async fn pane(&self, id: &str) -> PaneInfo {
        let all = snapshot(self.s()).await.expect("snapshot");
        all.panes.into_iter().find(|p| p.id == id).expect("the pane is there")
    }

    /// Waits for the pane's end and its status, which tmux may know a moment later.
    async fn dead(&self, id: &str) -> PaneInfo {
        let known = |p: &PaneInfo| p.dead && (p.dead_status.is_some() || p.dead_signal.is_some());
        until("the pane is dead", async || known(&self.pane(id).await)).await;
        self.pane(id).await
    }

    /// Control clients first, then the server, then its process.
    async fn end(mut self) {
        let server = self.server.take().expect("not ended");
        let all = snapshot(&server).await.expect("snapshot");
        for s in &all.sessions {
            session::kill_session(&server, &s.id).await.expect("killed");
        }
        server.close().await;
        let pid = self.pid;
        until("the server ends with its last session", async || gone(pid)).await;
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.server.take().is_some() {
            end_process(self.pid);
        }
    }
}

fn gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|s| s.is_empty() || s.starts_with('Z'))
}

/// A server of ours, found by its own process id.
fn end_process(pid: u32) {
    if !gone(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL);
    }
}

/// Asks every 5 ms whether a condition is met, for 20 s at most.
async fn until(what: &str, mut met: impl AsyncFnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let end = Instant::now() + Duration::from_secs(20);
    while !met().await {
        assert!(Instant::now() < end, "waited 20 s for: {what}");
        tick.tick().await;
    }
}

async fn within<T>(limit: Duration, what: &str, f: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, f).await.unwrap_or_else(|_| panic!("{what} took more than {limit:?}"))
}

fn cmd(name: &'static str, args: &[&str]) -> Command {
    Command::new(name).args(args)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
