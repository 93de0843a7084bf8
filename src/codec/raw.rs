//! Raw pictures, as cameras give them, to planes.

use super::yuv::{Chroma, I420, Planar};
use crate::frame::{DropReason, Frame, PixelFormat};

/// Makes `into` the picture of a frame that is not compressed, in `into`'s range; says why not when it has not `into`'s size,
/// or not all bytes of one: drivers deliver what arrived, less than a whole picture when packets were lost.
pub fn read(frame: &Frame, into: &mut I420) -> Result<(), DropReason> {
    if (frame.width as usize, frame.height as usize) != (into.width(), into.height()) {
        return Err(DropReason::WrongSize);
    }
    let rows = frame.format.rows(frame.width, frame.height);
    if rows.is_none_or(|(length, count)| frame.data.len() != length * count) {
        return Err(DropReason::Corrupt);
    }
    match frame.format {
        PixelFormat::Mjpg | PixelFormat::H264 => return Err(DropReason::Corrupt),
        PixelFormat::Yuyv => into.fill_from_yuyv(&frame.data),
        PixelFormat::Nv12 => into.fill_from_nv12(&frame.data),
        PixelFormat::Grey => into.fill_from_full(&Planar { y: &frame.data[..], chroma: None }),
        PixelFormat::I420 | PixelFormat::J420 => {
            let (y, chroma) = frame.data.split_at(into.width() * into.height());
            let (u, v) = chroma.split_at(chroma.len() / 2);
            let source = Planar { y, chroma: Some(Chroma { u, v, horizontal: 2, vertical: 2 }) };
            match frame.format {
                PixelFormat::I420 => into.fill_from_limited(&source),
                _ => into.fill_from_full(&source),
            }
        }
    }
    Ok(())
}
