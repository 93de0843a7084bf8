//! What follows a frame's picture on disk where the frame is more than a picture: how it is to be shown. Pure.
//!
//! ```text
//!  0 bytes of the picture    8 crop: left    16 crop: width
//!  4 rotation, in degrees   12 crop: top     20 crop: height, 0 without a crop
//! ```
//!
//! Integers are little-endian.

use super::record::Damage;
use crate::codec::view::View;
use crate::config::schema::{Crop, Rotation};
use crate::frame::Frame;
use std::borrow::Cow;

const TAIL_BYTES: usize = 24;

/// True for a frame that has a tail.
pub fn has_tail(frame: &Frame) -> bool {
    !frame.view.is_all()
}

/// How many bytes of a frame lie on disk.
pub fn bytes(frame: &Frame) -> usize {
    frame.data.len() + if has_tail(frame) { TAIL_BYTES } else { 0 }
}

/// The bytes of a frame that lie on disk.
pub fn payload(frame: &Frame) -> Cow<'_, [u8]> {
    if !has_tail(frame) {
        return Cow::Borrowed(&frame.data);
    }
    let View { rotation, crop } = frame.view;
    let crop = crop.unwrap_or(Crop { left: 0, top: 0, width: 0, height: 0 });
    let mut payload = Vec::with_capacity(bytes(frame));
    payload.extend_from_slice(&frame.data);
    let numbers = [frame.data.len() as u32, i32::from(rotation) as u32, crop.left, crop.top, crop.width, crop.height];
    numbers.iter().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
    Cow::Owned(payload)
}

/// Takes the tail off: what remains is the picture.
pub fn split(payload: &mut Vec<u8>) -> Result<View, Damage> {
    const NONE: Damage = "what follows its picture cannot be read";
    let (rest, tail) = payload.split_last_chunk::<TAIL_BYTES>().ok_or(NONE)?;
    let number = |i: usize| u32::from_le_bytes(std::array::from_fn(|byte| tail[4 * i + byte]));
    let picture = number(0) as usize;
    if picture != rest.len() {
        return Err(NONE);
    }
    let rotation = i32::try_from(number(1)).ok().and_then(|degrees| Rotation::try_from(degrees).ok()).ok_or(NONE)?;
    let [left, top, width, height] = [2, 3, 4, 5].map(number);
    payload.truncate(picture);
    Ok(View { rotation, crop: (height > 0).then_some(Crop { left, top, width, height }) })
}
