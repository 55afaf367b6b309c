//! How sessions come to be and come back: listed ones, those of before a reboot, their environment,
//! directory and first prompts; and turns that are switched while prompts wait. On a real mount, with
//! real tmux.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::fake_agent::program;
use super::support::{Lab, Mount, until, until_true};
use super::turns::{Fakes, configured, logged};

fn work(f: &Fakes) -> PathBuf {
    f.lab().path("work")
}

/// Waits for a session that is not there yet.
fn until_back(f: &Fakes, name: &str, state: &str) {
    let status = || std::fs::read_to_string(f.mount.path(&format!("{name}/status"))).unwrap_or_default();
    until(&format!("{name} is {state}"), || status().contains(&format!("\nstate: {state}\n")).then_some(()));
}

/// The daemon ends by `signal`, tmux with it, and another daemon starts.
fn reboot(f: &mut Fakes, signal: Signal) {
    let pid = f.lab().tmux_ok(&["display-message", "-p", "#{pid}"]);
    f.mount.end(signal);
    f.lab().tmux_ok(&["kill-server"]);
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    until_true("the server is gone", || stat().is_empty() || stat().contains(") Z "));
    f.mount.start_again();
}

/// The node's sessions in the order in which they were made.
fn in_order(f: &Fakes) -> Vec<String> {
    let text = f.lab().tmux_ok(&["list-sessions", "-F", "#{session_id} #{session_name}"]);
    let id = |line: &str| line[1..].split(' ').next().and_then(|n| n.parse::<u32>().ok());
    let mut all: Vec<(Option<u32>, &str)> =
        text.lines().map(|l| (id(l), l.split_once(' ').unwrap().1)).collect();
    all.sort_unstable();
    let names = all.into_iter().map(|(_, name)| name.to_owned());
    names.filter(|name| f.mount.path(name).exists()).collect()
}

