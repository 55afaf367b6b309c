//! TOML against a table of keys: what is allowed, of which kind, and where a text is wrong.
//!
//! Pure. Knows neither what a key does nor where the text comes from. The same tables print
//! muxfs.toml(5) and the `settings` view.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use toml_edit::{Document, Item, Value as Toml};

/// One setting: the only place that knows its name, kind, default and meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `table.key`, or `key` at the top; `table.*.key` is a key of each table in `table`.
    pub name: &'static str,
    pub kind: Kind,
    /// As it would stand in the file; `""` where nothing is the default.
    pub default: &'static str,
    pub about: &'static str,
    /// The environment variable that overrides the file.
    pub env: Option<&'static str>,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A command line: a string is one program and is not split into words, an array has the program and
    /// its arguments.
    Words,
    /// A table of strings, or any table below the name.
    Map,
    Bool,
    /// `COLSxROWS`, 2 to 1000 each.
    Size,
    /// Bytes with an optional KiB, MiB or GiB.
    Bytes,
    /// `500ms`, `10s`, `5m`, `12h`, `7d`.
    Span,
    /// A whole number from 1.
    Count,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An array of tables, each with these keys.
    Tables(&'static [Key]),
}

impl Kind {
    /// What an error says was expected.
    pub fn expects(self) -> String {
        let fixed = match self {
            Kind::OneOf(words) => return format!("one of {}", words.join(", ")),
            Kind::Text => "a string",
            Kind::Words => "a string or an array of strings",
            Kind::Map => "a table of strings",
            Kind::Bool => "true or false",
            Kind::Size => "\"COLSxROWS\", each from 2 to 1000",
            Kind::Bytes => "a number of bytes, or a string such as \"64MiB\"",
            Kind::Span => "a string such as \"500ms\", \"10s\", \"5m\", \"12h\" or \"7d\"",
            Kind::Count => "a whole number from 1",
            Kind::Tables(_) => "tables such as [[sessions]]",
        };
        fixed.to_owned()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Words(Vec<String>),
    Map(BTreeMap<String, String>),
    Bool(bool),
    Size(u16, u16),
    Bytes(u64),
    Span(Duration),
    Count(u64),
    Tables(Vec<Values>),
    /// The values of a key with a `*` in its name, by the text in its place.
    Each(BTreeMap<String, Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(s) => write!(f, "{s:?}"),
            Value::Words(w) => write!(f, "{w:?}"),
            Value::Map(m) => {
                // Values of an environment may be secrets; names are enough to see what is set.
                let names: Vec<_> = m.keys().map(String::as_str).collect();
                write!(f, "{{{}}}", names.join(", "))
            }
            Value::Bool(b) => write!(f, "{b}"),
            Value::Size(c, r) => write!(f, "\"{c}x{r}\""),
            Value::Bytes(n) | Value::Count(n) => write!(f, "{n}"),
            Value::Tables(tables) => write!(f, "{} of them", tables.len()),
            Value::Each(each) => {
                let each: Vec<_> = each.iter().map(|(name, value)| format!("{name} = {value}")).collect();
                write!(f, "{{{}}}", each.join(", "))
            }
            Value::Span(d) if d.subsec_millis() != 0 => write!(f, "\"{}ms\"", d.as_millis()),
            Value::Span(d) => write!(f, "\"{}s\"", d.as_secs()),
        }
    }
}

/// Where a text is wrong: line and column from 1, in characters, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub column: usize,
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.text)
    }
}

/// What a text sets; keys it does not name are absent.
pub type Values = BTreeMap<&'static str, Value>;

/// Checks `text` against `keys`. The first fault by position wins.
pub fn parse(text: &str, keys: &'static [Key]) -> Result<Values, Fault> {
    let doc = Document::parse(text.to_owned()).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start);
        fault(text, at, e.message().lines().next().unwrap_or("not TOML").to_owned())
    })?;
    let mut walk = Walk { text, keys, values: Values::new() };
    walk.table(doc.as_table(), "")?;
    Ok(walk.values)
}

/// Whether `full` is the key `key`: a `*` stands for any name without a dot.
fn stands_for(key: &str, full: &str) -> bool {
    key.split('.').count() == full.split('.').count() && parts_agree(key, full)
}

/// Whether keys such as `key` stand in the table `full`.
fn begins(key: &str, full: &str) -> bool {
    key.split('.').count() > full.split('.').count() && parts_agree(key, full)
}

fn parts_agree(key: &str, full: &str) -> bool {
    key.split('.').zip(full.split('.')).all(|(k, f)| k == f || k == "*")
}

struct Walk<'a> {
    text: &'a str,
    keys: &'static [Key],
    values: Values,
}

