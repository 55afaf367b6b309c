//! What an agent's own record says of one turn: the prompt that it got, its answer, its end.
//!
//! Pure. Knows entries and the text that was sent; must not know which agent wrote them, nor how
//! the prompt was put in.

use super::{Entry, Who};

/// Whether the record has the prompt that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// As it was sent. Blanks at its ends are no difference: every agent cuts them.
    Exactly,
    /// Another text in its place, which is given.
    Differently(String),
    NotFound,
}

/// How the record says that a turn ended, where it was not with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The user stopped it.
    Interrupted,
    /// The program's own words for why there is no answer.
    Fault(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnRecord {
    pub got: Got,
    /// What the agent said to it, without tools. None: nothing yet.
    pub reply: Option<String>,
    /// The last word of the turn, where that is no answer.
    pub end: Option<End>,
}

/// What `entries`, those since the prompt was sent, say of it. Where nothing tells the prompt, all
/// that was said counts as the answer: a mark may stand after the prompt.
pub fn turn(entries: &[Entry], prompt: &str) -> TurnRecord {
    let (at, got) = find(entries, prompt);
    let from = at.map_or(0, |at| at + 1);
    // A stopped turn is over at the next prompt. One that goes on may take more prompts in.
    let next = entries[from..].iter().position(|e| e.who == Who::User).map_or(entries.len(), |n| from + n);
    let stop = last_word(&entries[from..next]).filter(|e| e.who != Who::Agent);
    let rest = if stop.is_some() { &entries[from..next] } else { &entries[from..] };
    let said = rest.iter().filter(|e| e.who == Who::Agent);
    let said: Vec<&str> = said.map(|e| e.text.trim_matches('\n').trim_end()).collect();
    let end = last_word(rest).and_then(|e| match e.who {
        Who::Interrupt => Some(End::Interrupted),
        Who::Fault => Some(End::Fault(e.text.trim().to_owned())),
        _ => None,
    });
    TurnRecord { got, reply: (!said.is_empty()).then(|| said.join("\n\n")), end }
}

/// The last entry that may be the end of a turn.
fn last_word(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().rev().find(|e| matches!(e.who, Who::Agent | Who::Interrupt | Who::Fault))
}

/// Where the prompt stands: the last entry that is it, else the last one that was made of it.
fn find(entries: &[Entry], prompt: &str) -> (Option<usize>, Got) {
    let users = || entries.iter().enumerate().rev().filter(|(_, e)| e.who == Who::User);
    if let Some((at, _)) = users().find(|(_, e)| e.text.trim() == prompt.trim()) {
        return (Some(at), Got::Exactly);
    }
    match users().find(|(_, e)| is_made_of(&e.text, prompt)) {
        Some((at, e)) => (Some(at), Got::Differently(e.text.trim().to_owned())),
        None => (None, Got::NotFound),
    }
}

/// Whether `text` may be what became of `prompt`: one holds the other, or half of the words at the
/// beginning or the end are the same.
fn is_made_of(text: &str, prompt: &str) -> bool {
    let (text, prompt): (Vec<&str>, Vec<&str>) =
        (text.split_whitespace().collect(), prompt.split_whitespace().collect());
    let same = |a: &mut dyn Iterator<Item = &&str>, b: &mut dyn Iterator<Item = &&str>| {
        a.zip(b).take_while(|(a, b)| a == b).count()
    };
    let begin = same(&mut text.iter(), &mut prompt.iter());
    let end = same(&mut text.iter().rev(), &mut prompt.iter().rev());
    let holds = |whole: &[&str], part: &[&str]| whole.join(" ").contains(&part.join(" "));
    let half = prompt.len().div_ceil(2).max(1);
    !text.is_empty() && (begin >= half || end >= half || holds(&text, &prompt) || holds(&prompt, &text))
}

/// The first difference of two texts, for people: what was sent there, and what was got.
pub fn difference(sent: &str, got: &str) -> String {
    let (sent, got) = (sent.trim(), got.trim());
    let same = sent.char_indices().zip(got.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    let at = same.unwrap_or(sent.len().min(got.len()));
    let show = |text: &str| -> String {
        let begin = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        let begin = text[..begin].char_indices().rev().nth(9).map_or(0, |(i, _)| i);
        text[begin..].chars().take(40).collect()
    };
    format!("{:?} was sent, {:?} arrived", show(sent), show(got))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(all: &[(Who, &str)]) -> Vec<Entry> {
        all.iter().map(|(who, text)| Entry::new(*who, text, None).unwrap()).collect()
    }

    use Who::{Agent, Fault, Interrupt, Note, Tool, User};

    #[test]
    fn the_record_tells_what_the_agent_got() {
        let got = |all: &[&str], prompt| {
            let all: Vec<_> = all.iter().map(|text| (User, *text)).collect();
            turn(&entries(&all), prompt).got
        };
        assert_eq!(got(&["old", "do it \n"], " do it"), Got::Exactly);
        assert_eq!(got(&["/tmp/x is here"], "/tmp/x is here"), Got::Exactly);
        assert_eq!(got(&[], "do it"), Got::NotFound);
        assert_eq!(got(&["what a person typed"], "do it now"), Got::NotFound);
        for (text, prompt) in [
            ("my draft do it now", "do it now"),
            ("do it no", "do it now"),
            ("ear", "/clear"),
            ("do it\tnow and then", "do it now and then"),
            ("it now", "do it now"),
        ] {
            assert_eq!(got(&[text, "and another one"], prompt), Got::Differently(text.into()), "{text}");
        }
        assert_eq!(got(&["do it now then", "do it now"], "do it now"), Got::Exactly, "an exact one wins");
    }

    #[test]
    fn the_last_word_says_how_a_turn_ended() {
        let of = |all: &[(Who, &str)]| {
            let t = turn(&entries(all), "go");
            (t.reply, t.end)
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(of(&[(User, "go")]), (None, None));
        let steps = [(User, "go"), (Agent, "I look."), (Tool, "ls"), (Agent, "done")];
        assert_eq!(of(&steps), (said("I look.\n\ndone"), None));
        let stopped = [(User, "go"), (Agent, "half"), (Interrupt, "stopped")];
        assert_eq!(of(&stopped), (said("half"), Some(End::Interrupted)));
        let denied = [(User, "go"), (Tool, "ls"), (Tool, "rejected"), (Interrupt, "stopped"), (Note, "x")];
        assert_eq!(of(&denied), (None, Some(End::Interrupted)));
        let limit = [(User, "go"), (Fault, "You've hit your limit")];
        assert_eq!(of(&limit), (None, Some(End::Fault("You've hit your limit".into()))));
        let again = [(User, "go"), (Fault, "Overloaded"), (Agent, "done")];
        assert_eq!(of(&again), (said("done"), None), "it was tried again");
    }

    #[test]
    fn what_others_say_later_is_no_part_of_a_stopped_turn() {
        let all = entries(&[
            (User, "go"),
            (Agent, "half"),
            (Interrupt, "stopped"),
            (User, "by hand"),
            (Agent, "theirs"),
        ]);
        let t = turn(&all, "go");
        assert_eq!((t.reply.as_deref(), t.end), (Some("half"), Some(End::Interrupted)));
        // One that went into the running turn is answered with it.
        let all = entries(&[(User, "go"), (Agent, "half"), (User, "and that"), (Agent, "both")]);
        let t = turn(&all, "go");
        assert_eq!((t.reply.as_deref(), t.end), (Some("half\n\nboth"), None));
    }

    #[test]
    fn a_difference_is_shown_where_it_begins() {
        let told = difference("explain the first line of it \\", "explain the first line of it");
        assert_eq!(told, "\"line of it \\\\\" was sent, \"line of it\" arrived");
        assert_eq!(difference("ä/clear", "äear"), "\"ä/clear\" was sent, \"äear\" arrived");
        assert_eq!(difference("", "x"), "\"\" was sent, \"x\" arrived");
    }
}
