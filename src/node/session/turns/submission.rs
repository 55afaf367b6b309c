//! One prompt that was typed, as a machine: whether the composer reads exactly it, when Enter is pressed
//! and again, whether it was taken, and when it is taken out of the composer again.
//!
//! Pure: the time is an argument, and what is to be done is a value that entry.rs carries out. Each wait
//! has a limit. Must not know the queue, tmux, nor which keys a manifest names.

use std::time::{Duration, Instant};

use super::super::pane::Held;
use super::submit::{CLEARS, Holds, LOOK, Put, is_rest};
use muxfs_agent::manifest::State as Shows;

/// How long a text may take to stand in the composer: 200 kB took an agent up to 2 s.
const SHOWN: Duration = Duration::from_secs(10);
/// How long an agent may print nothing after a text was typed: one that waits for the processor has not
/// read it yet. What it still prints within [`ECHO`] may be from before.
const SILENT: Duration = Duration::from_secs(60);
const ECHO: Duration = Duration::from_secs(1);
/// Within this an Enter shows, or it is pressed again where the manifest says so.
const TAKEN: Duration = Duration::from_secs(2);
/// How much longer the last Enter may take where the agent prints nothing at all.
const UNHEARD: Duration = Duration::from_secs(15);
/// How much longer a prompt may take to show as work than a command: a busy machine.
const UNSEEN: Duration = Duration::from_secs(6);
/// How long a screen that never rests is tried.
const REST: Duration = Duration::from_secs(5);
/// How long a composer that shows another text, or is not to be seen, is looked at.
const OTHER: Duration = Duration::from_secs(5);
/// A composer that is being painted is empty for less.
const TORN: Duration = Duration::from_millis(200);
/// How often an open list of completions is closed.
const CLOSES: u32 = 3;
/// How often a composer is looked at that does not show what is to be taken out of it: it may be in the
/// middle of a repaint.
const MISSES: u32 = 3;

/// What is to be submitted, and how its agent takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub text: String,
    /// It must stand so long before its Enter.
    pub settle: Duration,
    /// How many Enters may be needed.
    pub enters: u32,
    /// The agent takes a paste of this size in only after a key.
    pub nudge: bool,
    /// There is a key that closes a list of completions.
    pub can_close: bool,
    /// There is a key that queues a prompt while the agent works.
    pub can_queue: bool,
}

impl Prompt {
    /// How much longer a prompt of this size may take: up to 15 s were seen for 200 kB.
    fn per_byte(&self, microseconds: u32) -> Duration {
        Duration::from_micros(self.text.len() as u64) * microseconds
    }

    /// The agent does no work for it.
    fn is_command(&self) -> bool {
        self.text.starts_with('/')
    }
}

/// One look at the composer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    pub holds: Holds,
    pub state: Option<Shows>,
    /// The entry that Enter would take, where a list of completions is open.
    pub list: Option<String>,
    /// How long the pane has printed nothing.
    pub quiet: Duration,
    /// The prompt is wanted still.
    pub wanted: bool,
    /// The agent itself says that it works.
    pub says_work: bool,
    /// The screen is another one than before the last Enter.
    pub changed: bool,
    /// What is left of the text in the composer; none where that is not seen.
    pub left: Option<String>,
    /// The text stands there, in whatever mode.
    pub stands: bool,
}

/// Keys, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Makes the agent take in a large paste.
    Nudge,
    Enter,
    /// Hands a prompt in while the agent works.
    Queue,
    /// Closes a list of completions.
    Close,
    /// Ends the word that is completed.
    Space,
    /// Deletes backwards from the end.
    Clear,
    /// Deletes forwards: keys that delete backwards find nothing where the cursor stands at the start.
    Delete,
}

/// What the machine waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wants {
    /// A look, after a pause.
    Look(Duration),
    /// These keys, on the pane as it was seen at the last look.
    Press(Keys),
    /// Nothing more.
    End(Put),
}

