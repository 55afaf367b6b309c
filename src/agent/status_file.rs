//! The file in which Claude Code says what it does: `~/.claude/sessions/<pid>.json` (2.1.329).
//!
//! Pure. Must not know where the file is nor whether its process lives: it stays behind after a crash.

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFile {
    pub pid: u32,
    /// The conversation's id.
    pub conversation: String,
    pub state: Seen,
    /// Ms since 1970 when the state was written.
    pub since: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Idle,
    Busy,
    /// For an answer: `permission prompt`.
    Waiting(String),
    /// A word that is not known here says nothing.
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    pid: u32,
    session_id: String,
    /// Not there at first, nor in older versions.
    #[serde(default)]
    status: String,
    #[serde(default)]
    waiting_for: Option<String>,
    #[serde(default)]
    status_updated_at: Option<u64>,
}

/// None where it is no such file, such as one half written.
pub fn parse(text: &str) -> Option<StatusFile> {
    let raw: Raw = serde_json::from_str(text).ok()?;
    let state = match raw.status.as_str() {
        "idle" => Seen::Idle,
        "busy" => Seen::Busy,
        "waiting" => Seen::Waiting(raw.waiting_for.unwrap_or_default()),
        _ => Seen::Unknown,
    };
    Some(StatusFile { pid: raw.pid, conversation: raw.session_id, state, since: raw.status_updated_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_known() {
        let file = |rest: &str| parse(&format!(r#"{{"pid":6532,"sessionId":"5ca7","cwd":"/p"{rest}}}"#));
        let state = |rest: &str| file(rest).unwrap().state;
        let idle = file(r#","status":"idle","updatedAt":2,"statusUpdatedAt":1795228443928"#).unwrap();
        let wanted = StatusFile {
            pid: 6532,
            conversation: "5ca7".into(),
            state: Seen::Idle,
            since: Some(1_795_228_443_928),
        };
        assert_eq!(idle, wanted);
        assert_eq!(state(r#","status":"busy""#), Seen::Busy);
        assert_eq!(
            state(r#","status":"waiting","waitingFor":"permission prompt""#),
            Seen::Waiting("permission prompt".into())
        );
        assert_eq!(state(r#","status":"waiting""#), Seen::Waiting(String::new()));
        assert_eq!(state(r#","status":"asleep""#), Seen::Unknown);
        assert_eq!(state(""), Seen::Unknown);
    }

    #[test]
    fn what_is_half_written_says_nothing() {
        let whole = r#"{"pid":6532,"sessionId":"5ca7","status":"idle"}"#;
        assert!(parse(whole).is_some());
        for n in 0..whole.len() {
            assert_eq!(parse(&whole[..n]), None, "{n}");
        }
        for bad in ["[]", "null", r#"{"pid":-1,"sessionId":"x"}"#, r#"{"pid":1,"sessionId":2}"#] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
