//! Whole runs for tests: a configuration, a clock, an encoder; the data set and what happened as the answer.
#![allow(dead_code)] // each test binary uses its part

use arrow_array::{Array, BooleanArray, Int64Array, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use recorder::clock::{Clock, SimulatedClock, Stamp, SystemClock};
use recorder::codec::CodecError;
use recorder::codec::SampleFormat;
use recorder::codec::backend::{self, Device, OpenEncoder, StreamEncoder};
use recorder::codec::gpu::{GpuReport, Prober};
use recorder::codec::stream::Encoded;
use recorder::config::{self, Config, Override};
use recorder::dataset::EpisodeSummary;
use recorder::devices::Devices;
use recorder::frame::Frame;
use recorder::run::{self, Parts, Running};
use recorder::status::{self, SharedStatus, Status};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

/// A small set-up: two synthetic cameras and the simulated arm, in simulated time.
pub const SMALL: &str = r#"
[robot]
type = "so101_follower"
port = "sim"
[robot.cameras.front]
type = "synthetic"
width = 160
height = 120
realtime = false
[robot.cameras.wrist]
type = "synthetic"
width = 160
height = 120
realtime = false
[teleop]
type = "so101_leader"
port = "sim"
[dataset]
repo_id = "lab/test"
single_task = "Follow the leader"
episode_time_s = 1.5
reset_time_s = 0.5
num_episodes = 2
[limits]
min_free_gib = 0
"#;

pub fn config(text: &str, root: &Path, overrides: &[(&str, &str)]) -> Arc<Config> {
    let root = root.display().to_string();
    let overrides: Vec<Override> = [("dataset.root", root.as_str())]
        .iter()
        .chain(overrides)
        .map(|(key, value)| Override { key: key.to_string(), value: value.to_string() })
        .collect();
    Arc::new(config::parse("test", text, &overrides).unwrap())
}

/// A simulated clock that always starts at the same time.
pub fn simulated() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new(Stamp { mono_ns: 1_000_000_000, utc_ns: 1_700_000_000_000_000_000 }))
}

pub fn real() -> Arc<dyn Clock> {
    Arc::new(SystemClock::default())
}

/// A run that goes on, and its status.
pub async fn start(config: &Arc<Config>, clock: Arc<dyn Clock>, open_encoder: OpenEncoder) -> (Running, SharedStatus) {
    start_with(config, clock, open_encoder, None).await
}

/// A run that goes on, with a GPU or without, and its status.
pub async fn start_with(
    config: &Arc<Config>,
    clock: Arc<dyn Clock>,
    open_encoder: OpenEncoder,
    gpu: Option<run::Gpu>,
) -> (Running, SharedStatus) {
    let dataset = run::open_dataset(config).unwrap();
    let status = status::shared();
    let parts = Parts { clock, open_encoder, gpu, status: status.clone(), on_saved: Box::new(|_, _| {}) };
    (run::start(config, dataset, parts).await.unwrap(), status)
}

/// A run that goes on, with devices of the test's, and its status.
pub async fn start_on(config: &Arc<Config>, clock: Arc<dyn Clock>, devices: Devices) -> (Running, SharedStatus) {
    let dataset = run::open_dataset(config).unwrap();
    let status = status::shared();
    let open_encoder = backend::standard();
    let parts = Parts { clock, open_encoder, gpu: None, status: status.clone(), on_saved: Box::new(|_, _| {}) };
    (run::start_with(config, dataset, parts, devices).await.unwrap(), status)
}

/// A whole run; its last status.
pub async fn record(config: &Arc<Config>, clock: Arc<dyn Clock>, open_encoder: OpenEncoder) -> Status {
    let (running, status) = start(config, clock, open_encoder).await;
    running.wait().await.unwrap();
    summaries(&run::root(config));
    status.borrow().clone()
}

/// A whole run with something that stands in for a GPU; its last status.
pub async fn record_on_gpu(config: &Arc<Config>, clock: Arc<dyn Clock>, open: OpenEncoder, prober: Prober) -> Status {
    let gpu = run::Gpu { works: true, prober };
    let (running, status) = start_with(config, clock, open, Some(gpu)).await;
    running.wait().await.unwrap();
    summaries(&run::root(config));
    status.borrow().clone()
}

/// A prober that never finds anything.
pub fn no_gpu() -> Prober {
    Arc::new(|| GpuReport::refused("the test has none"))
}

/// Waits for a state of the run.
pub async fn until(status: &SharedStatus, what: &str, wanted: impl FnMut(&Status) -> bool) -> Status {
    let mut watch = status.subscribe();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(60), watch.wait_for(wanted)).await;
    waited.unwrap_or_else(|_| panic!("never seen: {what}; {:?}", status.borrow())).unwrap().clone()
}

/// The summaries of all episodes, after holding each against the rule: captured = written + dropped, and
/// rows = written + repeated, in every camera.
pub fn summaries(root: &Path) -> Vec<EpisodeSummary> {
    let mut found = Vec::new();
    for n in 0.. {
        let path = root.join(format!("recorder/episodes/chunk-000/file-{n:03}.json"));
        let Ok(text) = std::fs::read(&path) else { break };
        let summary: EpisodeSummary = serde_json::from_slice(&text).unwrap();
        for (name, camera) in &summary.cameras {
            let c = &camera.counters;
            let dropped: u64 = c.dropped.values().sum();
            assert_eq!(c.captured, c.written + dropped, "episode {n}, camera {name}: {c:?}");
            assert_eq!(summary.length, c.written + c.repeated, "episode {n}, camera {name}: {c:?}");
        }
        found.push(summary);
    }
    found
}

