//! A run put together from its configuration.

use crate::actors::arm::ArmArguments;
use crate::actors::camera::CameraArguments;
use crate::actors::coordinator::{CoordinatorArguments, CoordinatorCamera, Pace};
use crate::actors::encoder_pool::{GpuUse, Keeping, PoolArguments, PoolCamera, is_made_on_cpu, longest_fragment};
use crate::actors::recorder::{Recorder, RecorderArguments, RecorderMessage, RunError};
use crate::actors::writer::{OnSaved, WriterArguments};
use crate::arm;
use crate::arm::replay::Replay;
use crate::budget::Budget;
use crate::clock::{Clock, SimulatedClock, Stamp, SystemClock};
use crate::codec::Preset;
use crate::codec::backend::{self, Device, OpenEncoder};
use crate::codec::gpu::Prober;
use crate::codec::stream::StreamParams;
use crate::codec::view::View;
use crate::config::schema::{self, Codec, ColorRange, Config, OnGpuFailure, TeleopKind};
use crate::config::validate::{is_simulated, ticks_per_episode};
use crate::dataset::{CameraSpec, Dataset, DatasetError, DatasetSpec, VideoInfo};
use crate::devices::Devices;
use crate::disk_space::{self, FreeSpace, NoSpace};
use crate::episode::{Key, Plan};
use crate::events::Event;
use crate::frame::PixelFormat;
use crate::lerobot_home::lerobot_home;
use crate::metrics;
use crate::run_state::Ending;
use crate::schedule::Schedule;
use crate::status::SharedStatus;
use crate::supervision::Health;
use ractor::{Actor, ActorRef};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;

/// What a run is started with, beside its configuration.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub open_encoder: OpenEncoder,
    /// Left out: the CPU encodes.
    pub gpu: Option<Gpu>,
    pub status: SharedStatus,
    pub on_saved: OnSaved,
}

/// The GPU as it was found.
#[derive(Clone)]
pub struct Gpu {
    /// It encodes what is configured.
    pub works: bool,
    /// Looks again.
    pub prober: Prober,
}

/// Where a run stands when it starts, and what ends it.
#[derive(Clone)]
pub struct Stage {
    /// Episodes of it that an earlier process recorded.
    pub recorded: u64,
    /// An earlier process began the run.
    pub goes_on: bool,
    pub schedule: Schedule,
    pub free_space: FreeSpace,
}

impl Default for Stage {
    fn default() -> Stage {
        let (recorded, goes_on, schedule) = Default::default();
        Stage { recorded, goes_on, schedule, free_space: Arc::new(disk_space::free) }
    }
}

/// A run that goes on.
pub struct Running {
    recorder: ActorRef<RecorderMessage>,
    ending: Arc<Ending>,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    status: SharedStatus,
    outcome: oneshot::Receiver<Result<(), RunError>>,
    stopped: ractor::concurrency::JoinHandle<()>,
}

/// Frames of a camera that may be on their way at once beside those that wait for an encoder or are being encoded: in the
/// aligner, in mailboxes, in the encoder's hands.
const FRAMES_IN_FLIGHT: usize = 24;

/// Takes that may wait to be saved where videos are encoded while they are recorded: some, when the disk is slow. Their rows
/// are in memory, 1 MB a minute; beyond this the next take is held until one is saved.
const MOST_UNSAVED_TAKES: usize = 32;
/// Room for less recording time than this is little: time enough to make some, and for two episodes at least.
const LITTLE_ROOM_S: f64 = 1800.0;
const LITTLE_ROOM_EPISODES: f64 = 2.0;

/// How a run is told what the operator wants.
#[derive(Clone)]
pub struct Controls {
    recorder: ActorRef<RecorderMessage>,
    ending: Arc<Ending>,
}

impl Controls {
    /// Hands on an operator's key.
    pub fn key(&self, key: Key) {
        let _ = self.recorder.cast(RecorderMessage::Key(key));
    }

    /// Stops now: the arm is let go of, what is not saved yet is left to the next start.
    pub fn abort(&self) {
        let _ = self.recorder.cast(RecorderMessage::Abort);
    }

