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
        devices: vec![GpuDevice {
            id: 0,
            name: "Card".into(),
            pci_bus_id: Some("0000:01:00.0".into()),
            refusal: Some("no encoder".into()),
            codecs: vec![],
        }],
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
    let pid = dir.path().join("pid");
    for body in [
        "echo $$ >pid; exec sleep 1000",
        "sleep 1000 & echo $! >pid; wait",
        "echo '{}'; sleep 1000 & echo $! >pid; wait",
    ] {
        let program = script("hangs", &body.replace("pid;", &format!("{};", pid.display())));
        // On a busy machine the child may need longer to come to where it hangs.
        for timeout in [500, 5_000, 50_000].map(Duration::from_millis) {
            let start = Instant::now();
            let text = refusal(&program, timeout);
            assert_eq!(text, format!("the NVIDIA driver did not answer within {} s", timeout.as_secs_f64()));
            assert!(start.elapsed() < timeout + AMPLE, "{:?}", start.elapsed());
            if std::fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')) {
                break;
            }
        }
        let stat = format!("/proc/{}/stat", std::fs::read_to_string(&pid).unwrap().trim());
        // Killed: it dies when the machine comes to it, and who adopts it may not have reaped it yet.
        let start = Instant::now();
        while std::fs::read_to_string(&stat).is_ok_and(|state| !state.contains(") Z") && !state.contains(") X")) {
            assert!(start.elapsed() < AMPLE, "the child of {body:?} lives on");
            std::thread::yield_now();
        }
        std::fs::remove_file(&pid).unwrap();
    }

    let text = refusal(&dir.path().join("absent"), AMPLE);
    assert!(text.contains("cannot be started") && text.contains("absent"), "{text}");
}
