//! The manual pages and the tables of docs/reference.md are what the program's tables print.
//! `UPDATE=1` rewrites them. What documents and comments point to is there, and one word is one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use muxfs_cli::doc;
use muxfs_cli::tables;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

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
        ("muxfs.1", doc::muxfs_1(&tables::command_line())),
        (
            "muxfs-tree.5",
            doc::muxfs_tree_5(
                &tables::rows(),
                &tables::turn_states(),
                &tables::errors(),
                &tables::events(),
                &tables::audit(),
                &tables::verbs(),
            ),
        ),
        ("muxfs-agent.5", doc::muxfs_agent_5(&tables::manifest_keys(), &tables::agents())),
        ("muxfs.toml.5", doc::muxfs_toml_5(&tables::settings())),
    ] {
        same(man.join(name), &text);
        let mut lint = Command::new("mandoc");
        lint.args(["-Tlint", "-Wstyle"]).arg(man.join(name));
        let out = lint.output().unwrap_or_else(|e| panic!("mandoc: {e}; .ci/need test installs it"));
        let said = String::from_utf8_lossy(&out.stdout);
        // Which other pages are installed differs by machine.
        let said: Vec<_> = said.lines().filter(|l| !l.contains("referenced manual not found")).collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

#[test]
fn the_reference_has_the_tables() {
    let path = root().join("docs/reference.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = doc::with_section(&text, "listing", &doc::listing(&tables::rows()))
        .expect("the marks of the listing");
    let text = doc::with_section(&text, "reference", &doc::reference(&tables::command_line()))
        .expect("the marks of the reference");
    same(path, &text);
}

#[test]
fn the_readme_is_short() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() < 200, "{}", text.lines().count());
}

/// groff, as man-db runs it, sets each command of the synopsis on a line of its own.
#[test]
fn every_command_begins_a_line_of_the_synopsis() {
    let mut man = Command::new("man");
    let out = man.args(["-P", "cat", "-l"]).arg(root().join("man/muxfs.1")).env("MANWIDTH", "100").output();
    let Some(text) = out.ok().filter(|o| o.status.success()).map(|o| o.stdout) else {
        return; // mandoc's own man, or none
    };
    let text = String::from_utf8_lossy(&text).replace('\u{8}', "");
    let (_, text) = text.split_once("SYNOPSIS").unwrap();
    let (synopsis, _) = text.split_once("DESCRIPTION").unwrap();
    for verb in ["mount", "umount", "session prompt", "session ask", "completions"] {
        let begins = |l: &str| l.trim_start().starts_with(&format!("muxfs {verb}"));
        assert!(synopsis.lines().any(begins), "{verb}: {synopsis}");
    }
}

/// Documents that people write, from the project's root, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).into();
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().file_name());
    paths.extend(
        docs.map(|name| Path::new("docs").join(name)).filter(|p| p.extension().is_some_and(|e| e == "md")),
    );
    paths.sort();
    paths.into_iter().map(|p| (p.clone(), std::fs::read_to_string(root().join(&p)).unwrap())).collect()
}

