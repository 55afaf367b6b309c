//! Puts one prompt into an agent's composer and sees to it that it is taken.
//!
//! Every step begins with a look, and what is typed is typed only while the pane stands as it was
//! seen: nothing goes into a dialog that came up meanwhile, nor onto somebody's draft. Enter is
//! pressed only where the composer reads exactly the prompt. Each step has a limit, after which the
//! prompt is taken out of the composer again.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::Pane;
use super::super::observation::agent_state::Picture;
use super::super::pane::Held;
use super::Delivery;
use super::entry::Entry;
use muxfs_agent::composer::{self, Composer};
use muxfs_agent::manifest::{By, Manifest, State as Shows};
use muxfs_tmux::input::{self, Send, Typed};
use muxfs_tmux::{self as tmux, Key, Server, Stand};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

pub(super) const LOOK: Duration = Duration::from_millis(30);
/// Some composers are emptied a line at a time.
pub(super) const CLEARS: u32 = 100;
/// How long a prompt that was typed at once waits for a dialog that came up before its Enter.
const DIALOG: Duration = Duration::from_secs(10);
/// Characters of a draft that tell whose it is.
const KNOWN: usize = 3;

/// A pane that was seen fit for a prompt.
pub(super) struct Fit {
    server: Server,
    manifest: Option<Arc<Manifest>>,
    /// None of a pane that nobody can see into.
    stand: Option<Stand>,
}

/// Why a pane is not fit now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The agent works, asks, or is not to be made out.
    State,
    /// Its composer holds a draft, or was not read whole.
    Composer(Held),
}

/// What became of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Put {
    Taken,
    /// The pane changed before the first byte: nothing was typed.
    Moved,
    /// It was seen in the composer and taken out again before any Enter, and why.
    Back(String),
    /// The same, by a wish of `ctl interrupt`.
    Interrupted,
    /// It may have been taken or not, in whole or in part.
    Uncertain(String),
}

/// Whether a step may go on: false once the prompt is no longer wanted.
pub(super) type Wanted<'a> = &'a (dyn Fn() -> bool + std::marker::Send + Sync);

impl Delivery {
    /// Looks whether a prompt may go now. `working_too`: also while the agent works.
    pub(super) async fn fit(
        &self,
        pane: &Pane,
        working_too: bool,
    ) -> Result<std::result::Result<Fit, Unfit>> {
        let server = self.connection.server()?;
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else {
            return Ok(Ok(Fit { server, stand: None, manifest: None }));
        };
        if manifest.rules.is_empty() {
            return Ok(Ok(Fit { server, stand: None, manifest: Some(manifest) }));
        }
        let may = |picture: &Picture| match picture.state {
            Some(Shows::Ready) => true,
            Some(Shows::Busy) => working_too,
            Some(Shows::Limited) => {
                working_too || pane.eyes(|e| e.limit_is_over(SystemTime::now())).unwrap_or(false)
            }
            _ => false,
        };
        let (mut shot, mut picture) = self.connection.picture(pane).await?;
        // Of a composer in another mode the rules may not know what it is.
        let other = may(&picture) || picture.state == Some(Shows::Unknown);
        if other && pane.eyes(|e| e.may_leave(&picture.composer)).unwrap_or(false) {
            if let Some(held) = self.leave_mode(pane, &server, &manifest).await? {
                return Ok(Err(Unfit::Composer(held)));
            }
            (shot, picture) = self.connection.picture(pane).await?;
        }
        if shot.dead {
            return fail(Kind::Gone, format!("pane {} is dead", pane.id));
        }
        let state = may(&picture);
        let stand = stand(&shot, &picture);
        let held = unfit(&manifest, &picture, &stand);
        pane.saw(shot.pid, picture);
        Ok(match held {
            _ if !state => Err(Unfit::State),
            Some(held) => Err(Unfit::Composer(held)),
            None => Ok(Fit { server, stand: Some(stand), manifest: Some(manifest) }),
        })
    }

