//! What becomes of replies on their way: faults by command, each for a number of replies.

use std::time::Duration;

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is never sent.
    Lost,
    /// It is sent right before what answers the so many-th request after this one, whatever the time. Other replies are
    /// not held back by it.
    Late(u32),
    /// It is sent so much later, in real time. Other replies are not held back by it.
    LateBy(Duration),
    /// Its checksum is wrong.
    BadChecksum,
    /// Bytes that no servo has sent are on the wire, each time others: some look like the start of a packet.
    Noise(Noise),
    /// It carries these error bits, in addition to those that its servo reports anyway ([`super::SimBus::poke`] of
    /// `Status`).
    ErrorBits(u8),
}

/// Where noise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// In front of the reply.
    Before,
    /// The reply is drowned in it.
    Instead,
    /// Behind the reply.
    Behind,
}

/// Noise of every sort: plain bytes; half a header; headers of which one promises more than ever comes, and one a reply
/// that is cut off; nothing but ones; a line that is held down.
const NOISE: [&[u8]; 6] = [
    &[0x12, 0xA5, 0x00, 0x7E, 0x40],
    &[0x00, 0xFF],
    &[0xFF, 0xFF, 0x01, 0xFA, 0x00],
    &[0xFF, 0xFF, 0x03, 0x04, 0x00, 0x10],
    &[0xFF; 9],
    &[0x00; 40],
];

/// When a reply, or what is left of it, is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// So much later than it would have been.
    After(Duration, Vec<u8>),
    /// With what answers the so many-th request from now.
    With(u32, Vec<u8>),
}

/// The faults that wait for their replies.
#[derive(Debug, Default)]
pub struct Faults {
    /// The fault, whose replies it hits (all servos' if none), and how many more.
    waiting: Vec<(Fault, Option<u8>, usize)>,
    /// How often there was noise.
    noises: usize,
}

impl Faults {
    /// Lets the next `count` replies, of one id or of any, meet a fault.
    pub fn add(&mut self, fault: Fault, motor: Option<u8>, count: usize) {
        if count > 0 {
            self.waiting.push((fault, motor, count));
        }
    }

    /// Forgets all that are left.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The first fault that is for a reply of this id, used up by it.
    pub fn take(&mut self, id: u8) -> Option<Fault> {
        let (fault, _, count) = self.waiting.iter_mut().find(|(_, motor, _)| motor.is_none_or(|motor| motor == id))?;
        *count -= 1;
        let fault = *fault;
        self.waiting.retain(|(_, _, count)| *count > 0);
        Some(fault)
    }

    /// What a fault makes of a reply's bytes. Error bits stand in them already.
    pub fn spoil(&mut self, fault: Option<Fault>, mut bytes: Vec<u8>) -> Option<Sent> {
        let mut after = Duration::ZERO;
        match fault {
            Some(Fault::Lost) => return None,
            Some(Fault::Late(requests)) => return Some(Sent::With(requests, bytes)),
            Some(Fault::LateBy(time)) => after = time,
            Some(Fault::BadChecksum) => bytes.last_mut().into_iter().for_each(|checksum| *checksum ^= 0x55),
            Some(Fault::Noise(place)) => {
                let noise = NOISE[self.noises % NOISE.len()];
                self.noises += 1;
                bytes = match place {
                    Noise::Before => [noise, &bytes].concat(),
                    Noise::Instead => noise.to_vec(),
                    Noise::Behind => [&bytes, noise].concat(),
                };
            }
            Some(Fault::ErrorBits(_)) | None => {}
        }
        Some(Sent::After(after, bytes))
    }
}
