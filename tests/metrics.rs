//! Every metric says what it is there to say: for each cause, made to happen, what moves and by how much.

mod causes;
mod outages;
mod run_support;

use Moved::{Above, By, Is, Seen, SeenAbove, Up};
use causes::page::{Labels, Looks, Page};
use causes::{self as cause, Scene};
use recorder::metrics::{self, *};
use std::collections::BTreeSet;
use std::pin::Pin;

/// How a metric is found after its cause.
#[derive(Clone, Copy, Debug)]
enum Moved {
    /// A counter has grown by this, from a value that was there.
    By(f64),
    /// It has grown.
    Up,
    /// A gauge has this value in the end.
    Is(f64),
    /// It has more.
    Above(f64),
    /// It had this value at a look in the middle.
    Seen(f64),
    /// It had more.
    SeenAbove(f64),
}

type Happening = Pin<Box<dyn Future<Output = ()>>>;
type Expected = (&'static str, Labels, Moved);
type Cause = (&'static str, fn(Scene) -> Happening, &'static [Expected]);

/// What other tests cover: their file, what it says of them, and which they are.
const ELSEWHERE: [(&str, &str, &[&str]); 3] = [
    (
        "tests/gpu_metrics.rs",
        "recorder_gpu_",
        &[GPU_UTILIZATION, GPU_ENCODER_UTILIZATION, GPU_MEMORY_USED, GPU_MEMORY, GPU_TEMPERATURE, GPU_SESSIONS],
    ),
    ("tests/notify.rs", NOTIFICATIONS, &[NOTIFICATIONS]),
    ("tests/access.rs", HTTP_REFUSED, &[HTTP_REFUSED]),
];

const FRONT: Labels = &[("camera", "front")];
const WRIST: Labels = &[("camera", "wrist")];
const AWAY: Labels = &[("device", "camera wrist")];

macro_rules! cause {
    ($name:literal, $happens:path, $expected:expr) => {
        ($name, |scene| Box::pin($happens(scene)), $expected)
    };
}

#[rustfmt::skip]
const CAUSES: &[Cause] = &[
    cause!("two episodes of 45 rows are recorded", cause::two_episodes, &[
        (FRAMES_CAPTURED, FRONT, By(90.0)),
        (FRAMES_WRITTEN, WRIST, By(90.0)),
        (FRAMES_DUPLICATED, FRONT, By(0.0)),
        (FRAMES_DROPPED, FRONT, By(0.0)),
        (FRAMES_MISSED, FRONT, By(0.0)),
        (CAPTURE_INTERVAL, FRONT, Up),
        (CAMERA_TARGET, FRONT, Is(30.0)),
        (FRAME_BUDGET, &[], Is(1.0 / 30.0)),
        (ENCODE_DURATION, &[("camera", "front"), ("backend", "openh264")], By(90.0)),
        (ENCODE_LAG, FRONT, Up),
        (WRITE_DURATION, FRONT, Up),
        (CAMERA_SKEW, &[], By(90.0)),
        (TICK_JITTER, &[], Up),
        (ARM_TRANSACTION, &[("arm", "follower")], Up),
        (ARM_TRANSACTION, &[("arm", "leader")], Up),
        (ARM_ERRORS, &[], By(0.0)),
        (ARM_MOTOR_ERRORS, &[("arm", "leader"), ("motor", "gripper"), ("kind", "overload")], By(0.0)),
        (ARM_MOTOR_HELD, &[("arm", "follower"), ("motor", "gripper")], Is(0.0)),
        (ARM_MOTOR_TEMPERATURE, &[("arm", "follower"), ("motor", "gripper")], Is(31.0)),
        (ARM_MOTOR_TEMPERATURE, &[("arm", "leader"), ("motor", "shoulder_pan")], Is(31.0)),
        (ARM_MOTOR_VOLTAGE, &[("arm", "follower"), ("motor", "wrist_roll")], Above(7.3)),
        (ARM_MOTOR_LOAD, &[("arm", "follower"), ("motor", "gripper")], Above(-1.01)),
        (LEADER_SILENT, &[], Is(0.0)),
        (ARM_MISSES, &[], By(0.0)),
        (QUEUE_FRAMES, FRONT, Is(0.0)),
        (QUEUE_CAPACITY, FRONT, Above(1.0)),
        (FRAME_MEMORY, &[], Is(0.0)),
        (FRAME_MEMORY_LIMIT, &[], Above(1e6)),
        (SPILL_BYTES, &[], Is(0.0)),
        (SPILL_LIMIT, &[], Above(1e6)),
        (ENCODER_INFO, &[("camera", "front"), ("backend", "openh264"), ("codec", "h264")], Is(1.0)),
        (ENCODER_FALLBACK, FRONT, Is(0.0)),
        (ENCODER_FALLBACKS, &[("from", "openh264"), ("to", "openh264"), ("reason", "error")], By(0.0)),
        (ENCODER_SESSIONS, &[], Is(0.0)),
        (WAITING_EPISODES, &[], Is(0.0)),
        (WAITING_BYTES, &[], Is(0.0)),
        (EPISODES, &[("outcome", "saved")], By(2.0)),
        (EPISODES, &[("outcome", "taken_back")], By(0.0)),
        (ROWS, &[], By(90.0)),
        (VIDEO_FRAMES, FRONT, By(90.0)),
        (VIDEO_FRAMES, WRIST, By(90.0)),
        (FRAME_MISMATCHES, FRONT, By(0.0)),
        (DATASET_EPISODES, &[], Is(2.0)),
        (RUN_EPISODES, &[], Is(2.0)),
        (EPISODE_CYCLE, &[], Is(2.0)),
        (LAST_SAVE, &[], Above(1_700_000_003.0)),
        (SAVE_DURATION, &[], By(2.0)),
        (PHASE, &[("phase", "done")], Is(1.0)),
        (PHASE, &[("phase", "starting")], Is(0.0)),
        (ACTOR_RESTARTS, &[("actor", "encoder"), ("reason", "error")], By(0.0)),
        (DEVICE_AWAY, AWAY, Is(0.0)),
        (RESTART_LOOPS, AWAY, By(0.0)),
        (DISK_FREE, &[], Above(0.0)),
        (RECORDABLE, &[], Above(0.0)),
        (ROOM, &[], Is(2.0)),
        (SCHEDULE_LEFT, &[], Is(f64::INFINITY)),
        (STUCK, &[("part", "writer")], Is(0.0)),
        (LOG_LINES_LOST, &[], By(0.0)),
        (LAST_FRAME, FRONT, Above(1_700_000_003.0)),
        (TIME, &[], SeenAbove(1_700_000_003.0)),
        (BUILD_INFO, &[("version", recorder::VERSION)], Is(1.0)),
    ]),
    cause!("encoders stand still until the disk's share is used up", cause::stuck_encoders, &[
        (PHASE, &[("phase", "starting")], Seen(1.0)),
        (PHASE, &[("phase", "recording")], Seen(1.0)),
        (PHASE, &[("phase", "resetting")], Seen(1.0)),
        (PHASE, &[("phase", "finishing")], Seen(1.0)),
        (PHASE, &[], Seen(1.0)),
        (QUEUE_FRAMES, FRONT, SeenAbove(100.0)),
        (QUEUE_CAPACITY, FRONT, Is(5.0)),
        (FRAME_MEMORY, &[], SeenAbove(10_000.0)),
        (SPILL_BYTES, &[], SeenAbove(500_000.0)),
        (SPILL_LIMIT, &[], Is(1_048_576.0)),
        (ENCODER_SESSIONS, &[], Seen(2.0)),
        (FRAMES_DROPPED, &[("camera", "front"), ("stage", "encode"), ("reason", "spill_full")], Up),
        (WAITING_EPISODES, &[], Seen(1.0)),
    ]),
    cause!("a camera is faster than the data set, another slower", cause::other_rates, &[
        (FRAMES_DROPPED, &[("camera", "front"), ("stage", "align"), ("reason", "superseded")], Up),
        (FRAMES_DUPLICATED, WRIST, Up),
        (CAMERA_TARGET, FRONT, Is(50.0)),
    ]),
    cause!("a driver counts three frames that it does not deliver", cause::missing_numbers, &[
        (FRAMES_MISSED, FRONT, By(3.0)),
        (FRAMES_MISSED, WRIST, By(0.0)),
    ]),
    cause!("pictures are corrupt", cause::corrupt_pictures, &[
        (FRAMES_DROPPED, &[("camera", "front"), ("stage", "decode"), ("reason", "corrupt")], Up),
        (FRAMES_DROPPED, WRIST, By(0.0)),
        (FRAMES_DUPLICATED, FRONT, Up),
    ]),
    cause!("a camera is lost five times within a minute", cause::flapping_camera, &[
        (DEVICE_AWAY, AWAY, Seen(1.0)),
        (DEVICE_AWAY, AWAY, Is(0.0)),
        (ACTOR_RESTARTS, &[("actor", "camera"), ("reason", "lost")], By(5.0)),
        (RESTART_LOOPS, AWAY, By(1.0)),
    ]),
    cause!("a take is discarded", cause::discarded_take, &[
        (EPISODES, &[("outcome", "discarded")], By(1.0)),
        (EPISODES, &[("outcome", "saved")], By(1.0)),
        (ROWS, &[], By(45.0)),
    ]),
    cause!("an episode is taken back", cause::take_taken_back, &[
        (DATASET_EPISODES, &[], Seen(1.0)),
        (DATASET_EPISODES, &[], Seen(0.0)),
        (EPISODES, &[("outcome", "taken_back")], By(1.0)),
    ]),
    cause!("an arm is lost", cause::lost_arm, &[
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "port")], By(1.0)),
        (ACTOR_RESTARTS, &[("actor", "arm"), ("reason", "lost")], By(1.0)),
        (ARM_MISSES, &[], Up),
    ]),
    cause!("servos complain in their replies", cause::servos_that_complain, &[
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "overload")], Up),
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "overheat")], Up),
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "voltage")], Up),
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "servo_error")], Up),
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "checksum")], Up),
        (ARM_ERRORS, &[("arm", "leader")], By(0.0)),
        (ARM_MOTOR_ERRORS, &[("arm", "follower"), ("motor", "shoulder_pan"), ("kind", "overload")], Up),
        (ARM_MOTOR_ERRORS, &[("arm", "follower"), ("motor", "wrist_roll"), ("kind", "checksum")], Up),
        (ARM_MOTOR_HELD, &[("arm", "follower"), ("motor", "shoulder_pan")], Is(2.0)),
        (ARM_MOTOR_HELD, &[("arm", "follower"), ("motor", "shoulder_lift")], Is(0.0)),
        // Values that came with a warning are used.
        (ARM_MISSES, &[], By(0.0)),
    ]),
    cause!("a servo is overloaded when it is connected", cause::overloaded_at_the_start, &[
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "overload")], By(1.0)),
        (PHASE, &[("phase", "done")], Is(0.0)),
    ]),
    cause!("the follower does not answer for three ticks", cause::silent_arm, &[
        (ARM_MISSES, &[], By(3.0)),
        (ARM_ERRORS, &[("arm", "follower"), ("kind", "timeout")], By(3.0)),
    ]),
    cause!("the leader is there and says nothing", cause::silent_leader, &[
        (LEADER_SILENT, &[], Seen(1.0)),
        (LEADER_SILENT, &[], Is(0.0)),
        (ARM_ERRORS, &[("arm", "leader"), ("kind", "timeout")], By(24.0)),
        (ARM_MOTOR_ERRORS, &[("arm", "leader"), ("motor", "shoulder_pan"), ("kind", "timeout")], By(24.0)),
        (ARM_MISSES, &[], By(24.0)),
    ]),
    cause!("an encoder dies", cause::encoder_dies, &[
        (ACTOR_RESTARTS, &[("actor", "encoder"), ("reason", "error")], By(1.0)),
        (ENCODER_FALLBACKS, &[("from", "openh264"), ("to", "openh264"), ("reason", "error")], Up),
        (ENCODER_SWITCH, &[("from", "openh264"), ("to", "openh264")], Up),
        (EPISODES, &[("outcome", "saved")], By(2.0)),
    ]),
    cause!("an encoder fails for ever", cause::encoder_fails_for_ever, &[
        (EPISODES, &[("outcome", "failed")], Up),
        (ROWS, &[], By(0.0)),
        (PHASE, &[("phase", "done")], Is(0.0)),
    ]),
    cause!("the GPU fails in one take", cause::gpu_fails_once, &[
        (ENCODER_FALLBACKS, &[("from", "nvenc"), ("to", "openh264"), ("reason", "error")], By(1.0)),
        (ENCODER_SWITCH, &[("from", "nvenc"), ("to", "openh264")], By(1.0)),
        // Of one camera; and of none once the next take is on the GPU.
        (ENCODER_FALLBACK, &[], Seen(1.0)),
        (ENCODER_FALLBACK, &[], Is(0.0)),
        (ENCODER_INFO, &[("backend", "openh264")], Seen(1.0)),
        (ENCODER_INFO, &[("backend", "nvenc")], Is(2.0)),
        (ENCODE_DURATION, &[("backend", "nvenc")], By(135.0)),
    ]),
    cause!("what only the GPU makes waits for it on disk", cause::gpu_is_needed_and_gone, &[
        (ENCODER_FALLBACKS, &[("from", "nvenc"), ("to", "disk"), ("reason", "error")], Up),
        (ENCODER_FALLBACK, FRONT, Is(1.0)),
        (ENCODER_INFO, &[("backend", "disk"), ("codec", "hevc")], Is(2.0)),
        (WAITING_EPISODES, &[], Is(1.0)),
        (WAITING_BYTES, &[], Above(10_000.0)),
    ]),
    cause!("the disk fills up", cause::disk_fills_up, &[
        (ROOM, &[], Seen(1.0)),
        (ROOM, &[], Is(0.0)),
        (DISK_FREE, &[], Is((1u64 << 30) as f64 - 1.0)),
        (RECORDABLE, &[], Is(0.0)),
    ]),
    cause!("a run has an hour", cause::schedule, &[(SCHEDULE_LEFT, &[], Above(3500.0))]),
    cause!("a frame is swallowed on its way into a video", cause::swallowed_frame, &[
        (FRAME_MISMATCHES, FRONT, By(1.0)),
        (FRAME_MISMATCHES, WRIST, By(0.0)),
        (ROWS, &[], By(0.0)),
        (VIDEO_FRAMES, &[], By(0.0)),
    ]),
    cause!("the writer does nothing any more", cause::stuck_writer, &[
        (STUCK, &[("part", "writer")], Seen(1.0)),
        (STUCK, &[("part", "ticks")], Seen(0.0)),
        (STUCK, &[("part", "writer")], Is(0.0)),
    ]),
    cause!("the log's disk is full", cause::full_log, &[(LOG_LINES_LOST, &[], Up)]),
];