#[derive(Debug)]
pub(super) enum Event {
    Looked(Look),
    /// Whether the keys were pressed: not where the pane had changed.
    Pressed(bool),
}

/// What is to be done before the next event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    Hold(Option<Held>),
    /// What was typed may take this much longer than others until it shows as work.
    ExpectWork(Duration),
}

/// One prompt on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Submission {
    prompt: Prompt,
    phase: Phase,
    /// How much longer this agent takes than others, by the time the text took to show.
    slow: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The text is to show; since when it was typed.
    Showing {
        ours: Ours,
        typed: Instant,
    },
    Nudging,
    /// The text is there: Enter follows.
    Entering {
        entering: Entering,
        ours: Ours,
    },
    Pressing {
        entering: Entering,
        keys: Keys,
        busy: bool,
    },
    /// Whether the Enter is taken. `busy`: it worked before.
    Taking {
        earlier: u32,
        begun: Instant,
        busy: bool,
    },
    TakingOut {
        why: Stop,
        entered: bool,
        out: TakingOut,
    },
    Clearing {
        why: Stop,
        entered: bool,
        out: TakingOut,
        keys: Keys,
    },
    Ended(Put),
}

/// The presses before one Enter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entering {
    /// Enters before it.
    earlier: u32,
    begun: Instant,
    closes: u32,
    closed: Option<Instant>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TakingOut {
    /// What stood there at the last look.
    before: Option<String>,
    misses: u32,
    looks: u32,
}

/// Why a prompt is not submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Interrupted,
    /// It stands there, and no Enter was pressed.
    Stuck(String),
    /// It stood there, and then the composer was empty.
    Vanished,
    /// It is not known whether, or how much of it, stands there.
    Lost(String),
    /// It stood there after each Enter.
    NotTaken,
}

/// A wait for the composer to hold exactly the prompt, for `settle` at a stretch, at most `limit`. A dialog
/// is for a person to answer: its time does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ours {
    settle: Duration,
    limit: Duration,
    /// It held the prompt before, so an empty composer means that the prompt vanished.
    seen: bool,
    begun: Instant,
    last: Instant,
    /// Since when it holds the prompt, since when it is empty, and since when it no longer holds the
    /// prompt.
    ours: Option<Instant>,
    empty: Option<Instant>,
    away: Option<Instant>,
    /// Until when it had printed nothing for longer than the limit.
    spoke: Option<Instant>,
    /// Before the next look.
    pause: Duration,
}

/// What a look of such a wait says.
enum Waited {
    Again,
    There,
    Stop(Stop),
}

impl Submission {
    /// The text was typed at `now`.
    pub fn new(prompt: Prompt, now: Instant) -> Self {
        let (settle, limit) = (prompt.settle + prompt.per_byte(10), SHOWN + prompt.per_byte(50));
        let phase = Phase::Showing { ours: Ours::new(settle, limit, false, now), typed: now };
        Submission { prompt, phase, slow: Duration::ZERO }
    }

    pub fn wants(&self) -> Wants {
        match &self.phase {
            Phase::Showing { ours, .. } | Phase::Entering { ours, .. } => Wants::Look(ours.pause),
            Phase::Nudging => Wants::Press(Keys::Nudge),
            Phase::Pressing { keys, .. } | Phase::Clearing { keys, .. } => Wants::Press(*keys),
            Phase::Taking { .. } => Wants::Look(LOOK),
            Phase::TakingOut { out, .. } if out.looks == 0 => Wants::Look(Duration::ZERO),
            Phase::TakingOut { .. } => Wants::Look(LOOK * 3),
            Phase::Ended(put) => Wants::End(put.clone()),
        }
    }

    /// Whether the agent's state is to be published anew after a look: it may say that it works.
    pub fn is_entered(&self) -> bool {
        matches!(self.phase, Phase::Taking { .. })
    }

