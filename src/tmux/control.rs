//! Parses what a control-mode client prints: bytes in, replies and notifications out.
//!
//! Pure. Knows the wire format of `tmux -C`; must not know which command a reply belongs to.
//!
//! A reply is `%begin T N F`, raw body lines, then `%end T N F` or `%error T N F` with the very
//! same three numbers. Bodies are not escaped: a pane that shows `%end 1 1 1` puts that line into
//! the body of a capture, so only the exact triple ends a reply. F's lowest bit is 1 for commands
//! we wrote, 0 for the attach itself and for what the user's hooks run in our name.

/// Largest body kept: above every capture we ask for. A longer one is dropped as it arrives and
/// its reply says so; the stream stays in step.
pub const MAX_BODY: usize = 64 << 20;
/// Longest notification kept. tmux's own longest is `%output` at 8 KiB, which we never ask for.
const MAX_LINE: usize = 1 << 20;

/// What the stream says, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Reply(Reply),
    Notice(Notice),
}

/// One `%begin` … `%end|%error` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// For a command we wrote (else: attach, hooks).
    pub ours: bool,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `%end`: the body, every line with its newline.
    Done(Vec<u8>),
    /// `%error`: what tmux says.
    Failed(String),
    /// The body was longer than [`MAX_BODY`]; its size.
    TooLarge(usize),
}

/// Notifications that reach a `no-output` client in a session of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A session was made or destroyed; tmux does not say which.
    SessionsChanged,
    SessionRenamed {
        id: String,
        name: String,
    },
    WindowAdd {
        window: String,
    },
    WindowClose {
        window: String,
    },
    WindowRenamed {
        window: String,
        name: String,
    },
    /// Another pane of the window became the active one.
    PaneChanged {
        window: String,
        pane: String,
    },
    /// The pane entered or left copy mode or the like.
    PaneMode {
        pane: String,
    },
    /// A client now shows another session. Attaching counts.
    ClientSession {
        client: String,
        session: String,
        name: String,
    },
    ClientDetached {
        client: String,
    },
    /// Our own client now shows this session: the attach is done.
    Attached {
        session: String,
        name: String,
    },
    /// A change was done after its caller had got `TimedOut`: tmux had
    /// come to it in time, and its answer was late. (Told by the connection, not by tmux.)
    Overdue,
    /// The server ended, or ended our client. Nothing follows.
    Exit {
        reason: Option<String>,
    },
    Other(String),
}

#[derive(Debug)]
struct Open {
    /// ` T N F`, as it must come again.
    triple: Vec<u8>,
    ours: bool,
    body: Vec<u8>,
    size: usize,
}

/// The parser's state between pieces.
#[derive(Debug)]
pub struct Parser {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    open: Option<Open>,
    max_body: usize,
    /// Bytes of the present line dropped for its length.
    skipped: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Parser::with_limit(MAX_BODY)
    }
}

impl Parser {
    pub fn with_limit(max_body: usize) -> Self {
        Parser { partial: Vec::new(), open: None, max_body, skipped: 0 }
    }

    /// Takes the next piece, however the stream was cut, and gives what is complete now.
    pub fn feed(&mut self, mut piece: &[u8], mut event: impl FnMut(Event)) {
        while let Some(end) = piece.iter().position(|&b| b == b'\n') {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            if self.partial.is_empty() && self.skipped == 0 {
                self.line(line, 0, &mut event);
            } else {
                self.keep(line);
                let whole = std::mem::take(&mut self.partial);
                let skipped = std::mem::take(&mut self.skipped);
                self.line(&whole, skipped, &mut event);
                self.partial = whole;
                self.partial.clear();
                self.partial.shrink_to(64 << 10);
            }
            piece = rest;
        }
        self.keep(piece);
    }

    /// Adds to the unfinished line, as far as its bound allows.
    fn keep(&mut self, piece: &[u8]) {
        let max = if self.open.is_some() { self.max_body + 1 } else { MAX_LINE };
        let room = max.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.extend_from_slice(&piece[..room]);
        self.skipped += piece.len() - room;
    }

    fn line(&mut self, line: &[u8], skipped: usize, event: &mut impl FnMut(Event)) {
        let Some(open) = &mut self.open else {
            // No notification that means something to us is this long.
            if skipped == 0 && line.len() <= MAX_LINE {
                match begin(line) {
                    Some(open) => self.open = Some(open),
                    None if line.is_empty() => {}
                    None => event(Event::Notice(notice(line))),
                }
            }
            return;
        };
        let failed = line.strip_prefix(b"%error").is_some_and(|rest| rest == open.triple);
        if !failed && line.strip_prefix(b"%end").is_none_or(|rest| rest != open.triple) {
            open.size += line.len() + skipped + 1;
            if open.size > self.max_body {
                open.body = Vec::new();
            } else {
                open.body.extend_from_slice(line);
                open.body.push(b'\n');
            }
            return;
        }
        let (ours, size, body) = (open.ours, open.size, std::mem::take(&mut open.body));
        self.open = None;
        let outcome = match (size > self.max_body, failed) {
            (true, _) => Outcome::TooLarge(size),
            (false, true) => Outcome::Failed(String::from_utf8_lossy(&body).trim_end().to_owned()),
            (false, false) => Outcome::Done(body),
        };
        event(Event::Reply(Reply { ours, outcome }));
    }
}

