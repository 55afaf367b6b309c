//! The book of turns, written and read again. Must not know agents.

use super::super::pages::{SHOWN, SLACK};
use super::*;

fn opened(path: &Path) -> (Book, Option<String>) {
    Book::open(path.to_owned()).unwrap()
}

fn open(path: &Path) -> Book {
    let (book, damage) = opened(path);
    assert_eq!(damage, None);
    book
}

fn rewritten(book: &Book) {
    let kept = book.pages.lock().clone();
    rewrite(&book.path, &mut book.writer.lock(), &book.pages, kept).unwrap();
}

fn put(book: &Book, name: Option<&str>, text: &str) -> Result<Turn> {
    book.accept(name, text, Author::default(), None, 3, 7).map(|(turn, _)| turn)
}

fn names(turns: &[Turn]) -> Vec<&str> {
    turns.iter().map(|t| t.name.as_str()).collect()
}

#[test]
fn prompts_come_back_in_their_order_and_names_are_used_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns");
    let book = open(&path);
    put(&book, None, "one").unwrap();
    put(&book, Some("build-1"), "two\nlines").unwrap();
    put(&book, None, "three").unwrap();
    assert_eq!(put(&book, None, "four").unwrap_err().kind, Kind::Full);
    let init = book.accept(None, "first", Author { init: true, ..Author::default() }, None, 3, 7).unwrap().0;
    assert_eq!(names(&book.queue()), ["0004", "0001", "build-1", "0003"], "init prompts come first");
    book.stage(init.number, Stage::Withdrawn, 8, None, None).unwrap().unwrap();
    assert_eq!(put(&book, Some("build-1"), "x").unwrap_err().kind, Kind::Exists);

    let again = open(&path);
    assert_eq!(names(&again.queue()), ["0001", "build-1", "0003"]);
    let two = again.get("build-1").unwrap();
    assert_eq!((again.prompt(&two).unwrap().as_str(), two.size, two.accepted), ("two\nlines", 9, 7));
    assert_eq!(put(&again, Some("build-1"), "x").unwrap_err().kind, Kind::Exists);
    again.stage(two.number, Stage::Withdrawn, 8, None, None).unwrap();
    assert_eq!(put(&again, Some("build-1"), "x").unwrap_err().kind, Kind::Exists, "withdrawn is used");
    assert_eq!(put(&again, None, "x").unwrap().name, "0005");
}

#[test]
fn a_half_written_row_is_cut_and_the_rest_stands() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns");
    let book = open(&path);
    put(&book, None, "one").unwrap();
    drop(book);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"2 2 0123456789abcdef {\"accept\":{\"number\":2,\"na").unwrap();
    let book = open(&path);
    assert_eq!(names(&book.queue()), ["0001"]);
    assert_eq!(put(&book, None, "two").unwrap().name, "0002");
    assert_eq!(names(&open(&path).queue()), ["0001", "0002"]);
}

#[test]
fn a_turn_goes_only_forward() {
    let dir = tempfile::tempdir().unwrap();
    let book = open(&dir.path().join("turns"));
    let n = put(&book, None, "one").unwrap().number;
    let to = |stage, reply: Option<&str>| book.stage(n, stage, 9, None, reply.map(str::to_owned)).unwrap();
    assert_eq!(to(Stage::Typing, None).unwrap().sent, Some(9));
    assert_eq!(to(Stage::Withdrawn, None), None, "it is being typed");
    assert_eq!(to(Stage::Queued, None).unwrap().sent, None, "it was not typed after all");
    to(Stage::Typing, None).unwrap();
    to(Stage::Running, None).unwrap();
    assert_eq!(book.current().unwrap().number, n);
    let done = to(Stage::Done, Some("answer")).unwrap();
    assert_eq!(book.reply(&done).unwrap(), "answer");
    assert_eq!(to(Stage::TimedOut, None), None, "it is over");
    assert_eq!(book.last_ended().unwrap().name, "0001");
}

#[test]
fn old_turns_go_and_what_is_left_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns");
    let book = open(&path);
    for n in 0..SHOWN + SLACK + 2 {
        let name = (n == 3).then_some("own");
        let turn = put(&book, name, &format!("p{n}")).unwrap();
        for stage in [Stage::Typing, Stage::Running] {
            book.stage(turn.number, stage, 9, None, None).unwrap();
        }
        book.stage(turn.number, Stage::Done, 10, None, Some(format!("r{n}"))).unwrap();
    }
    let waits = put(&book, None, "waits").unwrap();
    let check = |book: &Book| {
        assert!(book.all().len() <= SHOWN + SLACK, "{}", book.all().len());
        let last = book.last_ended().unwrap();
        assert_eq!(book.prompt(&last).unwrap(), format!("p{}", SHOWN + SLACK + 1));
        assert_eq!(book.reply(&last).unwrap(), format!("r{}", SHOWN + SLACK + 1));
        assert_eq!(names(&book.queue()), [waits.name.as_str()]);
        assert!(book.get("own").is_none());
        assert_eq!(put(book, Some("own"), "x").unwrap_err().kind, Kind::Exists);
    };
    check(&book);
    check(&open(&path));
}

