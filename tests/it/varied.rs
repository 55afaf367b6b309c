//! Saved screens of real agents in other sizes, themes, modes and versions than the defaults: a
//! table by agent, true state and judged state; and the same with other words and other colours.
//!
//! Each file's first line says the state that was judged from what was going on, not by a rule.

mod looks;

use std::collections::BTreeMap;

use muxfs_agent::composer::{Composer, composer, read, shows};
use muxfs_agent::manifest::{Reason, State};
use muxfs_agent::question::question;
use muxfs_agent::rules::{judge, notice};
use muxfs_agent::screen::Screen;

use super::agents::{Saved, catalogue, files, real, saved};
use super::doc::root;

fn varied() -> Vec<Saved> {
    let dirs = files(&root().join("tests/fixtures/screens-varied"));
    let all: Vec<Saved> = dirs.iter().flat_map(|agent| files(agent)).map(|p| saved(&p)).collect();
    assert!(all.len() >= 210, "{}", all.len());
    all
}

/// `(path, what is said)`: where another word than the label's is as right, or cannot be told.
const ARGUABLE: &[(&str, &str)] = &[
    // Labelled by the prompt that was to be sent; it was held, and these show an idle composer.
    ("claude/120x40-sl3-approval", "ready"),
    ("claude/120x40-sl3-limit", "ready"),
    // The notice has scrolled off: the agent's record alone tells.
    ("codex/40x11-sz40x12-limit", "ready"),
];

#[test]
fn varied_screens_are_judged_right() {
    let catalogue = catalogue();
    let mut table: BTreeMap<(String, String, &str), usize> = BTreeMap::new();
    let (mut right, mut grave, mut missed) = (0, Vec::new(), Vec::new());
    let all = varied();
    for s in &all {
        let verdict = judge(catalogue.get(&s.agent).unwrap(), &s.screen);
        let said = verdict.state.word();
        *table.entry((s.agent.clone(), s.state.clone(), said)).or_default() += 1;
        let line = format!("{}: is {}, said {said} by {:?}", s.path(), s.state, verdict.rule);
        if said == s.state
            || ARGUABLE.iter().any(|(path, as_right)| s.path().starts_with(path) && *as_right == said)
        {
            right += 1;
        } else if said == "ready" || s.state == "blocked" || said == "blocked" {
            grave.push(line);
        } else {
            missed.push(line);
        }
    }
    for ((agent, is, said), n) in &table {
        println!("{agent:9} {is:8} {said:8} {n:3}{}", if is == said { "" } else { "  *" });
    }
    println!("{right} of {}", all.len());
    println!("missed:\n{}", missed.join("\n"));
    assert!(grave.is_empty(), "{}:\n{}", grave.len(), grave.join("\n"));
    assert!(right * 100 >= all.len() * 97, "{right} of {}:\n{}", all.len(), missed.join("\n"));
}

/// Words of the prompts and answers that the model of the tests gives, and of drafts: no agent's own.
const SAID: &[&str] = &[
    "numbers",
    "agrees",
    "parser",
    "first",
    "around",
    "failing",
    "comes",
    "empty",
    "input",
    "small",
    "guard",
    "fixes",
    "public",
    "function",
    "unchanged",
    "package",
    "needed",
    "quick",
    "brown",
    "jumps",
    "look",
    "draft",
    "half",
    "hello",
    "docs",
    "REPLY",
    "STUBREPLY",
];

/// The same screen after a conversation about something else.
fn other_words(text: &str) -> String {
    let other =
        |word: &&str| word.chars().map(|c| if c.is_uppercase() { 'Q' } else { 'x' }).collect::<String>();
    SAID.iter().fold(text.to_owned(), |text, word| text.replace(word, &other(word)))
}

/// Each escape sequence that sets a look, with its numbers changed or left out.
fn looks(text: &str, change: impl Fn(&mut Vec<String>) -> bool) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let mut numbers: Vec<String> = part[..end].split(';').map(str::to_owned).collect();
        if !part[end..].starts_with('m') || change(&mut numbers) {
            out.push_str(&format!("\u{1b}[{}{}", numbers.join(";"), &part[end..]));
        } else {
            out.push_str(&part[end + 1..]);
        }
    }
    out
}

/// Another theme: every colour is another, and different ones stay different.
fn other_colours(text: &str) -> String {
    let number = |n: &String| n.parse::<u16>().unwrap_or(0);
    looks(text, |numbers| {
        if numbers.len() == 3 && numbers[1] == "5" || numbers.len() == 5 && numbers[1] == "2" {
            numbers[2] = ((number(&numbers[2]) + 97) % 256).to_string();
        } else {
            for n in numbers.iter_mut().filter(|n| matches!(number(n), 30..=37 | 40..=47 | 90..=97)) {
                *n = (number(n) / 10 * 10 + (number(n) % 10 + 3) % 8).to_string();
            }
        }
        true
    })
}

