//! JPEG pictures: what their structure says, and decoding to I420 without a detour through RGB.

use super::yuv::{Chroma, I420, Planar};
use crate::frame::DropReason;
use std::collections::VecDeque;
use std::io::BufRead;
use turbojpeg::{Colorspace, Decompressor, Subsamp, YuvImage};

/// What a JPEG's marker segments say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pixels that share a colour, across and down; none of a grey picture.
    pub chroma: Option<(u8, u8)>,
    /// Length of the picture in bytes: what follows its end mark is padding, or another picture.
    pub end: usize,
    /// Checksum of the segments that say how the data is to be decoded: the same in most pictures of a camera.
    pub tables: u32,
}

impl Structure {
    /// FFmpeg's name of how the pixels are stored, if the recorder reads them.
    pub fn pixel_format(&self) -> Option<&'static str> {
        match self.chroma {
            None => Some("gray"),
            Some((2, 2)) => Some("yuvj420p"),
            Some((2, 1)) => Some("yuvj422p"),
            Some((1, 2)) => Some("yuvj440p"),
            Some((1, 1)) => Some("yuvj444p"),
            Some(_) => None,
        }
    }
}

/// Why bytes are not a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    /// A segment is missing, cut off, or of a kind that cannot be read.
    #[error("byte {at} of the JPEG: expected {expected}")]
    Structure { at: usize, expected: &'static str },
    /// The end mark is missing.
    #[error("the JPEG is cut off: no end mark in {bytes} bytes")]
    Truncated { bytes: usize },
    /// Another size than the stream's.
    #[error("the JPEG is {found_width}x{found_height}, expected {width}x{height}: set the camera's width and height")]
    WrongSize { width: u32, height: u32, found_width: u32, found_height: u32 },
    /// A kind of JPEG that no camera makes.
    #[error("the JPEG has {found}, expected YCbCr in 4:2:0, 4:2:2, 4:4:0 or 4:4:4, or grey, in 8 bits, Huffman coded")]
    Unsupported { found: String },
    /// libjpeg-turbo's words.
    #[error("the JPEG is corrupt: {0}")]
    Corrupt(String),
}

impl JpegError {
    /// Under which label such a frame is counted.
    pub fn reason(&self) -> DropReason {
        match self {
            JpegError::WrongSize { .. } => DropReason::WrongSize,
            _ => DropReason::Corrupt,
        }
    }
}

/// Follows the markers up to the first end mark, past the entropy-coded data, which is not read: microseconds. Bytes after
/// the end mark are allowed, as many cameras pad their pictures, or leave another's rest there. Damage inside the
/// entropy-coded data shows only when it is decoded.
pub fn parse(jpeg: &[u8]) -> Result<Structure, JpegError> {
    let broken = |at, expected| Err(JpegError::Structure { at, expected });
    let truncated = || JpegError::Truncated { bytes: jpeg.len() };
    if !jpeg.starts_with(&[0xff, 0xd8]) {
        return broken(0, "a start mark (ff d8)");
    }
    let (mut frame, mut in_data, mut tables) = (None, false, crc32fast::Hasher::new());
    let mut at = 2;
    loop {
        let marker = match (jpeg.get(at), jpeg.get(at + 1)) {
            (Some(0xff), Some(marker)) => *marker,
            (Some(0xff) | None, _) => return Err(truncated()),
            (Some(_), _) => return broken(at, "a marker (ff)"),
        };
        match marker {
            // A fill byte before a marker.
            0xff => {
                at += 1;
                continue;
            }
            0xd9 if in_data => break,
            0x00..=0xbf | 0xd0..=0xd9 if in_data => return broken(at, "an end mark (ff d9) after the picture's data"),
            0x00..=0xbf | 0xd0..=0xd9 => return broken(at, "a segment before the picture's data"),
            _ => {}
        }
        let length = match jpeg.get(at + 2..at + 4) {
            Some(length) => usize::from(u16::from_be_bytes([length[0], length[1]])),
            None => return Err(truncated()),
        };
        if length < 2 {
            return broken(at, "a segment's length");
        }
        let body = jpeg.get(at + 4..at + 2 + length).ok_or_else(truncated)?;
        let segment = at;
        at += 2 + length;
        // Comments and most application segments are nothing to a decoder; Adobe's tells the colour space.
        if matches!(marker, 0xc0..=0xdf | 0xee) {
            tables.update(&jpeg[segment..at]);
        }
        match (marker, frame) {
            (0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf, earlier) => {
                if earlier.is_some() {
                    return broken(segment, "one size (SOF segment) only");
                }
                frame = Some(size(marker, body)?);
            }
            (0xda, None) => return broken(segment, "the picture's size (a SOF segment) before its data"),
            (0xda, Some(_)) => {
                in_data = true;
                at += data_length(&jpeg[at..]).ok_or_else(truncated)?;
            }
            _ => {}
        }
    }
    let Some((width, height, chroma)) = frame else { return Err(truncated()) };
    Ok(Structure { width, height, chroma, end: at + 2, tables: tables.finalize() })
}

