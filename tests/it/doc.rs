//! The manual pages and the tables of docs/reference.md are what the program's tables print.
//! `UPDATE=1` rewrites them.

use std::path::{Path, PathBuf};
use std::process::Command;

use muxfs::cli::tables;
use muxfs::doc;

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
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(text.lines().count() < 200, "{}", text.lines().count());
    for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(root().join(link).exists(), "{link}");
    }
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
