//! What an agent's composer holds, where it stands, and what an Enter in it would do.
//!
//! Pure. Knows the manifest's table of it; must not know any agent.

use std::ops::Range;

use regex::Captures;
use serde::{Deserialize, Deserializer};

use super::check;
use super::manifest::{Manifest, Pattern, State};
use super::rules;
use super::screen::{Screen, Style, is_look, run_together};

/// Where prompts are written, and which texts there are not a person's draft.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The composer with what is around it, in all rows of the screen; `(?P<text>…)` is what it
    /// holds, or `text2` where it is drawn in another way. Of several matches the last counts.
    pub screen: Pattern,
    /// The part of each row that is not text: a margin, the sides of a box.
    pub margin: Option<Pattern>,
    /// How placeholders, hints and suggestions look, a word each as rules have them written out:
    /// `dim`, `italic`, `fg248`.
    #[serde(default, deserialize_with = "looks")]
    pub hint: Vec<String>,
    /// Texts that are no draft however they look.
    pub placeholder: Option<Pattern>,
    #[serde(default)]
    pub cursor: Cursor,
    /// Other modes than the one in which text is a prompt.
    #[serde(default, rename = "mode")]
    pub modes: Vec<Mode>,
    /// An open list of completions, in all rows of the screen; only blank rows may stand between
    /// it and the composer. `(?P<takes>…)` is the entry that Enter would take.
    pub popup: Option<Pattern>,
    /// What stands for a paste that is not shown: `(?P<lines>…)` counts its lines, `(?P<more>…)`
    /// its line feeds, `(?P<chars>…)` its characters.
    pub folded: Option<Pattern>,
    /// What stands behind a command that was typed, for arguments that may follow, where it looks like
    /// text.
    pub argument: Option<Pattern>,
}

