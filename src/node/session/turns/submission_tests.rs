//! The machine of a submission, played with: its table and each of its limits.

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn prompt() -> Prompt {
    Prompt {
        text: "fix it".into(),
        settle: ms(100),
        enters: 1,
        nudge: false,
        can_close: true,
        can_queue: false,
    }
}

/// The composer of a ready agent that holds the prompt, and prints.
fn ours() -> Look {
    Look {
        holds: Holds::Ours,
        state: Some(Shows::Ready),
        list: None,
        quiet: Duration::ZERO,
        wanted: true,
        says_work: false,
        changed: false,
        left: Some("fix it".into()),
        stands: true,
    }
}

fn nothing() -> Look {
    Look { holds: Holds::Nothing, left: Some(String::new()), stands: false, ..ours() }
}

fn other() -> Look {
    Look { holds: Holds::Other, left: Some("another text".into()), stands: false, ..ours() }
}

fn unseen() -> Look {
    Look { holds: Holds::NotSeen("no composer is seen".into()), left: None, stands: false, ..ours() }
}

struct Play {
    it: Submission,
    begun: Instant,
    now: Instant,
}

impl Play {
    fn of(prompt: Prompt) -> Self {
        let now = Instant::now();
        Play { it: Submission::new(prompt, now), begun: now, now }
    }

    /// The prompt stands in the composer long enough: Enter is wanted.
    fn to_enter(prompt: Prompt) -> Self {
        let mut play = Play::of(prompt);
        play.look_at(0, ours());
        play.look_at(101, ours());
        play.look_at(101, ours());
        play
    }

    /// Its Enter was pressed, at 101 ms: 100, and 10 microseconds a byte.
    fn entered(prompt: Prompt) -> Self {
        let mut play = Play::to_enter(prompt);
        play.press(true);
        play
    }

    fn look_at(&mut self, at: u64, look: Look) -> Vec<Effect> {
        self.now = self.begun + ms(at);
        self.it.step(Event::Looked(look), self.now)
    }

    fn press(&mut self, yes: bool) -> Vec<Effect> {
        self.it.step(Event::Pressed(yes), self.now)
    }

    fn keys(&self) -> Option<Keys> {
        if let Wants::Press(keys) = self.it.wants() { Some(keys) } else { None }
    }

    fn end(&self) -> Option<Put> {
        if let Wants::End(put) = self.it.wants() { Some(put) } else { None }
    }

    /// The agent lets its text be taken out: what became of the prompt.
    fn taken_out(&mut self, from: u64) -> Option<Put> {
        self.look_at(from, ours());
        assert_eq!(self.keys(), Some(Keys::Clear));
        self.press(true);
        self.look_at(from + 90, nothing());
        self.end()
    }
}

fn uncertain(why: &str) -> Option<Put> {
    Some(Put::Uncertain(why.into()))
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Showing { .. } => "showing",
        Phase::Nudging => "nudging",
        Phase::Entering { .. } => "entering",
        Phase::Pressing { .. } => "pressing",
        Phase::Taking { .. } => "taking",
        Phase::TakingOut { .. } => "taking-out",
        Phase::Clearing { .. } => "clearing",
        Phase::Ended(_) => "ended",
    }
}

/// Each phase and what follows in it when the composer is seen to hold the prompt, to be empty, when the
/// prompt is no longer wanted, when keys were pressed, and when the pane had changed.
const TABLE: &str = "
            ours       empty      unwanted   pressed    moved
showing     entering   showing    taking-out showing    showing
nudging     nudging    nudging    nudging    entering   entering
entering    pressing   entering   taking-out entering   entering
pressing    pressing   pressing   pressing   taking     entering
taking      taking     ended      taking     taking     taking
taking-out  clearing   ended      clearing   taking-out taking-out
clearing    clearing   clearing   clearing   taking-out taking-out
ended       ended      ended      ended      ended      ended
";

