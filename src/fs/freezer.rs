//! Whether a process's control group is about to freeze. The kernel freezes a task only on its way
//! out of a system call, and a read that waits for us is not interrupted by it: unanswered it
//! would hold up the whole group (`docker pause`, `systemctl freeze`), so it is answered EINTR.
//!
//! Both freezers: the unified hierarchy's `cgroup.freeze` and the older `freezer.state`. A
//! process whose group we cannot look up counts as not freezing. Knows no files of ours.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::mounts::{self, Mount};

/// A group is asked this often at most, however many readers it has.
const FRESH: Duration = Duration::from_millis(100);
/// Groups nobody asked for are forgotten, with their open files.
const KEEP: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Freezers {
    /// By the text of `/proc/<pid>/cgroup`.
    groups: Mutex<HashMap<String, Group>>,
}

struct Group {
    /// Of the group and those above it: each can freeze it.
    files: Vec<File>,
    asked: Instant,
    freezing: bool,
}

impl Freezers {
    pub fn freezing(&self, tid: u32) -> bool {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{tid}/cgroup")) else { return false };
        let now = Instant::now();
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&text).filter(|g| now.duration_since(g.asked) < FRESH) {
            return group.freezing;
        }
        if !groups.contains_key(&text) {
            groups.retain(|_, g| now.duration_since(g.asked) < KEEP);
        }
        let new = || Group {
            files: files(&text, &mounts::all().unwrap_or_default()).iter().filter_map(open).collect(),
            asked: now,
            freezing: false,
        };
        let group = groups.entry(text.clone()).or_insert_with(new);
        group.asked = now;
        group.freezing = group.files.iter().any(is_set);
        group.freezing
    }
}

fn open(path: &PathBuf) -> Option<File> {
    File::open(path).ok() // the topmost group has none
}

fn is_set(file: &File) -> bool {
    let mut buf = [0; 16];
    let len = file.read_at(&mut buf, 0).unwrap_or(0); // the group is gone, and nobody in it
    matches!(buf[..len].trim_ascii(), b"1" | b"FREEZING" | b"FROZEN")
}

/// The files that say whether the group in `text` (cgroups(7), /proc/[pid]/cgroup) is to freeze.
fn files(text: &str, mounts: &[Mount]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(number), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let unified = number == "0" && names.is_empty();
        if !unified && !names.split(',').any(|n| n == "freezer") {
            continue;
        }
        let has = |m: &&Mount| match unified {
            true => m.fstype == "cgroup2",
            false => m.fstype == "cgroup" && m.options.split(',').any(|o| o == "freezer"),
        };
        // A container's mount shows a part of the hierarchy.
        let Some((mount, below)) =
            mounts.iter().filter(has).find_map(|m| Some((m, Path::new(path).strip_prefix(&m.root).ok()?)))
        else {
            continue;
        };
        match unified {
            true => found.extend(below.ancestors().map(|a| mount.dir.join(a).join("cgroup.freeze"))),
            // This one covers the groups above as well.
            false => found.push(mount.dir.join(below).join("freezer.state")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(root: &str, dir: &str, fstype: &str, options: &str) -> Mount {
        Mount { root: root.into(), options: options.into(), ..Mount::test(dir, fstype) }
    }

    #[test]
    fn every_group_above_can_freeze_and_both_kinds_are_known() {
        let mounts = [
            mount("/", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu"),
            mount("/", "/sys/fs/cgroup/freezer", "cgroup", "rw,freezer"),
            mount("/box", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let text = "7:cpu:/a\n6:freezer:/a/b\n1:name=systemd:/a\n0::/box/c/d:e\n";
        let names: Vec<_> = files(text, &mounts).iter().map(|p| p.display().to_string()).collect();
        assert_eq!(
            names,
            [
                "/sys/fs/cgroup/freezer/a/b/freezer.state",
                "/sys/fs/cgroup/unified/c/d:e/cgroup.freeze",
                "/sys/fs/cgroup/unified/c/cgroup.freeze",
                "/sys/fs/cgroup/unified/cgroup.freeze",
            ]
        );
        assert!(files("0::/../elsewhere\nnonsense\n", &mounts).is_empty());
        assert!(!Freezers::default().freezing(std::process::id()));
    }
}
