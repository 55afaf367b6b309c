//! The rows that are not final yet, the cursor, and when a line is done.
//!
//! Ordinary output keeps one row here: a line feed finishes the line, and it leaves. Once a
//! program moves the cursor up into other lines it *repaints*: from then on rows are held as a
//! screen holds them, and leave when they scroll off its top or have settled (`settle.rs`).
//!
//! Knows no escapes and no bytes. The time is an argument.

use std::collections::VecDeque;
use std::time::Instant;

use super::kept::Kept;
use super::row::{self, Row};
use super::settle::Repaints;

/// A line longer than this many columns is cut into pieces.
pub(super) const LINE_LIMIT: usize = 64 * 1024;

pub(super) struct Screen {
    pub cols: usize,
    pub rows: usize,
    /// The rows from `top` on. Never empty.
    pub live: VecDeque<Row>,
    /// Screen row of `live[0]`; negative while an unfinished line is longer than the screen.
    pub top: i64,
    /// The cursor: index into `live`, column. A column of `cols` is the pending wrap.
    pub r: usize,
    pub c: usize,
    /// The program repaints: lines are held until they settle or scroll off.
    pub hold: bool,
    /// Line feeds since the cursor last went up.
    pub feeds: usize,
    /// Scroll region, first and last screen row.
    pub region: (usize, usize),
    pub saved: (usize, usize),
    pub autowrap: bool,
    pub insert: bool,
    pub standout: bool,
    /// Row and column of a reversed `%` or `#` that only blanks followed: zsh's mark for a line
    /// without an end.
    pub zsh_mark: Option<(usize, usize)>,
    /// The program's line editor is on (bracketed paste).
    pub editing: bool,
    /// The character that REP repeats: the one printed directly before it, and none after a control
    /// byte or a sequence, as in tmux.
    pub last: Option<char>,
    pub kept: Kept,
    pub out: Vec<u8>,
    pub repaints: Repaints,
    /// The time of the bytes being read.
    pub now: Option<Instant>,
}

impl Screen {
    pub fn new(cols: usize, rows: usize) -> Self {
        Screen {
            cols,
            rows,
            live: VecDeque::from([Row::default()]),
            top: 0,
            r: 0,
            c: 0,
            hold: false,
            feeds: 0,
            region: (0, rows - 1),
            saved: (0, 0),
            autowrap: true,
            insert: false,
            standout: false,
            zsh_mark: None,
            editing: false,
            last: None,
            kept: Kept::default(),
            out: Vec::new(),
            repaints: Repaints::default(),
            now: None,
        }
    }

    /// The screen row of the cursor.
    pub fn abs(&self) -> usize {
        (self.top + self.r as i64).max(0) as usize
    }

    /// Nothing is pending: a whole line of plain text may pass by without cells.
    pub fn at_fresh_line(&self) -> bool {
        !self.hold
            && self.c == 0
            && self.live.len() == 1
            && self.live[0].is_empty()
            && self.live[0].shown.is_none()
            && !self.standout
            && !self.insert
            && self.autowrap
            && self.zsh_mark.is_none()
    }

    /// Only a part of the screen scrolls.
    pub fn has_region(&self) -> bool {
        self.region != (0, self.rows - 1)
    }

    /// A plain line of `width` columns passed by.
    pub fn passed(&mut self, width: usize) {
        let height = width.div_ceil(self.cols).max(1);
        self.top = (self.top + height as i64).min(self.rows as i64 - 1);
        self.repaints.calm();
        self.last = None; // a line feed followed
    }

    // --- printing

    pub fn print_ascii(&mut self, mut text: &[u8]) {
        if self.insert || self.standout || !self.autowrap || self.zsh_mark.is_some() {
            text.iter().for_each(|&b| self.print(b as char));
            return;
        }
        if let Some(&b) = text.last() {
            self.last = Some(b as char);
        }
        while !text.is_empty() {
            if self.c >= self.cols {
                self.wrap();
            }
            let n = text.len().min(self.cols - self.c);
            self.live[self.r].put_ascii(self.c, &text[..n]);
            self.c += n;
            text = &text[n..];
        }
    }