    /// Whether it is of no use without a program that reads: what stands in a composer is taken out also
    /// of one that is ending.
    pub fn needs_program(&self) -> bool {
        !matches!(self.phase, Phase::TakingOut { .. } | Phase::Clearing { .. } | Phase::Ended(_))
    }

    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        let phase = std::mem::replace(&mut self.phase, Phase::Nudging);
        self.phase = match (phase, event) {
            (Phase::Showing { mut ours, typed }, Event::Looked(look)) => {
                match ours.looked(&look, now, &mut effects) {
                    Waited::Again => Phase::Showing { ours, typed },
                    Waited::There => self.shown(&look, now.saturating_duration_since(typed), now),
                    Waited::Stop(why) => stopped(why, false),
                }
            }
            (Phase::Nudging, Event::Pressed(_)) => self.entering(0, self.prompt.settle, now),
            (Phase::Entering { entering, mut ours }, Event::Looked(look)) => {
                match ours.looked(&look, now, &mut effects) {
                    Waited::Again => Phase::Entering { entering, ours },
                    Waited::There => self.there(entering, &look, now),
                    // On a slow machine the Enter before is taken late.
                    Waited::Stop(Stop::Vanished) if entering.earlier > 0 => Phase::Ended(Put::Taken),
                    Waited::Stop(why) => stopped(why, entering.earlier > 0),
                }
            }
            (Phase::Pressing { entering, keys, busy }, Event::Pressed(yes)) => {
                self.pressed(entering, keys, busy, yes, now, &mut effects)
            }
            (Phase::Taking { earlier, begun, busy }, Event::Looked(look)) => {
                self.taking(earlier, begun, busy, &look, now)
            }
            (Phase::TakingOut { why, entered, out }, Event::Looked(look)) => {
                self.taking_out(why, entered, out, &look)
            }
            (Phase::Clearing { why, entered, out, .. }, Event::Pressed(_)) => {
                Phase::TakingOut { why, entered, out }
            }
            // An answer to what another phase wants.
            (
                phase @ (Phase::Nudging | Phase::Pressing { .. } | Phase::Clearing { .. }),
                Event::Looked(_),
            ) => phase,
            (phase @ (Phase::Showing { .. } | Phase::Entering { .. }), Event::Pressed(_)) => phase,
            (phase @ (Phase::Taking { .. } | Phase::TakingOut { .. }), Event::Pressed(_)) => phase,
            (phase @ Phase::Ended(_), Event::Looked(_) | Event::Pressed(_)) => phase,
        };
        effects
    }

    /// The text stands in the composer, so long after it was typed.
    fn shown(&mut self, look: &Look, after: Duration, now: Instant) -> Phase {
        // An agent that is slow to show a text is as slow to take an Enter.
        self.slow = after.saturating_sub(self.prompt.settle + self.prompt.per_byte(10));
        match self.prompt.nudge && look.holds == Holds::Ours {
            true => Phase::Nudging,
            false => self.entering(0, Duration::ZERO, now),
        }
    }

    /// `earlier` Enters were pressed before.
    fn entering(&self, earlier: u32, pause: Duration, now: Instant) -> Phase {
        let ours = Ours { pause, ..Ours::new(Duration::ZERO, OTHER, true, now + pause) };
        let entering = Entering { earlier, begun: now + pause, closes: 0, closed: None };
        Phase::Entering { entering, ours }
    }

    /// The composer holds exactly the prompt: Enter, unless a list would take the key.
    fn there(&self, entering: Entering, look: &Look, now: Instant) -> Phase {
        let busy = look.state == Some(Shows::Busy);
        // Commands are run, not queued. Where it works no longer, this key does nothing.
        let queues = busy && self.prompt.can_queue && !self.prompt.is_command();
        let mut keys = if queues { Keys::Queue } else { Keys::Enter };
        // An entry that reads as the prompt does may be taken.
        if look.list.as_ref().is_some_and(|takes| takes != self.prompt.text.trim()) {
            // A slow agent may be at the key before still, and two of them mean another thing.
            if entering.closed.is_some_and(|at| now.saturating_duration_since(at) < TAKEN) {
                let ours = Ours { pause: LOOK, ..Ours::new(Duration::ZERO, OTHER, true, now) };
                return Phase::Entering { entering, ours };
            }
            if entering.closes == CLOSES {
                let why = "a list of completions stays open and would take the Enter";
                return stopped(Stop::Stuck(why.into()), entering.earlier > 0);
            }
            let by_word = !self.prompt.can_close || entering.closes + 1 == CLOSES;
            keys = if by_word { Keys::Space } else { Keys::Close };
        }
        Phase::Pressing { entering, keys, busy }
    }

    fn pressed(
        &self,
        mut entering: Entering,
        keys: Keys,
        busy: bool,
        yes: bool,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Phase {
        let enter = matches!(keys, Keys::Enter | Keys::Queue);
        if yes && enter {
            let unseen = if self.prompt.is_command() { Duration::ZERO } else { UNSEEN };
            effects.push(Effect::ExpectWork(unseen + self.prompt.per_byte(75)));
            return Phase::Taking { earlier: entering.earlier, begun: now, busy };
        }
        if yes {
            (entering.closes, entering.closed, entering.begun) = (entering.closes + 1, Some(now), now);
        } else if now.saturating_duration_since(entering.begun) >= REST {
            return stopped(Stop::Stuck("its screen never rests".into()), entering.earlier > 0);
        }
        let ours = Ours { pause: Duration::ZERO, ..Ours::new(Duration::ZERO, OTHER, true, now) };
        Phase::Entering { entering, ours }
    }

    /// Whether the last Enter shows; the last one has more time while the agent prints nothing, since no
    /// other follows.
    fn taking(&self, earlier: u32, begun: Instant, busy: bool, look: &Look, now: Instant) -> Phase {
        let worked = matches!(look.state, Some(Shows::Busy | Shows::Blocked | Shows::Limited));
        // Where it worked before, work is no sign.
        let taken = (worked || look.says_work) && !busy
            || match look.holds {
                Holds::Nothing => true,
                Holds::Ours | Holds::Other => false,
                Holds::NotSeen(_) | Holds::Blind => look.changed,
            };
        if taken {
            return Phase::Ended(Put::Taken);
        }
        let limit = TAKEN + self.slow + self.prompt.per_byte(75);
        let (waited, last) = (now.saturating_duration_since(begun), earlier + 1 >= self.prompt.enters);
        if waited < limit || last && look.quiet >= waited && waited < limit + UNHEARD {
            return Phase::Taking { earlier, begun, busy };
        }
        match last {
            true => stopped(Stop::NotTaken, true),
            false => self.entering(earlier + 1, Duration::ZERO, now),
        }
    }

    /// True where it was seen in the composer, and then nothing.
    fn taking_out(&self, why: Stop, entered: bool, mut out: TakingOut, look: &Look) -> Phase {
        if out.looks == CLEARS {
            return Phase::Ended(put(why, entered, false));
        }
        out.looks += 1;
        let rest = |draft: &String| is_rest(draft, &self.prompt.text);
        let ours = look.stands || out.before.is_some() && look.left.as_ref().is_some_and(rest);
        match &look.left {
            Some(draft) if draft.is_empty() => Phase::Ended(put(why, entered, out.before.is_some())),
            Some(draft) if ours && look.state != Some(Shows::Blocked) => {
                let keys = if out.before.as_ref() == Some(draft) { Keys::Delete } else { Keys::Clear };
                out.before = Some(draft.clone());
                Phase::Clearing { why, entered, out, keys }
            }
            _ if out.misses == MISSES => Phase::Ended(put(why, entered, false)),
            _ => {
                out.misses += 1;
                Phase::TakingOut { why, entered, out }
            }
        }
    }
}

