//! Which conversations belong to a directory.
//!
//! Knows that a directory may be reached by two names, and how claude and qwen encode one. Must
//! not know what is in it.

/// A directory as the session has it, and as the kernel has it: agents write down either.
pub struct Cwd(Vec<String>);

impl Cwd {
    pub fn new(given: &str) -> Self {
        let mut names = vec![trimmed(given).to_owned()];
        let real = std::fs::canonicalize(given).ok();
        if let Some(real) = real.as_deref().and_then(|p| p.to_str()).filter(|r| *r != names[0]) {
            names.push(real.to_owned());
        }
        Cwd(names)
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }

    pub fn is(&self, written: &str) -> bool {
        self.0.iter().any(|n| n == trimmed(written))
    }
}

/// Without a directory asked for, all belong.
pub fn fits(asked: &Option<Cwd>, written: &str) -> bool {
    asked.as_ref().is_none_or(|cwd| cwd.is(written))
}

fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

/// Names longer than this are cut by the agent, and a hash follows.
pub const LONGEST: usize = 200;

/// A directory's name as claude and qwen write it: `/a/b-c` and `/a/b/c` are the same, so the
/// rows have to be asked. A character beyond 16 bits is two dashes, as JavaScript counts.
pub fn encoded(path: &str) -> String {
    let dashes = |c: char| if c.len_utf16() == 2 { "--".to_owned() } else { "-".to_owned() };
    path.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { dashes(c) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_directories_may_have_one_encoded_name() {
        assert_eq!(encoded("/a/b-c"), "-a-b-c");
        assert_eq!(encoded("/a/b-c"), encoded("/a/b/c"));
        assert_eq!(encoded("/ä/𝄞"), "------".get(..5).unwrap());
    }

    #[test]
    fn a_directory_is_known_by_its_real_name_too() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let cwd = Cwd::new(link.to_str().unwrap());
        assert!(cwd.is(link.to_str().unwrap()) && cwd.is(real.to_str().unwrap()));
        assert!(!cwd.is(dir.path().to_str().unwrap()));
        assert!(Cwd::new("/").is("/") && Cwd::new("/a/").is("/a"));
    }
}
