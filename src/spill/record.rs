//! A frame on disk: a header of [`HEADER_BYTES`] that says all that every frame has, and the frame's bytes. Pure.
//!
//! ```text
//!  0 magic "RFR1"    8 index     24 sequence         40 captured, UTC   64 width    72 fourcc
//!  4 CRC-32 of all  16 camera   32 captured, mono   48 arrived, mono   68 height   76 kind, see `Kind`
//!    that follows   20 length                       56 arrived, UTC                77 1: the bytes end with a tail, see `tail.rs`
//!                                                                  78 two zeros
//! ```
//!
//! Integers are little-endian, times nanoseconds. Only [`Kind::Frame`] has bytes; the others show the picture of
//! the record before them.

use super::tail;
use crate::budget::Credit;
use crate::clock::Stamp;
use crate::codec::view::View;
use crate::frame::{Frame, PixelFormat};

pub const HEADER_BYTES: usize = 80;
/// Most bytes of one frame, twice those of YUYV at 8192x8192. A longer one is refused, and taken for damage when read.
pub const MOST_BYTES: usize = 256 << 20;

const MAGIC: [u8; 4] = *b"RFR1";

/// What a row shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frame of its own.
    Frame = 1,
    /// The frame of the row before: there was no newer one.
    Repeat = 2,
    /// The frame of the row before, in place of one that was dropped.
    StandIn = 3,
}

/// All of a frame but its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Row of the take.
    pub index: u64,
    pub kind: Kind,
    /// Bytes that follow the header.
    pub len: usize,
    /// The bytes end with a tail.
    tail: bool,
    camera: usize,
    sequence: u64,
    captured: Stamp,
    arrived: Stamp,
    format: PixelFormat,
    width: u32,
    height: u32,
}

/// Why bytes are not a record.
pub type Damage = &'static str;

impl Record {
    /// Of a frame that is shown in row `index`.
    pub fn new(index: u64, frame: &Frame) -> Record {
        let Frame { camera, sequence, captured, arrived, format, width, height, .. } = *frame;
        let (len, tail) = (tail::bytes(frame), tail::has_tail(frame));
        Record { index, kind: Kind::Frame, len, tail, camera, sequence, captured, arrived, format, width, height }
    }

    /// Of the same frame, shown again in row `index`.
    pub fn again(self, index: u64, kind: Kind) -> Record {
        Record { index, kind, len: 0, ..self }
    }

    /// The header, for these bytes.
    pub fn header(&self, data: &[u8]) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &self.index.to_le_bytes());
        put(16, &(self.camera as u32).to_le_bytes());
        put(20, &(data.len() as u32).to_le_bytes());
        put(24, &self.sequence.to_le_bytes());
        put(32, &self.captured.mono_ns.to_le_bytes());
        put(40, &self.captured.utc_ns.to_le_bytes());
        put(48, &self.arrived.mono_ns.to_le_bytes());
        put(56, &self.arrived.utc_ns.to_le_bytes());
        put(64, &self.width.to_le_bytes());
        put(68, &self.height.to_le_bytes());
        put(72, &self.format.fourcc());
        put(76, &[self.kind as u8, self.tail.into()]);
        let crc = checksum(&header, data);
        header[4..8].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// The bytes that follow a header: as much can be trusted before they are read.
    pub fn len(header: &[u8; HEADER_BYTES]) -> Result<usize, Damage> {
        let len = u32_at(header, 20) as usize;
        if header[..4] != MAGIC {
            Err("no record begins there")
        } else if len > MOST_BYTES {
            Err("its length is none that a frame can have")
        } else {
            Ok(len)
        }
    }

    /// Reads a header, and holds it and the bytes that follow it against the checksum.
    pub fn parse(header: &[u8; HEADER_BYTES], data: &[u8]) -> Result<Record, Damage> {
        if Record::len(header)? != data.len() || u32_at(header, 4) != checksum(header, data) {
            return Err("its checksum is not that of its bytes");
        }
        let stamp = |at: usize| Stamp { mono_ns: u64_at(header, at), utc_ns: u64_at(header, at + 8) };
        Ok(Record {
            index: u64_at(header, 8),
            kind: [Kind::Frame, Kind::Repeat, Kind::StandIn]
                .into_iter()
                .find(|kind| *kind as u8 == header[76])
                .ok_or("its kind is not known")?,
            len: data.len(),
            tail: header[77] == 1,
            camera: u32_at(header, 16) as usize,
            sequence: u64_at(header, 24),
            captured: stamp(32),
            arrived: stamp(48),
            format: PixelFormat::from_fourcc(&header[72..76]).ok_or("its pixel format is not known")?,
            width: u32_at(header, 64),
            height: u32_at(header, 68),
        })
    }

    /// The frame again, from all its bytes.
    pub fn frame(self, mut data: Vec<u8>, credit: Credit) -> Result<Frame, Damage> {
        let Record { camera, sequence, captured, arrived, format, width, height, tail, .. } = self;
        let (view, coded) = if tail { tail::split(&mut data)? } else { (View::default(), None) };
        Ok(Frame { camera, sequence, captured, arrived, format, width, height, view, data: data.into(), coded, credit })
    }
}

fn checksum(header: &[u8; HEADER_BYTES], data: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[8..]);
    crc.update(data);
    crc.finalize()
}

fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}

fn u64_at(header: &[u8; HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| header[at + i]))
}
