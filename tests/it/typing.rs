//! What stands between a prompt or an answer and its Enter, on a real mount and real tmux: nothing
//! is approved, sent or burned by accident, and no prompt is lost without a word.

use std::time::{Duration, Instant};

use super::doc::root;
use super::input::Person;
use super::support::{Lab, Mount, until_true};
use super::turns::Fakes;

/// The fake agent, whose composer is looked at for `settle` before an Enter.
fn slow(settle: &str, args: &str) -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    let path = lab.path("config/agents/fake.toml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, manifest.replace("settle = \"50ms\"", &format!("settle = \"{settle}\""))).unwrap();
    let args = format!("--log {} {args}", lab.path("taken").display());
    Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) }
}

/// An agent `fake` that is known by Claude Code's manifest, and is the program `script` of the
/// fixtures with `env`.
fn stand_in(script: &str, env: &[(&str, &str)]) -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    let claude = std::fs::read_to_string(root().join("agents/claude.toml")).unwrap();
    let (head, rules) = claude.split_once("[hooks]\n").unwrap();
    let (_, rules) = rules.split_once("# Dialogs").unwrap();
    let script = root().join("tests/fixtures/stand_ins").join(script);
    let command = format!("command = [{:?}]", script.to_str().unwrap());
    let env: String = env.iter().map(|(k, v)| format!("{k} = {v:?}\n")).collect();
    let log = format!("STAND_IN_LOG = {:?}\n", lab.path("taken").to_str().unwrap());
    let head = head.replace("command = [\"claude\"]", &command);
    // It keeps no records.
    let head: Vec<&str> =
        head.lines().filter(|l| !l.starts_with("history") && !l.starts_with("status_file")).collect();
    let head = head.join("\n");
    let (top, tables) = head.split_once("\n[submit]").unwrap();
    let manifest = format!("{top}\n[env]\n{log}{env}\n[submit]{tables}\n# Dialogs{rules}");
    std::fs::write(lab.path("config/agents/fake.toml"), manifest).unwrap();
    Fakes { mount: Mount::configured(lab, "") }
}

fn shows(f: &Fakes, text: &str) {
    until_true(text, || f.mount.read("fake/screen").contains(text));
}

fn why(f: &Fakes, turn: &str) -> String {
    f.mount.read(&format!("fake/turns/{turn}/status"))
}

/// Between tmux's look at the screen and the key an agent may already take it for a dialog that it has
/// not painted. The key of its manifest approves none.
#[test]
fn a_prompt_is_handed_in_while_it_works_by_the_key_that_no_dialog_takes() {
    let lab = Fakes::prepared(Lab::new());
    let path = lab.path("config/agents/fake.toml");
    let manifest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{manifest}\n[keys]\nqueue = ['C-q']\n")).unwrap();
    let args = format!("--log {} --go {}", lab.path("taken").display(), lab.path("go").display());
    let f = Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) };
    f.session("fake");
    f.mount.sh("echo first > fake/input");
    f.until_state("fake", "busy");
    f.mount.sh("echo second > fake/steer");
    until_true("it is queued", || f.taken() == ["first", "second"]);
    let received = f.received();
    assert!(received.matches("0d").count() == 1 && received.ends_with("11"), "{received}");
    f.go();
    f.go();
    f.until_state("fake", "ready");
    f.mount.sh("echo third > fake/steer");
    until_true("Enter does it where nothing works", || f.taken().len() == 3);
}

/// One that waits for the processor has not read it: nothing is known of the prompt before it prints.
#[test]
fn a_prompt_waits_for_an_agent_that_prints_nothing() {
    let lab = Fakes::prepared(Lab::new());
    let hold = lab.path("hold");
    let args = format!("--log {} --hold {}", lab.path("taken").display(), hold.display());
    let f = Fakes { mount: Mount::configured(lab, &Fakes::config(&args, "")) };
    f.session("fake");
    std::fs::write(&hold, "").unwrap();
    f.mount.sh("echo one > fake/input");
    until_true("it is told", || f.status("fake", "held_why").contains("prints nothing"));
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(f.taken(), ["one"]);
}

#[test]
fn a_text_that_vanished_from_the_composer_is_not_delivered() {
    let f = slow("2s", "");
    f.session("fake");
    f.mount.sh("echo one > fake/input");
    shows(&f, "> one");
    let begun = Instant::now();
    f.mount.sh("echo C-u > fake/keys");
    assert!(begun.elapsed() < Duration::from_millis(1900), "keys do not wait for a prompt's Enter");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "uncertain\n");
    assert!(why(&f, "0001").contains("vanished"), "{}", why(&f, "0001"));
    assert!(!f.received().contains("0d") && f.taken().is_empty(), "no Enter was pressed");
    assert!(f.mount.read("errors").contains("prompt 0001: uncertain: its text vanished"));
    f.mount.sh("echo two > fake/input");
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["two"]);
}

