//! What a blocked agent asks, and giving it the answer that somebody chose: exactly that question,
//! exactly that option, or nothing.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::turns::Delivery;
use super::{Pane, Session, message};
use muxfs_agent::question::{Key, Question, Step};
use muxfs_tmux::input::{self, Send, Typed};
use muxfs_tmux::{self as tmux, Server, Stand};
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// How often a dialog may change between the look at it and its keys.
const CHANGES: usize = 20;
/// How long the way to an option may take in all, a key at a time: 0.1 s each on an idle machine.
const WAY: Duration = Duration::from_secs(60);
/// How long a dialog may take to show what a key did.
const SHOWS: Duration = Duration::from_secs(10);
/// A dialog that took its answer is gone before that, or something else on the screen is another.
const GONE: Duration = Duration::from_secs(2);
/// How long keys and text that came before may keep an answer waiting.
const TURN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(30);
/// A dialog takes keys only when people could have read it: claude 2.1.329 drops all that come
/// within 0.1 s of its appearance, without a word.
const STOOD: Duration = Duration::from_millis(500);
/// A dialog is painted in less.
const TORN: Duration = Duration::from_millis(500);
/// A question that is never the same for so long cannot be answered.
const RESTLESS: u32 = 20;
/// A field takes words only some time after it was opened: claude drops those that come sooner.
const FIELD: Duration = Duration::from_millis(500);
/// So many characters of an answer prove that it stands in its field.
const SEEN: usize = 12;

/// A question as it is shown: its id tells it from the same one asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: String,
    pub question: Question,
    /// When it was seen first.
    pub since: Instant,
}

impl Pane {
    /// What is asked here, as far as it was seen.
    pub fn asked(&self) -> Option<Asked> {
        self.eyes(|e| e.asked()).flatten()
    }
}

impl Delivery {
    /// `ctl answer`: chooses the option that `words` mean in the question of this id, or in whatever
    /// is asked now. `Invalid` where nothing is asked, or something else, or no such option.
    pub async fn answer_question(
        self: &Arc<Self>,
        session: &Arc<Session>,
        words: &str,
        id: Option<&str>,
    ) -> Result<()> {
        let pane = session.main();
        let _queue = turn(&pane).await?;
        let _life = session.life.read().await;
        let (server, (shot, first)) = (self.connection.server()?, self.look_at_question(&pane).await?);
        if let Some(id) = id.filter(|id| *id != first.id) {
            return fail(Kind::Invalid, format!("answer: {id} is not asked; {} is", first.id));
        }
        let chosen = first.question.choice(words);
        let number = chosen.map_err(|why| Error::new(Kind::Invalid, format!("answer {words:?}: {why}")))?;
        let what = format!("answer {number}");
        let step = |now: &Question| first.question.next(now, number);
        let seen = (shot, &first.question);
        let (mut shot, mut now, _) = self.walk(&server, &pane, &what, seen, Some(number), step).await?;
        let told = format!("answered {number}: {}", first.id);
        self.journal.log(super::Level::Info, &session.shown(), &told);
        // claude takes a digit for no more than a way there while a text waits in its composer.
        if let Some(later) = self.until_gone(&pane, &shot, &now, Some(number)).await? {
            let seen = (later.0, &later.1);
            (shot, now, _) = self.walk(&server, &pane, &what, seen, Some(number), step).await?;
            self.until_gone(&pane, &shot, &now, None).await?;
        }
        Ok(())
    }

    /// `ctl answer-text TEXT`: an answer in words of one's own, where the question takes them. In
    /// any other dialog the first character may choose an option, and Enter gives an approval.
    pub async fn answer_text(self: &Arc<Self>, session: &Arc<Session>, text: &str) -> Result<()> {
        let pane = session.main();
        let text = message::clean(text.as_bytes())?;
        let _queue = turn(&pane).await?;
        let _life = session.life.read().await;
        let (server, (shot, first)) = (self.connection.server()?, self.look_at_question(&pane).await?);
        let step = |now: &Question| first.question.next_own(now);
        let (mut shot, mut now, keys) =
            self.walk(&server, &pane, "answer-text", (shot, &first.question), None, step).await?;
        if !keys.is_empty() {
            (shot, now) = self.settled(&pane, &shot).await?; // they opened the field
        }
        self.put_words(&server, &pane, (&shot, &now), &text, first.question.is_field()).await?;
        let told = format!("answered in words: {}", first.id);
        self.journal.log(super::Level::Info, &session.shown(), &told);
        Ok(())
    }

