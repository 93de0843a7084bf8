//! Cameras behind one trait. A camera is opened, asked for pictures one by one by its own thread, and dropped.
//!
//! A picture is bytes and a [`PixelFormat`]: streams of 16 bits a pixel (depth, infrared) need a format of their own there and
//! a way to store them, and nothing here stands against it; neither is there yet.

mod access_units;
mod container;
pub mod controls;
pub mod file;
mod pace;
mod picture;
pub mod rate;
pub mod synthetic;
pub mod v4l;

use crate::clock::{Clock, Rank, Stamp};
use crate::config::Problem;
use crate::config::schema::{self, CameraKind};
use crate::frame::PixelFormat;
use controls::Change;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a camera really delivers, as the device answered, not as it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    pub format: PixelFormat,
    /// Pixels of a captured picture, before it is turned or cut.
    pub width: u32,
    /// Pixels of a captured picture, before it is turned or cut.
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
    /// As [`Mode::format`] says; the rows of raw pictures without padding.
    pub data: &'a [u8],
}

/// Why a camera cannot be opened, or gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Nothing wrong: ask again.
    #[error("no picture in time")]
    Timeout,
    /// The clock was stopped: the recorder ends.
    #[error("the clock was stopped")]
    Stopped,
    /// A key of the camera's table makes no sense for its type.
    #[error("camera {camera}: {key} is {found}, expected {expected}")]
    Setting { camera: Box<str>, key: &'static str, found: String, expected: String },
    /// No such device or file.
    #[error("camera {camera}: {path} does not exist. {present}: correct index_or_path, or plug the camera in")]
    Absent { camera: Box<str>, path: PathBuf, present: String },
    /// Another program streams from it.
    #[error("camera {camera}: {path} is in use by {holder}")]
    Busy { camera: Box<str>, path: PathBuf, holder: String },
    /// The user may not open it.
    #[error(
        "camera {camera}: no permission to open {path}: devices belong to the group video \
         (`sudo usermod -aG video $USER`, then log in again)"
    )]
    Permission { camera: Box<str>, path: PathBuf },
    /// A device, but not one that captures pictures.
    #[error(
        "camera {camera}: {path} is not a video capture device ({found}). {present}: many cameras have a second device \
         for metadata, use the first"
    )]
    NotCapture { camera: Box<str>, path: PathBuf, found: String, present: String },
    /// The device chose another format or size.
    #[error(
        "camera {camera}: {path} cannot deliver {expected}, it would deliver {found}. It offers, nearest first:\n{offers}"
    )]
    Mode { camera: Box<str>, path: PathBuf, expected: String, found: String, offers: String },
    /// Where the camera was that was lost, there is another one.
    #[error(
        "camera {camera}: {path} is another camera now: expected {expected}, found {found}: plug the camera in again; the other one is left alone"
    )]
    Another { camera: Box<str>, path: PathBuf, expected: String, found: String },
    /// A control cannot be set as the camera's table says.
    #[error("camera {camera}: {problem}")]
    Control { camera: Box<str>, problem: Box<Problem> },
    /// The file holds no pictures that can be used.
    #[error("camera {camera}: {path} holds {found}, expected {expected}: {remedy}")]
    Content { camera: Box<str>, path: PathBuf, found: String, expected: String, remedy: String },
    /// The operating system refused.
    #[error("camera {camera}: {action} {path}: {source}")]
    Io { camera: Box<str>, path: PathBuf, action: &'static str, source: std::io::Error },
    /// The device went away or gave up: it must be opened anew.
    #[error("camera {camera}: {path} stopped delivering ({words}): check its cable; it is opened again by itself")]
    Lost { camera: Box<str>, path: PathBuf, words: String },
    /// All its pictures have another size than it was set to.
    #[error(
        "camera {camera}: its pictures are not {width}x{height} any more, as it was set to: it is opened again by itself"
    )]
    FormatLost { camera: Box<str>, width: u32, height: u32 },
    /// A bug in the camera's thread.
    #[error(
        "camera {camera}: its thread panicked ({words}): a bug, please report it; the camera is opened again by itself"
    )]
    Panicked { camera: Box<str>, words: String },
    /// Open, but without a picture for too long.
    #[error(
        "camera {camera}: no picture for {seconds:.1} s: check its cable and that nothing else uses it; it is opened again by itself"
    )]
    Silent { camera: Box<str>, seconds: f64 },
}

/// An open device that delivers pictures.
pub trait Camera: Send {
    /// What it delivers.
    fn mode(&self) -> &Mode;
    /// The next picture. `Err(CameraError::Timeout)` after `timeout` without one: the caller looks whether it should
    /// stop and asks again. Any other error means that the device must be opened anew.
    fn next(&mut self, timeout: Duration) -> Result<Picture<'_>, CameraError>;
    /// About once a second, between two pictures: looks whether the camera's controls are as they were set, and sets them
    /// again. What was changed by somebody else.
    fn look_after(&mut self) -> Vec<Change> {
        Vec::new()
    }
    /// Why it delivers fewer pictures than it said, as far as the device tells: in words, each with its remedy.
    fn slow_causes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A camera must deliver its first picture within this.
pub const FIRST_PICTURE: Duration = Duration::from_secs(5);

/// Opens the camera `name`. Cameras that make their own time (`file`, `synthetic`) join `clock` with `rank` at once;
/// their first picture is due when it is first asked for.
pub fn open(
    name: &str,
    config: &schema::Camera,
    clock: &Arc<dyn Clock>,
    rank: Rank,
) -> Result<Box<dyn Camera>, CameraError> {
    let camera: Box<dyn Camera> = match config.kind {
        CameraKind::V4l => Box::new(v4l::V4lCamera::open(name, config, clock)?),
        CameraKind::File => Box::new(file::FileCamera::open(name, config, clock, rank)?),
        CameraKind::Synthetic => Box::new(synthetic::SyntheticCamera::open(name, config, clock, rank)?),
    };
    Ok(camera)
}

/// The path that the camera's table names.
fn configured_path(name: &str, config: &schema::Camera) -> Result<PathBuf, CameraError> {
    let path = config.index_or_path.as_ref().map(schema::IndexOrPath::path);
    path.ok_or_else(|| CameraError::Setting {
        camera: name.into(),
        key: "index_or_path",
        found: "not set".into(),
        expected: "a device's path, its index, or a file's path".into(),
    })
}

/// What a camera that makes its own pictures delivers: one of these formats, by its `fourcc`.
fn own_mode(name: &str, config: &schema::Camera, formats: &[PixelFormat]) -> Result<Mode, CameraError> {
    let setting =
        |key, found: String, expected: String| Err(CameraError::Setting { camera: name.into(), key, found, expected });
    let format = PixelFormat::of_camera(config.fourcc.as_bytes()).filter(|format| formats.contains(format));
    let Some(format) = format else {
        let names: Vec<String> =
            formats.iter().map(|format| format!("\"{}\"", format.fourcc().escape_ascii())).collect();
        let expected = format!("{}, which is all that such a camera delivers", names.join(" or "));
        return setting("fourcc", format!("{:?}", config.fourcc), expected);
    };
    if config.fps == 0 {
        return setting("fps", "0".into(), "at least 1 frame a second".into());
    }
    let (width, height) = config.captured_size();
    Ok(Mode { format, width, height, fps: (config.fps, 1) })
}
