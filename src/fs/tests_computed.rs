//! Sizes of what is computed, and opens of one name at the same time: without a kernel.

use std::ffi::OsStr;

use super::gesture::Asker;
use super::tests::{Kernel, by, who};
use muxfs_tree::base::error::{Kind, Result};

const RDONLY: i32 = libc::O_RDONLY;

impl Kernel {
    /// One open(2) of thread `tid`, as the kernel does it: again where that is ESTALE. The number of
    /// its inode, and its handle.
    pub async fn open_as(&self, tid: u32, at: &str, flags: i32, known: Option<u64>) -> Result<(u64, u64)> {
        let walk = || {
            at.split('/').try_fold(1, |dir, name| {
                let entry = self.vfs.lookup(tid, dir, OsStr::new(name))?;
                Ok(self.seen(entry.attr.ino))
            })
        };
        for ino in [known, None] {
            let ino = ino.map_or_else(walk, Ok)?;
            let _ = self.vfs.getattr(tid, ino);
            match self.vfs.open(&who(tid), ino, flags).await {
                Err(e) if e.kind == Kind::Stale => {}
                opened => return Ok((ino, opened?.fh)),
            }
        }
        panic!("{at}: ESTALE twice, which a caller would see");
    }

    fn size(&self, tid: u32, ino: u64) -> u64 {
        self.vfs.getattr(tid, ino).unwrap().0.size
    }

    /// By splice, sendfile or mmap: through the page cache.
    async fn spliced(&self, tid: u32, fh: u64) -> Result<bytes::Bytes> {
        self.vfs.read(Asker { tid, owner: 0 }, fh, 0, 4096, false).await
    }
}

#[tokio::test]
async fn each_open_handle_shows_the_size_and_the_bytes_of_its_own_text() {
    let k = Kernel::new();
    let (first, a) = k.open_as(1, "n/s/status", RDONLY, None).await.unwrap();
    assert_eq!(k.size(1, first), 13);
    k.fake.set("n/s/status", "state: busy and more\n");
    assert_eq!(k.size(1, first), 13, "while its handle is open");
    // Whoever walks the name gets to another inode, whose size is that of the new text.
    let walked = k.walk("n/s/status").unwrap();
    assert_ne!(walked, first);
    assert_eq!(k.size(3, walked), 21);
    // An open that still has the old inode is led on by ESTALE.
    let (second, b) = k.open_as(2, "n/s/status", RDONLY, Some(first)).await.unwrap();
    assert_ne!(second, first);
    assert_eq!((k.size(2, second), k.size(1, first)), (21, 13));
    assert_eq!(k.vfs.getattr(2, second).unwrap().0.ino, k.vfs.getattr(1, first).unwrap().0.ino);
    assert_eq!(k.read(a).await.unwrap(), "state: ready\n");
    assert_eq!(k.spliced(1, a).await.unwrap(), "state: ready\n");
    assert_eq!(k.spliced(2, b).await.unwrap(), "state: busy and more\n");
    // The same bytes are one inode's.
    let (third, c) = k.open_as(4, "n/s/status", RDONLY, Some(second)).await.unwrap();
    assert_eq!(third, second);
    for fh in [a, b, c] {
        k.close(fh).await.unwrap();
    }
    k.forget_all();
}

#[tokio::test]
async fn a_bound_that_is_too_small_cuts_nothing() {
    let k = Kernel::new();
    k.fake.bound("n/s/status", 5);
    let (ino, fh) = k.open_as(1, "n/s/status", RDONLY, None).await.unwrap();
    assert_eq!(k.size(1, ino), 13);
    assert_eq!(k.spliced(1, fh).await.unwrap().len(), 13);
    k.close(fh).await.unwrap();
    k.fake.bound("n/s/status", 4096);
    let known = k.walk("n/s/status").unwrap();
    assert_eq!((k.size(1, known), k.size(2, known)), (4096, 4096), "before an open");
    let (ino, fh) = k.open_as(2, "n/s/status", RDONLY, Some(known)).await.unwrap();
    assert_eq!((ino, k.size(2, ino)), (known, 13));
    k.close(fh).await.unwrap();
    assert_eq!(k.size(2, known), 4096);
    k.forget_all();
}

