//! `muxfs hook`: what agents run. One line or nothing, and silence, whatever comes in.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use muxfs_agent::hooks::{HookEvent, Kind, injection, parse};
use muxfs_agent::manifest::Manifest;

use super::doc::root;
use super::fake_agent::program;
use super::support::{Lab, until_true};

fn spawn(args: &[&str], dir: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muxfs"));
    command.arg("hook").args(args).current_dir(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// It ends well and says nothing.
fn run(args: &[&str], dir: &Path, payload: &[u8]) {
    let mut child = spawn(args, dir);
    let _ = child.stdin.take().unwrap().write_all(payload); // it may not want to read
    silent(child);
}

fn silent(child: Child) {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
}

fn stop(reply: &str) -> Vec<u8> {
    let row = serde_json::json!({"hook_event_name": "Stop", "session_id": "1", "prompt": "SECRET",
        "last_assistant_message": reply});
    row.to_string().into_bytes()
}

fn events(file: &Path) -> Vec<HookEvent> {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains("SECRET"), "{text}");
    text.lines().map(|l| parse(l).unwrap_or_else(|| panic!("{l}"))).collect()
}

#[test]
fn a_payload_is_a_line_from_wherever_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, file) = (dir.path(), dir.path().join("hooks"));
    std::fs::write(&file, "").unwrap();
    run(&["hooks"], dir, &stop("one"));
    run(&["hooks", std::str::from_utf8(&stop("two")).unwrap()], dir, b"");
    run(&["hooks"], dir, &stop(&"long ".repeat(10_000)));
    // As large as a prompt may be, in the longest way to write it.
    let prompt = "\\u0001".repeat(1 << 20);
    run(&["hooks"], dir, format!(r#"{{"hook_event_name":"BeforeAgent","prompt":"{prompt}"}}"#).as_bytes());
    let said: Vec<_> = events(&file).into_iter().map(|e| (e.kind(), e.reply)).collect();
    let ended = |reply: Option<&str>| (Kind::TurnEnded, reply.map(str::to_owned));
    assert_eq!(said, [ended(Some("one")), ended(Some("two")), ended(None), (Kind::PromptTaken, None)]);
    // Many at once do not mix.
    let mut all: Vec<Child> = (0..20).map(|_| spawn(&["hooks"], dir)).collect();
    for child in &mut all {
        child.stdin.take().unwrap().write_all(&stop(&"x".repeat(3000))).unwrap();
    }
    all.into_iter().for_each(silent);
    assert_eq!(events(&file).len(), 24);
}

#[test]
fn where_nothing_can_be_said_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("hooks"), "").unwrap();
    std::fs::write(dir.join("other"), "").unwrap();
    std::os::unix::fs::symlink("other", dir.join("link")).unwrap();
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::File::create(dir.join("full")).unwrap().set_len(64 << 20).unwrap();
    for file in ["missing", "missing/too", "link", "fifo", ".", "full", "", "/dev/null"] {
        run(&[file], dir, &stop("lost"));
    }
    run(&[], dir, &stop("lost"));
    for payload in [&b""[..], b"{", b"[]", b"7", b"{\"hook_event_name\":7}", b"\xff\xfe", &[b'['; 100_000]] {
        run(&["hooks"], dir, payload);
    }
    run(&["hooks"], dir, &[b' '; 9 << 20]);
    run(&["hooks", "not json"], dir, &stop("lost"));
    for name in ["hooks", "other"] {
        assert_eq!(std::fs::read_to_string(dir.join(name)).unwrap(), "", "{name}");
    }
    assert!(!dir.join("missing").exists());
    assert_eq!(std::fs::metadata(dir.join("full")).unwrap().len(), 64 << 20);
}

#[test]
fn an_agent_that_does_not_close_its_end_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hooks"), "").unwrap();
    let begun = Instant::now();
    let mut child = spawn(&["hooks"], dir.path());
    let mut input = child.stdin.take().unwrap();
    input.write_all(&stop("said")).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    drop(input);
    assert_eq!(events(&dir.path().join("hooks"))[0].reply.as_deref(), Some("said"));
}

#[test]
fn an_agent_with_injected_hooks_says_its_turns() {
    let lab = Lab::new();
    let text = std::fs::read_to_string(root().join("tests/fixtures/agents/fake.toml")).unwrap();
    let claude = std::fs::read_to_string(root().join("agents/claude.toml")).unwrap();
    let (_, table) = claude.split_once("[hooks]\n").unwrap();
    let (table, _) = table.split_once("\n# Dialogs").unwrap();
    let manifest = Manifest::parse(&format!("{text}\n[hooks]\n{table}")).unwrap();
    let file = lab.path("it's hooks");
    std::fs::write(&file, "").unwrap();
    let made = injection(&manifest, env!("CARGO_BIN_EXE_muxfs").as_ref(), &file, &lab.path("settings.json"));
    for (path, text) in &made.files {
        std::fs::write(path, text).unwrap();
    }
    let command = format!("exec {} --busy 50 {}", program().display(), made.args.join(" "));
    lab.tmux_ok(&["new-session", "-d", "-s", "fake", "-x", "80", "-y", "24", &command]);
    let kinds = || events(&file).iter().map(HookEvent::kind).collect::<Vec<_>>();
    let keys = |keys: &[&str]| {
        lab.tmux_ok(&[&["send-keys", "-t", "fake"], keys].concat());
    };
    until_true("it starts", || kinds() == [Kind::Started]);
    keys(&["-l", "SECRET ASK SAY(the answer)"]);
    keys(&["Enter"]);
    let asked = [Kind::Started, Kind::PromptTaken, Kind::Blocked];
    until_true("it asks", || kinds() == asked);
    keys(&["1"]);
    until_true("the turn ends", || kinds().last() == Some(&Kind::TurnEnded));
    keys(&["-l", "/exit"]);
    keys(&["Enter"]);
    until_true("it ends", || kinds().last() == Some(&Kind::Ended));
    let all = events(&file);
    assert_eq!(all[3].reply.as_deref(), Some("the answer"));
    assert!(all.iter().all(|e| e.conversation == all[0].conversation && e.conversation.len() == 36));
}
