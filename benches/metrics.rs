//! What metrics cost: `cargo bench --bench metrics [-- SECTION…]`.
//!
//! Sections: `scrape` (time and size of the page with 8 cameras, over HTTP) and `cost` (CPU of a run with metrics against
//! the same run without them). Run it on an idle machine.

use recorder::bench::machine;
use recorder::codec::backend;
use recorder::config::schema::Metrics;
use recorder::console::http;
use recorder::frame::DropReason;
use recorder::run::{self, Parts};
use recorder::{config, metrics, status};
use rustix::time::{ClockId, clock_gettime};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCRAPES: usize = 500;
/// Prometheus scrapes this often: what came since waits in the histograms.
const SCRAPE_INTERVAL_S: u32 = 5;
const MOST_MS: f64 = 5.0;
const MOST_BYTES: usize = 200_000;
const ROUNDS: usize = 15;
const MOST_SHARE: f64 = 0.01;
const FPS: u32 = 30;
/// How often it is looked whether the run's time has come to a scrape.
const LOOK: Duration = Duration::from_millis(20);

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", is_on, dir] => child(is_on == "on", Path::new(dir)),
        [] => {
            scrape()?;
            cost()
        }
        ["scrape"] => scrape(),
        ["cost"] => cost(),
        _ => Err(format!("expected scrape, cost or nothing, found {}", arguments.join(" ")).into()),
    }
}

/// Simulated cameras of this size, and an arm, for so many seconds.
fn configuration(dir: &Path, cameras: usize, (width, height): (u32, u32), seconds: u32) -> Result<config::Config> {
    let root = dir.join("set");
    let mut text = format!(
        "[robot]\ntype = \"so101_follower\"\nport = \"sim\"\n[teleop]\ntype = \"so101_leader\"\nport = \"sim\"\n\
         [limits]\nmin_free_gib = 0\n\
         [dataset]\nrepo_id = \"bench/metrics\"\nroot = {root:?}\nsingle_task = \"bench\"\nfps = {FPS}\n\
         episode_time_s = {seconds}\nreset_time_s = 0\nnum_episodes = 1\n"
    );
    for camera in 0..cameras {
        text += &format!(
            "[robot.cameras.camera_{camera}]\ntype = \"synthetic\"\nwidth = {width}\nheight = {height}\nfps = {FPS}\nrealtime = false\n"
        );
    }
    Ok(config::parse("bench", &text, &[])?)
}

