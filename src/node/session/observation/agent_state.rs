//! An agent's state from all that tells of it: its picture, its hooks, its files, its stream.
//!
//! Pure, its clock an argument. A picture is a level: it holds until the next. A hook is an edge:
//! it says what began or ended, and not what a person did since. So the picture decides, and the
//! other sources fill in what a picture cannot show: work that a draft hides, an end that came
//! between two looks.

use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use super::super::answer::{Asked, Counter};
use super::super::limit::{Kept, Limit, Limits, Reported};
use super::super::program::Agent;
use super::super::state::{Evidence, State};
use super::shell_state::{QUIET_PROGRAM, Verdict};
use muxfs_agent::composer::{Composer, Popup};
use muxfs_agent::manifest::{self, Reason};
use muxfs_agent::question::Question;
use muxfs_agent::rules::{Said, notice};
use muxfs_agent::until::until;
use muxfs_tree::base::clock;

/// Ready must hold for this long where only pictures say so: between two tools an agent may show
/// its bare composer for a moment.
const SETTLE: Duration = Duration::from_millis(200);
/// An agent that shows nothing it is known by is `starting` for this long, then `unknown`.
pub const START: Duration = Duration::from_secs(10);
/// Work that only a hook or a stream tells of is believed for so long without any output: working
/// agents move a spinner.
const SILENT: Duration = Duration::from_secs(2);
/// How long the next attempt of an agent that goes on by itself may take to show.
const GOES_ON: Duration = Duration::from_secs(30);
/// Between two looks at one that works or asks.
const AGAIN: Duration = Duration::from_secs(1);

/// What one of the agent's own signals says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Works,
    Asks,
    Idle,
}

/// What an agent's own file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSays {
    pub signal: Signal,
    /// When it was written, where it tells: what is older than a prompt says nothing of it.
    pub written: Option<Instant>,
}

/// One look at the pane, judged.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    pub state: Option<manifest::State>,
    /// The rule that says so.
    pub rule: Option<String>,
    /// It looked at nothing but the title.
    pub by_title: bool,
    /// The agent's own words for when a limit ends, and what they meant when they were first seen:
    /// "in 5 minutes" stands on a screen that nothing moves.
    pub until_words: Option<String>,
    pub until: Option<SystemTime>,
    /// Why it is limited, where its manifest says so.
    pub reason: Option<manifest::Reason>,
    pub composer: Composer,
    /// It says below the newest turn that it was stopped.
    pub stopped: bool,
    /// It says that it goes on with the turn by itself when it can.
    pub continues: bool,
    /// All that stands in it, hints as well.
    pub shown: String,
    /// The rows of its text; empty where there is none.
    pub place: Range<usize>,
    /// An open list of completions.
    pub popup: Option<Popup>,
    /// The sign of the composer's ordinary mode was seen, now or before, in this process.
    pub sign: bool,
    /// What it asks.
    pub question: Option<Question>,
    /// What the agent's own file says at this moment.
    pub file: Option<FileSays>,
}

/// A picture that says nothing, where one before did.
#[derive(Debug, Clone)]
struct Blank {
    picture: Picture,
    since: Option<Instant>,
    /// A second look found the same.
    again: bool,
}

#[derive(Debug, Clone)]
pub struct Eyes {
    pub agent: Agent,
    pub picture: Picture,
    /// A later one of an agent at work that shows nothing it is known by, and since when: it may
    /// have been taken while the agent painted, so it counts only if that lasts.
    blank: Option<Blank>,
    /// Since when it starts: a dialog of its start is not over before it is answered.
    begun: Instant,
    hook: Option<(Signal, Instant)>,
    /// Prompts that hooks say were taken, and not ended yet.
    open: u32,
    stream: Option<(Signal, Instant)>,
    input: Option<Instant>,
    /// What the agent's own file says of when it was written, and what that meant.
    written: Option<(u64, Instant)>,
    /// When that was read last.
    read: Instant,
    /// How much longer than others what was typed may take until it shows as work.
    slow: Duration,
    /// Seen at work, or with something to ask, since the last input.
    worked: bool,
    /// The same by what was seen, and not by silence.
    evident: bool,
    ready_since: Option<Instant>,
    /// It was seen at rest or at work since its start.
    known: bool,
    asks: Counter,
    limits: Limits,
    /// The composer's mode that a key of ours brought, until the ordinary one is seen.
    brought: Option<String>,
    /// Its mode was not left by its keys.
    stuck: bool,
    /// What is stored of them.
    stored: Reported,
    /// What was published last.
    evidence: Evidence,
}

