//! One prompt on its way: where it is, and how it ended. Pure.

use serde::{Deserialize, Serialize};

use muxfs_tree::caller::Origin;

/// Where a prompt is. A closed set: [`Stage::TABLE`] is what the manual prints of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Queued,
    Typing,
    Running,
    Done,
    Interrupted,
    Limited,
    Failed,
    TimedOut,
    Uncertain,
    Withdrawn,
}

impl Stage {
    /// Each with its word and its meaning, in the order of a turn's life.
    pub const TABLE: &[(Stage, &str, &str)] = &[
        (Stage::Queued, "queued", "It is on disk and waits for its turn."),
        (Stage::Typing, "typing", "It is on its way into the pane. From here on it is never sent again."),
        (Stage::Running, "running", "The agent took it and works on it."),
        (Stage::Done, "done", "The agent was seen ready after it."),
        (
            Stage::Interrupted,
            "interrupted",
            "It was stopped: by `ctl interrupt`, by a key at the terminal, or by the refusal of what the agent asked for.",
        ),
        (
            Stage::Limited,
            "limited",
            "The agent answered with a notice that it cannot work now: a usage limit, its login, its model, the network. The queue waits until that is over.",
        ),
        (
            Stage::Failed,
            "failed",
            "The program or the session ended first, or the agent answered with an error.",
        ),
        (
            Stage::TimedOut,
            "timed out",
            "It was given up after `turns.hold` without a sign of work, or after `turns.max`.",
        ),
        (
            Stage::Uncertain,
            "uncertain",
            "It may have been taken or not, in whole or in part: the daemon died while it was typed, no Enter was taken, or the agent's own record does not have it.",
        ),
        (Stage::Withdrawn, "withdrawn", "It was taken back before it was typed."),
    ];

    pub fn word(self) -> &'static str {
        match self {
            Stage::Queued => "queued",
            Stage::Typing => "typing",
            Stage::Running => "running",
            Stage::Done => "done",
            Stage::Interrupted => "interrupted",
            Stage::Limited => "limited",
            Stage::Failed => "failed",
            Stage::TimedOut => "timed out",
            Stage::Uncertain => "uncertain",
            Stage::Withdrawn => "withdrawn",
        }
    }

    /// Nothing more will happen to it.
    pub fn ended(self) -> bool {
        !matches!(self, Stage::Queued | Stage::Typing | Stage::Running)
    }
}

/// Who wrote it. Rows of earlier versions have the uid alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    #[serde(flatten)]
    pub from: Origin,
    /// Of a user of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
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
    pub origin: Author,
    /// The gesture that it was accepted by, with its caller; where that may be sent again.
    pub gesture: Option<String>,
    pub accepted: u64,
    pub sent: Option<u64>,
    pub ended: Option<u64>,
    /// Bytes of the prompt.
    pub size: u64,
    /// Bytes of the answer with its last newline; 0 where there is none.
    pub reply_size: u64,
    pub(super) rows: Box<Rows>,
}

/// Where the rows of a turn lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    pub prompt: Span,
    /// That it has another name now.
    pub renamed: Option<Span>,
    /// That it is being typed.
    pub typing: Option<Span>,
    /// The newest that says where it is.
    pub last: Option<Span>,
    /// The one with its answer.
    pub reply: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_stage_once() {
        // A stage more makes this match incomplete: then it is a row more, too.
        let place = |stage| match stage {
            Stage::Queued => 0,
            Stage::Typing => 1,
            Stage::Running => 2,
            Stage::Done => 3,
            Stage::Interrupted => 4,
            Stage::Limited => 5,
            Stage::Failed => 6,
            Stage::TimedOut => 7,
            Stage::Uncertain => 8,
            Stage::Withdrawn => 9,
        };
        let places: Vec<usize> = Stage::TABLE.iter().map(|(stage, ..)| place(*stage)).collect();
        assert_eq!(places, (0..10).collect::<Vec<_>>());
        for (stage, word, _) in Stage::TABLE {
            assert_eq!(stage.word(), *word);
            let stored = serde_json::to_string(stage).unwrap();
            assert_eq!(stored, format!("\"{}\"", word.replace(' ', "")), "the book's word for it stays");
        }
    }
}
