//! The follower: observed, and moved to goals.

use super::care::Care;
use super::present::{Present, silent};
use super::{Arm, FOLLOWER_PLACE, GRIPPER, GRIPPER_LIMITS, IDS, Settings, features_of};
use crate::arm::feetech::registers as reg;
use crate::arm::motors::Held;
use crate::arm::normalise::normalise;
use crate::arm::ramp::Ramp;
use crate::arm::sim::SimKind;
use crate::arm::{ArmError, Health, Reading, Robot, per_motor};
use crate::clock::Clock;
use crate::config::arms::Side;
use crate::config::schema::{self, PerMotor};
use std::sync::Arc;
use std::time::Instant;

/// After this long without a command the next ones are approached like the first.
const RESUME_GAP_NS: u64 = 2_000_000_000;
/// The longest time between two commands that the ramp makes good for in one step.
const LONGEST_RAMP_STEP_NS: u64 = 100_000_000;

/// A connected SO-101 follower, torque on.
pub struct Follower {
    side: Side,
    arm: Arm,
    clock: Arc<dyn Clock>,
    /// Largest distance of a goal from the present position, for each motor.
    max_relative_target: Option<Vec<f64>>,
    disable_torque: bool,
    /// The present values, if they were read since the last goal was sent.
    present: Option<Present>,
    /// The last values that were read.
    last: Vec<f64>,
    /// What the motors were last told.
    goals: Vec<f32>,
    /// The clock's time of the last goals.
    sent_ns: u64,
    ramp: Ramp,
    /// The way to a leader that was away takes at least so long.
    ramp_s: f64,
    care: Care,
    kept: Vec<Kept>,
    shut_down: bool,
}

/// What became of a motor because of a fault.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    /// Nothing: it follows.
    No,
    /// It has this goal, which it has been told, or not yet.
    At { goal: f32, told: bool },
    /// It has no torque, or is to have none.
    Limp { off: bool },
}

/// What to connect.
pub(super) fn settings(side: Side, config: &schema::Robot) -> Settings<'_> {
    Settings {
        side,
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
        Follower::connect_side(Side::Only, config, clock)
    }

    /// As [`Follower::connect`], one of a pair.
    pub fn connect_side(side: Side, config: &schema::Robot, clock: &Arc<dyn Clock>) -> Result<Follower, ArmError> {
        let max_relative_target = max_relative_target(config.max_relative_target.as_ref())?;
        let mut arm = Arm::connect(&settings(side, config), clock)?;
        let goals = match hold(&mut arm, config) {
            Ok(goals) => goals,
            Err(error) => {
                // Some motors may already have torque; an arm that is not connected must not keep it.
                for further in arm.torque_off() {
                    tracing::warn!("{}: {further}", side.of("follower"));
                }
                return Err(error);
            }
        };
        Ok(Follower {
            side,
            clock: clock.clone(),
            max_relative_target,
            disable_torque: config.disable_torque_on_disconnect,
            present: None,
            last: goals.iter().map(|value| f64::from(*value)).collect(),
            sent_ns: clock.now().mono_ns,
            ramp: Ramp::new(goals.len()),
            ramp_s: 0.0,
            care: Care::new(&arm, &config.on_motor_fault, config.max_temperature_c),
            kept: vec![Kept::No; goals.len()],
            goals,
            arm,
            shut_down: false,
        })
    }

    /// What the motors' faults ask for.
    fn heed(&mut self) {
        for (i, kept) in self.kept.iter_mut().enumerate() {
            *kept = match (self.care.held(i), *kept) {
                (Held::Hold, Kept::No) => Kept::At { goal: self.last[i] as f32, told: false },
                (Held::Limp, Kept::No | Kept::At { .. }) => Kept::Limp { off: false },
                (Held::No, Kept::At { .. }) => {
                    self.ramp.start_joint(i);
                    Kept::No
                }
                (_, kept) => kept,
            };
        }
    }

    /// Motors that are kept have other goals than the leader's.
    fn keep(&self, goals: &mut [f32]) {
        for ((goal, kept), last) in goals.iter_mut().zip(&self.kept).zip(&self.last) {
            match kept {
                Kept::No => {}
                Kept::At { goal: there, .. } => *goal = *there,
                // Nothing drives it.
                Kept::Limp { .. } => *goal = *last as f32,
            }
        }
    }

    /// Does at once to motors with a fault what no goal has done yet.
    fn enforce(&mut self) {
        for i in 0..self.kept.len() {
            let joint = &self.arm.joints[i];
            let (id, until) = (joint.motor.id, Instant::now() + self.arm.bus.patience);
            let (register, value, done) = match self.kept[i] {
                Kept::At { goal, told: false } => {
                    let step = joint.step(goal);
                    (reg::GOAL_POSITION, step, Kept::At { goal, told: true })
                }
                Kept::Limp { off: false } => (reg::TORQUE_ENABLE, 0, Kept::Limp { off: true }),
                _ => continue,
            };
            match self.arm.bus.write(id, register, value, until) {
                Ok(()) => self.kept[i] = done,
                Err(error) => self.care.note(error),
            }
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
            self.care.note(ArmError::Held { motor: self.arm.joints[index].motor });
        }
        Ok(())
    }
}

