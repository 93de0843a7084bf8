//! `recorder sim-arm`: the simulated servo bus on its own, for any client that speaks to such servos.

use crate::arm::ArmError;
use crate::arm::calibration::{Calibration, CalibrationError};
use crate::arm::sim::{COMMANDS, Link, Motion, Setup, SimBus, SimKind};
use crate::arm::so101::MOTORS;
use crate::clock::SystemClock;
use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Simulate an SO-101 arm behind a serial port of its own, for trying out and testing any program that drives one
///
/// Prints `ready PATH` when PATH can be opened, and obeys commands on standard input, one a line, each answered by a line:
/// `ok`, with what was asked for; or `error: ` and what was expected. Runs until `quit`, SIGINT or SIGTERM, whatever becomes
/// of standard input, and then leaves nothing behind. A port "sim" in lab.toml needs none of this.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(after_help = commands())]
pub struct Arguments {
    /// A follower moves to its goals; a leader is moved as if by a hand
    #[arg(long, value_enum, default_value_t = SimKind::Follower)]
    pub kind: SimKind,
    /// A symbolic link to the pseudo terminal, there as long as that: the stable name of the port
    #[arg(long, value_name = "PATH")]
    pub link: Option<PathBuf>,
    /// The calibration that the servos hold: a file as LeRobot writes it; otherwise one of the simulated arm's own
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Servos as they are delivered: all with id 1, never calibrated, and none connected (`only gripper` connects one)
    #[arg(long, conflicts_with = "calibration")]
    pub new: bool,
    /// How it moves
    #[arg(long, value_enum, default_value_t = Motion::Smooth)]
    pub motion: Motion,
    /// Bytes take as long as on the wire, and servos wait their Return_Delay_Time before they answer
    #[arg(long)]
    pub wire_time: bool,
}

/// Why the arm cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimArmError {
    #[error(transparent)]
    Arm(#[from] ArmError),
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    #[error("--link {}: {source}; expected a path where nothing is yet, in a folder that may be written to", path.display())]
    Link { path: PathBuf, source: io::Error },
}

/// The commands that concern the port itself, beside those of the bus.
const OWN: [(&str, &str); 4] = [
    ("hangup", "the plug is pulled: port and link go away"),
    ("replug", "the port is there again"),
    ("help", "answers with all commands"),
    ("quit", "ends the program"),
];

fn commands() -> String {
    let line = |(usage, what): &(&str, &str)| format!("  {usage:<45} {what}\n");
    let lines: String = COMMANDS.iter().chain(&OWN).map(line).collect();
    format!(
        "Commands:\n{lines}\nMOTOR: a joint's name (the servo in its place, whatever its id is), an id, or all. Where it can be left out \
         all are meant; COUNT is 1. REGISTER: a name of LeRobot's, such as Present_Temperature."
    )
}

/// The running bus and the link to it.
pub struct SimArm {
    link: Option<Link>,
    bus: SimBus,
    path: Option<PathBuf>,
}

impl SimArm {
    pub fn start(arguments: &Arguments) -> Result<SimArm, SimArmError> {
        let mut setup = Setup::new(arguments.kind);
        if let Some(path) = &arguments.calibration {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| CalibrationError::Unreadable { path: path.clone(), source })?;
            setup.calibration = Some(Calibration::parse(&text, path, &MOTORS)?);
        }
        if arguments.new {
            setup.calibration = None;
        }
        setup.motion = arguments.motion;
        setup.wire_time = arguments.wire_time;
        let bus = SimBus::open(setup, Arc::new(SystemClock::default()))?;
        let mut arm = SimArm { link: None, bus, path: arguments.link.clone() };
        arm.make_link()?;
        Ok(arm)
    }

    /// Where the port is.
    pub fn path(&self) -> String {
        self.path.as_ref().map_or_else(|| self.bus.path().to_string(), |path| path.display().to_string())
    }

    /// Obeys a command; the answer is a line. None for `quit`.
    pub fn obey(&mut self, line: &str) -> Option<String> {
        let answer = match line.trim() {
            "quit" => return None,
            "hangup" => {
                self.link = None;
                self.bus.hang_up();
                Ok(String::new())
            }
            "replug" => self.replug().map(|()| String::new()).map_err(|error| error.to_string()),
            "help" => Ok(COMMANDS.iter().chain(&OWN).map(|(usage, _)| *usage).collect::<Vec<_>>().join("; ")),
            command => self.bus.command(command),
        };
        Some(match answer {
            Ok(said) if said.is_empty() => "ok".into(),
            Ok(said) => format!("ok {said}"),
            Err(error) => format!("error: {error}"),
        })
    }

    fn replug(&mut self) -> Result<(), SimArmError> {
        self.link = None;
        self.bus.replug()?;
        self.make_link()
    }

    fn make_link(&mut self) -> Result<(), SimArmError> {
        let link = |path: &PathBuf| {
            Link::new(path, self.bus.path()).map_err(|source| SimArmError::Link { path: path.clone(), source })
        };
        self.link = self.path.as_ref().map(link).transpose()?;
        Ok(())
    }
}

/// The lines of standard input, as they come.
pub fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}
