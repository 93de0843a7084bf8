//! The leader: limp, moved by hand, only read.

use super::care::Care;
use super::{Arm, IDS, LEADER_PLACE, Settings, features};
use crate::arm::feetech::registers as reg;
use crate::arm::sim::SimKind;
use crate::arm::{ArmError, Health, Reading, Teleop};
use crate::clock::Clock;
use crate::config::schema::{self, MotorPolicy, OnMotorFault};
use std::sync::Arc;
use std::time::Instant;

/// A connected SO-101 leader.
pub struct Leader {
    arm: Arm,
    care: Care,
    clock: Arc<dyn Clock>,
    shut_down: bool,
}

/// What to connect.
pub(super) fn settings(config: &schema::Teleop) -> Settings<'_> {
    Settings {
        place: LEADER_PLACE,
        sim: SimKind::Leader,
        port: config.port.as_deref(),
        id: config.id.as_deref(),
        calibration_dir: config.calibration_dir.as_deref(),
        use_degrees: config.use_degrees,
    }
}

impl Leader {
    /// Connects and configures the leader; its motors stay limp.
    pub fn connect(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Leader, ArmError> {
        let mut arm = Arm::connect(&settings(config), clock)?;
        for id in IDS {
            arm.write(id, reg::OPERATING_MODE, 0)?;
        }
        // It is limp, and warms up by the room's sun only; what its motors complain of themselves is said.
        let care = Care::new(&arm, &OnMotorFault::All(MotorPolicy::Warn), f64::INFINITY);
        Ok(Leader { arm, care, clock: clock.clone(), shut_down: false })
    }
}

impl Teleop for Leader {
    fn features(&self) -> Vec<String> {
        features()
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        let read = self.arm.values(deadline);
        let silent: &[usize] = if read.is_ok() { &[] } else { &[0, 1, 2, 3, 4, 5] };
        self.care.listen(&mut self.arm.bus, silent, self.clock.now().mono_ns);
        Ok(Reading::fresh(read?.into_iter().map(|value| value as f32).collect()))
    }

    fn look_after(&mut self, deadline: Instant) {
        self.care.ask(&mut self.arm, self.clock.now().mono_ns, deadline);
    }

    fn health(&self) -> Vec<Health> {
        self.care.health()
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.care.take_faults(&mut self.arm.bus)
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.shut_down = true;
        self.arm.torque_off()
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.shut_down {
            for error in self.shutdown() {
                tracing::warn!("leader: {error}");
            }
        }
    }
}
