//! `recorder`: cameras and a robot arm into LeRobot data sets, encoded while they are recorded. The map is `actors.md`.

#[cfg(panic = "abort")]
compile_error!("supervision needs unwinding: build without panic = \"abort\"");

pub mod align;
pub mod arm;
pub mod budget;
pub mod camera;
pub mod clock;
pub mod codec;
pub mod config;
pub mod dataset;
pub mod episode;
pub mod frame;
pub mod restart;
