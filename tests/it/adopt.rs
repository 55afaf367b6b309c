//! Sessions, windows and panes that others made, on a real mount: they come, change and go as
//! tmux says, and nothing of theirs is taken away.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use muxfs_tmux::process::version_of;

use crate::support::{Lab, Mount, Node, until, until_true};

/// What a shell does at the other end of a glob: the names of the node's directories.
fn names(mux: &Mount) -> Vec<String> {
    let dirs = std::fs::read_dir(mux.path("")).unwrap().flatten();
    let mut names: Vec<_> = dirs
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn has(mux: &Mount, name: &str) -> bool {
    mux.path(name).join("status").exists()
}

fn field(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

/// The middle one of five: a busy machine may be slow once.
fn median(mut measure: impl FnMut(usize) -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..5).map(&mut measure).collect();
    all.sort();
    all[2]
}

fn time(what: &str, met: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    until_true(what, met);
    begun.elapsed()
}

#[test]
fn they_appear_and_go_within_a_second() {
    let lab = Lab::new();
    lab.tmux_ok(&["new-session", "-d", "-s", "before", "sh"]);
    lab.tmux_ok(&["split-window", "-t", "before", "sh"]);
    lab.tmux_ok(&["new-window", "-t", "before", "sh"]);
    lab.tmux_ok(&["new-session", "-d", "-t", "before", "-s", "grouped"]);
    let mux = Mount::start_in(lab);
    until_true("those from before are there", || names(&mux) == ["before", "grouped"]);
    let panes = |s: &str| mux.sh(&format!("ls {s}/panes"));
    assert_eq!(panes("before"), "0.0\n0.1\n1.0\n");
    assert_eq!(panes("grouped"), panes("before"));
    // The same pane under both names: what goes in at one comes out at the other.
    mux.sh("echo 'echo $((40+2))' > before/panes/0.1/input");
    until_true("the grouped session shows it", || mux.read("grouped/panes/0.1/output").contains("\n42\n"));
    let limit = Duration::from_secs(1);
    let came = median(|i| {
        mux.lab.tmux_ok(&["new-session", "-d", "-s", &format!("s{i}"), "sh"]);
        time("it is there", || has(&mux, &format!("s{i}")))
    });
    let split = median(|i| {
        mux.lab.tmux_ok(&["split-window", "-t", &format!("s{i}"), "sh"]);
        time("its pane is there", || has(&mux, &format!("s{i}/panes/0.1")))
    });
    let closed = median(|i| {
        mux.lab.tmux_ok(&["kill-pane", "-t", &format!("s{i}:0.1")]);
        time("its pane is gone", || !has(&mux, &format!("s{i}/panes/0.1")))
    });
    let went = median(|i| {
        mux.lab.tmux_ok(&["kill-session", "-t", &format!("s{i}")]);
        time("it is gone", || !has(&mux, &format!("s{i}")))
    });
    for (what, took) in [("came", came), ("split", split), ("closed", closed), ("went", went)] {
        assert!(took < limit, "{what}: {took:?}");
    }
    mux.lab.tmux_ok(&["kill-session", "-t", "before"]);
    until_true("one of a group goes, the other stays", || names(&mux) == ["grouped"]);
    assert_eq!(panes("grouped"), "0.0\n0.1\n1.0\n");
}

#[test]
fn odd_names_are_addressed_by_path_and_run_nothing() {
    let mux = Mount::start();
    let made = mux.lab.path("made");
    let command = format!("#(touch {})", made.display());
    let long = "x".repeat(200);
    let encoded = command.replace('/', "%2F");
    let odd = [
        ("a/b", "a%2Fb"),
        ("status", "%73tatus"),
        ("50%2F", "50%252F"),
        ("50%", "50%"),
        ("two words", "two words"),
        ("-dash", "-dash"),
        ("ümläut", "ümläut"),
        ("#{pid}", "#{pid}"),
        ("$1", "$1"),
        ("=1", "=1"),
        ("'q\"", "'q\""),
        (&long, &long),
        (&command, &encoded),
    ];
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "plain", "cat"]);
    for (name, _) in odd {
        // `new-session` would take some for targets or options; formats are written doubled.
        mux.lab.tmux_ok(&["new-session", "-d", "-s", "made", "cat"]);
        mux.lab.tmux_ok(&["rename-session", "-t", "=made:", "--", &name.replace('#', "##")]);
    }
    for (_, shown) in odd {
        until_true(shown, || has(&mux, shown));
        std::fs::write(mux.path(shown).join("text"), "hello").unwrap();
        until_true(shown, || {
            std::fs::read_to_string(mux.path(shown).join("screen")).unwrap().contains("hello")
        });
        let refused = std::fs::remove_dir(mux.path(shown)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc_ebusy()), "{shown}");
    }
    assert_eq!(names(&mux).len(), odd.len() + 1);
    assert!(mux.read("status").contains("name: honey\n"), "a reserved name is the node's file");
    // The same encoded form makes and renames.
    mux.sh("mkdir 'c%2Fd' && mv 'c%2Fd' '%6Cogs' && rmdir '%6Cogs'");
    mux.sh(&format!("mkdir '{encoded}x' && echo true > '{encoded}x/input' && rmdir '{encoded}x'"));
    assert!(!made.exists(), "a name was run");
    let screens: Vec<_> = odd.iter().map(|(_, shown)| mux.path(shown).join("screen")).collect();
    let shown = |p: &std::path::PathBuf| std::fs::read_to_string(p).unwrap().matches("hello").count();
    assert!(screens.iter().all(|p| shown(p) == 1), "each got its own text and no other's");
}