impl Eyes {
    pub fn new(agent: Agent, now: Instant) -> Self {
        Eyes {
            agent,
            picture: Picture::default(),
            blank: None,
            begun: now,
            hook: None,
            open: 0,
            stream: None,
            input: None,
            written: None,
            read: now,
            slow: Duration::ZERO,
            worked: true,
            evident: true,
            ready_since: None,
            known: false,
            asks: Counter::default(),
            limits: Limits::default(),
            brought: None,
            stuck: false,
            stored: Reported::default(),
            evidence: Evidence::Nothing,
        }
    }

    /// Another process runs in the pane.
    pub fn begin_anew(&mut self, now: Instant) {
        // The count goes on: an old answer is for none of the new questions.
        *self = Eyes { asks: self.asks.clone(), ..Eyes::new(self.agent.clone(), now) };
    }

    /// Something is about to be typed.
    pub fn input(&mut self, now: Instant) {
        self.asks.input();
        self.input = Some(now);
        self.slow = Duration::ZERO;
        self.worked = false;
        self.evident = false;
        self.ready_since = None;
    }

    /// When the agent's own file was written that says `since`, in ms of the wall clock, and is read
    /// at `now`. That clock is asked once, when the text is new: it may be set at any time.
    pub fn written(&mut self, since: u64, now: Instant, wall: u64) -> Instant {
        let before = std::mem::replace(&mut self.read, now);
        if let Some((_, at)) = self.written.filter(|(of, _)| *of == since) {
            return at;
        }
        let age = Duration::from_millis(wall.saturating_sub(since));
        // Not before the look that found another text there.
        let at = now.checked_sub(age).map_or(before, |at| at.max(before));
        self.written = Some((since, at));
        at
    }

    /// Since something was typed last.
    pub fn since_input(&self, now: Instant) -> Option<Duration> {
        self.input.map(|at| now.saturating_duration_since(at))
    }

    /// What was typed last is a prompt: the agent may be still over it for so long.
    pub fn expect_work(&mut self, slow: Duration) {
        self.slow = slow;
    }

    /// A picture was taken at `now`.
    pub fn look(&mut self, picture: Picture, now: Instant) {
        match picture.state {
            Some(manifest::State::Blocked) if !self.known => self.begun = now,
            _ => self.known |= says(&picture),
        }
        let paints = matches!(self.picture.state, Some(manifest::State::Busy | manifest::State::Limited));
        if paints && !says(&picture) {
            let since = self.blank.take().and_then(|b| b.since);
            self.blank = Some(Blank { picture, since, again: since.is_some() });
        } else {
            self.blank = None;
            self.believe(picture, now);
        }
    }

    fn believe(&mut self, picture: Picture, now: Instant) {
        // What says nothing does not say that a question is gone to which nobody typed: it may be painted
        // anew.
        if picture.question.is_some() || says(&picture) || self.asks.is_touched() {
            self.asks.look(picture.question.as_ref(), now);
        }
        if matches!(picture.composer, Composer::Empty | Composer::Draft(_)) {
            (self.brought, self.stuck) = (None, false);
        }
        let known = self.picture.until.filter(|_| self.picture.until_words == picture.until_words);
        let until = known.or(picture.until);
        self.picture = Picture { until, ..picture };
        match self.picture.state {
            Some(manifest::State::Limited) => {
                let by = if self.picture.by_title { Evidence::Title } else { Evidence::Screen };
                let reason = self.picture.reason.unwrap_or(Reason::Usage);
                self.limits.set_on_screen(Some((reason, by, until)), now);
            }
            Some(manifest::State::Busy) => self.limits.saw_work(now),
            _ => {
                self.limits.set_on_screen(None, now);
                self.limits.saw_idle();
            }
        }
    }

    /// A key of ours brought the composer into this mode.
    pub fn we_brought(&mut self, mode: &str) {
        self.brought = Some(mode.to_owned());
    }

    /// The keys that leave the composer's mode do not.
    pub fn cannot_leave(&mut self) {
        self.stuck = true;
    }

