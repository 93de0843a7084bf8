//! Crashes and failing disks: what was saved stays, what was not is saved by the next start.

mod dataset_support;

use dataset_support::{Codec, check, counters, encode, fill, record, spec, tree};
use recorder::dataset::{Dataset, DatasetError, Fate};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const ROOT: &str = "RECORDER_TEST_ROOT";

/// Records into the data set of [`ROOT`] until it is killed, and tells each step on its standard output.
#[test]
#[ignore = "the child of `a_killed_recorder_loses_no_saved_episode`"]
fn child_that_records() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let (root, spec, video) = (Path::new(&root), spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 20));
    let exists = root.join("meta/info.json").exists();
    let mut dataset =
        if exists { Dataset::resume(root, spec.clone()) } else { Dataset::create(root, spec.clone()) }.unwrap();
    for take in 0.. {
        let mut writer = dataset.begin(take, "a").unwrap();
        fill(&mut writer, &spec, &video, 20);
        println!("recorded");
        let episode = dataset.commit(writer, "a", &counters(&spec, 20)).unwrap().episode_index;
        println!("saved {episode}");
    }
}

/// SIGKILL at many instants of recording and saving.
#[test]
fn a_killed_recorder_loses_no_saved_episode() {
    let root = tempfile::tempdir().unwrap();
    // Episodes, of them those that are cut short, and the frames of these.
    let (mut saved, mut short, mut frames) = (0, 0, 0);
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "child_that_records"])
            .env(ROOT, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Each round dies a little later in the save of its third take.
        let mut recorded = 0;
        for line in lines.by_ref() {
            recorded += u64::from(line.contains("recorded"));
            if let Some(episode) = line.strip_prefix("saved ") {
                saved = episode.parse::<u64>().unwrap() + 1;
            }
            if recorded == 3 {
                break;
            }
        }
        assert_eq!(recorded, 3, "the child ended by itself");
        (0..round * 40_000).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            if let Some(episode) = line.strip_prefix("saved ") {
                saved = episode.parse::<u64>().unwrap() + 1;
            }
        }
        let dataset = Dataset::resume(root.path(), spec(Codec::Mjpeg)).unwrap();
        // Its third take, and one that it may have begun since.
        let episodes = dataset.episodes();
        assert!((saved..=saved + 2).contains(&episodes), "{saved} episodes were saved, {episodes} are there");
        let recovery = dataset.recovery();
        assert!(recovery.orphans.is_empty() && recovery.takes.len() <= 1, "{recovery:?}");
        frames += recovery.takes.iter().filter(|take| take.rows < 20).map(|take| 2 * take.rows).sum::<u64>();
        short += recovery.takes.iter().filter(|take| (1..20).contains(&take.rows)).count() as u64;
        saved = episodes;
        drop(dataset);
        let before = tree(root.path());
        drop(Dataset::resume(root.path(), spec(Codec::Mjpeg)).unwrap());
        assert!(tree(root.path()) == before, "recovering twice is recovering once");
    }
    frames += (saved - short) * 40;
    assert_eq!(check(root.path()), format!("{frames} frames, {saved} episodes, 0 bad"));
}

#[test]
fn a_save_that_fails_early_leaves_the_data_set_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 10));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    record(&mut dataset, &spec, 0, "a", &video);
    let mut writer = dataset.begin(1, "a").unwrap();
    fill(&mut writer, &spec, &video, 10);
    let take = root.path().join(".partial/episode_000001-take_000001");
    fs::create_dir(take.join("info.json")).unwrap();
    let error = dataset.commit(writer, "another", &counters(&spec, 10)).unwrap_err();
    assert!(matches!(&error, DatasetError::Io { operation: "write", path, .. } if path.starts_with(&take)), "{error}");
    assert_eq!(check(root.path()), "20 frames, 1 episodes, 0 bad");
    assert_eq!(record(&mut dataset, &spec, 2, "a", &video), 1, "the next take is not held up");
    drop(dataset);
    // All but what a save stages.
    let recorded = || {
        let staged = |path: &Path| {
            path.starts_with(".partial") && path.extension().is_some_and(|e| e != "mp4" && e != "journal")
        };
        tree(root.path()).into_iter().filter(|(path, _)| !staged(path)).collect::<Vec<_>>()
    };
    let before = recorded();
    let error = Dataset::resume(root.path(), spec.clone()).unwrap_err();
    assert!(matches!(&error, DatasetError::Io { operation: "write", .. }), "a disk that fails is said: {error}");
    assert!(recorded() == before, "and the take stays as it was");
    fs::remove_dir(take.join("info.json")).unwrap();
    let dataset = Dataset::resume(root.path(), spec).unwrap();
    assert_eq!(dataset.recovery().takes[0].fate, Fate::Episode(2), "the failed take is saved");
    assert_eq!(check(root.path()), "60 frames, 3 episodes, 0 bad");
}

#[test]
fn a_save_that_fails_late_is_completed_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let (spec, video) = (spec(Codec::Mjpeg), encode(Codec::Mjpeg, 0, 10));
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    // A file where the folder of tables must be: renames before it succeed, this one cannot.
    fs::write(root.path().join("data"), "in the way").unwrap();
    let mut writer = dataset.begin(0, "a").unwrap();
    fill(&mut writer, &spec, &video, 10);
    let error = dataset.commit(writer, "a", &counters(&spec, 10)).unwrap_err();
    assert!(matches!(error, DatasetError::Io { .. }), "{error}");
    let mut writer = dataset.begin(1, "a").unwrap();
    fill(&mut writer, &spec, &video, 10);
    let message = dataset.commit(writer, "a", &counters(&spec, 10)).unwrap_err().to_string();
    assert!(message.contains("the save of episode 0 was interrupted by an error"), "{message}");
    drop(dataset);
    fs::remove_file(root.path().join("data")).unwrap();
    let outlook = Dataset::check(root.path(), &spec, true).unwrap();
    let mut dataset = Dataset::resume(root.path(), spec.clone()).unwrap();
    assert_eq!(&outlook.recovery, dataset.recovery());
    assert_eq!((&dataset.recovery().completed, dataset.episodes()), (&vec![0], 2));
    assert_eq!(dataset.recovery().takes[0].fate, Fate::Episode(1), "the take that was not saved is now");
    assert_eq!(record(&mut dataset, &spec, 0, "a", &video), 2);
    assert_eq!(check(root.path()), "60 frames, 3 episodes, 0 bad");
}
