//! `libnvidia-encode.so.1`: its two entry points, and the functions that they give.
//!
//! Each function checks version words, reads the caller's structure field by field, and leaves the rest to the session.

#![allow(non_snake_case, reason = "the names are the driver's")]

use crate::cuda;
use crate::faults::faults;
use crate::queries::*;
use crate::session::{self, Session, Submission};
use crate::settings::{Settings, field, word};
use crate::status::*;
use crate::trace::trace;
use crate::versions::{Api, Structure};
use nvidia_video_codec_sdk::sys::nvEncodeAPI as nv;
use std::ffi::{CString, c_char, c_void};

/// A session or a buffer, to its caller.
pub type Handle = *mut c_void;

/// Writes a field in place: the caller's structure may be shorter than the type, as an older API has it.
macro_rules! put {
    ($to:expr, $field:ident, $value:expr) => {
        (&raw mut (*$to).$field).write($value)
    };
}

/// A result as the caller gets it. A refusal is written to the trace.
fn status(call: &str, answer: Answer<()>) -> u32 {
    match answer {
        Ok(()) => SUCCESS,
        Err(refusal) => {
            trace!("refused call={call} status={} why={}", refusal.status, refusal.words);
            refusal.status
        }
    }
}

/// Does a session's work and keeps its refusal for `nvEncGetLastErrorString`.
pub fn in_session(call: &str, encoder: Handle, work: impl FnOnce(&mut Session) -> Answer<()>) -> u32 {
    let Some(session) = session::find(encoder.addr()) else {
        return status(call, refuse(INVALID_PTR, "no such session"));
    };
    let mut session = session.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let answer = work(&mut session);
    if let Err(refusal) = &answer {
        session.error = CString::new(refusal.words.as_str()).unwrap_or_default();
    }
    status(call, answer)
}

