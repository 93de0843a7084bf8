//! `teleop.type = "replay"`: collection without a person. The simulated arm, in simulated time.

mod outages;
mod program;
mod run_support;

use arrow_array::{Array, FixedSizeListArray, Float32Array};
use outages::Outages;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use program::Lab;
use recorder::arm::replay::Replay;
use recorder::arm::{ArmError, Reading, Robot, open_robot, so101};
use recorder::clock::Clock;
use recorder::config::Config;
use recorder::devices::Devices;
use run_support::*;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A column of vectors of an episode.
fn vectors(root: &Path, episode: usize, column: &str) -> Vec<Vec<f32>> {
    let file = std::fs::File::open(root.join(format!("data/chunk-000/file-{episode:03}.parquet"))).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let column = batch.column_by_name(column).unwrap().as_any().downcast_ref::<FixedSizeListArray>().unwrap();
    let values = |k| column.value(k).as_any().downcast_ref::<Float32Array>().unwrap().values().to_vec();
    (0..column.len()).map(values).collect()
}

/// Every goal that is really sent, and when.
type Sent = Arc<Mutex<Vec<(u64, Vec<f32>)>>>;

struct Overheard {
    inner: Box<dyn Robot>,
    clock: Arc<dyn Clock>,
    sent: Sent,
}

impl Robot for Overheard {
    fn features(&self) -> Vec<String> {
        self.inner.features()
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        self.inner.observe(deadline)
    }

    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        let sent = self.inner.send(action, deadline)?;
        self.sent.lock().unwrap().push((self.clock.now().mono_ns, sent.clone()));
        Ok(sent)
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.inner.shutdown()
    }
}

/// A whole run of a replay; every goal that was sent.
async fn replay(config: &Arc<Config>) -> Vec<(u64, Vec<f32>)> {
    let sent = Sent::default();
    let for_robot = sent.clone();
    let devices = Devices {
        robot: Arc::new(move |config, clock| {
            let (sent, clock_too) = (for_robot.clone(), clock.clone());
            let overheard = move |inner| Box::new(Overheard { inner, clock: clock_too, sent }) as Box<dyn Robot>;
            Ok(open_robot(config, clock)?.map(overheard))
        }),
        ..Devices::default()
    };
    let (running, _) = start_on(config, simulated(), devices).await;
    running.wait().await.unwrap();
    std::mem::take(&mut sent.lock().unwrap())
}

/// The fastest motion of every joint between two goals, in units a second.
fn speeds(sent: &[(u64, Vec<f32>)]) -> Vec<f64> {
    let mut fastest = vec![0.0f64; 6];
    for pair in sent.windows(2) {
        let seconds = (pair[1].0 - pair[0].0) as f64 / 1e9;
        for ((a, b), fastest) in pair[0].1.iter().zip(&pair[1].1).zip(&mut fastest) {
            *fastest = fastest.max((f64::from(*b) - f64::from(*a)).abs() / seconds);
        }
    }
    fastest
}

const REPLAY: [(&str, &str); 1] = [("teleop.type", "replay")];

/// A set-up that replays `path`.
fn replaying(root: &Path, path: &Path, overrides: &[(&str, &str)]) -> Arc<Config> {
    let path = path.display().to_string();
    let overrides = [&REPLAY[..], &[("teleop.path", path.as_str())], overrides].concat();
    config(SMALL, root, &overrides)
}

