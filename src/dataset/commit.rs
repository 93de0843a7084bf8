//! How a take becomes an episode: all of its files, or none.
//!
//! 1. Every new file is written in the take's folder and made durable, by data and by name.
//! 2. `commit.json`, the list of renames, is written beside them, made durable under another name and renamed: the
//!    point of no return.
//! 3. The folders that they lead to are made and made durable, the files are renamed to their places, and every folder up
//!    to the root is made durable: no rename may outlive the folder it leads to.
//! 4. `meta/info.json` is renamed last, and made durable: from here on LeRobot sees the episode.
//! 5. The take's folder is removed.
//!
//! A crash before 2 leaves a take without a marker: it waits to be encoded (`waiting.json`), or the next start makes of it
//! what can be made (`recover.rs`). After 2, the next start does 3 to 5 again: a rename whose source is gone was done. A crash after 4 can bring the folder back, even after later episodes were
//! saved; info.json then counts the marker's episode already, and only the folder is removed.
//!
//! Saved episodes are changed in the same way ([`super::edit`]): a folder of its own holds what is new, and the marker also lists
//! the files that go, between 3 and 4. Without a marker that folder is worth nothing and is removed. A marker says by checksum
//! from which info.json to which it leads, so that it is applied to no other data set than the one it was made for, and
//! it is removed durably before its folder: it does not come back.

use super::disk;
use super::error::DatasetError;
use super::info::Info;
use super::layout;
use super::recovery::Recovery;
use super::spec::DatasetSpec;
use super::waiting::{self, Parked};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

const MARKER: &str = "commit.json";
const UNSEALED_MARKER: &str = "commit.json.tmp";

/// What makes an episode, or changes saved ones. info.json comes last, whatever its place in the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The episode that is saved; of no meaning for an edit.
    pub episode: u64,
    /// From a name in the take's folder to a path in the data set.
    pub renames: Vec<(String, PathBuf)>,
    /// Paths in the data set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removals: Vec<PathBuf>,
    /// None for the save of an episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<EditGuard>,
}

/// What an edit does, and how to know whether it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditGuard {
    /// In words, such as `episodes 3, 5 deleted`.
    pub what: String,
    /// CRC-32 of info.json before it.
    pub before: Option<u32>,
    /// CRC-32 of info.json after it; none where it is gone then.
    pub after: Option<u32>,
}

/// Steps 1 and 2 up to the point of no return: staged files are durable, the marker is written but does not count yet.
/// After an error the take is as it was.
pub fn prepare(dir: &Path, marker: &Marker) -> Result<()> {
    prepare_files(dir, marker, marker.renames.iter().map(|(from, _)| dir.join(from)).collect())
}

/// The same where only `files` of those staged are not durable yet.
pub fn prepare_files(dir: &Path, marker: &Marker, mut files: Vec<PathBuf>) -> Result<()> {
    let path = dir.join(UNSEALED_MARKER);
    disk::write(&path, &serde_json::to_vec(marker).map_err(DatasetError::encode(MARKER))?)?;
    files.extend([path, dir.to_owned()]);
    disk::sync_all(&files)
}

/// The point of no return.
pub fn seal(dir: &Path) -> Result<()> {
    disk::rename(&dir.join(UNSEALED_MARKER), &dir.join(MARKER))?;
    disk::sync(dir)
}

/// Steps 3 to 5. Doing it again after an interruption, at any point, gives the same.
pub fn apply(root: &Path, dir: &Path, marker: &Marker) -> Result<()> {
    let is_info = |path: &Path| path == Path::new(layout::INFO);
    let (info, files): (Vec<_>, Vec<_>) = marker.renames.iter().cloned().partition(|(_, to)| is_info(to));
    let (no_info, gone): (Vec<_>, Vec<_>) = marker.removals.iter().cloned().partition(|path| is_info(path));
    rename_all(root, dir, &files)?;
    remove_all(root, &gone)?;
    rename_all(root, dir, &info)?;
    remove_all(root, &no_info)?;
    if marker.edit.is_some() {
        disk::remove_durably(&dir.join(MARKER))?;
    }
    waiting::remove(dir)
}

