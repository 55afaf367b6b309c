//! Builds control-mode lines: quoting, format escapes, several commands in one line.
//!
//! Pure: knows tmux's command syntax, no server and no I/O.
//!
//! tmux reads a line with its config-file parser, so an argument is written in double quotes with
//! every byte that means anything there as `\ooo`. Where tmux then *expands formats* in the
//! argument (`-s`, `-n`, `-c`, `rename-session`, `pipe-pane`), quoting does not help: `#(cmd)`
//! would run a command. [`Command::literal`] is for those.

/// Commands that change nothing, as `list-…` and `show-…`.
const ASKING: &[&str] = &["display-message", "capture-pane", "has-session"];

/// One tmux command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    text: Vec<u8>,
    nul: bool,
    changes: bool,
    hidden: Vec<Hidden>,
}

/// One line of control mode: commands joined by `;`. A runtime error in one of them makes tmux
/// drop the rest of the line, and the line's result is that error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    text: Vec<u8>,
    nul: bool,
    changes: bool,
    hidden: Vec<Hidden>,
}

/// Text that a line's formats name, and its commands do not show: tmux keeps every command that it
/// runs in its message log, which `show-messages` prints. So the text is a variable of the server
/// for as long as the line takes, set by an assignment of its command language, which is no command
/// and is not logged. No program that tmux starts gets such a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    name: String,
    value: Vec<u8>,
}

impl Hidden {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Hidden { name: super::variable::fresh(), value: value.into() }
    }

    /// The format that stands for the text. It is not expanded again.
    pub fn format(&self) -> String {
        format!("#{{{}}}", self.name)
    }

    /// The line that makes it known to the server. It has no reply.
    pub(super) fn assign(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"%hidden ");
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        quote(&self.value, out);
        out.push(b'\n');
    }

    /// The command that makes the server forget it.
    pub(super) fn forget(&self) -> Command {
        Command::forget(&self.name)
    }
}

impl Command {
    /// Makes the server forget the variable of a [`Hidden`]. It may be done at any time, and twice.
    pub(super) fn forget(name: &str) -> Command {
        Command { changes: false, ..Command::new("set-environment").args(["-gu", name]) }
    }

    /// `name` is one of tmux's command names: a constant, never input.
    pub fn new(name: &'static str) -> Self {
        let asks = ASKING.contains(&name) || name.starts_with("list-") || name.starts_with("show-");
        Command { text: name.as_bytes().to_vec(), nul: false, changes: !asks, hidden: Vec::new() }
    }

    /// A literal argument: tmux sees exactly these bytes. (Where tmux expands formats in this
    /// argument, it still does: see [`Command::literal`].)
    pub fn arg(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.nul |= bytes.contains(&0);
        self.text.push(b' ');
        quote(bytes, &mut self.text);
        self
    }

    pub fn args<T: AsRef<[u8]>>(self, all: impl IntoIterator<Item = T>) -> Self {
        all.into_iter().fold(self, Command::arg)
    }

    /// User text in a place where tmux expands formats: names (`-s`, `-n`, `rename-session`),
    /// directories (`-c`).
    pub fn literal(self, bytes: impl AsRef<[u8]>) -> Self {
        self.arg(escape_format(bytes.as_ref()))
    }

    /// The shell command of `pipe-pane`, which tmux runs through formats *and* strftime(3).
    pub fn pipe_literal(self, bytes: impl AsRef<[u8]>) -> Self {
        let mut out = Vec::with_capacity(bytes.as_ref().len());
        for &b in bytes.as_ref() {
            out.push(b);
            if b == b'%' {
                out.push(b'%');
            }
        }
        self.arg(escape_format(&out))
    }

    /// `if -F`: tmux expands `format` for the pane `target` and runs one of the two lines, in the
    /// same step. No other client gets in between.
    pub fn either(target: &str, format: &str, then: Option<Line>, other: Option<Line>) -> Self {
        let (then, other) = (then.unwrap_or(Line::NOTHING), other.unwrap_or(Line::NOTHING));
        let (nul, changes) = (then.nul || other.nul, then.changes || other.changes);
        let hidden = [then.hidden, other.hidden].concat();
        let mut cmd = Command::new("if-shell").arg("-F").arg("-t").arg(target).arg(format);
        cmd = cmd.arg(&then.text).arg(&other.text);
        Command { nul, changes, hidden, ..cmd }
    }

    /// Its formats name these.
    pub fn hiding(mut self, hidden: impl IntoIterator<Item = Hidden>) -> Self {
        self.hidden.extend(hidden);
        self.nul |= self.hidden.iter().any(|h| h.value.contains(&0));
        self
    }

    /// `self ; next`.
    pub fn then(self, next: Command) -> Line {
        Line::from(self).then(next)
    }
}

impl Line {
    pub(super) const NOTHING: Line =
        Line { text: Vec::new(), nul: false, changes: false, hidden: Vec::new() };

