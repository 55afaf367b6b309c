//! Opening files that a user, an agent or another process may have made, so that none of them can
//! hold the caller up or lead it elsewhere.
//!
//! A file is opened only when it is a regular one: a FIFO, a terminal or a device is refused before
//! its driver notices. No open waits (for a FIFO's other end, for the holder of a lease), and every
//! read has a bound. Must not know what a file means, nor who made it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Whether the last part of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// For what a person lays down and may keep elsewhere: a config, a manifest, an agent's home.
    Follow,
    /// For what muxfs or an agent makes itself: records, books, logs, locks, status files.
    Refuse,
}

/// An open that does not wait and makes no terminal ours.
const QUIET: i32 = libc::O_NONBLOCK | libc::O_NOCTTY;

/// Opens a regular file for reading.
///
/// The path is resolved first and judged, then what was judged is opened, so nothing is opened by
/// chance in between.
///
/// # Errors
/// Those of open(2); `InvalidInput` for anything but a regular file, with its type.
pub fn open(path: &Path, links: Links) -> io::Result<File> {
    let follow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH | follow).open(path)?;
    judge(&place.metadata()?)?;
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(QUIET).open(place)
}

/// Opens a regular file as `options` say, which may make it. A symbolic link is refused. The
/// custom flags of `options` are replaced.
///
/// # Errors
/// As [`open`]; ELOOP for a symbolic link.
pub fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(QUIET | libc::O_NOFOLLOW).open(path)?;
    judge(&file.metadata()?)?;
    Ok(file)
}

/// The whole of a file of at most `most` bytes.
///
/// # Errors
/// As [`open`]; `FileTooLarge` for a longer one.
pub fn read(path: &Path, links: Links, most: u64) -> io::Result<Vec<u8>> {
    rest(open(path, links)?, most)
}

/// The same as text.
///
/// # Errors
/// As [`read`]; `InvalidData` for bytes that are not UTF-8.
pub fn read_text(path: &Path, links: Links, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, links, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "not UTF-8"))
}

/// What is left of an open file, at most `most` bytes; more is `FileTooLarge`.
pub fn rest(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok(bytes)
}

/// The entries of a directory in no order, `most` of them, and whether there were more.
///
/// # Errors
/// Those of opendir(3).
#[expect(clippy::disallowed_methods, reason = "the one place: its callers are threads that may wait")]
pub fn list(dir: &Path, most: usize) -> io::Result<(Vec<PathBuf>, bool)> {
    let mut entries = std::fs::read_dir(dir)?;
    let found: Vec<PathBuf> = entries.by_ref().take(most).flatten().map(|entry| entry.path()).collect();
    Ok((found, entries.next().is_some()))
}

fn judge(meta: &Metadata) -> io::Result<()> {
    let kind = meta.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_symlink() {
        "a symbolic link, which may not stand here"
    } else if kind.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "a directory, not a file"));
    } else if kind.is_fifo() {
        "a FIFO, not a regular file"
    } else if kind.is_socket() {
        "a socket, not a regular file"
    } else {
        "a device, not a regular file"
    };
    Err(io::Error::new(ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    fn refused(path: &Path, links: Links, word: &str) {
        let error = read(path, links, 100).unwrap_err();
        assert!(
            error.kind() == ErrorKind::InvalidInput && error.to_string().contains(word),
            "{path:?}: {error}"
        );
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("fifo", at("to_fifo")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();

        assert_eq!(read_text(&at("file"), Links::Refuse, 4).unwrap(), "text");
        assert_eq!(read_text(&at("link"), Links::Follow, 4).unwrap(), "text");
        refused(&at("link"), Links::Refuse, "symbolic link");
        refused(&at("fifo"), Links::Refuse, "FIFO");
        refused(&at("to_fifo"), Links::Follow, "FIFO");
        refused(&at("socket"), Links::Refuse, "socket");
        refused(&at("zero"), Links::Follow, "device");
        assert_eq!(read(dir.path(), Links::Follow, 9).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&at("none"), Links::Follow, 9).unwrap_err().kind(), ErrorKind::NotFound);

        let mut append = OpenOptions::new();
        append.append(true).create(true);
        for name in ["fifo", "link", "to_fifo", "zero", "socket"] {
            assert!(open_with(&mut append, &at(name)).is_err(), "{name}");
        }
        open_with(append.read(true), &at("fifo")).unwrap_err();
        open_with(&mut append, &at("new")).unwrap();
    }

    #[test]
    fn a_read_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, Links::Refuse, 5).unwrap(), b"12345");
        assert_eq!(read(&path, Links::Refuse, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        // Sparse: a terabyte that takes no room.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path, Links::Refuse, 1 << 20).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let (found, more) = list(dir.path(), 1).unwrap();
        assert_eq!((found, more), (vec![path], false));
        std::fs::write(dir.path().join("second"), "").unwrap();
        assert!(list(dir.path(), 1).unwrap().1);
    }
}
