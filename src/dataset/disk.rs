//! The few operations on files that a data set is made of, with errors that carry operation and path.

use super::error::DatasetError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

type Result<T> = std::result::Result<T, DatasetError>;

/// A whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(DatasetError::io("read", path))
}

/// Writes a whole file; it is not durable before [`sync_all`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(DatasetError::io("write", path))
}

/// Makes files and folders durable, all at once: a journaling file system then commits them together, where one after
/// the other costs a commit each (on ext4 9 files take 2 ms instead of 32 ms).
pub fn sync_all(paths: &[PathBuf]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            sync(path)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..paths.len().min(MOST_SYNCS)).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Threads that wait for the disk at the same time; more are of no use.
const MOST_SYNCS: usize = 64;

/// Makes one file or folder durable.
pub fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(DatasetError::io("fsync", path))
}

/// Writes a whole file so that after a crash it is there whole, or not at all.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("tmp");
    write(&unfinished, bytes)?;
    sync(&unfinished)?;
    rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), sync)
}

/// Makes the data of a file durable (`fdatasync`), if there is one.
pub fn sync_data_if_there(path: &Path) -> Result<()> {
    match File::open(path) {
        Ok(file) => file.sync_data().map_err(DatasetError::io("fsync", path)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(DatasetError::io("open", path)(e)),
    }
}

/// Removes a file durably; one that is not there is fine.
pub fn remove_durably(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(DatasetError::io("remove", path)(e)),
    }
}

/// Removes a file; one that is not there is fine.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(DatasetError::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Gives a file a second name; where the file system knows none, a copy, which is not durable yet: true then.
pub fn link(from: &Path, to: &Path) -> Result<bool> {
    let copy = |_| fs::copy(from, to).map(|_| true);
    fs::hard_link(from, to).map(|()| false).or_else(copy).map_err(DatasetError::io("copy", from))
}

/// Renames within the data set, over what is there.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(DatasetError::io("rename", from))
}

/// Makes a folder and those above it.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(DatasetError::io("make the folder", path))
}

/// Makes a folder and those above it, and makes that durable.
pub fn create_dir_all_durably(path: &Path) -> Result<()> {
    let new = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let parents: Vec<PathBuf> = new
        .filter_map(Path::parent)
        .map(|parent| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
        .collect();
    create_dir_all(path)?;
    sync_all(&parents)
}

/// Removes a folder with all that is in it.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(DatasetError::io("remove the folder", path))
}

/// Names in a folder, sorted; none when there is no such folder.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(DatasetError::io("list the folder", path)(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(DatasetError::io("list the folder", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
