//! A Video4Linux device, streaming through memory that the driver shares.

use super::{Camera, CameraError, Mode, Picture, configured_path};
use crate::clock::{Clock, Stamp};
use crate::config::schema;
use crate::frame::PixelFormat;
use crate::in_use::InUse;
use rustix::event::PollFlags;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use v4l::buffer::{Flags, Metadata, Type};
use v4l::capability::Flags as Capability;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

/// Buffers in the driver's queue: a camera thread that is late by as many frames loses the next one, which shows as a
/// gap in the sequence.
const BUFFERS: u32 = 4;
/// A driver's time stamp that is older than this is not believed.
const OLDEST_STAMP_NS: u64 = 10_000_000_000;
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// See the module's text.
pub struct V4lCamera {
    name: Box<str>,
    path: PathBuf,
    mode: Mode,
    clock: Arc<dyn Clock>,
    /// There until the camera is dropped.
    stream: Option<Stream<'static>>,
}

impl V4lCamera {
    /// Opens the device, sets format, size and rate, and starts streaming. Another format or size than the configured
    /// ones is an error; another rate is a warning, and stands in [`Mode::fps`].
    pub fn open(name: &str, config: &schema::Camera, clock: &Arc<dyn Clock>) -> Result<V4lCamera, CameraError> {
        let path = configured_path(name, config)?;
        let Some(format) = PixelFormat::from_fourcc(config.fourcc.as_bytes()) else {
            return Err(CameraError::Setting {
                camera: name.into(),
                key: "fourcc",
                found: format!("{:?}", config.fourcc),
                expected: "\"MJPG\" or \"YUYV\"".into(),
            });
        };
        let opening = Opening { name, path: &path };
        // The v4l crate panics on names that are not UTF-8 and on colour spaces newer than itself.
        let opened = catch_unwind(AssertUnwindSafe(|| opening.start(config, format)));
        let (mode, stream) = opened.unwrap_or_else(|_| {
            Err(opening.io("describing", io::Error::other("the driver's description cannot be understood")))
        })?;
        Ok(V4lCamera { name: name.into(), path, mode, clock: clock.clone(), stream: Some(stream) })
    }
}

impl Camera for V4lCamera {
    fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Pictures that the driver flags as damaged are delivered too: a JPEG's own structure tells, and raw pixels, whose
    /// damage would not show, come empty.
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
        let raw_and_damaged = self.mode.format == PixelFormat::Yuyv && meta.flags.contains(Flags::ERROR);
        let length = if raw_and_damaged { 0 } else { data.len().min(meta.bytesused as usize) };
        Ok(Picture {
            sequence: u64::from(meta.sequence),
            captured: captured(meta, self.clock.as_ref()),
            data: &data[..length],
        })
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

/// A device on its way to streaming.
#[derive(Clone, Copy)]
struct Opening<'a> {
    name: &'a str,
    path: &'a Path,
}

