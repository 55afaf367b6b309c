//! Builds a condition for tmux that is true while a pane still is as it was captured.
//!
//! Between a capture and a key the program may paint a dialog or move a mark. So tmux checks the condition and
//! types in one step. It compares the cursor, sizes, mode and process of the pane, and a few rows of its
//! screen. `#{C/r:^TEXT$}` gives the first row (from 1) that shows TEXT, or 0, so only a row that is the first
//! with its text can be compared. A row takes about 0.1 ms (tmux 3.3a).
//!
//! Pure: knows tmux's formats and their traps. Must not know what the rows mean.

use super::command::{Command, Hidden, Line};

/// Rows that are compared at most.
const MOST_ROWS: usize = 3;
/// Characters of a longer row that are compared: its beginning and its end.
const BEGINNING: usize = 120;
const END: usize = 40;

/// Changes whenever the cursor moves, a row scrolls away, another screen shows or the size does.
/// Digits and dots only: the value stands in a format again.
pub(super) const FACTS: &str = "#{cursor_x}.#{cursor_y}.#{cursor_flag}.#{alternate_on}.#{history_size}.#{pane_width}.#{pane_height}.#{pane_in_mode}.#{pane_pid}.#{pane_dead}";

/// What [`super::input::press_if`] and the like compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    facts: String,
    /// Number from 1 of a row, and the pattern whose first match it is.
    rows: Vec<(usize, String)>,
}

impl Stand {
    /// `facts`: what tmux made of [`FACTS`]. `plain`: the screen without colours. `wanted`: rows from
    /// 0, those that tell most first. Rows that cannot be told from another are passed over.
    pub fn new(facts: &str, plain: &str, wanted: impl IntoIterator<Item = usize>) -> Self {
        let all: Vec<&str> = plain.lines().map(trimmed).collect();
        let mut rows: Vec<(usize, String)> = Vec::new();
        for row in wanted {
            if rows.len() == MOST_ROWS {
                break;
            }
            if rows.iter().all(|(number, _)| *number != row + 1)
                && let Some(pattern) = all.get(row).and_then(|text| Pattern::new(text))
                && all[..row].iter().all(|above| !pattern.fits(above))
            {
                rows.push((row + 1, pattern.written()));
            }
        }
        Stand { facts: facts.to_owned(), rows }
    }

    /// How many rows are compared.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether row `row` (from 0) is one of them.
    pub fn compares(&self, row: usize) -> bool {
        self.rows.iter().any(|(number, _)| *number == row + 1)
    }

    /// Runs `then` while the pane stands so, else `other`, in one step. The rows, which hold what
    /// people wrote, stand in no command.
    pub(super) fn guard(&self, pane: &str, then: Line, other: Line) -> Line {
        let (mut seen, mut wanted) = (FACTS.to_owned(), self.facts.clone());
        let mut hidden = Vec::new();
        for (number, pattern) in &self.rows {
            let row = Hidden::new(pattern.as_bytes());
            seen.push_str(&format!("|#{{C/r:{}}}", row.format()));
            wanted.push_str(&format!("|{number}"));
            hidden.push(row);
        }
        let holds = format!("#{{==:{seen},{wanted}}}");
        Command::either(pane, &holds, Some(then), Some(other)).hiding(hidden).into()
    }
}

/// As tmux cuts a row before it compares it.
fn trimmed(row: &str) -> &str {
    row.trim_end_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
}

/// A row's text as far as a pattern can hold it: None stands for any one character.
#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    beginning: Vec<Option<char>>,
    /// Of a row that is longer than what is compared.
    end: Option<Vec<Option<char>>>,
}