#[test]
fn that_a_composer_may_hold_a_text_of_ours_is_kept_until_it_was_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns");
    let book = open(&path);
    let n = put(&book, None, "one").unwrap().number;
    book.stage(n, Stage::Typing, 9, None, None).unwrap();
    assert!(!book.is_unsure());
    book.stage(n, Stage::Uncertain, 9, None, None).unwrap();
    assert!(book.is_unsure() && open(&path).is_unsure(), "the daemon after the next has to know it too");
    let again = open(&path);
    rewritten(&again);
    assert!(open(&path).is_unsure());
    let again = open(&path);
    again.composer_is_clean().unwrap();
    assert!(!again.is_unsure() && !open(&path).is_unsure(), "what stands there now is somebody's");
    let again = open(&path);
    rewritten(&again);
    assert!(!open(&path).is_unsure());
}

/// The rows of the file, without their newlines.
fn rows(path: &Path) -> Vec<Vec<u8>> {
    std::fs::read(path).unwrap().split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn stages(book: &Book) -> Vec<(String, Stage)> {
    book.all().into_iter().map(|t| (t.name, t.stage)).collect()
}

#[test]
fn a_prompt_whose_stages_are_damaged_is_never_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.turns");
    let book = open(&path);
    let first = put(&book, None, "rm -rf build").unwrap();
    book.stage(first.number, Stage::Typing, 8, None, None).unwrap();
    book.stage(first.number, Stage::Done, 9, None, Some("ok".into())).unwrap();
    drop(book);
    let mut damaged = rows(&path);
    for row in &mut damaged[1..] {
        let end = row.len() - 1;
        row[..end].fill(0);
    }
    std::fs::write(&path, damaged.concat()).unwrap();
    let (book, told) = opened(&path);
    let told = told.unwrap();
    assert_eq!(stages(&book), [("0001".into(), Stage::Uncertain)]);
    assert!(book.queue().is_empty() && book.held().is_some() && book.is_unsure());
    let copy = dir.path().join("s.turns-damaged.1");
    assert!(told.contains("0001") && told.contains(copy.to_str().unwrap()), "{told}");
    assert_eq!(std::fs::read(&copy).unwrap(), damaged.concat(), "as it was");
    assert!(put(&book, None, "next").unwrap().number > 1000, "no number is given again");

    // Told once, and held until a person goes on.
    let book = open(&path);
    assert!(book.held().is_some());
    book.release().unwrap();
    assert!(open(&path).held().is_none());
    assert_eq!(stages(&open(&path))[0], ("0001".into(), Stage::Uncertain));
    let gone: Vec<_> = beside::all(&path).filter(|p| p.exists()).collect();
    assert_eq!(gone, [dir.path().join("s.next"), copy]);
}

#[test]
fn a_row_that_is_missing_changed_or_twice_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.turns");
    let book = open(&path);
    for text in ["one", "two", "three"] {
        put(&book, Some(&format!("own-{text}")), text).unwrap();
    }
    book.stage(2, Stage::Typing, 8, None, None).unwrap();
    book.stage(2, Stage::Queued, 8, None, None).unwrap();
    put(&book, Some("later"), "four").unwrap_err(); // three wait
    let whole = rows(&path);
    drop(book);
    type Case<'a> = (&'a str, Vec<Vec<u8>>, &'a [(&'a str, Stage)]);
    let cases: [Case; 4] = [
        // The rows of the second after the hole say that it waits.
        ("cut out", [&whole[..1], &whole[3..]].concat(), &[("own-one", Stage::Uncertain)]),
        (
            "a bit",
            whole.iter().enumerate().map(|(i, r)| if i == 1 { changed(r) } else { r.clone() }).collect(),
            &[("own-one", Stage::Uncertain), ("own-two", Stage::Uncertain), ("own-three", Stage::Queued)],
        ),
        (
            "twice",
            [&whole[..], &whole[..1]].concat(),
            &[("own-one", Stage::Uncertain), ("own-two", Stage::Uncertain), ("own-three", Stage::Uncertain)],
        ),
        (
            "zeros at the end",
            [&whole[..3], &[vec![0; 4096]]].concat(),
            &[("own-one", Stage::Uncertain), ("own-two", Stage::Uncertain), ("own-three", Stage::Uncertain)],
        ),
    ];
    for (what, rows, wanted) in cases {
        std::fs::write(&path, rows.concat()).unwrap();
        let (book, told) = opened(&path);
        assert!(told.is_some(), "{what}");
        let wanted: Vec<_> = wanted.iter().map(|(n, s)| (n.to_string(), *s)).collect();
        assert_eq!(stages(&book), wanted, "{what}: {told:?}");
        assert!(put(&book, None, "x").unwrap().number > 1000, "{what}");
        open(&path);
    }
    // A name in a damaged row counts as used.
    std::fs::write(&path, [&whole[0][..whole[0].len() - 9], b"\n"].concat()).unwrap();
    let (book, _) = opened(&path);
    assert_eq!(put(&book, Some("own-one"), "x").unwrap_err().kind, Kind::Exists);
}

