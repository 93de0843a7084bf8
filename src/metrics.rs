//! Every metric's name, kind, unit, labels and help, once. Rendered by the recorder's own HTTP server.
//!
//! Labels come from bounded sets only (camera, reason, stage, kind, actor, device, backend, codec, outcome): never an episode,
//! a path or an error's text; [`values`] says which. Every histogram has buckets, else it would be a summary, which does not
//! aggregate. What exists from a run's start is in `metrics/register.rs`, the table for people in `metrics/reference.rs`.

mod reference;
mod register;

pub use reference::{markdown, text};
pub use register::{Setup, register};

use crate::actors::encoder_pool::{Failure, is_made_on_cpu};
use crate::arm::ArmError;
use crate::clock::Stamp;
use crate::codec::backend::{self, Device};
use crate::config::schema::Codec;
use crate::console::access::Refusal;
use crate::frame::DropReason;
use crate::notify::Outcome;
use crate::status::Phase;
use crate::supervision::Part;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// What a metric counts in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With its buckets.
    Histogram(&'static [f64]),
}

/// A metric as it is declared.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Label names.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// From one frame to the next: the usual periods (120, 100, 60, 50, 30, 25, 20, 15 Hz) lie in the middle of a bucket, so that
/// a regular camera fills one, and a frame that is missing is in another.
const INTERVAL_BUCKETS: &[f64] = &[
    0.005, 0.0075, 0.009, 0.011, 0.015, 0.018, 0.022, 0.030, 0.036, 0.044, 0.055, 0.075, 0.11, 0.15, 0.25, 0.5, 1.0,
    2.5,
];
/// Work on one frame: the frame budgets at 100, 60, 50, 30, 25, 20 and 15 Hz are bounds, so that the share of frames within
/// the budget is exact, and so are steps below them, where there is room to spare.
const FRAME_BUCKETS: &[f64] = &[
    0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.010, 0.0125, 0.0167, 0.020, 0.025, 0.0333, 0.040, 0.050, 0.0667, 0.1,
    0.2, 0.5,
];
/// Between cameras: cameras that a wire synchronises differ by less than a millisecond, others by up to the longest period.
const SKEW_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.010, 0.0125, 0.0167, 0.020, 0.025, 0.0333, 0.050, 0.0667, 0.1, 1.0];
/// Capture to disk: a fragment, which takes up to half a second to fill, and a second are the marks; beyond them encoders
/// are behind.
const LAG_BUCKETS: &[f64] = &[0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Jitter of a thread that wakes: from microseconds to a lost period at 100, 60 and 30 Hz.
const JITTER_BUCKETS: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.0167, 0.0333, 0.1, 1.0];
/// The talk with an arm: 2 to 4 ms are usual, and the deadlines (0.9 periods) at 100, 60 and 30 Hz are bounds.
const TRANSACTION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.009, 0.012, 0.015, 0.02, 0.03, 0.05, 0.1, 0.5];
/// A write: tens of microseconds into the kernel's memory; half a second, the time that a fragment holds, is a disk that
/// does not follow.
const WRITE_BUCKETS: &[f64] =
    &[0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// What happens once an episode: a disk's few fsyncs, up to a disk that is far behind.
const SAVE_BUCKETS: &[f64] = &[0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*
        /// All metrics of the recorder itself.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help }),*];
    };
}

