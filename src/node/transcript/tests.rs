//! What a terminal's user would have read, case by case; captured streams; random streams.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Mark, Transcript};

fn fold(bytes: &[u8], cols: u16, rows: u16) -> String {
    let start = Instant::now();
    let mut t = Transcript::new(cols, rows);
    t.feed(bytes, start);
    settle(&mut t, start);
    String::from_utf8(t.take()).unwrap()
}

/// The same in pieces, `cuts` long in turn; `early`: what is finished is fetched after each.
fn fold_cut(bytes: &[u8], cuts: &[usize], cols: u16, rows: u16, early: bool) -> String {
    let start = Instant::now();
    let mut t = Transcript::new(cols, rows);
    let mut got = Vec::new();
    let (mut rest, mut n) = (bytes, 0);
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
        t.feed(chunk, start);
        if early {
            got.extend(t.take());
        }
        (rest, n) = (tail, n + 1);
    }
    settle(&mut t, start);
    got.extend(t.take());
    String::from_utf8(got).unwrap()
}

/// Ticks until nothing is waited for.
fn settle(t: &mut Transcript, start: Instant) {
    for _ in 0..100 {
        match t.next_deadline() {
            Some(at) => t.tick(at.max(start)),
            None => return,
        }
    }
    panic!("always another deadline");
}

#[track_caller]
fn case(bytes: &str, expected: &str) {
    assert_eq!(fold(bytes.as_bytes(), 20, 6), expected, "{bytes:?}");
}

#[test]
fn carriage_returns_fold() {
    case("10%\r20%\r100%\n", "100%\n");
    case("abcdef\rxy\n", "xycdef\n");
    case("abcdef\rxy\x1b[K\n", "xy\n");
    case("a\r\nb\r\n\r\nc\r\n", "a\nb\n\nc\n");
    case("a\nb\n", "a\nb\n");
    case("spinner |\x08/\x08-\x08\\\x08 \r\n", "spinner\n");
    case("a\tb\n", "a       b\n");
}

#[test]
fn sequences_are_not_text() {
    case("\x1b[1;31mred\x1b[0m\r\n", "red\n");
    case("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\r\n", "ab\n");
    case("\x1b_Gi=1;AAAA\x1b\\a\x1bPq#0\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d\r\n", "abcd\n");
    case("\x1bktitle\x1b\\a\r\n", "a\n");
    case("\x1bknever ended\r\na\r\n", "\na\n");
    case("a\0b\x7fc\x01d\r\n", "abcd\n");
    case("a\u{9b}b\u{85}c\r\n", "abc\n");
    case("\x1b(0lqk\x1b(B lqk\r\n", "┌─┐ lqk\n");
}

#[test]
fn broken_text_is_marked() {
    assert_eq!(fold(b"a\xffb\xe4\xb8\r\n", 20, 6), "a\u{fffd}b\u{fffd}\n");
    assert_eq!(fold(b"\x9b31m\r\n", 20, 6), "\u{fffd}31m\n");
}

#[test]
fn wide_and_combining_characters() {
    case("世界\rx\n", "x 界\n");
    case("e\u{301}a\rE\n", "Ea\n");
    case("世界\x1b[4D\x1b[P\n", " 界\n");
    case("1234567890123456789世\n", "1234567890123456789世\n");
}

#[test]
fn wrapped_lines_are_one_line() {
    let long = "0123456789".repeat(7);
    case(&format!("{long}\r\nx\r\n"), &format!("{long}\nx\n"));
    // An editor goes back up, inserts, and comes down again.
    case("0123456789012345678901234\x1b[A\rX\r\n\x1b[Kxyz\r\nout\r\n", "X1234567890123456789xyz\nout\n");
    // The line becomes shorter than a row.
    case("0123456789012345678901234\x1b[A\rls\x1b[K\r\n\x1b[K\x1b[A\r\x1b[2C\r\nout\r\n", "ls\nout\n");
    let edge = "01234567890123456789";
    case(&format!("{edge}\r\n{edge}\r\n"), &format!("{edge}\n{edge}\n"));
}

