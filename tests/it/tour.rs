//! The README's tour as a script: what people are told to type is what a test runs.

use super::doc::root;

/// The commands of the fenced block after `<!-- tour -->`, with `/mux` replaced by `dir`.
/// One a line, in the order in which a reader types them.
pub fn commands(dir: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (_, rest) = readme.split_once("<!-- tour -->\n```sh\n").expect("the tour's mark and fence");
    let (block, _) = rest.split_once("```\n").expect("the fence's end");
    block.lines().filter(|l| !l.trim().is_empty()).map(|l| l.replace("/mux/", &format!("{dir}/"))).collect()
}

/// The whole tour for one `bash -e`: it stops at the first line that fails.
pub fn script(dir: &str) -> String {
    format!("set -eu -o pipefail\n{}\n", commands(dir).join("\n"))
}

#[test]
fn the_tour_starts_with_mkdir_and_is_shell() {
    let commands = commands("/some/where");
    assert!(commands[0].starts_with("mkdir /some/where/.self/"), "{commands:?}");
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
