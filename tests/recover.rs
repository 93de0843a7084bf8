//! Takes that a crash interrupts become episodes, up to where everything of them is whole; nothing else is touched.

mod dataset_support;
mod program;

use dataset_support::{Codec, FPS, check, encode, record, row, spec, tree};
use program::{Ended, Lab, PATIENCE, Signal};
use recorder::account::{CameraAccount, Losses, TakeReport};
use recorder::budget::Budget;
use recorder::clock::Stamp;
use recorder::codec::Fragment;
use recorder::codec::view::View;
use recorder::config::schema::OnCrash;
use recorder::dataset::journal::Journal;
use recorder::dataset::{Dataset, DatasetSpec, EncoderSwitch, EpisodeWriter, Fate, Mp4Index, RecoveredTake, Recovery};
use recorder::frame::{DropReason, Frame, PixelFormat};
use recorder::spill::Spill;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const TASK: &str = "Pick it up";
const JOURNAL: &str = "rows.journal";
const FRONT: &str = "observation.images.front.mp4";

/// The folder of the take that is recorded.
fn take_dir(root: &Path) -> PathBuf {
    take_dir_if_any(root).unwrap()
}

fn take_dir_if_any(root: &Path) -> Option<PathBuf> {
    let mut takes = fs::read_dir(root.join(".partial")).ok()?.map(|entry| entry.unwrap().path());
    takes.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("episode_"))
}

/// One frame of each camera superseded in row 3, one lost before capture in row 4, the arm silent in row 5.
fn losses(k: usize) -> Losses {
    Losses {
        dropped: if k == 3 { vec![(0, DropReason::Superseded), (1, DropReason::Superseded)] } else { vec![] },
        before_capture: if k == 4 { vec![(0, 1)] } else { vec![] },
        arm_errors: if k == 5 { vec!["timeout".into()] } else { vec![] },
    }
}

/// Begins take 4 of a data set, and gives it rows and fragments of every camera.
fn begin(dataset: &Dataset, spec: &DatasetSpec, rows: usize, videos: &[&[Fragment]]) -> EpisodeWriter {
    let mut take = dataset.begin(4, TASK).unwrap();
    for k in 0..rows {
        let losses = if spec.cameras.len() == 2 { losses(k) } else { Losses::default() };
        take.push_row_after(row(spec, k), &losses).unwrap();
    }
    for (camera, video) in videos.iter().enumerate() {
        video.iter().for_each(|fragment| take.push_fragment(camera, fragment).unwrap());
    }
    take
}

/// A data set whose only take was interrupted.
fn interrupted(root: &Path, spec: &DatasetSpec, rows: usize, videos: &[&[Fragment]]) {
    let dataset = Dataset::create(root, spec.clone()).unwrap();
    drop(begin(&dataset, spec, rows, videos));
}

/// Recovers; then again, which must find nothing and change no byte.
fn recover(root: &Path) -> Recovery {
    let recovery = Dataset::recover(root, OnCrash::Keep).unwrap();
    let before = tree(root);
    let again = Dataset::recover(root, OnCrash::Keep).unwrap();
    assert_eq!(again, Recovery { waiting: recovery.waiting.clone(), ..Recovery::default() });
    assert!(tree(root) == before, "the second time changes nothing");
    recovery
}

/// The only take that was found.
fn take(recovery: &Recovery) -> &RecoveredTake {
    assert_eq!((recovery.takes.len(), recovery.orphans.len()), (1, 0), "{recovery:?}");
    &recovery.takes[0]
}

fn summary(root: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(root.join("recorder/episodes/chunk-000/file-000.json")).unwrap()).unwrap()
}

