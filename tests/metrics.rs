//! Every metric that is declared is on the page of a run that has met what it counts.

mod run_support;

use recorder::metrics;
use run_support::*;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn every_declared_metric_is_served() {
    let handle = metrics::install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("set");
    // An encoder fails once, so that a restart and a replacement are counted.
    let count = AtomicU64::new(0);
    let open = tampered(move |_| if count.fetch_add(1, Ordering::Relaxed) == 20 { Err(failure()) } else { Ok(()) });
    let status = record(&config(SMALL, &root, &[]), simulated(), open).await;
    assert_eq!(status.saved, 2);
    let page = metrics::render(handle);
    for metric in metrics::ALL {
        let mut samples = page.lines().filter(|line| !line.starts_with('#') && line.starts_with(metric.name));
        let sample = samples.next().unwrap_or_else(|| panic!("{} is not on the page", metric.name));
        for label in metric.labels {
            assert!(sample.contains(&format!("{label}=")), "{} has no label {label}: {sample}", metric.name);
        }
        assert!(page.contains(&format!("# HELP {} {}", metric.name, metric.help)), "{} has no help", metric.name);
    }
    let value = |start: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    for (start, expected) in [
        ("recorder_frames_captured_total{camera=\"front\"}", 90.0),
        ("recorder_frames_written_total{camera=\"wrist\"}", 90.0),
        ("recorder_frames_duplicated_total{camera=\"front\"}", 0.0),
        ("recorder_episodes_total{outcome=\"saved\"}", 2.0),
        ("recorder_actor_restarts_total{actor=\"encoder\",reason=\"error\"}", 1.0),
        ("recorder_encoder_sessions", 0.0),
        ("recorder_queue_frames{camera=\"front\"}", 0.0),
    ] {
        assert_eq!(value(start), expected, "{start}");
    }
    assert!(value("recorder_encoder_fallbacks_total") >= 1.0);
}