impl Walk<'_> {
    fn table(&mut self, table: &dyn toml_edit::TableLike, prefix: &str) -> Result<(), Fault> {
        for (name, item) in table.iter() {
            let at = table.key(name).and_then(|k| k.span()).map_or(0, |s| s.start);
            let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            if let Some(key) = self.keys.iter().find(|k| stands_for(k.name, &full)) {
                let at = item.span().map_or(at, |s| s.start);
                let value = match key.kind {
                    Kind::Tables(keys) => self.tables(key, keys, item, at)?,
                    _ => self.value(key, item, at)?,
                };
                self.put(key.name, &full, value);
            } else if self.keys.iter().any(|k| begins(k.name, &full))
                && let Some(inner) = item.as_table_like()
            {
                self.table(inner, &full)?;
            } else {
                return Err(fault(self.text, at, self.unknown(&full, prefix)));
            }
        }
        Ok(())
    }

    fn tables(&self, key: &Key, keys: &'static [Key], item: &Item, at: usize) -> Result<Value, Fault> {
        let Some(tables) = item.as_array_of_tables() else {
            return Err(fault(self.text, at, format!("{}: expected {}", key.name, key.kind.expects())));
        };
        let each = tables.iter().map(|table| {
            let mut walk = Walk { text: self.text, keys, values: Values::new() };
            walk.table(table, "").map(|()| walk.values)
        });
        each.collect::<Result<_, _>>().map(Value::Tables)
    }

    fn put(&mut self, key: &'static str, full: &str, value: Value) {
        if !key.contains('*') {
            self.values.insert(key, value);
            return;
        }
        let place = key.split('.').position(|p| p == "*").unwrap_or(0);
        let name = full.split('.').nth(place).unwrap_or_default().to_owned();
        let each = self.values.entry(key).or_insert_with(|| Value::Each(BTreeMap::new()));
        if let Value::Each(each) = each {
            each.insert(name, value);
        }
    }

    fn unknown(&self, full: &str, prefix: &str) -> String {
        let depth = prefix.split('.').filter(|p| !p.is_empty()).count();
        let under = self.keys.iter().filter(|k| prefix.is_empty() || begins(k.name, prefix));
        let mut here: Vec<_> = under.filter_map(|k| k.name.split('.').nth(depth)).collect();
        here.dedup();
        format!("unknown key {full}; expected one of {}", here.join(", "))
    }

    fn value(&self, key: &Key, item: &Item, at: usize) -> Result<Value, Fault> {
        let wrong = || fault(self.text, at, format!("{}: expected {}", key.name, key.kind.expects()));
        convert(key.kind, item).ok_or_else(wrong)
    }
}

fn convert(kind: Kind, item: &Item) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::Text(item.as_str()?.to_owned()),
        Kind::Bool => Value::Bool(item.as_bool()?),
        Kind::Words => match item.as_value()? {
            Toml::String(s) => Value::Words(vec![s.value().clone()]),
            Toml::Array(a) => {
                Value::Words(a.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>()?)
            }
            _ => return None,
        },
        Kind::Map => {
            let table = item.as_table_like()?;
            let pairs = table.iter().map(|(k, v)| Some((k.to_owned(), v.as_str()?.to_owned())));
            Value::Map(pairs.collect::<Option<_>>()?)
        }
        Kind::Size => from_text(kind, item.as_str()?)?,
        Kind::Bytes => match item.as_integer() {
            Some(n) => Value::Bytes(u64::try_from(n).ok()?),
            None => from_text(kind, item.as_str()?)?,
        },
        Kind::Span | Kind::OneOf(_) => from_text(kind, item.as_str()?)?,
        Kind::Tables(_) => return None,
        Kind::Count => Value::Count(u64::try_from(item.as_integer()?).ok().filter(|n| *n > 0)?),
    })
}

/// A value as it stands in an environment variable, or in [`Key::default`].
pub fn from_text(kind: Kind, text: &str) -> Option<Value> {
    let number = |digits: &str| digits.trim().parse::<u64>().ok();
    Some(match kind {
        Kind::Text => Value::Text(text.to_owned()),
        Kind::Words => Value::Words(vec![text.to_owned()]),
        Kind::Map => Value::Map(BTreeMap::new()),
        Kind::Bool => Value::Bool(text.parse().ok()?),
        Kind::Size => {
            let (c, r) = text.split_once('x')?;
            let side = |s: &str| s.parse::<u16>().ok().filter(|n| (2..=1000).contains(n));
            Value::Size(side(c)?, side(r)?)
        }
        Kind::Bytes => {
            let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1u64 << 30), ("", 1)];
            let (digits, unit) = units.iter().find_map(|(s, n)| Some((text.strip_suffix(s)?, *n)))?;
            Value::Bytes(number(digits)?.checked_mul(unit)?)
        }
        Kind::Tables(_) => return None,
        Kind::Count => Value::Count(number(text).filter(|n| *n > 0)?),
        Kind::OneOf(words) => Value::Text(words.iter().find(|w| **w == text)?.to_string()),
        Kind::Span => {
            let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000u64)];
            let (digits, unit) =
                units.iter().find_map(|(s, n)| Some((number(text.strip_suffix(s)?)?, *n)))?;
            Value::Span(Duration::from_millis(digits.checked_mul(unit)?))
        }
    })
}