#[test]
fn zsh_marks_leave_no_noise() {
    let blanks = " ".repeat(19);
    let mark = format!("\x1b[1m\x1b[7m%\x1b[27m\x1b[1m\x1b[0m{blanks}\r \r");
    case(&format!("{mark}\r\x1b[0m\x1b[27m\x1b[24m\x1b[J$ ls\x1b[K\r\r\na\r\n"), "$ ls\na\n");
    case(&format!("nonl{mark}\r\x1b[J$ x\r\n"), "nonl\n$ x\n");
}

#[test]
fn a_repainted_region_appears_when_it_settles() {
    let mut s = String::from("begin\r\n");
    for n in 0..50 {
        if n > 0 {
            s.push_str("\x1b[3A");
        }
        for i in 0..3 {
            s.push_str(&format!("\r\x1b[2Ktask {i}: {n}\r\n"));
        }
    }
    s.push_str("end\r\n");
    case(&s, "begin\ntask 0: 0\ntask 1: 0\ntask 2: 0\ntask 0: 49\ntask 1: 49\ntask 2: 49\nend\n");
}

#[test]
fn unchanged_rows_appear_once() {
    // A box below growing text, erased and painted again for each piece, as Ink does.
    let frame = "+----+\r\n| in |\r\n+----+";
    let mut s = String::from(frame);
    for n in 0..20 {
        s.push_str("\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[G");
        s.push_str(&format!("text {n}\r\n{frame}"));
    }
    let got = fold(s.as_bytes(), 20, 6);
    for n in 0..20 {
        assert_eq!(got.matches(&format!("text {n}\n")).count(), 1, "{got}");
    }
    assert!(got.matches("| in |").count() <= 2, "{got}");
}

#[test]
fn a_settled_frame_painted_again_is_not_new() {
    let start = Instant::now();
    let mut t = Transcript::new(20, 6);
    let mut now = start;
    t.feed(b"top\r\nold\r\nbottom\r\n", now);
    for _ in 0..5 {
        now += Duration::from_secs(10);
        t.feed(b"\x1b[3A\x1b[2Ktop\r\n\x1b[2Knew\r\n\x1b[2Kbottom\r\n", now);
        settle(&mut t, now);
    }
    assert_eq!(String::from_utf8(t.take()).unwrap(), "top\nold\nbottom\nnew\n");
}

#[test]
fn ordinary_output_after_repainting_is_not_held() {
    let start = Instant::now();
    let mut t = Transcript::new(20, 6);
    t.feed(b"a\r\nb\r\n\x1b[2A\x1b[2KA\r\n\x1b[2KB\r\n", start);
    let lines: String = (0..100).map(|n| format!("line {n}\r\n")).collect();
    t.feed(lines.as_bytes(), start);
    let expected = format!("a\nb\nA\nB\n{}", lines.replace('\r', ""));
    assert_eq!(String::from_utf8(t.take()).unwrap(), expected);
}

#[test]
fn clearing_an_empty_screen_is_nothing() {
    // zsh clears below each prompt; the first one stands at the top.
    case("\x1b[J$ a\r\n\x1b[A\x1b[2K$ b\r\nout\r\n\x1b[H\x1b[Jnew\r\n", "$ a\n$ b\nout\nnew\n");
}

#[test]
fn clearing_loses_nothing_and_begins_anew() {
    case("a\r\n\x1b[H\x1b[2J\x1b[3Jb\r\n", "a\nb\n");
    case("a\r\n\x1b[H\x1b[J\x1b[3Jb\r\n", "a\nb\n");
    let mut s = String::new();
    for n in 0..100 {
        s.push_str(&format!("\x1b[2J\x1b[3J\x1b[Htitle\r\nrow {n}\r\n"));
    }
    let got = fold(s.as_bytes(), 20, 6);
    assert!(got.lines().count() < 8, "{got}");
    assert!(got.ends_with("row 99\n"), "{got}");
}

