//! A session's own files; those of its main pane stand beside them.

use bytes::Bytes;

use super::dir::{DirRow, Holds, Makes};
use super::row::{Answer, Document, Fetched, File, Row, Verb};
use super::subject::SessionAt;
use super::{conversations, rows_pane, rows_turn, text, turns};
use crate::session::answer;
use crate::session::turns::turn::Turn;
use crate::session::wait::Wait;
use muxfs_tree::base::error::{Kind, Result, fail};
use muxfs_tree::{Caller, Gesture, Until};

pub static ROWS: &[Row<SessionAt>] = &[
    Row::new(
        "status",
        0o400,
        "State and its evidence, process, size, title, logs, what is pending, last error.",
        File::View(|s| text::session_status(s).lines()),
    ),
    Row::new("status.json", 0o400, "The same as JSON.", File::View(|s| text::session_status(s).json())),
    Row::new(
        "events",
        0o400,
        "This session's events, one JSON object a line, from open on.",
        File::Events(|s| Box::new(s.sessions.journal.follow(Some(s.session.serial)))),
    ),
    Row::new(
        "wait",
        0o400,
        "Blocks until nothing is under way, then prints the state: ready, exited 1, ended.",
        File::Wait(|s| Box::new(Wait::new(s.sessions.turns.clone(), s.session.clone()))),
    ),
    Row::new(
        "reply",
        0o400,
        "The last finished turn's answer.",
        File::Fetched(Fetched { read: reply, size: |s| last_turn(s).map_or(0, |turn| turn.reply_size) }),
    ),
    Row::new(
        "question",
        0o400,
        "What a blocked agent asks: id, header, text, numbered options, the selected one. Empty otherwise.",
        File::View(|s| s.session.main().asked().as_ref().map(answer::text).unwrap_or_default()),
    ),
    Row::new(
        "question.json",
        0o400,
        "The same as JSON.",
        File::View(|s| answer::json(s.session.main().asked().as_ref())),
    ),
    Row::new(
        "ask",
        0o600,
        "Write a prompt, read its answer: it waits for its turn and its end.",
        File::Ask(ask),
    )
    .needs(SessionAt::takes_questions),
    Row::new(
        "config",
        0o600,
        "Settings of this session, muxfs.toml(5). A bad text changes nothing.",
        File::Document(Document {
            text: |s: &SessionAt| s.session.config_text(),
            meta: |s: &SessionAt| (s.session.config_len(), s.session.config_changed()),
            save: |s: &SessionAt, body| s.sessions.life.save_config(&s.session, body),
        }),
    )
    .needs(SessionAt::takes_settings)
    .private(),
    Row::new(
        "config.error",
        0o400,
        "Why the last save was refused: line, column, what was expected. Empty when it was not.",
        File::View(|s: &SessionAt| text::rejection(s.session.rejected()).0),
    )
    .private(),
    Row::new(
        "config.rejected",
        0o400,
        "The refused text.",
        File::View(|s: &SessionAt| text::rejection(s.session.rejected()).1),
    )
    .private(),
    Row::new("ctl", 0o600, "Commands to the session, one a line.", File::Ctl(VERBS))
        .needs(SessionAt::is_there),
];

pub static DIR: DirRow<SessionAt> = DirRow {
    makes: Makes::Scratch,
    remove: Some(|s| Box::pin(async move { s.sessions.life.remove(&s.session).await })),
    rename: Some(|s, to| Box::pin(async move { s.sessions.life.rename(&s.session, &to).await })),
    ..DirRow::new(
        "<session>",
        0o700,
        "Every session of the tmux server, those that others made too. `mkdir` makes one, `rmdir` ends one that was made here, `mv` renames.",
        &[
            Holds::Others(&rows_pane::OfMain),
            Holds::Files(ROWS),
            Holds::Dir(&turns::QUEUE),
            Holds::Dir(&turns::TURNS),
            Holds::Dir(&conversations::HISTORY),
            Holds::Dir(&rows_pane::PANES),
        ],
    )
};

