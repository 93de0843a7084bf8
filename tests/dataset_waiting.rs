//! Takes that wait to be encoded: they survive the end of the program at any moment, and become episodes in their order.

mod dataset_support;

use dataset_support::{Codec, check, counters, encode, record, row, spec, tree};
use recorder::account::{CameraAccount, TakeReport};
use recorder::budget::Budget;
use recorder::clock::Stamp;
use recorder::codec::Fragment;
use recorder::codec::view::View;
use recorder::dataset::{Dataset, DatasetError, DatasetSpec, EpisodeWriter, WaitingTake};
use recorder::frame::{DropReason, Frame, PixelFormat};
use recorder::spill::Spill;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: usize = 20;
const WAITING: &str = "waiting.json";

/// The JPEGs of a take, for its frames and, as they are, for its videos.
fn video() -> Vec<Fragment> {
    encode(Codec::Mjpeg, 0, ROWS)
}

fn report(take: u64, spec: &DatasetSpec) -> TakeReport {
    let account = |i: u64| CameraAccount {
        written: ROWS as u64 - i,
        repeated: i,
        dropped: BTreeMap::from([(DropReason::Superseded, 2)]),
        lost_before_capture: i,
        ..Default::default()
    };
    TakeReport {
        take,
        started: Stamp { mono_ns: 1, utc_ns: 2 },
        ended: Stamp { mono_ns: u64::MAX, utc_ns: 4 },
        rows: ROWS as u64,
        cameras: (0..spec.cameras.len() as u64).map(account).collect(),
        arm_misses: 3,
        arm_errors: BTreeMap::from([("timeout".to_string(), 1)]),
        ..Default::default()
    }
}

/// A take with all its rows, and all its frames on disk.
fn recorded(dataset: &Dataset, spec: &DatasetSpec, take: u64) -> EpisodeWriter {
    let mut writer = dataset.begin(take, "a").unwrap();
    (0..ROWS).for_each(|k| writer.push_row(row(spec, k)).unwrap());
    let budget = Budget::new(1 << 30, 1);
    for camera in 0..spec.cameras.len() {
        let mut frames = Spill::durable(writer.frames_file(camera));
        let samples = video().into_iter().flat_map(|fragment| fragment.samples);
        for (index, sample) in samples.enumerate() {
            let frame = Frame {
                camera,
                sequence: index as u64,
                captured: Stamp::default(),
                arrived: Stamp::default(),
                format: PixelFormat::Mjpg,
                width: spec.cameras[camera].width,
                height: spec.cameras[camera].height,
                view: View::default(),
                coded: None,
                credit: budget.try_acquire(sample.data.len()).unwrap(),
                data: sample.data,
            };
            frames.push(index as u64, &Arc::new(frame)).unwrap();
        }
    }
    writer.sync().unwrap();
    writer
}

fn park(dataset: &Dataset, spec: &DatasetSpec, take: u64, task: &str) {
    recorded(dataset, spec, take).park(&WaitingTake::new(task.into(), report(take, spec))).unwrap();
}

/// Makes an episode of a waiting take, from the frames on disk.
fn finish(dataset: &mut Dataset, spec: &DatasetSpec, waiting: &WaitingTake) -> u64 {
    let mut writer = dataset.reopen(waiting).unwrap();
    assert_eq!((writer.take(), writer.rows()), (waiting.report.take, ROWS as u64));
    let budget = Budget::new(1 << 30, 1);
    for camera in 0..spec.cameras.len() {
        let (mut frames, cut) = Spill::reopen(writer.frames_file(camera)).unwrap();
        assert_eq!((cut, frames.frames()), (None, ROWS as u64));
        assert_eq!(writer.frames(camera), 0, "videos are begun anew");
        for mut fragment in video() {
            for sample in &mut fragment.samples {
                let (_, frame) = frames.pop(|len| budget.try_acquire(len).ok()).unwrap().unwrap();
                sample.data.clone_from(&frame.data);
            }
            writer.push_fragment(camera, &fragment).unwrap();
        }
    }
    dataset.commit(writer, &waiting.task, &counters(spec, ROWS)).unwrap().episode_index
}

fn take_dir(root: &Path, episode: u64, take: u64) -> PathBuf {
    root.join(format!(".partial/episode_{episode:06}-take_{take:06}"))
}

fn takes(dataset: &Dataset) -> Vec<u64> {
    dataset.waiting().iter().map(|waiting| waiting.report.take).collect()
}

