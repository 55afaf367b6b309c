//! `SAVE=1`: what was seen becomes the saved screens that the rules are tested with, where there
//! is none of that name.
//!
//! Knows their header. Must not judge: the state is what was going on.

use super::super::doc::root;
use super::pane::{Look, Pane};

/// Writes the capture under the situation's name, without what is of this machine.
pub fn save(pane: &Pane, situation: &str, state: &str, look: &Look) {
    if std::env::var_os("SAVE").is_none() {
        return;
    }
    let (width, height) = pane.size;
    let dir = root().join("tests/fixtures/screens").join(pane.agent);
    let path = dir.join(format!("{width}x{height}-{situation}.ansi"));
    if path.exists() {
        return;
    }
    let agent = pane.agent;
    let about = &look.about;
    let title = own(pane, &look.title);
    let header = format!(
        "# {agent}; {}; {} {width}x{height}; state={state}; title={title}; {about}",
        version(pane),
        tmux()
    );
    std::fs::write(path, format!("{header}\n{}", own(pane, &look.picture))).unwrap();
}

/// The directory's name is as long as the one it gets, so that no row changes its width.
fn own(pane: &Pane, text: &str) -> String {
    let real = pane.lab.home();
    let real = real.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let text = text.replace(real, &format!("{:x<1$}", "mux", real.len()));
    let host = nix::unistd::gethostname().unwrap();
    text.replace(host.to_str().unwrap(), "vm")
}

fn version(pane: &Pane) -> String {
    let program =
        super::recipe::installed().join("bin").join(if pane.agent == "continue" { "cn" } else { pane.agent });
    let link = std::fs::read_link(program).unwrap();
    let dir = link.iter().nth(1).unwrap().to_str().unwrap();
    dir.rsplit_once('-').unwrap().1.to_owned()
}

fn tmux() -> String {
    let out = std::process::Command::new("tmux").arg("-V").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}
