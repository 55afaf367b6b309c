//! Tests of hooks.rs: payloads of real agents, and what is made of a manifest's table.

use super::*;
use crate::catalogue::Catalogue;

fn built_in(key: &str) -> Injection {
    let all = Catalogue::load(Path::new("/nonexistent"));
    let of = |program: &str| {
        let (file, settings) = (Path::new("/run/o'k \"x\"/hooks"), Path::new("/run/s.json"));
        injection(all.get(key).unwrap(), Path::new(program), file, settings)
    };
    of(r"/opt/{settings}/mux\fs")
}

/// The words a shell makes of a command.
fn words(command: &str) -> Vec<String> {
    let out = std::process::Command::new("sh").args(["-c", &format!("printf '%s\\n' {command}")]).output();
    String::from_utf8(out.unwrap().stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_is_injected_runs_the_helper_whatever_the_paths() {
    let wanted = [r"/opt/{settings}/mux\fs", "hook", "/run/o'k \"x\"/hooks"];
    for key in ["claude", "qwen"] {
        let made = built_in(key);
        let (path, text) = &made.files[0];
        assert_eq!((made.files.len(), path.to_str()), (1, Some("/run/s.json")));
        let settings: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{key}: {e}: {text}"));
        let events = settings["hooks"].as_object().unwrap();
        assert!(events.len() >= 6, "{key}");
        for (event, groups) in events {
            let hook = &groups[0]["hooks"][0];
            assert_eq!(hook["type"], "command");
            assert_eq!(words(hook["command"].as_str().unwrap()), wanted, "{key} {event}");
        }
    }
    assert_eq!(built_in("claude").args, ["--settings", "/run/s.json"]);
    assert_eq!(built_in("qwen").env["QWEN_CODE_SYSTEM_DEFAULTS_PATH"], "/run/s.json");
    let codex = built_in("codex");
    assert_eq!((codex.args.len(), codex.args[0].as_str(), codex.files.len()), (2, "-c", 0));
    let config: toml_edit::DocumentMut = codex.args[1].parse().unwrap();
    let notify: Vec<_> = config["notify"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(notify, wanted);
    assert_eq!(built_in("gemini"), Injection::default());
}

#[test]
fn a_table_that_can_do_nothing_is_refused() {
    let wrong = |hooks: &str| {
        let text = format!("name = 'X'\ncommand = ['x']\n[hooks]\n{hooks}\n");
        Manifest::parse(&text).expect_err(hooks).to_string()
    };
    assert!(wrong("args = ['--settings', '{settings}']").contains("go together"));
    assert!(wrong("settings = '{command}'").starts_with("line 3, column 1: {settings}"));
    assert!(wrong("args = ['--notify', 'beep']").contains("run neither"));
    assert!(wrong("").contains("run neither"));
    assert!(wrong("agrs = []").starts_with("line 4, column 1: unknown field"));
}

/// As real agents sent them (claude 2.1.329, codex 0.169.0, gemini 0.61.0, qwen 0.24.4), some
/// fields left out.
const PAYLOADS: &[(&str, Kind, Option<&str>, &str)] = &[
    (
        r#"{"session_id":"1111","transcript_path":"/t.jsonl","cwd":"/p","hook_event_name":"SessionStart","source":"startup","model":"m"}"#,
        Kind::Started,
        None,
        "startup",
    ),
    (
        r#"{"session_id":"1111","cwd":"/p","prompt_id":"2690","hook_event_name":"UserPromptSubmit","prompt":"SECRET"}"#,
        Kind::PromptTaken,
        None,
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"Stop","stop_hook_active":false,"last_assistant_message":"done.\nall"}"#,
        Kind::TurnEnded,
        Some("done.\nall"),
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"PermissionRequest","tool_name":"Bash","tool_input":{"command":"SECRET"}}"#,
        Kind::Blocked,
        None,
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"Notification","message":"Claude needs your permission","notification_type":"permission_prompt"}"#,
        Kind::Blocked,
        None,
        "permission_prompt",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"Notification","message":"Claude is waiting for your input","notification_type":"idle_prompt"}"#,
        Kind::Idle,
        None,
        "idle_prompt",
    ),
    (r#"{"session_id":"1111","hook_event_name":"SessionEnd","reason":"clear"}"#, Kind::Ended, None, "clear"),
    (r#"{"session_id":"1111","hook_event_name":"PreCompress","trigger":"auto"}"#, Kind::Other, None, ""),
    (
        r#"{"type":"agent-turn-complete","thread-id":"1111","turn-id":"7793","cwd":"/p","client":"codex-tui","input-messages":["SECRET"],"last-assistant-message":"STUBREPLY"}"#,
        Kind::TurnEnded,
        Some("STUBREPLY"),
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"BeforeAgent","prompt":"SECRET"}"#,
        Kind::PromptTaken,
        None,
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"AfterAgent","prompt":"SECRET","prompt_response":"ok"}"#,
        Kind::TurnEnded,
        Some("ok"),
        "",
    ),
    (
        r#"{"session_id":"1111","hook_event_name":"Notification","notification_type":"ToolPermission","message":"Tool Confirm Shell Command requires execution","details":{"command":"SECRET"}}"#,
        Kind::Blocked,
        None,
        "ToolPermission",
    ),
];

