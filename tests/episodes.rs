//! `recorder episodes`: what is deleted is gone, what stays is what it was, and LeRobot's rules hold.

mod dataset_support;
mod program;
mod run_support;

use dataset_support::{Codec, check, counters, encode, fill, lerobot_sample, record, run, spec, tree, verified};
use program::Lab;
use recorder::codec::backend;
use recorder::dataset::{Dataset, DatasetError, EpisodeSummary};
use recorder::episode::Key;
use recorder::episodes::{self, Action, Arguments, EpisodesError};
use recorder::status::Phase;
use run_support::{SMALL, config, gated, real, simulated, summaries, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LENGTHS: [usize; 5] = [10, 14, 8, 12, 9];

/// A data set of ours: five episodes of different lengths and two tasks.
fn ours(root: &Path, lengths: &[usize]) {
    let spec = spec(Codec::Mjpeg);
    let mut dataset = Dataset::create(root, spec.clone()).unwrap();
    for (take, frames) in lengths.iter().enumerate() {
        let task = ["Pick up the cube", "Put it down"][take % 2];
        record(&mut dataset, &spec, take as u64, task, &encode(Codec::Mjpeg, 0, *frames));
    }
}

fn act(root: &Path, action: Action) -> Result<String, EpisodesError> {
    episodes::run(&Arguments { root: root.to_owned(), action })
}

fn delete(root: &Path, numbers: &[u64]) -> Result<String, EpisodesError> {
    act(root, Action::Delete { episodes: numbers.to_vec(), dry_run: false })
}

fn label(root: &Path, episode: u64, label: Option<&str>) -> Result<String, EpisodesError> {
    act(root, Action::Label { episode, label: label.map(str::to_string), clear: label.is_none() })
}

fn listed(root: &Path) -> Vec<serde_json::Value> {
    serde_json::from_str(&act(root, Action::List { json: true }).unwrap()).unwrap()
}

/// What each episode holds, without its numbers.
fn contents(root: &Path) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/dump_episodes.py");
    let (ok, output) = run(Command::new(dataset_support::python()).arg(script).arg(root));
    assert!(ok, "{output}");
    output.lines().map(str::to_owned).collect()
}

/// As `check`, for videos that hold frames of deleted episodes.
fn check_cut(root: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_dataset.py");
    let (ok, output) = run(Command::new(dataset_support::python()).arg(script).arg(root).args(["--deep", "--cut"]));
    assert!(ok, "{output}");
    let report = verified(root, true);
    let unused: Vec<_> = report.warnings().into_iter().filter(|finding| finding.rule == "unused-frames").collect();
    assert_eq!(unused.len(), 2, "one for each camera: {}", report.text());
    output.lines().last().unwrap_or_default().to_owned()
}

/// Files without folders.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    tree(root).into_iter().filter(|(path, _)| root.join(path).is_file()).collect()
}

