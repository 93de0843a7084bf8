//! The SO-101 arms: six STS3215 servos on one bus, follower and leader alike.
//!
//! `Arm` is what both have in common: the handshake, the calibration, the configuration of the servos, torque and
//! positions. The order on the wire is LeRobot's, with these differences, all of them for safety: nothing is written
//! before torque is off and the EEPROM unlocked; a calibration that is written is read back; the goal is the present
//! position before torque goes on; torque-off is tried on every motor whatever the others answer.

mod care;
mod follower;
mod handshake;
mod leader;
mod present;
mod servos;

pub use follower::Follower;
pub use leader::Leader;
pub use servos::Servos;

use super::calibration::{Calibration, JointCalibration, Place};
use super::feetech::bus::Bus;
use super::feetech::registers::{self as reg, Register};
use super::normalise::{Norm, normalise, unnormalise_f32};
use super::sim::{SimBus, SimKind};
use super::{ArmError, Motor};
use crate::clock::Clock;
use crate::config::arms::Side;
use crate::config::schema;
use present::{Known, Present, Unknown};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The joints and their motors' ids, in the order of the features.
pub const MOTORS: [(&str, u8); 6] = [
    ("shoulder_pan", 1),
    ("shoulder_lift", 2),
    ("elbow_flex", 3),
    ("wrist_flex", 4),
    ("wrist_roll", 5),
    ("gripper", 6),
];
/// As [`MOTORS`], of the arms of a pair.
const LEFT_MOTORS: [(&str, u8); 6] = [
    ("left_shoulder_pan", 1),
    ("left_shoulder_lift", 2),
    ("left_elbow_flex", 3),
    ("left_wrist_flex", 4),
    ("left_wrist_roll", 5),
    ("left_gripper", 6),
];
const RIGHT_MOTORS: [(&str, u8); 6] = [
    ("right_shoulder_pan", 1),
    ("right_shoulder_lift", 2),
    ("right_elbow_flex", 3),
    ("right_wrist_flex", 4),
    ("right_wrist_roll", 5),
    ("right_gripper", 6),
];
const IDS: [u8; 6] = [1, 2, 3, 4, 5, 6];
const GRIPPER: u8 = 6;

/// Where the follower's calibration is.
pub const FOLLOWER_PLACE: Place =
    Place { table: "robot", kind: "so101_follower", folders: ["robots/so_follower", "robots/so101_follower"] };
/// Where the leader's calibration is.
pub const LEADER_PLACE: Place =
    Place { table: "teleop", kind: "so101_leader", folders: ["teleoperators/so_leader", "teleoperators/so101_leader"] };

/// The value of `port` that stands for the simulated bus.
pub const SIM: &str = "sim";
/// LeRobot's limits against a burnt-out gripper: half of the torque and the current, a quarter when overloaded.
const GRIPPER_LIMITS: [(Register, i32); 3] =
    [(reg::MAX_TORQUE_LIMIT, 500), (reg::PROTECTION_CURRENT, 250), (reg::OVERLOAD_TORQUE, 25)];
/// The bit of `Phase` that lets positions leave 0…4095.
const PHASE_MULTI_TURN: i32 = 0x10;

/// Finds the follower's motors, and writes nothing: whether they hold the calibration file's values.
pub fn probe_follower(side: Side, config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<bool, ArmError> {
    Arm::open(&follower::settings(side, config), clock).map(|(_, calibrated)| calibrated)
}

/// As [`probe_follower`], for the leader.
pub fn probe_leader(side: Side, config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<bool, ArmError> {
    Arm::open(&leader::settings(side, config), clock).map(|(_, calibrated)| calibrated)
}

/// Lowest and highest value of each of the follower's features, by its calibration file. Touches no device.
pub fn follower_ranges(config: &schema::Robot) -> Result<Vec<(f64, f64)>, ArmError> {
    let settings = follower::settings(Side::Only, config);
    let calibration = load_calibration(&settings, settings.port == Some(SIM))?;
    let range = |(&(_, id), (_, joint)): (&(&str, u8), &(String, JointCalibration))| {
        let (norm, range) = (norm(id, config.use_degrees), joint.range());
        let [a, b] = [range.min, range.max].map(|step| normalise(norm, range, step));
        (a.min(b), a.max(b))
    };
    Ok(MOTORS.iter().zip(&calibration.0).map(range).collect())
}

/// How the follower of a configuration is reached.
pub fn follower_settings(config: &schema::Robot) -> Settings<'_> {
    follower::settings(Side::Only, config)
}

/// How the leader of a configuration is reached.
pub fn leader_settings(config: &schema::Teleop) -> Settings<'_> {
    leader::settings(Side::Only, config)
}

