//! `lab.toml`: every key with its doc and its default. Keys carry LeRobot's names.
//!
//! The doc comments here are the one source of `docs/config.md`, of the JSON schema (`recorder schema`) and of the
//! names that error messages suggest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A recording set-up: robot, cameras, data set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The arm that is recorded, and the cameras around it.
    #[serde(default)]
    pub robot: Robot,
    /// What the robot follows.
    #[serde(default)]
    pub teleop: Teleop,
    /// What is recorded, where to, and how.
    pub dataset: Dataset,
    /// The metrics and status page.
    #[serde(default)]
    pub metrics: Metrics,
    /// Bounds of the recorder itself.
    #[serde(default)]
    pub limits: Limits,
    /// How a run goes on from what was before it.
    #[serde(default)]
    pub run: Run,
}

/// The arm that is recorded, and the cameras around it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Robot {
    /// `so101_follower`, or `none` for cameras only.
    #[serde(rename = "type")]
    pub kind: RobotKind,
    /// Serial port, best by its stable name under /dev/serial/by-id; `sim` starts a simulated servo bus.
    pub port: Option<String>,
    /// Names the calibration file `robots/so_follower/<id>.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; false: −100…100 of the calibrated range.
    pub use_degrees: bool,
    /// Largest step of a goal beyond the present position, in normalised units: one number, or one for each motor.
    pub max_relative_target: Option<MaxRelativeTarget>,
    /// Switch the motors' torque off when the recorder ends.
    pub disable_torque_on_disconnect: bool,
    /// The cameras by name: a camera `front` becomes the feature `observation.images.front`.
    pub cameras: BTreeMap<String, Camera>,
}

/// Which robot is recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RobotKind {
    /// No arm: cameras only.
    #[default]
    None,
    /// An SO-101 follower arm.
    So101Follower,
}

/// A limit for every motor, or one for each by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum MaxRelativeTarget {
    /// The same for every motor.
    All(f64),
    /// By motor name, such as `shoulder_pan`.
    ByMotor(BTreeMap<String, f64>),
}

/// One camera.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// `v4l` (a device, LeRobot's `opencv`), `file` (recorded MJPEG), or `synthetic` (a moving test picture).
    #[serde(rename = "type")]
    pub kind: CameraKind,
    /// Device path, best by its stable name under /dev/v4l/by-id, or an index N for /dev/videoN; for `file` the file's path.
    #[serde(default)]
    pub index_or_path: Option<IndexOrPath>,
    /// Picture width in pixels, even.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Picture height in pixels, even.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Frames a second that the camera is asked for.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Pixel format, exactly four characters: `MJPG` or `YUYV`.
    #[serde(default = "default_fourcc")]
    pub fourcc: String,
    /// Only for `file` and `synthetic`: false runs the whole recording as fast as the machine can, in simulated time.
    #[serde(default = "yes")]
    pub realtime: bool,
}

/// Where a camera's frames come from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CameraKind {
    /// A Video4Linux device.
    V4l,
    /// A file of concatenated JPEGs, or an AVI or MP4 that holds MJPEG; it loops.
    File,
    /// A pre-rendered moving picture with a burnt-in frame counter and time.
    Synthetic,
}

/// A device by number or by path.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum IndexOrPath {
    /// N stands for /dev/videoN.
    Index(u32),
    /// A device's or a file's path.
    Path(PathBuf),
}

impl IndexOrPath {
    /// The path that is meant.
    pub fn path(&self) -> PathBuf {
        match self {
            IndexOrPath::Index(n) => PathBuf::from(format!("/dev/video{n}")),
            IndexOrPath::Path(path) => path.clone(),
        }
    }
}

/// What the robot follows.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Teleop {
    /// `so101_leader`, or `none`.
    #[serde(rename = "type")]
    pub kind: TeleopKind,
    /// Serial port of the leader; `sim` starts a simulated leader that moves by itself.
    pub port: Option<String>,
    /// Names the calibration file `teleoperators/so_leader/<id>.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; must equal the robot's.
    pub use_degrees: bool,
}

/// Which leader moves the robot.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TeleopKind {
    /// Nothing: without an arm.
    #[default]
    None,
    /// An SO-101 leader arm.
    So101Leader,
}

/// What is recorded, where to, and how.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// The data set's name as `owner/name`.
    pub repo_id: String,
    /// Folder of the data set; left out: `<repo_id>` in LeRobot's folder (`$HF_LEROBOT_HOME`, else `lerobot` in `$HF_HOME` or in `~/.cache/huggingface`).
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// What the robot is to do, in words; recorded as the task of every episode.
    pub single_task: String,
    /// Rows a second, and the rate of the control loop.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Length of an episode in seconds, at most 1000: LeRobot's float32 time stamps cannot tell frames apart beyond that.
    #[serde(default = "default_episode_time")]
    pub episode_time_s: f64,
    /// Pause between two episodes in seconds; the arm still follows.
    #[serde(default = "default_reset_time")]
    pub reset_time_s: f64,
    /// Episodes of this run, as in LeRobot.
    #[serde(default = "default_episodes")]
    pub num_episodes: u32,
    /// Add to a data set that exists.
    #[serde(default)]
    pub resume: bool,
    /// Encode while recording; off: keep the cameras' pictures on disk and encode them after each episode.
    #[serde(default = "yes")]
    pub streaming_encoding: bool,
    /// The GPU where an encoder opens, else the CPU.
    #[serde(default)]
    pub gpu_video_encoding: bool,
    /// Only where `streaming_encoding` is off: finish videos in the background while recording goes on; else the next episode begins when they are finished.
    #[serde(default)]
    pub async_video_encoding: bool,
    /// CPU encoding threads, and videos that are finished at a time where `streaming_encoding` is off; left out: as many as cameras, at most the machine's cores.
    #[serde(default)]
    pub video_encoding_workers: Option<u32>,
    /// Frames that may wait for an encoder in memory, per camera, before they go to disk; with `async_video_encoding`: videos that may wait, at least one episode's, before the next episode has to.
    #[serde(default = "default_queue")]
    pub video_encoding_queue_size: u32,
    /// How videos are encoded. `gpu_encoder_config` is another name of this table.
    #[serde(default)]
    pub encoder: Encoder,
}

