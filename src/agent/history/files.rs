//! Files of any size, read within bounds.
//!
//! Knows regular files, lines and JSON rows. Must not know what a row means.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use muxfs_tree::base::foreign::{self, Links};

/// Conversations in a listing.
pub const MOST: usize = 1000;
/// Files that one listing asks for their time; more are left out by name, the last ones first.
pub const LOOKED: usize = 20_000;
/// Bytes that one listing reads before it stops with what it has.
pub const BUDGET: u64 = 64 << 20;
/// Bytes of one conversation that are read at once: its newest.
pub const WINDOW: u64 = 16 << 20;
/// A file up to this size is read whole for a listing, so that its prompts are counted.
pub const COUNTED: u64 = 512 << 10;
/// Of a larger one the beginning is read, for its title …
pub const HEAD: u64 = 256 << 10;
/// … and the end, for its time.
pub const TAIL: u64 = 64 << 10;
/// A longer row is passed over.
const ROW: usize = 8 << 20;
/// A document that is not rows: an index, or a whole conversation.
pub const DOCUMENT: u64 = 64 << 20;

/// A regular file and its length. A pipe or a device is refused, and never waited for.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = foreign::open(path, Links::Follow)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// A file that was seen in a directory.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: PathBuf,
    pub len: u64,
    pub modified: SystemTime,
}

/// A regular file; None for anything else, and for what is not there.
pub fn seen(path: PathBuf) -> Option<Seen> {
    let meta = std::fs::metadata(&path).ok().filter(|m| m.is_file())?;
    Some(Seen { len: meta.len(), modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), path })
}

/// The names in a directory, sorted backwards: names that begin with a time are newest first.
/// A directory that is not there is empty; another failure is reported in `trouble`.
pub fn names(dir: &Path, trouble: &mut Vec<String>) -> Vec<String> {
    let found = match foreign::list(dir, 5 * LOOKED) {
        Ok((found, _)) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            trouble.push(format!("{}: {e}", dir.display()));
            return Vec::new();
        }
    };
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    let mut names: Vec<String> = found.into_iter().filter_map(name).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    names
}

/// Newest first.
pub fn newest_first(files: &mut [Seen]) {
    files.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| b.path.cmp(&a.path)));
}

/// A small file as text; bytes that are no UTF-8 are replaced. None if it is not there or larger.
pub fn small(path: &Path, most: u64) -> Option<String> {
    let (file, len) = open(path).ok()?;
    if len > most {
        return None;
    }
    let bytes = foreign::rest(file, most).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a pass over a file's rows came to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// After the last whole line.
    pub at: u64,
    pub read: u64,
    pub rows: u64,
    /// Lines that are no JSON; a half-written last one is not among them.
    pub broken: u64,
    /// Bytes before the first line that was read, after the place asked for.
    pub left_out: u64,
}

/// The lines from `from`, where one begins, to `to` at most. `take` says whether to go on; it
/// gets each line without its end, where it and its end lie, and whether the end was there. A
/// line that is too long is empty. Returned are the place after the last line that was taken,
/// and the bytes read.
pub fn lines(
    file: File,
    from: u64,
    to: u64,
    mut take: impl FnMut(&[u8], Range<u64>, bool) -> bool,
) -> io::Result<(u64, u64)> {
    let mut file = file;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 << 10, file.take(to.saturating_sub(from)));
    let (mut at, mut line_at, mut line) = (from, from, Vec::new());
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if buffer.is_empty() {
            break;
        }
        let end = memchr::memchr(b'\n', buffer);
        let used = end.map_or(buffer.len(), |i| i + 1);
        // Of a line that is too long only so much is kept that it is known as such.
        if line.len() <= ROW {
            line.extend_from_slice(&buffer[..end.unwrap_or(used)]);
        }
        reader.consume(used);
        at += used as u64;
        if end.is_some() {
            let kept = if line.len() <= ROW { &line[..] } else { &[] };
            if !take(kept, line_at..at, true) {
                return Ok((line_at, at - from));
            }
            line_at = at;
            line.clear();
        }
    }
    if !line.is_empty() && line.len() <= ROW && take(&line, line_at..at, false) {
        line_at = at;
    }
    Ok((line_at, at - from))
}

/// The JSON rows from `from` to the end of the file, or the newest `most` bytes of them. A last
/// line without its end counts if it is whole.
pub fn rows(path: &Path, from: u64, most: u64, take: &mut dyn FnMut(Value)) -> io::Result<Pass> {
    let (file, len) = open(path)?;
    // Shorter than it was: written anew.
    let from = if from > len { 0 } else { from };
    let start = from.max(len.saturating_sub(most));
    let mut pass = Pass::default();
    // The line that the window cuts is not read; beginning a byte before finds out if none is.
    let mut cut = start > from;
    let begin = if cut { start - 1 } else { start };
    let mut passed = begin;
    let (at, read) = lines(file, begin, len, |line, at, whole| {
        if std::mem::take(&mut cut) {
            passed = at.end;
            return whole;
        }
        pass.line(line, whole, take)
    })?;
    pass.left_out = passed.saturating_sub(from);
    (pass.at, pass.read) = (at, read);
    Ok(pass)
}

