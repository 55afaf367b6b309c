//! How a value becomes one field of a line: no white space, no control bytes, never empty.
//!
//! Pure. `status`, `index` and `errors` use it too (docs/tree.md, "Time and size").

use std::borrow::Cow;

/// One field: white space and control characters percent-encoded, an empty one is `-`. One to
/// one: a `%` that could be read as an encoding is `%25`, and a lone `-` is `%2D`.
pub fn field(s: &str) -> Cow<'_, str> {
    match s {
        "" => Cow::Borrowed("-"),
        "-" => Cow::Borrowed("%2D"),
        // Nearly every value, at the speed of bytes.
        _ if s.bytes().all(|b| b.is_ascii_graphic() && b != b'%') => Cow::Borrowed(s),
        _ => encode(s, |c, rest| c.is_control() || c.is_whitespace() || (c == '%' && is_hex(rest))),
    }
}

/// The free text at the end of a line: only what would break the line, or a terminal that shows
/// it, is encoded.
pub fn free_text(s: &str) -> Cow<'_, str> {
    encode(s, |c, _| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Text of many lines, for a terminal: control characters but line feeds and tabs are encoded.
pub fn printable(s: &str) -> Cow<'_, str> {
    encode(s, |c, _| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A column of a table: white space and control characters are encoded and nothing else is, so
/// that a name stands as `ls` shows it. An empty one is `-`.
pub fn column(s: &str) -> Cow<'_, str> {
    if s.is_empty() {
        return Cow::Borrowed("-");
    }
    encode(s, |c, _| c.is_control() || c.is_whitespace())
}

fn is_hex(rest: &str) -> bool {
    let b = rest.as_bytes();
    b.len() >= 2 && b[0].is_ascii_hexdigit() && b[1].is_ascii_hexdigit()
}

fn encode(s: &str, wanted: impl Fn(char, &str) -> bool) -> Cow<'_, str> {
    let hit = |(at, c): (usize, char)| wanted(c, &s[at + c.len_utf8()..]);
    let Some(first) = s.char_indices().find(|&at_c| hit(at_c)).map(|(at, _)| at) else {
        return Cow::Borrowed(s);
    };
    let mut out = String::with_capacity(s.len() + 8);
    out.push_str(&s[..first]);
    for (at, c) in s[first..].char_indices() {
        if hit((first + at, c)) {
            let mut bytes = [0; 4];
            for b in c.encode_utf8(&mut bytes).bytes() {
                out.push('%');
                out.push(hex(b >> 4));
                out.push(hex(b & 15));
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn hex(digit: u8) -> char {
    (if digit < 10 { b'0' + digit } else { b'A' + digit - 10 }) as char
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(s: &str) -> String {
        if s == "-" {
            return String::new();
        }
        let (b, mut out, mut at) = (s.as_bytes(), Vec::new(), 0);
        while at < b.len() {
            if b[at] == b'%' && is_hex(&s[at + 1..]) {
                out.push(u8::from_str_radix(&s[at + 1..at + 3], 16).unwrap());
                at += 3;
            } else {
                out.push(b[at]);
                at += 1;
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_one_word() {
        assert_eq!(field(""), "-");
        assert_eq!(field("-"), "%2D");
        assert_eq!(field("/home/user/my dir"), "/home/user/my%20dir");
        assert_eq!(field("a\tb\nc\x1b"), "a%09b%0Ac%1B");
        assert_eq!(field("100%"), "100%");
        assert_eq!(field("100%25"), "100%2525");
        assert_eq!(field("a\u{a0}b"), "a%C2%A0b");
        assert!(matches!(field("plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn free_text_stays_one_line() {
        assert_eq!(free_text("a b\nc\u{85}\u{2028}d 50%"), "a b%0Ac%C2%85%E2%80%A8d 50%");
    }

    proptest! {
        #[test]
        fn fields_are_one_to_one(s in "[ -~é\n\u{a0}%0-9A-F]{0,20}") {
            let f = field(&s).into_owned();
            prop_assert!(!f.is_empty() && !f.contains(|c: char| c.is_whitespace() || c.is_control()));
            prop_assert_eq!(decode(&f), s);
        }
    }
}
