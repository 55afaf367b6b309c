//! What a caller wants changed: who asks, under which id, until when, and how it is taken back.
//!
//! Pure. Must not know what is changed, nor how a gesture travels.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Instant;

use tokio::sync::watch;

use super::{Access, Place};
use super::{Caller, TreePath};
use crate::base::error::{Kind, Result, fail};

/// The name of a gesture that may be sent again, from whoever sends it: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GestureId(pub u128);

/// 32 hexadecimal digits, as it is written and sent.
impl fmt::Display for GestureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for GestureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for GestureId {
    type Err = crate::base::error::Error;

    fn from_str(text: &str) -> Result<Self> {
        match u128::from_str_radix(text, 16) {
            Ok(id) if text.len() == 32 && !text.starts_with('+') => Ok(GestureId(id)),
            _ => fail(Kind::Invalid, "a gesture's id has 32 hexadecimal digits"),
        }
    }
}

/// One gesture: an operation that changes something.
#[derive(Debug, Clone)]
pub struct Gesture {
    pub who: Caller,
    /// Under an id the gesture happens once, however often it is sent; the same caller's second
    /// sending gets the first one's result. `None`: it is sent once.
    pub id: Option<GestureId>,
    /// The gesture does not begin after this. `None`: the tree's own limits hold.
    pub deadline: Option<Instant>,
    cancel: Option<watch::Receiver<()>>,
}

/// Cancels a gesture when it is dropped, unless the gesture has begun.
#[derive(Debug)]
#[must_use = "a gesture is taken back when this is dropped"]
pub struct Canceller(#[allow(dead_code, reason = "its end is what it says")] watch::Sender<()>);

impl Gesture {
    /// A gesture that is sent once, and that nobody takes back.
    pub fn of(who: &Caller) -> Self {
        Gesture { who: who.clone(), id: None, deadline: None, cancel: None }
    }

    /// The same, until the second value is dropped.
    pub fn cancellable(who: &Caller) -> (Self, Canceller) {
        let (canceller, cancel) = watch::channel(());
        (Gesture { cancel: Some(cancel), ..Gesture::of(who) }, Canceller(canceller))
    }

    pub fn with_id(self, id: GestureId) -> Self {
        Gesture { id: Some(id), ..self }
    }

    pub fn with_deadline(self, deadline: Instant) -> Self {
        Gesture { deadline: Some(deadline), ..self }
    }

    /// What it is remembered by: who sent it, and its id. `None` without an id.
    pub fn key(&self) -> Option<(String, String)> {
        self.id.map(|id| (self.who.key(), id.to_string()))
    }

    /// Waits until the gesture is taken back.
    pub async fn cancelled(&self) {
        match self.cancel.clone() {
            Some(mut cancel) => drop(cancel.changed().await), // nothing is ever sent, so it ends with its sender
            None => std::future::pending().await,
        }
    }

    /// `Interrupted` or `TimedOut` for a gesture that must not begin any more.
    pub fn may_begin(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(|cancel| cancel.has_changed().is_err()) {
            return fail(Kind::Interrupted, "it was taken back before it began");
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return fail(Kind::TimedOut, "its time ran out before it began; nothing was done");
        }
        Ok(())
    }

    /// Waits for `work`, which does nothing yet, until the gesture is taken back or its time runs out.
    pub async fn until_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.may_begin()?;
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased; // what was taken back before does not begin
            () = self.cancelled() => fail(Kind::Interrupted, "it was taken back before it began"),
            () = late => fail(Kind::TimedOut, "its time ran out before it began; nothing was done"),
            done = work => done,
        }
    }
}

/// What came of a gesture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// The name of the turn that a prompt became.
    pub turn: Option<String>,
    /// A follower of the feed that has reached this position has seen what the gesture changed.
    pub at: Position,
}

/// A place in the sequence of a node's changes. Another epoch is another sequence: the node began
/// anew, and what was known of it counts no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub epoch: u64,
    pub sequence: u64,
}

/// When a write or a creation returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It is stored, or on its way.
    Accepted,
    /// A prompt that waits for its turn is delivered. After a minute it stays queued (`TimedOut`).
    Delivered,
}

/// What a caller is about to do, as [`Tree::admit`](super::Tree::admit) is asked.
#[derive(Debug, Clone, Copy)]
pub enum Intent<'a> {
    /// To read or write what is there.
    Open(Place<'a>, Access),
    /// To make what is not there.
    Make(&'a TreePath),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = GestureId(0x0123_4567);
        assert_eq!(id.to_string().parse::<GestureId>().unwrap(), id);
        for bad in ["", "1", &"g".repeat(32), &"1".repeat(33), &format!("+{}", "1".repeat(31))] {
            assert_eq!(bad.parse::<GestureId>().unwrap_err().kind, Kind::Invalid, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn what_has_not_begun_is_taken_back() {
        let who = Caller::own();
        let never = std::future::pending::<Result<()>>;
        let (gesture, canceller) = Gesture::cancellable(&who);
        assert!(gesture.until_cancelled(async { Ok(()) }).await.is_ok());
        let waiting = tokio::spawn(async move {
            let first = gesture.until_cancelled(never()).await;
            (first, gesture.until_cancelled(async { Ok(()) }).await)
        });
        drop(canceller);
        let (first, second) = waiting.await.unwrap();
        assert_eq!(first.unwrap_err().kind, Kind::Interrupted);
        assert_eq!(second.unwrap_err().kind, Kind::Interrupted, "nothing begins after that");
        let late = Gesture::of(&who).with_deadline(Instant::now() + Duration::from_millis(5));
        assert_eq!(late.until_cancelled(never()).await.unwrap_err().kind, Kind::TimedOut);
        assert_eq!(late.may_begin().unwrap_err().kind, Kind::TimedOut);
    }
}