    /// `self ; next`.
    pub fn then(self, next: Command) -> Line {
        self.join(next.into())
    }

    /// The same for several commands.
    pub fn join(mut self, next: Line) -> Line {
        if !self.text.is_empty() && !next.text.is_empty() {
            self.text.extend_from_slice(b" ; ");
        }
        self.text.extend_from_slice(&next.text);
        self.hidden.extend(next.hidden);
        Line { nul: self.nul | next.nul, changes: self.changes | next.changes, ..self }
    }

    /// What its formats name.
    pub(super) fn hidden(&self) -> &[Hidden] {
        &self.hidden
    }

    /// Whether any of its commands may change something: such a line is not run too late, and not
    /// twice.
    pub fn changes(&self) -> bool {
        self.changes
    }

    /// Bytes that it takes to send.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.hidden.iter().map(|h| h.value.len()).sum::<usize>()
    }

    /// The bytes to send, without the newline. None when an argument holds a NUL byte, which
    /// tmux's C strings cannot carry.
    pub fn bytes(&self) -> Option<&[u8]> {
        (!self.nul).then_some(&self.text)
    }
}

impl From<Command> for Line {
    fn from(c: Command) -> Line {
        Line { text: c.text, nul: c.nul, changes: c.changes, hidden: c.hidden }
    }
}

/// One word for tmux's parser: always in double quotes, and everything that could mean something
/// inside them (or end the line) as three octal digits.
fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for &b in bytes {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(b),
            b' ' | b'-' | b'_' | b'.' | b'/' | b':' | b',' | b'=' | b'@' | b'+' | b'%' => out.push(b),
            // Needed often in formats; harmless inside quotes.
            b'#' | b'{' | b'}' | b'(' | b')' | b'|' | b'&' | b'*' | b'!' | b'?' | b'<' | b'>' => out.push(b),
            _ => out.extend_from_slice(&[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]),
        }
    }
    out.push(b'"');
}

/// Text that comes out of tmux's format expansion as it went in: every `#` doubled, but not a run
/// of `#` before `[`, which tmux keeps as it stands (format.c, "found #*%zu[").
pub fn escape_format(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut i = 0;
    while i < text.len() {
        if text[i] != b'#' {
            out.push(text[i]);
            i += 1;
            continue;
        }
        let run = text[i..].iter().take_while(|&&b| b == b'#').count();
        let times = if text.get(i + run) == Some(&b'[') { 1 } else { 2 };
        out.resize(out.len() + run * times, b'#');
        i += run;
    }
    out
}

/// One word for `sh`: in single quotes, whatever it holds.
pub fn shell_word(word: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for &b in word {
        match b {
            b'\'' => out.extend_from_slice(b"'\\''"),
            _ => out.push(b),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(l: impl Into<Line>) -> String {
        String::from_utf8(l.into().bytes().expect("no NUL").to_vec()).expect("ASCII")
    }

    #[test]
    fn every_byte_but_nul_is_ascii_and_one_line() {
        let all: Vec<u8> = (1..=255).collect();
        let line = text(Command::new("x").arg(&all));
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line}");
        assert!(line.contains("\\012") && line.contains("\\044") && line.contains("\\377"));
        assert_eq!(line.matches('"').count(), 2, "quotes inside are escaped");
        assert!(Line::from(Command::new("x").arg([0u8])).bytes().is_none());
    }

    #[test]
    fn formats_are_doubled_but_not_before_a_bracket() {
        assert_eq!(escape_format(b"#(x) ##S #[a] ##[b] #"), b"##(x) ####S #[a] ##[b] ##");
        assert_eq!(text(Command::new("p").pipe_literal("%H#")), "p \"%%H##\"");
    }

    #[test]
    fn lines_join_and_nest() {
        let inner = Command::new("a").arg("x y").then(Command::new("b"));
        assert_eq!(text(inner.clone()), "a \"x y\" ; b");
        let line = text(Command::either("%1", "#{pane_dead}", None, Some(inner)));
        assert_eq!(line, "if-shell \"-F\" \"-t\" \"%1\" \"#{pane_dead}\" \"\" \"a \\042x y\\042 \\073 b\"");
        let nul = Command::either("%1", "1", Some(Command::new("a").arg([0u8]).into()), None);
        assert!(Line::from(nul).bytes().is_none(), "a NUL is seen through nesting");
    }

    #[test]
    fn a_line_that_changes_something_is_known() {
        let ask = || Line::from(Command::new("display-message").arg("-p"));
        assert!(!ask().then(Command::new("list-panes")).changes());
        assert!(ask().then(Command::new("send-keys")).changes());
        assert!(!Line::from(Command::either("%1", "1", Some(ask()), None)).changes());
        assert!(
            Line::from(Command::either("%1", "1", None, Some(ask().then(Command::new("kill-pane")))))
                .changes()
        );
    }

    #[test]
    fn shell_words() {
        assert_eq!(shell_word(b"a'b c"), b"'a'\\''b c'");
    }
}
