//! Cameras behind one trait. A camera is opened, asked for pictures one by one by its own thread, and dropped.

use crate::clock::Stamp;
use crate::frame::PixelFormat;
use std::time::Duration;

/// What a camera really delivers, as the device answered, not as it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    pub format: PixelFormat,
    pub width: u32,
    pub height: u32,
    /// Frames a second as (numerator, denominator).
    pub fps: (u32, u32),
}

/// A picture, still in the device's memory.
#[derive(Debug)]
pub struct Picture<'a> {
    /// The driver's sequence number.
    pub sequence: u64,
    /// When it was taken, on the monotonic clock.
    pub captured: Stamp,
    pub data: &'a [u8],
}

/// An open device that delivers pictures.
/// Why a camera gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    #[error("no picture in time")]
    Timeout,
}

pub trait Camera: Send {
    /// What it delivers.
    fn mode(&self) -> &Mode;
    /// The next picture. `Err(CameraError::Timeout)` after `timeout` without one: the caller looks whether it should
    /// stop and asks again. Any other error means that the device must be opened anew.
    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError>;
}
