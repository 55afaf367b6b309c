//! The book of turns, written and read again. Must not know agents.

use super::*;
use std::cell::Cell;

fn open(path: &Path) -> Book {
    let count = Cell::new(0);
    Book::open(path.to_owned(), &|| {
        count.set(count.get() + 1);
        count.get()
    })
    .unwrap()
}

fn put(book: &Book, name: Option<&str>, text: &str) -> Result<Turn> {
    book.accept(name, text, Origin::default(), 3, 7, 99)
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
    let init = book.accept(None, "first", Origin { init: true, ..Origin::default() }, 3, 7, 1).unwrap();
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
    file.write_all(b"{\"accept\":{\"number\":2,\"na").unwrap();
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
    again.pages.lock().rewrite(&path).unwrap();
    assert!(open(&path).is_unsure());
    let again = open(&path);
    again.composer_is_clean().unwrap();
    assert!(!again.is_unsure() && !open(&path).is_unsure(), "what stands there now is somebody's");
    let again = open(&path);
    again.pages.lock().rewrite(&path).unwrap();
    assert!(!open(&path).is_unsure());
}
