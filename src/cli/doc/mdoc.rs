//! Writing mdoc(7) that mandoc and groff take without a complaint: escapes, line lengths, one
//! sentence a line. Knows the language, not what is said in it.

/// mandoc's style check wants input lines of at most 80 bytes.
const WIDTH: usize = 78;

/// A manual page in the making.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// `date` as mdoc writes it: `November 21, 2026`.
    pub fn new(name: &str, section: u8, date: &str, about: &str) -> Page {
        let mut page =
            Page(".\\\" Generated from the program's own tables; UPDATE=1 cargo test rewrites it.\n".into());
        page.0 += &format!(".Dd {date}\n.Dt {} {section}\n.Os\n", name.to_uppercase());
        page.section("NAME");
        page.0 += &format!(".Nm {name}\n.Nd {}\n", escape(about));
        page
    }

    pub fn section(&mut self, title: &str) {
        self.0 += &format!(".Sh {title}\n");
    }

    pub fn subsection(&mut self, title: &str) {
        self.0 += &format!(".Ss {}\n", argument(title));
    }

    /// A macro line; the arguments are escaped, so none of them is taken for a macro.
    pub fn macro_line(&mut self, name: &str, args: &[&str]) {
        let args: String = args.iter().map(|a| format!(" {}", argument(a))).collect();
        self.0 += &format!(".{name}{args}\n");
    }

    /// A line as it is, macros and all.
    pub fn raw(&mut self, line: &str) {
        self.0 += line;
        self.0.push('\n');
    }

    /// Running text. `` `code` `` is set bold, an empty line begins a paragraph.
    pub fn text(&mut self, text: &str) {
        for (i, paragraph) in text.split("\n\n").enumerate() {
            if i > 0 {
                self.0 += ".Pp\n";
            }
            let joined = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            for sentence in sentences(&joined) {
                for line in wrap(sentence) {
                    let line = escape_code(&line);
                    if line.starts_with(['.', '\'']) {
                        self.0 += "\\&";
                    }
                    self.0 += &line;
                    self.0.push('\n');
                }
            }
        }
    }

    pub fn paragraph(&mut self) {
        self.0 += ".Pp\n";
    }

    /// Lines shown as they are.
    pub fn display(&mut self, lines: &str) {
        self.0 += ".Bd -literal -offset indent\n";
        for line in lines.lines() {
            let line = escape(line);
            if line.starts_with(['.', '\'']) {
                self.0 += "\\&";
            }
            self.0 += &line;
            self.0.push('\n');
        }
        self.0 += ".Ed\n";
    }

    /// Terms, each with running text below it.
    pub fn list<T: AsRef<str>>(&mut self, items: impl IntoIterator<Item = (T, String)>) {
        self.0 += ".Bl -tag -width Ds\n";
        for (term, about) in items {
            self.macro_line("It", &[term.as_ref()]);
            self.text(&about);
        }
        self.0 += ".El\n";
    }

    pub fn see_also(&mut self, pages: &[(&str, u8)]) {
        self.section("SEE ALSO");
        for (i, (name, section)) in pages.iter().enumerate() {
            let comma = if i + 1 < pages.len() { " ," } else { "" };
            self.0 += &format!(".Xr {name} {section}{comma}\n");
        }
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// Characters that roff would take for something else. A minus that begins a word is an option's,
/// and has to stay the ASCII character it is when it is copied from the page.
fn escape(text: &str) -> String {
    let mut out = String::new();
    let mut before = ' ';
    for c in text.chars() {
        match c {
            '\\' => out += "\\e",
            '`' => out += "\\(ga",
            '\'' => out += "\\(aq",
            '"' => out += "\\(dq",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            '-' if !before.is_alphanumeric() => out += "\\-",
            c => out.push(c),
        }
        before = c;
    }
    out
}

/// One argument of a macro. The zero-width `\&` keeps short words (`No`, `Ar`) from being macros.
fn argument(text: &str) -> String {
    let escaped = escape(text);
    let may_be_macro = text.len() <= 3 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '%');
    let guard = if may_be_macro || text.len() == 1 { "\\&" } else { "" };
    if text.contains(' ') || text.is_empty() {
        format!("\"{guard}{escaped}\"")
    } else {
        format!("{guard}{escaped}")
    }
}

fn escape_code(line: &str) -> String {
    let mut out = String::new();
    for (i, part) in line.split('`').enumerate() {
        let part = escape(part);
        out += &if i % 2 == 1 { format!("\\fB{part}\\fP") } else { part };
    }
    out
}

/// Text after each full stop on a line of its own, as mdoc wants it.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(". ").flat_map(|s| s.split_inclusive("? ")).map(str::trim_end)
}

/// Lines of at most [`WIDTH`] bytes as they are written; code is not broken across lines.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut in_code = false;
    let mut word = String::new();
    for piece in text.split(' ') {
        if !word.is_empty() {
            word.push(' ');
        }
        word += piece;
        in_code ^= piece.matches('`').count() % 2 == 1;
        if in_code {
            continue;
        }
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if !line.is_empty() && escape_code(line).len() + 1 + escape_code(&word).len() > WIDTH {
            lines.push(std::mem::take(&mut word));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            *line += &std::mem::take(&mut word);
        }
    }
    if !word.is_empty() {
        lines.push(word);
    }
    lines.retain(|l| !l.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut page = Page::default();
        page.text(text);
        page.finish()
    }

    #[test]
    fn what_roff_would_take_for_its_own_is_escaped() {
        assert_eq!(text(".dot first\n\n'quote"), "\\&.dot first\n.Pp\n\\(aqquote\n");
        assert_eq!(text(r"a\b `~/x -o` well-known"), "a\\eb \\fB\\(ti/x \\-o\\fP well-known\n");
    }

    #[test]
    fn short_words_are_no_macros() {
        let mut page = Page::default();
        page.macro_line("It", &["No", "a b", "longer"]);
        assert_eq!(page.finish(), ".It \\&No \"a b\" longer\n");
    }

    #[test]
    fn sentences_and_long_lines_break() {
        assert_eq!(text("One. Two? Three."), "One.\nTwo?\nThree.\n");
        let long = text(&"word ".repeat(60));
        assert!(long.lines().count() > 3 && long.lines().all(|l| l.len() <= 80), "{long}");
        assert!(text(&format!("{} `a b c d e f g`", "x".repeat(70))).contains("\n\\fBa b c d e f g\\fP"));
    }
}
