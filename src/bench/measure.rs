//! One run of the recorder, measured from inside: encoders that time every frame, and what the recorder counts itself.

use super::machine;
use super::plan::Encoding;
use crate::actors::recorder::RunError;
use crate::check;
use crate::clock::{Clock, Stamp, SystemClock};
use crate::codec::backend::{self, Device, OpenEncoder, StreamEncoder};
use crate::codec::stream::Encoded;
use crate::codec::{CodecError, SampleFormat};
use crate::config::Config;
use crate::dataset::{DatasetError, EpisodeSummary};
use crate::disk_space::NoSpace;
use crate::episode::Key;
use crate::frame::Frame;
use crate::metrics;
use crate::run::{self, Gpu, Parts};
use crate::status::{self, Phase};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A saturated encoder is given this much more work than there is time for.
const OVERLOAD: f64 = 1.1;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Whether the operator wants no more figures.
#[derive(Clone, Debug)]
pub struct Stop(pub watch::Receiver<bool>);

impl Stop {
    /// Waits until that is so; for ever where nobody can want it.
    async fn wanted(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            std::future::pending().await
        }
    }
}

/// One frame on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// From the picture's capture until the recorder had it.
    pub capture: Duration,
    pub decode: Duration,
    pub encode: Duration,
    /// From the picture's capture until it was encoded.
    pub total: Duration,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Outcome {
    pub steps: Vec<Step>,
    /// With the time from their last tick until they were saved.
    pub episodes: Vec<(EpisodeSummary, Duration)>,
    /// Work of the writer for all fragments; nothing where another program of this process took the metrics.
    pub write: Option<Duration>,
    /// Of the whole process, from the first recorded frame until all was saved.
    pub cpu: Duration,
    pub wall: Duration,
    /// CPU time of other programs meanwhile.
    pub others: Option<Duration>,
    pub peak_kib: Option<u64>,
    /// Why the run ended early.
    pub failure: Option<String>,
}

/// CPU and wall time so far.
struct Start {
    at: Instant,
    cpu: Duration,
    others: Option<Duration>,
    write: Option<Duration>,
}

impl Start {
    fn now() -> Start {
        Start {
            at: Instant::now(),
            cpu: machine::process_time(),
            others: machine::others_time().ok(),
            write: write_time(),
        }
    }
}

/// Records what `config` says, into its own new data set; nothing if it is stopped, and then nobody writes there any more.
/// A device that cannot be used is an error; what goes wrong later is told in the outcome.
pub async fn measure(
    config: &Arc<Config>,
    gpu: Option<Gpu>,
    encoding: Encoding,
    stop: &mut Stop,
) -> Result<Option<Outcome>, BenchError> {
    let device = if gpu.is_some() { Device::Gpu } else { Device::Cpu };
    run::require_disk(config)?;
    check::encoder(config, device)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (steps, timed) = channel();
    let (saved, episodes) = channel();
    let status = status::shared();
    let dataset = run::open_dataset(config)?;
    machine::forget_peak();
    let ballast = (encoding == Encoding::Saturated).then(|| time_for_a_frame(config, device));
    let parts = Parts {
        open_encoder: timing(backend::standard(), clock.clone(), steps, ballast),
        clock,
        gpu,
        status: status.clone(),
        on_saved: Box::new(move |summary, took| {
            let _ = saved.send((summary.clone(), took));
        }),
    };
    let running = run::start(config, dataset, parts).await?;
    let controls = running.controls();
    let mut ended = pin!(running.wait());
    let mut changes = status.subscribe();
    let mut start = Start::now();
    let (mut starting, mut stopped) = (true, false);
    let outcome = loop {
        tokio::select! {
            outcome = &mut ended => break outcome,
            // What it takes to open the devices is not measured.
            _ = async { changes.wait_for(|s| s.phase != Phase::Starting).await.is_ok() }, if starting => {
                start = Start::now();
                starting = false;
            }
            () = stop.wanted(), if !stopped => {
                stopped = true;
                controls.key(Key::StopDiscarding);
            }
        }
    };
    if stopped {
        return Ok(None);
    }
    let end = Start::now();
    let failure = match outcome {
        Ok(()) => None,
        Err(RunError::Device(error)) => return Err(RunError::Device(error).into()),
        Err(error) => Some(error.to_string()),
    };
    let since = |end: Option<Duration>, start: Option<Duration>| Some(end?.saturating_sub(start?));
    Ok(Some(Outcome {
        steps: timed.try_iter().collect(),
        episodes: episodes.try_iter().collect(),
        write: since(end.write, start.write),
        cpu: end.cpu - start.cpu,
        wall: end.at - start.at,
        others: since(end.others, start.others),
        peak_kib: machine::peak_kib(),
        failure,
    }))
}