/// A value as it stands in TOML.
pub fn to_toml(value: &Value) -> String {
    let text = |s: &String| toml_edit::Value::from(s.as_str()).to_string().trim().to_owned();
    match value {
        Value::Text(s) => text(s),
        Value::Words(words) => {
            format!("[{}]", words.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{} = {}", text(k), text(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Bool(b) => b.to_string(),
        Value::Size(..) | Value::Span(_) | Value::Bytes(_) | Value::Count(_) => value.to_string(),
        Value::Tables(_) | Value::Each(_) => String::new(), // no key of a session has them
    }
}

/// What a template shows as the value of `key`: its default, else what a value looks like.
pub fn example(key: &Key) -> String {
    let or = |sample: &str| if key.default.is_empty() { sample.to_owned() } else { key.default.to_owned() };
    match key.kind {
        Kind::Map => "{ NAME = \"value\" }".to_owned(),
        Kind::Bool => or("false"),
        Kind::Count => or("1"),
        Kind::Words => "[\"…\"]".to_owned(),
        Kind::Size => format!("{:?}", or("120x40")),
        Kind::Span => format!("{:?}", or("10m")),
        Kind::Bytes => format!("{:?}", or("64MiB")),
        Kind::OneOf(_) => format!("{:?}", key.default),
        Kind::Text | Kind::Tables(_) => "\"…\"".to_owned(),
    }
}

/// The fault at byte `at` of `text`.
pub fn fault(text: &str, at: usize, what: String) -> Fault {
    let before = &text[..floor_boundary(text, at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Fault { line, column, text: what }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// Where `key` stands in `text`, for faults found by meaning rather than by kind.
pub fn locate(text: &str, key: &str, what: String) -> Fault {
    let doc = Document::parse(text.to_owned()).ok();
    let span = doc.as_ref().and_then(|d| {
        let mut table: &dyn toml_edit::TableLike = d.as_table();
        let (dirs, last) = key.rsplit_once('.').unwrap_or(("", key));
        for dir in dirs.split('.').filter(|d| !d.is_empty()) {
            table = table.get(dir)?.as_table_like()?;
        }
        table.key(last)?.span()
    });
    fault(text, span.map_or(0, |s| s.start), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static KEYS: &[Key] = &[
        Key { name: "cwd", kind: Kind::Text, default: "", about: "", env: None },
        Key { name: "command", kind: Kind::Words, default: "", about: "", env: None },
        Key { name: "env", kind: Kind::Map, default: "", about: "", env: None },
        Key { name: "size", kind: Kind::Size, default: "120x40", about: "", env: None },
        Key { name: "logs.rotate", kind: Kind::Bytes, default: "64MiB", about: "", env: None },
        Key { name: "logs.keep", kind: Kind::Span, default: "7d", about: "", env: None },
        Key { name: "logs.on", kind: Kind::Bool, default: "true", about: "", env: None },
    ];

    #[test]
    fn a_good_text_gives_its_values() {
        let text = "cwd = '/x'\ncommand = ['a', 'b c']\nsize = '80x24'\n[env]\nK = 'v'\n[logs]\nrotate = '1KiB'\nkeep='90s'\non = false";
        let v = parse(text, KEYS).unwrap();
        assert_eq!(v["cwd"], Value::Text("/x".into()));
        assert_eq!(v["command"], Value::Words(vec!["a".into(), "b c".into()]));
        assert_eq!(v["size"], Value::Size(80, 24));
        assert_eq!(v["env"], Value::Map([("K".to_owned(), "v".to_owned())].into()));
        assert_eq!(v["logs.rotate"], Value::Bytes(1024));
        assert_eq!(v["logs.keep"], Value::Span(Duration::from_secs(90)));
        assert_eq!(v["logs.on"], Value::Bool(false));
    }

    #[test]
    fn a_bad_text_names_line_column_and_what_was_expected() {
        for (text, line, column, word) in [
            ("cwd = '/x'\nsise = '80x24'\n", 2, 1, "unknown key sise"),
            ("size = '80'\n", 1, 8, "COLSxROWS"),
            ("cwd = '/é'\ncommand = 7", 2, 11, "array of strings"),
            ("[logs]\nrotate = '1KB'\n", 2, 10, "64MiB"),
            ("[logs]\nfoo = 1\n", 2, 1, "unknown key logs.foo; expected one of rotate, keep, on"),
            ("[env]\nK = 1\n", 1, 1, "table of strings"),
            ("cwd = \n", 1, 7, ""),
            ("cwd = 'a'\ncwd = 'b'", 2, 1, "duplicate"),
        ] {
            let f = parse(text, KEYS).unwrap_err();
            assert_eq!((f.line, f.column), (line, column), "{text:?}: {f}");
            assert!(f.text.contains(word), "{text:?}: {f}");
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for key in KEYS.iter().filter(|k| !k.default.is_empty()) {
            assert!(from_text(key.kind, key.default).is_some(), "{}", key.name);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\PC|\n|=|\\[|\\]|'){0,60}") {
            let _ = parse(&text, KEYS);
            let _ = locate(&text, "logs.on", String::new());
        }
    }
}
