//! The settings of a stream, written into what NVENC takes them from.
//!
//! The driver fills such a configuration with those of a preset, and may put values there that the bindings' enums do not
//! know. So nothing here makes a reference to it or copies it as a whole: single fields are written through a pointer.
#![allow(unsafe_code)]

use super::settings::{MATRIX, PRIMARIES, Settings, TRANSFER};
use crate::config::schema::Codec;
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;
use std::mem::zeroed;
use std::ptr::addr_of_mut;

/// Sets members of the bit field of a struct that is reached by a pointer, in a copy that is otherwise all zeros: that is
/// valid in every member, whatever the driver put into those of the original.
macro_rules! set_bits {
    ($of:expr, $type:ty, $($setter:ident($value:expr)),+) => {{
        let mut copy: $type = zeroed();
        copy._bitfield_1 = (*$of)._bitfield_1;
        $(copy.$setter($value);)+
        (*$of)._bitfield_1 = copy._bitfield_1;
    }};
}

/// One slice a picture.
const SLICES: (u32, u32) = (3, 1);

/// Adjusts a preset's configuration to a stream.
///
/// # Safety
/// `config` must point to a configuration that NVENC has filled, or that is all zeros.
pub(super) unsafe fn write(config: *mut NV_ENC_CONFIG, settings: &Settings) {
    // SAFETY: the pointer is good by the caller's promise, and so are those to its parts. Which member of the union is
    // meant goes by the codec.
    unsafe {
        (*config).version = NV_ENC_CONFIG_VER;
        (*config).profileGUID = match settings.codec {
            Codec::Hevc => NV_ENC_HEVC_PROFILE_MAIN_GUID,
            Codec::Av1 => NV_ENC_AV1_PROFILE_MAIN_GUID,
            _ => NV_ENC_H264_PROFILE_MAIN_GUID,
        };
        (*config).gopLength = settings.gop;
        // No B-frames.
        (*config).frameIntervalP = 1;
        (*config).frameFieldMode = NV_ENC_PARAMS_FRAME_FIELD_MODE::NV_ENC_PARAMS_FRAME_FIELD_MODE_FRAME;
        rate_control(addr_of_mut!((*config).rcParams), settings);
        let codec = addr_of_mut!((*config).encodeCodecConfig);
        match settings.codec {
            Codec::Hevc => hevc(addr_of_mut!((*codec).hevcConfig), settings),
            Codec::Av1 => av1(addr_of_mut!((*codec).av1Config), settings),
            _ => h264(addr_of_mut!((*codec).h264Config), settings),
        }
    }
}

/// Constant quality as ffmpeg's `-cq` asks for it: a variable rate without an average, a target quality, perhaps a cap.
unsafe fn rate_control(rc: *mut NV_ENC_RC_PARAMS, settings: &Settings) {
    // SAFETY: see `write`.
    unsafe {
        (*rc).version = NV_ENC_RC_PARAMS_VER;
        (*rc).rateControlMode = NV_ENC_PARAMS_RC_MODE::NV_ENC_PARAMS_RC_VBR;
        (*rc).averageBitRate = 0;
        (*rc).maxBitRate = settings.max_bit_rate;
        (*rc).vbvBufferSize = 0;
        (*rc).vbvInitialDelay = 0;
        (*rc).targetQuality = settings.target_quality;
        (*rc).targetQualityLSB = 0;
        (*rc).lookaheadDepth = 0;
        (*rc).multiPass = match settings.two_pass {
            true => NV_ENC_MULTI_PASS::NV_ENC_TWO_PASS_FULL_RESOLUTION,
            false => NV_ENC_MULTI_PASS::NV_ENC_MULTI_PASS_DISABLED,
        };
        set_bits!(rc, NV_ENC_RC_PARAMS, set_enableLookahead(0), set_zeroReorderDelay(1));
    }
}

