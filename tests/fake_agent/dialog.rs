//! The fake agent's dialogs: a question, numbered answers, and one that is chosen. Pure.

use std::path::Path;

use crate::keys::Key;
use crate::paint::cut;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Asks again, for ever.
    Stay,
    Leave,
    /// What stands in the chosen row.
    Row,
}

#[derive(Debug)]
pub struct Dialog {
    question: Vec<String>,
    answers: Vec<(&'static str, Answer)>,
    /// What Escape means.
    cancel: Answer,
    chosen: usize,
    auth: bool,
    /// The last row is a field, and what was typed there.
    own: Option<String>,
}

impl Dialog {
    pub fn question() -> Self {
        Dialog {
            question: vec!["Which store should it use?".into()],
            answers: vec![("SQLite", Answer::Row), ("Redis", Answer::Row), ("Type something", Answer::Row)],
            cancel: Answer::No,
            chosen: 0,
            auth: false,
            own: Some(String::new()),
        }
    }

    pub fn approval() -> Self {
        Dialog {
            question: vec!["Run this command?".into()],
            answers: vec![("Yes", Answer::Yes), ("No", Answer::No)],
            cancel: Answer::No,
            chosen: 0,
            auth: false,
            own: None,
        }
    }

    pub fn trust(cwd: &Path) -> Self {
        Dialog {
            question: vec![
                "Do you trust the files in this directory?".into(),
                format!("  {}", cwd.display()),
            ],
            answers: vec![("Yes, I trust it", Answer::Yes), ("No, exit", Answer::Leave)],
            cancel: Answer::Leave,
            chosen: 1,
            auth: false,
            own: None,
        }
    }

    pub fn login() -> Self {
        Dialog {
            question: vec!["Choose how to log in".into()],
            answers: vec![("Subscription", Answer::Stay), ("API key", Answer::Stay)],
            cancel: Answer::Stay,
            chosen: 0,
            auth: true,
            own: None,
        }
    }

    pub fn waiting_for(&self) -> &'static str {
        if self.auth { "login" } else { "permission prompt" }
    }

    pub fn osc(&self) -> &'static str {
        if self.auth { "blocked:kind=auth" } else { "blocked:kind=permission" }
    }

    /// What stands in a row.
    fn row(&self, row: usize) -> &str {
        match &self.own {
            Some(own) if row + 1 == self.answers.len() && !own.is_empty() => own,
            _ => self.answers[row].0,
        }
    }

    pub fn chosen(&self) -> &str {
        self.row(self.chosen)
    }

    /// A digit or Enter answers, arrows choose; nothing else does anything but in the field.
    pub fn key(&mut self, key: &Key) -> Option<Answer> {
        let in_field = self.chosen + 1 == self.answers.len();
        match (key, &mut self.own) {
            (Key::Text(text), Some(own)) if in_field => {
                own.push_str(text);
                return None;
            }
            (Key::Enter, Some(own)) if in_field && own.is_empty() => return None,
            _ => {}
        }
        match key {
            Key::Up => self.chosen = self.chosen.saturating_sub(1),
            Key::Down => self.chosen = (self.chosen + 1).min(self.answers.len() - 1),
            Key::Enter => return Some(self.answers[self.chosen].1),
            Key::Escape => return Some(self.cancel),
            Key::Text(text) => {
                let number: usize = text.chars().next()?.to_digit(10)?.try_into().ok()?;
                let row = number.checked_sub(1)?;
                let answer = self.answers.get(row)?.1;
                self.chosen = row;
                return Some(answer).filter(|_| self.own.is_none() || row + 1 < self.answers.len());
            }
            _ => {}
        }
        None
    }

    /// The rows, and which of them is chosen.
    pub fn rows(&self, width: usize) -> (Vec<String>, usize) {
        let mut rows: Vec<String> = self.question.iter().map(|q| cut(q, width)).collect();
        let at = rows.len() + self.chosen;
        for i in 0..self.answers.len() {
            let mark = if i == self.chosen { '›' } else { ' ' };
            rows.push(cut(&format!("{mark} {}. {}", i + 1, self.row(i)), width));
        }
        rows.push(String::new());
        rows.push(cut("Enter to choose · Esc to cancel", width));
        (rows, at)
    }
}
