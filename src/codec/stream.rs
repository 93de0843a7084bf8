//! One camera's frames of one episode, from the camera's bytes to encoded samples, on the calling thread.
//!
//! Where the video is H.264 and so is what the camera delivers, its access units are stored as they came, as long as each
//! is shown once and in order ([`h264::Chain`]). The pictures in between are encoded here, from a key frame on: every key
//! frame has its parameter sets in front, so a video may change encoders at each.

use super::backend::{self, Device, PictureEncoder};
use super::jpeg::KnownTables;
use super::yuv::I420;
use super::{CodecError, PixelHistogram, Preset, Sample, SampleFormat, bitstream, h264, jpeg, raw};
use crate::config::schema::{Codec, ColorRange};
use crate::frame::{Coded, DropReason, Frame, PixelFormat};
use bytes::Bytes;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use turbojpeg::{Subsamp, YuvImage};

/// What a stream is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamParams {
    pub codec: Codec,
    /// Constant quality, lower is better: 0 to 51, for AV1 to 63; see [`super::openh264::MIN_QP`]. Unused by `copy`.
    pub quality: u32,
    /// Frames from one key frame to the next, at least 1. Unused by `copy`, where every frame is one.
    pub gop: u32,
    /// Pixels of what is recorded, even.
    pub width: u32,
    /// Pixels of what is recorded, even.
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// The range of the encoded video; `copy` keeps the JPEGs' full range, and what a camera has encoded its own.
    pub color_range: ColorRange,
    /// Cap in bits a second, for NVENC.
    pub bitrate: Option<u64>,
    /// For NVENC.
    pub preset: Preset,
    /// Which NVIDIA GPU encodes, for NVENC.
    pub gpu_id: u32,
    /// Every so many frames one is sampled for statistics; see [`stats_stride`].
    pub stats_stride: u64,
}

/// One frame, encoded.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub sample: Sample,
    /// The frame could not be decoded: the picture before it stands in, at the very start of a stream a grey one.
    pub substituted: Option<DropReason>,
    /// The sample is what the camera has encoded.
    pub stored: bool,
    /// Wall time of decoding and conversion; zero for a frame that was decoded before.
    pub decode: Duration,
    /// Wall time of encoding.
    pub encode: Duration,
    /// The pixels, if the frame is sampled.
    pub histogram: Option<PixelHistogram>,
}

/// An open stream. An error of [`VideoStream::encode`] ends it: open another, which goes on with a key frame.
pub struct VideoStream {
    params: StreamParams,
    device: Device,
    decoder: jpeg::Decoder,
    /// The newest picture that was decoded, as it is recorded.
    picture: I420,
    /// The newest one as it was captured, where only a part of it is recorded, or turned.
    captured: Option<I420>,
    /// The frame that was encoded last, and whether it was replaced: a frame that repeats is not decoded again.
    last: (Weak<Frame>, Option<DropReason>),
    sink: Sink,
}

/// Where pictures go.
enum Sink {
    Video {
        encoder: Box<dyn PictureEncoder>,
        /// Frames until a key frame is due.
        until_key: u32,
        chain: h264::Chain,
    },
    Copy {
        format: Arc<SampleFormat>,
        /// The newest JPEG that could be stored.
        jpeg: Bytes,
        known: KnownTables,
    },
}

impl VideoStream {
    /// Opens the encoder, which encodes a trial picture: an encoder that cannot work fails here.
    pub fn open(params: StreamParams, device: Device) -> Result<VideoStream, CodecError> {
        let StreamParams { codec, gop, width, height, color_range, stats_stride, .. } = params;
        if gop == 0 || stats_stride == 0 {
            let what = if gop == 0 { "the GOP" } else { "the stride of statistics" };
            return Err(CodecError::Parameter { what, found: "0".into(), expected: "at least 1 frame" });
        }
        let (sink, range) = match codec {
            Codec::Copy => {
                let jpeg = grey_jpeg(width, height)?;
                (
                    Sink::Copy { format: Arc::new(SampleFormat::Mjpeg), jpeg, known: KnownTables::default() },
                    ColorRange::Full,
                )
            }
            Codec::H264 | Codec::Hevc | Codec::Av1 => {
                let encoder = backend::open_pictures(&params, device)?;
                (Sink::Video { encoder, until_key: 0, chain: h264::Chain::default() }, color_range)
            }
        };
        let decoder = jpeg::Decoder::new().map_err(|error| turbojpeg_failed(error.to_string()))?;
        let picture = I420::grey(width, height, range);
        Ok(VideoStream { params, device, decoder, picture, captured: None, last: (Weak::new(), None), sink })
    }

