//! Screens of agents that could not be run, composed from what their sources and others' captures
//! say: what is asked on them, what stands in the composer, and that each state has one.

use std::collections::BTreeSet;

use muxfs_agent::composer::{Composer, composer};
use muxfs_agent::question::{Question, question};

use super::agents::{BY_SOURCE, Saved, all, catalogue};
use super::doc::root;

/// `(agent, situations, header, a row of the text or none, options, selected)`.
type Asked = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], Option<usize>);

const AGY: &[&str] = &[
    "Yes, run command",
    "Yes, and always allow in this conversation for commands that start with 'touch'",
    "Yes, and always allow for commands that start with 'touch' (Persist to settings.json)",
    "No, cancel",
];
const CURSOR: &[&str] = &[
    "Run (once) (y)",
    "Add Shell(touch) to allowlist? (tab)",
    "Run Everything (shift+tab)",
    "Skip & tell the agent what to do instead (esc or n)",
];
const GOOSE: &[&str] = &["Allow", "Always Allow", "Deny", "Cancel"];
const GOOSE_ASKS: &str = "Goose would like to call the above tool, do you allow?";
const GROK: &[&str] = &[
    "Yes, and don't ask again for anything (always-approve mode)",
    "Yes, proceed",
    "No, reject (type to add feedback)",
];
const KIRO: &[&str] = &["Yes, single permission", "Trust, always allow in this session", "No (Tab to edit)"];
const TOUCH: &str = "touch stub_was_here";
const REFUSED: &str = "Not in allowlist: touch stub_was_here";

/// Without options where it is not known how the chosen one is marked, or a key alone answers.
const ASKED: &[Asked] = &[
    ("agy", "approval", "Command", TOUCH, AGY, Some(1)),
    ("agy", "approval-down", "Command", "Run this command?", AGY, Some(2)),
    (
        "agy",
        "approval-file",
        "Create file",
        "Allow creation of this file?",
        &["Yes, allow creation", "No, deny creation"],
        Some(1),
    ),
    (
        "agy",
        "survey",
        "How's the CLI experience so far? Help us improve:",
        "[1] Good  [2] Fine  [3] Bad  [0] Skip",
        &[],
        None,
    ),
    ("agy", "terms", "Terms of Service & Data Use", "[Previous]    >  Done", &[], None),
    (
        "agy",
        "trust",
        "Accessing workspace:",
        "/home/dev/proj",
        &["Yes, I trust this folder", "No, exit"],
        Some(1),
    ),
    ("amp", "approval", "Run this command?", "Deny with feedback", &[], None),
    ("amp", "login", "Would you like to log in to Amp? [(y)es, (n)o]:", "", &[], None),
    // The last rows are all that is known of these.
    ("amp", "plugin waiting-approval", "fix the parser", "", &[], None),
    ("amp", "login-required", "", "", &[], None),
    ("cursor", "approval", "Run this command?", REFUSED, CURSOR, Some(1)),
    ("cursor", "approval-down", "Run this command?", REFUSED, CURSOR, Some(2)),
    (
        "cursor",
        "approval-old",
        "Run this command?",
        REFUSED,
        &["Run (once) (y)", "Auto-run everything (shift+tab)", "Skip (esc or n)"],
        Some(1),
    ),
    (
        "cursor",
        "approval-write",
        "Write to this file?",
        "src/parser.rs",
        &["Proceed (y)", "Reject & propose changes (esc or n or p)", "Add Write(src/**) to allowlist? (tab)"],
        Some(1),
    ),
    (
        "cursor",
        "correction",
        "Tell the agent what to do instead (Enter to send, empty to skip)",
        "",
        &[],
        None,
    ),
    ("cursor", "login", "Cursor Agent", "Press any key to log in...", &[], None),
    (
        "cursor",
        "trust",
        "Workspace Trust Required",
        "/home/dev/proj",
        &["[a] Trust this workspace", "[q] Quit"],
        Some(1),
    ),
    ("goose", "approval approval-ascii", GOOSE_ASKS, "", GOOSE, Some(1)),
    ("goose", "approval-down", GOOSE_ASKS, "", GOOSE, Some(2)),
    ("goose", "approval-notice", "Do you allow this tool call?", "", &["Allow", "Deny", "Cancel"], Some(1)),
    ("goose", "secret", "Is this sensitive data?", "● Yes  / ○ No", &[], None),
    ("grok", "approval approval-no-title", "Question", TOUCH, GROK, Some(1)),
    ("grok", "approval-down", "Question", TOUCH, GROK, Some(2)),
    ("grok", "ask", "Question", "Which store should the cache use?", &["SQLite", "Redis"], Some(1)),
    ("grok", "login", "Approve in your browser to finish signing in.", "ABCD-EFGH", &[], None),
    ("grok", "trust", "Do you trust the contents of this directory?", "/home/dev/proj", &[], None),
    ("kiro", "approval", "Shell touch stub_was_here", "shell requires approval", KIRO, Some(1)),
    ("kiro", "approval-down", "Shell touch stub_was_here", "shell requires approval", KIRO, Some(2)),
    ("kiro", "approval-keys", "shell requires approval", "", &[KIRO[0], KIRO[2]], Some(1)),
    (
        "kiro",
        "approval-subagents",
        "2 tool approvals pending from subagents",
        "",
        &["Approve all pending", "Configure individually", "Exit (cancel subagents)"],
        Some(1),
    ),
    (
        "kiro",
        "trust-all",
        "Warning: Kiro is running in trust all tools mode",
        "",
        &["No, exit", "Yes, I accept", "Yes, and don't ask again"],
        Some(1),
    ),
    (
        "kiro",
        "old-approval",
        "Allow this action? Use 't' to trust (always allow) this tool for the session. [y/n/t]:",
        "",
        &[],
        None,
    ),
    ("plandex", "approval", "Apply changes to 2 files? (y)es | (n)o>", "", &[], None),
    ("plandex", "approval-commands", "Execute now? (y)es | (n)o | (c)ancel>", "", &[], None),
    (
        "plandex",
        "menu",
        "2 files have pending changes",
        "Press a hotkey, ↓ to select, or enter to exit menu/keep iterating>",
        &[],
        None,
    ),
    (
        "plandex",
        "missing-file",
        "src/lexer.rs isn't in context.",
        "🧐 What do you want to do?",
        &[
            "Load the file into context | 120 🪙",
            "Skip generating this file",
            "Allow Plandex to overwrite this file",
        ],
        Some(1),
    ),
];

