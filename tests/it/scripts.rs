//! The scripts of `mount-examples/` that prompt agents: on the fake agent, alone or with the
//! stub's answers, a real mount and real tmux. Each where it goes well, and where it must not take
//! something for an answer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use super::examples::{example, run, said, text};
use super::stub_llm::Stub;
use super::support::{Lab, Mount, until, until_true};
use super::turns::Fakes;

/// Agents whose answers are read from their history, to the letter.
fn fakes(args: &str, settings: &str) -> Fakes {
    let lab = Fakes::prepared(Lab::new());
    let args = format!("--claude-history --log {} {args}", lab.path("taken").display());
    Fakes { mount: Mount::configured(lab, &Fakes::config(&args, settings)) }
}

/// Agents that ask a model.
fn modelled() -> (Fakes, Stub) {
    let stub = Stub::start().unwrap();
    let llm = format!("--llm 127.0.0.1:{}", stub.port());
    (fakes(&llm, ""), stub)
}

/// An example called with these arguments, in `work`.
fn script(f: &Fakes, name: &str, args: &[&str]) -> Command {
    let mut command = f.mount.command(example(name).to_str().unwrap());
    command.args(args).current_dir(f.lab().path("work"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn given(mut command: Command, input: &str) -> Child {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // One that needs no input may have ended already.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child
}

fn ask(f: &Fakes, args: &[&str], prompt: &str) -> Output {
    given(script(f, "ask.sh", args), prompt).wait_with_output().unwrap()
}

/// What it printed; it must succeed without a complaint.
fn ok(out: &Output) -> String {
    assert!(out.status.success() && out.stderr.is_empty(), "{} {}", out.status, said(out));
    String::from_utf8(out.stdout.clone()).unwrap()
}

/// It failed with this status, printed no answer, and says this.
fn failed(out: &Output, status: i32, words: &[&str]) {
    assert_eq!((out.status.code(), &*String::from_utf8_lossy(&out.stdout)), (Some(status), ""), "{}", said(out));
    for word in words {
        assert!(said(out).contains(word), "{word:?} in {}", said(out));
    }
}

fn work(f: &Fakes, name: &str) -> PathBuf {
    f.lab().path("work").join(name)
}

fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| !n.starts_with('.'));
    names.sort();
    names
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn ask_gives_the_answer_of_a_session_that_it_makes() {
    let f = fakes("--start 300", "");
    assert_eq!(ok(&ask(&f, &["fake"], "SAY(forty two)\n")), "forty two\n");
    assert_eq!(ok(&ask(&f, &["honey/fake-2"], "SAY(there)\nline 2\n")), "there\n");
    assert_eq!(f.taken(), ["SAY(forty two)", "SAY(there)\nline 2"]);
    assert_eq!(f.status("fake", "cwd"), f.lab().path("work").to_str().unwrap());
    // What does not come into the queue.
    failed(&ask(&f, &["fake"], ""), 1, &["fake took no prompt"]);
    failed(&ask(&f, &["shell-1"], "true"), 1, &["shell-1 took no prompt"]);
    failed(&ask(&f, &["nowhere/fake"], "x"), 1, &["nowhere"]);
    assert_eq!(f.taken().len(), 2);
}

#[test]
fn ask_tells_of_a_question_and_takes_its_prompt_back() {
    let f = fakes("", "");
    failed(&ask(&f, &["fake"], "ASK first"), 3, &["is running, the agent blocked", "Run this command?", "> 1. Yes"]);
    failed(&ask(&f, &["fake"], "second"), 3, &["is queued, the agent blocked"]);
    assert_eq!(f.mount.sh("ls fake/queue"), "");
    f.mount.sh("echo answer 1 > fake/ctl");
    assert_eq!(ok(&ask(&f, &["fake"], "SAY(third)")), "third\n");
    assert_eq!(f.taken(), ["ASK first", "SAY(third)"]);
}

#[test]
fn ask_takes_no_turn_for_an_answer_that_ended_otherwise() {
    let f = fakes("--busy 100", "");
    let slow = given(script(&f, "ask.sh", &["fake"]), "SLOW60000");
    until_true("it works", || f.mount.path("fake").exists() && f.status("fake", "state") == "busy");
    f.mount.sh("echo interrupt > fake/ctl");
    failed(&slow.wait_with_output().unwrap(), 1, &["is interrupted, the agent ready"]);
    let slow = given(script(&f, "ask.sh", &["fake"]), "SLOW60000");
    f.until_state("fake", "busy");
    f.mount.sh("echo stop > fake/ctl");
    failed(&slow.wait_with_output().unwrap(), 3, &["the agent stopped"]);
    let slow = given(script(&f, "ask.sh", &["fake-2"]), "SLOW60000");
    until_true("it works", || f.mount.path("fake-2").exists() && f.status("fake-2", "state") == "busy");
    f.mount.sh("rmdir fake-2");
    failed(&slow.wait_with_output().unwrap(), 3, &["the agent gone"]);
}

#[test]
fn ask_takes_no_turn_for_an_answer_whose_end_nobody_saw() {
    let f = fakes("--repaint 0", "[turns]\nhold = '2s'\n");
    let begun = Instant::now();
    failed(&ask(&f, &["fake"], "SLOW25000"), 1, &["is timed%20out, the agent busy"]);
    assert!(begun.elapsed().as_secs() < 20, "it is told at once, not when the agent is ready");
    let f = fakes("--swallow 99", "");
    failed(&ask(&f, &["fake"], "never entered"), 1, &["is uncertain"]);
    assert_eq!(f.taken(), Vec::<String>::new());
}

#[test]
fn ask_says_until_when_a_limit_lasts() {
    let f = fakes("--limit 1 --limit-for 60000", "");
    failed(&ask(&f, &["fake"], "one"), 3, &["the agent limited", "until: 20"]);
}

#[test]
fn a_prompt_with_a_name_is_asked_once() {
    let f = fakes("--busy 500", "");
    let both = [0, 1].map(|_| given(script(&f, "ask.sh", &["fake", "nightly-1"]), "SAY(once)"));
    for child in both {
        assert_eq!(ok(&child.wait_with_output().unwrap()), "once\n");
    }
    assert_eq!(ok(&ask(&f, &["fake", "nightly-1"], "SAY(another)")), "once\n");
    assert_eq!(f.taken(), ["SAY(once)"]);
    // One that was left behind a question has its answer when it is asked for again.
    failed(&ask(&f, &["fake", "n2"], "ASK SAY(late)"), 3, &["blocked"]);
    f.mount.sh("echo answer 1 > fake/ctl");
    assert_eq!(ok(&ask(&f, &["fake", "n2"], "ASK SAY(late)")), "late\n");
    // One that has none is asked anew.
    let slow = given(script(&f, "ask.sh", &["fake", "n3"]), "SLOW60000");
    f.until_state("fake", "busy");
    f.mount.sh("echo interrupt > fake/ctl");
    failed(&slow.wait_with_output().unwrap(), 1, &["n3 is interrupted"]);
    assert_eq!(ok(&ask(&f, &["fake", "n3"], "SAY(again)")), "again\n");
    assert_eq!(f.mount.sh("ls fake/turns"), "n2\nn3\nn3.2\nnightly-1\n");
}

#[test]
fn what_one_agent_answers_is_the_next_ones_prompt() {
    let (f, stub) = modelled();
    let args = ["fake-a", "Look: SAY(it\\nbreaks b)", "fake-b", "Is it so?"];
    let out = given(script(&f, "chain.sh", &args), "the diff\n").wait_with_output().unwrap();
    assert_eq!(ok(&out), "ANSWER Is it so? [2]\n");
    let asked: Vec<String> = stub.prompts().into_iter().map(|r| r.text).collect();
    assert_eq!(asked, ["Look: SAY(it\\nbreaks b)\n\nthe diff", "Is it so?\n\nit\nbreaks b"]);
}

#[test]
fn the_second_is_not_asked_about_an_answer_that_is_none() {
    let f = fakes("", "");
    let args = ["fake-a", "ASK", "fake-b", "Is it so?"];
    let out = given(script(&f, "chain.sh", &args), "").wait_with_output().unwrap();
    failed(&out, 3, &["no answer from fake-a", "Run this command?"]);
    assert_eq!(f.taken(), ["ASK"]);
    assert!(!f.mount.path("fake-b").exists());
}

#[test]
fn agents_have_a_broadcast_when_they_may() {
    let f = fakes("", "");
    for name in ["fake-a", "fake-b", "fake-c"] {
        f.session(name);
    }
    let broadcast = |words: &str| script(&f, "broadcast.sh", &[words, "fake-*"]).output().unwrap();
    assert_eq!(ok(&broadcast("to all")), "");
    for name in ["fake-a", "fake-b", "fake-c"] {
        assert_eq!(f.mount.read(&format!("{name}/wait")), "ready\n");
    }
    assert_eq!(f.taken(), ["to all"; 3]);
    f.mount.sh("echo ASK > fake-b/input; cat fake-b/wait; echo stop > fake-c/ctl");
    let out = broadcast("later");
    failed(&out, 1, &["fake-c/input", "honey/fake-b cannot go on"]);
    assert!(!said(&out).contains("fake-a"), "{}", said(&out));
    assert_eq!(f.mount.read("fake-a/wait"), "ready\n");
    assert_eq!(f.taken()[3..], ["ASK", "later"], "not into the question");
    failed(&script(&f, "broadcast.sh", &["x", "none-*"]).output().unwrap(), 1, &["no session none-*"]);
}

/// The one line of `crontab`, for this lab: its directories, and this minute instead of the night.
fn job(f: &Fakes, session: &str, prompt: &str) -> String {
    let text = text("crontab");
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(lines.len(), 1);
    let mut job = lines[0].strip_prefix("30 2 * * *  ").expect("at 2:30").to_owned();
    for (is, was) in [
        (f.lab().path("work").to_str().unwrap(), "~/src/project"),
        (example("nightly.sh").to_str().unwrap(), "/usr/local/share/muxfs/nightly.sh"),
        (session, "claude-nightly"),
        (prompt, "Run the tests. What fails, and why?"),
    ] {
        assert!(job.contains(was), "{was} in {job}");
        job = job.replace(was, is);
    }
    job
}

#[test]
fn the_cron_job_keeps_an_answer_a_night_and_mails_failures() {
    let f = fakes("", "");
    let out = run(Command::new("crontab").arg("-n").arg(example("crontab"))); // installs nothing
    assert!(out.status.success(), "{}", said(&out));
    // crontab(5): these four, and /bin/sh; MUX is the test's own.
    let cron = |session: &str, prompt: &str| {
        let mut sh = Command::new("timeout");
        sh.args(["60", "/bin/sh", "-c", &job(&f, session, prompt)]).env_clear().current_dir(f.lab().home());
        sh.env("HOME", f.lab().home()).env("LOGNAME", "root").env("SHELL", "/bin/sh");
        sh.env("PATH", "/usr/bin:/bin").env("MUX", &f.mount.dir).output().unwrap()
    };
    // Cron mails what is printed.
    failed(&cron("fake-2", "ASK"), 3, &[]);
}

/// cron itself, with a table and a spool that nobody else sees.
#[test]
fn cron_runs_the_nightly_job() {
    let f = fakes("", "");
    let at = |name: &str| f.lab().path(name).display().to_string();
    std::fs::create_dir(f.lab().path("spool")).unwrap();
    std::fs::create_dir(f.lab().path("cron.d")).unwrap();
    std::fs::write(f.lab().path("none"), "").unwrap();
    let table = format!(
        "HOME={}\nMUX={}\n* * * * * {}\n* * * * * {} > {} 2>&1\n",
        at("home"),
        f.mount.dir.display(),
        job(&f, "fake", "SAY(all is well)"),
        job(&f, "fake-2", "ASK").replace("~/nightly", "~/other"),
        at("mailed"),
    );
    std::fs::write(f.lab().path("table"), table).unwrap();
    let own = format!(
        "mount --bind {} /var/spool/cron/crontabs && mount --bind {} /etc/cron.d && \
         mount --bind {} /etc/crontab && mount -t tmpfs none /run && crontab {} && exec cron -f",
        at("spool"),
        at("cron.d"),
        at("none"),
        at("table"),
    );
    let mut cron =
        Command::new("unshare").args(["-m", "--propagation", "private", "sh", "-c", &own]).spawn().unwrap();
    let nights = f.lab().path("home/nightly");
    let begun = Instant::now();
    // It looks at its table when a minute begins.
    while begun.elapsed().as_secs() < 90 && (names_in(&nights).len() != 1 || !f.lab().path("mailed").exists()) {
        assert_eq!(cron.try_wait().unwrap(), None, "cron ended");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    until_true("the other is told", || read(&f.lab().path("mailed")).contains("what fake-2 shows"));
    cron.kill().unwrap();
    cron.wait().unwrap();
    let answer = names_in(&nights).remove(0);
    assert_eq!(read(&nights.join(&answer)), "all is well\n");
    assert!(answer.ends_with(".md") && answer.len() == "2026-11-21.md".len(), "{answer}");
    assert_eq!(names_in(&f.lab().path("home/other")), Vec::<String>::new());
}
