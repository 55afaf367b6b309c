//! A log file of ours as the seam's log.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::LogInode;
use muxfs_tree::Log;
use muxfs_tree::base::error::{Error, Result};
use muxfs_tree::id::Ids;

pub struct Inode {
    inode: Arc<LogInode>,
    id: u64,
}

impl Inode {
    pub fn new(inode: Arc<LogInode>, ids: &Ids) -> Self {
        let id = id(ids, &inode.key());
        Inode { inode, id }
    }
}

impl Inode {
    pub fn changed_at(&self) -> Option<std::time::SystemTime> {
        self.inode.changed_at()
    }
}

/// The id of the log inode that is called `key` for good.
pub fn id(ids: &Ids, key: &str) -> u64 {
    ids.of(&["log", key])
}

#[async_trait]
impl Log for Inode {
    fn id(&self) -> u64 {
        self.id
    }

    fn size(&self) -> u64 {
        self.inode.size()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        // A local disk, most often its cache: not worth another thread.
        self.inode.read_at(offset, len).map(Bytes::from).map_err(|e| Error::io("log", e))
    }

    async fn grown(&self, past: u64) -> Result<bool> {
        let mut progress = self.inode.changed();
        // An error means that the file object is gone: it grows no more.
        Ok(progress.wait_for(|p| p.size > past || p.closed).await.is_ok_and(|p| p.size > past))
    }
}
