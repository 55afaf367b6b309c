//! Random text that nobody can guess: tokens of pipes, marks between replies, separators of fields. And
//! the way by which secret text reaches another process of the user's.
//!
//! Knows the kernel's random source and its files in memory, and nothing of the uses.

use muxfs_tree::base::error::{Error, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// Length of a secret: 128 bits in hex.
pub(super) const SECRET: usize = 32;

pub(super) fn secret() -> Result<String> {
    let mut bytes = [0; SECRET / 2];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .map_err(|e| Error::io("/dev/urandom", e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A file that is on no disk. Another process of ours opens it at [`path_of`].
pub(super) fn memory_file(text: &[u8]) -> Result<OwnedFd> {
    let io = |e: std::io::Error| Error::io("memory file", e);
    let fd = memfd_create(c"muxfs", MFdFlags::MFD_CLOEXEC).map_err(|e| io(e.into()))?;
    let mut file = std::fs::File::from(fd);
    file.write_all(text).map_err(io)?;
    Ok(file.into())
}

/// Where the user's other processes find a file of this one, while it is open.
pub(super) fn path_of(file: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
