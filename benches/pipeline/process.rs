//! The recorder as a process of its own, watched from outside.

use crate::Result;
use recorder::bench::machine::{self, kib};
use recorder::dataset::{CameraCounters, EpisodeSummary};
use recorder::metrics;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident memory, in KiB.
    pub peak_kib: u64,
    /// Resident memory over time, in KiB.
    pub resident_kib: Vec<u64>,
    /// Most frames that waited for an encoder, of one camera, over time.
    pub queue: Vec<u64>,
    /// Milliseconds from an episode's last tick to its commit.
    pub saves_ms: Vec<u64>,
    pub episodes: Vec<EpisodeSummary>,
}

impl Report {
    /// Sums a figure over all cameras of all episodes.
    pub fn sum(&self, of: impl Fn(&CameraCounters) -> u64) -> u64 {
        self.episodes.iter().flat_map(|episode| episode.cameras.values()).map(|camera| of(&camera.counters)).sum()
    }

    /// Captured and in no video, or never delivered.
    pub fn lost(&self) -> u64 {
        self.sum(CameraCounters::lost)
    }

    /// Rows that show the picture of the row before.
    pub fn repeated(&self) -> u64 {
        self.sum(|camera| camera.repeated)
    }

    /// CPU seconds for each second of the run.
    pub fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

const LOOK: Duration = Duration::from_millis(500);

/// Runs the program on `config`, whose data set is to be at `root`.
pub fn run(dir: &Path, root: &Path, config: &str) -> Result<Report> {
    let path = dir.join("lab.toml");
    fs::write(&path, config)?;
    let (before, start) = (children_time()?, Instant::now());
    let mut child = Command::new(env!("CARGO_BIN_EXE_recorder"))
        .arg("--config")
        .arg(&path)
        .env("RUST_LOG", "recorder=info,warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = child.stderr.take().ok_or("no standard error")?;
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let _ = BufReader::new(log).lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line));
    });
    let mut report = Report::default();
    let mut address: Option<String> = None;
    let mut log = Vec::new();
    let status = loop {
        log.extend(lines.try_iter());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        address =
            address.or_else(|| log.iter().find_map(|line| Some(between(line, "http://", "/metrics")?.to_owned())));
        if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id())) {
            report.resident_kib.extend(kib(&status, "VmRSS:"));
            report.peak_kib = kib(&status, "VmHWM:").unwrap_or_default().max(report.peak_kib);
        }
        if let Some(page) = address.as_ref().and_then(|address| get(address, "/metrics").ok()) {
            report.queue.extend(most_waiting(&page));
        }
        std::thread::sleep(LOOK);
    };
    report.wall = start.elapsed();
    report.cpu = children_time()? - before;
    let _ = reader.join();
    log.extend(lines.try_iter());
    let saves = log.iter().filter_map(|line| between(line, "rows, ", " ms after")?.parse::<u64>().ok());
    report.saves_ms = saves.collect();
    if !status.success() {
        return Err(format!("the recorder ended with {status}:\n{}", log.join("\n")).into());
    }
    for entry in fs::read_dir(root.join("recorder/episodes"))? {
        for file in fs::read_dir(entry?.path())? {
            report.episodes.push(serde_json::from_slice(&fs::read(file?.path())?)?);
        }
    }
    if report.saves_ms.len() != report.episodes.len() {
        let (saves, episodes) = (report.saves_ms.len(), report.episodes.len());
        return Err(format!("the log tells of {saves} saves, the data set has {episodes}:\n{}", log.join("\n")).into());
    }
    fs::remove_dir_all(root)?;
    Ok(report)
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(line.split_once(before)?.1.split_once(after)?.0)
}

/// Of the camera that has the most.
fn most_waiting(page: &str) -> Option<u64> {
    let lines = page.lines().filter(|line| line.starts_with(metrics::QUEUE_FRAMES));
    lines.filter_map(|line| Some(line.rsplit(' ').next()?.parse::<f64>().ok()? as u64)).max()
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// User and system time of all children that have ended.
fn children_time() -> Result<Duration> {
    Ok(machine::own_times().map(|[_, children]| children)?)
}
