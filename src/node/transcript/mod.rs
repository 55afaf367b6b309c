//! A pane's bytes → a readable transcript, line by line.
//!
//! Pure: bytes and the time go in, finished lines and marks come out. Knows terminals; knows no
//! files, no sessions, no tmux. `plain.rs` is the fast path for whole lines, `parse.rs` reads
//! escapes, `screen.rs` holds the rows that are not final, `settle.rs` says when a held line
//! appears, `kept.rs` remembers what stands above the live rows.

mod kept;
mod marks;
mod parse;
mod plain;
mod row;
mod screen;
mod settle;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use memchr::memchr;
use vte::{Parser, Perform};

pub use marks::Mark;
use parse::Terminal;
use settle::QUIET;

/// How often held lines are looked at while output goes on.
const LOOK: Duration = Duration::from_millis(500);
/// Longest OSC that is read; what is longer is cut, and never printed.
const OSC: usize = 512;

/// One pane's transcript. An idle one takes about 4 KiB.
pub struct Transcript {
    terminal: Terminal,
    parser: Parser<OSC>,
    /// The parser is inside a sequence. Ground text never goes through it.
    escaping: bool,
    /// The beginning of a character that the next chunk ends.
    partial: Vec<u8>,
    fed: Option<Instant>,
    looked: Option<Instant>,
    deadline: Option<Instant>,
}

impl Transcript {
    pub fn new(cols: u16, rows: u16) -> Self {
        let (cols, rows) = size(cols, rows);
        Transcript {
            terminal: Terminal::new(cols, rows),
            parser: Parser::new_with_size(),
            escaping: false,
            partial: Vec::new(),
            fed: None,
            looked: None,
            deadline: None,
        }
    }

    /// Takes the pane's next bytes, in any pieces.
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            return;
        }
        if self.looked.is_none_or(|t| now.saturating_duration_since(t) >= LOOK) {
            self.look(now);
        }
        self.terminal.screen.now = Some(now);
        self.fed = Some(now);
        self.run(bytes);
        if self.terminal.screen.at_fresh_line() {
            self.deadline = None;
        } else {
            self.deadline.get_or_insert(now + QUIET);
        }
    }

    /// To be called at [`Self::next_deadline`]: what was quiet for 2 s appears.
    pub fn tick(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.look(now);
        }
    }

    /// When [`Self::tick`] has something to do. `None`: not before the next bytes.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The pane has a new size.
    pub fn resize(&mut self, cols: u16, rows: u16) {
        let (cols, rows) = size(cols, rows);
        self.terminal.screen.resize(cols, rows);
    }

    /// The lines finished since the last call: UTF-8, each ended by `\n`.
    pub fn take(&mut self) -> Vec<u8> {
        self.terminal.screen.take()
    }

    /// The pane ended: what is still held or unfinished appears.
    pub fn finish(&mut self) {
        self.broken_character();
        self.terminal.screen.finish();
        self.deadline = None;
    }

    /// A program paints full-screen now; its text is not part of the transcript.
    pub fn full_screen(&self) -> bool {
        self.terminal.alternate
    }

    /// What the stream said besides text since the last call, in order, the last 256 at most.
    pub fn marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.terminal.marks)
    }

    fn look(&mut self, now: Instant) {
        let screen = &mut self.terminal.screen;
        screen.note_rows(self.fed.unwrap_or(now));
        let done = screen.settle(now);
        self.looked = Some(now);
        self.deadline = if done { None } else { screen.due(now) };
    }

    fn run(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if !self.escaping {
                let end = memchr(0x1b, bytes).unwrap_or(bytes.len());
                self.ground(&bytes[..end], end == bytes.len());
                bytes = &bytes[end..];
                self.escaping = !bytes.is_empty();
                continue;
            }
            self.terminal.ended = false;
            let used = self.parser.advance_until_terminated(&mut self.terminal, bytes);
            self.escaping = !std::mem::take(&mut self.terminal.ended);
            bytes = &bytes[used..];
        }
    }

    /// Text without escapes. `open`: the chunk ends here, maybe within a character.
    fn ground(&mut self, mut text: &[u8], open: bool) {
        text = self.complete_character(text);
        if !text.is_empty() || !open {
            self.broken_character();
        }
        while let Some(&first) = text.first() {
            let lines = self.plain_lines(text);
            if lines > 0 {
                text = &text[lines..];
            } else if is_control(first) {
                self.terminal.execute(first);
                text = &text[1..];
            } else {
                let end = text.iter().position(|&b| is_control(b)).unwrap_or(text.len());
                self.text(&text[..end], open && end == text.len());
                text = &text[end..];
            }
        }
        self.terminal.ended = false;
    }

    /// Whole plain lines at the start of `text`: the bytes they took.
    fn plain_lines(&mut self, text: &[u8]) -> usize {
        let mut used = 0;
        if !self.terminal.is_plain() {
            return 0;
        }
        let screen = &mut self.terminal.screen;
        let (cols, wraps) = (screen.cols, !screen.has_region());
        while screen.at_fresh_line() {
            let Some(line) = plain::take_line(&text[used..], cols, wraps, &mut screen.out) else {
                break;
            };
            used += line.used;
            screen.passed(line.columns);
        }
        used
    }

    /// Printable text, maybe with broken UTF-8.
    fn text(&mut self, mut text: &[u8], open: bool) {
        if text.is_ascii() {
            return self.terminal.print_ascii(text);
        }
        while !text.is_empty() {
            let (valid, rest) = match std::str::from_utf8(text) {
                Ok(valid) => (valid, 0),
                Err(e) => {
                    let bad = e.error_len().unwrap_or(0);
                    // `valid_up_to` is a promise, so this never gives the default.
                    let valid = std::str::from_utf8(&text[..e.valid_up_to()]).unwrap_or_default();
                    (valid, if bad == 0 { text.len() - e.valid_up_to() } else { bad })
                }
            };
            valid.chars().for_each(|c| self.terminal.print(c));
            let broken = &text[valid.len()..valid.len() + rest];
            text = &text[valid.len() + rest..];
            if text.is_empty() && open && is_beginning(broken) {
                self.partial.extend_from_slice(broken);
            } else if !broken.is_empty() {
                self.terminal.print(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// Ends the character that the last chunk began, as far as these bytes do.
    fn complete_character<'a>(&mut self, mut text: &'a [u8]) -> &'a [u8] {
        while !self.partial.is_empty() {
            let Some((&b, rest)) = text.split_first() else {
                return text;
            };
            self.partial.push(b);
            if let Ok(c) = std::str::from_utf8(&self.partial) {
                c.chars().for_each(|c| self.terminal.print(c));
                self.partial = Vec::new();
            } else if !is_beginning(&self.partial) {
                self.partial.pop();
                return text;
            }
            text = rest;
        }
        text
    }

    fn broken_character(&mut self) {
        if !self.partial.is_empty() {
            self.partial = Vec::new();
            self.terminal.print(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// The first bytes of a character, without its end.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none() && e.valid_up_to() == 0)
}

fn is_control(b: u8) -> bool {
    b < 0x20 || b == 0x7f
}

/// A pane is at least two columns wide here, so that a wide character fits.
fn size(cols: u16, rows: u16) -> (usize, usize) {
    (cols.max(2) as usize, rows.max(1) as usize)
}
