//! What the fake agent can be told on its command line. Knows no more than the words.

use std::path::PathBuf;

use clap::Parser;

/// A fake agent CLI for tests.
///
/// Words in a prompt direct the answer: SLOW<ms>, ASK (or Run), SAY(text), LINES<n>, CRASH, EXIT<n>, SPOOF.
/// Otherwise it is "echo: " and the prompt's first line.
#[derive(Debug, Clone, Parser)]
pub struct Options {
    /// How long an answer takes, in ms
    #[arg(long, default_value_t = 200)]
    pub busy: u64,
    /// A turn, or a limit, lasts until this file is there, whatever time was given; it is removed
    #[arg(long)]
    pub go: Option<PathBuf>,
    /// Reads nothing from the terminal while this file is there
    #[arg(long)]
    pub hold: Option<PathBuf>,
    /// How often the spinner turns while busy, in Hz
    #[arg(long, default_value_t = 10)]
    pub repaint: u32,
    /// On the alternate screen
    #[arg(long)]
    pub alt: bool,
    /// Before the first picture, in ms
    #[arg(long, default_value_t = 0)]
    pub start: u64,
    /// Shows a menu of logins at start, for ever
    #[arg(long)]
    pub login: bool,
    /// Asks at start whether the directory is trusted; the default is "No, exit"
    #[arg(long)]
    pub trust: bool,
    /// The prompt of this number meets a limit, and is answered when that has passed
    #[arg(long)]
    pub limit: Option<usize>,
    /// How long a limit lasts, in ms
    #[arg(long, default_value_t = 3000)]
    pub limit_for: u64,
    /// Exits with this status before it shows anything
    #[arg(long)]
    pub exit_at_start: Option<u8>,
    /// Dies of a signal in the prompt of this number
    #[arg(long)]
    pub crash_after: Option<usize>,
    /// So many Enters are not heeded
    #[arg(long, default_value_t = 0)]
    pub swallow: usize,
    /// An Enter within so many ms of the last text is a new line in the draft
    #[arg(long, default_value_t = 0)]
    pub settle: u64,
    /// The first Enter only empties the composer, for so many ms
    #[arg(long)]
    pub flicker: Option<u64>,
    /// An interrupt puts the prompt back as a draft, after so many ms
    #[arg(long)]
    pub restore: Option<u64>,
    /// A tool in the background asks for an approval, for 0.1 s, at moments near the Enter of a prompt
    #[arg(long)]
    pub ambush: bool,
    /// Asks for no approval
    #[arg(long)]
    pub danger: bool,
    /// Heeds no SIGHUP, and has a child in a session of its own that does not either
    #[arg(long)]
    pub stubborn: bool,
    /// Heeds no SIGTERM
    #[arg(long)]
    pub deaf: bool,
    /// HOST:PORT of a server with OpenAI's chat completions, which answers the prompts
    #[arg(long)]
    pub llm: Option<String>,
    /// Writes its conversation where Claude Code would, in its format
    #[arg(long)]
    pub claude_history: bool,
    /// Writes its state where Claude Code would, in its format
    #[arg(long)]
    pub claude_status: bool,
    /// The conversation's id
    #[arg(long)]
    pub session_id: Option<String>,
    /// Takes a conversation up again that --claude-history wrote
    #[arg(long)]
    pub resume: Option<String>,
    /// Hooks to run, in the format of Claude Code's settings
    #[arg(long)]
    pub settings: Option<PathBuf>,
    /// Sets the terminal's title to its state
    #[arg(long)]
    pub title: bool,
    /// Says its state by OSC 7501
    #[arg(long)]
    pub osc7501: bool,
    /// Every byte received and every prompt taken, one JSON object a line
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// Said to itself only: the child of --stubborn.
    #[arg(long, hide = true)]
    pub child: bool,
}
