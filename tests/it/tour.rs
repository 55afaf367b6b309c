//! The README's tour as a script: what people are told to type is what a test runs.

use super::doc::root;
use super::support::{Lab, Mount};
use super::turns::Fakes;

/// The commands of the fenced block after `<!-- tour -->`, with `dir` as the mount.
/// One a line, in the order in which a reader types them.
pub fn commands(dir: &str) -> Vec<String> {
    block("tour", dir)
}

fn block(mark: &str, dir: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, rest) =
        readme.split_once(&format!("<!-- {mark} -->\n```sh\n")).expect("the tour's mark and fence");
    let (block, _) = rest.split_once("```\n").expect("the fence's end");
    block
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(|l| l.replace("MUX=/mux", &format!("MUX={dir}")))
        .collect()
}

/// The whole tour for one `bash -e`: it stops at the first line that fails.
pub fn script(dir: &str) -> String {
    format!("set -eu -o pipefail\n{}\n", commands(dir).join("\n"))
}

#[test]
fn the_tour_starts_with_mkdir_and_is_shell() {
    let commands = commands("/some/where");
    assert_eq!(commands[..2], ["export MUX=/some/where", "mkdir $MUX/.self/demo"]);
    assert!(commands.iter().all(|c| !c.contains("/mux")), "{commands:?}");
    let bash =
        std::process::Command::new("bash").args(["-n", "-c", &script("/some/where")]).output().unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
}

#[test]
fn make_prints_the_same_tour() {
    let mut make = std::process::Command::new("make");
    make.args(["-s", "-C"]).arg(root()).args(["tour", "DIR=/some/where"]).env_remove("MAKEFLAGS");
    let out = make.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let printed: Vec<_> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(printed, commands("/some/where"));
}

/// Line by line, as a reader types it: each must work at once, and show what the text promises.
#[test]
fn the_tour_works_line_by_line() {
    let mount = Mount::start();
    let dir = mount.dir.to_str().unwrap();
    let mut shown = Vec::new();
    for command in commands(dir) {
        let out = mount.run(&command);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        // The one that is told to fail says so; nothing else complains.
        let meant = command.contains("no-such-verb");
        assert!(out.status.success() && said.is_empty() != meant, "{command}: {} {said}", out.status);
        shown.push((command, String::from_utf8(out.stdout).unwrap()));
    }
    let of = |end: &str| {
        let found =
            shown.iter().filter(|(command, _)| command.ends_with(end)).map(|(_, shown)| shown.as_str());
        found.collect::<Vec<_>>().join("")
    };
    assert_eq!(of("/wait"), "ready\nready\n");
    assert!(of("/output").contains("\n42\n"), "{}", of("/output"));
    assert!(of("demo/status").contains("state: ready\n"));
    assert!(of("/logs").contains("sleep 1000"), "{}", of("/logs"));
    assert!(of("/index").starts_with("demo "));
    assert!(
        of("/errors").contains("demo2/ctl") && of("/errors").contains("no-such-verb"),
        "{}",
        of("/errors")
    );
    assert!(!mount.path("demo2").exists());
}

/// The agent is the fake one under the name of the real one, which needs somebody's account.
#[test]
fn the_agents_tour_works_line_by_line() {
    let lab = Fakes::prepared(Lab::new());
    Fakes::records(&lab);
    let agents = lab.path("config/agents");
    std::fs::rename(agents.join("fake.toml"), agents.join("claude.toml")).unwrap();
    let mount = Mount::configured(lab, "[agent.claude]\nargs = [\"--claude-history\", \"--trust\"]\n");
    let work = mount.lab.path("work");
    let mut shown = String::new();
    for command in block("agent tour", mount.dir.to_str().unwrap()) {
        shown.push_str(&mount.sh(&format!("cd {}; {command}", work.display())));
    }
    let mut rest = shown.as_str();
    for part in [
        "blocked\nid: ",
        "No, exit",
        "ready\nblocked\nid: ",
        "1. Yes",
        "ready\n",
        "Run its tests.\n",
        "What does this project do? One sentence.\n",
        " 2 What%20does%20this%20project%20do",
    ] {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} in {rest:?} of {shown}"));
        rest = after;
    }
    assert_eq!(mount.read("errors"), "");
}

