//! `queue/` and `turns/`: directories whose names come and go with a session's prompts.

use std::time::SystemTime;

use bytes::Bytes;

use super::dir::{
    Described, DirAt, DirRow, Found, Holds, Made, Makes, MakesItems, Others, Subject, What, join,
};
use super::row::{Answer, At, File, Item, Row};
use super::rows_turn;
use super::subject::{SessionAt, TurnAt};
use crate::session::ModeSet;
use crate::session::record::from_millis;
use crate::session::turns::turn::{Stage, Turn};
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::id::Ids;
use muxfs_tree::{Gesture, Until};

pub static QUEUE: DirRow<SessionAt> = DirRow {
    makes: Makes::Items(MakesItems { admit, make }),
    ..DirRow::new(
        "queue",
        0o700,
        "The prompts that wait, in their order. A file made here is a prompt of that name; rm takes it back.",
        &[Holds::Others(&Waiting)],
    )
};

pub static TURNS: DirRow<SessionAt> = DirRow {
    lacks: "turn",
    ..DirRow::new(
        "turns",
        0o500,
        "One directory a prompt, by number or by a name of its own; the last 1,000.",
        &[Holds::Others(&All)],
    )
};

/// The one row of `queue/`; its name is the prompt's own.
static ITEMS: [Row<TurnAt>; 1] = [Row::new(
    "<name>",
    0o600,
    "A prompt that waits; rm takes it back, mv gives it another name.",
    File::Item(Item { read: rows_turn::prompt, meta, remove, rename }),
)];

/// The prompts that wait.
struct Waiting;

impl Others<SessionAt> for Waiting {
    fn names(&self, s: &SessionAt) -> Vec<String> {
        names(s.session.turns.book().map(|book| book.queue()))
    }

    fn find(&self, s: &SessionAt, ids: &Ids, path: &str, name: &str) -> Option<Found> {
        let turn = s.session.turns.book()?.get(name).filter(|turn| turn.stage == Stage::Queued)?;
        Some(item(s.turn(turn), ids, s.modes(&join(path, name))))
    }

    fn has_lost(&self, s: &SessionAt, ids: &Ids, id: u64) -> bool {
        let all = s.session.turns.book().map_or_else(Vec::new, |book| book.all());
        // One that is under way, or over, was not taken back.
        let of = |turn: &Turn| item_id(&s.turn(turn.clone()), ids) == id;
        all.iter().find(|turn| of(turn)).is_none_or(|turn| turn.stage == Stage::Withdrawn)
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.files(dir, &ITEMS);
    }
}

/// All turns that are shown.
struct All;

impl Others<SessionAt> for All {
    fn names(&self, s: &SessionAt) -> Vec<String> {
        names(s.session.turns.book().map(|book| book.all()))
    }

    fn find(&self, s: &SessionAt, ids: &Ids, path: &str, name: &str) -> Option<Found> {
        let turn = s.turn(s.session.turns.book()?.get(name)?);
        Some(DirAt::found(&rows_turn::DIR, turn, ids, join(path, name), ModeSet::default()))
    }

    fn describe(&self, dir: &str, to: &mut Described) {
        to.dir(dir, &rows_turn::DIR);
    }
}

fn names(turns: Option<Vec<Turn>>) -> Vec<String> {
    turns.unwrap_or_default().into_iter().map(|turn| turn.name).collect()
}

fn item_id(turn: &TurnAt, ids: &Ids) -> u64 {
    ids.below(turn.id(ids), "queue")
}

fn item(turn: TurnAt, ids: &Ids, modes: ModeSet) -> Found {
    let id = item_id(&turn, ids);
    let file = At { row: &ITEMS[0], subject: turn, rotated: false };
    Found { id, modes, what: What::File(Box::new(file)) }
}

fn meta(t: &TurnAt) -> (u64, SystemTime) {
    (t.turn.size + 1, from_millis(t.turn.accepted))
}

fn remove(t: TurnAt) -> Answer<()> {
    Box::pin(async move { t.sessions.turns.withdraw(&t.session, &t.turn).await })
}

fn rename(t: TurnAt, to: String) -> Answer<()> {
    Box::pin(async move {
        check_name(&to)?;
        t.sessions.turns.rename_turn(&t.session, &t.turn, to).await
    })
}

/// Whether a prompt of this name may be put into `queue/` now. A door may keep one that is not
/// finished under a name that no prompt has.
fn admit(s: &SessionAt, name: &str) -> Result<()> {
    if s.session.turns.book().is_some_and(|b| b.is_used(name)) {
        return fail(Kind::Exists, format!("{name}: the name was used before"));
    }
    check_text(name)?;
    if !s.sessions.turns.turns_on(&s.session) {
        let why = "its turns are off; input takes prompts";
        return fail(Kind::Never, format!("{}: {why}", s.session.shown()));
    }
    s.sessions.records.can_store()?;
    s.session.main().check_alive()
}

/// `cp p.md queue/NAME`.
fn make(s: SessionAt, gesture: Gesture, name: String, body: Bytes, until: Until) -> Answer<Box<dyn Made>> {
    Box::pin(async move {
        check_name(&name)?;
        if s.sessions.turns.accepted_before(&s.session, &gesture).is_none() {
            admit(&s, &name)?;
        }
        match accept(&s, &gesture, Some(&name), body, until).await? {
            Some(turn) => Ok(Box::new(s.turn(turn)) as Box<dyn Made>),
            None => fail(Kind::Invalid, format!("{name}: an empty prompt")),
        }
    })
}

impl Made for TurnAt {
    fn found(&self, ids: &Ids) -> Found {
        item(self.clone(), ids, ModeSet::default())
    }

    fn turn(&self) -> String {
        self.turn.name.clone()
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

/// Stores a prompt, and waits until it is delivered where that is asked for.
pub(super) async fn accept(
    s: &SessionAt,
    gesture: &Gesture,
    name: Option<&str>,
    body: Bytes,
    until: Until,
) -> Result<Option<Turn>> {
    let turn = s.sessions.turns.accept(&s.session, gesture, name.map(str::to_owned), &body).await?;
    if let Some(turn) = &turn
        && until == Until::Delivered
    {
        let delivered = s.sessions.turns.until_delivered(&s.session, turn);
        match gesture.until_cancelled(delivered).await {
            // It is stored all the same.
            Err(e) if e.kind == Kind::Interrupted => {}
            delivered => delivered?,
        }
    }
    Ok(turn)
}
