//! Saved screens of real agents: what a blocked one asks, and how it is answered.
//!
//! The expectations were read off the screens by eye, a row for each situation.

use muxfs::agent::composer::composer;
use muxfs::agent::manifest::{Manifest, State};
use muxfs::agent::question::{Key, Question, Step, asked, question};
use muxfs::agent::rules::judge;
use muxfs::agent::screen::Screen;

use super::agents::{Saved, all, catalogue, dialogs};

/// `(agent, situations, header, rows that are in the text, options, selected)`.
type Asked = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    Option<usize>,
);

const YES_NO: &[&str] = &["Yes", "No"];
const CLAUDE: &[&str] = &[
    "Yes",
    "Yes, and always allow access to /home/dev/proj from this project",
    "Yes, and switch to auto mode · auto mode handles these prompts for you",
    "No",
];
const CLAUDE_TEXT: &[&str] = &["touch stub_was_here", "Do you want to proceed?"];
const CODEX: &[&str] = &[
    "Yes, proceed (y)",
    "Yes, and don't ask again for commands that start with `touch stub_was_here` (p)",
    "No, and tell Codex what to do differently (esc)",
];
const CODEX_ASKS: &str = "Would you like to run the following command?";
const CODEX_TEXT: &[&str] = &["Environment: local", "Reason: stub asks", "$ touch stub_was_here"];
const CODEX_LOGIN: &[&str] = &["Sign in with ChatGPT", "Sign in with Device Code", "Sign in another way"];
const CODEX_TALK: &[&str] = &["fix the first pointthen the second oneand the third"];
const CONTINUE: &[&str] = &[
    "Continue (tab)",
    "Continue + don't ask again (shift+tab)",
    "No, and tell Continue what to do differently (esc)",
];
const CONTINUE_TEXT: &[&str] = &["⎿ Will run: touch stub_was_here", "Would you like to continue?"];
const COPILOT: &[&str] = &[
    "Yes",
    "Yes, and don't ask again for `touch` in this repo (~/proj)",
    "No, and tell Copilot what to do differently (Esc to stop)",
];
const COPILOT_TEXT: &[&str] = &["touch stub_was_here", "Do you want to run this command?"];
const GEMINI: &[&str] = &["Allow once", "Allow for this session", "No, suggest changes (esc)"];
const GEMINI_TEXT: &[&str] = &["touch stub_was_here", "Allow execution of [Shell]?"];
const GEMINI_LOGIN: &[&str] = &["Sign in with Google", "Use Gemini API Key", "Vertex AI"];
const OPENCODE: &[&str] = &["Allow once", "Allow always", "Reject"];
const OPENCODE_TEXT: &[&str] = &["# Shell command", "$ touch stub_was_here"];
const QWEN: &[&str] = &[
    "Yes, allow once",
    "Always allow run 'touch *' commands in this project",
    "Always allow run 'touch *' commands for this user",
    "No, suggest changes (esc)",
];
const QWEN_ASKS: &str = "Shell touch stub_was_here (stub tool call)";
const QWEN_TEXT: &[&str] = &["touch stub_was_here", "Allow execution of: 'touch'?"];
const QWEN_LOGIN: &[&str] = &["Alibaba ModelStudio", "Third-party Providers", "Custom Provider"];

