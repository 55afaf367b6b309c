//! One prompt that was typed: waits until the composer reads exactly it, presses Enter, and sees that it
//! is taken, or takes it out of the composer again.
//!
//! Each wait has a limit. Knows the composer; must not know the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::pane::Held;
use super::super::{Pane, Sessions};
use super::submit::{
    CLEARS, Holds, LOOK, Put, Wanted, clear_keys, holds, is_rest, known, left, pressed, stand, stands,
};
use crate::agent::manifest::{Manifest, State as Shows};
use crate::error::Result;
use crate::tmux::input::{self, Typed};
use crate::tmux::{self, Server, Stand};

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

/// One prompt that was typed, on its way to be taken.
pub(super) struct Entry<'a> {
    pub sessions: &'a Arc<Sessions>,
    pub pane: &'a Arc<Pane>,
    pub server: &'a Server,
    pub manifest: &'a Manifest,
    pub text: &'a str,
    pub typed: bool,
    pub wanted: Wanted<'a>,
}

/// One look at a prompt that was typed.
struct Look {
    shot: tmux::Picture,
    stand: Stand,
    holds: Holds,
    state: Option<Shows>,
    /// The entry that Enter would take, where a list of completions is open.
    list: Option<String>,
}

/// Why a prompt is not submitted.
enum Stop {
    Interrupted,
    /// It stands there, and no Enter was pressed.
    Stuck(String),
    /// It stood there, and then the composer was empty.
    Vanished,
    /// It is not known whether, or how much of it, stands there.
    Lost(String),
}

