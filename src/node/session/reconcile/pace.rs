//! When tmux is asked about everything again, and about which part of it before that.
//!
//! Pure: the clock is an argument, and so is what was heard. Must not know how tmux is asked.
//!
//! A look at everything costs tmux some 0.05 ms a pane, however little happens. So it is had as
//! seldom as its cost asks for, and what shows a sign of life is looked at alone meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::time::{Duration, Instant};

use muxfs_tmux::ClientInfo;

/// How often it is decided what is due: where something was printed or typed it is looked at within 1 s.
pub(in super::super) const TICK: Duration = Duration::from_millis(700);
/// Looks at everything take tmux one part in so many of its time, and less than that ...
const SHARE: u32 = 70;
/// ... until they are so far apart: with the tick that follows nothing is seen later than after 5 s.
const SLOWEST: Duration = Duration::from_secs(4);
/// What a person typed may show its effect so much later: a command splits a window when it runs.
const EFFECT: Duration = Duration::from_secs(2);
/// Windows of a tick that are looked at because nobody tells whether they print.
const UNHEARD: usize = 5;

/// Whether a pane printed since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Heard {
    Printed,
    Silent,
    /// It has no pipe of ours: nobody tells.
    Nothing,
}

#[derive(Debug, Default)]
pub(in super::super) struct Pace {
    /// When everything is due; at once at first.
    everything: Option<Instant>,
    /// Clients of people by name, and until when what they show is looked at.
    clients: HashMap<String, (ClientInfo, Instant)>,
    /// The last window that was looked at because nobody tells.
    turn: String,
}

impl Pace {
    /// A look at everything began at `begun` and took tmux `cost`.
    pub fn looked(&mut self, begun: Instant, cost: Duration) {
        let pause = cost * SHARE;
        let pause = if pause <= TICK { Duration::ZERO } else { pause.min(SLOWEST) };
        self.everything = Some(begun + pause);
    }

    pub fn everything_is_due(&self, now: Instant) -> bool {
        self.everything.is_none_or(|at| at <= now)
    }

    /// The sessions that are shown by clients that typed a moment ago (or came, or changed in size).
    /// `told`: all clients. tmux tells whole seconds of typing, so a second key of the second is not
    /// told apart: what a client shows is looked at for longer than that.
    pub fn typed(&mut self, told: &[ClientInfo], now: Instant) -> BTreeSet<String> {
        self.clients.retain(|name, _| told.iter().any(|c| c.name == *name));
        for client in told.iter().filter(|c| !c.control) {
            if self.clients.get(&client.name).is_none_or(|(old, _)| old != client) {
                self.clients.insert(client.name.clone(), (client.clone(), now + EFFECT));
            }
        }
        self.clients.values().filter(|(_, until)| now < *until).map(|(c, _)| c.session.clone()).collect()
    }

