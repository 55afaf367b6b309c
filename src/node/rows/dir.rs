//! What a row of a directory is, and how a path is walked: directories are rows as files are.
//!
//! A directory holds rows of its own object, directories of it, and what has names of its own. Nothing
//! here knows any of their names.

use std::time::SystemTime;

use bytes::Bytes;

use super::row::{Answer, At, Bound, File, Row};
use crate::session::ModeSet;
use muxfs_tree::base::error::Result;
use muxfs_tree::id::Ids;
use muxfs_tree::{Accepts, Gesture, Shape, Until};

/// What rows act on.
pub trait Subject: Clone + Send + Sync + 'static {
    /// The id of the object itself.
    fn id(&self, ids: &Ids) -> u64;
    /// What chmod and chgrp set for `path`, seen from the object whose record has it.
    fn modes(&self, path: &str) -> ModeSet;
    /// When it came; `None`: with the node.
    fn made(&self) -> Option<SystemTime>;
}

/// A directory of every object of kind `S`.
pub struct DirRow<S: 'static> {
    /// `queue`; for a directory that has its object's name, what the name stands for: `<turn>`.
    pub name: &'static str,
    /// Permission bits where nobody changed them.
    pub mode: u32,
    pub about: &'static str,
    /// What an error calls a name that is not there: `session`.
    pub lacks: &'static str,
    pub makes: Makes<S>,
    pub holds: &'static [Holds<S>],
    /// rmdir; none: it goes with its object.
    pub remove: Option<fn(S) -> Answer<()>>,
    pub rename: Option<fn(S, String) -> Answer<()>>,
}

impl<S> DirRow<S> {
    pub const fn new(name: &'static str, mode: u32, about: &'static str, holds: &'static [Holds<S>]) -> Self {
        DirRow { name, mode, about, lacks: "file", makes: Makes::Nothing, holds, remove: None, rename: None }
    }
}

impl<S> DirRow<S> {
    fn accepts(&self) -> Accepts {
        match self.makes {
            Makes::Nothing => Accepts::Nothing,
            Makes::Scratch => Accepts::Scratch,
            Makes::Dirs(_) => Accepts::Dirs,
            Makes::Items(_) => Accepts::Items,
        }
    }
}

/// What may be made in a directory.
pub enum Makes<S> {
    Nothing,
    /// Editors' scratch files, which a door keeps.
    Scratch,
    Dirs(fn(S, Gesture, String) -> Answer<()>),
    Items(MakesItems<S>),
}

type MakeItem<S> = fn(S, Gesture, String, Bytes, Until) -> MadeItem;

pub struct MakesItems<S> {
    /// Whether one of this name would be taken now.
    pub admit: fn(&S, &str) -> Result<()>,
    /// What was made; it may be on its way already.
    pub make: MakeItem<S>,
}

pub type MadeItem = Answer<Box<dyn Made>>;

/// An item that was just made, under whatever name it has now.
pub trait Made: Send {
    fn found(&self, ids: &Ids) -> Found;
    /// The turn that it is.
    fn turn(&self) -> String;
}

