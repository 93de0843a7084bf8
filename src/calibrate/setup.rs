//! New servos are given their ids and the bus's rate, one by one.
//!
//! All of them are delivered with id 1: two on one bus cannot be told apart. So exactly one is to be connected, and whether it is
//! one is looked at, at every rate a servo can have, before anything is written.

use super::keeper::Failure;
use super::person::{Person, Press, ask};
use super::view::View;
use super::{CalibrateError, Report};
use crate::arm::feetech::bus::{BAUD, Bus};
use crate::arm::feetech::registers::{self as reg, Register};
use crate::arm::so101::MOTORS;
use crate::arm::{ArmError, Motor};
use std::time::{Duration, Instant};

/// Every rate of an STS3215, the likeliest first. LeRobot's table takes the numbers of the slowest three for others'; only the number of
/// [`BAUD`] is ever written.
const BAUDS: [u32; 9] = [BAUD, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400, 19_200];
/// The number of [`BAUD`] in a servo's register.
const BAUD_NUMBER: i32 = 0;
/// How long servos are listened to at each rate. LeRobot allows 3 ms for each id: this is enough for those below 100.
const WINDOW: Duration = Duration::from_millis(300);
/// And if none has answered, for all ids.
const LONG_WINDOW: Duration = Duration::from_millis(800);
/// What one question may take.
const PATIENCE: Duration = Duration::from_millis(300);
/// A reply that tells whether the request was obeyed may be missing: the servo answers as whom it was just made.
const UNSURE: Duration = Duration::from_millis(60);
/// Two servos of one id give themselves away where they say different things at once: what is measured differs.
const LOOKS: [Register; 6] = [
    reg::PRESENT_POSITION,
    reg::PRESENT_VOLTAGE,
    reg::PRESENT_TEMPERATURE,
    reg::PRESENT_LOAD,
    reg::PRESENT_CURRENT,
    reg::PRESENT_POSITION,
];

/// What stands in the way of setting a motor up; all of it can be mended.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error(
        "no motor answered at any rate: connect the {joint} motor to the controller board, check its cable and that the board has power, then press Enter"
    )]
    Nobody { joint: &'static str },
    #[error("{} answered, expected one motor: {found}; disconnect all but the {joint} motor, then press Enter", motors(*.count))]
    Several { joint: &'static str, count: usize, found: String },
    #[error("several motors answer as motor {id} at once: disconnect all but the {joint} motor, then press Enter")]
    Doubled { joint: &'static str, id: u8 },
    #[error(
        "something answered at {baud} baud, but not clearly: connect the {joint} motor and no other, check its cable, then press Enter"
    )]
    Unclear { joint: &'static str, baud: u32 },
    #[error(
        "motor {id} has model number {found}, expected {} (STS3215): an SO-101 has no other; connect the {joint} motor, then press Enter",
        reg::STS3215
    )]
    WrongModel { joint: &'static str, id: u8, found: i32 },
    #[error(
        "motor {id} answers, which was set up as {before} just now: disconnect it and connect the {joint} motor, then press Enter; if it is another motor, press y"
    )]
    Again { joint: &'static str, id: u8, before: &'static str },
    #[error("{error}; check the cable and press Enter to look for the motor again")]
    Arm { error: ArmError },
}

impl From<ArmError> for Obstacle {
    fn from(error: ArmError) -> Obstacle {
        Obstacle::Arm { error }
    }
}

fn motors(count: usize) -> String {
    format!("{count} motors")
}

/// A motor as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: u8,
    pub baud: u32,
}

impl Found {
    fn is_set(self, id: u8) -> bool {
        self == Found { id, baud: BAUD }
    }
}

/// The motors of one arm.
pub struct Setup<'a> {
    port: &'a str,
    arm: String,
    person: &'a mut dyn Person,
    /// Those that are done, and what they were before.
    done: Vec<(&'static str, Found)>,
}

