//! Waiting for a turn's delivery, and for its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::Session;
use super::Delivery;
use super::turn::{Stage, Turn};
use muxfs_tree::Lines;
use muxfs_tree::base::error::{Kind, Result, fail};

/// How long an fsync waits (docs/tree.md, "Delivery").
const DELIVERED: Duration = Duration::from_secs(60);

/// One turn's `wait`: its stage when it ended.
pub struct TurnWait {
    session: Arc<Session>,
    number: u64,
    told: bool,
}

impl TurnWait {
    pub fn new(session: Arc<Session>, number: u64) -> Self {
        TurnWait { session, number, told: false }
    }
}

#[async_trait::async_trait]
impl Lines for TurnWait {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if std::mem::replace(&mut self.told, true) {
            return Ok(None);
        }
        let line = match ended(&self.session, self.number).await {
            Some(turn) => format!("{}\n", turn.stage.word()),
            None => "ended\n".into(),
        };
        Ok(Some(line.into()))
    }
}

/// The turn when nothing more happens to it; none where the session ended, or the turn is no
/// longer known.
async fn ended(session: &Session, number: u64) -> Option<Turn> {
    reached(session, number, |turn| turn.stage.ended()).await
}

/// The turn when it is as `met` says.
async fn reached(session: &Session, number: u64, met: fn(&Turn) -> bool) -> Option<Turn> {
    let mut changed = session.turns.watch();
    let mut over = session.ended.subscribe();
    loop {
        let turn = session.turns.book()?.by_number(number)?;
        if met(&turn) {
            return Some(turn);
        }
        if *over.borrow_and_update() {
            return None;
        }
        tokio::select! {
            _ = changed.changed() => {}
            _ = over.changed() => {}
        }
    }
}

impl Delivery {
    /// Waits until the agent has taken the prompt `turn`.
    pub async fn until_delivered(&self, session: &Session, turn: &Turn) -> Result<()> {
        let name = &turn.name;
        let off_the_queue = |turn: &Turn| !matches!(turn.stage, Stage::Queued | Stage::Typing);
        let Ok(now) = tokio::time::timeout(DELIVERED, reached(session, turn.number, off_the_queue)).await
        else {
            let seconds = DELIVERED.as_secs();
            return fail(Kind::TimedOut, format!("{name}: not delivered in {seconds} s; it stays queued"));
        };
        match now {
            None => fail(Kind::Gone, format!("{}: ended", session.shown())),
            Some(t) if t.stage == Stage::Uncertain || t.sent.is_none() => {
                fail(Kind::Gone, format!("{name}: {}", t.why.unwrap_or_else(|| t.stage.word().to_owned())))
            }
            Some(_) => Ok(()),
        }
    }

    /// The answer to the prompt `turn`, when its turn is over.
    pub async fn answer(&self, session: &Session, turn: &Turn) -> Result<String> {
        let name = &turn.name;
        let Some(turn) = ended(session, turn.number).await else {
            return fail(Kind::Gone, format!("{}: ended", session.shown()));
        };
        let why = turn.why.clone().unwrap_or_else(|| turn.stage.word().to_owned());
        match turn.stage {
            Stage::Done => match session.turns.book() {
                Some(book) => book.reply(&turn),
                None => fail(Kind::Gone, format!("{name}: no longer known")),
            },
            Stage::Limited => fail(Kind::Busy, format!("{name}: {why}")),
            // Half an answer is none; `turns/` has what there is of it.
            Stage::TimedOut => fail(Kind::TimedOut, format!("{name}: {why}")),
            Stage::Withdrawn => fail(Kind::Gone, format!("{name}: withdrawn")),
            _ => fail(Kind::Gone, format!("{name}: {why}")),
        }
    }
}