/// A part of what a directory holds.
pub enum Holds<S: 'static> {
    Files(&'static [Row<S>]),
    Dir(&'static DirRow<S>),
    Others(&'static dyn Others<S>),
}

/// What has names of its own, or belongs to another object.
pub trait Others<S>: Sync {
    fn names(&self, of: &S) -> Vec<String>;
    /// Whether the object of this id has gone, whatever its name was. False where nothing can be removed.
    fn has_lost(&self, _: &S, _: &Ids, _: u64) -> bool {
        false
    }
    /// The names that stand there for good: another object's rows.
    fn file_names(&self) -> Vec<String> {
        Vec::new()
    }
    /// Fetches names that only the disk knows; none where memory has them all.
    fn look(&self, _: &S) -> Option<Answer<()>> {
        None
    }
    /// `path` is that of the directory, as [`Subject::modes`] takes it.
    fn find(&self, of: &S, ids: &Ids, path: &str, name: &str) -> Option<Found>;
    /// Its rows for the manual: those shown in `dir`, then those below.
    fn describe(&self, dir: &str, to: &mut Described);
}

/// Where a path leads.
pub struct Found {
    pub id: u64,
    pub modes: ModeSet,
    pub what: What,
}

pub enum What {
    Dir(Box<dyn Directory>),
    File(Box<dyn Bound>),
}

/// A directory of one object.
pub trait Directory: Send + Sync {
    fn mode(&self) -> u32;
    fn accepts(&self) -> Accepts;
    fn made(&self) -> Option<SystemTime>;
    fn names(&self) -> Vec<String>;
    /// The rows of the tables: what is always in it.
    fn file_names(&self) -> Vec<String>;
    fn find(&self, ids: &Ids, name: &str) -> Option<Found>;
    /// What an error calls a name that is not there.
    fn lacks(&self) -> &'static str;
    fn make_dir(&self, gesture: &Gesture, name: &str) -> Option<Answer<()>>;
    /// Whether the object of this id has gone, whatever its name was.
    fn has_lost(&self, ids: &Ids, id: u64) -> bool;
    fn admit_item(&self, name: &str) -> Option<Result<()>>;
    fn make_item(&self, gesture: &Gesture, name: &str, body: Bytes, until: Until) -> Option<MadeItem>;
    /// Fetches names that only the disk knows.
    fn look(&self) -> Option<Answer<()>>;
    fn remove(&self) -> Option<Answer<()>>;
    fn rename(&self, to: &str) -> Option<Answer<()>>;
}

pub struct DirAt<S: 'static> {
    pub row: &'static DirRow<S>,
    pub subject: S,
    pub id: u64,
    /// As [`Subject::modes`] takes it.
    pub path: String,
}

impl<S: Subject> DirAt<S> {
    /// The directory that stands for the whole object.
    pub fn found(row: &'static DirRow<S>, subject: S, ids: &Ids, path: String, modes: ModeSet) -> Found {
        let id = subject.id(ids);
        Found { id, modes, what: What::Dir(Box::new(DirAt { row, subject, id, path })) }
    }
}

/// The path of `name` in the directory at `path`.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// The file `name` among rows; `logs.1` is the row `logs`, rotated. `above` is the id of what the rows
/// belong to here, `own` that of the object itself.
pub fn find_file<S: Subject>(
    rows: &'static [Row<S>],
    subject: &S,
    ids: &Ids,
    above: u64,
    path: &str,
    name: &str,
) -> Option<Found> {
    let is_log = |row: &Row<S>| matches!(row.file, File::Log(_));
    let (row, rotated) = match rows.iter().find(|row| row.name == name) {
        Some(row) => (row, false),
        None => {
            let log = name.strip_suffix(".1")?;
            (rows.iter().find(|row| row.name == log && is_log(row))?, true)
        }
    };
    let file = At { row, subject: subject.clone(), rotated };
    let id = match file.log_key() {
        Some(key) => super::logs::id(ids, &key),
        None if rotated => return None,
        None => ids.below(above, name),
    };
    Some(Found { id, modes: subject.modes(&join(path, name)), what: What::File(Box::new(file)) })
}

/// The names that rows are shown under.
pub fn file_names<S>(rows: &'static [Row<S>]) -> impl Iterator<Item = String> {
    rows.iter().flat_map(|row| {
        let rotated = matches!(row.file, File::Log(_)).then(|| format!("{}.1", row.name));
        std::iter::once(row.name.to_owned()).chain(rotated)
    })
}

impl<S: Subject> Directory for DirAt<S> {
    fn mode(&self) -> u32 {
        self.row.mode
    }

    fn accepts(&self) -> Accepts {
        self.row.accepts()
    }

    fn made(&self) -> Option<SystemTime> {
        self.subject.made()
    }

    fn names(&self) -> Vec<String> {
        let mut all = Vec::new();
        for part in self.row.holds {
            match part {
                Holds::Files(rows) => all.extend(file_names(rows)),
                Holds::Dir(row) => all.push(row.name.to_owned()),
                Holds::Others(others) => all.extend(others.names(&self.subject)),
            }
        }
        all
    }

    fn file_names(&self) -> Vec<String> {
        let names = |part: &Holds<S>| match part {
            Holds::Files(rows) => file_names(rows).collect(),
            Holds::Dir(_) => Vec::new(),
            Holds::Others(others) => others.file_names(),
        };
        self.row.holds.iter().flat_map(names).collect()
    }

    fn find(&self, ids: &Ids, name: &str) -> Option<Found> {
        self.row.holds.iter().find_map(|part| match part {
            Holds::Files(rows) => find_file(rows, &self.subject, ids, self.id, &self.path, name),
            Holds::Dir(row) => (row.name == name).then(|| {
                let (id, path) = (ids.below(self.id, name), join(&self.path, name));
                let modes = self.subject.modes(&path);
                let dir = DirAt { row, subject: self.subject.clone(), id, path };
                Found { id, modes, what: What::Dir(Box::new(dir)) }
            }),
            Holds::Others(others) => others.find(&self.subject, ids, &self.path, name),
        })
    }

    fn lacks(&self) -> &'static str {
        self.row.lacks
    }

    fn make_dir(&self, gesture: &Gesture, name: &str) -> Option<Answer<()>> {
        match &self.row.makes {
            Makes::Dirs(make) => Some(make(self.subject.clone(), gesture.clone(), name.to_owned())),
            _ => None,
        }
    }

    fn has_lost(&self, ids: &Ids, id: u64) -> bool {
        self.row.holds.iter().any(|part| match part {
            Holds::Files(_) | Holds::Dir(_) => false,
            Holds::Others(others) => others.has_lost(&self.subject, ids, id),
        })
    }

    fn admit_item(&self, name: &str) -> Option<Result<()>> {
        match &self.row.makes {
            Makes::Items(items) => Some((items.admit)(&self.subject, name)),
            _ => None,
        }
    }

    fn make_item(&self, gesture: &Gesture, name: &str, body: Bytes, until: Until) -> Option<MadeItem> {
        match &self.row.makes {
            Makes::Items(items) => {
                let (subject, name) = (self.subject.clone(), name.to_owned());
                Some((items.make)(subject, gesture.clone(), name, body, until))
            }
            _ => None,
        }
    }

    fn look(&self) -> Option<Answer<()>> {
        self.row.holds.iter().find_map(|part| match part {
            Holds::Others(others) => others.look(&self.subject),
            Holds::Files(_) | Holds::Dir(_) => None,
        })
    }

    fn remove(&self) -> Option<Answer<()>> {
        self.row.remove.map(|remove| remove(self.subject.clone()))
    }

    fn rename(&self, to: &str) -> Option<Answer<()>> {
        self.row.rename.map(|rename| rename(self.subject.clone(), to.to_owned()))
    }
}