#[test]
fn takes_wait_over_restarts_and_become_episodes_in_their_order() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    assert_eq!((dataset.first_take(), dataset.waiting().len()), (0, 0));
    park(&dataset, &spec, 3, "first");
    park(&dataset, &spec, 4, "second");
    drop(dataset);

    // The first run saved no episode: both ways of going on find what it recorded.
    for resume in [false, true] {
        let before = tree(root.path());
        assert_eq!(Dataset::check(root.path(), &spec, resume).unwrap().recovery.waiting, [3, 4]);
        assert!(tree(root.path()) == before);
        let open = if resume { Dataset::resume } else { Dataset::create };
        let dataset = open(root.path(), spec.clone()).unwrap();
        assert_eq!((takes(&dataset), dataset.first_take(), dataset.episodes()), (vec![3, 4], 5, 0));
        assert_eq!(dataset.recovery().orphans.len(), 0);
        assert!(dataset.recovery().describe()[1].contains("take 4 was recorded by an earlier run and waits"));
        assert!(!root.path().join("meta").exists());
    }

    // A later run records more before anything is encoded; its folders sort before the others'.
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let message = dataset.begin(4, "a").unwrap_err().to_string();
    assert!(message.contains("take 4: expected a number above those of all takes that wait"), "{message}");
    park(&dataset, &spec, 5, "first");
    drop(dataset);
    fs::rename(take_dir(root.path(), 0, 5), root.path().join(".partial/another-name")).unwrap();

    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let waiting = dataset.waiting().to_vec();
    assert_eq!(takes(&dataset), [3, 4, 5]);
    assert_eq!((waiting[1].task.as_str(), &waiting[1].report), ("second", &report(4, &spec)));
    for (episode, waiting) in (0..).zip(&waiting) {
        assert_eq!(finish(&mut dataset, &spec, waiting), episode);
        assert!(!waiting.dir().exists());
    }
    assert_eq!(record(&mut dataset, &spec, 6, "second", &video()), 3);
    assert_eq!(check(root.path()), "160 frames, 4 episodes, 0 bad");
    drop(dataset);
    let dataset = Dataset::resume(root.path(), spec).unwrap();
    assert_eq!((takes(&dataset), dataset.first_take(), dataset.episodes()), (vec![], 0, 4));
}

/// What was recorded comes out to the bit, as if it had not waited.
#[test]
fn waiting_changes_nothing_of_the_episode() {
    let (direct, waited) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let spec = spec(Codec::Mjpeg);
    let awkward = |k: usize| {
        let mut row = row(&spec, k);
        row.state[0] = f32::from_bits(0x3dcc_cccd + k as u32);
        row.action[1] = [f32::MIN_POSITIVE / 8.0, f32::MAX, -0.0, 1.0 / 3.0, 16_777_217.0][k % 5];
        row.tick.utc_ns = u64::MAX / 2 + k as u64;
        row
    };
    for (root, parked) in [(direct.path(), false), (waited.path(), true)] {
        let mut dataset = Dataset::create(root, spec.clone()).unwrap();
        let mut writer = dataset.begin(0, "a").unwrap();
        (0..ROWS).for_each(|k| writer.push_row(awkward(k)).unwrap());
        if parked {
            (0..2).for_each(|camera| fs::write(writer.frames_file(camera), "").unwrap());
            // What an earlier attempt had encoded.
            writer.push_fragment(0, &video()[0]).unwrap();
            writer.park(&WaitingTake::new("a".into(), report(0, &spec))).unwrap();
            drop((writer, dataset));
            dataset = Dataset::create(root, spec.clone()).unwrap();
            writer = dataset.reopen(&dataset.waiting()[0]).unwrap();
        }
        for camera in 0..2 {
            video().iter().for_each(|fragment| writer.push_fragment(camera, fragment).unwrap());
        }
        dataset.commit(writer, "a", &counters(&spec, ROWS)).unwrap();
    }
    assert!(tree(direct.path()) == tree(waited.path()));
}

