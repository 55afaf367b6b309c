//! Takes a dialog apart: its title, its text, its options.
//!
//! Pure. Knows the forms of a manifest; must not know any agent, nor how an option is chosen.

use std::ops::Range;

use regex::Captures;

use super::manifest::Pattern;
use super::question::{Choice, Form, Found, How, Layout, Own, Place, Question};
use super::screen::{Row, Screen};

/// A dialog stands at the bottom: an answer above may quote one.
const MOST_BELOW: usize = 8;
/// Rows of one block: where more run into each other, options are.
const MOST_BLOCK: usize = 3;
/// Blank rows within a list.
const MOST_BLANK: usize = 2;
/// Rows of one question that takes a letter.
const MOST_WRAPPED: usize = 4;
/// A row that ends this near to the edge was wrapped.
const SLACK: usize = 3;

/// A row without the lines of boxes, its columns kept.
#[derive(Debug, Clone, Default)]
struct Line {
    text: String,
    /// Of the row on the screen, in characters: from where on text may stand, and up to where.
    edge: usize,
}

impl Line {
    fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    fn indent(&self) -> usize {
        self.text.chars().take_while(|c| *c == ' ').count()
    }

    fn len(&self) -> usize {
        self.text.chars().count()
    }
}

/// The question that a screen shows, which is known to show one.
pub(super) fn read(forms: &[Form], screen: &Screen) -> Question {
    forms.iter().find_map(|form| Dialog::new(form, screen).read()).unwrap_or_else(|| {
        let tail = screen.tail(14).plain;
        let widest = widest(screen);
        let rows: Vec<String> = tail.lines().map(|row| line(row, widest).text).collect();
        let mut question = ask(None, rows.iter().map(String::as_str), None);
        let last = screen.rows().iter().rposition(|r| !r.text().is_empty()).map_or(0, |row| row + 1);
        question.place.rows = last.saturating_sub(rows.len())..last;
        question
    })
}

struct Dialog<'a> {
    form: &'a Form,
    screen: &'a Screen,
    lines: Vec<Line>,
}

/// Options and the rows they stand in.
struct List {
    first: usize,
    title: Option<String>,
    found: Found,
    /// Of each option.
    rows: Vec<Range<usize>>,
}

/// A list that is being read: the rows of options, and the rows that describe them.
#[derive(Debug, Clone, Default)]
struct Item {
    row: usize,
    /// How many rows below that one belong to it.
    below: usize,
    number: Option<usize>,
    label: String,
    about: String,
    ticked: Option<bool>,
    marked: bool,
    more: bool,
    /// The column of its label.
    column: usize,
    /// The column of its number.
    numbered: Option<usize>,
}

impl<'a> Dialog<'a> {
    fn new(form: &'a Form, screen: &'a Screen) -> Self {
        let widest = widest(screen);
        let lines = screen.rows().iter().map(|row| {
            let mut text = row.text();
            if let Some(at) = form.cut.as_ref().and_then(|p| p.0.find(text)) {
                text = &text[..at.start()];
            }
            let line = line(text, widest);
            let skipped = form.skip.as_ref().is_some_and(|p| p.0.is_match(&line.text));
            if skipped { Line::default() } else { line }
        });
        Dialog { form, screen, lines: lines.collect() }
    }

    fn read(mut self) -> Option<Question> {
        let form = self.form;
        if form.screen.as_ref().is_some_and(|p| !p.0.is_match(&self.screen.tail(14).plain)) {
            return None;
        }
        let list = if let Some(option) = &form.option {
            self.alike(option)?
        } else if let Some(mark) = &form.mark {
            self.marked(mark)?
        } else if let Some(side) = &form.side {
            self.side(side)?
        } else if let Some(letters) = &form.letters {
            self.letters(letters)?
        } else if let Some(clip) = &form.clip {
            self.clipped(clip)?
        } else {
            let end = self.lines.iter().rposition(|l| !l.is_blank())? + 1;
            let top = self.top(end)?;
            let mut question = ask(form.title.as_deref(), self.texts(top, end), None);
            question.place.rows = self.first_full(top, end)..end;
            let is_field = |own: &Pattern| self.screen.rows()[top..].iter().any(|r| own.0.is_match(r.text()));
            question.own = form.own.as_ref().filter(|own| is_field(own)).map(|_| Own::Field);
            return Some(question);
        };
        let top = self.top(list.first).unwrap_or_else(|| self.guess_top(list.first));
        let title = list.title.as_deref().or(form.title.as_deref());
        let mut question = ask(title, self.texts(top, list.first), Some(list.found));
        let end = list.rows.last().map_or(list.first, |last| last.end);
        question.place = Place { rows: self.first_full(top, end)..end, options: list.rows };
        question.at_once = form.at_once.as_ref().is_some_and(|p| p.0.is_match(&self.screen.tail(14).plain));
        let by_escape = |o: &&Choice| form.by_escape.as_ref().is_some_and(|label| label.0.is_match(&o.label));
        question.by_escape = question.options.iter().find(by_escape).map(|o| o.number);
        question.own = form.own.as_ref().and_then(|own| {
            if let Some(option) = question.options.iter().find(|o| own.0.is_match(&o.label)) {
                return Some(Own::Option(option.number, form.own_key.clone()));
            }
            let typed = self.screen.rows()[list.first..].iter().any(|r| own.0.is_match(r.text()));
            typed.then_some(Own::Typed)
        });
        Some(question)
    }

