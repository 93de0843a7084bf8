//! A real recording of two synthetic cameras, in real time, on the GPU or on the CPU; in one kind of it a session dies in
//! the middle of a video.

use super::death::{Death, Killer};
use super::recorded;
use crate::codec::backend::{self, Device};
use crate::codec::gpu::{GpuReport, Prober};
use crate::config::{self, Config};
use crate::dataset::EpisodeSummary;
use crate::encoders::decode::Verdict;
use crate::encoders::trial::{FPS, Milliseconds, SIZE};
use crate::run::{self, Parts};
use crate::status;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An episode is not longer: large files, and yet some to save.
const LONGEST_EPISODE_S: u32 = 60;
/// Worker threads of the runtime, as in a recording.
const RUNTIME_THREADS: usize = 2;

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// What encodes, as long as nothing fails.
    pub device: Device,
    pub gpu_id: u32,
    /// Seconds of video, at least 1.
    pub seconds: u32,
    /// A session that dies in the middle of a video, and how.
    pub death: Option<Death>,
    /// There is no GPU: where it would encode, the CPU's encoder stands in for it.
    pub stand_in: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordingFigures {
    pub cameras: usize,
    pub episodes: u64,
    /// Of all cameras together.
    pub captured: u64,
    pub written: u64,
    pub dropped: u64,
    pub repeated: u64,
    /// Rows a second of the slowest episode.
    pub rows_per_second: f64,
    /// How late the control loop's ticks woke: the largest p99 of an episode.
    pub tick_jitter_p99_ms: f64,
    /// From the last row of an episode to its being saved.
    pub save_ms: Milliseconds,
    /// Processor time of the whole recorder, synthetic cameras included, in cores.
    pub cpu_cores: f64,
    /// Bits a second of one camera's video.
    pub bits_per_second: u64,
    /// Encoders that finished a video.
    pub encoders: Vec<String>,
    /// Changes of the encoder in the middle of a video, each `from, to, reason`.
    pub switches: Vec<[String; 3]>,
    /// From the session's death to the same frame out of the CPU's encoder, in milliseconds.
    pub switch_ms: Option<f64>,
    /// Whether every row's picture, and no other, came out of a decoder.
    pub decoded: Verdict,
}

