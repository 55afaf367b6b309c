//! The manual pages and the README's tables are what the program's tables print.
//! `UPDATE=1` rewrites them.

use std::path::{Path, PathBuf};
use std::process::Command;

use muxfs::doc::{self, DocRow, DocSetting};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const fn row(
    dir: &'static str,
    name: &'static str,
    shape: &'static str,
    mode: u32,
    about: &'static str,
) -> DocRow<'static> {
    DocRow { dir, name, shape, mode, about }
}

const N: &str = "<node>";
const S: &str = "<node>/<session>";

/// Stands in for the node's own tables.
const ROWS: &[DocRow<'static>] = &[
    row("", "<node>/", "dir", 0o700, "One directory a machine."),
    row("", ".self", "link", 0o777, "Leads to the local node's directory."),
    row("", ".help", "view", 0o444, "How to use the tree, with examples."),
    row(N, "<session>/", "dir", 0o700, "Every session of the tmux server, those that others made too."),
    row(
        N,
        "status",
        "view",
        0o400,
        "The node as `key: value` lines: name, id, state, version, os, tmux version and socket, sessions, uptime, last_error.",
    ),
    row(N, "status.json", "view", 0o400, "The same as JSON."),
    row(
        N,
        "index",
        "view",
        0o400,
        "One line a session: name, agent, state, seconds in it, queued prompts, cwd. All machines: `cat /mux/*/index`.",
    ),
    row(
        N,
        "logs",
        "log",
        0o400,
        "What happened on this node, one line an event: time, level, session, text.",
    ),
    row(N, "logs.json", "log", 0o400, "The same as JSON lines."),
    row(
        N,
        "events",
        "events",
        0o400,
        "Sessions made, ended and renamed, state changes, prompts accepted and delivered.",
    ),
    row(N, "settings", "view", 0o400, "Every setting, its value and where it came from."),
    row(N, "settings.json", "view", 0o400, "The same as JSON."),
    row(N, "config", "document", 0o600, "The node's settings; see muxfs.toml(5)."),
    row(N, "errors", "log", 0o400, "Refused input, bad config, failed deliveries: time, who, where, why."),
    row(N, "ctl", "ctl", 0o600, "`new NAME`, `reload`, `sweep`."),
    row(S, "input", "sink", 0o200, "A prompt: pasted as one, then submitted with Enter."),
    row(S, "text", "sink", 0o200, "Typed as it is, no Enter."),
    row(
        S,
        "keys",
        "sink",
        0o200,
        "tmux key names between white space: `C-c`, `Escape`, `Up`, `F1`, `M-x`. An unknown name is EINVAL, and nothing is sent.",
    ),
    row(
        S,
        "output",
        "view",
        0o400,
        "Scrollback and screen as plain text, wrapped lines joined, blank tail cut; the last 16 MiB at most.",
    ),
    row(S, "screen", "view", 0o400, "The visible screen."),
    row(S, "screen.ansi", "view", 0o400, "The visible screen with its colours."),
    row(S, "logs", "log", 0o400, "A readable transcript, line by line, without escapes."),
    row(S, "raw", "log", 0o400, "The pane's bytes as they came."),
    row(
        S,
        "status",
        "view",
        0o400,
        "State, since when, evidence, cwd, pid, exit status or signal, size, title, managed, last_error.",
    ),
    row(S, "status.json", "view", 0o400, "The same as JSON."),
    row(S, "events", "events", 0o400, "This session's events."),
    row(
        S,
        "wait",
        "wait",
        0o400,
        "Blocks until what was put in is done, then prints the state: `ready`, `exited 1`.",
    ),
    row(S, "config", "document", 0o600, "The session's settings; see muxfs.toml(5)."),
    row(S, "config.error", "view", 0o400, "Why the last save was refused: line, column, what was expected."),
    row(S, "config.rejected", "view", 0o400, "The refused text."),
    row(S, "ctl", "ctl", 0o600, "`start`, `stop`, `restart`, `apply`, `interrupt`."),
    row(
        S,
        "panes/<window>.<pane>/",
        "dir",
        0o700,
        "For sessions with several panes: `input text keys output screen screen.ansi logs raw status` of that pane.",
    ),
];

/// Stands in for the config's own tables.
const SETTINGS: &[DocSetting<'static>] = &[
    DocSetting {
        file: "node",
        key: "tmux.socket",
        kind: "text",
        default: "",
        about: "The tmux server: a path or a name, as MUXFS_TMUX_SOCKET.",
    },
    DocSetting { file: "session", key: "cwd", kind: "text", default: "", about: "Where its command starts." },
];

/// Compares, or rewrites where `UPDATE` is set.
pub fn same(path: PathBuf, want: &str) {
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    if have == want {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        return std::fs::write(&path, want).unwrap();
    }
    let line = have.lines().zip(want.lines()).take_while(|(a, b)| a == b).count() + 1;
    panic!("{} is not what the tables print, from line {line} on: UPDATE=1 rewrites it", path.display());
}

#[test]
fn manual_pages_are_the_tables() {
    let man = root().join("man");
    for (name, text) in [
        ("muxfs.1", doc::muxfs_1()),
        ("muxfs-tree.5", doc::muxfs_tree_5(ROWS)),
        ("muxfs.toml.5", doc::muxfs_toml_5(SETTINGS)),
    ] {
        same(man.join(name), &text);
        let mut lint = Command::new("mandoc");
        lint.args(["-Tlint", "-Wstyle"]).arg(man.join(name));
        match lint.output() {
            Ok(out) => {
                let said = String::from_utf8_lossy(&out.stdout);
                // Which other pages are installed differs by machine.
                let said: Vec<_> =
                    said.lines().filter(|l| !l.contains("referenced manual not found")).collect();
                assert!(said.is_empty(), "{said:#?}");
            }
            Err(e) => eprintln!("not run: mandoc -Tlint {name}: {e}"),
        }
    }
}

#[test]
fn the_readme_has_the_tables() {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = doc::with_section(&text, "listing", &doc::listing(ROWS)).expect("the marks of the listing");
    let text = doc::with_section(&text, "reference", &doc::reference()).expect("the marks of the reference");
    same(path, &text);
}
