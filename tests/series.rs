//! The number of series depends on the set-up, not on how long it records; and the page stays small.

#[path = "causes/page.rs"]
mod page;
mod run_support;

use page::Page;
use recorder::metrics;
use recorder::run::{self, Gpu, Parts};
use recorder::status;
use run_support::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Two cameras with three rows an episode, and an encoder that dies now and then.
const TINY: [(&str, &str); 7] = [
    ("robot.cameras.front.width", "64"),
    ("robot.cameras.front.height", "48"),
    ("robot.cameras.wrist.width", "64"),
    ("robot.cameras.wrist.height", "48"),
    ("dataset.episode_time_s", "0.1"),
    ("dataset.reset_time_s", "0"),
    ("dataset.num_episodes", "1000"),
];
/// Six more cameras than [`SMALL`] has.
const SIX: [&str; 6] = ["left_gripper", "right_gripper", "overhead", "table_left", "table_right", "door"];

fn names(page: &Page) -> BTreeSet<String> {
    page.series().map(str::to_string).collect()
}

/// The recorder of metrics is the process's: one test.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_episodes_make_no_new_series_and_eight_cameras_no_large_page() {
    let handle = metrics::install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (saved, after_ten) = (AtomicU64::new(0), Arc::new(Mutex::new(None)));
    let (config, status, early) = (config(SMALL, &dir.path().join("set"), &TINY), status::shared(), after_ten.clone());
    let count = AtomicU64::new(0);
    let open_encoder =
        tampered(move |_| if count.fetch_add(1, Ordering::Relaxed) % 1000 == 999 { Err(failure()) } else { Ok(()) });
    let on_saved = move |_: &_, _| {
        // All that the save of the tenth brings about has happened when the next one is saved.
        if saved.fetch_add(1, Ordering::Relaxed) == 10 {
            *early.lock().unwrap() = Some(Page::now());
        }
    };
    let dataset = run::open_dataset(&config).unwrap();
    let (clock, on_saved) = (simulated(), Box::new(on_saved));
    let parts = Parts { clock, open_encoder, gpu: None, status: status.clone(), on_saved };
    run::start(&config, dataset, parts).await.unwrap().wait().await.unwrap();
    assert_eq!((status.borrow().saved, status.borrow().failed), (1000, 0));
    let (early, late) = (after_ten.lock().unwrap().take().unwrap(), Page::now());
    let dead = [("actor", "encoder"), ("reason", "error")];
    assert_eq!(late.get(metrics::ACTOR_RESTARTS, &dead), Some(6.0));
    let new: Vec<String> = names(&early).symmetric_difference(&names(&late)).cloned().collect();
    assert_eq!(new, [""; 0]);

    let root = dir.path().join("eight").display().to_string();
    let mut overrides = vec![("dataset.root".to_string(), root), ("dataset.gpu_video_encoding".into(), "true".into())];
    for camera in SIX {
        let keys = [("type", "synthetic"), ("width", "64"), ("height", "48"), ("realtime", "false")];
        overrides.extend(keys.map(|(key, value)| (format!("robot.cameras.{camera}.{key}"), value.to_string())));
    }
    let overrides: Vec<(&str, &str)> = overrides.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let config = run_support::config(SMALL, dir.path(), &overrides);
    let open_encoder = stand_in_gpu(|| Ok(()), |index| if index == 20 { Err(failure()) } else { Ok(()) });
    let gpu = Some(Gpu { works: true, prober: no_gpu() });
    let (clock, status, on_saved) = (simulated(), status::shared(), Box::new(|_: &_, _| {}));
    let parts = Parts { clock, open_encoder, gpu, status: status.clone(), on_saved };
    let dataset = run::open_dataset(&config).unwrap();
    run::start(&config, dataset, parts).await.unwrap().wait().await.unwrap();
    assert_eq!(Page::now().get(metrics::CAMERA_TARGET, &[]), Some(8.0 * 30.0));
    let bytes = metrics::render(handle, status.now()).len();
    println!("{} series, {bytes} bytes with eight cameras and a GPU", Page::now().series().count());
    assert!(bytes <= 200_000, "{bytes} bytes");
}