#[test]
fn every_cell_of_the_table_is_as_it_says() {
    let now = Instant::now();
    let entering = Entering { earlier: 0, begun: now, closes: 0, closed: None };
    let wait = |seen| Ours::new(Duration::ZERO, OTHER, seen, now);
    let (why, out) = (Stop::Interrupted, TakingOut::default());
    let phases = [
        Phase::Showing { ours: wait(false), typed: now },
        Phase::Nudging,
        Phase::Entering { entering: entering.clone(), ours: wait(true) },
        Phase::Pressing { entering, keys: Keys::Enter, busy: false },
        Phase::Taking { earlier: 0, begun: now, busy: false },
        Phase::TakingOut { why: why.clone(), entered: false, out: out.clone() },
        Phase::Clearing { why, entered: false, out, keys: Keys::Clear },
        Phase::Ended(Put::Taken),
    ];
    let rows: Vec<Vec<&str>> = TABLE.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), phases.len());
    let events = || {
        let unwanted = Look { wanted: false, ..ours() };
        let looks = [ours(), nothing(), unwanted].map(Event::Looked);
        looks.into_iter().chain([Event::Pressed(true), Event::Pressed(false)])
    };
    for (phase, row) in phases.into_iter().zip(rows) {
        assert_eq!(word(&phase), row[0]);
        for (event, cell) in events().zip(&row[1..]) {
            let said = format!("{} and {event:?}", row[0]);
            let mut it = Submission { prompt: prompt(), phase: phase.clone(), slow: Duration::ZERO };
            it.step(event, now);
            assert_eq!(word(&it.phase), *cell, "{said}");
        }
    }
}

#[test]
fn a_prompt_is_submitted_when_it_stood_in_the_composer_long_enough() {
    let mut play = Play::of(prompt());
    assert_eq!(play.it.wants(), Wants::Look(Duration::ZERO));
    play.look_at(0, nothing());
    assert_eq!(play.it.wants(), Wants::Look(LOOK));
    play.look_at(30, ours());
    play.look_at(129, ours());
    assert_eq!(word(&play.it.phase), "showing", "99 ms");
    assert_eq!(play.look_at(131, ours()), [Effect::Hold(None)]);
    play.look_at(131, ours());
    assert_eq!(play.keys(), Some(Keys::Enter));
    assert_eq!(play.press(true), [Effect::ExpectWork(UNSEEN + Duration::from_micros(6 * 75))]);
    play.look_at(160, nothing());
    assert_eq!(play.end(), Some(Put::Taken));
}

#[test]
fn a_repaint_between_two_looks_begins_the_wait_anew() {
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(60, unseen());
    play.look_at(90, ours());
    play.look_at(150, ours());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(191, ours());
    assert_eq!(word(&play.it.phase), "entering");
}

#[test]
fn a_text_that_never_shows_is_given_up_after_ten_seconds() {
    let mut play = Play::of(prompt());
    play.look_at(10_099, nothing());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(10_101, nothing());
    play.look_at(10_101, nothing());
    assert_eq!(play.end(), uncertain("its text did not show in the composer; no Enter was pressed"));
}

#[test]
fn a_large_text_has_more_time_to_show() {
    let large = Prompt { text: "x".repeat(200_000), ..prompt() };
    let mut play = Play::of(large);
    play.look_at(21_000, nothing());
    assert_eq!(word(&play.it.phase), "showing", "10 s, and 50 and 10 microseconds a byte");
    play.look_at(22_200, nothing());
    assert_eq!(word(&play.it.phase), "taking-out");
}

#[test]
fn an_agent_that_prints_nothing_has_a_minute_and_then_its_time() {
    let silent = |at: u64| Look { quiet: ms(at), ..nothing() };
    let mut play = Play::of(prompt());
    for at in (0..60_000).step_by(500) {
        let effects = play.look_at(at, silent(at));
        assert_eq!(!effects.is_empty(), at > 10_100, "it says why, at {at} ms");
    }
    play.look_at(60_000, nothing());
    assert_eq!(word(&play.it.phase), "showing", "from now on it has ten seconds");
    play.look_at(69_599, nothing());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(69_601, nothing());
    assert_eq!(word(&play.it.phase), "taking-out");
}

#[test]
fn a_text_that_vanished_is_uncertain() {
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(30, nothing());
    play.look_at(229, nothing());
    assert_eq!(word(&play.it.phase), "showing", "it may be painted at this moment");
    play.look_at(230, nothing());
    play.look_at(230, nothing());
    assert_eq!(play.end(), uncertain("its text vanished from the composer; no Enter was pressed"));
}

#[test]
fn another_text_in_the_composer_is_looked_at_for_five_seconds() {
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(30, other());
    play.look_at(5029, other());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(5030, other());
    for at in 0..=u64::from(MISSES) {
        play.look_at(5030 + at * 90, other());
    }
    assert_eq!(
        play.end(),
        uncertain("the composer holds another text than the prompt; no Enter was pressed")
    );
}

