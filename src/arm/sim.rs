//! A simulated servo bus behind a pseudo terminal: six STS3215, spoken to over the same bytes as real ones.
//!
//! Objective: the driver, and any other client, cannot tell it from an arm by what is said on the wire. Positions are a
//! function of the clock and of the goals that were written, so that a run in simulated time always gives the same ones.
//! Not simulated: the time that bytes take, load, heat, and current.

mod servo;

pub use servo::MOTION_STEP_NS;

use super::ArmError;
use super::calibration::{Calibration, JointCalibration};
use super::feetech::packet::{BROADCAST, Decoder, Instruction, MAX_PARAMS, Packet};
use super::feetech::registers::{self as reg, Register};
use super::so101::MOTORS;
use crate::clock::Clock;
use serialport::{SerialPort, TTYPort};
use servo::Servo;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request whose rest has not come after this long is forgotten.
const REQUEST_GAP: Duration = Duration::from_millis(20);
/// With nothing to do the bus looks around this often.
const IDLE: Duration = Duration::from_secs(1);

/// Which arm is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimKind {
    /// Moves to its goals while torque is on.
    Follower,
    /// Is moved, smoothly and without end, as if by a hand.
    Leader,
}

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

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is never sent.
    Lost,
    /// It is sent right before what answers the so many-th request after this one, whatever the time. Other replies are
    /// not held back by it.
    Late(u32),
    /// Its checksum is wrong.
    BadChecksum,
    /// It carries these error bits.
    ErrorBits(u8),
}

/// A running simulated bus; dropping it is what pulling the plug is for a real one.
pub struct SimBus {
    shared: Arc<Shared>,
    /// Held open, so that the bus outlives its clients: without any client a pseudo terminal reports an error for ever.
    slave: TTYPort,
    path: String,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    servos: Vec<Servo>,
    /// The fault, whose replies it hits (all motors' if none), and how many more.
    faults: Vec<(Fault, Option<u8>, usize)>,
    /// Replies that are late, and by how many requests they still are.
    late: Vec<(u32, Vec<u8>)>,
    /// Requests that are obeyed without an answer.
    unanswered: Vec<Vec<u8>>,
    tap: Option<mpsc::Sender<Vec<u8>>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimBus {
    /// Opens a pseudo terminal and lets six servos listen on it.
    pub fn start(kind: SimKind, clock: Arc<dyn Clock>) -> Result<SimBus, ArmError> {
        let (master, slave) = TTYPort::pair().map_err(|e| ArmError::Simulator(e.into()))?;
        let path = slave.name().ok_or_else(|| ArmError::Simulator(io::ErrorKind::NotFound.into()))?;
        let servos = kind.calibration().0.iter().map(|(_, joint)| Servo::new(kind, joint)).collect();
        let state =
            Mutex::new(State { servos, faults: Vec::new(), late: Vec::new(), unanswered: Vec::new(), tap: None });
        let shared = Arc::new(Shared { clock, stop: AtomicBool::new(false), state });
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("sim-{kind:?}").to_lowercase())
            .spawn(move || run(master, &for_thread))
            .map_err(ArmError::Simulator)?;
        Ok(SimBus { shared, slave, path, thread: Some(thread) })
    }

