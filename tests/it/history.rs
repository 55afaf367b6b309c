//! What real agents wrote to disk, listed, read and followed by the adapters.
//!
//! `tests/fixtures/history` holds files of the agents' own, with their directory put as
//! `/home/dev/proj` and `/home/dev/real`; the rows of their databases are kept as JSON.

mod bad;
mod stops;

use std::path::{Path, PathBuf};

use muxfs_agent::history::{
    ADAPTERS, Conversation, Entry, Home, Listing, Mark, Who, adapter, last_reply, transcript,
};
use muxfs_tree::base::clock::rfc3339;
use rusqlite::Connection;
use serde_json::Value;

use super::doc::root;

/// A home directory that holds all samples.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn empty() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn with_samples() -> Self {
        let place = Place::empty();
        copy(&fixtures().join("home"), place.home());
        let rows =
            |name: &str| text(&fixtures().join(name)).replace("/home/dev/.codex", &place.path(".codex"));
        let codex = place.database(".codex/state_5.sqlite", &text(&fixtures().join("codex/schema.sql")));
        insert(&codex, "threads", &rows("codex/threads.json"));
        let path = ".local/share/opencode/opencode.db";
        let opencode = place.database(path, &text(&fixtures().join("opencode/schema.sql")));
        for table in ["session", "message", "part"] {
            insert(&opencode, table, &rows(&format!("opencode/{table}.json")));
        }
        place
    }

    pub fn home(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, name: &str) -> String {
        self.home().join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn append(&self, name: &str, text: &str) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().append(true).open(self.home().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub fn database(&self, name: &str, schema: &str) -> Connection {
        let path = self.write(name, "");
        let db = Connection::open(path).unwrap();
        // As the agents have it.
        db.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF; {schema}")).unwrap();
        db
    }

    pub fn list(&self, agent: &str, cwd: Option<&str>) -> Listing {
        adapter(agent).unwrap().list(&self.bare(), cwd)
    }

    /// A listing without any trouble.
    pub fn found(&self, agent: &str, cwd: Option<&str>) -> Vec<Conversation> {
        let listing = self.list(agent, cwd);
        assert_eq!(listing.trouble, [""; 0], "{agent}");
        listing.found
    }

    pub fn find(&self, agent: &str, cwd: Option<&str>, id: &str) -> Option<Conversation> {
        adapter(agent).unwrap().find(&self.bare(), cwd, id)
    }

    pub fn entries(&self, c: &Conversation) -> Vec<Entry> {
        adapter(c.agent).unwrap().entries(&self.bare(), c).unwrap()
    }

    pub fn since(&self, c: &Conversation, mark: &Mark) -> (Vec<Entry>, Mark) {
        adapter(c.agent).unwrap().since(&self.bare(), c, mark).unwrap()
    }

    pub fn end(&self, c: &Conversation) -> Mark {
        adapter(c.agent).unwrap().end(&self.bare(), c).unwrap()
    }

    /// The home directory, with an environment that says nothing.
    pub fn bare(&self) -> Home<'_> {
        Home { home: self.home(), env: &|_| None }
    }
}

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/history")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Rows as `[{"column": value}]`.
pub fn insert(db: &Connection, table: &str, rows: &str) {
    for row in serde_json::from_str::<Vec<serde_json::Map<String, Value>>>(rows).unwrap() {
        let names: Vec<String> = row.keys().map(|k| format!("\"{k}\"")).collect();
        let values: Vec<rusqlite::types::Value> = row.values().map(sql).collect();
        let marks = vec!["?"; names.len()].join(",");
        let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(","));
        db.execute(&sql, rusqlite::params_from_iter(values)).unwrap();
    }
}

fn sql(value: &Value) -> rusqlite::types::Value {
    match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap().into(), Into::into),
        Value::String(text) => text.clone().into(),
        other => panic!("{other}"),
    }
}

fn short(c: &Conversation) -> (&str, &str, u64) {
    (&c.id, &c.title, c.prompts)
}

