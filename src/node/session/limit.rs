//! What keeps an agent from working: why, by what it is known, since when, until when.
//!
//! Pure, its clocks arguments. A notice on the screen counts while it stands there. What a record or a
//! hook reports counts until something shows that it is over, because the notice may have been wrapped,
//! scrolled off or cleared away. Must not know panes, nor what is done about a limit.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::state::Evidence;
use muxfs_agent::manifest::Reason;

/// The first wait before a prompt is tried while the network is gone; each next one is twice as
/// long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// A limit's end that is said anew is another one if it is later by more than this.
const ROUNDED: Duration = Duration::from_secs(1);
/// Work that lasts so long is work: an agent that cannot log in gives up sooner.
const WORK: Duration = Duration::from_secs(10);

/// One thing that keeps an agent from working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub reason: Reason,
    /// What told of it.
    pub by: Evidence,
    pub since: Instant,
    /// When it ends by the agent's own words.
    pub until: Option<SystemTime>,
}

impl Limit {
    fn over(&self, wall: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= wall)
    }
}

/// All that is known of what keeps one agent from working.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    on_screen: Option<Limit>,
    /// Since when work is seen without a break.
    working_since: Option<Instant>,
    reported: Reported,
}

/// What a record or a hook reported, and the tries of prompts without a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reported {
    limit: Option<Limit>,
    /// Prompts that failed by the network, one after the other.
    failures: u32,
    /// When the next one may be tried.
    next_try: Option<Instant>,
    /// One is being tried: what was reported before says nothing of it.
    trying: bool,
}

/// A [`Reported`] on disk. Times are of the wall, because the other clock ends with the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    reason: Reason,
    by: Evidence,
    since: SystemTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<SystemTime>,
    #[serde(default)]
    failed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<SystemTime>,
    #[serde(default)]
    trying: bool,
}

impl Reported {
    /// What is stored of it; nothing where nothing was reported. `now` and `wall` are the same moment.
    pub fn keep(&self, now: Instant, wall: SystemTime) -> Option<Kept> {
        let limit = self.limit?;
        let ago = now.saturating_duration_since(limit.since);
        Some(Kept {
            reason: limit.reason,
            by: limit.by,
            since: wall.checked_sub(ago).unwrap_or(wall),
            until: limit.until,
            failed: self.failures,
            next: self.next_try.map(|at| wall + at.saturating_duration_since(now)),
            trying: self.trying,
        })
    }
}

impl Kept {
    fn restored(&self, now: Instant, wall: SystemTime) -> Reported {
        let ago = wall.duration_since(self.since).unwrap_or_default();
        let since = now.checked_sub(ago).unwrap_or(now);
        // The wall clock may have been set meanwhile: no wait is longer than the longest.
        let next = self.next.map(|at| now + at.duration_since(wall).unwrap_or_default().min(LONGEST));
        let limit = Limit { reason: self.reason, by: self.by, since, until: self.until };
        Reported { limit: Some(limit), failures: self.failed, next_try: next, trying: self.trying }
    }
}

/// How long to wait after the `failed`th prompt in a row that the network failed: 1, 2, 4, 8, then
/// 15 minutes each.
pub fn back_off(failed: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(doubled).min(LONGEST)
}

impl Limits {
    /// What was reported, to see whether it changed.
    pub fn reported(&self) -> Reported {
        self.reported
    }

    /// A daemon before this one stored it of the same process.
    pub fn restore(&mut self, kept: &Kept, now: Instant, wall: SystemTime) {
        self.reported = kept.restored(now, wall);
    }

