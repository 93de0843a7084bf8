//! A picture of each camera, so that a person sees which is which.

use super::best::best;
use super::cameras::Camera;
use crate::budget::Budget;
use crate::camera::{self, CameraError, Mode};
use crate::clock::{Clock, Rank, Stamp};
use crate::codec::view::View;
use crate::codec::yuv::I420;
use crate::codec::{jpeg, raw};
use crate::config::schema::{self, CameraKind, ColorRange, IndexOrPath};
use crate::devices::OpenCamera;
use crate::frame::{Frame, PixelFormat};
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use turbojpeg::{Subsamp, YuvImage};

/// A camera that has given no whole picture for so long gives none.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long a camera finds its exposure and colours.
const WARM_UP_NS: u64 = 1_000_000_000;
/// JPEG's quality for pictures that come raw.
const QUALITY: i32 = 90;

/// What became of one camera's picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The camera's `path`.
    pub camera: PathBuf,
    /// Where its picture is.
    pub file: Option<PathBuf>,
    /// Why there is none.
    pub problem: Option<String>,
}

/// Writes a picture of each camera into `folder`, which is made. A camera that gives none does not keep the others from it.
pub fn take(cameras: &[Camera], folder: &Path, open: &OpenCamera, clock: &Arc<dyn Clock>) -> io::Result<Vec<Snapshot>> {
    fs::create_dir_all(folder)?;
    let one = |camera: &Camera| {
        let taken = picture(camera, open, clock).and_then(|jpeg| {
            save(folder, camera, &jpeg).map_err(|error| format!("{}: cannot be written: {error}", folder.display()))
        });
        let (file, problem) = match taken {
            Ok(file) => (Some(file), None),
            Err(problem) => (None, Some(problem)),
        };
        Snapshot { camera: camera.path.clone(), file, problem }
    };
    Ok(cameras.iter().map(one).collect())
}

/// One picture of a camera in its best mode, as a JPEG.
fn picture(camera: &Camera, open: &OpenCamera, clock: &Arc<dyn Clock>) -> Result<Vec<u8>, String> {
    if let Some(problem) = &camera.problem {
        return Err(problem.clone());
    }
    let Some(best) = best(&camera.offers) else {
        return Err("it offers no format that can be read: `recorder devices` lists what it offers".into());
    };
    if PixelFormat::from_fourcc(best.fourcc.as_bytes()) == Some(PixelFormat::H264) {
        return Err("it offers H.264 only, which no picture is made of".into());
    }
    let index_or_path = Some(IndexOrPath::Path(camera.path.clone()));
    let config = schema::Camera {
        index_or_path,
        fps: best.fps,
        fourcc: best.fourcc,
        ..schema::Camera::new(CameraKind::V4l, best.width, best.height)
    };
    let mut opened = open(&camera.name, &config, clock, Rank(0)).map_err(|error| error.to_string())?;
    warm_picture(opened.as_mut())
}

/// The first whole picture after the camera has warmed up.
fn warm_picture(camera: &mut dyn camera::Camera) -> Result<Vec<u8>, String> {
    let mode = camera.mode().clone();
    let (mut whole, mut first_ns, mut problem) = (Instant::now(), None, "no picture came".to_string());
    while whole.elapsed() < PATIENCE {
        let picture = match camera.next(Duration::from_millis(200)) {
            Ok(picture) => picture,
            Err(CameraError::Timeout) => continue,
            Err(error) => return Err(error.to_string()),
        };
        let first_ns = *first_ns.get_or_insert(picture.captured.mono_ns);
        let is_warm = picture.captured.mono_ns.saturating_sub(first_ns) >= WARM_UP_NS;
        match as_jpeg(&mode, picture.data) {
            Ok(jpeg) if is_warm => return Ok(jpeg),
            Ok(_) => whole = Instant::now(),
            Err(words) => problem = format!("no whole picture came: {words}"),
        }
    }
    Err(format!("{problem} within {} s: check its cable and that nothing else uses it", PATIENCE.as_secs()))
}

/// JPEGs as they come, without what follows their end; raw pictures encoded.
fn as_jpeg(mode: &Mode, data: &[u8]) -> Result<Vec<u8>, String> {
    let Mode { format, width, height, .. } = *mode;
    if format == PixelFormat::Mjpg {
        let structure = jpeg::parse_sized(data, width, height).map_err(|error| error.to_string())?;
        return Ok(data[..structure.end].to_vec());
    }
    let (captured, arrived, credit) =
        (Stamp::default(), Stamp::default(), Budget::new(usize::MAX, 1).acquire(data.len()));
    let (view, data) = (View::default(), data.to_vec().into());
    let coded = None;
    let frame = Frame { camera: 0, sequence: 0, captured, arrived, format, width, height, view, data, coded, credit };
    let mut picture = I420::grey(width, height, ColorRange::Full);
    raw::read(&frame, &mut picture)
        .map_err(|reason| format!("{} bytes are no whole picture ({})", frame.data.len(), reason.name()))?;
    compressed(&picture)
}

fn compressed(picture: &I420) -> Result<Vec<u8>, String> {
    let image = YuvImage {
        pixels: &picture.planes().concat()[..],
        width: picture.width(),
        align: 1,
        height: picture.height(),
        subsamp: Subsamp::Sub2x2,
    };
    turbojpeg::compress_yuv(image, QUALITY).map(|jpeg| jpeg.to_vec()).map_err(|error| error.to_string())
}

/// Writes a file that is not there yet: pictures from before stay, to be compared with.
fn save(folder: &Path, camera: &Camera, jpeg: &[u8]) -> io::Result<PathBuf> {
    let stem = camera.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut count = 1;
    loop {
        let name = if count == 1 { format!("{stem}.jpg") } else { format!("{stem}.{count}.jpg") };
        let path = folder.join(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => return file.write_all(jpeg).map(|()| path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => count += 1,
            Err(error) => return Err(error),
        }
    }
}
