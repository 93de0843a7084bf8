//! `recorder check`: everything that can be known without recording. Touches no data set and moves no arm.

use crate::actors::encoder_pool::is_made_on_cpu;
use crate::arm;
use crate::arm::replay::Replay;
use crate::camera::{self, CameraError, FIRST_PICTURE};
use crate::clock::{Clock, Rank, SystemClock};
use crate::codec::backend::{self, Device};
use crate::codec::choice;
use crate::codec::gpu::{self, GpuReport};
use crate::config::Config;
use crate::config::schema::TeleopKind;
use crate::console::access::{self, Access};
use crate::console::http;
use crate::dataset::Dataset;
use crate::notify::Messenger;
use crate::{disk_space, run, run_state};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Exit codes of what can be wrong, worst first; see `cli`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Configuration = 2,
    Device = 3,
    Dataset = 4,
}

/// The findings: a line each, and what is wrong.
#[derive(Debug, Default)]
pub struct Findings {
    pub text: String,
    pub faults: Vec<Fault>,
}

impl Findings {
    fn good(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.text, "ok     {line}");
    }

    fn bad(&mut self, fault: Fault, line: impl std::fmt::Display) {
        let _ = writeln!(self.text, "ERROR  {line}");
        self.faults.push(fault);
    }
}

/// Looks at disk, data set, encoder, cameras and arms of a valid configuration; runs `notify.command` as a test where
/// `notify` says so.
pub fn check(config: &Config, notify: bool) -> Findings {
    let mut findings = Findings::default();
    findings.good("configuration");
    program(config, &mut findings);
    pages(config, &mut findings);
    notification(config, notify, &mut findings);
    dataset(config, &mut findings);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    for (name, camera) in &config.robot.cameras {
        match first_picture(name, camera, &clock) {
            Ok(line) => findings.good(line),
            Err(error) => findings.bad(Fault::Device, error),
        }
    }
    let arms = [arm::probe_robot(&config.robot, &clock), arm::probe_teleop(&config.teleop, &clock)];
    for arm::Probed { arm: what, calibrated } in arms.into_iter().flatten() {
        match calibrated {
            Ok(true) => findings.good(format!("{what}: all motors answer and are calibrated")),
            Ok(false) => findings.good(format!(
                "{what}: all motors answer; their calibration differs from the file's, which is written to them at the start"
            )),
            Err(error) => findings.bad(Fault::Device, error),
        }
    }
    if config.teleop.kind == TeleopKind::Replay {
        match Replay::load(config) {
            Ok(replay) => {
                findings.good(replay.describe());
                replay.warnings(config).iter().for_each(|warning| findings.good(format!("replay: {warning}")));
            }
            Err(error) => findings.bad(Fault::Device, error),
        }
    }
    findings
}

/// What needs neither data set nor device.
fn program(config: &Config, findings: &mut Findings) {
    let found = if choice::wants_gpu(config) { gpu::prober()() } else { GpuReport::default() };
    match choice::choose(config, &found) {
        Ok(choice) => {
            let mut config = config.clone();
            choice.apply(&mut config);
            match encoder(&config, choice.device) {
                Ok(()) => findings.good(format!("encoder: {}", choice.describe())),
                Err(error) => findings.bad(Fault::Configuration, error),
            }
            choice.warnings.iter().for_each(|warning| findings.good(format!("encoder: {warning}")));
        }
        Err(problem) => findings.bad(Fault::Configuration, problem),
    }
}

/// Where the pages would be, and who could read them.
fn pages(config: &Config, findings: &mut Findings) {
    let metrics = &config.metrics;
    if metrics.listen.is_empty() {
        return;
    }
    if let Err(error) = Access::new(metrics) {
        findings.bad(Fault::Configuration, error);
    }
    match http::bind(&metrics.listen) {
        Ok(_) => {
            let guarded = metrics.listen.parse().map(|address| access::describe(metrics, address)).unwrap_or_default();
            findings.good(format!("metrics.listen: {} is free; {guarded}", metrics.listen));
        }
        Err(error) => findings.bad(Fault::Configuration, error),
    }
}

