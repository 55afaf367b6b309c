//! `muxfs status`: who holds the lock, and what the node says of itself through its mount.
//!
//! Knows the names `.self/status` and `.self/status.json`, no others.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::lock::{self, Holder};
use super::paths::Paths;
use super::terminal::{self, Cell, Look, table};
use muxfs_tree::base::clock::seconds_since;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// A daemon that does not answer within this is said not to.
const LIMIT: Duration = Duration::from_secs(5);

/// The text to print, or why there is none.
pub fn status(json: bool) -> Result<String> {
    let Some(holder) = lock::holder(&Paths::own().state)? else {
        return fail(Kind::NotFound, "no node of this user runs; `muxfs mount DIR` starts one");
    };
    let node = match &holder.dir {
        Some(dir) => Some(read(dir, if json { ".self/status.json" } else { ".self/status" })?),
        None => None,
    };
    if json { render_json(&holder, node.as_deref()) } else { Ok(render(&holder, node.as_deref())) }
}

/// The same text for a person: keys and values in two columns, the state in its colour, times and
/// seconds as ages.
pub fn for_people(text: &str, now: SystemTime, colours: bool) -> String {
    let row = |line: &str| {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let age = match key {
            "since" | "last_seen" => seconds_since(value, now).map(|s| format!("{} ago", terminal::age(s))),
            "uptime" => value.parse().ok().map(terminal::age),
            _ => None,
        };
        let look = if key == "state" { Look::of_state(value) } else { Look::Plain };
        vec![Cell::of(format!("{key}:"), Look::Bold), Cell::of(age.as_deref().unwrap_or(value), look)]
    };
    table(&[], &text.lines().map(row).collect::<Vec<_>>(), colours)
}

fn render(holder: &Holder, node: Option<&str>) -> String {
    let mut out = format!("pid: {}\nverb: {}\n", holder.pid, holder.verb);
    if let Some(dir) = &holder.dir {
        out += &format!("mount: {}\n", dir.display());
    }
    out + node.unwrap_or("")
}

fn render_json(holder: &Holder, node: Option<&str>) -> Result<String> {
    let bad = |e: serde_json::Error| Error::new(Kind::Bug, "the node's status.json is no JSON").because(e);
    let mut value = serde_json::to_value(holder).map_err(bad)?;
    if let Some(text) = node {
        value["node"] = serde_json::from_str(text).map_err(bad)?;
    }
    Ok(format!("{value}\n"))
}

/// A file of the mount, read by a thread of its own: a dead or stuck daemon must not hold us.
pub fn read(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    let (tx, rx) = mpsc::channel();
    let file = path.clone();
    std::thread::spawn(move || tx.send(std::fs::read_to_string(file)));
    match rx.recv_timeout(LIMIT) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(e)) => Err(Error::new(Kind::Unreachable, format!("{}: {e}", path.display())).because(e)),
        Err(_) => fail(Kind::TimedOut, format!("{}: no answer within {} s", path.display(), LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_says_follows_who_it_is() {
        let holder = Holder { pid: 7, verb: "mount".into(), dir: Some("/mux".into()) };
        assert_eq!(
            render(&holder, Some("state: online\n")),
            "pid: 7\nverb: mount\nmount: /mux\nstate: online\n"
        );
        let json = render_json(&holder, Some(r#"{"state":"online"}"#)).unwrap();
        assert_eq!(json, "{\"dir\":\"/mux\",\"node\":{\"state\":\"online\"},\"pid\":7,\"verb\":\"mount\"}\n");
        assert!(render_json(&holder, Some("no json")).is_err());
    }

    #[test]
    fn a_person_reads_columns_and_ages() {
        let text = "mount: /mux\nstate: online\nsince: 1970-01-01T00:00:00.000Z\nuptime: 12000\nlogs: ok\n";
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(12_000);
        assert_eq!(
            for_people(text, now, false),
            "mount:   /mux\nstate:   online\nsince:   3h 20m ago\nuptime:  3h 20m\nlogs:    ok\n"
        );
        assert!(for_people(text, now, true).contains("\x1b[1mstate:\x1b[0m   \x1b[32monline\x1b[0m\n"));
        let escape = for_people("mount: /\x1b[2J\n", now, true);
        assert!(escape.ends_with("  /%1B[2J\n"), "{escape:?}");
    }

    #[test]
    fn a_mount_that_is_gone_is_no_wait() {
        assert_eq!(read("/no/such/dir".as_ref(), ".self/status").unwrap_err().kind, Kind::Unreachable);
    }
}
