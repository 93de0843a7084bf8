//! The folder that a self-test records into, and from which its report comes to its place.

use std::io;
use std::path::{Path, PathBuf};

/// A folder beside the report; gone when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

/// The folder of a self-test cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be {action} ({source}): choose another place with --report FILE")]
pub struct ScratchError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

impl Scratch {
    /// Makes a folder where `report` is to be, or where the program was started. What fails here would fail after a long
    /// test.
    pub fn new(report: Option<&Path>) -> Result<Scratch, ScratchError> {
        if let Some(report) = report.filter(|report| report.is_dir()) {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(ScratchError { path: report.into(), action: "written", source });
        }
        let beside = report.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
        let path = beside.unwrap_or(Path::new(".")).join(format!(".recorder-self-test-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Scratch(path)),
            Err(source) => Err(ScratchError { path, action: "made", source }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Puts a whole report in its place, in one step.
    pub fn publish(&self, text: &str, report: &Path) -> Result<(), ScratchError> {
        let new = self.0.join("report");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, report));
        written.map_err(|source| ScratchError { path: report.into(), action: "written", source })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
