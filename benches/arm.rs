//! What arms cost: `cargo bench --bench arm [-- SECTION…]`.
//!
//! Sections: `wire` (the time of six positions read and six goals written, over what their bytes take on the wire), `loss`
//! (what a lost reply costs) and `loop` (two cameras and two arms recorded in real time at 30, 60 and 100 Hz). The servos are
//! simulated, behind pseudo terminals and with the time that their bytes take at 1,000,000 baud; what USB adds is not in it.
//! Run it on an idle machine.

use metrics_exporter_prometheus::PrometheusHandle;
use recorder::arm::feetech::packet::Packet;
use recorder::arm::feetech::registers as reg;
use recorder::arm::sim::{Fault, Setup, SimBus, SimKind};
use recorder::arm::so101::MOTORS;
use recorder::arm::{Robot, open_robot};
use recorder::clock::{Clock, SystemClock};
use recorder::codec::backend;
use recorder::config::schema;
use recorder::dataset::EpisodeSummary;
use recorder::run::{self, Parts};
use recorder::{config, metrics, status};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const CYCLES: usize = 5000;
const MOST_OVER_FLOOR_MS: f64 = 1.0;
const LOSSES: usize = 500;
const MOST_LOSS_MS: f64 = 12.0;
const RATES: [u32; 3] = [30, 60, 100];
const SECONDS: u32 = 20;
const MOST_JITTER_MS: f64 = 1.0;
/// A byte at 1,000,000 baud: start bit, eight bits, stop bit.
const BYTE: Duration = Duration::from_micros(10);
/// Every transaction ends long before.
const AMPLE: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    // Cargo passes `--bench`.
    let sections: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match sections.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            wire()?;
            loss()?;
            real_time()
        }
        ["wire"] => wire(),
        ["loss"] => loss(),
        ["loop"] => real_time(),
        _ => Err(format!("expected wire, loss, loop or nothing, found {}", sections.join(" ")).into()),
    }
}

/// An arm whose bytes take their time, and its calibration file `NAME.json` in `dir`.
fn arm(kind: SimKind, dir: &Path, name: &str) -> Result<SimBus> {
    std::fs::write(dir.join(format!("{name}.json")), kind.calibration().to_json())?;
    Ok(SimBus::open(Setup { wire_time: true, ..Setup::new(kind) }, Arc::new(SystemClock::default()))?)
}