/// What a SOF segment says.
type Size = (u32, u32, Option<(u8, u8)>);

/// Width, height, and pixels that share a colour.
fn size(marker: u8, body: &[u8]) -> Result<Size, JpegError> {
    let unsupported = |found: String| Err(JpegError::Unsupported { found });
    let int = |high, low| u32::from(u16::from_be_bytes([high, low]));
    match (marker, body) {
        (0xc9 | 0xca, _) => unsupported("arithmetic coding".into()),
        // Baseline, extended and progressive.
        (0xc0..=0xc2, [8, h1, h0, w1, w0, 1, _, _, _]) => Ok((int(*w1, *w0), int(*h1, *h0), None)),
        (0xc0..=0xc2, [8, h1, h0, w1, w0, 3, _, luma, _, _, cb, _, _, cr, _]) => {
            let share = |shift: u8| {
                let (luma, chroma) = (luma >> shift & 15, cb >> shift & 15);
                (cb == cr && luma.checked_rem(chroma) == Some(0)).then(|| luma / chroma)
            };
            match share(4).zip(share(0)) {
                None => unsupported(format!("the sampling factors {luma:02x}, {cb:02x}, {cr:02x}")),
                chroma => Ok((int(*w1, *w0), int(*h1, *h0), chroma)),
            }
        }
        (0xc0..=0xc2, [8, _, _, _, _, 1 | 3, ..]) => unsupported("a size (SOF segment) of the wrong length".into()),
        (0xc0..=0xc2, [8, _, _, _, _, components, ..]) => unsupported(format!("{components} components")),
        (0xc0..=0xc2, [bits, _, _, _, _, _, ..]) => unsupported(format!("{bits}-bit samples")),
        (0xc0..=0xc2, _) => unsupported("no components".into()),
        _ => unsupported("lossless or hierarchical coding".into()),
    }
}

/// Bytes of entropy-coded data: up to the next marker that is neither a restart nor a stuffed byte.
fn data_length(data: &[u8]) -> Option<usize> {
    let mut rest = data;
    loop {
        rest.skip_until(0xff).ok()?;
        if !matches!(rest.first()?, 0x00 | 0xd0..=0xd7 | 0xff) {
            return Some(data.len() - rest.len() - 1);
        }
    }
}

/// [`parse`], and the picture's size must be the given one.
pub fn parse_sized(jpeg: &[u8], width: u32, height: u32) -> Result<Structure, JpegError> {
    let structure = parse(jpeg)?;
    if (structure.width, structure.height) != (width, height) {
        let (found_width, found_height) = (structure.width, structure.height);
        return Err(JpegError::WrongSize { width, height, found_width, found_height });
    }
    Ok(structure)
}

/// Tables ([`Structure::tables`]) that a picture was decoded with, the newest ones: a picture with others may not be
/// decodable at all, whatever its data.
#[derive(Debug, Default)]
pub struct KnownTables(VecDeque<u32>);