    /// Types `text` and presses Enter. The caller holds the pane's prompts.
    pub(super) async fn put_in(
        self: &Arc<Self>,
        pane: &Arc<Pane>,
        fit: &Fit,
        text: &str,
        wanted: Wanted<'_>,
    ) -> Result<Put> {
        pane.input(Instant::now());
        let (Some(manifest), Some(stand)) = (fit.manifest.as_deref(), &fit.stand) else {
            // A shell, or an agent nobody can see: one paste and one Enter.
            input::paste(&fit.server, &pane.id, text.as_bytes(), true).await?;
            return Ok(Put::Taken);
        };
        // A backslash right before Enter makes a line feed of it.
        let ended = if text.ends_with('\\') { format!("{text} ") } else { text.to_owned() };
        let typed = manifest.submit.by == By::Keys || text.starts_with('/') && !text.contains('\n');
        let put = if typed {
            input::type_if(&fit.server, &pane.id, &[Send::Text(&ended)], stand).await?
        } else {
            input::paste_if(&fit.server, &pane.id, ended.as_bytes(), stand).await?
        };
        if put == Typed::Moved {
            return Ok(Put::Moved);
        }
        let entry = Entry { delivery: self, pane, server: &fit.server, manifest, text, typed, wanted };
        entry.submit().await
    }

    /// Enter once more, where the composer holds the prompt still.
    pub(super) async fn press_again(self: &Arc<Self>, pane: &Arc<Pane>, prompt: &str) -> Result<()> {
        let server = self.connection.server()?;
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else { return Ok(()) };
        let (shot, picture) = self.connection.picture(pane).await?;
        let (stand, ours) = (stand(&shot, &picture), holds(&manifest, &picture, prompt) == Holds::Ours);
        let asks = picture.state == Some(Shows::Blocked);
        let list = picture.popup.is_some();
        pane.saw(shot.pid, picture);
        if self.connection.typed_by_hand(pane).await? {
            return Ok(()); // a person stopped it, and has it back
        }
        if ours && !asks && !list && pane.eyes(|e| e.holds(prompt)).unwrap_or(false) {
            pane.input(Instant::now());
            input::type_if(&server, &pane.id, &pressed(&known(&["Enter"])?), &stand).await?; // Moved: at the next look
        }
        self.observation.observe_now(pane);
        Ok(())
    }

    /// A prompt that does not wait for its turn: `Busy` where a dialog stands there, or nobody knows
    /// what does. Waits up to `hold` while the composer holds a draft.
    pub(in super::super) async fn steer(
        self: &Arc<Self>,
        pane: &Arc<Pane>,
        text: &str,
        hold: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            let held = match self.fit(pane, true).await? {
                Ok(fit) => match self.put_in(pane, &fit, text, &|| begun.elapsed() < hold + DIALOG).await? {
                    Put::Taken => return Ok(()),
                    Put::Back(why) => Some(Held::new("composer", why)),
                    Put::Moved => None,
                    Put::Uncertain(why) => return fail(Kind::TimedOut, why),
                    Put::Interrupted => {
                        return fail(
                            Kind::TimedOut,
                            "a dialog came up before its Enter; it was taken out again",
                        );
                    }
                },
                Err(Unfit::State) => {
                    return fail(
                        Kind::Busy,
                        format!("it is {}; a prompt could be taken for an answer", pane.seen().state),
                    );
                }
                Err(Unfit::Composer(held)) => Some(held),
            };
            let why = held.as_ref().map_or_else(|| "its screen never rests".to_owned(), Held::to_string);
            pane.set_held(held);
            if begun.elapsed() >= hold {
                return fail(Kind::TimedOut, format!("not typed within {} s: {why}", hold.as_secs()));
            }
            tokio::time::sleep(LOOK * 5).await;
        }
    }

    /// Empties the composer of `text`, where that is what it holds. False: that cannot be told now,
    /// or the agent is not ready, and it is to be tried again.
    pub(super) async fn clear_composer(&self, pane: &Pane, text: &str) -> Result<bool> {
        let Some(manifest) = pane.eyes(|e| e.agent.manifest.clone()) else { return Ok(true) };
        if manifest.rules.is_empty() || manifest.composer.is_none() {
            return Ok(true); // nobody sees it
        }
        let server = self.connection.server()?;
        let (clear, delete) = (clear_keys(&manifest)?, known(&["DC"])?);
        let mut before: Option<String> = None;
        for _ in 0..CLEARS {
            let (shot, picture) = self.connection.picture(pane).await?;
            let limited = picture.state == Some(Shows::Limited);
            let stand = stand(&shot, &picture);
            let ready = picture.state == Some(Shows::Ready);
            // A draft of ours may be all that hides the state.
            let unknown = picture.state == Some(Shows::Unknown);
            let (draft, unfit) = (left(&picture, text), picture.composer.unfit());
            let all = stands(&manifest, &picture, text);
            pane.saw(shot.pid, picture);
            let over = || pane.eyes(|e| e.limit_is_over(SystemTime::now())).unwrap_or(false);
            if !(ready || limited && over() || unknown && (all || before.is_some())) {
                return Ok(false);
            }
            let Some(draft) = draft else {
                pane.set_held(unfit.map(|why| Held::new("composer", why)));
                return Ok(false);
            };
            if draft.is_empty() {
                return Ok(true);
            }
            let part = if before.is_none() { begins(&draft, text, KNOWN) } else { is_rest(&draft, text) };
            if !(all || part) {
                return Ok(true); // somebody's, or a hint
            }
            // Keys that delete backwards find nothing where the cursor stands at the start.
            let keys = if before.as_ref() == Some(&draft) { &delete } else { &clear };
            before = Some(draft);
            input::type_if(&server, &pane.id, &pressed(keys), &stand).await?; // Moved: looked at again
            tokio::time::sleep(LOOK * 3).await;
        }
        Ok(true)
    }

    /// The picture's text without what stood there before: the answer of an agent whose history
    /// nobody can read.
    pub(super) async fn screen_text(&self, pane: &Pane) -> Option<String> {
        let text = self.connection.capture(pane, tmux::Capture::Screen).await.ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }
}

