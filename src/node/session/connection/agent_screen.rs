//! What an agent's pane shows, and what that says.
//!
//! Knows tmux's captures and the manifests' rules. Must not know what is done with a state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::super::observation::agent_state::{FileSays, Picture, Signal};
use super::super::{Pane, env, record};
use super::Connection;
use muxfs_agent::composer;
use muxfs_agent::manifest::{Manifest, State};
use muxfs_agent::question::asked;
use muxfs_agent::rules::{continues, judge, stopped};
use muxfs_agent::screen::Screen;
use muxfs_agent::status_file::{self, Seen};
use muxfs_agent::until::until;
use muxfs_tmux as tmux;
use muxfs_tree::base::clock;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::base::foreign::{self, Links};

impl Connection {
    /// One picture, and what it says.
    pub(in super::super) async fn picture(&self, pane: &Pane) -> Result<(tmux::Picture, Picture)> {
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else {
            return fail(Kind::Bug, "a picture of a pane without an agent");
        };
        let server = self.server()?;
        let shot = tmux::capture(&server, &pane.id).await?;
        let mut screen = Screen::parse(&shot.text);
        screen.title.clone_from(&shot.title);
        screen.cursor = Some(shot.cursor);
        let verdict = judge(&manifest, &screen);
        let file = self.status_file(&manifest, pane).await;
        let asks = verdict.state == State::Blocked || file.is_some_and(|f| f.signal == Signal::Asks);
        let question = asks.then(|| asked(&manifest, &screen));
        let sign = pane.eyes(|e| e.picture.sign).unwrap_or(false);
        let reading = composer::read(&manifest, &screen, sign);
        let picture = Picture {
            state: Some(verdict.state),
            rule: verdict.rule.map(str::to_owned),
            by_title: verdict.by_title,
            until_words: verdict.until.clone(),
            until: verdict.until.as_deref().and_then(|words| until(words, SystemTime::now(), clock::east())),
            stopped: stopped(&manifest, &screen),
            continues: continues(&manifest, &screen),
            composer: reading.composer,
            shown: reading.shown,
            place: reading.rows,
            popup: reading.popup,
            sign: sign || reading.sign,
            reason: verdict.reason,
            question,
            file,
        };
        Ok((shot, picture))
    }

    /// What the agent's own file says.
    async fn status_file(&self, manifest: &Manifest, pane: &Pane) -> Option<FileSays> {
        if manifest.status_file.is_empty() {
            return None;
        }
        let pid = pane.fact(|f| f.pid);
        let env = env::of_process(pid)?;
        let path = manifest.status_file.iter().find_map(|p| env::expand(p, &env))?;
        let text = small_file(path.replace("{pid}", &pid.to_string()), &pane.reading_status).await?;
        let status = status_file::parse(&text).filter(|s| s.pid == pid)?;
        let signal = match status.state {
            Seen::Busy => Signal::Works,
            Seen::Waiting(_) => Signal::Asks,
            Seen::Idle => Signal::Idle,
            Seen::Unknown => return None,
        };
        let (now, wall) = (Instant::now(), record::millis(SystemTime::now()));
        let written = status.since.and_then(|since| pane.eyes(|e| e.written(since, now, wall)));
        Some(FileSays { signal, written })
    }
}

/// Most that is read of a status file: a real one has some 400 bytes.
const SMALL: u64 = 64 << 10;
/// How long a look waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// The text of a status file. It lies on the agent's file system, which may not answer: then the
/// wait is over after [`PATIENCE`], and the file says nothing until the read has come back.
async fn small_file(path: String, reading: &Arc<AtomicBool>) -> Option<String> {
    if reading.swap(true, Ordering::AcqRel) {
        return None;
    }
    let done = reading.clone();
    let read = tokio::task::spawn_blocking(move || {
        let text = foreign::read_text(path.as_ref(), Links::Refuse, SMALL);
        done.store(false, Ordering::Release);
        text
    });
    tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?.ok()
}
