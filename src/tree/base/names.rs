//! Session names as paths show them, one to one, and the bounds on new ones.
//! docs/tree.md, "Names". Pure; knows no tmux, and no files but the reserved names that it is given.

use crate::base::error::{Kind, Result, fail};

/// Longest name of a session in bytes, as a path shows it: FUSE's own bound.
pub const MAX_NAME: usize = 255;

/// The daemon's own tmux session, never shown.
pub const HIDDEN: &str = "_muxfs";

/// The variable that gives the programs of a session its id.
pub const SESSION_ID: &str = "MUXFS_SESSION";

/// How a path shows a tmux session's name.
///
/// `reserved` are the names of the node's own files. Encoded are: bytes a path cannot hold, a
/// reserved name's first byte, and a `%` that would read as an encoding.
pub fn encode(name: &str, reserved: &dyn Fn(&str) -> bool) -> String {
    let first = name == "." || name == ".." || reserved(name);
    let bytes = name.as_bytes();
    let mut out = String::with_capacity(name.len());
    for (i, c) in name.char_indices() {
        let looks_encoded = c == '%' && is_hex(bytes.get(i + 1)) && is_hex(bytes.get(i + 2));
        if c == '/' || c.is_control() || looks_encoded || (first && i == 0) {
            let mut buf = [0; 4];
            for b in c.encode_utf8(&mut buf).bytes() {
                out.push_str(&format!("%{b:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The tmux name behind a path's name; `None` where no session could be shown like this.
pub fn decode(shown: &str, reserved: &dyn Fn(&str) -> bool) -> Option<String> {
    let bytes = shown.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'%' && is_hex(bytes.get(i + 1)) && is_hex(bytes.get(i + 2)) {
            let pair = std::str::from_utf8(&bytes[i + 1..i + 3]).ok()?;
            out.push(u8::from_str_radix(pair, 16).ok()?);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    let name = String::from_utf8(out).ok()?;
    // One to one: another spelling of the same name is no name.
    (!name.is_empty() && encode(&name, reserved) == shown).then_some(name)
}

/// The tmux name for a new session called `shown`, or why there can be none: what tmux would
/// rewrite or expand is refused, because the directory would then not bear the name asked for.
pub fn new_session(shown: &str, reserved: &dyn Fn(&str) -> bool) -> Result<String> {
    let Some(name) = decode(shown, reserved) else {
        return fail(
            Kind::Invalid,
            format!("name {shown:?}: reserved, or percent-encoded where it need not be"),
        );
    };
    if let Some(c) = name.chars().find(|c| matches!(c, ':' | '.' | '\\') || c.is_control()) {
        return fail(Kind::Invalid, format!("name {shown:?}: tmux would rewrite {c:?}"));
    }
    if shown.len() > MAX_NAME {
        return fail(Kind::Invalid, format!("a name of {} bytes; {MAX_NAME} are the most", shown.len()));
    }
    if name == HIDDEN {
        return fail(Kind::Invalid, format!("name {shown:?}: the daemon's own tmux session"));
    }
    Ok(name)
}

fn is_hex(b: Option<&u8>) -> bool {
    b.is_some_and(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reserved(name: &str) -> bool {
        matches!(name, "status" | "logs" | "ctl")
    }

    #[test]
    fn odd_names_are_shown_one_to_one() {
        for (name, shown) in [
            ("claude", "claude"),
            ("a/b", "a%2Fb"),
            ("status", "%73tatus"),
            ("status2", "status2"),
            ("100%", "100%"),
            ("%2F", "%252F"),
            ("%zz", "%zz"),
            ("#(touch x)", "#(touch x)"),
            ("é/", "é%2F"),
            ("..", "%2E."),
            ("a\nb", "a%0Ab"),
        ] {
            assert_eq!(encode(name, &reserved), shown);
            assert_eq!(decode(shown, &reserved).as_deref(), Some(name));
        }
    }

    #[test]
    fn other_spellings_are_no_names() {
        for shown in ["%61bc", "status", "%2f", "%FF", ""] {
            assert_eq!(decode(shown, &reserved), None, "{shown:?}");
        }
    }

    #[test]
    fn new_names_are_what_tmux_keeps() {
        assert_eq!(new_session("a%2Fb", &reserved).unwrap(), "a/b");
        assert_eq!(new_session("-x y", &reserved).unwrap(), "-x y");
        for bad in ["a:b", "a.b", "a\\b", "a%0Ab", "_muxfs", "ctl", "%41"] {
            assert_eq!(new_session(bad, &reserved).unwrap_err().kind, Kind::Invalid, "{bad:?}");
        }
        assert!(new_session(&"x".repeat(256), &reserved).is_err());
    }

    proptest! {
        #[test]
        fn encode_is_undone_by_decode(name in "\\PC{1,20}|[%a-f0-9/]{1,8}|[\\x01-\\x7f]{1,6}") {
            let shown = encode(&name, &reserved);
            prop_assert!(crate::path::is_name(&shown));
            prop_assert!(!reserved(&shown));
            prop_assert_eq!(decode(&shown, &reserved), Some(name));
        }
    }
}
