//! What capture costs: `cargo bench --bench capture [-- SECTION…]`.
//!
//! Sections: `parts` (CPU of the work on one picture), `age` (what the camera's thread adds to a picture's age, and its CPU,
//! while two 720p30 cameras are recorded), `busy` (the same with more cameras than can be encoded) and `copy` (20 `file`
//! cameras with `codec = "copy"` in real time). Pictures are synthetic: 720p, 4:2:2, some 149 KB. What a driver costs is not
//! in it. Run it on an idle machine.

use recorder::bench::{BUSY, machine};
use recorder::camera::{self, Camera, CameraError, Mode, Picture};
use recorder::clock::{Clock, Rank, SimulatedClock, Stamp};
use recorder::codec::backend;
use recorder::codec::jpeg::{self, Decoder};
use recorder::codec::yuv::I420;
use recorder::config::schema::{self, CameraKind, ColorRange};
use recorder::dataset::EpisodeSummary;
use recorder::devices::Devices;
use recorder::run::{self, Parts};
use recorder::{config, metrics, status};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use turbojpeg::{Decompressor, Subsamp, YuvImage};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
const FPS: u32 = 30;
/// Pictures of the clip: more bytes than a processor's cache holds.
const PICTURES: usize = 120;
/// Of the JPEGs: gives the size that webcams' pictures have.
const QUALITY: i32 = 89;
const ROUNDS: usize = 9;
const SECONDS: u32 = 30;
/// What has to be encoded afterwards waits on disk meanwhile.
const BUSY_SECONDS: u32 = 10;
const MOST_AGE_MS: f64 = 1.0;
const MOST_CPU: f64 = 0.03;
const CAMERAS: usize = 20;
/// More than two cores encode.
const MANY: usize = 12;

type Section = fn(&[Vec<u8>]) -> Result<()>;
type Work<'a> = Box<dyn FnMut(&[u8]) + 'a>;

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let sections: [(&str, Section); 4] = [
        ("parts", parts),
        ("age", |pictures| age(pictures, 2, SECONDS)),
        ("busy", |pictures| age(pictures, MANY, BUSY_SECONDS)),
        ("copy", copy),
    ];
    if let Some(unknown) = wanted.iter().find(|name| sections.iter().all(|(known, _)| known != name)) {
        return Err(format!("expected parts, age, busy, copy or nothing, found {unknown}").into());
    }
    metrics::install();
    let pictures = pictures()?;
    let bytes: usize = pictures.iter().map(Vec::len).sum();
    println!("{WIDTH}x{HEIGHT}, 4:2:2, {PICTURES} pictures of {} KB on average, synthetic", bytes / PICTURES / 1000);
    for (name, section) in sections {
        if wanted.is_empty() || wanted.iter().any(|wish| wish == name) {
            println!("\n{name}");
            let (others, start) = (machine::others_time()?, Instant::now());
            section(&pictures)?;
            let others = (machine::others_time()?.saturating_sub(others)).as_secs_f64() / start.elapsed().as_secs_f64();
            let hint = if others > BUSY { ": the figures are not those of an idle machine" } else { "" };
            note("other programs meanwhile", format!("{others:.2} cores{hint}"));
        }
    }
    Ok(())
}

/// The synthetic camera's pictures, compressed less than it does.
fn pictures() -> Result<Vec<Vec<u8>>> {
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    let config =
        schema::Camera { fps: FPS, realtime: false, ..schema::Camera::new(CameraKind::Synthetic, width, height) };
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(Stamp::default()));
    let mut camera = camera::open("clip", &config, &clock, Rank(0))?;
    let mut turbo = Decompressor::new()?;
    let mut planes = vec![0; WIDTH * HEIGHT * 2];
    let (width, height, subsamp) = (WIDTH, HEIGHT, Subsamp::Sub2x1);
    let mut pictures = Vec::new();
    for _ in 0..PICTURES {
        let drawn = camera.next(Duration::from_secs(1))?;
        turbo.decompress_to_yuv(drawn.data, YuvImage { pixels: &mut planes[..], width, align: 1, height, subsamp })?;
        let image = YuvImage { pixels: &planes[..], width, align: 1, height, subsamp };
        pictures.push(turbojpeg::compress_yuv(image, QUALITY)?.to_vec());
    }
    Ok(pictures)
}

