//! What agents report by their hooks: the lines that they append to their files.
//!
//! Must not know what a state is made of.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use super::super::Session;
use super::super::conversations::Conversations;
use super::super::observation::Observation;
use super::super::observation::agent_state::Signal;
use super::super::state::Evidence;
use super::super::turns::HookReply;
use super::Life;
use muxfs_agent::hooks::{self, HookEvent, Kind};
use muxfs_tree::base::disk;
use muxfs_tree::base::error::{Error, Result};
use muxfs_tree::base::foreign::{self, Links};
use muxfs_tree::base::watcher::{WatchMask, Watcher};

/// Most that is read at once; the helper stops long before a file is this long.
const MOST: u64 = 32 << 20;
/// Files in the directory whose lengths are looked at: two a session.
const MOST_FILES: usize = 10_000;

/// Reads what hooks append, from now on, until `life` ends.
pub(in super::super) fn watch(life: &Arc<Life>) -> Result<()> {
    let dir = life.hook_files.dir();
    disk::make_dir(dir)?;
    let mut watcher = Watcher::new()?;
    watcher.add(dir, WatchMask::MODIFY).map_err(|e| Error::io("inotify", e))?;
    let mut events = watcher.into_events()?;
    let mut reader = Reader { life: Arc::downgrade(life), ends: HashMap::new() };
    // What was said before belongs to the past: only what comes now is news.
    // Of a file that is passed over here all is read again, which tells nothing wrong.
    let (found, _) = foreign::list(dir, MOST_FILES).unwrap_or_default();
    for path in found {
        let len = path.symlink_metadata().map_or(0, |m| m.len());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        reader.ends.insert(name, len);
    }
    tokio::spawn(async move {
        while let Ok(happened) = events.next().await {
            let mut names: Vec<_> = happened.into_iter().filter_map(|e| e.name).collect();
            names.dedup();
            if names.iter().any(|name| !reader.read(name)) {
                return;
            }
        }
    });
    Ok(())
}

fn hook_said(conversations: &Conversations, observation: &Observation, session: &Session, event: &HookEvent) {
    let now = Instant::now();
    let pane = session.main();
    let kind = event.kind();
    let bound = session.conversation();
    if kind == Kind::Started {
        conversations.bind(session, Some(event.conversation.clone()));
        return;
    }
    // Threads of an agent's own say their ends as well.
    if bound.as_ref() != Some(&event.conversation) {
        return;
    }
    match kind {
        Kind::PromptTaken => pane.eyes(|e| e.hook_took(now)),
        Kind::TurnEnded | Kind::TurnFailed => {
            let fault = kind == Kind::TurnFailed;
            if let Some(text) = &event.reply {
                pane.eyes(|e| e.said(text, fault, Evidence::Hook, now, SystemTime::now()));
                observation.observe_now(&pane); // a limit is stored before anything goes on
            }
            session.turns.hook_reported(event.reply.clone().map(|text| HookReply { text, fault }));
            pane.eyes(|e| e.hook_ended(now))
        }
        Kind::Blocked => pane.eyes(|e| e.hook(Signal::Asks, now)),
        Kind::Started | Kind::Idle | Kind::Ended | Kind::Other => None,
    };
    observation.observe(&pane);
}

/// How far each file was read.
struct Reader {
    life: Weak<Life>,
    ends: HashMap<String, u64>,
}

impl Reader {
    /// False where the node has ended.
    fn read(&mut self, name: &OsStr) -> bool {
        let Some(life) = self.life.upgrade() else { return false };
        let Some(id) = name.to_str() else { return true };
        let Some(session) = life.tables.by_id(id) else { return true };
        for line in self.lines(&life.hook_files.of(id), id).unwrap_or_default().lines() {
            if let Some(event) = hooks::parse(line) {
                hook_said(&life.conversations, &life.observation, &session, &event);
            }
        }
        true
    }

    /// The whole lines that are new. A file that is shorter than before is another one.
    fn lines(&mut self, path: &Path, id: &str) -> std::io::Result<String> {
        let mut file = foreign::open(path, Links::Refuse)?;
        let len = file.metadata()?.len();
        let from = self.ends.get(id).copied().filter(|end| *end <= len).unwrap_or(0);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        bytes.truncate(whole);
        self.ends.insert(id.to_owned(), from + whole as u64);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
