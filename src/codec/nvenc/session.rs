//! A session that encodes: fed with pictures one by one, and closed whatever happens.
//!
//! It works synchronously: each picture's bits are taken out before the next one goes in. So one buffer for pictures and
//! one for bits are enough.
#![allow(unsafe_code)]

use super::fault::{Fault, Reason, Stage};
use super::opened::{Opened, cleaned};
use crate::codec::yuv::I420;
use nvidia_video_codec_sdk::sys::nvEncodeAPI::*;
use std::mem::MaybeUninit;
use std::ptr::{addr_of, null_mut};

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
    /// Makes the buffers of a session that was told what to encode.
    pub(super) fn new(opened: Opened, width: u32, height: u32) -> Result<Session, Fault> {
        let (input, output) = (null_mut(), null_mut());
        let mut session = Session { opened, width, height, input, output, pictures: 0, failed: false };
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
            self.opened.patiently("nvEncEncodePicture", self.opened.driver.nvenc.encode, p, stage)?;
        }
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
            self.opened.patiently("nvEncLockInputBuffer", nvenc.lock_input, p, stage)?;
        }
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
            self.opened.patiently(OPERATION, nvenc.lock_output, p, stage)?;
        }
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
