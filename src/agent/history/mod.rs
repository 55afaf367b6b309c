//! What the agents themselves keep of their conversations: listed, read, and followed.
//!
//! Reads files and databases and never writes one. Knows where each agent keeps its things and
//! what its rows mean; must not know tmux, sessions, sockets or the tree.
//!
//! Everything here is bounded: see [`files`] for how much one call may read.

mod agy;
mod aider;
mod claude;
mod codex;
mod continue_cli;
mod copilot;
mod cwd;
mod files;
mod gemini;
mod jsonl;
mod opencode;
mod qwen;
mod sqlite;
mod text;
mod turn;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muxfs_tree::base::error::Result;

pub use files::{BUDGET, LOOKED, MOST, WINDOW};
pub use text::{last_reply, transcript};
pub use turn::{End, Got, TurnRecord, difference, turn};

/// One conversation with an agent, as its own records have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The adapter's name.
    pub agent: &'static str,
    /// What the agent resumes it by; for aider, which has no ids, the time it began.
    pub id: String,
    /// Empty where the agent does not say.
    pub cwd: String,
    /// The title it was given, else the first prompt: one line, at most 200 characters.
    pub title: String,
    pub started: Option<SystemTime>,
    pub updated: SystemTime,
    /// The user's prompts that were counted.
    pub prompts: u64,
    /// There may be more prompts: the record is too large to be counted for a listing.
    pub at_least: bool,
    /// The file or database.
    pub place: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    User,
    Agent,
    /// A tool's call or its outcome, shortened.
    Tool,
    /// Said by the program itself: what was left out, what a hook did.
    Note,
    /// The user stopped the turn, or refused what it asked for, and it went no further.
    Interrupt,
    /// The program says in the place of an answer why there is none: a limit, an error of the model.
    Fault,
}

/// One thing said. Never blank, and without control characters but newline and tab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub who: Who,
    pub text: String,
    pub time: Option<SystemTime>,
}

/// Where an agent keeps its things.
pub struct Home<'a> {
    pub home: &'a Path,
    /// The environment of the agent: `CLAUDE_CONFIG_DIR` and kin move its files.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

#[derive(Debug, Default)]
pub struct Listing {
    /// Newest first, at most [`MOST`].
    pub found: Vec<Conversation>,
    /// A line each: a file and what is wrong with it.
    pub trouble: Vec<String>,
    /// Bytes of files that were read for it.
    pub read: u64,
}

/// How far a conversation was read: nothing before it is read again. The default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// A byte of a file, a time in a database, or a number of messages.
    at: u64,
    /// The id of the last message read, where a row can come twice.
    last: String,
}

/// One agent's records. Calls block on the disk: at most about [`BUDGET`] bytes for a listing and
/// [`WINDOW`] bytes for anything else.
pub trait Adapter: Sync {
    /// With a directory, the conversations held in it alone; without, all.
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing;

    /// One conversation, by its id. None where there is none yet, or where it is another directory's.
    fn find(&self, home: &Home, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        self.list(home, cwd).found.into_iter().find(|c| c.id == id)
    }

    /// What was said after `mark`, and the mark after it. A message that is still being written
    /// is told when it is whole. If more than [`WINDOW`] bytes came, the newest of them, after
    /// a note that says so.
    fn since(&self, home: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)>;

    /// The mark after all that is there now, without reading it.
    fn end(&self, home: &Home, c: &Conversation) -> Result<Mark>;

    /// All of it, or the newest [`WINDOW`] bytes.
    fn entries(&self, home: &Home, c: &Conversation) -> Result<Vec<Entry>> {
        Ok(self.since(home, c, &Mark::default())?.0)
    }
}

/// The adapter that a manifest names.
pub fn adapter(name: &str) -> Option<&'static dyn Adapter> {
    Some(match name {
        "agy" => &agy::Agy,
        "aider" => &aider::Aider,
        "claude" => &claude::Claude,
        "codex" => &codex::Codex,
        "continue" => &continue_cli::Continue,
        "copilot" => &copilot::Copilot,
        "gemini" => &gemini::Gemini,
        "opencode" => &opencode::Opencode,
        "qwen" => &qwen::Qwen,
        _ => return None,
    })
}

/// The names of all adapters.
pub const ADAPTERS: &[&str] =
    &["agy", "aider", "claude", "codex", "continue", "copilot", "gemini", "opencode", "qwen"];

impl Home<'_> {
    /// The directory that `var` names, else `default` under the home directory.
    fn dir(&self, var: &str, default: &str) -> PathBuf {
        let default = self.home.join(default);
        match (self.env)(var).filter(|v| !v.is_empty()) {
            // As the agents have it; a relative path would be from a directory not known here.
            Some(set) => match set.strip_prefix("~/") {
                Some(rest) => self.home.join(rest),
                None if set.starts_with('/') => set.into(),
                None => default,
            },
            None => default,
        }
    }
}

impl Entry {
    /// None for a text without anything to read.
    fn new(who: Who, text: &str, time: Option<SystemTime>) -> Option<Self> {
        let text = text::clean(text);
        (!text.trim().is_empty()).then_some(Entry { who, text, time })
    }

    fn note(text: impl Into<String>) -> Self {
        Entry { who: Who::Note, text: text.into(), time: None }
    }
}

/// An id becomes part of a path: one plain name.
fn plain(id: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.chars().all(fits)
}
