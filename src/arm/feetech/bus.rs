//! A servo bus on a serial port: one question at a time, each with a deadline.
//!
//! Objective: an answer is the answer to the question that was asked. The protocol has no sequence numbers, so these
//! things stand in for them:
//! - Input is flushed before each request, and after a failure the line is drained until quiet.
//! - For [`SUSPICION`] after a failure every read asks for more bytes than any register has, another number after each
//!   failure: a late reply to an older question then has the wrong length and is not taken.
//! - A motor that owes an answer for as many failures as there are such numbers is not believed when it speaks again, until
//!   the line has been quiet once: what comes then may be its reply to any of them, all in one burst.
//! - Writes, whose replies are all alike, are read back during that time.
//!
//! Assumption: what a motor says arrives in the order in which it was asked, or at most seven failures late.
//! Limit: a reply that is later than [`SUSPICION`] could be taken.
//!
//! A question to many motors is answered by those that answer; a further try asks only the others. Here are the questions;
//! how one is asked is in `transaction`.

mod scan;
mod transaction;

pub use scan::Scan;
pub use transaction::SUSPICION;

use super::packet::{Decoder, Packet};
use super::port;
use super::registers::Register;
use crate::arm::{ArmError, Motor};
use serialport::TTYPort;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use transaction::QUIET;

/// The rate that the servos of an arm are set to.
pub const BAUD: u32 = 1_000_000;
/// How long one try of a transaction waits for its replies, at least.
pub const TRY: Duration = Duration::from_millis(10);
/// On a bus that is slow by itself, as behind a wireless bridge, a try waits so many times the usual.
const USUAL_TIMES: u32 = 2;
/// A value that a register does not take this many times is refused.
const WRITE_TRIES: u32 = 3;
/// So many pings with two answers make two motors: one could be a late answer to an older question.
const DOUBLE_TRIES: u32 = 3;
/// Faults kept until they are taken; further ones are not kept.
pub const MOST_FAULTS: usize = 64;

/// An open bus with the motors that are expected on it.
pub struct Bus {
    port: TTYPort,
    path: String,
    motors: Vec<Motor>,
    decoder: Decoder,
    simulated: bool,
    /// How long one try waits: [`TRY`] or what [`Bus::settle`] found, longer while connecting.
    pub patience: Duration,
    /// How many further tries a transaction may have, as long as its deadline allows.
    pub retries: u32,
    /// How long transactions took that were answered at once, while connecting.
    round_trips: Vec<Duration>,
    last_byte: Instant,
    /// Tries that have failed.
    failures: u64,
    suspicious_until: Option<Instant>,
    /// For each motor that owes an answer, by id: how many tries had failed when it missed the first.
    owing_since: BTreeMap<u8, u64>,
    faults: Vec<ArmError>,
}

impl Bus {
    /// Opens the port for this process alone. `simulated` lets transactions take a minute, whatever their deadline.
    pub fn open(path: &str, motors: Vec<Motor>, simulated: bool) -> Result<Bus, ArmError> {
        Ok(Bus {
            port: port::open(path, BAUD)?,
            path: path.into(),
            motors,
            decoder: Decoder::default(),
            simulated,
            patience: TRY,
            retries: u32::MAX,
            round_trips: Vec::new(),
            last_byte: Instant::now(),
            failures: 0,
            suspicious_until: None,
            owing_since: BTreeMap::new(),
            faults: Vec::new(),
        })
    }

    /// The port's path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The motors expected on the bus, in order.
    pub fn motors(&self) -> &[Motor] {
        &self.motors
    }

    /// Ends the time of connecting: from now on a transaction has at most so many further tries, and each is as short as a
    /// tick demands. That is [`TRY`], which is ample for a cable; where the answers so far took longer than half of it, as
    /// through a wireless bridge, twice their median, so that a try is not given up while its answer is on the way. A tick's
    /// deadline ends a try in any case.
    pub fn settle(&mut self, retries: u32) {
        self.retries = retries;
        self.round_trips.sort();
        let usual = self.round_trips.get(self.round_trips.len() / 2).copied().unwrap_or_default();
        self.patience = TRY.max(usual * USUAL_TIMES);
        if usual > TRY {
            let usual_ms = usual.as_millis();
            tracing::warn!(
                port = self.path,
                usual_ms,
                "the motors answer slowly; a tick must last longer than that, or dataset.fps is too high for this bus"
            );
        }
    }

    /// What went wrong without failing a transaction, since the last call.
    pub fn take_faults(&mut self) -> Vec<ArmError> {
        std::mem::take(&mut self.faults)
    }

