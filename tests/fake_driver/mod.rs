//! The fake NVIDIA driver of `tests/fake-nvidia`, for programs that tests run as children.
//!
//! ```ignore
//! command.env("LD_LIBRARY_PATH", fake_driver::folder()).env("FAKE_NVENC", "fail=30:20").env("FAKE_NVENC_TRACE", path)
//! ```
#![allow(dead_code)] // each test binary uses its part

use std::path::{Path, PathBuf};

pub const CUDA: &str = "libcuda.so.1";
pub const NVENC: &str = "libnvidia-encode.so.1";
pub const NVML: &str = "libnvidia-ml.so.1";

/// A folder with all libraries of the driver, for `LD_LIBRARY_PATH`.
pub fn folder() -> PathBuf {
    folder_with(&[CUDA, NVENC, NVML])
}

/// A folder with some of the libraries. The others cannot be loaded, even if this machine has them.
pub fn folder_with(libraries: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fake-driver-{}", libraries.join("-")));
    std::fs::create_dir_all(&folder).unwrap();
    let library = library();
    // `libcuda.so` is for those that build with CUDA; the recorder's loader asks for it first.
    for (link, name) in [(CUDA, CUDA), ("libcuda.so", CUDA), (NVENC, NVENC), (NVML, NVML)] {
        // The loader stops at what is no library: it does not go on to the machine's own.
        let target = if libraries.contains(&name) { &*library } else { Path::new("/dev/null") };
        let link = folder.join(link);
        if std::fs::read_link(&link).is_ok_and(|at| at == target) {
            continue;
        }
        // Tests run side by side: a link comes into its place in one step, whoever is first.
        let unique = tempfile::TempDir::new_in(&folder).unwrap();
        let new = unique.path().join("link");
        std::os::unix::fs::symlink(target, &new).unwrap();
        std::fs::rename(new, link).unwrap();
    }
    folder
}

/// What cargo built of the dev-dependency `fake-nvidia`, beside the tests.
fn library() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let library = test.with_file_name("libfake_nvidia.so");
    assert!(library.exists(), "{} is missing, which `cargo test` and `cargo bench` build", library.display());
    library
}
