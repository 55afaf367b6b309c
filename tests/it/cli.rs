//! The program as a user calls it, as far as no mount is needed: what it refuses, in which words
//! and with which exit status.

use std::process::{Command, Output};

use tempfile::TempDir;

/// The program with directories of its own: nothing of the user who runs the tests is touched.
fn muxfs(home: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muxfs"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let home = home.path();
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("MUXFS_TMUX_SOCKET", home.join("tmux"));
    command.args(args).current_dir(home).output().unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn an_unknown_mount_option_is_named() {
    let home = TempDir::new().unwrap();
    let out = muxfs(&home, &["mount", ".", "-o", "nofail,allow-other"]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(stderr(&out), "muxfs: unknown mount option \"allow-other\"\n");
}

#[test]
fn what_is_not_there_is_status_3() {
    let home = TempDir::new().unwrap();
    for args in [&["status"][..], &["umount", "."], &["mount", "no-such-dir"], &["umount", "no-such-dir"]] {
        let out = muxfs(&home, args);
        assert_eq!(out.status.code(), Some(3), "{args:?}: {}", stderr(&out));
        assert_eq!(stderr(&out).lines().count(), 1);
    }
}

/// The same words on a terminal as in a pipe. script(1) is the terminal.
#[test]
fn a_terminal_is_told_the_same() {
    let home = TempDir::new().unwrap();
    let piped = stderr(&muxfs(&home, &["status"]));
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} status", env!("CARGO_BIN_EXE_muxfs")), "/dev/null"]);
    let home = home.path();
    script.env("HOME", home).env("XDG_RUNTIME_DIR", home).env("MUXFS_TMUX_SOCKET", home.join("tmux"));
    let shown = script.env_remove("XDG_STATE_HOME").current_dir(home).output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&shown).replace("\r\n", "\n"), piped);
}

#[test]
fn only_muxfs_is_unmounted() {
    let home = TempDir::new().unwrap();
    let out = muxfs(&home, &["umount", "/proc"]);
    assert!(out.status.code() == Some(2) && stderr(&out).contains("type proc"), "{}", stderr(&out));
}

#[test]
fn a_node_that_runs_is_named() {
    let home = TempDir::new().unwrap();
    let state = home.path().join(".local/state/muxfs");
    std::fs::create_dir_all(&state).unwrap();
    // Held by this process, as by a daemon: the lock belongs to the open file.
    let pid = std::process::id();
    let holder = muxfs_cli::lock::Holder { pid, verb: "node".into(), dir: None };
    let _lock = muxfs_cli::lock::InstanceLock::take(&state, &holder, |_| false).unwrap();
    for args in [&["mount", "-f", "."][..], &["mount", "."], &["node"]] {
        let out = muxfs(&home, args);
        assert_eq!(out.status.code(), Some(5), "{args:?}");
        let said = stderr(&out);
        let who = format!("pid {pid}, muxfs node; a user has one node\n");
        assert!(said.ends_with(&who) && said.lines().count() == 1, "{said}");
        assert!(!said.contains("doctor"), "nothing is wrong with the machine: {said}");
    }
}

#[test]
fn doctor_finds_a_config_that_does_not_parse() {
    let home = TempDir::new().unwrap();
    let find = |out: &Output| -> serde_json::Value {
        let all: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
        all.into_iter().find(|f| f["check"] == "config").unwrap()
    };
    assert_eq!(find(&muxfs(&home, &["doctor", "--json"]))["level"], "ok");
    let dir = home.path().join(".config/muxfs");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("muxfs.toml"), "[tmux\n").unwrap();
    let out = muxfs(&home, &["doctor", "--json"]);
    assert_eq!(out.status.code(), Some(1));
    let found = find(&out);
    assert!(found["level"] == "bad" && found["found"].as_str().unwrap().contains("line 1"), "{found}");
    assert!(!home.path().join(".local").exists(), "doctor only looks");
}

#[test]
fn completions_are_of_this_program() {
    let home = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let out = muxfs(&home, &["completions", shell]);
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("umount"), "{shell}");
    }
    assert_eq!(muxfs(&home, &["completions", "csh"]).status.code(), Some(2));
}
