//! Names: making, removing and renaming them, and what editors do to save a document. What a
//! directory takes decides ([`Accepts`]); no file's name is known here.
//!
//! Part of [`Vfs`]; its lock order holds.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use super::handle::{Handle, Mode, tid};
use super::inode::{Inode, State, What};
use super::listing::or_look;
use super::scratch::{AWAY, KEEP, ScratchFile, is_slip, is_temporary, is_unfinished};
use super::vfs::{Entry, Found, Opened, Vfs, valid};
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::names::MAX_NAME;
use muxfs_tree::{Accepts, Access, Caller, Gesture, Intent, Place, Shape, Stat, TreePath, Until};

type Dir = (Arc<Inode>, State, Accepts);

impl Vfs {
    /// `open` with O_CREAT of a name that the kernel does not know.
    pub async fn create(
        &self,
        who: &Caller,
        parent: u64,
        name: &OsStr,
        flags: i32,
    ) -> Result<(Entry, Opened)> {
        or_look!(self, who, self.path(parent), self.create_known(who, parent, name, flags).await)
    }

    async fn create_known(
        &self,
        who: &Caller,
        parent: u64,
        name: &OsStr,
        flags: i32,
    ) -> Result<(Entry, Opened)> {
        let dir = self.dir(parent)?;
        let name = self.new_name(who, &dir.1, name)?;
        match self.find(&dir, name) {
            Ok(_) if flags & libc::O_EXCL != 0 => {
                return fail(Kind::Exists, format!("{name} is there already"));
            }
            Ok((path, found)) => {
                let entry = self.enter(tid(who), path, &found);
                // An entry that is not answered with is not the kernel's to forget.
                let opened = self.open(who, entry.attr.ino, flags).await.inspect_err(|_| {
                    self.forget(entry.attr.ino, 1);
                })?;
                return Ok((entry, opened));
            }
            Err(e) if e.kind == Kind::NotFound => {}
            Err(e) => return Err(e),
        }
        let (inode, state, accepts) = &dir;
        match accepts {
            Accepts::Scratch if self.scratch.lock().is_away(state.stat.id, name) => {
                self.create_document(who, &dir, name, flags)
            }
            Accepts::Scratch => {
                self.judge(who, state, name)?;
                self.create_scratch(who, inode, state, name, flags)
            }
            Accepts::Items => {
                let at = state.path.join(name);
                match self.door.tree.admit(who, Intent::Make(&at)) {
                    Err(e) if e.kind == Kind::Unknown => Err(e),
                    Err(e) if e.kind != Kind::NotFound => self.refuse(who, &at, e.kind, e.text().to_owned()),
                    _ if is_unfinished(name) => self.create_scratch(who, inode, state, name, flags),
                    _ => Ok(self.create_item(who, state, name, flags)),
                }
            }
            Accepts::Nothing | Accepts::Dirs => {
                let at = state.path.join(name);
                self.refuse(who, &at, Kind::Never, format!("{name}: this directory takes no files"))
            }
        }
    }

    /// A successor of a document that an editor moved away: an inode of its own.
    fn create_document(&self, who: &Caller, dir: &Dir, name: &str, flags: i32) -> Result<(Entry, Opened)> {
        let path = dir.1.path.join(name);
        let stat = self.door.tree.stat(&path)?;
        self.may_replace(who, &path, &stat)?;
        self.scratch.lock().back(dir.1.stat.id, name);
        let inode = self.inodes.lock().take(path, stat);
        let handle = Handle::create_document(&self.door, &inode, who, Mode::of(flags));
        Ok((self.entry(tid(who), &inode, &stat), self.keep(handle)))
    }

    fn create_scratch(
        &self,
        who: &Caller,
        dir: &Arc<Inode>,
        state: &State,
        name: &str,
        flags: i32,
    ) -> Result<(Entry, Opened)> {
        let stat = new_stat(who, Shape::Scratch);
        let (inode, file) = {
            let mut inodes = self.inodes.lock();
            let share = self.door.scratch.share(who.uid());
            let file = ScratchFile::new(inodes.fresh(), Vec::new(), share, stat, Instant::now())?;
            let put = self.scratch.lock().put(dir, name, file.clone());
            if let Err(why) = put {
                drop(inodes);
                self.door.tree.refused(who, &state.path.join(name), &why);
                return Err(why);
            }
            (inodes.take_scratch(state.path.join(name), &file), file)
        };
        let opened = self.keep(Handle::open_scratch(&inode, who, Mode::of(flags), file));
        Ok((self.entry(tid(who), &inode, &stat), opened))
    }

