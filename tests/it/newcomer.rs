//! What trips a newcomer over: a program that is installed later, a telephone that is attached, a
//! tmux that is elsewhere, settings nobody has written yet, and what crawlers do.

use std::process::{Command, Stdio};

use super::support::{Lab, Mount, until, until_true};

fn field(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
}

#[test]
fn a_program_that_is_installed_later_is_found() {
    let lab = Lab::new();
    let bin = lab.home().join(".local/bin");
    // As installers have it: the login shell puts the directory into PATH once it is there.
    let profile = "[ -d ~/.local/bin ] && PATH=$HOME/.local/bin:$PATH\n";
    std::fs::create_dir_all(lab.home()).unwrap();
    std::fs::write(lab.home().join(".bash_profile"), profile).unwrap();
    let mount = Mount::start_in(lab);
    mount.sh("mkdir tool && echo 'command = \"later-tool\"' > tool/config");
    until_true("it is not there", || field(&mount.read("tool/status"), "state") == "exited 127");
    until_true("the error says what to do", || {
        mount.read("errors").contains("was not found in the PATH of the login shell; install it")
    });
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("later-tool"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    mount.sh(&format!("chmod +x {}/later-tool; echo start > tool/ctl", bin.display()));
    until_true("it runs", || field(&mount.read("tool/status"), "command") == "sleep");
    mount.sh("echo later-tool > ../.self/tool/text; rmdir tool");
}

#[test]
fn a_small_client_elsewhere_makes_no_small_session() {
    let mount = Mount::start();
    let phone = Lab::new();
    let attach = format!("tmux -f /dev/null -S {} new-session -s tiny", mount.lab.socket().display());
    phone.tmux_ok(&["new-session", "-d", "-s", "p", "-x", "20", "-y", "5", &attach]);
    until_true("it is attached", || {
        mount.path("tiny").exists() && field(&mount.read("tiny/status"), "attached") == "1"
    });
    mount.sh("mkdir born");
    until_true("its size", || field(&mount.read("born/status"), "size") == "120x40");
    mount.sh("echo 'stty size' > born/input; cat born/wait; grep -qx '40 120' born/output");
    mount.sh("rmdir born");
}

/// A service has none of what the user's shell sets.
#[test]
fn the_users_server_is_found_where_their_shell_puts_it() {
    let lab = Lab::new();
    let (tmp, dir) = (lab.path("tmp"), lab.path("mux"));
    for dir in [&tmp, &dir, &lab.home(), &lab.path("run")] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::write(lab.home().join(".bash_profile"), format!("export TMUX_TMPDIR={}\n", tmp.display()))
        .unwrap();
    let mut command = Command::new("env");
    command.arg("-i").arg("PATH=/usr/bin:/bin");
    for (key, path) in Mount::environment(&lab) {
        if !matches!(key, "MUXFS_TMUX_SOCKET" | "MUXFS_CONFIG" | "TERM") {
            command.arg(format!("{key}={}", path.display()));
        }
    }
    command.arg(env!("CARGO_BIN_EXE_muxfs")).args(["mount", "-f"]).arg(&dir);
    let mut daemon = command.stdin(Stdio::null()).spawn().unwrap();
    until_true("the mount answers", || dir.join(".self/status").exists());
    let status = std::fs::read_to_string(dir.join(".self/status")).unwrap();
    let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    until("it ends", || daemon.try_wait().unwrap());
    let tmp = tmp.canonicalize().unwrap();
    let wanted = tmp.join(format!("tmux-{}/default", nix::unistd::getuid()));
    assert_eq!(field(&status, "tmux_socket"), wanted.display().to_string());
}

#[test]
fn a_node_without_a_settings_file_shows_every_setting() {
    let lab = Lab::new();
    let mount = Mount::start_in(lab);
    let file = mount.lab.dirs().config;
    // The lab's own file is no newcomer's.
    std::fs::remove_file(&file).unwrap();
    mount.sh("echo reload > ctl");
    let text = mount.read("config");
    assert!(
        text.contains("\n# session.size = \"120x40\"\n") && text.contains("\n# [[sessions]]\n"),
        "{text}"
    );
    assert_eq!(mount.sh("stat -c %s config").trim(), text.len().to_string());
    // Where it says so, one line is taken into use.
    mount.sh(
        "sed 's/^# session.size = .*/session.size = \"90x20\"/' config > $HOME/new; cat $HOME/new > config",
    );
    assert!(std::fs::read_to_string(&file).unwrap().contains("\nsession.size = \"90x20\"\n"));
    mount.sh("mkdir demo");
    until_true("in force", || field(&mount.read("demo/status"), "size") == "90x20");
    assert_eq!(mount.read("errors"), "");
}

#[test]
fn a_new_size_of_rotation_reaches_what_runs() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    mount.sh("printf '\\n[logs]\\nrotate = \"64KiB\"\\n' >> $MUXFS_CONFIG; echo reload > ctl");
    mount.sh("echo 'seq 1 40000' > demo/input; cat demo/wait");
    until_true("raw is rotated", || mount.path("demo/raw.1").exists());
    until_true("logs are rotated", || mount.path("demo/logs.1").exists());
}

