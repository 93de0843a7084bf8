//! What is held against an SO-101 when it is connected: which motors there are, and what they say of themselves.
//!
//! Nothing is written. What is asked, and in which order, is LeRobot's; only an arm that is not as expected is asked for
//! more: a motor with two answers is pinged again, one that complains of its voltage is asked for it, and where a motor is
//! missing the others are asked for what two motors would not say alike.

use super::{Arm, IDS};
use crate::arm::feetech::port::other_ports;
use crate::arm::feetech::registers as reg;
use crate::arm::{ArmError, Motor};
use std::time::Instant;

impl Arm {
    /// Finds each motor and holds it against what an SO-101 has. An error bit of any motor is an error here.
    pub(super) fn handshake(&mut self) -> Result<(), ArmError> {
        self.find()?;
        let mut versions = Vec::new();
        for id in IDS {
            versions.push((self.read(id, reg::FIRMWARE_MAJOR)?, self.read(id, reg::FIRMWARE_MINOR)?));
        }
        if versions.iter().any(|version| *version != versions[0]) {
            let motors = self.bus.motors().iter().zip(versions);
            let versions = motors.map(|(motor, (major, minor))| format!("{motor} {major}.{minor}")).collect();
            return Err(ArmError::MixedFirmware { port: self.bus.path().into(), versions });
        }
        Ok(())
    }

    /// Asks every motor whether it is there and what it is, and says what is most worth knowing if that is not as expected.
    fn find(&mut self) -> Result<(), ArmError> {
        let (mut found, mut missing, mut doubled, mut broken, mut wrong) = (vec![], vec![], None, vec![], None);
        // The first that is missing costs the patience of all.
        let patient = self.soon();
        for motor in self.bus.motors().to_vec() {
            let deadline = patient.max(Instant::now() + self.patience.unsure);
            match self.bus.ping_doubled(motor.id, deadline).and_then(|two| Ok((two, self.read(motor.id, reg::MODEL)?)))
            {
                Ok((two, model)) => {
                    found.push(motor);
                    if two {
                        doubled = doubled.or(Some(motor));
                    }
                    if model != reg::STS3215 && wrong.is_none() {
                        let port = self.bus.path().to_string();
                        wrong = Some(ArmError::WrongModel { port, motor, expected: reg::STS3215, found: model });
                    }
                }
                Err(ArmError::Timeout { .. }) => missing.push(motor),
                Err(ArmError::Checksum { .. } | ArmError::Foreign { .. }) => broken.push(motor),
                Err(error) => return Err(error),
            }
        }
        let port = self.bus.path().to_string();
        if found.is_empty() {
            let others = other_ports(&port);
            return Err(ArmError::NoMotors { port, garbled: !broken.is_empty(), others });
        }
        if let Some(motor) = doubled {
            return Err(ArmError::DoubledId { port, motor, missing, collided: false });
        }
        let mut collided = broken.first().copied();
        if collided.is_none() && !missing.is_empty() {
            collided = found.iter().copied().find(|motor| self.collides(*motor));
        }
        if let Some(motor) = collided {
            return Err(ArmError::DoubledId { port, motor, missing, collided: true });
        }
        if let Some(error) = self.bus.take_servo_error() {
            return Err(self.with_voltage(error));
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        if !missing.is_empty() {
            return Err(ArmError::MotorsMissing { port, expected: self.bus.motors().to_vec(), found });
        }
        Ok(())
    }

    /// True when a motor's replies are broken wherever two motors would say something different. What is the same in both,
    /// as the model, looks like one reply.
    fn collides(&mut self, motor: Motor) -> bool {
        [reg::PRESENT_POSITION, reg::HOMING_OFFSET, reg::MIN_POSITION_LIMIT, reg::MAX_POSITION_LIMIT].iter().any(
            |own| {
                let read = self.bus.read(motor.id, *own, Instant::now() + self.patience.unsure);
                matches!(read, Err(ArmError::Checksum { .. }))
            },
        )
    }

    /// The error of a motor, with its figures when it complains of its voltage only and tells them.
    fn with_voltage(&mut self, error: ArmError) -> ArmError {
        let ArmError::Servo { motor, bits, .. } = &error else { return error };
        let motor: Motor = *motor;
        if bits.kind() != "voltage" {
            return error;
        }
        let mut volts = |register| self.read(motor.id, register).map(|tenths| f64::from(tenths) / 10.0);
        match (volts(reg::PRESENT_VOLTAGE), volts(reg::MIN_VOLTAGE_LIMIT), volts(reg::MAX_VOLTAGE_LIMIT)) {
            (Ok(volts), Ok(min), Ok(max)) => ArmError::Voltage { port: self.bus.path().into(), motor, volts, min, max },
            _ => error,
        }
    }
}

/// A motor whose reply is broken at every try over a second, while the others' are whole, is two motors.
pub(super) fn collided(error: ArmError) -> ArmError {
    match error {
        ArmError::Checksum { port, motor } => ArmError::DoubledId { port, motor, missing: Vec::new(), collided: true },
        error => error,
    }
}
