//! What a real agent needs to start ready against the stub, with a home that holds nothing else:
//! `tests/agents/<agent>/` as files.
//!
//! Knows that layout: `env` and `args` (a line each), `home/` (copied), with `@PORT@`, `@CWD@`
//! and `@HOME@` filled in. Must not know tmux, nor what an agent does.

use std::path::{Path, PathBuf};

use super::super::doc::root;

pub struct Recipe {
    pub env: Vec<(String, String)>,
    pub command: Vec<String>,
}

/// Where `tests/agents/install` put the agents.
pub fn installed() -> PathBuf {
    std::env::var_os("MUXFS_TEST_AGENTS").map_or_else(|| root().join("target/agents"), PathBuf::from)
}

/// Fills an empty `home` and says how to start `agent`.
pub fn home(agent: &str, home: &Path, cwd: &Path, stub: u16) -> Recipe {
    // Another version of one starts alike.
    let from = root().join("tests/agents").join(agent.trim_end_matches("-old"));
    let fill = |text: &str| {
        let text = text.replace("@PORT@", &stub.to_string()).replace("@CWD@", cwd.to_str().unwrap());
        text.replace("@HOME@", home.to_str().unwrap())
    };
    copy(&from.join("home"), home, &fill);
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(from.join(name)).unwrap_or_default();
        text.lines().filter(|l| !l.is_empty()).map(&fill).collect()
    };
    let bin = installed().join("bin");
    let program = bin.join(if agent == "continue" { "cn" } else { agent });
    let version = std::fs::read_link(&program);
    assert!(version.is_ok(), "{agent} is not there: tests/agents/install {:?} {agent}", installed());
    let mut path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    if let Some(known) = agent.strip_suffix("-old") {
        // Its manifest has the other one's name.
        let own = home.join(".old");
        std::fs::create_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(&program, own.join(known)).unwrap();
        path = format!("{}:{path}", own.display());
    }
    // All it gets: whatever the user has set must not reach it.
    let settings = home.join(".config");
    let fixed = [
        ("XDG_CONFIG_HOME", settings.to_str().unwrap()),
        ("PATH", path.as_str()),
        ("HOME", home.to_str().unwrap()),
        ("LANG", "C.UTF-8"),
        ("TERM", "xterm-256color"),
        ("SHELL", "/bin/bash"),
    ];
    let own = lines("env").into_iter().map(|l| {
        let (name, value) = l.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    Recipe {
        env: fixed.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).chain(own).collect(),
        command: std::iter::once(program.to_str().unwrap().to_owned()).chain(lines("args")).collect(),
    }
}

fn copy(from: &Path, to: &Path, fill: &impl Fn(&str) -> String) {
    for entry in std::fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap().path();
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry, &target, fill);
        } else {
            std::fs::write(target, fill(&std::fs::read_to_string(entry).unwrap())).unwrap();
        }
    }
}
