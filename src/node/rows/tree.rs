//! The local node's side of the seam: the tree's operations on rows.
//!
//! What changes something runs to its end whoever waits for it, and is recorded once it is over.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;

use super::dir::What;
use super::{LocalNode, allow, deed_of};
use crate::session::audit::Deed;
use muxfs_tree::base::error::{Error, Kind, Result, fail};
use muxfs_tree::base::later::{apart, whole};
use muxfs_tree::{
    Access, Caller, Change, Entry, Follow, Gesture, Intent, Place, Receipt, Stat, Tree, TreePath, Until,
};

#[async_trait]
impl Tree for LocalNode {
    fn stat(&self, at: &TreePath) -> Result<Stat> {
        self.walk(at).map(|found| self.stat_of(&found))
    }

    fn size(&self, at: &TreePath) -> Result<u64> {
        match self.walk(at)?.what {
            What::File(file) => Ok(file.read_size()),
            What::Dir(_) => Ok(0),
        }
    }

    fn list(&self, at: &TreePath) -> Result<Vec<Entry>> {
        let What::Dir(dir) = self.walk(at)?.what else {
            return fail(Kind::NotDir, format!("{at} is no directory"));
        };
        // A name that went meanwhile, or a log that never rotated, is left out.
        let entry = |name: String| {
            let stat = self.stat_of(&dir.find(&self.ids, &name)?);
            Some(Entry { stat, name })
        };
        Ok(dir.names().into_iter().filter_map(entry).collect())
    }

    async fn look(&self, dir: &TreePath) -> Result<()> {
        let look = match self.walk(dir)?.what {
            What::Dir(dir) => dir.look(),
            What::File(_) => return fail(Kind::NotDir, format!("{dir} is no directory")),
        };
        match look {
            Some(look) => look.await,
            None => Ok(()),
        }
    }

    fn admit(&self, who: &Caller, intent: Intent<'_>) -> Result<()> {
        match intent {
            Intent::Open(at, access) => self.open(who, at, access)?.admit(access),
            Intent::Make(at) => {
                let (parent, may) = self.walk_to_dir(who, &at.parent())?;
                match parent.admit_item(at.name()) {
                    Some(admitted) => admitted.and_then(|()| allow(may, at)),
                    None => fail(Kind::Never, format!("{at}: no files are made here")),
                }
            }
        }
    }

    async fn read(&self, who: &Caller, at: Place<'_>) -> Result<Bytes> {
        self.open(who, at, Access::Read)?.read().await
    }

    async fn follow(&self, who: &Caller, at: Place<'_>) -> Result<Follow> {
        self.open(who, at, Access::Read)?.follow(&self.ids)
    }

    async fn write(&self, gesture: &Gesture, at: Place<'_>, body: Bytes, until: Until) -> Result<Receipt> {
        let (me, gesture, path, id) = (self.me()?, gesture.clone(), at.path.clone(), at.id);
        let work = async move {
            let file = me.open(&gesture.who, Place { path: &path, id }, Access::Write);
            let (written, deed) = match gesture.may_begin().and(file) {
                Ok(file) => {
                    let deed = deed_of(file.shape(), &body);
                    (me.write_once(&gesture, &*file, body, until).await, deed)
                }
                Err(e) => (Err(e), Deed::Write { bytes: 0 }),
            };
            me.done(&gesture.who, &path, deed, written).map(|turn| me.receipt(turn))
        };
        whole(work).await
    }

    async fn ask(&self, gesture: &Gesture, at: Place<'_>, question: Bytes) -> Result<(Bytes, Receipt)> {
        let (me, gesture, path, id) = (self.me()?, gesture.clone(), at.path.clone(), at.id);
        let bytes = question.len();
        let work = async move {
            let file = me.open(&gesture.who, Place { path: &path, id }, Access::Both);
            let answered = match gesture.may_begin().and(file) {
                Ok(file) => file.ask(&gesture, question).await,
                Err(e) => Err(e),
            };
            me.done(&gesture.who, &path, Deed::Ask { bytes }, answered)
                .map(|(answer, turn)| (answer, me.receipt(turn)))
        };
        whole(work).await
    }

    async fn make(
        &self,
        gesture: &Gesture,
        at: &TreePath,
        body: Option<Bytes>,
        until: Until,
    ) -> Result<(Stat, Receipt)> {
        let (me, gesture, at) = (self.me()?, gesture.clone(), at.clone());
        let work = async move {
            let made = match (gesture.may_begin(), body) {
                (Err(e), _) => Err(e),
                (Ok(()), None) => me.make_dir(&gesture, &at).await.map(|stat| (stat, None)),
                (Ok(()), Some(body)) => me.make_item(&gesture, &at, body, until).await,
            };
            me.done(&gesture.who, &at, Deed::Make, made).map(|(stat, turn)| (stat, me.receipt(turn)))
        };
        whole(work).await
    }

    async fn remove(&self, gesture: &Gesture, at: Place<'_>) -> Result<Receipt> {
        let (me, gesture, path, id) = (self.me()?, gesture.clone(), at.path.clone(), at.id);
        let work = async move {
            let removed = me.remove_found(&gesture, Place { path: &path, id }).await;
            me.done(&gesture.who, &path, Deed::Remove, removed).map(|()| me.receipt(None))
        };
        apart(work).await
    }

    async fn rename(&self, gesture: &Gesture, from: Place<'_>, to: &TreePath) -> Result<Receipt> {
        let (me, gesture, path, id, to) =
            (self.me()?, gesture.clone(), from.path.clone(), from.id, to.clone());
        let work = async move {
            let renamed = me.rename_found(&gesture, Place { path: &path, id }, &to).await;
            me.done(&gesture.who, &path, Deed::Rename { to: to.to_string() }, renamed)
                .map(|()| me.receipt(None))
        };
        apart(work).await
    }

    async fn set_mode(
        &self,
        gesture: &Gesture,
        at: Place<'_>,
        mode: Option<u32>,
        gid: Option<u32>,
    ) -> Result<Receipt> {
        let (me, gesture, path, id) = (self.me()?, gesture.clone(), at.path.clone(), at.id);
        let work = async move {
            let set = match gesture.may_begin() {
                Ok(()) => me.set_mode_of(&gesture.who, Place { path: &path, id }, mode, gid).await,
                Err(e) => Err(e),
            };
            me.done(&gesture.who, &path, Deed::Mode { mode, gid }, set).map(|()| me.receipt(None))
        };
        whole(work).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    fn refused(&self, who: &Caller, at: &TreePath, why: &Error) {
        self.sessions.callers.refused(who, at.as_str(), why.text());
        if let Some((name, _)) = at.split_first()
            && let Some(session) = self.sessions.tables.get(name)
        {
            session.set_last_error(why.text());
        }
    }
}
