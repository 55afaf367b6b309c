//! Files that are cut, alien, huge, locked or no files at all; and how much is read of them.

use std::time::{Duration, Instant};

use muxfs_agent::history::{ADAPTERS, BUDGET, MOST, Mark, WINDOW, adapter, last_reply};
use muxfs_tree::base::error::Kind;

use super::{Place, insert, prompts};

/// Where each agent that keeps rows in files would look for one of `/p`.
const FILES: &[(&str, &str)] = &[
    ("agy", ".gemini/antigravity-cli/history.jsonl"),
    ("claude", ".claude/projects/-p/x.jsonl"),
    ("codex", ".codex/sessions/2026/01/01/rollout-x.jsonl"),
    ("copilot", ".copilot/session-state/x/events.jsonl"),
    ("gemini", ".gemini/tmp/p/chats/session-x.jsonl"),
    ("qwen", ".qwen/projects/-p/chats/x.jsonl"),
];

fn claude(id: &str, text: &str) -> String {
    format!(
        r#"{{"type":"user","sessionId":"{id}","cwd":"/p","timestamp":"2026-11-21T00:00:00Z","message":{{"content":"{text}"}}}}"#
    ) + "\n"
}

fn answer(text: &str) -> String {
    format!(
        r#"{{"type":"assistant","timestamp":"2026-11-22T00:00:00Z","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    ) + "\n"
}

#[test]
fn nothing_there_is_no_trouble() {
    let place = Place::empty();
    for agent in ADAPTERS {
        for cwd in [None, Some("/p"), Some(""), Some("relative"), Some("/\u{0}\n")] {
            assert_eq!(place.found(agent, cwd), [], "{agent}");
            for id in
                ["x", "", "..", "../../etc/passwd", "a/b", "x\0", "%", "' OR 1=1 --", &"9".repeat(10_000)]
            {
                assert_eq!(place.find(agent, cwd, id), None, "{agent} {id}");
            }
        }
    }
}

#[test]
fn what_is_no_conversation_is_named_or_passed_over() {
    let place = Place::empty();
    for (agent, file) in FILES {
        for (bytes, trouble) in [
            (&b""[..], 0),
            (b"\n\n", 0),
            (b"{\"type\":\"us", 0), // begun a moment ago
            (b"{}\n{\"type\":7,\"message\":[],\"payload\":\"x\",\"data\":null,\"$set\":3,\"sessionId\":{},\"timestamp\":[]}\n", 0),
            (b"not json\n", 1),
            (b"\xff\xfe\x00\n\x1b[2J\n", 1),
            (b"[[[[[[[[[[\n", 1),
        ] {
            place.write(file, bytes);
            let listing = place.list(agent, None);
            let said = String::from_utf8_lossy(bytes);
            assert_eq!((listing.found.len(), listing.trouble.len()), (0, trouble), "{agent} {said:?}: {:?}", listing.trouble);
            let plain = listing.trouble.iter().all(|t| t.contains(file) && !t.contains(['\n', '\x1b']));
            assert!(plain, "{agent}: {:?}", listing.trouble);
        }
        place.write(file, vec![b'['; 3_000_000]);
        assert!(place.list(agent, None).found.is_empty());
    }
    place.write(".continue/sessions/sessions.json", "[{\"sessionId\":");
    place.write(
        ".continue/sessions/x.json",
        "{\"history\":[{\"message\":7},{\"message\":{\"role\":\"user\",\"content\":\"hi\"}},",
    );
    place.write(".continue/sessions/y.json", "{\"history\":[{\"message\":7},3]}");
    place.write(
        ".continue/sessions/z.json",
        "{\"workspaceDirectory\":\"/p\",\"history\":[{\"message\":{\"role\":\"user\",\"content\":\"hi\"}}]}",
    );
    let listing = place.list("continue", Some("/p"));
    assert_eq!((listing.found.len(), listing.trouble.len()), (1, 3), "{:?}", listing.trouble);
}

/// A row that is alien, cut or no UTF-8 costs itself alone.
#[test]
fn alien_rows_do_not_hide_the_others() {
    let place = Place::empty();
    let mut bytes = b"{\"type\":\"from-the-future\",\"message\":42}\n\0\0\0\nnull\n".to_vec();
    bytes.extend(claude("x", "one").bytes());
    bytes.extend(b"{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"caf\xe9\"},{\"type\":\"hologram\"},9]}}\n");
    bytes.extend(&claude("x", "cut off").as_bytes()[..60]);
    place.write(".claude/projects/-p/x.jsonl", &bytes);
    let c = place.find("claude", Some("/p"), "x").unwrap();
    assert_eq!((c.title.as_str(), c.prompts), ("one", 1));
    assert_eq!(last_reply(&place.entries(&c)).unwrap(), "caf\u{fffd}");
    // Written anew and shorter: what was read does not count any more.
    let mark = place.end(&c);
    place.write(".claude/projects/-p/x.jsonl", claude("x", "anew"));
    assert_eq!(prompts(&place.since(&c, &mark).0), ["anew"]);
    std::fs::remove_file(&c.place).unwrap();
    let gone = adapter("claude").unwrap().since(&place.bare(), &c, &Mark::default()).unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
}

#[test]
fn pipes_devices_and_links_in_a_circle_are_left_alone() {
    let place = Place::empty();
    for (_, file) in FILES {
        let path = place.write(file, "");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, path.with_file_name(name)).unwrap();
        link("/dev/zero", "session-rollout-zero.jsonl");
        link("session-round.jsonl", "session-round.jsonl");
        link("/nowhere", "session-nowhere.jsonl");
        link("..", "up");
        link(".", "0001");
    }
    let databases = [(".codex/state_5.sqlite", "codex"), (".local/share/opencode/opencode.db", "opencode")];
    for (name, _) in databases {
        let path = place.write(name, "");
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    nix::unistd::mkfifo(&place.home().join(".aider.chat.history.md"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let begun = Instant::now();
    for agent in ADAPTERS {
        let listing = place.list(agent, Some(&place.path("")));
        assert!(listing.found.is_empty(), "{agent}");
        assert!(place.list(agent, None).found.is_empty(), "{agent}");
        assert_eq!(place.find(agent, None, "x"), None, "{agent}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// 120 MB: the beginning and the end are read for a list, the newest for the rest.
#[test]
fn of_a_huge_file_little_is_read() {
    let place = Place::empty();
    let name = ".claude/projects/-p/x.jsonl";
    let path = place.write(name, claude("x", "the title"));
    let filler = answer(&"y".repeat(10_000)).repeat(1000);
    for _ in 0..12 {
        place.append(name, &filler);
    }
    place.append(name, &(claude("x", "the last prompt") + &answer("the last answer").replace("22T", "23T")));
    assert!(std::fs::metadata(path).unwrap().len() > 120_000_000);

    let begun = Instant::now();
    let listing = place.list("claude", Some("/p"));
    let c = &listing.found[0];
    assert_eq!((c.title.as_str(), c.prompts, c.at_least), ("the title", 1, true));
    assert_eq!(muxfs_tree::base::clock::rfc3339(c.updated), "2026-11-23T00:00:00.000Z");
    assert!(listing.read < 400_000, "{} bytes read", listing.read);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    let entries = place.entries(c);
    assert!(entries[0].text.ends_with("bytes before this are left out"), "{}", entries[0].text);
    assert_eq!(last_reply(&entries).unwrap(), "the last answer");
    let bytes: usize = entries.iter().map(|e| e.text.len()).sum();
    assert!(bytes as u64 <= WINDOW, "{bytes}");

    // Followed from the end, a turn costs what the turn wrote.
    let begun = Instant::now();
    let mut mark = place.end(c);
    for n in 0..50 {
        place.append(name, &(claude("x", &format!("turn {n}")) + &answer(&format!("answer {n}"))));
        let (said, next) = place.since(c, &mark);
        assert_eq!(
            (prompts(&said), last_reply(&said)),
            (vec![format!("turn {n}").as_str()], Some(format!("answer {n}")))
        );
        mark = next;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// One row of 20 MB (a picture in a prompt, say) is passed over, and does not hide the rest.
#[test]
fn a_huge_row_is_passed_over() {
    let place = Place::empty();
    let huge = claude("x", &"z".repeat(20 << 20));
    let file = ".claude/projects/-p/x.jsonl";
    place.write(file, claude("x", "before") + &huge + &claude("x", "after"));
    let listing = place.list("claude", Some("/p"));
    assert_eq!(listing.found[0].title, "before");
    assert!(listing.read < 1_000_000);
    assert_eq!(prompts(&place.entries(&listing.found[0])), ["after"]);
    // Nor is it waited for while it is being written.
    place.write(file, claude("x", "before") + &huge[..15 << 20]);
    assert_eq!(prompts(&place.entries(&listing.found[0])), ["before"]);
}

#[test]
fn of_ten_thousand_conversations_the_newest_are_listed() {
    let place = Place::empty();
    let epoch = std::time::SystemTime::UNIX_EPOCH;
    for n in 0..10_000u64 {
        let text = claude(&format!("c{n}"), "hi")
            .replace("00:00:00", &format!("{:02}:{:02}:{:02}", n / 3600, n / 60 % 60, n % 60));
        let path = place.write(&format!(".claude/projects/-p/c{n}.jsonl"), text);
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(epoch + Duration::from_secs(1_795_219_200 + n)).unwrap();
    }
    let begun = Instant::now();
    let listing = place.list("claude", Some("/p"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let expected: Vec<String> = (0..MOST as u64).map(|n| format!("c{}", 9999 - n)).collect();
    assert_eq!(listing.found.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(listing.trouble, ["claude: 9000 older conversations are left out"]);
    assert!(place.find("claude", Some("/p"), "c0").is_some(), "by its id it is still found");
}

#[test]
fn a_listing_stops_at_its_budget() {
    let place = Place::empty();
    // No prompt in the part that is looked at: the most is read of each.
    let filler = answer(&"y".repeat(10_000)).repeat(60);
    let first = place.write(".claude/projects/-p/first.jsonl", &filler);
    for n in 0..600 {
        std::fs::hard_link(&first, first.with_file_name(format!("c{n}.jsonl"))).unwrap();
    }
    let listing = place.list("claude", None);
    assert!(listing.read < BUDGET + (1 << 20), "{}", listing.read);
    assert_eq!(listing.trouble.len(), 1, "{:?}", listing.trouble);
}

const CODEX: &str = "CREATE TABLE threads (id TEXT, rollout_path TEXT, created_at INTEGER, updated_at INTEGER, source TEXT, cwd TEXT, title TEXT, archived INTEGER)";

fn codex(place: &Place) -> rusqlite::Connection {
    let rollout = "{\"type\":\"session_meta\",\"payload\":{\"id\":\"t1\",\"cwd\":\"/p\",\"source\":\"cli\"}}\n\
                   {\"type\":\"response_item\",\"payload\":{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"text\":\"hi\"}]}}\n";
    let path = place.write(".codex/sessions/2026/01/01/rollout-t1.jsonl", rollout);
    let db = place.database(".codex/state_5.sqlite", CODEX);
    let row = |id: &str, source: &str, archived: u8| {
        serde_json::json!([{"id": id, "rollout_path": path.to_str(), "created_at": 1, "updated_at": 2, "source": source, "cwd": "/p", "title": format!("thread {id}"), "archived": archived}]).to_string()
    };
    insert(&db, "threads", &row("t1", "cli", 0));
    insert(&db, "threads", &row("t2", "cli", 1));
    insert(&db, "threads", &row("t3", "{\"subagent\":\"review\"}", 0));
    db
}

#[test]
fn a_locked_database_is_named_and_not_waited_for() {
    let place = Place::empty();
    let db = codex(&place);
    assert_eq!(
        place.found("codex", None)[0].title,
        "thread t1",
        "while its agent has it open, older columns alone"
    );
    // What is in the log and not yet in the file counts.
    db.execute("UPDATE threads SET title = 'newer'", []).unwrap();
    assert_eq!(place.found("codex", Some("/p"))[0].title, "newer");
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .unwrap();
    let begun = Instant::now();
    let listing = place.list("codex", Some("/p"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(listing.trouble, [format!("{}: locked by its agent", place.path(".codex/state_5.sqlite"))]);
    assert_eq!(listing.found[0].title, "hi", "the files tell it meanwhile");
    assert!(place.find("codex", Some("/p"), "t1").is_some());
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(place.found("codex", Some("/p"))[0].title, "newer");
}

#[test]
fn a_broken_database_is_named() {
    let place = Place::empty();
    drop(codex(&place));
    for (bytes, why) in [
        (&b"this is not a database at all, but long enough to be read as one"[..], "not a sound database"),
        (b"", "no such table: threads"),
    ] {
        for name in ["state_5.sqlite-wal", "state_5.sqlite-shm"] {
            _ = std::fs::remove_file(place.home().join(".codex").join(name));
        }
        place.write(".codex/state_5.sqlite", bytes);
        let listing = place.list("codex", None);
        assert_eq!(listing.trouble.len(), 1, "{:?}", listing.trouble);
        assert!(listing.trouble[0].contains(why), "{:?}", listing.trouble);
        assert_eq!(listing.found.len(), 1, "from the files");
        let path = ".local/share/opencode/opencode.db";
        place.write(path, bytes);
        let listing = place.list("opencode", None);
        assert_eq!((listing.found.len(), listing.trouble.len()), (0, 1), "{:?}", listing.trouble);
        assert!(listing.trouble[0].contains(path), "{:?}", listing.trouble);
    }
}

#[test]
fn rows_of_a_database_may_be_broken() {
    let place = Place::empty();
    let schema = "CREATE TABLE session (id, parent_id, directory, title, time_created, time_updated, time_archived); \
                  CREATE TABLE message (id, session_id, time_created, data); CREATE TABLE part (id, message_id, data)";
    let db = place.database(".local/share/opencode/opencode.db", schema);
    db.execute_batch(
        "INSERT INTO session VALUES ('s', NULL, '/p', x'ff41', 1795000000000, 1795000000000, NULL), \
         ('child', 's', '/p', 't', 1, 1, NULL), ('gone', NULL, '/p', 't', 1, 1, 5), (NULL, NULL, '/p', 't', 1, 1, NULL), \
         ('../x', NULL, '/p', 't', 1, 1, NULL), ('text', NULL, '/p', 't', 'now', 'now', NULL); \
         INSERT INTO message VALUES ('m1', 's', 1, 'no json'), ('m2', 's', 2, x'ff'), ('m3', 's', NULL, NULL), \
         ('m4', 's', 4, '{\"role\":\"user\"}'), ('m5', 's', 5, '{\"role\":\"assistant\",\"error\":{\"name\":\"Aborted\"}}'); \
         INSERT INTO part VALUES ('p1', 'm4', '[]'), ('p2', 'm4', 'no json'), ('p3', 'm4', '{\"type\":\"text\",\"text\":\"hi\"}'), \
         ('p4', 'm5', NULL)",
    )
    .unwrap();
    let found = place.found("opencode", Some("/p"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].title.as_str(), found[0].prompts), ("\u{fffd}A", 1));
    let entries = place.entries(&found[0]);
    assert_eq!(entries.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), ["hi", "Aborted"]);
}

/// The directory's SHA-256 in the rows says whose they are, where the project's own file is lost.
#[test]
fn gemini_without_a_project_root_goes_by_the_hash() {
    let place = Place::empty();
    let rows = |cwd: &str| {
        use sha2::Digest;
        let hash: String = sha2::Sha256::digest(cwd).iter().map(|b| format!("{b:02x}")).collect();
        format!(
            "{{\"sessionId\":\"s{}\",\"projectHash\":\"{hash}\",\"startTime\":\"2026-11-21T02:22:02Z\"}}\n{{\"type\":\"user\",\"content\":\"hi\"}}\n",
            cwd.len()
        )
    };
    // Both in one directory, which a wrong index gives to a third.
    place.write(".gemini/tmp/x/chats/session-1.jsonl", rows("/p"));
    place.write(".gemini/tmp/x/chats/session-2.jsonl", rows("/other"));
    for cwd in ["/p", "/other"] {
        let found = place.found("gemini", Some(cwd));
        assert_eq!(found.iter().map(|c| c.cwd.as_str()).collect::<Vec<_>>(), [cwd]);
    }
    assert_eq!(place.found("gemini", Some("/third")), []);
    place.write(".gemini/projects.json", "{\"projects\":{\"/p\":\"x\"}}");
    assert_eq!(place.found("gemini", Some("/other")).len(), 0, "the index says that /p lives there");
    assert_eq!(place.found("gemini", Some("/p")).len(), 1);
}

#[test]
fn aider_keeps_all_talks_in_one_file() {
    let place = Place::empty();
    let talk = |second: u8, text: &str| {
        format!(
            "\n# aider chat started at 2026-11-21 02:00:{second:02}\n\n#### {text}  \n\nanswer to {text}\n"
        )
    };
    let cwd = place.path("");
    let file = ".aider.chat.history.md";
    place.write(file, talk(1, "one") + &talk(1, "two") + &talk(3, "three"));
    let found = place.found("aider", Some(&cwd));
    let ids: Vec<_> = found.iter().map(|c| (c.id.as_str(), c.title.as_str())).collect();
    assert_eq!(
        ids,
        [("2026-11-21T02:00:03", "three"), ("2026-11-21T02:00:01-2", "two"), ("2026-11-21T02:00:01", "one")]
    );
    for c in &found {
        assert_eq!(last_reply(&place.entries(c)).unwrap(), format!("answer to {}", c.title));
    }
    let (last, mark) = (&found[0], place.end(&found[0]));
    place.append(file, "\n#### more  \n\nmore answer\n");
    let (said, mark) = place.since(last, &mark);
    assert_eq!((prompts(&said), last_reply(&said).as_deref()), (vec!["more"], Some("more answer")));
    place.append(file, talk(9, "another").trim_start());
    let (said, mark) = place.since(last, &mark);
    assert_eq!(said, [], "another talk");
    assert_eq!(place.since(last, &mark).0, [], "and it stays another's");
    // A file of 40 MB: the newest conversations of it.
    place.append(file, &"long line of an answer\n".repeat(2_000_000));
    place.append(file, &talk(30, "newest"));
    let begun = Instant::now();
    let listing = place.list("aider", Some(&cwd));
    assert_eq!(listing.found.iter().map(|c| c.title.as_str()).collect::<Vec<_>>(), ["newest"]);
    assert!(begun.elapsed() < Duration::from_secs(5) && listing.read <= WINDOW);
}