#[test]
fn what_stays_is_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    ours(&set, &LENGTHS);
    let before = contents(&set);
    for (case, numbers) in [&[0][..], &[2], &[4], &[0, 3, 3], &[4, 1, 0, 3]].into_iter().enumerate() {
        let root = dir.path().join(case.to_string());
        assert!(Command::new("cp").arg("-r").arg(&set).arg(&root).status().unwrap().success());
        let text = delete(&root, numbers).unwrap();
        let left: Vec<usize> = (0..5).filter(|n| !numbers.contains(&(*n as u64))).collect();
        let rows: usize = left.iter().map(|n| LENGTHS[*n]).sum();
        assert!(
            text.contains(&format!(", {rows} rows are left")) && text.contains(&format!("; {} episode", left.len())),
            "{text}"
        );
        assert_eq!(check(&root), format!("{} frames, {} episodes, 0 bad", 2 * rows, left.len()), "{numbers:?}");
        let expected: Vec<&String> = left.iter().map(|n| &before[*n]).collect();
        assert_eq!(contents(&root).iter().collect::<Vec<_>>(), expected, "{numbers:?}");
        verified(&root, true);
        assert!(!root.join(".partial").exists());
        assert_eq!(fs::read_dir(root.join("recorder/rows/chunk-000")).unwrap().count(), left.len());
        // Recording goes on, and so does deleting.
        let spec = spec(Codec::Mjpeg);
        let mut dataset = Dataset::resume(&root, spec.clone()).unwrap();
        let new = record(&mut dataset, &spec, 9, "Pick up the cube", &encode(Codec::Mjpeg, 0, 11));
        assert_eq!(new, left.len() as u64);
        drop(dataset);
        delete(&root, &[0]).unwrap();
        assert_eq!(contents(&root)[..left.len() - 1], *before_of(&before, &left[1..]));
        let rows = rows - LENGTHS[left[0]] + 11;
        assert_eq!(check(&root), format!("{} frames, {} episodes, 0 bad", 2 * rows, left.len()), "{numbers:?}");
    }
}

fn before_of(all: &[String], numbers: &[usize]) -> Vec<String> {
    numbers.iter().map(|n| all[*n].clone()).collect()
}

#[test]
fn a_deleted_last_episode_was_never_there() {
    let dir = tempfile::tempdir().unwrap();
    let (two, three) = (dir.path().join("two"), dir.path().join("three"));
    ours(&two, &LENGTHS[..2]);
    ours(&three, &LENGTHS[..3]);
    delete(&three, &[2]).unwrap();
    assert_eq!(
        tree(&two).iter().map(|f| &f.0).collect::<Vec<_>>(),
        tree(&three).iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    for (two, three) in tree(&two).iter().zip(tree(&three)) {
        assert!(*two == three, "{} differs", three.0.display());
    }
}

/// LeRobot's own: both episodes lie in the same files, which are rewritten, but for the videos.
#[test]
fn episodes_that_share_their_files_are_deleted() {
    for number in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        lerobot_sample(&root);
        let before = contents(&root);
        let video = fs::read(root.join("videos/observation.images.front/chunk-000/file-000.mp4")).unwrap();
        let dry = act(&root, Action::Delete { episodes: vec![number], dry_run: true }).unwrap();
        assert!(dry.contains("observation.images.front/chunk-000/file-000.mp4 would stay as it is"), "{dry}");
        assert_eq!(contents(&root), before);
        delete(&root, &[number]).unwrap();
        assert_eq!(check_cut(&root), "60 frames, 1 episodes, 0 bad");
        assert_eq!(contents(&root), [before[1 - number as usize].clone()]);
        assert!(fs::read(root.join("videos/observation.images.front/chunk-000/file-000.mp4")).unwrap() == video);
        assert!(!root.join("recorder").exists(), "nothing of ours is left in a data set that is not ours");
        // Ours follow LeRobot's; when LeRobot's last one goes, its files go.
        let spec = spec(Codec::H264);
        let mut dataset = Dataset::resume(&root, spec.clone()).unwrap();
        record(&mut dataset, &spec, 0, "Pick up the red cube", &encode(Codec::H264, 0, 20));
        drop(dataset);
        let ours = contents(&root)[1].clone();
        delete(&root, &[0]).unwrap();
        assert_eq!(contents(&root), [ours]);
        assert!(!root.join("videos/observation.images.front/chunk-000/file-000.mp4").exists());
        let text = act(&root, Action::Show { episode: 0, json: true }).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&shown["summary"]["episode_index"], &shown["dropped"]), (&0.into(), &4.into()));
    }
}