    /// Goes where `step` says until it confirms, and presses those keys too. What was seen right
    /// before them, and them.
    ///
    /// Keys that move the mark are sent one at a time, each when the one before has moved it: some
    /// dialogs take two that come at once for one, and those of a slow one may be on their way still
    /// when it is given up. Those that confirm are sent only while the row of option `wanted` reads
    /// as it was seen.
    async fn walk(
        &self,
        server: &Server,
        pane: &Pane,
        what: &str,
        (mut shot, first): (tmux::Picture, &Question),
        wanted: Option<usize>,
        step: impl Fn(&Question) -> Step,
    ) -> Result<(tmux::Picture, Question, Vec<Key>)> {
        let (mut now, mut changes, begun) = (first.clone(), 0, Instant::now());
        while changes < CHANGES && begun.elapsed() < WAY {
            let (keys, to) = match step(&now) {
                Step::Impossible(why) => return fail(Kind::Invalid, format!("{what}: {why}")),
                Step::Move { key, to } => (vec![key], Some(to)),
                Step::Confirm(keys) => (keys, None),
            };
            let chosen = if to.is_none() { wanted.and_then(|number| now.rows_of(number)) } else { None };
            let stand = stand(&shot, &now, chosen.clone());
            let read = chosen.is_none_or(|mut rows| rows.any(|row| stand.compares(row)));
            if stand.rows() == 0 || !read {
                let why = "its rows cannot be told from others of the screen; it was not confirmed";
                return fail(Kind::Busy, format!("{what}: {why}"));
            }
            if to.is_none() {
                pane.input(Instant::now());
            }
            match (self.press(server, pane, &keys, &stand).await?, to) {
                (Typed::Yes, None) => return Ok((shot, now, keys)),
                (Typed::Yes, Some(to)) => {
                    (shot, now) = self.until_moved(pane, what, &now, to).await?;
                }
                (Typed::Moved, _) => {
                    changes += 1;
                    (shot, now) = self.settled(pane, &shot).await?;
                }
            }
        }
        fail(Kind::TimedOut, format!("{what}: the dialog does not stand still; it was not confirmed"))
    }

