//! `queue/` and `turns/`: directories whose names come and go with a session's prompts.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::row::{At, Bound, File, Row};
use super::subject::{SessionAt, TurnAt};
use super::{LocalNode, PANES, PER_OBJECT, Shows, Spot, find, no_file, rows_turn};
use crate::error::{Kind, Result, fail};
use crate::session::ModeSet;
use crate::session::record::from_millis;
use crate::session::turns::turn::{Stage, Turn};
use crate::tree::{Accepts, Caller, Shape, Stat, TreePath};

pub const QUEUE: &str = "queue";
pub const TURNS: &str = "turns";
const QUEUE_DIR: u64 = 0xfd;
const TURNS_DIR: u64 = 0xfc;
/// Within a turn: its prompt in `queue/`.
const ITEM: u64 = 0xf0;

/// The one row of `queue/`; its name is the prompt's own.
pub static ITEM_ROW: Row<TurnAt> = Row {
    name: "<name>",
    mode: 0o600,
    about: "A prompt that waits; rm takes it back, mv gives it another name.",
    file: File::Item(rows_turn::prompt),
};

impl LocalNode {
    /// `queue`, `turns` and what is below them.
    pub(super) fn walk_turns(&self, s: SessionAt, dir: &str, rest: &[&str]) -> Result<Spot> {
        let modes = |path: &str| s.session.modes(path);
        let at = |turn: Turn| TurnAt { sessions: s.sessions.clone(), session: s.session.clone(), turn };
        let named = |name: &str| s.session.turns.book().and_then(|b| b.get(name)).map(at);
        match (dir, rest) {
            (QUEUE, []) => Ok(Spot::Dir {
                id: s.session.serial << PER_OBJECT | QUEUE_DIR,
                accepts: Accepts::Items,
                modes: modes(QUEUE),
                shows: Shows::Queue(s),
            }),
            (TURNS, []) => Ok(Spot::Dir {
                id: s.session.serial << PER_OBJECT | TURNS_DIR,
                accepts: Accepts::Nothing,
                modes: ModeSet { mode: modes(TURNS).mode.or(Some(0o500)), ..modes(TURNS) },
                shows: Shows::Turns(s),
            }),
            (QUEUE, [name]) => match named(name).filter(|t| t.turn.stage == Stage::Queued) {
                Some(turn) => Ok(item(turn, modes(&format!("{QUEUE}/{name}")))),
                None => no_file(name),
            },
            (TURNS, [name]) => match named(name) {
                Some(t) => {
                    let id = t.turn.serial << PER_OBJECT;
                    let modes = ModeSet { mode: Some(0o500), gid: None };
                    Ok(Spot::Dir { id, accepts: Accepts::Nothing, modes, shows: Shows::Turn(t) })
                }
                None => no_file(name),
            },
            (TURNS, [name, file]) => {
                let Some(turn) = named(name) else { return no_file(name) };
                let Some((n, rotated)) = find(rows_turn::ROWS, file) else { return no_file(file) };
                let serial = turn.turn.serial;
                self.file(rows_turn::ROWS, n, rotated, turn, serial, n as u64 + 1, ModeSet::default())
            }
            _ => no_file(rest.last().unwrap_or(&dir)),
        }
    }

    pub(super) fn turn_names(s: &SessionAt, waiting: bool) -> Vec<String> {
        let Some(book) = s.session.turns.book() else { return Vec::new() };
        let turns = if waiting { book.queue() } else { book.all() };
        turns.into_iter().map(|t| t.name).collect()
    }

    /// Whether a prompt may be put into `queue/` now. A door may keep one that is not finished under a
    /// name that no prompt has.
    pub(super) fn admit_prompt(&self, s: &SessionAt, name: &str) -> Result<()> {
        check_text(name)?;
        if !self.sessions.turns_on(&s.session) {
            return fail(
                Kind::Never,
                format!("{}: its turns are off; input takes prompts", s.session.shown()),
            );
        }
        self.sessions.can_store()?;
        s.session.main().check_alive()
    }