const ASKED: &[Asked] = &[
    ("aider", "approval", "Add 0.0k tokens of command output to the chat?", &["hello"], YES_NO, Some(1)),
    (
        "aider",
        "firstrun",
        "No git repo found, create one to track aider's changes (recommended)?",
        &[],
        YES_NO,
        Some(1),
    ),
    ("claude", "approval old-blocked", "Bash command", CLAUDE_TEXT, CLAUDE, Some(1)),
    ("claude", "approval-down", "Bash command", CLAUDE_TEXT, CLAUDE, Some(2)),
    (
        "claude",
        "apikey-menu",
        "Detected a custom API key in your environment",
        &["Do you want to use this API key?"],
        &["Yes", "No (recommended)"],
        Some(2),
    ),
    (
        "claude",
        "bypass-warning",
        "WARNING: Claude Code running in Bypass Permissions mode",
        &["commands.", "https://code.claude.com/docs/en/security"],
        &["No, exit", "Yes, I accept"],
        Some(1),
    ),
    (
        "claude",
        "login-menu",
        "Login",
        &["Select login method:"],
        &[
            "Claude account with subscription · Individual, Team, or Enterprise",
            "Anthropic Console account · API usage billing",
            "3rd-party platform · Bedrock, Microsoft Foundry, Google Vertex AI",
        ],
        Some(1),
    ),
    ("claude", "resume-menu resume-menu-down", "Resume session", &["proj"], &["stop early THINK6"], Some(1)),
    (
        "claude",
        "resume-picker",
        "Resume session",
        &["proj"],
        &["retry this ERR429", "stop early THINK6"],
        Some(1),
    ),
    (
        "claude",
        "sub-limit-options",
        "What do you want to do?",
        &[],
        &[
            "Stop and wait for limit to reset",
            "Wait here, then continue automatically at 7:06am",
            "Upgrade your plan",
        ],
        Some(1),
    ),
    (
        "claude",
        "trust",
        "Accessing workspace:",
        &["/home/dev/proj", "Security guide"],
        &["No, exit", "Yes, I trust this folder"],
        Some(1),
    ),
    (
        "claude",
        "trust-down",
        "Accessing workspace:",
        &["/home/dev/proj"],
        &["No, exit", "Yes, I trust this folder"],
        Some(2),
    ),
    ("codex", "approval approval-2 old-blocked", CODEX_ASKS, CODEX_TEXT, CODEX, Some(1)),
    ("codex", "approval-down", CODEX_ASKS, CODEX_TEXT, CODEX, Some(2)),
    (
        "codex",
        "firstrun",
        "Welcome to Codex, OpenAI's command-line coding agent",
        &["Choose how you want to use Codex."],
        CODEX_LOGIN,
        Some(1),
    ),
    (
        "codex",
        "firstrun-2",
        "Welcome to Codex, OpenAI's command-line coding agent",
        &[],
        CODEX_LOGIN,
        Some(3),
    ),
    (
        "codex",
        "limit-warning",
        "Approaching rate limits",
        &["Switch to gpt-6-luna for lower credit usage?"],
        &["Switch to gpt-6-luna", "Keep current model", "Keep current model (never show again)"],
        Some(1),
    ),
    (
        "codex",
        "resume-menu resume-menu-down resume-picker",
        "Resume a previous session",
        &[],
        CODEX_TALK,
        Some(1),
    ),
    ("continue", "approval approval-2", "Bash(touch stub_was_here)", CONTINUE_TEXT, CONTINUE, Some(1)),
    ("continue", "approval-down", "Bash(touch stub_was_here)", CONTINUE_TEXT, CONTINUE, Some(2)),
    ("continue", "firstrun firstrun-2", "To get started, enter your Anthropic API key.", &[], &[], None),
    ("continue", "resume-menu resume-menu-down", "Sessions", &[], &["The two numbers…"], Some(1)),
    ("copilot", "approval approval-2", "stub tool call", COPILOT_TEXT, COPILOT, Some(1)),
    ("copilot", "approval-down", "stub tool call", COPILOT_TEXT, COPILOT, Some(2)),
    (
        "copilot",
        "escesc-idle-rewind",
        "Rewind to a previous point",
        &[],
        &[
            "retry this ERR429F",
            "retry this ERR500F",
            "retry this ERR400F",
            "retry this ERR401F",
            "say hello SLOW1",
        ],
        Some(5),
    ),
    (
        "copilot",
        "err401-esc",
        "Rewind to a previous point",
        &[],
        &["retry this ERR401F", "TOOLRUN again"],
        Some(10),
    ),
    (
        "copilot",
        "err500-esc",
        "Rewind to a previous point",
        &[],
        &["retry this ERR500F", "TOOLRUN again"],
        Some(10),
    ),
    (
        "copilot",
        "firstrun-2",
        "Confirm folder trust",
        &["/home/dev/proj", "Do you trust the files in this folder?"],
        &["Yes", "Yes, and remember this folder for future sessions", "No (Esc)"],
        Some(1),
    ),
    (
        "copilot",
        "resume-menu resume-menu-down",
        "Sessions",
        &[],
        &["fix the first point then the sec…"],
        Some(1),
    ),
    ("gemini", "approval approval-2 old-blocked", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(1)),
    ("gemini", "approval-down", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(2)),
    (
        "gemini",
        "auth-menu",
        "Get started",
        &["How would you like to authenticate for this project?"],
        GEMINI_LOGIN,
        Some(1),
    ),
    ("gemini", "firstrun-2", "Get started", &[], GEMINI_LOGIN, Some(2)),
    (
        "gemini",
        "firstrun",
        "Do you trust the files in this folder?",
        &["of the CLI."],
        &["Trust folder (proj)", "Trust parent folder (dev)", "Don't trust"],
        Some(1),
    ),
    (
        "gemini",
        "resume-menu resume-menu-down",
        "Chat Sessions (1 total)",
        &[],
        &["fix the first point then the second one and the third"],
        Some(1),
    ),
    // Which one is selected stands in its colours alone, and these have none.
    (
        "opencode",
        "approval approval-2 approval-down old-blocked",
        "Permission required",
        OPENCODE_TEXT,
        OPENCODE,
        None,
    ),
    ("opencode", "permission", "Permission required", OPENCODE_TEXT, OPENCODE, Some(1)),
    ("opencode", "permission-right", "Permission required", OPENCODE_TEXT, OPENCODE, Some(2)),
    ("opencode", "connect", "Connect a provider", &[], &["Stub", "Other Custom provider"], Some(1)),
    (
        "opencode",
        "firstrun-2",
        "Connect a provider",
        &[],
        &["OpenCode Zen (Recommended)", "OpenCode Go Low cost subscription for everyone"],
        None,
    ),
    (
        "opencode",
        "resume-menu resume-menu-down",
        "Sessions",
        &[],
        &["The two numbers add up to four, and the check in the test fi…"],
        None,
    ),
    (
        "opencode",
        "sessions",
        "Sessions",
        &[],
        &["STUBREPLY ok. lines=1 chars=14 Done with the canned answer n…"],
        Some(1),
    ),
    ("qwen", "approval approval-2 old-blocked", QWEN_ASKS, QWEN_TEXT, QWEN, Some(1)),
    ("qwen", "approval-down", QWEN_ASKS, QWEN_TEXT, QWEN, Some(2)),
    ("qwen", "firstrun", "Connect a Provider", &[], QWEN_LOGIN, Some(1)),
    ("qwen", "firstrun-2", "Connect a Provider", &[], QWEN_LOGIN, Some(2)),
    (
        "qwen",
        "firstrun-3",
        "Third-party Providers · Provider",
        &[],
        &["DeepSeek API Key", "Grok (xAI) API Key"],
        Some(1),
    ),
    (
        "qwen",
        "resume-menu resume-menu-down resume-picker",
        "Resume Session",
        &[],
        &["fix the first point"],
        Some(1),
    ),
];