metrics! {
    FRAMES_CAPTURED = "recorder_frames_captured_total", Kind::Counter, ["camera"], "Frames of a take that a camera delivered.";
    FRAMES_WRITTEN = "recorder_frames_written_total", Kind::Counter, ["camera"], "Different frames that a video shows; counted once they are encoded.";
    FRAMES_DUPLICATED = "recorder_frames_duplicated_total", Kind::Counter, ["camera"], "Rows that show the frame of the row before; counted once they are encoded.";
    FRAMES_DROPPED = "recorder_frames_dropped_total", Kind::Counter, ["camera", "stage", "reason"], "Frames of a take that are in no video.";
    FRAMES_MISSED = "recorder_frames_missed_total", Kind::Counter, ["camera"], "Frames of a take that the driver counted and never delivered.";
    CAPTURE_INTERVAL = "recorder_capture_interval_seconds", Kind::Histogram(INTERVAL_BUCKETS), ["camera"], "Time from one captured frame to the next.";
    CAMERA_TARGET = "recorder_camera_target_hertz", Kind::Gauge, ["camera"], "Frames a second that a camera is asked for.";
    FRAME_BUDGET = "recorder_frame_budget_seconds", Kind::Gauge, [], "Time from one row to the next: what a frame may take.";
    ENCODE_DURATION = "recorder_encode_duration_seconds", Kind::Histogram(FRAME_BUCKETS), ["camera", "backend"], "Work to decode and encode one frame.";
    ENCODE_LAG = "recorder_encode_lag_seconds", Kind::Histogram(LAG_BUCKETS), ["camera"], "Age of a frame when its fragment is written to the file.";
    WRITE_DURATION = "recorder_write_duration_seconds", Kind::Histogram(WRITE_BUCKETS), ["camera"], "Work to write one fragment to its video file.";
    CAMERA_SKEW = "recorder_camera_skew_seconds", Kind::Histogram(SKEW_BUCKETS), [], "Time between the oldest and the newest capture in one row.";
    TICK_JITTER = "recorder_tick_jitter_seconds", Kind::Histogram(JITTER_BUCKETS), [], "How late a tick of the control loop woke.";
    ARM_TRANSACTION = "recorder_arm_transaction_seconds", Kind::Histogram(TRANSACTION_BUCKETS), ["arm"], "Time of one tick's talk with an arm.";
    ARM_ERRORS = "recorder_arm_errors_total", Kind::Counter, ["arm", "kind"], "Failed talks with an arm.";
    ARM_MOTOR_ERRORS = "recorder_arm_motor_errors_total", Kind::Counter, ["arm", "motor", "kind"], "Failed talks with an arm, and complaints of its motors, by motor.";
    ARM_MOTOR_HELD = "recorder_arm_motor_held", Kind::Gauge, ["arm", "motor"], "What becomes of a motor because of a fault: 0 nothing, 1 it is kept where it is, 2 its torque is off.";
    ARM_MOTOR_TEMPERATURE = "recorder_arm_motor_temperature_celsius", Kind::Gauge, ["arm", "motor"], "Temperature of a motor; absent before it was asked.";
    ARM_MOTOR_VOLTAGE = "recorder_arm_motor_volts", Kind::Gauge, ["arm", "motor"], "Supply voltage of a motor; absent before it was asked.";
    ARM_MOTOR_LOAD = "recorder_arm_motor_load_ratio", Kind::Gauge, ["arm", "motor"], "Load of a motor as a share of its largest torque, by the sense of turning; absent before it was asked.";
    LEADER_SILENT = "recorder_leader_silent", Kind::Gauge, [], "1 while the leader is there and does not answer: the follower holds its goal.";
    ARM_MISSES = "recorder_arm_misses_total", Kind::Counter, [], "Rows in which the arm did not answer in time.";
    QUEUE_FRAMES = "recorder_queue_frames", Kind::Gauge, ["camera"], "Frames that wait for an encoder.";
    QUEUE_CAPACITY = "recorder_queue_capacity_frames", Kind::Gauge, ["camera"], "Frames that may wait for an encoder in memory.";
    FRAME_MEMORY = "recorder_frame_memory_bytes", Kind::Gauge, [], "Memory that frames of all cameras hold, those apart that come back from disk.";
    FRAME_MEMORY_LIMIT = "recorder_frame_memory_limit_bytes", Kind::Gauge, [], "Memory that frames of all cameras may hold.";
    SPILL_BYTES = "recorder_spill_bytes", Kind::Gauge, [], "Bytes of frames that wait for an encoder on disk.";
    SPILL_LIMIT = "recorder_spill_limit_bytes", Kind::Gauge, [], "Bytes that may wait on disk.";
    ENCODER_INFO = "recorder_encoder_info", Kind::Gauge, ["camera", "backend", "codec"], "1 for the encoder that a camera's newest video is made by; disk: it waits for one.";
    ENCODER_FALLBACK = "recorder_encoder_fallback", Kind::Gauge, ["camera"], "1 while a camera's newest video is not made by the GPU that the run was to use.";
    ENCODER_FALLBACKS = "recorder_encoder_fallbacks_total", Kind::Counter, ["from", "to", "reason"], "Encoders that were replaced in a take.";
    ENCODER_SWITCH = "recorder_encoder_switch_seconds", Kind::Histogram(SAVE_BUCKETS), ["from", "to"], "From the failure of an encoder to the first frame of the one that goes on.";
    WAITING_EPISODES = "recorder_waiting_episodes", Kind::Gauge, [], "Episodes that are recorded and not saved yet.";
    WAITING_BYTES = "recorder_waiting_bytes", Kind::Gauge, [], "Bytes of recorded pictures that are kept on disk until their episode is saved.";
    ENCODER_SESSIONS = "recorder_encoder_sessions", Kind::Gauge, [], "Videos that are being encoded.";
    EPISODES = "recorder_episodes_total", Kind::Counter, ["outcome"], "Takes by what became of them; one that is saved and then taken back counts as both.";
    ROWS = "recorder_rows_total", Kind::Counter, [], "Rows of the episodes that were saved.";
    VIDEO_FRAMES = "recorder_video_frames_total", Kind::Counter, ["camera"], "Frames in the videos of the episodes that were saved, as the files count them.";
    FRAME_MISMATCHES = "recorder_frame_mismatches_total", Kind::Counter, ["camera"], "Takes that were refused because their video has not as many frames as there are rows.";
    DATASET_EPISODES = "recorder_dataset_episodes", Kind::Gauge, [], "Episodes in the data set, those before this run included.";
    RUN_EPISODES = "recorder_run_episodes", Kind::Gauge, [], "Episodes that the run is to record.";
    EPISODE_CYCLE = "recorder_episode_cycle_seconds", Kind::Gauge, [], "Time for an episode and the reset after it, by the configuration.";
    LAST_SAVE = "recorder_last_save_timestamp_seconds", Kind::Gauge, [], "When the last episode was saved, or the run began, in Unix time.";
    PHASE = "recorder_phase", Kind::Gauge, ["phase"], "1 for what the run does now; one that could not go on is never done.";
    SAVE_DURATION = "recorder_episode_save_duration_seconds", Kind::Histogram(SAVE_BUCKETS), [], "From the last tick of an episode to its commit on disk.";
    ACTOR_RESTARTS = "recorder_actor_restarts_total", Kind::Counter, ["actor", "reason"], "Parts that failed and were started again.";
    DEVICE_AWAY = "recorder_device_away", Kind::Gauge, ["device"], "1 while a device is lost.";
    RESTART_LOOPS = "recorder_restart_loops_total", Kind::Counter, ["device"], "Devices that were lost five times within a minute.";
    DISK_FREE = "recorder_disk_free_bytes", Kind::Gauge, [], "Free space where the data set is.";
    RECORDABLE = "recorder_recordable_seconds", Kind::Gauge, [], "Recording time that the free space is good for, at the rate so far; absent before the first second of video.";
    ROOM = "recorder_disk_room", Kind::Gauge, [], "Room to record on the disk: 2 enough, 1 little, 0 none.";
    SCHEDULE_LEFT = "recorder_schedule_left_seconds", Kind::Gauge, [], "Time until no episode begins any more, by run.until and run.max_hours; infinite without them.";
    STUCK = "recorder_stuck", Kind::Gauge, ["part"], "1 for a part that does nothing any more.";
    LOG_LINES_LOST = "recorder_log_lines_lost_total", Kind::Counter, [], "Lines of the log that found no room: the disk of the log file is full or too slow, or the terminal is stopped.";
    LAST_FRAME = "recorder_last_frame_timestamp_seconds", Kind::Gauge, ["camera"], "When the newest frame was captured, in Unix time; absent before the first one.";
    TIME = "recorder_time_seconds", Kind::Gauge, [], "What the recorder's clock shows now, in Unix time: what time stamps are to be compared with.";
    NOTIFICATIONS = "recorder_notifications_total", Kind::Counter, ["outcome"], "Runs of notify.command by what became of them.";
    HTTP_REFUSED = "recorder_http_refused_total", Kind::Counter, ["reason"], "Requests that were refused.";
    GPU_UTILIZATION = "recorder_gpu_utilization_ratio", Kind::Gauge, ["gpu"], "Share of the time in which the GPU computes.";
    GPU_ENCODER_UTILIZATION = "recorder_gpu_encoder_utilization_ratio", Kind::Gauge, ["gpu"], "Share of the time in which the GPU's video encoders are busy.";
    GPU_MEMORY_USED = "recorder_gpu_memory_used_bytes", Kind::Gauge, ["gpu"], "Memory of the GPU that is used, by whomever.";
    GPU_MEMORY = "recorder_gpu_memory_bytes", Kind::Gauge, ["gpu"], "Memory that the GPU has.";
    GPU_TEMPERATURE = "recorder_gpu_temperature_celsius", Kind::Gauge, ["gpu"], "Temperature of the GPU.";
    GPU_SESSIONS = "recorder_gpu_encoder_sessions", Kind::Gauge, ["gpu"], "Encoding sessions on the GPU, of all programs.";
    BUILD_INFO = "recorder_build_info", Kind::Gauge, ["version", "revision"], "1, with the version that runs.";
}