/// A row for the manual.
pub struct Line {
    /// As a person names it: `<node>/<session>/queue`.
    pub dir: String,
    pub name: String,
    pub shape: Shape,
    pub mode: u32,
    pub about: &'static str,
}

/// Rows for the manual: each directory's own, then those of the directories in it.
#[derive(Default)]
pub struct Described {
    pub lines: Vec<Line>,
    later: Vec<Described>,
}

impl Described {
    fn add(&mut self, dir: &str, name: String, shape: Shape, mode: u32, about: &'static str) {
        self.lines.push(Line { dir: dir.to_owned(), name, shape, mode, about });
    }

    pub fn files<S>(&mut self, dir: &str, rows: &'static [Row<S>]) {
        for row in rows {
            self.add(dir, row.name.to_owned(), row.file.shape(), row.mode, row.about);
        }
    }

    /// A directory of `dir`, and later what it holds.
    pub fn dir<S>(&mut self, dir: &str, row: &'static DirRow<S>) {
        self.add(dir, format!("{}/", row.name), Shape::Dir(row.accepts()), row.mode, row.about);
        let inner = join(dir, row.name);
        let mut below = Described::default();
        for part in row.holds {
            match part {
                Holds::Files(rows) => below.files(&inner, rows),
                Holds::Dir(row) => below.dir(&inner, row),
                Holds::Others(others) => others.describe(&inner, &mut below),
            }
        }
        self.later.push(below);
    }

    pub fn finish(self) -> Vec<Line> {
        let mut all = self.lines;
        for below in self.later {
            all.extend(below.finish());
        }
        all
    }
}
