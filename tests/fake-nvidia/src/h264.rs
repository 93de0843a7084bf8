//! H.264 by openh264, in Main profile, as NVENC's differs from the recorder's own Baseline.

use crate::coder::{Coded, Coder};
use crate::picture::Picture;
use crate::settings::{Settings, Vui};
use openh264::encoder::{
    BitRate, ColorPrimaries, Complexity, Encoder as Library, EncoderConfig, FrameRate, FrameType, IntraFramePeriod,
    MatrixCoefficients, Profile, QpRange, RateControlMode, SpsPpsStrategy, TransferCharacteristics, UsageType,
    VuiConfig,
};
use openh264::{OpenH264API, Timestamp, formats::YUVSource};

/// openh264 takes quantisers below this one for no wish at all.
const MIN_QP: u8 = 12;
const MAX_QP: u8 = 51;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// An open encoder.
pub struct Encoder {
    library: Library,
    headers: Vec<u8>,
    /// Pictures so far, and their rate, for the time stamps that openh264 wants.
    pictures: u64,
    frame_rate: f64,
}

impl Encoder {
    /// Opens an encoder, and another one for a grey picture, whose parameter sets are those of the session.
    pub fn open(settings: &Settings) -> Result<Encoder, String> {
        let mut trial = Encoder::with_headers(settings, Vec::new())?;
        let first = trial.encode(&Picture::grey(settings.width, settings.height), true, true)?;
        let headers = annex_b(&first.data).filter(|nal| is_header(nal)).flat_map(with_start_code).collect();
        Encoder::with_headers(settings, headers)
    }

    fn with_headers(settings: &Settings, headers: Vec<u8>) -> Result<Encoder, String> {
        let frame_rate = settings.frame_rate();
        let qp = (settings.quality.round() as u8).clamp(MIN_QP, MAX_QP);
        let mut config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .profile(Profile::Main)
            // The mode that keeps to the range of quantisers, here one, and wants no more than a plausible bit rate.
            .rate_control_mode(RateControlMode::Bufferbased)
            .qp(QpRange::new(qp, qp))
            .bitrate(BitRate::from_bps(10_000_000))
            .max_frame_rate(FrameRate::from_hz(frame_rate as f32))
            .skip_frames(false)
            .background_detection(false)
            .adaptive_quantization(false)
            .scene_change_detect(false)
            // The session says where the key frames are.
            .intra_frame_period(IntraFramePeriod::auto())
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .num_threads(1);
        if let Some(vui) = &settings.vui {
            config = config.vui(vui_config(vui)?);
        }
        let library = Library::with_api_config(OpenH264API::from_source(), config).map_err(|e| e.to_string())?;
        Ok(Encoder { library, headers, pictures: 0, frame_rate })
    }
}

impl Coder for Encoder {
    fn encode(&mut self, picture: &Picture, key: bool, headers: bool) -> Result<Coded, String> {
        if key {
            self.library.force_intra_frame();
        }
        let time = Timestamp::from_millis((self.pictures as f64 * 1000.0 / self.frame_rate) as u64);
        self.pictures += 1;
        let bits = self.library.encode_at(picture, time).map_err(|error| error.to_string())?;
        let is_key = bits.frame_type() == FrameType::IDR;
        if key && !is_key {
            return Err(format!("openh264 gave a frame of type {:?} for a key frame", bits.frame_type()));
        }
        let bits = bits.to_vec();
        let mut data = if headers { self.headers.clone() } else { Vec::new() };
        // The trial has no parameter sets of its own yet: it keeps what the library gives.
        let kept = annex_b(&bits).filter(|nal| self.headers.is_empty() || !is_header(nal));
        data.extend(kept.flat_map(with_start_code));
        Ok(Coded { data, key: is_key })
    }

    fn is_intra_only(&self) -> bool {
        false
    }

    fn headers(&self) -> &[u8] {
        &self.headers
    }
}

fn is_header(nal: &[u8]) -> bool {
    matches!(nal[0] & 0x1f, SPS | PPS)
}

/// The NAL units of a byte stream, without their start codes; none is empty.
pub fn annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> =
        (0..bytes.len().saturating_sub(2)).filter(|&i| bytes[i..].starts_with(&[0, 0, 1])).collect();
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).filter_map(move |(start, end)| {
        let nal = &bytes[start + 3..end];
        // Zeroes before the next start code belong to it, or are padding.
        let length = nal.iter().rposition(|byte| *byte != 0)? + 1;
        Some(&nal[..length])
    })
}

/// A NAL unit as Annex B has it.
pub fn with_start_code(nal: &[u8]) -> impl Iterator<Item = u8> {
    [0, 0, 0, 1].into_iter().chain(nal.iter().copied())
}

fn vui_config(vui: &Vui) -> Result<VuiConfig, String> {
    let primaries = match vui.primaries {
        1 => ColorPrimaries::Bt709,
        2 => ColorPrimaries::Unspecified,
        5 => ColorPrimaries::Bt470BG,
        6 => ColorPrimaries::Smpte170M,
        other => return Err(format!("the fake knows no colour primaries {other}")),
    };
    let transfer = match vui.transfer {
        1 => TransferCharacteristics::Bt709,
        2 => TransferCharacteristics::Unspecified,
        6 => TransferCharacteristics::Smpte170M,
        13 => TransferCharacteristics::Srgb,
        other => return Err(format!("the fake knows no transfer characteristics {other}")),
    };
    let matrix = match vui.matrix {
        1 => MatrixCoefficients::Bt709,
        2 => MatrixCoefficients::Unspecified,
        5 => MatrixCoefficients::Bt470Bg,
        6 => MatrixCoefficients::Smpte170M,
        other => return Err(format!("the fake knows no matrix {other}")),
    };
    let config = VuiConfig::new().color_primaries(primaries).transfer_characteristics(transfer);
    Ok(config.matrix_coefficients(matrix).full_range(vui.full_range))
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
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
