//! One transaction: a request, the replies that came in time, and further tries for those that did not.

use super::Bus;
use crate::arm::ArmError;
use crate::arm::feetech::packet::{ErrorBits, Packet};
use crate::arm::feetech::registers::Register;
use serialport::{ClearBuffer, SerialPort};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// In simulated time no reply is lost, and a transaction may take this long, so that a busy machine cannot change what is
/// recorded.
const SIMULATED_TRY: Duration = Duration::from_secs(60);
/// The line counts as quiet after this long without a byte.
pub(super) const QUIET: Duration = Duration::from_millis(1);
/// The longest that a failed try waits for quiet; a line that chatters on is left to the next flush.
const LONGEST_DRAIN: Duration = Duration::from_millis(4);
/// A port that takes no bytes for this long counts as lost; a busy machine may hold them up for some time.
const LONGEST_WRITE: Duration = Duration::from_secs(1);
/// How long after a failure replies are told apart by their length.
pub const SUSPICION: Duration = Duration::from_secs(10);
/// Bytes of the largest register. Under suspicion all reads ask for more, so that their lengths tell failures apart and
/// never registers.
const LARGEST: u8 = 4;
/// So many lengths there are beyond that.
const LENGTHS: u64 = 8;
/// Transactions of which the usual time is told; later ones are not looked at.
const MOST_ROUND_TRIPS: usize = 256;

/// What one try has heard.
#[derive(Default)]
struct Heard {
    replies: Vec<Packet>,
    /// Whose replies came broken. Noise can name any id.
    broken: Vec<u8>,
    /// Whose replies are the answer to something else.
    foreign: Vec<u8>,
    /// Whose replies came after too many missed tries to be believed.
    doubted: Vec<u8>,
}

impl Heard {
    fn has(&self, id: u8) -> bool {
        self.replies.iter().any(|reply| reply.id == id)
    }
}

/// The parameters of the replies in the order of the motors that were asked, and why the others are missing: one error at
/// least where a motor is.
struct Replies {
    params: Vec<Option<Vec<u8>>>,
    errors: Vec<ArmError>,
}

impl Bus {
    /// Asks one motor; the parameters of its reply. `request` is given the number of bytes to ask for: `size`, or more for
    /// a while after a failure; with a `size` of 0 none are asked for.
    pub(super) fn ask(
        &mut self,
        id: u8,
        size: u8,
        deadline: Instant,
        request: impl Fn(u8) -> Packet,
    ) -> Result<Vec<u8>, ArmError> {
        let Replies { params, errors } = self.transact(&[id], size, deadline, |_, len| request(len))?;
        let waited = Duration::ZERO;
        let error = errors.into_iter().next();
        let error =
            error.unwrap_or_else(|| ArmError::Timeout { port: self.path.clone(), motor: self.motor(id), waited });
        params.into_iter().flatten().next().ok_or(error)
    }

    /// Asks many motors for a register; the values of those that answered in the order of `ids`, and why the others
    /// have not.
    pub(super) fn ask_many(
        &mut self,
        ids: &[u8],
        register: Register,
        deadline: Instant,
    ) -> Result<(Vec<Option<i32>>, Vec<ArmError>), ArmError> {
        let request = |ids: &[u8], len| Packet::sync_read(register.addr, len, ids);
        let Replies { params, errors } = self.transact(ids, register.size, deadline, request)?;
        Ok((params.iter().map(|params| params.as_ref().map(|bytes| register.decode(bytes))).collect(), errors))
    }