#[test]
fn another_set_up_is_refused_by_name_and_touches_nothing() {
    let root = tempfile::tempdir().unwrap();
    let same = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), same.clone()).unwrap();
    park(&dataset, &same, 0, "a");
    drop(dataset);
    let before = tree(root.path());
    let with = |change: fn(&mut DatasetSpec)| {
        let mut spec = same.clone();
        change(&mut spec);
        spec
    };
    for (spec, expected) in [
        (with(|s| s.fps = 25), "fps (expected 25, found 30)"),
        (with(|s| s.robot_type = Some("other".into())), "robot_type (expected \"other\", found \"so_follower\")"),
        (with(|s| s.action_names[5] = "claw.pos".into()), "features.action.names"),
        (with(|s| s.cameras[1].width = 640), "features.observation.images.wrist.shape"),
        (with(|s| s.cameras.truncate(1)), "features.observation.images.wrist (expected \"absent\", found \"present\")"),
    ] {
        for resume in [false, true] {
            let open = if resume { Dataset::resume } else { Dataset::create };
            let checked = Dataset::check(root.path(), &spec, resume).unwrap_err().to_string();
            let opened = open(root.path(), spec.clone()).unwrap_err().to_string();
            assert_eq!(checked, opened);
            for part in [expected, "take_000000: a take waits there to be encoded", "change the configuration"] {
                assert!(opened.contains(part), "`{part}` is not in: {opened}");
            }
            assert!(tree(root.path()) == before);
        }
    }

    // The order of the cameras is no difference: rows and accounts follow their names.
    let swapped = with(|s| s.cameras.swap(0, 1));
    let mut dataset = Dataset::create(root.path(), swapped.clone()).unwrap();
    let waiting = dataset.waiting()[0].clone();
    let accounts = report(0, &same).cameras;
    assert_eq!(waiting.report.cameras, [accounts[1].clone(), accounts[0].clone()]);
    let writer = dataset.reopen(&waiting).unwrap();
    assert!(writer.frames_file(0).ends_with("observation.images.wrist.frames"));
    drop(writer);
    finish(&mut dataset, &swapped, &waiting);
    assert_eq!(check(root.path()), format!("{} frames, 1 episodes, 0 bad", 2 * ROWS));
}

/// What a crash can leave of parking, of encoding and of saving: a take that waits, still or again, as long as its frames
/// are there.
#[test]
fn a_crash_at_any_step_loses_nothing_that_waits_and_doubles_nothing() {
    let spec = spec(Codec::Mjpeg);
    // By what is done to a parked take's folder: whether it waits, and whether it is kept aside.
    type Damage = fn(&Path);
    let cases: [(&str, Damage, bool); 9] = [
        ("before the rename", |dir| fs::rename(dir.join(WAITING), dir.join("waiting.tmp")).unwrap(), true),
        ("nothing written", |dir| fs::remove_file(dir.join(WAITING)).unwrap(), true),
        ("parked", |_| (), true),
        ("half of a second parking", |dir| fs::write(dir.join("waiting.tmp"), "{").unwrap(), true),
        ("half a video", |dir| fs::write(dir.join("observation.images.front.mp4"), "half").unwrap(), true),
        ("before the save's point of no return", |dir| fs::write(dir.join("commit.json.tmp"), "{").unwrap(), true),
        ("a torn file", |dir| fs::write(dir.join(WAITING), "{\"version\":1,").unwrap(), true),
        (
            "a later version",
            |dir| {
                let text = fs::read_to_string(dir.join(WAITING)).unwrap();
                fs::write(dir.join(WAITING), text.replace("\"version\":1", "\"version\":2")).unwrap();
                fs::write(dir.join("rows.journal"), "").unwrap();
            },
            false,
        ),
        ("frames are gone", |dir| fs::remove_file(dir.join("observation.images.wrist.frames")).unwrap(), false),
    ];
    for (what, damage, waits) in cases {
        let root = tempfile::tempdir().unwrap();
        let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
        record(&mut dataset, &spec, 0, "a", &video());
        park(&dataset, &spec, 1, "a");
        drop(dataset);
        damage(&take_dir(root.path(), 1, 1));
        for round in 0..2 {
            let dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
            assert_eq!((dataset.episodes(), dataset.waiting().len()), (1, usize::from(waits)), "{what}");
            let said = dataset.recovery().describe().join("\n");
            let expected = match what {
                "before the rename" | "nothing written" | "a torn file" if round == 0 => {
                    "take 1 was interrupted: its 20 rows (0.7 s) wait to be encoded"
                }
                "a later version" => "waiting.json is damaged: format version 2, known is 1",
                "frames are gone" => "there is no `observation.images.wrist.frames`",
                _ => "take 1 was recorded by an earlier run and waits to be encoded",
            };
            assert!(said.contains(expected) || dataset.recovery().orphans.is_empty() && !waits, "{what}: {said}");
        }
        let orphan = root.path().join(".partial/orphan-episode_000001-take_000001");
        assert_eq!(orphan.exists(), !waits, "{what}");
        assert_eq!(check(root.path()), format!("{} frames, 1 episodes, 0 bad", 2 * ROWS));
        if waits {
            let mut dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
            let waiting = dataset.waiting()[0].clone();
            assert_eq!(finish(&mut dataset, &spec, &waiting), 1, "{what}");
            assert_eq!(check(root.path()), format!("{} frames, 2 episodes, 0 bad", 4 * ROWS));
        }
    }
}

