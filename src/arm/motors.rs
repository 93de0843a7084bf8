//! What is wrong with the motors of an arm, and what becomes of those that something is wrong with. Pure.
//!
//! A motor complains by the error bits of its replies, and is found too hot when it is asked. A fault begins with the first
//! complaint and is over when the motor has answered without one for [`FAULT_OVER_NS`]; so a fault that comes and goes
//! is one fault.

use super::ArmError;
use crate::config::schema::{MotorPolicy, OnMotorFault};
use serde::Serialize;
use std::collections::BTreeMap;

/// A motor must have answered without a complaint for so long, for its fault to be over.
pub const FAULT_OVER_NS: u64 = 1_000_000_000;
/// A motor that was too hot counts as cool when it is colder by this than what is too hot, in degrees Celsius.
const COOLER_BY_C: f64 = 3.0;

/// How a motor is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    /// The motor's name, such as `gripper` or `left_gripper`.
    pub motor: String,
    /// In degrees Celsius, as it was last asked; NaN before.
    pub temperature_c: f32,
    /// In volts, likewise.
    pub voltage_v: f32,
    /// Share of the largest torque, −1…1, by the sense of turning, likewise.
    pub load: f32,
    /// What is wrong with it now.
    pub faults: Vec<MotorFault>,
    pub held: Held,
}

/// Something is wrong with a motor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MotorFault {
    /// Of which sort, by [`ArmError::kind`]: `overload`, `overheat`, `voltage` or `servo_error`.
    pub kind: &'static str,
    /// In words, as it was when it began.
    pub reason: String,
}

/// What became of a motor with a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It follows its goals.
    #[default]
    No,
    /// It is kept where it was when the fault began.
    Hold,
    /// Its torque is off, until the arm is connected anew.
    Limp,
}

/// How a motor says it is when it is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub temperature_c: f32,
    pub voltage_v: f32,
    pub load: f32,
}

/// The motors of one arm, in the order of the features.
#[derive(Clone, Debug)]
pub struct Motors {
    motors: Vec<Watched>,
    max_temperature_c: f64,
}

#[derive(Clone, Debug)]
struct Watched {
    name: &'static str,
    policy: MotorPolicy,
    measured: Option<Measured>,
    hot: bool,
    /// By kind: in words, and when it was last complained of.
    faults: BTreeMap<&'static str, (String, u64)>,
    limp: bool,
}

impl Motors {
    /// Motors that nothing is wrong with. Those that `policy` does not name are only warned of.
    pub fn new(names: &[&'static str], policy: &OnMotorFault, max_temperature_c: f64) -> Motors {
        let policy = |name: &str| match policy {
            OnMotorFault::All(policy) => *policy,
            OnMotorFault::ByMotor(policies) => policies.get(name).copied().unwrap_or_default(),
        };
        let watched = |name: &&'static str| Watched {
            name,
            policy: policy(name),
            measured: None,
            hot: false,
            faults: BTreeMap::new(),
            limp: false,
        };
        Motors { motors: names.iter().map(watched).collect(), max_temperature_c }
    }

    /// A motor reports a fault; other errors are none of a motor's own.
    pub fn complaint(&mut self, error: &ArmError, now_ns: u64) {
        let ArmError::Servo { motor: named, .. } = error else { return };
        if let Some(motor) = self.motors.iter_mut().find(|motor| motor.name == named.name) {
            motor.complains(error.kind(), now_ns, || error.to_string());
        }
    }

    /// A motor was asked how it is.
    pub fn measured(&mut self, index: usize, measured: Measured, now_ns: u64) {
        let (limit, motor) = (self.max_temperature_c, &mut self.motors[index]);
        let temperature = f64::from(measured.temperature_c);
        motor.hot = temperature >= if motor.hot { limit - COOLER_BY_C } else { limit };
        motor.measured = Some(measured);
        motor.complains_of_heat(limit, now_ns);
    }

    /// The motors were talked to, and those of the indices `silent` did not answer: they are no better. Faults that were
    /// not complained of for long enough are over.
    pub fn settle(&mut self, silent: &[usize], now_ns: u64) {
        let limit = self.max_temperature_c;
        for (index, motor) in self.motors.iter_mut().enumerate() {
            motor.complains_of_heat(limit, now_ns);
            if silent.contains(&index) {
                motor.faults.values_mut().for_each(|(_, last_ns)| *last_ns = now_ns);
            }
            motor.faults.retain(|_, (_, last_ns)| now_ns.saturating_sub(*last_ns) < FAULT_OVER_NS);
        }
    }

    /// What is to become of a motor.
    pub fn held(&self, index: usize) -> Held {
        let motor = &self.motors[index];
        match motor.policy {
            _ if motor.limp => Held::Limp,
            MotorPolicy::Hold if !motor.faults.is_empty() => Held::Hold,
            _ => Held::No,
        }
    }

