//! The command line: one table of commands and options, from which the parser, the manual page
//! and the completions come, and what each command does before and after the daemon itself.
//!
//! Knows arguments, exit codes, users and directories. Does not know what a file of the tree
//! means, FUSE or tmux: `run` alone hands over to them.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may wait for a disk"))]

mod agent;
pub mod background;
pub mod doc;
pub mod doctor;
pub mod exit;
pub mod facts;
pub mod helper;
pub mod hook;
pub mod lock;
pub mod options;
pub mod paths;
pub mod privileges;
pub mod run;
mod session;
pub mod start;
pub mod status;
pub mod tables;
mod terminal;
pub mod umount;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, CommandFactory, Parser, Subcommand};

use muxfs_tree::base::error::{Error, Kind, Result};

/// What muxfs reads of its environment: the manual page and the README print this.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "MUXFS_TMUX_SOCKET",
        "The tmux server: a path (with a slash, as tmux -S) or a name (as tmux -L). Default: the user's own, so that a plain tmux attach finds the sessions.",
    ),
    (
        "MUXFS_NODE_NAME",
        "The name of this machine's directory in the tree. Default: the host name up to its first dot.",
    ),
    ("MUX", "The mount that muxfs session works through. Default: that of this user's node."),
    ("VISUAL, EDITOR", "The editor of muxfs session edit. Default: vi."),
    ("MUXFS_CONFIG", "The node's config file. Default: $XDG_CONFIG_HOME/muxfs/muxfs.toml."),
    (
        "MUXFS_LOG",
        "Which diagnostics go to standard error: a level (error, warn, info, debug, trace), or one for each module (muxfs_fs=trace). Default: warn.",
    ),
    (
        "XDG_STATE_HOME",
        "Records, logs and the lock that allows one node per user are in $XDG_STATE_HOME/muxfs. Default: ~/.local/state.",
    ),
    ("XDG_CONFIG_HOME", "The config file is in $XDG_CONFIG_HOME/muxfs. Default: ~/.config."),
    (
        "XDG_RUNTIME_DIR",
        "Sockets are in $XDG_RUNTIME_DIR/muxfs. Default: /run/user/UID where it is there, else /tmp/muxfs-UID.",
    ),
    ("FUSERMOUNT_PATH", "Another fusermount3 than that in PATH."),
];

/// Every tmux session as files: write a prompt, read the screen, wait for the end.
#[derive(Debug, Parser)]
#[command(
    name = "muxfs",
    version,
    disable_help_subcommand = true,
    after_help = "muxfs(1), muxfs-tree(5) and muxfs.toml(5) say more."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Mount the tree on DIR and serve it
    ///
    /// One process is the node and its mount. It goes to the background once the mount answers.
    /// A user has one node: a second mount or node is refused and names the first.
    ///
    /// A mount whose daemon ended, or was killed and cannot end, is taken over; where that needs
    /// root, the error says the command. Root follows only symbolic links that root made on the way
    /// to DIR.
    Mount(MountArgs),
    /// Unmount DIR, which must be a mount of muxfs
    ///
    /// Returns when the mount is gone and its daemon has ended, at most 10 seconds later. Where
    /// processes still use it, they are named. The sessions live on: they belong to tmux.
    Umount(UmountArgs),
    /// Run the node without a mount, in the foreground
    Node(NodeArgs),
    /// Say whether a node of this user runs, where it is mounted, and what it says of itself
    ///
    /// Exit status 0 if one runs and answers, 3 if none runs. On a terminal with colours, and with
    /// ages in words where a pipe has times.
    Status(StatusArgs),
    /// Look at everything muxfs needs, and say what is wrong and how to mend it
    ///
    /// Exit status 0 if nothing is wrong, 1 otherwise. Warnings do not count. On a terminal a table
    /// with colours.
    Doctor(DoctorArgs),
    /// Look at the catalogue of agents, a manifest of one's own, or what a screen says
    #[command(subcommand)]
    Agent(agent::AgentVerb),
    /// Start, prompt, ask and end sessions, by the files of the mount
    ///
    /// A session is named by NAME, as NODE/NAME on another node, or by the key of an agent where
    /// one session alone is of it. Of several names each is done, whatever becomes of the others:
    /// each failure is told with its name, and the exit status is the greatest of them.
    Session(session::SessionArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
#[command(override_usage = "muxfs mount [OPTIONS] [SOURCE] DIR")]
pub struct MountArgs {
    /// An existing directory; before it what to mount: "local" (or "muxfs"), this machine's node,
    /// which is the default
    // Two arguments of clap's own, the first optional, do not survive a `--` before them.
    #[arg(value_names = ["SOURCE", "DIR"], num_args = 1..=2, required = true)]
    pub words: Vec<PathBuf>,
    /// Mount options, comma-separated; see MOUNT OPTIONS
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub options: Vec<String>,
    /// Stay in the foreground
    #[arg(short = 'f', long)]
    pub foreground: bool,
    /// Where the background process writes its diagnostics (see MUXFS_LOG); by default
    /// nowhere
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Said to itself only: standard output is the pipe of the parent that waits.
    #[arg(long, hide = true, requires = "foreground")]
    pub ready_stdout: bool,
    /// Said to itself only: the environment is already that of the user of setuid=.
    #[arg(long, hide = true)]
    pub own_env: bool,
    /// The words after -s of mount(8): unknown options are passed over. Set by the helper alone.
    #[arg(skip)]
    pub sloppy: bool,
    /// mount(8)'s --fake: everything but the mount. Set by the helper alone.
    #[arg(skip)]
    pub fake: bool,
}

impl MountArgs {
    pub fn source(&self) -> std::borrow::Cow<'_, str> {
        match self.words.as_slice() {
            [source, _] => source.to_string_lossy(),
            _ => "local".into(),
        }
    }

    pub fn dir(&self) -> &std::path::Path {
        self.words.last().map_or(std::path::Path::new(""), PathBuf::as_path)
    }
}