/// What a motor's value means.
fn norm(id: u8, use_degrees: bool) -> Norm {
    match (id, use_degrees) {
        (GRIPPER, _) => Norm::Percent,
        (_, true) => Norm::Degrees,
        (_, false) => Norm::Range100,
    }
}

/// The motors of an arm, by the names that they have in the configuration's robot.
pub fn motors(side: Side) -> &'static [(&'static str, u8); 6] {
    match side {
        Side::Only => &MOTORS,
        Side::Left => &LEFT_MOTORS,
        Side::Right => &RIGHT_MOTORS,
    }
}

/// The feature names of a single arm, follower or leader.
pub fn features() -> Vec<String> {
    features_of(Side::Only)
}

/// The feature names of an arm, follower or leader.
pub fn features_of(side: Side) -> Vec<String> {
    motors(side).iter().map(|(name, _)| format!("{name}.pos")).collect()
}

/// What to connect, from the configuration's `robot` or `teleop`.
pub struct Settings<'a> {
    side: Side,
    pub place: Place,
    sim: SimKind,
    pub port: Option<&'a str>,
    pub id: Option<&'a str>,
    pub calibration_dir: Option<&'a Path>,
    use_degrees: bool,
    /// Further tries of a reading that fails.
    retries: u32,
}

impl<'a> Settings<'a> {
    /// The serial port.
    pub fn port(&self) -> Result<&'a str, ArmError> {
        self.port.ok_or(ArmError::NoPort { table: self.place.table })
    }
}

/// How long motors are waited for while connecting and at the end.
#[derive(Clone, Copy)]
struct Patience {
    /// In one try; writing EEPROM takes a motor some milliseconds.
    one_try: Duration,
    /// In all tries, for a motor that is known to be there: a busy machine or its USB may be late.
    sure: Duration,
    /// In all tries, for one that may be gone.
    unsure: Duration,
}

impl Patience {
    const REAL: Patience = Patience {
        one_try: Duration::from_millis(50),
        sure: Duration::from_secs(1),
        unsure: Duration::from_millis(150),
    };
    /// A simulated motor always answers, once the machine lets its thread run.
    const SIMULATED: Patience =
        Patience { one_try: Duration::from_secs(10), sure: Duration::from_secs(10), unsure: Duration::from_secs(10) };
}

/// One joint: its motor and what its values mean.
struct Joint {
    motor: Motor,
    calibration: JointCalibration,
    norm: Norm,
}

impl Joint {
    /// Lowest and highest value, by the calibration.
    fn limits(&self) -> (f32, f32) {
        let range = self.calibration.range();
        let [a, b] = [range.min, range.max].map(|step| normalise(self.norm, range, step) as f32);
        (a.min(b), a.max(b))
    }

    /// A value in steps, within the calibrated range.
    fn step(&self, value: f32) -> i32 {
        let range = self.calibration.range();
        unnormalise_f32(self.norm, range, value).clamp(range.min, range.max)
    }
}

/// A connected arm.
struct Arm {
    bus: Bus,
    joints: Vec<Joint>,
    patience: Patience,
    /// Further tries of a reading, once there was one.
    retries: u32,
    known: Known,
    /// There was a reading of all motors.
    settled: bool,
    /// Keeps the simulated bus alive as long as the arm; after `bus`, so that the port is closed first.
    _sim: Option<SimBus>,
}