    /// How all of them are.
    pub fn health(&self) -> Vec<Health> {
        let unknown = Measured { temperature_c: f32::NAN, voltage_v: f32::NAN, load: f32::NAN };
        let health = |(index, motor): (usize, &Watched)| {
            let Measured { temperature_c, voltage_v, load } = motor.measured.unwrap_or(unknown);
            let fault =
                |(kind, (reason, _)): (&&'static str, &(String, u64))| MotorFault { kind, reason: reason.clone() };
            let (motor, faults) = (motor.name.to_string(), motor.faults.iter().map(fault).collect());
            Health { motor, temperature_c, voltage_v, load, faults, held: self.held(index) }
        };
        self.motors.iter().enumerate().map(health).collect()
    }
}

impl Watched {
    fn complains(&mut self, kind: &'static str, now_ns: u64, reason: impl FnOnce() -> String) {
        self.faults.entry(kind).or_insert_with(|| (reason(), now_ns)).1 = now_ns;
        self.limp |= self.policy == MotorPolicy::TorqueOff;
    }

    fn complains_of_heat(&mut self, limit: f64, now_ns: u64) {
        if let Some(measured) = self.measured.filter(|_| self.hot) {
            let (name, temperature) = (self.name, measured.temperature_c);
            let reason = || {
                format!(
                    "{name} has {temperature} °C, of at most {limit} (robot.max_temperature_c); let it rest and cool"
                )
            };
            self.complains("overheat", now_ns, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::Motor;
    use crate::arm::feetech::packet::ErrorBits;

    const SECOND: u64 = 1_000_000_000;

    fn motors(policy: OnMotorFault) -> Motors {
        Motors::new(&["pan", "gripper"], &policy, 60.0)
    }

    fn overload(motor: &'static str) -> ArmError {
        ArmError::Servo { port: "test".into(), motor: Motor { id: 9, name: motor }, bits: ErrorBits(32) }
    }

    fn warm(temperature_c: f32) -> Measured {
        Measured { temperature_c, voltage_v: 7.4, load: -0.1 }
    }

    fn kinds(motors: &Motors, index: usize) -> Vec<&'static str> {
        motors.health()[index].faults.iter().map(|fault| fault.kind).collect()
    }

    #[test]
    fn a_fault_that_comes_and_goes_is_one() {
        let mut motors = motors(OnMotorFault::All(MotorPolicy::Hold));
        for tick in 0..10 {
            if tick % 2 == 0 {
                motors.complaint(&overload("gripper"), tick * SECOND / 4);
            }
            motors.settle(&[], tick * SECOND / 4);
            assert_eq!((kinds(&motors, 0), kinds(&motors, 1)), (vec![], vec!["overload"]), "tick {tick}");
            assert_eq!((motors.held(0), motors.held(1)), (Held::No, Held::Hold));
        }
        // The last complaint was at 2 s. A motor that does not answer is no better.
        motors.settle(&[1], 3 * SECOND - 1);
        motors.settle(&[], 4 * SECOND - 2);
        assert_eq!(kinds(&motors, 1), ["overload"]);
        motors.settle(&[], 4 * SECOND - 1);
        assert_eq!((kinds(&motors, 1), motors.held(1)), (vec![], Held::No));
    }

    #[test]
    fn each_motor_has_its_policy_and_limp_is_for_good() {
        let policies = BTreeMap::from([("gripper".to_string(), MotorPolicy::TorqueOff)]);
        let mut motors = motors(OnMotorFault::ByMotor(policies));
        motors.complaint(&overload("pan"), 0);
        motors.complaint(&overload("gripper"), 0);
        motors.complaint(&ArmError::WrongLength { expected: 1, found: 2 }, 0);
        assert_eq!((motors.held(0), motors.held(1)), (Held::No, Held::Limp));
        motors.settle(&[], 9 * SECOND);
        assert_eq!((kinds(&motors, 1), motors.held(1)), (vec![], Held::Limp));
    }

    #[test]
    fn a_motor_is_hot_until_it_is_clearly_cooler() {
        let mut motors = motors(OnMotorFault::All(MotorPolicy::Warn));
        assert!(motors.health()[0].temperature_c.is_nan());
        for (second, temperature, hot) in
            [(1, 59.0, false), (2, 60.0, true), (4, 58.0, true), (6, 57.0, true), (8, 56.0, false), (10, 59.0, false)]
        {
            motors.measured(0, warm(temperature), second * SECOND);
            motors.settle(&[], second * SECOND + SECOND);
            assert_eq!(kinds(&motors, 0).contains(&"overheat"), hot, "{temperature} °C");
        }
        let health = &motors.health()[0];
        assert_eq!((health.temperature_c, health.voltage_v, health.load), (59.0, 7.4, -0.1));
        motors.measured(1, warm(75.0), 0);
        assert!(motors.health()[1].faults[0].reason.starts_with("gripper has 75 °C, of at most 60"));
    }
}