#[test]
fn every_kind_of_take_is_kept_up_to_where_it_is_whole() {
    let none = |change: fn(&mut DatasetSpec), codec| {
        let mut spec = spec(codec);
        change(&mut spec);
        spec
    };
    let no_arm = |s: &mut DatasetSpec| {
        (s.robot_type, s.state_names, s.action_names) = Default::default();
    };
    let (h264, mjpeg) = (encode(Codec::H264, 0, 30), encode(Codec::Mjpeg, 0, 30));
    let (hevc, av1) = (encode(Codec::Hevc, 0, 20), encode(Codec::Av1, 0, 20));
    for (what, spec, rows, videos, kept) in [
        ("h264", spec(Codec::H264), 33, [&h264[..], &h264], 30),
        ("copy", spec(Codec::Mjpeg), 33, [&mjpeg[..], &mjpeg], 30),
        ("hevc", spec(Codec::Hevc), 21, [&hevc[..], &hevc], 20),
        ("av1", spec(Codec::Av1), 20, [&av1[..], &av1], 20),
        ("a camera behind", spec(Codec::H264), 33, [&h264[..], &h264[..1]], 10),
        ("rows behind the cameras, in the middle of a GOP", spec(Codec::H264), 17, [&h264[..], &h264], 17),
        ("no arm", none(no_arm, Codec::Mjpeg), 33, [&mjpeg[..2], &mjpeg], 20),
        ("only an arm", none(|s| s.cameras.clear(), Codec::Mjpeg), 33, [&[], &[]], 33),
    ] {
        let root = tempfile::tempdir().unwrap();
        interrupted(root.path(), &spec, rows, &videos[..spec.cameras.len()]);
        let outlook = Dataset::check(root.path(), &spec, false).unwrap_err().to_string();
        let recovery = recover(root.path());
        let found = take(&recovery);
        assert_eq!((found.rows, found.rows_lost), (kept, rows as u64 - kept), "{what}");
        assert_eq!((found.fate, found.ended, found.take), (Fate::Episode(0), false, 4), "{what}");
        assert_eq!(recovery.has_lost(), found.rows_lost > 0);
        assert!(outlook.contains(&recovery.describe()[0]), "a check foretells it: {outlook}");
        let cameras = spec.cameras.len() as u64;
        assert_eq!(check(root.path()), format!("{} frames, 1 episodes, 0 bad", kept * cameras), "{what}");
        assert!(!root.path().join(".partial").exists());
        let summary = summary(root.path());
        assert_eq!((&summary["task"], &summary["length"]), (&TASK.into(), &kept.into()));
        assert_eq!(summary["recovered"]["rows_lost"], rows as u64 - kept);
        for camera in &spec.cameras {
            let counted = &summary["cameras"][&camera.name];
            let dropped = u64::from(cameras == 2 && kept > 3);
            assert_eq!((&counted["written"], &counted["captured"]), (&kept.into(), &(kept + dropped).into()), "{what}");
        }
        let gaps = |device: &serde_json::Value| (device["gaps"][0]["first_row"].as_u64(), device["rows_lost"].as_u64());
        if cameras > 0 {
            assert_eq!(gaps(&summary["cameras"]["wrist"]), (Some(4), Some(1)), "{what}");
        }
        let arm = if spec.action_names.is_empty() { (None, Some(0)) } else { (Some(5), Some(1)) };
        assert_eq!(gaps(&summary["arm"]), arm, "{what}");
        // Adding to it goes on as ever.
        let mut dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
        if cameras > 0 {
            assert_eq!(record(&mut dataset, &spec, 0, TASK, videos[0]), 1, "{what}");
            check(root.path());
        }
    }
}

