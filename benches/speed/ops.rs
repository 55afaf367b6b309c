//! Rows of single operations: a prompt, a screen, `status`, each against the least that the same
//! mount and the same tmux could need, and against running tmux.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::lab::{Control, Lab, Mount};
use super::stats::{Samples, Table};

/// Each operation in turn, so many times; so all of them see the same machine.
const ROUNDS: usize = 50;
const IN_A_ROUND: usize = 20;
/// What a message set going is over by then: the shell's own work is not what is measured.
const PAUSE: Duration = Duration::from_millis(2);

fn write(path: &Path, text: &[u8]) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    file.write_all(text).unwrap();
    drop(file);
}

fn read(path: &Path, buffer: &mut [u8]) -> usize {
    let mut file = std::fs::File::open(path).unwrap();
    file.read(buffer).unwrap()
}

pub fn measure(table: &mut Table, lab: &Lab, mount: &Mount, pinned: bool) {
    let sessions: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let files =
        |name: &str| -> Vec<PathBuf> { sessions.iter().map(|s| mount.at(&format!("{s}/{name}"))).collect() };
    let (inputs, screens, statuses) = (files("input"), files("screen"), files("status"));
    let help = mount.root(".help");
    let mut buffer = vec![0; 64 << 10];
    let mut control = Control::attach(lab, "s0");
    let [mut nothing, mut trip, mut input, mut send, mut constant, mut status, mut screen, mut capture] =
        std::array::from_fn(|_| Samples::default());
    let round = |samples: &mut Samples, work: &mut dyn FnMut(usize)| {
        for n in 0..IN_A_ROUND {
            samples.time(|| work(n % 10));
            std::thread::sleep(PAUSE);
        }
    };
    for _ in 0..ROUNDS {
        round(&mut nothing, &mut |n| write(&inputs[n], b"\n"));
        round(&mut trip, &mut |_| control.round_trip());
        round(&mut input, &mut |n| write(&inputs[n], b":\n"));
        round(&mut constant, &mut |_| _ = read(&help, &mut buffer));
        round(&mut screen, &mut |n| assert!(read(&screens[n], &mut buffer) > 0));
        round(&mut status, &mut |n| assert!(read(&statuses[n], &mut buffer) > 0));
        round(&mut send, &mut |n| {
            assert!(lab.tmux(&["send-keys", "-t", &sessions[n], ":", "Enter"]).status().unwrap().success());
        });
        round(&mut capture, &mut |n| {
            let mut command = lab.tmux(&["capture-pane", "-p", "-t", &sessions[n]]);
            assert!(command.stderr(Stdio::null()).output().unwrap().status.success());
        });
    }
    let how = if pinned { "pinned" } else { "unpinned" };
    let trip = ("a control client's round trip", &trip);
    let parts = [("writing an empty message", &nothing), trip];
    table.sum(&format!("a prompt through `input`, {how}"), &input, &parts, [2.0, 5.0]);
    let parts = [("reading `.help`", &constant), trip];
    table.sum(&format!("a fresh `screen`, {how}"), &screen, &parts, [2.0, 5.0]);
    let name = |what: &str| format!("{what}, {how}");
    table.ratio(name("a prompt through `input`"), &input, "`tmux send-keys`", &send, 1.0 / 3.0);
    table.ratio(name("a fresh `screen`"), &screen, "`tmux capture-pane -p`", &capture, 0.25);
    table.ratio(name("reading `status`"), &status, "reading `.help`", &constant, 1.3);
}