    /// Whether its mode is left for a prompt: nothing of a person's is in it, or a key of ours
    /// brought it, and there are keys for it.
    pub fn may_leave(&self, composer: &Composer) -> bool {
        let Composer::Other { mode, text } = composer else { return false };
        let keys = !self.agent.manifest.leave(mode).is_empty();
        keys && !self.stuck && (self.is_brought(composer) || text.as_deref() == Some(""))
    }

    /// Whether a key of ours brought its mode.
    pub fn is_brought(&self, composer: &Composer) -> bool {
        matches!(composer, Composer::Other { mode, .. } if self.brought.as_ref() == Some(mode))
    }

    /// What keeps it from working.
    pub fn limit(&self, wall: SystemTime) -> Option<Limit> {
        self.limits.now(wall)
    }

    /// For what ends a limit, or begins one.
    pub fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// What was told of a limit, where it is not yet stored so.
    pub fn to_store(&mut self) -> Option<Reported> {
        let reported = self.limits.reported();
        (std::mem::replace(&mut self.stored, reported) != reported).then_some(reported)
    }

    /// What was stored of the limits of this process.
    pub fn restore(&mut self, kept: &Kept, now: Instant, wall: SystemTime) {
        self.limits.restore(kept, now, wall);
        self.stored = self.limits.reported();
    }

    /// It told what it said at the end of a turn; `fault`: in the place of an answer.
    pub fn said(&mut self, text: &str, fault: bool, by: Evidence, now: Instant, wall: SystemTime) {
        match notice(&self.agent.manifest, text) {
            Some(Said { reason: Some(reason), until: words }) => {
                let until = words.and_then(|words| until(&words, wall, clock::east()));
                self.limits.report(reason, by, until, now);
            }
            None if !fault && !text.trim().is_empty() => self.limits.saw_answer(),
            _ => self.limits.end_try(now),
        }
    }

    /// What is asked now.
    pub fn asked(&self) -> Option<Asked> {
        Some(self.asks.asked(self.picture.question.clone()?))
    }

    pub fn hook(&mut self, signal: Signal, now: Instant) {
        self.hook = Some((signal, now));
        // Also of an end: what went in was worked on, however short it was.
        self.worked |= self.input.is_some();
        self.evident = self.worked;
    }

    /// It was seen at work, or said so itself, since the last input.
    pub fn evident(&self) -> bool {
        self.evident
    }

    /// Its own record has an answer to what went in.
    pub fn answered(&mut self) {
        self.worked = true;
        self.evident = true;
    }

    /// The composer still holds what went in, and nothing was seen of work on it.
    pub fn holds(&self, prompt: &str) -> bool {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let Composer::Draft(draft) = &self.picture.composer else { return false };
        let ready = self.picture.state == Some(manifest::State::Ready);
        ready && !self.evident && !draft.trim().is_empty() && words(prompt).starts_with(&words(draft))
    }

    /// A prompt was taken: one that comes while it works has an end of its own.
    pub fn hook_took(&mut self, now: Instant) {
        self.open += 1;
        self.hook(Signal::Works, now);
    }

    /// A turn ended; another one that was taken meanwhile goes on.
    pub fn hook_ended(&mut self, now: Instant) {
        self.open = self.open.saturating_sub(1);
        self.hook(if self.open == 0 { Signal::Idle } else { Signal::Works }, now);
    }

    pub fn stream(&mut self, signal: Signal, now: Instant) {
        self.stream = Some((signal, now));
    }

    /// A hook said so since the last input: it was taken.
    pub fn told(&self) -> bool {
        self.hook.is_some_and(|(_, at)| self.input.is_some_and(|input| at >= input))
    }

    /// A limit that ended by the agent's own words, whatever stands on the screen still.
    /// One that is tried counts as over: its prompt may go.
    pub fn limit_is_over(&self, wall: SystemTime) -> bool {
        self.limits.is_over(wall) || self.limits.is_trying()
    }

    /// How the evidence reads in `status`.
    pub fn why(&self) -> Option<&str> {
        matches!(self.evidence, Evidence::Screen | Evidence::Title)
            .then_some(self.picture.rule.as_deref())
            .flatten()
    }

