//! The scripts of `mount-examples/` that prompt agents: on the fake agent, alone or with the
//! stub's answers, a real mount and real tmux. Each where it goes well, and where it must not take
//! something for an answer.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use super::examples::{example, run, said, text};
use super::stub_llm::Stub;
use super::support::{Lab, until_true};
use super::turns::{Fakes, configured};

/// Agents whose answers are read from their history, to the letter.
fn fakes(args: &str, settings: &str) -> Fakes {
    configured(&format!("--claude-history {args}"), |_| settings.into())
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
    assert_eq!(
        (out.status.code(), &*String::from_utf8_lossy(&out.stdout)),
        (Some(status), ""),
        "{}",
        said(out)
    );
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
    names.retain(|n| !n.starts_with('.')); // a lock
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
    failed(
        &ask(&f, &["fake"], "ASK first"),
        3,
        &["is running, the agent blocked", "Run this command?", "> 1. Yes"],
    );
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
    failed(&ask(&f, &["fake"], "SLOW25000"), 1, &["is timed out, the agent busy"]);
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
    let out = given(script(&f, "chain.sh", &args), "the diff\n").wait_with_output().unwrap();
    failed(&out, 3, &["no answer from fake-a", "Run this command?"]);
    assert_eq!(f.taken(), ["ASK\n\nthe diff"]);
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
    assert_eq!(ok(&cron("fake", "SAY(all is well)")), "");
    let nights = f.lab().path("home/nightly");
    let answer = nights.join(names_in(&nights).remove(0));
    assert_eq!(read(&answer), "all is well\n");
    assert_eq!(ok(&cron("fake", "SAY(twice)")), "", "it is there");
    std::fs::remove_file(&answer).unwrap();
    assert_eq!(ok(&cron("fake", "SAY(twice)")), "", "the agent has answered it tonight");
    assert_eq!((read(&answer).as_str(), f.taken().len()), ("all is well\n", 1));
    std::fs::remove_file(&answer).unwrap();
    let out = cron("fake-2", "ASK");
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    for word in ["no answer from fake-2", "what fake-2 shows", "Run this command?"] {
        assert!(said(&out).contains(word), "{}", said(&out));
    }
    assert_eq!(names_in(&nights), Vec::<String>::new());
}

/// cron itself, with a spool and tables that nobody else sees. Ended when dropped: it holds the
/// mount.
struct Cron(Child);

