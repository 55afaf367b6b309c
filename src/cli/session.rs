//! `muxfs session`: sessions by name from a shell, through the files of the running node's mount.
//!
//! Knows which file does what a verb says, and nothing of what is behind the mount: tmux for
//! `attach` alone, and that by the socket the node tells.

mod attach;
mod edit;
mod prompt;
mod start;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{exit, print};
use crate::error::{Error, Kind, Result, fail};
use tree::{Session, Tree};

/// The names that most verbs take.
const NAME: &str = "NAME";

#[derive(Debug, Args)]
pub struct SessionArgs {
    #[command(subcommand)]
    pub verb: SessionVerb,
    /// The mount to work through; by default that of MUX, else that of this user's node
    #[arg(long, value_name = "DIR", global = true)]
    pub mount: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum SessionVerb {
    /// List the sessions of a node
    ///
    /// A line each: name, agent, state, seconds in it, queued prompts, working directory.
    List(ListArgs),
    /// Make a session and start its program, or start the program of one that stopped
    ///
    /// Where a session of the name is there, its program is started again, and no option but
    /// --skip-init may be given. Waits for nothing else: see muxfs session wait.
    Start(start::StartArgs),
    /// End what runs in sessions, with every process below it
    ///
    /// The sessions stay, with their settings. One that others made ends whole.
    Stop(NamesArgs),
    /// End and start the programs of sessions
    Restart(RestartArgs),
    /// Edit the settings of sessions in $VISUAL, $EDITOR or vi
    ///
    /// What a save was refused for is told afterwards, with exit status 2.
    Edit(EditArgs),
    /// Send a prompt to sessions
    ///
    /// Prints the turn's name where prompts wait for their turn: turns/TURN has its reply. Names
    /// of more than one session stand before it.
    Prompt(PromptArgs),
    /// Send a prompt to every session of an agent
    ///
    /// "all" is every agent of the catalogue; shells get it only by their own key, shell.
    Broadcast(BroadcastArgs),
    /// Start the program anew with an earlier conversation
    Resume(ResumeArgs),
    /// List the earlier conversations of sessions, newest first
    History(HistoryArgs),
    /// Wait until nothing is under way or waits in sessions, and print their states
    ///
    /// A line each: "NAME: STATE". It also ends where one is blocked, limited or gone.
    Wait(NamesArgs),
    /// Send a prompt and print its answer
    ///
    /// Waits for its turn and for its end.
    Ask(AskArgs),
    /// Attach this terminal to a session of this machine, as tmux attach does
    Attach(AttachArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Another node of the mount; by default this machine's
    pub node: Option<String>,
    /// As one JSON array, each the session's status.json
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct NamesArgs {
    /// Sessions: NAME, NODE/NAME, or the key of an agent that one session alone is of
    #[arg(value_name = NAME, required = true)]
    pub names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RestartArgs {
    #[command(flatten)]
    pub of: NamesArgs,
    /// Without the first prompts of the settings
    #[arg(long)]
    pub skip_init: bool,
}

#[derive(Debug, Args)]
pub struct EditArgs {
    #[command(flatten)]
    pub of: NamesArgs,
    /// Restart now what must be restarted, in the midst of a turn
    #[arg(long)]
    pub apply: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "muxfs session prompt [OPTIONS] NAME... [-- TEXT]")]
pub struct PromptArgs {
    #[command(flatten)]
    pub of: NamesArgs,
    /// The prompt, after --; without it, or as "-", standard input is read, which no list of
    /// processes shows
    #[arg(last = true, value_name = "TEXT")]
    pub text: Vec<String>,
}

#[derive(Debug, Args)]
pub struct BroadcastArgs {
    /// A key of the catalogue, shell, or all
    pub agent: String,
    /// The prompt; without it, or as "-", standard input is read
    #[arg(value_name = "TEXT")]
    pub text: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// A session
    pub name: String,
    /// A conversation of its history, or "latest"
    #[arg(value_name = "ID|latest")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub of: NamesArgs,
    /// As one JSON array, each conversation with its session
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct AskArgs {
    /// A session
    pub name: String,
    /// The prompt; without it, or as "-", standard input is read
    #[arg(value_name = "TEXT")]
    pub text: Vec<String>,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// A session of this machine
    pub name: String,
}

pub fn run(args: SessionArgs) -> Result<ExitCode> {
    let named = std::env::var_os("MUX").filter(|v| !v.is_empty()).map(PathBuf::from);
    let tree = Tree::find(args.mount.or(named).as_deref())?;
    match args.verb {
        SessionVerb::List(args) => print(&list(&tree, &args)?)?,
        SessionVerb::Start(args) => start::start(&tree, &args)?,
        SessionVerb::Stop(args) => return each(&tree, &args.names, |s| s.command("stop")),
        SessionVerb::Restart(args) => {
            let line = if args.skip_init { "restart skip-init" } else { "restart" };
            return each(&tree, &args.of.names, |s| s.command(line));
        }
        SessionVerb::Edit(args) => return each(&tree, &args.of.names, |s| edit::edit(s, args.apply)),
        SessionVerb::Prompt(args) => return prompt::prompt(&tree, args),
        SessionVerb::Broadcast(args) => return prompt::broadcast(&tree, &args),
        SessionVerb::Resume(args) => {
            start::one_word("a conversation's id", &args.id)?;
            return each(&tree, &[args.name], |s| s.command(&format!("resume {}", args.id)));
        }
        SessionVerb::History(args) => return history(&tree, &args),
        SessionVerb::Wait(args) => {
            return each(&tree, &args.names, |s| {
                Ok(format!("{}: {}\n", s.shown, s.read("wait")?.trim_end()))
            });
        }
        SessionVerb::Ask(args) => {
            let text = prompt::text(&args.text)?;
            return each(&tree, &[args.name], |s| s.ask(&text));
        }
        SessionVerb::Attach(args) => {
            return each(&tree, &[args.name], |s| Err(attach::attach(&tree, s)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something with each session of these names and prints what comes of it. A failure is told
/// with its name and stops nothing; the greatest status of all is the command's.
fn each(tree: &Tree, names: &[String], mut act: impl FnMut(&Session) -> Result<String>) -> Result<ExitCode> {
    let mut worst = 0;
    for name in names {
        match tree.session(name).and_then(|session| act(&session)) {
            Ok(text) => print(&text)?,
            Err(error) => worst = worst.max(tell(name, &error)),
        }
    }
    Ok(ExitCode::from(worst))
}

/// Says a failure on standard error; its exit status.
fn tell(name: &str, error: &Error) -> u8 {
    let said = format!("{name}: ");
    eprintln!("muxfs: {said}{}", error.text().strip_prefix(&said).unwrap_or(error.text()));
    exit::code(error.kind)
}

fn list(tree: &Tree, args: &ListArgs) -> Result<String> {
    let node = tree.node(args.node.as_deref())?;
    if !args.json {
        return node.read("index");
    }
    let all = node.sessions()?.into_iter().map(|(_, status)| status).collect();
    Ok(format!("{}\n", Value::Array(all)))
}

fn history(tree: &Tree, args: &HistoryArgs) -> Result<ExitCode> {
    let many = args.of.names.len() > 1;
    if !args.json {
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
    print(&format!("{}\n", Value::Array(all)))?;
    Ok(done)
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
