//! Messages into a pane: in order of arrival, one at a time, held while a person types.
//! docs/tree.md, "Delivery".

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::events::Event;
use super::observation::shell_state;
use super::pane::Held;
use super::turns::Delivery;
use super::turns::turn::Author;
use super::{Pane, Session, State, message};
use muxfs_tmux::{self as tmux, Key, Server};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later;
use muxfs_tree::{Caller, Gesture};

/// tmux took its time with a message: far less than the quiet that stands for a message's end.
const SLOW: Duration = Duration::from_millis(100);
/// How often a held message looks again.
const HELD: Duration = Duration::from_millis(200);
/// How long a message waits for a shell made here to read at all: what is typed before is cut
/// to 4,095 bytes a line by the terminal.
const START: Duration = Duration::from_secs(5);
/// Messages waiting for one pane; more are refused (EAGAIN).
const QUEUE: usize = 1000;

/// What is typed.
#[derive(Debug, Clone)]
pub enum Message {
    /// Pasted as one, then Enter.
    Prompt(String),
    /// Typed as it is.
    Text(String),
    Keys(Vec<Key>),
}

impl Message {
    pub fn prompt(body: &[u8]) -> Result<Self> {
        message::clean(body).map(Message::Prompt)
    }

    pub fn text(body: &[u8]) -> Result<Self> {
        // Typed as it is: a newline at the end is asked for.
        let text = message::clean(body)?;
        Ok(Message::Text(if body.ends_with(b"\n") { text + "\n" } else { text }))
    }

    pub fn keys(body: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(body).map_err(|_| Error::new(Kind::NotUtf8, "not UTF-8"))?;
        let key = |name: &str| {
            Key::parse(name).ok_or_else(|| Error::new(Kind::Invalid, format!("unknown key {name:?}")))
        };
        text.split_whitespace().map(key).collect::<Result<_>>().map(Message::Keys)
    }

    fn is_empty(&self) -> bool {
        match self {
            Message::Prompt(text) | Message::Text(text) => text.is_empty(),
            Message::Keys(keys) => keys.is_empty(),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Message::Prompt(_) => "input",
            Message::Text(_) => "text",
            Message::Keys(_) => "keys",
        }
    }
}

/// One place in a pane's queue; given back however the message ends.
struct Place(Arc<Pane>);

