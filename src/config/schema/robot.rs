//! The arms: what is recorded, and what moves it.

use super::Camera;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The arm that is recorded, and the cameras around it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Robot {
    /// `so101_follower`, `bi_so101_follower` for two of them, or `none` for cameras only.
    #[serde(rename = "type")]
    pub kind: RobotKind,
    /// Serial port, best by its stable name under /dev/serial/by-id; `sim` starts a simulated servo bus.
    pub port: Option<String>,
    /// Only for `bi_so101_follower`: the left arm.
    pub left_arm_config: Option<FollowerArm>,
    /// Only for `bi_so101_follower`: the right arm.
    pub right_arm_config: Option<FollowerArm>,
    /// Names the calibration file `robots/so_follower/<id>.json`; of two arms `<id>_left.json` and `<id>_right.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; false: −100…100 of the calibrated range.
    pub use_degrees: bool,
    /// Largest step of a goal beyond the present position, in normalised units: one number, or one for each motor.
    pub max_relative_target: Option<PerMotor>,
    /// Switch the motors' torque off when the recorder ends.
    pub disable_torque_on_disconnect: bool,
    /// Proportional gain of the motors' position loop.
    pub position_p_coefficient: u8,
    /// Integral gain of the motors' position loop.
    pub position_i_coefficient: u8,
    /// Derivative gain of the motors' position loop.
    pub position_d_coefficient: u8,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
    /// What becomes of a motor that is overloaded, too hot, or has a wrong voltage: `warn` says so; `hold` also keeps it where it is until that is over; `torque_off` also makes it limp until the arm is connected anew. One word, or one for each motor.
    pub on_motor_fault: OnMotorFault,
    /// A motor this hot, in degrees Celsius, counts as too hot; the motors themselves give up at 70.
    pub max_temperature_c: f64,
    /// When the arm, or what it follows, is lost: `hold` goes on with its last values, marked; `pause` ends and keeps the episode, and begins the next one when it is back; `discard` throws the episode away and records it anew when it is back; `stop` ends and keeps the episode, and the run.
    pub on_loss: OnLoss,
    /// The cameras by name: a camera `front` becomes the feature `observation.images.front`.
    pub cameras: BTreeMap<String, Camera>,
}

/// What becomes of a motor that reports a fault, for all motors or for each by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged, expecting = "another word, expected warn, hold or torque_off, or one of them for each motor by name")]
pub enum OnMotorFault {
    /// The same for every motor.
    All(MotorPolicy),
    /// By motor name, such as `gripper` or `left_gripper`; motors left out: `warn`.
    ByMotor(BTreeMap<String, MotorPolicy>),
}

/// What becomes of a motor that reports a fault.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum MotorPolicy {
    /// It is said: in the log, as an event and in metrics.
    #[default]
    Warn,
    /// It is kept where it is until the fault is over.
    Hold,
    /// Its torque is switched off until the arm is connected anew.
    TorqueOff,
}

/// Which robot is recorded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RobotKind {
    /// No arm: cameras only.
    #[default]
    None,
    /// An SO-101 follower arm; an SO-100 is one too.
    #[serde(alias = "so100_follower", alias = "so_follower")]
    So101Follower,
    /// Two of them, a left and a right one.
    #[serde(alias = "bi_so100_follower", alias = "bi_so_follower")]
    BiSo101Follower,
}

/// One follower arm of two.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct FollowerArm {
    /// Serial port of this arm, best by its stable name under /dev/serial/by-id; `sim` starts a simulated servo bus.
    pub port: Option<String>,
    /// Degrees for the five joints; false: −100…100 of the calibrated range.
    pub use_degrees: bool,
    /// Largest step of a goal beyond the present position, in normalised units: one number, or one for each motor, without `left_` or `right_`.
    pub max_relative_target: Option<PerMotor>,
    /// Switch the motors' torque off when the recorder ends.
    pub disable_torque_on_disconnect: bool,
    /// Proportional gain of the motors' position loop.
    pub position_p_coefficient: u8,
    /// Integral gain of the motors' position loop.
    pub position_i_coefficient: u8,
    /// Derivative gain of the motors' position loop.
    pub position_d_coefficient: u8,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
}

/// A limit for every motor, or one for each by name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum PerMotor {
    /// The same for every motor.
    All(f64),
    /// By motor name, such as `shoulder_pan`.
    ByMotor(BTreeMap<String, f64>),
}

/// What becomes of the episode when a device is lost. It is opened again in any case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnLoss {
    /// Rows go on with the last value, marked.
    #[default]
    Hold,
    /// The episode is ended and kept; the next one begins when the device is back.
    Pause,
    /// The episode is thrown away, and recorded anew when the device is back.
    Discard,
    /// The episode is ended and kept, and the run ends.
    Stop,
}