/// fish has another grammar.
#[test]
fn the_tour_works_in_fish() {
    let mount = Mount::start();
    for command in commands(mount.dir.to_str().unwrap()) {
        let out = mount.command("fish").args(["--no-config", "-c", &command]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let meant = command.contains("no-such-verb");
        assert!(out.status.success() && said.is_empty() != meant, "{command}: {} {said}", out.status);
    }
}

/// As one script too, from a shell that stops at the first failure.
#[test]
fn the_tour_is_a_script() {
    let mount = Mount::start();
    let out = mount.run(&script(mount.dir.to_str().unwrap()));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// What the issue has a newcomer type, `tail -f` and vim among it.
#[test]
fn a_newcomers_first_lines_work() {
    let mount = Mount::start();
    let mux = mount.dir.display().to_string();
    mount.sh(&format!("mkdir {mux}/.self/demo && echo 'ls -l /dev/null' > {mux}/.self/demo/input"));
    mount.sh(&format!("cat {mux}/.self/demo/wait"));
    assert!(mount.sh(&format!("cat {mux}/.self/demo/output")).contains("1, 3"));
    let tail = mount.sh(&format!(
        "timeout 20 tail -n +1 -f {mux}/*/logs | {{ echo 'echo later' > {mux}/.self/demo/input; grep -m1 'session=demo\\|demo'; }}; true"
    ));
    assert!(tail.contains("demo"), "{tail}");
    mount.sh(&format!("vim -u NONE -N -es -c 'norm! ggO# mine' -c wq {mux}/.self/demo/config"));
    assert!(mount.read("demo/config").starts_with("# mine\n"));
}

/// `make` with the program under test in the place of the release it would build.
struct Make {
    lab: Lab,
}

impl Make {
    /// In a lab where the program has been built.
    fn built() -> Self {
        let make = Make { lab: Lab::new() };
        std::fs::create_dir_all(make.lab.path("target/release")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muxfs"), make.lab.path("target/release/muxfs"))
            .unwrap();
        make
    }

    fn run(&self, target: &str) -> std::process::Output {
        self.run_with(target, &["CARGO=true"])
    }

    fn run_with(&self, target: &str, variables: &[&str]) -> std::process::Output {
        let mut make = std::process::Command::new("make");
        make.args(["-s", "-C"]).arg(root()).arg(target).args(variables).env_remove("MAKEFLAGS");
        make.arg(format!("DIR={}", self.lab.path("mux").display()));
        make.envs(Mount::environment(&self.lab)).env("CARGO_TARGET_DIR", self.lab.path("target"));
        // What a build says to its programs; sessions hear none of it, nor of make's own.
        make.env("CI", "true").env("GITHUB_ACTIONS", "true");
        // Under sudo it would be that user's sessions.
        make.env_remove("SUDO_USER").env_remove("TMUX").output().unwrap()
    }
}

impl Drop for Make {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.lab.path("mux")).output();
    }
}

#[test]
fn make_mount_mounts_and_prints_a_tour_that_works() {
    let make = Make::built();
    make.lab.configure("");
    let mux = make.lab.path("mux");
    std::fs::create_dir(&mux).unwrap();

    let out = make.run("mount");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.lines().any(|l| l == format!("mounted: {}", mux.display())), "{said}");
    let (_, tour) = said.split_once("line by line:").expect("a tour");
    let tour: Vec<_> = tour.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(tour[0], format!("export MUX={}", mux.display()));
    for line in tour {
        let mut bash = std::process::Command::new("timeout");
        let out = bash.args(["20", "bash", "-c", line]).env("MUX", &mux).output().unwrap();
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    }

    let told = make.lab.path("told");
    let ask = format!("mkdir e && echo 'env > {}' > e/input && cat e/wait", told.display());
    let mut shell = std::process::Command::new("timeout");
    assert!(shell.args(["20", "sh", "-c", &ask]).current_dir(mux.join(".self")).status().unwrap().success());
    let told = std::fs::read_to_string(told).unwrap();
    let of_make = told.lines().find(|l| ["MAKE", "MFLAGS", "CI=", "GITHUB"].iter().any(|w| l.starts_with(w)));
    assert_eq!(of_make, None);

    let again = make.run("mount");
    assert!(String::from_utf8_lossy(&again.stdout).contains("mounted already"), "{again:?}");
    assert!(make.run("umount").status.success());
    assert!(!mux.join(".self").exists());
}

/// Files and links below `dir`, from there on, sorted.
fn files_below(dir: &std::path::Path) -> Vec<String> {
    let mut find = std::process::Command::new("find");
    let out = find.arg(dir).args(["!", "-type", "d", "-printf", "%P\n"]).output().unwrap();
    let mut files: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(Into::into).collect();
    files.sort();
    files
}

#[test]
fn make_install_puts_files_below_destdir_and_uninstall_takes_them_away() {
    let make = Make::built();
    let to = make.lab.path("to");
    let variables = ["CARGO=true", "PREFIX=/usr", &format!("DESTDIR={}", to.display())];
    let out = make.run_with("install", &variables);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(
        files_below(&to),
        [
            "sbin/mount.fuse.muxfs",
            "usr/bin/muxfs",
            "usr/share/bash-completion/completions/muxfs",
            "usr/share/fish/vendor_completions.d/muxfs.fish",
            "usr/share/man/man1/muxfs.1",
            "usr/share/man/man5/muxfs-agent.5",
            "usr/share/man/man5/muxfs-tree.5",
            "usr/share/man/man5/muxfs.toml.5",
            "usr/share/zsh/site-functions/_muxfs",
        ]
    );
    let helper = std::fs::read_link(to.join("sbin/mount.fuse.muxfs")).unwrap();
    assert_eq!(helper, std::path::Path::new("/usr/bin/muxfs"));
    assert!(make.run_with("uninstall", &variables).status.success());
    assert!(files_below(&to).is_empty(), "{:?}", files_below(&to));
}

#[test]
fn a_machine_without_cargo_is_told_what_brings_it() {
    use std::os::unix::fs::MetadataExt;
    let make = Make { lab: Lab::new() };
    // Nobody else builds in the owner's tree.
    let owner = std::fs::metadata(root().join("Makefile")).unwrap().uid() == nix::unistd::getuid().as_raw();
    for target in if owner { &["mount", "install"][..] } else { &["mount"] } {
        let to = format!("DESTDIR={}", make.lab.path("to").display());
        let out = make.run_with(target, &["CARGO=no-such-cargo", &to]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains("missing: cargo (Rust 1."), "{target}: {said}");
        assert!(said.contains("https://sh.rustup.rs"), "{target}: {said}");
        assert!(!make.lab.path("to").exists());
    }
}