impl Arm {
    /// Opens the port and finds all motors; writes nothing. Says whether the servos hold the calibration file's values.
    fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<(Arm, bool), ArmError> {
        let calibration = load_calibration(settings, settings.port()? == SIM)?;
        let mut arm = Arm::reach(settings, calibration, clock)?;
        let calibrated = arm.is_calibrated().map_err(handshake::collided)?;
        Ok((arm, calibrated))
    }

    /// Opens the port and finds all motors of an arm with this calibration; writes nothing.
    fn reach(settings: &Settings, calibration: Calibration, clock: &Arc<dyn Clock>) -> Result<Arm, ArmError> {
        let port = settings.port()?;
        let sim = if port == SIM { Some(SimBus::start(settings.sim, clock.clone())?) } else { None };
        let path = sim.as_ref().map_or(port, SimBus::path);
        let joints: Vec<Joint> = motors(settings.side)
            .iter()
            .zip(calibration.0)
            .map(|(&(name, id), (_, calibration))| Joint {
                motor: Motor { id, name },
                calibration,
                norm: norm(id, settings.use_degrees),
            })
            .collect();
        let bus = Bus::open(path, joints.iter().map(|j| j.motor).collect(), clock.is_simulated())?;
        let patience = if sim.is_some() { Patience::SIMULATED } else { Patience::REAL };
        let known = Known::new(joints.len());
        let mut arm = Arm { bus, joints, patience, retries: settings.retries, known, settled: false, _sim: sim };
        arm.bus.patience = patience.one_try;
        arm.handshake().map_err(handshake::collided)?;
        Ok(arm)
    }