/// A file of poses: 30 a second, from the robot's middle to `reach` degrees in the first joint, in equal steps.
fn table(dir: &Path, poses: usize, reach: f64) -> std::path::PathBuf {
    let mut text = so101::features().join(",") + "\n";
    for k in 0..poses {
        let pan = 10.0 + (reach - 10.0) * k as f64 / (poses - 1) as f64;
        text += &format!("{pan},-20,15,5,0,50\n");
    }
    let path = dir.join("motion.csv");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_episode_of_ours_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let (original, root) = (dir.path().join("original"), dir.path().join("set"));
    record(&config(SMALL, &original, &[]), simulated(), recorder::codec::backend::standard()).await;
    let led = vectors(&original, 1, "action");
    let sent = replay(&replaying(&root, &original, &[("teleop.episode", "1"), ("dataset.num_episodes", "3")])).await;
    check(&root);
    // One encoder step in degrees; the gripper's range of 1490 steps is 100.
    let step = |joint: usize| if joint == 5 { 100.0 / 1490.0 } else { 360.0 / 4095.0 } * 1.000_1;
    let states: Vec<_> = (0..3).map(|episode| vectors(&root, episode, "observation.state")).collect();
    for episode in 0..3 {
        assert_eq!(vectors(&root, episode, "action"), led, "episode {episode}");
        let rows = Rows::read(&root, episode);
        assert!(rows.flags("arm/action_reused").iter().all(|reused| !reused));
        for (row, (state, first)) in states[episode].iter().zip(&states[0]).enumerate() {
            let near = |joint: usize| (state[joint] - first[joint]).abs() <= step(joint);
            assert!((0..6).all(near), "episode {episode}, row {row}: {state:?}, first {first:?}");
        }
        // The arm goes where it is told, a tick later.
        for (row, (state, goal)) in states[episode][1..].iter().zip(&led).enumerate() {
            let near = |joint: usize| (state[joint] - goal[joint]).abs() <= step(joint);
            assert!((0..6).all(near), "episode {episode}, row {row}: {state:?}, told {goal:?}");
        }
    }
    assert!(speeds(&sent).iter().all(|speed| *speed <= 180.1), "{:?}", speeds(&sent));
}

/// Nothing is ever faster than allowed, joint by joint: not the way to the first pose, not the motion itself.
#[tokio::test(flavor = "multi_thread")]
async fn no_joint_is_faster_than_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let motion = table(dir.path(), 31, 70.0);
    let by_motor =
        "{shoulder_pan = 40, shoulder_lift = 5, elbow_flex = 30, wrist_flex = 30, wrist_roll = 30, gripper = 8}";
    for (limits, expected) in [("20", [20.0; 6]), (by_motor, [40.0, 5.0, 30.0, 30.0, 30.0, 8.0])] {
        let root = tempfile::tempdir().unwrap().path().join("set");
        let config = replaying(&root, &motion, &[("teleop.max_speed", limits), ("teleop.ramp_s", "0")]);
        let warnings = Replay::load(&config).unwrap().warnings(&config);
        assert!(warnings[0].contains("30 of 31 steps are faster than teleop.max_speed"), "{warnings:?}");
        let sent = replay(&config).await;
        let found = speeds(&sent);
        for (joint, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(*found <= expected * 1.001, "{limits}, joint {joint}: {found}");
        }
        assert!(found[0] > expected[0] * 0.99, "the limit is reached: {found:?}");
        // What is recorded is what was given: behind the motion, the same in each episode.
        let given = vectors(&root, 0, "action");
        assert_eq!(given, vectors(&root, 1, "action"));
        let pan = |row: usize| f64::from(given[row][0]);
        assert!((pan(0) - 10.0).abs() < 1e-4 && (pan(30) - 10.0 - expected[0]).abs() < 1e-3, "{} {}", pan(0), pan(30));
    }
}

