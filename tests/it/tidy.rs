//! Rules of the code that a compiler does not keep: which module may know which, and what every
//! file has.

use std::path::{Path, PathBuf};

use super::doc::root;

/// Files of at most this many lines, without their tests.
const LONGEST: usize = 600;

/// `(module, what it must not know)`: a word that stands for a module also stands for those in it.
const ARROWS: &[(&str, &[&str])] = &[
    ("tree", &["fs", "api", "rpc", "cli", "doc", "tmux", "node", "session", "agent", "hub", "config"]),
    ("fs", &["tmux", "session", "agent", "node", "hub", "api", "rpc", "cli", "doc"]),
    ("api", &["tmux", "session", "agent", "fs", "rpc", "cli", "doc"]),
    ("rpc", &["tmux", "session", "agent", "fs", "api", "cli", "doc"]),
    ("tmux", &["tree", "fs", "api", "rpc", "node", "session", "agent", "hub", "cli", "doc", "config"]),
    ("session", &["fs", "api", "rpc", "cli", "doc", "node", "hub"]),
    ("agent", &["fs", "api", "rpc", "cli", "doc", "node", "hub", "tmux", "tree"]),
    ("hub", &["session", "tmux", "agent", "fs", "cli", "doc"]),
    ("node", &["fs", "api", "rpc", "cli", "doc"]),
    ("error", &["tree", "fs", "tmux", "session", "node", "cli", "doc", "names", "clock"]),
    ("names", &["tree", "fs", "tmux", "session", "node", "cli", "doc"]),
    ("keys", &["tree", "fs", "tmux", "session", "node", "cli", "doc"]),
    ("later", &["tree", "fs", "tmux", "session", "node", "cli", "doc"]),
    ("offload", &["tree", "fs", "tmux", "session", "node", "cli", "doc", "names", "clock"]),
    ("foreign", &["tree", "fs", "tmux", "session", "node", "cli", "doc", "names", "clock", "config"]),
    ("locks", &["tree", "fs", "tmux", "session", "node", "cli", "doc", "names", "clock"]),
    ("clock", &["tree", "fs", "tmux", "session", "node", "cli", "doc"]),
];

/// `(what, where alone it may stand)`.
const SOLE: &[(&str, &[&str])] = &[
    ("fuser::", &["src/fs/"]),
    ("use fuser", &["src/fs/"]),
    ("axum::", &["src/api/"]),
    ("Command::new(\"tmux\")", &["src/tmux/process.rs"]),
    ("unsafe {", &["src/sys.rs"]),
    ("unsafe fn", &["src/sys.rs"]),
    ("allow(unsafe_code)", &["src/sys.rs", "src/lib.rs"]),
];

/// Machines: values in, values out. Their clock is an argument.
const PURE: &[&str] = &[
    "src/session/turns/machine.rs",
    "src/session/turns/submission.rs",
    "src/session/turns/outcome.rs",
    "src/session/eyes.rs",
    "src/session/lifecycle.rs",
    "src/session/limit.rs",
];

/// Where files may be opened without `foreign`, and why.
const OPENS: &[(&str, &str)] = &[
    ("src/foreign.rs", "it is the one place"),
    ("src/config/file.rs", "makes a new temporary file, and syncs its directory"),
    ("src/cli/session/", "opens files of a mount"),
    ("src/cli/status.rs", "opens a file of a mount, with a limit"),
    ("src/cli/umount.rs", "reads what /proc says of processes"),
    ("src/cli/background.rs", "the log may be a device, and is opened without waiting"),
    ("src/session/shell.rs", "opens a terminal, without waiting"),
    ("src/session/turns/book.rs", "syncs a directory"),
    ("src/fs/point.rs", "reads what /proc says of its own descriptor"),
    ("src/fs/takeover.rs", "reads what /proc says of processes, and the kernel's connections"),
    ("src/fs/freezer.rs", "opens a file of a control group"),
];

/// Files that the kernel makes, or root's own.
const OF_THE_SYSTEM: &[&str] = &["\"/proc/", "\"/sys/", "\"/etc/", "\"/dev/", "MOUNTINFO"];

struct Source {
    /// From the project's root.
    path: String,
    text: String,
}

impl Source {
    /// The module of the crate it belongs to: `src/tmux/actor.rs` and `src/tmux.rs` are `tmux`.
    fn module(&self) -> Option<&str> {
        let name = self.path.strip_prefix("src/")?;
        Some(name.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Without its tests, which stand last.
    fn code(&self) -> &str {
        self.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or("")
    }

    /// Lines with their numbers, without comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code().lines().enumerate();
        lines.map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.trim_start().starts_with("//"))
    }
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut files = Vec::new();
    dirs.iter().for_each(|dir| walk(&root().join(dir), &mut files));
    files.sort();
    let read = |p: PathBuf| Source {
        path: p.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(&p).unwrap(),
    };
    files.into_iter().map(read).collect()
}

