//! aider: `.aider.chat.history.md` in its directory, one file that all its conversations are appended
//! to, as 0.86.2 writes it.
//!
//! Knows its lines: `# aider chat started at …`, `#### ` a prompt's line, `> ` the program's own;
//! those two end in two spaces, which sets them apart from an answer that quotes. There are no
//! ids: the time of the start is one. In a git repository aider keeps the file at its top, where
//! it belongs to no directory below: it is shown for the top alone.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::files::{self, WINDOW};
use super::jsonl;
use super::text::one_line;
use super::{Adapter, Conversation, Entry, Home, Listing, Mark, Who};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

pub struct Aider;

const STARTED: &str = "# aider chat started at ";

impl Adapter for Aider {
    fn list(&self, home: &Home, cwd: Option<&str>) -> Listing {
        let mut listing = Listing::default();
        // Where it was used is written nowhere.
        let Some(cwd) = cwd else { return listing };
        let place = place(home, cwd);
        let Some(file) = files::seen(place.clone()) else { return listing };
        match chats(&place) {
            Ok(chats) => {
                listing.read = file.len.min(WINDOW);
                let last = chats.len().saturating_sub(1);
                let found = chats.iter().enumerate();
                let found = found.filter_map(|(i, chat)| {
                    // A conversation was over when the next began; the last when the file was written.
                    let updated = if i == last { Some(file.modified) } else { chats[i + 1].started };
                    chat.conversation(cwd, &place, updated.unwrap_or(file.modified))
                });
                listing.found = found.collect();
            }
            Err(e) => listing.trouble.push(e.text().to_owned()),
        }
        jsonl::finish(listing)
    }

    fn since(&self, _: &Home, c: &Conversation, mark: &Mark) -> Result<(Vec<Entry>, Mark)> {
        let from = match mark.at {
            0 => chats(&c.place)?.into_iter().find(|chat| chat.id == c.id).map(|chat| chat.at),
            at => Some(at),
        };
        let Some(from) = from else {
            return fail(Kind::NotFound, format!("{}: no chat {}", c.place.display(), c.id));
        };
        let mut chat = ChatLines::default();
        let mut over = false;
        let (begin, at) = window(&c.place, from, &mut |line, at| {
            over = over || ((mark.at > 0 || at > from) && matches!(Line::read(line), Line::Start(_)));
            if !over {
                chat.line(line);
            }
            !over
        })?;
        chat.close();
        let said = jsonl::after_gap(begin.saturating_sub(from), chat.said);
        Ok((said, Mark { at, last: String::new() }))
    }

    fn end(&self, _: &Home, c: &Conversation) -> Result<Mark> {
        let file = files::seen(c.place.clone());
        Ok(Mark { at: file.map_or(0, |f| f.len), last: String::new() })
    }
}

fn place(home: &Home, cwd: &str) -> PathBuf {
    let set = (home.env)("AIDER_CHAT_HISTORY_FILE").filter(|v| !v.is_empty());
    Path::new(cwd).join(set.as_deref().unwrap_or(".aider.chat.history.md"))
}

/// The whole lines from a place, or of the newest [`WINDOW`] bytes, each with where it begins.
/// Returned is where reading began, and the place after the last line that was taken.
fn window(place: &Path, from: u64, take: &mut dyn FnMut(&str, u64) -> bool) -> Result<(u64, u64)> {
    let mut read = || {
        let (file, len) = files::open(place)?;
        let begin = from.max(len.saturating_sub(WINDOW)).min(len);
        let take = |line: &[u8], at: std::ops::Range<u64>, whole| {
            whole && take(&String::from_utf8_lossy(line), at.start)
        };
        let (at, _) = files::lines(file, begin, len, take)?;
        Ok((begin, at))
    };
    read().map_err(|e| Error::io(place.display(), e))
}

#[derive(Default)]
struct Chat {
    id: String,
    at: u64,
    started: Option<SystemTime>,
    prompts: u64,
    title: String,
}

