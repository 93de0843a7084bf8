//! Whole runs from frames to data sets, in simulated time.

mod run_support;

use recorder::account::CameraAccount;
use recorder::clock::tick_ns;
use recorder::codec::backend;
use recorder::episode::Key;
use recorder::frame::DropReason;
use run_support::*;

/// A clip of textured pictures as concatenated JPEGs.
fn clip(path: &std::path::Path, pictures: usize) {
    use turbojpeg::{Image, PixelFormat, Subsamp};
    let (width, height) = (160, 120);
    let mut bytes = Vec::new();
    for k in 0..pictures {
        let pixels: Vec<u8> = (0..width * height * 3)
            .map(|i| (i / 3 % width * 2 + i / (3 * width) + 7 * k + 40 * (i % 3)) as u8)
            .collect();
        let image = Image { pixels: &pixels[..], width, pitch: width * 3, height, format: PixelFormat::RGB };
        bytes.extend_from_slice(&turbojpeg::compress(image, 85, Subsamp::Sub2x1).unwrap());
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_clip_twice_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clip.mjpeg");
    clip(&file, 37);
    let path = file.display().to_string();
    let mut trees = Vec::new();
    for (run, codec) in [("a", "h264"), ("b", "h264"), ("c", "copy"), ("d", "copy")] {
        let root = dir.path().join(run);
        let overrides = [
            ("robot.cameras.front.type", "file"),
            ("robot.cameras.front.index_or_path", &path),
            ("robot.cameras.wrist.type", "file"),
            ("robot.cameras.wrist.index_or_path", &path),
            ("robot.cameras.wrist.fps", "20"),
            ("dataset.encoder.codec", codec),
        ];
        let status = record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
        assert_eq!(status.saved, 2);
        trees.push(tree(&root));
    }
    assert_eq!(trees[0].len(), 15, "{:?}", trees[0].iter().map(|(path, _)| path).collect::<Vec<_>>());
    for pair in trees.chunks(2) {
        for ((path, a), (_, b)) in pair[0].iter().zip(&pair[1]) {
            assert!(a == b, "{} differs", path.display());
        }
        assert_eq!(pair[0].len(), pair[1].len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_holds_the_newest_frame_of_its_tick() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    // Slower, faster and equal to the grid's 30.
    let overrides = [
        ("robot.cameras.front.fps", "50"),
        ("robot.cameras.wrist.fps", "20"),
        ("robot.cameras.side.type", "synthetic"),
        ("robot.cameras.side.width", "160"),
        ("robot.cameras.side.height", "120"),
        ("robot.cameras.side.realtime", "false"),
    ];
    record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
    check(&root);
    let summaries = summaries(&root);
    assert_eq!(summaries.len(), 2);
    for (episode, summary) in summaries.iter().enumerate() {
        let rows = Rows::read(&root, episode);
        assert_eq!(rows.len(), 45);
        let ticks = rows.ints("tick/mono_ns");
        for (camera, fps) in [("front", 50), ("wrist", 20), ("side", 30)] {
            let column = |name: &str| rows.ints(&format!("observation.images.{camera}/{name}"));
            let (captured, sequence) = (column("captured_mono_ns"), column("sequence"));
            let repeated = rows.flags(&format!("observation.images.{camera}/repeated"));
            // The camera's own timetable: picture n is due at its start plus n periods, its start being that of the run.
            for k in 0..rows.len() {
                let n = sequence[k] as u64;
                let start = captured[k] - tick_ns(n, fps) as i64;
                assert_eq!(start, 1_000_000_000, "{camera} row {k}");
                assert!(captured[k] <= ticks[k], "{camera} row {k} shows a frame from after its tick");
                assert!(start + tick_ns(n + 1, fps) as i64 > ticks[k], "{camera} row {k}: a newer frame was there");
                assert_eq!(repeated[k], k > 0 && sequence[k] == sequence[k - 1], "{camera} row {k}");
            }
            // What is burnt into the decoded pictures is what the table says.
            let seen: Vec<i64> =
                burnt_in(&root, camera, episode, 160, 120).into_iter().map(|n| n.map_or(-1, i64::from)).collect();
            assert_eq!(seen, sequence, "{camera} episode {episode}");
            // Every picture from the first to the last row's is accounted for.
            let counters = &summary.cameras[camera].counters;
            assert_eq!(counters.captured as i64, sequence[rows.len() - 1] - sequence[0] + 1, "{camera}: {counters:?}");
            assert_eq!(counters.sequence_gaps, 0);
        }
        let dropped = |camera: &str| summary.cameras[camera].counters.dropped.clone();
        assert!(dropped("front").keys().eq([&DropReason::Superseded]), "{:?}", dropped("front"));
        assert!(dropped("wrist").is_empty(), "{:?}", dropped("wrist"));
        assert!(dropped("side").is_empty(), "{:?}", dropped("side"));
        assert_eq!(summary.cameras["side"].counters.repeated, 0);
        for flag in ["arm/state_reused", "arm/action_reused"] {
            assert_eq!(rows.flags(flag).iter().filter(|f| **f).count(), 0, "{flag}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_picture_is_dropped_and_counted_and_the_one_before_stands_in() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good.mjpeg"), dir.path().join("bad.mjpeg"));
    clip(&good, 10);
    let mut bytes = std::fs::read(&good).unwrap();
    // Damage in the entropy-coded data of the third picture: a well-formed file that does not decode.
    let starts: Vec<usize> = (0..bytes.len() - 2).filter(|i| bytes[*i..*i + 3] == [0xFF, 0xD8, 0xFF]).collect();
    let scan = starts[2] + bytes[starts[2]..].windows(2).position(|w| w == [0xFF, 0xDA]).unwrap();
    for byte in &mut bytes[scan + 40..scan + 90] {
        *byte = 0x00;
    }
    std::fs::write(&bad, &bytes).unwrap();
    let root = dir.path().join("set");
    let path = bad.display().to_string();
    let overrides = [
        ("robot.cameras.front.type", "file"),
        ("robot.cameras.front.index_or_path", path.as_str()),
        ("robot.cameras.wrist.type", "file"),
        ("robot.cameras.wrist.index_or_path", path.as_str()),
        // Slower than the grid: a broken picture stands in two rows, and is dropped once.
        ("robot.cameras.wrist.fps", "20"),
        ("dataset.num_episodes", "1"),
    ];
    record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
    check(&root);
    let summary = &summaries(&root)[0];
    let rows = Rows::read(&root, 0);
    for camera in ["front", "wrist"] {
        let counters = &summary.cameras[camera].counters;
        let mut shown = rows.ints(&format!("observation.images.{camera}/sequence"));
        let words = rows.words(&format!("observation.images.{camera}/substituted"));
        for (sequence, word) in shown.iter().zip(&words) {
            assert_eq!(word.as_deref(), (sequence % 10 == 2).then_some("corrupt"), "{camera} {sequence}");
        }
        shown.dedup();
        let broken = shown.iter().filter(|sequence| *sequence % 10 == 2).count() as u64;
        assert_eq!(
            (counters.captured, counters.dropped[&DropReason::Corrupt]),
            (shown.len() as u64, broken),
            "{counters:?}"
        );
        assert!(broken >= 3, "{counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_can_end_discard_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [
        ("dataset.episode_time_s", "900"),
        ("dataset.num_episodes", "5"),
        ("robot.cameras.front.realtime", "true"),
        ("robot.cameras.wrist.realtime", "true"),
        ("dataset.reset_time_s", "0"),
    ];
    let (running, status) = start(&config(SMALL, &root, &overrides), real(), backend::standard()).await;
    let recording = |s: &recorder::status::Status| s.phase == recorder::status::Phase::Recording && s.elapsed_s > 0.3;
    until(&status, "the first take has rows", recording).await;
    running.key(Key::Rerecord);
    until(&status, "the take is discarded", |s| s.discarded == 1).await;
    until(&status, "the second take has rows", recording).await;
    running.key(Key::Next);
    until(&status, "the take is saved", |s| s.saved == 1).await;
    until(&status, "the third take has rows", recording).await;
    running.key(Key::Stop);
    running.wait().await.unwrap();
    let last = status.borrow().clone();
    assert_eq!((last.saved, last.discarded, last.failed, last.dataset_episodes), (2, 1, 0, 2));
    check(&root);
    assert_eq!(summaries(&root).iter().map(|s| s.take).collect::<Vec<_>>(), [1, 2]);
    assert!(!root.join(".partial").exists(), "a discarded take leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_with_the_data_set_of_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    record(&config(SMALL, &root, &[]), simulated(), backend::standard()).await;
    let again = [("dataset.resume", "true"), ("dataset.single_task", "Another task"), ("dataset.num_episodes", "1")];
    let status = record(&config(SMALL, &root, &again), simulated(), backend::standard()).await;
    assert_eq!((status.saved, status.dataset_episodes), (1, 3));
    check(&root);
    assert_eq!(summaries(&root).iter().map(|s| s.task.as_str()).collect::<Vec<_>>()[2], "Another task");
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_alone_and_an_arm_alone_record_too() {
    let dir = tempfile::tempdir().unwrap();
    let cameras = dir.path().join("cameras");
    let overrides = [("robot.type", "none"), ("teleop.type", "none"), ("dataset.num_episodes", "1")];
    record(&config(SMALL, &cameras, &overrides), simulated(), backend::standard()).await;
    check(&cameras);
    assert_eq!(summaries(&cameras)[0].length, 45);

    let arm = dir.path().join("arm");
    let overrides = [("robot.cameras", "{}"), ("dataset.num_episodes", "1"), ("dataset.episode_time_s", "1")];
    record(&config(SMALL, &arm, &overrides), real(), backend::standard()).await;
    check(&arm);
    assert_eq!(summaries(&arm)[0].length, 30);
}

/// Fragments are a second at most, so a GOP may go on in the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_gop_may_be_longer_than_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let overrides = [("dataset.fps", "5"), ("dataset.encoder.gop", "15"), ("dataset.episode_time_s", "8")];
    let status = record(&config(SMALL, &root, &overrides), simulated(), backend::standard()).await;
    assert_eq!((status.saved, status.failed), (2, 0));
    check(&root);
    every_frame_is_shown(&root, 2, 160, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_time_stops_when_all_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let status = record(&config(SMALL, &dir.path().join("set"), &[]), simulated(), backend::standard()).await;
    // Within a period a frame shows that the last row is complete. Cameras and ticks that went on would take minutes of
    // their time, and the CPU, while the last take is encoded.
    let period_s = tick_ns(1, 30) as f64 / 1e9;
    assert!(status.last_save_s.is_some_and(|seconds| seconds <= period_s), "{:?}", status.last_save_s);
}

/// Invariant 7, as the account's rule: whatever happens to a frame, it is counted once.
#[test]
fn the_account_balances() {
    let mut account = CameraAccount::default();
    account.add(false, &[DropReason::Late]);
    account.add(true, &[]);
    assert_eq!(account.captured(), account.written + account.dropped_total());
}
