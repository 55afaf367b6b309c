//! How a turn ended, from all that is known of it. Pure.
//!
//! Knows what was seen at the pane, what the agent's own record says and what its hook said. Must
//! not know how any of that was found.

use super::turn::Stage;
use muxfs_agent::history::{End, Got, TurnRecord, difference};
use muxfs_agent::manifest::Reason;
use muxfs_agent::rules::Said;

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

impl Found {
    /// The agent keeps records, and they have neither an answer to the prompt nor an end of its turn:
    /// of a slow machine the prompt may not be there yet.
    pub fn is_open(&self) -> bool {
        let open = |r: &TurnRecord| r.reply.is_none() && r.end.is_none();
        self.told.is_none() && self.keeps_records && self.record.as_ref().is_none_or(open)
    }

    /// The answer as the agent itself gave it, by its record or its hook.
    fn given(&self) -> Option<&str> {
        let recorded = self.record.as_ref().and_then(|r| r.reply.as_deref());
        recorded.or(self.told.as_deref().filter(|_| !self.told_fault))
    }

    /// What counts as the answer: screen text only where the agent keeps no records.
    fn reply(&self) -> Option<&str> {
        self.given().or(self.screen.as_deref().filter(|_| !self.keeps_records))
    }

    /// The agent's notice that it could not work, where an answer should be.
    fn notice_for_answer(&self, is_notice: impl Fn(&str) -> bool) -> Option<&str> {
        match self.reply() {
            None => self.told.as_deref().filter(|_| self.told_fault),
            Some(reply) => Some(reply).filter(|reply| is_notice(reply)),
        }
    }
}

/// The last word about a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub stage: Stage,
    pub why: Option<String>,
    pub reply: Option<String>,
    /// What is to stand in `errors`, though the turn is done.
    pub trouble: Option<String>,
    /// The agent's own words in the place of an answer.
    pub notice: Option<String>,
    /// An answer that the agent itself told, or of which nothing more can be known.
    pub answered: bool,
}

/// What a limit is, for people.
pub(super) fn reason_text(reason: Reason) -> &'static str {
    match reason {
        Reason::Usage => "a usage limit was reached",
        Reason::Login => "the agent is not logged in",
        Reason::Model => "the model is not known to the service, or not allowed",
        Reason::Network => "the service could not be reached",
    }
}

/// `prompt` is what was sent, `notice` says of a text whether it is one of the agent's own notices
/// that it could not work.
///
/// What was seen at the pane decides where it is more than an end (a time limit, a lost pane). Then
/// the agent's own word counts: a fault or an interrupt in its record, a notice where the answer
/// should be. Then what the screen shows, and last whether the agent got the prompt.
pub(super) fn outcome(
    ended: Ended,
    found: Found,
    prompt: &str,
    notice: &dyn Fn(&str) -> Option<Said>,
) -> Outcome {
    let reply = found.reply().map(str::to_owned);
    let answered = found.given().is_some() || !found.keeps_records;
    let end = |stage, why: Option<String>| Outcome {
        stage,
        why,
        reply: reply.clone(),
        trouble: None,
        notice: None,
        answered: answered && stage == Stage::Done,
    };
    let stopped = || end(Stage::Interrupted, Some("it was stopped at the agent".into()));
    let fault = |words: &str| {
        let (stage, what) = match notice(words).and_then(|said| said.reason) {
            Some(reason) => (Stage::Limited, reason_text(reason)),
            None => (Stage::Failed, "the agent answered with an error"),
        };
        let why = format!("{what}: {}", one_line(words));
        Outcome { notice: Some(words.to_owned()), ..end(stage, Some(why)) }
    };
    if !matches!(ended.stage, Stage::Done | Stage::Limited) {
        return end(ended.stage, ended.why);
    }
    match found.record.as_ref().and_then(|r| r.end.as_ref()) {
        Some(End::Fault(words)) => return fault(words),
        Some(End::Interrupted) => return stopped(),
        None => {}
    }
    if let Some(words) = found.notice_for_answer(|text| notice(text).is_some()) {
        return Outcome { reply: None, ..fault(words) };
    }
    if ended.stage == Stage::Limited {
        return end(Stage::Limited, ended.why);
    }
    if found.shows_stop {
        return stopped();
    }
    let (stage, why) = received(&found, prompt);
    let differs = matches!(found.record, Some(TurnRecord { got: Got::Differently(_), .. }));
    Outcome { trouble: why.clone().filter(|_| differs), ..end(stage, why) }
}

