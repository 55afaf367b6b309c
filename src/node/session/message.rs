//! What a message may hold before it is typed: UTF-8, no control bytes, one newline cut.
//! docs/tree.md, "Delivery". Pure.

use muxfs_tree::MAX_MESSAGE;
use muxfs_tree::base::error::{Kind, Result, fail};

/// The longest line a terminal in canonical mode keeps, without its newline. The kernel drops
/// the rest (N_TTY_BUF_SIZE, 4,096 bytes; 4,096 of 9,001 were kept when tried).
pub const CANONICAL_LINE: usize = 4095;

/// The text to type. Control characters other than tab and newline go (C0, DEL, C1), so that no
/// text can end a bracketed paste; one newline at the end is cut. May be empty: then nothing is
/// to be done.
pub fn clean(body: &[u8]) -> Result<String> {
    if body.len() > MAX_MESSAGE {
        return fail(Kind::TooLarge, format!("a message of {} bytes; 1 MiB is the most", body.len()));
    }
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(e) => return fail(Kind::NotUtf8, format!("not UTF-8 at byte {}", e.valid_up_to())),
    };
    let mut text: String = text.chars().filter(|c| matches!(c, '\t' | '\n') || !c.is_control()).collect();
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// `Invalid` for a prompt of blanks alone: an agent takes its composer for empty then, and the Enter
/// does nothing.
pub fn has_words(text: &str) -> Result<()> {
    if text.chars().all(char::is_whitespace) {
        return fail(Kind::Invalid, "a prompt of blanks alone: no agent takes it");
    }
    Ok(())
}

/// The longest line's bytes, for terminals that keep only so many.
pub fn longest_line(text: &str) -> usize {
    text.split('\n').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_and_control_goes() {
        for (body, text) in [
            ("ls -l\n", "ls -l"),
            ("a\n\n", "a\n"),
            ("\n", ""),
            ("", ""),
            ("tab\there", "tab\there"),
            ("x\x1b[201~y", "x[201~y"),
            ("a\r\nb\x07\x7f", "a\nb"),
            ("c1:\u{9b}31m\u{80}", "c1:31m"),
            ("-l '$x' ; #{pid} é 漢", "-l '$x' ; #{pid} é 漢"),
        ] {
            assert_eq!(clean(body.as_bytes()).unwrap(), text, "{body:?}");
        }
    }

    #[test]
    fn what_cannot_be_typed_is_refused() {
        assert_eq!(clean(b"a\xff").unwrap_err().kind, Kind::NotUtf8);
        assert_eq!(clean(&vec![b'a'; MAX_MESSAGE + 1]).unwrap_err().kind, Kind::TooLarge);
        assert!(clean(&vec![b'a'; MAX_MESSAGE]).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_that_is_left_can_end_a_paste(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(text) = clean(&body) {
                prop_assert!(text.chars().all(|c| c == '\t' || c == '\n' || !c.is_control()));
            }
        }
    }
}
