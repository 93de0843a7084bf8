//! Where devices come from: the real ones of the configuration, or what a test puts in their place.

use crate::arm::{self, ArmError, Robot, Teleop};
use crate::camera::{self, Camera, CameraError};
use crate::clock::{Clock, Rank};
use crate::config::schema::{self, CameraKind};
use std::sync::Arc;

/// Opens a camera by its name, at the start and whenever it was lost.
pub type OpenCamera =
    Arc<dyn Fn(&str, &schema::Camera, &Arc<dyn Clock>, Rank) -> Result<Box<dyn Camera>, CameraError> + Send + Sync>;
/// Opens the robot, likewise.
pub type OpenRobot =
    Arc<dyn Fn(&schema::Robot, &Arc<dyn Clock>) -> Result<Option<Box<dyn Robot>>, ArmError> + Send + Sync>;
/// Opens the leader, likewise.
pub type OpenTeleop =
    Arc<dyn Fn(&schema::Teleop, &Arc<dyn Clock>) -> Result<Option<Box<dyn Teleop>>, ArmError> + Send + Sync>;

/// How the devices of a run are opened.
#[derive(Clone)]
pub struct Devices {
    pub camera: OpenCamera,
    pub robot: OpenRobot,
    pub teleop: OpenTeleop,
}

impl Default for Devices {
    /// Those of the configuration. Cameras that were open once are found again wherever they are plugged in.
    fn default() -> Devices {
        let known = camera::v4l::Known::default();
        let camera: OpenCamera = Arc::new(move |name, config, clock, rank| match config.kind {
            CameraKind::V4l => known.open(name, config, |config| camera::open(name, config, clock, rank)),
            CameraKind::File | CameraKind::Synthetic => camera::open(name, config, clock, rank),
        });
        Devices { camera, robot: Arc::new(arm::open_robot), teleop: Arc::new(arm::open_teleop) }
    }
}