/// CPU of one thread for each picture, least of several interleaved rounds.
fn parts(pictures: &[Vec<u8>]) -> Result<()> {
    let mut decoder = Decoder::new()?;
    let mut picture = I420::grey(WIDTH as u32, HEIGHT as u32, ColorRange::Limited);
    let mut works: [(&str, Work); 4] = [
        ("its structure", Box::new(|jpeg| drop(black_box(jpeg::parse(black_box(jpeg)))))),
        ("one owned copy", Box::new(|jpeg| drop(black_box(jpeg.to_vec())))),
        ("a new libjpeg decoder", Box::new(|_| drop(black_box(Decompressor::new())))),
        ("decoding it, for comparison", Box::new(|jpeg| decoder.decode(jpeg, &mut picture).unwrap_or(()))),
    ];
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        for ((_, work), best) in works.iter_mut().zip(&mut best) {
            let start = thread_time();
            pictures.iter().for_each(|jpeg| work(jpeg));
            *best = best.min((thread_time() - start).as_secs_f64() * 1e6 / pictures.len() as f64);
        }
    }
    for ((what, _), microseconds) in works.iter().zip(best) {
        note(what, format!("{microseconds:.1} us, {:.4} of decoding", microseconds / best[3]));
    }
    Ok(())
}

/// What a camera's thread did.
#[derive(Default)]
struct Log {
    /// From the time that a picture was there to when its thread was awake, from then to when it had passed the picture on,
    /// and both together.
    woken: Vec<Duration>,
    worked: Vec<Duration>,
    passed_on: Vec<Duration>,
    /// CPU time of the thread and the time, at its first picture and at its newest.
    first: Option<(Duration, Instant)>,
    newest: Option<(Duration, Instant)>,
}

/// A camera whose pictures lie in memory, as those of a driver do.
struct Memory {
    mode: Mode,
    pictures: Arc<Vec<Vec<u8>>>,
    clock: Arc<dyn Clock>,
    start: Instant,
    number: u32,
    /// When the picture that was given last was there.
    due: Option<Instant>,
    log: Arc<Mutex<Log>>,
}

impl Camera for Memory {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    /// It is asked for the next picture when the one before is in the coordinator's mailbox.
    fn next(&mut self, _timeout: Duration) -> std::result::Result<Picture<'_>, CameraError> {
        let now = Instant::now();
        let mut log = self.log.lock().map_err(|_| CameraError::Stopped)?;
        if let Some(due) = self.due {
            let passed_on = now - due;
            let worked = passed_on.saturating_sub(log.woken.last().copied().unwrap_or_default());
            log.worked.push(worked);
            log.passed_on.push(passed_on);
            log.newest = Some((thread_time(), now));
            log.first = log.first.or(log.newest);
        }
        self.number += 1;
        let due = self.start + Duration::from_secs(self.number.into()) / FPS;
        std::thread::sleep(due.saturating_duration_since(now));
        let late = due.elapsed();
        log.woken.push(late);
        self.due = Some(due);
        let captured = self.clock.stamp(self.clock.now().mono_ns.saturating_sub(late.as_nanos() as u64));
        Ok(Picture {
            sequence: self.number.into(),
            captured,
            data: &self.pictures[self.number as usize % self.pictures.len()],
        })
    }
}

/// Cameras that hand out pictures from memory, recorded as H.264.
fn age(pictures: &[Vec<u8>], cameras: usize, seconds: u32) -> Result<()> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let cameras: String = (0..cameras)
        .map(|k| format!("[robot.cameras.c{k}]\ntype = \"synthetic\"\nwidth = {WIDTH}\nheight = {HEIGHT}\n"))
        .collect();
    let logs: Arc<Mutex<BTreeMap<String, Arc<Mutex<Log>>>>> = Arc::default();
    let (pictures, opened) = (Arc::new(pictures.to_vec()), logs.clone());
    let devices = Devices {
        camera: Arc::new(move |name, config, clock, _| {
            let log: Arc<Mutex<Log>> = Arc::default();
            opened.lock().map_err(|_| CameraError::Stopped)?.insert(name.into(), log.clone());
            let format = recorder::frame::PixelFormat::Mjpg;
            let mode = Mode { format, width: config.width, height: config.height, fps: (config.fps, 1) };
            let (pictures, clock, start) = (pictures.clone(), clock.clone(), Instant::now());
            Ok(Box::new(Memory { mode, pictures, clock, start, number: 0, due: None, log }))
        }),
        ..Devices::default()
    };
    let summary = record(&configuration(dir.path(), "h264", &cameras, seconds)?, devices)?;
    let logs = logs.lock().map_err(|_| "a camera's thread panicked")?;
    let (mut woken, mut worked, mut passed_on, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for log in logs.values() {
        let log = log.lock().map_err(|_| "a camera's thread panicked")?;
        woken.extend(&log.woken);
        worked.extend(&log.worked);
        passed_on.extend(&log.passed_on);
        let ((cpu, start), (later, end)) = log.first.zip(log.newest).ok_or("a camera gave no picture")?;
        shares.push((later - cpu).as_secs_f64() / (end - start).as_secs_f64());
    }
    note("pictures", format!("{}, of {} cameras; {} rows", passed_on.len(), shares.len(), summary.length));
    percentiles("there until its thread is awake", &mut woken);
    percentiles("awake until it is in the mailbox", &mut worked);
    let p99 = percentiles("there until it is in the mailbox", &mut passed_on);
    line("age that capture adds, p99", format!("{p99:.3} ms"), &format!("<= {MOST_AGE_MS} ms"), p99 <= MOST_AGE_MS);
    let most = shares.iter().copied().fold(0.0, f64::max);
    let shown = format!("{:.2} % of a core", most * 100.0);
    line("CPU of a camera's thread", shown, &format!("<= {:.0} %", MOST_CPU * 100.0), most <= MOST_CPU);
    told_losses(&summary);
    Ok(())
}

