//! OSC 7501, by which a program says its state: `state=blocked:kind=permission`.
//!
//! Pure: the payload after `7501;` in, a value out. Any program can print it, so it is evidence
//! of its own pane alone.

/// What it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Idle,
    Working,
    /// Idle, and something has been finished.
    Done,
    Blocked(Kind),
    Error,
    /// The state that was reported before no longer holds.
    Clear,
}

/// What it is blocked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Permission,
    Question,
    Auth,
    /// It does not say.
    Other,
}

/// None where it says no state, such as the question `?` whether a terminal knows the sequence.
/// Unknown keys are passed over; of a key that comes twice the last counts.
pub fn parse(payload: &str) -> Option<Said> {
    let (mut state, mut kind) = (None, Kind::Other);
    for field in payload.split(':') {
        match field.split_once('=') {
            Some(("state", word)) => state = Some(word),
            Some(("kind", word)) => {
                kind = match word {
                    "permission" => Kind::Permission,
                    "question" => Kind::Question,
                    "auth" => Kind::Auth,
                    _ => Kind::Other,
                }
            }
            _ => {}
        }
    }
    match state? {
        "idle" => Some(Said::Idle),
        "working" => Some(Said::Working),
        "done" => Some(Said::Done),
        "blocked" => Some(Said::Blocked(kind)),
        "error" => Some(Said::Error),
        "clear" => Some(Said::Clear),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_known() {
        for (payload, said) in [
            ("state=idle", Some(Said::Idle)),
            ("state=working:progress=40:app=codex", Some(Said::Working)),
            ("state=done:id=7", Some(Said::Done)),
            ("state=blocked:id=a:kind=permission", Some(Said::Blocked(Kind::Permission))),
            ("kind=question:state=blocked", Some(Said::Blocked(Kind::Question))),
            ("state=blocked:kind=auth:title=c3RhdGU9aWRsZQ==", Some(Said::Blocked(Kind::Auth))),
            ("state=blocked", Some(Said::Blocked(Kind::Other))),
            ("state=blocked:kind=mood", Some(Said::Blocked(Kind::Other))),
            ("state=error", Some(Said::Error)),
            ("state=clear", Some(Said::Clear)),
            ("state=idle:state=working", Some(Said::Working)),
            ("?", None),
            ("", None),
            ("state", None),
            ("state=", None),
            ("state=Idle", None),
            ("state=idle;state=done", None),
            ("msg=state=idle", None),
        ] {
            assert_eq!(parse(payload), said, "{payload}");
        }
    }
}