impl Robot for Follower {
    fn features(&self) -> Vec<String> {
        features_of(self.side)
    }

    fn observe(&mut self, deadline: Instant) -> Result<Reading, ArmError> {
        // A reading that fails must not leave an older one to be taken for the present.
        self.present = None;
        let read = self.arm.values(deadline);
        if let Ok(present) = &read {
            self.last.clone_from(&present.values);
        }
        self.care.listen(&mut self.arm.bus, silent(&read), self.clock.now().mono_ns);
        self.heed();
        let present = read?;
        let reading = Reading::from(&present);
        self.present = Some(present);
        Ok(reading)
    }

    fn approach(&mut self, seconds: f64) {
        self.ramp_s = seconds;
        self.ramp.start(seconds);
        // The way begins now, however long ago the last goal was.
        self.sent_ns = self.clock.now().mono_ns;
    }

    fn send(&mut self, action: &[f32], deadline: Instant) -> Result<Vec<f32>, ArmError> {
        if action.len() != self.goals.len() {
            return Err(ArmError::WrongLength { expected: self.goals.len(), found: action.len() });
        }
        let now_ns = self.clock.now().mono_ns;
        if now_ns.saturating_sub(self.sent_ns) > RESUME_GAP_NS {
            self.approach(self.ramp_s);
        }
        let gap_ns = now_ns.saturating_sub(self.sent_ns);
        // A value that is no position must not keep the other joints from theirs.
        let finite = |(goal, last): (&f32, &f32)| if goal.is_finite() { *goal } else { *last };
        let mut goals: Vec<f32> = action.iter().zip(&self.goals).map(finite).collect();
        self.keep(&mut goals);
        self.ramp.step(&mut goals, &self.goals, gap_ns.min(LONGEST_RAMP_STEP_NS) as f64 / 1e9);
        self.clip(&mut goals, deadline)?;
        self.keep(&mut goals);
        let mut steps = Vec::with_capacity(goals.len());
        for (i, joint) in self.arm.joints.iter().enumerate() {
            if !action[i].is_finite() {
                self.care.note(ArmError::Goal { motor: joint.motor, value: action[i] });
            }
            // The motor itself goes no further; what is said to be sent is what it is given.
            let (low, high) = joint.limits();
            goals[i] = goals[i].clamp(low, high);
            if !matches!(self.kept[i], Kept::Limp { .. }) {
                steps.push((joint.motor.id, joint.step(goals[i])));
            }
        }
        if !steps.is_empty() {
            self.arm.bus.sync_write(reg::GOAL_POSITION, &steps)?;
        }
        for kept in &mut self.kept {
            if let Kept::At { told, .. } = kept {
                *told = true;
            }
        }
        self.present = None;
        self.sent_ns = now_ns;
        self.goals.clone_from(&goals);
        Ok(goals)
    }

    fn look_after(&mut self, deadline: Instant) {
        self.enforce();
        self.care.ask(&mut self.arm, self.clock.now().mono_ns, deadline);
        self.heed();
    }

    fn health(&self) -> Vec<Health> {
        self.care.health()
    }

    fn take_faults(&mut self) -> Vec<ArmError> {
        self.care.take_faults(&mut self.arm.bus)
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
                tracing::error!("{}: torque may still be on: {error}", self.side.of("follower"));
            }
        }
    }
}

/// Sets the position loop, and torque with the present position as the goal. Answers with that position's values.
fn hold(arm: &mut Arm, config: &schema::Robot) -> Result<Vec<f32>, ArmError> {
    let position_loop = [
        (reg::P_COEFFICIENT, config.position_p_coefficient),
        (reg::I_COEFFICIENT, config.position_i_coefficient),
        (reg::D_COEFFICIENT, config.position_d_coefficient),
    ];
    for id in IDS {
        arm.write(id, reg::OPERATING_MODE, 0)?;
        for (register, value) in position_loop {
            arm.write(id, register, i32::from(value))?;
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
