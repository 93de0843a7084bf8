//! The leader: limp, moved by hand, only read.

use super::{Arm, IDS, LEADER_PLACE, Settings, features};
use crate::arm::feetech::registers as reg;
use crate::arm::sim::SimKind;
use crate::arm::{ArmError, Reading, Teleop};
use crate::clock::Clock;
use crate::config::schema;
use std::sync::Arc;
use std::time::Instant;

/// A connected SO-101 leader.
pub struct Leader {
    arm: Arm,
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
        retries: config.num_read_retries,
    }
}

impl Leader {
    /// Connects and configures the leader; its motors stay limp.
    pub fn connect(config: &schema::Teleop, clock: &Arc<dyn Clock>) -> Result<Leader, ArmError> {
        let mut arm = Arm::connect(&settings(config), clock)?;
        for id in IDS {
            arm.write(id, reg::OPERATING_MODE, 0)?;
        }
        Ok(Leader { arm, shut_down: false })
    }
}

impl Teleop for Leader {
    fn features(&self) -> Vec<String> {
        features()
    }

    fn action(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        Ok(Reading::from(&self.arm.values(deadline)?))
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.arm.bus.take_faults()
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
