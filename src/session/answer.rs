//! What a blocked agent asks, and giving it the answer that somebody chose: exactly that question,
//! exactly that option, or nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::eyes::Picture;
use super::{Pane, Session, Sessions, message};
use crate::agent::question::{Key, Question, Step};
use crate::error::{Kind, Result, fail};
use crate::tmux::input::{self, Typed};
use crate::tmux::{self, Server};

/// Steps towards an option; a dialog that does not follow its keys is given up.
const STEPS: usize = 20;
/// How long a dialog may take to show what a key did.
const SHOWS: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(30);

/// A question as it is shown: its id tells it from the same one asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: String,
    pub question: Question,
}

impl Pane {
    /// What is asked here, as far as it was seen.
    pub fn asked(&self) -> Option<Asked> {
        self.eyes(|e| e.asked()).flatten()
    }
}

impl Sessions {
    /// `ctl answer N [ID]`: chooses option `number` of the question of this id, or of whatever is
    /// asked now. `Invalid` where nothing is asked, or something else.
    pub async fn answer_question(
        self: &Arc<Self>,
        session: &Arc<Session>,
        number: usize,
        id: Option<&str>,
    ) -> Result<()> {
        let pane = session.main();
        let _queue = pane.queue.clone().lock_owned().await;
        let _life = session.life.read().await;
        let (server, (mut shot, first)) = (self.server()?, self.look_at_question(&pane).await?);
        if let Some(id) = id.filter(|id| *id != first.id) {
            return fail(Kind::Invalid, format!("answer: {id} is not asked; {} is", first.id));
        }
        let mut now = first.question.clone();
        for _ in 0..STEPS {
            match first.question.next(&now, number) {
                Step::Impossible(why) => return fail(Kind::Invalid, format!("answer {number}: {why}")),
                Step::Confirm(keys) => {
                    pane.input(Instant::now());
                    if self.press(&server, &pane, &keys, &shot.stand).await? == Typed::Yes {
                        self.journal.log(
                            super::Level::Info,
                            &session.shown(),
                            &format!("answered {number}: {}", first.id),
                        );
                        return self.until_gone(&pane, &shot).await;
                    }
                }
                Step::Move(keys) => _ = self.press(&server, &pane, &keys, &shot.stand).await?,
            }
            (shot, now) = self.next_look(&pane, &shot).await?;
        }
        fail(Kind::TimedOut, format!("answer {number}: the dialog does not follow its keys"))
    }

    /// `ctl answer-text TEXT`: types an answer of one's own and presses Enter.
    pub async fn answer_text(self: &Arc<Self>, session: &Arc<Session>, text: &str) -> Result<()> {
        let pane = session.main();
        let text = message::clean(text.as_bytes())?;
        let _queue = pane.queue.clone().lock_owned().await;
        let _life = session.life.read().await;
        let server = self.server()?;
        let (shot, _) = self.look_at_question(&pane).await?;
        pane.input(Instant::now());
        if input::press_if(&server, &pane.id, &[], &shot.stand).await? == Typed::Moved {
            return fail(Kind::Busy, "answer-text: the dialog changed while it was looked at");
        }
        input::type_text(&server, &pane.id, &text).await?;
        let (shot, picture) = self.picture(&pane).await?;
        let asked = picture.question.is_some();
        pane.saw(shot.pid, picture);
        if asked {
            input::press_if(&server, &pane.id, &["Enter"], &shot.stand).await?;
        }
        self.until_gone(&pane, &shot).await
    }

    async fn look_at_question(&self, pane: &Pane) -> Result<(tmux::Picture, Asked)> {
        pane.check_alive()?;
        if !pane.has_rules() {
            return fail(Kind::Invalid, "answer: what this program asks cannot be told");
        }
        let (shot, picture) = self.picture(pane).await?;
        pane.saw(shot.pid, picture);
        match pane.asked() {
            Some(asked) => Ok((shot, asked)),
            None => fail(Kind::Invalid, "answer: nothing is asked"),
        }
    }

