//! Samples, what is told of them, and the table they end in. Measures nothing itself.

use std::process::Command;
use std::time::{Duration, Instant};

/// How long each of many equal operations took.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Times one operation; what it gives is dropped outside the time.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) {
        let begun = Instant::now();
        let kept = std::hint::black_box(work());
        self.0.push(begun.elapsed());
        drop(kept);
    }

    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Seconds that this share of the operations did not exceed.
    pub fn at(&self, share: f64) -> f64 {
        let mut all = self.0.clone();
        all.sort_unstable();
        let last = all.len().saturating_sub(1);
        all.get((all.len() as f64 * share) as usize).or(all.get(last)).map_or(f64::NAN, Duration::as_secs_f64)
    }

    pub fn p50(&self) -> f64 {
        self.at(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    pub fn both(&self) -> String {
        if self.0.len() < 100 {
            time(self.p50())
        } else {
            format!("{} / {}", time(self.p50()), time(self.p99()))
        }
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.01 => format!("{:.0} ms", s * 1e3),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s if s >= 0.0001 => format!("{:.0} µs", s * 1e6),
        s => format!("{:.1} µs", s * 1e6),
    }
}

#[derive(Default)]
pub struct Table(Vec<[String; 6]>);

impl Table {
    /// A row of two kinds of samples: the ratio of their medians, at most `limit`.
    pub fn ratio(&mut self, what: String, ours: &Samples, peer: &str, theirs: &Samples, limit: f64) {
        let ratio = ours.p50() / theirs.p50();
        let peer = format!("{peer}: {}", theirs.both());
        self.row(what, ours.both(), peer, format!("{ratio:.2}"), format!("{limit:.2}"), ratio <= limit);
    }

    /// Whether every row keeps to its limit.
    pub fn reached(&self) -> bool {
        self.0.iter().all(|row| row[5] == "yes")
    }

    /// The ratio to the sum of other medians; the slowest hundredth against the same sum.
    pub fn sum(&mut self, what: &str, ours: &Samples, parts: &[(&str, &Samples)], limits: [f64; 2]) {
        let sum: f64 = parts.iter().map(|(_, s)| s.p50()).sum();
        let each: Vec<String> = parts.iter().map(|(name, s)| format!("{name} {}", time(s.p50()))).collect();
        for (name, got, limit) in [("p50", ours.p50(), limits[0]), ("p99", ours.p99(), limits[1])] {
            let (ratio, peer) = (got / sum, each.join(" + "));
            let reached = ratio <= limit;
            self.row(
                format!("{what}, {name}"),
                time(got),
                peer,
                format!("{ratio:.2}"),
                format!("{limit:.2}"),
                reached,
            );
        }
    }

    /// A row of one number of a unit, at most `limit`.
    pub fn number(&mut self, what: String, got: f64, unit: &str, beside: String, limit: f64) {
        self.row(
            what,
            format!("{got:.2} {unit}"),
            beside,
            "".into(),
            format!("{limit} {unit}"),
            got <= limit,
        );
    }

    fn row(&mut self, what: String, ours: String, peer: String, ratio: String, limit: String, reached: bool) {
        let reached = if reached { "yes" } else { "**no**" };
        eprintln!("{what}: {ours} | {peer} | {ratio} of {limit}: {reached}");
        self.0.push([what, ours, peer, ratio, limit, reached.into()]);
    }

    pub fn markdown(&self) -> String {
        let mut out = machine() + "\n\n| what | muxfs, p50 / p99 | against | ratio | limit | reached |\n";
        out.push_str("|---|---|---|---|---|---|\n");
        for row in &self.0 {
            out.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        out
    }

    /// Replaces the table in docs/benchmarks.md.
    pub fn into_docs(self) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/benchmarks.md");
        let text = std::fs::read_to_string(path).unwrap();
        let body = format!("\n{}", self.markdown());
        std::fs::write(path, muxfs_cli::doc::with_section(&text, "speed", &body).expect("its marks"))
            .unwrap();
    }
}

/// `UPDATE=1 make bench` on what, when.
fn machine() -> String {
    let said = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("", |l| l.trim_start_matches([' ', '\t', ':']));
    format!(
        "`UPDATE=1 make bench`, {}: {} processors ({model}), Linux {}, {}.",
        &muxfs_tree::base::clock::rfc3339(std::time::SystemTime::now())[..10],
        said("nproc", &[]),
        said("uname", &["-r"]),
        said("tmux", &["-V"]),
    )
}
