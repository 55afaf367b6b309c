//! A pane's capture as rules see it: rows of plain text, the same rows with their colours
//! written out, the title, the cursor.
//!
//! Pure. Knows SGR; must not know any agent.

/// What a terminal shows at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screen {
    rows: Vec<Row>,
    pub title: String,
    /// Column and row from 0.
    pub cursor: Option<(u16, u16)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    plain: String,
    styled: String,
    /// From which character on which style holds.
    spans: Vec<(usize, Style)>,
}

impl Row {
    /// Without the blanks at its end.
    pub fn text(&self) -> &str {
        &self.plain
    }

    /// How the character at `at` (counted in characters, from 0) looks.
    pub fn style(&self, at: usize) -> Style {
        let before = self.spans.partition_point(|(from, _)| *from <= at);
        self.spans[..before].last().map_or_else(Style::default, |(_, style)| *style)
    }
}

/// The last rows of a screen that hold anything, from top to bottom.
pub struct Tail {
    pub plain: String,
    pub styled: String,
}

impl Screen {
    /// From what `capture-pane` prints, with (`-e`) or without its colours.
    pub fn parse(text: &str) -> Self {
        let mut style = Style::default();
        let rows = text.lines().map(|line| row(line, &mut style)).collect();
        Screen { rows, ..Screen::default() }
    }