/// As .help and muxfs-tree(5) have it.
#[test]
fn crawlers_end_where_they_leave_out_what_blocks() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait; echo 'echo needle' > demo/input; cat demo/wait");
    let out = mount.run("grep -rl --exclude=events --exclude=wait --exclude=ask needle .");
    let found = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_ne!(out.status.code(), Some(124), "it ends");
    for file in ["./demo/output", "./demo/screen"] {
        assert!(found.lines().any(|l| l == file), "{found}");
    }
    // What can only be written is no text for anyone, and is said so.
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.lines().all(|l| l.contains("Permission denied")), "{said}");
    let out = mount.run("tar -c --exclude=events --exclude=wait --exclude=ask . | tar -tv");
    assert!(String::from_utf8_lossy(&out.stdout).contains("./demo/status"), "{out:?}");
    assert_ne!(out.status.code(), Some(124));
    // Without it they wait, as documented, and a signal ends them.
    let out = mount.run("timeout 2 cp -r demo $HOME/copy; echo $?");
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "124");
}

#[test]
fn what_keeps_a_mount_away_is_told_with_where_to_look() {
    let lab = Lab::new();
    lab.configure("");
    let dir = lab.path("mux");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    let muxfs = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muxfs"));
        let out = command.envs(Mount::environment(&lab)).arg("mount").args(args).output().unwrap();
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    let said = muxfs(&[dir.to_str().unwrap()]);
    assert!(
        said.contains("not empty") && said.ends_with("`muxfs doctor` looks at all that a mount needs\n"),
        "{said}"
    );
    assert_eq!(said.matches("doctor").count(), 1, "{said}");
    let said = muxfs(&["-o", "nonsense", dir.to_str().unwrap()]);
    assert!(!said.contains("doctor"), "the command line is wrong, not the machine: {said}");
}

/// fstab's `user` option: mount(8) has become the caller before it runs a helper.
#[test]
fn the_fstab_line_works_for_its_own_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::Builder::new().prefix("muxfs").tempdir_in("/tmp").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    // Where nobody may run it; a directory named muxfs stands in the working directory.
    let program = dir.path().join("mount.fuse.muxfs");
    std::fs::copy(env!("CARGO_BIN_EXE_muxfs"), &program).unwrap();
    let source = dir.path().join("muxfs");
    std::fs::create_dir(&source).unwrap();
    let fake = |user: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "-i"]);
        command.arg(&program).arg(&source).arg(dir.path());
        command.args(["-f", "-o", &format!("rw,setuid={user},noauto,user,_netdev")]).output().unwrap()
    };
    let out = fake("nobody");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = fake("root");
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("only root can mount"));
}
