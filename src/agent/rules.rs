//! What a picture says of an agent. Pure.

use super::manifest::{Manifest, Rule, State};
use super::screen::Screen;

/// The state and the rule that says so; none where no rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    pub state: State,
    pub rule: Option<&'a str>,
    /// That rule looks at nothing but the title.
    pub by_title: bool,
    /// The agent's own words for when this ends: what `(?P<until>…)` in the rule's pattern took.
    pub until: Option<String>,
}

/// The first rule that holds. "Unknown" is the honest answer where none does.
pub fn judge<'a>(manifest: &'a Manifest, screen: &Screen) -> Verdict<'a> {
    match manifest.rules.iter().find(|r| holds(r, screen)) {
        Some(rule) => Verdict {
            state: rule.state,
            rule: Some(&rule.name),
            by_title: rule.by_title(),
            until: until(rule, screen),
        },
        None => Verdict { state: State::Unknown, rule: None, by_title: false, until: None },
    }
}

/// Whether the newest thing it says is that its user stopped the turn.
pub fn stopped(manifest: &Manifest, screen: &Screen) -> bool {
    let tail = || screen.tail(14).plain;
    manifest.stopped.as_ref().is_some_and(|p| p.0.is_match(&tail()))
}

/// Words that were wrapped stand on one row again.
fn until(rule: &Rule, screen: &Screen) -> Option<String> {
    let pattern = rule.screen.as_ref().filter(|p| p.0.capture_names().flatten().any(|n| n == "until"))?;
    let tail = screen.tail(rule.rows).plain;
    let words = pattern.0.captures(&tail)?.name("until")?.as_str();
    Some(words.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|w| !w.is_empty())
}

fn holds(rule: &Rule, screen: &Screen) -> bool {
    let tail = screen.tail(rule.rows);
    rule.title.as_ref().is_none_or(|p| p.0.is_match(&screen.title))
        && rule.screen.as_ref().is_none_or(|p| p.0.is_match(&tail.plain))
        && rule.unless.as_ref().is_none_or(|p| !p.0.is_match(&tail.plain))
        && rule.styled.as_ref().is_none_or(|p| screen.has_colours() && p.0.is_match(&tail.styled))
        && rule.cursor_row.as_ref().is_none_or(|p| screen.cursor_row().is_some_and(|row| p.0.is_match(row)))
}
