//! Takes a lock again and again while the process that held it is ending.
//!
//! Knows neither how a lock is taken nor who holds it.

use std::time::{Duration, Instant};

use crate::base::error::Result;

/// How long the lock of a dead or ending holder may last. A child that a dead one was just starting
/// has the lock's descriptor too, until its exec closes it; an ending one waits up to 3.5 s for tmux.
const LEFT_OVER: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// Calls `take` until it gives something. It is called again only while `left` says that the lock's holder
/// is ending, and for 5 s at most.
pub fn take_left<T>(
    mut take: impl FnMut() -> Result<Option<T>>,
    mut left: impl FnMut() -> bool,
) -> Result<Option<T>> {
    let begun = Instant::now();
    loop {
        let taken = take()?;
        if taken.is_some() || begun.elapsed() >= LEFT_OVER || !left() {
            return Ok(taken);
        }
        std::thread::park_timeout(AGAIN);
    }
}
