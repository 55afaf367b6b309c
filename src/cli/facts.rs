//! Gathers what `doctor` must know of this machine, without judging it, with the small tools for that: a
//! program in PATH, a command with a time limit.
//!
//! Every look at something that may hang (a mount, another program) has a limit.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::paths::Paths;
use super::privileges::{self, User};
use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::installed;
use muxfs_fs::mounts::{self, Mount};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::foreign::{self, Links};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountState {
    Alive,
    Dead,
    /// No answer within the limit.
    Stuck,
}

/// Everything [`judge`](super::doctor::judge) looks at.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub root: bool,
    /// Whether root may mount here (CAP_SYS_ADMIN); containers often may not.
    pub may_mount: bool,
    pub tmux_path: Option<PathBuf>,
    /// What `tmux -V` printed, or why it did not.
    pub tmux_version: Option<Result<String, String>>,
    /// What a running server says of its version; `None` where none runs.
    pub server_version: Option<Result<String, String>>,
    pub dev_fuse: Option<Result<(), String>>,
    /// Path, and whether it is owned by root with the set-user-id bit.
    pub fusermount: Option<(PathBuf, bool)>,
    pub user_allow_other: bool,
    /// Where mount(8)'s helper leads; `None` where there is none.
    pub helper: Option<Result<PathBuf, String>>,
    pub mounts: Vec<(Mount, Option<MountState>)>,
    /// The text of /etc/updatedb.conf, where updatedb is installed.
    pub updatedb: Option<String>,
    pub config: PathBuf,
    /// `None`: there is no such file.
    pub config_read: Option<Result<(), String>>,
    pub runtime: PathBuf,
    pub directories: Option<Result<(), String>>,
    /// Soft and hard limit of open files.
    pub nofile: (u64, u64),
    pub osrelease: String,
    pub systemd: bool,
    /// Whether this user's processes outlive their logout by systemd's will.
    pub linger: bool,
    pub user: String,
    /// The agents that are installed and whose versions are known to the catalogue.
    pub agents: Vec<AgentFact>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFact {
    pub key: String,
    /// The versions its screens were seen in.
    pub seen: Vec<String>,
    /// What it says of its own version, or why it did not.
    pub installed: Result<String, String>,
}

/// Gathers. `tmux` runs tmux against the server muxfs would use; `config` judges a config's text.
pub fn gather(tmux: fn(&[&str]) -> std::io::Result<Output>, config: fn(&str) -> Result<()>) -> Facts {
    let (user, paths) = (User::own(), Paths::own());
    let systemd = Path::new("/run/systemd/system").is_dir();
    let updatedb = in_path("updatedb").or_else(|| in_path("updatedb.plocate"));
    let config_read = match foreign::read_text(&paths.config, Links::Follow, disk::MAX_TEXT) {
        Ok(text) => Some(config(&text).map_err(|e| e.to_string())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => Some(Err(e.to_string())),
    };
    Facts {
        root: user.uid == 0,
        may_mount: has_sys_admin(),
        tmux_path: in_path("tmux"),
        tmux_version: in_path("tmux").map(|_| ask(tmux, &["-V"])),
        server_version: server_version(tmux),
        dev_fuse: Some(open_fuse()),
        fusermount: fusermount().map(|path| (path.clone(), is_setuid_root(&path))),
        user_allow_other: std::fs::read_to_string("/etc/fuse.conf")
            .is_ok_and(|text| super::options::user_allow_other(&text)),
        helper: helper(),
        mounts: mounts(),
        updatedb: updatedb.map(|_| std::fs::read_to_string("/etc/updatedb.conf").unwrap_or_default()),
        config: paths.config.clone(),
        config_read,
        runtime: paths.runtime.clone(),
        directories: Some(paths.check(&user).map_err(|e| e.to_string())),
        nofile: getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default(),
        osrelease: std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        systemd,
        linger: Path::new("/var/lib/systemd/linger").join(&user.name).exists(),
        user: user.name,
        agents: agents(&paths),
    }
}

/// How long an agent may take to say its version: those in Node need seconds on a busy machine.
const VERSION: Duration = Duration::from_secs(15);

/// Asks each installed agent for its version, all at once.
fn agents(paths: &Paths) -> Vec<AgentFact> {
    let all = Catalogue::load(&paths.agents());
    let path = std::env::var("PATH").unwrap_or_default();
    let found = installed::list(&all, &path, false);
    std::thread::scope(|scope| {
        let asked = found.iter().filter(|f| !f.seen().is_empty()).filter_map(|f| {
            let program = f.program()?;
            let asked = scope.spawn(move || agent_version(program));
            Some((f, asked))
        });
        let asked: Vec<_> = asked.collect();
        let fact = |(f, asked): (&installed::Found<'_>, std::thread::ScopedJoinHandle<'_, _>)| AgentFact {
            key: f.key().to_owned(),
            seen: f.seen().to_vec(),
            installed: asked.join().unwrap_or_else(|_| Err("its answer cannot be read".into())),
        };
        asked.into_iter().map(fact).collect()
    })
}

fn agent_version(program: &Path) -> Result<String, String> {
    let out = run_limited(Command::new(program).arg("--version"), VERSION).map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout);
    version_in(&text).ok_or_else(|| "it names no version".into())
}

