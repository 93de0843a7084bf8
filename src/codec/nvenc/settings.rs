//! What is asked of NVENC for a stream: plain values, before any of it goes into the library's structs.

use crate::codec::stream::StreamParams;
use crate::codec::{CodecError, Preset};
use crate::config::schema::{Codec, ColorRange};
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;

/// Colours as in every video of this program: BT.601 (SMPTE 170M), as openh264 is told. A switch of the encoder inside of
/// one video must not change them.
pub const PRIMARIES: NV_ENC_VUI_COLOR_PRIMARIES = NV_ENC_VUI_COLOR_PRIMARIES::NV_ENC_VUI_COLOR_PRIMARIES_SMPTE170M;
/// See [`PRIMARIES`].
pub const TRANSFER: NV_ENC_VUI_TRANSFER_CHARACTERISTIC =
    NV_ENC_VUI_TRANSFER_CHARACTERISTIC::NV_ENC_VUI_TRANSFER_CHARACTERISTIC_SMPTE170M;
/// See [`PRIMARIES`].
pub const MATRIX: NV_ENC_VUI_MATRIX_COEFFS = NV_ENC_VUI_MATRIX_COEFFS::NV_ENC_VUI_MATRIX_COEFFS_SMPTE170M;

/// High quality: videos are stored, not sent, so that nothing is gained by keeping single frames small, which is what the
/// low-latency tunings spend bits on. What this tuning would add to the delay (B-frames, look-ahead, reordering) is
/// switched off one by one, so that every picture comes out at once here too.
pub const TUNING: NV_ENC_TUNING_INFO = NV_ENC_TUNING_INFO::NV_ENC_TUNING_INFO_HIGH_QUALITY;

/// The coarsest target quality of H.264 and H.265.
pub const MAX_QUALITY: u32 = 51;
/// The coarsest target quality of AV1.
pub const MAX_QUALITY_AV1: u32 = 63;

/// What is asked of NVENC.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// H.264, H.265 or AV1.
    pub codec: Codec,
    pub width: u32,
    pub height: u32,
    /// Frames a second.
    pub fps: u32,
    /// Frames from one IDR to the next.
    pub gop: u32,
    pub preset: GUID,
    /// Both passes at full resolution.
    pub two_pass: bool,
    /// 1 to 51, for AV1 to 63: what ffmpeg calls `-cq`.
    pub target_quality: u8,
    /// Cap in bits a second; 0 for none.
    pub max_bit_rate: u32,
    pub full_range: bool,
}

impl Settings {
    /// The settings of a stream.
    pub fn new(params: &StreamParams) -> Result<Settings, CodecError> {
        let StreamParams { codec, quality, gop, width, height, fps, color_range, bitrate, preset, .. } = *params;
        let wrong = |what, found: String, expected| Err(CodecError::Parameter { what, found, expected });
        if codec == Codec::Copy {
            return Err(CodecError::CopyOfPictures);
        }
        if [width, height].iter().any(|n| *n == 0 || *n % 2 != 0 || *n > 8192) {
            return wrong("the picture's size", format!("{width}x{height}"), "even numbers up to 8192x8192");
        }
        if fps == 0 {
            return wrong("the rate", "0".into(), "at least 1 frame a second");
        }
        if gop == 0 {
            return wrong("the GOP", "0".into(), "at least 1 frame");
        }
        let Ok(max_bit_rate) = u32::try_from(bitrate.unwrap_or(0)) else {
            return wrong("the bit rate", format!("{} bits a second", bitrate.unwrap_or(0)), "at most 4294967295");
        };
        let coarsest = if codec == Codec::Av1 { MAX_QUALITY_AV1 } else { MAX_QUALITY };
        Ok(Settings {
            codec,
            width,
            height,
            fps,
            gop,
            preset: preset_guid(preset),
            two_pass: preset == Preset::P7,
            // 0 would let the driver choose.
            target_quality: quality.clamp(1, coarsest) as u8,
            max_bit_rate,
            full_range: color_range == ColorRange::Full,
        })
    }
}