    pub fn print(&mut self, c: char) {
        let Some(width) = row::width(c) else { return };
        if width == 0 {
            self.live[self.r].combine(self.c, c);
            return;
        }
        if self.c + width > self.cols {
            if !self.autowrap {
                self.c = self.cols - width;
            } else {
                if self.c < self.cols {
                    self.live[self.r].fill_edge(self.c);
                }
                self.wrap();
            }
        }
        self.note_mark(c);
        if self.insert {
            self.live[self.r].insert(self.c, width, self.cols);
        }
        self.live[self.r].put(self.c, c, width);
        self.c += width;
        self.last = Some(c);
    }

    /// REP: prints `last` again, up to the row's end.
    pub fn repeat(&mut self, last: Option<char>, n: usize) {
        let room = self.cols.saturating_sub(self.c);
        if let Some(c) = last {
            (0..n.min(room)).for_each(|_| self.print(c));
        }
        self.last = None;
    }

    fn note_mark(&mut self, c: char) {
        if self.standout && matches!(c, '%' | '#') {
            self.zsh_mark = Some((self.r, self.c));
        } else if c != ' ' {
            self.zsh_mark = None;
        }
    }

    fn wrap(&mut self) {
        self.live[self.r].wrapped = true;
        let line = self.line_at(self.r);
        if (self.r + 1 - line) * self.cols > LINE_LIMIT {
            // Cut: what there is becomes a line, the rest goes on as if it were a new one.
            self.live[self.r].wrapped = false;
            self.zsh_mark = None;
            if !self.hold {
                self.finish_through(self.r);
                self.c = 0;
                return;
            }
        }
        self.down();
        self.c = 0;
    }

    // --- lines

    /// Index of the first row of the line that row `r` belongs to.
    pub fn line_at(&self, mut r: usize) -> usize {
        while r > 0 && self.live[r - 1].wrapped {
            r -= 1;
        }
        r
    }

    /// One past the last row of the line that row `r` belongs to.
    pub fn line_end(&self, mut r: usize) -> usize {
        while self.live[r].wrapped && r + 1 < self.live.len() {
            r += 1;
        }
        r + 1
    }

    /// The text of a line, its blank tail cut.
    pub fn text(&self, from: usize, to: usize) -> String {
        let mut text = String::with_capacity(self.cols);
        self.live.range(from..to).for_each(|row| row.write_to(&mut text, self.cols));
        text.truncate(text.trim_end_matches(' ').len());
        text
    }

    pub fn line_feed(&mut self) {
        self.zsh_mark = None;
        if !self.hold {
            let r = self.r;
            if self.live[r].wrapped && self.live.get(r + 1).is_none_or(Row::is_blank) {
                self.live[r].wrapped = false;
            }
            // A row below that is in use belongs to what an editor redraws: only a move.
            if !self.live[r].wrapped && self.live.range(r + 1..).all(Row::is_blank) {
                self.repaints.calm();
                // No stairs: a bare line feed starts a new line at its left edge, unless the row
                // below is already in use.
                if r + 1 == self.live.len() {
                    self.c = 0;
                }
                self.finish_through(r);
                return;
            }
        }
        self.down();
        self.feeds += 1;
        if self.hold && self.feeds > 2 * self.rows {
            self.release();
        }
    }

    /// Ordinary output: everything through row `last` is final.
    fn finish_through(&mut self, last: usize) {
        let mut at = 0;
        while at <= last {
            let end = self.line_end(at).min(last + 1);
            self.put_final(at, end);
            at = end;
        }
        // The usual case is one row alone: it is used again.
        self.live.drain(..last);
        if self.live.len() == 1 {
            self.live[0].clear();
        } else {
            self.live.pop_front();
        }
        self.r = self.r.saturating_sub(last + 1);
        let lowest = self.rows as i64 - 1 - self.r as i64;
        self.top = (self.top + last as i64 + 1).min(lowest);
    }

