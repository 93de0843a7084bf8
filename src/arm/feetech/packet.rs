//! The packets of the Feetech protocol, without I/O.
//!
//! Requests and replies share one form: `FF FF id length code parameters… checksum`, where `length` counts everything
//! after itself, `code` is the instruction of a request or the error bits of a reply, and the checksum is the
//! complement of the sum from `id` on. Words are little-endian.

/// The address that every servo listens to.
pub const BROADCAST: u8 = 0xFE;
/// Most parameters a packet can have: `length` is one byte and counts the code and the checksum too.
pub const MAX_PARAMS: usize = 253;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Instruction {
    Ping = 0x01,
    Read = 0x02,
    Write = 0x03,
    /// A write that waits for [`Instruction::Action`].
    RegWrite = 0x04,
    Action = 0x05,
    SyncRead = 0x82,
    SyncWrite = 0x83,
}

impl Instruction {
    /// The instruction of a code byte.
    pub fn from_code(code: u8) -> Option<Instruction> {
        use Instruction::*;
        [Ping, Read, Write, RegWrite, Action, SyncRead, SyncWrite].into_iter().find(|i| *i as u8 == code)
    }
}

/// A request or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Whom a request is for, or who replies.
    pub id: u8,
    /// The instruction of a request, the error bits of a reply.
    pub code: u8,
    /// At most [`MAX_PARAMS`]; more are cut off when the packet is encoded.
    pub params: Vec<u8>,
}

impl Packet {
    /// Asks whether servo `id` is there.
    pub fn ping(id: u8) -> Packet {
        Packet::request(id, Instruction::Ping, vec![])
    }

    /// Asks for `len` bytes from register address `addr` on.
    pub fn read(id: u8, addr: u8, len: u8) -> Packet {
        Packet::request(id, Instruction::Read, vec![addr, len])
    }

    /// Stores `data` from register address `addr` on.
    pub fn write(id: u8, addr: u8, data: &[u8]) -> Packet {
        Packet::request(id, Instruction::Write, [&[addr], data].concat())
    }

    /// Asks each of `ids` for `len` bytes from `addr` on; each replies with a packet of its own, in the order of `ids`.
    pub fn sync_read(addr: u8, len: u8, ids: &[u8]) -> Packet {
        Packet::request(BROADCAST, Instruction::SyncRead, [&[addr, len], ids].concat())
    }

    /// Stores `len` bytes from `addr` on in many servos at once; nobody replies.
    pub fn sync_write<'a>(addr: u8, len: u8, values: impl IntoIterator<Item = (u8, &'a [u8])>) -> Packet {
        let mut params = vec![addr, len];
        for (id, data) in values {
            params.push(id);
            params.extend_from_slice(data);
        }
        Packet::request(BROADCAST, Instruction::SyncWrite, params)
    }

    /// A request.
    pub fn request(id: u8, instruction: Instruction, params: Vec<u8>) -> Packet {
        Packet { id, code: instruction as u8, params }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let params = &self.params[..self.params.len().min(MAX_PARAMS)];
        let mut bytes = Vec::with_capacity(6 + params.len());
        bytes.extend([0xFF, 0xFF, self.id, params.len() as u8 + 2, self.code]);
        bytes.extend(params);
        bytes.push(checksum(&bytes[2..]));
        bytes
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    !bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b))
}

/// A header was found whose packet has a wrong checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of motor {id} has checksum 0x{found:02X}, 0x{expected:02X} was expected")]
pub struct BadChecksum {
    pub id: u8,
    pub expected: u8,
    pub found: u8,
}

/// Takes packets out of a stream of bytes and finds the next header after anything that is not one.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes that were no part of a packet, since [`Decoder::take_skipped`].
    skipped: usize,
    /// So many of the next bytes belong to a packet that was broken.
    broken: usize,
}

impl Decoder {
    /// Adds bytes in the order of their arrival.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets everything that has arrived.
    pub fn clear(&mut self) {
        self.buffer.clear();
        (self.skipped, self.broken) = (0, 0);
    }

