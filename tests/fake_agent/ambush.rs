//! A dialog that nobody called for, over the composer: a tool in the background asks at a moment near
//! the Enter of a prompt. Chooses the moments, and says which dialog an Enter approved and how long
//! after it was painted. Pure but for the clock passed in and the random numbers.
//!
//! After the dialog's rows, in the same write(2), stands the question `ESC [ 5 n`, which the terminal
//! answers as it reads it. So the bytes that come in have an order: an Enter before the answer was
//! sent by a terminal that had not read the dialog; an Enter after it was sent by one that had.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What asks the terminal whether it has read so far.
const ASK: &str = "\x1b[5n";
/// A dialog goes away by itself after this.
const STANDS: Duration = Duration::from_millis(100);
/// The moment lies so much before and after one at which an Enter came.
const BEFORE: Duration = Duration::from_millis(6);
const AFTER: Duration = Duration::from_millis(3);
/// Of so many Enters it remembers how long after their paste they came.
const REMEMBERED: usize = 32;

#[derive(Debug)]
struct Up {
    since: Instant,
    painted: bool,
    /// When the terminal said that it has read it.
    read: Option<Instant>,
    /// Something lay unread in the terminal before it was painted.
    early: bool,
}

#[derive(Debug, Default)]
pub struct Ambush {
    pasted: Option<Instant>,
    delays: VecDeque<Duration>,
    at: Option<Instant>,
    up: Option<Up>,
    /// Questions to the terminal, and its answers.
    asked: usize,
    answers: usize,
}

impl Ambush {
    /// A prompt came into the composer.
    pub fn pasted(&mut self, now: Instant) {
        self.pasted = Some(now);
        let one = self.delays.get(random() as usize % self.delays.len().max(1));
        let span = (BEFORE + AFTER).as_micros() as u64;
        let shift = Duration::from_micros(u64::from(random()) % span);
        self.at = one.map(|delay| now + (*delay + shift).saturating_sub(BEFORE));
    }

    /// Its Enter came first.
    pub fn entered(&mut self, now: Instant) {
        self.at = None;
        if let Some(pasted) = self.pasted.take() {
            self.delays.push_front(now - pasted);
            self.delays.truncate(REMEMBERED);
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.up.as_ref().map(|up| up.since + STANDS).or(self.at)
    }

    /// Whether a dialog is to come up now, if one may.
    pub fn comes(&mut self, now: Instant, may: bool) -> bool {
        let comes = self.at.take_if(|at| now >= *at).is_some() && may;
        if comes {
            self.pasted = None;
            self.up = Some(Up { since: now, painted: false, read: None, early: false });
        }
        comes
    }

    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// What is to stand behind the capture that is painted at `now`. `early`: something lies unread
    /// in the terminal.
    pub fn painted(&mut self, now: Instant, early: bool) -> &'static str {
        match &mut self.up {
            Some(up) if !up.painted => {
                *up = Up { since: now, painted: true, read: None, early };
                self.asked += 1;
                ASK
            }
            _ => "",
        }
    }

    /// The terminal answered.
    pub fn answered(&mut self, now: Instant) {
        self.answers += 1;
        if self.answers == self.asked
            && let Some(up) = &mut self.up
        {
            up.read = Some(now);
        }
    }

    pub fn is_over(&self, now: Instant) -> bool {
        self.up.as_ref().is_some_and(|up| now >= up.since + STANDS)
    }

    /// It is gone, approved by an Enter or by itself; the row of the log, times in µs since it was
    /// painted.
    pub fn gone(&mut self, now: Instant, approved: bool) -> Option<Value> {
        let up = self.up.take()?;
        let since = |at: Instant| (at - up.since).as_micros() as u64;
        Some(
            json!({"approved": approved, "early": up.early, "after": since(now), "read": up.read.map(since)}),
        )
    }
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(bytes)
}
