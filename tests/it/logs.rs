//! `logs` and `raw` on a real mount: every byte and line once, across rotations and disks in
//! trouble, and what GNU tail makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Lab, Mount, until, until_true};

fn field(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

/// A file of `size` bytes, in numbered lines of 64.
fn numbered(lab: &Lab, name: &str, size: usize) -> PathBuf {
    let path = lab.path(name);
    let text: String = (0..size / 64).map(|i| format!("{i:08} {:.<54}\n", name)).collect();
    std::fs::write(&path, text).unwrap();
    path
}

/// A program that prints a file as it is and ends: what is missing in `raw` when it is over.
/// tmux 3.3a itself may leave the last bytes unread at an exit; then its screen lacks them too.
fn printed(mux: &Mount, name: &str, size: usize) -> usize {
    let file = numbered(&mux.lab, name, size);
    let config = format!(
        "command = [\"sh\", \"-c\", \"stty -opost; echo begin; cat {}; sleep 0.3\"]\n",
        file.display()
    );
    mux.sh(&format!("mkdir {name}"));
    std::fs::write(mux.path(&format!("{name}/config")), config).unwrap();
    until_true("it ended", || field(&mux.read(&format!("{name}/status")), "state") == "exited 0");
    let wanted = std::fs::read(&file).unwrap();
    let all = |raw: &[u8]| raw.ends_with(&wanted);
    let raw = mux.path(&format!("{name}/raw"));
    until_true("every byte is in raw", || all(&std::fs::read(&raw).unwrap()));
    let lines = std::str::from_utf8(&wanted).unwrap();
    until_true("every line is in logs", || mux.read(&format!("{name}/logs")).ends_with(lines));
    mux.sh(&format!("rmdir {name}"));
    wanted.len()
}

#[test]
fn what_a_program_prints_is_in_raw_and_logs_to_the_byte() {
    let mux = Mount::start();
    for i in 0..3 {
        assert_eq!(printed(&mux, &format!("p{i}"), 5 << 20), 5 << 20);
    }
}

/// Ignored tests of this name are run by `make soak`.
mod soak {
    use super::*;

    #[test]
    #[ignore = "20 runs of 50 MB"]
    fn fifty_megabytes_twenty_times() {
        let mux = Mount::configured(Lab::new(), "[logs]\nrotate = \"1GiB\"\n");
        for i in 0..20 {
            let begun = std::time::Instant::now();
            printed(&mux, &format!("p{i}"), 50 << 20);
            eprintln!("run {i}: 50 MiB complete in raw and logs after {:?}", begun.elapsed());
        }
    }
}

#[test]
fn tail_follows_across_rotations_and_shows_each_line_once() {
    let mux = Mount::configured(Lab::new(), "[logs]\nrotate = \"64KiB\"\n");
    mux.sh("mkdir demo; echo 'PS1=; stty -echo; echo be''gin' > demo/input; cat demo/wait > /dev/null");
    until_true("it begins", || mux.read("demo/logs").contains("begin\n"));
    let follow = |flag: &str, glob: &str, name: &str| {
        let out = std::fs::File::create(mux.lab.path(name)).unwrap();
        let err = std::fs::File::create(mux.lab.path(&format!("{name}.err"))).unwrap();
        let script = format!("exec tail {flag} -n +1 {}/{glob}", mux.dir.display());
        // Longer than other programs of tests may: two rotations are 15 s apart.
        std::process::Command::new("timeout")
            .args(["-k", "1", "300", "bash", "-c", &script])
            .stdout(out)
            .stderr(err)
            .stdin(Stdio::null())
            .process_group_of_its_own()
            .spawn()
            .unwrap()
    };
    let mut by_name = follow("-F", "honey/demo/logs", "F");
    let mut by_handle = follow("-f", "*/demo/logs", "f");
    let lines = |name: &str| -> Vec<usize> {
        let text = std::fs::read_to_string(mux.lab.path(name)).unwrap();
        text.lines().filter_map(|l| l.strip_prefix("n ")?.split(' ').next()?.parse().ok()).collect()
    };
    until_true("both show the beginning", || {
        ["F", "f"].iter().all(|n| std::fs::read_to_string(mux.lab.path(n)).unwrap().contains("begin"))
    });
    // 100 bytes a line: three inodes, no two rotations within 15 s.
    let pad = "x".repeat(88);
    let script = format!(
        "for i in $(seq 1 2400); do printf 'n %05d {pad}\\n' $i; ((i % 50)) || sleep 0.6; done; echo done"
    );
    std::fs::write(mux.lab.path("script"), script).unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(mux.path("demo/logs")).unwrap());
    let first = inode();
    mux.sh(&format!("echo '. {}' > demo/input", mux.lab.path("script").display()));
    until_true("a rotation", || mux.path("demo/logs.1").exists());
    let second = until("a new inode", || Some(inode()).filter(|i| *i != first));
    until_true("another one", || inode() != second);
    until_true("the program is done", || mux.read("demo/logs").contains("done\n"));
    let said = || std::fs::read_to_string(mux.lab.path("F.err")).unwrap();
    until_true("tail -F shows it", || {
        let ended = by_name.try_wait().unwrap();
        assert!(ended.is_none(), "tail -F: {ended:?} {}", said());
        lines("F").last() == Some(&2400)
    });
    let all: Vec<usize> = (1..=2400).collect();
    assert_eq!(lines("F"), all, "each line once, in order");
    let held = lines("f");
    assert!(held.len() > 600 && held.len() < 2400 && held == all[..held.len()], "{}", held.len());
    for child in [&mut by_name, &mut by_handle] {
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(child.id() as i32),
            nix::sys::signal::SIGTERM,
        );
        let _ = child.wait();
    }
}

