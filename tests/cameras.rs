//! Cameras in a run: what is said when they deliver too few pictures, freeze, or are tampered with, and when; what the
//! summary tells of their beat; and how soon they are recorded.

mod cameras_support;
mod media;
mod outages;
mod run_support;

use cameras_support::{Manners, START_NS, change, front};
use outages::Outages;
use recorder::account::ControlChange;
use recorder::devices::Devices;
use recorder::events::{Event, Heard, Severity, Told};
use recorder::frame::DropReason;
use run_support::*;
use std::path::Path;
use std::sync::Arc;

/// Two cameras and no arm; one episode without an end before the test's.
const CAMERAS: [(&str, &str); 6] = [
    ("robot.type", "none"),
    ("robot.port", ""),
    ("teleop.type", "none"),
    ("teleop.port", ""),
    ("dataset.num_episodes", "1"),
    ("dataset.encoder.codec", "copy"),
];

/// A run in simulated time: all that is told.
async fn play(root: &Path, overrides: &[(&str, &str)], devices: Devices) -> Vec<Arc<Told>> {
    let (running, status) =
        start_on(&config(SMALL, root, &[&CAMERAS[..], overrides].concat()), simulated(), devices).await;
    running.wait().await.unwrap();
    let mut listener = status.events.listen_after(0);
    std::iter::from_fn(|| listener.try_next())
        .map(|heard| match heard {
            Heard::Event(told) => told,
            Heard::Missed(n) => panic!("{n} events are gone"),
        })
        .collect()
}

/// Seconds since the start of a run.
fn seconds(told: &Told) -> f64 {
    (told.utc_ns - simulated().now().utc_ns) as f64 / 1e9
}