    /// Keeps a fault for [`Bus::take_faults`].
    pub fn note(&mut self, fault: ArmError) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Takes out the first error that a motor has reported by its error bits.
    pub fn take_servo_error(&mut self) -> Option<ArmError> {
        let index = self.faults.iter().position(|f| matches!(f, ArmError::Servo { .. }))?;
        Some(self.faults.remove(index))
    }

    /// Asks whether a motor is there.
    pub fn ping(&mut self, id: u8, deadline: Instant) -> Result<(), ArmError> {
        self.ask(id, 0, deadline, |_| Packet::ping(id)).map(drop)
    }

    /// Asks whether a motor is there, and listens for another one with the same id: true when there is one. Costs
    /// 1 ms more than [`Bus::ping`].
    pub fn ping_doubled(&mut self, id: u8, deadline: Instant) -> Result<bool, ArmError> {
        for _ in 0..DOUBLE_TRIES {
            self.ping(id, deadline)?;
            let until = Instant::now() + QUIET;
            let mut again = false;
            loop {
                while let Some(next) = self.decoder.next(0) {
                    again |= next.is_ok_and(|reply| reply.id == id);
                }
                if again || !self.fill(until)? {
                    break;
                }
            }
            if !again {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A register's value.
    pub fn read(&mut self, id: u8, register: Register, deadline: Instant) -> Result<i32, ArmError> {
        let request = |len| Packet::read(id, register.addr, len);
        Ok(register.decode(&self.ask(id, register.size, deadline, request)?))
    }

    /// Sets a register and waits for the motor's word. The value must fit the register.
    pub fn write(&mut self, id: u8, register: Register, value: i32, deadline: Instant) -> Result<(), ArmError> {
        let data = register.encode(value).ok_or_else(|| self.goal_error(id, value))?;
        self.ask(id, 0, deadline, |_| Packet::write(id, register.addr, &data))?;
        let mut tries = 0;
        while self.is_suspicious() {
            let read = self.read(id, register, deadline)?;
            if read == value {
                break;
            }
            tries += 1;
            if tries == WRITE_TRIES {
                let (port, motor) = (self.path.clone(), self.motor(id));
                return Err(ArmError::NotKept { port, motor, register: register.name, written: value, read });
            }
            self.ask(id, 0, deadline, |_| Packet::write(id, register.addr, &data))?;
        }
        Ok(())
    }

    /// A register of many motors, in the order of `ids`; an error when one of them has not answered.
    pub fn sync_read(&mut self, ids: &[u8], register: Register, deadline: Instant) -> Result<Vec<i32>, ArmError> {
        let (values, errors) = self.ask_many(ids, register, deadline)?;
        match self.first(errors) {
            Some(error) => Err(error),
            None => Ok(values.into_iter().flatten().collect()),
        }
    }

    /// A register of those motors that answer before the deadline, in the order of `ids`; an error when none does. Why
    /// the others are missing is kept for [`Bus::take_faults`].
    pub fn sync_read_some(
        &mut self,
        ids: &[u8],
        register: Register,
        deadline: Instant,
    ) -> Result<Vec<Option<i32>>, ArmError> {
        let (values, errors) = self.ask_many(ids, register, deadline)?;
        if values.iter().any(Option::is_some) {
            errors.into_iter().for_each(|error| self.note(error));
            return Ok(values);
        }
        match self.first(errors) {
            Some(error) => Err(error),
            None => Ok(values),
        }
    }

    /// Sets a register of many motors at once. No motor replies, so it is only known that the bytes were sent; in
    /// simulated time the last motor is asked whether it is there, and has then taken its value.
    pub fn sync_write(&mut self, register: Register, values: &[(u8, i32)]) -> Result<(), ArmError> {
        let mut data = Vec::with_capacity(values.len());
        for (id, value) in values {
            data.push((*id, register.encode(*value).ok_or_else(|| self.goal_error(*id, *value))?));
        }
        let packet =
            Packet::sync_write(register.addr, register.size, data.iter().map(|(id, bytes)| (*id, bytes.as_slice())));
        self.transmit(&packet)?;
        match values.last() {
            // Time must not advance before the bus has heard it, or positions would depend on the speed of threads.
            Some((id, _)) if self.simulated => self.ping(*id, Instant::now()),
            _ => Ok(()),
        }
    }

    /// The motor of an id, for messages.
    pub fn motor(&self, id: u8) -> Motor {
        self.motors.iter().copied().find(|m| m.id == id).unwrap_or(Motor { id, name: "unknown" })
    }

    fn goal_error(&self, id: u8, value: i32) -> ArmError {
        ArmError::Goal { motor: self.motor(id), value: value as f32 }
    }
}
