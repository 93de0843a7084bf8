//! What was measured, as figures: pure. The texts of the fields are the documentation of `recorder bench --json`.

use super::bottleneck::{Bottleneck, Busy, RULE, Work, bottleneck};
use super::measure::{Outcome, Step};
use super::plan::Encoding;
use crate::clock::tick_ns;
use crate::codec::backend::Device;
use crate::dataset::{EpisodeSummary, Spread};
use crate::frame::DropReason;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything that `recorder bench` says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of the recorder.
    pub version: String,
    pub revision: String,
    pub set_up: SetUp,
    /// One for each device that encodes; with `--modes` one for each way of encoding on each.
    pub runs: Vec<Run>,
    /// Why the GPU was not measured.
    pub no_gpu: Option<String>,
    /// Why the CPU was not measured.
    pub no_cpu: Option<String>,
    /// The driver is test equipment: what is said of a GPU was not measured on one.
    pub fake_driver: bool,
    /// GPU against CPU, where both were measured in the same way.
    pub comparison: Option<Comparison>,
    /// How the bottleneck is found.
    pub rule: String,
    /// Every episode of every run was saved, and no frame lost.
    pub ok: bool,
}

/// What was measured, on what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetUp {
    /// `conservative`, `aggressive`, `interactive`, or the path of a configuration.
    pub name: String,
    pub cameras: Vec<CameraSetUp>,
    /// A simulated arm took part.
    pub arm: bool,
    pub rows_per_second: u32,
    pub episodes: u32,
    pub episode_s: f64,
    pub codec: String,
    pub quality: u32,
    pub gop: u32,
    pub workers: usize,
    pub queue: u32,
    pub cores: usize,
    /// The data set was in memory: saving cost no disk.
    pub in_memory: bool,
}

/// A camera as it was asked to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CameraSetUp {
    pub name: String,
    /// `v4l`, `file`, `synthetic`.
    pub kind: String,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
    pub fourcc: String,
}

/// What the figures of a run are taken from, beside its [`Outcome`].
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub encoding: Encoding,
    pub device: Device,
    /// Such as `openh264`.
    pub encoder: String,
    pub fake: bool,
    /// Encoding threads.
    pub threads: usize,
    pub cores: usize,
    pub episodes: u32,
    /// Their pictures come from a device: its delay is no work of this machine.
    pub real_cameras: bool,
    /// Cameras that deliver more frames than there are rows: not every one of theirs is to be in the video.
    pub faster: BTreeSet<String>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    pub encoding: Encoding,
    pub device: Device,
    /// What encoded, such as `openh264`.
    pub encoder: String,
    pub fake_driver: bool,
    pub threads: usize,
    pub stages: Stages,
    pub episodes: Vec<Episode>,
    pub frames: Frames,
    /// From an episode's last tick until it is saved: nothing waits for it where videos are encoded while they are recorded.
    pub save_ms: SpreadMs,
    /// By how much the next episode began later than it might have.
    pub held_up_ms: SpreadMs,
    /// How late the control loop woke while it recorded: of each figure the worst episode's.
    pub tick_jitter_us: SpreadUs,
    /// CPU seconds of this process for each second from the first recorded frame until all was saved.
    pub cores: f64,
    pub wall_s: f64,
    /// The same of all other programs: with more than a little the figures are not those of an idle machine.
    pub other_programs_cores: Option<f64>,
    /// Largest resident memory, in MiB.
    pub peak_memory_mib: Option<u64>,
    pub busy: Busy,
    pub bottleneck: Bottleneck,
    /// Why the run ended early.
    pub failure: Option<String>,
    pub ok: bool,
}

/// Milliseconds a frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stages {
    /// From the picture's capture until the recorder has it: of a synthetic camera, drawing it.
    pub capture: Times,
    pub decode: Times,
    pub encode: Times,
    /// Writing to the file; a GOP is written at a time. `mean_ms` only.
    pub write: Times,
    /// From the picture's capture until it is encoded, all waiting included.
    pub total: Times,
}