    /// Only the first `rows`: a pane has no more.
    pub fn keep_rows(&mut self, rows: usize) {
        self.rows.truncate(rows);
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether the capture has colours at all. Bold and a drawn cursor are none: an agent that was
    /// told to use no colours has them still.
    pub fn has_colours(&self) -> bool {
        self.rows.iter().any(|r| r.spans.iter().any(|(_, style)| style.is_faint()))
    }

    /// The last rows of the first `end` that hold anything, run together: no lines of boxes, one
    /// blank where there are more.
    /// A row that `begins` matches begins a new line.
    pub fn words(&self, end: usize, rows: usize, begins: impl Fn(&str) -> bool) -> String {
        let above = &self.rows[..end.min(self.rows.len())];
        let full: Vec<&str> = above.iter().map(Row::text).filter(|t| !t.is_empty()).collect();
        let mut lines = vec![String::new()];
        for row in &full[full.len().saturating_sub(rows)..] {
            if begins(row) {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.push(' ');
                line.push_str(row);
            }
        }
        lines.iter().map(|line| run_together(line)).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    }

    pub fn tail(&self, rows: usize) -> Tail {
        let full: Vec<&Row> = self.rows.iter().filter(|r| !r.plain.is_empty()).collect();
        let last = &full[full.len().saturating_sub(rows)..];
        let join = |of: fn(&Row) -> &str| last.iter().map(|r| of(r)).collect::<Vec<_>>().join("\n");
        Tail { plain: join(|r| &r.plain), styled: join(|r| &r.styled) }
    }

    /// The text of the cursor's row, colours written out.
    pub fn cursor_row(&self) -> Option<&str> {
        let (_, y) = self.cursor?;
        self.rows.get(usize::from(y)).map(|r| r.styled.as_str())
    }
}

/// One line of `text`, without what boxes are drawn with.
pub fn run_together(text: &str) -> String {
    let drawn = |c: char| ('\u{2500}'..='\u{259f}').contains(&c);
    text.split(|c: char| c.is_whitespace() || drawn(c))
        .filter(|w| !w.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Around a style in [`Tail::styled`].
const OPEN: char = '⟪';
const CLOSE: char = '⟫';

/// What changes how a character looks, as far as agents use it to tell hints from text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    bold: bool,
    dim: bool,
    italic: bool,
    pub underline: bool,
    pub reverse: bool,
    colour: Option<Colour>,
    /// The background: not written out in [`Tail::styled`].
    pub back: Option<Colour>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Indexed(u8),
    Rgb(u8, u8, u8),
}

impl Style {
    /// `dim,fg246`; empty where nothing is set.
    fn write(&self, out: &mut String) {
        use std::fmt::Write;
        out.push(OPEN);
        let start = out.len();
        let flags = [
            (self.bold, "bold"),
            (self.dim, "dim"),
            (self.italic, "italic"),
            (self.underline, "underline"),
            (self.reverse, "reverse"),
        ];
        for (_, word) in flags.iter().filter(|(on, _)| *on) {
            if out.len() > start {
                out.push(',');
            }
            out.push_str(word);
        }
        if let Some(colour) = self.colour {
            if out.len() > start {
                out.push(',');
            }
            // Writing to a String does not fail.
            let _ = match colour {
                Colour::Indexed(n) => write!(out, "fg{n}"),
                Colour::Rgb(r, g, b) => write!(out, "fg#{r:02x}{g:02x}{b:02x}"),
            };
        }
        out.push(CLOSE);
    }

    /// It is not how plain text looks: it has a colour, or is dim.
    pub fn is_faint(&self) -> bool {
        self.dim || self.colour.is_some()
    }

    /// Whether this is set: a word as it is written out (`dim`, `fg246`).
    pub fn has(&self, word: &str) -> bool {
        let mut all = String::new();
        self.write(&mut all);
        all.trim_matches([OPEN, CLOSE]).split(',').any(|w| w == word)
    }

    fn sgr(&mut self, params: &str) {
        let mut numbers = params.split([';', ':']).map(|n| n.parse::<u16>().unwrap_or(0));
        while let Some(n) = numbers.next() {
            match n {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.reverse = false,
                30..=37 => self.colour = Some(Colour::Indexed((n - 30) as u8)),
                90..=97 => self.colour = Some(Colour::Indexed((n - 90 + 8) as u8)),
                39 => self.colour = None,
                38 => self.colour = extended(&mut numbers).or(self.colour),
                40..=47 => self.back = Some(Colour::Indexed((n - 40) as u8)),
                100..=107 => self.back = Some(Colour::Indexed((n - 100 + 8) as u8)),
                49 => self.back = None,
                48 => self.back = extended(&mut numbers).or(self.back),
                _ => {}
            }
        }
    }
}

/// Whether a word is one of those that stand in a style that is written out.
pub fn is_look(word: &str) -> bool {
    let hex = |h: &str| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    match word.strip_prefix("fg") {
        Some(colour) => colour.strip_prefix('#').map_or(colour.parse::<u8>().is_ok(), hex),
        None => matches!(word, "bold" | "dim" | "italic" | "underline" | "reverse"),
    }
}

fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<Colour> {
    let mut byte = || numbers.next().map(|n| n.min(255) as u8);
    match byte()? {
        5 => Some(Colour::Indexed(byte()?)),
        2 => Some(Colour::Rgb(byte()?, byte()?, byte()?)),
        _ => None,
    }
}

fn row(line: &str, style: &mut Style) -> Row {
    let mut out = Row::default();
    let (mut written, mut spanned) = (Style::default(), Style::default());
    let mut rest = line;
    let mut at = 0;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\u{1b}[") {
            // A control sequence ends at its first byte from @ to ~.
            let end = after.find(|c: char| ('@'..='~').contains(&c)).unwrap_or(after.len());
            if after[end..].starts_with('m') {
                style.sgr(&after[..end]);
            }
            rest = after.get(end + 1..).unwrap_or("");
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '\u{1b}' || c.is_control() {
            continue;
        }
        if *style != spanned {
            out.spans.push((at, *style));
            spanned = *style;
        }
        let visible = Style { back: None, ..*style };
        if visible != written {
            visible.write(&mut out.styled);
            written = visible;
        }
        at += 1;
        out.plain.push(c);
        out.styled.push(c);
    }
    // What is blank at the end of a row says nothing; a reversed blank (a cursor) is no text either.
    out.plain.truncate(out.plain.trim_end_matches([' ', '\r']).len());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_written_out_where_they_change() {
        let screen =
            Screen::parse("\u{1b}[38;5;246m❯ \u{1b}[2mhint\u{1b}[0m end  \n\u{1b}[1;97mx\u{1b}[22;39my");
        let tail = screen.tail(9);
        assert_eq!(tail.plain, "❯ hint end\nxy");
        assert_eq!(tail.styled, "⟪fg246⟫❯ ⟪dim,fg246⟫hint⟪⟫ end  \n⟪bold,fg15⟫x⟪⟫y");
        assert!(screen.has_colours());
    }

    #[test]
    fn each_character_has_its_style() {
        let screen = Screen::parse("\u{1b}[48;5;215m é\u{1b}[2;49mz\u{1b}[0m.\n\u{1b}[44ma");
        let rows = screen.rows();
        let back = |row: usize, at: usize| rows[row].style(at).back;
        assert_eq!((back(0, 1), back(0, 2)), (Some(Colour::Indexed(215)), None));
        assert!(rows[0].style(2).has("dim") && !rows[0].style(1).has("dim") && !rows[0].style(3).has("dim"));
        assert_eq!(back(1, 0), Some(Colour::Indexed(4)));
        assert_eq!(rows[0].style(99), Style::default());
        assert_eq!(screen.tail(9).styled, " é⟪dim⟫z⟪⟫.\na", "a background is not written out");
        assert!(is_look("fg246") && is_look("fg#01ab9f") && is_look("dim"));
        assert!(!is_look("fg256") && !is_look("fg#01AB9F") && !is_look("grey") && !is_look(""));
    }

    #[test]
    fn rows_without_text_do_not_count() {
        let screen = Screen::parse("a\n\nb\n   \nc\n\n");
        assert_eq!(screen.tail(2).plain, "b\nc");
        assert_eq!(screen.tail(0).plain, "");
    }

    #[test]
    fn broken_sequences_end() {
        for text in ["\u{1b}", "\u{1b}[", "\u{1b}[38;5", "\u{1b}[38;5m", "\u{1b}[é", "a\u{1b}[1"] {
            let _ = Screen::parse(text).tail(5);
        }
        assert_eq!(Screen::parse("\u{1b}[38;2;1;2;3mx").tail(1).styled, "⟪fg#010203⟫x");
    }
}
