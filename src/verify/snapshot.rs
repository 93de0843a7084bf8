//! The data set as it is at one moment, while a recorder may be adding to it: the small files of `meta/`, and the names
//! of all others. Takes no lock.
//!
//! A save renames its files to their places one by one, info.json last, and its list of renames (`commit.json`) goes
//! after that. So: info.json first, the files, then the lists of renames, info.json again. If it has not changed, every
//! file that a save in progress has put there is in a list.

use crate::dataset::{DatasetError, disk, layout};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

type Result<T> = std::result::Result<T, DatasetError>;

/// Longest JSON file of `meta/` that is read.
const MAX_JSON: u64 = 64 << 20;
/// Times that a moment without a save is looked for; a save takes some 50 ms, an episode at least a second.
const TRIES: usize = 20;
/// Folders below a series' own: `chunk-000`.
const DEPTH: usize = 3;

#[derive(Debug)]
pub struct Snapshot {
    /// The content of info.json; else what is wrong with it.
    pub info: std::result::Result<Value, String>,
    pub stats: std::result::Result<Value, String>,
    /// The bytes of tasks.parquet.
    pub tasks: std::result::Result<Vec<u8>, String>,
    /// Paths from the data set's root in `data/`, `meta/episodes/`, `videos/` and `recorder/`.
    pub files: BTreeSet<String>,
    /// Files that a save puts there that is not finished; they do not count yet.
    pub saving: BTreeSet<String>,
    /// What is no part of the data set yet, in words.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// # Errors
    /// When there is no data set, or a folder cannot be listed.
    pub fn take(root: &Path) -> Result<Snapshot> {
        // A folder `data` alone is anybody's.
        let parts = [layout::INFO, layout::STATS, layout::TASKS, layout::EPISODES, "data/chunk-000"];
        let any = parts.iter().any(|part| root.join(part).exists());
        if !any {
            let found = match (root.is_dir(), root.exists()) {
                (true, _) if !disk::names(&root.join(layout::PARTIAL))?.is_empty() => {
                    "takes in progress, and no episode that is saved"
                }
                (true, _) => "no meta/info.json",
                (false, true) => "a file",
                (false, false) => "no such folder",
            };
            return Err(DatasetError::Invalid {
                path: root.to_owned(),
                expected: "a LeRobot v3.0 data set".into(),
                found: found.into(),
                remedy: "give the folder that holds meta/, data/ and videos/",
            });
        }
        let empty = || Snapshot {
            info: Err(String::new()),
            stats: Err(String::new()),
            tasks: Err(String::new()),
            files: BTreeSet::new(),
            saving: BTreeSet::new(),
            notes: Vec::new(),
        };
        let mut snapshot = empty();
        for _ in 0..TRIES {
            snapshot = empty();
            let before = read_limited(&root.join(layout::INFO));
            snapshot.stats = read_limited(&root.join(layout::STATS)).and_then(|bytes| json(&bytes));
            snapshot.tasks = read_limited(&root.join(layout::TASKS));
            for series in [layout::DATA, layout::EPISODES, layout::VIDEOS, layout::RECORDER] {
                list(root, series, DEPTH, &mut snapshot.files)?;
            }
            snapshot.read_partial(root, before.as_ref().ok().and_then(|bytes| json(bytes).ok()))?;
            let same = before == read_limited(&root.join(layout::INFO));
            snapshot.info = before.and_then(|bytes| json(&bytes));
            if same {
                break;
            }
        }
        Ok(snapshot)
    }

    /// What is in `.partial`.
    fn read_partial(&mut self, root: &Path, info: Option<Value>) -> Result<()> {
        let partial = root.join(layout::PARTIAL);
        let episodes = info.and_then(|info| info["total_episodes"].as_u64()).unwrap_or(0);
        let (mut aside, mut waiting, mut open) = (0, 0, 0);
        for name in disk::names(&partial)? {
            let dir = partial.join(&name);
            let marker = read_limited(&dir.join("commit.json")).and_then(|bytes| json(&bytes));
            if name.starts_with(layout::ORPHAN_PREFIX) {
                aside += 1;
            } else if name == layout::EDIT {
                if let Ok(marker) = marker {
                    self.notes.push(format!(
                        "{}/{name}: episodes are being changed, or that was interrupted ({}): what is found may be half of \
                         each; the next start of the recorder, or `recorder recover`, completes it",
                        layout::PARTIAL,
                        marker["edit"]["what"].as_str().unwrap_or("unknown")
                    ));
                }
            } else if let Ok(marker) = marker {
                // Of an episode that counts already only the folder is left.
                if marker["episode"].as_u64().is_some_and(|episode| episode >= episodes) {
                    let renames = marker["renames"].as_array().into_iter().flatten();
                    self.saving.extend(renames.filter_map(|rename| Some(rename[1].as_str()?.to_owned())));
                    self.notes.push(format!(
                        "{}/{name}: episode {} is being saved, or its save was interrupted: it does not count yet; the next \
                         start of the recorder, or `recorder recover`, completes it",
                        layout::PARTIAL,
                        marker["episode"]
                    ));
                }
            } else if dir.join(layout::WAITING).exists() {
                waiting += 1;
            } else if dir.is_dir() {
                open += 1;
            }
        }
        for (count, what) in [
            (open, "in progress, or left by a recorder that was killed"),
            (waiting, "recorded and waiting to be encoded"),
            (aside, "kept aside since they were not finished"),
        ] {
            if count > 0 {
                self.notes.push(format!(
                    "takes in {} that are {what}: {count}; they are not part of the data set",
                    layout::PARTIAL
                ));
            }
        }
        Ok(())
    }
}

/// A small file; what is wrong, in words.
pub fn read_limited(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_JSON + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_JSON { Err(format!("more than {MAX_JSON} bytes")) } else { Ok(bytes) }
}

/// JSON; what is wrong, in words.
pub fn json(bytes: &[u8]) -> std::result::Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Every file in a folder and those below it. Links to files are files; those to folders are followed as deep as folders.
fn list(root: &Path, folder: &str, depth: usize, files: &mut BTreeSet<String>) -> Result<()> {
    for name in disk::names(&root.join(folder))? {
        let path = format!("{folder}/{name}");
        let is_dir = fs::metadata(root.join(&path)).is_ok_and(|metadata| metadata.is_dir());
        if !is_dir {
            files.insert(path);
        } else if depth > 0 {
            list(root, &path, depth - 1, files)?;
        }
    }
    Ok(())
}
