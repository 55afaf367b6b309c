//! Until when a line may run, said in the line itself and in the server's own clock.
//!
//! Knows formats and times; must not know connections, or what a line does.
//!
//! A line waits in tmux's pipe for as long as the server is stopped. Its sender got `TimedOut` long ago
//! and may have sent it again. So a line that changes
//! something begins with a command that fails when the server's clock is past the deadline, and
//! a failure makes tmux drop the rest of the line.

use super::command::{Command, Line};
use std::time::Instant;

/// An option of the hidden session, which tmux expands to the server's time in whole seconds.
pub const OPTION: &str = "@muxfs_now";
pub const VALUE: &str = "%s";
/// No command of tmux: where it is run, the line ends with an error that names it.
const LATE: &str = "muxfs-late";

/// The server's clock, as its last answer reported it. The server may run in another time than ours
/// (a test, a container, a clock that was just set).
#[derive(Debug, Default)]
pub struct ServerClock {
    last: Option<(u64, Instant)>,
}

impl ServerClock {
    /// The server said `epoch`, in whole seconds, and that was read at `now`.
    pub fn set(&mut self, epoch: u64, now: Instant) {
        self.last = Some((epoch, now));
    }

    /// The second at whose beginning the server is to run nothing more of what ends at `until`:
    /// never later than that, and up to 1 s and the answer's way earlier, because `epoch` had
    /// begun when it was printed. None before the first answer.
    pub fn at(&self, until: Instant) -> Option<u64> {
        let (epoch, then) = self.last?;
        Some(epoch + until.saturating_duration_since(then).as_secs())
    }
}

/// The beginning of a line that is to run before the second `deadline` alone.
pub fn before(deadline: u64) -> Line {
    let early = format!("#{{e|<:#{{T:{OPTION}}},{deadline}}}");
    Line::from(Command::new("if-shell").args(["-F", &early, "", LATE]))
}

/// Whether an error of tmux says that the line came after its deadline.
pub fn is_late(text: &str) -> bool {
    text.contains(LATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_is_never_later_than_asked() {
        let t = Instant::now();
        let mut clock = ServerClock::default();
        assert_eq!(clock.at(t), None);
        // 100.9 by the server's clock: only 100 was reported.
        clock.set(100, t);
        assert_eq!(clock.at(t + Duration::from_secs(10)), Some(110));
        assert_eq!(clock.at(t + Duration::from_millis(10_999)), Some(110));
        // The server's clock was set back: the next answer says so.
        clock.set(40, t + Duration::from_secs(1));
        assert_eq!(clock.at(t + Duration::from_secs(11)), Some(50));
    }
}