#[derive(Debug, Args)]
pub struct UmountArgs {
    /// The mount point
    pub dir: PathBuf,
    /// Detach it now, although processes use it; it goes when the last of them is done
    #[arg(short, long)]
    pub lazy: bool,
}

#[derive(Debug, Args)]
pub struct NodeArgs {}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// As one JSON array
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// One of bash, elvish, fish, powershell, zsh
    #[arg(hide_possible_values = true)]
    pub shell: clap_complete::Shell,
}

/// Runs the command of `argv` (with the program's own name first) to its end.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    if helper::is_helper(argv.first()) {
        return leave_mount(helper::parse(&argv[1..]).and_then(start::mount), exit::code_for_mount8);
    }
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(text) => {
            // Help and version are answers, everything else is a usage error: clap knows which.
            let _ = text.print();
            return ExitCode::from(if text.use_stderr() { exit::code(Kind::Invalid) } else { 0 });
        }
    };
    match cli.verb {
        Verb::Mount(args) => leave_mount(start::mount(args), exit::code),
        verb => leave(run_verb(verb), exit::code),
    }
}

fn run_verb(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Mount(args) => return start::mount(args),
        Verb::Node(NodeArgs {}) => start::node()?,
        Verb::Umount(args) => umount::umount(&args.dir, args.lazy)?,
        Verb::Status(args) => {
            let text = status::status(args.json)?;
            if args.json || !terminal::is_for_people() {
                print(&text)?;
            } else {
                print_painted(&status::for_people(&text, SystemTime::now(), terminal::has_colours()))?;
            }
        }
        Verb::Doctor(args) => {
            let findings = doctor::judge(&facts::gather(run::ask_tmux, run::check_config));
            if args.json {
                print(&doctor::json(&findings))?;
            } else if terminal::is_for_people() {
                print_painted(&doctor::for_people(&findings, terminal::has_colours()))?;
            } else {
                print(&doctor::text(&findings))?;
            }
            return Ok(ExitCode::from(u8::from(doctor::is_bad(&findings))));
        }
        Verb::Agent(verb) => agent::run(verb)?,
        Verb::Session(args) => return session::run(args),
        Verb::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "muxfs", &mut script);
            print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints text of others: on a terminal its control bytes are escaped.
fn print(text: &str) -> Result<()> {
    if terminal::is_for_people() { print_painted(&terminal::printable(text)) } else { print_painted(text) }
}

/// Prints text with what was put in for the terminal. Standard output may be closed early (`muxfs
/// doctor | head -1`): no reason for a panic.
fn print_painted(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|e| Error::io("standard output", e)),
    }
}

/// What a mount needs of the machine is for `doctor` to say; a slip in the command line, and a node
/// that runs already, are not.
fn leave_mount(done: Result<ExitCode>, code: fn(Kind) -> u8) -> ExitCode {
    let slip = |kind| matches!(kind, Kind::Invalid | Kind::Interrupted | Kind::Busy | Kind::Exists);
    let done = done.map_err(|e| {
        if slip(e.kind) {
            return e;
        }
        Error::new(e.kind, format!("{}; `muxfs doctor` looks at all that a mount needs", e.text())).because(e)
    });
    leave(done, code)
}

fn leave(done: Result<ExitCode>, code: fn(Kind) -> u8) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("muxfs: {}", terminal::printable(error.text()));
        let mut cause = std::error::Error::source(&error);
        while let Some(e) = cause {
            tracing::debug!("because: {e}");
            cause = e.source();
        }
        ExitCode::from(code(error.kind))
    })
}

/// Diagnostics go to standard error, as much as `MUXFS_LOG` asks for (`debug`,
/// `muxfs_fs=trace`; default `warn`).
pub fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MUXFS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let made = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = made.with_ansi(false).try_init(); // a second call changes nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(args: &[&str]) -> MountArgs {
        match Cli::try_parse_from([&["muxfs", "mount"], args].concat()).unwrap().verb {
            Verb::Mount(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mount_takes_one_or_two_words() {
        let one = mount(&["/mux"]);
        assert_eq!((&*one.source(), one.dir().to_str()), ("local", Some("/mux")));
        let two = mount(&["muxfs", "/mux", "-o", "ro,nodev", "-f", "-o", "umask=077"]);
        assert_eq!((&*two.source(), two.dir().to_str()), ("muxfs", Some("/mux")));
        assert_eq!(mount(&["--", "muxfs", "-dir"]).dir().to_str(), Some("-dir"));
        assert!(two.foreground);
        assert_eq!(two.options, ["ro,nodev", "umask=077"]);
        assert!(Cli::try_parse_from(["muxfs", "mount"]).is_err());
        assert!(Cli::try_parse_from(["muxfs", "mount", "a", "b", "c"]).is_err());
    }
}