/// A follower as the recorder drives it.
fn follower(dir: &Path) -> Result<(SimBus, Box<dyn Robot>)> {
    let bus = arm(SimKind::Follower, dir, "follower")?;
    let robot = schema::Robot {
        kind: schema::RobotKind::So101Follower,
        port: Some(bus.path().into()),
        id: Some("follower".into()),
        calibration_dir: Some(dir.into()),
        ..Default::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let follower = open_robot(&robot, &clock)?.ok_or("no robot")?;
    Ok((bus, follower))
}

/// Positions read and goals sent without a pause, so that each cycle waits for the bytes of the one before.
fn wire() -> Result<()> {
    println!("\nwire");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (_bus, mut follower) = follower(dir.path())?;
    let ids = MOTORS.map(|(_, id)| id);
    let goals = ids.map(|id| (id, [0u8; 2]));
    let bytes = [
        Packet::sync_read(reg::PRESENT_POSITION.addr, 2, &ids),
        Packet::sync_write(reg::GOAL_POSITION.addr, 2, goals.iter().map(|(id, goal)| (*id, &goal[..]))),
    ];
    let replies = ids.map(|id| Packet { id, code: 0, params: vec![0; 2] });
    let length: usize = bytes.iter().chain(&replies).map(|packet| packet.encode().len()).sum();
    let floor = BYTE * length as u32;
    println!("  {:<34} {length} bytes, {} us", "wire floor of a cycle", floor.as_micros());
    let pose = follower.observe(Instant::now() + AMPLE)?.values;
    let mut times = Vec::with_capacity(CYCLES);
    for cycle in 0..=CYCLES {
        let start = Instant::now();
        let reading = follower.observe(start + AMPLE)?;
        follower.send(&pose, start + AMPLE)?;
        if !reading.reused.is_empty() {
            return Err("a motor did not answer".into());
        }
        // Before the first no bytes are on the wire.
        if cycle > 0 {
            times.push(start.elapsed());
        }
    }
    let p99 = report("a cycle", &mut times) - floor.as_secs_f64() * 1e3;
    line(
        "over the floor, p99",
        format!("{p99:.2} ms"),
        &format!("<= {MOST_OVER_FLOOR_MS} ms"),
        p99 <= MOST_OVER_FLOOR_MS,
    );
    Ok(())
}

/// One motor's reply is lost, another motor's each time; then some cycles without a loss.
fn loss() -> Result<()> {
    println!("\nloss");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let (bus, mut follower) = follower(dir.path())?;
    // The first reading is waited for as connecting is.
    follower.observe(Instant::now() + AMPLE)?;
    let tick = Duration::from_secs(1) / RATES[0];
    let (mut whole, mut lossy, mut reused, mut failed) = (Vec::new(), Vec::new(), 0, 0);
    for cycle in 0..4 * LOSSES {
        let is_lossy = cycle % 4 == 0;
        if is_lossy {
            bus.inject(Fault::Lost, Some(MOTORS[cycle / 4 % MOTORS.len()].1), 1);
        }
        let start = Instant::now();
        // As long as a tick's talk with the arm may take.
        let reading = follower.observe(start + tick * 4 / 5);
        let times = if is_lossy { &mut lossy } else { &mut whole };
        times.push(start.elapsed());
        match reading {
            Ok(reading) => reused += usize::from(!reading.reused.is_empty()),
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => failed += 1,
        }
    }
    report("positions, nothing lost", &mut whole);
    report("positions, a reply lost", &mut lossy);
    println!("  {:<34} {reused} with an older value, marked; {failed} without any", "of all readings");
    let usual = whole[whole.len() / 2];
    let cost = |time: Duration| time.saturating_sub(usual).as_secs_f64() * 1e3;
    let p99 = cost(lossy[lossy.len() * 99 / 100]);
    line("what a lost reply costs, p99", format!("{p99:.2} ms"), &format!("<= {MOST_LOSS_MS} ms"), p99 <= MOST_LOSS_MS);
    Ok(())
}

/// Two cameras of 640x480 and an arm that follows another.
fn real_time() -> Result<()> {
    let handle = metrics::install().ok_or("metrics cannot be installed")?;
    let mut before = 0.0;
    for fps in RATES {
        println!("\nloop at {fps} Hz");
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let follower = arm(SimKind::Follower, dir.path(), "follower")?;
        let leader = arm(SimKind::Leader, dir.path(), "leader")?;
        let status = status::shared();
        let summary = record(configuration(dir.path(), fps, follower.path(), leader.path())?, status)?;
        let (rows, all) = (summary.length, misses(handle)?);
        let missed = all - std::mem::replace(&mut before, all);
        let expected = u64::from(fps * SECONDS);
        line("rows", rows.to_string(), &expected.to_string(), rows == expected);
        line("rows that an arm missed", missed.to_string(), "0", missed == 0.0);
        line("failed talks with an arm", format!("{:?}", summary.arm_errors), "none", summary.arm_errors.is_empty());
        let ms = |ns: u64| ns as f64 / 1e6;
        let jitter = summary.tick_jitter_ns;
        let shown = format!("{:.2} / {:.2} / {:.2} ms", ms(jitter.p50), ms(jitter.p99), ms(jitter.max));
        let bar = format!("p99 <= {MOST_JITTER_MS} ms");
        line("tick jitter p50 / p99 / max", shown, &bar, ms(jitter.p99) <= MOST_JITTER_MS);
        let repeated: u64 = summary.cameras.values().map(|camera| camera.counters.repeated).sum();
        let dropped: u64 = summary.cameras.values().flat_map(|camera| camera.counters.dropped.values()).sum();
        println!("  {:<34} {repeated} repeated, {dropped} dropped", "pictures");
    }
    Ok(())
}

fn configuration(dir: &Path, fps: u32, follower: &str, leader: &str) -> Result<config::Config> {
    let root = dir.join("set");
    let mut text = format!(
        "[robot]\ntype = \"so101_follower\"\nport = {follower:?}\nid = \"follower\"\ncalibration_dir = {dir:?}\n\
         [teleop]\ntype = \"so101_leader\"\nport = {leader:?}\nid = \"leader\"\ncalibration_dir = {dir:?}\n\
         [limits]\nmin_free_gib = 0\n[metrics]\nlisten = \"\"\n\
         [dataset]\nrepo_id = \"bench/arm\"\nroot = {root:?}\nsingle_task = \"bench\"\nfps = {fps}\n\
         episode_time_s = {SECONDS}\nreset_time_s = 0\nnum_episodes = 1\n"
    );
    for camera in ["front", "wrist"] {
        text += &format!(
            "[robot.cameras.{camera}]\ntype = \"synthetic\"\nwidth = 640\nheight = 480\nfps = {fps}\nrealtime = true\n"
        );
    }
    Ok(config::parse("bench", &text, &[])?)
}

/// Records one episode.
fn record(config: config::Config, status: status::SharedStatus) -> Result<EpisodeSummary> {
    let (config, saved) = (Arc::new(config), Arc::new(Mutex::new(None)));
    let parts = Parts {
        clock: run::clock(&config),
        open_encoder: backend::standard(),
        gpu: None,
        status,
        on_saved: Box::new({
            let saved = saved.clone();
            move |summary, _| *saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(summary.clone())
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        run::start(&config, run::open_dataset(&config)?, parts).await?.wait().await?;
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let summary = saved.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    Ok(summary.ok_or("no episode was saved")?)
}

/// Rows so far in which an arm did not answer in time.
fn misses(handle: &PrometheusHandle) -> Result<f64> {
    let page = metrics::render(handle, SystemClock::default().now());
    let value = page.lines().find_map(|line| line.strip_prefix(metrics::ARM_MISSES)?.trim().parse().ok());
    Ok(value.ok_or("the page has no number of rows that an arm missed")?)
}

/// Prints times, and gives the 99th percentile in milliseconds.
fn report(what: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let ms = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("  {what:<34} min {:.2}, median {:.2}, p99 {:.2}, max {:.2} ms", ms(0.0), ms(0.5), ms(0.99), ms(1.0));
    ms(0.99)
}

/// A figure beside its bar.
fn line(what: &str, value: String, bar: &str, met: bool) {
    let verdict = if met { "met" } else { "MISSED" };
    println!("  {what:<34} {value:<28} bar {bar}: {verdict}");
}
