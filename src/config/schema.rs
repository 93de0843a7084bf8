//! `lab.toml`: every key with its doc and its default. Keys carry LeRobot's names.
//!
//! The doc comments here are the one source of `docs/config.md`, of the JSON schema (`recorder schema`) and of the
//! names that error messages suggest.

use super::secret::Secret;
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
    /// Who is told when something happens that matters.
    #[serde(default)]
    pub notify: Notify,
    /// Bounds of the recorder itself.
    #[serde(default)]
    pub limits: Limits,
    /// How a run goes on and ends when nobody watches.
    #[serde(default)]
    pub run: Run,
    /// The log as a file, beside the terminal's.
    #[serde(default)]
    pub log: Log,
}

/// The arm that is recorded, and the cameras around it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Robot {
    /// `so101_follower`, `bi_so101_follower` for two of them, or `none` for cameras only.
    #[serde(rename = "type")]
    pub kind: RobotKind,
    /// Serial port, best by its stable name under /dev/serial/by-id; `sim` starts a simulated servo bus.
    pub port: Option<String>,
    /// Only for `bi_so101_follower`: the left arm.
    pub left_arm_config: Option<FollowerArm>,
    /// Only for `bi_so101_follower`: the right arm.
    pub right_arm_config: Option<FollowerArm>,
    /// Names the calibration file `robots/so_follower/<id>.json`; of two arms `<id>_left.json` and `<id>_right.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; false: −100…100 of the calibrated range.
    pub use_degrees: bool,
    /// Largest step of a goal beyond the present position, in normalised units: one number, or one for each motor.
    pub max_relative_target: Option<PerMotor>,
    /// Switch the motors' torque off when the recorder ends.
    pub disable_torque_on_disconnect: bool,
    /// Proportional gain of the motors' position loop.
    pub position_p_coefficient: u8,
    /// Integral gain of the motors' position loop.
    pub position_i_coefficient: u8,
    /// Derivative gain of the motors' position loop.
    pub position_d_coefficient: u8,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
    /// What becomes of a motor that is overloaded, too hot, or has a wrong voltage: `warn` says so; `hold` also keeps it where it is until that is over; `torque_off` also makes it limp until the arm is connected anew. One word, or one for each motor.
    pub on_motor_fault: OnMotorFault,
    /// A motor this hot, in degrees Celsius, counts as too hot; the motors themselves give up at 70.
    pub max_temperature_c: f64,
    /// When the arm, or what it follows, is lost: `hold` goes on with its last values, marked; `pause` ends and keeps the episode, and begins the next one when it is back; `discard` throws the episode away and records it anew when it is back; `stop` ends and keeps the episode, and the run.
    pub on_loss: OnLoss,
    /// The cameras by name: a camera `front` becomes the feature `observation.images.front`.
    pub cameras: BTreeMap<String, Camera>,
}

/// What becomes of a motor that reports a fault, for all motors or for each by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "another word, expected warn, hold or torque_off, or one of them for each motor by name")]
pub enum OnMotorFault {
    /// The same for every motor.
    All(MotorPolicy),
    /// By motor name, such as `gripper` or `left_gripper`; motors left out: `warn`.
    ByMotor(BTreeMap<String, MotorPolicy>),
}

/// What becomes of a motor that reports a fault.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum MotorPolicy {
    /// It is said: in the log, as an event and in metrics.
    #[default]
    Warn,
    /// It is kept where it is until the fault is over.
    Hold,
    /// Its torque is switched off until the arm is connected anew.
    TorqueOff,
}

/// Which robot is recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RobotKind {
    /// No arm: cameras only.
    #[default]
    None,
    /// An SO-101 follower arm; an SO-100 is one too.
    #[serde(alias = "so100_follower", alias = "so_follower")]
    So101Follower,
    /// Two of them, a left and a right one.
    #[serde(alias = "bi_so100_follower", alias = "bi_so_follower")]
    BiSo101Follower,
}

/// One follower arm of two.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct FollowerArm {
    /// Serial port of this arm, best by its stable name under /dev/serial/by-id; `sim` starts a simulated servo bus.
    pub port: Option<String>,
    /// Degrees for the five joints; false: −100…100 of the calibrated range.
    pub use_degrees: bool,
    /// Largest step of a goal beyond the present position, in normalised units: one number, or one for each motor, without `left_` or `right_`.
    pub max_relative_target: Option<PerMotor>,
    /// Switch the motors' torque off when the recorder ends.
    pub disable_torque_on_disconnect: bool,
    /// Proportional gain of the motors' position loop.
    pub position_p_coefficient: u8,
    /// Integral gain of the motors' position loop.
    pub position_i_coefficient: u8,
    /// Derivative gain of the motors' position loop.
    pub position_d_coefficient: u8,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
}

