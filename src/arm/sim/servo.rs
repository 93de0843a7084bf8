//! One simulated STS3215: its memory, its EEPROM, and where its shaft stands.

use super::{Motion, SimKind};
use crate::arm::calibration::JointCalibration;
use crate::arm::feetech::packet::{Instruction, Packet};
use crate::arm::feetech::registers::{self as reg, EEPROM_END, Register, STEPS};
use std::time::Duration;

/// Positions change at multiples of this time.
pub const MOTION_STEP_NS: u64 = 1_000_000;
/// Fastest motion, in steps for each [`MOTION_STEP_NS`]: 3000 steps, 264 degrees a second.
const SPEED: i64 = 3;
/// Bytes of memory; what lies beyond reads as 0.
const MEMORY: usize = 128;
/// Where a client cannot write: what the servo is, and what it measures.
const READ_ONLY: [std::ops::Range<usize>; 2] = [0..5, 56..80];

/// The speeds that `Baud_Rate` stands for.
const BAUD_RATES: [u32; 8] = [1_000_000, 500_000, 250_000, 128_000, 115_200, 57_600, 38_400, 19_200];
/// A servo still understands a speed that is off by one part of so many.
const BAUD_TOLERANCE: u32 = 40;
/// The unit of `Return_Delay_Time`.
const RETURN_DELAY: Duration = Duration::from_micros(2);
/// Poses of a swing, and some more from joint to joint.
const SWEEP_POSES: f64 = 300.0;
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

/// What moves the shaft.
#[derive(Clone, Copy)]
enum Drive {
    /// The motor, to its goal, at [`SPEED`].
    Motor,
    /// The motor, which is at its goal at once.
    AtOnce,
    /// A hand, smoothly and without end.
    Hand,
    /// A hand, which goes on by a step when all positions are read at once: the number of the pose.
    Posed(u64),
}

/// The memory, and the motion since the goal last changed.
pub struct Servo {
    /// On the bus, and not only in its place.
    pub is_connected: bool,
    drive: Drive,
    memory: [u8; MEMORY],
    /// What the memory below `EEPROM_END` is after the power was off.
    eeprom: [u8; EEPROM_END as usize],
    /// Memory that keeps what it holds, whatever is written there.
    worn: Vec<usize>,
    /// A write that waits for an action.
    registered: Option<Vec<u8>>,
    /// The shaft's angle in steps when the present motion began, and the number of that time step.
    start: i64,
    start_step: u64,
    /// Where the motion ends.
    target: i64,
}

impl Servo {
    pub fn new(kind: SimKind, motion: Motion, joint: &JointCalibration) -> Servo {
        // The shaft's angle is what the encoder would say without a homing offset.
        let shaft = (joint.range_min + joint.range_max) / 2 + joint.homing_offset;
        let mut servo = Servo {
            is_connected: true,
            drive: match (kind, motion) {
                (SimKind::Follower, Motion::Smooth) => Drive::Motor,
                (SimKind::Follower, Motion::Step) => Drive::AtOnce,
                (SimKind::Leader, Motion::Smooth) => Drive::Hand,
                (SimKind::Leader, Motion::Step) => Drive::Posed(0),
            },
            memory: [0; MEMORY],
            eeprom: [0; EEPROM_END as usize],
            worn: Vec::new(),
            registered: None,
            start: shaft,
            start_step: 0,
            target: shaft,
        };
        for (register, value) in DELIVERED {
            servo.set(register, value);
        }
        servo.set(reg::ID, joint.id as i32);
        servo.set(reg::HOMING_OFFSET, joint.homing_offset as i32);
        servo.set(reg::MIN_POSITION_LIMIT, joint.range_min as i32);
        servo.set(reg::MAX_POSITION_LIMIT, joint.range_max as i32);
        servo.eeprom.copy_from_slice(&servo.memory[..usize::from(EEPROM_END)]);
        servo.power_up();
        servo
    }

    pub fn id(&self) -> u8 {
        self.memory[usize::from(reg::ID.addr)]
    }

    /// Whether a request at this speed is understood.
    pub fn hears(&self, baud: u32) -> bool {
        let code = self.memory[usize::from(reg::BAUD_RATE.addr)];
        let own = BAUD_RATES.get(usize::from(code)).copied().unwrap_or_default();
        self.is_connected && own.abs_diff(baud) <= own / BAUD_TOLERANCE
    }