    /// What an mp4 track needs to know; it stays the same for the whole stream.
    pub fn format(&self) -> &Arc<SampleFormat> {
        match &self.sink {
            Sink::Video { encoder, .. } => encoder.format(),
            Sink::Copy { format, .. } => format,
        }
    }

    /// Makes the next frame a key frame, from which the GOP counts anew.
    pub fn force_key_frame(&mut self) {
        if let Sink::Video { until_key, .. } = &mut self.sink {
            *until_key = 0;
        }
    }

    /// Encodes frame `index` of the episode. The frame that was passed last may be passed again, for a row that repeats it.
    pub fn encode(&mut self, frame: &Arc<Frame>, index: u64) -> Result<Encoded, CodecError> {
        let start = Instant::now();
        let sampled = index.is_multiple_of(self.params.stats_stride);
        let coded = self.storable(frame);
        if coded.is_some() {
            self.take_range(frame.format.range())?;
        }
        let substituted = self.take_over(frame, sampled)?;
        let coded = coded.filter(|_| substituted.is_none());
        let decode = start.elapsed();
        let histogram = sampled.then(|| {
            let mut histogram = PixelHistogram::default();
            histogram.add_picture(&self.picture);
            histogram
        });
        let start = Instant::now();
        let mut stored = false;
        let sample = match &mut self.sink {
            Sink::Video { encoder, until_key, chain } => {
                stored = chain.stores(coded);
                match coded.filter(|_| stored) {
                    Some(coded) => {
                        // What is encoded after it cannot build on it.
                        *until_key = 0;
                        Sample { data: bitstream::length_prefixed(&coded.data).into(), sync: coded.key }
                    }
                    None => {
                        let sample = encoder.encode(&self.picture, index, *until_key == 0)?;
                        *until_key = if sample.sync { self.params.gop } else { *until_key } - 1;
                        sample
                    }
                }
            }
            Sink::Copy { jpeg, .. } => Sample { data: jpeg.clone(), sync: true },
        };
        Ok(Encoded { sample, substituted, stored, decode, encode: start.elapsed(), histogram })
    }