/// How long a stage takes; nothing that was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    pub mean_ms: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpreadMs {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpreadUs {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

/// One episode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Episode {
    pub rows: u64,
    pub achieved_fps: f64,
    pub save_ms: f64,
    pub frames: Frames,
}

/// What became of frames, of all cameras together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Frames {
    pub captured: u64,
    pub written: u64,
    /// Captured and in no video, or lost by the driver. The frames between rows of a camera faster than them are not.
    pub lost: u64,
    /// Rows that show the frame of the row before.
    pub repeated: u64,
    /// What is not written, by its reason.
    pub dropped: BTreeMap<String, u64>,
    /// Encoders that were replaced in the middle of a video.
    pub encoder_switches: u64,
}

/// The GPU against the CPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The CPU's mean time to encode a frame, by the GPU's.
    pub encode_speedup: f64,
    /// Cores that the process needed less.
    pub cores_saved: f64,
}

impl Report {
    /// Compares, and judges.
    pub fn new(set_up: SetUp, runs: Vec<Run>, (no_cpu, no_gpu): (Option<String>, Option<String>)) -> Report {
        let of = |device| {
            let same = |run: &&Run| run.device == device && run.encoding == runs[0].encoding;
            runs.iter().find(same)
        };
        let comparison = of(Device::Cpu).zip(of(Device::Gpu)).and_then(|(cpu, gpu)| {
            let speedup = cpu.stages.encode.mean_ms? / gpu.stages.encode.mean_ms?;
            Some(Comparison { encode_speedup: speedup, cores_saved: cpu.cores - gpu.cores })
        });
        Report {
            version: crate::VERSION.into(),
            revision: crate::REVISION.into(),
            fake_driver: runs.iter().any(|run| run.fake_driver),
            ok: !runs.is_empty() && runs.iter().all(|run| run.ok),
            rule: RULE.into(),
            set_up,
            runs,
            no_gpu,
            no_cpu,
            comparison,
        }
    }
}

impl Run {
    /// The figures of an outcome.
    pub fn new(setting: Setting, mut outcome: Outcome) -> Run {
        outcome.episodes.sort_by_key(|(summary, _)| summary.take);
        let Outcome { steps, episodes, write, cpu, wall, others, peak_kib, failure } = outcome;
        let summaries: Vec<&EpisodeSummary> = episodes.iter().map(|(summary, _)| summary).collect();
        let recorded_s: f64 = summaries.iter().map(|s| s.length as f64 / f64::from(s.fps)).sum();
        let cameras = summaries.first().map_or(0, |s| s.cameras.len());
        let told: Vec<Episode> = episodes
            .iter()
            .map(|(summary, took)| Episode {
                rows: summary.length,
                achieved_fps: summary.achieved_fps,
                save_ms: ms(*took),
                frames: Frames::of(summary, &setting.faster),
            })
            .collect();
        let frames = told.iter().fold(Frames::default(), |sum, episode| sum.add(&episode.frames));
        let work = |of: fn(&Step) -> Duration| steps.iter().map(of).sum::<Duration>().as_secs_f64();
        let work = Work {
            capture: (!setting.real_cameras).then(|| work(|step| step.capture)),
            decode: work(|step| step.decode),
            encode: work(|step| step.encode),
            write: write.map(|time| time.as_secs_f64()),
        };
        let wall_s = wall.as_secs_f64();
        let share = |seconds: f64, of: f64| if of > 0.0 { seconds / of } else { 0.0 };
        let busy = Busy {
            capture: work.capture.map(|work| share(work, recorded_s * cameras as f64)),
            encoders: share(work.decode + work.encode, recorded_s * setting.threads as f64),
            writer: work.write.map(|work| share(work, recorded_s)),
            cpu: share(cpu.as_secs_f64(), wall_s * setting.cores as f64),
        };
        let jitter = |of: fn(&Spread) -> u64| {
            summaries.iter().map(|s| of(&s.tick_jitter_ns)).max().unwrap_or_default() as f64 / 1e3
        };
        let mean_write = write.filter(|_| !steps.is_empty()).map(|time| ms(time) / steps.len() as f64);
        Run {
            stages: Stages {
                capture: Times::of(steps.iter().map(|step| step.capture)),
                decode: Times::of(steps.iter().map(|step| step.decode)),
                encode: Times::of(steps.iter().map(|step| step.encode)),
                write: Times { mean_ms: mean_write, ..Times::default() },
                total: Times::of(steps.iter().map(|step| step.total)),
            },
            ok: failure.is_none() && frames.lost == 0 && told.len() == setting.episodes as usize,
            save_ms: SpreadMs::of(episodes.iter().map(|(_, took)| took.as_nanos() as u64)),
            held_up_ms: SpreadMs::of(held_up(&summaries)),
            tick_jitter_us: SpreadUs { p50: jitter(|s| s.p50), p99: jitter(|s| s.p99), max: jitter(|s| s.max) },
            cores: share(cpu.as_secs_f64(), wall_s),
            wall_s,
            other_programs_cores: others.map(|time| share(time.as_secs_f64(), wall_s)),
            peak_memory_mib: peak_kib.map(|kib| kib >> 10),
            bottleneck: bottleneck(&busy, &work, setting.device),
            busy,
            frames,
            episodes: told,
            failure,
            encoding: setting.encoding,
            device: setting.device,
            encoder: setting.encoder,
            fake_driver: setting.fake,
            threads: setting.threads,
        }
    }
}

