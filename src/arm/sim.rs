//! A simulated servo bus behind a pseudo terminal: six STS3215, spoken to over the same bytes as real ones.
//!
//! Objective: the driver, and any other client, cannot tell it from an arm by what is said on the wire, when nothing
//! fails and when something does. Positions are a function of the clock and of the goals that were written, so that a run
//! in simulated time always gives the same ones. Servos hear only what comes at their own baud rate. Bytes take no time,
//! unless [`Setup::wire_time`] says so; what delays them takes real time, whatever the clock.
//! Not simulated: load, heat and current, which have the values that they are given; torque that an overload reduces.

mod command;
mod fault;
mod line;
mod link;
mod servo;
mod state;

pub use command::COMMANDS;
pub use fault::{Fault, Noise};
pub use link::Link;
pub use servo::MOTION_STEP_NS;

use super::ArmError;
use super::calibration::{Calibration, JointCalibration};
use super::feetech::packet::Packet;
use super::feetech::registers::Register;
use super::so101::MOTORS;
use crate::clock::Clock;
use line::Terminal;
use servo::Servo;
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// Which arm is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SimKind {
    /// Moves to its goals while torque is on.
    Follower,
    /// Is moved as if by a hand.
    Leader,
}

/// How an arm moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Motion {
    /// With time: a leader without end, a follower to its goal at the speed of a servo.
    #[default]
    Smooth,
    /// By what is asked of it: a leader goes on by a small step whenever the positions of all its servos are read at once,
    /// each pose another one; a follower is at its goal at once.
    Step,
}

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setup {
    pub kind: SimKind,
    /// What the servos hold. None for servos as they are delivered: all with id 1, never calibrated, none of them
    /// connected until [`SimBus::only`] or [`SimBus::set_connected`] does it.
    pub calibration: Option<Calibration>,
    pub motion: Motion,
    /// Bytes take their time on the wire, and servos their `Return_Delay_Time` before they answer.
    pub wire_time: bool,
}

impl Setup {
    /// An arm with a calibration of its own.
    pub fn new(kind: SimKind) -> Setup {
        Setup { kind, calibration: Some(kind.calibration()), motion: Motion::Smooth, wire_time: false }
    }
}

/// The joint of a servo as it is delivered.
const UNCALIBRATED: JointCalibration =
    JointCalibration { id: 1, drive_mode: 0, homing_offset: 0, range_min: 0, range_max: 4095 };

impl SimKind {
    /// The calibration that the servos start with.
    pub fn calibration(self) -> Calibration {
        let joints: [(i64, i64, i64); 6] = match self {
            SimKind::Follower => [
                (-50, 750, 3400),
                (100, 800, 3200),
                (-1200, 820, 3100),
                (30, 860, 3150),
                (0, 0, 4095),
                (511, 1990, 3480),
            ],
            SimKind::Leader => {
                [(10, 700, 3400), (-20, 800, 3300), (30, 900, 3200), (-40, 900, 3150), (50, 0, 4095), (-60, 1400, 2600)]
            }
        };
        let joint = |(&(name, id), (homing_offset, range_min, range_max)): (&(&str, u8), (i64, i64, i64))| {
            let id = i64::from(id);
            (name.to_string(), JointCalibration { id, drive_mode: 0, homing_offset, range_min, range_max })
        };
        Calibration(MOTORS.iter().zip(joints).map(joint).collect())
    }
}