/// A codec by NVENC's name of it; none for `copy`.
pub fn codec_guid(codec: Codec) -> Option<GUID> {
    match codec {
        Codec::H264 => Some(NV_ENC_CODEC_H264_GUID),
        Codec::Hevc => Some(NV_ENC_CODEC_HEVC_GUID),
        Codec::Av1 => Some(NV_ENC_CODEC_AV1_GUID),
        Codec::Copy => None,
    }
}

fn preset_guid(preset: Preset) -> GUID {
    match preset {
        Preset::P1 => NV_ENC_PRESET_P1_GUID,
        Preset::P2 => NV_ENC_PRESET_P2_GUID,
        Preset::P3 => NV_ENC_PRESET_P3_GUID,
        Preset::P4 => NV_ENC_PRESET_P4_GUID,
        Preset::P5 => NV_ENC_PRESET_P5_GUID,
        Preset::P6 => NV_ENC_PRESET_P6_GUID,
        Preset::P7 => NV_ENC_PRESET_P7_GUID,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(codec: Codec) -> StreamParams {
        StreamParams {
            codec,
            quality: 23,
            gop: 15,
            width: 1280,
            height: 720,
            fps: 30,
            color_range: ColorRange::Limited,
            bitrate: None,
            preset: Preset::P1,
            gpu_id: 0,
            stats_stride: 1,
        }
    }

    #[test]
    fn quality_is_in_the_codecs_own_range_and_never_automatic() {
        for (codec, quality, expected) in [
            (Codec::H264, 0, 1),
            (Codec::H264, 23, 23),
            (Codec::H264, 60, 51),
            (Codec::Hevc, 51, 51),
            (Codec::Hevc, 52, 51),
            (Codec::Av1, 0, 1),
            (Codec::Av1, 63, 63),
            (Codec::Av1, 99, 63),
        ] {
            let settings = Settings::new(&StreamParams { quality, ..params(codec) }).unwrap();
            assert_eq!(settings.target_quality, expected, "{codec:?} {quality}");
        }
    }

    #[test]
    fn presets_are_nvencs_own_and_only_the_slowest_makes_two_passes() {
        let presets = [
            (Preset::P1, NV_ENC_PRESET_P1_GUID),
            (Preset::P2, NV_ENC_PRESET_P2_GUID),
            (Preset::P3, NV_ENC_PRESET_P3_GUID),
            (Preset::P4, NV_ENC_PRESET_P4_GUID),
            (Preset::P5, NV_ENC_PRESET_P5_GUID),
            (Preset::P6, NV_ENC_PRESET_P6_GUID),
            (Preset::P7, NV_ENC_PRESET_P7_GUID),
        ];
        for (preset, guid) in presets {
            let settings = Settings::new(&StreamParams { preset, ..params(Codec::Hevc) }).unwrap();
            assert_eq!((settings.preset, settings.two_pass), (guid, preset == Preset::P7), "{preset:?}");
        }
    }

    #[test]
    fn the_bit_rate_is_a_cap() {
        let cap = |bitrate| Settings::new(&StreamParams { bitrate, ..params(Codec::H264) }).map(|s| s.max_bit_rate);
        assert_eq!(cap(None), Ok(0));
        assert_eq!(cap(Some(8_000_000)), Ok(8_000_000));
        assert!(cap(Some(1 << 32)).unwrap_err().to_string().contains("4294967296 bits a second"));
    }

    #[test]
    fn what_cannot_be_encoded_is_refused() {
        let good = params(Codec::H264);
        for (bad, expected) in [
            (StreamParams { width: 641, ..good.clone() }, "641x720"),
            (StreamParams { height: 0, ..good.clone() }, "1280x0"),
            (StreamParams { width: 8194, ..good.clone() }, "8194x720"),
            (StreamParams { fps: 0, ..good.clone() }, "the rate is 0"),
            (StreamParams { gop: 0, ..good.clone() }, "the GOP is 0"),
            (StreamParams { codec: Codec::Copy, ..good }, "copy"),
        ] {
            let words = Settings::new(&bad).unwrap_err().to_string();
            assert!(words.contains(expected), "{words}");
        }
    }
}
