//! Saved screens of real agents against the rules: no false `ready`, no missed `blocked`.
//!
//! Each file's first line says the state that was judged from what was going on, not by a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use muxfs_agent::catalogue::Catalogue;
use muxfs_agent::manifest::State;
use muxfs_agent::rules::judge;
use muxfs_agent::screen::Screen;

use super::doc::root;

/// `(agent, part of the name, what is said)`: where another word than the label's is as right.
const ARGUABLE: &[(&str, &str, &str)] = &[
    // A menu about the limit, opened by hand.
    ("claude", "sub-limit-options", "blocked"),
    // The newest message is the limit's; the label goes by the request after it, which was taken back.
    ("claude", "-retry-esc", "limited"),
    ("codex", "-retry-esc", "limited"),
    // A restored conversation that ends with it.
    ("codex", "resumed", "limited"),
    // The label goes by what came next: this capture shows no dialog yet.
    ("codex", "120x40-trust", "unknown"),
    // A login that failed is a limit too; these labels are from before it was.
    ("", "err401", "limited"),
    ("gemini", "err400", "limited"),
    // Answered already.
    ("aider", "firstrun-2", "busy"),
    // A request that had another agent call a tool; this one answered it.
    ("aider", "old-blocked", "ready"),
];

pub(super) struct Saved {
    pub agent: String,
    pub name: String,
    pub state: String,
    /// As it was captured, with its escape sequences.
    pub text: String,
    pub screen: Screen,
}

impl Saved {
    pub fn path(&self) -> String {
        format!("{}/{}", self.agent, self.name)
    }

    /// `120x40-draft.ansi` shows the situation `draft`.
    pub fn situation(&self) -> &str {
        let name = self.name.rsplit_once('.').unwrap().0;
        match name.split_once('-') {
            Some((size, rest)) if size.starts_with(|c: char| c.is_ascii_digit()) => rest,
            _ => name,
        }
    }
}

/// `# agent; version; tmux 3.3a 120x40; state=ready; title=…; alt=1; cursor=2,37`
pub(super) fn saved(path: &Path) -> Saved {
    let text = std::fs::read_to_string(path).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let field = |key: &str, end: &str| {
        let (_, from) = header.split_once(&format!("; {key}=")).unwrap_or_else(|| panic!("{path:?}: {key}"));
        from.rsplit_once(end).map_or(from, |(value, _)| value).to_owned()
    };
    let mut screen = Screen::parse(rest);
    screen.title = field("title", "; alt=");
    let cursor = field("cursor", "; ");
    let dir = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    screen.cursor = cursor.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.trim().parse().unwrap()));
    Saved {
        agent: dir.trim_end_matches("-old").to_owned(),
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        state: field("state", "; title="),
        text: rest.to_owned(),
        screen,
    }
}

/// `# agent state; tmux 3.3a 120x40; title|bell=0|alt=1|cur=2,37,0`, and maybe a second such line.
fn saved_old(path: &Path) -> Saved {
    let text = std::fs::read_to_string(path).unwrap();
    let (header, mut rest) = text.split_once('\n').unwrap();
    if rest.starts_with("# ~") {
        rest = rest.split_once('\n').unwrap().1;
    }
    let mut screen = Screen::parse(rest);
    let (who, shown) = header.trim_start_matches("# ").split_once("; tmux 3.3a 120x40; ").unwrap();
    let (title, shown) = shown.split_once("|bell=").unwrap();
    let cursor: Vec<&str> = shown.split_once("|cur=").unwrap().1.split(',').collect();
    screen.title = title.to_owned();
    screen.cursor = Some((cursor[0].parse().unwrap(), cursor[1].parse().unwrap()));
    let (agent, state) = who.split_once(' ').unwrap();
    let name = format!("old-{state}.txt");
    let state = if state == "done" { "ready" } else { state };
    Saved { agent: agent.to_owned(), name, state: state.to_owned(), text: rest.to_owned(), screen }
}

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths
}

pub(super) fn all() -> Vec<Saved> {
    let fixtures = root().join("tests/fixtures");
    let paths: Vec<_> = files(&fixtures.join("screens")).iter().flat_map(|agent| files(agent)).collect();
    let old = files(&fixtures.join("screens-old"));
    assert!(paths.len() > 600 && old.len() == 24, "{} {}", paths.len(), old.len());
    paths.iter().map(|p| saved(p)).chain(old.iter().map(|p| saved_old(p))).collect()
}

