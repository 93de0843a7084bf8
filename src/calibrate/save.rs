//! A calibration file is replaced whole or not at all, and the one before it is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the calibration file {} cannot be written: {source}; check the folder's permissions and the disk", path.display())]
pub struct SaveError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// A file on disk under another name, until it is published; removed when it is dropped before.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    temporary: PathBuf,
    text: String,
}

/// What has become of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub path: PathBuf,
    /// It holds these very bytes since before.
    pub unchanged: bool,
    /// Where the file that stood there is kept.
    pub backup: Option<PathBuf>,
}

/// Puts `text` on the disk beside `path`, and makes the folders that are missing.
pub fn stage(path: &Path, text: &str) -> Result<Staged, SaveError> {
    // Where a link leads is what is replaced, not the link.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let write = || -> io::Result<PathBuf> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(folder)?;
        for folder in new.iter().filter_map(|folder| folder.parent()).filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(temporary)
    };
    match write() {
        Ok(temporary) => Ok(Staged { path, temporary, text: text.into() }),
        Err(source) => Err(SaveError { path, source }),
    }
}

impl Staged {
    /// Puts the file in its place at once; one that stood there and differs is kept beside it.
    pub fn publish(self) -> Result<Saved, SaveError> {
        let publish = || -> io::Result<Saved> {
            let path = self.path.clone();
            let backup = match fs::read(&path) {
                Ok(old) if old == self.text.as_bytes() => return Ok(Saved { path, unchanged: true, backup: None }),
                Ok(old) => Some(keep(&path, &old)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            fs::rename(&self.temporary, &path)?;
            if let Some(folder) = self.temporary.parent() {
                File::open(folder)?.sync_all()?;
            }
            Ok(Saved { path, unchanged: false, backup })
        };
        publish().map_err(|source| SaveError { path: self.path.clone(), source })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already if it was published.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Writes `bytes` to the first of `f1.json.1`, `f1.json.2` … that is free.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    for number in 1u32.. {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let backup = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&backup) {
            Ok(mut file) => {
                if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
                    let _ = fs::remove_file(&backup);
                    return Err(error);
                }
                return Ok(backup);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn every_older_file_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("robots/so_follower");
        let path = folder.join("f1.json");
        let save = |text: &str| stage(&path, text).unwrap().publish().unwrap();
        assert_eq!(save("one"), Saved { path: path.clone(), unchanged: false, backup: None });
        assert_eq!(save("two").backup, Some(folder.join("f1.json.1")));
        assert_eq!(save("two"), Saved { path: path.clone(), unchanged: true, backup: None });
        assert_eq!(save("three").backup, Some(folder.join("f1.json.2")));
        assert_eq!(names(&folder), ["f1.json", "f1.json.1", "f1.json.2"]);
        for (name, text) in [("f1.json", "three"), ("f1.json.1", "one"), ("f1.json.2", "two")] {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), text);
        }
    }

    #[test]
    fn what_is_not_published_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f1.json");
        fs::write(&path, "one").unwrap();
        let staged = stage(&path, "two").unwrap();
        assert_eq!(names(home.path()).len(), 2);
        drop(staged);
        assert_eq!(names(home.path()), ["f1.json"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }

    #[test]
    fn a_link_stays_one() {
        let home = tempfile::tempdir().unwrap();
        let (link, real) = (home.path().join("f1.json"), home.path().join("real.json"));
        fs::write(&real, "one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(stage(&link, "two").unwrap().publish().unwrap().path, fs::canonicalize(&real).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&link).unwrap(), "two");
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("robots"), "a file").unwrap();
        let error = stage(&home.path().join("robots/so_follower/f1.json"), "one").unwrap_err().to_string();
        assert!(
            error.contains("robots/so_follower/f1.json cannot be written") && error.contains("permissions"),
            "{error}"
        );
        // A folder of the file's name.
        let path = home.path().join("f2.json");
        fs::create_dir(&path).unwrap();
        assert!(stage(&path, "one").unwrap().publish().is_err());
        assert_eq!(names(home.path()), ["f2.json", "robots"]);
    }
}