/// A mode in which what is typed is no prompt.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mode {
    /// For people: `shell`.
    #[serde(deserialize_with = "check::text")]
    pub name: String,
    /// What shows it, from the first row of the composer's pattern to the end of the screen.
    pub screen: Option<Pattern>,
    /// A sign that shows in the ordinary mode and not in this one. It counts only once it was seen, since
    /// most people never have such a mode.
    pub without: Option<Pattern>,
    /// The keys that lead back to the ordinary mode; written into that, one character each is a
    /// text that is taken out again.
    #[serde(default, deserialize_with = "check::keys_or_none")]
    pub leave: Vec<String>,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Composer {
    /// It is empty, or shows a hint. Only into such a composer a prompt may be typed.
    Empty,
    /// This, as far as it is seen.
    Draft(String),
    /// It is in another mode: text in it would not be a prompt. `text`: what it holds, where that
    /// can be told.
    Other { mode: String, text: Option<String> },
    /// The capture shows no composer, and why.
    Hidden(&'static str),
    /// It is not known what it holds, and why.
    Unsure(&'static str),
}

impl Default for Composer {
    fn default() -> Self {
        Composer::Unsure("nothing was seen yet")
    }
}

impl Composer {
    /// Why no prompt may be typed into it, in words for a person. None where one may.
    pub fn unfit(&self) -> Option<String> {
        match self {
            Composer::Empty => None,
            Composer::Draft(_) => Some("a draft stands in the composer".into()),
            Composer::Other { mode, text } => {
                let text = if text.as_deref() == Some("") { "" } else { " and holds a text" };
                Some(format!("the composer is in {mode} mode{text}"))
            }
            Composer::Hidden(why) | Composer::Unsure(why) => Some((*why).into()),
        }
    }

    /// What is written in it, in whatever mode.
    pub fn text(&self) -> Option<&str> {
        match self {
            Composer::Empty => Some(""),
            Composer::Draft(text) => Some(text),
            Composer::Other { text, .. } => text.as_deref(),
            Composer::Hidden(_) | Composer::Unsure(_) => None,
        }
    }
}

/// What a capture says of the composer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub composer: Composer,
    /// The rows of its text, from the one with its mark on; without its borders. Empty where there
    /// is none.
    pub rows: Range<usize>,
    pub popup: Option<Popup>,
    /// All that stands in those rows, hints as well.
    pub shown: String,
    /// Whether the sign of the ordinary mode is seen, for [`Mode::without`].
    pub sign: bool,
}

/// An open list of completions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Popup {
    /// The entry that Enter would take; empty where it is not seen which.
    pub takes: String,
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

/// What the composer holds, as far as one capture tells.
pub fn composer(manifest: &Manifest, screen: &Screen) -> Composer {
    read(manifest, screen, false).composer
}

/// Reads the composer. A dialog counts as hiding it even where the composer is still in sight. `sign`: an
/// earlier capture of the same process showed the sign of the ordinary mode.
pub fn read(manifest: &Manifest, screen: &Screen, sign: bool) -> Reading {
    let nowhere = |composer| Reading { composer, ..Reading::default() };
    let Some(field) = &manifest.composer else {
        return nowhere(Composer::Unsure("its manifest does not say where one writes"));
    };
    if rules::judge(manifest, screen).state == State::Blocked {
        return nowhere(Composer::Hidden("a dialog stands in its place"));
    }
    let all = screen.rows().iter().map(|r| r.text()).collect::<Vec<_>>().join("\n");
    let Some(last) = field.screen.0.captures_iter(&all).last() else {
        return nowhere(Composer::Hidden("no composer is seen"));
    };
    let text = last.name("text").or_else(|| last.name("text2"));
    let whole = last.get(0).map_or(0..0, |m| m.range());
    let first = all[..text.map_or(whole.start, |t| t.start())].matches('\n').count();
    let mut rows = Vec::new();
    let mut from = text.map_or(0, |t| all[..t.start()].rfind('\n').map_or(t.start(), |n| t.start() - n - 1));
    let start = screen.rows().get(first).map_or(0, |r| r.text()[..from].chars().count());
    for (n, part) in text.map_or("", |t| t.as_str()).split('\n').enumerate() {
        rows.push(cells(field, screen, first + n, from, part));
        from = 0;
    }
    let here = cursor(screen, first, rows.len(), start);
    if field.cursor == Cursor::Needed && here.is_none() {
        return nowhere(Composer::Hidden("the cursor stands elsewhere"));
    }
    let below = &all[whole.start..];
    let has = |p: &Pattern| p.0.is_match(below);
    let shows_sign = field.modes.iter().filter_map(|m| m.without.as_ref()).any(has);
    let is = |mode: &&Mode| {
        mode.screen.as_ref().is_some_and(has) || sign && mode.without.as_ref().is_some_and(|p| !has(p))
    };
    let mut composer =
        held(field, screen.has_colours(), &rows, here.filter(|_| field.cursor != Cursor::Nothing));
    if let Some(mode) = field.modes.iter().find(is) {
        let text = composer.text().map(str::to_owned);
        composer = Composer::Other { mode: mode.name.clone(), text };
    }
    let popup = field.popup.as_ref().and_then(|p| popup(p, &all, &whole, text.map(|t| t.range())));
    let shown = rows.iter().map(|r| r.iter().map(|c| c.char).collect::<String>()).collect::<Vec<_>>();
    Reading { composer, rows: first..first + rows.len(), popup, shown: shown.join("\n"), sign: shows_sign }
}

/// The rows in which the composer stands, with its borders; none where its pattern is not found.
pub(super) fn rows(manifest: &Manifest, screen: &Screen) -> Option<Range<usize>> {
    let field = manifest.composer.as_ref()?;
    let all = screen.rows().iter().map(|r| r.text()).collect::<Vec<_>>().join("\n");
    let last = field.screen.0.find_iter(&all).last()?;
    let row = |at: usize| all[..at].matches('\n').count();
    Some(row(last.start())..row(last.end()) + 1)
}

/// The list that touches the composer, which stands at `composer`. What is written at `text` is none,
/// whatever it looks like.
fn popup(pattern: &Pattern, all: &str, composer: &Range<usize>, text: Option<Range<usize>>) -> Option<Popup> {
    let written = |list: &Range<usize>| {
        text.as_ref().is_some_and(|text| text.start < list.end && list.start < text.end)
    };
    let row = all[..composer.start].rfind('\n').map_or(0, |feed| feed + 1);
    let composer = row..all[composer.end..].find('\n').map_or(all.len(), |feed| composer.end + feed);
    let touches = |list: &Range<usize>| {
        let between = list.end.min(composer.end)..composer.start.max(list.start);
        all.get(between).is_none_or(|gap| gap.trim().is_empty())
    };
    let found = pattern
        .0
        .captures_iter(all)
        .find(|c| c.get(0).is_some_and(|m| touches(&m.range()) && !written(&m.range())))?;
    Some(Popup { takes: found.name("takes").map_or("", |m| m.as_str()).trim().to_owned() })
}

/// Whether a composer that shows `shown` holds exactly `text`, as far as it shows it: rows are
/// wrapped, blanks at their ends are not seen, a large paste is folded, and of a text that is
/// higher than the composer only a part is seen.
pub fn shows(manifest: &Manifest, shown: &str, text: &str) -> bool {
    let folded = manifest.composer.as_ref().and_then(|f| f.folded.as_ref());
    if let Some(found) = folded.and_then(|p| p.0.captures(shown)) {
        let whole = found.get(0).map_or(0..0, |m| m.range());
        return unfolded(&found, &shown[..whole.start], &shown[whole.end..], text);
    }
    let argument = manifest.composer.as_ref().and_then(|f| f.argument.as_ref());
    let hint = argument.filter(|_| text.starts_with('/')).and_then(|p| p.0.find(shown));
    let typed = hint.map_or(shown, |hint| &shown[..hint.start()]);
    if hint.is_some() && squeeze(typed) == squeeze(text) {
        return true;
    }
    let (seen, wanted) = (squeeze(shown), squeeze(text));
    // Fewer rows than this are no view of a higher text.
    let part = shown.lines().count() >= LEAST_ROWS && seen.chars().count() >= LEAST_CHARS;
    seen == wanted || part && wanted.contains(&seen)
}

/// A composer that shows a part of its text shows at least so much.
const LEAST_ROWS: usize = 3;
const LEAST_CHARS: usize = 12;

/// Without what a terminal does not show or shows in another way.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| is_seen(*c)).collect()
}