/// Longer lists are told by their first two.
const LONG: &[&str] = &["err401-esc", "err500-esc", "firstrun-2", "firstrun-3"];

/// At other sizes and of other kinds; the whole name is the situation.
const DIALOGS: &[Asked] = &[
    ("claude", "claude-approval", "Bash command", CLAUDE_TEXT, CLAUDE, Some(1)),
    (
        "claude",
        "claude-ask",
        "Store",
        &["longer than a day?"],
        &["SQLite", "Redis", "Files", "Type something.", "Chat about this"],
        Some(1),
    ),
    (
        "claude",
        "claude-ask-many",
        "Which store should the new cache use for the entries that live",
        &["longer than a day?"],
        &["SQLite", "Redis", "Files", "Type something"],
        Some(1),
    ),
    (
        "claude",
        "claude-ask-ticked",
        "Which store should the new cache use for the entries that live",
        &[],
        &["SQLite", "Redis", "Files", "Type something"],
        Some(2),
    ),
    (
        "claude",
        "claude-ask-review",
        "Review your answers",
        &["→ Redis"],
        &["Submit answers", "Cancel"],
        Some(1),
    ),
    // Its selection stands in a row that is no option.
    ("claude", "claude-ask-submit", "longer than a day?", &["2. [✔] Redis"], &[], None),
    ("codex", "codex-approval", CODEX_ASKS, CODEX_TEXT, CODEX, Some(1)),
    (
        "codex",
        "codex-trust",
        "Folder access",
        &["/home/dev/proj", "trust these files. Your trust decision will be saved."],
        &["Trust and continue", "Back to Agent Command Center"],
        Some(1),
    ),
    ("gemini", "gemini-approval", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(1)),
    ("opencode", "opencode-always", "Always allow", &["- touch *"], &["Confirm", "Cancel"], Some(1)),
    ("opencode", "opencode-always-right", "Always allow", &["- touch *"], &["Confirm", "Cancel"], Some(2)),
    ("qwen", "qwen-approval", QWEN_ASKS, QWEN_TEXT, QWEN, Some(1)),
    (
        "qwen",
        "qwen-ask",
        "AskUserQuestion Ask user 1 question",
        &["Store", "Which store should the new cache use?"],
        &["SQLite", "Redis", "Type something..."],
        Some(1),
    ),
    (
        "qwen",
        "qwen-ask-ticked",
        "AskUserQuestion Ask user 1 question",
        &["Store"],
        &["SQLite", "Redis", "Type something..."],
        Some(1),
    ),
];