    /// What a picture shows; none where it shows no limit.
    pub fn set_on_screen(&mut self, limit: Option<(Reason, Evidence, Option<SystemTime>)>, now: Instant) {
        let Some((reason, by, until)) = limit else {
            // A quota comes back at its time, whatever becomes of the notice's rows.
            let known = self.on_screen.take().filter(|l| l.reason == Reason::Usage && l.until.is_some());
            self.reported.limit = self.reported.limit.or(known);
            return;
        };
        let same = self.on_screen.filter(|l| l.reason == reason);
        if reason == Reason::Network
            && same.is_none()
            && !self.reported.trying
            && self.reported.next_try.is_none()
        {
            self.count_failure(now);
        }
        let since = same.map_or(now, |l| l.since);
        let until = match (same.and_then(|l| l.until), until) {
            // Words that count down are rounded.
            (Some(known), Some(now)) if now <= known + ROUNDED => Some(known),
            (known, now) => now.or(known),
        };
        self.on_screen = Some(Limit { reason, by, since, until });
        self.working_since = None;
    }

    /// A record or a hook reports a limit.
    pub fn report(&mut self, reason: Reason, by: Evidence, until: Option<SystemTime>, now: Instant) {
        // One end of a turn may be told twice: by a hook, and by the record.
        let again = self.reported.limit.is_some_and(|l| l.reason == reason)
            && !self.reported.trying
            && self.working_since.is_none();
        if reason == Reason::Network && !again {
            self.count_failure(now);
        }
        let since = self.reported.limit.filter(|l| l.reason == reason).map_or(now, |l| l.since);
        self.reported.limit = Some(Limit { reason, by, since, until });
        (self.working_since, self.reported.trying) = (None, false);
    }

    fn count_failure(&mut self, now: Instant) {
        self.reported.failures = self.reported.failures.saturating_add(1);
        self.reported.next_try = Some(now + back_off(self.reported.failures));
    }

    /// It answered: nothing keeps it from working.
    pub fn saw_answer(&mut self) {
        *self = Limits::default();
    }

    /// A picture shows it at work.
    pub fn saw_work(&mut self, now: Instant) {
        self.on_screen = None;
        let since = *self.working_since.get_or_insert(now);
        // Without a network an agent tries for minutes.
        let proves = self.reported.limit.is_some_and(|l| l.reason != Reason::Network);
        if proves && now.saturating_duration_since(since) >= WORK {
            self.saw_answer();
        }
    }

    /// A picture shows it neither at work nor limited.
    pub fn saw_idle(&mut self) {
        self.working_since = None;
    }

    /// What keeps it from working now.
    pub fn now(&self, wall: SystemTime) -> Option<Limit> {
        let reported = self.reported.limit.filter(|_| !self.reported.trying && self.working_since.is_none());
        reported.or(self.on_screen).filter(|l| !l.over(wall))
    }

    /// It ended by the agent's own words, whatever stands on the screen still.
    pub fn is_over(&self, wall: SystemTime) -> bool {
        let stands = |l: Option<Limit>| l.is_some_and(|l| !l.over(wall));
        let known = self.reported.limit.or(self.on_screen);
        known.is_some_and(|l| l.over(wall)) && !stands(self.reported.limit) && !stands(self.on_screen)
    }

    /// One prompt may be tried: the network was gone, and its wait is over.
    pub fn may_try(&self, now: Instant, wall: SystemTime) -> bool {
        self.now(wall).is_some_and(|l| l.reason == Reason::Network)
            && self.reported.next_try.is_some_and(|at| at <= now)
    }

    /// That prompt is about to go.
    pub fn begin_try(&mut self) {
        self.reported.trying = true;
    }

    pub fn is_trying(&self) -> bool {
        self.reported.trying
    }

    /// That prompt did not go after all.
    pub fn cancel_try(&mut self) {
        self.reported.trying = false;
    }