#[test]
fn a_composer_that_is_not_seen_says_why() {
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(30, unseen());
    play.look_at(5030, unseen());
    for at in 0..=u64::from(MISSES) {
        play.look_at(5030 + at * 90, unseen());
    }
    assert_eq!(play.end(), uncertain("no composer is seen; no Enter was pressed"));
}

#[test]
fn a_dialog_is_for_a_person_and_its_time_does_not_count() {
    let dialog = Look { state: Some(Shows::Blocked), ..unseen() };
    let mut play = Play::of(prompt());
    play.look_at(0, nothing());
    for second in 1..600 {
        let effects = play.look_at(second * 1000, dialog.clone());
        assert!(matches!(&effects[..], [Effect::Hold(Some(held))] if held.word == "dialog"));
        assert_eq!(play.it.wants(), Wants::Look(LOOK * 5));
    }
    play.look_at(600_000, nothing());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(600_030, ours());
    play.look_at(600_131, ours());
    assert_eq!(word(&play.it.phase), "entering");
}

#[test]
fn a_dialog_begins_the_time_of_another_text_anew() {
    let dialog = Look { state: Some(Shows::Blocked), ..unseen() };
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(30, other());
    play.look_at(4000, dialog);
    play.look_at(8999, other());
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(9000, other());
    assert_eq!(word(&play.it.phase), "taking-out");
}

#[test]
fn an_agent_nobody_sees_into_gets_its_enter_when_it_is_quiet() {
    let blind = |quiet| Look { holds: Holds::Blind, left: None, stands: false, quiet: ms(quiet), ..ours() };
    let mut play = Play::of(prompt());
    play.look_at(99, blind(99));
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(101, blind(101));
    assert_eq!(word(&play.it.phase), "entering");
    let unknown = |at| Look { state: Some(Shows::Unknown), ..blind(at) };
    let mut play = Play::of(prompt());
    play.look_at(9_999, unknown(9_999));
    assert_eq!(word(&play.it.phase), "showing");
    play.look_at(10_001, unknown(10_001));
    assert_eq!(word(&play.it.phase), "entering", "or after ten seconds");
}

#[test]
fn a_large_paste_is_nudged_before_its_enter() {
    let mut play = Play::of(Prompt { nudge: true, ..prompt() });
    play.look_at(0, ours());
    play.look_at(101, ours());
    assert_eq!(play.keys(), Some(Keys::Nudge));
    play.press(false);
    assert_eq!(play.it.wants(), Wants::Look(ms(100)), "and it settles once more");
    play.look_at(201, ours());
    assert_eq!(play.keys(), Some(Keys::Enter));
}

#[test]
fn what_an_agent_at_work_takes_is_handed_in_by_its_own_key() {
    let busy = Look { state: Some(Shows::Busy), ..ours() };
    let enter = |prompt: Prompt, look: &Look| {
        let mut play = Play::of(prompt);
        for at in [0, 101, 101] {
            play.look_at(at, look.clone());
        }
        play.keys()
    };
    assert_eq!(enter(prompt(), &busy), Some(Keys::Enter));
    let queues = Prompt { can_queue: true, ..prompt() };
    assert_eq!(enter(queues.clone(), &busy), Some(Keys::Queue));
    assert_eq!(enter(queues.clone(), &ours()), Some(Keys::Enter), "it works no longer");
    let command = Prompt { text: "/compact".into(), ..queues };
    assert_eq!(enter(command, &busy), Some(Keys::Enter), "commands are run, not queued");
}

#[test]
fn a_list_that_would_take_the_enter_is_closed() {
    let list = Look { list: Some("/fix".into()), ..ours() };
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(101, ours());
    play.look_at(101, list.clone());
    assert_eq!(play.keys(), Some(Keys::Close));
    play.press(true);
    play.look_at(2100, list.clone());
    assert_eq!(play.it.wants(), Wants::Look(LOOK), "a slow agent may be at the key before still");
    play.look_at(2101, ours());
    assert_eq!(play.keys(), Some(Keys::Enter));
}