/// The prompt is taken out of the composer again. `entered`: an Enter was pressed before, and did
/// something else.
fn stopped(why: Stop, entered: bool) -> Phase {
    Phase::TakingOut { why, entered, out: TakingOut::default() }
}

/// What became of a prompt that was not submitted. `out`: it stands in the composer no longer.
fn put(why: Stop, entered: bool, out: bool) -> Put {
    let enter = if entered { "its Enter was not taken" } else { "no Enter was pressed" };
    match why {
        Stop::Interrupted if out && !entered => Put::Interrupted,
        Stop::Stuck(why) if out && !entered => Put::Back(why),
        Stop::Interrupted => Put::Uncertain("it was interrupted while it was typed".into()),
        Stop::Vanished => Put::Uncertain(format!("its text vanished from the composer; {enter}")),
        Stop::Stuck(why) | Stop::Lost(why) => Put::Uncertain(format!("{why}; {enter}")),
        Stop::NotTaken => Put::Uncertain("it stood in the composer; no Enter was taken".into()),
    }
}

impl Ours {
    fn new(settle: Duration, limit: Duration, seen: bool, now: Instant) -> Self {
        Ours {
            settle,
            limit,
            seen,
            begun: now,
            last: now,
            ours: None,
            empty: None,
            away: seen.then_some(now),
            spoke: None,
            pause: Duration::ZERO,
        }
    }