fn environment(f: &Fakes, name: &str) -> BTreeMap<String, String> {
    let bytes = std::fs::read(format!("/proc/{}/environ", f.status(name, "pid"))).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    text.split('\0').filter_map(|v| v.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn directory(f: &Fakes, name: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{}/cwd", f.status(name, "pid"))).unwrap()
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap()
}

#[test]
fn listed_sessions_are_made_with_their_settings() {
    let f = configured("", |lab| {
        format!(
            "[[sessions]]\nname = 'zeta'\nagent = 'fake'\ncwd = {:?}\nenv = {{ A = 'b c' }}\n\
             init = ['hello']\nargs = ['--log', {:?}, '--title']\n\
             [[sessions]]\nname = 'fake-2'\n\
             [[sessions]]\nname = 'alpha'\ncommand = ['cat']\nsize = '90x20'\n",
            lab.path("work"),
            lab.path("taken"),
        )
    });
    until_back(&f, "zeta", "ready");
    until_back(&f, "fake-2", "ready");
    until_true("the last one is there", || f.mount.path("alpha/status").exists());
    let m = &f.mount;
    assert_eq!(m.read("zeta/wait"), "ready\n");
    assert_eq!(f.taken(), ["hello"]);
    assert_eq!(in_order(&f), ["zeta", "fake-2", "alpha"]);
    assert_eq!(directory(&f, "zeta"), real(&work(&f)));
    assert_eq!(directory(&f, "fake-2"), real(&f.lab().home()), "not where the daemon stands");
    assert_eq!(environment(&f, "zeta")["A"], "b c");
    let words = std::fs::read(format!("/proc/{}/cmdline", f.status("zeta", "pid"))).unwrap();
    assert!(String::from_utf8_lossy(&words).contains("--title"));
    assert_eq!((f.status("fake-2", "agent").as_str(), f.status("alpha", "size").as_str()), ("fake", "90x20"));
    assert!(m.read("zeta/config").contains("\nautostart = true\n"), "{}", m.read("zeta/config"));
    for name in ["zeta", "fake-2", "alpha"] {
        assert_eq!(f.status(name, "parent"), "-");
    }
    assert_eq!(m.read("errors"), "");
}

#[test]
fn after_a_reboot_they_return_with_their_talks_and_nothing_is_sent() {
    let listed = "[session]\ninit = ['node first']\n\
                  [[sessions]]\nname = 'zeta'\nagent = 'fake'\n[[sessions]]\nname = 'fake-b'\n";
    let mut f = configured("--claude-history", |_| listed.into());
    until_back(&f, "zeta", "ready");
    until_back(&f, "fake-b", "ready");
    let dir = work(&f);
    let new = |name: &str, set: &str| format!("echo 'new {name} fake {} {set}' > ctl", dir.display());
    let inside = format!("export MUXFS_SESSION={}; bash -c '{}'", f.status("zeta", "id"), {
        new("a-own", "{ autostart = true, init = [\"own\"] }").replace('\'', "'\\''")
    });
    f.mount.sh(&inside);
    f.mount.sh(&new("b-still", "{ autostart = true, skip-init = true }"));
    f.mount.sh(&new("plain", "{ size = \"90x20\", skip-init = true }"));
    let everyone = ["zeta", "fake-b", "a-own", "b-still", "plain"];
    let again = &everyone[..4];
    for name in everyone {
        until_back(&f, name, "ready");
        assert_eq!(f.mount.read(&format!("{name}/wait")), "ready\n");
    }
    f.mount.sh("echo 'remember 17' > a-own/input; cat a-own/wait");
    let talk = f.status("a-own", "conversation");
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        f.mount.sh("echo SLOW60000 > a-own/input; echo never > a-own/input");
        f.until_state("a-own", "busy");
        let last = format!("a-own/turns/{}/status", f.status("a-own", "turn"));
        until_true("it is taken", || f.mount.read(&last).contains("state: running\n"));
        let before = f.taken();
        reboot(&mut f, signal);
        for name in again {
            until_back(&f, name, "ready");
            assert_eq!(f.mount.read(&format!("{name}/wait")), "ready\n");
            assert_eq!(f.status(name, "queue"), "0", "{name}");
        }
        assert_eq!(in_order(&f), again, "plain does not return");
        assert_eq!(f.status("a-own", "conversation"), talk);
        assert_eq!(directory(&f, "a-own"), real(&dir));
        assert_eq!(f.status("a-own", "parent"), "zeta");
        assert!(f.mount.read("a-own/screen").contains("remember 17"), "{}", f.mount.read("a-own/screen"));
        assert_eq!(f.taken(), before, "neither first prompts nor those of before");
        assert!(f.mount.read(&last).contains("state: failed\n"), "{}", f.mount.read(&last));
        let errors = f.mount.read("errors");
        assert!(errors.contains("failed: the tmux server ended before"), "{errors}");
    }
    // What does not return by itself is remembered.
    f.mount.sh("mkdir plain");
    until_back(&f, "plain", "ready");
    assert_eq!((f.status("plain", "size"), directory(&f, "plain")), ("90x20".into(), real(&dir)));
}

#[test]
fn many_listed_sessions_start_a_few_at_a_time() {
    let names: Vec<String> = (1..=12).map(|n| format!("fake-{}", 20 - n)).collect();
    let f = configured("", |lab| {
        let (begun, go) = (lab.path("begun"), lab.path("go"));
        let gate = format!(
            "#!/bin/sh\necho >> {}\nwhile ! [ -e {} ]; do sleep 0.05; done\nexec {} \"$@\"\n",
            begun.display(),
            go.display(),
            program().display()
        );
        std::fs::write(lab.path("gate"), gate).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(lab.path("gate"), mode).unwrap();
        let command = format!("command = {:?}\n", lab.path("gate"));
        command + &names.iter().map(|n| format!("[[sessions]]\nname = {n:?}\n")).collect::<String>()
    });
    let begun = || std::fs::read_to_string(f.lab().path("begun")).unwrap_or_default().len();
    until_true("the first ones", || begun() == 4);
    std::thread::park_timeout(Duration::from_millis(500));
    assert_eq!(begun(), 4, "the others wait until these have started up");
    std::fs::write(f.lab().path("go"), "").unwrap();
    for name in &names {
        until_back(&f, name, "ready");
    }
    assert_eq!(in_order(&f), names);
    assert_eq!((begun(), f.mount.read("errors").as_str()), (12, ""));
}

#[test]
fn one_that_cannot_start_is_told_of_and_a_new_daemon_starts_nothing_twice() {
    let mut f = configured("", |_| {
        "[session]\ninit = ['first']\n[[sessions]]\nname = 'wrong'\nagent = 'clade'\n\
         [[sessions]]\nname = 'none'\ncommand = '/nonexistent/agent'\n\
         [[sessions]]\nname = 'fake-1'\n[[sessions]]\nname = 'fake-1'\n\
         [[sessions]]\nname = 'gone'\ncwd = '/nonexistent/dir'\n"
            .into()
    });
    let told =
        |f: &Fakes| f.mount.read("errors").matches("gone autostart: cwd: /nonexistent/dir: no such").count();
    until_back(&f, "fake-1", "ready");
    assert_eq!(f.mount.read("fake-1/wait"), "ready\n");
    until_back(&f, "none", "exited 127");
    until_true("a line of the directory", || told(&f) == 1);
    assert!(f.mount.read("errors").contains("none exited 127: its program was not found"));
    assert!(f.mount.read("errors").contains("wrong autostart: unknown agent \"clade\""));
    assert!(!f.mount.path("gone").exists() && !f.mount.path("wrong").exists());
    let pid = f.status("fake-1", "pid");
    f.mount.kill9();
    f.mount.start_again();
    // The last of the list: the others were seen to before.
    until_true("the next daemon went through its list", || told(&f) == 2);
    assert_eq!(f.mount.read("fake-1/wait"), "ready\n");
    assert_eq!((f.status("fake-1", "pid"), f.taken()), (pid, vec!["first".to_owned()]));
    assert_eq!(f.status("none", "state"), "exited 127");
    assert_eq!(f.mount.read("errors").matches(" autostart: ").count(), 4, "{}", f.mount.read("errors"));
    // What was never made leaves nothing.
    let state = f.lab().path("state");
    let kinds = f.mount.sh(&format!("find {} -name '*.toml' | wc -l; ls -d fake-1 none", state.display()));
    assert_eq!(kinds, "2\nfake-1\nnone\n");
}

#[test]
fn the_name_of_anothers_session_of_before_is_free() {
    let mut f = logged("");
    f.lab().tmux_ok(&["new-session", "-d", "-s", "demo", "cat"]);
    until_true("it is shown", || f.mount.path("demo/config").exists());
    f.mount.sh("echo 'turns = \"on\"' > demo/config");
    reboot_without_sessions(&mut f);
    f.mount.sh("mkdir demo");
    assert_eq!((f.status("demo", "managed").as_str(), f.status("demo", "turns").as_str()), ("true", "off"));
    f.mount.sh("rmdir demo");
}

fn reboot_without_sessions(f: &mut Fakes) {
    reboot(f, Signal::SIGKILL);
    until_true("nothing is left", || f.mount.read("index").lines().count() <= 1);
}

/// Replaces the line of `turns` in a session's settings.
fn set_turns(f: &Fakes, name: &str, word: &str) {
    f.mount.sh(&format!("sed -i -E 's/^(# )?turns = .*/turns = \"{word}\"/' {name}/config"));
}

#[test]
fn turns_are_switched_while_prompts_wait_and_none_is_lost_or_doubled() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    m.sh("echo SLOW2500 > fake/input; echo two > fake/input; echo three > fake/input");
    f.until_state("fake", "busy");
    set_turns(&f, "fake", "off");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    until_true("it says why they wait", || f.status("fake", "held") == "turns-off");
    assert_eq!(m.read("fake/wait"), "ready\n", "no wait for what does not go");
    assert_eq!((f.status("fake", "queue").as_str(), m.read("fake/queue/0002").as_str()), ("2", "two\n"));
    let named = m.run("echo four > fake/queue/four");
    assert!(String::from_utf8_lossy(&named.stderr).contains("not permitted"), "{named:?}");
    m.sh("echo direct > fake/input");
    assert_eq!(f.taken(), ["SLOW2500", "direct"], "at once");
    assert_eq!(m.sh("ls fake/turns"), "0001\n0002\n0003\n");
    set_turns(&f, "fake", "on");
    assert_eq!(m.read("fake/turns/0003/wait"), "done\n");
    assert_eq!(
        (f.taken(), f.status("fake", "held")),
        (strings(&["SLOW2500", "direct", "two", "three"]), "-".into())
    );

    set_turns(&f, "fake", "off");
    m.sh("echo 'ASK me' > fake/input");
    f.until_state("fake", "blocked");
    let before = f.received();
    let refused = m.run("echo mine > fake/input");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("busy"), "{refused:?}");
    assert_eq!((f.received(), m.read("fake/wait").as_str()), (before, "blocked\n"));
    m.sh("echo Enter > fake/keys");
    f.until_state("fake", "ready");
    set_turns(&f, "fake", "auto");
    assert_eq!(f.status("fake", "turns"), "on");
    m.sh("echo last > fake/input; cat fake/wait");
    assert_eq!(m.read("fake/turns/0004/wait"), "done\n");
    assert_eq!(f.taken()[4..], ["ASK me", "last"]);
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| w.to_string()).collect()
}