/// Sizes and checksums in the summaries follow the files.
#[test]
fn summaries_name_the_files_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    ours(&root, &LENGTHS[..3]);
    delete(&root, &[0]).unwrap();
    label(&root, 1, Some("success")).unwrap();
    act(&root, Action::ExportLabels).unwrap();
    verified(&root, true);
    let summary: EpisodeSummary =
        serde_json::from_slice(&fs::read(root.join("recorder/episodes/chunk-000/file-001.json")).unwrap()).unwrap();
    let named: Vec<&str> = summary.files.iter().map(|file| file.path.as_str()).collect();
    for (path, file) in
        [("data", "002.parquet"), ("videos/observation.images.front", "002.mp4"), ("recorder/rows", "001.parquet")]
    {
        let path = format!("{path}/chunk-000/file-{file}");
        assert!(named.contains(&path.as_str()), "{path} is not among {named:?}");
    }
    for file in &summary.files {
        let bytes = fs::read(root.join(&file.path)).unwrap();
        assert_eq!(*file, recorder::dataset::FileSum::of_bytes(Path::new(&file.path), &bytes));
    }
}

#[test]
fn labels_follow_their_episodes_and_become_a_column() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    ours(&root, &LENGTHS);
    for (episode, words) in [(0, "success"), (1, "failure"), (3, "it slipped"), (4, "success"), (2, "failure")] {
        label(&root, episode, Some(words)).unwrap();
    }
    assert!(label(&root, 2, None).unwrap().contains("episode 2: no label (before: failure)"));
    let text = act(&root, Action::List { json: false }).unwrap();
    assert!(text.contains("it slipped") && text.contains("2023-11-14 22:13:21") && text.contains("openh264"), "{text}");
    let labels =
        |root: &Path| listed(root).iter().map(|e| e["label"].as_str().unwrap_or("-").to_string()).collect::<Vec<_>>();
    assert_eq!(labels(&root), ["success", "failure", "-", "it slipped", "success"]);

    let before = contents(&root);
    let text = act(&root, Action::ExportLabels).unwrap();
    assert!(text.contains("2 success (1), 1 failure (0), 2 neither (-1)"), "{text}");
    let frames: usize = LENGTHS.iter().sum();
    assert_eq!(check(&root), format!("{} frames, 5 episodes, 0 bad", 2 * frames));
    let column = |root: &Path| -> Vec<i64> {
        let parsed =
            contents(root).iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>();
        let first = parsed.iter().map(|episode| episode["success"].as_array().unwrap().clone());
        first
            .map(|values| {
                assert!(values.iter().all(|v| *v == values[0]));
                values[0].as_i64().unwrap()
            })
            .collect()
    };
    assert_eq!(column(&root), [1, 0, -1, -1, 1]);
    assert!(label(&root, 0, Some("failure")).unwrap().contains("`export-labels` brings it up to date"));
    act(&root, Action::ExportLabels).unwrap();
    assert_eq!(column(&root), [0, 0, -1, -1, 1]);

    // Recording goes on with the column; what is new is unlabelled.
    let spec = spec(Codec::Mjpeg);
    Dataset::check(&root, &spec, true).unwrap();
    let mut dataset = Dataset::resume(&root, spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "Pick up the cube", &encode(Codec::Mjpeg, 0, 11));
    drop(dataset);
    assert_eq!(column(&root), [0, 0, -1, -1, 1, -1]);
    delete(&root, &[1, 2]).unwrap();
    assert_eq!(labels(&root), ["failure", "it slipped", "success", "-"]);
    assert_eq!(column(&root), [0, -1, 1, -1]);
    assert_eq!(check(&root), format!("{} frames, 4 episodes, 0 bad", 2 * (frames - 14 - 8 + 11)));
    assert_eq!(before.len(), 5);

    let sample = dir.path().join("sample");
    lerobot_sample(&sample);
    label(&sample, 1, Some("success")).unwrap();
    act(&sample, Action::ExportLabels).unwrap();
    assert_eq!(check(&sample), "120 frames, 2 episodes, 0 bad");
    assert_eq!(column(&sample), [-1, 1]);
}

