//! Encoded pictures as encoders give them, made into what an mp4 sample holds. Pure, and total: no bytes make it panic,
//! what is cut off or is no unit at all is left out.
//!
//! H.264 and H.265 come in the byte stream format (Annex B of both standards), with start codes between NAL units; AV1
//! in the low-overhead format (section 5 of its standard), one temporal unit at a time.

use super::SampleFormat;

/// An access unit as it lies in an `avc1` or `hvc1` track: each NAL unit behind its length in four bytes. Parameter sets
/// stay; access unit delimiters and filler, which such a track does without, go.
pub fn length_prefixed(annex_b: &[u8]) -> Vec<u8> {
    let mut sample = Vec::with_capacity(annex_b.len());
    for nal in annex_b_units(annex_b).filter(|nal| !is_delimiter_or_filler(nal)) {
        let Ok(length) = u32::try_from(nal.len()) else { continue };
        sample.extend_from_slice(&length.to_be_bytes());
        sample.extend_from_slice(nal);
    }
    sample
}

/// The parameter sets of H.264, the first of each kind; none unless both are there.
pub fn h264_format(annex_b: &[u8]) -> Option<SampleFormat> {
    let first =
        |kind: u8| annex_b_units(annex_b).find(|nal| nal[0] & 0x1f == kind && nal.len() >= 2).map(<[u8]>::to_vec);
    Some(SampleFormat::H264 { sps: first(7)?, pps: first(8)? })
}

/// The parameter sets of H.265's base layer, the first of each kind; none unless all three are there.
pub fn hevc_format(annex_b: &[u8]) -> Option<SampleFormat> {
    let first = |kind: u8| {
        let wanted = |nal: &&[u8]| matches!(nal, [a, b, _, ..] if *a == kind << 1 && b >> 3 == 0);
        annex_b_units(annex_b).find(wanted).map(<[u8]>::to_vec)
    };
    Some(SampleFormat::Hevc { vps: first(32)?, sps: first(33)?, pps: first(34)? })
}

/// A temporal unit as it lies in an `av01` track: every OBU with its size; temporal delimiters, redundant frame headers,
/// tile lists and padding, which do not belong there, are left out.
pub fn av1_sample(temporal_unit: &[u8]) -> Vec<u8> {
    const LEFT_OUT: [u8; 4] = [2, 7, 8, 15];
    let mut sample = Vec::with_capacity(temporal_unit.len() + 8);
    obus(temporal_unit).filter(|obu| !LEFT_OUT.contains(&obu.kind())).for_each(|obu| obu.write(&mut sample));
    sample
}

/// The first sequence header of AV1, header byte and size included.
pub fn av1_format(temporal_unit: &[u8]) -> Option<SampleFormat> {
    let mut sequence_header = Vec::new();
    obus(temporal_unit).find(|obu| obu.kind() == 1)?.write(&mut sequence_header);
    Some(SampleFormat::Av1 { sequence_header })
}

/// The content of a sequence header OBU that lies in [`SampleFormat::Av1`].
pub fn obu_payload(obu: &[u8]) -> Option<&[u8]> {
    obus(obu).next().map(|obu| obu.payload)
}

/// The NAL units of a length-prefixed sample, without their lengths; empty ones and what is cut off are left out.
pub fn nal_units(sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (nal, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = tail;
        Some(nal)
    })
    .filter(|nal| !nal.is_empty())
}

/// The NAL units of a byte stream, none of them empty. What precedes the first start code is left out, and so are the
/// zeros behind a unit, the first byte of a long start code among them: a unit never ends with one.
pub fn annex_b_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (_, mut rest) = split_at_start_code(stream);
    std::iter::from_fn(move || {
        let (unit, next) = split_at_start_code(rest?);
        rest = next;
        let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..end])
    })
    .filter(|unit| !unit.is_empty())
}

/// What precedes the first start code, and what follows it.
fn split_at_start_code(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.windows(3).position(|window| window == [0, 0, 1]) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 3..])),
        None => (bytes, None),
    }
}

/// The headers of one codec cannot be taken for those of the other: in H.265 0x09 would be a layer that no single-layer
/// stream has, and 0x0c a slice whose second byte is below 8; in H.264 0x46 and 0x4c would have a `nal_ref_idc` that
/// must be 0 there.
fn is_delimiter_or_filler(nal: &[u8]) -> bool {
    matches!(nal, [0x09 | 0x46 | 0x4c, ..] | [0x0c] | [0x0c, 0x80..=0xff, ..])
}

/// One OBU of AV1.
struct Obu<'a> {
    header: u8,
    extension: Option<u8>,
    payload: &'a [u8],
}

const OBU_FORBIDDEN: u8 = 0x80;
const OBU_EXTENSION: u8 = 0x04;
const OBU_HAS_SIZE: u8 = 0x02;

impl Obu<'_> {
    fn kind(&self) -> u8 {
        self.header >> 3 & 0x0f
    }

    fn write(&self, to: &mut Vec<u8>) {
        to.push(self.header | OBU_HAS_SIZE);
        to.extend(self.extension);
        let mut size = self.payload.len();
        while size > 0x7f {
            to.push(size as u8 | 0x80);
            size >>= 7;
        }
        to.push(size as u8);
        to.extend_from_slice(self.payload);
    }
}

/// The OBUs of a temporal unit, up to the first that is cut off or is none. One without a size goes to the end.
fn obus(temporal_unit: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    let mut rest = temporal_unit;
    std::iter::from_fn(move || {
        let (&header, mut tail) = rest.split_first().filter(|(header, _)| *header & OBU_FORBIDDEN == 0)?;
        let mut extension = None;
        if header & OBU_EXTENSION != 0 {
            let (&byte, more) = tail.split_first()?;
            (extension, tail) = (Some(byte), more);
        }
        let size;
        (size, tail) = if header & OBU_HAS_SIZE != 0 { leb128(tail)? } else { (tail.len(), tail) };
        let payload;
        (payload, rest) = tail.split_at_checked(size)?;
        Some(Obu { header, extension, payload })
    })
}

/// A number in groups of seven bits, the lowest first, and what follows it. AV1 allows 8 bytes and 32 bits.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let last = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)?;
    let value = bytes[..=last].iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((u32::try_from(value).ok()? as usize, &bytes[last + 1..]))
}
