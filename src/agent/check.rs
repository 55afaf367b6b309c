//! Checks of a manifest that types cannot express: bounds, keys that tmux knows, patterns that lack a
//! part, tables that contradict each other. Each fault has a line and a column.
//!
//! Pure. Knows the file's keys; must not know any agent.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use toml_edit::{Document, Item};

use super::history::{ADAPTERS, adapter};
use super::manifest::{Manifest, Rule, State};
use muxfs_tree::base::keys::Key;
use muxfs_tree::base::schema::{self, Fault, fault};

/// Longest pause between keys.
pub const LONGEST: Duration = Duration::from_secs(60);
/// Most rows that a rule looks at.
pub const MOST_ROWS: usize = 1000;
/// Most often that Enter is pressed for one prompt.
pub const MOST_ENTERS: u32 = 10;

/// `500ms`, `2s`: at most [`LONGEST`].
pub fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    match schema::from_text(schema::Kind::Span, &text) {
        Some(schema::Value::Span(span)) if span <= LONGEST => Ok(span),
        _ => Err(D::Error::custom(format!("{text:?}: expected a time from \"0s\" to \"60s\", or in ms"))),
    }
}

/// A key by tmux's name, as it is to be sent.
struct Named(String);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let key = Key::parse(&text).ok_or_else(|| {
            let such = "such as C-u, M-x, BSpace, Escape, Enter, F1, or one character";
            D::Error::custom(format!("{text:?} is no key of tmux, {such}"))
        })?;
        Ok(Named(key.as_str().to_owned()))
    }
}

/// At least one key.
pub fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let keys = keys_or_none(from)?;
    if keys.is_empty() { Err(D::Error::custom("expected at least one key")) } else { Ok(keys) }
}

pub fn keys_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Named>::deserialize(from)?.into_iter().map(|key| key.0).collect())
}

pub fn key<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(Named::deserialize(from)?.0))
}

pub fn rows<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    within(i64::deserialize(from)?, MOST_ROWS as i64).map(|n| n as usize).map_err(D::Error::custom)
}

pub fn enters<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(i64::deserialize(from)?, MOST_ENTERS.into()).map(|n| n as u32).map_err(D::Error::custom)
}

fn within(n: i64, most: i64) -> Result<i64, String> {
    if (1..=most).contains(&n) {
        Ok(n)
    } else {
        Err(format!("{n}: expected a whole number from 1 to {most}"))
    }
}

/// A string that is not blank.
pub fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.trim().is_empty() { Err(D::Error::custom("expected a text that is not empty")) } else { Ok(text) }
}

pub fn some_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    text(from).map(Some)
}

pub fn history<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = String::deserialize(from)?;
    match adapter(&name) {
        Some(_) => Ok(Some(name)),
        None => Err(D::Error::custom(format!("{name:?}: expected one of {}", ADAPTERS.join(", ")))),
    }
}

/// The program and its arguments.
pub fn program<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(D::Error::custom("a command is a program and its arguments")),
    }
}

/// Where in the value at `span` the text stands that a fault begins with: of an array only the
/// whole is known.
pub fn exact(text: &str, span: std::ops::Range<usize>, what: &str) -> usize {
    let (start, value) = (span.start, text.get(span).unwrap_or_default());
    let word = what.strip_prefix('"').and_then(|rest| rest.split('"').next());
    let found = word.filter(|_| value.starts_with('[')).and_then(|word| {
        let quoted = |quote: char| value.find(&format!("{quote}{word}{quote}"));
        quoted('\'').or_else(|| quoted('"'))
    });
    start + found.unwrap_or(0)
}

/// What is wrong between the keys of a manifest that were each taken.
pub fn whole(text: &str, manifest: &Manifest) -> Result<(), Fault> {
    let wrong = |path: &[Step], what: String| Err(fault(text, place(text, path), what));
    use Step::{Key, Nth};
    for (n, rule) in manifest.rules.iter().enumerate() {
        if looks_at_nothing(rule) {
            let what =
                format!("rule {:?} looks at nothing: give it title, screen, styled or cursor_row", rule.name);
            return wrong(&[Key("rule"), Nth(n), Key("name")], what);
        }
        if rule.reason.is_some() && rule.state != State::Limited {
            let what = format!("rule {:?}: only the state limited has a reason", rule.name);
            return wrong(&[Key("rule"), Nth(n), Key("reason")], what);
        }
        if (rule.composer.is_some() || rule.above.is_some()) && manifest.composer.is_none() {
            let what = format!("rule {:?} needs a [composer]", rule.name);
            return wrong(&[Key("rule"), Nth(n), Key("name")], what);
        }
    }
    for (n, form) in manifest.questions.iter().enumerate() {
        if let Some(why) = form.fault() {
            let what = format!("question {:?}: {why}", form.name);
            return wrong(&[Key("question"), Nth(n), Key("name")], what);
        }
    }
    if manifest.composer.as_ref().is_some_and(|c| !c.has_text()) {
        let what = "the composer's screen has no (?P<text>…)".to_owned();
        return wrong(&[Key("composer"), Key("screen")], what);
    }
    for (n, mode) in manifest.composer.iter().flat_map(|c| &c.modes).enumerate() {
        if mode.screen.is_none() && mode.without.is_none() {
            let what = format!("mode {:?} shows by nothing: give it screen or without", mode.name);
            return wrong(&[Key("composer"), Key("mode"), Nth(n), Key("name")], what);
        }
    }
    for (key, args) in [("args", &manifest.resume.args), ("preset", &manifest.resume.preset)] {
        if !args.is_empty() && !args.iter().any(|arg| arg.contains("{id}")) {
            return wrong(&[Key("resume"), Key(key)], format!("resume.{key}: nothing in it is {{id}}"));
        }
    }
    let submit = &manifest.submit;
    if !submit.nudge.is_empty() && submit.large == 0 {
        let what = "submit.nudge needs large: the bytes from which a text is one".to_owned();
        return wrong(&[Key("submit"), Key("nudge")], what);
    }
    Ok(())
}

fn looks_at_nothing(rule: &Rule) -> bool {
    let patterns = [&rule.title, &rule.screen, &rule.styled, &rule.cursor_row, &rule.words, &rule.above];
    rule.composer.is_none() && patterns.iter().all(|p| p.is_none())
}

enum Step {
    Key(&'static str),
    Nth(usize),
}

/// Where the value at `path` begins; as far as it is found.
fn place(text: &str, path: &[Step]) -> usize {
    let Ok(doc) = Document::parse(text.to_owned()) else { return 0 };
    let mut item: &Item = doc.as_item();
    let mut at = 0;
    for step in path {
        let next = match step {
            Step::Key(key) => item.get(*key),
            // Tables and arrays of tables know where they begin.
            Step::Nth(n) => {
                let table = item.as_array_of_tables().and_then(|tables| tables.get(*n));
                let Some(table) = table else { return at };
                at = table.span().map_or(at, |span| span.start);
                let Some(Step::Key(key)) = path.last() else { return at };
                return table.get(key).and_then(Item::span).map_or(at, |span| span.start);
            }
        };
        let Some(next) = next else { return at };
        at = next.span().map_or(at, |span| span.start);
        item = next;
    }
    at
}