    /// Says whether the run is over when it stops, or is to be continued by the next start.
    pub fn ending(&self) -> &Ending {
        &self.ending
    }
}

impl Running {
    /// Hands on an operator's key.
    pub fn key(&self, key: Key) {
        self.controls().key(key);
    }

    /// A handle for what the operator wants that outlives the wait for the end.
    pub fn controls(&self) -> Controls {
        Controls { recorder: self.recorder.clone(), ending: self.ending.clone() }
    }

    /// What its parts have done so far.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Waits until everything is saved and every part has stopped, and tells so: nothing is told of the run after that.
    pub async fn wait(self) -> Result<(), RunError> {
        let outcome = self.outcome.await;
        let _ = self.stopped.await;
        let outcome = outcome.unwrap_or_else(|_| Err(RunError::Failed("the recorder died".into())));
        let (saved, discarded, failed) = {
            let status = self.status.borrow();
            (status.saved, status.discarded, status.failed)
        };
        let counts = format!("{saved} saved, {discarded} discarded, {failed} failed");
        let (error, text) = match &outcome {
            Ok(()) => (None, format!("the run has ended: {counts}")),
            Err(error) => (Some(error.to_string()), format!("{error}; {counts}")),
        };
        self.status.tell(self.clock.now(), Event::RunEnded { saved, discarded, failed, error }, text);
        outcome
    }
}

/// The clock a configuration asks for: real time, or simulated time where no source is bound to it.
pub fn clock(config: &Config) -> Arc<dyn Clock> {
    let real = SystemClock::default();
    if is_simulated(config) {
        Arc::new(SimulatedClock::new(Stamp { mono_ns: 1_000_000_000, utc_ns: real.now().utc_ns }))
    } else {
        Arc::new(real)
    }
}

/// Where the data set is.
pub fn root(config: &Config) -> PathBuf {
    let env = |name: &str| std::env::var(name).ok();
    config.dataset.root.clone().unwrap_or_else(|| lerobot_home(&env).join(&config.dataset.repo_id))
}

/// What the data set records.
pub fn dataset_spec(config: &Config) -> DatasetSpec {
    let encoder = &config.dataset.encoder;
    let names = arm::features(config.robot.kind);
    let camera = |(name, camera): (&String, &schema::Camera)| {
        let (width, height) = camera.recorded_size();
        CameraSpec {
            name: name.clone(),
            key: format!("observation.images.{name}"),
            width,
            height,
            video: video_info(encoder, camera),
        }
    };
    DatasetSpec {
        fps: config.dataset.fps,
        robot_type: arm::robot_type(config.robot.kind).map(str::to_string),
        state_names: names.clone(),
        action_names: names,
        cameras: config.robot.cameras.iter().map(camera).collect(),
    }
}

/// What a camera has encoded itself is stored as it came, where the video is H.264 and shows the whole picture; also where
/// the configuration says `copy`.
fn is_stored_as_it_comes(encoder: &schema::Encoder, camera: &schema::Camera) -> bool {
    encodes_itself(camera) && View::of(camera).is_all() && matches!(encoder.codec, Codec::H264 | Codec::Copy)
}

fn encodes_itself(camera: &schema::Camera) -> bool {
    PixelFormat::of_camera(camera.fourcc.as_bytes()) == Some(PixelFormat::H264)
}

/// How a camera's videos are encoded, as the data set tells it.
pub fn video_info(encoder: &schema::Encoder, camera: &schema::Camera) -> VideoInfo {
    if is_stored_as_it_comes(encoder, camera) {
        // The camera decides; its stream says what it is.
        return VideoInfo {
            codec: "h264".into(),
            pix_fmt: "yuv420p".into(),
            color_range: ColorRange::Limited,
            gop: None,
            quality: None,
            preset: None,
        };
    }
    let encoded = |codec: &str, preset| VideoInfo {
        codec: codec.into(),
        pix_fmt: "yuv420p".into(),
        color_range: encoder.color_range,
        gop: Some(encoder.gop),
        quality: Some(encoder.quality),
        preset,
    };
    match encoder.codec {
        // May come from the CPU, which has no presets.
        Codec::H264 => encoded("h264", None),
        Codec::Hevc => encoded("hevc", Some(encoder.preset.clone())),
        Codec::Av1 => encoded("av1", Some(encoder.preset.clone())),
        Codec::Copy => VideoInfo {
            codec: "mjpeg".into(),
            // What most webcams deliver; the first video of the data set says what it is.
            pix_fmt: "yuvj422p".into(),
            color_range: ColorRange::Full,
            gop: Some(1),
            quality: None,
            preset: None,
        },
    }
}

