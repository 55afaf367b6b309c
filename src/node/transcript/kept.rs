//! What still stands on the screen above the live rows, kept small.
//!
//! A program may come back to it with the cursor. The newest lines keep their text; of older ones
//! the hash is enough to know them again when they are painted a second time.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

use super::row::{Row, wrap_text};

/// Bounds for one pane. With them an idle transcript stays near 4 KiB.
const LINES: usize = 64;
const TEXT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Kept {
    lines: VecDeque<Line>,
    /// Bytes of the transcript that are already accounted for here.
    pub mark: usize,
}

#[derive(Debug)]
struct Line {
    hash: u64,
    height: u16,
    text: Option<Box<str>>,
}

pub(super) fn hash(text: &str) -> u64 {
    let mut h = DefaultHasher::new();
    h.write(text.as_bytes());
    h.finish()
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }

    pub fn push(&mut self, text: &str, cols: usize) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        let height = text.chars().count().div_ceil(cols).clamp(1, u16::MAX as usize) as u16;
        let hash = hash(text);
        let text = (text.len() <= TEXT).then(|| text.into());
        self.lines.push_back(Line { hash, height, text });
    }

    /// Takes the last lines of a finished text.
    pub fn extend(&mut self, text: &[u8], cols: usize) {
        let mut from = text.len();
        let mut starts = Vec::with_capacity(LINES);
        while from > 0 && starts.len() < LINES {
            let end = from - 1; // its line feed
            from = memchr::memrchr(b'\n', &text[..end]).map_or(0, |at| at + 1);
            starts.push((from, end));
        }
        for (from, end) in starts.into_iter().rev() {
            self.push(&String::from_utf8_lossy(&text[from..end]), cols);
        }
        self.forget();
    }

    /// Old lines keep their hash alone.
    pub fn forget(&mut self) {
        let mut sum = 0;
        for line in self.lines.iter_mut().rev() {
            sum += line.text.as_ref().map_or(0, |t| t.len() + 16);
            if sum > TEXT {
                line.text = None;
            }
        }
    }

    /// The last line as rows, at least one.
    pub fn pop(&mut self, cols: usize) -> Vec<Row> {
        let Some(line) = self.lines.pop_back() else {
            return vec![Row::default()];
        };
        let mut rows = match &line.text {
            Some(text) => wrap_text(text, cols),
            // Never more rows than a screen has; a longer line has no use here.
            None => vec![Row::default(); (line.height as usize).min(LINES)],
        };
        rows[0].shown = Some(line.hash);
        rows[0].again = true;
        rows
    }

    pub fn hashes(&self) -> impl Iterator<Item = u64> + '_ {
        self.lines.iter().map(|line| line.hash)
    }

    #[cfg(test)]
    pub fn weight(&self) -> usize {
        self.lines.capacity() * std::mem::size_of::<Line>()
            + self.lines.iter().map(|l| l.text.as_ref().map_or(0, |t| t.len())).sum::<usize>()
    }
}
