//! Escape sequences and control bytes → what they do to the rows.
//!
//! Knows the sequences (as tmux reads them) and nothing of lines, time or the transcript. In the
//! alternate screen everything but modes and marks is ignored.

use vte::{Params, Perform};

use super::marks::{self, Mark};
use super::screen::Screen;

/// Marks kept for a caller that does not fetch them; the oldest go first.
const MARKS: usize = 256;
/// Longest title kept.
const TITLE: usize = 512;

/// DEC line drawing for `` ` `` to `~`.
const LINES: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├',
    '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

pub(super) struct Terminal {
    pub screen: Screen,
    pub alternate: bool,
    pub marks: Vec<Mark>,
    /// A sequence ended, and the parser is in its ground state.
    pub ended: bool,
    /// Inside `ESC k … ESC \`, screen's way to set a title.
    title: Option<String>,
    /// G0 and G1 hold line drawing; which of them is in use.
    drawing: [bool; 2],
    shifted: bool,
}

impl Terminal {
    pub fn new(cols: usize, rows: usize) -> Self {
        Terminal {
            screen: Screen::new(cols, rows),
            alternate: false,
            marks: Vec::new(),
            ended: false,
            title: None,
            drawing: [false; 2],
            shifted: false,
        }
    }

    /// Printed text is what it looks like, and it goes to the normal screen.
    pub fn is_plain(&self) -> bool {
        !self.alternate && self.title.is_none() && !self.drawing[usize::from(self.shifted)]
    }

    pub fn mark(&mut self, mark: Mark) {
        if self.marks.last() == Some(&mark) && mark == Mark::Bell {
            return;
        }
        if self.marks.len() >= MARKS {
            self.marks.drain(..MARKS / 4);
        }
        self.marks.push(mark);
    }

    /// A run of printable ASCII.
    pub fn print_ascii(&mut self, text: &[u8]) {
        if self.is_plain() {
            self.screen.print_ascii(text);
        } else {
            text.iter().for_each(|&b| self.print(b as char));
        }
    }

    fn set_alternate(&mut self, on: bool) {
        if self.alternate != on {
            self.alternate = on;
            self.mark(Mark::FullScreen(on));
        }
    }

    fn dec_mode(&mut self, mode: u16, on: bool) {
        match mode {
            7 => self.screen.autowrap = on,
            47 | 1047 | 1049 => self.set_alternate(on),
            2004 => {
                if self.screen.editing != on {
                    self.mark(Mark::BracketedPaste(on));
                }
                self.screen.editing = on;
            }
            _ => (),
        }
    }

    fn end_title(&mut self) {
        if let Some(title) = self.title.take() {
            self.mark(Mark::Title(title));
        }
    }

    fn reset(&mut self) {
        self.set_alternate(false);
        self.screen.region = (0, self.screen.rows - 1);
        self.screen.clear();
        self.screen.go(0, 0);
        self.screen.autowrap = true;
        self.screen.insert = false;
        self.screen.standout = false;
        self.dec_mode(2004, false);
        self.drawing = [false; 2];
        self.shifted = false;
    }

    fn save(&mut self) {
        self.screen.saved = (self.screen.abs(), self.screen.c);
    }

    fn restore(&mut self) {
        let (row, col) = self.screen.saved;
        self.screen.move_to_row(row);
        self.screen.set_col(col);
    }

    fn move_cursor(&mut self, p: &[u16], action: char) {
        let n = p.first().copied().unwrap_or(0).max(1) as usize;
        let s = &mut self.screen;
        let col = s.c.min(s.cols - 1);
        match action {
            'A' => s.move_to_row(s.abs().saturating_sub(n)),
            'B' | 'e' => s.move_to_row(s.abs() + n),
            'C' | 'a' => s.set_col(col + n),
            'D' => s.set_col(col.saturating_sub(n)),
            'E' | 'F' => {
                let abs = s.abs();
                s.move_to_row(if action == 'E' { abs + n } else { abs.saturating_sub(n) });
                s.set_col(0);
            }
            'G' | '`' => s.set_col(n - 1),
            'd' => s.move_to_row(n - 1),
            'H' | 'f' => {
                let col = p.get(1).copied().unwrap_or(0).max(1) as usize;
                s.go(n - 1, col - 1);
            }
            'I' => s.tab(n),
            'Z' => s.back_tab(n),
            _ => (),
        }
    }

