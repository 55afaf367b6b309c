//! Ids: 64 bits that stand for an object for good.
//!
//! An id is a hash of what the object is: a session's record, a pane of one life of tmux, a turn's
//! number, a row's name. So it is the same after a restart of the node, and never another object's.
//! The node's secret is the hash's key: two nodes give different ids to objects that are called alike.
//!
//! Pure. Must not know what an object is.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// The hash that makes ids. A clone makes the same ids.
#[derive(Clone)]
pub struct Ids {
    key: [u8; 16],
}

/// A door's own numbers begin here: no tree has such an id. Numbers below 2 are nobody's.
pub const OWN: u64 = 1 << 63;

impl Ids {
    pub fn new(secret: &[u8; 16]) -> Self {
        Ids { key: *secret }
    }

    /// Of what these words name together.
    pub fn of(&self, words: &[&str]) -> u64 {
        let mut hash = SipHasher13::new_with_key(&self.key);
        for word in words {
            hash.write_u64(word.len() as u64); // "ab", "c" is not "a", "bc"
            hash.write(word.as_bytes());
        }
        within(hash.finish())
    }

    /// Of what is called `name` in the object `above`.
    pub fn below(&self, above: u64, name: &str) -> u64 {
        let mut hash = SipHasher13::new_with_key(&self.key);
        hash.write_u64(above);
        hash.write(name.as_bytes());
        within(hash.finish())
    }
}

fn within(hash: u64) -> u64 {
    (hash & (OWN - 1)).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_its_words_and_of_its_node() {
        let (one, other) = (Ids::new(&[1; 16]), Ids::new(&[2; 16]));
        assert_eq!(one.of(&["session", "a"]), one.clone().of(&["session", "a"]));
        assert_ne!(one.of(&["session", "a"]), other.of(&["session", "a"]));
        assert_ne!(one.of(&["ab", "c"]), one.of(&["a", "bc"]));
        assert_ne!(one.of(&["ab"]), one.of(&["ab", ""]));
        let session = one.of(&["session", "a"]);
        assert_ne!(one.below(session, "input"), one.below(session, "output"));
        assert!((2..OWN).contains(&within(0)) && (2..OWN).contains(&within(u64::MAX)));
    }
}
