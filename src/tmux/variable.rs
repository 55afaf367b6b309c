//! Names of the variables that hold the hidden text of a line (command.rs) while it is under way, and
//! which of them nobody needs any more.
//!
//! A name identifies its owner: the process, when it began, and the PID namespace that numbers it. So
//! what a muxfs that was killed left in a server is found by the next one, and what a living one
//! needs is left alone. Must not know what the texts are for.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::leftover;

const PREFIX: &str = "MUXFS_";

/// This process as an owner: `NAMESPACE_PID_STARTED`.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let space: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{space}_{}", leftover::own_mark().replace('.', "_"))
});

pub(super) fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{PREFIX}{}_{}", *OWN, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The names in `list`, as `show-environment -gh` prints it, whose owner lived here and is gone.
pub(super) fn left(list: &str) -> Vec<&str> {
    let names = list.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let mut dead: Vec<(&str, bool)> = Vec::new();
    names
        .filter(|name| {
            let owner = name.strip_prefix(PREFIX).and_then(|rest| Some(rest.rsplit_once('_')?.0));
            let Some(owner) = owner else { return false };
            match dead.iter().find(|(known, _)| *known == owner) {
                Some((_, dead)) => *dead,
                None => {
                    let is_dead = is_dead(owner);
                    dead.push((owner, is_dead));
                    is_dead
                }
            }
        })
        .collect()
}

fn is_dead(owner: &str) -> bool {
    let here = OWN.split('_').next();
    let (space, process) = owner.split_once('_').unwrap_or_default();
    Some(space) == here && leftover::is_of_the_dead(&process.replace('_', "."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_of_this_machine_left_is_found_and_nothing_else() {
        let (own, space) = (fresh(), OWN.split('_').next().unwrap());
        let dead = format!("{PREFIX}{space}_{}_1_7", std::process::id());
        let elsewhere = format!("{PREFIX}1{space}_{}_1_7", std::process::id());
        let list =
            format!("{own}=a\n{dead}=b\n{elsewhere}=c\nMUXFS_ID=d\nPATH={dead}\n-{dead}\nMUXFS_1_2=e\n");
        assert_eq!(left(&list), [dead.as_str()]);
        assert_ne!(own, fresh());
    }
}
