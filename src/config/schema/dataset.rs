//! The data set, and how its videos are encoded.

use super::{default_fps, yes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// `h264`, `hevc`, `av1`, or `copy`: the cameras' JPEGs, or H.264, as they come. (`vcodec` is another name.)
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
