//! A Video4Linux device, streaming through memory that the driver shares.

mod controls;
pub mod described;
mod known;
pub mod modes;
mod opening;
mod rows;
mod slow;

pub use known::Known;

use super::controls::Change;
use super::{Camera, CameraError, Mode, Picture, configured_path};
use crate::clock::{Clock, Stamp};
use crate::config::schema;
use crate::discover::tree::Roots;
use crate::frame::PixelFormat;
use controls::Controls;
use opening::{Opened, Opening};
use rows::Rows;
use rustix::event::PollFlags;
use slow::{bus_words, exposure_words};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use v4l::buffer::{Flags, Metadata};
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};

/// A driver's time stamp that is older than this is not believed.
const OLDEST_STAMP_NS: u64 = 10_000_000_000;
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// See the module's text.
pub struct V4lCamera {
    name: Box<str>,
    path: PathBuf,
    mode: Mode,
    clock: Arc<dyn Clock>,
    /// How raw pictures lie in the driver's buffers.
    rows: Option<Rows>,
    /// A picture without its padding.
    packed: Vec<u8>,
    controls: Controls,
    /// There until the camera is dropped.
    stream: Option<Stream<'static>>,
}

impl V4lCamera {
    /// Opens the device, sets format, size, rate and controls, and starts streaming. Another format or size than the
    /// configured ones is an error, and so is a control that is not taken; another rate is a warning, and stands in
    /// [`Mode::fps`].
    pub fn open(name: &str, config: &schema::Camera, clock: &Arc<dyn Clock>) -> Result<V4lCamera, CameraError> {
        let path = configured_path(name, config)?;
        let Some(format) = PixelFormat::of_camera(config.fourcc.as_bytes()) else {
            return Err(CameraError::Setting {
                camera: name.into(),
                key: "fourcc",
                found: format!("{:?}", config.fourcc),
                expected: "\"MJPG\", \"YUYV\", \"NV12\", \"GREY\" or \"H264\"".into(),
            });
        };
        let opening = Opening { name, path: &path };
        // The v4l crate panics on names that are not UTF-8 and on colour spaces newer than itself.
        let opened = catch_unwind(AssertUnwindSafe(|| opening.start(config, format)));
        let Opened { mode, rows, controls, stream } = opened.unwrap_or_else(|_| {
            Err(opening.io("describing", io::Error::other("the driver's description cannot be understood")))
        })?;
        let (name, clock) = (name.into(), clock.clone());
        Ok(V4lCamera { name, path, mode, clock, rows, packed: Vec::new(), controls, stream: Some(stream) })
    }
}

impl Camera for V4lCamera {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Pictures that the driver flags as damaged are delivered too: a JPEG's own structure tells, and those whose damage
    /// would not show come empty.
    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError> {
        let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128) as i32;
        let (name, path) = (&self.name, &self.path);
        let lost =
            |error: io::Error| CameraError::Lost { camera: name.clone(), path: path.clone(), words: error.to_string() };
        let stream = self.stream.as_mut().ok_or_else(|| lost(io::ErrorKind::NotConnected.into()))?;
        match stream.handle().poll(PollFlags::IN.bits() as i16, milliseconds) {
            Ok(0) => return Err(CameraError::Timeout),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(CameraError::Timeout),
            Err(error) => return Err(lost(error)),
            Ok(_) => {}
        }
        // Gives the buffer before back to the driver, and takes the next one. That one is there, or the device is gone:
        // the crate's own waiting is not used, as it loses count of its buffers when it runs out of time.
        let (data, meta) = CaptureStream::next(stream).map_err(lost)?;
        let unseen = self.mode.format != PixelFormat::Mjpg && meta.flags.contains(Flags::ERROR);
        let data = &data[..if unseen { 0 } else { data.len().min(meta.bytesused as usize) }];
        Ok(Picture {
            sequence: u64::from(meta.sequence),
            captured: captured(meta, self.clock.as_ref()),
            data: self.rows.map_or(data, |rows| rows.packed(data, &mut self.packed)),
        })
    }

    fn look_after(&mut self) -> Vec<Change> {
        self.controls.look()
    }

    fn slow_causes(&mut self) -> Vec<String> {
        let (frames, seconds) = self.mode.fps;
        let exposure = exposure_words(self.controls.exposure(), f64::from(frames) / f64::from(seconds));
        let node = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        exposure.into_iter().chain(bus_words(&node, &Roots::below("/".as_ref()).video())).collect()
    }
}

impl Drop for V4lCamera {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        // The crate's stream panics, twice even, when it cannot be stopped for another reason than that the device is gone.
        match stream.stop() {
            Err(error) if error.raw_os_error() != Some(ENODEV) => {
                tracing::warn!(camera = self.name, %error, "cannot stop streaming: the device stays open");
                std::mem::forget(stream);
            }
            _ => drop(stream),
        }
    }
}

/// The driver's time if it is on the monotonic clock and plausible, else now.
fn captured(meta: &Metadata, clock: &dyn Clock) -> Stamp {
    let now = clock.now();
    let monotonic = meta.flags & Flags::TIMESTAMP_MASK == Flags::TIMESTAMP_MONOTONIC;
    let seconds = u64::try_from(meta.timestamp.sec).unwrap_or(0);
    let driver_ns = seconds.saturating_mul(1_000_000_000).saturating_add(meta.timestamp.usec.max(0) as u64 * 1000);
    let plausible = driver_ns > 0 && driver_ns <= now.mono_ns && now.mono_ns - driver_ns < OLDEST_STAMP_NS;
    if monotonic && plausible { clock.stamp(driver_ns) } else { now }
}
