//! Decides which held lines enter the transcript, and when: after 2 s without a change, or when they are
//! final.
//!
//! Lines are compared by the hash of their text: a line that only moved (a frame painted lower, with new text
//! above it) does not enter again. Where lines enter again and again in the place of others the 2 s become
//! longer, up to a minute, until ordinary output resets them. So a clock in a corner does not fill a disk.
//!
//! Must not know where lines go, or what a terminal is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::kept::hash;
use super::row::Row;
use super::screen::Screen;

/// Quiet that makes a line appear.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// Repainted lines that may appear after [`QUIET`]; from then on the wait doubles.
const PATIENCE: u32 = 64;
/// Bounds on the memory of hashes: while lines only move, and while whole screens come again.
const MOVED: usize = 512;
const AGAIN: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Repaints {
    /// Lines that were shown and then painted over.
    moved: VecDeque<u64>,
    /// The program clears and paints everything again and again.
    storm: bool,
    cleared: Option<Instant>,
    reshown: u32,
    /// Held blank rows come as one empty line, between lines that do appear.
    gap: bool,
}

impl Repaints {
    /// Ordinary output goes on.
    pub fn calm(&mut self) {
        self.reshown = 0;
    }

    /// A shown line is being painted over or erased.
    pub fn erased(&mut self, row: &mut Row) {
        if let Some(h) = row.shown.take() {
            self.remember(h);
        }
    }

    fn remember(&mut self, h: u64) {
        if self.moved.len() >= if self.storm { AGAIN } else { MOVED } {
            self.moved.pop_front();
        }
        self.moved.push_back(h);
    }

    /// Was this text shown where something else stands now?
    fn knows(&mut self, h: u64) -> bool {
        match self.moved.iter().position(|&m| m == h) {
            Some(at) if !self.storm => self.moved.remove(at).is_some(),
            found => found.is_some(),
        }
    }

    fn quiet(&self) -> Duration {
        QUIET * 2u32.pow((self.reshown / PATIENCE).min(5))
    }

    #[cfg(test)]
    pub fn weight(&self) -> usize {
        self.moved.capacity() * 8
    }
}