fn prompts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().filter(|e| e.who == Who::User).map(|e| e.text.as_str()).collect()
}

const PROJ: Option<&str> = Some("/home/dev/proj");
const REAL: Option<&str> = Some("/home/dev/real");
/// What was typed into each of the agents that were run for it; the last two while it was busy.
const TYPED: [&str; 5] =
    ["hello there", "please TOOLRUN it", "line one\nline two", "last words", "resumed SLOW6 first"];

#[test]
fn the_sample_of_each_agent_is_listed() {
    let place = Place::with_samples();
    let claude = place.found("claude", PROJ);
    assert_eq!(
        claude.iter().map(short).collect::<Vec<_>>(),
        [("11111111-2222-4333-8444-555555555555", "my-sess", 1)]
    );
    assert_eq!(rfc3339(claude[0].started.unwrap()), "2026-11-21T02:21:56.109Z");
    assert_eq!(rfc3339(claude[0].updated), "2026-11-21T02:22:15.544Z");
    assert!(claude[0].place.ends_with("-home-dev-proj/11111111-2222-4333-8444-555555555555.jsonl"));

    // Of the two threads one has no file: nothing to resume.
    let codex = place.found("codex", PROJ);
    assert_eq!(
        codex.iter().map(short).collect::<Vec<_>>(),
        [("01a1fbde-098a-71d0-ac45-8768e17731f4", "hello there SLOW5", 3)]
    );
    assert_eq!(rfc3339(codex[0].updated), "2026-11-21T02:20:59.197Z");

    let gemini = place.found("gemini", PROJ);
    let ids: Vec<_> = gemini.iter().map(|c| (&c.id[..8], c.title.as_str(), c.prompts)).collect();
    let big = "B168493 big prompt line 0 xxxxxxxxxxxx";
    assert_eq!((ids[0].0, ids[0].2), ("425a0515", 1));
    assert_eq!((ids[1].0, &ids[1].1[..38], ids[1].2), ("5bcc4781", big, 17));
    assert_eq!(ids[2], ("22222222", "hook probe for gemini SLOW2", 1));
    assert!(
        gemini[0].place.ends_with("session-1795228531858-425a0515.jsonl"),
        "the other file holds its context alone"
    );

    let qwen = place.found("qwen", PROJ);
    assert_eq!(short(&qwen[0]), ("33333333-2222-4333-8444-555555555555", "hook probe for qwen SLOW2", 1));

    let opencode = place.found("opencode", PROJ);
    assert_eq!(opencode.len(), 1, "two of the three have no messages in the sample");
    let title = "STUBREPLY ok. lines=1 chars=17 Done with the canned answer now.";
    assert_eq!(short(&opencode[0]), ("ses_e04208c1effeABTF7CGHwq6niO", title, 1));

    let cwd = fixtures().join("aider/proj");
    let aider = place.found("aider", cwd.to_str());
    let aider: Vec<_> = aider.iter().map(short).collect();
    let expected = [
        ("2026-11-21T02:21:58", "hook probe for aider SLOW2", 4),
        ("2026-11-21T02:09:49", "hello there SLOW5", 1),
    ];
    assert_eq!(aider, expected, "a start without a prompt is no conversation");
}

#[test]
fn each_agent_that_was_run_is_listed_and_read() {
    let place = Place::with_samples();
    let aider = fixtures().join("aider/real");
    for agent in ADAPTERS.iter().filter(|a| **a != "agy") {
        let cwd = if *agent == "aider" { aider.to_str() } else { REAL };
        let found = place.found(agent, cwd);
        assert_eq!(found.len(), 1, "{agent}: {found:?}");
        let c = &found[0];
        assert_eq!((c.agent, Some(c.cwd.as_str()), c.at_least), (*agent, cwd, false), "{agent}");
        assert_eq!(place.find(agent, cwd, &c.id).as_ref(), Some(c), "{agent}");
        let entries = place.entries(c);
        let typed = prompts(&entries);
        assert_eq!(typed.len() as u64, c.prompts, "{agent}");
        let begin = typed.len().min(TYPED.len());
        assert_eq!(typed[..begin], TYPED[..begin], "{agent}");
        assert!(begin >= 4, "{agent}");
        let tools: Vec<_> = entries.iter().filter(|e| e.who == Who::Tool).collect();
        // aider runs no commands of its own.
        assert_eq!(
            tools.iter().any(|e| e.text.contains("touch stub_was_here")),
            *agent != "aider",
            "{agent}: {tools:?}"
        );
        let reply = last_reply(&entries).unwrap();
        assert!(
            reply.starts_with("STUBREPLY ok. ") && reply.ends_with("now.") && !reply.contains('\n'),
            "{agent}: {reply}"
        );
    }
}

