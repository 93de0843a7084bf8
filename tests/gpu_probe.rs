//! The child process that asks the NVIDIA driver may end in any way: the recorder gets a report, in time.

use recorder::codec::gpu::{GpuDevice, GpuReport, probe_in_child};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Far more than a shell needs on a busy machine.
const AMPLE: Duration = Duration::from_secs(60);

// One test only: a program that is being written cannot be run, and another test's children would hold it open.
#[test]
fn every_end_of_the_child_is_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let script = |name: &str, body: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let refusal = |path: &Path, timeout: Duration| {
        let report = probe_in_child(path, timeout);
        let refusal = report.refusal.clone().unwrap_or_else(|| panic!("no refusal in {report:?}"));
        assert!(!refusal.contains('\n'), "one line: {refusal}");
        assert_eq!(report, GpuReport::refused(&refusal), "nothing else is claimed");
        refusal
    };

    let found = GpuReport {
        driver: Some("CUDA 12.2".into()),
        api: Some("12.1".into()),
        fake: true,
        refusal: None,
        devices: vec![GpuDevice { id: 0, name: "Card".into(), refusal: Some("no encoder".into()), codecs: vec![] }],
    };
    let json = serde_json::to_string(&found).unwrap();
    // What it is asked, and that a driver may print too.
    let good =
        script("good", &format!("[ \"$*\" = 'encoders --probe-in-process' ] || exit 9\necho hello\necho '{json}'"));
    assert_eq!(probe_in_child(&good, AMPLE), found);

    for (name, body, expected) in [
        ("segv", "kill -SEGV $$", "the NVIDIA driver crashed when asked (signal 11)"),
        ("abort", "echo '{}'; kill -ABRT $$", "the NVIDIA driver crashed when asked (signal 6)"),
        ("quiet", "exit 3", "the search for NVIDIA GPUs failed (exit code 3)"),
        ("words", "echo first >&2; echo last >&2; exit 101", "the search for NVIDIA GPUs failed (exit code 101: last)"),
        ("rubbish", "echo rubbish", "expected JSON, found \"rubbish\""),
        ("nothing", "true", "expected JSON, found \"\""),
        ("other", "echo '{\"devices\": 7}'", "expected JSON, found \"{\\\"devices\\\": 7}\""),
        ("bytes", "printf '\\377\\376'", "expected JSON, found"),
        ("endless", "yes rubbish", "the search for NVIDIA GPUs"),
    ] {
        let text = refusal(&script(name, body), AMPLE);
        assert!(text.contains(expected) || (name == "endless" && text.contains("crashed")), "{name}: {text}");
    }

    // A child that hangs, and one whose own child holds the pipes: both are gone afterwards.
    for body in [
        "echo $$ >pid; exec sleep 1000",
        "sleep 1000 & echo $! >pid; wait",
        "echo '{}'; sleep 1000 & echo $! >pid; wait",
    ] {
        let body = body.replace("pid;", &format!("{};", dir.path().join("pid").display()));
        let start = Instant::now();
        let text = refusal(&script("hangs", &body), Duration::from_millis(500));
        assert_eq!(text, "the NVIDIA driver did not answer within 0.5 s");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        // Killed; who adopts it may not have reaped it yet.
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_else(|_| ") Z".into());
        assert!(state.contains(") Z") || state.contains(") X"), "{state}");
    }

    let text = refusal(&dir.path().join("absent"), AMPLE);
    assert!(text.contains("cannot be started") && text.contains("absent"), "{text}");
}