/// Installs the recorder of metrics for this process and says what is rendered. Later calls give the same handle.
pub fn install() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let mut builder = PrometheusBuilder::new();
            for metric in ALL {
                if let Kind::Histogram(buckets) = metric.kind {
                    builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), buckets).ok()?;
                }
            }
            let handle = builder.install_recorder().ok()?;
            for metric in ALL {
                match metric.kind {
                    Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                    Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                    Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.help),
                }
            }
            metrics::gauge!(BUILD_INFO, "version" => crate::VERSION, "revision" => crate::REVISION).set(1.0);
            for outcome in Outcome::ALL {
                metrics::counter!(NOTIFICATIONS, "outcome" => outcome.name()).increment(0);
            }
            for refusal in Refusal::ALL {
                metrics::counter!(HTTP_REFUSED, "reason" => refusal.name()).increment(0);
            }
            metrics_process::Collector::default().describe();
            Some(handle)
        })
        .as_ref()
}

/// What a label of a metric can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// One of these.
    OneOf(Vec<&'static str>),
    /// Few, given by the set-up, in words.
    SetUp(&'static str),
}

/// Kinds of takes by what became of them.
const TAKE_OUTCOMES: [&str; 4] = ["saved", "discarded", "failed", "taken_back"];
/// Parts that are started again when they fail.
const ACTORS: [&str; 4] = ["camera", "arm", "leader", "encoder"];
/// Arms that are talked to.
const ARMS: [&str; 2] = ["follower", "leader"];
/// Why a device is started again: the only reason.
pub const LOST: &str = "lost";
/// Where pictures wait that nobody encodes now; stands beside the encoders' names.
pub const ON_DISK: &str = "disk";

/// What a label of a metric can be; `None` for a label that it does not have.
pub fn values(metric: &Metric, label: &str) -> Option<Values> {
    use Values::{OneOf, SetUp};
    if !metric.labels.contains(&label) {
        return None;
    }
    let mut backends = backends();
    Some(match (label, metric.name) {
        ("camera", _) => SetUp("a name under `robot.cameras`"),
        ("device", _) => SetUp("`the arm`, `the leader`, or `camera ` and a name under `robot.cameras`"),
        ("gpu", _) => SetUp("the GPU's number, as nvidia-smi counts"),
        ("version" | "revision", _) => SetUp("of the program"),
        ("stage", _) => OneOf(unique(DropReason::ALL.map(DropReason::stage))),
        ("reason", FRAMES_DROPPED) => OneOf(DropReason::ALL.map(DropReason::name).to_vec()),
        ("reason", ENCODER_FALLBACKS) => OneOf(Failure::KINDS.to_vec()),
        ("reason", ACTOR_RESTARTS) => OneOf(unique([&[LOST], &Failure::KINDS[..]].concat())),
        ("reason", HTTP_REFUSED) => OneOf(Refusal::ALL.map(Refusal::name).to_vec()),
        ("motor", _) => SetUp("a joint of the arm, such as `gripper`"),
        ("kind", ARM_MOTOR_ERRORS) => OneOf(ArmError::MOTOR_KINDS.to_vec()),
        ("kind", ARM_ERRORS) => OneOf(ArmError::KINDS.to_vec()),
        ("arm", _) => OneOf(ARMS.to_vec()),
        ("actor", _) => OneOf(ACTORS.to_vec()),
        ("part", _) => OneOf(Part::ALL.map(Part::name).to_vec()),
        ("phase", _) => OneOf(Phase::ALL.map(Phase::name).to_vec()),
        ("outcome", EPISODES) => OneOf(TAKE_OUTCOMES.to_vec()),
        ("outcome", NOTIFICATIONS) => OneOf(Outcome::ALL.map(Outcome::name).to_vec()),
        ("codec", _) => OneOf(CODECS.map(backend::codec_name).to_vec()),
        ("from", _) | ("backend", ENCODE_DURATION) => OneOf(backends),
        ("to" | "backend", _) => {
            backends.push(ON_DISK);
            OneOf(backends)
        }
        _ => return None,
    })
}

const CODECS: [Codec; 4] = [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Copy];

/// The names of all encoders.
fn backends() -> Vec<&'static str> {
    let devices = [Device::Cpu, Device::Gpu];
    unique(CODECS.into_iter().flat_map(|codec| devices.map(|device| backend::name(codec, device))))
}