impl Cron {
    fn start(lab: &Lab, table: &str) -> Self {
        let at = |name: &str| lab.path(name).display().to_string();
        std::fs::create_dir(lab.path("spool")).unwrap();
        std::fs::create_dir(lab.path("cron.d")).unwrap();
        std::fs::write(lab.path("none"), "").unwrap();
        std::fs::write(lab.path("table"), table).unwrap();
        let own = format!(
            "mount --bind {} /var/spool/cron/crontabs && mount --bind {} /etc/cron.d && \
             mount --bind {} /etc/crontab && mount -t tmpfs none /run && crontab {} && exec cron -f",
            at("spool"),
            at("cron.d"),
            at("none"),
            at("table"),
        );
        let mut unshare = Command::new("unshare");
        Cron(unshare.args(["-m", "--propagation", "private", "sh", "-c", &own]).spawn().unwrap())
    }
}

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn cron_runs_the_nightly_job() {
    let f = fakes("", "");
    let at = |name: &str| f.lab().path(name).display().to_string();
    let table = format!(
        "HOME={}\nMUX={}\n* * * * * {}\n* * * * * {} > {} 2>&1\n",
        at("home"),
        f.mount.dir.display(),
        job(&f, "fake", "SAY(all is well)"),
        job(&f, "fake-2", "ASK").replace("~/nightly", "~/other"),
        at("mailed"),
    );
    let mut cron = Cron::start(f.lab(), &table);
    let (nights, mailed) = (f.lab().path("home/nightly"), f.lab().path("mailed"));
    let whole = || names_in(&nights).into_iter().find(|n| n.ends_with(".md"));
    let begun = Instant::now();
    // It looks at its table when a minute begins.
    while whole().is_none() || !mailed.exists() {
        assert_eq!(cron.0.try_wait().unwrap(), None, "cron ended");
        assert!(begun.elapsed().as_secs() < 100, "nothing was run");
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    until_true("the other is told", || read(&mailed).contains("what fake-2 shows"));
    let answer = whole().unwrap();
    assert_eq!(read(&nights.join(&answer)), "all is well\n");
    assert_eq!(answer.len(), "2026-11-21.md".len(), "{answer}");
    until_true("nothing else is left", || names_in(&f.lab().path("home/other")).is_empty());
}

#[test]
fn every_line_is_answered_in_a_file_of_its_own_and_once() {
    let (f, stub) = modelled();
    std::fs::write(work(&f, "p.txt"), "one\ntwo SAY(2\\n2)\n\nfour\nSAY(five)").unwrap();
    let eval =
        |sessions: &[&str]| script(&f, "eval.sh", &[&["p.txt", "out"], sessions].concat()).output().unwrap();
    ok(&eval(&["fake-1", "fake-2"]));
    let out = work(&f, "out");
    assert_eq!(names_in(&out), ["0001.txt", "0002.txt", "0004.txt", "0005.txt"]);
    assert!(read(&out.join("0001.txt")).starts_with("ANSWER one ["));
    assert_eq!(
        (read(&out.join("0002.txt")), read(&out.join("0005.txt"))),
        ("2\n2\n".into(), "five\n".into())
    );
    let turns = |name: &str| names_in(&f.mount.path(&format!("{name}/turns"))).len();
    assert_eq!((turns("fake-1"), turns("fake-2")), (2, 2));
    // What is there is not asked again.
    std::fs::remove_file(out.join("0004.txt")).unwrap();
    ok(&eval(&["fake-1"]));
    assert!(read(&out.join("0004.txt")).starts_with("ANSWER four ["));
    assert_eq!(stub.prompts().len(), 5);
}

#[test]
fn a_line_without_an_answer_leaves_no_file_and_the_others_have_theirs() {
    let f = fakes("", "");
    std::fs::write(work(&f, "p.txt"), "ASK SAY(1)\nSAY(2)\nSAY(3)\nSAY(4)\n").unwrap();
    let eval = || script(&f, "eval.sh", &["p.txt", "out", "fake-1", "fake-2"]).output().unwrap();
    let words = ["line 1 has no answer", "fake-1 leaves the rest", "Run this command?"];
    failed(&eval(), 1, &words);
    assert_eq!(names_in(&work(&f, "out")), ["0002.txt", "0004.txt"]);
    // Another run at the same time would ask everything twice.
    std::fs::write(work(&f, "p2.txt"), "\n\n\n\nSLOW60000\nSAY(6)").unwrap();
    let first = script(&f, "eval.sh", &["p2.txt", "out", "fake-3"]).spawn().unwrap();
    until_true("it works", || f.mount.path("fake-3").exists() && f.status("fake-3", "state") == "busy");
    failed(&eval(), 1, &["another run fills out"]);
    // A turn that ends badly is one line: the next one is asked.
    f.mount.sh("echo interrupt > fake-3/ctl");
    failed(&first.wait_with_output().unwrap(), 1, &["line 5 has no answer"]);
    assert_eq!(names_in(&work(&f, "out")), ["0002.txt", "0004.txt", "0006.txt"]);
    f.mount.sh("echo answer 1 > fake-1/ctl; cat fake-1/wait");
    f.mount.sh("rmdir fake-1");
    failed(&eval(), 1, &["line 1 has no answer"]);
}

/// A repository with a change, and make standing in it.
fn repository(f: &Fakes) -> impl Fn(&[&str]) -> Output {
    let dir = work(f, "repo");
    let git = "git init -q && git config user.email a@example.org && git config user.name a && \
               echo 1 > f && git add f && git commit -qm first && echo 2 > f";
    std::fs::create_dir(&dir).unwrap();
    assert!(Command::new("sh").args(["-c", git]).current_dir(&dir).status().unwrap().success());
    let makefile = example("prompts.mk").display().to_string();
    move |args: &[&str]| {
        let mut make = f.mount.command("make");
        make.args(["-s", "-f", &makefile, "first=fake-1", "second=fake-2"]).args(args);
        make.current_dir(&dir).output().unwrap()
    }
}

#[test]
fn what_make_is_told_to_make_is_asked_for_by_two_sessions_at_once() {
    let (f, stub) = modelled();
    let make = repository(&f);
    ok(&make(&["-j2", "release.md"]));
    let repo = work(&f, "repo");
    assert!(read(&repo.join("release.md")).starts_with("ANSWER Write release notes"));
    let asked: Vec<String> = stub.prompts().into_iter().map(|r| r.text).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[..2].iter().all(|p| p.contains("+2")), "the change is in them: {asked:?}");
    assert!(asked[2].contains("ANSWER Review this change") && asked[2].contains("ANSWER What does"));
    assert_eq!(names_in(&f.mount.path("fake-2/turns")).len(), 1);
    ok(&make(&["release.md"]));
    assert_eq!(stub.prompts().len(), 3, "nothing is new");
    std::fs::write(repo.join("f"), "3\n").unwrap();
    ok(&make(&["release.md"]));
    assert_eq!(stub.prompts().len(), 6);
}

