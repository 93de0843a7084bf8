//! What a caller asks of a session, read from NVENC's structures.

use crate::status::{Answer, INVALID_PTR, UNSUPPORTED_PARAM, refuse, require};
use crate::versions::{Api, Structure};
use nv::GUID;
use nvidia_video_codec_sdk::sys::nvEncodeAPI as nv;

/// The codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    Hevc,
    Av1,
}

/// How colours are to be shown, by the numbers of H.273.
#[derive(Clone, Debug)]
pub struct Vui {
    pub full_range: bool,
    pub primaries: u32,
    pub transfer: u32,
    pub matrix: u32,
}

/// What a session was initialised with.
#[derive(Clone, Debug)]
pub struct Settings {
    pub codec: Codec,
    pub width: usize,
    pub height: usize,
    /// Numerator and denominator.
    pub fps: (u32, u32),
    /// The quantiser, on the scale of H.264 and HEVC (to 51) or on that of AV1's encoders (to 63).
    pub quality: f32,
    pub vui: Option<Vui>,
    /// From one key frame to the next, in pictures; nothing if they come only when asked for.
    pub key_interval: Option<u64>,
    /// Parameter sets in front of each key frame.
    pub repeat_headers: bool,
    /// No parameter sets in the stream at all, unless asked for.
    pub disable_headers: bool,
    /// What was asked for, in words for the trace.
    pub words: String,
}

pub const PRESETS: [GUID; 7] = [
    nv::NV_ENC_PRESET_P1_GUID,
    nv::NV_ENC_PRESET_P2_GUID,
    nv::NV_ENC_PRESET_P3_GUID,
    nv::NV_ENC_PRESET_P4_GUID,
    nv::NV_ENC_PRESET_P5_GUID,
    nv::NV_ENC_PRESET_P6_GUID,
    nv::NV_ENC_PRESET_P7_GUID,
];
/// The sizes that it takes.
pub const SMALLEST: usize = 32;
pub const WIDEST: usize = 4096;
pub const HIGHEST: usize = 4096;

const FRAMES: u32 = 1;
const CONST_QP: u32 = 0;
const VBR: u32 = 1;
const CBR: u32 = 2;
/// In H.273, of primaries, transfer and matrix alike.
const UNSPECIFIED: u32 = 2;

/// Reads a field in place: no reference is made to a structure that may be shorter than the type, as an older API has it.
macro_rules! field {
    ($from:expr, $($field:ident).+) => { (&raw const (*$from).$($field).+).read() };
}
/// Reads an enum's field as the number that it is, or the first word of bit fields.
macro_rules! word {
    ($from:expr, $($field:ident).+) => { (&raw const (*$from).$($field).+).cast::<u32>().read() };
}
pub(crate) use {field, word};

impl Codec {
    pub fn guid(self) -> GUID {
        match self {
            Codec::H264 => nv::NV_ENC_CODEC_H264_GUID,
            Codec::Hevc => nv::NV_ENC_CODEC_HEVC_GUID,
            Codec::Av1 => nv::NV_ENC_CODEC_AV1_GUID,
        }
    }

    pub fn of_guid(guid: GUID) -> Option<Codec> {
        [Codec::H264, Codec::Hevc, Codec::Av1].into_iter().find(|codec| codec.guid() == guid)
    }

    pub fn of_name(name: &str) -> Result<Codec, String> {
        let codecs = [Codec::H264, Codec::Hevc, Codec::Av1];
        codecs.into_iter().find(|codec| codec.name() == name).ok_or_else(|| format!("{name}: no such codec"))
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::Hevc => "hevc",
            Codec::Av1 => "av1",
        }
    }

    /// The profiles of 8-bit 4:2:0 video.
    pub fn profiles(self) -> &'static [GUID] {
        const AUTOMATIC: GUID = nv::NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID;
        match self {
            Codec::H264 => &[
                AUTOMATIC,
                nv::NV_ENC_H264_PROFILE_BASELINE_GUID,
                nv::NV_ENC_H264_PROFILE_MAIN_GUID,
                nv::NV_ENC_H264_PROFILE_HIGH_GUID,
                nv::NV_ENC_H264_PROFILE_PROGRESSIVE_HIGH_GUID,
                nv::NV_ENC_H264_PROFILE_CONSTRAINED_HIGH_GUID,
            ],
            Codec::Hevc => &[AUTOMATIC, nv::NV_ENC_HEVC_PROFILE_MAIN_GUID],
            Codec::Av1 => &[AUTOMATIC, nv::NV_ENC_AV1_PROFILE_MAIN_GUID],
        }
    }

    /// The highest `targetQuality` and quantiser.
    fn limits(self) -> (u8, u32) {
        if self == Codec::Av1 { (63, 255) } else { (51, 51) }
    }
}