fn event(payload: &str) -> Option<HookEvent> {
    HookEvent::from_payload(&serde_json::from_str(payload).unwrap(), "2026-11-21T02:22:02.620Z".into())
}

#[test]
fn payloads_of_real_agents_are_understood_and_keep_their_secrets() {
    for (payload, kind, reply, word) in PAYLOADS {
        let line = event(payload).unwrap().line();
        assert!(line.ends_with("}\n") && line.lines().count() == 1 && !line.contains("SECRET"), "{line}");
        let read = parse(&line).unwrap();
        assert_eq!(
            (read.kind(), read.reply.as_deref(), read.kind.as_str()),
            (*kind, *reply, *word),
            "{line}"
        );
        assert_eq!((read.conversation.as_str(), read.time.len()), ("1111", 24));
    }
    let turn = parse(&event(PAYLOADS[8].0).unwrap().line()).unwrap();
    assert_eq!((turn.turn.as_str(), turn.cwd.as_str()), ("7793", "/p"));
    assert_eq!(event(r#"{"session_id":"1111"}"#), None);
    assert_eq!(event("[]"), None);
    assert_eq!(event(r#""Stop""#), None);
}

#[test]
fn a_line_is_short_whatever_comes_in() {
    for c in ["x", "\"", "\u{1}", "é", "\u{1F600}", "\n"] {
        for n in [1, 199, 3700, 100_000] {
            let long = c.repeat(n);
            let payload = serde_json::json!({
                "hook_event_name": "Stop", "session_id": long, "prompt_id": long, "cwd": long,
                "transcript_path": long, "message": long, "reason": long, "last_assistant_message": long,
            });
            let line = HookEvent::from_payload(&payload, "2026-11-21T02:22:02.620Z".into()).unwrap().line();
            assert!(line.len() <= MAX_LINE, "{c:?} {n}: {}", line.len());
            let read = parse(&line).unwrap();
            assert_eq!(read.kind(), Kind::TurnEnded);
            assert!(read.reply.is_none_or(|r| r == long), "whole or not at all");
        }
    }
}

#[test]
fn what_is_no_line_says_nothing() {
    let whole = event(PAYLOADS[2].0).unwrap().line();
    let whole = whole.trim_end();
    assert!(parse(whole).is_some());
    for n in (0..whole.len()).filter(|n| whole.is_char_boundary(*n)) {
        assert_eq!(parse(&whole[..n]), None, "{n}");
    }
    for bad in ["", "{}", "[]", "null", "{\"event\":7}", "{\"event\":\"\"}"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert_eq!(parse(&format!("{{\"event\":\"Stop\",\"x\":\"{}\"}}", "x".repeat(MAX_LINE))), None);
    assert_eq!(parse("{\"event\":\"Dance\",\"new\":1}").unwrap().kind(), Kind::Other);
}