    /// What was tried came to nothing that tells: the next one waits as long again.
    pub fn end_try(&mut self, now: Instant) {
        if std::mem::take(&mut self.reported.trying) {
            self.reported.next_try = Some(now + back_off(self.reported.failures));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn wall(n: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + s(n)
    }

    const BY: Evidence = Evidence::AgentFile;

    fn reason(limits: &Limits, at: u64) -> Option<Reason> {
        limits.now(wall(at)).map(|l| l.reason)
    }

    #[test]
    fn each_wait_is_twice_the_one_before_up_to_fifteen_minutes() {
        let minutes: Vec<u64> = (1..=7).map(|n| back_off(n).as_secs() / 60).collect();
        assert_eq!(minutes, [1, 2, 4, 8, 15, 15, 15]);
        assert_eq!((back_off(0), back_off(u32::MAX)), (s(60), LONGEST));
    }

    #[test]
    fn a_notice_on_the_screen_holds_while_it_stands_there() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.set_on_screen(Some((Reason::Login, Evidence::Screen, None)), t);
        assert_eq!(reason(&l, 0), Some(Reason::Login));
        l.set_on_screen(Some((Reason::Login, Evidence::Screen, None)), t + s(5));
        assert_eq!(l.now(wall(0)).unwrap().since, t, "it is the same one");
        l.set_on_screen(None, t + s(9));
        assert_eq!(reason(&l, 0), None);
    }

    #[test]
    fn the_next_attempt_has_a_time_of_its_own() {
        let (t, mut l) = (Instant::now(), Limits::default());
        let shows = |l: &mut Limits, at| {
            l.set_on_screen(Some((Reason::Usage, Evidence::Screen, Some(wall(at)))), t);
            l.now(wall(0)).unwrap().until
        };
        assert_eq!(shows(&mut l, 10), Some(wall(10)));
        assert_eq!(shows(&mut l, 11), Some(wall(10)), "it counts down");
        assert_eq!(shows(&mut l, 14), Some(wall(14)));
        assert_eq!(reason(&l, 13), Some(Reason::Usage));
    }

    #[test]
    fn a_quota_comes_back_at_its_time_also_when_its_notice_scrolled_off() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.set_on_screen(Some((Reason::Usage, Evidence::Screen, Some(wall(60)))), t);
        l.set_on_screen(None, t + s(1));
        l.saw_idle();
        assert_eq!((reason(&l, 59), l.is_over(wall(59))), (Some(Reason::Usage), false));
        assert_eq!((reason(&l, 60), l.is_over(wall(60))), (None, true));
        // Where no time was told the rows are all that is known.
        let mut l = Limits::default();
        l.set_on_screen(Some((Reason::Usage, Evidence::Screen, None)), t);
        l.set_on_screen(None, t + s(1));
        assert_eq!((reason(&l, 0), l.is_over(wall(0))), (None, false));
    }

    #[test]
    fn what_was_told_holds_until_an_answer_or_lasting_work() {
        let t = Instant::now();
        for r in [Reason::Usage, Reason::Login, Reason::Model] {
            let mut l = Limits::default();
            l.report(r, BY, None, t);
            l.set_on_screen(None, t);
            l.saw_idle();
            assert_eq!(reason(&l, 1 << 30), Some(r), "no time ends it");
            // A person's prompt that fails the same way: it works for a moment.
            l.saw_work(t + s(20));
            assert_eq!(reason(&l, 0), None, "while it works it works");
            l.saw_work(t + s(23));
            l.saw_idle();
            assert_eq!(reason(&l, 0), Some(r));
            l.saw_work(t + s(30));
            l.saw_work(t + s(30) + WORK);
            l.saw_idle();
            assert_eq!(reason(&l, 0), None);
            l.report(r, BY, None, t + s(50));
            l.saw_answer();
            assert_eq!(reason(&l, 0), None);
        }
    }