    /// `quiet`: time without output or input. `wall`: what limits go by.
    pub fn decide(&mut self, quiet: Duration, now: Instant, wall: SystemTime) -> Verdict {
        let Some(left) = self.blank_for(now) else { return self.decided(quiet, now, wall) };
        Verdict { again: Some(left), ..self.decided(quiet, now, wall) }
    }

    /// How long a picture without a sign must last still, where one was taken.
    fn blank_for(&mut self, now: Instant) -> Option<Duration> {
        let blank = self.blank.take()?;
        let since = blank.since.unwrap_or(now);
        let left = SETTLE.saturating_sub(now.saturating_duration_since(since));
        if left.is_zero() && blank.again {
            self.believe(blank.picture, now);
            return None;
        }
        self.blank = Some(Blank { since: Some(since), ..blank });
        Some(left)
    }

    fn decided(&mut self, quiet: Duration, now: Instant, wall: SystemTime) -> Verdict {
        let (state, evidence) = self.state(quiet, now, wall);
        self.evidence = evidence;
        if matches!(state, State::Busy | State::Blocked | State::Limited) {
            self.worked = true;
            self.evident = true;
        }
        if state != State::Ready {
            self.ready_since = None;
            let fresh = self.worked || state == State::Unknown && quiet >= QUIET_PROGRAM;
            return Verdict { state, evidence, fresh, again: Some(self.again(state, quiet, now)) };
        }
        self.open = 0; // what no hook ended was interrupted
        let since = *self.ready_since.get_or_insert(now);
        let told = matches!(evidence, Evidence::Hook | Evidence::AgentFile);
        let settle = if told { Duration::ZERO } else { SETTLE };
        let left = settle.saturating_sub(now.saturating_duration_since(since));
        let silent = (QUIET_PROGRAM + self.slow).saturating_sub(quiet);
        self.worked |= silent.is_zero();
        let fresh = self.worked && left.is_zero();
        let again = if fresh { None } else { Some(if self.worked { left } else { silent.min(AGAIN) }) };
        Verdict { state, evidence, fresh, again }
    }

    fn again(&self, state: State, quiet: Duration, now: Instant) -> Duration {
        match state {
            State::Starting => START.saturating_sub(now.saturating_duration_since(self.begun)).min(AGAIN),
            State::Unknown => QUIET_PROGRAM.checked_sub(quiet).filter(|d| !d.is_zero()).unwrap_or(AGAIN),
            _ => AGAIN,
        }
    }

    /// An agent that rests is limited where something was told that keeps it from working.
    fn state(&self, quiet: Duration, now: Instant, wall: SystemTime) -> (State, Evidence) {
        match (self.looks(quiet, now, wall), self.limits.now(wall)) {
            ((State::Ready, _), Some(limit)) => (State::Limited, limit.by),
            (looks, _) => looks,
        }
    }

    fn looks(&self, quiet: Duration, now: Instant, wall: SystemTime) -> (State, Evidence) {
        let seen = if self.picture.by_title { Evidence::Title } else { Evidence::Screen };
        // Believed only while there is some output, or it is but a moment old.
        let lately = |at: Instant| now.saturating_duration_since(at).min(quiet) < SILENT;
        let hook = self.hook.filter(|(s, at)| *s != Signal::Works || lately(*at));
        let stream = self.stream.filter(|(s, at)| *s != Signal::Works || lately(*at));
        match self.picture.state {
            Some(manifest::State::Blocked) => (State::Blocked, self.agreed(Signal::Asks, seen)),
            Some(manifest::State::Limited) => match self.limits.now(wall) {
                Some(_) => (State::Limited, seen),
                None if self.goes_on(wall) => (State::Busy, seen),
                None => (State::Ready, seen),
            },
            Some(manifest::State::Busy) => (State::Busy, self.agreed(Signal::Works, seen)),
            Some(manifest::State::Ready) => match (self.file(), hook, stream) {
                (Some(Signal::Works), _, _) => (State::Busy, Evidence::AgentFile),
                (Some(Signal::Asks), _, _) => (State::Blocked, Evidence::AgentFile),
                (Some(Signal::Idle), _, _) => (State::Ready, Evidence::AgentFile),
                (None, Some((Signal::Works, _)), _) => (State::Busy, Evidence::Hook),
                (None, Some((Signal::Idle, at)), _) if self.input.is_none_or(|i| at >= i) => {
                    (State::Ready, Evidence::Hook)
                }
                (None, _, Some((Signal::Works, _))) => (State::Busy, Evidence::Stream),
                _ => (State::Ready, seen),
            },
            Some(manifest::State::Unknown) | None => self.without_picture(hook, stream, now),
        }
    }

