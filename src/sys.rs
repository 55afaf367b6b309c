//! The system calls that no safe wrapper has. The only place for `unsafe`; each says why it is
//! sound.

/// Marks every descriptor above standard error close-on-exec, so that a child gets none that
/// this process was itself handed by its caller. Best effort: before Linux 5.11 nothing happens.
#[allow(unsafe_code)]
pub fn keep_descriptors_from_children() {
    // SAFETY: takes numbers only, closes nothing, and no memory is shared with the kernel.
    unsafe {
        libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int);
    }
}