/// Nanoseconds from the first tick that the next episode might have begun with to the one that it began with.
fn held_up(summaries: &[&EpisodeSummary]) -> Vec<u64> {
    let waited = |pair: &[&EpisodeSummary]| {
        let free = pair[0].start_mono_ns + tick_ns(pair[0].length, pair[0].fps);
        // Places in the grid are rounded to a nanosecond.
        pair[1].start_mono_ns.saturating_sub(free + 1)
    };
    summaries.windows(2).map(waited).collect()
}

impl Frames {
    fn of(summary: &EpisodeSummary, faster: &BTreeSet<String>) -> Frames {
        let mut frames = Frames::default();
        for (name, camera) in &summary.cameras {
            let counted = &camera.counters;
            frames.captured += counted.captured;
            frames.written += counted.written;
            frames.repeated += counted.repeated;
            let superseded = counted.dropped.get(&DropReason::Superseded).copied().unwrap_or_default();
            frames.lost += counted.lost() - if faster.contains(name) { superseded } else { 0 };
            frames.encoder_switches += counted.encoder_switches.len() as u64;
            for (reason, count) in &counted.dropped {
                *frames.dropped.entry(reason.name().into()).or_default() += count;
            }
        }
        frames
    }

    fn add(mut self, other: &Frames) -> Frames {
        self.captured += other.captured;
        self.written += other.written;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.encoder_switches += other.encoder_switches;
        for (reason, count) in &other.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
        self
    }
}

impl Times {
    fn of(values: impl Iterator<Item = Duration>) -> Times {
        let values: Vec<u64> = values.map(|value| value.as_nanos() as u64).collect();
        if values.is_empty() {
            return Times::default();
        }
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        let Spread { p50, p99, .. } = Spread::of(values);
        let ms = |ns: f64| Some(ns / 1e6);
        Times { mean_ms: ms(mean), p50_ms: ms(p50 as f64), p99_ms: ms(p99 as f64) }
    }
}

impl SpreadMs {
    /// Of nanoseconds.
    fn of(values: impl IntoIterator<Item = u64>) -> SpreadMs {
        let Spread { p50, p99, max } = Spread::of(values);
        let ms = |ns: u64| ns as f64 / 1e6;
        SpreadMs { p50: ms(p50), p99: ms(p99), max: ms(max) }
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests;
