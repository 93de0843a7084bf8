//! The right to write in a data set's folder, and taking away what claiming it made there.

use super::disk;
use super::error::DatasetError;
use super::layout;
use rustix::fs::FlockOperation;
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
    lock: File,
    /// The lock's file and the folders around it that were not there before, innermost first.
    made: Vec<PathBuf>,
}

impl Claim {
    /// Makes the data set's folder where it is absent, and locks it.
    pub fn new(root: &Path) -> Result<Claim> {
        let path = root.join(layout::LOCK);
        let absent = path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let made: Vec<PathBuf> = absent.map(Path::to_owned).collect();
        if let Err(error) = disk::create_dir_all_durably(&root.join(layout::RECORDER)) {
            take_away(made.get(1..).unwrap_or_default());
            return Err(match error {
                DatasetError::Io { source, .. } => DatasetError::Invalid {
                    path: root.to_owned(),
                    expected: "a folder that can be made and written in".into(),
                    found: source.to_string(),
                    remedy: "check the rights of the folders above it, or choose another dataset.root",
                },
                other => other,
            });
        }
        Ok(Claim { lock: lock(root)?, made })
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
        // Closing is not enough: a process that is just being started shares the file until it runs its own program.
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

/// Refuses a path that leads through a file.
pub fn refuse_file(root: &Path) -> Result<()> {
    match root.ancestors().find(|path| path.exists()) {
        Some(path) if !path.is_dir() => Err(DatasetError::Invalid {
            path: path.to_owned(),
            expected: "a folder on the way to the data set".into(),
            found: "a file".into(),
            remedy: "choose another dataset.root",
        }),
        _ => Ok(()),
    }
}

/// Removes a file and the folders around it; those that hold something else stay.
fn take_away(paths: &[PathBuf]) {
    for path in paths {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
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
        let error = refuse_file(&file.join("set")).unwrap_err().to_string();
        assert!(error.contains(&format!("{}: expected a folder on the way", file.display())), "{error}");
        let error = Claim::new(&file.join("set")).unwrap_err().to_string();
        assert!(error.contains("file/set: expected a folder that can be made") && error.contains("rights"), "{error}");
        refuse_file(&dir.path().join("a/b")).unwrap();
        let claim = Claim::new(dir.path()).unwrap();
        assert!(matches!(Claim::new(dir.path()), Err(DatasetError::Locked { .. })));
        drop(claim);
        Claim::new(dir.path()).unwrap();
    }
}