    /// `cp p.md queue/NAME`.
    pub(super) async fn make_prompt(&self, who: &Caller, at: &TreePath, body: Bytes) -> Result<Stat> {
        let names: Vec<&str> = at.names().collect();
        let [session, QUEUE, name] = *names.as_slice() else {
            return fail(Kind::Never, format!("{at}: no files are made here"));
        };
        let s = self.session(session)?;
        if !who.may(&self.stat_of(&self.walk(&at.parent())?), crate::tree::Access::Write) {
            return fail(Kind::Denied, format!("{at}: not for writing"));
        }
        check_name(name)?;
        self.admit_prompt(&s, name)?;
        let Some(turn) = accept(&s, who, Some(name), body).await? else {
            return fail(Kind::Invalid, format!("{name}: an empty prompt"));
        };
        let turn = TurnAt { sessions: s.sessions.clone(), session: s.session.clone(), turn };
        // It may be on its way already: then its name is no longer in the queue.
        Ok(self.stat_of(&item(turn, ModeSet::default())))
    }

    /// `mv queue/NAME queue/OTHER`.
    pub(super) async fn rename_prompt(
        &self,
        who: &Caller,
        t: &TurnAt,
        from: &TreePath,
        to: &str,
    ) -> Result<()> {
        if !who.may(&self.stat_of(&self.walk(&from.parent())?), crate::tree::Access::Write) {
            return fail(Kind::Denied, format!("{from}: not yours to rename"));
        }
        check_name(to)?;
        self.sessions.rename_turn(&t.session, &t.turn, to.to_owned()).await
    }

    /// The session whose `input` this is, where its prompts wait for their turn.
    pub(super) fn takes_turns(&self, at: &TreePath) -> Option<SessionAt> {
        let names: Vec<&str> = at.names().collect();
        let (session, pane) = match *names.as_slice() {
            [session, "input"] => (session, None),
            [session, PANES, pane, "input"] => (session, Some(pane)),
            _ => return None,
        };
        let s = self.session(session).ok().filter(|s| self.sessions.turns_on(&s.session))?;
        let main = s.session.main();
        let is_main =
            |p: &str| s.session.panes().iter().any(|(name, it)| name == p && Arc::ptr_eq(it, &main));
        pane.is_none_or(is_main).then_some(s)
    }

    /// Waits until the prompt `queue/NAME` is delivered.
    pub(super) async fn prompt_delivered(&self, at: &TreePath) -> Result<()> {
        let names: Vec<&str> = at.names().collect();
        let [session, QUEUE, name] = *names.as_slice() else { return Ok(()) };
        let s = self.session(session)?;
        match s.session.turns.book().and_then(|b| b.get(name)) {
            Some(turn) => self.sessions.until_delivered(&s.session, &turn).await,
            None => Ok(()), // so long ago that it is no longer shown
        }
    }

    /// `rm queue/NAME`.
    pub(super) async fn withdraw_prompt(&self, t: &TurnAt) -> Result<()> {
        self.sessions.withdraw(&t.session, &t.turn).await
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.starts_with('.') {
        return fail(Kind::Never, format!("{name}: a prompt's name does not begin with a dot"));
    }
    check_text(name)
}

fn check_text(name: &str) -> Result<()> {
    if name.chars().any(char::is_control) {
        return fail(Kind::Invalid, format!("{name:?}: a prompt's name holds no control characters"));
    }
    Ok(())
}

fn item(turn: TurnAt, modes: ModeSet) -> Spot {
    let id = turn.turn.serial << PER_OBJECT | ITEM;
    Spot::Item { id, file: At { row: &ITEM_ROW, subject: turn, rotated: false }, modes }
}

/// Stores a prompt.
pub(super) async fn accept(
    s: &SessionAt,
    who: &Caller,
    name: Option<&str>,
    body: Bytes,
) -> Result<Option<Turn>> {
    s.sessions.accept(&s.session, who, name.map(str::to_owned), &body).await
}

/// Stores a prompt and waits until it is delivered.
pub(super) async fn deliver(s: &SessionAt, who: &Caller, body: Bytes) -> Result<()> {
    match accept(s, who, None, body).await? {
        Some(turn) => s.sessions.until_delivered(&s.session, &turn).await,
        None => Ok(()),
    }
}

/// An item's own size and time.
pub(super) fn stat_of_item(stat: Stat, file: &At<TurnAt>) -> Stat {
    let turn = &file.subject.turn;
    debug_assert_eq!(file.shape(), Shape::Item);
    Stat { size: turn.size + 1, mtime: from_millis(turn.accepted), ..stat }
}

/// When a turn was taken in.
pub(super) fn accepted(t: &TurnAt) -> SystemTime {
    from_millis(t.turn.accepted)
}
