//! Whole data sets: what LeRobot would load, and when it must not get to see anything.

mod dataset_support;

use dataset_support::{
    Codec, External, check, counters, encode, external, fill, h264, lerobot_sample, record, row, run, spec, tree,
};
use openh264::encoder::Profile;
use recorder::codec::Fragment;
use recorder::config::{self, Override};
use recorder::dataset::{Dataset, DatasetError, EpisodeCounters, Row};
use recorder::run::dataset_spec;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Two episodes of two cameras, checked after each.
fn two_episodes(root: &Path, codec: Codec) {
    two_episodes_of(root, codec, &encode(codec, 0, 30));
}

fn two_episodes_of(root: &Path, codec: Codec, video: &[Fragment]) {
    let spec = spec(codec);
    let mut dataset = Dataset::create(root, spec.clone()).unwrap();
    assert_eq!(record(&mut dataset, &spec, 0, "Pick up the cube", video), 0);
    assert_eq!(check(root), "60 frames, 1 episodes, 0 bad");
    assert_eq!(record(&mut dataset, &spec, 1, "Put it down", &video[..2]), 1);
    assert_eq!((dataset.episodes(), dataset.frames()), (2, 50));
}

#[test]
fn data_sets_of_every_codec_are_complete() {
    for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Mjpeg] {
        let root = tempfile::tempdir().unwrap();
        two_episodes(root.path(), codec);
        assert_eq!(check(root.path()), "100 frames, 2 episodes, 0 bad");
        assert!(!root.path().join(".partial").exists(), "nothing is left of the takes");
    }
}

#[test]
fn codecs_have_lerobots_names() {
    for (codec, name, pix_fmt, preset) in [
        ("h264", "h264", "yuv420p", None),
        ("hevc", "hevc", "yuv420p", Some("slow")),
        ("av1", "av1", "yuv420p", Some("slow")),
        ("copy", "mjpeg", "yuvj422p", None),
    ] {
        let gpu = if preset.is_some() { "true" } else { "false" };
        let keys = [("encoder.codec", codec), ("encoder.preset", "slow"), ("gpu_video_encoding", gpu)];
        let overrides = keys.map(|(key, value)| Override { key: format!("dataset.{key}"), value: value.into() });
        let config = config::parse("demo.toml", include_str!("../examples/demo.toml"), &overrides).unwrap();
        let video = &dataset_spec(&config).cameras[0].video;
        assert_eq!((video.codec.as_str(), video.pix_fmt.as_str(), video.preset.as_deref()), (name, pix_fmt, preset));
    }
}

#[test]
fn adding_to_a_data_set_that_lerobot_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    lerobot_sample(&root);
    let before = tree(&root);
    let spec = spec(Codec::H264);
    let outlook = Dataset::check(&root, &spec, true).unwrap();
    assert_eq!((outlook.episodes, outlook.frames), (2, 60));
    assert_eq!(tree(&root), before, "a check touches nothing");
    let video = encode(Codec::H264, 0, 30);
    for take in 0..2 {
        let mut dataset = Dataset::resume(&root, spec.clone()).unwrap();
        let task = ["Pick up the red cube", "Another task"][take as usize];
        assert_eq!(record(&mut dataset, &spec, take, task, &video), 2 + take);
    }
    assert_eq!(check(&root), "240 frames, 4 episodes, 0 bad");
    for path in ["data/chunk-000/file-001.parquet", "meta/episodes/chunk-000/file-002.parquet"] {
        assert!(root.join(path).exists(), "{path}: new files follow the last one there");
    }
    let is_meta = |path: &Path| path.starts_with("meta") && !path.starts_with("meta/episodes");
    let after = tree(&root);
    for old in before.iter().filter(|(path, _)| !is_meta(path)) {
        assert!(after.contains(old), "{} has changed", old.0.display());
    }
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    roots.iter().for_each(|root| two_episodes(root.path(), Codec::H264));
    let [a, b] = roots.map(|root| tree(root.path()));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert!(a == b, "{} differs", a.0.display());
    }
}

