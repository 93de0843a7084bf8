//! Every metric's name, kind, unit, labels and help, once. Rendered by the recorder's own HTTP server.
//!
//! Labels come from bounded sets only (camera, reason, stage, kind, actor, device, backend, codec, outcome): never an episode,
//! a path or an error's text. Every histogram has buckets, else it would be a summary, which does not aggregate.

use crate::console::access::Refusal;
use crate::frame::DropReason;
use crate::notify::Outcome;
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

/// Around the frame budget: 33 ms at 30 frames a second.
const FRAME_BUCKETS: &[f64] = &[
    0.001, 0.002, 0.004, 0.006, 0.008, 0.010, 0.0125, 0.0167, 0.020, 0.025, 0.0333, 0.040, 0.050, 0.0667, 0.1, 0.2,
    0.5, 1.0,
];
/// Capture to disk: a GOP and a second are the marks.
const LAG_BUCKETS: &[f64] = &[0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Jitter of a thread that wakes: from microseconds to a lost period.
const JITTER_BUCKETS: &[f64] =
    &[0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.0333, 0.1, 1.0];
const TRANSACTION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.5];
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
    FRAMES_WRITTEN = "recorder_frames_written_total", Kind::Counter, ["camera"], "Different frames handed to a video.";
    FRAMES_DUPLICATED = "recorder_frames_duplicated_total", Kind::Counter, ["camera"], "Rows that show the frame of the row before.";
    FRAMES_DROPPED = "recorder_frames_dropped_total", Kind::Counter, ["camera", "stage", "reason"], "Frames of a take that are in no video.";
    FRAMES_MISSED = "recorder_frames_missed_total", Kind::Counter, ["camera"], "Frames of a take that the driver counted and never delivered.";
    CAPTURE_INTERVAL = "recorder_capture_interval_seconds", Kind::Histogram(FRAME_BUCKETS), ["camera"], "Time from one captured frame to the next.";
    CAMERA_TARGET = "recorder_camera_target_hertz", Kind::Gauge, ["camera"], "Frames a second that a camera is asked for.";
    FRAME_BUDGET = "recorder_frame_budget_seconds", Kind::Gauge, [], "Time from one row to the next: what a frame may take.";
    ENCODE_DURATION = "recorder_encode_duration_seconds", Kind::Histogram(FRAME_BUCKETS), ["camera", "backend"], "Work to decode and encode one frame.";
    ENCODE_LAG = "recorder_encode_lag_seconds", Kind::Histogram(LAG_BUCKETS), ["camera"], "Age of a frame when its fragment is written to the file.";
    WRITE_DURATION = "recorder_write_duration_seconds", Kind::Histogram(TRANSACTION_BUCKETS), ["camera"], "Work to write one fragment to its video file.";
    CAMERA_SKEW = "recorder_camera_skew_seconds", Kind::Histogram(FRAME_BUCKETS), [], "Time between the oldest and the newest capture in one row.";
    TICK_JITTER = "recorder_tick_jitter_seconds", Kind::Histogram(JITTER_BUCKETS), [], "How late a tick of the control loop woke.";
    ARM_TRANSACTION = "recorder_arm_transaction_seconds", Kind::Histogram(TRANSACTION_BUCKETS), ["arm"], "Time of one tick's talk with an arm.";
    ARM_ERRORS = "recorder_arm_errors_total", Kind::Counter, ["arm", "kind"], "Failed talks with an arm.";
    ARM_MISSES = "recorder_arm_misses_total", Kind::Counter, [], "Rows in which the arm did not answer in time.";
    QUEUE_FRAMES = "recorder_queue_frames", Kind::Gauge, ["camera"], "Frames that wait for an encoder.";
    QUEUE_CAPACITY = "recorder_queue_capacity_frames", Kind::Gauge, ["camera"], "Frames that may wait for an encoder in memory.";
    FRAME_MEMORY = "recorder_frame_memory_bytes", Kind::Gauge, [], "Memory that frames of all cameras hold.";
    FRAME_MEMORY_LIMIT = "recorder_frame_memory_limit_bytes", Kind::Gauge, [], "Memory that frames of all cameras may hold.";
    SPILL_BYTES = "recorder_spill_bytes", Kind::Gauge, [], "Bytes of frames that wait for an encoder on disk.";
    SPILL_LIMIT = "recorder_spill_limit_bytes", Kind::Gauge, [], "Bytes that may wait on disk.";
    ENCODER_INFO = "recorder_encoder_info", Kind::Gauge, ["camera", "backend", "codec"], "1 for the encoder that a camera's video is made by.";
    ENCODER_FALLBACK = "recorder_encoder_fallback", Kind::Gauge, ["camera"], "1 while a camera's video is not made by the GPU that the run was to use.";
    ENCODER_FALLBACKS = "recorder_encoder_fallbacks_total", Kind::Counter, ["from", "to", "reason"], "Encoders that were replaced in a take.";
    ENCODER_SWITCH = "recorder_encoder_switch_seconds", Kind::Histogram(SAVE_BUCKETS), ["from", "to"], "From the failure of an encoder to the first frame of the one that goes on.";
    WAITING_EPISODES = "recorder_waiting_episodes", Kind::Gauge, [], "Episodes that are recorded and not saved yet.";
    WAITING_BYTES = "recorder_waiting_bytes", Kind::Gauge, [], "Bytes of recorded pictures that are kept on disk until their episode is saved.";
    ENCODER_SESSIONS = "recorder_encoder_sessions", Kind::Gauge, [], "Videos that are being encoded.";
    EPISODES = "recorder_episodes_total", Kind::Counter, ["outcome"], "Takes by what became of them: saved, discarded, failed.";
    ROWS = "recorder_rows_total", Kind::Counter, [], "Rows of the episodes that were saved.";
    VIDEO_FRAMES = "recorder_video_frames_total", Kind::Counter, ["camera"], "Frames in the videos of the episodes that were saved, as the files count them.";
    FRAME_MISMATCHES = "recorder_frame_mismatches_total", Kind::Counter, ["camera"], "Takes that were refused because their video has not as many frames as there are rows.";
    DATASET_EPISODES = "recorder_dataset_episodes", Kind::Gauge, [], "Episodes in the data set, those before this run included.";
    RUN_EPISODES = "recorder_run_episodes", Kind::Gauge, [], "Episodes that the run is to record.";
    EPISODE_CYCLE = "recorder_episode_cycle_seconds", Kind::Gauge, [], "Time for an episode and the reset after it, by the configuration.";
    LAST_SAVE = "recorder_last_save_timestamp_seconds", Kind::Gauge, [], "When the last episode was saved, or the run began, in Unix time.";
    PHASE = "recorder_phase", Kind::Gauge, ["phase"], "1 for what the run does now: starting, recording, resetting, finishing, done.";
    SAVE_DURATION = "recorder_episode_save_duration_seconds", Kind::Histogram(SAVE_BUCKETS), [], "From the last tick of an episode to its commit on disk.";
    ACTOR_RESTARTS = "recorder_actor_restarts_total", Kind::Counter, ["actor", "reason"], "Parts that failed and were started again.";
    DEVICE_AWAY = "recorder_device_away", Kind::Gauge, ["device"], "1 while a device is lost.";
    RESTART_LOOPS = "recorder_restart_loops_total", Kind::Counter, ["device"], "Devices that were lost five times within a minute.";
    DISK_FREE = "recorder_disk_free_bytes", Kind::Gauge, [], "Free space where the data set is.";
    RECORDABLE = "recorder_recordable_seconds", Kind::Gauge, [], "Recording time that the free space is good for, at the rate so far.";
    ROOM = "recorder_disk_room", Kind::Gauge, [], "Room to record on the disk: 2 enough, 1 little, 0 none.";
    SCHEDULE_LEFT = "recorder_schedule_left_seconds", Kind::Gauge, [], "Time until no episode begins any more, by run.until and run.max_hours; infinite without them.";
    STUCK = "recorder_stuck", Kind::Gauge, ["part"], "1 for a part that does nothing any more.";
    LOG_LINES_LOST = "recorder_log_lines_lost_total", Kind::Counter, [], "Lines that are not in the log file: its disk is full, or too slow.";
    LAST_FRAME = "recorder_last_frame_timestamp_seconds", Kind::Gauge, ["camera"], "When the newest frame was captured, in Unix time.";
    TIME = "recorder_time_seconds", Kind::Gauge, [], "What the recorder's clock shows now, in Unix time: what time stamps are to be compared with.";
    NOTIFICATIONS = "recorder_notifications_total", Kind::Counter, ["outcome"], "Runs of notify.command by what became of them: ran, failed, timed_out, skipped.";
    HTTP_REFUSED = "recorder_http_refused_total", Kind::Counter, ["reason"], "Requests that were refused: address, token, host, connections.";
    GPU_UTILIZATION = "recorder_gpu_utilization_ratio", Kind::Gauge, ["gpu"], "Share of the time in which the GPU computes; gpu counts as nvidia-smi does.";
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

