//! `recorder`: cameras and a robot arm into LeRobot data sets, encoded while they are recorded. The map is `actors.md`.
#![deny(unsafe_code)]

#[cfg(panic = "abort")]
compile_error!("supervision needs unwinding: build without panic = \"abort\"");

pub mod account;
pub mod actors;
pub mod align;
pub mod arm;
pub mod bench;
pub mod beside;
pub mod budget;
pub mod calibrate;
pub mod camera;
pub mod check;
pub mod child;
pub mod cli;
pub mod clock;
pub mod codec;
pub mod config;
pub mod console;
pub mod dataset;
pub mod devices;
pub mod discover;
pub mod disk_space;
pub mod encoders;
pub mod episode;
pub mod episodes;
pub mod events;
pub mod frame;
pub mod gpu_health;
pub mod gpu_metrics;
pub mod in_use;
pub mod init;
pub mod lerobot_home;
pub mod log_file;
pub mod log_format;
pub mod losses;
pub mod metrics;
pub mod notify;
pub mod nvml;
pub mod regenerate;
pub mod restart;
pub mod run;
pub mod run_state;
pub mod schedule;
pub mod scheduling;
pub mod sim_arm;
pub mod spill;
pub mod status;
pub mod supervision;
pub mod teleoperate;
pub mod verify;
pub mod watchdog;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The git revision of this build; `unknown` outside of a checkout.
pub const REVISION: &str = env!("RECORDER_REVISION");
