//! A crash at any step of a change, on a data set that LeRobot wrote and on one of ours.

use super::*;
use crate::clock::Stamp;
use crate::dataset::{Dataset, DatasetSpec, EpisodeCounters, Recovery, Row};
use commit::{apply_partly, complete_saves};
use std::fs;

/// Every file below `root` but the lock, with its content.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if !path.ends_with(layout::LOCK) {
                files.push((path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in tree(from) {
        fs::create_dir_all(to.join(&path).parent().unwrap()).unwrap();
        fs::write(to.join(path), bytes).unwrap();
    }
}

/// The data set that LeRobot wrote: two episodes in each file. With a label.
fn lerobots(root: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lerobot-v3-sample"), root);
    labels::write(root, &Labels::from([(1, "success".into())])).unwrap();
}

/// One of ours: four episodes of an arm without cameras, a file each.
fn ours(root: &Path) {
    let spec = DatasetSpec {
        fps: 30,
        robot_type: None,
        state_names: vec!["a".into(), "b".into()],
        action_names: vec!["a".into(), "b".into()],
        cameras: vec![],
    };
    let mut dataset = Dataset::create(root, spec).unwrap();
    for take in 0..4 {
        let mut writer = dataset.begin(take, "pick").unwrap();
        for k in 0..5 + take {
            let values = vec![(take + k) as f32, k as f32];
            let tick = Stamp { mono_ns: k * 33_333_333, utc_ns: k * 33_333_333 };
            writer.push_row(Row { tick, state: values.clone(), action: values, ..Row::default() }).unwrap();
        }
        dataset.commit(writer, "a", &EpisodeCounters::default()).unwrap();
    }
    drop(dataset);
    labels::write(root, &Labels::from([(0, "failure".into()), (3, "success".into())])).unwrap();
}

use labels::Labels;

fn staged(root: &Path, change: impl Fn(&Catalogue) -> Change) -> Edit {
    let catalogue = Catalogue::read(root).unwrap();
    let change = change(&catalogue);
    change::stage(&catalogue, &change, &change.plan(&catalogue), &labels::read(root).unwrap()).unwrap().0
}

#[test]
fn a_crash_anywhere_gives_the_old_data_set_or_the_new_one() {
    let delete = |root: &Path, number| staged(root, |catalogue| Change::delete(catalogue, &BTreeSet::from([number])));
    let success = |root: &Path| staged(root, |catalogue| Change::success(catalogue, vec![1; catalogue.episodes.len()]));
    // As the first episode of a data set is taken back: info.json goes last.
    let nothing_stays = |root: &Path| {
        let mut edit = Edit::begin(root, "all gone".into()).unwrap();
        tree(root)
            .into_iter()
            .filter(|(path, _)| !path.starts_with(layout::PARTIAL))
            .for_each(|(path, _)| edit.remove(path));
        edit
    };
    type Make = fn(&Path);
    type Staged<'a> = Box<dyn Fn(&Path) -> Edit + 'a>;
    let cases: [(Make, Staged); 5] = [
        (lerobots, Box::new(|root| delete(root, 0))),
        (ours, Box::new(|root| delete(root, 1))),
        (ours, Box::new(|root| delete(root, 3))),
        (ours, Box::new(success)),
        (ours, Box::new(nothing_stays)),
    ];
    for (case, (make, staged)) in cases.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        make(&old);
        copy(&old, &new);
        staged(&new).commit().unwrap();
        let (before, after) = (tree(&old), tree(&new));
        assert_ne!(before, after);

        // Before the point of no return: the old one, and nothing is left behind.
        let root = dir.path().join("staged");
        copy(&old, &root);
        std::mem::forget(staged(&root));
        assert!(root.join(".partial/edit").exists());
        assert_eq!(complete_saves(&root).unwrap(), Recovery::default());
        assert!(tree(&root) == before, "case {case}: staged only");

        // After it: the new one, whatever was done, and recovering again changes nothing.
        for steps in 0.. {
            let root = dir.path().join(steps.to_string());
            copy(&old, &root);
            let (folder, marker) = staged(&root).seal().unwrap();
            if !apply_partly(&root, &folder, &marker, steps) {
                break;
            }
            let there = folder.join("commit.json").exists();
            let recovery = complete_saves(&root).unwrap();
            assert!(recovery.edited.len() <= usize::from(there), "case {case}, {steps} steps: {recovery:?}");
            assert!(tree(&root) == after, "case {case}: after {steps} steps");
            assert_eq!(complete_saves(&root).unwrap(), Recovery::default());
            fs::remove_dir_all(root).unwrap();
        }
    }
}

#[test]
fn a_change_is_made_to_no_other_data_set_than_the_one_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    ours(root);
    let edit = staged(root, |catalogue| Change::delete(catalogue, &BTreeSet::from([1])));
    edit.seal().unwrap();
    let info = fs::read_to_string(root.join(layout::INFO)).unwrap();
    fs::write(root.join(layout::INFO), info.replace("\"total_episodes\": 4", "\"total_episodes\": 5")).unwrap();
    let before = tree(root);
    let message = complete_saves(root).unwrap_err().to_string();
    assert!(
        message.contains(
            ".partial/edit: expected meta/info.json as it was before or after the edit there (episode 1 deleted)"
        ),
        "{message}"
    );
    assert!(tree(root) == before);
    fs::write(root.join(layout::INFO), info).unwrap();
    assert_eq!(complete_saves(root).unwrap().edited, ["episode 1 deleted"]);
}

/// A disk that fails while the change is made: it is complete at the next start.
#[test]
fn a_change_that_fails_late_is_completed_later() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    ours(root);
    fs::remove_dir_all(root.join("recorder/rows")).unwrap();
    // A folder where a file is to go: renames before it succeed, this one cannot.
    let summary = root.join("recorder/episodes/chunk-000/file-002.json");
    let edit = staged(root, |catalogue| Change::delete(catalogue, &BTreeSet::from([1])));
    fs::remove_file(&summary).unwrap();
    fs::create_dir_all(summary.join("in the way")).unwrap();
    let error = EpisodesError::from(edit.commit().unwrap_err());
    assert!(error.to_string().contains("the change is made, and is completed by the next"), "{error}");
    assert_eq!(error.exit_code(), 1);
    fs::remove_dir_all(summary).unwrap();
    assert_eq!(complete_saves(root).unwrap().edited, ["episode 1 deleted"]);
    Catalogue::read(root).unwrap().require_whole().unwrap();
    assert!(!root.join(".partial/edit").exists());
}
