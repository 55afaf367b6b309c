//! `mount-examples/`, each as far as this machine allows without a mount: units by
//! systemd-analyze and their command under an empty environment, the fstab line by findmnt and by
//! our own parser, the scripts by their shell. What was not run is said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use muxfs::cli::options;

use super::doc::root;

fn example(name: &str) -> PathBuf {
    root().join("mount-examples").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// `None` where the program is not on this machine: said, and not counted as a failure.
fn run(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(out) => Some(out),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not run: {command:?}: not installed");
            None
        }
        Err(e) => panic!("{command:?}: {e}"),
    }
}

fn said(out: &Output) -> String {
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
        "nightly.sh",
        "broadcast.sh",
        "watch-fleet.sh",
        "chain.sh",
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
    assert_eq!(options.setuid.as_deref(), Some("ann"));

    // findmnt takes the user, the target and the helper as they are on this machine.
    let dir = tempfile::tempdir().unwrap();
    let tab = dir.path().join("fstab");
    std::fs::write(&tab, text("fstab").replace(" /mux ", &format!(" {} ", dir.path().display()))).unwrap();
    if let Some(out) = run(Command::new("findmnt").arg("--verify").arg("--tab-file").arg(&tab)) {
        let said = said(&out);
        let errors = said.lines().filter(|l| l.contains("[E]"));
        // Before the first mount no kernel knows the type.
        let errors: Vec<_> =
            errors.filter(|l| !l.contains("unsupported") && !l.contains("fuse.muxfs")).collect();
        assert!(errors.is_empty(), "{said}");
        assert!(said.contains("0 parse errors"), "{said}");
    }
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
    if let Some(out) = run(&mut command) {
        assert!(out.status.success() && said(&out).is_empty(), "{name}: {}", said(&out));
    }
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
    let own = fields[3].replace("setuid=ann,", "");
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
    for name in ["nightly.sh", "broadcast.sh", "watch-fleet.sh", "chain.sh"] {
        for shell in ["dash", "bash"] {
            if let Some(out) = run(Command::new(shell).arg("-n").arg(example(name))) {
                assert!(out.status.success(), "{shell} {name}: {}", said(&out));
            }
        }
        if let Some(out) = run(Command::new("shellcheck").arg(example(name))) {
            assert!(out.status.success(), "{}", said(&out));
        }
    }
    for name in ["broadcast.sh", "chain.sh"] {
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

#[test]
fn crontab_takes_the_line() {
    let line = text("crontab").lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(line.len(), 1);
    assert!(line[0].ends_with("nightly.sh") && line[0].split_whitespace().count() == 6);
    // `crontab -n` checks and installs nothing; older ones have no such option.
    if let Some(out) = run(Command::new("crontab").arg("-n").arg(example("crontab")))
        && !out.status.success()
    {
        assert!(said(&out).contains("invalid option") || said(&out).contains("usage"), "{}", said(&out));
        eprintln!("not run: this crontab cannot check without installing");
    }
}
