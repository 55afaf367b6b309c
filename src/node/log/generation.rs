//! Numbers the files of a log, and decides which of them a restarted node appends to.
//!
//! A log `DIR/raw` is kept in files `DIR/raw.N`. The highest N grows; readers see the one before as `raw.1`.
//! N is the Unix time in seconds at which the file was begun, or the last N plus 1, so that no N is used
//! twice, even after all files are gone. A node appends to the newest file only where that surely holds all
//! that readers saw ([`may_grow`]); its permission bits record this. Otherwise the node begins another file.
//!
//! Knows names, permission bits and times of files. Must not know what they hold.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use muxfs_tree::base::clock;

/// Digits of a number: seconds have ten. More is no number of ours.
const DIGITS: usize = 15;
/// A file that grows.
const GROWING: u32 = 0o600;
/// A growing file of which readers saw more than is on the disk: bytes wait in memory. The sticky
/// bit means nothing to the kernel, and setting it needs no room on a full disk.
const AHEAD: u32 = 0o1600;
/// Ended in order: all of it is on the disk.
const WHOLE: u32 = 0o400;

/// `raw.7` is generation 7 of `raw`, `raw` has no number.
pub fn split(name: &str) -> (&str, Option<u64>) {
    let number = |digits: &str| {
        let canonical = !digits.is_empty()
            && digits.len() <= DIGITS
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
        if canonical { digits.parse().ok() } else { None }
    };
    match name.rsplit_once('.').map(|(log, digits)| (log, number(digits))) {
        Some((log, Some(number))) => (log, Some(number)),
        _ => (name, None),
    }
}

/// The file of generation `number` of the log at `log`.
pub fn path(log: &Path, number: u64) -> PathBuf {
    let mut name = log.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{number}"));
    log.with_file_name(name)
}

/// The number that follows `last`.
pub fn after(last: u64, now: SystemTime) -> u64 {
    (last + 1).max(clock::epoch(now))
}

/// The numbers of the log at `log`, the newest first. A file without a number, as earlier versions
/// kept it beside `NAME.1`, is taken over as the newest.
#[expect(clippy::disallowed_methods, reason = "a log is opened by who made its pane, never by a request")]
pub fn found(log: &Path) -> Vec<u64> {
    let Some((dir, name)) = log.parent().zip(log.file_name().and_then(|n| n.to_str())) else {
        return Vec::new();
    };
    let mut numbers = Vec::new();
    let mut plain = false;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        match file.to_str().map(split) {
            Some((log, number)) if log == name && entry.file_type().is_ok_and(|t| t.is_file()) => {
                plain |= number.is_none();
                numbers.extend(number);
            }
            _ => (),
        }
    }
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    if plain {
        let written = std::fs::symlink_metadata(log).and_then(|m| m.modified());
        let number = after(numbers.first().copied().unwrap_or(0), written.unwrap_or(SystemTime::UNIX_EPOCH));
        let to = path(log, number);
        if std::fs::rename(log, &to).and_then(|()| mark(&to, WHOLE)).is_ok() {
            numbers.insert(0, number);
        }
    }
    numbers
}

/// Whether a file may go on to grow under its number: all that readers were shown of it is there. That
/// is so where it ended in order, or was written since the machine started (its cache outlives the
/// node), unless bytes that readers saw were still to be written. A file that cannot be written is not
/// gone on with either: how its last life ended cannot have been marked.
pub fn may_grow(path: &Path, meta: &Metadata) -> bool {
    let mode = meta.permissions().mode();
    if mode & 0o1000 != 0 {
        return false;
    }
    let whole = mode & 0o200 == 0;
    let since_boot = || meta.modified().is_ok_and(|written| written >= clock::booted());
    (whole || since_boot()) && mark(path, GROWING).is_ok()
}

/// Says whether readers see more of the file than it has.
pub fn mark_ahead(path: &Path, ahead: bool) {
    // Where it cannot be said the disk takes no writes: see `may_grow`.
    let _ = mark(path, if ahead { AHEAD } else { GROWING });
}

/// Says that all of the file is on the disk. Waits for the disk.
#[expect(clippy::disallowed_methods, reason = "for the end of a node, on a thread that may wait")]
pub fn end(path: &Path) -> io::Result<()> {
    muxfs_tree::base::foreign::open(path, muxfs_tree::base::foreign::Links::Refuse)?.sync_data()?;
    mark(path, WHOLE)
}

fn mark(path: &Path, mode: u32) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_file() {
        return std::fs::set_permissions(path, Permissions::from_mode(mode));
    }
    Err(io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_has_a_number_or_none() {
        assert_eq!(split("raw.7"), ("raw", Some(7)));
        assert_eq!(split("logs.json.12"), ("logs.json", Some(12)));
        for name in ["raw", "logs.json", "raw.", "raw.07", "raw.+7", "raw.7x", "raw.1234567890123456"] {
            assert_eq!(split(name), (name, None));
        }
        assert_eq!(path(Path::new("a/raw"), 7), Path::new("a/raw.7"));
    }

    #[test]
    fn numbers_only_rise() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!((after(0, at(50)), after(50, at(50)), after(90, at(50))), (50, 51, 91));
    }

    #[test]
    fn files_of_earlier_versions_are_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("raw");
        for name in ["raw", "raw.1", "raw.json.9", "rawer.8"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::fs::create_dir(dir.path().join("raw.99")).unwrap();
        let numbers = found(&log);
        assert!(numbers.len() == 2 && numbers[1] == 1 && numbers[0] > 1_700_000_000, "{numbers:?}");
        assert_eq!(std::fs::read(path(&log, numbers[0])).unwrap(), b"raw");
        assert!(!log.exists());
        assert_eq!(found(&log), numbers);
        assert_eq!(found(&dir.path().join("nowhere/raw")), [0; 0]);
    }

    #[test]
    fn a_file_grows_on_where_all_that_was_seen_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("raw.7");
        let judge = || may_grow(&log, &std::fs::symlink_metadata(&log).unwrap());
        std::fs::write(&log, "text").unwrap();
        assert!(judge(), "written since the machine started");
        mark_ahead(&log, true);
        assert!(!judge(), "readers saw more");
        mark_ahead(&log, false);
        assert!(judge());
        let file = std::fs::File::options().append(true).open(&log).unwrap();
        file.set_modified(clock::booted() - Duration::from_secs(1)).unwrap();
        assert!(!judge(), "the machine may have lost its cache");
        end(&log).unwrap();
        assert!(judge(), "it ended in order");
        assert!(!judge(), "and grows again since");
    }
}
