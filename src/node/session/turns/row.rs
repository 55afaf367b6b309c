//! Rows of a book as they stand in its file, one a line: `2 17 0123456789abcdef {"accept":{…}}`.
//!
//! The head says the version that wrote the row, its number in the file and a checksum of all but
//! itself. A row that is missing or changed is therefore seen. Rows of before version 2 are the JSON
//! alone. Pure. Must not know files, nor what a row does to a turn.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::turn::{Author, Span, Stage};
use muxfs_tree::base::error::{Error, Kind, Result};

/// Of the rows that are written here.
const VERSION: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Row {
    /// What was used before the rows that follow.
    Head {
        next: u64,
        used: Vec<String>,
        /// What a later version says there.
        #[serde(flatten)]
        rest: Map<String, Value>,
    },
    Accept {
        number: u64,
        name: String,
        at: u64,
        origin: Author,
        /// The gesture that it was accepted by, where that may be sent again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gesture: Option<String>,
        text: String,
    },
    /// Another stage; with the answer where it ended.
    Stage {
        number: u64,
        at: u64,
        stage: Stage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<String>,
    },
    /// Another name.
    Rename { number: u64, name: String },
    /// Whether the composer may hold a text of ours.
    Composer { unsure: bool },
    /// Why nothing is typed until a person says so; none: they did.
    Hold { why: Option<String> },
}

/// What a line is.
#[derive(Debug)]
pub enum Seen {
    Row(Row),
    /// Whole, and of a kind or shape that a later version wrote. `number` is its turn's.
    Later {
        number: Option<u64>,
    },
    Damaged,
}

#[derive(Debug)]
pub struct Line {
    /// The row's number in the file, where it has one.
    pub sequence: Option<u64>,
    /// Where its JSON begins.
    pub json: usize,
    pub seen: Seen,
}

impl Row {
    pub fn json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::new(Kind::Bug, "a row as JSON").because(e))
    }
}

/// A row's line with its newline, and where in it the JSON begins.
pub fn line(sequence: u64, json: &[u8]) -> (Vec<u8>, usize) {
    let sum = sum(&[format!("{VERSION} {sequence} ").as_bytes(), json]);
    let mut line = format!("{VERSION} {sequence} {sum:016x} ").into_bytes();
    let at = line.len();
    line.extend_from_slice(json);
    line.push(b'\n');
    (line, at)
}

/// Reads a line without its newline.
pub fn parse(line: &[u8]) -> Line {
    if line.first() == Some(&b'{') {
        return Line { sequence: None, json: 0, seen: judge(line) };
    }
    match head(line) {
        Some((sequence, json)) => Line { sequence: Some(sequence), json, seen: judge(&line[json..]) },
        None => Line { sequence: None, json: 0, seen: Seen::Damaged },
    }
}

/// The number of a row that is whole, and where its JSON begins.
fn head(line: &[u8]) -> Option<(u64, usize)> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let number = |part: &[u8]| std::str::from_utf8(part).ok()?.parse::<u64>().ok();
    let (version, sequence, said, json) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = number(version)? >= u64::from(VERSION)
        && said == format!("{:016x}", sum(&[version, b" ", sequence, b" ", json])).as_bytes();
    whole.then_some((number(sequence)?, line.len() - json.len()))
}

fn judge(json: &[u8]) -> Seen {
    if let Ok(row) = serde_json::from_slice(json) {
        return Seen::Row(row);
    }
    match serde_json::from_slice::<Value>(json) {
        Ok(Value::Object(kinds)) => {
            Seen::Later { number: kinds.values().find_map(|fields| fields.get("number")?.as_u64()) }
        }
        _ => Seen::Damaged,
    }
}

/// What a damaged line still says of a prompt: the row, where its JSON is whole; else its name.
pub fn salvage(line: &[u8]) -> (Option<Row>, Option<String>) {
    let json = line.iter().position(|b| *b == b'{').map_or(&line[..0], |at| &line[at..]);
    if let Ok(row @ Row::Accept { .. }) = serde_json::from_slice(json) {
        return (Some(row), None);
    }
    const KEY: &[u8] = b"\"name\":\"";
    let name = json.windows(KEY.len()).position(|w| w == KEY).and_then(|at| {
        let rest = &json[at + KEY.len()..];
        let end = rest.iter().take(256).position(|b| *b == b'"')?;
        String::from_utf8(rest[..end].to_vec()).ok()
    });
    (None, name.filter(|n| !n.is_empty() && !n.contains(['\\', '/', '\0'])))
}

/// Whether bytes without a newline at the file's end may be the beginning of a row: a crash leaves
/// such, and they were never acknowledged.
pub fn is_begun(tail: &[u8]) -> bool {
    tail.first().is_none_or(|b| *b == b'{' || b.is_ascii_digit()) && !tail.iter().any(u8::is_ascii_control)
}

/// What a reader finds in a file.
#[derive(Debug)]
pub enum Found {
    Row(Row, Span),
    /// A row of a later version, and the turn it speaks of.
    Later(Option<u64>, Span),
    /// Bytes that cannot be read, or rows that are not there. Damaged lines that follow each other
    /// are told with the first, their bytes each.
    Hole {
        at: u64,
        bytes: u64,
        missing: u64,
    },
    /// A prompt in a damaged row: it was accepted, and its text may be wrong.
    Prompt(Row, Span),
    /// The name of a prompt that is lost.
    Name(String),
}

