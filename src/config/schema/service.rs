//! The recorder beside its recording: metrics, messages, bounds, runs, logs.

use crate::config::secret::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
