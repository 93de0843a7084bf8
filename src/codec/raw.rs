//! Raw pictures, as cameras give them, to planes.

use super::yuv::{I420, Planar};
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
        PixelFormat::Mjpg => return Err(DropReason::Corrupt),
        PixelFormat::Yuyv => into.fill_from_yuyv(&frame.data),
        PixelFormat::Nv12 => into.fill_from_nv12(&frame.data),
        PixelFormat::Grey => into.fill_from_full(&Planar { y: &frame.data, chroma: None }),
    }
    Ok(())
}
