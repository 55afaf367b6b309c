//! Saved screens of real agents: whose composer holds a draft, and when a limit ends.
//!
//! The expectations were read off the screens by eye, a row for each situation.

use std::time::{Duration, SystemTime};

use muxfs_agent::composer::{Composer, composer};
use muxfs_agent::manifest::State;
use muxfs_agent::rules::judge;
use muxfs_agent::until::until;

use super::agents::{Saved, catalogue, real};

/// `(agent, situation, what is written there)` besides the drafts of [`typed`].
const WRITTEN: &[(&str, &str, &str)] = &[
    ("aider", "slash", "/"),
    ("aider", "slash-down", "/add"),
    ("claude", "ghost-1char", "x"),
    ("claude", "slash", "/"),
    ("claude", "slash-down", "/"),
    ("claude", "sub-limit-draft", "one more question"),
    ("claude", "sub-limit-warning-draft", "go on with"),
    ("codex", "slash", "/"),
    ("codex", "slash-down", "/"),
    ("continue", "slash", "/"),
    ("continue", "slash-down", "/"),
    // It completes what is typed as the menu goes.
    ("copilot", "slash", "/add-dir"),
    ("copilot", "slash-down", "/agent"),
    ("gemini", "slash", "/"),
    ("gemini", "slash-down", "/"),
    ("opencode", "slash", "/"),
    ("opencode", "slash-down", "/"),
    // An interrupt before the answer puts the request back: someone has to decide about it.
    ("claude", "interrupted-think", "stop early THINK6"),
    ("claude", "err429-retry-esc", "retry this ERR429"),
    ("claude", "err500-retry-esc", "retry this ERR500"),
    ("copilot", "interrupted-think", "stop early THINK6"),
    ("copilot", "err429-retry-esc", "retry this ERR429"),
    ("copilot", "err500-retry-esc", "retry this ERR500"),
    ("qwen", "interrupted-think", "stop early THINK6"),
    ("qwen", "interrupted", "explain the fix SLOW9"),
    ("qwen", "err429-esc", "retry this ERR429F"),
    ("qwen", "err429-retry-esc", "retry this ERR429"),
    ("qwen", "err500-esc", "retry this ERR500F"),
    ("qwen", "err500-retry-esc", "retry this ERR500"),
];

/// What else a capture of the same situation may hold, `(agent, situation, text)`.
const AGAIN: &[(&str, &str, &str)] = &[
    ("claude", "draft", "write the docs for the parser"),
    ("continue", "draft", "write the docs for the parser"),
    ("gemini", "draft", "write the docs for the parser"),
    ("qwen", "draft", "write the docs for the parser"),
    ("claude", "busy-stream-draft", "and then"),
    ("continue", "busy-stream-draft", "and then"),
    ("gemini", "busy-stream-draft", "and then"),
    ("qwen", "busy-stream-draft", "and then"),
    ("aider", "draft", "write the docs for the parser"),
    ("codex", "draft", "write the docs for the parser"),
    ("copilot", "draft", "write the docs for the parser"),
    ("opencode", "draft", "write the docs for the parser"),
    ("codex", "busy-stream-draft", "and then"),
    ("copilot", "busy-stream-draft", "and then"),
    ("opencode", "busy-stream-draft", "and then"),
    ("qwen", "interrupted", "stop early SLOW25 LINES60"),
    // Taken after the key had arrived, unlike the other.
    ("qwen", "slash", "/"),
];

/// What was typed in a situation, the same for every agent.
fn typed(agent: &str, situation: &str) -> Option<String> {
    let text = match (situation, agent) {
        // It shows no composer while it works.
        ("busy-think-draft" | "busy-stream-draft", "aider") => return None,
        // Two escapes at once clear these two.
        ("draft-escesc", "claude" | "gemini") | ("draft-cleared", _) => return None,
        ("draft" | "draft-esc1" | "draft-esc2", _) => "please look at the failing test and then",
        ("draft-escesc", _) => "a second draft about the parser",
        ("draft-1char", _) => "y",
        ("draft-after-long", _) => "thanks, now also check the",
        ("busy-think-draft", _) => "also update the docs",
        ("busy-stream-draft", _) => "also the docs",
        ("draft-multiline", "opencode") => "[Pasted ~3 lines]",
        ("draft-multiline", _) => "fix the first point\nthen the second one\nand the third",
        ("draft-paste40", "claude") => "[Pasted text #1 +39 lines]",
        ("draft-paste40", "codex" | "qwen") => "[Pasted Content 2069 chars]",
        ("draft-paste40", "continue") => "[Paste #1, 40 lines]",
        ("draft-paste40", "copilot") => "[Paste #1 - 40 lines]",
        ("draft-paste40", "gemini") => "[Pasted Text: 40 lines]",
        ("draft-paste40", "opencode") => "[Pasted ~40 lines]",
        ("draft-paste40", "aider") => {
            let rows = (0..40).map(|n| format!("row {n}: the quick brown fox jumps over the lazy dog"));
            return Some(rows.collect::<Vec<_>>().join("\n"));
        }
        _ => return WRITTEN.iter().find(|w| w.0 == agent && w.1 == situation).map(|w| w.2.to_owned()),
    };
    Some(text.to_owned())
}

