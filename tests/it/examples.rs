//! `mount-examples/`, each as far as this machine allows without a mount: units by
//! systemd-analyze and their command under an empty environment, the fstab line by findmnt and by
//! our own parser, the scripts by their shell and shellcheck; and on a real mount what needs no
//! agent. Scripts with agents are in scripts.rs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use muxfs_cli::options;

use super::doc::root;
use super::support::{Lab, Mount, until, until_true};

pub fn example(name: &str) -> PathBuf {
    root().join("mount-examples").join(name)
}

pub fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; .ci/need test installs what is missing"))
}

pub fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The only entry of the fstab example, in fields.
fn fstab_fields() -> Vec<String> {
    let text = text("fstab");
    let mut lines = text.lines().filter(|l| !l.starts_with('#'));
    let fields = lines.next().unwrap().split_whitespace().map(str::to_owned).collect();
    assert_eq!(lines.next(), None);
    fields
}

#[test]
fn every_example_has_a_test() {
    let tested = [
        "fstab",
        "mux.mount",
        "mux.automount",
        "muxfs.service",
        "crontab",
        "ask.sh",
        "broadcast.sh",
        "chain.sh",
        "eval.sh",
        "nightly.sh",
        "prompts.mk",
        "spec.sh",
        "watch-fleet.sh",
    ];
    for entry in std::fs::read_dir(example("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(tested.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_fstab_line_is_one_and_its_options_are_known() {
    let fields = fstab_fields();
    assert_eq!((fields.len(), fields[2].as_str()), (6, "fuse.muxfs"));
    let options = options::parse(&[&fields[3]], false).unwrap();
    assert_eq!(options.setuid.as_deref(), Some("NAME"));

    // findmnt takes the user, the target and the helper as they are on this machine.
    let dir = tempfile::tempdir().unwrap();
    let tab = dir.path().join("fstab");
    std::fs::write(&tab, text("fstab").replace(" /mux ", &format!(" {} ", dir.path().display()))).unwrap();
    let said = said(&run(Command::new("findmnt").arg("--verify").arg("--tab-file").arg(&tab)));
    let errors = said.lines().filter(|l| l.contains("[E]"));
    // Before the first mount no kernel knows the type.
    let errors: Vec<_> = errors.filter(|l| !l.contains("unsupported") && !l.contains("fuse.muxfs")).collect();
    assert!(errors.is_empty(), "{said}");
    assert!(said.contains("0 parse errors"), "{said}");
}

/// What systemd-analyze has against a unit, without what is only missing on this machine.
fn verify(name: &str, change: impl Fn(String) -> String) {
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join(name);
    std::fs::write(&unit, change(text(name))).unwrap();
    if name.ends_with(".automount") {
        std::fs::write(dir.path().join("mux.mount"), text("mux.mount")).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&unit);
    let out = run(&mut command);
    assert!(out.status.success() && said(&out).is_empty(), "{name}: {}", said(&out));
}

#[test]
fn the_units_are_valid() {
    verify("mux.mount", |t| t);
    verify("mux.automount", |t| t);
    // verify wants the command to be there; where it is installed is the reader's choice.
    verify("muxfs.service", |t| t.replace("/usr/local/bin/muxfs", env!("CARGO_BIN_EXE_muxfs")));
}

fn value(unit: &str, key: &str) -> String {
    let line = unit.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key}")).to_owned()
}

#[test]
fn the_units_say_what_the_fstab_line_says() {
    let unit = text("mux.mount");
    let fields = fstab_fields();
    assert_eq!(value(&unit, "What"), fields[0]);
    assert_eq!(value(&unit, "Where"), fields[1]);
    assert_eq!(value(&unit, "Type"), fields[2]);
    assert_eq!(value(&text("mux.automount"), "Where"), fields[1]);
    options::parse(&[value(&unit, "Options")], false).unwrap();
}

/// The service's command line, for a directory, as systemd would split it.
pub fn exec_start(dir: &Path) -> Vec<String> {
    let line = value(&text("muxfs.service"), "ExecStart").replace("%t/mux", dir.to_str().unwrap());
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    words[0] = env!("CARGO_BIN_EXE_muxfs").to_owned();
    words
}

#[test]
fn the_services_command_is_understood_in_an_empty_environment() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let words = exec_start(&missing);
    let out = Command::new("env").arg("-i").args(&words).output().unwrap();
    // The command line is right: all that is wrong is that there is nothing to mount on.
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("missing"), "{}", said(&out));
}