impl Settings {
    pub fn frame_rate(&self) -> f64 {
        f64::from(self.fps.0) / f64::from(self.fps.1)
    }

    /// Reads and checks what `nvEncInitializeEncoder` is given.
    ///
    /// # Safety
    /// `from` points to the structure of that API's size, and its `encodeConfig`, if not null, likewise.
    pub unsafe fn read(from: *const nv::NV_ENC_INITIALIZE_PARAMS, api: Api, offered: &[Codec]) -> Answer<Settings> {
        if from.is_null() {
            return refuse(INVALID_PTR, "no parameters");
        }
        // SAFETY: `from` points to the structure.
        unsafe {
            api.check(Structure::Initialize, field!(from, version))?;
            let Some(codec) = Codec::of_guid(field!(from, encodeGUID)).filter(|codec| offered.contains(codec)) else {
                return refuse(UNSUPPORTED_PARAM, "encodeGUID is not of a codec on offer");
            };
            let guid = field!(from, presetGUID);
            let preset = PRESETS.iter().position(|preset| *preset == guid);
            let tuning = word!(from, tuningInfo);
            let (width, height) = (field!(from, encodeWidth) as usize, field!(from, encodeHeight) as usize);
            let fps = (field!(from, frameRateNum), field!(from, frameRateDen));
            let config = field!(from, encodeConfig).cast_const();
            require(preset.is_some(), || "presetGUID is none of P1 to P7".into())?;
            require((1..=4).contains(&tuning), || format!("tuningInfo {tuning} is none"))?;
            let sound = |side: usize, limit| (SMALLEST..=limit).contains(&side) && side.is_multiple_of(2);
            require(sound(width, WIDEST) && sound(height, HIGHEST), || {
                format!("a size of {width}x{height}: the fake takes even ones, from {SMALLEST} to {WIDEST}x{HIGHEST}")
            })?;
            require(fps.0 > 0 && fps.1 > 0, || format!("a frame rate of {}/{}", fps.0, fps.1))?;
            require(!config.is_null(), || "encodeConfig is null: the fake wants one".into())?;
            if field!(from, enablePTD) != 1 {
                return refuse(UNSUPPORTED_PARAM, "enablePTD is not 1: the fake decides on picture types itself");
            }
            if field!(from, enableEncodeAsync) != 0 {
                return refuse(UNSUPPORTED_PARAM, "enableEncodeAsync: there is none on Linux");
            }
            let mut settings = read_config(config, api, codec)?;
            (settings.width, settings.height, settings.fps) = (width, height, fps);
            settings.words = format!(
                "codec={} preset=p{} tuning={tuning} size={width}x{height} fps={}/{} {}",
                codec.name(),
                preset.map_or(0, |preset| preset + 1),
                fps.0,
                fps.1,
                settings.words
            );
            Ok(settings)
        }
    }
}

