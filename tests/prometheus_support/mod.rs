//! Prometheus and its tool, for the tests that hold what we give it against the real thing.

use std::path::{Path, PathBuf};

/// The path of `prometheus` or `promtool`. Without them a test fails, and says how to get them: nothing is skipped.
pub fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("RECORDER_PROMETHEUS").unwrap_or_else(|| {
        panic!(
            "RECORDER_PROMETHEUS is not set. It is the folder that holds {name}: run `make unit`, or\n  \
                RECORDER_PROMETHEUS=$(scripts/prometheus.sh) cargo test"
        )
    });
    let path = Path::new(&folder).join(name);
    assert!(path.is_file(), "expected {name} in RECORDER_PROMETHEUS={folder:?}, found none: run scripts/prometheus.sh");
    path
}