    #[test]
    fn a_time_that_was_told_ends_it() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.report(Reason::Usage, Evidence::Hook, Some(wall(100)), t);
        assert_eq!((reason(&l, 99), l.is_over(wall(99))), (Some(Reason::Usage), false));
        assert_eq!((reason(&l, 100), l.is_over(wall(100))), (None, true));
    }

    #[test]
    fn without_a_network_one_prompt_is_tried_at_a_time() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.report(Reason::Network, BY, None, t);
        l.report(Reason::Network, Evidence::Hook, None, t + s(1));
        assert_eq!(l.reported.failures, 1, "one end, told twice");
        assert!(!l.may_try(t + s(59), wall(0)) && l.may_try(t + s(60), wall(0)));
        l.begin_try();
        assert!(l.is_trying() && reason(&l, 0).is_none() && !l.may_try(t + s(60), wall(0)));
        // It tries for minutes: that is no sign.
        l.saw_work(t + s(61));
        l.saw_work(t + s(200));
        l.saw_idle();
        l.report(Reason::Network, BY, None, t + s(200));
        assert!(!l.may_try(t + s(319), wall(0)) && l.may_try(t + s(320), wall(0)));
        l.begin_try();
        l.end_try(t + s(330));
        assert_eq!(reason(&l, 0), Some(Reason::Network), "nothing was learnt");
        assert!(!l.may_try(t + s(449), wall(0)) && l.may_try(t + s(450), wall(0)));
        l.begin_try();
        l.saw_answer();
        assert_eq!((reason(&l, 0), l.reported.failures, l.may_try(t + s(9999), wall(0))), (None, 0, false));
    }

    #[test]
    fn no_network_by_the_screen_alone_is_tried_too() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.set_on_screen(Some((Reason::Network, Evidence::Screen, None)), t);
        l.set_on_screen(Some((Reason::Network, Evidence::Screen, None)), t + s(30));
        assert_eq!(l.reported.failures, 1);
        assert!(!l.may_try(t + s(59), wall(0)) && l.may_try(t + s(60), wall(0)));
        // Login and model are not.
        let mut l = Limits::default();
        l.report(Reason::Login, BY, None, t);
        assert!(!l.may_try(t + s(999_999), wall(0)));
    }

    #[test]
    fn another_reason_takes_the_place_of_the_one_before() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.report(Reason::Network, BY, None, t);
        l.begin_try();
        l.report(Reason::Login, BY, None, t + s(90));
        assert_eq!(reason(&l, 0), Some(Reason::Login));
        assert!(!l.may_try(t + s(9999), wall(0)));
    }

    #[test]
    fn what_was_told_is_the_same_after_a_restart() {
        let (t, mut l) = (Instant::now() + s(1000), Limits::default());
        assert_eq!(l.reported().keep(t, wall(1000)), None);
        l.report(Reason::Usage, Evidence::Hook, Some(wall(1100)), t);
        let after = |l: &Limits| {
            let kept = serde_json::to_string(&l.reported().keep(t + s(10), wall(1010)).unwrap()).unwrap();
            let mut new = Limits::default();
            new.restore(&serde_json::from_str(&kept).unwrap(), t + s(30), wall(1030));
            new
        };
        let new = after(&l);
        assert_eq!(new.now(wall(1099)), l.now(wall(1099)));
        assert_eq!((reason(&new, 1100), new.is_over(wall(1100))), (None, true));
        // Without a network the wait goes on where it was.
        l.saw_answer();
        l.report(Reason::Network, BY, None, t);
        let mut new = after(&l);
        assert_eq!(reason(&new, 1030), Some(Reason::Network));
        assert!(!new.may_try(t + s(59), wall(1059)) && new.may_try(t + s(60), wall(1060)));
        new.begin_try();
        assert!(after(&new).is_trying());
        new.report(Reason::Network, BY, None, t + s(61));
        assert_eq!(new.reported.failures, 2);
        // A clock that was set back makes no wait longer.
        let kept = l.reported().keep(t, wall(100_000)).unwrap();
        let mut new = Limits::default();
        new.restore(&kept, t, wall(0));
        assert!(new.may_try(t + LONGEST, wall(0)));
    }
}
