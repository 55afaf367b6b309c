//! Saved screens of real agents: what a blocked one asks, and how it is answered.

use muxfs_agent::composer::composer;
use muxfs_agent::manifest::{Manifest, State};
use muxfs_agent::question::{Key, Question, Step, asked, question};
use muxfs_agent::rules::judge;
use muxfs_agent::screen::Screen;

use super::agents::{Saved, all, catalogue, dialogs, real};
use super::asked::{ASKED, Asked, DIALOGS, LONG};

/// What is wrong with a question, if anything.
fn differs(table: &[Asked], s: &Saved, got: &Question) -> Option<String> {
    let situation = s.situation();
    // Where agents were asked to run different commands, a situation has a row for each.
    let rows = table.iter().filter(|row| row.0 == s.agent && row.1.split(' ').any(|w| w == situation));
    let labels: Vec<&str> = got.options.iter().map(|o| o.label.as_str()).collect();
    let fits = |(_, _, header, text, options, selected): &Asked| {
        let long = LONG.contains(&situation) && labels.len() > options.len() && !options.is_empty();
        let alike = if long { labels.starts_with(options) } else { labels == *options };
        let told = text.iter().all(|row| got.text.lines().any(|r| r == *row));
        got.header == *header && alike && told && got.selected == *selected
    };
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Some(format!("{}: no expectation, asked {got:?}", s.path()));
    }
    (!rows.any(fits)).then(|| format!("{}: {got:?}", s.path()))
}

#[test]
fn every_blocked_screen_has_its_question() {
    let catalogue = catalogue();
    let (mut wrong, mut right) = (Vec::new(), 0);
    for s in real().iter().filter(|s| s.state != "exited") {
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
    let state = |s: &Saved| judge(catalogue.get(&s.agent).unwrap(), &s.screen).state;
    let missed: Vec<&str> = all.iter().filter(|s| state(s) != State::Blocked).map(|s| &*s.name).collect();
    assert!(missed.is_empty(), "not blocked: {missed:?}");
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
    // What stands beside a dialog is no part of it.
    for wide in all.iter().filter(|s| s.name.ends_with("-wide.ansi")) {
        let got = asked(catalogue.get(&wide.agent).unwrap(), &wide.screen);
        assert!(!got.text.contains("/home/me/proj"), "{got:?}");
        assert!(got.options.iter().all(|o| !o.about.contains("/home/me/proj")), "{got:?}");
    }
}

fn screen<'a>(all: &'a [Saved], path: &str) -> &'a Screen {
    &all.iter().find(|s| s.path() == path).unwrap_or_else(|| panic!("{path}")).screen
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|k| Key::Name((*k).to_owned())).collect()
}

fn go(name: &str, to: usize) -> Step {
    Step::Move { key: Key::Name(name.to_owned()), to }
}

fn digit(number: usize) -> Step {
    Step::Confirm(vec![Key::Text(number.to_string())])
}

