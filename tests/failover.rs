//! Encoders, devices and the disk that fail in the middle of a run.

mod run_support;

use recorder::actors::recorder::RunError;
use recorder::codec::backend;
use recorder::codec::backend::OpenEncoder;
use recorder::episode::Key;
use recorder::frame::DropReason;
use run_support::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// An encoder that fails at its `n`-th frame ever, by an error or by a panic.
fn failing_at(n: u64, panics: bool) -> OpenEncoder {
    let count = AtomicU64::new(0);
    tampered(move |_| match count.fetch_add(1, Ordering::Relaxed) == n {
        true if panics => panic!("the test's panic"),
        true => Err(failure()),
        false => Ok(()),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_dies_loses_and_doubles_nothing() {
    for (n, panics) in [(0, false), (1, true), (14, false), (15, true), (44, false), (100, true)] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let overrides = [("dataset.video_encoding_workers", "2"), ("dataset.encoder.gop", "15")];
        let status = record(&config(SMALL, &root, &overrides), simulated(), failing_at(n, panics)).await;
        assert_eq!((status.saved, status.failed), (2, 0), "failing at {n}");
        check(&root);
        let summaries = summaries(&root);
        let switches: usize =
            summaries.iter().flat_map(|s| s.cameras.values()).map(|c| c.counters.encoder_switches.len()).sum();
        assert!(switches >= 1, "failing at {n}: the summaries do not tell of it");
        every_frame_is_shown(&root, 2, 160, 120);
    }
}

/// Opening may fail too: it is no failure of the supervisor (invariant 4).
#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_does_not_open_at_first_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let refusals = Arc::new(AtomicU32::new(3));
    let standard = backend::standard();
    let open: OpenEncoder = Arc::new(move |params, device| {
        match refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
            Ok(_) => Err(failure()),
            Err(_) => standard(params, device),
        }
    });
    let status = record(&config(SMALL, &root, &[("dataset.video_encoding_workers", "1")]), simulated(), open).await;
    assert_eq!((status.saved, status.failed), (2, 0));
    summaries(&root);
    check(&root);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_that_fails_for_ever_ends_the_run_by_name_and_keeps_what_is_saved() {
    for reset in ["0.5", "0"] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        // The first episode's 90 frames pass; with one encoder they come before those of the second.
        let count = AtomicU64::new(0);
        let open = tampered(move |_| if count.fetch_add(1, Ordering::Relaxed) < 90 { Ok(()) } else { Err(failure()) });
        let overrides =
            [("dataset.num_episodes", "5"), ("dataset.reset_time_s", reset), ("dataset.video_encoding_workers", "1")];
        let (running, status) = start(&config(SMALL, &root, &overrides), simulated(), open).await;
        let error = running.wait().await.unwrap_err();
        assert!(matches!(&error, RunError::Failed(reason) if reason.contains("as the test wants it")), "{error}");
        assert_eq!((status.borrow().saved, summaries(&root).len()), (1, 1), "reset {reset}");
        assert!(status.borrow().failed >= 1);
        check(&root);
    }
}

/// Invariant 9: with every encoder stuck, ticks and rows go on, frames go to disk, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn stuck_encoders_hold_up_nothing_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        // Slow enough that what memory may hold on the way (24 frames) lasts for seconds of a machine that does not get on.
        ("robot.cameras.front.fps", "5"),
        ("robot.cameras.wrist.fps", "5"),
        ("dataset.fps", "5"),
        ("dataset.encoder.gop", "5"),
        ("dataset.video_encoding_queue_size", "10"),
        ("dataset.num_episodes", "1"),
        ("dataset.episode_time_s", "900"),
    ];
    let (gate, open) = gated();
    let (running, status) = start(&config(SMALL, &root, &overrides), real(), open).await;
    // Far beyond what memory may hold (10, a fragment of 15): the rest is on disk.
    until(&status, "the queue is long", |s| s.cameras.iter().all(|c| c.queue > 40 && c.captured > 40)).await;
    running.key(Key::Stop);
    gate.open();
    running.wait().await.unwrap();
    check(&root);
    let summary = &summaries(&root)[0];
    for (name, camera) in &summary.cameras {
        let c = &camera.counters;
        // A machine that is busy with something else may deliver frames late; none is dropped for want of room.
        let only_late = c.dropped.keys().all(|reason| matches!(reason, DropReason::Late | DropReason::Superseded));
        assert!(only_late, "{name}: {c:?}");
        let shown = Rows::read(&root, 0).ints(&format!("observation.images.{name}/sequence"));
        let seen = burnt_in(&root, name, 0, 160, 120);
        assert_eq!(seen.into_iter().map(|n| n.map_or(-1, i64::from)).collect::<Vec<_>>(), shown, "{name}");
    }
}

