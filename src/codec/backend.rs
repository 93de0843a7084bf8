//! The seam between what asks for encoding and what encodes: tests put failing encoders there.

use super::stream::{Encoded, StreamParams, VideoStream};
use super::yuv::I420;
use super::{CodecError, Sample, SampleFormat, nvenc, openh264};
use crate::config::schema::Codec;
use crate::frame::Frame;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a video is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Cpu,
    /// NVENC, on the GPU of [`StreamParams::gpu_id`].
    Gpu,
}

/// One session of an encoder: pictures in, samples out. After an error it is not used again.
pub trait PictureEncoder {
    /// Encodes frame `index` of the stream, as a key frame if `key`.
    fn encode(&mut self, picture: &I420, index: u64, key: bool) -> Result<Sample, CodecError>;
    /// What an mp4 track needs to know; it stays the same for the whole session.
    fn format(&self) -> &Arc<SampleFormat>;
}

/// Opens a session, on the thread that will encode. One that opens has encoded a trial picture.
pub fn open_pictures(params: &StreamParams, device: Device) -> Result<Box<dyn PictureEncoder>, CodecError> {
    let StreamParams { codec, quality, width, height, fps, color_range, .. } = *params;
    match (codec, device) {
        (_, Device::Gpu) => Ok(Box::new(nvenc::Encoder::open(params)?)),
        (Codec::H264, Device::Cpu) => Ok(Box::new(openh264::Encoder::open(width, height, fps, quality, color_range)?)),
        (Codec::Copy, Device::Cpu) => Err(CodecError::CopyOfPictures),
        (Codec::Hevc | Codec::Av1, Device::Cpu) => Err(CodecError::NeedsNvenc { codec }),
    }
}

/// One open stream of one encoder. After an error it is not used again.
pub trait StreamEncoder {
    /// Encodes frame `index` of the episode.
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError>;
    /// What an mp4 track needs to know.
    fn format(&self) -> &Arc<SampleFormat>;
}

/// Opens a stream, on the thread that will encode it.
pub type OpenEncoder = Arc<dyn Fn(&StreamParams, Device) -> Result<Box<dyn StreamEncoder>, CodecError> + Send + Sync>;

/// The encoders that this build has.
pub fn standard() -> OpenEncoder {
    Arc::new(|params, device| Ok(Box::new(VideoStream::open(params.clone(), device)?)))
}

/// The name of an encoder in metrics and summaries.
pub fn name(codec: Codec, device: Device) -> &'static str {
    match (codec, device) {
        (Codec::Copy, _) => "copy",
        (_, Device::Cpu) => "openh264",
        (_, Device::Gpu) => "nvenc",
    }
}

/// The name of a codec in metrics and in info.json.
pub fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264",
        Codec::Hevc => "hevc",
        Codec::Av1 => "av1",
        Codec::Copy => "mjpeg",
    }
}

impl StreamEncoder for VideoStream {
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        VideoStream::encode(self, frame, index)
    }

    fn format(&self) -> &Arc<SampleFormat> {
        VideoStream::format(self)
    }
}