    fn edit(&mut self, p: &[u16], action: char, last: Option<char>) {
        let first = p.first().copied().unwrap_or(0);
        let n = first.max(1) as usize;
        let s = &mut self.screen;
        let (r, c, cols) = (s.r, s.c, s.cols);
        match action {
            'J' => s.erase_in_display(first),
            'K' => s.erase_in_line(first),
            'L' => s.shift_lines(n, true),
            'M' => s.shift_lines(n, false),
            '@' => s.live[r].insert(c, n, cols),
            'P' => s.live[r].delete(c, n),
            'X' => s.live[r].erase(c, c + n),
            'S' => s.scroll_up(n),
            'T' if p.len() <= 1 => s.scroll_down(n),
            'b' => s.repeat(last, n),
            _ => (),
        }
    }

    fn set_region(&mut self, p: &[u16]) {
        let s = &mut self.screen;
        let top = p.first().copied().unwrap_or(0).max(1) as usize - 1;
        let bottom = match p.get(1).copied().unwrap_or(0) {
            0 => s.rows - 1,
            n => (n as usize - 1).min(s.rows - 1),
        };
        if top < bottom {
            s.region = (top, bottom);
            s.go(0, 0);
        }
    }

    fn attributes(&mut self, p: &[u16]) {
        for &n in p {
            match n {
                0 => self.screen.standout = false,
                // In TERM=screen standout is italic.
                3 | 7 => self.screen.standout = true,
                23 | 27 => self.screen.standout = false,
                _ => (),
            }
        }
        if p.is_empty() {
            self.screen.standout = false;
        }
    }
}

impl Perform for Terminal {
    fn print(&mut self, c: char) {
        if let Some(title) = &mut self.title {
            if title.len() < TITLE {
                title.push(c);
            }
            return;
        }
        if self.alternate {
            return;
        }
        let drawn = match (self.drawing[usize::from(self.shifted)], c) {
            (true, '`'..='~') => LINES[c as usize - '`' as usize],
            _ => c,
        };
        self.screen.print(drawn);
    }

    fn execute(&mut self, byte: u8) {
        self.screen.last = None;
        match byte {
            0x07 => self.mark(Mark::Bell),
            0x0e => self.shifted = true,
            0x0f => self.shifted = false,
            // The parser is in its ground state again.
            0x18 | 0x1a => {
                self.ended = true;
                self.end_title();
            }
            _ if self.alternate => (),
            0x08 => {
                let col = self.screen.c.min(self.screen.cols - 1);
                self.screen.set_col(col.saturating_sub(1));
            }
            0x09 => self.screen.tab(1),
            0x0a..=0x0c => {
                // A title that was never ended must not swallow the pane.
                self.end_title();
                self.screen.line_feed();
            }
            0x0d => self.screen.carriage_return(),
            _ => (),
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        self.ended = true;
        self.screen.last = None;
        self.end_title();
        match (intermediates, byte) {
            ([], b'k') => self.title = Some(String::new()),
            ([], b'c') => self.reset(),
            ([b'('], b'0') => self.drawing[0] = true,
            ([b'('], _) => self.drawing[0] = false,
            ([b')'], b'0') => self.drawing[1] = true,
            ([b')'], _) => self.drawing[1] = false,
            _ if self.alternate => (),
            ([], b'7') => self.save(),
            ([], b'8') => self.restore(),
            ([], b'D') => self.screen.line_feed(),
            ([], b'E') => {
                self.screen.line_feed();
                self.screen.carriage_return();
            }
            ([], b'M') => self.screen.reverse_index(),
            _ => (),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        self.ended = true;
        let last = self.screen.last.take();
        if ignore {
            return;
        }
        let mut p = [0u16; 32];
        let mut n = 0;
        for (to, from) in p.iter_mut().zip(params.iter()) {
            *to = from.first().copied().unwrap_or(0);
            n += 1;
        }
        let p = &p[..n];
        match (intermediates, action) {
            ([b'?'], 'h' | 'l') => p.iter().for_each(|&m| self.dec_mode(m, action == 'h')),
            _ if self.alternate || !intermediates.is_empty() => (),
            ([], 'h' | 'l') if p.contains(&4) => self.screen.insert = action == 'h',
            ([], 'm') => self.attributes(p),
            ([], 'r') => self.set_region(p),
            ([], 's') => self.save(),
            ([], 'u') => self.restore(),
            ([], 'A'..='I' | 'Z' | '`' | 'a' | 'd' | 'e' | 'f') => self.move_cursor(p, action),
            _ => self.edit(p, action, last),
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], bell_terminated: bool) {
        // Ended by ST, the parser still has to see the backslash.
        self.ended = bell_terminated;
        if let Some(mark) = marks::osc(params) {
            self.mark(mark);
        }
    }

    fn terminated(&self) -> bool {
        self.ended
    }
}