impl Chat {
    /// None where nothing was asked.
    fn conversation(&self, cwd: &str, place: &Path, updated: SystemTime) -> Option<Conversation> {
        (self.prompts > 0).then(|| Conversation {
            agent: "aider",
            id: self.id.clone(),
            cwd: cwd.to_owned(),
            title: self.title.clone(),
            started: self.started,
            updated,
            prompts: self.prompts,
            at_least: false,
            place: place.to_owned(),
        })
    }
}

/// The conversations in the newest [`WINDOW`] bytes, the oldest first; one that begins before is left out.
fn chats(place: &Path) -> Result<Vec<Chat>> {
    let mut chats: Vec<Chat> = Vec::new();
    let mut in_prompt = false;
    window(place, 0, &mut |line, at| {
        let line = Line::read(line);
        match (&line, chats.last_mut()) {
            (Line::Start(time), _) => {
                let chat = begun(time, at, &chats);
                chats.push(chat);
            }
            (Line::Prompt(text), Some(chat)) if !in_prompt => {
                chat.prompts += 1;
                if chat.title.is_empty() {
                    chat.title = one_line(text);
                }
            }
            _ => {}
        }
        in_prompt = matches!(line, Line::Prompt(_));
        true
    })?;
    Ok(chats)
}

fn begun(time: &str, at: u64, before: &[Chat]) -> Chat {
    let id = time.replace(' ', "T");
    // Two in one second; their order distinguishes them.
    let same = before.iter().filter(|c| c.id.starts_with(&id)).count();
    let id = if same == 0 { id } else { format!("{id}-{}", same + 1) };
    Chat { id, at, started: local(time), ..Chat::default() }
}

/// `2026-11-21 02:09:49` in this machine's time zone.
fn local(time: &str) -> Option<SystemTime> {
    let time: jiff::civil::DateTime = time.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp().into())
}

enum Line<'a> {
    Start(&'a str),
    Prompt(&'a str),
    /// The program's own.
    Own(&'a str),
    Text(&'a str),
    Blank,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let own = |begin| Some(line.strip_prefix(begin)?.strip_suffix("  ")?.trim_end());
        if let Some(time) = line.strip_prefix(STARTED).filter(|t| t.len() == 19 && local(t).is_some()) {
            Line::Start(time)
        } else if let Some(text) = own("#### ") {
            // Enter on an empty line.
            if text == "<blank>" { Line::Blank } else { Line::Prompt(text) }
        } else if let Some(text) = own("> ") {
            Line::Own(text)
        } else if line.trim().is_empty() {
            Line::Blank
        } else {
            Line::Text(line)
        }
    }
}

/// Lines put together: a prompt ends at a blank line, an answer goes on over it.
#[derive(Default)]
struct ChatLines {
    said: Vec<Entry>,
    who: Option<Who>,
    text: String,
}

impl ChatLines {
    fn line(&mut self, line: &str) {
        match Line::read(line) {
            Line::Start(_) => self.close(),
            Line::Prompt(text) => self.add(Who::User, text),
            Line::Own(text) => self.add(Who::Note, text),
            Line::Text(text) => self.add(Who::Agent, text),
            Line::Blank if self.who == Some(Who::Agent) => self.text.push('\n'),
            Line::Blank => self.close(),
        }
    }

    fn add(&mut self, who: Who, text: &str) {
        if self.who != Some(who) {
            self.close();
            self.who = Some(who);
        }
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn close(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Some(who) = self.who.take() {
            self.said.extend(Entry::new(who, text.trim_matches('\n'), None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_quote_what_a_prompt_looks_like() {
        let text = "# aider chat started at 2026-11-21 02:09:49\n\n> Aider v0.86.2  \n\n#### one  \n#### two  \n\n\
                    #### not a prompt\n> quoted\n\n# aider chat started at noon\n\n> Tokens: 1  \n\n#### <blank>  \n";
        let mut chat = ChatLines::default();
        text.lines().for_each(|l| chat.line(l));
        chat.close();
        let said: Vec<(Who, &str)> = chat.said.iter().map(|e| (e.who, e.text.as_str())).collect();
        assert_eq!(
            said,
            [
                (Who::Note, "Aider v0.86.2"),
                (Who::User, "one\ntwo"),
                (Who::Agent, "#### not a prompt\n> quoted\n\n# aider chat started at noon"),
                (Who::Note, "Tokens: 1"),
            ]
        );
    }
}