/// Agents that could not be run: their screens are composed from what others wrote of them, as each
/// header says.
pub(super) const BY_SOURCE: &[&str] = &["agy", "amp", "cursor", "goose", "grok", "kiro", "plandex"];

/// The screens of agents that were run.
pub(super) fn real() -> Vec<Saved> {
    let mut all = all();
    all.retain(|s| !BY_SOURCE.contains(&s.agent.as_str()));
    all
}

/// Dialogs of real agents at other sizes, judged by what they ask alone.
pub(super) fn dialogs() -> Vec<Saved> {
    let mut all: Vec<_> = files(&root().join("tests/fixtures/dialogs")).iter().map(|p| saved(p)).collect();
    all.iter_mut().for_each(|s| s.agent = s.name.split('-').next().unwrap().to_owned());
    all
}

/// From the files, so that a rule can be tried without a build.
pub(super) fn catalogue() -> Catalogue {
    let catalogue = Catalogue::load(&root().join("agents"));
    assert_eq!(catalogue.wrong, []);
    catalogue
}

#[test]
fn no_saved_screen_is_mistaken() {
    let catalogue = catalogue();
    let (mut wrong, mut unknown, mut seen) = (Vec::new(), BTreeMap::<String, usize>::new(), 0);
    let saved = all();
    let coloured: BTreeSet<String> =
        saved.iter().filter_map(|s| Some(s.path().strip_suffix(".ansi")?.to_owned())).collect();
    for s in saved {
        // A dead pane has no capture to judge: the process says that it exited.
        if s.state == "exited" {
            continue;
        }
        // Where a capture is there with and without its colours, nothing may be lost to "unknown"
        // in the one with them: that is what a pane is read with.
        let best = s.name.ends_with(".ansi") || !coloured.contains(s.path().trim_end_matches(".txt"));
        seen += usize::from(best);
        let verdict = judge(catalogue.get(&s.agent).unwrap(), &s.screen);
        let said = verdict.state.word();
        let arguable = ARGUABLE
            .iter()
            .any(|(a, n, w)| (a.is_empty() || *a == s.agent) && s.name.contains(n) && *w == said);
        if said == s.state || arguable {
            continue;
        }
        let harmless = verdict.state == State::Unknown && s.state != "blocked";
        if harmless {
            *unknown.entry(s.agent.clone()).or_default() += usize::from(best);
        }
        if !harmless || std::env::var_os("ALL").is_some() {
            wrong.push(format!("{}: is {}, said {said} by {:?}", s.path(), s.state, verdict.rule));
        }
    }
    assert!(wrong.is_empty(), "{} of {seen}:\n{}\nunknown: {unknown:?}", wrong.len(), wrong.join("\n"));
    let unknown: usize = unknown.values().sum();
    assert!(unknown * 20 <= seen, "{unknown} of {seen} unknown");
}