/// The first number of at least two parts in a text: `codex-cli 0.171.0`, `2.1.332 (Claude Code)`.
fn version_in(text: &str) -> Option<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+')));
    let words = words.map(|w| w.trim_start_matches('v').trim_end_matches('.'));
    words.filter(|w| w.starts_with(|c: char| c.is_ascii_digit())).find(|w| w.contains('.')).map(str::to_owned)
}

/// A program's file, as a shell would find it; the places of administrators' programs too, which
/// a user's PATH often lacks.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// `FUSERMOUNT_PATH` names another one, as libfuse and fuser have it.
pub fn fusermount() -> Option<PathBuf> {
    match std::env::var_os("FUSERMOUNT_PATH").map(PathBuf::from) {
        Some(named) => Some(named).filter(|p| p.is_file()),
        None => in_path("fusermount3"),
    }
}

/// Runs a command without input; after `limit` it is killed and the answer is TimedOut.
pub fn run_limited(command: &mut Command, limit: Duration) -> std::io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || tx.send(child.wait_with_output()));
    rx.recv_timeout(limit).unwrap_or_else(|_| {
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        Err(std::io::ErrorKind::TimedOut.into())
    })
}

fn ask(tmux: fn(&[&str]) -> std::io::Result<Output>, args: &[&str]) -> Result<String, String> {
    let out = tmux(args).map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}

fn server_version(tmux: fn(&[&str]) -> std::io::Result<Output>) -> Option<Result<String, String>> {
    match ask(tmux, &["display-message", "-p", "#{version}"]) {
        Err(text) if text.contains("no server running") || text.contains("error connecting") => None,
        Err(_) if in_path("tmux").is_none() => None,
        answer => Some(answer),
    }
}

fn open_fuse() -> Result<(), String> {
    // Opening it does nothing yet: a connection begins with the mount.
    let mut open = std::fs::OpenOptions::new();
    let opened = open.read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/fuse");
    opened.map(drop).map_err(|e| e.to_string())
}

fn has_sys_admin() -> bool {
    const CAP_SYS_ADMIN: u64 = 21; // capability.h
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    bits.and_then(|b| u64::from_str_radix(b.trim(), 16).ok()).is_some_and(|b| b >> CAP_SYS_ADMIN & 1 == 1)
}

fn is_setuid_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|m| m.uid() == 0 && m.mode() & libc::S_ISUID != 0)
}

fn helper() -> Option<Result<PathBuf, String>> {
    let link = Path::new("/sbin/mount.fuse.muxfs"); // mount(8) looks nowhere else
    std::fs::symlink_metadata(link).ok()?;
    Some(link.canonicalize().map_err(|e| e.to_string()))
}

fn mounts() -> Vec<(Mount, Option<MountState>)> {
    let own = privileges::User::own().uid;
    let mut found = Vec::new();
    for mount in mounts::all().unwrap_or_default().into_iter().filter(Mount::is_muxfs) {
        // Another user's mount refuses us, dead or alive.
        let mine = own == 0 || mount.owner().is_some_and(|(uid, _)| uid == own);
        let state = mine.then(|| state(&mount.dir));
        found.push((mount, state));
    }
    found
}

fn state(point: &Path) -> MountState {
    let (tx, rx) = mpsc::channel();
    let point = point.to_owned();
    std::thread::spawn(move || tx.send(nix::sys::statfs::statfs(&point).err()));
    match rx.recv_timeout(Duration::from_secs(2)) {
        Ok(Some(nix::Error::ENOTCONN | nix::Error::ECONNABORTED)) => MountState::Dead,
        Ok(_) => MountState::Alive,
        Err(_) => MountState::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_where_a_shell_finds_them() {
        assert!(in_path("sh").unwrap().is_absolute());
        assert_eq!(in_path("no-such-program-here"), None);
    }

    #[test]
    fn a_command_has_a_limit() {
        let out = run_limited(Command::new("echo").arg("hello"), Duration::from_secs(60)).unwrap();
        assert_eq!(out.stdout, b"hello\n");
        let error = run_limited(Command::new("sleep").arg("1000"), Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }

    #[test]
    fn gathering_asks_what_it_was_given() {
        fn no_tmux(_: &[&str]) -> std::io::Result<Output> {
            Err(std::io::ErrorKind::NotFound.into())
        }
        let facts = gather(no_tmux, |_| Ok(()));
        assert_eq!(facts.root, nix::unistd::geteuid().is_root());
        assert!(facts.nofile.1 > 0 && !facts.osrelease.is_empty());
        if let Some(answer) = facts.tmux_version {
            assert!(answer.is_err());
        }
    }
}