#[test]
fn a_prompt_without_an_answer_makes_no_target() {
    let f = fakes("", "");
    let make = repository(&f);
    // The word is in the change, so it is in every prompt.
    std::fs::write(work(&f, "repo/f"), "ASK\n").unwrap();
    let out = make(&["-j2", "-k", "release.md"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    for word in ["no answer from fake-1", "no answer from fake-2", "Run this command?"] {
        assert!(said(&out).contains(word), "{}", said(&out));
    }
    assert_eq!(names_in(&work(&f, "repo")), ["change.diff", "f"]);
    assert_eq!(f.taken().len(), 2);
}

/// What of each prompt was asked of whom: its first line.
fn first_lines(stub: &Stub) -> Vec<String> {
    stub.prompts().into_iter().map(|r| r.text.lines().next().unwrap().to_owned()).collect()
}

#[test]
fn a_specification_is_planned_built_and_checked() {
    let (f, stub) = modelled();
    std::fs::write(work(&f, "SPEC.md"), "SAY(A plan:\\n\\n1. Lay it\\n  2) Build it, 3. part\\nEnd)\n")
        .unwrap();
    // Fails once, after the first step.
    let check = "echo looked >> looks; [ \"$(wc -l < looks)\" != 1 ] || { echo 'it leans'; false; }";
    let out = script(&f, "spec.sh", &["SPEC.md", check, "fake-p", "fake-b"]).output().unwrap();
    let told = ok(&out);
    let asked = first_lines(&stub);
    assert!(asked[0].starts_with("Plan how to build"), "{asked:?}");
    assert_eq!(asked[1], "Lay it");
    assert!(asked[2].ends_with("fails; mend it:"), "{asked:?}");
    assert_eq!(asked[3..], ["Build it, 3. part"]);
    assert!(stub.prompts()[2].text.ends_with("\nit leans"), "{:?}", stub.prompts()[2].text);
    assert!(told.contains("== Lay it\nANSWER Lay it [") && told.contains("== Build it, 3. part\n"), "{told}");
    assert_eq!(read(&work(&f, "looks")).lines().count(), 3);
    assert_eq!(names_in(&f.mount.path("fake-p/turns")).len(), 1);
}

#[test]
fn a_check_that_goes_on_failing_ends_the_work() {
    let (f, stub) = modelled();
    std::fs::write(work(&f, "SPEC.md"), "SAY(1. One\\n2. Two)\n").unwrap();
    let mut spec = script(&f, "spec.sh", &["SPEC.md", "echo it leans; false", "fake"]);
    let out = spec.env("TRIES", "2").output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(String::from_utf8_lossy(&out.stderr).ends_with("still fails:\nit leans\n"), "{}", said(&out));
    assert_eq!(stub.prompts().len(), 4, "a plan, a step, two times mended: {:?}", first_lines(&stub));
    std::fs::write(work(&f, "SPEC.md"), "Anything\n").unwrap();
    let out = script(&f, "spec.sh", &["SPEC.md", "true", "fake"]).output().unwrap();
    failed(&out, 1, &["this is no plan", "ANSWER Plan how to build"]);
}

#[test]
fn a_builder_that_asks_is_told_of_and_no_step_follows() {
    let f = fakes("", "");
    std::fs::write(work(&f, "SPEC.md"), "SAY(1. ASK\n2. Two)\n").unwrap();
    let out = script(&f, "spec.sh", &["SPEC.md", "touch checked", "fake-p", "fake-b"]).output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stdout)), (Some(3), "== ASK\n".into()));
    assert!(said(&out).contains("no answer from fake-b") && said(&out).contains("Run this command?"));
    assert!(!work(&f, "checked").exists());
    assert_eq!(f.taken().len(), 2);
}