/// Whether the agent got the prompt and answered it, where nothing else is known against it: how the
/// turn ended, and what is odd about it.
fn received(found: &Found, prompt: &str) -> (Stage, Option<String>) {
    let answered = found.reply().is_some();
    let odd = |stage, why: &str| (stage, Some(why.to_owned()));
    match found.record.as_ref().map(|r| &r.got) {
        Some(Got::Exactly) if !answered => odd(Stage::Done, "no answer was found in the agent's own record"),
        Some(Got::Exactly) => (Stage::Done, None),
        Some(Got::Differently(got)) => {
            odd(Stage::Done, &format!("the agent got another text: {}", difference(prompt, got)))
        }
        // A command to the agent itself is no part of its conversation.
        _ if is_command(prompt) && !answered && found.keeps_records => {
            odd(Stage::Done, "a command: the agent's own record has no answer to it")
        }
        _ if is_command(prompt) => (Stage::Done, None),
        Some(Got::NotFound) => odd(Stage::Uncertain, "the agent's own record does not have this prompt"),
        None if found.keeps_records && !found.worked => {
            let why = "the agent was not seen to work on it, and no record of it was found";
            odd(Stage::Uncertain, why)
        }
        None if found.keeps_records && !answered => {
            odd(Stage::Done, "no record of the agent's was found in which the answer stands")
        }
        None => (Stage::Done, None),
    }
}

/// The agent's own words, on one line of a bounded length.
fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
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

    fn notice(text: &str) -> Option<Said> {
        let reason = if text.starts_with("You've hit") { Some(Reason::Usage) } else { None };
        (reason.is_some() || text.starts_with("API Error")).then_some(Said { reason, until: None })
    }

    #[test]
    fn a_notice_in_the_place_of_an_answer_is_no_answer() {
        let words = "You've hit your limit";
        let record = recorded(Got::Exactly, None, Some(End::Fault(words.into())));
        let reply = recorded(Got::Exactly, Some(words), None);
        let hook =
            Found { told: Some(words.into()), told_fault: true, keeps_records: true, ..Found::default() };
        for found in [record.clone(), reply, hook] {
            let o = outcome(done(), found, "go on", &notice);
            assert_eq!(
                (o.stage, o.reply.as_deref(), o.notice.as_deref()),
                (Stage::Limited, None, Some(words))
            );
            assert_eq!(o.why.unwrap(), "a usage limit was reached: You've hit your limit");
        }
        let o = outcome(done(), recorded(Got::Exactly, Some("API Error: 400"), None), "go on", &notice);
        assert_eq!((o.stage, o.answered), (Stage::Failed, false));
        let quoted = recorded(Got::Exactly, Some("It says: You've hit your limit"), None);
        let o = outcome(done(), quoted, "go on", &notice);
        assert!(o.stage == Stage::Done && o.answered && o.notice.is_none());
        // Seen on the screen alone.
        let ended = Ended { stage: Stage::Limited, why: Some("x".into()) };
        let o = outcome(ended, Found::default(), "go on", &notice);
        assert_eq!((o.stage, o.why.as_deref(), o.notice), (Stage::Limited, Some("x"), None));
    }

    fn of(found: Found) -> (Stage, String, String) {
        let o = outcome(done(), found, "go on", &notice);
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
            (Stage::Failed, "the agent answered with an error: API Error: 500")
        );
        let (stage, why, _) = of(recorded(Got::NotFound, None, None));
        assert!(stage == Stage::Uncertain && why.contains("does not have this prompt"), "{why}");
        let found = recorded(Got::Differently("draft go on".into()), Some("yes"), None);
        let o = outcome(done(), found, "go on", &notice);
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
        let o = outcome(ended, found, "go on", &notice);
        assert_eq!((o.stage, o.why.as_deref()), (Stage::TimedOut, Some("it lasted 5 s")));
    }

    #[test]
    fn a_command_is_no_prompt_that_was_lost() {
        assert!(is_command("/compact") && is_command("/review the parser") && is_command("/etc what is it"));
        assert!(!is_command("/etc/passwd has what?") && !is_command("/a\nb") && !is_command("/ x"));
        let o = outcome(done(), recorded(Got::NotFound, None, None), "/compact", &notice);
        assert!(o.stage == Stage::Done && o.why.unwrap().contains("a command"));
    }
}
