//! The closed set of states, and what was seen that says so. docs/tree.md, "States". Pure.

use std::fmt;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready,
    Busy,
    /// Asks for an approval or an answer.
    Blocked,
    /// A usage limit is reached.
    Limited,
    /// The program ended by itself.
    Exited(Exit),
    /// Ended by `ctl stop`.
    Stopped,
    Unknown,
}

/// How a process ended, as far as tmux tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// tmux before 3.3 does not tell a signal.
    Untold,
}

impl State {
    /// The word alone, as `index` and JSON have it.
    pub fn word(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Busy => "busy",
            State::Blocked => "blocked",
            State::Limited => "limited",
            State::Exited(_) => "exited",
            State::Stopped => "stopped",
            State::Unknown => "unknown",
        }
    }

    /// Nothing runs in the pane any more.
    pub fn ended(self) -> bool {
        matches!(self, State::Exited(_) | State::Stopped)
    }
}

/// As `wait` prints it: `ready`, `exited 1`, `exited signal 9`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Exited(Exit::Code(code)) => write!(f, "exited {code}"),
            State::Exited(Exit::Signal(signal)) => write!(f, "exited signal {signal}"),
            _ => f.write_str(self.word()),
        }
    }
}

/// What a state was read off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Process table and terminal modes.
    Process,
    /// The shell's own marks in its output (OSC 133).
    Marks,
    /// A hook that the agent calls.
    Hook,
    /// A file in which the agent says it.
    AgentFile,
    /// The program's own word in its output (OSC 7501).
    Stream,
    /// The pane's title.
    Title,
    /// A rule of the agent's manifest about its screen.
    Screen,
    /// No output for a while.
    Quiet,
    /// The main pane is gone while the session lives.
    PaneGone,
    /// Nothing was seen yet.
    Nothing,
}

impl Evidence {
    pub fn word(self) -> &'static str {
        match self {
            Evidence::Process => "process",
            Evidence::Marks => "osc133",
            Evidence::Hook => "hook",
            Evidence::AgentFile => "agent file",
            Evidence::Stream => "osc7501",
            Evidence::Title => "title",
            Evidence::Screen => "screen",
            Evidence::Quiet => "quiet",
            Evidence::PaneGone => "pane gone",
            Evidence::Nothing => "-",
        }
    }
}

/// A state as published: who waits for it compares, who shows it prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    pub evidence: Evidence,
    /// Since when the state holds.
    pub since: SystemTime,
    /// When it was last looked at.
    pub at: SystemTime,
    /// The same two times for durations and comparisons: the wall clock may be set.
    pub held: Instant,
    pub looked: Instant,
    /// Observed after the last message went in: what `wait` needs.
    pub fresh: bool,
}

impl Seen {
    pub fn nothing(wall: SystemTime) -> Self {
        let now = Instant::now();
        Seen {
            state: State::Starting,
            evidence: Evidence::Nothing,
            since: wall,
            at: wall,
            held: now,
            looked: now,
            fresh: false,
        }
    }
}