#[test]
fn prompts_sent_while_it_was_busy_are_the_users_as_well() {
    let place = Place::with_samples();
    for (agent, last) in [
        // Two prompts and one answer for both.
        ("claude", &["sent while busy", "and a third"][..]),
        ("codex", &["sent while busy", "and a third"]),
        ("qwen", &["sent while busy", "and a third"]),
        ("opencode", &["sent while busy", "and a third"]),
        // Put together by the agent.
        ("gemini", &["sent while busy\n\nand a third"]),
        ("copilot", &["sent while busy\n\nand a third"]),
    ] {
        let entries = place.entries(&place.found(agent, REAL)[0]);
        assert_eq!(prompts(&entries)[5..], *last, "{agent}");
    }
}

#[test]
fn two_directories_never_mix() {
    let place = Place::with_samples();
    for agent in ADAPTERS.iter().filter(|a| !["agy", "aider"].contains(a)) {
        let all = place.found(agent, None);
        for cwd in ["/home/dev/proj", "/home/dev/real", "/home/dev", "/home", "/"] {
            let found = place.found(agent, Some(cwd));
            assert!(found.iter().all(|c| c.cwd == cwd), "{agent} {cwd}: {found:?}");
            let expected: Vec<_> = all.iter().filter(|c| c.cwd == cwd).cloned().collect();
            assert_eq!(found, expected, "{agent} {cwd}");
        }
        let c = &place.found(agent, REAL)[0];
        assert_eq!(place.find(agent, PROJ, &c.id), None, "{agent}");
        assert_eq!(place.find(agent, None, &c.id).as_ref(), Some(c), "{agent}");
    }
    assert!(place.found("aider", None).is_empty() && place.found("aider", PROJ).is_empty());
}

/// `/a/b-c` and `/a/b/c` have one directory with claude and qwen.
#[test]
fn an_encoded_name_of_two_directories_is_told_apart_by_its_rows() {
    let place = Place::empty();
    for (root, below) in [(".claude", ""), (".qwen", "/chats")] {
        for (id, cwd) in [("one", "/a/b-c"), ("two", "/a/b/c")] {
            let message = r#"{"content":"hi","parts":[{"text":"hi"}]}"#;
            let row = format!(r#"{{"type":"user","sessionId":"{id}","cwd":"{cwd}","message":{message}}}"#);
            place.write(&format!("{root}/projects/-a-b-c{below}/{id}.jsonl"), row + "\n");
        }
        let agent = &root[1..];
        for (id, cwd, other) in [("one", "/a/b-c", "two"), ("two", "/a/b/c/", "one")] {
            let found = place.found(agent, Some(cwd));
            assert_eq!(found.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), [id], "{agent}");
            assert!(
                place.find(agent, Some(cwd), id).is_some() && place.find(agent, Some(cwd), other).is_none()
            );
        }
        assert_eq!(place.found(agent, None).len(), 2);
    }
}