/// A limit for every motor, or one for each by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum PerMotor {
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
    /// When the camera is lost: `hold` goes on with its last picture, marked; `pause`, `discard` and `stop` as in `robot.on_loss`.
    #[serde(default)]
    pub on_loss: OnLoss,
    /// Only for `file` and `synthetic`: false runs the whole recording as fast as the machine can, in simulated time.
    #[serde(default = "yes")]
    pub realtime: bool,
}

/// What becomes of the episode when a device is lost. It is opened again in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// Rows go on with the last value, marked.
    #[default]
    Hold,
    /// The episode is ended and kept; the next one begins when the device is back.
    Pause,
    /// The episode is thrown away, and recorded anew when the device is back.
    Discard,
    /// The episode is ended and kept, and the run ends.
    Stop,
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
    /// `so101_leader`, `bi_so101_leader` for two of them, `replay` (a motion that was recorded, without a person), or `none`.
    #[serde(rename = "type")]
    pub kind: TeleopKind,
    /// Serial port of the leader; `sim` starts a simulated leader that moves by itself.
    pub port: Option<String>,
    /// Only for `bi_so101_leader`: the left arm.
    pub left_arm_config: Option<LeaderArm>,
    /// Only for `bi_so101_leader`: the right arm.
    pub right_arm_config: Option<LeaderArm>,
    /// Names the calibration file `teleoperators/so_leader/<id>.json`; of two arms `<id>_left.json` and `<id>_right.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; must equal the robot's.
    pub use_degrees: bool,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
    /// Only for `replay`: the root of a LeRobot v3.0 data set, or a CSV file with a header of the robot's features and, where it has time stamps, `timestamp` in seconds.
    pub path: Option<PathBuf>,
    /// Only for `replay` of a data set: the episode whose `action` is replayed, or, in a data set without, `observation.state`.
    pub episode: Option<u64>,
    /// Only for `replay` of a file without time stamps: its rows a second; left out: `dataset.fps`.
    pub fps: Option<u32>,
    /// Only for `replay`: fastest motion of a joint in normalised units a second: one number, or one for each motor.
    pub max_speed: PerMotor,
    /// The follower's way to the leader's pose, at the start and after a pause, takes at least so long in seconds; for `replay` its way to the motion's first pose.
    pub ramp_s: f64,
}

/// Which leader moves the robot.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TeleopKind {
    /// Nothing: without an arm.
    #[default]
    None,
    /// An SO-101 leader arm; an SO-100 is one too.
    #[serde(alias = "so100_leader", alias = "so_leader")]
    So101Leader,
    /// Two of them, a left and a right one.
    #[serde(alias = "bi_so100_leader", alias = "bi_so_leader")]
    BiSo101Leader,
    /// A motion that was recorded, or written to a file.
    Replay,
}

/// One leader arm of two.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LeaderArm {
    /// Serial port of this arm; `sim` starts a simulated leader that moves by itself.
    pub port: Option<String>,
    /// Degrees for the five joints; must equal the follower's on this side.
    pub use_degrees: bool,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
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
    /// Address and port of the pages, `/metrics` among them; an empty string switches them off. Beyond this machine, as with `0.0.0.0:9464` or `[::]:9464`, they need `token`, `token_file` or `allow`.
    pub listen: String,
    /// What other machines must send as `Authorization: Bearer TOKEN`: 16 characters or more. It is shown nowhere.
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
    /// A file that holds the token, instead of `token`.
    pub token_file: Option<PathBuf>,
    /// Addresses and networks of the other machines that may ask, such as `["192.168.1.0/24", "10.0.0.5"]`; with a token too, they need both.
    pub allow: Vec<String>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: "127.0.0.1:9464".into(), token: None, token_file: None, allow: Vec::new() }
    }
}

/// Who is told when something happens that matters.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Notify {
    /// What is run: a line for `sh -c`, or a program and its arguments. It gets the event as JSON on its standard input, and the essentials as `RECORDER_EVENT`, `RECORDER_SEVERITY`, `RECORDER_TEXT` and others; see docs/notify.md.
    pub command: Option<Words>,
    /// For which events: `warning` or `critical` stands for all that matter so much or more, other names for single events (docs/events.md lists them).
    pub on: Words,
    /// A command that takes longer is killed, in seconds.
    pub timeout_s: f64,
    /// From one command to the next, in seconds; what happens in between is told together.
    pub min_interval_s: f64,
    /// Ring the terminal's bell for the same events, where there is a terminal.
    pub bell: bool,
}

impl Default for Notify {
    fn default() -> Notify {
        let on = Words::Many(vec!["warning".into(), "run_ended".into()]);
        Notify { command: None, on, timeout_s: 10.0, min_interval_s: 10.0, bell: true }
    }
}

