//! Files that others laid where muxfs looks: a FIFO, a device, a link, a huge file. None of them
//! holds up the node, and `errors` names each.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::support::{Lab, Mount, until, until_true};

fn fifo(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    nix::unistd::mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// Takes no room on the disk.
fn huge(path: &Path) {
    std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
}

fn fake() -> String {
    std::fs::read_to_string(super::doc::root().join("tests/fixtures/agents/fake.toml")).unwrap()
}

#[test]
fn a_start_passes_over_what_is_no_file_and_names_it() {
    let lab = Lab::new();
    let agents = lab.path("config/agents");
    let (state, sessions) = (lab.path("state/muxfs"), lab.path("state/muxfs/sessions"));
    for dir in [&agents, &sessions] {
        std::fs::create_dir_all(dir).unwrap();
    }
    fifo(&agents.join("pipe.toml"));
    symlink("/dev/zero", agents.join("zero.toml")).unwrap();
    huge(&agents.join("huge.toml"));
    // A manifest in a repository of dotfiles is the user's own way.
    std::fs::write(lab.path("linked"), fake()).unwrap();
    symlink(lab.path("linked"), agents.join("linked.toml")).unwrap();

    fifo(&sessions.join("0123456789abcdef.json"));
    huge(&sessions.join("1123456789abcdef.json"));
    std::fs::write(lab.path("elsewhere"), "{}").unwrap();
    symlink(lab.path("elsewhere"), sessions.join("2123456789abcdef.json")).unwrap();
    fifo(&state.join("modes.json"));
    fifo(&state.join("hooks/0123456789abcdef"));

    let mut mount = Mount::start_in(lab);
    let errors = mount.read("errors");
    for name in [
        "pipe.toml",
        "zero.toml",
        "huge.toml",
        "0123456789abcdef.json",
        "1123456789abcdef.json",
        "2123456789abcdef.json",
        "modes.json",
    ] {
        assert!(errors.contains(name), "{name}: {errors}");
    }
    assert!(!errors.contains("linked.toml"), "{errors}");
    assert!(mount.read("agents").lines().any(|l| l.starts_with("linked")), "{}", mount.read("agents"));
    mount.sh("mkdir demo; cat demo/wait");
    assert!(mount.end(Signal::SIGTERM).success());
    mount.start_again();
}

#[test]
fn a_log_or_a_config_that_became_a_fifo_holds_up_nobody() {
    let mount = Mount::start();
    mount.sh("mkdir demo; cat demo/wait");
    let config = mount.lab.dirs().config;
    fifo(&config.with_extension("pipe"));
    std::fs::rename(config.with_extension("pipe"), &config).unwrap();
    let at = config.display().to_string();
    until_true("errors names the config", || mount.read("errors").contains(&at));
    let names = std::fs::read_dir(mount.lab.path("state/muxfs/node")).unwrap();
    let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
    let number = |name: &String| name.strip_prefix("logs.").is_some_and(|n| n.parse::<u64>().is_ok());
    let logs = mount.lab.path("state/muxfs/node").join(names.into_iter().find(number).unwrap());
    std::fs::remove_file(&logs).unwrap();
    fifo(&logs);
    mount.sh("mkdir other; cat other/wait; rmdir other; cat demo/status");
    assert!(mount.sh("cat status").contains("state: online"));
}

/// Two are enough to take both of the node's threads, were each held up by one.
#[test]
fn status_files_that_are_fifos_hold_up_nobody() {
    let lab = Lab::new();
    let agents = lab.path("config/agents");
    std::fs::create_dir_all(&agents).unwrap();
    let program = lab.path("agent");
    let script = "#!/bin/sh\nmkfifo $HOME/status-$$\nwhile :; do date; sleep 0.2; done\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let command =
        format!("command = [{:?}]\nstatus_file = [\"~/status-{{pid}}\"]", program.to_str().unwrap());
    std::fs::write(agents.join("fake.toml"), fake().replace("command = [\"fake-agent\"]", &command)).unwrap();
    let mut mount = Mount::start_in(lab);
    for name in ["fake-1", "fake-2", "fake-3"] {
        mount.sh(&format!("mkdir {name}"));
        until(&format!("{name} is looked at"), || {
            let status = mount.read(&format!("{name}/status"));
            (status.contains("agent: fake") && !status.contains("state: starting")).then_some(())
        });
    }
    let fifos = std::fs::read_dir(mount.lab.home()).unwrap().flatten();
    assert_eq!(fifos.filter(|e| e.file_name().to_string_lossy().starts_with("status-")).count(), 3);
    mount.sh("mkdir other; cat other/wait; cat status */status */screen");
    assert!(mount.end(Signal::SIGTERM).success());
}