#[test]
fn a_prompt_that_a_person_writes_into_is_not_sent_and_their_words_stay() {
    let f = slow("1s", "");
    f.session("fake");
    let mut person = Person::attach(&f.mount, "fake");
    f.mount.sh("echo one > fake/input");
    shows(&f, "> one");
    for key in " and more".bytes() {
        person.press(key);
    }
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "uncertain\n");
    assert!(f.taken().is_empty());
    f.mount.sh("echo two > fake/input");
    until_true("held", || f.status("fake", "held") == "draft");
    shows(&f, "> one and more");
    person.press(b'\r');
    assert_eq!(f.mount.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["one and more", "two"]);
}

#[test]
fn an_interrupt_takes_a_prompt_out_of_the_composer_again() {
    let f = slow("10s", "");
    f.session("fake");
    f.mount.sh("echo one > fake/input; echo two > fake/input; echo three > fake/input");
    shows(&f, "> one");
    let begun = Instant::now();
    f.mount.sh("rm fake/queue/0002; echo interrupt > fake/ctl");
    assert_eq!(f.mount.read("fake/turns/0001/wait"), "interrupted\n");
    f.mount.sh("echo clear-queue > fake/ctl");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    until_true("nothing is left", || f.mount.read("fake/screen").contains("> Type a message"));
    assert!(f.taken().is_empty());
}

#[test]
fn a_prompt_of_blanks_is_refused() {
    let f = slow("50ms", "");
    f.session("fake");
    for file in ["input", "steer", "queue/x"] {
        f.mount.run(&format!("printf '  \\n \\t\\n' > fake/{file}")); // shells do not tell what a close says
    }
    until_true("each is told", || f.mount.read("errors").matches("a prompt of blanks alone").count() == 3);
    assert_eq!(f.status("fake", "queue"), "0");
    assert_eq!(f.received(), "");
}

