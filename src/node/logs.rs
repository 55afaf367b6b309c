//! A log file of ours as the seam's log.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::log::LogInode;
use crate::tree::Log;

/// Ids of logs are apart from those of all other files.
pub const LOG_ID: u64 = 1 << 48;

pub struct Inode(pub Arc<LogInode>);

#[async_trait]
impl Log for Inode {
    fn id(&self) -> u64 {
        LOG_ID | self.0.id()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes> {
        // A local disk, most often its cache: not worth another thread.
        self.0.read_at(offset, len).map(Bytes::from).map_err(|e| Error::io("log", e))
    }

    async fn grown(&self, past: u64) -> bool {
        let mut progress = self.0.changed();
        // An error means that the file object is gone: it grows no more.
        progress.wait_for(|p| p.size > past || p.closed).await.is_ok_and(|p| p.size > past)
    }
}