impl Pattern {
    /// None for a row of which tmux may see other bytes than it prints, and for a blank one.
    fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return None;
        }
        // A format ends at `}` or `,`; `#`, `{` and `:` mean something in it, `%` to strftime(3).
        let seen = |c: char| (!matches!(c, '#' | '{' | '}' | ',' | ':' | '%')).then_some(c);
        let all: Vec<Option<char>> = text.chars().map(seen).collect();
        let long = all.len() > BEGINNING + END;
        Some(Pattern {
            end: long.then(|| all[all.len() - END..].to_vec()),
            beginning: if long { all[..BEGINNING].to_vec() } else { all },
        })
    }

    fn fits(&self, row: &str) -> bool {
        let row: Vec<char> = row.chars().collect();
        let alike = |part: &[Option<char>], of: &[char]| {
            part.len() == of.len() && part.iter().zip(of).all(|(p, c)| p.is_none_or(|p| p == *c))
        };
        match &self.end {
            None => alike(&self.beginning, &row),
            Some(end) => {
                row.len() >= self.beginning.len() + end.len()
                    && alike(&self.beginning, &row[..self.beginning.len()])
                    && alike(end, &row[row.len() - end.len()..])
            }
        }
    }

    /// An extended regular expression, regex(7).
    fn written(&self) -> String {
        let mut out = String::from("^");
        write(&self.beginning, &mut out);
        if let Some(end) = &self.end {
            out.push_str(".*");
            write(end, &mut out);
        }
        out.push('$');
        out
    }
}

fn write(part: &[Option<char>], out: &mut String) {
    for c in part {
        match c {
            None => out.push('.'),
            Some(c) if "\\^$.[]|()*+?".contains(*c) => out.extend(['\\', *c]),
            Some(c) => out.push(*c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(plain: &str, wanted: &[usize]) -> Vec<(usize, String)> {
        Stand::new("1.2", plain, wanted.iter().copied()).rows
    }

    #[test]
    fn only_the_first_row_of_a_text_is_compared() {
        let screen = "────\n❯ go on\n● done\n────\n❯ go on  \n────\n  ? for shortcuts\n\n";
        assert!(rows(screen, &[4, 3, 5, 7, 99]).is_empty());
        assert_eq!(rows(screen, &[4, 6]), [(7, "^  \\? for shortcuts$".to_owned())]);
        assert_eq!(rows("a\nb\nc\nd", &[3, 3, 0, 1, 2]).len(), MOST_ROWS);
        assert_eq!(rows("ab\na.b\nab", &[1]), [(2, "^a\\.b$".to_owned())]);
        // What stands for any character is not told from a row above that has another there.
        assert!(rows("a;b\na:b", &[1]).is_empty());
        assert_eq!(rows("a;bc\na:b", &[1]), [(2, "^a.b$".to_owned())]);
    }

    #[test]
    fn what_means_something_is_escaped_or_any_character() {
        let all = rows("a#{b},:%c \\^$.[x]|(y)*+?\u{a0}é漢", &[0]);
        assert_eq!(all[0].1, "^a..b....c \\\\\\^\\$\\.\\[x\\]\\|\\(y\\)\\*\\+\\?\u{a0}é漢$");
        assert!(rows("a\tb\na\u{fffd}b\n\n   ", &[0, 1, 2, 3]).is_empty());
    }

    #[test]
    fn of_a_long_row_both_ends_are_compared() {
        let row = format!("{}{}{}", "a".repeat(BEGINNING), "x".repeat(50), "b".repeat(END));
        let other = row.replace('x', "yy");
        let pattern = Pattern::new(&row).unwrap();
        assert!(pattern.fits(&row) && pattern.fits(&other) && !pattern.fits(&row[1..]));
        assert!(rows(&format!("{other}\n{row}"), &[1]).is_empty());
        let written = format!("^{}.*{}$", "a".repeat(BEGINNING), "b".repeat(END));
        assert_eq!(rows(&row, &[0])[0].1, written);
    }

    #[test]
    fn the_condition_names_the_rows_and_shows_none() {
        let stand = Stand::new("1.2", "a\nsecret", [1]);
        let line = stand.guard("%1", Line::NOTHING, Line::NOTHING);
        let text = String::from_utf8(line.bytes().unwrap().to_vec()).unwrap();
        let [row] = line.hidden() else { panic!("one row: {line:?}") };
        assert!(text.contains(&format!("#{{==:{FACTS}|#{{C/r:{}}},1.2|2}}", row.format())), "{text}");
        assert!(!text.contains("secret"));
        let mut assign = Vec::new();
        row.assign(&mut assign);
        assert!(assign.ends_with(b"=\"\\136secret\\044\"\n"), "{}", String::from_utf8_lossy(&assign));
        assert!(stand.compares(1) && !stand.compares(0));
    }
}
