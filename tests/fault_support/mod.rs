//! Whole runs of the program on the fake NVIDIA driver, with faults, and what they are held against.
#![allow(dead_code)] // each test binary uses its part

use crate::fake_driver;
use crate::program::{Ended, Lab, Running};
use crate::run_support::{Rows, SMALL, burnt_in, check, python, summaries};
use recorder::camera::synthetic::read_counter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIZE: (usize, usize) = (160, 120);
/// Rows of an episode of [`SMALL`].
pub const ROWS: usize = 45;
pub const CAMERAS: [&str; 2] = ["front", "wrist"];

/// Every kind of deferred encoding, and encoding at once.
pub const STREAMING: &[&str] = &[];
pub const SYNC: &[&str] = &["--dataset.streaming_encoding=false"];
pub const ASYNC: &[&str] = &["--dataset.streaming_encoding=false", "--dataset.async_video_encoding=true"];

/// A folder with a configuration, and a driver with a fault.
pub struct Faulty {
    lab: Lab,
    driver: PathBuf,
    fault: String,
}

impl Faulty {
    /// A driver with what `FAKE_NVENC` describes. Where it says nothing of codecs, h264 is all it has: the others take
    /// the fake long.
    pub fn new(fault: &str) -> Faulty {
        Faulty::on(fake_driver::folder(), fault)
    }

    /// With the libraries in a folder.
    pub fn on(driver: PathBuf, fault: &str) -> Faulty {
        let lab = Lab::new();
        lab.write("lab.toml", &format!("{SMALL}[metrics]\nlisten = \"\"\n"));
        let mut faulty = Faulty { lab, driver, fault: String::new() };
        faulty.set(fault);
        faulty
    }

    /// The same folder, another fault.
    pub fn set(&mut self, fault: &str) {
        let codecs = if fault.contains("codecs=") { "" } else { ",codecs=h264" };
        self.fault = format!("{fault}{codecs}").trim_start_matches(',').to_string();
    }

    pub fn root(&self) -> PathBuf {
        self.lab.root()
    }

    fn command(&self, overrides: &[&str]) -> Command {
        let mut command = self.lab.command(env!("CARGO_BIN_EXE_recorder"));
        command.args(["--config", "lab.toml", "--dataset.root=data/set", "--dataset.gpu_video_encoding=true"]);
        command.args(overrides).env("LD_LIBRARY_PATH", &self.driver).env("FAKE_NVENC", &self.fault);
        command.env("FAKE_NVENC_TRACE", self.lab.path("trace"));
        command
    }

    /// Records to the end.
    pub fn record(&self, overrides: &[&str]) -> Ended {
        let output = self.command(overrides).stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        Ended { code: output.status.code(), text }
    }

    /// As [`Faulty::record`], and does not wait for the end.
    pub fn start(&self, overrides: &[&str]) -> Running {
        Running::of(self.command(overrides))
    }

    /// What the driver was asked, by the program and by its child that looks for GPUs.
    pub fn trace(&self) -> String {
        std::fs::read_to_string(self.lab.path("trace")).unwrap_or_default()
    }

    /// Takes that wait on disk.
    pub fn waiting(&self) -> usize {
        let Ok(takes) = std::fs::read_dir(self.root().join(".partial")) else { return 0 };
        takes.filter(|take| take.as_ref().is_ok_and(|take| take.path().join("waiting.json").exists())).count()
    }

    /// Holds the whole data set against what must be true of any: LeRobot loads it, every row's frame is in its place in
    /// the video, found from the start and found by seeking, and nothing unfinished is left.
    pub fn is_whole(&self, episodes: usize) {
        let root = self.root();
        check(&root);
        assert_eq!(lost(&root, episodes), 0);
        assert!(!root.join(".partial").exists());
    }

    /// Every change of encoder that the summaries tell of.
    pub fn switches(&self) -> Vec<recorder::dataset::EncoderSwitch> {
        let cameras = summaries(&self.root()).into_iter().flat_map(|summary| summary.cameras.into_values());
        cameras.flat_map(|camera| camera.counters.encoder_switches).collect()
    }

    /// The encoders that finished an episode's videos, by camera.
    pub fn encoders(&self, episode: usize) -> Vec<String> {
        summaries(&self.root())[episode].cameras.values().map(|camera| camera.counters.encoder.clone()).collect()
    }

    pub fn video(&self, camera: &str, episode: usize) -> PathBuf {
        self.root().join(format!("videos/observation.images.{camera}/chunk-000/file-{episode:03}.mp4"))
    }

    /// What info.json says of the videos' codec.
    pub fn codec(&self) -> String {
        let info = std::fs::read(self.root().join("meta/info.json")).unwrap();
        let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
        info["features"]["observation.images.front"]["info"]["video.codec"].as_str().unwrap().to_string()
    }
}

/// Frames that were dropped, and rows whose frame is not in its place in the video.
pub fn lost(root: &Path, episodes: usize) -> u64 {
    let summaries = summaries(root);
    assert_eq!(summaries.len(), episodes);
    let cameras = summaries.iter().flat_map(|summary| summary.cameras.values());
    let mut lost: u64 = cameras.flat_map(|camera| camera.counters.dropped.values()).sum();
    for episode in 0..episodes {
        let rows = Rows::read(root, episode);
        for camera in CAMERAS {
            let expected: Vec<Option<u32>> =
                rows.ints(&format!("observation.images.{camera}/sequence")).iter().map(|n| Some(*n as u32)).collect();
            let shown = burnt_in(root, camera, episode, SIZE.0, SIZE.1);
            lost += expected.len().abs_diff(shown.len()) as u64;
            lost += expected.iter().zip(&shown).filter(|(expected, shown)| expected != shown).count() as u64;
        }
    }
    lost
}

/// Finds single frames of each video by seeking, with PyAV.
pub fn frames_are_found_by_seeking(root: &Path, episodes: usize) {
    for episode in 0..episodes {
        let rows = Rows::read(root, episode);
        for camera in CAMERAS {
            let sequence = rows.ints(&format!("observation.images.{camera}/sequence"));
            // Backwards, in steps that fall on every place of a group of pictures.
            let asked: Vec<usize> = (0..sequence.len()).rev().step_by(4).collect();
            let output = Command::new(python())
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py/random_access.py"))
                .arg(root.join(format!("videos/observation.images.{camera}/chunk-000/file-{episode:03}.mp4")))
                .args(std::iter::once("30".to_string()).chain(asked.iter().map(usize::to_string)))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let shown: Vec<_> =
                output.stdout.chunks(SIZE.0 * SIZE.1).map(|luma| read_counter(luma, SIZE.0, SIZE.1)).collect();
            let expected: Vec<_> = asked.iter().map(|n| Some(sequence[*n] as u32)).collect();
            assert_eq!(shown, expected, "{camera}, episode {episode}");
        }
    }
}

/// The indices of a video's key frames.
pub fn key_frames(video: &Path) -> Vec<usize> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=flags", "-of", "csv=p=0"])
        .arg(video)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().enumerate().filter(|(_, flags)| flags.starts_with('K')).map(|(n, _)| n).collect()
}

/// The codec of a video's stream, as ffprobe calls it.
pub fn codec_of(video: &Path) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"])
        .arg(video)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// The lines of a log that contain `part`.
pub fn lines<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

/// The times that changes of encoder took, in milliseconds, as the program measured them.
pub fn switch_ms(text: &str) -> Vec<f64> {
    let took = |line: &&str| line.rsplit_once(", after ")?.1.strip_suffix(" ms")?.parse().ok();
    lines(text, " goes on for nvenc at frame ").iter().filter_map(took).collect()
}
