//! Robot arms behind two traits: what is recorded ([`Robot`]) and what it follows ([`Teleop`]).
//!
//! An arm of another make is a module beside [`so101`] that implements these traits over a bus of its own; an arm
//! composed of others puts their features one after the other. Nothing outside knows of motors or registers.

pub mod calibration;
pub mod cues;
mod error;
pub mod feetech;
pub mod let_go;
pub mod motors;
pub mod normalise;
pub mod ramp;
pub mod replay;
pub mod sim;
pub mod so101;
pub mod trajectory;

pub use error::{ArmError, Motor};
pub use motors::Health;

use crate::clock::Clock;
use crate::config::schema;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An arm, or one of its motors, that has not answered for so long is taken for lost, and the arm is connected anew.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(1);

/// One reading of an arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// A value for each feature, normalised.
    pub values: Vec<f32>,
    /// Features whose motor did not answer in time, by index: their value is the last one there was.
    pub reused: Vec<usize>,
}

impl Reading {
    /// Every motor has answered.
    pub fn fresh(values: Vec<f32>) -> Reading {
        Reading { values, reused: Vec::new() }
    }
}

/// An arm that is observed and moved. Values are normalised (degrees, or −100…100; gripper 0…100), one for each feature.
pub trait Robot: Send {
    /// Ordered feature names, such as `shoulder_pan.pos`.
    fn features(&self) -> Vec<String>;
    /// Present values, before `deadline`. An error when no motor has answered, or not every motor ever has.
    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError>;
    /// The next goals are approached: the way takes at least `seconds`, and no joint is faster than a ramp allows. Called
    /// before the first goals, and when the leader was away.
    fn approach(&mut self, seconds: f64) {
        let _ = seconds;
    }
    /// Sends goals; answers with the goals really sent, after limits.
    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError>;
    /// Once a tick, after the goals were sent: does what [`schema::Robot::on_motor_fault`] says to motors with a fault,
    /// and asks one motor how it is, the next at each call; not when `deadline` leaves no time for that.
    fn look_after(&mut self, deadline: Instant) {
        let _ = deadline;
    }
    /// What is known of the motors, in the order of the features; empty before they were asked.
    fn health(&self) -> Vec<Health> {
        Vec::new()
    }
    /// What went wrong since the last call without failing one: replies that came at a further try, error bits of a
    /// motor that still answers, a goal that one motor could not be given. For metrics and alerts; at most
    /// [`feetech::bus::MOST_FAULTS`], more are not kept.
    fn take_faults(&mut self) -> Vec<ArmError> {
        Vec::new()
    }
    /// Leaves the arm safe: torque off on every motor where the configuration says so. Each motor that could not be
    /// reached is an error; the others are switched off all the same. Called once, and on drop if it was not.
    fn shutdown(&mut self) -> Vec<ArmError>;
}

/// A source of actions for a robot.
pub trait Teleop: Send {
    /// Ordered feature names; equal to the robot's.
    fn features(&self) -> Vec<String>;
    /// The action now, before `deadline`.
    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError>;
    /// The action for a tick, before `deadline`. Only a source that depends on the grid has more to say than
    /// [`Teleop::action`].
    fn action_at(&mut self, tick: u64, deadline: Instant) -> Result<Reading, ArmError> {
        let _ = tick;
        self.action(deadline)
    }
    /// As [`Robot::look_after`].
    fn look_after(&mut self, deadline: Instant) {
        let _ = deadline;
    }
    /// As [`Robot::health`].
    fn health(&self) -> Vec<Health> {
        Vec::new()
    }
    /// As [`Robot::take_faults`].
    fn take_faults(&mut self) -> Vec<ArmError> {
        Vec::new()
    }
    /// Lets go of the device.
    fn shutdown(&mut self) -> Vec<ArmError>;
}

/// Finds the motors of the configuration's robot and writes nothing: whether they hold the calibration file's values;
/// none for `type = "none"`.
pub fn probe_robot(config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<Option<bool>, ArmError> {
    match config.kind {
        schema::RobotKind::None => Ok(None),
        schema::RobotKind::So101Follower => so101::probe_follower(config, clock).map(Some),
    }
}

/// As [`probe_robot`], for the leader.
pub fn probe_teleop(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Option<bool>, ArmError> {
    match config.kind {
        schema::TeleopKind::None | schema::TeleopKind::Replay => Ok(None),
        schema::TeleopKind::So101Leader => so101::probe_leader(config, clock).map(Some),
    }
}

/// The features of the configuration's robot, in order; empty without one.
pub fn features(kind: schema::RobotKind) -> Vec<String> {
    match kind {
        schema::RobotKind::None => Vec::new(),
        schema::RobotKind::So101Follower => so101::features(),
    }
}

/// The names of its motors, in order: those of its features, without what they tell.
pub fn motor_names(kind: schema::RobotKind) -> Vec<String> {
    features(kind).iter().map(|name| name.trim_end_matches(".pos").to_string()).collect()
}

/// One number above 0 for each motor; else what is wrong, in words.
fn per_motor(config: &schema::PerMotor, motors: &[&str]) -> Result<Vec<f64>, String> {
    let numbers = match config {
        schema::PerMotor::All(number) => vec![*number; motors.len()],
        schema::PerMotor::ByMotor(numbers) => {
            if !(numbers.len() == motors.len() && motors.iter().all(|name| numbers.contains_key(*name))) {
                let (expected, found) = (motors.join(", "), numbers.keys().cloned().collect::<Vec<_>>().join(", "));
                return Err(format!("expected one number for each of {expected}; found {found}"));
            }
            motors.iter().map(|name| numbers[*name]).collect()
        }
    };
    match numbers.iter().find(|number| !(number.is_finite() && **number > 0.0)) {
        Some(number) => Err(format!("expected numbers above 0, found {number}")),
        None => Ok(numbers),
    }
}

/// The data set's `robot_type`, LeRobot's name.
pub fn robot_type(kind: schema::RobotKind) -> Option<&'static str> {
    match kind {
        schema::RobotKind::None => None,
        schema::RobotKind::So101Follower => Some("so_follower"),
    }
}

/// Connects the robot of the configuration; none for `type = "none"`. Blocks for the handshake, about 50 ms, and up to
/// some seconds where motors do not answer. Call it again after an error with [`ArmError::is_fatal`].
pub fn open_robot(config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<Option<Box<dyn Robot>>, ArmError> {
    Ok(match config.kind {
        schema::RobotKind::None => None,
        schema::RobotKind::So101Follower => Some(Box::new(so101::Follower::connect(config, clock)?)),
    })
}

/// Connects the leader of the configuration; none for `type = "none"`, and for a replay, which is no device
/// ([`replay::Replay`]). As [`open_robot`].
pub fn open_teleop(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Option<Box<dyn Teleop>>, ArmError> {
    Ok(match config.kind {
        schema::TeleopKind::None | schema::TeleopKind::Replay => None,
        schema::TeleopKind::So101Leader => Some(Box::new(so101::Leader::connect(config, clock)?)),
    })
}
