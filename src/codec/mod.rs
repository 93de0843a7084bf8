//! From a camera's frame to an encoded video frame.
//!
//! [`stream::VideoStream`] is the whole way for one camera in one episode: [`jpeg`] or [`raw`] pixels to planes ([`yuv`]),
//! turned and cut ([`view`]), then [`openh264`], [`nvenc`] or, with `codec = "copy"`, the camera's JPEGs as they are; what a
//! camera has encoded itself ([`h264`]) is stored as it came. [`fragment`] groups the result.
//! [`bitstream`], [`bits`] and [`sps`] are how encoded pictures are taken apart.

pub mod backend;
pub mod bits;
pub mod bitstream;
pub mod choice;
pub mod fragment;
pub mod gpu;
pub mod h264;
pub mod jpeg;
pub mod nvenc;
pub mod openh264;
pub mod raw;
pub mod sps;
pub mod stream;
pub mod view;
pub mod yuv;

use crate::config::schema::Codec;
use crate::frame::{DropReason, PixelFormat};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Why a stream cannot be encoded. A frame that cannot be decoded is not among them: see [`stream::Encoded::substituted`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The CPU has no encoder for this codec.
    #[error(
        "codec {codec:?} needs NVIDIA's hardware encoder (NVENC): set dataset.encoder.codec = \"h264\" to encode on the CPU"
    )]
    NeedsNvenc { codec: Codec },
    /// A size or rate outside of what the encoder takes.
    #[error("{what} is {found}, expected {expected}: change the camera's configuration")]
    Parameter { what: &'static str, found: String, expected: &'static str },
    /// `copy` stores JPEGs, and the camera gives something else.
    #[error(
        "codec \"copy\" stores the camera's JPEGs, but this camera delivers {}: set its fourcc = \"MJPG\", or codec = \"h264\"",
        .0.fourcc().escape_ascii()
    )]
    CopyNeedsJpeg(PixelFormat),
    /// `copy` stores JPEGs as they are.
    #[error(
        "codec \"copy\" stores the camera's JPEGs as they come, but these are to be turned or cut: set codec = \"h264\""
    )]
    CopyOfPart,
    /// `copy` has no encoder.
    #[error("codec \"copy\" stores JPEGs as they come and encodes no pictures: set codec = \"h264\"")]
    CopyOfPictures,
    /// NVENC refused or failed.
    #[error(transparent)]
    Nvenc(#[from] nvenc::Fault),
    /// The encoder or decoder library failed.
    #[error("{library} failed at frame {index} of the stream: {words}; the stream must be opened anew")]
    Library { library: &'static str, index: u64, words: String },
}

impl CodecError {
    /// What kind of failure it is: a label of metrics, and what a supervisor decides by.
    pub fn reason(&self) -> nvenc::Reason {
        match self {
            CodecError::Nvenc(fault) => fault.reason,
            CodecError::Library { .. } => nvenc::Reason::Error,
            _ => nvenc::Reason::Unsupported,
        }
    }
}

/// One encoded frame of a video. H.264 and H.265 come as length-prefixed NAL units (4 bytes, as in an `avc1` track), with
/// the parameter sets in front of every key frame; AV1 as OBUs with their sizes, without temporal delimiters, with the
/// sequence header in front of every key frame; MJPEG as the JPEG itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub data: Bytes,
    /// A key frame: decoding can start here.
    pub sync: bool,
}

/// What an mp4 track needs to know of the encoder to describe its samples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleFormat {
    /// Parameter sets without start codes.
    H264 { sps: Vec<u8>, pps: Vec<u8> },
    /// Parameter sets without start codes.
    Hevc { vps: Vec<u8>, sps: Vec<u8>, pps: Vec<u8> },
    /// The sequence header OBU, header byte and size included.
    Av1 { sequence_header: Vec<u8> },
    /// JPEG pictures.
    Mjpeg,
}

impl SampleFormat {
    /// The codec in words.
    pub fn name(&self) -> &'static str {
        match self {
            SampleFormat::H264 { .. } => "H.264",
            SampleFormat::Hevc { .. } => "H.265",
            SampleFormat::Av1 { .. } => "AV1",
            SampleFormat::Mjpeg => "MJPEG",
        }
    }
}

/// A run of consecutive frames of one stream, a GOP or half a second, whichever is shorter: the unit that is written,
/// acknowledged and, after an encoder's failure, made again. It starts with a key frame unless the GOP is longer than
/// that; what a replacing encoder makes always does.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Index in the episode of the first sample.
    pub first_frame: u64,
    pub samples: Vec<Sample>,
    pub format: Arc<SampleFormat>,
    /// Frames that could not be decoded, by index: the picture before stands in.
    pub substituted: Vec<(u64, DropReason)>,
    /// Frames that are stored as their camera has encoded them, by index.
    pub stored: Vec<u64>,
    /// Pixel statistics of the sampled frames of this run.
    pub pixels: PixelHistogram,
}

/// How often each 8-bit value of red, green and blue was seen in sampled pictures: everything that LeRobot's image
/// statistics are made of, and small enough to travel with a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelHistogram {
    /// Pictures sampled.
    pub pictures: u64,
    /// Counts by channel (red, green, blue) and value.
    pub counts: Box<[[u64; 256]; 3]>,
}

impl Default for PixelHistogram {
    fn default() -> PixelHistogram {
        PixelHistogram { pictures: 0, counts: Box::new([[0; 256]; 3]) }
    }
}

impl PixelHistogram {
    /// Adds another histogram.
    pub fn merge(&mut self, other: &PixelHistogram) {
        self.pictures += other.pictures;
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            for (a, b) in mine.iter_mut().zip(theirs) {
                *a += b;
            }
        }
    }
}

/// NVENC's presets, from the fastest to the one with the smallest files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    #[default]
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
}

impl Preset {
    /// Every name that is understood, with what it stands for; other encoders' names among them, so that a preset
    /// is not an error for want of its encoder.
    pub const NAMES: [(&str, Preset); 14] = [
        ("fast", Preset::P1),
        ("medium", Preset::P4),
        ("slow", Preset::P7),
        ("hp", Preset::P1),
        ("hq", Preset::P7),
        ("default", Preset::P4),
        ("ultrafast", Preset::P1),
        ("p1", Preset::P1),
        ("p2", Preset::P2),
        ("p3", Preset::P3),
        ("p4", Preset::P4),
        ("p5", Preset::P5),
        ("p6", Preset::P6),
        ("p7", Preset::P7),
    ];

    /// The preset of a name.
    pub fn named(name: &str) -> Option<Preset> {
        Preset::NAMES.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset)
    }
}