#[test]
fn a_resumed_run_gives_the_same_bytes_as_one_run() {
    let (once, twice) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    two_episodes(once.path(), Codec::Mjpeg);
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 30));
    let mut dataset = Dataset::create(twice.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "Pick up the cube", &video);
    drop(dataset);
    let mut dataset = Dataset::resume(twice.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 1, "Put it down", &video[..2]);
    drop(dataset);
    assert!(tree(once.path()) == tree(twice.path()));
}

#[test]
fn the_next_take_is_recorded_while_the_last_one_is_saved() {
    let root = tempfile::tempdir().unwrap();
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let mut first = dataset.begin(7, "a").unwrap();
    let mut second = dataset.begin(8, "a").unwrap();
    let third = dataset.begin(9, "a").unwrap();
    fill(&mut second, &spec, &video[..1], 10);
    fill(&mut first, &spec, &video, 20);
    third.discard().unwrap();
    let saved = dataset.commit(first, "a", &counters(&spec, 20)).unwrap();
    assert_eq!((saved.episode_index, saved.frames, saved.summary.take), (0, 20, 7));
    assert_eq!(dataset.commit(second, "a", &counters(&spec, 10)).unwrap().episode_index, 1);
    drop(dataset);
    assert_eq!(check(root.path()), "60 frames, 2 episodes, 0 bad");
    assert!(!root.path().join(".partial").exists());
}