/// Taking back is as if the episode had never been saved.
#[test]
fn the_last_save_can_be_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (straight, back) = (dir.path().join("straight"), dir.path().join("back"));
    ours(&straight, &LENGTHS[..2]);
    let spec = spec(Codec::Mjpeg);
    let mut dataset = Dataset::create(&back, spec.clone()).unwrap();
    assert!(!dataset.undo(0).unwrap(), "nothing is saved yet");
    for (take, frames) in LENGTHS[..2].iter().enumerate() {
        let before = files(&back);
        record(&mut dataset, &spec, 10, "A task of its own", &encode(Codec::Mjpeg, 0, 5));
        assert!(!dataset.undo(9).unwrap(), "that is another take");
        assert!(dataset.undo(10).unwrap());
        assert_eq!(dataset.episodes(), take as u64);
        assert!(files(&back) == before, "after {take} episodes");
        assert!(!dataset.undo(10).unwrap(), "once is enough");
        let task = ["Pick up the cube", "Put it down"][take % 2];
        let mut writer = dataset.begin(take as u64, "pick").unwrap();
        fill(&mut writer, &spec, &encode(Codec::Mjpeg, 0, *frames), *frames);
        dataset.commit(writer, task, &counters(&spec, *frames)).unwrap();
    }
    drop(dataset);
    assert!(tree(&straight) == tree(&back));
    // LeRobot's tables are as they were too, but for what the save itself had written anew.
    let sample = dir.path().join("sample");
    lerobot_sample(&sample);
    let before = contents(&sample);
    let spec = dataset_support::spec(Codec::H264);
    let mut dataset = Dataset::resume(&sample, spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "Another", &encode(Codec::H264, 0, 10));
    assert!(dataset.undo(0).unwrap());
    drop(dataset);
    assert_eq!(contents(&sample), before);
    assert_eq!(check(&sample), "120 frames, 2 episodes, 0 bad");
}

