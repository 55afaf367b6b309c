//! What is known of a turn's answer: what the agent's own record has, what its hook told, and, of
//! agents without records, what the screen gained.
//!
//! `record_says` also tells which prompt the agent got.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::conversations::Place;
use super::super::record::from_millis;
use super::super::{Pane, Session};
use super::Delivery;
use super::outcome::{Found, is_command};
use super::turn::Turn;
use muxfs_agent::history::{self, Mark, TurnRecord, Who};
use muxfs_tree::base::later::on_disk;

/// What is known before a turn, to tell its answer from what was there.
#[derive(Default)]
pub(super) struct Before {
    screen: String,
    logs: u64,
    /// Where the bound conversation ended.
    mark: Option<(String, Mark)>,
}

/// Longest answer that is kept.
const LONGEST: usize = 1 << 20;
/// An agent may write its answer down a moment after it shows it.
const WRITTEN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(50);

impl Delivery {
    pub(super) async fn before_turn(&self, session: &Session, pane: &Pane) -> Before {
        *session.turns.told.lock() = None;
        let logs = pane.logs.current().size();
        let screen = self.screen_text(pane).await.unwrap_or_default();
        let mark = match (self.conversations.place(session).await, session.conversation()) {
            (Some(place), Some(id)) => on_disk(move || {
                // One that is not there yet begins with this turn.
                let mark = place.find(&id).map(|c| place.end(&c)).transpose().ok()?.unwrap_or_default();
                Some((id, mark))
            })
            .await
            .unwrap_or_default(),
            _ => None,
        };
        Before { screen, logs, mark }
    }

    /// What is known of the answer, and of how the turn ended. `gone`: the program that took the
    /// prompt ended. What the session is bound to now may be its successor's, and is neither read
    /// for this turn nor bound anew by it.
    pub(super) async fn find_reply(
        self: &std::sync::Arc<Self>,
        session: &std::sync::Arc<Session>,
        pane: &Pane,
        turn: &Turn,
        prompt: &str,
        before: &Before,
        gone: bool,
    ) -> Found {
        let worked = pane.eyes(|e| e.evident()).unwrap_or(true);
        let pid = pane.fact(|f| f.pid);
        let mute = session.turns.is_mute(pid);
        let wait = if mute { Duration::ZERO } else { WRITTEN };
        let limit = tokio::time::Instant::now() + if is_command(prompt) { wait / 4 } else { wait };
        let (mut written, mut sought, mut keeps_records) = (false, false, false);
        let record = loop {
            let known = before.is_of(session.conversation().as_deref());
            let record = match self.recorded(session, turn, prompt, before, gone).await {
                None => break None,
                Some(Said::Nothing) => None,
                Some(Said::Unread) => {
                    written = true;
                    None
                }
                Some(Said::Turn(record)) => {
                    written = true;
                    Some(record)
                }
            };
            keeps_records = true;
            if record.as_ref().is_some_and(|r| r.reply.is_some() || r.end.is_some()) {
                break record;
            }
            if tokio::time::Instant::now() >= limit {
                if !sought && known && !gone {
                    // Somebody may have begun another one at the terminal.
                    self.conversations.bind_by_prompt(session, prompt, sent(turn)).await;
                    sought = true;
                    continue;
                }
                session.turns.mute.store(if written { 0 } else { pid }, Ordering::Release);
                break record;
            }
            tokio::time::sleep(LOOK).await;
        };
        if written {
            session.turns.mute.store(0, Ordering::Release);
        }
        let told = session.turns.told.lock().take();
        let screen = match (keeps_records, pane.full_screen() || pane.has_agent()) {
            (true, _) => None,
            (_, true) => self.screen_text(pane).await.map(|now| cut(gained(&before.screen, &now))),
            (_, false) => Some(cut(logged(pane, before.logs))),
        };
        Found {
            record: record.map(|r| TurnRecord { reply: r.reply.map(cut), ..r }),
            keeps_records,
            told_fault: told.as_ref().is_some_and(|t| t.fault),
            told: told.map(|t| cut(t.text)),
            screen,
            worked,
            shows_stop: pane.eyes(|e| e.picture.stopped).unwrap_or(false),
        }
    }

