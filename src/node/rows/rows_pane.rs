//! A pane's files: in `panes/WINDOW.PANE/`, and those of the main pane in the session itself.

use bytes::Bytes;

use super::dir::{Described, DirAt, DirRow, Found, Holds, Others, Subject, file_names, find_file, join};
use super::row::{Answer, Fetched, File, Prompts, Row};
use super::subject::{PaneAt, SessionAt};
use super::{text, turns};
use crate::session::input::Message;
use muxfs_tmux::Capture;
use muxfs_tree::base::error::Result;
use muxfs_tree::id::Ids;
use muxfs_tree::{Gesture, Unit, Until};

/// The files that a pane has wherever it is shown.
pub static ROWS: &[Row<PaneAt>] = &[
    Row::new(
        "input",
        0o200,
        "A prompt: pasted as one, then Enter. At most 1 MiB of UTF-8. With turns on it is stored and waits for its turn.",
        File::Prompts(Prompts { queues: PaneAt::queues, before, write: input }),
    )
    .needs(PaneAt::takes_prompts),
    Row::new(
        "steer",
        0o200,
        "The same, at once: also while the agent works. EBUSY while it asks something.",
        File::Sink(Unit::Message, |p, gesture, body| deliver(p, gesture, body, Message::prompt)),
    )
    .needs(PaneAt::takes_prompts_at_once),
    Row::new(
        "text",
        0o200,
        "Typed as it is, no Enter.",
        File::Sink(Unit::Message, |p, gesture, body| deliver(p, gesture, body, Message::text)),
    )
    .needs(PaneAt::is_alive),
    Row::new(
        "keys",
        0o200,
        "tmux key names between white space: C-c, Escape, Up, F1, M-x. An unknown one sends nothing.",
        File::Sink(Unit::Line, |p, gesture, body| deliver(p, gesture, body, Message::keys)),
    )
    .needs(PaneAt::is_alive),
    Row::new(
        "output",
        0o400,
        "Scrollback and screen, plain text, wrapped lines joined; the last 16 MiB. As it was at the open: `tail -f` follows `logs`.",
        File::Fetched(Fetched {
            read: |p| capture(p, Capture::Output),
            size: |p| p.pane.capture_size(Capture::Output),
        }),
    ),
    Row::new(
        "screen",
        0o400,
        "The visible screen.",
        File::Fetched(Fetched {
            read: |p| capture(p, Capture::Screen),
            size: |p| p.pane.capture_size(Capture::Screen),
        }),
    ),
    Row::new(
        "screen.ansi",
        0o400,
        "The visible screen with its colours.",
        File::Fetched(Fetched {
            read: |p| capture(p, Capture::ScreenAnsi),
            size: |p| p.pane.capture_size(Capture::ScreenAnsi),
        }),
    ),
    Row::new(
        "logs",
        0o400,
        "A readable transcript, line by line, without escapes or repaints.",
        File::Log(|p| p.pane.logs.clone()),
    ),
    Row::new(
        "raw",
        0o400,
        "The pane's bytes as they came.",
        File::Log(|p| p.pane.raw.clone()),
    ),
];

/// The files that a pane has in its own directory alone: a session has its own `status`.
static OWN: &[Row<PaneAt>] = &[Row::new(
    "status",
    0o400,
    "State, process, size and title of this pane.",
    File::View(|p| text::pane_status(p).lines()),
)];

pub static DIR: DirRow<PaneAt> = DirRow::new(
    "<window>.<pane>",
    0o700,
    "The files of one pane, as tmux numbers it.",
    &[Holds::Files(ROWS), Holds::Files(OWN)],
);

pub static PANES: DirRow<SessionAt> = DirRow {
    lacks: "pane",
    ..DirRow::new(
        "panes",
        0o700,
        "One directory a pane, `<window>.<pane>`; the session's own files act on its main pane.",
        &[Holds::Others(&All)],
    )
};

/// Every pane of a session.
struct All;

impl Others<SessionAt> for All {
    fn names(&self, s: &SessionAt) -> Vec<String> {
        s.session.panes().into_iter().map(|(name, _)| name).collect()
    }

    fn find(&self, s: &SessionAt, ids: &Ids, path: &str, name: &str) -> Option<Found> {
        let pane = s.session.pane(name)?;
        let pane = PaneAt { sessions: s.sessions.clone(), session: s.session.clone(), pane };
        let path = join(path, name);
        let modes = s.modes(&path);
        Some(DirAt::found(&DIR, pane, ids, path, modes))
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.dir(dir, &DIR);
    }
}

/// The files of the main pane in the session's directory.
pub(super) struct OfMain;

impl Others<SessionAt> for OfMain {
    fn names(&self, _: &SessionAt) -> Vec<String> {
        self.file_names()
    }

    fn file_names(&self) -> Vec<String> {
        file_names(ROWS).collect()
    }

    fn find(&self, s: &SessionAt, ids: &Ids, path: &str, name: &str) -> Option<Found> {
        find_file(ROWS, &s.main(), ids, s.main_id(ids), path, name)
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.files(dir, ROWS);
    }
}

fn input(p: PaneAt, gesture: Gesture, body: Bytes, until: Until) -> Answer<Option<String>> {
    Box::pin(async move {
        if !p.queues() {
            deliver(p, gesture, body, Message::prompt).await?;
            return Ok(None);
        }
        let at = SessionAt { sessions: p.sessions, session: p.session };
        let turn = turns::accept(&at, &gesture, None, body, until).await?;
        Ok(turn.map(|turn| turn.name))
    })
}

/// The turn of a prompt to the main pane that this gesture brought before.
fn before(p: &PaneAt, gesture: &Gesture) -> Option<String> {
    if !p.is_main() {
        return None;
    }
    p.sessions.turns.accepted_before(&p.session, gesture).map(|turn| turn.name)
}

fn deliver(p: PaneAt, gesture: Gesture, body: Bytes, read: fn(&[u8]) -> Result<Message>) -> Answer<()> {
    Box::pin(async move { p.sessions.turns.deliver(&p.session, &p.pane, &gesture, read(&body)?).await })
}

fn capture(p: PaneAt, what: Capture) -> Answer<Vec<u8>> {
    Box::pin(async move { p.sessions.connection.capture(&p.pane, what).await })
}
