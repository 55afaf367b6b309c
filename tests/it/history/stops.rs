//! Turns that a person stopped, refused, or that ended with an error, in rows as real agents wrote them
//! (claude 2.1.332, codex 0.171.0, gemini 0.61.0, qwen 0.24.4, opencode 1.18.33, copilot 1.0.102).

use muxfs_agent::history::{End, Got, TurnRecord, turn};

use super::{Place, fixtures, text};

const ID: &str = "11111111-2222-4333-8444-555555555555";

/// What the record `rows` of `agent`, in `file`, says of a prompt.
fn record(agent: &str, file: &str, rows: &[&str], prompt: &str) -> TurnRecord {
    let place = Place::empty();
    place.write(".gemini/tmp/proj/.project_root", "/home/dev/proj");
    place.write(file, rows.join("\n") + "\n");
    let found = place.found(agent, None);
    assert_eq!(found.len(), 1, "{agent}");
    turn(&place.entries(&found[0]), prompt)
}

fn claude(rows: &[&str]) -> TurnRecord {
    let user = format!(
        r#"{{"type":"user","message":{{"role":"user","content":"go"}},"origin":{{"kind":"human"}},"cwd":"/home/dev/proj","sessionId":"{ID}","timestamp":"2026-11-29T22:00:00.000Z"}}"#
    );
    let rows: Vec<&str> = std::iter::once(user.as_str()).chain(rows.iter().copied()).collect();
    record("claude", &format!(".claude/projects/-home-dev-proj/{ID}.jsonl"), &rows, "go")
}

fn ends(record: TurnRecord, reply: Option<&str>, end: End) {
    assert_eq!((record.got, record.reply.as_deref(), record.end), (Got::Exactly, reply, Some(end)));
}

#[test]
fn claude_says_who_stopped_it_and_why_it_failed() {
    let half = r#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"half"}],"stop_reason":null}}"#;
    let stopped = r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user]"}]},"rowSource":"harness"}"#;
    ends(claude(&[half, stopped]), Some("half"), End::Interrupted);
    let call = r#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"tool_use","name":"Bash","input":{"command":"true"}}]}}"#;
    let rejected = r#"{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":"The user doesn't want to proceed with this tool use.","is_error":true}]}}"#;
    let refused = r#"{"type":"user","message":{"role":"user","content":[{"type":"text","text":"[Request interrupted by user for tool use]"}]},"rowSource":"harness"}"#;
    ends(claude(&[call, rejected, refused]), None, End::Interrupted);
    // With words of the user's own it goes on.
    let other =
        r#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"then so"}]}}"#;
    let record = claude(&[call, rejected, other]);
    assert_eq!((record.reply.as_deref(), record.end), (Some("then so"), None));
    let words = "API Error: Request rejected (429) · You exceeded your current quota.";
    let limit = format!(
        r#"{{"type":"assistant","message":{{"role":"assistant","model":"<synthetic>","content":[{{"type":"text","text":"{words}"}}]}},"error":"rate_limit","isApiErrorMessage":true}}"#
    );
    ends(claude(&[&limit]), None, End::Fault(words.into()));
}

#[test]
fn codex_says_it_by_events() {
    let of = |rows: &[&str]| {
        let meta = format!(
            r#"{{"type":"session_meta","payload":{{"id":"{ID}","cwd":"/home/dev/proj","source":"cli","thread_source":"user"}}}}"#
        );
        let user = r#"{"type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"go"}]}}"#;
        let rows: Vec<&str> = [meta.as_str(), user].into_iter().chain(rows.iter().copied()).collect();
        record(
            "codex",
            &format!(".codex/sessions/2026/11/29/rollout-2026-11-29T22-00-00-{ID}.jsonl"),
            &rows,
            "go",
        )
    };
    let told = r#"{"type":"response_item","payload":{"type":"message","role":"user","content":[{"type":"input_text","text":"<turn_aborted>\nThe user interrupted the previous turn on purpose.\n</turn_aborted>"}]}}"#;
    let aborted =
        r#"{"type":"event_msg","payload":{"type":"turn_aborted","reason":"interrupted","duration_ms":3094}}"#;
    ends(of(&[told, aborted]), None, End::Interrupted);
    let limit = r#"{"type":"event_msg","payload":{"type":"task_complete","last_agent_message":null,"error":{"message":"You’ve hit your usage limit. Try again later.","codex_error_info":"usage_limit_exceeded"}}}"#;
    ends(of(&[limit]), None, End::Fault("You’ve hit your usage limit. Try again later.".into()));
    let answer = r#"{"type":"response_item","payload":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"done"}]}}"#;
    let complete = r#"{"type":"event_msg","payload":{"type":"task_complete","last_agent_message":"done"}}"#;
    let record = of(&[answer, complete]);
    assert_eq!((record.reply.as_deref(), record.end), (Some("done"), None));
}

