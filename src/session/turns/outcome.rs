//! How a turn ended, from all that is known of it. Pure.
//!
//! Knows what was seen at the pane, what the agent's own record says and what its hook said. Must
//! not know how any of that was found.

use super::turn::Stage;
use crate::agent::history::{End, Got, TurnRecord, difference};

/// What was seen at the pane when the turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub stage: Stage,
    pub why: Option<String>,
}

/// What is known of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What the agent's own record says of this turn.
    pub record: Option<TurnRecord>,
    /// There are records of this agent that can be read; whether of this turn `record` says.
    pub keeps_records: bool,
    /// The answer as the agent's hook told it.
    pub told: Option<String>,
    /// What the agent's hook told is an error in the place of an answer.
    pub told_fault: bool,
    /// What the screen gained: for agents without records alone.
    pub screen: Option<String>,
    /// The agent was seen at work, or said that it was, after the prompt went in.
    pub worked: bool,
    /// The screen says below the turn that it was stopped.
    pub shows_stop: bool,
}

/// The last word about a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub stage: Stage,
    pub why: Option<String>,
    pub reply: Option<String>,
    /// What is to stand in `errors`, though the turn is done.
    pub trouble: Option<String>,
}

/// `prompt` is what was sent.
pub(super) fn outcome(ended: Ended, found: Found, prompt: &str) -> Outcome {
    let record = found.record.as_ref();
    let recorded = record.and_then(|r| r.reply.clone());
    let hook = found.told.clone().filter(|_| !found.told_fault);
    let reply = if found.keeps_records { recorded.or(hook) } else { hook.or(found.screen.clone()) };
    let end = |stage, why: Option<String>| Outcome { stage, why, reply: reply.clone(), trouble: None };
    match ended.stage {
        Stage::Done => {}
        Stage::Interrupted => return end(Stage::Interrupted, ended.why),
        stage => return end(stage, ended.why),
    }
    let fault = record.and_then(|r| r.end.clone());
    match fault {
        Some(End::Interrupted) => return end(Stage::Interrupted, Some("it was stopped at the agent".into())),
        Some(End::Fault(words)) => return end(Stage::Failed, Some(said(&words))),
        None => {}
    }
    if let Some(words) = found.told.as_deref().filter(|_| found.told_fault && reply.is_none()) {
        return end(Stage::Failed, Some(said(words)));
    }
    if found.shows_stop {
        return end(Stage::Interrupted, Some("it was stopped at the agent".into()));
    }
    match record.map(|r| &r.got) {
        Some(Got::Exactly) if reply.is_none() => {
            end(Stage::Done, Some("no answer was found in the agent's own record".into()))
        }
        Some(Got::Exactly) => end(Stage::Done, None),
        Some(Got::Differently(got)) => {
            let why = format!("the agent got another text: {}", difference(prompt, got));
            Outcome { trouble: Some(why.clone()), ..end(Stage::Done, Some(why)) }
        }
        // A command to the agent itself is no part of its conversation.
        _ if is_command(prompt) && reply.is_none() && found.keeps_records => {
            end(Stage::Done, Some("a command: the agent's own record has no answer to it".into()))
        }
        _ if is_command(prompt) => end(Stage::Done, None),
        Some(Got::NotFound) => {
            end(Stage::Uncertain, Some("the agent's own record does not have this prompt".into()))
        }
        None if found.keeps_records && !found.worked => {
            let why = "the agent was not seen to work on it, and no record of it was found";
            end(Stage::Uncertain, Some(why.into()))
        }
        None if found.keeps_records && reply.is_none() => {
            end(Stage::Done, Some("no record of the agent's was found in which the answer stands".into()))
        }
        None => end(Stage::Done, None),
    }
}

/// The agent's own words, on one line of a bounded length.
fn said(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = line.chars().take(300).collect();
    format!("the agent said instead of an answer: {short}")
}

