//! The command line.

use crate::config::Override;
use crate::config::schema::OnCrash;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::PathBuf;

/// Records cameras and a robot arm into a LeRobot data set, encoding while it records.
#[derive(Debug, Parser)]
#[command(
    name = "recorder",
    version = env!("RECORDER_VERSION"),
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = false,
    override_usage = USAGE,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// The configuration; see docs/config.md, and examples/lab.toml for one to start from
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of recording.
#[derive(Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Check everything that can be known without recording: configuration, data set, disk, cameras, arm
    Check {
        /// Also run notify.command once, with a test
        #[arg(long)]
        notify: bool,
    },
    /// Let the follower follow its leader without recording, with a live table of positions, latencies, errors and motors
    ///
    /// Opens no camera. Ends by Ctrl-C, Esc or q, with torque off on every motor. Exit code 0 at its end, 130 by Ctrl-C, 143 by
    /// SIGTERM, 129 by SIGHUP; 2 if the configuration is wrong; 3 if an arm cannot be used or is lost: it is not opened again
    /// by itself, since an arm that nobody expects to move must not.
    Teleoperate,
    Replay(Replay),
    Devices(crate::discover::Arguments),
    Init(crate::init::Arguments),
    Calibrate(crate::calibrate::Arguments),
    SetupMotors(crate::calibrate::SetupArguments),
    Regenerate(crate::regenerate::Arguments),
    /// Make episodes of what a crash or a power failure left in a data set; every start of a recording does the same
    ///
    /// Exit code 0: nothing was lost; 3: something was, which is said exactly; 1: failed, the data set is as it was
    Recover(Recover),
    Episodes(crate::episodes::Arguments),
    /// Hold a LeRobot v3.0 data set to every rule of the format, and look at its quality
    ///
    /// Whoever recorded it: what to run before publishing. Changes nothing, and works while the recorder runs. Exit code 0
    /// without faults (there may be warnings), 1 with faults, 4 if there is no data set.
    Verify(crate::verify::Arguments),
    /// List the encoders that this machine has, and try each
    Encoders(Encoders),
    Bench(crate::bench::job::Arguments),
    SimArm(crate::sim_arm::Arguments),
    /// Print the JSON schema of lab.toml, or its keys as a table
    Schema {
        /// A table in Markdown: docs/config.md
        #[arg(long)]
        markdown: bool,
    },
    /// Print all metrics that a run serves, with what they mean
    Metrics {
        /// A table in Markdown, with labels, units and how to read them: docs/metrics.md
        #[arg(long)]
        markdown: bool,
    },
    /// Print completions for a shell
    Completions {
        shell: Shell,
    },
}

/// Options of `recorder recover`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Recover {
    /// The data set's folder
    pub root: PathBuf,
    /// What becomes of an episode that was being recorded
    #[arg(long, value_enum, default_value_t = OnCrash::Keep)]
    pub on_crash: OnCrash,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Play an episode's actions on the robot without recording: to its first pose, through the episode, and a rest at the end
///
/// Any LeRobot v3.0 data set of such a robot. teleop.ramp_s is the least time to the first pose, teleop.max_speed the fastest
/// motion of a joint; keep clear of the arm. Exit codes as of `recorder teleoperate`; 4 if the episode cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Replay {
    /// The data set's folder
    pub root: PathBuf,
    /// The episode's number, from 0
    #[arg(long, value_name = "N")]
    pub episode: u64,
}

/// Options of `recorder encoders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Encoders {
    /// As JSON
    #[arg(long)]
    pub json: bool,
    /// Measure everything, for half an hour: every codec and preset, sessions at once, sessions that die, long recordings;
    /// exit code 1 if anything failed
    #[arg(long)]
    pub self_test: bool,
    /// Where the self-test writes all its figures, as JSON
    #[arg(long, value_name = "FILE", requires = "self_test")]
    pub report: Option<PathBuf>,
    /// Length of the self-test's recordings
    #[arg(long, value_name = "N", requires = "self_test", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// Ask the NVIDIA driver in this very process and print what it says: what the recorder has a child process do
    #[arg(long, hide = true, exclusive = true)]
    pub probe_in_process: bool,
    /// Say what NVIDIA's management library says of the GPUs, every two seconds, in this very process: what the recorder has
    /// a child process do
    #[arg(long, hide = true, exclusive = true)]
    pub watch_in_process: bool,
    /// Measure one thing in this very process and print its figures: what the recorder has a child process do
    #[arg(long, hide = true, exclusive = true, value_name = "JSON")]
    pub part_in_process: Option<String>,
}

