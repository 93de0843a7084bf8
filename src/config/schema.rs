//! `lab.toml`: every key with its doc and its default. Keys carry LeRobot's names.
//!
//! The doc comments here are the one source of `docs/config.md`, of the JSON schema (`recorder schema`) and of the
//! names that error messages suggest.

mod camera;
mod dataset;
mod robot;
mod service;

pub use camera::*;
pub use dataset::*;
pub use robot::*;
pub use service::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A recording set-up: robot, cameras, data set.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The arm that is recorded, and the cameras around it.
    #[serde(default)]
    pub robot: Robot,
    /// What the robot follows.
    #[serde(default)]
    pub teleop: Teleop,
    /// What is recorded, where to, and how.
    pub dataset: Dataset,
    /// The metrics and status page.
    #[serde(default)]
    pub metrics: Metrics,
    /// Who is told when something happens that matters.
    #[serde(default)]
    pub notify: Notify,
    /// Bounds of the recorder itself.
    #[serde(default)]
    pub limits: Limits,
    /// How a run goes on and ends when nobody watches.
    #[serde(default)]
    pub run: Run,
    /// The log as a file, beside the terminal's.
    #[serde(default)]
    pub log: Log,
}

fn yes() -> bool {
    true
}

fn default_fps() -> u32 {
    30
}