/// The rows in the first `most` bytes, until `take` says false.
pub fn head(path: &Path, most: u64, take: &mut dyn FnMut(Value) -> bool) -> io::Result<Pass> {
    let (file, len) = open(path)?;
    let mut pass = Pass::default();
    let (at, read) = lines(file, 0, len.min(most), |line, _, whole| {
        let mut on = true;
        pass.line(line, whole, &mut |row| on = take(row)) && on
    })?;
    (pass.at, pass.read) = (at, read);
    Ok(pass)
}

impl Pass {
    /// Whether the line could be used, or is over in any case.
    fn line(&mut self, line: &[u8], whole: bool, take: &mut dyn FnMut(Value)) -> bool {
        if line.iter().all(u8::is_ascii_whitespace) {
            return true;
        }
        match row(line) {
            Some(value) => {
                self.rows += 1;
                take(value);
                true
            }
            None => {
                self.broken += u64::from(whole);
                whole
            }
        }
    }
}

/// A row is an object. Text that is no UTF-8 is replaced rather than lost.
fn row(line: &[u8]) -> Option<Value> {
    let value: Option<Value> = match serde_json::from_slice(line) {
        Ok(value) => Some(value),
        Err(_) if std::str::from_utf8(line).is_err() => {
            serde_json::from_str(&String::from_utf8_lossy(line)).ok()
        }
        Err(_) => None,
    };
    value.filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(path: &Path, from: u64, most: u64) -> (Vec<u64>, Pass) {
        let mut out = Vec::new();
        let pass = rows(path, from, most, &mut |v| out.push(v["n"].as_u64().unwrap())).unwrap();
        (out, pass)
    }

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_half_written_row_is_read_when_it_is_whole() {
        let f = file(b"{\"n\":1}\n\n{\"n\":2}\n{\"n\":");
        let (got, pass) = all(f.path(), 0, WINDOW);
        assert_eq!((got, pass.broken, pass.at), (vec![1, 2], 0, 17));
        std::fs::write(f.path(), b"{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}").unwrap();
        let (got, pass) = all(f.path(), pass.at, WINDOW);
        assert_eq!((got, pass.at, pass.left_out), (vec![3], 24, 0), "whole, though its newline is missing");
        std::fs::write(f.path(), b"{\"n\":1}\n\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n").unwrap();
        assert_eq!(all(f.path(), pass.at, WINDOW).0, [4]);
    }

    #[test]
    fn of_a_long_file_the_newest_rows_are_read() {
        let text: String = (10..1010).map(|n| format!("{{\"n\":{n:4}}}\n")).collect();
        let f = file(text.as_bytes());
        // 11 bytes a row: the window begins in one, or exactly before one.
        for (most, first) in [(115, 1000), (110, 1000), (109, 1001)] {
            let (got, pass) = all(f.path(), 0, most);
            assert_eq!(got, (first..1010).collect::<Vec<_>>(), "{most}");
            assert_eq!(pass.left_out, (first - 10) * 11);
            assert!(pass.read <= most + 1);
        }
        assert_eq!(all(f.path(), 11 * 990, 110).1.left_out, 0);
        assert_eq!(all(f.path(), u64::MAX, WINDOW).0.len(), 1000, "a shorter file is a new one");
    }

    #[test]
    fn what_is_no_row_is_counted_and_passed_over() {
        let mut text = b"no\n[1]\n\"x\"\n".to_vec();
        text.extend(b"{\"n\":1,\"t\":\"\xff\"}\n");
        text.extend([b'['; 100_000]);
        text.extend(b"\n{\"n\":2}\n");
        let (got, pass) = all(file(&text).path(), 0, WINDOW);
        assert_eq!((got, pass.broken), (vec![1, 2], 4));
        let mut long = vec![b'x'; ROW + 10];
        long.extend(b"\n{\"n\":3}\n");
        assert_eq!(all(file(&long).path(), 0, WINDOW).0, [3]);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&pipe).is_err() && open(dir.path()).is_err() && open(Path::new("/dev/zero")).is_err());
        let round = dir.path().join("round");
        std::os::unix::fs::symlink(&round, &round).unwrap();
        assert!(open(&round).is_err());
        assert!(seen(pipe).is_none() && seen(round).is_none() && seen(dir.path().into()).is_none());
    }
}
