//! The cameras.

use super::{OnLoss, default_fps, yes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One camera.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Camera {
    /// `v4l` (a device, LeRobot's `opencv`), `file` (recorded MJPEG or H.264), or `synthetic` (a moving test picture).
    #[serde(rename = "type")]
    pub kind: CameraKind,
    /// Device path, best by its stable name under /dev/v4l/by-id, or an index N for /dev/videoN; for `file` the file's path.
    #[serde(default)]
    pub index_or_path: Option<IndexOrPath>,
    /// Picture width in pixels, even, as it is recorded: after `rotation`, as in LeRobot.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Picture height in pixels, even, as it is recorded: after `rotation`, as in LeRobot.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Frames a second that the camera is asked for.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Pixel format, exactly four characters: `MJPG`, `YUYV`, `NV12`, `GREY`, or `H264` of a camera that encodes itself.
    #[serde(default = "default_fourcc")]
    pub fourcc: String,
    /// Turn pictures clockwise by so many degrees: 0, 90, 180 or 270, which LeRobot writes as -90.
    #[serde(default)]
    pub rotation: Rotation,
    /// Record only this part of the picture, after `rotation`: its size is the recorded one.
    #[serde(default)]
    pub crop: Option<Crop>,
    /// Only for `v4l`: exposure time in units of 100 µs, or `auto`; left out, as the other controls: as the camera has it.
    #[serde(default)]
    pub exposure: Option<ControlValue>,
    /// Only for `v4l`: gain in the camera's own units, or `auto`.
    #[serde(default)]
    pub gain: Option<ControlValue>,
    /// Only for `v4l`: colour temperature in kelvin, or `auto`.
    #[serde(default)]
    pub white_balance: Option<ControlValue>,
    /// Only for `v4l`: focus in the camera's own units, or `auto`.
    #[serde(default)]
    pub focus: Option<ControlValue>,
    /// Only for `v4l`: the mains' frequency, which lamps flicker at: 50, 60, `off` or `auto`.
    #[serde(default)]
    pub power_line_frequency: Option<ControlValue>,
    /// Only for `v4l`: any further controls by their names as `recorder devices` lists them; a menu's entry by its number or its name.
    #[serde(default)]
    pub controls: BTreeMap<String, ControlValue>,
    /// Only for `v4l`: pictures of so many seconds are passed over after opening, while the camera finds its exposure and colours.
    #[serde(default = "default_warmup")]
    pub warmup_s: f64,
    /// When the camera is lost: `hold` goes on with its last picture, marked; `pause`, `discard` and `stop` as in `robot.on_loss`.
    #[serde(default)]
    pub on_loss: OnLoss,
    /// Only for `file` and `synthetic`: false runs the whole recording as fast as the machine can, in simulated time.
    #[serde(default = "yes")]
    pub realtime: bool,
}

impl Camera {
    /// One of this kind and size, and else as when nothing more is said of it.
    pub fn new(kind: CameraKind, width: u32, height: u32) -> Camera {
        Camera {
            kind,
            index_or_path: None,
            width,
            height,
            fps: default_fps(),
            fourcc: default_fourcc(),
            rotation: Rotation::None,
            crop: None,
            exposure: None,
            gain: None,
            white_balance: None,
            focus: None,
            power_line_frequency: None,
            controls: BTreeMap::new(),
            warmup_s: default_warmup(),
            on_loss: OnLoss::default(),
            realtime: true,
        }
    }

    /// Pictures of so long after its opening are passed over; none of cameras that have no exposure to find.
    pub fn warm_up(&self) -> Duration {
        let seconds = if self.kind == CameraKind::V4l { self.warmup_s } else { 0.0 };
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// Width and height of what the camera is asked for: before it is turned.
    pub fn captured_size(&self) -> (u32, u32) {
        if self.rotation.is_sideways() { (self.height, self.width) } else { (self.width, self.height) }
    }

    /// Width and height of what is recorded: turned, and cropped.
    pub fn recorded_size(&self) -> (u32, u32) {
        self.crop.map_or((self.width, self.height), |crop| (crop.width, crop.height))
    }
}

/// By how much pictures are turned, clockwise.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(try_from = "i32", into = "i32")]
#[schemars(with = "i32")]
pub enum Rotation {
    #[default]
    None,
    By90,
    By180,
    By270,
}

impl Rotation {
    /// Width and height change places.
    pub fn is_sideways(self) -> bool {
        matches!(self, Rotation::By90 | Rotation::By270)
    }
}

impl TryFrom<i32> for Rotation {
    type Error = String;

    fn try_from(degrees: i32) -> Result<Rotation, String> {
        match degrees {
            0 => Ok(Rotation::None),
            90 => Ok(Rotation::By90),
            180 => Ok(Rotation::By180),
            270 | -90 => Ok(Rotation::By270),
            other => Err(format!("{other}, expected 0, 90, 180 or 270 degrees, clockwise")),
        }
    }
}

impl From<Rotation> for i32 {
    fn from(rotation: Rotation) -> i32 {
        match rotation {
            Rotation::None => 0,
            Rotation::By90 => 90,
            Rotation::By180 => 180,
            Rotation::By270 => 270,
        }
    }
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Pixels to its left, even.
    pub left: u32,
    /// Pixels above it, even.
    pub top: u32,
    /// Even.
    pub width: u32,
    /// Even.
    pub height: u32,
}

/// What a control of a camera is set to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(untagged, expecting = "something else, expected a number, true or false, or a word such as \"auto\"")]
pub enum ControlValue {
    /// Of a switch.
    Switch(bool),
    /// In the control's own units.
    Number(i64),
    /// `auto`, or the name of a menu's entry.
    Word(String),
}

impl fmt::Display for ControlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlValue::Switch(on) => write!(f, "{on}"),
            ControlValue::Number(number) => write!(f, "{number}"),
            ControlValue::Word(word) => write!(f, "\"{word}\""),
        }
    }
}

/// Where a camera's frames come from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum CameraKind {
    /// A Video4Linux device.
    V4l,
    /// A file of concatenated JPEGs, an AVI or MP4 that holds MJPEG, or a byte stream of H.264; it loops.
    File,
    /// A pre-rendered moving picture with a burnt-in frame counter and time.
    Synthetic,
}

/// A device by number or by path.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum IndexOrPath {
    /// N stands for /dev/videoN.
    Index(u32),
    /// A device's or a file's path.
    Path(PathBuf),
}

impl IndexOrPath {
    /// The path that is meant.
    pub fn path(&self) -> PathBuf {
        match self {
            IndexOrPath::Index(n) => PathBuf::from(format!("/dev/video{n}")),
            IndexOrPath::Path(path) => path.clone(),
        }
    }
}

fn default_width() -> u32 {
    1280
}

fn default_height() -> u32 {
    720
}

fn default_warmup() -> f64 {
    1.0
}

fn default_fourcc() -> String {
    "MJPG".into()
}