    /// The pause before a reply.
    pub fn return_delay(&self) -> Duration {
        RETURN_DELAY * u32::from(self.memory[usize::from(reg::RETURN_DELAY_TIME.addr)])
    }

    /// All positions are being read at once, for the so many-th time.
    pub fn pose(&mut self, number: u64) {
        if let Drive::Posed(pose) = &mut self.drive {
            *pose = number;
        }
    }

    /// A reply with parameters. It carries the error bits that `Status` holds.
    pub fn reply(&self, params: Vec<u8>) -> Packet {
        Packet { id: self.id(), code: self.memory[usize::from(reg::STATUS.addr)], params }
    }

    /// Does what a request to this servo says. None where the servo keeps silent.
    pub fn obey(&mut self, instruction: Instruction, params: &[u8], now_ns: u64) -> Option<Packet> {
        let answers_all = self.get(reg::RESPONSE_STATUS_LEVEL) != 0;
        // A servo that is given another id answers by the one it was spoken to.
        let done = self.reply(Vec::new());
        match (instruction, params) {
            (Instruction::Ping, _) => return Some(done),
            (Instruction::Read, [addr, len]) => return Some(self.reply(self.read(*addr, *len, now_ns))),
            (Instruction::Write, [addr, data @ ..]) => self.write(*addr, data, now_ns),
            (Instruction::RegWrite, [_, ..]) => self.registered = Some(params.to_vec()),
            (Instruction::Action, _) => {
                if let Some(write) = self.registered.take() {
                    self.write(write[0], &write[1..], now_ns);
                }
            }
            _ => return None,
        }
        answers_all.then_some(done)
    }

    /// Memory as a client sees it at a time.
    pub fn read(&self, addr: u8, len: u8, now_ns: u64) -> Vec<u8> {
        let mut memory = self.memory;
        let position = self.position(now_ns);
        // A time step back tells the speed; a second has 1000 of them.
        let before = self.position(now_ns.saturating_sub(MOTION_STEP_NS));
        let velocity = (position - before) * 1000;
        for (register, value) in [
            (reg::PRESENT_POSITION, position),
            (reg::PRESENT_VELOCITY, velocity.clamp(-32767, 32767)),
            (reg::MOVING, i64::from(velocity != 0)),
        ] {
            put(&mut memory, register, value as i32);
        }
        let byte = |at: usize| memory.get(at).copied().unwrap_or(0);
        (usize::from(addr)..usize::from(addr) + usize::from(len)).map(byte).collect()
    }

    /// A client's write. Below `EEPROM_END` it outlives the power only while `Lock` is 0.
    pub fn write(&mut self, addr: u8, data: &[u8], now_ns: u64) {
        self.rest(now_ns);
        let unlocked = self.get(reg::LOCK) == 0;
        for (at, byte) in (usize::from(addr)..MEMORY).zip(data) {
            if READ_ONLY.iter().any(|range| range.contains(&at)) || self.worn.contains(&at) {
                continue;
            }
            self.memory[at] = *byte;
            if unlocked && at < self.eeprom.len() {
                self.eeprom[at] = *byte;
            }
        }
        self.aim();
    }

    /// From now on a register takes nothing from a client.
    pub fn wear_out(&mut self, register: Register) {
        let addr = usize::from(register.addr);
        self.worn.extend(addr..addr + usize::from(register.size));
    }

    /// Sets memory and EEPROM, past all rules.
    pub fn poke(&mut self, addr: u8, data: &[u8], now_ns: u64) {
        self.rest(now_ns);
        for (at, byte) in (usize::from(addr)..MEMORY).zip(data) {
            self.memory[at] = *byte;
            if at < self.eeprom.len() {
                self.eeprom[at] = *byte;
            }
        }
        self.aim();
    }

    /// Puts the shaft where its position is `position`.
    pub fn turn(&mut self, position: i32, now_ns: u64) {
        if matches!(self.drive, Drive::Hand | Drive::Posed(_)) {
            self.drive = Drive::Motor;
        }
        self.start = i64::from(position) + i64::from(self.get(reg::HOMING_OFFSET));
        self.start_step = now_ns / MOTION_STEP_NS;
        self.aim();
    }

    /// Power off and on: the shaft stays where it is, torque is off.
    pub fn power_cycle(&mut self, now_ns: u64) {
        self.rest(now_ns);
        self.memory[..usize::from(EEPROM_END)].copy_from_slice(&self.eeprom);
        self.memory[usize::from(EEPROM_END)..].fill(0);
        self.power_up();
    }

