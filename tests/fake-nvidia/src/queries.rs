//! What `libnvidia-encode.so.1` says of itself: codecs, profiles, presets, formats, capabilities.

use crate::api::{Handle, in_session, present};
use crate::faults::faults;
use crate::picture::Layout;
use crate::settings::{self, Codec, PRESETS, field, word};
use crate::status::*;
use crate::versions::Structure;
use nv::GUID;
use nvidia_video_codec_sdk::sys::nvEncodeAPI as nv;
use std::ffi::c_int;

const LAYOUTS: [(nv::NV_ENC_BUFFER_FORMAT, Layout); 3] = [
    (nv::NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_NV12, Layout::Nv12),
    (nv::NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_YV12, Layout::Yv12),
    (nv::NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_IYUV, Layout::Iyuv),
];

/// The layout of a buffer format, if the fake has it.
pub fn layout(format: u32) -> Option<Layout> {
    LAYOUTS.iter().find(|(number, _)| *number as u32 == format).map(|(_, layout)| *layout)
}

fn offered(guid: GUID) -> Answer<Codec> {
    let codec = Codec::of_guid(guid).filter(|codec| faults().codecs.contains(codec));
    codec.map_or_else(|| refuse(INVALID_PARAM, "encodeGUID is not of a codec on offer"), Ok)
}

/// Writes as many of `items` as the caller has room for, and says how many.
///
/// # Safety
/// `to` holds `room` items, and `count` one number.
unsafe fn list<T: Copy>(items: &[T], to: *mut T, room: u32, count: *mut u32) -> Answer<()> {
    present(to, "the array")?;
    present(count, "the count")?;
    let items = &items[..items.len().min(room as usize)];
    // SAFETY: as the caller promises.
    unsafe {
        to.copy_from_nonoverlapping(items.as_ptr(), items.len());
        count.write(items.len() as u32);
    }
    Ok(())
}

/// # Safety
/// `to` is null or may be written.
pub unsafe fn count(number: usize, to: *mut u32) -> Answer<()> {
    present(to, "the count")?;
    // SAFETY: not null.
    unsafe { to.write(number as u32) };
    Ok(())
}

pub unsafe extern "C" fn codec_count(encoder: Handle, to: *mut u32) -> u32 {
    // SAFETY: the caller's pointer.
    in_session("codec_count", encoder, |_| unsafe { count(faults().codecs.len(), to) })
}

pub unsafe extern "C" fn codecs(encoder: Handle, to: *mut GUID, room: u32, number: *mut u32) -> u32 {
    let guids: Vec<GUID> = faults().codecs.iter().map(|codec| codec.guid()).collect();
    // SAFETY: the caller's array and pointer.
    in_session("codecs", encoder, |_| unsafe { list(&guids, to, room, number) })
}

pub unsafe extern "C" fn profile_count(encoder: Handle, codec: GUID, to: *mut u32) -> u32 {
    // SAFETY: the caller's pointer.
    in_session("profile_count", encoder, |_| unsafe { count(offered(codec)?.profiles().len(), to) })
}

pub unsafe extern "C" fn profiles(encoder: Handle, codec: GUID, to: *mut GUID, room: u32, number: *mut u32) -> u32 {
    // SAFETY: the caller's array and pointer.
    in_session("profiles", encoder, |_| unsafe { list(offered(codec)?.profiles(), to, room, number) })
}

pub unsafe extern "C" fn preset_count(encoder: Handle, codec: GUID, to: *mut u32) -> u32 {
    // SAFETY: the caller's pointer.
    in_session("preset_count", encoder, |_| unsafe { offered(codec).and_then(|_| count(PRESETS.len(), to)) })
}

pub unsafe extern "C" fn presets(encoder: Handle, codec: GUID, to: *mut GUID, room: u32, number: *mut u32) -> u32 {
    // SAFETY: the caller's array and pointer.
    in_session("presets", encoder, |_| unsafe { offered(codec).and_then(|_| list(&PRESETS, to, room, number)) })
}

pub unsafe extern "C" fn format_count(encoder: Handle, codec: GUID, to: *mut u32) -> u32 {
    // SAFETY: the caller's pointer.
    in_session("format_count", encoder, |_| unsafe { offered(codec).and_then(|_| count(LAYOUTS.len(), to)) })
}

pub unsafe extern "C" fn formats(
    encoder: Handle,
    codec: GUID,
    to: *mut nv::NV_ENC_BUFFER_FORMAT,
    room: u32,
    number: *mut u32,
) -> u32 {
    let formats = LAYOUTS.map(|(format, _)| format);
    // SAFETY: the caller's array and pointer.
    in_session("formats", encoder, |_| unsafe { offered(codec).and_then(|_| list(&formats, to, room, number)) })
}

pub unsafe extern "C" fn caps(encoder: Handle, codec: GUID, from: *const nv::NV_ENC_CAPS_PARAM, to: *mut c_int) -> u32 {
    use nv::NV_ENC_CAPS::*;
    const RATE_CONTROLS: c_int = 0b111;
    in_session("caps", encoder, |session| {
        offered(codec)?;
        present(from, "the parameters").and(present(to, "the value"))?;
        // SAFETY: the caller's structure and pointer, not null.
        unsafe {
            session.api.check(Structure::Caps, field!(from, version))?;
            let value = match word!(from, capsToQuery) {
                cap if cap == NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES as u32 => RATE_CONTROLS,
                cap if cap == NV_ENC_CAPS_SUPPORT_CABAC as u32 => 1,
                cap if cap == NV_ENC_CAPS_WIDTH_MAX as u32 => settings::WIDEST as c_int,
                cap if cap == NV_ENC_CAPS_HEIGHT_MAX as u32 => settings::HIGHEST as c_int,
                cap if cap == NV_ENC_CAPS_WIDTH_MIN as u32 => settings::SMALLEST as c_int,
                cap if cap == NV_ENC_CAPS_HEIGHT_MIN as u32 => settings::SMALLEST as c_int,
                cap if cap == NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE as u32 => 1,
                cap if cap == NV_ENC_CAPS_NUM_ENCODER_ENGINES as u32 => 1,
                cap if cap == NV_ENC_CAPS_DYNAMIC_QUERY_ENCODER_CAPACITY as u32 => 100,
                // No B-frames, no look-ahead, no 10 bits, no 4:4:4, nothing else.
                cap if cap < NV_ENC_CAPS_EXPOSED_COUNT as u32 => 0,
                cap => return refuse(INVALID_PARAM, format!("capsToQuery {cap} is none")),
            };
            to.write(value);
        }
        Ok(())
    })
}

pub unsafe extern "C" fn preset_config(
    encoder: Handle,
    codec: GUID,
    preset: GUID,
    tuning: u32,
    to: *mut nv::NV_ENC_PRESET_CONFIG,
) -> u32 {
    in_session("preset_config", encoder, |session| {
        let codec = offered(codec)?;
        present(to, "the configuration")?;
        require(PRESETS.contains(&preset), || "presetGUID is none of P1 to P7".into())?;
        require((1..=4).contains(&tuning), || format!("tuningInfo {tuning} is none"))?;
        // SAFETY: the caller's structure, not null, of the same size in all APIs.
        unsafe {
            session.api.check(Structure::PresetConfig, field!(to, version))?;
            session.api.check(Structure::Config, field!(to, presetCfg.version))?;
            settings::write_preset(&raw mut (*to).presetCfg, session.api, codec);
        }
        Ok(())
    })
}
