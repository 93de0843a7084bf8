//! Robot arms behind two traits: what is recorded ([`Robot`]) and what it follows ([`Teleop`]).
//!
//! A robot is one ordered list of named features, whatever it is made of; nothing outside knows of motors or registers.
//! A robot of several arms puts their features one after the other ([`bimanual`]). What other arms would need:
//!
//! - Another Feetech arm, such as LeKiwi's (an arm and three wheels on one bus, features `x.vel` …): a module beside
//!   [`so101`] with its own table of motors. Model, ids, what is normalised how and which registers hold it are data there;
//!   the bus and the packets are the same. Wheels are read and written as velocities, by a register of their own.
//! - An arm of another make on a serial port, such as Koch (Dynamixel, protocol 2: 4-byte two's complement, another checksum,
//!   a leader whose gripper is torqued as a spring): packets, registers and a bus beside [`feetech`], and a module beside
//!   [`so101`]. There is no trait for buses: with one bus it would be a guess. The second one will show what both have in
//!   common, which is what [`so101`] calls on: ping, read and write with a deadline, sync-read and sync-write, faults.
//! - An arm that is not serial (CAN, a socket, a vendor's library): these two traits and nothing else. It owes its callers
//!   what they say: an answer before the deadline, what is old marked, torque off at the end.

pub mod bimanual;
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

use crate::clock::{Clock, period};
use crate::config::arms::{Side, followers, leaders};
use crate::config::schema;
use bimanual::Pair;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An arm, or one of its motors, that has not answered for so long is taken for lost, and the arm is connected anew.
pub const LONGEST_SILENCE: Duration = Duration::from_secs(1);

/// The first answer of an arm that is connected and has to do nothing else may take so long.
pub const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// What of a tick's period the talk with an arm may take.
const SHARE_OF_PERIOD: f64 = 0.9;
/// In simulated time nothing is missed, and a loaded machine must not change the result.
const SIMULATED_DEADLINE: Duration = Duration::from_secs(60);

/// Until when the talk with an arm may take that begins now, at a tick of `fps`.
pub fn tick_deadline(clock: &dyn Clock, fps: u32) -> Instant {
    let time = if clock.is_simulated() { SIMULATED_DEADLINE } else { period(fps).mul_f64(SHARE_OF_PERIOD) };
    Instant::now() + time
}

/// A leader that has said nothing for so long is said to be silent. From its first missing word on the follower is
/// commanded no more and holds its goal; after this long it approaches the leader anew when that speaks again.
pub const LEADER_SILENT_NS: u64 = 500_000_000;

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

/// What is found of an arm without moving it.
pub struct Probed {
    /// Such as `follower`, or `left follower`.
    pub arm: String,
    /// Whether its motors hold the calibration file's values.
    pub calibrated: Result<bool, ArmError>,
}

/// Finds the motors of each of the robot's arms and writes nothing; none for `type = "none"`.
pub fn probe_robot(config: &schema::Robot, clock: &Arc<dyn Clock>) -> Vec<Probed> {
    let probe = |(side, arm): (Side, schema::Robot)| Probed {
        arm: side.of("follower"),
        calibrated: so101::probe_follower(side, &arm, clock),
    };
    followers(config).into_iter().map(probe).collect()
}

/// As [`probe_robot`], for the leader.
pub fn probe_teleop(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Vec<Probed> {
    let probe = |(side, arm): (Side, schema::Teleop)| Probed {
        arm: side.of("leader"),
        calibrated: so101::probe_leader(side, &arm, clock),
    };
    leaders(config).into_iter().map(probe).collect()
}

/// The features of the configuration's robot, in order; empty without one.
pub fn features(kind: schema::RobotKind) -> Vec<String> {
    kind.sides().iter().flat_map(|side| so101::features_of(*side)).collect()
}

/// Lowest and highest value of each feature of the robot, by the calibration files. Touches no device.
pub fn ranges(config: &schema::Robot) -> Result<Vec<(f64, f64)>, ArmError> {
    let ranges: Result<Vec<_>, _> = followers(config).iter().map(|(_, arm)| so101::follower_ranges(arm)).collect();
    Ok(ranges?.concat())
}

/// The names of its motors, in order: those of its features, without what they tell.
pub fn motor_names(kind: schema::RobotKind) -> Vec<String> {
    features(kind).iter().map(|name| name.trim_end_matches(".pos").to_string()).collect()
}

/// One number above 0 for each motor; else what is wrong, in words.
fn per_motor<N: AsRef<str>>(config: &schema::PerMotor, motors: &[N]) -> Result<Vec<f64>, String> {
    let motors: Vec<&str> = motors.iter().map(AsRef::as_ref).collect();
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
        schema::RobotKind::BiSo101Follower => Some("bi_so_follower"),
    }
}

/// Connects the robot of the configuration; none for `type = "none"`. Blocks for the handshake, about 50 ms, and up to
/// some seconds where motors do not answer. Call it again after an error with [`ArmError::is_fatal`].
pub fn open_robot(config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<Option<Box<dyn Robot>>, ArmError> {
    let mut arms = followers(config).into_iter().map(|(side, arm)| {
        let clock = clock.clone();
        move || Ok(Box::new(so101::Follower::connect_side(side, &arm, &clock)?) as Box<dyn Robot>)
    });
    Ok(match (arms.next(), arms.next()) {
        (Some(left), Some(right)) => Some(Box::new(Pair::open(left, right)?)),
        (Some(only), None) => Some(only()?),
        (None, _) => None,
    })
}

/// Connects the leader of the configuration; none for `type = "none"`, and for a replay, which is no device
/// ([`replay::Replay`]). As [`open_robot`].
pub fn open_teleop(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Option<Box<dyn Teleop>>, ArmError> {
    let mut arms = leaders(config).into_iter().map(|(side, arm)| {
        let clock = clock.clone();
        move || Ok(Box::new(so101::Leader::connect_side(side, &arm, &clock)?) as Box<dyn Teleop>)
    });
    Ok(match (arms.next(), arms.next()) {
        (Some(left), Some(right)) => Some(Box::new(Pair::open(left, right)?)),
        (Some(only), None) => Some(only()?),
        (None, _) => None,
    })
}
