//! Nothing of a test outlives it, however it ends: by a panic, by nextest's SIGTERM and SIGKILL.
//!
//! Knows processes and directories. Must not know what runs in them.
//!
//! A shell of its own process group waits for the end of its input, whose other end the test holds
//! and nobody else. Then it ends every process that names the test's directory in its command line
//! or environment (a tmux server has it in its socket's path, its panes in TMUX), and takes mounts
//! and directory away.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::until_true;

/// `$dir` is read, not given: this shell's own command line must not name it.
const SWEEP: &str = r#"
read -r dir; cat
named() {
  printf '%s/\n' "$dir" | grep -laFf - /proc/[0-9]*/cmdline /proc/[0-9]*/environ | cut -d/ -f3 | sort -u
}
for _ in $(seq 100); do
  pids=$(named)
  [ -n "$pids" ] || break
  kill -KILL $pids
  sleep 0.05
done
findmnt -rno TARGET | grep -F "$dir/" | while read -r mount; do umount -l "$mount" || fusermount3 -uz "$mount"; done
rm -rf --one-file-system "$dir"
"#;

/// Watches over a directory until it is dropped, which cleans up as well.
pub struct Guard(Child);

impl Guard {
    pub fn over(dir: &Path) -> Guard {
        let mut shell = Command::new("bash");
        shell.args(["-c", SWEEP]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        shell.process_group(0).current_dir("/").stdin(Stdio::piped());
        let mut child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let line = format!("{}\n", dir.to_str().unwrap());
        child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        Guard(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait(); // it ends by itself, within seconds
    }
}

/// Processes that name `dir`, and the directory itself.
fn left(dir: &Path) -> Vec<PathBuf> {
    let name = format!("{}/", dir.display());
    let names =
        |file: PathBuf| std::fs::read(file).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&name));
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
    let mut left: Vec<_> =
        processes.filter(|p| names(p.join("cmdline")) || names(p.join("environ"))).collect();
    left.extend(dir.exists().then(|| dir.to_owned()));
    left
}

/// The test that is killed.
#[test]
#[ignore = "waits for ever: another test runs it"]
fn one_that_is_killed() {
    let mount = crate::support::Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    println!("dir {}", mount.lab.path("").display());
    loop {
        std::thread::park();
    }
}

#[test]
fn a_test_that_is_killed_leaves_nothing() {
    use std::io::BufRead;
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "guard::one_that_is_killed", "--ignored", "--nocapture"]).process_group(0);
    let mut child = test.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let dir = lines.filter_map(|l| l.split_once("dir /").map(|(_, dir)| format!("/{dir}"))).next();
    let dir = PathBuf::from(dir.expect("it began").trim_end_matches('/'));
    assert!(left(&dir).len() > 3, "a daemon, a tmux server, a shell: {:?}", left(&dir));
    // Its process alone: the others find out, or are ended.
    child.kill().unwrap();
    child.wait().unwrap();
    until_true("nothing of it is left", || left(&dir).is_empty());
}