#[test]
fn lines_above_a_scroll_region_are_final() {
    // A viewport of two rows at the bottom; history is pushed in above it.
    let mut s = String::from("\x1b[5;1Hview a\x1b[6;1Hview b");
    for n in 0..10 {
        s.push_str(&format!("\x1b[1;4r\x1b[4;1H\r\nhistory {n}\x1b[r\x1b[6;1H"));
    }
    let got = fold(s.as_bytes(), 20, 6);
    let history: Vec<_> = got.lines().filter(|l| l.starts_with("history")).collect();
    assert_eq!(history, (0..10).map(|n| format!("history {n}")).collect::<Vec<_>>(), "{got}");
    assert_eq!(got.matches("view a").count(), 1);
}

#[test]
fn full_screen_programs_are_left_out() {
    let start = Instant::now();
    let mut t = Transcript::new(20, 6);
    t.feed(b"$ vim\r\n\x1b[?1049h\x1b[2J\x1b[Htext\r\nmore\r\n", start);
    assert!(t.full_screen());
    t.feed(b"\x1b[?1049l$ \x1b[?2004h", start);
    assert!(!t.full_screen());
    settle(&mut t, start);
    assert_eq!(String::from_utf8(t.take()).unwrap(), "$ vim\n$\n");
    let marks = [Mark::FullScreen(true), Mark::FullScreen(false), Mark::BracketedPaste(true)];
    assert_eq!(t.marks(), marks);
}

#[test]
fn marks_come_in_order() {
    let mut t = Transcript::new(20, 6);
    let s = b"\x1b]133;A\x07$ \x1b]133;B\x07ls\r\n\x1b]133;C\x1b\\\x1b]133;D;2\x07\
              \x1b]7501;state=busy;x\x07\x1b]2;t;u\x07\x1bkk\x1b\\\x07\x07";
    t.feed(s, Instant::now());
    let expected = [
        Mark::Prompt,
        Mark::Command,
        Mark::Output,
        Mark::Done(Some(2)),
        Mark::State("state=busy;x".into()),
        Mark::Title("t;u".into()),
        Mark::Title("k".into()),
        Mark::Bell,
    ];
    assert_eq!(t.marks(), expected);
    assert_eq!(t.marks(), []);
}

#[test]
fn an_unfinished_line_appears_after_two_seconds() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut t = Transcript::new(20, 6);
    t.feed(b"Continue? ", at(0));
    t.tick(at(1999));
    assert_eq!(t.take(), b"");
    assert_eq!(t.next_deadline(), Some(at(2000)));
    t.tick(at(2000));
    assert_eq!(t.take(), b"Continue?\n");
    assert_eq!(t.next_deadline(), None);
    t.feed(b"y\r\n", at(9000));
    assert_eq!(t.take(), b"Continue? y\n");
    // Finished as it appeared: not again.
    t.feed(b"tail", at(10_000));
    t.tick(at(12_000));
    t.feed(b"\r\nnext\r\n", at(13_000));
    assert_eq!(t.take(), b"tail\nnext\n");
    // Changing all the time: not quiet.
    for n in 0..100 {
        t.feed(format!("\r{n}%").as_bytes(), at(20_000 + n * 600));
        if let Some(deadline) = t.next_deadline().filter(|&d| d <= at(20_000 + n * 600)) {
            t.tick(deadline);
        }
    }
    assert_eq!(t.take(), b"");
}

#[test]
fn a_line_being_typed_appears_once_before_it_is_done() {
    let start = Instant::now();
    let mut t = Transcript::new(20, 6);
    let mut now = start;
    t.feed(b"\x1b[?2004h$ ", now);
    settle(&mut t, now);
    for c in b"make" {
        now += Duration::from_secs(5);
        t.feed(&[*c], now);
        settle(&mut t, now);
    }
    t.feed(b"\r\n\x1b[?2004l\rok\r\n", now);
    assert_eq!(t.take(), b"$\n$ make\nok\n");
}

#[test]
fn a_clock_in_a_corner_does_not_fill_a_disk() {
    let start = Instant::now();
    let mut t = Transcript::new(80, 24);
    for n in 0..2_000u64 {
        let now = start + Duration::from_secs(3 * n);
        t.tick(now - Duration::from_millis(500).min(now - start));
        t.feed(format!("\x1b[1;70H{n:08}\x1b[24;1H").as_bytes(), now);
    }
    let lines = t.take().iter().filter(|&&b| b == b'\n').count();
    assert!(lines < 200, "{lines} lines");
}