#[test]
fn a_shell_takes_turns_where_its_settings_say_so() {
    let f = logged("");
    let m = &f.mount;
    m.sh("mkdir shell-1");
    set_turns(&f, "shell-1", "on");
    let out = work(&f).join("out");
    for n in 1..=3 {
        m.sh(&format!("echo 'read -t 0.3 < /dev/zero; echo {n} >> {}' > shell-1/input", out.display()));
    }
    m.sh("echo 'echo $((40+2))' > shell-1/queue/sum");
    assert_eq!(m.read("shell-1/turns/0001/wait"), "done\n");
    assert_eq!(m.read("shell-1/wait"), "ready\n");
    assert_eq!(std::fs::read_to_string(out).unwrap(), "1\n2\n3\n");
    let reply = m.read("shell-1/turns/sum/reply");
    assert!(reply.contains("42\n") && !reply.contains("out\n"), "{reply}");
    set_turns(&f, "shell-1", "auto");
    assert_eq!(f.status("shell-1", "turns"), "off");
}

#[test]
fn anothers_session_of_an_agent_takes_turns_when_it_is_told_which() {
    let mut f = logged("");
    let command = format!("{} --log {}", program().display(), f.log().display());
    let dir = work(&f);
    f.lab().tmux_ok(&["new-session", "-d", "-s", "theirs", "-c", dir.to_str().unwrap(), &command]);
    until_true("it is shown", || f.mount.path("theirs/config").exists());
    assert_eq!(f.status("theirs", "turns"), "off");
    f.mount.sh("sed -i 's/^# agent = .*/agent = \"fake\"/' theirs/config");
    f.until_state("theirs", "ready");
    assert_eq!((f.status("theirs", "agent").as_str(), f.status("theirs", "turns").as_str()), ("fake", "on"));
    f.mount.sh("echo 'ASK one' > theirs/input; echo two > theirs/input");
    f.until_state("theirs", "blocked");
    f.mount.sh("echo 'answer 2' > theirs/ctl");
    assert_eq!(f.mount.read("theirs/turns/0002/wait"), "done\n");
    assert!(f.mount.read("theirs/reply").contains("echo: two"), "{}", f.mount.read("theirs/reply"));
    assert!(!f.mount.run("echo restart > theirs/ctl").status.success(), "it is theirs");
    f.mount.kill9();
    f.mount.start_again();
    assert_eq!((f.status("theirs", "agent").as_str(), f.status("theirs", "turns").as_str()), ("fake", "on"));
    set_turns(&f, "theirs", "off");
    f.mount.sh("echo three > theirs/input; cat theirs/wait");
    assert_eq!(f.taken(), ["ASK one", "two", "three"]);
    assert_eq!(f.mount.sh("ls theirs/turns"), "0001\n0002\n");
}