/// # Safety
/// `from` points to the structure of that API.
unsafe fn read_config(from: *const nv::NV_ENC_CONFIG, api: Api, codec: Codec) -> Answer<Settings> {
    // SAFETY: `from` points to the structure; which member of the union is meant is for the codec to say.
    unsafe {
        api.check(Structure::Config, field!(from, version))?;
        let profile = field!(from, profileGUID);
        let (gop, interval) = (field!(from, gopLength), field!(from, frameIntervalP));
        let frame_field_mode = word!(from, frameFieldMode);
        require(codec.profiles().contains(&profile) || profile == GUID::default(), || {
            "profileGUID is not the codec's".into()
        })?;
        require(frame_field_mode == FRAMES, || format!("frameFieldMode {frame_field_mode} is not FRAME (1)"))?;
        require(gop > 0, || "gopLength 0".into())?;
        require((0..=1).contains(&interval), || format!("frameIntervalP {interval}: the fake has no B-frames"))?;
        let (idr, repeat_headers, disable_headers, vui) = match codec {
            Codec::H264 => {
                let h264 = &raw const (*from).encodeCodecConfig.h264Config;
                let flags = word!(h264, _bitfield_1);
                (field!(h264, idrPeriod), bit(flags, 12), bit(flags, 7), read_vui(&raw const (*h264).h264VUIParameters))
            }
            Codec::Hevc => {
                let hevc = &raw const (*from).encodeCodecConfig.hevcConfig;
                let flags = word!(hevc, _bitfield_1);
                (field!(hevc, idrPeriod), bit(flags, 7), bit(flags, 6), read_vui(&raw const (*hevc).hevcVUIParameters))
            }
            Codec::Av1 => {
                let av1 = &raw const (*from).encodeCodecConfig.av1Config;
                let flags = word!(av1, _bitfield_1);
                let colour =
                    (word!(av1, colorPrimaries), word!(av1, transferCharacteristics), word!(av1, matrixCoefficients));
                // Here no flag says whether the colours are described.
                let (primaries, transfer, matrix) =
                    if colour == (0, 0, 0) { (UNSPECIFIED, UNSPECIFIED, UNSPECIFIED) } else { colour };
                let vui = Vui { full_range: field!(av1, colorRange) != 0, primaries, transfer, matrix };
                (field!(av1, idrPeriod), bit(flags, 5), bit(flags, 4), Some(vui))
            }
        };
        let (quality, rate_words) = read_rate_control(&raw const (*from).rcParams, codec)?;
        let shortest = if interval == 0 { 1 } else { gop.min(if idr == 0 { gop } else { idr }) };
        let vui_words = vui.as_ref().map_or("vui=none".into(), |vui| {
            let Vui { full_range, primaries, transfer, matrix } = vui;
            format!("range={} primaries={primaries} transfer={transfer} matrix={matrix}", u8::from(*full_range))
        });
        let words = format!(
            "gop={gop} idr={idr} interval_p={interval} repeat_headers={} disable_headers={} {vui_words} {rate_words}",
            u8::from(repeat_headers),
            u8::from(disable_headers)
        );
        Ok(Settings {
            codec,
            width: 0,
            height: 0,
            fps: (0, 0),
            quality,
            vui,
            key_interval: (shortest != nv::NVENC_INFINITE_GOPLENGTH).then_some(u64::from(shortest)),
            repeat_headers,
            disable_headers,
            words,
        })
    }
}

/// # Safety
/// `from` points to the structure.
unsafe fn read_vui(from: *const nv::NV_ENC_CONFIG_H264_VUI_PARAMETERS) -> Option<Vui> {
    // SAFETY: `from` points to the structure.
    unsafe {
        if field!(from, videoSignalTypePresentFlag) == 0 {
            return None;
        }
        let described = field!(from, colourDescriptionPresentFlag) != 0;
        let colour = |value: u32| if described { value } else { UNSPECIFIED };
        Some(Vui {
            full_range: field!(from, videoFullRangeFlag) != 0,
            primaries: colour(word!(from, colourPrimaries)),
            transfer: colour(word!(from, transferCharacteristics)),
            matrix: colour(word!(from, colourMatrix)),
        })
    }
}

