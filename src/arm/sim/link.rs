//! A stable name for the terminal, as udev gives one to a real port.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A symbolic link that exists as long as this.
pub struct Link {
    path: PathBuf,
    target: PathBuf,
}

impl Link {
    /// Makes the link. One that leads nowhere, as a killed process leaves it, is replaced; anything else is left alone.
    pub fn new(path: &Path, target: &str) -> io::Result<Link> {
        if path.is_symlink() && !path.exists() {
            std::fs::remove_file(path)?;
        }
        symlink(target, path)?;
        Ok(Link { path: path.into(), target: target.into() })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if std::fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