    /// Waits until another option than in `before` is seen selected, twice alike, on the way to `to`.
    async fn until_moved(
        &self,
        pane: &Pane,
        what: &str,
        before: &Question,
        to: usize,
    ) -> Result<(tmux::Picture, Question)> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < SHOWS {
            let (shot, question) = self.look_again(pane).await?;
            let twice = seen_twice(&mut last, &question);
            match question {
                Some(now) if twice && now.id != before.id => {
                    let why = "another question is asked now; it was not confirmed";
                    return fail(Kind::Invalid, format!("{what}: {why}"));
                }
                Some(now) if twice && now.selected.is_some() && now.selected != before.selected => {
                    return Ok((shot, now));
                }
                None if twice => {
                    return fail(Kind::Invalid, format!("{what}: nothing is asked any more"));
                }
                _ => {}
            }
        }
        let why = format!("the mark did not come to option {to}; it was not confirmed");
        fail(Kind::TimedOut, format!("{what}: {why}"))
    }

    /// Types into the field that is open. Enter comes once the words are seen there, or where they
    /// are `masked`, once something is.
    async fn put_words(
        self: &Arc<Self>,
        server: &Server,
        pane: &Arc<Pane>,
        (before, question): (&tmux::Picture, &Question),
        words: &str,
        masked: bool,
    ) -> Result<()> {
        tokio::time::sleep(FIELD).await;
        pane.input(Instant::now());
        let what = [Send::Text(words)];
        let stand = stand(before, question, None);
        if input::type_if(server, &pane.id, &what, &stand).await? == Typed::Moved {
            return fail(Kind::Busy, "answer-text: the dialog changed while it was looked at");
        }
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < SHOWS {
            let (shot, asked) = self.look_again(pane).await?;
            let taken =
                if masked { shot.text != before.text } else { gained(&before.text, &shot.text, words) };
            let twice = seen_twice(&mut last, &asked);
            let Some(asked) = asked.filter(|_| twice && taken) else { continue };
            // The rows that hold the words.
            let old: Vec<&str> = before.plain.lines().collect();
            let changed = shot.plain.lines().enumerate().filter(|(n, row)| old.get(*n) != Some(row));
            let stand = shot.stand(changed.map(|(n, _)| n).chain(rows(&asked, None)));
            let enter = [Key::Name("Enter".into())];
            if stand.rows() > 0 && self.press(server, pane, &enter, &stand).await? == Typed::Yes {
                return self.until_gone(pane, &shot, &asked, None).await.map(drop);
            }
        }
        fail(Kind::TimedOut, "answer-text: the dialog does not show the words; they were not confirmed")
    }

    async fn look_at_question(&self, pane: &Pane) -> Result<(tmux::Picture, Asked)> {
        pane.check_alive()?;
        if !pane.has_rules() {
            return fail(Kind::Invalid, "answer: what this program asks cannot be told");
        }
        for _ in 0..RESTLESS {
            let (shot, picture) = self.connection.picture(pane).await?;
            pane.saw(shot.pid, picture);
            let Some(asked) = pane.asked() else { return fail(Kind::Invalid, "answer: nothing is asked") };
            // The mark may be on its way still for a key that came just before.
            let key = pane.eyes(|e| e.since_input(Instant::now())).flatten();
            let stood = key.map_or(asked.since.elapsed(), |key| key.min(asked.since.elapsed()));
            match STOOD.checked_sub(stood) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return Ok((shot, asked)),
            }
        }
        fail(Kind::Busy, "answer: the question does not stand still")
    }

    async fn press(&self, server: &Server, pane: &Pane, keys: &[Key], stand: &Stand) -> Result<Typed> {
        let named: Vec<tmux::Key> = keys
            .iter()
            .filter_map(|k| if let Key::Name(name) = k { tmux::Key::parse(name) } else { None })
            .collect();
        let mut names = named.iter();
        let what = keys.iter().filter_map(|key| match key {
            Key::Name(_) => names.next().map(Send::Key),
            Key::Text(text) => Some(Send::Text(text)),
        });
        let what: Vec<Send<'_>> = what.collect();
        input::type_if(server, &pane.id, &what, stand).await
    }

    /// A picture a moment later, and what it asks.
    async fn look_again(&self, pane: &Pane) -> Result<(tmux::Picture, Option<Question>)> {
        tokio::time::sleep(LOOK).await;
        let (shot, picture) = self.connection.picture(pane).await?;
        let question = picture.question.clone();
        pane.saw(shot.pid, picture);
        Ok((shot, question))
    }

    /// A later picture than `before`, of a dialog that shows the same twice; the same one where
    /// nothing changes in time.
    async fn settled(&self, pane: &Pane, before: &tmux::Picture) -> Result<(tmux::Picture, Question)> {
        let begun = Instant::now();
        let mut last = None;
        loop {
            let (shot, question) = self.look_again(pane).await?;
            let twice = seen_twice(&mut last, &question);
            let waited = begun.elapsed();
            let done = twice && (shot.text != before.text || waited >= GONE) || waited >= SHOWS;
            match question {
                Some(question) if done => return Ok((shot, question)),
                None if twice || done => return fail(Kind::Invalid, "answer: nothing is asked any more"),
                _ => {}
            }
        }
    }

    /// The dialog took its answer: the question is not there any more, or not as it was. The very
    /// same one may be asked again at once; other words stand above it then, which no spinner and no
    /// blinking mark makes. One whose mark has come to option `wanted`, with nothing else changed, has
    /// not taken it: what is seen then.
    async fn until_gone(
        self: &Arc<Self>,
        pane: &Arc<Pane>,
        before: &tmux::Picture,
        asked: &Question,
        wanted: Option<usize>,
    ) -> Result<Option<(tmux::Picture, Question)>> {
        let begun = Instant::now();
        let mut gone = 0; // looks in a row: a dialog that is half painted is another one
        loop {
            let Ok((shot, now)) = self.look_again(pane).await else { return Ok(None) }; // it may have ended of it
            let marked = now.as_ref().is_some_and(|now| {
                wanted.is_some()
                    && now.id == asked.id
                    && now.selected == wanted
                    && now.selected != asked.selected
            });
            gone = if marked || now.as_ref() == Some(asked) { 0 } else { gone + 1 };
            self.observation.observe_now(pane);
            let waited = begun.elapsed();
            if gone == 2 || waited >= GONE && !marked && !same_around(before, &shot, asked) {
                return Ok(None);
            }
            if let Some(now) = now.filter(|now| marked && waited >= GONE && same_around(before, &shot, now)) {
                return Ok(Some((shot, now)));
            }
            if waited >= SHOWS {
                return fail(Kind::TimedOut, "answer: its keys were sent, and the dialog is still there");
            }
        }
    }
}

