//! H.264 on the CPU, by openh264 at constant quality.
//!
//! Constrained baseline, one slice, one thread, no B-frames. The same pictures give the same bytes.

use super::backend::PictureEncoder;
use super::bitstream::nal_units;
use super::yuv::I420;
use super::{CodecError, Sample, SampleFormat};
use crate::config::schema::ColorRange;
use ::openh264::encoder::{
    BitRate, Complexity, EncodedBitStream, Encoder as Library, EncoderConfig, FrameRate, FrameType, IntraFramePeriod,
    QpRange, RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use ::openh264::{OpenH264API, Timestamp, formats::YUVSource};
use std::sync::Arc;

/// The lowest quantiser that openh264 keeps constant; it silently raises lower ones, and takes 0 for "12 to 42".
/// A lower `quality` is encoded with this one, which is said in the log.
pub const MIN_QP: u32 = 12;
/// The coarsest quantiser of H.264.
pub const MAX_QP: u32 = 51;

/// The largest picture, in pixels, upright or lying.
pub const MAX_SIZE: (u32, u32) = (3840, 2160);

/// An open encoder.
pub struct Encoder {
    library: Library,
    format: Arc<SampleFormat>,
    fps: u32,
}

impl Encoder {
    /// Opens an encoder and encodes one grey picture: what opens has encoded.
    pub fn open(width: u32, height: u32, fps: u32, quality: u32, range: ColorRange) -> Result<Encoder, CodecError> {
        let even = |n: u32| n.is_multiple_of(2) && n >= 16;
        if !even(width) || !even(height) || width.max(height) > MAX_SIZE.0 || width.min(height) > MAX_SIZE.1 {
            return Err(CodecError::Parameter {
                what: "the picture's size",
                found: format!("{width}x{height}"),
                expected: "even numbers from 16x16 to 3840x2160",
            });
        }
        if fps == 0 {
            return Err(CodecError::Parameter {
                what: "the rate",
                found: "0".into(),
                expected: "at least 1 frame a second",
            });
        }
        let qp = quality.clamp(MIN_QP, MAX_QP);
        if qp != quality {
            tracing::warn!(quality, used = qp, "openh264 encodes at a quality from {MIN_QP} to {MAX_QP}");
        }
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            // This mode moves within the range of quantisers, which is one. Unlike `Quality` it neither analyses pictures
            // for that nor prints a warning each time it opens; the bytes are the same.
            .rate_control_mode(RateControlMode::Bufferbased)
            .qp(QpRange::new(qp as u8, qp as u8))
            // Constant quality leaves the bit rate unused, except that it must be plausible.
            .bitrate(BitRate::from_bps(10_000_000))
            .max_frame_rate(FrameRate::from_hz(fps as f32))
            .skip_frames(false)
            .background_detection(false)
            .adaptive_quantization(false)
            // Key frames come only when asked for.
            .scene_change_detect(false)
            .intra_frame_period(IntraFramePeriod::auto())
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .num_threads(1)
            .vui(VuiConfig::bt601().full_range(range == ColorRange::Full));
        let library = Library::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| failed(0, error.to_string()))?;
        let format = Arc::new(SampleFormat::H264 { sps: Vec::new(), pps: Vec::new() });
        let mut encoder = Encoder { library, format, fps };
        let first = encoder.encode(&I420::grey(width, height, range), 0, true)?;
        let parameter_set = |kind: u8| {
            let nal = nal_units(&first.data).find(|nal| nal[0] & 0x1f == kind);
            nal.map(<[u8]>::to_vec).ok_or_else(|| failed(0, format!("no parameter set of type {kind}")))
        };
        encoder.format = Arc::new(SampleFormat::H264 { sps: parameter_set(7)?, pps: parameter_set(8)? });
        Ok(encoder)
    }
}

impl PictureEncoder for Encoder {
    /// The parameter sets, equal to those in front of every key frame.
    fn format(&self) -> &Arc<SampleFormat> {
        &self.format
    }

    fn encode(&mut self, picture: &I420, index: u64, key: bool) -> Result<Sample, CodecError> {
        if key {
            self.library.force_intra_frame();
        }
        let time = Timestamp::from_millis(index * 1000 / u64::from(self.fps));
        let bits = self.library.encode_at(picture, time).map_err(|error| failed(index, error.to_string()))?;
        let sync = match bits.frame_type() {
            FrameType::IDR => true,
            FrameType::P if !key => false,
            other => return Err(failed(index, format!("a frame of type {other:?}"))),
        };
        let data = length_prefixed(&bits).ok_or_else(|| failed(index, "a NAL unit without a start code".into()))?;
        Ok(Sample { data: data.into(), sync })
    }
}

fn failed(index: u64, words: String) -> CodecError {
    CodecError::Library { library: "openh264", index, words }
}

/// Replaces each NAL unit's start code by its length in four bytes.
fn length_prefixed(bits: &EncodedBitStream) -> Option<Vec<u8>> {
    let layers = (0..bits.num_layers()).filter_map(|i| bits.layer(i));
    let mut data = Vec::new();
    for layer in layers {
        for i in 0..layer.nal_count() {
            let nal = layer.nal_unit(i)?;
            let nal = nal.strip_prefix(&[0, 0, 0, 1]).or_else(|| nal.strip_prefix(&[0, 0, 1]))?;
            data.extend_from_slice(&u32::try_from(nal.len()).ok()?.to_be_bytes());
            data.extend_from_slice(nal);
        }
    }
    Some(data)
}

impl YUVSource for I420 {
    fn dimensions(&self) -> (usize, usize) {
        (self.width(), self.height())
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width(), self.width() / 2, self.width() / 2)
    }

    fn y(&self) -> &[u8] {
        self.planes()[0]
    }

    fn u(&self) -> &[u8] {
        self.planes()[1]
    }

    fn v(&self) -> &[u8] {
        self.planes()[2]
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("fps", &self.fps).field("format", &self.format).finish_non_exhaustive()
    }
}
