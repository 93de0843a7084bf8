//! H.264 of cameras that encode themselves: each access unit becomes a picture, so that it can be repeated, left out, or
//! encoded again like any other; and stays what it was, to be stored as it came.

use super::bits::{Bits, without_emulation_prevention};
use super::bitstream::annex_b_units;
use super::sps::Sps;
use crate::config::schema::ColorRange;
use crate::frame::{Coded, DropReason, PixelFormat};
use ::openh264::decoder::{DecodedYUV, Decoder as Library};
use ::openh264::formats::YUVSource;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an access unit gives no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum H264Error {
    /// Something before it was lost or broken, or nothing came before.
    #[error("H.264 without the key frame that it builds on: pictures begin with the camera's next one")]
    NoKeyFrame,
    /// Not a byte stream of H.264 with a picture in it.
    #[error("not an H.264 picture: {0}")]
    Structure(&'static str),
    /// Not as large as the camera said.
    #[error("H.264 of {found_width}x{found_height}, expected {width}x{height}: set the camera's width and height")]
    WrongSize { width: u32, height: u32, found_width: u32, found_height: u32 },
    /// What can be recorded is 8-bit 4:2:0 without fields and B frames.
    #[error("H.264 with {0}, which no camera for robots should send: set fourcc = \"MJPG\", or change its settings")]
    Unsupported(&'static str),
    /// The decoder's words.
    #[error("H.264 that cannot be decoded: {0}")]
    Corrupt(String),
}

impl H264Error {
    /// Under which label such a frame is counted.
    pub fn reason(&self) -> DropReason {
        match self {
            H264Error::WrongSize { .. } => DropReason::WrongSize,
            _ => DropReason::Corrupt,
        }
    }
}

/// Decodes what one opening of a camera delivers, in order.
pub struct Decoder {
    library: Library,
    width: u32,
    height: u32,
    session: u64,
    /// Access units seen.
    number: u64,
    /// The driver's number of the last access unit.
    sequence: Option<u64>,
    /// Nothing that the next picture builds on is missing.
    whole: bool,
    range: ColorRange,
    /// The newest parameter sets, with start codes: some cameras send them once only.
    parameter_sets: Vec<u8>,
}

/// A picture, still in the decoder's memory.
pub struct Decoded<'a> {
    /// [`PixelFormat::I420`] or [`PixelFormat::J420`].
    pub format: PixelFormat,
    picture: DecodedYUV<'a>,
    access_unit: Cow<'a, [u8]>,
    session: u64,
    number: u64,
    key: bool,
}

impl Decoder {
    /// For pictures of this size. Each decoder is a session of its own.
    pub fn open(width: u32, height: u32) -> Result<Decoder, H264Error> {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        Ok(Decoder {
            library: library()?,
            width,
            height,
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            number: 0,
            sequence: None,
            whole: false,
            range: ColorRange::Limited,
            parameter_sets: Vec::new(),
        })
    }

    /// Decodes an access unit in the byte stream format, which the driver numbers `sequence`. After a gap, and after an
    /// error, pictures begin with the next key frame.
    pub fn decode<'a>(&'a mut self, sequence: u64, access_unit: &'a [u8]) -> Result<Decoded<'a>, H264Error> {
        let number = self.number;
        self.number += 1;
        let gap = self.sequence.replace(sequence).is_some_and(|last| last + 1 != sequence);
        let whole = std::mem::take(&mut self.whole) && !gap;
        let key = self.look_through(access_unit)?;
        if !key && !whole {
            return Err(H264Error::NoKeyFrame);
        }
        let lacks_sets = key && !annex_b_units(access_unit).any(|nal| kind(nal) == SPS);
        let access_unit = match lacks_sets {
            true => Cow::Owned([&self.parameter_sets, access_unit].concat()),
            false => Cow::Borrowed(access_unit),
        };
        if !whole {
            // What a broken picture left behind must not live on.
            self.library = library()?;
        }
        let corrupt = |words: &dyn std::fmt::Display| H264Error::Corrupt(words.to_string());
        let picture = match self.library.decode(&access_unit) {
            Ok(Some(picture)) => picture,
            Ok(None) => return Err(corrupt(&"no picture came of it")),
            Err(error) => return Err(corrupt(&format_args!("openh264 gives {}", error.native_code()))),
        };
        let (width, height) = picture.dimensions();
        if (width, height) != (self.width as usize, self.height as usize) {
            return Err(corrupt(&"its picture has another size than it says"));
        }
        self.whole = true;
        let format = if self.range == ColorRange::Full { PixelFormat::J420 } else { PixelFormat::I420 };
        Ok(Decoded { format, picture, access_unit, session: self.session, number, key })
    }

    /// Holds the parameter sets against what can be recorded, and keeps them; true for a key frame.
    fn look_through(&mut self, access_unit: &[u8]) -> Result<bool, H264Error> {
        let (mut pictures, mut slices, mut keys) = (0, 0, 0);
        for nal in annex_b_units(access_unit) {
            match kind(nal) {
                SPS => {
                    self.parameter_sets.clear();
                    self.keep(nal);
                    self.check(nal)?;
                }
                PPS => self.keep(nal),
                slice @ (SLICE | KEY_SLICE) => {
                    slices += 1;
                    keys += u32::from(slice == KEY_SLICE);
                    let (first, kind) = slice_start(nal).ok_or(H264Error::Structure("a slice is cut off"))?;
                    pictures += u32::from(first == 0);
                    if kind % 5 == B_SLICE {
                        return Err(H264Error::Unsupported("B frames"));
                    }
                }
                2..=4 => return Err(H264Error::Unsupported("data partitions")),
                _ => {}
            }
        }
        match (slices, keys) {
            (0, _) => Err(H264Error::Structure("no slice in it")),
            _ if pictures != 1 => Err(H264Error::Structure("not one whole picture at a time")),
            (_, 0) => Ok(false),
            // The decoder would take whatever came before for its parameters.
            _ if self.parameter_sets.is_empty() => Err(H264Error::Structure("no parameter sets before its key frame")),
            (slices, keys) => Ok(slices == keys),
        }
    }

    fn keep(&mut self, nal: &[u8]) {
        const MOST_BYTES: usize = 1 << 12;
        if self.parameter_sets.len() + nal.len() < MOST_BYTES {
            self.parameter_sets.extend_from_slice(&[0, 0, 0, 1]);
            self.parameter_sets.extend_from_slice(nal);
        }
    }

    fn check(&mut self, sps: &[u8]) -> Result<(), H264Error> {
        let sps = Sps::parse(sps).ok_or(H264Error::Structure("its sequence parameter set cannot be read"))?;
        if !sps.plain {
            return Err(H264Error::Unsupported("fields, more than 8 bits, or a chroma sampling other than 4:2:0"));
        }
        let (width, height) = (self.width, self.height);
        if (sps.width, sps.height) != (width, height) {
            let (found_width, found_height) = (sps.width, sps.height);
            return Err(H264Error::WrongSize { width, height, found_width, found_height });
        }
        self.range = sps.range;
        Ok(())
    }
}

impl Decoded<'_> {
    /// Bytes of the planes and of what was decoded.
    pub fn bytes(&self) -> usize {
        let (width, height) = self.picture.dimensions();
        width * height / 2 * 3 + self.access_unit.len()
    }

    /// The picture's planes without padding, and what they were decoded from.
    pub fn into_parts(self) -> (Vec<u8>, Coded) {
        let (width, height) = self.picture.dimensions();
        let mut planes = Vec::with_capacity(width * height / 2 * 3);
        let (y, u, v) = self.picture.strides();
        let (half_width, half_height) = (width / 2, height / 2);
        for (plane, stride, width, height) in [
            (self.picture.y(), y, width, height),
            (self.picture.u(), u, half_width, half_height),
            (self.picture.v(), v, half_width, half_height),
        ] {
            plane.chunks(stride).take(height).for_each(|row| planes.extend_from_slice(&row[..width]));
        }
        let Decoded { access_unit, session, number, key, .. } = self;
        (planes, Coded { data: access_unit.into_owned(), session, number, key })
    }
}