/// With the disk's share used up too, the frame before stands in, counted by its reason.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_spill_limit_frames_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.video_encoding_queue_size", "5"),
        ("dataset.num_episodes", "1"),
        ("dataset.episode_time_s", "900"),
        ("limits.spill_mib", "1"),
        ("robot.cameras.front.width", "640"),
        ("robot.cameras.front.height", "480"),
    ];
    let (gate, open) = gated();
    let (running, status) = start(&config(SMALL, &root, &overrides), real(), open).await;
    until(&status, "the queue is long", |s| s.cameras[0].queue > 100).await;
    running.key(Key::Stop);
    gate.open();
    running.wait().await.unwrap();
    check(&root);
    let summary = &summaries(&root)[0];
    let full: u64 = summary
        .cameras
        .values()
        .map(|c| c.counters.dropped.get(&DropReason::SpillFull).copied().unwrap_or_default())
        .sum();
    assert!(full > 0, "{summary:?}");
}

/// A camera that goes away holds its last picture, marked, and is opened again when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_camera_is_held_marked_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let clip = dir.path().join("clip.mjpeg");
    let picture = turbojpeg::compress(
        turbojpeg::Image {
            pixels: &[90u8; 160 * 120 * 3][..],
            width: 160,
            pitch: 480,
            height: 120,
            format: turbojpeg::PixelFormat::RGB,
        },
        80,
        turbojpeg::Subsamp::Sub2x1,
    )
    .unwrap();
    std::fs::write(&clip, picture.repeat(20)).unwrap();
    let path = clip.display().to_string();
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.type", "file"),
        ("robot.cameras.wrist.index_or_path", path.as_str()),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.episode_time_s", "900"),
        ("dataset.num_episodes", "1"),
    ];
    let (running, status) = start(&config(SMALL, &root, &overrides), real(), backend::standard()).await;
    until(&status, "both cameras deliver", |s| s.cameras.iter().all(|c| c.captured > 5)).await;
    // The file is cut off under the camera, as a device is unplugged.
    std::fs::File::options().write(true).open(&clip).unwrap().set_len(0).unwrap();
    let lost = until(&status, "the camera is lost", |s| !s.cameras[1].alive && s.cameras[1].repeated > 10).await;
    let captured = lost.cameras[0].captured;
    until(&status, "the other camera goes on", |s| s.cameras[0].alive && s.cameras[0].captured > captured + 5).await;
    std::fs::write(&clip, picture.repeat(20)).unwrap();
    let captured = lost.cameras[1].captured;
    until(&status, "the camera is back", |s| s.cameras[1].alive && s.cameras[1].captured > captured + 5).await;
    running.key(Key::Stop);
    running.wait().await.unwrap();
    check(&root);
    let summary = &summaries(&root)[0];
    let flagged = Rows::read(&root, 0).flags("observation.images.wrist/repeated").iter().filter(|f| **f).count();
    assert_eq!(flagged as u64, summary.cameras["wrist"].counters.repeated);
    assert!(flagged > 10);
}

/// A camera that cannot be opened at the start: an error by name, and no run.
#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_is_not_there_is_an_error_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.type", "v4l"),
        ("robot.cameras.wrist.index_or_path", "/dev/video-of-the-test"),
        ("robot.cameras.wrist.realtime", "true"),
    ];
    let (running, _) = start(&config(SMALL, &root, &overrides), real(), backend::standard()).await;
    let error = running.wait().await.unwrap_err();
    assert!(matches!(&error, RunError::Device(text) if text.contains("/dev/video-of-the-test")), "{error}");
}
