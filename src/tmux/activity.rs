//! How long ago people typed, whatever becomes of the clock.
//!
//! Knows what tmux reports of its clients. Must not know whose turn it is, or what was typed.
//!
//! tmux reports the wall clock's second of a client's last key. A clock that was set makes that a
//! time in the future or long ago. So the second is only compared: where it is another than at the
//! last look, the client typed since then, and from then on our own monotonic clock counts.

use super::actor::Server;
use super::command::Command;
use muxfs_tree::base::error::{Kind, Result, fail};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What was seen of each client, by name.
#[derive(Debug, Default)]
pub(super) struct Activity {
    clients: HashMap<String, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The second of its last key, as tmux reported it.
    key: u64,
    /// When that key was sent at the latest.
    at: Instant,
    looked: Instant,
}

impl Activity {
    /// How long ago each client sent a key. `wall`: the server's clock now, in whole seconds;
    /// `told`: every client, with the second of its last key.
    fn ago<'a>(&mut self, told: &[(&'a str, u64)], wall: u64, now: Instant) -> Vec<(&'a str, Duration)> {
        self.clients.retain(|name, _| told.iter().any(|(here, _)| here == name));
        told.iter()
            .map(|&(name, key)| {
                let old = self.clients.get(name);
                let at = match old {
                    Some(old) if old.key == key => old.at,
                    // A key in the future was sent before the clock was set, or just now.
                    _ => {
                        let ago = Duration::from_secs(wall.saturating_sub(key));
                        let longest = old.map_or(ago, |old| now.saturating_duration_since(old.looked));
                        now.checked_sub(ago.min(longest)).unwrap_or(now)
                    }
                };
                self.clients.insert(name.to_owned(), Seen { key, at, looked: now });
                (name, now.saturating_duration_since(at))
            })
            .collect()
    }
}

/// How long ago a person's client that shows this pane sent a key: about, because tmux keeps whole
/// seconds. None where no such client is attached.
pub async fn typed_recently(server: &Server, pane: &str) -> Result<Option<Duration>> {
    let format = "#{client_control_mode} #{window_id} #{client_activity} #{client_name}";
    let line = Command::new("display-message")
        .args(["-p", "-t", pane, "#{window_id} %s"])
        .then(Command::new("list-clients").args(["-F", format]));
    let bodies = server.run_each(line).await?;
    let [shown, clients] = &bodies[..] else {
        return fail(Kind::Bug, format!("two commands, {} answers from tmux", bodies.len()));
    };
    let shown = String::from_utf8_lossy(shown);
    let (window, wall) = shown.trim_end().split_once(' ').unwrap_or_default();
    let clients = String::from_utf8_lossy(clients);
    let (windows, told): (Vec<&str>, Vec<(&str, u64)>) = clients.lines().filter_map(person).unzip();
    let ago = server.activity(|a| a.ago(&told, wall.parse().unwrap_or(0), Instant::now()));
    Ok(windows.iter().zip(ago).filter(|(w, _)| **w == window).map(|(_, (_, ago))| ago).min())
}

/// The window that a person's client shows, its name and the second of its last key.
fn person(line: &str) -> Option<(&str, (&str, u64))> {
    let mut fields = line.splitn(4, ' ');
    let (control, window, key, name) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    (control == "0").then_some((window, (name, key.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn a_clock_that_was_set_back_holds_nobody() {
        let t = Instant::now() + S(1000);
        let mut a = Activity::default();
        assert_eq!(a.ago(&[("a", 1000)], 1005, t), [("a", S(5))]);
        // 600 s back: the same key is in the future now.
        assert_eq!(a.ago(&[("a", 1000)], 408, t + S(3)), [("a", S(8))]);
        // Seen for the first time only then: nothing is known of it, and that passes.
        assert_eq!(a.ago(&[("a", 1000), ("b", 1000)], 409, t + S(4)), [("a", S(9)), ("b", S(0))]);
        assert_eq!(a.ago(&[("b", 1000)], 412, t + S(7)), [("b", S(3))]);
        // It types again, by the clock of now.
        assert_eq!(a.ago(&[("b", 413)], 413, t + S(8)), [("b", S(0))]);
        assert_eq!(a.clients.len(), 1, "who left is forgotten");
    }

    #[test]
    fn a_clock_that_was_set_forward_hides_nobody() {
        let t = Instant::now() + S(1000);
        let mut a = Activity::default();
        a.ago(&[("a", 1000)], 1005, t);
        // A key, then 600 s forward: it was sent after the last look.
        assert_eq!(a.ago(&[("a", 1006)], 1607, t + S(2)), [("a", S(2))]);
    }
}
