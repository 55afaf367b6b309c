//! Rows of agents: a prompt accepted, a turn's end told, two hundred that work at once.
//!
//! The agents are the fake one of the tests; its log says when its turns ended. Knows nothing of how
//! a state is found.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::lab::{Lab, Mount, until};
use super::many::{cpu, cpu_below};
use super::stats::{Samples, Table};

const STEP: Duration = Duration::from_millis(5);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// How many write to, and how often.
const AGENTS: usize = 10;
const ROUNDS: usize = 50;
const IN_A_ROUND: usize = 20;
/// Turns of each kind of agent whose end is waited for.
const TURNS: usize = 50;
/// Agents that work at once, and for how long they are looked at.
const FLEET: usize = 200;
const WINDOW: usize = 40;
/// Of them, so many change their state.
const CHANGES: usize = 60;

/// `fake`, which its screen tells of, and `hooked`, which tells by hooks; each logs to its name.
fn lab() -> Lab {
    let lab = Lab::new();
    let agents = lab.path("config/muxfs/agents");
    std::fs::create_dir_all(&agents).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_muxfs")).with_file_name("examples").join("fake-agent");
    assert!(program.exists(), "{program:?}: cargo build --release --example fake-agent");
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let fake = read("tests/fixtures/agents/fake.toml")
        .replace("command = [\"fake-agent\"]", &format!("command = [{program:?}]"));
    let claude = read("agents/claude.toml");
    let (_, hooks) = claude.split_once("[hooks]\n").unwrap();
    let (hooks, _) = hooks.split_once("\n# Dialogs").unwrap();
    std::fs::write(agents.join("fake.toml"), &fake).unwrap();
    std::fs::write(agents.join("hooked.toml"), format!("{fake}\n[hooks]\n{hooks}")).unwrap();
    let args = |name: &str| {
        let log = lab.path(name);
        format!("[agent.{name}]\nargs = [\"--claude-history\", \"--log\", {log:?}]\n")
    };
    std::fs::write(lab.path("config/muxfs/muxfs.toml"), args("fake") + &args("hooked")).unwrap();
    // A shell, for `tmux send-keys`, which keeps the server up as well.
    lab.sessions(1, "");
    lab
}

fn state(mount: &Mount, name: &str) -> String {
    field(&mount.read(&format!("{name}/status")), "state")
}

fn field(status: &str, key: &str) -> String {
    let found = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("{key} in {status}")).to_owned()
}

fn begin(mount: &Mount, names: &[String]) {
    for name in names {
        std::fs::create_dir(mount.at(name)).unwrap();
    }
    for name in names {
        until("ready", STEP, || state(mount, name) == "ready");
    }
}

fn write(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
}

/// They work for longer than anything here takes.
fn busy(mount: &Mount, names: &[String]) {
    for name in names {
        write(&mount.at(&format!("{name}/input")), "SLOW9000000\n");
    }
    for name in names {
        until("busy", STEP, || state(mount, name) == "busy");
    }
}

/// Milliseconds since 1970.
fn millis(t: SystemTime) -> f64 {
    t.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64() * 1e3
}

fn parsed(time: &str) -> f64 {
    millis(time.parse::<jiff::Timestamp>().unwrap().into())
}

/// When the agent logged its last row of this kind, where it bears that text.
fn logged(log: &Path, kind: &str, text: Option<&str>) -> Option<f64> {
    let all = std::fs::read_to_string(log).unwrap_or_default();
    let rows = all.lines().rev().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let last = rows.into_iter().find(|r| r["type"] == kind)?;
    text.is_none_or(|text| last["text"] == text).then(|| last["time"].as_f64().unwrap())
}

pub fn measure(table: &mut Table) {
    accepted(table);
    ends(table);
}

