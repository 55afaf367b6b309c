//! The few system calls that need `unsafe`, each with the reason why it is sound.
//!
//! Must not know what they are used for.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use tokio::io::unix::AsyncFd;

/// Owns a descriptor that arrived by SCM_RIGHTS.
///
/// Sound: the kernel installed it in this process's table just now for this very message, so
/// nothing else owns it. Callers pass only what `recvmsg` gave them, once.
pub fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: as above.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Registers a descriptor with the runtime.
///
/// Sound: tokio asks that the descriptor stays open and the same until the registration is
/// dropped, and an `OwnedFd` moved into it is just that.
pub fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

/// Marks every descriptor above standard error close-on-exec, so that a child gets none that
/// this process was itself handed by its caller. Best effort: before Linux 5.11 nothing happens.
pub fn keep_descriptors_from_children() {
    // SAFETY: takes numbers only, closes nothing, and no memory is shared with the kernel.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int);
    }
}
