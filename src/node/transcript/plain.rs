//! The fast path: whole lines that need no terminal to be read.
//!
//! Pure: bytes in, the transcript's bytes and a count out.

use memchr::memchr;

use super::row::width;
use super::screen::LINE_LIMIT;

/// One line taken: bytes used, and the columns it has.
pub(super) struct Taken {
    pub used: usize,
    pub columns: usize,
}

/// Copies the first line of `bytes` to `out` if it is complete and nothing in it moves the cursor
/// about. `None` leaves it to the terminal, which would give the same text.
///
/// A line longer than a row of `cols` columns is taken only if it `wraps` onto the next rows and
/// does nothing else there, and has no wide characters: one that does not fit at a row's edge
/// leaves a column free.
#[inline]
pub(super) fn take_line(bytes: &[u8], cols: usize, wraps: bool, out: &mut Vec<u8>) -> Option<Taken> {
    let end = memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if line.len() > LINE_LIMIT / 2 {
        return None;
    }
    let (columns, wide) = match survey(line) {
        Survey::Ascii => (line.len(), false),
        Survey::Text => columns(line)?,
        Survey::Control => return None,
    };
    if columns > cols && (wide || !wraps) {
        return None;
    }
    out.extend_from_slice(trim(line));
    out.push(b'\n');
    Some(Taken { used: end + 1, columns })
}

enum Survey {
    Ascii,
    /// Bytes of 0x80 and above, no control bytes.
    Text,
    Control,
}

/// Without an early exit, so that the compiler makes vector code of it.
fn survey(line: &[u8]) -> Survey {
    let (mut control, mut high) = (false, false);
    for &b in line {
        control |= b < 0x20 || b == 0x7f;
        high |= b >= 0x80;
    }
    match (control, high) {
        (true, _) => Survey::Control,
        (false, true) => Survey::Text,
        (false, false) => Survey::Ascii,
    }
}

/// Columns of a line of valid UTF-8 in which each character has its own, and whether some have two.
fn columns(line: &[u8]) -> Option<(usize, bool)> {
    let text = std::str::from_utf8(line).ok()?;
    text.chars().try_fold((0, false), |(sum, wide), c| match width(c) {
        Some(w @ 1..) => Some((sum + w, wide || w > 1)),
        _ => None,
    })
}

fn trim(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1);
    &line[..end]
}
