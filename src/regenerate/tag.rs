//! How a video says of itself with which settings it was encoded: one more box at the end of the file, which players
//! pass over. It is renamed into place together with the video, so that an interrupted run knows at its next start
//! what is done, whenever it was killed.

use super::FileError;
use super::options::{Arguments, Target};
use crate::codec::backend::{self, Device, codec_name};
use crate::config::schema::{Codec, ColorRange};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// ISO/IEC 14496-12: a box of our own, told from others' by this number.
const UUID: [u8; 16] = *b"\x5b\x0e\x92\x4c\xd8\x31\x4f\x6a\x9d\x27\xc1\x85\x3e\x70\xfa\x16";
/// A longer box of that kind is not ours.
const LONGEST: u64 = 4096;

/// The settings that make a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    pub codec: String,
    /// `openh264` or `nvenc`.
    pub encoder: String,
    pub quality: u32,
    pub gop: u32,
    pub preset: Option<String>,
    pub bitrate: Option<u64>,
    pub color_range: ColorRange,
}

impl Tag {
    /// Of a file that is encoded on `device`.
    pub fn new(arguments: &Arguments, device: Device, color_range: ColorRange) -> Tag {
        let gpu = device == Device::Gpu;
        Tag {
            codec: codec_name(arguments.codec).into(),
            encoder: backend::name(arguments.codec, device).into(),
            quality: if gpu { arguments.quality } else { arguments.cpu_quality() },
            gop: arguments.gop,
            preset: gpu.then(|| arguments.preset.clone()),
            bitrate: arguments.bitrate.filter(|_| gpu),
            color_range,
        }
    }

    /// True when a file of this tag is what is asked for.
    pub fn satisfies(&self, arguments: &Arguments, target: Target) -> bool {
        let made_on = |device| *self == Tag::new(arguments, device, self.color_range);
        match target {
            Target::Gpu => made_on(Device::Gpu),
            Target::Cpu => made_on(Device::Cpu),
            Target::Auto => made_on(Device::Gpu) || arguments.codec == Codec::H264 && made_on(Device::Cpu),
        }
    }

    /// Adds the tag to a finished file.
    pub fn append(&self, path: &Path) -> Result<(), FileError> {
        let text = serde_json::to_vec(self).map_err(|error| FileError::Verify(error.to_string()))?;
        let mut bytes = (text.len() as u32 + 24).to_be_bytes().to_vec();
        bytes.extend(b"uuid");
        bytes.extend(UUID);
        bytes.extend(text);
        let file = OpenOptions::new().append(true).open(path);
        file.and_then(|mut file| file.write_all(&bytes)).map_err(FileError::io("write"))
    }

    /// The tag of a file, if it has one.
    pub fn read(path: &Path) -> Option<Tag> {
        let file = File::open(path).ok()?;
        let end = file.metadata().ok()?.len();
        let mut at = 0;
        // Boxes from the first to the last; each says where the next one starts.
        while at + 24 <= end {
            let mut header = [0; 24];
            file.read_exact_at(&mut header, at).ok()?;
            let [a, b, c, d, kind @ ..] = header;
            let size = match u32::from_be_bytes([a, b, c, d]) {
                0 => return None,
                1 => u64::from_be_bytes(kind[4..12].try_into().ok()?),
                size => u64::from(size),
            };
            if size < 8 || size > end - at {
                return None;
            }
            if kind[..4] == *b"uuid" && kind[4..] == UUID && size <= LONGEST {
                let mut text = vec![0; (size as usize).checked_sub(24)?];
                file.read_exact_at(&mut text, at + 24).ok()?;
                return serde_json::from_slice(&text).ok();
            }
            at += size;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(text: &str) -> Arguments {
        Command::parse_from(["regenerate", "root"].into_iter().chain(text.split_whitespace())).arguments
    }

    #[test]
    fn a_tag_is_found_behind_other_boxes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let large = [&1u32.to_be_bytes()[..], b"mdat", &30u64.to_be_bytes(), &[7; 14]].concat();
        for before in [&b""[..], b"\0\0\0\x0cfree....", &large] {
            std::fs::write(&path, before).unwrap();
            assert_eq!(Tag::read(&path), None);
            let tag = Tag::new(&arguments("--quality 30"), Device::Cpu, ColorRange::Full);
            tag.append(&path).unwrap();
            assert_eq!(Tag::read(&path), Some(tag));
        }
        for damaged in
            [&b"\0\0\0\0mdat0123456789012345678901234567"[..], b"\0\0\0\x02uuid", b"\xff\xff\xff\xffuuid", b""]
        {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(Tag::read(&path), None);
        }
    }

    #[test]
    fn only_what_makes_a_difference_is_done_again() {
        let cpu = Tag::new(&arguments(""), Device::Cpu, ColorRange::Limited);
        let gpu = Tag::new(&arguments("--preset slow"), Device::Gpu, ColorRange::Full);
        let check = |tag: &Tag, text: &str, expected: bool| {
            let arguments = arguments(text);
            assert_eq!(tag.satisfies(&arguments, arguments.target().unwrap()), expected, "{tag:?} for `{text}`");
        };
        for (text, expected) in [
            ("", true),
            ("--cpu", true),
            ("--preset slow", true),
            ("--gpu", false),
            ("--quality 24", false),
            ("--gop 2", false),
            ("--codec hevc", false),
        ] {
            check(&cpu, text, expected);
        }
        for (text, expected) in
            [("--preset slow", true), ("--gpu --preset slow", true), ("", false), ("--cpu --preset slow", false)]
        {
            check(&gpu, text, expected);
        }
        let finest = Tag::new(&arguments("--quality 3"), Device::Cpu, ColorRange::Limited);
        assert_eq!(finest.quality, MIN);
        check(&finest, "--quality 5", true);
    }

    const MIN: u32 = crate::codec::openh264::MIN_QP;
}
