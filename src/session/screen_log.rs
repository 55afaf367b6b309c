//! A transcript from successive captures of the same pane, where its bytes cannot be had.
//! Pure: finds what a new capture adds to the last.

/// Lines of the last capture kept to find it again in the next.
const KEEP: usize = 200;

/// What was written so far, by its last lines.
#[derive(Debug, Default)]
pub struct Tail {
    lines: Vec<Vec<u8>>,
    begun: bool,
}

impl Tail {
    /// `text` holds every finished line, oldest first. Returns the new ones, each with its
    /// newline. What scrolled out of tmux's history between two captures is a stated gap.
    pub fn advance(&mut self, text: &[u8]) -> Vec<u8> {
        let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
        let lines = &lines[..lines.len() - 1]; // what follows the last newline is not finished
        let (new, gap) = match self.position(lines) {
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
    fn an_empty_start_is_no_gap() {
        let mut t = Tail::default();
        assert_eq!(add(&mut t, ""), "");
        assert_eq!(add(&mut t, "a\n"), "a\n");
    }
}
