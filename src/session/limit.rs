//! What keeps an agent from working: why, by what it is known, since when, until when.
//!
//! Pure, its clocks arguments. A notice on the screen is a level: it holds while it stands there.
//! What a record or a hook tells is an edge: it holds until something shows that it is over, because
//! the notice may have been wrapped, scrolled off or cleared away. Must not know panes, nor what is
//! done about a limit.

use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::state::Evidence;
use crate::agent::manifest::Reason;

/// The first wait before a prompt is tried while the network is gone; each next one is twice as
/// long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(15 * 60);
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
    shown: Option<Limit>,
    /// Since when work is seen without a break.
    works: Option<Instant>,
    edge: Edge,
}

/// What no picture shows again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edge {
    told: Option<Limit>,
    /// Prompts that failed by the network, one after the other.
    failed: u32,
    /// When the next one may be tried.
    next: Option<Instant>,
    /// One is being tried: what was told before says nothing of it.
    trying: bool,
}

/// An [`Edge`] on disk. Times are of the wall, because the other clock ends with the machine.
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

impl Edge {
    /// What is stored of it; nothing where nothing was told. `now` and `wall` are the same moment.
    pub fn keep(&self, now: Instant, wall: SystemTime) -> Option<Kept> {
        let told = self.told?;
        let ago = now.saturating_duration_since(told.since);
        Some(Kept {
            reason: told.reason,
            by: told.by,
            since: wall.checked_sub(ago).unwrap_or(wall),
            until: told.until,
            failed: self.failed,
            next: self.next.map(|at| wall + at.saturating_duration_since(now)),
            trying: self.trying,
        })
    }
}

impl Kept {
    fn edge(&self, now: Instant, wall: SystemTime) -> Edge {
        let ago = wall.duration_since(self.since).unwrap_or_default();
        let since = now.checked_sub(ago).unwrap_or(now);
        // The wall clock may have been set meanwhile: no wait is longer than the longest.
        let next = self.next.map(|at| now + at.duration_since(wall).unwrap_or_default().min(LONGEST));
        let told = Limit { reason: self.reason, by: self.by, since, until: self.until };
        Edge { told: Some(told), failed: self.failed, next, trying: self.trying }
    }
}

/// How long to wait after the `failed`th prompt in a row that the network failed: 1, 2, 4, 8, then
/// 15 minutes each.
pub fn back_off(failed: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.saturating_mul(doubled).min(LONGEST)
}

impl Limits {
    /// What was told, to see whether it changed.
    pub fn edge(&self) -> Edge {
        self.edge
    }

    /// A daemon before this one was told so of the same process.
    pub fn restore(&mut self, kept: &Kept, now: Instant, wall: SystemTime) {
        self.edge = kept.edge(now, wall);
    }

    /// What a picture shows; none where it shows no limit.
    pub fn shows(&mut self, limit: Option<(Reason, Evidence, Option<SystemTime>)>, now: Instant) {
        let Some((reason, by, until)) = limit else {
            // A quota comes back at its time, whatever becomes of the notice's rows.
            let known = self.shown.take().filter(|l| l.reason == Reason::Usage && l.until.is_some());
            self.edge.told = self.edge.told.or(known);
            return;
        };
        let same = self.shown.filter(|l| l.reason == reason);
        if reason == Reason::Network && same.is_none() && !self.edge.trying && self.edge.next.is_none() {
            self.fail(now);
        }
        let since = same.map_or(now, |l| l.since);
        self.shown = Some(Limit { reason, by, since, until: same.and_then(|l| l.until).or(until) });
        self.works = None;
    }

    /// A record or a hook tells of a limit.
    pub fn told(&mut self, reason: Reason, by: Evidence, until: Option<SystemTime>, now: Instant) {
        // One end of a turn may be told twice: by a hook, and by the record.
        let again =
            self.edge.told.is_some_and(|l| l.reason == reason) && !self.edge.trying && self.works.is_none();
        if reason == Reason::Network && !again {
            self.fail(now);
        }
        let since = self.edge.told.filter(|l| l.reason == reason).map_or(now, |l| l.since);
        self.edge.told = Some(Limit { reason, by, since, until });
        (self.works, self.edge.trying) = (None, false);
    }

