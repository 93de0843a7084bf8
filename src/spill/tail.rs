//! What lies on disk behind a frame's picture where the frame is more than a picture: what the camera encoded it as, and a
//! tail of [`TAIL_BYTES`] that tells the rest. Pure.
//!
//! ```text
//!  0 bytes of the picture               8 crop: left    16 crop: width                 24 session
//!  4 rotation, in degrees              12 crop: top     20 crop: height, 0 without     32 number
//!  40 1: the camera encoded it; and 2: as a key frame
//! ```
//!
//! Integers are little-endian.

use super::record::Damage;
use crate::codec::view::View;
use crate::config::schema::{Crop, Rotation};
use crate::frame::{Coded, Frame};
use std::borrow::Cow;

const TAIL_BYTES: usize = 44;
const IS_CODED: u32 = 1;
const IS_KEY: u32 = 2;

/// True for a frame that has a tail.
pub fn has_tail(frame: &Frame) -> bool {
    !frame.view.is_all() || frame.coded.is_some()
}

/// How many bytes of a frame lie on disk.
pub fn bytes(frame: &Frame) -> usize {
    let coded = frame.coded.as_ref().map_or(0, |coded| coded.data.len());
    frame.data.len() + coded + if has_tail(frame) { TAIL_BYTES } else { 0 }
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
    let (mut session, mut number, mut flags) = (0, 0, 0);
    if let Some(coded) = &frame.coded {
        payload.extend_from_slice(&coded.data);
        (session, number) = (coded.session, coded.number);
        flags = IS_CODED | if coded.key { IS_KEY } else { 0 };
    }
    let numbers = [frame.data.len() as u32, i32::from(rotation) as u32, crop.left, crop.top, crop.width, crop.height];
    numbers.iter().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
    [session, number].iter().for_each(|number: &u64| payload.extend_from_slice(&number.to_le_bytes()));
    payload.extend_from_slice(&flags.to_le_bytes());
    Cow::Owned(payload)
}

/// Takes all but the picture off.
pub fn split(payload: &mut Vec<u8>) -> Result<(View, Option<Coded>), Damage> {
    const UNREADABLE: Damage = "what follows its picture cannot be read";
    let (rest, tail) = payload.split_last_chunk::<TAIL_BYTES>().ok_or(UNREADABLE)?;
    let small = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| tail[at + i]));
    let large = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| tail[at + i]));
    let picture = small(0) as usize;
    let coded = rest.get(picture..).ok_or(UNREADABLE)?;
    let degrees = i32::try_from(small(4)).map_err(|_| UNREADABLE)?;
    let rotation = Rotation::try_from(degrees).map_err(|_| UNREADABLE)?;
    let [left, top, width, height] = [8, 12, 16, 20].map(small);
    let view = View { rotation, crop: (height > 0).then_some(Crop { left, top, width, height }) };
    let flags = small(40);
    let coded = (flags & IS_CODED != 0).then(|| Coded {
        data: coded.to_vec(),
        session: large(24),
        number: large(32),
        key: flags & IS_KEY != 0,
    });
    payload.truncate(picture);
    Ok((view, coded))
}