/// Encoding threads of a run: on the CPU the streams of several cameras share one, on the GPU each has its own.
pub fn threads(config: &Config, device: Device) -> usize {
    let (cameras, workers) = (config.robot.cameras.len(), run::workers(config));
    match device {
        Device::Gpu => cameras,
        // A stream is on one thread; of several takes there are more streams.
        Device::Cpu if config.dataset.streaming_encoding => workers.min(cameras),
        Device::Cpu => workers,
    }
}

/// What a saturated thread spends on each frame.
fn time_for_a_frame(config: &Config, device: Device) -> Duration {
    let frames_a_second = f64::from(config.dataset.fps) * config.robot.cameras.len() as f64;
    Duration::from_secs_f64(OVERLOAD * threads(config, device) as f64 / frames_a_second)
}

/// Encoders that say how long each frame took. With `ballast` each frame takes at least that long: it is encoded
/// again and again, into a session whose samples nobody wants.
fn timing(inner: OpenEncoder, clock: Arc<dyn Clock>, steps: Sender<Step>, ballast: Option<Duration>) -> OpenEncoder {
    Arc::new(move |params, device| {
        let ballast = match ballast {
            Some(least) => Some((inner(params, device)?, least)),
            None => None,
        };
        Ok(Box::new(Timed { inner: inner(params, device)?, clock: clock.clone(), steps: steps.clone(), ballast }))
    })
}

struct Timed {
    inner: Box<dyn StreamEncoder>,
    clock: Arc<dyn Clock>,
    steps: Sender<Step>,
    ballast: Option<(Box<dyn StreamEncoder>, Duration)>,
}

impl StreamEncoder for Timed {
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        let start = Instant::now();
        let encoded = self.inner.encode(frame, index)?;
        let since_capture = |mono_ns: u64| Duration::from_nanos(mono_ns.saturating_sub(frame.captured.mono_ns));
        let _ = self.steps.send(Step {
            capture: since_capture(frame.arrived.mono_ns),
            decode: encoded.decode,
            encode: encoded.encode,
            total: since_capture(self.clock.now().mono_ns),
        });
        if let Some((idle, least)) = &mut self.ballast {
            while start.elapsed() < *least {
                idle.encode(frame, index)?;
            }
        }
        Ok(encoded)
    }

    fn format(&self) -> &Arc<SampleFormat> {
        self.inner.format()
    }
}

/// The writer's work so far in this process.
fn write_time() -> Option<Duration> {
    let page = metrics::render(metrics::install()?, Stamp::default());
    Some(Duration::from_secs_f64(sum(&page, metrics::WRITE_DURATION)))
}

/// The sum of a histogram over all its labels, on a page for Prometheus.
fn sum(page: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with("_sum"));
    page.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::plan::{CONSERVATIVE, prepare};
    use crate::config;

    #[test]
    fn a_histogram_s_sum_is_read_over_all_labels() {
        let page = "# TYPE a_seconds histogram\na_seconds_bucket{camera=\"x\",le=\"1\"} 3\na_seconds_sum{camera=\"x\"} 1.5\n\
                    a_seconds_count{camera=\"x\"} 3\na_seconds_sum{camera=\"y\"} 0.25\nba_seconds_sum 9\n";
        assert_eq!((sum(page, "a_seconds"), sum(page, "absent")), (1.75, 0.0));
    }

    #[test]
    fn saturated_threads_have_more_to_do_than_there_is_time() {
        for (workers, device, threads_expected) in
            [(1, Device::Cpu, 1), (2, Device::Cpu, 2), (5, Device::Cpu, 2), (1, Device::Gpu, 2)]
        {
            let mut config = config::parse("bench", &CONSERVATIVE.toml(), &[]).unwrap();
            prepare(&mut config).unwrap();
            config.dataset.video_encoding_workers = Some(workers);
            assert_eq!(threads(&config, device), threads_expected);
            // 2 cameras of 30 frames a second.
            let work_in_a_second = 60.0 * time_for_a_frame(&config, device).as_secs_f64();
            assert!((work_in_a_second - 1.1 * threads_expected as f64).abs() < 1e-6, "{work_in_a_second}");
        }
    }
}