    fn fail(&mut self, now: Instant) {
        self.edge.failed = self.edge.failed.saturating_add(1);
        self.edge.next = Some(now + back_off(self.edge.failed));
    }

    /// It answered: nothing keeps it from working.
    pub fn answered(&mut self) {
        *self = Limits::default();
    }

    /// A picture shows it at work.
    pub fn works(&mut self, now: Instant) {
        self.shown = None;
        let since = *self.works.get_or_insert(now);
        // Without a network an agent tries for minutes.
        let proves = self.edge.told.is_some_and(|l| l.reason != Reason::Network);
        if proves && now.saturating_duration_since(since) >= WORK {
            self.answered();
        }
    }

    /// A picture shows it neither at work nor limited.
    pub fn rests(&mut self) {
        self.works = None;
    }

    /// What keeps it from working now.
    pub fn now(&self, wall: SystemTime) -> Option<Limit> {
        let told = self.edge.told.filter(|_| !self.edge.trying && self.works.is_none());
        told.or(self.shown).filter(|l| !l.over(wall))
    }

    /// It ended by the agent's own words, whatever stands on the screen still.
    pub fn is_over(&self, wall: SystemTime) -> bool {
        let stands = |l: Option<Limit>| l.is_some_and(|l| !l.over(wall));
        let known = self.edge.told.or(self.shown);
        known.is_some_and(|l| l.over(wall)) && !stands(self.edge.told) && !stands(self.shown)
    }

    /// One prompt may be tried: the network was gone, and its wait is over.
    pub fn may_try(&self, now: Instant, wall: SystemTime) -> bool {
        self.now(wall).is_some_and(|l| l.reason == Reason::Network)
            && self.edge.next.is_some_and(|at| at <= now)
    }

    /// That prompt is about to go.
    pub fn try_one(&mut self) {
        self.edge.trying = true;
    }

    pub fn is_trying(&self) -> bool {
        self.edge.trying
    }

    /// That prompt did not go after all.
    pub fn not_tried(&mut self) {
        self.edge.trying = false;
    }

    /// What was tried came to nothing that tells: the next one waits as long again.
    pub fn tried(&mut self, now: Instant) {
        if std::mem::take(&mut self.edge.trying) {
            self.edge.next = Some(now + back_off(self.edge.failed));
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
        l.shows(Some((Reason::Login, Evidence::Screen, None)), t);
        assert_eq!(reason(&l, 0), Some(Reason::Login));
        l.shows(Some((Reason::Login, Evidence::Screen, None)), t + s(5));
        assert_eq!(l.now(wall(0)).unwrap().since, t, "it is the same one");
        l.shows(None, t + s(9));
        assert_eq!(reason(&l, 0), None);
    }

    #[test]
    fn a_quota_comes_back_at_its_time_also_when_its_notice_scrolled_off() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.shows(Some((Reason::Usage, Evidence::Screen, Some(wall(60)))), t);
        l.shows(None, t + s(1));
        l.rests();
        assert_eq!((reason(&l, 59), l.is_over(wall(59))), (Some(Reason::Usage), false));
        assert_eq!((reason(&l, 60), l.is_over(wall(60))), (None, true));
        // Where no time was told the rows are all that is known.
        let mut l = Limits::default();
        l.shows(Some((Reason::Usage, Evidence::Screen, None)), t);
        l.shows(None, t + s(1));
        assert_eq!((reason(&l, 0), l.is_over(wall(0))), (None, false));
    }

    #[test]
    fn what_was_told_holds_until_an_answer_or_lasting_work() {
        let t = Instant::now();
        for r in [Reason::Usage, Reason::Login, Reason::Model] {
            let mut l = Limits::default();
            l.told(r, BY, None, t);
            l.shows(None, t);
            l.rests();
            assert_eq!(reason(&l, 1 << 30), Some(r), "no time ends it");
            // A person's prompt that fails the same way: it works for a moment.
            l.works(t + s(20));
            assert_eq!(reason(&l, 0), None, "while it works it works");
            l.works(t + s(23));
            l.rests();
            assert_eq!(reason(&l, 0), Some(r));
            l.works(t + s(30));
            l.works(t + s(30) + WORK);
            l.rests();
            assert_eq!(reason(&l, 0), None);
            l.told(r, BY, None, t + s(50));
            l.answered();
            assert_eq!(reason(&l, 0), None);
        }
    }

