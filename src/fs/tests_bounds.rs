//! Who may not replace what, and what callers may occupy: on a tree in memory, without a kernel.

use std::ffi::OsStr;

use super::tests::{Kernel, by};
use muxfs_tree::Caller;
use muxfs_tree::base::error::{Kind, Result};

const WRONLY: i32 = libc::O_WRONLY;

/// Another user, whom the kernel let into the directory.
fn member() -> Caller {
    Caller::of_kernel(54_321, 54_321, Some(2))
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> Kind {
    result.unwrap_err().kind
}

impl Kernel {
    async fn put_as(&self, who: &Caller, dir: u64, name: &str, text: &str) -> Result<()> {
        let (entry, opened) = self.vfs.create(who, dir, OsStr::new(name), WRONLY).await?;
        self.seen(entry.attr.ino);
        self.vfs.write(by(2), opened.fh, 0, text.as_bytes()).await?;
        self.vfs.release(opened.fh);
        Ok(())
    }

    async fn rename_as(&self, who: &Caller, dir: u64, from: &str, to: &str) -> Result<()> {
        self.vfs.rename(who, (dir, OsStr::new(from)), (dir, OsStr::new(to)), 0).await
    }
}

#[tokio::test]
async fn who_may_not_write_a_document_may_not_replace_it() {
    let k = Kernel::new();
    let dir = k.walk("n/s").unwrap();
    k.put_as(&member(), dir, "mine", "evil = 1\n").await.unwrap();
    assert_eq!(kind(k.rename_as(&member(), dir, "mine", "config").await), Kind::Denied);
    assert_eq!(kind(k.rename_as(&member(), dir, "config", "config~").await), Kind::Denied);
    assert_eq!(kind(k.vfs.unlink(&member(), dir, OsStr::new("config")).await), Kind::Denied);
    // While the owner's editor has it away, nobody else makes its successor.
    k.unlink("n/s", "config").await.unwrap();
    assert_eq!(kind(k.put_as(&member(), dir, "config", "evil = 1\n").await), Kind::Denied);
    assert_eq!(kind(k.rename_as(&member(), dir, "mine", "config").await), Kind::Denied);
    assert_eq!(k.fake.text("n/s/config"), "a = 1\n");
    assert_eq!(k.sent(), [""; 0]);
    let refusals = k.fake.refusals();
    assert_eq!(refusals.len(), 5, "each leaves a line: {refusals:?}");
    // The owner may, and root.
    let root = Caller::of_kernel(0, 54_321, Some(2));
    k.rename_as(&root, dir, "mine", "config").await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "evil = 1\n");
}

/// Else a member could put their text where the owner's editor renames its temporary file from.
#[tokio::test]
async fn a_scratch_file_is_its_owners_to_remove_and_to_replace() {
    let k = Kernel::new();
    let dir = k.walk("n/s").unwrap();
    let fh = k.create("n/s", "x.tmp", WRONLY).await.unwrap();
    k.write(fh, "b = 2\n").await.unwrap();
    k.close(fh).await.unwrap();
    k.put_as(&member(), dir, "mine", "evil = 1\n").await.unwrap();
    assert_eq!(kind(k.rename_as(&member(), dir, "mine", "x.tmp").await), Kind::Never);
    assert_eq!(kind(k.rename_as(&member(), dir, "x.tmp", "y.tmp").await), Kind::Never);
    assert_eq!(kind(k.vfs.unlink(&member(), dir, OsStr::new("x.tmp")).await), Kind::Never);
    k.rename("n/s", "x.tmp", "config").await.unwrap();
    assert_eq!(k.fake.text("n/s/config"), "b = 2\n");
    k.rename("n/s", "mine", "theirs").await.unwrap(); // the directory's owner tidies up
    k.unlink("n/s", "theirs").await.unwrap();
}

#[tokio::test]
async fn unfinished_messages_are_bounded_over_all_handles_and_by_user() {
    let k = Kernel::new();
    let mib = "x".repeat(1 << 20);
    let mut open = Vec::new();
    let refused = loop {
        let file = ["n/s/input", "n/s/ask", "n/s/config"][open.len() % 3];
        let fh = k.open(file, WRONLY | libc::O_TRUNC).await.unwrap();
        open.push(fh);
        if let Err(why) = k.write(fh, &mib).await {
            break why;
        }
        assert!(open.len() < 100, "no bound");
    };
    assert_eq!(refused.kind, Kind::Full);
    assert_eq!(open.len(), 33);
    assert!(k.fake.refusals().concat().contains("32 MiB in unfinished messages of user"));
    assert_eq!(kind(k.vfs.flush(by(1), open[32]).await), Kind::Full, "half a message is none");
    // Others are not held up, until all together have their bound.
    let input = k.walk("n/s/input").unwrap();
    let other = k.vfs.open(&member(), input, WRONLY).await.unwrap().fh;
    k.vfs.write(by(2), other, 0, mib.as_bytes()).await.unwrap();
    // What is delivered makes room.
    k.close(open[0]).await.unwrap();
    assert_eq!(k.sent().len(), 1);
    k.write(open[32], &mib).await.unwrap();
    k.close(open[32]).await.unwrap();
    assert_eq!(k.sent().len(), 1);
}

#[tokio::test]
async fn scratch_files_are_bounded_over_all_directories() {
    let k = Kernel::new();
    let mib = "x".repeat(1 << 20);
    k.fake.add_session("n/t");
    let mut count = 0;
    let refused = 'full: loop {
        for dir in ["n/s", "n/t"] {
            let fh = k.create(dir, &format!("{count}.tmp"), WRONLY).await.unwrap();
            count += 1;
            if let Err(why) = k.write(fh, &mib).await {
                break 'full why;
            }
        }
        assert!(count < 100, "no bound");
    };
    assert_eq!((refused.kind, count), (Kind::NoSpace, 65));
    k.unlink("n/s", "0.tmp").await.unwrap();
}