impl Entry<'_> {
    pub(super) async fn submit(&self) -> Result<Put> {
        let submit = &self.manifest.submit;
        let (settle, limit) = (submit.settle + self.per_byte(10), SHOWN + self.per_byte(50));
        let typed = Instant::now();
        if let Err(stop) = self.until_ours(settle, limit, false).await? {
            return self.stopped(stop, false).await;
        }
        // An agent that is slow to show a text is as slow to take an Enter.
        let slow = typed.elapsed().saturating_sub(settle);
        if !submit.nudge.is_empty() && self.text.len() >= submit.large && !self.typed {
            self.nudge().await?;
        }
        for earlier in 0..submit.enters.max(1) {
            let before = match self.enter().await? {
                Ok(before) => before,
                // On a slow machine the Enter before is taken late.
                Err(Stop::Vanished) if earlier > 0 => return Ok(Put::Taken),
                Err(stop) => return self.stopped(stop, earlier > 0).await,
            };
            let is_command = self.text.starts_with('/'); // the agent does no work for it
            let work = if is_command { Duration::ZERO } else { UNSEEN } + self.per_byte(75);
            self.pane.eyes(|e| e.expect_work(work));
            let last = earlier + 1 >= submit.enters;
            if self.until_taken(&before, TAKEN + slow + self.per_byte(75), last).await? {
                return Ok(Put::Taken);
            }
        }
        let why = "it stood in the composer; no Enter was taken";
        self.take_out().await?;
        Ok(Put::Uncertain(why.into()))
    }

    /// How much longer a prompt of this size may take: up to 15 s were seen for 200 kB.
    fn per_byte(&self, microseconds: u32) -> Duration {
        Duration::from_micros(self.text.len() as u64) * microseconds
    }

    async fn look(&self) -> Result<Look> {
        self.pane.check_alive()?;
        let (shot, picture) = self.sessions.picture(self.pane).await?;
        let look = Look {
            stand: stand(&shot, &picture),
            holds: holds(self.manifest, &picture, self.text),
            state: picture.state,
            list: picture.popup.as_ref().map(|p| p.takes.clone()),
            shot,
        };
        self.pane.saw(look.shot.pid, picture);
        Ok(look)
    }

    /// Waits until the composer holds exactly the prompt, for `settle` at a stretch, at most `limit`.
    /// `seen`: it did before, so an empty composer means that the prompt vanished. A dialog is for a
    /// person to answer: its time does not count.
    async fn until_ours(
        &self,
        settle: Duration,
        limit: Duration,
        mut seen: bool,
    ) -> Result<std::result::Result<Look, Stop>> {
        let mut begun = Instant::now();
        let mut last = begun;
        // Since when it holds the prompt, since when it is empty, and since when it no longer holds
        // the prompt.
        let (mut ours, mut empty, mut away) = (None, None, seen.then_some(begun));
        // Until when it had printed nothing for longer than the limit.
        let mut spoke = None;
        loop {
            if !(self.wanted)() {
                return Ok(Err(Stop::Interrupted));
            }
            let look = self.look().await?;
            let now = Instant::now();
            if look.state == Some(Shows::Blocked) {
                self.pane
                    .set_held(Some(Held::new("dialog", "the agent asks; a prompt stands in its composer")));
                begun += now - last;
                (ours, empty, last) = (None, None, now);
                away = away.map(|_| now);
                tokio::time::sleep(LOOK * 5).await;
                continue;
            }
            last = now;
            let waited = now.saturating_duration_since(begun);
            match &look.holds {
                Holds::Ours => {
                    seen = true;
                    (empty, away) = (None, None);
                    if now - *ours.get_or_insert(now) >= settle {
                        self.pane.set_held(None);
                        return Ok(Ok(look));
                    }
                }
                Holds::Blind => {
                    let quiet = self.pane.judge(|j| j.quiet(now));
                    if quiet >= settle && look.state != Some(Shows::Unknown) || waited >= limit {
                        return Ok(Ok(look));
                    }
                }
                Holds::Nothing => {
                    ours = None;
                    if seen && now - *empty.get_or_insert(now) >= TORN {
                        return Ok(Err(Stop::Vanished));
                    }
                }
                Holds::Other | Holds::NotSeen(_) => (ours, empty) = (None, None),
            }
            if seen && look.holds != Holds::Ours {
                away.get_or_insert(now);
            }
            // A large text needs long to show, and stands for long before its Enter.
            let over = |since: Instant| now.saturating_duration_since(since) >= limit + settle;
            let silent = self.pane.judge(|j| j.quiet(now)) + ECHO >= waited && waited < SILENT;
            if silent && !seen && look.holds == Holds::Nothing && over(begun) {
                let why = "the agent prints nothing since the prompt was typed";
                self.pane.set_held(Some(Held::new("composer", why)));
                spoke = Some(now); // from then on it has its time
            } else if over(spoke.unwrap_or(begun)) || away.is_some_and(|since| now - since >= OTHER) {
                return Ok(Err(Stop::Lost(why_not_ours(look.holds))));
            }
            tokio::time::sleep(LOOK.min(settle.max(LOOK / 3))).await;
        }
    }

    /// A key that makes an agent take in a large paste, pressed when it stands there.
    async fn nudge(&self) -> Result<()> {
        let look = self.look().await?;
        if look.holds == Holds::Ours {
            let keys = known(&self.manifest.submit.nudge)?;
            input::type_if(self.server, &self.pane.id, &pressed(&keys), &look.stand).await?;
            tokio::time::sleep(self.manifest.submit.settle).await;
        }
        Ok(())
    }

    /// Presses Enter where the composer holds exactly the prompt and no list would take the key.
    /// Returns what was seen just before.
    async fn enter(&self) -> Result<std::result::Result<Look, Stop>> {
        let mut begun = Instant::now();
        let (enter, space) = (known(&["Enter"])?, known(&self.manifest.keys.end_word)?);
        let (close, queue) = (known(&self.manifest.keys.close)?, known(&self.manifest.keys.queue)?);
        let (mut closes, mut closed) = (0, None::<Instant>);
        loop {
            let look = match self.until_ours(Duration::ZERO, OTHER, true).await? {
                Ok(look) => look,
                Err(stop) => return Ok(Err(stop)),
            };
            // Commands are run, not queued. Where it works no longer, this key does nothing.
            let queues = look.state == Some(Shows::Busy) && !queue.is_empty() && !self.text.starts_with('/');
            let hand_in = if queues { &queue } else { &enter };
            let mut keys = hand_in;
            // An entry that reads as the prompt does may be taken.
            if look.list.as_ref().is_some_and(|takes| takes != self.text.trim()) {
                // A slow agent may be at the key before still, and two of them mean another thing.
                if closed.is_some_and(|at| at.elapsed() < TAKEN) {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                if closes == CLOSES {
                    let why = "a list of completions stays open and would take the Enter";
                    return Ok(Err(Stop::Stuck(why.into())));
                }
                // A blank ends the word that is completed.
                keys = if close.is_empty() || closes + 1 == CLOSES { &space } else { &close };
            }
            if keys == hand_in {
                self.pane.input(Instant::now());
            }
            // What never rests (a spinner that moves the cursor) is pressed on the look alone.
            let typed = input::type_if(self.server, &self.pane.id, &pressed(keys), &look.stand).await?;
            if typed == Typed::Yes && keys == hand_in {
                return Ok(Ok(look));
            }
            if typed == Typed::Yes {
                if keys == &close {
                    self.sessions.see_close(self.pane, self.server, self.manifest).await?;
                }
                (closes, closed, begun) = (closes + 1, Some(Instant::now()), Instant::now());
            } else if begun.elapsed() >= REST {
                return Ok(Err(Stop::Stuck("its screen never rests".into())));
            }
        }
    }

    /// Whether the Enter pressed at `before` shows within `limit`; the `last` one has more time while
    /// the agent prints nothing, since no other follows.
    async fn until_taken(&self, before: &Look, limit: Duration, last: bool) -> Result<bool> {
        let begun = Instant::now();
        let silent = || self.pane.judge(|j| j.quiet(Instant::now())) >= begun.elapsed();
        let busy = before.state == Some(Shows::Busy); // then work is no sign
        while begun.elapsed() < limit || last && silent() && begun.elapsed() < limit + UNHEARD {
            tokio::time::sleep(LOOK).await;
            let look = self.look().await?;
            let worked = matches!(look.state, Some(Shows::Busy | Shows::Blocked | Shows::Limited));
            let taken = worked && !busy
                || match look.holds {
                    Holds::Nothing => true,
                    Holds::Ours | Holds::Other => false,
                    Holds::NotSeen(_) | Holds::Blind => look.shot.text != before.shot.text,
                };
            self.sessions.observe_now(self.pane);
            if taken || !busy && self.pane.eyes(|e| e.told()).unwrap_or(false) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `entered`: an Enter was pressed before, and did something else.
    async fn stopped(&self, stop: Stop, entered: bool) -> Result<Put> {
        let out = self.take_out().await?;
        let enter = if entered { "its Enter was not taken" } else { "no Enter was pressed" };
        Ok(match stop {
            Stop::Interrupted if out && !entered => Put::Interrupted,
            Stop::Stuck(why) if out && !entered => Put::Back(why),
            Stop::Interrupted => Put::Uncertain("it was interrupted while it was typed".into()),
            Stop::Vanished => Put::Uncertain(format!("its text vanished from the composer; {enter}")),
            Stop::Stuck(why) | Stop::Lost(why) => Put::Uncertain(format!("{why}; {enter}")),
        })
    }

    /// Takes the prompt out of the composer again. True where it was seen there, and then nothing.
    async fn take_out(&self) -> Result<bool> {
        let (clear, delete) = (clear_keys(self.manifest)?, known(&["DC"])?);
        let (mut before, mut misses) = (None, 0);
        for _ in 0..CLEARS {
            let (shot, picture) = self.sessions.picture(self.pane).await?;
            let stand = stand(&shot, &picture);
            let asks = picture.state == Some(Shows::Blocked);
            let ours = stands(self.manifest, &picture, self.text);
            let draft = left(&picture, self.text);
            self.pane.saw(shot.pid, picture);
            let ours = ours || before.is_some() && draft.as_ref().is_some_and(|d| is_rest(d, self.text));
            match draft {
                Some(draft) if draft.is_empty() => return Ok(before.is_some()),
                Some(draft) if ours && !asks => {
                    let keys = if before.as_ref() == Some(&draft) { &delete } else { &clear };
                    before = Some(draft);
                    input::type_if(self.server, &self.pane.id, &pressed(keys), &stand).await?;
                }
                // It may be in the middle of a repaint.
                _ if misses == 3 => return Ok(false),
                _ => misses += 1,
            }
            tokio::time::sleep(LOOK * 3).await;
        }
        Ok(false)
    }
}

/// Why a wait for the prompt in the composer was given up.
fn why_not_ours(holds: Holds) -> String {
    match holds {
        Holds::Nothing => "its text did not show in the composer".into(),
        Holds::Other => "the composer holds another text than the prompt".into(),
        Holds::NotSeen(why) => why,
        Holds::Ours | Holds::Blind => "its screen never rests".into(),
    }
}