    /// What the agent said last in its record since then, answer or notice.
    pub(super) async fn said_since(&self, session: &Session, before: &Before) -> Option<String> {
        let (id, mark) = before.mark.clone()?;
        let place = self.conversations.place(session).await?;
        let entries = on_disk(move || place.since(&place.find(&id)?, &mark).ok()).await.ok()??;
        let said = entries.iter().rev().find(|e| matches!(e.who, Who::Agent | Who::Fault))?;
        Some(said.text.clone())
    }

    /// What the agent's own record says of the prompt `turn`, which went in as `prompt`. None where
    /// nobody can read its records, or where it keeps none that is known.
    pub(super) async fn record_says(
        self: &std::sync::Arc<Self>,
        session: &std::sync::Arc<Session>,
        turn: &Turn,
        prompt: &str,
        before: &Before,
    ) -> Option<TurnRecord> {
        if session.turns.is_mute(session.main().fact(|f| f.pid)) {
            return None;
        }
        match self.recorded(session, turn, prompt, before, false).await? {
            Said::Turn(record) => Some(record),
            Said::Nothing | Said::Unread => None,
        }
    }

    /// What the agent's own record has of this turn. None where nobody can read its records.
    async fn recorded(
        self: &std::sync::Arc<Self>,
        session: &std::sync::Arc<Session>,
        turn: &Turn,
        prompt: &str,
        before: &Before,
        gone: bool,
    ) -> Option<Said> {
        let place = self.conversations.place(session).await?;
        if !gone && !before.is_of(session.conversation().as_deref()) {
            // A new conversation began, or nobody knew which it was.
            self.conversations.bind_by_prompt(session, prompt, sent(turn)).await;
        }
        let then = before.mark.as_ref().map(|(id, _)| id.clone());
        let Some(id) = (if gone { then } else { session.conversation() }) else { return Some(Said::Nothing) };
        let mark = before.mark.clone().filter(|(was, _)| *was == id).map(|(_, mark)| mark);
        let prompt = prompt.to_owned();
        let read = on_disk(move || said(&place, &id, &mark.unwrap_or_default(), &prompt)).await;
        Some(read.unwrap_or(Said::Unread))
    }
}

impl Before {
    /// Whether the conversation bound now is the one of then; any, where none was.
    fn is_of(&self, bound: Option<&str>) -> bool {
        bound.is_some_and(|id| self.mark.as_ref().is_none_or(|(was, _)| was == id))
    }
}

fn sent(turn: &Turn) -> std::time::SystemTime {
    from_millis(turn.sent.unwrap_or(turn.accepted))
}

/// What stands in a conversation after `mark`.
enum Said {
    /// There is no such conversation.
    Nothing,
    /// It cannot be read now.
    Unread,
    Turn(TurnRecord),
}

fn said(place: &Place, id: &str, mark: &Mark, prompt: &str) -> Said {
    let Some(c) = place.find(id) else { return Said::Nothing };
    match place.since(&c, mark) {
        Ok(entries) => Said::Turn(history::turn(&entries, prompt)),
        Err(_) => Said::Unread,
    }
}

/// The rows of `now` that `then` has not, each as often as it is new.
fn gained(then: &str, now: &str) -> String {
    let mut had: HashMap<&str, usize> = HashMap::new();
    for row in then.lines() {
        *had.entry(row.trim_end()).or_default() += 1;
    }
    let new = now.lines().map(str::trim_end).filter(|row| match had.get_mut(row) {
        Some(n) if *n > 0 => {
            *n -= 1;
            false
        }
        _ => true,
    });
    new.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// What the transcript holds beyond `from`, without the line that was typed.
fn logged(pane: &Pane, from: u64) -> String {
    let log = pane.logs.current();
    let from = if log.size() < from { 0 } else { from };
    let bytes = log.read_at(from, LONGEST).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_screen_gained_is_what_it_had_not() {
        assert_eq!(gained("a\n> \nb", "a\n> hi\nANSWER\n\nmore\n> \nb"), "> hi\nANSWER\n\nmore");
        assert_eq!(gained("x\nx", "x\nx\nx"), "x");
        assert_eq!(gained("", ""), "");
    }
}
