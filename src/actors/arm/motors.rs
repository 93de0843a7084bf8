//! How an arm's motors are: on the page for Prometheus, and as events when a fault of one begins and when it is over.

use super::{ArmArguments, Role, tell};
use crate::arm::motors::{Health, Held, MotorFault};
use crate::events::Event;
use crate::metrics;

/// What was known of one arm's motors the last time.
pub(super) struct Watch<'a> {
    arguments: &'a ArmArguments,
    role: Role,
    known: Vec<Health>,
}

impl Watch<'_> {
    /// Of an arm that is connected now. What was wrong when it was lost is known still, and over if it is.
    pub(super) fn new(arguments: &ArmArguments, role: Role) -> Watch<'_> {
        Watch { arguments, role, known: arguments.link.known(role) }
    }

    /// Shows and says what is new.
    pub(super) fn look(&mut self, health: Vec<Health>) {
        let mut news = false;
        for now in &health {
            let before = self.known.iter().find(|before| before.motor == now.motor);
            if before != Some(now) {
                self.show(now);
                news |= self.say(before.map_or(&[], |before| &before.faults), now);
            }
        }
        if news {
            self.arguments.link.know(self.role, health.clone());
        }
        self.known = health;
    }

    fn show(&self, now: &Health) {
        let held = match now.held {
            Held::No => 0.0,
            Held::Hold => 1.0,
            Held::Limp => 2.0,
        };
        for (name, value) in [
            (metrics::ARM_MOTOR_HELD, held),
            (metrics::ARM_MOTOR_TEMPERATURE, f64::from(now.temperature_c)),
            (metrics::ARM_MOTOR_VOLTAGE, f64::from(now.voltage_v)),
            (metrics::ARM_MOTOR_LOAD, f64::from(now.load)),
        ] {
            // What was not asked yet is absent.
            if !value.is_nan() {
                ::metrics::gauge!(name, "arm" => self.role.name(), "motor" => now.motor.clone()).set(value);
            }
        }
    }

    /// Whether there was something to say.
    fn say(&self, before: &[MotorFault], now: &Health) -> bool {
        let (arm, motor) = (self.role.name(), &now.motor);
        let has = |faults: &[MotorFault], kind| faults.iter().any(|fault| fault.kind == kind);
        let begun = now.faults.iter().filter(|fault| !has(before, fault.kind));
        let over = before.iter().filter(|fault| !has(&now.faults, fault.kind));
        let mut said = false;
        for MotorFault { kind, reason } in begun {
            let consequence = match now.held {
                Held::No => "",
                Held::Hold => "; the motor is kept where it is until that is over",
                Held::Limp => "; the motor's torque is off until the arm is connected anew",
            };
            let text = format!("{arm}: {reason}{consequence}");
            let (motor, reason) = (motor.clone(), reason.clone());
            tell(self.arguments, Event::ArmFault { arm, motor, kind, reason, held: now.held }, text);
            said = true;
        }
        for MotorFault { kind, .. } in over {
            let text = format!("{arm}: the {kind} of {motor} is over");
            tell(self.arguments, Event::ArmFaultOver { arm, motor: motor.clone(), kind }, text);
            said = true;
        }
        said
    }
}
