//! The recorder in real time, with cameras that play the clip at 30 frames a second.

use crate::clip::{self, FPS};
use crate::process::{self, Report};
use crate::{Result, line, note};
use recorder::dataset::Spread;
use std::path::Path;

/// One run of the program.
struct Plan {
    cameras: usize,
    arm: bool,
    codec: &'static str,
    episodes: u32,
    episode_s: f64,
    reset_s: f64,
}

impl Plan {
    fn run(&self, dir: &Path) -> Result<Report> {
        let root = dir.join("realtime");
        let Plan { cameras, arm, codec, episodes, episode_s, reset_s } = self;
        let mut text = format!(
            "[dataset]\nrepo_id = \"bench/realtime\"\nroot = {root:?}\nsingle_task = \"bench\"\nfps = {FPS}\n\
             episode_time_s = {episode_s}\nreset_time_s = {reset_s}\nnum_episodes = {episodes}\n\
             [dataset.encoder]\ncodec = \"{codec}\"\nquality = 23\ngop = 15\n[metrics]\nlisten = \"127.0.0.1:0\"\n"
        );
        if *arm {
            text += "[robot]\ntype = \"so101_follower\"\nport = \"sim\"\nid = \"follower\"\n\
                     [teleop]\ntype = \"so101_leader\"\nport = \"sim\"\nid = \"leader\"\n";
        }
        for camera in 0..*cameras {
            text += &format!("[robot.cameras.c{camera:02}]\ntype = \"file\"\nindex_or_path = {:?}\n", clip::path(dir));
        }
        process::run(dir, &root, &text)
    }
}

/// 2 cameras and the simulated arm, three episodes of 20 s.
pub fn record(dir: &Path) -> Result<()> {
    let plan = Plan { cameras: 2, arm: true, codec: "h264", episodes: 3, episode_s: 20.0, reset_s: 1.0 };
    let report = plan.run(dir)?;
    let rows: u64 = report.episodes.iter().map(|episode| episode.length).sum();
    note("rows", format!("{rows} in {} episodes", report.episodes.len()));
    line("frames lost", report.lost().to_string(), "0", report.lost() == 0);
    line("rows repeated", report.repeated().to_string(), "0", report.repeated() == 0);
    let jitter = |of: fn(&Spread) -> u64| report.episodes.iter().map(|e| of(&e.tick_jitter_ns)).max().unwrap_or(0);
    let (p50, p99, max) = (jitter(|s| s.p50), jitter(|s| s.p99), jitter(|s| s.max));
    let shown = format!("{} / {} / {} us", p50 / 1000, p99 / 1000, max / 1000);
    line("tick jitter p50 / p99 / max", shown, "p99 <= 1 ms", p99 <= 1_000_000);
    let (resident, mib) = (&report.resident_kib, |kib: u64| kib / 1024);
    line("peak memory", format!("{} MiB", mib(report.peak_kib)), "<= 100 MB", report.peak_kib * 1024 <= 100_000_000);
    let over_time: Vec<String> = (1..=6)
        .filter_map(|sixth| resident.get((resident.len() * sixth / 6).saturating_sub(1)))
        .map(|kib| mib(*kib).to_string())
        .collect();
    note("resident memory over the run", format!("{} MiB", over_time.join(" ")));
    note("most frames that waited", report.queue.iter().max().copied().unwrap_or(0).to_string());
    let per_frame = report.cpu.as_secs_f64() * 1e3 / (2 * rows) as f64;
    note(
        "CPU",
        format!(
            "{:.1} s ({:.2} cores, {per_frame:.2} ms a frame, arm included)",
            report.cpu.as_secs_f64(),
            report.cores()
        ),
    );
    Ok(())
}

/// Short episodes in several runs: how a camera's pictures lie to the ticks is chance in each, and part of the time.
pub fn saves(dir: &Path) -> Result<()> {
    let plan = Plan { cameras: 2, arm: true, codec: "h264", episodes: 10, episode_s: 2.0, reset_s: 0.2 };
    let mut times = Vec::new();
    for _ in 0..6 {
        times.extend(plan.run(dir)?.saves_ms);
    }
    let count = times.len();
    let Spread { p50, p99, max } = Spread::of(times);
    note("saves", count.to_string());
    line("last tick to commit p50 / p99 / max", format!("{p50} / {p99} / {max} ms"), "p99 <= 100 ms", p99 <= 100);
    Ok(())
}

/// As many cameras as are recorded whole.
pub fn cameras(dir: &Path) -> Result<()> {
    sustained(dir, "h264", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5)
}

/// The same without encoding.
pub fn copy(dir: &Path) -> Result<()> {
    sustained(dir, "copy", &[10, 20, 30, 40], 20)
}

fn sustained(dir: &Path, codec: &'static str, counts: &[usize], bar: usize) -> Result<()> {
    let mut most = 0;
    for &cameras in counts {
        let plan = Plan { cameras, arm: false, codec, episodes: 1, episode_s: 12.0, reset_s: 0.0 };
        let report = plan.run(dir)?;
        let whole = report.lost() == 0 && !grows(&report.queue);
        let (lost, repeated, cores) = (report.lost(), report.repeated(), report.cores());
        note(
            &format!("{cameras} cameras"),
            format!(
                "lost {lost}, repeated {repeated}, waiting {:?}, {cores:.2} cores, {} MiB{}",
                thin(&report.queue),
                report.peak_kib / 1024,
                if whole { "" } else { ": not sustained" }
            ),
        );
        if !whole {
            break;
        }
        most = cameras;
    }
    line("cameras sustained", most.to_string(), &format!(">= {bar}"), most >= bar);
    Ok(())
}

/// Six values of a series.
fn thin(series: &[u64]) -> Vec<u64> {
    series.chunks(series.len().div_ceil(6).max(1)).filter_map(|part| part.iter().max().copied()).collect()
}

/// More waits at the end than a GOP and a bit above what waited in the first half.
fn grows(queue: &[u64]) -> bool {
    let (first, second) = queue.split_at(queue.len() / 2);
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or(0);
    most(second) > most(first) + u64::from(FPS) / 2
}