/// # Safety
/// `from` points to the structure.
unsafe fn read_rate_control(from: *const nv::NV_ENC_RC_PARAMS, codec: Codec) -> Answer<(f32, String)> {
    // SAFETY: `from` points to the structure.
    unsafe {
        let mode = word!(from, rateControlMode);
        let (average, maximum) = (field!(from, averageBitRate), field!(from, maxBitRate));
        let (target, fraction) = (field!(from, targetQuality), field!(from, targetQualityLSB));
        let (qp, multi_pass) = (field!(from, constQP.qpInterP), word!(from, multiPass));
        let flags = word!(from, _bitfield_1);
        let (highest_target, highest_qp) = codec.limits();
        require(matches!(mode, CONST_QP | VBR | CBR), || format!("rateControlMode {mode} is none"))?;
        require(multi_pass <= 2, || format!("multiPass {multi_pass} is none"))?;
        require(target <= highest_target, || format!("targetQuality {target} is above {highest_target}"))?;
        require(mode != CONST_QP || qp <= highest_qp, || format!("a quantiser of {qp} is above {highest_qp}"))?;
        require(mode != VBR || maximum == 0 || average <= maximum, || {
            format!("averageBitRate {average} is above maxBitRate {maximum}")
        })?;
        let quality = match mode {
            CONST_QP if codec == Codec::Av1 => qp as f32 / 4.0,
            CONST_QP => qp as f32,
            VBR if target > 0 => f32::from(target) + f32::from(fraction) / 256.0,
            // A bit rate is written down, and not kept.
            _ => 26.0,
        };
        let words = format!(
            "rc={} target_quality={target} target_quality_lsb={fraction} qp={qp} average_bit_rate={average} \
             max_bit_rate={maximum} vbv={} lookahead={} zero_reorder={} multi_pass={multi_pass}",
            ["constqp", "vbr", "cbr"][mode as usize],
            field!(from, vbvBufferSize),
            u8::from(bit(flags, 5)),
            u8::from(bit(flags, 9)),
        );
        Ok((quality, words))
    }
}

fn bit(word: u32, at: u32) -> bool {
    word >> at & 1 == 1
}

/// Fills in a preset's configuration: what the real ones share, without their tuning, and without B-frames.
///
/// # Safety
/// `to` points to a structure of that API, which may be written.
pub unsafe fn write_preset(to: *mut nv::NV_ENC_CONFIG, api: Api, codec: Codec) {
    const QUARTER_PEL: u32 = 3;
    const GOP: u32 = 250;
    const ONE_SLICE: (u32, u32) = (3, 1);
    const UNSPECIFIED_FORMAT: u32 = 5;
    /// Writes an enum's field as a number.
    macro_rules! put {
        ($to:expr, $($field:ident).+, $value:expr) => { (&raw mut (*$to).$($field).+).cast::<u32>().write($value) };
    }
    // SAFETY: `to` points to the structure, and zeroes are written before anything else.
    unsafe {
        to.write_bytes(0, 1);
        put!(to, version, api.word_of(Structure::Config));
        (&raw mut (*to).profileGUID).write(nv::NV_ENC_CODEC_PROFILE_AUTOSELECT_GUID);
        put!(to, gopLength, GOP);
        put!(to, frameIntervalP, 1);
        put!(to, frameFieldMode, FRAMES);
        put!(to, mvPrecision, QUARTER_PEL);
        put!(to, rcParams.version, api.word_of(Structure::RateControl));
        put!(to, rcParams.rateControlMode, VBR);
        put!(to, rcParams.constQP.qpInterP, 28);
        put!(to, rcParams.constQP.qpInterB, 31);
        put!(to, rcParams.constQP.qpIntra, 25);
        put!(to, rcParams.averageBitRate, 2_000_000);
        match codec {
            Codec::H264 => {
                let h264 = &raw mut (*to).encodeCodecConfig.h264Config;
                put!(h264, idrPeriod, GOP);
                put!(h264, sliceMode, ONE_SLICE.0);
                put!(h264, sliceModeData, ONE_SLICE.1);
                put!(h264, chromaFormatIDC, 1);
                put!(h264, h264VUIParameters.videoFormat, UNSPECIFIED_FORMAT);
            }
            Codec::Hevc => {
                let hevc = &raw mut (*to).encodeCodecConfig.hevcConfig;
                put!(hevc, _bitfield_1, 1 << 9);
                put!(hevc, idrPeriod, GOP);
                put!(hevc, sliceMode, ONE_SLICE.0);
                put!(hevc, sliceModeData, ONE_SLICE.1);
                put!(hevc, hevcVUIParameters.videoFormat, UNSPECIFIED_FORMAT);
            }
            Codec::Av1 => {
                let av1 = &raw mut (*to).encodeCodecConfig.av1Config;
                put!(av1, _bitfield_1, 1 << 7);
                put!(av1, idrPeriod, GOP);
            }
        }
    }
}
