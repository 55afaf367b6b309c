//! A transcript from successive captures of the same pane, where its bytes cannot be had.
//! Pure: finds what a new capture adds to the last.

/// Lines of the last capture kept to find it again in the next.
const KEEP: usize = 200;

/// What was written so far, by its last lines.
#[derive(Debug, Default)]
pub struct Tail {
    lines: Vec<Vec<u8>>,
    begun: bool,
    /// The lines are an earlier transcript's.
    seeded: bool,
}

/// Lines of an earlier transcript that are looked for.
const SEED: usize = 20;
/// Of those, how many at the end may look otherwise on the screen: a prompt that was continued.
const CHANGED: usize = 2;

impl Tail {
    /// Goes on after a transcript that ends with `text`. Where the screen does not show its end
    /// any more, it goes on after what is on the screen.
    pub fn after(text: &[u8]) -> Self {
        let ours = |l: &&[u8]| !l.starts_with(b"[muxfs: ");
        let mut lines: Vec<_> = text.split(|b| *b == b'\n').filter(ours).map(|l| l.to_vec()).collect();
        lines.pop(); // what follows the last newline
        lines.drain(..lines.len().saturating_sub(SEED));
        Tail { seeded: !lines.is_empty(), begun: false, lines }
    }

    /// `text` holds every finished line, oldest first. Returns the new ones, each with its
    /// newline. What scrolled out of tmux's history between two captures is a stated gap.
    pub fn advance(&mut self, text: &[u8]) -> Vec<u8> {
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        let lines = &lines[..lines.len() - 1]; // what follows the last newline is not finished
        let at = if std::mem::take(&mut self.seeded) { self.place(lines) } else { self.position(lines) };
        let (new, gap) = match at {
            Some(at) => (&lines[at..], false),
            None => (lines, self.begun && !self.lines.is_empty()),
        };
        let mut out = Vec::new();
        if gap {
            out.extend_from_slice(
                b"[muxfs: lines may be missing or repeated here: the screen was replaced]\n",
            );
        }
        for line in new {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.begun = true;
        self.lines = lines[lines.len().saturating_sub(KEEP)..].iter().map(|l| l.to_vec()).collect();
        out
    }

    /// Where the lines go on after an earlier transcript.
    fn place(&mut self, lines: &[&[u8]]) -> Option<usize> {
        for _ in 0..=CHANGED {
            if let Some(at) = self.position(lines) {
                return Some(at);
            }
            self.lines.pop();
        }
        Some(lines.len())
    }

    /// Where the lines go on after what is known: behind the last place that the known tail, or
    /// as much of it as still is there, stands in full.
    fn position(&self, lines: &[&[u8]]) -> Option<usize> {
        if self.lines.is_empty() {
            return self.begun.then_some(0);
        }
        let known = self.lines.len();
        (0..=lines.len()).rev().find(|&end| {
            let n = known.min(end);
            n > 0 && lines[end - n..end].iter().zip(&self.lines[known - n..]).all(|(a, b)| *a == b.as_slice())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tail: &mut Tail, text: &str) -> String {
        String::from_utf8(tail.advance(text.as_bytes())).unwrap()
    }

    #[test]
    fn each_line_comes_once() {
        let mut t = Tail::default();
        assert_eq!(add(&mut t, "a\nb\n"), "a\nb\n");
        assert_eq!(add(&mut t, "a\nb\n"), "");
        assert_eq!(add(&mut t, "a\nb\nb\n"), "b\n");
        assert_eq!(add(&mut t, "b\nb\nc\nd\n"), "c\nd\n", "history dropped its first line");
    }

    #[test]
    fn a_replaced_screen_is_a_stated_gap() {
        let mut t = Tail::default();
        add(&mut t, "a\nb\n");
        assert!(add(&mut t, "x\ny\n").starts_with("[muxfs: lines may be missing"));
        assert_eq!(add(&mut t, "x\ny\nz\n"), "z\n");
    }

    #[test]
    fn it_goes_on_after_an_earlier_transcript() {
        let after = |text: &str| Tail::after(text.as_bytes());
        assert_eq!(add(&mut after("a\nb\n[muxfs: taken]\n"), "a\nb\nc\n"), "c\n");
        assert_eq!(add(&mut after("a\nb\n$\n"), "a\nb\n$ ls\nc\n"), "$ ls\nc\n", "a prompt went on");
        let mut elsewhere = after("p\nq\nr\ns\n");
        assert_eq!(add(&mut elsewhere, "a\nb\n"), "", "of a screen that was cleared nothing is known");
        assert_eq!(add(&mut elsewhere, "a\nb\nc\n"), "c\n");
        assert_eq!(add(&mut after(""), "a\n"), "a\n");
    }

    #[test]
    fn an_empty_start_is_no_gap() {
        let mut t = Tail::default();
        assert_eq!(add(&mut t, ""), "");
        assert_eq!(add(&mut t, "a\n"), "a\n");
    }
}