#[test]
fn a_line_without_end_is_cut() {
    let start = Instant::now();
    let mut t = Transcript::new(80, 24);
    let mut got = 0;
    let mut heaviest = 0;
    for _ in 0..200 {
        t.feed(&[b'x'; 32 * 1024], start);
        got += t.take().iter().filter(|&&b| b == b'x').count();
        heaviest = heaviest.max(t.weight());
    }
    settle(&mut t, start);
    got += t.take().iter().filter(|&&b| b == b'x').count();
    assert_eq!(got, 200 * 32 * 1024);
    assert!(heaviest < 1 << 20, "{heaviest} bytes");
}

#[test]
fn idle_transcripts_are_small() {
    let start = Instant::now();
    let mut t = Transcript::new(120, 40);
    for n in 0..1000 {
        t.feed(format!("line {n} of some ordinary output, long enough\r\n").as_bytes(), start);
    }
    t.take();
    t.feed(b"\x1b[20A\x1b[2Krepainted\x1b[20B\r$ ", start);
    settle(&mut t, start);
    t.take();
    assert!(t.weight() <= 4 * 1024 + 512, "{} bytes", t.weight());
}

#[test]
fn resizing_keeps_the_line() {
    let start = Instant::now();
    let mut t = Transcript::new(10, 6);
    t.feed(b"0123456789abcdef", start);
    t.resize(5, 3);
    t.feed(b"ghi", start);
    t.resize(40, 10);
    t.feed(b"jkl\r\n", start);
    assert_eq!(t.take(), b"0123456789abcdefghijkl\n");
}

/// The streams of real programs in a real tmux pane of 60x20, with what they say beside them.
#[test]
fn captured_streams() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/transcript");
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "bytes") {
            continue;
        }
        seen += 1;
        let got = fold(&std::fs::read(&path).unwrap(), 60, 20);
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap();
        assert_eq!(got, expected, "{}", path.display());
    }
    assert!(seen >= 4, "{seen} streams in {}", dir.display());
}

/// REP repeats the character printed directly before it, within the row, and nothing else: as tmux.
#[test]
fn only_what_was_just_printed_is_repeated() {
    case("ab\x1b[3b\r\n", "abbbb\n");
    case("ab\x1b[99b\r\nc\r\n", &format!("a{}\nc\n", "b".repeat(19)));
    for between in ["\r", "\r\n", "\x07", "\x1b[m", "\x1b(B", "\x1b7"] {
        let shown = fold(format!("ab{between}\x1b[3b").as_bytes(), 20, 6);
        assert_eq!(shown.matches('b').count(), 1, "{between:?}: {shown:?}");
    }
    case("\x1b[3bx\r\n", "x\n");
    case("ab\x1b[2b\x1b[2bc\r\n", "abbbc\n");
}

/// Feeds `bytes` whole and in pieces of every size up to 40: the lines must be the same.
#[track_caller]
fn same_however_cut(bytes: &[u8], cols: u16, rows: u16) -> String {
    let whole = fold(bytes, cols, rows);
    for cut in 1..=40 {
        assert_eq!(fold_cut(bytes, &[cut], cols, rows, false), whole, "pieces of {cut}");
    }
    whole
}

/// What random streams found, each by its mechanism.
#[test]
fn cuts_that_once_mattered() {
    // A whole line that passes by without cells is forgotten by REP like one in pieces.
    let line = b"0a 00 a aa 0aaa0a0AA0a0aa AAa a A a!";
    let bytes = [&line[..], b"\r\n\x1b[2J\x1b[?1049l\x1b[0;0b\x1b[?1049h"].concat();
    assert_eq!(same_however_cut(&bytes, 2, 1).as_bytes(), [&line[..], b"\n"].concat());
    // A wide character that does not fit at the edge takes a column more than it has.
    same_however_cut("世世世\r\n\x1b[2;1Hx\r\n".as_bytes(), 3, 12);
    // A line that wraps within a scroll region scrolls it.
    same_however_cut(b"\x1b[1;2rabcdefghi\r\n\x1b[1;1Hx\r\n", 3, 4);
}

