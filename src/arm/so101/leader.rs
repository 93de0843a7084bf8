//! The leader: limp, moved by hand, only read.

use super::care::Care;
use super::present::silent;
use super::{Arm, IDS, LEADER_PLACE, Settings, features_of};
use crate::arm::feetech::registers as reg;
use crate::arm::sim::SimKind;
use crate::arm::{ArmError, Health, Reading, Teleop};
use crate::clock::Clock;
use crate::config::arms::Side;
use crate::config::schema::{self, MotorPolicy, OnMotorFault};
use std::sync::Arc;
use std::time::Instant;

/// A connected SO-101 leader.
pub struct Leader {
    side: Side,
    arm: Arm,
    care: Care,
    clock: Arc<dyn Clock>,
    shut_down: bool,
}

/// What to connect.
pub(super) fn settings(side: Side, config: &schema::Teleop) -> Settings<'_> {
    Settings {
        side,
        place: LEADER_PLACE,
        sim: SimKind::Leader,
        port: config.port.as_deref(),
        id: config.id.as_deref(),
        calibration_dir: config.calibration_dir.as_deref(),
        use_degrees: config.use_degrees,
        retries: config.num_read_retries,
    }
}

impl Leader {
    /// Connects and configures the leader; its motors stay limp.
    pub fn connect(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Leader, ArmError> {
        Leader::connect_side(Side::Only, config, clock)
    }

    /// As [`Leader::connect`], one of a pair.
    pub fn connect_side(side: Side, config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Leader, ArmError> {
        let mut arm = Arm::connect(&settings(side, config), clock)?;
        for id in IDS {
            arm.write(id, reg::OPERATING_MODE, 0)?;
        }
        // It is limp, and warms up by the room's sun only; what its motors complain of themselves is said.
        let care = Care::new(&arm, &OnMotorFault::All(MotorPolicy::Warn), f64::INFINITY);
        Ok(Leader { side, arm, care, clock: clock.clone(), shut_down: false })
    }
}

impl Teleop for Leader {
    fn features(&self) -> Vec<String> {
        features_of(self.side)
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        let read = self.arm.values(deadline);
        self.care.listen(&mut self.arm.bus, silent(&read), self.clock.now().mono_ns);
        Ok(Reading::from(&read?))
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
                tracing::warn!("{}: {error}", self.side.of("leader"));
            }
        }
    }
}
