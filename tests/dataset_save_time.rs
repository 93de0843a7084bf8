//! How long a save takes, from the last frame to the durable episode: a measurement, run by hand.
//!
//! `cargo test --release --test dataset_save_time -- --ignored --nocapture`

mod dataset_support;

use dataset_support::{Codec, counters, row, spec};
use recorder::codec::{Fragment, PixelHistogram, Sample, SampleFormat};
use recorder::dataset::Dataset;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A second of video with samples of so many bytes; nothing here decodes it.
fn second(first_frame: u64, bytes: usize) -> Fragment {
    let mut pixels = PixelHistogram { pictures: 1, ..Default::default() };
    pixels.counts.iter_mut().for_each(|channel| channel[16..235].fill(1000));
    Fragment {
        first_frame,
        samples: (0..30).map(|k| Sample { data: vec![k; bytes].into(), sync: k % 15 == 0 }).collect(),
        format: Arc::new(SampleFormat::H264 { sps: vec![103, 66, 192, 30], pps: vec![104] }),
        substituted: Vec::new(),
        stored: Vec::new(),
        pixels,
    }
}

/// Saves `episodes` takes of `seconds`; the last second is written right before each save and not synced.
fn measure(episodes: u64, seconds: u64) -> Vec<Duration> {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let spec = spec(Codec::H264);
    let mut dataset = Dataset::create(root.path(), spec.clone()).unwrap();
    let counters = counters(&spec, seconds as usize * 30);
    let rows: Vec<_> = (0..seconds as usize * 30).map(|k| row(&spec, k)).collect();
    let mut times = Vec::new();
    for take in 0..episodes {
        let mut writer = dataset.begin(take, "a").unwrap();
        rows.iter().for_each(|row| writer.push_row(row.clone()).unwrap());
        for k in 0..seconds {
            let last = k + 1 == seconds;
            let fragment = second(k * 30, if last { 20_000 } else { 500 });
            (0..2).for_each(|camera| writer.push_fragment(camera, &fragment).unwrap());
            if k + 2 == seconds {
                writer.sync().unwrap();
            }
        }
        let start = Instant::now();
        dataset.commit(writer, "a", &counters).unwrap();
        times.push(start.elapsed());
    }
    times
}

fn report(what: &str, times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let at = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    println!("{what}: {} saves, p50 {:?}, p99 {:?}, max {:?}", times.len(), at(50), at(99), at(100));
    at(99)
}

#[test]
#[ignore = "a measurement of minutes"]
fn a_save_takes_at_most_100_ms() {
    let times = measure(200, 90);
    assert!(report("90 s, 2 cameras", &times) <= Duration::from_millis(100));
}

#[test]
#[ignore = "a measurement of minutes"]
fn the_5000th_save_takes_as_long_as_the_first() {
    let times = measure(5000, 1);
    let first = report("episodes 0 to 499", &times[..500]);
    let last = report("episodes 4500 to 4999", &times[4500..]);
    assert!(last <= first * 2, "{first:?} {last:?}");
}
