//! What a picture says of an agent. Pure.

use super::manifest::{Manifest, Rule, State};
use super::screen::Screen;

/// The state and the rule that says so; none where no rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    pub state: State,
    pub rule: Option<&'a str>,
    /// That rule looks at nothing but the title.
    pub by_title: bool,
}

/// The first rule that holds. "Unknown" is the honest answer where none does.
pub fn judge<'a>(manifest: &'a Manifest, screen: &Screen) -> Verdict<'a> {
    match manifest.rules.iter().find(|r| holds(r, screen)) {
        Some(rule) => Verdict { state: rule.state, rule: Some(&rule.name), by_title: rule.by_title() },
        None => Verdict { state: State::Unknown, rule: None, by_title: false },
    }
}

fn holds(rule: &Rule, screen: &Screen) -> bool {
    let tail = screen.tail(rule.rows);
    rule.title.as_ref().is_none_or(|p| p.0.is_match(&screen.title))
        && rule.screen.as_ref().is_none_or(|p| p.0.is_match(&tail.plain))
        && rule.unless.as_ref().is_none_or(|p| !p.0.is_match(&tail.plain))
        && rule.styled.as_ref().is_none_or(|p| screen.has_colours() && p.0.is_match(&tail.styled))
        && rule.cursor_row.as_ref().is_none_or(|p| screen.cursor_row().is_some_and(|row| p.0.is_match(row)))
}
