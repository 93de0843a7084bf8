//! `streaming_encoding`, `async_video_encoding`, workers, queue: what blocks and what does not, and that nothing is lost.

mod run_support;

use recorder::actors::recorder::RunError;
use recorder::codec::backend;
use recorder::status::Status;
use run_support::*;
use std::path::Path;
use std::sync::Arc;

const DEFERRED: (&str, &str) = ("dataset.streaming_encoding", "false");
const ASYNC: (&str, &str) = ("dataset.async_video_encoding", "true");
const REAL: [(&str, &str); 2] = [("robot.cameras.front.realtime", "true"), ("robot.cameras.wrist.realtime", "true")];

fn overrides<'a>(lists: &[&[(&'a str, &'a str)]]) -> Vec<(&'a str, &'a str)> {
    lists.concat()
}

/// Every mode records the same pictures, and leaves nothing but the data set behind.
#[tokio::test(flavor = "multi_thread")]
async fn every_mode_saves_every_frame() {
    let mut first_videos = Vec::new();
    for mode in [&[][..], &[DEFERRED], &[DEFERRED, ASYNC]] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let status = record(
            &config(SMALL, &root, &overrides(&[mode, &[("dataset.num_episodes", "3")]])),
            simulated(),
            backend::standard(),
        )
        .await;
        assert_eq!((status.saved, status.failed, status.waiting), (3, 0, 0), "{mode:?}");
        check(&root);
        summaries(&root);
        every_frame_is_shown(&root, 3, 160, 120);
        assert!(!root.join(".partial").exists(), "{mode:?}");
        first_videos.push(std::fs::read(root.join("videos/observation.images.front/chunk-000/file-000.mp4")).unwrap());
    }
    assert!(first_videos.iter().all(|video| *video == first_videos[0]), "the modes differ in when, not in what");
}

/// Waits for the encoders to stand before the gate.
async fn at_gate(gate: &Arc<Gate>, encoders: usize) {
    let gate = gate.clone();
    let waiting = tokio::task::spawn_blocking(move || gate.wait_until(encoders)).await.unwrap();
    assert_eq!(waiting, encoders, "encoders at the gate");
}

fn is_held(status: &Status) -> bool {
    status.held && status.waiting > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_encoding_holds_the_next_episode_up_until_the_last_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (gate, open) = gated();
    let short = [("dataset.reset_time_s", "0.1"), ("dataset.episode_time_s", "0.5")];
    let (running, status) = start(&config(SMALL, &root, &overrides(&[&REAL, &[DEFERRED], &short])), real(), open).await;
    let held = until(&status, "the next episode is held up", is_held).await;
    assert_eq!((held.saved, held.waiting), (0, 1));
    gate.open();
    running.wait().await.unwrap();
    assert_eq!(status.borrow().saved, 2);
    check(&root);
    summaries(&root);
    every_frame_is_shown(&root, 2, 160, 120);
}

/// While two videos of a take are being encoded, later takes are recorded; `video_encoding_queue_size` videos wait at most.
#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_encoding_goes_on_recording_up_to_the_queue_s_size() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (gate, open) = gated();
    let more = [
        ("dataset.reset_time_s", "0.1"),
        ("dataset.episode_time_s", "0.5"),
        ("dataset.num_episodes", "5"),
        ("dataset.video_encoding_queue_size", "6"),
    ];
    let (running, status) =
        start(&config(SMALL, &root, &overrides(&[&REAL, &[DEFERRED, ASYNC], &more])), real(), open).await;
    let held = until(&status, "the fourth episode is held up", is_held).await;
    assert_eq!((held.saved, held.waiting), (0, 3), "six videos of two cameras are three episodes");
    gate.open();
    running.wait().await.unwrap();
    assert_eq!(status.borrow().saved, 5);
    check(&root);
    let takes: Vec<u64> = summaries(&root).iter().map(|summary| summary.take).collect();
    assert_eq!(takes, [0, 1, 2, 3, 4], "in the order in which they were recorded");
    every_frame_is_shown(&root, 5, 160, 120);
}

/// Encoding while recording: takes that cannot be saved do not pile up without an end.
#[tokio::test(flavor = "multi_thread")]
async fn unsaved_takes_hold_the_next_one_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (gate, open) = gated();
    let short = [("dataset.reset_time_s", "0"), ("dataset.episode_time_s", "0.1"), ("dataset.num_episodes", "35")];
    let (running, status) = start(&config(SMALL, &root, &short), simulated(), open).await;
    let held = until(&status, "32 takes wait and the next is held up", |s| s.held && s.waiting >= 32).await;
    assert_eq!((held.saved, held.waiting), (0, 32));
    gate.open();
    running.wait().await.unwrap();
    assert_eq!((status.borrow().saved, summaries(&root).len()), (35, 35));
}

/// `video_encoding_workers` videos are encoded at a time.
#[tokio::test(flavor = "multi_thread")]
async fn as_many_videos_are_encoded_at_a_time_as_there_are_workers() {
    for workers in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let (gate, open) = gated();
        let text = workers.to_string();
        let more = [("dataset.num_episodes", "3"), ("dataset.video_encoding_workers", text.as_str())];
        let (running, status) =
            start(&config(SMALL, &root, &overrides(&[&[DEFERRED, ASYNC], &more])), simulated(), open).await;
        until(&status, "all are recorded", |s| s.waiting == 3).await;
        at_gate(&gate, workers).await;
        gate.open();
        running.wait().await.unwrap();
        assert_eq!((status.borrow().saved, summaries(&root).len()), (3, 3));
        every_frame_is_shown(&root, 3, 160, 120);
    }
}

