//! A session from its opening to its start: asked what the GPU can do, and told what to encode.
#![allow(unsafe_code)]

use super::config;
use super::driver::{Context, Driver, OnSession};
use super::fault::{Fault, Reason, Stage};
use super::session::Session;
use super::settings::{Settings, TUNING, codec_guid};
use crate::codec::backend::codec_name;
use crate::config::schema::Codec;
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr::{addr_of_mut, null_mut};
use std::sync::Arc;
use std::time::Duration;

/// How long a busy encoder is left alone before it is asked again, as NVIDIA advises ("a few milliseconds").
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// An encoder that is busy for this many times, half a second, is given up.
const BUSY_TRIES: u32 = 250;

/// More codecs than NVENC will ever have.
const MOST_CODECS: u32 = 64;

/// An open session that is not told yet what to encode: it can be asked what the GPU can do.
pub struct Opened {
    pub(super) driver: &'static Driver,
    pub(super) context: Arc<Context>,
    pub(super) encoder: *mut c_void,
}

/// Pictures' sizes that a GPU takes, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub min: (u32, u32),
    pub max: (u32, u32),
}

impl Opened {
    /// Opens a session on a GPU, for the calling thread.
    pub fn open(gpu_id: u32) -> Result<Opened, Fault> {
        let driver = Driver::get()?;
        let context = Context::of(driver, gpu_id)?;
        context.make_current()?;
        let mut params = MaybeUninit::<NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS>::zeroed();
        let mut opened = Opened { driver, context, encoder: null_mut() };
        // SAFETY: all zeros, with its version, is what the function wants beyond the three values; it writes one pointer.
        let status = unsafe {
            let p = params.as_mut_ptr();
            (*p).version = NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS_VER;
            (*p).deviceType = NV_ENC_DEVICE_TYPE::NV_ENC_DEVICE_TYPE_CUDA;
            (*p).device = opened.context.as_device();
            (*p).apiVersion = NVENCAPI_VERSION;
            (driver.nvenc.open_session)(p, &mut opened.encoder)
        };
        // A session may be there even where opening it failed. It is to be closed then, which `opened` does, and nothing else.
        match status {
            0 => Ok(opened),
            _ => Err(opened.fault("nvEncOpenEncodeSessionEx", status, Stage::Open, "")),
        }
    }

    /// The codecs that this GPU encodes, of those that are known here.
    pub fn codecs(&self) -> Result<Vec<Codec>, Fault> {
        let nvenc = &self.driver.nvenc;
        let mut count = 0;
        // SAFETY: the session is open; the function writes one number.
        let status = unsafe { (nvenc.codec_count)(self.encoder, &mut count) };
        self.check("nvEncGetEncodeGUIDCount", status, Stage::Open)?;
        count = count.min(MOST_CODECS);
        let mut guids = vec![GUID::default(); count as usize];
        // SAFETY: the session is open; the function writes as many GUIDs as there is room for, and their number.
        let status = unsafe { (nvenc.codecs)(self.encoder, guids.as_mut_ptr(), count, &mut count) };
        self.check("nvEncGetEncodeGUIDs", status, Stage::Open)?;
        guids.truncate(count as usize);
        let known = [Codec::H264, Codec::Hevc, Codec::Av1];
        Ok(known.into_iter().filter(|codec| codec_guid(*codec).is_some_and(|guid| guids.contains(&guid))).collect())
    }

    /// The sizes of pictures that this GPU takes for a codec.
    pub fn sizes(&self, codec: Codec) -> Result<Sizes, Fault> {
        use NV_ENC_CAPS::*;
        let of = |capability| self.capability(codec, capability);
        Ok(Sizes {
            min: (of(NV_ENC_CAPS_WIDTH_MIN)?, of(NV_ENC_CAPS_HEIGHT_MIN)?),
            max: (of(NV_ENC_CAPS_WIDTH_MAX)?, of(NV_ENC_CAPS_HEIGHT_MAX)?),
        })
    }