/// Rust sources below `dirs`, from the project's root, with their texts.
fn sources(dirs: &[&str]) -> BTreeMap<PathBuf, String> {
    fn walk(dir: &Path, to: &mut BTreeMap<PathBuf, String>) {
        for entry in std::fs::read_dir(root().join(dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                walk(&path, to);
            } else if path.extension().is_some_and(|e| e == "rs") {
                to.insert(path.clone(), std::fs::read_to_string(root().join(&path)).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    dirs.iter().for_each(|dir| walk(Path::new(dir), &mut all));
    all
}

/// Whether `text` defines `name` by one of `keywords`.
fn defines(text: &str, keywords: &[&str], name: &str) -> bool {
    let whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    keywords.iter().any(|keyword| {
        let start = format!("{keyword} {name}");
        text.match_indices(&start).any(|(at, _)| whole(&text[at + start.len()..]))
    })
}

fn none(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.starts_with("https://") && !root().join(&path).parent().unwrap().join(link).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    none(&broken);
}

/// `src/fs/vfs.rs` and `src/fs/vfs.rs::open` in backquotes: the file is there, and has the function.
#[test]
fn files_and_functions_that_the_documents_name_are_there() {
    let roots = ["src/", "tests/", "docs/", "benches/", "agents/", "man/", ".ci/"];
    let mut broken = Vec::new();
    for (path, text) in documents() {
        let mut functions = 0;
        for line in text.lines() {
            for named in line.split('`').skip(1).step_by(2) {
                let (file, function) =
                    named.split_once("::").map_or((named, None), |(f, name)| (f, Some(name)));
                // KEY stands for an agent's.
                if !roots.iter().any(|r| file.starts_with(r)) || file.contains("KEY") {
                    continue;
                }
                functions += usize::from(function.is_some());
                let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
                let found = function.map_or(root().join(file).exists(), |name| defines(&text, &["fn"], name));
                if !found {
                    broken.push(format!("{}: {named}", path.display()));
                }
            }
        }
        let walks = path.ends_with("architecture.md");
        assert!(!walks || functions > 100, "the walks name functions in backquotes: {functions}");
    }
    none(&broken);
}

#[test]
fn the_glossary_names_the_types_that_have_its_words() {
    let text = std::fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let (mut broken, mut words) = (Vec::new(), BTreeSet::new());
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains("src/")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [word, _, types] = cells[..] else { panic!("{row}") };
        assert!(words.insert(word), "{word} twice");
        for one in types.split("; ") {
            let (name, file) =
                one.split_once(", ").map_or((None, one), |(n, file)| (Some(n.trim_matches('`')), file));
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            let there = name.map_or(root().join(file).exists(), |name| {
                defines(&text, &["struct", "enum", "trait", "type"], name)
            });
            if !there {
                broken.push(format!("{word}: {one}"));
            }
        }
    }
    assert!(words.len() > 50, "{words:?}");
    none(&broken);
}

/// Comments name a section of docs/tree.md as this: docs/tree.md, "Turns". And no other document that is
/// not in the project.
#[test]
fn what_comments_point_to_is_there() {
    // The first is a file of aider, the second an example.
    let others = [".aider.chat.history.md", "p.md"];
    let tree = std::fs::read_to_string(root().join("docs/tree.md")).unwrap();
    let (mut broken, mut pointers) = (Vec::new(), 0);
    for (path, text) in sources(&["src", "tests", "benches"]) {
        for (n, line) in text.lines().enumerate() {
            let Some((_, comment)) = line.split_once("//") else { continue };
            let at = format!("{}:{}", path.display(), n + 1);
            for rest in comment.split("docs/tree.md, \"").skip(1) {
                let section = rest.split('"').next().unwrap();
                pointers += 1;
                if !tree.lines().any(|l| l.strip_prefix("## ") == Some(section)) {
                    broken.push(format!("{at}: docs/tree.md has no section {section:?}"));
                }
            }
            let word = |c: char| !(c.is_ascii_alphanumeric() || "._-/".contains(c));
            for file in comment.split(word).map(|w| w.trim_end_matches('.')).filter(|w| w.ends_with(".md")) {
                if !others.contains(&file) && !root().join(file).exists() {
                    broken.push(format!("{at}: {file} is not here"));
                }
            }
        }
    }
    assert!(pointers > 20, "{pointers}");
    none(&broken);
}

/// Names of several public types of one crate, how many there are, and what they are. No name is added here,
/// and one that has become unique goes: where two things need one word, one of them has a better one.
const SHARED_NAMES: &[(&str, &str, usize, &str)] = &[
    ("agent", "Entry", 2, "one thing said in a conversation; a key in a manual"),
    ("agent", "Kind", 2, "of a hook's signal; of what OSC 7501 is blocked by"),
    ("agent", "Said", 2, "what OSC 7501 says; what an agent says in the place of an answer"),
    ("agent", "Seen", 2, "of a status file; of a file in a listing"),
    ("cli", "ListArgs", 2, "of `agent list` and of `session list`: clap names them by their module"),
    ("node", "Asked", 2, "what a caller asks for a new session; a question that is shown"),
    ("node", "Found", 3, "where a path leads; what a reader finds in the ring; what it finds in a book"),
    ("node", "Kept", 2, "a record in force; a limit on disk"),
    ("node", "Line", 3, "of the manual; of the ring of events; of a book"),
    ("node", "Mark", 2, "what a pane's bytes say; what a shell's stream says"),
    ("node", "Row", 3, "of a table of files; of a book; of the table of events"),
    ("node", "Seen", 2, "a state as published; of a line in a book"),
    ("node", "Turn", 2, "a turn; its fields in an event"),
    ("node", "Turns", 2, "a session's turns; the setting `turns`"),
    ("tree", "Key", 2, "a setting; a key for tmux"),
    ("tree", "Kind", 2, "of an error; of a setting's value"),
];

/// The crate that a file belongs to: the nearest directory with a `Cargo.toml`.
fn crate_of(path: &Path) -> String {
    let dir = path.ancestors().skip(1).find(|dir| root().join(dir).join("Cargo.toml").exists()).unwrap();
    dir.file_name().map_or("muxfs".into(), |name| name.to_str().unwrap().to_owned())
}

#[test]
fn no_two_public_types_of_a_crate_have_one_name() {
    let mut places: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let all = sources(&["src"]);
    // `#[cfg(test)] mod fake;` in `fs/lib.rs`, or with a path beside the file.
    let mut tests = BTreeSet::new();
    for (path, text) in &all {
        for rest in text.split("\n#[cfg(test)]\n").skip(1) {
            let dir = path.parent().unwrap();
            let quoted = rest.strip_prefix("#[path = \"").and_then(|r| r.split('"').next());
            let module = rest.strip_prefix("mod ").and_then(|r| r.split(';').next());
            tests.extend(quoted.map(|file| dir.join(file)));
            tests.extend(module.map(|name| dir.join(format!("{name}.rs"))));
        }
    }
    for (path, text) in all.iter().filter(|(path, _)| !tests.contains(*path)) {
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
        for line in code.lines() {
            let kinds = ["pub struct ", "pub enum ", "pub trait ", "pub type "];
            let Some(rest) = kinds.iter().find_map(|kind| line.trim_start().strip_prefix(kind)) else {
                continue;
            };
            let name = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let key = (crate_of(path), name.to_owned());
            places.entry(key).or_default().push(path.display().to_string());
        }
    }
    let mut broken = Vec::new();
    for ((of, name), files) in &places {
        let listed = SHARED_NAMES.iter().find(|(c, n, ..)| c == of && n == name);
        let allowed = listed.map_or(1, |(_, _, count, _)| *count);
        if files.len() != allowed {
            broken.push(format!("{of}: {name}: {} types, {allowed} are listed: {files:?}", files.len()));
        }
    }
    let gone = |of: &str, name: &str| !places.contains_key(&(of.to_owned(), name.to_owned()));
    let gone = SHARED_NAMES.iter().filter(|(of, name, ..)| gone(of, name));
    broken.extend(gone.map(|(of, name, ..)| format!("{of}: {name}: no such type any more")));
    none(&broken);
}
