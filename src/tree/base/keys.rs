//! The key names that may be sent to tmux: an allow-list.
//!
//! Pure, and knows no tmux; manifests of agents are checked by it as well. tmux *types* a
//! name it does not know as text (`S-Enter` on 3.2 and 3.3), and takes odd ones such as `User0`,
//! `Any` or `MouseDown1Pane`; so only names are let through that mean the same key on every tmux
//! from 3.2 on.

/// A key as tmux will get it. Made by [`Key::parse`] alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

/// Keys that take any of `C-`, `M-`, `S-`: their sequences have a place for modifiers.
const MODIFIABLE: &[&str] = &[
    "Up", "Down", "Left", "Right", "Home", "End", "PPage", "NPage", "IC", "DC", "F1", "F2", "F3", "F4", "F5",
    "F6", "F7", "F8", "F9", "F10", "F11", "F12",
];
/// Keys that are one byte: `M-` puts an escape before it, nothing else changes it.
const PLAIN: &[&str] = &["Enter", "Escape", "Tab", "Space", "BSpace"];
const KEYPAD: &[&str] = &[
    "KP/", "KP*", "KP-", "KP+", "KP.", "KPEnter", "KP0", "KP1", "KP2", "KP3", "KP4", "KP5", "KP6", "KP7",
    "KP8", "KP9",
];
/// Other spellings, tmux's own and common ones, and what they are sent as.
const ALIASES: &[(&str, &str)] = &[
    ("PageUp", "PPage"),
    ("PgUp", "PPage"),
    ("PageDown", "NPage"),
    ("PgDn", "NPage"),
    ("Insert", "IC"),
    ("Delete", "DC"),
    ("Esc", "Escape"),
    ("Return", "Enter"),
    ("Backspace", "BSpace"),
];

impl Key {
    /// None for what is not on the list. Names are taken in any case, as tmux does.
    pub fn parse(text: &str) -> Option<Key> {
        let (mut ctrl, mut meta, mut shift) = (false, false, false);
        let mut rest = text;
        if let Some(after) = rest.strip_prefix('^').filter(|r| !r.is_empty()) {
            (ctrl, rest) = (true, after);
        }
        // `C--` is Ctrl with a minus, `M-` alone is nothing.
        while let (Some(modifier), Some(after)) =
            (rest.get(..1), rest.get(1..).and_then(|r| r.strip_prefix('-')))
        {
            let flag = match modifier {
                "C" | "c" => &mut ctrl,
                "M" | "m" => &mut meta,
                "S" | "s" => &mut shift,
                _ => return None,
            };
            if std::mem::replace(flag, true) || after.is_empty() {
                return None;
            }
            rest = after;
        }
        let mut chars = rest.chars();
        let name = match (chars.next()?, chars.next()) {
            (c, None) => character(c, ctrl, shift)?,
            _ => named(rest, ctrl, meta, shift)?,
        };
        let prefix = |on: bool, p: &'static str| if on { p } else { "" };
        let (ctrl, meta, shift) = (prefix(ctrl, "C-"), prefix(meta, "M-"), prefix(shift, "S-"));
        let shift = if name == "BTab" { "" } else { shift };
        Some(Key(format!("{ctrl}{meta}{shift}{name}")))
    }

    /// The name for `send-keys`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn character(c: char, ctrl: bool, shift: bool) -> Option<String> {
    // Shift with a character is that other character.
    if shift || c.is_control() || c.is_whitespace() {
        return None;
    }
    if ctrl {
        // What has a control byte of its own. C-i and C-m would be Tab and Enter, and are.
        let c = c.to_ascii_lowercase();
        return matches!(c, 'a'..='z' | '@' | '[' | '\\' | ']' | '^' | '_' | '?').then(|| c.into());
    }
    Some(c.into())
}

fn named(text: &str, ctrl: bool, meta: bool, shift: bool) -> Option<String> {
    let text = ALIASES.iter().find(|(a, _)| a.eq_ignore_ascii_case(text)).map_or(text, |(_, name)| name);
    let among = |list: &[&str]| list.iter().find(|n| n.eq_ignore_ascii_case(text)).map(|n| (*n).to_owned());
    if let Some(name) = among(MODIFIABLE) {
        return Some(name);
    }
    match among(PLAIN) {
        Some(name) if name == "Tab" && shift => return (!ctrl && !meta).then(|| "BTab".into()),
        Some(name) if name == "Space" && ctrl => return (!shift).then_some(name),
        Some(name) => return (!ctrl && !shift).then_some(name),
        None => {}
    }
    let bare = !ctrl && !meta && !shift;
    match among(KEYPAD) {
        Some(name) => bare.then_some(name),
        None => (text.eq_ignore_ascii_case("BTab") && bare).then(|| "BTab".into()),
    }
}

/// Every named key, for tests and listings.
pub fn names() -> impl Iterator<Item = &'static str> {
    [MODIFIABLE, PLAIN, KEYPAD, &["BTab"]].into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_list() {
        for (text, want) in [
            ("a", "a"),
            ("ä", "ä"),
            (";", ";"),
            ("-", "-"),
            ("^", "^"),
            ("^c", "C-c"),
            ("C-c", "C-c"),
            ("C-C", "C-c"),
            ("c-m", "C-m"),
            ("C-Space", "C-Space"),
            ("M-x", "M-x"),
            ("M-X", "M-X"),
            ("C-M-x", "C-M-x"),
            ("M-C-x", "C-M-x"),
            ("M--", "M--"),
            ("Enter", "Enter"),
            ("enter", "Enter"),
            ("M-Enter", "M-Enter"),
            ("S-Up", "S-Up"),
            ("C-S-F5", "C-S-F5"),
            ("F12", "F12"),
            ("pgup", "PPage"),
            ("C-Delete", "C-DC"),
            ("S-Tab", "BTab"),
            ("BTab", "BTab"),
            ("KPEnter", "KPEnter"),
            ("kp/", "KP/"),
            ("C-?", "C-?"),
            ("Escape", "Escape"),
        ] {
            assert_eq!(Key::parse(text).as_ref().map(Key::as_str), Some(want), "{text:?}");
        }
    }

    #[test]
    fn what_is_not() {
        for text in [
            "",
            "C-",
            "M-",
            "S-Enter",
            "C-Enter",
            "C-Tab",
            "S-a",
            "C-1",
            "C-ä",
            "C-;",
            "User0",
            "Any",
            "None",
            "MouseDown1Pane",
            "0x41",
            "F13",
            "F0",
            "Foo",
            "X-a",
            "C-C-a",
            "\n",
            "\u{7f}",
            " ",
            "ab",
            "FocusIn",
            "PasteStart",
            "S-BTab",
            "C-KP1",
            "S-Space",
        ] {
            assert_eq!(Key::parse(text), None, "{text:?}");
        }
    }
}
