//! An arm's servos without an arm that moves: what calibration needs, before there is a calibration.
//!
//! Every value that is written is read back, with torque off and the EEPROM unlocked; it is locked again after that, so
//! that nothing but another calibration changes it, and keeps its values without power.

use super::{Arm, IDS, MOTORS, PHASE_MULTI_TURN, Settings};
use crate::arm::calibration::{Calibration, JointCalibration};
use crate::arm::feetech::registers::{self as reg, Register};
use crate::arm::{ArmError, Motor};
use crate::clock::Clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The servos of one arm on an open port.
pub struct Servos {
    arm: Arm,
}

impl Servos {
    /// Opens the port and finds all motors; writes nothing.
    pub fn open(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Servos, ArmError> {
        // What a servo is to be given is said by whoever writes it.
        let unknown = |&(name, id): &(&str, u8)| {
            (
                name.to_string(),
                JointCalibration { id: id.into(), drive_mode: 0, homing_offset: 0, range_min: 0, range_max: 0 },
            )
        };
        let calibration = Calibration(MOTORS.iter().map(unknown).collect());
        Ok(Servos { arm: Arm::reach(settings, calibration, clock)? })
    }

    /// The motors, in the order of the features.
    pub fn motors(&self) -> &[Motor] {
        self.arm.bus.motors()
    }

    /// The port's path.
    pub fn port(&self) -> &str {
        self.arm.bus.path()
    }

    /// True when a motor holds its joint.
    pub fn has_torque(&mut self) -> Result<bool, ArmError> {
        let mut any = false;
        for id in IDS {
            any |= self.arm.read(id, reg::TORQUE_ENABLE)? != 0;
        }
        Ok(any)
    }

    /// What the servos hold, whether or not a file could.
    pub fn held(&mut self) -> Result<Calibration, ArmError> {
        let mut joints = Vec::new();
        for (name, id) in MOTORS {
            let mut read = |register| self.arm.read(id, register).map(i64::from);
            let (range_min, range_max) = (read(reg::MIN_POSITION_LIMIT)?, read(reg::MAX_POSITION_LIMIT)?);
            let homing_offset = read(reg::HOMING_OFFSET)?;
            let joint = JointCalibration { id: id.into(), drive_mode: 0, homing_offset, range_min, range_max };
            joints.push((name.to_string(), joint));
        }
        Ok(Calibration(joints))
    }

    /// Torque off, EEPROM unlocked, position mode, positions within one turn.
    pub fn make_limp(&mut self) -> Result<(), ArmError> {
        self.unlock()?;
        for id in IDS {
            self.set(id, reg::OPERATING_MODE, 0)?;
            let phase = self.arm.read(id, reg::PHASE)?;
            if phase & PHASE_MULTI_TURN != 0 {
                self.set(id, reg::PHASE, phase & !PHASE_MULTI_TURN)?;
            }
        }
        Ok(())
    }

    /// Writes a calibration to stay. Torque is off afterwards. After an error some motors may hold it and others not.
    pub fn write(&mut self, calibration: &Calibration) -> Result<(), ArmError> {
        for (joint, (_, values)) in self.arm.joints.iter_mut().zip(&calibration.0) {
            joint.calibration = *values;
        }
        self.unlock()?;
        self.arm.store_calibration()?;
        for id in IDS {
            self.set(id, reg::LOCK, 1)?;
        }
        Ok(())
    }

    /// Present positions in steps, in motor order; none for a motor that does not answer within `patience`.
    pub fn positions(&mut self, patience: Duration) -> Result<Vec<Option<i32>>, ArmError> {
        match self.arm.bus.sync_read_some(&IDS, reg::PRESENT_POSITION, Instant::now() + patience) {
            Err(error) if !error.is_fatal() => Ok(vec![None; IDS.len()]),
            positions => positions,
        }
    }

    /// Present positions in steps of all motors, or which does not answer.
    pub fn all_positions(&mut self) -> Result<Vec<i32>, ArmError> {
        IDS.into_iter().map(|id| self.arm.read(id, reg::PRESENT_POSITION)).collect()
    }

    /// What went wrong without failing anything, since the last call.
    pub fn take_faults(&mut self) -> Vec<ArmError> {
        self.arm.bus.take_faults()
    }

    fn unlock(&mut self) -> Result<(), ArmError> {
        for id in IDS {
            self.set(id, reg::TORQUE_ENABLE, 0)?;
            self.set(id, reg::LOCK, 0)?;
        }
        Ok(())
    }

    /// Writes a register and reads it back.
    fn set(&mut self, id: u8, register: Register, value: i32) -> Result<(), ArmError> {
        self.arm.write(id, register, value)?;
        let read = self.arm.read(id, register)?;
        if read == value {
            return Ok(());
        }
        let (port, motor) = (self.arm.bus.path().into(), self.arm.bus.motor(id));
        Err(ArmError::NotKept { port, motor, register: register.name, written: value, read })
    }
}