    fn looked(&mut self, look: &Look, now: Instant, effects: &mut Vec<Effect>) -> Waited {
        if !look.wanted {
            return Waited::Stop(Stop::Interrupted);
        }
        if look.state == Some(Shows::Blocked) {
            let why = "the agent asks; a prompt stands in its composer";
            effects.push(Effect::Hold(Some(Held::new("dialog", why))));
            self.begun += now.saturating_duration_since(self.last);
            (self.ours, self.empty, self.last) = (None, None, now);
            self.away = self.away.map(|_| now);
            self.pause = LOOK * 5;
            return Waited::Again;
        }
        self.last = now;
        self.pause = LOOK.min(self.settle.max(LOOK / 3));
        let since = |at: Instant| now.saturating_duration_since(at);
        let waited = since(self.begun);
        match &look.holds {
            Holds::Ours => {
                self.seen = true;
                (self.empty, self.away) = (None, None);
                if since(*self.ours.get_or_insert(now)) >= self.settle {
                    effects.push(Effect::Hold(None));
                    return Waited::There;
                }
            }
            Holds::Blind => {
                let quiet = look.quiet >= self.settle && look.state != Some(Shows::Unknown);
                if quiet || waited >= self.limit {
                    return Waited::There;
                }
            }
            Holds::Nothing => {
                self.ours = None;
                if self.seen && since(*self.empty.get_or_insert(now)) >= TORN {
                    return Waited::Stop(Stop::Vanished);
                }
            }
            Holds::Other | Holds::NotSeen(_) => (self.ours, self.empty) = (None, None),
        }
        if self.seen && look.holds != Holds::Ours {
            self.away.get_or_insert(now);
        }
        // A large text needs long to show, and stands for long before its Enter.
        let over = |at: Instant| since(at) >= self.limit + self.settle;
        let silent = look.quiet + ECHO >= waited && waited < SILENT;
        if silent && !self.seen && look.holds == Holds::Nothing && over(self.begun) {
            let why = "the agent prints nothing since the prompt was typed";
            effects.push(Effect::Hold(Some(Held::new("composer", why))));
            self.spoke = Some(now); // from then on it has its time
        } else if over(self.spoke.unwrap_or(self.begun)) || self.away.is_some_and(|at| since(at) >= OTHER) {
            return Waited::Stop(Stop::Lost(why_not_ours(&look.holds)));
        }
        Waited::Again
    }
}

/// Why a wait for the prompt in the composer was given up.
fn why_not_ours(holds: &Holds) -> String {
    match holds {
        Holds::Nothing => "its text did not show in the composer".into(),
        Holds::Other => "the composer holds another text than the prompt".into(),
        Holds::NotSeen(why) => why.clone(),
        Holds::Ours | Holds::Blind => "its screen never rests".into(),
    }
}

#[cfg(test)]
#[path = "submission_tests.rs"]
mod tests;
