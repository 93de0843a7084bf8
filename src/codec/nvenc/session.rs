//! One encoding session: opened, told what to encode, fed with pictures one by one, and closed whatever happens.
//!
//! The session works synchronously: each picture's bits are taken out before the next one goes in. So one buffer for
//! pictures and one for bits are enough.
#![allow(unsafe_code)]

use super::config;
use super::driver::{Context, Driver, OnSession};
use super::fault::{Fault, Reason, Stage};
use super::settings::{Settings, TUNING, codec_guid};
use crate::codec::yuv::I420;
use crate::config::schema::Codec;
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::ptr::{addr_of, addr_of_mut, null_mut};
use std::sync::Arc;
use std::time::Duration;

/// How long a busy encoder is left alone before it is asked again, as NVIDIA advises ("a few milliseconds").
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// An encoder that is busy for this many times, half a second, is given up.
const BUSY_TRIES: u32 = 250;

/// An open session that is not told yet what to encode: it can be asked what the GPU can do.
pub struct Opened {
    driver: &'static Driver,
    context: Arc<Context>,
    encoder: *mut c_void,
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
        let Settings { width, height, .. } = *settings;
        let (input, output) = (null_mut(), null_mut());
        let mut session = Session { opened: self, width, height, input, output, pictures: 0, failed: false };
        let nvenc = &session.opened.driver.nvenc;
        let mut input = MaybeUninit::<NV_ENC_CREATE_INPUT_BUFFER>::zeroed();
        // SAFETY: the session is open; all zeros, with its version, is what the function wants beyond the three values,
        // and it writes one pointer.
        let status = unsafe {
            let p = input.as_mut_ptr();
            (*p).version = NV_ENC_CREATE_INPUT_BUFFER_VER;
            (*p).width = width;
            (*p).height = height;
            (*p).bufferFmt = NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_NV12;
            let status = (nvenc.create_input)(session.opened.encoder, p);
            session.input = (*p).inputBuffer;
            status
        };
        session.opened.check("nvEncCreateInputBuffer", status, Stage::Open)?;
        let mut output = MaybeUninit::<NV_ENC_CREATE_BITSTREAM_BUFFER>::zeroed();
        // SAFETY: as above.
        let status = unsafe {
            let p = output.as_mut_ptr();
            (*p).version = NV_ENC_CREATE_BITSTREAM_BUFFER_VER;
            let status = (nvenc.create_output)(session.opened.encoder, p);
            session.output = (*p).bitstreamBuffer;
            status
        };
        session.opened.check("nvEncCreateBitstreamBuffer", status, Stage::Open)?;
        Ok(session)
    }

    fn check_codec(&self, settings: &Settings) -> Result<(), Fault> {
        let Settings { codec, width, height, .. } = *settings;
        let refused = |words| Err(Fault::new("choosing the codec", Reason::Unsupported, words));
        let codecs = self.codecs()?;
        if !codecs.contains(&codec) {
            let has: Vec<&str> = codecs.iter().map(|codec| name(*codec)).collect();
            let has = if has.is_empty() { "none".into() } else { has.join(" and ") };
            return refused(format!("this GPU has no encoder for {} (it has for {has})", name(codec)));
        }
        let Sizes { min, max } = self.sizes(codec)?;
        if !(min.0..=max.0).contains(&width) || !(min.1..=max.1).contains(&height) {
            let (name, range) = (name(codec), format!("{}x{} to {}x{}", min.0, min.1, max.0, max.1));
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
    fn check(&self, operation: &'static str, status: u32, stage: Stage) -> Result<(), Fault> {
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
    fn patiently<T: Copy>(
        &self,
        operation: &'static str,
        function: OnSession<T>,
        argument: T,
        stage: Stage,
    ) -> Result<(), Fault> {
        const BUSY: [u32; 2] = [NVENCSTATUS::NV_ENC_ERR_LOCK_BUSY as u32, NVENCSTATUS::NV_ENC_ERR_ENCODER_BUSY as u32];
        let mut tries = 0;
        loop {
            // SAFETY: the session is open, and the argument is what this function takes: the callers' part.
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

/// A session that encodes.
pub struct Session {
    opened: Opened,
    width: u32,
    height: u32,
    /// For one picture as NV12; null until it is made.
    input: NV_ENC_INPUT_PTR,
    /// For the bits of one picture; null until it is made.
    output: NV_ENC_OUTPUT_PTR,
    /// Pictures that were passed so far: the time stamp of the next.
    pictures: u64,
    /// A picture failed.
    failed: bool,
}

/// What became of one picture.
#[derive(Debug)]
pub struct Coded {
    /// As NVENC gives them: NAL units with start codes, or OBUs.
    pub bits: Vec<u8>,
    /// A key frame.
    pub idr: bool,
}

impl Session {
    /// Encodes one picture, as a key frame if `key`. `stage` is `Open` for the trial picture. After an error the session
    /// is of no more use.
    pub fn encode(&mut self, picture: &I420, key: bool, stage: Stage) -> Result<Coded, Fault> {
        let coded = self.run(picture, key, stage);
        self.failed |= coded.is_err();
        coded
    }

    fn run(&mut self, picture: &I420, key: bool, stage: Stage) -> Result<Coded, Fault> {
        let (width, height) = (self.width as usize, self.height as usize);
        if (picture.width(), picture.height()) != (width, height) {
            let found =
                format!("a picture of {}x{} in a stream of {width}x{height}", picture.width(), picture.height());
            return Err(Fault::new("copying the picture", Reason::Error, found));
        }
        self.opened.context.make_current()?;
        self.upload(picture, stage)?;
        let stamp = self.pictures;
        self.pictures += 1;
        let flags =
            NV_ENC_PIC_FLAGS::NV_ENC_PIC_FLAG_FORCEIDR as u32 | NV_ENC_PIC_FLAGS::NV_ENC_PIC_FLAG_OUTPUT_SPSPPS as u32;
        let mut params = MaybeUninit::<NV_ENC_PIC_PARAMS>::zeroed();
        let p = params.as_mut_ptr();
        // SAFETY: all zeros, with its version, is what the function wants beyond these values.
        unsafe {
            (*p).version = NV_ENC_PIC_PARAMS_VER;
            ((*p).inputWidth, (*p).inputHeight, (*p).inputPitch) = (self.width, self.height, self.width);
            (*p).bufferFmt = NV_ENC_BUFFER_FORMAT::NV_ENC_BUFFER_FORMAT_NV12;
            (*p).pictureStruct = NV_ENC_PIC_STRUCT::NV_ENC_PIC_STRUCT_FRAME;
            (*p).inputBuffer = self.input;
            (*p).outputBitstream = self.output;
            (*p).encodePicFlags = if key { flags } else { 0 };
            (*p).frameIdx = stamp as u32;
            (*p).inputTimeStamp = stamp;
            (*p).inputDuration = 1;
        }
        self.opened.patiently("nvEncEncodePicture", self.opened.driver.nvenc.encode, p, stage)?;
        self.download(stamp, stage)
    }

    /// Copies a picture into the buffer, as NV12 with the rows as far apart as the driver wants them.
    fn upload(&self, picture: &I420, stage: Stage) -> Result<(), Fault> {
        let nvenc = &self.opened.driver.nvenc;
        let mut lock = MaybeUninit::<NV_ENC_LOCK_INPUT_BUFFER>::zeroed();
        let p = lock.as_mut_ptr();
        // SAFETY: all zeros, with its version, is what the function wants beyond the buffer.
        unsafe {
            (*p).version = NV_ENC_LOCK_INPUT_BUFFER_VER;
            (*p).inputBuffer = self.input;
        }
        self.opened.patiently("nvEncLockInputBuffer", nvenc.lock_input, p, stage)?;
        // SAFETY: the function has filled these two in.
        let (data, pitch) = unsafe { ((*p).bufferDataPtr.cast::<u8>(), (*p).pitch as usize) };
        let (width, height) = (picture.width(), picture.height());
        let copied = if data.is_null() || pitch < width {
            let words = format!("the driver gave a buffer of {pitch} bytes a row for a picture {width} pixels wide");
            Err(Fault::new("nvEncLockInputBuffer", Reason::Error, words))
        } else {
            // SAFETY: a locked NV12 buffer holds `height` rows of luma and half as many of chroma, `pitch` bytes apart;
            // between the rows is nothing that matters, and nobody else uses the buffer before it is unlocked.
            let buffer = unsafe { std::slice::from_raw_parts_mut(data, pitch * height * 3 / 2) };
            copy_nv12(picture, buffer, pitch);
            Ok(())
        };
        // SAFETY: the buffer is locked.
        let status = unsafe { (nvenc.unlock_input)(self.opened.encoder, self.input) };
        copied.and(self.opened.check("nvEncUnlockInputBuffer", status, stage))
    }

    /// Takes out the bits of the picture that was passed last.
    fn download(&self, stamp: u64, stage: Stage) -> Result<Coded, Fault> {
        const OPERATION: &str = "nvEncLockBitstream";
        let nvenc = &self.opened.driver.nvenc;
        let mut lock = MaybeUninit::<NV_ENC_LOCK_BITSTREAM>::zeroed();
        let p = lock.as_mut_ptr();
        // SAFETY: all zeros, with its version, is what the function wants beyond the buffer: it waits for the bits.
        unsafe {
            (*p).version = NV_ENC_LOCK_BITSTREAM_VER;
            (*p).outputBitstream = self.output;
        }
        self.opened.patiently(OPERATION, nvenc.lock_output, p, stage)?;
        // SAFETY: the function has filled these in. The picture's type is read as the number that it is; the bits lie
        // still until the buffer is unlocked, and are copied before.
        let (bits, idr, theirs) = unsafe {
            let (data, size) = ((*p).bitstreamBufferPtr.cast::<u8>(), (*p).bitstreamSizeInBytes as usize);
            let bits = if data.is_null() { Vec::new() } else { std::slice::from_raw_parts(data, size).to_vec() };
            let kind = addr_of!((*p).pictureType).cast::<u32>().read();
            (bits, kind == NV_ENC_PIC_TYPE::NV_ENC_PIC_TYPE_IDR as u32, (*p).outputTimeStamp)
        };
        // SAFETY: the buffer is locked.
        let status = unsafe { (nvenc.unlock_output)(self.opened.encoder, self.output) };
        self.opened.check("nvEncUnlockBitstream", status, stage)?;
        if bits.is_empty() {
            return Err(Fault::new(OPERATION, Reason::Error, "the encoder gave no bits for a picture"));
        }
        if theirs != stamp {
            let words = format!("the encoder gave the bits of picture {theirs} for picture {stamp}");
            return Err(Fault::new(OPERATION, Reason::Error, words));
        }
        Ok(Coded { bits, idr })
    }
}

impl Drop for Session {
    /// Ends the stream and frees the buffers; the session itself is closed after them. What fails here is no news: it is
    /// only written down.
    fn drop(&mut self) {
        let (nvenc, encoder) = (&self.opened.driver.nvenc, self.opened.encoder);
        let _ = self.opened.context.make_current();
        // SAFETY: the session is open; all zeros, with its version, is what the end of a stream wants beyond its flag. The
        // buffers are used no more.
        unsafe {
            if !self.failed && self.pictures > 0 {
                let mut end = MaybeUninit::<NV_ENC_PIC_PARAMS>::zeroed();
                let p = end.as_mut_ptr();
                (*p).version = NV_ENC_PIC_PARAMS_VER;
                (*p).pictureStruct = NV_ENC_PIC_STRUCT::NV_ENC_PIC_STRUCT_FRAME;
                (*p).encodePicFlags = NV_ENC_PIC_FLAGS::NV_ENC_PIC_FLAG_EOS as u32;
                cleaned("nvEncEncodePicture", (nvenc.encode)(encoder, p));
            }
            if !self.input.is_null() {
                cleaned("nvEncDestroyInputBuffer", (nvenc.destroy_input)(encoder, self.input));
            }
            if !self.output.is_null() {
                cleaned("nvEncDestroyBitstreamBuffer", (nvenc.destroy_output)(encoder, self.output));
            }
        }
    }
}

/// The answer of a function that cleans up.
fn cleaned(operation: &'static str, status: u32) {
    if status != 0 {
        tracing::debug!(operation, status, "an NVENC session was not closed cleanly");
    }
}

/// The codec as users write it.
fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264",
        Codec::Hevc => "hevc",
        Codec::Av1 => "av1",
        Codec::Copy => "copy",
    }
}

/// Rows of luma, then rows of chroma with U and V by turns, each `pitch` bytes after the one before.
fn copy_nv12(picture: &I420, buffer: &mut [u8], pitch: usize) {
    let (width, height) = (picture.width(), picture.height());
    let [y, u, v] = picture.planes();
    let (luma, chroma) = buffer.split_at_mut(pitch * height);
    for (to, from) in luma.chunks_exact_mut(pitch).zip(y.chunks_exact(width)) {
        to[..width].copy_from_slice(from);
    }
    let rows = u.chunks_exact(width / 2).zip(v.chunks_exact(width / 2));
    for (to, (u, v)) in chroma.chunks_exact_mut(pitch).zip(rows) {
        for (pair, (u, v)) in to[..width].chunks_exact_mut(2).zip(u.iter().zip(v)) {
            pair[0] = *u;
            pair[1] = *v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::ColorRange;

    #[test]
    fn rows_go_by_the_pitch_and_chroma_is_interleaved() {
        let mut picture = I420::grey(4, 2, ColorRange::Limited);
        // Y U Y V, two pixels each.
        picture.fill_from_yuyv(&[1, 100, 2, 200, 3, 110, 4, 210, 5, 100, 6, 200, 7, 110, 8, 210]);
        let mut buffer = [9; 18];
        copy_nv12(&picture, &mut buffer, 6);
        assert_eq!(buffer, [1, 2, 3, 4, 9, 9, 5, 6, 7, 8, 9, 9, 100, 200, 110, 210, 9, 9]);
    }
}
