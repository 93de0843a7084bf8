//! The follower: observed, and moved to goals.

use super::present::Present;
use super::{Arm, FOLLOWER_PLACE, GRIPPER, GRIPPER_LIMITS, IDS, PID, Settings, features};
use crate::arm::feetech::registers as reg;
use crate::arm::normalise::{normalise, unnormalise_f32};
use crate::arm::sim::SimKind;
use crate::arm::{ArmError, Reading, Robot, per_motor};
use crate::clock::Clock;
use crate::config::schema::{self, PerMotor};
use std::sync::Arc;
use std::time::Instant;

/// Fastest approach to the first action, in normalised units a second.
pub const RAMP_SPEED: f64 = 90.0;
/// After this long without a command the next ones are approached like the first.
const RESUME_GAP_NS: u64 = 2_000_000_000;
/// The longest time between two commands that the ramp makes good for in one step.
const LONGEST_RAMP_STEP_NS: u64 = 100_000_000;

/// A connected SO-101 follower, torque on.
pub struct Follower {
    arm: Arm,
    clock: Arc<dyn Clock>,
    /// Largest distance of a goal from the present position, for each motor.
    max_relative_target: Option<Vec<f64>>,
    disable_torque: bool,
    /// The present values, if they were read since the last goal was sent.
    present: Option<Present>,
    /// What the motors were last told.
    goals: Vec<f32>,
    /// The clock's time of the last goals.
    sent_ns: u64,
    /// Goals still approach the first action.
    ramping: bool,
    shut_down: bool,
}

/// What to connect.
pub(super) fn settings(config: &schema::Robot) -> Settings<'_> {
    Settings {
        place: FOLLOWER_PLACE,
        sim: SimKind::Follower,
        port: config.port.as_deref(),
        id: config.id.as_deref(),
        calibration_dir: config.calibration_dir.as_deref(),
        use_degrees: config.use_degrees,
        retries: config.num_read_retries,
    }
}