/// Makes the counters of a camera exist from the start, so that a rate over them is 0 and not absent.
pub fn register_camera(camera: &str, queue_capacity: usize) {
    let camera = camera.to_string();
    metrics::counter!(FRAMES_CAPTURED, "camera" => camera.clone()).increment(0);
    metrics::counter!(FRAMES_WRITTEN, "camera" => camera.clone()).increment(0);
    metrics::counter!(FRAMES_DUPLICATED, "camera" => camera.clone()).increment(0);
    for reason in DropReason::ALL {
        dropped(&camera, reason, 0);
    }
    metrics::gauge!(QUEUE_FRAMES, "camera" => camera.clone()).set(0.0);
    metrics::gauge!(QUEUE_CAPACITY, "camera" => camera).set(queue_capacity as f64);
}

/// Makes the metrics of a device's losses exist from the start; `device` is its name for people.
pub fn register_device(device: &str) {
    metrics::gauge!(DEVICE_AWAY, "device" => device.to_string()).set(0.0);
    metrics::counter!(RESTART_LOOPS, "device" => device.to_string()).increment(0);
}

/// Shows which encoder makes a camera's video after a change.
pub fn encoder_changed(camera: &str, codec: &'static str, from: &'static str, to: &'static str) {
    for (backend, now) in [(from, 0.0), (to, 1.0)] {
        metrics::gauge!(ENCODER_INFO, "camera" => camera.to_string(), "backend" => backend, "codec" => codec).set(now);
    }
}