#[test]
fn a_take_that_had_ended_is_whole() {
    let (root, spec, video) = (tempfile::tempdir().unwrap(), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, TASK, &video);
    let mut writer = begin(&dataset, &spec, 20, &[&video, &video]);
    let account = CameraAccount { written: 19, repeated: 1, ..CameraAccount::default() };
    let mut report = TakeReport { take: 4, rows: 20, cameras: vec![account; 2], arm_misses: 7, ..Default::default() };
    report.arm_errors.insert("checksum".into(), 3);
    writer.finish_video(0).unwrap();
    writer.note_encoder(0, "openh264").unwrap();
    writer.note_end(&report).unwrap();
    drop((writer, dataset));
    // What was to be kept is kept, whatever is to become of others.
    let recovery = Dataset::recover(root.path(), OnCrash::Discard).unwrap();
    let found = take(&recovery);
    assert_eq!((found.rows, found.rows_lost, found.ended, found.fate), (20, 0, true, Fate::Episode(1)));
    assert!(!recovery.has_lost());
    assert_eq!(check(root.path()), "80 frames, 2 episodes, 0 bad");
    let summary = fs::read(root.path().join("recorder/episodes/chunk-000/file-001.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    assert_eq!(
        (&summary["cameras"]["front"]["encoder"], &summary["arm_errors"]["checksum"]),
        (&"openh264".into(), &3.into())
    );
    assert_eq!(
        (&summary["cameras"]["wrist"]["written"], &summary["cameras"]["wrist"]["repeated"]),
        (&19.into(), &1.into())
    );
}

/// Frames that could not be shown, an encoder that was replaced, and a configuration that names the cameras in another
/// order: all of it ends where it belongs.
#[test]
fn what_is_known_of_each_camera_stays_with_it() {
    let (spec, mut video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let other = video.clone();
    video[0].substituted.push((4, DropReason::Corrupt));
    video[1].substituted.push((19, DropReason::Corrupt));
    let mut swapped = spec.clone();
    swapped.cameras.swap(0, 1);
    let mut saved = Vec::new();
    for next in [&spec, &swapped] {
        let root = tempfile::tempdir().unwrap();
        let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
        let mut writer = begin(&dataset, &spec, 15, &[&video, &other]);
        for frame in [10, 16] {
            let switch = EncoderSwitch { frame, from: "nvenc".into(), to: "openh264".into(), reason: "gone".into() };
            writer.note_switch(0, &switch).unwrap();
        }
        drop((writer, dataset));
        assert!(Dataset::create(root.path(), next.clone()).is_err(), "the take is its first episode");
        assert_eq!(check(root.path()), "30 frames, 1 episodes, 0 bad");
        let summary = summary(root.path());
        let (front, wrist) = (&summary["cameras"]["front"], &summary["cameras"]["wrist"]);
        assert_eq!((&front["captured"], &front["written"], &front["repeated"]), (&16.into(), &14.into(), &1.into()));
        assert_eq!((&front["dropped"]["corrupt"], &front["sequence_gaps"]), (&1.into(), &1.into()));
        assert_eq!(
            (&wrist["captured"], &wrist["written"], &wrist["sequence_gaps"]),
            (&16.into(), &15.into(), &0.into())
        );
        assert_eq!(front["encoder_switches"].as_array().unwrap().len(), 1, "the second came after the last row");
        let of = |path: &PathBuf| path.starts_with("videos") || path.ends_with("info.json");
        saved.push(tree(root.path()).into_iter().filter(|(path, _)| of(path)).collect::<Vec<_>>());
    }
    assert!(saved[0] == saved[1]);
}

/// The take is cut off at every few bytes of what was written last.
#[test]
fn a_torn_tail_costs_no_more_than_itself() {
    let (root, spec, video) = (tempfile::tempdir().unwrap(), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 30));
    // Row by row, a fragment after every tenth.
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let mut writer = dataset.begin(0, TASK).unwrap();
    // Bytes of the journal and of the front video, and the rows that are whole with them.
    let mut marks = vec![(0, 0, 0)];
    let dir = take_dir(root.path());
    let length = |name: &str| fs::metadata(dir.join(name)).unwrap().len();
    for (fragment, rows) in video.iter().zip([10, 20, 30]) {
        (rows - 10..rows).for_each(|k| writer.push_row(row(&spec, k)).unwrap());
        (0..2).for_each(|camera| writer.push_fragment(1 - camera, fragment).unwrap());
        marks.push((length(JOURNAL), length(FRONT), rows as u64));
    }
    drop((writer, dataset));
    let files = ["observation.images.wrist.mp4", FRONT, JOURNAL].map(|name| (name, fs::read(dir.join(name)).unwrap()));
    let cut = |name: &str, length: u64, expected: u64| {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join(".partial/episode_000000-take_000000");
        fs::create_dir_all(&dir).unwrap();
        for (file, bytes) in &files {
            let bytes = if *file == name { &bytes[..length as usize] } else { bytes };
            fs::write(dir.join(file), bytes).unwrap();
        }
        let recovery = recover(root.path());
        let found = take(&recovery);
        assert_eq!(found.rows, expected, "{name} of {length} bytes: {recovery:?}");
        let torn = marks.iter().all(|mark| mark.0 != length && mark.1 != length);
        assert!(recovery.has_lost() || !torn, "{name} of {length} bytes: {recovery:?}");
        if expected > 0 {
            let path = root.path().join("videos/observation.images.front/chunk-000/file-000.mp4");
            assert_eq!(Mp4Index::read(&path).unwrap().samples.len() as u64, expected);
        }
    };
    let whole = |at: fn(&(u64, u64, u64)) -> u64, length: u64| {
        marks.iter().filter(|mark| at(mark) <= length).map(|mark| mark.2).max().unwrap()
    };
    for length in (marks[2].1..=marks[3].1).rev().step_by(997) {
        cut(FRONT, length, whole(|mark| mark.1, length));
    }
    for length in (marks[2].0..=marks[3].0).rev().step_by(371) {
        cut(JOURNAL, length, whole(|mark| mark.0, length));
    }
}

#[test]
fn damage_in_the_middle_ends_what_is_kept_and_is_said() {
    let (spec, video) = (spec(Codec::H264), encode(Codec::H264, 0, 30));
    // Of which file, at which of its thousandths; what is left, and what is said.
    for (name, place, kept, said) in [
        (FRONT, 500, 10, "the video of observation.images.front is damaged from frame 10 on: the checksum of the"),
        // Not a byte of the mp4's own boxes is needed.
        (FRONT, 8, 30, "its 30 rows (1.0 s) become episode 0"),
        (JOURNAL, 400, 0, "its rows.journal is damaged: byte"),
        (JOURNAL, 0, 0, "its rows.journal cannot be read: byte 0 of"),
    ] {
        let root = tempfile::tempdir().unwrap();
        interrupted(root.path(), &spec, 30, &[&video, &video]);
        let path = take_dir(root.path()).join(name);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() * place / 1000;
        bytes[at] ^= 0x20;
        fs::write(&path, &bytes).unwrap();
        let recovery = recover(root.path());
        let words = recovery.describe().join("\n");
        assert!(words.contains(said), "{words}");
        assert_eq!(recovery.has_lost(), kept < 30);
        if kept == 0 {
            let orphan = &recovery.orphans[0].path;
            assert!(fs::read(orphan.join(name)).unwrap() == bytes, "what cannot be read is kept");
        } else {
            assert_eq!((take(&recovery).rows, take(&recovery).rows_lost), (kept, 30 - kept));
            assert_eq!(check(root.path()), format!("{} frames, 1 episodes, 0 bad", 2 * kept));
        }
    }
}

/// A recovery that was itself interrupted is done again, with the same result to the byte.
#[test]
fn a_recovery_that_is_interrupted_is_done_again() {
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let undisturbed = tempfile::tempdir().unwrap();
    interrupted(undisturbed.path(), &spec, 22, &[&video, &video]);
    recover(undisturbed.path());
    // What stands in the way of a save, in the take's folder or in the data set: at each it breaks off.
    for obstacle in ["rows.parquet", "info.json", "commit.json.tmp", "../../data", "../../meta", "../../videos"] {
        let root = tempfile::tempdir().unwrap();
        interrupted(root.path(), &spec, 22, &[&video, &video]);
        let dir = take_dir(root.path());
        let obstacle = dir.join(obstacle);
        if obstacle.starts_with(&dir) && !obstacle.to_string_lossy().contains("..") {
            fs::create_dir(&obstacle).unwrap();
        } else {
            fs::write(&obstacle, "in the way").unwrap();
        }
        let recorded = [JOURNAL, FRONT].map(|name| fs::read(dir.join(name)).unwrap());
        let error = Dataset::recover(root.path(), OnCrash::Keep).unwrap_err().to_string();
        assert!(error.contains("cannot"), "{error}");
        assert!([JOURNAL, FRONT].map(|name| fs::read(dir.join(name)).unwrap()) == recorded);
        let _ = fs::remove_dir(&obstacle).or_else(|_| fs::remove_file(&obstacle));
        if !dir.join("commit.json").exists() {
            // Killed while it copied a video.
            fs::write(dir.join(".recovered-observation.images.wrist.mp4"), "half").unwrap();
        }
        recover(root.path());
        assert!(tree(root.path()) == tree(undisturbed.path()), "{}", obstacle.display());
    }
}

#[test]
fn discarding_removes_what_was_being_recorded_and_nothing_else() {
    let (root, spec, video) = (tempfile::tempdir().unwrap(), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, TASK, &video);
    drop(begin(&dataset, &spec, 20, &[&video, &video]));
    drop(dataset);
    let outlook = Dataset::check_after(root.path(), &spec, true, OnCrash::Discard).unwrap();
    let recovery = Dataset::recover(root.path(), OnCrash::Discard).unwrap();
    assert_eq!(outlook.recovery, recovery);
    assert_eq!((take(&recovery).fate, recovery.has_lost()), (Fate::Discarded, true));
    assert!(!root.path().join(".partial").exists());
    assert_eq!(check(root.path()), "40 frames, 1 episodes, 0 bad");
}

#[test]
fn what_is_not_understood_is_kept_aside() {
    let (root, spec, video) = (tempfile::tempdir().unwrap(), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, TASK, &video);
    drop(dataset);
    let other = tempfile::tempdir().unwrap();
    let mut faster = spec.clone();
    faster.fps = 60;
    interrupted(other.path(), &faster, 20, &[&video, &video]);
    let partial = root.path().join(".partial");
    fs::create_dir_all(partial.join("of an older version")).unwrap();
    fs::write(partial.join("of an older version").join(FRONT), "video").unwrap();
    fs::create_dir(partial.join("empty")).unwrap();
    fs::create_dir(partial.join("orphan-old")).unwrap();
    fs::write(partial.join("somebody's file"), "text").unwrap();
    fs::create_dir_all(partial.join("removed-take/folder")).unwrap();
    fs::rename(take_dir(other.path()), partial.join("at another rate")).unwrap();
    for on_crash in [OnCrash::Discard, OnCrash::Keep] {
        let outlook = Dataset::check_after(root.path(), &spec, true, on_crash).unwrap().recovery;
        assert_eq!((outlook.orphans.len(), outlook.takes.len()), (3, 0), "{outlook:?}");
    }
    let recovery = recover(root.path());
    let words = recovery.describe().join("\n");
    for part in [
        "another set-up: fps (expected 30, found 60); it is kept aside in",
        "it has no rows.journal; it is kept aside in",
        ".partial/orphan-of an older version",
        ".partial/orphan-somebody's file",
    ] {
        assert!(words.contains(part), "`{part}` is not in: {words}");
    }
    let names: Vec<_> = fs::read_dir(&partial).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(check(root.path()), "40 frames, 1 episodes, 0 bad");
}

/// Frames that are kept reach further than the videos: the take waits, cut to what all cameras have.
#[test]
fn kept_frames_wait_to_be_encoded() {
    let (root, spec, video) = (tempfile::tempdir().unwrap(), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let writer = begin(&dataset, &spec, 20, &[&video[..1], &[]]);
    let budget = Budget::new(1 << 30, 1);
    for (camera, frames) in [(0, 20), (1, 17)] {
        let mut file = Spill::durable(writer.frames_file(camera));
        let samples = video.iter().flat_map(|fragment| &fragment.samples).take(frames);
        for (index, sample) in samples.enumerate() {
            let stamp = Stamp::default();
            let (captured, arrived) = (stamp, stamp);
            let CameraSize { width, height } = CameraSize::of(&spec, camera);
            let (data, credit) = (sample.data.clone(), budget.try_acquire(sample.data.len()).unwrap());
            let format = PixelFormat::Mjpg;
            let (sequence, view, coded) = (index as u64, View::default(), None);
            let frame = Frame { camera, sequence, captured, arrived, format, width, height, view, data, coded, credit };
            file.push(index as u64, &Arc::new(frame)).unwrap();
        }
    }
    let torn = fs::metadata(writer.frames_file(1)).unwrap().len() - 5;
    fs::File::options().write(true).open(writer.frames_file(1)).unwrap().set_len(torn).unwrap();
    drop((writer, dataset));
    let outlook = Dataset::check(root.path(), &spec, false).unwrap().recovery;
    let recovery = recover(root.path());
    assert_eq!(outlook, recovery);
    let found = take(&recovery);
    assert_eq!((found.rows, found.rows_lost, found.fate), (16, 4, Fate::Waiting));
    assert!(recovery.describe()[0].contains("16 frames are good, the"), "{:?}", recovery.describe());
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let waiting = dataset.waiting()[0].clone();
    assert_eq!((waiting.report.rows, waiting.task.as_str()), (16, TASK));
    assert_eq!((waiting.report.cameras[0].captured(), waiting.report.arm_errors["timeout"]), (17, 1));
    let mut writer = dataset.reopen(&waiting).unwrap();
    for camera in 0..2 {
        let (frames, cut) = Spill::reopen(writer.frames_file(camera)).unwrap();
        assert_eq!((frames.rows(), cut), (16, None));
        encode(Codec::Mjpeg, 0, 16).iter().for_each(|fragment| writer.push_fragment(camera, fragment).unwrap());
    }
    dataset.commit(writer, TASK, &dataset_support::counters(&spec, 16)).unwrap();
    assert_eq!(check(root.path()), "32 frames, 1 episodes, 0 bad");
    assert_eq!(summary(root.path())["recovered"]["rows_lost"], 4, "the episode says it, however late it is encoded");
}

struct CameraSize {
    width: u32,
    height: u32,
}

impl CameraSize {
    fn of(spec: &DatasetSpec, camera: usize) -> CameraSize {
        let camera = &spec.cameras[camera];
        CameraSize { width: camera.width, height: camera.height }
    }
}

/// Starts the recorder and kills it when at least `rows` rows of a take are known; its journal.
fn killed(lab: &Lab, overrides: &[&str], rows: usize) -> Journal {
    let mut running = lab.start(&[&["--dataset.episode_time_s=60", "--run.on_restart=new"], overrides].concat());
    running.wait_for("recording episode");
    let root = lab.root();
    let read = || Journal::read(&take_dir_if_any(&root)?.join(JOURNAL)).unwrap()?.ok();
    let deadline = Instant::now() + PATIENCE;
    while read().is_none_or(|journal| journal.rows.len() < rows) {
        assert!(Instant::now() < deadline, "no rows come");
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    running.wait();
    read().unwrap()
}

fn said(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.text);
    words.iter().for_each(|word| assert!(ended.text.contains(word), "`{word}` is not in:\n{}", ended.text));
}

#[test]
fn a_killed_program_loses_less_than_a_second() {
    let lab = Lab::new();
    let root = lab.root();
    let root = root.to_str().unwrap();
    let rows = killed(&lab, &[], 45).rows.len() as u64;
    // The same command again: it recovers the take, and says what is to be done now.
    let words = ["ERROR", "take 0 was interrupted: its", "become episode 0", "set dataset.resume = true"];
    said(&lab.run(&["check", "--config", "lab.toml"]), 4, &words);
    said(&lab.record(&[]), 4, &words[1..]);
    let kept = summary(&lab.root())["length"].as_u64().unwrap();
    assert!(rows - kept < u64::from(FPS), "{kept} of {rows} rows are kept");
    assert_eq!(check(&lab.root()), format!("{kept} frames, 1 episodes, 0 bad"));
    said(&lab.run(&["recover", root]), 0, &["nothing to recover"]);

    killed(&lab, &["--dataset.resume=true"], 45);
    let ended = lab.run(&["recover", root, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ended.text).unwrap();
    assert_eq!((&json["takes"][0]["fate"]["episode"], &json["orphans"]), (&1.into(), &serde_json::json!([])));
    let lost = json["takes"][0]["rows_lost"].as_u64().unwrap();
    assert_eq!((ended.code, json["lost"].as_bool()), (Some(if lost > 0 { 3 } else { 0 }), Some(lost > 0)));

    killed(&lab, &["--dataset.resume=true"], 10);
    let words = ["saved as the data set's episode 2", "are removed (on_crash = \"discard\")"];
    said(&lab.record(&["--dataset.resume=true", "--dataset.num_episodes=1", "--run.on_crash=discard"]), 0, &words);
    check(&lab.root());
}

#[test]
fn recovering_what_is_no_data_set_or_in_use_changes_nothing() {
    let lab = Lab::new();
    said(&lab.run(&["recover", "nowhere"]), 1, &["nowhere: expected a LeRobot v3.0 data set"]);
    lab.write("other/file", "text");
    let before = lab.tree();
    said(&lab.run(&["recover", "other"]), 1, &["other: expected a LeRobot v3.0 data set"]);
    said(&lab.run(&["recover", "lab.toml"]), 1, &["lab.toml: expected a folder"]);
    assert!(lab.tree() == before);
    let mut running = lab.start(&["--dataset.episode_time_s=60"]);
    running.wait_for("recording episode");
    said(&lab.run(&["recover", "data/set"]), 1, &["another recorder is writing this data set"]);
    running.signal(Signal::INT);
    said(&running.wait(), 130, &[]);
}