#[test]
fn gemini_says_it_in_a_row_of_its_own_and_repeats_old_answers_after_it() {
    let of = |rows: &[&str]| {
        let head = format!(
            r#"{{"sessionId":"{ID}","projectHash":"x","startTime":"2026-11-29T22:00:00.000Z","kind":"main"}}"#
        );
        let all = [
            head.as_str(),
            r#"{"id":"a","type":"user","content":[{"text":"first"}]}"#,
            r#"{"id":"b","type":"gemini","content":"hi","thoughts":[],"tokens":{"input":42,"output":12}}"#,
            r#"{"id":"c","type":"user","content":[{"text":"go"}]}"#,
        ];
        let rows: Vec<&str> = all.into_iter().chain(rows.iter().copied()).collect();
        record("gemini", ".gemini/tmp/proj/chats/session-2026-11-29T22-00-11111111.jsonl", &rows, "go")
    };
    let call = r#"{"id":"d","type":"gemini","content":"","tokens":{"input":42},"toolCalls":[{"name":"run_shell_command","args":{"command":"true"},"status":"cancelled"}]}"#;
    let stopped = r#"{"id":"e","type":"info","content":"Request cancelled."}"#;
    let context =
        r#"{"id":"f","type":"user","content":[{"text":"<session_context>\nThis is the Gemini CLI."}]}"#;
    let again = r#"{"id":"g","type":"gemini","content":[{"text":"hi"}],"thoughts":[],"tokens":null}"#;
    ends(of(&[call, stopped, context, again]), None, End::Interrupted);
    ends(of(&[stopped]), None, End::Interrupted);
    let error = r#"{"id":"h","type":"error","content":"[API Error: {\"error\":{\"code\":401}}]"}"#;
    let hint = r#"{"id":"i","type":"info","content":"This request failed. Press F12 for diagnostics."}"#;
    ends(of(&[error, hint]), None, End::Fault("[API Error: {\"error\":{\"code\":401}}]".into()));
}

#[test]
fn qwen_says_what_was_refused() {
    let user = format!(
        r#"{{"type":"user","provenance":"real_user","message":{{"role":"user","parts":[{{"text":"go"}}]}},"sessionId":"{ID}","cwd":"/home/dev/proj","timestamp":"2026-11-29T22:00:00.000Z"}}"#
    );
    let result = r#"{"type":"tool_result","message":{"role":"user","parts":[{"functionResponse":{"name":"run_shell_command","response":{"error":"[Operation Cancelled] Reason: User did not allow tool call"}}}]},"toolCallResult":{"status":"cancelled"}}"#;
    let file = format!(".qwen/projects/-home-dev-proj/chats/{ID}.jsonl");
    ends(record("qwen", &file, &[&user, result], "go"), None, End::Interrupted);
}

#[test]
fn copilot_says_that_it_was_stopped_and_what_failed() {
    let of = |rows: &[&str]| {
        let start = format!(
            r#"{{"type":"session.start","data":{{"sessionId":"{ID}","context":{{"cwd":"/home/dev/proj"}}}},"timestamp":"2026-11-29T22:00:00.000Z"}}"#
        );
        let user = r#"{"type":"user.message","data":{"content":"go"}}"#;
        let rows: Vec<&str> = [start.as_str(), user].into_iter().chain(rows.iter().copied()).collect();
        record("copilot", &format!(".copilot/session-state/{ID}/events.jsonl"), &rows, "go")
    };
    ends(of(&[r#"{"type":"abort","data":{"reason":"user_abort"}}"#]), None, End::Interrupted);
    let error = r#"{"type":"session.error","data":{"errorType":"rate_limit","message":"429 You exceeded your current quota.","statusCode":429}}"#;
    ends(of(&[error]), None, End::Fault("429 You exceeded your current quota.".into()));
}

#[test]
fn opencode_says_it_in_its_messages_and_parts() {
    let of = |data: &str, part: &str| {
        let place = Place::empty();
        let db = place
            .database(".local/share/opencode/opencode.db", &text(&fixtures().join("opencode/schema.sql")));
        let columns = |table: &str, given: &[(&str, &str)]| {
            let mut names = db.prepare(&format!("PRAGMA table_info({table})")).unwrap();
            let rows = names.query_map([], |r| Ok((r.get::<_, String>(1)?, r.get::<_, i64>(3)?))).unwrap();
            // What the table wants and the test does not care for is 1.
            let all: Vec<(String, String)> = rows
                .flatten()
                .filter_map(|(name, must)| match given.iter().find(|(n, _)| *n == name) {
                    Some((_, value)) => Some((name, (*value).to_owned())),
                    None => (must == 1).then(|| (name, "1".to_owned())),
                })
                .collect();
            let (names, values): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let marks = vec!["?"; names.len()].join(",");
            let sql = format!("INSERT INTO {table} ({}) VALUES ({marks})", names.join(","));
            db.execute(&sql, rusqlite::params_from_iter(values)).unwrap();
        };
        columns(
            "session",
            &[("id", "ses_1"), ("directory", "/home/dev/proj"), ("time_updated", "1795990318697")],
        );
        let message = |id: &str, at: &str, data: &str, part: &str| {
            columns("message", &[("id", id), ("session_id", "ses_1"), ("time_created", at), ("data", data)]);
            let of = format!("prt_{id}");
            columns("part", &[("id", &of), ("message_id", id), ("session_id", "ses_1"), ("data", part)]);
        };
        message("msg_1", "1795990318697", r#"{"role":"user"}"#, r#"{"type":"text","text":"go"}"#);
        message("msg_2", "1795990318782", data, part);
        let found = place.found("opencode", None);
        turn(&place.entries(&found[0]), "go")
    };
    let aborted = r#"{"role":"assistant","time":{"completed":1795990336581},"error":{"name":"MessageAbortedError","data":{"message":"Aborted"}}}"#;
    ends(of(aborted, r#"{"type":"text","text":"half"}"#), Some("half"), End::Interrupted);
    let calls = r#"{"role":"assistant","time":{"completed":1795990340166},"finish":"tool-calls"}"#;
    let refused = r#"{"type":"tool","tool":"bash","state":{"status":"error","input":{"command":"true"},"error":"The user rejected permission to use this specific tool call."}}"#;
    ends(of(calls, refused), None, End::Interrupted);
    let failed = r#"{"role":"assistant","time":{"completed":1},"error":{"name":"APIError","data":{"message":"Unauthorized"}}}"#;
    ends(of(failed, r#"{"type":"step-start"}"#), None, End::Fault("Unauthorized".into()));
}