#[test]
fn environment_moves_the_files() {
    let samples = Place::with_samples();
    let none = Place::empty();
    for (agent, var, dir) in [
        ("claude", "CLAUDE_CONFIG_DIR", ".claude"),
        ("codex", "CODEX_HOME", ".codex"),
        ("gemini", "GEMINI_CLI_HOME", ""),
        ("qwen", "QWEN_HOME", ".qwen"),
        ("qwen", "QWEN_RUNTIME_DIR", ".qwen"),
        ("opencode", "XDG_DATA_HOME", ".local/share"),
        ("opencode", "OPENCODE_DB", ".local/share/opencode/opencode.db"),
        ("copilot", "COPILOT_HOME", ".copilot"),
        ("continue", "CONTINUE_GLOBAL_DIR", ".continue"),
    ] {
        let set = samples.path(dir);
        let env = |name: &str| (name == var).then(|| set.clone());
        let home = Home { home: none.home(), env: &env };
        let found = adapter(agent).unwrap().list(&home, REAL).found;
        assert_eq!(found.len(), 1, "{agent} {var}");
        assert_eq!(
            adapter(agent).unwrap().find(&home, REAL, &found[0].id).as_ref(),
            Some(&found[0]),
            "{agent} {var}"
        );
    }
    let link = none.home().join("link");
    std::os::unix::fs::symlink(samples.home().join(".claude"), &link).unwrap();
    let env = |name: &str| (name == "CLAUDE_CONFIG_DIR").then(|| link.to_str().unwrap().to_owned());
    let listing = adapter("claude").unwrap().list(&Home { home: none.home(), env: &env }, REAL);
    assert_eq!(listing.found.len(), 1, "a home kept elsewhere");
}

/// What came after a mark is told once, and all of it together is what there is.
#[test]
fn a_conversation_is_followed_turn_by_turn() {
    let place = Place::with_samples();
    for (agent, file, rows) in [
        ("claude", ".claude/projects/-home-dev-real/7176076b-eb28-4b3c-9ae5-bd976c163e9b.jsonl", true),
        ("qwen", ".qwen/projects/-home-dev-real/chats/a0aec9f6-685b-4056-8a26-8bccf8f2d8f2.jsonl", true),
        ("gemini", ".gemini/tmp/real/chats/session-2026-11-21T12-43-974e2ee3.jsonl", true),
        ("copilot", ".copilot/session-state/e93fcc38-e498-4c38-b306-e298065ddf5e/events.jsonl", true),
        (
            "codex",
            ".codex/sessions/2026/11/21/rollout-2026-11-21T12-41-28-01a1fe20-3de8-7670-9ba6-e55b827649e8.jsonl",
            true,
        ),
        ("aider", "real/.aider.chat.history.md", false),
    ] {
        if agent == "aider" {
            copy(&fixtures().join("aider/real"), &place.home().join("real"));
        }
        let cwd = if agent == "aider" { place.path("real") } else { "/home/dev/real".into() };
        let c = place.found(agent, Some(&cwd)).remove(0);
        let all = place.entries(&c);
        let text = text(&place.home().join(file));
        // Byte by byte through the file's rows would take long; in uneven steps every kind of cut is met.
        place.write(file, "");
        let (mut told, mut mark, mut from) = (Vec::new(), Mark::default(), 0);
        for step in (1..).map(|n| n * 37 % 811 + 1) {
            let mut to = (from + step).min(text.len());
            // aider writes whole paragraphs.
            to = if rows { to } else { text[to..].find("\n\n").map_or(text.len(), |i| to + i + 2) };
            place.append(file, text.get(from..to).unwrap_or_default());
            if !text.is_char_boundary(to) {
                continue;
            }
            from = to;
            // Until it has begun there is nothing to be found.
            if let Ok((more, next)) = adapter(agent).unwrap().since(&place.bare(), &c, &mark) {
                told.extend(more);
                mark = next;
            }
            if from == text.len() {
                break;
            }
        }
        assert_eq!(told, all, "{agent}");
        assert_eq!(mark, place.end(&c), "{agent}");
        assert_eq!(place.since(&c, &mark), (Vec::new(), mark), "{agent}");
    }
}

