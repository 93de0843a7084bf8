//! How much room a disk has.

use std::path::{Path, PathBuf};

/// Too little room to start recording.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path}: expected at least {needed_gib:.2} GiB free (limits.min_free_gib), found {free_gib:.2} GiB; free space or record to another disk"
)]
pub struct NoSpace {
    pub path: PathBuf,
    pub needed_gib: f64,
    pub free_gib: f64,
}

/// Bytes that this user may still write at `path`, or at its nearest parent that exists.
pub fn free(path: &Path) -> std::io::Result<u64> {
    let existing = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    let stat = rustix::fs::statvfs(existing)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// Refuses a disk that is nearly full. One that cannot be asked is tried.
pub fn require(path: &Path, bytes: u64) -> Result<(), NoSpace> {
    const GIB: f64 = (1u64 << 30) as f64;
    match free(path) {
        Ok(free) if free < bytes => {
            Err(NoSpace { path: path.into(), needed_gib: bytes as f64 / GIB, free_gib: free as f64 / GIB })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_full_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        require(&dir.path().join("not/yet/there"), 1).unwrap();
        let error = require(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()) && error.contains("min_free_gib"), "{error}");
    }
}
