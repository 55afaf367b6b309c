//! Exit statuses of states: what a script that waits needs to know, as one number.

use crate::exit;

pub const BLOCKED: u8 = exit::BLOCKED;

/// By the first word of a state, as `wait` prints it. A state in which work can go on, or of which
/// nothing is known, is 0.
pub fn status(state: &str) -> u8 {
    match state.split_whitespace().next() {
        Some("blocked") => BLOCKED,
        Some("limited") => exit::LIMITED,
        Some("exited" | "stopped" | "ended") => exit::OVER,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_status() {
        for (state, want) in [
            ("ready", 0),
            ("unknown", 0),
            ("blocked", 10),
            ("limited", 11),
            ("exited 127", 12),
            ("exited signal 9", 12),
            ("stopped", 12),
            ("ended", 12),
            ("", 0),
        ] {
            assert_eq!(status(state), want, "{state}");
        }
    }
}