/// A table of one episode in `recorder/rows`.
pub struct Rows(RecordBatch);

impl Rows {
    pub fn read(root: &Path, episode: usize) -> Rows {
        let file =
            std::fs::File::open(root.join(format!("recorder/rows/chunk-000/file-{episode:03}.parquet"))).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1 << 20).build().unwrap();
        Rows(reader.map(Result::unwrap).next().unwrap())
    }

    pub fn len(&self) -> usize {
        self.0.num_rows()
    }

    pub fn ints(&self, column: &str) -> Vec<i64> {
        let column = self.0.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
        column.as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()
    }

    pub fn flags(&self, column: &str) -> Vec<bool> {
        let column = self.0.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
        column.as_any().downcast_ref::<BooleanArray>().unwrap().iter().map(|f| f == Some(true)).collect()
    }

    pub fn words(&self, column: &str) -> Vec<Option<String>> {
        let column = self.0.column_by_name(column).unwrap_or_else(|| panic!("no column {column}"));
        column.as_any().downcast_ref::<StringArray>().unwrap().iter().map(|w| w.map(str::to_string)).collect()
    }
}

/// Every file below `root` with its bytes, but for the lock.
pub fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("recorder/lock") {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_path_buf(), bytes));
            }
        }
    }
    found.sort();
    found
}

/// The CPU's encoder in the place of the GPU's, with something between it and the pool: `opening` may refuse a session,
/// `encoding` an index. The CPU itself works.
pub fn stand_in_gpu(
    opening: impl Fn() -> Result<(), CodecError> + Send + Sync + 'static,
    encoding: impl Fn(u64) -> Result<(), CodecError> + Send + Sync + 'static,
) -> OpenEncoder {
    let (standard, tamper): (_, Tamper) = (backend::standard(), Arc::new(encoding));
    Arc::new(move |params, device| {
        let inner = standard(params, Device::Cpu)?;
        if device == Device::Cpu {
            return Ok(inner);
        }
        opening()?;
        Ok(Box::new(Tampered { inner, tamper: tamper.clone() }))
    })
}

/// The CPU's encoder with something between it and the pool.
pub fn tampered(tamper: impl Fn(u64) -> Result<(), CodecError> + Send + Sync + 'static) -> OpenEncoder {
    let tamper: Tamper = Arc::new(tamper);
    let standard = backend::standard();
    Arc::new(move |params, device| Ok(Box::new(Tampered { inner: standard(params, device)?, tamper: tamper.clone() })))
}

type Tamper = Arc<dyn Fn(u64) -> Result<(), CodecError> + Send + Sync>;

struct Tampered {
    inner: Box<dyn StreamEncoder>,
    tamper: Tamper,
}

impl StreamEncoder for Tampered {
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        (self.tamper)(index)?;
        self.inner.encode(frame, index)
    }

    fn format(&self) -> &Arc<SampleFormat> {
        self.inner.format()
    }
}

/// An encoder's failure.
pub fn failure() -> CodecError {
    CodecError::Library { library: "the test", index: 0, words: "as the test wants it".into() }
}

/// A gate that encoders wait at.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    open: bool,
    /// Encoders that stand before it.
    waiting: usize,
}

impl Gate {
    pub fn open(&self) {
        self.state.lock().unwrap().open = true;
        self.changed.notify_all();
    }

    pub fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| !state.open).unwrap();
        state.waiting -= 1;
    }

    /// Waits until so many encoders stand before it; how many do, after a minute at the latest.
    pub fn wait_until(&self, encoders: usize) -> usize {
        let minute = std::time::Duration::from_secs(60);
        let state = self.state.lock().unwrap();
        self.changed.wait_timeout_while(state, minute, |state| state.waiting != encoders).unwrap().0.waiting
    }
}

/// Encoders that wait at a gate.
pub fn gated() -> (Arc<Gate>, OpenEncoder) {
    let gate = Arc::new(Gate::default());
    let at_gate = gate.clone();
    let open = tampered(move |_| {
        at_gate.pass();
        Ok(())
    });
    (gate, open)
}

/// Holds every picture of every episode against the sequence numbers in its rows: not one lost, doubled or mixed up.
pub fn every_frame_is_shown(root: &Path, episodes: usize, width: usize, height: usize) {
    for episode in 0..episodes {
        let rows = Rows::read(root, episode);
        for camera in ["front", "wrist"] {
            let shown = rows.ints(&format!("observation.images.{camera}/sequence"));
            let seen = burnt_in(root, camera, episode, width, height);
            let seen: Vec<i64> = seen.into_iter().map(|n| n.map_or(-1, i64::from)).collect();
            assert_eq!(seen, shown, "{camera}, episode {episode}");
        }
    }
}

/// The burnt-in frame numbers of a camera's video, decoded by ffmpeg.
pub fn burnt_in(root: &Path, camera: &str, episode: usize, width: usize, height: usize) -> Vec<Option<u32>> {
    let path = root.join(format!("videos/observation.images.{camera}/chunk-000/file-{episode:03}.mp4"));
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .expect("ffmpeg is needed: scripts/setup.sh --test installs it");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let pictures = output.stdout.chunks(width * height);
    pictures.map(|luma| recorder::camera::synthetic::read_counter(luma, width, height)).collect()
}

/// The interpreter of the tests' virtual environment.
pub fn python() -> String {
    std::env::var("RECORDER_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Holds a data set against what LeRobot would trip over.
pub fn check(root: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/check_dataset.py");
    let output = std::process::Command::new(python()).arg(script).arg(root).arg("--deep").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let report = recorder::verify::verify(root, false).unwrap();
    assert!(report.faults().is_empty(), "{}", report.text());
}
