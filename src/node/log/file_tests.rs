//! Growth, rotation and trouble of a log file.

use super::*;
use crate::log::Progress;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const START: SystemTime = SystemTime::UNIX_EPOCH;

fn at(ms: u64) -> SystemTime {
    START + Duration::from_secs(1_000_000) + Duration::from_millis(ms)
}

fn small(rotate_at: u64) -> LogLimits {
    LogLimits { rotate_at: RotateAt::new(rotate_at), ..LogLimits::default() }
}

fn text(inode: &LogInode) -> String {
    String::from_utf8(inode.read_at(0, usize::MAX).unwrap()).unwrap()
}

#[test]
fn it_grows_and_continues() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/logs");
    let log = LogFile::open(&path, "o", LogLimits::default(), text_gap);
    assert_eq!(log.current().read_at(0, 10).unwrap(), b"");
    let changed = log.current().changed();
    log.append(b"one\n", at(0));
    log.append(b"two\n", at(0));
    assert!(changed.has_changed().unwrap());
    assert_eq!(*changed.borrow(), Progress { size: 8, closed: false });
    assert_eq!(log.current().read_at(4, 2).unwrap(), b"tw");
    let file = log.current().path();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(log);
    let log = LogFile::open(&path, "o", LogLimits::default(), text_gap);
    assert_eq!(log.current().size(), 8);
    log.append(b"three\n", at(0));
    assert_eq!(text(&log.current()), "one\ntwo\nthree\n");
    log.close(at(1));
    assert!(changed.borrow().size == 8 && log.current().is_closed());
    log.append(b"late\n", at(2));
    assert_eq!(log.current().size(), 14);
}

#[test]
fn a_torn_line_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    fs::write(&path, "torn").unwrap();
    let log = LogFile::open(&path, "o", LogLimits::default(), text_gap);
    log.append(b"next\n", at(0));
    assert_eq!(text(&log.current()), "torn\nnext\n");
    let raw = LogFile::open(&path, "o", LogLimits { lines: false, ..LogLimits::default() }, text_gap);
    raw.append(b"a", at(0));
    raw.append(b"b", at(0));
    assert_eq!(text(&raw.current()), "torn\nnext\nab");
}

#[test]
fn it_rotates_between_records_and_not_too_often() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(dir.path().join("raw"), "o", small(10), text_gap);
    log.append(b"12345678\n", at(0));
    let first = log.current();
    log.append(b"abc\n", at(1));
    let second = log.current();
    assert_ne!(first.key(), second.key());
    assert!(first.is_closed() && !second.is_closed());
    assert_eq!((text(&first), text(&second)), ("12345678\n".into(), "abc\n".into()));
    assert_eq!(log.rotated().unwrap().key(), first.key());
    // Within 15 s it only grows.
    log.append(b"defghijklm\n", at(14_000));
    assert_eq!(log.current().key(), second.key());
    log.append(b"new\n", at(15_001));
    assert_eq!(text(&log.current()), "new\n");
    // The first inode lost its name and is still read.
    assert_eq!(text(&first), "12345678\n");
    assert_eq!(text(&log.rotated().unwrap()), "abc\ndefghijklm\n");
    log.tidy(at(20_000));
    log.tidy(at(25_000));
    assert_eq!(text(&first), "12345678\n");
    assert_eq!(log.rotated().unwrap().key(), second.key());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    fs::remove_file(log.rotated().unwrap().path()).unwrap();
    assert!(log.rotated().is_none());
}

#[test]
fn line_logs_rotate_at_a_line_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(dir.path().join("logs"), "o", small(10), text_gap);
    log.append(b"half a ", at(0));
    log.append(b"line\n", at(0));
    log.append(b"next\n", at(0));
    assert_eq!(text(&log.rotated().unwrap()), "half a line\n");
    assert_eq!(text(&log.current()), "next\n");
}

#[test]
fn each_new_inode_at_the_name_is_told() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(dir.path().join("logs"), "o", small(10), text_gap);
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    log.on_new_inode(move || _ = count.fetch_add(1, Ordering::Relaxed));
    for (ms, wanted) in [(0, 0), (1, 1), (2, 1), (16_000, 2)] {
        log.append(b"123456789\n", at(ms));
        assert_eq!(told.load(Ordering::Relaxed), wanted, "after {ms} ms");
    }
}

#[test]
fn descriptors_of_idle_logs_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let log = LogFile::open(dir.path().join("logs"), "o", LogLimits::default(), text_gap);
    log.append(b"a\n", at(0));
    log.tidy(at(1));
    assert!(log.current().holds_descriptor());
    log.tidy(at(2));
    assert!(!log.current().holds_descriptor());
    log.append(b"b\n", at(3));
    assert_eq!(text(&log.current()), "a\nb\n");
}

/// A path that cannot be written, until it can: its parent is a file.
#[test]
fn trouble_is_a_state_and_the_log_states_its_gap() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("p");
    fs::write(&parent, "").unwrap();
    let log = LogFile::open(parent.join("logs"), "o", LogLimits::default(), text_gap);
    assert_eq!(log.trouble(), None);
    log.append(b"kept\n", at(0));
    let trouble = log.trouble().unwrap();
    assert_eq!((trouble.since, trouble.lost_bytes), (at(0), 0));
    assert_eq!(trouble.text, "Not a directory");
    log.append(&[b'x'; BACKLOG], at(10));
    log.append(b"y\n", at(20));
    assert_eq!(log.trouble().unwrap().lost_bytes, BACKLOG as u64 + 2);
    fs::remove_file(&parent).unwrap();
    // Not tried again within the second.
    log.append(b"z\n", at(999));
    assert!(log.trouble().is_some());
    log.append(b"back\n", at(1000));
    assert_eq!(log.trouble(), None);
    let since = rfc3339(at(0));
    let lost = BACKLOG + 4;
    let gap = format!("[muxfs: {lost} bytes missing since {since}: Not a directory]");
    assert_eq!(text(&log.current()), format!("kept\n{gap}\nback\n"));
}