/// The recorder of metrics is the process's: one test, one cause after the other.
#[tokio::test(flavor = "multi_thread")]
async fn every_cause_moves_its_metrics() {
    metrics::install().unwrap();
    for (name, happens, expected) in CAUSES {
        let (dir, before) = (tempfile::tempdir().unwrap(), Page::now());
        let scene = Scene { root: dir.path().join("set"), looks: Looks::default() };
        let looks = scene.looks.clone();
        happens(scene).await;
        let (after, pages) = (Page::now(), looks.pages());
        for (metric, labels, moved) in *expected {
            let is = after.get(metric, labels);
            // What is not there yet counts from 0: before the first run nothing is.
            let by = is.map(|now| now - before.get(metric, labels).unwrap_or_default());
            let mut seen = pages.iter().filter_map(|page| page.get(metric, labels));
            let found = match moved {
                By(n) => by == Some(*n),
                Up => by.is_some_and(|by| by > 0.0),
                Is(value) => is == Some(*value),
                Above(value) => is.is_some_and(|now| now > *value),
                Seen(value) => seen.any(|was| was == *value),
                SeenAbove(value) => seen.any(|was| was > *value),
            };
            let looked: Vec<_> = pages.iter().map(|page| page.get(metric, labels)).collect();
            assert!(found, "{name}: {metric}{labels:?}: expected {moved:?}, found {is:?}, by {by:?}, seen {looked:?}");
        }
        balances(name, &before, &after);
    }
    is_as_declared();
}