    /// The first row from `from` that holds text.
    fn first_full(&self, from: usize, end: usize) -> usize {
        (from..end).find(|row| !self.lines[*row].is_blank()).unwrap_or(end)
    }

    fn texts(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        self.lines[from..to.max(from)].iter().map(|l| l.text.as_str())
    }

    /// The nearest row above `before` that the form calls a dialog's first.
    fn top(&self, before: usize) -> Option<usize> {
        let top = self.form.top.as_ref().or(self.form.clip.as_ref())?;
        self.screen.rows()[..before].iter().rposition(|row| top.0.is_match(row.text()))
    }

    fn guess_top(&self, before: usize) -> usize {
        let mut top = before;
        let rows = self.screen.rows();
        let full = |row: usize| !rows[row].text().is_empty();
        let flush = |row: usize| rows[row].text().starts_with(|c| c != ' ');
        let mut indented = None;
        for row in (0..before).rev() {
            let gap = !full(row) && row > 0 && !full(row - 1);
            let letters = self.form.letters.is_some() && self.lines[row].is_blank();
            if letters || (gap && top < before) || (flush(row) && indented == Some(true)) {
                break;
            }
            if !self.lines[row].is_blank() {
                indented.get_or_insert(!flush(row));
                top = row;
            }
        }
        top
    }

    /// Whether what ends at `last` stands at the bottom.
    fn at_bottom(&self, last: usize) -> bool {
        self.lines[last + 1..].iter().filter(|l| !l.is_blank()).count() <= MOST_BELOW
    }

    fn item(&self, row: usize, found: &Captures) -> Item {
        let text = |name: &str| found.name(name).map_or("", |m| m.as_str());
        let (label, about) = apart(text("label"));
        let label_at = found.name("field").or(found.name("label")).map_or(0, |m| m.start());
        let ticked = found
            .name("box")
            .map(|b| !b.as_str().trim_matches(['[', ']', '(', ')', ' ', '○', '☐']).is_empty());
        Item {
            row,
            below: 0,
            number: text("number").parse().ok(),
            label: label.to_owned(),
            about: format!("{} {about}", text("about")).trim().to_owned(),
            ticked,
            marked: !text("mark").trim().is_empty(),
            more: !text("more").trim().is_empty(),
            column: self.lines[row].text[..label_at].chars().count(),
            numbered: found.name("number").map(|n| self.lines[row].text[..n.start()].chars().count()),
        }
    }

