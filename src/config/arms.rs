//! The arms that `[robot]` and `[teleop]` stand for: none, one, or a left and a right one.
//!
//! Each is told as a table of one arm, so that whoever opens, checks or calibrates an arm knows of single ones only.

use super::schema::{Config, FollowerArm, LeaderArm, Robot, RobotKind, Teleop, TeleopKind};
use std::collections::BTreeMap;

/// Which arm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// There is no other.
    Only,
    Left,
    Right,
}

impl Side {
    /// What the names of its motors and features begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Side::Only => "",
            Side::Left => "left_",
            Side::Right => "right_",
        }
    }

    /// The table of the configuration that holds its keys, below `robot` or `teleop`.
    pub fn table(self, parent: &str) -> String {
        match self {
            Side::Only => parent.to_string(),
            Side::Left => format!("{parent}.left_arm_config"),
            Side::Right => format!("{parent}.right_arm_config"),
        }
    }

    /// "left follower", or just "follower".
    pub fn of(self, arm: &str) -> String {
        format!("{}{arm}", self.prefix().replace('_', " "))
    }

    /// The id of its calibration file, as LeRobot makes it of the pair's.
    fn id(self, id: Option<&String>) -> Option<String> {
        id.map(|id| match self {
            Side::Only => id.clone(),
            Side::Left => format!("{id}_left"),
            Side::Right => format!("{id}_right"),
        })
    }
}

impl RobotKind {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            RobotKind::None => "none",
            RobotKind::So101Follower => "so101_follower",
            RobotKind::BiSo101Follower => "bi_so101_follower",
        }
    }

    /// Its arms, in the order of the features.
    pub fn sides(self) -> &'static [Side] {
        match self {
            RobotKind::None => &[],
            RobotKind::So101Follower => &[Side::Only],
            RobotKind::BiSo101Follower => &[Side::Left, Side::Right],
        }
    }
}

impl TeleopKind {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            TeleopKind::None => "none",
            TeleopKind::Replay => "replay",
            TeleopKind::So101Leader => "so101_leader",
            TeleopKind::BiSo101Leader => "bi_so101_leader",
        }
    }

    /// The arms that it leads with.
    pub fn sides(self) -> &'static [Side] {
        match self {
            TeleopKind::None | TeleopKind::Replay => &[],
            TeleopKind::So101Leader => &[Side::Only],
            TeleopKind::BiSo101Leader => &[Side::Left, Side::Right],
        }
    }
}

/// The robot's arms, each as a robot of one arm, in the order of the features. Cameras are no part of them; what becomes of
/// motors keeps the robot's names.
pub fn followers(robot: &Robot) -> Vec<(Side, Robot)> {
    let single = |side: Side| {
        let common = Robot { cameras: BTreeMap::new(), ..robot.clone() };
        let config = match side {
            Side::Only => None,
            Side::Left => robot.left_arm_config.as_ref(),
            Side::Right => robot.right_arm_config.as_ref(),
        };
        let (left_arm_config, right_arm_config) = (None, None);
        match config.cloned() {
            None => Robot { left_arm_config, right_arm_config, ..common },
            Some(FollowerArm {
                port,
                use_degrees,
                max_relative_target,
                disable_torque_on_disconnect,
                position_p_coefficient,
                position_i_coefficient,
                position_d_coefficient,
                num_read_retries,
            }) => Robot {
                kind: RobotKind::So101Follower,
                port,
                left_arm_config,
                right_arm_config,
                id: side.id(robot.id.as_ref()),
                use_degrees,
                max_relative_target,
                disable_torque_on_disconnect,
                position_p_coefficient,
                position_i_coefficient,
                position_d_coefficient,
                num_read_retries,
                ..common
            },
        }
    };
    robot.kind.sides().iter().map(|side| (*side, single(*side))).collect()
}

/// The leader's arms, each as a leader of one arm, in the order of the features.
pub fn leaders(teleop: &Teleop) -> Vec<(Side, Teleop)> {
    let single = |side: Side| {
        let config = match side {
            Side::Only => None,
            Side::Left => teleop.left_arm_config.as_ref(),
            Side::Right => teleop.right_arm_config.as_ref(),
        };
        let common = Teleop { left_arm_config: None, right_arm_config: None, ..teleop.clone() };
        match config.cloned() {
            None => common,
            Some(LeaderArm { port, use_degrees, num_read_retries }) => Teleop {
                kind: TeleopKind::So101Leader,
                port,
                id: side.id(teleop.id.as_ref()),
                use_degrees,
                num_read_retries,
                ..common
            },
        }
    };
    teleop.kind.sides().iter().map(|side| (*side, single(*side))).collect()
}

/// Puts simulated arms in the place of all.
pub fn simulate(config: &mut Config) {
    let Config { robot, teleop, .. } = config;
    let sim = || Some("sim".to_string());
    (robot.port, teleop.port) = match robot.kind {
        RobotKind::So101Follower => (sim(), sim()),
        RobotKind::None | RobotKind::BiSo101Follower => (None, None),
    };
    for arm in [&mut robot.left_arm_config, &mut robot.right_arm_config].into_iter().flatten() {
        arm.port = sim();
    }
    for arm in [&mut teleop.left_arm_config, &mut teleop.right_arm_config].into_iter().flatten() {
        arm.port = sim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{MotorPolicy, OnMotorFault};

    #[test]
    fn a_pair_is_two_arms_of_its_own() {
        let arm = |port: &str| FollowerArm { port: Some(port.into()), ..FollowerArm::default() };
        let policies = [("left_gripper", MotorPolicy::Hold)];
        let pair = Robot {
            kind: RobotKind::BiSo101Follower,
            id: Some("pair".into()),
            left_arm_config: Some(FollowerArm { use_degrees: false, position_p_coefficient: 20, ..arm("a") }),
            right_arm_config: Some(arm("b")),
            on_motor_fault: OnMotorFault::ByMotor(policies.map(|(motor, policy)| (motor.into(), policy)).into()),
            max_temperature_c: 50.0,
            ..Robot::default()
        };
        let [(Side::Left, left), (Side::Right, right)] = &followers(&pair)[..] else { panic!("two") };
        assert_eq!((left.port.as_deref(), right.port.as_deref()), (Some("a"), Some("b")));
        assert_eq!((left.id.as_deref(), right.id.as_deref()), (Some("pair_left"), Some("pair_right")));
        assert_eq!((left.use_degrees, left.position_p_coefficient, left.max_temperature_c), (false, 20, 50.0));
        assert_eq!((right.use_degrees, right.position_p_coefficient), (true, 16));
        assert_eq!((&left.on_motor_fault, &right.on_motor_fault), (&pair.on_motor_fault, &pair.on_motor_fault));
        let single = Robot { kind: RobotKind::So101Follower, id: Some("one".into()), ..Robot::default() };
        assert_eq!(followers(&single), [(Side::Only, single.clone())]);
        assert_eq!(followers(&Robot::default()), []);
    }
}