/// What is on the page has its help and its type; its labels are the declared ones, with values of those that are told.
fn is_as_declared() {
    let text = metrics::render(metrics::install().unwrap(), Default::default());
    let elsewhere: Vec<&str> = ELSEWHERE.iter().flat_map(|(_, _, metrics)| *metrics).copied().collect();
    for metric in ALL.iter().filter(|metric| !elsewhere.contains(&metric.name)) {
        let (name, kind) = (metric.name, metric.kind.name());
        for line in [format!("# HELP {name} {}", metric.help), format!("# TYPE {name} {kind}")] {
            assert!(text.lines().any(|found| found == line), "not on the page: {line}");
        }
        let page = Page::now();
        let suffix = |series: &&str| series.strip_prefix(name).map(|rest| rest.split('{').next().unwrap().to_string());
        let is_ours = |series: &&str| suffix(series).is_some_and(|s| ["", "_bucket", "_sum", "_count"].contains(&&*s));
        for series in page.series().filter(is_ours) {
            let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
            let pairs = labels.split_terminator(',').map(|pair| pair.split_once('=').unwrap());
            let pairs: Vec<_> = pairs.filter(|(label, _)| *label != "le").collect();
            assert_eq!(pairs.iter().map(|(label, _)| *label).collect::<Vec<_>>(), metric.labels, "{series}");
            for (label, value) in pairs {
                if let Some(Values::OneOf(known)) = metrics::values(metric, label) {
                    assert!(known.contains(&value.trim_matches('"')), "{series}: {label} is one of {known:?}");
                }
            }
        }
    }
}

