//! The answer of a turn: from the agent's own history where it can be read, else what a hook told,
//! else what the screen gained.

use std::collections::HashMap;
use std::time::Duration;

use super::super::history::{Place, on_disk};
use super::super::record::from_millis;
use super::super::{Pane, Session, Sessions};
use super::turn::Turn;
use crate::agent::history::{Conversation, Mark, last_reply};

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

impl Sessions {
    pub(super) async fn before_turn(&self, session: &Session, pane: &Pane) -> Before {
        *session.turns.told.lock() = None;
        let logs = pane.logs.current().size();
        let screen = self.screen_text(pane).await.unwrap_or_default();
        let mark = match (self.place(session).await, session.conversation()) {
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

    pub(super) async fn find_reply(
        self: &std::sync::Arc<Self>,
        session: &std::sync::Arc<Session>,
        pane: &Pane,
        turn: &Turn,
        prompt: &str,
        before: &Before,
    ) -> Option<String> {
        let limit = tokio::time::Instant::now() + WRITTEN;
        let slash = prompt.starts_with('/');
        let sent = from_millis(turn.sent.unwrap_or(turn.accepted));
        let mut sought = false;
        while let Some(place) = self.place(session).await.filter(|_| !slash) {
            let bound = session.conversation();
            let known = bound.as_ref().filter(|id| before.mark.as_ref().is_none_or(|(was, _)| was == *id));
            if known.is_none() {
                // A new conversation began, or nobody knew which it was.
                self.bind_by_prompt(session, prompt, sent).await;
            }
            if let Some(id) = session.conversation() {
                let mark = before.mark.clone().filter(|(was, _)| *was == id).map(|(_, mark)| mark);
                let read = on_disk(move || said(&place, &id, &mark.unwrap_or_default())).await;
                if let Ok(Some(reply)) = read {
                    return Some(cut(reply));
                }
            }
            if tokio::time::Instant::now() >= limit {
                if sought || known.is_none() {
                    break;
                }
                // Somebody may have begun another one at the terminal.
                self.bind_by_prompt(session, prompt, sent).await;
                sought = true;
                continue;
            }
            tokio::time::sleep(LOOK).await;
        }
        let told = session.turns.told.lock().take();
        if let Some(told) = told {
            return Some(cut(told));
        }
        let text = if pane.full_screen() || pane.has_agent() {
            gained(&before.screen, &self.screen_text(pane).await?)
        } else {
            logged(pane, before.logs)
        };
        Some(cut(text))
    }
}

/// What the agent said last in a conversation, after `mark`.
fn said(place: &Place, id: &str, mark: &Mark) -> Option<String> {
    let c: Conversation = place.find(id)?;
    last_reply(&place.since(&c, mark).ok()?)
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
