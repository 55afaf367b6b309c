//! `make bench`: how fast the program is, as ratios taken within one run, beside their limits.
//!
//! Every row times operations of this process against operations of this process; the machine's
//! own speed and its other work cancel out. Knows the program as its users do: by its mount. The
//! table goes to standard output, and with `UPDATE=1` into docs/benchmarks.md. It fails where a row exceeds
//! its limit.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "benches may wait for a disk")]

mod agents;
mod lab;
mod many;
mod ops;
mod stats;

use std::process::ExitCode;

use lab::{Lab, Mount};
use stats::Table;

fn main() -> ExitCode {
    // Parts by name: `cargo bench --bench speed -- few`; none: all of them.
    let names: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |part: &str| names.is_empty() || names.iter().any(|n| n == part);
    // A thousand panes are some thousand descriptors of the tmux server that is started here.
    muxfs_tmux::process::raise_descriptor_limit();
    let mut table = Table::default();
    type Part = (&'static str, fn(&mut Table));
    let parts: [Part; 5] = [
        ("few", few),
        ("many", many::sessions),
        ("flood", many::flood),
        ("agents", agents::measure),
        ("fleet", agents::fleet),
    ];
    for (_, measure) in parts.iter().filter(|(name, _)| wanted(name)) {
        measure(&mut table);
    }
    println!("{}", table.markdown());
    let code = if table.reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if std::env::var_os("UPDATE").is_some() && names.is_empty() {
        table.into_docs();
    }
    code
}

/// What is measured with ten sessions.
fn few(table: &mut Table) {
    many::start(table);
    let lab = Lab::new();
    lab.sessions(10, "");
    let mount = Mount::start(&lab);
    mount.wait_for(10);
    many::idle(table, &lab, &mount, 10, 20.0);
    for pinned in [true, false] {
        mount.pin(pinned);
        ops::measure(table, &lab, &mount, pinned);
    }
    mount.pin(false);
}
