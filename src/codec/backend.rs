//! The seam between the encoder pool and what encodes: tests put failing encoders there.

use super::stream::{Encoded, StreamParams, VideoStream};
use super::{CodecError, SampleFormat};
use crate::config::schema::Codec;
use crate::frame::Frame;
use std::sync::Arc;

/// One open stream of one encoder. After an error it is not used again.
pub trait StreamEncoder {
    /// Encodes frame `index` of the episode.
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError>;
    /// What an mp4 track needs to know.
    fn format(&self) -> &Arc<SampleFormat>;
    /// Its name in metrics and summaries.
    fn backend(&self) -> &'static str;
}

/// Opens a stream, on the thread that will encode it.
pub type OpenEncoder = Arc<dyn Fn(&StreamParams) -> Result<Box<dyn StreamEncoder>, CodecError> + Send + Sync>;

/// Encoding on the CPU.
pub fn software() -> OpenEncoder {
    Arc::new(|params| Ok(Box::new(VideoStream::open(params.clone())?)))
}

/// The name of the CPU's encoder for a codec.
pub fn software_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Copy => "copy",
        _ => "openh264",
    }
}

impl StreamEncoder for VideoStream {
    fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        VideoStream::encode(self, frame, index)
    }

    fn format(&self) -> &Arc<SampleFormat> {
        VideoStream::format(self)
    }

    fn backend(&self) -> &'static str {
        match **VideoStream::format(self) {
            SampleFormat::Mjpeg => software_name(Codec::Copy),
            SampleFormat::H264 { .. } => software_name(Codec::H264),
        }
    }
}
