//! The error every operation of the tree ends in: a kind, what was wrong, and the source.
//!
//! Knows no errno, HTTP status or exit code: each door has one exhaustive match of its own.

use std::fmt;

/// What went wrong, as a caller can act on it. A closed set: TREE.md, "Errors".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No such name.
    NotFound,
    /// The object ended after it was opened (or has no main pane any more).
    Gone,
    /// The inode was replaced by another of the same name.
    Stale,
    /// The node that holds it cannot be reached.
    Unreachable,
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

    /// An I/O failure on our own state, told apart where a caller can act on it.
    pub fn io(what: impl fmt::Display, err: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match err.kind() {
            E::NotFound => Kind::NotFound,
            E::PermissionDenied => Kind::Denied,
            E::StorageFull | E::QuotaExceeded => Kind::NoSpace,
            E::ReadOnlyFilesystem => Kind::ReadOnly,
            E::AlreadyExists => Kind::Exists,
            E::TimedOut => Kind::TimedOut,
            E::Interrupted => Kind::Interrupted,
            _ => Kind::Bug,
        };
        Error::new(kind, format!("{what}: {err}")).because(err)
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