    /// Moves the cursor down one row, scrolling at the bottom margin.
    pub fn down(&mut self) {
        let abs = self.abs();
        if abs == self.region.1 && self.has_region() {
            self.scroll_up(1);
            return;
        }
        if abs + 1 >= self.rows {
            if abs == self.region.1 {
                self.top -= 1;
            } else {
                return;
            }
        }
        self.r += 1;
        if self.r == self.live.len() {
            self.live.push_back(Row::default());
        }
        self.leave_top();
    }

    /// Lines that are wholly above the screen are final.
    fn leave_top(&mut self) {
        while self.top < 0 {
            let end = self.line_end(0);
            if self.top + end as i64 > 0 || end > self.r {
                return;
            }
            self.show(0, end);
            self.live.drain(..end);
            self.r -= end;
            self.top += end as i64;
        }
    }

    // --- moving

    /// Moves the cursor to a screen row. Going up into another line is what repainting is.
    pub fn move_to_row(&mut self, target: usize) {
        let target = target.min(self.rows - 1) as i64;
        if target == self.abs() as i64 {
            return;
        }
        let up = target < self.abs() as i64;
        let finished = target < self.top;
        if finished {
            self.lift((self.top - target) as usize);
        }
        let from = self.r;
        self.r = (target - self.top) as usize;
        while self.live.len() <= self.r {
            self.live.push_back(Row::default());
        }
        if up {
            self.feeds = 0;
        }
        // A shell's editor moves up within the unfinished line, or back to it over rows that it
        // erased, all the time: that is not repainting.
        let end = self.line_end(self.r);
        if finished || (up && from >= end && !self.live.range(end..).all(Row::is_blank)) {
            self.repaint();
        }
    }

    /// From now on rows are held.
    pub fn repaint(&mut self) {
        self.hold = true;
        self.feeds = 0;
    }

    /// CUP: an empty screen is just another place to begin.
    pub fn go(&mut self, row: usize, col: usize) {
        if self.is_clear() {
            self.live.truncate(1);
            self.live[0] = Row::default();
            self.r = 0;
            self.top = row.min(self.rows - 1) as i64;
        } else {
            self.move_to_row(row);
        }
        self.set_col(col);
    }

    /// Nothing stands on the screen, as far as is known.
    pub fn is_clear(&mut self) -> bool {
        self.sync_kept();
        self.kept.is_empty() && self.live.iter().all(Row::is_blank)
    }

    pub fn set_col(&mut self, col: usize) {
        self.c = col.min(self.cols - 1);
    }

    pub fn carriage_return(&mut self) {
        if let Some((r, c)) = self.zsh_mark.take()
            && self.r == r + 1
            && self.live[self.r].is_blank()
        {
            // The mark and its blanks filled the row of an unfinished line: that line is done.
            self.live[r].erase(c, self.cols);
            self.live[r].wrapped = false;
            if !self.hold {
                self.finish_through(r);
            }
        }
        self.c = 0;
    }

    pub fn tab(&mut self, n: usize) {
        for _ in 0..n.min(self.cols) {
            self.c = ((self.c / 8 + 1) * 8).min(self.cols - 1);
        }
    }

    pub fn back_tab(&mut self, n: usize) {
        for _ in 0..n.min(self.cols) {
            self.c = self.c.saturating_sub(1) / 8 * 8;
        }
    }

    /// Puts rows that have left back under the cursor's reach.
    fn lift(&mut self, mut n: usize) {
        self.sync_kept();
        while n > 0 {
            let rows = self.kept.pop(self.cols);
            let k = rows.len();
            for row in rows.into_iter().rev() {
                self.live.push_front(row);
            }
            self.r += k;
            self.top -= k as i64;
            n = n.saturating_sub(k);
        }
    }

    // --- scrolling and erasing

    /// Makes the rows of the scroll region live; gives their indexes.
    fn load_region(&mut self) -> (usize, usize) {
        let (a, b) = (self.region.0 as i64, self.region.1 as i64);
        if a < self.top {
            self.lift((self.top - a) as usize);
        }
        let (a, b) = ((a - self.top) as usize, (b - self.top) as usize);
        while self.live.len() <= b {
            self.live.push_back(Row::default());
        }
        self.repaint();
        (a, b)
    }