#[test]
fn a_list_that_stays_open_takes_the_prompt_out_again() {
    let list = Look { list: Some("/fix".into()), ..ours() };
    let mut play = Play::to_enter(prompt());
    play.it.phase = play.it.entering(0, Duration::ZERO, play.now);
    for (at, keys) in [(101, Keys::Close), (2101, Keys::Close), (4101, Keys::Space)] {
        play.look_at(at, list.clone());
        assert_eq!(play.keys(), Some(keys), "the last time a blank ends the word");
        play.press(true);
    }
    play.look_at(6101, list);
    let why = "a list of completions stays open and would take the Enter";
    assert_eq!(play.taken_out(6101), Some(Put::Back(why.into())));
}

#[test]
fn without_a_key_that_closes_a_list_a_blank_does() {
    let mut play = Play::of(Prompt { can_close: false, ..prompt() });
    play.look_at(0, ours());
    play.look_at(101, ours());
    play.look_at(101, Look { list: Some("/fix".into()), ..ours() });
    assert_eq!(play.keys(), Some(Keys::Space));
}

#[test]
fn an_entry_that_reads_as_the_prompt_may_be_taken() {
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(101, ours());
    play.look_at(101, Look { list: Some("fix it".into()), ..ours() });
    assert_eq!(play.keys(), Some(Keys::Enter));
}

#[test]
fn a_screen_that_never_rests_is_tried_for_five_seconds() {
    let mut play = Play::to_enter(prompt());
    for at in (100..5000).step_by(100) {
        play.press(false);
        play.look_at(at, ours());
        assert_eq!(play.keys(), Some(Keys::Enter), "at once again");
    }
    play.now = play.begun + ms(5101);
    play.press(false);
    assert_eq!(play.taken_out(5101), Some(Put::Back("its screen never rests".into())));
}

#[test]
fn work_after_the_enter_is_a_sign_that_it_was_taken() {
    for state in [Shows::Busy, Shows::Blocked, Shows::Limited] {
        let mut play = Play::entered(prompt());
        play.look_at(130, Look { state: Some(state), ..ours() });
        assert_eq!(play.end(), Some(Put::Taken), "{state:?}");
    }
    let mut play = Play::entered(prompt());
    play.look_at(130, Look { says_work: true, ..ours() });
    assert_eq!(play.end(), Some(Put::Taken), "by its hook");
}

#[test]
fn of_an_agent_that_worked_before_work_is_no_sign() {
    let busy = Look { state: Some(Shows::Busy), says_work: true, ..ours() };
    let mut play = Play::of(prompt());
    for at in [0, 101, 101] {
        play.look_at(at, busy.clone());
    }
    play.press(true);
    play.look_at(130, busy.clone());
    assert_eq!(play.end(), None);
    play.look_at(160, Look { state: Some(Shows::Busy), ..nothing() });
    assert_eq!(play.end(), Some(Put::Taken));
}

#[test]
fn where_the_composer_is_not_seen_another_screen_is_a_sign() {
    let mut play = Play::entered(prompt());
    play.look_at(130, unseen());
    assert_eq!(play.end(), None);
    play.look_at(160, Look { changed: true, ..unseen() });
    assert_eq!(play.end(), Some(Put::Taken));
    let mut play = Play::entered(prompt());
    play.look_at(130, Look { changed: true, ..ours() });
    assert_eq!(play.end(), None, "it is seen there still");
}

#[test]
fn an_enter_that_is_not_taken_leaves_the_prompt_uncertain() {
    let mut play = Play::entered(prompt());
    play.look_at(2099, ours());
    assert_eq!(word(&play.it.phase), "taking");
    play.look_at(2110, ours());
    assert_eq!(word(&play.it.phase), "taking-out");
    assert_eq!(play.taken_out(2110), uncertain("it stood in the composer; no Enter was taken"));
}

#[test]
fn the_last_enter_has_more_time_while_the_agent_prints_nothing() {
    let silent = Look { quiet: ms(60_000), ..ours() };
    let mut play = Play::entered(prompt());
    play.look_at(17_099, silent.clone());
    assert_eq!(word(&play.it.phase), "taking");
    play.look_at(17_110, silent.clone());
    assert_eq!(word(&play.it.phase), "taking-out");
    let mut play = Play::entered(Prompt { enters: 2, ..prompt() });
    play.look_at(2110, silent);
    assert_eq!(word(&play.it.phase), "entering", "another one follows");
}

#[test]
fn an_agent_that_was_slow_to_show_the_text_is_as_slow_to_take_the_enter() {
    let mut play = Play::of(prompt());
    play.look_at(5000, ours());
    play.look_at(5101, ours());
    play.look_at(5101, ours());
    play.press(true);
    play.look_at(12_000, ours());
    assert_eq!(word(&play.it.phase), "taking", "2 s and the 5 s that it took");
    play.look_at(12_110, ours());
    assert_eq!(word(&play.it.phase), "taking-out");
}