    /// It says that it goes on at a time that is to come, or came a moment ago: its next attempt may show
    /// late.
    fn goes_on(&self, wall: SystemTime) -> bool {
        self.picture.continues && self.picture.until.is_some_and(|until| wall < until + GOES_ON)
    }

    /// The file's word. That it is idle says nothing where it was written before the last input, or
    /// before a hook said that it works.
    fn file(&self) -> Option<Signal> {
        let said = self.picture.file?;
        let works = self.hook.filter(|(s, _)| *s == Signal::Works).map(|(_, at)| at);
        let newest = works.max(self.input);
        let stale = match (newest, said.written) {
            (Some(newest), Some(written)) => written < newest,
            (newest, None) => newest.is_some(),
            (None, _) => false,
        };
        (said.signal != Signal::Idle || !stale).then_some(said.signal)
    }

    /// The picture says nothing: what the signals say, else that nothing is known.
    fn without_picture(
        &self,
        hook: Option<(Signal, Instant)>,
        stream: Option<(Signal, Instant)>,
        now: Instant,
    ) -> (State, Evidence) {
        let told = self.file().map(|s| (s, Evidence::AgentFile));
        let told = told.or(hook.map(|(s, _)| (s, Evidence::Hook)));
        match told.or(stream.map(|(s, _)| (s, Evidence::Stream))) {
            Some((Signal::Works, evidence)) => (State::Busy, evidence),
            Some((Signal::Asks, evidence)) => (State::Blocked, evidence),
            // Idle without a composer to be seen: a picker, a pager. Not a place for a prompt.
            _ if self.known || now.saturating_duration_since(self.begun) >= START => {
                (State::Unknown, Evidence::Screen)
            }
            _ => (State::Starting, Evidence::Screen),
        }
    }

    /// The best of the sources that agree with the picture.
    fn agreed(&self, signal: Signal, seen: Evidence) -> Evidence {
        let hook = self.hook.is_some_and(|(s, _)| s == signal);
        let stream = self.stream.is_some_and(|(s, _)| s == signal);
        match self.picture.file {
            _ if hook => Evidence::Hook,
            Some(file) if file.signal == signal => Evidence::AgentFile,
            _ if stream => Evidence::Stream,
            _ => seen,
        }
    }
}