/// The place of an answer among keys and text.
async fn turn(pane: &Pane) -> Result<tokio::sync::OwnedMutexGuard<()>> {
    match tokio::time::timeout(TURN, pane.queue.clone().lock_owned()).await {
        Ok(turn) => Ok(turn),
        Err(_) => fail(Kind::TimedOut, format!("other messages held this pane for {} s", TURN.as_secs())),
    }
}

/// What is compared when a key is sent to a dialog. `chosen`: the rows of the option that it chooses.
fn stand(shot: &tmux::Picture, question: &Question, chosen: Option<Range<usize>>) -> Stand {
    shot.stand(rows(question, chosen))
}

/// The first row of the option that is chosen and of the selected one, the title's, the others of
/// those options, each option's first, and the others of the dialog.
fn rows(question: &Question, chosen: Option<Range<usize>>) -> impl Iterator<Item = usize> {
    let place = &question.place;
    let marked = question.selected.and_then(|number| question.rows_of(number));
    let both = [chosen, marked].into_iter().flatten();
    let first = both.clone().map(|rows| rows.start);
    let options = place.options.iter().map(|rows| rows.start);
    first.chain([place.rows.start]).chain(both.flatten()).chain(options).chain(place.rows.clone())
}

/// Whether two pictures have the same words down to `question`, but for its options: the same question that is
/// asked again has something else above it. The hints below change with the selection.
fn same_around(before: &tmux::Picture, after: &tmux::Picture, question: &Question) -> bool {
    let place = &question.place;
    let option = |row: usize| place.options.iter().any(|rows| rows.contains(&row));
    let around = |shot: &tmux::Picture| {
        let rows = shot.plain.lines().enumerate().take(place.rows.end);
        rows.filter(|(row, _)| !option(*row)).map(|(_, text)| words(text)).collect::<Vec<_>>()
    };
    around(before) == around(after)
}

/// The letters of a screen. A clock that ticks beside a dialog, and a spinner, are none: a number's
/// unit counts to it (`1m 34s`).
fn words(plain: &str) -> String {
    let mut number = false;
    let letters = plain.chars().filter(|c| {
        let counts = c.is_alphabetic() && !number;
        number = c.is_ascii_digit() || number && c.is_alphabetic();
        counts
    });
    letters.collect()
}

/// Whether two looks in a row show the same: a dialog that is half painted is another one, or none.
fn seen_twice(last: &mut Option<Option<Question>>, now: &Option<Question>) -> bool {
    last.replace(now.clone()).as_ref() == Some(now)
}

/// Whether a screen shows words that it did not show before: their beginning or their end, since a
/// field may wrap or scroll them.
fn gained(before: &str, after: &str, words: &str) -> bool {
    let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>();
    let (before, after, words) = (squeezed(before), squeezed(after), squeezed(words));
    let part = &words[..words.len().min(SEEN)];
    let end = &words[words.len() - part.len()..];
    let count = |text: &[char], part: &[char]| text.windows(part.len()).filter(|w| *w == part).count();
    !part.is_empty() && [part, end].iter().any(|part| count(&after, part) > count(&before, part))
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
    let Some(Asked { id, question, .. }) = asked else { return "{}\n".into() };
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
    now: Option<Counted>,
    /// What was asked right before, without a look between that showed no question.
    before: Option<Counted>,
    /// What was asked until a look showed no question, and when that was: some agents paint a new
    /// dialog twice. None where somebody may have answered it.
    lost: Option<(Counted, Instant)>,
}