impl Screen {
    /// A line of ordinary output is finished. One that appeared unfinished appears again only if
    /// it went on.
    pub fn put_final(&mut self, from: usize, to: usize) {
        let text = self.text(from, to);
        if self.live[from].shown.is_some_and(|shown| shown == hash(&text)) {
            self.sync_kept();
            self.kept.push(&text, self.cols);
            return;
        }
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'\n');
    }

    /// Puts a held line into the transcript unless it is there already.
    pub fn show(&mut self, from: usize, to: usize) {
        let text = self.text(from, to);
        if text.is_empty() {
            self.repaints.gap = self.hold;
            return;
        }
        let h = hash(&text);
        let row = &mut self.live[from];
        if row.shown == Some(h) {
            self.repaints.gap = false;
            return;
        }
        self.repaints.erased(row);
        row.shown = Some(h);
        let again = std::mem::replace(&mut row.again, true);
        if self.hold && self.repaints.knows(h) {
            self.repaints.gap = false;
            return;
        }
        self.repaints.reshown += u32::from(again);
        if self.repaints.storm {
            self.repaints.remember(h);
        }
        self.sync_kept();
        if std::mem::take(&mut self.repaints.gap) && self.hold {
            self.write("");
        }
        self.write(&text);
        // What was written stands in a live row: it is not above them.
        self.kept.mark = self.out.len();
    }

    /// Accounts for the lines that left since the last time.
    pub fn sync_kept(&mut self) {
        if self.kept.mark < self.out.len() {
            self.kept.extend(&self.out[self.kept.mark..], self.cols);
        }
        self.kept.mark = self.out.len();
    }

    /// Gives the finished lines away.
    pub fn take(&mut self) -> Vec<u8> {
        self.sync_kept();
        self.kept.mark = 0;
        std::mem::take(&mut self.out)
    }

    /// The program went back to ordinary output, or rests: rows above the cursor's line leave.
    pub fn release(&mut self) {
        let line = self.line_at(self.r);
        let mut at = 0;
        while at < line {
            let end = self.line_end(at);
            self.show(at, end);
            at = end;
        }
        self.sync_kept();
        let mut at = 0;
        while at < line {
            let end = self.line_end(at);
            let text = self.text(at, end);
            self.kept.push(&text, self.cols);
            at = end;
        }
        self.kept.forget();
        self.live.drain(..line);
        self.r -= line;
        self.top += line as i64;
        self.hold = false;
        self.feeds = 0;
        self.repaints.moved = VecDeque::new();
        self.repaints.storm = false;
        self.repaints.gap = false;
        self.live.iter_mut().for_each(Row::shrink);
        self.live.shrink_to_fit();
    }

    /// Notes how every line looks; `at` is when it began to look so.
    pub fn note_rows(&mut self, at: Instant) {
        let mut from = 0;
        while from < self.live.len() {
            let to = self.line_end(from);
            let h = hash(&self.text(from, to));
            let row = &mut self.live[from];
            if row.seen.is_none_or(|(old, _)| old != h) {
                row.seen = Some((h, at));
            }
            from = to;
        }
    }

    /// The user is typing in this line: it may appear once before it is done.
    fn typed_in(&self, from: usize, to: usize) -> bool {
        self.editing && (from..to).contains(&self.r) && self.live[from].again
    }

    /// Lines that were quiet long enough appear, in order. True when nothing is left to wait for.
    pub fn settle(&mut self, now: Instant) -> bool {
        if self.hold {
            self.collect_moved();
        }
        let quiet = self.repaints.quiet();
        let mut from = 0;
        self.repaints.gap = false;
        while from < self.live.len() {
            let to = self.line_end(from);
            let since = self.live[from].seen.map_or(now, |seen| seen.1);
            if !self.typed_in(from, to) && self.unseen(from, to) {
                if now.saturating_duration_since(since) < quiet {
                    return false;
                }
                self.show(from, to);
            } else {
                self.repaints.gap = self.hold && self.live.range(from..to).all(Row::is_blank);
            }
            from = to;
        }
        if self.hold {
            self.release();
        }
        true
    }

    /// When the first line that waits will have been quiet long enough.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let mut from = 0;
        while from < self.live.len() {
            let to = self.line_end(from);
            if !self.typed_in(from, to) && self.unseen(from, to) {
                let since = self.live[from].seen.map_or(now, |seen| seen.1);
                return Some(since + self.repaints.quiet());
            }
            from = to;
        }
        None
    }

    /// Nothing more will come.
    pub fn finish(&mut self) {
        let mut from = 0;
        while from < self.live.len() {
            let to = self.line_end(from);
            self.show(from, to);
            from = to;
        }
    }

    fn unseen(&self, from: usize, to: usize) -> bool {
        let row = &self.live[from];
        row.shown != row.seen.map(|seen| seen.0) && !self.live.range(from..to).all(Row::is_blank)
    }

    /// Shown lines that look otherwise now have moved or are gone.
    fn collect_moved(&mut self) {
        for at in 0..self.live.len() {
            let line = self.line_at(at);
            if self.typed_in(line, self.line_end(at)) {
                continue;
            }
            let row = &mut self.live[at];
            if row.shown.is_some() && row.shown != row.seen.map(|seen| seen.0) {
                self.repaints.erased(row);
            }
        }
    }

    /// ED 2. Lines that are about to vanish appear first, unless the program clears the screen
    /// for every frame it paints: then only what remains counts.
    pub fn clear(&mut self) {
        if self.is_clear() {
            return;
        }
        let last = std::mem::replace(&mut self.repaints.cleared, self.now);
        let since = last.zip(self.now).map(|(last, now)| now.saturating_duration_since(last));
        let storm = since.is_some_and(|since| since < QUIET);
        let abs = self.abs();
        if !storm {
            let mut from = 0;
            while from < self.live.len() {
                let to = self.line_end(from);
                // A shell's line that is being typed is painted again at once.
                if !(self.editing && (from..to).contains(&self.r)) {
                    self.show(from, to);
                }
                from = to;
            }
        }
        self.repaints.storm = storm;
        if storm {
            self.remember_all();
        }
        self.sync_kept();
        self.kept.clear();
        self.live.clear();
        self.live.push_back(Row::default());
        (self.r, self.top) = (0, abs as i64);
        self.hold = storm;
        self.feeds = 0;
    }

    fn remember_all(&mut self) {
        for row in &mut self.live {
            self.repaints.erased(row);
        }
        self.sync_kept();
        for h in self.kept.hashes() {
            self.repaints.remember(h);
        }
    }
}
