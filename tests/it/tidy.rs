//! Rules of the code that a compiler does not keep: which crate depends on which, which module may know
//! which within one, and what every file has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::doc::root;

/// Files of at most this many lines, without their tests.
const LONGEST: usize = 600;

/// `(package, those of the workspace that it depends on)`, tests aside. Cargo sees to it that a crate names
/// nothing else.
const PACKAGES: &[(&str, &[&str])] = &[
    ("muxfs-tree", &[]),
    ("muxfs-tmux", &["muxfs-tree"]),
    ("muxfs-agent", &["muxfs-tree"]),
    ("muxfs-node", &["muxfs-agent", "muxfs-tmux", "muxfs-tree"]),
    ("muxfs-fs", &["muxfs-tree"]),
    ("muxfs-cli", &["muxfs-agent", "muxfs-fs", "muxfs-node", "muxfs-tmux", "muxfs-tree"]),
    ("muxfs", &["muxfs-agent", "muxfs-cli", "muxfs-tmux"]),
];

/// `(dependency, the packages that have it of their own)`: another one has it only through one of those.
const OWNERS: &[(&str, &[&str])] = &[
    ("fuser", &["muxfs-fs"]),
    ("inotify", &["muxfs-tree"]),
    ("rusqlite", &["muxfs-agent"]),
    ("regex", &["muxfs-agent"]),
    ("vte", &["muxfs-node"]),
    ("clap", &["muxfs-cli"]),
    ("tracing-subscriber", &["muxfs-cli"]),
    ("axum", &[]),
];

/// `(folder, modules of its own crate that it must not know)`.
const ARROWS: &[(&str, &[&str])] = &[
    ("src/node/session/", &["rows"]),
    ("src/node/config/", &["rows", "session", "log", "transcript"]),
    ("src/node/log/", &["rows", "session", "config", "transcript"]),
    ("src/node/transcript/", &["rows", "session", "config", "log"]),
    ("src/cli/doc/", &["tables"]),
];

/// Folders that take of muxfs-tree only what all crates share, and know no tree.
const NO_TREE: &[&str] = &[
    "src/tree/base/",
    "src/tmux/",
    "src/agent/",
    "src/node/config/",
    "src/node/log/",
    "src/node/transcript/",
];

/// `(folder, another crate that its own may know and it must not)`.
const STRANGERS: &[(&str, &[&str])] = &[
    ("src/node/config/", &["muxfs_tmux", "muxfs_agent"]),
    ("src/node/log/", &["muxfs_tmux", "muxfs_agent"]),
    ("src/node/transcript/", &["muxfs_tmux", "muxfs_agent"]),
    ("src/cli/doc/", &["muxfs_fs", "muxfs_node", "muxfs_tmux"]),
];

/// `(what, where alone it may stand)`.
const SOLE: &[(&str, &[&str])] = &[
    ("Command::new(\"tmux\")", &["src/tmux/process.rs"]),
    ("unsafe {", &["src/tree/base/sys.rs"]),
    ("unsafe fn", &["src/tree/base/sys.rs"]),
    ("allow(unsafe_code)", &["src/tree/base/sys.rs"]),
];

/// Machines: values in, values out. Their clock is an argument.
const PURE: &[&str] = &[
    "src/node/session/turns/machine.rs",
    "src/node/session/turns/submission.rs",
    "src/node/session/turns/outcome.rs",
    "src/node/session/observation/agent_state.rs",
    "src/node/session/life/lifecycle.rs",
    "src/node/session/limit.rs",
];

