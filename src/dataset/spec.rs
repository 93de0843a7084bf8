//! What a data set records: its rate, robot and features.

use super::error::DatasetError;
use super::mp4::VideoTrack;
use crate::config::schema::ColorRange;

/// What a data set records. It cannot change within one data set.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSpec {
    /// Rows a second.
    pub fps: u32,
    /// Such as `so_follower`; none without an arm.
    pub robot_type: Option<String>,
    /// Names of the values of `observation.state`, such as `shoulder_pan.pos`; empty without an arm: the feature is left out.
    pub state_names: Vec<String>,
    /// Names of the values of `action`; empty without an arm.
    pub action_names: Vec<String>,
    /// The cameras in the order of [`super::Row::cameras`].
    pub cameras: Vec<CameraSpec>,
}

/// One camera of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraSpec {
    /// The operator's name for it, such as `front`.
    pub name: String,
    /// Its feature, such as `observation.images.front`: a folder's name on disk.
    pub key: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    pub video: VideoInfo,
}

/// How a camera's videos are encoded, as `info.json` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// FFmpeg's canonical name: `h264`, `hevc`, `av1` or `mjpeg`.
    pub codec: String,
    /// FFmpeg's name, such as `yuv420p`, or `yuvj422p` for the JPEGs of most cameras.
    pub pix_fmt: String,
    /// Range of the values; an mp4 tag, not in `info.json`.
    pub color_range: ColorRange,
    /// Frames from one key frame to the next.
    pub gop: Option<u32>,
    /// Constant quality.
    pub quality: Option<u32>,
    /// The encoder's preset by name.
    pub preset: Option<String>,
}

/// mp4's bound, far above any camera's.
const MAX_PIXELS: u32 = 32767;
/// Rates beyond it have no use here, and 512 × fps must fit 32 bits.
const MAX_FPS: u32 = 1000;

impl DatasetSpec {
    /// Refuses what no data set can have.
    pub fn validate(&self) -> Result<(), DatasetError> {
        let wrong = |field: String, expected, found: String| Err(DatasetError::Spec { field, expected, found });
        if self.fps == 0 || self.fps > MAX_FPS {
            return wrong("dataset.fps".into(), "1 to 1000 frames a second", self.fps.to_string());
        }
        if self.cameras.is_empty() && self.state_names.is_empty() && self.action_names.is_empty() {
            return wrong("robot".into(), "a camera or an arm to record", "none".into());
        }
        for (i, camera) in self.cameras.iter().enumerate() {
            let field = || format!("robot.cameras.{}", camera.name);
            let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if camera.key.is_empty() || camera.key.starts_with('.') || !camera.key.chars().all(safe) {
                return wrong(field(), "a name of letters, digits, `_`, `-` and `.`", format!("`{}`", camera.key));
            }
            if self.cameras[..i].iter().any(|other| other.key == camera.key) {
                return wrong(field(), "one camera for each feature", format!("`{}` twice", camera.key));
            }
            if ![camera.width, camera.height].iter().all(|n| (1..=MAX_PIXELS).contains(n)) {
                return wrong(field(), "1 to 32767 pixels a side", format!("{}x{}", camera.width, camera.height));
            }
        }
        Ok(())
    }

    /// The mp4 track of a camera.
    pub(super) fn track(&self, camera: &CameraSpec) -> VideoTrack {
        VideoTrack {
            width: camera.width as u16,
            height: camera.height as u16,
            fps: self.fps,
            color_range: camera.video.color_range,
        }
    }
}