/// A control client that attaches while something is told to all of them ends tmux before 3.7.
#[test]
fn nobody_attaches_in_the_middle_of_a_script() {
    let lab = Lab::new();
    lab.configure("");
    let (busy, socket) = (lab.path("busy"), lab.socket());
    std::fs::write(&busy, "").unwrap();
    // Three, since one alone may be held up for longer than we look.
    let scripts: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            lab.tmux_ok(&["new-session", "-d", "-s", &format!("{name}0"), "cat"]);
            let script = r#"i=0; while [ -e "$1" ]; do
                tmux -S "$2" rename-session -t "=$3$i:" "$3$((i+1))" || exit 1; i=$((i+1))
            done"#;
            let mut sh = std::process::Command::new("sh");
            sh.args(["-c", script, "sh"]).arg(&busy).arg(&socket).arg(name).spawn().unwrap()
        })
        .into();
    let version = lab.tmux_ok(&["display-message", "-p", "#{version}"]);
    let mended = version_of(version.trim()).is_some_and(|version| version >= (3, 7));
    let node = Node::start_in(lab);
    let attached = || node.place.tmux_ok(&["list-clients", "-F", "#{client_flags}"]).contains("control-mode");
    let begun = Instant::now();
    while !mended && begun.elapsed() < Duration::from_millis(1500) {
        assert!(!attached(), "attached while sessions are renamed");
    }
    std::fs::remove_file(busy).unwrap();
    for mut script in scripts {
        assert!(script.wait().unwrap().success(), "the server lives");
    }
    until_true("it attaches when nothing changes any more", attached);
    until_true("and sees them", || {
        node.ls("").iter().filter(|n| n.starts_with(['a', 'b', 'c'])).count() >= 3
    });
}

fn libc_ebusy() -> i32 {
    nix::errno::Errno::EBUSY as i32
}