impl<'a> Setup<'a> {
    pub fn new(port: &'a str, arm: String, person: &'a mut dyn Person) -> Setup<'a> {
        Setup { port, arm, person, done: Vec::new() }
    }

    /// Leads through all motors; `check` looks for them on one bus in the end.
    pub fn run(mut self, check: &dyn Fn() -> Result<(), ArmError>) -> Result<Report, CalibrateError> {
        let ended =
            MOTORS.iter().rev().try_for_each(|(joint, id)| self.one(joint, *id)).and_then(|()| self.chain(check));
        let done: Vec<&str> = self.done.iter().map(|(joint, _)| *joint).collect();
        let arm = &self.arm;
        match ended {
            Ok(true) => Ok(Report { text: format!("{arm}: all motors are set up and answer on one bus\n"), code: 0 }),
            Ok(false) => Ok(Report {
                text: format!("{arm}: all motors are set up; together they were not looked for\n"),
                code: 0,
            }),
            Err(Failure::Left(code)) => {
                let done = if done.is_empty() { "none".into() } else { done.join(", ") };
                Ok(Report { text: format!("{arm}: set up: {done}; the others are as they were\n"), code })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// One motor, until it is set up.
    fn one(&mut self, joint: &'static str, id: u8) -> Result<(), Failure> {
        let mut problem: Option<Obstacle> = None;
        loop {
            let text =
                format!("Connect the {joint} motor to the controller board, and no other motor. Then press Enter.");
            let problems = problem.iter().map(ToString::to_string).collect();
            let view = View {
                text: vec![text],
                problems,
                keys: "Enter: it is connected   Ctrl-C: leave".into(),
                ..self.view()
            };
            let sure = match ask(self.person, &view) {
                Press::Leave(code) => return Err(Failure::Left(code)),
                Press::Enter => false,
                Press::Char('y') if matches!(problem, Some(Obstacle::Again { .. })) => true,
                Press::Char(_) => continue,
            };
            let looking =
                View { text: vec!["Looking for it at every rate …".into()], keys: String::new(), ..self.view() };
            self.person.show(&looking);
            match self.set(joint, id, sure) {
                Ok(found) => {
                    let was = if found.is_set(id) {
                        "as before".into()
                    } else {
                        format!("before: id {}, {} baud", found.id, found.baud)
                    };
                    tracing::info!("{joint}: id {id}, {BAUD} baud, {was}");
                    self.done.push((joint, found));
                    return Ok(());
                }
                Err(obstacle) => problem = Some(obstacle),
            }
        }
    }

    /// Looks for the one motor and gives it its id.
    fn set(&self, joint: &'static str, id: u8, sure: bool) -> Result<Found, Obstacle> {
        let mut bench = Bench::open(self.port, Motor { id, name: joint })?;
        let found = bench.find(WINDOW).or_else(|obstacle| match obstacle {
            Obstacle::Nobody { .. } => bench.find(LONG_WINDOW),
            obstacle => Err(obstacle),
        })?;
        let before = MOTORS.iter().find(|(name, id)| *id == found.id && self.done.iter().any(|(done, _)| done == name));
        match before {
            Some((before, id)) if !sure => return Err(Obstacle::Again { joint, id: *id, before }),
            _ => {}
        }
        bench.assign(found)?;
        Ok(found)
    }

    /// All motors on one bus: true when they all answer, false when the person does not want to know.
    fn chain(&mut self, check: &dyn Fn() -> Result<(), ArmError>) -> Result<bool, Failure> {
        let mut view = View {
            text: vec!["All motors are set up. Connect them one behind the other, as in the arm, and press Enter: they are looked for.".into()],
            keys: "Enter: look for them   q: leave it at that".into(),
            ..self.view()
        };
        loop {
            match ask(self.person, &view) {
                Press::Leave(_) | Press::Char('q') => return Ok(false),
                Press::Enter => match check() {
                    Ok(()) => return Ok(true),
                    Err(error) => view.problems = vec![error.to_string()],
                },
                Press::Char(_) => {}
            }
        }
    }

    fn view(&self) -> View {
        let state = |joint| match self.done.iter().find(|(done, _)| *done == joint) {
            Some(_) => "set up",
            None => "",
        };
        let table =
            MOTORS.iter().rev().map(|(joint, id)| format!("{joint:<15} id {id}   {}", state(*joint)).trim_end().into());
        View {
            title: format!("  Set up the motors of the {}   {}", self.arm, self.port),
            table: table.collect(),
            ..View::default()
        }
    }
}

/// One motor on the controller board.
struct Bench {
    bus: Bus,
    motor: Motor,
}

impl Bench {
    fn open(port: &str, motor: Motor) -> Result<Bench, ArmError> {
        let mut bus = Bus::open(port, vec![motor], false)?;
        bus.patience = UNSURE;
        Ok(Bench { bus, motor })
    }

    /// The one motor there is, at whatever rate.
    fn find(&mut self, window: Duration) -> Result<Found, Obstacle> {
        let joint = self.motor.name;
        let (mut found, mut unclear) = (Vec::new(), None);
        for baud in BAUDS {
            self.bus.set_baud(baud)?;
            let scan = self.bus.scan(window)?;
            // What is no reply at this rate may be one at another.
            unclear = unclear.or((scan.garbled && scan.ids.is_empty()).then_some(baud));
            found.extend(scan.ids.into_iter().map(|id| Found { id, baud }));
        }
        let one = match (found.as_slice(), unclear) {
            ([one], _) => *one,
            ([], None) => return Err(Obstacle::Nobody { joint }),
            ([], Some(baud)) => return Err(Obstacle::Unclear { joint, baud }),
            ([first, rest @ ..], _) if rest.iter().all(|other| other == first) => {
                return Err(Obstacle::Doubled { joint, id: first.id });
            }
            (several, _) => {
                let list: Vec<String> = several.iter().map(|f| format!("id {} at {} baud", f.id, f.baud)).collect();
                return Err(Obstacle::Several { joint, count: several.len(), found: list.join(", ") });
            }
        };
        self.bus.set_baud(one.baud)?;
        for register in LOOKS {
            let Err(error) = self.read(one.id, register) else { continue };
            // The last of several broken tries may have ended in silence.
            let is_broken = |error: &ArmError| matches!(error, ArmError::Checksum { .. } | ArmError::Foreign { .. });
            if is_broken(&error) || self.bus.take_faults().iter().any(is_broken) {
                return Err(Obstacle::Doubled { joint, id: one.id });
            }
            return Err(error.into());
        }
        match self.read(one.id, reg::MODEL)? {
            reg::STS3215 => Ok(one),
            found => Err(Obstacle::WrongModel { joint, id: one.id, found }),
        }
    }

    /// Gives a motor its id and rate, each looked at afterwards. Can be done again from wherever it failed.
    fn assign(&mut self, found: Found) -> Result<(), Obstacle> {
        let id = self.motor.id;
        self.bus.set_baud(found.baud)?;
        self.unlock(found.id)?;
        if found.id != id {
            self.tell(found.id, reg::ID, i32::from(id))?;
            // Locking may come with a new id.
            self.unlock(id)?;
            self.holds(id, reg::ID, i32::from(id))?;
        }
        if found.baud != BAUD {
            self.tell(id, reg::BAUD_RATE, BAUD_NUMBER)?;
            self.bus.set_baud(BAUD)?;
        }
        self.holds(id, reg::BAUD_RATE, BAUD_NUMBER)?;
        self.bus.write(id, reg::LOCK, 1, soon())?;
        Ok(self.holds(id, reg::LOCK, 1)?)
    }

    /// Torque off, EEPROM unlocked.
    fn unlock(&mut self, id: u8) -> Result<(), ArmError> {
        for register in [reg::TORQUE_ENABLE, reg::LOCK] {
            self.bus.write(id, register, 0, soon())?;
            self.holds(id, register, 0)?;
        }
        Ok(())
    }

    /// Writes what changes how the servo answers: whether it did is for the caller to see.
    fn tell(&mut self, id: u8, register: Register, value: i32) -> Result<(), ArmError> {
        match self.bus.write(id, register, value, Instant::now() + UNSURE) {
            Err(error) if error.is_fatal() => Err(error),
            _ => Ok(()),
        }
    }

    fn holds(&mut self, id: u8, register: Register, value: i32) -> Result<(), ArmError> {
        let read = self.read(id, register)?;
        if read == value {
            return Ok(());
        }
        let (port, motor) = (self.bus.path().into(), self.motor);
        Err(ArmError::NotKept { port, motor, register: register.name, written: value, read })
    }

    fn read(&mut self, id: u8, register: Register) -> Result<i32, ArmError> {
        self.bus.read(id, register, soon())
    }
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}