    /// A list whose rows match one by one, around the lowest that is marked.
    fn alike(&self, option: &Pattern) -> Option<List> {
        let read = |row: usize| Some(self.item(row, &option.0.captures(&self.lines[row].text)?));
        let start =
            (0..self.lines.len()).rev().find_map(|row| read(row).filter(|i| i.marked || self.form.digits))?;
        // What an option says may begin with a number too, but farther to the right.
        let beside = |i: &Item| match (i.numbered, start.numbered) {
            (Some(one), Some(other)) => one.abs_diff(other) <= 2,
            _ => true,
        };
        let read = |row: usize| read(row).filter(beside);
        let mut step = None;
        let mut follows = |near: Option<usize>, far: Option<usize>, down: bool| match (near, far) {
            (Some(near), Some(far)) => {
                let by = if down { far as i64 - near as i64 } else { near as i64 - far as i64 };
                by.abs() == 1 && *step.get_or_insert(by) == by
            }
            (None, None) => true,
            _ => false,
        };
        let mut items = vec![start.clone()];
        let (mut blank, mut row) = (0, start.row + 1);
        while let Some(line) = self.lines.get(row) {
            let last = items.last_mut()?;
            match read(row) {
                _ if line.is_blank() => blank += 1,
                Some(next) if follows(last.number, next.number, true) => {
                    items.push(next);
                    blank = 0;
                }
                None if blank == 0 && (line.indent() >= last.column || self.goes_on(last, row)) => {
                    self.say_more(last, row);
                }
                _ => break,
            }
            if blank > MOST_BLANK {
                break;
            }
            row += 1;
        }
        let (mut blank, mut pending) = (0, Vec::new());
        for row in (0..start.row).rev() {
            let line = &self.lines[row];
            match read(row) {
                _ if line.is_blank() => blank += 1,
                Some(mut above) if follows(items[0].number, above.number, false) => {
                    pending.drain(..).rev().for_each(|row| self.say_more(&mut above, row));
                    items.insert(0, above);
                    blank = 0;
                }
                None if line.indent() >= items[0].column => pending.push(row),
                _ => break,
            }
            if blank > MOST_BLANK {
                break;
            }
        }
        self.list(items)
    }

    /// In a narrow box an option is wrapped to the box's own margin: to the left of its label.
    fn goes_on(&self, item: &Item, row: usize) -> bool {
        let (line, above) = (&self.lines[row], &self.lines[row - 1]);
        let boxed = self.screen.rows()[row].text().ends_with(['│', '┃']);
        boxed && item.numbered.is_some_and(|at| line.indent() + 1 >= at) && self.is_wrapped(above, line)
    }

    fn is_wrapped(&self, above: &Line, line: &Line) -> bool {
        let word = line.text.trim().split(' ').next().unwrap_or("").chars().count();
        above.len() + 1 + word + SLACK > above.edge
    }

    /// What stands below an option: the rest of its label, if that was wrapped, else more about it.
    fn say_more(&self, item: &mut Item, row: usize) {
        let above = &self.lines[row - 1];
        let rest = self.lines[row].text.trim();
        let wrapped = self.is_wrapped(above, &self.lines[row]);
        item.below = item.below.max(row.saturating_sub(item.row));
        let to = if wrapped && item.about.is_empty() { &mut item.label } else { &mut item.about };
        if !to.is_empty() {
            to.push(' ');
        }
        to.push_str(rest);
    }

    /// A list of which only the selected row can be recognized by its text.
    fn marked(&self, mark: &Pattern) -> Option<List> {
        let read = |row: usize| {
            let item = self.item(row, &mark.0.captures(&self.lines[row].text)?);
            item.marked.then_some(item)
        };
        let start = (0..self.lines.len()).rev().find_map(read)?;
        let item = |row: usize| {
            if row == start.row {
                return start.clone();
            }
            let (label, about) = apart(self.lines[row].text.trim());
            Item { row, label: label.into(), about: about.into(), column: start.column, ..Item::default() }
        };
        let ends = |row: usize| {
            let line = &self.lines[row];
            let left = !line.is_blank() && row != start.row && line.indent() < start.column;
            left || (line.is_blank() && self.form.layout == Layout::Rows)
        };
        let first = (0..start.row).rev().find(|row| ends(*row)).map_or(0, |row| row + 1);
        let end = (start.row..self.lines.len()).find(|row| ends(*row)).unwrap_or(self.lines.len());
        let blocks = self.form.layout == Layout::Blocks;
        let mut runs = self.lines[first..end].split(|line| line.is_blank());
        if blocks && runs.any(|run| run.len() > MOST_BLOCK) {
            let found = found(Vec::new(), None, How::None, false);
            return Some(List { first: end, title: None, found, rows: Vec::new() });
        }
        self.list(self.blocks(first, end, start.column, item))
    }