#[test]
fn a_short_trouble_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("p");
    fs::write(&parent, "").unwrap();
    let log = LogFile::open(parent.join("logs"), "o", LogLimits::default(), text_gap);
    log.append(b"a\n", at(0));
    log.append(b"b\n", at(500));
    // Readers see it from memory, at the places where it will be on the disk.
    assert_eq!((text(&log.current()).as_str(), log.current().size()), ("a\nb\n", 4));
    assert_eq!(log.current().read_at(3, 9).unwrap(), b"\n");
    assert_eq!(log.current().changed().borrow().size, 4);
    fs::remove_file(&parent).unwrap();
    log.tidy(at(5_000));
    assert_eq!(text(&log.current()), "a\nb\n");
    assert_eq!(log.current().size(), 4);
    assert_eq!(fs::read(log.current().path()).unwrap(), b"a\nb\n");
}

/// Neither a FIFO without a reader nor a device in its place is written to or waited for.
#[test]
fn what_is_no_file_does_not_stop_anyone() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = |at: &std::path::Path| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |at: &std::path::Path| std::os::unix::fs::symlink("/dev/full", at).unwrap();
    for (name, why) in [("fifo", "a FIFO, not a regular file"), ("link", "Too many levels of symbolic links")]
    {
        let limits = LogLimits { lines: false, ..small(1) };
        let log = LogFile::open(dir.path().join(name), "o", limits, text_gap);
        let place = log.current().path();
        if name == "fifo" {
            fifo(&place)
        } else {
            link(&place)
        }
        log.append(b"a", at(0));
        assert_eq!(log.trouble().unwrap().text, why);
        log.tidy(at(60_000));
        assert!(log.trouble().is_some());
    }
}

#[test]
fn a_file_that_was_taken_away_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs");
    let log = LogFile::open(&path, "o", LogLimits::default(), text_gap);
    log.append(b"a\n", at(0));
    let first = log.current();
    fs::remove_file(first.path()).unwrap();
    log.tidy(at(1));
    log.tidy(at(2));
    log.append(b"b\n", at(3));
    assert_eq!(log.trouble(), None);
    assert!(first.is_closed());
    assert_eq!(text(&log.current()), "b\n");
    assert_ne!(first.key(), log.current().key());
    assert_eq!(fs::read(log.current().path()).unwrap(), b"b\n");
}

/// Another life of the node: the same bytes have the same id, and no other bytes ever have it.
#[test]
fn a_generation_goes_on_where_it_is_certain_and_another_begins_where_not() {
    let dir = tempfile::tempdir().unwrap();
    let open = || LogFile::open(dir.path().join("logs"), "o", small(10), text_gap);
    let log = open();
    log.append(b"one\n", at(0));
    let first = log.current().key();
    assert!(first.starts_with("o/logs."), "{first}");
    let log = open();
    assert_eq!((log.current().key(), text(&log.current()).as_str()), (first.clone(), "one\n"));
    assert!(log.is_known());
    log.append(b"two two\n", at(20_000));
    let second = log.current().key();
    assert_ne!(first, second);
    let log = open();
    assert_eq!(log.current().key(), second);
    assert_eq!((log.rotated().unwrap().key(), text(&log.rotated().unwrap())), (first, "one\n".into()));

    // The machine started in between: readers may have seen what the disk never got.
    let long_ago = muxfs_tree::base::clock::booted() - Duration::from_secs(1);
    let set = |inode: &LogInode| {
        fs::File::options().append(true).open(inode.path()).unwrap().set_modified(long_ago).unwrap();
    };
    set(&log.current());
    let log = open();
    assert_eq!((log.current().key(), text(&log.current()).as_str()), (second.clone(), "two two\n"));
    log.append(b"3\n", at(40_000));
    let third = log.current().key();
    assert_ne!(third, second);
    assert_eq!((text(&log.current()).as_str(), log.rotated().unwrap().key()), ("3\n", second));

    // But not where the node ended in order; what comes after its end is a life again.
    log.end();
    set(&log.current());
    let log = open();
    log.append(b"4\n", at(41_000));
    assert_eq!((log.current().key(), text(&log.current()).as_str()), (third.clone(), "3\n4\n"));
    log.end();
    log.append(b"5\n", at(42_000));
    set(&log.current());
    let log = open();
    log.append(b"6\n", at(60_000));
    assert_ne!(log.current().key(), third);

    // All files were removed by hand meanwhile.
    let last = log.current().key();
    for file in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let log = open();
    log.append(b"7\n", SystemTime::now());
    assert_ne!(log.current().key(), last);
}

/// What readers saw in memory never came to the disk: nothing else may stand at its offsets.
#[test]
fn a_life_that_ended_in_trouble_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("p");
    let open = || LogFile::open(logs.join("logs"), "o", LogLimits::default(), text_gap);
    let log = open();
    log.append(b"one\n", at(0));
    let inode = log.current();
    let file = inode.path();
    generation::mark_ahead(&file, true); // as a full disk does
    drop(log);
    let log = open();
    log.append(b"two\n", at(0));
    assert_eq!((text(&log.current()).as_str(), text(&log.rotated().unwrap()).as_str()), ("two\n", "one\n"));
    assert_ne!(log.current().key(), inode.key());
}