/// Removes files and the folders that are empty then, durably. What is gone was removed before.
fn remove_all(root: &Path, paths: &[PathBuf]) -> Result<()> {
    let mut parents = BTreeSet::new();
    for path in paths {
        disk::remove_if_there(&root.join(path))?;
        parents.extend(path.ancestors().skip(1).map(|ancestor| root.join(ancestor)));
    }
    // The innermost ones first; one that holds something stays.
    let emptied = parents.iter().rev().filter(|parent| *parent != root);
    emptied.for_each(|parent| drop(std::fs::remove_dir(parent)));
    parents.retain(|parent| parent.exists());
    disk::sync_all(&Vec::from_iter(parents))
}

/// Renames, then makes durable every folder from the files up to the root.
fn rename_all(root: &Path, dir: &Path, renames: &[(String, PathBuf)]) -> Result<()> {
    for parent in BTreeSet::from_iter(renames.iter().filter_map(|(_, to)| to.parent())) {
        disk::create_dir_all_durably(&root.join(parent))?;
    }
    for (from, to) in renames {
        let (from, target) = (dir.join(from), root.join(to));
        if from.exists() {
            disk::rename(&from, &target)?;
        } else if !target.exists() {
            return Err(DatasetError::Invalid {
                path: target,
                expected: "the file of an interrupted save".into(),
                found: format!("neither it nor {}", from.display()),
                remedy: "the disk lost a file it had reported as written: restore the data set from a copy",
            });
        }
    }
    sync_folders(root, renames)
}

/// Makes durable every folder from the files up to the root.
fn sync_folders(root: &Path, renames: &[(String, PathBuf)]) -> Result<()> {
    let folders = renames.iter().flat_map(|(_, to)| to.ancestors().skip(1)).map(|folder| root.join(folder));
    let there = BTreeSet::from_iter(folders).into_iter().filter(|folder| folder.exists());
    disk::sync_all(&Vec::from_iter(there))
}