/// No colours at all.
fn no_colours(text: &str) -> String {
    looks(text, |numbers| {
        numbers.retain(|n| matches!(n.as_str(), "" | "0" | "7" | "27"));
        !numbers.is_empty() && !numbers.iter().any(|n| n == "5")
    })
}

/// What a saved screen says must not depend on what was talked about, nor on one theme: with other
/// words, other colours or none it is the same, or nothing is known.
#[test]
fn neither_words_nor_colours_make_a_screen_ready_or_a_composer_empty() {
    let catalogue = catalogue();
    let mut wrong = Vec::new();
    let (mut same, mut less) = (0, 0);
    let all = varied().into_iter().chain(real()).filter(|s| s.state != "exited" && s.state != "unknown");
    for s in all {
        let manifest = catalogue.get(&s.agent).unwrap();
        let (before, held) = (judge(manifest, &s.screen).state, composer(manifest, &s.screen));
        type Change = fn(&str) -> String;
        let changes: [(&str, Change); 3] =
            [("words", other_words), ("colours", other_colours), ("no colours", no_colours)];
        for (what, change) in changes {
            let mut screen = Screen::parse(&change(&s.text));
            (screen.title, screen.cursor) = (s.screen.title.clone(), s.screen.cursor);
            let after = judge(manifest, &screen).state;
            let holds = composer(manifest, &screen);
            if after != before && after != State::Unknown {
                wrong.push(format!("{} with other {what}: {before:?} became {after:?}", s.path()));
            }
            let empty = |c: &Composer| *c == Composer::Empty;
            if empty(&holds) && !empty(&held) {
                wrong.push(format!("{} with other {what}: {held:?} became empty", s.path()));
            }
            if after == before { same += 1 } else { less += 1 }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    println!("{same} the same, {less} unknown");
    assert!(less * 12 <= same, "{same} the same, {less} unknown");
}

/// What agents show in the place of an answer, `(agent, words, reason, until)`, and whether a reply
/// that quotes it is taken for it.
#[test]
fn a_notice_is_told_from_an_answer_that_quotes_it() {
    let catalogue = catalogue();
    let notices: &[(&str, &str, Option<Reason>, Option<&str>)] = &[
        (
            "claude",
            "You've hit your 5-hour limit · resets 7:06am (UTC)",
            Some(Reason::Usage),
            Some("7:06am (UTC)"),
        ),
        (
            "claude",
            "You've hit your weekly limit · resets Nov 25, 7am (UTC)",
            Some(Reason::Usage),
            Some("Nov 25, 7am (UTC)"),
        ),
        (
            "claude",
            "API Error: Request rejected (429) · This request would exceed your account's rate limit. Please try again\nlater.",
            Some(Reason::Usage),
            None,
        ),
        (
            "claude",
            "Credit balance too low · Add funds: https://platform.claude.com/settings/billing",
            Some(Reason::Usage),
            None,
        ),
        ("claude", "Not logged in · Please run /login", Some(Reason::Login), None),
        (
            "claude",
            "API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)",
            Some(Reason::Network),
            None,
        ),
        (
            "claude",
            "API Error: 500 Internal server error. This is a server-side issue, usually temporary — try again in a moment.",
            None,
            None,
        ),
        (
            "codex",
            "You’ve hit your usage limit. Upgrade to Pro (https://chatgpt.com/explore/pro), visit https://chatgpt.com/settings/usage to purchase more credits or try again at 7:10 AM.",
            Some(Reason::Usage),
            Some("7:10 AM"),
        ),
        (
            "codex",
            "unexpected status 401 Unauthorized: Incorrect API key provided: dummy., url: http://127.0.0.1:1/v1/responses",
            Some(Reason::Login),
            None,
        ),
        (
            "codex",
            "stream disconnected before completion: error sending request for url",
            Some(Reason::Network),
            None,
        ),
        (
            "gemini",
            "[API Error: {\"error\":{\"code\":429,\"message\":\"Quota exceeded\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
            Some(Reason::Usage),
            None,
        ),
        (
            "gemini",
            "[API Error: {\"error\":{\"code\":401,\"message\":\"no\",\"status\":\"UNAUTHENTICATED\"}}]",
            Some(Reason::Login),
            None,
        ),
        ("qwen", "[API Error: 401 Incorrect API key provided: dummy.]", Some(Reason::Login), None),
        (
            "qwen",
            "[API Error: Connection error. (cause: fetch failed)] (Press Ctrl+Y to retry)",
            Some(Reason::Network),
            None,
        ),
        (
            "opencode",
            "You exceeded your current quota, please check your plan and billing details.",
            Some(Reason::Usage),
            None,
        ),
        (
            "copilot",
            "429 You exceeded your current quota, please check your plan and billing details.",
            Some(Reason::Usage),
            None,
        ),
        (
            "copilot",
            "Authentication failed with provider at http://127.0.0.1:1/v1 (HTTP 401).",
            Some(Reason::Login),
            None,
        ),
    ];
    for (agent, words, reason, until) in notices {
        let manifest = catalogue.get(agent).unwrap();
        let said = notice(manifest, words).unwrap_or_else(|| panic!("{agent}: {words}"));
        assert_eq!((said.reason, said.until.as_deref()), (*reason, *until), "{agent}: {words}");
        for quoted in [
            format!("It says: {words}"),
            format!("> {words}\n\nThat is what stood there."),
            format!("The row reads\n{words}"),
        ] {
            assert_eq!(notice(manifest, &quoted), None, "{agent}: {quoted}");
        }
        assert_eq!(
            notice(manifest, &format!("{words} {}", "and more ".repeat(200))),
            None,
            "{agent}: a long text"
        );
    }
}

/// What stands in the composer, by situation, as it was typed.
fn typed(s: &Saved) -> Option<Composer> {
    let draft = |text: &str| Some(Composer::Draft(text.to_owned()));
    let path = s.path();
    let is = |part: &str| path.contains(part);
    let other = |mode: &str, text: &str| Some(Composer::Other { mode: mode.into(), text: Some(text.into()) });
    let shell = |text: &str| other("shell", text);
    if is("comp-bang") {
        return shell("echo P-bang-$((1+1))");
    }
    if is("shell-mode") {
        return shell("ls -l");
    }
    if is("vim-normal") {
        // claude shows no sign: an earlier capture has to.
        return match s.agent.as_str() {
            "claude" => draft("ab"),
            "gemini" => other("vim normal", "ab"),
            _ => other("vim normal", ""),
        };
    }
    match s.situation() {
        "vim-insert" => return draft("ab"),
        "folded" => return draft("my draft[Pasted Text: 699 chars]"),
        // What is seen of a text that is higher than the composer: as it was pasted.
        "tall" | "tall-shell" => {
            let manifest = catalogue().get(&s.agent).unwrap().clone();
            let got = composer(&manifest, &s.screen);
            let words: Vec<String> = (0..100).map(|n| format!("word{n:02}")).collect();
            assert!(shows(&manifest, got.text().unwrap_or_default(), &words.join(" ")), "{path}: {got:?}");
            return Some(got);
        }
        "popup-file" if s.agent == "gemini" => return draft("explain @"),
        "popup-file" => return draft("look @READ"),
        "popup-skill" => return draft("use $"),
        "popup-command" if s.agent == "codex" => return draft("/mo"),
        "popup-command" if s.agent == "gemini" => return draft("/tmp"),
        // It writes the entry that Enter would take.
        "popup-command" if s.agent == "copilot" => return draft("/collect-debug-logs"),
        "popup-command" => return draft("/co"),
        _ => {}
    }
    if is("comp-tab") {
        return shell("");
    }
    // What stood there was the command that codex did not know and put back.
    if s.agent == "codex" && is("-comp-") {
        return draft("/nosuch P-path2 thing");
    }
    match s.situation() {
        "shellmode" => draft("@?!"),
        // The prompt had been held, or its text stands there still.
        "small-approval" | "small-busy" if s.agent == "opencode" => draft("hello P-40-0"),
        _ if s.state == "blocked" && !is("sl3-approval") => None,
        // The keys had not arrived, or were sent already.
        _ if is("wrapnoc-draft") || is("nocolor-afterdraft") || is("vim-afterdraft") => Some(Composer::Empty),
        "bg-draft" => draft("my half draft"),
        "noanim-busydraft" | "sl_ctx-busydraft" | "title_none-busydraft" => draft("x"),
        "hidefooter-busydraft" | "std-busydraft" if s.agent != "gemini" || is("hide") => draft("x"),
        "noanim-draft" | "sl_ctx-draft" | "title_none-draft" | "hidefooter-draft" => {
            draft("a half draft of mine")
        }
        "std-draft" if s.agent != "gemini" => draft("a half draft of mine"),
        _ if is("busydraft") || is("afterdraft") => draft("also the docs"),
        _ if is("small-draft") => draft("my own half draft here"),
        _ if is("-draft") => draft("please look at the failing test and"),
        _ => Some(Composer::Empty),
    }
}

#[test]
fn varied_composers_are_read() {
    let catalogue = catalogue();
    let (mut wrong, mut unsure) = (Vec::new(), 0);
    for s in &varied() {
        let got = composer(catalogue.get(&s.agent).unwrap(), &s.screen);
        match (typed(s), &got) {
            (None, Composer::Hidden(_)) => {}
            (Some(wanted), got) if wanted == *got => {}
            (Some(_), Composer::Unsure(_)) => unsure += 1,
            (wanted, got) => wrong.push(format!("{} ({}): {got:?}, is {wanted:?}", s.path(), s.state)),
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {unsure} unsure:\n{}", wrong.len(), wrong.join("\n"));
    assert!(unsure <= 2, "{unsure} unsure");
}

/// `(path, header, options with their boxes, selected)`.
const DIALOGS: &[(&str, &str, &[&str], Option<usize>)] = &[
    (
        "claude/120x40-automode-offer",
        "Make auto mode your default permission mode?",
        &["Yes, set auto mode as my default permission mode", "No, keep manual mode"],
        Some(1),
    ),
    ("claude/120x40-cmdhelp", "Help  General   Commands   Custom commands", &[], None),
    (
        "claude/120x40-cmdmemory",
        "Memory",
        &["User instructions", "Project instructions", "Open auto-memory folder"],
        Some(1),
    ),
    (
        "claude/120x40-imports0",
        "2 new MCP servers found in this project",
        &["[x] p1", "[x] p2", "Enable selected"],
        Some(1),
    ),
    (
        "claude/120x40-plan-approval",
        "Exit plan mode?",
        &["Yes, and switch to default (ask each time) for this session", "No"],
        Some(1),
    ),
    (
        "claude/120x40-q-AskMulti-ticked",
        "Which checks shall I run?",
        &["[x] Lint", "[ ] Tests", "[ ] Types", "[ ] Type something"],
        Some(1),
    ),
    ("claude/120x40-trust", "Accessing workspace:", &["No, exit", "Yes, I trust this folder"], Some(1)),
    (
        "copilot/40x11-small-approval",
        "",
        &[
            "Yes",
            "Yes, and don't ask again for `touch` in this repo (~/proj)",
            "No, and tell Copilot what to do differently (Esc to stop)",
        ],
        Some(1),
    ),
    (
        "gemini/120x40-limit-after-tool",
        "Usage limit reached for gemini-3.8-flash.",
        &["Keep trying", "Stop"],
        Some(1),
    ),
];

#[test]
fn varied_dialogs_are_taken_apart() {
    let catalogue = catalogue();
    let all = varied();
    let asked = |s: &Saved| question(catalogue.get(&s.agent).unwrap(), &s.screen);
    let mut wrong = Vec::new();
    for (path, header, options, selected) in DIALOGS {
        let s = all.iter().find(|s| s.path().starts_with(path)).unwrap_or_else(|| panic!("{path}"));
        let q = asked(s).unwrap_or_else(|| panic!("{path}: nothing is asked"));
        let labels: Vec<String> = q
            .options
            .iter()
            .map(|o| format!("{}{}", o.ticked.map_or("", |t| if t { "[x] " } else { "[ ] " }), o.label))
            .collect();
        if q.header != *header || labels != *options || q.selected != *selected {
            wrong.push(format!("{path}: {:?} {labels:?} {:?}", q.header, q.selected));
        }
        assert_eq!(q.place.options.len(), q.options.len());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The rows that are told are those of the label, from the header on, and the mark stands in its own.
    for s in all.iter().filter(|s| s.state == "blocked") {
        let Some(q) = asked(s) else { continue };
        for (option, rows) in q.options.iter().zip(&q.place.options) {
            let word = option.label.split(' ').next().unwrap();
            assert!(s.screen.rows()[rows.start].text().contains(word), "{}: {option:?} {rows:?}", s.path());
            assert!(
                q.place.rows.contains(&rows.start) && rows.end <= q.place.rows.end,
                "{}: {q:?}",
                s.path()
            );
        }
    }
}

/// `(path, what Enter would take)`; empty where the list shows that by a colour alone.
const LISTS: &[(&str, &str)] = &[
    ("claude/120x40-popup-command", "/copy"),
    ("claude/120x40-popup-file", ""),
    ("claude/80x24-popup-command", ""),
    ("claude/80x24-popup-file", ""),
    ("codex/120x40-popup-command", "/model"),
    ("codex/120x40-popup-file", "README.md"),
    ("codex/120x40-popup-skill", "Image Gen"),
    ("copilot/120x40-popup-command", "/collect-debug-logs"),
    ("copilot/120x40-popup-file", "@README.md"),
    ("gemini/120x40-popup-command", ""),
    ("gemini/120x40-popup-file", ""),
    ("opencode/120x40-popup-command", "/connect"),
    ("opencode/120x40-popup-file", "README.md"),
    ("qwen/120x40-popup-command", "copy"),
    ("qwen/120x40-popup-file", "README.md"),
];

#[test]
fn lists_of_completions_are_seen_and_nothing_else_is_one() {
    let catalogue = catalogue();
    let mut wrong = Vec::new();
    for s in varied().into_iter().chain(real()).filter(|s| s.state != "exited") {
        let takes = read(catalogue.get(&s.agent).unwrap(), &s.screen, false).popup.map(|p| p.takes);
        let wanted = LISTS.iter().find(|(path, _)| s.path().starts_with(path)).map(|(_, takes)| *takes);
        // Menus of commands, opened by a slash alone.
        let slash = s.situation().starts_with("slash");
        if takes.as_deref() != wanted && !(slash && wanted.is_none()) {
            wrong.push(format!("{}: {takes:?}, is {wanted:?}", s.path()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two blanks part an entry of codex's list from what is said of it, and may stand in a prompt.
#[test]
fn a_prompt_that_looks_like_an_entry_is_no_list() {
    let catalogue = catalogue();
    let codex = catalogue.get("codex").unwrap();
    let screen = Screen::parse(
        "• done\n\n› fix  it all\n\n  gpt default · ~/proj\n  ← for agents · ? for shortcuts\n",
    );
    let seen = read(codex, &screen, false);
    assert_eq!((seen.shown.trim(), seen.popup), ("fix  it all", None));
}

#[test]
fn normal_mode_is_known_once_insert_was_seen() {
    let catalogue = catalogue();
    let all = varied();
    let screen = |path: &str| &all.iter().find(|s| s.path().starts_with(path)).unwrap().screen;
    let claude = catalogue.get("claude").unwrap();
    assert!(read(claude, screen("claude/40x12-vim-insert"), false).sign);
    let after = read(claude, screen("claude/40x12-vim-normal"), true);
    assert_eq!(after.composer, Composer::Other { mode: "vim normal".into(), text: Some("ab".into()) });
    // Most people have no such mode, and never see the sign.
    let fresh = screen("claude/40x11-sz40x12-fresh");
    assert_eq!(read(claude, fresh, false).composer, Composer::Empty);
}

/// A notice counts only where the agent puts it: never in an answer that quotes it, wherever.
#[test]
fn a_screen_that_quotes_a_notice_is_not_limited() {
    let catalogue = catalogue();
    let quotes: &[(&str, &str, &[&str])] = &[
        (
            "claude",
            "screens/claude/120x40-after-short.txt",
            &[
                "  ⎿  You've hit your 5-hour limit · resets 7:06am (UTC)",
                "● API Error: Request rejected (429) · This request would exceed it.",
                "Not logged in · Please run /login",
            ],
        ),
        (
            "codex",
            "screens/codex/120x40-after-short.txt",
            &["■ You’ve hit your usage limit. Try again at 7:10 AM."],
        ),
        ("gemini", "screens/gemini/120x40-after-short.txt", &["✕ [API Error: {\"error\":{\"code\":429}}]"]),
        (
            "qwen",
            "screens/qwen/120x40-after-queued.txt",
            &["✕ [API Error: 401 Incorrect API key provided: dummy.]"],
        ),
        ("copilot", "screens/copilot/120x40-after-short.txt", &["✗ 429 You exceeded your current quota."]),
    ];
    const ANSWER: &str = "The two numbers add up to four, and the check in the test file agrees with that.";
    for (agent, path, notices) in quotes {
        let s = saved(&root().join("tests/fixtures").join(path));
        let manifest = catalogue.get(agent).unwrap();
        let judged = |text: &str| {
            let mut screen = Screen::parse(text);
            (screen.title, screen.cursor) = (s.screen.title.clone(), s.screen.cursor);
            judge(manifest, &screen).state
        };
        assert_eq!(judged(&s.text), State::Ready, "{path}");
        assert!(s.text.contains(ANSWER), "{path}");
        for notice in *notices {
            for quote in [
                format!("It says: {notice}"),
                format!("It says\n     {notice}"),
                format!("It says\n     {notice}\n     and that is all."),
            ] {
                assert_eq!(judged(&s.text.replace(ANSWER, &quote)), State::Ready, "{agent}: {quote}");
            }
        }
    }
}