    /// Opens the arm and leaves its motors limp, unlocked, calibrated and configured.
    fn connect(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arm, ArmError> {
        let (mut arm, calibrated) = Arm::open(settings, clock)?;
        for id in IDS {
            arm.write(id, reg::TORQUE_ENABLE, 0)?;
            arm.write(id, reg::LOCK, 0)?;
        }
        if !calibrated {
            arm.write_calibration(settings.place.table)?;
        }
        for id in IDS {
            arm.write(id, reg::RETURN_DELAY_TIME, 0)?;
            arm.write(id, reg::MAXIMUM_ACCELERATION, 254)?;
            arm.write(id, reg::ACCELERATION, 254)?;
            let phase = arm.read(id, reg::PHASE)?;
            if phase & PHASE_MULTI_TURN != 0 {
                arm.write(id, reg::PHASE, phase & !PHASE_MULTI_TURN)?;
            }
        }
        Ok(arm)
    }

    /// Whether all motors hold the calibration of the file. All of them are asked, as LeRobot does.
    fn is_calibrated(&mut self) -> Result<bool, ArmError> {
        let mut equal = true;
        for (id, register, expected) in self.calibration_registers(Order::Read) {
            equal &= self.read(id, register)? == expected;
        }
        Ok(equal)
    }

    /// Writes the file's calibration, and says so.
    fn write_calibration(&mut self, table: &str) -> Result<(), ArmError> {
        tracing::warn!(
            port = self.bus.path(),
            "the motors hold another calibration than the file of {table}.id; the file's is written to them"
        );
        self.store_calibration()
    }

    /// Writes the joints' calibration and reads it back. Torque is off and the EEPROM unlocked.
    fn store_calibration(&mut self) -> Result<(), ArmError> {
        for (id, register, value) in self.calibration_registers(Order::Write) {
            self.write(id, register, value)?;
        }
        for (id, register, written) in self.calibration_registers(Order::Read) {
            let read = self.read(id, register)?;
            if read != written {
                let (port, motor) = (self.bus.path().into(), self.bus.motor(id));
                return Err(ArmError::NotKept { port, motor, register: register.name, written, read });
            }
        }
        Ok(())
    }

    /// Motor, register and value of the whole calibration, in LeRobot's order.
    fn calibration_registers(&self, order: Order) -> Vec<(u8, Register, i32)> {
        let registers = |joint: &Joint| {
            let (c, id) = (joint.calibration, joint.motor.id);
            let min = (id, reg::MIN_POSITION_LIMIT, c.range_min as i32);
            let max = (id, reg::MAX_POSITION_LIMIT, c.range_max as i32);
            let homing = (id, reg::HOMING_OFFSET, c.homing_offset as i32);
            match order {
                Order::Read => [min, max, homing],
                Order::Write => [homing, min, max],
            }
        };
        self.joints.iter().flat_map(registers).collect()
    }

    /// Present positions in steps, in motor order.
    fn steps(&mut self, deadline: Instant) -> Result<Vec<i32>, ArmError> {
        self.bus.sync_read(&IDS, reg::PRESENT_POSITION, deadline)
    }

    /// Present positions as values, in motor order. Once they have been had, tries are as short as a tick demands; while a
    /// motor is silent there is one try only, or every tick would be late for the others.
    fn values(&mut self, deadline: Instant) -> Result<Present, ArmError> {
        if self.settled {
            self.bus.retries = if self.known.is_fresh() { self.retries } else { 0 };
        }
        let start = Instant::now();
        let steps = match self.bus.sync_read_some(&IDS, reg::PRESENT_POSITION, deadline) {
            Ok(steps) => steps,
            Err(error) => {
                // Whoever asks decides how long a whole arm may be silent.
                let _ = self.known.update(&[None; IDS.len()], start);
                return Err(error);
            }
        };
        let value = |(j, step): (&Joint, &Option<i32>)| step.map(|step| normalise(j.norm, j.calibration.range(), step));
        let values: Vec<Option<f64>> = self.joints.iter().zip(&steps).map(value).collect();
        let present = self.known.update(&values, Instant::now()).map_err(|unknown| {
            let port = self.bus.path().to_string();
            match unknown {
                Unknown::Never(i) => ArmError::Timeout { port, motor: self.joints[i].motor, waited: start.elapsed() },
                Unknown::Lost(i, waited) => ArmError::MotorLost { port, motor: self.joints[i].motor, waited },
            }
        })?;
        if !self.settled && present.reused.is_empty() {
            self.bus.settle(self.retries);
            self.settled = true;
        }
        Ok(present)
    }

    /// Switches torque off and unlocks every motor; a motor that does not answer does not keep the others from it, and is
    /// asked once more after them.
    fn torque_off(&mut self) -> Vec<ArmError> {
        self.bus.patience = self.bus.patience.max(self.patience.one_try);
        self.bus.retries = u32::MAX;
        let off = |arm: &mut Arm, id| {
            for register in [reg::TORQUE_ENABLE, reg::LOCK] {
                arm.bus.write(id, register, 0, Instant::now() + arm.patience.unsure)?;
            }
            Ok(())
        };
        let failed: Vec<_> = IDS.into_iter().filter_map(|id| Some((id, off(self, id).err()?))).collect();
        let again = |(id, error): (u8, ArmError)| if error.is_fatal() { Some(error) } else { off(self, id).err() };
        failed.into_iter().filter_map(again).collect()
    }

    fn soon(&self) -> Instant {
        Instant::now() + self.patience.sure
    }

    fn read(&mut self, id: u8, register: Register) -> Result<i32, ArmError> {
        self.bus.read(id, register, self.soon())
    }

    fn write(&mut self, id: u8, register: Register, value: i32) -> Result<(), ArmError> {
        self.bus.write(id, register, value, self.soon())
    }
}

#[derive(Clone, Copy)]
enum Order {
    Read,
    Write,
}

/// The file's calibration. A simulated arm that has no file gets the one its servos start with.
fn load_calibration(settings: &Settings, simulated: bool) -> Result<Calibration, ArmError> {
    use super::calibration::CalibrationError::{Absent, NoId};
    let table = settings.place.table;
    match settings.place.load(settings.id, settings.calibration_dir, &MOTORS) {
        Ok((calibration, path)) => {
            tracing::info!("{table}: calibration from {}", path.display());
            Ok(calibration)
        }
        Err(Absent { .. } | NoId { .. }) if simulated => {
            tracing::info!("{table}: the simulated arm has no calibration file and uses its built-in calibration");
            Ok(settings.sim.calibration())
        }
        Err(error) => Err(error.into()),
    }
}