/// What is wrong with a question, if anything.
fn differs(table: &[Asked], s: &Saved, got: &Question) -> Option<String> {
    let situation = s.situation();
    let row = table.iter().find(|row| row.0 == s.agent && row.1.split(' ').any(|w| w == situation));
    let Some((_, _, header, text, options, selected)) = row else {
        return Some(format!("{}: no expectation, asked {got:?}", s.path()));
    };
    let labels: Vec<&str> = got.options.iter().map(|o| o.label.as_str()).collect();
    let long = LONG.contains(&situation) && labels.len() > options.len() && !options.is_empty();
    let alike = if long { labels.starts_with(options) } else { labels == *options };
    let rows: Vec<&str> = got.text.lines().collect();
    let told = text.iter().all(|row| rows.contains(row));
    (got.header != *header || !alike || !told || got.selected != *selected)
        .then(|| format!("{}: {got:?}", s.path()))
}

#[test]
fn every_blocked_screen_has_its_question() {
    let catalogue = catalogue();
    let (mut wrong, mut right) = (Vec::new(), 0);
    for s in all().iter().filter(|s| s.state != "exited") {
        let manifest = catalogue.get(&s.agent).unwrap();
        let blocked = judge(manifest, &s.screen).state == State::Blocked;
        match question(manifest, &s.screen) {
            None if blocked => wrong.push(format!("{}: no question", s.path())),
            None => {}
            Some(_) if !blocked => wrong.push(format!("{}: a question though it is not blocked", s.path())),
            Some(got) => match differs(ASKED, s, &got) {
                None => right += 1,
                Some(why) => wrong.push(why),
            },
        }
    }
    assert!(wrong.is_empty(), "{} wrong, {right} right:\n{}", wrong.len(), wrong.join("\n"));
    assert!(right >= 76, "{right}");
}

#[test]
fn dialogs_that_are_narrow_or_have_boxes_are_taken_apart() {
    let catalogue = catalogue();
    let all = dialogs();
    let wrong =
        all.iter().filter_map(|s| differs(DIALOGS, s, &asked(catalogue.get(&s.agent).unwrap(), &s.screen)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let ticked = |name: &str| {
        let s = all.iter().find(|s| s.name == name).unwrap();
        let asked = asked(catalogue.get(&s.agent).unwrap(), &s.screen);
        asked.options.iter().map(|o| o.ticked).collect::<Vec<_>>()
    };
    assert_eq!(ticked("claude-ask-ticked.ansi"), [Some(false), Some(true), Some(false), Some(false)]);
    assert_eq!(ticked("qwen-ask-ticked.ansi"), [Some(true), Some(false), Some(false)]);
    assert_eq!(ticked("claude-ask.ansi"), [None; 5]);
}

fn screen<'a>(all: &'a [Saved], path: &str) -> &'a Screen {
    &all.iter().find(|s| s.path() == path).unwrap_or_else(|| panic!("{path}")).screen
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|k| Key::Name((*k).to_owned())).collect()
}