fn composed() -> Vec<Saved> {
    all().into_iter().filter(|s| BY_SOURCE.contains(&s.agent.as_str())).collect()
}

#[test]
fn every_agent_has_screens_of_its_states_at_three_sizes() {
    let have: BTreeSet<(String, String, String)> = composed()
        .into_iter()
        .map(|s| (s.agent.clone(), s.name.split('-').next().unwrap().to_owned(), s.state))
        .collect();
    let mut missing = Vec::new();
    for agent in BY_SOURCE {
        for size in ["80x24", "120x40", "200x50"] {
            for state in ["ready", "busy", "blocked"] {
                if !have.contains(&((*agent).to_owned(), size.to_owned(), state.to_owned())) {
                    missing.push(format!("{agent} {size} {state}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_composed_screen_names_its_source() {
    for agent in BY_SOURCE {
        for entry in std::fs::read_dir(root().join("tests/fixtures/screens").join(agent)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let header = text.lines().next().unwrap();
            let taken = header.contains("; tmux 3.3a ");
            let source = header.split_once("; composed from ").map_or("", |(_, rest)| rest);
            assert!(taken || source.contains('/') && source.contains("; state="), "{path:?}: {header}");
        }
    }
}

/// What was typed in a situation.
fn typed(situation: &str) -> Option<&'static str> {
    let kinds = ["-new", "-old", "-auto", "-chat"];
    let draft = kinds.iter().find_map(|kind| situation.strip_suffix(kind)).unwrap_or(situation);
    match draft.strip_prefix("old-").unwrap_or(draft) {
        "draft" => Some("please look at the failing test and then"),
        "draft-multiline" => Some("fix the first point\nthen the second one\nand the third"),
        "draft-after-long" => Some("thanks, now also check the"),
        d if d.starts_with("busy-") && d.ends_with("-draft") => Some("also the docs"),
        _ => None,
    }
}

#[test]
fn drafts_are_told() {
    let catalogue = catalogue();
    let (mut wrong, mut drafts) = (Vec::new(), 0);
    for s in composed() {
        let got = composer(catalogue.get(&s.agent).unwrap(), &s.screen);
        let right = match (&*s.state, typed(s.situation())) {
            (_, Some(text)) => {
                drafts += 1;
                got == Composer::Draft(text.to_owned())
            }
            ("blocked", None) => matches!(got, Composer::Hidden(_)),
            // An answer may look like one; nothing is sent while it is not known what stands there.
            ("unknown", None) => true,
            ("busy", None) => matches!(got, Composer::Hidden(_) | Composer::Empty),
            (_, None) => got == Composer::Empty,
        };
        if !right {
            wrong.push(format!("{} ({}): {got:?}", s.path(), s.state));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(drafts >= 45, "{drafts}");
}

fn differs(s: &Saved, got: &Question) -> Option<String> {
    let row = ASKED.iter().find(|a| a.0 == s.agent && a.1.split(' ').any(|w| w == s.situation()));
    let labels: Vec<&str> = got.options.iter().map(|o| o.label.as_str()).collect();
    let right = row.is_some_and(|(_, _, header, text, options, selected)| {
        let told = text.is_empty() || got.text.lines().any(|row| row == *text);
        // A narrow terminal wraps a long one.
        let title = got.header == *header || got.header.len() > 70 && header.starts_with(&got.header);
        title && told && labels == *options && got.selected == *selected
    });
    let why = format!("{}: {:?} | {:?} | {labels:?} | {:?}", s.path(), got.header, got.text, got.selected);
    (!right).then_some(why)
}

#[test]
fn every_blocked_one_has_its_question() {
    let catalogue = catalogue();
    let (mut wrong, mut right) = (Vec::new(), 0);
    for s in composed() {
        let got = question(catalogue.get(&s.agent).unwrap(), &s.screen);
        match (s.state == "blocked", got) {
            (true, Some(got)) => match differs(&s, &got) {
                None => right += 1,
                Some(why) => wrong.push(why),
            },
            (false, None) => {}
            (blocked, got) => wrong.push(format!("{}: blocked is {blocked}, asked {got:?}", s.path())),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {right} right:\n{}", wrong.len(), wrong.join("\n"));
}