#[test]
fn a_session_starts_where_its_maker_stands_and_with_the_users_environment() {
    let lab = Fakes::prepared(Lab::new());
    let (bin, home) = (lab.path("bin"), lab.home());
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(home.join("src")).unwrap();
    std::os::unix::fs::symlink(program(), bin.join("only-here")).unwrap();
    let profile = |word: &str| {
        let text = format!(
            "echo welcome\nexport ONE={word} TWO=login THREE=login PATH={}:$PATH\n\
             unset LANG LC_ALL LC_CTYPE\n. ~/.bashrc\n",
            bin.display()
        );
        std::fs::write(home.join(".bash_profile"), text).unwrap();
    };
    profile("login");
    std::fs::write(home.join(".bashrc"), "export RC=rc\n").unwrap();
    let config = "command = 'only-here'\n[session]\ncwd = '~/src'\nenv = { TWO = 'node', THREE = 'node' }\n";
    let f = Fakes { mount: Mount::configured(lab, &Fakes::config("", config)) };
    let m = &f.mount;
    f.session("fake-x");
    assert_eq!(directory(&f, "fake-x"), real(&work(&f)));
    m.sh("echo 'new fake-y fake - { env = { THREE = \"own\" } }' > ctl");
    f.until_state("fake-y", "ready");
    assert_eq!(directory(&f, "fake-y"), real(&home.join("src")), "who stands in the mount stands nowhere");
    let env = environment(&f, "fake-y");
    let of = |names: &[&str]| names.iter().map(|n| env[*n].clone()).collect::<Vec<_>>();
    assert_eq!(of(&["ONE", "RC", "TWO", "THREE", "LC_CTYPE"]), ["login", "rc", "node", "own", "C.UTF-8"]);
    assert_eq!(env["MUXFS_SESSION"], f.status("fake-y", "id"));
    assert!(env["PATH"].starts_with(bin.to_str().unwrap()), "{}", env["PATH"]);

    let again = |name: &str| {
        m.sh(&format!("echo restart > {name}/ctl"));
        f.until_state(name, "ready");
        environment(&f, name)["ONE"].clone()
    };
    profile("anew");
    assert_eq!(again("fake-x"), "login", "asked once");
    m.sh("echo reload > ctl");
    assert_eq!(again("fake-x"), "anew");
}