#[test]
fn enter_comes_only_once_the_wanted_option_is_seen_selected() {
    let catalogue = catalogue();
    let all = all();
    let ask = |path: &str| {
        question(catalogue.get(path.split('/').next().unwrap()).unwrap(), screen(&all, path)).unwrap()
    };
    let mut pairs = 0;
    for agent in ["claude", "codex", "continue", "copilot", "gemini", "qwen"] {
        let first = ask(&format!("{agent}/120x40-approval.txt"));
        let down = ask(&format!("{agent}/120x40-approval-down.txt"));
        assert_eq!(first.id, down.id, "{agent}");
        assert!(first.id.len() == 8 && first.id.bytes().all(|b| b.is_ascii_hexdigit()), "{}", first.id);
        assert_eq!(first.next(&first, 2), Step::Move(keys(&["Down"])), "{agent}");
        assert_eq!(first.next(&first, 3), Step::Move(keys(&["Down", "Down"])), "{agent}");
        assert_eq!(first.next(&down, 1), Step::Move(keys(&["Up"])), "{agent}");
        assert_eq!(first.next(&down, 2), Step::Confirm(keys(&["Enter"])), "{agent}");
        for none in [0, 9, usize::MAX] {
            assert!(matches!(first.next(&down, none), Step::Impossible(_)), "{agent}");
        }
        let other = ask("claude/120x40-trust.txt");
        assert!(matches!(first.next(&other, 2), Step::Impossible(_)), "{agent}");
        pairs += 1;
    }
    assert_eq!(pairs, 6);

    // Side by side, and selected by colour alone.
    let left = ask("opencode/120x40-permission.ansi");
    let right = ask("opencode/120x40-permission-right.ansi");
    assert_eq!(left.next(&left, 3), Step::Move(keys(&["Right", "Right"])));
    assert_eq!(left.next(&right, 1), Step::Move(keys(&["Left"])));
    assert_eq!(left.next(&right, 2), Step::Confirm(keys(&["Enter"])));
    let plain = ask("opencode/120x40-approval.txt");
    assert!(matches!(plain.next(&plain, 1), Step::Impossible(_)));

    // Counted from the bottom.
    let rewind = ask("copilot/120x40-escesc-idle-rewind.ansi");
    assert_eq!(rewind.next(&rewind, 1), Step::Move(keys(&["Down"; 4])));
    assert_eq!(rewind.next(&rewind, 5), Step::Confirm(keys(&["Enter"])));

    let letters = ask("aider/120x40-approval.txt");
    let no = Step::Confirm(vec![Key::Text("n".into()), Key::Name("Enter".into())]);
    assert_eq!(letters.next(&letters, 2), no);
    let text = ask("continue/120x40-firstrun.txt");
    assert!(matches!(text.next(&text, 1), Step::Impossible(_)));

    // A box is ticked, and Enter, which may send the whole, is never pressed.
    let boxes = dialogs();
    let ticked = boxes.iter().find(|s| s.name == "qwen-ask-ticked.ansi").unwrap();
    let ticked = asked(catalogue.get("qwen").unwrap(), &ticked.screen);
    assert_eq!(ticked.next(&ticked, 1), Step::Confirm(keys(&["Space"])));
}

fn manifest(tables: &str) -> Manifest {
    let head = "name = 'X'\ncommand = ['x']\n[[rule]]\nstate = 'blocked'\nname = 'any'\nscreen = '.'\n";
    Manifest::parse(&format!("{head}{tables}")).unwrap()
}