#[test]
fn what_others_made_is_never_ended_but_by_ctl() {
    let mux = Mount::start();
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "sh"]);
    until_true("it is there", || has(&mux, "theirs"));
    let pid = field(&mux.read("theirs/status"), "pid");
    assert!(!mux.run("rmdir theirs").status.success());
    assert!(!mux.run("rm -rf theirs").status.success());
    for verb in ["start", "restart"] {
        let out = mux.run(&format!("echo {verb} > theirs/ctl"));
        assert!(String::from_utf8_lossy(&out.stderr).contains("not permitted"), "{verb}: {out:?}");
    }
    let config = "echo 'command = \"cat\"' > $HOME/c; cp $HOME/c theirs/config";
    assert!(!mux.run(config).status.success());
    let _ = std::fs::read_dir(mux.path("theirs/panes")).unwrap().count();
    assert_eq!(field(&mux.read("theirs/status"), "pid"), pid);
    assert_eq!(field(&mux.read("theirs/status"), "managed"), "false");
    mux.sh("echo stop > theirs/ctl");
    until_true("ctl ends it on purpose", || !has(&mux, "theirs"));
    // tmux takes the dead program from the table after its session.
    until_true("and its program", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_users_pipe_is_left_alone_and_ours_comes_when_it_is_gone() {
    let lab = Lab::new();
    let file = lab.path("users");
    let pipe = format!("cat >> {}", file.display());
    // bash would repaint its prompt; cat prints what it is given.
    lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "sh -c 'stty -echo; exec cat'"]);
    lab.tmux_ok(&["pipe-pane", "-t", "theirs", &pipe]);
    let mux = Mount::start_in(lab);
    until_true("it is there", || has(&mux, "theirs"));
    until_true("status says whose pipe it is", || {
        field(&mux.read("theirs/status"), "logs").starts_with("screen (the pane has a pipe-pane")
    });
    let say = |i: usize| mux.sh(&format!("echo line{i} > theirs/input"));
    let mut said = 0..;
    let mut next = || {
        let i = said.next().unwrap();
        say(i);
        until_true("the transcript has it", || mux.read("theirs/logs").contains(&format!("line{i}\n")));
    };
    (0..3).for_each(|_| next());
    until_true("their pipe got it all", || std::fs::read_to_string(&file).unwrap().contains("line2"));
    mux.lab.tmux_ok(&["pipe-pane", "-t", "theirs"]);
    // Quiet all the while: the pipe comes back without a sign of life.
    until_true("the pipe is ours", || field(&mux.read("theirs/status"), "logs") == "pipe");
    (0..2).for_each(|_| next());
    // Taken while we had it.
    mux.lab.tmux_ok(&["pipe-pane", "-t", "theirs", &pipe]);
    until_true("status says that it was taken", || {
        field(&mux.read("theirs/status"), "logs") == "screen (our pipe was taken)"
    });
    (0..2).for_each(|_| next());
    mux.lab.tmux_ok(&["pipe-pane", "-t", "theirs"]);
    until_true("and is taken back", || field(&mux.read("theirs/status"), "logs") == "pipe");
    next();
    let logs = mux.read("theirs/logs");
    let lines: Vec<_> = logs.lines().filter(|l| l.starts_with("line")).collect();
    let wanted: Vec<_> = (0..8).map(|i| format!("line{i}")).collect();
    assert_eq!(lines, wanted, "each once, in order: {logs}");
    for note in ["has a pipe-pane of its own", "our pipe was taken", "our pipe again"] {
        assert!(logs.contains(note), "{note}: {logs}");
    }
    let raw = mux.read("theirs/raw");
    assert!(raw.contains("line3") && !raw.contains("line5") && raw.contains("line7"), "{raw}");
    assert_eq!(raw.matches("[muxfs: ").count(), 3, "each gap is stated: {raw}");
}

#[test]
fn the_main_pane_stays_the_main_pane() {
    let mux = Mount::start();
    mux.sh("mkdir demo");
    mux.lab.tmux_ok(&["set-option", "-w", "-t", "demo", "remain-on-exit", "off"]);
    mux.lab.tmux_ok(&["split-window", "-t", "demo", "sh"]);
    until_true("the second pane is there", || has(&mux, "demo/panes/0.1"));
    let main = field(&mux.read("demo/status"), "pane");
    mux.lab.tmux_ok(&["kill-pane", "-t", &main]);
    until_true("it says so", || field(&mux.read("demo/status"), "evidence") == "pane gone");
    assert!(field(&mux.read("demo/status"), "state").starts_with("exited"));
    assert_eq!(field(&mux.read("demo/status"), "pane"), main);
    let out = mux.run("echo x > demo/input");
    assert!(String::from_utf8_lossy(&out.stderr).contains("No such device or address"), "{out:?}");
    // The other pane was 0.1 and is 0.0 now; it still works.
    until_true("renumbered", || mux.sh("ls demo/panes") == "0.0\n");
    mux.sh("echo 'echo $((6*7))' > demo/panes/0.0/input");
    until_true("it answers", || mux.read("demo/panes/0.0/output").contains("\n42\n"));
    mux.sh("echo start > demo/ctl");
    until_true("a window of its own", || field(&mux.read("demo/status"), "state") == "ready");
    assert_ne!(field(&mux.read("demo/status"), "pane"), main);
    mux.sh("echo 'echo $((7*7))' > demo/input; cat demo/wait > /dev/null");
    until_true("it is the main pane", || mux.read("demo/logs").contains("\n49\n"));
}