#[test]
fn mount8s_helper_takes_the_line_of_fstab() {
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("mount.fuse.muxfs");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muxfs"), &helper).unwrap();
    let fields = fstab_fields();
    let fake = |options: &str| {
        let mut command = Command::new("env");
        command.arg("-i").arg(&helper).arg(&fields[0]).arg(dir.path()).args(["-f", "-o", options]);
        command.output().unwrap()
    };
    let own = fields[3].replace("setuid=NAME,", "");
    let out = fake(&format!("rw,{own}"));
    assert!(out.status.success(), "{}", said(&out));
    let out = fake(&format!("{own},nonsense=1"));
    assert_eq!(out.status.code(), Some(1));
    assert!(said(&out).contains("nonsense=1"), "{}", said(&out));
    let out = fake("setuid=no-such-user-here");
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn the_scripts_are_shell_and_say_how_they_are_called() {
    let names =
        std::fs::read_dir(example("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let scripts: Vec<String> = names.filter(|n| n.ends_with(".sh")).collect();
    assert!(scripts.len() >= 7, "{scripts:?}");
    for name in &scripts {
        for shell in ["dash", "bash"] {
            let out = run(Command::new(shell).arg("-n").arg(example(name)));
            assert!(out.status.success(), "{shell} {name}: {}", said(&out));
        }
        let out = run(Command::new("shellcheck").arg(example(name)));
        assert!(out.status.success(), "{}", said(&out));
        assert!(text(name).lines().count() <= 60, "{name}: an example is short");
    }
    for name in scripts.iter().filter(|n| *n != "watch-fleet.sh") {
        let out = Command::new(example(name)).output().unwrap();
        assert!(!out.status.success() && said(&out).contains("usage"), "{name}: {}", said(&out));
    }
}

/// A directory of plain files in the place of a mount: enough to see what a script writes where.
#[test]
fn broadcast_reaches_each_session_once() {
    let mux = tempfile::tempdir().unwrap();
    let inputs =
        ["honey/web-1", "honey/web-2", "larry/web-1", "larry/db"].map(|s| mux.path().join(s).join("input"));
    for input in &inputs {
        std::fs::create_dir_all(input.parent().unwrap()).unwrap();
        std::fs::write(input, "").unwrap();
    }
    std::os::unix::fs::symlink("honey", mux.path().join(".self")).unwrap();
    let mut command = Command::new(example("broadcast.sh"));
    let out = command.env("MUX", mux.path()).args(["git pull", "web-*"]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let texts = inputs.map(|i| std::fs::read_to_string(i).unwrap());
    assert_eq!(texts, ["git pull\n", "git pull\n", "git pull\n", ""]);
}

/// Everything below runs against a real mount.
fn script(mount: &Mount, name: &str) -> Command {
    let mut command = mount.command(example(name).to_str().unwrap());
    command.env("MUX", &mount.dir);
    command
}

#[test]
fn broadcast_types_into_each_session() {
    let mount = Mount::start();
    mount.sh("mkdir web-1 web-2 db; cat web-1/wait web-2/wait db/wait");
    let out = script(&mount, "broadcast.sh").args(["echo all of you", "web-*"]).output().unwrap();
    assert!(out.status.success() && said(&out).is_empty(), "{}", said(&out));
    mount.sh(
        "cat web-1/wait web-2/wait; grep -qx 'all of you' web-1/output; grep -qx 'all of you' web-2/output",
    );
    assert!(!mount.read("db/output").contains("all of you"));
    // One that cannot take it fails the script, and the others have it all the same.
    mount.sh("echo stop > web-1/ctl; cat web-1/wait");
    let out = script(&mount, "broadcast.sh").args(["echo once more", "web-*"]).output().unwrap();
    assert!(!out.status.success(), "{}", said(&out));
    mount.sh("cat web-2/wait; grep -qx 'once more' web-2/output");
}

#[test]
fn the_fleet_is_shown_anew_when_something_happens() {
    let mount = Mount::start();
    let shown = mount.lab.path("shown");
    let mut command = script(&mount, "watch-fleet.sh");
    let mut child = command.stdout(std::fs::File::create(&shown).unwrap()).spawn().unwrap();
    let sees = |name: &str| std::fs::read_to_string(&shown).unwrap().contains(name);
    // It shows all at once, then at each event.
    mount.sh("mkdir one");
    until_true("a first look", || sees("one "));
    mount.sh("mkdir two");
    until_true("the next", || sees("two "));
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    until("it ends at a signal", || child.try_wait().unwrap());
    // And leaves nobody behind who reads the mount.
    until_true("the mount can be left", || {
        Command::new("umount").arg(&mount.dir).output().unwrap().status.success()
    });
}

/// systemd itself does not run here: its Exec lines do, in an empty environment.
#[test]
fn the_services_command_mounts_in_an_empty_environment() {
    let lab = Lab::new();
    lab.configure("");
    let dir = lab.path("mux");
    let unit = text("muxfs.service");
    let pre = value(&unit, "ExecStartPre").replace("%t/mux", dir.to_str().unwrap());
    let words: Vec<_> = pre.split(' ').collect();
    assert!(Command::new("env").arg("-i").args(&words).status().unwrap().success());
    let mut command = Command::new("env");
    command.arg("-i");
    // What systemd gives a user's service, as far as the lab needs it to be its own.
    for (key, path) in Mount::environment(&lab) {
        if !matches!(key, "TERM" | "SHELL") {
            command.arg(format!("{key}={}", path.display()));
        }
    }
    // Type=notify: it tells on this socket.
    let socket = std::os::unix::net::UnixDatagram::bind(lab.path("notify")).unwrap();
    command.arg(format!("NOTIFY_SOCKET={}", lab.path("notify").display())).args(exec_start(&dir));
    let mut daemon = command.spawn().unwrap();
    socket.set_read_timeout(Some(super::support::LIMIT)).unwrap();
    let mut told = [0; 64];
    let n = socket.recv(&mut told).unwrap();
    assert!(String::from_utf8_lossy(&told[..n]).contains("READY=1"));
    std::fs::create_dir(dir.join(".self/demo")).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join(".self/demo/wait")).unwrap(), "ready\n");
    let pid = nix::unistd::Pid::from_raw(daemon.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(until("it ends", || daemon.try_wait().unwrap()).success());
    assert!(!dir.join(".self").exists(), "SIGTERM unmounts");
}

/// mount(8) itself only adds `-o rw` and looks the helper up in /sbin, where a test puts nothing.
#[test]
fn the_line_of_fstab_mounts() {
    let lab = Lab::new();
    lab.configure("");
    let (dir, helper) = (lab.path("mux"), lab.path("mount.fuse.muxfs"));
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muxfs"), &helper).unwrap();
    let fields = fstab_fields();
    // No such user lives here: root's own sessions, which are the lab's.
    let options = format!("rw,{}", fields[3].replace("setuid=NAME,", ""));
    let mut command = Command::new(&helper);
    command.env_clear().envs(Mount::environment(&lab)).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let out = command.arg(&fields[0]).arg(&dir).args(["-o", &options]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    std::fs::create_dir(dir.join(".self/demo")).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join(".self/demo/wait")).unwrap(), "ready\n");
    let findmnt =
        Command::new("findmnt").args(["-n", "-o", "SOURCE,FSTYPE,OPTIONS"]).arg(&dir).output().unwrap();
    let line = said(&findmnt);
    assert!(
        line.starts_with("muxfs") && line.contains("fuse.muxfs") && line.contains("nosuid,nodev"),
        "{line}"
    );
    std::fs::remove_dir(dir.join(".self/demo")).unwrap();
    let out = Command::new("umount").arg(&dir).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
}