const USAGE: &str = "\
recorder --config lab.toml [--KEY=VALUE ...]
       recorder devices [--json] [--snapshot DIR] [--ask known|all|none]
       recorder init [--output FILE] [--yes]
       recorder check --config lab.toml [--notify] [--KEY=VALUE ...]
       recorder teleoperate --config lab.toml [--KEY=VALUE ...]
       recorder replay ROOT --episode N --config lab.toml [--KEY=VALUE ...]
       recorder calibrate --config lab.toml [--arm ARM] [--from FILE] [--KEY=VALUE ...]
       recorder setup-motors --config lab.toml [--arm ARM] [--KEY=VALUE ...]
       recorder encoders [--json] [--self-test]
       recorder recover ROOT [--on-crash keep|discard] [--json]
       recorder regenerate ROOT [OPTIONS]
       recorder episodes ROOT list|show|delete|label|export-labels
       recorder verify ROOT [--deep] [--json]
       recorder bench [--mode MODE | --config lab.toml]
       recorder sim-arm [--link PATH] [--kind follower|leader]
       recorder schema [--markdown]
       recorder metrics [--markdown]
       recorder completions <SHELL>";

const AFTER_HELP: &str = "\
Any key of the configuration can be given on the command line by its dotted name:
  recorder --config lab.toml --dataset.num_episodes=3 --robot.cameras.front.fps=15

Keys while recording, as in LeRobot:
  → or n      end the episode, or the reset, now
  ← or r      throw the take away and record it again; in the reset: the one that just ended
  Esc or q    end and save the episode, then stop; so does Ctrl-C

After a crash or a power failure the next start saves what was being recorded, as `recorder recover ROOT` does.

Exit codes of a run (other commands tell theirs in their `--help`):
  0    everything was recorded and saved, or the run's time was up
  1    the run ended early; what was saved before is complete
  2    the command line or the configuration is wrong, or metrics.listen is taken; nothing was touched
  3    a camera or an arm cannot be used, and nothing was recorded; or one was lost that the run stops for (on_loss), and all is saved
  4    the data set cannot be created or continued; nothing was changed
  130  stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP; every finished take is saved
       (started again, the same command goes on with a run that was killed, or ended by SIGTERM or SIGHUP)

RUST_LOG sets what is logged (recorder=debug shows more).";

/// Takes `--a.b=value` and `--a.b value` out of the arguments: keys of the configuration, as LeRobot users write them.
pub fn split_overrides(arguments: impl IntoIterator<Item = OsString>) -> (Vec<OsString>, Vec<Override>) {
    let (mut rest, mut overrides) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let dotted = argument.to_str().and_then(|text| text.strip_prefix("--")).filter(|text| {
            let name = text.split('=').next().unwrap_or_default();
            name.contains('.') && !name.starts_with('.')
        });
        match dotted.map(|text| (text.split_once('='), text)) {
            Some((Some((key, value)), _)) => overrides.push(Override { key: key.into(), value: value.into() }),
            Some((None, key)) => {
                let value = arguments.next().unwrap_or_default().to_string_lossy().into_owned();
                overrides.push(Override { key: key.into(), value });
            }
            None => rest.push(argument),
        }
    }
    (rest, overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn dotted_names_are_overrides() {
        let arguments = [
            "recorder",
            "--config",
            "a.toml",
            "--dataset.fps=15",
            "check",
            "--dataset.single_task",
            "Pick = it",
            "--x=1",
        ];
        let (rest, overrides) = split_overrides(arguments.map(OsString::from));
        assert_eq!(rest, ["recorder", "--config", "a.toml", "check", "--x=1"].map(OsString::from));
        let pairs: Vec<_> = overrides.iter().map(|o| (o.key.as_str(), o.value.as_str())).collect();
        assert_eq!(pairs, [("dataset.fps", "15"), ("dataset.single_task", "Pick = it")]);
    }
}
