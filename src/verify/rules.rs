//! The rules, each with how bad it is to break it and what to do about it. Faults are what LeRobot, or a tool of its,
//! trips over, or what contradicts itself; warnings are what a person should know before publishing.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The data set is not what it says, or cannot be read.
    Fault,
    /// It can be read; somebody should look at it.
    Warning,
}

/// A rule that a data set is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// For programs.
    pub name: &'static str,
    pub severity: Severity,
    pub remedy: &'static str,
}

const fn fault(name: &'static str, remedy: &'static str) -> Rule {
    Rule { name, severity: Severity::Fault, remedy }
}

const fn warning(name: &'static str, remedy: &'static str) -> Rule {
    Rule { name, severity: Severity::Warning, remedy }
}

const RESTORE: &str = "restore the file from a copy";
const LEAVE_OUT: &str = "restore the file from a copy, or leave the episode out";
const REWRITE: &str = "correct it, or write the data set anew with LeRobot's tools";
const SEE: &str = "look at the episode; delete it if it is of no use";
const MERGING: &str =
    "nothing to do for training; encode the videos anew (`recorder regenerate`) before merging data sets";

// meta/info.json
pub const INFO: Rule = fault("info", "correct meta/info.json, or restore it from a copy");
pub const VERSION: Rule = fault("version", "convert the data set with LeRobot's scripts first");
pub const FEATURE: Rule = fault("feature", "correct the feature in meta/info.json, or restore it from a copy");
pub const FEATURE_UNCHECKED: Rule =
    warning("feature-unchecked", "its values are not checked: this recorder does not know them");
pub const VIDEO_INFO: Rule = warning("video-info", "let meta/info.json say how the videos are encoded");
pub const SPLITS: Rule = fault("splits", "correct `splits` in meta/info.json");
pub const TOTALS: Rule = fault(
    "totals",
    "the last recording did not end properly: restore or leave out what is missing, then correct meta/info.json",
);

// Files
pub const MISSING_FILE: Rule = fault("missing-file", LEAVE_OUT);
pub const STRAY_TABLE: Rule =
    fault("stray-table", "move it away: LeRobot reads whatever table lies there, by position");
pub const STRAY_FILE: Rule = warning("stray-file", "no episode uses it: move it away before publishing");
pub const UNREADABLE: Rule = fault("unreadable", LEAVE_OUT);

// Tables
pub const COLUMNS: Rule = fault("columns", REWRITE);
pub const COLUMN_TYPE: Rule = fault("column-type", REWRITE);
pub const LIST_COLUMN: Rule =
    warning("list-column", "LeRobot casts it at each loading; write the table anew with lists of fixed size");
pub const NULLS: Rule = fault("nulls", REWRITE);
pub const FINITE: Rule = fault("finite", "a value that is no number spoils training: leave the episode out");
pub const EPISODE_INDEX: Rule = fault("episode-index", "number the episodes 0, 1, … without gaps");
pub const DATASET_INDEX: Rule = fault("dataset-index", REWRITE);
pub const LENGTH: Rule = fault("length", LEAVE_OUT);
pub const FRAME_INDEX: Rule = fault("frame-index", REWRITE);
pub const TIMESTAMP: Rule = fault("timestamp", "rows must be stamped frame_index / fps: write the table anew");
pub const TIMESTAMP_ROUNDED: Rule =
    warning("timestamp-rounded", "within LeRobot's tolerance, but not frame_index / fps as float32");
pub const INDEX: Rule = fault("index", REWRITE);
pub const TASK: Rule = fault("task", "correct meta/tasks.parquet, or the episode's task");
pub const TASKS_TABLE: Rule = fault("tasks-table", "write meta/tasks.parquet anew: pandas, with `task` as the index");
pub const ENTRY_PLACE: Rule = fault("entry-place", REWRITE);

// Statistics
pub const STATS_MISSING: Rule =
    fault("stats-missing", "compute the statistics anew: training, editing and merging need them");
pub const STATS: Rule = fault("stats", "compute the statistics anew: training normalises with them");
pub const STATS_INDEX: Rule = warning("stats-index", "LeRobot's editing tools leave it so; nothing trains on it");
pub const QUANTILES: Rule =
    warning("quantiles", "compute the statistics anew before training with quantile normalisation");

// Videos
pub const FRAME_COUNT: Rule =
    fault("frame-count", "one frame for each row: restore the video, or leave its episodes out");
pub const UNUSED_FRAMES: Rule =
    warning("unused-frames", "left by episodes that were deleted: they cost space, nothing else");
pub const FRAME_TIME: Rule =
    fault("frame-time", "frames must be shown at k / fps from 0 on: encode the video anew at a constant rate");
pub const VIDEO_SPAN: Rule = fault("video-span", "correct from_timestamp and to_timestamp of the episode");
pub const VIDEO_SIZE: Rule = fault("video-size", "encode the video anew, or correct the feature in meta/info.json");
pub const VIDEO_CODEC: Rule =
    warning("video-codec", "readers cope with it; `recorder regenerate` makes the videos alike");
pub const KEY_FRAME: Rule = fault("key-frame", "the start cannot be decoded: encode the video anew");
pub const SEEK: Rule = warning("seek", "decoding the episode's start begins before it: slower, not wrong");
pub const TIME_SCALE: Rule = warning("time-scale", MERGING);
pub const DECODE_START: Rule = warning("decode-start", MERGING);
pub const LONG_VIDEO: Rule = warning(
    "long-video",
    "LeRobot's float32 time stamps cannot tell frames apart much beyond: keep episodes below 1000 s",
);
pub const DECODE: Rule = fault("decode", "restore the video from a copy, or leave its episodes out");

// recorder/
pub const SUMMARY: Rule = fault("summary", RESTORE);
pub const ACCOUNT: Rule = fault("account", "the summary contradicts itself: please report it with the file");
pub const SIDECAR_ROWS: Rule = fault("sidecar-rows", RESTORE);
pub const SIZE: Rule =
    fault("size", "the file is not what was recorded: restore it from a copy, or leave the episode out");
pub const CHECKSUM: Rule =
    fault("checksum", "the file is not what was recorded: restore it from a copy, or leave the episode out");

// Quality
pub const BLACK: Rule = warning("black", "look at the camera: lens cap, exposure, cable");
pub const WHITE: Rule = warning("white", "look at the camera: exposure");
pub const PLAIN: Rule = warning("plain", "look at the camera: its pictures have one colour");
pub const FROZEN: Rule = warning("frozen", SEE);
pub const LATE: Rule =
    warning("late", "the camera's pictures are older than its rate allows: look at its USB port and exposure");
pub const RATE: Rule = warning("rate", "the machine did not keep up: see docs/performance.md");
pub const INTERVAL: Rule = warning("interval", "the camera did not keep its rate: look at exposure and USB");
pub const SKEW: Rule = warning("skew", "pictures of one row were taken far apart: look at the cameras' rates");
pub const JITTER: Rule = warning("jitter", "ticks came late: let nothing else run on the machine");
pub const ENCODER_SWITCH: Rule = warning("encoder-switch", "no frame is lost; look at the GPU");
pub const DROPS: Rule = warning("drops", "the pictures before stand in; look at what dropped them");
pub const ARM_REUSED: Rule = warning("arm-reused", "the arm did not answer in time: look at its bus");
pub const MOTIONLESS: Rule = warning("motionless", SEE);
pub const SHORT: Rule = warning("short", SEE);