    /// One question to `ids`, tried again for those that are missing, until the deadline or until there are no more
    /// retries. An error only where the port is lost. `request` is given whom to ask and for how many bytes.
    fn transact(
        &mut self,
        ids: &[u8],
        size: u8,
        deadline: Instant,
        request: impl Fn(&[u8], u8) -> Packet,
    ) -> Result<Replies, ArmError> {
        let start = Instant::now();
        let (deadline, patience) = match self.simulated {
            true => (deadline.max(start + SIMULATED_TRY), SIMULATED_TRY),
            false => (deadline, self.patience),
        };
        let mut params: Vec<Option<Vec<u8>>> = vec![None; ids.len()];
        let (mut tries, mut before) = (0, Vec::new());
        loop {
            let missing: Vec<usize> = (0..ids.len()).filter(|i| params[*i].is_none()).collect();
            let asked: Vec<u8> = missing.iter().map(|i| ids[*i]).collect();
            let len = if size > 0 && self.is_suspicious() { self.telling(size) } else { size };
            let until = deadline.min(Instant::now() + patience);
            let heard = self.attempt(&request(&asked, len), &asked, usize::from(len), until)?;
            for (index, id) in missing.iter().zip(&asked) {
                params[*index] = heard.replies.iter().find(|reply| reply.id == *id).map(|reply| reply.params.clone());
            }
            let is_whole = asked.len() == ids.len();
            let mut errors = self.judge(&asked, is_whole, &heard, start.elapsed());
            if heard.replies.len() == asked.len() {
                before.into_iter().for_each(|error| self.note(error));
                if tries == 0 && self.round_trips.len() < MOST_ROUND_TRIPS {
                    self.round_trips.push(start.elapsed());
                }
                return Ok(Replies { params, errors });
            }
            self.suspicious_until = Some(Instant::now() + SUSPICION);
            self.failures += 1;
            if self.drain()? {
                self.owing_since.retain(|id, _| !heard.doubted.contains(id));
            }
            let is_last = Instant::now() >= deadline || tries >= self.retries;
            // A last try that the deadline cuts short ends in silence, which says less than the broken reply before it.
            let is_silence = |error: &ArmError| matches!(error, ArmError::Timeout { .. } | ArmError::NoAnswer { .. });
            if is_last && errors.len() == before.len() && errors.iter().all(is_silence) {
                std::mem::swap(&mut errors, &mut before);
            }
            before.drain(..).for_each(|error| self.note(error));
            if is_last {
                return Ok(Replies { params, errors });
            }
            before = errors;
            tries += 1;
        }
    }

    /// One try.
    fn attempt(&mut self, request: &Packet, asked: &[u8], params: usize, until: Instant) -> Result<Heard, ArmError> {
        self.port.clear(ClearBuffer::Input).map_err(|e| self.lost(e.into()))?;
        self.decoder.clear();
        self.transmit(request)?;
        let (mut heard, mut overdue) = (Heard::default(), false);
        loop {
            while heard.replies.len() < asked.len()
                && let Some(next) = self.decoder.next(params)
            {
                let reply = match next {
                    Ok(reply) => reply,
                    Err(bad) => {
                        heard.broken.push(bad.id);
                        continue;
                    }
                };
                let id = reply.id;
                if reply.params.len() != params || !asked.contains(&id) || heard.has(id) {
                    heard.foreign.push(id);
                } else if self.owing_since.get(&id).is_some_and(|since| self.failures - since >= LENGTHS) {
                    heard.doubted.push(id);
                } else {
                    // Whatever becomes of the others'.
                    self.note_bits(&reply);
                    heard.replies.push(reply);
                }
            }
            // A reply that cannot be used is not followed by one that can; only those of other motors may still come.
            let hopeless = !(heard.broken.is_empty() && heard.doubted.is_empty());
            let until = if hopeless { until.min(self.last_byte + QUIET) } else { until };
            if heard.replies.len() == asked.len() || overdue || !self.fill(until)? {
                break;
            }
            overdue = Instant::now() >= until;
        }
        for id in asked {
            if heard.has(*id) {
                self.owing_since.remove(id);
            } else {
                self.owing_since.entry(*id).or_insert(self.failures);
            }
        }
        let skipped = self.decoder.take_skipped();
        if skipped > 0 {
            self.note(ArmError::Noise { port: self.path.clone(), bytes: skipped });
        }
        Ok(heard)
    }

