//! The last events of a node, by their numbers, for readers that are slow or come back.
//!
//! Pure. Must not know what an event says, nor who reads.

use std::collections::VecDeque;

use bytes::Bytes;

/// Events that are kept at most, and their bytes.
const EVENTS: usize = 10_000;
const BYTES: usize = 64 << 20;

/// One event, already a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Serial of the session it is about.
    pub session: u64,
    /// The last one of its session.
    pub last: bool,
    pub text: Bytes,
}

/// What a reader finds from a number on.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// An event, and the number to go on from.
    Line(Line, u64),
    /// Events before the number to go on from are not kept: how many, where that can be told.
    Lost(Option<u64>, u64),
    /// Nothing yet; the number to go on from.
    Nothing(u64),
}

/// Numbers count from 1.
#[derive(Debug, Default)]
pub struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the newest.
    last: u64,
}

impl Ring {
    /// The number of the newest event; 0: there was none.
    pub fn last(&self) -> u64 {
        self.last
    }

    pub fn push(&mut self, line: Line) {
        self.last += 1;
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > EVENTS || self.bytes > BYTES && self.lines.len() > 1 {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.text.len());
        }
    }

    /// The first event from number `from` on: any, or one of this session.
    pub fn find(&self, from: u64, session: Option<u64>) -> Found {
        let (end, oldest) = (self.last + 1, self.last + 1 - self.lines.len() as u64);
        if from > end {
            return Found::Lost(None, oldest); // a number of an earlier life of the node
        }
        let from = from.max(1);
        if from < oldest {
            return Found::Lost(Some(oldest - from), oldest);
        }
        let kept = self.lines.iter().skip((from - oldest) as usize);
        let is = |line: &&Line| session.is_none_or(|session| session == line.session);
        match (from..).zip(kept).find(|(_, line)| is(line)) {
            Some((number, line)) => Found::Line(line.clone(), number + 1),
            None => Found::Nothing(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(session: u64, len: usize) -> Line {
        Line { session, last: false, text: vec![b'x'; len].into() }
    }

    #[test]
    fn a_reader_goes_on_from_a_number() {
        let mut ring = Ring::default();
        assert_eq!((ring.find(1, None), ring.find(0, None)), (Found::Nothing(1), Found::Nothing(1)));
        for session in [7, 8, 7] {
            ring.push(line(session, 1));
        }
        assert_eq!(ring.find(0, None), Found::Line(line(7, 1), 2));
        assert_eq!(ring.find(2, Some(7)), Found::Line(line(7, 1), 4));
        assert_eq!(ring.find(3, Some(8)), Found::Nothing(4));
        assert_eq!(ring.find(5, None), Found::Lost(None, 1), "never given in this life");
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let mut ring = Ring::default();
        for _ in 0..EVENTS + 5 {
            ring.push(line(1, 1));
        }
        assert_eq!(ring.find(1, None), Found::Lost(Some(5), 6));
        assert_eq!(ring.find(6, Some(1)), Found::Line(line(1, 1), 7));
        for _ in 0..70 {
            ring.push(line(1, 1 << 20));
        }
        assert!(ring.bytes <= BYTES && ring.lines.len() == 64);
        let mut ring = Ring::default();
        ring.push(line(1, BYTES + 1));
        assert!(matches!(ring.find(1, None), Found::Line(..)), "the newest is always there");
    }
}
