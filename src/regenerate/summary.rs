//! What a run comes to: a report for each file, sums, in words and as JSON.

use super::options::Arguments;
use super::plan::VideoFile;
use super::source::Source;
use crate::codec::backend::codec_name;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Instant;

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Encoded,
    /// It was as asked for already.
    UpToDate,
    /// Not done; the file is as it was.
    Failed,
    /// Would be encoded (`--dry-run`).
    Planned,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// From the data set's root.
    pub path: String,
    /// The camera's feature.
    pub camera: String,
    pub episodes: Vec<u64>,
    pub state: State,
    pub frames: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Wall time.
    pub seconds: f64,
    /// `openh264` or `nvenc`.
    pub encoder: Option<String>,
    pub error: Option<String>,
}

/// The whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub root: String,
    pub codec: &'static str,
    pub dry_run: bool,
    pub encoded: u64,
    pub up_to_date: u64,
    pub failed: u64,
    pub planned: u64,
    /// Episodes that were recorded and had no videos yet.
    pub added: u64,
    /// Files that are as asked for now, of those that were asked for: 1 is all.
    pub success_rate: f64,
    /// Of what was encoded.
    pub frames: u64,
    /// Wall time.
    pub seconds: f64,
    /// Frames a second, all threads together.
    pub fps: f64,
    /// Of what was encoded.
    pub bytes_before: u64,
    /// Of what was encoded.
    pub bytes_after: u64,
    /// info.json says something new.
    pub info_updated: bool,
    pub notes: Vec<String>,
    pub files: Vec<FileReport>,
}

impl FileReport {
    /// Of a file that nothing was done with yet.
    pub(super) fn new(source: &Source, file: &VideoFile, state: State) -> FileReport {
        FileReport {
            path: file.path.display().to_string(),
            camera: source.cameras[file.camera].key.clone(),
            episodes: file.episodes.clone(),
            state,
            frames: file.frames,
            bytes_before: 0,
            bytes_after: 0,
            seconds: 0.0,
            encoder: None,
            error: None,
        }
    }

    /// In words.
    pub fn line(&self) -> String {
        let FileReport { path, frames, seconds, .. } = self;
        match self.state {
            State::Encoded => {
                let (before, after) = (size(self.bytes_before), size(self.bytes_after));
                let rate = *frames as f64 / seconds.max(1e-3);
                let encoder = self.encoder.as_deref().unwrap_or_default();
                format!("{path}: {before} → {after}, {frames} frames in {seconds:.1} s ({rate:.0} fps, {encoder})")
            }
            State::Failed => {
                format!("{path}: FAILED, and is as it was: {}", self.error.as_deref().unwrap_or_default())
            }
            State::UpToDate => format!("{path}: is as asked for already"),
            State::Planned => {
                let episodes: Vec<String> = self.episodes.iter().map(u64::to_string).collect();
                format!("{path}: would be encoded ({frames} frames, episodes {})", episodes.join(", "))
            }
        }
    }
}

impl Summary {
    pub(super) fn new(arguments: &Arguments) -> Summary {
        Summary {
            root: arguments.root.display().to_string(),
            codec: codec_name(arguments.codec),
            dry_run: arguments.dry_run,
            encoded: 0,
            up_to_date: 0,
            failed: 0,
            planned: 0,
            added: 0,
            success_rate: 1.0,
            frames: 0,
            seconds: 0.0,
            fps: 0.0,
            bytes_before: 0,
            bytes_after: 0,
            info_updated: false,
            notes: Vec::new(),
            files: Vec::new(),
        }
    }

    /// With its sums.
    pub(super) fn finished(mut self, start: Instant) -> Summary {
        let count = |state| self.files.iter().filter(|file| file.state == state).count() as u64;
        let (encoded, up_to_date, failed) = (count(State::Encoded), count(State::UpToDate), count(State::Failed));
        let planned = count(State::Planned);
        let done: Vec<&FileReport> = self.files.iter().filter(|file| file.state == State::Encoded).collect();
        self.frames = done.iter().map(|file| file.frames).sum();
        self.bytes_before = done.iter().map(|file| file.bytes_before).sum();
        self.bytes_after = done.iter().map(|file| file.bytes_after).sum();
        (self.encoded, self.up_to_date, self.failed, self.planned) = (encoded, up_to_date, failed, planned);
        self.success_rate = (encoded + up_to_date) as f64 / ((encoded + up_to_date + failed) as f64).max(1.0);
        if encoded + up_to_date + failed == 0 {
            self.success_rate = 1.0;
        }
        self.seconds = start.elapsed().as_secs_f64();
        self.fps = self.frames as f64 / self.seconds.max(1e-3);
        self
    }

    /// For a person; the lines of encoded files were said as they came.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for file in self.files.iter().filter(|file| file.state == State::Planned) {
            let _ = writeln!(text, "{}", file.line());
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        let Summary { root, codec, encoded, up_to_date, failed, planned, .. } = self;
        let _ = match (self.dry_run, encoded + failed) {
            (true, _) => writeln!(text, "{root}: {planned} to encode as {codec}, {up_to_date} as asked for already"),
            (false, 0) => writeln!(text, "{root}: nothing to do, {up_to_date} videos are {codec} as asked for already"),
            (false, _) => writeln!(
                text,
                "{root}: {encoded} encoded as {codec}, {up_to_date} as asked for already, {failed} failed: {:.0} % \
                 good; {} → {}, {} frames in {:.1} s ({:.0} fps)",
                self.success_rate * 100.0,
                size(self.bytes_before),
                size(self.bytes_after),
                self.frames,
                self.seconds,
                self.fps
            ),
        };
        text
    }
}

fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b < 1e6 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.2} GB", b / 1e9),
    }
}