#[test]
fn a_question_suspends_its_turn() {
    let f = logged("");
    f.session("fake");
    let m = &f.mount;
    let seen = f.lab().path("events");
    let reader = "exec 3< fake/events; echo opened; exec cat <&3";
    let out = std::fs::File::create(&seen).unwrap();
    let mut reader = m.command("bash").args(["-c", reader]).stdout(Stdio::from(out)).spawn().unwrap();
    let events = || std::fs::read_to_string(&seen).unwrap();
    until_true("it reads", || events().contains("opened\n"));
    m.sh("echo ASK one > fake/input");
    f.until_state("fake", "blocked");
    until_true("it is told", || events().contains("\"suspended\""));
    let line = events().lines().find(|l| l.contains("\"suspended\"")).map(str::to_owned).unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((told["turn"].as_str(), told["stage"].as_str()), (Some("0001"), Some("running")), "{line}");
    let status = m.read("fake/turns/0001/status");
    assert!(status.contains("state: running\n") && status.contains("ended: -\n"), "{status}");
    m.sh("echo 'answer 1' > fake/ctl");
    assert_eq!(m.read("fake/turns/0001/wait"), "done\n");
    until_true("and its end", || events().contains("\"done\""));
    let all = events();
    assert_eq!(all.matches("\"suspended\"").count(), 1, "{all}");
    let at = |what: &str| all.find(what).unwrap();
    assert!(at("\"delivered\"") < at("\"suspended\"") && at("\"suspended\"") < at("\"done\""), "{all}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(reader.id().cast_signed()), Signal::SIGTERM).unwrap();
    reader.wait().unwrap();
}

/// Writes a prompt, syncs it, and says where it is then.
const SYNC: &str = "
import os, sys
fd = os.open('fake/' + sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, sys.argv[2].encode())
try:
    os.fsync(fd)
except OSError as e:
    sys.exit(os.strerror(e.errno))
print(open('fake/turns/' + sys.argv[3] + '/status').read())
os.close(fd)
";

/// A fake agent of which each turn lasts until [`Fakes::go`], whatever time it is given.
pub fn led(args: &str) -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    let (log, go) = (lab.path("taken"), lab.path("go"));
    let config = Fakes::config(&format!("--log {} --go {} {args}", log.display(), go.display()), "");
    Fakes { mount: Mount::configured(lab, &config) }
}

