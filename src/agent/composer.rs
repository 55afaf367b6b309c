//! Whether an agent's composer holds a draft, and which.
//!
//! Pure. Knows the manifest's table of it; must not know any agent.

use serde::{Deserialize, Deserializer};

use super::manifest::{Manifest, Pattern, State};
use super::rules;
use super::screen::{Screen, Style, is_look};

/// Where one writes to an agent, and what there is not written by a person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The composer with what is around it, in all rows of the screen; `(?P<text>…)` is what it
    /// holds. Of several matches the last counts.
    pub screen: Pattern,
    /// What of each row is no text: a margin, a box's sides.
    pub margin: Option<Pattern>,
    /// How placeholders, hints and suggestions look, a word each as rules have them written out:
    /// `dim`, `italic`, `fg248`.
    #[serde(default, deserialize_with = "looks")]
    pub hint: Vec<String>,
    /// Texts that are no draft however they look.
    pub placeholder: Option<Pattern>,
    #[serde(default)]
    pub cursor: Cursor,
}

/// What the terminal's cursor says of the composer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cursor {
    /// Nothing: the agent draws its own.
    #[default]
    Nothing,
    /// It stands in the text: behind its start there is a draft. Without colours that decides.
    Tells,
    /// It stands in the text, or what looks like a composer is none.
    Needed,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Composer {
    /// Nothing, or a hint.
    Empty,
    /// This, as far as it is seen.
    Draft(String),
    /// There is none on the picture.
    Hidden,
    /// There is text, and it cannot be told from a hint; or nobody knows where one writes.
    #[default]
    Unsure,
}

fn looks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    match words.iter().find(|w| !is_look(w)) {
        Some(word) => Err(serde::de::Error::custom(format!("{word:?} is no style"))),
        None => Ok(words),
    }
}

impl Field {
    pub fn has_text(&self) -> bool {
        self.screen.0.capture_names().flatten().any(|n| n == "text")
    }
}

/// One character of the composer's text.
struct Cell {
    char: char,
    style: Style,
}

/// What the composer holds. A dialog hides it, also one that leaves it in sight.
pub fn composer(manifest: &Manifest, screen: &Screen) -> Composer {
    let Some(field) = &manifest.composer else { return Composer::Unsure };
    if rules::judge(manifest, screen).state == State::Blocked {
        return Composer::Hidden;
    }
    let all = screen.rows().iter().map(|r| r.text()).collect::<Vec<_>>().join("\n");
    let Some(last) = field.screen.0.captures_iter(&all).last() else { return Composer::Hidden };
    let text = last.name("text");
    let first = all[..text.map_or(0, |t| t.start())].matches('\n').count();
    let mut rows = Vec::new();
    let mut from = text.map_or(0, |t| all[..t.start()].rfind('\n').map_or(t.start(), |n| t.start() - n - 1));
    let start = screen.rows().get(first).map_or(0, |r| r.text()[..from].chars().count());
    for (n, part) in text.map_or("", |t| t.as_str()).split('\n').enumerate() {
        rows.push(cells(field, screen, first + n, from, part));
        from = 0;
    }
    let here = cursor(screen, first, rows.len(), start);
    if field.cursor == Cursor::Needed && here.is_none() {
        return Composer::Hidden;
    }
    held(field, screen.has_colours(), &rows, here.filter(|_| field.cursor != Cursor::Nothing))
}

/// What is text in a part of a row that starts at byte `from` of it.
fn cells(field: &Field, screen: &Screen, row: usize, from: usize, part: &str) -> Vec<Cell> {
    let Some(row) = screen.rows().get(row) else { return Vec::new() };
    let whole = row.text();
    let margins: Vec<_> = field.margin.iter().flat_map(|m| m.0.find_iter(whole)).collect();
    let skipped = whole[..from].chars().count();
    let at = part.char_indices().enumerate();
    at.filter(|(_, (byte, _))| !margins.iter().any(|m| m.range().contains(&(from + byte))))
        .map(|(n, (_, char))| Cell { char, style: row.style(skipped + n) })
        .collect()
}

/// Whether the cursor stands in these rows, and if so whether behind the start of the text.
fn cursor(screen: &Screen, first: usize, rows: usize, start: usize) -> Option<bool> {
    let (x, y) = screen.cursor?;
    let row = usize::from(y).checked_sub(first).filter(|row| *row < rows)?;
    Some(row > 0 || usize::from(x) > start)
}

fn is_blank(char: char) -> bool {
    char.is_whitespace() || char == '\u{200b}'
}

