//! The fake driver of NVIDIA's (`tests/fake-nvidia`) in a folder that a child process finds it in.
#![allow(dead_code)] // each test binary uses its part

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The driver's files. A real driver's first name is looked for too.
const CUDA: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
const ENCODE: [&str; 1] = ["libnvidia-encode.so.1"];

/// A driver, its faults, and what was asked of it.
pub struct Driver {
    dir: TempDir,
    faults: String,
}

impl Driver {
    /// A driver with faults; the fake's README tells of them.
    pub fn new(faults: &str) -> Driver {
        Driver::with(faults, true, true)
    }

    /// A driver for computing alone.
    pub fn cuda_only() -> Driver {
        Driver::with("", true, false)
    }

    /// No driver at all.
    pub fn none() -> Driver {
        Driver::with("", false, false)
    }

    fn with(faults: &str, cuda: bool, encode: bool) -> Driver {
        let dir = tempfile::tempdir().unwrap();
        let libraries = CUDA.iter().map(|name| (name, cuda)).chain(ENCODE.iter().map(|name| (name, encode)));
        for (name, there) in libraries {
            let path = dir.path().join(name);
            match there {
                true => std::os::unix::fs::symlink(library_file(), path).unwrap(),
                // No library, and in front of one that this machine may have.
                false => std::fs::write(path, "").unwrap(),
            }
        }
        Driver { dir, faults: faults.into() }
    }

    /// Puts the driver into a command's environment.
    pub fn apply(&self, command: &mut Command) {
        command.env("LD_LIBRARY_PATH", self.dir.path()).env("FAKE_NVENC", &self.faults);
        command.env("FAKE_NVENC_TRACE", self.trace_file());
    }

    fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }

    /// A line for each call that matters.
    pub fn trace(&self) -> String {
        std::fs::read_to_string(self.trace_file()).unwrap_or_default()
    }

    /// Sessions that were opened and not closed.
    pub fn open_sessions(&self) -> usize {
        let trace = self.trace();
        let count = |call: &str| trace.lines().filter(|line| line.starts_with(call)).count();
        count("open ") - count("destroy ")
    }
}

/// What cargo built of the fake driver, beside this test.
fn library_file() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = test.parent().map(|deps: &Path| deps.join("libfake_nvidia.so")).unwrap();
    assert!(file.exists(), "{} is not there", file.display());
    file
}
