//! The answer of a turn: from the agent's own history where it can be read, else what the screen
//! gained.

use std::collections::HashMap;

use super::super::{Pane, Session, Sessions};

/// What is known before a turn, to tell its answer from what was there.
#[derive(Default)]
pub(super) struct Before {
    screen: String,
    logs: u64,
}

/// Longest answer that is kept.
const LONGEST: usize = 1 << 20;

impl Sessions {
    pub(super) async fn before_turn(&self, session: &Session, pane: &Pane) -> Before {
        *session.turns.told.lock() = None;
        let logs = pane.logs.current().size();
        Before { screen: self.screen_text(pane).await.unwrap_or_default(), logs }
    }

    pub(super) async fn find_reply(&self, session: &Session, pane: &Pane, before: &Before) -> Option<String> {
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
