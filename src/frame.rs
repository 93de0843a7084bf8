//! A picture on its way from a camera to a video, and why one may not arrive.

use crate::budget::Credit;
use crate::clock::Stamp;
use crate::codec::view::View;
use crate::config::schema::ColorRange;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Index of a camera in the configuration's order.
pub type CameraIndex = usize;

/// How a picture's bytes are to be read. Names are V4L2's fourcc codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One JPEG picture a frame (`MJPG`).
    Mjpg,
    /// Packed 4:2:2, two bytes a pixel (`YUYV`), BT.601 limited range.
    Yuyv,
    /// 4:2:0 (`NV12`), BT.601 limited range: a plane of luma, then one in which the two chroma values alternate.
    Nv12,
    /// Luma alone, one byte a pixel (`GREY`), full range. V4L2's rules by themselves would make it limited range; infrared and
    /// industrial cameras use all values, and OpenCV (so LeRobot) and FFmpeg read it so: nothing is clipped.
    Grey,
    /// One access unit of H.264 a frame (`H264`), as a byte stream: what cameras that encode themselves deliver. It becomes a
    /// frame of one of the next two.
    H264,
    /// Planes of 4:2:0, limited range: Y, U, V one after the other (`YU12`). Decoded H.264.
    I420,
    /// As `I420`, full range: FFmpeg's `yuvj420p`. V4L2 has no name for it.
    J420,
}

impl PixelFormat {
    /// What cameras can be asked for.
    const OF_CAMERAS: [PixelFormat; 5] =
        [PixelFormat::Mjpg, PixelFormat::Yuyv, PixelFormat::Nv12, PixelFormat::Grey, PixelFormat::H264];

    /// The four characters of V4L2.
    pub fn fourcc(self) -> [u8; 4] {
        match self {
            PixelFormat::Mjpg => *b"MJPG",
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Nv12 => *b"NV12",
            PixelFormat::Grey => *b"GREY",
            PixelFormat::H264 => *b"H264",
            PixelFormat::I420 => *b"YU12",
            PixelFormat::J420 => *b"J420",
        }
    }

    /// The format of a fourcc, if the recorder can read it.
    pub fn from_fourcc(fourcc: &[u8]) -> Option<PixelFormat> {
        let decoded = [PixelFormat::I420, PixelFormat::J420].into_iter().find(|format| format.fourcc() == *fourcc);
        decoded.or_else(|| PixelFormat::of_camera(fourcc))
    }

    /// The format that a camera of this fourcc delivers.
    pub fn of_camera(fourcc: &[u8]) -> Option<PixelFormat> {
        match fourcc {
            b"JPEG" => Some(PixelFormat::Mjpg),
            other => PixelFormat::OF_CAMERAS.into_iter().find(|format| format.fourcc() == *other),
        }
    }

    /// The range of its values, once decoded.
    pub fn range(self) -> ColorRange {
        match self {
            PixelFormat::Mjpg | PixelFormat::Grey | PixelFormat::J420 => ColorRange::Full,
            // H.264 says it itself: see the two formats that it is decoded to.
            PixelFormat::Yuyv | PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::H264 => ColorRange::Limited,
        }
    }

    /// Bytes of a row and the number of rows, all planes one below the other; none of a compressed picture.
    pub fn rows(self, width: u32, height: u32) -> Option<(usize, usize)> {
        let (width, height) = (width as usize, height as usize);
        match self {
            PixelFormat::Mjpg | PixelFormat::H264 => None,
            PixelFormat::Yuyv => Some((width * 2, height)),
            PixelFormat::Nv12 | PixelFormat::I420 | PixelFormat::J420 => Some((width, height / 2 * 3)),
            PixelFormat::Grey => Some((width, height)),
        }
    }
}

/// One picture as the camera gave it, raw ones without padding. Shared as `Arc<Frame>`; the last drop returns its memory credit.
#[derive(Debug)]
pub struct Frame {
    pub camera: CameraIndex,
    /// The driver's sequence number: a gap means that the camera or the driver lost a picture.
    pub sequence: u64,
    /// When the picture was taken, by the driver's clock.
    pub captured: Stamp,
    /// When it reached the recorder.
    pub arrived: Stamp,
    pub format: PixelFormat,
    /// Pixels, as captured.
    pub width: u32,
    /// Pixels, as captured.
    pub height: u32,
    /// What of it is to be recorded, and which way up.
    pub view: View,
    /// Shared with the samples that are made of it, so that a JPEG is copied once: out of the device's memory.
    pub data: Bytes,
    /// What the camera encoded it as, where it did.
    pub coded: Option<Coded>,
    /// A frame without a credit does not exist.
    pub credit: Credit,
}

/// A picture as the camera itself encoded it: one access unit of H.264.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// A byte stream; a key frame has its parameter sets in front.
    pub data: Vec<u8>,
    /// One opening of a device; no two of a run are the same.
    pub session: u64,
    /// Counts the session's access units: the picture builds on the one before, and on no later ones.
    pub number: u64,
    /// A key frame: decoding can start here.
    pub key: bool,
}

/// Why a captured frame is not in the video. Bounded: it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The camera holds its number of frames, encoders being behind.
    NoCreditFrames,
    /// All cameras together hold the memory budget.
    NoCreditBytes,
    /// Not a picture: the JPEG is broken or cut off.
    Corrupt,
    /// A picture of another size than the camera promised.
    WrongSize,
    /// A newer frame was there before the tick: the camera is faster than the data set's rate.
    Superseded,
    /// Its place in the grid had passed when it arrived.
    Late,
    /// Encoders are behind, and the disk holds as many waiting frames as it may.
    SpillFull,
}

impl DropReason {
    /// Every reason, for metrics that exist from the start.
    pub const ALL: [DropReason; 7] = [
        DropReason::NoCreditFrames,
        DropReason::NoCreditBytes,
        DropReason::Corrupt,
        DropReason::WrongSize,
        DropReason::Superseded,
        DropReason::Late,
        DropReason::SpillFull,
    ];

    /// Where on its way a frame was dropped: a metric label.
    pub fn stage(self) -> &'static str {
        match self {
            DropReason::NoCreditFrames | DropReason::NoCreditBytes | DropReason::WrongSize => "capture",
            DropReason::Corrupt => "decode",
            DropReason::Superseded | DropReason::Late => "align",
            DropReason::SpillFull => "encode",
        }
    }

    /// The label's value, and the name in summaries.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::NoCreditFrames => "no_credit_frames",
            DropReason::NoCreditBytes => "no_credit_bytes",
            DropReason::Corrupt => "corrupt",
            DropReason::WrongSize => "wrong_size",
            DropReason::Superseded => "superseded",
            DropReason::Late => "late",
            DropReason::SpillFull => "spill_full",
        }
    }
}