async fn record(config: config::Config, status: status::SharedStatus) -> Result<()> {
    let config = Arc::new(config);
    let parts = Parts {
        clock: run::clock(&config),
        open_encoder: backend::standard(),
        gpu: None,
        status,
        on_saved: Box::new(|_, _| {}),
    };
    Ok(run::start(&config, run::open_dataset(&config)?, parts).await?.wait().await?)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The page after a run with 8 cameras; before each scrape the histograms get what 8 cameras and an arm give them in
/// [`SCRAPE_INTERVAL_S`] seconds.
fn scrape() -> Result<()> {
    println!("\nscrape");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let handle = metrics::install().ok_or("metrics cannot be installed")?;
    let runtime = runtime()?;
    let status = status::shared();
    let address = runtime.block_on(async {
        record(configuration(dir.path(), 8, (64, 48), 60)?, status.clone()).await?;
        let listen = Metrics { listen: "127.0.0.1:0".into(), ..Metrics::default() };
        Ok::<_, Box<dyn std::error::Error>>(http::serve(&listen, handle, status.clone()).await?)
    })?;
    let (mut times, mut rendered, mut worked, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for n in 0..SCRAPES {
        give_samples(n);
        let start = Instant::now();
        bytes = get(address)?;
        times.push(start.elapsed());
        give_samples(n);
        let (start, work) = (Instant::now(), thread_time());
        std::hint::black_box(metrics::render(handle, status.now()));
        worked.push(thread_time() - work);
        rendered.push(start.elapsed());
    }
    let p99_ms = report("over HTTP", &mut times);
    report("rendering alone", &mut rendered);
    // What other programs do meanwhile is not in it.
    report("rendering alone, CPU", &mut worked);
    line("scrape p99", format!("{p99_ms:.2} ms"), &format!("<= {MOST_MS} ms"), p99_ms <= MOST_MS);
    let shown = format!("{bytes} bytes");
    line("page with 8 cameras", shown, &format!("<= {MOST_BYTES} bytes"), bytes <= MOST_BYTES);
    Ok(())
}

/// What a run records between two scrapes.
fn give_samples(seed: usize) {
    let frames = SCRAPE_INTERVAL_S * FPS;
    let spread = |frame: u32| 1e-4 * f64::from((frame * 7919 + seed as u32) % 1000);
    for camera in (0..8).map(|camera| format!("camera_{camera}")) {
        let fragments = 2 * SCRAPE_INTERVAL_S;
        for (name, many) in [
            (metrics::CAPTURE_INTERVAL, frames),
            (metrics::ENCODE_LAG, fragments),
            (metrics::WRITE_DURATION, fragments),
        ] {
            let histogram = ::metrics::histogram!(name, "camera" => camera.clone());
            (0..many).for_each(|frame| histogram.record(spread(frame)));
        }
        let encoded =
            ::metrics::histogram!(metrics::ENCODE_DURATION, "camera" => camera.clone(), "backend" => "openh264");
        (0..frames).for_each(|frame| encoded.record(spread(frame)));
        ::metrics::counter!(metrics::FRAMES_CAPTURED, "camera" => camera.clone()).increment(frames.into());
        metrics::dropped(&camera, DropReason::Late, 1);
    }
    for name in [metrics::CAMERA_SKEW, metrics::TICK_JITTER] {
        (0..frames).for_each(|frame| ::metrics::histogram!(name).record(spread(frame)));
    }
}

fn get(address: SocketAddr) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    let start = page.windows(4).position(|end| end == b"\r\n\r\n").ok_or("no page")? + 4;
    Ok(page.len() - start)
}

/// User and system time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Prints times, and gives the 99th percentile in milliseconds.
fn report(what: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let ms = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("  {what:<34} min {:.2}, median {:.2}, p99 {:.2}, max {:.2} ms", ms(0.0), ms(0.5), ms(0.99), ms(1.0));
    ms(0.99)
}

/// The same run in processes of their own, by turns with metrics, scraped every [`SCRAPE_INTERVAL_S`] seconds of the run's
/// time, and without.
fn cost() -> Result<()> {
    println!("\ncost");
    let mut pairs = Vec::new();
    for round in 0..=ROUNDS {
        // Each goes first in every other round.
        let order = if round % 2 == 0 { ["on", "off"] } else { ["off", "on"] };
        let mut cpu = [0.0; 2];
        for is_on in order {
            cpu[usize::from(is_on == "off")] = measured_child(is_on)?;
        }
        // The first round warms up.
        if round > 0 {
            pairs.push(cpu);
        }
    }
    let mut ratios: Vec<f64> = pairs.iter().map(|[on, off]| on / off).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let least = |which: usize| pairs.iter().map(|pair| pair[which]).fold(f64::MAX, f64::min);
    let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
    println!("  {:<34} on {:.3} s, off {:.3} s", "least CPU time", least(0), least(1));
    let spread = format!("quartiles {:.4} to {:.4}, {} pairs", at(0.25), at(0.75), ratios.len());
    println!("  {:<34} {spread}", "CPU, on / off, pair by pair");
    let (median, best) = (at(0.5), least(0) / least(1));
    let bar = format!("<= {:.2}", 1.0 + MOST_SHARE);
    line("CPU, on / off, median of pairs", format!("{median:.4}"), &bar, median <= 1.0 + MOST_SHARE);
    line("CPU, on / off, least of each", format!("{best:.4}"), &bar, best <= 1.0 + MOST_SHARE);
    Ok(())
}

fn measured_child(is_on: &str) -> Result<f64> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let output = Command::new(std::env::current_exe()?).args(["child", is_on]).arg(dir.path()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Two cameras of 640x480 and an arm; prints the CPU time of all threads, in seconds.
fn child(is_on: bool, dir: &Path) -> Result<()> {
    let (config, status) = (configuration(dir, 2, (640, 480), 20)?, status::shared());
    runtime()?.block_on(async {
        if let Some(handle) = is_on.then(metrics::install).flatten() {
            tokio::spawn(http::upkeep(handle));
            let (status, mut due_ns) = (status.clone(), 0);
            tokio::spawn(async move {
                let mut look = tokio::time::interval(LOOK);
                loop {
                    look.tick().await;
                    let now = status.now();
                    if now.mono_ns >= due_ns {
                        due_ns = now.mono_ns + u64::from(SCRAPE_INTERVAL_S) * 1_000_000_000;
                        std::hint::black_box(metrics::render(handle, now));
                    }
                }
            });
        }
        record(config, status).await
    })?;
    println!("{}", machine::process_time().as_secs_f64());
    Ok(())
}

/// A figure beside its bar.
fn line(what: &str, value: String, bar: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:<34} {value:<28} bar {bar}: {verdict}");
}