#[test]
fn rmdir_ends_the_whole_tree_and_spares_linked_windows() {
    let mux = Mount::start();
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "theirs", "sh"]);
    mux.sh("mkdir demo");
    let pids = mux.lab.path("pids");
    let keep = |job: &str| format!("{job} & echo $! >> {}", pids.display());
    let script = [
        keep("sleep 5001"),
        keep("setsid sleep 5002"),
        keep("(trap '' HUP TERM; while :; do sleep 0.1; done)"),
        keep("nohup sleep 5003 2>/dev/null"),
    ]
    .join("\n");
    std::fs::write(mux.lab.path("script"), script).unwrap();
    mux.sh(&format!("echo '. {}' > demo/input; cat demo/wait", mux.lab.path("script").display()));
    mux.lab.tmux_ok(&["split-window", "-t", "demo", "sleep 5004"]);
    let spared =
        mux.lab.tmux_ok(&["new-window", "-d", "-P", "-F", "#{pane_pid}", "-t", "demo:7", "sleep 5005"]);
    // Linked just now: it may not be in the tables yet.
    mux.lab.tmux_ok(&["link-window", "-s", "demo:7", "-t", "theirs:7"]);
    mux.sh("rmdir demo");
    let pids = std::fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 4);
    assert!(!pids.lines().any(alive), "{pids}");
    assert!(alive(&spared), "a window of others was ended");
    assert!(has(&mux, "theirs/panes/7.0"));
}

/// Not a process that ended and waits for a parent that never asks.
fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// What a program left behind when it ended by itself goes with the session too.
#[test]
fn rmdir_ends_what_an_exited_program_left() {
    let mux = Mount::start();
    mux.sh("mkdir demo");
    let pid = mux.lab.path("pid");
    mux.sh(&format!(
        "echo 'nohup sleep 5006 2>/dev/null & echo $! > {}; disown; exit 4' > demo/input",
        pid.display()
    ));
    until_true("it exited", || field(&mux.read("demo/status"), "state") == "exited 4");
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(alive(&pid));
    mux.sh("rmdir demo");
    assert!(!alive(&pid));
}

#[test]
fn renames_and_swaps_keep_each_directory_with_its_session() {
    let mux = Mount::start();
    mux.sh("mkdir a b");
    let inode = |name: &str| std::fs::metadata(mux.path(name)).unwrap().ino();
    // A name that has just gone has no id; the kernel forgets it a moment later.
    let id = |name: &str| {
        let status = std::fs::read_to_string(mux.path(name).join("status"));
        status.map(|text| field(&text, "id")).unwrap_or_default()
    };
    let (a, b, ino) = (id("a"), id("b"), inode("a"));
    mux.sh("mv a c");
    assert_eq!((id("c"), inode("c")), (a.clone(), ino));
    mux.lab.tmux_ok(&["rename-session", "-t", "c", "a"]);
    until_true("a rename from outside", || has(&mux, "a") && !has(&mux, "c"));
    assert_eq!(id("a"), a);
    mux.lab.tmux_ok(&[
        "rename-session",
        "-t",
        "a",
        "x",
        ";",
        "rename-session",
        "-t",
        "b",
        "a",
        ";",
        "rename-session",
        "-t",
        "x",
        "b",
    ]);
    until_true("swapped", || has(&mux, "a") && id("a") == b);
    until_true("both", || has(&mux, "b") && id("b") == a);
    assert_eq!(names(&mux), ["a", "b"]);
    // A name that goes to a new session in the same moment: the old one lives on under another.
    mux.lab.tmux_ok(&["rename-session", "-t", "a", "old", ";", "new-session", "-d", "-s", "a", "sh"]);
    until_true("taken over", || id("old") == b && !["", &b].contains(&&*id("a")));
    mux.sh("echo 'echo $((50+5))' > old/input; cat old/wait");
    assert!(mux.read("old/output").contains("\n55\n"));
    mux.sh("rmdir old b");
    assert_eq!(names(&mux), ["a"]);
}

