//! Everything that can go wrong with an arm.

use super::calibration::CalibrationError;
use super::feetech::packet::ErrorBits;
use super::replay::ReplayError;
use std::time::Duration;

/// A motor as people know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Motor {
    pub id: u8,
    pub name: &'static str,
}

impl std::fmt::Display for Motor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "motor {} ({})", self.id, self.name)
    }
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why an arm does not answer, or is not used. `port` is the path of its serial port.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    #[error("{table}.port is not set: expected a serial port such as /dev/serial/by-id/..., or \"sim\"")]
    NoPort { table: &'static str },
    #[error("there is no serial port {port}; {}; plug the arm in, or correct the port", match found.as_slice() {
        [] => "no serial port was found".to_string(),
        ports => format!("found: {}", list(ports)),
    })]
    PortAbsent { port: String, found: Vec<String> },
    #[error("the serial port {port} is in use by {holder}")]
    PortBusy { port: String, holder: String },
    #[error(
        "no permission to open the serial port {port}; add yourself to its group with `sudo usermod -aG dialout $USER` and log in again"
    )]
    PortPermission { port: String },
    #[error("{port} cannot be used as a serial port: {reason}; check the port in the configuration")]
    PortUnusable { port: String, reason: String },
    #[error("the serial port {port} was lost: {source}; check the USB cable and the arm's power")]
    PortLost { port: String, source: std::io::Error },

    #[error("{port}: {motor} did not answer within {} ms; check its cable and the arm's power", waited.as_millis())]
    Timeout { port: String, motor: Motor, waited: Duration },
    #[error("{port}: a reply came with a wrong checksum while {motor} was asked; check the cables")]
    Checksum { port: String, motor: Motor },
    #[error("{port}: another reply came than the one {motor} was asked for; it is not used")]
    Foreign { port: String, motor: Motor },
    #[error(
        "{port}: {motor} reports an error: {bits}; free the joint and let the motor cool, check the power supply, then switch the arm's power off and on"
    )]
    Servo { port: String, motor: Motor, bits: ErrorBits },

    #[error("{port}: motors missing: expected {}, found {}; {}", list(expected), if found.is_empty() { "none".into() } else { list(found) },
        if found.is_empty() { "check the arm's power, and that this is the arm's port" } else { "check the cable before the first missing motor, and its id" })]
    MotorsMissing { port: String, expected: Vec<Motor>, found: Vec<Motor> },
    #[error(
        "{port}: {motor} has model number {found}, expected {expected} (STS3215); check that this is the arm's port"
    )]
    WrongModel { port: String, motor: Motor, expected: i32, found: i32 },
    #[error(
        "{port}: the motors' firmware differs: {}; expected the same in all; update it with Feetech's software",
        list(versions)
    )]
    MixedFirmware { port: String, versions: Vec<String> },
    #[error(
        "{port}: {motor} did not keep a value: {register} was set to {written} and reads {read}; switch the arm's power off and on and try again"
    )]
    NotKept { port: String, motor: Motor, register: &'static str, written: i32, read: i32 },
    #[error(transparent)]
    Calibration(#[from] CalibrationError),

    #[error("the action has {found} values, expected {expected}: one for each motor")]
    WrongLength { expected: usize, found: usize },
    #[error("the goal {value} for {motor} is not a position; the motor keeps its last goal")]
    Goal { motor: Motor, value: f32 },
    #[error("robot.max_relative_target: {0}")]
    MaxRelativeTarget(String),
    #[error("teleop.max_speed: {0}")]
    MaxSpeed(String),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(
        "port = \"sim\": the simulated servo bus needs a pseudo terminal, which this system refuses ({0}): mount devpts on /dev/pts, as containers may lack"
    )]
    Simulator(std::io::Error),
    #[error("the {arm}'s thread panicked ({words}): a bug, please report it; the arm is opened again by itself")]
    Panicked { arm: &'static str, words: String },
}

impl ArmError {
    /// What sort of error it is, from a bounded set: a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            ArmError::PortAbsent { .. }
            | ArmError::PortBusy { .. }
            | ArmError::PortPermission { .. }
            | ArmError::PortUnusable { .. }
            | ArmError::PortLost { .. } => "port",
            ArmError::Timeout { .. } => "timeout",
            ArmError::Checksum { .. } => "checksum",
            ArmError::Foreign { .. } => "protocol",
            ArmError::Servo { bits, .. } => bits.kind(),
            ArmError::MotorsMissing { .. } | ArmError::WrongModel { .. } | ArmError::MixedFirmware { .. } => "motors",
            ArmError::Calibration(_) => "calibration",
            ArmError::NotKept { .. } => "not_kept",
            ArmError::WrongLength { .. } | ArmError::Goal { .. } => "goal",
            ArmError::NoPort { .. } | ArmError::MaxRelativeTarget(_) | ArmError::MaxSpeed(_) | ArmError::Replay(_) => {
                "config"
            }
            ArmError::Simulator(_) => "simulator",
            ArmError::Panicked { .. } => "panic",
        }
    }

    /// Every value of [`ArmError::kind`], for metrics that exist from the start.
    pub const KINDS: [&'static str; 15] = [
        "port",
        "timeout",
        "checksum",
        "protocol",
        "overload",
        "overheat",
        "voltage",
        "servo_error",
        "motors",
        "calibration",
        "not_kept",
        "goal",
        "config",
        "simulator",
        "panic",
    ];

    /// Those of errors that are about one motor: see [`ArmError::motor`].
    pub const MOTOR_KINDS: [&'static str; 10] = [
        "timeout",
        "checksum",
        "protocol",
        "overload",
        "overheat",
        "voltage",
        "servo_error",
        "motors",
        "not_kept",
        "goal",
    ];

    /// True when the port is gone: only opening it again can help.
    pub fn is_fatal(&self) -> bool {
        self.kind() == "port"
    }

    /// The motor it is about, where it is about one: a metric label.
    pub fn motor(&self) -> Option<Motor> {
        match self {
            ArmError::Timeout { motor, .. }
            | ArmError::Checksum { motor, .. }
            | ArmError::Foreign { motor, .. }
            | ArmError::Servo { motor, .. }
            | ArmError::WrongModel { motor, .. }
            | ArmError::NotKept { motor, .. }
            | ArmError::Goal { motor, .. } => Some(*motor),
            _ => None,
        }
    }
}