/// Makes the counters of the arms exist from the start.
pub fn register_arms() {
    for arm in ["follower", "leader"] {
        for kind in crate::arm::ArmError::KINDS {
            metrics::counter!(ARM_ERRORS, "arm" => arm, "kind" => kind).increment(0);
        }
    }
}

/// Makes the counters of takes and parts exist from the start.
pub fn register_run() {
    for (actor, reason) in [("camera", "lost"), ("arm", "lost"), ("encoder", "error")] {
        metrics::counter!(ACTOR_RESTARTS, "actor" => actor, "reason" => reason).increment(0);
    }
    for outcome in ["saved", "discarded", "failed"] {
        metrics::counter!(EPISODES, "outcome" => outcome).increment(0);
    }
    metrics::gauge!(SPILL_BYTES).set(0.0);
    metrics::gauge!(ROOM).set(2.0);
    metrics::gauge!(SCHEDULE_LEFT).set(f64::INFINITY);
    metrics::counter!(LOG_LINES_LOST).increment(0);
    for part in crate::supervision::Part::ALL {
        metrics::gauge!(STUCK, "part" => part.name()).set(0.0);
    }
    metrics::gauge!(ENCODER_SESSIONS).set(0.0);
}

/// Counts frames of a take that are in no video.
pub fn dropped(camera: &str, reason: DropReason, frames: u64) {
    metrics::counter!(FRAMES_DROPPED, "camera" => camera.to_string(), "stage" => reason.stage(), "reason" => reason.name())
        .increment(frames);
}

/// The page that Prometheus reads.
pub fn render(handle: &PrometheusHandle) -> String {
    metrics_process::Collector::default().collect();
    handle.render()
}

#[cfg(test)]
mod tests {
    use super::*;

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
