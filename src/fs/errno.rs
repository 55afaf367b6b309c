//! Which errno each kind of error is, and back for those who read a mount. The one such table of
//! this door; knows no texts.

use muxfs_tree::base::error::Kind;

/// docs/tree.md, "Errors".
pub fn errno(kind: Kind) -> i32 {
    match kind {
        Kind::NotFound => libc::ENOENT,
        Kind::Gone => libc::ENXIO,
        Kind::Stale => libc::ESTALE,
        Kind::Unreachable => libc::EHOSTDOWN,
        // The door looks first; what is unknown after that is not to be had.
        Kind::Unknown | Kind::TimedOut => libc::ETIMEDOUT,
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

/// What an errno of a file of a mount means. Those that no kind has are the kernel's own.
pub fn kind(errno: i32) -> Kind {
    match errno {
        libc::ENOENT => Kind::NotFound,
        libc::ENXIO => Kind::Gone,
        libc::ESTALE => Kind::Stale,
        libc::EHOSTDOWN | libc::ENOTCONN => Kind::Unreachable, // ENOTCONN: the mount's daemon died
        libc::ETIMEDOUT => Kind::TimedOut,
        libc::EACCES => Kind::Denied,
        libc::EPERM => Kind::Never,
        libc::EBUSY => Kind::Busy,
        libc::EINVAL => Kind::Invalid,
        libc::EILSEQ => Kind::NotUtf8,
        libc::EFBIG => Kind::TooLarge,
        libc::EAGAIN => Kind::Full,
        libc::EEXIST => Kind::Exists,
        libc::ENOTDIR => Kind::NotDir,
        libc::EISDIR => Kind::IsDir,
        libc::ENOTEMPTY => Kind::NotEmpty,
        libc::ENOSPC | libc::EDQUOT => Kind::NoSpace,
        libc::EROFS => Kind::ReadOnly,
        libc::EINTR => Kind::Interrupted,
        _ => Kind::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_one_table() {
        for n in 1..200 {
            let (there, alias) = (errno(kind(n)), [libc::ENOTCONN, libc::EDQUOT].contains(&n));
            assert!(there == n || there == libc::EIO || alias, "{n}: {there}");
        }
        let kinds = [
            Kind::NotFound,
            Kind::Gone,
            Kind::Stale,
            Kind::Unreachable,
            Kind::TimedOut,
            Kind::Denied,
            Kind::Never,
            Kind::Busy,
            Kind::Invalid,
            Kind::NotUtf8,
            Kind::TooLarge,
            Kind::Full,
            Kind::Exists,
            Kind::NotDir,
            Kind::IsDir,
            Kind::NotEmpty,
            Kind::NoSpace,
            Kind::ReadOnly,
            Kind::Interrupted,
            Kind::Bug,
        ];
        assert!(Kind::TABLE.iter().map(|(kind, _)| kind).eq(&kinds), "the manual has each in this order");
        assert!(kinds.iter().all(|k| kind(errno(*k)) == *k));
    }
}
