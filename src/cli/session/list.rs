//! `muxfs session list` and `history`: tables on a terminal; into a pipe, the text of the files.

use std::process::ExitCode;
use std::time::SystemTime;

use serde_json::Value;

use super::tree::{Session, Tree};
use super::{HistoryArgs, ListArgs, each};
use crate::terminal::{self, Cell, Look, table};
use crate::{print, print_painted};
use muxfs_tree::base::clock::seconds_since;
use muxfs_tree::base::error::{Kind, Result, fail};

pub fn list(tree: &Tree, args: &ListArgs) -> Result<()> {
    let node = tree.node(args.node.as_deref())?;
    if args.json {
        let all = node.sessions()?.into_iter().map(|(_, status)| status).collect();
        return print(&format!("{}\n", Value::Array(all)));
    }
    if !terminal::is_for_people() {
        return print(&node.read("index")?);
    }
    let all = node.sessions()?;
    if all.is_empty() {
        return print("no sessions; `muxfs session start` makes one\n");
    }
    let rows: Vec<_> = all.iter().map(|(session, status)| row(&session.shown, status)).collect();
    print_painted(&table(HEADER, &rows, terminal::has_colours()))
}

const HEADER: &[&str] = &["NAME", "AGENT", "STATE", "FOR", "QUEUED", "DIRECTORY"];

/// One session as a person reads it; what holds its queue stands with its state.
fn row(name: &str, status: &Value) -> Vec<Cell> {
    let word = |key: &str| status[key].as_str().unwrap_or("-");
    let age = status["since"].as_str().and_then(|t| seconds_since(t, SystemTime::now()));
    let queued = status["queue"].as_u64().unwrap_or(0);
    let queued = match status["held"].as_str() {
        Some(held) if queued > 0 => format!("{queued} (held: {held})"),
        _ if queued > 0 => queued.to_string(),
        _ => "-".into(),
    };
    vec![
        Cell::of(name, Look::Bold),
        Cell::plain(word("agent")),
        Cell::of(word("state"), Look::of_state(word("state"))),
        Cell::plain(age.map_or("-".into(), terminal::age)),
        Cell::plain(queued),
        Cell::plain(word("cwd")),
    ]
}

pub fn history(tree: &Tree, args: &HistoryArgs) -> Result<ExitCode> {
    let many = args.of.names.len() > 1;
    let people = terminal::is_for_people();
    if !args.json && !people {
        return each(tree, &args.of.names, |s| {
            let index = s.read("history/index")?;
            Ok(if many { index.lines().map(|l| format!("{}: {l}\n", s.shown)).collect() } else { index })
        });
    }
    let mut all = Vec::new();
    let done = each(tree, &args.of.names, |s| {
        all.extend(conversations(s)?);
        Ok(String::new())
    })?;
    if args.json {
        print(&format!("{}\n", Value::Array(all)))?;
    } else if all.is_empty() {
        print("no earlier conversations\n")?;
    } else {
        let header = ["SESSION", "ID", "CHANGED", "PROMPTS", "TITLE"];
        let rows: Vec<Vec<Cell>> = all
            .iter()
            .map(|row| conversation_cells(row).into_iter().skip(usize::from(!many)).collect())
            .collect();
        print_painted(&table(&header[usize::from(!many)..], &rows, terminal::has_colours()))?;
    }
    Ok(done)
}

/// One conversation as a person reads it.
fn conversation_cells(row: &Value) -> Vec<Cell> {
    let word = |key: &str| row[key].as_str().unwrap_or("-");
    let age = row["updated"].as_str().and_then(|t| seconds_since(t, SystemTime::now()));
    vec![
        Cell::of(word("session"), Look::Bold),
        Cell::plain(word("id")),
        Cell::plain(age.map_or("-".into(), |s| format!("{} ago", terminal::age(s)))),
        Cell::plain(row["prompts"].as_u64().map_or("-".into(), |n| n.to_string())),
        Cell::plain(word("title")),
    ]
}

/// The rows of `history/index.json`, each with its session's name.
fn conversations(session: &Session) -> Result<Vec<Value>> {
    let Ok(Value::Array(mut rows)) = serde_json::from_str(&session.read("history/index.json")?) else {
        return fail(Kind::Bug, "history/index.json is no JSON array");
    };
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.insert("session".into(), session.shown.as_str().into());
    }
    Ok(rows)
}