    /// How many bytes were noise between packets, since the last call. Those of broken packets are not counted.
    pub fn take_skipped(&mut self) -> usize {
        std::mem::take(&mut self.skipped)
    }

    /// True when no byte waits for the rest of its packet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next packet with at most `max_params` parameters, or none until more bytes arrive.
    ///
    /// A header that promises more than `max_params` is taken for noise. Noise therefore never swallows a packet of
    /// `max_params` that follows it: a false header is judged by the time that packet is complete.
    pub fn next(&mut self, max_params: usize) -> Option<Result<Packet, BadChecksum>> {
        loop {
            let start = self.header()?;
            self.skip(start);
            let [_, _, id, length, ..] = self.buffer[..] else { return None };
            let length = usize::from(length);
            if id == 0xFF || length < 2 || length - 2 > max_params {
                self.skip(1);
                continue;
            }
            let body = self.buffer.get(2..4 + length)?;
            let (content, found) = (&body[..body.len() - 1], body[body.len() - 1]);
            let expected = checksum(content);
            if expected != found {
                // Only the first byte goes: the real header may stand inside what looked like a packet.
                self.take(1);
                self.broken = self.broken.max(3 + length);
                return Some(Err(BadChecksum { id, expected, found }));
            }
            let packet = Packet { id, code: content[2], params: content[3..].to_vec() };
            self.take(4 + length);
            return Some(Ok(packet));
        }
    }

    /// Where the next header starts. Without one, only a last `FF` is kept, which may be the first half of a header.
    fn header(&mut self) -> Option<usize> {
        let start = self.buffer.windows(2).position(|w| w == [0xFF, 0xFF]);
        if start.is_none() {
            let keep = usize::from(self.buffer.last() == Some(&0xFF));
            self.skip(self.buffer.len() - keep);
        }
        start
    }

    fn skip(&mut self, bytes: usize) {
        self.skipped += bytes.saturating_sub(self.broken);
        self.take(bytes);
    }

    fn take(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.broken = self.broken.saturating_sub(bytes);
    }
}

/// The error bits of a reply. Unknown bits are kept and named by their value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBits(pub u8);