/// A text, or several.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "a value of another type, expected a string or a list of strings")]
pub enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    pub fn as_slice(&self) -> &[String] {
        match self {
            Words::One(text) => std::slice::from_ref(text),
            Words::Many(texts) => texts,
        }
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
    /// Free disk space in GiB below which nothing is recorded: no run starts, and a take that is being recorded is ended and saved; then `run.on_low_disk`. 0: the disk is filled up.
    pub min_free_gib: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { frame_memory_mib: 256, spill_mib: 4096, gpu_watchdog_ms: 500, min_free_gib: 1.0 }
    }
}

/// How a run goes on and ends when nobody watches.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// What becomes of an episode that was being recorded when the last run was killed or the power failed: `keep` or `discard`.
    pub on_crash: OnCrash,
    /// What starting the same command again does with a run that a crash, a failure, SIGTERM or SIGHUP interrupted: `continue` it where it stood, or begin a `new` one.
    pub on_restart: OnRestart,
    /// Hours after the run's first start after which no episode begins; one that is being recorded is finished.
    pub max_hours: Option<f64>,
    /// Time at which no episode begins any more; one that is being recorded is finished. Local time such as `"06:30"`: the next one after the run's first start; or a date and time such as `"2026-11-23T06:30:00+01:00"`.
    pub until: Option<String>,
    /// When free space falls below `limits.min_free_gib` the take is ended and saved; then `stop`: the run ends with an error; `pause`: the next one begins when there is room again.
    pub on_low_disk: OnLowDisk,
    /// What a signal or Ctrl-C does with the take that is being recorded: `keep` or `discard`.
    pub on_stop: OnStop,
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

/// What becomes of an interrupted run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnRestart {
    /// The same command goes on where it stood.
    #[default]
    Continue,
    /// Every start is a run of its own.
    New,
}

/// What a run does when the disk is nearly full.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnLowDisk {
    /// It ends with an error.
    #[default]
    Stop,
    /// It waits for room.
    Pause,
}

/// What becomes of the take when a signal ends the run.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnStop {
    /// It is ended and saved.
    #[default]
    Keep,
    /// It is thrown away.
    Discard,
}

/// The log as a file, beside the terminal's.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The file; left out: only the terminal. Older ones are beside it with `.1`, `.2` at the end of their names.
    pub file: Option<PathBuf>,
    /// Size at which a new file is begun, in MiB.
    pub max_mib: u32,
    /// Older files that are kept.
    pub keep: u32,
    /// `text`: lines as on the terminal; `json`: an object on every line.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log { file: None, max_mib: 16, keep: 4, format: LogFormat::Text }
    }
}

/// How lines of the log file look.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// As on the terminal.
    #[default]
    Text,
    /// An object on every line.
    Json,
}

/// The values of a table that is left out: those of its keys.
impl Default for Robot {
    fn default() -> Robot {
        Robot {
            kind: RobotKind::None,
            port: None,
            left_arm_config: None,
            right_arm_config: None,
            id: None,
            calibration_dir: None,
            use_degrees: true,
            max_relative_target: None,
            disable_torque_on_disconnect: true,
            position_p_coefficient: 16,
            position_i_coefficient: 0,
            position_d_coefficient: 32,
            num_read_retries: 2,
            on_motor_fault: OnMotorFault::All(MotorPolicy::Warn),
            max_temperature_c: 60.0,
            on_loss: OnLoss::Hold,
            cameras: BTreeMap::new(),
        }
    }
}

/// As of a single arm.
impl Default for FollowerArm {
    fn default() -> FollowerArm {
        let Robot {
            port,
            use_degrees,
            max_relative_target,
            disable_torque_on_disconnect,
            position_p_coefficient,
            position_i_coefficient,
            position_d_coefficient,
            num_read_retries,
            ..
        } = Robot::default();
        FollowerArm {
            port,
            use_degrees,
            max_relative_target,
            disable_torque_on_disconnect,
            position_p_coefficient,
            position_i_coefficient,
            position_d_coefficient,
            num_read_retries,
        }
    }
}

/// As of a single arm.
impl Default for LeaderArm {
    fn default() -> LeaderArm {
        let Teleop { port, use_degrees, num_read_retries, .. } = Teleop::default();
        LeaderArm { port, use_degrees, num_read_retries }
    }
}

impl Default for Teleop {
    fn default() -> Teleop {
        Teleop {
            kind: TeleopKind::None,
            port: None,
            left_arm_config: None,
            right_arm_config: None,
            id: None,
            calibration_dir: None,
            use_degrees: true,
            num_read_retries: 2,
            path: None,
            episode: None,
            fps: None,
            max_speed: PerMotor::All(180.0),
            ramp_s: 2.0,
        }
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
