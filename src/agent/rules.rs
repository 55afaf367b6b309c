//! What a capture says of an agent, and what a text says that stands in the place of an answer.
//! Pure.

use regex::{Captures, Regex};

use super::composer;
use super::manifest::{Manifest, Reason, Rule, State};
use super::screen::{Screen, run_together};

/// The state and the rule that says so; none where no rule holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<'a> {
    pub state: State,
    pub rule: Option<&'a str>,
    /// That rule looks at nothing but the title.
    pub by_title: bool,
    /// Why it is limited; a rule that does not say it means usage.
    pub reason: Option<Reason>,
    /// The agent's own words for when this ends: what `(?P<until>…)` in the rule's pattern took.
    pub until: Option<String>,
}

/// The first rule that holds. "Unknown" is the honest answer where none does.
pub fn judge<'a>(manifest: &'a Manifest, screen: &Screen) -> Verdict<'a> {
    let seen = Seen { manifest, screen, composer: composer::rows(manifest, screen).map(|rows| rows.start) };
    match manifest.rules.iter().find(|r| seen.holds(r)) {
        Some(rule) => Verdict {
            state: rule.state,
            rule: Some(&rule.name),
            by_title: rule.by_title(),
            reason: (rule.state == State::Limited).then(|| rule.reason.unwrap_or(Reason::Usage)),
            until: seen.until(rule),
        },
        None => Verdict { state: State::Unknown, rule: None, by_title: false, reason: None, until: None },
    }
}

/// Whether the newest thing it says is that its user stopped the turn.
pub fn stopped(manifest: &Manifest, screen: &Screen) -> bool {
    manifest.stopped.as_ref().is_some_and(|p| p.0.is_match(&screen.tail(14).plain))
}

/// Whether it says that it goes on with the turn by itself when it can.
pub fn continues(manifest: &Manifest, screen: &Screen) -> bool {
    manifest.continues.as_ref().is_some_and(|p| p.0.is_match(&screen.tail(14).plain))
}

struct Seen<'a> {
    manifest: &'a Manifest,
    screen: &'a Screen,
    /// The first row of the composer with its border.
    composer: Option<usize>,
}

impl Seen<'_> {
    fn holds(&self, rule: &Rule) -> bool {
        let screen = self.screen;
        let tail = screen.tail(rule.rows);
        rule.title.as_ref().is_none_or(|p| p.0.is_match(&screen.title))
            && rule.composer.is_none_or(|seen| seen == self.composer.is_some())
            && rule.screen.as_ref().is_none_or(|p| p.0.is_match(&tail.plain))
            && rule.unless.as_ref().is_none_or(|p| !p.0.is_match(&tail.plain))
            && rule.styled.as_ref().is_none_or(|p| screen.has_colours() && p.0.is_match(&tail.styled))
            && rule
                .cursor_row
                .as_ref()
                .is_none_or(|p| screen.cursor_row().is_some_and(|row| p.0.is_match(row)))
            && rule.words.as_ref().is_none_or(|p| p.0.is_match(&self.words(rule)))
            && rule.above.as_ref().is_none_or(|p| self.above(rule).is_some_and(|text| p.0.is_match(&text)))
    }

    fn words(&self, rule: &Rule) -> String {
        self.screen.words(usize::MAX, rule.rows, |_| false)
    }

    fn above(&self, rule: &Rule) -> Option<String> {
        let begins = |row: &str| self.manifest.message.as_ref().is_some_and(|p| p.0.is_match(row));
        Some(self.screen.words(self.composer?, rule.rows, begins))
    }

    fn until(&self, rule: &Rule) -> Option<String> {
        let asks = |p: &Regex| p.capture_names().flatten().any(|n| n.starts_with("until"));
        let take = |pattern: &Option<super::manifest::Pattern>, text: &dyn Fn() -> Option<String>| {
            let pattern = pattern.as_ref().filter(|p| asks(&p.0))?;
            until(&pattern.0.captures(&text()?)?)
        };
        take(&rule.screen, &|| Some(self.screen.tail(rule.rows).plain))
            .or_else(|| take(&rule.words, &|| Some(self.words(rule))))
            .or_else(|| take(&rule.above, &|| self.above(rule)))
    }
}

/// Words that were wrapped stand on one row again. A pattern with two forms of a notice has two
/// groups: `until` and `until2`.
fn until(found: &Captures) -> Option<String> {
    let words = found.name("until").or_else(|| found.name("until2"))?.as_str();
    Some(words.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|w| !w.is_empty())
}

/// What a text says that stands where an answer would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// None where it failed for another reason.
    pub reason: Option<Reason>,
    /// The agent's own words for when it ends.
    pub until: Option<String>,
}

/// A notice of the agent's own is short; what is longer is an answer that quotes one.
const LONGEST: usize = 1000;

/// Whether `text`, an answer or a row of the agent's record, is itself a notice of the agent's that
/// it could not work. An answer that has such words in it is none: a notice begins with them.
pub fn notice(manifest: &Manifest, text: &str) -> Option<Said> {
    if text.len() > LONGEST {
        return None;
    }
    let text = run_together(text);
    manifest.notices.iter().find_map(|notice| {
        let found = notice.text.0.captures(&text)?;
        let first = found.get(0).is_some_and(|m| m.start() == 0);
        first.then(|| Said { reason: notice.reason, until: until(&found) })
    })
}