/// How videos are encoded.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Encoder {
    /// `auto`, `nvenc` or `software`.
    pub encoder_type: EncoderType,
    /// `h264`, `hevc`, `av1`, or `copy`: the cameras' JPEGs as they come. (`vcodec` is another name.)
    pub codec: Codec,
    /// `fast`, `medium`, `slow`, `hp`, `hq` or `p1` to `p7`: speed against size, for encoders that have presets.
    pub preset: String,
    /// Constant quality, lower is better: 0 to 51, for av1 0 to 63; the CPU encoder takes less than 12 as 12. (`crf` is another name.)
    pub quality: u32,
    /// Frames from one key frame to the next; 2 reads single frames fastest, larger makes smaller files. (`g` is another name.)
    pub gop: u32,
    /// Cap of the bit rate in bits a second, for NVENC; the CPU knows none.
    pub bitrate: Option<u64>,
    /// Which NVIDIA GPU encodes.
    pub gpu_id: u32,
    /// Range of luma values: `limited` as LeRobot's own videos, or `full`.
    pub color_range: ColorRange,
    /// What becomes of hevc and av1, which the CPU does not make, when the GPU fails: `spool`, `h264` or `stop`. (h264 goes on on the CPU.)
    pub on_gpu_failure: OnGpuFailure,
    /// Log every encoding session with its settings as it opens and closes.
    pub enable_logging: bool,
}

/// What becomes of hevc and av1 when the GPU fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnGpuFailure {
    /// Episodes wait on disk as the cameras' pictures, and are encoded when the GPU is back, or by `recorder regenerate`.
    #[default]
    Spool,
    /// At the start of a new data set: h264 on the CPU instead. In a data set that has begun: as `spool`, since codecs are never mixed.
    H264,
    /// The run ends; what is saved stays.
    Stop,
}

/// Which encoder may be used.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum EncoderType {
    /// The best one that really opens.
    #[default]
    Auto,
    /// NVIDIA's hardware encoder.
    Nvenc,
    /// The CPU.
    Software,
}

/// How pictures are stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// H.264.
    #[default]
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// The camera's JPEGs, not encoded again.
    Copy,
}

/// Range of luma values in the video.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ColorRange {
    /// 16 to 235, what video players and LeRobot expect.
    #[default]
    Limited,
    /// 0 to 255.
    Full,
}

/// The metrics and status page.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address of `/metrics`, `/healthz` and `/status`: loopback only; an empty string switches it off.
    pub listen: String,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: "127.0.0.1:9464".into() }
    }
}

/// Bounds of the recorder itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory for frames of all cameras together, in MiB.
    pub frame_memory_mib: u32,
    /// Disk for frames that wait for an encoder, in MiB; beyond it frames are dropped and counted, or, where whole episodes wait, no further one is begun.
    pub spill_mib: u32,
    /// A GPU session that is busy with one picture for longer hangs, and is replaced, in milliseconds.
    pub gpu_watchdog_ms: u32,
    /// Free disk space in GiB below which no recording is started.
    pub min_free_gib: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { frame_memory_mib: 256, spill_mib: 4096, gpu_watchdog_ms: 500, min_free_gib: 1.0 }
    }
}

/// How a run goes on from what was before it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// What becomes of an episode that was being recorded when the last run was killed or the power failed: `keep` or `discard`.
    pub on_crash: OnCrash,
}

/// What becomes of an episode that a crash interrupted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// It is saved up to where every camera has its frame.
    #[default]
    Keep,
    /// It is removed.
    Discard,
}

/// The values of a table that is left out: those of its keys.
impl Default for Robot {
    fn default() -> Robot {
        Robot {
            kind: RobotKind::None,
            port: None,
            id: None,
            calibration_dir: None,
            use_degrees: true,
            max_relative_target: None,
            disable_torque_on_disconnect: true,
            cameras: BTreeMap::new(),
        }
    }
}

impl Default for Teleop {
    fn default() -> Teleop {
        Teleop { kind: TeleopKind::None, port: None, id: None, calibration_dir: None, use_degrees: true }
    }
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder {
            encoder_type: EncoderType::Auto,
            codec: Codec::H264,
            preset: "fast".into(),
            quality: 23,
            gop: 15,
            bitrate: None,
            gpu_id: 0,
            color_range: ColorRange::Limited,
            on_gpu_failure: OnGpuFailure::Spool,
            enable_logging: false,
        }
    }
}

fn yes() -> bool {
    true
}
fn default_width() -> u32 {
    1280
}
fn default_height() -> u32 {
    720
}
fn default_fps() -> u32 {
    30
}
fn default_fourcc() -> String {
    "MJPG".into()
}
fn default_episode_time() -> f64 {
    60.0
}
fn default_reset_time() -> f64 {
    60.0
}
fn default_episodes() -> u32 {
    50
}
fn default_queue() -> u32 {
    100
}