/// A save that stops after its point of no return is completed, and the take does not wait a second time.
#[test]
fn a_save_that_fails_late_is_completed_once() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    park(&dataset, &spec, 0, "a");
    park(&dataset, &spec, 1, "a");
    drop(dataset);
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    // A file where the folder of tables must be: renames before it succeed, this one cannot.
    fs::write(root.path().join("data"), "in the way").unwrap();
    let mut writer = dataset.reopen(&dataset.waiting()[0]).unwrap();
    for camera in 0..spec.cameras.len() {
        video().iter().for_each(|fragment| writer.push_fragment(camera, fragment).unwrap());
    }
    let error = dataset.commit(writer, "a", &counters(&spec, ROWS)).unwrap_err();
    assert!(matches!(error, DatasetError::Io { .. }), "{error}");
    drop(dataset);
    fs::remove_file(root.path().join("data")).unwrap();
    let outlook = Dataset::check(root.path(), &spec, true).unwrap();
    assert_eq!((outlook.recovery.completed, outlook.recovery.waiting), (vec![0], vec![1]));
    let mut dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
    assert_eq!((dataset.episodes(), takes(&dataset)), (1, vec![1]));
    let waiting = dataset.waiting()[0].clone();
    assert_eq!(finish(&mut dataset, &spec, &waiting), 1);
    assert_eq!(check(root.path()), format!("{} frames, 2 episodes, 0 bad", 4 * ROWS));
    assert!(fs::read_dir(root.path().join(".partial")).unwrap().next().is_none());
}

#[test]
fn a_take_can_be_encoded_by_the_run_that_parked_it_be_discarded_or_given_up() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let parked = |dataset: &Dataset, take| {
        let writer = recorded(dataset, &spec, take);
        writer.park(&WaitingTake::new("a".into(), report(take, &spec))).unwrap();
        writer
    };
    let mut writer = parked(&dataset, 0);
    for camera in 0..spec.cameras.len() {
        video().iter().for_each(|fragment| writer.push_fragment(camera, fragment).unwrap());
    }
    assert_eq!(dataset.commit(writer, "a", &counters(&spec, ROWS)).unwrap().episode_index, 0);
    parked(&dataset, 1).discard().unwrap();
    assert!(!take_dir(root.path(), 1, 1).exists());
    parked(&dataset, 2).give_up().unwrap();
    drop(dataset);
    let dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
    assert_eq!(takes(&dataset), [2], "its frames are whole after all");
    assert_eq!(check(root.path()), format!("{} frames, 1 episodes, 0 bad", 2 * ROWS));
}

#[test]
fn what_is_not_whole_is_not_parked() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(Codec::Mjpeg);
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let writer = recorded(&dataset, &spec, 0);
    let with = |change: fn(&mut TakeReport)| {
        let mut report = report(0, &spec);
        change(&mut report);
        writer.park(&WaitingTake::new("a".into(), report)).unwrap_err().to_string()
    };
    for (message, expected) in [
        (with(|r| r.take = 1), "take 0: expected a report of this take and all its rows"),
        (with(|r| r.rows -= 1), "found take 0 with 19 of 20 rows"),
        (with(|r| r.cameras.truncate(1)), "expected a report of every camera, found 1 of 2"),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    fs::remove_file(writer.frames_file(1)).unwrap();
    let message = with(|_| ());
    assert!(message.contains("observation.images.wrist.frames: cannot fsync"), "{message}");
    assert!(!take_dir(root.path(), 0, 0).join(WAITING).exists());
    let mut row = row(&spec, 0);
    row.arm.as_mut().unwrap().goal_sent = vec![f32::NAN; 6];
    let mut other = dataset.begin(1, "a").unwrap();
    let message = other.push_row(row).unwrap_err().to_string();
    assert!(message.contains("goal sent: expected finite values, found NaN"), "{message}");
}