/// A new process group, so that a shell and its tail end together.
trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for std::process::Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// A small disk at the place of what a node keeps, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(lab: &Lab, of: &str, options: &str) -> Disk {
        let at = lab.path("state/muxfs").join(of);
        std::fs::create_dir_all(&at).unwrap();
        let disk = Disk(at);
        disk.mount(&["-t", "tmpfs", "-o", options, "muxfs-test"]);
        disk
    }

    fn mount(&self, args: &[&str]) {
        assert!(std::process::Command::new("mount").args(args).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_state_and_the_gap_is_stated() {
    let lab = Lab::new();
    let disk = Disk::new(&lab, "logs", "size=256k");
    let mux = Mount::start_in(lab);
    let file = numbered(&mux.lab, "big", 1 << 20);
    mux.sh("mkdir demo; echo 'PS1=' > demo/input; cat demo/wait > /dev/null");
    mux.sh(&format!("echo 'cat {}' > demo/input; cat demo/wait", file.display()));
    until_true("status says so", || {
        field(&mux.read("demo/status"), "logs_trouble").starts_with("No space left")
    });
    assert_eq!(mux.sh("echo 'echo $((6*7))' > demo/input; cat demo/wait"), "ready\n", "nothing hangs");
    assert!(mux.read("demo/output").contains("\n42\n"));
    disk.mount(&["-o", "remount,size=64m"]);
    until_true("it works again, and says what is missing", || {
        mux.sh("echo 'echo again' > demo/input; cat demo/wait > /dev/null");
        let logs = mux.read("demo/logs");
        logs.contains(" bytes missing since ") && logs.contains("No space left on device]\n")
    });
    until_true("status is well", || field(&mux.read("demo/status"), "logs_trouble") == "-");
    assert!(mux.read("demo/raw").contains(" bytes missing since "));
}

#[test]
fn logs_that_cannot_be_made_are_a_state() {
    let lab = Lab::new();
    let disk = Disk::new(&lab, "logs", "size=8m,ro");
    let mux = Mount::start_in(lab);
    mux.sh("mkdir demo; echo 'echo $((6*7))' > demo/input; cat demo/wait > /dev/null");
    assert!(mux.read("demo/output").contains("\n42\n"));
    until_true("status says so", || {
        field(&mux.read("demo/status"), "logs_trouble").starts_with("Read-only file system")
    });
    until_true("readers see it from memory", || mux.read("demo/logs").contains("\n42\n"));
    disk.mount(&["-o", "remount,rw"]);
    until_true("what was late is there", || {
        mux.sh("echo 'echo $((7*7))' > demo/input; cat demo/wait > /dev/null");
        let logs = mux.read("demo/logs");
        logs.contains("\n42\n") && logs.contains("\n49\n")
    });
    until_true("status is well", || field(&mux.read("demo/status"), "logs_trouble") == "-");
}

/// Every log of the node and of its sessions: its inode number and what it holds.
fn all_logs(mux: &Mount) -> BTreeMap<String, (u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for path in mux.sh("ls -d logs logs.json errors */logs */raw */logs.1 */raw.1 2> /dev/null; true").lines()
    {
        let ino = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(mux.path(path)).unwrap());
        found.insert(path.to_owned(), (ino, std::fs::read(mux.path(path)).unwrap()));
    }
    found
}

/// A log's id is that of its bytes for good, whatever a crash and others do meanwhile: who holds an inode
/// reads no other log.
#[test]
fn a_logs_id_outlives_a_crash_and_is_never_another_logs() {
    let mut mux = Mount::configured(Lab::new(), "[logs]\nrotate = \"64KiB\"\n");
    for name in ["aa", "bb", "cc"] {
        mux.sh(&format!("mkdir {name}; echo 'echo {name}-here' > {name}/input; cat {name}/wait > /dev/null"));
        until_true("it is in the log", || {
            mux.read(&format!("{name}/logs")).contains(&format!("\n{name}-here"))
        });
    }
    mux.sh("echo bad 2> /dev/null > ctl || :; echo 'seq 1 40000' > aa/input; cat aa/wait > /dev/null");
    until_true("a rotation", || mux.path("aa/logs.1").exists() && mux.path("aa/raw.1").exists());
    let before = all_logs(&mux);
    let numbers: BTreeSet<u64> = before.values().map(|(ino, _)| *ino).collect();
    assert_eq!(numbers.len(), before.len(), "{:?}", before.keys());
    mux.kill9();
    mux.lab.tmux_ok(&["kill-session", "-t", "=bb"]);
    mux.lab.tmux_ok(&["new-session", "-d", "-s", "dd", "sh"]);
    mux.start_again();
    mux.sh("mkdir ee; echo 'echo ee-here' > ee/input; cat ee/wait > /dev/null");
    until_true("the other's session is there", || mux.path("dd/raw").exists());
    let after = all_logs(&mux);
    for (path, (ino, text)) in &after {
        match before.get(path) {
            Some((known, old)) => assert!(ino == known && text.starts_with(old), "{path}"),
            None => assert!(!numbers.contains(ino), "{path} has the number of another log"),
        }
    }
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!(gone, ["bb/logs", "bb/raw"]);
    // Another rotation moves the number along with the bytes.
    until_true("the last one is 15 s ago", || {
        mux.sh("echo 'seq 1 20000' > aa/input; cat aa/wait > /dev/null");
        all_logs(&mux)["aa/raw.1"].0 != after["aa/raw.1"].0
    });
    let moved = &all_logs(&mux)["aa/raw.1"];
    assert!(moved.0 == after["aa/raw"].0 && moved.1.starts_with(&after["aa/raw"].1));
}

/// Earlier versions kept `raw` and `raw.1`.
#[test]
fn logs_without_numbers_are_taken_over() {
    let mut mux = Mount::configured(Lab::new(), "[logs]\nrotate = \"64KiB\"\n");
    mux.sh("mkdir demo; echo 'seq 1 40000' > demo/input; cat demo/wait > /dev/null");
    until_true("a rotation", || mux.path("demo/logs.1").exists() && mux.path("demo/raw.1").exists());
    let before = all_logs(&mux);
    mux.kill9();
    // Each log's files, the newest first.
    let mut logs: BTreeMap<PathBuf, Vec<u64>> = BTreeMap::new();
    let state = mux.lab.path("state/muxfs");
    let mut find = std::process::Command::new("find");
    let found = find.current_dir(&state).args(["logs", "node", "-type", "f"]).output().unwrap();
    for file in String::from_utf8(found.stdout).unwrap().lines() {
        if let Some((log, number)) = file.rsplit_once('.')
            && let Ok(number) = number.parse()
        {
            logs.entry(state.join(log)).or_default().push(number);
        }
    }
    assert!(logs.len() >= 4, "{logs:?}");
    for (log, numbers) in &mut logs {
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        for (n, name) in numbers.iter().zip(["", ".1"]) {
            let of = |end: &str| PathBuf::from(format!("{}{end}", log.display()));
            std::fs::rename(of(&format!(".{n}")), of(name)).unwrap();
        }
    }
    mux.start_again();
    let after = all_logs(&mux);
    for (path, (_, text)) in &before {
        assert!(after[path].1.starts_with(text), "{path}");
    }
    assert!(logs.keys().all(|log| !log.exists()), "each has its number");
}

#[test]
fn errors_tell_of_refusals_while_the_disk_is_full() {
    let lab = Lab::new();
    let disk = Disk::new(&lab, "node", "size=128k");
    let mux = Mount::start_in(lab);
    mux.sh("mkdir demo; cat demo/wait > /dev/null");
    let filler = disk.0.join("filler");
    assert!(std::fs::write(&filler, vec![0; 1 << 20]).is_err(), "the disk is full");
    // More than the file's last block has room for.
    mux.run("for n in $(seq 100); do echo nonsense$n > demo/ctl; done");
    let told = |text: &str| (1..=100).all(|n| text.contains(&format!("nonsense{n}\":")));
    let said = mux.read("errors");
    assert!(told(&said), "{said}");
    let stored = || {
        let files = std::fs::read_dir(&disk.0).unwrap().map(|e| e.unwrap().path());
        let errors = files.filter(|path| path.file_stem().is_some_and(|name| name == "errors"));
        errors.map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>()
    };
    assert!(!told(&stored()), "from memory");
    std::fs::remove_file(&filler).unwrap();
    until_true("what was late is stored", || {
        mux.run("echo more > demo/ctl");
        told(&stored())
    });
}