pub fn present<T>(pointer: *const T, what: &str) -> Answer<()> {
    if pointer.is_null() { refuse(INVALID_PTR, format!("{what} is null")) } else { Ok(()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NvEncodeAPIGetMaxSupportedVersion(version: *mut u32) -> u32 {
    let api = faults().api;
    // SAFETY: the caller's pointer.
    status("get_max_supported_version", unsafe { count((api.major << 4 | api.minor) as usize, version) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn NvEncodeAPICreateInstance(functions: *mut nv::NV_ENCODE_API_FUNCTION_LIST) -> u32 {
    // SAFETY: the caller's structure, whose size is the same in all APIs.
    let answer = present(functions, "the function list").and_then(|()| unsafe {
        supported(field!(functions, version), Structure::FunctionList)?;
        fill(functions);
        Ok(())
    });
    status("create_instance", answer)
}

/// The API that a structure's version word is of, if the driver supports it.
fn supported(word: u32, structure: Structure) -> Answer<Api> {
    match Api::of_word(word).filter(|api| *api <= faults().api) {
        Some(api) => api.check(structure, word).map(|()| api),
        None => refuse(INVALID_VERSION, format!("{structure:?}: the API of {word:#010x} is not supported")),
    }
}

/// # Safety
/// `to` may be written.
unsafe fn fill(to: *mut nv::NV_ENCODE_API_FUNCTION_LIST) {
    macro_rules! functions {
        ($($field:ident = $function:expr;)*) => { $(
            // Through a plain pointer, as the binding's types return an enum that cannot hold every status.
            (&raw mut (*to).$field).cast::<*const c_void>().write($function as *const c_void);
        )* };
    }
    // SAFETY: `to` may be written, and its fields are as wide as pointers to functions.
    unsafe {
        functions! {
            nvEncOpenEncodeSession = unimplemented; nvEncGetEncodeStats = unimplemented;
            nvEncRegisterAsyncEvent = unimplemented; nvEncUnregisterAsyncEvent = unimplemented;
            nvEncMapInputResource = unimplemented; nvEncUnmapInputResource = unimplemented;
            nvEncInvalidateRefFrames = unimplemented; nvEncRegisterResource = unimplemented;
            nvEncUnregisterResource = unimplemented; nvEncCreateMVBuffer = unimplemented;
            nvEncDestroyMVBuffer = unimplemented; nvEncRunMotionEstimationOnly = unimplemented;
            nvEncGetSequenceParamEx = unimplemented; nvEncGetEncodePresetConfig = unimplemented;

            nvEncOpenEncodeSessionEx = open_session; nvEncDestroyEncoder = destroy_encoder;
            nvEncGetLastErrorString = last_error; nvEncSetIOCudaStreams = set_streams;
            nvEncGetEncodeGUIDCount = codec_count; nvEncGetEncodeGUIDs = codecs;
            nvEncGetEncodeProfileGUIDCount = profile_count; nvEncGetEncodeProfileGUIDs = profiles;
            nvEncGetEncodePresetCount = preset_count; nvEncGetEncodePresetGUIDs = presets;
            nvEncGetInputFormatCount = format_count; nvEncGetInputFormats = formats;
            nvEncGetEncodeCaps = caps; nvEncGetEncodePresetConfigEx = preset_config;
            nvEncInitializeEncoder = initialize; nvEncReconfigureEncoder = reconfigure;
            nvEncGetSequenceParams = sequence_params; nvEncEncodePicture = encode_picture;
            nvEncCreateInputBuffer = create_input; nvEncDestroyInputBuffer = destroy_input;
            nvEncLockInputBuffer = lock_input; nvEncUnlockInputBuffer = unlock_input;
            nvEncCreateBitstreamBuffer = create_bitstream; nvEncDestroyBitstreamBuffer = destroy_bitstream;
            nvEncLockBitstream = lock_bitstream; nvEncUnlockBitstream = unlock_bitstream;
        }
        // These came with 12.1; before, they were reserved.
        if Api::of_word(field!(to, version)).is_some_and(|api| api >= Api { major: 12, minor: 1 }) {
            functions! { nvEncRestoreEncoderState = unimplemented; nvEncLookaheadPicture = unimplemented; }
        }
    }
}

extern "C" fn unimplemented() -> u32 {
    status("another", refuse(UNIMPLEMENTED, "the fake does not have this function"))
}

unsafe extern "C" fn open_session(from: *const nv::NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS, to: *mut Handle) -> u32 {
    // SAFETY: the caller's structure and pointer, once they are not null.
    let answer = present(from, "the parameters").and(present(to, "the session")).and_then(|()| unsafe {
        to.write(std::ptr::null_mut());
        let api = supported(field!(from, version), Structure::OpenSession)?;
        if field!(from, apiVersion) != api.word() {
            return refuse(INVALID_VERSION, "apiVersion is not that of the structure");
        }
        if word!(from, deviceType) != nv::NV_ENC_DEVICE_TYPE::NV_ENC_DEVICE_TYPE_CUDA as u32 {
            return refuse(INVALID_ENCODERDEVICE, "deviceType is not CUDA");
        }
        let Some(device) = cuda::device_of(field!(from, device)) else {
            return refuse(INVALID_DEVICE, "device is no context of CUDA");
        };
        to.write(std::ptr::without_provenance_mut(session::open(api, device)?));
        Ok(())
    });
    status("open", answer)
}

extern "C" fn destroy_encoder(encoder: Handle) -> u32 {
    let closed = session::close(encoder.addr());
    status("destroy", if closed { Ok(()) } else { refuse(INVALID_PTR, "no such session") })
}

/// Valid until the session is refused something else, or is closed.
extern "C" fn last_error(encoder: Handle) -> *const c_char {
    let session = session::find(encoder.addr());
    session.map_or(c"no such session".as_ptr(), |session| {
        session.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).error.as_ptr()
    })
}

extern "C" fn set_streams(encoder: Handle, _input: *mut c_void, _output: *mut c_void) -> u32 {
    in_session("set_streams", encoder, |_| Ok(()))
}

unsafe extern "C" fn initialize(encoder: Handle, from: *const nv::NV_ENC_INITIALIZE_PARAMS) -> u32 {
    in_session("initialize", encoder, |session| {
        // SAFETY: the caller's structure, or null.
        let settings = unsafe { Settings::read(from, session.api, &faults().codecs) }?;
        session.initialize(settings)
    })
}

unsafe extern "C" fn reconfigure(encoder: Handle, from: *const nv::NV_ENC_RECONFIGURE_PARAMS) -> u32 {
    in_session("reconfigure", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null.
        let (settings, flags) = unsafe {
            session.api.check(Structure::Reconfigure, field!(from, version))?;
            let inner = &raw const (*from).reInitEncodeParams;
            (Settings::read(inner, session.api, &faults().codecs)?, word!(from, _bitfield_1))
        };
        session.reconfigure(settings, flags & 1 != 0, flags & 2 != 0)
    })
}

unsafe extern "C" fn sequence_params(encoder: Handle, from: *const nv::NV_ENC_SEQUENCE_PARAM_PAYLOAD) -> u32 {
    in_session("sequence_params", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null, with a buffer of the size that it says.
        unsafe {
            session.api.check(Structure::SequenceParams, field!(from, version))?;
            let room = field!(from, inBufferSize) as usize;
            let (to, size) = (field!(from, spsppsBuffer), field!(from, outSPSPPSPayloadSize));
            present(to, "spsppsBuffer").and(present(size, "outSPSPPSPayloadSize"))?;
            let headers = session.headers()?;
            if headers.len() > room {
                return refuse(NOT_ENOUGH_BUFFER, format!("{} bytes into {room}", headers.len()));
            }
            to.cast::<u8>().copy_from_nonoverlapping(headers.as_ptr(), headers.len());
            size.write(headers.len() as u32);
        }
        Ok(())
    })
}

unsafe extern "C" fn create_input(encoder: Handle, from: *mut nv::NV_ENC_CREATE_INPUT_BUFFER) -> u32 {
    in_session("create_input", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null.
        unsafe {
            session.api.check(Structure::CreateInput, field!(from, version))?;
            let format = word!(from, bufferFmt);
            let Some(layout) = layout(format) else {
                return refuse(UNSUPPORTED_PARAM, format!("bufferFmt {format:#x}: the fake takes NV12, YV12 and IYUV"));
            };
            let (width, height) = (field!(from, width) as usize, field!(from, height) as usize);
            let handle = session.create_input(layout, width, height)?;
            put!(from, inputBuffer, std::ptr::without_provenance_mut(handle));
        }
        Ok(())
    })
}

extern "C" fn destroy_input(encoder: Handle, buffer: Handle) -> u32 {
    in_session("destroy_input", encoder, |session| session.destroy_input(buffer.addr()))
}

unsafe extern "C" fn lock_input(encoder: Handle, from: *mut nv::NV_ENC_LOCK_INPUT_BUFFER) -> u32 {
    in_session("lock_input", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null.
        unsafe {
            session.api.check(Structure::LockInput, field!(from, version))?;
            let (data, pitch) = session.lock_input(field!(from, inputBuffer).addr())?;
            put!(from, bufferDataPtr, data.cast());
            put!(from, pitch, pitch as u32);
        }
        Ok(())
    })
}

extern "C" fn unlock_input(encoder: Handle, buffer: Handle) -> u32 {
    in_session("unlock_input", encoder, |session| session.unlock_input(buffer.addr()))
}

unsafe extern "C" fn create_bitstream(encoder: Handle, from: *mut nv::NV_ENC_CREATE_BITSTREAM_BUFFER) -> u32 {
    in_session("create_bitstream", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null.
        unsafe {
            session.api.check(Structure::CreateBitstream, field!(from, version))?;
            put!(from, bitstreamBuffer, std::ptr::without_provenance_mut(session.create_output()?));
        }
        Ok(())
    })
}

