//! How the motors are: listened to in every reply, and asked one after the other where a tick leaves time.

use super::Arm;
use crate::arm::ArmError;
use crate::arm::feetech::bus::{Bus, MOST_FAULTS};
use crate::arm::feetech::registers as reg;
use crate::arm::motors::{Health, Held, Measured, Motors};
use crate::config::schema::OnMotorFault;
use std::time::{Duration, Instant};

/// With less time than this left in a tick no motor is asked.
const LEAST_TIME: Duration = Duration::from_millis(3);
/// After a motor that did not answer, so many ticks nobody is asked: positions go first.
const TICKS_OF_REST: u32 = 10;
/// `Present_Load` counts in thousandths of the largest torque.
const FULL_LOAD: f32 = 1000.0;
/// `Present_Voltage` counts in tenths of a volt.
const VOLT: f32 = 10.0;

/// What is known of an arm's motors, and whose turn it is to be asked.
pub(super) struct Care {
    motors: Motors,
    next: usize,
    rest: u32,
    /// What went wrong and was not taken yet.
    faults: Vec<ArmError>,
}

impl Care {
    pub fn new(arm: &Arm, policy: &OnMotorFault, max_temperature_c: f64) -> Care {
        let names: Vec<&'static str> = arm.joints.iter().map(|joint| joint.motor.name).collect();
        let motors = Motors::new(&names, policy, max_temperature_c);
        Care { motors, next: 0, rest: 0, faults: Vec::new() }
    }

    /// The motors were talked to: `silent` of them, by index, did not answer.
    pub fn listen(&mut self, bus: &mut Bus, silent: &[usize], now_ns: u64) {
        self.take_from(bus, now_ns);
        self.motors.settle(silent, now_ns);
    }

    /// Asks the next motor, if there is time.
    pub fn ask(&mut self, arm: &mut Arm, now_ns: u64, deadline: Instant) {
        let now = Instant::now();
        if self.rest > 0 || deadline.saturating_duration_since(now) < LEAST_TIME {
            self.rest = self.rest.saturating_sub(1);
            return;
        }
        let index = self.next;
        self.next = (index + 1) % arm.joints.len();
        match arm.measure(index, deadline.min(now + arm.bus.patience)) {
            Ok(measured) => self.motors.measured(index, measured, now_ns),
            Err(error) => {
                self.rest = TICKS_OF_REST;
                self.note(error);
            }
        }
        self.take_from(&mut arm.bus, now_ns);
    }

    /// What is to become of a motor.
    pub fn held(&self, index: usize) -> Held {
        self.motors.held(index)
    }

    pub fn health(&self) -> Vec<Health> {
        self.motors.health()
    }

    /// Keeps a fault for [`Care::take_faults`].
    pub fn note(&mut self, fault: ArmError) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// What went wrong without failing a transaction, on the bus too.
    pub fn take_faults(&mut self, bus: &mut Bus) -> Vec<ArmError> {
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend(bus.take_faults());
        faults
    }

    fn take_from(&mut self, bus: &mut Bus, now_ns: u64) {
        for fault in bus.take_faults() {
            self.motors.complaint(&fault, now_ns);
            self.note(fault);
        }
    }
}

impl Arm {
    /// Load, voltage and temperature of one motor, in one reading.
    fn measure(&mut self, index: usize, deadline: Instant) -> Result<Measured, ArmError> {
        let id = self.joints[index].motor.id;
        let [load_low, load_high, voltage, temperature] = self.bus.read(id, reg::HEALTH, deadline)?.to_le_bytes();
        Ok(Measured {
            temperature_c: f32::from(temperature),
            voltage_v: f32::from(voltage) / VOLT,
            load: reg::PRESENT_LOAD.decode(&[load_low, load_high]) as f32 / FULL_LOAD,
        })
    }
}