    /// The shaft is where it is: the motion so far is fixed before anything that directs it changes.
    fn rest(&mut self, now_ns: u64) {
        self.start = self.shaft(now_ns);
        self.start_step = now_ns / MOTION_STEP_NS;
    }

    fn power_up(&mut self) {
        self.registered = None;
        self.set(reg::LOCK, 1);
        self.set(reg::TORQUE_LIMIT, self.get(reg::MAX_TORQUE_LIMIT));
        self.set(reg::PRESENT_VOLTAGE, 74);
        self.set(reg::PRESENT_TEMPERATURE, 31);
        self.aim();
    }

    /// Where the motion from here ends: at the goal within the limits, or right here without torque.
    fn aim(&mut self) {
        self.target = self.start;
        if self.get(reg::TORQUE_ENABLE) == 1 && self.get(reg::OPERATING_MODE) == 0 {
            let (min, max) = (self.get(reg::MIN_POSITION_LIMIT), self.get(reg::MAX_POSITION_LIMIT));
            let goal = self.get(reg::GOAL_POSITION).max(min).min(max);
            let ahead = i64::from(goal) - i64::from(self.to_position(self.start));
            self.target = self.start + ahead;
        }
    }

    /// The shaft's angle at a time, in steps.
    fn shaft(&self, now_ns: u64) -> i64 {
        match self.drive {
            Drive::Motor => {
                let time_steps = (now_ns / MOTION_STEP_NS).saturating_sub(self.start_step) as i64;
                let reach = time_steps.saturating_mul(SPEED);
                self.start + (self.target - self.start).clamp(-reach, reach)
            }
            Drive::AtOnce => self.target,
            Drive::Hand => self.led(now_ns),
            Drive::Posed(number) => self.posed(number),
        }
    }

    /// Where the leader's hand holds the joint: a slow swing around the middle, slower and later from joint to joint.
    fn led(&self, now_ns: u64) -> i64 {
        let get = |register| f64::from(self.get(register));
        let (min, max) = (get(reg::MIN_POSITION_LIMIT), get(reg::MAX_POSITION_LIMIT));
        let (joint, seconds) = (f64::from(self.id()), (now_ns / MOTION_STEP_NS) as f64 / 1e3);
        let swing = (std::f64::consts::TAU * (seconds / (4.0 + joint) + joint / 6.0)).sin();
        let position = (min + max) / 2.0 + (max - min) * 0.25 * swing;
        position.round() as i64 + i64::from(self.get(reg::HOMING_OFFSET))
    }

    /// Where the hand holds the joint in a pose: `shoulder_pan` goes from one end to the other, a step from pose to pose, and
    /// stays there; the others swing, slower from joint to joint.
    fn posed(&self, number: u64) -> i64 {
        let (min, max) = (i64::from(self.get(reg::MIN_POSITION_LIMIT)), i64::from(self.get(reg::MAX_POSITION_LIMIT)));
        let position = if self.id() == 1 {
            min.saturating_add_unsigned(number).min(max)
        } else {
            let period = SWEEP_POSES + 50.0 * f64::from(self.id());
            let swing = (std::f64::consts::TAU * (number as f64 / period + f64::from(self.id()) / 6.0)).sin();
            (min + max) / 2 + ((max - min) as f64 * 0.25 * swing).round() as i64
        };
        position + i64::from(self.get(reg::HOMING_OFFSET))
    }

    fn position(&self, now_ns: u64) -> i64 {
        i64::from(self.to_position(self.shaft(now_ns)))
    }

    /// What the servo says at an angle of the shaft.
    fn to_position(&self, shaft: i64) -> i32 {
        (shaft - i64::from(self.get(reg::HOMING_OFFSET))).rem_euclid(i64::from(STEPS)) as i32
    }

    pub fn get(&self, register: Register) -> i32 {
        register.decode(&self.memory[usize::from(register.addr)..])
    }

    fn set(&mut self, register: Register, value: i32) {
        put(&mut self.memory, register, value);
    }
}

/// Puts a value into memory; one that does not fit is left out.
fn put(memory: &mut [u8; MEMORY], register: Register, value: i32) {
    if let Some(bytes) = register.encode(value) {
        let at = usize::from(register.addr);
        memory[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}
