//! Which errno each kind of error is. The one such table of this door; knows no texts.

use crate::error::Kind;

/// TREE.md, "Errors".
pub fn errno(kind: Kind) -> i32 {
    match kind {
        Kind::NotFound => libc::ENOENT,
        Kind::Gone => libc::ENXIO,
        Kind::Stale => libc::ESTALE,
        Kind::Unreachable => libc::EHOSTDOWN,
        Kind::TimedOut => libc::ETIMEDOUT,
        Kind::Denied => libc::EACCES,
        Kind::Never => libc::EPERM,
        Kind::Busy => libc::EBUSY,
        Kind::Invalid => libc::EINVAL,
        Kind::NotUtf8 => libc::EILSEQ,
        Kind::TooLarge => libc::EFBIG,
        Kind::Full => libc::EAGAIN,
        Kind::Exists => libc::EEXIST,
        Kind::NotDir => libc::ENOTDIR,
        Kind::IsDir => libc::EISDIR,
        Kind::NotEmpty => libc::ENOTEMPTY,
        Kind::NoSpace => libc::ENOSPC,
        Kind::ReadOnly => libc::EROFS,
        Kind::Interrupted => libc::EINTR,
        Kind::Bug => libc::EIO,
    }
}
