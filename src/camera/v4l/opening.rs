//! A device on its way to streaming: what is set, and what it answers.

use super::controls::Controls;
use super::modes::{Wanted, in_words, nearest_first, offers};
use super::rows::Rows;
use crate::camera::{CameraError, Mode};
use crate::config::schema;
use crate::frame::PixelFormat;
use crate::in_use::InUse;
use std::io;
use std::path::{Path, PathBuf};
use v4l::buffer::Type;
use v4l::capability::Flags as Capability;
use v4l::io::mmap::Stream;
use v4l::io::traits::{CaptureStream, Stream as _};
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

/// Buffers in the driver's queue: a camera thread that is late by as many frames loses the next one, which shows as a
/// gap in the sequence.
const BUFFERS: u32 = 4;

/// A device on its way to streaming.
#[derive(Clone, Copy)]
pub(super) struct Opening<'a> {
    pub name: &'a str,
    pub path: &'a Path,
}

/// A device that streams.
pub(super) struct Opened {
    pub mode: Mode,
    /// How raw pictures lie in the driver's buffers.
    pub rows: Option<Rows>,
    pub controls: Controls,
    pub stream: Stream<'static>,
}

impl Opening<'_> {
    /// Sets everything and starts to stream.
    pub fn start(self, config: &schema::Camera, format: PixelFormat) -> Result<Opened, CameraError> {
        if let Err(error) = std::fs::metadata(self.path) {
            return Err(self.io("opening", error));
        }
        let device = Device::with_path(self.path).map_err(|error| self.io("opening", error))?;
        let capabilities = device.query_caps().map_err(|_| self.not_capture("not a Video4Linux device".into()))?;
        if !capabilities.capabilities.contains(Capability::VIDEO_CAPTURE | Capability::STREAMING) {
            return Err(self.not_capture(format!("{}, which captures no video", capabilities.card)));
        }
        let (width, height) = config.captured_size();
        let rows = self.set_format(&device, config, format)?;
        let fps = self.set_rate(&device, config.fps);
        // Behind the format: a device that another program streams from has refused that, and keeps its controls.
        let mut controls = Controls::set(self.name, config, device)?;
        let stream = self.stream(controls.device()).map_err(|error| self.io("starting to stream from", error))?;
        controls.settle();
        Ok(Opened { mode: Mode { format, width, height, fps }, rows, controls, stream })
    }

    /// One call sets the fourcc and the size: a driver looks for the size among those of the fourcc.
    fn set_format(
        self,
        device: &Device,
        config: &schema::Camera,
        format: PixelFormat,
    ) -> Result<Option<Rows>, CameraError> {
        let (width, height) = config.captured_size();
        let fourcc = FourCC::new(&format.fourcc());
        let found = match device.set_format(&Format::new(width, height, fourcc)) {
            Ok(set) => {
                let same_format = PixelFormat::from_fourcc(&set.fourcc.repr) == Some(format);
                let rows = Rows::of(format, width, height, set.stride);
                match rows {
                    Ok(rows) if same_format && (set.width, set.height) == (width, height) => return Ok(rows),
                    Err(length) if same_format && set.width == width => {
                        format!(
                            "{} {}x{} with rows of {} bytes instead of {length}",
                            set.fourcc, width, set.height, set.stride
                        )
                    }
                    _ => format!("{} {}x{}", set.fourcc, set.width, set.height),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => "nothing".into(),
            Err(error) => return Err(self.io("setting the format of", error)),
        };
        let fourcc = config.fourcc.as_str();
        let wanted = Wanted { fourcc, width, height, fps: config.fps.into() };
        let is_readable = |fourcc: &str| PixelFormat::of_camera(fourcc.as_bytes()).is_some();
        Err(CameraError::Mode {
            camera: self.name.into(),
            path: self.path.into(),
            expected: format!("{fourcc} {width}x{height}"),
            found,
            offers: in_words(&nearest_first(&offers(device), &wanted, is_readable)),
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

    pub fn io(self, action: &'static str, source: io::Error) -> CameraError {
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// What the system says when a device cannot be opened or started, and what a person reads.
    #[test]
    fn every_refusal_names_the_device_and_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("video0");
        let held = std::fs::File::create(&path).unwrap();
        let opening = Opening { name: "front", path: &path };
        for (errno, words) in [
            (Errno::NOENT, "does not exist"),
            (Errno::NODEV, "plug the camera in"),
            (Errno::NXIO, "This machine has"),
            (Errno::BUSY, "is in use by this very program"),
            (Errno::ACCESS, "no permission to open"),
            (Errno::PERM, "usermod -aG video"),
            (Errno::NOSPC, "the USB bus has no bandwidth left (use another port, or fewer pixels)"),
            (Errno::IO, "starting to stream from"),
        ] {
            let error = opening.io("starting to stream from", io::Error::from_raw_os_error(errno.raw_os_error()));
            let text = error.to_string();
            assert!(text.starts_with("camera front: ") && text.contains(&path.display().to_string()), "{text}");
            assert!(text.contains(words), "{errno:?}: expected '{words}', found '{text}'");
        }
        drop(held);
    }
}
