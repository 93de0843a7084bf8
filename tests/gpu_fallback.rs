//! A GPU encoder that fails in every way: the CPU goes on with the same video, and not one frame is lost or doubled. What
//! fails here is a stand-in, the CPU's encoder in the place of the GPU's; tests/nvenc_faults.rs does the same to NVENC's
//! interface on a fake driver.

mod run_support;

use recorder::codec::backend::OpenEncoder;
use recorder::codec::gpu::{GpuCodec, GpuDevice, GpuReport};
use recorder::config::schema::Codec;
use run_support::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A busy machine must not be taken for a session that hangs.
const GPU: [(&str, &str); 2] = [("dataset.gpu_video_encoding", "true"), ("limits.gpu_watchdog_ms", "60000")];
/// With sessions that do hang: as long as a test can wait for them.
const IMPATIENT: [(&str, &str); 2] = [GPU[0], ("limits.gpu_watchdog_ms", "3000")];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Error,
    Panic,
    Hang,
}

/// A stand-in for a GPU with a fault at its `n`-th frame ever. A session that hangs does so until the gate is opened.
fn faulty(fault: Fault, n: u64, gate: &Arc<Gate>) -> OpenEncoder {
    let (count, gate) = (AtomicU64::new(0), gate.clone());
    stand_in_gpu(
        || Ok(()),
        move |_| {
            let now = count.fetch_add(1, Ordering::Relaxed) == n;
            match fault {
                Fault::Error if now => Err(failure()),
                Fault::Panic if now => panic!("the test's panic"),
                Fault::Hang if now => {
                    gate.pass();
                    Ok(())
                }
                _ => Ok(()),
            }
        },
    )
}

/// Every change of encoder that the summaries tell of, as (from, to).
fn switches(root: &std::path::Path) -> Vec<(String, String)> {
    let summaries = summaries(root);
    let cameras = summaries.iter().flat_map(|s| s.cameras.values());
    cameras.flat_map(|c| c.counters.encoder_switches.iter()).map(|s| (s.from.clone(), s.to.clone())).collect()
}

/// What finished each camera's video.
fn streams(root: &std::path::Path, episode: usize) -> Vec<String> {
    summaries(root)[episode].cameras.values().map(|camera| camera.counters.encoder.clone()).collect()
}

/// Of two cameras in two takes one video was finished by the CPU; all others, the next take's too, are the GPU's. On a busy
/// machine the second take may be ahead of the first: either may be the one with the fault.
fn one_of_four_is_the_cpu_s(root: &std::path::Path) {
    let mut all: Vec<String> = (0..2).flat_map(|episode| streams(root, episode)).collect();
    all.sort();
    assert_eq!(all, ["nvenc", "nvenc", "nvenc", "openh264"]);
}

fn encoders(root: &std::path::Path, episode: usize) -> BTreeSet<String> {
    streams(root, episode).into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_session_that_dies_loses_and_doubles_nothing() {
    let faults =
        [(Fault::Error, &[0, 1, 14, 15, 44, 100][..]), (Fault::Panic, &[0, 15, 59]), (Fault::Hang, &[0, 15, 100])];
    for (fault, places) in faults {
        for n in places {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("set");
            let gate = Arc::new(Gate::default());
            let open = faulty(fault, *n, &gate);
            let overrides = if fault == Fault::Hang { IMPATIENT } else { GPU };
            let status = record_on_gpu(&config(SMALL, &root, &overrides), simulated(), open, no_gpu()).await;
            gate.open();
            assert_eq!((status.saved, status.failed), (2, 0), "{fault:?} at {n}");
            check(&root);
            every_frame_is_shown(&root, 2, 160, 120);
            let expected = [("nvenc".to_string(), "openh264".to_string())];
            assert_eq!(switches(&root), expected, "{fault:?} at {n}");
            assert_eq!(status.encoder_switches, 1);
            one_of_four_is_the_cpu_s(&root);
        }
    }
}

/// A session that is refused, as when there are too many: the CPU makes this video, others stay where they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_refused_is_the_cpu_s() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let refusals = AtomicU64::new(1);
    let refuse = move || match refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)) {
        Ok(_) => Err(failure()),
        Err(_) => Ok(()),
    };
    let open = stand_in_gpu(refuse, |_| Ok(()));
    let status = record_on_gpu(&config(SMALL, &root, &GPU), simulated(), open, no_gpu()).await;
    assert_eq!((status.saved, status.failed), (2, 0));
    check(&root);
    every_frame_is_shown(&root, 2, 160, 120);
    one_of_four_is_the_cpu_s(&root);
}

/// Failures in a row put the whole pool on the CPU; the GPU is probed between episodes, and used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_fails_often_rests_and_is_used_again_when_it_works() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    let sessions = Arc::new(AtomicU64::new(0));
    let opened = sessions.clone();
    let open = stand_in_gpu(
        move || if opened.fetch_add(1, Ordering::Relaxed) < 3 { Err(failure()) } else { Ok(()) },
        |_| Ok(()),
    );
    let probes = Arc::new(AtomicU64::new(0));
    let asked = probes.clone();
    let codec = GpuCodec { codec: Codec::H264, refusal: None, max_width: 0, max_height: 0, trial_ms: None };
    let device = GpuDevice { id: 0, name: "the test".into(), pci_bus_id: None, refusal: None, codecs: vec![codec] };
    let works = GpuReport { devices: vec![device], ..GpuReport::default() };
    // It is found to work when it is looked at for the second time.
    let prober = Arc::new(move || match asked.fetch_add(1, Ordering::Relaxed) {
        0 => GpuReport::refused("not yet"),
        _ => works.clone(),
    });
    // The GPU rests 10 s, then 20 s, of simulated time. An episode begins when the one before is saved, so that what a
    // probe found has been heard of.
    let overrides = [GPU[0], GPU[1], ("dataset.num_episodes", "30"), ("dataset.reset_time_s", "0.5")];
    let status = record_on_gpu(&config(SMALL, &root, &overrides), simulated(), open, prober).await;
    assert_eq!((status.saved, status.failed), (30, 0));
    check(&root);
    assert_eq!(probes.load(Ordering::Relaxed), 2);
    let of = |episode| encoders(&root, episode).into_iter().collect::<Vec<_>>().join(",");
    // Two sessions are refused in the first take, and the third, which is one too many, in the second.
    assert_eq!(
        (of(0).as_str(), of(1).as_str(), of(5).as_str(), of(29).as_str()),
        ("openh264", "openh264", "openh264", "nvenc")
    );
    assert!(sessions.load(Ordering::Relaxed) > 5);
}