fn begin(line: &[u8]) -> Option<Open> {
    let triple = line.strip_prefix(b"%begin")?;
    let text = std::str::from_utf8(triple).ok()?.strip_prefix(' ')?;
    let mut numbers = text.split(' ').map(|n| n.parse::<u64>());
    let (Some(Ok(_)), Some(Ok(_)), Some(Ok(flags)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return None;
    };
    Some(Open { triple: triple.to_vec(), ours: flags & 1 == 1, body: Vec::new(), size: 0 })
}

fn notice(line: &[u8]) -> Notice {
    let text = String::from_utf8_lossy(line).into_owned();
    known(&text).unwrap_or(Notice::Other(text))
}

/// None for what we do not know or cannot read.
fn known(text: &str) -> Option<Notice> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    // The first field is an id without spaces; the last, a name, may hold some.
    let two = || rest.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
    Some(match word {
        "%sessions-changed" => Notice::SessionsChanged,
        "%session-renamed" => {
            let (id, name) = two()?;
            Notice::SessionRenamed { id, name }
        }
        "%window-add" | "%unlinked-window-add" => Notice::WindowAdd { window: rest.into() },
        "%window-close" | "%unlinked-window-close" => Notice::WindowClose { window: rest.into() },
        "%window-renamed" | "%unlinked-window-renamed" => {
            let (window, name) = two()?;
            Notice::WindowRenamed { window, name }
        }
        "%window-pane-changed" => {
            let (window, pane) = two()?;
            Notice::PaneChanged { window, pane }
        }
        "%pane-mode-changed" => Notice::PaneMode { pane: rest.into() },
        "%client-session-changed" => {
            // The client's name is a path (`/dev/pts/3`) or `client-PID`.
            let (client, more) = two()?;
            let (session, name) = more.split_once(' ')?;
            Notice::ClientSession { client, session: session.into(), name: name.into() }
        }
        "%session-changed" => {
            let (session, name) = two()?;
            Notice::Attached { session, name }
        }
        "%client-detached" => Notice::ClientDetached { client: rest.into() },
        "%exit" => Notice::Exit { reason: (!rest.is_empty()).then(|| rest.to_owned()) },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(parser: &mut Parser, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        parser.feed(bytes, |e| events.push(e));
        events
    }

    fn done(body: &str) -> Event {
        Event::Reply(Reply { ours: true, outcome: Outcome::Done(body.into()) })
    }

    const STREAM: &[u8] = b"%begin 1 260 0\n%end 1 260 0\n%sessions-changed\n\
        %begin 1 2 1\n%end 1 1 1\n%error 1 2 0\n%end 1 2 1 \n\n%exit\n%end 1 2 1\n\
        %session-renamed $1 a b\n%begin 1 3 1\ncan't find pane: %9\n%error 1 3 1\n\
        %client-session-changed /dev/pts/3 $0 _muxfs\n%begin x\n%exit\n";

    #[test]
    fn bodies_may_look_like_ends() {
        let got = all(&mut Parser::default(), STREAM);
        assert_eq!(
            got,
            vec![
                Event::Reply(Reply { ours: false, outcome: Outcome::Done(vec![]) }),
                Event::Notice(Notice::SessionsChanged),
                done("%end 1 1 1\n%error 1 2 0\n%end 1 2 1 \n\n%exit\n"),
                Event::Notice(Notice::SessionRenamed { id: "$1".into(), name: "a b".into() }),
                Event::Reply(Reply { ours: true, outcome: Outcome::Failed("can't find pane: %9".into()) }),
                Event::Notice(Notice::ClientSession {
                    client: "/dev/pts/3".into(),
                    session: "$0".into(),
                    name: "_muxfs".into()
                }),
                Event::Notice(Notice::Other("%begin x".into())),
                Event::Notice(Notice::Exit { reason: None }),
            ]
        );
    }

    #[test]
    fn a_body_over_the_limit_is_dropped_and_the_stream_goes_on() {
        let mut p = Parser::with_limit(10);
        let mut stream = b"%begin 1 1 1\n".to_vec();
        stream.extend_from_slice(&[b'x'; 100_000]);
        stream.extend_from_slice(b"\nyyyy\n%end 1 1 1\n%begin 1 2 1\nok\n%end 1 2 1\n");
        for cut in [1, 7, 4096, stream.len()] {
            let got: Vec<_> = stream.chunks(cut).flat_map(|c| all(&mut p, c)).collect();
            let large = Reply { ours: true, outcome: Outcome::TooLarge(100_006) };
            assert_eq!(got, vec![Event::Reply(large), done("ok\n")]);
            assert!(p.partial.capacity() <= 64 << 10);
        }
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_changes_nothing(cuts in prop::collection::vec(1usize..40, 1..60)) {
            let whole = all(&mut Parser::default(), STREAM);
            let (mut p, mut rest, mut got) = (Parser::default(), STREAM, Vec::new());
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                got.extend(all(&mut p, now));
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(got, whole);
        }

        #[test]
        fn random_bytes_never_panic_and_cuts_never_matter(
            lines in prop::collection::vec(prop_oneof![
                Just(b"%begin 1 1 1\n".to_vec()), Just(b"%end 1 1 1\n".to_vec()),
                Just(b"%error 1 1 1\n".to_vec()), prop::collection::vec(any::<u8>(), 0..40),
                "%[a-z-]{0,24}( [$@%]?[0-9a-z]{0,3}){0,4}\n".prop_map(String::into_bytes),
            ], 0..40), cut in 1usize..50) {
            let stream = lines.concat();
            let whole = all(&mut Parser::with_limit(64), &stream);
            let mut p = Parser::with_limit(64);
            let pieces: Vec<_> = stream.chunks(cut).flat_map(|c| all(&mut p, c)).collect();
            prop_assert_eq!(whole, pieces);
        }
    }
}