    /// The options in rows `first..end`, by the form's layout.
    fn blocks(&self, first: usize, end: usize, column: usize, item: impl Fn(usize) -> Item) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        let rows: Vec<usize> = (first..end).collect();
        for block in rows.split(|row| self.lines[*row].is_blank()).filter(|b| !b.is_empty()) {
            match self.form.layout {
                Layout::Blocks if block.len() > 1 => {
                    let mut one = item(block[0]);
                    one.below = block.len() - 1;
                    block[1..].iter().for_each(|row| {
                        one.about =
                            format!("{} {}", one.about, self.lines[*row].text.trim()).trim().to_owned();
                    });
                    items.push(one);
                }
                Layout::Blocks => {}
                layout => {
                    for row in &block[usize::from(layout == Layout::Headed)..] {
                        let next = item(*row);
                        match items.last_mut() {
                            Some(last) if !next.marked && self.lines[*row].indent() > column => {
                                self.say_more(last, *row);
                            }
                            _ => items.push(next),
                        }
                    }
                }
            }
        }
        items
    }

    fn list(&self, items: Vec<Item>) -> Option<List> {
        let (first, last) = (items.first()?.row, items.last()?.row);
        if !self.at_bottom(last) {
            return None;
        }
        let selected = items.iter().position(|i| i.marked);
        let digits = self.form.digits;
        let how = if digits { How::Digits } else { How::Arrows("Up", "Down", self.form.tick.clone()) };
        let more = items.iter().any(|i| i.more);
        let rows = rows_of(&items);
        Some(List { first, title: None, found: found(items, selected, how, more), rows })
    }

    /// The one option with another background than `plain` has.
    fn highlit(&self, places: &[(usize, usize)], plain: (usize, usize)) -> Option<usize> {
        let style =
            |(row, column): (usize, usize)| self.screen.rows().get(row).map(|r: &Row| r.style(column).back);
        let mut lit = places.iter().enumerate().filter(|(_, at)| style(**at) != style(plain));
        let only = lit.next()?.0;
        lit.next().is_none().then_some(only)
    }

    /// Options side by side.
    fn side(&self, side: &Pattern) -> Option<List> {
        let (row, options) = (0..self.lines.len()).rev().find_map(|row| {
            let options = side.0.captures(&self.lines[row].text)?.name("options")?.range();
            Some((row, options))
        })?;
        let line = &self.lines[row].text;
        let mut items = Vec::new();
        let mut at = line[..options.start].chars().count();
        for part in line[options].split("  ") {
            let blank = part.chars().take_while(|c| *c == ' ').count();
            if !part.trim().is_empty() {
                items.push(Item {
                    row,
                    label: part.trim().to_owned(),
                    column: at + blank,
                    ..Item::default()
                });
            }
            at += part.chars().count() + 2;
        }
        let places: Vec<_> = items.iter().map(|i| (row, i.column)).collect();
        let first = items.first()?;
        // Highlights may be wider than their word by one.
        let between = (row, first.column + first.label.chars().count() + 1);
        let selected = self.highlit(&places, between);
        let how = How::Arrows("Left", "Right", self.form.tick.clone());
        self.at_bottom(row).then(|| List {
            first: row,
            title: None,
            rows: rows_of(&items),
            found: found(items, selected, how, false),
        })
    }

    /// One row that takes a letter; what it is about stands right above.
    fn letters(&self, letters: &Pattern) -> Option<List> {
        let last = self.lines.iter().rposition(|l| !l.is_blank())?;
        let mut text = String::new();
        // The terminal wraps such a row where it is full.
        let row = (0..=last).rev().take(MOST_WRAPPED).find(|row| {
            let line = &self.lines[*row];
            let gap = if text.is_empty() || line.len() >= line.edge { "" } else { " " };
            text = format!("{}{gap}{text}", line.text);
            letters.0.is_match(&text)
        })?;
        let all = letters.0.captures(&text)?;
        let (mut keys, mut items) = (Vec::new(), Vec::new());
        for option in all["options"].split('/') {
            let key: String = option.split_once('(')?.1.chars().take_while(|c| *c != ')').collect();
            keys.push(key.to_lowercase());
            items.push(Item { row, label: option.replace(['(', ')'], ""), ..Item::default() });
        }
        let default = all.name("default").map_or("", |m| m.as_str());
        let selected = items.iter().position(|i| i.label.eq_ignore_ascii_case(default));
        let title = all.name("title").map(|t| t.as_str().trim().to_owned());
        let rows = rows_of(&items);
        Some(List { first: row, title, found: found(items, selected, How::Letters(keys), false), rows })
    }

    /// A list in a dialog painted over other rows.
    fn clipped(&mut self, clip: &Pattern) -> Option<List> {
        let rows = self.screen.rows();
        let (top, column, right) = (0..rows.len()).rev().find_map(|row| {
            let text = rows[row].text();
            let found = clip.0.captures(text)?;
            let chars = |to: usize| text[..to].chars().count();
            Some((row, chars(found.name("title")?.start()), chars(found.get(0)?.end())))
        })?;
        let ground = |row: usize, at: usize| rows[row].style(at).back;
        let colours = self.screen.has_colours();
        let here = ground(top, column);
        let left = (0..column)
            .rev()
            .take_while(|at| colours && ground(top, *at) == here)
            .last()
            .unwrap_or(column.saturating_sub(2));
        let end = (top..rows.len()).find(|row| colours && ground(*row, left) != here).unwrap_or(rows.len());
        for (row, line) in self.lines.iter_mut().enumerate() {
            let text: String = rows[row].text().chars().take(right).skip(left).collect();
            line.text = if (top..end).contains(&row) { text.trim_end().to_owned() } else { String::new() };
            if self.form.skip.as_ref().is_some_and(|p| p.0.is_match(&line.text)) {
                line.text.clear();
            }
        }
        let column = column - left;
        let stops = |row: &usize| self.lines[*row].text.chars().skip(column).take(1).all(|c| c == ' ');
        let end = (top + 1..end).find(|row| !self.lines[*row].is_blank() && stops(row)).unwrap_or(end);
        let item = |row: usize| {
            let label: String = self.lines[row].text.chars().skip(column).collect();
            let (label, about) = apart(&label);
            Item { row, label: label.into(), about: about.into(), column: left + column, ..Item::default() }
        };
        let items = self.blocks(top + 1, end, usize::MAX, item);
        let places: Vec<_> = items.iter().map(|i| (i.row, i.column)).collect();
        let selected = self.highlit(&places, (top, left + column));
        let headed = usize::from(self.form.layout == Layout::Headed);
        let first = items.first()?.row - headed;
        let how = How::Arrows("Up", "Down", None);
        // Nothing marks where such a list was cut off.
        let rows = rows_of(&items);
        Some(List { first, title: None, found: found(items, selected, how, false), rows })
    }
}