#[test]
fn a_second_enter_is_pressed_where_the_manifest_says_so() {
    let mut play = Play::entered(Prompt { enters: 2, ..prompt() });
    play.look_at(2110, ours());
    play.look_at(2110, ours());
    assert_eq!(play.keys(), Some(Keys::Enter));
    play.press(true);
    play.look_at(4300, ours());
    assert_eq!(play.taken_out(4300), uncertain("it stood in the composer; no Enter was taken"));
}

#[test]
fn an_enter_that_is_taken_late_is_taken() {
    let mut play = Play::entered(Prompt { enters: 2, ..prompt() });
    play.look_at(2110, ours());
    play.look_at(2140, nothing());
    play.look_at(2340, nothing());
    assert_eq!(play.end(), Some(Put::Taken));
}

#[test]
fn a_command_is_not_expected_to_show_work() {
    let mut play = Play::of(Prompt { text: "/compact".into(), ..prompt() });
    for at in [0, 101, 101] {
        play.look_at(at, ours());
    }
    assert_eq!(play.press(true), [Effect::ExpectWork(Duration::from_micros(8 * 75))]);
}

#[test]
fn an_interrupt_takes_the_prompt_out_of_the_composer() {
    let unwanted = Look { wanted: false, ..ours() };
    let mut play = Play::of(prompt());
    play.look_at(0, ours());
    play.look_at(30, unwanted.clone());
    assert_eq!(play.taken_out(30), Some(Put::Interrupted));
    // Where it is not seen to go, nobody knows.
    let mut play = Play::of(prompt());
    play.look_at(30, unwanted.clone());
    for at in 0..=u64::from(MISSES) {
        play.look_at(30 + at * 90, unseen());
    }
    assert_eq!(play.end(), uncertain("it was interrupted while it was typed"));
    // After an Enter it may be half way.
    let mut play = Play::entered(Prompt { enters: 2, ..prompt() });
    play.look_at(2110, ours());
    play.look_at(2140, unwanted);
    assert_eq!(play.taken_out(2140), uncertain("it was interrupted while it was typed"));
}

#[test]
fn nothing_is_taken_out_while_a_dialog_stands_there() {
    let dialog = Look { state: Some(Shows::Blocked), ..ours() };
    let mut play = Play::of(prompt());
    play.look_at(30, Look { wanted: false, ..ours() });
    for at in 0..=u64::from(MISSES) {
        play.look_at(30 + at * 90, dialog.clone());
        assert_eq!(play.keys(), None);
    }
    assert_eq!(play.end(), uncertain("it was interrupted while it was typed"));
}

#[test]
fn what_deleting_backwards_does_not_move_is_deleted_forwards() {
    let mut play = Play::of(prompt());
    play.look_at(30, Look { wanted: false, ..ours() });
    play.look_at(30, ours());
    assert_eq!(play.keys(), Some(Keys::Clear));
    play.press(true);
    assert_eq!(play.it.wants(), Wants::Look(LOOK * 3));
    play.look_at(120, ours());
    assert_eq!(play.keys(), Some(Keys::Delete));
    play.press(true);
    // A rest of it is ours as well.
    let rest = Look { holds: Holds::Other, left: Some("x it".into()), stands: false, ..ours() };
    play.look_at(210, rest);
    assert_eq!(play.keys(), Some(Keys::Clear));
}

#[test]
fn a_composer_that_is_never_empty_is_given_up() {
    let mut play = Play::of(prompt());
    play.look_at(0, Look { wanted: false, ..ours() });
    let mut looks = 0;
    while play.end().is_none() {
        play.look_at(looks * 90, ours());
        play.press(true);
        looks += 1;
        assert!(looks < 1000);
    }
    assert_eq!(looks, u64::from(CLEARS) + 1);
    assert_eq!(play.end(), uncertain("it was interrupted while it was typed"));
}

#[test]
fn only_what_is_taken_out_needs_no_program_that_reads() {
    let mut play = Play::of(prompt());
    assert!(play.it.needs_program() && !play.it.is_entered());
    play.look_at(0, Look { wanted: false, ..ours() });
    assert!(!play.it.needs_program());
    assert!(Play::entered(prompt()).it.is_entered());
}