/// However short the reset, a take begins when the arm is where the motion begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_begins_when_the_arm_is_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let motion = table(dir.path(), 45, 55.0);
    for (reset, max_speed, ramp, pause) in
        [("0", "15", "0", 45.0 / 15.0 + 0.5), ("0.5", "100", "1.2", 1.7), ("4", "100", "1", 4.0)]
    {
        let root = tempfile::tempdir().unwrap().path().join("set");
        let overrides = [
            ("dataset.reset_time_s", reset),
            ("teleop.max_speed", max_speed),
            ("teleop.ramp_s", ramp),
            ("dataset.num_episodes", "3"),
            ("dataset.episode_time_s", "3.5"),
        ];
        let config = replaying(&root, &motion, &overrides);
        let late =
            Replay::load(&config).unwrap().warnings(&config).iter().any(|w| w.contains("dataset.reset_time_s is"));
        assert_eq!(late, reset != "4", "reset {reset}");
        replay(&config).await;
        check(&root);
        let summaries = summaries(&root);
        for pair in summaries.windows(2) {
            // 105 rows; the pause is between the last one and the first one.
            let paused = (pair[1].start_mono_ns - pair[0].start_mono_ns) as f64 / 1e9 - 3.5;
            assert!((paused - pause).abs() < 0.15, "reset {reset}: {paused} s, not {pause}");
        }
        for episode in 0..3 {
            let given = vectors(&root, episode, "action");
            assert!((given[0][0] - 10.0).abs() < 1e-4, "{:?}", given[0]);
            // After its end the last pose is held.
            assert!(given[100..].iter().all(|pose| (pose[0] - 55.0).abs() < 1e-4), "{:?}", given[104]);
            let state = vectors(&root, episode, "observation.state");
            assert!((state[0][0] - 10.0).abs() < 0.1, "the arm itself is there: {:?}", state[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_replay_twice_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let motion = table(dir.path(), 40, 60.0);
    let mut trees = Vec::new();
    for _ in 0..2 {
        let root = tempfile::tempdir().unwrap().path().join("set");
        replay(&replaying(&root, &motion, &[("dataset.encoder.codec", "copy")])).await;
        trees.push(tree(&root));
    }
    let differing: Vec<_> = trees[0].iter().zip(&trees[1]).filter(|(a, b)| a != b).map(|(a, _)| &a.0).collect();
    assert_eq!((trees[0].len(), differing), (trees[1].len(), vec![]));
}

/// An arm that was away begins where it is then: it moves to the first pose again, and records the take anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_arm_that_was_away_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let motion = table(dir.path(), 45, 55.0);
    for device in ["follower", "front"] {
        let root = tempfile::tempdir().unwrap().path().join("set");
        let overrides = [("robot.on_loss", "discard"), ("robot.cameras.front.on_loss", "discard")];
        let config = replaying(&root, &motion, &overrides);
        let outages = Outages::of(&[(device, &[(3.2, 3.4)])]);
        let (running, status) = start_on(&config, simulated(), outages.devices()).await;
        running.wait().await.unwrap();
        assert_eq!((status.borrow().saved, status.borrow().discarded), (2, 1), "{device}");
        check(&root);
        assert_eq!(vectors(&root, 0, "action"), vectors(&root, 1, "action"), "{device}");
        assert!((vectors(&root, 0, "action")[44][0] - 55.0).abs() < 1e-4);
    }
}

/// Other sources: another rate, time stamps, a data set without `action`.
#[tokio::test(flavor = "multi_thread")]
async fn motions_come_from_files_and_data_sets() {
    let dir = tempfile::tempdir().unwrap();
    let one = [("dataset.num_episodes", "1")];
    let pan = |root: &Path| vectors(root, 0, "action").iter().map(|pose| pose[0]).collect::<Vec<f32>>();
    let straight = |values: &[f32]| values.windows(2).all(|pair| (pair[1] - pair[0] - 1.0).abs() < 1e-3);
    // 16 poses at 15 a second are 31 rows at 30.
    let slow = table(dir.path(), 16, 40.0);
    let root = dir.path().join("slow");
    replay(&replaying(&root, &slow, &[&one[..], &[("teleop.fps", "15")]].concat())).await;
    let values = pan(&root);
    assert!(straight(&values[..31]) && values[30..].iter().all(|v| *v == 40.0), "{values:?}");
    // The same by time stamps, columns in another order.
    let timed = dir.path().join("timed.csv");
    std::fs::write(
        &timed,
        "gripper.pos,wrist_roll.pos,timestamp,shoulder_lift.pos,elbow_flex.pos,wrist_flex.pos,shoulder_pan.pos\n50,0,7.5,-20,15,5,10\n50,0,8.0,-20,15,5,25\n50,0,8.5,-20,15,5,40\n",
    )
    .unwrap();
    let root = dir.path().join("timed");
    replay(&replaying(&root, &timed, &one)).await;
    assert!(values.iter().zip(pan(&root)).all(|(a, b)| (a - b).abs() < 1e-4));
    // Without `action`, what the arm did is replayed.
    let info = root.join("meta/info.json");
    let mut described: serde_json::Value = serde_json::from_slice(&std::fs::read(&info).unwrap()).unwrap();
    described["features"].as_object_mut().unwrap().remove("action");
    std::fs::write(&info, described.to_string()).unwrap();
    let config = replaying(&dir.path().join("states"), &root, &[&one[..], &[("teleop.episode", "0")]].concat());
    assert!(Replay::load(&config).unwrap().describe().contains("observation.state of episode 0"));
    replay(&config).await;
    assert_eq!(vectors(&dir.path().join("states"), 0, "action"), vectors(&root, 0, "observation.state"));
}

/// Bad input: checking and recording refuse with the same words and exit code, before anything is written or moved.
#[test]
fn motions_that_cannot_be_replayed() {
    let lab = Lab::new();
    let fast = ["--robot.cameras.front.realtime=false", "--dataset.root=recorded"];
    assert_eq!(lab.record(&fast).code, Some(0));
    let header = so101::features().join(",");
    let good = "1,-20,15,5,0,50";
    let file = |name: &str, lines: &[&str]| lab.write(name, &(lines.join("\n") + "\n"));
    file("good.csv", &[&header, good]);
    file("nan.csv", &[&header, good, "1,-20,NaN,5,0,50"]);
    file("short.csv", &[&header, "1,2"]);
    file("foreign.csv", &[&format!("{header},elbow.vel"), "1,-20,15,5,0,50,0"]);
    file("lacks.csv", &["shoulder_pan.pos,gripper.pos", "1,2"]);
    file("empty.csv", &[&header]);
    file("range.csv", &[&header, good, "1,-20,15,5,0,150"]);
    file("back.csv", &[&format!("timestamp,{header}"), &format!("1,{good}"), &format!("0.5,{good}")]);
    file("long.csv", &[&format!("timestamp,{header}"), &format!("0,{good}"), &format!("1e6,{good}")]);
    std::fs::write(lab.path("bytes.csv"), [0xff, 0xfe, 0x00]).unwrap();
    let copy = |name: &str, change: fn(&mut serde_json::Value)| {
        std::process::Command::new("cp").arg("-r").arg(lab.path("recorded")).arg(lab.path(name)).status().unwrap();
        let info = lab.path(name).join("meta/info.json");
        let mut described = serde_json::from_slice(&std::fs::read(&info).unwrap()).unwrap();
        change(&mut described);
        std::fs::write(&info, described.to_string()).unwrap();
    };
    copy("rate", |info| info["fps"] = 0.into());
    copy("names", |info| info["features"]["action"]["names"][5] = "jaw.pos".into());
    copy("old", |info| info["codebase_version"] = "v2.1".into());
    copy("outside", |info| info["data_path"] = "../{chunk_index}-{file_index}.parquet".into());
    copy("rows", |_| {});
    std::fs::write(lab.path("rows/data/chunk-000/file-000.parquet"), "no parquet").unwrap();

    let (path, episode) = (|name: &str| format!("--teleop.path={name}"), "--teleop.episode=0".to_string());
    let mut cases: Vec<(i32, Vec<String>, &[&str])> = vec![
        (2, vec![], &["teleop.path: expected a data set's folder or a CSV file, found nothing"]),
        (2, vec![path("good.csv"), "--teleop.fps=0".into()], &["teleop.fps: expected 1 to 1000, found 0"]),
        (2, vec![path("good.csv"), "--teleop.max_speed=0".into()], &["teleop.max_speed: expected a number above 0"]),
        (2, vec![path("good.csv"), "--teleop.ramp_s=-1".into()], &["teleop.ramp_s: expected 0 to 600, found -1"]),
        (
            2,
            vec![path("good.csv"), "--robot.type=none".into()],
            &["robot.type: expected so101_follower where teleop.type = \"replay\""],
        ),
        (
            2,
            vec![path("good.csv"), "--teleop.max_speed={gripper = 5}".into()],
            &["teleop.max_speed: expected one number for each of shoulder_pan", "found gripper"],
        ),
        (3, vec![path("absent.csv")], &["teleop.path: absent.csv cannot be read", "No such file"]),
        (
            3,
            vec![path("good.csv"), episode.clone()],
            &["teleop.episode: expected nothing where teleop.path is a file, found 0"],
        ),
        (
            3,
            vec![path("nan.csv")],
            &["nan.csv:3: expected a finite number in column `elbow_flex.pos`, found `NaN`", "correct the file"],
        ),
        (3, vec![path("short.csv")], &["short.csv:2: expected 6 values", "found 2"]),
        (3, vec![path("foreign.csv")], &["foreign.csv:1: expected the robot's features", "foreign: elbow.vel"]),
        (3, vec![path("lacks.csv")], &["lacks.csv:1", "missing: shoulder_lift.pos, elbow_flex.pos"]),
        (3, vec![path("empty.csv")], &["empty.csv:2: expected a row of numbers for each pose, found none"]),
        (3, vec![path("bytes.csv")], &["bytes.csv: expected a CSV file in UTF-8"]),
        (3, vec![path("back.csv")], &["back.csv:3: expected a timestamp after 1, found 0.5"]),
        (3, vec![path("long.csv")], &["long.csv: expected at most 3600 s, found 1000000 s"]),
        (
            3,
            vec![path("range.csv")],
            &[
                "range.csv, pose 1, gripper.pos: expected 0.0 to 100.0, the robot's calibrated range, found 150",
                "robot.use_degrees",
            ],
        ),
        (
            3,
            vec![path("recorded")],
            &["teleop.episode: expected an episode of the data set in teleop.path, found nothing"],
        ),
        (
            3,
            vec![path("recorded"), "--teleop.episode=2".into()],
            &["recorded: expected an episode 2, found episodes 0 to 1"],
        ),
    ];
    for (name, words) in [
        ("rate", "info.json: expected 1 to 1000 rows a second in `fps`, found 0"),
        ("names", "missing: gripper.pos; foreign: jaw.pos"),
        ("old", "info.json: expected codebase_version \"v3.0\", found \"v2.1\""),
        ("outside", "which leads out of the data set"),
        ("rows", "file-000.parquet: expected a parquet file"),
        ("data", "data: expected a LeRobot v3.0 data set, found no meta/info.json"),
    ] {
        cases.push((3, vec![path(name), episode.clone()], Box::leak(Box::new([words]))));
    }
    std::fs::create_dir(lab.path("data")).unwrap();
    let before = lab.tree();
    for (code, overrides, words) in &cases {
        for command in [&["--config", "lab.toml"][..], &["check", "--config", "lab.toml"]] {
            let fixed = ["--teleop.type=replay"];
            let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
            let ended = lab.run(&[command, &fixed, &overrides].concat());
            assert_eq!(ended.code, Some(*code), "{command:?} {overrides:?}:\n{}", ended.text);
            for word in *words {
                assert!(ended.text.contains(word), "{command:?} {overrides:?}: `{word}` is not in:\n{}", ended.text);
            }
            assert!(!ended.text.contains("panicked"), "{}", ended.text);
            assert!(lab.tree() == before, "{command:?} {overrides:?} left something");
        }
    }
    let good = lab.run(&["check", "--config", "lab.toml", "--teleop.type=replay", "--teleop.path=good.csv"]);
    assert_eq!(good.code, Some(0), "{}", good.text);
    assert!(good.text.contains("ok     replay: good.csv, 1 poses in 0.0 s"), "{}", good.text);
}