/// The modules of the crate that a line names: `crate::a::…` and `crate::{a, b::c}`.
fn named<'a>(line: &'a str, crate_name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices(crate_name) {
        let rest = &line[at + crate_name.len()..];
        let word =
            |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        match rest.strip_prefix('{') {
            Some(group) => {
                let mut depth = 0;
                let mut begins = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && !c.is_whitespace() => {
                            found.push(word(&group[i..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
            None => found.push(word(rest)),
        }
    }
    found
}

fn none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn modules_know_only_what_is_below_them() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let Some((_, banned)) = ARROWS.iter().find(|(module, _)| source.module() == Some(*module)) else {
            continue;
        };
        // A group of names may be spread over lines.
        let code: String = source.lines().map(|(_, l)| l).collect::<Vec<_>>().join("\n");
        for word in named(&code, "crate::") {
            if banned.contains(&word) {
                broken.push(format!("{}: knows crate::{word}", source.path));
            }
        }
    }
    none(broken);
}

#[test]
fn what_has_one_place_stands_there_alone() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        for (what, places) in SOLE {
            if places.iter().any(|p| source.path.starts_with(p)) {
                continue;
            }
            let hits = source.lines().filter(|(_, l)| l.contains(what));
            broken.extend(hits.map(|(n, _)| format!("{}:{n}: {what} belongs to {places:?}", source.path)));
        }
    }
    none(broken);
}

#[test]
fn machines_get_the_time_and_wait_for_nothing() {
    let mut broken = Vec::new();
    let sources = sources(&["src"]);
    for path in PURE {
        let Some(source) = sources.iter().find(|s| s.path == *path) else {
            broken.push(format!("{path}: no such file"));
            continue;
        };
        for what in ["::now()", ".elapsed()", ".await", "async fn", "std::fs", "Sessions"] {
            let hits = source.lines().filter(|(_, l)| l.contains(what));
            broken.extend(hits.map(|(n, _)| format!("{path}:{n}: {what} in a machine")));
        }
    }
    none(broken);
}

#[test]
fn files_that_others_may_have_made_are_opened_in_one_way() {
    let mut broken = Vec::new();
    let tests = |path: &str| ["tests.rs", "src/fs/fake.rs"].iter().any(|end| path.ends_with(end));
    for source in sources(&["src"]).into_iter().filter(|s| !tests(&s.path)) {
        if OPENS.iter().any(|(place, _)| source.path.starts_with(place)) {
            continue;
        }
        let lines: Vec<_> = source.lines().collect();
        for (i, (n, line)) in lines.iter().enumerate() {
            let near = || lines[i..].iter().take(5);
            let opens = ["File::open(", "File::create(", "fs::read(", "fs::read_to_string("];
            let word = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric());
            let plain = opens.iter().any(|o| line.match_indices(o).any(|(at, _)| !word(at)));
            let made = ["OpenOptions::new()", "File::options()"].iter().any(|o| line.contains(o));
            let safe = made && near().any(|(_, l)| l.contains("foreign::open_with("));
            let system = || near().any(|(_, l)| OF_THE_SYSTEM.iter().any(|s| l.contains(s)));
            if (plain || made) && !safe && !system() {
                broken.push(format!("{}:{n}: opens a file without `foreign`", source.path));
            }
        }
    }
    none(broken);
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let mut broken = Vec::new();
    for source in sources(&["src", "tests", "benches"]) {
        if !source.text.starts_with("//!") {
            broken.push(format!("{}: begins without //!", source.path));
        }
        let lines = source.code().lines().count();
        if lines > LONGEST {
            broken.push(format!("{}: {lines} lines, {LONGEST} are the most", source.path));
        }
    }
    none(broken);
}

#[test]
fn tests_wait_for_conditions_and_nothing_is_left_to_do() {
    let mut broken = Vec::new();
    // Written apart, so that this file does not find itself.
    let sleeps = [["thread::", "sleep"].concat(), ["time::", "sleep"].concat()];
    let later = ["TO", "FIX", "XX"].map(|w| {
        format!(
            "{w}{}",
            match w {
                "TO" => "DO",
                "FIX" => "ME",
                _ => "X",
            }
        )
    });
    for source in sources(&["src", "tests", "benches"]) {
        for (n, line) in source.text.lines().enumerate() {
            let at = format!("{}:{}", source.path, n + 1);
            if source.path.starts_with("tests/") && sleeps.iter().any(|s| line.contains(s.as_str())) {
                broken.push(format!("{at}: a test that sleeps"));
            }
            if later.iter().any(|w| line.contains(w.as_str())) {
                broken.push(format!("{at}: left for later"));
            }
        }
    }
    none(broken);
}

#[test]
fn each_dependency_says_what_it_is_for() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut broken = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains(" = ") && !line.contains("# ") {
            broken.push(format!("Cargo.toml: {line}"));
        }
    }
    none(broken);
}

#[test]
fn names_are_found_in_paths_and_groups() {
    assert_eq!(named("use crate::tmux::actor;", "crate::"), ["tmux"]);
    assert_eq!(named("use crate::{a::{b, c}, error::{X, Y}, names};", "crate::"), ["a", "error", "names"]);
    assert_eq!(named("x(crate::fs::f(), crate::node::N)", "crate::"), ["fs", "node"]);
}