impl Follower {
    /// Connects, configures, and holds the arm where it is.
    pub fn connect(config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<Follower, ArmError> {
        let max_relative_target = max_relative_target(config.max_relative_target.as_ref())?;
        let mut arm = Arm::connect(&settings(config), clock)?;
        let goals = match hold(&mut arm) {
            Ok(goals) => goals,
            Err(error) => {
                // Some motors may already have torque; an arm that is not connected must not keep it.
                for further in arm.torque_off() {
                    tracing::warn!("follower: {further}");
                }
                return Err(error);
            }
        };
        Ok(Follower {
            arm,
            clock: clock.clone(),
            max_relative_target,
            disable_torque: config.disable_torque_on_disconnect,
            present: None,
            goals,
            sent_ns: clock.now().mono_ns,
            ramping: true,
            shut_down: false,
        })
    }

    /// Moves `goals` no faster than the ramp from the last ones, until they have caught up with the action once.
    fn ramp(&mut self, goals: &mut [f32], now_ns: u64) {
        let gap = now_ns.saturating_sub(self.sent_ns);
        self.ramping |= gap > RESUME_GAP_NS;
        if self.ramping {
            let most = RAMP_SPEED * gap.min(LONGEST_RAMP_STEP_NS) as f64 / 1e9;
            let mut caught_up = true;
            for (goal, last) in goals.iter_mut().zip(&self.goals) {
                let step = f64::from(*goal) - f64::from(*last);
                if step.abs() > most {
                    *goal = (f64::from(*last) + step.clamp(-most, most)) as f32;
                    caught_up = false;
                }
            }
            self.ramping = !caught_up;
        }
    }

    /// Keeps `goals` within `max_relative_target` of the present position. A joint whose motor has not told its position in
    /// time keeps its last goal: a step from where it was some time ago could be any step.
    fn clip(&mut self, goals: &mut [f32], deadline: Instant) -> Result<(), ArmError> {
        let Some(limits) = &self.max_relative_target else { return Ok(()) };
        let present = match self.present.take() {
            Some(present) => present,
            None => self.arm.values(deadline)?,
        };
        for ((goal, present), limit) in goals.iter_mut().zip(&present.values).zip(limits) {
            let step = f64::from(*goal) - present;
            if step.abs() > *limit {
                *goal = (present + step.clamp(-limit, *limit)) as f32;
            }
        }
        for index in present.reused {
            goals[index] = self.goals[index];
            self.arm.bus.note(ArmError::Held { motor: self.arm.joints[index].motor });
        }
        Ok(())
    }
}

impl Robot for Follower {
    fn features(&self) -> Vec<String> {
        features()
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        // A reading that fails must not leave an older one to be taken for the present.
        self.present = None;
        let present = self.arm.values(deadline)?;
        let reading = Reading::from(&present);
        self.present = Some(present);
        Ok(reading)
    }

    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        if action.len() != self.goals.len() {
            return Err(ArmError::WrongLength { expected: self.goals.len(), found: action.len() });
        }
        let now_ns = self.clock.now().mono_ns;
        // A value that is no position must not keep the other joints from theirs.
        let finite = |(goal, last): (&f32, &f32)| if goal.is_finite() { *goal } else { *last };
        let mut goals: Vec<f32> = action.iter().zip(&self.goals).map(finite).collect();
        self.ramp(&mut goals, now_ns);
        self.clip(&mut goals, deadline)?;
        let mut steps = Vec::with_capacity(goals.len());
        for (i, joint) in self.arm.joints.iter().enumerate() {
            let mut step = unnormalise_f32(joint.norm, joint.calibration.range(), goals[i]);
            if !action[i].is_finite() || reg::GOAL_POSITION.encode(step).is_none() {
                self.arm.bus.note(ArmError::Goal { motor: joint.motor, value: action[i] });
                goals[i] = self.goals[i];
                step = unnormalise_f32(joint.norm, joint.calibration.range(), goals[i]);
            }
            steps.push((joint.motor.id, step));
        }
        self.arm.bus.sync_write(reg::GOAL_POSITION, &steps)?;
        self.present = None;
        self.sent_ns = now_ns;
        self.goals.clone_from(&goals);
        Ok(goals)
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.arm.bus.take_faults()
    }

    fn shutdown(&mut self) -> Vec<ArmError> {
        self.shut_down = true;
        if self.disable_torque { self.arm.torque_off() } else { Vec::new() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if !self.shut_down {
            for error in self.shutdown() {
                tracing::error!("follower: torque may still be on: {error}");
            }
        }
    }
}

/// Sets the position loop, and torque with the present position as the goal. Answers with that position's values.
fn hold(arm: &mut Arm) -> Result<Vec<f32>, ArmError> {
    for id in IDS {
        arm.write(id, reg::OPERATING_MODE, 0)?;
        for (register, value) in PID {
            arm.write(id, register, value)?;
        }
        if id == GRIPPER {
            for (register, value) in GRIPPER_LIMITS {
                arm.write(id, register, value)?;
            }
        }
    }
    let present = arm.steps(arm.soon())?;
    for (id, step) in IDS.into_iter().zip(&present) {
        arm.write(id, reg::GOAL_POSITION, *step)?;
    }
    for id in IDS {
        arm.write(id, reg::TORQUE_ENABLE, 1)?;
        arm.write(id, reg::LOCK, 1)?;
    }
    let value = |(joint, step): (&super::Joint, i32)| normalise(joint.norm, joint.calibration.range(), step) as f32;
    Ok(arm.joints.iter().zip(present).map(value).collect())
}

/// One limit for each motor.
fn max_relative_target(config: Option<&PerMotor>) -> Result<Option<Vec<f64>>, ArmError> {
    let names = super::MOTORS.map(|(name, _)| name);
    config.map(|limits| per_motor(limits, &names).map_err(ArmError::MaxRelativeTarget)).transpose()
}