extern "C" fn destroy_bitstream(encoder: Handle, buffer: Handle) -> u32 {
    in_session("destroy_bitstream", encoder, |session| session.destroy_output(buffer.addr()))
}

unsafe extern "C" fn encode_picture(encoder: Handle, from: *const nv::NV_ENC_PIC_PARAMS) -> u32 {
    in_session("encode", encoder, |session| {
        present(from, "the parameters")?;
        // SAFETY: the caller's structure, not null, read by fields that all APIs have at the same places.
        let submission = unsafe {
            session.api.check(Structure::Picture, field!(from, version))?;
            Submission {
                flags: field!(from, encodePicFlags),
                input: field!(from, inputBuffer).addr(),
                output: field!(from, outputBitstream).addr(),
                width: field!(from, inputWidth),
                height: field!(from, inputHeight),
                layout: layout(word!(from, bufferFmt)),
                picture_struct: word!(from, pictureStruct),
                time_stamp: field!(from, inputTimeStamp),
                duration: field!(from, inputDuration),
            }
        };
        session.encode(&submission)
    })
}

unsafe extern "C" fn lock_bitstream(encoder: Handle, to: *mut nv::NV_ENC_LOCK_BITSTREAM) -> u32 {
    use nv::{NV_ENC_PIC_STRUCT, NV_ENC_PIC_TYPE};
    in_session("lock_bitstream", encoder, |session| {
        present(to, "the parameters")?;
        // SAFETY: the caller's structure, not null, touched by fields that all APIs have at the same places.
        unsafe {
            session.api.check(Structure::LockBitstream, field!(to, version))?;
            let encoded = session.lock_output(field!(to, outputBitstream).addr())?;
            put!(to, frameIdx, encoded.index as u32);
            put!(to, hwEncodeStatus, 2);
            put!(to, numSlices, 1);
            put!(to, bitstreamSizeInBytes, encoded.data.len() as u32);
            put!(to, bitstreamBufferPtr, encoded.data.as_ptr().cast_mut().cast());
            put!(to, outputTimeStamp, encoded.time_stamp);
            put!(to, outputDuration, encoded.duration);
            let kind =
                if encoded.key { NV_ENC_PIC_TYPE::NV_ENC_PIC_TYPE_IDR } else { NV_ENC_PIC_TYPE::NV_ENC_PIC_TYPE_P };
            put!(to, pictureType, kind);
            put!(to, pictureStruct, NV_ENC_PIC_STRUCT::NV_ENC_PIC_STRUCT_FRAME);
        }
        Ok(())
    })
}

extern "C" fn unlock_bitstream(encoder: Handle, buffer: Handle) -> u32 {
    in_session("unlock_bitstream", encoder, |session| session.unlock_output(buffer.addr()))
}
