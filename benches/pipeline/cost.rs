//! CPU of the whole recorder, as fast as possible, against a loop that does nothing but decode and encode.
//!
//! Both in this process, one after the other in several rounds; the minimum of each counts. The loop has as many threads
//! as the recorder has encoders, so that both meet the same contention for caches.

use crate::clip::{self, FPS, HEIGHT, WIDTH};
use crate::{Result, line, note};
use recorder::bench::machine::process_time;
use recorder::codec::backend::{self, PictureEncoder};
use recorder::codec::jpeg::Decoder;
use recorder::codec::openh264::Encoder;
use recorder::codec::yuv::I420;
use recorder::config::schema::{ColorRange, Config};
use recorder::console::http;
use recorder::{config, metrics, run, status};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FRAMES: usize = 600;
const ROUNDS: usize = 5;
const QUALITY: u32 = 23;
const GOP: u64 = 15;
const BAR: f64 = 1.10;

/// One run: CPU of the whole process, and wall time.
#[derive(Clone, Copy, Debug)]
struct Spent {
    cpu: Duration,
    wall: Duration,
}

impl Spent {
    const NOTHING_YET: Spent = Spent { cpu: Duration::MAX, wall: Duration::MAX };

    /// Of `work`, its threads included.
    fn by(work: impl FnOnce() -> Result<()>) -> Result<Spent> {
        let (cpu, wall) = (process_time(), Instant::now());
        work()?;
        Ok(Spent { cpu: process_time() - cpu, wall: wall.elapsed() })
    }

    fn least(self, other: Spent) -> Spent {
        Spent { cpu: self.cpu.min(other.cpu), wall: self.wall.min(other.wall) }
    }

    fn describe(self, frames: usize) -> String {
        let (cpu, wall) = (self.cpu.as_secs_f64(), self.wall.as_secs_f64());
        format!("{:.2} CPU ms a frame, {:.0} frames/s", cpu * 1e3 / frames as f64, frames as f64 / wall)
    }
}

/// The section.
pub fn measure(dir: &Path) -> Result<()> {
    let pictures = clip::read(dir)?;
    for cameras in [1, 2] {
        let (mut pipeline, mut bare) = (Spent::NOTHING_YET, Spent::NOTHING_YET);
        for round in 0..ROUNDS {
            let root = dir.join(format!("cost-{cameras}-{round}"));
            pipeline = pipeline.least(Spent::by(|| record(&configuration(dir, &root, cameras)?))?);
            bare = bare.least(Spent::by(|| decode_and_encode(&pictures, cameras))?);
            std::fs::remove_dir_all(&root)?;
        }
        let frames = cameras * FRAMES;
        note(&format!("{cameras} camera(s), bare loop"), bare.describe(frames));
        note(&format!("{cameras} camera(s), recorder"), pipeline.describe(frames));
        let ratio = pipeline.cpu.as_secs_f64() / bare.cpu.as_secs_f64();
        line("CPU, recorder / bare loop", format!("{ratio:.3}"), &format!("<= {BAR}"), ratio <= BAR);
    }
    Ok(())
}

fn configuration(dir: &Path, root: &Path, cameras: usize) -> Result<Config> {
    let mut text = format!(
        "[dataset]\nrepo_id = \"bench/cost\"\nroot = {root:?}\nsingle_task = \"bench\"\nfps = {FPS}\n\
         episode_time_s = {}\nreset_time_s = 0\nnum_episodes = 1\n\
         [dataset.encoder]\nquality = {QUALITY}\ngop = {GOP}\n",
        FRAMES as f64 / f64::from(FPS)
    );
    for camera in 0..cameras {
        let clip = clip::path(dir);
        text += &format!("[robot.cameras.c{camera}]\ntype = \"file\"\nindex_or_path = {clip:?}\nrealtime = false\n");
    }
    Ok(config::parse("bench", &text, &[])?)
}

/// What the program does between reading its configuration and saying how it went.
fn record(config: &Config) -> Result<()> {
    let config = Arc::new(config.clone());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if let Some(handle) = metrics::install() {
            tokio::spawn(http::upkeep(handle));
        }
        let dataset = run::open_dataset(&config)?;
        let parts = run::Parts {
            clock: run::clock(&config),
            open_encoder: backend::standard(),
            gpu: None,
            status: status::shared(),
            on_saved: Box::new(|_, _| {}),
        };
        run::start(&config, dataset, parts).await?.wait().await?;
        Ok(())
    })
}

fn decode_and_encode(pictures: &[Vec<u8>], threads: usize) -> Result<()> {
    let stream = || -> std::result::Result<(), String> {
        let mut picture = I420::grey(WIDTH, HEIGHT, ColorRange::Limited);
        let mut decoder = Decoder::new().map_err(|e| e.to_string())?;
        let mut encoder = Encoder::open(WIDTH, HEIGHT, FPS, QUALITY, ColorRange::Limited).map_err(|e| e.to_string())?;
        for (index, jpeg) in (0..FRAMES as u64).zip(pictures.iter().cycle()) {
            decoder.decode(jpeg, &mut picture).map_err(|e| e.to_string())?;
            black_box(encoder.encode(&picture, index, index % GOP == 0).map_err(|e| e.to_string())?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(stream)).collect();
        for thread in threads {
            thread.join().map_err(|_| "the loop panicked")??;
        }
        Ok(())
    })
}
