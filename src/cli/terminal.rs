//! What a person sees on a terminal: columns under headers, colours by state, ages in words. No
//! control byte of a name, a directory or an answer reaches it.
//!
//! Knows no session. What goes into a pipe is not made here.

use std::io::IsTerminal;

use unicode_width::UnicodeWidthStr;

use muxfs_node::log::free_text;
pub use muxfs_node::log::printable;

/// What a text looks like, in the terminal's own colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Plain,
    Faint,
    Bold,
    Green,
    Yellow,
    Red,
    Blue,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Look::Plain => "",
            Look::Faint => "2",
            Look::Bold => "1",
            Look::Green => "32",
            Look::Yellow => "33",
            Look::Red => "31",
            Look::Blue => "34",
        }
    }

    /// Of a session's or turn's state: green goes on by itself, yellow wants a person, red is over.
    pub fn of_state(state: &str) -> Self {
        match state.split_whitespace().next().unwrap_or("") {
            "ready" | "done" | "online" => Look::Green,
            "busy" | "starting" => Look::Blue,
            "blocked" | "limited" => Look::Yellow,
            "exited" | "ended" => Look::Red,
            _ => Look::Faint,
        }
    }
}

/// Whether standard output is a terminal: then a person reads it.
pub fn is_for_people() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether colours are wanted on it (no-color.org).
pub fn has_colours() -> bool {
    let set = |key: &str| std::env::var_os(key).filter(|v| !v.is_empty());
    is_for_people() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

/// One cell: its text on one line, and its style.
pub struct Cell(pub String, pub Look);

impl Cell {
    pub fn plain(text: impl AsRef<str>) -> Self {
        Cell::of(text, Look::Plain)
    }

    pub fn of(text: impl AsRef<str>, style: Look) -> Self {
        Cell(free_text(text.as_ref()).into_owned(), style)
    }
}

/// Rows below a header (none where it is empty), each column as wide as its widest cell, the last
/// one open.
pub fn table(header: &[&str], rows: &[Vec<Cell>], colours: bool) -> String {
    let head: Vec<Cell> = header.iter().map(|h| Cell((*h).to_owned(), Look::Bold)).collect();
    let all: Vec<&Vec<Cell>> = Some(&head).filter(|h| !h.is_empty()).into_iter().chain(rows).collect();
    let width = |n: usize| all.iter().filter_map(|row| row.get(n)).map(|c| c.0.width()).max().unwrap_or(0);
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in all {
        for (n, cell) in row.iter().enumerate() {
            out += &styled(&cell.0, cell.1, colours);
            if n + 1 < row.len() {
                out += &" ".repeat(widths.get(n).unwrap_or(&0).saturating_sub(cell.0.width()) + 2);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// `text` in a style, where `colours` are wanted.
pub fn styled(text: &str, style: Look, colours: bool) -> String {
    if !colours || style == Look::Plain || text.is_empty() {
        return text.to_owned();
    }
    format!("\x1b[{}m{text}\x1b[0m", style.code())
}

/// Seconds as a person says them: `12s`, `5m`, `3h 20m`, `4d`.
pub fn age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m"),
        3600..36_000 if minutes % 60 != 0 => format!("{hours}h {}m", minutes % 60),
        3600..86_400 => format!("{hours}h"),
        _ if days < 10 && hours % 24 != 0 => format!("{days}d {}h", hours % 24),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_said_as_people_do() {
        for (seconds, want) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h"),
            (12_000, "3h 20m"),
            (50_000, "13h"),
            (86_400, "1d"),
            (100_000, "1d 3h"),
            (864_000, "10d"),
        ] {
            assert_eq!(age(seconds), want);
        }
    }

    #[test]
    fn columns_stand_under_their_headers() {
        let rows = vec![
            vec![Cell::plain("a b"), Cell::of("ready", Look::Green), Cell::plain("/x y")],
            vec![Cell::plain("日本"), Cell::of("exited 1", Look::Red), Cell::plain("/\x1b[2J")],
        ];
        let text = table(&["NAME", "STATE", "DIRECTORY"], &rows, false);
        assert_eq!(text, "NAME  STATE     DIRECTORY\na b   ready     /x y\n日本  exited 1  /%1B[2J\n");
        let coloured = table(&["NAME", "STATE", "DIRECTORY"], &rows, true);
        assert!(coloured.contains("\x1b[32mready\x1b[0m     /x y\n"), "{coloured:?}");
    }

    #[test]
    fn an_answer_cannot_paint() {
        assert_eq!(printable("a\tb\n\x1b]0;x\x07\u{9b}2J"), "a\tb\n%1B]0;x%07%C2%9B2J");
    }
}