impl Place {
    fn take(pane: &Arc<Pane>) -> Result<Self> {
        if pane.waiting.fetch_add(1, Ordering::AcqRel) >= QUEUE {
            pane.waiting.fetch_sub(1, Ordering::AcqRel);
            return fail(Kind::Full, format!("{QUEUE} messages wait for this pane already"));
        }
        Ok(Place(pane.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.set_held(None);
    }
}

impl Delivery {
    /// Types `message` into `pane` of `session`. Returns when tmux has taken it, Enter included.
    /// Taken back before, it sends nothing; once the first byte is on its way, all of it goes.
    pub async fn deliver(
        self: &Arc<Self>,
        session: &Arc<Session>,
        pane: &Arc<Pane>,
        gesture: &Gesture,
        message: Message,
    ) -> Result<()> {
        let who = &gesture.who;
        pane.check_alive()?;
        if message.is_empty() {
            return Ok(());
        }
        if let Message::Prompt(text) = &message
            && pane.has_rules()
        {
            message::has_words(text)?;
        }
        let place = Place::take(pane)?;
        let at = format!("{}/{}", session.shown(), message.word());
        let turn = gesture.until_cancelled(self.turn(session, pane, &message)).await;
        if turn.as_ref().is_err_and(|e| e.kind == Kind::Interrupted) {
            self.callers.refused(who, &at, "the writer was ended while its message waited; it is not sent");
        }
        let (server, turn) = turn?;
        let (delivery, session, pane, who) = (self.clone(), session.clone(), pane.clone(), who.clone());
        let (done, sent) = oneshot::channel();
        // Begun on this thread, so that it costs no wake-up of another; whoever gives up waiting
        // for it does not end it.
        later::run(
            &Handle::current(),
            Box::pin(async move {
                let held = (place, turn);
                let result = delivery.type_now(&server, &session, &pane, &who, &message).await;
                drop(held); // the next message begins when this one is in, or failed
                let _ = done.send(result);
            }),
        );
        sent.await.unwrap_or_else(|_| fail(Kind::Bug, "typing a message panicked"))
    }

    async fn type_now(
        self: &Arc<Self>,
        server: &Server,
        session: &Session,
        pane: &Arc<Pane>,
        who: &Caller,
        message: &Message,
    ) -> Result<()> {
        let life = session.life.read().await;
        pane.check_alive()?;
        let author = self.callers.author(who);
        let author = match message {
            Message::Prompt(text) if pane.has_rules() => {
                drop(life); // it may wait for a draft: a stop does not wait for that
                let author = author.await;
                self.steer(pane, text, self.settings.config().hold).await?;
                author
            }
            _ => {
                let begun = Instant::now();
                pane.input(begun);
                // Who wrote it is found out while tmux takes it.
                let (sent, author) = tokio::join!(self.send(server, pane, message), author);
                sent?;
                if begun.elapsed() > SLOW {
                    pane.input_lasted(Instant::now());
                }
                author
            }
        };
        self.delivered(session, pane, &author, who.pid(), message);
        self.observation.poke(pane);
        Ok(())
    }

    /// Waits until `message` may go: the messages before it are in, and it spoils no draft.
    async fn turn(
        &self,
        session: &Session,
        pane: &Arc<Pane>,
        message: &Message,
    ) -> Result<(Server, OwnedMutexGuard<()>)> {
        let hold = self.settings.config().hold;
        let limit = hold + Duration::from_secs(30);
        // A prompt to an agent may wait long for its composer: keys and text do not wait for it.
        let prompt = matches!(message, Message::Prompt(_)) && pane.has_rules();
        let queue = if prompt { &pane.prompts } else { &pane.queue };
        let Ok(turn) = tokio::time::timeout(limit, queue.clone().lock_owned()).await else {
            return fail(Kind::TimedOut, format!("other messages held this pane for {} s", limit.as_secs()));
        };
        let server = self.connection.server()?;
        // Keys and text reach a pane whatever a person does there: that is what they are for.
        if matches!(message, Message::Prompt(_)) {
            self.until_free(session, pane, hold).await?;
            started(pane).await;
            check_lines(pane, message)?;
        }
        Ok((server, turn))
    }

    async fn send(&self, server: &Server, pane: &Pane, message: &Message) -> Result<()> {
        match message {
            Message::Prompt(text) => tmux::input::paste(server, &pane.id, text.as_bytes(), true).await,
            Message::Text(text) => tmux::input::type_text(server, &pane.id, text).await,
            Message::Keys(keys) => tmux::input::keys(server, &pane.id, keys).await,
        }
    }

    fn delivered(
        &self,
        session: &Session,
        pane: &Pane,
        author: &Author,
        pid: Option<u32>,
        message: &Message,
    ) {
        let name = session.shown();
        let origin = self.journal.by(author, pid);
        let event = Event::Typed { file: message.word(), pane: &pane.id, origin };
        self.journal.report((session.serial, &name), &event);
        if let (Message::Prompt(text), true) = (message, pane.full_screen()) {
            pane.note(&format!("input: {}", text.replace('\n', "\n  ")), SystemTime::now());
        }
    }

    /// Waits while a client that shows this pane typed a moment ago.
    async fn until_free(&self, session: &Session, pane: &Pane, hold: Duration) -> Result<()> {
        let begun = Instant::now();
        while self.connection.typed_by_hand(pane).await? {
            pane.set_held(Some(Held::new("draft", "")));
            pane.check_alive()?;
            if begun.elapsed() >= hold {
                session.set_last_error("a message was held by a person typing, and given up");
                return fail(Kind::TimedOut, format!("a person typed in this pane for {} s", hold.as_secs()));
            }
            tokio::time::sleep(HELD).await;
        }
        pane.set_held(None);
        Ok(())
    }
}

/// A shell that was just started gets its first message when it reads.
async fn started(pane: &Pane) {
    let mut seen = pane.watch();
    let begun = |s: &super::Seen| s.state != State::Starting;
    let _ = tokio::time::timeout(START, seen.wait_for(begun)).await; // then it is typed ahead
}

/// A terminal in canonical mode keeps 4,095 bytes of a line and drops the rest without a word.
fn check_lines(pane: &Pane, message: &Message) -> Result<()> {
    let Message::Prompt(text) = message else { return Ok(()) };
    let longest = message::longest_line(text);
    if longest <= message::CANONICAL_LINE {
        return Ok(());
    }
    let tty = pane.fact(|f| f.tty.clone());
    if shell_state::canonical(&tty) == Some(true) {
        let most = message::CANONICAL_LINE;
        return fail(
            Kind::TooLarge,
            format!("a line of {longest} bytes; this pane's terminal is in canonical mode and keeps {most}"),
        );
    }
    Ok(())
}
