//! A servo bus on a serial port: one question at a time, each with a deadline.
//!
//! Objective: an answer is the answer to the question that was asked. The protocol has no sequence numbers, so three
//! things stand in for them. Input is flushed before each request. After a failure the line is drained until quiet.
//! And for [`SUSPICION`] after a failure every read asks for a few bytes more than it needs, another number after each
//! failure: a late reply to an older question then has the wrong length and is not taken. Writes, whose replies are all
//! alike, are read back during that time.
//! Limit: a reply that is later than eight failures or than [`SUSPICION`] could be taken.

mod scan;

pub use scan::Scan;

use super::packet::{Decoder, ErrorBits, Packet};
use super::registers::Register;
use crate::arm::{ArmError, Motor};
use crate::in_use::InUse;
use serialport::{ClearBuffer, ErrorKind, SerialPort, TTYPort};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The rate that the servos of an arm are set to.
pub const BAUD: u32 = 1_000_000;
/// How long one try of a transaction waits for its replies.
pub const TRY: Duration = Duration::from_millis(10);
/// In simulated time no reply is lost, and a transaction may take this long, so that a busy machine cannot change what is
/// recorded.
const SIMULATED_TRY: Duration = Duration::from_secs(60);
/// The line counts as quiet after this long without a byte.
const QUIET: Duration = Duration::from_millis(1);
/// The longest that a failed try waits for quiet; a line that chatters on is left to the next flush.
const LONGEST_DRAIN: Duration = Duration::from_millis(4);
/// A port that takes no bytes for this long counts as lost; a busy machine may hold them up for some time.
const LONGEST_WRITE: Duration = Duration::from_secs(1);
/// How long after a failure replies are told apart by their length.
pub const SUSPICION: Duration = Duration::from_secs(10);
/// A value that a register does not take this many times is refused.
const WRITE_TRIES: u32 = 3;
/// Most bytes that a read asks for beyond its register.
const MOST_EXTRA: u8 = 8;
/// Faults kept until they are taken; further ones are not kept.
pub const MOST_FAULTS: usize = 64;

/// An open bus with the motors that are expected on it.
pub struct Bus {
    port: TTYPort,
    path: String,
    motors: Vec<Motor>,
    decoder: Decoder,
    simulated: bool,
    /// How long one try waits: [`TRY`], longer while connecting.
    pub patience: Duration,
    /// Bytes that reads ask for beyond their register.
    extra: u8,
    suspicious_until: Option<Instant>,
    faults: Vec<ArmError>,
}