/// Refuses a disk without room for recording.
pub fn require_disk(config: &Config) -> Result<(), NoSpace> {
    disk_space::require(&root(config), min_free_bytes(config))
}

fn min_free_bytes(config: &Config) -> u64 {
    (config.limits.min_free_gib * (1u64 << 30) as f64) as u64
}

/// Creates the data set, or opens it to go on.
pub fn open_dataset(config: &Config) -> Result<Dataset, DatasetError> {
    let (root, spec) = (root(config), dataset_spec(config));
    let open = if config.dataset.resume { Dataset::resume_after } else { Dataset::create_after };
    open(&root, spec, config.run.on_crash)
}

/// Opens the data set of a run that was interrupted, whether it has an episode already or none: what the run itself has
/// recorded is nothing to refuse.
pub fn reopen_dataset(config: &Config) -> Result<Dataset, DatasetError> {
    let open = |resume| {
        let mut config = config.clone();
        config.dataset.resume = resume;
        open_dataset(&config)
    };
    match open(true) {
        Err(DatasetError::NotADataset { .. }) => open(false),
        other => other,
    }
}

/// Encoding threads.
pub fn workers(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let automatic = config.robot.cameras.len().clamp(1, cores);
    config.dataset.video_encoding_workers.map_or(automatic, |n| n as usize)
}

/// How a camera's video is encoded.
pub fn camera_params(config: &Config, camera: &schema::Camera) -> StreamParams {
    let (width, height) = camera.recorded_size();
    let mut params = stream_params(config, width, height);
    if params.codec == Codec::Copy && encodes_itself(camera) {
        // The pictures between those that are stored as they come.
        params.codec = Codec::H264;
    }
    if is_stored_as_it_comes(&config.dataset.encoder, camera) {
        params.color_range = ColorRange::Limited;
    }
    params
}

/// How a video of this size is encoded.
pub fn stream_params(config: &Config, width: u32, height: u32) -> StreamParams {
    let encoder = &config.dataset.encoder;
    StreamParams {
        codec: encoder.codec,
        quality: encoder.quality,
        gop: encoder.gop,
        width,
        height,
        fps: config.dataset.fps,
        color_range: encoder.color_range,
        bitrate: encoder.bitrate,
        preset: Preset::named(&encoder.preset).unwrap_or_default(),
        gpu_id: encoder.gpu_id,
        stats_stride: 1,
    }
}

/// Whether frames are kept on disk until their take is saved.
fn keeping(config: &Config) -> Keeping {
    let encoder = &config.dataset.encoder;
    if !config.dataset.streaming_encoding {
        Keeping::Instead
    } else if is_made_on_cpu(encoder.codec) || encoder.on_gpu_failure == OnGpuFailure::Stop {
        Keeping::No
    } else {
        Keeping::Beside
    }
}

/// Starts recording into `dataset`.
pub async fn start(config: &Arc<Config>, dataset: Dataset, parts: Parts) -> Result<Running, RunError> {
    start_with(config, dataset, parts, Devices::default()).await
}

/// As [`start`], with devices of the caller's.
pub async fn start_with(
    config: &Arc<Config>,
    dataset: Dataset,
    parts: Parts,
    devices: Devices,
) -> Result<Running, RunError> {
    start_from(config, dataset, parts, devices, Stage::default()).await
}