impl KnownTables {
    /// Cameras that hold their bit rate have a set for each of some steps of quality.
    const MOST: usize = 64;

    /// Whether a picture with these tables was decoded.
    pub fn contain(&self, tables: u32) -> bool {
        self.0.contains(&tables)
    }

    /// A picture with these tables was decoded.
    pub fn add(&mut self, tables: u32) {
        if !self.contain(tables) {
            self.0.truncate(KnownTables::MOST - 1);
            self.0.push_front(tables);
        }
    }
}

/// Scans of a progressive picture; more is an attack on the decoder's time and counts as corrupt.
const SCAN_LIMIT: u32 = 100;

/// A JPEG decoder that keeps its buffers from picture to picture, and nothing else.
#[derive(Debug)]
pub struct Decoder {
    /// Planes in the JPEG's own sampling.
    planes: Vec<u8>,
}

impl Decoder {
    /// A decoder for pictures of any size.
    pub fn new() -> Result<Decoder, JpegError> {
        decompressor()?;
        Ok(Decoder { planes: Vec::new() })
    }

    /// Decodes a picture into `into`, whose size it must have, in `into`'s colour range. Missing Huffman tables, as in
    /// many cameras' JPEGs, are the standard ones. On an error `into` keeps the picture it had.
    pub fn decode(&mut self, jpeg: &[u8], into: &mut I420) -> Result<(), JpegError> {
        let structure = parse_sized(jpeg, into.width() as u32, into.height() as u32)?;
        let subsampling = self.planes(&jpeg[..structure.end], into)?;
        let (y, chroma) = self.planes.split_at(into.width() * into.height());
        let chroma = (subsampling != Subsamp::Gray).then(|| {
            let (horizontal, vertical) = subsampling.size();
            let (u, v) = chroma.split_at(y.len() / horizontal / vertical);
            Chroma { u, v, horizontal, vertical }
        });
        into.fill_from_full(&Planar { y, chroma });
        Ok(())
    }

    /// Decodes to `self.planes`.
    fn planes(&mut self, jpeg: &[u8], size: &I420) -> Result<Subsamp, JpegError> {
        let corrupt = |error: turbojpeg::Error| JpegError::Corrupt(error.to_string());
        let (width, height) = (size.width(), size.height());
        // libjpeg keeps a picture's tables for the next one, which may lack its own and mean the standard ones.
        let mut turbo = decompressor()?;
        let header = turbo.read_header(jpeg).map_err(corrupt)?;
        if !matches!(header.colorspace, Colorspace::YCbCr | Colorspace::Gray) {
            return Err(JpegError::Unsupported { found: format!("the colour space {:?}", header.colorspace) });
        }
        let subsampling = header.subsamp;
        if !matches!(subsampling, Subsamp::Gray | Subsamp::None | Subsamp::Sub2x1 | Subsamp::Sub1x2 | Subsamp::Sub2x2) {
            return Err(JpegError::Unsupported { found: format!("the sampling {subsampling:?}") });
        }
        if (header.width, header.height) != (width, height) {
            return Err(JpegError::Corrupt("two sizes in one picture".into()));
        }
        let length = turbojpeg::yuv_pixels_len(width, 1, height, subsampling).map_err(corrupt)?;
        self.planes.resize(length, 0);
        let image = YuvImage { pixels: &mut self.planes[..], width, align: 1, height, subsamp: subsampling };
        match turbo.decompress_to_yuv(jpeg, image) {
            // libjpeg reports the first of its warnings. This one can only come first when the whole picture was read,
            // and some cameras cause it in every picture; any other warning means that a part of the picture is made up.
            Err(turbojpeg::Error::TurboJpegError(words)) if words.contains("extraneous bytes before marker 0xd9") => {}
            other => other.map_err(corrupt)?,
        }
        Ok(subsampling)
    }
}