unsafe fn h264(h264: *mut NV_ENC_CONFIG_H264, settings: &Settings) {
    // SAFETY: see `write`.
    unsafe {
        (*h264).level = NV_ENC_LEVEL::NV_ENC_LEVEL_AUTOSELECT as u32;
        (*h264).idrPeriod = settings.gop;
        ((*h264).sliceMode, (*h264).sliceModeData) = SLICES;
        (*h264).chromaFormatIDC = 1;
        set_bits!(h264, NV_ENC_CONFIG_H264, set_outputAUD(0), set_disableSPSPPS(0), set_repeatSPSPPS(1));
        colour(addr_of_mut!((*h264).h264VUIParameters), settings);
    }
}

unsafe fn hevc(hevc: *mut NV_ENC_CONFIG_HEVC, settings: &Settings) {
    // SAFETY: see `write`.
    unsafe {
        (*hevc).level = NV_ENC_LEVEL::NV_ENC_LEVEL_AUTOSELECT as u32;
        (*hevc).tier = 0;
        (*hevc).idrPeriod = settings.gop;
        ((*hevc).sliceMode, (*hevc).sliceModeData) = SLICES;
        set_bits!(hevc, NV_ENC_CONFIG_HEVC, set_outputAUD(0), set_disableSPSPPS(0), set_repeatSPSPPS(1));
        set_bits!(hevc, NV_ENC_CONFIG_HEVC, set_chromaFormatIDC(1));
        colour(addr_of_mut!((*hevc).hevcVUIParameters), settings);
    }
}

unsafe fn av1(av1: *mut NV_ENC_CONFIG_AV1, settings: &Settings) {
    // SAFETY: see `write`.
    unsafe {
        (*av1).level = NV_ENC_LEVEL::NV_ENC_LEVEL_AV1_AUTOSELECT as u32;
        (*av1).tier = 0;
        (*av1).idrPeriod = settings.gop;
        set_bits!(av1, NV_ENC_CONFIG_AV1, set_outputAnnexBFormat(0), set_disableSeqHdr(0), set_repeatSeqHdr(1));
        set_bits!(av1, NV_ENC_CONFIG_AV1, set_chromaFormatIDC(1));
        (*av1).colorPrimaries = PRIMARIES;
        (*av1).transferCharacteristics = TRANSFER;
        (*av1).matrixCoefficients = MATRIX;
        (*av1).colorRange = u32::from(settings.full_range);
    }
}