    /// Rows that pass the top of the screen are final; those lost elsewhere were never text.
    pub fn scroll_up(&mut self, n: usize) {
        for _ in 0..n.min(self.rows) {
            let (a, b) = self.load_region();
            if self.region.0 == 0 {
                self.show(a, a + 1);
            }
            self.live.remove(a);
            self.live.insert(b, Row::default());
        }
    }

    pub fn scroll_down(&mut self, n: usize) {
        for _ in 0..n.min(self.rows) {
            let (a, b) = self.load_region();
            self.live.remove(b);
            self.live.insert(a, Row::default());
        }
    }

    /// IL and DL act on the region from the cursor down.
    pub fn shift_lines(&mut self, n: usize, insert: bool) {
        let abs = self.abs();
        if abs < self.region.0 || abs > self.region.1 {
            return;
        }
        let outer = self.region;
        self.region.0 = abs;
        let (a, b) = self.load_region();
        for _ in 0..n.min(self.rows) {
            let (from, to) = if insert { (b, a) } else { (a, b) };
            self.live.remove(from);
            self.live.insert(to, Row::default());
        }
        self.region = outer;
        self.c = 0;
    }

    pub fn reverse_index(&mut self) {
        let abs = self.abs();
        if abs == self.region.0 {
            self.scroll_down(1);
        } else if abs > 0 {
            self.move_to_row(abs - 1);
        }
    }

    pub fn erase_in_line(&mut self, mode: u16) {
        let (c, cols) = (self.c, self.cols);
        let row = &mut self.live[self.r];
        match mode {
            // tmux erases nothing while the wrap is pending.
            0 if c < cols => {
                row.erase(c, cols);
                row.wrapped = false;
            }
            1 => row.erase(0, (c + 1).min(cols)),
            2 => {
                row.erase(0, cols);
                row.wrapped = false;
            }
            _ => (),
        }
    }

    pub fn erase_in_display(&mut self, mode: u16) {
        match mode {
            0 if self.abs() == 0 && self.c == 0 => self.clear(),
            0 => {
                self.erase_in_line(0);
                let from = self.r + 1;
                self.live.range_mut(from..).for_each(|row| self.repaints.erased(row));
                self.live.truncate(from);
            }
            1 => {
                self.erase_in_line(1);
                self.sync_kept();
                self.kept.clear();
                let above = self.r;
                self.live.range_mut(..above).for_each(|row| row.erase(0, usize::MAX));
            }
            2 => self.clear(),
            _ => (),
        }
    }

    pub fn resize(&mut self, cols: usize, rows: usize) {
        let abs = self.abs();
        if cols != self.cols {
            self.rewrap(cols);
        }
        self.cols = cols;
        self.rows = rows;
        self.region = (0, rows - 1);
        self.saved = (self.saved.0.min(rows - 1), self.saved.1.min(cols - 1));
        self.c = self.c.min(cols);
        self.zsh_mark = None;
        self.top = abs.min(rows - 1) as i64 - self.r as i64;
        self.leave_top();
    }

    /// tmux wraps lines anew at the new width; the cursor stays on its character.
    fn rewrap(&mut self, cols: usize) {
        let mut live = VecDeque::new();
        let (mut cursor, mut at) = ((0, self.c.min(cols)), 0);
        while at < self.live.len() {
            let end = self.line_end(at);
            let first = &self.live[at];
            let mut rows = row::wrap_text(&self.text(at, end), cols);
            (rows[0].shown, rows[0].again, rows[0].seen) = (first.shown, first.again, first.seen);
            if (at..end).contains(&self.r) {
                let offset = (self.r - at) * self.cols + self.c;
                let (mut down, mut col) = (offset / cols, offset % cols);
                if col == 0 && down == rows.len() && down > 0 {
                    (down, col) = (down - 1, cols);
                }
                while rows.len() <= down {
                    if let Some(last) = rows.last_mut() {
                        last.wrapped = true;
                    }
                    rows.push(Row::default());
                }
                cursor = (live.len() + down, col);
            }
            live.extend(rows);
            at = end;
        }
        self.live = live;
        (self.r, self.c) = cursor;
    }
}
