//! `recorder bench`: what recording costs here, stage by stage, and what runs out first.
//!
//! A run is a run of the recorder ([`crate::run::start`]) in real time, into a data set of its own; what is measured is
//! what the recorder counts of itself, and the time that its encoders take for each frame.

pub mod bottleneck;
pub mod job;
pub mod machine;
pub mod measure;
pub mod plan;
pub mod render;
pub mod report;

use crate::codec::backend::{self, Device};
use crate::config::Config;
use crate::config::schema::CameraKind;
use crate::run::{self, Gpu};
use job::Job;
use measure::{BenchError, Stop};
use plan::Encoding;
use report::{CameraSetUp, Report, Run, SetUp, Setting};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// Cores that other programs may use before that is said.
pub const BUSY: f64 = 0.05;

/// Measures one run after the other, with data sets below `folder`; nothing if it is stopped, which throws away what is
/// being recorded.
pub async fn run(job: &Job, folder: &Path, mut stop: Stop) -> Result<Option<Report>, BenchError> {
    let encodings = if job.every_encoding { Encoding::ALL.to_vec() } else { vec![Encoding::of(&job.config)] };
    let mut runs = Vec::new();
    for device in &job.devices.devices {
        for encoding in &encodings {
            let mut config = job.config.clone();
            encoding.apply(&mut config);
            plan::encode_on(*device, &mut config);
            config.dataset.root = Some(folder.join(format!("{}", runs.len() + 1)));
            let setting = setting(&config, *device, *encoding, job.found.fake);
            let gpu = (*device == Device::Gpu).then(|| Gpu { works: true, prober: job.prober.clone() });
            let fake = crate::encoders::fake(setting.fake);
            tracing::info!("measuring: {}, {}{fake}", encoding.name(), setting.encoder);
            match measure::measure(&Arc::new(config), gpu, *encoding, &mut stop).await? {
                Some(outcome) => runs.push(Run::new(setting, outcome)),
                None => return Ok(None),
            }
        }
    }
    let refusals = (job.devices.no_cpu.clone(), job.devices.no_gpu.clone());
    Ok(Some(Report::new(set_up(job, folder), runs, refusals)))
}

fn setting(config: &Config, device: Device, encoding: Encoding, fake: bool) -> Setting {
    let cameras = &config.robot.cameras;
    let faster = cameras.iter().filter(|(_, camera)| camera.fps > config.dataset.fps).map(|(name, _)| name.clone());
    Setting {
        encoding,
        device,
        encoder: backend::name(config.dataset.encoder.codec, device).into(),
        fake: fake && device == Device::Gpu,
        threads: measure::threads(config, device),
        cores: machine::cores(),
        episodes: config.dataset.num_episodes,
        real_cameras: cameras.values().any(|camera| camera.kind == CameraKind::V4l),
        faster: faster.collect(),
    }
}

fn set_up(job: &Job, folder: &Path) -> SetUp {
    let Config { dataset, robot, .. } = &job.config;
    let cameras = robot.cameras.iter().map(|(name, camera)| CameraSetUp {
        name: name.clone(),
        kind: format!("{:?}", camera.kind).to_lowercase(),
        width: camera.width,
        height: camera.height,
        fps: camera.fps,
        fourcc: camera.fourcc.clone(),
    });
    SetUp {
        name: job.name.clone(),
        cameras: cameras.collect(),
        arm: crate::arm::robot_type(robot.kind).is_some(),
        rows_per_second: dataset.fps,
        episodes: dataset.num_episodes,
        episode_s: dataset.episode_time_s,
        codec: backend::codec_name(dataset.encoder.codec).into(),
        quality: dataset.encoder.quality,
        gop: dataset.encoder.gop,
        workers: run::workers(&job.config),
        queue: dataset.video_encoding_queue_size,
        cores: machine::cores(),
        in_memory: machine::is_in_memory(folder),
    }
}

/// Where data sets of a bench are; gone on drop, unless it is to be kept.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    /// A new folder, which is kept.
    pub fn kept(path: &Path) -> io::Result<Folder> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        fs::create_dir(path)?;
        Ok(Folder { path: path.into(), keep: true })
    }

    /// A new folder on the disk that the data set of `config` would be on: how fast that is belongs to the figures.
    pub fn temporary(config: &Config) -> io::Result<Folder> {
        let root = run::root(config);
        let existing = root.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
        let path = existing.join(format!(".recorder-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Folder { path, keep: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What was stopped may still be putting its last files there.
        let gone = || fs::remove_dir_all(&self.path).is_ok() || !self.path.exists();
        if !self.keep && !gone() && !gone() {
            tracing::warn!("{} cannot be removed", self.path.display());
        }
    }
}