/// Whether a text looks like a command to the agent: one line whose first word is `/name`.
pub(super) fn is_command(prompt: &str) -> bool {
    let first = prompt.split_whitespace().next().unwrap_or_default();
    let name = first.strip_prefix('/').unwrap_or_default();
    !name.is_empty() && !name.contains('/') && !prompt.trim_end().contains('\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Ended {
        Ended { stage: Stage::Done, why: None }
    }

    fn recorded(got: Got, reply: Option<&str>, end: Option<End>) -> Found {
        let record = TurnRecord { got, reply: reply.map(str::to_owned), end };
        Found { record: Some(record), keeps_records: true, worked: true, ..Found::default() }
    }

    fn of(found: Found) -> (Stage, String, String) {
        let o = outcome(done(), found, "go on");
        (o.stage, o.why.unwrap_or_default(), o.reply.unwrap_or_default())
    }

    #[test]
    fn the_record_decides_how_a_turn_ended() {
        let (stage, why, reply) = of(recorded(Got::Exactly, Some("yes"), None));
        assert_eq!((stage, why.as_str(), reply.as_str()), (Stage::Done, "", "yes"));
        let (stage, _, reply) = of(recorded(Got::Exactly, Some("half"), Some(End::Interrupted)));
        assert_eq!((stage, reply.as_str()), (Stage::Interrupted, "half"));
        let fault = End::Fault("API Error:\n 500".into());
        let (stage, why, _) = of(recorded(Got::Exactly, None, Some(fault)));
        assert_eq!(
            (stage, why.as_str()),
            (Stage::Failed, "the agent said instead of an answer: API Error: 500")
        );
        let (stage, why, _) = of(recorded(Got::NotFound, None, None));
        assert!(stage == Stage::Uncertain && why.contains("does not have this prompt"), "{why}");
        let found = recorded(Got::Differently("draft go on".into()), Some("yes"), None);
        let o = outcome(done(), found, "go on");
        assert!(o.stage == Stage::Done && o.trouble == o.why && o.why.unwrap().contains("\"draft go on\""));
    }

    #[test]
    fn the_screen_is_no_answer_of_an_agent_that_keeps_records() {
        let screen = Some("rows".to_owned());
        let (stage, why, reply) = of(Found { screen: screen.clone(), ..recorded(Got::Exactly, None, None) });
        assert!(stage == Stage::Done && reply.is_empty() && why.contains("no answer was found"), "{why}");
        let unread = Found { keeps_records: true, worked: true, screen: screen.clone(), ..Found::default() };
        let (stage, why, reply) = of(unread.clone());
        assert!(stage == Stage::Done && reply.is_empty() && why.contains("no record"), "{why}");
        let (_, why, reply) = of(Found { told: Some("by hook".into()), ..unread.clone() });
        assert_eq!((why.as_str(), reply.as_str()), ("", "by hook"));
        assert_eq!(of(Found { worked: false, ..unread }).0, Stage::Uncertain);
        let (stage, why, reply) = of(Found { screen, ..Found::default() });
        assert_eq!((stage, why.as_str(), reply.as_str()), (Stage::Done, "", "rows"));
    }

    #[test]
    fn what_a_hook_or_the_screen_says_counts_where_no_record_does() {
        let fault = Found { told: Some("No login".into()), told_fault: true, ..Found::default() };
        let (stage, why, reply) = of(fault);
        assert!(stage == Stage::Failed && why.contains("No login") && reply.is_empty());
        assert_eq!(of(Found { shows_stop: true, ..Found::default() }).0, Stage::Interrupted);
        let ended = Ended { stage: Stage::TimedOut, why: Some("it lasted 5 s".into()) };
        let found = recorded(Got::Exactly, Some("half"), Some(End::Interrupted));
        let o = outcome(ended, found, "go on");
        assert_eq!((o.stage, o.why.as_deref()), (Stage::TimedOut, Some("it lasted 5 s")));
    }

    #[test]
    fn a_command_is_no_prompt_that_was_lost() {
        assert!(is_command("/compact") && is_command("/review the parser") && is_command("/etc what is it"));
        assert!(!is_command("/etc/passwd has what?") && !is_command("/a\nb") && !is_command("/ x"));
        let o = outcome(done(), recorded(Got::NotFound, None, None), "/compact");
        assert!(o.stage == Stage::Done && o.why.unwrap().contains("a command"));
    }
}
