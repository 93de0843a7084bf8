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

/// Serial ports there are, beside the one in question.
fn ports(found: &[String]) -> String {
    match found {
        [] => "no other serial port was found".into(),
        ports => format!("found: {}", list(ports)),
    }
}

/// Why an arm does not answer, or is not used. `port` is the path of its serial port.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    #[error("{table}.port is not set: expected a serial port such as /dev/serial/by-id/..., or \"sim\"")]
    NoPort { table: &'static str },
    #[error("there is no serial port {port}; {}; plug the arm in, or correct the port", ports(found))]
    PortAbsent { port: String, found: Vec<String> },
    #[error("the serial port {port} is in use by {holder}")]
    PortBusy { port: String, holder: String },
    #[error("no permission to open the serial port {port}: {remedy}")]
    PortPermission { port: String, remedy: String },
    #[error("{port} cannot be used as a serial port: {reason}; check the port in the configuration")]
    PortUnusable { port: String, reason: String },
    #[error("the serial port {port} was lost: {source}; check the USB cable and the arm's power")]
    PortLost { port: String, source: std::io::Error },

    #[error("{port}: {motor} did not answer within {} ms; check its cable and the arm's power", waited.as_millis())]
    Timeout { port: String, motor: Motor, waited: Duration },
    #[error("{port}: no motor answered within {} ms; check the arm's power and its USB cable", waited.as_millis())]
    NoAnswer { port: String, waited: Duration },
    /// The others go on; only connecting anew can help.
    #[error("{port}: {motor} has been silent for {} ms, while others answer; check its cable", waited.as_millis())]
    MotorLost { port: String, motor: Motor, waited: Duration },
    #[error("{port}: a reply came with a wrong checksum while {motor} was asked; check the cables")]
    Checksum { port: String, motor: Motor },
    #[error("{port}: {bytes} bytes came that belong to no reply; check the cables")]
    Noise { port: String, bytes: usize },
    #[error("{port}: another reply came than the one {motor} was asked for; it is not used")]
    Foreign { port: String, motor: Motor },
    #[error(
        "{port}: {motor} reports an error: {bits}; free the joint and let the motor cool, check the power supply, then switch the arm's power off and on"
    )]
    Servo { port: String, motor: Motor, bits: ErrorBits },

    #[error(
        "{port}: {motor} reports a wrong input voltage: it has {volts} V and allows {min} V to {max} V; use the power supply that belongs to the arm, then switch its power off and on"
    )]
    Voltage { port: String, motor: Motor, volts: f64, min: f64, max: f64 },

    #[error(
        "{port}: {}; check the arm's power supply, and that this is the arm's port ({})",
        if *garbled { "something answers, but not as a servo does" } else { "no servo answers (motors found: none)" },
        ports(others)
    )]
    NoMotors { port: String, garbled: bool, others: Vec<String> },
    #[error(
        "{port}: motors missing: expected {}, found {}; check the cable before the first missing motor, and its id",
        list(expected),
        list(found)
    )]
    MotorsMissing { port: String, expected: Vec<Motor>, found: Vec<Motor> },
    #[error(
        "{port}: {}{}; connect one of them alone and give it its id with `recorder setup-motors`{}",
        if *collided { format!("the replies of {motor} are always broken, as those of two motors with one id are") } else { format!("two motors have the id of {motor}") },
        match missing.as_slice() { [] => String::new(), missing => format!("; missing: {}, so one of the two is likely it, with an id that was never set", list(missing)) },
        if *collided { "; with one motor only, check its cable" } else { "" }
    )]
    DoubledId { port: String, motor: Motor, missing: Vec<Motor>, collided: bool },
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
    #[error(
        "{motor} keeps its last goal: it has not told its position in time, from which robot.max_relative_target counts"
    )]
    Held { motor: Motor },
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
    #[error("no thread for the right arm can be started: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
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
            ArmError::Timeout { .. } | ArmError::NoAnswer { .. } | ArmError::MotorLost { .. } => "timeout",
            ArmError::Checksum { .. } => "checksum",
            ArmError::Noise { .. } => "noise",
            ArmError::Foreign { .. } => "protocol",
            ArmError::Servo { bits, .. } => bits.kind(),
            ArmError::Voltage { .. } => "voltage",
            ArmError::NoMotors { .. }
            | ArmError::MotorsMissing { .. }
            | ArmError::DoubledId { .. }
            | ArmError::WrongModel { .. }
            | ArmError::MixedFirmware { .. } => "motors",
            ArmError::Calibration(_) => "calibration",
            ArmError::NotKept { .. } => "not_kept",
            ArmError::WrongLength { .. } | ArmError::Goal { .. } | ArmError::Held { .. } => "goal",
            ArmError::NoPort { .. } | ArmError::MaxRelativeTarget(_) | ArmError::MaxSpeed(_) | ArmError::Replay(_) => {
                "config"
            }
            ArmError::Simulator(_) => "simulator",
            ArmError::Thread(_) => "thread",
            ArmError::Panicked { .. } => "panic",
        }
    }

    /// Every value of [`ArmError::kind`], for metrics that exist from the start.
    pub const KINDS: [&'static str; 17] = [
        "port",
        "timeout",
        "checksum",
        "noise",
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
        "thread",
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

    /// True when the port, or one of the motors, is gone: only connecting again can help.
    pub fn is_fatal(&self) -> bool {
        self.kind() == "port" || matches!(self, ArmError::MotorLost { .. })
    }

    /// The motor it is about, where it is about one: a metric label.
    pub fn motor(&self) -> Option<Motor> {
        match self {
            ArmError::Timeout { motor, .. }
            | ArmError::MotorLost { motor, .. }
            | ArmError::Voltage { motor, .. }
            | ArmError::DoubledId { motor, .. }
            | ArmError::Held { motor }
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