#[test]
fn the_hidden_session_shows_nowhere_holds_nobody_and_goes_last() {
    let mux = Mount::start();
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "one", "sh"]);
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "two", "sh"]);
    mux.lab.tmux_ok(&["set-option", "-g", "detach-on-destroy", "off"]);
    until_true("both are there", || names(&mux) == ["one", "two"]);
    let socket = mux.lab.socket();
    let attach = format!("exec tmux -S {} attach -t two", socket.display());
    // A keyboard that stays silent: `script` types the end of its own input as ^D, which would end
    // the shell in `two`.
    let mut client = mux
        .command("script")
        .args(["-qc", &attach, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let keyboard = client.stdin.take();
    let at = || mux.lab.tmux_ok(&["list-clients", "-F", "#{client_control_mode} #{client_session}"]);
    until_true("the user is attached", || at().contains("0 two"));
    let all = mux.lab.tmux_ok(&["list-clients", "-F", "#{client_control_mode} #{client_name}"]);
    let name = all.lines().find_map(|l| l.strip_prefix("0 ")).unwrap();
    mux.lab.tmux_ok(&["switch-client", "-c", name, "-t", "=_muxfs:"]);
    until_true("moved out", || at().contains("0 two") || at().contains("0 one"));
    assert!(!mux.read("index").contains("_muxfs") && !mux.read("logs").contains("_muxfs"));
    let pid = mux.lab.tmux_ok(&["display-message", "-p", "#{pid}"]);
    mux.lab.tmux_ok(&["kill-session", "-t", "one"]);
    mux.lab.tmux_ok(&["kill-session", "-t", "two"]);
    until_true("the server ended with its last session", || {
        !std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()
    });
    drop(keyboard);
    let _ = client.wait();
    assert!(names(&mux).is_empty());
    // And a new one is seen.
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "again", "sh"]);
    until_true("the tree recovers", || names(&mux) == ["again"]);
}

/// With 256 descriptors, 91 sessions before the mount and 110 after it.
#[test]
fn a_server_short_of_descriptors_stays_usable() {
    let lab = Lab::new();
    let make = |from: usize, to: usize| {
        let one = |i: usize| format!("new-session -d -s s{i} 'exec sleep 5007'\n");
        (from..to).map(one).collect::<String>()
    };
    std::fs::write(lab.path("first"), make(0, 90)).unwrap();
    std::fs::write(lab.path("second"), make(90, 200)).unwrap();
    let start = format!(
        "ulimit -n 256; exec tmux -f /dev/null -S {} new-session -d -s first cat",
        lab.socket().display()
    );
    let begun = std::process::Command::new("bash").args(["-c", &start]).env_remove("TMUX").status().unwrap();
    assert!(begun.success());
    lab.tmux_ok(&["source-file", lab.path("first").to_str().unwrap()]);
    let mux = Mount::start_in(lab);
    let piped = |mux: &Mount| {
        let panes = mux.lab.tmux_ok(&["list-panes", "-a", "-F", "#{pane_pipe}"]);
        panes.lines().filter(|l| *l == "1").count()
    };
    until_true("pipes are open", || piped(&mux) >= 20);
    mux.lab.tmux_ok(&["source-file", mux.lab.path("second").to_str().unwrap()]);
    until_true("all are there", || names(&mux).len() == 201);
    let pid = mux.lab.tmux_ok(&["display-message", "-p", "#{pid}"]);
    let free = || 256 - std::fs::read_dir(format!("/proc/{}/fd", pid.trim())).unwrap().count();
    until("pipes were given back", || (free() >= 40).then(free));
    // For everyone: other clients get their answers, and so does the tree.
    let begun = Instant::now();
    let mut clients: Vec<_> = (0..8)
        .map(|_| {
            mux.command("tmux")
                .args(["-S", mux.lab.socket().to_str().unwrap(), "list-sessions"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    assert!(clients.iter_mut().all(|c| c.wait().unwrap().success()));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(mux.read("index").lines().count(), 201);
    mux.sh("echo hello > first/input");
    until_true("typed", || mux.read("first/output").starts_with("hello\nhello\n"));
    until_true("the last one is told why it has none", || {
        mux.read("s199/status").contains("descriptors in use)")
    });
}
