//! Where devices come from: the real ones of the configuration, or what a test puts in their place.

use crate::arm::{self, ArmError, Robot, Teleop};
use crate::camera::{self, Camera, CameraError};
use crate::clock::{Clock, Rank};
use crate::config::schema;
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
    /// Those of the configuration.
    fn default() -> Devices {
        Devices { camera: Arc::new(camera::open), robot: Arc::new(arm::open_robot), teleop: Arc::new(arm::open_teleop) }
    }
}