/// Whether a picture tells a state.
fn says(picture: &Picture) -> bool {
    !matches!(picture.state, None | Some(manifest::State::Unknown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::State as Shows;
    use muxfs_agent::catalogue::Catalogue;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn eyes(now: Instant) -> Eyes {
        let manifest = Catalogue::load("/nonexistent".as_ref()).get("claude").unwrap().clone();
        Eyes::new(Agent { key: "claude".into(), manifest }, now)
    }

    impl Eyes {
        fn at(&mut self, quiet: Duration, now: Instant) -> Verdict {
            self.decide(quiet, now, SystemTime::UNIX_EPOCH)
        }
    }

    fn shows(state: Shows) -> Picture {
        Picture { state: Some(state), ..Picture::default() }
    }

    #[test]
    fn ready_is_not_said_before_it_held_for_a_moment() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.look(shows(Shows::Ready), t);
        let v = e.at(ms(0), t);
        assert_eq!((v.state, v.fresh, v.again), (State::Ready, false, Some(SETTLE)));
        assert!(e.at(ms(0), t + SETTLE).fresh);
    }

    #[test]
    fn after_an_input_the_state_from_before_counts_no_more() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.look(shows(Shows::Ready), t);
        e.at(ms(0), t);
        e.input(t + ms(500));
        assert!(!e.at(ms(10), t + ms(900)).fresh, "a composer that stands there still");
        e.look(shows(Shows::Busy), t);
        assert_eq!(e.at(ms(0), t + ms(1000)).state, State::Busy);
        e.look(shows(Shows::Ready), t);
        e.at(ms(0), t + ms(1100));
        assert!(e.at(ms(0), t + ms(1300)).fresh);
    }

    #[test]
    fn an_answer_that_came_between_two_looks_ends_with_quiet_or_a_hook() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.input(t);
        e.look(shows(Shows::Ready), t);
        assert!(!e.at(ms(1000), t + ms(1000)).fresh);
        e.at(QUIET_PROGRAM, t + QUIET_PROGRAM);
        assert!(e.at(QUIET_PROGRAM, t + QUIET_PROGRAM + SETTLE).fresh);
        e.input(t + ms(5000));
        e.hook(Signal::Idle, t + ms(5100));
        let v = e.at(ms(50), t + ms(5150));
        assert_eq!((v.state, v.evidence, v.fresh), (State::Ready, Evidence::Hook, true));
    }

    #[test]
    fn a_prompt_may_take_longer_until_work_shows() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.input(t);
        e.expect_work(ms(5000));
        e.look(shows(Shows::Ready), t);
        e.at(ms(3000), t + ms(3000));
        assert!(!e.at(ms(4000), t + ms(4000)).fresh);
        e.at(ms(7000), t + ms(7000));
        assert!(e.at(ms(7200), t + ms(7200)).fresh);
    }

    #[test]
    fn the_agents_own_file_tells_of_work_that_a_draft_hides() {
        let t = Instant::now();
        let mut e = eyes(t);
        let file = |signal, at| Some(FileSays { signal, written: Some(t + ms(at)) });
        e.look(Picture { file: file(Signal::Works, 0), ..shows(Shows::Ready) }, t);
        assert_eq!(e.at(ms(0), t).state, State::Busy);
        e.look(Picture { file: file(Signal::Asks, 0), ..shows(Shows::Ready) }, t);
        assert_eq!(e.at(ms(0), t).state, State::Blocked);
        // It is written a moment after the hook: the word from before is no end, however much later
        // it is asked.
        e.input(t + ms(1000));
        e.hook_took(t + ms(1050));
        e.look(Picture { file: file(Signal::Idle, 200), ..shows(Shows::Ready) }, t);
        assert_eq!(e.at(ms(10), t + ms(1100)).state, State::Busy);
        assert_eq!(e.at(ms(10), t + ms(1190)).state, State::Busy);
        e.look(Picture { file: file(Signal::Idle, 1190), ..shows(Shows::Ready) }, t);
        let v = e.at(ms(10), t + ms(1200));
        assert_eq!((v.state, v.evidence, v.fresh), (State::Ready, Evidence::AgentFile, true));
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing_of_when_a_file_was_written() {
        let t = Instant::now();
        let mut e = eyes(t);
        // Read 300 ms after it was written; the clock is set back by an hour, then forward.
        assert_eq!(e.written(10_000_000, t + ms(5000), 10_000_300), t + ms(4700));
        for wall in [6_400_300, 13_600_300] {
            assert_eq!(e.written(10_000_000, t + ms(6000), wall), t + ms(4700));
        }
        // A new text was not there at the look before, whatever the clock says.
        assert_eq!(e.written(6_400_900, t + ms(7000), 20_000_000), t + ms(6000));
        assert_eq!(e.written(6_400_950, t + ms(7000), 10), t + ms(7000));
    }

    #[test]
    fn a_hook_that_was_never_followed_is_believed_while_something_moves() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.hook(Signal::Works, t);
        e.look(shows(Shows::Ready), t);
        assert_eq!(e.at(ms(100), t + ms(5000)).state, State::Busy, "it prints");
        assert_eq!(e.at(ms(3000), t + ms(5000)).state, State::Ready, "interrupted: no hook says so");
    }

    #[test]
    fn a_dialog_wins_over_what_a_stream_may_claim() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.look(shows(Shows::Ready), t);
        e.stream(Signal::Idle, t);
        e.look(shows(Shows::Blocked), t);
        assert_eq!(e.at(ms(0), t).state, State::Blocked);
        e.look(shows(Shows::Unknown), t);
        assert_eq!(e.at(ms(0), t).state, State::Unknown, "no stream makes a prompt welcome");
    }

    #[test]
    fn a_picture_taken_while_it_paints_is_no_state() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.look(shows(Shows::Busy), t);
        assert_eq!(e.at(ms(0), t).state, State::Busy);
        e.look(shows(Shows::Unknown), t);
        let v = e.at(ms(0), t + ms(100));
        assert_eq!((v.state, v.again), (State::Busy, Some(SETTLE)));
        assert_eq!(e.at(ms(0), t + ms(500)).state, State::Busy, "one look is not two");
        e.look(shows(Shows::Busy), t);
        assert_eq!(e.at(ms(0), t + ms(1000)).again, Some(AGAIN));
        // One that lasts is what it is, and one of an agent at rest is at once.
        e.look(shows(Shows::Unknown), t);
        e.at(ms(0), t + ms(1100));
        e.look(shows(Shows::Unknown), t);
        assert_eq!(e.at(ms(0), t + ms(1300)).state, State::Unknown);
        e.look(shows(Shows::Ready), t);
        assert_eq!(e.at(ms(0), t + ms(1400)).state, State::Ready);
        e.look(shows(Shows::Unknown), t);
        assert_eq!(e.at(ms(0), t + ms(1500)).state, State::Unknown);
    }

    #[test]
    fn what_is_never_recognised_is_starting_and_then_unknown() {
        let t = Instant::now();
        let mut e = eyes(t);
        assert_eq!(e.at(ms(0), t).state, State::Starting);
        assert_eq!(e.at(ms(0), t + START).state, State::Unknown);
    }

    #[test]
    fn what_follows_a_dialog_of_the_start_is_the_start() {
        let t = Instant::now();
        let mut e = eyes(t - START * 2);
        e.look(shows(Shows::Blocked), t);
        assert_eq!(e.at(ms(0), t).state, State::Blocked);
        e.input(t);
        e.look(shows(Shows::Unknown), t);
        assert_eq!(e.at(ms(0), t + ms(100)).state, State::Starting);
        assert_eq!(e.at(ms(0), t + START * 2).state, State::Unknown);
        e.look(shows(Shows::Ready), t);
        e.look(shows(Shows::Blocked), t);
        e.look(shows(Shows::Unknown), t);
        assert_eq!(e.at(ms(0), t + ms(100)).state, State::Unknown, "it had started");
    }

    #[test]
    fn what_was_told_limits_an_agent_that_looks_ready() {
        let t = Instant::now();
        let mut e = eyes(t);
        e.look(shows(Shows::Ready), t);
        e.said("Not logged in · Please run /login", true, Evidence::Hook, t, SystemTime::UNIX_EPOCH);
        let v = e.at(ms(0), t);
        assert_eq!((v.state, v.evidence), (State::Limited, Evidence::Hook));
        assert_eq!(e.limit(SystemTime::UNIX_EPOCH).unwrap().reason, Reason::Login);
        e.look(shows(Shows::Busy), t);
        assert_eq!(e.at(ms(0), t).state, State::Busy);
        e.look(shows(Shows::Blocked), t);
        assert_eq!(e.at(ms(0), t).state, State::Blocked);
        e.look(shows(Shows::Ready), t);
        assert_eq!(e.at(ms(0), t).state, State::Limited, "a moment of work proves nothing");
        e.said("Here is the answer.", false, Evidence::Hook, t, SystemTime::UNIX_EPOCH);
        assert_eq!(e.at(ms(0), t).state, State::Ready);
        e.said("Not logged in · Please run /login", true, Evidence::Hook, t, SystemTime::UNIX_EPOCH);
        e.begin_anew(t);
        e.look(shows(Shows::Ready), t);
        assert_eq!(e.at(ms(0), t).state, State::Ready, "another process");
    }

    #[test]
    fn a_limit_ends_by_the_clock_on_the_wall() {
        let t = Instant::now();
        let wall = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        let mut e = eyes(t);
        e.look(Picture { until: Some(wall(60)), ..shows(Shows::Limited) }, t);
        assert_eq!(e.decide(ms(0), t, wall(59)).state, State::Limited);
        assert_eq!(e.decide(ms(0), t, wall(60)).state, State::Ready);
    }

    #[test]
    fn an_agent_that_goes_on_after_a_limit_is_not_at_rest_when_its_time_comes() {
        let t = Instant::now();
        let wall = |n: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        let mut e = eyes(t);
        e.look(Picture { until: Some(wall(60)), continues: true, ..shows(Shows::Limited) }, t);
        assert_eq!(e.decide(ms(0), t, wall(59)).state, State::Limited);
        assert_eq!(e.decide(ms(0), t, wall(60)).state, State::Busy);
        assert_eq!(e.decide(ms(0), t, wall(60) + GOES_ON).state, State::Ready, "it did not");
    }
}