impl Recording {
    /// Records into a new folder, and decodes what was recorded; why that failed, in one line.
    pub fn run(&self, root: &Path) -> Result<RecordingFigures, String> {
        let config = Arc::new(self.config(root)?);
        let killer = self.death.map(|death| Arc::new(Killer::new(death, self.middle())));
        let (stand_in, by_killer) = (self.stand_in, killer.clone());
        let standard = backend::standard();
        let open = Arc::new(move |params: &_, device| {
            let really = if stand_in { Device::Cpu } else { device };
            let encoder = standard(params, really)?;
            Ok(match &by_killer {
                Some(killer) => killer.clone().around(encoder, device),
                None => encoder,
            })
        });
        let saved: Arc<Mutex<Vec<(EpisodeSummary, Duration)>>> = Arc::default();
        let on_saved = saved.clone();
        // A GPU that failed here is not looked at again: the test is over before.
        let prober: Prober = Arc::new(|| GpuReport::refused("not looked for again in a self-test"));
        let parts = Parts {
            clock: run::clock(&config),
            open_encoder: open,
            gpu: (self.device == Device::Gpu).then_some(run::Gpu { works: true, prober }),
            status: status::shared(),
            on_saved: Box::new(move |summary, time| {
                let mut saved = on_saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                saved.push((summary.clone(), time));
            }),
        };
        let dataset = run::open_dataset(&config).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime cannot be started: {error}"))?;
        let (wall, cpu) = (Instant::now(), process_time());
        let ended = runtime.block_on(async { run::start(&config, dataset, parts).await?.wait().await });
        let cpu_cores = (process_time() - cpu).as_secs_f64() / wall.elapsed().as_secs_f64();
        // A session that hangs is still there.
        runtime.shutdown_background();
        ended.map_err(|error| error.to_string())?;
        let saved = std::mem::take(&mut *saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        self.figures(root, &saved, cpu_cores, killer.and_then(|killer| killer.switch()))
    }

    fn figures(
        &self,
        root: &Path,
        saved: &[(EpisodeSummary, Duration)],
        cpu_cores: f64,
        switch: Option<Duration>,
    ) -> Result<RecordingFigures, String> {
        let cameras: Vec<_> =
            saved.iter().flat_map(|(summary, _)| summary.cameras.values()).map(|c| &c.counters).collect();
        let sum = |count: fn(&crate::dataset::CameraCounters) -> u64| cameras.iter().map(|c| count(c)).sum();
        let rows: u64 = saved.iter().map(|(summary, _)| summary.length).sum();
        let expected = u64::from(self.episodes());
        if saved.len() as u64 != expected {
            return Err(format!("expected {expected} saved episodes, found {}", saved.len()));
        }
        let recorded = recorded::check(root)?;
        let videos = cameras.len() as u64;
        let seconds = (rows as f64 / f64::from(FPS)).max(f64::MIN_POSITIVE);
        Ok(RecordingFigures {
            cameras: videos as usize / saved.len().max(1),
            episodes: saved.len() as u64,
            captured: sum(|c| c.captured),
            written: sum(|c| c.written),
            dropped: sum(|c| c.dropped.values().sum()),
            repeated: sum(|c| c.repeated),
            rows_per_second: saved.iter().map(|(summary, _)| summary.achieved_fps).fold(f64::INFINITY, f64::min),
            tick_jitter_p99_ms: saved.iter().map(|(s, _)| s.tick_jitter_ns.p99).max().unwrap_or_default() as f64 / 1e6,
            save_ms: Milliseconds::of(&saved.iter().map(|(_, time)| *time).collect::<Vec<_>>()),
            cpu_cores,
            bits_per_second: (recorded.bytes as f64 * 8.0 * saved.len() as f64 / videos.max(1) as f64 / seconds) as u64,
            encoders: cameras.iter().map(|c| c.encoder.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
            switches: cameras
                .iter()
                .flat_map(|c| &c.encoder_switches)
                .map(|s| [s.from.clone(), s.to.clone(), s.reason.clone()])
                .collect(),
            switch_ms: switch.map(|time| time.as_secs_f64() * 1e3),
            decoded: recorded.verdict,
        })
    }

    fn episodes(&self) -> u32 {
        self.seconds.div_ceil(LONGEST_EPISODE_S).max(1)
    }

    fn episode_s(&self) -> f64 {
        f64::from(self.seconds.max(1)) / f64::from(self.episodes())
    }

    /// The frame at which a session dies: in the middle of an episode and of a GOP.
    fn middle(&self) -> u64 {
        (self.episode_s() * f64::from(FPS) / 2.0) as u64 + 7
    }

    fn config(&self, root: &Path) -> Result<Config, String> {
        let (width, height) = SIZE;
        let camera = |name: &str| {
            format!("[robot.cameras.{name}]\ntype = \"synthetic\"\nwidth = {width}\nheight = {height}\nfps = {FPS}\n")
        };
        let text = format!(
            "{}{}[dataset]\nrepo_id = \"self/test\"\nsingle_task = \"self-test\"\nfps = {FPS}\nepisode_time_s = {}\n\
             reset_time_s = 0\nnum_episodes = {}\ngpu_video_encoding = {}\n[dataset.encoder]\ngpu_id = {}\n\
             [metrics]\nlisten = \"\"\n",
            camera("front"),
            camera("wrist"),
            self.episode_s(),
            self.episodes(),
            self.device == Device::Gpu,
            self.gpu_id,
        );
        let mut config = config::parse("self-test", &text, &[]).map_err(|error| error.to_string())?;
        config.dataset.root = Some(root.into());
        Ok(config)
    }
}

fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