/// Pieces of streams that programs send, so that random streams reach interesting places.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~]{0,40}".prop_map(String::into_bytes),
        "[a-zé世\u{301}]{0,30}".prop_map(String::into_bytes),
        "[ab世]{0,9}".prop_map(String::into_bytes),
        "[ab世]{1,9}\r\n".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..8),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\t\x08".to_vec()),
        Just(b"\x1b[7m%\x1b[m          \r \r".to_vec()),
        Just(b"\x1b[2J".to_vec()),
        Just(b"\x1b[?1049h".to_vec()),
        Just(b"\x1b[?1049l".to_vec()),
        Just(b"\x1b[?7l".to_vec()),
        Just(b"\x1b[4h".to_vec()),
        Just(b"\x1bM".to_vec()),
        (1u16..6, 1u16..8).prop_map(|(a, b)| format!("\x1b[{a};{b}r").into_bytes()),
        (1u16..6, 1u16..8).prop_map(|(a, b)| format!("\x1b[{a};{b}H").into_bytes()),
        Just(b"\x1bc".to_vec()),
        (0u16..30, 0u16..30, "[A-Za-z@`]").prop_map(|(a, b, c)| format!("\x1b[{a};{b}{c}").into_bytes()),
        (0u16..4, "[JKLMPSTX@ABCD]").prop_map(|(n, c)| format!("\x1b[{n}{c}").into_bytes()),
        "[0-9];[a-z]{0,9}".prop_map(|s| format!("\x1b]{s}\x07").into_bytes()),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_chunking_of_a_small_screen_gives_the_same(
        bytes in stream(),
        cuts in proptest::collection::vec(1usize..9, 1..6),
        cols in 2u16..8,
        rows in 1u16..5,
        early in any::<bool>(),
    ) {
        prop_assert_eq!(fold_cut(&bytes, &cuts, cols, rows, early), fold(&bytes, cols, rows));
    }

    #[test]
    fn any_chunking_gives_the_same(
        bytes in stream(),
        cuts in proptest::collection::vec(1usize..40, 1..20),
        cols in 2u16..40,
        rows in 1u16..12,
        early in any::<bool>(),
    ) {
        prop_assert_eq!(fold_cut(&bytes, &cuts, cols, rows, early), fold(&bytes, cols, rows));
    }

    #[test]
    fn random_streams_stay_small(
        bytes in stream(),
        sizes in proptest::collection::vec((0u16..300, 0u16..60), 1..6),
    ) {
        let start = Instant::now();
        let mut t = Transcript::new(0, 0);
        for (n, (cols, rows)) in sizes.into_iter().enumerate() {
            t.resize(cols, rows);
            for k in 0..10 {
                t.feed(&bytes, start + Duration::from_millis(700 * (10 * n as u64 + k)));
            }
            t.take();
        }
        prop_assert!(t.weight() < 1 << 20, "{} bytes", t.weight());
        settle(&mut t, start);
        t.finish();
    }

    #[test]
    fn plain_lines_come_once_and_in_order(
        lines in proptest::collection::vec("[!-~é世][ -~é世]{0,90}[!-~é世]", 0..40),
        cols in 2u16..100,
        crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let sent: String = lines.iter().map(|l| format!("{l}{end}")).collect();
        let expected: String = lines.iter().map(|l| format!("{l}\n")).collect();
        prop_assert_eq!(fold(sent.as_bytes(), cols, 10), expected);
    }
}

impl Transcript {
    /// Bytes this transcript takes, its own and the heap's.
    fn weight(&self) -> usize {
        let s = &self.terminal.screen;
        std::mem::size_of::<Self>()
            + s.live.iter().map(super::row::Row::weight).sum::<usize>()
            + s.kept.weight()
            + s.repaints.weight()
            + s.out.capacity()
            + self.terminal.marks.capacity() * std::mem::size_of::<Mark>()
    }
}