impl ErrorBits {
    const NAMES: [(u8, &'static str); 5] =
        [(1, "input voltage"), (2, "angle sensor"), (4, "overheat"), (8, "overcurrent"), (32, "overload")];
    /// Those that have a kind of their own, the most serious first: an overloaded joint is pushed against something now, one
    /// that is hot will stop soon, and a wrong voltage is in all motors.
    const KINDS: [(u8, &'static str); 3] = [(32, "overload"), (4, "overheat"), (1, "voltage")];

    /// The most serious of them, from a bounded set: a metric label.
    pub fn kind(self) -> &'static str {
        Self::KINDS.iter().find(|(bit, _)| self.0 & bit != 0).map_or("servo_error", |(_, kind)| *kind)
    }

    /// True when a bit is set.
    pub fn any(self) -> bool {
        self.0 != 0
    }
}

impl std::fmt::Display for ErrorBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for bit in (0..8).map(|k| 1u8 << k).filter(|bit| self.0 & bit != 0) {
            f.write_str(separator)?;
            match Self::NAMES.iter().find(|(named, _)| *named == bit) {
                Some((_, name)) => f.write_str(name)?,
                None => write!(f, "unknown error bit 0x{bit:02X}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder, max_params: usize) -> (Vec<Packet>, usize) {
        let (mut packets, mut bad) = (Vec::new(), 0);
        while let Some(next) = decoder.next(max_params) {
            match next {
                Ok(packet) => packets.push(packet),
                Err(_) => bad += 1,
            }
        }
        (packets, bad)
    }

    #[test]
    fn known_packets() {
        assert_eq!(Packet::ping(1).encode(), [0xFF, 0xFF, 1, 2, 1, 0xFB]);
        assert_eq!(
            Packet::sync_read(0x38, 2, &[1, 2, 3, 4, 5, 6]).encode(),
            [0xFF, 0xFF, 0xFE, 0x0A, 0x82, 0x38, 2, 1, 2, 3, 4, 5, 6, 0x26]
        );
        assert_eq!(
            Packet::sync_write(0x2A, 2, [(1, &[0x2F, 7][..]), (2, &[0xB2, 6][..])]).encode()[..11],
            [0xFF, 0xFF, 0xFE, 0x0A, 0x83, 0x2A, 2, 1, 0x2F, 7, 2]
        );
    }

    #[test]
    fn error_bits_by_name() {
        assert_eq!(ErrorBits(0x25).to_string(), "input voltage, overheat, overload");
        assert_eq!(ErrorBits(0x40).to_string(), "unknown error bit 0x40");
        let kinds =
            [(0x25, "overload"), (0x05, "overheat"), (0x0B, "voltage"), (0x0A, "servo_error"), (0x40, "servo_error")];
        kinds.into_iter().for_each(|(bits, kind)| assert_eq!(ErrorBits(bits).kind(), kind, "{bits:#x}"));
    }

    #[test]
    fn a_packet_behind_a_broken_one_is_found() {
        let mut decoder = Decoder::default();
        let mut broken = Packet { id: 1, code: 0, params: vec![1, 2] }.encode();
        broken[5] ^= 1;
        decoder.push(&broken);
        let good = Packet { id: 2, code: 0, params: vec![3, 4] };
        decoder.push(&good.encode());
        assert_eq!(all(&mut decoder, 2), (vec![good], 1));
        assert!(decoder.is_empty());
        assert_eq!(decoder.take_skipped(), 0, "a broken packet is no noise");
        decoder.push(&[&[0, 7][..], &broken, &[9]].concat());
        assert_eq!(all(&mut decoder, 2), (vec![], 1));
        assert_eq!(decoder.take_skipped(), 3, "what stands before and behind it is");
    }

    proptest! {
        #[test]
        fn any_packet_survives_the_wire(id in 0u8..=0xFE, code: u8, params in prop::collection::vec(any::<u8>(), 0..=MAX_PARAMS)) {
            let packet = Packet { id, code, params };
            let mut decoder = Decoder::default();
            for byte in packet.encode() {
                prop_assert!(decoder.next(MAX_PARAMS).is_none());
                decoder.push(&[byte]);
            }
            prop_assert_eq!(decoder.next(MAX_PARAMS), Some(Ok(packet)));
        }

        #[test]
        fn random_bytes_neither_panic_nor_stick(chunks in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0xFFu8), any::<u8>()], 0..40), 0..20), max in 0usize..=MAX_PARAMS) {
            let mut decoder = Decoder::default();
            for chunk in &chunks {
                decoder.push(chunk);
                all(&mut decoder, max);
            }
            // What is left is at most one packet that is not complete.
            prop_assert!(decoder.buffer.len() < max + 6);
        }

        #[test]
        fn noise_before_a_packet_is_skipped(noise in prop::collection::vec(any::<u8>(), 0..60), params in prop::collection::vec(any::<u8>(), 2)) {
            // Without a full header in the noise nothing but the packet can be found, whatever stands before it.
            let noise: Vec<u8> = noise.into_iter().map(|b| b.min(0xFE)).chain([0xFF]).collect();
            let packet = Packet { id: 3, code: 0, params };
            let mut decoder = Decoder::default();
            decoder.push(&noise);
            decoder.push(&packet.encode());
            prop_assert_eq!(all(&mut decoder, 2), (vec![packet], 0));
        }

        #[test]
        fn false_headers_do_not_hide_a_packet(noise in prop::collection::vec(prop_oneof![Just(0xFFu8), 0u8..8], 0..60)) {
            let packet = Packet { id: 3, code: 0, params: vec![0xFF, 7] };
            let mut decoder = Decoder::default();
            decoder.push(&noise);
            decoder.push(&packet.encode());
            // The one thing that can hide it is noise with a right checksum, which is then a packet itself.
            let (packets, _) = all(&mut decoder, 2);
            prop_assert!(!packets.is_empty());
        }
    }
}