/// Goes through the text of a book.
pub struct Reader<'a> {
    text: &'a [u8],
    /// After the last whole line.
    pub at: u64,
    /// The number of the last row that has one.
    pub sequence: u64,
    /// What else the last line said.
    next: Option<Found>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Reader { text, at: 0, sequence: 0, next: None }
    }

    fn hole(&mut self, line: &[u8]) -> Found {
        let at = self.at;
        self.next = match salvage(line) {
            (Some(row), _) => {
                let from = line.iter().position(|b| *b == b'{').unwrap_or(0);
                let len = line.trim_ascii_end().len() - from;
                Some(Found::Prompt(row, Span { at: at + from as u64, len: len as u64 }))
            }
            (None, name) => name.map(Found::Name),
        };
        Found::Hole { at, bytes: line.len() as u64, missing: 0 }
    }
}

impl Iterator for Reader<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(found) = self.next.take() {
            return Some(found);
        }
        let rest = &self.text[self.at as usize..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            let damaged = !is_begun(rest);
            self.text = &self.text[..self.at as usize]; // cut off, and told once
            return damaged.then(|| self.hole(rest));
        };
        let line = &rest[..end];
        let read = parse(line);
        let at = self.at;
        let span = Span { at: at + read.json as u64, len: (end - read.json) as u64 };
        // A second copy of rows says nothing new.
        let follows = read.sequence.is_none_or(|n| n > self.sequence);
        let found = match read.seen {
            Seen::Row(row) if follows => Found::Row(row, span),
            Seen::Later { number } if follows => Found::Later(number, span),
            _ => {
                let hole = self.hole(&rest[..=end]);
                self.at += end as u64 + 1;
                return Some(hole);
            }
        };
        self.at += end as u64 + 1;
        let missing = read.sequence.map_or(0, |n| n - self.sequence - 1);
        self.sequence = read.sequence.unwrap_or(self.sequence);
        if missing > 0 {
            self.next = Some(found);
            return Some(Found::Hole { at, bytes: 0, missing });
        }
        Some(found)
    }
}

/// A file that is being written anew.
#[derive(Default)]
pub struct Written {
    pub text: Vec<u8>,
    pub rows: u64,
}

impl Written {
    pub fn put(&mut self, json: &[u8]) -> Span {
        self.rows += 1;
        let (line, at) = line(self.rows, json);
        let span = Span { at: (self.text.len() + at) as u64, len: json.len() as u64 };
        self.text.extend_from_slice(&line);
        span
    }
}

/// Bytes of a text that a file shows with its last newline.
pub fn size_as_file(text: &str) -> u64 {
    let newline = !text.is_empty() && !text.ends_with('\n');
    text.len() as u64 + u64::from(newline)
}

/// FNV-1a with 64 bits: it finds accidents, not attacks.
fn sum(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_byte_is_seen() {
        let row = Row::Stage { number: 7, at: 8, stage: Stage::Typing, why: None, reply: None };
        let (mut line, json) = line(12, &row.json().unwrap());
        assert_eq!(line.pop(), Some(b'\n'));
        let read = parse(&line);
        assert!(matches!(read.seen, Seen::Row(Row::Stage { number: 7, .. })));
        assert_eq!((read.sequence, read.json), (Some(12), json));
        for i in 0..line.len() {
            for bit in [1, 0x80] {
                let mut bad = line.clone();
                bad[i] ^= bit;
                assert!(
                    matches!(parse(&bad).seen, Seen::Damaged),
                    "{i}: {:?}",
                    String::from_utf8_lossy(&bad)
                );
            }
            assert!(matches!(parse(&line[..i]).seen, Seen::Damaged), "cut at {i}");
        }
    }

    #[test]
    fn rows_of_other_versions_are_read() {
        let old = br#"{"composer":{"unsure":true}}"#;
        assert!(matches!(parse(old).seen, Seen::Row(Row::Composer { unsure: true })));
        let later = br#"{"accept":{"number":9,"name":"x","at":1,"origin":{"uid":0,"id":"o"},"text":"t","gesture":"g"}}"#;
        assert!(matches!(parse(later).seen, Seen::Row(Row::Accept { number: 9, .. })));
        for later in [&br#"{"stage":{"number":9,"at":1,"stage":"frozen"}}"#[..], br#"{"moved":{"number":9}}"#]
        {
            let (line, _) = line(3, later);
            assert!(matches!(parse(line.trim_ascii_end()).seen, Seen::Later { number: Some(9) }));
        }
    }

    #[test]
    fn what_is_left_of_a_damaged_row_is_found() {
        let json = br#"{"accept":{"number":3,"name":"build-1","at":1,"origin":{"uid":0},"text":"t"}}"#;
        assert!(matches!(
            salvage(&[b"2 9 0 ", &json[..]].concat()),
            (Some(Row::Accept { number: 3, .. }), None)
        ));
        assert_eq!(salvage(&json[..60]).1.as_deref(), Some("build-1"));
        assert!(matches!(salvage(&[0; 100]), (None, None)));
        assert!(is_begun(b"2 17 01") && is_begun(b"{\"acc") && is_begun(b""));
        assert!(!is_begun(b"\0\0\0") && !is_begun(b"2 17\0\0"));
    }
}