    #[test]
    fn a_time_that_was_told_ends_it() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.told(Reason::Usage, Evidence::Hook, Some(wall(100)), t);
        assert_eq!((reason(&l, 99), l.is_over(wall(99))), (Some(Reason::Usage), false));
        assert_eq!((reason(&l, 100), l.is_over(wall(100))), (None, true));
    }

    #[test]
    fn without_a_network_one_prompt_is_tried_at_a_time() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.told(Reason::Network, BY, None, t);
        l.told(Reason::Network, Evidence::Hook, None, t + s(1));
        assert_eq!(l.edge.failed, 1, "one end, told twice");
        assert!(!l.may_try(t + s(59), wall(0)) && l.may_try(t + s(60), wall(0)));
        l.try_one();
        assert!(l.is_trying() && reason(&l, 0).is_none() && !l.may_try(t + s(60), wall(0)));
        // It tries for minutes: that is no sign.
        l.works(t + s(61));
        l.works(t + s(200));
        l.rests();
        l.told(Reason::Network, BY, None, t + s(200));
        assert!(!l.may_try(t + s(319), wall(0)) && l.may_try(t + s(320), wall(0)));
        l.try_one();
        l.tried(t + s(330));
        assert_eq!(reason(&l, 0), Some(Reason::Network), "nothing was learnt");
        assert!(!l.may_try(t + s(449), wall(0)) && l.may_try(t + s(450), wall(0)));
        l.try_one();
        l.answered();
        assert_eq!((reason(&l, 0), l.edge.failed, l.may_try(t + s(9999), wall(0))), (None, 0, false));
    }

    #[test]
    fn no_network_by_the_screen_alone_is_tried_too() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.shows(Some((Reason::Network, Evidence::Screen, None)), t);
        l.shows(Some((Reason::Network, Evidence::Screen, None)), t + s(30));
        assert_eq!(l.edge.failed, 1);
        assert!(!l.may_try(t + s(59), wall(0)) && l.may_try(t + s(60), wall(0)));
        // Login and model are not.
        let mut l = Limits::default();
        l.told(Reason::Login, BY, None, t);
        assert!(!l.may_try(t + s(999_999), wall(0)));
    }

    #[test]
    fn another_reason_takes_the_place_of_the_one_before() {
        let (t, mut l) = (Instant::now(), Limits::default());
        l.told(Reason::Network, BY, None, t);
        l.try_one();
        l.told(Reason::Login, BY, None, t + s(90));
        assert_eq!(reason(&l, 0), Some(Reason::Login));
        assert!(!l.may_try(t + s(9999), wall(0)));
    }

    #[test]
    fn what_was_told_is_the_same_after_a_restart() {
        let (t, mut l) = (Instant::now() + s(1000), Limits::default());
        assert_eq!(l.edge().keep(t, wall(1000)), None);
        l.told(Reason::Usage, Evidence::Hook, Some(wall(1100)), t);
        let after = |l: &Limits| {
            let kept = serde_json::to_string(&l.edge().keep(t + s(10), wall(1010)).unwrap()).unwrap();
            let mut new = Limits::default();
            new.restore(&serde_json::from_str(&kept).unwrap(), t + s(30), wall(1030));
            new
        };
        let new = after(&l);
        assert_eq!(new.now(wall(1099)), l.now(wall(1099)));
        assert_eq!((reason(&new, 1100), new.is_over(wall(1100))), (None, true));
        // Without a network the wait goes on where it was.
        l.answered();
        l.told(Reason::Network, BY, None, t);
        let mut new = after(&l);
        assert_eq!(reason(&new, 1030), Some(Reason::Network));
        assert!(!new.may_try(t + s(59), wall(1059)) && new.may_try(t + s(60), wall(1060)));
        new.try_one();
        assert!(after(&new).is_trying());
        new.told(Reason::Network, BY, None, t + s(61));
        assert_eq!(new.edge.failed, 2);
        // A clock that was set back makes no wait longer.
        let kept = l.edge().keep(t, wall(100_000)).unwrap();
        let mut new = Limits::default();
        new.restore(&kept, t, wall(0));
        assert!(new.may_try(t + LONGEST, wall(0)));
    }
}
