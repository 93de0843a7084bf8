//! What `make demo` records, and file cameras at full speed, by the program itself, held against the light reader.

mod run_support;

use run_support::{check, summaries};
use std::path::Path;
use std::process::Command;

fn recorder(root: &Path, config: &str, overrides: &[String]) {
    let output = Command::new(env!("CARGO_BIN_EXE_recorder"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--config", config, "--metrics.listen="])
        .arg(format!("--dataset.root={}", root.display()))
        .args(overrides)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    check(root);
}

/// Real time: the rows are there whatever the machine does; what it could not do in time is flagged and counted.
#[test]
fn the_demo() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("demo");
    recorder(&root, "examples/demo.toml", &["--dataset.reset_time_s=0.5".into()]);
    let summaries = summaries(&root);
    assert_eq!(summaries.iter().map(|s| s.length).collect::<Vec<_>>(), [300, 300, 300]);
}

#[test]
fn file_cameras_at_full_speed() {
    let dir = tempfile::tempdir().unwrap();
    let mut overrides = Vec::new();
    for (camera, size) in [("front", "640x480"), ("wrist", "320x240")] {
        let clip = dir.path().join(format!("{camera}.mjpeg"));
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=30"), "-t", "4"])
            .args(["-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj422p", "-f", "image2pipe"])
            .arg(&clip)
            .status()
            .unwrap();
        assert!(status.success());
        overrides.push(format!("--robot.cameras.{camera}.index_or_path={}", clip.display()));
    }
    for codec in ["h264", "copy"] {
        let root = dir.path().join(codec);
        let mut overrides = overrides.clone();
        overrides.push(format!("--dataset.encoder.codec={codec}"));
        recorder(&root, "tests/py/file.toml", &overrides);
        for summary in summaries(&root) {
            assert_eq!(summary.length, 150);
            for camera in summary.cameras.values() {
                assert_eq!((camera.counters.written, camera.counters.repeated), (150, 0), "{summary:?}");
            }
        }
    }
}