fn is_seen(c: char) -> bool {
    !(c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'))
}

fn next_seen(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    chars.map(|(_, c)| c).find(|c| is_seen(*c))
}

/// Whether `text` stands for a paste of the size that it names, between `before` and `after`.
fn unfolded(found: &Captures, before: &str, after: &str, text: &str) -> bool {
    let mut start = text.char_indices();
    let before = squeeze(before).chars().all(|wanted| next_seen(&mut start) == Some(wanted));
    let rest = start.as_str();
    let mut end = rest.char_indices();
    let after = squeeze(after).chars().rev().all(|wanted| next_seen(&mut end.by_ref().rev()) == Some(wanted));
    let paste = end.as_str();
    let count = |name: &str| found.name(name).and_then(|m| m.as_str().parse::<usize>().ok());
    let feeds = paste.matches('\n').count();
    let near = |told: Option<usize>, is: usize, slack: usize| told.is_none_or(|t| t.abs_diff(is) <= slack);
    before
        && after
        && !paste.trim().is_empty()
        && near(count("lines"), feeds + 1, 1)
        && near(count("more"), feeds, 1)
        && near(count("chars"), paste.chars().count(), 2)
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
    // A narrow composer wraps its hint.
    if whole.is_empty() || field.placeholder.as_ref().is_some_and(|p| p.0.is_match(&run_together(&whole))) {
        return Composer::Empty;
    }
    if field.hint.is_empty() {
        return Composer::Draft(trim_rows(&whole));
    }
    if !colours {
        return match (field.cursor, behind) {
            // All its hints are known by their words.
            (Cursor::Nothing, _) | (_, Some(true)) => Composer::Draft(trim_rows(&whole)),
            _ => Composer::Unsure("without colours its text cannot be told from a hint"),
        };
    }
    // A cursor before all of it, and one look that is not that of plain text: a suggestion, in
    // whatever colour the theme gives it. Commands and files have a colour of their own.
    let suggested = behind == Some(false) && !whole.starts_with(['/', '@', '!', '$', '#']);
    let look = rows.iter().flatten().skip(1).filter(|c| !is_blank(c.char)).map(|c| c.style);
    let one = look.clone().next().filter(|first| first.is_faint() && look.clone().all(|s| s == *first));
    let is_hint = |cell: &Cell| {
        field.hint.iter().any(|word| cell.style.has(word)) || suggested && Some(cell.style) == one
    };
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

    const UNSURE: Composer = Composer::Unsure("without colours its text cannot be told from a hint");

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
            ("nothing", Some((9, 2)), Composer::Draft("fix it".into())),
            ("tells", None, UNSURE),
            ("tells", Some((2, 2)), UNSURE),
            ("tells", Some((9, 1)), UNSURE),
            ("tells", Some((3, 2)), Composer::Draft("fix it".into())),
            ("needed", Some((3, 2)), Composer::Draft("fix it".into())),
            ("needed", Some((2, 4)), Composer::Hidden("the cursor stands elsewhere")),
            ("needed", None, Composer::Hidden("the cursor stands elsewhere")),
        ] {
            assert_eq!(held(cursor, at, "fix it"), wanted, "{cursor} {at:?}");
        }
        assert_eq!(held("tells", Some((2, 2)), "Ask me"), Composer::Empty);
    }

    #[test]
    fn what_is_not_described_or_not_there_is_no_empty_composer() {
        let without = Manifest::parse("name = 'X'\ncommand = ['x']\n").unwrap();
        assert!(matches!(composer(&without, &Screen::parse("> ")), Composer::Unsure(_)));
        let all = held("nothing", None, "x\n───\n  Press enter to confirm");
        assert_eq!(all, Composer::Draft("x".into()), "up to the first rule");
        let manifest = "name = 'X'\ncommand = ['x']\n[composer]\nscreen = '─\\n>(?P<text>.*)'\n";
        let hidden = Composer::Hidden("no composer is seen");
        assert_eq!(composer(&Manifest::parse(manifest).unwrap(), &Screen::parse("> a")), hidden);
    }

    fn manifest(composer: &str) -> Manifest {
        Manifest::parse(&format!("name = 'X'\ncommand = ['x']\n[composer]\n{composer}")).unwrap()
    }

    #[test]
    fn another_mode_and_a_list_of_completions_are_told() {
        let x = manifest(
            r"screen = '─\n[>!](?: (?P<text>(?s:.*?)))?\n─'
            popup = '(?:^  .*\n)*^ >(?P<takes>.*)\n(?:^  .*\n)*'
            [[composer.mode]]
            name = 'shell'
            screen = '\A─\n!'
            [[composer.mode]]
            name = 'vim normal'
            screen = '^NORMAL$'
            [[composer.mode]]
            name = 'other'
            without = '^INSERT$'",
        );
        let see = |text: &str| read(&x, &Screen::parse(text), false);
        let other = |mode: &str, text: &str| Composer::Other { mode: mode.into(), text: Some(text.into()) };
        let ordinary = see("NORMAL\n!\n───\n> a\nb\n───\nfooter\n");
        assert_eq!((ordinary.composer, ordinary.rows), (Composer::Draft("a\nb".into()), 3..5));
        assert_eq!(see("───\n! ls\n───\n").composer, other("shell", "ls"));
        assert_eq!(see("───\n!\n───\n").composer, other("shell", ""));
        assert_eq!(see("───\n>\n───\nNORMAL\n").composer, other("vim normal", ""));
        let insert = "───\n>\n───\nINSERT\n";
        let none = "───\n> a\n───\n";
        let modes = |text: &str, sign: bool| read(&x, &Screen::parse(text), sign);
        assert!(modes(insert, false).sign && !modes(none, true).sign);
        assert_eq!(modes(insert, true).composer, Composer::Empty);
        assert_eq!(modes(none, false).composer, Composer::Draft("a".into()), "nobody has that mode");
        assert_eq!(modes(none, true).composer, other("other", "a"));
        assert_eq!(other("shell", "").unfit().unwrap(), "the composer is in shell mode");
        let takes = |text: &str| see(text).popup.map(|p| p.takes);
        assert_eq!(takes("  /a\n > /clear\n  /c\n\n───\n> /c\n───\n").as_deref(), Some("/clear"));
        assert_eq!(takes("───\n> /c\n───\n > /clear\n  /c\n").as_deref(), Some("/clear"));
        assert_eq!(takes(" > quoted\ntext\n───\n> /c\n───\n"), None, "it does not touch the composer");
    }

    #[test]
    fn a_composer_shows_a_text_as_far_as_it_does() {
        let x = manifest(
            r"screen = '>(?P<text>.*)'
            folded = '\[(?:Text \+(?P<more>\d+)|(?P<lines>\d+) lines|(?P<chars>\d+) chars)\]'
            argument = ' \[\w+\]\z'",
        );
        let yes = |shown: &str, text: &str| assert!(shows(&x, shown, text), "{shown:?} {text:?}");
        let no = |shown: &str, text: &str| assert!(!shows(&x, shown, text), "{shown:?} {text:?}");
        yes("", "");
        yes("one two\nthree", "one two three");
        yes("a\n\n  b", "a\n\n\tb  \n");
        yes("\u{2764}", "\u{2764}\u{fe0f}");
        no("one two", "one two three");
        no("one two three x", "one two three");
        no("", "one");
        no("two", "one two three");
        yes("/new [prompt]", "/new");
        no("/new it [prompt]", "/new");
        no("new [prompt]", "new");
        let long: Vec<String> = (0..40).map(|n| format!("row {n} of it")).collect();
        yes(&long[30..].join("\n"), &long.join("\n"));
        yes(&long[..9].join("\n"), &long.join("\n"));
        no(&format!("{}\nmine", long[30..].join("\n")), &long.join("\n"));
        let text = long.join("\n");
        yes("[Text +39]", &text);
        yes("[40 lines]", &text);
        yes(&format!("[{} chars]", text.chars().count()), &text);
        no("[Text +36]", &text);
        no("[43 lines]", &text);
        no("[9 chars]", &text);
        no("mine [40 lines]", &text);
        no("[40 lines] mine", &text);
        yes("go: [40 lines] end", &format!("go: {text} end"));
        no("go: [40 lines] end", &text);
        no("[40 lines]", "");
    }
}