fn held(field: &Field, colours: bool, rows: &[Vec<Cell>], behind: Option<bool>) -> Composer {
    let text = |rows: Vec<String>| rows.join("\n").trim_matches(is_blank).to_owned();
    let whole = text(rows.iter().map(|r| r.iter().map(|c| c.char).collect()).collect());
    if whole.is_empty() || field.placeholder.as_ref().is_some_and(|p| p.0.is_match(&whole)) {
        return Composer::Empty;
    }
    if field.hint.is_empty() {
        return Composer::Draft(trim_rows(&whole));
    }
    if !colours {
        return if behind == Some(true) { Composer::Draft(trim_rows(&whole)) } else { Composer::Unsure };
    }
    let is_hint = |cell: &Cell| field.hint.iter().any(|word| cell.style.has(word));
    let written = rows.iter().map(|row| {
        let mut kept = String::new();
        for (n, cell) in row.iter().enumerate() {
            // A drawn cursor on a hint's first character hides how that looks.
            let drawn = cell.style.reverse || cell.style.underline;
            let on_hint = drawn && row.get(n + 1).is_some_and(is_hint);
            if is_blank(cell.char) || !(is_hint(cell) || on_hint) {
                kept.push(cell.char);
            }
        }
        kept
    });
    match text(written.collect()) {
        empty if empty.is_empty() => Composer::Empty,
        draft => Composer::Draft(trim_rows(&draft)),
    }
}

fn trim_rows(text: &str) -> String {
    text.lines().map(|row| row.trim_end_matches(is_blank)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(cursor: &str, at: Option<(u16, u16)>, text: &str) -> Composer {
        let head = "name = 'X'\ncommand = ['x']\n[composer]\nscreen = '─\\n>(?: (?P<text>(?s:.*?)))?\\n─'\n";
        let tail = format!("margin = '^  '\nhint = ['dim']\nplaceholder = '^Ask me$'\ncursor = '{cursor}'\n");
        let manifest = Manifest::parse(&format!("{head}{tail}")).unwrap();
        let mut screen = Screen::parse(&format!("talk\n───\n> {text}\n───\nfooter\n"));
        screen.cursor = at;
        composer(&manifest, &screen)
    }

    #[test]
    fn hints_are_told_by_their_looks() {
        let see = |text: &str| held("nothing", None, text);
        let draft = |text: &str| Composer::Draft(text.to_owned());
        assert_eq!(see(""), Composer::Empty);
        assert_eq!(see("\u{1b}[2mtry \"fix it\"\u{1b}[0m"), Composer::Empty);
        assert_eq!(see("\u{1b}[7mt\u{1b}[0;2mry this\u{1b}[0m"), Composer::Empty, "under a drawn cursor");
        assert_eq!(see("\u{1b}[4mt\u{1b}[0;2mry this\u{1b}[0m"), Composer::Empty, "one drawn as a line");
        assert_eq!(see("\u{1b}[4mt\u{1b}[0mry this"), draft("try this"), "a cursor moved into a draft");
        assert_eq!(
            see("fi\u{1b}[7mx\u{1b}[0;2m the test\u{1b}[0m"),
            draft("fi"),
            "what completes it is a hint"
        );
        assert_eq!(see("\u{1b}[7mx\u{1b}[0m"), draft("x"), "under a drawn cursor");
        assert_eq!(see("\u{1b}[7m \u{1b}[0m\u{200b}"), Composer::Empty);
        assert_eq!(see("a\u{1b}[1m\n\n  b  \n    c\u{1b}[0m\u{1b}[7m \u{1b}[0m"), draft("a\n\nb\n  c"));
        assert_eq!(see("⟪dim⟫\u{1b}[1m \u{1b}[0m"), draft("⟪dim⟫"), "a style that was typed is text");
    }

    #[test]
    fn without_colours_the_cursor_tells_or_nothing_does() {
        for (cursor, at, wanted) in [
            ("nothing", Some((9, 2)), Composer::Unsure),
            ("tells", None, Composer::Unsure),
            ("tells", Some((2, 2)), Composer::Unsure),
            ("tells", Some((9, 1)), Composer::Unsure),
            ("tells", Some((3, 2)), Composer::Draft("fix it".into())),
            ("needed", Some((3, 2)), Composer::Draft("fix it".into())),
            ("needed", Some((2, 4)), Composer::Hidden),
            ("needed", None, Composer::Hidden),
        ] {
            assert_eq!(held(cursor, at, "fix it"), wanted, "{cursor} {at:?}");
        }
        assert_eq!(held("tells", Some((2, 2)), "Ask me"), Composer::Empty);
    }

    #[test]
    fn what_is_not_described_or_not_there_is_no_empty_composer() {
        let without = Manifest::parse("name = 'X'\ncommand = ['x']\n").unwrap();
        assert_eq!(composer(&without, &Screen::parse("> ")), Composer::Unsure);
        let all = held("nothing", None, "x\n───\n  Press enter to confirm");
        assert_eq!(all, Composer::Unsure, "up to the first rule");
        let manifest = "name = 'X'\ncommand = ['x']\n[composer]\nscreen = '─\\n>(?P<text>.*)'\n";
        assert_eq!(composer(&Manifest::parse(manifest).unwrap(), &Screen::parse("> a")), Composer::Hidden);
    }
}