/// The motion that the arm is to follow, where it follows one.
fn load_replay(config: &Config) -> Result<Option<Replay>, RunError> {
    if config.dataset.num_episodes == 0 || config.teleop.kind != TeleopKind::Replay {
        return Ok(None);
    }
    let replay = Replay::load(config).map_err(|error| RunError::Device(error.to_string()))?;
    tracing::info!("{}", replay.describe());
    replay.warnings(config).iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(Some(replay))
}

/// As [`start_with`], for a run that stands somewhere already.
pub async fn start_from(
    config: &Arc<Config>,
    mut dataset: Dataset,
    parts: Parts,
    devices: Devices,
    stage: Stage,
) -> Result<Running, RunError> {
    let replay = match load_replay(config) {
        Ok(replay) => replay,
        Err(error) => {
            // A run that never began is not to be continued.
            if !stage.goes_on
                && let Err(error) = dataset.remove_run_state()
            {
                tracing::warn!("{error}");
            }
            return Err(error);
        }
    };
    let Parts { clock, open_encoder, gpu, status, on_saved } = parts;
    let d = &config.dataset;
    let queue_size = d.video_encoding_queue_size as usize;
    let bytes = (config.limits.frame_memory_mib as usize) << 20;
    let total = Budget::shown(bytes, 0, ::metrics::gauge!(metrics::FRAME_MEMORY));
    status.runs_on(clock.clone());
    let mut pool_cameras = Vec::new();
    let mut sources = Vec::new();
    let device = if gpu.as_ref().is_some_and(|gpu| gpu.works) { Device::Gpu } else { Device::Cpu };
    let backend = backend::name(d.encoder.codec, device);
    // A run without episodes only finishes what waits: it opens no device. So does one that has them, or whose time is up.
    let is_over = stage.schedule.is_over(clock.now()).is_some();
    let episodes = if is_over { 0 } else { u64::from(d.num_episodes) };
    let records = stage.recorded < episodes;
    let ending = Arc::new(Ending::default());
    ending.goes_on.store(stage.goes_on, Ordering::SeqCst);
    let health = Arc::new(Health::new(clock.is_simulated()));
    for (index, (name, camera)) in config.robot.cameras.iter().enumerate() {
        let params = camera_params(config, camera);
        let fragment = longest_fragment(&params);
        let credits = queue_size + fragment + FRAMES_IN_FLIGHT;
        pool_cameras.push(PoolCamera { name: name.clone(), params });
        if records {
            sources.push((index, name.clone(), camera.clone(), total.sibling(credits)));
        }
    }
    let has_arm = records && arm::robot_type(config.robot.kind).is_some();
    let spill_limit_bytes = u64::from(config.limits.spill_mib) << 20;
    metrics::register(&metrics::Setup {
        cameras: config.robot.cameras.iter().map(|(name, camera)| (name.as_str(), camera.fps)).collect(),
        fps: d.fps,
        codec: d.encoder.codec,
        gpu: gpu.as_ref().map(|gpu| gpu.works),
        motors: if has_arm { arm::motor_names(config.robot.kind) } else { Vec::new() },
        records,
        queue_capacity: queue_size,
        frame_memory_bytes: bytes,
        spill_bytes: spill_limit_bytes,
        episodes,
        cycle_s: d.episode_time_s + d.reset_time_s,
        now: clock.now(),
    });
    let (introduce_coordinator, coordinator) = oneshot::channel();
    let (dataset_root, spill_dir) = (dataset.root().to_path_buf(), dataset.work_dir());
    status.send_modify(|s| {
        s.encoder = backend.into();
        s.root = dataset_root.display().to_string();
        s.started_utc_ns = clock.now().utc_ns;
    });
    let workers = workers(config);
    let first_take = dataset.first_take();
    let waiting: Vec<u64> = dataset.waiting().iter().map(|waiting| waiting.report.take).collect();
    let gpu = gpu.map(|gpu| GpuUse {
        usable: gpu.works,
        prober: gpu.prober,
        watchdog: Duration::from_millis(config.limits.gpu_watchdog_ms.into()),
        on_failure: d.encoder.on_gpu_failure,
    });
    let writer = WriterArguments {
        keep_limit_bytes: spill_limit_bytes,
        waiting: dataset.waiting().to_vec(),
        dataset,
        camera_names: config.robot.cameras.keys().cloned().collect(),
        task: d.single_task.clone(),
        min_free_bytes: min_free_bytes(config),
        little_room_s: LITTLE_ROOM_S.max(LITTLE_ROOM_EPISODES * d.episode_time_s),
        free_space: stage.free_space,
        ending: ending.clone(),
        health: health.clone(),
        clock: clock.clone(),
        status: status.clone(),
        coordinator,
        on_saved,
    };
    let (keeping, log_sessions) = (keeping(config), d.encoder.enable_logging);
    let (pool_clock, pool_status, pool_health) = (clock.clone(), status.clone(), health.clone());
    let plan = Plan {
        episodes,
        ticks_per_episode: ticks_per_episode(d),
        ticks_per_reset: (d.reset_time_s * f64::from(d.fps)).round() as u64,
        first_take,
    };
    let coordinator_cameras =
        config.robot.cameras.iter().map(|(name, c)| CoordinatorCamera { name: name.clone(), fps: c.fps }).collect();
    let pace = match (d.streaming_encoding, d.async_video_encoding) {
        (true, _) => Pace::Waiting(MOST_UNSAVED_TAKES),
        (false, false) => Pace::Saved,
        (false, true) => Pace::Waiting((queue_size / config.robot.cameras.len().max(1)).max(1)),
    };
    let (open_camera, cues) = (devices.camera.clone(), replay.as_ref().map(|replay| replay.cues.clone()));
    let (fps, coordinator_clock) = (d.fps, clock.clone());
    let (recorded, schedule, on_low_disk) = (stage.recorded, stage.schedule, config.run.on_low_disk);
    let (coordinator_ending, coordinator_health) = (ending.clone(), health.clone());
    let (running_clock, running_status) = (clock.clone(), status.clone());
    let (source_clock, arm_clock, arm_config) = (clock.clone(), clock.clone(), config.clone());
    let (outcome_sender, outcome) = oneshot::channel();
    let arguments = RecorderArguments {
        clock,
        fps,
        ending: ending.clone(),
        writer,
        introduce_coordinator,
        pool: Box::new(move |writer| PoolArguments {
            cameras: pool_cameras,
            workers,
            queue_size,
            readback_bytes: bytes,
            spill_dir,
            spill_limit_bytes,
            keeping,
            open: open_encoder,
            gpu,
            log_sessions,
            writer,
            clock: pool_clock,
            status: pool_status,
            health: pool_health,
        }),
        coordinator: Box::new(move |upstream| CoordinatorArguments {
            cameras: coordinator_cameras,
            has_arm,
            cues,
            fps,
            plan,
            pace,
            recorded,
            schedule,
            on_low_disk,
            ending: coordinator_ending,
            health: coordinator_health,
            waiting,
            clock: coordinator_clock,
            pool: upstream.pool,
            writer: upstream.writer,
            recorder: upstream.recorder,
            status,
        }),
        cameras: Box::new(move |downstream| {
            let arguments = |(index, name, config, budget)| CameraArguments {
                index,
                name,
                config,
                reopened: false,
                open: open_camera.clone(),
                clock: source_clock.clone(),
                budget,
                coordinator: downstream.coordinator.clone(),
                recorder: downstream.recorder.clone(),
            };
            sources.into_iter().map(arguments).collect()
        }),
        arm: Box::new(move |downstream, ticks| {
            has_arm.then(|| ArmArguments {
                config: arm_config,
                devices,
                replay,
                clock: arm_clock,
                ticks,
                link: Arc::default(),
                coordinator: downstream.coordinator,
                recorder: downstream.recorder,
            })
        }),
        status: running_status.clone(),
        recorded: stage.recorded,
        outcome: outcome_sender,
    };
    let (recorder, stopped) = Recorder::spawn(None, Recorder, arguments)
        .await
        .map_err(|error| RunError::Failed(format!("the actors cannot be started: {error}")))?;
    Ok(Running { recorder, ending, health, clock: running_clock, status: running_status, outcome, stopped })
}