fn changed(row: &[u8]) -> Vec<u8> {
    let mut row = row.to_vec();
    let at = row.len() - 5;
    row[at] ^= 1;
    row
}

#[test]
fn a_book_that_was_emptied_or_lost_gives_no_number_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.turns");
    put(&open(&path), None, "one").unwrap();
    std::fs::write(&path, "").unwrap();
    let (book, told) = opened(&path);
    assert!(told.unwrap().contains("empty"));
    assert_eq!(put(&book, None, "two").unwrap().name, "1001");
    assert_eq!(open(&path).queue().len(), 1);
    std::fs::remove_file(&path).unwrap();
    assert!(beside::is_there(&path));
    let (book, told) = opened(&path);
    assert!(told.is_some());
    assert!(put(&book, None, "three").unwrap().number >= 2001);
}

#[test]
fn rows_of_before_are_read_and_what_is_not_known_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.turns");
    let old = concat!(
        r#"{"head":{"next":4,"used":["gone"],"epoch":"e1"}}"#,
        "\n",
        r#"{"accept":{"number":4,"name":"0004","at":1,"origin":{"uid":0,"user":"ann"},"text":"t","gesture":"g1"}}"#,
        "\n",
        r#"{"moved":{"number":9,"to":"x"}}"#,
        "\n",
    );
    std::fs::write(&path, old).unwrap();
    let book = open(&path);
    assert_eq!(names(&book.queue()), ["0004"]);
    assert_eq!(put(&book, Some("gone"), "x").unwrap_err().kind, Kind::Exists);
    assert_eq!(put(&book, None, "x").unwrap().name, "0010", "a number that only a later version knows");
    rewritten(&book);
    let text = std::fs::read_to_string(&path).unwrap();
    for kept in ["\"epoch\":\"e1\"", "\"user\":\"ann\"", "\"gesture\":\"g1\"", "{\"moved\":"] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    assert_eq!(names(&open(&path).queue()), ["0004", "0010"]);
}

#[test]
fn a_book_without_its_name_takes_no_prompt() {
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("s.turns"), dir.path().join("away"));
    let book = open(&path);
    put(&book, None, "one").unwrap();
    std::fs::rename(&path, &away).unwrap();
    let why = put(&book, None, "two").unwrap_err();
    assert!(why.kind == Kind::Gone && why.text().contains("restart"), "{why}");
    std::fs::copy(&away, &path).unwrap();
    assert_eq!(put(&book, None, "two").unwrap_err().kind, Kind::Gone, "another file of its name");
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(put(&book, None, "two").unwrap().name, "0002");
}

#[test]
fn a_waiting_prompt_takes_a_new_name_once_and_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("turns");
    let book = open(&path);
    let one = put(&book, None, "one").unwrap();
    put(&book, Some("two"), "two").unwrap();
    assert_eq!(book.rename(one.number, "two").unwrap_err().kind, Kind::Exists);
    assert_eq!(book.rename(one.number, "first").unwrap().name, "first");
    for book in [book, open(&path)] {
        assert_eq!(names(&book.queue()), ["first", "two"]);
        assert_eq!(book.prompt(&book.get("first").unwrap()).unwrap(), "one");
        assert!(book.get("0001").is_none());
        assert_eq!(put(&book, Some("0001"), "x").unwrap_err().kind, Kind::Exists, "it was used");
    }
    rewritten(&open(&path));
    assert_eq!(names(&open(&path).queue()), ["first", "two"], "a book written anew has it too");
    let book = open(&path);
    book.stage(one.number, Stage::Typing, 8, None, None).unwrap().unwrap();
    assert_eq!(book.rename(one.number, "late").unwrap_err().kind, Kind::Busy);
}