/// Prompts to agents that work: they are stored, and wait.
fn accepted(table: &mut Table) {
    let lab = lab();
    let mount = Mount::start(&lab);
    let names: Vec<String> = (0..AGENTS).map(|n| format!("fake-{n}")).collect();
    begin(&mount, &names);
    busy(&mount, &names);
    let inputs: Vec<PathBuf> = names.iter().map(|n| mount.at(&format!("{n}/input"))).collect();
    let [mut ours, mut theirs, mut disk] = std::array::from_fn(|_| Samples::default());
    let mut beside = std::fs::File::create(lab.path("state/beside")).unwrap();
    for _ in 0..ROUNDS {
        for n in 0..IN_A_ROUND {
            ours.time(|| write(&inputs[n % AGENTS], "what is to be done\n"));
            std::thread::sleep(Duration::from_millis(2));
            let mut send = lab.tmux(&["send-keys", "-t", "s0", ":", "Enter"]);
            theirs.time(|| assert!(send.status().unwrap().success()));
            // What the disk takes for it at least.
            disk.time(|| {
                beside
                    .write_all(&[b'x'; 150])
                    .and_then(|()| muxfs_tree::base::disk::sync_data(&beside))
                    .unwrap()
            });
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let stored = field(&mount.read("fake-0/status"), "queue").parse::<usize>().unwrap();
    assert_eq!(stored, ROUNDS * IN_A_ROUND / AGENTS);
    let (fs, disk) = (file_system(&lab.path("state")), disk.both());
    let what = format!("a prompt accepted, synced to {fs} (alone {disk})");
    table.sum(&what, &ours, &[("`tmux send-keys`", &theirs)], [1.0, 4.0]);
}

fn file_system(path: &Path) -> String {
    let out = Command::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(path).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// From the agent's answer to the return of a reader of `wait`.
fn ends(table: &mut Table) {
    let lab = lab();
    let mount = Mount::start(&lab);
    let kinds = [("hooked", "hooks tell", 300.0), ("fake", "its screen tells", 1000.0)];
    begin(&mount, &kinds.map(|(name, ..)| name.to_owned()));
    let mut took = [Samples::default(), Samples::default()];
    for n in 0..TURNS {
        for ((name, ..), took) in kinds.iter().zip(&mut took) {
            write(&mount.at(&format!("{name}/input")), &format!("SLOW300 SAY(turn {n})\n"));
            assert_eq!(mount.read(&format!("{name}/wait")), "ready\n");
            let now = millis(SystemTime::now());
            let ended = logged(&lab.path(name), "answered", Some(&format!("turn {n}"))).expect("its end");
            took.add(Duration::from_secs_f64((now - ended).max(0.0) / 1e3));
        }
    }
    for ((_, how, limit), took) in kinds.iter().zip(&took) {
        let worst = format!("the slowest of {TURNS}: {:.0} ms", took.at(1.0) * 1e3);
        table.number(format!("a turn's end to `wait`, {how}"), took.p50() * 1e3, "ms", worst, *limit);
    }
}

/// Two hundred agents that repaint ten times a second.
pub fn fleet(table: &mut Table) {
    let lab = lab();
    let mount = Mount::start(&lab);
    let names: Vec<String> = (0..FLEET).map(|n| format!("fake-{n}")).collect();
    begin(&mount, &names);
    busy(&mount, &names);
    std::thread::sleep(Duration::from_secs(5)); // the last start-up is over
    let tmux = lab.server_pid().unwrap();
    let before = (cpu_below(mount.pid()), cpu(tmux), SystemTime::now());
    let mut ages = Samples::default();
    for _ in 0..WINDOW {
        for name in &names {
            ages.add(age(&mount, name));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let lasted = before.2.elapsed().unwrap().as_secs_f64();
    let share = |now: f64, before: f64| (now - before) / lasted * 100.0;
    let (ours, theirs) = (share(cpu_below(mount.pid()), before.0), share(cpu(tmux), before.1));
    let beside = format!("tmux: {theirs:.1} %");
    let what = format!("processor, {FLEET} agents that repaint at 10 Hz");
    table.number(what, ours, "% of a core", beside, 50.0);
    let median = format!("p50: {:.2} s; {} looks", ages.p50(), FLEET * WINDOW);
    table.number("their states' greatest age".into(), ages.at(1.0), "s", median, 1.0);
    let changes = changes(&lab, &mount, &names);
    let median = format!("p50: {:.2} s", changes.p50());
    table.number(format!("a change of one, the slowest of {CHANGES}"), changes.at(1.0), "s", median, 1.0);
}

/// What `status` says is so old.
fn age(mount: &Mount, name: &str) -> Duration {
    let status = mount.read(&format!("{name}/status"));
    assert_eq!(field(&status, "state"), "busy", "{name}");
    let old = millis(SystemTime::now()) - parsed(&field(&status, "seen"));
    Duration::from_secs_f64(old.max(0.0) / 1e3)
}

/// From an agent that stops working to the event that says so.
fn changes(lab: &Lab, mount: &Mount, names: &[String]) -> Samples {
    let ready = Arc::new(Mutex::new(HashMap::<String, f64>::new()));
    let events = std::fs::File::open(mount.at("events")).unwrap();
    let heard = ready.clone();
    // It ends with the mount.
    std::thread::spawn(move || {
        for line in BufReader::new(events).lines().map_while(Result::ok) {
            let row: Value = serde_json::from_str(&line).unwrap();
            if row["event"] == "state" && row["state"] == "ready" {
                let name = row["session"].as_str().unwrap().to_owned();
                heard.lock().unwrap().insert(name, parsed(row["time"].as_str().unwrap()));
            }
        }
    });
    let log = lab.path("fake");
    let mut took = Samples::default();
    for name in names.iter().step_by(names.len() / CHANGES).take(CHANGES) {
        let before = logged(&log, "interrupt", None);
        lab.tmux_ok(&["send-keys", "-t", name, "Escape"]);
        until("it stops", STEP, || logged(&log, "interrupt", None) > before);
        until("the event", STEP, || ready.lock().unwrap().contains_key(name));
        let stopped = logged(&log, "interrupt", None).unwrap();
        let late = (ready.lock().unwrap()[name] - stopped).max(0.0);
        took.add(Duration::from_secs_f64(late / 1e3));
    }
    took
}