/// Twenty files played at once, and stored as they are.
fn copy(pictures: &[Vec<u8>]) -> Result<()> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let clip = dir.path().join("clip.mjpeg");
    fs::write(&clip, pictures.concat())?;
    let cameras: String =
        (0..CAMERAS).map(|k| format!("[robot.cameras.c{k:02}]\ntype = \"file\"\nindex_or_path = {clip:?}\n")).collect();
    let config = configuration(dir.path(), "copy", &cameras, SECONDS)?;
    let (cpu, start) = (machine::process_time(), Instant::now());
    let summary = record(&config, Devices::default())?;
    let (cpu, wall) = ((machine::process_time() - cpu).as_secs_f64(), start.elapsed().as_secs_f64());
    let bytes = size(&run::root(&config))?;
    let place = if machine::is_in_memory(dir.path()) { " (memory, no disk)" } else { "" };
    note("written", format!("{} MB{place} in {wall:.1} s: {:.0} MB/s", bytes / 1_000_000, bytes as f64 / 1e6 / wall));
    note("CPU, reading the clip included", format!("{:.2} cores of {}", cpu / wall, machine::cores()));
    let rows = summary.length;
    line("rows", rows.to_string(), &(FPS * SECONDS).to_string(), rows == u64::from(FPS * SECONDS));
    told_losses(&summary);
    Ok(())
}

fn told_losses(summary: &EpisodeSummary) {
    let sum = |of: fn(&recorder::dataset::CameraCounters) -> u64| -> u64 {
        summary.cameras.values().map(|camera| of(&camera.counters)).sum()
    };
    let (lost, repeated) = (sum(|camera| camera.lost()), sum(|camera| camera.repeated));
    line("frames lost, of all cameras", lost.to_string(), "0", lost == 0);
    note("rows repeated", repeated.to_string());
}

fn configuration(dir: &Path, codec: &str, cameras: &str, seconds: u32) -> Result<Arc<config::Config>> {
    let root = dir.join("set");
    let text = format!(
        "[limits]\nmin_free_gib = 0\n[metrics]\nlisten = \"\"\n[dataset]\nrepo_id = \"bench/capture\"\nroot = {root:?}\n\
         single_task = \"bench\"\nfps = {FPS}\nepisode_time_s = {seconds}\nreset_time_s = 0\nnum_episodes = 1\n\
         [dataset.encoder]\ncodec = \"{codec}\"\nquality = 23\ngop = 15\n{cameras}"
    );
    Ok(Arc::new(config::parse("bench", &text, &[])?))
}

/// Records one episode.
fn record(config: &Arc<config::Config>, devices: Devices) -> Result<EpisodeSummary> {
    let saved = Arc::new(Mutex::new(None));
    let parts = Parts {
        clock: run::clock(config),
        open_encoder: backend::standard(),
        gpu: None,
        status: status::shared(),
        on_saved: Box::new({
            let saved = saved.clone();
            move |summary, _| *saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(summary.clone())
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        run::start_with(config, run::open_dataset(config)?, parts, devices).await?.wait().await?;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let summary = saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    Ok(summary.ok_or("no episode was saved")?)
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Prints times, and gives the 99th percentile in milliseconds.
fn percentiles(what: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let ms = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    note(what, format!("p50 {:.3}, p99 {:.3}, max {:.3} ms", ms(0.5), ms(0.99), ms(1.0)));
    ms(0.99)
}

/// A figure beside its bar.
fn line(what: &str, value: String, bar: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:<34} {value:<28} bar {bar}: {verdict}");
}

/// A figure without a bar.
fn note(what: &str, value: String) {
    println!("  {what:<34} {value}");
}
