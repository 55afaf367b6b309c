//! `muxfs agent`: the catalogue, and a look at manifests and screens for those who write their own.
//!
//! Knows PATH and standard input. Must not know what a rule means.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::paths::Paths;
use super::terminal::{self, Cell, Look, table};
use super::{print, print_painted};
use muxfs_agent::catalogue::{self, Catalogue};
use muxfs_agent::installed;
use muxfs_agent::rules::judge;
use muxfs_agent::screen::Screen;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// The largest screen that is read.
const MAX_SCREEN: u64 = 16 << 20;

#[derive(Debug, Subcommand)]
pub enum AgentVerb {
    /// List the agents of the catalogue that are installed
    ///
    /// A line each: key, program, command, and the flags that make it ask for no approval; on a
    /// terminal a table. A manifest that is broken is named on standard error, with line and column.
    List(ListArgs),
    /// Say whether FILE is a right manifest
    ///
    /// Exit status 0 if it is; else 2, with line and column of what is wrong.
    Check(CheckArgs),
    /// Say the state that AGENT's rules see in a saved screen
    ///
    /// The screen is read from standard input, as tmux capture-pane prints it, with colours (-e)
    /// or without. Prints the state and the rule that said so, or "unknown -".
    State(StateArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Those too that are not installed
    #[arg(long)]
    pub all: bool,
    /// As one JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct StateArgs {
    /// A key of the catalogue
    pub agent: String,
    /// The pane's title
    #[arg(long, default_value = "", hide_default_value = true)]
    pub title: String,
    /// The cursor's column and row, from 0
    #[arg(long, value_name = "X,Y", value_parser = pair(','))]
    pub cursor: Option<(u16, u16)>,
    /// Columns and rows of the pane: what is read beyond them is no part of the screen
    #[arg(long, value_name = "WxH", value_parser = pair('x'))]
    pub size: Option<(u16, u16)>,
}

fn pair(between: char) -> impl Fn(&str) -> std::result::Result<(u16, u16), String> + Clone {
    move |text: &str| {
        let two = text.split_once(between).and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        two.ok_or_else(|| format!("two numbers with {between:?} between them"))
    }
}

pub fn run(verb: AgentVerb) -> Result<()> {
    match verb {
        AgentVerb::List(args) => list(&load(), &args),
        AgentVerb::Check(args) => print(&check(&args.file)?),
        AgentVerb::State(args) => print(&state(&load(), args)?),
    }
}

/// The user's catalogue; what is broken in it is said on standard error.
fn load() -> Catalogue {
    let all = Catalogue::load(&Paths::own().agents());
    for (path, why) in &all.wrong {
        eprintln!("muxfs: {}: {why}", path.display());
    }
    all
}

fn list(all: &Catalogue, args: &ListArgs) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = installed::list(all, &path, args.all);
    if args.json {
        return print(&installed::as_json(&found));
    }
    if !terminal::is_for_people() {
        return print(&installed::table(&found));
    }
    if found.is_empty() {
        return print("no agent of the catalogue is in PATH; --all lists them\n");
    }
    let row = |found: &installed::Found<'_>| {
        let [key, program, command, danger] = found.columns();
        let missing = if found.program().is_none() { Look::Faint } else { Look::Plain };
        vec![
            Cell::of(key, Look::Bold),
            Cell::of(program, missing),
            Cell::of(command, missing),
            Cell::of(danger, missing),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    print_painted(&table(
        &["AGENT", "PROGRAM", "COMMAND", "ASKS NOTHING WITH"],
        &rows,
        terminal::has_colours(),
    ))
}

fn check(file: &Path) -> Result<String> {
    match catalogue::read(file) {
        Ok(agent) => Ok(format!("{}: {} rules\n", agent.name, agent.rules.len())),
        Err(why) => fail(Kind::Invalid, format!("{}: {why}", file.display())),
    }
}

fn state(all: &Catalogue, args: StateArgs) -> Result<String> {
    let Some(agent) = all.get(&args.agent) else {
        let keys: Vec<&str> = all.all().map(|(key, _)| key).collect();
        return fail(Kind::NotFound, format!("no agent {:?}; there are {}", args.agent, keys.join(", ")));
    };
    let mut text = Vec::new();
    let read = std::io::stdin().lock().take(MAX_SCREEN + 1).read_to_end(&mut text);
    read.map_err(|e| Error::io("standard input", e))?;
    if text.len() as u64 > MAX_SCREEN {
        return fail(Kind::TooLarge, "a screen has at most 16 MiB");
    }
    let mut screen = Screen::parse(&String::from_utf8_lossy(&text));
    (screen.title, screen.cursor) = (args.title, args.cursor);
    if let Some((_, rows)) = args.size {
        screen.keep_rows(rows.into());
    }
    let verdict = judge(agent, &screen);
    Ok(format!("{} {}\n", verdict.state.word(), verdict.rule.unwrap_or("-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_two_numbers() {
        assert_eq!(pair(',')("2,37"), Ok((2, 37)));
        assert_eq!(pair('x')("120x40"), Ok((120, 40)));
        for bad in ["", "2", "2x3", "2,", ",3", "-1,2", "2,3,4", "70000,1"] {
            assert!(pair(',')(bad).is_err(), "{bad}");
        }
    }
}