#[test]
fn an_fsync_returns_when_its_prompt_is_delivered() {
    // Each turn lasts until it may go on: what is looked at meanwhile is there on a slow machine too.
    let f = led("--busy 1");
    f.session("fake");
    let m = &f.mount;
    let sync = |file: &str, text: &str, turn: &str| {
        let mut python = m.command("python3");
        python.args(["-c", SYNC, file, text, turn]).stdout(Stdio::piped()).stderr(Stdio::piped());
        python.spawn().unwrap()
    };
    m.sh("echo one > fake/input");
    f.until_state("fake", "busy");
    for (file, turn) in [("input", "0002"), ("queue/own", "own"), ("panes/0.0/input", "0004")] {
        let waits = sync(file, turn, turn);
        until_true("it is queued", || f.status("fake", "queue") == "1");
        f.go();
        let out = waits.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("state: running\n"), "{file}: {out:?}");
        assert_eq!(f.taken().last().map(String::as_str), Some(turn));
    }
    for (file, turn) in [("input", "0005"), ("queue/other", "other")] {
        let waits = sync(file, "late", turn);
        until_true("it is queued", || f.status("fake", "queue") == "1");
        m.sh(&format!("timeout 5 rm fake/queue/{turn}"));
        let out = waits.wait_with_output().unwrap();
        assert!(String::from_utf8_lossy(&out.stderr).contains("No such device"), "withdrawn: {out:?}");
    }

    f.go();
    f.until_state("fake", "ready");
    m.sh("echo 'ASK it' > fake/input");
    f.go();
    f.until_state("fake", "blocked");
    let waits = sync("input", "after it", "0008");
    until_true("it is queued", || f.status("fake", "queue") == "1");
    let begun = Instant::now();
    m.sh("echo another > fake/input");
    assert!(begun.elapsed() < Duration::from_secs(5), "a sync holds up nobody: {:?}", begun.elapsed());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(waits.id().cast_signed()), Signal::SIGINT).unwrap();
    let out = waits.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("KeyboardInterrupt"), "{out:?}");
    m.sh("echo 'answer 1' > fake/ctl");
    for _ in ["ASK it", "after it", "another"] {
        f.go();
    }
    m.sh("cat fake/wait");
    assert_eq!(f.taken(), ["one", "0002", "own", "0004", "ASK it", "after it", "another"], "once each");
}

#[test]
fn first_prompts_come_first_and_once() {
    let f = configured("--start 500", |_| "[session]\ninit = ['node first']\n".into());
    f.begin("fake");
    let m = &f.mount;
    m.sh("echo mine > fake/input");
    assert_eq!(m.read("fake/turns/0002/wait"), "done\n");
    assert_eq!(f.taken(), ["node first", "mine"]);
    m.sh("echo 'new second fake - { init = [\"own one\", \"own two\"] }' > ctl");
    f.until_state("second", "ready");
    assert_eq!(m.read("second/wait"), "ready\n");
    assert_eq!(f.taken()[2..], ["node first", "own one", "own two"]);

    // Where nobody waits for their ends, they go 0.5 s apart.
    m.sh("echo 'new third fake - { turns = \"off\", init = [\"a\", \"b\"] }' > ctl");
    until_true("all came", || f.taken().len() >= 8);
    assert_eq!(f.taken()[5..], ["node first", "a", "b"]);
    let rows = f.rows();
    let times: Vec<u64> =
        rows.iter().filter(|r| r["type"] == "prompt").map(|r| r["time"].as_u64().unwrap()).collect();
    assert!(times[5..].windows(2).all(|two| two[1] - two[0] > 400), "{times:?}");
    assert_eq!(m.read("errors"), "");
}

/// `ctl stop` returns when the state is told, also of an agent, whose state is else seen a moment later.
#[test]
fn what_is_stopped_says_so_at_once() {
    let f = logged("");
    f.session("fake");
    for _ in 0..4 {
        f.mount.sh("echo stop > fake/ctl");
        assert_eq!(f.status("fake", "state"), "stopped");
        f.mount.sh("echo start > fake/ctl");
        f.until_state("fake", "ready");
    }
}