/// The disk's share for waiting pictures: beyond it no episode is begun, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_holds_the_next_episode_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (gate, open) = gated();
    // In real time: what is kept counts once it is on disk, and simulated time would not wait for that.
    let more = [
        ("dataset.episode_time_s", "2"),
        ("dataset.reset_time_s", "2"),
        ("limits.spill_mib", "1"),
        ("robot.cameras.front.width", "640"),
        ("robot.cameras.front.height", "480"),
    ];
    let (running, status) =
        start(&config(SMALL, &root, &overrides(&[&REAL, &[DEFERRED, ASYNC], &more])), real(), open).await;
    let held = until(&status, "the second episode is held up", is_held).await;
    assert!(held.waiting_bytes > 1 << 20, "{held:?}");
    gate.open();
    running.wait().await.unwrap();
    assert_eq!(status.borrow().saved, 2);
    check(&root);
}

/// Episodes that wait survive the end of the program: the next run encodes them first, in their order.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_encoded_by_the_next_run() {
    for resume in ["false", "true"] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        if resume == "true" {
            record(&config(SMALL, &root, &[]), simulated(), backend::standard()).await;
        }
        let before = if resume == "true" { 2 } else { 0 };
        let (gate, open) = gated();
        let first = overrides(&[&[DEFERRED, ASYNC, ("dataset.num_episodes", "2"), ("dataset.resume", resume)]]);
        let (running, status) = start(&config(SMALL, &root, &first), simulated(), open).await;
        until(&status, "both are recorded", |s| s.waiting == 2).await;
        at_gate(&gate, 2).await;
        // Encoders that are stuck do not hold up the end for long.
        running.controls().abort();
        assert!(matches!(running.wait().await, Err(RunError::Failed(_))));
        gate.open();
        assert_eq!(waiting(&root), 2);

        // Streaming or not: what waits is finished, and comes before what is recorded now.
        for (mode, after) in [(&[][..], before + 3), (&[DEFERRED], before + 4)] {
            let resume = if after == 3 { "false" } else { "true" };
            let second = overrides(&[mode, &[("dataset.num_episodes", "1"), ("dataset.resume", resume)]]);
            let status = record(&config(SMALL, &root, &second), simulated(), backend::standard()).await;
            assert_eq!((status.saved, status.failed), (if after == before + 3 { 3 } else { 1 }, 0));
            assert_eq!(summaries(&root).len(), after);
            assert!(!root.join(".partial").exists());
            check(&root);
            every_frame_is_shown(&root, after, 160, 120);
        }
    }
}

/// `recorder regenerate` makes episodes of what waits, in a new data set and in one that has some.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_encoded_by_regenerate() {
    for (before, codec) in [(0, "h264"), (2, "h264"), (0, "copy")] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        if before > 0 {
            record(&config(SMALL, &root, &[]), simulated(), backend::standard()).await;
        }
        let (gate, open) = gated();
        let resume = if before > 0 { "true" } else { "false" };
        let overrides = [
            DEFERRED,
            ASYNC,
            ("dataset.num_episodes", "2"),
            ("dataset.resume", resume),
            ("dataset.encoder.codec", codec),
        ];
        let (running, status) = start(&config(SMALL, &root, &overrides), simulated(), open).await;
        until(&status, "both are recorded", |s| s.waiting == 2).await;
        running.controls().abort();
        assert!(running.wait().await.is_err());
        gate.open();
        assert_eq!(waiting(&root), 2);
        let regenerate = |more: &[&str]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_recorder"));
            let output = command
                .arg("regenerate")
                .arg(&root)
                .args(["--json", "--cpu", "--codec", codec])
                .args(more)
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{words}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        };
        assert_eq!(regenerate(&["--dry-run"])["added"], 0);
        assert_eq!(waiting(&root), 2);
        let summary = regenerate(&[]);
        assert_eq!((&summary["added"], &summary["failed"]), (&2.into(), &0.into()));
        assert_eq!(summaries(&root).len(), before + 2);
        assert!(!root.join(".partial").exists());
        check(&root);
        every_frame_is_shown(&root, before + 2, 160, 120);
        assert_eq!(regenerate(&[])["added"], 0, "there is nothing left to do");
    }
}

/// Folders of takes that wait.
fn waiting(root: &Path) -> usize {
    let takes = std::fs::read_dir(root.join(".partial")).unwrap();
    takes.filter(|take| take.as_ref().unwrap().path().join("waiting.json").exists()).count()
}

/// A take that is discarded leaves nothing behind, whatever was kept of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_take_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let more = [("dataset.episode_time_s", "900"), ("dataset.num_episodes", "1"), ("dataset.reset_time_s", "0")];
    let (running, status) =
        start(&config(SMALL, &root, &overrides(&[&REAL, &[DEFERRED], &more])), real(), backend::standard()).await;
    until(&status, "something is recorded", |s| s.cameras.iter().all(|c| c.captured > 5)).await;
    running.key(recorder::episode::Key::Rerecord);
    until(&status, "it is discarded", |s| s.discarded == 1).await;
    // A key before the first row means nothing.
    let mut changes = status.subscribe();
    while changes.wait_for(|_| true).await.unwrap().saved == 0 {
        running.key(recorder::episode::Key::Next);
        changes.changed().await.unwrap();
    }
    running.wait().await.unwrap();
    check(&root);
    assert_eq!(summaries(&root).len(), 1);
    every_frame_is_shown(&root, 1, 160, 120);
    assert!(!root.join(".partial").exists());
}
