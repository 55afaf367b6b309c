//! A terminal's bytes as keys, text and pastes. Pure but for the clock passed in.

use std::time::{Duration, Instant};

/// An escape that nothing follows for so long is the key.
const ESCAPE: Duration = Duration::from_millis(40);
const PASTE: &[u8] = b"\x1b[200~";
const PASTED: &[u8] = b"\x1b[201~";
/// More than this in one paste is cut off, so that nothing grows without end.
const MAX_PASTE: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Text(String),
    Paste(String),
    Enter,
    Newline,
    Escape,
    Up,
    Down,
    Backspace,
    /// What a terminal says when it is asked how it is.
    Answer,
    Control(char),
}

#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    paste: Option<Vec<u8>>,
    fed: Option<Instant>,
}

impl Decoder {
    pub fn feed(&mut self, bytes: &[u8], now: Instant) {
        self.bytes.extend_from_slice(bytes);
        self.fed = Some(now);
    }

    /// When to ask again although nothing comes.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let waits = self.paste.is_none() && self.bytes.first() == Some(&0x1b);
        self.fed.filter(|_| waits).map(|at| (at + ESCAPE).saturating_duration_since(now))
    }

    pub fn key(&mut self, now: Instant) -> Option<Key> {
        loop {
            if self.paste.is_some() {
                return self.pasted();
            }
            let (&first, rest) = self.bytes.split_first()?;
            let (key, n) = match first {
                0x1b if self.bytes.starts_with(PASTE) => {
                    self.bytes.drain(..PASTE.len());
                    self.paste = Some(Vec::new());
                    continue;
                }
                0x1b => match sequence(rest) {
                    Sequence::Key(key, n) => (key, n + 1),
                    Sequence::Cut => {
                        let late = self.fed.is_some_and(|at| now - at >= ESCAPE);
                        if !late {
                            return None;
                        }
                        (Some(Key::Escape), 1)
                    }
                },
                b'\r' => (Some(Key::Enter), 1),
                b'\n' => (Some(Key::Newline), 1),
                0x7f | 0x08 => (Some(Key::Backspace), 1),
                0..0x20 => (Some(Key::Control(char::from(first + b'`'))), 1),
                _ => {
                    let end = self.bytes.iter().position(|b| *b < 0x20 || *b == 0x7f);
                    let (text, n) = text(&self.bytes[..end.unwrap_or(self.bytes.len())], end.is_some());
                    if n == 0 {
                        return None;
                    }
                    (Some(Key::Text(text)), n)
                }
            };
            self.bytes.drain(..n);
            if key.is_some() {
                return key;
            }
        }
    }

    /// What stands between the brackets; none until the second has come.
    fn pasted(&mut self) -> Option<Key> {
        let paste = self.paste.get_or_insert_default();
        // The end may be spread over two reads.
        let at = self.bytes.windows(PASTED.len()).position(|w| w == PASTED);
        let safe = at.unwrap_or(self.bytes.len().saturating_sub(PASTED.len() - 1));
        let room = MAX_PASTE - paste.len();
        paste.extend_from_slice(&self.bytes[..safe.min(room)]);
        self.bytes.drain(..safe);
        at?;
        self.bytes.drain(..PASTED.len());
        let all = self.paste.take()?;
        let text = String::from_utf8_lossy(&all).replace("\r\n", "\n").replace('\r', "\n");
        Some(Key::Paste(text))
    }
}

enum Sequence {
    /// How many bytes after the escape it takes; none where it means nothing here.
    Key(Option<Key>, usize),
    /// More may come.
    Cut,
}

fn sequence(rest: &[u8]) -> Sequence {
    match rest {
        [] | [b'[' | b'O'] => Sequence::Cut,
        [b'\r' | b'\n', ..] => Sequence::Key(Some(Key::Newline), 1),
        [b'O', last, ..] => Sequence::Key(letter(*last), 2),
        [b'[', params @ ..] => match params.iter().position(|b| (0x40..0x7f).contains(b)) {
            Some(end) => Sequence::Key(letter(params[end]), end + 2),
            None if params.len() > 64 => Sequence::Key(None, params.len() + 1),
            None => Sequence::Cut,
        },
        // Two escapes at once are two keys; another byte is Alt and a key that nobody wants here.
        [0x1b, ..] => Sequence::Key(Some(Key::Escape), 0),
        _ => Sequence::Key(None, 1),
    }
}

fn letter(last: u8) -> Option<Key> {
    match last {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'n' => Some(Key::Answer),
        _ => None,
    }
}

/// As much as is whole characters; what is broken is replaced once more follows.
fn text(bytes: &[u8], whole: bool) -> (String, usize) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), bytes.len()),
        Err(e) if e.error_len().is_none() && !whole => {
            let n = e.valid_up_to();
            (String::from_utf8_lossy(&bytes[..n]).into_owned(), n)
        }
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), bytes.len()),
    }
}