/// How colours are to be understood, for H.264 and H.265.
unsafe fn colour(vui: *mut NV_ENC_CONFIG_H264_VUI_PARAMETERS, settings: &Settings) {
    // SAFETY: see `write`.
    unsafe {
        (*vui).videoSignalTypePresentFlag = 1;
        (*vui).videoFormat = NV_ENC_VUI_VIDEO_FORMAT::NV_ENC_VUI_VIDEO_FORMAT_UNSPECIFIED;
        (*vui).videoFullRangeFlag = u32::from(settings.full_range);
        (*vui).colourDescriptionPresentFlag = 1;
        (*vui).colourPrimaries = PRIMARIES;
        (*vui).transferCharacteristics = TRANSFER;
        (*vui).colourMatrix = MATRIX;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    fn settings(codec: Codec) -> Settings {
        Settings {
            codec,
            width: 1280,
            height: 720,
            fps: 30,
            gop: 15,
            preset: NV_ENC_PRESET_P7_GUID,
            two_pass: true,
            target_quality: 23,
            max_bit_rate: 8_000_000,
            full_range: true,
        }
    }

    /// The configuration of a stream, made from one whose every bit is `fill`.
    fn written(codec: Codec, fill: u8) -> Box<MaybeUninit<NV_ENC_CONFIG>> {
        let mut config = Box::new(MaybeUninit::<NV_ENC_CONFIG>::uninit());
        // SAFETY: the bytes are those of the struct, and `write` may be given any.
        unsafe {
            config.as_mut_ptr().cast::<u8>().write_bytes(fill, size_of::<NV_ENC_CONFIG>());
            write(config.as_mut_ptr(), &settings(codec));
        }
        config
    }

    #[test]
    fn rate_control_is_constant_quality_with_a_cap_and_no_delay() {
        let config = written(Codec::H264, 0);
        // SAFETY: made from zeros, every enum has a value that it knows.
        let config = unsafe { config.assume_init_ref() };
        assert_eq!((config.gopLength, config.frameIntervalP), (15, 1));
        let rc = &config.rcParams;
        assert_eq!(rc.rateControlMode, NV_ENC_PARAMS_RC_MODE::NV_ENC_PARAMS_RC_VBR);
        assert_eq!((rc.targetQuality, rc.averageBitRate, rc.maxBitRate), (23, 0, 8_000_000));
        assert_eq!((rc.vbvBufferSize, rc.vbvInitialDelay), (0, 0));
        assert_eq!((rc.enableLookahead(), rc.zeroReorderDelay()), (0, 1));
        assert_eq!(rc.multiPass, NV_ENC_MULTI_PASS::NV_ENC_TWO_PASS_FULL_RESOLUTION);
    }

    /// Whatever a preset says: every bit is set or cleared that a stream depends on.
    #[test]
    fn headers_are_repeated_whatever_the_preset_says() {
        for fill in [0, 0xff] {
            for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
                let config = written(codec, fill);
                // SAFETY: only bit fields and numbers are read, through the pointer.
                let (on, off, chroma, idr) = unsafe {
                    let config = config.as_ptr();
                    let codec_config = &raw const (*config).encodeCodecConfig;
                    match codec {
                        Codec::Hevc => {
                            let mut bits: NV_ENC_CONFIG_HEVC = zeroed();
                            bits._bitfield_1 = (*codec_config).hevcConfig._bitfield_1;
                            let off = bits.outputAUD() + bits.disableSPSPPS();
                            (bits.repeatSPSPPS(), off, bits.chromaFormatIDC(), (*codec_config).hevcConfig.idrPeriod)
                        }
                        Codec::Av1 => {
                            let mut bits: NV_ENC_CONFIG_AV1 = zeroed();
                            bits._bitfield_1 = (*codec_config).av1Config._bitfield_1;
                            let off = bits.outputAnnexBFormat() + bits.disableSeqHdr();
                            (bits.repeatSeqHdr(), off, bits.chromaFormatIDC(), (*codec_config).av1Config.idrPeriod)
                        }
                        _ => {
                            let mut bits: NV_ENC_CONFIG_H264 = zeroed();
                            bits._bitfield_1 = (*codec_config).h264Config._bitfield_1;
                            let off = bits.outputAUD() + bits.disableSPSPPS();
                            let h264 = &raw const (*codec_config).h264Config;
                            (bits.repeatSPSPPS(), off, (*h264).chromaFormatIDC, (*h264).idrPeriod)
                        }
                    }
                };
                assert_eq!((on, off, chroma, idr), (1, 0, 1, 15), "{codec:?}, filled with {fill}");
            }
        }
    }

    #[test]
    fn colours_are_those_of_openh264() {
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
            let config = written(codec, 0);
            // SAFETY: made from zeros, every enum has a value that it knows.
            let codec_config = unsafe { &config.assume_init_ref().encodeCodecConfig };
            // SAFETY: as above, and zeros are valid in each member of the union.
            let (full_range, colours) = unsafe {
                let vui = match codec {
                    Codec::H264 => Some(codec_config.h264Config.h264VUIParameters),
                    Codec::Hevc => Some(codec_config.hevcConfig.hevcVUIParameters),
                    _ => None,
                };
                match vui {
                    Some(vui) => {
                        assert_eq!((vui.videoSignalTypePresentFlag, vui.colourDescriptionPresentFlag), (1, 1));
                        let (primaries, transfer) = (vui.colourPrimaries as u32, vui.transferCharacteristics as u32);
                        (vui.videoFullRangeFlag, (primaries, transfer, vui.colourMatrix as u32))
                    }
                    None => {
                        let av1 = &codec_config.av1Config;
                        let (primaries, transfer) = (av1.colorPrimaries as u32, av1.transferCharacteristics as u32);
                        (av1.colorRange, (primaries, transfer, av1.matrixCoefficients as u32))
                    }
                }
            };
            assert_eq!((full_range, colours), (1, (6, 6, 6)), "{codec:?}");
        }
    }
}
