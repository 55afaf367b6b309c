//! The mount as these commands use it: where it is, which session a word means, and files read
//! and written so that a refusal is the file's own, in the words of the node's `errors`.
//!
//! Knows the names `status.json`, `errors` and `ctl`. Must not know what a verb does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde_json::Value;

use crate::{lock, paths::Paths, status};
use muxfs_fs::errno;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

const SELF: &str = ".self";
/// The largest file that is read: `output` has 16 MiB at most.
pub const MOST: u64 = 64 << 20;
/// Of what `errors` got during one call.
const MOST_ERRORS: u64 = 1 << 20;

/// A mount whose node answers.
pub struct Tree {
    dir: PathBuf,
    /// The local node's name.
    name: String,
    /// Its tmux server's socket.
    pub socket: PathBuf,
}

impl Tree {
    /// The mount at `given`, else that of this user's node.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        let dir = match given {
            Some(dir) => dir.to_owned(),
            None => match lock::holder(&Paths::own().state)? {
                Some(holder) => match holder.dir {
                    Some(dir) => dir,
                    None => return fail(Kind::NotFound, "the node runs without a mount"),
                },
                None => {
                    return fail(
                        Kind::NotFound,
                        "no node of this user runs; `muxfs mount DIR` starts one, --mount names another's",
                    );
                }
            },
        };
        let text = status::read(&dir, &format!("{SELF}/status.json"))?;
        let status = json(&text)?;
        let word = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        Ok(Tree { dir, name: word("name"), socket: word("tmux_socket").into() })
    }

    /// A node by its name; the local one where none is given.
    pub fn node(&self, name: Option<&str>) -> Result<Node> {
        let own = name.is_none_or(|n| n == SELF || n == self.name);
        let Some(name) = name.filter(|_| !own) else {
            return Ok(Node { dir: self.dir.join(SELF), prefix: String::new() });
        };
        if !plain(name) || name.starts_with('.') {
            return fail(Kind::Invalid, format!("{name:?}: not a node's name"));
        }
        let dir = self.dir.join(name);
        if !dir.is_dir() {
            let nodes = nodes(&self.dir);
            let hint = did_you_mean(name, nodes.iter().map(String::as_str));
            return fail(Kind::NotFound, format!("{name}: no such node{hint}"));
        }
        Ok(Node { dir, prefix: format!("{name}/") })
    }

    /// The node and the rest of `NODE/NAME` or `NAME`.
    pub fn split<'a>(&self, word: &'a str) -> Result<(Node, &'a str)> {
        let (node, name) = match word.split_once('/') {
            Some((node, name)) => (Some(node), name),
            None => (None, word),
        };
        if !plain(name) {
            return fail(Kind::Invalid, format!("{word:?}: expected NAME or NODE/NAME"));
        }
        Ok((self.node(node)?, name))
    }

    /// The session of this name, else the one session of this agent.
    pub fn session(&self, word: &str) -> Result<Session> {
        let (node, name) = self.split(word)?;
        if let Some(session) = node.session(name)? {
            return Ok(session);
        }
        let all = node.sessions()?;
        let names: Vec<String> = all.iter().map(|(session, _)| session.name.clone()).collect();
        let of = all.into_iter().filter(|(_, status)| status["agent"] == name);
        let mut of: Vec<Session> = of.map(|(session, _)| session).collect();
        match (of.pop(), of.is_empty()) {
            (Some(session), true) => Ok(session),
            (None, _) => {
                let hint = did_you_mean(name, names.iter().map(String::as_str));
                let text = format!("no such session, and none of an agent of that name{hint}");
                fail(Kind::NotFound, text)
            }
            (Some(last), false) => {
                let names: Vec<&str> = of.iter().chain([&last]).map(|s| s.shown.as_str()).collect();
                fail(Kind::Invalid, format!("several sessions are of this agent: {}", names.join(", ")))
            }
        }
    }
}

/// What the root of a mount has beside its dot names.
#[expect(clippy::disallowed_methods, reason = "a command lists a mount")]
fn nodes(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| !n.starts_with('.')).collect()
}

/// `; did you mean NAME?` where one of `names` is close enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let most = (word.chars().count() / 3).max(1);
    // Swapped letters are one slip, and the beginning of one name alone is meant as that name.
    let far = |name: &str| strsim::damerau_levenshtein(word, name);
    let mut near: Vec<(usize, &str)> = names.map(|name| (far(name), name)).collect();
    near.sort();
    let begins: Vec<&str> = near.iter().map(|(_, n)| *n).filter(|n| n.starts_with(word)).collect();
    match (near.first(), begins.as_slice()) {
        (Some((far, name)), _) if *far <= most => format!("; did you mean {name:?}?"),
        (_, [name]) if !word.is_empty() => format!("; did you mean {name:?}?"),
        _ => String::new(),
    }
}

/// One component of a path that stays where it is.
fn plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// A node's directory.
#[derive(Clone)]
pub struct Node {
    dir: PathBuf,
    /// What stands before its sessions' names.
    prefix: String,
}

impl Node {
    pub fn is_local(&self) -> bool {
        self.prefix.is_empty()
    }

