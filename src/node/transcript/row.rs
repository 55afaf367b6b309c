//! One row of cells, as a terminal keeps it.
//!
//! Knows columns, wide and combining characters. Knows no cursor, no other rows and no escapes.

use std::time::Instant;

use unicode_width::UnicodeWidthChar;

/// The right half of a wide character.
const NOTHING: char = '\0';
/// The last column when a wide character did not fit there.
const EDGE: char = '\u{1}';
/// Combining characters kept on one cell. Real text needs three or four; a flood of them must not
/// take memory.
const MARKS_PER_CELL: usize = 8;

#[derive(Debug, Default, Clone)]
pub(super) struct Row {
    cells: Vec<char>,
    /// Combining characters by column, in the order they came. Nearly always empty.
    marks: Vec<(u32, char)>,
    /// The terminal went on to the next row by itself: both are one line of text.
    pub wrapped: bool,
    /// Hash of the line that begins here, as it stands in the transcript.
    pub shown: Option<u64>,
    /// Some text of this place was shown before (it repaints itself).
    pub again: bool,
    /// Hash of the line that begins here at the last look, and since when it has been so.
    pub seen: Option<(u64, Instant)>,
}

impl Row {
    pub fn is_blank(&self) -> bool {
        self.cells.iter().all(|&c| c <= ' ')
    }

    /// No cell was ever written (or all were erased).
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// A row as new, without giving its memory back.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.marks.clear();
        (self.wrapped, self.again) = (false, false);
        (self.shown, self.seen) = (None, None);
    }

    fn reach(&mut self, col: usize) {
        if self.cells.len() < col {
            self.cells.resize(col, ' ');
        }
    }

    /// Overwriting half of a wide character leaves the other half blank, as terminals do.
    fn split_wide(&mut self, from: usize, to: usize) {
        if self.cells.get(from) == Some(&NOTHING) && from > 0 {
            self.cells[from - 1] = ' ';
        }
        if self.cells.get(to) == Some(&NOTHING) {
            self.cells[to] = ' ';
        }
        if !self.marks.is_empty() {
            self.marks.retain(|&(at, _)| (at as usize) < from || (at as usize) >= to);
        }
    }

    pub fn put_ascii(&mut self, col: usize, text: &[u8]) {
        if col == self.cells.len() && self.marks.is_empty() {
            // The usual case: the line only grows.
            self.cells.extend(text.iter().map(|&b| b as char));
            return;
        }
        self.reach(col);
        let end = col + text.len();
        self.split_wide(col, end);
        self.reach(end);
        for (cell, &b) in self.cells[col..end].iter_mut().zip(text) {
            *cell = b as char;
        }
    }

    /// `width` is 1 or 2.
    pub fn put(&mut self, col: usize, c: char, width: usize) {
        self.reach(col);
        self.split_wide(col, col + width);
        self.reach(col + width);
        self.cells[col] = c;
        if width == 2 {
            self.cells[col + 1] = NOTHING;
        }
    }

    /// The last column stays unused because a wide character did not fit.
    pub fn fill_edge(&mut self, col: usize) {
        self.reach(col);
        self.split_wide(col, col + 1);
        self.cells.truncate(col);
        self.cells.push(EDGE);
    }

    /// Adds a combining character to the cell left of `col`.
    pub fn combine(&mut self, col: usize, c: char) {
        let Some(mut at) = col.checked_sub(1) else {
            return;
        };
        while at > 0 && self.cells.get(at) == Some(&NOTHING) {
            at -= 1;
        }
        if at >= self.cells.len() {
            return;
        }
        let at = at as u32;
        if self.marks.iter().rev().filter(|m| m.0 == at).count() < MARKS_PER_CELL {
            self.marks.push((at, c));
        }
    }

    pub fn erase(&mut self, from: usize, to: usize) {
        let to = to.min(self.cells.len());
        if from >= to {
            return;
        }
        self.split_wide(from, to);
        if to == self.cells.len() {
            self.cells.truncate(from);
        } else {
            self.cells[from..to].fill(' ');
        }
    }

    /// Blank cells move what stands at `col` to the right; what passes the edge is lost.
    pub fn insert(&mut self, col: usize, n: usize, cols: usize) {
        if col >= self.cells.len() {
            return;
        }
        self.split_wide(col, col);
        let n = n.min(cols.saturating_sub(col));
        self.cells.splice(col..col, std::iter::repeat_n(' ', n));
        self.cells.truncate(cols);
        self.shift_marks(col, n as i64);
    }

    pub fn delete(&mut self, col: usize, n: usize) {
        let end = (col + n).min(self.cells.len());
        if col >= end {
            return;
        }
        self.split_wide(col, end);
        self.cells.drain(col..end);
        self.shift_marks(end, -((end - col) as i64));
    }

    fn shift_marks(&mut self, from: usize, by: i64) {
        let len = self.cells.len() as i64;
        for m in &mut self.marks {
            if m.0 as usize >= from {
                m.0 = (m.0 as i64 + by).max(0) as u32;
            }
        }
        self.marks.retain(|m| (m.0 as i64) < len);
    }

    /// Appends the text of this row. A row that goes on in the next one keeps its blanks, up to
    /// `cols`.
    pub fn write_to(&self, text: &mut String, cols: usize) {
        if self.marks.is_empty() {
            text.reserve(self.cells.len());
            self.cells.iter().filter(|&&c| c > EDGE).for_each(|&c| text.push(c));
        } else {
            for (at, &c) in self.cells.iter().enumerate() {
                if c > EDGE {
                    text.push(c);
                }
                text.extend(self.marks.iter().filter(|m| m.0 as usize == at).map(|m| m.1));
            }
        }
        if self.wrapped && self.cells.len() < cols {
            text.extend(std::iter::repeat_n(' ', cols - self.cells.len()));
        }
    }

    pub fn shrink(&mut self) {
        self.cells.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    #[cfg(test)]
    pub fn weight(&self) -> usize {
        std::mem::size_of::<Row>() + self.cells.capacity() * 4 + self.marks.capacity() * 8
    }
}