fn muxfs(home: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    use std::io::Write;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_muxfs"));
    command.env_clear().env("PATH", home.join("bin")).env("HOME", home).args(args).current_dir(home);
    for pipe in [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr] {
        pipe(&mut command, std::process::Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it may not want to read
    let out = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

#[test]
fn the_catalogue_is_listed_with_what_is_installed() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let own = home.join(".config/muxfs/agents");
    for dir in [&own, &home.join("bin")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    assert_eq!(muxfs(home, &["agent", "list"], ""), (0, String::new(), String::new()));
    let claude = home.join("bin/claude");
    std::fs::write(&claude, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(own.join("mine.toml"), "name = 'Mine'\ncommand = ['/bin/cat', '-u']\n").unwrap();
    std::fs::write(own.join("codex.toml"), "name = 'Broken'\ncommand = [\n").unwrap();
    let (code, said, warned) = muxfs(home, &["agent", "list"], "");
    let keys: Vec<_> = said.lines().map(|l| l.split_whitespace().next().unwrap()).collect();
    assert_eq!((code, keys), (0, vec!["claude", "mine"]), "{said}");
    assert!(said.contains(" --dangerously-skip-permissions\n"), "{said}");
    assert!(warned.contains("agents/codex.toml: line ") && warned.lines().count() == 1, "{warned}");
    let (_, said, _) = muxfs(home, &["agent", "list", "--all", "--json"], "");
    let all: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(all.len(), 16);
    let codex = all.iter().find(|a| a["key"] == "codex").unwrap();
    assert_eq!((&codex["name"], &codex["installed"]), (&"OpenAI Codex CLI".into(), &false.into()));
}

#[test]
fn a_manifest_is_checked_and_a_screen_judged() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    std::fs::write(home.join("good.toml"), "name = 'Mine'\ncommand = ['mine']\n").unwrap();
    std::fs::write(home.join("bad.toml"), "name = 'Mine'\ncommand = ['mine']\n\n[[rules]]\n").unwrap();
    assert_eq!(
        muxfs(home, &["agent", "check", "good.toml"], ""),
        (0, "Mine: 0 rules\n".into(), String::new())
    );
    let (code, _, said) = muxfs(home, &["agent", "check", "bad.toml"], "");
    assert!(code == 2 && said.contains("bad.toml: line 4, column 3: unknown field `rules`"), "{code} {said}");
    let (code, _, said) = muxfs(home, &["agent", "check", "none.toml"], "");
    assert!(code == 2 && said.contains("no such file"), "{code} {said}");

    let fixture = |name: &str| {
        let text = std::fs::read_to_string(root().join("tests/fixtures/screens").join(name)).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    let state = |args: &[&str], screen: &str| {
        let (code, said, warned) = muxfs(home, &[&["agent", "state"], args].concat(), screen);
        assert_eq!((code, warned.as_str()), (0, ""));
        said
    };
    let approval = fixture("codex/120x40-approval.txt");
    let screen =
        &["codex", "--title", "[ ! ] Action Required | proj", "--cursor", "120,39", "--size", "120x40"];
    assert_eq!(state(screen, &approval), "blocked dialog\n");
    assert_eq!(state(&["claude"], &fixture("claude/120x40-draft.ansi")), "ready composer with colours\n");
    assert_eq!(state(&["claude"], &fixture("claude/120x40-draft.txt")), "ready end of the turn\n");
    assert_eq!(state(&["claude"], &fixture("claude/120x40-busy-stream-draft.txt")), "unknown -\n");
    assert_eq!(state(&["claude"], ""), "unknown -\n");
    let (code, _, said) = muxfs(home, &["agent", "state", "nobody"], "");
    assert!(code == 3 && said.contains("there are agy, aider"), "{code} {said}");
    assert_eq!(muxfs(home, &["agent", "state", "claude", "--cursor", "2"], "").0, 2);
}

/// `(what follows name and command, line, column, the line's beginning or a part of it)`.
const WRONG: &[(&str, usize, usize, &str)] = &[
    ("[keys]\nclear = ['C-u', 'Backspce']\n", 4, 17, "\"Backspce\" is no key of tmux, such as C-u"),
    ("[keys]\ninterrupt = ['User0']\n", 4, 14, "\"User0\" is no key of tmux"),
    ("[keys]\ninterrupt = ['C-Escape']\n", 4, 14, "is no key of tmux"),
    ("[keys]\ninterrupt = ['é', '']\n", 4, 19, "\"\" is no key of tmux"),
    ("[keys]\ninterrupt = []\n", 4, 13, "expected at least one key"),
    ("[keys]\nclear = 'C-u'\n", 4, 9, "invalid type: string \"C-u\", expected a sequence"),
    ("[keys]\npause = '-1s'\n", 4, 9, "\"-1s\": expected a time from \"0s\" to \"60s\""),
    ("[keys]\npause = '2m'\n", 4, 9, "\"2m\": expected a time"),
    ("[submit]\nsettle = 300\n", 4, 10, "invalid type: integer `300`, expected a string"),
    ("[submit]\nby = 'mouse'\n", 4, 6, "unknown variant `mouse`, expected `paste` or `keys`"),
    ("[submit]\nenters = -1\n", 4, 10, "-1: expected a whole number from 1 to 10"),
    ("[submit]\nenters = 0\n", 4, 10, "0: expected a whole number"),
    ("[submit]\nlarge = -5\n", 4, 9, "expected usize"),
    ("[submit]\nlarge = 9\nnudge = ['PgDwn']\n", 5, 10, "\"PgDwn\" is no key of tmux"),
    ("[submit]\nnudge = ['End']\n", 4, 9, "submit.nudge needs large"),
    ("[[question]]\nname = 'a'\ntick = 'Spacebar'\n", 5, 8, "\"Spacebar\" is no key of tmux"),
    ("[[question]]\nname = 'a'\nmark = '(?P<mark>x)'\n", 4, 8, "question \"a\": mark has no"),
    ("[[question]]\nname = 'a'\n[[question]]\nname = ''\n", 6, 8, "expected a text that is not empty"),
    ("[[rule]]\nstate = 'ready'\nname = 'a'\n", 5, 8, "rule \"a\" looks at nothing: give it title"),
    (
        "[[rule]]\nstate = 'ready'\nname = 'a'\ntitle = 'x'\n[[rule]]\nstate = 'busy'\nname = 'b'\nunless = 'x'\n",
        9,
        8,
        "rule \"b\" looks at nothing",
    ),
    ("[[rule]]\nstate = 'ready'\nname = 'a'\nscreen = '[z-a]'\n", 6, 10, "is no regular expression: invalid"),
    ("[[rule]]\nstate = 'ready'\nname = 'a'\nscreen = '(?<!x)'\n", 6, 10, "look-around"),
    ("[[rule]]\nstate = 'idle'\nname = 'a'\n", 4, 9, "unknown variant `idle`, expected one of `ready`"),
    (
        "[[rule]]\nstate = 'ready'\nname = 'a'\ntitle = 'x'\nrows = 0\n",
        7,
        8,
        "0: expected a whole number from 1",
    ),
    (
        "[[rule]]\nstate = 'ready'\nname = 'a'\ntitel = 'x'\n",
        6,
        1,
        "unknown field `titel`, expected one of `state`",
    ),
    ("[[rule]]\nname = 'a'\n", 3, 1, "missing field `state`"),
    ("[composer]\nscreen = '>'\n", 4, 10, "the composer's screen has no (?P<text>…)"),
    ("[composer]\nscreen = '(?P<text>x)'\ncursor = 'maybe'\n", 5, 10, "unknown variant `maybe`"),
    ("[resume]\nargs = ['--resume']\n", 4, 8, "resume.args: nothing in it is {id}"),
    ("[danger]\nargs = '-x'\n", 4, 8, "invalid type: string"),
    ("[hooks]\nargs = ['{settings}']\n", 3, 1, "{settings} in args or env"),
    ("history = 'word'\n", 3, 11, "\"word\": expected one of agy, aider"),
    ("new = ' '\n", 3, 7, "expected a text that is not empty"),
    ("nmae = 'x'\n", 3, 1, "unknown field `nmae`"),
    ("env = { A = 1 }\n", 3, 13, "invalid type: integer `1`, expected a string"),
    ("osc7501 = 'yes'\n", 3, 11, "invalid type: string \"yes\", expected a boolean"),
    ("new = 'a'\nnew = 'b'\n", 4, 1, "duplicate key"),
];

#[test]
fn each_bad_value_is_one_clear_line_at_its_place() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut wrong = Vec::new();
    let mut check = |text: &str, line: usize, column: usize, why: &str| {
        std::fs::write(home.join("m.toml"), text).unwrap();
        let (code, out, said) = muxfs(home, &["agent", "check", "m.toml"], "");
        let place = format!("m.toml: line {line}, column {column}: ");
        if code != 2
            || !out.is_empty()
            || said.lines().count() != 1
            || !said.contains(&place)
            || !said.contains(why)
        {
            wrong.push(format!("{text:?}: {code} {said}"));
        }
    };
    for (tables, line, column, why) in WRONG {
        check(&format!("name = 'X'\ncommand = ['x']\n{tables}"), *line, *column, why);
    }
    check("name = ''\ncommand = ['x']\n", 1, 8, "expected a text that is not empty");
    check("name = 'X'\ncommand = ['']\n", 2, 11, "a command is a program and its arguments");
    check("name = 'X'\ncommand = []\n", 2, 11, "a command is a program and its arguments");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn keys_are_kept_as_they_are_sent() {
    let text = "name = 'X'\ncommand = ['x']\n[keys]\ninterrupt = ['esc', '^c', 'M-x', 'F1', 'y']\nclear = ['Backspace']\n";
    let manifest = muxfs_agent::manifest::Manifest::parse(text).unwrap();
    assert_eq!(manifest.keys.interrupt, ["Escape", "C-c", "M-x", "F1", "y"]);
    assert_eq!(manifest.keys.clear, ["BSpace"]);
}
