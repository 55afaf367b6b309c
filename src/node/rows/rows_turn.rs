//! A turn's files: in `turns/ID/`, and its prompt in `queue/` while it waits.

use super::dir::{DirRow, Holds};
use super::row::{Answer, Fetched, File, Row};
use super::subject::TurnAt;
use super::text;
use crate::session::turns::book::Book;
use crate::session::turns::turn::Turn;
use crate::session::turns::wait::TurnWait;
use muxfs_tree::base::error::Result;
use muxfs_tree::base::later;

pub static ROWS: &[Row<TurnAt>] = &[
    Row::new(
        "prompt",
        0o400,
        "What was asked.",
        File::Fetched(Fetched { read: prompt, size: |t| t.turn.size + 1 }),
    ),
    Row::new(
        "reply",
        0o400,
        "What was answered, when the turn is over.",
        File::Fetched(Fetched { read: reply, size: |t| t.turn.reply_size }),
    ),
    Row::new(
        "status",
        0o400,
        "Its state, a word of TURNS in muxfs-tree(5); why; times; who wrote it.",
        File::View(|t| text::turn_status(t).lines()),
    ),
    Row::new(
        "wait",
        0o400,
        "Blocks until the turn is over, then prints how it ended.",
        File::Wait(|t| Box::new(TurnWait::new(t.session.clone(), t.turn.number))),
    ),
];

pub static DIR: DirRow<TurnAt> =
    DirRow::new("<turn>", 0o500, "One prompt, and what came of it.", &[Holds::Files(ROWS)]);

pub(super) fn prompt(t: TurnAt) -> Answer<Vec<u8>> {
    from_book(t, |book, turn| book.prompt(turn).map(ended_line))
}

pub(super) fn reply(t: TurnAt) -> Answer<Vec<u8>> {
    from_book(t, |book, turn| book.reply(turn).map(ended_line))
}

/// Texts lie on the disk: read on a thread that may wait.
fn from_book(t: TurnAt, read: fn(&Book, &Turn) -> Result<String>) -> Answer<Vec<u8>> {
    Box::pin(async move {
        let Some(book) = t.session.turns.book() else { return Ok(Vec::new()) };
        later::on_disk(move || read(&book, &t.turn)).await?.map(String::into_bytes)
    })
}

/// Texts are kept without their last newline; a file has one.
pub(super) fn ended_line(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