pub static VERBS: &[Verb<SessionAt>] = &[
    Verb {
        name: "start",
        args: "[skip-init]",
        about: "Runs the program where nothing runs; without its init prompts, where that is said.",
        run: start,
    },
    Verb {
        name: "stop",
        args: "",
        about: "Ends what runs, with every process below it (HUP, TERM after 1 s, KILL after 3 s). Another's session ends whole.",
        run: stop,
    },
    Verb { name: "restart", args: "[skip-init]", about: "stop, then start.", run: restart },
    Verb {
        name: "interrupt",
        args: "",
        about: "Stops what the agent does; its turn ends as interrupted.",
        run: interrupt,
    },
    Verb { name: "new", args: "", about: "Begins a new conversation.", run: new },
    Verb {
        name: "resume",
        args: "ID|latest",
        about: "Starts the program anew with an earlier conversation of its directory: history/.",
        run: resume,
    },
    Verb {
        name: "answer",
        args: "N|LABEL… [ID]",
        about: "Chooses an option of what is asked, by its number, its label, or the beginning of one label alone: of the question ID, where it is given. EINVAL where something else is asked, or where the beginning is that of no option or of several; errors has the labels then.",
        run: answer,
    },
    Verb {
        name: "answer-text",
        args: "TEXT…",
        about: "Types TEXT into what is asked, and Enter.",
        run: answer_text,
    },
    Verb { name: "clear-queue", args: "", about: "Takes every waiting prompt back.", run: clear_queue },
    Verb { name: "apply", args: "", about: "A pending restart happens now.", run: apply },
];

fn last_turn(s: &SessionAt) -> Option<Turn> {
    s.session.turns.book().and_then(|b| b.last_ended())
}

fn reply(s: SessionAt) -> Answer<Vec<u8>> {
    match last_turn(&s) {
        Some(turn) => rows_turn::reply(s.turn(turn)),
        None => Box::pin(async { Ok(Vec::new()) }),
    }
}

fn ask(s: SessionAt, gesture: Gesture, question: Bytes) -> Answer<(Bytes, Option<String>)> {
    Box::pin(async move {
        if !s.sessions.turns.turns_on(&s.session) {
            return fail(Kind::Never, format!("{}: its turns are off", s.session.shown()));
        }
        match turns::accept(&s, &gesture, None, question, Until::Accepted).await? {
            Some(turn) => {
                let answer = gesture.until_cancelled(s.sessions.turns.answer(&s.session, &turn)).await?;
                Ok((rows_turn::ended_line(answer).into(), Some(turn.name)))
            }
            None => Ok((Bytes::new(), None)),
        }
    })
}

fn interrupt(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.turns.interrupt(&s.session).await })
}

fn new(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.turns.new_conversation(&s.session).await })
}

fn resume(s: SessionAt, _: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.life.resume(&s.session, args.first().map_or("", String::as_str)).await })
}

fn answer(s: SessionAt, _: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        let line = args.join(" ");
        let (words, id) = words_and_id(&line);
        s.sessions.turns.answer_question(&s.session, words, id).await
    })
}

/// An answer and the question's id behind it: eight hex digits, a minus and a number.
fn words_and_id(line: &str) -> (&str, Option<&str>) {
    let all = |text: &str, digit: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(digit);
    let is_id = |word: &str| {
        word.split_once('-').is_some_and(|(hash, n)| {
            hash.len() == 8 && all(hash, u8::is_ascii_hexdigit) && all(n, u8::is_ascii_digit)
        })
    };
    match line.trim().rsplit_once(' ') {
        Some((words, last)) if is_id(last) => (words.trim(), Some(last)),
        _ => (line.trim(), None),
    }
}

fn answer_text(s: SessionAt, _: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move {
        s.sessions.turns.answer_text(&s.session, args.first().map_or("", String::as_str)).await
    })
}

fn clear_queue(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.turns.clear_queue(&s.session).await })
}

fn start(s: SessionAt, _: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.life.start_session(&s.session, skip_init(&args)?).await })
}

fn skip_init(args: &[String]) -> Result<bool> {
    match args.first().map(String::as_str) {
        None => Ok(false),
        Some("skip-init") => Ok(true),
        Some(other) => fail(Kind::Invalid, format!("{other:?}: expected skip-init, or nothing")),
    }
}

fn stop(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.life.stop(&s.session).await })
}

fn restart(s: SessionAt, _: Caller, args: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.life.restart(&s.session, skip_init(&args)?).await })
}

fn apply(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.life.apply_now(&s.session).await })
}