    /// The tree hears of an item when it is complete. Until then its name leads nowhere, so the
    /// kernel must not keep it.
    fn create_item(&self, who: &Caller, dir: &State, name: &str, flags: i32) -> (Entry, Opened) {
        let stat = new_stat(who, Shape::Item);
        let inode = self.inodes.lock().take_pending(dir.path.join(name), stat);
        let handle = Handle::create_item(&self.door, &inode, who, Mode::of(flags));
        let entry = Entry { name_ttl: std::time::Duration::ZERO, ..self.entry(tid(who), &inode, &stat) };
        (entry, self.keep(handle))
    }

    /// Whether a file may be made under this name: not if the name is a likely misspelling of another
    /// file's.
    fn judge(&self, who: &Caller, dir: &State, name: &str) -> Result<()> {
        if is_temporary(name) {
            return Ok(());
        }
        let listed = self.door.tree.list(&dir.path)?;
        let Some(meant) = listed.iter().find(|e| is_slip(&e.name, name)) else { return Ok(()) };
        let why = format!("{name}: no such file; {} is one", meant.name);
        self.refuse(who, &dir.path.join(name), Kind::Never, why)
    }

    pub async fn mkdir(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<Entry> {
        or_look!(self, who, self.path(parent), self.make_dir(who, parent, name).await)
    }

    async fn make_dir(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<Entry> {
        let (_, dir, accepts) = self.dir(parent)?;
        let name = self.new_name(who, &dir, name)?;
        let path = dir.path.join(name);
        if accepts != Accepts::Dirs {
            return self.refuse(who, &path, Kind::Never, format!("{name}: no directory can be made here"));
        }
        let (gesture, _canceller) = Gesture::cancellable(who);
        let made = self.door.tree.make(&gesture, &path, None, Until::Accepted);
        let (stat, _) = self.wait(who, made).await??;
        Ok(self.enter(tid(who), path, &Found::Tree(stat)))
    }

    pub async fn rmdir(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let (vfs, by, name) = (self.me()?, who.clone(), name.to_owned());
        let work =
            async move { or_look!(vfs, &by, vfs.path(parent), vfs.remove_dir(&by, parent, &name).await) };
        self.gesture(who, work).await
    }

    async fn remove_dir(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let Some(name) = valid(name) else { return fail(Kind::NotFound, "no such name") };
        let dir = self.dir(parent)?;
        let (path, found) = self.find(&dir, name)?;
        let id = match found {
            Found::Tree(stat) if stat.shape.is_dir() && dir.2 == Accepts::Dirs => stat.id,
            Found::Tree(stat) if stat.shape.is_dir() => {
                return self.fixed(who, &path);
            }
            _ => return fail(Kind::NotDir, format!("{name} is no directory")),
        };
        self.door.tree.remove(&Gesture::of(who), Place::new(&path, id)).await?;
        self.unname(&path);
        Ok(())
    }

    pub async fn unlink(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let (vfs, by, name) = (self.me()?, who.clone(), name.to_owned());
        let work =
            async move { or_look!(vfs, &by, vfs.path(parent), vfs.remove_file(&by, parent, &name).await) };
        self.gesture(who, work).await
    }

    async fn remove_file(&self, who: &Caller, parent: u64, name: &OsStr) -> Result<()> {
        let Some(name) = valid(name) else { return fail(Kind::NotFound, "no such name") };
        let dir = self.dir(parent)?;
        let (path, found) = self.find(&dir, name)?;
        match (found, dir.2) {
            (Found::Scratch(file), _) => {
                self.may_remove(who, &dir.1, &path, &file)?;
                self.scratch.lock().remove(dir.1.stat.id, name);
                self.inodes.lock().unname_at(&path);
            }
            (Found::Tree(stat), Accepts::Scratch) if stat.shape == Shape::Document => {
                self.may_replace(who, &path, &stat)?;
                self.scratch.lock().away(&dir.0, name, Instant::now());
                self.sweep_after(AWAY);
                self.unname(&path);
            }
            (Found::Tree(stat), Accepts::Items) if matches!(stat.shape, Shape::Item | Shape::Document) => {
                self.door.tree.remove(&Gesture::of(who), Place::new(&path, stat.id)).await?;
                self.unname(&path);
            }
            _ => return self.fixed(who, &path),
        }
        Ok(())
    }

    /// `path` no longer leads to the object that the kernel knows under it.
    fn unname(&self, path: &TreePath) {
        if let Some(inode) = self.inodes.lock().unname_at(path) {
            inode.stale();
        }
    }

    /// `flags` as of renameat2.
    pub async fn rename(
        &self,
        who: &Caller,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        flags: u32,
    ) -> Result<()> {
        let (vfs, by) = (self.me()?, who.clone());
        let (from, to) = ((from.0, from.1.to_owned()), (to.0, to.1.to_owned()));
        let work = async move {
            let (from, to) = ((from.0, from.1.as_os_str()), (to.0, to.1.as_os_str()));
            or_look!(vfs, &by, vfs.path(from.0), vfs.give_name(&by, from, to, flags).await)
        };
        self.gesture(who, work).await
    }

    async fn give_name(
        &self,
        who: &Caller,
        (parent, name): (u64, &OsStr),
        (new_parent, new_name_): (u64, &OsStr),
        flags: u32,
    ) -> Result<()> {
        let Some(name) = valid(name) else { return fail(Kind::NotFound, "no such name") };
        let dir = self.dir(parent)?;
        let (from, found) = self.find(&dir, name)?;
        let new = self.new_name(who, &dir.1, new_name_)?;
        if flags & !libc::RENAME_NOREPLACE != 0 {
            return self.refuse(who, &from, Kind::Invalid, "names cannot be exchanged");
        }
        // Never EXDEV, or mv would copy.
        if parent != new_parent {
            return self.refuse(who, &from, Kind::Never, "nothing moves to another directory");
        }
        if name == new {
            return Ok(());
        }
        let replace = flags & libc::RENAME_NOREPLACE == 0;
        match (dir.2, found) {
            (Accepts::Dirs, Found::Tree(stat)) if stat.shape.is_dir() => {
                self.rename_in_tree(who, &dir.1, Place::new(&from, stat.id), new).await
            }
            (Accepts::Scratch | Accepts::Items, Found::Scratch(file)) => {
                self.rename_scratch(who, &dir, (name, file), new, replace).await
            }
            (Accepts::Items, Found::Tree(stat)) if stat.shape == Shape::Item => {
                if is_unfinished(new) {
                    let why = format!("{name} waits for its turn; {new} is a name for what is not finished");
                    return self.refuse(who, &from, Kind::Never, why);
                }
                self.rename_in_tree(who, &dir.1, Place::new(&from, stat.id), new).await
            }
            (Accepts::Scratch, Found::Tree(stat)) if stat.shape == Shape::Document => {
                self.move_away(who, &dir, (name, stat), new, replace).await
            }
            _ => self.fixed(who, &from),
        }
    }

    async fn rename_in_tree(&self, who: &Caller, dir: &State, from: Place<'_>, new: &str) -> Result<()> {
        let to = dir.path.join(new);
        // The kernel does not look whether a directory may be replaced; no session ever is.
        if self.door.tree.stat(&to).is_ok() {
            return self.refuse(who, from.path, Kind::Exists, format!("{new} is there already"));
        }
        self.door.tree.rename(&Gesture::of(who), from, &to).await?;
        self.inodes.lock().renamed(from.path, &to);
        Ok(())
    }

    /// A scratch file under a new name: beside the tree's names, as a document's new text, or as an
    /// item that waited for its rename.
    async fn rename_scratch(
        &self,
        who: &Caller,
        dir: &Dir,
        (name, file): (&str, Arc<ScratchFile>),
        new: &str,
        replace: bool,
    ) -> Result<()> {
        let to = dir.1.path.join(new);
        self.may_remove(who, &dir.1, &dir.1.path.join(name), &file)?;
        if dir.2 == Accepts::Items && !is_unfinished(new) {
            return self.becomes_item(who, dir, (name, file), to).await;
        }
        let away = self.scratch.lock().is_away(dir.1.stat.id, new);
        match self.door.tree.stat(&to) {
            Ok(_) if !replace && !away => fail(Kind::Exists, format!("{new} is there already")),
            Ok(stat) if stat.shape == Shape::Document => {
                self.may_replace(who, &to, &stat)?;
                let body = Bytes::from(file.bytes());
                let place = Place::new(&to, stat.id);
                self.door.tree.write(&Gesture::of(who), place, body, Until::Accepted).await?;
                self.becomes_document(dir, (name, file), (new, &to), stat)
            }
            Ok(_) => self.refuse(who, &to, Kind::Never, format!("{name} cannot take the place of {new}")),
            Err(_) => {
                self.room_for(who, &dir.1, &to, replace)?;
                if dir.2 == Accepts::Scratch {
                    self.judge(who, &dir.1, new)?;
                }
                self.move_scratch(dir, (name, file), (new, to))
            }
        }
    }

    fn move_scratch(
        &self,
        dir: &Dir,
        (name, file): (&str, Arc<ScratchFile>),
        (new, to): (&str, TreePath),
    ) -> Result<()> {
        let (mut inodes, mut scratch) = (self.inodes.lock(), self.scratch.lock());
        scratch.remove(dir.1.stat.id, name);
        if let Some(old) = scratch.put(&dir.0, new, file.clone())?
            && let Some(inode) = inodes.get(old.ino)
        {
            inodes.unname(&inode);
        }
        if let Some(inode) = inodes.get(file.ino) {
            inodes.turn(&inode, to, file.stat(), What::Scratch(file));
        }
        drop((inodes, scratch));
        self.sweep_after(KEEP);
        Ok(())
    }

    /// The tree hears of an item whole, and once.
    async fn becomes_item(
        &self,
        who: &Caller,
        dir: &Dir,
        (name, file): (&str, Arc<ScratchFile>),
        to: TreePath,
    ) -> Result<()> {
        let (gesture, body) = (Gesture::of(who), Some(file.bytes().into()));
        let (stat, _) = self.door.tree.make(&gesture, &to, body, Until::Accepted).await?;
        {
            let (mut inodes, mut scratch) = (self.inodes.lock(), self.scratch.lock());
            scratch.remove(dir.1.stat.id, name);
            file.turned();
            if let Some(inode) = inodes.get(file.ino) {
                inodes.turn(&inode, to.clone(), stat, What::Tree);
            }
        }
        // It may be on its way already, and then its name leads nowhere.
        if self.door.tree.stat(&to).is_err() {
            self.leads_elsewhere(&to);
        }
        Ok(())
    }

    /// From now on the scratch file's inode is the document: the kernel keeps the source's inode
    /// under the target's name.
    fn becomes_document(
        &self,
        dir: &Dir,
        (name, file): (&str, Arc<ScratchFile>),
        (new, to): (&str, &TreePath),
        before: Stat,
    ) -> Result<()> {
        let stat = self.door.tree.stat(to).unwrap_or(before);
        let (mut inodes, mut scratch) = (self.inodes.lock(), self.scratch.lock());
        scratch.remove(dir.1.stat.id, name);
        scratch.back(dir.1.stat.id, new);
        file.turned();
        if let Some(old) = inodes.unname_at(to) {
            old.stale();
        }
        if let Some(inode) = inodes.get(file.ino) {
            inodes.turn(&inode, to.clone(), stat, What::Tree);
        }
        Ok(())
    }

    /// vim's backup: the document's text goes on as a scratch file under the kernel's old inode,
    /// and the document's name is free for its successor. What is in force stays in force.
    async fn move_away(
        &self,
        who: &Caller,
        dir: &Dir,
        (name, stat): (&str, Stat),
        new: &str,
        replace: bool,
    ) -> Result<()> {
        let (from, to) = (dir.1.path.join(name), dir.1.path.join(new));
        let id = dir.1.stat.id;
        self.may_replace(who, &from, &stat)?;
        if self.door.tree.stat(&to).is_ok() {
            let why = format!("{name} cannot take the place of {new}");
            return self.refuse(who, &to, Kind::Never, why);
        }
        self.room_for(who, &dir.1, &to, replace)?;
        self.judge(who, &dir.1, new)?;
        self.scratch.lock().room(id, new)?;
        let text = self.door.tree.read(who, Place::new(&from, stat.id)).await?;
        let (mut inodes, mut scratch) = (self.inodes.lock(), self.scratch.lock());
        let inode = inodes.at(&from);
        let ino = inode.as_ref().map_or_else(|| inodes.fresh(), |inode| inode.ino);
        let share = self.door.scratch.share(who.uid());
        let file = ScratchFile::new(ino, text.into(), share, stat, Instant::now())?;
        if let Some(old) = scratch.put(&dir.0, new, file.clone())?
            && let Some(inode) = inodes.get(old.ino)
        {
            inodes.unname(&inode);
        }
        if let Some(inode) = inode {
            inodes.turn(&inode, to, file.stat(), What::Scratch(file));
        }
        scratch.away(&dir.0, name, Instant::now());
        drop((inodes, scratch));
        self.sweep_after(AWAY);
        self.sweep_after(KEEP);
        Ok(())
    }

    /// Whether `who` may put another text in a document's place, or take it away. The kernel asks
    /// the directory's bits alone, so this is what it asks of an open for writing: a caller who may
    /// make files in a session's directory may not for that write its `config`.
    fn may_replace(&self, who: &Caller, at: &TreePath, stat: &Stat) -> Result<()> {
        let shown = self.shown(stat);
        // A caller's further groups are not known here, and count for nothing.
        let judged = Caller { here: None, ..who.clone() };
        if who.uid() == 0 || judged.may(&shown, Access::Write) {
            return Ok(());
        }
        self.refuse(who, at, Kind::Denied, format!("{}: not yours to write, so not to replace", at.name()))
    }

    /// Whether `who` may remove, rename or replace a scratch file, as in a directory with the sticky
    /// bit: only the owners of the file and of the directory. Else a member of a session's group
    /// could put a text of their own where the owner's editor renames its temporary file from.
    fn may_remove(&self, who: &Caller, dir: &State, at: &TreePath, file: &ScratchFile) -> Result<()> {
        if [0, file.stat().uid, self.shown(&dir.stat).uid].contains(&who.uid()) {
            return Ok(());
        }
        self.refuse(who, at, Kind::Never, format!("{}: another user's", at.name()))
    }

    /// Whether a scratch file may take the name `to`.
    fn room_for(&self, who: &Caller, dir: &State, to: &TreePath, replace: bool) -> Result<()> {
        let there = self.scratch.lock().get(dir.stat.id, to.name());
        match there {
            Some(_) if !replace => fail(Kind::Exists, format!("{} is there already", to.name())),
            Some(old) => self.may_remove(who, dir, to, &old),
            None => Ok(()),
        }
    }

    /// A name for something new; the kernel takes any bytes.
    fn new_name<'a>(&self, who: &Caller, dir: &State, name: &'a OsStr) -> Result<&'a str> {
        match valid(name) {
            Some(name) if name.len() <= MAX_NAME => Ok(name),
            Some(_) => {
                self.refuse(who, &dir.path, Kind::Invalid, format!("a name of more than {MAX_NAME} bytes"))
            }
            None => self.refuse(who, &dir.path, Kind::Invalid, format!("{name:?}: a name must be UTF-8")),
        }
    }

    fn fixed<T>(&self, who: &Caller, at: &TreePath) -> Result<T> {
        self.refuse(who, at, Kind::Never, format!("{} is part of the tree", at.name()))
    }

    /// Reports a refusal of the door's own, so that it has its line in `errors` too.
    pub(super) fn refuse<T>(
        &self,
        who: &Caller,
        at: &TreePath,
        kind: Kind,
        why: impl Into<String>,
    ) -> Result<T> {
        let why = Error::new(kind, why);
        self.door.tree.refused(who, at, &why);
        Err(why)
    }
}

/// Attributes of a file that only its maker may read.
fn new_stat(who: &Caller, shape: Shape) -> Stat {
    Stat { shape, id: 0, mode: 0o600, uid: who.uid(), gid: who.gid(), size: 0, mtime: SystemTime::now() }
}