#[derive(Debug, Clone)]
struct Counted {
    id: String,
    number: u32,
    since: Instant,
    /// Something was typed while it was asked.
    touched: bool,
}

impl Counter {
    /// After each look, at what it showed.
    pub fn look(&mut self, question: Option<&Question>, at: Instant) {
        let Some(question) = question else {
            if let Some(now) = self.now.take() {
                let new = at.saturating_duration_since(now.since) < TORN && !now.touched;
                self.lost = new.then_some((now, at));
            }
            self.before = None;
            return;
        };
        let lost = self.lost.take().filter(|(_, since)| at.saturating_duration_since(*since) < TORN);
        if let Some((lost, _)) = lost.filter(|(lost, _)| self.now.is_none() && lost.id == question.id) {
            self.now = Some(lost);
            return;
        }
        if self.now.as_ref().is_some_and(|now| now.id == question.id) {
            return;
        }
        let last = self.now.take();
        // One that comes back at once was not gone: the other was it, half painted.
        let torn = last.as_ref().is_some_and(|last| at.saturating_duration_since(last.since) < TORN);
        let back = self.before.take().filter(|before| torn && before.id == question.id);
        self.now = back.or_else(|| {
            self.count += 1;
            Some(Counted { id: question.id.clone(), number: self.count, since: at, touched: false })
        });
        self.before = last;
    }

    /// Keys or text of ours are about to go in: a question that is gone then was answered.
    pub fn input(&mut self) {
        self.lost = None;
        if let Some(now) = &mut self.now {
            now.touched = true;
        }
    }

    /// Whether something of ours was typed while the question is asked.
    pub fn is_touched(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.touched)
    }

    pub fn asked(&self, question: Question) -> Asked {
        let (number, since) =
            self.now.as_ref().map_or_else(|| (0, Instant::now()), |now| (now.number, now.since));
        Asked { id: format!("{}-{number}", question.id), question, since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_ticks_is_no_change_of_the_screen() {
        let shows = |time: &str| words(&format!("$ Shell writes a file  {time} ┃\n❯ 2. No"));
        assert_eq!(shows("59s"), shows("1m 34s"));
        assert_ne!(shows("59s"), words("● Done\n$ Shell writes a file 2s\n❯ 2. No"));
    }
    use muxfs_agent::manifest::Manifest;
    use muxfs_agent::question;
    use muxfs_agent::screen::Screen;

    #[test]
    fn a_question_keeps_its_id_while_it_is_painted_and_has_another_when_it_is_asked_again() {
        let rule = "[[rule]]\nstate = 'blocked'\nname = 'any'\nscreen = '.'\n";
        let manifest = Manifest::parse(&format!("name = 'X'\ncommand = ['x']\n{rule}")).unwrap();
        let asks = |text: &str| question::asked(&manifest, &Screen::parse(text));
        let (whole, torn) = (asks("Run it?"), asks("Run"));
        let (mut counter, at) = (Counter::default(), Instant::now());
        let mut id = |seen: &Question, ms: u64| {
            counter.look(Some(seen), at + Duration::from_millis(ms));
            counter.asked(seen.clone()).id
        };
        let first = id(&whole, 0);
        assert_ne!(id(&torn, 5000), first);
        assert_eq!(id(&whole, 5050), first, "it was being painted");
        id(&torn, 6000);
        let second = id(&whole, 9000);
        assert_ne!(second, first, "another was asked between");
        let gap = |counter: &mut Counter, ms: u64| {
            counter.look(None, at + Duration::from_millis(ms));
            counter.look(Some(&whole), at + Duration::from_millis(ms + 10));
            counter.asked(whole.clone()).id
        };
        assert_eq!(gap(&mut counter, 9100), second, "a new dialog is painted twice");
        let third = gap(&mut counter, 9600);
        assert_ne!(third, second, "it was gone, and is asked again");
        counter.input();
        assert_ne!(gap(&mut counter, 9700), third, "it was answered, and is asked again");
    }
}