    /// What the camera encoded a frame as, if that is what this video holds.
    fn storable<'a>(&self, frame: &'a Frame) -> Option<&'a Coded> {
        frame.coded.as_ref().filter(|_| self.params.codec == Codec::H264 && frame.view.is_all())
    }

    /// Encodes in this range from now on: a video that is partly stored as it came is in the camera's range as a whole.
    fn take_range(&mut self, range: ColorRange) -> Result<(), CodecError> {
        let Sink::Video { encoder, until_key, .. } = &mut self.sink else { return Ok(()) };
        if self.picture.range() != range {
            self.params.color_range = range;
            *encoder = backend::open_pictures(&self.params, self.device)?;
            *until_key = 0;
            self.picture = I420::grey(self.params.width, self.params.height, range);
            self.last = (Weak::new(), None);
        }
        Ok(())
    }

    /// Makes `frame` the current picture, or says why the one before stays.
    fn take_over(&mut self, frame: &Arc<Frame>, sampled: bool) -> Result<Option<DropReason>, CodecError> {
        let substituted = match &mut self.sink {
            Sink::Copy { .. } if frame.format != PixelFormat::Mjpg => {
                return Err(CodecError::CopyNeedsJpeg(frame.format));
            }
            Sink::Copy { .. } if !frame.view.is_all() => return Err(CodecError::CopyOfPart),
            Sink::Copy { jpeg, known, .. } => {
                let structure = jpeg::parse_sized(&frame.data, self.params.width, self.params.height);
                // Damage inside the entropy-coded data shows only when a frame is decoded: most unsampled ones are stored
                // as they are. Damaged tables would leave a sample that no player decodes, and are rare enough to be tried.
                let checked = structure.and_then(|structure| {
                    if sampled || !known.contain(structure.tables) {
                        self.decoder.decode(&frame.data, &mut self.picture)?;
                        known.add(structure.tables);
                    }
                    Ok(structure.end)
                });
                match checked {
                    Ok(end) => {
                        *jpeg = frame.data.slice(..end);
                        None
                    }
                    Err(error) => Some(error.reason()),
                }
            }
            Sink::Video { .. } if Weak::ptr_eq(&self.last.0, &Arc::downgrade(frame)) => self.last.1,
            Sink::Video { .. } => self.decode(frame).err(),
        };
        self.last = (Arc::downgrade(frame), substituted);
        Ok(substituted)
    }

    /// Decodes a frame to what is recorded of it.
    fn decode(&mut self, frame: &Frame) -> Result<(), DropReason> {
        let Frame { view, width, height, .. } = *frame;
        if view.is_all() {
            return read(&mut self.decoder, frame, &mut self.picture);
        }
        if view.size(width, height) != Some((self.params.width, self.params.height)) {
            return Err(DropReason::WrongSize);
        }
        let size = |picture: &I420| (picture.width() as u32, picture.height() as u32);
        let captured = self.captured.take().filter(|picture| size(picture) == (width, height));
        let captured =
            self.captured.insert(captured.unwrap_or_else(|| I420::grey(width, height, self.picture.range())));
        read(&mut self.decoder, frame, captured)?;
        view.apply(captured, &mut self.picture);
        Ok(())
    }
}

/// Makes `into` the captured picture; on an error it keeps the one it had.
fn read(decoder: &mut jpeg::Decoder, frame: &Frame, into: &mut I420) -> Result<(), DropReason> {
    match frame.format {
        PixelFormat::Mjpg => decoder.decode(&frame.data, into).map_err(|error| error.reason()),
        _ => raw::read(frame, into),
    }
}

/// A mid-grey JPEG in 4:2:2, the sampling of most cameras.
fn grey_jpeg(width: u32, height: u32) -> Result<Bytes, CodecError> {
    let (width, height) = (width as usize, height as usize);
    let image =
        YuvImage { pixels: &vec![128; width * height * 2][..], width, align: 1, height, subsamp: Subsamp::Sub2x1 };
    let jpeg = turbojpeg::compress_yuv(image, 90).map_err(|error| turbojpeg_failed(error.to_string()))?;
    Ok(jpeg.to_vec().into())
}

fn turbojpeg_failed(words: String) -> CodecError {
    CodecError::Library { library: "libjpeg-turbo", index: 0, words }
}

/// Every how many frames of an episode one is sampled for statistics: at least as often as LeRobot, which takes
/// max(min(100, n), min(⌊n^0.75⌋, 10,000)) of n frames, evenly spaced. The length must be known beforehand; an episode
/// that ends early has correspondingly fewer samples.
pub fn stats_stride(expected_frames: u64) -> u64 {
    let by_power = (expected_frames as f64).powf(0.75) as u64;
    let samples = expected_frames.min(100).max(by_power.min(10_000));
    expected_frames.checked_div(samples).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_sample_at_least_as_often_as_lerobot() {
        for (frames, lerobot, stride) in [
            (0, 0, 1),
            (1, 1, 1),
            (60, 60, 1),
            (100, 100, 1),
            (150, 100, 1),
            (250, 100, 2),
            (600, 121, 4),
            (30_000, 2_279, 13),
        ] {
            assert_eq!(stats_stride(frames), stride, "{frames} frames");
            assert!(frames.div_ceil(stride) >= lerobot, "{frames} frames");
        }
    }
}