/// What the robot follows.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Teleop {
    /// `so101_leader`, `bi_so101_leader` for two of them, `replay` (a motion that was recorded, without a person), or `none`.
    #[serde(rename = "type")]
    pub kind: TeleopKind,
    /// Serial port of the leader; `sim` starts a simulated leader that moves by itself.
    pub port: Option<String>,
    /// Only for `bi_so101_leader`: the left arm.
    pub left_arm_config: Option<LeaderArm>,
    /// Only for `bi_so101_leader`: the right arm.
    pub right_arm_config: Option<LeaderArm>,
    /// Names the calibration file `teleoperators/so_leader/<id>.json`; of two arms `<id>_left.json` and `<id>_right.json`.
    pub id: Option<String>,
    /// Folder that holds `<id>.json`; left out: where LeRobot keeps it.
    pub calibration_dir: Option<PathBuf>,
    /// Degrees for the five joints, as LeRobot since 0.4.4; must equal the robot's.
    pub use_degrees: bool,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
    /// Only for `replay`: the root of a LeRobot v3.0 data set, or a CSV file with a header of the robot's features and, where it has time stamps, `timestamp` in seconds.
    pub path: Option<PathBuf>,
    /// Only for `replay` of a data set: the episode whose `action` is replayed, or, in a data set without, `observation.state`.
    pub episode: Option<u64>,
    /// Only for `replay` of a file without time stamps: its rows a second; left out: `dataset.fps`.
    pub fps: Option<u32>,
    /// Only for `replay`: fastest motion of a joint in normalised units a second: one number, or one for each motor.
    pub max_speed: PerMotor,
    /// The follower's way to the leader's pose, at the start and after a pause, takes at least so long in seconds; for `replay` its way to the motion's first pose.
    pub ramp_s: f64,
}

/// Which leader moves the robot.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum TeleopKind {
    /// Nothing: without an arm.
    #[default]
    None,
    /// An SO-101 leader arm; an SO-100 is one too.
    #[serde(alias = "so100_leader", alias = "so_leader")]
    So101Leader,
    /// Two of them, a left and a right one.
    #[serde(alias = "bi_so100_leader", alias = "bi_so_leader")]
    BiSo101Leader,
    /// A motion that was recorded, or written to a file.
    Replay,
}

/// One leader arm of two.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LeaderArm {
    /// Serial port of this arm; `sim` starts a simulated leader that moves by itself.
    pub port: Option<String>,
    /// Degrees for the five joints; must equal the follower's on this side.
    pub use_degrees: bool,
    /// How often a reading that fails is tried again, as long as the tick has time for it.
    pub num_read_retries: u32,
}

/// The values of a table that is left out: those of its keys.
impl Default for Robot {
    fn default() -> Robot {
        Robot {
            kind: RobotKind::None,
            port: None,
            left_arm_config: None,
            right_arm_config: None,
            id: None,
            calibration_dir: None,
            use_degrees: true,
            max_relative_target: None,
            disable_torque_on_disconnect: true,
            position_p_coefficient: 16,
            position_i_coefficient: 0,
            position_d_coefficient: 32,
            num_read_retries: 2,
            on_motor_fault: OnMotorFault::All(MotorPolicy::Warn),
            max_temperature_c: 60.0,
            on_loss: OnLoss::Hold,
            cameras: BTreeMap::new(),
        }
    }
}

/// As of a single arm.
impl Default for FollowerArm {
    fn default() -> FollowerArm {
        let Robot {
            port,
            use_degrees,
            max_relative_target,
            disable_torque_on_disconnect,
            position_p_coefficient,
            position_i_coefficient,
            position_d_coefficient,
            num_read_retries,
            ..
        } = Robot::default();
        FollowerArm {
            port,
            use_degrees,
            max_relative_target,
            disable_torque_on_disconnect,
            position_p_coefficient,
            position_i_coefficient,
            position_d_coefficient,
            num_read_retries,
        }
    }
}

/// As of a single arm.
impl Default for LeaderArm {
    fn default() -> LeaderArm {
        let Teleop { port, use_degrees, num_read_retries, .. } = Teleop::default();
        LeaderArm { port, use_degrees, num_read_retries }
    }
}

impl Default for Teleop {
    fn default() -> Teleop {
        Teleop {
            kind: TeleopKind::None,
            port: None,
            left_arm_config: None,
            right_arm_config: None,
            id: None,
            calibration_dir: None,
            use_degrees: true,
            num_read_retries: 2,
            path: None,
            episode: None,
            fps: None,
            max_speed: PerMotor::All(180.0),
            ramp_s: 2.0,
        }
    }
}
