//! What every test needs: directories and a tmux server of its own, and waiting for conditions.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::guard::Guard;
use muxfs_node::rows::modes::NodeModes;
use muxfs_node::rows::{LocalNode, NODE_SERIAL, rows_node};
use muxfs_node::session::{Dirs, Sessions};
use muxfs_tmux::OwnProgram;
use muxfs_tree::{Caller, Gesture, Place, Tree, TreePath, Until};

/// The limit of a wait for a condition: ten times what is expected, and more on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `met` gives a value; `what` is said when it never does.
pub fn until<T>(what: &str, met: impl FnMut() -> Option<T>) -> T {
    within(LIMIT, what, met)
}

/// The same with a limit of its own.
pub fn within<T>(limit: Duration, what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = met() {
            return value;
        }
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

pub fn until_true(what: &str, mut met: impl FnMut() -> bool) {
    until(what, || met().then_some(()));
}

/// Directories and a tmux socket that no other test uses. Ends its tmux server when dropped, and
/// whatever else is left there.
pub struct Lab {
    _guard: Guard,
    dir: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        // Short: a socket's path has 107 bytes at most.
        let dir = tempfile::Builder::new().prefix("mux").tempdir_in("/tmp").unwrap();
        let lab = Lab { _guard: Guard::over(dir.path()), dir };
        lab.make_home();
        lab
    }

    /// A home of its own: the start-up files of whoever runs the tests may take long and print.
    fn make_home(&self) {
        std::fs::create_dir(self.home()).unwrap();
        std::fs::write(self.path("home/.zshrc"), "PS1='%# '\n").unwrap(); // or zsh asks to make one
        #[allow(unsafe_code)]
        // SAFETY: each test is a process of its own, and none of its other threads reads the
        // environment yet.
        unsafe {
            std::env::set_var("HOME", self.home());
            std::env::set_var("SHELL", "/bin/bash");
        }
    }

    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("tmux")
    }

    /// Runs tmux against this place's server.
    pub fn tmux(&self, args: &[&str]) -> Output {
        let mut command = Command::new("timeout"); // a server without descriptors answers nobody
        command
            .env_remove("TMUX")
            .args(["-k", "1", "20", "tmux", "-f"])
            .arg("/dev/null")
            .arg("-S")
            .arg(self.socket())
            .args(args);
        command.output().unwrap()
    }

    /// The same, and it must work; what it prints.
    pub fn tmux_ok(&self, args: &[&str]) -> String {
        let out = self.tmux(args);
        assert!(out.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    pub fn dirs(&self) -> Dirs {
        Dirs { state: self.path("state"), runtime: self.path("run"), config: self.path("config/muxfs.toml") }
    }

    pub fn configure(&self, more: &str) {
        let config = self.dirs().config;
        std::fs::create_dir_all(config.parent().unwrap()).unwrap();
        let socket = self.socket();
        let text =
            format!("[node]\nname = \"honey\"\n[tmux]\nsocket = {:?}\n{more}", socket.to_str().unwrap());
        std::fs::write(config, text).unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        end_server(self);
    }
}

/// Ends the server and waits for its process; it may hang in its last client.
fn end_server(place: &Lab) {
    // Not asked of the server itself: one that hangs would not say.
    let Some(pid) = muxfs_tmux::process::server_pid(&place.socket()) else { return };
    let pid = pid.cast_signed();
    // A test may have stopped it.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGCONT);
    let _ = place.tmux(&["kill-server"]);
    let begun = Instant::now();
    while lives(pid) {
        if begun.elapsed() > Duration::from_secs(5) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A zombie has ended; in a container it may take seconds until somebody asks.
fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A node in this process, without a mount.
pub struct Node {
    pub tree: Arc<LocalNode>,
    pub runtime: tokio::runtime::Runtime,
    pub place: Lab,
}

impl Node {
    pub fn start() -> Self {
        let place = Lab::new();
        place.configure("");
        Node::start_in(place)
    }

    pub fn start_in(place: Lab) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let tree = runtime.block_on(async {
            let own = OwnProgram::new(env!("CARGO_BIN_EXE_muxfs"));
            let sessions =
                Sessions::start(place.dirs(), own, NODE_SERIAL + 1, rows_node::reserved).await.unwrap();
            let (modes, error) = NodeModes::load(place.path("state/modes.json"));
            assert!(error.is_none());
            LocalNode::new(sessions, Arc::new(modes))
        });
        Node { tree, runtime, place }
    }

    pub fn path(text: &str) -> TreePath {
        TreePath::parse(text).unwrap()
    }

    pub fn mkdir(&self, name: &str) -> muxfs_tree::base::error::Result<()> {
        let (gesture, path) = (Gesture::of(&Caller::own()), Self::path(name));
        self.runtime.block_on(self.tree.make(&gesture, &path, None, Until::Accepted)).map(drop)
    }

    pub fn rmdir(&self, name: &str) -> muxfs_tree::base::error::Result<()> {
        let (gesture, path) = (Gesture::of(&Caller::own()), Self::path(name));
        self.runtime.block_on(self.tree.remove(&gesture, Place::from(&path))).map(drop)
    }

    pub fn mv(&self, from: &str, to: &str) -> muxfs_tree::base::error::Result<()> {
        let (gesture, from, to) = (Gesture::of(&Caller::own()), Self::path(from), Self::path(to));
        self.runtime.block_on(self.tree.rename(&gesture, Place::from(&from), &to)).map(drop)
    }

    pub fn write(&self, path: &str, text: &str) -> muxfs_tree::base::error::Result<()> {
        self.write_bytes(&Self::path(path), text.as_bytes())
    }

    pub fn write_bytes(&self, path: &TreePath, body: &[u8]) -> muxfs_tree::base::error::Result<()> {
        let (gesture, body) = (Gesture::of(&Caller::own()), bytes::Bytes::copy_from_slice(body));
        let written = self.tree.write(&gesture, Place::from(path), body, Until::Accepted);
        self.runtime.block_on(written).map(drop)
    }

    /// A whole read, or all a log has, or the first line of a blocking file.
    pub fn read(&self, path: &str) -> String {
        self.try_read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn try_read(&self, path: &str) -> muxfs_tree::base::error::Result<String> {
        use muxfs_tree::{Follow, Shape};
        let path = Self::path(path);
        let who = Caller::own();
        let bytes = self.runtime.block_on(async {
            match self.tree.stat(&path)?.shape {
                Shape::Log | Shape::Events | Shape::Wait => {
                    match self.tree.follow(&who, Place::from(&path)).await? {
                        Follow::Log(log) => log.read_at(0, log.size() as usize).await,
                        Follow::Lines(mut lines) => {
                            let line = tokio::time::timeout(LIMIT, lines.next()).await;
                            Ok(line.expect("a blocking read ends")?.unwrap_or_default())
                        }
                    }
                }
                _ => self.tree.read(&who, Place::from(&path)).await,
            }
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn ls(&self, path: &str) -> Vec<String> {
        self.tree.list(&Self::path(path)).unwrap().into_iter().map(|e| e.name).collect()
    }
}

/// The real program as a daemon of its own, mounted, on a tmux server of its own.
pub struct Mount {
    pub lab: Lab,
    pub dir: PathBuf,
    daemon: std::process::Child,
    words: Vec<String>,
}

impl Mount {
    pub fn start() -> Self {
        Mount::start_in(Lab::new())
    }

    pub fn start_in(lab: Lab) -> Self {
        Mount::configured(lab, "")
    }

    /// With `more` in the node's settings file.
    pub fn configured(lab: Lab, more: &str) -> Self {
        Mount::start_in_with(lab, more, &[])
    }

    /// With words of its own for `muxfs mount`.
    pub fn start_with(words: &[&str]) -> Self {
        Mount::start_in_with(Lab::new(), "", words)
    }

    pub fn start_in_with(lab: Lab, more: &str, words: &[&str]) -> Self {
        lab.configure(more);
        let dir = lab.path("mux");
        std::fs::create_dir(&dir).unwrap();
        let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
        let daemon = Mount::daemon(&lab, &dir, &words);
        Mount { lab, dir, daemon, words }
    }

    /// The variables that keep a lab's programs apart from everything of the user.
    pub fn environment(lab: &Lab) -> Vec<(&'static str, PathBuf)> {
        std::fs::create_dir_all(lab.path("run")).unwrap();
        vec![
            ("HOME", lab.home()),
            ("SHELL", "/bin/bash".into()),
            ("TERM", "xterm".into()),
            ("XDG_CONFIG_HOME", lab.path("xdg")),
            ("XDG_STATE_HOME", lab.path("state")),
            ("XDG_RUNTIME_DIR", lab.path("run")),
            ("MUXFS_CONFIG", lab.dirs().config),
            ("MUXFS_TMUX_SOCKET", lab.socket()),
        ]
    }

    fn daemon(lab: &Lab, dir: &Path, words: &[String]) -> std::process::Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muxfs"));
        let stderr = std::fs::File::options().append(true).create(true).open(lab.path("stderr")).unwrap();
        command.envs(Mount::environment(lab)).arg("mount").arg("-f").args(words).arg(dir).stderr(stderr);
        let mut child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
        until("the mount answers", || {
            assert_eq!(child.try_wait().unwrap(), None, "{}", said(lab));
            dir.join(".self/status").exists().then_some(())
        });
        child
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.daemon.id().cast_signed())
    }

    /// A crash: the dead mount stays, as it does in life.
    pub fn kill9(&mut self) {
        self.end(nix::sys::signal::Signal::SIGKILL);
    }

    /// Sends the daemon a signal and waits for its end; how it ended.
    pub fn end(&mut self, signal: nix::sys::signal::Signal) -> std::process::ExitStatus {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
        self.ended()
    }

    /// Waits until the daemon has ended; how.
    pub fn ended(&mut self) -> std::process::ExitStatus {
        until("the daemon ends", || self.daemon.try_wait().unwrap())
    }

    /// The next daemon, after the end of the one before; whatever that one left is taken over.
    pub fn start_again(&mut self) {
        self.daemon = Mount::daemon(&self.lab, &self.dir, &self.words);
    }

    /// `demo/logs` is a path below the node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(".self").join(name)
    }

    pub fn read(&self, name: &str) -> String {
        let text = std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A program in the node's directory, ended when it takes too long.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "1", "30", program]).current_dir(self.dir.join(".self"));
        command.envs(Mount::environment(&self.lab)).env("MUX", &self.dir).env_remove("TMUX");
        command.stdin(std::process::Stdio::null());
        command
    }

    pub fn run(&self, script: &str) -> Output {
        self.command("bash").args(["-c", script]).output().unwrap()
    }

    /// What a script in the node's directory prints; it must succeed and complain of nothing.
    pub fn sh(&self, script: &str) -> String {
        let out = self.run(script);
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && err.is_empty(), "{script}: {} {err}", out.status);
        String::from_utf8(out.stdout).unwrap()
    }

    /// What is seen of the daemon's own diagnostics.
    pub fn said(&self) -> String {
        said(&self.lab)
    }

    fn unmount(&mut self) {
        let mut umount = Command::new("umount");
        let lazily = || Command::new("umount").args(["-l"]).arg(&self.dir).output();
        if !umount.arg(&self.dir).output().is_ok_and(|o| o.status.success()) {
            let _ = lazily();
        }
    }
}

fn said(lab: &Lab) -> String {
    std::fs::read_to_string(lab.path("stderr")).unwrap_or_default()
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.unmount();
        // Unmounted, it ends by itself; a test must not wait for one that does not.
        let begun = Instant::now();
        while self.daemon.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.daemon.kill();
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        // Lab's own drop ends the tmux server.
    }
}