const LONG: [(&str, &str); 4] = [
    ("dataset.episode_time_s", "0.5"),
    ("dataset.reset_time_s", "600"),
    ("robot.cameras.front.realtime", "true"),
    ("robot.cameras.wrist.realtime", "true"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_takes_a_saved_episode_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (running, status) = run_support::start(&config(SMALL, &root, &LONG), real(), backend::standard()).await;
    let saved = |n| move |s: &recorder::status::Status| s.saved == n && s.phase == Phase::Resetting;
    until(&status, "the first is saved", saved(1)).await;
    running.key(Key::Rerecord);
    let back = until(&status, "it is taken back", |s| s.discarded == 1).await;
    assert_eq!((back.saved, back.dataset_episodes, back.dropped), (0, 0, 0));
    until(&status, "it is recorded again", saved(1)).await;
    running.key(Key::Next);
    until(&status, "the second is saved", |s| s.saved == 2).await;
    running.wait().await.unwrap();
    let last = status.borrow().clone();
    assert_eq!((last.saved, last.discarded, last.failed, last.dataset_episodes), (2, 1, 0, 2));
    run_support::check(&root);
    assert_eq!(summaries(&root).iter().map(|s| s.take).collect::<Vec<_>>(), [1, 2]);
    run_support::every_frame_is_shown(&root, 2, 160, 120);
    assert!(!root.join(".partial").exists());
}

/// A take that waits for its encoder is discarded before it is saved: in the reset, or while it holds up the next one.
#[tokio::test(flavor = "multi_thread")]
async fn the_operator_takes_an_episode_back_that_is_not_saved_yet() {
    let deferred = ("dataset.streaming_encoding", "false");
    let background = ("dataset.async_video_encoding", "true");
    for (modes, held) in [
        (&[][..], false),
        (&[deferred], false),
        (&[deferred, background], false),
        (&[deferred, ("dataset.reset_time_s", "0.1")], true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        let (gate, open) = gated();
        let (running, status) =
            run_support::start(&config(SMALL, &root, &[&LONG[..], modes].concat()), real(), open).await;
        until(&status, "the first waits", |s| s.waiting == 1 && (s.phase == Phase::Resetting || s.held)).await;
        if held {
            until(&status, "the next is held up", |s| s.held).await;
        }
        running.key(Key::Rerecord);
        let back = until(&status, "it is taken back", |s| s.discarded == 1).await;
        assert_eq!((back.saved, back.dataset_episodes), (0, 0), "{modes:?}");
        gate.open();
        until(&status, "it is recorded again", |s| s.saved == 1).await;
        running.key(Key::Next);
        running.wait().await.unwrap();
        assert_eq!((status.borrow().saved, status.borrow().failed), (2, 0), "{modes:?}");
        run_support::check(&root);
        assert_eq!(summaries(&root).iter().map(|s| s.take).collect::<Vec<_>>(), [1, 2], "{modes:?}");
        run_support::every_frame_is_shown(&root, 2, 160, 120);
        assert!(!root.join(".partial").exists(), "{modes:?}");
    }
}

/// Stopping right after taking back: nothing is left of the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_took_everything_back_leaves_no_episode() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let (running, status) = run_support::start(&config(SMALL, &root, &LONG), real(), backend::standard()).await;
    until(&status, "the first is saved", |s| s.saved == 1 && s.phase == Phase::Resetting).await;
    running.key(Key::Rerecord);
    running.key(Key::Stop);
    running.wait().await.unwrap();
    assert_eq!((status.borrow().saved, status.borrow().dataset_episodes), (0, 0));
    assert_eq!(files(&root).iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>(), [Path::new("recorder/lock")]);
    // A new data set can begin there.
    let short = [("dataset.num_episodes", "1")];
    run_support::record(&config(SMALL, &root, &short), simulated(), backend::standard()).await;
    run_support::check(&root);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let lab = Lab::new();
    let root = lab.root();
    ours(&root, &LENGTHS[..3]);
    fs::create_dir(lab.path("empty")).unwrap();
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let before = lab.tree();
        let ended = lab.run(&[&["episodes"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.text);
        for word in words {
            assert!(ended.text.contains(word), "{arguments:?}: `{word}` is not in: {}", ended.text);
        }
        assert!(lab.tree() == before, "{arguments:?} changed something");
    };
    refused(&["data/set", "delete", "3"], 2, &["episode 3: expected 0 to 2, the 3 episodes of data/set"]);
    refused(&["data/set", "show", "17"], 2, &["episode 17: expected 0 to 2"]);
    refused(&["data/set", "label", "3", "success"], 2, &["episode 3: expected 0 to 2"]);
    refused(&["data/set", "label", "0", ""], 2, &["expected `success`, `failure` or words", "--clear"]);
    refused(&["data/set", "label", "0"], 2, &["<LABEL>", "--help"]);
    refused(&["data/set", "delete"], 2, &["<N>", "--help"]);
    refused(&["data/set", "delete", "-1"], 2, &["-1"]);
    refused(&["data/set", "delete", "0", "1", "2"], 2, &["at least one episode to stay", "remove the folder data/set"]);
    for action in [&["list"][..], &["delete", "0"], &["label", "0", "success"], &["export-labels"]] {
        refused(
            &[&["empty"], action].concat(),
            4,
            &["empty: expected a LeRobot v3.0 data set, found no meta/info.json"],
        );
        refused(&[&["nowhere"], action].concat(), 4, &["nowhere", "no such folder"]);
    }
    // While a recorder writes.
    let dataset = Dataset::resume(&root, spec(Codec::Mjpeg)).unwrap();
    for action in [&["delete", "0"][..], &["label", "0", "success"], &["export-labels"]] {
        refused(&[&["data/set"], action].concat(), 1, &["another recorder is writing this data set"]);
    }
    assert_eq!(lab.run(&["episodes", "data/set", "list"]).code, Some(0), "looking is always possible");
    drop(dataset);

    // Damage of any kind: said where, and left as it is.
    let table = root.join("meta/episodes/chunk-000/file-001.parquet");
    let data = root.join("data/chunk-000/file-002.parquet");
    for (file, name) in [
        (&table, "file-001.parquet: expected a table of episodes"),
        (&data, "file-002.parquet: expected a table of the data set"),
    ] {
        let whole = fs::read(file).unwrap();
        fs::write(file, &whole[..whole.len() / 2]).unwrap();
        refused(&["data/set", "delete", "0"], 1, &[name, "restore the file from a copy"]);
        fs::write(file, whole).unwrap();
    }
    let (first, third) = (fs::read(root.join("data/chunk-000/file-000.parquet")).unwrap(), fs::read(&data).unwrap());
    fs::write(&data, first).unwrap();
    refused(
        &["data/set", "delete", "1"],
        1,
        &["file-002.parquet", "a row of episode 0 where those of episode 2 are expected"],
    );
    fs::write(&data, third).unwrap();
    let (entry, kept) = (root.join("meta/episodes/chunk-000/file-002.parquet"), lab.path("kept"));
    fs::rename(&entry, &kept).unwrap();
    refused(
        &["data/set", "delete", "0"],
        1,
        &["info.json: expected 2 episodes and 24 rows, as the tables say, found 3 and 32"],
    );
    let listed = lab.run(&["episodes", "data/set", "list"]);
    assert!(
        listed.code == Some(0) && listed.text.contains("note: ") && listed.text.contains("expected 2 episodes"),
        "{}",
        listed.text
    );
    fs::rename(&kept, &entry).unwrap();
    fs::write(root.join("recorder/labels.json"), "{").unwrap();
    refused(&["data/set", "list"], 1, &["recorder/labels.json: expected words by episode number"]);
    fs::remove_file(root.join("recorder/labels.json")).unwrap();
    assert_eq!(lab.run(&["episodes", "data/set", "delete", "1"]).code, Some(0));
    assert_eq!(check(&root), "36 frames, 2 episodes, 0 bad");
}

/// A change that a crash interrupted is completed by whatever opens the data set next.
#[test]
fn an_interrupted_change_is_completed_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let (root, expected) = (dir.path().join("set"), dir.path().join("expected"));
    ours(&root, &LENGTHS[..3]);
    ours(&expected, &LENGTHS[..3]);
    delete(&expected, &[1]).unwrap();
    // A folder in the way of the last file but info.json: the change is past its point of no return and cannot go on.
    let stats = root.join("meta/stats.json");
    let old = fs::read(&stats).unwrap();
    let blocked = root.join("recorder/episodes/chunk-000/file-001.json");
    fs::remove_file(&blocked).unwrap();
    fs::create_dir_all(blocked.join("in the way")).unwrap();
    let error = delete(&root, &[1]).unwrap_err();
    assert!(matches!(&error, EpisodesError::Interrupted(DatasetError::Io { .. })), "{error}");
    assert_eq!(error.exit_code(), 1);
    fs::remove_dir_all(&blocked).unwrap();
    assert_eq!(fs::read(&stats).unwrap(), old);
    let text = act(&root, Action::List { json: false }).unwrap();
    assert!(text.contains("note: a save or a change was interrupted"), "{text}");
    let spec = spec(Codec::Mjpeg);
    assert_eq!(Dataset::check(&root, &spec, true).unwrap().recovery.edited, ["episode 1 deleted"]);
    let dataset = Dataset::resume(&root, spec).unwrap();
    assert_eq!(dataset.recovery().edited, ["episode 1 deleted"]);
    assert_eq!(dataset.recovery().describe(), ["a change was interrupted (episode 1 deleted): it is completed"]);
    drop(dataset);
    assert!(tree(&root) == tree(&expected));
}
