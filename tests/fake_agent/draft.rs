//! The text in the composer, and how it is shown: what was typed as it is, pastes of several
//! lines as their number. Pure but for the clock passed in.

use std::time::{Duration, Instant};

use crate::keys::Key;
use crate::paint::{columns, cut, wrap};

#[derive(Debug)]
enum Part {
    Text(String),
    Paste(String),
}

#[derive(Debug, Default)]
pub struct Draft {
    parts: Vec<Part>,
    /// Something in it was pasted.
    pasted: bool,
    changed: Option<Instant>,
}

impl Draft {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Draft::default();
    }

    pub fn put(&mut self, text: &str) {
        *self = Draft { parts: vec![part(text)], ..Draft::default() };
    }

    pub fn just_changed(&self, now: Instant, settle: Duration) -> bool {
        self.changed.is_some_and(|at| now - at < settle)
    }

    pub fn edit(&mut self, key: Key, now: Instant) {
        self.changed = Some(now);
        match key {
            Key::Text(text) => self.add(Part::Text(text)),
            Key::Newline => self.add(Part::Text("\n".into())),
            Key::Paste(text) => {
                self.pasted = true;
                self.add(part(&text));
            }
            Key::Backspace => {
                if let Some(Part::Text(text)) = self.parts.last_mut() {
                    text.pop();
                    if !text.is_empty() {
                        return;
                    }
                }
                self.parts.pop();
            }
            _ => {}
        }
        self.pasted &= !self.is_empty();
    }

    fn add(&mut self, part: Part) {
        match (self.parts.last_mut(), part) {
            (_, Part::Text(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => self.parts.push(part),
        }
    }

    /// The text and whether all of it was typed. None where it says nothing.
    pub fn take(&mut self) -> Option<(String, bool)> {
        let taken = std::mem::take(self);
        let text: String = taken
            .parts
            .iter()
            .map(|p| match p {
                Part::Text(t) | Part::Paste(t) => t.as_str(),
            })
            .collect();
        (!text.trim().is_empty()).then_some((text, !taken.pasted))
    }

    /// Its rows, at most `most` of them (the last), and the cursor's row and column in them.
    pub fn rows(&self, width: usize, most: usize) -> (Vec<String>, (usize, usize)) {
        if self.is_empty() {
            let hint = cut("Type a message", width.saturating_sub(2));
            return (vec![format!("> \x1b[2m{hint}\x1b[22m")], (0, 2));
        }
        let shown: String = self
            .parts
            .iter()
            .map(|p| match p {
                Part::Text(text) => text.clone(),
                Part::Paste(text) => format!("[Pasted {} lines]", text.lines().count()),
            })
            .collect();
        let inner = width.saturating_sub(3).max(1);
        let all: Vec<String> = shown.split('\n').flat_map(|line| wrap(line, inner)).collect();
        let last = &all[all.len().saturating_sub(most)..];
        let mark = |i: usize| if i == 0 { "> " } else { "  " };
        let rows: Vec<String> = last.iter().enumerate().map(|(i, row)| format!("{}{row}", mark(i))).collect();
        let at = (rows.len() - 1, rows.last().map_or(0, |r| columns(r)));
        (rows, at)
    }
}

fn part(text: &str) -> Part {
    if text.lines().count() > 1 { Part::Paste(text.to_owned()) } else { Part::Text(text.to_owned()) }
}