/// What a composer holds, as seen by somebody who typed a text into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// Exactly the text, as far as it shows it.
    Ours,
    Nothing,
    Other,
    /// It was not read, and why.
    NotSeen(String),
    /// The manifest does not say where one writes.
    Blind,
}

pub(super) fn holds(manifest: &Manifest, picture: &Picture, text: &str) -> Holds {
    if manifest.composer.is_none() {
        return Holds::Blind;
    }
    let ours = |shown: &str, text: &str| composer::shows(manifest, shown, text);
    match &picture.composer {
        Composer::Empty => Holds::Nothing,
        // The mark shows the first character: a prompt that begins with `!` is a shell command.
        Composer::Other { .. } if text.starts_with('!') && ours(&picture.shown, &text[1..]) => Holds::Ours,
        Composer::Draft(draft) if ours(draft, text) => Holds::Ours,
        // It was empty before: no hint reads like that.
        Composer::Unsure(_) if ours(&picture.shown, text) => Holds::Ours,
        Composer::Draft(_) => Holds::Other,
        other => Holds::NotSeen(other.unfit().unwrap_or_default()),
    }
}

/// Whether it is the text that stands in the composer, in whatever mode: it may come into one that a
/// person has just begun.
pub(super) fn stands(manifest: &Manifest, picture: &Picture, text: &str) -> bool {
    let other = matches!(picture.composer, Composer::Other { .. });
    holds(manifest, picture, text) == Holds::Ours || other && composer::shows(manifest, &picture.shown, text)
}

/// What is left of `text` in a composer that held it; None where that is not seen.
pub(super) fn left(picture: &Picture, text: &str) -> Option<String> {
    match &picture.composer {
        Composer::Empty => Some(String::new()),
        Composer::Draft(draft) => Some(draft.clone()),
        Composer::Other { .. } if text.starts_with('!') => Some(format!("!{}", picture.shown.trim())),
        Composer::Other { text, .. } => text.as_ref().map(|text| text.trim().to_owned()),
        Composer::Unsure(_) => Some(picture.shown.trim().to_owned()),
        Composer::Hidden(_) => None,
    }
}

/// Why no prompt may be typed into what a picture shows.
fn unfit(manifest: &Manifest, picture: &Picture, stand: &Stand) -> Option<Held> {
    // Of an agent whose manifest describes no composer the state is all that is known.
    let blind = manifest.composer.is_none();
    match &picture.composer {
        Composer::Draft(_) => return Some(Held::new("draft", "")),
        other if !blind => {
            if let Some(why) = other.unfit() {
                return Some(Held::new("composer", why));
            }
        }
        _ => {}
    }
    if picture.popup.is_some() {
        return Some(Held::new("composer", "a list is open over it"));
    }
    let text = picture.place.clone().any(|row| stand.compares(row));
    let told = if blind { stand.rows() > 0 } else { text || stand.rows() > 1 };
    (!told).then(|| Held::new("composer", "no row of it can be told from other rows of the screen"))
}

/// What is compared when something is typed into a composer: its text, what stands below it, its
/// borders. A dialog that takes its place changes one of these, or the cursor. Where these cannot be
/// told from other rows, and without a composer, the lowest that can.
pub(super) fn stand(shot: &tmux::Picture, picture: &Picture) -> Stand {
    let Range { start, end } = picture.place;
    let mut rows = Vec::new();
    if start < end {
        rows.extend([start, end - 1, end + 1, end, end + 2]);
        rows.extend(start.checked_sub(1));
        rows.extend(start + 1..end);
    }
    rows.extend((0..shot.plain.lines().count()).rev());
    shot.stand(rows)
}