/// A running simulated bus; dropping it is what pulling the plug is for a real one.
pub struct SimBus {
    shared: Arc<Shared>,
    name: String,
    terminal: Option<Terminal>,
    path: String,
}

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimBus {
    /// Opens a pseudo terminal and lets six servos listen on it.
    pub fn start(kind: SimKind, clock: Arc<dyn Clock>) -> Result<SimBus, ArmError> {
        SimBus::open(Setup::new(kind), clock)
    }

    /// As [`SimBus::start`], for any setup.
    pub fn open(setup: Setup, clock: Arc<dyn Clock>) -> Result<SimBus, ArmError> {
        let Setup { kind, calibration, motion, wire_time } = setup;
        let is_new = calibration.is_none();
        let joints = calibration.map_or(vec![UNCALIBRATED; MOTORS.len()], |Calibration(joints)| {
            joints.into_iter().map(|(_, joint)| joint).collect()
        });
        let mut servos: Vec<Servo> = joints.iter().map(|joint| Servo::new(kind, motion, joint)).collect();
        servos.iter_mut().for_each(|servo| servo.is_connected = !is_new);
        let state = Mutex::new(State::new(servos, wire_time));
        let shared = Arc::new(Shared { clock, state });
        let name = format!("sim-{kind:?}").to_lowercase();
        let mut bus = SimBus { shared, name, terminal: None, path: String::new() };
        bus.replug()?;
        Ok(bus)
    }

    /// The path of the serial port; another one after [`SimBus::replug`].
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Lets the next `count` replies, of one motor or of any, meet a fault. A reply meets the first fault
    /// that is for it; `ErrorBits(0)` lets replies through before the next.
    pub fn inject(&self, fault: Fault, motor: Option<u8>, count: usize) {
        self.shared.lock().faults.add(fault, motor, count);
    }

    /// From now on this very request is obeyed and not answered.
    pub fn leave_unanswered(&self, request: &Packet) {
        self.shared.lock().unanswered.push(request.encode());
    }

    /// Every request from now on, as bytes. Only the newest tap is served.
    pub fn tap(&self) -> mpsc::Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel();
        self.shared.lock().tap = Some(sender);
        receiver
    }

    /// A register's value, read past the bus. None for an absent motor.
    pub fn peek(&self, motor: u8, register: Register) -> Option<i32> {
        let now_ns = self.shared.clock.now().mono_ns;
        let mut state = self.shared.lock();
        let servo = state.servos.iter_mut().find(|servo| servo.id() == motor)?;
        Some(register.decode(&servo.read(register.addr, register.size, now_ns)))
    }

    /// Sets a register past the bus, read-only ones and EEPROM included: what is measured too (load, voltage, temperature,
    /// current), and `Status`, whose error bits stand in every reply of the motor until they are taken back or the power is
    /// switched off. A motor that is given another motor's id talks at the same time as that. Values that do not fit and
    /// absent motors are left alone.
    pub fn poke(&self, motor: u8, register: Register, value: i32) {
        let now_ns = self.shared.clock.now().mono_ns;
        let mut state = self.shared.lock();
        let servo = state.servos.iter_mut().find(|servo| servo.id() == motor);
        if let (Some(servo), Some(bytes)) = (servo, register.encode(value)) {
            servo.poke(register.addr, &bytes, now_ns);
        }
    }

    /// Turns a joint to a position, as a hand does, which is stronger than the motor; it stays there until something moves it.
    /// A leader that is turned is led by nobody else any more.
    pub fn turn(&self, motor: u8, position: i32) {
        let now_ns = self.shared.clock.now().mono_ns;
        self.shared.lock().servo(motor).into_iter().for_each(|servo| servo.turn(position, now_ns));
    }

    /// From now on a motor answers to writes of this register as ever, and keeps what it holds.
    pub fn wear_out(&self, motor: u8, register: Register) {
        self.shared.lock().servo(motor).into_iter().for_each(|servo| servo.wear_out(register));
    }

    /// Whether the servo in a place, 1 to 6 from the base on (its id at first, unless servos are new), is on the bus: one
    /// that is not hears nothing and says nothing.
    pub fn set_connected(&self, place: u8, is_connected: bool) {
        let mut state = self.shared.lock();
        let servo = usize::from(place).checked_sub(1).and_then(|index| state.servos.get_mut(index));
        servo.into_iter().for_each(|servo| servo.is_connected = is_connected);
    }

    /// Leaves the servo in a place alone on the bus.
    pub fn only(&self, place: u8) {
        let mut state = self.shared.lock();
        let numbered = (1..).zip(&mut state.servos);
        numbered.for_each(|(number, servo)| servo.is_connected = number == place);
    }

    /// From now on all bytes come so much later, in real time.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Pulls the plug of the serial port: the terminal goes away. The servos keep their power, and what they hold.
    pub fn hang_up(&mut self) {
        self.terminal = None;
    }

    /// Puts the plug in again, as a new terminal at another path: [`Link`] makes one path of them.
    pub fn replug(&mut self) -> Result<(), ArmError> {
        self.terminal = None;
        let terminal = Terminal::open(self.name.clone(), &self.shared)?;
        self.path.clone_from(&terminal.path);
        self.terminal = Some(terminal);
        Ok(())
    }

    /// Switches the arm's power off and on: torque is off, error bits are gone, and what was written while `Lock` was on is
    /// lost.
    pub fn power_cycle(&self) {
        let now_ns = self.shared.clock.now().mono_ns;
        self.shared.lock().servos.iter_mut().for_each(|servo| servo.power_cycle(now_ns));
    }
}
