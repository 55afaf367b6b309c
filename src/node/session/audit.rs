//! Who did what, where it was not the node's owner: lines of `logs` with the level `audit`. A closed set,
//! each with its fields. What was refused stands in `errors`.
//!
//! Says how much was written, never what: texts may hold secrets.

use super::events::Row;
use crate::log::field;

/// Something that was done.
#[derive(Debug, Clone)]
pub enum Deed {
    Write { bytes: usize },
    Command { verb: String },
    Ask { bytes: usize },
    Make,
    Remove,
    Rename { to: String },
    Mode { mode: Option<u32>, gid: Option<u32> },
}

/// Fields of every line, and what they mean.
pub const COMMON: &[(&str, &str)] = &[
    ("by", "Who did it: `USER@NODE/SESSION:PID`, as far as it is known."),
    ("at", "The path below the node."),
];

/// Every deed: its name, its own fields, and what it means.
pub const TABLE: &[Row] = &[
    ("write", &["bytes"], "A prompt, a text, keys or settings were written; how much, never what."),
    ("command", &["verb"], "A line of a `ctl` was carried out."),
    ("ask", &["bytes"], "A prompt was written and its answer read."),
    ("make", &[], "A session or a prompt was made."),
    ("remove", &[], "A session was ended, or a prompt taken back."),
    ("rename", &["to"], "It has another name."),
    ("mode", &["mode", "gid"], "Its permission bits or its group were set."),
];

impl Deed {
    /// Its name, and its fields in the order of the table.
    fn words(&self) -> (&'static str, Vec<(&'static str, String)>) {
        match self {
            Deed::Write { bytes } => ("write", vec![("bytes", bytes.to_string())]),
            Deed::Command { verb } => ("command", vec![("verb", verb.clone())]),
            Deed::Ask { bytes } => ("ask", vec![("bytes", bytes.to_string())]),
            Deed::Make => ("make", Vec::new()),
            Deed::Remove => ("remove", Vec::new()),
            Deed::Rename { to } => ("rename", vec![("to", to.clone())]),
            Deed::Mode { mode, gid } => {
                let mode = mode.map(|mode| format!("{mode:04o}")).unwrap_or_default();
                let gid = gid.map(|gid| gid.to_string()).unwrap_or_default();
                ("mode", vec![("mode", mode), ("gid", gid)])
            }
        }
    }

    /// `write by=ann/api:12 at=demo/input bytes=5`: each value is one word, `-` where it is empty.
    pub fn line(&self, by: &str, at: &str) -> String {
        let (name, own) = self.words();
        let mut line = format!("{name} by={} at={}", field(by), field(at));
        for (key, value) in own {
            line.push_str(&format!(" {key}={}", field(&value)));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_deed_with_its_fields() {
        let every = [
            Deed::Write { bytes: 5 },
            Deed::Command { verb: "stop".into() },
            Deed::Ask { bytes: 5 },
            Deed::Make,
            Deed::Remove,
            Deed::Rename { to: "other".into() },
            Deed::Mode { mode: Some(0o40), gid: None },
        ];
        // A deed more makes this match incomplete: then it is a row more, too.
        let place = |deed: &Deed| match deed {
            Deed::Write { .. } => 0,
            Deed::Command { .. } => 1,
            Deed::Ask { .. } => 2,
            Deed::Make => 3,
            Deed::Remove => 4,
            Deed::Rename { .. } => 5,
            Deed::Mode { .. } => 6,
        };
        assert_eq!(every.len(), TABLE.len());
        for (n, deed) in every.iter().enumerate() {
            assert_eq!(place(deed), n);
            let line = deed.line("ann", "demo/x");
            let mut words = line.split(' ');
            let (name, fields, _) = TABLE[n];
            assert_eq!(words.next(), Some(name));
            let keys: Vec<&str> = words.map(|word| word.split_once('=').unwrap().0).collect();
            let common = COMMON.iter().map(|(name, _)| *name);
            assert_eq!(keys, common.chain(fields.iter().copied()).collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn no_name_breaks_a_line_or_passes_for_a_field() {
        let line = Deed::Rename { to: "b bytes=9\nx".into() }.line("a b/c d:1", "x\ty/config");
        assert_eq!(line, "rename by=a%20b/c%20d:1 at=x%09y/config to=b%20bytes=9%0Ax");
        let line = Deed::Mode { mode: Some(0o40), gid: None }.line("ann", "");
        assert_eq!(line, "mode by=ann at=- mode=0040 gid=-");
    }
}