    /// The path of the serial port.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Lets the next `count` replies, of one motor or of any, meet a fault. A reply meets the first fault
    /// that is for it; `ErrorBits(0)` lets replies through before the next.
    pub fn inject(&self, fault: Fault, motor: Option<u8>, count: usize) {
        if count > 0 {
            self.shared.lock().faults.push((fault, motor, count));
        }
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

    /// Sets a register past the bus, read-only ones and EEPROM included. Values that do not fit and absent motors are left alone.
    pub fn poke(&self, motor: u8, register: Register, value: i32) {
        let mut state = self.shared.lock();
        let servo = state.servos.iter_mut().find(|servo| servo.id() == motor);
        if let (Some(servo), Some(bytes)) = (servo, register.encode(value)) {
            servo.poke(register.addr, &bytes);
        }
    }

    /// Turns a joint to a position, as a hand does, which is stronger than the motor; it stays there until something moves it.
    /// A leader that is turned is led by nobody else any more.
    pub fn turn(&self, motor: u8, position: i32) {
        let now_ns = self.shared.clock.now().mono_ns;
        self.shared.lock().servo(motor).into_iter().for_each(|servo| servo.turn(position, now_ns));
    }

    /// Switches the arm's power off and on: what was written while `Lock` was on is lost.
    pub fn power_cycle(&self) {
        let now_ns = self.shared.clock.now().mono_ns;
        self.shared.lock().servos.iter_mut().for_each(|servo| servo.power_cycle(now_ns));
    }
}

impl Drop for SimBus {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The thread waits for bytes; one of them wakes it.
        let _ = self.slave.write_all(&[0]);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The bus's thread: until stopped, or until the terminal breaks.
fn run(mut master: TTYPort, shared: &Shared) {
    let mut decoder = Decoder::default();
    let mut bytes = [0; 1024];
    while !shared.stop.load(Ordering::Relaxed) {
        let gap = if decoder.is_empty() { IDLE } else { REQUEST_GAP };
        if master.set_timeout(gap).is_err() {
            return;
        }
        match master.read(&mut bytes) {
            Ok(n) => decoder.push(&bytes[..n]),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => decoder.clear(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        let mut output = Vec::new();
        while let Some(next) = decoder.next(MAX_PARAMS) {
            // A servo does not answer what it does not understand.
            if let Ok(request) = next {
                let mut state = shared.lock();
                let said = request.encode();
                state.send_late(&mut output);
                let replies = state.answer(&request, shared.clock.now().mono_ns);
                let replies = if state.unanswered.contains(&said) { Vec::new() } else { replies };
                state.tap = state.tap.take().filter(|tap| tap.send(said).is_ok());
                for reply in replies {
                    state.transmit(reply, &mut output);
                }
            }
        }
        if !output.is_empty() && master.write_all(&output).is_err() {
            return;
        }
    }
}

impl State {
    /// The replies to a request, in the order in which the servos send them.
    fn answer(&mut self, request: &Packet, now_ns: u64) -> Vec<Packet> {
        let Some(instruction) = Instruction::from_code(request.code) else { return Vec::new() };
        let (id, params) = (request.id, request.params.as_slice());
        let mut replies = Vec::new();
        match (instruction, params) {
            (Instruction::SyncRead, [addr, len, ids @ ..]) => {
                for id in ids {
                    replies.extend(self.servo(*id).map(|servo| servo.reply(servo.read(*addr, *len, now_ns))));
                }
            }
            (Instruction::SyncWrite, [addr, len, values @ ..]) => {
                for value in values.chunks_exact(usize::from(*len) + 1) {
                    if let Some(servo) = self.servo(value[0]) {
                        servo.write(*addr, &value[1..], now_ns);
                    }
                }
            }
            _ => {
                for servo in self.servos.iter_mut().filter(|servo| id == BROADCAST || servo.id() == id) {
                    let reply = servo.obey(instruction, params, now_ns);
                    // Servos that are spoken to all at once keep silent, except when it is asked who is there.
                    replies.extend(reply.filter(|_| id != BROADCAST || instruction == Instruction::Ping));
                }
                replies.sort_by_key(|reply| reply.id);
            }
        }
        replies
    }

    fn servo(&mut self, id: u8) -> Option<&mut Servo> {
        self.servos.iter_mut().find(|servo| servo.id() == id)
    }

    /// A request has come: sends the replies that were late until now.
    fn send_late(&mut self, output: &mut Vec<u8>) {
        self.late.retain_mut(|(requests, reply)| {
            *requests = requests.saturating_sub(1);
            if *requests == 0 {
                output.extend_from_slice(reply);
            }
            *requests > 0
        });
    }

    /// Sends a reply, or what a fault leaves of it.
    fn transmit(&mut self, mut reply: Packet, output: &mut Vec<u8>) {
        let fault = self.faults.iter_mut().find(|(_, motor, _)| motor.is_none_or(|id| id == reply.id));
        let fault = fault.map(|(fault, _, count)| {
            *count -= 1;
            *fault
        });
        self.faults.retain(|(_, _, count)| *count > 0);
        if let Some(Fault::ErrorBits(bits)) = fault {
            reply.code |= bits;
        }
        let mut bytes = reply.encode();
        match fault {
            Some(Fault::Lost) => {}
            Some(Fault::Late(requests)) => self.late.push((requests, bytes)),
            Some(Fault::BadChecksum) => {
                bytes.last_mut().into_iter().for_each(|checksum| *checksum ^= 0x55);
                output.extend(bytes);
            }
            Some(Fault::ErrorBits(_)) | None => output.extend(bytes),
        }
    }
}

/// The registers of a servo as it is delivered, apart from its id and calibration.
const DELIVERED: [(Register, i32); 12] = [
    (reg::FIRMWARE_MAJOR, 3),
    (reg::FIRMWARE_MINOR, 10),
    (reg::MODEL, reg::STS3215),
    (reg::RETURN_DELAY_TIME, 250),
    (reg::RESPONSE_STATUS_LEVEL, 1),
    (reg::MAX_TORQUE_LIMIT, 1000),
    (reg::PHASE, 0x1C),
    (reg::P_COEFFICIENT, 32),
    (reg::D_COEFFICIENT, 32),
    (reg::PROTECTION_CURRENT, 500),
    (reg::OVERLOAD_TORQUE, 80),
    (reg::MAXIMUM_ACCELERATION, 0),
];