/// Whether the command that tells people can run; where `test` says so, whether it does.
fn notification(config: &Config, test: bool, findings: &mut Findings) {
    let root = run::root(config).display().to_string();
    let Some(messenger) = Messenger::new(&config.notify, &root) else {
        if test {
            let problem = "notify.command: expected a command to test, found none; docs/notify.md has examples";
            findings.bad(Fault::Configuration, problem);
        }
        return;
    };
    if let Err(problem) = messenger.look() {
        return findings.bad(Fault::Configuration, problem);
    }
    if !test {
        return findings.good("notify.command: can be run; `recorder check --notify` tries it");
    }
    match messenger.test(SystemClock::default().now().utc_ns) {
        Ok(()) => findings.good("notify.command: ran as a test; see whether it has reached you"),
        Err(failure) => findings.bad(Fault::Configuration, format!("notify.command: {failure}")),
    }
}

fn dataset(config: &Config, findings: &mut Findings) {
    let root = run::root(config);
    let spec = run::dataset_spec(config);
    let look = |resume| Dataset::check_after(&root, &spec, resume, config.run.on_crash);
    let looked = match run_state::find(config) {
        // As a start would: see `run_state::open`.
        Ok((Some(state), _)) => {
            findings.good(format!("goes on with the run of {} that was interrupted", state.began()));
            look(true).or_else(|_| look(false))
        }
        _ => look(config.dataset.resume),
    };
    match looked {
        Ok(outlook) => {
            let waiting = match outlook.recovery.waiting.len() {
                0 => String::new(),
                n => format!(", {n} more recorded and waiting to be encoded"),
            };
            findings.good(format!("data set {}: {} episodes so far{waiting}", root.display(), outlook.episodes));
            outlook.recovery.describe().iter().for_each(|line| findings.good(format!("at the next start {line}")));
        }
        Err(error) => findings.bad(Fault::Dataset, error),
    }
    match run::require_disk(config) {
        Ok(()) => {
            let free = disk_space::free(&root).unwrap_or_default();
            findings.good(format!("disk: {:.1} GiB free", free as f64 / (1u64 << 30) as f64));
        }
        Err(error) => findings.bad(Fault::Dataset, error),
    }
}

fn first_picture(
    name: &str,
    config: &crate::config::schema::Camera,
    clock: &Arc<dyn Clock>,
) -> Result<String, CameraError> {
    let mut camera = camera::open(name, config, clock, Rank(0))?;
    let start = Instant::now();
    let bytes = loop {
        match camera.next(Duration::from_millis(200)) {
            Ok(picture) => break picture.data.len(),
            Err(CameraError::Timeout) if start.elapsed() < FIRST_PICTURE => {}
            Err(CameraError::Timeout) => {
                return Err(CameraError::Silent { camera: name.into(), seconds: start.elapsed().as_secs_f64() });
            }
            Err(error) => return Err(error),
        }
    };
    let mode = camera.mode();
    let (n, d) = mode.fps;
    let fourcc = String::from_utf8_lossy(&mode.format.fourcc()).into_owned();
    Ok(format!(
        "camera {name}: {}x{} {fourcc} at {n}/{d} frames a second, first picture {bytes} bytes",
        mode.width, mode.height
    ))
}

/// Tries the CPU encoder, where it is the one that encodes or stands in.
pub fn encoder(config: &Config, device: Device) -> Result<(), crate::codec::CodecError> {
    let first = config.robot.cameras.values().next();
    let params = first.map_or_else(|| run::stream_params(config, 320, 240), |first| run::camera_params(config, first));
    if device == Device::Cpu || is_made_on_cpu(params.codec) {
        (backend::standard())(&params, Device::Cpu)?;
    }
    Ok(())
}