/// What an earlier run left in a take's folder.
#[derive(Debug)]
pub enum Left {
    /// A save past its point of no return.
    Sealed(Marker),
    /// A take that waits to be encoded.
    Waiting(Box<Parked<'static>>),
    /// The beginning of an edit: of no use to anybody.
    Staged,
    /// An unfinished take; one that was to wait, but cannot, with the reason.
    Unfinished(Option<String>),
}

impl Left {
    /// The number of a take that waits.
    pub fn waiting(&self) -> Option<u64> {
        if let Left::Waiting(parked) = self { Some(parked.take()) } else { None }
    }
}

/// What earlier runs left behind, by folder: interrupted saves in the order of episodes, then waiting takes in the order
/// in which they were recorded, then the rest. Changes nothing.
pub fn find(root: &Path) -> Result<Vec<(PathBuf, Left)>> {
    let partial = root.join(layout::PARTIAL);
    let mut found = Vec::new();
    let is_left = |name: &String| ![layout::ORPHAN_PREFIX, layout::REMOVED_PREFIX].iter().any(|p| name.starts_with(p));
    for name in disk::names(&partial)?.into_iter().filter(is_left) {
        let dir = partial.join(name);
        let path = dir.join(MARKER);
        let left = if path.exists() {
            Left::Sealed(parse(&disk::read(&path)?, &path)?)
        } else if layout::is_edit(&dir) {
            Left::Staged
        } else if dir.join(layout::WAITING).exists() {
            Parked::read(&dir)?.map_or_else(
                |reason| Left::Unfinished(Some(format!("its {} is damaged: {reason}", layout::WAITING))),
                |p| Left::Waiting(Box::new(p)),
            )
        } else {
            Left::Unfinished(None)
        };
        found.push((dir, left));
    }
    found.sort_by_key(|(_, left)| match left {
        Left::Sealed(marker) => (0, marker.episode),
        Left::Waiting(parked) => (1, parked.take()),
        Left::Staged | Left::Unfinished(_) => (2, 0),
    });
    Ok(found)
}

/// True when there is a take that waits to be encoded. Refused when one was recorded with another set-up.
pub fn waits(found: &[(PathBuf, Left)], spec: &DatasetSpec) -> Result<bool> {
    let mut any = false;
    for (dir, left) in found {
        if let Left::Waiting(parked) = left {
            waiting::refuse_differences(dir, parked, spec)?;
            any = true;
        }
    }
    Ok(any)
}

/// Completes interrupted saves and edits only. What else is in progress stays as it is.
pub fn complete_saves(root: &Path) -> Result<Recovery> {
    let mut recovery = Recovery::default();
    for (dir, left) in find(root)? {
        match left {
            Left::Sealed(marker) => complete_save(root, dir, &marker, &mut recovery)?,
            Left::Staged => waiting::remove(&dir)?,
            Left::Waiting(_) | Left::Unfinished(_) => {}
        }
    }
    Ok(recovery)
}

/// Completes what is past its point of no return, unless it was complete.
fn complete_save(root: &Path, dir: PathBuf, marker: &Marker, recovery: &mut Recovery) -> Result<()> {
    if let Some(edit) = &marker.edit {
        return complete_edit(root, dir, marker, edit, recovery);
    }
    let path = root.join(layout::INFO);
    let saved = if path.exists() { Info::parse(&disk::read(&path)?, &path)?.total_episodes } else { 0 };
    // What is there may not be durable yet: the process was killed before it had synced the folders.
    sync_folders(root, &marker.renames)?;
    if marker.episode < saved {
        return waiting::remove(&dir);
    }
    if marker.episode > saved {
        return Err(DatasetError::Invalid {
            path: dir,
            expected: format!("the save of episode {saved}"),
            found: format!("that of episode {}", marker.episode),
            remedy: "move the folder away, or restore the missing episodes",
        });
    }
    apply(root, &dir, marker)?;
    recovery.completed.push(marker.episode);
    Ok(())
}

fn complete_edit(root: &Path, dir: PathBuf, marker: &Marker, edit: &EditGuard, recovery: &mut Recovery) -> Result<()> {
    let found = info_checksum(root)?;
    if found != edit.before && found != edit.after {
        return Err(DatasetError::Invalid {
            path: dir,
            expected: format!("meta/info.json as it was before or after the edit there ({})", edit.what),
            found: "another one".into(),
            remedy: "restore meta/info.json from a copy, and start again",
        });
    }
    // Where both are alike it may be done, and doing it again gives the same.
    if found == edit.before {
        recovery.edited.push(edit.what.clone());
    }
    // Done, but by a process that may have been killed before it was durable.
    sync_folders(root, &marker.renames)?;
    let done = Marker { edit: marker.edit.clone(), ..Marker::default() };
    apply(root, &dir, if found == edit.before { marker } else { &done })
}

/// CRC-32 of info.json; none where it is not.
pub fn info_checksum(root: &Path) -> Result<Option<u32>> {
    let path = root.join(layout::INFO);
    if path.exists() { Ok(Some(crc32fast::hash(&disk::read(&path)?))) } else { Ok(None) }
}

/// Reads a marker; one whose paths leave the data set is refused.
fn parse(bytes: &[u8], path: &Path) -> Result<Marker> {
    let invalid = |found: String| DatasetError::Invalid {
        path: path.to_owned(),
        expected: "the list of an interrupted save's files".into(),
        found,
        remedy: "move the folder away: what it holds was not saved",
    };
    let marker: Marker = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
    let inside = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
    if let Some((from, to)) = marker.renames.iter().find(|(from, to)| !inside(Path::new(from)) || !inside(to)) {
        return Err(invalid(format!("`{from}` to `{}`", to.display())));
    }
    match marker.removals.iter().find(|path| !inside(path)) {
        Some(path) => Err(invalid(format!("the removal of `{}`", path.display()))),
        None => Ok(marker),
    }
}

/// Makes the first steps of [`apply`] only, as a crash leaves it; false when there are fewer.
#[cfg(test)]
pub fn apply_partly(root: &Path, dir: &Path, marker: &Marker, steps: usize) -> bool {
    let is_info = |path: &Path| path == Path::new(layout::INFO);
    let mut all: Vec<Box<dyn Fn() -> Result<()> + '_>> = Vec::new();
    for info in [false, true] {
        for rename in marker.renames.iter().filter(|(_, to)| is_info(to) == info) {
            all.push(Box::new(move || rename_all(root, dir, std::slice::from_ref(rename))));
        }
        for path in marker.removals.iter().filter(|path| is_info(path) == info) {
            all.push(Box::new(move || remove_all(root, std::slice::from_ref(path))));
        }
    }
    all.push(Box::new(move || disk::remove_durably(&dir.join(MARKER))));
    all.push(Box::new(move || waiting::remove(dir)));
    all.iter().take(steps).for_each(|step| step().unwrap());
    steps <= all.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::OnCrash;
    use crate::dataset::{Dataset, DatasetSpec, Recovery};
    use std::fs;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn spec() -> DatasetSpec {
        DatasetSpec { fps: 30, robot_type: None, state_names: vec!["a".into()], action_names: vec![], cameras: vec![] }
    }

    fn recover(root: &Path) -> Result<Recovery> {
        Dataset::recover(root, OnCrash::Keep)
    }

    fn info(episodes: u64) -> String {
        let mut info = Info::new(&spec());
        info.set_totals(episodes, 0, 0);
        serde_json::to_string(&info).unwrap()
    }

    /// Every file below `root` but the lock, with its content.
    fn tree(root: &Path) -> Vec<(PathBuf, String)> {
        let mut files = Vec::new();
        let mut dirs = vec![root.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else {
                    files.push((path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
        files.retain(|(path, _)| path != Path::new(layout::LOCK));
        files.sort();
        files
    }

    /// A data set of one episode, and a take about to become episode 1.
    fn staged(root: &Path) -> (PathBuf, Marker) {
        put(&root.join(layout::INFO), &info(1));
        let dir = root.join(layout::take(1, 1));
        let renames = vec![
            ("a.mp4".to_string(), PathBuf::from("videos/a/chunk-000/file-001.mp4")),
            ("b.parquet".to_string(), PathBuf::from("data/chunk-000/file-001.parquet")),
            ("info.json".to_string(), PathBuf::from(layout::INFO)),
        ];
        put(&dir.join("a.mp4"), "video");
        put(&dir.join("b.parquet"), "rows");
        put(&dir.join("info.json"), &info(2));
        let marker = Marker { episode: 1, renames, ..Marker::default() };
        prepare(&dir, &marker).unwrap();
        (dir, marker)
    }

    #[test]
    fn a_crash_anywhere_gives_the_old_data_set_or_the_new_one() {
        let expected = tempfile::tempdir().unwrap();
        let (dir, marker) = staged(expected.path());
        seal(&dir).unwrap();
        apply(expected.path(), &dir, &marker).unwrap();
        let expected = tree(expected.path());

        // Before the point of no return: the old data set, and the take is kept.
        let root = tempfile::tempdir().unwrap();
        staged(root.path());
        let recovery = recover(root.path()).unwrap();
        assert_eq!((recovery.completed.len(), recovery.orphans.len()), (0, 1));
        assert_eq!(fs::read_to_string(recovery.orphans[0].path.join("a.mp4")).unwrap(), "video");
        assert_eq!(fs::read_to_string(root.path().join(layout::INFO)).unwrap(), info(1));
        let before = tree(root.path());
        assert_eq!(recover(root.path()).unwrap(), Recovery::default(), "the second time finds nothing to do");
        assert_eq!(tree(root.path()), before);

        // After it: the new one, whichever renames were done.
        for done in 0..=marker.renames.len() {
            let root = tempfile::tempdir().unwrap();
            let (dir, marker) = staged(root.path());
            seal(&dir).unwrap();
            rename_all(root.path(), &dir, &marker.renames[..done]).unwrap();
            recover(root.path()).unwrap();
            assert_eq!(tree(root.path()), expected, "{done} renames done");
            assert_eq!(recover(root.path()).unwrap(), Recovery::default());
        }
    }

    #[test]
    fn a_marker_that_came_back_after_later_episodes_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (dir, _) = staged(root.path());
        seal(&dir).unwrap();
        put(&root.path().join(layout::INFO), &info(5));
        assert_eq!(recover(root.path()).unwrap(), Recovery::default());
        assert_eq!(tree(root.path()), [(PathBuf::from(layout::INFO), info(5))]);
    }

    #[test]
    fn lost_files_gaps_and_foreign_paths_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let (dir, _) = staged(root.path());
        seal(&dir).unwrap();
        fs::remove_file(dir.join("b.parquet")).unwrap();
        let message = recover(root.path()).unwrap_err().to_string();
        assert!(
            message.contains("data/chunk-000/file-001.parquet: expected the file of an interrupted save"),
            "{message}"
        );

        put(&root.path().join(layout::INFO), &info(0));
        let message = recover(root.path()).unwrap_err().to_string();
        assert!(message.contains("expected the save of episode 0, found that of episode 1"), "{message}");

        for to in ["../outside", "/etc/passwd", "data/../../x"] {
            let marker = Marker { episode: 1, renames: vec![("a.mp4".into(), to.into())], ..Marker::default() };
            let error = parse(&serde_json::to_vec(&marker).unwrap(), Path::new("m")).unwrap_err().to_string();
            assert!(error.contains(to), "{error}");
        }
        assert!(parse(b"{", Path::new("m")).is_err());
    }
}