fn rows_of(items: &[Item]) -> Vec<Range<usize>> {
    items.iter().map(|i| i.row..i.row + i.below + 1).collect()
}

fn found(items: Vec<Item>, selected: Option<usize>, how: How, more: bool) -> Found {
    let options = items.into_iter().enumerate().map(|(n, item)| Choice {
        number: item.number.unwrap_or(n + 1),
        label: item.label,
        about: item.about,
        ticked: item.ticked,
    });
    let options: Vec<Choice> = options.collect();
    Found { selected: selected.map(|n| options[n].number), options, how, more }
}

/// A label and what stands beside it.
fn apart(text: &str) -> (&str, &str) {
    let (label, about) = text.split_once("  ").unwrap_or((text, ""));
    (label.trim(), about.trim())
}

fn ask<'a>(title: Option<&str>, rows: impl Iterator<Item = &'a str>, list: Option<Found>) -> Question {
    let mut rows = rows.map(str::trim).filter(|row| !row.is_empty());
    let header = title.or_else(|| rows.next()).unwrap_or_default();
    // What stands far from the title, and a mark before or behind it, is no part of it.
    let header = header.split("    ").next().unwrap_or_default().trim_end_matches([' ', '←']);
    let header = match header.split_once(' ') {
        Some((mark, title)) if !mark.contains(|c: char| c.is_alphanumeric() || "$/~[(".contains(c)) => title,
        _ => header,
    };
    let text = rows.collect::<Vec<_>>().join("\n");
    let none = Found { options: Vec::new(), selected: None, how: How::None, more: false };
    Question::new(header.trim().to_owned(), text, list.unwrap_or(none))
}

fn widest(screen: &Screen) -> usize {
    screen.rows().iter().map(|r| r.text().chars().count()).max().unwrap_or(0)
}

/// A row without the lines of boxes; a row of nothing else is blank.
fn line(text: &str, widest: usize) -> Line {
    let side = |c: char| matches!(c, '│' | '┃' | ' ' | '█');
    let drawn = |c: &char| ('\u{2500}'..='\u{259f}').contains(c);
    let full = text.chars().filter(|c| *c != ' ').count();
    if text.chars().filter(drawn).count() * 10 > full * 6 {
        return Line::default();
    }
    let kept = text.trim_end_matches(side);
    let start = kept.find(|c: char| !side(c)).unwrap_or(kept.len());
    let mut out: String = kept[..start].chars().map(|_| ' ').collect();
    out.push_str(&kept[start..]);
    let boxed = text.ends_with(['│', '┃']);
    let edge = if boxed {
        text.chars().rev().skip_while(|c| side(*c) && *c != ' ').count().saturating_sub(1)
    } else {
        widest
    };
    Line { text: out, edge }
}