/// Where files may be opened without `foreign`, and why.
const OPENS: &[(&str, &str)] = &[
    ("src/tree/base/foreign.rs", "it is the one place"),
    ("src/tree/base/disk.rs", "makes a new temporary file, and syncs its directory"),
    ("src/cli/session/", "opens files of a mount"),
    ("src/cli/status.rs", "opens a file of a mount, with a limit"),
    ("src/cli/umount.rs", "reads what /proc says of processes"),
    ("src/cli/background.rs", "the log may be a device, and is opened without waiting"),
    ("src/node/session/observation/shell_state.rs", "opens a terminal, without waiting"),
    ("src/node/session/turns/book.rs", "syncs a directory"),
    ("src/node/session/tests/puppet.rs", "reads files in memory by their descriptors, as tmux does"),
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

/// The modules of a crate that a text names: `crate::a::…` and `crate::{a, b::c}`.
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

/// What `cargo tree` prints of `package`, tests aside: each package with its depth.
fn tree_of(package: &str) -> Vec<(usize, String)> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--offline", "--locked", "--edges", "normal,build", "--prefix", "depth"]);
    let out = tree.args(["--package", package]).current_dir(root()).output().unwrap();
    assert!(out.status.success(), "cargo tree: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let line = |line: &str| {
        let depth = line.find(|c: char| !c.is_ascii_digit())?;
        let name = line[depth..].split_whitespace().next()?;
        Some((line[..depth].parse().ok()?, name.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn each_crate_depends_only_on_what_is_below_it() {
    let mut broken = Vec::new();
    for (package, below) in PACKAGES {
        let tree = tree_of(package);
        let direct: BTreeSet<_> = tree.iter().filter(|(depth, _)| *depth == 1).map(|(_, n)| &n[..]).collect();
        let own: Vec<_> = direct.iter().copied().filter(|name| name.starts_with("muxfs")).collect();
        if own != *below {
            broken.push(format!("{package}: depends on {own:?}, {below:?} is listed"));
        }
        for (name, owners) in OWNERS {
            if direct.contains(name) && !owners.contains(package) {
                broken.push(format!("{package}: {name} belongs to {owners:?}"));
            }
            let has = |name: &str| tree.iter().any(|(_, n)| n == name);
            if has(name) && !owners.iter().any(|owner| has(owner)) {
                broken.push(format!("{package}: has {name}, and none of {owners:?}"));
            }
        }
    }
    none(broken);
    let mut members: Vec<_> = PACKAGES.iter().filter_map(|(name, _)| name.strip_prefix("muxfs-")).collect();
    members.sort();
    let mut crates: Vec<_> = std::fs::read_dir(root().join("src")).unwrap().flatten().collect();
    crates.retain(|entry| entry.path().join("Cargo.toml").exists());
    let mut crates: Vec<_> = crates.into_iter().map(|e| e.file_name().into_string().unwrap()).collect();
    crates.sort();
    assert_eq!(crates, members, "each crate has a row");
}

#[test]
fn modules_know_only_what_is_below_them() {
    let mut broken = Vec::new();
    for source in sources(&["src"]) {
        let within = |folder: &&str| source.path.starts_with(*folder);
        // A group of names may be spread over lines.
        let code: String = source.lines().map(|(_, l)| l).collect::<Vec<_>>().join("\n");
        for (_, banned) in ARROWS.iter().filter(|(folder, _)| within(folder)) {
            let known = named(&code, "crate::").into_iter().filter(|word| banned.contains(word));
            broken.extend(known.map(|word| format!("{}: knows crate::{word}", source.path)));
        }
        for (_, banned) in STRANGERS.iter().filter(|(folder, _)| within(folder)) {
            let known = banned.iter().filter(|name| code.contains(*name));
            broken.extend(known.map(|name| format!("{}: knows {name}", source.path)));
        }
        if NO_TREE.iter().any(within) {
            let tree = if source.path.starts_with("src/tree/") { "crate::" } else { "muxfs_tree::" };
            let known = named(&code, tree).into_iter().filter(|word| *word != "base");
            broken.extend(known.map(|word| format!("{}: knows {tree}{word}", source.path)));
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
fn each_dependency_is_declared_once_and_says_what_it_is_for() {
    let mut broken = Vec::new();
    let crates = PACKAGES.iter().filter_map(|(name, _)| name.strip_prefix("muxfs-"));
    let members = crates.map(|name| format!("src/{name}/Cargo.toml"));
    for path in members.chain(["Cargo.toml".to_owned()]) {
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        let mut section = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fits = match section {
                "[workspace.dependencies]" => line.contains("# "),
                "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]" => {
                    line.ends_with(".workspace = true")
                }
                _ => true,
            };
            if line.starts_with('[') {
                section = line;
            } else if line.contains(" = ") && !fits {
                broken.push(format!("{path}: {line}"));
            }
        }
        if !text.contains("\n[lints]\nworkspace = true\n") {
            broken.push(format!("{path}: without the lints of the workspace"));
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