/// ESTALE is answered once an open; whoever still does not fit reads with read(2).
#[tokio::test]
async fn an_open_that_cannot_be_led_on_is_served_all_the_same() {
    let k = Kernel::new();
    let (ino, a) = k.open_as(1, "n/s/status", RDONLY, None).await.unwrap();
    k.fake.set("n/s/status", "other\n");
    // By /proc/PID/fd no name is walked: the same inode comes again.
    assert_eq!(k.vfs.open(&who(2), ino, RDONLY).await.unwrap_err().kind, Kind::Stale);
    let b = k.vfs.open(&who(2), ino, RDONLY).await.unwrap().fh;
    assert_eq!(k.read(b).await.unwrap(), "other\n");
    assert_eq!(k.spliced(2, b).await.unwrap_err().kind, Kind::Invalid);
    // A caller of another PID namespace has no thread that comes again.
    let c = k.vfs.open(&who(0), ino, RDONLY).await.unwrap().fh;
    assert_eq!(k.read(c).await.unwrap(), "other\n");
    assert_eq!(k.size(1, ino), 13);
    k.close(b).await.unwrap();
    k.close(c).await.unwrap();
    assert_eq!(k.size(1, ino), 13, "still open");
    k.close(a).await.unwrap();
    k.forget_all();
}

#[tokio::test]
async fn a_wait_has_an_inode_of_its_own_and_a_size_above_its_line() {
    let k = Kernel::new();
    let page = rustix::param::page_size() as u64;
    let (first, a) = k.open_as(1, "n/s/wait", RDONLY, None).await.unwrap();
    assert_eq!(k.size(1, first), page);
    // Pages of a reader that waits are locked: an open of the same inode would wait for them.
    let (second, b) = k.open_as(2, "n/s/wait", RDONLY, Some(first)).await.unwrap();
    let (third, c) = k.open_as(3, "n/s/wait", RDONLY, None).await.unwrap();
    assert!(first != second && second != third && third != first);
    k.fake.line("n/s/wait", "ready\n");
    for (tid, ino, fh) in [(1, first, a), (2, second, b), (3, third, c)] {
        let read = || k.vfs.read(Asker { tid, owner: 0 }, fh, 0, 4096, true);
        let line = match read().await {
            Err(e) if ino == first && e.kind == Kind::Invalid => read().await, // another asked its size
            line => line,
        };
        let line = line.unwrap();
        assert_eq!(line, "ready\n");
        assert_eq!(k.size(1, ino), 6, "no zeros behind it");
        k.close(fh).await.unwrap();
    }
    k.forget_all();
}

#[tokio::test]
async fn a_page_of_a_line_is_given_when_the_kernel_believes_no_other_size() {
    let k = Kernel::new();
    let page = rustix::param::page_size() as u64;
    let (ino, fh) = k.open_as(1, "n/s/wait", RDONLY, None).await.unwrap();
    k.noted();
    assert_eq!(k.size(2, ino), page, "to another thread, which may take it in at any moment");
    k.fake.line("n/s/wait", "ready\n");
    while k.size(3, ino) == page {
        tokio::task::yield_now().await;
    }
    assert_eq!(k.spliced(1, fh).await.unwrap_err().kind, Kind::Invalid);
    assert_eq!(k.noted(), [format!("sizes of {ino}")]);
    assert_eq!((k.size(2, ino), k.spliced(1, fh).await.unwrap()), (6, "ready\n".into()));
    assert_eq!(k.spliced(1, fh).await.unwrap(), "ready\n", "a page that was dropped is asked for again");
    assert_eq!(k.noted(), [""; 0]);
    k.fake.end_lines("n/s/wait");
    assert_eq!(k.vfs.read(by(1), fh, 0, 4096, true).await.unwrap(), "", "by read(2) it was read");
    k.close(fh).await.unwrap();
    k.forget_all();
}

#[tokio::test]
async fn what_has_no_size_is_not_read_through_the_page_cache() {
    let k = Kernel::new();
    for file in ["n/s/events", "n/s/ask"] {
        let fh = k.open(file, if file.ends_with("ask") { libc::O_RDWR } else { RDONLY }).await.unwrap();
        assert_eq!(k.spliced(1, fh).await.unwrap_err().kind, Kind::Invalid, "{file}");
        let ino = k.walk(file).unwrap();
        assert!(k.size(1, ino) > 0, "{file}: else splice takes it for empty");
        k.vfs.flush(by(1), fh).await.unwrap();
        k.vfs.release(fh);
    }
}

#[tokio::test]
async fn the_kernel_keeps_a_name_until_its_file_is_opened() {
    let k = Kernel::new();
    let dir = k.walk("n/s").unwrap();
    let ttl = || {
        let entry = k.vfs.lookup(1, dir, OsStr::new("status")).unwrap();
        k.seen(entry.attr.ino);
        entry.name_ttl
    };
    assert!(!ttl().is_zero());
    let (_, fh) = k.open_as(1, "n/s/status", RDONLY, None).await.unwrap();
    assert_eq!(k.noted(), [format!("{dir}/status")]);
    assert!(ttl().is_zero());
    k.close(fh).await.unwrap();
    let (_, fh) = k.open_as(1, "n/s/status", RDONLY, None).await.unwrap();
    assert_eq!(k.noted(), [""; 0], "it is looked up each time by now");
    k.close(fh).await.unwrap();
    k.forget_all();
}