#[test]
fn the_command_prints_all_metrics() {
    let print = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_recorder")).args(arguments).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    assert!(print(&["metrics", "--markdown"]) == std::fs::read_to_string(file).unwrap(), "see docs_metrics_md");
    let text = print(&["metrics"]);
    for name in ALL.iter().map(|metric| metric.name).chain(["process_cpu_seconds_total"]) {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

/// Every frame that was captured is written or dropped, whatever became of its take.
fn balances(cause: &str, before: &Page, after: &Page) {
    // The writer alone is given rows that no camera captured.
    if cause.contains("swallowed") {
        return;
    }
    for camera in [FRONT, WRIST] {
        let by =
            |metric| after.get(metric, camera).unwrap_or_default() - before.get(metric, camera).unwrap_or_default();
        let (captured, written, dropped) = (by(FRAMES_CAPTURED), by(FRAMES_WRITTEN), by(FRAMES_DROPPED));
        assert_eq!(captured, written + dropped, "{cause}, {camera:?}: {written} written, {dropped} dropped");
    }
}

/// A metric that nothing is known to move says nothing.
#[test]
fn every_metric_has_a_cause() {
    let moved = CAUSES.iter().flat_map(|(_, _, expected)| *expected);
    // That a metric stays where it is shows no cause.
    let moved = moved.filter(|(_, _, moved)| !matches!(moved, By(0.0) | Is(0.0))).map(|(metric, ..)| *metric);
    let elsewhere = ELSEWHERE.iter().flat_map(|(_, _, metrics)| *metrics).copied();
    let covered: BTreeSet<&str> = moved.chain(elsewhere).collect();
    let declared: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(covered, declared);
    for (file, word, metrics) in ELSEWHERE {
        let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        assert!(text.contains(word) && metrics.iter().all(|name| name.starts_with(word)), "{file}: {word}");
    }
}