#[test]
fn lists_that_scroll_or_are_numbered_by_digit() {
    let scrolled = manifest(
        r"
[[question]]
name = 'menu'
option = '^ *(?:(?P<mark>❯)|(?P<more>[↑↓]))? *(?P<number>\d+)\. (?P<label>\S.*)$'
",
    );
    let draw = |rows: &[&str]| Screen::parse(&format!("Which?\n\n{}\n", rows.join("\n")));
    let first = question(&scrolled, &draw(&["❯ 1. one", "  2. two", "↓ 3. three"])).unwrap();
    let later = question(&scrolled, &draw(&["↑ 4. four", "❯ 5. five", "↓ 6. six"])).unwrap();
    assert_eq!(first.id, later.id, "another part of one list");
    assert_eq!(first.next(&first, 5), Step::Move(keys(&["Down"; 4])));
    assert_eq!(first.next(&later, 5), Step::Confirm(keys(&["Enter"])));
    assert_eq!(first.next(&later, 2), Step::Move(keys(&["Up"; 3])));
    assert!(matches!(first.next(&first, usize::MAX), Step::Move(k) if k.len() == 200));

    let digits = manifest(
        r"
[[question]]
name = 'digits'
option = '^ *(?P<number>\d+)\) (?P<label>\S.*)$'
digits = true
",
    );
    let asked = question(&digits, &draw(&["  1) one", "  2) two"])).unwrap();
    assert_eq!((asked.header.as_str(), asked.options.len(), asked.selected), ("Which?", 2, None));
    assert_eq!(asked.next(&asked, 2), Step::Confirm(vec![Key::Text("2".into())]));
}

#[test]
fn what_cannot_be_taken_apart_is_text() {
    let plain = manifest("");
    let asked = question(&plain, &Screen::parse("│ Proceed?  │\n╰───────────╯\n  maybe\n")).unwrap();
    assert_eq!((asked.header.as_str(), asked.text.as_str()), ("Proceed?", "maybe"));
    assert!(asked.options.is_empty() && matches!(asked.next(&asked, 1), Step::Impossible(_)));
    for odd in ["", "❯", "│", "\u{1b}[48;5mx", "❯ 1.", "(Y)es/(N)o", "1. a\n❯ 3. b\n2. c"] {
        for (_, agent) in catalogue().all() {
            let screen = Screen::parse(odd);
            _ = (self::asked(agent, &screen), composer(agent, &screen));
        }
    }
}

#[test]
fn a_question_that_is_wrapped_at_the_edge_takes_its_letter() {
    let catalogue = catalogue();
    let rule = "─".repeat(80);
    let text = format!(
        "{rule}\n> /x\n\nls -l\nRun shell command and add its output to the chat, if there was any? (Y)es/(N)o/(\nD)on't ask again [Yes]: \n"
    );
    let asked = asked(catalogue.get("aider").unwrap(), &Screen::parse(&text));
    assert_eq!(asked.header, "Run shell command and add its output to the chat, if there was any?");
    assert_eq!((asked.text.as_str(), asked.selected), ("ls -l", Some(1)));
    let labels: Vec<&str> = asked.options.iter().map(|o| o.label.as_str()).collect();
    assert_eq!(labels, ["Yes", "No", "Don't ask again"]);
    assert_eq!(asked.next(&asked, 3), Step::Confirm(vec![Key::Text("d".into()), Key::Name("Enter".into())]));
}

#[test]
fn tables_that_are_wrong_say_where() {
    let wrong = |tables: &str| {
        let head = "name = 'X'\ncommand = ['x']\n";
        Manifest::parse(&format!("{head}{tables}")).unwrap_err().to_string()
    };
    let said = wrong("[[question]]\nname = \"a\"\noption = 'x'\n");
    assert_eq!(said, "line 4, column 8: question \"a\": option has no (?P<label>…)");
    let said = wrong("[[question]]\nname = \"a\"\nside = '(?P<options>x)'\nmark = 'y'\n");
    assert!(said.contains("more than one of"), "{said}");
    let said = wrong("[composer]\nscreen = '>'\n");
    assert_eq!(said, "line 3, column 1: the composer's screen has no (?P<text>…)");
    let said = wrong("[composer]\nscreen = '(?P<text>x)'\nhints = ['dim']\n");
    assert!(said.starts_with("line 5, column 1: unknown field `hints`"), "{said}");
    let said = wrong("[composer]\nscreen = '(?P<text>x)'\nhint = ['grey']\n");
    assert!(said.starts_with("line 5, column 8: \"grey\" is no style"), "{said}");
}
