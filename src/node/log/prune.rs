//! Keeps the logs of a node within their bounds of age and size.
//!
//! Knows directories, ages and sizes. The caller says which directories are live; of those it removes
//! only rotated files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How deep directories of logs may lie below the root: session, life, pane.
const DEPTH: usize = 4;

/// A file that was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    pub path: PathBuf,
    pub bytes: u64,
    /// Older than the days kept; otherwise all logs together were too large.
    pub expired: bool,
}

#[derive(Debug)]
struct Found {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    live: bool,
    files: Vec<Found>,
}

impl Dir {
    /// Whether a file is the newest of its log.
    fn grows(&self, file: &Found) -> bool {
        let (log, number) = generation(file);
        self.files.iter().map(generation).all(|(other, n)| other != log || n <= number)
    }
}

/// The log that a file belongs to, and its generation there. One without a number is of an earlier
/// version, and newer than what was numbered then.
fn generation(file: &Found) -> (&str, u64) {
    let name = file.path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let (log, number) = super::generation::split(name);
    (log, number.unwrap_or(u64::MAX))
}

/// Removes the files of earlier lives after `keep`, then, while all files together exceed
/// `max_total` bytes, those of earlier lives and rotated ones, oldest first. The current files of
/// live directories are never touched. What cannot be removed is left for the next time.
pub fn prune(
    root: &Path,
    keep: Duration,
    max_total: u64,
    live: &dyn Fn(&Path) -> bool,
    now: SystemTime,
) -> Vec<Removed> {
    let mut dirs = Vec::new();
    scan(root, false, DEPTH, live, &mut dirs);
    let mut removed = Vec::new();
    for dir in dirs.iter_mut().filter(|dir| !dir.live) {
        let newest = dir.files.iter().map(|f| f.modified).max();
        let age = newest.and_then(|t| now.duration_since(t).ok()).unwrap_or_default();
        if age >= keep {
            dir.files.retain(|file| !remove(file, true, &mut removed));
        }
    }
    shrink(&mut dirs, max_total, &mut removed);
    // Deepest first, so that a session's directory goes with its last pane's.
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.path.components().count()));
    let touched = |dir: &Dir| removed.iter().any(|r| r.path.starts_with(&dir.path));
    for dir in dirs.iter().filter(|dir| !dir.live && dir.path != root && touched(dir)) {
        // Refused while anything is in it.
        let _ = fs::remove_dir(&dir.path);
    }
    removed
}

fn shrink(dirs: &mut [Dir], max_total: u64, removed: &mut Vec<Removed>) {
    let files = || dirs.iter().flat_map(|dir| dir.files.iter().map(move |f| (dir, f)));
    let mut total: u64 = files().map(|(_, f)| f.bytes).sum();
    let mut loose: Vec<&Found> =
        files().filter(|(dir, f)| !dir.live || !dir.grows(f)).map(|(_, f)| f).collect();
    loose.sort_by_key(|f| f.modified);
    for file in loose {
        if total <= max_total {
            return;
        }
        if remove(file, false, removed) {
            total -= file.bytes;
        }
    }
}

fn remove(file: &Found, expired: bool, removed: &mut Vec<Removed>) -> bool {
    let gone = fs::remove_file(&file.path).is_ok();
    if gone {
        removed.push(Removed { path: file.path.clone(), bytes: file.bytes, expired });
    }
    gone
}

/// Regular files alone; links are not followed. Below a live directory all is live.
#[expect(clippy::disallowed_methods, reason = "runs once a minute, apart from requests")]
fn scan(path: &Path, live_above: bool, depth: usize, live: &dyn Fn(&Path) -> bool, dirs: &mut Vec<Dir>) {
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let is_live = live_above || live(path);
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() && depth > 0 {
            scan(&entry.path(), is_live, depth - 1, live, dirs);
        } else if meta.is_file() {
            let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push(Found { path: entry.path(), bytes: meta.len(), modified });
        }
    }
    dirs.push(Dir { path: path.to_path_buf(), live: is_live, files });
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Duration = Duration::from_secs(7 * 24 * 3600);

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn file(root: &Path, path: &str, bytes: usize, modified: SystemTime) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    }

    fn names(root: &Path, removed: &[Removed]) -> Vec<String> {
        let name = |r: &Removed| r.path.strip_prefix(root).unwrap().display().to_string();
        removed.iter().map(name).collect()
    }

    #[test]
    fn earlier_lives_go_after_their_days() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        file(root.path(), "s/1/raw", 10, now - 8 * DAY);
        file(root.path(), "s/2/raw", 10, now - 8 * DAY);
        file(root.path(), "s/3/raw", 10, now - 6 * DAY);
        let live = |p: &Path| p.ends_with("s/2");
        let removed = prune(root.path(), DAYS, u64::MAX, &live, now);
        assert_eq!(names(root.path(), &removed), ["s/1/raw"]);
        assert!(removed[0].expired);
        assert!(!root.path().join("s/1").exists());
        assert!(root.path().join("s/2/raw").exists() && root.path().join("s/3/raw").exists());
    }

    #[test]
    fn over_the_bound_the_oldest_loose_files_go() {
        let root = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let hours = |n: u32| now - n * DAY / 24;
        file(root.path(), "live/raw.12", 500, hours(9));
        file(root.path(), "live/raw.9", 100, hours(3));
        file(root.path(), "live/logs.9", 0, hours(10));
        file(root.path(), "dead/raw", 100, hours(2));
        file(root.path(), "dead/raw.1", 100, hours(4));
        let live = |p: &Path| p.ends_with("live");
        let removed = prune(root.path(), DAYS, 650, &live, now);
        assert_eq!(names(root.path(), &removed), ["dead/raw.1", "live/raw.9"]);
        let removed = prune(root.path(), DAYS, 0, &live, now);
        assert_eq!(names(root.path(), &removed), ["dead/raw"]);
        assert!(
            root.path().join("live/raw.12").exists()
                && root.path().join("live/logs.9").exists()
                && !root.path().join("dead").exists()
        );
        assert_eq!(prune(&root.path().join("nowhere"), DAYS, 0, &live, now), []);
    }
}