pub(super) fn known(names: &[impl AsRef<str>]) -> Result<Vec<Key>> {
    let key = |name: &str| {
        Key::parse(name)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("the manifest's key {name:?} is none")))
    };
    names.iter().map(|name| key(name.as_ref())).collect()
}

pub(super) fn pressed(keys: &[Key]) -> Vec<Send<'_>> {
    keys.iter().map(Send::Key).collect()
}

/// They delete backwards: from the end of the line.
pub(super) fn clear_keys(manifest: &Manifest) -> Result<Vec<Key>> {
    let mut keys = known(&["End"])?;
    keys.extend(known(&manifest.keys.clear)?);
    Ok(keys)
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Whether `draft` is a beginning of `text`, of `least` characters or all of it.
fn begins(draft: &str, text: &str, least: usize) -> bool {
    let (draft, text) = (squeezed(draft), squeezed(text));
    text.starts_with(&draft) && (draft.chars().count() >= least || draft == text)
}

/// Whether `draft` is what is left of `text` when something was deleted from its end or its start.
pub(super) fn is_rest(draft: &str, text: &str) -> bool {
    let (draft, text) = (squeezed(draft), squeezed(text));
    text.starts_with(&draft) || text.ends_with(&draft)
}

/// What a look holds of the composer.
pub(super) fn draft(picture: &Picture) -> Option<&str> {
    match &picture.composer {
        Composer::Draft(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(composer: Composer) -> Picture {
        Picture { composer, state: Some(Shows::Ready), place: 1..2, ..Picture::default() }
    }

    fn manifest() -> Manifest {
        let text = "name = 'X'\ncommand = ['x']\n[composer]\nscreen = '>(?P<text>.*)'\n";
        Manifest::parse(text).unwrap()
    }

    #[test]
    fn only_an_empty_composer_is_fit() {
        let x = manifest();
        let shot = |plain: &str| tmux::Stand::new("", plain, [1, 2]);
        let stand = shot("talk\n>\n---");
        let held = |composer: Composer| unfit(&x, &seen(composer), &stand).map(|h| h.word);
        assert_eq!(held(Composer::Empty), None);
        assert_eq!(held(Composer::Draft("a".into())), Some("draft"));
        let other = Composer::Other { mode: "shell".into(), text: Some(String::new()) };
        for composer in [other, Composer::Hidden("hidden"), Composer::Unsure("unsure")] {
            assert_eq!(held(composer), Some("composer"));
        }
        let list = Picture { popup: Some(composer::Popup { takes: "/x".into() }), ..seen(Composer::Empty) };
        assert_eq!(unfit(&x, &list, &stand).map(|h| h.word), Some("composer"));
        let why = unfit(&x, &seen(Composer::Empty), &shot(">\n>\n")).unwrap().to_string();
        assert!(why.contains("no row of it"), "{why}");
    }

    #[test]
    fn a_text_is_ours_where_all_of_it_is_seen() {
        let x = manifest();
        let of = |composer: Composer, text: &str| holds(&x, &seen(composer), text);
        let draft = |text: &str| Composer::Draft(text.into());
        assert_eq!(of(draft("fix\nit"), "fix it"), Holds::Ours);
        assert_eq!(of(draft("fix it, and"), "fix it"), Holds::Other);
        assert_eq!(of(draft("fix"), "fix it"), Holds::Other);
        assert_eq!(of(Composer::Empty, "fix it"), Holds::Nothing);
        let shown = |composer: Composer, text: &str| Picture { shown: text.into(), ..seen(composer) };
        let shell =
            |text: &str| shown(Composer::Other { mode: "shell".into(), text: Some(text.into()) }, text);
        assert_eq!(holds(&x, &shell("date"), "!date"), Holds::Ours);
        let why = Holds::NotSeen("the composer is in shell mode and holds a text".into());
        assert_eq!(holds(&x, &shell("fix it"), "fix it"), why);
        assert!(stands(&x, &shell("fix it"), "fix it") && !stands(&x, &shell("date"), "fix it"));
        assert_eq!(left(&shell("fix"), "fix it").as_deref(), Some("fix"));
        assert_eq!(holds(&x, &shown(Composer::Unsure("dim"), "fix it"), "fix it"), Holds::Ours);
        assert!(begins("fix", "fix it", 3) && !begins("fi", "fix it", 3) && begins("a", "a", 3));
        assert!(is_rest("it", "fix it") && is_rest("fi", "fix it") && !is_rest("x", "fix it"));
    }
}