fn named<'a>(told: &'a [Arc<Told>], name: &str) -> Vec<&'a Told> {
    told.iter().filter(|told| told.event.name() == name).map(Arc::as_ref).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_becomes_slow_is_said_in_time_with_its_cause() {
    let exposure = || "its exposure is 50.0 ms, longer than a frame (33.3 ms)".to_string();
    let slow = Manners { slow: Some((5.0, 12.0)), causes: vec![exposure()], ..Manners::default() };
    let lossy = Manners { lossy: Some((5.0, 12.0)), ..Manners::default() };
    let unknown = Manners { causes: Vec::new(), ..slow.clone() };
    for (manners, hertz, causes) in [
        (slow, 20.0..21.0, &["its exposure is 50.0 ms"][..]),
        (unknown, 20.0..21.0, &["too little light", "USB bus that others use"]),
        (lossy, 26.9..27.8, &["pictures were lost on the way here: a cable, a hub"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let told = play(&dir.path().join("set"), &[("dataset.episode_time_s", "20")], front(manners)).await;
        let [slow] = named(&told, "camera_slow")[..] else { panic!("{told:?}") };
        let [over] = named(&told, "camera_slow_over")[..] else { panic!("{told:?}") };
        assert!((5.0..8.0).contains(&seconds(slow)) && slow.severity == Severity::Warning, "{slow:?}");
        assert!((12.0..15.0).contains(&seconds(over)) && over.severity == Severity::Info, "{over:?}");
        let Event::CameraSlow { camera, target_hertz, cause, hertz: found } = &slow.event else { panic!() };
        assert_eq!((camera.as_str(), *target_hertz), ("front", 30.0));
        // The window has pictures in it from before.
        assert!(*found >= hertz.start && *found < 28.5, "{found}");
        for words in causes {
            assert!(cause.contains(words) && slow.text.contains(words), "{}", slow.text);
        }
        assert!(slow.text.starts_with("camera front delivers "), "{}", slow.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_tells_the_beat_of_each_camera() {
    let dir = tempfile::tempdir().unwrap();
    let beats = async |name: &str, manners| {
        let root = dir.path().join(name);
        let told = play(&root, &[("dataset.episode_time_s", "10")], front(manners)).await;
        assert_eq!(named(&told, "camera_slow").len(), 0, "{name}: {told:?}");
        let summary = summaries(&root).remove(0);
        [summary.cameras["front"].clone(), summary.cameras["wrist"].clone()]
    };
    let is_about =
        |found: f64, expected: f64, off: f64| assert!((found - expected).abs() <= off, "{found}, not {expected}");

    // Within the tolerance, and told exactly all the same.
    let [front, wrist] = beats("drifts", Manners { fps: Some(29), ..Manners::default() }).await;
    is_about(front.beat.delivered_hertz, 29.0, 0.01);
    is_about(front.beat.drift_ppm.unwrap(), (29.0 / 30.0 - 1.0) * 1e6, 10.0);
    is_about(wrist.beat.delivered_hertz, 30.0, 0.001);
    is_about(wrist.beat.drift_ppm.unwrap(), 0.0, 1.0);
    // The clock counts nanoseconds.
    assert!(front.beat.jitter_ns.max <= 2 && wrist.beat.jitter_ns.max <= 2, "{:?}", front.beat);

    // Pictures that no row shows are delivered too.
    let [front, _] = beats("fast", Manners { fps: Some(60), ..Manners::default() }).await;
    is_about(front.beat.delivered_hertz, 60.0, 0.01);
    is_about(front.beat.drift_ppm.unwrap(), 1e6, 10.0);

    // Lost on the way: its clock is right, and pictures are missing. Half a second of it is no spell.
    let [front, _] = beats("loses", Manners { lossy: Some((3.0, 3.4)), ..Manners::default() }).await;
    assert!(front.counters.sequence_gaps >= 1);
    is_about(front.beat.drift_ppm.unwrap(), 0.0, 1.0);
    is_about(front.beat.delivered_hertz, 30.0 - front.counters.sequence_gaps as f64 / 10.0, 0.05);

    // Not counted by the driver: a beat is missing.
    let [front, _] = beats("stumbles", Manners { slow: Some((3.0, 3.1)), ..Manners::default() }).await;
    assert!((30_000_000..40_000_000).contains(&front.beat.jitter_ns.max), "{:?}", front.beat);
    assert!(front.beat.jitter_ns.p50 < 1_000_000, "{:?}", front.beat);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_somebody_changes_is_told_and_in_the_summary() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let manners = Manners { changed: Some((3.0, change())), ..Manners::default() };
    let told = play(&root, &[("dataset.episode_time_s", "8")], front(manners)).await;
    let [changed] = named(&told, "control_changed")[..] else { panic!("{told:?}") };
    assert!((3.0..4.1).contains(&seconds(changed)) && changed.severity == Severity::Warning, "{changed:?}");
    assert_eq!(changed.text, "camera front: gain was set to 12 and found at 80: it is set back");
    let summary = summaries(&root).remove(0);
    let [front, wrist] = ["front", "wrist"].map(|name| &summary.cameras[name].counters.control_changes);
    let [ControlChange { row, control, set: 12, found: 80, set_back: true }] = &front.control_changes[..] else {
        panic!("{front:?}")
    };
    let noticed = summary.start_utc_ns + row * 1_000_000_000 / 30;
    assert!(control == "gain" && noticed.abs_diff(changed.utc_ns) < 300_000_000, "row {row}");
    assert_eq!((front.control_changes_total, wrist.control_changes_total), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_camera_is_noticed_within_two_seconds_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let manners = Manners { frozen: Some(3.01), ..Manners::default() };
    let told = play(&root, &[("dataset.episode_time_s", "10")], front(manners)).await;
    let [lost] = named(&told, "device_lost")[..] else { panic!("{told:?}") };
    let [back] = named(&told, "device_back")[..] else { panic!("{told:?}") };
    // Its last picture is that of 3.0 s.
    assert!((4.9..=5.0).contains(&seconds(lost)), "{lost:?}");
    assert!(lost.text.contains("no picture for 1.9 s"), "{lost:?}");
    assert!((5.1..5.3).contains(&seconds(back)), "{back:?}");
    assert_eq!(named(&told, "camera_slow").len(), 0, "a freeze is no low rate: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_whose_format_is_lost_is_noticed_within_two_seconds_and_set_anew() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let manners = Manners { resized: Some((3.01, media::textured(64, 48, 0))), ..Manners::default() };
    let told = play(&root, &[("dataset.episode_time_s", "10")], front(manners)).await;
    let [lost] = named(&told, "device_lost")[..] else { panic!("{told:?}") };
    assert!((4.9..=5.0).contains(&seconds(lost)), "{lost:?}");
    assert!(lost.text.contains("its pictures are not 160x120 any more"), "{lost:?}");
    assert_eq!(named(&told, "device_back").len(), 1, "{told:?}");
    let summary = summaries(&root).remove(0);
    let dropped = &summary.cameras["front"].counters.dropped;
    assert!((55..=58).contains(&dropped[&DropReason::WrongSize]), "{dropped:?}");
}

/// From the worst moment on: right after a try in vain.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_is_back_within_five_seconds_of_its_return() {
    for returns in [1.3, 2.8, 4.9, 8.8, 8.9, 21.0, 61.5] {
        let dir = tempfile::tempdir().unwrap();
        let length = (returns + 8.0).to_string();
        let overrides = [("dataset.episode_time_s", length.as_str()), ("dataset.fps", "10")];
        let slow = [("robot.cameras.front.fps", "10"), ("robot.cameras.wrist.fps", "10")];
        let devices = Outages::of(&[("front", &[(1.0, returns)])]).devices();
        let told = play(&dir.path().join("set"), &[overrides, slow].concat(), devices).await;
        let [back] = named(&told, "device_back")[..] else { panic!("{returns}: {told:?}") };
        let waited = seconds(back) - returns;
        assert!((0.0..=5.0).contains(&waited), "back {waited} s after its return at {returns} s");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_camera_warms_up_at_the_start_and_not_in_the_middle() {
    let real = [
        ("robot.cameras.front.type", "v4l"),
        ("robot.cameras.front.index_or_path", "/dev/video0"),
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.episode_time_s", "6"),
    ];
    let rows = async |warmup: &str| {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let overrides = [&real[..], &[("robot.cameras.front.warmup_s", warmup)]].concat();
        let manners = Manners { frozen: Some(3.01), ..Manners::default() };
        play(&root, &overrides, front(manners)).await;
        let camera = summaries(&root).remove(0).cameras["front"].counters.clone();
        // Neither captured nor dropped: `summaries` has held the numbers against each other.
        assert_eq!((camera.dropped.values().sum::<u64>(), camera.sequence_gaps), (0, 0), "{warmup}");
        let found = Rows::read(&root, 0);
        let captured = found.ints("observation.images.front/captured_mono_ns")[0] - START_NS as i64;
        (captured as f64 / 1e9, camera.gaps.rows_lost)
    };
    let (first, gap) = rows("0").await;
    assert!(first < 0.2, "{first}");
    assert!((12..=17).contains(&gap), "{gap} rows from the loss to the first picture");
    for warmup in ["1.0", "1.5"] {
        let (first, warm_gap) = rows(warmup).await;
        let expected: f64 = warmup.parse().unwrap();
        assert!((expected..expected + 0.2).contains(&first), "{first} with {warmup}");
        assert!(warm_gap.abs_diff(gap) <= 1, "{warm_gap} rows with {warmup}, {gap} without");
    }
}
