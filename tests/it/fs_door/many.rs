//! Many nodes in one mount: one that does not answer holds up no other, and each comes and goes by itself.

use muxfs_tree::nodes::Nodes;
use muxfs_tree::union::Union;

use super::callers::answered;
use super::*;

/// A mount of this many nodes, `n00` to `n99`, each with a session `s`.
fn fleet(count: usize) -> (Mux, Arc<Nodes>, Vec<Arc<Fake>>) {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (nodes, fakes, union) = {
        let _in = rt.enter();
        let nodes = Nodes::new();
        let fakes: Vec<_> = (0..count).map(|_| Fake::node()).collect();
        for (n, fake) in fakes.iter().enumerate() {
            nodes.add(&format!("n{n:02}"), fake.clone()).unwrap();
        }
        let union = Union::new(Fake::new(), nodes.clone());
        (nodes, fakes, union)
    };
    (Mux::over(rt, union, fakes[0].clone()), nodes, fakes)
}

#[test]
fn a_node_that_stands_still_holds_up_no_other() {
    let (mux, _nodes, fakes) = fleet(100);
    // One stands in the middle of a mkdir, one in a look, one in a read; one says nothing of itself.
    fakes[1].stall("new", true);
    let mut maker = Command::new("mkdir").arg(mux.at("n01/new")).spawn().unwrap();
    fakes[2].forget("s");
    fakes[2].stall("s", true);
    let mut lister = Command::new("ls").arg(mux.at("n02/s")).stdout(Stdio::null()).spawn().unwrap();
    fakes[3].stall("s/status", true);
    let mut reader = Command::new("cat").arg(mux.at("n03/s/status")).stdout(Stdio::null()).spawn().unwrap();
    fakes[4].forget("");
    for n in [1, 2, 3] {
        until("calls that wait", || fakes[n].waiting() == 1);
    }
    // What goes out of date where they wait stops no word of the others.
    let other = mux.at("n50/s/logs");
    let before = std::os::unix::fs::MetadataExt::ino(&other.metadata().unwrap());
    fakes[1].add_session("more");
    fakes[2].rotate("s/logs");
    fakes[50].rotate("s/logs");
    answered("another inode under a name", move || {
        until("a rotation", || std::os::unix::fs::MetadataExt::ino(&other.metadata().unwrap()) != before);
    });
    let root = mux.dir.path().to_owned();
    let names = answered("ls of the root", move || std::fs::read_dir(root).unwrap().count());
    assert!(names >= 99, "{names}");
    for n in (5..100).step_by(10) {
        let (status, input, from, to) = (
            mux.at(&format!("n{n:02}/s/status")),
            mux.at(&format!("n{n:02}/s/input")),
            mux.at(&format!("n{n:02}/s")),
            mux.at(&format!("n{n:02}/t")),
        );
        answered("another node", move || {
            assert_eq!(std::fs::read_to_string(status).unwrap(), "state: ready\n");
            std::fs::write(input, "go on\n").unwrap();
            std::fs::rename(from, to).unwrap();
        });
        until("the prompt", || fakes[n].sent() == [("s/input".to_owned(), "go on\n".to_owned())]);
    }
    for child in [&mut maker, &mut lister, &mut reader] {
        assert!(child.try_wait().unwrap().is_none(), "all that while they waited");
    }
    fakes[1].stall("new", false);
    fakes[2].stall("s", false);
    fakes[3].stall("s/status", false);
    for child in [&mut maker, &mut lister, &mut reader] {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn nodes_come_go_and_are_replaced_under_a_mount() {
    let (mux, nodes, _fakes) = fleet(3);
    let status = || std::fs::read_to_string(mux.at("n01/s/status"));
    assert_eq!(status().unwrap(), "state: ready\n");
    let open = std::fs::File::open(mux.at("n01/s/logs")).unwrap();
    nodes.remove("n01").unwrap();
    until("the end of its name", || !mux.at("n01").exists());
    assert!(std::fs::metadata(mux.at("n02/s")).is_ok());
    let other = Fake::node();
    other.set("s/status", "state: busy\n");
    {
        let _in = mux.rt.as_ref().unwrap().enter();
        nodes.add("n01", other).unwrap();
    }
    until("the new one", || status().is_ok_and(|text| text == "state: busy\n"));
    let last = Fake::node();
    last.add_session("t");
    {
        let _in = mux.rt.as_ref().unwrap().enter();
        nodes.replace("n01", last).unwrap();
    }
    until("the one in its place", || mux.at("n01/t/status").exists());
    until("its texts", || status().is_ok_and(|text| text == "state: ready\n"));
    drop(open);
}
