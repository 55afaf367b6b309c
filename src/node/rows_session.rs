//! A session's own files; those of its main pane stand beside them.

use super::row::{Answer, Document, File, Row, Verb};
use super::subject::SessionAt;
use super::text;
use crate::session::wait::Wait;
use crate::tree::Caller;

pub static ROWS: &[Row<SessionAt>] = &[
    Row {
        name: "status",
        mode: 0o400,
        about: "State and its evidence, process, size, title, logs, what is pending, last error.",
        file: File::View(|s| text::session_status(s).lines()),
    },
    Row {
        name: "status.json",
        mode: 0o400,
        about: "The same as JSON.",
        file: File::View(|s| text::session_status(s).json()),
    },
    Row {
        name: "events",
        mode: 0o400,
        about: "This session's events, one JSON object a line, from open on.",
        file: File::Events(|s| Box::new(s.sessions.journal.follow(Some(s.session.serial)))),
    },
    Row {
        name: "wait",
        mode: 0o400,
        about: "Blocks until nothing is under way, then prints the state: ready, exited 1, ended.",
        file: File::Wait(|s| Box::new(Wait::new(s.sessions.clone(), s.session.clone()))),
    },
    Row {
        name: "config",
        mode: 0o600,
        about: "Settings of this session, muxfs.toml(5). A bad text changes nothing.",
        file: File::Document(Document {
            text: |s| s.session.config_text(),
            meta: |s| (s.session.config_len(), s.session.config_changed()),
            save: |s, body| s.sessions.save_config(&s.session, body),
        }),
    },
    Row {
        name: "config.error",
        mode: 0o400,
        about: "Why the last save was refused: line, column, what was expected. Empty when it was not.",
        file: File::View(|s| text::rejection(s.session.rejected()).0),
    },
    Row {
        name: "config.rejected",
        mode: 0o400,
        about: "The refused text.",
        file: File::View(|s| text::rejection(s.session.rejected()).1),
    },
    Row { name: "ctl", mode: 0o600, about: "Commands to the session, one a line.", file: File::Ctl(VERBS) },
];

pub static VERBS: &[Verb<SessionAt>] = &[
    Verb { name: "start", args: "", about: "Runs the program where nothing runs.", run: start },
    Verb {
        name: "stop",
        args: "",
        about: "Ends what runs, with every process below it (HUP, TERM after 1 s, KILL after 3 s). Another's session ends whole.",
        run: stop,
    },
    Verb { name: "restart", args: "", about: "stop, then start.", run: restart },
    Verb { name: "apply", args: "", about: "A pending restart happens now.", run: apply },
];

fn start(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.start_session(&s.session).await })
}

fn stop(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.stop(&s.session).await })
}

fn restart(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.restart(&s.session).await })
}

fn apply(s: SessionAt, _: Caller, _: Vec<String>) -> Answer<()> {
    Box::pin(async move { s.sessions.apply_now(&s.session).await })
}
