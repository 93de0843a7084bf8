//! Colours from end to end: a chart's JPEG through a whole run to the RGB that PyAV gives a trainer. `make test-lerobot`
//! holds the same chart against torchcodec.

mod media;
mod run_support;

use recorder::codec::backend;
use run_support::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use turbojpeg::Subsamp;

const SIDE: usize = 64;
const COLUMNS: usize = 6;
const PATCHES: usize = 24;

/// Saturated colours, half-saturated ones, skin and wood, and a row of greys.
#[rustfmt::skip]
const CHART: [[u8; 3]; PATCHES] = [
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
    [128, 0, 0], [0, 128, 0], [0, 0, 128], [200, 160, 40], [40, 160, 200], [160, 40, 200],
    [224, 172, 150], [140, 90, 60], [90, 110, 60], [250, 200, 0], [30, 60, 90], [240, 120, 120],
    [0, 0, 0], [32, 32, 32], [96, 96, 96], [160, 160, 160], [224, 224, 224], [255, 255, 255],
];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/colour").join(name)
}

/// The mean RGB of each patch's middle, by libjpeg-turbo.
fn means(jpeg: &[u8]) -> Value {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap();
    let mean = |patch: usize, channel: usize| {
        let (left, top) = (patch % COLUMNS * SIDE, patch / COLUMNS * SIDE);
        let inner = SIDE / 4..SIDE * 3 / 4;
        let pixels = inner.clone().flat_map(|y| inner.clone().map(move |x| (left + x, top + y)));
        let values: Vec<f64> =
            pixels.map(|(x, y)| f64::from(image.pixels[y * image.pitch + x * 3 + channel])).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    json!((0..PATCHES).map(|patch| [0, 1, 2].map(|channel| mean(patch, channel))).collect::<Vec<_>>())
}

/// `UPDATE_DATA=1 cargo test` makes the charts anew.
#[test]
fn the_charts_means_are_those_of_its_jpeg() {
    for (name, subsampling) in [("422", Subsamp::Sub2x1), ("420", Subsamp::Sub2x2)] {
        let (jpeg, patches) = (data(&format!("chart-{name}.jpg")), data(&format!("chart-{name}.json")));
        if std::env::var_os("UPDATE_DATA").is_some() {
            let picture = media::jpeg(SIDE * COLUMNS, SIDE * PATCHES / COLUMNS, subsampling, 95, |x, y| {
                CHART[y / SIDE * COLUMNS + x / SIDE]
            });
            let chart = json!({"side": SIDE, "columns": COLUMNS, "means": means(&picture)});
            std::fs::write(&jpeg, picture).unwrap();
            std::fs::write(&patches, chart.to_string() + "\n").unwrap();
        }
        let chart: Value = serde_json::from_slice(&std::fs::read(&patches).unwrap()).unwrap();
        assert_eq!(chart["means"], means(&std::fs::read(&jpeg).unwrap()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pyav_gives_the_jpegs_colours_for_h264_and_copy() {
    for name in ["422", "420"] {
        let chart = data(&format!("chart-{name}.jpg")).display().to_string();
        for (codec, range) in [("h264", "limited"), ("h264", "full"), ("copy", "limited")] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("set");
            let text = r#"
                [robot.cameras.chart]
                type = "file"
                width = 384
                height = 256
                realtime = false
                [dataset]
                repo_id = "lab/colour"
                single_task = "Stand still"
                num_episodes = 1
                episode_time_s = 1
                [limits]
                min_free_gib = 0
            "#;
            let overrides = [
                ("robot.cameras.chart.index_or_path", chart.as_str()),
                ("dataset.encoder.codec", codec),
                ("dataset.encoder.color_range", range),
            ];
            record(&config(text, &root, &overrides), simulated(), backend::standard()).await;
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_colour.py");
            let patches = data(&format!("chart-{name}.json"));
            let output = Command::new(python()).arg(script).arg(&root).arg(patches).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{codec} {range} {name}: {text}");
        }
    }
}
