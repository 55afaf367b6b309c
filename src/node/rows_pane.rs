//! A pane's files: in `panes/WINDOW.PANE/`, and those of the main pane in the session itself.

use std::sync::Arc;

use bytes::Bytes;

use super::row::{Answer, Fetched, File, Row};
use super::subject::{PaneAt, SessionAt};
use super::{text, turns};
use crate::error::Result;
use crate::session::input::Message;
use crate::tmux::Capture;
use crate::tree::{Caller, Unit};

pub static ROWS: &[Row<PaneAt>] = &[
    Row {
        name: "input",
        mode: 0o200,
        about: "A prompt: pasted as one, then Enter. At most 1 MiB of UTF-8. With turns on it is stored and waits for its turn.",
        file: File::Sink(Unit::Message, input),
    },
    Row {
        name: "steer",
        mode: 0o200,
        about: "The same, at once: also while the agent works. EBUSY while it asks something.",
        file: File::Sink(Unit::Message, |p, who, body| deliver(p, who, body, Message::prompt)),
    },
    Row {
        name: "text",
        mode: 0o200,
        about: "Typed as it is, no Enter.",
        file: File::Sink(Unit::Message, |p, who, body| deliver(p, who, body, Message::text)),
    },
    Row {
        name: "keys",
        mode: 0o200,
        about: "tmux key names between white space: C-c, Escape, Up, F1, M-x. An unknown one sends nothing.",
        file: File::Sink(Unit::Line, |p, who, body| deliver(p, who, body, Message::keys)),
    },
    Row {
        name: "output",
        mode: 0o400,
        about: "Scrollback and screen, plain text, wrapped lines joined; the last 16 MiB. As it was at the open: `tail -f` follows `logs`.",
        file: File::Fetched(Fetched {
            read: |p| capture(p, Capture::Output),
            size: |p| p.pane.capture_size(Capture::Output),
        }),
    },
    Row {
        name: "screen",
        mode: 0o400,
        about: "The visible screen.",
        file: File::Fetched(Fetched {
            read: |p| capture(p, Capture::Screen),
            size: |p| p.pane.capture_size(Capture::Screen),
        }),
    },
    Row {
        name: "screen.ansi",
        mode: 0o400,
        about: "The visible screen with its colours.",
        file: File::Fetched(Fetched {
            read: |p| capture(p, Capture::ScreenAnsi),
            size: |p| p.pane.capture_size(Capture::ScreenAnsi),
        }),
    },
    Row {
        name: "logs",
        mode: 0o400,
        about: "A readable transcript, line by line, without escapes or repaints.",
        file: File::Log(|p| p.pane.logs.clone()),
    },
    Row {
        name: "raw",
        mode: 0o400,
        about: "The pane's bytes as they came.",
        file: File::Log(|p| p.pane.raw.clone()),
    },
    Row {
        name: "status",
        mode: 0o400,
        about: "State, process, size and title of this pane.",
        file: File::View(|p| text::pane_status(p).lines()),
    },
];

/// The rows of the main pane that the session's directory shows; its `status` is its own.
pub fn main() -> impl Iterator<Item = (usize, &'static Row<PaneAt>)> {
    ROWS.iter().enumerate().filter(|(_, row)| row.name != "status")
}

fn input(p: PaneAt, who: Caller, body: Bytes) -> Answer<()> {
    let main = Arc::ptr_eq(&p.pane, &p.session.main());
    if !main || !p.sessions.turns_on(&p.session) {
        return deliver(p, who, body, Message::prompt);
    }
    Box::pin(async move {
        let at = SessionAt { sessions: p.sessions, session: p.session };
        turns::accept(&at, &who, None, body).await.map(drop)
    })
}

fn deliver(p: PaneAt, who: Caller, body: Bytes, read: fn(&[u8]) -> Result<Message>) -> Answer<()> {
    Box::pin(async move { p.sessions.deliver(&p.session, &p.pane, &who, read(&body)?).await })
}

fn capture(p: PaneAt, what: Capture) -> Answer<Vec<u8>> {
    Box::pin(async move { p.sessions.capture(&p.pane, what).await })
}