/// A part is there, and grows, before its message is complete.
#[test]
fn an_answer_in_a_database_is_told_when_it_is_complete() {
    let place = Place::with_samples();
    let c = place.find("opencode", REAL, "ses_e01dcc874ffewA885uGuS0VqQs").unwrap();
    let all = place.entries(&c);
    let mark = place.end(&c);
    assert_eq!(place.since(&c, &mark), (Vec::new(), mark.clone()));
    let db = Connection::open(&c.place).unwrap();
    let message = |id: &str, time: u64, data: &str| {
        let row = serde_json::json!([{"id": id, "session_id": c.id, "time_created": time, "time_updated": time, "data": data}]);
        insert(&db, "message", &row.to_string());
    };
    let part = |message: &str, text: &str| {
        let data = serde_json::json!({"type": "text", "text": text}).to_string();
        let row = serde_json::json!([{"id": format!("prt_{message}"), "message_id": message, "session_id": c.id, "time_created": 1, "time_updated": 1, "data": data}]);
        insert(&db, "part", &row.to_string());
    };
    let time = 1_795_300_000_000;
    message("msg_z1", time, r#"{"role":"user"}"#);
    assert_eq!(place.since(&c, &mark).0, [], "its text is not there yet");
    part("msg_z1", "next");
    message("msg_z2", time + 1, r#"{"role":"assistant","time":{"created":1}}"#);
    part("msg_z2", "half");
    message("msg_z3", time + 2, r#"{"role":"user"}"#);
    part("msg_z3", "queued");
    let (told, after) = place.since(&c, &mark);
    assert_eq!((prompts(&told), last_reply(&told)), (vec!["next"], None));
    db.execute(
        "UPDATE message SET data = ? WHERE id = 'msg_z2'",
        [r#"{"role":"assistant","time":{"completed":2}}"#],
    )
    .unwrap();
    db.execute(
        "UPDATE part SET data = ? WHERE message_id = 'msg_z2'",
        [r#"{"type":"text","text":"half and half"}"#],
    )
    .unwrap();
    let (told, last) = place.since(&c, &after);
    assert_eq!(
        told.iter().map(|e| (e.who, e.text.as_str())).collect::<Vec<_>>(),
        [(Who::Agent, "half and half"), (Who::User, "queued")]
    );
    assert_eq!(last, place.end(&c));
    // One that was cut off stays without an end; the answer after it shows that it is over.
    message("msg_z4", time + 3, r#"{"role":"assistant","time":{"created":1}}"#);
    part("msg_z4", "cut off");
    message("msg_z5", time + 4, r#"{"role":"assistant","time":{"completed":2}}"#);
    part("msg_z5", "done");
    assert_eq!(last_reply(&place.since(&c, &last).0).unwrap(), "cut off\n\ndone");
    assert_eq!(place.entries(&c).len(), all.len() + 5);
}

#[test]
fn a_transcript_can_be_read() {
    let place = Place::with_samples();
    let c = &place.found("claude", REAL)[0];
    let text = transcript(c, &place.entries(c));
    let begin = "agent: claude\nid: 7176076b-eb28-4b3c-9ae5-bd976c163e9b\ncwd: /home/dev/real\ntitle: hello there\n\
                 started: 2026-11-21T12:40:52.468Z\nupdated: 2026-11-21T12:47:22.855Z\nprompts: 7\n\n\
                 ## user 2026-11-21T12:40:52.468Z\n\nhello there\n\n\
                 ## agent 2026-11-21T12:40:54.268Z\n\nSTUBREPLY ok. lines=28 chars=1163 Done with the canned answer now.\n\n\
                 ## user 2026-11-21T12:41:01.578Z\n\nplease TOOLRUN it\n\n\
                 ## tool 2026-11-21T12:41:01.724Z\n\nBash {\"command\":\"touch stub_was_here\",\"description\":\"stub tool call\"}\n\n\
                 (Bash completed with no output)\n\n## agent ";
    assert_eq!(&text[..begin.len().min(text.len())], begin);
    assert_eq!(text.matches("\n## user ").count(), 7);
}

/// No real file of it was at hand: rows as others describe them.
#[test]
fn agy_groups_its_prompts_by_conversation() {
    let place = Place::empty();
    let row = |id: &str, cwd: &str, ms: u64, text: &str| {
        serde_json::json!({"display": text, "timestamp": ms, "workspace": cwd, "conversationId": id})
            .to_string()
            + "\n"
    };
    let rows = [row("a", "/p", 1_795_227_000_000, "first"), row("b", "/q", 1_795_227_001_000, "other")];
    let more =
        [row("a", "/p", 1_795_227_002_000, "second"), r#"{"display":"no conversation"}"#.to_owned() + "\n"];
    place.write(".gemini/antigravity-cli/history.jsonl", rows.concat() + &more.concat());
    assert_eq!(
        place.found("agy", None).iter().map(short).collect::<Vec<_>>(),
        [("a", "first", 2), ("b", "other", 1)]
    );
    assert_eq!(place.found("agy", Some("/q")).len(), 1);
    let a = place.find("agy", Some("/p"), "a").unwrap();
    let entries = place.entries(&a);
    assert_eq!((prompts(&entries), last_reply(&entries)), (vec!["first", "second"], None));
    let talk = [
        r#"{"type":"USER_INPUT","content":"<USER_REQUEST>\nfirst\n</USER_REQUEST>\n<ADDITIONAL_METADATA>x</ADDITIONAL_METADATA>","created_at":"2026-11-21T02:10:00Z"}"#,
        r#"{"type":"PLANNER_RESPONSE","content":"answer","tool_calls":[{"name":"view_file","args":{"p":1}}]}"#,
        r#"{"type":"NEW_KIND","content":"?"}"#,
    ];
    place.write(".gemini/antigravity-cli/brain/a/.system_generated/logs/transcript.jsonl", talk.join("\n"));
    let entries = place.entries(&a);
    assert_eq!((prompts(&entries), last_reply(&entries).as_deref()), (vec!["first"], Some("answer")));
}

#[test]
fn only_the_user_writes_prompts() {
    let place = Place::empty();
    let user = |more: &str, content: &str| {
        format!(r#"{{"type":"user","sessionId":"x","cwd":"/p","message":{{"content":{content}}}{more}}}"#)
            + "\n"
    };
    let rows = [
        user(r#","isMeta":true"#, r#""Caveat: the messages below""#),
        user("", r#""<command-name>/clear</command-name>\n<command-args></command-args>""#),
        user("", r#""<local-command-stdout></local-command-stdout>""#),
        user("", r#"[{"type":"text","text":"the prompt"},{"type":"image"}]"#),
        user(r#","isSidechain":true"#, r#""for a sub-agent""#),
        user("", r#"[{"type":"tool_result","content":[{"type":"text","text":"output"}]}]"#),
        user(r#","origin":{"kind":"task-notification"}"#, r#""a task is done""#),
        user(r#","isCompactSummary":true"#, r#""This session is continued from …""#),
        user("", r#""[Request interrupted by user]""#),
        r#"{"type":"assistant","isApiErrorMessage":true,"message":{"content":[{"type":"text","text":"API Error"}]}}"#.to_owned() + "\n",
        r#"{"type":"assistant","isSidechain":true,"message":{"content":[{"type":"text","text":"the sub-agent's"}]}}"#.to_owned() + "\n",
        r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"yes"}]}}"#.to_owned() + "\n",
    ];
    place.write(".claude/projects/-p/x.jsonl", rows.concat());
    let c = place.find("claude", Some("/p"), "x").unwrap();
    assert_eq!((c.title.as_str(), c.prompts), ("the prompt", 2));
    let entries = place.entries(&c);
    assert_eq!(prompts(&entries), ["/clear", "the prompt"]);
    assert_eq!(last_reply(&entries).unwrap(), "yes");
    place.write(
        ".claude/projects/-p/agent-1.jsonl",
        user(r#","isSidechain":true"#, r#""a sub-agent's file""#),
    );
    assert_eq!(place.found("claude", None).len(), 1);
}
