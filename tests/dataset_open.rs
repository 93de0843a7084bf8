//! Opening data sets: what is refused, with which words, and that a refusal touches nothing.

mod dataset_support;

use dataset_support::{Codec, encode, lerobot_sample, record, spec, tree};
use recorder::dataset::{Dataset, DatasetError, DatasetSpec};
use std::fs;
use std::path::Path;

/// Asserts that both the check and the real thing refuse, say the same, and leave everything as it was.
fn refused(root: &Path, spec: DatasetSpec, resume: bool, expected: &[&str]) {
    let before = tree(root);
    let message = Dataset::check(root, &spec, resume).unwrap_err().to_string();
    let open = if resume { Dataset::resume } else { Dataset::create };
    let again = open(root, spec).unwrap_err().to_string();
    assert_eq!(message, again);
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert!(tree(root) == before);
}

#[test]
fn a_folder_in_use_is_not_taken_for_a_new_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    lerobot_sample(&root);
    let spec = spec(Codec::H264);
    refused(&root, spec.clone(), false, &["a data set with 2 episodes is here already", "dataset.resume = true"]);

    let root = dir.path().join("photos");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("holiday.jpg"), "x").unwrap();
    refused(&root, spec.clone(), false, &["photos", "found `holiday.jpg`", "another dataset.root"]);
    refused(&root, spec.clone(), true, &["found no meta/info.json", "dataset.resume = false"]);
    assert_eq!(tree(&root).len(), 1);

    let root = dir.path().join("absent");
    assert_eq!(Dataset::check(&root, &spec, false).unwrap(), Default::default());
    assert!(Dataset::check(&root, &spec, true).is_err() && Dataset::resume(&root, spec).is_err());
    assert!(!root.exists());
}

#[test]
fn every_difference_is_named() {
    let dir = tempfile::tempdir().unwrap();
    lerobot_sample(dir.path());
    let same = spec(Codec::H264);
    let with = |change: fn(&mut DatasetSpec)| {
        let mut spec = same.clone();
        change(&mut spec);
        spec
    };
    for (spec, expected) in [
        (with(|s| s.fps = 25), vec!["fps (expected 25, found 30)"]),
        (with(|s| s.robot_type = None), vec!["robot_type (expected none, found \"so_follower\")"]),
        (
            with(|s| s.cameras.truncate(1)),
            vec!["features.observation.images.wrist (expected \"absent\", found \"present\")"],
        ),
        (
            with(|s| {
                s.cameras[1].width = 640;
                s.action_names.swap(0, 1);
            }),
            vec![
                "features.observation.images.wrist.shape (expected [240,640,3], found [240,320,3])",
                "features.action.names (expected [\"shoulder_lift.pos\"",
                "change the configuration to match, or choose another dataset.root",
            ],
        ),
    ] {
        refused(dir.path(), spec, true, &expected);
    }
    let swapped = with(|s| s.cameras.swap(0, 1));
    let mut dataset = Dataset::resume(dir.path(), swapped.clone()).unwrap();
    record(&mut dataset, &swapped, 0, "a", &encode(Codec::H264, 0, 10));
    drop(dataset);
    assert_eq!(
        dataset_support::check(dir.path()),
        "140 frames, 3 episodes, 0 bad",
        "the cameras' order is not a difference"
    );
}

#[test]
fn impossible_specifications_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let with = |change: fn(&mut DatasetSpec)| {
        let mut spec = spec(Codec::H264);
        change(&mut spec);
        Dataset::check(dir.path(), &spec, false).unwrap_err().to_string()
    };
    for (message, expected) in [
        (with(|s| s.fps = 0), "dataset.fps: expected 1 to 1000 frames a second, found 0"),
        (
            with(|s| s.cameras[0].key = "observation.images/front".into()),
            "robot.cameras.front: expected a name of letters",
        ),
        (with(|s| s.cameras[0].key = "..".into()), "robot.cameras.front: expected a name of letters"),
        (
            with(|s| s.cameras[1].key = s.cameras[0].key.clone()),
            "robot.cameras.wrist: expected one camera for each feature",
        ),
        (with(|s| s.cameras[1].height = 40_000), "expected 1 to 32767 pixels a side, found 320x40000"),
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    for error in [
        Dataset::create(root.path(), spec.clone()).unwrap_err(),
        Dataset::check(root.path(), &spec, false).unwrap_err(),
    ] {
        assert!(matches!(error, DatasetError::Locked { .. }), "{error}");
    }
    drop(dataset);
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "a", &encode(Codec::Mjpeg, 0, 10));
    assert!(matches!(Dataset::resume(root.path(), spec.clone()), Err(DatasetError::Locked { .. })));
    drop(dataset);
    Dataset::resume(root.path(), spec).unwrap();
}

#[test]
fn damaged_data_sets_are_refused_by_name() {
    for (file, damage, expected) in [
        // What a killed LeRobot leaves behind: info.json counts an episode that no table holds.
        (
            "meta/info.json",
            "\"total_episodes\": 3",
            "expected 3 episodes and 60 rows, as info.json says, found 2 episodes",
        ),
        ("meta/info.json", "{", "meta/info.json: expected LeRobot's description of a v3.0 data set"),
        (
            "meta/stats.json",
            "{}",
            "meta/stats.json: expected statistics of every feature, found no `count` in `action`",
        ),
        ("meta/tasks.parquet", "PAR1", "meta/tasks.parquet: expected a table of `task_index`"),
        ("meta/episodes/chunk-000/file-000.parquet", "PAR1", "file-000.parquet: expected a table of episodes"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        lerobot_sample(dir.path());
        let path = dir.path().join(file);
        if damage.contains("total") {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("\"total_episodes\": 2", damage)).unwrap();
        } else {
            fs::write(&path, damage).unwrap();
        }
        refused(dir.path(), spec(Codec::H264), true, &[expected]);
    }
}

#[test]
fn a_run_without_an_episode_leaves_room_for_the_next() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    dataset.begin(0, "a").unwrap().discard().unwrap();
    let unfinished = dataset.begin(1, "a").unwrap();
    let message = dataset.begin(1, "a").unwrap_err().to_string();
    assert!(message.contains("take 1: expected a number that no other take has"), "{message}");
    drop((unfinished, dataset));
    let outlook = Dataset::check(root.path(), &spec, false).unwrap();
    let dataset = Dataset::create(root.path(), spec).unwrap();
    assert_eq!(&outlook.recovery, dataset.recovery());
    assert_eq!(
        dataset.recovery().describe(),
        ["take 1 was interrupted: it is removed, since no row has the frames of all cameras"]
    );
    assert!(!dataset.recovery().has_lost(), "there was nothing in it");
}