fn wanted(s: &Saved) -> Composer {
    match typed(&s.agent, s.situation()) {
        Some(text) => Composer::Draft(text),
        // Its label goes by the request; the screen shows it answered.
        None if s.path() == "aider/old-blocked.txt" => Composer::Empty,
        None if s.state == "blocked" || s.state == "unknown" => Composer::Hidden(""),
        // Its prompt is there only while it reads.
        None if s.agent == "aider" && s.state != "ready" => Composer::Hidden(""),
        // A menu in its place.
        None if s.situation() == "sub-limit-options" => Composer::Hidden(""),
        None => Composer::Empty,
    }
}

#[test]
fn drafts_are_told_from_hints() {
    let catalogue = catalogue();
    let (mut wrong, mut drafts, mut others, mut unsure) = (Vec::new(), 0, 0, 0);
    for s in real().iter().filter(|s| s.state != "exited") {
        let manifest = catalogue.get(&s.agent).unwrap();
        let (got, wanted) = (composer(manifest, &s.screen), wanted(s));
        match (&got, &wanted) {
            (Composer::Draft(a), Composer::Draft(b)) if a == b => drafts += 1,
            // These two draw their cursor, so without colours nothing tells a draft from a hint.
            (Composer::Unsure(_), Composer::Draft(_))
                if !s.screen.has_colours() && ["continue", "gemini"].contains(&s.agent.as_str()) =>
            {
                unsure += 1;
            }
            // A suggestion in the placeholder's place, without its colours.
            (Composer::Unsure(_), Composer::Empty)
                if ["qwen/old-done.txt", "qwen/old-ready.txt"].contains(&&*s.path()) =>
            {
                unsure += 1;
            }
            (Composer::Hidden(_), Composer::Hidden(_)) => others += 1,
            (a, b) if a == b => others += 1,
            // The same situations with other prompts.
            (Composer::Draft(a), _) if AGAIN.contains(&(&*s.agent, s.situation(), a)) => drafts += 1,
            // The key had not arrived.
            (Composer::Empty, _) if s.path() == "claude/200x50-slash.ansi" => others += 1,
            // The menu of commands leaves no room for it.
            (Composer::Hidden(_), _) if s.path() == "continue/80x24-slash.ansi" => others += 1,
            _ => wrong.push(format!("{} ({}): {got:?}, is {wanted:?}", s.path(), s.state)),
        }
    }
    let counts = format!("{drafts} drafts, {others} others, {unsure} unsure");
    assert!(wrong.is_empty(), "{} wrong, {counts}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(drafts >= 130 && unsure <= 24, "{counts}");
}

/// `(agent, situations, the agent's words)`.
const LIMITS: &[(&str, &str, &str)] = &[
    ("aider", "err429", "8.0 seconds"),
    ("aider", "err429", "2.0 seconds"),
    ("aider", "err429", "4.0 seconds"),
    ("aider", "err429-2s", "1.0 seconds"),
    ("claude", "err429-retrying", "16s"),
    ("claude", "err429-retrying-10s", "11s"),
    ("claude", "sub-limit sub-limit-3s sub-limit-draft sub-limit-esc", "7:06am (UTC)"),
    ("codex", "err429 err429-2s err429-esc err429-retry-esc err500-retry-esc resumed", "7:10 AM"),
    // It names no time.
    ("codex", "err429", ""),
    ("opencode", "err429", "3s"),
    // The seconds are painted over.
    ("opencode", "err429 err429-2s", "59m"),
];

#[test]
fn a_limit_says_until_when() {
    let catalogue = catalogue();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_233_600); // 2026-11-21 04:00 UTC
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for s in real().iter().filter(|s| s.state != "exited") {
        let verdict = judge(catalogue.get(&s.agent).unwrap(), &s.screen);
        let rows = LIMITS.iter().filter(|l| l.0 == s.agent && l.1.split(' ').any(|w| w == s.situation()));
        let rows: Vec<_> = rows.filter(|_| verdict.state == State::Limited).collect();
        let words = verdict.until.as_deref();
        let fits =
            if rows.is_empty() { words.is_none() } else { rows.iter().any(|l| l.2 == words.unwrap_or("")) };
        let end = verdict.until.as_ref().and_then(|words| until(words, now, 0));
        let soon = end.is_some_and(|end| end > now && end < now + Duration::from_secs(5 * 3600));
        if !fits || words.is_some() != soon {
            wrong.push(format!("{}: {verdict:?}, {end:?}", s.path()));
        }
        seen += usize::from(words.is_some());
    }
    assert!(wrong.is_empty(), "{} wrong, {seen} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen >= 20, "{seen}");
}
