//! `muxfs session`: sessions by name from a shell, through the files of the running node's mount.
//!
//! Knows which file does what a verb says, and nothing of what is behind the mount: tmux for
//! `attach` alone, and that by the socket that the node's status names.

mod ask;
mod attach;
mod edit;
mod events;
mod list;
mod prompt;
mod start;
mod states;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{exit, print, terminal};
use muxfs_tree::base::error::{Error, Result};
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
    /// A line each: name, agent, state, seconds in it, queued prompts, working directory. On a
    /// terminal with a header, colours and ages in words.
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
    /// Prints the turn's name where prompts wait for their turn: turns/TURN has its reply. For
    /// several sessions their names stand before `--`, and each before its turn's. For a session
    /// without turns a pipe gets nothing; among several, and on a terminal, it says that the prompt
    /// was typed.
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
    /// A line each: "NAME: STATE". It also ends where one is blocked, limited or gone, and the exit
    /// status says so: see EXIT STATUS.
    Wait(NamesArgs),
    /// Send a prompt and print its answer
    ///
    /// Waits for its turn and for its end. Where the agent becomes blocked, its question goes to
    /// standard error; where it is blocked, limited or gone, the exit status says so. A prompt that
    /// still waits then is taken back, and so it is at Ctrl-C.
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
    /// Without the init prompts of the settings
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
#[command(
    override_usage = "muxfs session prompt [OPTIONS] NAME [TEXT]...\n       muxfs session prompt [OPTIONS] NAME... -- [TEXT]..."
)]
pub struct PromptArgs {
    /// A session, and the prompt after it; before -- several sessions
    #[arg(value_name = NAME, required = true)]
    pub words: Vec<String>,
    /// The prompt, after --; without any, or as "-", standard input is read, which no list of
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
        SessionVerb::List(args) => list::list(&tree, &args)?,
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
        SessionVerb::History(args) => return list::history(&tree, &args),
        SessionVerb::Wait(args) => {
            return each(&tree, &args.names, |s| {
                let state = s.read("wait")?.trim_end().to_owned();
                Ok(Done { text: format!("{}: {state}\n", s.shown), status: states::status(&state) })
            });
        }
        SessionVerb::Ask(args) => {
            return each(&tree, &[args.name], |s| ask::ask(s, &prompt::text(&args.text)?));
        }
        SessionVerb::Attach(args) => {
            return each(&tree, &[args.name], |s| Err::<Done, _>(attach::attach(&tree, s)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be printed, and the exit status that goes with it.
struct Done {
    text: String,
    status: u8,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Done { text, status: 0 }
    }
}

/// Does something with each session of these names and prints what comes of it. A failure is reported
/// with its name and stops nothing; the greatest status of all is the command's.
fn each<T: Into<Done>>(
    tree: &Tree,
    names: &[String],
    mut act: impl FnMut(&Session) -> Result<T>,
) -> Result<ExitCode> {
    let mut worst = 0;
    for name in names {
        match tree.session(name).and_then(|session| act(&session)) {
            Ok(done) => {
                let done = done.into();
                print(&done.text)?;
                worst = worst.max(done.status);
            }
            Err(error) => worst = worst.max(report(name, &error)),
        }
    }
    Ok(ExitCode::from(worst))
}

/// Says a failure on standard error; its exit status.
fn report(name: &str, error: &Error) -> u8 {
    let said = format!("{name}: ");
    let text = error.text().strip_prefix(&said).unwrap_or(error.text());
    eprintln!("muxfs: {}", terminal::printable(&format!("{said}{text}")));
    exit::code(error.kind)
}
