//! What a pane shows and has shown, as text.
//!
//! Knows tmux's captures; must not know who reads them.

use super::actor::Server;
use super::command::{Command, Line};
use super::stand::{FACTS, Stand};
use muxfs_tree::base::error::{Kind, Result, fail};

/// Bytes of [`Capture::Output`] kept, from the end.
pub const MAX_OUTPUT: usize = 16 << 20;
/// Rows of scrollback asked for; fewer, where the answer is larger than a reply may be.
const ROWS: [u32; 3] = [200_000, 40_000, 8_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// The visible screen, a line for each row.
    Screen,
    /// The same with colours.
    ScreenAnsi,
    /// Scrollback and screen, wrapped lines joined. Under a full-screen program: scrollback, the
    /// normal screen it hides, then the screen. Trailing blanks of lines and blank lines at the
    /// end are cut; the last 16 MiB.
    Output,
}

/// What a pane shows at one moment, with what tmux knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The rows, with their colours.
    pub text: String,
    pub title: String,
    /// Column and row from 0.
    pub cursor: (u16, u16),
    pub size: (u16, u16),
    pub dead: bool,
    /// Of the process that shows it.
    pub pid: u32,
    /// The same rows without colours, as tmux compares them.
    pub plain: String,
    /// What tmux made of [`FACTS`].
    facts: String,
}

impl Picture {
    /// What a line that types compares, so that it types only into what was seen here: the cursor,
    /// and a few of the rows `wanted` (from 0; those that tell most first).
    pub fn stand(&self, wanted: impl IntoIterator<Item = usize>) -> Stand {
        Stand::new(&self.facts, &self.plain, wanted)
    }
}

/// One step of the server: text and facts are of the same moment.
pub async fn capture(server: &Server, pane: &str) -> Result<Picture> {
    let facts = format!(
        "#{{cursor_x}} #{{cursor_y}} #{{pane_width}} #{{pane_height}} #{{pane_dead}} #{{pane_pid}} {FACTS} #{{pane_title}}"
    );
    let line = Command::new("display-message")
        .args(["-p", "-t", pane, &facts])
        .then(Command::new("capture-pane").args(["-p", "-e", "-t", pane]))
        .then(Command::new("capture-pane").args(["-p", "-t", pane]));
    let bodies = server.run_each(line).await?;
    let [facts, text, plain] = &bodies[..] else {
        return fail(Kind::Bug, format!("three commands, {} answers from tmux", bodies.len()));
    };
    let facts = String::from_utf8_lossy(facts);
    let mut fields = facts.trim_end_matches('\n').splitn(8, ' ');
    let mut number = || fields.next().and_then(|f| f.parse::<u32>().ok()).unwrap_or(0);
    let mut small = || u16::try_from(number()).unwrap_or(0);
    let (cursor, size) = ((small(), small()), (small(), small()));
    let (dead, pid) = (small() == 1, number());
    let facts = fields.next().unwrap_or_default().to_owned();
    let title = fields.next().unwrap_or_default().to_owned();
    let rows = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    Ok(Picture { text: rows(text), plain: rows(plain), title, cursor, size, dead, pid, facts })
}

/// One line to tmux and one moment of the pane. Works on dead panes too.
pub async fn capture_text(server: &Server, pane: &str, what: Capture) -> Result<Vec<u8>> {
    let take = |flags: &[&str]| Command::new("capture-pane").args(["-p", "-t", pane]).args(flags);
    match what {
        Capture::Screen => server.run(take(&[])).await,
        Capture::ScreenAnsi => server.run(take(&["-e"])).await,
        Capture::Output => {
            let mut result = Ok(Vec::new());
            for rows in ROWS {
                let start = format!("-{rows}");
                // Without scrollback, `-E -1` would mean the first row of the screen.
                let history = Command::either(
                    pane,
                    "#{!=:#{history_size},0}",
                    Some(take(&["-J", "-S", &start, "-E", "-1"]).into()),
                    None,
                );
                let hidden = history.then(take(&["-J", "-a", "-q"])).then(take(&["-J"]));
                let plain = Line::from(take(&["-J", "-S", &start]));
                result =
                    server.run(Command::either(pane, "#{alternate_on}", Some(hidden), Some(plain))).await;
                if !matches!(&result, Err(e) if e.kind == Kind::TooLarge) {
                    break;
                }
            }
            result.map(tidy)
        }
    }
}

/// Cuts blanks at the ends of lines, blank lines at the end, and all but the last 16 MiB (at a
/// line's beginning).
fn tidy(text: Vec<u8>) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for line in text.split(|&b| b == b'\n') {
        let end = line.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1);
        out.extend_from_slice(&line[..end]);
        out.push(b'\n');
    }
    let end = out.iter().rposition(|&b| b != b'\n').map_or(0, |i| i + 2);
    out.truncate(end);
    if out.len() > MAX_OUTPUT {
        let from = out.len() - MAX_OUTPUT;
        let cut = out[from - 1..].iter().position(|&b| b == b'\n').map_or(from, |i| from + i);
        out.drain(..cut);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_ends_are_cut_and_the_tail_is_whole_lines() {
        assert_eq!(tidy(b"a  \n\n b\n  \n\n".to_vec()), b"a\n\n b\n");
        assert_eq!(tidy(b"\n \n".to_vec()), b"");
        assert_eq!(tidy(b"x".to_vec()), b"x\n");
        let line = [&[b'y'; 1023][..], b"\n"].concat();
        let many = [b"first\n".to_vec(), line.repeat(MAX_OUTPUT / 1024)].concat();
        let got = tidy(many);
        assert_eq!(got.len(), MAX_OUTPUT);
        assert!(got.starts_with(b"yyy"));
    }
}