    pub fn session(&self, name: &str) -> Result<Option<Session>> {
        let session =
            Session { shown: format!("{}{name}", self.prefix), name: name.into(), node: self.clone() };
        match std::fs::symlink_metadata(session.path("ctl")) {
            Ok(_) => Ok(Some(session)),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            Err(e) => Err(plain_error(name, &e)),
        }
    }

    /// Every session with its status, by name.
    #[expect(clippy::disallowed_methods, reason = "a command lists a mount")]
    pub fn sessions(&self) -> Result<Vec<(Session, Value)>> {
        let failed = |e: io::Error| plain_error(&self.dir.display().to_string(), &e);
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            // A name of the tree is UTF-8; one that ended meanwhile is left out.
            let Some(session) = entry.file_name().to_str().and_then(|n| self.session(n).transpose()) else {
                continue;
            };
            let session = session?;
            match session.status() {
                Ok(status) => all.push((session, status)),
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => {}
                Err(e) => return Err(e),
            }
        }
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(all)
    }

    pub fn read(&self, file: &str) -> Result<String> {
        self.tried(file, || read(&self.dir.join(file)))
    }

    /// Gives `ctl` one line.
    pub fn command(&self, line: &str) -> Result<()> {
        self.tried("ctl", || write(&self.dir.join("ctl"), format!("{line}\n").as_bytes()))
    }

    /// Does something with a file of this node; why not is what the node says of it, else the
    /// errno's own words.
    fn tried<T>(&self, what: &str, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
        let log = self.dir.join("errors");
        let before = std::fs::metadata(&log).map_or(0, |m| m.len());
        act().map_err(|e| {
            let error = plain_error(what, &e);
            match said_since(&log, before) {
                Ok(Some(why)) => Error::new(error.kind, why).because(e),
                _ => error,
            }
        })
    }
}

/// A session's directory.
#[derive(Clone)]
pub struct Session {
    /// As its user may name it: with its node where that is another one.
    pub shown: String,
    pub name: String,
    pub node: Node,
}

impl Session {
    pub fn path(&self, file: &str) -> PathBuf {
        self.node.dir.join(&self.name).join(file)
    }

    pub fn read(&self, file: &str) -> Result<String> {
        self.node.tried(file, || read(&self.path(file)))
    }

    pub fn status(&self) -> Result<Value> {
        json(&self.read("status.json")?)
    }

    pub fn write(&self, file: &str, text: &[u8]) -> Result<()> {
        self.node.tried(file, || write(&self.path(file), text))
    }

    /// Gives `ctl` one line; there is nothing to print then.
    pub fn command(&self, line: &str) -> Result<String> {
        self.write("ctl", format!("{line}\n").as_bytes()).map(|()| String::new())
    }

    /// Does something with a file of this session; why not is what the node says of it.
    pub fn tried<T>(&self, what: &str, act: impl FnOnce() -> io::Result<T>) -> Result<T> {
        self.node.tried(what, act)
    }
}

fn read(path: &Path) -> io::Result<String> {
    text_of(&mut File::open(path)?)
}

fn text_of(file: &mut File) -> io::Result<String> {
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One message: what the close says counts too.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(text)?;
    Ok(nix::unistd::close(file)?)
}

fn plain_error(what: &str, e: &io::Error) -> Error {
    let number = e.raw_os_error().unwrap_or(libc::EIO);
    Error::new(errno::kind(number), format!("{what}: {}", Errno::from_raw(number).desc()))
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| Error::new(Kind::Bug, "a status.json is no JSON").because(e))
}

/// The newest line about this process that `errors` got behind `from`: TIME USER:PID WHERE WHY.
fn said_since(log: &Path, from: u64) -> io::Result<Option<String>> {
    let mut file = File::open(log)?;
    let from = if file.metadata()?.len() < from { 0 } else { from }; // it was rotated
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(MOST_ERRORS).read_to_end(&mut text)?;
    Ok(newest_of(&String::from_utf8_lossy(&text), std::process::id()))
}

fn newest_of(text: &str, pid: u32) -> Option<String> {
    let mine = |line: &str| {
        let mut fields = line.splitn(4, ' ').skip(1);
        let who = fields.next()?;
        let why = fields.nth(1)?;
        who.ends_with(&format!(":{pid}")).then(|| why.to_owned())
    };
    text.lines().rev().find_map(mine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_lines_of_errors_ones_own_newest_counts() {
        let text = "T ann:7 a/ctl old\nT ann:7 a/ctl it runs\nT ann:77 a/ctl theirs\nT muxfs a x\nbad\n";
        assert_eq!(newest_of(text, 7).as_deref(), Some("it runs"));
        assert_eq!(newest_of(text, 8), None);
    }

    #[test]
    fn a_slip_is_told_from_another_name() {
        let mean = |word: &str| did_you_mean(word, ["claude", "codex-api", "web"].into_iter());
        for (word, name) in
            [("cluade", "claude"), ("codex_api", "codex-api"), ("cod", "codex-api"), ("wbe", "web")]
        {
            assert_eq!(mean(word), format!("; did you mean {name:?}?"), "{word}");
        }
        for word in ["gemini", "c", "x", ""] {
            assert_eq!(mean(word), "", "{word}");
        }
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for bad in ["", ".", "..", "a/b", "/", "a\0"] {
            assert!(!plain(bad), "{bad:?}");
        }
        assert!(plain("a b") && plain("...") && plain("%2Fx"));
    }
}