/// What `fake` took, a Python literal a line.
fn log(f: &Fakes) -> Vec<String> {
    let text = std::fs::read_to_string(f.log()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn enter_submits_what_was_written() {
    let f = stand_in("composer.py", &[]);
    f.session("fake");
    let m = &f.mount;
    // Each is submitted as it is: shell mode, a list that would complete it, a last backslash.
    for (n, prompt) in ["!date", "/copy", "a last \\", "plain"].iter().enumerate() {
        std::fs::write(m.path("fake/input"), prompt).unwrap();
        assert_eq!(
            m.read(&format!("fake/turns/000{}/wait", n + 1)),
            "done\n",
            "{prompt}: {}",
            m.read("errors")
        );
    }
    assert_eq!(log(&f), ["'!date'", "'/copy'", "'a last \\\\'", "'plain'"]);
    // The list's first entry is another command. This one is unknown, and is put back with the
    // cursor at its start.
    m.sh("echo /co > fake/input; echo next > fake/input");
    assert_eq!(m.read("fake/turns/0006/wait"), "done\n", "{}", m.read("fake/screen"));
    assert_eq!(log(&f)[4..], ["'next'"]);
}

#[test]
fn nothing_is_typed_into_a_composer_in_another_mode() {
    let f = stand_in("composer.py", &[]);
    f.session("fake");
    let m = &f.mount;
    m.sh("printf '!x' > fake/text");
    shows(&f, "! for shell mode");
    m.sh("echo hello > fake/input");
    until_true("held", || f.status("fake", "held") == "composer");
    assert!(f.status("fake", "held_why").contains("shell"), "{}", m.read("fake/status"));
    assert!(!m.run("echo now > fake/steer").status.success());
    assert!(log(&f).is_empty() && !m.read("fake/screen").contains("hello"));
    // Empty it holds nothing of a person's: it is left by its key.
    m.sh("echo BSpace > fake/keys");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    assert_eq!(log(&f), ["'hello'"]);
    m.sh("printf '!' > fake/text");
    f.until_state("fake", "unknown");
    m.sh("echo again > fake/steer");
    assert_eq!(log(&f), ["'hello'", "'again'"]);
}

#[test]
fn a_mode_is_left_by_its_keys_before_a_prompt() {
    let f = stand_in("composer.py", &[("STAND_IN_VIM", "1")]);
    f.session("fake");
    let m = &f.mount;
    let normal = || until_true("NORMAL", || !m.read("fake/screen").contains("-- INSERT --"));
    // The Escape of an interrupt brings it, and is pressed again: the work goes on at the first.
    m.sh("echo STOP > fake/input");
    f.until_state("fake", "busy");
    m.sh("echo interrupt > fake/ctl");
    assert_eq!(m.read("fake/turns/0001/wait"), "interrupted\n");
    shows(&f, "Interrupted");
    shows(&f, "-- INSERT --"); // as it was
    m.sh("echo 'eat this' > fake/input");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n", "{}", m.read("errors"));
    // A person's; commands as well as text.
    m.sh("echo Escape > fake/keys");
    normal();
    m.sh("echo /compact > fake/input");
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    m.sh("echo Escape > fake/keys");
    normal();
    m.sh("echo new > fake/ctl");
    until_true("taken", || log(&f).len() == 4);
    // A shell mode within it: both are left.
    f.until_state("fake", "ready");
    m.sh("printf '!' > fake/text; echo Escape > fake/keys");
    normal();
    m.sh("echo last > fake/input");
    assert_eq!(m.read("fake/turns/0004/wait"), "done\n");
    assert_eq!(log(&f), ["'STOP'", "'eat this'", "'/compact'", "'/clear'", "'last'"]);
    // With a text in it, it is a person's.
    f.until_state("fake", "ready");
    m.sh("printf 'mine' > fake/text");
    shows(&f, "mine");
    m.sh("echo Escape > fake/keys");
    normal();
    m.sh("echo held > fake/input");
    until_true("held", || f.status("fake", "held") == "composer");
    assert!(f.status("fake", "held_why").contains("vim normal mode and holds a text"));
    assert_eq!(log(&f).len(), 5);
    assert!(m.read("fake/screen").contains("mine"));
}

#[test]
fn a_notice_over_the_sign_of_a_mode_brings_no_key_into_the_composer() {
    let f = stand_in("composer.py", &[("STAND_IN_VIM", "1")]);
    f.session("fake");
    let m = &f.mount;
    for notice in ["0.7", "3"] {
        let before = log(&f).len();
        m.sh(&format!("echo 'NOTICE {notice}' > fake/input; echo after > fake/input"));
        until_true("both are taken", || log(&f).len() == before + 2);
        f.until_state("fake", "ready");
    }
    assert_eq!(log(&f), ["'NOTICE 0.7'", "'after'", "'NOTICE 3'", "'after'"]);
}

#[test]
fn a_slow_dialog_is_answered_with_the_wanted_option_or_not_at_all() {
    for (lag, digits) in [("0.1", ""), ("0.4", ""), ("0.1", "take"), ("0.4", "take")] {
        let env = [("STAND_IN_LAG", lag), ("STAND_IN_DIGITS", digits)];
        let f = stand_in("slow_menu.py", if digits.is_empty() { &env[..1] } else { &env });
        for (n, label) in [(3, "None"), (2, "SQLite"), (1, "Postgres")] {
            f.begin("fake");
            f.until_state("fake", "blocked");
            f.mount.sh(&format!("echo 'answer {n}' > fake/ctl"));
            shows(&f, &format!("ANSWERED {label}\n"));
            f.mount.sh("rmdir fake");
        }
        // A key of before that is on its way still.
        f.begin("fake");
        f.until_state("fake", "blocked");
        let out = f.mount.run("echo Down > fake/keys; echo 'answer 3' > fake/ctl");
        assert!(out.status.success(), "{out:?}");
        shows(&f, "ANSWERED None\n");
    }
}

/// As claude does while a prompt stands in its composer. What ticks above is no other question.
#[test]
fn a_digit_that_only_moves_the_mark_is_followed_by_enter() {
    let f = stand_in("slow_menu.py", &[("STAND_IN_LAG", "0.1"), ("STAND_IN_DIGITS", "mark")]);
    f.begin("fake");
    f.until_state("fake", "blocked");
    let out = f.mount.run("echo 'answer 2' > fake/ctl");
    assert!(out.status.success(), "{out:?}");
    shows(&f, "ANSWERED SQLite\n");
}

#[test]
fn an_answer_that_is_not_taken_is_told_though_something_ticks() {
    let f = stand_in("slow_menu.py", &[("STAND_IN_LAG", "0.1"), ("STAND_IN_DEAF", "1")]);
    f.begin("fake");
    f.until_state("fake", "blocked");
    assert!(!f.mount.run("echo 'answer 1' > fake/ctl").status.success());
    let errors = f.mount.read("errors");
    assert!(errors.contains("the dialog is still there"), "{errors}");
}