    /// One error for each motor that has not answered, or a single one where none of the whole arm has. What else was heard
    /// that does not belong there is noted.
    fn judge(&mut self, asked: &[u8], is_whole: bool, heard: &Heard, waited: Duration) -> Vec<ArmError> {
        let silent: Vec<u8> = asked.iter().copied().filter(|id| !heard.has(*id)).collect();
        let port = || self.path.clone();
        // A broken reply can name any motor; it is most likely that of the first that is missing.
        let stray = heard.broken.iter().any(|id| !silent.contains(id));
        let error = |(index, id): (usize, &u8)| {
            let motor = self.motor(*id);
            if heard.broken.contains(id) || (stray && index == 0) {
                ArmError::Checksum { port: port(), motor }
            } else if heard.doubted.contains(id) || heard.foreign.contains(id) {
                ArmError::Foreign { port: port(), motor }
            } else {
                ArmError::Timeout { port: port(), motor, waited }
            }
        };
        let is_stray = |id: &&u8| !silent.contains(id);
        let is_mute =
            heard.broken.is_empty() && heard.doubted.is_empty() && heard.foreign.iter().all(|id| is_stray(&id));
        let errors = match is_whole && asked.len() > 1 && silent.len() == asked.len() && is_mute {
            true => vec![ArmError::NoAnswer { port: port(), waited }],
            false => silent.iter().enumerate().map(error).collect(),
        };
        let foreign = |id| ArmError::Foreign { port: port(), motor: self.motor(id) };
        let mut strays: Vec<ArmError> = heard.foreign.iter().filter(is_stray).map(|id| foreign(*id)).collect();
        if let (true, Some(id)) = (silent.is_empty(), heard.broken.first()) {
            strays.push(ArmError::Checksum { port: port(), motor: self.motor(*id) });
        }
        strays.into_iter().for_each(|error| self.note(error));
        errors
    }

    /// The first of the errors; the others are kept for [`Bus::take_faults`].
    pub(super) fn first(&mut self, errors: Vec<ArmError>) -> Option<ArmError> {
        let mut errors = errors.into_iter();
        let first = errors.next();
        errors.for_each(|error| self.note(error));
        first
    }

    /// Keeps the error that a motor reports with its reply.
    fn note_bits(&mut self, reply: &Packet) {
        let bits = ErrorBits(reply.code);
        if bits.any() {
            self.note(ArmError::Servo { port: self.path.clone(), motor: self.motor(reply.id), bits });
        }
    }

    pub(super) fn transmit(&mut self, packet: &Packet) -> Result<(), ArmError> {
        self.port.set_timeout(LONGEST_WRITE).map_err(|e| self.lost(e.into()))?;
        self.port.write_all(&packet.encode()).map_err(|e| self.lost(e))
    }

    /// Waits for bytes and gives them to the decoder. False when there are none by `until`. What has come is taken even
    /// then: a busy machine may not have let this thread look for it in time.
    pub(super) fn fill(&mut self, until: Instant) -> Result<bool, ArmError> {
        let mut bytes = [0; 256];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.port.set_timeout(left).map_err(|e| self.lost(e.into()))?;
            match self.port.read(&mut bytes) {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => {
                    self.last_byte = Instant::now();
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

    /// Reads until nothing comes any more: true then, false when the line chatters on.
    fn drain(&mut self) -> Result<bool, ArmError> {
        let end = Instant::now() + LONGEST_DRAIN;
        // After a try that has waited in vain the line is quiet already.
        while self.fill(end.min(self.last_byte + QUIET))? {
            if Instant::now() >= end {
                return Ok(false);
            }
        }
        Ok(self.last_byte + QUIET <= Instant::now())
    }

    /// How many bytes to ask for instead of `size`, so that the reply tells which failures came before the question.
    fn telling(&self, size: u8) -> u8 {
        LARGEST.max(size) + 1 + (self.failures % LENGTHS) as u8
    }

    pub(super) fn is_suspicious(&self) -> bool {
        self.suspicious_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn lost(&self, source: io::Error) -> ArmError {
        ArmError::PortLost { port: self.path.clone(), source }
    }
}
