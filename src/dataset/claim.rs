//! The right to write in a data set's folder, and taking away what claiming it made there.

use super::disk;
use super::error::DatasetError;
use super::layout;
use rustix::fs::{Access, FlockOperation};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, DatasetError>;

/// The only process that writes in a folder. A crash gives the claim up by itself.
///
/// What was made for it is taken away again on drop, unless something was saved: a run that fails at its start leaves
/// the disk as it was.
#[derive(Debug)]
pub struct Claim {
    _lock: File,
    /// The lock's file and the folders around it that were not there before, innermost first.
    made: Vec<PathBuf>,
}

impl Claim {
    /// Makes the data set's folder where it is absent, and locks it.
    pub fn new(root: &Path) -> Result<Claim> {
        let path = root.join(layout::LOCK);
        let absent = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made: Vec<PathBuf> = absent.map(Path::to_owned).collect();
        if let Err(error) = disk::create_dir_all(&root.join(layout::RECORDER)) {
            take_away(&made[1.min(made.len())..]);
            return Err(error);
        }
        Ok(Claim { _lock: lock(root)?, made })
    }

    /// Says whether [`Claim::new`] would do, and makes nothing.
    pub fn check(root: &Path) -> Result<()> {
        let existing = root.ancestors().find(|path| path.exists() && !path.as_os_str().is_empty());
        let existing = existing.unwrap_or(Path::new("."));
        if !existing.is_dir() {
            return Err(DatasetError::Invalid {
                path: existing.to_owned(),
                expected: "a folder on the way to the data set".into(),
                found: "a file".into(),
                remedy: "choose another dataset.root",
            });
        }
        rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|e| DatasetError::io("write in the folder", existing)(e.into()))?;
        if root.join(layout::LOCK).exists() { lock(root).map(drop) } else { Ok(()) }
    }

    /// Something was saved: all that was made stays.
    pub fn keep(&mut self) {
        self.made.clear();
    }

    /// Nothing was saved, and nothing will be: see the type.
    pub fn withdraw(&mut self) {
        // The file goes while it is locked, so that it is never another process's.
        take_away(&std::mem::take(&mut self.made));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Removes a file and folders around it, up to the first that holds something else.
fn take_away(paths: &[PathBuf]) {
    for path in paths {
        if fs::remove_file(path).is_err() && fs::remove_dir(path).is_err() {
            return;
        }
    }
}

/// Takes the lock that a crash releases by itself.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(layout::LOCK);
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
    loop {
        let file = options.open(&path).map_err(DatasetError::io("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DatasetError::Locked { root: root.to_owned() }),
            Err(e) => return Err(DatasetError::io("lock", &path)(e.into())),
        }
        // One that was taken away between opening and locking protects nothing.
        let locked = file.metadata().map_err(DatasetError::io("lock", &path))?.ino();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == locked) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_taken_away_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b/set");
        drop(Claim::new(&root).unwrap());
        assert!(!dir.path().join("a").exists());

        fs::create_dir(dir.path().join("a")).unwrap();
        let claim = Claim::new(&root).unwrap();
        fs::write(dir.path().join("a/b/other"), "").unwrap();
        drop(claim);
        assert!(!root.exists() && dir.path().join("a/b/other").exists());

        let mut claim = Claim::new(&root).unwrap();
        claim.keep();
        drop(claim);
        assert!(root.join(layout::LOCK).exists());
        drop(Claim::new(&root).unwrap());
        assert!(root.join(layout::LOCK).exists(), "it was there before");
    }

    #[test]
    fn places_that_cannot_be_claimed_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Claim::check(&file.join("set")).unwrap_err().to_string();
        assert!(error.contains(&format!("{}: expected a folder", file.display())), "{error}");
        Claim::check(&dir.path().join("a/b")).unwrap();
        let claim = Claim::new(dir.path()).unwrap();
        assert!(matches!(Claim::check(dir.path()), Err(DatasetError::Locked { .. })));
        assert!(matches!(Claim::new(dir.path()), Err(DatasetError::Locked { .. })));
        drop(claim);
        Claim::check(dir.path()).unwrap();
    }
}
