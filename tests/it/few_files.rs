//! A daemon without free descriptors, on a real mount: no fault of ours (EIO), and what it says.

use std::path::Path;

use super::support::{Mount, until_true};

fn limit(mount: &Mount, soft: usize) {
    let pid = format!("--pid={}", mount.pid());
    let done =
        std::process::Command::new("prlimit").args([&pid, &format!("--nofile={soft}:")]).status().unwrap();
    assert!(done.success());
}

/// The limit that leaves `spare` numbers to new descriptors.
fn leaving(mount: &Mount, spare: usize) -> usize {
    let dir = std::fs::read_dir(format!("/proc/{}/fd", mount.pid())).unwrap();
    let used: Vec<usize> = dir.filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok()).collect();
    (0..).filter(|n| !used.contains(n)).nth(spare).unwrap()
}

#[test]
fn a_daemon_without_descriptors_says_so_and_goes_on() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let had = std::process::Command::new("prlimit")
        .args(["--nofile", "-o", "SOFT", "--noheadings", "--raw", &format!("--pid={}", mount.pid())])
        .output()
        .unwrap();
    let had: usize = String::from_utf8(had.stdout).unwrap().trim().parse().unwrap();
    for spare in [0, 1, 2, 4] {
        limit(&mount, leaving(&mount, spare));
        let none = |what: &str, done: std::io::Result<()>| {
            if let Err(e) = done {
                assert_ne!(e.raw_os_error(), Some(nix::libc::EIO), "{what} with {spare} to spare: {e}");
            }
        };
        let dir = mount.path("");
        let read = |file: &str| none(file, std::fs::read(dir.join(file)).map(drop));
        for file in ["status", "index", "agents", "conversations", "errors", "logs", "config", "demo/status"]
        {
            read(file);
        }
        for file in
            ["demo/output", "demo/screen", "demo/logs", "demo/raw", "demo/config", "demo/history/index"]
        {
            read(file);
        }
        let send = |file: &str, text: &str| {
            let file = std::fs::File::create(dir.join(file))?;
            std::io::Write::write_all(&mut &file, text.as_bytes())?;
            Ok(nix::unistd::close(file)?)
        };
        none("input", send("demo/input", "echo typed\n"));
        none("text", send("demo/text", " "));
        none("keys", send("demo/keys", "Enter\n"));
        none("config", send("demo/config", "logs = true\n"));
        none("ctl", send("demo/ctl", "clear-queue\n"));
        none("mkdir", std::fs::create_dir(dir.join(format!("more{spare}"))));
        let _: Vec<_> = std::fs::read_dir(&dir).map(Iterator::collect).unwrap_or_default();
    }
    limit(&mount, had);
    let errors = mount.read("errors");
    assert!(errors.contains("open files") && errors.contains("ulimit -n"), "{errors}");
    assert!(!errors.contains("bug"), "{errors}");
    until_true("all works again", || {
        mount.run("mkdir after").status.success() || Path::exists(&mount.path("after"))
    });
    mount.sh("cat after/wait; rmdir after");
}
