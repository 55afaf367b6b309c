//! One prompt on its way: where it is, and how it ended. Pure.

use serde::{Deserialize, Serialize};

/// Where a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// On disk, waits for its turn.
    Queued,
    /// On its way into the pane: from here on it is never sent again.
    Typing,
    /// Taken by the agent.
    Running,
    /// The agent was seen ready after it.
    Done,
    /// Ended by `ctl interrupt`.
    Interrupted,
    /// Ended by the hold limit, or by the hard one.
    TimedOut,
    /// The daemon died while it was typed: it may have been taken or not.
    Uncertain,
    /// Taken back before it was typed.
    Withdrawn,
    /// The program or session ended first.
    Failed,
}

impl Stage {
    pub fn word(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Typing => "typing",
            Stage::Running => "running",
            Stage::Done => "done",
            Stage::Interrupted => "interrupted",
            Stage::TimedOut => "timed out",
            Stage::Uncertain => "uncertain",
            Stage::Withdrawn => "withdrawn",
            Stage::Failed => "failed",
        }
    }

    /// Nothing more will happen to it.
    pub fn ended(self) -> bool {
        !matches!(self, Stage::Queued | Stage::Typing | Stage::Running)
    }
}

/// Who wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub uid: u32,
    /// A first prompt of the settings: before all others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub init: bool,
}

/// Where a text lies in the book's file: a row's first byte and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub at: u64,
    pub len: u64,
}

/// What is kept in memory of a turn. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Counts from 1 in the order of acceptance, and is never used again.
    pub number: u64,
    /// `0001`, or a name of the writer's own.
    pub name: String,
    pub stage: Stage,
    /// Why it failed or was ended, where the stage alone does not say.
    pub why: Option<String>,
    pub origin: Origin,
    pub accepted: u64,
    pub sent: Option<u64>,
    pub ended: Option<u64>,
    /// Distinct among all that this process ever shows.
    pub serial: u64,
    /// Bytes of the prompt.
    pub size: u64,
    pub(super) prompt: Span,
    pub(super) reply: Option<Span>,
}
