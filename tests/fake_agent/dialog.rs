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
}

#[derive(Debug)]
pub struct Dialog {
    question: Vec<String>,
    answers: Vec<(&'static str, Answer)>,
    /// What Escape means.
    cancel: Answer,
    chosen: usize,
    auth: bool,
}

impl Dialog {
    pub fn approval() -> Self {
        Dialog {
            question: vec!["Run this command?".into()],
            answers: vec![("Yes", Answer::Yes), ("No", Answer::No)],
            cancel: Answer::No,
            chosen: 0,
            auth: false,
        }
    }

    pub fn trust(cwd: &Path) -> Self {
        Dialog {
            question: vec![
                "Do you trust the files in this directory?".into(),
                format!("  {}", cwd.display()),
            ],
            answers: vec![("Yes", Answer::Yes), ("No, exit", Answer::Leave)],
            cancel: Answer::Leave,
            chosen: 1,
            auth: false,
        }
    }

    pub fn login() -> Self {
        Dialog {
            question: vec!["Choose how to log in".into()],
            answers: vec![("Subscription", Answer::Stay), ("API key", Answer::Stay)],
            cancel: Answer::Stay,
            chosen: 0,
            auth: true,
        }
    }

    pub fn waiting_for(&self) -> &'static str {
        if self.auth { "login" } else { "permission prompt" }
    }

    pub fn osc(&self) -> &'static str {
        if self.auth { "blocked:kind=auth" } else { "blocked:kind=permission" }
    }

    /// A digit or Enter answers, arrows choose; nothing else does anything.
    pub fn key(&mut self, key: &Key) -> Option<Answer> {
        match key {
            Key::Up => self.chosen = self.chosen.saturating_sub(1),
            Key::Down => self.chosen = (self.chosen + 1).min(self.answers.len() - 1),
            Key::Enter => return Some(self.answers[self.chosen].1),
            Key::Escape => return Some(self.cancel),
            Key::Text(text) => {
                let number: usize = text.chars().next()?.to_digit(10)?.try_into().ok()?;
                return Some(self.answers.get(number.checked_sub(1)?)?.1);
            }
            _ => {}
        }
        None
    }

    /// The rows, and which of them is chosen.
    pub fn rows(&self, width: usize) -> (Vec<String>, usize) {
        let mut rows: Vec<String> = self.question.iter().map(|q| cut(q, width)).collect();
        let at = rows.len() + self.chosen;
        for (i, (text, _)) in self.answers.iter().enumerate() {
            let mark = if i == self.chosen { '›' } else { ' ' };
            rows.push(cut(&format!("{mark} {}. {text}", i + 1), width));
        }
        rows.push(String::new());
        rows.push(cut("Enter to choose · Esc to cancel", width));
        (rows, at)
    }
}
