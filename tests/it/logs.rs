//! `logs` and `raw` on a real mount: every byte and line once, across rotations and disks in
//! trouble, and what GNU tail makes of it.

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
        mux.command("timeout")
            .args(["300", "bash", "-c", &script])
            .stdout(out)
            .stderr(err)
            .stdin(Stdio::null())
            .env("TERM", "xterm")
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
    until_true("tail -F shows it", || lines("F").last() == Some(&2400));
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

/// A small disk at the logs' place, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(lab: &Lab, options: &str) -> Disk {
        let at = lab.path("state/muxfs/logs");
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
    let disk = Disk::new(&lab, "size=256k");
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
    let disk = Disk::new(&lab, "size=8m,ro");
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
