//! What `recorder bench` is asked for, as what is to be done.

use super::plan::{self, AGGRESSIVE, CONSERVATIVE, Devices, Mode, SetUp};
use crate::codec::gpu::{self, GpuReport, Prober};
use crate::config::{self, Config, ConfigError, Override, Problem};
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

/// Record from synthetic cameras, or from those of --config, and say how long each stage takes
///
/// Where a GPU encodes, it is compared with the CPU. An arm is simulated: none is moved. The exit code is 1 when frames
/// were lost or an episode was not saved.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct Arguments {
    /// The set-up; left out: conservative, or that of --config
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Length of an episode [default: 20]
    #[arg(long, value_name = "N")]
    pub seconds: Option<f64>,
    /// Number of episodes [default: 3]
    #[arg(long, value_name = "N")]
    pub episodes: Option<u32>,
    /// Compare the ways to encode: while recording, after an episode, in the background
    #[arg(long)]
    pub modes: bool,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Keep the data sets, in this new folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Why nothing is measured; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("expected --mode or --config, found both; --seconds and --episodes go with either")]
    ModeAndConfig,
    #[error(
        "--mode interactive: expected a terminal to ask on, found none; use --mode conservative or aggressive, or --config"
    )]
    NoTerminal,
    #[error("--mode interactive: {0}")]
    Interview(io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{name}: {problem}")]
    Problem { name: String, problem: Problem },
    #[error(
        "{name}: expected an encoder, found none: the CPU: {cpu}; the GPU: {gpu}; `recorder encoders` shows what is here"
    )]
    NoEncoder { name: String, cpu: String, gpu: String },
}

/// What is to be done.
pub struct Job {
    /// What the figures are told under.
    pub name: String,
    /// Made by [`plan::prepare`]; the runs' data sets are elsewhere.
    pub config: Config,
    /// Every way to encode, not only that of the configuration.
    pub every_encoding: bool,
    pub devices: Devices,
    /// What the GPU was found to be.
    pub found: GpuReport,
    pub prober: Prober,
}

impl Job {
    /// Reads or asks what is to be measured, and looks for a GPU.
    pub fn new(arguments: &Arguments, config: Option<&Path>, overrides: &[Override]) -> Result<Job, JobError> {
        let Arguments { mode, seconds, episodes, modes, .. } = arguments;
        let (name, text, default_seconds) = match (mode, config) {
            (Some(_), Some(_)) => return Err(JobError::ModeAndConfig),
            (None, Some(path)) => {
                let name = path.display().to_string();
                let text =
                    fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: name.clone(), error })?;
                (name, text, plan::SECONDS)
            }
            (mode, None) => {
                let (name, set_up) = match mode.unwrap_or(Mode::Conservative) {
                    Mode::Conservative => ("conservative", CONSERVATIVE),
                    Mode::Aggressive => ("aggressive", AGGRESSIVE),
                    Mode::Interactive => ("interactive", interview()?),
                };
                (name.into(), set_up.toml(), set_up.seconds)
            }
        };
        let overrides = [&plan::overrides(*seconds, *episodes, default_seconds)[..], overrides].concat();
        let mut config = config::parse(&name, &text, &overrides)?;
        plan::prepare(&mut config).map_err(|problem| JobError::Problem { name: name.clone(), problem })?;
        let prober = gpu::prober();
        let found = if plan::wants_gpu(&config) { prober() } else { GpuReport::default() };
        let devices = plan::devices(&config, &found);
        if devices.devices.is_empty() {
            let Devices { no_cpu, no_gpu, .. } = devices;
            return Err(JobError::NoEncoder { name, cpu: no_cpu.unwrap_or_default(), gpu: no_gpu.unwrap_or_default() });
        }
        Ok(Job { name, config, every_encoding: *modes, devices, found, prober })
    }
}

fn interview() -> Result<SetUp, JobError> {
    let (input, mut output) = (io::stdin(), io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(JobError::NoTerminal);
    }
    plan::ask(&mut input.lock(), &mut output).map_err(JobError::Interview)
}