#[test]
fn enter_comes_only_once_the_wanted_option_is_seen_selected() {
    let catalogue = catalogue();
    let all = all();
    let ask = |path: &str| {
        question(catalogue.get(path.split('/').next().unwrap()).unwrap(), screen(&all, path)).unwrap()
    };
    let mut pairs = 0;
    for agent in ["continue", "copilot"] {
        let first = ask(&format!("{agent}/120x40-approval.txt"));
        let down = ask(&format!("{agent}/120x40-approval-down.txt"));
        assert_eq!(first.id, down.id, "{agent}");
        assert!(first.id.len() == 8 && first.id.bytes().all(|b| b.is_ascii_hexdigit()), "{}", first.id);
        assert_eq!(first.next(&first, 2), go("Down", 2), "{agent}");
        if agent == "continue" {
            assert_eq!(first.next(&first, 3), go("Down", 3), "{agent}");
        }
        assert_eq!(first.next(&down, 1), go("Up", 1), "{agent}");
        assert_eq!(first.next(&down, 2), Step::Confirm(keys(&["Enter"])), "{agent}");
        for none in [0, 9, usize::MAX] {
            assert!(matches!(first.next(&down, none), Step::Impossible(_)), "{agent}");
        }
        let other = ask("claude/120x40-trust.txt");
        assert!(matches!(first.next(&other, 2), Step::Impossible(_)), "{agent}");
        pairs += 1;
    }
    assert_eq!(pairs, 2);

    // Side by side, and selected by colour alone.
    let left = ask("opencode/120x40-permission.ansi");
    let right = ask("opencode/120x40-permission-right.ansi");
    assert_eq!(left.next(&left, 3), go("Right", 3));
    assert_eq!(left.next(&right, 1), go("Left", 1));
    assert_eq!(left.next(&right, 2), Step::Confirm(keys(&["Enter"])));
    let plain = ask("opencode/120x40-approval.txt");
    assert!(matches!(plain.next(&plain, 1), Step::Impossible(_)));

    // Counted from the bottom.
    let rewind = ask("copilot/120x40-escesc-idle-rewind.ansi");
    assert_eq!(rewind.next(&rewind, 1), go("Down", 1));
    assert_eq!(rewind.next(&rewind, 5), Step::Confirm(keys(&["Enter"])));

    // Enter wants words for it.
    let shown = include_str!("../fixtures/screens/copilot/120x40-approval.txt");
    let marked = shown.replace("❯ 1. Yes", "  1. Yes").replace("  3. No,", "❯ 3. No,");
    let no = question(catalogue.get("copilot").unwrap(), &Screen::parse(&marked)).unwrap();
    assert_eq!(no.next(&no, 3), Step::Confirm(keys(&["Escape"])));
    // Without a way there: in a narrow terminal its label reads otherwise once it is selected.
    let first = ask("copilot/120x40-approval.txt");
    assert_eq!(first.next(&first, 3), Step::Confirm(keys(&["Escape"])));
    let narrow = "╭──────────────────────────────────────╮\n\
        │ Do you want to run this command?     │\n\
        │                                      │\n\
        │   1. Yes                             │\n\
        │ ❯2. No, and tell Copilot   (Esc to   │\n\
        │     what to do differentlystop)      │\n\
        │                                      │\n\
        │ ↑/↓ to navigate · enter to select ·  │\n\
        │ esc to cancel                        │\n\
        ╰──────────────────────────────────────╯\n";
    let no = question(catalogue.get("copilot").unwrap(), &Screen::parse(narrow)).unwrap();
    assert_eq!(no.next(&no, 2), Step::Confirm(keys(&["Escape"])));

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

/// Agents that take a number at once, whatever is selected; only in the dialogs that were seen to, and
/// never where it would be written into a field.
#[test]
fn a_digit_is_typed_only_where_it_chooses_at_once() {
    let catalogue = catalogue();
    let (all, dialogs) = (all(), dialogs());
    let of = |agent: &str, screen: &Screen| question(catalogue.get(agent).unwrap(), screen).unwrap();
    for agent in ["claude", "codex", "gemini", "qwen"] {
        let first = of(agent, screen(&all, &format!("{agent}/120x40-approval.txt")));
        let down = of(agent, screen(&all, &format!("{agent}/120x40-approval-down.txt")));
        assert_eq!(first.id, down.id, "{agent}");
        for option in &first.options {
            let step = |now: &Question| {
                if now.selected == Some(option.number) {
                    Step::Confirm(keys(&["Enter"]))
                } else {
                    digit(option.number)
                }
            };
            assert_eq!(first.next(&first, option.number), step(&first), "{agent}");
            assert_eq!(first.next(&down, option.number), step(&down), "{agent}");
        }
        for none in [0, 9, usize::MAX] {
            assert!(matches!(first.next(&first, none), Step::Impossible(_)), "{agent}");
        }
        let other = of("claude", screen(&all, "claude/120x40-trust.txt"));
        assert!(matches!(first.next(&other, 2), Step::Impossible(_)), "{agent}");

        let asks = |name: &str| {
            let path = format!("{agent}-{name}.ansi");
            of(agent, &dialogs.iter().find(|s| s.name == path).unwrap().screen)
        };
        let (first, own) = (asks("question"), asks("question-own"));
        assert_eq!(first.next(&first, 2), digit(2), "{agent}");
        // On the field, and to it.
        assert_eq!(first.next(&own, 2), go("Up", 2), "{agent}");
        assert_eq!(first.next(&first, 3), go("Down", 3), "{agent}");
    }
    let trust = of("claude", screen(&all, "claude/120x40-trust.txt"));
    let other = 3 - trust.selected.unwrap();
    assert!(matches!(trust.next(&trust, other), Step::Move { .. }), "it was not tried there");
    let boxes = of("claude", &dialogs.iter().find(|s| s.name == "claude-ask-many.ansi").unwrap().screen);
    assert_eq!(boxes.next(&boxes, 2), go("Down", 2));

    let many = manifest(
        r"
[[question]]
name = 'menu'
option = '^ *(?P<mark>❯)? *(?P<number>\d+)\. (?P<label>\S.*)$'
at_once = '^ go on$'
",
    );
    let draw = |last: usize, hint: &str| {
        let rows: Vec<String> = (2..=last).map(|n| format!("  {n}. {n}th")).collect();
        Screen::parse(&format!("Which?\n\n❯ 1. first\n{}\n {hint}\n", rows.join("\n")))
    };
    let asks = |last, hint| question(&many, &draw(last, hint)).unwrap();
    assert_eq!(asks(9, "go on").next(&asks(9, "go on"), 9), digit(9));
    assert_eq!(asks(9, "go").next(&asks(9, "go"), 9), go("Down", 9));
    assert_eq!(asks(10, "go on").next(&asks(10, "go on"), 1), Step::Confirm(keys(&["Enter"])));
}

/// Into any other dialog a character may choose an option, and Enter gives an approval.
#[test]
fn words_of_ones_own_go_only_where_they_are_asked_for() {
    let catalogue = catalogue();
    let all = dialogs();
    let ask = |name: &str| {
        let s = all.iter().find(|s| s.name == format!("{name}.ansi")).unwrap();
        question(catalogue.get(&s.agent).unwrap(), &s.screen).unwrap_or_else(|| panic!("{name}"))
    };
    for agent in ["claude", "qwen", "gemini", "copilot", "codex"] {
        let (first, own) = (ask(&format!("{agent}-question")), ask(&format!("{agent}-question-own")));
        assert_eq!(first.id, own.id, "{agent}");
        assert_eq!(first.next_own(&first), go("Down", 3), "{agent}");
        let opens = if agent == "codex" { keys(&["Tab"]) } else { keys(&[]) };
        assert_eq!(first.next_own(&own), Step::Confirm(opens), "{agent}");
        assert!(!first.is_field());
    }
    let first = ask("continue-question");
    assert_eq!(first.next_own(&first), Step::Confirm(keys(&[])));
    assert!(!first.is_field(), "what is typed there is seen");
    let first = ask("opencode-question");
    assert_eq!(first.next_own(&first), Step::Confirm(vec![Key::Text("3".into())]));
    let boxes = ask("claude-ask-many");
    let down = boxes.next_own(&boxes);
    assert_eq!(down, go("Down", 4));

    let saved = all.iter().filter(|s| !s.name.contains("-ask") && !s.name.contains("-question"));
    let mut refused = 0;
    let real = real();
    for s in saved.chain(real.iter().filter(|s| s.state == "blocked")) {
        let manifest = catalogue.get(&s.agent).unwrap();
        let Some(asked) = question(manifest, &s.screen) else { continue };
        let step = asked.next_own(&asked);
        assert!(asked.is_field() || matches!(step, Step::Impossible(_)), "{}: {step:?}", s.path());
        refused += usize::from(!asked.is_field());
    }
    assert!(refused >= 70, "{refused}");
    let key = real.iter().find(|s| s.path() == "continue/120x40-firstrun.txt").unwrap();
    assert!(question(catalogue.get("continue").unwrap(), &key.screen).unwrap().is_field());
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
    assert_eq!(first.next(&first, 5), go("Down", 5));
    assert_eq!(first.next(&later, 5), Step::Confirm(keys(&["Enter"])));
    assert_eq!(first.next(&later, 2), go("Up", 2));
    assert_eq!(first.next(&first, usize::MAX), go("Down", usize::MAX));

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
fn a_question_is_blocked_wherever_it_is_wrapped() {
    let catalogue = catalogue();
    let aider = catalogue.get("aider").unwrap();
    let text = "Run shell command and add its output? (Y)es/(N)o/(D)on't ask again [Yes]:";
    for width in 40..=text.len() {
        let rows: Vec<&[u8]> = text.as_bytes().chunks(width).collect();
        let rows: Vec<&str> = rows.into_iter().map(|r| std::str::from_utf8(r).unwrap()).collect();
        let mut screen =
            Screen::parse(&format!("{}\n> /x\n\nls -l\n{} \n", "─".repeat(width), rows.join("\n")));
        let asked = question(aider, &screen).unwrap_or_else(|| panic!("at {width}: {rows:?}"));
        assert_eq!((asked.options.len(), asked.selected), (3, Some(1)), "at {width}: {asked:?}");
        let last = 3 + rows.len() as u16;
        screen = Screen::parse(&format!("ls -l\n\n\n\n{}y\n", rows.join("\n")));
        screen.cursor = Some((3, last));
        assert_eq!(judge(aider, &screen).state, State::Blocked, "at {width}, half an answer");
        screen.cursor = Some((0, last + 1));
        assert_ne!(judge(aider, &screen).state, State::Blocked, "at {width}, answered");
    }
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
    assert_eq!(said, "line 4, column 10: the composer's screen has no (?P<text>…)");
    let said = wrong("[composer]\nscreen = '(?P<text>x)'\nhints = ['dim']\n");
    assert!(said.starts_with("line 5, column 1: unknown field `hints`"), "{said}");
    let said = wrong("[composer]\nscreen = '(?P<text>x)'\nhint = ['grey']\n");
    assert!(said.starts_with("line 5, column 9: \"grey\" is no style"), "{said}");
}
