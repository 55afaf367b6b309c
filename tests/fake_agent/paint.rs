//! Draws what the agent shows: its conversation above, and below it the rows that change. On the normal
//! screen the conversation scrolls away, as it does with agents that print; on the alternate one nothing does.
//!
//! Knows escape sequences and the terminal's size. Must not know what the rows mean.

use std::io::{self, Write};
use std::time::Instant;

use unicode_width::UnicodeWidthChar;

use crate::agent::{Agent, End};

/// The rows below the conversation.
pub struct View {
    pub rows: Vec<String>,
    /// Row in `rows` and column.
    pub cursor: (usize, usize),
    pub title: Option<String>,
}

/// Lines said so far. `cleared` counts how often it was begun anew.
#[derive(Debug, Default)]
pub struct Talk {
    pub lines: Vec<String>,
    pub cleared: usize,
}

#[derive(Debug, Default)]
pub struct Painter {
    alt: bool,
    entered: bool,
    stale: bool,
    cleared: usize,
    /// How many lines of the conversation have been painted.
    painted: usize,
    /// Of the rows below: how many, and in which the cursor stands.
    below: usize,
    at: usize,
    title: String,
}

impl Painter {
    pub fn new(alt: bool) -> Self {
        Painter { alt, ..Painter::default() }
    }

    pub fn resized(&mut self) {
        self.stale = true;
    }

    pub fn paint(&mut self, agent: &mut Agent, now: Instant) -> io::Result<()> {
        let size = rustix::termios::tcgetwinsize(io::stdout())?;
        let (width, height) = (usize::from(size.ws_col).max(10), usize::from(size.ws_row).max(6));
        let view = agent.view(width, height, now);
        let mut out = agent.said_of_state();
        if !self.entered {
            out.push_str(if self.alt { "\x1b[?1049h\x1b[?2004h" } else { "\x1b[?2004h" });
            self.entered = true;
            self.stale = self.alt;
        }
        if let Some(title) = view.title.as_ref().filter(|t| **t != self.title) {
            out.push_str(&format!("\x1b]2;{title}\x07"));
            self.title.clone_from(title);
        }
        out.push_str("\x1b[?25l");
        if self.cleared != agent.talk.cleared {
            (self.cleared, self.stale) = (agent.talk.cleared, true);
        }
        if self.alt {
            self.fixed(&mut out, &agent.talk.lines, &view, (width, height));
        } else {
            self.flowing(&mut out, &agent.talk.lines, &view, (width, height));
        }
        out.push_str("\x1b[?25h");
        // The clock again: drawing took some time.
        let early = rustix::io::ioctl_fionread(io::stdin()).is_ok_and(|n| n > 0);
        out.push_str(agent.ambush.painted(Instant::now(), early));
        (self.below, self.at, self.stale) = (view.rows.len(), view.cursor.0, false);
        self.painted = agent.talk.lines.len();
        let mut stdout = io::stdout().lock();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }

    /// New lines go above the rows that change, which are drawn again below them.
    fn flowing(&self, out: &mut String, talk: &[String], view: &View, (width, height): (usize, usize)) {
        let rows = if self.stale {
            out.push_str("\x1b[H\x1b[2J");
            last_rows(talk, width, height.saturating_sub(view.rows.len()))
        } else {
            if self.below > 0 {
                out.push('\r');
                if self.at > 0 {
                    out.push_str(&format!("\x1b[{}A", self.at));
                }
                out.push_str("\x1b[J");
            }
            talk.iter().skip(self.painted).flat_map(|line| wrap(line, width)).collect()
        };
        for row in rows {
            out.push_str(&row);
            out.push_str("\r\n");
        }
        out.push_str(&view.rows.join("\r\n"));
        let up = view.rows.len() - 1 - view.cursor.0;
        if up > 0 {
            out.push_str(&format!("\x1b[{up}A"));
        }
        out.push('\r');
        if view.cursor.1 > 0 {
            out.push_str(&format!("\x1b[{}C", view.cursor.1));
        }
    }

    /// Each row in its place; the conversation's only where it changed.
    fn fixed(&self, out: &mut String, talk: &[String], view: &View, (width, height): (usize, usize)) {
        let above = height.saturating_sub(view.rows.len());
        let moved = self.stale || self.painted != talk.len() || self.below != view.rows.len();
        let mut put =
            |row: usize, text: &str| out.push_str(&format!("\x1b[{};1H{text}\x1b[0m\x1b[K", row + 1));
        if moved {
            let rows = last_rows(talk, width, above);
            (0..above).for_each(|i| put(i, rows.get(i).map_or("", String::as_str)));
        }
        view.rows.iter().enumerate().for_each(|(i, row)| put(above + i, row));
        out.push_str(&format!("\x1b[{};{}H", above + view.cursor.0 + 1, view.cursor.1 + 1));
    }

    /// Back to the shell, which prints below the last picture. Who crashes leaves all as it was.
    pub fn leave(&mut self, end: &End) {
        if !self.entered || matches!(end, End::Crash) {
            return;
        }
        let down = self.below.saturating_sub(self.at + 1);
        let out = match self.alt {
            true => "\x1b[?2004l\x1b[?1049l".to_owned(),
            false => format!("\x1b[?2004l{}\r\n", "\r\n".repeat(down)),
        };
        let _ = io::stdout().write_all(out.as_bytes()); // the terminal may be gone
        let _ = io::stdout().flush();
    }
}

/// The last rows of the conversation, at most `n`.
fn last_rows(talk: &[String], width: usize, n: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for line in talk.iter().rev() {
        if rows.len() >= n {
            break;
        }
        let mut wrapped = wrap(line, width);
        wrapped.append(&mut rows);
        rows = wrapped;
    }
    rows.split_off(rows.len().saturating_sub(n))
}

/// A line in rows of at most `width` columns; an empty one is one row.
pub fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let mut used = 0;
    for c in line.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > width {
            rows.push(String::new());
            used = 0;
        }
        used += columns;
        if let Some(row) = rows.last_mut() {
            row.push(c);
        }
    }
    rows
}

/// As much of the text as fits.
pub fn cut(text: &str, width: usize) -> String {
    wrap(text, width).into_iter().next().unwrap_or_default()
}

pub fn columns(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}