#[test]
fn what_lerobot_has_no_place_for_lies_beside_the_data() {
    let root = tempfile::tempdir().unwrap();
    let (spec, mut video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 10));
    video[0].substituted.push((4, recorder::frame::DropReason::Corrupt));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 3, "a", &video);
    let summary = fs::read(root.path().join("recorder/episodes/chunk-000/file-000.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!((&summary["take"], &summary["length"]), (&3.into(), &10.into()));
    let front = &summary["cameras"]["front"];
    assert_eq!((&front["captured"], &front["dropped"]["superseded"]), (&12.into(), &2.into()));
    assert_eq!(
        (&front["skew_ns"]["max"], &summary["cameras"]["wrist"]["skew_ns"]["p50"]),
        (&5_000_000.into(), &0.into())
    );
    assert_eq!(summary["arm_errors"]["timeout"], 1);
    let script = r#"
import sys, pyarrow.parquet as pq
rows = pq.read_table(sys.argv[1]).to_pylist()
key = "observation.images.wrist"
assert len(rows) == 10 and [r["frame_index"] for r in rows] == list(range(10))
assert rows[1]["tick/mono_ns"] == 1033333333 and rows[1]["tick/utc_ns"] == 1700000001033333333
assert rows[1][key + "/captured_mono_ns"] == 1033333333 - 10000000 and rows[1][key + "/sequence"] == 1
assert [r[key + "/substituted"] for r in rows] == [None] * 4 + ["corrupt"] + [None] * 5
assert rows[0]["arm/goal_sent"] is None and len(rows[1]["arm/goal_sent"]) == 6
assert [r["arm/state_reused"] for r in rows].index(True) == 3 and [r["arm/action_reused"] for r in rows].index(True) == 5
assert rows[1]["tick/late_ns"] == 1000 and rows[6][key + "/late"]
"#;
    let path = root.path().join("recorder/rows/chunk-000/file-000.parquet");
    let (ok, output) = run(Command::new(dataset_support::python()).args(["-c", script]).arg(path));
    assert!(ok, "{output}");
}

#[test]
fn a_take_whose_videos_and_rows_disagree_is_not_saved() {
    let root = tempfile::tempdir().unwrap();
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let mut take = dataset.begin(0, "a").unwrap();
    fill(&mut take, &spec, &video, 20);
    take.push_row(row(&spec, 20)).unwrap();
    let error = dataset.commit(take, "a", &EpisodeCounters::default()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("camera front: expected 21 video frames, one for each row, found 20"), "{message}");
    assert!(!root.path().join("meta").exists(), "nothing of it is seen");
    let take = dataset.begin(1, "a").unwrap();
    assert!(matches!(dataset.commit(take, "a", &EpisodeCounters::default()), Err(DatasetError::Take { .. })));
    drop(dataset);

    let message = Dataset::create(root.path(), spec.clone()).unwrap_err().to_string();
    for part in [
        "with 1 episodes is here already",
        "its 20 rows (0.7 s) become episode 0; rows 20 to 20 (0.0 s) are lost: the video of observation.images.front had",
        "take 1 was interrupted: it is removed",
        "set dataset.resume = true",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let mut dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "a", &video);
    assert_eq!(check(root.path()), "80 frames, 2 episodes, 0 bad");
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let mut take = dataset.begin(0, "a").unwrap();
    let good = row(&spec, 0);
    let wrong = |change: fn(&mut Row)| {
        let mut row = good.clone();
        change(&mut row);
        row
    };
    for (row, expected) in [
        (wrong(|row| row.state.truncate(5)), "row 0, observation.state: expected 6 values, found 5"),
        (wrong(|row| row.action[2] = f32::NAN), "row 0, action: expected finite values, found NaN"),
        (wrong(|row| row.cameras.truncate(1)), "row 0, cameras: expected 2 cameras, found 1"),
    ] {
        let message = take.push_row(row).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    for _ in 0..30_000 {
        take.push_row(good.clone()).unwrap();
    }
    let message = take.push_row(good).unwrap_err().to_string();
    assert!(message.contains("at most 30000 rows (1000 s)"), "{message}");
    assert!(take.push_fragment(2, &encode(Codec::Mjpeg, 0, 1)[0]).is_err());
    take.finish_video(0).unwrap();
    let message = take.push_fragment(0, &encode(Codec::Mjpeg, 0, 1)[0]).unwrap_err().to_string();
    assert!(message.contains("found one that is finished"), "{message}");
    take.discard().unwrap();
}

/// The real LeRobot, for `make test-lerobot`: RECORDER_LEROBOT_CHECK is a command that is given a data set's root.
#[test]
#[ignore = "needs the real LeRobot: set RECORDER_LEROBOT_CHECK to its checker's command"]
fn the_real_lerobot_loads_every_frame() {
    let command = std::env::var("RECORDER_LEROBOT_CHECK").expect("RECORDER_LEROBOT_CHECK names no command");
    let mut words = command.split_whitespace();
    let program = words.next().expect("RECORDER_LEROBOT_CHECK is empty");
    let arguments: Vec<&str> = words.collect();
    let dir = tempfile::tempdir().unwrap();
    let mut roots = Vec::new();
    for codec in [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Mjpeg] {
        roots.push(dir.path().join(format!("{codec:?}")));
        two_episodes(&roots[roots.len() - 1], codec);
    }
    // The encoder changes in mid-episode.
    let [switched, resumed] = ["switched", "resumed"].map(|name| dir.path().join(name));
    let video = external(External::X264, 0, 20).into_iter().chain(h264(20, 10, Profile::Baseline));
    two_episodes_of(&switched, Codec::H264, &video.collect::<Vec<_>>());
    lerobot_sample(&resumed);
    let spec = spec(Codec::H264);
    let mut dataset = Dataset::resume(&resumed, spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "Another task", &encode(Codec::H264, 0, 30));
    drop(dataset);
    for root in roots.into_iter().chain([switched, resumed]) {
        let (ok, output) = run(Command::new(program).args(&arguments).arg(&root).arg("--resume"));
        println!("{}: {}", root.display(), output.lines().last().unwrap_or_default());
        assert!(ok && output.contains(" 0 bad"), "{}:\n{output}", root.display());
    }
}