    async fn press(&self, server: &Server, pane: &Pane, keys: &[Key], stand: &str) -> Result<Typed> {
        for key in keys {
            match key {
                // One line for all that move: they are of one kind.
                Key::Name(_) => {}
                Key::Text(text) => {
                    if input::press_if(server, &pane.id, &[], stand).await? == Typed::Moved {
                        return Ok(Typed::Moved);
                    }
                    input::type_text(server, &pane.id, text).await?;
                }
            }
        }
        let names: Vec<&str> = keys
            .iter()
            .filter_map(|k| if let Key::Name(name) = k { Some(name.as_str()) } else { None })
            .collect();
        if names.len() < keys.len() {
            // What was typed moved the cursor; the Enter that ends it belongs to it.
            let known: Vec<_> = names.iter().filter_map(|n| tmux::Key::parse(n)).collect();
            return input::keys(server, &pane.id, &known).await.map(|()| Typed::Yes);
        }
        input::press_if(server, &pane.id, &names, stand).await
    }

    /// The picture after a step; the same one where nothing shows in time.
    async fn next_look(&self, pane: &Pane, before: &tmux::Picture) -> Result<(tmux::Picture, Question)> {
        let begun = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let (shot, picture) = self.picture(pane).await?;
            let question = picture.question.clone();
            pane.saw(shot.pid, picture);
            let Some(question) = question else {
                return fail(Kind::Invalid, "answer: nothing is asked any more");
            };
            if shot.text != before.text || begun.elapsed() >= SHOWS {
                return Ok((shot, question));
            }
        }
    }

    /// The dialog took its answer: the picture changed.
    async fn until_gone(self: &Arc<Self>, pane: &Arc<Pane>, before: &tmux::Picture) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < SHOWS {
            tokio::time::sleep(LOOK).await;
            let Ok((shot, picture)) = self.picture(pane).await else { return Ok(()) }; // it may have ended of it
            pane.saw(shot.pid, picture);
            self.observe_now(pane);
            if shot.text != before.text {
                return Ok(());
            }
        }
        fail(Kind::TimedOut, "answer: the dialog shows no change")
    }
}

/// What a question looks like to `cat question`.
pub fn text(asked: &Asked) -> String {
    let Question { header, text, options, selected, .. } = &asked.question;
    let mut out = format!("id: {}\nheader: {header}\n", asked.id);
    if !text.is_empty() {
        out.push_str(&format!("\n{text}\n"));
    }
    if !options.is_empty() {
        out.push('\n');
    }
    for o in options {
        let mark = if *selected == Some(o.number) { '>' } else { ' ' };
        let tick = o.ticked.map_or("", |t| if t { "[x] " } else { "[ ] " });
        let about =
            if o.about.is_empty() { String::new() } else { format!("  ({})", o.about.replace('\n', " ")) };
        out.push_str(&format!("{mark} {}. {tick}{}{about}\n", o.number, o.label));
    }
    out
}

pub fn json(asked: Option<&Asked>) -> String {
    let Some(Asked { id, question }) = asked else { return "{}\n".into() };
    let options: Vec<_> = question
        .options
        .iter()
        .map(|o| serde_json::json!({"number": o.number, "label": o.label, "about": o.about, "ticked": o.ticked}))
        .collect();
    let object = serde_json::json!({
        "id": id, "header": question.header, "text": question.text, "options": options,
        "selected": question.selected,
    });
    format!("{object}\n")
}

/// Counts questions, so that one asked again has another id.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    count: u32,
    last: Option<String>,
}

impl Counter {
    /// After each look.
    pub fn look(&mut self, picture: &Picture) {
        let now = picture.question.as_ref().map(|q| q.id.clone());
        if now.is_some() && now != self.last {
            self.count += 1;
        }
        self.last = now;
    }

    pub fn name(&self, question: &Question) -> String {
        format!("{}-{}", question.id, self.count)
    }
}