impl Bus {
    /// Opens the port for this process alone. `simulated` lets transactions take a minute, whatever their deadline.
    pub fn open(path: &str, motors: Vec<Motor>, simulated: bool) -> Result<Bus, ArmError> {
        let port = TTYPort::open(&serialport::new(path, BAUD)).map_err(|e| open_error(path, e))?;
        Ok(Bus {
            port,
            path: path.into(),
            motors,
            decoder: Decoder::default(),
            simulated,
            patience: TRY,
            extra: 0,
            suspicious_until: None,
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
        self.transact(&[id], 0, deadline, |_| Packet::ping(id)).map(drop)
    }

    /// A register's value.
    pub fn read(&mut self, id: u8, register: Register, deadline: Instant) -> Result<i32, ArmError> {
        let request = |len| Packet::read(id, register.addr, len);
        Ok(register.decode(&self.transact(&[id], register.size, deadline, request)?[0]))
    }

    /// Sets a register and waits for the motor's word. The value must fit the register.
    pub fn write(&mut self, id: u8, register: Register, value: i32, deadline: Instant) -> Result<(), ArmError> {
        let data = register.encode(value).ok_or_else(|| self.goal_error(id, value))?;
        self.transact(&[id], 0, deadline, |_| Packet::write(id, register.addr, &data))?;
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
            self.transact(&[id], 0, deadline, |_| Packet::write(id, register.addr, &data))?;
        }
        Ok(())
    }

    /// A register of many motors, in the order of `ids`.
    pub fn sync_read(&mut self, ids: &[u8], register: Register, deadline: Instant) -> Result<Vec<i32>, ArmError> {
        let request = |len| Packet::sync_read(register.addr, len, ids);
        let replies = self.transact(ids, register.size, deadline, request)?;
        Ok(replies.iter().map(|bytes| register.decode(bytes)).collect())
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

    /// One request and the parameters of the replies of `ids`, tried until the deadline. `request` is given the number
    /// of bytes to ask for: `size`, and some more for a while after a failure; with a `size` of 0 none are asked for.
    fn transact(
        &mut self,
        ids: &[u8],
        size: u8,
        deadline: Instant,
        request: impl Fn(u8) -> Packet,
    ) -> Result<Vec<Vec<u8>>, ArmError> {
        let start = Instant::now();
        let (deadline, patience) = match self.simulated {
            true => (deadline.max(start + SIMULATED_TRY), SIMULATED_TRY),
            false => (deadline, self.patience),
        };
        loop {
            let len = if size > 0 && self.is_suspicious() { size + self.extra } else { size };
            let until = deadline.min(Instant::now() + patience);
            let error = match self.attempt(&request(len), ids, usize::from(len), until) {
                Ok(replies) => return Ok(replies),
                Err(error) if error.is_fatal() => return Err(error),
                Err(ArmError::Timeout { port, motor, .. }) => {
                    ArmError::Timeout { port, motor, waited: start.elapsed() }
                }
                Err(error) => error,
            };
            self.suspicious_until = Some(Instant::now() + SUSPICION);
            self.extra = self.extra % MOST_EXTRA + 1;
            self.drain()?;
            if Instant::now() >= deadline {
                return Err(error);
            }
            self.note(error);
        }
    }

    /// One try. The error's `waited` is for the caller to fill in.
    fn attempt(
        &mut self,
        request: &Packet,
        ids: &[u8],
        params: usize,
        until: Instant,
    ) -> Result<Vec<Vec<u8>>, ArmError> {
        self.port.clear(ClearBuffer::Input).map_err(|e| self.lost(e.into()))?;
        self.decoder.clear();
        self.transmit(request)?;
        let mut replies: Vec<Option<Packet>> = vec![None; ids.len()];
        let (mut broken, mut foreign, mut until, mut overdue) = (false, false, until, false);
        loop {
            while let Some(next) = self.decoder.next(params) {
                match next {
                    Ok(reply) if reply.params.len() == params => match ids.iter().position(|id| *id == reply.id) {
                        Some(index) if replies[index].is_none() => {
                            // Whatever becomes of the others'.
                            self.note_bits(&reply);
                            replies[index] = Some(reply);
                        }
                        _ => foreign = true,
                    },
                    Ok(_) => foreign = true,
                    Err(_) => broken = true,
                }
            }
            let Some(missing) = replies.iter().position(Option::is_none) else { break };
            if broken {
                // A broken reply is not followed by a whole one; only those of other motors may still come.
                until = until.min(Instant::now() + QUIET);
            }
            if overdue || !self.fill(until)? {
                let (port, motor) = (self.path.clone(), self.motor(ids[missing]));
                return Err(match (broken, foreign) {
                    (true, _) => ArmError::Checksum { port, motor },
                    (false, true) => ArmError::Foreign { port, motor },
                    (false, false) => ArmError::Timeout { port, motor, waited: Duration::ZERO },
                });
            }
            overdue = Instant::now() >= until;
        }
        Ok(replies.into_iter().flatten().map(|reply| reply.params).collect())
    }

    /// Keeps the error that a motor reports with its reply.
    fn note_bits(&mut self, reply: &Packet) {
        let bits = ErrorBits(reply.code);
        if bits.any() {
            self.note(ArmError::Servo { port: self.path.clone(), motor: self.motor(reply.id), bits });
        }
    }

    fn transmit(&mut self, packet: &Packet) -> Result<(), ArmError> {
        self.port.set_timeout(LONGEST_WRITE).map_err(|e| self.lost(e.into()))?;
        self.port.write_all(&packet.encode()).map_err(|e| self.lost(e))
    }

    /// Waits for bytes and gives them to the decoder. False when there are none by `until`. What has come is taken even
    /// then: a busy machine may not have let this thread look for it in time.
    fn fill(&mut self, until: Instant) -> Result<bool, ArmError> {
        let mut bytes = [0; 256];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.port.set_timeout(left).map_err(|e| self.lost(e.into()))?;
            match self.port.read(&mut bytes) {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    self.decoder.push(&bytes[..n]);
                    return Ok(true);
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Interrupted) => {
                    if left.is_zero() {
                        return Ok(false);
                    }
                }
                Err(e) => return Err(self.lost(e)),
            }
        }
    }

    /// Reads until nothing comes any more.
    fn drain(&mut self) -> Result<(), ArmError> {
        let end = Instant::now() + LONGEST_DRAIN;
        while Instant::now() < end && self.fill(end.min(Instant::now() + QUIET))? {}
        Ok(())
    }

    fn is_suspicious(&self) -> bool {
        self.suspicious_until.is_some_and(|until| Instant::now() < until)
    }

    /// The motor of an id, for messages.
    pub fn motor(&self, id: u8) -> Motor {
        self.motors.iter().copied().find(|m| m.id == id).unwrap_or(Motor { id, name: "unknown" })
    }

    fn goal_error(&self, id: u8, value: i32) -> ArmError {
        ArmError::Goal { motor: self.motor(id), value: value as f32 }
    }

    fn lost(&self, source: io::Error) -> ArmError {
        ArmError::PortLost { port: self.path.clone(), source }
    }
}

/// Why a port could not be opened, with what a person can do about it.
fn open_error(path: &str, error: serialport::Error) -> ArmError {
    let port = path.to_string();
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => ArmError::PortAbsent { port, found: serial_ports() },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => ArmError::PortPermission { port },
        ErrorKind::NoDevice => ArmError::PortBusy { port, holder: InUse(Path::new(path)).to_string() },
        _ => ArmError::PortUnusable { port, reason: error.description },
    }
}

/// The serial ports of this machine that an arm could be on, stable names first.
fn serial_ports() -> Vec<String> {
    let list = |folder: &str, prefixes: &[&str]| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        names.sort();
        names
    };
    [list("/dev/serial/by-id", &[""]), list("/dev", &["ttyACM", "ttyUSB"])].concat()
}
