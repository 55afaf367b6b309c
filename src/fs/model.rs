//! Random sequences of whole gestures (create, save, rename, remove, read) on a session's files,
//! against a model of twenty lines: no difference, no fault of ours, nothing left behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::tests::Kernel;
use muxfs_tree::base::error::{Kind, Result};

const NAMES: &[&str] = &["x.tmp", "y.tmp", "config", "config~", "input", "status", "inptu", "4913"];
const TEXTS: &[&str] = &["one", "two\n", "BAD", "ä\u{0}z"];

#[derive(Debug, Clone)]
enum Op {
    Put(usize, usize),
    Get(usize),
    Rename(usize, usize),
    Unlink(usize),
    Sweep(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let name = || 0..NAMES.len();
    prop_oneof![
        3 => (name(), 0..TEXTS.len()).prop_map(|(n, t)| Op::Put(n, t)),
        2 => name().prop_map(Op::Get),
        4 => (name(), name()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => name().prop_map(Op::Unlink),
        1 => prop_oneof![Just(5), Just(11), Just(61)].prop_map(Op::Sweep),
    ]
}

struct Model {
    scratch: BTreeMap<&'static str, String>,
    config: String,
    away: bool,
    sent: Vec<String>,
}

type Expected<T = ()> = std::result::Result<T, Kind>;

impl Model {
    fn is_there(&self, name: &str) -> bool {
        matches!(name, "input" | "status")
            || (name == "config" && !self.away)
            || self.scratch.contains_key(name)
    }

    fn save(&mut self, text: &str) -> Expected {
        if self.config != text {
            if text.contains("BAD") {
                return Err(Kind::Invalid);
            }
            self.config = text.to_owned();
            self.sent.push(text.to_owned());
        }
        Ok(())
    }

    fn put(&mut self, name: &'static str, text: &str) -> Expected {
        match name {
            "status" => Err(Kind::Denied),
            "inptu" => Err(Kind::Never),
            "input" if text.contains("BAD") => Err(Kind::Invalid),
            "input" => {
                self.sent.push(text.to_owned());
                Ok(())
            }
            "config" => {
                self.away = false;
                self.save(text)
            }
            _ => {
                self.scratch.insert(name, text.to_owned());
                Ok(())
            }
        }
    }

    fn get(&self, name: &str) -> Expected<String> {
        match name {
            _ if !self.is_there(name) => Err(Kind::NotFound),
            "input" => Err(Kind::Denied),
            "status" => Ok("state: ready\n".into()),
            "config" => Ok(self.config.clone()),
            _ => Ok(self.scratch[name].clone()),
        }
    }

    fn rename(&mut self, from: &'static str, to: &'static str) -> Expected {
        match (from, to) {
            _ if !self.is_there(from) => Err(Kind::NotFound),
            _ if from == to => Ok(()),
            ("input" | "status", _) | (_, "input" | "status" | "inptu") => Err(Kind::Never),
            ("config", _) => {
                self.scratch.insert(to, self.config.clone());
                self.away = true;
                Ok(())
            }
            (_, "config") => {
                let text = self.scratch[from].clone();
                self.save(&text)?;
                self.scratch.remove(from);
                self.away = false;
                Ok(())
            }
            _ => {
                let text = self.scratch.remove(from).ok_or(Kind::Bug)?;
                self.scratch.insert(to, text);
                Ok(())
            }
        }
    }

    fn unlink(&mut self, name: &str) -> Expected {
        match name {
            _ if !self.is_there(name) => Err(Kind::NotFound),
            "input" | "status" => Err(Kind::Never),
            "config" => {
                self.away = true;
                Ok(())
            }
            _ => {
                self.scratch.remove(name);
                Ok(())
            }
        }
    }
}

async fn put(k: &Kernel, name: &str, text: &str) -> Result<()> {
    let flags = libc::O_WRONLY | libc::O_TRUNC;
    let at = format!("n/s/{name}");
    let fh = match k.open(&at, flags).await {
        Err(e) if e.kind == Kind::NotFound => k.create("n/s", name, flags | libc::O_CREAT).await?,
        opened => opened?,
    };
    let written = k.write(fh, text).await;
    k.close(fh).await.and(written.map(drop))
}

async fn get(k: &Kernel, name: &str) -> Result<String> {
    let fh = k.open(&format!("n/s/{name}"), libc::O_RDONLY).await?;
    let text = k.read(fh).await;
    k.close(fh).await?;
    text
}

async fn run(ops: Vec<Op>) {
    let k = Kernel::new();
    let mut m = Model { scratch: BTreeMap::new(), config: "a = 1\n".into(), away: false, sent: Vec::new() };
    for op in ops {
        let (was, want) = match op {
            Op::Put(n, t) => (put(&k, NAMES[n], TEXTS[t]).await, m.put(NAMES[n], TEXTS[t])),
            Op::Rename(a, b) => (k.rename("n/s", NAMES[a], NAMES[b]).await, m.rename(NAMES[a], NAMES[b])),
            Op::Unlink(n) => (k.unlink("n/s", NAMES[n]).await, m.unlink(NAMES[n])),
            Op::Get(n) => {
                let was = get(&k, NAMES[n]).await;
                assert_eq!(was.map_err(|e| e.kind), m.get(NAMES[n]), "{op:?}");
                (Ok(()), Ok(()))
            }
            Op::Sweep(seconds) => {
                k.vfs.sweep(Instant::now() + Duration::from_secs(seconds));
                m.away &= seconds < 10;
                if seconds > 60 {
                    m.scratch.clear();
                }
                (Ok(()), Ok(()))
            }
        };
        assert_eq!(was.map_err(|e| e.kind), want, "{op:?}");
        assert_eq!(k.fake.text("n/s/config"), m.config, "{op:?}");
        assert_eq!(k.sent(), std::mem::take(&mut m.sent), "{op:?}");
    }
    k.forget_all();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_sequence_of_gestures_does_what_the_model_does(ops in prop::collection::vec(op(), 1..40)) {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(run(ops));
    }
}