/// What makes the videos of a run that begins; `gpu` says whether there is one that works.
pub fn first_backend(codec: Codec, gpu: bool) -> &'static str {
    match gpu {
        true => backend::name(codec, Device::Gpu),
        false if is_made_on_cpu(codec) => backend::name(codec, Device::Cpu),
        false => ON_DISK,
    }
}

/// Without what came before.
fn unique(names: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

/// Shows what the run does now.
pub fn phase(now: Phase) {
    for phase in Phase::ALL {
        metrics::gauge!(PHASE, "phase" => phase.name()).set(f64::from(u8::from(phase == now)));
    }
}

/// Shows which encoder makes a camera's newest video, after a change.
pub fn encoder_changed(camera: &str, codec: &'static str, from: &'static str, to: &'static str) {
    for (backend, now) in [(from, 0.0), (to, 1.0)] {
        metrics::gauge!(ENCODER_INFO, "camera" => camera.to_string(), "backend" => backend, "codec" => codec).set(now);
    }
}

/// Counts frames of a take that are in no video.
pub fn dropped(camera: &str, reason: DropReason, frames: u64) {
    metrics::counter!(FRAMES_DROPPED, "camera" => camera.to_string(), "stage" => reason.stage(), "reason" => reason.name())
        .increment(frames);
}

/// The page that Prometheus reads; `now` is on the clock of what it shows.
pub fn render(handle: &PrometheusHandle, now: Stamp) -> String {
    metrics::gauge!(TIME).set(seconds(now));
    metrics_process::Collector::default().collect();
    handle.render()
}

/// Unix time as Prometheus has it.
pub fn seconds(at: Stamp) -> f64 {
    at.utc_ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The quantile of samples as Prometheus tells it from the buckets.
    fn quantile(q: f64, buckets: &[f64], samples: &[f64]) -> f64 {
        let rank = q * samples.len() as f64;
        let below = |bound: f64| samples.iter().filter(|sample| **sample <= bound).count() as f64;
        let at = buckets.iter().position(|bound| below(*bound) >= rank).expect("beyond the last bucket");
        let (low, high) = (if at == 0 { 0.0 } else { buckets[at - 1] }, buckets[at]);
        low + (high - low) * (rank - below(low)) / (below(high) - below(low))
    }

    /// At 30, 60 and 100 frames a second: whether one frame in 50 is missing, and whether one in 50 takes longer than there
    /// is time for.
    #[test]
    fn the_slowest_frames_are_told_from_the_others() {
        for fps in [30.0, 60.0, 100.0] {
            let (period, jitter) = (1.0 / fps, |k: usize| 1.0 + 0.08 * ((k % 17) as f64 / 16.0 - 0.5));
            let intervals = |missing: bool| -> Vec<f64> {
                let times = |k: usize| if missing && k.is_multiple_of(50) { 2.0 } else { 1.0 };
                (0..5000).map(|k| period * jitter(k) * times(k)).collect()
            };
            let p99 = |missing| quantile(0.99, INTERVAL_BUCKETS, &intervals(missing)) / period;
            assert!((0.9..1.12).contains(&p99(false)), "{fps}: a regular camera, {}", p99(false));
            assert!((1.75..2.25).contains(&p99(true)), "{fps}: every 50th frame is missing, {}", p99(true));
            let p50 = quantile(0.5, INTERVAL_BUCKETS, &intervals(true)) / period;
            assert!((0.88..1.12).contains(&p50), "{fps}: {p50}");
            let work = |slow: f64| -> Vec<f64> {
                let times = |k: usize| if k.is_multiple_of(50) { slow } else { 0.5 };
                (0..5000).map(|k| period * jitter(k) * times(k)).collect()
            };
            for (slow, is_late) in [(0.7, false), (1.4, true)] {
                let p99 = quantile(0.99, FRAME_BUCKETS, &work(slow)) / period;
                assert_eq!(p99 > 1.001, is_late, "{fps}: {p99} for {slow}");
                assert!((p99 / slow - 1.0).abs() < 0.25, "{fps}: {p99} for {slow}");
            }
        }
    }

    #[test]
    fn every_label_has_its_values() {
        for metric in ALL {
            for label in metric.labels {
                let values = values(metric, label).unwrap_or_else(|| panic!("{}: {label}", metric.name));
                assert!(values != Values::OneOf(Vec::new()), "{}: {label}", metric.name);
            }
        }
    }

    #[test]
    fn docs_metrics_md_is_what_the_command_prints() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, markdown()).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text == markdown(),
            "docs/metrics.md is not what is declared: run UPDATE_DOCS=1 cargo test docs_metrics"
        );
    }

    #[test]
    fn names_follow_the_conventions() {
        for metric in ALL {
            assert!(metric.name.starts_with("recorder_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(metric.name.ends_with("_seconds") && buckets.is_sorted(), "{}", metric.name);
            }
        }
    }
}