    /// The windows that are due, from all panes' windows and what was heard of each. Those of which
    /// nobody tells come in turn, a few a tick.
    pub fn windows(&mut self, panes: impl IntoIterator<Item = (String, Heard)>) -> BTreeSet<String> {
        let (mut due, mut unheard) = (BTreeSet::new(), BTreeSet::new());
        for (window, heard) in panes {
            match heard {
                Heard::Printed => _ = due.insert(window),
                Heard::Nothing => _ = unheard.insert(window),
                Heard::Silent => {}
            }
        }
        let turn = self.turn.as_str();
        let after = unheard.range::<str, _>((Bound::Excluded(turn), Bound::Unbounded));
        let before = unheard.range::<str, _>((Bound::Unbounded, Bound::Included(turn)));
        let taken: Vec<String> = after.chain(before).take(UNHEARD).cloned().collect();
        if let Some(last) = taken.last() {
            self.turn.clone_from(last);
        }
        due.extend(taken);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The time from a look of this cost to the next one, as the ticks come.
    fn next(cost: Duration) -> Duration {
        let (mut pace, t) = (Pace::default(), Instant::now());
        pace.looked(t, cost);
        let tick = (1..100).map(|n| TICK * n).find(|at| pace.everything_is_due(t + *at));
        tick.expect("it is due some day")
    }

    #[test]
    fn everything_is_due_at_first() {
        assert!(Pace::default().everything_is_due(Instant::now()));
    }

    #[test]
    fn few_panes_are_all_looked_at_each_tick() {
        assert_eq!(next(Duration::ZERO), TICK);
        assert_eq!(next(MS(1)), TICK);
        assert_eq!(next(MS(10)), TICK);
    }

    #[test]
    fn many_panes_take_no_more_of_tmux_than_their_share() {
        for ms in 11..=70 {
            let pause = next(MS(ms));
            assert!(pause > TICK && MS(ms) * 60 <= pause.max(MS(4200)), "{ms} ms each {pause:?}");
        }
        assert_eq!(next(MS(45)), MS(3500), "1,000 panes");
    }

    #[test]
    fn nothing_is_looked_at_later_than_after_five_seconds() {
        assert!(next(MS(200)) < Duration::from_secs(5));
        assert!(next(Duration::from_secs(60)) < Duration::from_secs(5));
    }

    #[test]
    fn a_look_between_two_ticks_does_not_put_the_next_one_off_where_it_is_cheap() {
        let (mut pace, t) = (Pace::default(), Instant::now());
        pace.looked(t + MS(600), MS(1));
        assert!(pace.everything_is_due(t + TICK));
        pace.looked(t + MS(600), MS(30));
        assert!(!pace.everything_is_due(t + TICK) && !pace.everything_is_due(t + MS(2600)));
        assert!(pace.everything_is_due(t + MS(2700)));
    }

    fn client(name: &str, session: &str, activity: u64) -> ClientInfo {
        ClientInfo { name: name.into(), session: session.into(), activity, ..ClientInfo::default() }
    }

    fn set(all: &[&str]) -> BTreeSet<String> {
        all.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn what_a_client_shows_is_due_from_its_key_until_that_had_its_effect() {
        let (mut pace, t) = (Pace::default(), Instant::now());
        let rest = [client("a", "$1", 10), client("b", "$2", 20)];
        assert_eq!(pace.typed(&rest, t), set(&["$1", "$2"]), "they came");
        assert_eq!(pace.typed(&rest, t + MS(1999)), set(&["$1", "$2"]));
        assert_eq!(pace.typed(&rest, t + MS(2000)), set(&[]), "they rest");
        let typed = [client("a", "$1", 13), client("b", "$2", 20)];
        assert_eq!(pace.typed(&typed, t + MS(3000)), set(&["$1"]));
        assert_eq!(pace.typed(&typed, t + MS(3700)), set(&["$1"]), "another key of that second is not told");
        assert_eq!(pace.typed(&typed, t + MS(5000)), set(&[]));
    }

    #[test]
    fn another_session_size_or_clock_counts_as_typing() {
        let (mut pace, t) = (Pace::default(), Instant::now());
        pace.typed(&[client("a", "$1", 10)], t);
        assert_eq!(pace.typed(&[client("a", "$2", 10)], t + MS(5000)), set(&["$2"]));
        let larger = ClientInfo { width: 200, ..client("a", "$2", 10) };
        assert_eq!(pace.typed(std::slice::from_ref(&larger), t + MS(10_000)), set(&["$2"]));
        let back = ClientInfo { activity: 3, ..larger };
        assert_eq!(pace.typed(&[back], t + MS(15_000)), set(&["$2"]), "the clock was set back");
    }

    #[test]
    fn programs_clients_do_not_count_and_who_left_is_forgotten() {
        let (mut pace, t) = (Pace::default(), Instant::now());
        let program = ClientInfo { control: true, ..client("c", "$3", 10) };
        assert_eq!(pace.typed(&[program], t), set(&[]));
        pace.typed(&[client("a", "$1", 10)], t);
        assert_eq!(pace.typed(&[], t), set(&[]));
        assert!(pace.clients.is_empty());
    }

    fn panes(all: &[(&str, Heard)]) -> Vec<(String, Heard)> {
        all.iter().map(|(window, heard)| ((*window).to_owned(), *heard)).collect()
    }

    #[test]
    fn the_windows_of_panes_that_printed_are_due_each_once() {
        let mut pace = Pace::default();
        let all =
            [("@1", Heard::Silent), ("@2", Heard::Printed), ("@2", Heard::Printed), ("@2", Heard::Silent)];
        assert_eq!(pace.windows(panes(&all)), set(&["@2"]));
        assert_eq!(pace.windows(panes(&[("@1", Heard::Silent)])), set(&[]));
        assert_eq!(pace.windows([]), set(&[]));
    }

    #[test]
    fn windows_of_which_nobody_tells_come_in_turn() {
        let mut pace = Pace::default();
        let names: Vec<String> = (10..23).map(|n| format!("@{n}")).collect();
        let all = || names.iter().map(|w| (w.clone(), Heard::Nothing));
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let due = pace.windows(all());
            assert_eq!(due.len(), UNHEARD);
            seen.extend(due);
        }
        assert_eq!(seen.len(), 13, "every one within three ticks");
        let printed = ("@99".to_owned(), Heard::Printed);
        let due = pace.windows(all().chain([printed]));
        assert!(due.contains("@99") && due.len() == UNHEARD + 1, "who prints does not wait for them");
        assert_eq!(
            pace.windows(panes(&[("@1", Heard::Nothing)])),
            set(&["@1"]),
            "the only one is due each tick"
        );
        assert_eq!(pace.windows(panes(&[("@1", Heard::Nothing)])), set(&["@1"]));
    }
}
