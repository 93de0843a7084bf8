//! Sizes and checksums of an episode's files, in its summary (`recorder/episodes/…json`) under `files`.
//!
//! A file is as it was written if it matches *any* entry of its path. Whoever replaces a file adds the new entry
//! durably before the rename ([`expect`]) and drops the others after it ([`settle`]): whenever the program is killed,
//! the file that is there matches one.

use super::disk;
use super::error::DatasetError;
use super::info;
use super::layout::{self, FileIndex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

type Result<T> = std::result::Result<T, DatasetError>;

const KEY: &str = "files";

/// One file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// From the data set's root, with `/`.
    pub path: String,
    pub bytes: u64,
    /// CRC-32 (ISO-HDLC, as in zip and PNG) of the whole file.
    pub crc32: u32,
}

impl FileSum {
    /// Of a file whose bytes are at hand.
    pub fn of_bytes(path: &Path, bytes: &[u8]) -> FileSum {
        let crc32 = crc32fast::hash(bytes);
        FileSum { path: path.display().to_string(), bytes: bytes.len() as u64, crc32 }
    }

    /// Of a file on disk, read from its first byte to its last; `path` is its place in the data set.
    pub fn of_file(file: &Path, path: &Path) -> Result<FileSum> {
        let mut source = File::open(file).map_err(DatasetError::io("open", file))?;
        let (mut crc, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 18]);
        loop {
            match source.read(&mut buffer).map_err(DatasetError::io("read", file))? {
                0 => break,
                n => {
                    crc.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
        Ok(FileSum { path: path.display().to_string(), bytes, crc32: crc.finalize() })
    }
}

/// Where the summary of an episode lies, from the data set's root.
pub fn summary_path(episode: u64) -> PathBuf {
    FileIndex::nth(episode).path(layout::RECORDER_EPISODES, "json")
}

/// The entries of a summary; none in one of an older recorder.
pub fn in_summary(summary: &Value) -> Vec<FileSum> {
    summary.get(KEY).and_then(|files| Vec::deserialize(files).ok()).unwrap_or_default()
}

/// Replaces the entries of a summary; all else in it stays as it is.
pub fn set_in_summary(summary: &mut Value, files: &[FileSum]) {
    if let Some(object) = summary.as_object_mut() {
        object.insert(KEY.into(), json!(files));
    }
}

/// Before a file of an episode is replaced: lets the summary, durably, accept what is to be there, beside what is. Does
/// nothing for an episode without a summary, or with one that has no entry of the file.
pub fn expect(root: &Path, episode: u64, new: &FileSum) -> Result<()> {
    change(root, episode, |files| {
        // Beside the others of its path, so that the order does not depend on who is replaced first.
        if let Some(last) = files.iter().rposition(|entry| entry.path == new.path)
            && !files.contains(new)
        {
            files.insert(last + 1, new.clone());
        }
    })
}

/// After a file of an episode was replaced, durably: the summary accepts nothing else any more.
pub fn settle(root: &Path, episode: u64, new: &FileSum) -> Result<()> {
    change(root, episode, |files| files.retain(|entry| entry.path != new.path || entry == new))
}

/// The second half of a replacement that was interrupted: if more than one entry is accepted for a file, only the one
/// that it is stays.
pub fn settle_as_found(root: &Path, episode: u64, path: &Path) -> Result<()> {
    let name = path.display().to_string();
    let summary = root.join(summary_path(episode));
    let Ok(bytes) = disk::read(&summary) else { return Ok(()) };
    let Ok(summary) = serde_json::from_slice::<Value>(&bytes) else { return Ok(()) };
    if in_summary(&summary).iter().filter(|entry| entry.path == name).count() < 2 {
        return Ok(());
    }
    let found = FileSum::of_file(&root.join(path), path)?;
    change(root, episode, |files| {
        if files.contains(&found) {
            files.retain(|entry| entry.path != name || *entry == found);
        }
    })
}

/// Files of one episode are replaced by several threads.
static CHANGING: Mutex<()> = Mutex::new(());

fn change(root: &Path, episode: u64, change: impl FnOnce(&mut Vec<FileSum>)) -> Result<()> {
    let _alone = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = root.join(summary_path(episode));
    if !path.exists() {
        return Ok(());
    }
    // A summary that cannot be read is for `recorder verify` to tell of.
    let Ok(mut summary) = serde_json::from_slice::<Value>(&disk::read(&path)?) else { return Ok(()) };
    let before = in_summary(&summary);
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(());
    }
    set_in_summary(&mut summary, &after);
    disk::write_durably(&path, &info::to_json_bytes(&summary, "summary")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_replaced_matches_at_every_moment() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(summary_path(0));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let sum = |path: &str, crc32| FileSum { path: path.into(), bytes: 5, crc32 };
        let read = || in_summary(&serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
        std::fs::write(&path, json!({"take": 7, "files": [sum("a", 1), sum("b", 2)], "x": 0.1}).to_string()).unwrap();

        expect(root.path(), 0, &sum("a", 3)).unwrap();
        assert_eq!(read(), [sum("a", 1), sum("a", 3), sum("b", 2)]);
        // Killed here, and begun again with other bytes.
        expect(root.path(), 0, &sum("a", 4)).unwrap();
        settle(root.path(), 0, &sum("a", 4)).unwrap();
        assert_eq!(read(), [sum("a", 4), sum("b", 2)]);
        let summary: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&summary["take"], &summary["x"]), (&json!(7), &json!(0.1)));

        // Killed behind the rename: what is there decides.
        std::fs::write(root.path().join("a"), b"12345").unwrap();
        let found = FileSum::of_file(&root.path().join("a"), Path::new("a")).unwrap();
        settle_as_found(root.path(), 0, Path::new("a")).unwrap();
        assert_eq!(read(), [sum("a", 4), sum("b", 2)], "one entry is left alone, right or wrong");
        expect(root.path(), 0, &found).unwrap();
        settle_as_found(root.path(), 0, Path::new("a")).unwrap();
        assert_eq!(read(), [found.clone(), sum("b", 2)]);

        // What is not listed, or has no summary, stays so.
        expect(root.path(), 0, &sum("c", 3)).unwrap();
        expect(root.path(), 1, &sum("a", 3)).unwrap();
        assert_eq!(read(), [found, sum("b", 2)]);
        assert!(!root.path().join(summary_path(1)).exists());
    }

    #[test]
    fn a_file_has_the_checksum_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, b"123456789").unwrap();
        let sum = FileSum::of_file(&file, Path::new("data/f")).unwrap();
        assert_eq!(sum, FileSum { path: "data/f".into(), bytes: 9, crc32: 0xcbf4_3926 });
        assert_eq!(sum, FileSum::of_bytes(Path::new("data/f"), b"123456789"));
    }
}