    fn capability(&self, codec: Codec, capability: NV_ENC_CAPS) -> Result<u32, Fault> {
        let guid = codec_guid(codec).unwrap_or_default();
        let mut params = MaybeUninit::<NV_ENC_CAPS_PARAM>::zeroed();
        let mut value = 0;
        // SAFETY: the session is open; the function reads the struct and writes one number.
        let status = unsafe {
            let p = params.as_mut_ptr();
            (*p).version = NV_ENC_CAPS_PARAM_VER;
            (*p).capsToQuery = capability;
            (self.driver.nvenc.capability)(self.encoder, guid, p, &mut value)
        };
        self.check("nvEncGetEncodeCaps", status, Stage::Open)?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    /// Tells the session what to encode, after a look whether the GPU can.
    pub fn start(self, settings: &Settings) -> Result<Session, Fault> {
        self.check_codec(settings)?;
        self.initialize(settings)?;
        Session::new(self, settings.width, settings.height)
    }

    fn check_codec(&self, settings: &Settings) -> Result<(), Fault> {
        let Settings { codec, width, height, .. } = *settings;
        let refused = |words| Err(Fault::new("choosing the codec", Reason::Unsupported, words));
        let codecs = self.codecs()?;
        if !codecs.contains(&codec) {
            let has: Vec<&str> = codecs.iter().map(|codec| codec_name(*codec)).collect();
            let has = if has.is_empty() { "none".into() } else { has.join(" and ") };
            return refused(format!("this GPU has no encoder for {} (it has for {has})", codec_name(codec)));
        }
        let Sizes { min, max } = self.sizes(codec)?;
        if !(min.0..=max.0).contains(&width) || !(min.1..=max.1).contains(&height) {
            let (name, range) = (codec_name(codec), format!("{}x{} to {}x{}", min.0, min.1, max.0, max.1));
            return refused(format!("pictures are {width}x{height}, and this GPU encodes {range} as {name}"));
        }
        Ok(())
    }

    fn initialize(&self, settings: &Settings) -> Result<(), Fault> {
        let nvenc = &self.driver.nvenc;
        let codec = codec_guid(settings.codec).unwrap_or_default();
        let mut preset = MaybeUninit::<NV_ENC_PRESET_CONFIG>::zeroed();
        let preset = preset.as_mut_ptr();
        // SAFETY: the session is open; the function fills the struct, of which only the pointer is used.
        let status = unsafe {
            (*preset).version = NV_ENC_PRESET_CONFIG_VER;
            (*preset).presetCfg.version = NV_ENC_CONFIG_VER;
            (nvenc.preset_config)(self.encoder, codec, settings.preset, TUNING, preset)
        };
        self.check("nvEncGetEncodePresetConfigEx", status, Stage::Open)?;
        let mut params = MaybeUninit::<NV_ENC_INITIALIZE_PARAMS>::zeroed();
        // SAFETY: the session is open; all zeros, with its version, is what the function wants beyond these values. The
        // configuration that it points to lives until the function is done.
        let status = unsafe {
            let config = addr_of_mut!((*preset).presetCfg);
            config::write(config, settings);
            let p = params.as_mut_ptr();
            (*p).version = NV_ENC_INITIALIZE_PARAMS_VER;
            (*p).encodeGUID = codec;
            (*p).presetGUID = settings.preset;
            (*p).tuningInfo = TUNING;
            ((*p).encodeWidth, (*p).encodeHeight) = (settings.width, settings.height);
            ((*p).darWidth, (*p).darHeight) = (settings.width, settings.height);
            ((*p).frameRateNum, (*p).frameRateDen) = (settings.fps, 1);
            // Synchronous, and NVENC decides what a picture is coded as.
            (*p).enableEncodeAsync = 0;
            (*p).enablePTD = 1;
            (*p).encodeConfig = config;
            (nvenc.initialize)(self.encoder, p)
        };
        self.check("nvEncInitializeEncoder", status, Stage::Open)
    }

    /// The fault of a status, with what the driver says of it; asked for before anything is cleaned up.
    pub(super) fn check(&self, operation: &'static str, status: u32, stage: Stage) -> Result<(), Fault> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the session is open; the text is the session's, and copied before the next call.
        let detail = unsafe {
            let text = (self.driver.nvenc.last_error)(self.encoder);
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Err(self.fault(operation, status, stage, &detail))
    }

    fn fault(&self, operation: &'static str, status: u32, stage: Stage, detail: &str) -> Fault {
        let fault = Fault::nvenc(operation, status, stage, detail);
        if fault.reason == Reason::Lost {
            self.context.forget();
        }
        fault
    }

    /// Calls a function of the session that an encoder may answer with "busy".
    ///
    /// # Safety
    /// The argument must be what the function takes.
    pub(super) unsafe fn patiently<T: Copy>(
        &self,
        operation: &'static str,
        function: OnSession<T>,
        argument: T,
        stage: Stage,
    ) -> Result<(), Fault> {
        const BUSY: [u32; 2] = [NVENCSTATUS::NV_ENC_ERR_LOCK_BUSY as u32, NVENCSTATUS::NV_ENC_ERR_ENCODER_BUSY as u32];
        let mut tries = 0;
        loop {
            // SAFETY: the session is open, and the argument is good by the caller's promise.
            let status = unsafe { function(self.encoder, argument) };
            tries += 1;
            if !BUSY.contains(&status) || tries == BUSY_TRIES {
                return self.check(operation, status, stage);
            }
            std::thread::sleep(BUSY_PAUSE);
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.encoder.is_null() {
            return;
        }
        let _ = self.context.make_current();
        // SAFETY: the session is open, and is used no more.
        unsafe { cleaned("nvEncDestroyEncoder", (self.driver.nvenc.destroy_session)(self.encoder)) };
    }
}

/// The answer of a function that cleans up.
pub(super) fn cleaned(operation: &'static str, status: u32) {
    if status != 0 {
        tracing::debug!(operation, status, "an NVENC session was not closed cleanly");
    }
}
