//! What the fake agent writes down: its log for tests, and its conversation and state where Claude Code
//! has them. Knows files, and no terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A version that a reader of Claude Code's files has met.
const VERSION: &str = "2.1.329";

#[derive(Debug)]
pub struct Record {
    log: Option<File>,
    cwd: PathBuf,
    home: PathBuf,
    talk: bool,
    status: bool,
}

impl Record {
    pub fn new(log: Option<&Path>, talk: bool, status: bool) -> io::Result<Self> {
        let log = log.map(|path| OpenOptions::new().append(true).create(true).open(path)).transpose()?;
        let home = std::env::var_os("HOME").map_or("/".into(), PathBuf::from);
        Ok(Record { log, cwd: std::env::current_dir()?, home, talk, status })
    }

    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// One line in the log, `time` in ms since 1970.
    pub fn log(&mut self, what: &str, mut row: Value) {
        row["type"] = what.into();
        row["time"] = millis().into();
        if let Some(log) = &mut self.log {
            let _ = log.write_all(format!("{row}\n").as_bytes()); // a full disk is seen elsewhere
        }
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        if self.log.is_some() {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            self.log("bytes", json!({"hex": hex}));
        }
    }

    /// Where Claude Code keeps a conversation.
    pub fn transcript(&self, session: &str) -> PathBuf {
        let cwd = self.cwd.to_string_lossy();
        let dir: String = cwd.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.home.join(".claude/projects").join(dir).join(format!("{session}.jsonl"))
    }

    /// What `role` said, at the end of the conversation's file.
    pub fn said(&self, session: &str, role: &str, text: &str) {
        self.write(session, role, text, false);
    }

    /// The program's own words in the place of an answer.
    pub fn fault(&self, session: &str, text: &str) {
        self.write(session, "assistant", text, true);
    }

    fn write(&self, session: &str, role: &str, text: &str, fault: bool) {
        if !self.talk {
            return;
        }
        let content = match role {
            "user" => json!(text),
            _ => json!([{"type": "text", "text": text}]),
        };
        let row = json!({
            "parentUuid": null, "isSidechain": false, "type": role,
            "message": {"role": role, "content": content}, "uuid": uuid(), "timestamp": timestamp(),
            "userType": "external", "entrypoint": "cli", "cwd": self.cwd, "sessionId": session,
            "version": VERSION, "gitBranch": "HEAD", "isApiErrorMessage": fault,
        });
        let path = self.transcript(session);
        let _ = path.parent().map(std::fs::create_dir_all);
        if let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path) {
            let _ = file.write_all(format!("{row}\n").as_bytes());
        }
    }

    /// What was said in a conversation: `(is it the user's, text)`.
    pub fn old(&self, session: &str) -> io::Result<Vec<(bool, String)>> {
        let text = std::fs::read_to_string(self.transcript(session))?;
        let rows = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let said = rows.filter_map(|row| {
            let content = &row["message"]["content"];
            match row["type"].as_str()? {
                "user" => Some((true, content.as_str()?.to_owned())),
                "assistant" => Some((false, content[0]["text"].as_str()?.to_owned())),
                _ => None,
            }
        });
        Ok(said.collect())
    }

    fn status_file(&self) -> PathBuf {
        self.home.join(format!(".claude/sessions/{}.json", std::process::id()))
    }

    /// `idle`, `busy`, or `waiting` for something.
    pub fn state(&self, session: &str, state: &str, waiting_for: Option<&str>) {
        if !self.status {
            return;
        }
        let now = millis();
        let mut row = json!({
            "pid": std::process::id(), "sessionId": session, "cwd": self.cwd, "version": VERSION,
            "kind": "interactive", "entrypoint": "cli", "status": state, "updatedAt": now,
            "statusUpdatedAt": now,
        });
        if let Some(what) = waiting_for {
            row["waitingFor"] = what.into();
        }
        let path = self.status_file();
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(path, row.to_string());
    }

    pub fn leave(&self) {
        if self.status {
            let _ = std::fs::remove_file(self.status_file());
        }
    }
}

fn millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

fn timestamp() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Version 4.
pub fn uuid() -> String {
    let mut b = [0_u8; 16];
    let _ = rustix::rand::getrandom(&mut b, rustix::rand::GetRandomFlags::empty());
    (b[6], b[8]) = (b[6] & 0x0f | 0x40, b[8] & 0x3f | 0x80);
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