fn decompressor() -> Result<Decompressor, JpegError> {
    let new = || {
        let mut turbo = Decompressor::new()?;
        turbo.set_scan_limit(SCAN_LIMIT)?;
        Ok(turbo)
    };
    new().map_err(|error: turbojpeg::Error| JpegError::Corrupt(format!("the decoder does not start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(jpeg: &[u8], expected: Result<(Size, usize), &str>) {
        match (parse(jpeg), expected) {
            (Ok(s), Ok(expected)) => assert_eq!(((s.width, s.height, s.chroma), s.end), expected),
            (Err(e), Err(words)) => assert!(e.to_string().contains(words), "{e}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    const SOF: [u8; 19] = [0xff, 0xc0, 0, 17, 8, 0, 16, 0, 32, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    const SOS: [u8; 14] = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];

    fn picture(parts: &[&[u8]]) -> Vec<u8> {
        [&[0xff, 0xd8][..]].iter().chain(parts).flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn structure_is_read() {
        let whole = picture(&[&[0xff, 0xe0, 0, 4, 0, 0], &SOF, &SOS, &[1, 2, 3, 0xff, 0xd9]]);
        check(&whole, Ok(((32, 16, Some((2, 2))), whole.len())));
        let padded = [&whole[..], &[0; 100]].concat();
        check(&padded, Ok(((32, 16, Some((2, 2))), whole.len())));
        let filled = picture(&[&[0xff, 0xff], &SOF, &SOS, &[0xff, 0xff, 0xd9]]);
        check(&filled, Ok(((32, 16, Some((2, 2))), filled.len())));
        let stuffed = picture(&[&SOF, &SOS, &[1, 0xff, 0, 2, 0xff, 0xd3, 3, 0xff, 0xff, 0, 0xff, 0xd9]]);
        check(&stuffed, Ok(((32, 16, Some((2, 2))), stuffed.len())));
        let scans = picture(&[&SOF, &SOS, &[1], &[0xff, 0xc4, 0, 2], &SOS, &[2, 0xff, 0xd9]]);
        check(&scans, Ok(((32, 16, Some((2, 2))), scans.len())));
        check(&[&whole[..], &whole].concat(), Ok(((32, 16, Some((2, 2))), whole.len())));
    }

    #[test]
    fn damage_is_named() {
        check(&[], Err("start mark"));
        check(b"\xff\xd8", Err("cut off"));
        check(&picture(&[&SOF, &SOS, &[1, 2, 3]]), Err("cut off"));
        check(&picture(&[&SOF[..10]]), Err("cut off"));
        check(&picture(&[&SOS, &[0xff, 0xd9]]), Err("SOF"));
        check(&picture(&[&[1, 2, 3, 4]]), Err("a marker"));
        check(&picture(&[&[0xff, 0xd9, 0, 0]]), Err("before the picture's data"));
        check(&picture(&[&[0xff, 0xe0, 0, 1]]), Err("length"));
        check(&picture(&[&SOF, &SOS, &[1, 0xff]]), Err("cut off"));
        check(&picture(&[&SOF, &SOS, &[1, 0xff, 0xd8, 0xff, 0xd9]]), Err("an end mark (ff d9) after"));
        check(&picture(&[&SOF, &SOS, &[1, 0xff, 0xb0, 0xff, 0xd9]]), Err("an end mark (ff d9) after"));
        check(&picture(&[&SOF, &SOS, &[1, 0xff, 0xe0, 0xff, 0xff, 0xff, 0xd9]]), Err("cut off"));
        let mut lossless = SOF;
        lossless[1] = 0xc3;
        check(&picture(&[&lossless, &SOS, &[0xff, 0xd9]]), Err("lossless"));
        let mut uneven = SOF;
        uneven[14] = 0x12;
        check(&picture(&[&uneven, &SOS, &[0xff, 0xd9]]), Err("the sampling factors 22, 12, 11"));
        let mut deep = SOF;
        deep[4] = 12;
        check(&picture(&[&deep, &SOS, &[0xff, 0xd9]]), Err("12-bit samples"));
    }
}