impl Opening<'_> {
    fn start(self, config: &schema::Camera, format: PixelFormat) -> Result<(Mode, Stream<'static>), CameraError> {
        if let Err(error) = std::fs::metadata(self.path) {
            return Err(self.io("opening", error));
        }
        let device = Device::with_path(self.path).map_err(|error| self.io("opening", error))?;
        let capabilities = device.query_caps().map_err(|_| self.not_capture("not a Video4Linux device".into()))?;
        if !capabilities.capabilities.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
            return Err(self.not_capture(format!("{}, which captures no video", capabilities.card)));
        }
        self.set_format(&device, config, format)?;
        let fps = self.set_rate(&device, config.fps);
        let stream = self.stream(&device).map_err(|error| self.io("starting to stream from", error))?;
        Ok((Mode { format, width: config.width, height: config.height, fps }, stream))
    }

    /// One call sets the fourcc and the size: a driver looks for the size among those of the fourcc.
    fn set_format(self, device: &Device, config: &schema::Camera, format: PixelFormat) -> Result<(), CameraError> {
        let fourcc = FourCC::new(&format.fourcc());
        let set = device.set_format(&Format::new(config.width, config.height, fourcc));
        let found = match set {
            Ok(set) => {
                let same_format = PixelFormat::from_fourcc(&set.fourcc.repr) == Some(format);
                let packed = format == PixelFormat::Mjpg || set.stride == config.width * 2;
                if same_format && packed && (set.width, set.height) == (config.width, config.height) {
                    return Ok(());
                }
                let padded = if packed { String::new() } else { format!(" with rows of {} bytes", set.stride) };
                format!("{} {}x{}{padded}", set.fourcc, set.width, set.height)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => "nothing".into(),
            Err(error) => return Err(self.io("setting the format of", error)),
        };
        Err(CameraError::Mode {
            camera: self.name.into(),
            path: self.path.into(),
            expected: format!("{} {}x{}", config.fourcc, config.width, config.height),
            found,
            offers: offers(device),
        })
    }

    /// The rate that the driver chose, in frames a second as a fraction.
    fn set_rate(self, device: &Device, fps: u32) -> (u32, u32) {
        let interval = device.set_params(&Parameters::with_fps(fps)).map(|parameters| parameters.interval);
        let (camera, path) = (self.name, self.path.display());
        match interval {
            Ok(interval) if interval.numerator > 0 && interval.denominator > 0 => {
                let (frames, seconds) = (interval.denominator, interval.numerator);
                if frames != fps.saturating_mul(seconds) {
                    let found = f64::from(frames) / f64::from(seconds);
                    tracing::warn!(camera, %path, expected = fps, found, "the camera delivers at another rate");
                }
                (frames, seconds)
            }
            _ => {
                tracing::warn!(camera, %path, expected = fps, "the camera does not let its rate be set");
                (fps, 1)
            }
        }
    }

    fn stream(self, device: &Device) -> io::Result<Stream<'static>> {
        let mut stream = Stream::with_buffers(device, Type::VideoCapture, BUFFERS)?;
        // The crate's stream gives buffer 0 to the driver with the first call of `next`. A driver may grant fewer buffers.
        for index in 1..BUFFERS as usize {
            match CaptureStream::queue(&mut stream, index) {
                Err(_) if index > 1 => break,
                other => other?,
            }
        }
        stream.start()?;
        Ok(stream)
    }

    fn io(self, action: &'static str, source: io::Error) -> CameraError {
        use rustix::io::Errno;
        let (camera, path) = (self.name.into(), self.path.to_owned());
        let action = match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO | Errno::NOTDIR) => {
                return CameraError::Absent { camera, path, present: present() };
            }
            Some(Errno::BUSY) => {
                let holder = InUse(&path).to_string();
                return CameraError::Busy { camera, path, holder };
            }
            Some(Errno::ACCESS | Errno::PERM) => return CameraError::Permission { camera, path },
            Some(Errno::NOSPC) => "the USB bus has no bandwidth left (use another port, or fewer pixels) for",
            _ => action,
        };
        CameraError::Io { camera, path, action, source }
    }

    fn not_capture(self, found: String) -> CameraError {
        CameraError::NotCapture { camera: self.name.into(), path: self.path.into(), found, present: present() }
    }
}

/// The devices that are there.
fn present() -> String {
    let list = |folder: &str, prefix: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_match = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
        };
        let mut names: Vec<String> = entries.filter(is_match).map(|path| path.display().to_string()).collect();
        names.sort();
        names
    };
    let names = [list("/dev/v4l/by-id", ""), list("/dev", "video")].concat();
    match names.is_empty() {
        true => "This machine has no camera (/dev/video*)".into(),
        false => format!("This machine has {}", names.join(", ")),
    }
}

/// Formats, sizes and rates, a line each.
fn offers(device: &Device) -> String {
    let mut lines = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        for size in device.enum_framesizes(format.fourcc).unwrap_or_default() {
            let (width, height, text) = match size.size {
                FrameSizeEnum::Discrete(size) => (size.width, size.height, format!("{}x{}", size.width, size.height)),
                FrameSizeEnum::Stepwise(size) => (
                    size.max_width,
                    size.max_height,
                    format!("{}x{} to {}x{}", size.min_width, size.min_height, size.max_width, size.max_height),
                ),
            };
            let rate = |interval: &v4l::Fraction| {
                let rate = f64::from(interval.denominator) / f64::from(interval.numerator.max(1));
                format!("{}", (rate * 100.0).round() / 100.0)
            };
            let intervals = device.enum_frameintervals(format.fourcc, width, height).unwrap_or_default();
            let rates = intervals.iter().map(|interval| match &interval.interval {
                FrameIntervalEnum::Discrete(interval) => rate(interval),
                FrameIntervalEnum::Stepwise(steps) => format!("{} to {}", rate(&steps.max), rate(&steps.min)),
            });
            lines.push(format!("  {} {text} at {} fps", format.fourcc, rates.collect::<Vec<_>>().join(", ")));
        }
    }
    lines.join("\n")
}