/// Columns of a character; `None` for what a terminal does not print.
pub(super) fn width(c: char) -> Option<usize> {
    c.width()
}

/// Text as the rows it takes on a screen of `cols` columns: never empty, wrapped into each other.
pub(super) fn wrap_text(text: &str, cols: usize) -> Vec<Row> {
    let mut rows = vec![Row::default()];
    let mut col = 0;
    for c in text.chars() {
        let w = match width(c) {
            Some(w) => w,
            None => continue,
        };
        let Some(row) = rows.last_mut() else { break };
        if w == 0 {
            row.combine(col, c);
            continue;
        }
        if col + w <= cols {
            row.put(col, c, w);
            col += w;
            continue;
        }
        if col < cols {
            row.fill_edge(col);
        }
        row.wrapped = true;
        let mut next = Row::default();
        next.put(0, c, w);
        rows.push(next);
        col = w;
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(row: &Row) -> String {
        let mut s = String::new();
        row.write_to(&mut s, 10);
        s
    }

    #[test]
    fn half_of_a_wide_character_goes_blank() {
        let mut row = Row::default();
        row.put(0, '世', 2);
        row.put(2, '界', 2);
        row.put(1, 'x', 1);
        assert_eq!(text(&row), " x界");
        row.put(2, 'y', 1);
        assert_eq!(text(&row), " xy ");
    }

    #[test]
    fn cells_move_with_their_marks() {
        let mut row = Row::default();
        row.put_ascii(0, b"abe");
        row.combine(3, '\u{301}');
        row.insert(1, 2, 10);
        assert_eq!(text(&row), "a  be\u{301}");
        row.delete(0, 3);
        assert_eq!(text(&row), "be\u{301}");
        for _ in 0..100 {
            row.combine(1, '\u{301}');
        }
        assert!(text(&row).chars().count() < 20);
    }

    #[test]
    fn text_wraps_as_a_terminal_wraps_it() {
        let rows = wrap_text("abc世世", 4);
        assert_eq!(rows.len(), 2);
        let mut s = String::new();
        rows.iter().for_each(|r| r.write_to(&mut s, 4));
        assert_eq!(s, "abc世世");
    }
}
