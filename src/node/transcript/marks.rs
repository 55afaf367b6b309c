//! What a pane's bytes say besides text: prompts, states, modes, titles.
//!
//! Pure: the parts of an OSC in, a mark out.

/// Something the program said in its stream that others act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// OSC 133;A: a shell's prompt begins.
    Prompt,
    /// OSC 133;B: the prompt ends, the user types.
    Command,
    /// OSC 133;C: the command runs.
    Output,
    /// OSC 133;D: the command ended, with its exit code where the shell reports it.
    Done(Option<i32>),
    /// OSC 7501: the payload, such as `state=busy`.
    State(String),
    /// The alternate screen was entered or left.
    FullScreen(bool),
    /// Mode 2004 was turned on or off.
    BracketedPaste(bool),
    /// OSC 0, OSC 2 or `ESC k`.
    Title(String),
    Bell,
}

/// The mark an OSC stands for, if it is one of ours.
pub(super) fn osc(params: &[&[u8]]) -> Option<Mark> {
    let joined = || {
        let rest = params.get(1..).unwrap_or_default().join(&b';');
        String::from_utf8_lossy(&rest).chars().filter(|c| !c.is_control()).collect::<String>()
    };
    match *params.first()? {
        b"0" | b"2" => Some(Mark::Title(joined())),
        b"7501" => Some(Mark::State(joined())),
        b"133" => match params.get(1)?.first()? {
            b'A' => Some(Mark::Prompt),
            b'B' => Some(Mark::Command),
            b'C' => Some(Mark::Output),
            b'D' => Some(Mark::Done(
                params.get(2).and_then(|p| std::str::from_utf8(p).ok()).and_then(|p| p.parse().ok()),
            )),
            _ => None,
        },
        _ => None,
    }
}
