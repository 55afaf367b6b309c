//! The error every operation of the tree ends in: a kind, what was wrong, and the source.
//!
//! Knows no errno, HTTP status or exit code: each door has one exhaustive match of its own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, as a caller can act on it. A closed set: docs/tree.md, "Errors".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No such name.
    NotFound,
    /// The object ended after it was opened (or has no main pane any more).
    Gone,
    /// The inode was replaced by another of the same name.
    Stale,
    /// The node that holds it cannot be reached.
    Unreachable,
    /// It is not known here yet: `Tree::look` fetches it. An answer between a tree and a door; no
    /// user ever sees it.
    Unknown,
    /// A deadline passed.
    TimedOut,
    /// The caller may not.
    Denied,
    /// Nobody may: the tree has no such operation.
    Never,
    /// Not now: a dialog is open, or the session is somebody else's.
    Busy,
    /// Text, verb, key or config that cannot be understood.
    Invalid,
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Larger than the stated bound.
    TooLarge,
    /// A queue or quota is full; try again later.
    Full,
    /// The name is taken, or was used before.
    Exists,
    NotDir,
    IsDir,
    NotEmpty,
    /// The disk under our state is full.
    NoSpace,
    /// The disk under our state, or the mount, is read-only.
    ReadOnly,
    /// The caller was interrupted by a signal.
    Interrupted,
    /// A fault of ours. Nothing a caller does should lead here.
    Bug,
}

impl Kind {
    /// What each means to whoever meets it, for the manual; all but `Unknown`, which nobody meets.
    pub const TABLE: &'static [(Kind, &'static str)] = &[
        (Kind::NotFound, "There is no such session or file."),
        (Kind::Gone, "The session, the tmux server or the state directory is gone."),
        (Kind::Stale, "The file was replaced while it was open."),
        (Kind::Unreachable, "The node is not connected."),
        (Kind::TimedOut, "A time limit passed: nothing was done, or errors says what may have been."),
        (Kind::Denied, "The permission bits do not let you, or the file's shape has no such operation."),
        (Kind::Never, "Nobody may: there is no such operation in this directory."),
        (
            Kind::Busy,
            "Not now: rmdir of a session that others made, steer while the agent asks, a rename of a prompt that is being typed.",
        ),
        (Kind::Invalid, "A name, verb, key or config that cannot be understood."),
        (Kind::NotUtf8, "Bytes that are not UTF-8."),
        (Kind::TooLarge, "A message of more than 1 MiB."),
        (Kind::Full, "A queue is full; try again."),
        (Kind::Exists, "The name is taken, or was used before."),
        (Kind::NotDir, "It is no directory."),
        (Kind::IsDir, "It is a directory."),
        (Kind::NotEmpty, "The directory is not empty."),
        (Kind::NoSpace, "The disk is full."),
        (Kind::ReadOnly, "The mount is read-only."),
        (Kind::Interrupted, "A signal ended the wait."),
        (Kind::Bug, "A fault of muxfs."),
    ];

    fn of(err: &std::io::Error) -> Kind {
        use std::io::ErrorKind as E;
        match err.kind() {
            E::NotFound => Kind::NotFound,
            E::PermissionDenied => Kind::Denied,
            E::StorageFull | E::QuotaExceeded => Kind::NoSpace,
            E::ReadOnlyFilesystem => Kind::ReadOnly,
            E::AlreadyExists => Kind::Exists,
            E::NotADirectory => Kind::NotDir,
            E::IsADirectory => Kind::IsDir,
            E::DirectoryNotEmpty => Kind::NotEmpty,
            E::FileTooLarge => Kind::TooLarge,
            E::InvalidInput | E::InvalidData | E::InvalidFilename | E::ArgumentListTooLong => Kind::Invalid,
            E::WouldBlock | E::OutOfMemory => Kind::Full,
            E::ResourceBusy | E::ExecutableFileBusy | E::AddrInUse | E::Deadlock => Kind::Busy,
            E::TimedOut => Kind::TimedOut,
            E::Interrupted => Kind::Interrupted,
            E::StaleNetworkFileHandle | E::BrokenPipe | E::UnexpectedEof | E::WriteZero => Kind::Gone,
            E::ConnectionRefused | E::ConnectionReset | E::ConnectionAborted | E::NotConnected => Kind::Gone,
            E::Unsupported => Kind::Never,
            _ => match err.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS) => Kind::Full,
                // A disk, or the server behind it, that answers no more.
                Some(libc::EIO | libc::ENXIO | libc::ENODEV | libc::EREMOTEIO | libc::ESHUTDOWN) => {
                    Kind::Gone
                }
                Some(libc::ELOOP | libc::EOVERFLOW) => Kind::Invalid,
                _ => Kind::Bug,
            },
        }
    }
}

/// A refusal or failure. `Display` is the public text: it goes into `errors` and to callers,
/// so it never holds a secret. The source is for the log alone.
#[derive(Debug, Clone)]
pub struct Error {
    pub kind: Kind,
    text: String,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Error { kind, text: text.into(), source: None }
    }

    /// Keeps the cause for the log without showing it to the caller.
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(std::sync::Arc::new(source));
        self
    }

    /// The public text, one line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A failure of the system underneath: a disk, a limit, a program that cannot be run. Each has
    /// a kind, so that a caller never hears of a fault of muxfs where the machine has one.
    pub fn io(what: impl fmt::Display, err: std::io::Error) -> Self {
        let kind = Kind::of(&err);
        let hint = match err.raw_os_error() {
            Some(libc::EMFILE) => " (muxfs has used up its open files: raise LimitNOFILE= or ulimit -n)",
            Some(libc::ENFILE) => " (the machine has used up its open files: raise fs.file-max)",
            Some(libc::EIO) => " (the disk fails: see dmesg(1))",
            _ => "",
        };
        Error::new(kind, format!("{what}: {err}{hint}")).because(err)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

/// Shorthand: `fail(Kind::Invalid, format!("…"))`.
pub fn fail<T>(kind: Kind, text: impl Into<String>) -> Result<T> {
    Err(Error::new(kind, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_may_do_to_us_is_no_bug_of_ours() {
        let of = |errno| Error::io("state", std::io::Error::from_raw_os_error(errno));
        for errno in [
            libc::ENOENT,
            libc::EACCES,
            libc::EPERM,
            libc::ENOSPC,
            libc::EDQUOT,
            libc::EROFS,
            libc::EEXIST,
            libc::ENOTDIR,
            libc::EISDIR,
            libc::ENOTEMPTY,
            libc::EFBIG,
            libc::EINVAL,
            libc::ENAMETOOLONG,
            libc::E2BIG,
            libc::EAGAIN,
            libc::ENOMEM,
            libc::EBUSY,
            libc::ETXTBSY,
            libc::ESTALE,
            libc::EPIPE,
            libc::ECONNREFUSED,
            libc::EMFILE,
            libc::ENFILE,
            libc::EIO,
            libc::ELOOP,
            libc::EOPNOTSUPP,
            libc::ENOSYS,
        ] {
            assert_ne!(of(errno).kind, Kind::Bug, "{}", of(errno));
        }
        assert_eq!(of(libc::EMFILE).kind, Kind::Full);
        assert!(of(libc::EMFILE).text().contains("ulimit"));
    }
}