const SLICE: u8 = 1;
const KEY_SLICE: u8 = 5;
/// Of the types in slices' headers, which count twice to 5.
const B_SLICE: u64 = 1;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// The type of a NAL unit, which is not empty.
fn kind(nal: &[u8]) -> u8 {
    nal[0] & 0x1f
}

/// Where a slice begins in its picture, 0 at its start, and its type.
pub fn slice_start(slice: &[u8]) -> Option<(u64, u64)> {
    // Two numbers of at most 32 bits at the start.
    let start = without_emulation_prevention(slice.get(1..slice.len().min(20))?);
    let mut bits = Bits::new(&start);
    Some((bits.exp_golomb()?, bits.exp_golomb()?))
}

fn library() -> Result<Library, H264Error> {
    Library::new().map_err(|error| H264Error::Corrupt(format!("the decoder does not start: {error}")))
}

/// Which of the access units that cameras deliver go into a video as they came. A key frame may always; another one only
/// behind the one that it builds on, if that was stored as it came.
#[derive(Debug, Default)]
pub struct Chain {
    /// Session and number of what the video shows last; none for a picture of another kind.
    shown: Option<(u64, u64)>,
    /// It was stored as it came.
    stored: bool,
}

impl Chain {
    /// The next picture, and what it was decoded from: whether that is stored. One that is shown again is not.
    pub fn stores(&mut self, coded: Option<&Coded>) -> bool {
        let this = coded.map(|coded| (coded.session, coded.number));
        let again = this.is_some() && this == self.shown;
        let follows =
            self.stored && this.is_some() && this == self.shown.map(|(session, number)| (session, number + 1));
        self.stored = coded.is_some_and(|coded| coded.key || follows) && !again;
        self.shown = this;
        self.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures as session, number, `k` for a key frame; what is stored.
    fn check(pictures: &[(u64, u64, bool)], expected: &[bool]) {
        let mut chain = Chain::default();
        let coded = |&(session, number, key): &(u64, u64, bool)| Coded { data: Vec::new(), session, number, key };
        let stored: Vec<bool> = pictures.iter().map(|picture| chain.stores(Some(&coded(picture)))).collect();
        assert_eq!(stored, expected, "{pictures:?}");
    }

    #[test]
    fn an_unbroken_chain_from_a_key_frame_is_stored() {
        check(&[(0, 0, true), (0, 1, false), (0, 2, false), (0, 3, true)], &[true; 4]);
        // Begun between key frames.
        check(&[(0, 4, false), (0, 5, false), (0, 6, true), (0, 7, false)], &[false, false, true, true]);
        // A row that repeats, also the key frame's, several times.
        check(&[(0, 0, true), (0, 0, true), (0, 0, true), (0, 1, false)], &[true, false, false, false]);
        check(
            &[(0, 0, true), (0, 1, false), (0, 1, false), (0, 2, false), (0, 3, true)],
            &[true, true, false, false, true],
        );
        // One that was left out.
        check(&[(0, 0, true), (0, 2, false), (0, 3, false), (0, 9, true)], &[true, false, false, true]);
        // The camera was opened anew.
        check(&[(0, 0, true), (1, 1, false), (1, 2, true)], &[true, false, true]);
    }

    #[test]
    fn pictures_of_another_kind_break_the_chain() {
        let mut chain = Chain::default();
        let coded = |number, key| Coded { data: Vec::new(), session: 0, number, key };
        assert!(chain.stores(Some(&coded(0, true))));
        assert!(!chain.stores(None));
        assert!(!chain.stores(Some(&coded(1, false))));
        assert!(chain.stores(Some(&coded(2, true))));
    }
}
