//! Which agents of the catalogue are installed, as a table for people and as JSON.
//!
//! Knows PATH and looks at files. Must not know who asks.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::catalogue::Catalogue;
use super::manifest::Manifest;

/// An agent, and its program where `path` has it.
pub struct Found<'a> {
    key: &'a str,
    agent: &'a Manifest,
    program: Option<PathBuf>,
}

/// Every agent, or only those installed, in the order of their keys.
pub fn list<'a>(all: &'a Catalogue, path: &str, missing_too: bool) -> Vec<Found<'a>> {
    let found = all.all().map(|(key, agent)| Found { key, agent, program: find(&agent.command[0], path) });
    found.filter(|f| missing_too || f.program.is_some()).collect()
}

impl Found<'_> {
    pub fn key(&self) -> &str {
        self.key
    }

    pub fn seen(&self) -> &[String] {
        &self.agent.seen
    }

    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    /// Key, program or `-`, command, and the flags that make it ask for no approval or `-`.
    pub fn columns(&self) -> [String; 4] {
        let program = self.program.as_ref().map_or("-".to_owned(), |p| p.display().to_string());
        [self.key.to_owned(), program, self.agent.command.join(" "), danger(self.agent)]
    }
}

/// A line each, of its [columns](Found::columns).
pub fn table(found: &[Found<'_>]) -> String {
    let mut out = String::new();
    for [key, program, command, danger] in found.iter().map(Found::columns) {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{key:<10} {program:<30} {command:<20} {danger}");
    }
    out
}

pub fn as_json(found: &[Found<'_>]) -> String {
    let array: Vec<_> = found
        .iter()
        .map(|Found { key, agent, program }| {
            json!({
                "key": key, "name": agent.name, "installed": program.is_some(), "program": program,
                "command": agent.command, "danger": {"args": agent.danger.args, "env": agent.danger.env},
                "rules": agent.rules.len(), "history": agent.history, "seen": agent.seen,
            })
        })
        .collect();
    format!("{}\n", json!(array))
}

fn danger(agent: &Manifest) -> String {
    let env = agent.danger.env.iter().map(|(k, v)| format!("{k}={v}"));
    let all: Vec<String> = env.chain(agent.danger.args.iter().cloned()).collect();
    if all.is_empty() { "-".into() } else { all.join(" ") }
}

/// A program as a shell finds it.
pub fn find(program: &str, path: &str) -> Option<PathBuf> {
    let runs = |p: &Path| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|p| runs(p));
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|p| runs(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let path = "/nonexistent:/bin:/usr/bin";
        assert!(find("sh", path).is_some());
        assert_eq!(find("/bin/sh", path), Some("/bin/sh".into()));
        assert_eq!(find("no-such-program", path), None);
        assert_eq!(find("/etc/passwd", path), None, "it cannot be run");
    }
}
